"""What was done so far: show a result again, put two beside each other, do one again."""

from __future__ import annotations

import html
from collections.abc import Sequence

from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
)

from .figures import in_a_line, side_by_side
from .history import Run

_ROWS_PX = 110


class HistoryPanel(QgsCollapsibleGroupBox):
    """A list of runs, the newest first; one or two of them can be chosen."""

    shown = pyqtSignal(object)
    compared = pyqtSignal(object, object)
    again = pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__("")
        self.setTitle(self.tr("History"))
        self._runs: list[Run] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        self.list = QListWidget()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setWordWrap(True)
        self.list.setFixedHeight(_ROWS_PX)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemSelectionChanged.connect(self._selected)
        column.addWidget(self.list)
        row = QGridLayout()
        self.show_button = QPushButton(self.tr("Show"))
        self.compare_button = QPushButton(self.tr("Compare two"))
        self.again_button = QPushButton(self.tr("Run again"))
        self.show_button.clicked.connect(lambda *_: self.shown.emit(self.chosen()[0]))
        self.compare_button.clicked.connect(lambda *_: self.compared.emit(*self.chosen()))
        self.again_button.clicked.connect(lambda *_: self.again.emit(self.chosen()[0]))
        row.setSpacing(4)
        for k, button in enumerate((self.show_button, self.compare_button, self.again_button)):
            row.addWidget(button, 0, k)
        column.addLayout(row)
        self.table = QLabel()
        self.table.setWordWrap(True)
        self.table.setTextFormat(Qt.TextFormat.RichText)
        column.addWidget(self.table)
        self.setCollapsed(True)
        self.show_runs([])

    def show_runs(self, runs: Sequence[Run]) -> None:
        """List these; the last is the one that is shown."""
        self._runs = sorted(runs, key=lambda run: run.when, reverse=True)
        self.list.clear()
        for run in self._runs:
            now = runs and run is runs[-1]
            what = in_a_line(run.values, len(run.by_hand))
            item = QListWidgetItem(f"{_clock(run)}  {run.name}\n{what}")
            item.setToolTip(f"<p>{html.escape(run.output or run.target)}<br>{html.escape(run.when)}</p>")
            font = item.font()
            font.setBold(bool(now))
            item.setFont(font)
            self.list.addItem(item)
        self.setVisible(bool(runs))
        self.table.setVisible(False)
        self._selected()

    def chosen(self) -> list[Run]:
        """The runs that are selected, the older first."""
        rows = sorted({index.row() for index in self.list.selectedIndexes()}, reverse=True)
        return [self._runs[row] for row in rows]

    def show_comparison(self, one: Run, other: Run) -> None:
        """Figures of both beside each other."""
        heads = "".join(f"<td align=right><b>{_breakable(run.name)}</b><br>{_clock(run)}</td>" for run in (one, other))
        cells = "".join(
            "<tr><td>{}</td><td align=right>{}</td><td align=right>{}</td></tr>".format(*map(_breakable, row))
            for row in side_by_side(one.values, other.values)
        )
        self.table.setText(f"<table width='100%' cellpadding=1><tr><td></td>{heads}</tr>{cells}</table>")
        self.table.setVisible(True)

    def _selected(self) -> None:
        n = len(self.chosen())
        self.show_button.setEnabled(n == 1)
        self.again_button.setEnabled(n == 1)
        self.compare_button.setEnabled(n == 2)


def _clock(run: Run) -> str:
    """Hours and minutes of a run."""
    return run.when[-8:-3]


def _breakable(text: str) -> str:
    """For a label that is as narrow as the panel: names may be broken, and a length has its pixels on a line of its own."""
    return html.escape(text).replace("_", "_\u200b").replace(" (", "<br>(")
