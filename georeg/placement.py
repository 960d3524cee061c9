"""Where the pixels of a raster lie: its transform, its CRS and the model, together and exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from rasterio.windows import Window

from georeg.errors import InputError
from georeg.initial import PIXELS
from georeg.models import FloatArray, Model
from georeg.raster import Raster
from georeg.resampling import Positions, nowhere, positions

MAP_ERROR_PX = 0.002
"""Largest error of the interpolated inverse map, source pixels."""
SNAP_DISTORTION_PX = 0.1
"""Whole pixels stand for a grid's where they distort a window by less than this."""
SNAP_DRIFT_PX = 2.0
"""And where they drift by less than this over the patch."""
TRANSFORM_ERROR_PX = 0.01
"""Largest error of a geotransform that stands for CRS and model together, pixels."""
_STILL_PX = 1e-6
"""Pixels that lie as near as this to each other are the same."""
_SQUARE = 64
"""Nodes on a side of what is computed at once."""
_TESTED_CELLS = 24
"""The lattice is tested in as many rows of its cells, and columns."""


@lru_cache(maxsize=64)
def transformer(src_wkt: str, dst_wkt: str) -> Transformer:
    """The transformation between two CRSs, x before y.

    Raises
    ------
    InputError
        One of them is of pixels, which lie nowhere on Earth.
    """
    if PIXELS.to_wkt() in (src_wkt, dst_wkt):
        raise InputError("pixels of a plain picture cannot be expressed in another CRS; give the pair that was matched")
    return Transformer.from_crs(CRS.from_wkt(src_wkt), CRS.from_wkt(dst_wkt), always_xy=True)


def transform_xy(xy: FloatArray, src: CRS, dst: CRS) -> FloatArray:
    """(N, 2) map coordinates in ``dst`` of (N, 2) in ``src``: the same where the CRSs are, NaN where there are none."""
    if src == dst:
        return xy
    moved = np.stack(transformer(src.to_wkt(), dst.to_wkt()).transform(xy[:, 0], xy[:, 1]), axis=1).astype(float)
    return np.where(np.isfinite(moved), moved, np.nan)


def apply_transform(transform: Any, xy: FloatArray) -> FloatArray:
    """An affine transform of (N, 2) coordinates."""
    a, b, c, d, e, f = transform[:6]
    return np.stack([a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f], axis=1)


def compose(outer: Affine, inner: Affine) -> Affine:
    """The transform that applies ``inner``, then ``outer``; affine 2 writes it ``*``, affine 3 ``@``."""
    product = np.reshape(tuple(outer), (3, 3)) @ np.reshape(tuple(inner), (3, 3))
    return Affine(*product[:2].ravel())


@dataclass(frozen=True)
class Placement:
    """Where the pixels of a raster lie in the working CRS once ``model`` corrects them."""

    raster: Raster
    crs: CRS
    """Working CRS, in which the model acts."""
    model: Model

    def to_px(self, xy: FloatArray) -> FloatArray:
        """Pixel coordinates (column, row) of corrected working xy, (N, 2); NaN where model or projection has none."""
        own_xy = transform_xy(self.model.inverse(xy, missing_ok=True), self.crs, self.raster.crs)
        return apply_transform(~self.raster.transform, own_xy)

    def to_xy(self, px: FloatArray) -> FloatArray:
        """Corrected working xy of pixel coordinates (column, row), (N, 2)."""
        own_xy = apply_transform(self.raster.transform, px)
        return self.model(transform_xy(own_xy, self.raster.crs, self.crs))


def corrected_transform(placement: Placement) -> Affine | None:
    """The raster's geotransform, in its own CRS, with the correction put into it.

    Returns
    -------
    transform
        The simplest that reproduces CRS and model over the whole raster to `TRANSFORM_ERROR_PX`: a moved origin, else
        an affine one; None where neither does.
    """
    raster = placement.raster
    if raster.crs == placement.crs and placement.model.affine is not None:
        return compose(placement.model.affine, raster.transform)
    height, width = raster.shape
    cols, rows = np.meshgrid(np.linspace(0, width, 9), np.linspace(0, height, 9))
    px = np.stack([cols.ravel(), rows.ravel()], axis=1)
    right_xy = transform_xy(placement.to_xy(px), placement.crs, raster.crs)
    moved = (right_xy - apply_transform(raster.transform, px)).mean(axis=0)
    unit = 2 * px / (width, height) - 1
    solved, *_ = np.linalg.lstsq(
        np.column_stack([unit, np.ones(len(unit))]), right_xy - right_xy.mean(axis=0), rcond=None
    )
    to_unit = Affine(2 / width, 0, -1, 0, 2 / height, -1)
    mean = right_xy.mean(axis=0)
    (a, d), (b, e), (c, f) = solved
    for transform in (
        compose(Affine.translation(*moved), raster.transform),
        compose(Affine(a, b, c + mean[0], d, e, f + mean[1]), to_unit),
    ):
        back_px = apply_transform(~transform, right_xy)
        if np.abs(back_px - px).max() <= TRANSFORM_ERROR_PX:
            return transform
    return None


