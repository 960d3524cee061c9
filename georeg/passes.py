"""Passes over a pair at full resolution: few windows that improve a prior, then all, each matched through it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely

from georeg.blocks import How
from georeg.execution import Progress
from georeg.mixture import known
from georeg.models import Affine, Model, Translation, identity
from georeg.overlap import Pair, footprint
from georeg.prior import TOLERANCE_PX, Prior, improved
from georeg.tie_points import TiePoints
from georeg.tiles import Tiles

SPARSE_POINTS = 64
"""Windows in each pass that only improves the prior."""
STILL_PX = 2.0
"""A prior that moves the ground by less than this at full resolution has arrived."""
STEP = 16
"""From level to level pixels get smaller by this: a prior good to a tenth of a large one is within reach on small ones."""
MAX_ROUNDS = 4
"""Passes at full resolution, at most, until the prior has arrived."""
PRECISE_PX = 0.02
"""Where windows are known better than this, smaller ones tell more of the ground, and four times as many fit."""
TOO_FEW = 0.3
"""Where fewer windows than this share match, another matcher or larger pixels may find more."""
ENOUGH_POINTS = 20
"""And where fewer than these do."""
AHEAD_POINTS = 36
"""So few windows tell whether the georeferencing is near."""
PROMISING = 0.7
"""Where a prior lets so large a share of few windows be found, it is near."""
ENOUGH_FEW = 30
"""Where so many were found, none lies much farther from a prior than all of these."""
LEAST_REACH_PX = 8
"""But they are sought at least this far, and twice as far as the farthest of the few lies."""


@dataclass(frozen=True)
class Matched:
    """All tie points of a pair, with what they were matched by."""

    points: TiePoints
    how: How
    prior: Model

    def agrees(self, found: Prior, pair: Pair) -> bool:
        """Whether a search, which looks for other places as well, has put the target where these were matched."""
        apart_px = apart(pair, self.prior, found.model)
        return found.pair is pair and found.how == "phase" and apart_px < max(STILL_PX, found.level)


def matched_ahead(tiles: Tiles, progress: Progress) -> Matched | None:
    """Match large rasters without overviews before the search, where few windows say that the georeferencing is near.

    The search looks at all pixels, on larger ones: these are made by the way, so that nothing is decoded for it alone.
    """
    pair, options = tiles.pair, tiles.options
    given = all(raster.placed == "geotransform" for raster in (pair.reference, pair.target))
    if not given or options.matcher not in ("auto", "phase") or options.patches is not None:
        return None
    kept = (tiles.ref.keep_means(tiles.names.ref_bands), tiles.tgt.keep_means(tiles.names.tgt_bands))
    if not all(kept):
        return None
    few = tiles.match(identity(), 1, AHEAD_POINTS, "phase", rough=True)
    prior = _improved(few, identity())
    if prior is None or few.kept.mean() < PROMISING:
        return None
    window_px = options.window_px or _suited_window(few)
    found = dense(tiles, prior, window_px, "phase", progress, _reach_px(few, prior))
    for reader in (tiles.ref, tiles.tgt):
        reader.forget()  # the search needs the memory, and larger pixels alone
    return found


def matched(tiles: Tiles, found: Prior, progress: Progress) -> Matched:
    """Improve what a search has found level by level, until it no longer moves, and match all windows through it."""
    prior, window_px, levels = found.model, tiles.options.window_px, _tile_levels(found.level)
    reach_px: int | None = None
    for k, level in enumerate(levels):
        progress("refine", k, len(levels))
        for _ in range(1 if level > levels[-1] else MAX_ROUNDS):
            few, before = _few(tiles, prior, level, found.how), prior
            better = _improved(few, prior)
            prior = better or prior
            reach_px = _reach_px(few, prior) if better and level == 1 else None
            window_px = tiles.options.window_px or (_suited_window(few) if better else None)
            if apart(tiles.pair, before, prior) < STILL_PX:
                break
    progress("refine", len(levels), len(levels))
    return dense(tiles, prior, window_px, found.how, progress, reach_px)


def _tile_levels(level: int) -> list[int]:
    """Reductions at which tiles are matched one after the other: from ``level``, each `STEP` times finer, to 1."""
    levels = [level]
    while levels[-1] > 1:
        levels.append(max(1, levels[-1] // STEP))
    return levels


def _few(tiles: Tiles, prior: Model, factor: int, how: How) -> TiePoints:
    return tiles.match(prior, factor, SPARSE_POINTS, how, rough=True)


def _improved(few: TiePoints, prior: Model) -> Model | None:
    """A better prior from few windows; None where they tell nothing."""
    kept = few.subset(few.kept)
    return improved(kept, prior, Affine) or improved(kept, prior, Translation)


def _reach_px(few: TiePoints, prior: Model) -> int | None:
    """How far windows need be sought about ``prior``, where few of them leave little doubt of it; None: as far as they can."""
    kept = few.subset(few.kept)
    if len(kept) < ENOUGH_FEW or few.kept.mean() < PROMISING:
        return None
    farthest = float(np.hypot(*(kept.ref_xy - prior(kept.tgt_xy)).T).max()) / kept.gsd
    return LEAST_REACH_PX + 2 * math.ceil(farthest)


def dense(
    tiles: Tiles, prior: Model, window_px: int | None, seen: How, progress: Progress, reach_px: int | None = None
) -> Matched:
    """Tie points at full resolution, by the matcher asked for, else by the first that finds enough.

    Pixels may be finer than what they show. Where too few match, larger ones are tried.
    """
    options = tiles.options
    hows: dict[str, tuple[How, ...]] = {
        "phase": ("phase",),
        "features": (options.detector,),
        "structure": ("structure",),
        "auto": ("structure", "phase") if seen == "structure" else ("phase", options.detector, "structure"),
    }
    quick: tuple[How, ...] = ("fast",) if options.preset == "fast" and seen == "phase" else ()
    best: Matched | None = None
    most = -1
    for level in (1, 2):
        for how in (*quick, *hows[options.matcher]):
            points = tiles.match(
                prior,
                level,
                options.max_points,
                how,
                window_px=window_px,
                spacing_px=options.spacing_px,
                reach_px=reach_px if level == 1 and how in ("phase", "fast") else None,
                progress=progress,
            )
            agreeing = _agreeing(points, prior)
            if agreeing > most:
                best, most = Matched(points, how, prior), agreeing
            if agreeing >= max(TOO_FEW * len(points), ENOUGH_POINTS):
                return Matched(points, how, prior)
    assert best is not None
    return best


def _agreeing(points: TiePoints, prior: Model) -> int:
    """How many tie points that are known in every direction agree on one affine correction of the prior."""
    kept = points.subset(known(points))
    better = improved(kept, prior, Affine) or improved(kept, prior, Translation)
    if better is None:
        return 0
    return int((np.hypot(*(kept.ref_xy - better(kept.tgt_xy)).T) <= TOLERANCE_PX * points.gsd).sum())


def apart(pair: Pair, before: Model, after: Model) -> float:
    """How far two priors are apart, the most over the target, working pixels."""
    xy = shapely.get_coordinates(footprint(pair.target_placement(identity())))
    return float(np.hypot(*(after(xy) - before(xy)).T).max()) / pair.gsd


def _suited_window(points: TiePoints) -> int | None:
    """Half the window where nearly all match and are known far better than need be; None to leave it."""
    kept = points.kept
    if kept.sum() < 20 or kept.mean() < 0.7 or points.window_px < 64:
        return None
    sigma_px = math.sqrt(float(np.median(np.trace(points.cov[kept], axis1=1, axis2=2)) / 2)) / points.gsd
    return points.window_px // 2 if 2 * sigma_px < PRECISE_PX else None
