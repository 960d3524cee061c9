"""Least-squares matching: the sub-pixel shift of a window, with a covariance that can be believed.

Both windows are read through a quintic B-spline, which smooths and interpolates in one, half of the shift each, and
their difference is made small by Gauss-Newton steps with symmetric gradients (Gruen 1985; Benhimane & Malis 2004,
doi:10.1109/IROS.2004.1389474). Every pixel weighs by how well its neighbourhood agrees, so that clouds and changed
ground count little; contrast may be inverted, scaled and bent. A second estimator, on the orientation of edges alone,
then says how far the result can be trusted.

`refine` is done in C (`_refine.c`) where a compiler was at hand when georeg was installed; `refine_by_numpy` does the
same, for the reader and for where there was none.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.matching import _kernel
from georeg.matching.fields import Field, Image

FloatArray = NDArray[np.float64]

HALO_PX = 5
"""The spline and its derivative reach this far beyond a window."""
NEIGHBOURHOOD_PX = 9
"""Agreement is measured over squares of this side."""
ROUNDS = 8
"""Most steps."""
SETTLED_PX = 0.001
"""Steps end below this."""
STRAY_PX = 1.5
"""A refinement that ends further than this from its start has lost it."""
WHITE = 3.0
"""Brightness tells more than detail where the difference of its low frequencies is at most this times white noise's."""
WHITE_NOISE = 4.52
"""Power of white noise in what the spline makes of brightness, over that in what it makes of detail."""
OPTIMISM = 1.15
"""The sandwich understates deviations by this, since its weights come from the same residuals: measured by
benchmarks/accuracy.py over its conditions."""

FLOOR = 0.1
"""Variances below this share of their median count as that."""

_Settings = _kernel.numbers("_Settings", "rounds", "settled_px", "stray_px", "white", "optimism", "floor")


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


_SETTINGS = _Settings(ROUNDS, SETTLED_PX, STRAY_PX, WHITE * WHITE_NOISE, OPTIMISM, FLOOR)
_KERNEL = _kernel.load(
    _kernel.FOLDER / "_refine.so",
    "georeg_refine_v1",
    *(_kernel.ADDRESS, _kernel.INTEGER, _kernel.INTEGER, *4 * [_kernel.ADDRESS]),
)
COMPILED = _KERNEL is not None
"""Whether `refine` runs in C."""

_SLOPE = np.array([1, -8, 0, 8, -1], np.float32) / 12
_ONE = np.ones(1, np.float32)
_BLOCKS = 8


@dataclass(frozen=True)
class Refined:
    """The shift of one window."""

    shift_px: FloatArray
    """(2,) target position - reference position (column, row), beyond the whole pixels between the two corners."""
    cov_px: FloatArray
    """(2, 2) px², from this window alone."""
    centre_px: FloatArray
    """(2,) pixel of the reference (column, row) at which it holds: the mean place of the gradients that were matched."""
    disagreement: float
    """Squared difference of the two estimators over its covariance: about 2 where both err as they say."""


@dataclass(frozen=True)
class _Windows:
    """Where two windows of the same side are cut, and which of their pixels can be compared."""

    ref_corner: tuple[int, int]
    tgt_corner: tuple[int, int]
    side: int
    mask: Image | None
    """(side, side), None where all pixels are valid."""

    def read(self, images: tuple[Image, Image], shift_px: FloatArray) -> tuple[Image, Image]:
        """Both windows with a margin of two pixels, the reference moved back and the target forth by half the shift."""
        ref, tgt = images
        return self._read(ref, self.ref_corner, -shift_px / 2), self._read(tgt, self.tgt_corner, shift_px / 2)

    def _read(self, image: Image, corner: tuple[int, int], move_px: FloatArray) -> Image:
        rows, cols = (slice(first - HALO_PX, first + self.side + HALO_PX) for first in corner[::-1])
        dx, dy = move_px
        return np.asarray(cv2.sepFilter2D(image[rows, cols], cv2.CV_32F, _taps(dx), _taps(dy))[3:-3, 3:-3], np.float32)

    def local(self, image: Image) -> Image:
        """Mean over the valid pixels of each pixel's neighbourhood."""
        if self.mask is None:
            return _mean(image)
        return np.asarray(_mean(image * self.mask) / np.maximum(_mean(self.mask), np.float32(1e-3)))

    def weight(self, variance: Image, agreement: Image) -> Image:
        """Inverse variance, floored, times the square of the local correlation."""
        typical = variance[::3, ::3] if self.mask is None else variance[self.mask > 0]
        floor = np.float32(FLOOR) * np.float32(np.median(typical)) + np.float32(1e-20)
        weight = agreement * agreement / (variance + floor)
        return np.asarray(weight if self.mask is None else weight * self.mask)


