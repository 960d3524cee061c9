"""Tile-wise phase correlation with a covariance for each match.

Both windows are tapered and transformed, and their cross spectrum is whitened and weighted by the coherence that was
measured between the two images: the Hannan-Thomson processor (Knapp & Carter 1976, doi:10.1109/TASSP.1976.1162830).
Its peak, maximised over the continuous shift by Newton's method, is the match.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft, ndimage

from georeg.tie_points import Status

FloatArray = NDArray[np.float64]

MIN_VALID = 0.5
"""Least share of valid pixels in a window."""
MAX_FREQUENCY = 0.45
"""Frequencies beyond this, cycles per pixel, are mostly aliases and are ignored."""
MIN_ISOTROPY = 0.2
"""Least share of gradient energy across the weakest direction of a window: below it there may be but one straight edge,
whose own share is up to 0.12 under the taper."""
_HANN_CORRELATION = 1.944

_BATCH = 32
_SETTLED_PX = 0.75
_PASSES = 3


@dataclass(frozen=True)
class Matches:
    """Where windows of the reference were found in the target, in pixels of the grid they share."""

    shift_px: FloatArray
    """(N, 2): target position − reference position, (column, row)."""
    cov_px: FloatArray
    """(N, 2, 2): covariance of ``shift_px``, px²."""
    score: FloatArray
    """(N,): agreement of the weighted phases at the peak, 0 for none to 1 for all."""
    status: NDArray[np.uint8]
    """(N,): a `Status` for each."""
    coherence: FloatArray
    """(n_bins, 3): sums over settled windows of cross, reference and target power by radial frequency."""


def match_windows(
    ref: NDArray[np.float32],
    ref_valid: NDArray[np.bool_],
    tgt: NDArray[np.float32],
    tgt_valid: NDArray[np.bool_],
    ref_px: NDArray[np.intp],
    *,
    tgt_px: NDArray[np.intp] | None = None,
    window_px: int = 128,
    weight: FloatArray | None = None,
) -> Matches:
    """Find windows of the reference in the target, within a quarter of a window of where they are expected.

    Parameters
    ----------
    ref, tgt
        (bands, height, width) on one grid; the bands of a window vote together.
    ref_valid, tgt_valid
        (height, width)
    ref_px
        (N, 2) window centres (column, row); a centre lies on the corner between four pixels.
    tgt_px
        (N, 2) where to expect them in the target, by default at ``ref_px``.
    window_px
        Side of the windows, even.
    weight
        (n_bins,) weight of the whitened cross spectrum by radial frequency, as from `coherence_weight`; None weighs
        every frequency by the root of its power.

    Returns
    -------
    Matches
        One for each centre; whatever is not ``Status.KEPT`` has no meaning but its status.
    """
    n = len(ref_px)
    expected = np.asarray(ref_px if tgt_px is None else tgt_px)
    bins = window_px // 4 + 1
    shift, cov = np.zeros((n, 2)), np.full((n, 2, 2), np.inf)
    score, status = np.zeros(n), np.full(n, Status.MASKED, np.uint8)
    ref, tgt = fill_invalid(ref, ref_valid), fill_invalid(tgt, tgt_valid)
    coherence = np.zeros((bins, 3))
    for start in range(0, n, _BATCH):
        part = np.s_[start : start + _BATCH]
        found = _match_batch((ref, ref_valid), (tgt, tgt_valid), ref_px[part], expected[part], window_px, weight)
        shift[part], cov[part], score[part], status[part] = found[:4]
        coherence += found[4]
    return Matches(shift, cov, score, status, coherence)


def fill_invalid(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
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
    if valid.all() or min(valid.shape) == 1 or not valid.any():
        return image
    height, width = valid.shape
    pad = ((0, height % 2), (0, width % 2))
    weight = np.pad(valid, pad).astype(np.float32)
    value = np.pad(np.where(valid, image, 0), ((0, 0), *pad))

    def quarter(a: NDArray[np.float32]) -> NDArray[np.float32]:
        return a[..., ::2, ::2] + a[..., 1::2, ::2] + a[..., ::2, 1::2] + a[..., 1::2, 1::2]

    count = quarter(weight)
    coarse = fill_invalid((quarter(value) / np.maximum(count, 1)).astype(np.float32), count > 0)
    smooth = ndimage.uniform_filter(coarse.repeat(2, axis=1).repeat(2, axis=2), (0, 3, 3), mode="nearest")
    return np.where(valid, image, smooth[:, :height, :width]).astype(np.float32)


def coherence_weight(coherence: FloatArray) -> FloatArray | None:
    """Spectral weight γ²/(1 − γ²) from summed `Matches.coherence`, or None where nothing was measured.

    Parameters
    ----------
    coherence
        (n_bins, 3) sums of cross, reference and target power.
    """
    cross, ref, tgt = coherence.T
    if not (ref * tgt > 0).any():
        return None
    squared = np.divide(np.maximum(cross, 0) ** 2, ref * tgt, out=np.zeros_like(cross), where=ref * tgt > 0)
    squared = np.minimum(squared, 0.98)
    return np.asarray(squared / (1 - squared)) if squared.max() > 0.01 else None


def _match_batch(
    ref: tuple[NDArray[np.float32], NDArray[np.bool_]],
    tgt: tuple[NDArray[np.float32], NDArray[np.bool_]],
    ref_px: NDArray[np.intp],
    expected_px: NDArray[np.intp],
    window_px: int,
    weight: FloatArray | None,
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.uint8], FloatArray]:
    n, reach = len(ref_px), window_px // 4
    whole = np.zeros((n, 2), np.intp)
    shift, cov = np.zeros((n, 2)), np.full((n, 2, 2), np.inf)
    score, status = np.zeros(n), np.full(n, Status.INCONSISTENT, np.uint8)
    coherence = np.zeros((window_px // 4 + 1, 3))
    ref_spectra, ref_state = _spectra(*ref, ref_px, window_px)
    status[ref_state != Status.KEPT] = ref_state[ref_state != Status.KEPT]
    active = np.flatnonzero(ref_state == Status.KEPT)
    for _ in range(_PASSES):
        if not len(active):
            break
        spectra, state = _spectra(*tgt, expected_px[active] + whole[active], window_px)
        status[active[state != Status.KEPT]] = state[state != Status.KEPT]
        active, spectra = active[state == Status.KEPT], spectra[state == Status.KEPT]
        if not len(active):
            break
        rest, cov[active], score[active], cross = _correlate(ref_spectra[active], spectra, window_px, weight, reach)
        shift[active] = whole[active] + rest
        settled = np.abs(rest).max(axis=1) <= _SETTLED_PX
        status[active[settled]] = Status.KEPT
        coherence += _rings(cross[settled], ref_spectra[active[settled]], spectra[settled], window_px)
        active = active[~settled]
        whole[active] = np.rint(shift[active]).astype(np.intp)
        lost = np.abs(whole[active]).max(axis=1) > reach
        status[active[lost]] = Status.OUT_OF_RANGE
        active = active[~lost]
    shift += expected_px - ref_px
    return shift, cov, score, status, coherence


def _spectra(
    image: NDArray[np.float32], valid: NDArray[np.bool_], centre_px: NDArray[np.intp], window_px: int
) -> tuple[NDArray[np.complex64], NDArray[np.uint8]]:
    """Spectra (N, bands, window, window / 2 + 1) of tapered windows, and whether each window is usable."""
    half = window_px // 2
    height, width = valid.shape
    col, row = centre_px.T - half
    inside = (col >= 0) & (row >= 0) & (col <= width - window_px) & (row <= height - window_px)
    state = np.where(inside, Status.KEPT, Status.OUT_OF_RANGE).astype(np.uint8)
    col, row = np.clip(col, 0, width - window_px), np.clip(row, 0, height - window_px)
    mask = sliding_window_view(valid, (window_px, window_px))[row, col]
    pixels = sliding_window_view(image, (window_px, window_px), axis=(1, 2))[:, row, col].swapaxes(0, 1)
    state[inside & (mask.mean(axis=(1, 2)) < MIN_VALID)] = Status.MASKED
    taper = np.hanning(window_px + 2)[1:-1].astype(np.float32)
    weights = np.outer(taper, taper)
    total = weights.sum()
    centred = (pixels - (pixels * weights).sum(axis=(2, 3), keepdims=True) / total) * weights
    energy = (centred**2).sum(axis=(2, 3), keepdims=True)
    scale = np.abs(pixels).max(axis=(2, 3), keepdims=True) + 1e-30
    flat = (energy <= (1e-5 * scale) ** 2 * total).all(axis=(1, 2, 3))
    state[flat & (state == Status.KEPT)] = Status.LOW_TEXTURE
    normalised = centred / np.sqrt(np.maximum(energy, 1e-30))
    spectra = fft.rfft2(normalised.astype(np.float32))
    state[(_isotropy(spectra, window_px) < MIN_ISOTROPY) & (state == Status.KEPT)] = Status.LOW_TEXTURE
    return spectra, state


def _isotropy(spectra: NDArray[np.complex64], window_px: int) -> FloatArray:
    """Gradient energy (N,) across a window's weakest direction, as a share of that across its strongest.

    Along a lone straight edge it is near zero, and nothing says where along the edge a match lies.
    """
    fy, fx = _frequencies(window_px)
    coarse = _half_plane(fy, fx, window_px)[0] * (np.hypot(fy[:, None], fx) < 0.25)  # noise has every direction
    power = (np.abs(spectra) ** 2).sum(axis=1) * coarse
    xx, yy = (power @ fx**2).sum(axis=1), power.sum(axis=2) @ fy**2
    xy = ((power @ fx) * fy).sum(axis=1)
    spread = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    return np.asarray((xx + yy - spread) / np.maximum(xx + yy + spread, 1e-30), float)


def _correlate(
    ref: NDArray[np.complex64],
    tgt: NDArray[np.complex64],
    window_px: int,
    weight: FloatArray | None,
    reach: int,
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.float32]]:
    """Shift (N, 2), its covariance, its score, and the real part of the cross spectrum once aligned."""
    fy, fx = _frequencies(window_px)
    unique, radius = _half_plane(fy, fx, window_px)
    cross = (tgt * ref.conj()).sum(axis=1) * unique
    magnitude = np.abs(cross) + 1e-20
    weighted = cross / np.sqrt(magnitude) if weight is None else cross / magnitude * weight[radius]
    start = _peak(weighted, window_px, reach)
    shift, hessian = _climb(weighted, fy, fx, start)
    turn_y = np.exp(2j * np.pi * fy * shift[:, 1:]).astype(np.complex64)
    turn = turn_y[:, :, None] * np.exp(2j * np.pi * fx * shift[:, :1]).astype(np.complex64)[:, None, :]
    aligned = weighted * turn
    score = aligned.real.sum(axis=(1, 2)) / np.abs(weighted).sum(axis=(1, 2))
    return shift, _sandwich(aligned.imag, fy, fx, hessian), score, (cross * turn).real


def _rings(
    cross: NDArray[np.float32], ref: NDArray[np.complex64], tgt: NDArray[np.complex64], window_px: int
) -> FloatArray:
    """Cross, reference and target power (n_bins, 3) by radial frequency, summed over windows."""
    unique, radius = _half_plane(*_frequencies(window_px), window_px)
    power = [cross.sum(axis=0), *(unique * (np.abs(side) ** 2).sum(axis=(0, 1)) for side in (ref, tgt))]
    bins = window_px // 4 + 1
    return np.stack([np.bincount(radius.ravel(), part.ravel(), minlength=bins) for part in power], axis=1)


def _frequencies(window_px: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return fft.fftfreq(window_px).astype(np.float32), fft.rfftfreq(window_px).astype(np.float32)


def _half_plane(
    fy: NDArray[np.float32], fx: NDArray[np.float32], window_px: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """One where a frequency stands for a conjugate pair, and the radial bin of each frequency."""
    unique = np.ones((len(fy), len(fx)), np.float32)
    unique[fy <= 0, 0] = 0  # the mean, and the conjugates of fy > 0
    unique[np.hypot(fy[:, None], fx) > MAX_FREQUENCY] = 0
    radius = np.minimum(np.hypot(fy[:, None], fx) * (window_px / 2), window_px // 4).astype(np.intp)
    return unique, radius


def _peak(weighted: NDArray[np.complex64], window_px: int, reach: int) -> FloatArray:
    """Whole-pixel shift (N, 2) of the highest correlation within ``reach``."""
    surface = fft.irfft2(weighted, s=(window_px, window_px))
    near = fft.fftshift(surface, axes=(1, 2))
    low, side = window_px // 2 - reach, 2 * reach + 1
    near = near[:, low : low + side, low : low + side]
    row, col = np.unravel_index(near.reshape(len(near), -1).argmax(axis=1), (side, side))
    return np.stack([col, row], axis=1).astype(float) - reach


def _climb(
    weighted: NDArray[np.complex64], fy: NDArray[np.float32], fx: NDArray[np.float32], start: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Maximise the correlation over the continuous shift; its Hessian (N, 2, 2) at the maximum comes too."""
    shift = start.copy()
    powers_y, powers_x = np.stack([fy**0, fy, fy**2]), np.stack([fx**0, fx, fx**2])
    hessian = np.zeros((len(start), 2, 2))
    for _ in range(6):
        turn_y = np.exp(2j * np.pi * shift[:, 1:] * fy).astype(np.complex64)
        turn_x = np.exp(2j * np.pi * shift[:, :1] * fx).astype(np.complex64)
        by_row = (powers_y * turn_y[:, None, :]) @ weighted
        moment = by_row @ (powers_x * turn_x[:, None, :]).swapaxes(1, 2)
        gradient = -2 * np.pi * np.stack([moment[:, 0, 1].imag, moment[:, 1, 0].imag], axis=1)
        curve = -4 * np.pi**2 * moment.real
        hessian = np.stack([curve[:, 0, 2], curve[:, 1, 1], curve[:, 1, 1], curve[:, 2, 0]], axis=1).reshape(-1, 2, 2)
        step = _solve_downhill(hessian, gradient)
        shift = shift + step
    # beyond a pixel from its start the climb left the peak: the start then stands, and a later pass decides
    left = np.abs(shift - start).max(axis=1) > 1
    shift[left] = start[left]
    return shift, hessian


