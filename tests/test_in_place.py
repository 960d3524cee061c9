"""A correction in place changes the header alone, can be taken back to the byte, and survives being killed at any moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from test_geotiff import MOVED, ORIGIN, VARIANTS, contents, image, save, transform_of
from test_tiff import RPCS, extended, with_gcps

from georeg import in_place
from georeg.errors import InputError, OutputError
from georeg.in_place import SUFFIX, correct_in_place, undo
from georeg.raster import open_raster

AGAIN = Affine.translation(-3, 8) @ MOVED


def files(folder: Path) -> dict[str, bytes]:
    """All but what a killed process left under a temporary name."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith(".")}


# --- corrected, and as it was -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_two_corrections_are_taken_back_to_the_byte(name: str, tmp_path: Path) -> None:
    path = VARIANTS[name](tmp_path / "source.tif")
    before, held = files(tmp_path), contents(path)
    start = path.read_bytes()
    assert correct_in_place(open_raster(path), MOVED) == f"{path}{SUFFIX}"
    once = files(tmp_path)
    assert transform_of(path) == MOVED
    assert contents(path) == held
    assert path.read_bytes()[400 : len(start)] == start[400:]  # pixels and all else but the header stay where they are
    correct_in_place(open_raster(path), AGAIN, tags={"RMSE": "0.2"})
    with rasterio.open(path) as dataset:
        assert dataset.transform == AGAIN
        assert dataset.tags(ns="GEOREG") == {"RMSE": "0.2"}
    undone = undo(str(path))
    assert (undone.restored, undone.left) == (True, 1)
    assert files(tmp_path) == once
    undone = undo(str(path))
    assert (undone.restored, undone.left) == (True, 0)
    assert files(tmp_path) == before


def test_a_file_with_gcps_or_rpcs_is_placed_and_gets_them_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reference = open_raster(save(tmp_path / "reference.tif", image()))
    points, coefficients = with_gcps(tmp_path / "gcps.tif"), save(tmp_path / "rpcs.tif", image())
    with rasterio.open(coefficients, "r+") as dataset:
        dataset.update_tags(ns="RPC", **RPCS)
    before = files(tmp_path)
    for path in (points, coefficients):
        correct_in_place(open_raster(path, reference=reference), MOVED)
        with rasterio.open(path) as dataset:
            assert (dataset.transform, dataset.gcps[0], dataset.rpcs) == (MOVED, [], None)
        undo(str(path))
    assert files(tmp_path) == before
    assert "the 5 GCPs of gcps.tif were replaced" in caplog.text
    assert "the RPCs of rpcs.tif were dropped" in caplog.text


def test_a_file_with_rpcs_beside_it_is_left_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path / "source.tif", image())
    lines = [f"{k}: {v}" for k, v in RPCS.items() if "COEFF" not in k]
    lines += [f"{k}_{i}: 1" for k in RPCS if "COEFF" in k for i in range(1, 21)]
    (tmp_path / "source_RPC.TXT").write_text("\n".join(lines))
    before = files(tmp_path)
    correct_in_place(open_raster(path), MOVED)
    with rasterio.open(path) as dataset:
        assert dataset.rpcs is not None
    assert "the file with RPCs beside source.tif was left" in caplog.text
    assert "dropped" not in caplog.text
    undo(str(path))
    assert files(tmp_path) == before


def test_a_cog_no_longer_says_that_it_is_one_until_undone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = VARIANTS["cog"](tmp_path / "source.tif")
    correct_in_place(open_raster(path), MOVED)
    assert "no longer a cloud optimised one" in caplog.text
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") is None
    undo(str(path))
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


@pytest.mark.skipif(os.name == "nt", reason="Windows would write what a hole stands for")
def test_10_gb_take_no_longer_than_a_small_file(tmp_path: Path) -> None:
    path = extended(tmp_path / "source.tif", 10 * 2**30, BIGTIFF="YES")
    start = time.perf_counter()
    correct_in_place(open_raster(path), MOVED)
    assert transform_of(path) == MOVED
    undo(str(path))
    assert time.perf_counter() - start < 2
    assert path.stat().st_size == 10 * 2**30
    assert transform_of(path) == ORIGIN


