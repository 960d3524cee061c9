"""Where the target lies, roughly: candidates from cheap to robust, until tiles confirm one.

First shifts, then features for any rotation and scale, then an exhaustive search of edge orientations for other sensors.
Overviews only propose. Whether a candidate is right is asked of tiles at finer resolution, each of which looks for itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import shapely

from georeg.accuracy import log10_binomial_tail
from georeg.blocks import How
from georeg.errors import FitError, MatchError, OverlapError
from georeg.execution import Progress, at_once
from georeg.matching.coarse import coarse_shifts
from georeg.matching.pose import Pose, poses_by_structure
from georeg.matching.pose_features import poses_by_features
from georeg.mixture import robust_fit
from georeg.models import Affine, FloatArray, Model, Translation, from_transform, identity
from georeg.options import MatcherKind
from georeg.overlap import Pair, footprint, longer_side, pair_rasters, unit_name
from georeg.placement import apply_transform, compose
from georeg.rivals import on_same_pixels
from georeg.seeds import Seed
from georeg.tie_points import TiePoints
from georeg.tiles import Overview, Tiles, overviews

OVERVIEW_PX = 512
"""The smaller of the two regions that are searched is looked at on no more than this on a side, the larger on twice that."""
CONFIRMING_POINTS: dict[How, int] = {"phase": 36, "structure": 64}
"""Windows with which a candidate is tested."""
CONFIRMING: dict[MatcherKind, tuple[How, ...]] = {
    "auto": ("phase", "structure"), "phase": ("phase",), "features": ("phase",), "structure": ("structure",)
}  # fmt: skip
"""And how, by the matcher asked for."""
TOLERANCE_PX = 2.0
"""A tile agrees with a candidate this close to the model on which most do."""
CLEAR_SCORE = 0.5
"""Tiles that agree better than this, in the mean, see the ground."""
LOG10_CONFIRMED = -1.0
"""A candidate is confirmed where chance would give as many agreeing tiles to one of all that were possible with a
probability of less than 10 to this; the proof on check points, which is stricter, comes after."""
RIVAL_TILES = 0.5
"""A second candidate with this share of the first's agreeing tiles is its rival."""
RIVAL_SCORE = 0.6
"""If their mean score is this share of the first's; shifts whose score in the overviews is not are left out."""
APART_PX = 6.0
"""Candidates that tiles bring closer together than this are one."""
TELLING_PX: dict[How, int] = {"phase": 64, "structure": 96}
"""Where windows of this side fit on larger pixels, what they do not confirm is not tried on smaller ones."""
NEAR_PX = 8
"""A shift shorter than this, in pixels of the tiles that test it, needs no test of its own."""
LIKELY_SHIFTS = 2
"""None, and the likeliest shift of the overviews, are tested with every matcher."""
LIKELY_POSES = 4
"""So many rotations, scales and shifts of the structural search are tested."""
LOG10_TESTS = {"none": 0.0, "seed": 0.5, "shift": 4.0, "features": 2.0, "structure": 7.0}
"""About how many independent hypotheses each search chooses from: for features only the matches that it draws from."""


@dataclass(frozen=True)
class Prior:
    """Where the target lies, to a fraction of a window."""

    model: Model
    how: How
    """What confirmed it, and matches from here on."""
    level: int
    """Reduction of the pixels on which it was tested."""
    pair: Pair
    """Working grid for this placement."""
    log10_tests: float
    """How many hypotheses it was chosen from."""
    agreeing: int
    """Tiles on which it agrees, after they have improved it."""
    log10_chance: float
    """Of as many agreeing by chance under one of the hypotheses."""
    score: float
    """Mean score of the tiles that agree."""
    seed: Seed | None = None
    """What put the target there, where that was not a search."""
    reach: float | None = None
    """`Tiles.reach` with which it was tested."""

    @property
    def confirmed(self) -> bool:
        """Whether chance is ruled out."""
        return self.log10_chance + self.log10_tests <= LOG10_CONFIRMED


