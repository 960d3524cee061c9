"""The ground that two rasters share, and the grid they are matched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS

from georeg.errors import InputError
from georeg.initial import PIXELS, utm_zone
from georeg.models import FloatArray, Model, identity
from georeg.placement import Placement, apply_transform, compose
from georeg.raster import Raster

_SIDE_POINTS = 21


@dataclass(frozen=True)
class Pair:
    """Two rasters and the grid on which they are compared."""

    reference: Raster
    target: Raster
    crs: CRS
    """Working CRS."""
    grid: GeoBox
    """Working grid over the whole reference; never read at once."""
    gsd: float
    """Working pixel size, map units."""

    def reference_placement(self) -> Placement:
        """Where the reference lies: as its georeferencing says."""
        return Placement(self.reference, self.crs, identity())

    def target_placement(self, model: Model) -> Placement:
        """Where the target lies once ``model`` corrects it."""
        return Placement(self.target, self.crs, model)

    def overlap_px(self, model: Model, level: GeoBox, area: shapely.Geometry | None = None) -> shapely.Geometry:
        """The ground that both share once ``model`` corrects the target, in pixels of ``level``.

        With an ``area``, in the working CRS, only what of it lies there.
        """
        ref = footprint(self.reference_placement())
        tgt = footprint(self.target_placement(model))
        shared = shapely.intersection(ref, tgt)
        if area is not None:
            shared = shapely.intersection(shared, area)
        return shapely.transform(shared, lambda xy: apply_transform(~level.affine, xy))

    def level(self, factor: int) -> GeoBox:
        """The working grid with pixels ``factor`` times as large."""
        shape = (max(1, self.grid.shape[0] // factor), max(1, self.grid.shape[1] // factor))
        return GeoBox(shape, compose(self.grid.affine, Affine.scale(factor)), self.grid.crs)


def pair_rasters(reference: Raster, target: Raster, prior: Model | None = None) -> Pair:
    """Find the working CRS and grid of two rasters.

    The CRS is the reference's where it is projected, else the UTM zone of the overlap. The grid is that of the coarser
    raster where this is possible, so that its pixels need no interpolation.

    Parameters
    ----------
    prior
        What is known of the correction: it may rotate the target and change the size of its pixels. It is affine.

    Raises
    ------
    InputError
        A georeferencing that cannot be projected.
    """
    prior = prior or identity()
    crs = reference.crs if reference.crs.is_projected else _utm(reference, target)
    places = [Placement(reference, crs, identity()), Placement(target, crs, prior)]
    outlines = [footprint(place) for place in places]
    shared = shapely.intersection(*outlines)
    ref_gsd, tgt_gsd = (
        _gsd(place, (outline if shared.is_empty else shared).centroid)
        for place, outline in zip(places, outlines, strict=True)
    )
    grid = _grid(places, outlines[0], ref_gsd, tgt_gsd)
    return Pair(reference, target, crs, grid, abs(grid.affine.determinant) ** 0.5)


def unit_name(crs: CRS) -> str:
    """Short name of the CRS's length unit: m, ft, …"""
    name = crs.axis_info[0].unit_name if crs.axis_info else "unit"
    return {"metre": "m", "meter": "m", "foot": "ft", "US survey foot": "ft", "pixel": "px"}.get(name, name)


def footprint(place: Placement) -> shapely.Geometry:
    """Outline of a raster's pixels in the working CRS.

    Raises
    ------
    InputError
        The outline cannot be projected to the working CRS.
    """
    height, width = place.raster.shape
    t = np.linspace(0, 1, _SIDE_POINTS)[:-1]
    zero, one = np.zeros_like(t), np.ones_like(t)
    around = np.concatenate([np.stack(side, axis=1) for side in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))])
    xy = place.to_xy(around * (width, height))
    if not np.isfinite(xy).all():
        raise InputError(
            f"the extent of {place.raster.name} cannot be expressed in {place.crs.name}; check its geotransform "
            f"{tuple(place.raster.transform)[:6]} and its CRS {place.raster.crs.name}"
        )
    return shapely.make_valid(shapely.Polygon(xy))


