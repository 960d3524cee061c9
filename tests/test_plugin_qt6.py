"""The plugin's widgets on PyQt6, which QGIS 4 is built on, with a stub of QGIS itself."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import georeg
from georeg.table import feature_collection

TESTS = Path(__file__).resolve().parent
PLUGINS = TESTS.parent / "qgis_plugin"
if not PLUGINS.is_dir():
    pytest.skip("the plugin is not part of this source", allow_module_level=True)
if importlib.util.find_spec("PyQt6") is None:
    pytest.skip("PyQt6 is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, shift_alignment: georeg.Alignment) -> dict[str, Any]:
    """What qgis/built.py prints."""
    folder = tmp_path_factory.mktemp("qt6")
    folder.chmod(0o700)
    result, points = folder / "result.json", folder / "points.geojson"
    result.write_text(json.dumps(shift_alignment.to_dict()))
    held = shift_alignment.points
    points.write_text(json.dumps(feature_collection(held, shift_alignment.fitted, held.ref_xy)))
    words = [str(TESTS / "qgis" / "stub"), str(PLUGINS), str(result), str(points)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-B", str(TESTS / "qgis" / "built.py"), *words],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode and "cannot open shared object file" in done.stderr:
        pytest.skip(f"a library of Qt 6 is not installed: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_room_is_imported_and_nothing_is_raised(found: dict[str, Any]) -> None:
    assert found["raised"] == []
    assert found["modules"] == len(list((PLUGINS / "georeg_qgis").glob("*.py"))) - 1


def test_a_result_is_shown_in_words_and_figures(found: dict[str, Any]) -> None:
    assert "proven on" in found["verdict"]
    assert "1 check point was left out by you" in found["verdict"]
    assert "1 by hand" in found["figures"]
    assert found["compared"] == 1


def test_the_table_of_tie_points_is_ticked_and_unticked(found: dict[str, Any]) -> None:
    assert isinstance(found["rows"][0], int)
    assert all(isinstance(text, str) and text for text in found["rows"][1:])
    assert found["align"]
    assert found["ticked"]
    assert found["untick"]
    assert found["unticked"][0] == 1
    assert "1 unticked" in found["unticked"][1]
    assert found["clicked"] == 0  # a click of the mouse ticks it again


def test_a_catalogue_of_texts_is_read_as_it_is_and_what_is_unfinished_stays_english(found: dict[str, Any]) -> None:
    assert found["german"] == ["Abgebrochen", "Wischen", "Undo"]
    assert found["no_language"] == ""


def test_options_stages_refusals_and_questions_are_shown(found: dict[str, Any]) -> None:
    assert found["fields"] > 20
    assert "left" in found["stage"]
    assert "Give others" in found["refusal"]
    assert found["escaped"] == ["left"]
    assert found["undo"] == "QMessageBox"
    assert "georeg" in found["setup"]
    assert all(found["algorithms"])
