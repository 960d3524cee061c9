"""Coarse shift between two overviews by masked orientation correlation.

Each pixel becomes a unit-length gradient direction, doubled in angle so that inverted contrast counts as the same
edge (Fitch et al. 2002, doi:10.5244/C.16.11); invalid pixels become zero, and every shift is normalised by the
edges that overlap there (as in Padfield 2012, doi:10.1109/TIP.2011.2181402).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

Side = tuple[NDArray[np.float32], NDArray[np.bool_]]
_Edges = tuple[NDArray[np.complex64], NDArray[np.bool_]]

MIN_OVERLAP = 0.25
"""Least share of the smaller image's edges that must overlap for a shift to count."""

_GAUSSIAN = cv2.getGaussianKernel(9, 1.0)
_SLOPE = _GAUSSIAN * np.arange(-4.0, 5)[:, None]
"""Of that Gaussian."""


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
    sides = (_orientation(ref, ref_valid), ref_valid), (_orientation(tgt, tgt_valid), tgt_valid)
    shape = _common_shape(*sides)
    correlation, edges = _correlation(*(_spectra(side, shape) for side in sides))
    # under chance the correlation's deviation falls with the root of the edges that overlap
    return _peaks(np.where(edges > 0, correlation * np.sqrt(edges), -np.inf), tgt_valid.shape, n_candidates)


@dataclass(frozen=True)
class Rival:
    """Another shift at which two images that are held to be aligned agree, though the ground does not repeat there."""

    shift_px: FloatArray
    """(2,) target position − reference position (column, row)."""
    share: float
    """Of the correlation at no shift."""
    sigmas: float
    """Its height in standard deviations of chance, roughly."""
    least_share: float
    """The share in the patch that shows it least: a thing that moved is in one of them, what is printed in all."""


def strongest_rival(
    patches: Sequence[tuple[Side, Side]], apart_px: int, within: tuple[FloatArray, float] | None = None
) -> Rival | None:
    """The shift that, besides none, most agrees with pairs of aligned patches; None where they tell nothing.

    Ground that repeats agrees with itself when shifted: that much of the correlation at no shift is taken away first.
    What remains is a second thing that both images show, such as the ground where a pattern of the sensor was aligned.

    Parameters
    ----------
    patches
        Reference and target on one grid, each an image (bands, height, width) and its valid mask; all of one shape.
    apart_px
        A rival is further away than this.
    within
        And its shift (column, row) no further from the first of these than the second; None for anywhere.
    """
    each = []
    for (ref, ref_valid), (tgt, tgt_valid) in patches:
        one, other = (_orientation(ref, ref_valid), ref_valid), (_orientation(tgt, tgt_valid), tgt_valid)
        spectra = [_spectra(side, _common_shape(one, other)) for side in (one, other)]
        (c, seen), (a, _) = _correlation(*spectra), _correlation(spectra[0], spectra[0])
        each.append(np.stack([c * seen, a * seen, seen]))
    cross = np.sum(each, axis=0) if each else np.zeros(1)
    if cross.ndim < 3 or not cross[2, 0, 0] > 0:
        return None
    correlation, echo = cross[:2] / np.maximum(cross[2], 1e-9)
    near = np.ix_(np.arange(-apart_px, apart_px + 1), np.arange(-apart_px, apart_px + 1))
    best = float(correlation[near].max())
    rest = np.where(cross[2] > 0, (correlation - best * echo) * np.sqrt(cross[2] / cross[2].max()), 0)
    sigma = 1.4826 * float(np.median(np.abs(rest[cross[2] > 0])))
    rest[near] = 0
    rest[correlation < _highest_near(correlation)] = 0  # the slope of the best is no peak
    if within is not None:
        row, col = (np.fft.fftfreq(n, 1 / n) for n in rest.shape)
        rest[np.hypot(col - within[0][0], row[:, None] - within[0][1]) > within[1]] = 0
    shape = patches[0][0][1].shape
    shifts, heights = _peaks(rest, shape, 1)
    if not len(shifts) or not sigma > 0 or not best > 0:
        return None
    in_each = [_share_at(part, shifts[0], near) for part in each]
    return Rival(shifts[0], float(heights[0]) / best, float(heights[0]) / sigma, min(in_each))


