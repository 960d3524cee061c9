"""Few patches of ground, spread evenly, in which all windows lie: for rasters that are slow to read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from georeg.models import FloatArray, Model
from georeg.overlap import Pair, nodes
from georeg.placement import Placement, apply_transform, compose, lattice

REMOTE_PATCHES = 16
"""About so many of remote rasters."""
SIDES_PX = (224, 352, 480, 736, 992)
"""Sides to choose from: the longest that hardly takes more blocks of the files than the shortest."""
HARDLY_MORE = 1.15
SPARSE = 3
"""On reduced pixels, which only improve where the target is expected, one patch for this many at full resolution."""
GUARD_PX, SPLINE_PX = 8, 56
"""Read around a square: the target moves a little while it is being found, and an interpolation reaches further."""
STEP_PX, FAR_PX = 8, 512
"""Places are tried this far apart, and no further than this from an even spread."""
LEAST_VALID = 0.05
"""Where less than this share of the pixels is valid there is no patch."""
LEAST_PATCHES, LEAST_REDUCED = 5, 3
"""As many as there are classes of blocks, of which one is withheld to check; and on reduced pixels, where none is."""


@dataclass(frozen=True, eq=False)
class Squares:
    """Patches on one level."""

    low_px: NDArray[np.intp]
    """(K, 2) first column and row of each, pixels of the level."""
    side_px: int

    def shapes(self) -> list[shapely.Geometry]:
        """The squares themselves."""
        return [shapely.box(x, y, x + self.side_px, y + self.side_px) for x, y in self.low_px]

    def gap_px(self) -> float:
        """The least distance of two of them, along the axis on which they are further apart."""
        between = np.abs(self.low_px[:, None] - self.low_px).max(axis=2)
        return float(between[~np.eye(len(between), dtype=bool)].min()) - self.side_px


@dataclass(frozen=True, eq=False)
class Patches:
    """Where patches lie on each level: chosen when they are first asked for, and the same from then on."""

    pair: Pair
    n: int
    """About how many at full resolution."""
    valid: NDArray[np.bool_]
    """(height, width) where both rasters have pixels, seen from afar."""
    grid: GeoBox
    """Of ``valid``."""
    seen_from: int
    """Of pixels so many times as large as the working grid's all have been read already."""
    least_px: int = 0
    """Shortest side that will do."""
    area: shapely.Geometry | None = None
    """In which they must lie, in the working CRS; None: anywhere."""
    _found: dict[int, Squares | None] = field(default_factory=dict, repr=False)

    def squares(self, factor: int, prior: Model) -> Squares | None:
        """Those on pixels ``factor`` times the working grid's, with the target about where ``prior`` puts it.

        None where patches would spare little, so that all of the ground may be read.
        """
        if factor not in self._found:
            self._found[factor] = self._chosen(factor, prior) if factor < self.seen_from else None
        return self._found[factor]

    def _chosen(self, factor: int, prior: Model) -> Squares | None:
        level = self.pair.level(factor)
        overlap = self.pair.overlap_px(prior, level, self.area)
        n, least = (self.n, LEAST_PATCHES) if factor == 1 else (max(self.n // SPARSE, LEAST_PATCHES), LEAST_REDUCED)
        spacing = math.sqrt(overlap.area * max(float(self.valid.mean()), LEAST_VALID) / n)
        files = [
            _File(place, level, factor)
            for place in (self.pair.reference_placement(), self.pair.target_placement(prior))
        ]
        found: list[tuple[Squares, float]] = []
        for side in sorted({max(side, self.least_px) for side in SIDES_PX}):
            if side + 2 * STEP_PX > spacing:
                break
            placed = self._placed(overlap, level, files, side, spacing)
            if placed is None or len(placed[0].low_px) < least or (found and placed[1] > HARDLY_MORE * found[0][1]):
                break
            found.append(placed)
        return found[-1][0] if found else None

    def _placed(
        self, overlap: shapely.Geometry, level: GeoBox, files: list[_File], side: int, spacing: float
    ) -> tuple[Squares, float] | None:
        """Squares of one side where they take the fewest blocks, and what share of the files each takes in the mean."""
        # further away blocks lie as they do nearby
        reach = int(min((spacing - side) / 2 - STEP_PX, max(file.block_px for file in files) / 2, FAR_PX))
        offsets = STEP_PX * np.arange(-(reach // STEP_PX), reach // STEP_PX + 1)
        offset = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
        offset = offset[np.argsort(np.hypot(*offset.T), kind="stable")]  # of places as good as each other the nearest
        region = shapely.buffer(overlap, -GUARD_PX)
        shapely.prepare(region)
        chosen, costs = [], []
        for centre in nodes(overlap, spacing, (side / 2, side / 4, 0)):
            low = centre - side // 2 + offset
            low = low[shapely.contains_properly(region, shapely.box(*low.T, *(low + side).T))]
            if not len(low):
                continue
            share = self._valid_share(low, side, level)
            blocks = np.sum([file.share(low, side) for file in files], axis=0)
            cost = np.where(share > LEAST_VALID, blocks / np.maximum(share, LEAST_VALID), np.inf)
            best = int(cost.argmin())
            if np.isfinite(cost[best]):
                chosen.append(low[best])
                costs.append(float(blocks[best]))
        if not chosen:
            return None
        # from the last to the first, see `Reader`: what is fetched then never follows on what was
        return Squares(np.array(chosen[::-1]), side), float(np.mean(costs))

    def _valid_share(self, low: NDArray[np.intp], side: int, level: GeoBox) -> FloatArray:
        """(N,) share of valid pixels in squares."""
        height, width = self.valid.shape
        summed = np.pad(self.valid.astype(float), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
        to_mask = compose(~self.grid.affine, level.affine)
        (left, top), (right, bottom) = (
            np.rint(np.clip(apply_transform(to_mask, at.astype(float)), 0, (width, height))).astype(int).T
            for at in (low, low + side)
        )
        right, bottom = np.maximum(right, left + 1).clip(max=width), np.maximum(bottom, top + 1).clip(max=height)
        left, top = np.minimum(left, right - 1), np.minimum(top, bottom - 1)
        total = summed[bottom, right] - summed[top, right] - summed[bottom, left] + summed[top, left]
        return np.asarray(total / ((right - left) * (bottom - top)))


class _File:
    """The blocks of a raster as they lie on a level."""

    def __init__(self, place: Placement, level: GeoBox, factor: int) -> None:
        self._place, self._level = place, level
        height, width = level.shape
        middle = GeoBox(
            (256, 256), compose(level.affine, level.affine.translation(int(width) // 2, int(height) // 2)), level.crs
        )
        nodes_px = lattice(place, middle)
        self._guard = GUARD_PX if nodes_px.whole_pixels(128, factor > 1) is not None else SPLINE_PX
        reduced = 1 << max(0, math.floor(math.log2(max(nodes_px.coarsening, 1) * 1.01))) if factor > 1 else 1
        self._block = reduced * np.array(place.raster.block_shape[::-1])
        self._size = np.array(place.raster.shape[::-1])
        self.block_px = float(self._block.max() / nodes_px.coarsening)
        """The longer side of a block, pixels of the level."""
        self._reduced = reduced

    def share(self, low: NDArray[np.intp], side: int) -> FloatArray:
        """(N,) share of the raster that is read for squares."""
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (side + 2 * self._guard) - self._guard
        xy = apply_transform(self._level.affine, (low[:, None] + corners).reshape(-1, 2).astype(float))
        px = np.clip(np.round(self._place.to_px(xy).reshape(-1, 4, 2), 3), 0, self._size)
        last = np.ceil(px.max(axis=1)) - 1
        n = (last // self._block - px.min(axis=1) // self._block + 1).prod(axis=1)
        block = np.minimum(self._block, self._size).prod() / self._reduced**2
        return np.asarray(n * block / self._size.prod())
