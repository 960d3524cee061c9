"""Fields of STAC extensions for a raster and for the accuracy of an alignment: plain values, without pystac."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from pyproj import CRS

from georeg.alignment import Alignment
from georeg.errors import InputError
from georeg.models import FloatArray
from georeg.placement import apply_transform, transform_xy
from georeg.raster import Raster

_WGS84 = CRS.from_epsg(4326)
_DECIMALS = 7
"""Of degrees: a centimetre."""
_SIDE_POINTS = 9
"""Of an edge, which may be curved in degrees."""


def projection_fields(raster: Raster) -> dict[str, Any]:
    """Where the pixels of a raster lie, by the extension projection 2.0."""
    height, width = raster.shape
    corners = apply_transform(raster.transform, np.array([[0, 0], [width, 0], [width, height], [0, height]], float))
    left_bottom, right_top = corners.min(axis=0), corners.max(axis=0)
    authority = raster.crs.to_authority()
    return {
        "proj:code": None if authority is None else ":".join(authority),
        **({"proj:wkt2": raster.crs.to_wkt()} if authority is None else {}),
        "proj:shape": [height, width],
        "proj:transform": [float(value) for value in tuple(raster.transform)[:6]],
        "proj:bbox": [*map(float, left_bottom), *map(float, right_top)],
        "proj:geometry": {"type": "Polygon", "coordinates": [[*corners.tolist(), corners[0].tolist()]]},
    }


def accuracy_fields(alignment: Alignment) -> dict[str, Any]:
    """What the check points say of the corrected raster, metres, by the extension accuracy and, what it lacks, as ``georeg:``.

    It is how well the raster agrees with the reference, not where on Earth that lies.
    """
    after, metre = alignment.after, float(alignment.crs.axis_info[0].unit_conversion_factor)
    spread = [math.sqrt(max(0.0, rmse**2 - bias**2)) for rmse, bias in _per_axis(alignment)]
    return {
        "accuracy:geometric_rmse": after.rmse * metre,
        "accuracy:geometric_x_bias": after.bias_x * metre,
        "accuracy:geometric_y_bias": after.bias_y * metre,
        "accuracy:geometric_x_stddev": spread[0] * metre,
        "accuracy:geometric_y_stddev": spread[1] * metre,
        "georeg:ce90": after.ce90 * metre,
        "georeg:check_points": after.n,
        "georeg:gsd": after.gsd * metre,
    }


def _per_axis(alignment: Alignment) -> list[tuple[float, float]]:
    after = alignment.after
    return [(after.rmse_x, after.bias_x), (after.rmse_y, after.bias_y)]


def footprint_fields(raster: Raster) -> tuple[dict[str, Any], list[float]]:
    """Outline of a raster as GeoJSON, cut where it reaches over the date line, and its bounding box: by RFC 7946, degrees.

    Raises
    ------
    InputError
        It has no outline in degrees, as about a pole.
    """
    around = _outline(raster)
    over = np.ptp(around[:, 0]) > 180
    if over:
        around[:, 0] %= 360
    if not np.isfinite(around).all() or np.ptp(around[:, 0]) > 180:
        raise InputError(f"{raster.name} reaches over a pole or around the Earth; an Item cannot say so where it lies")
    (west, south), (east, north) = around.min(axis=0), around.max(axis=0)
    parts = [shapely.Polygon(around)]
    if over:
        sides = [shapely.intersection(parts[0], shapely.box(low, -90, low + 180, 90)) for low in (0, 180)]
        east -= 360
        parts = [sides[0], shapely.transform(sides[1], lambda xy: xy - [360, 0])]
    rings = [[_closed(shapely.geometry.polygon.orient(part).exterior)] for part in parts]
    geometry = {"type": "MultiPolygon", "coordinates": rings} if over else {"type": "Polygon", "coordinates": rings[0]}
    return geometry, [round(float(value), _DECIMALS) for value in (west, south, east, north)]


def _outline(raster: Raster) -> FloatArray:
    """(N, 2) longitude and latitude around a raster, edges cut into pieces."""
    (height, width), t = raster.shape, np.linspace(0, 1, _SIDE_POINTS)[:-1]
    zero, one = np.zeros_like(t), np.ones_like(t)
    sides = [np.stack(side, axis=1) for side in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))]
    xy = apply_transform(raster.transform, np.concatenate(sides) * (width, height))
    return transform_xy(xy, raster.crs, _WGS84).copy()


def _closed(ring: shapely.LinearRing) -> list[list[float]]:
    return [[round(float(x), _DECIMALS), round(float(y), _DECIMALS)] for x, y in ring.coords]
