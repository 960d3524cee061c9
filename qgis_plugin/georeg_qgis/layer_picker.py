"""A list of raster layers, of which several are ticked at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QDialog, QDialogButtonBox, QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from .i18n import translated as tr


class LayerPicker(QDialog):
    """Names of layers with a box each; nothing waits for it.

    ``picked`` hears the paths of those that are ticked, once the user has said OK.
    """

    def __init__(
        self, named: Sequence[tuple[str, str]], picked: Callable[[list[str]], None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Layers as targets"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._picked = picked
        self.list = QListWidget()
        for name, path in named:
            item = QListWidgetItem(name)
            item.setData(Qt.ItemDataRole.UserRole, path)
            item.setToolTip(path)
            item.setCheckState(Qt.CheckState.Checked)
            self.list.addItem(item)
        column = QVBoxLayout(self)
        told = tr("Untick what is no target.") if named else tr("The project has no other raster layer that is a file.")
        column.addWidget(QLabel(told))
        column.addWidget(self.list)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column.addWidget(buttons)
        self.accepted.connect(self._tell)

    def _tell(self) -> None:
        items = [self.list.item(k) for k in range(self.list.count())]
        ticked = [item for item in items if item.checkState() == Qt.CheckState.Checked]
        self._picked([str(item.data(Qt.ItemDataRole.UserRole)) for item in ticked])
