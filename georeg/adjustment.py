"""One correction for each of many scenes from tie points between pairs of them: the joint adjustment.

Of every pair all that its tie points say of the two corrections is condensed to normal equations once. A pair as a whole errs
too, by shadows, seasons or relief: each has an effect of its own, of a variance that is estimated with the corrections so that
the loops close as well as they should (Paule and Mandel, 1982, doi:10.6028/jres.087.022). A pair that does not fit to the
others is found by its misclosure and left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from georeg.accuracy import chi2_exceeded
from georeg.errors import FitError
from georeg.lazily import Lazily
from georeg.models import FloatArray
from georeg.models.polynomial import PolynomialDisplacement

sparse, splu = Lazily("scipy.sparse"), Lazily("scipy.sparse.linalg")
BAD_CHANCE = 1e-4
"""A pair is left out where chance makes its misclosure as large with less than this probability."""
LEAST_BAD_PX = 0.05
"""And where it is larger than this, root mean square over the ground."""
REACH = 1.2247
"""Half the side of a square whose points have a root mean square distance of 1 from its middle."""
LEAST_DOUBT_PX = 0.01
"""What would move a scene by less raises no doubt."""
LEAST_KAPPA = 0.01
_ROUNDS = 12
_STEPS = 40


@dataclass(frozen=True, eq=False)
class Ties:
    """What a pair of scenes says: N tie points in the CRS of the stack."""

    ref: int
    """Number of the scene that was the reference of the pair."""
    tgt: int
    ref_xy: FloatArray
    """(N, 2) as the scene's own georeferencing has them."""
    tgt_xy: FloatArray
    """(N, 2) as the scene's own georeferencing has them."""
    precision: FloatArray
    """(N, 2, 2) inverse covariances, map units⁻²; zero for what is a mismatch or is withheld to check."""


@dataclass(frozen=True)
class Frame:
    """The coordinates in which all corrections are expressed, and the richest kind of them."""

    kind: type[PolynomialDisplacement]
    origin_xy: tuple[float, float]
    scale: float

    @property
    def n_terms(self) -> int:
        """Coefficients of both axes."""
        return 2 * len(self.kind.exponents())

    def rows(self, xy: FloatArray) -> FloatArray:
        """(N, 2, m) displacements per coefficient."""
        uv = (xy - np.array(self.origin_xy)) / self.scale
        design = self.kind._design(uv)
        rows = np.zeros((len(uv), 2, design.shape[1], 2))
        rows[:, 0, :, 0] = rows[:, 1, :, 1] = design
        return np.asarray(rows.reshape(len(uv), 2, 2 * design.shape[1]))

    def ground(self) -> FloatArray:
        """(25, 2) places all over the ground, to the edges of a square that is covered evenly."""
        side = np.linspace(-REACH, REACH, 5) * self.scale
        x, y = np.meshgrid(side, side)
        return np.asarray(np.stack([x.ravel(), y.ravel()], axis=1) + self.origin_xy)

    def of(self, model: PolynomialDisplacement) -> tuple[FloatArray, FloatArray]:
        """Coefficients (m,) in this frame of a model that is no richer, and their covariance (m, m)."""
        xy = self.ground()
        back = np.linalg.pinv(self.rows(xy).reshape(-1, self.n_terms))
        turned = back @ model._rows(model._scaled(xy)).reshape(len(back.T), -1)
        return np.asarray(back @ model.displacement(xy).ravel()), np.asarray(turned @ model.covariance @ turned.T)

    def basis(self, kind: type[PolynomialDisplacement]) -> FloatArray:
        """(m, p) coefficients of this frame per unknown of a simpler kind."""
        own = kind._unknowns()
        return np.concatenate([own, np.zeros((self.n_terms - len(own), own.shape[1]))])


