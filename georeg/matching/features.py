"""Features found, described and matched in two nearly aligned images.

SIFT (Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94) with RootSIFT descriptors (Arandjelović & Zisserman 2012,
doi:10.1109/CVPR.2012.6248018), AKAZE (Alcantarilla et al. 2013, doi:10.5244/C.27.13) and ORB (Rublee et al. 2011,
doi:10.1109/ICCV.2011.6126544). The second best of Lowe's ratio test is the best at another place (Mishkin et al. 2015,
doi:10.1016/j.cviu.2015.08.005), since one corner is often found at several scales and orientations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.errors import InputError
from georeg.lazily import Lazily
from georeg.matching.preprocess import Image, Mask, grey

spatial = Lazily("scipy.spatial")

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]
Detector = Literal["sift", "akaze", "orb"]

SUPPORT: dict[Detector, float] = {"sift": 3.0, "akaze": 2.0, "orb": 0.6}
"""How near invalid pixels a keypoint may lie, as a multiple of its size. AKAZE looks farther, but not to any harm."""
SAME_PLACE_PX = 3.0
"""Two keypoints closer than this show the same thing: neither makes the other ambiguous."""
DUPLICATE_PX = 1.0
"""Of two matches closer than this in either image, one is kept."""

_ORB_SCALE = 1.2
_OPTIONS: dict[Detector, dict[str, Any]] = {
    "sift": {"contrastThreshold": 0.02, "enable_precise_upscale": True},  # else all is displaced by 1/4 px
    "akaze": {},
    "orb": {"nfeatures": 100_000, "scaleFactor": _ORB_SCALE, "nlevels": 4, "fastThreshold": 10},
}
_SPARE = 8  # keypoints described in each image for every match wanted
_MIN_SIDE = 16
_BLOCK = 1 << 20  # most pairs compared at once


@dataclass(frozen=True)
class _Keypoints:
    px: FloatArray  # (N, 2) (column, row), counted from the centre of the first pixel as OpenCV does
    response: FloatArray  # (N,)
    descriptor: NDArray[np.float32]  # (N, D), of unit length


def match_features(
    ref: Image,
    ref_valid: Mask,
    tgt: Image,
    tgt_valid: Mask,
    *,
    detector: Detector = "sift",
    reach_px: float,
    max_points: int,
    ratio: float = 0.7,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Find features of the reference in the target, no farther than ``reach_px`` from where they are.

    Parameters
    ----------
    ref, tgt
        (bands, height, width) on one grid; the bands are averaged, each by its own spread.
    ref_valid, tgt_valid
        (height, width)
    detector
        "akaze" is absent from the wheels of OpenCV 5.
    reach_px
        Longest displacement; what lies beyond makes no match ambiguous either.
    max_points
        Most matches to return, spread evenly.
    ratio
        Greatest distance of a match as a share of the distance to the second best within reach.

    Returns
    -------
    ref_px, tgt_px, score
        (N, 2) positions (column, row), those of the outer corner being (0, 0); (N,) 1 − distance ratio, 0 to 1.

    Raises
    ------
    InputError
        The installed OpenCV does not have the detector.

    Examples
    --------
    >>> blobs = np.random.default_rng(0).normal(size=(1, 200, 200)).repeat(4, 1).repeat(4, 2).astype(np.float32)
    >>> ref, tgt, valid = blobs[:, :256, :256], blobs[:, 2:258, 4:260], np.ones((256, 256), bool)
    >>> ref_px, tgt_px, _ = match_features(ref, valid, tgt, valid, reach_px=10, max_points=50)
    >>> np.median(tgt_px - ref_px, axis=0).round()
    array([-4., -2.])
    """
    finds = finder(detector)
    first = _keypoints(ref, ref_valid, finds, detector, _SPARE * max_points)
    second = _keypoints(tgt, tgt_valid, finds, detector, _SPARE * max_points)
    if not (len(first.px) and len(second.px)):
        return np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)
    of_ref, of_tgt, score = _matches(first, second, reach_px, ratio, power=0.5 if detector == "sift" else 1.0)
    kept = np.flatnonzero(~(_repeats(first.px[of_ref]) | _repeats(second.px[of_tgt])))
    kept = kept[_spread(first.px[of_ref[kept]], first.response[of_ref[kept]], ref_valid.shape, max_points)]
    return first.px[of_ref[kept]] + 0.5, second.px[of_tgt[kept]] + 0.5, score[kept]


def finder(detector: Detector) -> Any:
    create = getattr(cv2, f"{detector.upper()}_create", None)
    if create is None:
        what = f"OpenCV ({'.'.join(cv2.__version__.split('.')[:2])}) has no {detector.upper()}"
        raise InputError(f"this {what}; install opencv 4 or choose --detector sift")
    return create(**_OPTIONS[detector])


