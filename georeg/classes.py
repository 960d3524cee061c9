"""Which bands hold classes, masks or codes, between which no value lies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rasterio.windows import Window

from georeg.raster import Raster
from georeg.reader import Reader

FEW = 16
"""Whole numbers of so few values are classes or a mask."""
SPARSE, SPARSE_SHARE = 64, 0.25
"""Of so few values, too, that fill less than this share of their range: codes and bit fields."""
_SIDE_PX, _PLACES = 256, 3


def class_bands(raster: Raster) -> dict[int, int]:
    """1-based numbers of the bands that hold classes though the file does not say so, and how many values were seen in each.

    Bands of whole numbers are looked at in 3 × 3 places; declared classes, alpha and nodata are left out.

    >>> is_classes(np.array([0, 1, 2, 3, 4])), is_classes(np.arange(40)), is_classes(np.array([21824, 22280, 23888] * 8))
    (True, False, True)
    """
    asked = [
        band
        for band, dtype in enumerate(raster.dtypes, start=1)
        if np.issubdtype(np.dtype(dtype), np.integer) and band not in (*raster.classes, *raster.alpha_bands)
    ]
    values = _values(raster, asked)
    return {band: len(seen) for band, seen in values.items() if len(seen) > 1 and is_classes(seen)}


def is_classes(values: np.ndarray[tuple[int, ...], np.dtype[np.integer]]) -> bool:
    """Whether whole numbers look like classes rather than brightness."""
    seen = np.unique(values)
    if len(seen) <= FEW:
        return True
    return len(seen) <= SPARSE and len(seen) < SPARSE_SHARE * (float(seen[-1]) - float(seen[0]))


def _values(raster: Raster, bands: list[int]) -> dict[int, np.ndarray[tuple[int, ...], np.dtype[np.integer]]]:
    """Distinct valid values of each band; bands of more than `SPARSE` are left out."""
    seen = {band: np.zeros(0, raster.dtypes[band - 1]) for band in bands}
    with Reader(raster) as reader:
        for window in _places(raster.shape):
            left = [band for band in seen if len(seen[band]) <= SPARSE]
            if not left:
                break
            dtype = np.result_type(*(raster.dtypes[band - 1] for band in left))
            corner, shape = (int(window.row_off), int(window.col_off)), (int(window.height), int(window.width))
            data, valid = reader.read(corner, shape, left, dtype=dtype)
            for band, pixels, known in zip(left, data, valid, strict=True):
                seen[band] = np.union1d(seen[band], pixels[known])
    return {band: values for band, values in seen.items() if len(values) <= SPARSE}


def _places(shape: tuple[int, int]) -> Iterator[Window]:
    """Windows spread over an image (height, width), the middle first."""
    sides = [min(_SIDE_PX, n) for n in shape]
    at = [[round(share * (n - side)) for share in (0.5, 0.1, 0.9)] for n, side in zip(shape, sides, strict=True)]
    for row in at[0][:_PLACES]:
        for col in at[1][:_PLACES]:
            yield Window(col, row, sides[1], sides[0])
