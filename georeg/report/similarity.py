"""How alike two images are, by tiles, before and after a correction.

The measures are those of scikit-image's ``metrics``, masked, and a test holds them against it; importing it takes as long
as a fifth of an alignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.models import FloatArray
from georeg.report.findings import Likeness, Similarity, Tile
from georeg.report.looks import Seen, inside

MIN_VALID = 0.25
"""A tile is compared where this share of it is valid in all images, with its neighbours."""
_WINDOW_PX = 7
"""Of the structural similarity: Wang et al. (2004), doi:10.1109/TIP.2003.819861, with a uniform window."""
_K1, _K2 = 0.01, 0.03
_BINS = 64
_RANGE = (0.1, 99.9)
"""Percentiles of the reference between which greys count as different."""
_NEARLY_ALL = (2, 98)
"""Percentiles."""
_LEAST_SHARE = 1e-6
"""A tile whose variance is a smaller share of that of all has no contrast."""


@dataclass(frozen=True)
class Scaling:
    """Grey values of the target as grey values of the reference: of equal mean and deviation over all tiles, where what is
    brighter or darker than nearly all counts as little more."""

    factor: float
    offset: float
    deviation: float
    """Of the reference."""
    low: float
    """Grey value of the reference below which hardly any lies."""
    high: float
    """And above which hardly any lies."""

    def __call__(self, image: NDArray[np.float32]) -> FloatArray:
        """Values of the target as values of the reference."""
        return np.asarray(self.factor * image.astype(float) + self.offset)


def comparable(tiles: Sequence[Seen]) -> list[Seen]:
    """Tiles that show both images, with some contrast."""
    shown = [tile for tile in tiles if inside(tile.valid).mean() >= MIN_VALID]
    if not shown:
        return []
    variances = [
        [float(image[tile.valid].astype(float).var()) for image in (tile.reference, tile.before, tile.after)]
        for tile in shown
    ]
    least = _LEAST_SHARE * np.max(variances, axis=0)
    return [tile for tile, variance in zip(shown, variances, strict=True) if (np.array(variance) > least).all()]


def scaling(tiles: Sequence[Seen]) -> Scaling:
    """From the corrected target, where that shows unchanged ground; of inverted contrast the factor is negative."""
    reference, target = (
        np.concatenate([image[tile.valid] for tile, image in ((t, getattr(t, name)) for t in tiles)]).astype(float)
        for name in ("reference", "after")
    )
    sign = -1.0 if ((reference - reference.mean()) * (target - target.mean())).mean() < 0 else 1.0
    (ref_mean, ref_deviation), (tgt_mean, tgt_deviation) = _clipped(reference), _clipped(target)
    factor = sign * ref_deviation / tgt_deviation
    low, high = np.percentile(reference, _RANGE)
    offset = ref_mean - factor * tgt_mean
    return Scaling(factor, offset, float(reference.std()), float(low), float(high))


def _clipped(values: FloatArray) -> tuple[float, float]:
    """Mean and deviation, hardly moved by few clouds; of all where nearly all are equal."""
    near = np.clip(values, *np.percentile(values, _NEARLY_ALL))
    near = near if near.std() > 0 else values
    return float(near.mean()), float(near.std())


def similarity(tiles: Sequence[Seen], centres_xy: Sequence[tuple[float, float]], scaled: Scaling) -> Similarity:
    """Of comparable ``tiles``, at least one, with their middles in the working CRS."""
    compared = tuple(
        Tile(
            xy,
            likeness(tile.reference, scaled(tile.before), tile.valid, scaled),
            likeness(tile.reference, scaled(tile.after), tile.valid, scaled),
        )
        for tile, xy in zip(tiles, centres_xy, strict=True)
    )
    before, after = (
        Likeness(*np.median([astuple(getattr(tile, name)) for tile in compared], axis=0).tolist())
        for name in ("before", "after")
    )
    return Similarity(before, after, int(tiles[0].window.width), compared)


def likeness(reference: NDArray[np.float32], target: FloatArray, valid: NDArray[np.bool_], scaled: Scaling) -> Likeness:
    """Of two images (height, width) where they are valid; the target's grey values are scaled already."""
    ref, tgt = reference.astype(float), target
    a, b = ref[valid], tgt[valid]
    return Likeness(
        ncc=float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1)),
        ssim=structural_similarity(ref, tgt, valid, scaled.high - scaled.low),
        mse=float(((a - b) ** 2).mean() / scaled.deviation**2),
        nmi=normalised_mutual_information(a, b),
    )


def structural_similarity(a: FloatArray, b: FloatArray, valid: NDArray[np.bool_], data_range: float) -> float:
    """Mean structural similarity over windows without an invalid pixel; over all that are valid in the middle if there is none.

    >>> import numpy as np
    >>> ramp = np.add.outer(np.arange(9.0), np.arange(9.0))
    >>> structural_similarity(ramp, ramp, np.ones((9, 9), bool), 16.0)
    1.0
    """
    n = _WINDOW_PX**2
    a, b = (np.where(valid, image, image[valid].mean()) for image in (a, b))
    mean_a, mean_b, mean_aa, mean_bb, mean_ab = (
        cv2.boxFilter(image, cv2.CV_64F, (_WINDOW_PX, _WINDOW_PX), borderType=cv2.BORDER_REFLECT)
        for image in (a, b, a * a, b * b, a * b)
    )
    unbiased = n / (n - 1)
    var_a, var_b = unbiased * (mean_aa - mean_a**2), unbiased * (mean_bb - mean_b**2)
    cov = unbiased * (mean_ab - mean_a * mean_b)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    local = ((2 * mean_a * mean_b + c1) * (2 * cov + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    whole = cv2.erode(
        valid.astype(np.uint8),
        np.ones((_WINDOW_PX, _WINDOW_PX), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    ).astype(bool)
    return float(local[whole if whole.any() else valid].mean())


def normalised_mutual_information(a: FloatArray, b: FloatArray) -> float:
    """(H(a) + H(b)) / H(a, b) of two lists (N,) of values: Studholme et al. (1999), doi:10.1016/S0031-3203(98)00091-0.

    >>> import numpy as np
    >>> round(normalised_mutual_information(np.arange(64.0), -np.arange(64.0)), 9)
    2.0
    """
    numbers = [_bin(values) for values in (a, b)]
    joint = np.bincount(_BINS * numbers[0] + numbers[1], minlength=_BINS**2).reshape(_BINS, _BINS)
    of_both = _entropy(joint.ravel())
    return float((_entropy(joint.sum(axis=1)) + _entropy(joint.sum(axis=0))) / of_both) if of_both > 0 else 1.0


def _bin(values: FloatArray) -> NDArray[np.intp]:
    low, high = values.min(), values.max()
    number = ((values - low) * (_BINS / max(high - low, 1e-300))).astype(np.intp)
    return np.asarray(np.minimum(number, _BINS - 1), np.intp)


def _entropy(counts: NDArray[np.intp]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
