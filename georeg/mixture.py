"""Robust estimation of one model: a mixture of consistent tie points, clutter and mismatches.

A tie point on a straight edge is known across the edge but not along it. Every residual is therefore taken along the two
principal axes of its tie point's covariance, and counts on each by how well the tie point is known there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from georeg.errors import FitError
from georeg.models import Affine, FloatArray, Local, Model, Translation, principal_axes
from georeg.neighbours import connected, nearest
from georeg.tie_points import TiePoints

STARTS_PX = (0.3, 1.5)
"""Tie points this close to a hypothesis support it at the start of the fit, working pixels."""
CLUTTER_PX = 1.0
"""Least deviation of tie points that are near the model but not of it: clouds' parallax, changed edges."""
POINTS_PER_TERM = 3
"""A model needs this many consistent tie points for each of its terms."""
MIN_SHARE = 0.2
"""Fewer consistent tie points than this share are a coincidence."""
CHECKING_PX = 0.5
"""A direction known worse than this counts little, and a tie point with one does not check, working pixels."""
CHECKING_SIGMAS = 3.0
"""Unless half of the tie points are known that badly in their best direction, but for this factor: then it is no edge."""
NEIGHBOURS = 12
"""A smooth field starts from the tie points that are like so many of their neighbours."""
SMOOTH_ROUNDS = 4
"""So often neighbours are chosen among those that were alike."""
ALIKE, ALIKE_PX = 2.0, 0.1
"""By this many times the neighbours' own median deviation, and what is added to that, working pixels."""
PIN_SIGMAS = 3.0
"""A pinned point further from the model than so many of its standard deviations contradicts it."""
TORN = 3.0
"""Neighbours further apart than this many times the typical do not hang together."""
MAX_LEVERAGE = 0.95
_HYPOTHESES = 500
_ROUNDS = 50
_FLOOR_PX = 0.002


@dataclass(frozen=True, eq=False)
class Robust:
    """A model, and which tie points it describes."""

    model: Model
    member: FloatArray
    """(N,) probability that a tie point is consistent with the others."""
    sigma_px: float
    """Scatter of the consistent ones beyond their own covariances, per axis."""
    log_likelihood: float
    """Of all tie points, the mismatches too."""

    @property
    def inlier(self) -> NDArray[np.bool_]:
        """(N,) True where consistency is the likeliest."""
        return np.asarray(self.member > 0.5)


@dataclass(frozen=True, eq=False)
class Starts:
    """Where fits of all kinds to the same tie points start from, found once."""

    points: TiePoints
    seed: int

    @cached_property
    def agreeing(self) -> list[tuple[NDArray[np.bool_], float]]:
        """Tie points that agree on an affine map or a shift, and how near they are to it, px."""
        return list(zip(consensus(self.points, STARTS_PX, self.seed), STARTS_PX, strict=True))

    def of(self, model: type[Model]) -> list[tuple[NDArray[np.bool_], float]]:
        """Tie points to start from, and how near they are to a model of the kind, px."""
        if (~self.points.pinned).sum() < least_points(model):
            return []
        if model is Local:
            return [(whole(self.points, smooth(self.points)), STARTS_PX[0])]
        return [start for start in self.agreeing if start[0].sum() >= least_points(model)]


def robust_fit(points: TiePoints, model: type[Model], seed: int, starts: Starts | None = None) -> Robust:
    """Fit by a mixture: consistent points, clutter near them, and mismatches anywhere in the search area.

    Expectation-maximisation from a tight and from a wide start; the likelier end is taken. Each consistent point weighs by
    its probability over its own covariance plus an excess variance common to all. Pinned points are consistent whatever the
    others say, weigh by their own covariance alone, and say nothing of the others. ``starts`` are of the same tie points
    and seed, where other models are fitted to them too.

    Raises
    ------
    FitError
        No model of the kind describes enough of the points.
    """
    ends = [_mixture(points, model, *start) for start in (starts or Starts(points, seed)).of(model)]
    likeliest = max((end for end in ends if end is not None), key=lambda end: end.log_likelihood, default=None)
    if likeliest is None:
        n = int((~points.pinned).sum())
        needed = max(least_points(model), int(MIN_SHARE * n) + 1)
        raise FitError(
            f"fewer than {needed} of {n} tie points agree on a model of kind {model.kind}; try other bands, "
            "choose another --model, or check that both rasters show the same ground"
        )
    return likeliest


