"""Points of QGIS's Georeferencer, and tie points that a person made with it.

A row is ``mapX,mapY,sourceX,sourceY,enable,dX,dY,residual``. The source's coordinates are those in which QGIS shows the
raster: by its geotransform, or column and minus the row where it has none. ``#CRS:`` before the header is of mapX and mapY.
"""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from georeg.errors import FitError, InputError
from georeg.files import read_text
from georeg.fit import Fit, Role
from georeg.initial import PIXELS, utm_zone
from georeg.models import FloatArray, Similarity, identity
from georeg.options import HandOptions
from georeg.overlap import Pair
from georeg.placement import Placement, apply_transform, transform_xy
from georeg.raster import Raster, open_raster, open_reference, own_transform
from georeg.table import is_table, read_csv
from georeg.tie_points import Inputs, Status, TiePoints

HEADER = "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"
BY_HAND_PX = 1
"""`TiePoints.window_px` of tie points that no window was matched for."""
_WGS84 = CRS.from_epsg(4326)

PathLike = str | os.PathLike[str]


def by_hand(points: TiePoints) -> bool:
    """Whether a person made them, so that no measure of false matches holds for them."""
    return points.window_px == BY_HAND_PX


def points_text(points: TiePoints, fitted: Fit | None, target: Raster) -> str:
    """The text of a ``.points`` file; enabled is what is kept and, where there is a fit, what it did not find inconsistent.

    Residuals are in pixels of the target, as QGIS computes them: where the model puts the reference's point, minus the
    source's; 0 without a model.
    """
    crs = CRS.from_wkt(points.crs)
    placed = Placement(target, crs, identity())
    px = placed.to_px(points.tgt_xy)
    residual_px = np.zeros_like(px)
    if fitted is not None:
        residual_px = Placement(target, crs, fitted.model).to_px(points.ref_xy) - px
    used = points.kept if fitted is None else np.isin(fitted.role, (Role.FIT, Role.CHECK))
    values = np.column_stack([points.ref_xy, _to_source(px, target)])
    lines = [f"#CRS: {crs.to_wkt()}"] if crs != PIXELS else []
    lines.append(HEADER)
    for row, enabled, (dx, dy) in zip(values.tolist(), used, np.nan_to_num(residual_px).tolist(), strict=True):
        numbers = (*row, int(enabled), dx, dy, math.hypot(dx, dy))
        lines.append(",".join(map(repr, numbers)))
    return "\n".join(lines) + "\n"


def read_points(path: PathLike, options: HandOptions | None = None) -> TiePoints:
    """Tie points of a file: a CSV that georeg exported, or of a ``.points`` file or a CSV with its columns.

    What was made by hand needs ``options.target``, and ``options.reference`` where it does not name its CRS or the
    target has no georeferencing. The working CRS is that of the points, or the UTM zone where it has degrees; points that
    are switched off come in as rejected.

    Raises
    ------
    InputError
        The file cannot be read or holds no points, or what is needed to place them is missing.
    """
    options, text = options or HandOptions(), read_text(os.fspath(path))
    if is_table(text):
        refuse_hand_options(options)
        return read_csv(text)
    if options.target is None:
        raise InputError("points made by hand need --target, the raster in which they were clicked; give its path")
    _check_sigma("--sigma-px", options.sigma_px)
    clicked = _parse(text)
    reference = None if options.reference is None else open_reference(options.reference)
    target = _open_target(options.target, reference)
    crs, ref_xy = _working(clicked, reference)
    inputs = Inputs(
        os.path.abspath(reference.path) if reference else "", os.path.abspath(target.path), initial=target.placed
    )
    return _tie_points(clicked, ref_xy, Placement(target, crs, identity()), inputs, options.sigma_px)


def points_on_pair(path: PathLike, pair: Pair, inputs: Inputs, sigma_px: float) -> TiePoints:
    """Tie points made by hand in the working CRS of a pair, which gives what the file does not say.

    Parameters
    ----------
    path
        A ``.points`` file, or a CSV with its columns.
    sigma_px
        Standard deviation of a point along x and along y, pixels of the target.

    Raises
    ------
    InputError
        The file cannot be read, holds no points or others than made by hand, or they cannot be placed.
    """
    text = read_text(os.fspath(path))
    _check_sigma("--gcp-sigma-px", sigma_px)
    if is_table(text):
        raise InputError(
            f"{path} holds tie points that georeg exported as a table; give --gcp points made by hand, or export as .points"
        )
    clicked = _parse(text)
    _refuse_disabled(clicked)
    ref_xy = transform_xy(clicked.map_xy, clicked.crs or pair.reference.crs, pair.crs)
    return _tie_points(clicked, ref_xy, pair.target_placement(identity()), inputs, sigma_px)


def refuse_hand_options(options: HandOptions) -> None:
    """Raise InputError where ``options`` were given for tie points that were not made by hand."""
    if options != HandOptions():
        raise InputError(
            "--target, --reference and --sigma-px are of points made by hand, and these are not; leave them out"
        )


@dataclass(frozen=True, eq=False)
class _Clicked:
    """What a file of points says."""

    map_xy: FloatArray
    source_xy: FloatArray
    enabled: NDArray[np.bool_]
    crs: CRS | None