def _solve_downhill(hessian: FloatArray, gradient: FloatArray) -> FloatArray:
    """Newton's step towards a maximum, at most half a pixel, along the gradient where the Hessian is no maximum's."""
    peak = (hessian[:, 0, 0] < 0) & (np.linalg.det(hessian) > 0)
    safe = np.where(peak[:, None, None], hessian, -np.eye(2))
    step = np.where(peak[:, None], -np.linalg.solve(safe, gradient[..., None])[..., 0], np.sign(gradient) * 0.1)
    return np.clip(step, -0.5, 0.5)


def _sandwich(
    imaginary: NDArray[np.float32], fy: NDArray[np.float32], fx: NDArray[np.float32], hessian: FloatArray
) -> FloatArray:
    """Covariance of the maximum from the scatter of the phases about it (an M-estimator's sandwich)."""
    squared = imaginary.astype(float) ** 2 * (4 * np.pi**2)
    xx, yy = (squared @ fx**2).sum(axis=1), (squared.sum(axis=2)) @ fy**2
    xy = ((squared @ fx) * fy).sum(axis=1)
    middle = np.stack([xx, xy, xy, yy], axis=1).reshape(-1, 2, 2) * _HANN_CORRELATION
    definite = (hessian[:, 0, 0] < 0) & (np.linalg.det(hessian) > 1e-12 * np.abs(hessian).max(axis=(1, 2)) ** 2)
    bread = np.linalg.inv(np.where(definite[:, None, None], hessian, -np.eye(2)))
    return np.where(definite[:, None, None], bread @ middle @ bread, np.inf)