@dataclass(frozen=True)
class _Step:
    """One Gauss-Newton step and what its covariance is made of."""

    normal: FloatArray
    """(2, 2)"""
    move_px: FloatArray
    """(2,)"""
    scores: FloatArray
    """(2, n) share of each block of pixels in the right-hand side."""
    residual2: float
    """Weighted mean square of the difference."""
    centre_px: FloatArray
    """(2,) weighted mean place in the window of the gradients."""

    def covariance(self) -> FloatArray:
        """Sandwich over blocks of pixels, whose residuals may depend on each other (2, 2)."""
        bread = np.linalg.inv(self.normal)
        return np.asarray(OPTIMISM**2 * (bread @ (self.scores @ self.scores.T) @ bread))


def refine(
    ref: Field,
    tgt: Field,
    ref_corner: tuple[int, int],
    tgt_corner: tuple[int, int],
    window_px: int,
    start_px: tuple[float, float],
) -> Refined | None:
    """Refine the shift of one window; None where it strays from its start or nothing holds it.

    Parameters
    ----------
    ref_corner, tgt_corner
        First pixel (column, row) of each window; `HALO_PX` more pixels around it must exist.
    window_px
        Side of the windows, a multiple of 8.
    start_px
        Shift (column, row) to start from, within a pixel.

    >>> import numpy as np
    >>> from georeg.matching.fields import prepare
    >>> noise = np.random.default_rng(0).normal(size=(1, 48, 48)).astype(np.float32)
    >>> field = prepare(noise, np.ones((48, 48), bool))
    >>> bool(np.abs(refine(field, field, (8, 8), (8, 8), 32, (0.1, 0.0)).shift_px).max() < 0.01)
    True
    """
    if _KERNEL is None:
        return refine_by_numpy(ref, tgt, ref_corner, tgt_corner, window_px, start_px)
    _check(ref, tgt, ref_corner, tgt_corner, window_px)
    images = [_image(field, corner) for field, corner in ((ref, ref_corner), (tgt, tgt_corner))]
    start, found = (ctypes.c_double * 2)(*start_px), np.empty(9)
    addresses = [*map(ctypes.byref, images), ctypes.byref(start), found.ctypes.data]
    if not _KERNEL(ctypes.byref(_SETTINGS), len(ref.detail), window_px, *addresses):
        return None
    return Refined(found[:2], found[2:6].reshape(2, 2), found[6:8], float(found[8]))


def _image(field: Field, corner: tuple[int, int]) -> _Image:
    laid = field.laid
    return _Image(laid.detail, laid.brightness, laid.edges, laid.valid, field.valid.shape[1], *corner)


def _check(ref: Field, tgt: Field, ref_corner: tuple[int, int], tgt_corner: tuple[int, int], window_px: int) -> None:
    if window_px <= 0 or window_px % _BLOCKS:
        raise ValueError(f"windows of {window_px} pixels; a multiple of {_BLOCKS} is needed")
    if not len(ref.detail) == len(ref.brightness) == len(tgt.detail) == len(tgt.brightness):
        raise ValueError(f"{len(ref.detail)} bands of the reference, {len(tgt.detail)} of the target")
    for field, (col, row) in ((ref, ref_corner), (tgt, tgt_corner)):
        height, width = field.valid.shape
        if min(col, row) < HALO_PX or max(col - width, row - height) > -window_px - HALO_PX:
            raise ValueError(f"no {HALO_PX} pixels around {window_px} from ({col}, {row}) in {width} by {height}")


