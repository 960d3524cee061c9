"""Charts of a stack, each as SVG: the corrections over time, and how well each scene agrees before and after."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from georeg.report.figures import shown
from georeg.report.stack_values import instant
from georeg.report.svg import Scale, decades, drawing, element, line, path, text, tick_label, ticks, x_axis, y_axis

_WIDTH, _BOTTOM = 400.0, 236.0
_LEFT, _RIGHT, _TOP = 46.0, 352.0, 34.0
_LABELS, _END = 112.0, 386.0
"""Where a chart of rows begins right of their labels, and where it ends."""
_LOG_FROM = 8.0
"""Axes whose values differ by more than this factor are logarithmic."""
_DAY = 86400.0
_SHORT_DAYS = 120
"""Times shorter than this have ticks of days."""
_MANY = 25
"""More scenes than these have smaller marks, and lower rows."""


def axes_of(unit: str) -> tuple[str, str]:
    """Names of +x and +y."""
    return ("right", "up") if unit == "px" else ("east", "north")


def told_scene(values: dict[str, Any], k: int) -> str:
    """Name and date, as text."""
    date = values["scenes"][k]["date"]
    name = values["report"]["scenes"][k]["name"]
    return f"{name}, {day(date)}" if date else f"{name}"


def day(date: str) -> str:
    """Of an ISO 8601 date and time the day."""
    return date[:10]


def label_of(values: dict[str, Any], k: int) -> str:
    """Number and date of a scene, or what distinguishes its name, as markup for beside a row."""
    scene, date = values["report"]["scenes"][k], values["scenes"][k]["date"]
    return html.escape(f"{scene['number']} · {day(date) if date else scene['short']}")


def by_number(values: dict[str, Any]) -> list[int]:
    """Scenes in the order of the page."""
    scenes = values["report"]["scenes"]
    return sorted(range(len(scenes)), key=lambda k: int(scenes[k]["number"]))


def is_dated(values: dict[str, Any]) -> bool:
    """Whether the corrections are drawn over time: all scenes that are not held have dates, and not all of one or two days."""
    when = [None if s["date"] is None else instant(datetime.fromisoformat(s["date"])) for s in values["scenes"]]
    known = [at for at in when if at is not None]
    missing = any(at is None and not s["held"] for at, s in zip(when, values["scenes"], strict=True))
    return not missing and bool(known) and max(known) - min(known) > 2 * _DAY


def drift_chart(values: dict[str, Any], axis: int) -> str:
    """Correction of each scene along one axis, with one standard deviation to either side, by date or by order."""
    unit, name = values["unit"], axes_of(values["unit"])[axis]
    at, below = _across(values)
    y = _reach(values)
    shown_at = [k for k in by_number(values) if k in at]
    moved = [k for k in shown_at if values["scenes"][k]["model"] is not None]
    course = [(at[k], y(values["report"]["scenes"][k]["displacement"][axis])) for k in moved]
    marks = [_refused(values, k, at[k]) for k in shown_at if values["scenes"][k]["error"] is not None]
    marks += [_dot(values, k, axis, at[k], y) for k in moved]
    right = Scale(y.low / values["gsd"], y.high / values["gsd"], y.start, y.end)
    return drawing(
        _WIDTH,
        _BOTTOM + 40.0,
        f"Correction towards {name} of each scene",
        y_axis(y, _LEFT, f"towards {name}, {unit}", to=_RIGHT),
        line(_LEFT, y(0.0), _RIGHT, y(0.0), class_="zero"),
        path(*zip(*course, strict=True), class_="course") if len(course) > 1 else "",
        *marks,
        below,
        "" if unit == "px" else _right_axis(right),
    )


def _across(values: dict[str, Any]) -> tuple[dict[int, float], str]:
    """Where each scene lies along the axis below, and that axis; those without a date are not along one of time."""
    numbers = by_number(values)
    if not is_dated(values):
        x = Scale(0.4, len(numbers) + 0.6, _LEFT, _RIGHT)
        whole = [v for v in ticks(1.0, len(numbers), min(8, len(numbers))) if v == int(v) >= 1] or [1.0]
        at = {k: x(n) for n, k in enumerate(numbers, 1)}
        return at, x_axis(x, _BOTTOM, "number of the scene, as in the table", whole)
    when = {k: instant(datetime.fromisoformat(d)) for k in numbers if (d := values["scenes"][k]["date"])}
    known = {k: seconds for k, seconds in when.items() if seconds is not None}
    low, high = min(known.values()), max(known.values())
    x = Scale(low - 0.04 * (high - low), high + 0.04 * (high - low), _LEFT, _RIGHT)
    return {k: x(seconds) for k, seconds in known.items()}, _date_axis(x)


def _date_axis(x: Scale) -> str:
    """Axis of time, with the year below where the ticks do not say it."""
    named = date_ticks(x.low, x.high)
    marks = [
        line(x(v), _BOTTOM, x(v), _BOTTOM + 4, class_="axis")
        + text(x(v), _BOTTOM + 15, label, class_="tick", text_anchor="middle")
        for v, label in named
    ]
    years = sorted({_moment(v).year for v, _ in named})
    if x.high - x.low < _SHORT_DAYS * _DAY:
        told = "month and day of " + "–".join(str(year) for year in years)
        marks.append(text((_LEFT + _RIGHT) / 2, _BOTTOM + 31, told, class_="tick", text_anchor="middle"))
    return line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, class_="axis") + "".join(marks)


def date_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round dates between two instants in seconds since 1970, four to eight of them if there are as many, with their names.

    >>> [name for _, name in date_ticks(1262304000.0, 1451606400.0)]
    ['2010', '2011', '2012', '2013', '2014', '2015', '2016']
    """
    first, last = (_moment(seconds) for seconds in (low, high))
    span = (high - low) / _DAY
    if span < _SHORT_DAYS:
        step = next(days for days in (1, 2, 5, 10, 20) if span / days <= 6)
        start = math.ceil(low / _DAY / step) * step
        days = [d * _DAY for d in range(start, math.floor(high / _DAY) + 1, step)]
        return [(v, f"{_moment(v):%m-%d}") for v in days]
    months = [m for m in (1, 3, 6) if span / (30.4 * m) <= 6]
    if months:
        step = months[0]
        numbers = range(first.year * 12, last.year * 12 + 13, step)
        dates = [datetime(n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in numbers]
        return [(d.timestamp(), f"{d:%Y-%m}") for d in dates if low <= d.timestamp() <= high]
    step = next(y for y in (1, 2, 5, 10, 20, 50, 100, 1000) if span / 365.25 / y <= 7)
    years = [datetime(n, 1, 1, tzinfo=UTC) for n in range(first.year // step * step or step, last.year + 1, step)]
    return [(d.timestamp(), f"{d.year}") for d in years if low <= d.timestamp() <= high]


def _moment(seconds: float) -> datetime:
    """Of seconds since 1970; Windows has no such function for what was before."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def _reach(values: dict[str, Any]) -> Scale:
    """One scale for both axes, so that the two charts can be compared."""
    ends = [0.0]
    for scene in values["report"]["scenes"]:
        if scene["displacement"] is not None:
            ends += [v + s for v in scene["displacement"] for s in (scene["sigma"] or 0.0, -(scene["sigma"] or 0.0))]
    room = 0.07 * (max(ends) - min(ends)) or 0.1 * values["gsd"]
    return Scale(min(ends) - room, max(ends) + room, _BOTTOM, _TOP)


def _right_axis(scale: Scale) -> str:
    marks = [
        line(_RIGHT, scale(v), _RIGHT + 4, scale(v), class_="axis")
        + text(_RIGHT + 6, scale(v) + 3.5, tick_label(v), class_="tick")
        for v in ticks(scale.low, scale.high)
    ]
    base = line(_RIGHT, scale.start, _RIGHT, scale.end, class_="axis")
    return base + "".join(marks) + text(_WIDTH - 4, _TOP - 10, "px", class_="label", text_anchor="end")


def _dot(values: dict[str, Any], k: int, axis: int, x: float, y: Scale) -> str:
    scene, unit, held = values["report"]["scenes"][k], values["unit"], values["scenes"][k]["held"]
    moved, sigma = scene["displacement"][axis], scene["sigma"]
    told = f"{axes_of(unit)[axis]} {shown(moved, '+s3')} {unit}"
    if unit != "px":
        told += f" ({shown(scene['displacement_px'][axis], '+s3')} px)"
    if sigma is not None:
        told += f", known to {shown(sigma, 's2')} {unit}"
    bar = ""
    if sigma:
        low, high = y(moved - sigma), y(moved + sigma)
        bar = element("path", d=f"M{x - 3:.2f} {high:.2f}h6m-3 0V{low:.2f}m-3 0h6", class_="sigma")
    dot = element("circle", cx=x, cy=y(moved), r=2.6 if len(values["scenes"]) > _MANY else 3.6)
    title = element("title", html.escape(f"{told_scene(values, k)}: {told}{', held' if held else ''}"))
    return element("g", title, bar, dot, class_="held" if held else "moved", data_scene=k)


def _refused(values: dict[str, Any], k: int, x: float) -> str:
    title = element("title", html.escape(f"{told_scene(values, k)}: refused"))
    cross = element("path", d=f"M{x - 3.5:.2f} {_BOTTOM - 10:.2f}l7 7m0 -7l-7 7", class_="cross")
    return element("g", title, cross, data_refused=k)


def rmse_chart(values: dict[str, Any]) -> str:
    """RMSE of the check points of each scene, before and after, one row each."""
    numbers, scenes = by_number(values), values["report"]["scenes"]
    pitch = 13.0 if len(numbers) > _MANY else 18.0
    bottom = _TOP + pitch * len(numbers)
    known = [v for s in scenes for v in (s["rmse_before_px"], s["rmse_after_px"]) if v is not None]
    x = _rmse_scale(known or [0.0, 1.0])
    rows = [_rmse_row(values, k, x, _TOP + pitch * (n + 0.5)) for n, k in enumerate(numbers)]
    at = decades(x.low, x.high) if x.log else ticks(x.low, x.high)
    grid = [line(x(v), _TOP, x(v), bottom, class_="grid") for v in at]
    return drawing(
        _WIDTH,
        bottom + 40,
        "RMSE of the check points of each scene, before and after",
        *grid,
        *rows,
        x_axis(x, bottom, "RMSE of check points, px" + (" (logarithmic)" if x.log else ""), at),
        text(_END, _TOP - 10, *_named(("● after", "after"), ("○ before", "before")), class_="key", text_anchor="end"),
    )


def _named(*named: tuple[str, str]) -> list[str]:
    return [element("tspan", name, class_=shade, dx=10 if k else 0) for k, (name, shade) in enumerate(named)]


def _rmse_scale(known: Sequence[float]) -> Scale:
    low, high = min(known), max(known)
    if low > 0 and high / low > _LOG_FROM:
        return Scale(0.8 * low, 1.25 * high, _LABELS, _END, log=True)
    return Scale(0.0, 1.06 * high or 1.0, _LABELS, _END)


def _rmse_row(values: dict[str, Any], k: int, x: Scale, y: float) -> str:
    scene, told = values["report"]["scenes"][k], values["scenes"][k]
    before, after = scene["rmse_before_px"], scene["rmse_after_px"]
    name = text(_LABELS - 8, y + 3.5, label_of(values, k), class_="tick", text_anchor="end")
    if after is None:
        said = text(_LABELS + 8, y + 3.5, "held" if told["held"] else told["outcome"], class_="said")
        return name + said
    figures = f"{shown(before, 's3')} px before, {shown(after, 's3')} px after, on {scene['n_check']} check points"
    title = element("title", html.escape(f"{told_scene(values, k)}: {figures}"))
    marks = [
        line(x(before), y, x(after), y, class_="from-to"),
        element("circle", cx=x(before), cy=y, r=3.4, class_="was"),
        element("circle", cx=x(after), cy=y, r=3.6, class_="now"),
        # so that it is found beside its marks too
        element("rect", x=_LABELS, y=y - 6, width=_END - _LABELS, height=12, fill_opacity=0),
    ]
    return name + element("g", title, *marks, data_rmse=k)
