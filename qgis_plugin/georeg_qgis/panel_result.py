"""What came of a run: the verdict in words, figures before and after, the tie points, and what to do next."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from qgis.PyQt.QtCore import QModelIndex, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from .figures import Tie, Verdict, remarks, rows
from .tie_table import TieTable

_COLOURS = {"good": ("#e3f4e5", "#1a6b2b"), "care": ("#fff3d6", "#7a5200"), "bad": ("#fde3e1", "#a01c13")}
"""Ground and ink of a verdict; both are set, so that it reads on a dark theme too."""


class ResultPanel(QWidget):
    """Hidden until there is a verdict; the parts that need an aligned file until there is one."""

    swipe_toggled = pyqtSignal(bool)
    flicker = pyqtSignal(bool)
    """True while the button is held."""
    compared = pyqtSignal(str)
    """``reference`` or ``target``."""
    dots_toggled = pyqtSignal(bool)
    worst_asked = pyqtSignal()
    tie_chosen = pyqtSignal(object)
    refit_asked = pyqtSignal()
    undo_asked = pyqtSignal()
    command_asked = pyqtSignal()
    report_asked = pyqtSignal()
    setup_asked = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.verdict = QLabel()
        self.verdict.setWordWrap(True)
        self.verdict.setTextFormat(Qt.TextFormat.RichText)
        self.verdict.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.verdict.linkActivated.connect(lambda _: self.setup_asked.emit())
        column.addWidget(self.verdict)
        self.figures = QLabel()
        self.figures.setTextFormat(Qt.TextFormat.RichText)
        self.figures.setWordWrap(True)
        column.addWidget(self.figures)
        self.looking = QWidget()
        self._build_looking()
        column.addWidget(self.looking)
        self.points = QWidget()
        self._build_points()
        column.addWidget(self.points)
        self.after = QWidget()
        self._build_after()
        column.addWidget(self.after)
        self.clear()

    def _build_looking(self) -> None:
        grid = QGridLayout(self.looking)
        grid.setContentsMargins(0, 0, 0, 0)
        self.against = QComboBox()
        self.against.addItem(self.tr("with the reference"), "reference")
        self.against.addItem(self.tr("with the target as it was"), "target")
        self.against.currentIndexChanged.connect(lambda *_: self.compared.emit(self.against.currentData()))
        self.swipe_button = QPushButton(self.tr("Swipe"))
        self.swipe_button.setCheckable(True)
        self.swipe_button.setToolTip(self.tr("<p>Drag over the map: left of the line is the other image.</p>"))
        self.swipe_button.toggled.connect(self.swipe_toggled)
        self.flicker_button = QPushButton(self.tr("Hold to flicker"))
        self.flicker_button.setToolTip(self.tr("<p>The other image shows while the button is held.</p>"))
        self.flicker_button.pressed.connect(lambda: self.flicker.emit(True))
        self.flicker_button.released.connect(lambda: self.flicker.emit(False))
        self.worst_button = QPushButton(self.tr("Worst place 1:1"))
        self.worst_button.setToolTip(self.tr("<p>Zoom to the check point with the largest residual.</p>"))
        self.worst_button.clicked.connect(lambda *_: self.worst_asked.emit())
        self.dots = QCheckBox(self.tr("Tie points on the map"))
        self.dots.setChecked(True)
        self.dots.toggled.connect(self.dots_toggled)
        self.swipe_button.toggled.connect(lambda on: self.dots.setChecked(not on))
        grid.addWidget(QLabel(self.tr("Compare")), 0, 0)
        grid.addWidget(self.against, 0, 1, 1, 2)
        grid.addWidget(self.dots, 2, 0, 1, 3)
        for k, button in enumerate((self.swipe_button, self.flicker_button, self.worst_button)):
            grid.addWidget(button, 1, k)
            grid.setColumnStretch(k, 1)

    def _build_points(self) -> None:
        column = QVBoxLayout(self.points)
        column.setContentsMargins(0, 0, 0, 0)
        self.model = TieTable(self)
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setDefaultSectionSize(22)
        self.table.setMinimumHeight(150)
        self.table.setShowGrid(False)
        header = self.table.horizontalHeader()
        header.setResizeContentsPrecision(30)  # rows that are looked at for the widths, and not all of thousands
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        self.table.clicked.connect(self._clicked)
        column.addWidget(self.table)
        self.refit_button = QPushButton()
        self.refit_button.clicked.connect(lambda *_: self.refit_asked.emit())
        self.model.unticked_changed.connect(self._unticked)
        column.addWidget(self.refit_button)

    def _build_after(self) -> None:
        row = QHBoxLayout(self.after)
        row.setContentsMargins(0, 0, 0, 0)
        self.report_button = QPushButton(self.tr("Open report"))
        self.command_button = QPushButton(self.tr("Copy as command"))
        self.undo_button = QPushButton(self.tr("Undo…"))
        for button, signal in (
            (self.report_button, self.report_asked),
            (self.command_button, self.command_asked),
            (self.undo_button, self.undo_asked),
        ):
            button.clicked.connect(lambda *_, signal=signal: signal.emit())
            row.addWidget(button)

    def clear(self) -> None:
        """Nothing to show yet."""
        self.stop_comparing()
        for part in (self.verdict, self.figures, self.looking, self.points, self.after):
            part.setVisible(False)

    def stop_comparing(self) -> None:
        """Let go of the swipe."""
        self.swipe_button.setChecked(False)

    def show_verdict(self, verdict: Verdict, *, setup: bool = False) -> None:
        """The verdict in words; ``setup``: with a link to the page where georeg is set up."""
        ground, ink = _COLOURS[verdict.grade]
        text = "<br>".join(html.escape(line) for line in verdict.text.split("\n"))
        self.verdict.setStyleSheet(
            f"QLabel {{ background: {ground}; color: {ink}; padding: 8px; border-radius: 4px; }}"
        )
        link = f'<br><a href="setup">{self.tr("Set up georeg…")}</a>' if setup else ""
        self.verdict.setText(f"<b>{html.escape(verdict.title)}</b><br>{text}{link}")
        self.verdict.setVisible(True)

    def show_figures(self, values: dict[str, Any], ties: Sequence[Tie]) -> None:
        """Figures before and after."""
        unit = values["unit"]
        heads = (("before", unit), ("", "px"), ("after", unit), ("", "px"))
        if unit == "px":
            heads = (("", ""), ("before", "px"), ("", ""), ("after", "px"))
        head = "".join(f"<td align=right><b>{self.tr(name) if name else ''}</b> {of}</td>" for name, of in heads)
        cells = "".join(
            f"<tr><td>{name}</td>"
            + "".join(f"<td align=right>{_strong(text, k > 1)}</td>" for k, text in enumerate(rest))
            + "</tr>"
            for name, *rest in rows(values)
        )
        table = f"<table width='100%' cellpadding=1><tr><td></td>{head}</tr>{cells}</table>"
        self.figures.setText(f"{table}<small>{html.escape(remarks(values, ties))}</small>")
        self.figures.setVisible(True)

    def show_ties(self, ties: Sequence[Tie], unit: str, gsd: float) -> None:
        """The table of tie points."""
        self.model.set_ties(ties, unit, gsd)
        self.points.setVisible(bool(ties))

    def show_actions(self, *, aligned: bool) -> None:
        """What can be done with the result; without an aligned file there is nothing to compare."""
        self.looking.setVisible(aligned)
        self.after.setVisible(True)

    def show_undo(self) -> None:
        """Only what takes back the result before this run, where that has no place in the panel."""
        self.after.setVisible(True)

    def _clicked(self, index: QModelIndex) -> None:
        if index.column() != 0:
            self.tie_chosen.emit(self.model.ties[index.row()])

    def _unticked(self) -> None:
        n = len(self.model.unticked)
        self.refit_button.setEnabled(n > 0)
        self.refit_button.setText(
            self.tr("Refit without {n} unticked").format(n=n) if n else self.tr("Untick points to refit without them")
        )


def _strong(text: str, strong: bool) -> str:
    return f"<b>{text}</b>" if strong and text else text
