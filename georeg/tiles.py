"""Passes over a pair: windows on a lattice, matched block by block at one level of resolution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from georeg.blocks import (
    BLOCK_PX,
    CERTAIN,
    Block,
    How,
    Looks,
    Measured,
    blocks_of,
    halo_px,
    informative,
    least_significance,
    match_block,
    widest_reach_px,
)
from georeg.execution import Progress, at_once, near, run_ordered, silent
from georeg.lazily import Lazily
from georeg.matching.preprocess import preprocess
from georeg.matching.windows import concatenated, trusted_covariance
from georeg.models import Model, identity
from georeg.options import DeviceKind, MatchOptions
from georeg.overlap import Pair, footprint, nodes
from georeg.patches import Patches, Squares
from georeg.placement import Placement, apply_transform, compose
from georeg.reader import KEPT_BYTES, Reader
from georeg.tie_points import Inputs, Status, TiePoints
from georeg.warp import Patch, sample
from georeg.watching import due, show_points

polygons = Lazily("georeg.polygons")
ENOUGH_WINDOWS = 100
"""In patches windows are as large as lets so many half-overlapping ones fit."""
WINDOWS_PX = {128: 120, 96: 120, 64: 120, 48: 50, 32: 0}
"""Window sides to choose from, the largest first, and how many half-overlapping ones must fit: small ones lock on noise."""
STRUCTURE_WINDOWS_PX = (160, 128, 96, 64)
"""The same where structure is matched, which needs more ground: the largest that is no longer than half the overlap.
On reduced pixels half of that: where the ground is bent, smaller windows tell more, and there they see enough."""
FAST_PX = 64
"""Largest windows that are chosen where phase correlation is all."""
CONTROLS = 150
"""About at how many places windows that do not correspond are matched to learn what chance gives."""


@dataclass(frozen=True)
class Tiles:
    """Two open rasters on their working grid."""

    pair: Pair
    ref: Reader
    tgt: Reader
    names: Inputs
    options: MatchOptions
    executor: Executor
    reach: float | None = None
    """Where a person said where the target lies, and only that tells alike ground apart: windows are sought no further than
    this from where they are expected, map units."""
    patches: Patches | None = None
    """Where windows may lie; None: everywhere."""
    device: DeviceKind = "cpu"
    """What correlates windows that are matched ``fast``."""
    area: shapely.Geometry | None = None
    """Ground in which tie points may lie, in the working CRS; None: anywhere."""

    def match(
        self,
        prior: Model,
        factor: int,
        n_points: int,
        how: How,
        *,
        window_px: int | None = None,
        spacing_px: float | None = None,
        reach_px: int | None = None,
        rough: bool = False,
        progress: Progress = silent,
    ) -> TiePoints:
        """Match about ``n_points`` windows through ``prior`` on pixels ``factor`` times the working grid's.

        They are sought within ``reach_px``, by default within a quarter of their side. ``rough`` does it quickly, which is
        enough to tell where windows are to a fraction of a pixel.
        """
        level = self.pair.level(factor)
        overlap = self.pair.overlap_px(prior, level)
        within, searched = self._area_px(level), self.pair.overlap_px(prior, level, self.area)
        squares = self.patches.squares(factor, prior) if self.patches is not None else None
        window_px = window_px or self.options.window_px
        closest = 4 if how == "structure" else 2
        if squares is None:
            window_px = window_px or suited_window_px(searched.area, how, factor)
            spacing = spacing_px or max(math.sqrt(searched.area / n_points), window_px / closest)
            # large windows may reach over the outline by half: else they would leave the corners out
            margins = (window_px / 4,) if how == "structure" else (window_px / 2, window_px / 4)
            centres = nodes(overlap, spacing, margins, within)
            if rough:
                inside = shapely.buffer(overlap, -margins[0])
                inside = inside if within is None else shapely.intersection(inside, within)
                centres = self._in_parts(centres, level, inside, spacing)
            parts = blocks_of(centres, self._strip(level))
        else:
            window_px = window_px or suited_to_squares_px(squares, how)
            halo = halo_px(window_px, window_px // 4, how)
            area = len(squares.low_px) * max(squares.side_px - 2 * halo, 0) ** 2
            spacing = spacing_px or max(math.sqrt(area / n_points), window_px / closest)
            parts = [nodes(shape, spacing, (halo, squares.side_px / 2)) for shape in squares.shapes()]
            centres = np.concatenate(parts)
        gsd = abs(level.affine.determinant) ** 0.5
        reach_px = self._reach_px(window_px, gsd, reach_px)
        measured: list[Measured] = []
        done = 0
        for block in self._run(level, prior, parts, window_px, reach_px, min(window_px, int(spacing)) // 4, how, rough):
            measured.append(block)
            done += len(block.ref_xy)
            progress("match", min(done, len(centres)), len(centres))
            if not rough and due():
                show_points(self._in_area(self._collect(measured, window_px, reach_px, gsd)), partial=True)
        points = self._in_area(self._collect(measured, window_px, reach_px, gsd))
        # beside the gap, windows keep at least their side from the borders of their squares
        apart = 0.0 if squares is None else gsd * (squares.gap_px() + 1.25 * window_px)
        return replace(points, reduction=factor, step=spacing / window_px, apart=apart)

    def _area_px(self, level: GeoBox) -> shapely.Geometry | None:
        if self.area is None:
            return None
        return shapely.transform(self.area, lambda xy: apply_transform(~level.affine, xy))

    def _in_area(self, points: TiePoints) -> TiePoints:
        """Without those that have moved out of it to better texture."""
        if self.area is None:
            return points
        return points.subset(shapely.contains_xy(self.area, *points.ref_xy.T))

    def match_at(
        self, centre_px: NDArray[np.intp], prior: Model, factor: int, how: How, *, window_px: int, reach_px: int
    ) -> TiePoints:
        """Match the windows about (N, 2) places (column, row) of `Pair.level` of ``factor``, in their order, and no others."""
        level = self.pair.level(factor)
        measured = list(self._run(level, prior, [centre_px], window_px, reach_px, 0, how, rough=False))
        points = self._collect(measured, window_px, reach_px, abs(level.affine.determinant) ** 0.5)
        return replace(points, reduction=factor)

    def sides(self, model: Model) -> tuple[tuple[Reader, Placement, Looks], tuple[Reader, Placement, Looks]]:
        """Reference and target, where each lies once ``model`` corrects the target, and how they are looked at."""
        ref, tgt = (
            Looks(bands, self.options.preprocess, self.options.combine)
            for bands in (self.names.ref_bands, self.names.tgt_bands)
        )
        return (
            (self.ref, self.pair.reference_placement(), ref),
            (self.tgt, self.pair.target_placement(model), tgt),
        )

    def _in_parts(
        self, centres: NDArray[np.intp], level: GeoBox, inside: shapely.Geometry, spacing_px: float
    ) -> NDArray[np.intp]:
        """Few windows, far from each other, are matched anywhere near: each where one part of the reference has it whole."""
        height, width = self.ref.part_shape
        place = self.pair.reference_placement()
        ref_px = place.to_px(apply_transform(level.affine, centres.astype(float)))
        middle_px = (np.floor(ref_px / (width, height)) + 0.5) * (width, height)
        moved = np.rint(apply_transform(~level.affine, place.to_xy(middle_px))).astype(np.intp)
        near = np.abs(moved - centres).max(axis=1) < spacing_px / 4
        fit = near & shapely.contains_xy(inside, *moved.T)
        return np.where(fit[:, None], moved, centres)

    def _strip(self, level: GeoBox) -> int:
        """How many squares wide strips may be whose decoded pixels are kept until the squares below have used them."""
        gsd = abs(level.affine.determinant) ** 0.5
        widest = math.inf
        for reader, place, look in self.sides(identity()):
            part, (left, top, right, bottom) = reader.part_shape, footprint(place).bounds
            own = math.sqrt((right - left) * (bottom - top) / math.prod(reader.raster.shape))
            bytes_px = sum(np.dtype(reader.raster.dtypes[band - 1]).itemsize for band in look.bands)
            rows = 1.5 * BLOCK_PX * gsd / own + 2 * part[0]
            widest = min(widest, (KEPT_BYTES / (rows * bytes_px) - 2 * part[1]) * own / gsd)
        return max(1, int(widest / BLOCK_PX)) if math.isfinite(widest) else 1

    def _reach_px(self, window_px: int, gsd: float, asked_px: int | None) -> int:
        """How far windows are sought from where they are expected: even, since large ones are compared on every second pixel,
        and by one of these more than is to be found."""
        most = widest_reach_px(window_px) if asked_px is None else min(asked_px, widest_reach_px(window_px))
        return most if self.reach is None else min(most, 2 * math.ceil(self.reach / gsd / 2) + 2)

    def max_shift(self) -> float:
        """Largest displacement to accept, map units."""
        limit_m = self.options.max_shift_m
        return math.inf if limit_m is None else limit_m / self.pair.crs.axis_info[0].unit_conversion_factor

    def _run(
        self,
        level: GeoBox,
        prior: Model,
        parts: Sequence[NDArray[np.intp]],
        window_px: int,
        reach_px: int,
        wander_px: int,
        how: How,
        rough: bool,
    ) -> Iterator[Measured]:
        (ref, ref_place, ref_look), (tgt, tgt_place, tgt_look) = self.sides(prior)
        halo = halo_px(window_px, wander_px, how, reach_px)
        every = max(1, sum(map(len, parts)) // CONTROLS)
        template = Block(
            ref, tgt, ref_place, tgt_place, (ref_look, tgt_look), level, np.zeros((0, 2), np.intp), np.zeros(0, np.intp),
            window_px, reach_px, wander_px, rough, how, self.device,
        )  # fmt: skip
        tasks = (
            replace(
                template,
                grid=window(level, tuple(chosen.min(axis=0) - halo), tuple(chosen.max(axis=0) + halo)),
                centre_px=chosen - (chosen.min(axis=0) - halo),
                control=np.flatnonzero(np.arange(len(chosen)) % every == 0),
            )
            for chosen in parts
        )
        # few windows, or large pixels, which are made of all the others and kept in this process
        executor = near(self.executor) if rough else self.executor
        return run_ordered(match_block, tasks, executor)

    def _collect(self, measured: list[Measured], window_px: int, reach_px: int, gsd: float) -> TiePoints:
        matches = concatenated([m.matches for m in measured])
        control = np.concatenate([np.zeros(0), *(m.control_significance for m in measured)])
        n_controls = sum(m.n_controls for m in measured)
        least = least_significance(control, n_controls, self.options.false_match_rate)
        if self.reach is not None:  # where the ground repeats, so do the controls
            least = min(least, CERTAIN)
        status = matches.status.copy()
        status[(status == Status.KEPT) & ~(matches.significance >= least)] = Status.WEAK_PEAK
        cov_px = trusted_covariance(replace(matches, status=status))
        linear = measured[0].linear if measured else np.eye(2)
        ref_xy, tgt_xy = (
            np.concatenate([np.zeros((0, 2)), *(getattr(m, side) for m in measured)]) for side in ("ref_xy", "tgt_xy")
        )
        kept = status == Status.KEPT
        if kept.any() and np.median(np.hypot(*(ref_xy - tgt_xy)[kept].T)) > self.max_shift():
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
            search_px=float(reach_px),
            chance=(float((control >= least).sum()) + 1) / (n_controls + 1),
        )


@dataclass(frozen=True)
class Overview:
    """A raster at low resolution, as the tiles see it: with the same bands and the same preprocessing."""

    image: NDArray[np.float32]
    """(bands, height, width)"""
    valid: NDArray[np.bool_]
    """(height, width)"""
    grid: GeoBox


def overviews(tiles: Tiles, regions_px: tuple[shapely.Geometry, shapely.Geometry], factor: int) -> list[Overview]:
    """Reference and uncorrected target in their regions, given and sampled on `Pair.level` of ``factor``.

    Of the reference only what lies in the area of ``tiles`` is valid.
    """
    level = tiles.pair.level(factor)

    def seen(side: tuple[Reader, Placement, Looks], region: shapely.Geometry) -> Overview:
        left, top, right, bottom = region.bounds
        return overview(side, window(level, (left, top), (right, bottom)), rough=True)

    ref, tgt = at_once(seen, zip(tiles.sides(identity()), regions_px, strict=True), tiles.options.threads)
    if tiles.area is not None:  # of the target it is not known yet where that is
        ref = replace(ref, valid=ref.valid & polygons.inside_grid(tiles.area, ref.grid))
    return [ref, tgt]


def overview(
    side: tuple[Reader, Placement, Looks], grid: GeoBox, *, rough: bool = False, frugal: bool = False
) -> Overview:
    """One of `Tiles.sides` sampled on a grid; ``frugal`` reads no finer pixels than the grid's where those lie alike."""
    reader, place, look = side
    snap_px = max(grid.shape) if frugal else None
    patch = sample(
        reader, place, grid, look.bands, kernel="bilinear" if rough else "quintic", snap_px=snap_px, overviews=rough
    )
    valid = informative(patch.data, patch.valid)
    image = preprocess(patch.data, valid, how=look.preprocess, combine=look.combine)
    return Overview(image if patch.whole_px is None else _onto_grid(image, patch), valid, grid)


