"""Whether two aligned rasters agree at another place as well: then something is printed in both, or it hides the ground."""

from __future__ import annotations

import math

import numpy as np
from odc.geo.geobox import GeoBox

from georeg.errors import MatchError
from georeg.execution import at_once
from georeg.lazily import Lazily
from georeg.matching.coarse import Rival, strongest_rival
from georeg.models import FloatArray, Model
from georeg.overlap import Pair, longer_side, nodes
from georeg.placement import apply_transform
from georeg.seeds import Seed
from georeg.tie_points import Status, TiePoints
from georeg.tiles import Tiles, overview, window

polygons = Lazily("georeg.polygons")
EVIDENT = ((0.35, 14.0, 0.0), (0.2, 18.0, 0.1))
"""A second shift is a rival if it has this share of the correlation at none, so many standard deviations of chance, and in
each patch the share of the third: else some ground has moved, which tie points find out."""
PATCH_PX = 384
"""Side of the patches at full resolution in which a rival is sought, up to half as far away."""
PATCHES = 2
"""About how many of them."""
PRINTED_SHARE = 0.25
"""If fewer of the windows that show anything agree, on the same pixels of both files, something is printed there."""
LEVELS = {1: 6, 2: 3, 4: 2}
"""Reductions at which one is sought, and how far away it must be in their pixels: a pattern of single pixels hides the
ground on the finest, and vanishes on others."""


def refuse_print(points: TiePoints, pair: Pair, prior: Model) -> None:
    """Raise where the same pixels of both files are found to agree, but in few of the windows that show anything.

    Raises
    ------
    MatchError
        A screen's tools, a collar or a legend may be all that both show.
    """
    telling = int((points.kept | ~np.isin(points.status, (Status.MASKED, Status.LOW_TEXTURE))).sum())
    kept = int(points.kept.sum())
    if kept < PRINTED_SHARE * telling and on_same_pixels(pair, prior):
        raise MatchError(
            f"refused: {kept} of {telling} windows agree, and on the same pixels of both files, as what is printed in both "
            "would; set that to nodata, or try other bands"
        )


def on_same_pixels(pair: Pair, model: Model) -> bool:
    """Whether a correction lays every pixel of the target's file on the same of the reference's, but for one pixel."""
    height, width = pair.target.shape
    px = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    on = pair.reference_placement().to_px(pair.target_placement(model).to_xy(px))
    return bool(np.abs(on - px).max() <= 1)


def refuse_other_ground(tiles: Tiles, prior: Model, seed: Seed | None = None) -> None:
    """Raise where both rasters, so aligned, agree at another shift as well, and the ground does not repeat there.

    With a ``seed``, only as far from where it puts the target as its points may be wrong.

    Raises
    ------
    MatchError
        They do: something is printed in both rasters, or the ground is where that is not.
    """
    tasks = [(tiles, prior, factor, seed) for factor in LEVELS]
    for factor, rival in zip(LEVELS, at_once(_strongest_rival, tasks, tiles.options.threads), strict=True):
        if rival is not None and any(np.all(_seen(rival) >= np.array(needed)) for needed in EVIDENT):
            apart_px = factor * float(np.hypot(*rival.shift_px))
            raise MatchError(
                f"refused as ambiguous: {tiles.pair.reference.name} and {tiles.pair.target.name} agree at another place too, "
                f"{apart_px:.0f} px away and {rival.share:.0%} as well; if something is printed in both, such as clouds, a "
                "watermark or a pattern of the sensor, set it to nodata, or try other bands"
            )


def _seen(rival: Rival) -> FloatArray:
    """As `EVIDENT` asks for."""
    return np.array([rival.share, rival.sigmas, rival.least_share])


def _strongest_rival(tiles: Tiles, prior: Model, factor: int, seed: Seed | None) -> Rival | None:
    level = tiles.pair.level(factor)
    overlap = tiles.pair.overlap_px(prior, level, tiles.area)
    half = int(min(longer_side(overlap), PATCH_PX)) // 2
    squares = tiles.patches.squares(factor, prior) if tiles.patches is not None else None
    if squares is None:
        centres = nodes(overlap, max(math.sqrt(overlap.area / PATCHES), 2 * half), (half, half / 2, 0))
    else:
        half = min(half, squares.side_px // 2)
        centres = squares.low_px + squares.side_px // 2
        centres = centres[:: math.ceil(len(centres) / PATCHES)]
    patches = []
    for centre in centres[:: max(1, len(centres) // PATCHES)]:
        grid = window(level, tuple(centre - half), tuple(centre + half))
        ref, tgt = (overview(side, grid, rough=True, frugal=tiles.patches is not None) for side in tiles.sides(prior))
        asked = True if tiles.area is None else polygons.inside_grid(tiles.area, grid)
        patches.append(((ref.image, ref.valid & asked), (tgt.image, tgt.valid & asked)))
    within = None if seed is None else _within_px(seed, prior, level)
    return strongest_rival(patches, LEVELS[factor], within) if patches else None


def _within_px(seed: Seed, prior: Model, level: GeoBox) -> tuple[FloatArray, float]:
    """The shift in pixels of ``level`` that would put the target where ``seed`` does instead of ``prior``, and how far from it
    another may be."""
    at = seed.points.tgt_xy.mean(axis=0, keepdims=True)
    ref_px, tgt_px = (apply_transform(~level.affine, model(at))[0] for model in (seed.model, prior))
    return tgt_px - ref_px, seed.reach() / abs(level.affine.determinant) ** 0.5
