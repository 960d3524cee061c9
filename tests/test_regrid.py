"""The tile engine: what it writes depends on the raster, the model and the grid alone, and its memory on the block alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from test_vectors import CENTRE, MOVE, UTM33, bent, fit_of, shift

import georeg
from georeg import execution, regrid
from georeg.encoding import encoding_of
from georeg.interchange import fit_to_dict
from georeg.models import identity
from georeg.placement import Placement
from georeg.raster import open_raster
from georeg.regrid import Regridding, output_windows

GSD = 10.0


def transform(side_px: int, gsd: float = GSD) -> Affine:
    return Affine(gsd, 0, CENTRE[0] - side_px * gsd / 2, 0, -gsd, CENTRE[1] + side_px * gsd / 2)


def made(path: Path, side_px: int, values: Any = None, **profile: Any) -> str:
    """A raster about `CENTRE`; without ``values`` nothing of it is stored, and it is zero."""
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32633", "SPARSE_OK": True} | profile
    with rasterio.open(path, "w", width=side_px, height=side_px, transform=transform(side_px), **profile) as dataset:
        if values is not None:
            dataset.write(values)
    return str(path)


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two bands of noise, an image and a mask, with holes, in tiles."""
    rng = np.random.default_rng(4)
    values = rng.normal(1000, 200, (2, 900, 900)).clip(1).astype(np.uint16)
    values[1] = (values[1] > 1000) + 1
    values[:, 300:420, 100:700] = 0
    values[:, rng.random((900, 900)) < 0.01] = 0
    path = tmp_path_factory.mktemp("regrid") / "holed.tif"
    return made(path, 900, values, count=2, nodata=0, tiled=True, blockxsize=64, blockysize=64)


@pytest.mark.parametrize("n_threads", [1, 8])
@pytest.mark.parametrize("block_px", [100, 512, 2048])
def test_blocks_and_threads_leave_no_trace(
    holed: str, block_px: int, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = open_raster(holed)
    placement = Placement(raster, UTM33, bent(400.0))
    grid = GeoBox((800, 850), transform(800) @ Affine.translation(-20.3, 10.7), "EPSG:32633")
    regridding = Regridding(placement, grid, ("cubic", "nearest"), encoding_of(raster))
    with monkeypatch.context() as patched:
        patched.setattr(regrid, "BLOCK_PX", 4096)
        with regridding.running(execution.silent) as blocks:
            ((_, whole, whole_valid),) = blocks
    assert 0.5 < whole_valid.mean() < 0.95
    monkeypatch.setattr(regrid, "BLOCK_PX", block_px)
    monkeypatch.setattr(execution, "available_threads", lambda: n_threads)
    with regridding.running(execution.silent) as blocks:
        for window, pixels, valid in blocks:
            rows, cols = window.toslices()
            np.testing.assert_array_equal(pixels, whole[:, rows, cols])
            np.testing.assert_array_equal(valid, whole_valid[:, rows, cols])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "int32", "uint64", "int64", "float64"])
def test_a_shift_by_whole_pixels_changes_no_value(tmp_path: Path, dtype: str) -> None:
    """Also where a value has more digits than a floating-point number."""
    limits = np.iinfo(dtype) if np.issubdtype(np.dtype(dtype), np.integer) else np.finfo(dtype)
    rng = np.random.default_rng(0)
    values = rng.integers(0, 255, (1, 60, 60)).astype(np.uint8).view(np.int8 if dtype == "int8" else np.uint8)
    values = values.astype(dtype)
    values[0, 5, :4] = limits.min, limits.max, limits.max - limits.max // 1000, limits.min // 3
    raster = open_raster(made(tmp_path / "a.tif", 60, values, dtype=dtype))
    grid = GeoBox((60, 60), transform(60) @ Affine.translation(-3, 2), "EPSG:32633")
    regridding = Regridding(Placement(raster, UTM33, identity()), grid, ("cubic",), encoding_of(raster))
    with regridding.running(execution.silent) as blocks:
        ((_, pixels, valid),) = blocks
    assert pixels.dtype == dtype
    assert valid.sum() == 58 * 57
    np.testing.assert_array_equal(pixels[0, :58, 3:], values[0, 2:, :57])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"])
