"""The laws of the choice: the class of the truth or as good a one, whatever moved with the clouds, and a table that says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_fit import CENTRE, GSD, affine, bent, rms_error_px, shift
from test_local import clouded, tie_points, waves

from georeg.choice import CAP, N_BLOCK_CLASSES, Comparison, blocks, chosen, tried, truncated, withheld_class
from georeg.errors import FitError
from georeg.fit import Role, fit
from georeg.models import LADDER, Affine, Polynomial2, Similarity, Translation
from georeg.options import FitOptions


def similarity(uv):
    return shift(uv) + uv @ np.array([[0.6, 0.9], [-0.9, 0.6]])


def homography(uv):
    """Of a scene of 1000 px: it bends by about 2 px."""
    return (1000 * uv @ (np.eye(2) + 0.002) + [2, 3]) / (1 + uv @ [0.004, -0.003])[:, None] - 1000 * uv


def cubic(uv):
    u, v = uv.T
    return bent(uv) + 2 * np.stack([u**3 - 1.2 * u * v**2, v**3], axis=1)


TRUTHS = {
    "translation": shift,
    "similarity": similarity,
    "affine": affine,
    "homography": homography,
    "polynomial2": bent,
    "polynomial3": cubic,
    "local": waves,
}


def off_px(points, truth):
    """(N,) distance of the displacements from the truth."""
    return np.hypot(*(points.displacement / GSD - truth((points.tgt_xy - CENTRE) / 5000)).T)


def test_a_shift_is_a_translation_in_nineteen_of_twenty():
    times = {100: 14, 225: 12, 400: 4}
    runs = [(n, outliers, seed) for n in times for outliers in (0, 0.3) for seed in range(times[n])]
    kinds = [fit(tie_points(shift, n=n, outliers=outliers, seed=seed)).model.kind for n, outliers, seed in runs]
    assert len(kinds) == 60
    assert kinds.count("translation") >= 57


@pytest.mark.parametrize("kind", TRUTHS)
def test_the_class_of_the_truth_is_chosen_or_one_as_good(kind):
    """Within 0.01 px over the whole scene of the truth's own class, fitted to the consistent ones of the same points."""
    for seed in range(4):
        points = tie_points(TRUTHS[kind], n=225, outliers=0.3 * (seed % 2), seed=seed)
        fitted = fit(points)
        best = points.subset((fitted.role != Role.CHECK) & (off_px(points, TRUTHS[kind]) < 0.3))
        ideal = LADDER[kind].fit(best.tgt_xy, best.ref_xy, np.linalg.inv(best.cov))
        assert rms_error_px(fitted.model, TRUTHS[kind]) < rms_error_px(ideal, TRUTHS[kind]) + 0.01
        by_kind = {candidate.kind: candidate for candidate in fitted.candidates}
        assert by_kind[fitted.model.kind].freedom <= by_kind[kind].freedom + 4


@pytest.mark.parametrize("kind", ["translation", "affine", "homography", "polynomial2"])
@pytest.mark.parametrize("moved_px", [(3.0, 0.0), (-2.0, 2.2)])
def test_a_cloud_that_moved_buys_no_richer_model(kind, moved_px):
    for seed in range(2):
        points, cloud = clouded(tie_points(TRUTHS[kind], n=400, outliers=0.2 * seed, seed=seed), moved_px)
        fitted = fit(points)
        freedom = {candidate.kind: candidate.freedom for candidate in fitted.candidates}
        assert freedom[fitted.model.kind] <= 2 * LADDER[kind].n_terms() * (1 if kind != "homography" else 1.5)
        assert not (cloud & (fitted.role == Role.FIT)).any()
        assert rms_error_px(fitted.model, TRUTHS[kind]) < 0.05


def test_a_bend_too_small_to_matter_is_not_bought():
    """However plainly it shows: pixels would have to be interpolated for it. Ten times as much is worth that."""

    def bow(size_px):
        return lambda uv: affine(uv) + size_px * np.stack([uv[:, 1] ** 2, uv[:, 0] ** 2], axis=1)

    for size_px, kind in ((0.03, "affine"), (0.3, "polynomial2")):
        fitted = fit(tie_points(bow(size_px), n=900, noise_px=0.02))
        table = {candidate.kind: candidate for candidate in fitted.candidates}
        assert fitted.model.kind == kind
        assert table["affine"].aicc > 30  # which is plain


