"""Plots for whoever doubts a result: how its residuals are distributed, where they grow, and how certain the model is."""

from __future__ import annotations

from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import CRS

from georeg.accuracy import residual_statistics
from georeg.fit import Fit, Role
from georeg.initial import PIXELS
from georeg.models import FloatArray, identity
from georeg.overlap import unit_name
from georeg.placement import Placement
from georeg.raster import open_pair
from georeg.report.marks import BLUE, ORANGE, VERMILLION, legend_below, map_axes, plotting, told, ways
from georeg.report.plots import checked_residuals, grouped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LATTICE = 48
"""Cells along the longer side of a map of uncertainty."""
_LEAST_BIN, _MOST_BINS = 8, 20
"""Tie points in a bin along rows or columns at least, and bins at most."""
_FAR = 5.0
"""Radial residuals before and after that differ by this factor are drawn on a logarithmic axis."""


def _unit(fitted: Fit) -> str:
    return unit_name(CRS.from_wkt(fitted.points.crs))


def _gsd(fitted: Fit) -> float:
    return fitted.points.gsd / fitted.points.reduction


def _by_axis(fitted: Fit) -> list[tuple[str, str, str]]:
    """Way, colour and marker of both axes."""
    east, north = ways(CRS.from_wkt(fitted.points.crs))
    return [(east, BLUE, "o"), (north, VERMILLION, "s")]


def plot_histogram(fitted: Fit, ax: Axes) -> None:
    """Residuals of the check points after correction, by axis.

    Raises
    ------
    InputError
        No check point agrees with the model.
    """
    after, unit = checked_residuals(fitted)[1], _unit(fitted)
    edges = np.histogram_bin_edges(after, bins=int(np.clip(np.sqrt(len(after)), 5, 40)))
    for (way, colour, _), values, kind in zip(_by_axis(fitted), after.T, ("stepfilled", "step"), strict=True):
        label = f"{way}: mean {values.mean():+.2g} {unit}, standard deviation {values.std():.2g} {unit}"
        alpha = 0.45 if kind == "stepfilled" else 1.0
        style: dict[str, Any] = {"histtype": kind, "color": colour, "alpha": alpha, "linewidth": 1.8}
        ax.hist(values, edges.tolist(), label=label, **style)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.yaxis.set_major_locator(plotting("ticker").MaxNLocator(integer=True))
    ax.set(xlabel=f"residual after correction ({unit})", ylabel="check points")
    _title(ax, f"Residuals of {len(after)} check points")
    legend_below(ax, 1)


def plot_qq(fitted: Fit, ax: Axes) -> None:
    """Quantiles of the residuals after correction against those of the normal distribution.

    Raises
    ------
    InputError
        No check point agrees with the model.
    """
    after, unit = checked_residuals(fitted)[1], _unit(fitted)
    normal = np.array([NormalDist().inv_cdf((k + 0.5) / len(after)) for k in range(len(after))])
    for (way, colour, marker), values in zip(_by_axis(fitted), after.T, strict=True):
        ax.scatter(normal, np.sort(values), s=14, color=colour, marker=marker, alpha=0.7, label=way)
        ax.plot(normal[[0, -1]], values.mean() + values.std() * normal[[0, -1]], color=colour, linewidth=1.0)
    ax.set(xlabel="normal quantile (standard deviations)", ylabel=f"residual after correction ({unit})")
    _title(ax, f"Residuals of {len(after)} check points; on the lines if normally distributed")
    legend_below(ax, 2)


def plot_radial(fitted: Fit, ax: Axes) -> None:
    """Share of the check points within a distance, before and after, with CE90 and CE95.

    Raises
    ------
    InputError
        No check point agrees with the model.
    """
    both, unit, gsd = checked_residuals(fitted), _unit(fitted), _gsd(fitted)
    share = 100 * np.arange(1, len(both[0]) + 1) / len(both[0])
    radial = [np.sort(np.hypot(*xy.T)) for xy in both]
    for name, values, colour, line in zip(("before", "after"), radial, (ORANGE, BLUE), ("--", "-"), strict=True):
        rmse = residual_statistics(both[name == "after"], gsd).rmse
        label = f"{name}: RMSE {told(rmse, unit, gsd)}"
        ax.step(values, share, where="post", color=colour, linestyle=line, linewidth=1.6, label=label)
    for percent, line in ((90, "-."), (95, ":")):
        value = float(np.percentile(radial[1], percent))
        label = f"CE{percent} after: {told(value, unit, gsd)}"
        ax.vlines(value, 0, percent, color="black", linestyle=line, linewidth=1.0, label=label)
    if np.median(radial[0]) > _FAR * np.median(radial[1]) > 0:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(plotting("ticker").FuncFormatter(lambda x, _: f"{x:g}"))
    ax.set(xlabel=f"radial residual ({unit})", ylabel="check points within it (%)", ylim=(0, 102))
    _title(ax, f"Radial residuals of {len(share)} check points")
    legend_below(ax, 2)


