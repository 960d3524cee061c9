"""Corrections of the scenes of a stack from their measured pairs: the joint adjustment, by the simplest models that do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pyproj import CRS

from georeg.adjustment import Adjusted, adjust, with_common_noise
from georeg.errors import FitError
from georeg.extrapolation import flaw
from georeg.fit import Fit, Role
from georeg.network import Frame, Ties, condense
from georeg.placement import transform_xy
from georeg.stack_choice import Held, Kind, common_kind, model_of, network_of, simplest_kinds


def in_crs(fitted: Fit, crs: CRS) -> Fit:
    """The same tie points in the CRS of the stack; the model of the pair is not used any more."""
    points = fitted.points
    old = CRS.from_wkt(points.crs)
    if old == crs:
        return fitted
    ref, tgt = (transform_xy(xy, old, crs) for xy in (points.ref_xy, points.tgt_xy))
    step = points.gsd
    across, up = (
        (transform_xy(points.tgt_xy + side, old, crs) - transform_xy(points.tgt_xy - side, old, crs)) / (2 * step)
        for side in (np.array([step, 0.0]), np.array([0.0, step]))
    )
    turn = np.stack([across, up], axis=2)
    outline = transform_xy(points.outline_xy, old, crs) if len(points.outline_xy) else points.outline_xy
    scale = float(np.sqrt(np.abs(np.linalg.det(turn)).mean())) if len(turn) else 1.0
    cov = turn @ points.cov @ turn.swapaxes(1, 2)
    moved = replace(
        points, ref_xy=ref, tgt_xy=tgt, cov=cov, crs=crs.to_wkt(), gsd=points.gsd * scale, outline_xy=outline
    )
    return replace(fitted, points=moved)


def ties_of(fitted: Fit, ref: int, tgt: int) -> Ties:
    """What a pair says: its tie points but for mismatches and check points, each by its own covariance."""
    points = fitted.points
    own = points.cov + (fitted.sigma_px * points.gsd) ** 2 * np.eye(2)
    precision = np.linalg.inv(own) / points.redundancy[:, None, None]
    precision[fitted.role != Role.FIT] = 0.0
    return Ties(ref, tgt, points.ref_xy, points.tgt_xy, precision)


def solved(ties: Sequence[Ties], n: int, held: Held, kinds: Sequence[Kind], gsd: float) -> Adjusted:
    """The joint adjustment, by the simplest models that do."""
    xy = np.concatenate([tie.tgt_xy[tie.precision[:, 0, 0] > 0] for tie in ties])
    middle = xy.mean(axis=0)
    frame = Frame(
        kinds[-1], (float(middle[0]), float(middle[1])), float(np.sqrt(((xy - middle) ** 2).sum(axis=1).mean()))
    )
    kind = kinds[0]
    if len(kinds) > 1:
        kind = common_kind(ties, _first(ties, frame, n, held, kinds, gsd), kinds, held, gsd)
    network = network_of(frame, _all(kind, n, held), held)
    found = adjust(network, condense(network.frame, ties), gsd)
    simpler = kinds[: kinds.index(kind) + 1]
    wanted = list(simplest_kinds(found, simpler, gsd))
    while wanted != list(found.network.kinds):
        network = replace(network, kinds=tuple(wanted))
        found = adjust(network, found.evidence, gsd, found.good)
        wanted = _sound(found, ties, simpler, gsd)
    return with_common_noise(found)


def _first(ties: Sequence[Ties], frame: Frame, n: int, held: Held, kinds: Sequence[Kind], gsd: float) -> Adjusted:
    """An adjustment by affine maps, or by what simpler model the tie points allow."""
    usual = [kind for kind in kinds if kind.degree < 2] or list(kinds[:1])
    for kind in reversed(usual):
        network = network_of(frame, _all(kind, n, held), held)
        try:
            return adjust(network, condense(network.frame, ties), gsd)
        except FitError:
            if kind is usual[0]:
                raise
    raise AssertionError


def _all(kind: Kind, n: int, held: Held) -> list[Kind | None]:
    return [None if k in held else kind for k in range(n)]


def _sound(found: Adjusted, ties: Sequence[Ties], kinds: Sequence[Kind], gsd: float) -> list[Kind | None]:
    """The kinds of all scenes, of which those that fold or run away give way to simpler ones.

    Raises
    ------
    FitError
        There is none simpler among the kinds that may be taken.
    """
    wanted, frame = list(found.network.kinds), found.network.frame
    for scene, kind in enumerate(found.network.kinds):
        if kind is None or kind.degree < 2:
            continue
        model = model_of(found.solution, frame, scene, kind)
        mine = [tie for tie in ties if scene in (tie.ref, tie.tgt)]
        at_xy = np.concatenate([tie.tgt_xy if tie.tgt == scene else tie.ref_xy for tie in mine])
        fault = flaw(model, at_xy, frame.ground(), gsd)
        if fault is None:
            continue
        if kind is kinds[0]:
            raise FitError(f"refused: the {kind.kind} model of a scene {fault}; choose a simpler --model, or auto")
        wanted[scene] = kinds[kinds.index(kind) - 1]
    return wanted
