"""Decoded parts of a raster, each decoded once for all threads that need it while it is kept."""

from __future__ import annotations

import ctypes
import math
import mmap
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

Bands = tuple[int, ...]
PART_PX = 512
"""Blocks of a file that are smaller than a square of this side are decoded several at a time."""

_LEAST_ROOM_BYTES = 2**17


@dataclass(frozen=True)
class Pixels:
    """A part of a raster as the file has it."""

    values: NDArray[Any]
    """(bands, height, width)"""
    valid: NDArray[np.bool_] | None
    """Of the same shape; None where all pixels are."""

    @property
    def n_bytes(self) -> int:
        """In memory."""
        return self.values.nbytes + (0 if self.valid is None else self.valid.nbytes)

    def cut(self, rows: slice, cols: slice) -> Pixels:
        """A part of this part."""
        return Pixels(self.values[:, rows, cols], None if self.valid is None else self.valid[:, rows, cols])


def part_shape(shape: tuple[int, int], block_shape: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of whole blocks, of about `PART_PX` squared pixels or one block, to decode at once.

    >>> part_shape((5000, 5000), (512, 512)), part_shape((5000, 5000), (128, 128)), part_shape((5000, 4096), (1, 4096))
    ((512, 512), (512, 512), (64, 4096))
    """
    height, width = block_shape
    across = width * max(1, PART_PX // width)
    down = height * max(1, PART_PX**2 // (height * across))
    return min(down, max(shape[0], height)), min(across, max(shape[1], width))


class Rooms:
    """Memory of its own for arrays as large as parts, lent again once nothing refers to what was in it.

    Pages that the system gives anew cost time, more with every thread that asks for them; and what was allocated after them
    would keep them from going back to it.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[mmap.mmap]] = {}

    def room(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """An array of any values. From any thread."""
        n = math.prod(shape)
        n_bytes = n * np.dtype(dtype).itemsize
        if n_bytes < _LEAST_ROOM_BYTES:
            return np.empty(shape, dtype)
        free = self._free.setdefault(n_bytes, [])
        try:
            memory = free.pop()
        except IndexError:
            memory = mmap.mmap(-1, n_bytes)
        lent = (ctypes.c_ubyte * n_bytes).from_buffer(memory)
        weakref.finalize(lent, free.append, memory).atexit = False
        return np.frombuffer(lent, dtype, n).reshape(shape)


class Decoded:
    """Parts of a raster (height, width) on a lattice, of which about ``capacity_bytes`` are kept, the last ones used.

    ``decode`` is called without a lock, by as many threads as ask for different parts; who asks for a part that is being
    decoded waits for it.
    """

    def __init__(
        self,
        decode: Callable[[Window, Bands], Pixels],
        shape: tuple[int, int],
        part: tuple[int, int],
        capacity_bytes: int,
    ) -> None:
        self._decode, self._shape, self._part, self._capacity_bytes = decode, shape, part, capacity_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, Bands], Future[Pixels]] = OrderedDict()
        self._n_bytes = 0
        self.rooms = Rooms()
        """For what ``decode`` returns."""
        self.n_decoded = 0
        """Parts decoded so far, again and again those that were asked for after they had been dropped."""

    def within(self, window: Window, bands: Bands) -> Iterator[tuple[slice, slice, Pixels]]:
        """The pixels of a window, part by part, each with the rows and columns of the window that it fills."""
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        height, width = self._part
        for i in range(top // height, -(-bottom // height)):
            for j in range(left // width, -(-right // width)):
                first = (i * height, j * width)
                low = (max(top, first[0]), max(left, first[1]))
                high = (min(bottom, first[0] + height), min(right, first[1] + width))
                inside = (slice(low[k] - first[k], high[k] - first[k]) for k in (0, 1))
                rows, cols = slice(low[0] - top, high[0] - top), slice(low[1] - left, high[1] - left)
                yield rows, cols, self._get(i, j, bands).cut(*inside)

    def forget(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self._kept.clear()
            self._n_bytes = 0
            self.rooms = Rooms()

    def _get(self, i: int, j: int, bands: Bands) -> Pixels:
        key = (i, j, bands)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            else:
                mine: Future[Pixels] = Future()
                self._kept[key] = mine
                self.n_decoded += 1
        if found is not None:
            return found.result()
        try:
            pixels = self._decode(self._window(i, j), bands)
        except BaseException as exc:
            with self._lock:
                if self._kept.get(key) is mine:
                    del self._kept[key]
            mine.set_exception(exc)
            raise
        with self._lock:
            mine.set_result(pixels)
            if self._kept.get(key) is mine:  # not forgotten meanwhile
                self._n_bytes += pixels.n_bytes
                self._drop()
        return pixels

    def _window(self, i: int, j: int) -> Window:
        (height, width), row, col = self._part, i * self._part[0], j * self._part[1]
        return Window(col, row, min(width, self._shape[1] - col), min(height, self._shape[0] - row))

    def _drop(self) -> None:
        """Forget the parts that were not used for longest, but not the last one, nor those that are being decoded."""
        for key in list(self._kept)[:-1] if self._n_bytes > self._capacity_bytes else []:
            if self._n_bytes <= self._capacity_bytes:
                break
            if self._kept[key].done():
                self._n_bytes -= self._kept.pop(key).result().n_bytes
