"""The instruments of benchmarks/whole.py: what they measure is what there is, and scenes are displaced by what is said."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NAMES = ("floors", "jobs", "scene", "stages", "whole_floors")
pytestmark = pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs a system that tells what a process took")


@pytest.fixture(scope="module")
def bench() -> Iterator[dict[str, ModuleType]]:
    """Modules of benchmarks/, which is no package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def pair(bench: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    reference, targets = bench["scene"].make_scenes(tmp_path_factory.mktemp("pair"), 700, exact=True)
    return reference, targets[0]


def seen_shift_px(reference: Path, target: Path) -> np.ndarray:
    """(right, down) of the target's ground on the map, in pixels, by the phases of long waves and the geotransforms."""
    with rasterio.open(reference) as ref, rasterio.open(target) as tgt:
        images = [np.float64(dataset.read(1)) for dataset in (ref, tgt)]
        apart = np.array(~ref.transform @ (tgt.transform.c, tgt.transform.f))
    height, width = images[0].shape
    taper = np.outer(np.hanning(height), np.hanning(width))
    spectra = [np.fft.rfft2((image - image.mean()) * taper) for image in images]
    right, down = np.meshgrid(np.fft.rfftfreq(width), np.fft.fftfreq(height))
    long = (np.hypot(right, down) > 0.01) & (np.hypot(right, down) < 0.2)
    cross = (spectra[1] * spectra[0].conj())[long]
    weight, waves = np.sqrt(np.abs(cross)), -2 * np.pi * np.column_stack([right[long], down[long]])
    shift, *_ = np.linalg.lstsq(waves * weight[:, None], np.angle(cross) * weight, rcond=None)
    return apart + shift


@pytest.mark.parametrize("ground", ["stored", "made"])
def test_scenes_are_displaced_by_what_is_said(bench, tmp_path, monkeypatch, ground):
    scene = bench["scene"]
    if ground == "made":
        monkeypatch.setattr(scene, "FOLDER", tmp_path / "nowhere")
        scene.two_dates.cache_clear()
    try:
        reference, targets = scene.make_scenes(tmp_path, 700, targets=2, bands=2, exact=True)
    finally:
        scene.two_dates.cache_clear()
    assert targets[0].read_bytes() == targets[1].read_bytes()
    np.testing.assert_allclose(seen_shift_px(reference, targets[1]), scene.SHIFT_PX, atol=0.03)


def test_the_error_of_a_displacement_is_told_in_pixels(bench):
    scene = bench["jobs"].Scene("ref.tif", ("tgt.tif",), (-33.0, -26.0), 10.0, 700, "made")
    assert scene.error_px((-33.0, -26.0)) == 0
    assert scene.error_px((-30.0, -22.0)) == pytest.approx(0.5)
    assert scene.error_px((33.0, 26.0)) > 8  # the other sign


def test_processor_time_and_peak_are_those_of_the_command():
    """Measured by a process as small as whole.py: a child's peak is never less than what its parent holds."""
    busy = "import time; block = bytearray(200 << 20)\nwhile time.process_time() < 0.5: pass\nprint('done')"
    code = f"import json, sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import dataclasses, jobs\n"
    code += f"print(json.dumps(dataclasses.asdict(jobs.run([sys.executable, '-c', {busy!r}]))))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    done = json.loads(out)
    assert (done["says"], done["complaint"]) == ("done\n", "")
    assert 0.5 <= done["cpu_s"] < 1
    assert done["wall_s"] > 0.4
    assert 200 < done["peak_mb"] < 300


def test_waiting_is_no_processor_time(bench):
    done = bench["jobs"].run([sys.executable, "-c", "import time; time.sleep(0.5)"])
    assert done.cpu_s < 0.4
    assert done.wall_s >= 0.5


def test_a_command_that_fails_says_why(bench):
    done = bench["jobs"].run([sys.executable, "-c", "raise SystemExit('no such scene')"])
    assert done.complaint == "no such scene"
    with pytest.raises(SystemExit, match="no such scene"):
        bench["jobs"].needed([sys.executable, "-c", "raise SystemExit('no such scene')"])


def test_what_georeg_does_not_have_yet_is_left_out(bench):
    knows = bench["jobs"].knows
    assert knows("align")
    assert knows("align", "--resampling")
    assert not knows("align", "--resam")
    assert not knows("no-such-verb")


def test_numbers_are_told_by_three_digits_that_count(bench):
    told = [bench["jobs"].number(value) for value in (0.012345, 1.0, 12.345, 1234.5, 0.0)]
    assert told == ["0.0123", "1.00", "12.3", "1234", "0"]
    assert str(bench["jobs"].Spread.of([3.0, 1.0, 2.0])) == "2.00 (1.00-3.00)"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="runs cannot be held to a processor")
