"""The laws of the smooth field: bent where the tie points say so, affine where there are none, whatever else is among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_fit import CENTRE, GSD, affine, rms_error_px, shift
from test_fit import tie_points as overlapping

from georeg.errors import FitError
from georeg.mixture import robust_fit
from georeg.models import Affine, Local

HALF_M = 5000.0


def bend(uv):
    """By 5 px over the 1000 px of the scene, otherwise affine."""
    return affine(uv) + 2.5 * np.stack([np.sin(np.pi * uv[:, 0] / 2) * np.cos(uv[:, 1]), uv[:, 0] * uv[:, 1]], axis=1)


def waves(uv):
    return affine(uv) + 1.5 * np.stack([np.sin(5 * uv[:, 0] + uv[:, 1]), np.cos(4 * uv[:, 1])], axis=1)


TRUTHS = {"affine": affine, "bend": bend, "waves": waves}


def tie_points(truth, **options):
    """Tie points whose windows share no pixels, so that their errors are as independent as they were made."""
    return replace(overlapping(truth, **options), window_px=16)


def uv_of(tgt_xy):
    return (tgt_xy - CENTRE) / HALF_M


def precision_of(points):
    return np.linalg.inv(points.cov)


def fitted_to(points):
    return Local.fit(points.tgt_xy, points.ref_xy, precision_of(points))


def error_px(model, truth, uv):
    return model.displacement(CENTRE + HALF_M * uv) / GSD - truth(uv)


def test_an_affine_map_is_given_back_as_one():
    fits = [fitted_to(tie_points(affine, seed=seed)) for seed in range(10)]
    assert all(6 <= fitted.freedom < 20 for fitted in fits)
    assert np.median([fitted.freedom for fitted in fits]) < 8
    best_px = 0.05 * np.sqrt(6 / 200)  # of an affine model: six unknowns in 200 points
    assert np.sqrt(np.mean([rms_error_px(fitted, affine) ** 2 for fitted in fits])) < 1.5 * best_px


def test_an_affine_map_is_continued_where_there_are_no_points():
    """As far off as the stated deviation, and that is little for half a side."""
    at = np.array([(2.0, 2.0), (-2.0, 0.0), (0.0, 2.0), (3.0, -1.0)])
    z, errors_px = [], []
    for seed in range(20):
        fitted = fitted_to(tie_points(affine, seed=seed))
        errors_px.append(error_px(fitted, affine, at))
        root = np.linalg.cholesky(fitted.covariance_at(CENTRE + HALF_M * at) / GSD**2)
        z.append(np.linalg.solve(root, errors_px[-1][..., None]))
    assert np.sqrt(np.mean(np.square(errors_px), axis=(0, 2))).max() < 0.05
    assert 0.5 < np.sqrt(np.mean(np.square(z))) < 1.3


@pytest.mark.parametrize("axis", [0, 1])
def test_beyond_its_cells_the_field_is_straight_along_either_axis(axis):
    """And touches what is within: also beyond their corners."""
    fitted = fitted_to(tie_points(bend))
    edge = np.array([(1.3, 1.3), (-1.3, -1.3), (1.3, -1.3), (-1.3, 1.3)]) * np.where(
        np.eye(2)[axis], 1, [[0.4], [1], [-0.2], [1]]
    )
    out = np.sign(edge) * np.eye(2)[axis]
    start_xy = CENTRE + HALF_M * edge
    slope = np.einsum("nij,nj->ni", fitted.jacobian(start_xy) - np.eye(2), out)
    for far_m in (100.0, 5000.0, 30000.0):
        there = fitted.displacement(start_xy + far_m * out)
        np.testing.assert_allclose(there, fitted.displacement(start_xy) + far_m * slope, rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_displacement_and_slope_are_continuous_across_the_border_of_the_cells(side, axis):
    fitted = fitted_to(tie_points(waves))
    n = np.array(fitted.coefficients.shape[:2]) - 3
    low = fitted.origin_xy + np.array(fitted.low) * fitted.scale
    high = low + n * fitted.cell * fitted.scale
    border = np.random.default_rng(0).uniform(low - 2000, high + 2000, (200, 2))  # beside the cells, too
    border[:, axis] = (low if side < 0 else high)[axis]
    step_m = 2e-4
    there, here = (border + np.eye(2)[axis] * s * side * step_m for s in (1, -1))
    bend_px = np.abs(fitted.displacement(there) - fitted.displacement(here)).max() / GSD
    turn = np.abs(fitted.jacobian(there) - fitted.jacobian(here)).max()
    assert bend_px < 1e-5
    assert turn < 1e-7
    inner = border - np.eye(2)[axis] * side * 0.5 * fitted.cell * fitted.scale
    assert np.abs(fitted.jacobian(inner) - fitted.jacobian(border)).max() > 1e-4  # there is something to be continuous


def test_slope_is_continuous_between_the_cells():
    fitted = fitted_to(tie_points(waves))
    knots = np.array(fitted.low) + fitted.cell * np.arange(1, 6)[:, None]
    for axis in (0, 1):
        step = np.eye(2)[axis] * 1e-7
        there, here = (fitted.jacobian(fitted.origin_xy + fitted.scale * (knots + s * step)) for s in (1, -1))
        assert np.abs(there - here).max() < 1e-7


@pytest.mark.parametrize("truth", ["bend", "waves"])
def test_a_bend_is_recovered_from_400_points(truth):
    errors_px = [
        rms_error_px(fitted_to(tie_points(TRUTHS[truth], n=400, seed=seed)), TRUTHS[truth]) for seed in range(3)
    ]
    assert max(errors_px) < 0.05
    straight = tie_points(TRUTHS[truth], n=400)
    assert rms_error_px(Affine.fit(straight.tgt_xy, straight.ref_xy), TRUTHS[truth]) > 0.5


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize(("n", "outliers"), [(400, 0.3), (1600, 0.6)])
def test_a_field_is_recovered_among_mismatches(truth, n, outliers):
    for seed in range(2):
        points = tie_points(TRUTHS[truth], n=n, outliers=outliers, seed=seed)
        found = robust_fit(points, Local, seed=0)
        off_px = np.hypot(*(points.displacement / GSD - TRUTHS[truth](uv_of(points.tgt_xy))).T)
        assert found.inlier[off_px < 0.15].mean() > 0.97
        assert found.inlier[off_px > 1.0].mean() < 0.02
        assert rms_error_px(found.model, TRUTHS[truth]) < (0.015 if truth == "affine" else 0.06)


def clouded(points, moved_px, radius=0.437):
    """The points in a circle, by default of 15 % of the ground, moved together; and which these are."""
    inside = np.hypot(*(uv_of(points.tgt_xy) - (0.2, -0.1)).T) < radius
    return replace(points, ref_xy=points.ref_xy + inside[:, None] * np.array(moved_px) * GSD), inside


@pytest.mark.parametrize("truth", ["affine", "bend"])
@pytest.mark.parametrize("moved_px", [(3.0, 0.0), (-2.0, 2.2)])
@pytest.mark.parametrize(("n", "outliers"), [(400, 0.0), (900, 0.3)])
def test_a_cloud_that_moved_does_not_drag_the_field(truth, moved_px, n, outliers):
    """Its border is sharp: no smooth ground does that."""
    points, cloud = clouded(tie_points(TRUTHS[truth], n=n, outliers=outliers), moved_px)
    found = robust_fit(points, Local, seed=0)
    assert 0.1 < cloud.mean() < 0.17
    assert found.inlier[cloud].mean() < 0.05
    assert rms_error_px(found.model, TRUTHS[truth]) < 0.08


def test_a_broad_swell_of_the_ground_is_no_cloud():
    """As large and as high, but smooth: it is kept."""

    def swell(uv):
        return affine(uv) + 3 * np.exp(-((uv - (0.2, -0.1)) ** 2).sum(axis=1) / 0.3)[:, None] * [1, 0]

    found = robust_fit(tie_points(swell, n=900), Local, seed=0)
    assert found.inlier.mean() > 0.98
    assert rms_error_px(found.model, swell) < 0.06


def test_a_field_does_not_bend_to_a_lone_mismatch():
    """Not even in a corner, where it easily could: whether a point belongs is asked of the others."""
    for seed in range(6):
        points = tie_points(bend, n=100, seed=seed)
        lone = [
            int(np.hypot(*(uv_of(points.tgt_xy) - at).T).argmin()) for at in ((-1, -1), (1, 1), (0.1, 0.2), (-1, 0.1))
        ]
        ref_xy = points.ref_xy.copy()
        ref_xy[lone] += GSD * np.array([(1, 0), (0, 1), (-0.7, 0.7), (0.7, 0.7)])
        found = robust_fit(replace(points, ref_xy=ref_xy), Local, seed=0)
        assert not found.inlier[lone].any()
        assert found.inlier.mean() > 0.9


def test_a_field_of_random_points_is_refused():
    for seed in range(5):
        with pytest.raises(FitError, match=r"fewer than \d+ of 196 tie points agree"):
            robust_fit(tie_points(shift, n=196, outliers=1.0, seed=seed), Local, seed=0)


def energy(model, coefficients):
    """Thin-plate energy of both axes, of a cell of side 1, by Gauss's rule from slopes of the field: nothing but `jacobian`."""
    n, m, _ = model.coefficients.shape
    bent = replace(model, coefficients=coefficients)
    nodes, weights = np.polynomial.legendre.leggauss(4)  # exact: the square of a second derivative has degree 6
    x, y = (np.add.outer(np.arange(k - 3), (nodes + 1) / 2).ravel() for k in (n, m))
    wx, wy = (np.tile(weights / 2, k - 3) for k in (n, m))
    cells = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    step, total = 1e-4, 0.0

    def slopes(at):  # by coordinates in cells
        xy = bent.origin_xy + bent.scale * (np.array(bent.low) + bent.cell * at)
        return (bent.jacobian(xy) - np.eye(2)) * bent.scale * bent.cell

    by_x, by_y = ((slopes(cells + step * e) - slopes(cells - step * e)) / (2 * step) for e in np.eye(2))
    for axis in (0, 1):
        density = by_x[:, axis, 0] ** 2 + 2 * by_x[:, axis, 1] * by_y[:, axis, 0] + by_y[:, axis, 1] ** 2
        total += float(np.outer(wx, wy).ravel() @ density)
    return total


