"""Figures in a page, each with the place in the result that it is from: what is read is what is in the data."""

from __future__ import annotations

import html
import math
from typing import Any

_DIGITS_FROM, _DIGITS_TO = 1e-4, 1e7


def look_up(values: Any, path: str) -> Any:
    """What lies at a path of keys and numbers of items, such as ``report.places.0.xy``.

    >>> look_up({"a": [{"b": 2.5}]}, "a.0.b")
    2.5
    """
    for key in path.split("."):
        values = values[int(key)] if isinstance(values, list | tuple) else values[key]
    return values


def shown(value: Any, form: str) -> str:
    r"""A number as people read it.

    Parameters
    ----------
    value
        A number, or None for what there is none of.
    form
        Any of Python's, with a true minus sign; ``s3`` for three significant digits and ``+s3`` with a sign, in powers of ten
        only where there would be many noughts; ``%`` for a share in per cent; ``power`` for ten to the power of it.

    >>> shown(-0.01234, "s2"), shown(64.456, "s3"), shown(3.0, "+s2"), shown(0.256, "%"), shown(1234, "s3"), shown(None, "s3")
    ('−0.012', '64.5', '+3.0', '26\xa0%', '1\u2009234', '–')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if form == "power":
        return f"10{_raised(round(value))}"
    if form == "%":
        return f"{_per_cent(100 * value)}\u00a0%"
    if form.lstrip("+").startswith("s"):
        text = _significant(float(value), int(form.lstrip("+")[1:]))
        text = ("+" if form.startswith("+") and value > 0 else "") + text
    else:
        text = format(value, form)
    return text.replace("-", "−").replace(",", "\u2009")


def _per_cent(value: float) -> str:
    return f"{value:.2g}" if 0 < abs(value) < 1 else f"{value:.1f}" if 99 < value < 100 else f"{value:.0f}"


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    if not _DIGITS_FROM <= size < _DIGITS_TO:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}×10{_raised(int(power))}"
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{value:,.{decimals}f}"


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def figure(values: Any, path: str, form: str, unit: str = "", *, times: str | None = None, tag: str = "span") -> str:
    """Markup of the number at a path, with its unit; in SVG the tag is ``tspan``.

    With ``times`` it is multiplied by the number at that path, such as pixels by their size.
    """
    value = look_up(values, path)
    factor = "" if times is None else f' data-times="{times}"'
    if times is not None and value is not None:
        value = value * look_up(values, times)
    text = shown(value, form)
    after = f"\u00a0{html.escape(unit)}" if unit and text != "–" else ""
    return f'<{tag} data-figure="{html.escape(path)}" data-format="{form}"{factor}>{text}</{tag}>{after}'


def told(values: Any, path: str, *, tag: str = "span") -> str:
    """Markup of the text at a path, as it is."""
    return f'<{tag} data-text="{html.escape(path)}">{html.escape(str(look_up(values, path)))}</{tag}>'


def length(values: Any, path: str, gsd: str) -> str:
    """Markup of the length at a path, which is in pixels, and in map units by their size at another path."""
    px, unit = figure(values, path, "s2", "px"), values["unit"]
    return px if unit == "px" else f"{px} ({figure(values, path, 's2', unit, times=gsd)})"