def test_a_run_is_held_to_as_many_processors_as_asked(bench):
    before = os.sched_getaffinity(0)
    done = bench["jobs"].run([sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"], cpus=1)
    assert done.says == "1\n"
    assert os.sched_getaffinity(0) == before


def test_every_means_of_a_floor_does_the_same_work(bench, pair):
    floors = bench["floors"]
    strip = next(floors.strips(pair[1])).astype(np.float32)
    inner = np.s_[20:-20, 20:-20]
    moved = {name: by(strip, prepare(pair[1]))[inner] for name, (prepare, by) in floors.WARPS.items()}
    exact = moved.pop("B-spline by georeg")
    assert np.abs(exact - strip[inner]).max() > 100  # it does move
    np.testing.assert_allclose(moved.pop("B-spline by cv2.sepFilter2D"), exact, atol=3)
    (other,) = moved.values()  # another kernel
    assert np.std(other - exact) < 0.1 * np.std(strip[inner])
    assert set(floors.correlate(list(pair), 5)) == set(floors.CORRELATIONS)


def test_a_floor_that_finds_another_shift_is_none(bench, pair):
    with pytest.raises(SystemExit, match="no floor"):
        bench["floors"].correlate([pair[0], pair[0]], 5)


def test_a_job_and_its_floor_are_encoded_alike(bench):
    assert set(bench["floors"].STORES) == set(bench["whole_floors"].STORES)


def test_stages_sum_to_the_whole_and_time_is_of_the_innermost(bench):
    clocks = bench["stages"].Clocks()

    def busy(cpu_s):
        end = time.thread_time() + cpu_s
        while time.thread_time() < end:
            pass

    stages = bench["stages"]
    read = clocks.timed(lambda: busy(0.2), stages.READ, "")
    match = clocks.timed(lambda: (busy(0.1), read()), stages.PREPARE, "")
    coarse = clocks.timed(lambda: (busy(0.05), match()), stages.COARSE, stages.COARSE)
    write = clocks.timed(lambda: (busy(0.3), read()), stages.WRITE, stages.WRITE)
    start_s = time.process_time()
    for stage in (match, coarse, write):
        stage()
    total_s = time.process_time() - start_s
    found = clocks.stages(0.0, total_s)
    assert sum(found.values()) == pytest.approx(total_s)
    expected = {stages.READ: 0.6, stages.PREPARE: 0.1, stages.COARSE: 0.15, stages.WRITE: 0.3}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=0.06)


def test_every_stage_is_found_in_this_version(bench):
    stages = bench["stages"]
    code = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import importlib, stages\n"
    code += "[importlib.import_module(name) for name in stages.MODULES]; print(stages.wrap(stages.Clocks()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
    assert set(stages.PHASES) < set(stages.STAGES)


@pytest.mark.parametrize(("script", "within_px"), [("skimage_phase.py", 0.1), ("opencv_phase.py", 0.3)])
def test_a_peer_finds_the_displacement(bench, pair, script, within_px):
    if "skimage" in script:
        pytest.importorskip("skimage")
    done = bench["jobs"].needed([sys.executable, BENCHMARKS / "peers_whole" / script, *pair, 9]).json()
    right_px, down_px = bench["scene"].SHIFT_PX
    truth = np.array([-right_px, down_px]) * bench["scene"].GSD
    assert len(done["tie"]) >= 4
    np.testing.assert_allclose(np.median(done["tie"], axis=0), truth, atol=10 * within_px)
    np.testing.assert_allclose(done["model"][-1], truth, atol=10 * within_px)


def test_whole_prints_a_section_and_writes_its_numbers(tmp_path):
    command = [sys.executable, BENCHMARKS / "whole.py", "--quick", "--section", "startup", "--out", tmp_path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "startup.json").read_text())
    assert all(row[0] in done.stdout for row in table["rows"])
    for _, least, median, wall, peak_mb, _ in table["rows"]:
        assert 0 < least <= median
        assert wall > 0
        assert peak_mb > 5
    assert table["rows"][-1][-1] < 0.05  # px
