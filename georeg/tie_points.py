"""The tie points of a pair: the same features found in reference and target."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from georeg.options import InitialKind

FloatArray = NDArray[np.float64]


_PLACES = 25
HARDLY = 0.6
"""Windows whose centres are this share of their side apart hardly overlap."""


class Status(IntEnum):
    """Whether a tie point is kept, or why it was rejected."""

    KEPT = 0
    MASKED = 1
    """Too few valid pixels in a window, or none of its edges on valid ground."""
    LOW_TEXTURE = 2
    """A window without contrast, or with contrast in one direction only, such as a lone straight edge."""
    WEAK_PEAK = 3
    """No better than windows that are known not to correspond."""
    INCONSISTENT = 4
    """The refinement left its start, or two estimators see different features."""
    OUT_OF_RANGE = 5
    """Found further away than the search reaches."""
    AMBIGUOUS_PEAK = 6
    """Another place fits about as well."""
    PINNED = 7
    """Made by hand and to be kept: no search and no fit may reject it."""
    DISABLED = 8
    """Switched off by hand."""


@dataclass(frozen=True)
class Inputs:
    """The two rasters that were compared, and which of their pixels."""

    reference: str
    """Path of the trusted raster."""
    target: str
    """Path of the raster to correct."""
    ref_bands: tuple[int, ...] = (1,)
    """1-based."""
    tgt_bands: tuple[int, ...] = (1,)
    """1-based."""
    ref_nodata: float | None = None
    """Given by the user; None for the file's own mask."""
    tgt_nodata: float | None = None
    """Given by the user; None for the file's own mask."""
    initial: InitialKind = "auto"
    """What the target was placed by before it was matched."""
    gcp: str | None = None
    """Path of the points made by hand that said where the target lies; None where the search found it by itself."""
    area: str | None = None
    """Path of the polygons within which they were sought; None for all ground that both share."""
    ref_mask: str | None = None
    """Path of what was not matched of the reference, beside its own mask."""
    tgt_mask: str | None = None
    """Path of what was not matched of the target, beside its own mask."""


