"""How certain the corrected position of each pixel is: the model's covariance, propagated and written as a raster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.windows import Window

from georeg.execution import Progress, counted, run_ordered, silent, workers
from georeg.geotiff import BLOCK_PX, write_values
from georeg.models import FloatArray
from georeg.overlap import unit_name
from georeg.placement import Placement, apply_transform, lattice, transform_xy
from georeg.warp import output_windows

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

    def sigma(self, px: FloatArray) -> FloatArray:
        """Standard deviation (N, 2) along x and y of the working CRS at pixel coordinates (N, 2) of the grid, map units.

        NaN where model or projection has no place.
        """
        place, raster = self.placement, self.placement.raster
        if self.resampled:
            ref_xy = transform_xy(apply_transform(self.grid.affine, px), CRS.from_wkt(str(self.grid.crs)), place.crs)
            tgt_xy = place.model.inverse(ref_xy, missing_ok=True)
        else:
            tgt_xy = transform_xy(apply_transform(raster.transform, px), raster.crs, place.crs)
        known, sigma = np.isfinite(tgt_xy).all(axis=1), np.full(tgt_xy.shape, np.nan)
        variance = np.diagonal(place.model.covariance_at(tgt_xy[known]), axis1=1, axis2=2)
        sigma[known] = np.sqrt(np.maximum(variance, 0))
        return sigma

    def window(self, window: Window) -> tuple[Window, NDArray[np.float32]]:
        """Both bands (2, height, width) of one window of the grid; NaN outside of the target.

        Computed exactly on a lattice as fine as is needed for `RELATIVE_ERROR` in the middle of each of its cells, and
        interpolated between.
        """
        step, nodes = self._nodes(window)
        rows, cols = ((np.arange(length) + 0.5) / step for length in (window.height, window.width))
        values = _along(_along(nodes, 1, rows), 2, cols)
        if self.resampled:
            src_px = lattice(self.placement, self.grid).at_centres(window)
            height, width = self.placement.raster.shape
            inside = (src_px >= 0).all(axis=0) & (src_px[0] < width) & (src_px[1] < height)
            values = np.where(inside, values, np.nan)
        return window, _rounded(values.astype(np.float32))

    def _nodes(self, window: Window) -> tuple[int, FloatArray]:
        """Side of cells that cover a window, and (2, n, m) exact values at their corners, to interpolate between."""
        step = _COARSEST_STEP_PX
        while True:
            nodes = self._lattice(window, step, 0.0)
            if step == 1 or _smooth(nodes, self._lattice(window, step, 0.5)):
                return step, nodes
            step //= 2

    def _lattice(self, window: Window, step: int, offset: float) -> FloatArray:
        """(2, n, m) at the corners of cells of ``step`` pixels, or, ``offset`` by half a cell, at their middles."""
        cells = [-(-n // step) for n in (window.height, window.width)]
        rows, cols = (step * (np.arange(n + (offset == 0)) + offset) for n in cells)
        x, y = np.meshgrid(window.col_off + cols, window.row_off + rows)
        sigma = self.sigma(np.stack([x.ravel(), y.ravel()], axis=1))
        return sigma.T.reshape(2, *x.shape)


def _along(values: FloatArray, axis: int, at: FloatArray) -> FloatArray:
    """Values between those of one axis, linearly."""
    before = np.minimum(at.astype(np.intp), values.shape[axis] - 2)
    beyond = np.expand_dims(at - before, 1 if axis == 1 else 0)
    first, second = (np.take(values, before + k, axis=axis) for k in (0, 1))
    return np.asarray(first + (second - first) * beyond)


def _smooth(nodes: FloatArray, middles: FloatArray) -> bool:
    """Whether the middle of every cell is told by its corners."""
    pairs = nodes[:, :-1] + nodes[:, 1:]
    guessed = (pairs[:, :, :-1] + pairs[:, :, 1:]) / 4
    nowhere = np.isnan(guessed) & np.isnan(middles)
    return bool((nowhere | (np.abs(guessed - middles) <= RELATIVE_ERROR * middles)).all())


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """To 10 bits, 0.05 %."""
    bits = values.view(np.uint32)
    half = np.uint32(1 << (_DROPPED_BITS - 1))
    kept = (bits + half) >> np.uint32(_DROPPED_BITS) << np.uint32(_DROPPED_BITS)
    return np.where(np.isfinite(values), kept, bits).view(np.float32)


def write_uncertainty(certainty: Certainty, path: str, *, progress: Progress = silent) -> None:
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
    with workers() as executor:
        blocks = run_ordered(certainty.window, windows, executor)
        write_values(
            grid,
            {"sigma_x": unit_name(crs), "sigma_y": unit_name(crs)},
            tags,
            counted(blocks, len(windows), "uncertainty", progress),
            path,
        )
