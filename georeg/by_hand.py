"""Tie points that a person made: few, each vouched for, and none of them measured against chance."""

from __future__ import annotations

import numpy as np

from georeg.choice import Candidate
from georeg.errors import FitError, InputError
from georeg.fit import Fit, Role
from georeg.models import LADDER, FloatArray, Model
from georeg.options import FitOptions
from georeg.tie_points import TiePoints

AUTO = ("translation", "similarity", "affine", "polynomial2")
"""Models among which ``auto`` chooses, the simplest first."""
BETTER = 0.9
"""A richer model is taken where it makes the RMSE of points left out smaller by at least this factor."""


def fit_by_hand(points: TiePoints, options: FitOptions | None = None) -> Fit:
    """Fit a model to all kept tie points by least squares, weighted by their covariances.

    Nothing is rejected and nothing proven. Each tie point is left out in its turn, and ``withheld_xy`` of the result has
    its residual from the fit to the others. ``auto`` takes the simplest model that leaves such residuals about as small as
    any; there must be one point more than the model needs, or none could be left out.

    Parameters
    ----------
    points
        From `georeg.gcps.read_points`.
    options
        The model; the seed is not used.

    Raises
    ------
    FitError
        Too few tie points for the model, or they lie on a line.
    """
    kind = (options or FitOptions()).model
    if kind != "auto" and kind not in LADDER:
        raise InputError(f"no model {kind!r}; choose auto or one of {', '.join(LADDER)}")
    used = points.subset(points.kept)
    models = [LADDER[name] for name in (AUTO if kind == "auto" else (kind,)) if len(used) > LADDER[name].n_terms()]
    if not models:
        least = LADDER["translation" if kind == "auto" else kind].n_terms() + 1
        raise FitError(
            f"{len(used)} enabled tie points, {least} needed for --model {kind}; add points or choose a simpler --model"
        )
    left_out = [_left_out_xy(used, model) for model in models]
    rmse_px = [_rmse_px(residual, points.gsd) for residual in left_out]
    best = next(k for k, rmse in enumerate(rmse_px) if BETTER * rmse <= min(rmse_px))
    if not np.isfinite(rmse_px[best]):
        raise FitError(
            f"the {len(used)} enabled tie points do not hold a {models[best].kind} model once one is left out; "
            "spread them over the raster, add some, or choose a simpler --model"
        )
    model = _least_squares(used, models[best])
    withheld_xy = np.full(points.ref_xy.shape, np.nan)
    withheld_xy[points.kept] = left_out[best]
    candidates = tuple(
        Candidate(m.kind, 2 * m.n_terms(), rmse if np.isfinite(rmse) else None)
        for m, rmse in zip(models, rmse_px, strict=True)
    )
    role = np.where(points.kept, Role.FIT, Role.REJECTED).astype(np.uint8)
    return Fit(points, model, role, _excess_px(used, model), candidates, withheld_xy)


def left_out_rmse_px(fitted: Fit) -> float:
    """RMSEr of the tie points of `fit_by_hand`, each about the fit to the others, working pixels."""
    return _rmse_px(fitted.withheld_xy[fitted.role == Role.FIT], fitted.points.gsd)


def _least_squares(points: TiePoints, model: type[Model]) -> Model:
    return model.fit(points.tgt_xy, points.ref_xy, np.linalg.inv(points.cov))


def _left_out_xy(points: TiePoints, model: type[Model]) -> FloatArray:
    """(N, 2) residual of each tie point from the fit to the others, map units; infinite where these do not hold the model."""
    residual_xy = np.full(points.ref_xy.shape, np.inf)
    for k, alone in enumerate(np.eye(len(points), dtype=bool)):
        try:
            fitted = _least_squares(points.subset(~alone), model)
        except FitError:  # the others lie on a line
            continue
        residual_xy[k] = (points.ref_xy[alone] - fitted(points.tgt_xy[alone]))[0]
    return residual_xy


def _rmse_px(residual_xy: FloatArray, gsd: float) -> float:
    return float(np.sqrt((residual_xy**2).sum(axis=1).mean())) / gsd


def _excess_px(points: TiePoints, model: Model) -> float:
    """Scatter per axis about the model beyond the stated accuracy, working pixels."""
    freedom = max(2 * (len(points) - model.n_terms()), 1)
    scatter2 = ((points.ref_xy - model(points.tgt_xy)) ** 2).sum() / freedom
    stated2 = np.trace(points.cov, axis1=1, axis2=2).mean() / 2
    return float(np.sqrt(max(scatter2 - stated2, 0.0))) / points.gsd
