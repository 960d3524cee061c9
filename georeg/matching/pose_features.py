"""Where a target lies on a reference when its rotation, scale and offset are unknown, by features: two images that look alike.

SIFT keypoints (Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94; RootSIFT of Arandjelović & Zisserman 2012,
doi:10.1109/CVPR.2012.6248018) are paired, and the similarity is taken that most pairs agree on. The images may share little.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.matching.features import SUPPORT, finder, unit
from georeg.matching.pose import Pose
from georeg.matching.preprocess import Image, Mask, grey

MAX_KEYPOINTS = 3000
"""Most of an image, the strongest."""
RATIO = 0.85
"""Greatest distance of a pair as a share of that to the next best: generous, for the geometry decides."""
MAX_PAIRS = 600
"""Most that vote, the clearest."""
MAX_PROPOSALS = 5000
"""Most similarities voted on."""
MIN_INLIERS = 6
"""Fewest pairs, and fewest places, that make a pose."""
TOLERANCE = 0.01
"""Distance within which a pair agrees with a similarity, as a share of the reference's diagonal."""
_MIN_SIDE = 16


def poses_by_features(ref: Image, ref_valid: Mask, tgt: Image, tgt_valid: Mask, *, n_candidates: int = 2) -> list[Pose]:
    """The similarities that most pairs of SIFT keypoints agree on, the best first; none if there is no such.

    Every two pairs that agree in rotation and scale with their own keypoints propose one, so nothing is random.

    Parameters
    ----------
    ref, tgt
        (bands, height, width); the bands are averaged, each by its own spread.
    ref_valid, tgt_valid
        (height, width)
    n_candidates
        Most to return. Each next one is supported by pairs that none before it could explain.

    Examples
    --------
    >>> blobs = np.random.default_rng(0).normal(size=(1, 50, 50)).repeat(4, 1).repeat(4, 2).astype(np.float32)
    >>> valid = np.ones((200, 200), bool)
    >>> turned = np.rot90(blobs, axes=(1, 2))  # to the left: what was at the right is at the top
    >>> poses_by_features(blobs, valid, turned, valid)[0].matrix.round() + 0.0
    array([[  0.,  -1., 200.],
           [  1.,   0.,   0.]])
    """
    first, second = _keypoints(ref, ref_valid), _keypoints(tgt, tgt_valid)
    of_ref, of_tgt = _pairs(first, second)
    tolerance_px = TOLERANCE * math.hypot(*ref_valid.shape)
    poses: list[Pose] = []
    while len(poses) < n_candidates and len(of_ref) >= MIN_INLIERS:
        gain, shift, agree = _similarity(first, second, of_ref, of_tgt, tolerance_px)
        if agree.sum() < MIN_INLIERS:
            break
        linear = np.array([[gain.real, -gain.imag], [gain.imag, gain.real]])
        poses.append(Pose(np.column_stack([linear, [shift.real, shift.imag]]), float(agree.sum())))
        of_ref, of_tgt = of_ref[~agree], of_tgt[~agree]
    return poses


@dataclass(frozen=True)
class _Keypoints:
    at: NDArray[np.complex128]  # (N,) column + 1j row, px from the outer corner
    arrow: NDArray[np.complex128]  # (N,) as long as the keypoint is large, along its orientation
    descriptor: NDArray[np.float32]  # (N, 128), of unit length


def _keypoints(image: Image, valid: Mask) -> _Keypoints:
    none = _Keypoints(np.zeros(0, complex), np.zeros(0, complex), np.zeros((0, 128), np.float32))
    if min(valid.shape) < _MIN_SIDE or not valid.any():
        return none
    mean = np.sum([grey(band, valid) for band in image], axis=0)
    picture = np.rint(255 * grey(mean, valid)).astype(np.uint8)
    sift = finder("sift")
    found = list(sift.detect(picture, None))
    inside = cv2.distanceTransform(
        np.pad(valid, 1, constant_values=True).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )[1:-1, 1:-1]

    def clear(k: Any) -> bool:
        row, col = (min(max(round(v), 0), n - 1) for v, n in zip(k.pt[::-1], valid.shape, strict=True))
        return bool(valid.all() or inside[row, col] > SUPPORT["sift"] * k.size / 2)

    found = sorted(filter(clear, found), key=lambda k: (-k.response, k.pt, k.size, k.angle))  # threads mix them up
    if not found:
        return none
    described, descriptor = sift.compute(picture, found[:MAX_KEYPOINTS])
    at = [complex(k.pt[0] + 0.5, k.pt[1] + 0.5) for k in described]
    arrow = [cmath.rect(k.size, math.radians(k.angle)) for k in described]
    return _Keypoints(np.array(at, np.complex128), np.array(arrow, np.complex128), unit(descriptor))


