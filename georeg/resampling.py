"""Kernels: values between the pixels of an image, exactly where they are asked for.

Arrays in, arrays out. Compiled (`_resample.c`) where a compiler was at hand when georeg was installed; NumPy does the same
otherwise, and CuPy on a graphics card, to some last bits.

No value depends on how much of the image around its kernel's support is given.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
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
    arrays: ModuleType = np,
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
    arrays
        NumPy for the processor, or CuPy for the graphics card; ``nearest`` is always the processor's.

    Returns
    -------
    values, known
        (bands, height, width); finite everywhere, meaningful where known.
    """
    if kernel == "nearest":
        return _nearest(data, valid, at.px, corner_px, reduce, np)
    if np.iscomplexobj(data):
        parts = [
            interpolate(part.copy(), valid, at, corner_px, reduce=reduce, kernel=kernel, arrays=arrays)
            for part in (data.real, data.imag)
        ]
        return parts[0][0] + data.dtype.type(1j) * parts[1][0], parts[0][1]
    if _library is not None and arrays is np:
        return _compiled(data, valid, at, corner_px, reduce, taps(kernel))
    return _by_arrays(data, valid, at, corner_px, reduce, taps(kernel), arrays)


def smooth(data: NDArray[Any], sigma_px: float) -> NDArray[Any]:
    """A Gaussian mean of (bands, height, width), real or complex; beyond the image its last pixels go on."""
    if np.iscomplexobj(data):
        return np.asarray(smooth(data.real, sigma_px) + data.dtype.type(1j) * smooth(data.imag, sigma_px))
    radius = int(4 * sigma_px + 0.5)
    half = np.exp(-0.5 * (np.arange(radius + 1) / sigma_px) ** 2)
    half /= half[0] + 2 * half[1:].sum()
    real = np.float64 if data.dtype == np.float64 else np.float32
    if _library is None:
        return np.stack([_prefiltered(band, half, np) for band in data]).astype(real)
    return _filtered(np.ascontiguousarray(data, real), half.astype(real))


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


def _in_image(px: Any, corner_px: tuple[int, int], reduce: int, xp: Any) -> tuple[Any, Any]:
    """Rows and columns of positions from the centre of the image's first pixel; -1 where there are none."""
    unit = 2.0**_POSITION_BITS  # so that a whole number is subtracted without loss
    px = xp.rint(xp.nan_to_num(px / reduce - 0.5, nan=-1e6) * unit) / unit
    return xp.maximum(px[1] - corner_px[0], -1), xp.maximum(px[0] - corner_px[1], -1)


def _nearest(data: Any, valid: Any, px: Any, corner_px: tuple[int, int], reduce: int, xp: Any) -> tuple[Any, Any]:
    _, height, width = data.shape
    row, col = (xp.floor(axis + 0.5).astype(np.intp) for axis in _in_image(px, corner_px, reduce, xp))
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    pixel = row.clip(0, height - 1) * width + col.clip(0, width - 1)
    known = inside & xp.take(valid.reshape(len(valid), -1), pixel, axis=1)
    return xp.where(known, xp.take(data.reshape(len(data), -1), pixel, axis=1), data.dtype.type(0)), known


