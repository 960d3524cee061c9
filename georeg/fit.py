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

CONSENSUS_PX = 1.5
"""Tie points this close to a hypothesis support it, working pixels."""
N_BLOCK_CLASSES = 5
"""Blocks of tie points are dealt to this many classes; one is withheld to check, the others take turns to choose."""
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
    cv_rmse_px: float
    """RMSEr on points withheld in turn, large residuals truncated, working pixels."""


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
    block = blocks(points)
    check = points.kept & (block % N_BLOCK_CLASSES == 0)
    offered = points.kept & ~check
    kinds = list(LADDER)[:3] if options.model == "auto" else [options.model]
    n = int(offered.sum())
    kinds = [kind for kind in kinds if n >= 3 * LADDER[kind].n_terms() or kind == options.model]
    if not kinds or n < LADDER[kinds[0]].n_terms() + 1:
        raise FitError(
            f"{n} tie points to fit, {3 * LADDER[options.model if options.model in LADDER else 'translation'].n_terms()} "
            "needed; lower --window-px or --spacing-px, or try other bands"
        )
    chosen, candidates = choose(points.subset(offered), block[offered], [LADDER[k] for k in kinds], options.seed)
    model, inlier, sigma_px = robust_fit(points.subset(offered), chosen, options.seed)
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
    col, row = np.floor((xy - low) / side).astype(np.intp).T
    return np.asarray(N_BLOCK_CLASSES * (1000 * (row + 500) + col + 500) + (col + 2 * row) % N_BLOCK_CLASSES)


def choose(
    points: TiePoints, block: NDArray[np.intp], models: Sequence[type[PolynomialDisplacement]], seed: int
) -> tuple[type[PolynomialDisplacement], tuple[Candidate, ...]]:
    """The simplest model whose error on withheld blocks is within one standard error of the best.

    All ``points`` must be kept. The standard error is that of the paired difference between blocks, since points of
    one block err together.
    """
    if len(models) == 1 or len(points) < 8:
        return models[0], (Candidate(models[0].kind, models[0].n_terms(), float("nan")),)
    error2 = np.stack([_withheld_error2(points, block, model, seed) for model in models])
    cap = (3 * max(0.1, float(np.sqrt(np.median(error2, axis=1).min())))) ** 2
    loss = np.minimum(error2, cap)
    _, member = np.unique(block, return_inverse=True)
    per_block = np.stack([np.bincount(member, row) for row in loss])
    total = loss.sum(axis=1)
    best = int(total.argmin())
    candidates = tuple(
        Candidate(model.kind, model.n_terms(), float(np.sqrt(row.mean()))) for model, row in zip(models, loss, strict=True)
    )
    for k, model in enumerate(models):
        difference = per_block[k] - per_block[best]
        error = float(difference.std()) * np.sqrt(len(difference))
        if total[k] - total[best] <= error:
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
        if len(rest) < model.n_terms() + 1:
            continue
        fitted, _, _ = robust_fit(rest, model, seed)
        held = points.subset(fold == k)
        error2[fold == k] = ((held.ref_xy - fitted(held.tgt_xy)) ** 2).sum(axis=1) / points.gsd**2
    return error2


def robust_fit(
    points: TiePoints, model: type[PolynomialDisplacement], seed: int
) -> tuple[PolynomialDisplacement, NDArray[np.bool_], float]:
    """Fit by a mixture of consistent points (Gaussian) and mismatches (uniform over the search area).

    Started from the best of many hypotheses, then expectation-maximisation: each point weighs by the probability that
    it is consistent, over its own variance plus an excess variance common to all.

    Returns
    -------
    model, inlier, sigma_px
        ``inlier`` (N,) is True where consistency is the likelier.
    """
    own = np.trace(points.cov, axis1=1, axis2=2) / 2 / points.gsd**2
    area = (2 * points.search_px + 1) ** 2
    weight = _consensus(points, seed).astype(float)
    excess, share = CONSENSUS_PX**2 / 2, 0.5
    fitted = None
    for _ in range(_ROUNDS):
        variance = own + excess
        usable = np.isfinite(own)
        fitted = model.fit(points.tgt_xy, points.ref_xy, np.where(usable, weight / np.where(usable, variance, 1), 0))
        error2 = ((points.ref_xy - fitted(points.tgt_xy)) ** 2).sum(axis=1) / points.gsd**2
        inlying = np.where(usable, share * np.exp(-error2 / 2 / variance) / (2 * np.pi * variance), 0)
        weight = inlying / (inlying + (1 - share) / area)
        share = float(np.clip(weight.mean(), 0.01, 0.99))
        spread = float((weight * np.where(usable, error2 / 2 - own, 0)).sum() / max(weight.sum(), 1e-9))
        previous, excess = excess, max(spread, _FLOOR_PX**2)
        if abs(previous - excess) < 1e-4 * excess:
            break
    assert fitted is not None
    return fitted, weight > 0.5, float(np.sqrt(excess))


def _consensus(points: TiePoints, seed: int) -> NDArray[np.bool_]:
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
    support = np.maximum(0, 1 - error2 / CONSENSUS_PX**2).sum(axis=1)
    best = error2[support.argmax()] < CONSENSUS_PX**2
    return np.asarray(best if best.sum() >= Translation.n_terms() else np.ones(len(points), bool))
