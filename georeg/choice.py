"""The choice of a model: the simplest that withheld tie points do not improve on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from georeg.errors import FitError
from georeg.mixture import Robust, axes_px, known_axes, precision, robust_fit
from georeg.models import FloatArray, Model
from georeg.tie_points import TiePoints

N_BLOCK_CLASSES = 5
"""Blocks of tie points are dealt to this many classes; one is withheld to check, the others take turns to choose."""
N_BLOCKS = 10
"""Blocks along a side of the ground, where there are tie points enough."""
RELEVANT_PX, RELEVANT_BEND_PX = 0.005, 0.02
"""A richer model must improve on the ground by more than this, root mean square, working pixels; one that is no affine map,
for which pixels must be interpolated, by more than the second."""
FEW_TO_CHOOSE = 8
"""With fewer tie points the simplest model is taken."""
CAP = 3.0
"""Withheld errors beyond this many times the typical one are mismatches, and count as this."""
LEAST_TYPICAL_PX = 0.1
"""The typical error is taken for no less than this in that, working pixels."""


@dataclass(frozen=True)
class Candidate:
    """A model that was considered."""

    kind: str
    """Model kind."""
    freedom: float
    """Unknowns of both axes together that the tie points decided."""
    cv_rmse_px: float | None
    """RMSEr on points withheld in turn, large residuals truncated, working pixels; None where there was no choice."""
    aicc: float | None = None
    """Akaike's criterion, corrected for few points, less that of the best candidate: for comparison, it decides nothing."""
    check_rmse_px: float | None = None
    """RMSEr on the check points, large residuals truncated, working pixels; None where none are withheld for good."""
    flaw: str | None = None
    """Why it was not to be taken, whatever its errors."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A kind of model fitted to all tie points offered, and its errors on those that are withheld in turn."""

    kind: type[Model]
    found: Robust
    loss: FloatArray
    """(N,) truncated squared error, px², by how much each point tells; see `compared`."""
    aicc: float


def tried(points: TiePoints, block: NDArray[np.intp], kinds: Sequence[type[Model]], seed: int) -> list[Trial]:
    """Trials of all kinds that describe the points, the simplest first.

    All ``points`` must be kept.

    Raises
    ------
    FitError
        None does: what the simplest lacks.
    """
    fits: list[Robust] = []
    refusals: list[FitError] = []
    for kind in kinds:
        try:
            fits.append(robust_fit(points, kind, seed))
        except FitError as exc:
            refusals.append(exc)
    if not fits:
        raise refusals[0]
    loss = compared(np.stack([_withheld_error2(points, block, found) for found in fits]), points)
    return [
        Trial(type(found.model), found, row, _aicc(found, len(points))) for found, row in zip(fits, loss, strict=True)
    ]


def compared(error2: FloatArray, points: TiePoints) -> FloatArray:
    """(K, N) losses of K models from their squared errors, px²: truncated alike, weighed by how well a point is known."""
    typical = float(np.median(error2, axis=1).min(initial=np.inf))
    cap = (CAP * max(LEAST_TYPICAL_PX, math.sqrt(typical))) ** 2 if math.isfinite(typical) else np.inf
    told = known_axes(axes_px(points)[0]).mean(axis=1)
    return np.asarray(np.minimum(error2, cap) * told)


def rmse_px(loss: FloatArray, points: TiePoints) -> float:
    """RMSEr of one row of `compared`."""
    told = known_axes(axes_px(points)[0]).mean(axis=1)
    return float(np.sqrt(loss.sum() / told.sum()))


def chosen(trials: Sequence[Trial], block: NDArray[np.intp], points: TiePoints) -> Trial:
    """The simplest affine map that is as good as any, unless a bent model is better by what interpolating pixels is worth."""
    if len(block) < FEW_TO_CHOOSE:
        return trials[0]
    told = [np.isfinite(trial.loss).sum() for trial in trials]
    trials = [trial for trial, n in zip(trials, told, strict=True) if n == max(told)]
    if max(told) < len(block):
        return trials[0]
    straight = [trial for trial in trials if trial.found.model.affine is not None]
    bent = [trial for trial in trials if trial.found.model.affine is None]
    best = [simplest(group, block, points) for group in (straight, bent) if group]
    return best[-1] if improves(best[-1], best[0], block, points, RELEVANT_BEND_PX) else best[0]


def neglected_px(trial: Trial, trials: Sequence[Trial], block: NDArray[np.intp], points: TiePoints) -> float:
    """What a model leaves out that another shows significantly, though not by so much as to be taken: root mean square."""
    best = min(trials, key=lambda t: float(t.loss.sum()))
    if best is trial or not improves(best, trial, block, points, 0.0):
        return 0.0
    return better_px(best, trial, points)


def simplest(trials: Sequence[Trial], block: NDArray[np.intp], points: TiePoints) -> Trial:
    """The simplest on which the best does not improve."""
    best = min(trials, key=lambda trial: float(trial.loss.sum()))
    return next(t for t in trials if t is best or not improves(best, t, block, points, RELEVANT_PX))