def find_prior(tiles: Tiles, progress: Progress) -> Prior:
    """The placement that tiles confirm.

    Raises
    ------
    OverlapError
        A raster has no valid pixels where they may meet.
    MatchError
        No placement is confirmed, or two are.
    """
    regions = _regions(tiles)
    factor = _factor(regions)
    progress("coarse", 0, 1)
    pictures = overviews(tiles, _scaled(regions, factor), factor)
    for picture, reader in zip(pictures, (tiles.ref, tiles.tgt), strict=True):
        if not picture.valid.any():
            raise OverlapError(
                f"{reader.raster.name} shows nothing where the two rasters may overlap: its pixels are invalid or have one value "
                "in the bands chosen; check its nodata value and masks, give --ref-nodata / --tgt-nodata, or choose other bands"
            )
    tried: list[Prior] = []
    stages = _stages(tiles, regions, factor, pictures)
    for k, (stage, how, models) in enumerate(stages):
        found = _all_tested(tiles, models(), factor, stage, how)
        tried += found
        progress("coarse", k + 1, len(stages))
        confirmed = sorted((p for p in found if p.confirmed), key=doubt)
        if confirmed:
            best, others = confirmed[0], confirmed[1:]
            if best.score < CLEAR_SCORE and on_same_pixels(tiles.pair, best.model):
                # what is printed in both files lies on the same pixels: is the ground elsewhere? Large pixels tell
                elsewhere = _by_features(tiles, pictures)
                others += [
                    p for s, h, _ in stages if s == "features" for p in _all_tested(tiles, elsewhere, factor, s, h)
                ]
            _refuse_rival(best, [other for other in others if other.confirmed], tiles)
            progress("coarse", len(stages), len(stages))
            return confirmed[0]
    best = min(tried, key=doubt)
    within, larger = ("", "") if tiles.area is None else (f" within {tiles.names.area}", "draw a larger area, ")
    raise MatchError(
        f"no place of {tiles.pair.target.name} on {tiles.pair.reference.name} could be confirmed{within}: {len(tried)} tests of "
        f"shifts, rotations and scales were made, and at most {best.agreeing} tiles agree on one; {larger}check that both show "
        "the same ground, or try other bands, a smaller --window-px or another --matcher or --initial"
    )


def doubt(prior: Prior) -> tuple[bool, float]:
    """Less for what is more certain."""
    return not prior.confirmed, prior.log10_chance + prior.log10_tests


Models = Callable[[], list[Model]]


