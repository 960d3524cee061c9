"""Match windows: a start by the orientation of edges, then least squares, and a reason for whatever fails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.matching.channels import refine_structure
from georeg.matching.fields import Field
from georeg.matching.refine import HALO_PX, STRAY_PX, Refined, refine
from georeg.matching.structure import Peak, find_peak
from georeg.tie_points import Status

FloatArray = NDArray[np.float64]
Pixels = NDArray[np.intp]
_Corner = tuple[int, int]

MIN_VALID = 0.4
"""Least share of a window that must be valid in both images at once."""
MIN_EDGES = 0.02
"""Least share of a window that must bear edges."""
MAX_SIGMA_PX = 0.5
"""A window that is not held better than this in any direction has too little texture."""
LOCKING_PX = 0.0005
"""No match is known better than this: what is left of the pull of whole pixels, and then some."""
MAX_DISAGREEMENT = 60.0
"""Estimators that disagree by more than this, which is 2 on average, do not see the same feature."""
MARGIN_PX = HALO_PX + int(np.ceil(STRAY_PX)) + 1
"""`match_windows` needs this many pixels around a window, and around all places where it is sought."""


@dataclass(frozen=True)
class Matches:
    """Where windows of the reference were found in the target, in pixels of the grid they share."""

    ref_px: FloatArray
    """(N, 2): where in the reference (column, row) each match holds: near its window's centre, where its gradients are."""
    shift_px: FloatArray
    """(N, 2): target position − reference position, (column, row)."""
    cov_px: FloatArray
    """(N, 2, 2): covariance of ``shift_px``, px², from each window alone; see `trusted_covariance`."""
    disagreement: FloatArray
    """(N,): squared difference of two estimators over its covariance, about 2 where both err as they say."""
    score: FloatArray
    """(N,): correlation of the edges, 0 to 1."""
    significance: FloatArray
    """(N,): the score times the root of the edges compared, alike for all windows that do not correspond."""
    status: NDArray[np.uint8]
    """(N,): a `Status` for each; what is not kept means nothing else."""


