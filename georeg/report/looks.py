"""Both rasters on one working grid, before and after the correction: windows to compare and to draw."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from georeg.masks import with_mask
from georeg.models import FloatArray, Model, identity
from georeg.overlap import Pair, pair_rasters, unit_name
from georeg.placement import Placement, apply_transform, compose
from georeg.raster import open_pair
from georeg.reader import Reader
from georeg.tie_points import TiePoints
from georeg.warp import sample

TILE_PX = 256
"""Side of a tile, working pixels; less where the shared ground is small."""
MAX_TILES = 12
_CANDIDATES = 24
"""Along the longer side of the shared ground."""
_LEAST_TILE_PX = 32
_DECODED_PX, _DECODED_SHARE = (4 * 1024 * 1024, 16 * 1024 * 1024), 0.15
"""Of both files together no larger share of the pixels is decoded, but between the first number and the second."""
_ROUND_PX = 8
_SLIDES = 3
"""A window may slide by so many eighths of its side, to each side."""
_HALO_PX = 12
"""What interpolation takes more, pixels of a file."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One band of both rasters in a window of the working grid, all arrays (height, width)."""

    window: Window
    reference: NDArray[np.float32]
    before: NDArray[np.float32]
    """The target as its georeferencing has it."""
    after: NDArray[np.float32]
    """The target, corrected."""
    ref_valid: NDArray[np.bool_]
    before_valid: NDArray[np.bool_]
    after_valid: NDArray[np.bool_]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where all three are."""
        return np.asarray(self.ref_valid & self.before_valid & self.after_valid)


def inside(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(height, width) where the gradient is of valid pixels alone, and not of the edge."""
    inner = np.zeros_like(valid)
    inner[1:-1, 1:-1] = valid[1:-1, 1:-1] & valid[:-2, 1:-1] & valid[2:, 1:-1] & valid[1:-1, :-2] & valid[1:-1, 2:]
    return inner


