"""What the scripts of scikit-image and OpenCV share: windows of two rasters at the same places of the map, and an answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
WINDOW_PX = 256
Find = Callable[[Image, Image], tuple[float, float]]
"""(right, down) of the target's ground beyond the reference's, pixels."""
Fit = Callable[[Floats, Floats], Floats]
"""Affine matrix (2, 3) from target to reference, both (N, 2) about a common centre in units of a pixel."""


def pairs(ref: Any, tgt: Any, n: int) -> Iterator[tuple[Image, Image, Floats, Floats]]:
    """About ``n`` windows on a grid, and the map xy of the centre of each in either raster, to the whole pixel of the target."""
    side_n = round(n**0.5)
    margin = WINDOW_PX // 2 + 8
    lines = [np.linspace(margin, length - margin, side_n).astype(int) for length in (ref.height, ref.width)]
    for row in lines[0]:
        for col in lines[1]:
            xy = ref.transform @ (float(col), float(row))
            at = np.rint(~tgt.transform @ xy).astype(int)
            first, second = (chip(raster, *px) for raster, px in ((ref, (col, row)), (tgt, at)))
            if first is not None and second is not None:
                yield first, second, np.array(xy), np.array(tgt.transform @ tuple(map(float, at)))


def chip(raster: Any, col: int, row: int) -> Image | None:
    """A window about a pixel's corner; None where it is not all valid."""
    half = WINDOW_PX // 2
    if min(col, row) < half or col + half > raster.width or row + half > raster.height:
        return None
    image = raster.read(1, window=Window(int(col) - half, int(row) - half, WINDOW_PX, WINDOW_PX))
    return None if (image == raster.nodata).any() else image.astype(np.float32)


def main(find: Find, fit: Fit) -> None:
    """Of the command line REFERENCE TARGET N: match, fit and print."""
    with rasterio.open(sys.argv[1]) as ref, rasterio.open(sys.argv[2]) as tgt:
        ref_xy, tgt_xy = [], []
        for first, second, at_ref, at_tgt in pairs(ref, tgt, int(sys.argv[3])):
            right, down = find(first, second)
            ref_xy.append(at_ref)
            tgt_xy.append(at_tgt + (right * tgt.transform.a, down * tgt.transform.e))
        gsd = ref.transform.a
        corners = np.array([ref.transform @ at for at in ((0.0, 0.0), (float(ref.width), float(ref.height)))])
    answer(np.array(ref_xy), np.array(tgt_xy), fit, corners, gsd)


def answer(ref_xy: Floats, tgt_xy: Floats, fit: Fit, corners: Floats, gsd: float) -> None:
    """Displacements reference - target of each tie point, and of the model at two opposite corners, two more and the middle."""
    centre = tgt_xy.mean(axis=0)
    matrix = fit((tgt_xy - centre) / gsd, (ref_xy - centre) / gsd)
    (left, top), (right, bottom) = corners
    places = [(left, top), (right, top), (left, bottom), (right, bottom), tuple(corners.mean(axis=0))]
    at = (np.array(places) - centre) / gsd
    model = gsd * (at @ matrix[:, :2].T + matrix[:, 2] - at)
    print(json.dumps({"tie": (ref_xy - tgt_xy).tolist(), "model": model.tolist()}))


def least_squares(tgt_xy: Floats, ref_xy: Floats) -> Floats:
    design = np.column_stack([tgt_xy, np.ones(len(tgt_xy))])
    return np.linalg.lstsq(design, ref_xy, rcond=None)[0].T
