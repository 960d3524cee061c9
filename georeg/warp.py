"""Sample a raster onto a grid through CRS and model together, with one interpolation.

`sample` serves both the matcher and the writer, a block of the grid at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import DTypeLike, NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from georeg.device import arrays_of
from georeg.models import FloatArray
from georeg.options import DeviceKind
from georeg.placement import Lattice, Placement, apply_transform, compose, lattice
from georeg.reader import Reader
from georeg.resampling import Kernel, fill, interpolate, smooth, taps


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
    device: DeviceKind = "cpu",
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
    device
        What interpolates; all else is done on the processor.
    """
    if window is None:
        window = Window(0, 0, int(grid.shape[1]), int(grid.shape[0]))
    look = sampling(
        reader, placement, grid, bands, kernel=kernel, snap_px=snap_px, overviews=overviews, dtype=dtype, device=device
    )
    data, valid = look.pixels(window)
    whole = look.whole_px
    if whole is not None:
        whole = (whole[0] + int(window.col_off), whole[1] + int(window.row_off), whole[2])
    return Patch(data, valid, _part(grid, window), placement, whole)


@dataclass(frozen=True)
class Sampling:
    """How a raster is seen through a grid: what `sample` does, for many windows of it."""

    reader: Reader
    nodes: Lattice
    bands: tuple[int, ...]
    kernel: Kernel
    overviews: bool
    dtype: DTypeLike
    whole_px: tuple[int, int, int] | None
    """As of a `Patch` of the whole grid."""
    device: DeviceKind = "cpu"

    def pixels(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Data and valid of a window of the grid, both (bands, height, width)."""
        if self.whole_px is None:
            return _interpolate(self, window)
        col, row, reduce = self.whole_px
        corner, shape = (row + int(window.row_off), col + int(window.col_off)), (int(window.height), int(window.width))
        return self.reader.read(corner, shape, self.bands, reduce=reduce, overviews=self.overviews, dtype=self.dtype)

    def xy(self, px: FloatArray) -> FloatArray:
        """Exact corrected working xy of pixel coordinates (column, row) of the grid, (N, 2)."""
        if self.whole_px is None:
            return apply_transform(self.nodes.grid.affine, px)
        col, row, reduce = self.whole_px
        return self.nodes.placement.to_xy((px + (col, row)) * reduce)


def sampling(
    reader: Reader,
    placement: Placement,
    grid: GeoBox,
    bands: Sequence[int],
    *,
    kernel: Kernel = "quintic",
    snap_px: float | None = None,
    overviews: bool = False,
    dtype: DTypeLike = np.float32,
    device: DeviceKind = "cpu",
) -> Sampling:
    """The parameters are those of `sample`."""
    nodes = lattice(placement, grid)
    whole = None if snap_px is None else nodes.whole_pixels(snap_px, overviews)
    return Sampling(reader, nodes, tuple(bands), kernel, overviews, dtype, whole, device)


def _part(grid: GeoBox, window: Window) -> GeoBox:
    origin = Affine.translation(window.col_off, window.row_off)
    return GeoBox((window.height, window.width), compose(grid.affine, origin), grid.crs)


@dataclass(frozen=True)
class _Filters:
    """What is done to the raster's pixels before they are interpolated."""

    reduce: int
    """Side of the squares of pixels whose mean is taken."""
    sigma_px: float
    """Of the Gaussian over these means, in them; 0: none."""
    halo: int
    """How many of them around a place matter to it."""


def _filters(nodes: Lattice, kernel: Kernel) -> _Filters:
    # A mean over whole pixels, then a Gaussian, gives the response of a sensor with the grid's pixel size.
    if kernel == "nearest":
        return _Filters(1, 0.0, 1)
    reduce = max(1, int(nodes.coarsening / 2))
    remaining = nodes.coarsening / reduce
    sigma_px = 0.5 * float(np.sqrt(remaining**2 - 1)) if remaining > 1.05 else 0.0
    # twice what the filters reach over: the fill of the invalid pixels that they meet is found as far away again
    return _Filters(reduce, sigma_px, 2 * (taps(kernel).reach_px + int(4 * sigma_px + 0.5) + 1))


def source_window(placement: Placement, grid: GeoBox, kernel: Kernel, window: Window) -> Window | None:
    """What of a raster `sample` without ``snap_px`` reads for a window of a grid, and a little more; None: nothing."""
    nodes = lattice(placement, grid)
    bounds, filters = nodes.bounds(window), _filters(nodes, kernel)
    if bounds is None:
        return None
    reach, extent = (filters.halo + 2) * filters.reduce, np.array(placement.raster.shape[::-1])
    low = np.clip(np.floor(bounds[0]).astype(int) - reach, 0, extent)
    high = np.clip(np.ceil(bounds[1]).astype(int) + reach, 0, extent)
    return Window(*(int(n) for n in (*low, *(high - low)))) if (high > low).all() else None


def _interpolate(look: Sampling, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    reader, bands, kernel, dtype = look.reader, look.bands, look.kernel, look.dtype
    filters = _filters(look.nodes, kernel)
    reduce, halo = filters.reduce, filters.halo
    at = look.nodes.positions(window)
    extent = np.array(reader.raster.shape[::-1]) // reduce
    ends = (np.array(at.low) / reduce - halo - 1, np.array(at.high) / reduce + halo + 1)
    low, high = (np.clip(end, -halo, extent + halo).astype(int) for end in ends)
    if (high - low).min() <= 2 * halo:
        nothing = np.zeros((len(bands), int(window.height), int(window.width)), dtype)
        return nothing, nothing.astype(bool)
    corner, shape = (int(low[1]), int(low[0])), (int(high[1] - low[1]), int(high[0] - low[0]))
    data, valid = reader.read(corner, shape, bands, reduce=reduce, overviews=look.overviews, dtype=dtype)
    if kernel != "nearest":
        fill(data, valid)
    if filters.sigma_px:
        data = smooth(data, filters.sigma_px)
    return interpolate(data, valid, at, corner, reduce=reduce, kernel=kernel, arrays=arrays_of(look.device))
