"""Statements of standards, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyproj import CRS, Geod

from georeg.accuracy import Accuracy
from georeg.initial import PIXELS
from georeg.report.statements import (
    N_ASPRS,
    N_NSSDA,
    Errors,
    asprs,
    nmas,
    nssda,
    on_the_ground,
    statements,
    stretch_of,
)

UTM, MERCATOR = CRS.from_epsg(32633), CRS.from_epsg(3857)
FEET = CRS.from_epsg(2263)  # New York Long Island, US survey feet
HERE = np.array([[400_000.0, 5_800_000.0]])


def errors(rmse_x: float = 3.0, rmse_y: float = 4.0, ce90: float = 7.0, own: float = 0.0, n: int = 40) -> Errors:
    return Errors(n, rmse_x, rmse_y, ce90, own, "m", 1.0)


def accuracy(n: int = 40) -> Accuracy:
    return Accuracy(n, 0, 0.0, 0.0, 3.0, 4.0, 5.0, 7.0, 10.0)


def test_asprs_adds_the_check_points_own_error():
    # 5 m of misfit and 12 m of own error: 13 m
    made = asprs(errors(own=12.0))
    assert made.value == pytest.approx(13.0)
    assert "13 m relative to the reference" in made.text
    assert "5 m at 40 check points" in made.text
    assert "12 m of their own error" in made.text


def test_nssda_of_equal_errors_is_the_factor_on_the_radial_error():
    # 1 m along each axis is sqrt(2) m radial; 1.7308 times that are 2.4477 m
    made = nssda(errors(1.0, 1.0))
    assert made.value == pytest.approx(1.7308 * math.sqrt(2))
    assert made.value == pytest.approx(2.4477, abs=1e-4)
    assert "95 % confidence" in made.text


def test_nssda_of_unequal_errors_is_the_factor_on_their_mean():
    # ratio 0.75: 2.4477 · (3 + 4) / 2 = 8.567
    assert nssda(errors()).value == pytest.approx(8.56695)
    assert nssda(errors(4.0, 3.0)).value == pytest.approx(8.56695)
    assert nssda(errors(0.6, 1.0)).value == pytest.approx(2.4477 * 0.8)


def test_nssda_beyond_its_formulas_is_a_bound_and_says_so():
    made = nssda(errors(1.0, 2.0))
    assert made.value == pytest.approx(2.4477 * 2)
    assert "no formula" in made.text
    assert "no formula" not in nssda(errors()).text


def test_nssda_bounds_95_percent_of_normal_errors():
    rng = np.random.default_rng(0)
    for sigma_x, sigma_y in ((1.0, 1.0), (0.7, 1.0), (0.3, 1.0)):
        made = nssda(errors(sigma_x, sigma_y))
        within = np.hypot(*(rng.normal(size=(2, 100_000)) * [[sigma_x], [sigma_y]])) <= made.value
        assert within.mean() > 0.93  # an approximation, which is worst about a ratio of 0.7


@pytest.mark.parametrize(
    ("ce90_m", "denominator"),
    [
        (0.339, 401),  # 0.339 m / (25.4 mm / 30) = 400.4
        (10.16, 12_000),  # exactly 1/30 inch at 1:12000
        (16.0, 18_898),  # 18897.6
        (20.0, 39_371),  # 1/30 inch would be 1:23622, where 1/50 inch is asked for: 20 m / (25.4 mm / 50) = 39370.1
        (25.4, 50_000),
    ],
)
def test_nmas_is_the_largest_scale_that_ce90_allows(ce90_m, denominator):
    made = nmas(errors(ce90=ce90_m))
    assert made.value == denominator
    assert f"1:{denominator}" in made.text


def test_map_units_in_feet_stay_feet_but_for_the_scale():
    feet = Errors(40, 3.0, 4.0, 7.0, 0.0, "ft", 0.3048)
    assert nssda(feet).unit == "ft"
    assert nmas(feet).value == math.ceil(7 * 12 * 30)  # 7 ft are 84 inches
    here = np.array([[1_000_000.0, 200_000.0]])
    made = on_the_ground(accuracy(), np.zeros((1, 2, 2)), FEET, here)
    assert made is not None
    assert (made.unit, made.metres) == ("ft", pytest.approx(1200 / 3937))


def test_web_mercator_is_measured_on_the_ground():
    xy = np.array([[1_500_000.0, 6_800_000.0]])  # at 52° north it stretches by 1.62
    geodesic = Geod(ellps="WGS84")
    lon, lat = 1_500_000.0 / 6378137 * 180 / math.pi, math.degrees(math.atan(math.sinh(6_800_000.0 / 6378137)))
    _, _, true_m = geodesic.inv(lon, lat, lon + 0.001, lat)
    assert stretch_of(MERCATOR, xy[0]) == pytest.approx(math.radians(0.001) * 6378137 / true_m, rel=0.005)
    made = on_the_ground(accuracy(), np.zeros((1, 2, 2)), MERCATOR, xy)
    assert made is not None
    assert made.rmse == pytest.approx(5.0 / made.stretch)
    assert 1.55 < made.stretch < 1.7
    assert "taken out" in asprs(made).text
    in_utm = on_the_ground(accuracy(), np.zeros((1, 2, 2)), UTM, HERE)
    assert in_utm is not None
    assert (in_utm.stretch, in_utm.rmse) == (1.0, 5.0)
    assert "taken out" not in asprs(in_utm).text


@pytest.mark.parametrize("crs", [PIXELS, CRS.from_epsg(4326)])
def test_pixels_and_degrees_have_no_statements(crs):
    assert statements(accuracy(), np.zeros((1, 2, 2)), crs, HERE) == ()


def test_each_is_relative_to_the_reference_and_says_how_many_check_points_and_whether_they_are_too_few():
    cov = np.tile(np.eye(2) * 0.5, (40, 1, 1))
    for n in (40, 10):
        made = statements(accuracy(n), cov, UTM, HERE)
        assert [one.n_needed for one in made] == [N_ASPRS, N_NSSDA, N_NSSDA] == [30, 20, 20]
        for one in made:
            assert one.n == n
            assert f"{n} check points" in one.text
            assert "reference, whose own error is not known" in one.text
            assert ("too few" in one.text) == (n == 10)
    assert made[0].value == pytest.approx(math.hypot(5.0, 1.0))  # the trace of the covariance is 1 m²
    assert "too few" in asprs(errors(n=29)).text
    assert "too few" not in nssda(errors(n=29)).text
