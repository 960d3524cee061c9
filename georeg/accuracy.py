"""How good an alignment is: statistics of withheld check points, and proof against chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from georeg.errors import VerificationError
from georeg.fit import Fit, Role
from georeg.models import FloatArray

MAX_LOG10_CHANCE = -6.0
"""A result is refused when chance explains its agreeing check points with a probability above 10 to this."""
MAX_TOLERANCE_PX = 2.5
"""A check point further from the model than this never agrees with it, however they scatter."""
HARMLESS_PX = 0.1
"""A model that moves check points further from the reference by more than this, and more than by chance, is refused."""
WORSE = 1.25
"""And one that moves them this many times as far away, whatever chance may do to a few."""
UNMOVED_PX = 0.01
"""A correction that moves the target by less than this is none."""
NULL_CHANCE = 0.01
"""A correction is taken for real where chance would help its tie points as much with less than this probability."""
MAX_NULL_PX = 0.5
"""What may move the target further than this is no null result, however uncertain."""
LEAST_LOG10 = -300.0
"""Probabilities below 10 to this are taken for it."""
MIN_CHECK_POINTS = 4
MIN_WITNESSES = 3
"""Least number of agreeing check points whose windows hardly overlap."""
MIN_SPREAD = 0.05
"""Least share of the ground that was searched over which agreeing check points must be spread."""
MIN_AGREEING = 0.2
"""Least share of the check points that must agree with the model."""


@dataclass(frozen=True)
class Accuracy:
    """Statistics of residuals at n check points; ``_x`` is east, ``_y`` north, in map units."""

    n: int
    """Check points used."""
    n_excluded: int
    """Check points left out as mismatches: further from the model than `Verification.tolerance_px`."""
    bias_x: float
    """Mean residual."""
    bias_y: float
    """Mean residual."""
    rmse_x: float
    """Root mean square."""
    rmse_y: float
    """Root mean square."""
    rmse: float
    """RMSEr = sqrt(rmse_x² + rmse_y²)."""
    ce90: float
    """90th percentile of the radial residual."""
    gsd: float
    """Working pixel size, map units: divide by it for pixels."""


@dataclass(frozen=True)
class Verification:
    """Why chance does not explain the agreement of the check points."""

    tolerance_px: float
    """A check point this close to the model agrees with it, working pixels."""
    n_checked: int
    """Check points."""
    n_agreeing: int
    """Check points that agree with the model, which was fitted without them."""
    log10_chance: float
    """Log10 of the probability that as many agree by chance, at any of the placements that were considered."""


def residual_statistics(residual_xy: FloatArray, gsd: float, n_excluded: int = 0) -> Accuracy:
    """Statistics of (N, 2) residuals in map units, N > 0.

    >>> import numpy as np
    >>> residual_statistics(np.array([[3.0, 4.0], [-3.0, -4.0]]), gsd=10.0).rmse
    5.0
    """
    bias_x, bias_y = residual_xy.mean(axis=0)
    rmse_x, rmse_y = np.sqrt((residual_xy**2).mean(axis=0))
    return Accuracy(
        n=len(residual_xy),
        n_excluded=n_excluded,
        bias_x=float(bias_x),
        bias_y=float(bias_y),
        rmse_x=float(rmse_x),
        rmse_y=float(rmse_y),
        rmse=float(np.hypot(rmse_x, rmse_y)),
        ce90=float(np.percentile(np.hypot(*residual_xy.T), 90)),
        gsd=gsd,
    )


def verify(fitted: Fit) -> tuple[Verification, Accuracy, Accuracy]:
    """Show that a fit is right on the check points, before and after.

    Returns
    -------
    verification, before, after
        Both accuracies are of the same check points: those that agree with the model.

    Raises
    ------
    VerificationError
        The check points do not agree with the model better than chance would have them.
    """
    points = fitted.points
    check, tolerance_px = _checked(fitted)
    residual = fitted.withheld_xy[check]
    agreeing = np.hypot(*residual.T) <= tolerance_px * points.gsd
    area_share = math.pi * tolerance_px**2 / (2 * points.search_px + 1) ** 2
    n, k = len(residual), int(agreeing.sum())
    agreed = np.flatnonzero(check)[agreeing]
    witnesses = points.witnesses(np.isin(np.arange(len(points)), agreed))
    considered = math.ceil(n * witnesses / max(k, 1))
    log10_chance = min(0.0, points.log10_tests + log10_binomial_tail(witnesses, considered, min(area_share, 1.0)))
    spread = hull_area(points.ref_xy[agreed]) / max(hull_area(points.ref_xy), 1e-300)
    verification = Verification(tolerance_px * points.reduction, n, k, log10_chance)
    missed = [
        text
        for failed, text in (
            (k < MIN_CHECK_POINTS, f"{MIN_CHECK_POINTS} are needed"),
            (
                witnesses < MIN_WITNESSES and k >= MIN_CHECK_POINTS,
                f"their windows overlap so that they are {witnesses} that saw ground of their own, {MIN_WITNESSES} are needed",
            ),
            (
                k >= MIN_CHECK_POINTS and spread < MIN_SPREAD,
                f"they lie on {spread:.1%} of the ground that was searched, {MIN_SPREAD:.0%} is needed: one thing may have moved",
            ),
            (k < MIN_AGREEING * n, f"{MIN_AGREEING:.0%} of them are needed"),
            (
                log10_chance > MAX_LOG10_CHANCE,
                f"chance explains that with probability 1e{log10_chance:.0f}, at most 1e{MAX_LOG10_CHANCE:.0f} is accepted",
            ),
        )
        if failed
    ]
    if missed:
        raise VerificationError(
            f"refused: {k} of {n} check points agree with the {fitted.model.kind} model within {verification.tolerance_px:.2g} "
            f"px, but {' and '.join(missed)}; check that both rasters show the same ground, or try other bands or a larger "
            "--max-points"
        )
    before2 = (points.displacement[check] ** 2).sum(axis=1)[agreeing] / points.gsd**2
    loss = (residual**2).sum(axis=1)[agreeing] / points.gsd**2 - before2
    if loss.mean() > max(min(2 * loss.std() / math.sqrt(k), (WORSE**2 - 1) * before2.mean()), HARMLESS_PX**2):
        raise VerificationError(
            f"refused: the {fitted.model.kind} model moves {k} check points further from the reference, by "
            f"{math.sqrt(loss.mean()):.2g} px RMS; choose a simpler --model or try other bands"
        )
    gsd = points.gsd / points.reduction
    before = residual_statistics(points.displacement[check][agreeing], gsd, n - k)
    after = residual_statistics(residual[agreeing], gsd, n - k)
    return verification, before, after


def agreeing(fitted: Fit) -> NDArray[np.bool_]:
    """(N,) True for the check points that agree with the model: those that both accuracies of `verify` are of."""
    check, tolerance_px = _checked(fitted)
    radial = np.hypot(*np.where(check[:, None], fitted.withheld_xy, np.inf).T)
    return np.asarray(radial <= tolerance_px * fitted.points.gsd)


def _checked(fitted: Fit) -> tuple[NDArray[np.bool_], float]:
    """(N,) True for check points, and how near to the model they must be to agree with it, pixels of the tie points."""
    check = np.asarray(~np.isnan(fitted.withheld_xy).any(axis=1))
    own2 = np.trace(fitted.points.cov[check], axis1=1, axis2=2) / (2 * fitted.points.gsd**2)
    typical_px = math.sqrt(fitted.sigma_px**2 + (float(np.median(own2)) if check.any() else 0.0))
    return check, min(max(1.0, 4 * typical_px), MAX_TOLERANCE_PX)


def is_null(fitted: Fit) -> bool:
    """Whether the correction cannot be told from none: it helps the tie points that it was fitted to no more than chance."""
    used = fitted.role == Role.FIT
    points = fitted.points.subset(used)
    moved_px = np.hypot(*fitted.model.displacement(points.tgt_xy).T) / (points.gsd / points.reduction)
    if np.sqrt((moved_px**2).mean()) <= UNMOVED_PX:
        return True
    cov = (points.cov + (fitted.sigma_px * points.gsd) ** 2 * np.eye(2)) * points.redundancy[:, None, None]
    before, after = (
        float(np.einsum("ni,nij,nj->", d, np.linalg.inv(cov), d))
        for d in (points.displacement, fitted.residual()[used])
    )
    freedom = fitted.model.freedom
    return bool(moved_px.max() <= MAX_NULL_PX and chi2_exceeded(before - after, freedom) >= NULL_CHANCE)


def hull_area(xy: FloatArray) -> float:
    """Area of the convex hull of (N, 2) points."""
    return float(shapely.MultiPoint(xy).convex_hull.area)


def log10_binomial_tail(k: int, n: int, p: float) -> float:
    """Log10 of the probability of at least ``k`` successes in ``n`` trials of probability ``p``."""
    if k <= 0 or p >= 1:
        return 0.0
    if k > n or p <= 0:
        return LEAST_LOG10
    # logarithms of the terms, each from the one before it
    first = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
    )
    more = np.arange(k, n)
    terms = first + np.cumsum(np.log([1.0, *((n - more) / (more + 1) * (p / (1 - p)))]))
    tail = terms.max() + math.log(np.exp(terms - terms.max()).sum())
    return float(np.clip(tail / math.log(10), LEAST_LOG10, 0.0))


def chi2_exceeded(value: float, freedom: float) -> float:
    """Probability that a χ² variable of ``freedom`` (which need not be whole) exceeds ``value``.

    By the series of the incomplete gamma function, Abramowitz and Stegun (1964) 6.5.29.

    >>> round(chi2_exceeded(9.21034, 2), 6)
    0.01
    """
    a, x = freedom / 2, value / 2
    if x <= 0:
        return 1.0
    if x > 10 * a + 100:  # where it is less than 1e-30, and the series is long
        return 0.0
    term = total = 1.0
    n = 0
    while term > 1e-17 * total:
        n += 1
        term *= x / (a + n)
        total += term
    return max(0.0, 1 - math.exp(math.log(total) + a * math.log(x) - x - math.lgamma(a + 1)))
