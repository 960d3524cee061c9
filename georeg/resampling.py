"""Kernels: values between the pixels of an image, exactly where they are asked for.

Arrays in, arrays out. Compiled (`_resample.c`) where a compiler was at hand when georeg was installed; NumPy does the same
otherwise, to some last bits. No value depends on how much of the image around its kernel's support is given.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from georeg.lazily import Lazily

ndimage = Lazily("scipy.ndimage")
FloatArray = NDArray[np.float64]
Kernel = Literal["nearest", "bilinear", "cubic", "lanczos", "quintic"]
"""``cubic`` and ``quintic`` are interpolating B-splines, ``lanczos`` is a sinc with 3 lobes on each side."""

LIBRARY = Path(__file__).with_name("_resample.so")
"""Where `hatch_build.py` puts it, under this name on every system."""
CELLS = 1024
"""A kernel is tabulated at so many distances to a pixel, and linear between: to 3e-7 of its height."""
_POSITION_BITS = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Taps:
    """A separable kernel."""

    table: FloatArray
    """(CELLS + 1, taps): weight of each pixel around a place by its distance beyond the one before it; they sum to 1."""
    prefilter: FloatArray
    """(radius + 1,): symmetric taps, the middle first, that turn pixels into what the weights are of; they sum to 1."""

    @property
    def reach_px(self) -> int:
        """Pixels to each side that a value depends on."""
        return int(self.table.shape[1]) // 2 + len(self.prefilter) - 1


@lru_cache
def taps(kernel: Kernel) -> Taps:
    """The kernel of a name; ``nearest`` has none.

    >>> taps("bilinear").table[CELLS // 4].tolist()
    [0.75, 0.25]
    """
    shape, half = {
        "bilinear": (_hat, 1), "cubic": (_cubic, 2), "lanczos": (_lanczos, 3), "quintic": (_quintic, 3),
    }[kernel]  # fmt: skip
    beyond = np.arange(CELLS + 1) / CELLS
    table = shape(np.abs(beyond[:, None] - np.arange(1 - half, half + 1)))
    return Taps(table / table.sum(axis=1, keepdims=True), _prefilter(kernel))


def _hat(x: FloatArray) -> FloatArray:
    return np.maximum(1 - x, 0)


def _cubic(x: FloatArray) -> FloatArray:
    return np.where(x < 1, (4 - 6 * x**2 + 3 * x**3) / 6, np.maximum(2 - x, 0) ** 3 / 6)


def _quintic(x: FloatArray) -> FloatArray:
    return sum(sign * np.maximum(edge - x, 0) ** 5 for edge, sign in ((3, 1 / 120), (2, -6 / 120), (1, 15 / 120)))  # type: ignore[return-value]


def _lanczos(x: FloatArray) -> FloatArray:
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)


@lru_cache
def _prefilter(kernel: Kernel) -> FloatArray:
    """Taps that turn samples into coefficients of a B-spline, to 5e-8. Unlike a recursion they act alike in any window."""
    if kernel not in ("cubic", "quintic"):
        return np.ones(1)
    at_integers, radius = {"cubic": ((4 / 6, 1 / 6), 13), "quintic": ((66 / 120, 26 / 120, 1 / 120), 20)}[kernel]
    turn = 2 * np.pi * np.fft.rfftfreq(256)
    spectrum = at_integers[0] + sum(2 * b * np.cos(k * turn) for k, b in enumerate(at_integers[1:], start=1))
    half = np.fft.irfft(1 / spectrum)[: radius + 1]
    return np.asarray(half / (half[0] + 2 * half[1:].sum()))


@dataclass(frozen=True, eq=False)
class Positions:
    """Where pixels of an output lie in a source."""

    px: FloatArray
    """(2, height, width): column and row in the source, (0, 0) its outer corner; NaN: nowhere."""
    low: tuple[float, float]
    high: tuple[float, float]
    """The least and largest column and row; infinite, and the least above the largest, where all are NaN."""


def nowhere(shape: tuple[int, int]) -> Positions:
    """Of an output (height, width) that the source does not reach."""
    return Positions(np.full((2, *shape), np.nan), (np.inf, np.inf), (-np.inf, -np.inf))


def positions(nodes: FloatArray, first: tuple[float, float], step: int, shape: tuple[int, int]) -> Positions:
    """Positions of pixel centres between the nodes of a lattice, bilinear.

    Parameters
    ----------
    nodes
        (2, n, m): source column and row at every ``step`` pixels of the output, at least 2 each way.
    first
        The (row, column) of the output's first pixel, counted in output pixels from the first node.
    shape
        (height, width) of the output.
    """
    nodes, out = np.ascontiguousarray(nodes, float), np.empty((2, *shape))
    if _library is None:
        return _positions_by_numpy(nodes, first, step, shape)
    low, high = np.empty(2), np.empty(2)
    status = _library.georeg_positions_v1(
        _at(nodes), *nodes.shape[1:], *first, float(step), *shape, _at(out), _at(low), _at(high)
    )
    _check(status)
    return Positions(out, (low[0], low[1]), (high[0], high[1]))


def _positions_by_numpy(nodes: FloatArray, first: tuple[float, float], step: int, shape: tuple[int, int]) -> Positions:
    def place(axis: int) -> tuple[NDArray[np.intp], FloatArray]:
        at = (np.arange(shape[axis]) + first[axis] + 0.5) / step
        last = nodes.shape[1 + axis] - 1
        node = np.clip(at, 0, last - 1).astype(np.intp)
        return node, np.where((at >= 0) & (at <= last), at - node, np.nan)

    (row, down), (col, across) = place(0), place(1)
    lines = nodes[:, row] * (1 - down[:, None]) + nodes[:, row + 1] * down[:, None]
    out = lines[:, :, col] * (1 - across) + lines[:, :, col + 1] * across
    low = [float(np.min(axis, where=np.isfinite(axis), initial=np.inf)) for axis in out]
    high = [float(np.max(axis, where=np.isfinite(axis), initial=-np.inf)) for axis in out]
    return Positions(out, (low[0], low[1]), (high[0], high[1]))


def interpolate(
    data: NDArray[Any],
    valid: NDArray[np.bool_],
    at: Positions,
    corner_px: tuple[int, int],
    *,
    reduce: int,
    kernel: Kernel,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values of an image at positions, and whether they are known: where the pixel that they lie in is.

    A value on a pixel's centre is that pixel's. What invalid pixels hold is seen by their neighbours: see `fill`.

    Parameters
    ----------
    data, valid
        (bands, h, w); float32, float64 or complex, of ``nearest`` any type.
    at
        In pixels of the file, of which the image's are ``reduce`` × ``reduce`` each.
    corner_px
        (row, column) of the image's first pixel, counted in its own pixels.

    Returns
    -------
    values, known
        (bands, height, width); zero where not known.
    """
    if kernel == "nearest":
        return _nearest(data, valid, at, corner_px, reduce)
    if np.iscomplexobj(data):
        parts = [
            interpolate(part.copy(), valid, at, corner_px, reduce=reduce, kernel=kernel)
            for part in (data.real, data.imag)
        ]
        return parts[0][0] + data.dtype.type(1j) * parts[1][0], parts[0][1]
    by = _by_numpy if _library is None else _compiled
    return by(data, valid, at, corner_px, reduce, taps(kernel))


def fill(data: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    """Give invalid pixels of each band the nearest valid value, in place, so that no nodata bleeds through a kernel."""
    nearest = None
    for k, (band, known) in enumerate(zip(data, valid, strict=True)):
        if known.all() or not known.any():
            continue
        if nearest is None or not np.array_equal(known, valid[k - 1]):
            nearest = _nearest_known(known)
        data[k] = band[nearest]


def _nearest_known(known: NDArray[np.bool_]) -> tuple[NDArray[np.intp], ...]:
    """Row and column of the nearest known pixel, of each (height, width); around a rectangle they are those of its border."""
    lines = [np.flatnonzero(known.any(axis=axis)) for axis in (1, 0)]
    box = tuple(slice(int(line[0]), int(line[-1]) + 1) for line in lines)
    if known[box].all():
        rows, cols = (np.arange(n).clip(part.start, part.stop - 1) for n, part in zip(known.shape, box, strict=True))
        return np.ix_(rows, cols)
    return tuple(ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True))


def _in_image(at: Positions, corner_px: tuple[int, int], reduce: int) -> tuple[FloatArray, FloatArray]:
    """Rows and columns from the centre of the image's first pixel; -1 where there are none."""
    unit = 2.0**_POSITION_BITS  # so that a whole number is subtracted without loss
    px = np.rint(np.nan_to_num(at.px / reduce - 0.5, nan=-1e6) * unit) / unit
    return np.maximum(px[1] - corner_px[0], -1), np.maximum(px[0] - corner_px[1], -1)


def _nearest(
    data: NDArray[Any], valid: NDArray[np.bool_], at: Positions, corner_px: tuple[int, int], reduce: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    _, height, width = data.shape
    row, col = (np.floor(axis + 0.5).astype(np.intp) for axis in _in_image(at, corner_px, reduce))
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    pixel = row.clip(0, height - 1) * width + col.clip(0, width - 1)
    known = inside & np.take(valid.reshape(len(valid), -1), pixel, axis=1)
    return np.where(known, np.take(data.reshape(len(data), -1), pixel, axis=1), data.dtype.type(0)), known


def _by_numpy(
    data: NDArray[Any], valid: NDArray[np.bool_], at: Positions, corner_px: tuple[int, int], reduce: int, by: Taps
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    taps, (_, height, width) = by.table.shape[1], data.shape
    pixels, known = _nearest(data, valid, at, corner_px, reduce)
    row, col = _in_image(at, corner_px, reduce)
    before = [np.floor(axis) for axis in (row, col)]
    on_pixel = (before[0] == row) & (before[1] == col)
    first = [
        np.clip(axis.astype(np.intp) - taps // 2 + 1, 0, n - taps)
        for axis, n in zip(before, (height, width), strict=True)
    ]
    down, across = (_weights(by, axis - low) for axis, low in zip((row, col), before, strict=True))
    values = np.empty_like(pixels)
    for k, band in enumerate(data):
        image = _prefiltered(band, by.prefilter)
        middle = image[first[0] + taps // 2, first[1] + taps // 2]  # what is constant stays so
        values[k] = middle + sum(
            down[..., j] * across[..., i] * (image[first[0] + j, first[1] + i] - middle)
            for j in range(taps)
            for i in range(taps)
        )
    return np.where(known & ~on_pixel, values, pixels), known


def _weights(by: Taps, beyond: FloatArray) -> FloatArray:
    at = beyond * CELLS
    cell = at.astype(np.intp)
    return by.table[cell] + (at - cell)[..., None] * (by.table[np.minimum(cell + 1, CELLS)] - by.table[cell])


def _prefiltered(band: NDArray[Any], prefilter: FloatArray) -> NDArray[Any]:
    both = np.concatenate([prefilter[:0:-1], prefilter])
    for axis in (0, 1) if len(prefilter) > 1 else ():
        band = ndimage.correlate1d(band, both, axis, mode="nearest")
    return band


def _compiled(
    data: NDArray[Any], valid: NDArray[np.bool_], at: Positions, corner_px: tuple[int, int], reduce: int, by: Taps
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    assert _library is not None
    real, name = (np.float64, "f64") if data.dtype == np.float64 else (np.float32, "f32")
    data, valid = np.ascontiguousarray(data, real), np.ascontiguousarray(valid)
    table, prefilter = (np.ascontiguousarray(numbers, real) for numbers in (by.table, by.prefilter))
    bands, height, width = data.shape
    weighed = data
    if len(prefilter) > 1:
        weighed, run = np.empty_like(data), getattr(_library, f"georeg_filter_{name}_v2")
        for band, out in zip(data, weighed, strict=True):
            _check(run(_at(band), height, width, _at(prefilter), len(prefilter) - 1, _at(out)))
    values, known = np.empty((bands, *at.px.shape[1:]), real), np.empty((bands, *at.px.shape[1:]), bool)
    top, left = corner_px
    status = getattr(_library, f"georeg_resample_{name}_v2")(
        _at(data), _at(weighed), _at(valid), bands, height, width, _at(at.px), *at.px.shape[1:], float(reduce), left, top,
        _at(table), table.shape[1], CELLS, _at(values), _at(known),
    )  # fmt: skip
    _check(status)
    return values, known


def _check(status: int) -> None:
    if status < 0:
        raise MemoryError


def _at(array: NDArray[Any]) -> int:
    """Address of a contiguous array, which must outlive its use."""
    assert array.flags.c_contiguous
    return int(array.ctypes.data)


def load(path: Path = LIBRARY) -> Any:
    """The compiled library; None where there is none for this machine."""
    size, real, array = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
    signatures: dict[str, list[Any]] = {
        "georeg_positions_v1": [array, size, size, real, real, real, size, size, array, array, array]
    }
    for name in ("f32", "f64"):
        signatures[f"georeg_filter_{name}_v2"] = [array, size, size, array, size, array]
        signatures[f"georeg_resample_{name}_v2"] = [
            array, array, array, size, size, size, array, size, size, real, size, size, array, size, size, array, array,
        ]  # fmt: skip
    try:
        library = ctypes.CDLL(str(path))
        for name, arguments in signatures.items():
            function: Callable[..., int] = getattr(library, name)
            function.argtypes, function.restype = arguments, ctypes.c_int  # type: ignore[attr-defined]
    except (OSError, AttributeError) as error:
        _log.debug("pixels are interpolated by NumPy, since there is no compiled kernel: %s", error)
        return None
    return library


_library = load()
