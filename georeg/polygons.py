"""Polygons of a vector file, laid into another CRS or onto the pixels of a grid."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.features import rasterize
from rasterio.windows import Window

from georeg.errors import InputError
from georeg.initial import PIXELS
from georeg.raster import OPENING, Raster

SEGMENTS = 64
"""Straight edges are cut into pieces of this share of what is looked at, before they are laid into another CRS."""
_MARGIN = 0.05
"""Polygons are read this much beyond it, as a share of its side."""
_PEEKED = 100
"""So many features of a layer of mixed geometries are looked at to learn whether it has polygons."""
_UNNAMED = ("Unknown", "GeometryCollection")
_log = logging.getLogger(__name__)


class Outlines:
    """Polygons on the pixels of a grid, rasterised a window at a time.

    ``parts_px`` are in its pixel coordinates (column, row).
    """

    def __init__(self, parts_px: NDArray[Any]) -> None:
        self._parts, self._tree = parts_px, shapely.STRtree(parts_px)

    def inside(self, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) which pixels have their centre in a polygon; of larger ones which are touched by any.

        Parameters
        ----------
        window
            In pixels of the grid.
        shape
            Of what is returned.
        """
        top, left = float(window.row_off), float(window.col_off)
        box = (left, top, left + float(window.width), top + float(window.height))
        found = self._parts[np.sort(self._tree.query(shapely.box(*box)))]
        size = (float(window.width) / shape[1], float(window.height) / shape[0])
        near = shapely.clip_by_rect(found, box[0] - size[0], box[1] - size[1], box[2] + size[0], box[3] + size[1])
        near = near[~shapely.is_empty(near)]
        if not len(near):
            return np.zeros(shape, bool)
        to_map = Affine(size[0], 0, left, 0, size[1], top)
        burnt = rasterize(near.tolist(), shape, transform=to_map, all_touched=max(size) > 1, dtype="uint8")
        return np.asarray(burnt, bool)


def outlines_on(path: str, raster: Raster) -> Outlines:
    """The polygons of a file as they lie on the pixels of a raster.

    Of a raster without georeferencing they lie on its pixels, x = column and y = −row, as GIS programs show them, and have no
    CRS.

    Raises
    ------
    InputError
        The file cannot be read, holds no polygons, or does not say where they are as the raster does.
    """
    earthly = raster.placed in ("geotransform", "gcps") and raster.crs != PIXELS
    height, width = raster.shape
    crs, to_px = (raster.crs, ~raster.transform) if earthly else (PIXELS, Affine.scale(1, -1))
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    at_xy = _applied(~to_px, corners)
    parts = read_polygons(path, crs, (*at_xy.min(axis=0), *at_xy.max(axis=0)), unsaid=None if earthly else PIXELS)
    if not len(parts):
        _log.warning("no polygon of %s lies on %s; if that is not what you expect, check its CRS", path, raster.name)
    return Outlines(shapely.transform(parts, lambda xy: _applied(to_px, xy)))


def area_of(path: str, crs: CRS, ground: shapely.Geometry, *, unsaid: CRS, of: str) -> shapely.Geometry:
    """The polygons of a file, as far as they lie on some ground, as one geometry in ``crs``.

    Parameters
    ----------
    ground
        In ``crs``.
    unsaid
        CRS of a layer that has none.
    of
        What the ground is of, for messages.

    Raises
    ------
    InputError
        As `read_polygons`, or they lie beside the ground.
    """
    parts = read_polygons(path, crs, ground.bounds, unsaid=unsaid)
    area = shapely.intersection(shapely.union_all(parts), ground)
    if not area.area > 0:
        raise InputError(f"the area {path} lies nowhere on {of}; check its CRS and that it is drawn where {of} lies")
    return area


def inside_grid(area: shapely.Geometry, grid: GeoBox) -> NDArray[np.bool_]:
    """(height, width) which pixels of a grid have their centre in an area, which is in the CRS of the grid."""
    parts = _parts(np.array([shapely.transform(area, lambda xy: _applied(~grid.affine, xy))]))
    height, width = grid.shape
    return Outlines(parts).inside(Window(0, 0, width, height), (height, width))


def read_polygons(
    path: str, crs: CRS, bounds: tuple[float, float, float, float], *, unsaid: CRS | None
) -> NDArray[Any]:
    """The valid polygons of all layers of a file that lie within ``bounds``, or near, in ``crs``.

    Parameters
    ----------
    bounds
        (left, bottom, right, top) in ``crs``.
    unsaid
        CRS of a layer that has none; None: it must have one.

    Raises
    ------
    InputError
        The file cannot be read, holds no polygons, or has none or no usable CRS.
    """
    try:
        with _unheard():
            layers = [(str(name), kind) for name, kind in pyogrio.list_layers(path)]
            found = [_of_layer(path, name, crs, bounds, unsaid) for name, kind in layers if _may_hold(kind)]
            if not any(map(len, found)) and not any(_holds_polygons(path, name, kind) for name, kind in layers):
                raise InputError(f"{path} holds no polygons; draw some, or leave it out")
    except (DataSourceError, DataLayerError, UnicodeEncodeError, shapely.errors.GEOSException) as exc:
        if not os.path.exists(path) and "://" not in path and not path.startswith("/vsi"):
            raise InputError(f"{path} does not exist; check the path") from exc
        reason = str(exc).strip().splitlines()[0].rstrip(".")
        raise InputError(
            f"{path} cannot be read as a raster or as polygons ({reason}); give a file that gdalinfo or ogrinfo can read"
        ) from exc
    return np.concatenate([np.zeros(0, object), *found])


