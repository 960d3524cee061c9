"""Where tie points are sought: the whole overlap, what the canvas shows, a polygon drawn on it, or polygons of a layer."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
)
from qgis.gui import QgsMapCanvas, QgsMapLayerComboBox, QgsRubberBand
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from .compat import POLYGON_LAYERS
from .exports import Exports
from .footprints import box_of
from .grids import Box
from .map_tools import PolygonTool, area_band
from .vector_files import PolygonsStep, polygons_in_words, write_polygon

OVERLAP, CANVAS, DRAWN, LAYER = "overlap", "canvas", "drawn", "layer"


class AreaBox(QWidget):
    """A combo box, and what the choice needs: a button to draw with, or a polygon layer."""

    changed = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._tool: PolygonTool | None = None
        self._drawn: tuple[QgsGeometry, QgsCoordinateReferenceSystem] | None = None
        self._band: QgsRubberBand | None = None
        self.choice = QComboBox()
        for key, name in (
            (OVERLAP, self.tr("Whole overlap")),
            (CANVAS, self.tr("What the canvas shows")),
            (DRAWN, self.tr("Drawn polygon")),
            (LAYER, self.tr("Polygon layer")),
        ):
            self.choice.addItem(name, key)
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.setMinimumContentsLength(6)
        self.draw_button = QPushButton(self.tr("Draw"))
        self.draw_button.setCheckable(True)
        self.draw_button.toggled.connect(self._draw)
        self.layer = QgsMapLayerComboBox()
        self.layer.setFilters(POLYGON_LAYERS)
        self.layer.setMinimumContentsLength(6)
        self.layer.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self._lay_out()
        self.choice.currentIndexChanged.connect(self._chosen)
        self.layer.layerChanged.connect(self._other_layer)
        canvas.destinationCrsChanged.connect(self._show_band)
        self._watched: Any = None
        self._other_layer(self.layer.currentLayer())

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.choice, 1)
        row.addWidget(self.draw_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.layer)
        column.addWidget(self.note)

    @property
    def key(self) -> str:
        """What is chosen."""
        return str(self.choice.currentData())

    def choose(self, key: str) -> None:
        """Choose one of the four."""
        self.choice.setCurrentIndex(self.choice.findData(key))

    def box_in(self, crs: QgsCoordinateReferenceSystem) -> Box | None:
        """The box around the area, in a CRS; None for the whole overlap, or where there is no area yet."""
        found = self._polygon()
        if found is None:
            return None
        polygon, own = QgsGeometry(found[0]), found[1]
        try:
            polygon.transform(QgsCoordinateTransform(own, crs, QgsProject.instance()))
        except QgsCsException:
            return None
        return box_of(polygon.boundingBox())

    def words(self, exports: Exports) -> tuple[list[str], list[PolygonsStep]]:
        """Words for the command line, and what is to be written first.

        Raises
        ------
        ValueError
            There is no area yet.
        """
        if self.key == OVERLAP:
            return [], []
        path = exports.new_path("area", ".gpkg")
        if self.key == LAYER:
            layer = self.layer.currentLayer()
            if layer is None or layer.featureCount() == 0:
                raise ValueError(self.tr("The area is a polygon layer, but there is none with polygons; choose one."))
            return ["--area", path], [PolygonsStep(layer, path)]
        found = self._polygon()
        if found is None:
            raise ValueError(
                self.tr("The area is a drawn polygon, but none is drawn yet; draw it under “Where to look”.")
            )
        write_polygon(*found, path)
        return ["--area", path], []

    def reset(self) -> None:
        """The whole overlap."""
        self.choose(OVERLAP)

    def release(self) -> None:
        """Leave nothing on the canvas."""
        self._canvas.destinationCrsChanged.disconnect(self._show_band)
        if self._tool is not None:
            self._tool.leave()
        self._drawn = None
        self._show_band()

    def set_drawn(self, polygon: QgsGeometry) -> None:
        """A polygon in the CRS of the canvas."""
        self._drawn = (QgsGeometry(polygon), self._canvas.mapSettings().destinationCrs())
        self._show()

    def _polygon(self) -> tuple[QgsGeometry, QgsCoordinateReferenceSystem] | None:
        """The area and its CRS, as far as it is known without reading a layer's features."""
        settings = self._canvas.mapSettings()
        if self.key == CANVAS:
            corners = [QgsPointXY(point) for point in settings.visiblePolygon()]
            return QgsGeometry.fromPolygonXY([corners]), settings.destinationCrs()
        if self.key == DRAWN:
            return self._drawn
        layer = self.layer.currentLayer()
        if self.key == LAYER and layer is not None:
            box = layer.boundingBoxOfSelected() if layer.selectedFeatureCount() else layer.extent()
            return QgsGeometry.fromRect(box), layer.crs()
        return None

    def _chosen(self, *_: Any) -> None:
        """Another of the four; one that is to be drawn is drawn at once."""
        self.draw_button.setChecked(self.key == DRAWN and self._drawn is None)
        self._show()

    def _draw(self, on: bool) -> None:
        if on and self._tool is None:
            self._tool = tool = PolygonTool(self._canvas)
            tool.drawn.connect(self.set_drawn)
            tool.left.connect(self._left)
            self._canvas.setMapTool(tool)
            self._canvas.setFocus()
        elif not on and self._tool is not None:
            self._tool.leave()
        self._show()

    def _left(self) -> None:
        tool, self._tool = self._tool, None
        if tool is not None:
            tool.deleteLater()
        self.draw_button.setChecked(False)
        self._show()

    def _other_layer(self, layer: Any) -> None:
        """Hear of the selection of the layer that is chosen."""
        if self._watched is not None:
            with suppress(RuntimeError, TypeError):  # the layer was removed
                self._watched.selectionChanged.disconnect(self._show)
        self._watched = layer
        if layer is not None:
            layer.selectionChanged.connect(self._show)
        self._show()

    def _show(self, *_: Any) -> None:
        """What the choice needs, and what it means now."""
        key, layer = self.key, self.layer.currentLayer()
        self.draw_button.setVisible(key == DRAWN)
        self.draw_button.setText(self.tr("Draw again") if self._drawn else self.tr("Draw"))
        self.layer.setVisible(key == LAYER)
        text = ""
        if self._tool is not None:
            text = self.tr("Click the corners on the map. A right click ends, Backspace takes one back, Esc gives up.")
        elif key == CANVAS:
            text = self.tr("As it is when Align is pressed.")
        elif key == DRAWN and self._drawn is None:
            text = self.tr("Nothing is drawn yet.")
        elif key == LAYER:
            text = (
                self.tr("Taken: {which}.").format(which=polygons_in_words(layer))
                if layer
                else self.tr("No such layer.")
            )
        self.note.setText(text)
        self.note.setVisible(bool(text))
        self._show_band()
        self.changed.emit()

    def _show_band(self) -> None:
        """The drawn polygon stays in sight as long as it counts."""
        if self._band is not None:
            self._canvas.scene().removeItem(self._band)
            self._band = None
        if self.key == DRAWN and self._drawn is not None:
            self._band = area_band(self._canvas)
            polygon = QgsGeometry(self._drawn[0])
            own, shown = self._drawn[1], self._canvas.mapSettings().destinationCrs()
            try:
                polygon.transform(QgsCoordinateTransform(own, shown, QgsProject.instance()))
            except QgsCsException:
                return
            self._band.setToGeometry(polygon, None)
