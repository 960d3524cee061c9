"""How certain the corrected position of each pixel is: the model's covariance, propagated and written as a raster."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from georeg.execution import Progress, counted, run_ordered, silent, workers
from georeg.geotiff import write_values
from georeg.models import FloatArray
from georeg.overlap import unit_name
from georeg.placement import Placement, apply_transform, lattice, transform_xy
from georeg.regrid import BLOCK_PX, output_windows

RELATIVE_ERROR = 0.01
"""Largest error of the values between those that are computed exactly, as a share of the value."""
_COARSEST_STEP_PX = 64
_DROPPED_BITS = 13
"""Of the 23 of a float's mantissa: what is left says 3 digits, and compresses well."""


@dataclass(frozen=True)
class Certainty:
    """Standard deviations of corrected positions over a grid."""

    placement: Placement
    """The target, and the model that corrects it."""
    grid: GeoBox
    """Of the output."""
    resampled: bool
    """False where the grid is the target's own pixels with a corrected geotransform."""

    def window(self, window: Window) -> tuple[Window, NDArray[np.float32]]:
        """Both bands (2, height, width) of one window of the grid; NaN outside of the target.

        Computed exactly on a lattice as fine as is needed for `RELATIVE_ERROR` in the middle of each of its cells, and
        interpolated between; exactly, too, where a corner of the cell lies outside.
        """
        src_px = self._src_px(window)
        step, values = _COARSEST_STEP_PX, self._between(src_px, _COARSEST_STEP_PX)
        while step > 1 and not self._close(src_px, step, values):
            step //= 2
            values = self._between(src_px, step)
        inside = np.isfinite(src_px[0])
        missing = inside & np.isnan(values[0])
        values[:, missing] = self._sigma(src_px[:, missing])
        return window, _rounded(np.where(inside, values, np.nan).astype(np.float32))

    def _src_px(self, window: Window) -> FloatArray:
        """(2, height, width) column and row in the target of every pixel centre; NaN outside of the target."""
        if not self.resampled:
            rows, cols = np.mgrid[: window.height, : window.width] + 0.5
            return np.stack([cols + window.col_off, rows + window.row_off])
        src_px = lattice(self.placement, self.grid).positions(window).px
        height, width = self.placement.raster.shape
        inside = (src_px >= 0).all(axis=0) & (src_px[0] < width) & (src_px[1] < height)
        return np.where(inside, src_px, np.nan)

    def _sigma(self, src_px: FloatArray) -> FloatArray:
        """(2, …) standard deviation along x and y of the working CRS, map units, at (2, …) pixels of the target."""
        place = self.placement
        xy = apply_transform(place.raster.transform, src_px.reshape(2, -1).T)
        tgt_xy = transform_xy(xy, place.raster.crs, place.crs)
        known, sigma = np.isfinite(tgt_xy).all(axis=1), np.full(tgt_xy.shape, np.nan)
        if known.any():
            variance = np.diagonal(place.model.covariance_at(tgt_xy[known]), axis1=1, axis2=2)
            sigma[known] = np.sqrt(np.maximum(variance, 0))
        return sigma.T.reshape(src_px.shape)

    def _between(self, src_px: FloatArray, step: int) -> FloatArray:
        """(2, height, width) exact at every ``step`` pixels, bilinear between."""
        rows, cols = (_stops(length, step) for length in src_px.shape[1:])
        return _along(_along(self._sigma(src_px[:, rows[:, None], cols]), 1, rows), 2, cols)

    def _close(self, src_px: FloatArray, step: int, values: FloatArray) -> bool:
        """Whether ``values`` are right in the middle of every cell."""
        rows, cols = ((stops[:-1] + stops[1:]) // 2 for stops in (_stops(n, step) for n in src_px.shape[1:]))
        exact, found = self._sigma(src_px[:, rows[:, None], cols]), values[:, rows[:, None], cols]
        return not (np.abs(found - exact) > RELATIVE_ERROR * exact).any()


def _stops(length: int, step: int) -> NDArray[np.intp]:
    """Every ``step``-th pixel, and the last."""
    return np.unique(np.append(np.arange(0, length, step), length - 1))


def _along(nodes: FloatArray, axis: int, stops: NDArray[np.intp]) -> FloatArray:
    """Values at all pixels of an axis, linearly between those at the ``stops``."""
    at = np.arange(stops[-1] + 1)
    before = np.searchsorted(stops, at, side="right") - 1
    after = np.minimum(before + 1, len(stops) - 1)
    beyond = (at - stops[before]) / np.maximum(stops[after] - stops[before], 1)
    first, second = np.take(nodes, before, axis=axis), np.take(nodes, after, axis=axis)
    return np.asarray(first + (second - first) * np.expand_dims(beyond, 2 - axis))


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """To 10 bits, 0.05 %."""
    bits = values.view(np.uint32)
    half = np.uint32(1 << (_DROPPED_BITS - 1))
    kept = (bits + half) >> np.uint32(_DROPPED_BITS) << np.uint32(_DROPPED_BITS)
    return np.where(np.isfinite(values), kept, bits).view(np.float32)


def write_uncertainty(
    certainty: Certainty, path: str, *, progress: Progress = silent, executor: Executor | None = None
) -> None:
    """Write ``sigma_x`` and ``sigma_y`` of every pixel to a GeoTIFF, a block at a time.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    grid, crs = certainty.grid, certainty.placement.crs
    windows = output_windows((int(grid.shape[0]), int(grid.shape[1])), BLOCK_PX)
    tags = {
        "georeg": f"standard deviation of the corrected position along x (east) and y (north) of {crs.name}, by the "
        f"covariance of the {certainty.placement.model.kind} model",
        "georeg_crs": crs.to_wkt(),
    }
    place = certainty.placement  # what its model has computed already may differ in last bits from what workers compute
    certainty = replace(certainty, placement=replace(place, model=replace(place.model)))
    with workers(executor=executor) as pool:
        blocks = run_ordered(certainty.window, windows, pool)
        write_values(
            grid,
            {"sigma_x": unit_name(crs), "sigma_y": unit_name(crs)},
            tags,
            counted(blocks, len(windows), "uncertainty", progress),
            path,
        )