def few(seed=0):
    """A fit to points wider than high and known better in some directions: 12 by 8 cells or so."""
    points = tie_points(bend, n=100, seed=seed)
    turn = np.random.default_rng(seed).uniform(0, np.pi, len(points))
    across = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    cov = points.cov * 0.3 + 3 * 0.25 * across[:, :, None] * across[:, None]
    flat = replace(points, cov=cov, tgt_xy=CENTRE + (points.tgt_xy - CENTRE) * (1, 0.6), ref_xy=points.ref_xy)
    return replace(flat, ref_xy=flat.tgt_xy + points.displacement)


def misfit(points, model):
    rest = points.ref_xy - model(points.tgt_xy)
    return float(np.einsum("ni,nij,nj", rest, precision_of(points), rest))


def test_the_energy_is_that_of_the_field():
    fitted = fitted_to(few())
    n, m, _ = fitted.coefficients.shape
    assert n != m
    for seed in range(3):
        coefficients = np.random.default_rng(seed).normal(size=fitted.coefficients.shape)
        x, y = coefficients.reshape(-1, 2).T
        assert x @ fitted._bending @ x + y @ fitted._bending @ y == pytest.approx(
            energy(fitted, coefficients), rel=1e-5
        )
    plane = np.add.outer(3 * np.arange(n), 2 * np.arange(m)) + 5.0
    assert abs(plane.ravel() @ fitted._bending @ plane.ravel()) < 1e-6