def _keypoints(image: Image, valid: Mask, finds: Any, detector: Detector, limit: int) -> _Keypoints:
    mean = np.sum([grey(band, valid) for band in image], axis=0)
    picture = np.rint(255 * grey(mean, valid)).astype(np.uint8)
    found = list(finds.detect(picture, None)) if min(picture.shape) >= _MIN_SIDE else []
    table = np.array([(*k.pt, k.size, k.response, k.angle) for k in found], float).reshape(-1, 5)
    to_invalid = cv2.distanceTransform(valid.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) if found else valid
    at = np.clip(np.rint(table[:, [1, 0]]).astype(int), 0, np.array(valid.shape) - 1)
    clear = to_invalid[tuple(at.T)] > SUPPORT[detector] * table[:, 2]
    order = np.lexsort((*table[:, [4, 2, 0, 1]].T, -table[:, 3]))  # threads find them in any order
    order = order[clear[order]]
    order = order[_spread(table[order, :2], table[order, 3], valid.shape, limit)]
    described, descriptor = finds.compute(picture, [found[i] for i in order]) if len(order) else ((), None)
    if descriptor is None:
        return _Keypoints(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 1), np.float32))
    px = np.array([k.pt for k in described], float)
    if detector == "orb":  # its pyramid keeps the outer corner in place, its coordinates the first centre
        px += 0.5 * (_ORB_SCALE ** np.array([[k.octave] for k in described]) - 1)
    return _Keypoints(px, np.array([k.response for k in described]), unit(descriptor))


def unit(descriptor: NDArray[Any]) -> NDArray[np.float32]:
    """RootSIFT of SIFT; of binary descriptors ±1 for each bit, so that 1 − cosine is in proportion to Hamming's."""
    if descriptor.dtype == np.uint8:
        bits = np.unpackbits(descriptor, axis=1).astype(np.float32)
        return np.asarray((2 * bits - 1) / np.sqrt(np.float32(bits.shape[1])))
    return np.asarray(np.sqrt(descriptor / np.maximum(descriptor.sum(axis=1, keepdims=True), 1e-12)), np.float32)


def _matches(
    ref: _Keypoints, tgt: _Keypoints, reach_px: float, ratio: float, power: float
) -> tuple[IndexArray, IndexArray, FloatArray]:
    """Indices into both, and scores, of the pairs that are each other's best and pass the ratio test."""
    best, backwards = np.full(len(ref.px), -1), np.full(len(tgt.px), -1)
    first, second, highest = (np.full(n, -np.inf) for n in (len(ref.px), len(ref.px), len(tgt.px)))
    for rows, cols in _blocks(ref.px, tgt.px, reach_px):
        alike = ref.descriptor[rows] @ tgt.descriptor[cols].T
        alike[spatial.distance.cdist(ref.px[rows], tgt.px[cols]) > reach_px] = -np.inf
        top, up = alike.argmax(axis=1), alike.argmax(axis=0)
        best[rows], first[rows] = cols[top], alike.max(axis=1)
        better = alike.max(axis=0) > highest[cols]
        highest[cols[better]], backwards[cols[better]] = alike.max(axis=0)[better], rows[up[better]]
        alike[spatial.distance.cdist(tgt.px[cols[top]], tgt.px[cols]) < SAME_PLACE_PX] = -np.inf
        second[rows] = alike.max(axis=1)
    rng = np.random.default_rng(0)
    some, others = (side.descriptor[rng.integers(len(side.px), size=1000)] for side in (ref, tgt))
    typical = np.median((some * others).sum(axis=1))  # stands in where there is no second
    distance, other = (np.maximum(1 - a, 0) ** power for a in (first, np.maximum(second, typical)))
    share = np.divide(distance, other, out=np.ones_like(other), where=other > 0)
    kept = np.flatnonzero((share < ratio) & (backwards[best] == np.arange(len(best))))
    return kept, best[kept], 1 - share[kept]


def _blocks(ref_px: FloatArray, tgt_px: FloatArray, reach_px: float) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Keypoints of the reference, cell by cell, with those of the target that any of them may reach."""
    side = max(reach_px, 64.0)
    cells, member = np.unique(np.floor(ref_px / side), axis=0, return_inverse=True)
    order = np.argsort(member.ravel(), kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(member.ravel()))[:-1])
    tree, near_px = spatial.KDTree(tgt_px), side / 2 + reach_px
    around = tree.query_ball_point((cells + 0.5) * side, near_px, p=np.inf, return_sorted=True)
    for group, near in zip(groups, around, strict=True):
        n_rows = max(1, _BLOCK // max(len(near), 1))
        for start in range(0, len(group) if near else 0, n_rows):
            yield group[start : start + n_rows], np.array(near)


def _repeats(px: FloatArray) -> Mask:
    """Which lie where an earlier one does."""
    repeats = np.zeros(len(px), bool)
    repeats[spatial.KDTree(px).query_pairs(DUPLICATE_PX, output_type="ndarray").max(axis=1)] = True
    return repeats


def _spread(px: FloatArray, response: FloatArray, shape: tuple[int, ...], limit: int) -> IndexArray:
    """Indices of at most ``limit``, in their order: the strongest of every cell of a grid, then every second, …"""
    side = max(float(np.sqrt(np.prod(shape) / max(limit, 1))), 1.0)
    cell = np.floor(px / side) @ [1.0, 1e6]
    order = np.lexsort((-response, cell))
    start = np.searchsorted(cell[order], cell[order])
    rank = np.empty(len(px), int)
    rank[order] = np.arange(len(px)) - start
    return np.sort(np.lexsort((-response, rank))[:limit])
