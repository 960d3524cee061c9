"""What residuals show: their spread, places to look at, jitter and banding, and where the model is uncertain."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray

from georeg.accuracy import residual_statistics
from georeg.fit import Fit, Role
from georeg.models import FloatArray
from georeg.report.findings import AxisKind, Bins, Place, PlaceKind, SigmaMap, Spread
from georeg.tie_points import TiePoints

BIN_POINTS = 8
"""Tie points that a bin holds at least in the mean."""
MAX_BINS, MIN_BINS = 20, 3
SIGMA_PLACES = 25
"""Places of the map of uncertainty along its longer side."""
_TINY = 1e-300
BoolArray = NDArray[np.bool_]


def spread(residual_xy: FloatArray, gsd: float) -> Spread:
    """Of (N, 2) residuals, N > 0, map units; ``gsd`` are map units of a working pixel."""
    seen, radial = residual_statistics(residual_xy, gsd), np.hypot(*residual_xy.T) / gsd
    return Spread(
        n=seen.n,
        rmse=seen.rmse / gsd,
        median=float(np.median(radial)),
        ce90=seen.ce90 / gsd,
        ce95=float(np.percentile(radial, 95)),
        largest=float(radial.max()),
    )


def places(fitted: Fit, checked: BoolArray, gsd: float) -> tuple[Place, ...]:
    """The best, the median and the worst of the check points, (N,) True where one is."""
    numbers = np.flatnonzero(checked)
    after = np.hypot(*fitted.withheld_xy[numbers].T) / gsd
    before = np.hypot(*fitted.points.displacement[numbers].T) / gsd
    order = np.argsort(after, kind="stable")
    kinds: tuple[tuple[PlaceKind, int], ...] = (("best", 0), ("median", len(order) // 2), ("worst", -1))
    return tuple(
        Place(
            kind=kind,
            point=int(numbers[order[at]]),
            xy=_pair(fitted.points.ref_xy[numbers[order[at]]]),
            before_px=float(before[order[at]]),
            after_px=float(after[order[at]]),
        )
        for kind, at in kinds
    )


def _pair(xy: FloatArray) -> tuple[float, float]:
    return float(xy[0]), float(xy[1])


def bins(fitted: Fit, checked: BoolArray, tgt_px: FloatArray, gsd: float) -> tuple[Bins, ...]:
    """By row and by column of the target; none with too few tie points.

    Parameters
    ----------
    checked
        (N,) True for check points that agree with the model.
    tgt_px
        (N, 2) column and row of the tie points in the target.
    gsd
        Map units of a working pixel.
    """
    own = np.isfinite(fitted.withheld_xy).all(axis=1) & checked
    residual_xy = np.where(own[:, None], fitted.withheld_xy, fitted.residual())
    used = ((fitted.role == Role.FIT) | checked) & np.isfinite(tgt_px).all(axis=1)
    n_bins = min(MAX_BINS, int(used.sum()) // BIN_POINTS)
    if n_bins < MIN_BINS:
        return ()
    # a bin's mean has less to say by what the windows of one bin share: along one axis of the two
    told = 1 / math.sqrt(float(np.median(fitted.points.redundancy[used])))
    axes: tuple[tuple[AxisKind, int], ...] = (("row", 1), ("column", 0))
    found = (binned(axis, tgt_px[used, at], residual_xy[used] / gsd, n_bins, told) for axis, at in axes)
    return tuple(made for made in found if made is not None)


def binned(axis: AxisKind, at_px: FloatArray, residual_px: FloatArray, n_bins: int, told: float = 1.0) -> Bins | None:
    """Means of (N, 2) residuals in bins of equal width, those with fewer than two tie points left out; None of fewer than
    `MIN_BINS`. ``told`` is how much of what a tie point says is its own, 1 where windows do not overlap."""
    low, high = at_px.min(), at_px.max()
    edges = np.linspace(low, high, n_bins + 1)
    number = np.clip(np.searchsorted(edges, at_px, side="right") - 1, 0, n_bins - 1)
    n = np.bincount(number, minlength=n_bins)
    held = np.flatnonzero(n >= 2)
    if len(held) < MIN_BINS:
        return None
    inside = np.isin(number, held)
    slot = np.searchsorted(held, number[inside])
    values, counts = residual_px[inside], n[held]
    means = np.stack([np.bincount(slot, values[:, k]) / counts for k in (0, 1)], axis=1)
    within = ((values - means[slot]) ** 2).sum(axis=0)
    freedom = max(len(values) - len(held), 1)
    sigma = math.sqrt(float(within.sum()) / (2 * freedom)) / np.sqrt(np.maximum(counts * told, 1))
    between = (counts[:, None] * (means - values.mean(axis=0)) ** 2).sum(axis=0)
    ratio = told * (between / (len(held) - 1)) / np.maximum(within / freedom, _TINY)
    rest = max(told * len(values) - len(held), 1.0)
    chance = min(1.0, 2 * min(f_exceeded(float(r), len(held) - 1, rest) for r in ratio))
    centres = (edges[:-1] + edges[1:])[held] / 2
    return Bins(
        axis=axis,
        centre_px=tuple(centres.tolist()),
        n=tuple(counts.tolist()),
        mean_x_px=tuple(means[:, 0].tolist()),
        mean_y_px=tuple(means[:, 1].tolist()),
        sigma_px=tuple(sigma.tolist()),
        chance=float(chance),
    )


def f_exceeded(value: float, freedom: float, freedom_within: float) -> float:
    """Probability that a variable of Fisher's F distribution exceeds ``value``.

    By the incomplete beta function, as the continued fraction of Abramowitz and Stegun (1964) 26.5.8.

    >>> round(f_exceeded(3.325835, 5, 10), 6)
    0.05
    """
    if value <= 0:
        return 1.0
    a, b, x = freedom_within / 2, freedom / 2, freedom_within / (freedom_within + freedom * value)
    if x >= 1:
        return 1.0
    if x <= 0:
        return 0.0
    if x > (a + 1) / (a + b + 2):  # where the fraction of the complement converges faster
        return 1.0 - _beta_share(b, a, 1 - x)
    return _beta_share(a, b, x)


def _beta_share(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by Lentz's method."""
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / _away_from_0(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 300):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _away_from_0(1 + term * d), _away_from_0(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return min(1.0, math.exp(log_front) * fraction / a)


def _away_from_0(value: float) -> float:
    return value if abs(value) > 1e-30 else 1e-30


def sigma_map(fitted: Fit, gsd: float) -> SigmaMap:
    """On a lattice over the ground that both rasters share, once corrected."""
    ground_xy = _outline(fitted.points)
    region = shapely.make_valid(shapely.Polygon(fitted.model(ground_xy)))
    left, bottom, right, top = region.bounds
    step = max(right - left, top - bottom) / (SIGMA_PLACES - 1)
    x, y = (_ticks(low, high, step) for low, high in ((left, right), (bottom, top)))
    y = y[::-1]
    at_xy = np.stack([a.ravel() for a in np.meshgrid(x, y)], axis=1)
    inside = shapely.contains_xy(shapely.buffer(region, 1e-9 * step), at_xy[:, 0], at_xy[:, 1])
    tgt_xy = fitted.model.inverse(at_xy[inside], missing_ok=True)
    known = np.isfinite(tgt_xy).all(axis=1)
    sigma = np.full(len(at_xy), np.nan)
    variance = np.trace(fitted.model.covariance_at(tgt_xy[known]), axis1=1, axis2=2)
    sigma[np.flatnonzero(inside)[known]] = np.sqrt(np.maximum(variance, 0)) / gsd
    rows = sigma.reshape(len(y), len(x)).tolist()
    seen = sigma[np.isfinite(sigma)]
    return SigmaMap(
        x=tuple(x.tolist()),
        y=tuple(y.tolist()),
        sigma_px=tuple(tuple(None if math.isnan(v) else v for v in row) for row in rows),
        median_px=float(np.median(seen)) if seen.size else 0.0,
        largest_px=float(seen.max()) if seen.size else 0.0,
    )


def _ticks(low: float, high: float, step: float) -> FloatArray:
    """About ``step`` apart, in the middle of equal parts."""
    n = max(1, round((high - low) / step))
    return np.asarray(low + (np.arange(n) + 0.5) * (high - low) / n, float)


def _outline(points: TiePoints) -> FloatArray:
    """Of the shared ground, in the target as its georeferencing has it; of the tie points where that is not known."""
    if len(points.outline_xy):
        return points.outline_xy
    envelope = shapely.MultiPoint(points.tgt_xy[points.kept]).envelope
    return np.asarray(shapely.get_coordinates(shapely.buffer(envelope, points.gsd)))