def test_what_overshoots_is_clamped_and_no_valid_pixel_becomes_nodata(tmp_path: Path, dtype: str) -> None:
    """Beside an edge from one end of a type to the other a spline leaves its range; the lowest value means nodata."""
    limits = np.iinfo(dtype)
    nodata = limits.min if limits.bits < 64 else 7  # which rasterio does not write of so many digits
    values = np.full((1, 80, 80), limits.min + 1, dtype)
    values[0, :, 40:] = limits.max
    raster = open_raster(made(tmp_path / "a.tif", 80, values, dtype=dtype, nodata=nodata))
    grid = GeoBox((80, 80), transform(80) @ Affine.translation(0.4, 0.3), "EPSG:32633")
    regridding = Regridding(Placement(raster, UTM33, identity()), grid, ("cubic",), encoding_of(raster))
    with regridding.running(execution.silent) as blocks:
        ((_, pixels, valid),) = blocks
    assert valid[0, :79, :79].all()
    shown = pixels[0, :79, :79]
    assert (shown != nodata).all()
    assert (shown[:, :36] < limits.min / 2 + limits.max / 2).all()
    assert (shown[:, 44:] > limits.min / 2 + limits.max / 2).all()


def test_strips_are_as_wide_as_lets_decoded_tiles_wait(tmp_path: Path) -> None:
    """Every window once, and no more columns at a time than their tiles fit into what is kept; lines are read whole."""
    shape = (20_000, 30_000)
    tiles = open_raster(made(tmp_path / "a.tif", 30_000, count=4, tiled=True, blockxsize=512, blockysize=512))
    lines = open_raster(made(tmp_path / "b.tif", 30_000, count=4))
    grid = GeoBox(shape, transform(30_000), "EPSG:32633")
    strips = []
    for raster in (tiles, lines):
        regridding = Regridding(Placement(raster, UTM33, identity()), grid, ("cubic",) * 4, encoding_of(raster))
        strips.append(regridding._strip_px())
    assert strips[1] is None
    assert strips[0] is not None
    assert 1024 <= strips[0] <= 4096
    assert (strips[0] + 1024) * (512 + 1024) * 8 <= regrid.SOURCE_BYTES
    windows = output_windows(shape, 512, strips[0])
    assert sum(window.width * window.height for window in windows) == shape[0] * shape[1]
    assert len({(window.col_off, window.row_off) for window in windows}) == len(windows)
    assert max(window.col_off + window.width for window in windows[: len(windows) // 20]) <= strips[0]


PEAK = """
import sys
from georeg.cli import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def peak_mb(*arguments: Any) -> float:
    """Of a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) / 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read as Linux tells it")
def test_memory_does_not_grow_with_the_raster(tmp_path: Path) -> None:
    """16 times the area in the same memory, which would not hold the raster; a moved geotransform needs hardly any."""
    peaks = []
    for side_px in (2048, 8192):
        names = [tmp_path / f"{what}_{side_px}.tif" for what in ("reference", "target", "out", "copy")]
        for name in names[:2]:
            made(name, side_px, count=4, tiled=True, blockxsize=512, blockysize=512)
        fitted = fit_of(shift(MOVE + 3.3), target=str(names[1]), reference=str(names[0]))
        result = tmp_path / "fit.json"
        result.write_text(json.dumps(fit_to_dict(fitted)))
        peaks.append(peak_mb("apply", result, "-o", names[2], "--resample", "--quiet", "--resampling", "cubic"))
        assert peak_mb("apply", result, "-o", names[3], "--quiet") < 200
        with rasterio.open(names[2]) as out:
            assert out.shape == (side_px, side_px)
            assert out.read_masks(1, window=((1000, 1200), (1000, 1200))).all()
    assert peaks[1] < 350 < 8192**2 * 4 * 2 / 2**20
    assert peaks[1] < peaks[0] * 1.1 + 20


def test_georeg_apply_is_the_engine(holed: str, tmp_path: Path) -> None:
    """What the verb writes is what the engine gives: the mask from the nearest pixel, the image from a spline."""
    reference = made(tmp_path / "reference.tif", 800)
    out = tmp_path / "out.tif"
    georeg.apply(fit_of(bent(400.0), target=holed, reference=reference), out)
    raster = open_raster(holed)
    grid = GeoBox((800, 800), transform(800), "EPSG:32633")
    regridding = Regridding(Placement(raster, UTM33, bent(400.0)), grid, ("cubic", "nearest"), encoding_of(raster))
    with regridding.running(execution.silent) as blocks, rasterio.open(out) as dataset:
        for window, pixels, valid in blocks:
            np.testing.assert_array_equal(dataset.read(window=window), pixels)
            np.testing.assert_array_equal(dataset.read_masks(window=window) > 0, valid)