def plot_rows_columns(fitted: Fit, pair_of_axes: tuple[Axes, Axes]) -> None:
    """Residuals after correction against the row and the column of the target: jitter and banding show as waves.

    Raises
    ------
    InputError
        A raster is no longer where it was.
    """
    group, residual = grouped(fitted)
    used = (group == "check point") | (group == "fit")
    px, unit = _target_px(fitted)[used], _unit(fitted)
    residual = residual[used]
    reach = 1.1 * float(np.quantile(np.abs(residual), 0.98)) if used.any() else 1.0
    for ax, at, name in zip(pair_of_axes, (px[:, 1], px[:, 0]), ("row", "column"), strict=True):
        for (way, colour, marker), values in zip(_by_axis(fitted), residual.T, strict=True):
            ax.scatter(at, values, s=6, color=colour, marker=marker, alpha=0.25, linewidths=0)
            middle, mean, error = _binned(at, values)
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.2, "capsize": 2}
            ax.errorbar(middle, mean, error, label=f"{way}, mean with standard error", **style)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set(xlabel=f"{name} of the target (px)", ylabel=f"residual ({unit})", ylim=(-reach, reach))
    beyond = int((np.abs(residual) > reach).any(axis=1).sum())
    left_out = f" ({beyond} beyond the axes)" if beyond else ""
    _title(pair_of_axes[0], f"Residuals of {used.sum()} tie points{left_out} by row and by column")
    legend_below(pair_of_axes[1], 2)


def _target_px(fitted: Fit) -> FloatArray:
    """(N, 2) column and row of the tie points in the target."""
    inputs, crs = fitted.points.inputs, CRS.from_wkt(fitted.points.crs)
    target = open_pair(inputs.reference, inputs.target, initial=inputs.initial)[1]
    return Placement(target, crs, identity()).to_px(fitted.points.tgt_xy)


def _binned(at: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Middle, mean and standard error of bins that hold about as many values each."""
    n_bins = int(np.clip(len(at) // _LEAST_BIN, 1, _MOST_BINS))
    parts = [part for part in np.array_split(np.argsort(at, kind="stable"), n_bins) if len(part)]
    mean = np.array([values[part].mean() for part in parts])
    error = np.array([values[part].std(ddof=min(1, len(part) - 1)) / np.sqrt(len(part)) for part in parts])
    return np.array([at[part].mean() for part in parts]), mean, error


def plot_uncertainty(fitted: Fit, ax: Axes) -> None:
    """A map of the standard deviation of corrected positions, by the covariance of the model, with the points of the fit."""
    points, crs = fitted.points, CRS.from_wkt(fitted.points.crs)
    unit, gsd = unit_name(crs), _gsd(fitted)
    ground = points.everywhere_xy()
    low, high = ground.min(axis=0), ground.max(axis=0)
    n_cells = np.maximum(1, np.rint(_LATTICE * (high - low) / max(float((high - low).max()), 1e-9))).astype(int)
    x, y = (np.linspace(a, b, n + 1) for a, b, n in zip(low, high, n_cells, strict=True))
    corners, middles = (np.stack(np.meshgrid(*axes), axis=-1) for axes in ((x, y), (_middles(x), _middles(y))))
    flat = middles.reshape(-1, 2)
    variance = np.trace(fitted.model.covariance_at(flat), axis1=1, axis2=2)
    sigma = np.sqrt(np.maximum(variance, 0))
    outline = points.outline_xy if len(points.outline_xy) else points.tgt_xy
    region = (
        shapely.make_valid(shapely.Polygon(outline)) if len(points.outline_xy) else shapely.MultiPoint(outline).envelope
    )
    sigma[~shapely.contains_xy(region, *flat.T)] = np.nan
    placed = fitted.model(corners.reshape(-1, 2)).reshape(corners.shape)
    most = float(np.nanmax(sigma)) if np.isfinite(sigma).any() else gsd
    mesh = ax.pcolormesh(
        placed[..., 0], placed[..., 1], np.ma.masked_invalid(sigma.reshape(middles.shape[:2])), cmap="cividis", vmin=0,
        vmax=most or gsd,
    )  # fmt: skip
    used = points.ref_xy[fitted.role == Role.FIT]
    label = f"points of the fit ({len(used)})"
    ax.scatter(
        used[:, 0],
        used[:, 1],
        s=9,
        facecolors="white",
        edgecolors="black",
        linewidths=0.6,
        label=label,
    )
    map_axes(ax, placed.reshape(-1, 2), crs, unit)
    bar = ax.figure.colorbar(mesh, ax=ax, shrink=0.8)
    bar.set_label(f"standard deviation of the corrected position ({unit})")
    if crs != PIXELS:
        scale = bar.ax.secondary_yaxis("left", functions=(partial(np.multiply, 1 / gsd), partial(np.multiply, gsd)))
        scale.set_ylabel("(px)")
    _title(ax, f"Uncertainty of the {fitted.model.kind} model")
    legend_below(ax, 1)


def _middles(stops: FloatArray) -> FloatArray:
    return np.asarray((stops[1:] + stops[:-1]) / 2)


def _title(ax: Axes, text: str) -> None:
    ax.set_title(text, loc="left", fontsize="medium")
