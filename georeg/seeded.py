"""Where points made by hand put the target: tiles confirm it, or it is refused; nowhere else is searched."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from georeg.blocks import How
from georeg.errors import InputError, MatchError
from georeg.execution import Progress
from georeg.models import Model
from georeg.overlap import longer_side, unit_name
from georeg.prior import CONFIRMING, OVERVIEW_PX, Prior, doubt, test
from georeg.seeds import Seed
from georeg.tiles import Tiles

REACHED_PX = 16
"""Tiles find what is this far from where they expect it, in their pixels."""


def find_seeded(tiles: Tiles, seeds: Sequence[Seed], progress: Progress) -> Prior:
    """The first of the seeds that tiles confirm, on larger and then on smaller pixels.

    Each is tested like any candidate of a search, and then by tiles that are sought no further away than its points may be
    wrong: where ground repeats, they alone are not ambiguous.

    Raises
    ------
    MatchError
        Tiles confirm none, or only further away than its points may be wrong.
    """
    refuse_beyond(tiles, seeds)
    tests = list(_tests(tiles, seeds))
    tried: list[Prior] = []
    for k, (seed, how, level, reach) in enumerate(tests):
        progress("coarse", k, len(tests))
        prior, _ = test(replace(tiles, pair=seed.pair, reach=reach), seed.model, level, how, "seed")
        prior = replace(prior, seed=seed, reach=reach)
        if prior.confirmed and not _astray(seed, prior.model):
            progress("coarse", len(tests), len(tests))
            return prior
        tried.append(prior)
    best = min(tried, key=doubt)
    assert best.seed is not None
    if best.confirmed:
        refuse_astray(best.seed, best.model)
    alone = "add points, since one says nothing of a turn or a scale; " if len(best.seed.points) == 1 else ""
    raise MatchError(
        f"refused: {_told(best.seed)} put {tiles.pair.target.name} where {best.agreeing} tiles agree with each other, too few to "
        f"confirm it; {alone}check the points in QGIS, raise --gcp-sigma-px if they are less accurate, or leave out --gcp to "
        "search everywhere"
    )


def refuse_astray(seed: Seed, model: Model) -> None:
    """Raise where ``model`` puts the target further from where the seed does than its points may be wrong.

    Raises
    ------
    MatchError
        With both distances.
    """
    if _astray(seed, model):
        apart, allowed = (distance / seed.pair.gsd for distance in seed.apart(model))
        raise MatchError(
            f"refused: tiles agree on a place of {seed.pair.target.name} that is {apart:.1f} px from where {_told(seed)} put it, "
            f"and by --gcp-sigma-px it may be {allowed:.1f} px; correct the points, raise --gcp-sigma-px, or leave out --gcp to "
            "search everywhere"
        )


def refuse_beyond(tiles: Tiles, seeds: Sequence[Seed]) -> None:
    """Raise where the points displace the target by more than the largest shift that is to be accepted.

    Raises
    ------
    InputError
        They contradict ``--max-shift-m``.
    """
    seed, limit = seeds[0], tiles.max_shift()
    moved = float(np.hypot(*seed.points.displacement.mean(axis=0)))
    if moved > limit:
        raise InputError(
            f"{_told(seed)} displace {tiles.pair.target.name} by {moved:.6g} {unit_name(tiles.pair.crs)}, and --max-shift-m "
            f"allows {limit:.6g}; raise it, or correct them"
        )


def _astray(seed: Seed, model: Model) -> bool:
    apart, allowed = seed.apart(model)
    return apart > allowed


def _tests(tiles: Tiles, seeds: Sequence[Seed]) -> Iterator[tuple[Seed, How, int, float | None]]:
    """Seed, matcher, reduction of the pixels and `Tiles.reach` of each test, from cheap to robust."""
    for how in CONFIRMING[tiles.options.matcher]:
        for narrow in (False, True):
            for seed in seeds:
                for level in _levels(seed):
                    yield seed, how, level, seed.reach() if narrow else None


def _levels(seed: Seed) -> list[int]:
    """Reductions, from where the ground is as small as an overview to where tiles still reach what they are to find."""
    shared = longer_side(seed.pair.overlap_px(seed.model, seed.pair.grid))
    first = max(1, math.ceil(math.log2(max(shared / OVERVIEW_PX, 1))))
    last = max(0, math.ceil(math.log2(max(seed.reach() / seed.pair.gsd / REACHED_PX, 1))))
    return [1 << k for k in range(first, min(first, last) - 1, -1)]


def _told(seed: Seed) -> str:
    n = len(seed.points)
    return f"the {n} points of {seed.points.inputs.gcp}" if n > 1 else f"the point of {seed.points.inputs.gcp}"
