"""The pictures of a report: the ground of the tie points, and both images at full resolution around some places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from georeg.models import FloatArray
from georeg.placement import lattice
from georeg.report.findings import PlaceKind
from georeg.report.looks import Looks, Seen

CHIP_PX = 384
"""Working pixels on a side of a chip; less where the reference is smaller."""
OVERVIEW_PX = 900
"""Most pixels on a side of the overview."""
_AROUND = 0.02
"""So much more than the places on each side, as a share."""
_DARKEST = 0.05
_STEPS = 65
_SAMPLED = 20_000
"""So many pixels at least say which greys are frequent."""
Grey = NDArray[np.uint8]
"""(height, width), 0 where it is not valid."""


@dataclass(frozen=True, eq=False)
class Chip:
    """A place at full resolution; the three pictures are of the same ground."""

    kind: PlaceKind | Literal["middle"]
    """Which of `Findings.places`; ``middle`` where there are none: of a refused pair."""
    reference: Grey
    before: Grey
    """The target, uncorrected."""
    after: Grey
    """The target, corrected; its greys mean what those of ``before`` do."""
    at_px: tuple[float, float]
    """(column, row) of the place."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a report shows of the rasters."""

    overview: Grey
    """The reference over the ground of the tie points, north up."""
    extent: tuple[float, float, float, float]
    """Of the overview: xmin, ymin, xmax, ymax in the working CRS."""
    chips: tuple[Chip, ...]
    """In the orientation of the working grid."""
    gsd: float
    """Map units of a pixel of a chip."""
    unit: str
    """Of map coordinates, such as m."""


def overview(looks: Looks, around_xy: FloatArray) -> tuple[Grey, tuple[float, float, float, float]]:
    """The reference about (N, 2) places, north up and coarse, and its extent (xmin, ymin, xmax, ymax).

    Each pixel is as large as a power of two of the reference's, so that a file with overviews is read from one of them.
    """
    low, high = around_xy.min(axis=0), around_xy.max(axis=0)
    low, high = low - _AROUND * (high - low) - looks.gsd, high + _AROUND * (high - low) + looks.gsd
    reader, place = looks.reference, looks.pair.reference_placement()
    own_gsd = looks.gsd * math.sqrt(math.prod(looks.grid.shape) / math.prod(reader.raster.shape))
    reduce = 2 ** max(0, math.ceil(math.log2(float((high - low).max()) / (OVERVIEW_PX * own_gsd))))
    gsd = reduce * own_gsd
    width, height = (max(1, int(n)) for n in np.ceil((high - low) / gsd - 1e-9))
    grid = GeoBox((height, width), Affine(gsd, 0, low[0], 0, -gsd, high[1]), looks.pair.grid.crs)
    px = lattice(place, grid).positions(Window(0, 0, width, height)).px / reduce
    seen = np.isfinite(px).all(axis=0)
    extent = (float(low[0]), float(high[1] - height * gsd), float(low[0] + width * gsd), float(high[1]))
    if not seen.any():
        return np.zeros((height, width), np.uint8), extent
    corner = np.maximum(np.floor(px[:, seen].min(axis=1)).astype(int), 0)
    end = np.minimum(np.ceil(px[:, seen].max(axis=1)).astype(int) + 1, np.array(reader.raster.shape[::-1]) // reduce)
    shape = (int(max(1, end[1] - corner[1])), int(max(1, end[0] - corner[0])))
    bands = looks.points.inputs.ref_bands[:1]
    data, valid = reader.read((int(corner[1]), int(corner[0])), shape, bands, reduce=reduce, overviews=True)
    at = np.where(seen, np.floor(px) - corner[:, None, None], -1).astype(int)
    inside = (at >= 0).all(axis=0) & (at[0] < shape[1]) & (at[1] < shape[0])
    col, row = np.where(inside, at, 0)
    picture = grey(data[0], valid[0], (data[0], valid[0]))[row, col]
    return np.where(inside, picture, 0).astype(np.uint8), extent


def chip(kind: PlaceKind | Literal["middle"], seen: Seen, at_px: tuple[float, float]) -> Chip:
    """The pictures of a window; the target has the same greys before and after."""
    of_target = (seen.after, seen.after_valid) if seen.after_valid.any() else (seen.before, seen.before_valid)
    return Chip(
        kind,
        grey(seen.reference, seen.ref_valid, (seen.reference, seen.ref_valid)),
        grey(seen.before, seen.before_valid, of_target),
        grey(seen.after, seen.after_valid, of_target),
        at_px,
    )


def grey(image: NDArray[np.float32], valid: NDArray[np.bool_], scale: Sequence[NDArray[np.generic]]) -> Grey:
    """Each grey about as frequent as any in the pixels and validity of ``scale``, so that no cloud darkens the rest."""
    values = np.asarray(scale[0])[np.asarray(scale[1], bool)]
    values = values[:: max(1, values.size // _SAMPLED)]
    if not values.size:
        return np.zeros(image.shape, np.uint8)
    steps = np.linspace(0, 1, _STEPS)
    shade = _DARKEST + (1 - _DARKEST) * np.interp(image, np.quantile(values, steps), steps)
    return np.where(valid, np.rint(255 * shade), 0).astype(np.uint8)
