"""The refinement of windows in C, where a compiler was at hand when georeg was installed.

`_refine.c` is a plain shared library: no version of Python is in it, and no call of it holds the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from georeg.matching.fields import Field

FloatArray = NDArray[np.float64]
Corner = tuple[int, int]

LIBRARY = Path(__file__).with_name("_refine.so")
"""Where `hatch_build.py` puts it, under this name on every system."""

_log = logging.getLogger(__name__)


class Settings(ctypes.Structure):
    """The numbers of `georeg.matching.refine` that the steps depend on."""

    _fields_ = [(name, ctypes.c_double) for name in ("rounds", "settled_px", "stray_px", "white", "optimism", "floor")]


class _Image(ctypes.Structure):
    _fields_ = [
        ("detail", ctypes.POINTER(ctypes.c_void_p)),
        ("brightness", ctypes.POINTER(ctypes.c_void_p)),
        ("edges", ctypes.c_void_p),
        ("valid", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("col", ctypes.c_int64),
        ("row", ctypes.c_int64),
    ]


def load(path: Path = LIBRARY) -> Callable[..., int] | None:
    """The library's function; None where there is none for this machine."""
    try:
        function = ctypes.CDLL(str(path)).georeg_refine_v1
    except (OSError, AttributeError) as error:
        _log.debug("windows are refined by NumPy, since there is no compiled kernel: %s", error)
        return None
    image = ctypes.POINTER(_Image)
    size, result = ctypes.c_int64, ctypes.c_void_p
    function.argtypes = [ctypes.POINTER(Settings), size, size, image, image, ctypes.c_void_p, result]
    function.restype = ctypes.c_int
    _log.debug("windows are refined by %s", path)
    return function


def run(
    function: Callable[..., int],
    settings: Settings,
    fields: tuple[Field, Field],
    corners: tuple[Corner, Corner],
    window_px: int,
    start_px: tuple[float, float],
) -> FloatArray | None:
    """Nine numbers: shift, covariance, centre and disagreement; None where the window is not found."""
    kept: list[object] = []  # what the addresses point to must outlive the call
    images = [_image(field, corner, kept) for field, corner in zip(fields, corners, strict=True)]
    start, found = np.array(start_px, float), np.empty(9)
    n_bands = len(fields[0].detail)
    status = function(settings, n_bands, int(window_px), *images, start.ctypes.data, found.ctypes.data)
    if status < 0:
        raise MemoryError
    return found if status else None


def _image(field: Field, corner: Corner, kept: list[object]) -> _Image:
    def address(array: NDArray[np.generic], dtype: type[np.generic]) -> int:
        array = np.ascontiguousarray(array, dtype)
        kept.append(array)
        return int(array.ctypes.data)

    def addresses(bands: tuple[NDArray[np.float32], ...]) -> ctypes.Array[ctypes.c_void_p]:
        return (ctypes.c_void_p * len(bands))(*(address(band, np.float32) for band in bands))

    edges, valid = address(field.edges, np.float32), address(field.valid, np.uint8)
    detail, brightness = addresses(field.detail), addresses(field.brightness)
    return _Image(detail, brightness, edges, valid, field.valid.shape[1], int(corner[0]), int(corner[1]))
