"""Which pairs of many scenes are matched: those alike in season and near in time, long links, and all to the reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from georeg.lazily import Lazily
from georeg.models import FloatArray

csgraph = Lazily("scipy.sparse.csgraph")
SEASON_DAYS, CHANGE_DAYS = 45.0, 1460.0
"""Scenes so many days apart within the year, or so many days apart in all, are equally unlike."""
YEAR_DAYS = 365.2425
Link = tuple[int, int]
"""Numbers of two scenes, the lower first."""


def unlikeness(dates: Sequence[datetime | None]) -> FloatArray:
    """(N, N) how unlike scenes of these dates are expected to look, 0 for one date; where a date is missing, by their order.

    >>> from datetime import datetime
    >>> summers = [datetime(2019, 7, 1), datetime(2020, 7, 1)]
    >>> both = unlikeness([*summers, datetime(2020, 1, 1)])
    >>> bool(both[0, 1] < both[1, 2])
    True
    """
    known = [date for date in dates if date is not None]
    if len(known) < len(dates):
        order = np.arange(len(dates), dtype=float)
        return np.asarray(np.abs(order[:, None] - order))
    days = np.array([date.timestamp() / 86400 for date in known])
    apart = np.abs(days[:, None] - days)
    within = apart % YEAR_DAYS
    season = np.minimum(within, YEAR_DAYS - within)
    return np.asarray(np.hypot(season / SEASON_DAYS, apart / CHANGE_DAYS))


def links(unlike: FloatArray, shared: NDArray[np.bool_], n_links: int, anchor: int | None) -> list[Link]:
    """The pairs to match first.

    The tree that joins all scenes by the likest pairs, for each scene its likest, one long link, and all links of the anchor.

    Parameters
    ----------
    unlike
        (N, N) of `unlikeness`.
    shared
        (N, N) True where two scenes share ground.
    n_links
        About how many pairs each scene is to be in.
    anchor
        Number of the reference, which is matched with all; None where there is none.

    >>> import numpy as np
    >>> order = np.arange(4.0)
    >>> links(np.abs(order[:, None] - order), np.ones((4, 4), bool), 8, None)
    [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    """
    n = len(unlike)
    possible = shared & ~np.eye(n, dtype=bool)
    taken = {ordered(int(i), int(j)) for i, j in zip(*_tree(unlike, possible), strict=True)}
    rank = np.argsort(np.argsort(unlike.sum(axis=0), kind="stable"), kind="stable")  # any fixed order, the middle first
    for scene in range(n):
        likest = [int(k) for k in np.argsort(unlike[scene], kind="stable") if possible[scene, k]]
        taken |= {ordered(scene, other) for other in likest[: max(1, n_links // 2)]}
        taken |= {ordered(scene, other) for other in _far(scene, likest, rank, n)[: n_links > 1]}
        if anchor is not None and possible[scene, anchor]:
            taken.add(ordered(scene, anchor))
    return sorted(taken)


def _tree(unlike: FloatArray, possible: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of least unlikeness, of each part that hangs together."""
    weight = np.where(possible, unlike + 1e-6, 0.0)  # csgraph takes 0 for no edge
    found: tuple[NDArray[np.intp], NDArray[np.intp]] = csgraph.minimum_spanning_tree(weight).nonzero()
    return found


def _far(scene: int, likest: Sequence[int], rank: NDArray[np.intp], n: int) -> list[int]:
    """Others, the ones half of all scenes away in some order first: such links keep every chain short."""
    wanted = (int(rank[scene]) + n // 2) % n
    return sorted(likest, key=lambda k: (abs(int(rank[k]) - wanted), k))


def more_links(
    unlike: FloatArray, shared: NDArray[np.bool_], tried: Iterable[Link], weak: Iterable[int], n_more: int
) -> list[Link]:
    """Further pairs for scenes that too few of their pairs hold: their likest ones that were not tried."""
    done = set(tried)
    added: set[Link] = set()
    for scene in weak:
        order = (int(k) for k in np.argsort(unlike[scene], kind="stable") if k != scene and shared[scene, k])
        left = [ordered(scene, other) for other in order if ordered(scene, other) not in done]
        added |= set(left[:n_more])
    return sorted(added)


def ordered(one: int, other: int) -> Link:
    """The two with the lower first."""
    return (one, other) if one < other else (other, one)


def parts(n: int, pairs: Iterable[Link]) -> NDArray[np.intp]:
    """(N,) number of the part that each scene is in, of those that pairs connect."""
    label = np.arange(n)
    for i, j in pairs:
        label[label == label[j]] = label[i]
    return np.unique(label, return_inverse=True)[1]


def triangles(pairs: Iterable[Link]) -> list[tuple[int, int, int]]:
    """All (i, j, k), i < j < k, of which all three pairs are given."""
    given = set(pairs)
    of: dict[int, list[int]] = {}
    for i, j in sorted(given):
        of.setdefault(i, []).append(j)
    return [(i, j, k) for (i, j) in sorted(given) for k in of.get(j, []) if (i, k) in given]
