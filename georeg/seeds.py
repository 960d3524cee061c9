"""Where points made by hand put the target, and how far from there it may be."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import shapely

from georeg.errors import FitError, OverlapError
from georeg.models import Affine, FloatArray, Model, Similarity, Translation, principal_axes
from georeg.overlap import Pair, pair_rasters
from georeg.placement import apply_transform
from georeg.tie_points import TiePoints

LEAST_POINTS: dict[type[Model], int] = {Affine: 6, Similarity: 2, Translation: 1}
"""Models that points made by hand may give, and from how many points on."""
SIGMAS = 3.0
"""The target may be as far from where they put it as so many of their standard deviations,"""
TOLERANCE_PX = 2.0
"""and this, for what their model leaves out, working pixels."""
LEAST_SHARED_PX = 32
"""If the ground that both rasters would share is smaller than a square of this side, they put the target beside it."""


@dataclass(frozen=True, eq=False)
class Seed:
    """A model that points made by hand give."""

    points: TiePoints
    """Those that are enabled, in the working CRS."""
    model: Model
    pair: Pair
    """Working grid for this placement."""
    widening: float
    """By so much more than they are said to the points scatter about the model; 1 at least."""

    def allowance(self, tgt_xy: FloatArray) -> FloatArray:
        """(N,) how far from where the points put it the target may be at ``tgt_xy``, map units."""
        largest = principal_axes(self.model.covariance_at(tgt_xy))[0][:, 0]
        return np.asarray(SIGMAS * self.widening * np.sqrt(largest) + TOLERANCE_PX * self.pair.gsd)

    def reach(self) -> float:
        """`allowance` where it is the most over the ground that both rasters would share, map units."""
        xy = apply_transform(self.pair.grid.affine, shapely.get_coordinates(_shared_px(self.pair, self.model)))
        return float(self.allowance(self.model.inverse(xy)).max())

    def apart(self, model: Model) -> tuple[float, float]:
        """How far from the points ``model`` puts the target, and how far it may, at the worst of them, map units."""
        at = self.points.tgt_xy
        apart, allowed = np.hypot(*(model(at) - self.model(at)).T), self.allowance(at)
        worst = (apart / allowed).argmax()
        return float(apart[worst]), float(allowed[worst])


def seeds(points: TiePoints, pair: Pair) -> list[Seed]:
    """The models that the kept points allow for, the most certain first.

    A model too simple for them scatters, and one too rich is not held: both are less certain.

    Parameters
    ----------
    points
        From `georeg.gcps.points_on_pair`.
    pair
        The rasters, placed as they are without the points.

    Raises
    ------
    OverlapError
        They put the target beside the reference.
    """
    used = points.subset(points.kept)
    found = []
    for kind, least in LEAST_POINTS.items():
        if len(used) >= least:
            with suppress(FitError):  # they lie on a line, or in one place: a simpler model will do
                found.append(_seed(used, pair, kind))
    beside = [seed for seed in found if _shared_px(seed.pair, seed.model).area < LEAST_SHARED_PX**2]
    if len(beside) == len(found):
        raise OverlapError(
            f"the {len(used)} points of {points.inputs.gcp} put {pair.target.name} beside {pair.reference.name}; check their "
            "CRS and that the columns of map and source are not swapped"
        )
    return sorted((seed for seed in found if seed not in beside), key=Seed.reach)


def _seed(points: TiePoints, pair: Pair, kind: type[Model]) -> Seed:
    precision = np.linalg.inv(points.cov)
    model = kind.fit(points.tgt_xy, points.ref_xy, precision)
    residual = points.ref_xy - model(points.tgt_xy)
    freedom = 2 * len(points) - model.freedom
    chi2 = float(np.einsum("ni,nij,nj->", residual, precision, residual))
    widening = math.sqrt(max(1.0, chi2 / freedom)) if freedom > 0 else 1.0
    return Seed(points, model, pair_rasters(pair.reference, pair.target, model), widening)


def _shared_px(pair: Pair, model: Model) -> shapely.Geometry:
    return pair.overlap_px(model, pair.grid)