def whole_shift(placement: Placement, grid: GeoBox) -> bool:
    """Whether the centres of all pixels of ``grid`` are those of pixels of the raster."""
    to_source = _straight(placement, grid)
    if to_source is None:
        return False
    a, b, col, d, e, row = tuple(to_source)[:6]
    size = max(grid.shape)
    still = max(abs(a - 1), abs(b), abs(d), abs(e - 1)) * size < _STILL_PX
    return bool(still and max(abs(col - round(col)), abs(row - round(row))) < _STILL_PX)


def _straight(placement: Placement, grid: GeoBox) -> Affine | None:
    """Source pixels of grid pixels, where no projection or bent model lies between."""
    model = placement.model.affine
    if model is None or not placement.crs == placement.raster.crs == _crs(grid):
        return None
    return compose(~compose(model, placement.raster.transform), grid.affine)


def _crs(grid: GeoBox) -> CRS:
    """That of a grid, which need not be the working CRS: a reference in degrees is resampled onto."""
    return _parsed(str(grid.crs))


@lru_cache(maxsize=64)
def _parsed(crs: str) -> CRS:
    return CRS.from_user_input(crs)


@dataclass(frozen=True, eq=False)
class Lattice:
    """Exact source pixel coordinates at every ``step`` grid pixels, close enough to interpolate between.

    It belongs to the whole grid, so that a pixel's position does not depend on the window it is computed in; nodes are
    computed when they are first asked for, a square of `_SQUARE` at a time.
    """

    placement: Placement
    """Of the source."""
    grid: GeoBox
    step: int
    """Grid pixels between nodes."""
    cells: tuple[tuple[int, int], tuple[int, int]]
    """Number of the first and the last node, of rows and of columns; further ones could not touch the raster."""
    coarsening: float
    """Source pixels per grid pixel: the median over cells."""

    def positions(self, window: Window) -> Positions:
        """Source pixels (column, row) of the centre of every grid pixel of a window; NaN: none."""
        spans = [
            self._span(start, length, axis)
            for axis, (start, length) in enumerate(((window.row_off, window.height), (window.col_off, window.width)))
        ]
        shape = (int(window.height), int(window.width))
        if None in spans:
            return nowhere(shape)
        (top, bottom), (left, right) = (span for span in spans if span is not None)
        first = (float(window.row_off - top * self.step), float(window.col_off - left * self.step))
        return positions(self._nodes((top, bottom), (left, right)), first, self.step, shape)

    def bounds(self, window: Window) -> tuple[FloatArray, FloatArray] | None:
        """Least and largest source (column, row) about the pixels of a window, without computing each; None: nowhere."""
        rows, cols = (
            self._span(start, length, axis)
            for axis, (start, length) in enumerate(((window.row_off, window.height), (window.col_off, window.width)))
        )
        if rows is None or cols is None:
            return None
        nodes = self._nodes(rows, cols).reshape(2, -1)
        nodes = nodes[:, np.isfinite(nodes).all(axis=0)]
        return (nodes.min(axis=1), nodes.max(axis=1)) if nodes.size else None

    def _span(self, start: float, length: float, axis: int) -> tuple[int, int] | None:
        """First and last node about pixels of one axis; None where there is none."""
        first, last = self.cells[axis]
        low = max(int(start) // self.step, first)
        high = min(-int(-(start + length) // self.step), last)
        return (low, high) if low < high else None

    def _nodes(self, rows: tuple[int, int], cols: tuple[int, int]) -> FloatArray:
        """(2, n, m) nodes from the first to the last, both included."""
        squares = [
            [_square(self, i, j) for j in range(cols[0] // _SQUARE, cols[1] // _SQUARE + 1)]
            for i in range(rows[0] // _SQUARE, rows[1] // _SQUARE + 1)
        ]
        top, left = (max(self.cells[axis][0], at[0] // _SQUARE * _SQUARE) for axis, at in enumerate((rows, cols)))
        whole = np.concatenate([np.concatenate(line, axis=2) for line in squares], axis=1)
        return whole[:, rows[0] - top : rows[1] - top + 1, cols[0] - left : cols[1] - left + 1]

    def whole_pixels(self, snap_px: float, averaged: bool) -> tuple[int, int, int] | None:
        """First (column, row) and averaging with which whole source pixels stand for the grid's, or None."""
        reduce = max(1, round(self.coarsening)) if averaged else 1
        rows, cols = (self.step * np.arange(first, last + 1) for first, last in self.cells)
        src_px = self._nodes(*self.cells)
        shift_px = src_px / reduce - np.stack(np.meshgrid(cols, rows))
        drift = np.ptp(shift_px, axis=(1, 2)).max()
        distortion = drift / max(np.ptp(cols), np.ptp(rows)) * snap_px
        if not (drift <= SNAP_DRIFT_PX and distortion <= SNAP_DISTORTION_PX):
            return None
        col, row = np.rint(shift_px.mean(axis=(1, 2))).astype(int)
        return int(col), int(row), reduce


@lru_cache(maxsize=64)
def _square(nodes: Lattice, i: int, j: int) -> FloatArray:
    """(2, n, m) the nodes of one square, as far as there are any. They are always computed together, to the same last bit."""
    rows, cols = (
        np.arange(max(first, k * _SQUARE), min(last, (k + 1) * _SQUARE - 1) + 1.0) * nodes.step
        for k, (first, last) in zip((i, j), nodes.cells, strict=True)
    )
    return _exact(nodes.placement, nodes.grid, rows, cols)


def lattice(placement: Placement, grid: GeoBox) -> Lattice:
    """Source pixel coordinates over ``grid``, on nodes near enough for `MAP_ERROR_PX` between them."""
    raster = placement.raster
    if raster.source is not None:  # the array shall not live as long as what is remembered here
        placement = replace(placement, raster=replace(raster, source=None))
    return _lattice(placement, grid)


@lru_cache(maxsize=8)
def _lattice(placement: Placement, grid: GeoBox) -> Lattice:
    step, reach, straight = 64, _reach(placement, grid), _straight(placement, grid)
    cells = _cells(reach, step)
    if straight is not None:
        return Lattice(placement, grid, step, cells, abs(straight.determinant) ** 0.5)
    error, coarsening = _tested(placement, grid, cells, step)
    while step > 1 and error > MAP_ERROR_PX:
        step //= 2
        cells = _cells(reach, step)
        error, coarsening = _tested(placement, grid, cells, step)
    return Lattice(placement, grid, step, cells, coarsening)


def _reach(placement: Placement, grid: GeoBox) -> FloatArray:
    """First and last (row, column), in pixels of ``grid``, that the raster reaches; all where that is not known."""
    height, width = placement.raster.shape
    around = np.stack(np.meshgrid(np.linspace(0, width, 21), np.linspace(0, height, 21)), axis=-1).reshape(-1, 2)
    xy = transform_xy(placement.to_xy(around), placement.crs, _crs(grid))
    px = apply_transform(~grid.affine, xy)[:, ::-1]
    reach = np.stack([px.min(axis=0), px.max(axis=0)])
    return np.clip(reach if np.isfinite(reach).all() else [[0, 0], grid.shape], 0, grid.shape)


def _cells(reach: FloatArray, step: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last node of cells of ``step`` pixels that cover ``reach``, with one more around, by row and column."""
    low = np.maximum(np.floor(reach[0] / step).astype(int) - 1, 0)
    high = np.ceil(reach[1] / step).astype(int) + 1
    return (int(low[0]), int(high[0])), (int(low[1]), int(high[1]))


def _tested(placement: Placement, grid: GeoBox, cells: Sequence[tuple[int, int]], step: int) -> tuple[float, float]:
    """Largest error in the middle of lattice cells, and source pixels per grid pixel; of some cells where they are many."""
    tested = [np.unique(np.linspace(first, last - 1, _TESTED_CELLS).astype(int)) * step for first, last in cells]
    corners = [np.stack([at, at + step], axis=1).ravel().astype(float) for at in tested]
    at_corners = _exact(placement, grid, corners[0], corners[1])
    pairs = at_corners[:, ::2] + at_corners[:, 1::2]
    middles = (pairs[:, :, ::2] + pairs[:, :, 1::2]) / 4
    error = np.abs(middles - _exact(placement, grid, tested[0] + step / 2, tested[1] + step / 2))
    first = at_corners[:, ::2, ::2]
    across, down = at_corners[:, ::2, 1::2] - first, at_corners[:, 1::2, ::2] - first
    area = np.abs(across[0] * down[1] - across[1] * down[0])
    known = area[np.isfinite(area)]
    return float(np.nan_to_num(error).max()), float(np.sqrt(np.median(known))) / step if known.size else 1.0


def _exact(placement: Placement, grid: GeoBox, rows: FloatArray, cols: FloatArray) -> FloatArray:
    x, y = np.meshgrid(cols, rows)
    xy = apply_transform(grid.affine, np.stack([x.ravel(), y.ravel()], axis=1))
    px = placement.to_px(transform_xy(xy, _crs(grid), placement.crs))
    return px.T.reshape(2, len(rows), len(cols))
