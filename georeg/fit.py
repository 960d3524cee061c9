"""Robust, weighted estimation of a model from tie points, and the choice of model by withheld points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from georeg.errors import FitError, InputError
from georeg.models import LADDER, Affine, FloatArray, PolynomialDisplacement, Translation
from georeg.options import FitOptions
from georeg.tie_points import TiePoints

STARTS_PX = (0.3, 1.5)
"""Tie points this close to a hypothesis support it at the start of the fit, working pixels."""
CLUTTER_PX = 1.0
"""Least deviation of tie points that are near the model but not of it: clouds' parallax, changed edges."""
POINTS_PER_TERM = 3
"""A model needs this many consistent tie points for each of its terms."""
MIN_SHARE = 0.2
"""Fewer consistent tie points than this share are a coincidence."""
RIVAL_SHARE = 0.5
"""A second group of consistent tie points with this share of the first's support makes a fit ambiguous."""
N_BLOCK_CLASSES = 5
"""Blocks of tie points are dealt to this many classes; one is withheld to check, the others take turns to choose."""
RELEVANT_PX = 0.01
"""A gain below this in the withheld error is not worth a richer model, working pixels."""
_HYPOTHESES = 500
_ROUNDS = 50
_FLOOR_PX = 0.01


class Role(IntEnum):
    """What a tie point did for the fit."""

    REJECTED = 0
    """Not a kept tie point."""
    FIT = 1
    """The model was fitted to it."""
    OUTLIER = 2
    """Offered to the fit, which found it inconsistent with the others."""
    CHECK = 3
    """Withheld from the fit."""


@dataclass(frozen=True)
class Candidate:
    """A model that was considered."""

    kind: str
    """Model kind."""
    n_terms: int
    """Terms per axis."""
    cv_rmse_px: float | None
    """RMSEr on points withheld in turn, large residuals truncated, working pixels; None where there was no choice."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model and how it came about."""

    points: TiePoints
    model: PolynomialDisplacement
    role: NDArray[np.uint8]
    """(N,) a `Role` for each tie point."""
    sigma_px: float
    """Scatter per axis of the tie points about the model beyond their own covariances, working pixels."""
    candidates: tuple[Candidate, ...]
    """The models considered, the simplest first."""

    def residual(self) -> FloatArray:
        """(N, 2) reference − corrected target, map units."""
        return np.asarray(self.points.ref_xy - self.model(self.points.tgt_xy))


def fit(points: TiePoints, options: FitOptions | None = None) -> Fit:
    """Fit a model to the kept tie points, but for the blocks withheld to check it.

    Parameters
    ----------
    points
        From `georeg.match` or a file of tie points.
    options
        Model and seed.

    Raises
    ------
    FitError
        Too few tie points for the model.
    """
    options = options or FitOptions()
    if options.model != "auto" and options.model not in LADDER:
        raise InputError(f"no model {options.model!r}; choose auto or one of {', '.join(LADDER)}")
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}; give a whole number from 0")
    block = blocks(points)
    check = points.kept & (block % N_BLOCK_CLASSES == _withheld_class(block[points.kept]))
    offered = points.kept & ~check
    kinds = list(LADDER)[:3] if options.model == "auto" else [options.model]
    n = int(offered.sum())
    kinds = [kind for kind in kinds if n >= _least(LADDER[kind])]
    if not kinds:
        needed = _least(Translation if options.model == "auto" else LADDER[options.model])
        raise FitError(
            f"{n} tie points to fit, {needed} needed for --model {options.model}; "
            + ("" if options.model in ("auto", "translation") else "choose a simpler --model, or ")
            + "match again with a lower --window-px or --spacing-px, or with other bands"
        )
    chosen, candidates = choose(points.subset(offered), block[offered], [LADDER[k] for k in kinds], options.seed)
    model, inlier, sigma_px = robust_fit(points.subset(offered), chosen, options.seed)
    _refuse_rival(points.subset(offered), model, sigma_px, options.seed)
    role = np.full(len(points), Role.REJECTED, np.uint8)
    role[check] = Role.CHECK
    role[offered] = np.where(inlier, Role.FIT, Role.OUTLIER)
    return Fit(points, model, role, sigma_px, candidates)


