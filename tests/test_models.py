"""The laws of the models: what they are fitted to they give back, there and back again, also as JSON and at UTM northings,
and their covariances are those of repeated fits."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from affine import Affine as AffineTransform
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from georeg.errors import FitError, InputError
from georeg.models import (
    LADDER,
    Affine,
    Homography,
    Local,
    Model,
    PolynomialDisplacement,
    Similarity,
    Translation,
    from_dict,
    from_transform,
    identity,
    principal_axes,
)

ORIGIN_XY = (654321.0, 9_876_543.0)  # the southern hemisphere's northings are the largest
SCALE_M = 5000.0

Floats = NDArray[np.float64]
PARAMETRIC = {kind: model for kind, model in LADDER.items() if model is not Local}
every_model = pytest.mark.parametrize("model", LADDER.values(), ids=LADDER.keys())
every_parametric = pytest.mark.parametrize("model", PARAMETRIC.values(), ids=PARAMETRIC.keys())


def spread_xy(n: int = 60, seed: int = 0, reach: float = 1.0) -> Floats:
    return np.asarray(ORIGIN_XY + np.random.default_rng(seed).uniform(-reach, reach, (n, 2)) * SCALE_M)


def made(model: type[Model], origin_xy: tuple[float, float], scale: float, size: float, seed: int) -> Any:
    """A model of the kind by its values alone, never fitted: each of its terms moves by up to ``size`` map units."""
    rng = np.random.default_rng(seed)
    if issubclass(model, PolynomialDisplacement):
        coefficients = of_kind(model, rng.uniform(-size, size, (len(model.exponents()), 2)))
        p = model._unknowns().shape[1]
        return model(origin_xy, scale, coefficients, positive(rng, p))
    if model is Homography:
        matrix = np.eye(3) + rng.uniform(-size, size, (3, 3)) / scale * (np.ones((3, 3)) - np.diag([0, 0, 1]))
        return Homography(origin_xy, scale, matrix, positive(rng, 8))
    n, m = rng.integers(4, 8, 2)
    reached = rng.normal(size=(99, n * m)) * (rng.random((99, n * m)) < 0.1)
    precision = np.linalg.inv([positive(rng, 2) for _ in reached])
    above = [np.triu(reached.T @ (precision[:, i, j, None] * reached)) for i, j in ((0, 0), (0, 1), (1, 1))]
    held = np.stack([half + np.triu(half, 1).T for half in above])
    coefficients = rng.uniform(-size, size, (n, m, 2))
    return Local(
        origin_xy, scale, (-1.1, -0.9), float(2.1 / (max(n, m) - 3)), coefficients, float(rng.uniform(1, 9)), held
    )


def some(model: type[Model], size_m: float = 60.0, seed: int = 0) -> Any:
    return made(model, ORIGIN_XY, SCALE_M, size_m, seed)


def positive(rng: np.random.Generator, n: int) -> Floats:
    root = rng.normal(size=(n, 2 * n))
    return np.asarray(root @ root.T)


def of_kind(model: type[PolynomialDisplacement], coefficients: Floats) -> Floats:
    """The coefficients (terms, 2) that a model of this kind may have: growth and turn are one for both axes."""
    if model is Similarity:
        growth, turn = coefficients[1]
        coefficients[2] = -turn, growth
    return coefficients


def unknowns(model: Model, tgt_xy: Floats) -> Floats:
    """(unknowns, N, 2) displacement by little of each unknown of the model; of `Local`, those that nothing penalises."""
    if isinstance(model, Homography):
        matrices = 1e-5 * np.eye(9)[:8].reshape(8, 3, 3)
        more, less = (
            [replace(model, matrix=model.matrix + sign * m).displacement(tgt_xy) for m in matrices] for sign in (1, -1)
        )
        return np.asarray((np.array(more) - less) / 2e-5 / model.scale)
    kind = type(model) if isinstance(model, PolynomialDisplacement) else Affine
    n = len(kind.exponents())
    if kind is Similarity:
        units = np.array(
            [[[1, 0], [0, 0], [0, 0]], [[0, 1], [0, 0], [0, 0]], [[0, 0], [1, 0], [0, 1]], [[0, 0], [0, 1], [-1, 0]]]
        )
    else:
        units = np.eye(2 * n).reshape(2 * n, n, 2)
    u, v = ((tgt_xy - ORIGIN_XY) / SCALE_M).T
    return np.asarray(np.stack([u**i * v**j for i, j in kind.exponents()], axis=1) @ units)


@st.composite
def models(draw: st.DrawFn, model: type[Model]) -> Any:
    """Models of a kind, anywhere on a map, with slopes of less than a tenth."""
    scale = draw(st.floats(10, 1e5))
    origin = draw(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e7, 1e7)))
    # no sum of slopes, each at most 3 coefficients per scale, comes near 1
    return made(model, origin, scale, draw(st.floats(scale / 4000, scale / 400)), draw(st.integers(0, 999)))


def places(reach: float) -> st.SearchStrategy[Floats]:
    """Scaled coordinates, some of which lie outside of the cells of a local model."""
    one = st.floats(-reach, reach)
    return st.lists(st.tuples(one, one), min_size=1, max_size=20).map(np.array)


@every_parametric
def test_fit_gives_back_the_model_that_made_the_points(model: type[Model]) -> None:
    true, tgt_xy = some(model), spread_xy()
    fitted = model.fit(tgt_xy, true(tgt_xy))
    elsewhere = spread_xy(seed=1)
    np.testing.assert_allclose(fitted.displacement(elsewhere), true.displacement(elsewhere), rtol=0, atol=1e-6)
    assert fitted.kind == model.kind


def test_a_local_fit_comes_near_the_field_that_made_the_points() -> None:
    """Of other cells than its own: it is what they can be, and beyond them as affine."""
    true, tgt_xy = some(Local), spread_xy(900)
    fitted = Local.fit(tgt_xy, true(tgt_xy))
    inside = spread_xy(500, seed=1, reach=0.9)
    error_m = np.hypot(*(fitted(inside) - true(inside)).T)
    assert np.sqrt((error_m**2).mean()) < 0.02 * np.hypot(*true.displacement(inside).T).std()
    assert fitted.kind == "local"


@every_model
@pytest.mark.parametrize("seed", range(5))
def test_fit_to_the_least_number_of_points_is_exact(model: type[Model], seed: int) -> None:
    true, tgt_xy = some(model if model is not Local else Affine, seed=seed), spread_xy(model.n_terms(), seed)
    np.testing.assert_allclose(model.fit(tgt_xy, true(tgt_xy))(tgt_xy), true(tgt_xy), rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_a_strong_perspective_is_found(seed: int) -> None:
    """Of four points and of many, with noise and without; the horizon is just off the ground."""
    rng, corners = np.random.default_rng(seed), np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)]) * SCALE_M + ORIGIN_XY
    perspective = rng.uniform(0.5, 0.9) * np.array([np.cos(seed), np.sin(seed)]) / np.sqrt(2)
    matrix = np.vstack(
        [np.column_stack([rng.normal(0, 0.2, (2, 2)) + np.eye(2), rng.normal(size=2)]), [*perspective, 1]]
    )
    true = Homography(ORIGIN_XY, SCALE_M, matrix, np.zeros((8, 8)))
    np.testing.assert_allclose(Homography.fit(corners, true(corners))(corners), true(corners), rtol=0, atol=1e-5)
    tgt_xy = spread_xy(100, seed)
    noisy_xy = true(tgt_xy) + rng.normal(0, 5, (100, 2))
    fitted = Homography.fit(tgt_xy, noisy_xy)
    off = [((noisy_xy - m(tgt_xy)) ** 2).sum() / 25 for m in (fitted, true)]
    assert 2 < off[1] - off[0] < 26  # chi squared of eight


@every_model
def test_fit_is_least_squares(model: type[Model]) -> None:
    """The residuals of the optimum are orthogonal to what each unknown does."""
    tgt_xy = spread_xy()
    ref_xy = some(model)(tgt_xy) + np.random.default_rng(2).normal(0, 3, tgt_xy.shape)
    weights = np.random.default_rng(3).uniform(0.1, 10, len(tgt_xy))
    fitted = model.fit(tgt_xy, ref_xy, weights)
    of_each = unknowns(fitted, tgt_xy)
    slope = (of_each * weights[:, None] * (ref_xy - fitted(tgt_xy))).sum(axis=(1, 2))
    assert len(slope) == (2 * model.n_terms() if model is not Local else 6)
    assert np.abs(slope).max() < 1e-5


@every_model
def test_points_of_weight_zero_count_for_nothing(model: type[Model]) -> None:
    """Wherever they are, even where there is nothing."""
    true, tgt_xy = some(model), spread_xy()
    ref_xy, weights = true(tgt_xy), np.ones(len(tgt_xy))
    fitted = model.fit(tgt_xy[20:], ref_xy[20:], weights[20:])
    ref_xy[:20] += 1e6
    tgt_xy[:10] += 1e7
    ref_xy[:5] = np.nan
    weights[:20] = 0
    again = model.fit(tgt_xy, ref_xy, weights)
    np.testing.assert_allclose(again(tgt_xy[20:]), fitted(tgt_xy[20:]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(again.covariance_at(tgt_xy[20:]), fitted.covariance_at(tgt_xy[20:]), rtol=1e-6)


@every_parametric
def test_scaling_all_weights_changes_no_displacement_and_scales_the_covariance(model: type[Model]) -> None:
    tgt_xy = spread_xy()
    ref_xy = some(model)(tgt_xy) + np.random.default_rng(2).normal(0, 3, tgt_xy.shape)
    one, other = (model.fit(tgt_xy, ref_xy, np.full(len(tgt_xy), w)) for w in (1e-8, 1e8))
    np.testing.assert_allclose(one(tgt_xy), other(tgt_xy), rtol=0, atol=1e-6)
    np.testing.assert_allclose(one.covariance_at(tgt_xy), 1e16 * other.covariance_at(tgt_xy), rtol=1e-5, atol=1e-3)


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
def test_fit_with_covariances_is_generalised_least_squares(model: type[Model]) -> None:
    """The whitened residuals of the optimum are orthogonal to what each unknown does, in both axes together."""
    tgt_xy, precision = spread_xy(), precisions(60, 30)
    ref_xy = some(model)(tgt_xy) + np.random.default_rng(2).normal(0, 3, tgt_xy.shape)
    fitted = model.fit(tgt_xy, ref_xy, precision)
    residual = ref_xy - fitted(tgt_xy)
    slope = (unknowns(fitted, tgt_xy) * (precision @ residual[..., None])[..., 0]).sum(axis=(1, 2))
    assert np.abs(slope).max() < 1e-5


@every_model
def test_circular_covariances_are_weights(model: type[Model]) -> None:
    tgt_xy, weights = spread_xy(), np.random.default_rng(3).uniform(0.1, 10, 60)
    ref_xy = some(model)(tgt_xy) + np.random.default_rng(2).normal(0, 3, tgt_xy.shape)
    one, other = (model.fit(tgt_xy, ref_xy, w) for w in (weights, weights[:, None, None] * np.eye(2)))
    np.testing.assert_allclose(one(tgt_xy), other(tgt_xy), rtol=0, atol=1e-7)


@every_parametric
def test_an_error_along_an_edge_counts_for_nothing(model: type[Model]) -> None:
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


@every_parametric
def test_covariance_is_that_of_repeated_fits(model: type[Model]) -> None:
    """At the tie points and half a side outside of them, both axes and what they have in common."""
    n = 300 if model is Homography else 500
    true, tgt_xy, precision = some(model), spread_xy(), precisions(60, 10)
    at = np.concatenate(
        [tgt_xy[:20], np.array(ORIGIN_XY) + 2 * SCALE_M * np.array([(-1, -1), (0, 1), (1, 0), (1, -1)])]
    )
    root = np.linalg.cholesky(np.linalg.inv(precision))
    noise = (root @ np.random.default_rng(4).normal(size=(n, 60, 2, 1)))[..., 0]
    found = np.stack([model.fit(tgt_xy, true(tgt_xy) + e, precision)(at) for e in noise]) - true(at)
    stated = model.fit(tgt_xy, true(tgt_xy), precision).covariance_at(at)
    assert stated[-4:, 0, 0].min() > np.median(stated[:20, 0, 0]) or model is Translation
    white = np.linalg.solve(np.linalg.cholesky(stated), found.transpose(1, 2, 0))
    scatter = white @ white.transpose(0, 2, 1) / n
    np.testing.assert_allclose(scatter, np.tile(np.eye(2), (len(at), 1, 1)), rtol=0, atol=6 / np.sqrt(n))


@every_model
def test_without_weights_the_covariance_is_that_of_the_residuals(model: type[Model]) -> None:
    """Which says the same as to know the variance beforehand."""
    true, tgt_xy = some(Affine if model is Local else model), spread_xy(200)
    alike, known = [], []
    for seed in range(10):
        ref_xy = true(tgt_xy) + np.random.default_rng(seed).normal(0, 3, tgt_xy.shape)
        alike.append(model.fit(tgt_xy, ref_xy).covariance_at(tgt_xy).trace(axis1=1, axis2=2).mean())
        known.append(
            model.fit(tgt_xy, ref_xy, np.full(200, 1 / 9)).covariance_at(tgt_xy).trace(axis1=1, axis2=2).mean()
        )
    assert np.mean(alike) == pytest.approx(np.mean(known), rel=0.1)
    scaled = model.fit(tgt_xy, true(tgt_xy) + 100 * (ref_xy - true(tgt_xy)))
    assert scaled.covariance_at(tgt_xy).trace(axis1=1, axis2=2).mean() == pytest.approx(1e4 * alike[-1], rel=0.1)


def test_local_errors_are_as_large_as_stated() -> None:
    """Of smooth fields of any length and size, as of none: inside, and the worse the further outside."""
    inside, ratios = spread_xy(200, seed=9, reach=0.9), []
    for seed in range(36):
        rng = np.random.default_rng(seed)
        length, size_m = rng.choice([0.5, 1.0, 2.0]) * SCALE_M, rng.choice([0.0, 5.0, 30.0])
        true, tgt_xy = random_field(rng, length, size_m), spread_xy(rng.choice([100, 300]), seed)
        root = np.linalg.cholesky(np.linalg.inv(precisions(len(tgt_xy), 3, seed)))
        ref_xy = tgt_xy + true(tgt_xy) + (root @ rng.normal(size=(len(tgt_xy), 2, 1)))[..., 0]
        fitted = Local.fit(tgt_xy, ref_xy, precisions(len(tgt_xy), 3, seed))
        error = fitted.displacement(inside) - true(inside)
        white = np.linalg.solve(np.linalg.cholesky(fitted.covariance_at(inside)), error[..., None])
        ratios.append((size_m, (white**2).mean()))
        away = np.array(ORIGIN_XY) + SCALE_M * np.outer([0, 1, 1.5, 2, 3, 5], [1, 0.5])
        sigma = np.sqrt(fitted.covariance_at(away).trace(axis1=1, axis2=2))
        assert (np.diff(sigma) > 0).all()
    for bent in (False, True):
        std = np.sqrt(np.mean([ratio for size_m, ratio in ratios if (size_m > 0) == bent]))
        assert 0.8 < std < 1.3, (bent, std)


def random_field(rng: np.random.Generator, length_m: float, size_m: float) -> Any:
    """A displacement of map xy: an affine map and waves no shorter than ``length_m``, ``size_m`` together per axis."""
    turn, wave = rng.uniform(0, 2 * np.pi, 30), 2 * np.pi / length_m * np.sqrt(rng.random(30))
    along = np.stack([np.cos(turn), np.sin(turn)]) * wave / 2
    phase, size = rng.uniform(0, 2 * np.pi, 30), rng.normal(0, size_m * np.sqrt(2 / 30), (30, 2))
    slope, shift = rng.normal(0, 1e-3, (2, 2)), rng.normal(0, 20, 2)
    return lambda xy: np.cos((xy - ORIGIN_XY) @ along + phase) @ size + (xy - ORIGIN_XY) @ slope + shift


def test_positive_dx_moves_east_and_positive_dy_north() -> None:
    model = Translation((0.0, 0.0), 1.0, np.array([[5.0, 3.0]]))
    assert model(np.array([[100.0, 200.0]])).tolist() == [[105.0, 203.0]]


@every_model
@given(data=st.data(), uv=places(1.5))
def test_inverse_undoes_the_model(model: type[Model], data: st.DataObject, uv: Floats) -> None:
    one = data.draw(models(model))
    tgt_xy = one.origin_xy + uv * one.scale
    tolerance = 3e-9 * one.scale + 1e-8  # a coordinate of 1e7 is known to 2e-9
    np.testing.assert_allclose(one.inverse(one(tgt_xy)), tgt_xy, rtol=0, atol=tolerance)
    np.testing.assert_allclose(one(one.inverse(tgt_xy)), tgt_xy, rtol=0, atol=tolerance)


@every_model
@given(data=st.data())
def test_json_gives_the_same_model_to_the_last_bit(model: type[Model], data: st.DataObject) -> None:
    one = data.draw(models(model))
    again = from_dict(json.loads(json.dumps(one.to_dict())))
    assert again == one
    assert hash(again) == hash(one)
    assert type(again) is type(one)
    at = one.origin_xy + np.array([[0.3, -0.7], [2.0, 2.0]]) * one.scale
    assert np.array_equal(again(at), one(at))
    assert np.array_equal(again.covariance_at(at), one.covariance_at(at))


@every_model
def test_json_gives_the_same_fit_to_the_last_bit(model: type[Model]) -> None:
    fitted = model.fit(
        spread_xy(), some(model)(spread_xy()) + np.random.default_rng(2).normal(0, 3, (60, 2)), precisions(60, 3)
    )
    again = from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    assert again.freedom == fitted.freedom
    assert np.array_equal(again.covariance_at(spread_xy()), fitted.covariance_at(spread_xy()))


@every_model
def test_models_differ_by_any_of_their_values(model: type[Model]) -> None:
    one, again = (some(model) for _ in range(2))
    assert one == again
    assert hash(one) == hash(again)
    assert one != some(model, seed=1)
    for field in fields(one):
        value = np.array(getattr(one, field.name)) * (1 + 1e-15) + 1e-9
        other = replace(
            one, **{field.name: tuple(value.tolist()) if value.shape == (2,) else value if value.ndim else float(value)}
        )
        assert other != one, field.name
    assert len({one, again, some(model, seed=1)}) == 2
    assert one != some(Affine if model is not Affine else Similarity)


@every_model
@given(data=st.data(), uv=places(1.5))
def test_jacobian_is_the_slope(model: type[Model], data: st.DataObject, uv: Floats) -> None:
    one = data.draw(models(model))
    step = 1e-4 * one.scale
    at = one.origin_xy + uv * one.scale
    for axis in (0, 1):
        moved = np.eye(2)[axis] * step
        slope = (one.displacement(at + moved) - one.displacement(at - moved)) / (2 * step) + np.eye(2)[axis]
        np.testing.assert_allclose(one.jacobian(at)[:, :, axis], slope, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["translation", "similarity", "affine"])
@given(data=st.data(), uv=places(1.5))
def test_affine_is_the_model(kind: str, data: st.DataObject, uv: Floats) -> None:
    one = data.draw(models(LADDER[kind]))
    at = one.origin_xy + uv * one.scale
    assert one.affine is not None
    a, b, c, d, e, f = tuple(one.affine)[:6]
    by_hand = np.stack([a * at[:, 0] + b * at[:, 1] + c, d * at[:, 0] + e * at[:, 1] + f], axis=1)
    np.testing.assert_allclose(by_hand, one(at), rtol=0, atol=1e-7 + 1e-9 * one.scale)


def test_an_affine_map_of_the_map_is_that_model_and_known_exactly() -> None:
    transform, at = AffineTransform(0.9, -0.1, 3e5, 0.2, 1.1, -4e6), spread_xy(5)
    by_hand = np.stack([0.9 * at[:, 0] - 0.1 * at[:, 1] + 3e5, 0.2 * at[:, 0] + 1.1 * at[:, 1] - 4e6], axis=1)
    model = from_transform(transform, np.array(ORIGIN_XY) + 100, 777.0)
    np.testing.assert_allclose(model(at), by_hand, rtol=0, atol=1e-6)
    assert not model.covariance_at(at).any()


@pytest.mark.parametrize("kind", ["homography", "polynomial2", "polynomial3", "local"])
def test_bends_are_no_affine_map(kind: str) -> None:
    assert some(LADDER[kind]).affine is None


@every_model
def test_too_few_points_are_refused(model: type[Model]) -> None:
    for n in (0, model.n_terms() - 1):
        with pytest.raises(FitError, match=f"{n} tie points.*needs {model.n_terms()}"):
            model.fit(spread_xy(n), spread_xy(n))
    with pytest.raises(FitError, match=f"0 tie points.*needs {model.n_terms()}"):
        model.fit(spread_xy(), spread_xy(), np.zeros(60))


@pytest.mark.parametrize("kind", ["affine", "homography", "polynomial2", "polynomial3", "local"])
@pytest.mark.parametrize("slope", [0.0, 1.0, -0.37])
def test_points_on_a_line_are_refused(kind: str, slope: float) -> None:
    along = np.linspace(-SCALE_M, SCALE_M, 50)
    tgt_xy = ORIGIN_XY + np.stack([along, slope * along], axis=1)
    with pytest.raises(FitError, match=f"too few lines.*{kind}"):
        LADDER[kind].fit(tgt_xy, tgt_xy + 3)


@pytest.mark.parametrize(("kind", "lines"), [("homography", 1), ("polynomial2", 2), ("polynomial3", 3)])
def test_points_on_lines_and_one_beside_are_refused(kind: str, lines: int) -> None:
    """A homography by one line and a point, the polynomials by as many lines as their degree."""
    along = np.linspace(-SCALE_M, SCALE_M, 50)
    tgt_xy = ORIGIN_XY + np.stack([along, np.arange(50) % lines * (500 + 0.3 * along)], axis=1)
    if kind == "homography":
        tgt_xy[7, 1] += SCALE_M
    with pytest.raises(FitError, match=f"too few lines.*{kind}"):
        LADDER[kind].fit(tgt_xy, tgt_xy + 3)


@pytest.mark.parametrize("kind", [kind for kind in LADDER if kind != "translation"])
def test_one_place_many_times_is_refused(kind: str) -> None:
    tgt_xy = np.tile(np.array([ORIGIN_XY]), (50, 1))
    with pytest.raises(FitError, match="too few lines"):
        LADDER[kind].fit(tgt_xy, tgt_xy + 3)


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("n", [4, 5, 8, 30])
def test_a_homography_of_nonsense_is_refused_or_sees_every_point(n: int, size: float) -> None:
    """And is then no worse than the affine map, which is one."""
    for seed in range(10):
        tgt_xy, rng = spread_xy(n, seed), np.random.default_rng(seed)
        ref_xy = tgt_xy + rng.normal(0, size * SCALE_M, tgt_xy.shape)
        try:
            fitted = Homography.fit(tgt_xy, ref_xy)
        except FitError as error:
            assert "no homography describes" in str(error)  # noqa: PT017
            continue
        misfit = [((ref_xy - model(tgt_xy)) ** 2).sum() for model in (fitted, Affine.fit(tgt_xy, ref_xy))]
        assert misfit[0] <= misfit[1]


def test_points_of_both_sides_of_a_horizon_make_no_homography() -> None:
    tgt_xy = np.array([(0, 0), (1, 0.1), (1.2, 1), (0, 0.8)]) * SCALE_M + ORIGIN_XY
    with pytest.raises(FitError, match="4 tie points that no homography describes"):
        Homography.fit(tgt_xy, tgt_xy[[0, 2, 1, 3]])  # two of them have changed places: the outline crosses itself


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


FOLDS = {
    "polynomial2": {(2, 0): 1000.0},  # x + 1000 u² turns back at u = −2.5
    "polynomial3": {(3, 0): -150.0},  # and this at u = ±3.3, once on either side
}


def folding(kind: str) -> Model:
    """A model that folds towards the west, so that nothing arrives 20 km in the west of the origin."""
    if kind == "homography":  # its horizon runs through u = 2.5, and u = −1.67 is where all that is behind it begins
        return Homography(ORIGIN_XY, SCALE_M, np.array([[1, 0, 0], [0, 1, 0], [-0.4, 0, 1]]), np.zeros((8, 8)))
    if kind == "local":
        tgt_xy = ORIGIN_XY + SCALE_M * np.stack(np.meshgrid(*[np.linspace(-3, 3, 30)] * 2), axis=-1).reshape(-1, 2)
        return Local.fit(tgt_xy, tgt_xy + 1000 * ((tgt_xy - ORIGIN_XY) / SCALE_M) ** 2 * [1, 0], np.ones(900))
    model = LADDER[kind]
    coefficients = np.zeros((model.n_terms(), 2))
    for term, size_m in FOLDS[kind].items():
        coefficients[model.exponents().index(term), 0] = size_m
    return model(ORIGIN_XY, SCALE_M, coefficients)


@pytest.mark.parametrize("kind", ["homography", "polynomial2", "polynomial3", "local"])
def test_fold_is_refused_and_never_answered_by_its_other_side(kind: str) -> None:
    bend = folding(kind)
    far_xy = np.array([ORIGIN_XY]) - [4 * SCALE_M, 0]
    if kind == "polynomial3":
        far_xy = np.array([ORIGIN_XY]) - [2.5 * SCALE_M, 0]
    with pytest.raises(FitError, match="cannot be inverted at 1 of 1 places"):
        bend.inverse(far_xy)
    missing = bend.inverse(np.concatenate([far_xy, [ORIGIN_XY]]), missing_ok=True)
    assert np.isnan(missing[0]).all()
    np.testing.assert_allclose(missing[1], ORIGIN_XY, rtol=0, atol=1e-3)
    ref_xy = ORIGIN_XY + SCALE_M * np.stack(np.meshgrid(*[np.linspace(-6, 6, 40)] * 2), axis=-1).reshape(-1, 2)
    back = bend.inverse(ref_xy, missing_ok=True)
    there = ~np.isnan(back).any(axis=1)
    assert 0.2 < there.mean() < 0.9
    np.testing.assert_allclose(bend(back[there]), ref_xy[there], rtol=0, atol=1e-4)
    assert (np.linalg.det(bend.jacobian(back[there])) > 0).all()


def test_there_is_nothing_beyond_the_horizon() -> None:
    beyond = np.array([ORIGIN_XY, ORIGIN_XY]) + np.array([[2.4, 0], [2.6, 0]]) * SCALE_M
    there = folding("homography")
    assert np.isfinite(there(beyond)).all(axis=1).tolist() == [True, False]
    assert np.isfinite(there.covariance_at(beyond)).all(axis=(1, 2)).tolist() == [True, False]


def test_collapsed_model_has_no_inverse() -> None:
    flat = Affine(ORIGIN_XY, SCALE_M, np.array([[0.0, 0.0], [-SCALE_M, 0.0], [0.0, -SCALE_M]]))
    with pytest.raises(FitError, match="cannot be inverted"):
        flat.inverse(spread_xy(3))


def test_collapsed_homography_has_no_inverse() -> None:
    flat = Homography(ORIGIN_XY, SCALE_M, np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1]]), np.zeros((8, 8)))
    with pytest.raises(FitError, match="cannot be inverted"):
        flat.inverse(spread_xy(3))


def test_what_mirrors_has_an_inverse_only_if_it_is_affine() -> None:
    """On a bent map a mirrored place is behind a fold."""
    mirror = Affine(ORIGIN_XY, SCALE_M, np.array([[0.0, 0.0], [-2 * SCALE_M, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(mirror.inverse(mirror(spread_xy(3))), spread_xy(3), rtol=0, atol=1e-5)
    turned = Homography(ORIGIN_XY, SCALE_M, np.array([[-1, 0, 0], [0, 1, 0], [0.1, 0, 1]]), np.zeros((8, 8)))
    with pytest.raises(FitError, match="cannot be inverted at 3 of 3 places"):
        turned.inverse(turned(spread_xy(3)))


@every_model
def test_no_points_in_no_points_out(model: type[Model]) -> None:
    none = np.zeros((0, 2))
    assert some(model)(none).shape == (0, 2)
    assert some(model).inverse(none).shape == (0, 2)
    assert some(model).jacobian(none).shape == some(model).covariance_at(none).shape == (0, 2, 2)


@every_model
def test_models_are_frozen(model: type[Model]) -> None:
    one = some(model)
    arrays = {field.name: np.array(v) for field in fields(one) if isinstance(v := getattr(one, field.name), np.ndarray)}
    again = replace(one, **arrays)
    for name, array in arrays.items():
        array += 7  # theirs, not the model's
        assert np.array_equal(getattr(again, name), getattr(one, name))
        with pytest.raises(ValueError, match="read-only"):
            getattr(again, name)[0] = 1
    assert len(arrays) == 2
    with pytest.raises(AttributeError):
        again.scale = 2.0


def test_identity_moves_nothing_and_is_certain() -> None:
    np.testing.assert_array_equal(identity()(spread_xy()), spread_xy())
    np.testing.assert_array_equal(identity().inverse(spread_xy()), spread_xy())
    assert not identity().covariance_at(spread_xy()).any()
    assert identity().still
    assert not any(some(model).still for model in LADDER.values())


@every_model
def test_a_model_made_less_certain_moves_nothing_else(model: type[Model]) -> None:
    """By the same on both axes wherever it is; of a homography, where it does not foreshorten: at its centre."""
    one = some(model)
    vague = one.less_certain(9.0).less_certain(7.0)
    at = np.array([ORIGIN_XY]) if model is Homography else spread_xy()
    more = vague.covariance_at(at) - one.covariance_at(at)
    np.testing.assert_allclose(more, np.tile(16 * np.eye(2), (len(at), 1, 1)), rtol=0, atol=1e-9 * one.scale**2)
    assert np.array_equal(vague(at), one(at))
    assert from_dict(vague.to_dict()) == vague != one


@every_model
def test_refit_to_the_same_points_is_the_fit(model: type[Model]) -> None:
    tgt_xy, precision = spread_xy(), precisions(60, 3)
    ref_xy = some(model)(tgt_xy) + np.random.default_rng(2).normal(0, 3, tgt_xy.shape)
    fitted = model.fit(tgt_xy, ref_xy, precision)
    again = fitted.refit(tgt_xy, ref_xy, precision)
    np.testing.assert_allclose(again(tgt_xy), fitted(tgt_xy), rtol=0, atol=0.1 if model is Local else 1e-9)
    moved = fitted.refit(tgt_xy, ref_xy + [100, -50], precision)
    np.testing.assert_allclose(moved.displacement(tgt_xy), again.displacement(tgt_xy) + [100, -50], rtol=0, atol=0.1)


def test_ladder_rises() -> None:
    assert [model.n_terms() for model in LADDER.values()] == [1, 2, 3, 4, 6, 10, 16]
    assert [some(model).freedom for model in PARAMETRIC.values()] == [2, 4, 6, 8, 12, 20]
    assert all(model.kind == kind for kind, model in LADDER.items())


WRONG: dict[str, list[dict[str, Any]]] = {
    kind: [
        {"kind": "spline"},
        {"kind": None},
        {"kind": [kind]},
        {"origin_xy": [1.0]},
        {"origin_xy": 3},
        {"origin_xy": [0.0, float("inf")]},
        {"scale": "wide"},
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": float("nan")},
    ]
    for kind in LADDER
}
for kind in ("translation", "similarity", "affine", "polynomial2", "polynomial3"):
    terms = len(LADDER[kind].exponents())  # type: ignore[attr-defined]
    WRONG[kind] += [
        {"kind": "homography"},
        {"kind": "local"},
        {"kind": "polynomial2" if kind != "polynomial2" else "affine"},
        {"coefficients": [[1.0, 2.0]] * (terms + 1)},
        {"coefficients": None},
        {"coefficients": [[0.0, float("nan")]] * terms},
        {"covariance": [[1.0]]},
        {"covariance": [[float("inf")] * 2] * 2},
        {"exponents": [[9, 9]] * terms},
    ]
WRONG["homography"] += [
    {"kind": "affine"},
    {"matrix": None},
    {"matrix": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]},
    {"matrix": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]},
    {"matrix": [[1.0, 0.0, 0.0], [0.0, float("nan"), 0.0], [0.0, 0.0, 1.0]]},
    {"covariance": [[1.0]]},
]
WRONG["local"] += [
    {"kind": "homography"},
    {"low": 3},
    {"low": [0.0]},
    {"low": [0.0, float("nan")]},
    {"cell": 0.0},
    {"cell": float("inf")},
    {"smoothing": 0.0},
    {"smoothing": float("nan")},
    {"left_out": float("nan")},
    {"left_out": "much"},
    {"coefficients": [[[0.0, 0.0]] * 5] * 3},
    {"coefficients": [[[0.0]] * 5] * 5},
    {"coefficients": [[0.0, 0.0]] * 5},
    {"coefficients": [[[0.0, float("nan")]] * 5] * 5},
    {"held": None},
    {"held": {"row": [0], "column": [0]}},
    {"held": {"row": [9999], "column": [0], "values": [[1.0], [1.0], [1.0]]}},
    {"held": {"row": [-1], "column": [-1], "values": [[1.0], [1.0], [1.0]]}},
    {"held": {"row": [0, 1], "column": [0, 1], "values": [[1.0], [1.0], [1.0]]}},
    {"held": {"row": [0], "column": [0], "values": [[1.0], [1.0]]}},
    {"held": {"row": [0], "column": [0], "values": [[1.0], [float("nan")], [1.0]]}},
]


@pytest.mark.parametrize(("kind", "change"), [(kind, change) for kind in WRONG for change in WRONG[kind]], ids=str)
def test_bad_values_are_refused(kind: str, change: dict[str, Any]) -> None:
    values = some(LADDER[kind]).to_dict()
    assert from_dict(values) == some(LADDER[kind])
    with pytest.raises(InputError, match="not a georeg model"):
        from_dict(values | change)


@pytest.mark.parametrize(
    ("kind", "missing"), [(kind, key) for kind in LADDER for key in some(LADDER[kind]).to_dict() if key != "exponents"]
)
def test_absent_values_are_refused(kind: str, missing: str) -> None:
    values = some(LADDER[kind]).to_dict()
    del values[missing]
    with pytest.raises(InputError, match="not a georeg model"):
        from_dict(values)


@pytest.mark.parametrize("values", [None, [], "affine", 3])
def test_what_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(InputError, match="not a georeg model"):
        from_dict(values)
