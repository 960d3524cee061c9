"""CPU time of the building blocks: `python -m pytest benchmarks/test_blocks.py`, with `--benchmark-compare` against before.

Each is held to a right answer as well, so that nothing gets quick by being wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scene
from odc.geo.geobox import GeoBox
from pytest_benchmark.fixture import BenchmarkFixture
from rasterio.windows import Window

from georeg.encoding import encoding_of
from georeg.geotiff import write_blocks
from georeg.matching.fields import Field, prepare
from georeg.matching.refine import refine
from georeg.matching.structure import find_peak
from georeg.raster import Raster, open_raster
from georeg.reader import Reader
from georeg.resampling import Positions, interpolate

pytestmark = pytest.mark.benchmark(timer=time.process_time, warmup=True, min_rounds=5)
SIDE_PX, REACH_PX = 1024, 16
WINDOWS_PX = (32, 64, 128)
FRACTION_PX = (0.37, -0.24)
"""(right, down) by which resampling reads beside the pixels."""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reference and a target whose truth is exact."""
    reference, targets = scene.make_scenes(tmp_path_factory.mktemp("blocks"), SIDE_PX, exact=True)
    return reference, targets[0]


@pytest.fixture(scope="module")
def raster(paths: tuple[Path, Path]) -> Raster:
    return open_raster(paths[1])


@pytest.fixture(scope="module")
def images(paths: tuple[Path, Path]) -> list[np.ndarray]:
    """(1, SIDE_PX, SIDE_PX) float32 of each."""
    found = []
    for path in paths:
        with Reader(open_raster(path)) as reader:
            found.append(reader.read((0, 0), (SIDE_PX, SIDE_PX), [1])[0])
    return found


@pytest.fixture(scope="module")
def fields(images: list[np.ndarray]) -> tuple[Field, Field]:
    valid = np.ones((SIDE_PX, SIDE_PX), bool)
    return prepare(images[0], valid), prepare(images[1], valid)


def corners(window_px: int) -> Iterator[tuple[int, int]]:
    """Nine windows, spread."""
    places = np.linspace(REACH_PX + 16, SIDE_PX - window_px - REACH_PX - 16, 3).astype(int).tolist()
    return ((x, y) for x in places for y in places)


def test_prepare(benchmark: BenchmarkFixture, images: list[np.ndarray]) -> None:
    valid = np.ones((SIDE_PX, SIDE_PX), bool)
    field = benchmark(prepare, images[0], valid)
    assert field.valid[8:-8, 8:-8].all()


@pytest.mark.parametrize("window_px", WINDOWS_PX)
def test_find_peak(benchmark: BenchmarkFixture, fields: tuple[Field, Field], window_px: int) -> None:
    def all_windows() -> list[tuple[float, float]]:
        peaks = [find_peak(*fields, at, at, window_px=window_px, reach_px=REACH_PX) for at in corners(window_px)]
        return [peak.shift_px for peak in peaks if peak is not None]

    found = np.median(benchmark(all_windows), axis=0)
    np.testing.assert_allclose(found, scene.CONTENT_PX, atol=0.3)


@pytest.mark.parametrize("window_px", WINDOWS_PX)
def test_refine(benchmark: BenchmarkFixture, fields: tuple[Field, Field], window_px: int) -> None:
    def all_windows() -> list[np.ndarray]:
        found = [refine(*fields, at, at, window_px, (0.0, 0.0)) for at in corners(window_px)]
        return [one.shift_px for one in found if one is not None]

    np.testing.assert_allclose(np.median(benchmark(all_windows), axis=0), scene.CONTENT_PX, atol=0.05)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic", "lanczos", "quintic"])
def test_interpolate(benchmark: BenchmarkFixture, images: list[np.ndarray], kernel: str) -> None:
    col, row = (np.arange(SIDE_PX) + 0.5 + part for part in FRACTION_PX)
    px = np.stack(np.broadcast_arrays(col, row[:, None])).copy()
    at = Positions(px, (float(col[0]), float(row[0])), (float(col[-1]), float(row[-1])))
    valid = np.ones(images[0].shape, bool)
    values, known = benchmark(interpolate, images[0], valid, at, (0, 0), reduce=1, kernel=kernel)
    assert known[:, 1:-1, 1:-1].all()
    np.testing.assert_allclose(values[known].mean(), images[0].mean(), rtol=0.01)


def test_encode(benchmark: BenchmarkFixture, images: list[np.ndarray], raster: Raster) -> None:
    values, valid = images[0] + np.float32(0.3), np.ones(images[0].shape, bool)
    pixels = benchmark(encoding_of(raster).encode, values, valid, [1])
    np.testing.assert_array_equal(pixels, images[0])


@pytest.mark.parametrize("window_px", [128, 512])
def test_read(benchmark: BenchmarkFixture, raster: Raster, images: list[np.ndarray], window_px: int) -> None:
    """Windows that lie across the blocks of the file, each handle opened anew so that every block is decoded."""

    def windows() -> np.ndarray:
        with Reader(raster) as reader:
            return reader.read((450, 450), (window_px, window_px), [1])[0]

    np.testing.assert_array_equal(benchmark(windows), images[1][:, 450 : 450 + window_px, 450 : 450 + window_px])


def test_write(benchmark: BenchmarkFixture, raster: Raster, images: list[np.ndarray], tmp_path: Path) -> None:
    grid = GeoBox(raster.shape, raster.transform, raster.crs.to_wkt())
    encoding, valid = encoding_of(raster), np.ones(images[1].shape, bool)
    pixels = encoding.encode(images[1], valid, [1])

    def whole() -> None:
        write_blocks(
            raster, grid, encoding, [(Window(0, 0, SIDE_PX, SIDE_PX), pixels, valid)], str(tmp_path / "out.tif")
        )

    benchmark(whole)
    with Reader(open_raster(tmp_path / "out.tif")) as reader:
        np.testing.assert_array_equal(reader.read((0, 0), raster.shape, [1])[0], images[1])