@dataclass(frozen=True, eq=False)
class Evidence:
    """Normal equations of K pairs: ``information`` · effect = ``right`` + ``across`` · θ_ref − ``information`` · θ_tgt."""

    ref: NDArray[np.intp]
    """(K,) number of a scene."""
    tgt: NDArray[np.intp]
    information: FloatArray
    """(K, m, m)"""
    across: FloatArray
    """(K, m, m)"""
    right: FloatArray
    """(K, m)"""
    values: FloatArray = field(init=False)
    """(K, m) eigenvalues of the information, 0 for what is not known."""
    vectors: FloatArray = field(init=False)
    """(K, m, m) its eigenvectors, in columns."""

    def __post_init__(self) -> None:
        values, vectors = np.linalg.eigh(self.information)
        object.__setattr__(self, "values", np.where(values > 1e-9 * values[:, -1:], values, 0.0))
        object.__setattr__(self, "vectors", vectors)

    @property
    def rank(self) -> NDArray[np.intp]:
        """(K,) directions known."""
        return np.asarray((self.values > 0).sum(axis=1))

    def subset(self, chosen: NDArray[np.bool_]) -> Evidence:
        """Of some pairs."""
        return Evidence(*(getattr(self, n)[chosen] for n in ("ref", "tgt", "information", "across", "right")))

    def less(self, other: Evidence) -> Evidence:
        """Without what another, of the same pairs, is of."""
        arrays = (getattr(self, n) - getattr(other, n) for n in ("information", "across", "right"))
        return Evidence(self.ref, self.tgt, *arrays)

    def weights(self, noise: Noise) -> FloatArray:
        """(K, m, m) inverse covariances of what is left of the normal equations."""
        spread = noise.kappa * self.values + noise.variance * self.values**2
        with np.errstate(divide="ignore"):
            inverse = np.where(self.values > 0, 1 / spread, 0.0)
        return np.asarray((self.vectors * inverse[:, None, :]) @ self.vectors.swapaxes(1, 2))

    def left(self, theta: FloatArray) -> FloatArray:
        """(K, m) what the corrections (N, m) leave of the normal equations."""
        return np.asarray(self.right + _times(self.across, theta[self.ref]) - _times(self.information, theta[self.tgt]))

    def effect(self, theta: FloatArray) -> FloatArray:
        """(K, m) by which each pair departs from the corrections, where it is known."""
        with np.errstate(divide="ignore"):
            inverse = np.where(self.values > 0, 1 / self.values, 0.0)
        return _times((self.vectors * inverse[:, None, :]) @ self.vectors.swapaxes(1, 2), self.left(theta))

    def misclosure2(self, theta: FloatArray, noise: Noise) -> FloatArray:
        """(K,) of each pair, as a χ² variable."""
        left = self.left(theta)
        return np.asarray(np.einsum("ki,kij,kj->k", left, self.weights(noise), left))


@dataclass(frozen=True)
class Noise:
    """How pairs err beside their tie points."""

    kappa: float = 1.0
    """Share of the tie points' own variance that is not common to all pairs of a scene: what is common closes all loops."""
    variance: float = 0.0
    """Of the effect of a pair, of each coefficient, map units²."""


@dataclass(frozen=True, eq=False)
class Network:
    """Which corrections are unknown, and of what kind."""

    frame: Frame
    kinds: tuple[type[PolynomialDisplacement] | None, ...]
    """Of each of N scenes; None for one that is held."""
    theta: FloatArray
    """(N, m) coefficients, of those that are held."""
    covariance: FloatArray
    """(N, m, m) of those that are held."""

    @property
    def free(self) -> list[int]:
        """Numbers of the scenes to correct."""
        return [k for k, kind in enumerate(self.kinds) if kind is not None]

    @property
    def is_mean(self) -> bool:
        """Whether no scene is held, so that the mean of all is."""
        return len(self.free) == len(self.kinds)

    def bases(self) -> list[FloatArray]:
        """Of each scene to correct."""
        return [self.frame.basis(kind) for kind in self.kinds if kind is not None]

    @property
    def n_unknowns(self) -> int:
        """Unknowns, less what holding the mean decides."""
        sizes = [basis.shape[1] for basis in self.bases()]
        return int(sum(sizes) - (min(sizes) if self.is_mean else 0))


