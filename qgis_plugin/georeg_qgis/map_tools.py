"""Tools of the canvas: a polygon drawn by clicks, and two clicks that say how far something is off."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsGeometry, QgsPointXY
from qgis.gui import QgsMapCanvas, QgsMapTool, QgsRubberBand
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor

from .compat import LINE, POLYGON

AREA = QColor(255, 140, 0)
"""Colour of an area."""
_DISTANCE = QColor(216, 27, 96)
_CORNERS = 3


def area_band(canvas: QgsMapCanvas) -> QgsRubberBand:
    """An empty rubber band that looks like an area."""
    band = QgsRubberBand(canvas, POLYGON)
    band.setStrokeColor(AREA)
    band.setFillColor(QColor(AREA.red(), AREA.green(), AREA.blue(), 40))
    band.setWidth(2)
    return band


class _ClickTool(QgsMapTool):
    """Takes points by clicks of the left button; the right one ends it, Esc gives up, Backspace takes a point back.

    Whatever tool was there before is there again afterwards.
    """

    left = pyqtSignal()
    """It is over, whether or not something came of it."""

    def __init__(self, canvas: QgsMapCanvas, band: QgsRubberBand) -> None:
        super().__init__(canvas)
        self.points: list[QgsPointXY] = []
        self._band = band
        self._before = canvas.mapTool()
        self._ends = False
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.deactivated.connect(self._gone)

    def leave(self) -> None:
        """Give the canvas back."""
        canvas = self.canvas()
        if canvas is not None and canvas.mapTool() is self:
            canvas.unsetMapTool(self)
            if self._before is not None:
                canvas.setMapTool(self._before)

    def canvasReleaseEvent(self, event: Any) -> None:
        if self._ends:  # with the release: that after a double click would be a click of the tool before
            self.finish()
        elif event.button() == Qt.MouseButton.LeftButton:
            self.points.append(QgsPointXY(event.mapPoint()))
            self._draw(self.points)
            self.clicked()
        elif event.button() == Qt.MouseButton.RightButton:
            self.finish()

    def canvasMoveEvent(self, event: Any) -> None:
        if self.points:
            self._draw([*self.points, QgsPointXY(event.mapPoint())])

    def canvasDoubleClickEvent(self, event: Any) -> None:
        """Ends it as well; the first of its two clicks has set the point."""
        self._ends = True

    def keyPressEvent(self, event: Any) -> None:
        if event.key() == Qt.Key.Key_Escape:
            event.ignore()  # QGIS need not know, but may
            self.leave()
        elif event.key() in (Qt.Key.Key_Backspace, Qt.Key.Key_Delete) and self.points:
            event.ignore()
            self.points.pop()
            self._draw(self.points)

    def clicked(self) -> None:
        """A point was added."""

    def finish(self) -> None:
        """No more points come."""

    def _draw(self, points: list) -> None:
        raise NotImplementedError

    def _gone(self) -> None:
        """Another tool was taken, or this was left."""
        if self._band is not None:
            self._band.reset(POLYGON)
            canvas = self.canvas()
            if canvas is not None:
                canvas.scene().removeItem(self._band)
            self._band = None
            self.left.emit()


class PolygonTool(_ClickTool):
    """Draws a polygon."""

    drawn = pyqtSignal(QgsGeometry)
    """Of at least three corners, valid, in the CRS of the canvas."""

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas, area_band(canvas))

    def finish(self) -> None:
        """Hand the polygon out; with fewer than three corners there is none yet."""
        self._ends = False
        corners = [point for k, point in enumerate(self.points) if k == 0 or point != self.points[k - 1]]
        if len(corners) < _CORNERS:
            return
        polygon = QgsGeometry.fromPolygonXY([corners])
        polygon = polygon if polygon.isGeosValid() else polygon.makeValid()
        if polygon.area() > 0:
            self.leave()
            self.drawn.emit(polygon)

    def _draw(self, points: list) -> None:
        if self._band is not None:
            flat = (
                QgsGeometry.fromPolygonXY([points]) if len(points) >= _CORNERS else QgsGeometry.fromPolylineXY(points)
            )
            self._band.setToGeometry(flat if len(points) > 1 else QgsGeometry.fromPointXY(points[0]), None)


class MeasureTool(_ClickTool):
    """Takes two points: where a feature is in the target, and where it is in the reference."""

    one_clicked = pyqtSignal()
    measured = pyqtSignal(QgsPointXY, QgsPointXY)

    def __init__(self, canvas: QgsMapCanvas) -> None:
        band = QgsRubberBand(canvas, LINE)
        band.setColor(_DISTANCE)
        band.setWidth(2)
        super().__init__(canvas, band)

    def clicked(self) -> None:
        """Two are enough."""
        if len(self.points) == 1:
            self.one_clicked.emit()
            return
        first, second = self.points[:2]
        self.leave()
        self.measured.emit(first, second)

    def canvasDoubleClickEvent(self, event: Any) -> None:
        """Its second click is the second point, which its release sets."""

    def _draw(self, points: list) -> None:
        if self._band is not None and points:
            shape = QgsGeometry.fromPolylineXY(points[:2]) if len(points) > 1 else QgsGeometry.fromPointXY(points[0])
            self._band.setToGeometry(shape, None)
