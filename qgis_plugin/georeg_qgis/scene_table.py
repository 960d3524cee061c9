"""The table of what became of each target of a batch."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from qgis.PyQt.QtCore import QAbstractTableModel, QModelIndex, Qt
from qgis.PyQt.QtGui import QBrush, QColor

from .i18n import translated as tr
from .scenes import SceneRow

_INK = {"bad": QColor("#b3261e"), "care": QColor("#8a5a00"), "good": QColor("#1a6b2b")}


class SceneTable(QAbstractTableModel):
    """Rows of scenes: name, verdict, CE90, displacement, and what there is to say."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.rows: list[SceneRow] = []
        self._heads = (tr("Scene"), tr("Verdict"), tr("CE90"), tr("Displacement"), tr("Why"))

    def set_rows(self, rows: Sequence[SceneRow]) -> None:
        """Others from now on."""
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._heads)

    def headerData(self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self._heads[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return (row.name, row.verdict, row.ce90, row.displacement, row.why)[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"<p>{html.escape(row.target)}</p><p>{html.escape(row.why)}</p>"
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 1:
            return QBrush(_INK[row.grade])
        return None
