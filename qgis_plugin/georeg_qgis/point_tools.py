"""Tools of the canvas for tie points by hand: two clicks make one, and an end of one can be dragged."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsGeometry, QgsPointXY
from qgis.gui import QgsMapCanvas, QgsMapTool, QgsRubberBand
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor

from .compat import LINE
from .swipe import Z

HAND = QColor(240, 60, 200)
"""Colour of what is done by hand."""
TARGET, REFERENCE = "target", "reference"


def line_between(canvas: QgsMapCanvas, one: QgsPointXY, other: QgsPointXY) -> QgsRubberBand:
    """A line between two places, map coordinates of the canvas."""
    band = QgsRubberBand(canvas, LINE)
    band.setColor(HAND)
    band.setWidth(2)
    band.setToGeometry(QgsGeometry.fromPolylineXY([one, other]), None)
    band.setZValue(Z + 1)
    return band


class HandTool(QgsMapTool):
    """What both tools have in common: they give the canvas back as it was. The right button and Esc give up."""

    pointed = pyqtSignal(object, object)
    """Where the feature is in the target, and in the reference; one is None where it stays. Map coordinates of the canvas."""
    wanted = pyqtSignal(str)
    """Which raster is to be seen now: ``target`` or ``reference``."""
    left = pyqtSignal()
    """It is over, whether or not something came of it."""

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self._before = canvas.mapTool()
        self._band: QgsRubberBand | None = None
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.deactivated.connect(self._gone)

    def leave(self) -> None:
        """Give the canvas back."""
        canvas = self.canvas()
        if canvas is not None and canvas.mapTool() is self:
            canvas.unsetMapTool(self)
            if self._before is not None:
                canvas.setMapTool(self._before)

    def keyPressEvent(self, event: Any) -> None:
        if event.key() == Qt.Key.Key_Escape:
            event.accept()  # which the canvas would take for itself
            self.leave()

    def _draw(self, one: QgsPointXY, other: QgsPointXY) -> None:
        self._clear()
        self._band = line_between(self.canvas(), one, other)

    def _clear(self) -> None:
        if self._band is not None:
            self.canvas().scene().removeItem(self._band)
        self._band = None

    def _gone(self) -> None:
        self._clear()
        self.left.emit()


class AddTool(HandTool):
    """A click in the target, then one in the reference."""

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self._target: QgsPointXY | None = None

    def canvasMoveEvent(self, event: Any) -> None:
        if self._target is not None:
            self._draw(self._target, QgsPointXY(event.mapPoint()))

    def canvasReleaseEvent(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            self.leave()
        elif self._target is None:
            self._target = QgsPointXY(event.mapPoint())
            self.wanted.emit(REFERENCE)
        else:
            target, reference = self._target, QgsPointXY(event.mapPoint())
            self.leave()
            self.pointed.emit(target, reference)


class MoveTool(HandTool):
    """Drags an end of a tie point; the end that is nearer to where the button is pressed."""

    def __init__(self, canvas: QgsMapCanvas, target: QgsPointXY, reference: QgsPointXY) -> None:
        super().__init__(canvas)
        self._ends = {TARGET: target, REFERENCE: reference}
        self._held = ""
        self._draw(target, reference)

    def canvasPressEvent(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            at = QgsPointXY(event.mapPoint())
            self._held = min(self._ends, key=lambda end: self._ends[end].sqrDist(at))
            self.wanted.emit(self._held)

    def canvasMoveEvent(self, event: Any) -> None:
        if self._held:
            self._ends[self._held] = QgsPointXY(event.mapPoint())
            self._draw(self._ends[TARGET], self._ends[REFERENCE])

    def canvasReleaseEvent(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton or not self._held:
            self.leave()
            return
        moved = {self._held: QgsPointXY(event.mapPoint())}
        self.leave()
        self.pointed.emit(moved.get(TARGET), moved.get(REFERENCE))
