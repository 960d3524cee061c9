"""Coarse shift between two overviews by masked orientation correlation.

Each pixel becomes a unit-length gradient direction, doubled in angle so that inverted contrast counts as the same
edge (Fitch et al. 2002, doi:10.5244/C.16.11); invalid pixels become zero, and every shift is normalised by the
edges that overlap there (as in Padfield 2012, doi:10.1109/TIP.2011.2181402).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

FloatArray = NDArray[np.float64]

MIN_OVERLAP = 0.25
"""Least share of the smaller image's edges that must overlap for a shift to count."""


def coarse_shifts(
    ref: NDArray[np.float32],
    ref_valid: NDArray[np.bool_],
    tgt: NDArray[np.float32],
    tgt_valid: NDArray[np.bool_],
    *,
    n_candidates: int = 4,
) -> tuple[FloatArray, FloatArray]:
    """The likeliest whole-pixel shifts of ``tgt`` against ``ref``, the best first.

    Parameters
    ----------
    ref, tgt
        (bands, height, width), each of its own height and width; bands are averaged in orientation space.
    ref_valid, tgt_valid
        (height, width)
    n_candidates
        Most shifts to return.

    Returns
    -------
    shift_px, score
        (K, 2) target position − reference position (column, row), and (K,) their correlations in standard
        deviations of chance, roughly. Empty where an image has no edges.
    """
    edges_ref, edges_tgt = _orientation(ref, ref_valid), _orientation(tgt, tgt_valid)
    shape = tuple(fft.next_fast_len(m + n) for m, n in zip(ref_valid.shape, tgt_valid.shape, strict=True))
    correlation = _correlate(edges_tgt, edges_ref, shape).real
    energy_ref, energy_tgt = np.abs(edges_ref) ** 2, np.abs(edges_tgt) ** 2
    seen_ref = _correlate(tgt_valid.astype(np.float32), energy_ref, shape).real
    seen_tgt = _correlate(energy_tgt, ref_valid.astype(np.float32), shape).real
    floor = MIN_OVERLAP * min(energy_ref.sum(), energy_tgt.sum())
    enough = (np.minimum(seen_ref, seen_tgt) >= floor) & (floor > 0)
    # under chance the correlation's variance grows with the edges that overlap, so this is its significance
    norm = np.sqrt(np.where(enough, seen_ref * seen_tgt, np.inf))
    surface = np.where(enough, correlation / np.sqrt(norm), -np.inf)
    return _peaks(surface, tgt_valid.shape, n_candidates)


def _orientation(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.complex64]:
    inner = ndimage.binary_erosion(valid, iterations=2)
    field = np.zeros(valid.shape, np.complex64)
    for band in image:
        filled = np.where(valid, band, band[valid].mean() if valid.any() else 0)
        gy = ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(filled, 1.0, axis=1), 1.0, axis=0, order=1)
        gx = ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(filled, 1.0, axis=0), 1.0, axis=1, order=1)
        gradient = gx + 1j * gy
        magnitude = np.abs(gradient)
        typical = np.median(magnitude[inner]) if inner.any() else 0.0
        if typical > 0:
            field += gradient**2 / (magnitude**2 + typical**2)
    field[~inner] = 0
    return field.astype(np.complex64)


def _correlate(a: NDArray[np.generic], b: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """Σ a(x + d) b*(x) for every shift d, wrapped."""
    return np.asarray(fft.ifft2(fft.fft2(a, shape) * fft.fft2(b, shape).conj()))


def _peaks(surface: FloatArray, tgt_shape: tuple[int, ...], n: int) -> tuple[FloatArray, FloatArray]:
    height, width = surface.shape
    shifts, scores = [], []
    surface = surface.copy()
    for _ in range(n):
        row, col = np.unravel_index(surface.argmax(), surface.shape)
        score = float(surface[row, col])
        if not score > 0:
            break
        # the target reaches less far than its size to one side; what is beyond is the other side, wrapped
        shifts.append((col if col < tgt_shape[1] else col - width, row if row < tgt_shape[0] else row - height))
        scores.append(score)
        near = np.ix_(np.arange(row - 3, row + 4) % height, np.arange(col - 3, col + 4) % width)
        surface[near] = -np.inf
    return np.array(shifts, float).reshape(-1, 2), np.array(scores)
