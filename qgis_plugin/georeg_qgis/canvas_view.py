"""What the panel does to the canvas: tie points as they come, where to look, and before against after."""

from __future__ import annotations

import json
from collections.abc import Sequence

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
)
from qgis.gui import QgsMapCanvas, QgsRubberBand
from qgis.PyQt.QtCore import QObject
from qgis.PyQt.QtGui import QColor

from .compare import Compare
from .figures import Tie, worst
from .history import Run
from .i18n import translated as tr
from .point_tools import HAND
from .results import set_visible
from .swipe import Z

OTHER = "other"
"""Key of another result to compare with."""
_AROUND_PX = 200
"""A tie point is shown with this much ground around it, pixels of the raster."""


class CanvasView(QObject):
    """Knows the canvas and the run that is shown on it."""

    def __init__(self, canvas: QgsMapCanvas, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas = self.canvas = canvas
        self._run: Run | None = None
        self._gsd = 1.0
        self._band: QgsRubberBand | None = None
        self._marked: QgsRubberBand | None = None
        self._hand: list[QgsRubberBand] = []
        self.other: Run | None = None
        """Another result that this one is compared with."""
        self.compare = Compare(canvas, self)

    def preview(self, ties: Sequence[Tie], text: str, reference: QgsRasterLayer | None) -> None:
        """Dots where tie points have been found so far."""
        self.end_preview()
        crs = _named_crs(text) or (reference.crs() if reference is not None else QgsCoordinateReferenceSystem())
        self._band = self._dots([tie.ref_xy for tie in ties if tie.used], crs, QColor(26, 150, 65), 6)

    def end_preview(self) -> None:
        """The dots go; layers stand in their place."""
        self._remove(self._band)
        self._band = None

    def show_run(self, run: Run, gsd: float, against: str) -> None:
        """Look at a run: its corrected raster comes into sight where it is not."""
        self._run, self._gsd = run, gsd
        self.compare_with(against)
        aligned = QgsProject.instance().mapLayer(run.shown.aligned) if run.shown else None
        if aligned is not None:
            where = self._to_canvas(aligned.crs()).transformBoundingBox(aligned.extent())
            if not self._canvas.extent().intersects(where):
                self._canvas.setExtent(where)
                self._canvas.refresh()

    def compare_with(self, key: str) -> None:
        """Compare the corrected raster with the reference, with the target as it was (on the reference), or with another
        result."""
        if key == OTHER and self.other is not None and self.other.shown is not None:
            layers = [one for one in (self.other.shown.aligned,) if one]
            self.compare.set_layers(layers, (self.other.name, self._run.name if self._run else ""))
            return
        compared = self._run.shown.compared if self._run and self._run.shown else {}
        layers: list[str] = [compared[name] for name in ("target", "reference") if name in compared]
        if key == "reference":
            layers = [compared[key]] if key in compared else []
        name = tr("reference") if key == "reference" else tr("target before")
        self.compare.set_layers(layers, (name, tr("aligned")))

    def show_hand(self, ties: Sequence[Tie]) -> None:
        """Mark the tie points that somebody made by hand and that no fit has used yet."""
        for band in self._hand:
            self._remove(band)
        crs = self._run.crs if self._run is not None else None
        self._hand = [] if crs is None else [self._dots([tie.ref_xy], crs, HAND, 14) for tie in ties]

    def show_dots(self, on: bool) -> None:
        """Show or hide the layers of tie points."""
        if self._run is not None and self._run.shown is not None:
            set_visible(self._run.shown.dots, on)

    def zoom_to_worst(self, ties: Sequence[Tie]) -> None:
        """The worst check point, a pixel of the raster on a pixel of the screen."""
        found = worst(ties)
        if found is not None:
            self._look_at(found, self._canvas.width() * self._gsd, self._canvas.height() * self._gsd)

    def zoom_to(self, tie: Tie) -> None:
        """A tie point, with some ground around it."""
        self._look_at(tie, _AROUND_PX * self._gsd, _AROUND_PX * self._gsd)

    def zoom_to_layer(self, layer: QgsRasterLayer | None) -> None:
        """All of a layer, switched on where it was not."""
        node = None if layer is None else QgsProject.instance().layerTreeRoot().findLayer(layer.id())
        if node is None:
            return
        node.setItemVisibilityCheckedParentRecursive(True)
        extent = layer.extent()
        if layer.crs().isValid():
            extent = self._to_canvas(layer.crs()).transformBoundingBox(extent)
        extent.scale(1.05)
        self._canvas.setExtent(extent)
        self._canvas.refresh()

    def release(self) -> None:
        """Leave nothing on the canvas."""
        self.compare.release()
        self.end_preview()
        self._remove(self._marked)
        self.show_hand([])
        self._marked, self._run, self.other = None, None, None

    def _look_at(self, tie: Tie, width: float, height: float) -> None:
        if self._run is None or self._run.crs is None:
            return
        x, y = tie.ref_xy
        around = QgsRectangle(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        self._canvas.setExtent(self._to_canvas(self._run.crs).transformBoundingBox(around))
        self._canvas.refresh()
        self._remove(self._marked)
        self._marked = self._dots([tie.ref_xy], self._run.crs, QColor(255, 214, 0), 24)
        self._marked.setFillColor(QColor(0, 0, 0, 0))  # a ring, in which the tie point is seen

    def _to_canvas(self, crs: QgsCoordinateReferenceSystem) -> QgsCoordinateTransform:
        return QgsCoordinateTransform(crs, self._canvas.mapSettings().destinationCrs(), QgsProject.instance())

    def _dots(self, at: Sequence, crs: QgsCoordinateReferenceSystem, colour: QColor, size_px: int) -> QgsRubberBand:
        points = QgsGeometry.fromMultiPointXY([QgsPointXY(*xy) for xy in at])
        band = QgsRubberBand(self._canvas, points.type())
        band.setColor(colour)
        band.setIcon(QgsRubberBand.IconType.ICON_CIRCLE)
        band.setIconSize(size_px)
        band.setWidth(2)
        band.setToGeometry(points, crs)
        band.setZValue(Z + 1)
        return band

    def _remove(self, band: QgsRubberBand | None) -> None:
        if band is not None:
            self._canvas.scene().removeItem(band)


def _named_crs(text: str) -> QgsCoordinateReferenceSystem | None:
    """The CRS that a file of tie points names; None where it names none."""
    named = json.loads(text).get("crs")
    if isinstance(named, dict):
        named = (named.get("properties") or {}).get("name")
    crs = QgsCoordinateReferenceSystem()
    return crs if isinstance(named, str) and crs.createFromUserInput(named) else None
