"""The laws of the models: what they are fitted to they give back, there and back again, also as JSON and at UTM northings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from georeg.errors import FitError, InputError
from georeg.models import (
    LADDER,
    Affine,
    PolynomialDisplacement,
    Similarity,
    Translation,
    from_dict,
    identity,
    principal_axes,
)

ORIGIN_XY = (654321.0, 9_876_543.0)  # the southern hemisphere's northings are the largest
SCALE_M = 5000.0

Floats = NDArray[np.float64]
every_model = pytest.mark.parametrize("model", LADDER.values(), ids=LADDER.keys())


def spread_xy(n: int = 60, seed: int = 0) -> Floats:
    return np.asarray(ORIGIN_XY + np.random.default_rng(seed).uniform(-1, 1, (n, 2)) * SCALE_M)


def some(model: type[PolynomialDisplacement], size_m: float = 60.0, seed: int = 0) -> PolynomialDisplacement:
    coefficients = np.random.default_rng(seed).uniform(-size_m, size_m, (len(model.exponents()), 2))
    return model(ORIGIN_XY, SCALE_M, of_kind(model, coefficients))


def of_kind(model: type[PolynomialDisplacement], coefficients: Floats) -> Floats:
    """The coefficients (terms, 2) that a model of this kind may have: growth and turn are one for both axes."""
    if model is Similarity:
        growth, turn = coefficients[1]
        coefficients[2] = -turn, growth
    return coefficients


def unknowns(model: type[PolynomialDisplacement], tgt_xy: Floats) -> Floats:
    """(unknowns, N, 2) displacement by one of each unknown of the model."""
    n = len(model.exponents())
    if model is Similarity:
        units = np.array(
            [[[1, 0], [0, 0], [0, 0]], [[0, 1], [0, 0], [0, 0]], [[0, 0], [1, 0], [0, 1]], [[0, 0], [0, 1], [-1, 0]]]
        )
    else:
        units = np.eye(2 * n).reshape(2 * n, n, 2)
    u, v = ((tgt_xy - ORIGIN_XY) / SCALE_M).T
    return np.asarray(np.stack([u**i * v**j for i, j in model.exponents()], axis=1) @ units)


@st.composite
def models(draw: st.DrawFn) -> PolynomialDisplacement:
    """Every kind, anywhere on a map, with slopes of less than a tenth."""
    model = draw(st.sampled_from(list(LADDER.values())))
    scale = draw(st.floats(10, 1e5))
    # no sum of slopes, each at most 3 coefficients per scale, comes near 1
    within, n = st.floats(-scale / 400, scale / 400), len(model.exponents())
    values = draw(st.lists(st.tuples(within, within), min_size=n, max_size=n))
    origin = draw(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e7, 1e7)))
    return model(origin, scale, of_kind(model, np.array(values)))


places = st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)), min_size=1, max_size=20).map(np.array)


@every_model
def test_fit_gives_back_the_model_that_made_the_points(model: type[PolynomialDisplacement]) -> None:
    true, tgt_xy = some(model), spread_xy()
    fitted = model.fit(tgt_xy, true(tgt_xy))
    elsewhere = spread_xy(seed=1)
    np.testing.assert_allclose(fitted.displacement(elsewhere), true.displacement(elsewhere), rtol=0, atol=1e-6)
    assert fitted.kind == model.kind


@every_model
def test_fit_to_the_least_number_of_points_is_exact(model: type[PolynomialDisplacement]) -> None:
    true, tgt_xy = some(model), spread_xy(model.n_terms())
    np.testing.assert_allclose(model.fit(tgt_xy, true(tgt_xy))(tgt_xy), true(tgt_xy), rtol=0, atol=1e-5)


@every_model
def test_fit_is_least_squares(model: type[PolynomialDisplacement]) -> None:
    """The residuals of the optimum are orthogonal to what each unknown does."""
    tgt_xy = spread_xy()
    ref_xy = some(model)(tgt_xy) + np.random.default_rng(2).normal(0, 3, tgt_xy.shape)
    weights = np.random.default_rng(3).uniform(0.1, 10, len(tgt_xy))
    fitted = model.fit(tgt_xy, ref_xy, weights)
    slope = (unknowns(model, tgt_xy) * weights[:, None] * (ref_xy - fitted(tgt_xy))).sum(axis=(1, 2))
    assert len(slope) == 2 * model.n_terms()
    assert np.abs(slope).max() < 1e-5


@every_model
def test_points_of_weight_zero_count_for_nothing(model: type[PolynomialDisplacement]) -> None:
    true, tgt_xy = some(model), spread_xy()
    ref_xy, weights = true(tgt_xy), np.ones(len(tgt_xy))
    ref_xy[:20] += 1e6
    weights[:20] = 0
    np.testing.assert_allclose(model.fit(tgt_xy, ref_xy, weights)(tgt_xy), true(tgt_xy), rtol=0, atol=1e-5)


@every_model
def test_scaling_all_weights_changes_nothing(model: type[PolynomialDisplacement]) -> None:
    tgt_xy = spread_xy()
    ref_xy = some(model)(tgt_xy) + np.random.default_rng(2).normal(0, 3, tgt_xy.shape)
    one, other = (model.fit(tgt_xy, ref_xy, np.full(len(tgt_xy), w)) for w in (1e-8, 1e8))
    np.testing.assert_allclose(one(tgt_xy), other(tgt_xy), rtol=0, atol=1e-6)


def precisions(n: int, ratio: float, seed: int = 0) -> Floats:
    """Inverse covariances of points on edges of any direction, ``ratio`` times as long as wide."""
    turn = np.random.default_rng(seed).uniform(0, np.pi, n)
    across = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    outer = across[:, :, None] * across[:, None]
    return np.asarray(outer + (np.eye(2) - outer) / ratio**2)


@pytest.mark.parametrize("ratio", [1.0, 30.0, 1000.0])
@given(seed=st.integers(0, 999))
def test_principal_axes_make_the_matrix(ratio: float, seed: int) -> None:
    matrices = precisions(20, ratio, seed)
    values, axes = principal_axes(matrices)
    np.testing.assert_allclose((axes.swapaxes(1, 2) * values[:, None]) @ axes, matrices, rtol=0, atol=1e-12)
    np.testing.assert_allclose(values, np.tile([1, ratio**-2], (20, 1)), rtol=1e-9)
    np.testing.assert_allclose(axes @ axes.swapaxes(1, 2), np.tile(np.eye(2), (20, 1, 1)), rtol=0, atol=1e-12)


@every_model
def test_fit_with_covariances_is_generalised_least_squares(model: type[PolynomialDisplacement]) -> None:
    """The whitened residuals of the optimum are orthogonal to what each unknown does, in both axes together."""
    tgt_xy, precision = spread_xy(), precisions(60, 30)
    ref_xy = some(model)(tgt_xy) + np.random.default_rng(2).normal(0, 3, tgt_xy.shape)
    residual = ref_xy - model.fit(tgt_xy, ref_xy, precision)(tgt_xy)
    slope = (unknowns(model, tgt_xy) * (precision @ residual[..., None])[..., 0]).sum(axis=(1, 2))
    assert np.abs(slope).max() < 1e-5


@every_model
def test_circular_covariances_are_weights(model: type[PolynomialDisplacement]) -> None:
    tgt_xy, weights = spread_xy(), np.random.default_rng(3).uniform(0.1, 10, 60)
    ref_xy = some(model)(tgt_xy) + np.random.default_rng(2).normal(0, 3, tgt_xy.shape)
    one, other = (model.fit(tgt_xy, ref_xy, w) for w in (weights, weights[:, None, None] * np.eye(2)))
    np.testing.assert_allclose(one(tgt_xy), other(tgt_xy), rtol=0, atol=1e-7)


@every_model
def test_an_error_along_an_edge_counts_for_nothing(model: type[PolynomialDisplacement]) -> None:
    true, tgt_xy, precision = some(model), spread_xy(), precisions(60, 1e6)
    along = principal_axes(precision)[1][:, 1]
    ref_xy = true(tgt_xy) + along * np.random.default_rng(2).normal(0, 30, (60, 1))
    np.testing.assert_allclose(model.fit(tgt_xy, ref_xy, precision)(tgt_xy), true(tgt_xy), rtol=0, atol=1e-3)


def test_edges_of_one_direction_alone_make_no_shift() -> None:
    north = np.tile(np.diag([0.0, 1.0]), (20, 1, 1))
    with pytest.raises(FitError, match=r"too few directions.*1 of its 2 coefficients"):
        Translation.fit(spread_xy(20), spread_xy(20) + 3, north)
    north[0] = np.diag([1.0, 0.0])
    shifted = spread_xy(20) + np.arange(20)[:, None] * [1, 0] + [5, 3]
    np.testing.assert_allclose(Translation.fit(spread_xy(20), shifted, north).displacement(ORIGIN_XY), [[5, 3]])


@every_model
def test_deviation_is_that_of_repeated_fits(model: type[PolynomialDisplacement]) -> None:
    tgt_xy, precision, rng = spread_xy(), precisions(60, 10), np.random.default_rng(4)
    root = np.linalg.cholesky(np.linalg.inv(precision))
    noise = (root @ rng.normal(size=(1000, 60, 2, 1)))[..., 0]
    found = np.stack([model.fit(tgt_xy, tgt_xy + e, precision).displacement(tgt_xy) for e in noise])
    least_certain = [np.sqrt(np.linalg.eigvalsh(np.cov(at.T))[1]) for at in found.swapaxes(0, 1)]
    stated = model.fit(tgt_xy, tgt_xy, precision).deviation(tgt_xy, precision)
    np.testing.assert_allclose(stated, least_certain, rtol=0.12)


def test_positive_dx_moves_east_and_positive_dy_north() -> None:
    model = Translation((0.0, 0.0), 1.0, np.array([[5.0, 3.0]]))
    assert model(np.array([[100.0, 200.0]])).tolist() == [[105.0, 203.0]]


@given(model=models(), uv=places)
def test_inverse_undoes_the_model(model: PolynomialDisplacement, uv: Floats) -> None:
    tgt_xy = model.origin_xy + uv * model.scale
    tolerance = 3e-9 * model.scale + 1e-8  # a coordinate of 1e7 is known to 2e-9
    np.testing.assert_allclose(model.inverse(model(tgt_xy)), tgt_xy, rtol=0, atol=tolerance)
    np.testing.assert_allclose(model(model.inverse(tgt_xy)), tgt_xy, rtol=0, atol=tolerance)


@given(model=models())
def test_json_gives_the_same_model_to_the_last_bit(model: PolynomialDisplacement) -> None:
    again = from_dict(json.loads(json.dumps(model.to_dict())))
    assert again == model
    assert hash(again) == hash(model)
    assert type(again) is type(model)


@given(model=models(), uv=places)
def test_jacobian_is_the_slope(model: PolynomialDisplacement, uv: Floats) -> None:
    step = 1e-3 * model.scale
    at = model.origin_xy + uv * model.scale
    for axis in (0, 1):
        moved = np.eye(2)[axis] * step
        slope = (model.displacement(at + moved) - model.displacement(at - moved)) / (2 * step) + np.eye(2)[axis]
        np.testing.assert_allclose(model.jacobian(at)[:, :, axis], slope, rtol=0, atol=1e-5)


@given(model=models().filter(lambda model: model.degree < 2), uv=places)
def test_affine_is_the_model(model: PolynomialDisplacement, uv: Floats) -> None:
    at = model.origin_xy + uv * model.scale
    assert model.affine is not None
    a, b, c, d, e, f = tuple(model.affine)[:6]
    by_hand = np.stack([a * at[:, 0] + b * at[:, 1] + c, d * at[:, 0] + e * at[:, 1] + f], axis=1)
    np.testing.assert_allclose(by_hand, model(at), rtol=0, atol=1e-7 + 1e-9 * model.scale)


def test_bends_are_no_affine_map() -> None:
    assert some(LADDER["polynomial2"]).affine is None
    assert some(LADDER["polynomial3"]).affine is None


@every_model
def test_too_few_points_are_refused(model: type[PolynomialDisplacement]) -> None:
    for n in (0, model.n_terms() - 1):
        with pytest.raises(FitError, match=f"{n} tie points.*needs {model.n_terms()}"):
            model.fit(spread_xy(n), spread_xy(n))
    with pytest.raises(FitError, match=f"0 tie points.*needs {model.n_terms()}"):
        model.fit(spread_xy(), spread_xy(), np.zeros(60))


@pytest.mark.parametrize("kind", ["affine", "polynomial2", "polynomial3"])
@pytest.mark.parametrize("slope", [0.0, 1.0, -0.37])
def test_points_on_a_line_are_refused(kind: str, slope: float) -> None:
    along = np.linspace(-SCALE_M, SCALE_M, 50)
    tgt_xy = ORIGIN_XY + np.stack([along, slope * along], axis=1)
    with pytest.raises(FitError, match="too few lines"):
        LADDER[kind].fit(tgt_xy, tgt_xy + 3)


@pytest.mark.parametrize("kind", ["similarity", "affine", "polynomial2", "polynomial3"])
def test_one_place_many_times_is_refused(kind: str) -> None:
    tgt_xy = np.tile(np.array([ORIGIN_XY]), (50, 1))
    with pytest.raises(FitError, match="too few lines"):
        LADDER[kind].fit(tgt_xy, tgt_xy + 3)


def test_a_similarity_turns_all_and_scales_all_alike() -> None:
    """Whatever it is fitted to: angles are kept, and points of one line suffice."""
    stretched_xy = (spread_xy() - ORIGIN_XY) * (1.4, 0.8) + ORIGIN_XY
    for tgt_xy, ref_xy in ((spread_xy(), stretched_xy), (line := spread_xy() * (1, 0) + (0, ORIGIN_XY[1]), line + 7)):
        (a, b), (c, d) = Similarity.fit(tgt_xy, ref_xy).jacobian(np.array([ORIGIN_XY]))[0]
        assert (a, b) == pytest.approx((d, -c), abs=1e-12)
        assert a > 0.5


def test_two_points_make_a_similarity() -> None:
    fitted = Similarity.fit(
        [[0.0, 0.0], [10.0, 0.0]], [[5.0, 5.0], [5.0, 25.0]]
    )  # a quarter turn to the left, twice as large
    np.testing.assert_allclose(fitted([[0.0, 10.0]]), [[-15.0, 5.0]], atol=1e-9)


def test_one_point_makes_a_translation() -> None:
    fitted = Translation.fit([[10.0, 20.0]], [[13.0, 16.0]])
    assert fitted.displacement([[500.0, 500.0]]).tolist() == [[3.0, -4.0]]


@pytest.mark.parametrize("kind", ["polynomial2", "polynomial3"])
def test_fold_is_refused_and_never_answered_by_its_other_side(kind: str) -> None:
    model = LADDER[kind]
    coefficients = np.zeros((model.n_terms(), 2))
    coefficients[model.exponents().index((2, 0)), 0] = 1000.0  # x + 1000 u² turns back at u = −2.5
    bend = model(ORIGIN_XY, SCALE_M, coefficients)
    beyond = np.array([ORIGIN_XY]) + [-3 * SCALE_M, 0]
    with pytest.raises(FitError, match="cannot be inverted at 1 of 1 places"):
        bend.inverse(beyond)
    missing = bend.inverse(np.concatenate([beyond, [ORIGIN_XY]]), missing_ok=True)
    assert np.isnan(missing[0]).all()
    np.testing.assert_allclose(missing[1], ORIGIN_XY)


def test_collapsed_model_has_no_inverse() -> None:
    flat = Affine(ORIGIN_XY, SCALE_M, np.array([[0.0, 0.0], [-SCALE_M, 0.0], [0.0, -SCALE_M]]))
    with pytest.raises(FitError, match="cannot be inverted"):
        flat.inverse(spread_xy(3))


@every_model
def test_no_points_in_no_points_out(model: type[PolynomialDisplacement]) -> None:
    assert some(model)(np.zeros((0, 2))).shape == (0, 2)
    assert some(model).inverse(np.zeros((0, 2))).shape == (0, 2)


@every_model
def test_models_are_frozen(model: type[PolynomialDisplacement]) -> None:
    coefficients = np.zeros((len(model.exponents()), 2))
    made = model(ORIGIN_XY, SCALE_M, coefficients)
    coefficients[:] = 7  # theirs, not the model's
    assert not made.coefficients.any()
    with pytest.raises(ValueError, match="read-only"):
        made.coefficients[0] = 1
    with pytest.raises(AttributeError):
        made.scale = 2.0  # type: ignore[misc]


def test_identity_moves_nothing() -> None:
    np.testing.assert_array_equal(identity()(spread_xy()), spread_xy())
    np.testing.assert_array_equal(identity().inverse(spread_xy()), spread_xy())


def test_ladder_rises() -> None:
    terms = [model.n_terms() for model in LADDER.values()]
    assert terms == [1, 2, 3, 6, 10]
    assert all(model.kind == kind for kind, model in LADDER.items())


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "spline"},
        {"kind": None},
        {"kind": ["affine"]},
        {"kind": "polynomial2"},
        {"origin_xy": [1.0]},
        {"origin_xy": 3},
        {"scale": "wide"},
        {"scale": 0.0},
        {"scale": float("nan")},
        {"origin_xy": [0.0, float("inf")]},
        {"coefficients": [[1.0, 2.0]]},
        {"coefficients": None},
        {"coefficients": [[0.0, 0.0], [0.0, float("nan")], [0.0, 0.0]]},
        {"exponents": [[0, 0], [0, 1], [1, 0]]},
    ],
    ids=str,
)
def test_bad_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not a georeg model"):
        from_dict(some(Affine).to_dict() | change)


@pytest.mark.parametrize("missing", ["kind", "origin_xy", "scale", "coefficients"])
def test_absent_values_are_refused(missing: str) -> None:
    values = some(Affine).to_dict()
    del values[missing]
    with pytest.raises(InputError, match="not a georeg model"):
        from_dict(values)


@pytest.mark.parametrize("values", [None, [], "affine", 3])
def test_what_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(InputError, match="not a georeg model"):
        from_dict(values)
