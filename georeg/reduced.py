"""A whole raster on larger pixels, made of its parts as they are decoded."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from georeg.decoded import Pixels

HELD_BYTES = 16 * 2**20
"""Means are held on as small pixels as these bytes allow."""
_VALUE_BYTES = 5
"""A mean, and whether there is one."""


def held_factor(shape: tuple[int, int], n_bands: int, reduce: int) -> int | None:
    """Side of the squares of pixels whose means are to be held, to give those of ``reduce`` and more; None where they would
    take too much memory.

    >>> held_factor((10980, 10980), 1, 16), held_factor((10980, 10980), 1, 2)
    (8, None)
    """
    factor = math.gcd(reduce, least_factor(shape, n_bands))
    return factor if factor > 1 and _held_bytes(shape, n_bands, factor) <= 4 * HELD_BYTES else None


def least_factor(shape: tuple[int, int], n_bands: int) -> int:
    """The least power of two at which means of the whole raster take no more than `HELD_BYTES`."""
    factor = 2
    while _held_bytes(shape, n_bands, factor) > HELD_BYTES:
        factor *= 2
    return factor


def _held_bytes(shape: tuple[int, int], n_bands: int, factor: int) -> int:
    return _VALUE_BYTES * n_bands * (shape[0] // factor) * (shape[1] // factor)


class Reduced:
    """Means over squares of ``factor`` pixels of a raster (height, width)."""

    def __init__(self, shape: tuple[int, int], part: tuple[int, int], n_bands: int, factor: int) -> None:
        self.factor, self._shape = factor, shape
        self._part = (-(-part[0] // factor) * factor, -(-part[1] // factor) * factor)
        self.by_parts = all(own == side or side >= n for own, side, n in zip(self._part, part, shape, strict=True))
        """Whether squares do not reach from one part to the next, so that each gives means by itself."""
        size = (n_bands, shape[0] // factor, shape[1] // factor)
        self._data, self._valid = blank(size, np.float32)
        self._made = np.zeros([-(-n // side) for n, side in zip(shape, self._part, strict=True)], bool)

    def missing(self) -> list[Window]:
        """Windows of the parts, in pixels of the raster, whose means are not there."""
        height, width = self._part
        corners = ((int(i) * height, int(j) * width) for i, j in np.argwhere(~self._made))
        return [
            Window(col, row, min(width, self._shape[1] - col), min(height, self._shape[0] - row))
            for row, col in corners
        ]

    def add(self, window: Window, pixels: Pixels) -> None:
        """Take the means of a part, or of one of `missing`. Threads may add several at once."""
        top, left = int(window.row_off), int(window.col_off)
        at = top // self._part[0], left // self._part[1]
        if self._made[at]:
            return
        height, width = (int(n) // self.factor for n in (window.height, window.width))
        data, valid = blank(pixels.values.shape, np.float32)
        copy_pixels(pixels, data, valid)
        whole = np.s_[:, : height * self.factor, : width * self.factor]
        row, col = top // self.factor, left // self.factor
        place = np.s_[:, row : row + height, col : col + width]
        self._data[place], self._valid[place] = means(data[whole], valid[whole], self.factor)
        self._made[at] = True

    def read(self, window: Window, reduce: int) -> Pixels:
        """Means over squares of ``reduce`` pixels, a multiple of `factor`, of a window that is counted in these."""
        more = reduce // self.factor
        rows, cols = (
            slice(int(first) * more, int(first + n) * more)
            for first, n in ((window.row_off, window.height), (window.col_off, window.width))
        )
        return Pixels(*means(self._data[:, rows, cols], self._valid[:, rows, cols], more))


def blank(shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Data and valid of pixels of which none is known."""
    return np.zeros(shape, dtype), np.zeros(shape, bool)


def copy_pixels(pixels: Pixels, data: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    """Put pixels where `blank` ones are; what ``data`` cannot hold is not valid, and of complex ones it takes magnitudes unless
    it is complex."""
    values, known = pixels.values, pixels.valid
    if np.iscomplexobj(values) and not np.iscomplexobj(data):
        values = np.abs(values)
    if np.issubdtype(values.dtype, np.inexact):
        limit = np.finfo(data.dtype).max if np.issubdtype(data.dtype, np.inexact) else np.inf
        finite = np.isfinite(values) & (np.abs(values) <= limit)
        known = finite if known is None else known & finite
    if known is None:
        data[...], valid[...] = values, True
    else:
        np.copyto(data, values, where=known, casting="unsafe")
        valid[...] = known


def means(
    data: NDArray[np.float32], valid: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Means of the valid pixels in squares of ``factor``, and whether there are any; sizes are multiples of it.

    >>> means(np.float32([[[1, 3], [5, 0]]]), np.array([[[True, True], [True, False]]]), 2)[0].tolist()
    [[[3.0]]]
    """
    if factor == 1:
        return data, valid
    bands, height, width = data.shape
    size = (width // factor, height // factor)
    if not (bands and all(size)):
        return blank((bands, *size[::-1]), np.float32)

    def mean(band: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(band, size, interpolation=cv2.INTER_AREA).reshape(size[::-1]), np.float32)

    out = np.stack([mean(band) for band in data])
    if valid.all():
        return out, np.ones(out.shape, bool)
    share = np.stack([mean(band.astype(np.float32)) for band in valid])
    least = np.float32(0.5 / factor**2)
    known = share > least
    return np.where(known, out / np.maximum(share, least), np.float32(0)), known