def refuse_contradicting(pinned: TiePoints, found: Robust) -> None:
    """Raise where pinned points are not where the model of the others has them, as exact as they and it are.

    Raises
    ------
    FitError
        With how many, and by how much.
    """
    residual_xy = pinned.ref_xy - found.model(pinned.tgt_xy)
    scatter = (found.sigma_px * pinned.gsd) ** 2 * np.eye(2)
    precision = np.linalg.inv(pinned.cov + found.model.covariance_at(pinned.tgt_xy) + scatter)
    wrong = np.einsum("ni,nij,nj->n", residual_xy, precision, residual_xy) > PIN_SIGMAS**2
    if wrong.any():
        apart_px = float(np.hypot(*residual_xy[wrong].T).max()) / pinned.gsd
        raise FitError(
            f"refused: {int(wrong.sum())} of {len(pinned)} pinned points contradict the {found.model.kind} model of the tie "
            f"points by up to {apart_px:.2g} px; correct them, raise --gcp-sigma-px, choose a richer --model, or leave out --pin"
        )


def _mixture(points: TiePoints, model: type[Model], start: NDArray[np.bool_], start_px: float) -> Robust | None:
    """Where expectation-maximisation ends; None if in nothing."""
    own, axes = axes_px(points)
    area = (2 * points.search_px + 1) ** 2
    measured = ~points.pinned
    member = np.where(measured, start, 1.0)
    excess, shares = (start_px / 2) ** 2, np.array([0.5, 0.25, 0.25])
    fitted: Model | None = None
    likelihood = -np.inf
    for _ in range(_ROUNDS):
        if (member[measured] > 0.5).sum() < least_points(model):
            return None
        weights = precision(points, member, own, axes, excess)
        fitted = (fitted.refit if fitted else model.fit)(points.tgt_xy, points.ref_xy, weights)
        # how far a point is from what the others say of it: else a field that bends to a mismatch would keep it
        free = 1 - leverage(points, fitted, weights)[:, None]
        in_sample2, variance = error2_px(points, fitted, axes), (own + excess) / free
        error2 = in_sample2 / free**2
        joint = shares[:, None] * _densities(error2, own, excess, free, area)
        posterior = joint / joint.sum(axis=0)
        member = np.where(measured, posterior[0], 1.0)
        shares = np.clip(posterior[:, measured].mean(axis=1), 0.01, None)
        shares /= shares.sum()
        # one step of Fisher scoring: what is known badly says nothing of the excess
        score, information = ((error2 - variance) / variance**2).sum(axis=1), (1 / variance**2).sum(axis=1)
        counted = member * measured
        step = float(counted @ score) / max(float(counted @ information), 1e-9)
        excess = max(excess + step, _FLOOR_PX**2)
        previous, likelihood = likelihood, float(np.log(joint.sum(axis=0)[measured]).sum())
        if abs(likelihood - previous) < 1e-6 * abs(likelihood):
            break
    if fitted is None or (member[measured] > 0.5).sum() < max(least_points(model), MIN_SHARE * measured.sum()):
        return None
    joint = shares[:, None] * _densities(in_sample2, own, excess, np.ones_like(free), area)
    return Robust(fitted, member, float(np.sqrt(excess)), float(np.log(joint.sum(axis=0)[measured]).sum()))


def _densities(error2: FloatArray, own: FloatArray, excess: float, free: FloatArray, area: float) -> FloatArray:
    """(3, N) densities of squared residuals (N, 2) of a consistent tie point, of clutter, and of a mismatch."""
    variance, clutter = (own + excess) / free, (own + max(CLUTTER_PX**2, 9 * excess)) / free
    return np.stack([_normal(error2, variance), _normal(error2, clutter), np.full(len(own), 1 / area)])


