"""What the matchers see of an image: its detail, its brightness, and the orientation of its edges.

All are made once for a block of pixels, and windows are cut from them. `prepare` is done in C (`_fields.c`) where a
compiler was at hand when georeg was installed; `prepare_by_numpy` does the same, for the reader and where there was none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.matching import _kernel

Image = NDArray[np.float32]

DETAIL_PX = 0.5
"""Deviation of the Gaussian mean that is taken away from the detail: other bands and other dates differ at long
wavelengths, so that what is shorter tells more."""
EDGE_PX = 0.7
"""Deviation of the Gaussian whose gradient gives the orientation."""
FAINT = 0.3
"""Edges fainter than this share of the median gradient count less."""
FLAT = 1e-6
"""A band that varies by less than this share of its values is constant: what is left is rounding."""
FAR = 1e4
"""Values this many deviations from the median are cut off."""
MARGIN_PX = 1
"""Pixels this near to an invalid one are not compared: the filters mix it in."""

_POLE = np.sqrt(3) - 2
_SHARPEN = (-6 * _POLE / (1 - _POLE**2) * _POLE ** np.abs(np.arange(-8, 9))).astype(np.float32)
# the inverse of a cubic B-spline (Unser et al. 1993, doi:10.1109/78.193220)

_KERNEL = _kernel.load(
    _kernel.FOLDER / "_fields.so", "georeg_fields_v1", _kernel.ADDRESS, *3 * [_kernel.INTEGER], *6 * [_kernel.ADDRESS]
)
COMPILED = _KERNEL is not None
"""Whether `prepare` runs in C."""


@dataclass(frozen=True)
class Field:
    """An image prepared for matching; arrays share (height, width)."""

    detail: tuple[Image, ...]
    """Of each band: the coefficients of its cubic B-spline less their Gaussian mean, which makes the finest most of all.
    None where only structure is compared (`georeg.matching.channels`)."""
    brightness: tuple[Image, ...]
    """Of each band: the image less its median, over its deviation."""
    edges: Image
    """(height, width, channels): cosine and sine of twice the gradient's direction, about 1 long on clear edges and 0
    where there is none or nothing valid; what is prepared for structure has more. Inverted contrast gives the same
    (Fitch et al. 2002, doi:10.5244/C.16.11)."""
    valid: NDArray[np.uint8]
    """1 where every pixel within `MARGIN_PX` is valid: those are compared."""
    known: NDArray[np.uint8]
    """1 where the pixel is valid."""

    @cached_property
    def whole(self) -> bool:
        """Whether every pixel is valid, and compared."""
        return bool(self.known.all() and self.valid.all())

    @cached_property
    def laid(self) -> Laid:
        """Where it lies in memory."""
        return Laid(self)

    def turned(self) -> Field:
        """The same image turned by half a turn."""
        return self._each(lambda array: np.ascontiguousarray(array[::-1, ::-1]))

    def part(self, rows: slice, cols: slice) -> Field:
        """A part of the image."""
        return self._each(lambda array: array[rows, cols])

    def _each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Field:
        detail, brightness = (tuple(change(band) for band in bands) for bands in (self.detail, self.brightness))
        return Field(detail, brightness, change(self.edges), change(self.valid), change(self.known))

    def __getstate__(self) -> dict[str, Any]:
        """Without `laid`, which is of no use to another process."""
        return {name: value for name, value in self.__dict__.items() if name != "laid"}


class Laid:
    """Addresses of a field's arrays, which it keeps alive: rows of pixels, one after the other."""

    def __init__(self, field: Field) -> None:
        self._kept: list[NDArray[Any]] = []
        self.detail, self.brightness = (
            (ctypes.c_void_p * len(bands))(*(self._address(band, np.float32) for band in bands))
            for bands in (field.detail, field.brightness)
        )
        self.edges, self.valid = self._address(field.edges, np.float32), self._address(field.valid, np.uint8)

    def _address(self, array: NDArray[Any], dtype: type[np.generic]) -> int:
        array = np.ascontiguousarray(array, dtype)
        self._kept.append(array)
        return int(array.ctypes.data)


def prepare(image: Image, valid: NDArray[np.bool_]) -> Field:
    """Prepare a block of pixels.

    Parameters
    ----------
    image
        (bands, height, width), finite.
    valid
        (height, width)

    >>> import numpy as np
    >>> ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    >>> prepare(ramp[None], np.ones((8, 8), bool)).edges[4, 4].astype(float).round(1).tolist()
    [0.9, 0.0]
    """
    _check(image, valid)
    if _KERNEL is None:
        return prepare_by_numpy(image, valid)
    known, inner = _known_and_inner(valid)
    filled = np.ascontiguousarray(fill_invalid(image, valid), np.float32)
    bands = np.empty((2, *filled.shape), np.float32)
    edges = np.empty((*valid.shape, 2), np.float32)
    made = (known, inner, bands[0], bands[1], edges)
    _KERNEL(ctypes.byref(_SETTINGS), *filled.shape, filled.ctypes.data, *(array.ctypes.data for array in made))
    return Field(tuple(bands[0]), tuple(bands[1]), edges, inner, known)


def prepare_by_numpy(image: Image, valid: NDArray[np.bool_]) -> Field:
    """What `prepare` does, without a compiled library."""
    _check(image, valid)
    known, inner = _known_and_inner(valid)
    bands = [standardised(band, valid) for band in fill_invalid(image, valid)]
    edges = sum((_edges(band, inner) for band in bands), np.zeros((*valid.shape, 2), np.float32)) / len(bands)
    return Field(
        detail=tuple(_detail(band) for band in bands),
        brightness=tuple(bands),
        edges=np.asarray(edges, np.float32),
        valid=inner,
        known=known,
    )


