"""The algorithms of the plugin in a real qgis_process, with a real worker."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

import georeg

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = ROOT / "qgis_plugin"
if not PLUGINS.is_dir():
    pytest.skip("the plugin is not part of this source", allow_module_level=True)
DATA = Path(os.environ.get("GEOREG_DATA") or ROOT.parent / "shared" / "data")
S2 = DATA / "s2-brandenburg"
IDS = {f"georeg:{verb}" for verb in ("align", "match", "fit", "assess", "apply", "batch")}
pytestmark = pytest.mark.xdist_group("qgis")


@dataclass(frozen=True)
class Done:
    """What qgis_process said."""

    code: int
    results: dict[str, Any]
    log: dict[str, list[str]]
    stderr: str


@dataclass(frozen=True)
class Qgis:
    """A qgis_process with a profile of its own, in which the plugin is switched on."""

    program: str
    environment: dict[str, str]

    def said(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """What it says to words of its command line."""
        return subprocess.run(
            [self.program, *words],
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def run(self, algorithm: str, _variables: dict[str, str] | None = None, /, **values: Any) -> Done:
        """Run an algorithm; a list gives a parameter several values."""
        each = [
            (name, one) for name, value in values.items() for one in (value if isinstance(value, list) else [value])
        ]
        words = [f"--{name}={value}" for name, value in each]
        done = self.said("--json", "run", algorithm, *words, **(_variables or {}))
        told = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        return Done(done.returncode, told.get("results", {}), told.get("log", {}), done.stderr)


@pytest.fixture(scope="module")
def qgis(tmp_path_factory: pytest.TempPathFactory) -> Qgis:
    """A bare profile; on Debian 12 the script qgis_process fails, and only what it calls works."""
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
    if program is None:
        pytest.skip("qgis_process is not installed")
    home = tmp_path_factory.mktemp("profile")
    home.chmod(0o700)
    environment = {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_PLUGINPATH": str(PLUGINS),
        "GEOREG_PYTHON": sys.executable,
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    made = Qgis(program, environment)
    enabled = made.said("plugins", "enable", "georeg_qgis")
    assert enabled.returncode == 0, enabled.stderr
    return made


@pytest.fixture
def pair(shift_pair: tuple[str, str], tmp_path: Path) -> tuple[str, str]:
    """The sample pair where QGIS may write its statistics beside it."""
    folder = tmp_path / "in"
    folder.mkdir()
    return tuple(shutil.copy(path, folder) for path in shift_pair)  # type: ignore[return-value]


def moved(path: str, out: Path, *, by: tuple[float, float] = (0.0, 0.0), crs: Any = "same") -> str:
    """A copy of a raster that lies elsewhere, or in another CRS; it has none where that is None."""
    with rasterio.open(path) as dataset:
        profile, pixels = dataset.profile, dataset.read()
    a, b, c, d, e, f = profile["transform"][:6]
    profile["transform"] = Affine(a, b, c + by[0], d, e, f + by[1])
    if crs != "same":
        profile["crs"] = crs
    with rasterio.open(out, "w", **profile) as dataset:
        dataset.write(pixels)
    return str(out)


def test_the_algorithms_are_listed_with_their_ids(qgis: Qgis) -> None:
    listed = json.loads(qgis.said("--json", "list").stdout)
    assert set(listed["providers"]["georeg"]["algorithms"]) == IDS


@pytest.mark.parametrize("algorithm", sorted(IDS))
def test_each_algorithm_explains_itself(qgis: Qgis, algorithm: str) -> None:
    told = json.loads(qgis.said("--json", "help", algorithm).stdout)
    assert len(told["algorithm_details"]["short_description"]) > 40
    advanced = [one["is_advanced"] for one in told["parameters"].values()] if told["parameters"] else []
    chosen = [one for one in (told["parameters"] or {}).values() if one["type"]["name"] == "Enum"]
    assert all("not its number" in one["description"] or "not its number" in json.dumps(one) for one in chosen)
    needed = [not one["optional"] and "default_value" not in one for one in told["parameters"].values()]
    assert any(advanced)
    assert not any(a and n for a, n in zip(advanced, needed, strict=True))


def test_align_writes_what_the_command_line_writes(qgis: Qgis, pair: tuple[str, str], tmp_path: Path) -> None:
    out, result, report = (tmp_path / name for name in ("a.tif", "a.json", "a.html"))
    done = qgis.run("georeg:align", REFERENCE=pair[0], TARGET=pair[1], OUTPUT=out, RESULT=result, REPORT=report)
    assert done.code == 0, done.stderr
    alignment = georeg.align(*pair)
    alignment.write(tmp_path / "python.tif")
    assert out.read_bytes() == (tmp_path / "python.tif").read_bytes()
    after = alignment.after
    assert done.results["N_CHECK_POINTS"] == after.n
    assert done.results["RMSE_PX"] == pytest.approx(after.rmse / after.gsd)
    assert done.results["CE90_PX"] == pytest.approx(after.ce90 / after.gsd)
    assert done.results["VERDICT"] == "aligned"
    assert georeg.Alignment.from_json(result.read_text()).displacement() == alignment.displacement()
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert done.results["REPORT"] == str(report)


def test_stages_by_hand_give_the_same_bytes_as_align(qgis: Qgis, pair: tuple[str, str], tmp_path: Path) -> None:
    points, fit, result, out = (tmp_path / name for name in ("p.json", "f.json", "r.json", "o.tif"))
    matched = qgis.run("georeg:match", REFERENCE=pair[0], TARGET=pair[1], OUTPUT=points)
    assert matched.results["N_TIE_POINTS"] == sum(s == "kept" for s in json.loads(points.read_text())["status"])
    fitted = qgis.run("georeg:fit", POINTS=points, OUTPUT=fit)
    assert fitted.results["MODEL"] == "translation"
    assessed = qgis.run("georeg:assess", FIT=fit, OUTPUT=result)
    assert assessed.results["N_CHECK_POINTS"] >= 4
    applied = qgis.run("georeg:apply", RESULT=result, OUTPUT=out)
    assert applied.results["OUTPUT"] == str(out), applied.stderr
    georeg.align(*pair).write(tmp_path / "python.tif")
    assert out.read_bytes() == (tmp_path / "python.tif").read_bytes()


def test_apply_corrects_another_file_of_the_scene(qgis: Qgis, pair: tuple[str, str], tmp_path: Path) -> None:
    fit, out = tmp_path / "fit.json", tmp_path / "o.tif"
    qgis.run("georeg:match", REFERENCE=pair[0], TARGET=pair[1], OUTPUT=tmp_path / "p.json")
    qgis.run("georeg:fit", POINTS=tmp_path / "p.json", OUTPUT=fit, MODEL="affine")
    other = moved(pair[1], tmp_path / "other.tif")
    done = qgis.run("georeg:apply", RESULT=fit, TARGET=other, OUTPUT=out)
    assert done.results["VERDICT"] == "not proven"
    with rasterio.open(out) as corrected, rasterio.open(other) as given:
        np.testing.assert_array_equal(corrected.read(), given.read())
        assert corrected.transform != given.transform


@pytest.mark.parametrize("n", [1, 2])
def test_apply_corrects_several_files_of_the_scene(qgis: Qgis, pair: tuple[str, str], tmp_path: Path, n: int) -> None:
    fit = tmp_path / "fit.json"
    qgis.run("georeg:match", REFERENCE=pair[0], TARGET=pair[1], OUTPUT=tmp_path / "p.json")
    qgis.run("georeg:fit", POINTS=tmp_path / "p.json", OUTPUT=fit, MODEL="affine")
    more = [moved(pair[1], tmp_path / f"band{k}.tif") for k in range(n)]
    out, folder = tmp_path / "o.tif", tmp_path / "more"
    refused = qgis.run("georeg:apply", RESULT=fit, MORE=more, OUTPUT=out)
    assert refused.code == 1
    assert "Name the folder" in refused.stderr
    done = qgis.run("georeg:apply", RESULT=fit, MORE=more, OUTPUT=out, FOLDER=folder)
    assert done.code == 0, done.stderr
    assert sorted(path.name for path in folder.glob("*.tif")) == [f"band{k}.tif" for k in range(n)]
    with rasterio.open(out) as first, rasterio.open(folder / "band0.tif") as other:
        assert first.transform == other.transform


def test_options_reach_georeg(qgis: Qgis, pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "a.tif"
    done = qgis.run(
        "georeg:align", REFERENCE=pair[0], TARGET=pair[1], OUTPUT=out, MODEL="similarity", MAX_POINTS=60,
        RESAMPLE="yes", CO="COMPRESS=DEFLATE", REF_BANDS=1, REF_NODATA=-7,
    )  # fmt: skip
    assert done.results["MODEL"] == "similarity", done.stderr
    assert done.results["N_TIE_POINTS"] < 169
    with rasterio.open(out) as written, rasterio.open(pair[0]) as reference:
        assert written.compression.name == "deflate"
        assert written.transform == reference.transform


def test_batch_tells_of_each_target(qgis: Qgis, pair: tuple[str, str], tmp_path: Path) -> None:
    blank = tmp_path / "in" / "blank.tif"
    with rasterio.open(pair[1]) as dataset:
        profile = dataset.profile
        pixels = np.full((dataset.count, *dataset.shape), 7, dataset.dtypes[0])
    with rasterio.open(blank, "w", **profile) as dataset:
        dataset.write(pixels)
    table = tmp_path / "table.csv"
    done = qgis.run(
        "georeg:batch", REFERENCE=pair[0], TARGETS=[pair[1], str(blank)], OUTPUT=tmp_path / "out", SUMMARY=table
    )
    assert (done.results["N_ALIGNED"], done.results["N_REFUSED"]) == (1, 1), done.stderr
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [row["outcome"] for row in rows] == ["aligned", "refused"]
    assert Path(rows[0]["output"]).is_file()
    assert rows[1]["message"]
    assert not (tmp_path / "out" / "blank.tif").exists()


REFUSED: dict[str, tuple[Callable[[tuple[str, str], Path], dict[str, Any]], str]] = {
    "same file": (lambda pair, _: {"TARGET": pair[0]}, "the same file"),
    "same file by a link": (lambda pair, folder: {"TARGET": linked(pair[0], folder)}, "the same file"),
    "no overlap": (lambda pair, folder: {"TARGET": moved(pair[1], folder / "far.tif", by=(1e6, 0))}, "share no ground"),
    "no CRS": (lambda pair, folder: {"REFERENCE": moved(pair[0], folder / "bare.tif", crs=None)}, "has no CRS"),
    "no raster": (lambda pair, folder: {"TARGET": folder}, "TARGET"),
    "output exists": (lambda pair, folder: {"OUTPUT": pair[1]}, "reads or writes"),
    "not a model": (lambda pair, folder: {"MODEL": "bent"}, "MODEL"),
    "no such band": (lambda pair, folder: {"REF_BANDS": 9}, "has no band 9"),
    "beyond a limit": (lambda pair, folder: {"MAX_CE90": "0.000001px"}, r"'Largest CE90'"),
    "result exists": (lambda pair, folder: {"RESULT": pair[1]}, "exists"),
}
"""Parameters of align by what is wrong with them, and what is said."""


def linked(path: str, folder: Path) -> str:
    """Another name of a file."""
    os.symlink(path, folder / "link.tif")
    return str(folder / "link.tif")


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_is_a_sentence_and_no_file(qgis: Qgis, pair: tuple[str, str], tmp_path: Path, what: str) -> None:
    wrong, said = REFUSED[what]
    before = Path(pair[1]).read_bytes()
    given = {"REFERENCE": pair[0], "TARGET": pair[1], "OUTPUT": tmp_path / "out.tif"} | wrong(pair, tmp_path)
    done = qgis.run("georeg:align", **given)
    assert done.code == 1
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.tif").exists()
    assert Path(pair[1]).read_bytes() == before


@pytest.mark.parametrize(
    ("python", "said"),
    [("/nowhere/python3", "does not exist"), ("/usr/bin/python3", "has no georeg"), ("", "has been chosen")],
)
def test_without_a_python_for_georeg_it_says_where_to_choose_one(
    qgis: Qgis, pair: tuple[str, str], tmp_path: Path, python: str, said: str
) -> None:
    given = {"REFERENCE": pair[0], "TARGET": pair[1], "OUTPUT": tmp_path / "out.tif"}
    done = qgis.run("georeg:align", {"GEOREG_PYTHON": python}, **given)
    assert done.code == 1
    assert said in done.stderr
    assert "Settings > Options > georeg" in done.stderr


def test_variables_of_qgis_change_no_byte(qgis: Qgis, pair: tuple[str, str], tmp_path: Path) -> None:
    """A PROJ_DATA of another PROJ makes rasterio read files without their CRS, silently."""
    proj = "/usr/share/proj"
    leaked = {"PROJ_DATA": proj, "PROJ_LIB": proj, "GDAL_DATA": "/usr/share/gdal", "LD_LIBRARY_PATH": "/usr/lib"}
    outs = [tmp_path / name for name in ("clean.tif", "leaked.tif")]
    for out, variables in zip(outs, ({}, leaked), strict=True):
        assert qgis.run("georeg:align", variables, REFERENCE=pair[0], TARGET=pair[1], OUTPUT=out).code == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


@pytest.mark.skipif(not S2.is_dir(), reason=f"real imagery is absent: no folder {S2}")
def test_real_dates_are_aligned_as_measured(qgis: Qgis, tmp_path: Path) -> None:
    """The truth that was measured for them is (-7, -19) m, to be trusted to some metres."""
    reference, target = (shutil.copy(next(S2.glob(f"{kind}_*.jp2")), tmp_path) for kind in ("ref", "tgt"))
    points, fit, result = (tmp_path / name for name in ("p.json", "f.json", "r.json"))
    assert qgis.run("georeg:match", REFERENCE=reference, TARGET=target, OUTPUT=points).code == 0
    assert qgis.run("georeg:fit", POINTS=points, OUTPUT=fit).code == 0
    proven = qgis.run("georeg:assess", FIT=fit, OUTPUT=result).results
    aligned = qgis.run("georeg:align", REFERENCE=reference, TARGET=target, OUTPUT=tmp_path / "o.tif").results
    assert qgis.run("georeg:apply", RESULT=result, OUTPUT=tmp_path / "applied.tif").code == 0
    batch = qgis.run("georeg:batch", REFERENCE=reference, TARGETS=[target], OUTPUT=tmp_path / "out").results
    assert batch["N_ALIGNED"] == 1
    for found in (proven, aligned):
        assert (found["SHIFT_EAST"], found["SHIFT_NORTH"]) == pytest.approx((-7, -19), abs=1)
        assert found["RMSE_PX"] < 0.25
    assert (tmp_path / "o.tif").read_bytes() == (tmp_path / "applied.tif").read_bytes()
