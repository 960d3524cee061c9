"""SVG as text: elements, axes with round ticks, and colour ramps that colour-blind people can read."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

BEFORE, AFTER, INK, FAINT = "#b34700", "#0072b2", "#222", "#8a8a8a"
"""One colour for what is uncorrected and one for what is corrected, in every picture."""
VIRIDIS = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")


@dataclass(frozen=True)
class Scale:
    """From values to drawing units along one axis."""

    low: float
    high: float
    start: float
    """Drawing units at ``low``."""
    end: float
    log: bool = False
    """Whether equal ratios are equally long; then both values are positive."""

    def __call__(self, value: float) -> float:
        """Drawing units, not clipped.

        >>> Scale(0.0, 10.0, 100.0, 200.0)(2.5)
        125.0
        """
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (at - low) / ((high - low) or 1.0)


def element(tag: str, *children: str, **attributes: object) -> str:
    """One element; ``class_`` stands for class, and other underscores for hyphens. Children are markup already.

    >>> element("circle", cx=1.0, r=2.50, class_="dot")
    '<circle cx="1" r="2.5" class="dot"/>'
    """
    told = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_plain(value))}"' for name, value in attributes.items()
    )
    return f"<{tag}{told}>{''.join(children)}</{tag}>" if children else f"<{tag}{told}/>"


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def text(x: float, y: float, *content: str, **attributes: object) -> str:
    """Text at a place; ``content`` is markup already."""
    return element("text", *content, x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def path(x: Sequence[float], y: Sequence[float], **attributes: object) -> str:
    """A line through points, without a filling."""
    at = "L".join(f"{_plain(float(a))} {_plain(float(b))}" for a, b in zip(x, y, strict=True))
    return element("path", d=f"M{at}", **{"fill": "none", **attributes})


def drawing(width: float, height: float, label: str, *children: str, class_: str = "chart", unit: str = "") -> str:
    """The whole picture, as wide as the page has room for; ``label`` says what is seen to who does not see it."""
    named = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    told = {"data_unit": unit} if unit else {}
    box = f"0 0 {_plain(width)} {_plain(height)}"
    return element("svg", *children, viewBox=box, class_=class_, **named, **told)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values from ``low`` to ``high``, steps of 1, 2 or 5 times a power of ten.

    >>> ticks(-1.3, 2.8)
    [-1.0, 0.0, 1.0, 2.0]
    """
    if not high > low:
        return [low]
    step = round_below((high - low) / about * 1.4)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: powers of ten, and their doubles and fives where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    several = (1, 2, 5) if math.log10(high / low) < 2.2 else (1,)
    return [v for p in powers for k in several if low * 0.999 <= (v := float(f"{k}e{p}")) <= high * 1.001]


def round_below(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is no more than a positive value.

    >>> round_below(0.7), round_below(40.0)
    (0.5, 20.0)
    """
    power = math.floor(math.log10(value))
    return max(
        float(f"{k}e{p}") for p in (power - 1, power) for k in (1, 2, 5) if float(f"{k}e{p}") <= value * 1.0000001
    )


def tick_label(value: float) -> str:
    """A round value as people write it.

    >>> tick_label(-0.05), tick_label(5770000.0)
    ('−0.05', '5\u202f770\u202f000')
    """
    plain = f"{value:,.10f}".rstrip("0").rstrip(".").replace(",", "\u202f")
    return plain.replace("-", "−") if plain not in ("-0", "") else "0"


def x_axis(scale: Scale, y: float, label: str, at: Sequence[float] | None = None) -> str:
    """Axis below a chart, with ticks and a label with its unit."""
    values = at if at is not None else _round(scale)
    marks = [
        line(scale(v), y, scale(v), y + 4, class_="axis")
        + text(scale(v), y + 15, tick_label(v), class_="tick", text_anchor="middle")
        for v in values
    ]
    middle = (scale.start + scale.end) / 2
    base = line(scale.start, y, scale.end, y, class_="axis")
    return base + "".join(marks) + text(middle, y + 31, html.escape(label), class_="label", text_anchor="middle")


def y_axis(scale: Scale, x: float, label: str, at: Sequence[float] | None = None, *, to: float | None = None) -> str:
    """Axis left of a chart, its label upright above it; with ``to`` faint lines go on to there."""
    values = at if at is not None else _round(scale)
    marks = [
        (line(x, scale(v), to, scale(v), class_="grid") if to is not None else "")
        + line(x - 4, scale(v), x, scale(v), class_="axis")
        + text(x - 6, scale(v) + 3.5, tick_label(v), class_="tick", text_anchor="end")
        for v in values
    ]
    top = min(scale.start, scale.end)
    base = line(x, scale.start, x, scale.end, class_="axis")
    return "".join(marks) + base + text(4, top - 10, html.escape(label), class_="label")


def _round(scale: Scale) -> list[float]:
    return decades(scale.low, scale.high) if scale.log else ticks(scale.low, scale.high)


def colour(share: float, stops: Sequence[str]) -> str:
    """Colour of a ramp at a share of it, 0 to 1.

    >>> colour(0.0, VIRIDIS), colour(1.0, VIRIDIS)
    ('#440154', '#fde725')
    """
    at = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    k = min(int(at), len(stops) - 2)
    pairs = zip(_channels(stops[k]), _channels(stops[k + 1]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (at - k)):02x}" for a, b in pairs)


def _channels(stop: str) -> tuple[int, int, int]:
    return int(stop[1:3], 16), int(stop[3:5], 16), int(stop[5:7], 16)


def colour_bar(scale: Scale, y: float, stops: Sequence[str], label: str, at: Sequence[float] | None = None) -> str:
    """The ramp with its values."""
    steps = 40
    width = (scale.end - scale.start) / steps
    cells = [
        element(
            "rect", x=scale.start + k * width, y=y, width=width + 0.3, height=8, fill=colour((k + 0.5) / steps, stops)
        )
        for k in range(steps)
    ]
    return "".join(cells) + x_axis(scale, y + 8, label, at)
