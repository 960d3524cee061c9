"""Tie points by hand: who points where, on which image, and what is asked of georeg for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qgis.core import QgsCoordinateReferenceSystem, QgsCoordinateTransform, QgsPointXY, QgsProject
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .compare import Compare
from .figures import Tie, snapped_tie, with_snapped
from .history import Run
from .i18n import translated as tr
from .point_tools import REFERENCE, TARGET, AddTool, HandTool, MoveTool

XY = tuple


@dataclass
class Draft:
    """Tie points that were measured by hand since the last fit, each of which can be taken back."""

    values: dict[str, Any]
    """The result that they are added to."""
    made: list[tuple[dict[str, Any], Tie, Any]] = field(default_factory=list)
    """The result with each of them, its tie point, and what that was before where it was moved."""

    @property
    def now(self) -> dict[str, Any]:
        """The result with all of them."""
        return self.made[-1][0] if self.made else self.values

    @property
    def numbers(self) -> set[int]:
        """Of those that were made or moved."""
        return {tie.number for _, tie, _ in self.made}

    def add(self, answer: dict[str, Any], before: Tie | None) -> Tie:
        """The tie point of an answer of ``georeg snap``."""
        tie = snapped_tie(answer)
        self.made.append((with_snapped(self.now, answer), tie, before))
        return tie

    def take_back(self) -> tuple[Tie, Any]:
        """The last of them, and what was there before it."""
        _, tie, before = self.made.pop()
        return tie, before


class Hand(QObject):
    """Lets somebody point on the canvas, with the raster in sight that the click is for."""

    told = pyqtSignal(str)
    """What to do now; empty: nothing any more."""
    pointed = pyqtSignal(object, object, object)
    """Places in the reference and in the target (None: georeg knows), working CRS, and the tie point that is moved or None."""

    def __init__(self, canvas: QgsMapCanvas, compare: Compare, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas, self._compare = canvas, compare
        self._tool: HandTool | None = None
        self._run: Run | None = None
        self._moved: Tie | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody is pointing."""
        return self._tool is not None

    def add(self, run: Run) -> None:
        """One more tie point: a click in the target, then one in the reference."""
        self.stop()
        self._begin(run, AddTool(self._canvas), None)
        self._see(TARGET)

    def move(self, run: Run, tie: Tie) -> None:
        """Another place for an end of a tie point."""
        self.stop()
        if tie.tgt_xy is None or run.crs is None:
            return
        ends = [self._to_canvas(run.crs).transform(QgsPointXY(*xy)) for xy in (tie.tgt_xy, tie.ref_xy)]
        self._begin(run, MoveTool(self._canvas, *ends), tie)
        self.told.emit(
            tr("Drag an end of point {n}: its place in the target or in the reference. Esc ends.").format(n=tie.number)
        )

    def stop(self) -> None:
        """Give the canvas back."""
        if self._tool is not None:
            self._tool.leave()

    def _begin(self, run: Run, tool: HandTool, moved: Tie | None) -> None:
        self._run, self._tool, self._moved = run, tool, moved
        tool.wanted.connect(self._see)
        tool.pointed.connect(self._pointed)
        tool.left.connect(self._left)
        self._canvas.setMapTool(tool)

    def _see(self, which: str) -> None:
        """Bring the raster into sight that is pointed at."""
        compared = self._run.shown.compared if self._run is not None and self._run.shown is not None else {}
        told = {TARGET: tr("target before"), REFERENCE: tr("reference")}
        if self._moved is None:
            told = {
                TARGET: tr("1 of 2: click a corner or a spot in the target as it was. Esc ends."),
                REFERENCE: tr("2 of 2: click the same in the reference. The exact place is measured."),
            }
            self.told.emit(told[which])
        if which in compared:
            self._compare.look([compared[which]], told[which])  # which is read where one looks, on the map

    def _left(self) -> None:
        self._tool = None
        self._compare.look_end()
        self.told.emit("")

    def _pointed(self, target: Any, reference: Any) -> None:
        run, tie = self._run, self._moved
        if run is None or run.crs is None:
            return
        canvas = self._canvas.mapSettings().destinationCrs()
        back = QgsCoordinateTransform(canvas, run.crs, QgsProject.instance())
        places = []
        for at, stays in ((reference, tie.ref_xy if tie else None), (target, tie.tgt_xy if tie else None)):
            moved = None if at is None else back.transform(at)
            places.append(stays if moved is None else (moved.x(), moved.y()))
        self.pointed.emit(places[0], places[1], tie)

    def _to_canvas(self, crs: QgsCoordinateReferenceSystem) -> QgsCoordinateTransform:
        return QgsCoordinateTransform(crs, self._canvas.mapSettings().destinationCrs(), QgsProject.instance())


def snap_words(ref_xy: XY, tgt_xy: XY | None, moved: Tie | None) -> list[str]:
    """Words of ``georeg snap`` for a place, exact to the last bit.

    >>> snap_words((1.5, -2.0), None, None)
    ['--ref-xy', '1.5,-2.0']
    """
    words = ["--ref-xy", "{!r},{!r}".format(*map(float, ref_xy))]
    if tgt_xy is not None:
        words += ["--tgt-xy", "{!r},{!r}".format(*map(float, tgt_xy))]
    return words if moved is None else [*words, "--replaces", str(moved.number)]


def can_point(run: Run) -> bool:
    """Whether QGIS shows the target where georeg has it, so that a click there says something."""
    placed = run.values["tie_points"]["inputs"].get("initial", "auto") in ("auto", "geotransform")
    return placed and run.shown is not None and {TARGET, REFERENCE} <= set(run.shown.compared)
