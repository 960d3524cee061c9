"""The search for tie points: coarse to fine, a block of windows at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import shapely

from georeg.blocks import How, halo_px
from georeg.errors import FitError, InputError
from georeg.execution import Progress, workers
from georeg.fit import Fit, fit
from georeg.mixture import known, robust_fit
from georeg.models import Affine, FloatArray, Local, Model, Translation, identity
from georeg.options import MatchOptions
from georeg.overlap import Pair, footprint, longer_side
from georeg.patches import LEAST_PATCHES, REMOTE_PATCHES, Patches
from georeg.placement import apply_transform
from georeg.prior import OVERVIEW_PX, TOLERANCE_PX, Prior, find_prior, improved
from georeg.reader import Reader
from georeg.rivals import refuse_other_ground, refuse_print
from georeg.seeded import find_seeded, refuse_astray
from georeg.seeds import Seed
from georeg.tie_points import Inputs, TiePoints
from georeg.tiles import Tiles, overview, window

SPARSE_POINTS = 64
"""Windows in each pass that only improves the prior."""
STILL_PX = 2.0
"""A prior that moves the ground by less than this at full resolution has arrived."""
MAX_ROUNDS = 4
"""Passes at full resolution, at most, until the prior has arrived."""
PRECISE_PX = 0.02
"""Where windows are known better than this, smaller ones tell more of the ground, and four times as many fit."""
TOO_FEW = 0.3
"""Where fewer windows than this share match, another matcher or larger pixels may find more."""
ENOUGH_POINTS = 20
"""And where fewer than these do."""
STRAIGHT_PX, STRAIGHT_SHARE = 0.01, 0.1
"""Windows are matched again through a model that lays their corners otherwise by more than this, in the median, and by more
than this share of the deviation of tie points."""
PRECISE_BEND_PX = 0.2
"""Windows of half the side are matched on bent ground where they are known better than this."""
MAX_AGAIN = 4
"""So often at most."""
LEAST_KEPT = 0.7
"""But not through one through which fewer than this share of the windows match."""


def find_tie_points(
    pair: Pair, names: Inputs, options: MatchOptions, progress: Progress, seeds: Sequence[Seed] = ()
) -> TiePoints:
    """Tie points of a pair at full resolution, the rejected ones too.

    The overviews give candidates for where the target lies, tiles decide between them; passes over ever finer levels
    improve this prior until it no longer moves, and the last pass matches every window through it. With ``seeds``, these are
    the only candidates.

    Raises
    ------
    InputError, OverlapError
        Options or pixels that cannot be used.
    MatchError
        Two placements are as good as each other, or none of the ``seeds`` is confirmed.
    """
    _check(options)
    with Reader(pair.reference) as ref, Reader(pair.target) as tgt, workers(options.threads) as executor:
        tiles = Tiles(pair, ref, tgt, names, options, executor)
        found = find_seeded(tiles, seeds, progress) if seeds else find_prior(tiles, progress)
        tiles, prior = replace(tiles, pair=found.pair, reach=found.reach), found.model
        tiles = replace(tiles, patches=_patches(tiles, found))
        window_px = options.window_px
        levels = _tile_levels(found.level)
        for k, level in enumerate(levels):
            progress("refine", k, len(levels))
            for _ in range(1 if level > levels[-1] else MAX_ROUNDS):
                before = prior
                prior, window_px = improve(tiles, prior, level, found.how)
                if _moved_px(tiles, before, prior) < STILL_PX:
                    break
        progress("refine", len(levels), len(levels))
        points, how = dense(tiles, prior, window_px, found, progress)
        placed = improved(points.subset(points.kept), prior, Affine) or prior
        refuse_print(points, tiles.pair, placed)
        if found.seed is not None:
            refuse_astray(found.seed, placed)
        refuse_other_ground(tiles, placed, found.seed)
        points = replace(
            points,
            log10_tests=found.log10_tests,
            overlap=_overlap(tiles.pair, placed),
            outline_xy=_outline(tiles.pair, placed),
        )
        return straightened(tiles, points, prior, how, progress)


def _tile_levels(level: int) -> list[int]:
    """Reductions at which tiles are matched one after the other: from ``level``, each a quarter of the last, to 1."""
    levels = [level]
    while levels[-1] > 1:
        levels.append(max(1, levels[-1] // 4))
    return levels


def _check(options: MatchOptions) -> None:
    window = options.window_px
    if window is not None and (window < 16 or window % 8):
        raise InputError(f"--window-px is {window}; give a multiple of 8 from 16")
    for name in ("spacing_px", "max_points", "max_shift_m", "threads"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name.replace('_', '-')} is {value}; give a number above 0")
    if options.patches is not None and options.patches < LEAST_PATCHES:
        raise InputError(
            f"--patches is {options.patches}; give at least {LEAST_PATCHES}, some of which are withheld to check"
        )
    if not 0 < options.false_match_rate < 1:
        raise InputError(f"--false-match-rate is {options.false_match_rate}; give a number between 0 and 1")


def _patches(tiles: Tiles, found: Prior) -> Patches | None:
    """The patches in which windows are to lie; None where they may lie anywhere."""
    pair, options, prior = tiles.pair, tiles.options, found.model
    n = options.patches or (REMOTE_PATCHES if pair.reference.remote or pair.target.remote else None)
    if n is None:
        return None
    shared = pair.overlap_px(prior, pair.grid)
    factor = 1 << max(0, math.ceil(math.log2(max(longer_side(shared) / OVERVIEW_PX, 1))))
    level = pair.level(factor)
    left, top, right, bottom = pair.overlap_px(prior, level).bounds
    grid = window(level, (left, top), (right, bottom))
    seen = [overview(side, grid, rough=True).valid for side in tiles.sides(prior)]
    side_px = options.window_px
    least_px = 0 if side_px is None else 2 * halo_px(side_px, side_px // 4, "phase") + side_px // 2
    return Patches(pair, n, seen[0] & seen[1], grid, found.level, least_px)


def improve(tiles: Tiles, prior: Model, factor: int, how: How) -> tuple[Model, int | None]:
    """A better prior from few windows at one level, or the same where they tell nothing; and a window for the next."""
    points = tiles.match(prior, factor, SPARSE_POINTS, how, rough=True)
    kept = points.subset(points.kept)
    for kind in (Affine, Translation):
        better = improved(kept, prior, kind)
        if better is not None:
            return better, tiles.options.window_px or _suited_window(points)
    return prior, tiles.options.window_px


def dense(tiles: Tiles, prior: Model, window_px: int | None, found: Prior, progress: Progress) -> tuple[TiePoints, How]:
    """Tie points at full resolution, the rejected ones too, by the matcher asked for, else by the first that finds enough.

    Pixels may be finer than what they show. Where too few match, larger ones are tried.
    """
    options = tiles.options
    hows: dict[str, tuple[How, ...]] = {
        "phase": ("phase",),
        "features": (options.detector,),
        "structure": ("structure",),
        "auto": ("structure", "phase") if found.how == "structure" else ("phase", options.detector, "structure"),
    }
    best: tuple[TiePoints, How] | None = None
    most = -1
    for level in (1, 2):
        for how in hows[options.matcher]:
            points = tiles.match(
                prior,
                level,
                options.max_points,
                how,
                window_px=window_px,
                spacing_px=options.spacing_px,
                progress=progress,
            )
            agreeing = _agreeing(points, prior)
            if agreeing > most:
                best, most = (points, how), agreeing
            if agreeing >= max(TOO_FEW * len(points), ENOUGH_POINTS):
                return points, how
    assert best is not None
    return best


def straightened(tiles: Tiles, points: TiePoints, prior: Model, how: How, progress: Progress) -> TiePoints:
    """The tie points matched again through the model that they give, until that changes no window any more.

    A window sees one displacement: where the ground is bent or turned within it, that is not the one of its centre. A shift
    of the whole window changes nothing.
    """
    options, n_points = tiles.options, tiles.options.max_points
    for _ in range(MAX_AGAIN):
        described = _described(points, prior)
        if described is None:
            break
        window_px, model = _bent_window(described, options), described.model
        if window_px < points.window_px:
            n_points = 2 * options.max_points
        again = tiles.match(
            model,
            points.reduction,
            n_points,
            how,
            window_px=window_px,
            spacing_px=options.spacing_px,
            progress=progress,
        )
        if again.kept.sum() * len(points) < LEAST_KEPT * points.kept.sum() * len(again) or not again.kept.any():
            break
        again = replace(again, log10_tests=points.log10_tests, overlap=points.overlap, outline_xy=points.outline_xy)
        points, prior = again, model
    return points


def _bent_window(described: Fit, options: MatchOptions) -> int:
    """Half the window where the ground is bent and half of it suffices, since smaller ones tell more of it, and nearer to
    its border."""
    points = described.points
    suffices = points.window_px >= 96 and 2 * _deviation_px(points, described.sigma_px) < PRECISE_BEND_PX
    bent = described.model.affine is None and options.window_px is None and options.spacing_px is None
    return points.window_px // 2 if bent and suffices else points.window_px


def _deviation_px(points: TiePoints, sigma_px: float) -> float:
    """Of a typical tie point from a model about which they scatter by ``sigma_px`` beyond their own covariances, per axis."""
    own_px2 = float(np.median(np.trace(points.cov[points.kept], axis1=1, axis2=2))) / (2 * points.gsd**2)
    return math.sqrt(own_px2 + sigma_px**2)


def _described(points: TiePoints, prior: Model) -> Fit | None:
    """The model chosen by tie points which were matched through ``prior``; None where windows look alike through both.

    A smooth field shows soon whether it is worth to choose one.
    """
    used = points.subset(known(points))
    try:
        field = robust_fit(used, Local, seed=0)
        straight_px = max(STRAIGHT_PX, STRAIGHT_SHARE * _deviation_px(used, field.sigma_px))
        if distortion_px(points, prior, field.model) <= straight_px:
            return None
        chosen = fit(points)
    except FitError:  # which the fit after this will say, with its reason
        return None
    return chosen if distortion_px(points, prior, chosen.model) > straight_px else None


def distortion_px(points: TiePoints, one: Model, other: Model) -> float:
    """How differently two models lay the corners of windows about their centres: the median over tie points, pixels."""
    half = points.gsd * points.window_px / 2
    at = points.tgt_xy[points.kept]
    centre = one(at) - other(at)
    corners = (at + half * np.array(sign) for sign in ((-1, -1), (-1, 1), (1, -1), (1, 1)))
    apart = [np.hypot(*(one(corner) - other(corner) - centre).T) for corner in corners]
    return float(np.median(np.max(apart, axis=0))) / points.gsd


def _outline(pair: Pair, prior: Model) -> FloatArray:
    """Outline of the ground that both rasters share, in the target as its georeferencing has it."""
    shared = pair.overlap_px(prior, pair.grid)
    largest = max(getattr(shared, "geoms", [shared]), key=lambda part: part.area)
    xy = apply_transform(pair.grid.affine, shapely.get_coordinates(largest.exterior))
    return prior.inverse(xy)


def _agreeing(points: TiePoints, prior: Model) -> int:
    """How many tie points that are known in every direction agree on one affine correction of the prior."""
    kept = points.subset(known(points))
    better = improved(kept, prior, Affine) or improved(kept, prior, Translation)
    if better is None:
        return 0
    return int((np.hypot(*(kept.ref_xy - better(kept.tgt_xy)).T) <= TOLERANCE_PX * points.gsd).sum())


def _overlap(pair: Pair, prior: Model) -> float:
    """Share of the smaller raster that lies on the other."""
    areas = [float(footprint(place).area) for place in (pair.reference_placement(), pair.target_placement(prior))]
    return float(pair.overlap_px(prior, pair.grid).area) * pair.gsd**2 / min(areas)


def _moved_px(tiles: Tiles, before: Model, after: Model) -> float:
    """How far two priors are apart, the most over the target, working pixels."""
    xy = shapely.get_coordinates(footprint(tiles.pair.target_placement(identity())))
    return float(np.hypot(*(after(xy) - before(xy)).T).max()) / tiles.pair.gsd


def _suited_window(points: TiePoints) -> int | None:
    """Half the window where nearly all match and are known far better than need be; None to leave it."""
    kept = points.kept
    if kept.sum() < 20 or kept.mean() < 0.7 or points.window_px < 64:
        return None
    sigma_px = math.sqrt(float(np.median(np.trace(points.cov[kept], axis1=1, axis2=2)) / 2)) / points.gsd
    return points.window_px // 2 if 2 * sigma_px < PRECISE_PX else None
