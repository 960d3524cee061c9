"""Both rasters in one window of the working grid, before and after, for a checkerboard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike
from odc.geo.geobox import GeoBox

from georeg.errors import InputError
from georeg.fit import Fit, Role
from georeg.masks import with_mask
from georeg.models import FloatArray, identity
from georeg.overlap import Pair, pair_rasters, unit_name
from georeg.placement import Placement, apply_transform, compose
from georeg.raster import open_pair
from georeg.reader import Reader
from georeg.warp import sample

SIDE_PX = 192
"""Working pixels on a side of a board."""
SQUARES = 6
"""Squares on a side of a board."""
TINTS = np.array([[1.0, 1.0, 1.0], [1.0, 0.88, 0.62]])
"""RGB. The reference's squares are grey and the target's are amber: they stay apart for colour-blind eyes too."""


@dataclass(frozen=True, eq=False)
class Board:
    """One band of both rasters around a place; grey values 0 to 1, of which invalid pixels are 0."""

    reference: FloatArray
    """(height, width)"""
    before: FloatArray
    """(height, width) the target as its georeferencing has it."""
    after: FloatArray
    """(height, width) the target, corrected."""
    affine: Affine
    """Pixel -> map, working CRS."""
    gsd: float
    """Working pixel size, map units."""
    unit: str
    """Of the map; ``px`` where there is no place on Earth."""

    def mixed(self, moved: FloatArray) -> FloatArray:
        """(height, width, 3) RGB 0 to 1: the reference in every other square, and ``moved`` in the others."""
        square = np.arange(SIDE_PX) * SQUARES // SIDE_PX
        odd = (square[:, None] + square) % 2
        return np.asarray(np.where(odd, moved, self.reference)[..., None] * TINTS[odd])


def board(fitted: Fit, place_xy: ArrayLike | None = None) -> Board:
    """Read a window of both rasters around a place.

    Parameters
    ----------
    fitted
        The correction, and which rasters.
    place_xy
        (2,) map xy in the reference, working CRS; by default a well-matched check point near the middle of all.

    Raises
    ------
    InputError
        A raster is no longer where it was, or the place is not finite or not two numbers.
    """
    points, inputs = fitted.points, fitted.points.inputs
    centre_xy = _centre_xy(fitted) if place_xy is None else np.asarray(place_xy, float)
    if centre_xy.shape != (2,) or not np.isfinite(centre_xy).all():
        raise InputError(f"{place_xy!r} is no place; give the x and the y of one in the working CRS")
    reference, target = open_pair(
        inputs.reference,
        inputs.target,
        ref_nodata=inputs.ref_nodata,
        tgt_nodata=inputs.tgt_nodata,
        initial=inputs.initial,
    )
    pair = pair_rasters(with_mask(reference, inputs.ref_mask), with_mask(target, inputs.tgt_mask))
    gsd = points.gsd / points.reduction
    grid = _window(pair, gsd, centre_xy)
    with Reader(pair.reference) as ref, Reader(pair.target) as tgt:
        return Board(
            _grey(ref, pair.reference_placement(), grid, inputs.ref_bands[:1]),
            _grey(tgt, pair.target_placement(identity()), grid, inputs.tgt_bands[:1]),
            _grey(tgt, pair.target_placement(fitted.model), grid, inputs.tgt_bands[:1]),
            grid.affine,
            gsd,
            unit_name(pair.crs),
        )


def round_length(at_most: float) -> float:
    """The longest of 1, 2 and 5 times a power of 10.

    >>> round_length(730.0), round_length(0.2)
    (500.0, 0.2)
    """
    step = 10 ** np.floor(np.log10(at_most))
    return float(step * max(k for k in (1, 2, 5) if k * step <= at_most * (1 + 1e-9)))


def _centre_xy(fitted: Fit) -> FloatArray:
    """The check point nearest the middle of all, of the better-matched half; any kept one where none are withheld."""
    points = fitted.points
    check = np.flatnonzero(fitted.role == Role.CHECK)
    check = check if len(check) else np.flatnonzero(points.kept)
    good = check[points.score[check] >= np.median(points.score[check])]
    far = np.hypot(*(points.ref_xy[good] - points.ref_xy[points.kept].mean(axis=0)).T)
    return np.asarray(points.ref_xy[good[far.argmin()]])


def _window(pair: Pair, gsd: float, centre_xy: FloatArray) -> GeoBox:
    """Working pixels around a place; their size is that of the corrected target where the search had to find it."""
    factor = gsd / pair.gsd if abs(gsd / pair.gsd - 1) > 1e-6 else 1.0
    affine = compose(pair.grid.affine, Affine.scale(factor))
    col, row = np.rint(apply_transform(~affine, centre_xy[None])[0]).astype(int)
    half = SIDE_PX // 2
    # kept within the reference where it is large enough
    height, width = (round(n / factor) for n in pair.grid.shape)
    col = int(np.clip(col, half, max(half, width - half)))
    row = int(np.clip(row, half, max(half, height - half)))
    return GeoBox((SIDE_PX, SIDE_PX), compose(affine, Affine.translation(col - half, row - half)), pair.grid.crs)


def _grey(reader: Reader, placement: Placement, grid: GeoBox, bands: tuple[int, ...]) -> FloatArray:
    """(height, width) 0 to 1, each grey about as frequent as any so that no cloud darkens the rest; invalid pixels black."""
    patch = sample(reader, placement, grid, bands)
    image, valid = patch.data[0].astype(float), patch.valid[0]
    if valid.any():
        steps = np.linspace(0, 1, 65)
        image = 0.05 + 0.95 * np.interp(image, np.quantile(image[valid], steps), steps)
    return np.where(valid, image, 0)
