"""Sample a raster onto a grid through CRS and model together, with one interpolation.

`sample` serves both the matcher and the writer, a block of the grid at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import DTypeLike, NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from rasterio.windows import Window
from scipy import ndimage

from georeg.models import FloatArray, PolynomialDisplacement
from georeg.raster import Raster, Reader

Kernel = Literal["nearest", "bilinear", "cubic", "quintic"]

MAP_ERROR_PX = 0.002
"""Largest error of the interpolated inverse map, source pixels."""
SNAP_DISTORTION_PX = 0.1
"""Whole pixels stand for a grid's where they distort a window by less than this."""
SNAP_DRIFT_PX = 2.0
"""And where they drift by less than this over the patch."""
TRANSFORM_ERROR_PX = 0.01
"""Largest error of a geotransform that stands for CRS and model together, pixels."""
_ORDERS: dict[Kernel, int] = {"nearest": 0, "bilinear": 1, "cubic": 3, "quintic": 5}
_TESTED_CELLS = 24
"""The lattice is tested in as many rows of its cells, and columns."""


@lru_cache(maxsize=64)
def transformer(src_wkt: str, dst_wkt: str) -> Transformer:
    """The transformation between two CRSs, x before y."""
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
    model: PolynomialDisplacement

    def to_px(self, xy: FloatArray) -> FloatArray:
        """Pixel coordinates (column, row) of corrected working xy, (N, 2); NaN where model or projection has none."""
        own_xy = transform_xy(self.model.inverse(xy, missing_ok=True), self.crs, self.raster.crs)
        return apply_transform(~self.raster.transform, own_xy)

    def to_xy(self, px: FloatArray) -> FloatArray:
        """Corrected working xy of pixel coordinates (column, row), (N, 2)."""
        own_xy = apply_transform(self.raster.transform, px)
        return self.model(transform_xy(own_xy, self.raster.crs, self.crs))


@dataclass(frozen=True)
class Patch:
    """Pixels of a raster on, or nearly on, a grid."""

    data: NDArray[Any]
    """(bands, height, width); finite everywhere, meaningful where valid."""
    valid: NDArray[np.bool_]
    """(height, width)"""
    grid: GeoBox
    """The grid that was asked for."""
    placement: Placement
    """Where the raster lies."""
    whole_px: tuple[int, int, int] | None = None
    """None where the pixels were interpolated onto the grid; else they are the raster's own, averaged by the third
    number, from the (column, row) of the first two."""

    def xy(self, px: FloatArray) -> FloatArray:
        """Exact corrected working xy of pixel coordinates (column, row) of this patch, (N, 2)."""
        if self.whole_px is None:
            return apply_transform(self.grid.affine, px)
        col, row, reduce = self.whole_px
        return self.placement.to_xy((px + (col, row)) * reduce)


