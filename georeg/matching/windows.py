"""Match windows: a start by the orientation of edges, then least squares, and a reason for whatever fails."""

from __future__ import annotations

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
    return _gathered(
        [_match(ref, tgt, r - half, t - half, window_px, reach) for r, t in zip(ref_px, expected, strict=True)]
    )


_Match = tuple[FloatArray, FloatArray, FloatArray, float, float, float, Status]


def _match(ref: Field, tgt: Field, ref_corner: Pixels, tgt_corner: Pixels, window_px: int, reach: int) -> _Match:
    peak, status = locate(ref, tgt, ref_corner, tgt_corner, window_px, reach)
    if peak is None or status != Status.KEPT:
        return _rejected(status, ref_corner, window_px, peak)
    whole = np.rint(peak.shift_px).astype(int)
    at_ref, at_tgt = _corner(ref_corner), _corner(tgt_corner + whole)
    if _valid_share((ref, at_ref), (tgt, at_tgt), window_px) < MIN_VALID:
        return _rejected(Status.MASKED, ref_corner, window_px, peak)
    refined = _refined(ref, tgt, at_ref, at_tgt, window_px, peak.shift_px - whole)
    if refined is None or not refined.disagreement <= MAX_DISAGREEMENT:
        return _rejected(Status.INCONSISTENT, ref_corner, window_px, peak)
    cov = refined.cov_px + peak.ridge_px
    # the structure that two sensors share tells less, and large windows of it are few
    if np.linalg.eigvalsh(cov)[0] > (MAX_SIGMA_PX if ref.detail else 2 * MAX_SIGMA_PX) ** 2:
        return _rejected(Status.LOW_TEXTURE, ref_corner, window_px, peak)
    shift = refined.shift_px + whole + tgt_corner - ref_corner
    return refined.centre_px, shift, cov, refined.disagreement, peak.score, peak.significance, Status.KEPT


def _refined(
    ref: Field,
    tgt: Field,
    ref_corner: tuple[int, int],
    tgt_corner: tuple[int, int],
    window_px: int,
    start_px: tuple[float, float],
) -> Refined | None:
    """By intensities where there are any, else by structure."""
    if not ref.detail:
        return refine_structure(ref, tgt, ref_corner, tgt_corner, window_px, start_px)
    found = refine(ref, tgt, ref_corner, tgt_corner, window_px, start_px)
    return None if found is None or np.abs(found.shift_px).max() > 1 else found


def locate(
    ref: Field, tgt: Field, ref_corner: Pixels, tgt_corner: Pixels, window_px: int, reach: int
) -> tuple[Peak | None, Status]:
    """The best whole-pixel place of a window, and whether there is one."""
    if not (_inside(ref, ref_corner, window_px, MARGIN_PX) and _inside(tgt, tgt_corner, window_px, reach + MARGIN_PX)):
        return None, Status.OUT_OF_RANGE
    if _valid_share((ref, _corner(ref_corner)), (ref, _corner(ref_corner)), window_px) < MIN_VALID:
        return None, Status.MASKED
    if edge_share(ref, _corner(ref_corner), window_px) < MIN_EDGES:
        return None, Status.LOW_TEXTURE
    peak = find_peak(ref, tgt, _corner(ref_corner), _corner(tgt_corner), window_px=window_px, reach_px=reach)
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
    typical = max(1.0, float(np.median(matches.disagreement[kept])) / _MEDIAN_CHI2) if kept.any() else 1.0
    widening = typical * np.maximum(1.0, matches.disagreement / (2 * typical))
    return np.asarray(matches.cov_px * widening[:, None, None] + LOCKING_PX**2 * np.eye(2))


def concatenated(parts: Sequence[Matches]) -> Matches:
    """The matches of several blocks as one."""
    parts = [_gathered([]), *parts]
    return Matches(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Matches)))


_MEDIAN_CHI2 = 1.386
"""Median of chi-squared with two degrees of freedom."""


def edge_share(field: Field, corner: tuple[int, int], window_px: int) -> float:
    """Share of a window that bears edges."""
    col, row = corner
    return float(cv2.norm(field.edges[row : row + window_px, col : col + window_px]) ** 2) / window_px**2


def _corner(px: Pixels) -> tuple[int, int]:
    return int(px[0]), int(px[1])


def _inside(field: Field, corner: Pixels, window_px: int, margin_px: int) -> bool:
    height, width = field.valid.shape
    low, high = corner - margin_px, corner + window_px + margin_px
    return bool((low >= 0).all() and high[0] <= width and high[1] <= height)


def _valid_share(one: tuple[Field, tuple[int, int]], other: tuple[Field, tuple[int, int]], window_px: int) -> float:
    seen = [f.known[row : row + window_px, col : col + window_px] for f, (col, row) in (one, other)]
    return float(np.count_nonzero(seen[0] & seen[1])) / window_px**2


def _rejected(status: Status, ref_corner: Pixels, window_px: int, peak: Peak | None) -> _Match:
    score, significance = (peak.score, peak.significance) if peak else (0.0, 0.0)
    centre = np.asarray(ref_corner + window_px / 2, float)
    return centre, np.zeros(2), 1e6 * np.eye(2), 0.0, score, significance, status


def _gathered(found: list[_Match]) -> Matches:
    n = len(found)
    columns = list(zip(*found, strict=True)) if found else [()] * 7
    return Matches(
        ref_px=np.array(columns[0], float).reshape(n, 2),
        shift_px=np.array(columns[1], float).reshape(n, 2),
        cov_px=np.array(columns[2], float).reshape(n, 2, 2),
        disagreement=np.array(columns[3], float),
        score=np.array(columns[4], float).clip(0, 1),
        significance=np.array(columns[5], float),
        status=np.array(columns[6], np.uint8),
    )
