"""The choice of a model: the simplest that withheld tie points do not improve on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from georeg.errors import FitError
from georeg.lazily import Lazily
from georeg.mixture import Robust, Starts, axes_px, known_axes, precision, robust_fit
from georeg.models import FloatArray, Model
from georeg.tie_points import TiePoints

csgraph, spatial = Lazily("scipy.sparse.csgraph"), Lazily("scipy.spatial")
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
    """RMSEr on points withheld in turn, of those consistent with the model taken, working pixels; None without a choice."""
    aicc: float | None = None
    """Akaike's criterion, corrected for few points, less that of the best candidate: for comparison, it decides nothing."""
    check_rmse_px: float | None = None
    """RMSEr on the check points that are consistent with the model taken, working pixels; None where none are withheld."""
    flaw: str | None = None
    """Why it was not to be taken, whatever its errors."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A kind of model fitted to all tie points offered, and its errors on those that are withheld in turn."""

    kind: type[Model]
    found: Robust
    error2: FloatArray
    """(N,) squared residuals about fits that a point's block took no part in, px²; infinite where there is none."""
    aicc: float


def tried(points: TiePoints, block: NDArray[np.intp], kinds: Sequence[type[Model]], seed: int) -> list[Trial]:
    """Trials of all kinds that describe the points, the simplest first.

    All ``points`` must be kept.

    Raises
    ------
    FitError
        None does: what the simplest lacks.
    """
    trials: list[Trial] = []
    refusals: list[FitError] = []
    starts = Starts(points, seed)
    for kind in kinds:
        try:
            found = robust_fit(points, kind, seed, starts)
        except FitError as exc:
            refusals.append(exc)
        else:
            trials.append(Trial(kind, found, _withheld_error2(points, block, found), _aicc(found, len(points))))
    if not trials:
        raise refusals[0]
    return trials


def typical_px(trials: Sequence[Trial]) -> float:
    """Error of a consistent tie point, by the model that describes its own best."""
    members = (np.sqrt(trial.error2[trial.found.inlier]) for trial in trials)
    return max(LEAST_TYPICAL_PX, min((float(np.median(errors)) for errors in members if len(errors)), default=np.inf))


def told_by(points: TiePoints) -> FloatArray:
    """(N,) how well each point is known: 1 where in both directions."""
    return np.asarray(known_axes(axes_px(points)[0]).mean(axis=1))


def truncated(error2: FloatArray, typical: float, told: FloatArray) -> FloatArray:
    """Squared errors, px², of which those of mismatches count no more than `CAP` allows, by how well points are known."""
    return np.asarray(np.minimum(error2, (CAP * typical) ** 2) * told)


def rmse_px(loss: FloatArray, told: FloatArray) -> float:
    """RMSEr of what `truncated` gives."""
    return float(np.sqrt(loss.sum() / told.sum()))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Trials whose errors are truncated alike."""

    trials: list[Trial]
    losses: FloatArray
    """(K, N) px²"""
    told: FloatArray
    """(N,)"""
    block: NDArray[np.intp]
    """(N,) number of each point's block, from 0."""

    def improves(self, one: int, other: int, relevant_px: float) -> bool:
        """Whether one model's error on withheld blocks is less than the other's by more than a standard error.

        That is of the paired difference between blocks, since points of one block err together. The gain must show in most
        blocks too: clouds that move gain a bent model much in few. And it must be relevant: where two models hardly differ,
        so does their difference between blocks.
        """
        gain = np.bincount(self.block, self.losses[other] - self.losses[one])
        n = len(gain)
        in_the_mean = gain.sum() > float(gain.std()) * math.sqrt(n)
        in_most = (gain > 0).mean() > 0.5 + 0.5 / math.sqrt(n)
        return bool(in_the_mean and in_most and self.better_px(one, other) > relevant_px)

    def better_px(self, one: int, other: int) -> float:
        """By how much one model describes the ground better than the other, root mean square of both axes together."""
        squares = [rmse_px(self.losses[k], self.told) ** 2 for k in (other, one)]
        return math.sqrt(max(squares[0] - squares[1], 0.0))

    def simplest(self, among: Sequence[int]) -> int:
        """The simplest on which the best does not improve."""
        best = min(among, key=lambda k: float(self.losses[k].sum()))
        return next(k for k in among if k == best or not self.improves(best, k, RELEVANT_PX))

    def neglected_px(self, taken: int) -> float:
        """What a model leaves out that another shows significantly, though not by so much as to be taken."""
        best = int(self.losses.sum(axis=1).argmin())
        return self.better_px(best, taken) if best != taken and self.improves(best, taken, 0.0) else 0.0


