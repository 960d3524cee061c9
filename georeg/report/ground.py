"""Maps of what varies over the ground, each as SVG: how certain the correction is, and how alike the images are."""

from __future__ import annotations

from typing import Any

import numpy as np

from georeg.models import FloatArray
from georeg.report.frame import RIGHT, TOP, WIDE, Extent, Frame
from georeg.report.svg import VIRIDIS, Scale, colour, colour_bar, drawing, element
from georeg.report.ties import CHECK, FIT, Ties


def varies(sigma: dict[str, Any]) -> bool:
    """Whether the correction is more certain in one place than in another, so that there is something to draw."""
    low, high = _range(sigma)
    return high > 1.02 * low


def _range(sigma: dict[str, Any]) -> tuple[float, float]:
    known = [v for row in sigma["sigma_px"] for v in row if v is not None]
    return (min(known), max(known)) if known else (0.0, 0.0)


def sigma_map(sigma: dict[str, Any], ties: Ties) -> str:
    """Expected deviation of corrected positions, as cells of a lattice."""
    x, y = np.array(sigma["x"], float), np.array(sigma["y"], float)
    step_x, step_y = (float(np.abs(np.diff(v)).mean()) if len(v) > 1 else ties.gsd for v in (x, y))
    frame = Frame(_around(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), (step_x, step_y)), high=300.0)
    low, high = _range(sigma)
    cells = [
        _cell(frame, (column, row), (step_x, step_y), colour((value - low) / (high - low), VIRIDIS))
        for row, values in zip(y.tolist(), sigma["sigma_px"], strict=True)
        for column, value in zip(x.tolist(), values, strict=True)
        if value is not None
    ]
    used = np.isin(ties.group, [CHECK, FIT])
    dots = "".join(f"M{frame.x(a):.1f} {frame.y(b):.1f}h0" for a, b in ties.ref_xy[used].tolist())
    bar_y = TOP + frame.height + 42
    return drawing(
        WIDE,
        bar_y + 46,
        "Map of the expected deviation of corrected positions, with the tie points",
        *cells,
        element("path", d=dots, class_="dots") if dots else "",
        frame.axes(ties.unit),
        frame.scale_bar(ties.unit, ties.gsd),
        frame.north() if ties.unit != "px" else "",
        colour_bar(Scale(low, high, frame.left + 8, RIGHT - 60), bar_y, VIRIDIS, "σ of corrected positions, px"),
        class_="ground-chart",
    )


def _cell(frame: Frame, xy: tuple[float, float], size: tuple[float, float], shade: str) -> str:
    """A rectangle of ground about a place."""
    width, height = (side * frame.per_unit + 0.4 for side in size)
    x, y = frame.x(xy[0]) - width / 2, frame.y(xy[1]) - height / 2
    return element("rect", x=x, y=y, width=width, height=height, fill=shade)


def _around(xy: FloatArray, size: tuple[float, float]) -> Extent:
    """Of cells of that size about (N, 2) places."""
    half = np.array(size) / 2
    low, high = xy.min(axis=0) - half, xy.max(axis=0) + half
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def tiles_map(similarity: dict[str, Any], when: str, ties: Ties, extent: Extent) -> str:
    """Correlation of the two images tile by tile, before or after the correction, in the extent of the tie points."""
    side = similarity["tile_px"] * ties.gsd
    cells_extent = _around(np.array([tile["xy"] for tile in similarity["tiles"]], float), (side, side))
    low_x, low_y, high_x, high_y = zip(extent, cells_extent, strict=True)
    frame = Frame((min(low_x), min(low_y), max(high_x), max(high_y)), high=300.0)
    every = [tile[name]["ncc"] for tile in similarity["tiles"] for name in ("before", "after")]
    low, high = min(0.0, *every), 1.0
    cells = [
        _cell(frame, tuple(tile["xy"]), (side, side), colour((tile[when]["ncc"] - low) / (high - low), VIRIDIS))
        for tile in similarity["tiles"]
    ]
    bar_y = TOP + frame.height + 42
    return drawing(
        WIDE,
        bar_y + 46,
        f"Map of the correlation of both images by tiles, {when} the correction",
        *cells,
        frame.axes(ties.unit),
        frame.scale_bar(ties.unit, ties.gsd),
        frame.north() if ties.unit != "px" else "",
        colour_bar(Scale(low, high, frame.left + 8, RIGHT - 60), bar_y, VIRIDIS, f"correlation {when}"),
        class_="ground-chart",
    )
