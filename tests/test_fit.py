"""Laws of the robust fit, the choice of model and the proof against chance, on tie points made with known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from georeg.accuracy import chi2_exceeded, log10_binomial_tail, residual_statistics, verify
from georeg.choice import blocks
from georeg.errors import FitError, VerificationError
from georeg.fit import Role, fit
from georeg.mixture import Starts, robust_fit
from georeg.models import LADDER, Affine, Translation
from georeg.options import FitOptions
from georeg.tie_points import Inputs, Status, TiePoints

GSD = 10.0
CENTRE = np.array([350_000.0, 5_860_000.0])


def tie_points(displacement, n=200, noise_px=0.05, outliers=0.0, seed=0, search_px=32.0) -> TiePoints:
    """Tie points on a jittered lattice of 10 km whose true displacement is ``displacement(uv)`` pixels, uv in ±1."""
    rng = np.random.default_rng(seed)
    side = round(np.sqrt(n))
    line = np.linspace(-1, 1, side)
    uv = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    uv = uv + rng.uniform(-0.3, 0.3, uv.shape) / side
    moved = displacement(uv) + noise_px * rng.normal(size=uv.shape)
    wrong = rng.permutation(len(uv))[: int(outliers * len(uv))]
    moved[wrong] = rng.uniform(-search_px, search_px, (len(wrong), 2))
    tgt_xy = CENTRE + 5000 * uv
    return TiePoints(
        ref_xy=tgt_xy + moved * GSD, tgt_xy=tgt_xy, cov=np.tile(np.eye(2) * (noise_px * GSD) ** 2, (len(uv), 1, 1)),
        score=np.ones(len(uv)), status=np.zeros(len(uv), np.uint8), inputs=Inputs("ref.tif", "tgt.tif"),
        crs="EPSG:32633", gsd=GSD, window_px=16, search_px=search_px, chance=0.01,
    )  # fmt: skip


def on_edges(points, along_deg, chosen=True, pull_px=0.0, long_px=3.0, short_px=0.02, seed=1) -> TiePoints:
    """The ``chosen`` tie points put on edges: their errors and covariances are long along them, short across."""
    rng, n = np.random.default_rng(seed), len(points)
    turn, chosen = np.radians(np.broadcast_to(along_deg, n)), np.broadcast_to(chosen, n)[:, None]
    along, across = np.stack([np.cos(turn), np.sin(turn)], axis=1), np.stack([-np.sin(turn), np.cos(turn)], axis=1)
    error_px = (pull_px + long_px * rng.normal(size=(n, 1))) * along + short_px * rng.normal(size=(n, 1)) * across
    cov = sum(s**2 * axis[:, :, None] * axis[:, None] for s, axis in ((long_px, along), (short_px, across)))
    return replace(
        points,
        ref_xy=points.ref_xy + np.where(chosen, error_px * GSD, 0),
        cov=np.where(chosen[..., None], cov * GSD**2, points.cov),
    )


def crossing_edges(points, **options) -> TiePoints:
    return on_edges(points, np.where(np.arange(len(points)) % 2, 30, 100), **options)


def rms_error_px(model, truth) -> float:
    """Of the model, over the whole scene."""
    line = np.linspace(-1, 1, 15)
    uv = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    tgt_xy = CENTRE + 5000 * uv
    return float(np.sqrt((((model(tgt_xy) - tgt_xy) / GSD - truth(uv)) ** 2).sum(axis=1).mean()))


def shift(uv):
    return np.tile([2.3, -1.7], (len(uv), 1))


def affine(uv):
    return shift(uv) + uv @ np.array([[0.8, -0.5], [0.4, 1.1]])


def bent(uv):
    return affine(uv) + 1.5 * np.stack([uv[:, 1] ** 2, uv[:, 0] ** 2], axis=1)  # no homography does that


TRUTHS = {"translation": shift, "affine": affine, "polynomial2": bent}


@pytest.mark.parametrize("kind", TRUTHS)
@pytest.mark.parametrize("outliers", [0, 0.3, 0.6])
def test_truth_is_recovered_among_mismatches(kind, outliers):
    points = tie_points(TRUTHS[kind], n=400, outliers=outliers)
    fitted = fit(points, FitOptions(model=kind))
    assert rms_error_px(fitted.model, TRUTHS[kind]) < (0.02 if kind != "polynomial2" else 0.03)


@pytest.mark.parametrize("kind", TRUTHS)
def test_auto_chooses_the_class_of_the_truth(kind):
    chosen = [fit(tie_points(TRUTHS[kind], seed=s, outliers=0.1)).model.kind for s in range(12)]
    assert chosen.count(kind) >= 11


def test_same_seed_same_model_and_the_seed_matters_little():
    points = tie_points(affine, outliers=0.4)
    first, again, other = (fit(points, FitOptions(model="affine", seed=s)).model for s in (1, 1, 2))
    assert first == again
    np.testing.assert_allclose(first(points.tgt_xy), other(points.tgt_xy), atol=0.02 * GSD)


def test_check_points_take_no_part_in_the_fit():
    points = tie_points(shift)
    fitted = fit(points)
    check = fitted.role == Role.CHECK
    assert 0.1 < check.mean() < 0.35
    moved = points.ref_xy.copy()
    moved[check] += 1000
    assert fit(replace(points, ref_xy=moved), FitOptions(model="translation")).model.coefficients == pytest.approx(
        fitted.model.coefficients, abs=0.5 * GSD
    )


def test_check_points_are_withheld_by_blocks():
    points = tie_points(shift, n=900)
    check = fit(points).role == Role.CHECK
    xy = points.ref_xy[check]
    others = np.hypot(*(points.ref_xy[:, None] - xy).transpose(2, 0, 1))
    nearest = np.argsort(others, axis=0)[1]  # after itself
    assert check[nearest].mean() > 0.5  # most neighbours of a check point are check points, against 0.2 by chance


def test_certain_points_weigh_more():
    points = tie_points(shift, noise_px=0.05)
    noisy = np.arange(len(points)) % 2 == 0
    ref_xy = (
        points.ref_xy
        + np.where(noisy, 1.0, 0.0)[:, None] * np.random.default_rng(5).normal(size=(len(points), 2)) * GSD
    )
    cov = points.cov * np.where(noisy, 400, 1)[:, None, None]
    weighted = robust_fit(replace(points, ref_xy=ref_xy, cov=cov), Translation, seed=0).model
    error_px = weighted.displacement(points.tgt_xy)[0] / GSD - (2.3, -1.7)
    assert np.hypot(*error_px) < 0.02


@pytest.mark.parametrize("kind", TRUTHS)
@pytest.mark.parametrize("outliers", [0, 0.3, 0.5])
def test_edges_of_two_directions_hold_a_model(kind, outliers):
    points = crossing_edges(tie_points(TRUTHS[kind], noise_px=1e-4, outliers=outliers))
    fitted = fit(points, FitOptions(model=kind))
    assert rms_error_px(fitted.model, TRUTHS[kind]) < 0.02  # of errors of 3 px along the edges, 0.02 px across


def test_the_choice_of_model_ignores_errors_along_edges():
    fitted = fit(crossing_edges(tie_points(affine, noise_px=1e-4)))
    assert fitted.model.kind == "affine"
    by_kind = {candidate.kind: candidate for candidate in fitted.candidates}
    assert by_kind["affine"].cv_rmse_px == pytest.approx(0.02 * np.sqrt(2), rel=0.25)


@pytest.mark.parametrize("kind", ["auto", *TRUTHS])
@pytest.mark.parametrize("along_deg", [0, 40, 90])
@pytest.mark.parametrize("long_px", [0.7, 3.0])
def test_parallel_edges_alone_are_refused(kind, along_deg, long_px):
    points = on_edges(tie_points(shift, noise_px=1e-4), along_deg, long_px=long_px)
    with pytest.raises(FitError, match=r"hold the \w+ model only to [\d.]+ px in one direction.*other bands"):
        fit(points, FitOptions(model=kind))


@pytest.mark.parametrize("kind", TRUTHS)
def test_edges_sharpen_the_fit_of_few_other_points(kind):
    some = np.random.default_rng(3).random(400) < 0.15
    along_deg = np.random.default_rng(9).uniform(0, 180, 400)
    errors_px = []
    for seed in range(6):
        points = tie_points(TRUTHS[kind], n=400, seed=seed)
        both = replace(on_edges(tie_points(TRUTHS[kind], n=400, noise_px=1e-4, seed=seed), along_deg, ~some))
        ref_xy = np.where(some[:, None], points.ref_xy, both.ref_xy)
        cov = np.where(some[:, None, None], points.cov, both.cov)
        mixed = replace(both, ref_xy=ref_xy, cov=cov)
        fits = [fit(p, FitOptions(model=kind)) for p in (points.subset(some), mixed)]
        errors_px.append([rms_error_px(f.model, TRUTHS[kind]) ** 2 for f in fits])
        verify(fits[1])
    alone, together = np.sqrt(np.mean(errors_px, axis=0))
    assert together < 0.5 * alone


@pytest.mark.parametrize("kind", TRUTHS)
def test_a_common_pull_along_edges_moves_nothing(kind):
    edges = np.random.default_rng(3).random(400) > 0.15
    points = on_edges(tie_points(TRUTHS[kind], n=400), 20, edges, pull_px=2)
    still = on_edges(tie_points(TRUTHS[kind], n=400), 20, edges)
    moved = [fit(p, FitOptions(model=kind)).model.displacement(points.tgt_xy) / GSD for p in (points, still)]
    assert np.hypot(*(moved[0] - moved[1]).T).max() < 0.02


def test_edges_never_check():
    edges = np.random.default_rng(3).random(400) > 0.15
    fitted = fit(on_edges(tie_points(shift, n=400), 20, edges, long_px=0.6))
    assert not (edges & (fitted.role == Role.CHECK)).any()
    assert 4 <= (fitted.role == Role.CHECK).sum() <= 0.3 * (~edges).sum()
    assert verify(fitted)[2].rmse / GSD < 0.1
    nearly = fit(on_edges(tie_points(shift, n=400), 20, edges, long_px=0.4))
    assert (edges & (nearly.role == Role.CHECK)).any()


@pytest.mark.parametrize("seed", range(6))
def test_few_points_that_are_no_edges_all_fit_and_all_check(seed):
    others = np.random.default_rng(seed).permutation(400) < 16
    fitted = fit(on_edges(tie_points(shift, n=400), 20, ~others), FitOptions(model="translation"))
    assert not (fitted.role == Role.CHECK).any()
    assert np.array_equal(np.isfinite(fitted.withheld_xy).all(axis=1), others)
    assert verify(fitted)[0].n_checked == 16
    assert verify(fitted)[2].rmse / GSD < 0.1


@pytest.mark.parametrize("n", [16, 36])
def test_each_of_few_points_checks_a_model_that_its_block_took_no_part_in(n):
    points = tie_points(affine, n=n)
    fitted = fit(points, FitOptions(model="affine"))
    assert (fitted.role == Role.FIT).all()
    block = blocks(points)
    for chosen in np.unique(block):
        held = block == chosen
        moved = replace(
            points, ref_xy=points.ref_xy + np.where(held, 0.05, 0)[:, None] * GSD
        )  # all of the block's, little
        change_px = (fit(moved, FitOptions(model="affine")).withheld_xy - fitted.withheld_xy)[held] / GSD
        assert change_px == pytest.approx(0.05, abs=1e-6)  # had they pulled at their own model, it would be less
        assert np.abs(fitted.residual()[held] - fitted.withheld_xy[held]).min() > 1e-9


def test_check_points_are_withheld_for_good_from_fifty_on():
    few, many = (fit(tie_points(shift, n=n)) for n in (49, 64))
    assert np.isfinite(few.withheld_xy).all()
    check = many.role == Role.CHECK
    assert check.any()
    assert np.array_equal(np.isfinite(many.withheld_xy).all(axis=1), check)
    np.testing.assert_array_equal(many.withheld_xy[check], many.residual()[check])


def test_points_that_overlap_count_as_fewer():
    """Where windows overlap by three quarters, 64 tie points are few; and windows of one place are one witness."""
    assert np.isfinite(fit(replace(tie_points(shift, n=64), step=0.25)).withheld_xy).all()
    few = fit(tie_points(shift, n=36))
    narrow, wide = (replace(few.points, window_px=side) for side in (few.points.window_px, 64 * few.points.window_px))
    assert wide.witnesses(wide.kept) < narrow.witnesses(narrow.kept) == narrow.kept.sum()
    with pytest.raises(VerificationError, match="ground of their own"):
        verify(replace(few, points=replace(few.points, window_px=8000 * few.points.window_px)))


def test_a_search_of_many_placements_must_prove_more():
    few = fit(tie_points(shift, n=16))
    once, often = (
        verify(replace(few, points=replace(few.points, log10_tests=tests)))[0].log10_chance for tests in (0.0, 7.0)
    )
    assert often == pytest.approx(once + 7)
    with pytest.raises(VerificationError, match="chance explains"):
        verify(replace(few, points=replace(few.points, log10_tests=-once)))


def test_vague_points_outvote_no_one():
    points = tie_points(shift, n=400)
    vague = np.random.default_rng(3).random(400) < 0.7
    ref_xy = points.tgt_xy + np.random.default_rng(4).normal(12, 5, (400, 2)) * GSD
    muddled = replace(
        points,
        ref_xy=np.where(vague[:, None], ref_xy, points.ref_xy),
        cov=np.where(vague[:, None, None], np.eye(2) * (5 * GSD) ** 2, points.cov),
    )
    assert rms_error_px(fit(muddled, FitOptions(model="translation")).model, shift) < 0.02


def test_scatter_beyond_the_covariances_is_found_among_edges():
    points = crossing_edges(tie_points(shift, n=900, noise_px=0.1), short_px=0.01)
    assert robust_fit(points, Translation, seed=0).sigma_px == pytest.approx(0.1, rel=0.1)


def test_a_rival_group_of_tie_points_is_refused_as_ambiguous():
    points = tie_points(shift, n=400)
    clouds = points.tgt_xy[:, 0] > CENTRE[0]
    ref_xy = points.ref_xy + np.where(clouds, 1, 0)[:, None] * np.array([1.2, 2.0]) * GSD
    with pytest.raises(FitError, match=r"ambiguous.*mask them"):
        fit(replace(points, ref_xy=ref_xy), FitOptions(model="translation"))


def test_a_small_coherent_group_does_not_drag_the_model():
    points = tie_points(shift, n=400)
    boats = (points.tgt_xy[:, 0] > CENTRE[0] + 2500) & (points.tgt_xy[:, 1] > CENTRE[1])
    ref_xy = points.ref_xy + np.where(boats, 1, 0)[:, None] * np.array([1.2, 2.0]) * GSD
    fitted = fit(replace(points, ref_xy=ref_xy), FitOptions(model="translation"))
    assert np.hypot(*(fitted.model.displacement(points.tgt_xy)[0] / GSD - (2.3, -1.7))) < 0.02


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_points_are_refused_with_their_number(n):
    points = tie_points(shift)
    status = np.where(np.arange(len(points)) < n, Status.KEPT, Status.WEAK_PEAK)
    with pytest.raises(FitError, match=r"\d tie points"):
        fit(replace(points, status=status))


def test_random_points_are_refused():
    refused = 0
    for seed in range(20):
        points = tie_points(shift, n=100, outliers=1.0, seed=seed)
        try:
            verify(fit(points))
        except (FitError, VerificationError):
            refused += 1
    assert refused == 20


def test_a_true_fit_is_verified_and_its_accuracy_is_that_of_the_check_points():
    fitted = fit(tie_points(shift, n=400, noise_px=0.1))
    verification, before, after = verify(fitted)
    assert verification.log10_chance < -50
    assert before.n == after.n == verification.n_agreeing
    assert after.rmse / GSD == pytest.approx(0.1 * np.sqrt(2), rel=0.25)
    assert before.rmse / GSD == pytest.approx(np.hypot(2.3, 1.7), rel=0.05)
    assert after.ce90 / GSD == pytest.approx(0.1 * 2.146, rel=0.25)  # 90 % of a circular normal distribution


def test_a_model_that_makes_check_points_worse_is_refused():
    points = tie_points(lambda uv: np.zeros_like(uv), n=400, noise_px=0.1)
    fitted = fit(points, FitOptions(model="translation"))
    with pytest.raises(VerificationError, match=r"further from the reference, by 0\.5"):
        verify(moved_by(fitted, 0.5))
    assert verify(moved_by(fitted, 0.02))[2].n == verify(fitted)[2].n


def moved_by(fitted, east_px):
    """The fit with a translation for its model, and what its check points say of that."""
    model = Translation((0.0, 0.0), 1.0, np.array([[east_px * GSD, 0.0]]))
    wrong = replace(fitted, model=model)
    return replace(wrong, withheld_xy=np.where(np.isnan(fitted.withheld_xy), np.nan, wrong.residual()))


def test_statistics_follow_their_definitions():
    residual = np.array([[1.0, 2.0], [3.0, -2.0], [2.0, 0.0]])
    a = residual_statistics(residual, gsd=2.0)
    assert (a.n, a.bias_x, a.bias_y) == (3, 2.0, 0.0)
    assert a.rmse == pytest.approx(np.hypot(a.rmse_x, a.rmse_y))
    assert a.ce90 == pytest.approx(np.percentile(np.hypot(*residual.T), 90))


def test_chance_follows_the_binomial_law():
    assert log10_binomial_tail(0, 5, 0.1) == 0
    assert log10_binomial_tail(2, 2, 0.1) == pytest.approx(-2)
    assert log10_binomial_tail(1, 2, 0.5) == pytest.approx(np.log10(0.75))
    assert log10_binomial_tail(500, 500, 1e-3) == -300
    assert [log10_binomial_tail(k, 3, p) for k, p in ((1, 1.0), (1, 0.0), (4, 0.5))] == [0, -300, -300]


@given(st.integers(1, 3000), st.floats(0, 1), st.floats(-6, -0.01))
def test_chance_is_that_of_scipy(n, share, log10_p):
    k = int(share * n)
    tail = special.bdtrc(k - 1, n, 10**log10_p) if k else 1.0
    if tail > 1e-290:
        assert log10_binomial_tail(k, n, 10**log10_p) == pytest.approx(np.log10(tail), abs=1e-9)


@given(st.floats(0.1, 500), st.floats(0, 30))
def test_exceeding_chi_square_is_that_of_scipy(freedom, ratio):
    assert chi2_exceeded(ratio * freedom, freedom) == pytest.approx(special.chdtrc(freedom, ratio * freedom), abs=1e-9)
    assert chi2_exceeded(-1.0, freedom) == 1


@pytest.mark.parametrize("kind", LADDER.values())
def test_shared_starts_change_no_fit(kind):
    points = tie_points(affine, outliers=0.3)
    starts = Starts(points, seed=3)
    for other in (Affine, Translation):
        robust_fit(points, other, 3, starts)
    shared, own = robust_fit(points, kind, 3, starts), robust_fit(points, kind, 3)
    assert shared.model == own.model
    assert (shared.member == own.member).all()


def test_every_model_needs_as_many_points_as_it_has_terms():
    assert [model.n_terms() for model in LADDER.values()] == [1, 2, 3, 4, 6, 10, 16]
    assert Affine.n_terms() == 3


def test_few_check_points_that_are_put_a_quarter_further_away_refuse_however_they_scatter():
    """One of eight is moved by a pixel, which eight points do not tell from chance."""
    fitted = fit(tie_points(shift, n=400), FitOptions(model="translation"))
    check = np.flatnonzero(fitted.role == Role.CHECK)[:: (fitted.role == Role.CHECK).sum() // 8][:8]
    withheld = np.full(fitted.withheld_xy.shape, np.nan)
    near = 0.2 * GSD * np.array([1.0, 0.0])
    withheld[check] = near
    ref_xy = fitted.points.ref_xy.copy()
    ref_xy[check] = fitted.points.tgt_xy[check] + near
    points = replace(fitted.points, ref_xy=ref_xy)
    same = replace(fitted, points=points, withheld_xy=withheld)
    assert verify(same)[2].n == 8, "as far as before is no harm"
    worse = withheld.copy()
    worse[check[0]] = 0.95 * GSD * np.array([0.0, 1.0])
    with pytest.raises(VerificationError, match="further from the reference"):
        verify(replace(same, withheld_xy=worse))
