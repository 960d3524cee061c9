"""Rasters over the network: matched from few of their bytes, which are counted, and failures that are one sentence."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from scipy import fft
from serving import Server, served

import georeg
from georeg.cli import main
from georeg.errors import InputError
from georeg.fit import Role
from georeg.options import MatchOptions
from georeg.raster import open_raster
from georeg.reader import Reader
from georeg.remote import is_remote, without_secrets

SIDE, BLOCK, GSD = 2560, 256, 10.0
MOVED_PX = np.array([3.37, -2.61])
"""(column, row) by which the ground lies further on in the target than in the reference."""


def landscape() -> np.ndarray:
    """Spectrum of a texture of all scales."""
    rng = np.random.default_rng(0)
    f = np.hypot(fft.fftfreq(SIDE).astype(np.float32)[:, None], fft.rfftfreq(SIDE).astype(np.float32))
    amplitude = 0.15 ** (f**2 / 0.25) / np.maximum(f, 8 / SIDE) ** 1.3
    return amplitude * (rng.standard_normal(f.shape, np.float32) + 1j * rng.standard_normal(f.shape, np.float32))


def write_cog(spectrum: np.ndarray, path: Path, seed: int) -> None:
    ground = fft.irfft2(spectrum, s=(SIDE, SIDE))
    noise = np.random.default_rng(seed).standard_normal((SIDE, SIDE), np.float32)
    pixels = np.clip(1500 + 350 * ground / ground.std() + 15 * noise, 1, 10000).astype(np.uint16)
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 1, "height": SIDE, "width": SIDE, "crs": "EPSG:32633"}
    plain = path.with_suffix(".plain")
    with rasterio.open(plain, "w", **profile, transform=Affine(GSD, 0, 3e5, 0, -GSD, 5.9e6)) as dataset:
        dataset.write(pixels, 1)
    options = {"COMPRESS": "DEFLATE", "LEVEL": 1, "BLOCKSIZE": BLOCK, "OVERVIEW_RESAMPLING": "AVERAGE"}
    rasterio.shutil.copy(plain, path, driver="COG", **options)
    plain.unlink()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``reference.tif`` and ``target.tif``, whose ground lies `MOVED_PX` further on."""
    folder = tmp_path_factory.mktemp("remote")
    spectrum = landscape()
    write_cog(spectrum, folder / "reference.tif", 1)
    ramp = fft.fftfreq(SIDE)[:, None] * MOVED_PX[1] + fft.rfftfreq(SIDE) * MOVED_PX[0]
    write_cog(spectrum * np.exp(-2j * np.pi * ramp).astype(np.complex64), folder / "target.tif", 2)
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with served(folder) as running:
        yield running


@pytest.fixture(scope="module")
def aligned(folder: Path) -> tuple[georeg.Alignment, object, dict[str, int]]:
    """A remote pair aligned, what was counted, and what the server sent."""
    with served(folder) as server, georeg.metered() as traffic:
        alignment = georeg.align(server.url("reference.tif"), server.url("target.tif"))
        return alignment, traffic, server.told()


def test_a_remote_pair_is_aligned_as_right_as_ever(aligned):
    alignment = aligned[0]
    found_px = np.array(alignment.displacement()) / GSD
    assert np.abs(found_px - [-1, 1] * MOVED_PX * [1, 1]).max() < 0.02
    assert alignment.after.n >= 40
    assert alignment.after.rmse < 0.05 * GSD


def test_few_of_its_bytes_are_read(aligned, folder):
    _, traffic, _ = aligned
    assert traffic.total_bytes == sum((folder / name).stat().st_size for name in ("reference.tif", "target.tif"))
    assert traffic.n_bytes < 0.3 * traffic.total_bytes


def test_what_is_counted_is_what_the_server_sent(aligned):
    _, traffic, sent = aligned
    assert traffic.n_bytes == pytest.approx(sent["n_bytes"], rel=0.02)
    assert traffic.n_requests == sent["n_requests"]


def test_remote_tie_points_are_those_of_the_same_files_in_patches(aligned, folder):
    local = georeg.match(folder / "reference.tif", folder / "target.tif", matching=MatchOptions(patches=16))
    remote = aligned[0].points
    assert np.array_equal(local.ref_xy, remote.ref_xy)
    assert np.array_equal(local.tgt_xy, remote.tgt_xy)
    assert np.array_equal(local.status, remote.status)


def test_patches_are_spread_and_withheld_whole(aligned):
    alignment = aligned[0]
    points, checked = alignment.points, alignment.fitted.role == Role.CHECK
    near = np.hypot(*(points.ref_xy[:, None] - points.ref_xy).transpose(2, 0, 1)) < 1.2 * BLOCK * GSD / 2
    assert checked.sum() >= 40
    assert not (near & checked[:, None] & (alignment.fitted.role == Role.FIT)).any(), (
        "a check point has a neighbour in the fit"
    )
    side = SIDE * GSD / 4
    quarters = np.unique(np.floor((points.ref_xy[points.kept] - [3e5, 5.9e6 - SIDE * GSD]) / side), axis=0)
    assert len(quarters) >= 14, "16 patches lie one in each sixteenth of the ground, or nearly"


def test_a_result_in_patches_survives_json(aligned):
    alignment = aligned[0]
    assert alignment.points.apart > 0
    assert georeg.Alignment.from_json(alignment.to_json()) == alignment
    assert georeg.Alignment.from_json(alignment.to_json()).points.apart == alignment.points.apart