@dataclass(frozen=True, eq=False)
class Solution:
    """Corrections of all scenes."""

    theta: FloatArray
    """(N, m) coefficients."""
    covariance: FloatArray
    """(N, m, N, m) of all of them; of scenes that are held, none with others."""

    def own(self) -> FloatArray:
        """(N, m, m) of each by itself."""
        n = len(self.theta)
        return np.asarray(self.covariance[np.arange(n), :, np.arange(n), :])


@dataclass(frozen=True, eq=False)
class Adjusted:
    """The joint adjustment."""

    network: Network
    evidence: Evidence
    solution: Solution
    good: NDArray[np.bool_]
    """(K,) False for pairs that contradict the others."""
    noise: Noise
    freedom: int
    """Conditions that the loops add to what the unknowns need; 0: nothing is checked by loops."""


def condense(frame: Frame, ties: Sequence[Ties], chosen: Sequence[NDArray[np.bool_]] | None = None) -> Evidence:
    """Normal equations of pairs, of all or the ``chosen`` (N,) tie points of each."""
    m, n = frame.n_terms, len(ties)
    information, across, right = np.zeros((n, m, m)), np.zeros((n, m, m)), np.zeros((n, m))
    for k, tie in enumerate(ties):
        told = tie.precision[:, 0, 0] > 0
        told &= True if chosen is None else chosen[k]
        ref_rows, tgt_rows = frame.rows(tie.ref_xy[told]), frame.rows(tie.tgt_xy[told])
        weighted = (tie.precision[told] @ tgt_rows).reshape(-1, m).T
        information[k] = weighted @ tgt_rows.reshape(-1, m)
        across[k] = weighted @ ref_rows.reshape(-1, m)
        right[k] = weighted @ (tie.ref_xy - tie.tgt_xy)[told].ravel()
    information = (information + information.swapaxes(1, 2)) / 2
    ref, tgt = np.array([tie.ref for tie in ties], np.intp), np.array([tie.tgt for tie in ties], np.intp)
    return Evidence(ref, tgt, information, across, right)


def solve(network: Network, evidence: Evidence, noise: Noise, share: FloatArray | None = None) -> Solution:
    """Corrections by weighted least squares; each pair counts by its ``share`` (K,), 0 to 1.

    Raises
    ------
    FitError
        The pairs do not hold all of them.
    """
    n, m = network.theta.shape
    system = _System(network, evidence, noise, share)
    inverse = system.inverse()
    covariance = (system.select @ (system.select @ inverse).T).reshape(n, m, n, m)
    fixed = [k for k, kind in enumerate(network.kinds) if kind is None]
    covariance[fixed, :, fixed, :] = network.covariance[fixed]
    return Solution(system.theta(), covariance)


def corrections(network: Network, evidence: Evidence, noise: Noise) -> FloatArray:
    """(N, m) as `solve`, without their covariance."""
    return _System(network, evidence, noise).theta()


class _System:
    """The normal equations of all unknowns, factorised."""

    def __init__(self, network: Network, evidence: Evidence, noise: Noise, share: FloatArray | None = None) -> None:
        n, m = network.theta.shape
        self.network, self.select = network, _selection(network)
        weights = evidence.weights(noise) * (1.0 if share is None else share[:, None, None])
        design = np.concatenate([evidence.across, -evidence.information], axis=2)
        left = design.swapaxes(1, 2) @ weights
        at = np.concatenate([scene[:, None] * m + np.arange(m) for scene in (evidence.ref, evidence.tgt)], axis=1)
        shape = (*at.shape, 2 * m)
        places = np.broadcast_to(at[:, :, None], shape).ravel(), np.broadcast_to(at[:, None, :], shape).ravel()
        normal = sparse.coo_matrix(((left @ design).ravel(), places), shape=(n * m, n * m)).tocsc()
        held = -_times(left, evidence.left(network.theta))
        self.right = self.select.T @ np.bincount(at.ravel(), held.ravel(), minlength=n * m)
        self.size = len(self.right)
        reduced = self.select.T @ normal @ self.select
        self.scale = float(reduced.diagonal().mean()) or 1.0
        try:
            self.factors = splu.splu(_bordered(network, reduced / self.scale))
        except RuntimeError as exc:  # singular
            raise _unheld() from exc

    def theta(self) -> FloatArray:
        """(N, m) coefficients of all scenes."""
        right = np.zeros(self.factors.shape[0])
        right[: self.size] = self.right / self.scale
        unknowns = self.factors.solve(right)[: self.size]
        if not np.isfinite(unknowns).all():
            raise _unheld()
        return np.asarray(self.network.theta + (self.select @ unknowns).reshape(self.network.theta.shape))

    def inverse(self) -> FloatArray:
        """Covariance of the unknowns."""
        inverse = self.factors.solve(np.eye(self.factors.shape[0], self.size))[: self.size]
        if not np.isfinite(inverse).all() or (np.diag(inverse) < 0).any():
            raise _unheld()
        return np.asarray((inverse + inverse.T) / (2 * self.scale))


