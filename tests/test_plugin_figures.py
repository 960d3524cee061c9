"""What the panel says of a result, and the order in which its code is read; knows no QGIS."""

from __future__ import annotations

import ast
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path(__file__).resolve().parents[1] / "qgis_plugin" / "georeg_qgis"
sys.path.insert(0, str(FOLDER.parent))

from georeg_qgis import figures  # noqa: E402
from georeg_qgis.figures import Tie  # noqa: E402


def result(rmse: float = 1.0, n: int = 40, verdict: str = "aligned", **more: Any) -> dict[str, Any]:
    part = {"rmse": rmse, "ce90": 1.5 * rmse, "bias_x": 0.1, "bias_y": -0.1, "gsd": 10.0, "n": n, "n_excluded": 0}
    before = {**part, "rmse": 60.0, "ce90": 70.0}
    return {"verdict": verdict, "unit": "m", "before": before, "after": part, "warnings": [], **more}


def tie(number: int, what: str, residual: float | None = None) -> Tie:
    return Tie(number, what, (100.0 * number, 50.0 * (number % 3)), None if residual is None else (residual, 0.0))


@pytest.mark.parametrize(("rmse", "grade"), [(1.0, "good"), (2.5, "good"), (3.5, "care")])
def test_a_result_is_called_as_good_as_its_check_points(rmse: float, grade: str) -> None:
    assert figures.verdict(result(rmse)).grade == grade


def test_few_check_points_and_warnings_are_said() -> None:
    assert "are few" in figures.verdict(result(n=7)).text
    assert "Take care: A second group" in figures.verdict(result(warnings=["a second group disagrees"])).text


def test_what_moved_nothing_is_not_called_aligned_anew() -> None:
    assert "nothing was moved" in figures.verdict(result(verdict="already aligned")).title


def test_check_only_tells_both_distances_and_that_nothing_was_written() -> None:
    text = figures.checked(result()).text
    assert all(part in text for part in ("60 m (6 px)", "1 m (0.1 px)", "Nothing was written"))


@pytest.mark.parametrize("code", ["VerificationError", "MatchError", "FitError", "LimitError", "OverlapError"])
def test_a_refusal_says_do_not_use_why_and_what_to_do_once(code: str) -> None:
    said = figures.refusal(code, "the rasters share no ground; give others", "give others")
    assert said.grade == "bad"
    assert "Do not use" in said.title
    assert said.text.split("\n") == [
        "The rasters share no ground.",
        "What to do: Give others.",
        "No file was changed.",
    ]


def test_what_was_cancelled_before_it_ended_still_names_a_file_that_was_written() -> None:
    assert figures.refusal("cancelled", "The job was cancelled. No file was changed", "").text == "No file was changed."
    assert "out.tif" in figures.refusal("cancelled", "The job was cancelled. Already written: out.tif", "").text


def test_the_worst_comes_first_and_what_was_rejected_last() -> None:
    ties = [tie(1, "low_texture"), tie(2, "fit", 1.0), tie(3, "check", 5.0), tie(4, "outlier", 9.0)]
    assert [one.number for one in figures.by_residual(ties)] == [4, 3, 2, 1]
    worst = figures.worst(ties)
    assert worst is not None
    assert worst.number == 3  # an outlier is no part of the result
    assert figures.worst(ties[:1]) is None


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=40))
def test_arrows_are_one_scale_of_their_residuals_and_cross_no_map(lengths: list[float]) -> None:
    ties = [tie(k, "fit", length) for k, length in enumerate(lengths)]
    times, longest = figures.exaggeration(ties)
    mantissa = times / 10 ** math.floor(math.log10(times) + 1e-9)
    assert min(abs(mantissa - step) for step in (1, 2, 5, 10)) < 1e-6
    for one in ties:
        (x0, y0), (x1, y1) = figures.arrow(one, times, longest)
        drawn = math.hypot(x1 - x0, y1 - y0)
        assert drawn == pytest.approx(min(times * one.residual, longest), rel=1e-6, abs=1e-6)


def test_ties_are_read_as_the_worker_writes_them() -> None:
    held = {
        "id": 7,
        "status": "kept",
        "role": "check",
        "ref_x": 1.0,
        "ref_y": 2.0,
        "residual_x": 3.0,
        "residual_y": 4.0,
    }
    none = {**held, "id": 8, "role": "rejected", "status": "weak_peak", "residual_x": None, "residual_y": None}
    text = json.dumps({"features": [{"properties": held}, {"properties": none}]})
    first, second = figures.ties(text)
    assert (first.number, first.what, first.residual) == (7, "check", 5.0)
    assert (second.what, second.used, second.residual_xy) == ("weak_peak", False, None)


def test_points_that_are_unticked_are_switched_off_and_no_others() -> None:
    values = {"tie_points": {"status": ["kept", "kept", "weak_peak"], "gsd": 1.0}}
    assert figures.without(values, [2])["status"] == ["kept", "disabled", "weak_peak"]
    assert values["tie_points"]["status"] == ["kept", "kept", "weak_peak"]


def needed(room: str) -> set[str]:
    """Rooms of the plugin that one imports."""
    tree = ast.parse((FOLDER / f"{room}.py").read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
    return {node.module for node in found if node.module} | {
        a.name for node in found if not node.module for a in node.names
    }


def test_the_code_of_the_panel_is_read_a_file_at_a_time() -> None:
    tree = ast.parse((FOLDER / "ahead.py").read_text(encoding="utf-8"))
    named = next(node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "MODULES")  # type: ignore[attr-defined]
    modules = ast.literal_eval(named)
    assert modules[-1] == "dock"
    at_start = {"plugin"}
    while more := set().union(*map(needed, at_start)) - at_start - {"dock"}:
        at_start |= more
    for k, room in enumerate(modules):
        assert needed(room) <= at_start | set(modules[:k]), room
