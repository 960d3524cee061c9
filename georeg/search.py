"""The search for tie points: coarse to fine, a block of windows at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from georeg.blocks import Block, Looks, Measured, blocks_of, halo_px, informative, least_significance, match_block
from georeg.errors import FitError, InputError, OverlapError
from georeg.execution import Progress, run_ordered, workers
from georeg.fit import robust_fit
from georeg.matching.coarse import coarse_shifts
from georeg.matching.features import Detector
from georeg.matching.preprocess import preprocess
from georeg.matching.windows import concatenated, trusted_covariance
from georeg.models import LADDER, PolynomialDisplacement, Translation, identity
from georeg.options import MatchOptions
from georeg.overlap import Pair, nodes
from georeg.placement import Placement, apply_transform
from georeg.raster import Reader
from georeg.tie_points import Inputs, Status, TiePoints
from georeg.warp import sample

OVERVIEW_PX = 512
"""The coarse search looks at overlaps no larger than this on a side."""
WINDOWS_PX = {128: 120, 96: 120, 64: 120, 48: 50, 32: 0}
"""Window sides to choose from, the largest first, and how many half-overlapping ones must fit: small ones lock on noise."""
CONFIRMING = 10
"""A coarse shift on which this many tiles agree, and half of those that match at all, needs no rival."""
SPARSE_POINTS = 64
"""Windows in each pass that only improves the prior."""
CONTROLS = 150
"""About at how many places windows that do not correspond are matched to learn what chance gives."""
PRECISE_PX = 0.02
"""Where windows are known better than this, smaller ones tell more of the ground, and four times as many fit."""
TOO_FEW = 0.3
"""Where fewer windows than this share match, features may find more."""


def find_tie_points(pair: Pair, names: Inputs, options: MatchOptions, progress: Progress) -> TiePoints:
    """Tie points of a pair at full resolution, the rejected ones too.

    The overviews give candidate shifts, tiles decide between them; passes over ever finer levels improve the prior, and
    the last pass matches every window through it.

    Raises
    ------
    InputError, OverlapError
        Options or pixels that cannot be used.
    """
    _check(options)
    with Reader(pair.reference) as ref, Reader(pair.target) as tgt, workers(options.threads) as executor:
        search = _Search(pair, ref, tgt, names, options, executor, progress)
        factor = search.overview_factor()
        prior, window_px = search.best_shift(factor), options.window_px
        levels = _tile_levels(factor)
        for k, level in enumerate(levels):
            progress("refine", k, len(levels))
            prior, window_px = search.improve(prior, level)
        progress("refine", len(levels), len(levels))
        return search.dense(prior, window_px)


def _tile_levels(factor: int) -> list[int]:
    """Reductions at which tiles are matched after an overview reduced by ``factor``: each a quarter of the last, to 1."""
    levels = [max(1, factor // 4)]
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
    if not 0 < options.false_match_rate < 1:
        raise InputError(f"--false-match-rate is {options.false_match_rate}; give a number between 0 and 1")


@dataclass(frozen=True)
class _Search:
    """Two open rasters, and the passes of the search over them."""

    pair: Pair
    ref: Reader
    tgt: Reader
    names: Inputs
    options: MatchOptions
    executor: Executor
    progress: Progress

    def overview_factor(self) -> int:
        """Power of two by which the overlap is reduced to `OVERVIEW_PX`."""
        left, top, right, bottom = self.pair.overlap_px(identity(), self.pair.level(1)).bounds
        return 1 << max(0, math.ceil(math.log2(max(right - left, bottom - top, 1) / OVERVIEW_PX)))

    def best_shift(self, factor: int) -> PolynomialDisplacement:
        """The coarse shift that tiles confirm: none at all, else the likeliest of the overviews."""
        self.progress("coarse", 0, 1)
        best: PolynomialDisplacement = identity()
        support = -1
        for shift in self._candidate_shifts(factor):
            prior = Translation((0.0, 0.0), 1.0, np.array([shift]))
            points = self._pass(prior, max(1, factor // 4), SPARSE_POINTS // 2)
            _, agreeing = _fitted(points.subset(points.kept), Translation)
            if agreeing > support:
                best, support = prior, agreeing
            if agreeing >= max(CONFIRMING, points.kept.sum() / 2):
                break
        self.progress("coarse", 1, 1)
        return best

    def _candidate_shifts(self, factor: int) -> Iterator[tuple[float, float]]:
        yield 0.0, 0.0
        yield from self._overview_shifts(factor)

    def _overview_shifts(self, factor: int) -> list[tuple[float, float]]:
        level = self.pair.level(factor)
        left, top, right, bottom = self.pair.overlap_px(identity(), level).bounds
        reach_x, reach_y = (right - left) / 2, (bottom - top) / 2
        limit_px = self._max_shift() / (self.pair.gsd * factor)
        reach_x, reach_y = min(reach_x, limit_px), min(reach_y, limit_px)
        grid = _window(level, (left - reach_x, top - reach_y), (right + reach_x, bottom + reach_y))
        sides: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []
        for reader, place, look in self._sides(identity()):
            patch = sample(reader, place, grid, look.bands, overviews=True)
            if not patch.valid.all(axis=0).any():
                raise OverlapError(
                    f"{reader.raster.name} has no valid pixel where the two rasters overlap in bands {look.bands}; check "
                    "its nodata value and mask, or give --ref-nodata / --tgt-nodata"
                )
            valid = informative(patch)
            sides.append((preprocess(patch.data, valid, how=look.preprocess, combine=look.combine), valid))
        shift_px, _ = coarse_shifts(*sides[0], *sides[1])
        shift_px = shift_px[np.hypot(*shift_px.T) <= max(limit_px, 1)]
        moves = -apply_transform((*grid.affine[:2], 0, *grid.affine[3:5], 0), shift_px)
        return [(float(x), float(y)) for x, y in moves]

    def improve(self, prior: PolynomialDisplacement, factor: int) -> tuple[PolynomialDisplacement, int | None]:
        """A better prior from few windows at one level, or the same where they tell nothing; and a window for the next."""
        points = self._pass(prior, factor, SPARSE_POINTS)
        kept = points.subset(points.kept)
        for kind in ("affine", "translation"):
            better, agreeing = _fitted(kept, LADDER[kind])
            if better is not None and agreeing >= max(4 * better.n_terms(), len(kept) / 3):
                return better, self.options.window_px or _suited_window(points)
        return prior, self.options.window_px

    def dense(self, prior: PolynomialDisplacement, window_px: int | None) -> TiePoints:
        """Tie points at full resolution, the rejected ones too."""
        n, matcher, detector = self.options.max_points, self.options.matcher, self.options.detector
        if matcher == "features":
            return self._pass(prior, 1, n, window_px, "match", detector)
        points = self._pass(prior, 1, n, window_px, "match")
        if matcher == "phase" or points.kept.sum() >= max(TOO_FEW * len(points), 20):
            return points
        others = self._pass(prior, 1, n, window_px, "match", detector)
        return others if others.kept.sum() > points.kept.sum() else points

    def _sides(
        self, model: PolynomialDisplacement
    ) -> tuple[tuple[Reader, Placement, Looks], tuple[Reader, Placement, Looks]]:
        ref, tgt = (
            Looks(bands, self.options.preprocess, self.options.combine)
            for bands in (self.names.ref_bands, self.names.tgt_bands)
        )
        return (
            (self.ref, self.pair.reference_placement(), ref),
            (self.tgt, self.pair.target_placement(model), tgt),
        )

    def _pass(
        self,
        prior: PolynomialDisplacement,
        factor: int,
        n_points: int,
        window_px: int | None = None,
        stage: str | None = None,
        detector: Detector | None = None,
    ) -> TiePoints:
        """Match about ``n_points`` windows at one level."""
        level = self.pair.level(factor)
        overlap = self.pair.overlap_px(prior, level)
        window_px = window_px or self.options.window_px or _window_px(overlap.area)
        spacing = max(math.sqrt(overlap.area / n_points), window_px / 2)
        if stage and self.options.spacing_px:
            spacing = self.options.spacing_px
        centres = nodes(overlap, spacing, window_px)
        measured: list[Measured] = []
        done = 0
        for block in self._run(level, prior, centres, window_px, min(window_px, int(spacing)) // 4, detector):
            measured.append(block)
            done += len(block.ref_xy)
            if stage:
                self.progress(stage, min(done, len(centres)), len(centres))
        return self._collect(measured, window_px, abs(level.affine.determinant) ** 0.5)

    def _run(
        self,
        level: GeoBox,
        prior: PolynomialDisplacement,
        centres: NDArray[np.intp],
        window_px: int,
        wander_px: int,
        detector: Detector | None,
    ) -> Iterator[Measured]:
        (ref, ref_place, ref_look), (tgt, tgt_place, tgt_look) = self._sides(prior)
        halo = halo_px(window_px, wander_px)
        every = max(1, len(centres) // CONTROLS)
        overviews = abs(level.affine.determinant) ** 0.5 > 1.5 * self.pair.gsd
        template = Block(
            ref, tgt, ref_place, tgt_place, (ref_look, tgt_look), level, centres, np.zeros(0, np.intp), window_px,
            wander_px, overviews, detector,
        )  # fmt: skip
        tasks = (
            replace(
                template,
                grid=_window(level, tuple(chosen.min(axis=0) - halo), tuple(chosen.max(axis=0) + halo)),
                centre_px=chosen - (chosen.min(axis=0) - halo),
                control=np.flatnonzero(np.arange(len(chosen)) % every == 0),
            )
            for chosen in blocks_of(centres)
        )
        return run_ordered(match_block, tasks, self.executor)

    def _max_shift(self) -> float:
        """Largest displacement to accept, map units."""
        limit_m = self.options.max_shift_m
        return math.inf if limit_m is None else limit_m / self.pair.crs.axis_info[0].unit_conversion_factor

    def _collect(self, measured: list[Measured], window_px: int, gsd: float) -> TiePoints:
        matches = concatenated([m.matches for m in measured])
        control = np.concatenate([np.zeros(0), *(m.control_significance for m in measured)])
        n_controls = sum(m.n_controls for m in measured)
        least = least_significance(control, n_controls, self.options.false_match_rate)
        status = matches.status.copy()
        status[(status == Status.KEPT) & ~(matches.significance >= least)] = Status.WEAK_PEAK
        cov_px = trusted_covariance(replace(matches, status=status))
        linear = measured[0].linear if measured else np.eye(2)
        ref_xy, tgt_xy = (
            np.concatenate([np.zeros((0, 2)), *(getattr(m, side) for m in measured)]) for side in ("ref_xy", "tgt_xy")
        )
        kept = status == Status.KEPT
        if kept.any() and np.median(np.hypot(*(ref_xy - tgt_xy)[kept].T)) > self._max_shift():
            status[kept] = Status.OUT_OF_RANGE  # all of them: cutting at the limit would leave a tail that is no sample
        return TiePoints(
            ref_xy=ref_xy,
            tgt_xy=tgt_xy,
            cov=linear @ cov_px @ linear.T,
            score=matches.score,
            status=status,
            inputs=self.names,
            crs=self.pair.crs.to_wkt(),
            gsd=gsd,
            window_px=window_px,
            search_px=window_px / 4,
            chance=(float((control >= least).sum()) + 1) / (n_controls + 1),
        )


def _fitted(kept: TiePoints, model: type[PolynomialDisplacement]) -> tuple[PolynomialDisplacement | None, int]:
    """A model on which tie points agree, and how many do; None and 0 where too few do to say."""
    try:
        fitted, inlier, _ = robust_fit(kept, model, seed=0)
    except FitError:
        return None, 0
    return fitted, int(inlier.sum())


def _window(level: GeoBox, low_px: tuple[float, float], high_px: tuple[float, float]) -> GeoBox:
    """The part of a level between two corners (column, row); may reach outside."""
    left, top = math.floor(low_px[0]), math.floor(low_px[1])
    width, height = math.ceil(high_px[0]) - left, math.ceil(high_px[1]) - top
    affine = level.affine @ level.affine.translation(left, top)
    return GeoBox((height, width), affine, level.crs)


def _window_px(area_px: float) -> int:
    return next(side for side, enough in WINDOWS_PX.items() if area_px / (side / 2) ** 2 >= enough)


def _suited_window(points: TiePoints) -> int | None:
    """Half the window where nearly all match and are known far better than need be; None to leave it."""
    kept = points.kept
    if kept.sum() < 20 or kept.mean() < 0.7 or points.window_px < 64:
        return None
    sigma_px = math.sqrt(float(np.median(np.trace(points.cov[kept], axis1=1, axis2=2)) / 2)) / points.gsd
    return points.window_px // 2 if 2 * sigma_px < PRECISE_PX else None