@dataclass(frozen=True)
class _Lattice:
    """Exact source pixel coordinates at every ``step`` grid pixels, close enough to interpolate between.

    It belongs to the whole grid, so that a pixel's position does not depend on the window it is computed in.
    """

    step: int
    """Grid pixels between nodes."""
    first: tuple[int, int]
    """Number of the first (row, column) of nodes; further ones could not touch the raster."""
    src_px: FloatArray
    """(2, n, m): source column and row; NaN where the projections have none."""

    def coarsening(self) -> float:
        """Source pixels per grid pixel: the median over the cells."""
        across = self.src_px[:, :-1, 1:] - self.src_px[:, :-1, :-1]
        down = self.src_px[:, 1:, :-1] - self.src_px[:, :-1, :-1]
        area = np.abs(across[0] * down[1] - across[1] * down[0])
        known = area[np.isfinite(area)]
        return float(np.sqrt(np.median(known))) / self.step if known.size else 1.0

    def at_centres(self, window: Window) -> FloatArray:
        """Source pixel coordinates (2, height, width) of the centre of every grid pixel of a window; NaN: none."""
        row, down = self._place(window.row_off, window.height, 0)
        col, across = self._place(window.col_off, window.width, 1)
        down = down[:, None]
        lines = self.src_px[:, row] * (1 - down) + self.src_px[:, row + 1] * down
        return np.asarray(lines[:, :, col] * (1 - across) + lines[:, :, col + 1] * across)

    def _place(self, start: int, length: int, axis: int) -> tuple[NDArray[np.intp], FloatArray]:
        """Node before each pixel centre, and how far beyond it the centre lies, in steps; NaN beyond the lattice."""
        at = (np.arange(start, start + length) + 0.5) / self.step - self.first[axis]
        last = self.src_px.shape[1 + axis] - 1
        node = np.clip(at, 0, last - 1).astype(np.intp)
        return node, np.where((at >= 0) & (at <= last), at - node, np.nan)

    def whole_pixels(self, snap_px: float, averaged: bool) -> tuple[int, int, int] | None:
        """First (column, row) and averaging with which whole source pixels stand for the grid's, or None."""
        reduce = max(1, round(self.coarsening())) if averaged else 1
        rows, cols = (self.step * (k + np.arange(n)) for k, n in zip(self.first, self.src_px.shape[1:], strict=True))
        shift_px = self.src_px / reduce - np.stack(np.meshgrid(cols, rows))
        drift = np.ptp(shift_px, axis=(1, 2)).max()
        distortion = drift / max(np.ptp(cols), np.ptp(rows)) * snap_px
        if not (drift <= SNAP_DRIFT_PX and distortion <= SNAP_DISTORTION_PX):
            return None
        col, row = np.rint(shift_px.mean(axis=(1, 2))).astype(int)
        return int(col), int(row), reduce


@lru_cache(maxsize=8)
def _lattice(placement: Placement, grid: GeoBox) -> _Lattice:
    """Source pixel coordinates over ``grid``, on nodes near enough for `MAP_ERROR_PX` between them."""
    step, reach = 64, _reach(placement, grid)
    while step > 1 and _lattice_error_px(placement, grid, _cells(reach, step), step) > MAP_ERROR_PX:
        step //= 2
    cells = _cells(reach, step)
    rows, cols = (np.arange(first, last + 1.0) * step for first, last in cells)
    return _Lattice(step, (cells[0][0], cells[1][0]), _exact(placement, grid, rows, cols))


def _reach(placement: Placement, grid: GeoBox) -> FloatArray:
    """First and last (row, column), in pixels of ``grid``, that the raster reaches; all where that is not known."""
    height, width = placement.raster.shape
    around = np.stack(np.meshgrid(np.linspace(0, width, 21), np.linspace(0, height, 21)), axis=-1).reshape(-1, 2)
    px = apply_transform(~grid.affine, placement.to_xy(around))[:, ::-1]
    reach = np.stack([px.min(axis=0), px.max(axis=0)])
    return np.clip(reach if np.isfinite(reach).all() else [[0, 0], grid.shape], 0, grid.shape)


def _cells(reach: FloatArray, step: int) -> list[tuple[int, int]]:
    """First and last node of cells of ``step`` pixels that cover ``reach``, with one more around, by row and column."""
    low = np.maximum(np.floor(reach[0] / step).astype(int) - 1, 0)
    high = np.ceil(reach[1] / step).astype(int) + 1
    return [(int(first), int(last)) for first, last in zip(low, high, strict=True)]


def _lattice_error_px(placement: Placement, grid: GeoBox, cells: list[tuple[int, int]], step: int) -> float:
    """Largest error in the middle of lattice cells, some of them where they are many."""
    tested = [np.unique(np.linspace(first, last - 1, _TESTED_CELLS).astype(int)) * step for first, last in cells]
    corners = [np.stack([at, at + step], axis=1).ravel().astype(float) for at in tested]
    at_corners = _exact(placement, grid, corners[0], corners[1])
    pairs = at_corners[:, ::2] + at_corners[:, 1::2]
    middles = (pairs[:, :, ::2] + pairs[:, :, 1::2]) / 4
    error = np.abs(middles - _exact(placement, grid, tested[0] + step / 2, tested[1] + step / 2))
    return float(np.nan_to_num(error).max())