def match_windows(
    ref: Field,
    tgt: Field,
    ref_px: Pixels,
    *,
    tgt_px: Pixels | None = None,
    window_px: int = 64,
    reach_px: int | None = None,
) -> Matches:
    """Find windows of the reference in the target.

    Parameters
    ----------
    ref, tgt
        Two images on one grid, both as `georeg.matching.fields.prepare` or both as
        `georeg.matching.channels.prepare_structure` makes them.
    ref_px
        (N, 2) window centres (column, row); a centre lies on the corner between four pixels.
    tgt_px
        (N, 2) where to expect them in the target, by default at ``ref_px``.
    window_px
        Side of the windows, a multiple of 8.
    reach_px
        How far from there to look, by default a quarter of the window.
    """
    reach = max(window_px // 4, 4) if reach_px is None else reach_px
    expected = ref_px if tgt_px is None else tgt_px
    half = window_px // 2
    found = _nothing(ref_px)
    corners = ((np.asarray(px) - half).tolist() for px in (ref_px, expected))
    for k, (ref_corner, tgt_corner) in enumerate(zip(*corners, strict=True)):
        found.status[k] = _match(ref, tgt, tuple(ref_corner), tuple(tgt_corner), window_px, reach, found, k)
    return found


def _nothing(ref_px: Pixels) -> Matches:
    """As many matches, of which none is found yet."""
    n = len(ref_px)
    unknown = np.zeros((n, 2, 2))
    unknown[:, (0, 1), (0, 1)] = 1e6
    return Matches(
        ref_px=np.array(ref_px, float).reshape(n, 2),
        shift_px=np.zeros((n, 2)),
        cov_px=unknown,
        disagreement=np.zeros(n),
        score=np.zeros(n),
        significance=np.zeros(n),
        status=np.zeros(n, np.uint8),
    )


def _match(
    ref: Field, tgt: Field, ref_corner: _Corner, tgt_corner: _Corner, window_px: int, reach: int, found: Matches, k: int
) -> Status:
    """Puts what is found of a window in its place among the matches."""
    peak, status = _locate(ref, tgt, ref_corner, tgt_corner, window_px, reach)
    if peak is not None:
        found.score[k], found.significance[k] = min(max(peak.score, 0.0), 1.0), peak.significance
    if peak is None or status != Status.KEPT:
        return status
    dx, dy = peak.shift_px.tolist()
    whole = (round(dx), round(dy))
    at_tgt = (tgt_corner[0] + whole[0], tgt_corner[1] + whole[1])
    if _valid_share((ref, ref_corner), (tgt, at_tgt), window_px) < MIN_VALID:
        return Status.MASKED
    refined = _refined(ref, tgt, ref_corner, at_tgt, window_px, (dx - whole[0], dy - whole[1]))
    if refined is None or not refined.disagreement <= MAX_DISAGREEMENT:
        return Status.INCONSISTENT
    cov = refined.cov_px + peak.ridge_px
    # the structure that two sensors share tells less, and large windows of it are few
    if _least_variance(*cov.ravel().tolist()) > (MAX_SIGMA_PX if ref.detail else 2 * MAX_SIGMA_PX) ** 2:
        return Status.LOW_TEXTURE
    beyond = (at_tgt[0] - ref_corner[0], at_tgt[1] - ref_corner[1])
    found.ref_px[k], found.shift_px[k], found.cov_px[k] = refined.centre_px, refined.shift_px + beyond, cov
    found.disagreement[k] = refined.disagreement
    return Status.KEPT


def _least_variance(xx: float, xy: float, yx: float, yy: float) -> float:
    """The smaller eigenvalue of a covariance."""
    return (xx + yy) / 2 - math.hypot((xx - yy) / 2, (xy + yx) / 2)


def _refined(
    ref: Field,
    tgt: Field,
    ref_corner: _Corner,
    tgt_corner: _Corner,
    window_px: int,
    start_px: tuple[float, float],
) -> Refined | None:
    """By intensities where there are any, else by structure."""
    if not ref.detail:
        return refine_structure(ref, tgt, ref_corner, tgt_corner, window_px, start_px)
    found = refine(ref, tgt, ref_corner, tgt_corner, window_px, start_px)
    return None if found is None or max(map(abs, found.shift_px.tolist())) > 1 else found


def locate(
    ref: Field, tgt: Field, ref_corner: Pixels, tgt_corner: Pixels, window_px: int, reach: int
) -> tuple[Peak | None, Status]:
    """The best whole-pixel place of a window, and whether there is one."""
    return _locate(ref, tgt, _corner(ref_corner), _corner(tgt_corner), window_px, reach)


def _locate(
    ref: Field, tgt: Field, ref_corner: _Corner, tgt_corner: _Corner, window_px: int, reach: int
) -> tuple[Peak | None, Status]:
    if not (_inside(ref, ref_corner, window_px, MARGIN_PX) and _inside(tgt, tgt_corner, window_px, reach + MARGIN_PX)):
        return None, Status.OUT_OF_RANGE
    if _valid_share((ref, ref_corner), (ref, ref_corner), window_px) < MIN_VALID:
        return None, Status.MASKED
    if edge_share(ref, ref_corner, window_px) < MIN_EDGES:
        return None, Status.LOW_TEXTURE
    peak = find_peak(ref, tgt, ref_corner, tgt_corner, window_px=window_px, reach_px=reach)
    if peak is None:
        return None, Status.LOW_TEXTURE
    if peak.score <= 0:
        return peak, Status.MASKED
    if peak.ambiguous:
        return peak, Status.AMBIGUOUS_PEAK
    return peak, Status.KEPT if peak.inside else Status.OUT_OF_RANGE


def trusted_covariance(matches: Matches) -> FloatArray:
    """Covariances (N, 2, 2), px², widened where the two estimators disagree, alone or all of them.

    That disagreement sees what residuals cannot: edges that lie elsewhere in another band, or changed ground.
    """
    kept = matches.status == Status.KEPT
    typical = max(1.0, float(np.median(matches.disagreement[kept])) / MEDIAN_CHI2) if kept.any() else 1.0
    widening = typical * np.maximum(1.0, matches.disagreement / (2 * typical))
    return np.asarray(matches.cov_px * widening[:, None, None] + LOCKING_PX**2 * np.eye(2))


def concatenated(parts: Sequence[Matches]) -> Matches:
    """The matches of several blocks as one."""
    parts = [_nothing(np.zeros((0, 2), np.intp)), *parts]
    return Matches(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Matches)))


MEDIAN_CHI2 = 1.386
"""Median of chi-squared with two degrees of freedom."""


def edge_share(field: Field, corner: tuple[int, int], window_px: int) -> float:
    """Share of a window that bears edges."""
    col, row = corner
    return float(cv2.norm(field.edges[row : row + window_px, col : col + window_px]) ** 2) / window_px**2


def _corner(px: Pixels) -> _Corner:
    return int(px[0]), int(px[1])


def _inside(field: Field, corner: _Corner, window_px: int, margin_px: int) -> bool:
    height, width = field.valid.shape
    beyond = window_px + margin_px
    return min(corner) >= margin_px and corner[0] + beyond <= width and corner[1] + beyond <= height


def _valid_share(one: tuple[Field, _Corner], other: tuple[Field, _Corner], window_px: int) -> float:
    if one[0].whole and other[0].whole:
        return 1.0
    seen = [f.known[row : row + window_px, col : col + window_px] for f, (col, row) in (one, other)]
    return float(np.count_nonzero(seen[0] & seen[1])) / window_px**2
