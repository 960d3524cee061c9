"""Plots of a fit in the manner of matplotlib: they draw on the axes given, or on those of a new figure, and show nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS

from georeg.accuracy import agreeing, residual_statistics
from georeg.errors import InputError
from georeg.fit import Fit, Role
from georeg.models import FloatArray
from georeg.overlap import unit_name
from georeg.placement import apply_transform
from georeg.report.boards import TINTS, Board, board, round_length
from georeg.report.marks import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    STRIP,
    VERMILLION,
    axes,
    legend_below,
    map_axes,
    north_arrow,
    plotting,
    scale_bar,
    told,
    ways,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_APART = 8.0
"""Residuals before that reach this many times as far as those after leave these no room: they get an inset."""
_DRAWN_SHARE = 0.06
"""Of the length of the ground: about how long most arrows are drawn."""
_LONGEST_SHARE = 0.25
"""No arrow is drawn longer than this."""
_GROUPS = {
    "check point": (VERMILLION, "s", 14),
    "fit": (BLUE, "o", 10),
    "check point left out": (PURPLE, "D", 14),
    "outlier": (ORANGE, "^", 18),
    "rejected": (GREY, "x", 12),
}
"""Colour, marker and size of tie points by what they did."""


def plot_residuals(fitted: Fit, ax: Axes | None = None, **kwargs: Any) -> Axes:
    """Plot the residuals of the check points, before and after, with the circle that holds 90 % of those after.

    Where those before lie far away, an inset shows those after.

    Parameters
    ----------
    fitted
        A fit with check points.
    ax
        Axes to draw on; None for those of a new figure.
    **kwargs
        Of `matplotlib.axes.Axes.scatter`, for both groups of points.

    Raises
    ------
    InputError
        There is no matplotlib, or no check point agrees with the model.
    """
    before, after = checked_residuals(fitted)
    ax, crs = axes(ax), CRS.from_wkt(fitted.points.crs)
    unit, gsd = unit_name(crs), fitted.points.gsd / fitted.points.reduction
    ce90 = residual_statistics(after, gsd).ce90
    far, near = (float(np.abs(xy).max()) or gsd for xy in (before, after))
    reach = 1.15 * max(far, near)
    _scatter(ax, before, after, ce90, reach, **kwargs)
    east, north = ways(crs)
    ax.set(xlabel=f"residual {east} ({unit})", ylabel=f"residual {north} ({unit})")
    ax.set_title(f"Residuals of {len(after)} check points", loc="left", fontsize="medium")
    if far > _APART * near:
        side = before.mean(axis=0) >= 0  # the inset goes to the corner opposite
        inset = ax.inset_axes((0.13 if side[0] else 0.61, 0.075 if side[1] else 0.58, 0.36, 0.36))
        _scatter(inset, None, after, ce90, 1.3 * max(near, ce90), **kwargs)
        inset.set_title(f"after ({unit})", fontsize="small", pad=3)
        inset.tick_params(labelsize="x-small")
        ax.indicate_inset_zoom(inset, edgecolor="black", alpha=0.5)
    circle = plotting("lines").Line2D(
        [], [], linestyle="", marker="o", markersize=9, markerfacecolor="none", markeredgecolor="black",
        label=f"CE90 after: {told(ce90, unit, gsd)}",
    )  # fmt: skip
    legend_below(ax, 3, handles=[*ax.get_legend_handles_labels()[0], circle])
    return ax


def checked_residuals(fitted: Fit) -> tuple[FloatArray, FloatArray]:
    """(N, 2) residuals of the check points before and after, map units, N > 0: those that the accuracies are of.

    Raises
    ------
    InputError
        There are none.
    """
    seen = agreeing(fitted)
    if not seen.any():
        raise InputError(
            f"none of {len(fitted.points)} tie points is a check point that agrees with the {fitted.model.kind} model: there "
            "is nothing to plot; plot the vectors"
        )
    return fitted.points.displacement[seen], fitted.withheld_xy[seen]


def _scatter(ax: Axes, before: FloatArray | None, after: FloatArray, ce90: float, reach: float, **kwargs: Any) -> None:
    """Both groups about no residual at all, ``reach`` in each direction."""
    style: dict[str, Any] = {"s": 16, "alpha": 0.7, "linewidths": 0.8} | kwargs
    ax.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    ax.axvline(0, color=GREY, linewidth=0.6, zorder=0)
    if before is not None:
        ax.scatter(before[:, 0], before[:, 1], **{"color": ORANGE, "marker": "^", "label": "before", **style})
    ax.scatter(after[:, 0], after[:, 1], **{"color": BLUE, "marker": "o", "label": "after", **style})
    circle = plotting("patches").Circle((0, 0), ce90, fill=False, color="black", linewidth=1.0, gid="CE90")
    ax.add_patch(circle)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(plotting("ticker").MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def plot_vectors(fitted: Fit, ax: Axes | None = None, scale: float | None = None) -> Axes:
    """Plot a map of the tie points with what the model leaves of each as an arrow, from the target to the reference.

    Of tie points with a model that they took no part in, by that. Rejected ones have no arrow.

    Parameters
    ----------
    fitted
        The tie points and their roles.
    ax
        Axes to draw on; None for those of a new figure.
    scale
        How many times as long as residuals their arrows are; by default a round number.

    Raises
    ------
    InputError
        There is no matplotlib, no tie point, or ``scale`` is not positive.
    """
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise InputError(f"scale is {scale}; give a number above 0")
    if not len(fitted.points):
        raise InputError("there are 0 tie points: nothing to plot")
    ax, points, crs = axes(ax), fitted.points, CRS.from_wkt(fitted.points.crs)
    unit, gsd = unit_name(crs), points.gsd / points.reduction
    group, residual = grouped(fitted)
    span = float(np.ptp(points.ref_xy, axis=0).max()) or gsd
    lengths = np.hypot(*residual.T)
    with_arrow = group != "rejected"
    typical = float(np.quantile(lengths[with_arrow], 0.9)) if with_arrow.any() else 0.0
    scale = scale or round_length(max(_DRAWN_SHARE * span / max(typical, 1e-9 * gsd), 1.0))
    drawn = with_arrow & (lengths * scale <= _LONGEST_SHARE * span)
    map_axes(ax, np.concatenate([points.ref_xy, (points.ref_xy + scale * residual)[drawn]]), crs, unit)
    quiver = None
    for name, (colour, marker, size) in reversed(_GROUPS.items()):
        of, arrows = group == name, drawn & (group == name)
        if not of.any():
            continue
        label = (
            f"{name} ({of.sum()})" if arrows.sum() in (0, of.sum()) else f"{name} ({of.sum()}, {arrows.sum()} drawn)"
        )
        xy = points.ref_xy[of]
        ax.scatter(xy[:, 0], xy[:, 1], s=size, color=colour, marker=marker, linewidths=0.8, label=label, zorder=3)
        if arrows.any():
            quiver = ax.quiver(
                *points.ref_xy[arrows].T, *residual[arrows].T, angles="xy", scale_units="xy", scale=1 / scale,
                color=colour, width=0.0025, gid=name, zorder=2,
            )  # fmt: skip
    if quiver is not None:
        key = round_length(0.15 * (ax.get_xlim()[1] - ax.get_xlim()[0]) / scale)
        height = STRIP / (1 + STRIP) ** 2
        ax.quiverkey(quiver, 0.55, 0.68 * height, key, told(key, unit, gsd, "g"), angle=0, labelpos="S", color="black")
    ax.set_title(f"Residuals after correction, drawn {scale:g} times as long", loc="left", fontsize="medium")
    handles, labels = ax.get_legend_handles_labels()
    legend_below(ax, 3, handles=handles[::-1], labels=labels[::-1])
    return ax


def grouped(fitted: Fit) -> tuple[NDArray[np.str_], FloatArray]:
    """(N,) what each tie point did, and (N, 2) the residual that it is shown with, map units."""
    known = np.asarray(~np.isnan(fitted.withheld_xy).any(axis=1))
    residual = np.where(known[:, None], fitted.withheld_xy, fitted.residual())
    names = {Role.FIT: "fit", Role.OUTLIER: "outlier", Role.CHECK: "check point"}
    group = np.array([names.get(Role(role), "rejected") for role in fitted.role], dtype="U32")
    seen = agreeing(fitted)
    group[seen] = "check point"
    group[known & ~seen] = "check point left out"
    return group, residual


def plot_checkerboard(fitted: Fit, ax: Axes | None = None, place: ArrayLike | None = None) -> Axes:
    """Draw the reference and the corrected target around a place, in turns: where edges break, they do not overlay.

    Parameters
    ----------
    fitted
        The correction, and which rasters.
    ax
        Axes to draw on; None for those of a new figure.
    place
        (2,) map xy in the reference, working CRS; by default a well-matched check point near the middle of all.

    Raises
    ------
    InputError
        There is no matplotlib, a raster is no longer where it was, or the place is none.
    """
    plotting("axes")  # before rasters are read
    seen = board(fitted, place)
    ax = axes(ax)
    draw_board(ax, seen, seen.after, "After correction")
    return ax


def draw_board(ax: Axes, seen: Board, moved: FloatArray, title: str) -> None:
    """One board with its place, scale bar, north arrow, and what its colours mean."""
    height, width = (n * seen.gsd for n in seen.reference.shape)
    ax.imshow(seen.mixed(moved), extent=(0, width, 0, height), interpolation="nearest")
    ax.set(xlim=(0, width), ylim=(-STRIP * height, height), aspect="equal")
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_yticks([y for y in plotting("ticker").MaxNLocator(6).tick_values(0, height) if 0 <= y <= height])
    ax.set(xlabel=f"along columns ({seen.unit})", ylabel=f"along rows ({seen.unit})")
    shape = seen.reference.shape
    x, y = (1, -1 if seen.unit == "px" else 1) * apply_transform(seen.affine, np.array([[shape[1] / 2, shape[0] / 2]]))[
        0
    ]
    ax.set_title(f"{title}, around {x:.0f}, {y:.0f} {seen.unit}", loc="left", fontsize="medium")
    scale_bar(ax, seen.unit)
    if seen.unit != "px":
        towards = ~seen.affine
        north_arrow(ax, (towards.b, -towards.e))
    names = ("reference", "target")
    patches = [
        plotting("patches").Patch(facecolor=tint, edgecolor="black", linewidth=0.5, label=name)
        for tint, name in zip(TINTS, names, strict=True)
    ]
    ax.legend(handles=patches, loc="lower center", ncols=1, frameon=False, fontsize="x-small", borderaxespad=0.2)
