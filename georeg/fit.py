"""Robust, weighted estimation of a model from tie points, chosen and checked by withheld points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from georeg.choice import (
    CAP,
    N_BLOCK_CLASSES,
    Candidate,
    Trial,
    blocks,
    chosen,
    rmse_px,
    told_by,
    told_by_each,
    tried,
    typical_px,
    withheld_class,
    withheld_xy,
)
from georeg.errors import FitError, InputError
from georeg.extrapolation import WARN_SIGMA_PX, flaw, largest_sigma_px
from georeg.mixture import (
    Robust,
    axes_px,
    checking2,
    consensus,
    error2_px,
    known,
    least_points,
    precision_px,
    refuse_contradicting,
    robust_fit,
    telling,
)
from georeg.models import LADDER, FloatArray, Model, Translation, principal_axes
from georeg.options import FitOptions
from georeg.tie_points import TiePoints

RIVAL_SHARE = 0.25
"""A second group of consistent tie points with this share of the first's support makes a fit ambiguous."""
SECOND_SHARE = 0.25
"""With this share of what the first leaves over, it is reported."""
LEAST_SECOND = 8
"""And with no fewer points than these."""
FEW_POINTS = 50
"""With fewer precise tie points none is withheld for good: each is withheld in its turn."""
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
class SecondGroup:
    """Tie points that agree with each other but not with the model, such as of clouds or ice that moved."""

    n: int
    """Tie points."""
    displacement: tuple[float, float]
    """Mean displacement (east, north) that the model leaves them, map units."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model and how it came about."""

    points: TiePoints
    model: Model
    role: NDArray[np.uint8]
    """(N,) a `Role` for each tie point."""
    sigma_px: float
    """Scatter per axis of the tie points about the model beyond their own covariances, working pixels."""
    candidates: tuple[Candidate, ...]
    """The models considered, the simplest first."""
    withheld_xy: FloatArray
    """(N, 2) reference − corrected target, map units, by a model that the tie point took no part in; NaN where there is
    none. It is the model itself for tie points withheld from it; where they are few, each is withheld in its turn."""
    second: SecondGroup | None = None
    """The strongest group of tie points that the model leaves over, if it stands out."""
    warnings: tuple[str, ...] = ()
    """What a user should know of the choice, a sentence each."""

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
        Too few tie points for the model, they leave a direction open, or two groups of them disagree; or the model asked
        for folds or runs away where there are none.
    """
    options = options or FitOptions()
    kinds = _kinds(options)
    with threadpool_limits(limits=1, user_api="blas"):  # matrices so small are slower on many threads
        return _fit(points, kinds, options)


def _fit(points: TiePoints, kinds: list[type[Model]], options: FitOptions) -> Fit:
    block, precise = blocks(points), known(points)
    few = precise.sum() * told_by_each(points) < FEW_POINTS
    check = precise & (block % N_BLOCK_CLASSES == withheld_class(block[precise])) & (not few)
    offered = points.kept & ~points.pinned & ~check
    used = points.subset(offered)
    trials = _trials(used, block[offered], _enough_for(kinds, used, options.model), options.seed)
    best, neglected, flaws = _sound(trials, used, block[offered])
    second = _second_group(used, best.found, options.seed)
    found, offered = _pinned_too(points, offered, best, options.seed), offered | points.pinned
    model = found.model.less_certain(neglected**2 / 2)
    role = np.full(len(points), Role.REJECTED, np.uint8)
    role[check] = Role.CHECK
    role[offered] = np.where(found.inlier, Role.FIT, Role.OUTLIER)
    held_xy = np.full(points.ref_xy.shape, np.nan)
    held_xy[check] = (points.ref_xy - model(points.tgt_xy))[check]
    if few:
        told = precise | points.pinned
        residual_xy = withheld_xy(points.subset(told), block[told], best.kind, options.seed)
        held_xy[precise] = np.minimum(residual_xy[precise[told]], _NOWHERE_PX * points.gsd)
    candidates = _candidates(trials, best, flaws, used, points.subset(check))
    sigma_px = largest_sigma_px(model, points.everywhere_xy(), points.gsd)
    warnings = _warnings(flaws, best, second, points.gsd, sigma_px)
    return Fit(points, model, role, found.sigma_px, candidates, held_xy, second, warnings)


def _pinned_too(points: TiePoints, offered: NDArray[np.bool_], best: Trial, seed: int) -> Robust:
    """The model that was chosen by the ``offered`` tie points, fitted to the pinned ones too, which must not contradict it."""
    if not points.pinned.any():
        return best.found
    refuse_contradicting(points.subset(points.pinned), best.found)
    return robust_fit(points.subset(offered | points.pinned), best.kind, seed)


def _kinds(options: FitOptions) -> list[type[Model]]:
    if options.model != "auto" and options.model not in LADDER:
        raise InputError(f"no model {options.model!r}; choose auto or one of {', '.join(LADDER)}")
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}; give a whole number from 0")
    return list(LADDER.values()) if options.model == "auto" else [LADDER[options.model]]


def _enough_for(kinds: Sequence[type[Model]], used: TiePoints, asked: str) -> list[type[Model]]:
    """The kinds for which there are tie points enough."""
    n = int(len(used) * math.sqrt(told_by_each(used)))
    enough = [kind for kind in kinds if n >= least_points(kind)]
    if not enough:
        raise FitError(
            f"{n} tie points to fit, {least_points(kinds[0])} needed for --model {asked}; "
            + ("" if asked in ("auto", "translation") else "choose a simpler --model, or ")
            + "match again with a lower --window-px or --spacing-px, or with other bands"
        )
    return enough


def _trials(used: TiePoints, block: NDArray[np.intp], kinds: Sequence[type[Model]], seed: int) -> list[Trial]:
    """Windows that overlap by more than half err together: models that would need them all are tried only if no simpler
    one describes them, as where the target is turned."""
    n = len(used) * told_by_each(used)
    simpler = [kind for kind in kinds if n >= least_points(kind)]
    if 0 < len(simpler) < len(kinds):
        with suppress(FitError):
            return tried(used, block, simpler, seed)
    return tried(used, block, kinds, seed)


def _sound(trials: list[Trial], used: TiePoints, block: NDArray[np.intp]) -> tuple[Trial, float, dict[str, str]]:
    """The choice among the models that neither fold nor run away where there are no tie points, what it neglects (map units)
    and the flaws of others.

    Raises
    ------
    FitError
        All do, or the tie points leave the choice open in some direction.
    """
    flaws: dict[str, str] = {}
    everywhere_xy = used.everywhere_xy()
    while len(flaws) < len(trials):
        best, neglected_px = chosen([trial for trial in trials if trial.kind.kind not in flaws], block, used)
        _refuse_unheld(used.subset(best.found.inlier), best.found)
        fault = flaw(best.found.model, used.tgt_xy[best.found.inlier], everywhere_xy, used.gsd)
        if fault is None:
            return best, neglected_px * used.gsd, flaws
        flaws[best.kind.kind] = fault
    kind, fault = next(iter(flaws.items()))
    raise FitError(
        f"refused: the {kind} model describes the tie points, but {fault}; choose a simpler --model, or find tie points "
        "there with other bands or more --max-points"
    )


def _candidates(
    trials: list[Trial], best: Trial, flaws: dict[str, str], used: TiePoints, check: TiePoints
) -> tuple[Candidate, ...]:
    """The table of all models considered, on the tie points that are consistent with the one taken."""
    if len(trials) == 1:
        return (Candidate(trials[0].kind.kind, trials[0].found.model.freedom, None),)
    least_aicc = min(trial.aicc for trial in trials)
    told = told_by(used) * best.found.inlier
    axes, consistent = axes_px(check)[1], np.zeros(len(check))
    if len(check):
        consistent = error2_px(check, best.found.model, axes).sum(axis=1) <= (CAP * typical_px(trials)) ** 2
    return tuple(
        Candidate(
            kind=trial.kind.kind,
            freedom=trial.found.model.freedom,
            cv_rmse_px=rmse_px(trial.error2 * told, told) if np.isfinite(trial.error2).all() else None,
            aicc=trial.aicc - least_aicc if math.isfinite(trial.aicc) else None,
            check_rmse_px=rmse_px(error2_px(check, trial.found.model, axes).sum(axis=1) * consistent, consistent)
            if consistent.any()
            else None,
            flaw=flaws.get(trial.kind.kind),
        )
        for trial in trials
    )


def _warnings(
    flaws: dict[str, str], best: Trial, second: SecondGroup | None, gsd: float, sigma_px: float
) -> tuple[str, ...]:
    said = [
        f"the {kind} model describes the tie points better, but {fault}: the {best.kind.kind} model is taken instead"
        for kind, fault in flaws.items()
    ]
    if sigma_px > WARN_SIGMA_PX:
        said.append(
            f"the {best.kind.kind} model is uncertain by up to {sigma_px:.2g} px where there are no tie points; --uncertainty "
            "writes where"
        )
    if second is not None:
        x_px, y_px = (along / gsd for along in second.displacement)
        said.append(
            f"{second.n} tie points agree on another displacement, {x_px:+.2g} px east and {y_px:+.2g} px north of the model, "
            "and were left out: clouds, ice or ships may have moved"
        )
    return tuple(said)


def unmoved(fitted: Fit) -> Fit:
    """The same tie points without a correction, as uncertain as what was found instead of it is large and uncertain."""
    used = fitted.points.subset(fitted.role == Role.FIT)
    found = Translation.fit(used.tgt_xy, fitted.model(used.tgt_xy))
    at = np.array([found.origin_xy])
    moved_xy = fitted.model.displacement(at)[0]
    covariance = fitted.model.covariance_at(at)[0] + np.outer(moved_xy, moved_xy)
    still = Translation(found.origin_xy, found.scale, np.zeros((1, 2)), covariance)
    seen = np.isfinite(fitted.withheld_xy)
    return replace(fitted, model=still, withheld_xy=np.where(seen, fitted.points.displacement, np.nan))


def _refuse_unheld(used: TiePoints, found: Robust) -> None:
    """Raise where the points leave the model open in some direction."""
    largest = principal_axes(found.model.covariance_at(used.tgt_xy))[0][:, 0] / used.redundancy
    deviation_px = float(np.sqrt(np.median(largest))) / used.gsd
    if deviation_px > MAX_MODEL_SIGMA_PX:
        own, _ = axes_px(used)
        edges = int((own[:, 0] > checking2(own)).sum())
        raise FitError(
            f"refused: {len(used)} tie points hold the {found.model.kind} model only to {deviation_px:.2g} px in one direction, "
            f"{MAX_MODEL_SIGMA_PX:g} px is needed; {edges} of them are known in one direction alone, as along straight edges: "
            "try other bands, a larger --window-px or more --max-points"
        )


def _second_group(used: TiePoints, found: Robust, seed: int) -> SecondGroup | None:
    """The group of tie points that agrees best on another model than the one found, where it stands out.

    Raises
    ------
    FitError
        It tells about as much as the first.
    """
    near_px = 3 * max(found.sigma_px, 0.1)
    own, axes = axes_px(used)
    told = telling(own, near_px)
    first = (told * error2_px(used, found.model, axes)).sum(axis=1) <= near_px**2
    told = told.mean(axis=1)
    left = float(told[~first].sum())
    if left < LEAST_SECOND:
        return None
    rest = ~first
    rest[rest] = consensus(used.subset(rest), (near_px,), seed)[0]
    support = float(told[rest].sum())
    if support < max(LEAST_SECOND, SECOND_SHARE * left):
        return None
    weights = precision_px(own, axes, near_px**2)
    placed_xy = found.model(used.tgt_xy)
    moves = [Translation.fit(placed_xy[s], used.ref_xy[s], weights[s]).coefficients[0] for s in (first, rest)]
    apart_px = float(np.hypot(*(moves[0] - moves[1]))) / used.gsd
    if apart_px < 3 * near_px:  # no second group but the tail of the first: relief, or a model too simple
        return None
    if support >= RIVAL_SHARE * float(told[first].sum()):
        x_px, y_px = moves[1] / used.gsd
        raise FitError(
            f"refused as ambiguous: {int(first.sum())} tie points agree on one {found.model.kind} model and {int(rest.sum())} "
            f"on another displacement, ({x_px:+.2f}, {y_px:+.2f}) px from it; if clouds or ice move, mask them as nodata in one "
            "of the rasters and align again"
        )
    return SecondGroup(int(rest.sum()), (float(moves[1][0]), float(moves[1][1])))