def _highest_near(surface: FloatArray) -> FloatArray:
    """The highest within two pixels of each, over a surface that is wrapped."""
    around = cv2.dilate(np.pad(surface, 2, mode="wrap"), np.ones((5, 5), np.uint8))
    return np.asarray(around[2:-2, 2:-2], float)


def _share_at(cross: FloatArray, shift_px: FloatArray, near: tuple[NDArray[np.intp], ...]) -> float:
    """What one patch shows about a shift, of what it shows at none; less what its own echo does."""
    correlation, echo = cross[:2] / np.maximum(cross[2], 1e-9)
    best = float(correlation[near].max())
    col, row = np.rint(shift_px).astype(int)
    around = np.ix_(np.arange(row - 1, row + 2), np.arange(col - 1, col + 2))
    return float((correlation - best * echo)[around].max()) / best if best > 0 else 0.0


@dataclass(frozen=True)
class _Spectra:
    """Of an image's edges, of their squares and of where they may lie, continued by 0 to one shape."""

    edges: NDArray[np.float32]
    energy: NDArray[np.float32]
    seen: NDArray[np.float32]
    total: float
    """Of the squares."""


def _spectra(image: _Edges, shape: tuple[int, ...]) -> _Spectra:
    energy = (image[0].real ** 2 + image[0].imag ** 2).astype(np.float32)
    edges, squares, seen = (_spectrum(part, shape) for part in (image[0], energy, image[1].astype(np.float32)))
    return _Spectra(edges, squares, seen, float(energy.sum(dtype=float)))


def _common_shape(ref: _Edges, tgt: _Edges) -> tuple[int, ...]:
    return tuple(cv2.getOptimalDFTSize(m + n) for m, n in zip(ref[1].shape, tgt[1].shape, strict=True))


def _correlation(ref: _Spectra, tgt: _Spectra) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Normalised correlation for every shift, wrapped, and the edges that overlap there: 0 where these are too few."""
    product = _correlate(tgt.edges, ref.edges)
    seen_ref, seen_tgt = _correlate(tgt.seen, ref.energy), _correlate(tgt.energy, ref.seen)
    floor = MIN_OVERLAP * min(ref.total, tgt.total)
    enough = (np.minimum(seen_ref, seen_tgt) >= floor) & (floor > 0)
    edges = np.sqrt(np.where(enough, seen_ref * seen_tgt, np.float32(0)))
    return np.where(enough, product / np.maximum(edges, np.float32(1e-9)), np.float32(0)), edges


def _orientation(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.complex64]:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(valid.astype(np.uint8), cross, iterations=2, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    field = np.zeros(valid.shape, np.complex64)
    for band in image:
        filled = np.where(valid, band, band[valid].mean() if valid.any() else 0).astype(float)
        gx, gy = (
            cv2.sepFilter2D(filled, cv2.CV_64F, across, down, borderType=cv2.BORDER_REFLECT)
            for across, down in ((_SLOPE, _GAUSSIAN), (_GAUSSIAN, _SLOPE))
        )
        gradient = gx + 1j * gy
        magnitude = np.abs(gradient)
        typical = np.median(magnitude[inner]) if inner.any() else 0.0
        if typical > 0:
            field += gradient**2 / (magnitude**2 + typical**2)
    field[~inner] = 0
    return field.astype(np.complex64)


def _correlate(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """The real part of Σ a(x + d) b*(x) for every shift d, wrapped, of their spectra."""
    surface = cv2.dft(cv2.mulSpectrums(a, b, 0, conjB=True), flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)
    return np.asarray(surface[..., 0] if surface.ndim == 3 else surface, np.float32)


def _spectrum(image: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Of an image that is continued by 0 to this shape; in two channels if it is complex, else packed in one."""
    height, width = image.shape
    parts = (image.real, image.imag) if np.iscomplexobj(image) else (image,)
    continued = np.zeros((*shape, len(parts)), np.float32)
    for k, part in enumerate(parts):
        continued[:height, :width, k] = part
    return np.asarray(cv2.dft(continued, nonzeroRows=height), np.float32)


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