def _pairs(ref: _Keypoints, tgt: _Keypoints) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of keypoints that are each other's best and clearly better than the next elsewhere, the clearest first."""
    if min(len(ref.at), len(tgt.at)) < 2:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    alike = ref.descriptor @ tgt.descriptor.T
    best, backwards = alike.argmax(axis=1), alike.argmax(axis=0)
    rows = np.flatnonzero(backwards[best] == np.arange(len(best)))
    cols = best[rows]
    nearest = alike[rows, cols]
    others = alike[rows]
    others[np.abs(tgt.at[cols][:, None] - tgt.at[None]) < 3.0] = -1.0  # the same corner, found once more
    share = np.sqrt(np.maximum(1 - nearest, 0) / np.maximum(1 - others.max(axis=1), 1e-9))
    order = np.argsort(share, kind="stable")[:MAX_PAIRS]
    order = order[share[order] < RATIO]
    return rows[order], cols[order]


def _similarity(
    first: _Keypoints, second: _Keypoints, of_ref: NDArray[np.intp], of_tgt: NDArray[np.intp], tolerance_px: float
) -> tuple[complex, complex, Mask]:
    """Gain and shift (ref = gain · tgt + shift, as complex numbers) that most pairs agree on, and which do."""
    ref, tgt = first.at[of_ref], second.at[of_tgt]
    own = first.arrow[of_ref] / second.arrow[of_tgt]
    one, other = np.triu_indices(len(ref), 1)
    apart = np.abs(tgt[one] - tgt[other])
    gain = (ref[one] - ref[other]) / np.where(apart > 0, tgt[one] - tgt[other], np.inf)
    likely = (apart > 0) & (gain != 0)
    for side in (one, other):
        off = np.log(np.where(likely, gain, 1) / own[side])
        likely &= (np.abs(off.real) < 0.4) & (np.abs(off.imag) < 0.35)
    chosen = np.flatnonzero(likely)
    chosen = chosen[:: len(chosen) // MAX_PROPOSALS + 1]  # where many are likely, most are right
    gain, one = gain[chosen], one[chosen]
    shift = ref[one] - gain * tgt[one]
    votes = np.zeros(len(gain), int)
    for start in range(0, len(gain), 2000):
        some = slice(start, start + 2000)
        miss = np.abs(gain[some, None] * tgt + shift[some, None] - ref)
        votes[some] = (miss < tolerance_px).sum(axis=1)
    if not len(votes):
        return 1 + 0j, 0j, np.zeros(len(ref), bool)
    best_gain, best_shift = complex(gain[votes.argmax()]), complex(shift[votes.argmax()])
    for _ in range(5):
        agree = np.abs(best_gain * tgt + best_shift - ref) < tolerance_px
        if agree.sum() < 2:
            break
        mean_ref, mean_tgt = ref[agree].mean(), tgt[agree].mean()
        spread = tgt[agree] - mean_tgt
        power = float((np.abs(spread) ** 2).sum())
        if power == 0:
            break
        best_gain = complex((spread.conj() * (ref[agree] - mean_ref)).sum() / power)
        best_shift = complex(mean_ref - best_gain * mean_tgt)
    agree = np.abs(best_gain * tgt + best_shift - ref) < tolerance_px
    # one corner found many times is one witness
    places = np.unique(np.round(np.column_stack([ref[agree].real, ref[agree].imag]) / 3), axis=0)
    return best_gain, best_shift, agree if len(places) >= MIN_INLIERS else np.zeros(len(ref), bool)
