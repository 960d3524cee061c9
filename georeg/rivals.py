"""Whether two aligned rasters agree at another place as well: then something is printed in both, or it hides the ground."""

from __future__ import annotations

import math

import numpy as np

from georeg.errors import MatchError
from georeg.matching.coarse import Rival, strongest_rival
from georeg.models import PolynomialDisplacement
from georeg.overlap import longer_side, nodes
from georeg.tiles import Tiles, overview, window

SHARE = 0.35
"""A second shift with this share of the correlation at none is a rival."""
SIGMAS = 14.0
"""If its correlation exceeds that of chance by so many standard deviations."""
PATCH_PX = 384
"""Side of the patches at full resolution in which a rival is sought, up to half as far away."""
PATCHES = 2
"""About how many of them."""
LEVELS = (1, 4)
"""Reductions at which one is sought: a pattern of single pixels hides the ground on the finest, and vanishes on others."""


def refuse_other_ground(tiles: Tiles, prior: PolynomialDisplacement) -> None:
    """Raise where both rasters, so aligned, agree at another shift as well, and the ground does not repeat there.

    Raises
    ------
    MatchError
        They do: something is printed in both rasters, or the ground is where that is not.
    """
    for factor in LEVELS:
        rival = _strongest_rival(tiles, prior, factor)
        if rival is not None and rival.share >= SHARE and rival.sigmas >= SIGMAS:
            apart_px = factor * float(np.hypot(*rival.shift_px))
            raise MatchError(
                f"refused as ambiguous: {tiles.pair.reference.name} and {tiles.pair.target.name} agree at another place too, "
                f"{apart_px:.0f} px away and {rival.share:.0%} as well; if something is printed in both, such as clouds, a "
                "watermark or a pattern of the sensor, set it to nodata, or try other bands"
            )


def _strongest_rival(tiles: Tiles, prior: PolynomialDisplacement, factor: int) -> Rival | None:
    level = tiles.pair.level(factor)
    overlap = tiles.pair.overlap_px(prior, level)
    half = int(min(longer_side(overlap), PATCH_PX)) // 2
    centres = nodes(overlap, max(math.sqrt(overlap.area / PATCHES), 2 * half), (half, half / 2, 0))
    patches = []
    for centre in centres[:: max(1, len(centres) // PATCHES)]:
        grid = window(level, tuple(centre - half), tuple(centre + half))
        ref, tgt = (overview(side, grid, rough=True) for side in tiles.sides(prior))
        patches.append(((ref.image, ref.valid), (tgt.image, tgt.valid)))
    return strongest_rival(patches) if patches else None
