"""Phase correlation of many windows at once: quicker than least squares, and coarser. On a processor or a graphics card.

The gradients of two windows under Hann's window are correlated by their spectra, whose amplitudes are partly levelled
(Kuglin & Hines 1975; Argyriou & Vlachos 2003, doi:10.1117/12.509856): the finest that both show counts most, and neither
brightness nor contrast does. The peak is found to a hundredth of a pixel by Newton steps on the trigonometric series.

The array library is a parameter: NumPy and CuPy give the same to 1e-3 px.
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
SPREAD = 3.4
"""Deviations of shifts over what the power that is not shared explains: measured by benchmarks/accuracy.py."""


@dataclass(frozen=True)
class Correlated:
    """What is known of each of N pairs of windows."""

    shift_px: FloatArray
    """(N, 2) target position - reference position (column, row)."""
    cov_px: FloatArray
    """(N, 2, 2) px²; infinite where nothing holds the window."""
    score: FloatArray
    """(N,) normalised correlation of the gradients at the peak, 0 to 1."""
    significance: FloatArray
    """(N,) height of the peak in standard deviations of the correlation elsewhere."""


def correlate(ref: Windows, tgt: Windows, arrays: ModuleType = np) -> Correlated:
    """Shift of each window of the target against that of the reference.

    Parameters
    ----------
    ref, tgt
        (N, side, side), finite; invalid pixels hold their window's mean.
    arrays
        NumPy, or CuPy for the graphics card.

    >>> noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    >>> found = correlate(noise[None], np.roll(noise, (3, -2), (0, 1))[None])
    >>> found.shift_px.round(1).tolist()
    [[-2.0, 3.0]]
    """
    xp: Any = arrays
    n, side, _ = ref.shape
    slope2, _, _ = _tables(side, xp)
    one, other = (_spectrum(xp.asarray(windows), xp) for windows in (ref, tgt))
    power = slope2 * _squared(one)
    cross = slope2 * (other * xp.conj(one))
    energy = [part.sum(axis=(1, 2)) for part in (power, slope2 * _squared(other))]
    amplitude2 = _squared(cross)
    floor2 = np.float32(1e-12) * amplitude2.max(axis=(1, 2), keepdims=True) + np.float32(1e-30)
    levelled = cross * (amplitude2 + floor2) ** np.float32(-LEVELLED / 2)
    surface = _backward(levelled, xp).reshape(n, -1)
    at = xp.abs(surface).argmax(axis=1)
    peak = xp.take_along_axis(surface, at[:, None], axis=1)
    start = xp.stack([_wrapped(at % side, side), _wrapped(at // side, side)], axis=1).astype(np.float64)
    sign = xp.sign(peak)[:, :, None].astype(np.float32)
    shift = _climb(levelled * sign, start, xp)
    # the plain correlation there tells how alike the windows are
    value = _at(cross * sign, shift, xp)[0]
    score = xp.clip(value / xp.sqrt(4 * energy[0] * energy[1] + np.float32(1e-30)), 0, 1)
    significance = xp.abs(peak[:, 0]) / xp.sqrt((surface**2).mean(axis=1) + np.float32(1e-30))
    found = (shift, _covariance(score, power, xp), score, significance)
    return Correlated(*(_host(each) for each in found))


def correlate_windows(
    ref: tuple[Windows, Known], tgt: tuple[Windows, Known], centre_px: NDArray[np.intp], *, reach_px: int
) -> Matches:
    """What `georeg.matching.windows.match_windows` gives, of windows (N, side, side) that are cut already, and what is known of
    their pixels. A displacement of more than ``reach_px`` is out of range."""
    found = correlate(_filled(*ref), _filled(*tgt))
    share = (ref[1] & tgt[1]).mean(axis=(1, 2))
    status = np.full(len(share), Status.KEPT, np.uint8)
    status[np.abs(found.shift_px).max(axis=1, initial=0) >= reach_px] = Status.OUT_OF_RANGE
    with np.errstate(invalid="ignore"):
        status[~(np.linalg.eigvalsh(found.cov_px)[:, 0] <= MAX_SIGMA_PX**2)] = Status.LOW_TEXTURE
    status[share < MIN_KNOWN] = Status.MASKED
    kept = (status == Status.KEPT)[:, None]
    return Matches(
        ref_px=centre_px.astype(float),
        shift_px=np.where(kept, found.shift_px, 0),
        cov_px=np.where(kept[:, :, None], found.cov_px, 1e6 * np.eye(2)),
        disagreement=np.full(len(share), MEDIAN_CHI2),
        score=np.where(kept[:, 0], found.score, 0),
        significance=np.where(np.isfinite(found.significance), found.significance, 0),
        status=status,
    )


def control_significance(
    ref: tuple[Windows, Known], tgt: tuple[Windows, Known], control: NDArray[np.intp], centre_px: NDArray[np.intp]
) -> FloatArray:
    """Significance of some windows of the reference with others of the target, which show other ground; of as many as there
    are."""
    other = (control + len(centre_px) // 2) % max(len(centre_px), 1)
    apart = np.abs(centre_px[control] - centre_px[other]).max(axis=1, initial=0) >= ref[0].shape[1]
    one, other = control[apart], other[apart]
    if not len(one):
        return np.zeros(0)
    return correlate(_filled(ref[0][one], ref[1][one]), _filled(tgt[0][other], tgt[1][other])).significance


def _filled(windows: Windows, known: Known) -> Windows:
    if known.all():
        return windows
    n = np.maximum(known.sum(axis=(1, 2)), 1)
    mean = np.where(known, windows, 0).sum(axis=(1, 2)) / n
    return np.where(known, windows, mean[:, None, None]).astype(np.float32)


def _spectrum(windows: Any, xp: Any) -> Any:
    taper = xp.asarray(_taper(windows.shape[1]))
    inner = windows - (windows * taper).sum(axis=(1, 2), keepdims=True) / taper.sum()
    return _forward(inner * taper, xp)


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
    side = spectrum.shape[1]
    _, ramp, twice = _tables(side, xp)
    across = ramp[: side // 2 + 1]
    ex = xp.exp(1j * shift[:, :1] * across).astype(np.complex64)
    ey = xp.exp(1j * shift[:, 1:] * ramp).astype(np.complex64)
    powers = xp.stack([twice, across * twice, across**2 * twice]).astype(np.float32)
    lines = xp.matmul(spectrum, (ex[:, None, :] * powers).transpose(0, 2, 1))
    weights = ey[:, None, :] * xp.stack([xp.ones_like(ramp), ramp, ramp**2]).astype(np.float32)
    sums = xp.matmul(weights, lines).astype(np.complex128)  # (N, power of y, power of x)
    gradient = (-sums[:, 0, 1].imag, -sums[:, 1, 0].imag)
    return sums[:, 0, 0].real, gradient, (-sums[:, 0, 2].real, -sums[:, 1, 1].real, -sums[:, 2, 0].real)


def _covariance(score: Any, power: Any, xp: Any) -> Any:
    """(N, 2, 2) What noise of the power that the windows do not share does to the peak."""
    side = power.shape[1]
    _, ramp, twice = _tables(side, xp)
    across, down = ramp[: side // 2 + 1], ramp[:, None]
    weighted = power * twice
    xx, xy, yy = ((weighted * k).sum(axis=(1, 2)) for k in (across**2, across * down, down**2))
    noise = (1 - score**2) / xp.maximum(score, 1e-3) ** 2 * weighted.sum(axis=(1, 2)) * (SPREAD / side) ** 2
    det = xp.maximum(xx * yy - xy**2, np.float32(1e-30))
    return (xp.stack([yy, -xy, -xy, xx], axis=1) * (noise / det)[:, None]).reshape(-1, 2, 2)


def _forward(windows: Any, xp: Any) -> Any:
    """Half of the spectra of (N, side, side); on a processor by OpenCV, which takes a third of NumPy's time."""
    n, side, _ = windows.shape
    if xp is not np:
        return xp.fft.rfft2(windows, axes=(1, 2)).astype(np.complex64)
    half = np.empty((n, side, side // 2 + 1), np.complex64)
    for window, out in zip(windows, half, strict=True):
        out[:] = cv2.dft(window, flags=cv2.DFT_COMPLEX_OUTPUT)[:, : side // 2 + 1].view(np.complex64)[..., 0]
    return half


def _backward(half: Any, xp: Any) -> Any:
    """(N, side, side) of half of their spectra; OpenCV looks at no more of them."""
    n, side, columns = half.shape
    if xp is not np:
        return xp.fft.irfft2(half, axes=(1, 2))
    windows, whole = np.empty((n, side, side), np.float32), np.zeros((side, side), np.complex64)
    for spectrum, out in zip(half, windows, strict=True):
        whole[:, :columns] = spectrum
        cv2.dft(whole.view(np.float32).reshape(side, side, 2), out, _INVERSE)
    return windows


def _wrapped(at: Any, side: int) -> Any:
    return (at + side // 2) % side - side // 2


@lru_cache
def _taper(side: int) -> NDArray[np.float32]:
    line = np.hanning(side + 2)[1:-1]
    return np.outer(line, line).astype(np.float32)


@lru_cache
def _tables(side: int, xp: Any) -> tuple[Any, Any, Any]:
    """Squared slope of each wave of a spectrum (side, side // 2 + 1); 2 pi times its frequencies (side,), of which half is used
    along rows; and how often each column counts in a whole spectrum."""
    ramp = 2 * np.pi * np.fft.fftfreq(side)
    ramp[side // 2] = abs(ramp[side // 2])
    line = np.sin(ramp) ** 2
    twice = np.full(side // 2 + 1, 2.0)
    twice[[0, -1]] = 1
    slope2 = line[:, None] + line[: side // 2 + 1]
    return tuple(xp.asarray(table) for table in (slope2.astype(np.float32), ramp, twice.astype(np.float32)))


def _host(array: Any) -> FloatArray:
    """In the memory of the processor."""
    return np.asarray(array.get() if hasattr(array, "get") else array, float)
