"""The tile engine: a raster onto a grid, block by block, each pixel interpolated once from the raster's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from georeg.encoding import Encoding, working_dtype
from georeg.execution import Progress, counted, run_ordered, workers
from georeg.options import DeviceKind
from georeg.placement import Placement, lattice, whole_shift
from georeg.reader import Reader
from georeg.resampling import Kernel
from georeg.warp import sample

BLOCK_PX = 512
"""Side of a block of the output."""
SOURCE_BYTES = 44 * 2**20
"""Decoded pixels of the source that shall be kept until the next blocks have used them too; the cache holds the output's as
well."""
Blocks = Iterator[tuple[Window, NDArray[Any], NDArray[np.bool_]]]
"""Window of the output; its pixels, encoded; whether they are valid: both (bands, h, w)."""


@dataclass(frozen=True)
class Regridding:
    """What is to be done to a raster."""

    placement: Placement
    grid: GeoBox
    kernels: tuple[Kernel, ...]
    """Of each band."""
    encoding: Encoding
    device: DeviceKind = "cpu"
    """What interpolates."""

    @contextmanager
    def running(self, progress: Progress, executor: Executor | None = None) -> Iterator[Blocks]:
        """All blocks in the order to write, a few of them at a time, computed on every processor or by ``executor``."""
        raster = self.placement.raster
        windows = output_windows((int(self.grid.shape[0]), int(self.grid.shape[1])), BLOCK_PX, self._strip_px())
        with Reader(raster, least_alpha=1) as reader, workers(executor=executor) as pool:
            done = run_ordered(partial(self.block, reader), windows, pool)
            yield counted(done, len(windows), "write", progress)

    def block(self, reader: Reader, window: Window) -> tuple[Window, NDArray[Any], NDArray[np.bool_]]:
        """One block; it is the same, bit for bit, as part of a larger one."""
        shape = (len(self.kernels), int(window.height), int(window.width))
        pixels, valid = np.empty(shape, self.encoding.dtype), np.empty(shape, bool)
        for kernel, bands in self._groups().items():
            dtypes = [self.placement.raster.dtypes[band - 1] for band in bands]
            dtype = np.result_type(*dtypes) if kernel == "nearest" else working_dtype(dtypes)
            patch = sample(
                reader, self.placement, self.grid, bands, kernel=kernel, dtype=dtype, window=window, device=self.device
            )
            at = [band - 1 for band in bands]
            pixels[at], valid[at] = self.encoding.encode(patch.data, patch.valid, bands), patch.valid
        return window, pixels, valid

    def _groups(self) -> dict[Kernel, list[int]]:
        """Numbers of the bands to be sampled alike. Where pixels fall on pixels nothing is interpolated."""
        still = whole_shift(self.placement, self.grid)
        groups: dict[Kernel, list[int]] = {}
        for band, kernel in enumerate(self.kernels, start=1):
            groups.setdefault("nearest" if still else kernel, []).append(band)
        return groups

    def _strip_px(self) -> int | None:
        """Width of the strips of the output to go down one after the other, so that what is decoded of a tiled source stays
        at hand until the blocks below have used it; None: the whole width, for a source whose blocks are as wide as it."""
        raster = self.placement.raster
        height, width = raster.block_shape
        if width >= raster.shape[1]:
            return None
        coarsening = lattice(self.placement, self.grid).coarsening
        rows = BLOCK_PX * coarsening + 2 * height
        pixel_bytes = sum(np.dtype(name).itemsize for name in raster.dtypes)
        columns = SOURCE_BYTES / (rows * pixel_bytes) - 2 * width
        return BLOCK_PX * max(1, math.floor(columns / (coarsening * BLOCK_PX)))


def output_windows(shape: tuple[int, int], side_px: int, strip_px: int | None = None) -> list[Window]:
    """Windows of at most ``side_px`` square that cover an image (height, width), row by row of strips of columns."""
    height, width = shape
    strip_px = strip_px or width
    return [
        Window(col, row, min(side_px, left + strip_px - col, width - col), min(side_px, height - row))
        for left in range(0, width, strip_px)
        for row in range(0, height, side_px)
        for col in range(left, min(left + strip_px, width), side_px)
    ]
