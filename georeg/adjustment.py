"""One correction for each of many scenes from tie points between pairs of them: the joint adjustment.

Of every pair all that its tie points say of the two corrections is condensed to normal equations once. A pair as a whole errs
too, by shadows, seasons or relief: each has an effect of its own, of a variance that is estimated with the corrections so that
the loops close as well as they should (Paule and Mandel, 1982, doi:10.6028/jres.087.022). A pair that does not fit to the
others is found by its misclosure and left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from georeg.accuracy import chi2_exceeded
from georeg.errors import FitError
from georeg.models import FloatArray
from georeg.network import Evidence, Network, Noise, Solution, System, corrections, misclosure_px, solve

BAD_CHANCE = 1e-4
"""A pair is left out where chance makes its misclosure as large with less than this probability."""
LEAST_BAD_PX = 0.05
"""And where it is larger than this, root mean square over the ground."""
LEAST_DOUBT_PX = 0.01
"""What would move a scene by less raises no doubt."""
LEAST_KAPPA = 0.01
_ROUNDS = 12
_STEPS = 40


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
        theta = System(network, evidence, noise, share).theta()
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


def _connecting(network: Network, evidence: Evidence, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The good pairs, and of the others as many as it takes that no scene hangs on none."""
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
