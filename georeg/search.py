"""The search for tie points: coarse to fine, a block of windows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from georeg.errors import FitError, InputError, OverlapError
from georeg.execution import Progress, run_ordered, workers
from georeg.fit import robust_fit
from georeg.matching.coarse import coarse_shifts
from georeg.matching.phase import Matches, coherence_weight, match_windows
from georeg.models import LADDER, FloatArray, PolynomialDisplacement, Translation, identity
from georeg.options import MatchOptions
from georeg.overlap import Pair, nodes
from georeg.placement import Placement, apply_transform
from georeg.raster import Reader
from georeg.tie_points import Inputs, Status, TiePoints
from georeg.warp import Patch, sample

OVERVIEW_PX = 512
"""The coarse search looks at overlaps no larger than this on a side."""
BLOCK_PX = 1024
"""Windows whose centres share a square of this side are read at once."""
WINDOWS_PX = {128: 120, 96: 120, 64: 120, 48: 50, 32: 0}
"""Window sides to choose from, the largest first, and how many half-overlapping ones must fit: small ones lock on noise."""
CONFIRMING = 10
"""A coarse shift on which this many tiles agree, and half of those that match at all, needs no rival."""
SPARSE_POINTS = 64
"""Windows in each pass that only improves the prior."""
CONTROLS = 150
"""About at how many places windows that do not correspond are matched to learn what chance gives."""


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
        prior, weight = search.best_shift(factor), None
        levels = _tile_levels(factor)
        for k, level in enumerate(levels):
            progress("refine", k, len(levels))
            prior, weight = search.improve(prior, level)
        progress("refine", len(levels), len(levels))
        return search.dense(prior, weight)


def _tile_levels(factor: int) -> list[int]:
    """Reductions at which tiles are matched after an overview reduced by ``factor``: each a quarter of the last, to 1."""
    levels = [max(1, factor // 4)]
    while levels[-1] > 1:
        levels.append(max(1, levels[-1] // 4))
    return levels


def _check(options: MatchOptions) -> None:
    window = options.window_px
    if window is not None and (window < 16 or window % 2):
        raise InputError(f"--window-px is {window}; give an even number from 16")
    for name in ("spacing_px", "max_points", "max_shift_m", "threads"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name.replace('_', '-')} is {value}; give a number above 0")
    if not 0 < options.false_match_rate < 1:
        raise InputError(f"--false-match-rate is {options.false_match_rate}; give a number between 0 and 1")


@dataclass(frozen=True)
class _Block:
    """Windows to match that are read at once; picklable."""

    ref: Reader
    tgt: Reader
    ref_place: Placement
    tgt_place: Placement
    bands: tuple[tuple[int, ...], tuple[int, ...]]
    grid: GeoBox
    centre_px: NDArray[np.intp]
    control: NDArray[np.intp]
    window_px: int
    weight: FloatArray | None
    overviews: bool


@dataclass(frozen=True)
class _Measured:
    """What a block gives: matches in map coordinates, the scores of its controls, and the coherence."""

    ref_xy: FloatArray
    tgt_xy: FloatArray
    cov: FloatArray
    matches: Matches
    control_score: FloatArray
    n_controls: int


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
            points, _ = self._pass(prior, max(1, factor // 4), SPARSE_POINTS // 2)
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
        images = []
        for reader, place, bands in self._sides(identity()):
            patch = sample(reader, place, grid, bands, overviews=True)
            if not patch.valid.all(axis=0).any():
                raise OverlapError(
                    f"{reader.raster.name} has no valid pixel where the two rasters overlap in bands {bands}; check its nodata "
                    "value and mask, or give --ref-nodata / --tgt-nodata"
                )
            images += [patch.data, _informative(patch)]
        shift_px, _ = coarse_shifts(images[0], images[1], images[2], images[3])
        shift_px = shift_px[np.hypot(*shift_px.T) <= max(limit_px, 1)]
        moves = -apply_transform((*grid.affine[:2], 0, *grid.affine[3:5], 0), shift_px)
        return [(float(x), float(y)) for x, y in moves]

    def improve(self, prior: PolynomialDisplacement, factor: int) -> tuple[PolynomialDisplacement, FloatArray | None]:
        """A better prior from few windows at one level, or the same where they tell nothing, and the spectral weight."""
        points, coherence = self._pass(prior, factor, SPARSE_POINTS)
        kept = points.subset(points.kept)
        weight = coherence_weight(coherence)
        for kind in ("affine", "translation"):
            better, agreeing = _fitted(kept, LADDER[kind])
            if better is not None and agreeing >= max(4 * better.n_terms(), len(kept) / 3):
                return better, weight
        return prior, weight

    def dense(self, prior: PolynomialDisplacement, weight: FloatArray | None) -> TiePoints:
        """Tie points at full resolution, the rejected ones too."""
        points, _ = self._pass(prior, 1, self.options.max_points, weight, "match")
        return points

    def _sides(
        self, model: PolynomialDisplacement
    ) -> tuple[tuple[Reader, Placement, tuple[int, ...]], tuple[Reader, Placement, tuple[int, ...]]]:
        return (
            (self.ref, self.pair.reference_placement(), self.names.ref_bands),
            (self.tgt, self.pair.target_placement(model), self.names.tgt_bands),
        )

    def _pass(
        self,
        prior: PolynomialDisplacement,
        factor: int,
        n_points: int,
        weight: FloatArray | None = None,
        stage: str | None = None,
    ) -> tuple[TiePoints, FloatArray]:
        """Match about ``n_points`` windows at one level; their summed coherence comes too."""
        level = self.pair.level(factor)
        overlap = self.pair.overlap_px(prior, level)
        window_px = self.options.window_px or _window_px(overlap.area)
        spacing = max(math.sqrt(overlap.area / n_points), window_px / 2)
        if stage and self.options.spacing_px:
            spacing = self.options.spacing_px
        centres = nodes(overlap, spacing, window_px)
        measured: list[_Measured] = []
        done = 0
        for block in self._run(level, prior, centres, window_px, weight):
            measured.append(block)
            done += len(block.ref_xy)
            if stage:
                self.progress(stage, done, len(centres))
        coherence = sum((m.matches.coherence for m in measured), np.zeros((window_px // 4 + 1, 3)))
        return self._collect(measured, window_px, abs(level.affine.determinant) ** 0.5), coherence

    def _run(
        self,
        level: GeoBox,
        prior: PolynomialDisplacement,
        centres: NDArray[np.intp],
        window_px: int,
        weight: FloatArray | None,
    ) -> Iterator[_Measured]:
        (ref, ref_place, ref_bands), (tgt, tgt_place, tgt_bands) = self._sides(prior)
        halo = window_px // 2 + window_px // 4 + 2
        every = max(1, len(centres) // CONTROLS)
        overviews = abs(level.affine.determinant) ** 0.5 > 1.5 * self.pair.gsd
        tasks = (
            _Block(
                ref, tgt, ref_place, tgt_place, (ref_bands, tgt_bands),
                _window(level, tuple(chosen.min(axis=0) - halo), tuple(chosen.max(axis=0) + halo)),
                chosen - (chosen.min(axis=0) - halo),
                np.arange(len(chosen)) % every == 0, window_px, weight, overviews,
            )
            for chosen in _blocks(centres)
        )  # fmt: skip
        return run_ordered(_match_block, tasks, self.executor)

    def _max_shift(self) -> float:
        """Largest displacement to accept, map units."""
        limit_m = self.options.max_shift_m
        return math.inf if limit_m is None else limit_m / self.pair.crs.axis_info[0].unit_conversion_factor

    def _collect(self, measured: list[_Measured], window_px: int, gsd: float) -> TiePoints:
        def joined(part: Callable[[_Measured], NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
            return np.concatenate([np.zeros((0, *shape)), *(part(m) for m in measured)])

        control = joined(lambda m: m.control_score, ())
        n_controls = sum(m.n_controls for m in measured)
        score = joined(lambda m: m.matches.score, ())
        status = joined(lambda m: m.matches.status, ()).astype(np.uint8)
        least = _least_score(control, n_controls, self.options.false_match_rate)
        status[(status == Status.KEPT) & (score < least)] = Status.WEAK_PEAK
        ref_xy, tgt_xy = joined(lambda m: m.ref_xy, (2,)), joined(lambda m: m.tgt_xy, (2,))
        kept = status == Status.KEPT
        if kept.any() and np.median(np.hypot(*(ref_xy - tgt_xy)[kept].T)) > self._max_shift():
            status[kept] = Status.OUT_OF_RANGE  # all of them: cutting at the limit would leave a tail that is no sample
        return TiePoints(
            ref_xy=ref_xy,
            tgt_xy=tgt_xy,
            cov=joined(lambda m: m.cov, (2, 2)),
            score=score,
            status=status,
            inputs=self.names,
            crs=self.pair.crs.to_wkt(),
            gsd=gsd,
            window_px=window_px,
            search_px=window_px / 4,
            chance=(float((control >= least).sum()) + 1) / (n_controls + 1),
        )


def _match_block(block: _Block) -> _Measured:
    """Read the pixels of both rasters once and match every window in them."""
    ref = sample(
        block.ref, block.ref_place, block.grid, block.bands[0], snap_px=block.window_px, overviews=block.overviews
    )
    tgt = sample(
        block.tgt, block.tgt_place, block.grid, block.bands[1], snap_px=block.window_px, overviews=block.overviews
    )
    images = (ref.data, _informative(ref), tgt.data, _informative(tgt))
    matches = match_windows(*images, block.centre_px, window_px=block.window_px, weight=block.weight)
    control_score, n_controls = _match_controls(block, *images)
    linear = np.array([*block.grid.affine[:2], *block.grid.affine[3:5]]).reshape(2, 2)
    return _Measured(
        ref_xy=ref.xy(block.centre_px.astype(float)),
        tgt_xy=block.tgt_place.model.inverse(tgt.xy(block.centre_px + matches.shift_px)),
        cov=linear @ np.where(np.isfinite(matches.cov_px), matches.cov_px, 1e6) @ linear.T,
        matches=matches,
        control_score=control_score,
        n_controls=n_controls,
    )


def _match_controls(
    block: _Block,
    ref: NDArray[np.float32],
    ref_valid: NDArray[np.bool_],
    tgt: NDArray[np.float32],
    tgt_valid: NDArray[np.bool_],
) -> tuple[FloatArray, int]:
    """Scores of windows that do not correspond but settle all the same, and how many were tried.

    Each is matched with the same place turned by half a turn and, where there is one, with another place.
    """
    at = block.centre_px[block.control]
    elsewhere = np.roll(block.centre_px, len(block.centre_px) // 2, axis=0)[block.control]
    apart = np.abs(elsewhere - at).max(axis=1) >= block.window_px
    turned_px = np.array(block.grid.shape[::-1]) - at
    scores, tried = [], 0
    for image, valid, ref_px, tgt_px in (
        (tgt[:, ::-1, ::-1], tgt_valid[::-1, ::-1], at, turned_px),
        (tgt, tgt_valid, at[apart], elsewhere[apart]),
    ):
        found = match_windows(
            ref, ref_valid, image, valid, ref_px, tgt_px=tgt_px, window_px=block.window_px, weight=block.weight
        )
        scores.append(found.score[found.status == Status.KEPT])
        tried += int(np.isin(found.status, (Status.KEPT, Status.INCONSISTENT, Status.OUT_OF_RANGE)).sum())
    return np.concatenate(scores), tried


def _informative(patch: Patch) -> NDArray[np.bool_]:
    """(height, width) valid in every band and no undeclared fill or saturation: a run of zeros or of the highest value."""
    data, valid = patch.data, patch.valid.all(axis=0)
    highest = data.max(axis=(1, 2), keepdims=True, initial=1e-30)
    flat = (np.abs(data) <= 1e-6 * highest).all(axis=0) | (data >= highest * (1 - 1e-6)).all(axis=0)
    if not flat.any():
        return np.asarray(valid)
    kernel = np.ones((5, 5), np.uint8)
    fill = cv2.dilate(cv2.erode(flat.astype(np.uint8), kernel), kernel)
    return np.asarray(valid & (fill == 0))


def _least_score(control: FloatArray, n_controls: int, false_match_rate: float) -> float:
    """The score that no more than ``false_match_rate`` of the controls reach."""
    if len(control) < 5:
        return 0.3
    allowed = false_match_rate * n_controls
    ranked = np.sort(control)[::-1]
    by_rank = float(ranked[min(int(allowed), len(ranked) - 1)])
    # few controls say little of the tail: the normal one stands in for it
    return max(by_rank, float(control.mean() + 2.3 * control.std())) + 1e-9


def _fitted(kept: TiePoints, model: type[PolynomialDisplacement]) -> tuple[PolynomialDisplacement | None, int]:
    """A model on which tie points agree, and how many do; None and 0 where too few do to say."""
    try:
        fitted, inlier, _ = robust_fit(kept, model, seed=0)
    except FitError:
        return None, 0
    return fitted, int(inlier.sum())


def _blocks(centres: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Window centres by square of `BLOCK_PX`, row by row."""
    square = centres // BLOCK_PX
    order = np.lexsort((centres[:, 0], centres[:, 1], square[:, 0], square[:, 1]))
    edges = np.flatnonzero(np.any(np.diff(square[order], axis=0), axis=1)) + 1
    return [part for part in np.split(centres[order], edges) if len(part)]


def _window(level: GeoBox, low_px: tuple[float, float], high_px: tuple[float, float]) -> GeoBox:
    """The part of a level between two corners (column, row); may reach outside."""
    left, top = math.floor(low_px[0]), math.floor(low_px[1])
    width, height = math.ceil(high_px[0]) - left, math.ceil(high_px[1]) - top
    affine = level.affine @ level.affine.translation(left, top)
    return GeoBox((height, width), affine, level.crs)


def _window_px(area_px: float) -> int:
    return next(side for side, enough in WINDOWS_PX.items() if area_px / (side / 2) ** 2 >= enough)
