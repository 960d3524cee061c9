"""What maps and plots made with matplotlib share: colours, units, scale bar and north arrow."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from pyproj import CRS

from georeg.errors import InputError
from georeg.models import FloatArray
from georeg.report.boards import round_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, VERMILLION, ORANGE, PURPLE, GREEN, GREY = "#0072B2", "#D55E00", "#E69F00", "#CC79A7", "#009E73", "#808080"
"""Of Okabe and Ito (2008), which colour-blind eyes tell apart, and a grey."""
STRIP = 0.15
"""Share of a map's height that is kept free below it, for what is told about it."""


def plotting(name: str) -> Any:
    """A module of matplotlib, which is only there where georeg's extra ``plot`` is installed.

    Raises
    ------
    InputError
        It is not.
    """
    try:
        return importlib.import_module(f"matplotlib.{name}")
    except ImportError as exc:
        raise InputError(f"plots need matplotlib, which is not installed ({exc}); pip install 'georeg[plot]'") from exc


def axes(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure of pyplot."""
    return plotting("pyplot").subplots(layout="constrained")[1] if ax is None else ax


def told(length: float, unit: str, gsd: float, form: str = ".3g") -> str:
    """A length in map units and in pixels.

    >>> told(0.123, "m", 10.0), told(0.5, "px", 1.0)
    ('0.123 m (0.012 px)', '0.5 px')
    """
    return f"{length:{form}} {unit}" + ("" if unit == "px" else f" ({length / gsd:.2g} px)")


def ways(crs: CRS) -> tuple[str, str]:
    """What +x and +y are: of plain pictures there is no east."""
    return ("east", "north") if crs.is_projected or crs.is_geographic else ("right", "up")


def map_axes(ax: Axes, xy: FloatArray, crs: CRS, unit: str) -> None:
    """Limits about all finite places (N, 2) and a strip below them with a scale bar and a north arrow; units on both axes."""
    low, high = np.nanmin(xy, axis=0), np.nanmax(xy, axis=0)
    size = np.maximum(high - low, 0.25 * float((high - low).max()) or 1.0)
    middle = (low + high) / 2
    left, bottom = middle - 0.54 * size
    right, top = middle + 0.54 * size
    below = bottom - STRIP * (top - bottom)
    ax.set(xlim=(left, right), ylim=(below, top), aspect="equal")
    ticks = plotting("ticker")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(ticks.MaxNLocator(4, steps=[1, 2, 5, 10]))
    if ways(crs)[0] == "east":
        ax.ticklabel_format(style="plain", useOffset=False)
        ax.set(xlabel=f"easting ({unit})", ylabel=f"northing ({unit})")
    else:
        ax.yaxis.set_major_formatter(ticks.FuncFormatter(lambda y, _: f"{0.0 - y:g}"))
        ax.set(xlabel=f"column ({unit})", ylabel=f"row ({unit})")
    ax.axhline(bottom, color="black", linewidth=0.6)
    scale_bar(ax, unit)
    if ways(crs)[0] == "east":
        north_arrow(ax, (0, 1))


def scale_bar(ax: Axes, unit: str) -> None:
    """A bar of a round length in the strip of a map, with its length below it."""
    (left, right), (below, top) = ax.get_xlim(), ax.get_ylim()
    height = (top - below) * STRIP / (1 + STRIP)
    length = round_length(0.25 * (right - left))
    x, y = left + 0.04 * (right - left), below + 0.6 * height
    ax.add_patch(plotting("patches").Rectangle((x, y), length, 0.07 * height, color="black", gid="scale bar"))
    text = f"{length / 1000:g} km" if unit == "m" and length >= 1000 else f"{length:g} {unit}"
    ax.text(x + length / 2, below + 0.5 * height, text, ha="center", va="top", fontsize="small")


def north_arrow(ax: Axes, towards: ArrayLike) -> None:
    """An arrow at the right end of the strip, that way (x to the right, y up), with its letter."""
    right, (below, top) = ax.get_xlim()[1], ax.get_ylim()
    height = (top - below) * STRIP / (1 + STRIP)
    way = np.asarray(towards, float) / np.hypot(*np.asarray(towards, float))
    middle = np.array([right - 0.6 * height, below + 0.5 * height])
    tail, head = middle - 0.34 * height * way, middle + 0.1 * height * way
    ax.annotate("", head, tail, arrowprops={"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0})
    letter = head + 0.18 * height * way
    ax.text(letter[0], letter[1], "N", ha="center", va="center", fontsize="small", fontweight="bold")


def legend_below(ax: Axes, n_columns: int, **kwargs: Any) -> None:
    """A legend under the labels of the axes, where it hides nothing."""
    style = {"frameon": False, "fontsize": "small", "borderaxespad": 4.6} | kwargs
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=n_columns, **style)
