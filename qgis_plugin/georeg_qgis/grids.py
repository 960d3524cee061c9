"""Which pixels of a raster are exported, and how far is searched. Numbers in, numbers out: knows no QGIS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Least x, least y, largest x, largest y, map units."""
MOST_PICTURE_PX, MOST_DATA_PX = 36_000_000, 400_000_000
"""Pixels that are asked of a server, which is some 550 tiles, and that are copied of a raster that is at hand."""
_AS_FINE = 1.05
"""Pixels are taken for fine enough if they are coarser than wanted by no more than this factor."""
_MARGIN = 1.5
"""A distance that was clicked is searched for with this factor."""
_LEAST_PX = 10
"""And at least this much is searched beyond it, pixels."""


@dataclass(frozen=True)
class Grid:
    """Pixels of a raster that is to be written."""

    x: float
    """Left edge."""
    y: float
    """Upper edge."""
    pixel_x: float
    pixel_y: float
    columns: int
    rows: int

    @property
    def box(self) -> Box:
        """What it covers."""
        return self.x, self.y - self.rows * self.pixel_y, self.x + self.columns * self.pixel_x, self.y

    @property
    def n_px(self) -> int:
        """Number of its pixels."""
        return self.columns * self.rows


def common(one: Box, other: Box) -> Box | None:
    """What both cover; None where that is nothing.

    >>> common((0, 0, 2, 2), (1, 1, 3, 3)), common((0, 0, 1, 1), (1, 0, 2, 1))
    ((1, 1, 2, 2), None)
    """
    box = (max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))
    return box if box[0] < box[2] and box[1] < box[3] else None


def around(boxes: Sequence[Box]) -> Box:
    """A box around several.

    >>> around([(0, 0, 1, 1), (2, -1, 3, 0)])
    (0, -1, 3, 1)
    """
    left, bottom, right, top = zip(*boxes)
    return min(left), min(bottom), max(right), max(top)


def widened(box: Box, by: float) -> Box:
    """With so much more on each side."""
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def picture_grid(box: Box, pixel: float, natives: Sequence[float], origin: tuple[float, float], most_px: int) -> Grid:
    """Of a picture that a server draws or has as tiles.

    Where the tiles have pixel sizes of their own, ``natives``, the coarsest that is as fine as ``pixel`` is taken, counted from
    the tiles' ``origin``: then pixels are those of the tiles, none between two of them. Where that is more than ``most_px``,
    the pixels are coarser.

    >>> picture_grid((0.5, 0.5, 9.5, 9.5), 3.0, [1.0, 2.0, 4.0], (0.0, 100.0), 1000)
    Grid(x=0.0, y=10.0, pixel_x=2.0, pixel_y=2.0, columns=5, rows=5)
    """
    known = sorted(natives)
    if known:
        fine = [size for size in known if size <= _AS_FINE * pixel]
        sizes = known[known.index(fine[-1] if fine else known[0]) :]
        grids = [_snapped(box, size, size, origin) for size in sizes]
        return next((grid for grid in grids if grid.n_px <= most_px), grids[-1])
    least = math.sqrt((box[2] - box[0]) * (box[3] - box[1]) / (0.98 * most_px))
    size = max(pixel, least)
    return _snapped(box, size, size, (box[0], box[3]))


def own_grid(box: Box, whole: Box, columns: int, rows: int) -> Grid:
    """Of a raster's own pixels, those that touch ``box``, which lies in the ``whole`` of the raster.

    >>> own_grid((2.5, 2.5, 4.5, 4.5), (0.0, 0.0, 10.0, 10.0), 10, 10)
    Grid(x=2.0, y=5.0, pixel_x=1.0, pixel_y=1.0, columns=3, rows=3)
    """
    sizes = (whole[2] - whole[0]) / columns, (whole[3] - whole[1]) / rows
    inside = common(box, whole) or whole
    return _snapped(inside, *sizes, (whole[0], whole[3]))


def _snapped(box: Box, size_x: float, size_y: float, origin: tuple[float, float]) -> Grid:
    """Whole pixels that cover a box; what lies a millionth of a pixel beyond an edge is rounding."""
    left = math.floor((box[0] - origin[0]) / size_x + 1e-6)
    right = math.ceil((box[2] - origin[0]) / size_x - 1e-6)
    top = math.floor((origin[1] - box[3]) / size_y + 1e-6)
    bottom = math.ceil((origin[1] - box[1]) / size_y - 1e-6)
    x, y = origin[0] + left * size_x, origin[1] - top * size_y
    return Grid(x, y, size_x, size_y, max(1, right - left), max(1, bottom - top))


def search_m(distance_m: float, gsd_m: float) -> float:
    """How far to search where a feature is ``distance_m`` off: half as much again, in two digits, rounded up.

    >>> search_m(123.0, 1.0), search_m(0.0, 10.0), search_m(7.31, 0.05)
    (190.0, 100.0, 11.0)
    """
    wanted = max(_MARGIN * distance_m, distance_m + _LEAST_PX * gsd_m)
    if wanted <= 0:
        return 0.0
    ten = 10.0 ** (math.floor(math.log10(wanted)) - 1)
    return round(math.ceil(wanted / ten - 1e-9) * ten, 9)
