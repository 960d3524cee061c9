"""A correction in the words of other programs: a PROJ pipeline, a grid of displacements, and GCPs that lie on the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.transform import GCPTransformer

from georeg.errors import InputError, OutputError
from georeg.models import FloatArray, Model, identity
from georeg.overlap import footprint
from georeg.placement import Placement, apply_transform

GRID_ERROR_PX = 0.005
"""Largest error of the displacements between the nodes of a grid, working pixels."""
MAX_GRID_NODES = 4_000_000
GCP_ERROR_PX = 0.008
"""Largest error of what GDAL makes of the GCPs, pixels of the target, in either direction."""
LATTICES = (5, 9, 17, 33)
"""GCPs along each side, until they are dense enough: GDAL needs a time that grows with the third power of their number."""
_TESTED = 41


@dataclass(frozen=True, eq=False)
class DisplacementGrid:
    """Displacements at the nodes of a lattice, between which bilinear interpolation gives the model."""

    transform: Affine
    """(column, row) of a node to map xy of the target: (0, 0) is the first node, not a corner of it."""
    displacement: FloatArray
    """(2, n, m): reference − target, east and north, map units."""


@dataclass(frozen=True, eq=False)
class Gcps:
    """Pixels of the target and where the correction puts them."""

    px: FloatArray
    """(N, 2) column and row in the target."""
    xy: FloatArray
    """(N, 2) corrected working xy."""
    gdal_option: str
    """With which gdalwarp and gdaltransform give the correction back: ``-order 1``, 2 or 3, or ``-tps``."""


def proj_pipeline(model: Model) -> str:
    """A PROJ pipeline that does the same to map coordinates of the working CRS.

    Raises
    ------
    InputError
        The model is not affine.

    Examples
    --------
    >>> proj_pipeline(identity())
    '+proj=pipeline +step +proj=affine +xoff=0.0 +yoff=0.0 +s11=1.0 +s12=0.0 +s21=0.0 +s22=1.0'
    """
    affine = model.affine
    if affine is None:
        raise InputError(
            f"a {model.kind} model is no PROJ pipeline; give a name ending in .tif for a grid of its displacements"
        )
    names = ("s11", "s12", "xoff", "s21", "s22", "yoff")
    terms = dict(zip(names, map(float, affine[:6]), strict=True))
    listed = " ".join(f"+{name}={terms[name]!r}" for name in ("xoff", "yoff", "s11", "s12", "s21", "s22"))
    return f"+proj=pipeline +step +proj=affine {listed}"


def displacement_grid(placement: Placement, gsd: float) -> DisplacementGrid:
    """A grid over the target's footprint, with one cell more around it, of the displacements of ``placement.model``.

    It is refined until interpolation is right to `GRID_ERROR_PX` of ``gsd``, map units, wherever that was tested.

    Raises
    ------
    InputError
        The footprint cannot be expressed in the working CRS.
    OutputError
        It would need more than `MAX_GRID_NODES`.
    """
    left, bottom, right, top = footprint(Placement(placement.raster, placement.crs, identity())).bounds
    step = max(right - left, top - bottom) / 8
    while True:
        cols, rows = math.ceil((right - left) / step) + 3, math.ceil((top - bottom) / step) + 3
        if cols * rows > MAX_GRID_NODES:
            raise OutputError(
                f"a grid of {cols} by {rows} nodes would be needed for the {placement.model.kind} model; export GCPs with a "
                "name ending in .vrt"
            )
        transform = Affine(step, 0, left - step, 0, -step, top + step)
        nodes = apply_transform(transform, _mesh(np.arange(cols), np.arange(rows)))
        grid = DisplacementGrid(transform, placement.model.displacement(nodes).T.reshape(2, rows, cols))
        if _grid_error(grid, placement.model) <= GRID_ERROR_PX * gsd:
            return grid
        step /= 2


def _grid_error(grid: DisplacementGrid, model: Model) -> float:
    """Largest error of bilinear interpolation at thirds and middles of the cells, map units; all cells, or some of many."""
    _, rows, cols = grid.displacement.shape
    row, col = (np.unique(np.linspace(0, n - 2, 64).astype(int)) for n in (rows, cols))
    worst = 0.0
    for down, across in ((1 / 2, 1 / 2), (1 / 3, 1 / 3), (1 / 2, 0), (0, 1 / 2)):
        d = grid.displacement
        lines = d[:, row] * (1 - down) + d[:, row + 1] * down
        between = lines[:, :, col] * (1 - across) + lines[:, :, col + 1] * across
        at = apply_transform(grid.transform, _mesh(col + across, row + down))
        exact = model.displacement(at).T.reshape(between.shape)
        worst = max(worst, float(np.abs(between - exact).max()))
    return worst


def gcps(placement: Placement) -> Gcps:
    """The coarsest lattice of GCPs on the model, and the simplest way of GDAL to use them, that reproduce it.

    GDAL fits pixels to map and map to pixels each on its own: both are held to `GCP_ERROR_PX`.

    Raises
    ------
    OutputError
        No lattice that GDAL could use in reasonable time is dense enough.
    """
    test_px = _lattice_px(placement, _TESTED)
    test_xy = _known(placement, test_px)
    error_px = math.inf
    for side in LATTICES:
        px = _lattice_px(placement, side)
        xy = _known(placement, px)
        ways: list[tuple[str, Callable[..., float]]] = [(f"-order {k}", _polynomial_error_px) for k in (1, 2, 3)]
        for name, error_of in [*ways, ("-tps", _tps_error_px)]:
            error_px = error_of(px, xy, test_px, test_xy, name)
            if error_px <= GCP_ERROR_PX:
                return Gcps(px, xy, name)
    raise OutputError(
        f"{LATTICES[-1] ** 2} GCPs give the {placement.model.kind} model only to {error_px:.2g} px of {placement.raster.name}, "
        f"{GCP_ERROR_PX:g} px is needed; export a grid of displacements with a name ending in .tif"
    )


def _known(placement: Placement, px: FloatArray) -> FloatArray:
    xy = placement.to_xy(px)
    if not np.isfinite(xy).all():
        raise InputError(f"parts of {placement.raster.name} cannot be expressed in {placement.crs.name}; crop it")
    return xy


def _lattice_px(placement: Placement, side: int) -> FloatArray:
    """(side², 2) column and row, from corner to corner of the raster."""
    height, width = placement.raster.shape
    return _mesh(np.linspace(0, width, side), np.linspace(0, height, side))


def _mesh(cols: FloatArray, rows: FloatArray) -> FloatArray:
    x, y = np.meshgrid(cols, rows)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(float)


def _polynomial_error_px(
    px: FloatArray, xy: FloatArray, test_px: FloatArray, test_xy: FloatArray, option: str
) -> float:
    """Largest error of least squares by polynomials of a total degree, in pixels, both ways."""
    degree = int(option[-1])
    size = _pixel_size(px, xy)
    there = _polynomial(px, xy, test_px, degree) - test_xy
    back = _polynomial(xy, px, test_xy, degree) - test_px
    return max(float(np.abs(there).max()) / size, float(np.abs(back).max()))


def _polynomial(src: FloatArray, dst: FloatArray, at: FloatArray, degree: int) -> FloatArray:
    centre, scale = src.mean(axis=0), np.ptp(src, axis=0).max()
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    design, wanted = (
        np.stack([uv[:, 0] ** i * uv[:, 1] ** j for i, j in powers], axis=1)
        for uv in ((src - centre) / scale, (at - centre) / scale)
    )
    return np.asarray(wanted @ np.linalg.lstsq(design, dst - dst[0], rcond=None)[0] + dst[0])


def _tps_error_px(px: FloatArray, xy: FloatArray, test_px: FloatArray, test_xy: FloatArray, _: str) -> float:
    """Largest error of GDAL's own thin plate splines, in pixels, both ways."""
    points = [
        GroundControlPoint(row=row, col=col, x=x, y=y)
        for (col, row), (x, y) in zip(px.tolist(), xy.tolist(), strict=True)
    ]
    size = _pixel_size(px, xy)
    with GCPTransformer(points, tps=True) as splines:
        there = np.stack(splines.xy(test_px[:, 1], test_px[:, 0], offset="ul"), axis=1) - test_xy
        rows, cols = splines.rowcol(test_xy[:, 0], test_xy[:, 1], op=lambda value: value)
    back = np.stack([cols, rows], axis=1) - test_px
    return max(float(np.abs(there).max()) / size, float(np.abs(back).max()))


def _pixel_size(px: FloatArray, xy: FloatArray) -> float:
    """Map units of a pixel, about."""
    return float(np.sqrt(np.ptp(xy, axis=0).prod() / np.ptp(px, axis=0).prod()))