# --- refused ----------------------------------------------------------------------------------------------------------


def refused(path: Path | str, message: str, error: type[Exception] = InputError) -> None:
    with pytest.raises(error, match=message):
        correct_in_place(open_raster(path), MOVED)


def test_what_is_no_local_geotiff_of_one_page_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "source.tif", image(1, "uint8"))
    rasterio.shutil.copy(path, tmp_path / "source.png", driver="PNG")
    pages = save(tmp_path / "pages.tif", image())
    rasterio.shutil.copy(path, pages, driver="GTiff", APPEND_SUBDATASET="YES")
    (tmp_path / "link.tif").symlink_to(path)
    before = files(tmp_path)
    refused(tmp_path / "source.png", "is PNG, and only a GeoTIFF")
    refused(f"/vsisubfile/0_{path.stat().st_size},{path}", "not a file of this computer")
    refused(f"GTIFF_DIR:1:{pages}", "not a file of this computer")
    refused(pages, "has 2 pages")
    refused(tmp_path / "link.tif", "is a link; give the file")
    assert files(tmp_path) == before


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "source.tif", image(3))
    os.truncate(path, path.stat().st_size * 6 // 10)
    before = files(tmp_path)
    refused(path, "is truncated: block row")
    assert files(tmp_path) == before


def test_no_permission_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "source.tif", image())
    raster = open_raster(path)
    access = os.access
    monkeypatch.setattr(os, "access", lambda name, mode: name != str(path) and access(name, mode))
    with pytest.raises(OutputError, match="no permission to change"):
        correct_in_place(raster, MOVED)
    monkeypatch.setattr(os, "access", lambda name, mode: name == str(path) and access(name, mode))
    with pytest.raises(OutputError, match="no permission to write in"):
        correct_in_place(raster, MOVED)


def test_4_gib_are_not_passed(tmp_path: Path) -> None:
    path = extended(tmp_path / "source.tif", 2**32 - 100)
    refused(path, "would pass the 4 GiB", OutputError)
    assert path.stat().st_size == 2**32 - 100
    assert os.listdir(tmp_path) == ["source.tif"]


def test_there_must_be_something_to_undo(tmp_path: Path) -> None:
    path = save(tmp_path / "source.tif", image())
    with pytest.raises(
        InputError, match=r"was not corrected in place.*; if the file was moved, put that file beside it"
    ):
        undo(str(path))
    with pytest.raises(InputError, match="does not exist"):
        undo(str(tmp_path / "absent.tif"))
    for content in ("", "{}", "[]", '{"steps": [{"size": 1}]}', '{"steps": "abc"}'):
        Path(f"{path}{SUFFIX}").write_text(content)
        with pytest.raises(InputError, match="is damaged"):
            undo(str(path))


@pytest.mark.parametrize("change", ["longer", "shorter", "another directory", "by GDAL", "another header"])
def test_what_was_changed_since_is_not_undone(change: str, tmp_path: Path) -> None:
    path = save(tmp_path / "source.tif", image(), compress="deflate")
    correct_in_place(open_raster(path), MOVED)
    content = bytearray(path.read_bytes())
    if change == "longer":
        content += b"more"
    elif change == "shorter":
        del content[-5:]
    elif change == "another header":
        content[4] ^= 8
    else:
        content[-1] ^= 1
    path.write_bytes(content)
    if change == "by GDAL":
        content[-1] ^= 1
        path.write_bytes(content)
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(NOTE="edited")
    before = files(tmp_path)
    with pytest.raises(InputError, match="was changed since its correction"):
        undo(str(path))
    if change == "by GDAL":
        refused(path, "was changed since its correction")
    assert files(tmp_path) == before