def _parse(text: str) -> _Clicked:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    crs = None
    if lines and lines[0][1].startswith("#CRS:"):
        crs = _crs(lines.pop(0)[1].removeprefix("#CRS:").strip())
    if not lines or not lines[0][1].lower().startswith("mapx"):
        raise InputError(
            f"no line {HEADER!r} before the points; give a file that QGIS's Georeferencer or georeg export wrote"
        )
    rows = np.array([_row(*line) for line in lines[1:]], float).reshape(-1, 5)
    return _Clicked(rows[:, :2], rows[:, 2:4], rows[:, 4] != 0, crs)


def _row(number: int, line: str) -> list[float]:
    cells = next(csv.reader([line], delimiter="," if "," in line else "\t"))
    try:
        values = [float(cell) for cell in (*cells[:5], "1")[:5]]
    except ValueError:
        values = []
    if len(cells) < 4 or not np.isfinite(values).all() or not values:
        raise InputError(f"line {number} is {line[:80]!r}; four numbers and 1 or 0 are needed: {HEADER}")
    return values


def _crs(wkt: str) -> CRS | None:
    try:
        return CRS.from_user_input(wkt) if wkt else None
    except CRSError as exc:
        raise InputError(f"the CRS of the points is {wkt[:60]!r}, which is not known; correct the line #CRS:") from exc


def _open_target(path: str, reference: Raster | None) -> Raster:
    """By its geotransform, its GCPs or on the reference; the last needs one."""
    target = open_raster(path, initial="auto" if reference else "none", reference=reference)
    if reference is None and own_transform(path) is None:
        raise InputError(f"{path} has no geotransform; give --reference, the raster of the ground that it is put on")
    return target if reference else open_raster(path)


def _tie_points(clicked: _Clicked, ref_xy: FloatArray, placed: Placement, inputs: Inputs, sigma_px: float) -> TiePoints:
    """Of clicks whose places in the reference are ``ref_xy`` in the working CRS of the target's placement."""
    target, crs = placed.raster, placed.crs
    own_xy = apply_transform(target.transform, _from_source(clicked.source_xy, target))
    tgt_xy = transform_xy(own_xy, target.crs, crs)
    if not np.isfinite([ref_xy, tgt_xy]).all():
        raise InputError(
            f"some points cannot be expressed in {crs.name}; check the CRS of the points and of {target.name}"
        )
    gsd = _gsd(placed, ref_xy[clicked.enabled], tgt_xy[clicked.enabled])
    return TiePoints(
        ref_xy=ref_xy,
        tgt_xy=tgt_xy,
        cov=np.tile((sigma_px * gsd) ** 2 * np.eye(2), (len(ref_xy), 1, 1)),
        score=np.ones(len(ref_xy)),
        status=np.where(clicked.enabled, Status.KEPT, Status.DISABLED),
        inputs=inputs,
        crs=crs.to_wkt(),
        gsd=gsd,
        window_px=BY_HAND_PX,
        search_px=float(max(10.0, np.abs(ref_xy - tgt_xy).max() / gsd)),
        chance=1.0,
    )


def _check_sigma(option: str, sigma_px: float) -> None:
    if not (math.isfinite(sigma_px) and sigma_px > 0):
        raise InputError(f"{option} is {sigma_px:g}; give a number of pixels above 0")


def _refuse_disabled(clicked: _Clicked) -> None:
    if not clicked.enabled.any():
        raise InputError(
            f"{len(clicked.enabled)} points, none of them enabled; enable some in QGIS and save them again"
        )


def _working(clicked: _Clicked, reference: Raster | None) -> tuple[CRS, FloatArray]:
    """Working CRS, and the points of the map in it."""
    _refuse_disabled(clicked)
    crs = clicked.crs or (reference.crs if reference else None)
    if crs is None:
        raise InputError("the points name no CRS; add a first line #CRS: with WKT or EPSG:32633, or give --reference")
    if not crs.is_geographic:
        return crs, clicked.map_xy
    lonlat = transform_xy(clicked.map_xy, crs, _WGS84)
    utm = utm_zone(*lonlat.mean(axis=0)) if np.isfinite(lonlat).all() else None
    if utm is None:
        raise InputError(f"no UTM zone for points near {clicked.map_xy[0].tolist()} in {crs.name}; check their CRS")
    return utm, transform_xy(clicked.map_xy, crs, utm)


def _gsd(placed: Placement, ref_xy: FloatArray, tgt_xy: FloatArray) -> float:
    """Pixel size of the target on the ground, map units: by the points where its own placement says nothing of it."""
    height, width = placed.raster.shape
    corner, right, down = placed.to_xy(np.array([width, height]) / 2 + [[0, 0], [1, 0], [0, 1]])
    size = float(np.sqrt(abs(np.linalg.det([right - corner, down - corner]))))
    if placed.raster.placed == "geotransform":
        return size
    try:
        grown = Similarity.fit(tgt_xy, ref_xy).jacobian(tgt_xy[:1])[0]
    except FitError:  # one point says nothing of it either
        return size
    return size * float(np.sqrt(abs(np.linalg.det(grown))))


def _to_source(px: FloatArray, target: Raster) -> FloatArray:
    own = own_transform(target.path)
    return px * (1, -1) if own is None else apply_transform(own, px)


def _from_source(source_xy: FloatArray, target: Raster) -> FloatArray:
    own = own_transform(target.path)
    return source_xy * (1, -1) if own is None else apply_transform(~own, source_xy)