def _selection(network: Network) -> Any:
    """(N m, unknowns) coefficients per unknown, sparse."""
    m = network.frame.n_terms
    bases = iter(network.bases())
    blocks = [np.zeros((m, 0)) if kind is None else next(bases) for kind in network.kinds]
    return sparse.block_diag([sparse.csc_matrix(block) for block in blocks], format="csc")


def _bordered(network: Network, normal: Any) -> Any:
    """Sparse equations; where the mean is held, with what all kinds have in common about them."""
    if not network.is_mean:
        return normal.tocsc()
    bases = network.bases()
    common = min(bases, key=lambda basis: int(basis.shape[1]))
    border = sparse.csc_matrix(np.concatenate([common.T @ basis for basis in bases], axis=1))
    return sparse.bmat([[normal, border.T], [border, None]], format="csc")


def _unheld() -> FitError:
    return FitError(
        "the pairs do not hold the corrections of all scenes; choose a simpler --model, more --max-points or more --links"
    )


def adjust(network: Network, evidence: Evidence, gsd: float, good: NDArray[np.bool_] | None = None) -> Adjusted:
    """The corrections of all scenes, the pairs that contradict the others, and how much pairs err.

    Parameters
    ----------
    network
        Scenes that pairs connect.
    evidence
        Of the pairs.
    gsd
        Working pixel size, map units.
    good
        (K,) pairs that are taken for right; by default it is found out.

    Raises
    ------
    FitError
        The pairs do not hold all corrections.
    """
    every = np.ones(len(evidence.ref), bool)
    if good is not None or _freedom(network, evidence, every) == 0:
        good = every if good is None else good
        return _estimated(network, evidence, good)
    start = _resistant(network, evidence, gsd)
    noise = _typical_noise(evidence, start.theta, _freedom(network, evidence, every))
    good = ~_contradicting(network, evidence, start, noise, every, gsd)
    seen = {good.tobytes()}
    for _ in range(_ROUNDS):
        found = _estimated(network, evidence, _connecting(network, evidence, good))
        now = ~_contradicting(network, evidence, found.solution, found.noise, found.good, gsd)
        if now.tobytes() in seen:
            break
        seen.add(now.tobytes())
        good = now
    return found


def _estimated(network: Network, evidence: Evidence, good: NDArray[np.bool_]) -> Adjusted:
    """By the good pairs alone."""
    used, freedom = evidence.subset(good), _freedom(network, evidence, good)
    noise = Noise() if freedom == 0 else _noise(network, used, freedom)
    return Adjusted(network, evidence, solve(network, used, noise), good, noise, freedom)


def _freedom(network: Network, evidence: Evidence, good: NDArray[np.bool_]) -> int:
    return max(0, int(evidence.rank[good].sum()) - network.n_unknowns)


def _noise(network: Network, evidence: Evidence, freedom: int) -> Noise:
    """With which the misclosures are as large as they should be."""

    def excess(noise: Noise) -> float:
        theta = corrections(network, evidence, noise)
        return float(evidence.misclosure2(theta, noise).sum()) / freedom

    least = excess(Noise())
    if least <= 1:
        return Noise(kappa=max(least, LEAST_KAPPA))
    return Noise(variance=_root(lambda variance: excess(Noise(variance=variance)), evidence))