def test_metadata_that_were_changed_since_are_not_lost(tmp_path: Path) -> None:
    path = VARIANTS["overruled by sidecar"](tmp_path / "source.tif")
    before, aux = files(tmp_path), Path(f"{path}.aux.xml")
    correct_in_place(open_raster(path), MOVED)
    aux.write_text("<PAMDataset><Metadata><MDI key='NOTE'>mine</MDI></Metadata></PAMDataset>")
    now = files(tmp_path)
    with pytest.raises(InputError, match=r"aux\.xml was changed since"):
        undo(str(path))
    assert files(tmp_path) == now
    aux.unlink()
    undo(str(path))
    assert files(tmp_path) == before


# --- cut short --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["described", "cog", "overruled by sidecar"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_error_on_the_way_leaves_everything_as_it_was(
    name: str, error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = VARIANTS[name](tmp_path / "source.tif")
    raster, before = open_raster(path), files(tmp_path)

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(in_place, "read_back", fail)
    with pytest.raises(OutputError if isinstance(error, OSError) else error):
        correct_in_place(raster, MOVED)
    assert files(tmp_path) == before


def test_a_wrong_geotransform_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "source.tif", image())
    raster, before = open_raster(path), files(tmp_path)
    monkeypatch.setattr(in_place, "new_tags", lambda *_: {})
    with pytest.raises(OutputError, match="geotransform"):
        correct_in_place(raster, MOVED)
    assert files(tmp_path) == before


@pytest.mark.parametrize("part", [1, 50, None])
def test_what_was_appended_in_vain_is_cleared_away(part: int | None, tmp_path: Path) -> None:
    path = save(tmp_path / "source.tif", image())
    before, start = files(tmp_path), path.read_bytes()
    correct_in_place(open_raster(path), MOVED)
    told, corrected = Path(f"{path}{SUFFIX}").read_bytes(), path.read_bytes()
    garbage = start + corrected[len(start) :][:part]
    path.write_bytes(garbage)
    undone = undo(str(path))
    assert (undone.restored, undone.left) == (False, 0)
    assert files(tmp_path) == before
    path.write_bytes(garbage)
    Path(f"{path}{SUFFIX}").write_bytes(told)
    correct_in_place(open_raster(path), AGAIN)
    assert len(json.loads(Path(f"{path}{SUFFIX}").read_text())["steps"]) == 1
    assert transform_of(path) == AGAIN
    undo(str(path))
    assert files(tmp_path) == before


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_in_place import kill_at_every_step
kill_at_every_step(sys.argv[2])
"""


def forked(work: Any, steps: int) -> bool:
    """Run in a process of its own that is killed before its n-th call to move, remove or sync a file; True if it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    left = [steps]

    def counted(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return function(*args, **kwargs)

        return call

    for name in ("fsync", "replace", "remove"):
        setattr(os, name, counted(getattr(os, name)))
    work()
    os._exit(0)


def kill_at_every_step(name: str) -> None:
    """Correct and undo a file, killed at each step; whatever is left reads as one of the two, and can be put right."""
    for earlier in (0, 1):
        for what in ("correct", "undo"):
            steps = 0
            while not killed_at(name, earlier, what, steps):
                steps += 1
            assert steps > 3, (earlier, what)


def killed_at(name: str, earlier: int, what: str, steps: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = VARIANTS[name](Path(folder) / "source.tif")
        before, held = files(Path(folder)), contents(path)
        if earlier:
            correct_in_place(open_raster(path), AGAIN)
        places = (transform_of(path), MOVED)
        raster = open_raster(path)
        if what == "undo":
            correct_in_place(raster, MOVED)
        ended = forked(lambda: undo(str(path)) if what == "undo" else correct_in_place(raster, MOVED), steps)
        assert transform_of(path) in places, (earlier, what, steps)
        assert contents(path) == held, (earlier, what, steps)
        while os.path.exists(f"{path}{SUFFIX}"):
            undo(str(path))
        assert files(Path(folder)) == before, (earlier, what, steps)
        return ended


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.parametrize("name", ["cog", "overruled by sidecar"])
def test_whoever_is_killed_leaves_the_old_file_or_the_new_one(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), name], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
