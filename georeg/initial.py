"""Where the pixels of a file lie before anything is matched: by its georeferencing, or about where the reference lies.

A target that says nothing is given a placement like any other; that it is far off is for the search to find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info

from georeg.errors import InputError
from georeg.options import InitialKind

FloatArray = NDArray[np.float64]
Placed = Literal["geotransform", "gcps", "center", "none"]

PIXELS = CRS.from_wkt(
    'ENGCRS["pixels of the reference",EDATUM["its first pixel"],CS[Cartesian,2],'
    'AXIS["x",east,ORDER[1]],AXIS["y",north,ORDER[2]],LENGTHUNIT["pixel",1]]'
)
"""Working CRS of plain pictures: x is the column and y minus the row in the reference; no place on Earth."""
PIXEL_TRANSFORM = Affine(1, 0, 0, 0, -1, 0)
"""Pixel to `PIXELS`."""
MIN_GCPS = 3
_LEAST_SPAN = 1e-3
"""GCPs that span less than this across their longest direction lie on a line."""


@dataclass(frozen=True)
class Frame:
    """Where the reference lies, by which a target without georeferencing is placed."""

    name: str
    """For messages."""
    crs: CRS
    transform: Affine
    """Pixel to map."""
    shape: tuple[int, int]
    """(height, width) in pixels."""


def place(dataset: Any, path: str, initial: InitialKind, frame: Frame | None) -> tuple[CRS, Affine, Placed]:
    """CRS and transform of an open file, and what gave them.

    Parameters
    ----------
    dataset, path
        The file, opened by rasterio, and its name for messages.
    initial
        What to go by. Without a ``frame``, ``auto`` is ``geotransform``, and ``center`` and ``none`` give `PIXELS`.
    frame
        Where the reference lies; None for the reference itself.

    Raises
    ------
    InputError
        The file does not have what ``initial`` asks for, or it says where on Earth it is and the reference does not.
    """
    shape = (dataset.height, dataset.width)
    if initial == "center" or initial == "none":
        return (*_centred(shape, initial, frame), initial)
    crs = _earthly(dataset.crs, path) if _usable(dataset.transform) else None
    if initial == "auto" and frame is not None and crs is None:
        _refuse_rpcs(dataset, path)
        gcps, gcp_crs = dataset.gcps
        if len(gcps) < MIN_GCPS or (frame.crs == PIXELS and gcp_crs is None):
            return (*_centred(shape, "none", frame), "none")
        initial = "gcps"
    if initial == "gcps":
        crs, transform = _by_gcps(dataset, path, frame)
        placed: Placed = "gcps"
    else:
        transform, placed = _own_transform(dataset, path), "geotransform"
        crs = _own_crs(crs, path, frame)
    if frame is not None and (frame.crs == PIXELS) != (crs == PIXELS):
        raise InputError(
            f"{frame.name} is not georeferenced but {path} is; swap them to georeference {frame.name}, or give "
            f"--initial none to put the target on its pixels, without a CRS"
        )
    return crs, transform, placed


def is_plain(dataset: Any) -> bool:
    """True where a file says nothing at all of where it is, like a photograph."""
    # a TIFF that says only that its pixels are points has the local CRS "unnamed"
    local = dataset.crs is None or not (dataset.crs.is_projected or dataset.crs.is_geographic)
    return local and not _usable(dataset.transform) and not dataset.gcps[0] and not dataset.rpcs


def utm_zone(lon: float, lat: float) -> CRS | None:
    """UTM zone, or polar stereographic, of a place in degrees; None where there is none.

    >>> utm_zone(12.1, 52.0).name
    'WGS 84 / UTM zone 33N'
    """
    if abs(lat) > 84:
        return CRS.from_epsg(32661 if lat > 0 else 32761)
    found = query_utm_crs_info("WGS 84", AreaOfInterest(lon, lat, lon, lat), contains=False)
    return CRS.from_epsg(found[0].code) if found else None


def _usable(transform: Affine) -> bool:
    return bool(not transform.is_identity and transform.determinant != 0 and np.isfinite(tuple(transform)).all())


def _earthly(crs: Any, path: str) -> CRS | None:
    """The CRS of a file or of its GCPs, if it has one."""
    if crs is None:
        return None
    own = CRS.from_user_input(crs)
    if not (own.is_projected or own.is_geographic):
        raise InputError(
            f"{path} has the local CRS {own.name!r}, which does not say where on Earth it is; assign the right one, "
            "for example with: gdal_edit.py -a_srs EPSG:32633 FILE"
        )
    return own


def _own_crs(crs: CRS | None, path: str, frame: Frame | None) -> CRS:
    if crs is not None:
        return crs
    if frame is not None:
        return frame.crs
    raise InputError(
        f"{path} has no CRS (coordinate reference system); assign the right one, "
        "for example with: gdal_edit.py -a_srs EPSG:32633 FILE"
    )


def _own_transform(dataset: Any, path: str) -> Affine:
    transform: Affine = dataset.transform
    if _usable(transform):
        return transform
    _refuse_rpcs(dataset, path)
    kind = f"{len(dataset.gcps[0])} GCPs but no" if dataset.gcps[0] else "no"
    raise InputError(
        f"{path} has {kind} usable geotransform {tuple(transform)[:6]}; georeference it roughly first, "
        "for example with gdal_translate -a_ullr or gdalwarp"
    )


def _refuse_rpcs(dataset: Any, path: str) -> None:
    if dataset.rpcs and not dataset.gcps[0]:
        raise InputError(
            f"{path} is georeferenced by RPCs alone, which georeg does not use; orthorectify it first, for example with "
            "gdalwarp -rpc, or, if it is a target, give --initial none to search without them"
        )


def _by_gcps(dataset: Any, path: str, frame: Frame | None) -> tuple[CRS, Affine]:
    """The affine transform nearest to a file's GCPs; in the reference's CRS where theirs has degrees."""
    gcps, gcp_crs = dataset.gcps
    if len(gcps) < MIN_GCPS:
        _refuse_rpcs(dataset, path)
        raise InputError(f"{path} has {len(gcps)} GCPs, {MIN_GCPS} needed; choose another --initial")
    crs = _own_crs(_earthly(gcp_crs, path), path, frame)
    px, xy = np.array([(g.col, g.row) for g in gcps]), np.array([(g.x, g.y) for g in gcps])
    if crs.is_geographic and frame is not None and frame.crs != PIXELS:
        ground = _ground(frame)[0]
        moved = _moved(xy, crs, ground)
        if np.isfinite(moved).all():
            crs, xy = ground, moved
    return crs, _fitted(px, xy, path)


def _fitted(px: FloatArray, xy: FloatArray, path: str) -> Affine:
    """Least squares, pixel to map, in centred coordinates."""
    mean_px, mean_xy = px.mean(axis=0), xy.mean(axis=0)
    for points in (px - mean_px, xy - mean_xy):
        longest, shortest = np.linalg.svd(points, compute_uv=False)
        if not shortest > _LEAST_SPAN * longest:
            raise InputError(
                f"the {len(px)} GCPs of {path} lie on one line; add one beside it or choose another --initial"
            )
    linear = np.linalg.lstsq(px - mean_px, xy - mean_xy, rcond=None)[0].T
    return _affine(linear, mean_px, mean_xy)


def _centred(shape: tuple[int, int], initial: Placed, frame: Frame | None) -> tuple[CRS, Affine]:
    """On the middle of the reference: with its pixels, or square ones with which the longer sides are as long."""
    if frame is None:
        return PIXELS, PIXEL_TRANSFORM
    crs, linear, centre_xy = _ground(frame)
    if initial == "none":
        side = np.hypot(*linear)  # of a column and of a row
        x, y = linear[:, 0] / side[0] * (side * frame.shape[::-1]).max() / max(shape)
        linear = np.array([[x, y], [y, -x]])
    elif np.linalg.det(linear) > 0:  # a reference that is stored south up: a picture is not seen in a mirror
        linear = linear * (1, -1)
    return crs, _affine(linear, np.array(shape[::-1]) / 2, centre_xy)


def _ground(frame: Frame) -> tuple[CRS, FloatArray, FloatArray]:
    """A CRS without degrees, and in it the linear part (2, 2) of the reference's transform and its centre."""
    linear, offset = np.reshape(tuple(frame.transform)[:6], (2, 3))[:, :2], np.array(frame.transform[2:6:3])
    centre_px = np.array(frame.shape[::-1]) / 2
    xy = (centre_px + [[0, 0], [1, 0], [0, 1]]) @ linear.T + offset
    if not frame.crs.is_geographic:
        return frame.crs, linear, xy[0]
    utm = utm_zone(*xy[0])
    moved = xy if utm is None else _moved(xy, frame.crs, utm)
    if utm is None or not np.isfinite(moved).all():
        raise InputError(
            f"no UTM zone at longitude {xy[0, 0]:.4f}, latitude {xy[0, 1]:.4f}; check the geotransform of {frame.name}"
        )
    return utm, np.asarray((moved[1:] - moved[0]).T), moved[0]


def _moved(xy: FloatArray, src: CRS, dst: CRS) -> FloatArray:
    return np.stack(Transformer.from_crs(src, dst, always_xy=True).transform(*xy.T), axis=1)


def _affine(linear: FloatArray, px: FloatArray, xy: FloatArray) -> Affine:
    """The transform with a linear part that puts ``px`` on ``xy``."""
    x, y = xy - linear @ px
    return Affine(linear[0, 0], linear[0, 1], x, linear[1, 0], linear[1, 1], y)
