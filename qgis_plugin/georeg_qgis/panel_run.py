"""The buttons that run georeg, and what is told while it runs."""

from __future__ import annotations

import time
from typing import Any

from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtCore import QTimer, pyqtSignal
from qgis.PyQt.QtGui import QFontDatabase
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QPlainTextEdit, QProgressBar, QPushButton, QVBoxLayout, QWidget

from .figures import duration

_MOST_LINES = 5000


class RunPanel(QWidget):
    """Align, Check only and Cancel; a bar for the stage with its share, elapsed time and time to go; a log.

    ``details``, the log, is put where the panel has room for it.
    """

    align_asked = pyqtSignal()
    check_asked = pyqtSignal()
    cancel_asked = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._began = 0.0
        self._told: dict[str, Any] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.align_button = QPushButton(self.tr("Align"))
        self.align_button.setMinimumHeight(40)
        font = self.align_button.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        self.align_button.setFont(font)
        self.align_button.clicked.connect(lambda *_: self.align_asked.emit())
        self.check_button = QPushButton(self.tr("Check only"))
        self.check_button.setToolTip(self.tr("<p>Measure how well the two agree. Nothing is written.</p>"))
        self.check_button.clicked.connect(lambda *_: self.check_asked.emit())
        self.cancel_button = QPushButton(self.tr("Cancel"))
        self.cancel_button.clicked.connect(lambda *_: self._cancel())
        row = QHBoxLayout()
        row.addWidget(self.align_button, 3)
        row.addWidget(self.check_button, 1)
        row.addWidget(self.cancel_button, 1)
        column.addLayout(row)
        self.bar = QProgressBar()
        self.stage = QLabel()
        self.stage.setWordWrap(True)
        column.addWidget(self.bar)
        column.addWidget(self.stage)
        self.details = QgsCollapsibleGroupBox(self.tr("Log"))
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(_MOST_LINES)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.log.setMinimumHeight(120)
        QVBoxLayout(self.details).addWidget(self.log)
        self.details.setCollapsed(True)
        self._clock = QTimer(self)
        self._clock.setInterval(500)
        self._clock.timeout.connect(self._show)
        self.set_running(False)

    def set_running(self, running: bool) -> None:
        """Show what can be done now."""
        self.align_button.setVisible(not running)
        self.check_button.setVisible(not running)
        self.cancel_button.setVisible(running)
        self.cancel_button.setEnabled(running)
        self.bar.setVisible(running)
        self.stage.setVisible(running)
        if running:
            self._began, self._told = time.monotonic(), {}
            self.bar.setRange(0, 0)
            self._clock.start()
            self._show()
        else:
            self._clock.stop()

    def set_ready(self, ready: bool) -> None:
        """Whether there is a pair to run on."""
        self.align_button.setEnabled(ready)
        self.check_button.setEnabled(ready)

    def progressed(self, line: dict[str, Any]) -> None:
        """A stage is so far."""
        total = int(line.get("total") or 0)
        self._told = line
        self.bar.setRange(0, max(total, 0))
        if total:
            self.bar.setValue(int(line.get("done") or 0))
        self._show()

    def logged(self, level: str, text: str) -> None:
        """Add a line to the log."""
        prefix = "" if level == "info" else f"{level}: "
        self.log.appendPlainText(f"{time.strftime('%H:%M:%S')} {prefix}{text}")

    def _cancel(self) -> None:
        self.cancel_button.setEnabled(False)
        self.stage.setText(self.tr("Cancelling…"))
        self.cancel_asked.emit()

    def _show(self) -> None:
        """The stage, and times."""
        if not self.cancel_button.isEnabled():
            return
        parts = [self._stage_name(), duration(time.monotonic() - self._began)]
        left = self._told.get("eta_s")
        if left is not None:
            parts.append(self.tr("about {time} left").format(time=duration(left)))
        self.stage.setText(" · ".join(parts))

    def _stage_name(self) -> str:
        names = {
            "coarse": self.tr("Finding the place"),
            "match": self.tr("Matching windows"),
            "refine": self.tr("Refining"),
            "write": self.tr("Writing"),
            "scenes": self.tr("Aligning scenes"),
        }
        stage = str(self._told.get("stage", ""))
        return names.get(stage, stage[:1].upper() + stage[1:]) if stage else self.tr("Starting georeg")