def _stages(
    tiles: Tiles, regions: tuple[shapely.Geometry, shapely.Geometry], factor: int, pictures: list[Overview]
) -> list[tuple[str, How, Models]]:
    """Searches and matchers that test their candidates, from cheap to robust."""
    ref, tgt = pictures
    limit = tiles.max_shift()

    @cache
    def shifts() -> list[Model]:
        found, scores = coarse_shifts(ref.image, ref.valid, tgt.image, tgt.valid)
        found = found[scores >= RIVAL_SCORE * scores.max(initial=0)]
        # pixels of both grids are the same size and lie on one lattice: a shift maps target pixels to reference pixels
        moves = [_model(ref, tgt, np.array([[1, 0, -x], [0, 1, -y]]), tiles.pair) for x, y in found]
        # what is nearer than tiles reach is found without
        near = NEAR_PX * max(1, factor // 4) * tiles.pair.gsd
        return [identity(), *(m for m in moves if near <= _length(m, tiles.pair) <= limit)]

    @cache
    def features() -> list[Model]:
        fine = max(1, factor // 2)
        both = overviews(tiles, _scaled(regions, fine), fine) if fine < factor else [ref, tgt]
        return _by_features(tiles, both)

    @cache
    def structure() -> list[Model]:
        poses = poses_by_structure(ref.image, ref.valid, tgt.image, tgt.valid, n_candidates=LIKELY_POSES)
        return _models(tiles, pictures, poses)

    stages: list[tuple[str, How, Models]] = [
        ("shift", "phase", shifts),
        ("features", "phase", features),
        ("shift", "structure", lambda: shifts()[:LIKELY_SHIFTS]),
        ("features", "structure", features),
        ("structure", "phase", structure),
        ("structure", "structure", structure),
    ]
    return [stage for stage in stages if stage[1] in CONFIRMING[tiles.options.matcher]]


def _by_features(tiles: Tiles, both: list[Overview]) -> list[Model]:
    ref, tgt = both
    return _models(tiles, both, poses_by_features(ref.image, ref.valid, tgt.image, tgt.valid))


def _models(tiles: Tiles, both: list[Overview], poses: list[Pose]) -> list[Model]:
    models = [_model(both[0], both[1], pose.matrix, tiles.pair) for pose in poses]
    return [m for m in models if _length(m, tiles.pair) <= tiles.max_shift()]


def _all_tested(tiles: Tiles, models: list[Model], factor: int, stage: str, how: How) -> list[Prior]:
    return at_once(_tested, [(tiles, model, factor, stage, how) for model in models], tiles.options.threads)


def _tested(tiles: Tiles, model: Model, factor: int, stage: str, how: How) -> Prior:
    """The candidate as tiles improve it, on larger and then on smaller pixels, until it is confirmed."""
    pair = tiles.pair if stage == "shift" else pair_rasters(tiles.pair.reference, tiles.pair.target, model)
    fine = max(1, factor // (4 if stage == "shift" else 2))
    best: Prior | None = None
    for level in (2 * fine, fine):
        prior, window_px = test(replace(tiles, pair=pair), model, level, how, stage)
        if best is None or doubt(prior) < doubt(best):
            best = prior
        if prior.confirmed or window_px >= TELLING_PX[how]:
            break
    assert best is not None
    return best


def test(tiles: Tiles, model: Model, level: int, how: How, stage: str) -> tuple[Prior, int]:
    """A candidate of a search, as tiles on one level improve it, and the side of their windows, pixels of that level."""
    points = tiles.match(model, level, CONFIRMING_POINTS[how], how, rough=True)
    kept = points.subset(points.kept)
    kinds = (Translation,) if stage == "shift" else (Affine, Translation)
    tests = LOG10_TESTS["none" if model.still else stage]
    untold = Prior(model, how, level, tiles.pair, tests, 0, 0.0, 0.0)
    for kind in kinds:
        better = improved(kept, model, kind)
        if better is not None:
            agrees = np.hypot(*(kept.ref_xy - better(kept.tgt_xy)).T) <= TOLERANCE_PX * kept.gsd
            share = math.pi * TOLERANCE_PX**2 / (2 * kept.search_px + 1) ** 2
            k = kept.witnesses(agrees)
            n = math.ceil(len(kept) * k / max(int(agrees.sum()), 1))
            chance = log10_binomial_tail(k - kind.n_terms(), n - kind.n_terms(), share)
            score = float(kept.score[agrees].mean()) if agrees.any() else 0.0
            told = replace(untold, model=better, agreeing=int(agrees.sum()), log10_chance=chance, score=score)
            return told, points.window_px
    return untold, points.window_px


def improved(kept: TiePoints, prior: Model, kind: type[Model]) -> Model | None:
    """``prior`` and, after it, the correction on which tie points agree; None where too few do to say."""
    placed = replace(kept, tgt_xy=prior(kept.tgt_xy))
    try:
        found = robust_fit(placed, kind, seed=0)
    except FitError:
        return None
    if found.inlier.sum() < max(4 * kind.n_terms(), len(kept) / 3):
        return None
    assert found.model.affine is not None
    assert prior.affine is not None
    return from_transform(
        compose(found.model.affine, prior.affine), kept.tgt_xy.mean(axis=0), float(np.ptp(kept.tgt_xy))
    )


def _refuse_rival(best: Prior, others: list[Prior], tiles: Tiles) -> None:
    level_px = best.pair.gsd
    xy = shapely.get_coordinates(footprint(best.pair.target_placement(identity())))
    for other in others:
        apart = np.hypot(*(best.model(xy) - other.model(xy)).T)
        strong = other.agreeing >= RIVAL_TILES * best.agreeing and other.score >= RIVAL_SCORE * best.score
        alike = strong or other.pair is not tiles.pair  # turned or scaled, it is no echo of ground that repeats
        if alike and np.median(apart) > APART_PX * level_px:
            raise MatchError(
                f"refused as ambiguous: {best.agreeing} tiles agree on one placement of {tiles.pair.target.name} and "
                f"{other.agreeing} on another, {np.median(apart) / level_px:.0f} px away; if the ground repeats, place the "
                "target better first and limit the search with --max-shift-m; if something is printed in both, set it to nodata"
            )


def _regions(tiles: Tiles) -> tuple[shapely.Geometry, shapely.Geometry]:
    """Where each raster may show ground of the other, in pixels of the working grid; of the reference only its area.

    A georeferenced target is sought no farther from where it says it is than the smaller raster is long.
    """
    grid = tiles.pair.grid
    both = (tiles.pair.reference_placement(), tiles.pair.target_placement(identity()))
    ref, tgt = (shapely.transform(footprint(p), lambda xy: apply_transform(~grid.affine, xy)) for p in both)
    reach = min(longer_side(ref), longer_side(tgt), tiles.max_shift() / tiles.pair.gsd)
    if tiles.area is not None:
        ref = shapely.intersection(ref, shapely.transform(tiles.area, lambda xy: apply_transform(~grid.affine, xy)))
    if tiles.pair.target.placed in ("center", "none"):
        return ref, tgt
    found = tuple(
        shapely.intersection(
            one, shapely.box(*shapely.buffer(shapely.box(*other.bounds), reach, join_style="mitre").bounds)
        )
        for one, other in ((ref, tgt), (tgt, ref))
    )
    if any(region.is_empty for region in found):
        gap = shapely.distance(ref, tgt) * tiles.pair.gsd
        within = "" if tiles.area is None else f"the area {tiles.names.area} in "
        raise OverlapError(
            f"{within}{tiles.pair.reference.name} and {tiles.pair.target.name} share no ground: their extents are {gap:,.0f} "
            f"{unit_name(tiles.pair.crs)} apart, more than the smaller is long; check that both show the same place and that "
            "both CRSs are right, or give --initial center"
        )
    return found


def _factor(regions: tuple[shapely.Geometry, shapely.Geometry]) -> int:
    """Power of two by which the regions are reduced to `OVERVIEW_PX`."""
    smaller, larger = sorted(longer_side(region) for region in regions)
    return 1 << max(0, math.ceil(math.log2(max(smaller / OVERVIEW_PX, larger / (2 * OVERVIEW_PX), 1))))


def _scaled(
    regions: tuple[shapely.Geometry, shapely.Geometry], factor: int
) -> tuple[shapely.Geometry, shapely.Geometry]:
    ref, tgt = (shapely.transform(region, lambda px: px / factor) for region in regions)
    return ref, tgt


def _model(ref: Overview, tgt: Overview, matrix: FloatArray, pair: Pair) -> Model:
    """The correction that lays pixels of the target's overview on those of the reference's by a (2, 3) matrix."""
    (a, b, c), (d, e, f) = matrix
    placed = compose(compose(ref.grid.affine, type(ref.grid.affine)(a, b, c, d, e, f)), ~tgt.grid.affine)
    height, width = tgt.grid.shape
    middle = apply_transform(tgt.grid.affine, np.array([[width / 2, height / 2]]))[0]
    return from_transform(placed, middle, max(height, width) * pair.gsd)


def _length(model: Model, pair: Pair) -> float:
    """Displacement of the middle of the target, map units."""
    middle = np.array(footprint(pair.target_placement(identity())).centroid.coords)
    return float(np.hypot(*model.displacement(middle)[0]))