def test_the_table_has_every_model_and_its_errors_where_there_are_no_points_of_its_own():
    """The true class and richer ones leave the noise of 0.05 px per axis, simpler ones what they cannot describe."""
    fitted = fit(tie_points(bent, n=400, outliers=0.1))
    table = {candidate.kind: candidate for candidate in fitted.candidates}
    assert list(table) == list(LADDER)
    assert fitted.model.kind == "polynomial2"
    assert [table[kind].freedom for kind in LADDER if kind != "local"] == [2, 4, 6, 8, 12, 20]
    assert table["local"].freedom > 20
    cv, check = ([getattr(candidate, name) for candidate in table.values()] for name in ("cv_rmse_px", "check_rmse_px"))
    for errors in (cv, check):
        assert min(errors[:4]) > 2 * errors[4]  # a mismatch counts as three times the typical error: 0.1 px at least
        assert errors[4] < errors[5] * 1.02
    assert all(candidate.flaw is None for candidate in table.values())


def test_errors_in_the_table_are_of_the_noise_where_there_are_no_mismatches():
    for noise_px in (0.1, 0.3):
        table = {c.kind: c for c in fit(tie_points(affine, n=900, noise_px=noise_px)).candidates}
        for error_px in (table["affine"].cv_rmse_px, table["affine"].check_rmse_px):
            assert error_px == pytest.approx(noise_px * np.sqrt(2), rel=0.12)


def test_aicc_is_a_difference_that_leads_to_the_truth():
    tables = [{c.kind: c.aicc for c in fit(tie_points(affine, n=225, seed=seed)).candidates} for seed in range(6)]
    assert all(min(table.values()) == 0 for table in tables)
    mean = {kind: float(np.mean([table[kind] for table in tables])) for kind in LADDER}
    assert mean["affine"] < 3
    assert mean["similarity"] > 100
    assert 0 < mean["homography"] < mean["polynomial2"] < mean["polynomial3"]


def test_each_unknown_too_many_costs_one_of_aicc():
    """Twice that is the penalty, of which chance makes up one: in the mean, and a little more where points are few."""
    tables = [{c.kind: c for c in fit(tie_points(affine, n=225, seed=seed)).candidates} for seed in range(10)]
    n = 2 * 0.8 * 225  # coordinates that are not withheld to check
    for kind in ("homography", "polynomial2", "polynomial3"):
        more, least = tables[0][kind].freedom + 3, 6 + 3
        penalty = 2 * more * n / (n - more - 1) - 2 * least * n / (n - least - 1)
        cost = np.mean([table[kind].aicc - table["affine"].aicc for table in tables])
        chance = more - least
        assert cost == pytest.approx(penalty - chance, abs=4 * np.sqrt(2 * chance / len(tables)))


def test_a_gain_must_be_significant_in_the_mean_in_most_blocks_and_relevant():
    """Of 64 blocks of three points: everywhere; in nine alone, as of a cloud; in most, but lost in few; and too little."""
    points = tie_points(shift, n=196)
    trial = tried(points, blocks(points), [Translation], seed=0)[0]
    block = np.repeat(np.arange(64), 3)

    def improves(gain, relevant_px=0.0):
        losses = np.stack([np.ones(192), 1 + np.repeat(gain, 3)])
        return Comparison([trial, trial], losses, np.ones(192), block).improves(0, 1, relevant_px)

    jitter = 0.02 * np.random.default_rng(0).normal(size=64)
    few = np.arange(64) % 7 == 0
    assert improves(0.1 + jitter)
    assert not improves(-0.1 + jitter)
    assert not improves(np.where(few, 0.9, -0.01))
    assert not improves(np.where(few, -0.9, 0.01))
    assert improves(np.where(few, 0.0, 0.01))
    assert not improves(0.01 + jitter / 10, relevant_px=0.2)
    assert improves(0.09 + jitter / 10, relevant_px=0.2)


def test_of_one_model_asked_for_there_is_nothing_to_compare():
    (only,) = fit(tie_points(affine), FitOptions(model="affine")).candidates
    assert (only.kind, only.freedom, only.cv_rmse_px, only.aicc) == ("affine", 6, None, None)


