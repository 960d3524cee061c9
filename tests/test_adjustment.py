"""The joint adjustment: corrections of many scenes from tie points of pairs that are made, with what they err by known."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from itertools import combinations

import numpy as np
import pytest

from georeg.adjustment import adjust, doubts, with_common_noise
from georeg.errors import FitError
from georeg.graph import links, parts, triangles, unlikeness
from georeg.models.polynomial import Affine, Polynomial2, Translation
from georeg.network import Frame, Network, Ties, condense, misclosure_px

GSD = 10.0
CENTRE, REACH = np.array([500_000.0, 5_000_000.0]), 60_000.0


def made(
    n=10, n_points=100, kind=Affine, seed=0, sigma=0.5, pair_sigma=0.0, shared=0.0, bad=(), pairs=None, datum=True
):
    """Frame, true coefficients and ties: what pairs err by, and of the tie points' noise the share that is the scenes' own."""
    rng = np.random.default_rng(seed)
    frame = Frame(kind, (CENTRE[0], CENTRE[1]), 40_000.0)
    truth = rng.normal(size=(n, frame.n_terms)) * 20
    truth -= truth[0] if datum else truth.mean(axis=0)
    ground = rng.uniform(-REACH, REACH, (n_points, 2)) + CENTRE
    own = rng.normal(size=(n, n_points, 2)) * sigma / np.sqrt(2)

    def seen(scene):
        xy = ground.copy()
        for _ in range(20):
            xy = ground - frame.rows(xy) @ truth[scene]
        return xy

    ties = []
    for i, j in pairs or combinations(range(n), 2):
        ref_xy, tgt_xy = seen(i), seen(j)
        effect = rng.normal(size=frame.n_terms) * pair_sigma
        if (i, j) in bad:
            effect[:2] += (0.3 * GSD, -0.2 * GSD)
        noise = np.sqrt(shared) * (own[i] - own[j]) + np.sqrt(1 - shared) * rng.normal(size=(n_points, 2)) * sigma
        ref_xy = ref_xy + noise + frame.rows(tgt_xy) @ effect
        ties.append(Ties(i, j, ref_xy, tgt_xy, np.broadcast_to(np.eye(2) / sigma**2, (n_points, 2, 2)).copy()))
    return frame, truth, ties


def network(frame, n, kinds=None, datum=True):
    kinds = kinds or [frame.kind] * n
    return Network(
        frame,
        (None if datum else kinds[0], *kinds[1:]),
        np.zeros((n, frame.n_terms)),
        np.zeros((n, frame.n_terms, frame.n_terms)),
    )


def adjusted(frame, ties, n=10, datum=True, kinds=None):
    return with_common_noise(adjust(network(frame, n, kinds, datum), condense(frame, ties), GSD))


def z(found, truth, datum=True):
    """Root mean square of errors in their stated standard deviations."""
    own, error = found.solution.own(), found.solution.theta - truth
    each = [e @ np.linalg.pinv(c, rcond=1e-9, hermitian=True) @ e / len(e) for e, c in zip(error, own, strict=True)]
    return float(np.sqrt(np.mean(each[1:] if datum else each)))


def test_exact_tie_points_give_exact_corrections_also_of_turned_scenes():
    frame, truth, ties = made(sigma=1e-6, kind=Polynomial2)
    found = adjusted(frame, ties)
    np.testing.assert_allclose(found.solution.theta, truth, atol=1e-6)


def test_without_a_reference_the_mean_of_all_corrections_is_none():
    frame, truth, ties = made(datum=False, sigma=1e-6)
    found = adjusted(frame, ties, datum=False)
    np.testing.assert_allclose(found.solution.theta.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(found.solution.theta, truth, atol=1e-5)


@pytest.mark.parametrize("datum", [True, False])
@pytest.mark.parametrize("regime", [{}, {"pair_sigma": 2.0}, {"shared": 1.0}, {"shared": 0.5}])
def test_stated_uncertainty_is_that_of_the_errors_whatever_pairs_err_by(regime, datum):
    """Noise of tie points, of pairs as wholes, or of scenes, which no loop shows."""
    found = []
    for seed in range(10):
        frame, truth, ties = made(seed=seed, datum=datum, **regime)
        found.append(z(adjusted(frame, ties, datum=datum), truth, datum))
    assert 0.8 < np.sqrt(np.mean(np.square(found))) < 1.25


@pytest.mark.parametrize("seed", range(4))
def test_a_pair_that_contradicts_the_others_is_found_and_has_no_say(seed):
    frame, _, ties = made(seed=seed, pair_sigma=0.3, bad=[(2, 5)])
    found = adjusted(frame, ties)
    assert [(t.ref, t.tgt) for t, good in zip(ties, found.good, strict=True) if not good] == [(2, 5)]
    away = misclosure_px(frame, found.evidence, found.solution.theta, GSD)
    assert 0.25 < away[~found.good].item() < 0.5, "its displacement is wrong by 0.36 px"
    without = adjusted(frame, [tie for tie in ties if (tie.ref, tie.tgt) != (2, 5)])
    np.testing.assert_allclose(found.solution.theta, without.solution.theta, atol=1e-9)
    assert not doubts(found, GSD), "all other pairs speak against any other choice"


def test_no_pair_is_accused_where_all_err_alike():
    accused = 0
    for seed in range(10):
        frame, _, ties = made(seed=seed, pair_sigma=1.0)
        accused += int((~adjusted(frame, ties).good).sum())
    assert accused <= 2, "of 450"


def test_where_nothing_tells_which_pair_is_wrong_there_is_doubt():
    """Scene 3 hangs on two pairs that contradict each other."""
    pairs = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]
    frame, _, ties = made(n=4, pairs=pairs, bad=[(1, 3)], sigma=0.1)
    found = adjusted(frame, ties, n=4)
    assert (~found.good).sum() == 1
    doubtful = doubts(found, GSD)
    assert doubtful[3].apart_px > 0.2
    assert 1 not in doubtful
    assert 2 not in doubtful


def test_a_chain_has_nothing_to_check_it_and_is_still_solved():
    frame, truth, ties = made(n=4, pairs=[(0, 1), (1, 2), (2, 3)], sigma=1e-6)
    found = adjusted(frame, ties, n=4)
    assert found.freedom == 0
    np.testing.assert_allclose(found.solution.theta, truth, atol=1e-6)
    sizes = np.trace(found.solution.own(), axis1=1, axis2=2)
    assert (np.diff(sizes) > 0).all(), "less is known of each further link"


def test_a_scene_that_no_pair_holds_is_refused():
    frame, _, ties = made(n=4, pairs=[(0, 1), (1, 2)])
    with pytest.raises(FitError, match="do not hold"):
        adjusted(frame, ties, n=4)


def test_scenes_may_have_models_of_different_kinds():
    frame, truth, ties = made(n=5, sigma=1e-6)
    truth_shift = truth.copy()
    truth_shift[3, 2:] = 0
    ground = np.random.default_rng(1).uniform(-REACH, REACH, (80, 2)) + CENTRE
    seen = []
    for scene in range(5):
        xy = ground.copy()
        for _ in range(20):
            xy = ground - frame.rows(xy) @ truth_shift[scene]
        seen.append(xy)
    ties = [
        replace(tie, ref_xy=seen[tie.ref], tgt_xy=seen[tie.tgt], precision=np.tile(np.eye(2), (80, 1, 1)))
        for tie in ties
    ]
    found = adjusted(frame, ties, n=5, kinds=[Affine, Affine, Affine, Translation, Affine])
    np.testing.assert_allclose(found.solution.theta, truth_shift, atol=1e-5)
    assert not found.solution.theta[3, 2:].any()


def test_fifty_dates_five_hundred_pairs_two_hundred_points_take_seconds():
    rng = np.random.default_rng(3)
    every = [(i, j) for i in range(50) for j in range(i + 1, 50)]
    pairs = sorted({(0, j) for j in range(1, 50)} | {every[k] for k in rng.choice(len(every), 470, replace=False)})[
        :500
    ]
    frame, truth, ties = made(n=50, n_points=200, pairs=pairs, pair_sigma=0.5)
    began = time.process_time()
    found = adjusted(frame, ties, n=50)
    assert time.process_time() - began < 20, "5 s where nothing else runs"
    assert z(found, truth) < 1.3


def test_links_join_all_scenes_and_stay_few():
    rng = np.random.default_rng(0)
    unlike = np.abs(rng.normal(size=(40, 1)) - rng.normal(size=(1, 40)))
    unlike = unlike + unlike.T
    shared = np.ones((40, 40), bool)
    found = links(unlike, shared, 6, None)
    assert len(set(parts(40, found))) == 1
    assert 40 <= len(found) <= 40 * 6
    anchored = links(unlike, shared, 6, 0)
    assert {(0, k) for k in range(1, 40)} <= set(anchored)


def test_scenes_that_share_no_ground_are_not_linked():
    shared = np.zeros((4, 4), bool)
    shared[:2, :2] = shared[2:, 2:] = True
    found = links(np.ones((4, 4)), shared, 8, None)
    assert found == [(0, 1), (2, 3)]
    assert parts(4, found).tolist() == [0, 0, 1, 1]


def test_scenes_of_one_season_are_alike():
    unlike = unlikeness([datetime(2019, 7, 1), datetime(2020, 1, 1), datetime(2021, 7, 2)])
    assert unlike[0, 2] < unlike[0, 1]
    assert unlike[0, 2] < unlike[1, 2]


def test_triangles_are_those_of_given_pairs():
    assert triangles([(0, 1), (1, 2), (0, 2), (2, 3)]) == [(0, 1, 2)]