@dataclass(frozen=True, eq=False)
class Looks:
    """A pair of open rasters and a correction."""

    pair: Pair
    points: TiePoints
    model: Model
    gsd: float
    """Working pixel size, map units."""
    grid: GeoBox
    """Working grid over the whole reference, of that pixel size."""
    reference: Reader
    target: Reader

    @property
    def unit(self) -> str:
        """Of map coordinates, such as m."""
        return unit_name(self.pair.crs)

    def see(self, window: Window) -> Seen:
        """Both rasters in a window of the grid; a window may reach over its edges."""
        reference, ref_valid = self.see_reference(window)
        before, before_valid = self.see_target(window, identity())
        after, after_valid = (before, before_valid) if self.model.still else self.see_target(window, self.model)
        return Seen(window, reference, before, after, ref_valid, before_valid, after_valid)

    def see_reference(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Pixels and whether they are valid, both (height, width)."""
        return self._see(self.reference, self.pair.reference_placement(), window, self.points.inputs.ref_bands)

    def see_target(self, window: Window, model: Model) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The same of the target, corrected by ``model``."""
        return self._see(self.target, self.pair.target_placement(model), window, self.points.inputs.tgt_bands)

    def _see(
        self, reader: Reader, placement: Placement, window: Window, bands: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        patch = sample(reader, placement, self.grid, bands[:1], kernel="cubic", window=window)
        finite = np.isfinite(patch.data[0])
        return np.where(finite, patch.data[0], 0), patch.valid[0] & finite

    def shared_px(self) -> shapely.Geometry:
        """The ground that both rasters share once the target is corrected, in pixels of the grid."""
        return self.pair.overlap_px(self.model, self.grid)


@contextmanager
def looking(points: TiePoints, model: Model, gsd: float, opened: Reader | None = None) -> Iterator[Looks]:
    """Open the two rasters of tie points, on a working grid whose pixels are ``gsd`` map units wide.

    ``opened`` is a reader of the reference that is open already, and stays so.

    Raises
    ------
    InputError
        One of them is no longer where it was, or cannot be read.
    """
    inputs = points.inputs
    reference, target = open_pair(
        inputs.reference,
        inputs.target,
        ref_nodata=inputs.ref_nodata,
        tgt_nodata=inputs.tgt_nodata,
        initial=inputs.initial,
    )
    reference, target = with_mask(reference, inputs.ref_mask), with_mask(target, inputs.tgt_mask)
    pair = pair_rasters(reference, target)
    with nullcontext(opened) if opened else Reader(reference) as ref, Reader(target) as tgt:
        yield Looks(pair, points, model, gsd, working_grid(pair, gsd), ref, tgt)


def working_grid(pair: Pair, gsd: float) -> GeoBox:
    """That of the pair, with pixels as large as those that the corrected target turned out to have."""
    factor = gsd / pair.gsd
    if abs(factor - 1) < 1e-6:
        return pair.grid
    height, width = (max(1, round(n / factor)) for n in pair.grid.shape)
    return GeoBox((height, width), compose(pair.grid.affine, Affine.scale(factor)), pair.grid.crs)


def window_about(looks: Looks, xy: FloatArray, side_px: int, decoded: set[Part]) -> Window:
    """Of the grid, around a place (2,) in the working CRS, in as few parts of the files as can be that are not ``decoded`` yet.

    The place lies at least an eighth of its side within the window; the window lies within the reference where that is large
    enough.
    """
    at_px = np.rint(apply_transform(~looks.grid.affine, np.reshape(xy, (1, 2)))[0])
    slides = np.arange(-_SLIDES, _SLIDES + 1) * (side_px // 8)
    by = np.stack([a.ravel() for a in np.meshgrid(slides, slides)], axis=1)
    room = np.maximum(0, np.array(looks.grid.shape[::-1]) - side_px)
    corners = np.clip(at_px - side_px // 2 + by, 0, room).astype(int)
    parts = _parts(looks, corners, side_px)
    new = [sum(part.n_px for part in of_one - decoded) for of_one in parts]
    best = min(range(len(corners)), key=lambda k: (new[k], float(np.hypot(*by[k]))))
    decoded |= parts[best]
    return Window(*corners[best].tolist(), side_px, side_px)


def tile_windows(looks: Looks, decoded: set[Part]) -> list[Window]:
    """At most `MAX_TILES` windows spread over the shared ground; what is ``decoded`` for other windows already is free, and of
    the rest so little is taken that it is no great part of what the alignment has read."""
    shared = looks.shared_px()
    if shared.is_empty:
        return []
    left, top, right, bottom = shared.bounds
    side = int(np.clip(min(right - left, bottom - top) / 4, _LEAST_TILE_PX, TILE_PX)) // _ROUND_PX * _ROUND_PX
    corners = _candidates(shared, side)
    parts, order = _parts(looks, corners, side), _farthest(corners, len(corners), 1)
    whole = sum(math.prod(reader.raster.shape) for reader in (looks.reference, looks.target))
    budget = float(np.clip(_DECODED_SHARE * whole, *_DECODED_PX)) - sum(part.n_px for part in decoded)
    held = set(decoded)
    for k in order:
        price = sum(part.n_px for part in parts[k] - held)
        if price <= budget or not held:
            budget, held = budget - price, held | parts[k]
    free = corners[[of_one <= held for of_one in parts]]
    chosen = free[_farthest(free, MAX_TILES, side)]
    return [Window(int(col), int(row), side, side) for col, row in chosen[np.lexsort(chosen.T)]]


def _candidates(shared: shapely.Geometry, side: int) -> NDArray[np.intp]:
    """(N, 2) corners (column, row) of tiles in the shared ground, half a side apart or more, so that they are a few hundred; of
    one in its middle if none fits."""
    left, top, right, bottom = (int(edge) for edge in shared.bounds)
    step = max(side // 2, max(right - left, bottom - top) // _CANDIDATES)
    cols, rows = np.arange(left // step, right // step + 1) * step, np.arange(top // step, bottom // step + 1) * step
    col, row = (a.ravel() for a in np.meshgrid(cols, rows))
    inside = shapely.contains(shared, shapely.box(col, row, col + side, row + side))
    if inside.any():
        return np.asarray(np.stack([col, row], axis=1)[inside], np.intp)
    middle = shapely.get_coordinates(shapely.point_on_surface(shared))
    return np.asarray(np.rint(middle - side / 2), np.intp)


@dataclass(frozen=True)
class Part:
    """A part of one of the files that is decoded at once."""

    of: str
    """ref or tgt."""
    row: int
    col: int
    n_px: int


def _parts(looks: Looks, corners: NDArray[np.intp], side: int) -> list[set[Part]]:
    """Of each window (N, 2) of the grid, the parts of both files that it shows, before and after the correction."""
    around = corners[:, None] + np.array([[0, 0], [side, 0], [side, side], [0, side]])
    xy = apply_transform(looks.grid.affine, around.reshape(-1, 2).astype(float))
    found: list[set[Part]] = [set() for _ in corners]
    for of, reader, placement in (
        ("ref", looks.reference, looks.pair.reference_placement()),
        ("tgt", looks.target, looks.pair.target_placement(identity())),
        ("tgt", looks.target, looks.pair.target_placement(looks.model)),
    ):
        px = placement.to_px(xy).reshape(len(corners), 4, 2)
        height, width = reader.part_shape
        last = (np.array(reader.raster.shape[::-1]) - 1) // (width, height)
        for k in np.flatnonzero(np.isfinite(px).all(axis=(1, 2))):
            low, high = px[k].min(axis=0) - _HALO_PX, px[k].max(axis=0) + _HALO_PX
            first, end = (np.floor(at / (width, height)).astype(int) for at in (low, high))
            cols, rows = (range(max(first[i], 0), min(end[i], last[i]) + 1) for i in (0, 1))
            found[k] |= {Part(of, row, col, height * width) for row in rows for col in cols}
    return found


def _farthest(at: NDArray[np.intp], most: int, apart: int) -> list[int]:
    """Numbers of at most ``most`` places (N, 2), from the middle on each as far as can be from those before it, and at least
    so far ``apart`` along an axis."""
    order: list[int] = []
    distance = -np.abs(at - at.mean(axis=0)).max(axis=1, initial=0) if len(at) else np.zeros(0)
    while len(order) < most and len(at):
        order.append(int(distance.argmax()))
        away = np.abs(at - at[order[-1]]).max(axis=1)
        distance = away if len(order) == 1 else np.minimum(distance, away)
        if distance.max() < apart:
            break
    return order