def leverage(points: TiePoints, fitted: Model, weights: FloatArray) -> FloatArray:
    """(N,) share of itself in what the model says at each tie point, the mean of its axes."""
    share = np.einsum("nij,nji->n", weights, fitted.covariance_at(points.tgt_xy)) / 2
    return np.asarray(np.clip(share, 0, MAX_LEVERAGE))


def precision(points: TiePoints, member: FloatArray, own: FloatArray, axes: FloatArray, excess: float) -> FloatArray:
    """Inverse covariances (N, 2, 2), map units⁻², with which tie points hold a model, by how likely they belong to it.

    What several windows see is told once; what is pinned, as it was said.
    """
    told = member / (points.gsd**2 * points.redundancy)
    held = told[:, None, None] * precision_px(own, axes, excess)
    held[points.pinned] = np.linalg.inv(points.cov[points.pinned])
    return np.asarray(held)


def _normal(error2: FloatArray, variance: FloatArray) -> FloatArray:
    """Density (N,) of a normal distribution with ``variance`` (N, 2) along its axes."""
    return np.asarray(np.exp(-(error2 / variance).sum(axis=1) / 2) / (2 * np.pi * np.sqrt(variance.prod(axis=1))))


def telling(own: FloatArray, tolerance_px: float) -> FloatArray:
    """(N, 2) how much tie points tell along each axis: the squared tolerance over what their own deviation makes of it."""
    return np.asarray(tolerance_px**2 / (tolerance_px**2 + 9 * own))


def consensus(points: TiePoints, tolerances_px: Sequence[float], seed: int) -> list[NDArray[np.bool_]]:
    """For each tolerance the points that support the best of many sampled hypotheses: affine, or a shift where points are few.

    Each votes by how much it tells, so that one that would agree with anything says nothing.
    """
    tgt, displacement = points.tgt_xy, points.displacement / points.gsd
    uv = (tgt - tgt.mean(axis=0)) / max(float(np.abs(tgt - tgt.mean(axis=0)).max()), 1e-9)
    design = np.column_stack([np.ones(len(uv)), uv])
    rng = np.random.default_rng(seed)
    shifts = displacement[rng.permutation(len(points))[:_HYPOTHESES]]
    hypotheses = np.concatenate([shifts[:, None], np.zeros((len(shifts), 2, 2))], axis=1)
    if len(points) >= 3 * Affine.n_terms():
        triples = rng.integers(len(points), size=(_HYPOTHESES, 3))
        corners = design[triples]
        spread = np.abs(np.linalg.det(corners)) > 0.05
        if spread.any():
            affine = np.linalg.solve(corners[spread], displacement[triples[spread]])
            hypotheses = np.concatenate([hypotheses, affine])
    own, axes = axes_px(points)
    along = [_squares(axes[:, k], design, displacement, hypotheses) for k in (0, 1)]
    return [_supporting(along, telling(own, tolerance_px), tolerance_px) for tolerance_px in tolerances_px]


def _squares(axis: FloatArray, design: FloatArray, displacement: FloatArray, hypotheses: FloatArray) -> FloatArray:
    """(N, H) squared residuals of N tie points about H hypotheses along one axis (N, 2) of each, px²."""
    rows = (design[:, :, None] * axis[:, None, :]).reshape(len(design), 6)
    error = rows @ hypotheses.reshape(-1, 6).T
    error -= (axis * displacement).sum(axis=1)[:, None]
    return np.square(error, out=error)


def _supporting(along: Sequence[FloatArray], told: FloatArray, tolerance_px: float) -> NDArray[np.bool_]:
    """The points that support the best hypothesis, from their squared residuals along both axes; all where they are too few."""
    error2 = along[0] * told[:, :1]
    error2 += along[1] * told[:, 1:]
    vote = np.subtract(1, error2 / tolerance_px**2)
    support = told.mean(axis=1) @ np.maximum(vote, 0, out=vote)
    best = error2[:, support.argmax()] < tolerance_px**2
    return np.asarray(best if best.sum() >= Translation.n_terms() else np.ones(len(best), bool))