def improves(one: Trial, other: Trial, block: NDArray[np.intp], points: TiePoints, relevant_px: float) -> bool:
    """Whether one model's error on withheld blocks is less than the other's by more than a standard error.

    That is of the paired difference between blocks, since points of one block err together. The gain must show in most
    blocks too: clouds that move gain a bent model much in few. And it must be relevant: where two models hardly differ, so
    does their difference between blocks.
    """
    _, member = np.unique(block, return_inverse=True)
    gain = np.bincount(member, other.loss - one.loss)
    n = len(gain)
    in_the_mean = gain.sum() > float(gain.std()) * math.sqrt(n)
    in_most = (gain > 0).mean() > 0.5 + 0.5 / math.sqrt(n)
    return bool(in_the_mean and in_most and better_px(one, other, points) > relevant_px)


def better_px(one: Trial, other: Trial, points: TiePoints) -> float:
    """By how much one model describes the ground better than the other, root mean square of both axes together."""
    squares = (rmse_px(trial.loss, points) ** 2 for trial in (other, one))
    return math.sqrt(max(next(squares) - next(squares), 0.0))


def _withheld_error2(points: TiePoints, block: NDArray[np.intp], found: Robust) -> FloatArray:
    """Squared residual of every point about a fit that its block took no part in, px².

    Which points are mismatches is taken from the fit to all. Where only one direction is known, it stands for both.
    """
    own, axes = axes_px(points)
    share = known_axes(own) / known_axes(own).mean(axis=1, keepdims=True)
    weights = precision(points, found.member, own, axes, found.sigma_px**2)
    fold, error2 = block % N_BLOCK_CLASSES, np.full(len(points), np.inf)
    for k in np.unique(fold):
        held, rest = fold == k, fold != k
        try:
            fitted = found.model.refit(points.tgt_xy[rest], points.ref_xy[rest], weights[rest])
        except FitError:  # the others do not hold this model
            continue
        residual_px = (points.ref_xy[held] - fitted(points.tgt_xy[held])) / points.gsd
        error2[held] = (share[held] * (axes[held] @ residual_px[..., None])[..., 0] ** 2).sum(axis=1)
    return error2


def _aicc(found: Robust, n_points: int) -> float:
    """The mixture's own three numbers are unknowns too."""
    unknowns, n = found.model.freedom + 3, 2 * n_points
    if n <= unknowns + 1:
        return math.inf
    return 2 * unknowns * n / (n - unknowns - 1) - 2 * found.log_likelihood


def withheld_xy(points: TiePoints, block: NDArray[np.intp], kind: type[Model], seed: int) -> FloatArray:
    """Residuals (N, 2), map units, of every point about a fit that its block took no part in; infinite without one."""
    residual_xy = np.full(points.ref_xy.shape, np.inf)
    fold = block % N_BLOCK_CLASSES
    for k in np.unique(fold):
        try:
            fitted = robust_fit(points.subset(fold != k), kind, seed).model
        except FitError:  # this model does not describe them
            continue
        held = fold == k
        residual_xy[held] = points.ref_xy[held] - fitted(points.tgt_xy[held])
    return residual_xy


def blocks(points: TiePoints) -> NDArray[np.intp]:
    """Number of the spatial block of each tie point; block % N_BLOCK_CLASSES spreads evenly, like knights on a board."""
    xy = points.ref_xy
    kept = xy[points.kept] if points.kept.any() else xy
    if not len(kept):
        return np.zeros(0, np.intp)
    low, extent = kept.min(axis=0), np.ptp(kept, axis=0)
    spacing = np.sqrt(extent.prod() / len(kept)) if extent.all() else extent.max() / len(kept)
    # windows that overlap by more than half share their errors: they belong in one block
    alike = points.window_px * points.gsd * (told_by_each(points) < 1)
    side = max(float(np.sqrt(extent.prod()) / N_BLOCKS), 1.5 * float(spacing), 0.75 * alike) or 1.0
    cell = np.floor((xy - low) / side).astype(np.intp)
    _, number = np.unique(cell, axis=0, return_inverse=True)
    return np.asarray(N_BLOCK_CLASSES * number.ravel() + (cell[:, 0] + 2 * cell[:, 1]) % N_BLOCK_CLASSES)


def told_by_each(points: TiePoints) -> float:
    """Share of a tie point's errors that it does not have in common with its neighbours: less than 1 where windows overlap by
    more than half."""
    return min(1.0, (2 * points.step) ** 2)


def withheld_class(block: NDArray[np.intp]) -> int:
    """The class of blocks that holds a fair share of the tie points: at least 4, else nearest to an equal one."""
    share = np.bincount(block % N_BLOCK_CLASSES, minlength=N_BLOCK_CLASSES)
    unfair = np.abs(share - max(4, len(block) / N_BLOCK_CLASSES)) + 1e6 * (share < 4)
    return int(unfair.argmin())
