"""What the worker reads for a layer: its file, or which pixels of it have to be exported first."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProviderRegistry,
    QgsRasterLayer,
)

from .exports import is_picture
from .footprints import box_in, box_of, footprint, pixel_in
from .grids import MOST_DATA_PX, MOST_PICTURE_PX, Box, Grid, common, own_grid, picture_grid, widened
from .i18n import translated as tr

_REMOTE = ("/vsi", "http://", "https://", "s3://")
_MARGIN = 0.1
"""More of the reference than the target covers, as a share of the target's longer side, where no search distance is set."""
_EDGE_PX = 64
"""Windows of tie points reach so far beyond the edge of an area, pixels."""
_SIDE_PX = 4000
"""Of a picture of an area for which nothing says how fine it should be."""


@dataclass(frozen=True)
class Source:
    """Where the pixels of a layer come from."""

    path: str = ""
    """Of its file; empty where it has to be exported."""
    grid: Grid | None = None
    """What has to be exported, in the layer's CRS."""
    why: str = ""
    """Why it has to be."""
    problem: str = ""
    """Why it cannot be used at all."""


@dataclass(frozen=True)
class Ground:
    """What is wanted of a layer: a box in its CRS, and how fine, map units in a pixel."""

    box: Box
    pixel: float


def path_of(layer: QgsMapLayer | None) -> str:
    """The file that a worker can open for a layer; empty where there is none."""
    if layer is None or not isinstance(layer, QgsRasterLayer) or layer.providerType() != "gdal":
        return ""
    source = str(layer.source())
    if source.startswith("/vsimem"):  # memory of QGIS, which the worker has not
        return ""
    parts = QgsProviderRegistry.instance().decodeUri("gdal", source)
    if parts.get("openOptions") or parts.get("layerName"):
        return ""
    source = source.split("|")[0]
    return source if os.path.exists(source) or source.startswith(_REMOTE) else ""


def why_export(layer: QgsRasterLayer) -> str:
    """Why the worker cannot read what QGIS shows, in a sentence; empty where it can."""
    if is_picture(layer):
        return tr("“{name}” is a web map").format(name=layer.name())
    if not path_of(layer):
        return tr("“{name}” is not a file that georeg can open").format(name=layer.name())
    if _is_placed(layer) and layer.crs().isValid() and layer.crs() != layer.dataProvider().crs():
        return tr("“{name}” has its CRS in QGIS only, not in its file").format(name=layer.name())
    return ""


def _is_placed(layer: QgsRasterLayer) -> bool:
    """Whether its file says where it lies: without, QGIS puts pixel (0, 0) at the origin."""
    box = layer.extent()
    return not (box.xMinimum() == 0 and box.yMaximum() == 0 and box.width() == layer.width())


def source_of(
    layer: QgsRasterLayer,
    ground: Ground | None,
    area: Box | None,
    *,
    whole: bool,
) -> Source:
    """What to read for a layer.

    Parameters
    ----------
    ground
        What the other raster covers, by which a web map is cut; None where that is not known.
    area
        Of which nothing beyond is needed.
    whole
        All of it is needed, since it will be corrected, unless it is a web map.
    """
    why = why_export(layer)
    if not why:
        return Source(path_of(layer))
    if is_picture(layer):
        return _picture(layer, ground, _with_edge(area, ground), why)
    if layer.width() <= 0 or layer.height() <= 0 or layer.extent().isEmpty():
        return Source(problem=tr("{why}, nor can it be exported; save it as a GeoTIFF first.").format(why=why))
    own = box_of(layer.extent())
    area = _with_edge(area, ground)
    box = own if whole or ground is None else common(own, ground.box)
    box = common(box, area) if box and area and not whole else box
    if box is None:
        return Source(why=why, problem=tr("{why}, and it lies elsewhere: nothing of it is needed.").format(why=why))
    grid = own_grid(box, own, layer.width(), layer.height())
    if grid.n_px > MOST_DATA_PX:
        text = tr("{why}, and {n} million pixels are too many to copy it by the way; save it as a GeoTIFF first.")
        return Source(why=why, problem=text.format(why=why, n=round(grid.n_px / 1e6)))
    return Source(grid=grid, why=why)


def _with_edge(area: Box | None, ground: Ground | None) -> Box | None:
    """An area and as much beyond it as the windows on its edge reach."""
    return widened(area, _EDGE_PX * ground.pixel) if area and ground else area


def _picture(layer: QgsRasterLayer, ground: Ground | None, area: Box | None, why: str) -> Source:
    box = ground.box if ground else area
    if ground and area:
        box = common(ground.box, area)
        if box is None:
            return Source(why=why, problem=tr("{why}, and nothing of the area lies there.").format(why=why))
    if box is None:
        return Source(
            why=why, problem=tr("{why} of all the world; choose an area under “Where to look”.").format(why=why)
        )
    own = box_of(layer.extent())
    inside = common(box, own)
    if inside is None:
        return Source(why=why, problem=tr("{why}, and it does not show this area.").format(why=why))
    pixel = ground.pixel if ground else max(inside[2] - inside[0], inside[3] - inside[1]) / _SIDE_PX
    natives = list(layer.dataProvider().nativeResolutions())
    return Source(grid=picture_grid(inside, pixel, natives, _tiles_from(layer), MOST_PICTURE_PX), why=why)


def _tiles_from(layer: QgsRasterLayer) -> tuple[float, float]:
    """Where tiles are counted from: that of the web's grid, or the corner of the layer."""
    extent = layer.extent()
    if layer.crs().authid() == "EPSG:3857":
        edge = math.pi * 6378137.0
        return -edge, edge
    return extent.xMinimum(), extent.yMaximum()


def ground_of(
    other: QgsRasterLayer, crs: QgsCoordinateReferenceSystem, margin_m: float, metres_per_unit: float
) -> Ground | None:
    """What a raster covers in another CRS, and somewhat more; None where it does not say where it lies, or is a web map."""
    if not other.crs().isValid() or not crs.isValid() or is_picture(other):
        return None
    box = box_in(box_of(other.extent()), other.crs(), crs)
    if box is None:
        return None
    margin = margin_m / metres_per_unit if margin_m > 0 else _MARGIN * max(box[2] - box[0], box[3] - box[1])
    return Ground(widened(box, margin), pixel_in(footprint(other), crs))
