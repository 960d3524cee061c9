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
from rasterio.windows import Window
from scipy import ndimage

from georeg.models import FloatArray
from georeg.placement import Lattice, Placement, apply_transform, compose, lattice
from georeg.raster import Reader

Kernel = Literal["nearest", "bilinear", "cubic", "quintic"]

_ORDERS: dict[Kernel, int] = {"nearest": 0, "bilinear": 1, "cubic": 3, "quintic": 5}


@dataclass(frozen=True)
class Patch:
    """Pixels of a raster on, or nearly on, a grid."""

    data: NDArray[Any]
    """(bands, height, width); finite everywhere, meaningful where valid."""
    valid: NDArray[np.bool_]
    """(bands, height, width)"""
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
        In any CRS; `Patch.xy` asks for one in the working CRS.
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
    nodes = lattice(placement, grid)
    if window is None:
        window = Window(0, 0, int(grid.shape[1]), int(grid.shape[0]))
    shape = (window.height, window.width)
    whole = None if snap_px is None else nodes.whole_pixels(snap_px, overviews)
    if whole is not None:
        col, row, reduce = whole = (whole[0] + window.col_off, whole[1] + window.row_off, whole[2])
        data, valid = reader.read((row, col), shape, bands, reduce=reduce, overviews=overviews, dtype=dtype)
    else:
        data, valid = _interpolate(reader, bands, nodes, window, kernel, overviews, dtype)
    return Patch(data, valid, _part(grid, window), placement, whole)


def _part(grid: GeoBox, window: Window) -> GeoBox:
    origin = Affine.translation(window.col_off, window.row_off)
    return GeoBox((window.height, window.width), compose(grid.affine, origin), grid.crs)


def _interpolate(
    reader: Reader,
    bands: Sequence[int],
    nodes: Lattice,
    window: Window,
    kernel: Kernel,
    overviews: bool,
    dtype: DTypeLike,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    # A mean over whole pixels, then a Gaussian, gives the response of a sensor with the grid's pixel size.
    coarsening = nodes.coarsening()
    reduce = 1 if kernel == "nearest" else max(1, int(coarsening / 2))
    remaining = coarsening / reduce
    sigma_px = 0.5 * np.sqrt(remaining**2 - 1) if remaining > 1.05 and kernel != "nearest" else 0.0
    # twice what the filters reach over: the fill of the invalid pixels that they meet is found as far away again
    halo = 2 * (len(_prefilter(_ORDERS[kernel])) // 2 + int(4 * sigma_px + 0.5) + 3)
    position = nodes.at_centres(window) / reduce - 0.5
    position = np.rint(np.nan_to_num(position, nan=-1e6) * 2.0**20) / 2.0**20  # then `- low` loses no bit
    extent = np.array(reader.raster.shape[::-1]) // reduce
    low = np.clip(np.floor(position.min(axis=(1, 2))).astype(int) - halo, -halo, extent + halo)
    high = np.clip(np.ceil(position.max(axis=(1, 2))).astype(int) + halo + 1, -halo, extent + halo)
    shape = (int(high[1] - low[1]), int(high[0] - low[0]))
    if min(shape) <= 2 * halo:
        nothing = np.zeros((len(bands), window.height, window.width), dtype)
        return nothing, nothing.astype(bool)
    corner = (int(low[1]), int(low[0]))
    data, valid = reader.read(corner, shape, bands, reduce=reduce, overviews=overviews, dtype=dtype)
    at = np.stack([position[1] - low[1], position[0] - low[0]])
    _fill(data, valid)
    return np.stack([_resample(band, at, kernel, sigma_px) for band in data]), _valid_at(valid, at)


def _fill(data: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    """Give invalid pixels of each band the nearest valid value, in place, so that no nodata bleeds through a kernel."""
    nearest = None
    for k, (band, known) in enumerate(zip(data, valid, strict=True)):
        if known.all() or not known.any():
            continue
        if nearest is None or not np.array_equal(known, valid[k - 1]):
            nearest = tuple(ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True))
        data[k] = band[nearest]


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
    _, height, width = valid.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    return np.asarray(inside & valid[:, rows.clip(0, height - 1), cols.clip(0, width - 1)])


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