def _exact(placement: Placement, grid: GeoBox, rows: FloatArray, cols: FloatArray) -> FloatArray:
    x, y = np.meshgrid(cols, rows)
    px = placement.to_px(apply_transform(grid.affine, np.stack([x.ravel(), y.ravel()], axis=1)))
    return px.T.reshape(2, len(rows), len(cols))


def sample(
    reader: Reader,
    placement: Placement,
    grid: GeoBox,
    bands: Sequence[int],
    *,
    kernel: Kernel = "quintic",
    snap_px: float | None = None,
    overviews: bool = False,
    dtype: DTypeLike = np.float32,
    window: Window | None = None,
) -> Patch:
    """Sample ``bands`` of a raster at the pixel centres of ``grid``.

    Parameters
    ----------
    reader, placement
        The raster and where it lies.
    grid
        In the working CRS.
    kernel
        ``cubic`` and ``quintic`` are interpolating B-splines. On detail near the Nyquist frequency, where a spline's
        phase errs, the quintic moves least: 0.007 px against 0.026 px in a phase correlation.
    snap_px
        Where the grid and the raster's own pixels differ by little but a shift, return whole pixels of the raster
        without interpolating, up to half a pixel off ``grid``: `Patch.xy` says where they lie. Little is a distortion of
        `SNAP_DISTORTION_PX` over this many pixels; None never does so.
    overviews
        As for `Reader.read`; whole pixels may then also be means of several.
    dtype
        Type to compute in.
    window
        The part of ``grid`` to sample, by default all. Its pixels are the same, bit for bit, in whatever window.
    """
    lattice = _lattice(placement, grid)
    if window is None:
        window = Window(0, 0, int(grid.shape[1]), int(grid.shape[0]))
    shape = (window.height, window.width)
    whole = None if snap_px is None else lattice.whole_pixels(snap_px, overviews)
    if whole is not None:
        col, row, reduce = whole = (whole[0] + window.col_off, whole[1] + window.row_off, whole[2])
        data, valid = reader.read((row, col), shape, bands, reduce=reduce, overviews=overviews, dtype=dtype)
    else:
        data, valid = _interpolate(reader, bands, lattice, window, kernel, overviews, dtype)
    return Patch(data, valid, _part(grid, window), placement, whole)


def _part(grid: GeoBox, window: Window) -> GeoBox:
    origin = Affine.translation(window.col_off, window.row_off)
    return GeoBox((window.height, window.width), compose(grid.affine, origin), grid.crs)


