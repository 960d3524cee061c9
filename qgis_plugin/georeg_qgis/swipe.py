"""Before and after on the canvas: another image left of a line that is dragged, on squares, or over all of it."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsMapRendererParallelJob, QgsMapSettings, QgsProject
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem, QgsMapTool
from qgis.PyQt.QtCore import QPointF, QRectF, Qt
from qgis.PyQt.QtGui import QColor, QImage, QPainterPath, QPen, QTextOption

Z = 50
"""What is drawn above the other image has more."""
_MARGIN = 8
LEFT, SQUARES, EVERYWHERE = "left", "squares", "everywhere"
"""Where the other image shows."""
SQUARE_PX = 96
"""Side of the squares of a checkerboard on the screen."""


class OtherImage(QgsMapCanvasItem):
    """Draws other layers over the canvas, left of ``at_px``; rendered beside the window's thread whenever the map moves."""

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self.setZValue(Z)
        self._canvas = canvas
        self._layers: list[str] = []
        self._job: QgsMapRendererParallelJob | None = None
        self.image: QImage | None = None
        self.at_px = canvas.width() // 2
        self.where = LEFT
        self.names = ("", "")
        """What is left and right of the line."""
        canvas.extentsChanged.connect(self.render)
        canvas.mapCanvasRefreshed.connect(self._sized)
        self.setVisible(False)

    @property
    def everywhere(self) -> bool:
        """Whether it covers the whole canvas."""
        return self.where == EVERYWHERE

    def show_layers(self, layers: list[str], names: Any) -> None:
        """Draw these from now on, by their ids, the first on top."""
        self._layers, self.names = layers, names
        self.render()

    def set_at(self, at_px: int) -> None:
        """Move the line to a column of the canvas."""
        self.at_px = max(0, min(at_px, self._canvas.width()))
        self.update()

    def render(self) -> None:
        """Draw the layers anew, not waited for."""
        self._stop()
        self.image = None
        known = [QgsProject.instance().mapLayer(one) for one in self._layers]
        layers = [layer for layer in known if layer is not None]
        if not layers or not self.isVisible():
            return
        settings = QgsMapSettings(self._canvas.mapSettings())
        settings.setLayers(layers)
        self._job = QgsMapRendererParallelJob(settings)
        self._job.finished.connect(self._rendered)
        self._job.start()

    def release(self) -> None:
        """Leave the canvas."""
        self._stop()
        self._canvas.extentsChanged.disconnect(self.render)
        self._canvas.mapCanvasRefreshed.disconnect(self._sized)
        self._layers = []
        self._canvas.scene().removeItem(self)

    def updatePosition(self) -> None:
        """It covers the canvas wherever the map is."""
        self.setPos(0, 0)

    def boundingRect(self) -> QRectF:
        return QRectF(0, 0, self._canvas.width(), self._canvas.height())

    def paint(self, painter: Any, option: Any = None, widget: Any = None) -> None:
        if self.image is not None:
            painter.save()
            if self.where == LEFT:
                painter.setClipRect(QRectF(0, 0, self.at_px, self._canvas.height()))
            elif self.where == SQUARES:
                painter.setClipPath(self._squares())
            painter.drawImage(QPointF(0, 0), self.image)
            painter.restore()
        if self.where == LEFT:
            self._draw_line(painter)
        self._draw_names(painter)

    def _squares(self) -> QPainterPath:
        """Every second square of the canvas, from the middle, where one looks, outwards."""
        middle = (self._canvas.width() // 2, self._canvas.height() // 2)
        first = [at % SQUARE_PX - SQUARE_PX for at in middle]
        path = QPainterPath()
        for k, x in enumerate(range(first[0], self._canvas.width(), SQUARE_PX)):
            for j, y in enumerate(range(first[1], self._canvas.height(), SQUARE_PX)):
                if (k + j) % 2 == 0:
                    path.addRect(QRectF(x, y, SQUARE_PX, SQUARE_PX))
        return path

    def _draw_line(self, painter: Any) -> None:
        for colour, width in ((QColor(0, 0, 0, 160), 4), (QColor(255, 255, 255), 2)):
            painter.setPen(QPen(colour, width))
            painter.drawLine(QPointF(self.at_px, 0), QPointF(self.at_px, self._canvas.height()))

    def _draw_names(self, painter: Any) -> None:
        """Which image is where, as far as there is room."""
        metrics = painter.fontMetrics()
        sides = ((self.names[0], -1), (self.names[1], 1))
        if self.where != LEFT:
            sides = ((self.names[0] if self.everywhere else " / ".join(self.names), -1),)
        for name, side in sides:
            box = QRectF(metrics.boundingRect(name)).adjusted(0, 0, 12, 6)
            x = _MARGIN if self.where != LEFT else self.at_px + (_MARGIN if side > 0 else -_MARGIN - box.width())
            box.moveTo(x, _MARGIN)
            painter.fillRect(box, QColor(0, 0, 0, 170))
            painter.setPen(QColor(255, 255, 255))
            painter.drawText(box, name, QTextOption(Qt.AlignmentFlag.AlignCenter))

    def _sized(self) -> None:
        if self.image is None and self._job is None:
            self.render()

    def _rendered(self) -> None:
        if self._job is not None:
            self.image = self._job.renderedImage()
            self._job = None
            self.update()

    def _stop(self) -> None:
        if self._job is not None:
            self._job.finished.disconnect(self._rendered)
            self._job.cancelWithoutBlocking()
            self._job = None


class SwipeTool(QgsMapTool):
    """Drags the line of an `OtherImage`."""

    def __init__(self, canvas: QgsMapCanvas, item: OtherImage) -> None:
        super().__init__(canvas)
        self._item = item
        self.setCursor(Qt.CursorShape.SplitHCursor)

    def canvasPressEvent(self, event: Any) -> None:
        self._item.set_at(event.pos().x())

    def canvasMoveEvent(self, event: Any) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._item.set_at(event.pos().x())
