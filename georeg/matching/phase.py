"""Phase correlation of many windows at once: quicker than least squares, and coarser. On a processor or a graphics card.

The gradients of two windows under Hann's window are correlated by their spectra, whose amplitudes are partly levelled
(Kuglin & Hines 1975; Argyriou & Vlachos 2003, doi:10.1117/12.509856): the finest that both show counts most, and neither
brightness nor contrast does. The peak is found to a hundredth of a pixel by Newton steps on the trigonometric series, and its
covariance by how far the phases of single waves lie from it.

The array library is a parameter: NumPy and CuPy give the same to 1e-3 px. All that is as large as windows is in single
precision, the only one that most graphics cards are quick in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.matching.windows import MAX_SIGMA_PX, MEDIAN_CHI2, Matches
from georeg.tie_points import Status

_INVERSE = cv2.DFT_INVERSE | cv2.DFT_REAL_OUTPUT | cv2.DFT_SCALE
FloatArray = NDArray[np.float64]
Windows = NDArray[np.float32]
Known = NDArray[np.bool_]

LEVELLED = 0.5
"""The power to which the product of two amplitudes is taken away from it: 0 is a cross-correlation, 1 leaves the phase alone."""
ROUNDS = 3
"""Newton steps."""
MIN_KNOWN = 0.9
"""Least share of a window that must be known in both images."""
BATCH_PX = 1 << 20
"""Pixels of windows of an image that are correlated at once: each takes about a hundred bytes."""
SPREAD = 2 * (35 / 18) ** 2
"""Hann's window joins neighbouring waves, of which (35 / 18)² scatter as one; twice that, since ground that has changed
scatters less evenly than noise does, as measured on sample_tiles."""
PULL = 2.5 * 4 * np.pi**2 / 3
"""How the taper draws a top towards no shift: the bend of the logarithm of the autocorrelation of Hann's window, times its
squared length; on levelled gradients, whose phases are those of coarser waves, 2 to 3 times as strong."""
LOCKING_PX = 0.005
"""No shift is known better than this: what is left of the pull of whole pixels and of the taper."""
UNKNOWN_PX2 = 1e6
"""Variance of what is not known."""


@dataclass(frozen=True)
class Correlated:
    """What is known of each of N pairs of windows."""

    shift_px: FloatArray
    """(N, 2) target position - reference position (column, row)."""
    cov_px: FloatArray
    """(N, 2, 2) px²; `UNKNOWN_PX2` where nothing holds the window."""
    score: FloatArray
    """(N,) normalised correlation of the gradients at the peak, 0 to 1."""
    significance: FloatArray
    """(N,) height of the peak in standard deviations of the correlation elsewhere."""


def correlate(ref: Windows, tgt: Windows, arrays: ModuleType = np) -> Correlated:
    """Shift of each window of the target against that of the reference.

    Parameters
    ----------
    ref, tgt
        (N, side, side), finite; invalid pixels hold their window's mean. The side is even.
    arrays
        NumPy, or CuPy for the graphics card, to which and from which each batch goes once.

    >>> noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    >>> found = correlate(noise[None], np.roll(noise, (3, -2), (0, 1))[None])
    >>> found.shift_px.round(1).tolist()
    [[-2.0, 3.0]]
    """
    n, side, _ = ref.shape
    step = max(1, BATCH_PX // side**2)
    batches = [slice(k, k + step) for k in range(0, n, step)]
    found = [_host(_correlated(arrays.asarray(np.stack([ref[at], tgt[at]])), arrays)) for at in batches]
    shift, cov, score, significance = np.split(np.concatenate([np.zeros((0, 8)), *found]), [2, 6, 7], axis=1)
    return Correlated(shift, cov.reshape(n, 2, 2), score[:, 0], significance[:, 0])


def _correlated(windows: Any, xp: Any) -> Any:
    """(N, 8) shift, covariance, score and significance of windows (2, N, side, side) of both images."""
    _, n, side, _ = windows.shape
    slope2 = _tables(side, xp).slope2
    spectra = _spectra(windows.reshape(2 * n, side, side), xp)
    one, other = spectra[:n], spectra[n:]
    power = slope2 * _squared(one)
    cross = slope2 * (other * xp.conj(one))
    energy = [part.sum(axis=(1, 2)) for part in (power, slope2 * _squared(other))]
    amplitude2 = _squared(cross)
    floor2 = amplitude2.max(axis=(1, 2), keepdims=True) * 1e-12 + 1e-30
    levelled = cross * (amplitude2 + floor2) ** (-LEVELLED / 2)
    surface = _backward(levelled, xp).reshape(n, side * side)
    at = xp.abs(surface).argmax(axis=1)
    peak = xp.take_along_axis(surface, at[:, None], axis=1)
    start = xp.stack([_wrapped(at % side, side), _wrapped(at // side, side)], axis=1).astype(np.float64)
    sign = xp.sign(peak)[:, :, None]
    shift, cov = _settled(levelled * sign, _climb(levelled * sign, start, xp), xp)
    # the plain correlation there tells how alike the windows are
    value = _at(cross * sign, shift, xp)[0]
    score = xp.clip(value / xp.sqrt(energy[0] * energy[1] * 4 + 1e-30), 0, 1)
    significance = xp.abs(peak[:, 0]) / xp.sqrt((surface**2).mean(axis=1) + 1e-30)
    return xp.concatenate([shift, cov, score[:, None], significance.astype(np.float64)[:, None]], axis=1)


def correlate_windows(
    ref: tuple[Windows, Known],
    tgt: tuple[Windows, Known],
    centre_px: NDArray[np.intp],
    *,
    reach_px: int,
    arrays: ModuleType = np,
) -> Matches:
    """What `georeg.matching.windows.match_windows` gives, of windows (N, side, side) that are cut already, and what is known of
    their pixels. A displacement of ``reach_px`` or more is out of range; ``arrays`` is as in `correlate`."""
    found = correlate(_filled(*ref), _filled(*tgt), arrays)
    share = (ref[1] & tgt[1]).mean(axis=(1, 2))
    status = np.full(len(share), Status.KEPT, np.uint8)
    status[np.abs(found.shift_px).max(axis=1, initial=0) >= reach_px] = Status.OUT_OF_RANGE
    status[~(np.linalg.eigvalsh(found.cov_px)[:, 0] <= MAX_SIGMA_PX**2)] = Status.LOW_TEXTURE
    status[share < MIN_KNOWN] = Status.MASKED
    kept = (status == Status.KEPT)[:, None]
    return Matches(
        ref_px=centre_px.astype(float),
        shift_px=np.where(kept, found.shift_px, 0),
        cov_px=np.where(kept[:, :, None], found.cov_px, UNKNOWN_PX2 * np.eye(2)),
        disagreement=np.full(len(share), MEDIAN_CHI2),
        score=np.where(kept[:, 0], found.score, 0),
        significance=np.where(np.isfinite(found.significance), found.significance, 0),
        status=status,
    )


def control_significance(
    ref: tuple[Windows, Known],
    tgt: tuple[Windows, Known],
    control: NDArray[np.intp],
    centre_px: NDArray[np.intp],
    arrays: ModuleType = np,
) -> FloatArray:
    """Significance of some windows of the reference with others of the target, which show other ground; of as many as there
    are."""
    other = (control + len(centre_px) // 2) % max(len(centre_px), 1)
    apart = np.abs(centre_px[control] - centre_px[other]).max(axis=1, initial=0) >= ref[0].shape[1]
    one, other = control[apart], other[apart]
    if not len(one):
        return np.zeros(0)
    windows = (_filled(ref[0][one], ref[1][one]), _filled(tgt[0][other], tgt[1][other]))
    return correlate(*windows, arrays).significance


def _filled(windows: Windows, known: Known) -> Windows:
    if known.all():
        return windows
    n = np.maximum(known.sum(axis=(1, 2)), 1)
    mean = np.where(known, windows, 0).sum(axis=(1, 2)) / n
    return np.where(known, windows, mean[:, None, None]).astype(np.float32)


def _spectra(windows: Any, xp: Any) -> Any:
    """Half of the spectra of (N, side, side) under the taper, about their means and as high as 1; 0 of what is flat."""
    taper = _tables(windows.shape[1], xp).taper
    inner = (windows - (windows * taper).sum(axis=(1, 2), keepdims=True) / taper.sum()) * taper
    high, brightest = (xp.abs(part).max(axis=(1, 2), keepdims=True) for part in (inner, windows))
    return _forward(inner * xp.where(high > brightest * 1e-6, 1 / xp.maximum(high, 1e-30), 0), xp)


def _squared(spectrum: Any) -> Any:
    return spectrum.real**2 + spectrum.imag**2


def _climb(spectrum: Any, start: Any, xp: Any) -> Any:
    """Newton steps to the top of the series, from within a pixel of it."""
    shift = start
    for _ in range(ROUNDS):
        _, (gx, gy), (xx, xy, yy) = _at(spectrum, shift, xp)
        det = xx * yy - xy**2
        held = (xx < 0) & (det > 0)
        step = xp.stack([xy * gy - yy * gx, xy * gx - xx * gy], axis=1) / xp.where(held, det, 1)[:, None]
        shift = shift + xp.where(held[:, None], xp.clip(step, -0.5, 0.5), 0)
    return start + xp.clip(shift - start, -1, 1)


def _at(spectrum: Any, shift: Any, xp: Any) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """Value (N,), gradient and bends (xx, xy, yy) of the series at shifts (N, 2)."""
    tables = _tables(spectrum.shape[1], xp)
    across, down = _ramps(shift, tables, xp)
    lines = xp.matmul(spectrum, (across[:, None, :] * tables.powers_x).transpose(0, 2, 1))
    sums = xp.matmul(down[:, None, :] * tables.powers_y, lines).astype(np.complex128)  # (N, power of y, power of x)
    gradient = (-sums[:, 0, 1].imag, -sums[:, 1, 0].imag)
    return sums[:, 0, 0].real, gradient, (-sums[:, 0, 2].real, -sums[:, 1, 1].real, -sums[:, 2, 0].real)


def _settled(spectrum: Any, top: Any, xp: Any) -> tuple[Any, Any]:
    """Shift (N, 2) by the top of the series, and its covariance (N, 4): a sandwich of how sharp the top is and of how far the
    phases of the waves scatter about it.

    The pull of the taper, which sees less of both windows together the further they are apart, is taken back.
    """
    side = spectrum.shape[1]
    tables = _tables(side, xp)
    value, _, (xx, xy, yy) = _at(spectrum, top, xp)
    across, down = _ramps(top, tables, xp)
    off2 = (spectrum * across[:, None, :] * down[:, :, None]).imag ** 2
    scatter = (
        xp.matmul(xp.matmul(tables.powers_y, off2), (tables.powers_x * tables.twice).T).astype(np.float64) * SPREAD
    )
    vxx, vxy, vyy = scatter[:, 0, 2], scatter[:, 1, 1], scatter[:, 2, 0]
    det = xx * yy - xy**2
    held = (xx < 0) & (det > (xx + yy) ** 2 * 1e-6)
    over = 1 / xp.where(held, det, 1.0)
    ixx, ixy, iyy = -yy * over, xy * over, -xx * over
    pull = xp.where(held, value, 0.0)[:, None] * top * (PULL / side**2)
    back = xp.stack([ixx * pull[:, 0] + ixy * pull[:, 1], ixy * pull[:, 0] + iyy * pull[:, 1]], axis=1)
    # inverse times scatter times inverse
    pxx, pxy, pyx, pyy = ixx * vxx + ixy * vxy, ixx * vxy + ixy * vyy, ixy * vxx + iyy * vxy, ixy * vxy + iyy * vyy
    cross = pxx * ixy + pxy * iyy
    own = [pxx * ixx + pxy * ixy + LOCKING_PX**2, pyx * ixy + pyy * iyy + LOCKING_PX**2]
    cov = xp.stack([own[0], cross, cross, own[1]], axis=1)
    return top + xp.clip(back, -0.5, 0.5), xp.where(
        held[:, None], cov, xp.asarray(np.array([UNKNOWN_PX2, 0, 0, UNKNOWN_PX2]))
    )


def _ramps(shift: Any, tables: _Tables, xp: Any) -> tuple[Any, Any]:
    """Turns of the waves by a shift, along the columns (N, side // 2 + 1) and the rows (N, side): few numbers, of up to a
    hundred radians, and so computed in double precision."""
    across, down = (xp.exp(1j * shift[:, axis, None] * k).astype(np.complex64) for axis, k in enumerate(tables.turns))
    return across, down


def _forward(windows: Any, xp: Any) -> Any:
    """Half of the spectra of (N, side, side); on a processor by OpenCV, which takes a third of NumPy's time."""
    n, side, _ = windows.shape
    if xp is not np:
        return xp.fft.rfft2(windows, axes=(1, 2))
    half = np.empty((n, side, side // 2 + 1), np.complex64)
    for window, out in zip(windows, half, strict=True):
        out[:] = cv2.dft(window, flags=cv2.DFT_COMPLEX_OUTPUT)[:, : side // 2 + 1].view(np.complex64)[..., 0]
    return half


def _backward(half: Any, xp: Any) -> Any:
    """(N, side, side) of half of their spectra; OpenCV looks at no more of them."""
    n, side, columns = half.shape
    if xp is not np:
        return xp.fft.irfft2(half, s=(side, side), axes=(1, 2))
    windows, whole = np.empty((n, side, side), np.float32), np.zeros((side, side), np.complex64)
    for spectrum, out in zip(half, windows, strict=True):
        whole[:, :columns] = spectrum
        cv2.dft(whole.view(np.float32).reshape(side, side, 2), out, _INVERSE)
    return windows


def _wrapped(at: Any, side: int) -> Any:
    return (at + side // 2) % side - side // 2


@dataclass(frozen=True, eq=False)
class _Tables:
    """What depends on the side of the windows alone."""

    taper: Any
    """(side, side) Hann's window."""
    slope2: Any
    """(side, side // 2 + 1) squared slope of each wave of a spectrum."""
    turns: tuple[Any, Any]
    """2 pi times the frequencies of the columns (side // 2 + 1,) and of the rows (side,), float64."""
    powers_x: Any
    """(3, side // 2 + 1) powers 0, 1 and 2 of the columns' turns, times how often each column counts in a whole spectrum."""
    twice: Any
    """(side // 2 + 1,) how often each column counts in a whole spectrum."""
    powers_y: Any
    """(3, side) those of the rows'."""


@lru_cache
def _tables(side: int, xp: Any) -> _Tables:
    line = np.hanning(side + 2)[1:-1]
    down = 2 * np.pi * np.fft.fftfreq(side)
    down[side // 2] = abs(down[side // 2])
    across, slope2 = down[: side // 2 + 1], np.sin(down) ** 2
    twice = np.full(side // 2 + 1, 2.0)
    twice[[0, -1]] = 1
    exponents = np.arange(3)[:, None]
    large = (
        np.outer(line, line),
        slope2[:, None] + slope2[: side // 2 + 1],
        across**exponents * twice,
        twice,
        down**exponents,
    )
    taper, slopes, powers_x, twice, powers_y = (xp.asarray(table.astype(np.float32)) for table in large)
    return _Tables(taper, slopes, (xp.asarray(across), xp.asarray(down)), powers_x, twice, powers_y)


def _host(array: Any) -> FloatArray:
    """In the memory of the processor."""
    return np.asarray(array.get() if hasattr(array, "get") else array, float)