def smooth(points: TiePoints) -> NDArray[np.bool_]:
    """The points whose displacement is like that of their neighbours, by as much as these are alike.

    The normalised median test of Westerweel and Scarano (2005, doi:10.1007/s00348-005-0016-6), with more neighbours.
    """
    displacement = points.displacement / points.gsd
    alike = np.ones(len(points), bool)
    for _ in range(SMOOTH_ROUNDS):
        chosen = np.flatnonzero(alike)
        near = nearest(points.tgt_xy, points.tgt_xy[chosen], min(NEIGHBOURS + 1, len(chosen)))
        around = displacement[chosen[near[:, 1:]]]
        middle = np.median(around, axis=1)
        spread = np.median(np.hypot(*np.moveaxis(around - middle[:, None], -1, 0)), axis=1)
        before, alike = alike, np.hypot(*(displacement - middle).T) <= ALIKE * (spread + ALIKE_PX)
        if (alike == before).all():
            break
    return np.asarray(alike)


def whole(points: TiePoints, alike: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part of the points ``alike`` that hangs together: a cloud that moved is smooth too, but for its border.

    Neighbours hang together whose displacements are no more than `TORN` times as far apart as those of most.
    """
    chosen = np.flatnonzero(alike)
    if len(chosen) < 2:
        return alike
    displacement = points.displacement[chosen] / points.gsd
    near = nearest(points.tgt_xy[chosen], points.tgt_xy[chosen], min(NEIGHBOURS + 1, len(chosen)))
    apart = np.hypot(*np.moveaxis(displacement[near] - displacement[:, None], -1, 0))
    one, other = np.nonzero(apart <= TORN * float(np.median(apart[:, 1:])) + ALIKE_PX)
    part = connected(one, near[one, other], len(chosen))
    largest = np.zeros(len(points), bool)
    largest[chosen[part == np.bincount(part).argmax()]] = True
    return largest


def axes_px(points: TiePoints) -> tuple[FloatArray, FloatArray]:
    """Variances (N, 2), px², of the tie points along their principal axes, the largest first, and these (N, 2, 2) as rows."""
    known = np.isfinite(points.cov).all(axis=(1, 2), keepdims=True)
    return principal_axes(np.where(known, points.cov / points.gsd**2, 1e6 * np.eye(2)))


def error2_px(points: TiePoints, model: Model, axes: FloatArray) -> FloatArray:
    """Squared residuals (N, 2) along ``axes``, px²."""
    residual = (points.ref_xy - model(points.tgt_xy)) / points.gsd
    return np.asarray((axes @ residual[..., None])[..., 0] ** 2)


def precision_px(own: FloatArray, axes: FloatArray, excess: float) -> FloatArray:
    """Inverse covariances (N, 2, 2), px⁻², with which tie points hold a model.

    What lies along edges errs together: all directions known worse than `CHECKING_PX` count as one tie point.
    """
    variance = (own + excess) * np.where(own > checking2(own), len(own), 1)
    return np.asarray((axes.swapaxes(1, 2) / variance[:, None, :]) @ axes)


def known_axes(own: FloatArray) -> FloatArray:
    """(N, 2): 1 along axes known to `CHECKING_PX`, next to nothing along others."""
    return np.where(own <= checking2(own), 1.0, 1e-6)


def known(points: TiePoints) -> NDArray[np.bool_]:
    """(N,) True where a tie point is kept and known well enough in every direction to check a model; none that is pinned."""
    own, _ = axes_px(points)
    measured = points.kept & ~points.pinned
    return np.asarray(measured & (own[:, 0] <= checking2(own[measured])))


def checking2(own: FloatArray) -> float:
    """Largest variance, px², of a direction that counts; see `CHECKING_PX`."""
    return max(CHECKING_PX**2, CHECKING_SIGMAS**2 * float(np.median(own[:, 1]))) if len(own) else CHECKING_PX**2


def least_points(model: type[Model]) -> int:
    """Fewest consistent tie points from which to believe a model."""
    return POINTS_PER_TERM * model.n_terms()