def test_the_field_is_the_least_of_misfit_and_energy():
    """Any other is worse, by as much one way as the other way."""
    points = few()
    fitted = fitted_to(points)

    def cost(coefficients):
        return misfit(points, replace(fitted, coefficients=coefficients)) + fitted.smoothing * energy(
            fitted, coefficients
        )

    least = cost(fitted.coefficients)
    for seed in range(5):
        step = np.random.default_rng(seed).normal(size=fitted.coefficients.shape)
        more, less = (cost(fitted.coefficients + sign * step) - least for sign in (1, -1))
        assert more > 0
        assert more == pytest.approx(less, rel=1e-3)


def likelihood(points, model, smoothing):
    """Logarithm of the restricted likelihood but for a constant, by dense matrices from values of single splines."""
    n, m, _ = model.coefficients.shape
    size = n * m
    units = np.eye(2 * size).reshape(2 * size, n, m, 2)
    design = np.stack([replace(model, coefficients=unit).displacement(points.tgt_xy).ravel() for unit in units], axis=1)
    whole = np.zeros((2 * len(points),) * 2)
    for k, block in enumerate(precision_of(points)):
        whole[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = block
    penalty = np.kron(model._bending, np.eye(2)) * smoothing
    hold = design.T @ whole @ design + penalty
    y = points.displacement.ravel()
    best = np.linalg.solve(hold, design.T @ whole @ y)
    rest = y - design @ best
    quadratic = rest @ whole @ rest + best @ penalty @ best
    return (2 * (size - 3) * np.log(smoothing) - np.linalg.slogdet(hold)[1] - quadratic) / 2


def test_the_smoothing_is_the_likeliest():
    for seed in range(2):
        points = few(seed)
        fitted = fitted_to(points)
        rough, found, smooth = (likelihood(points, fitted, factor * fitted.smoothing) for factor in (0.7, 1.0, 1.4))
        assert found > rough
        assert found > smooth


def test_freedom_is_what_the_points_say_of_themselves():
    """Summed over them, and by moving each in turn with the smoothness left as it is."""
    points = few()
    fitted = fitted_to(points)
    own = np.einsum("nij,nji", precision_of(points), fitted.covariance_at(points.tgt_xy))
    assert fitted.freedom == pytest.approx(own, rel=1e-6)
    assert 6 < fitted.freedom < 2 * len(points)


def test_units_and_place_of_the_map_do_not_matter():
    points = few()
    fitted = fitted_to(points)
    feet, origin = 3.28, np.array([7e6, -3e5])
    other = Local.fit(feet * points.tgt_xy + origin, feet * points.ref_xy + origin, precision_of(points) / feet**2)
    at = points.tgt_xy[:20] + 3000
    assert other.freedom == pytest.approx(fitted.freedom, rel=1e-4)
    np.testing.assert_allclose(
        other.displacement(feet * at + origin) / feet, fitted.displacement(at), rtol=0, atol=1e-3
    )


def test_points_known_in_one_direction_bend_that_axis_alone():
    points = tie_points(bend, n=400)
    blind = np.tile(np.diag([1.0, 1e-6]) / (0.05 * GSD) ** 2, (len(points), 1, 1))
    pulled = points.ref_xy + [0, 1] * np.random.default_rng(1).normal(0, 2 * GSD, (len(points), 1))
    fitted = Local.fit(points.tgt_xy, pulled, blind)
    at = np.random.default_rng(2).uniform(-0.9, 0.9, (200, 2))
    assert np.sqrt((error_px(fitted, bend, at)[:, 0] ** 2).mean()) < 0.05
    sigma = np.sqrt(np.diagonal(fitted.covariance_at(CENTRE + HALF_M * at), axis1=1, axis2=2)).mean(axis=0)
    assert sigma[1] > 10 * sigma[0]


@pytest.mark.parametrize("shape", [(1.0, 0.05), (0.02, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("n", [16, 100])
def test_narrow_ground_and_few_points_make_a_field(n, shape):
    points = tie_points(affine, n=n)
    tgt_xy = CENTRE + (points.tgt_xy - CENTRE) * shape
    ref_xy = tgt_xy + affine(uv_of(tgt_xy)) * GSD + 0.05 * GSD * np.random.default_rng(0).normal(size=tgt_xy.shape)
    fitted = Local.fit(tgt_xy, ref_xy, precision_of(points))
    assert np.abs(error_px(fitted, affine, uv_of(tgt_xy))).max() < 0.2
    assert max(fitted.coefficients.shape[:2]) <= 15


def test_a_refit_keeps_the_cells_and_takes_to_other_points():
    points = tie_points(bend, n=400)
    west = points.tgt_xy[:, 0] < CENTRE[0]
    fitted = fitted_to(points)
    again = fitted.refit(points.tgt_xy[west], points.ref_xy[west], precision_of(points)[west])
    assert (again.low, again.cell, again.origin_xy) == (fitted.low, fitted.cell, fitted.origin_xy)
    seen, unseen = np.array([[-0.5, 0.0]]), np.array([[0.8, 0.0]])
    assert np.abs(error_px(again, bend, seen)).max() < 0.1
    sigma = [float(np.trace(again.covariance_at(CENTRE + HALF_M * at)[0])) for at in (seen, unseen)]
    assert sigma[1] > 10 * sigma[0]
