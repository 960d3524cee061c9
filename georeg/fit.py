"""Robust, weighted estimation of a model from tie points, and the choice of model by withheld points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from georeg.errors import FitError, InputError
from georeg.mixture import (
    axes_px,
    checking2,
    consensus,
    error2_px,
    known,
    known_axes,
    least_points,
    precision_px,
    robust_fit,
    telling,
)
from georeg.models import LADDER, FloatArray, PolynomialDisplacement, Translation, identity
from georeg.options import FitOptions
from georeg.tie_points import TiePoints

RIVAL_SHARE = 0.25
"""A second group of consistent tie points with this share of the first's support makes a fit ambiguous."""
FEW_POINTS = 50
"""With fewer precise tie points none is withheld for good: each is withheld in its turn."""
N_BLOCK_CLASSES = 5
"""Blocks of tie points are dealt to this many classes; one is withheld to check, the others take turns to choose."""
RELEVANT_PX = 0.01
"""A gain below this in the withheld error is not worth a richer model, working pixels."""
MAX_MODEL_SIGMA_PX = 0.5
"""A model whose displacement is typically less certain than this in some direction is refused, working pixels."""
_NOWHERE_PX = 1e9  # the residual of what has no model, which agrees with nothing


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
    withheld_xy: FloatArray
    """(N, 2) reference − corrected target, map units, by a model that the tie point took no part in; NaN where there is
    none. It is the model itself for tie points withheld from it; where they are few, each is withheld in its turn."""

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
        Too few tie points for the model, or they leave a direction open.
    """
    options = options or FitOptions()
    if options.model != "auto" and options.model not in LADDER:
        raise InputError(f"no model {options.model!r}; choose auto or one of {', '.join(LADDER)}")
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}; give a whole number from 0")
    block = blocks(points)
    precise = known(points)
    few = precise.sum() * _told_by_each(points) < FEW_POINTS
    check = precise & (block % N_BLOCK_CLASSES == _withheld_class(block[precise])) & (not few)
    offered = points.kept & ~check
    kinds = list(LADDER)[:4] if options.model == "auto" else [options.model]
    n = int(offered.sum() * math.sqrt(_told_by_each(points)))
    models = [LADDER[kind] for kind in kinds if n >= least_points(LADDER[kind])]
    if not models:
        needed = least_points(Translation if options.model == "auto" else LADDER[options.model])
        raise FitError(
            f"{n} tie points to fit, {needed} needed for --model {options.model}; "
            + ("" if options.model in ("auto", "translation") else "choose a simpler --model, or ")
            + "match again with a lower --window-px or --spacing-px, or with other bands"
        )
    chosen, candidates, model, inlier, sigma_px = _best(points.subset(offered), block[offered], models, options.seed)
    _refuse_rival(points.subset(offered), model, sigma_px, options.seed)
    _refuse_unheld(points.subset(offered).subset(inlier), model, sigma_px)
    role = np.full(len(points), Role.REJECTED, np.uint8)
    role[check] = Role.CHECK
    role[offered] = np.where(inlier, Role.FIT, Role.OUTLIER)
    withheld_xy = np.full(points.ref_xy.shape, np.nan)
    withheld_xy[check] = (points.ref_xy - model(points.tgt_xy))[check]
    if few:
        residual_xy = _withheld_xy(points.subset(precise), block[precise], chosen, options.seed)
        withheld_xy[precise] = np.minimum(residual_xy, _NOWHERE_PX * points.gsd)
    return Fit(points, model, role, sigma_px, candidates, withheld_xy)


_Chosen = tuple[type[PolynomialDisplacement], tuple[Candidate, ...], PolynomialDisplacement, NDArray[np.bool_], float]


def _best(
    points: TiePoints, block: NDArray[np.intp], models: Sequence[type[PolynomialDisplacement]], seed: int
) -> _Chosen:
    """The model chosen and what `robust_fit` makes of it.

    Windows that overlap by more than half err together: models that would need them all are tried only if no simpler
    one describes them, as where the target is turned.
    """
    n = len(points) * _told_by_each(points)
    simpler = [model for model in models if n >= least_points(model)]
    if 0 < len(simpler) < len(models):
        with suppress(FitError):
            return _chosen(points, block, simpler, seed)
    return _chosen(points, block, models, seed)


def _chosen(
    points: TiePoints, block: NDArray[np.intp], models: Sequence[type[PolynomialDisplacement]], seed: int
) -> _Chosen:
    chosen, candidates = choose(points, block, models, seed)
    return chosen, candidates, *robust_fit(points, chosen, seed)


def unmoved(fitted: Fit) -> Fit:
    """The same tie points without a correction."""
    seen = np.isfinite(fitted.withheld_xy)
    return replace(fitted, model=identity(), withheld_xy=np.where(seen, fitted.points.displacement, np.nan))


def blocks(points: TiePoints) -> NDArray[np.intp]:
    """Number of the spatial block of each tie point; block % N_BLOCK_CLASSES spreads evenly, like knights on a board."""
    xy = points.ref_xy
    kept = xy[points.kept] if points.kept.any() else xy
    if not len(kept):
        return np.zeros(0, np.intp)
    low, extent = kept.min(axis=0), np.ptp(kept, axis=0)
    spacing = np.sqrt(extent.prod() / len(kept)) if extent.all() else extent.max() / len(kept)
    # windows that overlap by more than half share their errors: they belong in one block
    alike = points.window_px * points.gsd * (_told_by_each(points) < 1)
    side = max(float(np.sqrt(extent.prod()) / 10), 1.5 * float(spacing), 0.75 * alike) or 1.0
    cell = np.floor((xy - low) / side).astype(np.intp)
    _, number = np.unique(cell, axis=0, return_inverse=True)
    return np.asarray(N_BLOCK_CLASSES * number.ravel() + (cell[:, 0] + 2 * cell[:, 1]) % N_BLOCK_CLASSES)


def _told_by_each(points: TiePoints) -> float:
    """Share of a tie point's errors that it does not have in common with its neighbours: less than 1 where windows overlap by
    more than half."""
    return min(1.0, (2 * points.step) ** 2)


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
        best = int(np.isfinite(error2).sum(axis=1).argmax())
        return models[best], (Candidate(models[best].kind, models[best].n_terms(), None),)
    cap = (3 * max(0.1, float(np.sqrt(typical)))) ** 2
    told = known_axes(axes_px(points)[0]).mean(axis=1)
    loss = np.minimum(error2, cap) * told
    _, member = np.unique(block, return_inverse=True)
    per_block = np.stack([np.bincount(member, row) for row in loss])
    total = loss.sum(axis=1)
    best = int(total.argmin())
    rmse_px = np.sqrt(total / told.sum())
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
    """Squared residual of every point about a fit that its block took no part in, px².

    Where only one direction is known, it stands for both.
    """
    own, axes = axes_px(points)
    share = known_axes(own) / known_axes(own).mean(axis=1, keepdims=True)
    residual_px = _withheld_xy(points, block, model, seed) / points.gsd
    told = np.isfinite(residual_px).all(axis=1)
    along = (axes[told] @ residual_px[told, :, None])[..., 0]
    error2 = np.full(len(points), np.inf)
    error2[told] = (share[told] * along**2).sum(axis=1)
    return error2


def _withheld_xy(
    points: TiePoints, block: NDArray[np.intp], model: type[PolynomialDisplacement], seed: int
) -> FloatArray:
    """Residuals (N, 2), map units, of every point about a fit that its block took no part in; infinite without one."""
    residual_xy = np.full(points.ref_xy.shape, np.inf)
    fold = block % N_BLOCK_CLASSES
    for k in np.unique(fold):
        try:
            fitted, _, _ = robust_fit(points.subset(fold != k), model, seed)
        except FitError:  # this model does not describe them
            continue
        held = fold == k
        residual_xy[held] = points.ref_xy[held] - fitted(points.tgt_xy[held])
    return residual_xy


def _refuse_unheld(points: TiePoints, fitted: PolynomialDisplacement, sigma_px: float) -> None:
    """Raise where the points leave the model open in some direction."""
    own, axes = axes_px(points)
    deviation_px = float(np.median(fitted.deviation(points.tgt_xy, precision_px(own, axes, sigma_px**2))))
    if deviation_px > MAX_MODEL_SIGMA_PX:
        edges = int((own[:, 0] > checking2(own)).sum())
        raise FitError(
            f"refused: {len(points)} tie points hold the {fitted.kind} model only to {deviation_px:.2g} px in one direction, "
            f"{MAX_MODEL_SIGMA_PX:g} px is needed; {edges} of them are known in one direction alone, as along straight edges: "
            "try other bands, a larger --window-px or more --max-points"
        )


def _refuse_rival(points: TiePoints, fitted: PolynomialDisplacement, sigma_px: float, seed: int) -> None:
    """Raise where a second group of tie points agrees on another model about as well as the first on its own."""
    near_px = 3 * max(sigma_px, 0.1)
    own, axes = axes_px(points)
    told = telling(own, near_px)
    first = (told * error2_px(points, fitted, axes)).sum(axis=1) <= near_px**2
    told = told.mean(axis=1)
    enough = max(8, RIVAL_SHARE * float(told[first].sum()))
    if told[~first].sum() < enough:
        return
    rest = ~first
    rest[rest] = consensus(points.subset(rest), near_px, seed)
    if told[rest].sum() >= enough:
        precision = precision_px(own, axes, near_px**2)
        placed_xy = points.tgt_xy if fitted.degree == 0 else fitted(points.tgt_xy)
        moves = [
            Translation.fit(placed_xy[s], points.ref_xy[s], precision[s]).coefficients[0] / points.gsd
            for s in (first, rest)
        ]
        apart = float(np.hypot(*(moves[0] - moves[1])))
        if apart < 3 * near_px:  # no second group but the tail of the first: relief, or a model too simple
            return
        of = "displacement" if fitted.degree == 0 else f"displacement after the {fitted.kind} model"
        raise FitError(
            f"refused as ambiguous: {int(first.sum())} tie points agree on one {of}, near ({moves[0][0]:+.2f}, "
            f"{moves[0][1]:+.2f}) px, and {int(rest.sum())} on another, near ({moves[1][0]:+.2f}, {moves[1][1]:+.2f}) px, "
            f"{apart:.2g} px apart; if clouds or ice move, mask them as nodata in one of the rasters and align again"
        )
