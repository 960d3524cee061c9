"""Which model the scenes of a stack need: by tie points withheld from the joint adjustment, and then scene by scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from georeg.accuracy import MAX_NULL_PX, NULL_CHANCE, UNMOVED_PX, chi2_exceeded
from georeg.adjustment import Adjusted
from georeg.choice import (
    LEAST_TYPICAL_PX,
    N_BLOCK_CLASSES,
    N_BLOCKS,
    RELEVANT_BEND_PX,
    RELEVANT_PX,
    Comparison,
    truncated,
)
from georeg.errors import FitError
from georeg.models import LADDER, FloatArray
from georeg.models.polynomial import PolynomialDisplacement
from georeg.network import Frame, Network, Solution, Ties, condense, corrections

Kind = type[PolynomialDisplacement]
Held = Mapping[int, PolynomialDisplacement]
"""Corrections of scenes that stay as they are, by the scene's number."""
KINDS: tuple[Kind, ...] = tuple(kind for kind in LADDER.values() if issubclass(kind, PolynomialDisplacement))
"""What a scene of a stack may be corrected by, the simplest first."""
SIMPLER_CHANCE = 0.01
"""A scene needs a richer model where chance would give it such coefficients with less than this probability."""


def common_kind(ties: Sequence[Ties], first: Adjusted, kinds: Sequence[Kind], held: Held, gsd: float) -> Kind:
    """The simplest model that predicts withheld tie points as well as any, taken for all scenes.

    Parameters
    ----------
    ties
        Of all pairs.
    first
        An adjustment of them, which says what pairs and how they err.
    kinds
        Among which to choose, the simplest first.
    held
        Corrections of scenes that stay as they are.
    gsd
        Working pixel size, map units.
    """
    used = [tie for tie, good in zip(ties, first.good, strict=True) if good]
    told = [tie.precision[:, 0, 0] > 0 for tie in used]
    block = _blocks(used, first.network.frame)
    losses, tried = [], []
    for kind in kinds:
        try:
            losses.append(_withheld_error2(used, block, first, kind, held, gsd))
        except FitError:  # too few tie points for it
            continue
        tried.append(kind)
    chosen = np.concatenate(told)
    error2 = np.stack(losses)[:, chosen]
    typical = max(LEAST_TYPICAL_PX, float(np.sqrt(np.median(error2, axis=1).min())))
    number = np.unique(np.concatenate(block)[chosen], return_inverse=True)[1].ravel()
    ones = np.ones(error2.shape[1])
    sides = Comparison([], np.stack([truncated(each, typical, ones) for each in error2]), ones, number)
    groups = [[k for k, kind in enumerate(tried) if (kind.degree < 2) == straight] for straight in (True, False)]
    best = [sides.simplest(group) for group in groups if group]
    taken = best[-1] if sides.improves(best[-1], best[0], RELEVANT_BEND_PX) else best[0]
    return tried[taken]


def _blocks(ties: Sequence[Ties], frame: Frame) -> list[NDArray[np.intp]]:
    """Of each tie point of each pair the number of its block of ground; a fifth of them is of each class."""
    side = 4 * frame.scale / N_BLOCKS
    cells = [np.floor((tie.tgt_xy - np.array(frame.origin_xy)) / side).astype(np.intp) + 10**6 for tie in ties]
    return [N_BLOCK_CLASSES * (10**7 * c[:, 0] + c[:, 1]) + (c[:, 0] + 2 * c[:, 1]) % N_BLOCK_CLASSES for c in cells]


def _withheld_error2(
    ties: Sequence[Ties], block: Sequence[NDArray[np.intp]], first: Adjusted, kind: Kind, held: Held, gsd: float
) -> FloatArray:
    """(T,) squared residual of each tie point by an adjustment that its block took no part in, px²."""
    network = network_of(first.network.frame, [kind if old is not None else None for old in first.network.kinds], held)
    frame = network.frame
    whole = condense(frame, ties)
    error2 = [np.zeros(len(tie.ref_xy)) for tie in ties]
    for fold in range(N_BLOCK_CLASSES):
        out_of_it = [number % N_BLOCK_CLASSES == fold for number in block]
        theta = corrections(network, whole.less(condense(frame, ties, out_of_it)), first.noise)
        for tie, mine, out in zip(ties, out_of_it, error2, strict=True):
            out[mine] = (residual_xy(frame, tie, theta)[mine] ** 2).sum(axis=1) / gsd**2
    return np.concatenate(error2)


