"""The plugin in a real QGIS with a screen and a window manager: what a person clicks, and what comes of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "qgis"))

from desktop import SAMPLES, missing, play  # noqa: E402

pytestmark = pytest.mark.xdist_group("qgis")
INPUTS = {"shift_reference.tif", "shift_target.tif", "polynomial_target.tif"}
TRUTH = json.loads((SAMPLES / "truth.json").read_text())["pairs"]["shift"]

Found = dict[str, Any]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the session that ``qgis/driven.py`` plays has found."""
    if absent := missing():
        pytest.skip(f"{', '.join(absent)} not installed")
    seen = play(tmp_path_factory.mktemp("desktop"))
    assert "error" not in seen, seen["error"]
    return seen


def rasters(names: list[str]) -> set[str]:
    """Without the statistics that QGIS writes beside rasters."""
    return {name for name in names if not name.endswith(".aux.xml")}


def test_one_click_aligns_the_pair_that_was_guessed(found: Found) -> None:
    assert [Path(path).name for path in found["paths"]] == ["shift_reference.tif", "shift_target.tif"]
    assert found["align_clicks"] == 1
    assert found["groups"] == ["georeg: shift_target_aligned"]
    assert Path(found["output"]).name == "shift_target_aligned.tif"
    assert "proven on" in found["verdict"]
    true = (TRUTH["model"]["coefficients_x"][0], TRUTH["model"]["coefficients_y"][0])
    assert found["displacement"] == pytest.approx(true, abs=0.1 * TRUTH["gsd_m"])
    assert found["n_ties"] > 100


def test_the_line_under_the_pair_tells_overlap_pixels_and_crs(found: Found) -> None:
    line = found["line"].replace("\u2060", "")
    assert all(part in line for part in ("overlap 85%", "pixels 10 m", "EPSG:32633"))


def test_nothing_goes_wrong_in_python(found: Found) -> None:
    assert found["python_errors"] == []


def test_the_window_is_never_kept_from_listening(found: Found) -> None:
    """What the window's thread works at a stretch; by the clock it also waits for its turn where other programs run.

    A step that waited for georeg would take as long as a run, which is seconds.
    """
    for phase in set(found["busy_s"]) - {"start"}:
        assert found["busy_s"][phase] < 0.3, (phase, found["busy_s"])
        assert found["blocked_s"][phase] < 2.0, (phase, found["blocked_s"])


def test_swipe_flicker_and_the_worst_place_change_the_canvas_and_go(found: Found) -> None:
    assert found["swiped_px"] == 60
    assert found["swipe_changes"]
    assert found["swipe_gone"]
    assert found["flicker_shown"]
    assert found["flicker_gone"]
    assert found["worst_pixel"] == pytest.approx(1.0, abs=0.02)  # pixels of the raster in one of the screen


def test_refit_leaves_out_what_was_unticked_and_matches_nothing_again(found: Found) -> None:
    assert found["unticked"] == found["switched_off"] == 3
    again = found["refit_log"].removeprefix(found["log"])
    assert "georeg fit" in again
    assert "georeg apply" in again
    assert "match " not in again
    assert Path(found["refit_output"]).name == "shift_target_aligned_2.tif"


def test_undo_asks_and_takes_everything_back(found: Found) -> None:
    assert "shift_target_aligned_2.tif" in found["undo_text"]
    assert found["after_undo"] == {"groups": [], "files": []}
    assert found["inputs_left"] == ["shift_reference", "shift_target"]


def test_check_only_writes_nothing(found: Found) -> None:
    assert "Not aligned yet" in found["check"]
    assert rasters(found["after_check"]) == INPUTS
    assert found["command"].startswith("georeg assess ")
    assert found["check_groups"] == ["georeg: shift_target"]


def test_cancel_is_heard_within_a_second_and_changes_no_file(found: Found) -> None:
    assert found["cancel_s"] < 1
    assert found["cancelled_worker"]["n"] == 1
    assert found["cancelled_worker"]["gone_s"] < 2
    assert "No file was changed" in found["cancel_text"]
    assert rasters(found["after_cancel"]) == INPUTS


def test_a_refused_pair_is_called_so_and_leaves_no_file(found: Found) -> None:
    assert "Do not use" in found["refusal"]
    assert "What to do" in found["refusal"]
    assert "--" not in found["refusal"]  # options are called as they are on screen
    assert rasters(found["after_refusal"]) == INPUTS


def test_the_plugin_unloads_without_a_trace_and_loads_again(found: Found) -> None:
    assert found["loaded"]
    assert found["unloaded"]
    assert found["left_behind"] == []
    assert found["reloaded"]


def test_a_worker_ends_with_the_qgis_that_is_killed(found: Found) -> None:
    assert len(found["workers"]) == 1
    assert found["killed"] is not None
    assert found["killed"] < 2


def test_the_options_fit_the_width_of_the_panel(found: Found) -> None:
    assert found["too_wide_px"] <= 0