def test_the_check_error_is_of_points_that_no_model_saw():
    """Moved all alike, they say so of every candidate, and change nothing else."""
    points = tie_points(affine, n=400, noise_px=0.1)
    fitted = fit(points)
    moved = points.ref_xy + (fitted.role == Role.CHECK)[:, None] * np.array([0.2, 0.0]) * GSD
    again = fit(replace(points, ref_xy=moved))
    before, after = ({c.kind: c for c in f.candidates} for f in (fitted, again))
    assert again.model == fitted.model
    for kind in ("affine", "polynomial2"):
        assert after[kind].cv_rmse_px == before[kind].cv_rmse_px
        assert after[kind].check_rmse_px == pytest.approx(np.hypot(0.2, before[kind].check_rmse_px), rel=0.12)


def test_blocks_share_out_the_points_evenly():
    points = tie_points(shift, n=900)
    block = blocks(points)
    share = np.bincount(block % N_BLOCK_CLASSES) / len(block)
    assert len(share) == N_BLOCK_CLASSES
    assert share.min() > 0.12
    assert 60 <= len(np.unique(block)) <= 140
    for number in np.unique(block)[:20]:  # each is one place
        assert np.ptp(points.ref_xy[block == number], axis=0).max() < 0.2 * np.ptp(points.ref_xy, axis=0).max()
    held = withheld_class(block)
    assert share[held] == min(share, key=lambda one: abs(one - 1 / N_BLOCK_CLASSES))


def test_a_mismatch_costs_all_models_alike():
    """So that it decides nothing; what is none counts in full, by how well it is known."""
    error2 = np.array([[0.01, 0.04, 1e4], [0.02, 0.0, np.inf]])
    loss = truncated(error2, 0.2, np.array([1.0, 0.5, 1.0]))
    np.testing.assert_allclose(loss, [[0.01, 0.02, (CAP * 0.2) ** 2], [0.02, 0.0, (CAP * 0.2) ** 2]])


def test_few_points_take_the_simplest_model():
    """Even where nine would take the similarity that they show."""
    points = tie_points(lambda uv: 0.1 * similarity(uv), n=9, noise_px=0.01)
    for n, kind in ((7, Translation), (9, Similarity)):
        few = points.subset(np.arange(9) < n)
        trials = tried(few, blocks(few), [Translation, Similarity], seed=0)
        assert len(trials) == 2
        assert chosen(trials, blocks(few), few)[0].kind is kind


def test_a_model_that_does_not_describe_all_blocks_is_not_compared():
    points = tie_points(bent, n=400)
    block = blocks(points)
    richer = tried(points, block, [Polynomial2], seed=0)[0]
    trials = tried(points, block, [Translation, Affine], seed=0)
    assert chosen([*trials, richer], block, points)[0].kind is Polynomial2
    gap = np.where(np.arange(len(points)) == 7, np.inf, richer.error2)
    assert chosen([*trials, replace(richer, error2=gap)], block, points)[0].kind is Affine


@pytest.mark.parametrize("kind", ["translation", "affine", "polynomial2"])
@pytest.mark.parametrize("moved_px", [(6.0, 0.0), (-3.6, 4.8)])
def test_a_second_group_is_reported_with_its_number_and_displacement(kind, moved_px):
    points, ships = clouded(tie_points(TRUTHS[kind], n=400, outliers=0.1), moved_px)
    ships &= off_px(points, lambda uv: TRUTHS[kind](uv) + moved_px) < 0.3  # but those that are mismatches
    fitted = fit(points, FitOptions(model=kind))
    offered = ships & (fitted.role != Role.CHECK)
    assert fitted.second is not None
    assert fitted.second.n == pytest.approx(offered.sum(), abs=3)
    assert np.array(fitted.second.displacement) / GSD == pytest.approx(moved_px, abs=0.1)
    assert any(f"{fitted.second.n} tie points agree on another displacement" in said for said in fitted.warnings)


def test_mismatches_are_no_second_group():
    for seed in range(4):
        fitted = fit(tie_points(affine, n=400, outliers=0.4, seed=seed), FitOptions(model="affine"))
        assert fitted.second is None
        assert fitted.warnings == ()


@pytest.mark.parametrize("kind", ["auto", "translation", "affine"])
def test_a_second_group_as_large_as_the_first_is_refused(kind):
    points = tie_points(shift, n=400)
    west = points.tgt_xy[:, 0] < np.quantile(points.tgt_xy[:, 0], 0.4)
    moved = replace(points, ref_xy=points.ref_xy + west[:, None] * np.array([6.0, 0.0]) * GSD)
    with pytest.raises(FitError, match=r"ambiguous.*\((\+6\.0|\+5\.9)\d, [+-]0\.0\d\) px from it"):
        fit(moved, FitOptions(model=kind))
