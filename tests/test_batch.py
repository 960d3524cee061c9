"""Many targets, one reference: each as if it were alone, none stopped by another, and nothing of them left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.env import get_gdal_config
from rasterio.windows import Window
from scipy import ndimage

import georeg
from georeg import batch, reader
from georeg.cli import main
from georeg.decoded import Decoded, Pixels
from georeg.errors import InputError, LimitError, MatchError, OutputError
from georeg.raster import open_raster
from georeg.reader import Reader
from georeg.remote import current

Capture = pytest.CaptureFixture[str]
SIDE_PX, GSD = 400, 10.0
FEW = georeg.MatchOptions(window_px=64, max_points=60)
QUICK = ("--window-px", "64", "--max-points", "60", "--quiet")
PLACED = georeg.LimitOptions(min_overlap=0.8)
MOVED_PX = {"a.tif": (7, 12), "b.tif": (-9, 4), "c.jp2.tif": (3, -15), "d.tif": (0, 0)}
"""Rows and columns by which the ground of a target is further down and right than its file says; the last is in place."""
PARTS = 4
"""Of whole blocks, in which the reference is decoded."""
posix = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")


def save(path: Path, pixels: np.ndarray) -> str:
    where = {"crs": "EPSG:32633", "transform": Affine(GSD, 0, 4e5, 0, -GSD, 5.8e6)}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    size = {"height": pixels.shape[0], "width": pixels.shape[1], "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", **size, **where, **layout) as dataset:
        dataset.write(pixels[None].astype(np.uint16))
    return str(path)


def ground(seed: int, side_px: int) -> np.ndarray:
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side_px, side_px)), 1.5)
    return 2000 + 400 * rough / rough.std()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference, targets that belong on it, and others that do not."""
    folder, seen = tmp_path_factory.mktemp("scenes"), ground(1, 2 * SIDE_PX)
    save(folder / "reference.tif", seen[100:, 100:])
    for name, (row, col) in {**MOVED_PX, "beside.tif": (-100, 20)}.items():
        top, left = 100 + row, 100 + col
        save(folder / name, seen[top : top + SIDE_PX, left : left + SIDE_PX])
    content = (folder / "a.tif").read_bytes()
    (folder / "truncated.tif").write_bytes(content[: len(content) // 2])
    save(folder / "elsewhere.tif", ground(2, SIDE_PX))
    return folder


@pytest.fixture(scope="module")
def targets(folder: Path) -> list[str]:
    return [str(folder / name) for name in MOVED_PX]


@pytest.fixture(scope="module")
def alone(folder: Path, targets: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    """Result and output of each target that was aligned by itself."""
    made, out = {}, tmp_path_factory.mktemp("alone")
    for target in targets:
        alignment = georeg.align(folder / "reference.tif", target, matching=FEW)
        alignment.write(out / Path(target).name)
        made[Path(target).name] = (alignment.to_json(), (out / Path(target).name).read_bytes())
    return made


@pytest.fixture
def restored() -> Iterator[None]:
    """What a batch changes for the whole process is afterwards as it was before, and no thread of it is left."""

    def state() -> tuple[Any, ...]:
        ours = [t.name for t in threading.enumerate() if t.name.startswith("georeg")]
        return get_gdal_config("GDAL_CACHEMAX"), cv2.getNumThreads(), ours

    as_found = cv2.getNumThreads()
    cv2.setNumThreads(2)
    before = state()
    yield
    found = state()
    cv2.setNumThreads(as_found)
    assert found == before


def names(folder: Path) -> list[str]:
    """Of what is in a folder, but for the manifest."""
    return sorted(path.name for path in folder.iterdir() if path.name != "manifest.jsonl")


def reference(folder: Path) -> Path:
    return folder / "reference.tif"


# --- the result -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("n_threads", [1, 3])
def test_each_target_is_aligned_as_if_it_were_alone(
    n_threads: int, folder: Path, targets: list[str], alone: dict[str, tuple[str, bytes]], tmp_path: Path
) -> None:
    matching = georeg.MatchOptions(window_px=64, max_points=60, threads=n_threads)
    scenes = list(georeg.align_all(reference(folder), targets, tmp_path / "out", matching=matching))
    assert [scene.target for scene in scenes] == targets
    for scene in scenes:
        assert scene.alignment is not None
        assert scene.output == str(tmp_path / "out" / scene.name)
        assert (scene.alignment.to_json(), Path(scene.output).read_bytes()) == alone[scene.name]
        row, col = MOVED_PX[scene.name]
        assert scene.alignment.displacement() == pytest.approx((col * GSD, -row * GSD), abs=0.05 * GSD)
    assert [scene.outcome for scene in scenes] == ["aligned"] * 3 + ["already aligned"]
    assert names(tmp_path / "out") == sorted(MOVED_PX)


def test_resampled_outputs_are_the_same_too(folder: Path, targets: list[str], tmp_path: Path) -> None:
    resampled = georeg.WriteOptions(resample=True)
    (scene,) = georeg.align_all(reference(folder), targets[:1], tmp_path, matching=FEW, writing=resampled)
    assert scene.how == "resampled"
    georeg.align(reference(folder), targets[0], matching=FEW).write(tmp_path / "alone.tif", resampled)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "alone.tif").read_bytes()


@pytest.mark.parametrize("n_workers", [2, 3])
def test_an_executor_does_targets_or_of_few_the_tiles(
    n_workers: int, folder: Path, targets: list[str], alone: dict[str, tuple[str, bytes]]
) -> None:
    with ThreadPoolExecutor(n_workers) as executor:
        scenes = georeg.align_all(reference(folder), targets[:2], matching=FEW, executor=executor)
        assert [scene.alignment and scene.alignment.to_json() for scene in scenes] == [
            alone[n][0] for n in ("a.tif", "b.tif")
        ]
        with pytest.raises(InputError, match="--threads is 2"):
            georeg.align_all(reference(folder), targets, matching=georeg.MatchOptions(threads=2), executor=executor)


@pytest.mark.usefixtures("restored")
def test_what_is_refused_stops_no_other(folder: Path, tmp_path: Path) -> None:
    tried = ["truncated.tif", "a.tif", "elsewhere.tif", "beside.tif", "absent.tif", "b.tif"]
    paths = [folder / name for name in tried]
    scenes = list(georeg.align_all(reference(folder), paths, tmp_path / "out", matching=FEW, limits=PLACED))
    assert [scene.outcome for scene in scenes] == [
        "refused",
        "aligned",
        "refused",
        "over a limit",
        "refused",
        "aligned",
    ]
    kinds = [type(scene.error) for scene in scenes]
    assert kinds == [InputError, type(None), MatchError, LimitError, InputError, type(None)]
    assert [scene.output is None for scene in scenes] == [scene.error is not None for scene in scenes]
    assert names(tmp_path / "out") == ["a.tif", "b.tif"]


def test_an_output_that_cannot_be_written_stops_no_other(
    folder: Path, targets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(alignment: georeg.Alignment, path: str, *args: Any, **kwargs: Any) -> Any:
        if path.endswith("a.tif"):
            raise OutputError("the disk is full")
        return georeg.apply(alignment, path, *args, **kwargs)

    monkeypatch.setattr(batch, "apply", full)
    first, second = georeg.align_all(reference(folder), targets[:2], tmp_path, matching=FEW)
    assert first.alignment is not None
    assert (first.outcome, first.output, str(first.error)) == ("failed", None, "the disk is full")
    assert (second.outcome, names(tmp_path)) == ("aligned", ["b.tif"])


def test_without_a_folder_nothing_is_written(folder: Path, targets: list[str]) -> None:
    before = names(folder)
    (scene,) = georeg.align_all(reference(folder), targets[:1], matching=FEW)
    assert (scene.outcome, scene.output, scene.how) == ("aligned", None, None)
    assert names(folder) == before


def test_targets_may_be_corrected_where_they_are(
    folder: Path, alone: dict[str, tuple[str, bytes]], tmp_path: Path
) -> None:
    copy = tmp_path / "a.tif"
    copy.write_bytes((folder / "a.tif").read_bytes())
    in_place = georeg.WriteOptions(in_place=True)
    (scene,) = georeg.align_all(reference(folder), [copy], matching=FEW, writing=in_place)
    assert (scene.how, scene.output) == ("in place", str(copy))
    with rasterio.open(copy) as dataset:
        assert dataset.transform.c == pytest.approx(4e5 + 120, abs=0.5)


# --- refused before any work ----------------------------------------------------------------------------------------


def twins(folder: Path, out: Path) -> dict[str, Any]:
    out.mkdir()
    (out / "a.tif").write_bytes((folder / "a.tif").read_bytes())
    return {"targets": [folder / "a.tif", out / "a.tif"]}


def written(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"precious")
    return path


REFUSED: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], type[Exception], str]] = {
    "no target": (lambda f, o: {"targets": []}, InputError, "no target"),
    "one name": (lambda f, o: {"targets": [f / "a.tif", f / "." / "a.tif"]}, OutputError, "2 targets would be .* a.tif"),
    "one name once written": (lambda f, o: {"targets": [f / "a.png", f / "a.tif"]}, OutputError, "2 targets would"),
    "exists": (lambda f, o: {"targets": [f / "b.tif", f / written(o / "a.tif").name]}, OutputError, "a.tif exists"),
    "its own input": (lambda f, o: {"folder": f, "overwrite": True}, OutputError, "would replace .*a.tif"),
    "another's input": (lambda f, o: twins(f, o) | {"targets": [o / "a.tif", f / "b.tif"]}, OutputError, "replace"),
    "the reference": (lambda f, o: {"targets": [o / "reference.tif"], "folder": f}, OutputError, "would replace"),
    "no parent": (lambda f, o: {"folder": o / "deep" / "er"}, OutputError, "cannot be made: no such file"),
    "a file": (lambda f, o: {"folder": written(o / "file")}, OutputError, "cannot be made"),
    "no reference": (lambda f, o: {"reference": f / "absent.tif"}, InputError, "does not exist"),
    "no band": (lambda f, o: {"inputs": georeg.InputOptions(ref_bands=(7,))}, InputError, "no band 7"),
    "threads": (lambda f, o: {"matching": georeg.MatchOptions(threads=0)}, InputError, "--threads is 0"),
    "limit": (lambda f, o: {"limits": georeg.LimitOptions(max_scale=-1)}, InputError, "--max-scale"),
    "cache": (lambda f, o: {"batch": georeg.BatchOptions(cache_mb=-1)}, InputError, "--cache-mb is -1"),
    "uncertainty": (lambda f, o: {"writing": georeg.WriteOptions(uncertainty="s.tif")}, InputError, "--uncertainty is"),
    "in place too": (lambda f, o: {"writing": georeg.WriteOptions(in_place=True)}, InputError, "exclude each other"),
    "no folder": (
        lambda f, o: {"folder": None, "writing": georeg.WriteOptions(resample=True)}, InputError, "without a folder"
    ),
    "twice in place": (
        lambda f, o: {"folder": None, "writing": georeg.WriteOptions(in_place=True), "targets": [f / "a.tif"] * 2},
        OutputError, "cannot be corrected in place, as .*a.tif is the same",
    ),
    "the reference in place": (
        lambda f, o: {
            "folder": None, "writing": georeg.WriteOptions(in_place=True), "targets": [f / "a.tif", f / "reference.tif"]
        },
        OutputError, "reference.tif is the same",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_before_any_work(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "match_onto", lambda *_: pytest.fail("work was done"))
    make, kind, text = REFUSED[name]
    given = {"reference": reference(folder), "targets": [folder / "a.tif"], "folder": tmp_path / "out"}
    given |= make(folder, tmp_path / "out")
    if given.pop("overwrite", False):
        given["writing"] = georeg.WriteOptions(overwrite=True)
    before = {path: path.read_bytes() for path in (*tmp_path.rglob("*"), *folder.iterdir()) if path.is_file()}
    with pytest.raises(kind, match=text):
        georeg.align_all(given.pop("reference"), given.pop("targets"), given.pop("folder"), **given)
    after = {path: path.read_bytes() for path in (*tmp_path.rglob("*"), *folder.iterdir()) if path.is_file()}
    assert after == before


def test_a_folder_in_which_nothing_is_put_goes_again(folder: Path, tmp_path: Path) -> None:
    georeg.align_all(reference(folder), [folder / "a.tif"], tmp_path / "never")
    assert names(tmp_path) == []
    list(georeg.align_all(reference(folder), [folder / "truncated.tif"], tmp_path / "out"))
    assert names(tmp_path / "out") == []
    assert '"state": "refused"' in (tmp_path / "out" / "manifest.jsonl").read_text()


# --- stopped --------------------------------------------------------------------------------------------------------


def many(folder: Path, to: Path, n: int) -> list[str]:
    """The same target again and again, under other names."""
    content = (folder / "a.tif").read_bytes()
    for k in range(n):
        written(to / f"{k:02}.tif").write_bytes(content)
    return [str(to / f"{k:02}.tif") for k in range(n)]


@pytest.mark.usefixtures("restored")
def test_who_stops_listening_stops_the_work(folder: Path, tmp_path: Path) -> None:
    scenes = georeg.align_all(reference(folder), many(folder, tmp_path / "in", 12), tmp_path / "out", matching=FEW)
    assert next(scenes).outcome == "aligned"
    scenes.close()  # type: ignore[attr-defined]
    left = names(tmp_path / "out")
    assert "00.tif" in left
    assert len(left) < 12
    assert not [name for name in left if "georeg-" in name]
    for name in left:
        with rasterio.open(tmp_path / "out" / name) as dataset:
            assert dataset.transform.c == pytest.approx(4e5 + 120, abs=0.5)


@pytest.mark.usefixtures("restored")
def test_an_interrupt_is_raised_and_stops_all(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, match_onto = [], batch.match_onto

    def failing(raster: Any, target: str, *given: Any) -> Any:
        started.append(target)
        if target.endswith("01.tif"):
            raise KeyboardInterrupt
        return match_onto(raster, target, *given)

    monkeypatch.setattr(batch, "match_onto", failing)
    scenes = georeg.align_all(reference(folder), many(folder, tmp_path / "in", 12), matching=FEW)
    assert next(scenes).name == "00.tif"
    with pytest.raises(KeyboardInterrupt):
        next(scenes)
    assert len(started) < 12


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("raised", [ZeroDivisionError("7"), MemoryError("8 GB")], ids=["bug", "memory"])
def test_what_nobody_foresaw_stops_no_other(
    raised: Exception,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    match_onto = batch.match_onto

    def failing(raster: Any, target: str, *given: Any) -> Any:
        if target.endswith("01.tif"):
            raise raised
        return match_onto(raster, target, *given)

    monkeypatch.setattr(batch, "match_onto", failing)
    paths, out = many(folder, tmp_path / "in", 4), tmp_path / "out"
    log = tmp_path / "log.txt"
    assert main(["batch", str(reference(folder)), *paths, *QUICK, "-o", str(out), "--log", str(log)]) == 1
    told = capsys.readouterr().out.splitlines()
    said = "the memory is full (8 GB)" if isinstance(raised, MemoryError) else "internal error: ZeroDivisionError: 7"
    assert told[1].startswith(f"01.tif: failed: {said}")
    assert told[4].endswith(": 3 aligned, 1 failed")
    assert names(out) == ["00.tif", "02.tif", "03.tif"]
    assert "Traceback" in log.read_text()


@pytest.mark.usefixtures("restored")
def test_what_is_in_progress_stops_at_its_next_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    working = threading.Event()

    def endless(raster: Any, target: str, inputs: Any, matching: Any, progress: Any, *_: Any) -> Any:
        for k in range(1000 if target == "1.tif" else 0):
            working.set()
            progress("match", k, 1000)
            time.sleep(0.05)
        raise MatchError("no")

    monkeypatch.setattr(batch, "match_onto", endless)
    two = georeg.MatchOptions(threads=2)
    scenes = georeg.align_all(reference(folder), ["0.tif", "1.tif", "2.tif"], matching=two)
    assert next(scenes).outcome == "refused"
    assert working.wait(10)
    began = time.monotonic()
    scenes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 10


@posix
def test_an_interruption_leaves_whole_files_alone(folder: Path, tmp_path: Path) -> None:
    paths, out = many(folder, tmp_path / "in", 40), tmp_path / "out"
    command = [sys.executable, "-m", "georeg.cli", "batch", str(reference(folder)), *paths, "-o", str(out), *QUICK]
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which a shell's background job does not
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hears
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=180)
    assert first.startswith("00.tif: mean displacement 120.")
    assert process.returncode == 1
    assert told.startswith("georeg: interrupted; ")
    assert "00.tif written before" in told.replace(f"{out}{os.sep}", "") or "00.tif," in told
    left = names(out)
    assert 0 < len(left) < 40
    for name in left:
        with rasterio.open(out / name) as dataset:
            assert dataset.transform.c == pytest.approx(4e5 + 120, abs=0.5)


# --- what is shared -------------------------------------------------------------------------------------------------


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[Reader]:
    """Of the references of the batches to come."""
    made = []

    def spy(*given: Any, **named: Any) -> Reader:
        made.append(Reader(*given, **named))
        return made[-1]

    monkeypatch.setattr(batch, "Reader", spy)
    return made


def test_each_part_of_the_reference_is_decoded_once_if_it_fits(
    folder: Path, targets: list[str], readers: list[Reader]
) -> None:
    for cache_mb in (256, 0):
        scenes = georeg.align_all(
            reference(folder), targets, matching=FEW, batch=georeg.BatchOptions(cache_mb=cache_mb)
        )
        assert len(list(scenes)) == len(targets)
    assert readers[0].n_decoded == PARTS < readers[1].n_decoded


def test_threads_that_come_and_go_leave_one_handle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, dataset_of = [], reader.dataset_of
    monkeypatch.setattr(
        reader, "dataset_of", lambda *given, **named: opened.append(given) or dataset_of(*given, **named)
    )
    with Reader(open_raster(reference(folder)), kept_bytes=0) as one:
        for k in range(10):
            thread = threading.Thread(target=one.read, args=((512 * (k % 2), 0), (64, 64), (1,)))
            thread.start()
            thread.join()
    assert one.n_decoded == 10
    assert len(opened) == 1


@pytest.mark.parametrize(("kept_bytes", "n_decoded"), [(reader.KEPT_BYTES, 2), (reader.KEPT_BYTES + 1, 1)])
def test_what_is_kept_for_other_targets_is_not_forgotten_by_one(kept_bytes: int, n_decoded: int, folder: Path) -> None:
    with Reader(open_raster(reference(folder)), kept_bytes=kept_bytes) as one:
        for _ in range(2):
            one.read((0, 0), (64, 64), (1,))
            one.forget()
    assert one.n_decoded == n_decoded


def test_what_is_forgotten_while_it_is_decoded_takes_no_room() -> None:
    def decode(window: Window, bands: tuple[int, ...]) -> Pixels:
        if forgetting[0]:
            decoded.forget()
        return Pixels(np.zeros((1, int(window.height), int(window.width)), np.uint8), None)

    forgetting, decoded = [True], Decoded(decode, (20, 10), (10, 10), capacity_bytes=250)
    for forgetting[0] in (True, True, True, False, False):
        list(decoded.within(Window(0, 0, 10, 20), (1,)))
    assert decoded.n_decoded == 8  # two parts, three times forgotten, then kept


def test_whoever_leaves_last_puts_the_cache_of_gdal_back(folder: Path) -> None:
    before, raster = get_gdal_config("GDAL_CACHEMAX"), open_raster(reference(folder))
    one, other = Reader(raster), Reader(raster)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert get_gdal_config("GDAL_CACHEMAX") == reader.GDAL_BYTES
    other.__exit__(None, None, None)
    assert get_gdal_config("GDAL_CACHEMAX") == before


@pytest.mark.parametrize(("n_targets", "each"), [(1, 4), (2, 2), (3, 1), (9, 1)])
def test_threads_are_shared_out_to_the_targets(
    n_targets: int, each: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def refusing(raster: Any, target: str, inputs: Any, matching: georeg.MatchOptions, *_: Any) -> Any:
        seen.append((matching.threads, current()))
        raise MatchError("no")

    monkeypatch.setattr(batch, "match_onto", refusing)
    with georeg.metered() as traffic:
        scenes = georeg.align_all(reference(folder), ["a.tif"] * n_targets, matching=georeg.MatchOptions(threads=4))
        assert [scene.outcome for scene in scenes] == ["refused"] * n_targets
    assert [n for n, _ in seen] == [each] * n_targets
    assert all(counted is traffic for _, counted in seen)  # what they read is counted where the batch was started


def test_what_was_refused_holds_no_pixels(folder: Path) -> None:
    (scene,) = georeg.align_all(reference(folder), [folder / "truncated.tif"], matching=FEW)
    one: BaseException | None = scene.error
    assert one is not None
    while one is not None:
        assert one.__traceback__ is None
        one = one.__cause__ or one.__context__


def test_scenes_are_told_one_after_the_other(folder: Path, targets: list[str]) -> None:
    heard: list[tuple[str, int, int]] = []
    scenes = georeg.align_all(reference(folder), targets[:2], matching=FEW, progress=lambda *stage: heard.append(stage))
    assert all(scene.seconds > 0 for scene in scenes)
    assert heard == [("scenes", 0, 2), ("scenes", 1, 2), ("scenes", 2, 2)]


# --- the command line -----------------------------------------------------------------------------------------------


def test_a_line_for_each_target_and_the_worst_exit_code(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    tried = [str(folder / name) for name in ("a.tif", "truncated.tif", "beside.tif", "d.tif")]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(tried[1:]) + "\n")
    arguments = ["batch", str(reference(folder)), tried[0], f"@{listed}", *QUICK, "--min-overlap", "0.8"]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0].startswith("a.tif: mean displacement 120.")
    assert lines[0].endswith("geotransform rewritten, pixels untouched")
    assert lines[1].startswith("truncated.tif: refused: ")
    assert lines[2].startswith("beside.tif: refused: ")
    assert lines[3].startswith("d.tif: already aligned")
    assert lines[4].startswith("4 targets in ")
    assert lines[4].endswith(" s: 1 aligned, 1 already aligned, 1 refused, 1 over a limit")
    assert len(lines) == 5
    assert names(tmp_path / "out") == ["a.tif", "d.tif"]


def test_one_json_document_holds_each_result(
    folder: Path, alone: dict[str, tuple[str, bytes]], tmp_path: Path, capsys: Capture
) -> None:
    tried = [str(folder / name) for name in ("a.tif", "beside.tif")]
    assert main(["batch", str(reference(folder)), *tried, *QUICK, "--min-overlap", "0.8", "--json"]) == 3
    values = json.loads(capsys.readouterr().out)
    assert (values["type"], values["counts"]["aligned"], values["counts"]["over a limit"]) == ("georeg.Batch", 1, 1)
    good, over = values["scenes"]
    lone = json.loads(alone["a.tif"][0])
    assert good["alignment"] == {**lone, "options": [*lone["options"], "--min-overlap", "0.8"]}
    assert (good["outcome"], good["error"], good["output"]) == ("aligned", None, None)
    assert (over["alignment"], over["error"]["type"], over["error"]["exit_code"]) == (None, "LimitError", 3)
    assert "--min-overlap" in over["error"]["message"]


def test_all_done_is_exit_code_0(folder: Path, capsys: Capture) -> None:
    assert main(["batch", str(reference(folder)), str(folder / "b.tif"), *QUICK]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    with pytest.raises(SystemExit) as usage:
        main(["batch", str(reference(folder)), "b.tif", "-o", "out", "--in-place"])
    assert usage.value.code == 2