def blocks(points: TiePoints) -> NDArray[np.intp]:
    """Number of the spatial block of each tie point; block % N_BLOCK_CLASSES spreads evenly, like knights on a board."""
    xy = points.ref_xy
    kept = xy[points.kept] if points.kept.any() else xy
    if not len(kept):
        return np.zeros(0, np.intp)
    low, extent = kept.min(axis=0), np.ptp(kept, axis=0)
    spacing = np.sqrt(extent.prod() / len(kept)) if extent.all() else extent.max() / len(kept)
    side = max(float(np.sqrt(extent.prod()) / 10), 1.5 * float(spacing)) or 1.0
    cell = np.floor((xy - low) / side).astype(np.intp)
    _, number = np.unique(cell, axis=0, return_inverse=True)
    return np.asarray(N_BLOCK_CLASSES * number.ravel() + (cell[:, 0] + 2 * cell[:, 1]) % N_BLOCK_CLASSES)


def _least(model: type[PolynomialDisplacement]) -> int:
    """Fewest consistent tie points from which to believe a model."""
    return POINTS_PER_TERM * model.n_terms()


def _withheld_class(block: NDArray[np.intp]) -> int:
    """The class of blocks that holds a fair share of the tie points: at least 4, else nearest to an equal one."""
    share = np.bincount(block % N_BLOCK_CLASSES, minlength=N_BLOCK_CLASSES)
    unfair = np.abs(share - max(4, len(block) / N_BLOCK_CLASSES)) + 1e6 * (share < 4)
    return int(unfair.argmin())


def choose(
    points: TiePoints, block: NDArray[np.intp], models: Sequence[type[PolynomialDisplacement]], seed: int
) -> tuple[type[PolynomialDisplacement], tuple[Candidate, ...]]:
    """The simplest model whose error on withheld blocks is within one standard error, or `RELEVANT_PX`, of the best.

    All ``points`` must be kept. The standard error is that of the paired difference between blocks, since points of
    one block err together.
    """
    if len(models) == 1 or len(points) < 8:
        return models[0], (Candidate(models[0].kind, models[0].n_terms(), None),)
    error2 = np.stack([_withheld_error2(points, block, model, seed) for model in models])
    typical = float(np.median(error2, axis=1).min())
    if not np.isfinite(typical):
        return models[0], (Candidate(models[0].kind, models[0].n_terms(), None),)
    cap = (3 * max(0.1, float(np.sqrt(typical)))) ** 2
    loss = np.minimum(error2, cap)
    _, member = np.unique(block, return_inverse=True)
    per_block = np.stack([np.bincount(member, row) for row in loss])
    total = loss.sum(axis=1)
    best = int(total.argmin())
    rmse_px = np.sqrt(loss.mean(axis=1))
    candidates = tuple(
        Candidate(model.kind, model.n_terms(), float(rmse)) for model, rmse in zip(models, rmse_px, strict=True)
    )
    for k, model in enumerate(models):
        difference = per_block[k] - per_block[best]
        error = float(difference.std()) * np.sqrt(len(difference))
        gain_px = rmse_px[k] - rmse_px[best]
        if total[k] - total[best] <= error or gain_px <= RELEVANT_PX:
            return model, candidates
    return models[best], candidates


def _withheld_error2(
    points: TiePoints, block: NDArray[np.intp], model: type[PolynomialDisplacement], seed: int
) -> FloatArray:
    """Squared residual of every point about a fit that its block took no part in, px²."""
    fold = block % N_BLOCK_CLASSES
    error2 = np.full(len(points), np.inf)
    for k in np.unique(fold):
        rest = points.subset(fold != k)
        try:
            fitted, _, _ = robust_fit(rest, model, seed)
        except FitError:  # this model does not describe them: its withheld error stays infinite
            continue
        held = points.subset(fold == k)
        error2[fold == k] = ((held.ref_xy - fitted(held.tgt_xy)) ** 2).sum(axis=1) / points.gsd**2
    return error2


def robust_fit(
    points: TiePoints, model: type[PolynomialDisplacement], seed: int
) -> tuple[PolynomialDisplacement, NDArray[np.bool_], float]:
    """Fit by a mixture: consistent points, clutter near them, and mismatches anywhere in the search area.

    Expectation-maximisation from a tight and from a wide start; the likelier end is taken. Each consistent point weighs by
    its probability over its own variance plus an excess variance common to all.

    Returns
    -------
    model, inlier, sigma_px
        ``inlier`` (N,) is True where consistency is the likeliest.
    """
    starts = [(_consensus(points, start_px, seed), start_px) for start_px in STARTS_PX if len(points) >= _least(model)]
    ends = [_mixture(points, model, *start) for start in starts if start[0].sum() >= _least(model)]
    likeliest = max((end for end in ends if end is not None), key=lambda end: end[0], default=None)
    if likeliest is None:
        needed = max(_least(model), int(MIN_SHARE * len(points)) + 1)
        raise FitError(
            f"fewer than {needed} of {len(points)} tie points agree on a model of kind {model.kind}; try other bands, "
            "choose another --model, or check that both rasters show the same ground"
        )
    return likeliest[1:]


