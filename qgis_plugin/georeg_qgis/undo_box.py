"""The question before a result is taken back."""

from __future__ import annotations

from collections.abc import Callable

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QMessageBox, QWidget

from .history import Run
from .i18n import translated as tr


def ask(parent: QWidget, run: Run, undo: Callable[[bool], None]) -> None:
    """Ask, not waiting for the answer; ``undo`` hears whether the file is to be deleted, or nothing."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(tr("Undo"))
    box.setText(tr("Take “{name}” off the map?").format(name=run.name))
    delete = None
    if run.output:
        made = [run.output, *(run.shown.beside if run.shown is not None else [])]
        text = tr("What georeg wrote can be deleted with it: {paths}. The target itself was never changed.")
        box.setInformativeText(text.format(paths=", ".join(made)))
        delete = box.addButton(tr("Take off and delete file"), QMessageBox.ButtonRole.DestructiveRole)
    kept = tr("Take off, keep file") if run.output else tr("Take off")
    keep = box.addButton(kept, QMessageBox.ButtonRole.AcceptRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.buttonClicked.connect(lambda button: undo(button is delete) if button in (delete, keep) else None)
    box.open()