def test_the_command_line_tells_what_it_read(server, tmp_path, capsys, folder):
    out = tmp_path / "aligned.tif"
    pair = [server.url("reference.tif"), server.url("target.tif")]
    assert main(["align", *pair, "-o", str(out), "--max-points", "100"]) == 0
    told = re.search(
        r"georeg: read ([\d.]+) MB of ([\d.]+) MB over the network in (\d+) requests\n", capsys.readouterr().err
    )
    assert told is not None
    sent = server.told()
    assert float(told[1]) == pytest.approx(sent["n_bytes"] / 1e6, rel=0.02)
    assert int(told[3]) == sent["n_requests"]
    with rasterio.open(out) as made, rasterio.open(folder / "target.tif") as source:
        assert np.array_equal(made.read(), source.read())
        east, south = -MOVED_PX * GSD * [1, -1]
        assert made.transform.c == pytest.approx(3e5 + east, abs=0.02 * GSD)
        assert made.transform.f == pytest.approx(5.9e6 + south, abs=0.02 * GSD)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command line says as it fails, in one sentence and in good time."""
    start = time.monotonic()
    assert main(["assess", *arguments]) == 1
    assert time.monotonic() - start < 15
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    last = said.err.splitlines()[-1]
    assert last.startswith("georeg: ")
    assert sum("cannot be read" in line for line in said.err.splitlines()) == 1
    return last


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": 404}, "404"),
        ({"status": 500}, "500"),
        ({"ranges": False}, "Range downloading not supported"),
        ({"left": 0}, "Empty reply"),
    ],
    ids=["absent", "broken", "no ranges", "dies"],
)
def test_a_failing_server_is_one_sentence(server, capsys, monkeypatch, change, reason):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    server.told(**change)
    assert reason in refused(capsys, server.url("reference.tif"), server.url("target.tif"))


def test_a_refused_connection_is_one_sentence(server, capsys, monkeypatch, folder):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    said = refused(capsys, "http://127.0.0.1:9/reference.tif", str(folder / "target.tif"))
    assert "connect" in said


def test_a_server_that_dies_while_tiles_are_read_is_one_sentence(server, capsys, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    server.told(left=60)
    said = refused(capsys, server.url("reference.tif"), server.url("target.tif"))
    assert "try again, or download it" in said


def test_keys_in_addresses_are_neither_told_nor_stored(server, capsys, tmp_path):
    server.told(key="key=secret")
    address = server.url("target.tif").replace("//", "//me:word@")
    said = refused(capsys, f"{address}?key=wrong", address)
    assert "403" in said
    assert "wrong" not in said
    assert "word" not in said
    raster = open_raster(f"{address}?key=secret")
    assert raster.name == "target.tif"


def test_a_result_is_stored_without_keys(aligned):
    points = aligned[0].points
    inputs = type(points.inputs)("https://me:word@example.org/a.tif?key=1", "/vsicurl/https://example.org/b.tif?key=2")
    text = repr(georeg.interchange.points_to_dict(points.__class__(**{**vars(points), "inputs": inputs}))["inputs"])
    assert "https://example.org/a.tif'" in text
    assert "/vsicurl/https://example.org/b.tif'" in text


def test_s3_is_counted_too(server, folder, monkeypatch):
    (folder / "bucket").mkdir(exist_ok=True)
    (folder / "bucket" / "scene.tif").write_bytes((folder / "target.tif").read_bytes())
    for name, value in {
        "AWS_S3_ENDPOINT": f"127.0.0.1:{server.port}",
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }.items():
        monkeypatch.setenv(name, value)
    with georeg.metered() as traffic, Reader(open_raster("/vsis3/bucket/scene.tif")) as reader:
        data, valid = reader.read((300, 300), (500, 500), (1,))
    assert valid.all()
    with Reader(open_raster(folder / "target.tif")) as reader:
        assert np.array_equal(data, reader.read((300, 300), (500, 500), (1,))[0])
    assert traffic.n_bytes == server.told()["n_bytes"] > 0


def test_nothing_is_left_switched_on(server):
    log = logging.getLogger("rasterio._env")
    before = (log.level, list(log.filters))
    with georeg.metered() as traffic:
        open_raster(server.url("target.tif"))
    assert traffic.n_requests > 0
    assert (log.level, list(log.filters)) == before


def test_local_files_are_no_traffic(folder):
    with georeg.metered() as traffic, Reader(open_raster(folder / "target.tif")) as reader:
        reader.read((0, 0), (10, 10), (1,))
    assert (traffic.n_bytes, traffic.n_requests, traffic.sizes) == (0, 0, {})


@pytest.mark.parametrize(
    ("name", "remote"),
    [
        ("https://example.org/a.tif", True),
        ("s3://bucket/a.tif", True),
        ("/vsis3/bucket/a.tif", True),
        ("/vsizip//vsicurl/https://example.org/a.zip/a.tif", True),
        ("zip+https://example.org/a.zip!a.tif", True),
        ("/vsicurl?header.Authorization=Bearer%20x&url=https%3A%2F%2Fexample.org%2Fa.tif", True),
        ("a.tif", False),
        ("C:\\https\\a.tif", False),
        ("/vsizip/a.zip/a.tif", False),
        ("/vsimem/a.tif", False),
        ("what?.tif", False),
    ],
)
def test_what_is_remote_is_told_by_its_name(name, remote):
    assert is_remote(name) == remote
    assert "Bearer" not in without_secrets(name)
    assert without_secrets(name).endswith(("a.tif", "what?.tif"))


def test_too_few_patches_are_refused(folder):
    with pytest.raises(InputError, match="--patches is 3; give at least 5"):
        georeg.match(folder / "reference.tif", folder / "target.tif", matching=MatchOptions(patches=3))
