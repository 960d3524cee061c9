"""The search for tie points: coarse to fine, a block of windows at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import shapely

from georeg.blocks import How, halo_px
from georeg.errors import FitError, InputError
from georeg.execution import Progress, workers
from georeg.fit import Fit, fit
from georeg.lazily import Lazily
from georeg.mixture import known, robust_fit
from georeg.models import Affine, FloatArray, Local, Model
from georeg.options import DeviceKind, MatchOptions
from georeg.overlap import Pair, footprint, longer_side
from georeg.passes import matched, matched_ahead
from georeg.patches import LEAST_PATCHES, REMOTE_PATCHES, Patches
from georeg.placement import apply_transform
from georeg.prior import OVERVIEW_PX, Prior, find_prior, improved
from georeg.reader import Reader
from georeg.rivals import refuse_other_ground, refuse_print
from georeg.seeded import find_seeded, refuse_astray
from georeg.seeds import Seed
from georeg.tie_points import Inputs, TiePoints
from georeg.tiles import Tiles, overview, window

polygons = Lazily("georeg.polygons")
STRAIGHT_PX, STRAIGHT_SHARE = 0.01, 0.1
"""Windows are matched again through a model that lays their corners otherwise by more than this, in the median, and by more
than this share of the deviation of tie points."""
TELLING = 600
"""So many tie points tell whether the ground is bent."""
PRECISE_BEND_PX = 0.2
"""Windows of half the side are matched on bent ground where they are known better than this."""
MAX_AGAIN = 4
"""So often at most."""
LEAST_KEPT = 0.7
"""But not through one through which fewer than this share of the windows match."""


def find_tie_points(
    pair: Pair,
    names: Inputs,
    options: MatchOptions,
    progress: Progress,
    seeds: Sequence[Seed] = (),
    executor: Executor | None = None,
    opened: Reader | None = None,
    device: DeviceKind = "cpu",
) -> TiePoints:
    """Tie points of a pair at full resolution, the rejected ones too.

    The overviews give candidates for where the target lies, tiles decide between them; passes over ever finer levels
    improve this prior until it no longer moves, and the last pass matches every window through it. With ``seeds``, these are
    the only candidates. ``opened`` is a reader of the reference that is open already, and stays so.

    Raises
    ------
    InputError, OverlapError
        Options or pixels that cannot be used.
    MatchError
        Two placements are as good as each other, or none of the ``seeds`` is confirmed.
    """
    check_matching(options)
    reference = Reader(pair.reference) if opened is None else nullcontext(opened)
    with reference as ref, Reader(pair.target) as tgt, workers(options.threads, executor) as pool:
        tiles = Tiles(pair, ref, tgt, names, options, pool, device=device, area=_area(pair, names))
        ahead = None if seeds else matched_ahead(tiles, progress)
        found = find_seeded(tiles, seeds, progress) if seeds else find_prior(tiles, progress)
        tiles = replace(tiles, pair=found.pair, reach=found.reach)
        _refuse_beside(tiles, found.model)
        tiles = replace(tiles, patches=_patches(tiles, found))
        if ahead is None or not ahead.agrees(found, pair):
            ahead = matched(tiles, found, progress)
        points, how, prior = ahead.points, ahead.how, ahead.prior
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
        return points if how == "fast" else straightened(tiles, points, prior, how, progress)


def check_matching(options: MatchOptions) -> None:
    """Make sure that what can be asked for was.

    Raises
    ------
    InputError
        A number is out of its range.
    """
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
    if options.preset == "fast":
        for name, usual in (("matcher", ("auto", "phase")), ("preprocess", ("none",)), ("combine", ("none",))):
            if getattr(options, name) not in usual:
                raise InputError(
                    f"--preset fast correlates pixels as they are, without --{name} {getattr(options, name)}; leave one of "
                    "the two out"
                )
    if not 0 < options.false_match_rate < 1:
        raise InputError(f"--false-match-rate is {options.false_match_rate}; give a number between 0 and 1")


def _area(pair: Pair, names: Inputs) -> shapely.Geometry | None:
    """Where tie points may lie, in the working CRS; None: anywhere."""
    if names.area is None:
        return None
    ground = footprint(pair.reference_placement())
    return polygons.area_of(names.area, pair.crs, ground, unsaid=pair.reference.crs, of=pair.reference.name)


def _refuse_beside(tiles: Tiles, prior: Model) -> None:
    """Raise where the ground that both rasters share is found to lie beside the area."""
    if tiles.area is not None and not tiles.pair.overlap_px(prior, tiles.pair.grid, tiles.area).area > 0:
        raise InputError(
            f"the area {tiles.names.area} covers nothing of what {tiles.pair.reference.name} and {tiles.pair.target.name} share; "
            "draw it where both lie, or leave it out"
        )


def _patches(tiles: Tiles, found: Prior) -> Patches | None:
    """The patches in which windows are to lie; None where they may lie anywhere."""
    pair, options, prior = tiles.pair, tiles.options, found.model
    n = options.patches or (REMOTE_PATCHES if pair.reference.remote or pair.target.remote else None)
    if n is None:
        return None
    shared = pair.overlap_px(prior, pair.grid, tiles.area)
    factor = 1 << max(0, math.ceil(math.log2(max(longer_side(shared) / OVERVIEW_PX, 1))))
    level = pair.level(factor)
    left, top, right, bottom = pair.overlap_px(prior, level).bounds
    grid = window(level, (left, top), (right, bottom))
    seen = [overview(side, grid, rough=True).valid for side in tiles.sides(prior)]
    side_px = options.window_px
    least_px = 0 if side_px is None else 2 * halo_px(side_px, side_px // 4, "phase") + side_px // 2
    return Patches(pair, n, seen[0] & seen[1], grid, found.level, least_px, tiles.area)


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
            reach_px=int(points.search_px),
            progress=progress,
        )
        if again.kept.sum() * len(points) < LEAST_KEPT * points.kept.sum() * len(again) or not again.kept.any():
            break
        if again.window_px == points.window_px and _mean_score(again) < _mean_score(points):
            break  # few points may choose a model too simple for what they were matched through
        again = replace(again, log10_tests=points.log10_tests, overlap=points.overlap, outline_xy=points.outline_xy)
        points, prior = again, model
    return points


def _mean_score(points: TiePoints) -> float:
    return float(points.score[points.kept].mean())


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
        some = used.subset(np.arange(len(used)) % math.ceil(len(used) / TELLING) == 0)
        field = robust_fit(some, Local, seed=0)
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


def _overlap(pair: Pair, prior: Model) -> float:
    """Share of the smaller raster that lies on the other."""
    areas = [float(footprint(place).area) for place in (pair.reference_placement(), pair.target_placement(prior))]
    return float(pair.overlap_px(prior, pair.grid).area) * pair.gsd**2 / min(areas)