@contextmanager
def _unheard() -> Iterator[None]:
    """What GDAL warns of does not matter where only outlines are wanted."""
    with OPENING, warnings.catch_warnings(action="ignore"):
        yield


def _may_hold(kind: str | None) -> bool:
    """Whether a layer of geometries that GDAL names so may have polygons; None: a table."""
    return kind is not None and any(word in kind for word in ("Polygon", "Surface", *_UNNAMED))


def _holds_polygons(path: str, layer: str, kind: str | None) -> bool:
    if not _may_hold(kind):
        return False
    geometry = pyogrio.raw.read(path, layer=layer, columns=[], max_features=_PEEKED, force_2d=True)[2]
    return bool(len(_polygons(geometry)))


def _of_layer(
    path: str, layer: str, dst: CRS, bounds: tuple[float, float, float, float], unsaid: CRS | None
) -> NDArray[Any]:
    info = pyogrio.read_info(path, layer=layer)
    src = _layer_crs(path, layer, info["crs"], dst, unsaid)
    near = _bounds_in(src, dst, bounds)
    geometry = pyogrio.raw.read(path, layer=layer, columns=[], force_2d=True, bbox=near)[2]
    parts = _polygons(geometry)
    if near is not None:
        parts = _parts(shapely.intersection(parts, shapely.box(*near)))
    if src == dst or not len(parts):
        return parts
    left, bottom, right, top = near if near is not None else shapely.total_bounds(parts)
    parts = shapely.segmentize(parts, max(right - left, top - bottom) / SEGMENTS)
    to_dst = Transformer.from_crs(src, dst, always_xy=True)
    moved = shapely.transform(parts, lambda xy: np.stack(to_dst.transform(*xy.T), axis=1))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise InputError(
            f"polygons of layer {layer} of {path} cannot be expressed in {dst.name}; check their CRS {src.name}, or cut them "
            "to the ground of the rasters"
        )
    return _valid(moved)


def _layer_crs(path: str, layer: str, said: str | None, dst: CRS, unsaid: CRS | None) -> CRS:
    """That of a layer; its place must be on Earth or on pixels as that of ``dst`` is."""
    try:
        own = unsaid if said is None else CRS.from_user_input(said)
    except CRSError as exc:
        raise InputError(f"layer {layer} of {path} has a CRS that cannot be used ({exc}); assign another") from exc
    if own is not None and not (own.is_projected or own.is_geographic):
        own = unsaid  # a local one says no more than none
    if own is None:
        raise InputError(
            f"layer {layer} of {path} has no CRS (coordinate reference system); assign the one that it was drawn in, for "
            "example with: ogr2ogr -a_srs EPSG:32633 OUT IN"
        )
    if (own == PIXELS) != (dst == PIXELS):
        raise InputError(
            f"layer {layer} of {path} is in {own.name}, but the raster is not georeferenced; give polygons that were drawn on "
            "its pixels, without a CRS"
        )
    return own


def _bounds_in(src: CRS, dst: CRS, bounds: tuple[float, float, float, float]) -> tuple[float, ...] | None:
    """The same ground in another CRS, and a little more; None where it has no bounds there, as about the date line."""
    left, bottom, right, top = bounds
    if src != dst:
        try:
            left, bottom, right, top = Transformer.from_crs(dst, src, always_xy=True).transform_bounds(*bounds)
        except ProjError:
            return None
    if not all(map(math.isfinite, (left, bottom, right, top))) or left > right:
        return None
    margin = _MARGIN * max(right - left, top - bottom)
    return left - margin, bottom - margin, right + margin, top + margin


def _polygons(wkb: NDArray[Any]) -> NDArray[Any]:
    known = wkb[[one is not None for one in wkb]] if len(wkb) else wkb
    return _valid(shapely.from_wkb(known))


def _valid(geometries: NDArray[Any]) -> NDArray[Any]:
    return _parts(shapely.make_valid(_parts(geometries)))


def _parts(geometries: NDArray[Any]) -> NDArray[Any]:
    """The polygons in geometries, one by one; lines and points are left out."""
    parts = shapely.get_parts(shapely.get_parts(geometries))
    return np.asarray(parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)])


def _applied(transform: Affine, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return np.stack([a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f], axis=1)
