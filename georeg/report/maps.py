"""The map of the tie points, as SVG: marks by what became of them, and residuals as arrows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from georeg.models import FloatArray
from georeg.report.encoded import data_uri
from georeg.report.frame import TOP, WIDE, Extent, Frame
from georeg.report.svg import (
    AFTER,
    BEFORE,
    drawing,
    element,
    round_below,
    text,
    tick_label,
)
from georeg.report.ties import CHECK, FIT, GROUPS, KEPT, MISMATCH, OUTLIER, Ties

_BELOW = 60.0
_LONG = 18.0
"""Drawing units of a residual at the 75th percentile."""
_WITH_ARROWS = (CHECK, FIT, MISMATCH, KEPT)
_MANY = 400
"""With more tie points than this, marks and arrows are smaller."""
_LONGEST = 0.25
"""Arrows are cut to this share of the map."""
SHAPES = {
    CHECK: ("M-2.4 0a2.4 2.4 0 1 0 4.8 0a2.4 2.4 0 1 0 -4.8 0z", AFTER),
    FIT: ("M-2.1 -2.1h4.2v4.2h-4.2z", "#009e73"),
    MISMATCH: ("M0 -3.2L3.2 0L0 3.2L-3.2 0z", "#d55e00"),
    OUTLIER: ("M0 -3.1L3 2.4H-3z", "#cc79a7"),
    KEPT: ("M-2.4 0a2.4 2.4 0 1 0 4.8 0a2.4 2.4 0 1 0 -4.8 0z", "#56b4e9"),
}
"""Outline and colour of the marks of what is kept; those of Okabe and Ito, which colour-blind people tell apart."""
_REJECTED = {
    "low_texture": "M-2.6 0H2.6",
    "weak_peak": "M-2 -2L2 2M-2 2L2 -2",
    "ambiguous_peak": "M-2.6 0H2.6M0 -2.6V2.6",
    "inconsistent": "M-2.4 1.8L0 -2.2L2.4 1.8",
    "out_of_range": "M-2.4 -1.8L0 2.2L2.4 -1.8",
    "masked": "M0 -2.6V2.6",
    "disabled": "M-2 2L2 -2",
}
_REJECTED_COLOUR = "#e69f00"


def tie_point_map(ties: Ties, overview: NDArray[np.uint8] | None, extent: Extent) -> str:
    """The tie points over the reference, with their residuals as arrows, after the correction and before it."""
    frame = Frame(extent)
    image = (
        element(
            "image",
            x=frame.left,
            y=TOP,
            width=frame.width,
            height=frame.height,
            href=data_uri(overview),
            preserveAspectRatio="none",
            class_="ground",
        )
        if overview is not None
        else ""
    )
    marks = [_group(ties, frame, name) for name in reversed(list(ties.counts()))]
    arrows = [_arrows(ties, frame, when) for when in ("before", "after")]
    north = frame.north() if ties.unit not in ("px", "") else ""
    return drawing(
        WIDE,
        frame.height + TOP + _BELOW,
        "Map of the tie points over the reference, with arrows for residuals",
        frame.clip(),
        image,
        frame.axes(ties.unit),
        *arrows,
        *marks,
        north,
        frame.scale_bar(ties.unit, ties.gsd),
        class_="map" if np.isfinite(ties.after_px).any() else "map show-before",
        unit=ties.unit,
    )


def mark(name: str, **attributes: object) -> str:
    """The outline of a mark of a group of tie points, about the origin; `_look` has its colours."""
    return element("path", d=SHAPES[name][0] if name in SHAPES else _REJECTED.get(name, "M-2 0H2"), **attributes)


def _look(name: str) -> dict[str, object]:
    if name in SHAPES:
        return {"fill": SHAPES[name][1], "stroke": "#fff", "stroke_width": 0.7}
    return {"fill": "none", "stroke": _REJECTED_COLOUR, "stroke_width": 1.4}


def _group(ties: Ties, frame: Frame, name: str) -> str:
    """Marks of a group, each a reference to its outline, which keeps a page of many tie points small."""
    outline = element("defs", mark(name, id=f"mark-{name}", transform=f"scale({crowding(ties):.2f})"))
    marks = []
    for number in np.flatnonzero(ties.group == name).tolist():
        x, y = ties.ref_xy[number].tolist()
        residual = ties.after_px[number].tolist()
        told = {"data_residual": ",".join(f"{v:.5g}" for v in residual)} if np.isfinite(residual).all() else {}
        at = {"x": f"{frame.x(x):.1f}", "y": f"{frame.y(y):.1f}"}
        marks.append(element("use", href=f"#mark-{name}", **at, data_point=number, **told))
    return element("g", outline, *marks, data_group=name, class_="points", **_look(name))


def exaggeration(ties: Ties, when: str) -> tuple[float, float]:
    """Drawing units for a pixel of residual, and a round residual for the key, in pixels."""
    px = ties.after_px if when == "after" else ties.before_px
    arrows = np.hypot(*px[_with_arrow(ties, when)].T)
    typical = float(np.percentile(arrows, 75)) if len(arrows) else 1.0
    per_px = _LONG * crowding(ties) / max(typical, 1e-6)
    return per_px, round_below(1.5 * max(typical, 1e-6))


def crowding(ties: Ties) -> float:
    """Size of marks and arrows, less than 1 where there are many tie points."""
    return min(1.0, math.sqrt(_MANY / len(ties.ref_xy)))


def _with_arrow(ties: Ties, when: str) -> NDArray[np.bool_]:
    px = ties.after_px if when == "after" else ties.before_px
    return np.asarray(np.isin(ties.group, _WITH_ARROWS) & np.isfinite(px).all(axis=1))


def _arrows(ties: Ties, frame: Frame, when: str) -> str:
    """Residuals as arrows, those of a group in one path, so that they hide with it; and what tells their scale."""
    chosen = _with_arrow(ties, when)
    if not chosen.any():
        return ""
    per_px, key_px = exaggeration(ties, when)
    px = ties.after_px if when == "after" else ties.before_px
    shade = AFTER if when == "after" else BEFORE
    out = []
    for name in _WITH_ARROWS:
        own = np.flatnonzero(chosen & (ties.group == name))
        drawn = "".join(_arrow(frame, ties.ref_xy[k], px[k] * per_px) for k in own.tolist())
        if drawn:
            own_id = f"arrows-{when}-{name}"
            halo, line = (
                element("use", href=f"#{own_id}", class_="halo"),
                element("use", href=f"#{own_id}", stroke=shade),
            )
            out.append(element("g", element("defs", element("path", id=own_id, d=drawn)), halo, line, data_arrows=name))
    cut = bool((np.hypot(*px[chosen].T) * per_px > _LONGEST * frame.width).any())
    x, y = frame.left + frame.width, TOP + frame.height + 44
    length = key_px * per_px
    factor = float(f"{per_px / (frame.per_unit * ties.gsd):.2g}")
    drawn_at = f"drawn {tick_label(factor)}× as long" if factor > 1 else f"drawn at {factor:g} of their length"
    what = f"residuals {when}" if np.isfinite(ties.after_px).any() else "displacements"
    words = f"{what}, {drawn_at}{', the longest cut' if cut else ''}"
    return element(
        "g",
        element("g", *out, clip_path="url(#frame)"),
        element("path", d=_head(x - length - 2, y, x - 2, y), stroke=shade),
        text(x - length - 8, y + 3, tick_label(key_px) + " px", class_="tick arrow-key", text_anchor="end"),
        text(frame.left, y + 3, words, class_="tick arrow-key"),
        class_="arrows",
        data_when=when,
    )


def _arrow(frame: Frame, xy: FloatArray, vector: FloatArray) -> str:
    length = float(np.hypot(*vector))
    if length < 0.5:
        return ""
    vector = vector * min(1.0, _LONGEST * frame.width / length)
    x, y = frame.x(float(xy[0])), frame.y(float(xy[1]))
    return _head(x, y, x + float(vector[0]), y - float(vector[1]))


def _head(x1: float, y1: float, x2: float, y2: float) -> str:
    """A line with a head, as data of a path."""
    along = np.array([x2 - x1, y2 - y1])
    along = along / max(float(np.hypot(*along)), 1e-9) * min(4.0, 0.45 * float(np.hypot(*along)))
    across = np.array([-along[1], along[0]]) * 0.45
    ends = [np.array([x2, y2]) - along + side * across for side in (1, -1)]
    return f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" + "".join(f"M{e[0]:.1f} {e[1]:.1f}L{x2:.1f} {y2:.1f}" for e in ends)


def legend(ties: Ties) -> str:
    """A button for each group, which hides and shows it; with its number of tie points."""
    counts = ties.counts()
    items = []
    for name, n in counts.items():
        sign = drawing(
            12, 12, "", element("g", mark(name), transform="translate(6 6) scale(1.6)", **_look(name)), class_="sign"
        )
        items.append(
            f'<button type="button" aria-pressed="true" data-toggle="{name}">{sign}<span>{GROUPS[name]}</span>'
            f'<b data-count="{name}">{n}</b></button>'
        )
    return f'<div class="legend" role="group" aria-label="Tie points shown">{"".join(items)}</div>'
