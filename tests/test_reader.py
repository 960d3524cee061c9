"""Pixels are decoded once for all who need them, on whatever thread, and are those of the file."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from scenes import image, scene

import georeg
from georeg import passes, search, tiles
from georeg import reader as reading
from georeg.decoded import Decoded, Pixels, Rooms, part_shape
from georeg.errors import InputError
from georeg.options import MatchOptions
from georeg.raster import Raster, open_raster
from georeg.reader import Reader
from georeg.reduced import Reduced, held_factor, means

TRANSFORM = Affine(10, 0, 302000, 0, -10, 5771000)
STORED: dict[str, dict[str, Any]] = {
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64},
    "strips": {"blockysize": 3},
    "one strip": {"blockysize": 700},
    "interleaved": {"tiled": True, "blockxsize": 128, "blockysize": 128, "interleave": "pixel"},
}


def write(path: Path, data: NDArray[Any], nodata: float | None = None, **stored: Any) -> Raster:
    profile = {"driver": "GTiff", "count": len(data), "dtype": data.dtype, "crs": "EPSG:32633", "nodata": nodata}
    profile |= {"height": data.shape[1], "width": data.shape[2], "transform": TRANSFORM, "compress": "deflate"}
    with rasterio.open(path, "w", **profile, **stored) as dataset:
        dataset.write(data)
    return open_raster(path)


def some_pixels(count: int = 2, shape: tuple[int, int] = (700, 600), dtype: str = "uint16") -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, 200, (count, *shape)).astype(dtype)


class Counting:
    """Decodes numbers of pixels, and counts how often."""

    def __init__(self, wait_for: threading.Event | None = None) -> None:
        self.windows: list[tuple[int, int]] = []
        self.wait_for = wait_for

    def __call__(self, window: Window, bands: tuple[int, ...]) -> Pixels:
        self.windows.append((int(window.row_off), int(window.col_off)))
        if self.wait_for is not None:
            assert self.wait_for.wait(10)
        rows = np.arange(window.row_off, window.row_off + window.height)
        cols = np.arange(window.col_off, window.col_off + window.width)
        return Pixels((1000 * rows[:, None] + cols)[None], None)


def gathered(decoded: Decoded, window: Window) -> NDArray[Any]:
    out = np.full((int(window.height), int(window.width)), -1)
    for rows, cols, pixels in decoded.within(window, (1,)):
        out[rows, cols] = pixels.values[0]
    return out


def test_a_window_is_put_together_from_parts():
    decoded = Decoded(Counting(), (500, 400), (64, 96), 2**30)
    window = Window(50, 30, 333, 444)
    expected = 1000 * np.arange(30, 474)[:, None] + np.arange(50, 383)
    assert np.array_equal(gathered(decoded, window), expected)


def test_a_part_is_decoded_once_while_it_is_kept():
    decode = Counting()
    decoded = Decoded(decode, (500, 400), (64, 96), 2**30)
    for _ in range(3):
        gathered(decoded, Window(0, 0, 400, 500))
    assert len(decode.windows) == len(set(decode.windows)) == decoded.n_decoded == 8 * 5


def test_no_more_is_kept_than_was_allowed():
    decode = Counting()
    decoded = Decoded(decode, (64, 640), (64, 64), 3 * 64 * 64 * 8)  # three parts of ten
    gathered(decoded, Window(0, 0, 640, 64))
    gathered(decoded, Window(448, 0, 192, 64))
    assert decoded.n_decoded == 10
    gathered(decoded, Window(0, 0, 64, 64))
    assert decoded.n_decoded == 11


def test_who_asks_for_what_is_being_decoded_waits_for_it():
    go = threading.Event()
    decode = Counting(go)
    decoded = Decoded(decode, (64, 64), (64, 64), 2**30)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(gathered, decoded, Window(0, 0, 64, 64)) for _ in range(4)]
        while not decode.windows:
            pass
        go.set()
        assert all(future.result()[5, 7] == 5007 for future in waiting)
    assert decoded.n_decoded == 1


def test_what_could_not_be_decoded_is_tried_again():
    tries = []

    def decode(window: Window, bands: tuple[int, ...]) -> Pixels:
        tries.append(window)
        if len(tries) == 1:
            raise InputError("damaged; copy it again")
        return Pixels(np.zeros((1, 64, 64)), None)

    decoded = Decoded(decode, (64, 64), (64, 64), 2**30)
    with pytest.raises(InputError):
        gathered(decoded, Window(0, 0, 64, 64))
    assert not gathered(decoded, Window(0, 0, 64, 64)).any()


def test_rooms_are_arrays_like_any_other():
    rooms = Rooms()
    large, small = rooms.room((3, 300, 400), "uint16"), rooms.room((2, 3), "float32")
    for array, shape, dtype in ((large, (3, 300, 400), np.uint16), (small, (2, 3), np.float32)):
        assert (array.shape, array.dtype) == (shape, dtype)
        array[...] = 7
        assert (array == 7).all()


def test_memory_is_lent_again_only_once_nothing_refers_to_it():
    rooms, shape = Rooms(), (1, 512, 512)
    first = rooms.room(shape, "uint16")
    first[...] = 7
    part, place = first[:, 100:, 5:].view(), first.ctypes.data
    del first
    assert rooms.room(shape, "uint16").ctypes.data != place
    assert (part == 7).all()
    del part
    others = [rooms.room(shape, dtype) for dtype in ("int16", "uint16")]
    assert place in [other.ctypes.data for other in others]
    assert rooms.room((1, 600, 512), "uint16").ctypes.data not in [place, *(other.ctypes.data for other in others)]


@pytest.mark.parametrize("block", [(1, 10980), (512, 512), (16, 100000), (1024, 1024), (5, 246), (9000, 9000)])
def test_parts_are_whole_blocks(block):
    shape = (9000, 100000)
    height, width = part_shape(shape, block)
    assert height % block[0] == 0 or height == shape[0]
    assert width % block[1] == 0 or width == shape[1]


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("nodata", [None, 7])
def test_a_window_holds_the_pixels_of_the_file(tmp_path, stored, nodata):
    data = some_pixels()
    raster = write(tmp_path / "a.tif", data, nodata, **STORED[stored])
    with Reader(raster) as reader, ThreadPoolExecutor(3) as pool:
        corners = [(row, col) for row in (-20, 0, 333, 650) for col in (-5, 211, 580)]
        found = list(pool.map(lambda corner: reader.read(corner, (90, 70), (2, 1)), corners))
    padded = np.pad(data[::-1].astype(np.float32), ((0, 0), (100, 100), (100, 100)), constant_values=-1)
    for (row, col), (values, valid) in zip(corners, found, strict=True):
        expected = padded[:, row + 100 : row + 190, col + 100 : col + 170]
        known = (expected != -1) & (expected != nodata)
        assert np.array_equal(valid, known)
        assert np.array_equal(values, np.where(known, expected, 0))


def test_floats_that_are_no_numbers_are_not_valid(tmp_path):
    data = some_pixels(1).astype(np.float32)
    data[0, 10:20, 30:40], data[0, 50, 60] = np.nan, np.inf
    with Reader(write(tmp_path / "a.tif", data, **STORED["tiles"])) as reader:
        values, valid = reader.read((0, 0), data.shape[1:], (1,))
    assert np.array_equal(valid, np.isfinite(data))
    assert np.isfinite(values).all()


def test_each_part_of_a_file_is_decoded_once_for_many_threads(tmp_path):
    raster = write(tmp_path / "a.tif", some_pixels(1, (1500, 1400)), tiled=True, blockxsize=256, blockysize=256)
    with Reader(raster) as reader, ThreadPoolExecutor(4) as pool:
        corners = [(row, col) for row in range(0, 1400, 90) for col in range(0, 1300, 90)]
        list(pool.map(lambda corner: reader.read(corner, (200, 200), (1,)), corners))
        assert reader.n_decoded == 9  # of 512 by 512


def test_pixels_of_two_files_of_one_name_are_never_mixed(tmp_path):
    raster = write(tmp_path / "a.tif", some_pixels(1), **STORED["tiles"])
    with Reader(raster) as reader:
        reader.read((0, 0), (64, 64), (1,))
        with reader._handle_alone():  # another thread is at it
            write(tmp_path / "b.tif", some_pixels(1)[:, ::-1], **STORED["tiles"])
            (tmp_path / "b.tif").replace(tmp_path / "a.tif")
            with pytest.raises(InputError, match="was replaced while it was read"):
                reader.read((600, 500), (64, 64), (1,))
        reader.read((600, 500), (64, 64), (1,))  # what is open stays readable


def test_means_are_of_valid_pixels_alone():
    rng = np.random.default_rng(0)
    data, valid = rng.random((2, 24, 36), dtype=np.float32), rng.random((2, 24, 36)) > 0.4
    valid[:, :6, :6] = False
    squares = (2, 4, 6, 6, 6)
    total = np.where(valid, data, 0).reshape(squares).sum(axis=(2, 4), dtype=float)
    n = valid.reshape(squares).sum(axis=(2, 4))
    found, known = means(np.where(valid, data, 0), valid, 6)
    assert np.array_equal(known, n > 0)
    assert not known.all()
    assert np.allclose(found[known], total[known] / n[known], atol=1e-6)
    assert not found[~known].any()


@pytest.mark.parametrize("stored", STORED)
def test_larger_pixels_are_means_and_are_made_once(tmp_path, stored):
    data = some_pixels(1, (720, 610))
    raster = write(tmp_path / "a.tif", data, **STORED[stored])
    with Reader(raster) as reader:
        found, valid = reader.read((10, 20), (60, 50), (1,), reduce=8, overviews=True)
        n = reader.n_decoded
        reader.read((0, 0), (40, 30), (1,), reduce=16, overviews=True)
        assert reader.n_decoded == n
    expected = data[0, 80:560, 160:560].reshape(60, 8, 50, 8).mean(axis=(1, 3))
    assert valid.all()
    assert np.allclose(found[0], expected, atol=1e-3)


def test_overviews_of_the_file_are_read_where_there_are_any(tmp_path):
    raster = write(tmp_path / "a.tif", some_pixels(1, (720, 610)), **STORED["tiles"])
    with rasterio.open(raster.path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8], rasterio.enums.Resampling.nearest)
    with Reader(open_raster(raster.path)) as reader:
        reader.read((0, 0), (90, 76), (1,), reduce=8, overviews=True)
        assert reader.n_decoded == 0


def test_means_come_from_what_is_decoded_anyway(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "KEPT_BYTES", 2**18)
    data = some_pixels(1, (2048, 2048))
    raster = write(tmp_path / "a.tif", data, tiled=True, blockxsize=512, blockysize=512)
    with Reader(raster, kept_bytes=2**18) as reader:
        assert reader.keep_means((1,))
        for row in range(0, 2048, 512):
            reader.read((row, 0), (512, 2048), (1,))
        assert reader.n_decoded == 16
        found, _ = reader.read((0, 0), (256, 256), (1,), reduce=8, overviews=True)
        assert reader.n_decoded == 16
    assert np.allclose(found[0], data[0].reshape(256, 8, 256, 8).mean(axis=(1, 3)), atol=1e-3)


def test_means_that_squares_share_between_parts_are_not_made_of_one():
    assert Reduced((960, 800), (512, 512), 1, 8).by_parts
    assert not Reduced((960, 800), (47, 800), 1, 8).by_parts
    assert held_factor((200000, 200000), 1, 2) is None


@pytest.fixture(scope="module")
def large_pair(tmp_path_factory):
    """Of which little is kept, so that they count as large; displaced by (2.3, -1.6) px."""
    folder = tmp_path_factory.mktemp("large")
    ground = scene(4, side=1280, slope=1.1)
    for name, shift, seed in (("ref", (0, 0), 1), ("tgt", (2.3, -1.6), 2)):
        pixels = np.rint(1000 + 150 * image(ground, shift, seed=seed)).astype(np.uint16)
        write(folder / f"{name}.tif", pixels, tiled=True, blockxsize=128, blockysize=128)
    return folder / "ref.tif", folder / "tgt.tif"


@pytest.fixture
def little_kept(monkeypatch):
    for module in (reading, tiles):
        monkeypatch.setattr(module, "KEPT_BYTES", 2**20)
    monkeypatch.setattr(Reader.__init__, "__defaults__", (128, 2**20))


def searched(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether windows were matched before the search, each time."""
    found, ahead = [], search.matched_ahead

    def remembered(*arguments: Any) -> Any:
        matched = ahead(*arguments)
        found.append(matched is not None)
        return matched

    monkeypatch.setattr(search, "matched_ahead", remembered)
    return found


