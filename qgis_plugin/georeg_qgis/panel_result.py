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

_OWN = 2
"""So many choices of what to compare with are always there."""
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
    board_toggled = pyqtSignal(bool)
    tie_chosen = pyqtSignal(object)
    add_asked = pyqtSignal()
    move_asked = pyqtSignal(object)
    back_asked = pyqtSignal()
    refit_asked = pyqtSignal()
    undo_asked = pyqtSignal()
    command_asked = pyqtSignal()
    report_asked = pyqtSignal()
    processing_asked = pyqtSignal()
    setup_asked = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self._can_point, self._made = False, 0
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
        self.against.setMinimumContentsLength(8)
        self.against.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
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
        self.board_button = QPushButton(self.tr("Checkerboard"))
        self.board_button.setCheckable(True)
        self.board_button.setToolTip(
            self.tr("<p>Both images on alternating squares, 1:1 at the check point with the largest residual.</p>")
        )
        self.board_button.toggled.connect(self._board)
        self.dots = QCheckBox(self.tr("Tie points on the map"))
        self.dots.setChecked(True)
        self.dots.toggled.connect(self.dots_toggled)
        self.swipe_button.toggled.connect(self._swiping)
        beside = QHBoxLayout()
        beside.addWidget(QLabel(self.tr("Compare")))
        beside.addWidget(self.against, 1)
        grid.addLayout(beside, 0, 0, 1, 2)
        buttons = (self.swipe_button, self.flicker_button, self.board_button, self.worst_button)
        for k, button in enumerate(buttons):
            grid.addWidget(button, 1 + k // 2, k % 2)
        grid.addWidget(self.dots, 3, 0, 1, 2)
        for k in (0, 1):
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
        column.addLayout(self._hand_row())
        self.hand_told = QLabel()
        self.hand_told.setWordWrap(True)
        self.hand_told.setVisible(False)
        column.addWidget(self.hand_told)
        self.refit_button = QPushButton()
        self.refit_button.clicked.connect(lambda *_: self.refit_asked.emit())
        self.model.unticked_changed.connect(self._unticked)
        column.addWidget(self.refit_button)

    def _hand_row(self) -> QHBoxLayout:
        """Tie points by hand."""
        row = QHBoxLayout()
        self.add_button = QPushButton(self.tr("Add point"))
        self.add_button.clicked.connect(lambda *_: self.add_asked.emit())
        self.move_button = QPushButton(self.tr("Move"))
        self.move_button.clicked.connect(lambda *_: self._move())
        self.back_button = QPushButton(self.tr("Take back"))
        self.back_button.setToolTip(self.tr("<p>Take back the last point by hand.</p>"))
        self.back_button.clicked.connect(lambda *_: self.back_asked.emit())
        for button in (self.add_button, self.move_button, self.back_button):
            row.addWidget(button)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._show_hand())
        self._show_hand()
        return row

    def _build_after(self) -> None:
        grid = QGridLayout(self.after)
        grid.setContentsMargins(0, 0, 0, 0)
        self.report_button = QPushButton(self.tr("Open report"))
        self.command_button = QPushButton(self.tr("Copy as command"))
        self.processing_button = QPushButton(self.tr("Processing…"))
        self.processing_button.setToolTip(self.tr("<p>Open the same in Processing: the dialog of the algorithm.</p>"))
        self.undo_button = QPushButton(self.tr("Undo…"))
        for k, (button, signal) in enumerate(
            (
                (self.report_button, self.report_asked),
                (self.command_button, self.command_asked),
                (self.processing_button, self.processing_asked),
                (self.undo_button, self.undo_asked),
            )
        ):
            button.clicked.connect(lambda *_, signal=signal: signal.emit())
            grid.addWidget(button, k // 2, k % 2)

    def clear(self) -> None:
        """Nothing to show yet."""
        self.stop_comparing()
        for part in (self.verdict, self.figures, self.looking, self.points, self.after):
            part.setVisible(False)

    def stop_comparing(self) -> None:
        """Let go of swipe and checkerboard."""
        self.swipe_button.setChecked(False)
        self.board_button.setChecked(False)

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

    def show_figures(self, values: dict[str, Any], ties: Sequence[Tie], left_out: int = 0) -> None:
        """Figures before and after; ``left_out``: check points that the user had switched off."""
        unit = values["unit"]
        before, after = self.tr("before"), self.tr("after")
        heads = ((before, unit), ("", "px"), (after, unit), ("", "px"))
        if unit == "px":
            heads = (("", ""), (before, "px"), ("", ""), (after, "px"))
        head = "".join(f"<td align=right><b>{name}</b> {of}</td>" for name, of in heads)
        cells = "".join(
            f"<tr><td>{name}</td>"
            + "".join(f"<td align=right>{_strong(text, k > 1)}</td>" for k, text in enumerate(rest))
            + "</tr>"
            for name, *rest in rows(values)
        )
        table = f"<table width='100%' cellpadding=1><tr><td></td>{head}</tr>{cells}</table>"
        self.figures.setText(f"{table}<small>{html.escape(remarks(values, ties, left_out))}</small>")
        self.figures.setVisible(True)

    def show_ties(self, ties: Sequence[Tie], unit: str, gsd: float) -> None:
        """The table of tie points."""
        self.model.set_ties(ties, unit, gsd)
        self.points.setVisible(bool(ties))
        self.tell_hand("")

    def show_hand(self, *, can_point: bool, made: int) -> None:
        """Whether points can be made by hand, and how many there are to take back."""
        self._can_point, self._made = can_point, made
        self._show_hand()
        self._unticked()

    def tell_hand(self, text: str, *, bad: bool = False) -> None:
        """What to do for a point by hand, or why there is none."""
        ground, ink = _COLOURS["bad" if bad else "care"]
        self.hand_told.setStyleSheet(
            f"QLabel {{ background: {ground}; color: {ink}; padding: 6px; border-radius: 4px; }}"
        )
        self.hand_told.setText(html.escape(text))
        self.hand_told.setVisible(bool(text))

    def compare_also_with(self, name: str, key: str) -> None:
        """Offer another result to compare with, and compare with it."""
        while self.against.count() > _OWN:
            self.against.removeItem(_OWN)
        self.against.addItem(self.tr("with {name}").format(name=name), key)
        self.against.setCurrentIndex(_OWN)

    def compare_with_own(self) -> None:
        """Only with the inputs of the result."""
        if self.against.currentIndex() >= _OWN:
            self.against.setCurrentIndex(0)
        while self.against.count() > _OWN:
            self.against.removeItem(_OWN)

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

    def _move(self) -> None:
        rows = self.table.selectionModel().selectedRows()
        if rows:
            self.move_asked.emit(self.model.ties[rows[0].row()])

    def _show_hand(self) -> None:
        chosen = bool(self.table.selectionModel().selectedRows())
        self.add_button.setEnabled(self._can_point)
        self.move_button.setEnabled(self._can_point and chosen)
        self.back_button.setEnabled(self._made > 0)
        why = self.tr("QGIS does not show the target where georeg placed it, so nothing can be pointed at.")
        add = self.tr("Click a feature in the target, then in the reference; its exact place is measured.")
        move = self.tr("Drag an end of the point that is selected in the table; its exact place is measured.")
        self.add_button.setToolTip(f"<p>{add if self._can_point else why}</p>")
        self.move_button.setToolTip(f"<p>{move if self._can_point else why}</p>")

    def _unticked(self) -> None:
        """What a refit would do, on its button."""
        n, made = len(self.model.unticked), self._made
        changed = made > 0 or self.model.changed
        self.refit_button.setEnabled(changed)
        if not changed:
            self.refit_button.setText(self.tr("Untick or add points to refit"))
        elif made and n:
            text = self.tr("Refit with {made} by hand, without {n}")
            self.refit_button.setText(text.format(made=made, n=n))
        elif made:
            self.refit_button.setText(self.tr("Refit with {made} by hand").format(made=made))
        else:
            self.refit_button.setText(
                self.tr("Refit without {n} unticked").format(n=n) if n else self.tr("Refit with all")
            )

    def _board(self, on: bool) -> None:
        if on:
            self.swipe_button.setChecked(False)
        self.dots.setChecked(not on)
        self.board_toggled.emit(on)

    def _swiping(self, on: bool) -> None:
        if on:
            self.board_button.setChecked(False)
        self.dots.setChecked(not on)


def _strong(text: str, strong: bool) -> str:
    return f"<b>{text}</b>" if strong and text else text
