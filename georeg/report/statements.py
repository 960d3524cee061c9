"""What standards have one say of an accuracy: ASPRS 2023, NSSDA 1998 and NMAS 1947, each relative to the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pyproj import CRS, Proj

from georeg.accuracy import Accuracy
from georeg.initial import PIXELS
from georeg.models import FloatArray
from georeg.overlap import unit_name
from georeg.placement import transform_xy
from georeg.report.findings import Statement

ASPRS = "ASPRS Positional Accuracy Standards for Digital Geospatial Data, Edition 2 (2023)"
NSSDA = "NSSDA, FGDC-STD-007.3-1998"
NMAS = "United States National Map Accuracy Standards (1947)"
N_ASPRS, N_NSSDA = 30, 20
NSSDA_EQUAL, NSSDA_UNEQUAL = 1.7308, 2.4477
"""Factors of the standard, on RMSE_r where RMSE_x and RMSE_y are equal and else on their mean: circular errors at 95 %."""
NSSDA_LEAST_RATIO = 0.6
"""Of RMSE_x and RMSE_y, down to which the standard has a formula."""
_EQUAL = 1e-9
_INCH_M = 0.0254
_LARGE_SCALE = 20_000
_STRETCHED = 0.005


@dataclass(frozen=True)
class Errors:
    """Errors of check points on the ground, in the unit of the map."""

    n: int
    rmse_x: float
    rmse_y: float
    ce90: float
    own: float
    """RMSE that the check points have of themselves, both axes together."""
    unit: str
    metres: float
    """Of the unit."""
    stretch: float = 1.0
    """Lengths on the map were this many times those on the ground, and are divided by it."""

    @property
    def rmse(self) -> float:
        """sqrt(RMSE_x² + RMSE_y²)."""
        return math.hypot(self.rmse_x, self.rmse_y)


def statements(after: Accuracy, cov: FloatArray, crs: CRS, at_xy: FloatArray) -> tuple[Statement, ...]:
    """Of a corrected target; none where map units are not lengths on the ground.

    Parameters
    ----------
    cov
        (n, 2, 2) covariances of the check points, map units squared.
    at_xy
        (n, 2) where they lie.
    """
    errors = on_the_ground(after, cov, crs, at_xy)
    return () if errors is None else (asprs(errors), nssda(errors), nmas(errors))


def on_the_ground(after: Accuracy, cov: FloatArray, crs: CRS, at_xy: FloatArray) -> Errors | None:
    """The accuracy with the stretch of the projection taken out where it is more than half a percent; None of pixels or
    degrees."""
    if crs == PIXELS or not crs.is_projected:
        return None
    stretch = stretch_of(crs, at_xy.mean(axis=0))
    stretch = stretch if abs(stretch - 1) > _STRETCHED else 1.0
    own = float(np.sqrt(np.trace(cov, axis1=1, axis2=2).mean()))
    figures = (after.rmse_x, after.rmse_y, after.ce90, own)
    rmse_x, rmse_y, ce90, own = (value / stretch for value in figures)
    metres = float(crs.axis_info[0].unit_conversion_factor)
    return Errors(after.n, rmse_x, rmse_y, ce90, own, unit_name(crs), metres, stretch)


def stretch_of(crs: CRS, xy: FloatArray) -> float:
    """Length on the map of a unit length on the ground at a place (2,), in the mean of all directions; 1 if not known."""
    geodetic = crs.geodetic_crs
    if geodetic is None:
        return 1.0
    lon, lat = transform_xy(np.reshape(xy, (1, 2)), crs, geodetic)[0]
    area = Proj(crs).get_factors(float(lon), float(lat)).areal_scale
    return float(math.sqrt(area)) if 0 < area < math.inf else 1.0


def asprs(errors: Errors) -> Statement:
    """RMSE_H = sqrt(RMSE_H1² + RMSE_H2²), of the misfit to the check points and of their own error."""
    value = math.hypot(errors.rmse, errors.own)
    text = (
        f"Tested as by the {ASPRS}, but against the reference, whose own error is not known, instead of a survey: RMSE_H is "
        f"{_length(value, errors)} relative to the reference, from {_length(errors.rmse, errors)} at {errors.n} check points "
        f"and {_length(errors.own, errors)} of their own error.{_few(errors.n, N_ASPRS)}{_stretched(errors)}"
    )
    return Statement(ASPRS, value, errors.unit, errors.n, N_ASPRS, text)


def nssda(errors: Errors) -> Statement:
    """The horizontal accuracy at 95 % confidence, which presumes normal errors without a bias."""
    least, most = sorted((errors.rmse_x, errors.rmse_y))
    ratio = least / most if most > 0 else 1.0
    beyond = ""
    if ratio >= 1 - _EQUAL:
        value, how = NSSDA_EQUAL * errors.rmse, f"{NSSDA_EQUAL} · RMSE_r"
    elif ratio >= NSSDA_LEAST_RATIO:
        value, how = NSSDA_UNEQUAL * (least + most) / 2, f"{NSSDA_UNEQUAL} · (RMSE_x + RMSE_y) / 2"
    else:
        value, how = NSSDA_UNEQUAL * most, f"{NSSDA_UNEQUAL} · the larger of RMSE_x and RMSE_y"
        beyond = f" Their ratio {ratio:.2f} is below {NSSDA_LEAST_RATIO}, for which the standard has no formula: this is a bound."
    text = (
        f"Tested {_length(value, errors)} horizontal accuracy at 95 % confidence level ({NSSDA}), relative to the reference, "
        f"whose own error is not known: {how} of {errors.n} check points.{beyond}{_few(errors.n, N_NSSDA)}{_stretched(errors)}"
    )
    return Statement(NSSDA, value, errors.unit, errors.n, N_NSSDA, text)


def nmas(errors: Errors) -> Statement:
    """The denominator of the largest scale at which 90 % of the check points err by less than the standard allows."""
    ce90_m = errors.ce90 * errors.metres
    scale = 30 * ce90_m / _INCH_M
    part = "1/30"
    if scale >= _LARGE_SCALE:
        scale, part = 50 * ce90_m / _INCH_M, "1/50"
    value = max(1, math.ceil(scale * (1 - 1e-12)))
    text = (
        f"90 % of {errors.n} check points lie within {_length(errors.ce90, errors)} (CE90) of the reference, whose own error is "
        f"not known: relative to it that is {part} inch at 1:{value}, the largest scale that the {NMAS} allow for it."
        f"{_few(errors.n, N_NSSDA)}{_stretched(errors)}"
    )
    return Statement(NMAS, float(value), "1:", errors.n, N_NSSDA, text)


def _length(value: float, errors: Errors) -> str:
    return f"{value:.3g} {errors.unit}"


def _few(n: int, needed: int) -> str:
    return "" if n >= needed else f" These are too few: {needed} check points are asked for."


def _stretched(errors: Errors) -> str:
    if errors.stretch == 1.0:
        return ""
    return f" Lengths are on the ground: the map stretches them by {errors.stretch:.4g} here, which is taken out."