@dataclass(frozen=True, eq=False)
class TiePoints:
    """N tie points in the working CRS; rejected ones stay, with their reason."""

    ref_xy: FloatArray
    """(N, 2) map coordinates in the reference."""
    tgt_xy: FloatArray
    """(N, 2) map coordinates of the same features in the target, as its georeferencing has them."""
    cov: FloatArray
    """(N, 2, 2) covariance of ``ref_xy − tgt_xy``, map units squared."""
    score: FloatArray
    """(N,) 0 to 1."""
    status: NDArray[np.uint8]
    """(N,) a `Status` for each."""
    inputs: Inputs
    """Where they were measured."""
    crs: str
    """Working CRS as WKT."""
    gsd: float
    """Working pixel size, map units."""
    window_px: int
    """Side of the matched windows, working pixels."""
    search_px: float
    """Matches were sought this far from where they were expected, working pixels."""
    chance: float
    """Share of windows known not to correspond that passed the same tests."""
    log10_tests: float = 0.0
    """About how many placements they were sought at, of which this was the best."""
    overlap: float = 1.0
    """Share of the smaller raster that lies on the other there."""
    reduction: int = 1
    """Each pixel that is spoken of here is so many of the working grid on a side."""
    step: float = 1.0
    """Distance of the windows as a share of their side."""
    apart: float = 0.0
    """Those that a chain of steps shorter than this connects are of one patch of ground, map units; 0: there are no patches."""
    outline_xy: FloatArray = field(default_factory=lambda: np.zeros((0, 2)))
    """(M, 2) outline of the ground that both rasters share, in the target as its georeferencing has it; empty: not known."""

    def __post_init__(self) -> None:
        n = len(self.ref_xy)
        shapes = {
            "ref_xy": (n, 2),
            "tgt_xy": (n, 2),
            "cov": (n, 2, 2),
            "score": (n,),
            "status": (n,),
            "outline_xy": (-1, 2),
        }
        for name, shape in shapes.items():
            array = np.array(getattr(self, name), np.uint8 if name == "status" else np.float64).reshape(shape)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.ref_xy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TiePoints) and all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
        )

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(N,) True where the tie point may be used."""
        return np.asarray((self.status == Status.KEPT) | self.pinned)

    @property
    def pinned(self) -> NDArray[np.bool_]:
        """(N,) True where the tie point must be used: it checks no model, and none may reject it."""
        return np.asarray(self.status == Status.PINNED)

    @property
    def displacement(self) -> FloatArray:
        """(N, 2) reference − target, map units, +x east, +y north."""
        return np.asarray(self.ref_xy - self.tgt_xy)

    @cached_property
    def redundancy(self) -> FloatArray:
        """(N,) how many windows of kept tie points see each pixel of a window, in the mean: 1 where it overlaps with none.

        So many times what they saw would count, were they taken for independent.
        """
        sides = self.ref_xy / (self.gsd * self.window_px)
        kept = sides[self.kept]
        parts = np.array_split(sides, max(1, len(self) // 1000))
        shared = [np.einsum("nk,nk->n", *(_common(part[:, axis], kept[:, axis]) for axis in (0, 1))) for part in parts]
        return np.asarray(np.maximum(1.0, np.concatenate(shared)))

    def everywhere_xy(self) -> FloatArray:
        """(K, 2) places all over the ground that both rasters share, or about the tie points where that is not known."""
        outline = self.outline_xy if len(self.outline_xy) else self.tgt_xy
        if not len(outline):
            return outline
        region = shapely.Polygon(outline) if len(self.outline_xy) else shapely.MultiPoint(outline).envelope
        x, y = (a.ravel() for a in np.meshgrid(*np.linspace(outline.min(axis=0), outline.max(axis=0), _PLACES).T))
        inside = shapely.contains_xy(shapely.make_valid(region), x, y)
        return np.concatenate([shapely.get_coordinates(region), np.stack([x, y], axis=1)[inside]])

    def subset(self, chosen: NDArray[np.bool_]) -> TiePoints:
        """Only the ``chosen`` (N,) tie points."""
        arrays = {name: getattr(self, name)[chosen] for name in ("ref_xy", "tgt_xy", "cov", "score", "status")}
        return replace(self, **arrays)

    def joined(self, other: TiePoints) -> TiePoints:
        """These tie points and then those of ``other``, which must be of the same working CRS."""
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("ref_xy", "tgt_xy", "cov", "score", "status")
        }
        return replace(self, **arrays)

    def witnesses(self, chosen: NDArray[np.bool_]) -> int:
        """How many of the ``chosen`` (N,) tie points saw ground of their own: windows that hardly overlap, one by one.

        Windows that share pixels share what these pixels say, be it right or wrong.
        """
        px = self.ref_xy[chosen] / (self.gsd * self.window_px)
        orders = (np.lexsort(np.round(8 * side * px.T) / 8) for side in (1, -1, np.array([[1], [-1]])))
        return max(_apart(px[order]) for order in orders)

    def counts(self) -> dict[str, int]:
        """Number of points by status, only those that occur."""
        return {s.name.lower(): int(n) for s in Status if (n := (self.status == s).sum())}


def _common(at: FloatArray, others: FloatArray) -> FloatArray:
    """(N, K) share of its side that each of N windows has in common with each of K others, along one axis."""
    common = np.abs(at[:, None] - others)
    return np.maximum(np.subtract(1, common, out=common), 0, out=common)


def _apart(px: FloatArray) -> int:
    """How many of (N, 2) windows, taken one after the other, hardly overlap with any taken before; in window sides."""
    taken = np.zeros((0, 2))
    for at in px:
        if not (np.abs(taken - at) < HARDLY).all(axis=1).any():
            taken = np.vstack([taken, at])
    return len(taken)
