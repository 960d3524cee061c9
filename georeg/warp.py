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

Kernel = Literal["nearest", "bilinear", "cubic"]

MAP_ERROR_PX = 0.002
"""Largest error of the interpolated inverse map, source pixels."""
SNAP_DISTORTION_PX = 0.1
"""Whole pixels stand for a grid's where they distort a window by less than this."""
SNAP_DRIFT_PX = 2.0
"""And where they drift by less than this over the patch."""
TRANSFORM_ERROR_PX = 0.01
"""Largest error of a geotransform that stands for CRS and model together, pixels."""


@lru_cache(maxsize=64)
def transformer(src_wkt: str, dst_wkt: str) -> Transformer:
    """The transformation between two CRSs, x before y."""
    return Transformer.from_crs(CRS.from_wkt(src_wkt), CRS.from_wkt(dst_wkt), always_xy=True)


def transform_xy(xy: FloatArray, src: CRS, dst: CRS) -> FloatArray:
    """(N, 2) map coordinates in ``dst`` of (N, 2) map coordinates in ``src``; exact where they are equal."""
    if src == dst:
        return xy
    return np.stack(transformer(src.to_wkt(), dst.to_wkt()).transform(xy[:, 0], xy[:, 1]), axis=1).astype(float)


def apply_transform(transform: Any, xy: FloatArray) -> FloatArray:
    """An affine transform of (N, 2) coordinates."""
    a = np.array(transform[:6], float).reshape(2, 3)
    return np.asarray(xy @ a[:, :2].T + a[:, 2])


@dataclass(frozen=True)
class Placement:
    """Where the pixels of a raster lie in the working CRS once ``model`` corrects them."""

    raster: Raster
    crs: CRS
    """Working CRS, in which the model acts."""
    model: PolynomialDisplacement

    def to_px(self, xy: FloatArray) -> FloatArray:
        """Pixel coordinates (column, row) of corrected working xy, (N, 2)."""
        own_xy = transform_xy(self.model.inverse(xy), self.crs, self.raster.crs)
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
    """Exact source pixel coordinates at some nodes of a grid, close enough to interpolate between."""

    rows: FloatArray
    """(n,) grid pixel coordinates."""
    cols: FloatArray
    """(m,) grid pixel coordinates."""
    src_px: FloatArray
    """(2, n, m): source column and row."""

    def coarsening(self) -> float:
        """Source pixels per grid pixel."""
        across = (self.src_px[:, :, -1] - self.src_px[:, :, 0]).mean(axis=1) / self.cols[-1]
        down = (self.src_px[:, -1] - self.src_px[:, 0]).mean(axis=1) / self.rows[-1]
        return float(np.sqrt(abs(across[0] * down[1] - across[1] * down[0])))

    def at_centres(self, shape: tuple[int, int]) -> FloatArray:
        """Source pixel coordinates (2, height, width) of the centre of every pixel of the grid."""
        along_rows = _linear_weights(np.arange(0.5, shape[0]), self.rows)
        along_cols = _linear_weights(np.arange(0.5, shape[1]), self.cols)
        return np.asarray(along_rows @ self.src_px @ along_cols.T)

    def whole_pixels(self, snap_px: float, averaged: bool) -> tuple[int, int, int] | None:
        """First (column, row) and averaging with which whole source pixels stand for the grid's, or None."""
        reduce = max(1, round(self.coarsening())) if averaged else 1
        shift_px = self.src_px / reduce - np.stack(np.meshgrid(self.cols, self.rows))
        drift = np.ptp(shift_px, axis=(1, 2)).max()
        if drift > SNAP_DRIFT_PX or drift / max(self.cols[-1], self.rows[-1]) * snap_px > SNAP_DISTORTION_PX:
            return None
        col, row = np.rint(shift_px.mean(axis=(1, 2))).astype(int)
        return int(col), int(row), reduce


def _lattice(placement: Placement, grid: GeoBox) -> _Lattice:
    """Source pixel coordinates over ``grid``, on a lattice halved until it is exact to `MAP_ERROR_PX` between its nodes."""
    height, width = grid.shape
    step = 64
    while True:
        rows, cols = _nodes(height, step), _nodes(width, step)
        src_px = _exact(placement, grid, rows, cols)
        if step == 1:
            return _Lattice(rows, cols, src_px)
        exact = _exact(placement, grid, (rows[:-1] + rows[1:]) / 2, (cols[:-1] + cols[1:]) / 2)
        pairs = src_px[:, :-1] + src_px[:, 1:]
        if np.abs((pairs[:, :, :-1] + pairs[:, :, 1:]) / 4 - exact).max() <= MAP_ERROR_PX:
            return _Lattice(rows, cols, src_px)
        step //= 2


