"""The tie points as a table, the worst first; unticking one leaves it out of the next fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qgis.PyQt.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt, pyqtSignal

from .figures import Tie, by_residual, number
from .i18n import translated as tr

_WORDS = {
    "fit": "fit",
    "check": "check",
    "outlier": "outlier",
    "kept": "kept",
    "pinned": "pinned",
    "disabled": "left out",
    "masked": "masked",
    "low_texture": "low texture",
    "weak_peak": "weak peak",
    "inconsistent": "inconsistent",
    "out_of_range": "out of range",
    "ambiguous_peak": "ambiguous",
}
"""Roles and reasons, as short as a column is narrow."""
_USE, _NUMBER, _WHAT, _RESIDUAL, _PIXELS = range(5)


class TieTable(QAbstractTableModel):
    """Rows of `figures.Tie`: use, number, role or reason, residual in map units and in pixels."""

    unticked_changed = pyqtSignal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.ties: list[Tie] = []
        self.unticked: set[int] = set()
        self._at_first: set[int] = set()
        self._unit, self._gsd = "", 1.0

    def set_ties(self, ties: Sequence[Tie], unit: str, gsd: float) -> None:
        """Show these, the worst first; none of them is unticked by hand but those that were switched off."""
        self.beginResetModel()
        self.ties = by_residual(ties)
        self.unticked = {tie.number for tie in ties if tie.what == "disabled"}
        self._at_first = set(self.unticked)
        self._unit, self._gsd = unit, gsd
        self.endResetModel()
        self.unticked_changed.emit()

    @property
    def changed(self) -> bool:
        """Whether other points are unticked than were at first."""
        return self.unticked != self._at_first

    def put_tie(self, tie: Tie) -> None:
        """One more at the top, or the one of its number elsewhere; what is unticked stays so."""
        self.beginResetModel()
        self.ties = [tie, *(one for one in self.ties if one.number != tie.number)]
        self.unticked.discard(tie.number)
        self.endResetModel()
        self.unticked_changed.emit()

    def drop_tie(self, number: int, before: Tie | None) -> None:
        """Without the one of this number, or with what it was before."""
        self.beginResetModel()
        self.ties = [one for one in self.ties if one.number != number] + ([before] if before is not None else [])
        self.ties = by_residual(self.ties)
        self.unticked.discard(number)
        self.endResetModel()
        self.unticked_changed.emit()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008 - the name and default of Qt
        return 0 if parent.isValid() else len(self.ties)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else 5

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.ToolTipRole and section in (_RESIDUAL, _PIXELS):
            return self.tr("Residual: how far from the reference the correction leaves it")
        names = (self.tr("use"), self.tr("no."), self.tr("what"), self.tr("off [{u}]"), self.tr("[px]"))
        return names[section].format(u=self._unit) if role == Qt.ItemDataRole.DisplayRole else None

    def flags(self, index: QModelIndex) -> Any:
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        tie = self.ties[index.row()]
        usable = tie.used or tie.number in self.unticked or tie.what == "disabled"
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == _USE and usable else flags

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        tie, column = self.ties[index.row()], index.column()
        if role == Qt.ItemDataRole.CheckStateRole and column == _USE and (tie.used or tie.what == "disabled"):
            return Qt.CheckState.Unchecked if tie.number in self.unticked else Qt.CheckState.Checked
        if role == Qt.ItemDataRole.TextAlignmentRole and column in (_NUMBER, _RESIDUAL, _PIXELS):
            return (
                int(Qt.AlignmentFlag.AlignRight) | int(Qt.AlignmentFlag.AlignVCenter)
                if _plain_enums()
                else (Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            )
        if role == Qt.ItemDataRole.ToolTipRole and column == _WHAT:
            return self._tip(tie)
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if column == _NUMBER:
            return tie.number
        if column == _WHAT:
            return tr("by hand") if tie.by_hand else self._tip(tie)
        if column in (_RESIDUAL, _PIXELS):
            length = tie.residual / (self._gsd if column == _PIXELS else 1.0)
            return "–" if math.isnan(length) else number(length)
        return None

    def _tip(self, tie: Tie) -> str:
        """What it did, or why it was rejected, in full."""
        what = tr(_WORDS.get(tie.what, tie.what.replace("_", " ")))
        return tr("by hand: {what}").format(what=what) if tie.by_hand else what

    def setData(self, index: QModelIndex, value: Any, role: int = 0) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole or index.column() != _USE:
            return False
        number = self.ties[index.row()].number
        if Qt.CheckState(value) == Qt.CheckState.Checked:
            self.unticked.discard(number)
        else:
            self.unticked.add(number)
        self.dataChanged.emit(index, index)
        self.unticked_changed.emit()
        return True


def _plain_enums() -> bool:
    """Whether Qt's enumerations are whole numbers, as in PyQt5."""
    return isinstance(Qt.AlignmentFlag.AlignRight, int)
