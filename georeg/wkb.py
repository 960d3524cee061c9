"""Where the vertices lie in well-known binary geometries, so that they can be moved and nothing else is changed.

The layout is that of OGC 06-103r4 (https://www.ogc.org/standard/sfa/) with the codes of ISO 13249-3 for curves, Z and M.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from georeg.errors import InputError

FloatArray = NDArray[np.float64]
Bytes = NDArray[np.uint8]

_POINT = 1
_LINES = (2, 8)
"""Codes of one sequence of vertices: line string and circular string."""
_RINGS = (3, 17)
"""Codes of several such sequences: polygon and triangle."""
_PARTS = (4, 5, 6, 7, 9, 10, 11, 12, 15, 16)
"""Codes of several whole geometries: the multi-geometries, collection, composed curves and surfaces."""
_ARC = 8
_ORDINATES = {0: 2, 1: 3, 2: 3, 3: 4}
"""Numbers per vertex by thousands of the code: plain, Z, M, Z and M."""


@dataclass(frozen=True)
class Vertices:
    """The vertices of many geometries, as places in the bytes that hold them."""

    at: NDArray[np.intp]
    """(N,) where the x of each vertex begins; y follows it."""
    starts_segment: NDArray[np.bool_]
    """(N,) True where a straight segment leads to the next vertex."""

    def xy(self, data: Bytes) -> FloatArray:
        """(N, 2) coordinates in ``data``."""
        numbers = _numbers(data)
        return np.stack([numbers[self.at], numbers[self.at + 8]], axis=1).astype(float)

    def put(self, data: Bytes, xy: FloatArray) -> None:
        """Write (N, 2) coordinates into ``data``, in place."""
        numbers = _numbers(data)
        numbers[self.at], numbers[self.at + 8] = xy.T


def _numbers(data: Bytes) -> FloatArray:
    """The number that begins at each byte, as a view."""
    return np.ndarray((max(len(data) - 7, 0),), np.dtype("<f8"), data.data, strides=(1,))


def find_vertices(data: Bytes, starts: Iterable[int]) -> Vertices:
    """The vertices of the geometries that begin at ``starts`` of ``data``; an empty point's coordinates are NaN.

    >>> import numpy as np, shapely
    >>> data = np.frombuffer(shapely.to_wkb(shapely.LineString([(1, 2), (3, 4)])), np.uint8)
    >>> find_vertices(data, [0]).xy(data).tolist()
    [[1.0, 2.0], [3.0, 4.0]]

    Raises
    ------
    InputError
        A kind of geometry that is not known.
    """
    sequences: list[tuple[int, int, int, bool]] = []
    view = data.data
    for start in starts:
        _walk(view, start, sequences)
    first, count, stride, straight = np.array(sequences, np.intp).reshape(-1, 4).T
    total = count.cumsum()
    within = np.arange(total[-1] if len(total) else 0) - np.repeat(total - count, count)
    last = within == np.repeat(count, count) - 1
    at = np.repeat(first, count) + within * np.repeat(stride, count)
    return Vertices(at, ~last & np.repeat(straight, count).astype(bool))


def _walk(data: memoryview, at: int, sequences: list[tuple[int, int, int, bool]]) -> int:
    """Append (first byte, vertices, bytes per vertex, straight) of each sequence; returns where the geometry ends."""
    order, code = struct.unpack_from("<BI", data, at)
    kind, extra = code % 1000, code // 1000
    if order != 1 or extra not in _ORDINATES or kind not in (_POINT, *_LINES, *_RINGS, *_PARTS):
        raise InputError(f"a geometry of the kind {code} cannot be corrected; convert it to lines or polygons first")
    stride = 8 * _ORDINATES[extra]
    at += 5
    if kind == _POINT:
        sequences.append((at, 1, stride, False))
        return at + stride
    (parts,) = (1,) if kind in _LINES else struct.unpack_from("<I", data, at)
    at += 0 if kind in _LINES else 4
    for _ in range(parts):
        if kind in _PARTS:
            at = _walk(data, at, sequences)
        else:
            (count,) = struct.unpack_from("<I", data, at)
            sequences.append((at + 4, count, stride, kind != _ARC))
            at += 4 + count * stride
    return at
