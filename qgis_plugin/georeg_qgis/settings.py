"""The page of QGIS's options where the Python is chosen that georeg runs in."""

from __future__ import annotations

import html
from typing import Any

from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QGuiApplication, QIcon
from qgis.PyQt.QtWidgets import (
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from . import env
from .i18n import translated as tr
from .installer import Installer
from .job import Job
from .provider import ICON
from .settings_store import interpreter, own_interpreter, set_interpreter

PAGE = "georegOptions"
_MOST_LINES = 2000


class SetupWidget(QWidget):
    """Three ways to a Python with georeg: a path, an environment made here, or a command to copy."""

    changed = pyqtSignal()
    """Another Python is kept."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._job, self._installer = Job(self), Installer(self)
        column = QVBoxLayout(self)
        why = tr(
            "georeg runs in a Python of its own, beside QGIS, whose libraries it would clash with. QGIS's Python is not changed."
        )
        column.addWidget(_text(why))
        self.state = _text("")
        column.addWidget(self.state)
        for box in (self._path_box(), self._install_box(), self._copy_box()):
            column.addWidget(box)
        column.addStretch(1)
        self._job.succeeded.connect(self._found)
        self._job.failed.connect(self._not_found)
        self._installer.said.connect(self.log.appendPlainText)
        self._installer.stepped.connect(self._stepped)
        self._installer.finished.connect(self._installed)
        self.check()

    def check(self) -> None:
        """See whether the Python that is kept can be used."""
        if not self._job.running:
            self.state.setText(html.escape(tr("Checking {path}…").format(path=interpreter() or "—")))
            self._job.probe()

    def apply(self) -> None:
        """Keep the path that was given."""
        path = self.path.filePath().strip()
        if path != own_interpreter():
            set_interpreter(path)
            self.changed.emit()

    def close_processes(self) -> None:
        """End what runs."""
        self._job.close()
        self._installer.blockSignals(True)
        self._installer.cancel()

    def _path_box(self) -> QGroupBox:
        box = QGroupBox(tr("A Python that has georeg"))
        self.path = QgsFileWidget()
        self.path.setFilePath(own_interpreter())
        self.path.setDialogTitle(tr("Python interpreter with georeg"))
        test = QPushButton(tr("Use and test"))
        test.clicked.connect(self._use)
        row = QHBoxLayout(box)
        row.addWidget(self.path, 1)
        row.addWidget(test)
        return box

    def _install_box(self) -> QGroupBox:
        box = QGroupBox(tr("Or an environment made for you"))
        self.requirement = QLineEdit(f"georeg=={env.GEOREG}")
        self.requirement.setToolTip(tr("What pip installs: a version, or the path of a file"))
        self.install = QPushButton(tr("Install…"))
        self.install.clicked.connect(self._ask)
        self.cancel = QPushButton(tr("Cancel"))
        self.cancel.clicked.connect(self._installer.cancel)
        self.bar, self.log = QProgressBar(), QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(_MOST_LINES)
        row = QHBoxLayout()
        for widget in (self.requirement, self.install, self.cancel):
            row.addWidget(widget)
        column = QVBoxLayout(box)
        column.addWidget(_text(tr("It will lie in {folder}").format(folder=env.managed_folder())))
        column.addLayout(row)
        column.addWidget(self.bar)
        column.addWidget(self.log)
        self._show_running(False)
        return box

    def _copy_box(self) -> QGroupBox:
        box = QGroupBox(tr("Or install it yourself"))
        self.command = QPlainTextEdit(env.install_text())
        self.command.setReadOnly(True)
        self.command.setMaximumHeight(60)
        copy = QPushButton(tr("Copy"))
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.command.toPlainText()))
        row = QHBoxLayout(box)
        row.addWidget(self.command, 1)
        row.addWidget(copy)
        return box

    def _use(self) -> None:
        self.apply()
        self.check()

    def _found(self, hello: dict[str, Any]) -> None:
        text = tr("Ready: georeg {georeg}, Python {python}, {path}")
        known = {"georeg": hello.get("georeg", ""), "python": hello.get("python", ""), "path": interpreter()}
        self.state.setText(f"<b>{html.escape(text.format(**known))}</b>")

    def _not_found(self, _code: str, message: str, hint: str) -> None:
        text = tr("Not ready: {message}. {hint}").format(message=message.rstrip("."), hint=hint)
        self.state.setText(html.escape(text))

    def _ask(self) -> None:
        """Nothing is downloaded or written before the user has said yes."""
        text = tr(
            "This makes a Python environment in {folder}, downloads {requirement} and what it needs (some 300 MB) from the "
            "package index, and changes nothing else. Go on?"
        ).format(folder=env.managed_folder(), requirement=self.requirement.text())
        yes = QMessageBox.StandardButton.Yes
        buttons = yes | QMessageBox.StandardButton.No
        if QMessageBox.question(self, "georeg", html.escape(text), buttons) == yes:
            self.start_install()

    def start_install(self) -> None:
        """Make the environment; the user has agreed."""
        self.log.clear()
        self._show_running(True)
        self._installer.install(env.managed_folder(), self.requirement.text().strip())

    def _stepped(self, done: int, total: int) -> None:
        self.bar.setRange(0, 0 if done < total else total)
        self.bar.setFormat(tr("Step {done} of {total}").format(done=min(done + 1, total), total=total))

    def _installed(self, problem: str) -> None:
        self._show_running(False)
        if problem:
            self.log.appendPlainText(problem)
            self.state.setText(html.escape(problem))
            return
        self.path.setFilePath(env.python_in(env.managed_folder()))
        self._use()

    def _show_running(self, running: bool) -> None:
        self.install.setEnabled(not running)
        self.cancel.setEnabled(running)
        self.bar.setVisible(running)
        self.log.setVisible(running or bool(self.log.toPlainText()))


class _Page(QgsOptionsPageWidget):
    """The widget in QGIS's options."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName(PAGE)
        self.setup = SetupWidget(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.setup)

    def apply(self) -> None:
        """Called when the user says OK."""
        self.setup.apply()


class SetupFactory(QgsOptionsWidgetFactory):
    """Makes the page whenever QGIS's options are opened."""

    def __init__(self) -> None:
        super().__init__("georeg", QIcon(ICON))

    def icon(self) -> QIcon:
        """Of the plugin."""
        return QIcon(ICON)

    def createWidget(self, parent: QWidget) -> QgsOptionsPageWidget:
        """Called by QGIS."""
        return _Page(parent)


def _text(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    return label
