"""Charts of the residuals, each as SVG: how they are distributed, and whether they follow rows or columns."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from georeg.models import FloatArray
from georeg.report.svg import (
    AFTER,
    BEFORE,
    INK,
    Scale,
    drawing,
    element,
    line,
    path,
    round_below,
    text,
    x_axis,
    y_axis,
)
from georeg.report.ties import Ties

_WIDTH, _HEIGHT = 400.0, 280.0
_LEFT, _RIGHT, _TOP = 46.0, 390.0, 34.0
_MAX_BINS = 41
_SECOND = "#8a5a00"
"""Residuals along y, where those along x have the colour of what is corrected."""
_NORMAL = NormalDist()


def histogram_chart(ties: Ties, axis: int) -> str:
    """Residuals of the check points along one axis, and the normal curve of their mean and scatter."""
    after = ties.after_px[ties.checked][:, axis]
    reach = 1.15 * float(np.abs(after).max()) or 1e-3
    before = ties.before_px[ties.checked][:, axis]
    both = bool(np.abs(before).max() <= 2.5 * reach) and not np.array_equal(before, after)
    reach = max(reach, 1.1 * float(np.abs(before).max())) if both else reach
    n_bins = int(min(max(2 * math.sqrt(len(after)), 9), _MAX_BINS)) // 2 * 2 + 1
    edges = np.linspace(-reach, reach, n_bins + 1)
    counts = [np.histogram(values, edges)[0] for values in (before, after)]
    largest = max(int(c.max()) for c in (counts if both else counts[1:]))
    x, y = Scale(-reach, reach, _LEFT, _RIGHT), Scale(0.0, 1.12 * largest, 236.0, _TOP)
    bars = [
        element("rect", x=x(a), y=y(n), width=x(b) - x(a) - 0.8, height=y(0.0) - y(n), fill=AFTER, fill_opacity=0.55)
        for a, b, n in zip(edges[:-1], edges[1:], counts[1].tolist(), strict=True)
        if n
    ]
    marks = [*bars, _normal(after, edges, x, y)]
    if both:
        steps = np.repeat(counts[0], 2).tolist()
        at = np.repeat(edges, 2)[1:-1].tolist()
        marks.append(
            path([x(a) for a in at], [y(n) for n in steps], stroke=BEFORE, stroke_width=1.6, stroke_dasharray="4 2")
        )
    name = ties.axes[axis]
    return drawing(
        _WIDTH,
        _HEIGHT,
        f"Histogram of the residuals of check points towards {name}",
        y_axis(y, _LEFT, "check points", _whole(1.12 * largest), to=_RIGHT),
        *marks,
        line(x(0.0), _TOP, x(0.0), 236.0, stroke=INK, stroke_width=1, stroke_dasharray="2 3"),
        x_axis(x, 236.0, f"residual towards {name}, px"),
        _legend([("▮ after", AFTER), *([("┅ before", BEFORE)] if both else []), ("― normal curve", INK)]),
    )


def _whole(top: float) -> list[float]:
    step = max(1.0, round_below(top / 3))
    return [k * step for k in range(int(top / step) + 1)]


def _normal(values: FloatArray, edges: FloatArray, x: Scale, y: Scale) -> str:
    scatter = float(values.std())
    if scatter == 0:
        return ""
    at = np.linspace(edges[0], edges[-1], 121)
    height = np.exp(-(((at - values.mean()) / scatter) ** 2) / 2) / (scatter * math.sqrt(2 * math.pi))
    expected = height * len(values) * (edges[1] - edges[0])
    top = y.high * 1.06
    return path([x(v) for v in at], [y(min(v, top)) for v in expected], stroke=INK, stroke_width=1.3)


def quantile_chart(ties: Ties) -> str:
    """Residuals divided by what they were expected to be, against the normal distribution."""
    standard = np.sort(ties.after_px[ties.checked] / ties.sigma_px[ties.checked], axis=0)
    n = len(standard)
    share = (np.arange(1, n + 1) - 0.5) / n
    normal = np.array([_NORMAL.inv_cdf(p) for p in share])
    reach = max(2.5, 1.08 * float(np.abs(standard).max()), 1.1 * float(normal.max()))
    across = max(2.5, 1.1 * float(normal.max()))
    x, y = Scale(-across, across, _LEFT, _RIGHT), Scale(-reach, reach, 236.0, _TOP)
    # of an order statistic, to first order
    error = 1.96 * np.sqrt(share * (1 - share) / n) / np.array([_NORMAL.pdf(v) for v in normal])
    band_x = np.concatenate([normal, normal[::-1]])
    band_y = np.concatenate([normal - error, (normal + error)[::-1]]).clip(-reach, reach)
    marks = [
        element("circle", cx=x(a), cy=y(b), r=2.4, fill="none", stroke=AFTER, stroke_width=1.2)
        for a, b in zip(normal, standard[:, 0], strict=True)
    ]
    marks += [
        element("path", d=f"M{x(a) - 2.4:.1f} {y(b):.1f}h4.8m-2.4 -2.4v4.8", stroke=_SECOND, stroke_width=1.2)
        for a, b in zip(normal, standard[:, 1], strict=True)
    ]
    return drawing(
        _WIDTH,
        _HEIGHT,
        "Quantiles of the standardised residuals of check points against those of the normal distribution",
        y_axis(y, _LEFT, "residual ÷ its expected deviation", to=_RIGHT),
        path([x(v) for v in band_x], [y(v) for v in band_y], fill="#000", fill_opacity=0.07),
        line(x(-across), y(-across), x(across), y(across), stroke=INK, stroke_width=1),
        *marks,
        x_axis(x, 236.0, "quantile of the normal distribution"),
        _legend([(f"○ {ties.axes[0]}", AFTER), (f"+ {ties.axes[1]}", _SECOND)]),
    )


def radial_chart(ties: Ties, values: dict[str, Any]) -> str:
    """Share of check points within a radial error, before and after, with CE90 and CE95."""
    radial = [np.sort(np.hypot(*px[ties.checked].T)) for px in (ties.before_px, ties.after_px)]
    least = max(float(min(r[0] for r in radial)), 0.02 * float(np.median(radial[1])), 1e-6)
    x = Scale(0.8 * least, 1.25 * max(float(r[-1]) for r in radial), _LEFT, _RIGHT, log=True)
    y = Scale(0.0, 100.0, 236.0, _TOP)
    same = values["verdict"] == "already aligned"
    marks = [] if same else [_cumulative(radial[0], x, y, stroke=BEFORE, stroke_dasharray="5 3")]
    marks.append(_cumulative(radial[1], x, y, stroke=AFTER))
    for name, share, below in (("ce90", 90.0, 12.0), ("ce95", 95.0, 3.0)):
        at = x(values["report"]["after"][name])
        marks.append(line(_LEFT, y(share), at, y(share), stroke=AFTER, stroke_width=0.8, stroke_dasharray="2 3"))
        marks.append(element("circle", cx=at, cy=y(share), r=3.4, fill="#fff", stroke=AFTER, stroke_width=2))
        side = {"x": at - 7, "text_anchor": "end"} if at > _RIGHT - 50 else {"x": at + 7}
        marks.append(element("text", name.upper(), y=y(share) + below, class_="key", fill=AFTER, **side))
    named = [("━ after", AFTER), *([] if same else [("┅ before", BEFORE)])]
    return drawing(
        _WIDTH,
        _HEIGHT,
        "Share of check points within a radial error, before and after",
        y_axis(y, _LEFT, "check points within, %", [0.0, 25.0, 50.0, 75.0, 90.0, 100.0], to=_RIGHT),
        *marks,
        x_axis(x, 236.0, "radial error, px (logarithmic)"),
        _legend(named),
    )


def _cumulative(radial: FloatArray, x: Scale, y: Scale, **style: object) -> str:
    share = 100 * np.arange(1, len(radial) + 1) / len(radial)
    at = np.repeat([x(max(float(r), x.low)) for r in radial], 2)
    height = np.concatenate([[0.0], np.repeat(share, 2)[:-1]])
    return path(at.tolist(), [y(v) for v in height], stroke_width=1.8, **style)


def bins_chart(bins: dict[str, Any], axes: tuple[str, str]) -> str:
    """Mean residual along the rows or the columns of the target, with two standard errors to either side."""
    centre = np.array(bins["centre_px"], float)
    means = [np.array(bins[f"mean_{name}_px"], float) for name in "xy"]
    error = 2 * np.array(bins["sigma_px"], float)
    reach = 1.1 * float(max((np.abs(mean) + error).max() for mean in means)) or 1e-3
    step = float(np.diff(centre).min()) if len(centre) > 1 else 1.0
    x = Scale(max(0.0, float(centre[0]) - step / 2), float(centre[-1]) + step / 2, _LEFT, _RIGHT)
    y = Scale(-reach, reach, 236.0, _TOP)
    marks = [line(_LEFT, y(0.0), _RIGHT, y(0.0), stroke=INK, stroke_width=1)]
    for mean, shade, aside in ((means[0], AFTER, -2.0), (means[1], _SECOND, 2.0)):
        at = [x(c) + aside for c in centre.tolist()]
        marks.append(path(at, [y(v) for v in mean.tolist()], stroke=shade, stroke_width=1, stroke_opacity=0.5))
        for a, m, e in zip(at, mean.tolist(), error.tolist(), strict=True):
            marks.append(line(a, y(m - e), a, y(m + e), stroke=shade, stroke_width=1.4))
            marks.append(
                element("circle", cx=a, cy=y(m), r=3.0, fill=shade)
                if shade == AFTER
                else element("rect", x=a - 2.8, y=y(m) - 2.8, width=5.6, height=5.6, fill=shade)
            )
    return drawing(
        _WIDTH,
        _HEIGHT,
        f"Mean residual against the {bins['axis']} of the target",
        y_axis(y, _LEFT, "mean residual ± two standard errors, px", to=_RIGHT),
        *marks,
        x_axis(x, 236.0, f"{bins['axis']} of the target, px"),
        _legend([(f"● {axes[0]}", AFTER), (f"■ {axes[1]}", _SECOND)]),
    )


def _legend(named: list[tuple[str, str]]) -> str:
    """Signs with their names and colours, above the chart on its right."""
    parts = [element("tspan", name, fill=shade, dx=10 if k else 0) for k, (name, shade) in enumerate(named)]
    return text(_RIGHT, _TOP - 10, *parts, class_="key", text_anchor="end")