def compared(trials: list[Trial], block: NDArray[np.intp], points: TiePoints) -> Comparison:
    """The trials side by side: those that describe as many points as any."""
    told = [int(np.isfinite(trial.error2).sum()) for trial in trials]
    trials = [trial for trial, n in zip(trials, told, strict=True) if n == max(told)]
    weight, typical = told_by(points), typical_px(trials)
    losses = np.stack([truncated(trial.error2, typical, weight) for trial in trials])
    return Comparison(trials, losses, weight, np.unique(block, return_inverse=True)[1].ravel())


def chosen(trials: list[Trial], block: NDArray[np.intp], points: TiePoints) -> tuple[Trial, float]:
    """The simplest affine map that is as good as any, unless a bent model is better by what interpolating pixels is worth.

    Returns
    -------
    trial, neglected_px
        The second is what another shows significantly and this leaves out, root mean square of both axes together.
    """
    sides = compared(trials, block, points)
    if len(block) < FEW_TO_CHOOSE or not np.isfinite(sides.losses).all():
        return sides.trials[0], 0.0
    affine = [trial.found.model.affine is not None for trial in sides.trials]
    groups = [[k for k, is_affine in enumerate(affine) if is_affine == wanted] for wanted in (True, False)]
    best = [sides.simplest(group) for group in groups if group]
    taken = best[-1] if sides.improves(best[-1], best[0], RELEVANT_BEND_PX) else best[0]
    return sides.trials[taken], sides.neglected_px(taken)


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
    """Residuals (N, 2), map units, of every point about a fit that its block took no part in; infinite without one, and for
    pinned points, which take part in all fits."""
    residual_xy = np.full(points.ref_xy.shape, np.inf)
    fold = np.where(points.pinned, -1, block % N_BLOCK_CLASSES)
    for k in np.unique(fold[~points.pinned]):
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
    used = points.kept & ~points.pinned
    kept = xy[used] if used.any() else xy
    if not len(kept):
        return np.zeros(0, np.intp)
    if points.apart:
        return _numbered(_cells_of_patches(points))
    low, extent = kept.min(axis=0), np.ptp(kept, axis=0)
    spacing = np.sqrt(extent.prod() / len(kept)) if extent.all() else extent.max() / len(kept)
    # windows that overlap by more than half share their errors: they belong in one block
    alike = points.window_px * points.gsd * (told_by_each(points) < 1)
    side = max(float(np.sqrt(extent.prod()) / N_BLOCKS), 1.5 * float(spacing), 0.75 * alike) or 1.0
    return _numbered(np.floor((xy - low) / side).astype(np.intp))


def _numbered(cell: NDArray[np.intp]) -> NDArray[np.intp]:
    """Numbers of (N, 2) cells, a class of which is never beside another of its own."""
    _, number = np.unique(cell, axis=0, return_inverse=True)
    return np.asarray(N_BLOCK_CLASSES * number.ravel() + (cell[:, 0] + 2 * cell[:, 1]) % N_BLOCK_CLASSES)


def _cells_of_patches(points: TiePoints) -> NDArray[np.intp]:
    """(N, 2) cell of each tie point, by the middle of its patch: a patch lies in one cell, and so is withheld whole."""
    xy = points.ref_xy
    tree = spatial.cKDTree(xy)
    _, patch = csgraph.connected_components(tree.sparse_distance_matrix(tree, points.apart))
    count = np.bincount(patch)[:, None]
    middle = np.stack([np.bincount(patch, side) for side in xy.T], axis=1) / count
    pitch = float(np.median(spatial.cKDTree(middle).query(middle, k=2)[0][:, 1])) if len(middle) > 1 else 1.0
    return np.asarray(np.rint((middle - middle.min(axis=0)) / pitch).astype(np.intp)[patch])


def told_by_each(points: TiePoints) -> float:
    """Share of a tie point's errors that it does not have in common with its neighbours: less than 1 where windows overlap by
    more than half."""
    return min(1.0, (2 * points.step) ** 2)


def withheld_class(block: NDArray[np.intp]) -> int:
    """The class of blocks that holds a fair share of the tie points: at least 4, else nearest to an equal one."""
    share = np.bincount(block % N_BLOCK_CLASSES, minlength=N_BLOCK_CLASSES)
    unfair = np.abs(share - max(4, len(block) / N_BLOCK_CLASSES)) + 1e6 * (share < 4)
    return int(unfair.argmin())
