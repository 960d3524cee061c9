"""A batch that is cut off goes on where it was, ends with the same bytes, and leaves what is done alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import reproject, transform_bounds

import georeg
from georeg import batch, ledger, manifest
from georeg.cli import main
from georeg.errors import OutputError

Capture = pytest.CaptureFixture[str]
SAMPLES = Path(__file__).parents[1] / "sample_tiles"
REFERENCE = SAMPLES / "shift_reference.tif"
SIDE_PX, N_GOOD = 288, 26
FEW = georeg.MatchOptions(window_px=64, max_points=50)
QUICK = ("--window-px", "64", "--max-points", "50", "--quiet")
ODD = ("cloud.tif", "corrupt.tif", "elsewhere.tif", "zone.tif")
"""Saturated all over; cut off; on other ground; in another CRS."""


def save(path: Path, pixels: np.ndarray, transform: Affine, crs: str = "EPSG:32633", **how: Any) -> None:
    size = {"height": pixels.shape[0], "width": pixels.shape[1], "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **size, **how) as dataset:
        dataset.write(pixels, 1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty small targets, of which one is corrupt, one is all cloud, one is elsewhere, and one is in another CRS."""
    folder, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(5)
    with rasterio.open(SAMPLES / "shift_target.tif") as dataset:
        pixels, transform = dataset.read(1), dataset.transform
    for k in range(N_GOOD):
        col, row = rng.integers(0, 512 - SIDE_PX, 2)
        east, north = rng.uniform(-60, 60, 2)
        place = Affine.translation(east, north) @ transform @ Affine.translation(col, row)
        save(folder / f"s{k:02}.tif", pixels[row : row + SIDE_PX, col : col + SIDE_PX], place)
    part = pixels[:SIDE_PX, :SIDE_PX]
    save(folder / "cloud.tif", np.full_like(part, 65535), transform)
    save(folder / "elsewhere.tif", part, Affine.translation(2e5, 0) @ transform)
    save(folder / "corrupt.tif", part, transform)
    content = (folder / "corrupt.tif").read_bytes()
    (folder / "corrupt.tif").write_bytes(content[: len(content) // 2])
    zone = np.zeros((620, 620), np.uint16)
    left, _, _, top = transform_bounds("EPSG:32633", "EPSG:32632", *dataset.bounds)
    to = Affine(10, 0, left, 0, -10, top)
    reproject(pixels, zone, src_transform=transform, src_crs="EPSG:32633", dst_transform=to, dst_crs="EPSG:32632")
    save(folder / "zone.tif", zone, to, "EPSG:32632", nodata=0)
    return folder


def words(scenes: Path, out: Path) -> list[str]:
    return ["batch", str(REFERENCE), *map(str, sorted(scenes.iterdir())), *QUICK, "-o", str(out)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a batch that nobody cut off has written."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main(words(scenes, out)) == 1
    return out


# --- what it says ---------------------------------------------------------------------------------------------------


def test_each_target_has_a_line_in_their_order(scenes: Path, whole: Path) -> None:
    said = {Path(one["target"]).name: one for one in lines(whole / "manifest.jsonl")}
    assert list(said) == sorted(path.name for path in scenes.iterdir())
    assert len(said) == 30
    assert {name: one["state"] for name, one in said.items() if one["state"] != "done"} == {
        "cloud.tif": "refused", "corrupt.tif": "refused", "elsewhere.tif": "refused"
    }  # fmt: skip
    assert {one["error"]["type"] for one in said.values() if one["error"]} <= {
        "InputError",
        "OverlapError",
        "MatchError",
    }
    for one in said.values():
        if one["state"] == "done":
            assert one["figures"]["rmse_px"] < 0.2
            assert one["figures"]["n_check_points"] >= 4
            assert (whole / one["output"]).is_file()
    assert sorted(one["output"] for one in said.values() if one["output"]) == sorted(
        path.name for path in whole.glob("*.tif")
    )


def test_the_same_command_again_does_nothing_and_tells(
    scenes: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    before = content(whole)
    monkeypatch.setattr(batch, "match_onto", lambda *_: pytest.fail("work was done"))
    assert main(words(scenes, whole)) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("cloud.tif: done before: refused: ")
    assert told[3].startswith("s00.tif: done before: mean displacement ")
    assert told[-1].endswith("27 aligned, 3 refused; 30 of them were done before")
    assert main([*words(scenes, whole), "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert (values["skipped"], values["counts"]["aligned"]) == (30, 27)
    assert values["scenes"][3]["figures"] == lines(whole / "manifest.jsonl")[3]["figures"]
    assert content(whole) == before


# --- cut off --------------------------------------------------------------------------------------------------------


def test_a_killed_batch_ends_with_the_same_bytes(scenes: Path, whole: Path, tmp_path: Path) -> None:
    out, n_before = tmp_path / "out", 0
    for n_lines in (0, 1, 4, 7, 3):
        command = [sys.executable, "-m", "georeg.cli", *words(scenes, out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            for _ in range(n_before + n_lines):
                assert process.stdout.readline()
            while not (out / "manifest.jsonl").exists():
                pass
            process.kill()
        last = {one.target: one for one in manifest.read_manifest(str(out / "manifest.jsonl")).records.values()}
        n_before = 0
        for path in sorted(scenes.iterdir()):  # those in a row from the first, whose lines come at once
            if str(path) not in last or not last[str(path)].settled:
                break
            n_before += 1
    assert n_before >= 15
    done = subprocess.run(
        [sys.executable, "-m", "georeg.cli", *words(scenes, out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert int(done.stdout.rpartition("; ")[2].split()[0]) >= n_before
    assert content(out) == content(whole)


@pytest.fixture
def few(scenes: Path) -> list[Path]:
    return [scenes / name for name in ("cloud.tif", "s00.tif", "s01.tif", "s02.tif")]


def run(few: list[Path], out: Path, **given: Any) -> list[georeg.Scene]:
    return list(georeg.align_all(given.pop("reference", REFERENCE), few, out, matching=FEW, **given))


def test_a_manifest_cut_off_anywhere_is_gone_on_with(
    few: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, log = tmp_path / "out", tmp_path / "out" / "manifest.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(manifest.Manifest, "finish", lambda *_: None)
        run(few, out)
    noted = log.read_bytes()
    assert noted.count(b"\n") == 2 * len(few)
    pending_ends = len(b"".join(noted.splitlines(keepends=True)[: len(few)]))
    run(few, out)
    expected = content(out)
    for cut in [*np.linspace(pending_ends, len(noted), 7).astype(int), len(noted) - 1]:
        log.write_bytes(noted[:cut])
        scenes = run(few, out)
        whole_but_for_its_end = cut == len(noted) - 1
        assert sum(s.skipped for s in scenes) == noted.count(b"\n", pending_ends, cut) + whole_but_for_its_end
        assert content(out) == expected


def test_a_line_cut_off_spoils_none_that_follow(
    few: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, log = tmp_path / "out", tmp_path / "out" / "manifest.jsonl"
    run(few[:2], out)
    expected = content(out)
    log.write_bytes(expected["manifest.jsonl"][:-40])
    (out / "s00.tif").unlink()
    with monkeypatch.context() as patch:  # cut off a second time, between the output and its line
        patch.setattr(ledger.Ledger, "note", lambda *_: None)
        patch.setattr(manifest.Manifest, "finish", lambda *_: None)
        run(few[:2], out)
    assert [scene.skipped for scene in run(few[:2], out)] == [True, False]
    assert content(out) == expected


def test_what_was_there_before_a_cut_off_run_is_never_replaced(few: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(few, out)
    log = out / "manifest.jsonl"
    (one,) = [line for line in lines(log) if line["target"].endswith("s00.tif")]
    left = {"state": "pending", "sha256": None, "how": None, "figures": None, "summary": None}
    log.write_text(json.dumps(one | left) + "\n")
    (out / "s00.tif").write_bytes(few[1].read_bytes())  # another file under the name of what was to be written
    before = content(out)
    with pytest.raises(OutputError, match=r"s00\.tif exists; choose another output"):
        run(few, out)
    assert content(out) == before


def test_lines_of_other_targets_stay(few: list[Path], tmp_path: Path) -> None:
    run(few[:2], tmp_path / "out")
    before = (tmp_path / "out" / "manifest.jsonl").read_bytes()
    run(few[2:], tmp_path / "out")
    assert (tmp_path / "out" / "manifest.jsonl").read_bytes().startswith(before)
    assert all(scene.skipped for scene in run(few, tmp_path / "out"))


# --- what is the same -----------------------------------------------------------------------------------------------


def other_reference(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "reference.tif").write_bytes(REFERENCE.read_bytes())
    return {"reference": tmp_path / "reference.tif"}


def touched(tmp_path: Path) -> dict[str, Any]:
    os.utime(tmp_path / "s00.tif", ns=(1, 1))
    return {}


def edited(tmp_path: Path) -> dict[str, Any]:
    with open(tmp_path / "out" / "s00.tif", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    return {}


CHANGED: dict[str, Callable[[Path], dict[str, Any]]] = {
    "options": lambda _: {"limits": georeg.LimitOptions(max_ce90="5px")},
    "how it is written": lambda _: {"writing": georeg.WriteOptions(resample=True)},
    "reference": other_reference,
    "target": touched,
    "output": edited,
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_changed_is_done_anew_only_where_that_may_be(name: str, few: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "s00.tif"
    target.write_bytes(few[1].read_bytes())
    run([target], tmp_path / "out")
    given = CHANGED[name](tmp_path)
    before = content(tmp_path / "out")
    with pytest.raises(OutputError, match=r"s00\.tif is of an earlier run .* give --overwrite to make it anew"):
        run([target], tmp_path / "out", **given)
    assert content(tmp_path / "out") == before
    given["writing"] = replace(given.get("writing", georeg.WriteOptions()), overwrite=True)
    assert [scene.skipped for scene in run([target], tmp_path / "out", **given)] == [False]
    assert [scene.skipped for scene in run([target], tmp_path / "out", **given)] == [True]
    assert len(lines(tmp_path / "out" / "manifest.jsonl")) == 1


def test_an_output_that_is_gone_is_made_again(few: list[Path], tmp_path: Path) -> None:
    run(few, tmp_path / "out")
    before = content(tmp_path / "out")
    (tmp_path / "out" / "s01.tif").unlink()
    assert [scene.skipped for scene in run(few, tmp_path / "out")] == [True, True, False, True]
    assert content(tmp_path / "out") == before


def test_another_version_does_it_anew(few: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(few[:1], tmp_path / "out")
    work_of = ledger.work_of
    monkeypatch.setattr(batch, "work_of", lambda *given: replace(work_of(*given), georeg="99"))
    assert [scene.skipped for scene in run(few[:1], tmp_path / "out")] == [False]


def test_what_failed_or_was_absent_is_tried_again(
    few: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, target = tmp_path / "out", tmp_path / "late.tif"
    with monkeypatch.context() as patch:
        patch.setattr(batch, "apply", lambda *_, **__: 1 / 0)
        failed, absent = run([few[1], target], out)
    assert (failed.outcome, absent.outcome) == ("failed", "refused")
    assert not run([target], out)[0].skipped
    target.write_bytes(few[2].read_bytes())
    assert [(scene.skipped, scene.outcome) for scene in run([few[1], target], out)] == [(False, "aligned")] * 2


def test_without_a_folder_measurements_are_kept_where_it_is_asked_for(few: list[Path], tmp_path: Path) -> None:
    kept = georeg.BatchOptions(manifest=str(tmp_path / "kept.jsonl"))
    first = [scene.figures for scene in run(few[:2], None, batch=kept)]  # type: ignore[arg-type]
    again = run(few[:2], None, batch=kept)  # type: ignore[arg-type]
    assert [scene.figures for scene in again] == first
    assert all(scene.skipped and scene.alignment is None for scene in again)
    written = run(few[:2], tmp_path / "out", batch=kept)
    assert [scene.skipped for scene in written] == [True, False]  # one is refused, the other has no file yet
    assert (tmp_path / "out" / "s00.tif").exists()


def test_what_is_corrected_in_place_is_corrected_once(few: list[Path], tmp_path: Path) -> None:
    target, kept = tmp_path / "s00.tif", georeg.BatchOptions(manifest=str(tmp_path / "kept.jsonl"))
    target.write_bytes(few[1].read_bytes())
    in_place = georeg.WriteOptions(in_place=True)
    (first,) = run([target], None, batch=kept, writing=in_place)  # type: ignore[arg-type]
    after = target.read_bytes()
    (again,) = run([target], None, batch=kept, writing=in_place)  # type: ignore[arg-type]
    assert (first.skipped, first.outcome, again.skipped, again.outcome) == (False, "aligned", True, "aligned")
    assert target.read_bytes() == after


# --- whoever does the work ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_workers_that_have_a_target_each_write_the_same_bytes(
    kind: str, scenes: Path, whole: Path, tmp_path: Path
) -> None:
    def pool() -> Executor:
        if kind == "threads":
            return ThreadPoolExecutor(2)
        return ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))

    paths = sorted(scenes.iterdir())[:8]
    with pool() as executor:
        done = run(paths, tmp_path / "out", executor=executor)
    assert [scene.outcome for scene in done] == ["refused"] * 3 + ["aligned"] * 5
    names = [path.name for path in paths if (whole / path.name).exists()]
    assert {name: (tmp_path / "out" / name).read_bytes() for name in names} == {
        name: (whole / name).read_bytes() for name in names
    }
    noted = {one["target"]: one for one in lines(whole / "manifest.jsonl")}
    assert lines(tmp_path / "out" / "manifest.jsonl") == [noted[str(path)] for path in paths]


# --- limits ---------------------------------------------------------------------------------------------------------


def test_what_is_over_a_limit_is_listed_for_another_run(few: list[Path], tmp_path: Path, capsys: Capture) -> None:
    figures = {scene.name: scene.figures["ce90_px"] for scene in run(few[1:], None) if scene.figures}  # type: ignore[arg-type]
    best, *rest = sorted(figures, key=lambda name: figures[name])
    limit, listed = f"{(figures[best] + figures[rest[0]]) / 2}px", tmp_path / "again.txt"
    command = ["batch", str(REFERENCE), *map(str, few[1:]), *QUICK, "-o", str(tmp_path / "out")]
    limited = [*command, "--max-ce90", limit, "--quarantine", str(listed)]
    for _ in range(2):  # the second time it is told from the manifest
        assert main(limited) == 3
        assert sorted(map(os.path.basename, listed.read_text().splitlines())) == sorted(rest)
        assert sorted(path.name for path in (tmp_path / "out").glob("*.tif")) == [best]
    assert capsys.readouterr().out.count("over the limit of") == 2 * len(rest)
    over = [one for one in lines(tmp_path / "out" / "manifest.jsonl") if one["state"] == "over a limit"]
    assert {os.path.basename(one["target"]): one["figures"]["ce90_px"] for one in over} == {n: figures[n] for n in rest}
    assert main(["batch", str(REFERENCE), f"@{listed}", *QUICK, "-o", str(tmp_path / "more")]) == 0
    assert sorted(path.name for path in (tmp_path / "more").glob("*.tif")) == sorted(rest)


# --- what is not lost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["manifest", "quarantine"])
def test_a_file_of_another_kind_is_never_replaced(option: str, few: list[Path], tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text(f"{few[1]}\nprecious\n")
    with pytest.raises(OutputError, match=r"mine\.txt"):
        run(few, tmp_path / "out", batch=georeg.BatchOptions(**{option: str(mine)}))
    assert mine.read_text() == f"{few[1]}\nprecious\n"
    with pytest.raises(OutputError, match="would replace"):
        run(few, tmp_path / "out", batch=georeg.BatchOptions(**{option: str(few[1])}))


@pytest.mark.skipif(os.name != "posix", reason="there are no locks elsewhere")
def test_two_runs_do_not_write_one_manifest(few: list[Path], tmp_path: Path) -> None:
    scenes = georeg.align_all(REFERENCE, few, tmp_path / "out", matching=FEW)
    next(scenes)
    with pytest.raises(OutputError, match="another run writes the manifest"):
        run([few[0]], tmp_path / "out", limits=georeg.LimitOptions(max_ce90="1px"))
    scenes.close()  # type: ignore[attr-defined]
    assert len(run(few, tmp_path / "out")) == len(few)


def test_a_manifest_that_cannot_be_written_ends_the_run(
    few: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = georeg.align_all(REFERENCE, few, tmp_path / "out", matching=FEW)
    next(scenes)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(
        OutputError, match=r"manifest .* cannot be written: no space left on device; what it says is done"
    ):
        list(scenes)