def refine_by_numpy(
    ref: Field,
    tgt: Field,
    ref_corner: tuple[int, int],
    tgt_corner: tuple[int, int],
    window_px: int,
    start_px: tuple[float, float],
) -> Refined | None:
    """What `refine` does, without a compiled library."""
    _check(ref, tgt, ref_corner, tgt_corner, window_px)
    windows = _cut(ref, tgt, ref_corner, tgt_corner, window_px)
    if windows.mask is not None and not windows.mask.any():
        return None
    start = np.array(start_px, float)
    found = _descend(windows, (ref.detail, tgt.detail), ref.brightness, start)
    if found is None:
        return None
    shift, step = found
    bright = _compare(windows, (ref.brightness, tgt.brightness), ref.brightness, shift)
    if bright is not None and bright.residual2 <= WHITE * WHITE_NOISE * step.residual2:
        found = _descend(windows, (ref.brightness, tgt.brightness), ref.brightness, shift, bright)
        if found is None:
            return None
        shift, step = found
    if np.abs(shift - start).max() > STRAY_PX:
        return None
    second = _by_edges(windows, (ref.edges, tgt.edges), shift)
    if second is None:
        return None
    cov = step.covariance()
    difference = second[0] - shift
    disagreement = difference @ np.linalg.solve(cov + second[1].covariance(), difference)
    return Refined(shift, cov, np.array(ref_corner) + step.centre_px - shift / 2, float(disagreement))


def _cut(ref: Field, tgt: Field, ref_corner: tuple[int, int], tgt_corner: tuple[int, int], side: int) -> _Windows:
    seen = [f.valid[r : r + side, c : c + side] for f, (c, r) in ((ref, ref_corner), (tgt, tgt_corner))]
    both = seen[0] & seen[1]
    return _Windows(ref_corner, tgt_corner, side, None if both.all() else both.astype(np.float32))


def _descend(
    windows: _Windows,
    bands: tuple[tuple[Image, ...], tuple[Image, ...]],
    brightness: tuple[Image, ...],
    start: FloatArray,
    first: _Step | None = None,
) -> tuple[FloatArray, _Step] | None:
    """Steps until they are small; None where they stray or nothing holds the window."""
    shift, step = start, first or _compare(windows, bands, brightness, start)
    for left in reversed(range(ROUNDS)):
        if step is None:
            return None
        move = step.move_px * min(1.0, 0.5 / max(np.abs(step.move_px).max(), 1e-9))
        shift = shift + move
        if np.abs(shift - start).max() > STRAY_PX:
            return None
        if not left or np.abs(move).max() < SETTLED_PX:
            return shift, step
        step = _compare(windows, bands, brightness, shift)
    return None


def _compare(
    windows: _Windows,
    bands: tuple[tuple[Image, ...], tuple[Image, ...]],
    brightness: tuple[Image, ...],
    shift: FloatArray,
) -> _Step | None:
    """One step on the intensities of all bands; contrast, a bend of it and a level are estimated along, for each band."""
    parts = []
    for ref, tgt, bright in zip(*bands, brightness, strict=True):
        f, g = windows.read((ref, tgt), shift)
        inner = np.s_[2:-2, 2:-2]
        fi, gi = f[inner], g[inner]
        ff, gg, fg = windows.local(fi * fi), windows.local(gi * gi), windows.local(fi * gi)
        ff += np.float32(1e-12)
        gg += np.float32(1e-12)
        agreement = fg / np.sqrt(ff * gg)
        weight = windows.weight(gg * (1 - agreement * agreement), agreement)
        # the bend: under another gamma, contrast depends on brightness
        bend = fi * (fi if bright is ref else windows.read((bright, bright), shift)[0][inner])
        tones = np.stack([fi, bend, np.ones_like(fi)]).reshape(3, -1)
        tone = _solve_tones(tones, weight, gi)
        contrast = tone[0]
        difference = gi - (tone @ tones).reshape(gi.shape)
        positive = np.maximum(agreement * np.sign(contrast), 0)
        weight = windows.weight(windows.local(difference * difference), positive)
        mean = np.float32(0.5) * (g + contrast * f)
        parts.append(_normal_equations(mean, difference, weight, tones))
    return _joined(parts, windows.side)


def _by_edges(windows: _Windows, edges: tuple[Image, Image], shift: FloatArray) -> tuple[FloatArray, _Step] | None:
    """Where the second estimator, which sees nothing but the orientation of edges, would put the window."""
    first = _compare_edges(windows, edges, shift)
    if first is None:
        return None
    shift = shift + np.clip(first.move_px, -0.5, 0.5)
    second = _compare_edges(windows, edges, shift)
    return None if second is None else (shift + np.clip(second.move_px, -0.5, 0.5), second)


