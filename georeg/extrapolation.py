"""Whether a model can be trusted where there are no tie points: polynomials and fields may fold there, or run away."""

from __future__ import annotations

import numpy as np

from georeg.models import Affine, FloatArray, Local, Model, principal_axes

MAX_SIGMA_PX = 2.0
"""A polynomial that is less certain than this anywhere on the ground shared is not to be used there, working pixels. A local
field, which goes on straight and says how uncertain that is, may be."""
WARN_SIGMA_PX = 0.5
"""Beyond this it is said of any model."""
MAX_BEND_RATIO = 3.0
"""Where there are no tie points a model may depart from its affine part by this many times what it does among them."""
HARMLESS_BEND_PX = 0.5
"""And by this, working pixels."""


def flaw(model: Model, tgt_xy: FloatArray, everywhere_xy: FloatArray, gsd: float) -> str | None:
    """What a bent model does wrong somewhere on the ground, in words that follow "it"; None where it is sound.

    Parameters
    ----------
    model
        Fitted to tie points at ``tgt_xy``; an affine map has no flaw.
    tgt_xy, everywhere_xy
        (N, 2) and (K, 2) target map xy: the tie points, and places all over the ground.
    gsd
        Working pixel size, map units.
    """
    if model.affine is not None or not len(everywhere_xy):
        return None
    all_xy = np.concatenate([tgt_xy, everywhere_xy])
    with np.errstate(invalid="ignore"):
        if not (np.linalg.det(model.jacobian(all_xy)) > 0).all():
            return "folds the ground over, mirrors it or has no place for it"
    sigma_px = largest_sigma_px(model, everywhere_xy, gsd)
    if sigma_px > MAX_SIGMA_PX and not isinstance(model, Local):
        return (
            f"is uncertain by {sigma_px:.2g} px where there are no tie points, at most {MAX_SIGMA_PX:g} px is accepted"
        )
    among_px, beyond_px = (_bend_px(model, tgt_xy, xy, gsd) for xy in (tgt_xy, everywhere_xy))
    if beyond_px > MAX_BEND_RATIO * among_px + HARMLESS_BEND_PX:
        return (
            f"bends the ground by {beyond_px:.2g} px where there are no tie points, but by no more than {among_px:.2g} px "
            "among them"
        )
    return None


def largest_sigma_px(model: Model, everywhere_xy: FloatArray, gsd: float) -> float:
    """Largest standard deviation of the corrected position at (K, 2) places, in its worst direction, working pixels."""
    if not len(everywhere_xy):
        return 0.0
    return float(np.sqrt(principal_axes(model.covariance_at(everywhere_xy))[0][:, 0].max())) / gsd


def _bend_px(model: Model, tgt_xy: FloatArray, at_xy: FloatArray, gsd: float) -> float:
    """Largest departure at (N, 2) places from the affine map that is nearest at the tie points, working pixels."""
    straight = Affine.fit(tgt_xy, model(tgt_xy))
    return float(np.hypot(*(model(at_xy) - straight(at_xy)).T).max()) / gsd
