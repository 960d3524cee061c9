"""The pairs of a stack as a matrix of its scenes, as SVG: which were measured, and how well each fits to the others."""

from __future__ import annotations

import html
from typing import Any

from georeg.report.figures import figure, shown
from georeg.report.stack_charts import by_number, label_of, told_scene
from georeg.report.svg import VIRIDIS, Scale, colour, colour_bar, drawing, element, text, ticks
from georeg.report.verdict import CHANGE_PX

_WIDTH, _LEFT, _RIGHT, _TOP = 400.0, 104.0, 394.0, 24.0
_LARGEST_PITCH, _WITH_FIGURE, _LABEL_HIGH, _LABEL_WIDE = 44.0, 28.0, 12.0, 17.0
"""Drawing units: of a cell, of one that has room for its figure, and of the labels."""
_DARK_TO = 0.55
"""Share of the ramp up to which it is dark."""
_STATES = {
    "contradicts the others": "contradicts",
    "refused": "refused",
    "hangs on no other": "hanging",
}
STATE_WORDS = {
    "used": "used",
    "contradicts the others": "contradicts the others",
    "refused": "not proven",
    "hangs on no other": "proven, but ties its scenes to none of the others",
}


def matrix_chart(values: dict[str, Any]) -> str:
    """Scenes by scenes: the colour is by how much a pair departs from the corrections of both."""
    numbers = by_number(values)
    place = {k: n for n, k in enumerate(numbers)}
    pitch = min((_RIGHT - _LEFT) / len(numbers), _LARGEST_PITCH)
    side, top = pitch * len(numbers), _top(values)
    cells = [
        _cell(values, p, place[row], place[column], pitch, top)
        for p, pair in enumerate(values["pairs"])
        for row, column in ((pair["reference"], pair["target"]), (pair["target"], pair["reference"]))
    ]
    frame = element("rect", x=_LEFT, y=_TOP, width=side, height=side, class_="ground-of-cells")
    own = [
        element("rect", x=_LEFT + n * pitch, y=_TOP + n * pitch, width=pitch, height=pitch, class_="own")
        for n in range(len(numbers))
    ]
    y = _TOP + side + 16
    bar = Scale(0.0, top, _LEFT, _LEFT + max(min(side, 290.0), 190.0))
    legend = "" if not top else colour_bar(bar, y, VIRIDIS, "departs from the others by, px", ticks(0.0, top, 3))
    high = y + (46.0 if top else 0.0)
    drawn = [_hatching(), frame, *own, *_labels(values, numbers, pitch), *cells, legend]
    return drawing(_WIDTH, high, "Pairs of scenes, and how well each fits to the others", *drawn)


def signs(values: dict[str, Any]) -> str:
    """What the signs of the matrix mean, of those that are in it."""
    there = {pair["state"] for pair in values["pairs"]}
    named = [
        ("contradicts the others", "contradicts", "contradicts the others, left out"),
        ("refused", "refused", "could not be proven"),
        ("hangs on no other", "hanging", "proven, but ties its scenes to none of the others"),
    ]
    items = [_sign(class_, words) for state, class_, words in named if state in there]
    n = len(values["scenes"])
    if len(values["pairs"]) < n * (n - 1) // 2:
        items.append(_sign("blank", "not matched"))
    return f'<ul class="signs">{"".join(items)}</ul>' if items else ""


def _sign(class_: str, words: str) -> str:
    fill = VIRIDIS[-1] if class_ == "contradicts" else None
    box = element("rect", x=2, y=2, width=14, height=14, class_=class_, **({"fill": fill} if fill else {}))
    return f"<li>{element('svg', box, viewBox='0 0 18 18', class_='sign', aria_hidden='true')}{words}</li>"


def _hatching() -> str:
    strokes = element("path", d="M-1 5L5 -1M0 4L4 0M3 5L5 3", class_="hatch")
    return element("defs", element("pattern", strokes, id="hatched", width=4, height=4, patternUnits="userSpaceOnUse"))


def _top(values: dict[str, Any]) -> float:
    """End of the ramp: the largest misclosure of a pair that is used, or what harms nothing if that is more; 0 without any.

    What contradicts may lie beyond.
    """
    known = [(pair["state"], pair["misclosure_px"]) for pair in values["pairs"] if pair["misclosure_px"] is not None]
    return max([px for state, px in known if state == "used"] + [CHANGE_PX[0]]) if known else 0.0


def _cell(values: dict[str, Any], p: int, row: int, column: int, pitch: float, top: float) -> str:
    pair = values["pairs"][p]
    state, px = pair["state"], pair["misclosure_px"]
    gap = min(0.06 * pitch, 0.8)
    x, y = _LEFT + column * pitch, _TOP + row * pitch
    share = None if px is None or state in ("refused", "hangs on no other") else px / top if top else 0.0
    inset = gap + (0.9 if state == "contradicts the others" else 0.0)
    box = element(
        "rect",
        x=x + inset,
        y=y + inset,
        width=pitch - 2 * inset,
        height=pitch - 2 * inset,
        class_=_STATES.get(state, "used"),
        **({"fill": colour(share, VIRIDIS)} if share is not None else {}),
    )
    told = ""
    if share is not None and pitch >= _WITH_FIGURE:
        ink = "#fff" if share < _DARK_TO else "#1c1c1e"
        form = ".2f" if px < 10 else ".0f"
        figured = figure(values, f"pairs.{p}.misclosure_px", form, tag="tspan")
        told = text(x + pitch / 2, y + pitch / 2 + 3.5, figured, class_="in-cell", text_anchor="middle", fill=ink)
    return element("g", element("title", html.escape(_title(values, p))), box, told, data_pair=p)


def _title(values: dict[str, Any], p: int) -> str:
    pair = values["pairs"][p]
    names = " with ".join(told_scene(values, pair[end]) for end in ("reference", "target"))
    figures = []
    if pair["misclosure_px"] is not None:
        figures.append(f"departs by {shown(pair['misclosure_px'], 's2')} px")
    if pair["state"] in ("used", "contradicts the others"):
        figures.append(f"{pair['n_points']} tie points")
    return "; ".join([f"{names}: {STATE_WORDS[pair['state']]}", *figures])


def _labels(values: dict[str, Any], numbers: list[int], pitch: float) -> list[str]:
    """Beside the rows and above the columns, of as many scenes as there is room for."""
    rows, columns = (_every(needed / pitch) for needed in (_LABEL_HIGH, _LABEL_WIDE))
    shown_rows = [
        text(_LEFT - 7, _TOP + (n + 0.5) * pitch + 3.5, label_of(values, k), class_="tick", text_anchor="end")
        for n, k in enumerate(numbers)
        if _labelled(n, rows)
    ]
    return shown_rows + [
        text(_LEFT + (n + 0.5) * pitch, _TOP - 6, str(n + 1), class_="tick", text_anchor="middle")
        for n in range(len(numbers))
        if _labelled(n, columns)
    ]


def _labelled(n: int, every: int) -> bool:
    return (n + 1) % every == 0 or (n == 0 and every > 2)


def _every(least: float) -> int:
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if step >= least or step == 1000)
