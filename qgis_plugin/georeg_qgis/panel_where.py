"""Where to look: an area, what is masked, and how far the target may be off; a folded section, since most need none of it."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsRasterLayer
from qgis.gui import QgsMapCanvas, QgsMapLayerComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget

from .area_box import OVERLAP, AreaBox
from .compat import POLYGON_LAYERS, RASTER_LAYERS
from .exports import Exports, is_picture
from .folds import fold
from .pairs import Looked, Pair
from .search_box import SearchBox
from .sources import source_of
from .vector_files import PolygonsStep

FLAGS = {"reference": "--ref-mask", "target": "--tgt-mask"}


class WherePanel(QWidget):
    """What limits the search, and the words for it."""

    changed = pyqtSignal()
    """Something that the pair's facts depend on."""

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.area, self.search = AreaBox(canvas), SearchBox(canvas)
        self.masks = {key: self._mask_combo() for key in FLAGS}
        self.fold = fold("", "where")
        form = QFormLayout(self.fold)
        form.setRowWrapPolicy(
            QFormLayout.RowWrapPolicy.WrapLongRows
        )  # in a narrow panel, fields stand below their names
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows = (
            (self.tr("Area"), self.area),
            (self.tr("Search within"), self.search),
            (self.tr("Reference mask"), self.masks["reference"]),
            (self.tr("Target mask"), self.masks["target"]),
        )
        for name, widget in rows:
            form.addRow(name, widget)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.fold)
        self.area.changed.connect(self._limited)
        self.search.changed.connect(self._limited)
        for combo in self.masks.values():
            combo.layerChanged.connect(self._limited)
            combo.currentIndexChanged.connect(self._limited)  # layerChanged is silent where the layer was removed
        self._limited()

    def _mask_combo(self) -> QgsMapLayerComboBox:
        combo = QgsMapLayerComboBox()
        combo.setFilters(POLYGON_LAYERS | RASTER_LAYERS)
        combo.setAllowEmptyLayer(True, self.tr("none"))
        combo.setCurrentIndex(0)
        combo.setMinimumContentsLength(8)
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        tip = self.tr(
            "Clouds, water or snow, which are not to be matched: polygons, or a raster that is not zero there."
        )
        combo.setToolTip(f"<p>{tip}</p>")
        return combo

    def looked(self, *, everywhere: bool) -> Looked:
        """For `pairs.pair`."""
        return Looked(everywhere, self.area.box_in, self.search.search_m)

    def pair_changed(self, pair: Pair, crs: Any) -> None:
        """Units and pixels of another pair."""
        self.search.pair_changed(pair, crs)

    def words(self, exports: Exports) -> tuple[list[str], list[Any]]:
        """Words for the command line, and what is to be written before they can be used.

        Raises
        ------
        ValueError
            A choice cannot be used as it is; the text says why.
        """
        words, steps = self.area.words(exports)
        said, written = [*self.search.words(), *words], list(steps)
        for key, combo in self.masks.items():
            layer = combo.currentLayer()
            if layer is not None:
                path, more = self._mask(layer, exports)
                said += [FLAGS[key], path]
                written += more
        return said, written

    def _mask(self, layer: Any, exports: Exports) -> tuple[str, list[Any]]:
        if not isinstance(layer, QgsRasterLayer):
            if layer.featureCount() == 0:
                raise ValueError(
                    self.tr("The mask “{name}” has no polygons; choose another.").format(name=layer.name())
                )
            path = exports.new_path("mask", ".gpkg")
            return path, [PolygonsStep(layer, path)]
        if is_picture(layer):
            text = self.tr("“{name}” is a web map, whose colours are no mask; choose polygons or a raster.")
            raise ValueError(text.format(name=layer.name()))
        source = source_of(layer, None, None, whole=True)
        if source.problem:
            raise ValueError(source.problem)
        if source.grid is None:
            return source.path, []
        step = exports.raster_step(layer, source.grid)
        return step.path, [step]

    def reset(self) -> None:
        """Look everywhere."""
        self.area.reset()
        self.search.set_search_m(0.0)
        for combo in self.masks.values():
            combo.setCurrentIndex(0)

    def release(self) -> None:
        """Leave nothing on the canvas."""
        self.area.release()
        self.search.release()

    def _limited(self, *_: Any) -> None:
        """A folded section says that something in it counts."""
        masked = any(combo.currentLayer() is not None for combo in self.masks.values())
        limited = self.area.key != OVERLAP or self.search.search_m > 0 or masked
        name = self.tr("Where to look")
        self.fold.setTitle(self.tr("{name} (limited)").format(name=name) if limited else name)
        self.changed.emit()