def _compare_edges(windows: _Windows, edges: tuple[Image, Image], shift: FloatArray) -> _Step | None:
    """One step on the two components of the edges' orientation."""
    f, g = windows.read(edges, shift)
    difference = (g - f)[2:-2, 2:-2]
    agreement = windows.local(np.ascontiguousarray((g * f)[2:-2, 2:-2].sum(axis=2)))
    weight = windows.weight(windows.local((difference * difference).sum(axis=2)), np.maximum(agreement, 0))
    mean = np.float32(0.5) * (g + f)
    none = np.zeros((0, weight.size), np.float32)
    parts = [_normal_equations(mean[..., k], difference[..., k], weight, none) for k in (0, 1)]
    return _joined(parts, windows.side)


_Part = tuple[FloatArray, FloatArray, FloatArray, float, FloatArray]


def _solve_tones(tones: Image, weight: Image, values: Image) -> Image:
    """Weighted least-squares coefficients of the tones in the values."""
    weighted = tones * weight.ravel()
    matrix = (weighted @ tones.T).astype(float)
    matrix[np.diag_indices(3)] += 1e-6 * np.trace(matrix) + 1e-30
    return np.linalg.solve(matrix, (weighted @ values.ravel()).astype(float)).astype(np.float32)


def _normal_equations(mean: Image, difference: Image, weight: Image, tones: Image) -> _Part:
    """Normal matrix, right-hand side and its blocks with the tones eliminated; residual; place and amount of gradients."""
    side = len(difference)
    gx = cv2.sepFilter2D(mean, cv2.CV_32F, _SLOPE, _ONE)[2:-2, 2:-2]
    gy = cv2.sepFilter2D(mean, cv2.CV_32F, _ONE, _SLOPE)[2:-2, 2:-2]
    design = np.concatenate([gx.reshape(1, -1), gy.reshape(1, -1), tones])
    weighted = design * weight.ravel()
    normal = (weighted @ design.T).astype(float)
    block = side // _BLOCKS
    scores = (weighted * difference.ravel()).reshape(-1, _BLOCKS, block, _BLOCKS, block).sum(axis=(2, 4))
    scores = scores.reshape(len(design), -1).astype(float)
    if len(tones):
        among = normal[2:, 2:] + np.diag(1e-6 * np.diag(normal)[2:] + 1e-30)
        share = np.linalg.solve(among, normal[2:, :2])
        scores = scores[:2] - share.T @ scores[2:]
        normal = normal[:2, :2] - normal[:2, 2:] @ share
    power = weight * (gx * gx + gy * gy)
    at = np.arange(side) + 0.5
    place = np.array([power.sum(axis=0) @ at, power.sum(axis=1) @ at, power.sum()], float)
    total = float(weight.sum())
    residual2 = float(np.vdot(weight, difference * difference)) / max(total, 1e-30)
    return normal, -scores.sum(axis=1), scores, residual2, place


def _joined(parts: list[_Part], side: int) -> _Step | None:
    normals, sides, shares, residuals2, places = zip(*parts, strict=True)
    normal, rhs, scores, place = (np.sum(each, axis=0) for each in (normals, sides, shares, places))
    largest = np.abs(normal).max()
    if not np.isfinite(normal).all() or np.linalg.det(normal) <= 1e-9 * largest**2 or not place[2] > 0:
        return None
    move = np.asarray(np.linalg.solve(normal, rhs), float)
    return _Step(normal, move, scores, sum(residuals2) / len(parts), place[:2] / place[2])


def _mean(image: Image) -> Image:
    side = (NEIGHBOURHOOD_PX, NEIGHBOURHOOD_PX)
    return np.asarray(cv2.blur(image, side, borderType=cv2.BORDER_REFLECT))


def _taps(move_px: float) -> Image:
    """Seven taps that read an image ``move_px`` further on through a quintic B-spline, |move| <= 0.5."""
    table = _table()
    at = (min(max(float(move_px), -0.5), 0.5) + 0.5) * (len(table) - 1)
    low = min(int(at), len(table) - 2)
    part = np.float32(at - low)
    return np.asarray(table[low] * (1 - part) + table[low + 1] * part)


@lru_cache
def _table() -> Image:
    moves = np.linspace(-0.5, 0.5, 2049)
    return np.asarray(_quintic(np.arange(-3, 4) - moves[:, None]), np.float32)


def _quintic(at: FloatArray) -> FloatArray:
    """The quintic B-spline, from -3 to 3 (Unser et al. 1993, doi:10.1109/78.193220)."""
    powers = [np.maximum(reach - np.abs(at), 0) ** 5 for reach in (3, 2, 1)]
    return np.asarray((powers[0] - 6 * powers[1] + 15 * powers[2]) / 120)