def residual_xy(frame: Frame, tie: Ties, theta: FloatArray) -> FloatArray:
    """(N, 2) corrected reference − corrected target of the tie points of a pair, map units."""
    ref = tie.ref_xy + frame.rows(tie.ref_xy) @ theta[tie.ref]
    return np.asarray(ref - tie.tgt_xy - frame.rows(tie.tgt_xy) @ theta[tie.tgt])


def network_of(frame: Frame, kinds: Sequence[Kind | None], held: Held) -> Network:
    """Scenes to correct by these kinds, and those that are held; in a frame that is as rich as the richest of them."""
    richest = max((kind for kind in (*kinds, *map(type, held.values())) if kind is not None), key=KINDS.index)
    frame = replace(frame, kind=richest)
    n, m = len(kinds), frame.n_terms
    theta, covariance = np.zeros((n, m)), np.zeros((n, m, m))
    for scene, model in held.items():
        theta[scene], covariance[scene] = frame.of(model)
    return Network(frame, tuple(kinds), theta, covariance)


def simplest_kinds(found: Adjusted, kinds: Sequence[Kind], gsd: float) -> tuple[Kind | None, ...]:
    """Of each scene the simplest kind whose missing coefficients are chance, or move nothing that matters."""
    own = found.solution.own()
    return tuple(
        None if kind is None else _simplest(found.network.frame, kinds, theta, covariance, gsd)
        for kind, theta, covariance in zip(found.network.kinds, found.solution.theta, own, strict=True)
    )


def _simplest(frame: Frame, kinds: Sequence[Kind], theta: FloatArray, covariance: FloatArray, gsd: float) -> Kind:
    for kind in kinds[:-1]:
        basis = frame.basis(kind)
        inverse = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
        nearest = basis @ np.linalg.lstsq(basis.T @ inverse @ basis, basis.T @ inverse @ theta, rcond=None)[0]
        left = theta - nearest
        limit_px = RELEVANT_PX if kinds[-1].degree < 2 else RELEVANT_BEND_PX
        freedom = frame.basis(kinds[-1]).shape[1] - basis.shape[1]
        if (
            moved_px(frame, left, gsd) <= limit_px
            or chi2_exceeded(float(left @ inverse @ left), freedom) >= SIMPLER_CHANCE
        ):
            return kind
    return kinds[-1]


def is_still(frame: Frame, theta: FloatArray, covariance: FloatArray, gsd: float) -> bool:
    """Whether a correction cannot be told from none."""
    size_px = moved_px(frame, theta, gsd)
    if size_px <= UNMOVED_PX:
        return True
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
    value = float(theta @ np.linalg.pinv(covariance, rcond=1e-10, hermitian=True) @ theta)
    return size_px <= MAX_NULL_PX and chi2_exceeded(value, rank) >= NULL_CHANCE


def moved_px(frame: Frame, theta: FloatArray, gsd: float) -> float:
    """Root mean square of a displacement over ground of the extent of all scenes, pixels."""
    xy = frame.ground()
    return float(np.sqrt(((frame.rows(xy) @ theta) ** 2).sum(axis=1).mean())) / gsd


def model_of(found: Solution, frame: Frame, scene: int, kind: Kind) -> PolynomialDisplacement:
    """The correction of a scene, as a model of its kind."""
    basis = frame.basis(kind)
    back = np.linalg.pinv(basis)
    coefficients = (kind._unknowns() @ (back @ found.theta[scene])).reshape(-1, 2)
    covariance = back @ found.own()[scene] @ back.T
    return kind(frame.origin_xy, frame.scale, coefficients, (covariance + covariance.T) / 2)
