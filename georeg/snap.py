"""One more tie point, where a person points: the windows about the place are matched, and the one there must be found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from georeg.blocks import How, widest_reach_px
from georeg.errors import InputError, MatchError
from georeg.execution import workers
from georeg.masks import with_mask
from georeg.models import Affine, FloatArray, Model, Translation, identity
from georeg.options import MatchOptions
from georeg.overlap import Pair, pair_rasters
from georeg.placement import apply_transform
from georeg.prior import improved
from georeg.raster import open_raster, open_reference
from georeg.reader import Reader
from georeg.search import check_matching
from georeg.tie_points import Status, TiePoints
from georeg.tiles import Tiles

CLICK_PX = 16
"""A click may be so far from what it means, working pixels."""
LEAST_WINDOW_PX = 32
"""Smaller windows are not compared, whatever the other tie points were measured with."""
AROUND = 2
"""So many windows on each side are matched too, to learn what chance gives here."""
_LOOKS: dict[str, tuple[How, ...]] = {"phase": ("phase",), "features": ("phase",), "structure": ("structure",)}
_WHY = {
    Status.MASKED: "too few valid pixels there",
    Status.LOW_TEXTURE: "too little texture there, or edges in one direction only",
    Status.WEAK_PEAK: "what fits best there fits no better than chance",
    Status.INCONSISTENT: "two estimates disagree there, as where the ground has changed",
    Status.OUT_OF_RANGE: "no peak near there",
    Status.AMBIGUOUS_PEAK: "several places fit there about as well",
}
"""Why there is no tie point, by status."""


def snap(
    points: TiePoints,
    ref_xy: tuple[float, float],
    tgt_xy: tuple[float, float] | None = None,
    *,
    model: Model | None = None,
    options: MatchOptions | None = None,
) -> TiePoints:
    """Measure one tie point near a place, by the matcher of all the others.

    Parameters
    ----------
    points
        Tie points of the pair, which say what was compared.
    ref_xy
        Where the feature is in the reference, to `CLICK_PX`; map units of the working CRS.
    tgt_xy
        Where it is in the target as its georeferencing has it; by default where ``model``, or else what the tie points
        agree on, has it.
    model
        Correction of the target, through which it is compared.
    options
        ``matcher``, ``preprocess``, ``combine``, ``window_px``, ``false_match_rate`` and ``threads`` are used.

    Returns
    -------
    One kept tie point.

    Raises
    ------
    InputError
        A raster cannot be read, the place is none, or nothing says where the target lies.
    MatchError
        No tie point can be measured there; the text says why.
    """
    options = options or MatchOptions()
    check_matching(options)
    given = np.array([ref_xy, ref_xy if tgt_xy is None else tgt_xy], float)
    if given.shape != (2, 2) or not np.isfinite(given).all():
        raise InputError(f"the place {ref_xy} is no pair of finite numbers; give X,Y in map units")
    prior = _tangent(_prior(points, model), given[0], None if tgt_xy is None else given[1], points)
    pair = _pair(points, prior)
    found = _measured(pair, points, prior, given[0], options)
    if found.kept.any():
        return found
    why = _WHY[Status(int(found.status[0]))]
    x, y = given[0].tolist()
    raise MatchError(
        f"no tie point near ({x:.10g}, {y:.10g}): {why}; point nearer to a corner or a spot that both rasters show, or at "
        "another feature"
    )


def with_tie_point(points: TiePoints, one: TiePoints, replaces: int | None = None) -> TiePoints:
    """The tie points and one more, or that one instead of number ``replaces``, counted from 1.

    Raises
    ------
    InputError
        There is no tie point of this number.
    """
    if replaces is None:
        return points.joined(one)
    if not 1 <= replaces <= len(points):
        raise InputError(f"there is no tie point {replaces}, they are 1 to {len(points)}; give one of these")
    arrays: dict[str, Any] = {
        name: np.array(getattr(points, name)) for name in ("ref_xy", "tgt_xy", "cov", "score", "status")
    }
    for name, column in arrays.items():
        column[replaces - 1] = getattr(one, name)[0]
    return replace(points, **arrays)


def _prior(points: TiePoints, model: Model | None) -> Model:
    if model is not None:
        return model
    kept = points.subset(points.kept)
    return improved(kept, identity(), Affine) or improved(kept, identity(), Translation) or identity()


def _tangent(prior: Model, ref_xy: FloatArray, tgt_xy: FloatArray | None, points: TiePoints) -> Model:
    """The affine map that turns and scales the target as ``prior`` does there, and lays the two places on each other."""
    at = prior.inverse(ref_xy[None])[0] if tgt_xy is None else tgt_xy
    if not np.isfinite(at).all():
        raise InputError("the correction puts no place of the target there; give --tgt-xy, where the target shows it")
    step = np.eye(2) * points.gsd * max(points.window_px, LEAST_WINDOW_PX) / 2
    slope = (prior(at + step) - prior(at - step)) / (2 * step[0, 0])
    return Affine((float(at[0]), float(at[1])), 1.0, np.array([ref_xy - at, *(slope - np.eye(2))]))


def _pair(points: TiePoints, prior: Model) -> Pair:
    """The two rasters on the working grid for this placement.

    Raises
    ------
    InputError
        The tie points name none, or they lie in another working CRS now.
    """
    inputs = points.inputs
    if not inputs.reference:
        raise InputError("these tie points name no reference to measure in; give those of georeg match or align")
    ref = with_mask(open_reference(inputs.reference, nodata=inputs.ref_nodata), inputs.ref_mask)
    tgt = open_raster(inputs.target, nodata=inputs.tgt_nodata, initial=inputs.initial, reference=ref)
    tgt = with_mask(tgt, inputs.tgt_mask)
    pair = pair_rasters(ref, tgt, prior)
    if pair.crs != CRS.from_wkt(points.crs):
        raise InputError(
            f"the working CRS of {ref.name} and {tgt.name} is {pair.crs.name} now, and the tie points have another; "
            "match them again"
        )
    return pair


def _measured(pair: Pair, points: TiePoints, prior: Model, ref_xy: FloatArray, options: MatchOptions) -> TiePoints:
    """One tie point, with the reason if it is rejected, by the first way of looking that keeps it."""
    hows = _LOOKS.get(options.matcher, ("phase", "structure"))
    window_px = options.window_px or max(points.window_px, LEAST_WINDOW_PX)
    first: TiePoints | None = None
    with Reader(pair.reference) as ref, Reader(pair.target) as tgt, workers(options.threads) as pool:
        tiles = Tiles(pair, ref, tgt, points.inputs, options, pool)
        centre_px = _centres(pair, points.reduction, ref_xy, window_px)
        reach_px = max(CLICK_PX, widest_reach_px(window_px))
        for how in hows:
            one = tiles.match_at(centre_px, prior, points.reduction, how, window_px=window_px, reach_px=reach_px)
            one = one.subset(np.arange(len(one)) == 0)
            if one.kept.any():
                return one
            first = first or one
    assert first is not None
    return first


def _centres(pair: Pair, factor: int, ref_xy: FloatArray, window_px: int) -> NDArray[np.intp]:
    """(N, 2) of the window there, the first, and of those around it, pixels of the level."""
    at_px = np.rint(apply_transform(~pair.level(factor).affine, ref_xy[None]))
    line = window_px * np.arange(-AROUND, AROUND + 1)
    offsets = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    order = np.argsort(np.abs(offsets).sum(axis=1), kind="stable")
    return np.asarray(at_px + offsets[order], np.intp)
