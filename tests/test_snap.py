"""One tie point measured where somebody points: the same displacement as the search finds, or a refusal in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import georeg
from georeg.cli import main
from georeg.errors import InputError, MatchError
from georeg.tie_points import Status

ROOT = Path(__file__).resolve().parents[1]
TRUTH = json.loads((ROOT / "sample_tiles" / "truth.json").read_text())["pairs"]["shift"]
TRUE_XY = (TRUTH["model"]["coefficients_x"][0], TRUTH["model"]["coefficients_y"][0])
GSD = TRUTH["gsd_m"]


def place(alignment: georeg.Alignment, k: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Of a tie point, in the reference and in the target."""
    return alignment.points.ref_xy[k], alignment.points.tgt_xy[k]


@pytest.mark.parametrize("click_px", [(0, 0), (9, -6), (-8, 8)])
def test_a_click_near_a_feature_finds_the_exact_displacement(
    shift_alignment: georeg.Alignment, click_px: tuple[float, float]
) -> None:
    ref_xy, tgt_xy = place(shift_alignment)
    near = tgt_xy + GSD * np.array(click_px)
    one = georeg.snap(shift_alignment.points, tuple(ref_xy), tuple(near), model=shift_alignment.fitted.model)
    assert len(one) == 1
    assert one.kept.all()
    np.testing.assert_allclose(one.displacement[0], TRUE_XY, atol=0.1 * GSD)
    assert np.hypot(*(one.ref_xy[0] - ref_xy)) < one.window_px / 2 * GSD


def test_its_covariance_says_how_far_it_may_be_from_the_truth(shift_alignment: georeg.Alignment) -> None:
    """The squared error over its covariance is 2 in the mean, were there nothing but noise; ten times that is no covariance."""
    points, told = shift_alignment.points, []
    for k in range(0, len(points), 20):
        one = georeg.snap(points, tuple(points.ref_xy[k]), model=shift_alignment.fitted.model)
        error = one.displacement[0] - TRUE_XY
        told.append(error @ np.linalg.solve(one.cov[0], error))
    assert np.median(told) < 20


def test_without_a_model_or_a_place_in_the_target_the_other_tie_points_say_where(
    shift_alignment: georeg.Alignment,
) -> None:
    ref_xy, _ = place(shift_alignment)
    one = georeg.snap(shift_alignment.points, tuple(ref_xy))
    np.testing.assert_allclose(one.displacement[0], TRUE_XY, atol=0.1 * GSD)


def test_a_target_that_is_turned_is_compared_through_the_correction() -> None:
    pair = [str(ROOT / "sample_tiles" / f"affine_{side}.tif") for side in ("reference", "target")]
    if not all(Path(path).exists() for path in pair):
        pytest.skip("no such sample")
    alignment = georeg.align(*pair)
    kept = np.flatnonzero(alignment.points.kept)[5]
    one = georeg.snap(alignment.points, tuple(alignment.points.ref_xy[kept]), model=alignment.fitted.model)
    residual = one.ref_xy[0] - alignment.fitted.model(one.tgt_xy)[0]
    assert np.hypot(*residual) < 0.2 * alignment.points.gsd


@pytest.mark.parametrize("away_px", [(60, 0), (0, -200)])
def test_a_click_that_shows_no_feature_of_the_other_is_refused_in_words(
    shift_alignment: georeg.Alignment, away_px: tuple[float, float]
) -> None:
    ref_xy, tgt_xy = place(shift_alignment)
    near = tgt_xy + GSD * np.array(away_px)
    with pytest.raises(MatchError, match=r"no tie point near .*; point nearer"):
        georeg.snap(shift_alignment.points, tuple(ref_xy), tuple(near), model=shift_alignment.fitted.model)


def test_places_outside_and_places_that_are_none_are_refused(shift_alignment: georeg.Alignment) -> None:
    with pytest.raises(MatchError, match="too few valid pixels"):
        georeg.snap(shift_alignment.points, (0.0, 0.0), model=shift_alignment.fitted.model)
    with pytest.raises(InputError, match="finite"):
        georeg.snap(shift_alignment.points, (float("nan"), 0.0), model=shift_alignment.fitted.model)
    made = replace(shift_alignment.points, inputs=replace(shift_alignment.points.inputs, reference=""))
    with pytest.raises(InputError, match="no reference"):
        georeg.snap(made, (0.0, 0.0))


def test_one_more_tie_point_or_one_instead_changes_no_other(shift_alignment: georeg.Alignment) -> None:
    points = shift_alignment.points
    one = points.subset(np.arange(len(points)) == 3)
    more, instead = georeg.with_tie_point(points, one), georeg.with_tie_point(points, one, 8)
    assert more.subset(np.arange(len(more)) < len(points)) == points
    assert len(instead) == len(points)
    np.testing.assert_array_equal(instead.ref_xy[7], points.ref_xy[3])
    others = np.arange(len(points)) != 7
    assert instead.subset(others) == points.subset(others)
    with pytest.raises(InputError, match="no tie point 0"):
        georeg.with_tie_point(points, one, 0)


def test_the_verb_writes_what_fit_and_assess_take(shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    result, points, fit = (str(tmp_path / name) for name in ("result.json", "points.json", "fit.json"))
    Path(result).write_text(json.dumps(shift_alignment.to_dict()))
    ref_xy, tgt_xy = place(shift_alignment)
    at = ["--ref-xy", "{!r},{!r}".format(*ref_xy.tolist()), "--tgt-xy", "{!r},{!r}".format(*tgt_xy.tolist())]
    assert main(["snap", result, *at, "-o", points]) == 0
    written = json.loads(Path(points).read_text())
    assert written["snapped"]["number"] == len(shift_alignment.points) + 1
    assert len(written["status"]) == len(shift_alignment.points) + 1
    assert written["status"][-1] == Status.KEPT.name.lower()
    assert main(["fit", points, "-o", fit]) == 0
    assert main(["assess", fit]) == 0
    again = str(tmp_path / "again.json")
    assert main(["snap", points, *at, "--replaces", "3", "-o", again]) == 0
    assert len(json.loads(Path(again).read_text())["status"]) == len(shift_alignment.points) + 1


def test_the_verb_says_what_is_wrong_with_a_place(
    shift_alignment: georeg.Alignment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps(shift_alignment.to_dict()))
    assert main(["snap", str(result), "-o", str(tmp_path / "p.json")]) == 1
    assert "--ref-xy" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["snap", str(result), "--ref-xy", "1;2", "-o", str(tmp_path / "p.json")])
    assert "is not a place such as" in capsys.readouterr().err
    assert not (tmp_path / "p.json").exists()
