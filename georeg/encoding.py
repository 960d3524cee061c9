"""Values into the pixels of a file: rounded and clamped to the type, and never nodata where they are valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from georeg.raster import Raster


@dataclass(frozen=True)
class Encoding:
    """What the pixels of a file are."""

    dtype: np.dtype[Any]
    """Of every band, as a GeoTIFF has it."""
    nodata: float | None
    """What invalid pixels hold; None where something else says which they are."""
    band_dtypes: tuple[str, ...]
    """Types that the bands had before, which their values stay within."""

    def encode(self, values: NDArray[Any], valid: NDArray[np.bool_], bands: Sequence[int]) -> NDArray[Any]:
        """Pixels (bands, h, w) of interpolated values, whose 1-based numbers are ``bands``; those of a type that the file
        holds are taken as they are.

        >>> one = Encoding(np.dtype("uint8"), 0.0, ("uint8",))
        >>> one.encode(np.array([[[-3.0, 300.0, 7.6]]]), np.ones((1, 1, 3), bool), [1])
        array([[[  1, 255,   8]]], dtype=uint8)
        """
        pixels = np.empty(values.shape, self.dtype)
        for k, band in enumerate(bands):
            pixels[k] = _within(values[k], np.dtype(self.band_dtypes[band - 1]))
        fill = self.dtype.type(self.fill)
        if self.nodata is not None:
            pixels.real[_taken_for(pixels, fill)] = _beside(fill.real)
        if not valid.all():
            pixels[~valid] = fill
        return pixels

    @property
    def fill(self) -> float:
        """What an invalid pixel holds."""
        if self.nodata is not None:
            return self.nodata
        return float("nan") if np.issubdtype(self.dtype, np.floating) else 0.0


def encoding_of(raster: Raster) -> Encoding:
    """Of a file that keeps what the pixels of ``raster`` are: one type that holds all of its bands, and its nodata value where
    that type can hold it."""
    dtype = np.result_type(*raster.dtypes)
    return Encoding(dtype, _representable(raster.nodata, dtype), raster.dtypes)


def working_dtype(dtypes: Sequence[str]) -> np.dtype[Any]:
    """Type to interpolate pixels of such types in."""
    dtype = np.result_type(*dtypes)
    return np.result_type(dtype, np.float32) if dtype.itemsize <= 2 or dtype.kind in "fc" else np.dtype(np.float64)


def _within(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not np.issubdtype(dtype, np.integer) or np.issubdtype(values.dtype, np.integer):
        return values
    limits = np.iinfo(dtype)
    largest = np.asarray(limits.max, values.dtype)
    if int(largest) > limits.max:  # 64 bits do not fit a double
        largest = np.nextafter(largest, 0)
    return np.asarray(np.clip(np.rint(values), limits.min, largest))


def _representable(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """The nodata value if pixels of ``dtype`` can hold it, else None."""
    if nodata is None or not np.issubdtype(dtype, np.integer):
        return nodata
    limits = np.iinfo(dtype)
    return nodata if limits.min <= nodata <= limits.max and float(nodata).is_integer() else None


def _taken_for(pixels: NDArray[Any], nodata: Any) -> NDArray[np.bool_]:
    """Where GDAL reads nodata: it compares floats to the last bits of 32, and of complex numbers the real part alone."""
    pixels, nodata = pixels.real, nodata.real
    if not np.issubdtype(pixels.dtype, np.floating) or not np.isfinite(nodata):
        return np.asarray(pixels == nodata)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(pixels - nodata) <= 4 * np.finfo(np.float32).eps * np.abs(nodata)
    return np.asarray(near)


def _beside(value: Any) -> Any:
    """A number so close to ``value`` that it may stand for it, and far enough for GDAL to tell them apart."""
    if np.issubdtype(type(value), np.integer):
        return value - 1 if value == np.iinfo(type(value)).max else value + 1
    return value * type(value)(1 - 1e-5) if value else type(value)(np.finfo(type(value)).tiny)