def _interpolate(
    reader: Reader,
    bands: Sequence[int],
    lattice: _Lattice,
    window: Window,
    kernel: Kernel,
    overviews: bool,
    dtype: DTypeLike,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    # A mean over whole pixels, then a Gaussian, gives the response of a sensor with the grid's pixel size.
    coarsening = lattice.coarsening()
    reduce = 1 if kernel == "nearest" else max(1, int(coarsening / 2))
    remaining = coarsening / reduce
    sigma_px = 0.5 * np.sqrt(remaining**2 - 1) if remaining > 1.05 and kernel != "nearest" else 0.0
    # twice what the filters reach over: the fill of the invalid pixels that they meet is found as far away again
    halo = 2 * (len(_prefilter(_ORDERS[kernel])) // 2 + int(4 * sigma_px + 0.5) + 3)
    position = lattice.at_centres(window) / reduce - 0.5
    position = np.rint(np.nan_to_num(position, nan=-1e6) * 2.0**20) / 2.0**20  # then `- low` loses no bit
    extent = np.array(reader.raster.shape[::-1]) // reduce
    low = np.clip(np.floor(position.min(axis=(1, 2))).astype(int) - halo, -halo, extent + halo)
    high = np.clip(np.ceil(position.max(axis=(1, 2))).astype(int) + halo + 1, -halo, extent + halo)
    shape = (int(high[1] - low[1]), int(high[0] - low[0]))
    if min(shape) <= 2 * halo:
        nothing = np.zeros((window.height, window.width), bool)
        return np.zeros((len(bands), *nothing.shape), dtype), nothing
    corner = (int(low[1]), int(low[0]))
    data, valid = reader.read(corner, shape, bands, reduce=reduce, overviews=overviews, dtype=dtype)
    at = np.stack([position[1] - low[1], position[0] - low[0]])
    sampled = np.stack([_resample(_fill(band, valid), at, kernel, sigma_px) for band in data])
    return sampled, _valid_at(valid, at)


def _fill(band: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Invalid pixels take the nearest valid value, so that no nodata bleeds through a kernel."""
    if valid.all() or not valid.any():
        return band
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return np.asarray(band[tuple(nearest)])


def _resample(band: NDArray[Any], at: FloatArray, kernel: Kernel, sigma_px: float) -> NDArray[Any]:
    order = _ORDERS[kernel]
    if sigma_px:
        band = ndimage.gaussian_filter(band, sigma_px, mode="nearest")
    spline = band
    if order > 1:
        for axis in (0, 1):
            spline = ndimage.correlate1d(spline, _prefilter(order), axis, mode="mirror")
    values = ndimage.map_coordinates(spline, at, order=order, prefilter=False, mode="mirror")
    nearest = np.rint(at).astype(np.intp)
    on_pixel = (nearest == at).all(axis=0)
    on_pixel &= (nearest >= 0).all(axis=0) & (nearest[0] < band.shape[0]) & (nearest[1] < band.shape[1])
    values[on_pixel] = band[tuple(nearest[:, on_pixel])]
    return np.asarray(values)


@lru_cache
def _prefilter(order: int) -> FloatArray:
    """Taps that turn samples into coefficients of a B-spline, to 5e-8. Unlike a recursion they act alike in any window."""
    if order < 2:
        return np.ones(1)
    at_integers, radius = {3: ((4 / 6, 1 / 6), 13), 5: ((66 / 120, 26 / 120, 1 / 120), 20)}[order]
    turn = 2 * np.pi * np.fft.rfftfreq(256)
    spectrum = at_integers[0] + sum(2 * b * np.cos(k * turn) for k, b in enumerate(at_integers[1:], start=1))
    half = np.fft.irfft(1 / spectrum)[: radius + 1]
    taps = np.concatenate([half[:0:-1], half])
    return np.asarray(taps / taps.sum())


def _valid_at(valid: NDArray[np.bool_], at: FloatArray) -> NDArray[np.bool_]:
    rows, cols = np.rint(at).astype(np.intp)
    inside = (rows >= 0) & (rows < valid.shape[0]) & (cols >= 0) & (cols < valid.shape[1])
    return np.asarray(inside & valid[rows.clip(0, valid.shape[0] - 1), cols.clip(0, valid.shape[1] - 1)])


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


def output_windows(shape: tuple[int, int], side_px: int) -> list[Window]:
    """Windows of at most ``side_px`` square that cover an image (height, width), row by row."""
    height, width = shape
    return [
        Window(col, row, min(side_px, width - col), min(side_px, height - row))
        for row in range(0, height, side_px)
        for col in range(0, width, side_px)
    ]


def resample_window(
    reader: Reader, placement: Placement, grid: GeoBox, kernel: Kernel, window: Window
) -> tuple[Window, NDArray[Any], NDArray[np.bool_]]:
    """Every band of a raster on one window of ``grid``, with one interpolation from its own pixels."""
    dtype = np.result_type(*placement.raster.dtypes)
    work = np.result_type(dtype, np.float32) if dtype.itemsize <= 2 or dtype.kind in "fc" else np.float64
    bands = range(1, placement.raster.count + 1)
    patch = sample(reader, placement, grid, bands, kernel=kernel, dtype=work, window=window)
    return window, patch.data, patch.valid
