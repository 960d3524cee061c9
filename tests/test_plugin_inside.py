"""The plugin inside of QGIS's own Python: jobs that are not waited for, checks, the setup page, loading and unloading."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
FOLDER = TESTS.parent / "qgis_plugin"
if not FOLDER.is_dir():
    pytest.skip("the plugin is not part of this source", allow_module_level=True)
PYTHON = "/usr/bin/python3"
pytestmark = pytest.mark.xdist_group("qgis")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, shift_pair: tuple[str, str]) -> dict[str, Any]:
    """What plugin_driver.py prints."""
    folder = tmp_path_factory.mktemp("inside")
    folder.chmod(0o700)
    environment = {
        "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PATH": os.defpath, "LANG": "C.UTF-8",
        "QT_QPA_PLATFORM": "offscreen", "GEOREG_PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    probe = [PYTHON, "-c", "import qgis.core"]
    if not Path(PYTHON).exists() or subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:
        pytest.skip("QGIS's Python is not installed")
    pair = [shutil.copy(path, folder) for path in shift_pair]
    words = [str(FOLDER), str(TESTS / "fake_worker.py"), *pair, str(folder / "out.tif")]
    done = subprocess.run(
        [PYTHON, str(TESTS / "plugin_driver.py"), *words],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "folder": folder, "stderr": done.stderr}


def names(job: dict[str, Any]) -> list[str]:
    """Of the signals of a job, in their order."""
    return [said[0] for said in job["said"]]


def test_a_job_tells_its_way_and_ends_once(found: dict[str, Any]) -> None:
    job = found["echo"]
    assert names(job) == ["hello", "progress", "logged", "succeeded", "ended"]
    assert job["said"][2][1:] == ["info", "hello ä"]
    assert job["said"][3][1]["values"]["words"] == ["align", "a b.tif"]
    assert not job["running"]


@pytest.mark.parametrize(
    ("job", "code", "text"),
    [
        ("refuse", "MatchError", "9 needed"),
        ("die", "lost", "last words"),
        ("garbage", "protocol", "Segmentation fault"),
        ("broken", "setup", "no PROJ"),
        ("missing", "setup", "cannot be started"),
    ],
)
def test_a_job_that_fails_says_why_and_ends_once(found: dict[str, Any], job: str, code: str, text: str) -> None:
    *_, (failed, found_code, message, hint), ended = found[job]["said"]
    assert not hint or not message.endswith(hint)  # what to do next is said once
    assert (failed, found_code, ended) == ("failed", code, ["ended"])
    assert text in message
    assert names(found[job]).count("ended") == 1


@pytest.mark.parametrize("job", ["hang", "stubborn"])
def test_cancelling_a_job_takes_less_than_a_second(found: dict[str, Any], job: str) -> None:
    assert found[job]["took"] < 1.3  # a second, and slack for a busy machine
    assert found[job]["said"][-2][:2] == ["failed", "cancelled"]
    assert "No file was changed" in found[job]["said"][-2][2]


def test_a_real_job_hands_out_tie_points_and_a_result(found: dict[str, Any]) -> None:
    told = names(found["real"])
    assert {"hello", "progress", "tiepoints", "succeeded"} <= set(told)
    result = found["real"]["said"][told.index("succeeded")][1]
    assert Path(result["output"]).is_file()
    assert result["values"]["verdict"] == "aligned"


def test_cancelling_an_algorithm_takes_less_than_a_second_and_writes_nothing(found: dict[str, Any]) -> None:
    text, took = found["cancelled"]
    assert "No file was changed" in text
    assert took < 1.5  # a second, and slack for a busy machine
    assert not list(found["folder"].glob("*cancelled*"))


def test_layers_that_are_no_files_are_refused_with_escaped_names(found: dict[str, Any]) -> None:
    fine, text = found["check web"]
    assert not fine
    assert "&lt;b&gt;web&lt;/b&gt; is not a plain file" in text
    assert found["check good"] == [True, ""]


def test_a_crs_that_only_qgis_knows_is_refused(found: dict[str, Any]) -> None:
    fine, text = found["check another CRS in QGIS"]
    assert not fine
    assert "EPSG:3857 in QGIS, but EPSG:32633 in its file" in text


def test_a_batch_does_not_move_its_reference(found: dict[str, Any]) -> None:
    assert found["check batch"] == [False, "The reference is among the targets; leave it out there."]


def test_the_plugin_loads_and_unloads_without_a_trace(found: dict[str, Any]) -> None:
    ids = sorted(f"georeg:{verb}" for verb in ("align", "match", "fit", "assess", "apply", "batch"))
    assert found["provider first"] == found["provider again"] == ids
    assert found["gone first"]
    assert found["gone again"]
    asked = found["asked"]
    pairs = (
        ("addPluginToRasterMenu", "removePluginRasterMenu"),
        ("addToolBarIcon", "removeToolBarIcon"),
        ("registerOptionsWidgetFactory", "unregisterOptionsWidgetFactory"),
    )
    assert all(asked.count(there) == asked.count(back) >= 2 for there, back in pairs)
    assert "Traceback" not in found["stderr"]


def test_a_model_passes_files_and_figures_on(found: dict[str, Any]) -> None:
    fine, results, kind = found["model"]
    assert fine
    assert results["CHILD_RESULTS"]["match"]["N_TIE_POINTS"] == results["CHILD_INPUTS"]["fit"]["SEED"] > 100
    assert results["CHILD_INPUTS"]["fit"]["POINTS"] == results["CHILD_RESULTS"]["match"]["OUTPUT"]
    assert kind == "translation"


def test_the_setup_page_says_what_it_found(found: dict[str, Any]) -> None:
    assert "Ready: georeg" in found["setup"]
    assert sys.executable in found["setup"]


def test_an_installation_that_fails_or_is_cancelled_leaves_nothing(found: dict[str, Any]) -> None:
    failed, no_python, cancelled, exists = found["installer"]
    assert "georeg-0.0" in failed
    assert "No Python 3.11" in no_python
    assert "Cancelled" in cancelled
    assert not exists