@pytest.mark.parametrize("preset", ["default", "fast"])
def test_matching_before_the_search_finds_the_same(large_pair, little_kept, monkeypatch, preset):
    ahead = searched(monkeypatch)
    alignment = georeg.align(*large_pair, matching=MatchOptions(preset=preset))
    east, north = alignment.displacement()
    assert ahead == [True]
    assert np.allclose((east, north), (-23, -16), atol=0.3)  # 0.03 px


def test_a_georeferencing_that_is_far_off_is_searched_as_ever(large_pair, little_kept, monkeypatch, tmp_path):
    ahead = searched(monkeypatch)
    moved = tmp_path / "moved.tif"
    moved.write_bytes(large_pair[1].read_bytes())
    with rasterio.open(moved, "r+") as dataset:
        dataset.transform = TRANSFORM @ Affine.translation(180, -140)
    alignment = georeg.align(large_pair[0], moved)
    assert ahead == [False]
    assert np.allclose(alignment.displacement(), (-1823, -1416), atol=0.3)


def test_what_was_matched_ahead_is_dropped_where_the_search_finds_another_place(large_pair, little_kept, monkeypatch):
    monkeypatch.setattr(passes.Matched, "agrees", lambda *_: False)
    again: list[Any] = []
    matched = search.matched
    monkeypatch.setattr(search, "matched", lambda *a: again.append(a) or matched(*a))
    georeg.align(*large_pair)
    assert len(again) == 1


def test_all_passes_decode_each_part_once_where_it_is_kept(large_pair, monkeypatch):
    readers: list[Reader] = []
    leave = Reader.__exit__
    monkeypatch.setattr(Reader, "__exit__", lambda self, *a: (readers.append(self), leave(self, *a))[1])
    georeg.match(*large_pair)
    assert [reader.n_decoded for reader in readers] == [9, 9]