def _check(image: Image, valid: NDArray[np.bool_]) -> None:
    if image.ndim != 3 or image.shape[1:] != valid.shape or not image.size:
        raise ValueError(f"an image of {image.shape} and a mask of {valid.shape}; (bands, height, width) is needed")


def _known_and_inner(valid: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    known = np.ascontiguousarray(valid, np.uint8)
    if valid.all():
        return known, known
    side = 2 * MARGIN_PX + 1
    kernel = np.ones((side, side), np.uint8)
    return known, np.asarray(cv2.erode(known, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8)


def standardised(band: Image, valid: NDArray[np.bool_]) -> Image:
    """The band less its median, over its deviation; 0 where it is constant. What is far out is cut off."""
    seen = _some(band, valid).astype(float)
    deviation = seen.std() or (band[valid].std(dtype=float) if valid.any() else 0.0)
    if deviation <= FLAT * np.abs(seen).max():
        return np.zeros_like(band)
    middle, far = np.float32(np.median(seen)), np.float32(min(FAR * deviation, 1e30))
    return np.asarray((np.clip(band, middle - far, middle + far) - middle) / np.float32(deviation), np.float32)


def _some(image: Image, valid: NDArray[Any]) -> Image:
    """Every sixteenth valid pixel, which is enough for a median; all where that leaves few, one 0 where none is valid."""
    few = image[::4, ::4][valid[::4, ::4] > 0]
    few = few if few.size >= 100 else image[valid > 0]
    return few if few.size else np.zeros(1, np.float32)


def _detail(band: Image) -> Image:
    sharp: Image = np.asarray(cv2.sepFilter2D(band, cv2.CV_32F, _SHARPEN, _SHARPEN), np.float32)
    return np.asarray(sharp - _smooth(sharp, DETAIL_PX))


def _smooth(band: Image, sigma_px: float) -> Image:
    return np.asarray(cv2.GaussianBlur(band, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT))


def _edges(band: Image, inner: NDArray[np.uint8]) -> Image:
    smooth = _smooth(band, EDGE_PX)
    slope = np.array([[-0.5, 0, 0.5]], np.float32)
    gx = cv2.filter2D(smooth, cv2.CV_32F, slope, borderType=cv2.BORDER_REFLECT)
    gy = cv2.filter2D(smooth, cv2.CV_32F, slope.T, borderType=cv2.BORDER_REFLECT)
    sine = 2 * gx * gy
    xx, yy = (
        np.multiply(gx, gx, out=gx),
        np.multiply(gy, gy, out=gy),
    )  # blocks are large, and there are several at a time
    weight = np.add(xx, yy, out=smooth)
    weight += np.float32(FAINT**2 * float(np.median(_some(weight, inner))) + 1e-12)
    np.divide(inner, weight, out=weight)
    cosine = np.subtract(xx, yy, out=gx)
    return np.asarray(cv2.merge([np.multiply(cosine, weight, out=gx), np.multiply(sine, weight, out=sine)]), np.float32)


def fill_invalid(image: Image, valid: NDArray[np.bool_]) -> Image:
    """Replace invalid pixels by a smooth continuation of the valid ones, so that no mask has edges to match.

    Means over ever larger squares fill what smaller ones could not (pull-push: Gortler et al. 1996,
    doi:10.1145/237170.237200).

    Parameters
    ----------
    image
        (bands, height, width)
    valid
        (height, width)
    """
    if valid.all() or not valid.any():
        return image
    if min(valid.shape) == 1:
        return np.where(valid, image, image[:, valid].mean(axis=1)[:, None, None]).astype(np.float32)
    height, width = valid.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    even = np.zeros((1 + len(image), 2 * half[1], 2 * half[0]), np.float32)
    even[0, :height, :width] = valid
    np.copyto(even[1:, :height, :width], image, where=valid)
    share, *means = (np.asarray(cv2.resize(each, half, interpolation=cv2.INTER_AREA), np.float32) for each in even)
    coarse = fill_invalid(np.asarray(np.stack(means) / np.maximum(share, 0.25), np.float32), share > 0)
    smooth = np.stack([_doubled(band) for band in coarse])
    return np.where(valid, image, smooth[:, :height, :width]).astype(np.float32, copy=False)


def _doubled(band: Image) -> Image:
    """Each pixel as four, smoothed."""
    large = cv2.resize(band, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.blur(large, (3, 3), borderType=cv2.BORDER_REPLICATE), np.float32)


def _taps(sigma_px: float, reach: int) -> tuple[float, ...]:
    """Of a Gaussian, from the middle one on, as OpenCV makes them."""
    return tuple(cv2.getGaussianKernel(2 * reach + 1, sigma_px)[reach:, 0].tolist())


class _Settings(ctypes.Structure):
    _fields_ = [
        ("sharpen", ctypes.c_float * 9),
        ("detail", ctypes.c_float * 3),
        ("edge", ctypes.c_float * 4),
        ("flat", ctypes.c_double),
        ("far", ctypes.c_double),
        ("faint", ctypes.c_double),
    ]


_SETTINGS = _Settings(tuple(_SHARPEN[8:].tolist()), _taps(DETAIL_PX, 2), _taps(EDGE_PX, 3), FLAT, FAR, FAINT)