def _mixture(
    points: TiePoints, model: type[PolynomialDisplacement], start: NDArray[np.bool_], start_px: float
) -> tuple[float, PolynomialDisplacement, NDArray[np.bool_], float] | None:
    """Log likelihood, model, inliers and excess deviation where expectation-maximisation ends; None if in nothing."""
    own = np.trace(points.cov, axis1=1, axis2=2) / 2 / points.gsd**2
    usable = np.isfinite(own)
    own = np.where(usable, own, 1e6)
    area = (2 * points.search_px + 1) ** 2
    weight = (start & usable).astype(float)
    excess, shares = (start_px / 2) ** 2, np.array([0.5, 0.25, 0.25])
    fitted, likelihood = None, -np.inf
    for _ in range(_ROUNDS):
        if (weight > 0.5).sum() < _least(model):
            return None
        fitted = model.fit(points.tgt_xy, points.ref_xy, weight / (own + excess))
        error2 = ((points.ref_xy - fitted(points.tgt_xy)) ** 2).sum(axis=1) / points.gsd**2
        clutter = own + max(CLUTTER_PX**2, 9 * excess)
        density = np.stack([_normal(error2, own + excess), _normal(error2, clutter), np.full(len(own), 1 / area)])
        joint = shares[:, None] * density
        member = joint / joint.sum(axis=0)
        weight = member[0] * usable
        shares = np.clip(member.mean(axis=1), 0.01, None)
        shares /= shares.sum()
        excess = max(float((weight * (error2 / 2 - own)).sum() / max(weight.sum(), 1e-9)), _FLOOR_PX**2)
        previous, likelihood = likelihood, float(np.log(joint.sum(axis=0)).sum())
        if abs(likelihood - previous) < 1e-6 * abs(likelihood):
            break
    inlier = weight > 0.5
    if fitted is None or inlier.sum() < max(_least(model), MIN_SHARE * len(points)):
        return None
    return likelihood, fitted, inlier, float(np.sqrt(excess))


def _normal(error2: FloatArray, variance: FloatArray) -> FloatArray:
    """Density of a radial error under a circular normal distribution."""
    return np.asarray(np.exp(-error2 / 2 / variance) / (2 * np.pi * variance))


def _refuse_rival(points: TiePoints, fitted: PolynomialDisplacement, sigma_px: float, seed: int) -> None:
    """Raise where a second group of tie points agrees on another model about as well as the first on its own."""
    near_px = 3 * max(sigma_px, 0.1)

    first = np.hypot(*(points.ref_xy - fitted(points.tgt_xy)).T) <= near_px * points.gsd
    rest = points.subset(~first)
    if len(rest) < max(8, RIVAL_SHARE * first.sum()):
        return
    second = _consensus(rest, near_px, seed)
    if second.sum() >= max(8, RIVAL_SHARE * first.sum()):
        moves = [(np.median(p.displacement[s], axis=0) / points.gsd) for p, s in ((points, first), (rest, second))]
        apart = float(np.hypot(*(moves[0] - moves[1])))
        raise FitError(
            f"refused as ambiguous: {int(first.sum())} tie points agree on one displacement, near ({moves[0][0]:+.2f}, "
            f"{moves[0][1]:+.2f}) px, and {int(second.sum())} on another, near ({moves[1][0]:+.2f}, {moves[1][1]:+.2f}) px, "
            f"{apart:.2g} px apart; if clouds or ice move, mask them as nodata in one of the rasters and align again"
        )


def _consensus(points: TiePoints, tolerance_px: float, seed: int) -> NDArray[np.bool_]:
    """The points that support the best of many sampled hypotheses: affine, or a shift where points are few."""
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
    error2 = ((design @ hypotheses - displacement) ** 2).sum(axis=2)
    support = np.maximum(0, 1 - error2 / tolerance_px**2).sum(axis=1)
    best = error2[support.argmax()] < tolerance_px**2
    return np.asarray(best if best.sum() >= Translation.n_terms() else np.ones(len(points), bool))
