"""What a correction does to the ground is measured rightly, and what is out of the ordinary is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS

import georeg
from georeg.accuracy import is_null
from georeg.errors import InputError, LimitError, VerificationError
from georeg.fit import fit, unmoved
from georeg.interchange import fit_from_dict, fit_to_dict
from georeg.models import Polynomial2, from_transform
from georeg.options import FitOptions, LimitOptions
from georeg.sanity import Geometry, check_geometry, check_options, geometry
from georeg.tie_points import Inputs, TiePoints

ORIGIN_XY = np.array([350_000.0, 5_860_000.0])
GSD = 10.0
PLAIN = Geometry(rotation_deg=0.0, scale=1.0, stretch=1.0, folds=False, overlap=1.0)


def spread_xy(n: int = 40) -> NDArray[np.float64]:
    return ORIGIN_XY + np.random.default_rng(0).uniform(-5000, 5000, (n, 2))


def of(linear: Affine) -> Geometry:
    return geometry(from_transform(linear, ORIGIN_XY, 5000.0), spread_xy(), 1.0)


@given(turn_deg=st.floats(-179, 179), scale=st.floats(0.1, 10))
def test_a_similarity_is_its_turn_and_scale(turn_deg: float, scale: float) -> None:
    found = of(Affine.translation(77, -3) @ Affine.rotation(turn_deg) @ Affine.scale(scale))
    assert found.rotation_deg == pytest.approx(turn_deg, abs=1e-6)  # counter-clockwise with y to the north
    assert found.scale == pytest.approx(scale, rel=1e-9)
    assert found.stretch == pytest.approx(1, abs=1e-7)
    assert not found.folds


@given(turn_deg=st.floats(-80, 80), wide=st.floats(1, 4), high=st.floats(0.25, 1))
def test_a_stretch_is_the_ratio_of_its_sides(turn_deg: float, wide: float, high: float) -> None:
    found = of(Affine.rotation(turn_deg) @ Affine.scale(wide, high))
    assert found.stretch == pytest.approx(wide / high, rel=1e-9)
    assert found.scale == pytest.approx(np.sqrt(wide * high), rel=1e-9)
    assert found.rotation_deg == pytest.approx(turn_deg, abs=1e-6)
    assert not found.folds


def test_a_shear_stretches_too() -> None:
    golden = (1 + np.sqrt(5)) / 2
    assert of(Affine(1, 1, 0, 0, 1, 0)).stretch == pytest.approx(golden**2)  # the singular values of [[1, 1], [0, 1]]


@pytest.mark.parametrize("mirror", [Affine.scale(-1, 1), Affine.scale(1, -1), Affine.scale(0, 1)], ids=str)
def test_a_mirror_folds(mirror: Affine) -> None:
    assert of(mirror).folds
    with pytest.raises(VerificationError, match="folds the ground over or mirrors it"):
        check_geometry(of(mirror), "affine", LimitOptions())


def test_a_fold_at_one_tie_point_is_a_fold() -> None:
    coefficients = np.zeros((6, 2))
    coefficients[Polynomial2.exponents().index((2, 0)), 0] = 1000.0  # x + 1000 u² turns back at u = −2.5
    bend = Polynomial2(tuple(ORIGIN_XY), 5000.0, coefficients)
    assert not geometry(bend, spread_xy(), 1.0).folds
    beyond = np.concatenate([spread_xy(), [ORIGIN_XY - (3 * 5000.0, 0)]])
    assert geometry(bend, beyond, 1.0).folds


def test_the_scale_told_is_the_furthest_from_one() -> None:
    coefficients = np.zeros((6, 2))
    coefficients[Polynomial2.exponents().index((2, 0)), 0] = 1000.0
    bend = Polynomial2(tuple(ORIGIN_XY), 5000.0, coefficients)
    at = ORIGIN_XY + [[0.0, 0.0], [-1.25 * 5000, 0.0], [1.25 * 5000, 0.0]]  # lengths along x: 1, a half, one and a half
    found = geometry(bend, at, 1.0)
    assert found.scale == pytest.approx(np.sqrt(0.5))
    assert found.stretch == pytest.approx(2)


LIMITS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "max_rotation_deg": ({"rotation_deg": -40.0}, 39.0, 41.0),
    "max_scale": ({"scale": 0.4}, 2.4, 2.6),
    "max_stretch": ({"stretch": 1.3}, 1.2, 1.4),
    "min_overlap": ({"overlap": 0.3}, 0.4, 0.2),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_that_the_user_set_is_exit_code_3(name: str) -> None:
    odd, too_tight, enough = LIMITS[name]
    found = replace(PLAIN, **odd)
    check_geometry(found, "affine", LimitOptions(**{name: enough}))
    with pytest.raises(
        LimitError, match=rf"beyond --{name.replace('_', '-')} {too_tight:g}; nothing was written"
    ) as caught:
        check_geometry(found, "affine", LimitOptions(**{name: too_tight}))
    assert caught.value.exit_code == 3
    check_geometry(PLAIN, "affine", LimitOptions(**{name: too_tight}))


@pytest.mark.parametrize(
    ("odd", "near"),
    [({"scale": 5.1}, {"scale": 4.9}), ({"scale": 0.19}, {"scale": 0.21}), ({"stretch": 1.6}, {"stretch": 1.4})],
)
def test_an_anomaly_beyond_a_default_is_no_result(odd: dict[str, float], near: dict[str, float]) -> None:
    check_geometry(replace(PLAIN, **near), "affine", LimitOptions())
    with pytest.raises(VerificationError, match="if that may be right, change the limit") as caught:
        check_geometry(replace(PLAIN, **odd), "affine", LimitOptions())
    assert caught.value.exit_code == 1
    assert not isinstance(caught.value, LimitError)


def test_no_turn_and_no_overlap_is_out_of_the_ordinary() -> None:
    for odd in ({"rotation_deg": 180.0}, {"rotation_deg": -180.0}, {"overlap": 0.0}):
        check_geometry(replace(PLAIN, **odd), "affine", LimitOptions())


@pytest.mark.parametrize(
    "values",
    [
        {"max_ce90": "0px"}, {"max_rmse": "-1m"}, {"max_ce90": "3"}, {"max_rmse": "1e999px"}, {"max_ce90": "..m"},
        {"max_rotation_deg": 0.0}, {"max_rotation_deg": float("nan")},
        {"max_scale": 1.0}, {"max_scale": float("nan")}, {"max_stretch": 0.9}, {"min_overlap": 1.0}, {"min_overlap": -0.1},
        {"min_overlap": float("nan")},
    ],
    ids=str,
)  # fmt: skip
def test_a_limit_that_nothing_could_keep_is_refused(values: dict[str, Any]) -> None:
    check_options(LimitOptions())
    with pytest.raises(InputError, match=f"--{next(iter(values)).replace('_', '-')} is .*; give a") as caught:
        check_options(LimitOptions(**values))
    assert caught.value.exit_code == 1
    with pytest.raises(InputError):  # before any file is opened
        georeg.align("absent.tif", "absent.tif", limits=LimitOptions(**values))


# --- nothing to correct ---------------------------------------------------------------------------------------------


def tie_points(displacement_px: Any, noise_px: float, n: int = 100, seed: int = 0) -> TiePoints:
    rng, tgt_xy = np.random.default_rng(seed), spread_xy(n)
    moved = np.array(displacement_px) + noise_px * rng.normal(size=(n, 2))
    return TiePoints(
        ref_xy=tgt_xy + GSD * moved, tgt_xy=tgt_xy, cov=np.tile(np.eye(2) * (max(noise_px, 0.01) * GSD) ** 2, (n, 1, 1)),
        score=np.ones(n), status=np.zeros(n, np.uint8), inputs=Inputs("ref.tif", "tgt.tif"),
        crs=CRS.from_epsg(32633).to_wkt(), gsd=GSD,
        window_px=64, search_px=16.0, chance=0.01,
    )  # fmt: skip


@pytest.mark.parametrize("model", ["translation", "similarity", "affine"])
def test_noise_about_nothing_is_null(model: Any) -> None:
    null = [is_null(fit(tie_points((0, 0), 0.3, seed=seed), FitOptions(model=model))) for seed in range(20)]
    assert sum(null) >= 18  # one in a hundred is expected to be taken for real


@pytest.mark.parametrize(("displacement_px", "noise_px"), [((0.3, 0.0), 0.0), ((0.0, -0.3), 0.1), ((0.03, 0.0), 0.005)])
def test_a_displacement_beyond_the_noise_is_real(displacement_px: tuple[float, float], noise_px: float) -> None:
    assert not any(is_null(fit(tie_points(displacement_px, noise_px, seed=seed))) for seed in range(5))


def test_a_displacement_that_no_one_could_see_is_null() -> None:
    assert is_null(fit(tie_points((0.005, 0.0), 0.0)))


def test_a_null_result_moves_nothing_and_judges_what_was_there() -> None:
    fitted = fit(tie_points((0, 0), 0.1))
    still = unmoved(fitted)
    assert still.model.still
    least = fitted.model.covariance_at(fitted.points.tgt_xy)[0]  # it errs by what was found instead, and by its error
    assert (np.linalg.eigvalsh(still.model.covariance_at(fitted.points.tgt_xy)[0] - least) > -1e-9).all()
    seen = np.isfinite(fitted.withheld_xy)
    np.testing.assert_array_equal(np.isfinite(still.withheld_xy), seen)
    np.testing.assert_array_equal(still.withheld_xy[seen], fitted.points.displacement[seen])
    judged = georeg.assess(fitted)
    assert judged.verdict == "already aligned"
    assert judged.before == judged.after
    assert judged.geometry == PLAIN
    real = georeg.assess(fit(tie_points((0.3, 0), 0.1)))
    assert real.verdict == "aligned"
    assert real.after.rmse < real.before.rmse


@pytest.mark.parametrize("n", [30, 300])
@pytest.mark.parametrize("displacement_px", [(0, 0), (2.3, -1.1)])
def test_an_alignment_survives_its_json_to_the_last_bit(n: int, displacement_px: tuple[float, float]) -> None:
    """With check points withheld in turn and for good, aligned and not, and with tie points that check nothing."""
    points = tie_points(displacement_px, 0.1, n)
    rejected = np.where(np.arange(n) % 7 == 3, 3, 0)
    points = replace(points, status=rejected, log10_tests=7.0, overlap=0.7, step=0.9)
    found = georeg.assess(fit(points))
    again = georeg.Alignment.from_json(found.to_json())
    assert again == found
    assert (again.verdict, again.geometry) == (found.verdict, found.geometry)
    assert np.isnan(found.fitted.withheld_xy[rejected > 0]).all()
    np.testing.assert_array_equal(again.fitted.withheld_xy, found.fitted.withheld_xy)
    assert again.points == found.points
    assert found.to_dict()["verdict"] == ("aligned" if any(displacement_px) else "already aligned")


def test_withheld_residuals_that_are_too_few_are_refused() -> None:
    values = fit_to_dict(fit(tie_points((1, 0), 0.1)))
    assert fit_from_dict(values).withheld_xy.shape == (100, 2)
    with pytest.raises(InputError, match="not a fit of georeg"):
        fit_from_dict(values | {"withheld_xy": values["withheld_xy"][:-1]})