def _by_arrays(
    data: NDArray[Any],
    valid: NDArray[np.bool_],
    at: Positions,
    corner_px: tuple[int, int],
    reduce: int,
    by: Taps,
    arrays: ModuleType,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """By an array library, to whose device all is moved once, and back once."""
    xp: Any = arrays
    real = np.float64 if data.dtype == np.float64 else np.float32
    image, seen, px = xp.asarray(data.astype(real, copy=False)), xp.asarray(valid), xp.asarray(at.px)
    pixels, known = _nearest(image, seen, px, corner_px, reduce, xp)
    row, col = _in_image(px, corner_px, reduce, xp)
    before = [xp.floor(axis) for axis in (row, col)]
    on_pixel = (before[0] == row) & (before[1] == col)
    n, (_, height, width) = by.table.shape[1], data.shape
    top, left = (
        (low.astype(np.intp) - (n // 2 - 1)).clip(0, side - n)
        for low, side in zip(before, (height, width), strict=True)
    )
    table = xp.asarray(np.ascontiguousarray(by.table.T, real))
    down, across = (_weights(table, axis - low, xp) for axis, low in zip((row, col), before, strict=True))
    values = xp.stack(
        [_weighed(_prefiltered(band, by.prefilter, xp), top * width + left, down, across) for band in image]
    )
    return _host(xp.where(known & ~on_pixel, values, pixels)), _host(known)


def _weighed(image: Any, first: Any, down: Any, across: Any) -> Any:
    """Sum of the pixels from the ``first`` of each place on, an index (height, width) of the flat image, by the weights of their
    rows and columns (taps, height, width)."""
    flat, width, half = image.reshape(-1), image.shape[1], len(down) // 2
    middle = flat.take(first + half * (width + 1))  # what is constant stays so
    total = middle.copy()
    for j, weight in enumerate(down):
        row = first + j * width
        total += weight * sum(part * (flat.take(row + i) - middle) for i, part in enumerate(across))
    return total


def _weights(table: Any, beyond: Any, xp: Any) -> Any:
    """(taps, height, width) of a table (taps, CELLS + 1)."""
    at = beyond * CELLS
    cell = at.astype(np.intp)
    low = xp.take(table, cell, axis=1)
    return low + (at - cell).astype(table.dtype) * (xp.take(table, xp.minimum(cell + 1, CELLS), axis=1) - low)


def _prefiltered(image: Any, prefilter: FloatArray, xp: Any) -> Any:
    """Of (height, width); beyond its borders they go on as they are."""
    radius = len(prefilter) - 1
    for _ in range(2 if radius else 0):  # down the columns, and once more of its transpose
        n = image.shape[0]
        padded = xp.take(image, xp.asarray(np.arange(-radius, n + radius).clip(0, n - 1)), axis=0)
        total = padded[radius : radius + n] * float(prefilter[0])
        for k in range(1, radius + 1):
            total += (padded[radius - k : radius - k + n] + padded[radius + k : radius + k + n]) * float(prefilter[k])
        image = total.T
    return image


def _host(array: Any) -> NDArray[Any]:
    """In the memory of the processor."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def _compiled(
    data: NDArray[Any], valid: NDArray[np.bool_], at: Positions, corner_px: tuple[int, int], reduce: int, by: Taps
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    assert _library is not None
    real, name = (np.float64, "f64") if data.dtype == np.float64 else (np.float32, "f32")
    data, valid = np.ascontiguousarray(data, real), np.ascontiguousarray(valid)
    table, prefilter = (np.ascontiguousarray(numbers, real) for numbers in (by.table, by.prefilter))
    bands, height, width = data.shape
    weighed = _filtered(data, prefilter) if len(prefilter) > 1 else data
    values, known = np.empty((bands, *at.px.shape[1:]), real), np.empty((bands, *at.px.shape[1:]), bool)
    top, left = corner_px
    status = getattr(_library, f"georeg_resample_{name}_v2")(
        _at(data), _at(weighed), _at(valid), bands, height, width, _at(at.px), *at.px.shape[1:], float(reduce), left, top,
        _at(table), table.shape[1], CELLS, _at(values), _at(known),
    )  # fmt: skip
    _check(status)
    return values, known


def _filtered(data: NDArray[Any], taps: NDArray[Any]) -> NDArray[Any]:
    """Of contiguous data and symmetric taps of its type, the middle first, along rows and columns."""
    assert _library is not None
    (_, height, width), out = data.shape, np.empty_like(data)
    run = getattr(_library, "georeg_filter_f64_v2" if data.dtype == np.float64 else "georeg_filter_f32_v2")
    for band, to in zip(data, out, strict=True):
        _check(run(_at(band), height, width, _at(taps), len(taps) - 1, _at(to)))
    return out


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