def _root(excess: Callable[[float], float], evidence: Evidence) -> float:
    """Where a falling function of a variance is 1, to 2 %."""
    known = evidence.values[evidence.values > 0]
    low = high = 1 / float(np.median(known))
    while excess(high) > 1:
        low, high = high, 4 * high
    while excess(low) <= 1 and low > 1e-12 * high:
        low, high = low / 4, low
    while high > 1.04 * low:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if excess(middle) > 1 else (low, middle)
    return math.sqrt(low * high)


def _resistant(network: Network, evidence: Evidence, gsd: float) -> Solution:
    """Corrections that pairs which contradict the others hardly move: least sums of misclosures instead of their squares."""
    noise = Noise(variance=(LEAST_BAD_PX * gsd) ** 2)
    share = np.ones(len(evidence.ref))
    for _ in range(_STEPS):
        theta = _System(network, evidence, noise, share).theta()
        size = np.sqrt(evidence.misclosure2(theta, noise) / np.maximum(evidence.rank, 1))
        before, share = share, 1 / np.maximum(size, 0.1)
        share /= share.max()
        if np.abs(share - before).max() < 0.02:
            break
    return solve(network, evidence, noise, share)


def _typical_noise(evidence: Evidence, theta: FloatArray, freedom: int) -> Noise:
    """By the median of the misclosures, which few bad pairs do not change."""
    expected = 0.9 * freedom / float(evidence.rank.sum())

    def excess(variance: float) -> float:
        each = evidence.misclosure2(theta, Noise(variance=variance)) / np.maximum(evidence.rank, 1)
        return float(np.median(each)) / expected

    return Noise() if excess(0.0) <= 1 else Noise(variance=_root(excess, evidence))


def _contradicting(
    network: Network, evidence: Evidence, found: Solution, noise: Noise, good: NDArray[np.bool_], gsd: float
) -> NDArray[np.bool_]:
    """(K,) True for pairs whose misclosure is neither chance nor harmless."""
    size_px = misclosure_px(network.frame, evidence, found.theta, gsd)
    share = max(_freedom(network, evidence, good), 1) / max(int(evidence.rank[good].sum()), 1)
    with np.errstate(divide="ignore"):
        inverse = np.where(evidence.values > 0, 1 / evidence.values, 0.0)
    effect = evidence.effect(found.theta)
    bad = np.zeros(len(good), bool)
    for k, (i, j) in enumerate(zip(evidence.ref, evidence.tgt, strict=True)):
        if size_px[k] <= LEAST_BAD_PX:
            continue
        known, along = evidence.values[k] > 0, evidence.vectors[k]
        own = (noise.kappa * inverse[k] + noise.variance) * known
        expected = np.diag(np.where(known, own * (share if good[k] else 1.0), 1.0))
        if not good[k]:
            told = found.covariance
            predicted = told[i, :, i] + told[j, :, j] - told[i, :, j] - told[j, :, i]
            expected = expected + (along.T @ predicted @ along) * np.outer(known, known)
        off = (along.T @ effect[k]) * known
        bad[k] = chi2_exceeded(float(off @ np.linalg.solve(expected, off)), int(known.sum())) < BAD_CHANCE
    return bad


def misclosure_px(frame: Frame, evidence: Evidence, theta: FloatArray, gsd: float) -> FloatArray:
    """(K,) by which each pair departs from the corrections, root mean square over ground of the extent of all, pixels."""
    rows = frame.rows(frame.ground())
    moved = rows.reshape(-1, frame.n_terms) @ evidence.effect(theta).T
    return np.asarray(np.sqrt((moved**2).sum(axis=0) / len(rows)) / gsd)