def _utm(reference: Raster, target: Raster) -> CRS:
    """UTM zone (or polar stereographic) of the centre of what two rasters share, or that of a target placed by it."""
    if reference.crs == PIXELS or target.placed in ("center", "none"):
        return target.crs  # without degrees: `PIXELS`, or the zone of the reference's centre
    wgs84 = CRS.from_epsg(4326)
    outlines = [footprint(Placement(raster, wgs84, identity())) for raster in (reference, target)]
    shared = shapely.intersection(*outlines)
    lon, lat = (outlines[0] if shared.is_empty else shared).centroid.coords[0]
    utm = utm_zone(lon, lat)
    if utm is None:
        raise InputError(
            f"no UTM zone at longitude {lon:.4f}, latitude {lat:.4f}; check the geotransform of {reference.name}"
        )
    return utm


def _gsd(place: Placement, at: shapely.Point) -> float:
    px = place.to_px(np.array([[at.x, at.y]]))
    around = place.to_xy(px + [[0, 0], [1, 0], [0, 1]])
    return float(np.sqrt(abs(np.linalg.det(around[1:] - around[0]))))


def _grid(places: list[Placement], outline: shapely.Geometry, ref_gsd: float, tgt_gsd: float) -> GeoBox:
    ref, tgt = places
    crs = ref.crs
    if ref.raster.crs == crs and ref_gsd * 1.05 >= tgt_gsd:
        return GeoBox(ref.raster.shape, ref.raster.transform, crs.to_wkt())
    if tgt.raster.crs == crs and tgt_gsd > ref_gsd and tgt.model.affine is not None:
        base = compose(tgt.model.affine, tgt.raster.transform)
    elif ref.raster.crs == crs:
        base = compose(ref.raster.transform, Affine.scale(tgt_gsd / ref_gsd))
    else:
        gsd = max(ref_gsd, tgt_gsd)
        base = Affine(gsd, 0, outline.bounds[0], 0, -gsd, outline.bounds[3])
    px = apply_transform(~base, shapely.get_coordinates(outline))
    low, high = np.floor(px.min(axis=0)).astype(int), np.ceil(px.max(axis=0)).astype(int)
    width, height = (int(n) for n in high - low)
    return GeoBox((height, width), compose(base, Affine.translation(int(low[0]), int(low[1]))), crs.to_wkt())


def nodes(
    overlap_px: shapely.Geometry,
    spacing_px: float,
    margins_px: Sequence[float],
    within_px: shapely.Geometry | None = None,
) -> NDArray[np.intp]:
    """Window centres (N, 2) (column, row) on a regular lattice, inside the overlap's outline by the first margin that fits, and
    anywhere in ``within_px``."""
    for margin in margins_px:
        area = shapely.buffer(overlap_px, -margin)
        around = shapely.buffer(area, 1.0)
        if within_px is not None:
            area, around = shapely.intersection(area, within_px), shapely.intersection(around, within_px)
        if area.is_empty:
            continue
        left, top, right, bottom = area.bounds
        axes = [_lattice(low, high, spacing_px) for low, high in ((left, right), (top, bottom))]
        x, y = (axis.ravel() for axis in np.meshgrid(*axes))
        inside = shapely.contains_xy(around, x, y)
        if inside.any():
            return np.asarray(np.rint(np.stack([x, y], axis=1)[inside]), np.intp)
    return np.zeros((0, 2), np.intp)


def _lattice(low: float, high: float, spacing: float) -> FloatArray:
    n = int((high - low) // spacing) + 1
    slack = (high - low) - (n - 1) * spacing
    return np.asarray(low + slack / 2 + spacing * np.arange(n), float)


def longer_side(region: shapely.Geometry) -> float:
    """Of the bounds of a region."""
    left, top, right, bottom = region.bounds
    return float(max(right - left, bottom - top))
