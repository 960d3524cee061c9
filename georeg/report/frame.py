"""Where ground lies in a drawing: frame, coordinates, scale bar and north arrow."""

from __future__ import annotations

from georeg.report.svg import INK, Scale, element, line, round_below, text, tick_label, ticks

WIDE, HIGH = 400.0, 420.0
"""Drawing units: of every map, and of the tallest."""
LEFT, RIGHT, TOP = 34.0, 396.0, 8.0
_ROOM = 20.0
"""Drawing units that half of a label needs."""
Extent = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax in the working CRS."""


class Frame:
    """Where ground lies in a drawing, scaled alike along both axes."""

    def __init__(self, extent: Extent, *, right: float = RIGHT, high: float = HIGH) -> None:
        xmin, ymin, xmax, ymax = extent
        scale = min((right - LEFT) / (xmax - xmin), high / (ymax - ymin))
        self.extent = extent
        self.per_unit = scale
        self.width, self.height = (xmax - xmin) * scale, (ymax - ymin) * scale
        self.left = LEFT
        self.x = Scale(xmin, xmax, self.left, self.left + self.width)
        self.y = Scale(ymin, ymax, TOP + self.height, TOP)

    def axes(self, unit: str) -> str:
        """Frame with coordinates, in px as column and row."""
        low_x, low_y, high_x, high_y = self.extent
        bottom = TOP + self.height
        out = [element("rect", x=self.left, y=TOP, width=self.width, height=self.height, class_="frame")]
        for at, value in _inside(self.x, ticks(low_x, high_x, max(2, round(self.width / 110)))):
            out.append(line(at, bottom, at, bottom + 3, class_="axis"))
            out.append(text(at, bottom + 12, tick_label(value), class_="tick", text_anchor="middle"))
        for at, value in _inside(self.y, ticks(low_y, high_y, max(2, round(self.height / 75)))):
            out.append(line(self.left - 3, at, self.left, at, class_="axis"))
            label = tick_label(-value if unit == "px" else value)
            turned = f"rotate(-90 {self.left - 6:.1f} {at:.1f})"
            out.append(text(self.left - 6, at, label, class_="tick", text_anchor="middle", transform=turned))
        names = "column and row, px" if unit == "px" else f"east and north, {unit}"
        out.append(text(self.left + self.width, bottom + 24, names, class_="label", text_anchor="end"))
        return "".join(out)

    def clip(self) -> str:
        """What keeps arrows within the frame, by the name ``frame``."""
        inner = element("rect", x=self.left, y=TOP, width=self.width, height=self.height)
        return element("clipPath", inner, id="frame")

    def scale_bar(self, unit: str, gsd: float) -> str:
        """A bar of a round length, below the map on its left; ``gsd`` for pixels beside the unit."""
        length = round_below(0.28 * self.width / self.per_unit)
        y, end = TOP + self.height + 26, self.left + length * self.per_unit
        named = f"{length / 1000:g} km" if unit == "m" and length >= 1000 else f"{tick_label(length)} {unit}"
        bar = element("path", d=f"M{self.left:.1f} {y - 4:.1f}v4H{end:.1f}v-4", class_="bar")
        return bar + text(end + 5, y + 1, named, class_="tick scale-bar")

    def north(self) -> str:
        """An arrow to the north of the map, in its upper right corner."""
        x, y = self.left + self.width - 13, TOP + 12
        arrow = element("path", d=f"M{x:.1f} {y - 8:.1f}l5 14l-5 -3.5l-5 3.5z", fill=INK, stroke="#fff", stroke_width=1)
        return element("g", arrow, text(x, y + 15, "N", class_="north", text_anchor="middle"), aria_label="north is up")


def _inside(scale: Scale, values: list[float]) -> list[tuple[float, float]]:
    """Places of ticks, and the values, of those whose labels do not reach over an end of the axis."""
    low, high = sorted((scale.start, scale.end))
    return [(at, v) for v in values if low + _ROOM <= (at := scale(v)) <= high - _ROOM]
