"""Where rasters lie, and how large their pixels are there, in whatever CRS it is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsDistanceArea,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsUnitTypes,
)

from .compat import METRES
from .grids import Box, Grid, widened


@dataclass(frozen=True)
class Footprint:
    """What georeg sees of a raster."""

    box: Box
    pixel: float
    """Side of a pixel, units of its CRS; the geometric mean where pixels are no squares."""
    crs: QgsCoordinateReferenceSystem


def footprint(layer: QgsRasterLayer, grid: Grid | None = None) -> Footprint:
    """Of a layer, or of those of its pixels that are exported."""
    if grid is not None:
        return Footprint(grid.box, math.sqrt(grid.pixel_x * grid.pixel_y), layer.crs())
    pixel = math.sqrt(layer.rasterUnitsPerPixelX() * layer.rasterUnitsPerPixelY())
    return Footprint(box_of(layer.extent()), pixel, layer.crs())


def box_of(rectangle: QgsRectangle) -> Box:
    """As numbers."""
    return rectangle.xMinimum(), rectangle.yMinimum(), rectangle.xMaximum(), rectangle.yMaximum()


def box_in(box: Box, own: QgsCoordinateReferenceSystem, crs: QgsCoordinateReferenceSystem) -> Box | None:
    """A box around a box of another CRS; None where it cannot be expressed."""
    try:
        found = QgsCoordinateTransform(own, crs, QgsProject.instance()).transformBoundingBox(QgsRectangle(*box))
    except QgsCsException:
        return None
    return box_of(found) if found.isFinite() and not found.isEmpty() else None


def overlap_share(reference: Footprint, target: Footprint) -> float | None:
    """Share of the smaller that lies on the other, 0 to 1; None where one has no CRS."""
    if not reference.crs.isValid() or not target.crs.isValid():
        return None
    ref, tgt = _polygon(reference.box), _polygon(target.box)
    try:
        tgt.transform(QgsCoordinateTransform(target.crs, reference.crs, QgsProject.instance()))
    except QgsCsException:
        return 0.0
    smaller = min(ref.area(), tgt.area())
    return float(ref.intersection(tgt).area() / smaller) if smaller > 0 else 0.0


def pixel_in(seen: Footprint, crs: QgsCoordinateReferenceSystem) -> float:
    """Pixel size at the centre, in units of ``crs``."""
    if not crs.isValid() or not seen.crs.isValid() or seen.crs == crs:
        return seen.pixel
    x, y = _centre(seen.box)
    square = _polygon(widened((x, y, x, y), 50 * seen.pixel))
    try:
        square.transform(QgsCoordinateTransform(seen.crs, crs, QgsProject.instance()))
    except QgsCsException:
        return seen.pixel
    return math.sqrt(square.area()) / 100


def stretch(crs: QgsCoordinateReferenceSystem, seen: Footprint) -> float:
    """How many units of a map are one on the ground, at the centre; 1 where that is not known."""
    box = box_in(seen.box, seen.crs, crs) if crs.isValid() and seen.crs.isValid() and not crs.isGeographic() else None
    if box is None:
        return 1.0
    measure = QgsDistanceArea()
    measure.setSourceCrs(crs, QgsProject.instance().transformContext())
    measure.setEllipsoid(crs.ellipsoidAcronym() or "EPSG:7030")
    (x, y), step = _centre(box), (box[2] - box[0]) / 10
    try:
        ground = measure.measureLine(QgsPointXY(x - step, y), QgsPointXY(x + step, y))
    except QgsCsException:
        return 1.0
    metres = 2 * step * QgsUnitTypes.fromUnitToUnitFactor(crs.mapUnits(), METRES)
    return float(metres / ground) if ground > 0 else 1.0


def _polygon(box: Box) -> QgsGeometry:
    return QgsGeometry.fromRect(QgsRectangle(*box))


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
