"""The laws of the guard: no model is used on ground where it folds, runs away or is uncertain, for want of tie points there."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from test_choice import cubic
from test_fit import CENTRE, GSD, affine, bent, rms_error_px, shift
from test_local import tie_points

from georeg.choice import blocks, chosen, tried
from georeg.errors import FitError
from georeg.extrapolation import HARMLESS_BEND_PX, MAX_BEND_RATIO, MAX_SIGMA_PX, WARN_SIGMA_PX, flaw, largest_sigma_px
from georeg.fit import Role, fit
from georeg.models import LADDER, Affine, Homography, Local, Polynomial2, Polynomial3
from georeg.options import FitOptions

HALF_M = 5000.0
CORNERS_UV = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])


def on_ground(points, reach=1.0):
    """The points on ground whose outline is known."""
    return replace(points, outline_xy=CENTRE + HALF_M * reach * CORNERS_UV)


def in_one_quadrant(truth, reach=1.0, **options):
    """Tie points in the southwest alone."""
    points = tie_points(truth, **options)
    return on_ground(points.subset((points.tgt_xy < CENTRE).all(axis=1)), reach)


def lattice(reach=1.0):
    line = np.linspace(-reach, reach, 15)
    return CENTRE + HALF_M * np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("kind", ["polynomial2", "polynomial3"])
def test_a_model_that_is_open_where_there_are_no_points_is_refused(kind):
    """With the deviation that fits to other noise have in the farthest corner."""
    reach = 1.5
    with pytest.raises(FitError, match=f"refused: the {kind} model.*choose a simpler --model") as refused:
        fit(in_one_quadrant(shift, reach, n=400, noise_px=0.3), FitOptions(model=kind))
    said = re.search(r"uncertain by ([\d.]+) px where there are no tie points, at most ([\d.]+) px", str(refused.value))
    assert said is not None
    assert float(said[2]) == MAX_SIGMA_PX < float(said[1])
    corner_xy, there = CENTRE + HALF_M * reach * CORNERS_UV[[2]], []
    for seed in range(60):
        points = in_one_quadrant(shift, n=400, noise_px=0.3, seed=seed)
        there.append(LADDER[kind].fit(points.tgt_xy, points.ref_xy).displacement(corner_xy)[0] / GSD)
    across_px = np.sqrt(np.linalg.eigvalsh(np.cov(np.transpose(there))).mean())
    assert float(said[1]) == pytest.approx(across_px, rel=0.35)


def test_a_model_that_runs_away_is_refused():
    """It is certain of its bend, but has seen no more than a corner of that."""
    with pytest.raises(FitError, match="refused: the polynomial2 model") as refused:
        fit(in_one_quadrant(bent, n=1600), FitOptions(model="polynomial2"))
    said = re.search(r"bends the ground by ([\d.]+) px .*by no more than ([\d.]+) px among them", str(refused.value))
    assert said is not None
    beyond_px, among_px = (float(number) for number in said.groups())
    assert beyond_px > MAX_BEND_RATIO * among_px + HARMLESS_BEND_PX
    # the truth itself departs so much from the plane that fits it in the southwest
    points = in_one_quadrant(bent, n=1600, noise_px=1e-6)
    plane = Affine.fit(points.tgt_xy, points.ref_xy)
    for xy, found_px in ((CENTRE + HALF_M * CORNERS_UV, beyond_px), (points.tgt_xy, among_px)):
        departs_px = np.hypot(*((plane.displacement(xy) / GSD) - bent((xy - CENTRE) / HALF_M)).T).max()
        assert found_px == pytest.approx(departs_px, rel=0.25)


@pytest.mark.parametrize(("truth", "noise_px"), [(bent, 0.05), (bent, 0.3), (cubic, 0.05), (cubic, 0.3)])
def test_auto_takes_another_model_and_says_so(truth, noise_px):
    fitted = fit(in_one_quadrant(truth, n=400, noise_px=noise_px))
    flawed = [candidate for candidate in fitted.candidates if candidate.flaw]
    assert "polynomial2" in [candidate.kind for candidate in flawed]
    assert fitted.model.kind not in [candidate.kind for candidate in flawed]
    said = [warning for warning in fitted.warnings if "describes the tie points better, but" in warning]
    assert len(said) == len(flawed)
    for candidate in flawed:
        (warning,) = (w for w in said if w.startswith(f"the {candidate.kind} model"))
        assert candidate.flaw in warning
        assert warning.endswith(f"the {fitted.model.kind} model is taken instead")
        assert re.search(r"\d px", warning)
    assert flaw(fitted.model, fitted.points.tgt_xy, fitted.points.everywhere_xy(), GSD) is None


@pytest.mark.parametrize("truth", [bent, cubic])
def test_what_is_set_aside_takes_no_part_in_the_choice_of_the_others(truth):
    """As if it had never been considered."""
    points = in_one_quadrant(truth, n=400)
    fitted = fit(points)
    sound = [LADDER[candidate.kind] for candidate in fitted.candidates if not candidate.flaw]
    offered = fitted.role != Role.CHECK
    used, block = points.subset(offered), blocks(points)[offered]
    assert fitted.model.kind == chosen(tried(used, block, sound, seed=0), block, used)[0].kind.kind


@pytest.mark.parametrize("kind", ["auto", "polynomial2", "polynomial3"])
@pytest.mark.parametrize("known", [True, False])
def test_points_all_over_hold_a_bend(kind, known):
    points = tie_points(bent, n=400)
    fitted = fit(on_ground(points) if known else points, FitOptions(model=kind))
    assert fitted.model.kind == (kind if kind != "auto" else "polynomial2")
    assert fitted.warnings == ()
    assert all(candidate.flaw is None for candidate in fitted.candidates)
    assert rms_error_px(fitted.model, bent) < 0.03


def test_where_the_ground_is_not_known_it_is_that_of_the_points():
    points = in_one_quadrant(bent, n=400)
    assert (
        fit(replace(points, outline_xy=np.zeros((0, 2))), FitOptions(model="polynomial2")).model.kind == "polynomial2"
    )


@pytest.mark.parametrize("kind", ["translation", "similarity", "affine"])
def test_an_affine_map_is_taken_anywhere_and_says_how_uncertain_it_is(kind):
    points = in_one_quadrant(shift, n=400, noise_px=0.3, reach=50.0)
    fitted = fit(points, FitOptions(model=kind))
    corners_px = fitted.model.covariance_at(points.outline_xy) / GSD**2
    sigma_px = np.sqrt(np.linalg.eigvalsh(corners_px).max())
    assert (sigma_px > WARN_SIGMA_PX) == (kind != "translation")
    said = [f"the {kind} model is uncertain by up to {sigma_px:.2g} px where there are no tie points"]
    assert [warning.split(";")[0] for warning in fitted.warnings] == (said if kind != "translation" else [])


@pytest.mark.parametrize("kind", ["auto", "local"])
def test_a_field_goes_on_as_the_affine_map_that_it_has_seen(kind):
    fitted = fit(in_one_quadrant(affine, n=400), FitOptions(model=kind))
    assert fitted.model.kind == (kind if kind != "auto" else "affine")
    assert rms_error_px(fitted.model, affine) < 0.1


def test_a_field_that_has_seen_a_bend_is_not_continued():
    with pytest.raises(FitError, match=r"refused: the local model.*\d px where there are no tie points"):
        fit(in_one_quadrant(bent, n=400), FitOptions(model="local"))


def test_a_model_that_folds_on_the_ground_is_refused():
    """A bend of 10 px turns back 25 half sides away; no map that is not bent describes it."""

    def bowed(uv):
        return shift(uv) + 10 * uv**2

    near, far = (on_ground(tie_points(bowed, n=400, noise_px=0.01), reach) for reach in (1.2, 30.0))
    assert fit(near, FitOptions(model="polynomial2")).warnings == ()
    for kind in ("polynomial2", "auto"):
        with pytest.raises(FitError, match=r"refused: the polynomial2 model.*folds the ground over"):
            fit(far, FitOptions(model=kind))


def bowl(model, size_px):
    """A model of the kind, known exactly, with a bend by ``size_px`` at the border of the ground."""
    coefficients = np.zeros((len(model.exponents()), 2))
    coefficients[model.exponents().index((2, 0)), 0] = size_px * GSD
    return model(tuple(CENTRE), HALF_M, coefficients)


@pytest.mark.parametrize("model", [Polynomial2, Polynomial3])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_fold_is_seen_wherever_it_is(model, side):
    """x + 300 u² px turns back at u = −0.83: among the points or off them."""
    folding, sound = bowl(model, 300 * side), bowl(model, 200 * side)
    everywhere_xy = lattice()
    for seen in (everywhere_xy, everywhere_xy[side * (everywhere_xy - CENTRE)[:, 0] > -0.5 * HALF_M]):
        assert "folds" in str(flaw(folding, seen, everywhere_xy, GSD))
        assert "folds" not in str(flaw(sound, seen, everywhere_xy, GSD))
    off_it = everywhere_xy[side * (everywhere_xy - CENTRE)[:, 0] > -0.5 * HALF_M]
    assert flaw(folding, off_it, off_it, GSD) is None


def test_a_horizon_on_the_ground_is_seen():
    for perspective, said in ((0.9, "has no place for it"), (0.4, None)):
        matrix = np.array([[1.0, 0, 0], [0, 1, 0], [perspective, 0.2, 1]])
        model = Homography(tuple(CENTRE), HALF_M, matrix, np.zeros((8, 8)))
        assert str(flaw(model, lattice(), lattice(), GSD)).endswith(str(said))


@pytest.mark.parametrize("size_px", [0.4, 4.0])
def test_a_bend_must_have_been_seen_or_be_harmless(size_px):
    """In the western tenth it is a hundredth of what it is over all."""
    model, everywhere_xy = bowl(Polynomial2, size_px), lattice()
    west = CENTRE + HALF_M * np.random.default_rng(0).uniform((-1, -1), (-0.8, 1), (100, 2))
    said = flaw(model, west, everywhere_xy, GSD)
    assert (said is None) == (size_px < HARMLESS_BEND_PX / 3)
    assert flaw(model, everywhere_xy, everywhere_xy, GSD) is None


@pytest.mark.parametrize("sigma_px", [0.9 * MAX_SIGMA_PX, 1.1 * MAX_SIGMA_PX])
def test_an_uncertain_model_is_seen_in_its_worst_direction_and_place(sigma_px):
    """Of a bend that is known along the diagonal to so much at the border, and to a quarter of that halfway."""
    model = bowl(Polynomial2, 0.0)
    covariance = np.zeros((12, 12))
    first = 2 * model.exponents().index((2, 0))
    covariance[first : first + 2, first : first + 2] = (sigma_px * GSD) ** 2 * np.array([[0.5, 0.5], [0.5, 0.5]])
    vague = replace(model, covariance=covariance)
    said = flaw(vague, lattice(), lattice(), GSD)
    assert (said is None) == (sigma_px < MAX_SIGMA_PX)
    assert said is None or f"uncertain by {sigma_px:.2g} px" in said
    assert flaw(vague, lattice(), lattice(0.5), GSD) is None


def test_nothing_is_wrong_with_an_affine_map_or_where_there_is_no_ground():
    mirror = Affine(tuple(CENTRE), HALF_M, np.array([[0.0, 0.0], [-2 * HALF_M, 0.0], [0.0, 0.0]]))
    assert flaw(mirror, lattice(), lattice(), GSD) is None
    assert flaw(bowl(Polynomial2, 4.0), lattice(), np.zeros((0, 2)), GSD) is None


def test_a_local_field_may_be_uncertain_but_not_run_away():
    points = tie_points(bent, n=100)
    fitted = Local.fit(points.tgt_xy, points.ref_xy, np.linalg.inv(points.cov))
    vague = fitted.less_certain((2 * MAX_SIGMA_PX * GSD) ** 2)
    assert flaw(fitted, points.tgt_xy, lattice(), GSD) is None
    assert flaw(vague, points.tgt_xy, lattice(), GSD) is None
    assert largest_sigma_px(vague, lattice(), GSD) > 2 * MAX_SIGMA_PX
    assert "bends" in str(flaw(fitted, points.tgt_xy, lattice(4.0), GSD))


def test_the_largest_deviation_is_that_of_the_worst_place_and_direction():
    points = in_one_quadrant(shift, n=100)
    fitted = Affine.fit(points.tgt_xy, points.ref_xy, np.linalg.inv(points.cov * [[4, 1.5], [1.5, 1]]))
    largest = max(np.linalg.eigvalsh(one).max() for one in fitted.covariance_at(lattice()))
    assert largest_sigma_px(fitted, lattice(), GSD) == pytest.approx(np.sqrt(largest) / GSD)
    assert largest_sigma_px(fitted, np.zeros((0, 2)), GSD) == 0