def _connecting(network: Network, evidence: Evidence, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The good pairs, and of the others those without which some scenes would hang on none: the best of them first."""
    label = np.arange(len(network.kinds))
    fixed = [k for k, kind in enumerate(network.kinds) if kind is None]
    if fixed:
        label[fixed] = fixed[0]
    kept = good.copy()

    def join(k: int) -> bool:
        one, other = label[evidence.ref[k]], label[evidence.tgt[k]]
        label[label == other] = one
        return bool(one != other)

    for k in np.flatnonzero(good):
        join(int(k))
    for k in np.flatnonzero(~good):
        kept[k] = join(int(k))
    return kept


@dataclass(frozen=True)
class Doubt:
    """What a scene's correction would be if a pair that was left out were right and another wrong, with nothing against it."""

    apart_px: float
    """By how much it would be another, root mean square over the ground."""
    scenes: frozenset[int]
    """Of the pairs that were left out."""


def doubts(found: Adjusted, gsd: float) -> dict[int, Doubt]:
    """Of each scene for which there is one, the largest."""
    network, evidence = found.network, found.evidence
    rows = network.frame.rows(network.frame.ground()).reshape(-1, network.frame.n_terms)
    worst: dict[int, Doubt] = {}
    for k in np.flatnonzero(~found.good):
        ends = [int(evidence.ref[k]), int(evidence.tgt[k])]
        beside = found.good & (np.isin(evidence.ref, ends) | np.isin(evidence.tgt, ends))
        for other in np.flatnonzero(beside):
            good = found.good.copy()
            good[k], good[other] = True, False
            instead = _if(found, good, gsd)
            if instead is None:
                continue
            moved = (instead.theta - found.solution.theta) @ rows.T
            apart_px = np.sqrt((moved**2).sum(axis=1) / (len(rows) / 2)) / gsd
            for scene in network.free:
                before = worst.get(scene, Doubt(0.0, frozenset()))
                if apart_px[scene] > max(before.apart_px, LEAST_DOUBT_PX):
                    worst[scene] = Doubt(float(apart_px[scene]), before.scenes.union(ends))
    return worst


def _if(found: Adjusted, good: NDArray[np.bool_], gsd: float) -> Solution | None:
    """The corrections if other pairs were the good ones; None where these contradict each other, or do not hold all."""
    network, evidence = found.network, found.evidence
    if not np.array_equal(_connecting(network, evidence, good), good):
        return None
    try:
        instead = solve(network, evidence.subset(good), found.noise)
    except FitError:
        return None
    against = _contradicting(network, evidence, instead, found.noise, good, gsd) & good
    return None if against.any() else instead


def _times(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """(K, m) of (K, m, n) and (K, n)."""
    return np.asarray(np.einsum("kij,kj->ki", matrices, vectors))


def with_common_noise(found: Adjusted) -> Adjusted:
    """The same with the variance of the scenes that are held, and what all pairs of a scene have in common: no loop shows them.

    Half of a pair's own variance is of either scene.
    """
    common = 1 - found.noise.kappa
    network, evidence = found.network, found.evidence.subset(found.good)
    covariance = found.solution.covariance.copy()
    held = [k for k, kind in enumerate(network.kinds) if kind is None]
    if held:  # what they err by, the scenes that are tied to them err by
        for scene in network.free:
            covariance[scene, :, scene, :] += network.covariance[held].mean(axis=0)
    if common <= 0:
        return replace(found, solution=Solution(found.solution.theta, covariance))
    share = np.zeros_like(found.solution.own())
    for scene in range(len(network.kinds)):
        mine = (evidence.ref == scene) | (evidence.tgt == scene)
        kind = network.kinds[scene] or min((k for k in network.kinds if k), key=lambda k: int(k._unknowns().shape[1]))
        basis = network.frame.basis(kind)
        information = (
            basis.T @ evidence.information[mine].mean(axis=0) @ basis if mine.any() else np.eye(basis.shape[1])
        )
        share[scene] = basis @ np.linalg.pinv(information) @ basis.T * common / 2
    for scene in network.free:
        covariance[scene, :, scene, :] += share[scene] + (share[held].mean(axis=0) if held else 0.0)
    return replace(found, solution=Solution(found.solution.theta, covariance))
