"""What can be done with a result in a real QGIS: points by hand, checkerboard, honest refits, history, Processing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "qgis"))

from desktop import SAMPLES, missing, play  # noqa: E402

pytestmark = pytest.mark.xdist_group("qgis")
TRUTH = json.loads((SAMPLES / "truth.json").read_text())["pairs"]["shift"]
TRUE_XY = (TRUTH["model"]["coefficients_x"][0], TRUTH["model"]["coefficients_y"][0])

Found = dict[str, Any]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the session that ``qgis/driven_results.py`` plays has found."""
    if absent := missing():
        pytest.skip(f"{', '.join(absent)} not installed")
    seen = play(tmp_path_factory.mktemp("results"), session="driven_results")
    assert "error" not in seen, seen["error"]
    return seen


def test_nothing_goes_wrong_in_python_and_the_window_stays_free(found: Found) -> None:
    assert found["python_errors"] == []
    own = set(found["busy_s"]) - {"start", "reopen"}  # in which QGIS itself loads and reads
    assert {phase: seconds for phase, seconds in found["busy_s"].items() if phase in own and seconds > 0.3} == {}


def test_a_checkerboard_shows_the_worst_place_pixel_by_pixel_and_goes(found: Found) -> None:
    board = found["board"]
    assert (board["where"], board["shown"]) == ("squares", True)
    assert board["pixel"] == pytest.approx(1.0, abs=0.02)  # pixels of the raster in one of the screen
    assert board["then"] == ["left", False]  # swiping takes its place
    assert board["gone"]


def test_tie_points_are_kept_in_a_file_beside_the_output(found: Found) -> None:
    assert found["beside"] == ["shift_target_aligned_tie_points.gpkg"]
    assert [(kind, valid) for _, kind, _, valid in found["dots"]] == [("ogr", True)] * 2
    assert all(n == found["added"]["n"] for _, _, n, _ in found["dots"])
    assert all(n >= 2 for n in found["categories"])  # check points and those of the fit


def test_two_clicks_make_a_tie_point_that_is_measured_exactly(found: Found) -> None:
    assert "target" in found["hand_1"]
    assert "reference" in found["hand_2"]
    assert found["hand_looks"] == [found["hand_1"], found["hand_2"]]  # on the map as well
    added = found["added"]
    assert added["number"] == added["n"] + 1
    displacement = np.subtract(added["ref_xy"], added["tgt_xy"])  # the clicks were 7 px apart from it
    np.testing.assert_allclose(displacement, TRUE_XY, atol=0.1 * TRUTH["gsd_m"])
    assert found["row"] == [added["number"], "by hand"]
    assert "1 by hand" in found["refit_text"]


def test_an_end_that_is_dragged_is_measured_anew_and_can_be_taken_back(found: Found) -> None:
    assert found["moved"] == [found["moved"][1], found["moved"][1], found["added"]["n"] + 1]
    assert found["taken_back"] == [1, found["added"]["n"] + 1]


def test_a_place_without_a_peak_is_refused_in_words_and_the_result_stays(found: Found) -> None:
    told, shown, verdict = found["nowhere"]
    assert shown
    assert "No tie point near" in told
    assert "What to do: Point nearer" in told
    assert verdict == found["verdict_stays"]


def test_a_refit_uses_what_was_made_by_hand(found: Found) -> None:
    number = found["added"]["number"]
    assert found["refitted"] == [[number], number, True, number]
    assert "1 by hand" in found["refit_figures"]


def test_a_refit_without_check_points_says_that_its_figures_are_of_what_was_kept(found: Found) -> None:
    verdict, figures, n = found["honest"]
    assert n == 2
    assert "2 check points were left out by you" in verdict
    assert "without 2 that you left out" in figures
    assert not found["nothing_more"]  # the same points again would be the same result


def test_the_history_lists_compares_and_runs_again(found: Found) -> None:
    assert [text.split("\n")[0].split()[-1] for text in found["listed"]] == [
        "shift_target_aligned_3", "shift_target_aligned_2", "shift_target_aligned",
    ]  # fmt: skip
    chosen, table, against = found["compared"]
    assert chosen == ["shift_target_aligned", "shift_target_aligned_3"]
    assert table.count("RMSE") == 1
    assert against == "with shift_target_aligned"
    assert found["compared_names"] == chosen
    name, displacement, verb, by_hand = found["again"]
    assert (name, verb, by_hand) == ("shift_target_aligned_4.tif", "align", [])
    np.testing.assert_allclose(displacement, TRUE_XY, atol=0.1 * TRUTH["gsd_m"])


def test_the_same_opens_in_the_dialog_of_processing(found: Found) -> None:
    assert "reference" in found["processing"]["REFERENCE"]
    assert "target" in found["processing"]["TARGET"]
    assert "shift_target_aligned_5.tif" in found["processing"]["OUTPUT"]
    assert found["processing"]["MODEL"] == "auto"


@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_results_fit_the_width_of_the_panel(found: Found, width: str) -> None:
    asked = found[f"{width}_least"]
    assert found[width][0] <= 620
    assert max(asked["ResultPanel"], asked["HistoryPanel"]) <= 272  # what 300 px leave beside a scroll bar and margins


def test_a_project_has_its_history_when_it_is_opened_again(found: Found) -> None:
    assert found["new_project"] == 0
    same, aligned, n_ties, can_refit, n_layers = found["reopened"]
    assert same
    assert aligned
    assert n_ties == found["added"]["n"]
    assert can_refit
    assert found["reopened_dots"] == [found["added"]["n"]] * n_layers
    assert found["undone"] == [False, 3]
