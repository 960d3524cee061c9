"""Which places are near each other, and which hang together."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from georeg.tie_points import FloatArray


def nearest(at_xy: FloatArray, xy: FloatArray, n: int) -> NDArray[np.intp]:
    """(K, n) numbers of those of (N, 2) places that are nearest to each of (K, 2), the nearest first; of equals the first.

    There must be n of them.

    >>> nearest(np.array([[0.0, 1.0]]), np.array([[0.0, 9.0], [0.0, 0.0], [0.0, 3.0]]), 2).tolist()
    [[1, 2]]
    """
    tree = shapely.STRtree(shapely.points(xy))
    found, left = np.empty((len(at_xy), n), np.intp), np.arange(len(at_xy))
    reach = float(np.sqrt(np.ptp(xy, axis=0).prod() * n / len(xy) / 2)) or float(np.ptp(xy, axis=0).max()) or 1.0
    while len(left):
        x, y = at_xy[left].T
        row, number = tree.query(shapely.box(x - reach, y - reach, x + reach, y + reach))
        apart = np.hypot(*(xy[number] - at_xy[left[row]]).T)
        inside = apart <= reach
        row, number, apart = row[inside], number[inside], apart[inside]
        count = np.bincount(row, minlength=len(left))
        order = np.lexsort((number, apart, row))
        place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        enough = count >= n
        taken = order[(place < n) & np.repeat(enough, count)]
        found[left[enough]] = number[taken].reshape(-1, n)
        left, reach = left[~enough], 2 * reach
    return found


def connected(one: NDArray[np.intp], other: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """(n,) number of the part that each of n belongs to, where ``one[k]`` and ``other[k]`` hang together: its least member.

    >>> connected(np.array([0, 3]), np.array([2, 2]), 5).tolist()
    [0, 1, 0, 0, 4]
    """
    part = np.arange(n)
    while True:
        least = part.copy()
        np.minimum.at(least, one, part[other])
        np.minimum.at(least, other, part[one])
        least = least[least]  # what it hangs on has gone on too
        if (least == part).all():
            return part
        part = least
