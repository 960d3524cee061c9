"""What became of the scenes, pairs and loops of a stack that is adjusted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from georeg.adjustment import Adjusted, Doubt, doubts
from georeg.align import assess
from georeg.choice import Candidate
from georeg.errors import GeoregError, MatchError, VerificationError
from georeg.fit import Fit
from georeg.graph import triangles
from georeg.models import FloatArray, Translation
from georeg.models.polynomial import PolynomialDisplacement
from georeg.network import Ties
from georeg.options import InputOptions, LimitOptions
from georeg.stack_choice import is_still, model_of, moved_px, residual_xy
from georeg.stack_inputs import Entry
from georeg.stack_pairs import Measured
from georeg.stack_result import Loops, StackPair, StackScene
from georeg.tie_points import Inputs, TiePoints

MAX_DOUBT_PX = 0.3
"""A scene that could as well lie further away than this, if other pairs were the wrong ones, is refused; of less it is only
less certain."""


def pairs_of(
    measured: Sequence[Measured], used: Sequence[Measured], found: Adjusted, ties: Sequence[Ties], gsd: float
) -> tuple[StackPair, ...]:
    away_px = _departures_px(found, ties, gsd)
    of = {
        pair.link: StackPair(
            *pair.link,
            "used" if good else "contradicts the others",
            int((tie.precision[:, 0, 0] > 0).sum()),
            px,
        )
        for pair, good, tie, px in zip(used, found.good, ties, away_px, strict=True)
    }
    return tuple(
        of[pair.link]
        if pair.link in of
        else StackPair(*pair.link, "refused" if pair.fitted is None else "hangs on no other", error=pair.error)
        for pair in measured
    )


def _departures_px(found: Adjusted, ties: Sequence[Ties], gsd: float) -> list[float]:
    """By which each pair departs from the corrections of both scenes, root mean square over its own tie points."""
    frame, effects = found.network.frame, found.evidence.effect(found.solution.theta)
    moved = (
        frame.rows(tie.tgt_xy[tie.precision[:, 0, 0] > 0]) @ effect for tie, effect in zip(ties, effects, strict=True)
    )
    return [float(np.sqrt((xy**2).sum(axis=1).mean())) / gsd for xy in moved]


def loops_of(found: Adjusted, ties: Sequence[Ties], gsd: float) -> Loops:
    """How the mean displacements of the pairs that are used add up around triangles."""
    frame, theta = found.network.frame, found.solution.theta
    of: dict[tuple[int, int], FloatArray] = {}
    for tie, good in zip(ties, found.good, strict=True):
        if good:
            weights = tie.precision
            left = np.einsum("nij,nj->i", weights, residual_xy(frame, tie, theta))
            of[tie.ref, tie.tgt] = np.linalg.solve(weights.sum(axis=0), left)
    open_by = [of[i, j] + of[j, k] - of[i, k] for i, j, k in triangles(of)]
    if not open_by:
        return Loops(0, None, None, None)
    px = np.hypot(*np.array(open_by).T) / gsd
    return Loops(len(px), float(np.median(px)), float(np.percentile(px, 90)), float(px.max()))


def warnings_of(entries: Sequence[Entry], members: Sequence[int], found: Adjusted) -> tuple[str, ...]:
    evidence = found.evidence
    held_by = Counter(int(k) for end in (evidence.ref, evidence.tgt) for k in end[found.good])
    alone = [os.path.basename(entries[members[k]].path) for k in found.network.free if held_by[k] == 1]
    said = []
    if alone:
        named = ", ".join(alone[:5]) + (" and others" if len(alone) > 5 else "")
        said.append(
            f"{len(alone)} scenes are held by one pair alone, which no loop checks: {named}; a larger --links may help"
        )
    return tuple(said)


def reason_of(scene: int, measured: Sequence[Measured]) -> GeoregError:
    """Why a scene hangs together with no other."""
    mine = [pair for pair in measured if scene in pair.link]
    told = Counter(pair.error for pair in mine if pair.error).most_common(1)
    why = f"; most often: {told[0][0]}" if told else ""
    return MatchError(
        f"refused: none of its {len(mine)} pairs ties it to the others{why}"
        if mine
        else "refused: it shares no ground with others"
    )


@dataclass(frozen=True, eq=False)
class Scenes:
    """Makes the result of each scene."""

    entries: Sequence[Entry]
    members: Sequence[int]
    found: Adjusted
    fits: Sequence[Fit]
    ties: Sequence[Ties]
    gsd: float
    limits: LimitOptions
    inputs: InputOptions

    def result(self, k: int, measured: Sequence[Measured]) -> StackScene:
        """What became of one entry."""
        entry = self.entries[k]
        kept = StackScene(entry.path, entry.date, None, None, 0, error=entry.error or reason_of(k, measured))
        if entry.held is not None:
            return replace(kept, model=entry.held, error=None, held=True, sigma_px=self._sigma_px(entry.held))
        if k not in self.members:
            return kept
        scene = self.members.index(k)
        mine = [n for n, tie in enumerate(self.ties) if self.found.good[n] and scene in (tie.ref, tie.tgt)]
        kept = replace(kept, n_pairs=len(mine), error=None)
        try:
            self._refuse_doubtful(scene)
            alignment = assess(self._fit(scene, mine), self.limits, decided=True)
        except GeoregError as exc:
            return replace(kept, error=exc)
        model = alignment.model
        assert isinstance(model, PolynomialDisplacement)
        return replace(kept, model=model, sigma_px=self._sigma_px(model), alignment=alignment)

    @cached_property
    def _doubts(self) -> dict[int, Doubt]:
        return {} if self.found.good.all() else doubts(self.found, self.gsd)

    def _refuse_doubtful(self, scene: int) -> None:
        doubt = self._doubts.get(scene)
        if doubt is not None and doubt.apart_px > MAX_DOUBT_PX:
            names = sorted(os.path.basename(self.entries[self.members[k]].path) for k in doubt.scenes)
            raise VerificationError(
                f"refused as ambiguous: pairs of {', '.join(names)} contradict each other, and nothing tells which are wrong: it "
                f"could as well lie {doubt.apart_px:.2g} px away; give more scenes or a larger --links"
            )

    def _sigma_px(self, model: PolynomialDisplacement) -> float:
        covariance = model.covariance_at(self.found.network.frame.ground())
        return float(np.sqrt(np.trace(covariance, axis1=1, axis2=2).mean() / 2)) / self.gsd

    def _model(self, scene: int) -> PolynomialDisplacement:
        """Its correction, which is none if it cannot be told from none: then as uncertain as what was found is large."""
        frame, solution = self.found.network.frame, self.found.solution
        kind, theta = self.found.network.kinds[scene], solution.theta[scene]
        assert kind is not None
        model: PolynomialDisplacement = model_of(solution, frame, scene, kind)
        if scene in self._doubts:
            model = model.less_certain((self._doubts[scene].apart_px * self.gsd) ** 2 / 2)
        if not is_still(frame, theta, solution.own()[scene], self.gsd):
            return model
        moved = moved_px(frame, theta, self.gsd) * self.gsd
        covariance = model.covariance_at(frame.ground()).mean(axis=0) + moved**2 / 2 * np.eye(2)
        return Translation(frame.origin_xy, frame.scale, np.zeros((1, 2)), covariance)

    def _fit(self, scene: int, mine: Sequence[int]) -> Fit:
        """All that its pairs say of one scene, against the others as they are corrected."""
        model = self._model(scene)
        fits = [self.fits[n] for n in mine]
        points = self._seen_from(scene, mine[0], fits[0].points)
        for n in mine[1:]:
            points = points.joined(self._seen_from(scene, n, fits[0].points))
        checked = np.concatenate([np.isfinite(fitted.withheld_xy).all(axis=1) for fitted in fits])
        sigma2 = float(np.median([fitted.sigma_px**2 for fitted in fits])) + self.found.noise.variance / self.gsd**2
        return Fit(
            points=points,
            model=model,
            role=np.concatenate([fitted.role for fitted in fits]),
            sigma_px=float(np.sqrt(sigma2)),
            candidates=(Candidate(model.kind, model.freedom, None),),
            withheld_xy=np.where(checked[:, None], points.ref_xy - model(points.tgt_xy), np.nan),
        )

    def _seen_from(self, scene: int, n: int, like: TiePoints) -> TiePoints:
        """A pair's tie points with the scene as its target, and the other one as it is corrected as its reference."""
        tie, points = self.ties[n], self.fits[n].points
        frame, theta = self.found.network.frame, self.found.solution.theta
        reversed_ = tie.tgt != scene
        other = tie.tgt if reversed_ else tie.ref
        own_xy, other_xy = (points.ref_xy, points.tgt_xy) if reversed_ else (points.tgt_xy, points.ref_xy)
        return replace(
            points,
            ref_xy=other_xy + (frame.rows(other_xy) @ theta[other]),
            tgt_xy=own_xy,
            inputs=self._names(points.inputs.reference if reversed_ else points.inputs.target),
            gsd=self.gsd,
            reduction=1,
            window_px=like.window_px,
            search_px=like.search_px,
        )

    def _names(self, path: str) -> Inputs:
        """Of a scene, and of the raster whose grid it would be resampled onto."""
        first = next(entry for entry in self.entries if entry.raster is not None)
        anchored, inputs = first.held is not None, self.inputs
        return Inputs(
            os.path.abspath(first.path) if os.path.exists(first.path) else first.path,
            path,
            inputs.ref_bands if anchored else inputs.tgt_bands,
            inputs.tgt_bands,
            inputs.ref_nodata if anchored else inputs.tgt_nodata,
            inputs.tgt_nodata,
            "geotransform",
        )