def _onto_grid(image: NDArray[np.float32], patch: Patch) -> NDArray[np.float32]:
    """An image of whole pixels of a raster moved by the fraction of a pixel that lays its middle where the grid's is."""
    assert patch.whole_px is not None
    height, width = patch.grid.shape
    middle = np.array([[width / 2, height / 2]])
    own_px = patch.placement.to_px(apply_transform(patch.grid.affine, middle)) / patch.whole_px[2] - patch.whole_px[:2]
    move = np.column_stack([np.eye(2), (own_px - middle)[0]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = [cv2.warpAffine(band, move, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE) for band in image]
    return np.stack(moved)


def window(level: GeoBox, low_px: tuple[float, float], high_px: tuple[float, float]) -> GeoBox:
    """The part of a level between two corners (column, row); may reach outside."""
    left, top = math.floor(low_px[0]), math.floor(low_px[1])
    width, height = max(1, math.ceil(high_px[0]) - left), max(1, math.ceil(high_px[1]) - top)
    return GeoBox((height, width), compose(level.affine, level.affine.translation(left, top)), level.crs)


def suited_to_squares_px(squares: Squares, how: How) -> int:
    """Side of the largest windows of which enough lie, with all that is read around them, within patches."""
    sides = STRUCTURE_WINDOWS_PX if how == "structure" else tuple(side for side in WINDOWS_PX if side >= 48)
    for side in sides:
        free = squares.side_px - 2 * halo_px(side, side // 4, how)
        if free >= 0 and len(squares.low_px) * (2 * free // side + 1) ** 2 >= ENOUGH_WINDOWS:
            return side
    return sides[-1]


def suited_window_px(area_px: float, how: How, factor: int) -> int:
    """Side of the windows of which enough fit in an overlap."""
    if how == "structure":
        longest = math.sqrt(area_px) / (2 if factor == 1 else 4)
        return next((side for side in STRUCTURE_WINDOWS_PX if side <= longest), STRUCTURE_WINDOWS_PX[-1])
    if how == "fast":
        area_px = min(area_px, FAST_PX**2 / 4 * WINDOWS_PX[FAST_PX])
    return next(side for side, enough in WINDOWS_PX.items() if area_px / (side / 2) ** 2 >= enough)