def _nodes(length: int, step: int) -> FloatArray:
    n = max(2, -(-length // step) + 1)
    return np.linspace(0.0, length, n)


def _exact(placement: Placement, grid: GeoBox, rows: FloatArray, cols: FloatArray) -> FloatArray:
    x, y = np.meshgrid(cols, rows)
    px = placement.to_px(apply_transform(grid.affine, np.stack([x.ravel(), y.ravel()], axis=1)))
    return px.T.reshape(2, len(rows), len(cols))


def _linear_weights(at: FloatArray, nodes: FloatArray) -> FloatArray:
    low = np.clip(np.searchsorted(nodes, at) - 1, 0, len(nodes) - 2)
    fraction = (at - nodes[low]) / (nodes[low + 1] - nodes[low])
    weights = np.zeros((len(at), len(nodes)))
    weights[np.arange(len(at)), low] = 1 - fraction
    weights[np.arange(len(at)), low + 1] = fraction
    return weights


def sample(
    reader: Reader,
    placement: Placement,
    grid: GeoBox,
    bands: Sequence[int],
    *,
    kernel: Kernel = "cubic",
    snap_px: float | None = None,
    overviews: bool = False,
    dtype: DTypeLike = np.float32,
) -> Patch:
    """Sample ``bands`` of a raster at the pixel centres of ``grid``.

    Parameters
    ----------
    reader, placement
        The raster and where it lies.
    grid
        In the working CRS.
    kernel
        ``cubic`` is the interpolating cubic B-spline, which moves nothing: its bias is below 0.001 px.
    snap_px
        Where the grid and the raster's own pixels differ by little but a shift, return whole pixels of the raster
        without interpolating, up to half a pixel off ``grid``: `Patch.xy` says where they lie. Little is a distortion of
        `SNAP_DISTORTION_PX` over this many pixels; None never does so.
    overviews
        As for `Reader.read`; whole pixels may then also be means of several.
    dtype
        Type to compute in.
    """
    lattice = _lattice(placement, grid)
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    whole = None if snap_px is None else lattice.whole_pixels(snap_px, overviews)
    if whole is not None:
        col, row, reduce = whole
        data, valid = reader.read((row, col), shape, bands, reduce=reduce, overviews=overviews, dtype=dtype)
    else:
        data, valid = _interpolate(reader, shape, bands, lattice, kernel, overviews, dtype)
    return Patch(data, valid, grid, placement, whole)


def _interpolate(
    reader: Reader,
    out_shape: tuple[int, int],
    bands: Sequence[int],
    lattice: _Lattice,
    kernel: Kernel,
    overviews: bool,
    dtype: DTypeLike,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    coarsening = lattice.coarsening()
    # A mean over whole pixels, then a Gaussian, gives the response of a sensor with the grid's pixel size.
    reduce = 1 if kernel == "nearest" else max(1, int(coarsening / 2))
    remaining = coarsening / reduce
    sigma_px = 0.5 * np.sqrt(remaining**2 - 1) if remaining > 1.05 and kernel != "nearest" else 0.0
    halo = 12 + int(4 * sigma_px)
    position = lattice.at_centres(out_shape) / reduce - 0.5
    low = np.floor(position.min(axis=(1, 2))).astype(int) - halo
    high = np.ceil(position.max(axis=(1, 2))).astype(int) + halo + 1
    extent = np.array(reader.raster.shape[::-1]) // reduce
    low, high = np.clip(low, -halo, extent + halo), np.clip(high, -halo, extent + halo)
    shape = (int(high[1] - low[1]), int(high[0] - low[0]))
    if min(shape) <= 2 * halo:
        return np.zeros((len(bands), *out_shape), dtype), np.zeros(out_shape, bool)
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
    order = {"nearest": 0, "bilinear": 1, "cubic": 3}[kernel]
    if sigma_px:
        band = ndimage.gaussian_filter(band, sigma_px, mode="nearest")
    if order > 1:
        band = ndimage.spline_filter(band, order, output=band.dtype, mode="mirror")
    return np.asarray(ndimage.map_coordinates(band, at, order=order, prefilter=False, mode="mirror"))


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
        return placement.model.affine * raster.transform
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
        Affine.translation(*moved) * raster.transform,
        Affine(a, b, c + mean[0], d, e, f + mean[1]) * to_unit,
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
    block = GeoBox(
        (int(window.height), int(window.width)),
        grid.affine * Affine.translation(window.col_off, window.row_off),
        grid.crs,
    )
    dtype = np.result_type(*placement.raster.dtypes)
    work = np.result_type(dtype, np.float32) if dtype.itemsize <= 2 or dtype.kind in "fc" else np.float64
    bands = range(1, placement.raster.count + 1)
    patch = sample(reader, placement, block, bands, kernel=kernel, dtype=work)
    return window, patch.data, patch.valid
