"""A raster of Dask chunks: read a window at a time, and resampled lazily, a chunk of the output at a time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import dask
import dask.array
import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from georeg.arrays import PART_SHAPE, Held
from georeg.decoded import Bands, Decoded, Pixels
from georeg.reader import Reader
from georeg.regrid import BLOCK_PX, Regridding, output_windows
from georeg.tasks import LIMITS
from georeg.warp import source_window

_arrays: Any = dask.array
_dask: Any = dask  # not typed
TASK_PX = 128
"""A task is given a part of the source whose borders are multiples of this."""
CHUNK_PX = 2048
"""Side of the chunks of an output whose grid has none of its own."""
KEPT_BYTES = 256 * 2**20
"""Of computed chunks of one array, kept while it is matched: to compute one again may mean to download it again."""


class Chunked:
    """A Dask array (bands, height, width) as the source of a raster: a chunk is computed when a window first touches it.

    Pickling keeps the array alone.
    """

    part_shape = PART_SHAPE

    def __init__(self, array: Any) -> None:
        self.array = array
        height, width = (max(sizes) for sizes in array.chunks[1:])
        self._chunks = Decoded(self._compute, array.shape[1:], (height, width), KEPT_BYTES)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Chunked, (self.array,))

    @property
    def n_computed(self) -> int:
        """Chunks computed so far; again, if they were dropped."""
        return self._chunks.n_decoded

    def read(self, window: Window, bands: Bands) -> NDArray[Any]:
        """Pixels (bands, height, width) of a window; those of bool as 0 and 1."""
        out = np.empty((len(bands), int(window.height), int(window.width)), self.array.dtype)
        for rows, cols, pixels in self._chunks.within(window, bands):
            out[:, rows, cols] = pixels.values
        return out.view(np.uint8) if out.dtype == bool else out

    def _compute(self, window: Window, bands: Bands) -> Pixels:
        """By the scheduler that is set, such as a cluster's, else in the thread that asks."""
        part = self.array[[band - 1 for band in bands], *_slices(window)]
        return Pixels(np.asarray(part.compute(scheduler=_dask.base.get_scheduler() or "synchronous")), None)


def regridded(array: Any, plan: Regridding, chunks: tuple[tuple[int, ...], tuple[int, ...]] | None) -> Any:
    """A Dask array (bands, height, width) of what `Regridding` gives of one; nothing is computed yet.

    A chunk of the output is a task that is given the part of ``array`` which it needs and no more, and it holds the same
    values, bit for bit, as any other way to compute it.

    Parameters
    ----------
    array
        (bands, height, width) of Dask; the raster of ``plan`` describes it and has no source.
    chunks
        Heights and widths of the output's chunks; None chooses them.
    """
    height, width = (int(n) for n in plan.grid.shape)
    heights, widths = chunks or (_even(height), _even(width))
    stack = []
    for first, last in pairwise(accumulate(array.chunks[0], initial=0)):
        part = _of_bands(plan, slice(first, last))
        block = partial(_block, array[first:last], part, _dask.delayed(part, traverse=False))
        stack.append([[block(window) for window in row] for row in _windows(heights, widths)])
    return _arrays.block(stack)


def _even(length: int) -> tuple[int, ...]:
    n, rest = divmod(length, CHUNK_PX)
    return (CHUNK_PX,) * n + ((rest,) if rest else ())


def _windows(heights: tuple[int, ...], widths: tuple[int, ...]) -> list[list[Window]]:
    rows, cols = pairwise(accumulate(heights, initial=0)), list(pairwise(accumulate(widths, initial=0)))
    return [[Window(left, top, right - left, bottom - top) for left, right in cols] for top, bottom in rows]


def _of_bands(plan: Regridding, bands: slice) -> Regridding:
    raster, encoding = plan.placement.raster, plan.encoding
    return replace(
        plan,
        placement=replace(plan.placement, raster=replace(raster, dtypes=raster.dtypes[bands], classes=())),
        kernels=plan.kernels[bands],
        encoding=replace(encoding, band_dtypes=encoding.band_dtypes[bands]),
    )


def _block(array: Any, plan: Regridding, shared: Any, window: Window) -> Any:
    shape = (len(plan.kernels), int(window.height), int(window.width))
    needed = _needed(plan, window)
    if needed is None:
        return _arrays.full(shape, plan.encoding.fill, plan.encoding.dtype, chunks=shape)
    rows, cols = _slices(needed)
    task = _dask.delayed(_computed, pure=False)(shared, array[:, rows, cols], (rows.start, cols.start), window)
    return _arrays.from_delayed(task, shape, plan.encoding.dtype)


def _needed(plan: Regridding, window: Window) -> Window | None:
    """Whole parts of the source that a window of the output is made from; None where there are none."""
    looks = [source_window(plan.placement, plan.grid, kernel, window) for kernel in sorted(set(plan.kernels))]
    found = [look for look in looks if look is not None]
    if not found:
        return None
    tops, lefts = ([int(getattr(look, name)) for look in found] for name in ("row_off", "col_off"))
    bottoms, rights = (
        [int(look.row_off + look.height) for look in found],
        [int(look.col_off + look.width) for look in found],
    )
    height, width = plan.placement.raster.shape
    top, left = (min(firsts) // TASK_PX * TASK_PX for firsts in (tops, lefts))
    bottom, right = (-(-max(ends) // TASK_PX) * TASK_PX for ends in (bottoms, rights))
    return Window(left, top, min(right, width) - left, min(bottom, height) - top)


def _computed(plan: Regridding, values: NDArray[Any], corner_px: tuple[int, int], window: Window) -> NDArray[Any]:
    """The pixels of a window of the output, of a part of the source whose first pixel is (row, column) ``corner_px`` of it."""
    raster = replace(plan.placement.raster, source=Held(values, corner_px, (TASK_PX, TASK_PX)))
    shape = (int(window.height), int(window.width))
    out = np.empty((len(plan.kernels), *shape), plan.encoding.dtype)
    with Reader(raster, least_alpha=1) as reader, LIMITS:
        for block in output_windows(shape, BLOCK_PX):
            rows, cols = _slices(block)
            place = Window(window.col_off + cols.start, window.row_off + rows.start, block.width, block.height)
            out[:, rows, cols] = plan.block(reader, place)[1]
    return out


def _slices(window: Window) -> tuple[slice, slice]:
    row, col = int(window.row_off), int(window.col_off)
    return slice(row, row + int(window.height)), slice(col, col + int(window.width))
