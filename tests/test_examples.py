"""The examples run as their pages say, and what they claim holds against the truth of the sample tiles."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from nbclient import NotebookClient
from scipy import ndimage

import georeg

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples/change_detection"
SAMPLES = ROOT / "sample_tiles"
ALIGN_HELP = "from georeg.cli import main; main(['align', '--help'])"
PAIR = SAMPLES / "shift_reference.tif", SAMPLES / "shift_target.tif"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    sys.path.insert(0, str(EXAMPLE))
    try:
        return importlib.import_module("change_detection")
    finally:
        sys.path.remove(str(EXAMPLE))


def test_alignment_takes_the_false_change_away_and_leaves_the_true(example, tmp_path):
    """Parcels of ground with another brightness have changed and nothing else has; the second date lies 3 px beside."""
    rng = np.random.default_rng(4)
    ground = 2000 + 500 * ndimage.gaussian_filter(rng.normal(size=(420, 420)), 2) * 8
    later, changed = ground.copy(), np.zeros(ground.shape, bool)
    for row, col in rng.integers(40, 340, (12, 2)):
        later[row : row + 30, col : col + 30] += 3000
        changed[row : row + 30, col : col + 30] = True
    paths = tmp_path / "first.tif", tmp_path / "second.tif"
    for path, image, (row, col) in zip(paths, (ground, later), ((10, 10), (12, 13)), strict=True):
        part = image[row : row + 400, col : col + 400].clip(1, 60000).astype(np.uint16)
        where = {"crs": "EPSG:32633", "transform": Affine(10, 0, 4e5, 0, -10, 5.8e6), "dtype": "uint16", "count": 1}
        with rasterio.open(path, "w", driver="GTiff", height=400, width=400, **where) as out:
            out.write(part, 1)
    changes = example.run(*paths, tmp_path)
    truth = changed[10:410, 10:410]
    inside, outside = ndimage.binary_erosion(truth, iterations=2), ~ndimage.binary_dilation(truth, iterations=4)
    valid = changes.valid
    assert changes.called_before[valid & outside].mean() > 0.3
    assert changes.called[valid & outside].mean() < 0.1
    assert changes.called[valid & inside].mean() > 0.99
    with rasterio.open(tmp_path / "second_change.tif") as mask:
        assert np.array_equal(mask.read(1) == 1, changes.called)
        assert np.array_equal(mask.read(1) == 255, ~valid)


def test_a_scaled_date_has_no_change(example):
    first = np.random.default_rng(0).uniform(100, 4000, (2, 60, 60)).astype(np.float32)
    second = (first - 300) / np.array([2.0, 0.5], np.float32)[:, None, None]
    valid = np.ones((60, 60), bool)
    second[:, :12] = 9000  # a cloud
    vectors = example.change_vectors(first, second, example.grey_lines(first, second, valid))
    assert vectors[12:].max() < 1
    assert vectors[:12].min() > 1000


def run(script: str, *arguments: str | Path, folder: Path, **environment: str) -> str:
    """What a script prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE / script, *arguments],
        cwd=folder, env=os.environ | {"GEOREG_DATA": ""} | environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script_prints_the_figures_of_its_page_and_draws_a_picture(tmp_path):
    printed = run("change_detection.py", folder=tmp_path)
    page = (ROOT / "docs/pipelines.md").read_text()
    figures = re.search(r"sample_tiles, pair shift\n(.*?)```", page, re.DOTALL)
    assert figures
    assert _numbers(printed.split("\n", 1)[1]) == pytest.approx(_numbers(figures[1]), rel=0.02, abs=0.02)
    assert (tmp_path / "change_output/shift_target_change.png").stat().st_size > 20_000
    with rasterio.open(tmp_path / "change_output/shift_target_change.tif") as mask, rasterio.open(PAIR[0]) as reference:
        assert mask.transform == reference.transform
        assert 0.1 < (mask.read(1) == 1).mean() < 0.4  # two parcels in five have another crop


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def test_items_become_items(tmp_path):
    for name, path in zip(("first", "second"), PAIR, strict=True):
        item = pystac.Item(name, None, None, datetime(2020, 6, 1, tzinfo=UTC), {})
        item.add_asset("red", pystac.Asset(str(path), media_type=pystac.MediaType.GEOTIFF, roles=["data"]))
        item.save_object(include_self_link=False, dest_href=str(tmp_path / f"{name}.json"))
    run("from_stac.py", "first.json", "second.json", "out", folder=tmp_path)
    (scene,) = georeg.read_items(str(tmp_path / "out/second_georeg.json"))
    with rasterio.open(scene.path) as aligned, rasterio.open(PAIR[0]) as reference:
        assert aligned.transform == reference.transform


def test_the_notebook_runs_and_holds_no_outputs():
    notebook = nbformat.read(EXAMPLE / "change_detection.ipynb", as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(EXAMPLE)}})
    environment = {name: value for name, value in os.environ.items() if name != "GEOREG_DATA"}
    try:
        client.create_kernel_manager()
        client.start_new_kernel(env=environment)
    except (RuntimeError, OSError, TimeoutError) as exc:
        pytest.skip(f"no Jupyter kernel can be started here: {exc}")
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("false change that alignment removed" in output.get("text", "") for output in shown)
    assert any("image/png" in output.get("data", {}) for output in shown)


def test_the_snakefile_names_only_what_there_is():
    """Snakemake itself is not needed here: its rules call the command line and functions of the script."""
    text = (EXAMPLE / "Snakefile").read_text()
    script = (EXAMPLE / "change_detection.py").read_text()
    called = set(re.findall(r"change_detection\.(\w+)\(", text))
    assert called == {"compare", "write_mask"}
    assert all(f"def {name}(" in script for name in called)
    told = subprocess.run([sys.executable, "-c", ALIGN_HELP], capture_output=True, text=True, check=True)
    options = set(re.findall(r"--[a-z][a-z0-9-]+", text.split("shell:")[1].split("rule compare")[0]))
    assert options
    assert all(option in told.stdout for option in options)
