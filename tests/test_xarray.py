"""Arrays in, arrays out: what the accessor does is what the files' route does, lazily, and places are right afterwards."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from distributed import Client, LocalCluster
from known import GSD, NORTH_UP, SHAPE, UTM, affine_truth, at, fitted, ramps
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from pystac.extensions.projection import ProjectionExtension
from rasterio.windows import Window
from scipy import ndimage

import georeg
import georeg.xarray
from georeg.arrays import array_raster
from georeg.chunks import Chunked
from georeg.errors import InputError, LimitError, OverlapError
from georeg.images import image_raster
from georeg.models import identity
from georeg.placement import Placement
from georeg.reader import Reader
from georeg.tie_points import Inputs
from georeg.warp import sample, source_window

# affine 3 and xarray tell the authors of rioxarray and odc-geo what is to change
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Supplying chunks as dimension-order tuples:FutureWarning"),
]
DATA = Path(os.environ.get("GEOREG_DATA") or Path(__file__).parents[2] / "shared" / "data")
S2_REF = DATA / "s2-brandenburg/ref_S2A_20160608T153121_T33UUU_sub.jp2"
S2_TGT = DATA / "s2-brandenburg/tgt_S2A_20160529T153631_T33UUU_sub.jp2"
real = pytest.mark.skipif(not S2_REF.is_file(), reason=f"real imagery is absent: no file {S2_REF}")

SIDE_PX, MARGIN_PX = 640, 24
ORIGIN = Affine(10.0, 0, 400000, 0, -10.0, 5800000)
RESAMPLED = georeg.WriteOptions(resample=True)
FEW = georeg.MatchOptions(max_points=80)


@pytest.fixture(scope="module")
def ground() -> np.ndarray:
    """uint16, with a margin around what the images show."""
    texture = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(SIDE_PX + 2 * MARGIN_PX,) * 2), 1.5)
    return np.asarray(2000 + 400 * texture / texture.std(), np.uint16)


def image(ground: np.ndarray, col: int = 0, row: int = 0, **attrs: Any) -> xr.DataArray:
    """What is seen at the place of the reference, ``col`` and ``row`` pixels beside it; it claims to lie there."""
    part = ground[MARGIN_PX + row : MARGIN_PX + row + SIDE_PX, MARGIN_PX + col : MARGIN_PX + col + SIDE_PX]
    array = wrap_xr(part, GeoBox(part.shape, ORIGIN, "EPSG:32633")).rename("red")
    return array.assign_attrs(attrs)


def write(array: xr.DataArray, path: Path, block_px: int = 256) -> str:
    """To a GeoTIFF of tiles, without xarray's means."""
    profile = {"driver": "GTiff", "tiled": True, "blockxsize": block_px, "blockysize": block_px, "crs": "EPSG:32633"}
    pixels = array.values.reshape(-1, *array.shape[-2:])
    size = {"count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype}
    with rasterio.open(
        path, "w", transform=array.odc.geobox.affine, nodata=array.attrs.get("nodata"), **size, **profile
    ) as out:
        out.write(pixels)
    return str(path)


def transform_of(array: xr.DataArray | xr.Dataset) -> Affine:
    """As odc-geo and rioxarray both say."""
    assert array.odc.geobox.crs == array.rio.crs == "EPSG:32633"
    assert array.odc.geobox.affine.almost_equals(array.rio.transform(), 1e-9)
    return array.odc.geobox.affine


def lazy(array: Any, side_px: int = 200) -> Any:
    return array.chunk({dim: side_px for dim in array.dims if dim in ("x", "y")})


# -- measured


@pytest.fixture(scope="module")
def alignment(ground: np.ndarray) -> georeg.Alignment:
    return image(ground, 5, -3).georeg.measure(image(ground))


def test_an_array_is_put_where_it_belongs_and_no_pixel_is_touched(ground):
    target = image(ground, 5, -3)
    aligned = target.georeg.align(image(ground))
    moved = transform_of(aligned)
    assert abs(moved.c - ORIGIN.c - 50) < 0.5
    assert abs(moved.f - ORIGIN.f - 30) < 0.5
    assert (moved.a, moved.b, moved.d, moved.e) == (10, 0, 0, -10)
    assert np.allclose(aligned.x, target.x + moved.c - ORIGIN.c, atol=1e-6)
    assert np.array_equal(aligned.values, target.values)
    assert aligned.dtype == target.dtype
    assert np.allclose(target.x[0], ORIGIN.c + 5)  # the target itself stays


@pytest.mark.parametrize("chunk_px", [None, 200, 640])
def test_arrays_and_tiled_files_give_the_same_tie_points_to_the_last_bit(ground, tmp_path, chunk_px):
    """Of whatever chunks."""
    ref, tgt = image(ground), image(ground, 5, -3)
    of_files = georeg.align(write(ref, tmp_path / "ref.tif"), write(tgt, tmp_path / "tgt.tif"))
    if chunk_px:
        ref, tgt = lazy(ref, chunk_px), lazy(tgt, chunk_px)
    of_arrays = tgt.georeg.measure(ref)
    assert np.array_equal(of_arrays.points.ref_xy, of_files.points.ref_xy)
    assert np.array_equal(of_arrays.points.tgt_xy, of_files.points.tgt_xy)
    assert of_arrays.model.to_dict() == of_files.model.to_dict()


def test_a_file_may_be_the_reference_and_an_alignment_of_arrays_corrects_files(ground, tmp_path):
    ref, tgt = write(image(ground), tmp_path / "ref.tif"), write(image(ground, 5, -3), tmp_path / "tgt.tif")
    alignment = image(ground, 5, -3).georeg.measure(ref)
    assert georeg.apply(alignment, tmp_path / "out.tif", target=tgt) == "geotransform"
    with rasterio.open(tmp_path / "out.tif") as out:
        assert abs(out.transform.c - ORIGIN.c - 50) < 0.5
    with pytest.raises(InputError, match="array:red was an array"):
        alignment.write(tmp_path / "again.tif")


def test_an_aligned_array_stays_as_it_is(ground):
    target = image(ground)
    assert target.georeg.align(image(ground)) is target


# -- resampled


@pytest.mark.parametrize("laziness", ["none", "chunks", "one chunk"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_resampled_pixels_are_those_of_the_files_route(ground, alignment, tmp_path, laziness, dtype):
    """Every byte of every valid pixel; what is not valid holds nodata."""
    target = image(ground, 5, -3).astype(dtype)
    where = target.copy()
    where[:100, :100] = 0
    where = where.assign_attrs(nodata=0)
    tgt, ref = write(where, tmp_path / "tgt.tif"), write(image(ground), tmp_path / "ref.tif")
    result = georeg.align(ref, tgt, matching=FEW)
    result.write(tmp_path / "out.tif", RESAMPLED)
    if laziness != "none":
        where = lazy(where, 200 if laziness == "chunks" else 640)
    aligned = where.georeg.apply(result, like=image(ground), resample=True)
    assert (aligned.chunks is None) == (laziness == "none")
    with rasterio.open(tmp_path / "out.tif") as out:
        assert np.array_equal(aligned.values, out.read(1))
        assert transform_of(aligned) == out.transform
        assert (out.read(1) == 0).any()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("factor", [3, 5, 9])
def test_larger_pixels_are_those_of_the_files_route(ground, tmp_path, dtype, factor):
    """Whose means GDAL makes, and rounds where pixels are whole numbers."""
    target = image(ground, nodata=0).astype(dtype)
    target[100:130, 200:260] = 0
    side_px = SIDE_PX // factor + 5
    coarse = GeoBox((side_px, side_px), ORIGIN * Affine.scale(factor), "EPSG:32633")
    like = wrap_xr(np.zeros((side_px, side_px), dtype), coarse)
    paths = write(like, tmp_path / "like.tif", 16), write(target, tmp_path / "tgt.tif")
    bent = fitted(paths[1], "polynomial2", inputs=Inputs(*paths))
    georeg.apply(bent, tmp_path / "out.tif", RESAMPLED)
    with rasterio.open(tmp_path / "out.tif") as out:
        for array in (target, lazy(target)):
            assert np.array_equal(array.georeg.apply(bent, like=like, resample=True).values, out.read(1))


def test_what_is_resampled_can_be_subtracted_from_the_reference(ground):
    reference = image(ground)
    reference = reference.assign_coords(x=reference.x + 1e-7)  # as no formula would give them
    aligned = image(ground, 5, -3, nodata=0).georeg.align(reference, resample=True)
    assert aligned.sizes == reference.sizes
    both = (aligned.astype(float) - reference).where(aligned != 0)
    assert both.sizes == reference.sizes
    assert float(np.abs(both).median()) < 10  # of a deviation of 400


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_whole_numbers_without_nodata_get_a_value_for_what_is_not_there(ground, dtype):
    target = (image(ground, 20, 0) // 20).astype(dtype)
    aligned = target.georeg.align(image(ground), resample=True, matching=FEW)
    fill = {"uint8": 255, "uint16": 65535, "int16": -32768}[dtype]
    assert aligned.rio.nodata == aligned.odc.nodata == fill
    assert (aligned.values[:, -18:] != fill).all()
    assert (aligned.values[:, :18] == fill).all()


def test_nan_stays_nan_and_its_neighbours_are_those_of_whole_numbers(ground):
    """Masked floats, as rioxarray gives them, against the same pixels with a nodata value."""
    whole = image(ground, 5, -3, nodata=0).copy()
    whole[200:260, 300:330] = 0
    masked = whole.where(whole != 0).astype(np.float32)
    masked.attrs, masked.encoding["_FillValue"] = {}, 0
    alignment = masked.georeg.measure(image(ground), matching=FEW)
    floats, ints = (each.georeg.apply(alignment, like=image(ground), resample=True) for each in (masked, whole))
    assert np.isnan(floats.values[204:250, 312:320]).any()
    assert np.array_equal(np.isnan(floats.values), ints.values == 0)
    assert np.array_equal(np.nan_to_num(np.rint(floats.values)), ints.values)


def test_masks_stay_masks(ground, alignment):
    """Of bool, moved with the pixels that they belong to."""
    mask = image(ground, 5, -3) > 2500
    aligned = lazy(mask).georeg.apply(alignment, like=image(ground), resample=True)
    assert aligned.dtype == bool
    assert np.array_equal(aligned.values[5:-5, 10:-5], (image(ground) > 2500).values[5:-5, 10:-5])
    assert np.array_equal(aligned.values, mask.georeg.apply(alignment, like=image(ground), resample=True).values)


def test_a_turned_correction_is_resampled_unless_that_is_forbidden(tmp_path):
    """Coordinates of one dimension cannot hold it; the GeoTransform of the CRS can, and both libraries read it there."""
    target = rioxarray.open_rasterio(ramps(tmp_path / "ramps.tif"))
    result = fitted(str(tmp_path / "ramps.tif"))
    grid = wrap_xr(np.zeros(SHAPE, np.float32), GeoBox(SHAPE, NORTH_UP, "EPSG:32633"))
    kept = target.georeg.apply(result, resample=False)
    assert np.array_equal(kept.values, target.values)
    corners = np.array([[0, 0], [SHAPE[1], 0], [0, SHAPE[0]], SHAPE[::-1]], float)
    right_xy = affine_truth(at(NORTH_UP, corners))
    for transform in (kept.odc.geobox.affine, kept.rio.transform()):
        assert np.abs(at(transform, corners) - right_xy).max() < 1e-3 * GSD
    resampled = target.georeg.apply(result, like=grid)
    assert transform_of(resampled) == NORTH_UP
    xy = np.array([[402003.0, 5798001.0]])  # the ramps tell which pixel of the target is seen there
    seen = resampled.sel(x=xy[0, 0], y=xy[0, 1], method="nearest")
    place = np.array([[float(seen.x), float(seen.y)]])
    own_px = np.array([[float(seen[0]), float(seen[1])]])
    assert np.abs(affine_truth(at(NORTH_UP, own_px)) - place).max() < 0.02 * GSD
    with pytest.raises(InputError, match="give like=reference"):
        target.georeg.apply(result)


def test_a_bent_correction_that_must_not_be_resampled_is_refused(tmp_path):
    target = rioxarray.open_rasterio(ramps(tmp_path / "ramps.tif"))
    bent = fitted(str(tmp_path / "ramps.tif"), "polynomial2")
    with pytest.raises(InputError, match="no geotransform holds the polynomial2 correction"):
        target.georeg.apply(bent, resample=False)
    array = lazy(target, 128)
    aligned = array.georeg.apply(bent, like=target)
    assert np.array_equal(aligned.values, target.georeg.apply(bent, like=target).values)


def test_attributes_and_other_coordinates_go_along(ground, alignment):
    target = image(ground, 5, -3, long_name="red", scale_factor=1e-4).assign_coords(
        time=np.datetime64("2020-06-01", "ns")
    )
    target = target.assign_coords(lon=(("y", "x"), np.zeros(target.shape)))
    for resample in (None, True):
        aligned = target.georeg.apply(alignment, like=image(ground), resample=resample)
        assert aligned.name == "red"
        assert aligned.attrs["long_name"] == "red"
        assert aligned.attrs["scale_factor"] == 1e-4
        assert aligned.time == target.time
        assert "lon" not in aligned.coords  # says where pixels were


# -- several bands, variables and dates


def test_all_variables_of_a_dataset_are_corrected_as_one_of_them_says(ground):
    red = image(ground, 5, -3)
    scl = xr.where(red > 2500, 4, 6).astype(np.uint8).assign_attrs(nodata=0)
    scene = xr.Dataset({"red": red, "scl": scl, "note": ((), "clear")}).assign_attrs(platform="sentinel-2a")
    aligned = lazy(scene).georeg.align(image(ground), band="red")
    assert abs(transform_of(aligned.red).c - ORIGIN.c - 50) < 0.5
    assert aligned.scl.odc.geobox == aligned.red.odc.geobox
    assert aligned.note == "clear"
    resampled = lazy(scene).georeg.align(xr.Dataset({"red": image(ground)}), band="red", resample=True, matching=FEW)
    assert list(resampled.data_vars) == ["red", "scl", "note"]
    assert resampled.attrs == scene.attrs
    assert set(np.unique(resampled.scl)) == {0, 4, 6}  # classes are not interpolated
    with pytest.raises(InputError, match="no variable is chosen; give band as one of 'red', 'scl'"):
        scene.georeg.align(image(ground))
    with pytest.raises(InputError, match="no image 'nir'"):
        scene.georeg.align(image(ground), band="nir")


def test_bands_of_an_array_are_corrected_together(ground):
    target = xr.concat([image(ground[::-1], 5, 3), image(ground, 5, -3)], "band")
    inputs = georeg.InputOptions(tgt_bands=(2,))
    aligned = lazy(target).georeg.align(image(ground), inputs=inputs, resample=True, matching=FEW)
    assert aligned.dims == ("band", "y", "x")
    one = target[1].georeg.align(image(ground), resample=True, matching=FEW)
    assert np.array_equal(aligned[1].values, one.values)


SHIFTS = [(0, 0), (5, -3), (-4, 2), (2, 6)]


def stack(ground: np.ndarray) -> xr.DataArray:
    times = np.array(["2020-06-01", "2020-07-01", "2020-08-01", "2020-09-01"], "datetime64[ns]")
    return xr.concat([image(ground, *shift, nodata=0) for shift in SHIFTS], xr.Variable("time", times))


@pytest.mark.parametrize("to", [0, 2, "reference"])
def test_images_of_a_stack_agree_with_each_other(ground, to):
    series = xr.Dataset({"red": lazy(stack(ground)), "height": image(ground)}).assign_attrs(title="series")
    wanted = image(ground) if to == "reference" else stack(ground)[to]
    aligned = series.georeg.align_stack(to=wanted if to == "reference" else to, band="red", matching=FEW)
    assert aligned.red.dims == ("time", "y", "x")
    assert aligned.red.chunks is not None
    assert np.array_equal(aligned.time, series.time)
    assert np.array_equal(aligned.x, series.x)
    assert np.array_equal(aligned.height, image(ground))  # has no time, and stays
    assert aligned.attrs == series.attrs
    for one in aligned.red.values:
        seen = one[20:-20, 20:-20]
        assert np.corrcoef(seen.ravel(), wanted.values[20:-20, 20:-20].ravel())[0, 1] > 0.999


def test_without_a_reference_images_are_put_where_they_lie_in_the_mean(ground):
    aligned = lazy(stack(ground)).georeg.align_stack(matching=FEW)
    column, row = -np.mean(SHIFTS, axis=0)
    wanted = image(ground, round(-column), round(-row))
    for one in aligned.values:
        seen = one[20:-20, 20:-20]
        assert np.corrcoef(seen.ravel(), wanted.values[20:-20, 20:-20].ravel())[0, 1] > 0.97, "a part of a pixel away"


def test_an_image_of_a_stack_that_is_refused_is_raised_or_left_out(ground):
    series = stack(ground).copy()
    series[2] = 0  # all cloud
    with pytest.raises(georeg.GeoregError, match="none of its"):
        series.georeg.align_stack(to=0)
    left = series.georeg.align_stack(to=0, refused="drop", matching=FEW)
    assert np.array_equal(left.time, series.time[[0, 1, 3]])
    with pytest.raises(InputError, match="no dimension 'month'"):
        series.georeg.align_stack("month")
    with pytest.raises(InputError, match="to is 4, and there are 4 images"):
        series.georeg.align_stack(to=4)


# -- refused


REFUSED: list[tuple[Callable[[xr.DataArray], xr.DataArray], type[Exception], str]] = [
    (lambda a: xr.DataArray(a.values, {"y": a.y.values, "x": a.x.values}, ("y", "x")), InputError, "has no CRS"),
    (lambda a: a.expand_dims("band").transpose("y", "x", "band"), InputError, r"transpose\('band', 'y', 'x'\)"),
    (lambda a: xr.concat([a, a], "time"), InputError, "align_stack"),
    (lambda a: a.isel(x=0), InputError, "no dimensions y and x"),
    (
        lambda a: a.assign_coords(x=a.x + 4 * (np.arange(a.sizes["x"]) % 2)),
        InputError,
        "the coordinate x .* is uneven by",
    ),
    (lambda a: a.assign_coords(x=a.x + 1e6), OverlapError, "share no ground"),
    (lambda a: a.astype(str), InputError, "which are no pixels"),
]


@pytest.mark.parametrize(("spoilt", "error", "said"), REFUSED)
def test_what_cannot_be_used_is_refused_with_an_error_of_ours(ground, spoilt, error, said):
    target = spoilt(image(ground))
    with pytest.raises(error, match=said):
        target.georeg.align(image(ground))


def test_a_refused_pair_is_refused_as_files_are(ground, tmp_path):
    ref, tgt = image(ground), image(ground, 5, -3)
    strict = georeg.LimitOptions(max_ce90="1e-9px")
    with pytest.raises(LimitError) as of_arrays:
        tgt.georeg.align(ref, limits=strict)
    with pytest.raises(LimitError) as of_files:
        georeg.align(write(ref, tmp_path / "ref.tif"), write(tgt, tmp_path / "tgt.tif"), limits=strict)
    assert str(of_arrays.value) == str(of_files.value)


# -- lazily


def test_no_pixel_is_computed_before_it_is_asked_for_and_then_only_what_it_needs(ground, alignment):
    computed: list[tuple[int, int]] = []
    target = image(ground, 5, -3).copy(data=counting(image(ground, 5, -3).values, 160, computed))
    aligned = target.georeg.apply(alignment, like=lazy(image(ground), 160), resample=True, resampling="cubic")
    assert computed == []
    with dask.config.set(scheduler="synchronous"):
        aligned[170:180, 170:180].compute()
    assert 0 < len(set(computed)) <= 9
    assert (480, 480) not in computed
    moved = target.georeg.apply(alignment)
    assert len(set(computed)) <= 9
    assert moved.chunks == target.chunks


def counting(pixels: np.ndarray, side_px: int, computed: list[tuple[int, int]]) -> da.Array:
    """Dask chunks of pixels (height, width), each of which notes its corner when it is computed."""

    def chunk(block_info: Any = None) -> np.ndarray:
        (top, bottom), (left, right) = block_info[None]["array-location"]
        computed.append((top, left))
        return pixels[top:bottom, left:right]

    sizes = da.core.normalize_chunks(side_px, pixels.shape)
    return da.map_blocks(chunk, chunks=sizes, dtype=pixels.dtype, meta=np.empty((0, 0), pixels.dtype))


def test_each_chunk_is_computed_once_to_measure_while_it_is_kept(ground):
    computed: list[tuple[int, int]] = []
    target = image(ground).copy(data=counting(image(ground).values, 160, computed))
    raster = image_raster(target)
    assert isinstance(raster.source, Chunked)
    with Reader(raster) as reader:
        for row in range(0, 600, 100):
            data, valid = reader.read((row, 0), (100, SIDE_PX), [1])
            assert valid.all()
            assert np.array_equal(data[0], image(ground).values[row : row + 100])
    assert sorted(computed) == [(row, col) for row in range(0, 640, 160) for col in range(0, 640, 160)]
    assert raster.source.n_computed == 16


@dataclass(frozen=True, eq=False)
class Noting:
    """Pixels that note where they are looked at."""

    windows: list[Window]
    part_shape: tuple[int, int] = (4, 4)

    def read(self, window: Window, bands: tuple[int, ...]) -> np.ndarray:
        self.windows.append(window)
        return np.ones((len(bands), int(window.height), int(window.width)), np.float32)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic", "lanczos"])
@pytest.mark.parametrize("factor", [1, 3, 9])
def test_a_task_is_given_all_that_it_looks_at(kernel, factor):
    """The bounds of a window whose border is one of the nodes of the inverse map are tight."""
    noting = Noting([])
    grid = GeoBox((900, 900), Affine(10, 0, 398000, 0, -10, 5802000), "EPSG:32633")
    raster = array_raster(noting, grid, dtypes=("float32",))
    place = Placement(raster, UTM, fitted("absent.tif", "polynomial2").model)
    coarse = GeoBox((448 // factor, 448 // factor), NORTH_UP * Affine.scale(factor), "EPSG:32633")
    window = Window(0, 0, 64, 64) if factor == 9 else Window(64, 64, 64, 64)
    needed = source_window(place, coarse, kernel, window)
    assert needed is not None
    with Reader(raster, least_alpha=1) as reader:
        sample(reader, place, coarse, [1], kernel=kernel, window=window)
    low = np.min([(part.row_off, part.col_off) for part in noting.windows], axis=0)
    high = np.max([(part.row_off + part.height, part.col_off + part.width) for part in noting.windows], axis=0)
    assert (low > (needed.row_off - 4, needed.col_off - 4)).all()  # in parts of 4
    assert (high < (needed.row_off + needed.height + 4, needed.col_off + needed.width + 4)).all()
    assert needed.height * needed.width < 3 * (64 * factor + 40) ** 2 + 10000 * factor  # and not much more


def test_an_array_is_not_kept_alive_by_what_is_remembered_of_its_place():
    pixels = np.random.default_rng(0).random((1, 300, 300)).astype(np.float32)
    kept, grid = weakref.ref(pixels), GeoBox((300, 300), ORIGIN, "EPSG:32633")
    raster = array_raster(pixels, grid)
    with Reader(raster) as reader:
        sample(reader, Placement(raster, UTM, identity()), grid.zoom_out(2), [1])
    del pixels, raster, reader
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("nodata", [None, 3.0])
def test_larger_pixels_are_means_of_those_that_are_there(nodata):
    """As of a file: also where no whole raster of means is kept."""
    values = np.random.default_rng(1).integers(0, 6, (1, 64, 96)).astype(np.float32)
    raster = array_raster(values, GeoBox((64, 96), ORIGIN, "EPSG:32633"), nodata=nodata)
    with Reader(raster) as reader:
        for overviews in (False,) if nodata else (False, True):  # overviews are means of means
            data, valid = reader.read((1, 2), (10, 12), [1], reduce=4, overviews=overviews)
            known = np.where(values[0] == nodata, np.nan, values[0]) if nodata else values[0]
            squares = known[4:44, 8:56].reshape(10, 4, 12, 4)
            assert np.allclose(data[0], np.nanmean(squares, axis=(1, 3)), atol=1e-5)
            assert valid.all()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process's peak by the module resource")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no /proc, which tells how much memory was taken")
def test_a_cluster_computes_a_large_array_in_bounded_memory():
    """10980 × 10980 pixels, which are 240 MB as uint16, to a third, by one worker."""
    side_px = 10980

    def chunk(block_info: Any = None) -> np.ndarray:
        (top, bottom), (left, right) = block_info[None]["array-location"]
        rows, cols = np.mgrid[top:bottom, left:right]
        return ((rows * 7 + cols * 13) % 4001).astype(np.uint16)

    sizes = da.core.normalize_chunks(1024, (side_px, side_px))
    pixels = da.map_blocks(chunk, chunks=sizes, dtype=np.uint16, meta=np.empty((0, 0), np.uint16))
    grid = GeoBox((side_px, side_px), Affine(10, 0, 399960, 0, -10, 5800020), "EPSG:32633")
    target = wrap_xr(pixels, grid)
    like = wrap_xr(da.zeros((side_px, side_px), chunks=1024, dtype=np.uint16), grid)
    shifted = fitted("absent.tif", "polynomial2")
    aligned = target.georeg.apply(shifted, like=like, resample=True, resampling="bilinear")
    with (
        dask.config.set({"distributed.worker.profile.enabled": False, "distributed.worker.memory.terminate": 1.0}),
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit="1GB", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        total = int((aligned[:4000] != 65535).sum().compute())
        peak_mb = max(client.run(peak_memory_mb).values())
    assert total > 0.95 * 4000 * side_px
    assert peak_mb < 1000


def peak_memory_mb() -> float:
    """Of this process; getrusage tells that of the process it was started by, if that is more."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 2**10


# -- what others give


@pytest.fixture(scope="module")
def item(ground: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> pystac.Item:
    """A scene in a catalogue, of two assets."""
    folder = tmp_path_factory.mktemp("stac")
    scene = pystac.Item("scene", None, None, datetime(2020, 6, 1, tzinfo=UTC), {})
    target = image(ground, 5, -3, nodata=0)
    for name in ("red", "nir"):
        path = write(target, folder / f"{name}.tif")
        scene.add_asset(name, pystac.Asset(path, media_type=pystac.MediaType.COG, roles=["data"]))
    scene.bbox = [*target.odc.geobox.geographic_extent.boundingbox]
    scene.geometry = target.odc.geobox.geographic_extent.json
    projection = ProjectionExtension.ext(scene, add_if_missing=True)
    projection.epsg, projection.shape, projection.transform = 32633, [SIDE_PX] * 2, list(ORIGIN)[:6]
    return scene


def test_what_odc_stac_loads_is_aligned(ground, item):
    scene = odc.stac.load([item], bands=["red", "nir"], chunks={"x": 256, "y": 256})
    scene = scene.isel(time=0)
    aligned = scene.georeg.align(image(ground), band="red", matching=FEW)
    assert abs(transform_of(aligned.red).c - ORIGIN.c - 50) < 0.5
    assert abs(float(aligned.x[0]) - float(scene.x[0]) - 50) < 0.5
    resampled = scene.georeg.align(image(ground), band="red", resample=True, matching=FEW)
    assert resampled.nir.chunks is not None
    seen = resampled.nir.values[20:-20, 20:-20].astype(float)
    assert np.corrcoef(seen.ravel(), image(ground).values[20:-20, 20:-20].ravel())[0, 1] > 0.999


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("chunks", [None, {"x": 256, "y": 256}])
def test_what_rioxarray_opens_is_aligned(ground, tmp_path, masked, chunks):
    path = write(image(ground, 5, -3, nodata=0), tmp_path / "tgt.tif")
    target = rioxarray.open_rasterio(path, masked=masked, chunks=chunks)
    aligned = target.georeg.align(image(ground), matching=FEW)
    assert aligned.dims == ("band", "y", "x")
    assert abs(transform_of(aligned).c - ORIGIN.c - 50) < 0.5
    aligned.rio.to_raster(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.transform.almost_equals(transform_of(aligned), 1e-6)
        assert np.array_equal(out.read(), rasterio.open(path).read())


@real
def test_a_real_scene_is_corrected_to_the_bytes_of_the_files_route(tmp_path):
    """Given one correction: JPEG 2000 has overviews of its own, by which files are searched and arrays cannot be."""
    alignment = georeg.align(S2_REF, S2_TGT)
    alignment.write(tmp_path / "moved.tif")
    alignment.write(tmp_path / "resampled.tif", RESAMPLED)
    chunks = {"x": 1024, "y": 1024}
    ref, tgt = (rioxarray.open_rasterio(path, chunks=chunks) for path in (S2_REF, S2_TGT))
    with rasterio.open(tmp_path / "moved.tif") as out:
        moved = tgt.georeg.apply(alignment, resample=False)
        assert transform_of(moved) == out.transform
        assert np.array_equal(moved.values, out.read())
    with rasterio.open(tmp_path / "resampled.tif") as out:
        resampled = tgt.georeg.apply(alignment, like=ref, resample=True)
        known = out.read_masks() > 0
        assert transform_of(resampled) == out.transform
        assert np.array_equal(resampled.values[known], out.read()[known])
        assert (resampled.values[~known] == resampled.rio.nodata).all()


@real
def test_a_real_scene_is_aligned_to_the_bytes_of_the_files_route(tmp_path):
    """Measured, too: of files of tiles without overviews, which is what arrays are."""
    ref, tgt = (rioxarray.open_rasterio(path, chunks={"x": 1000, "y": 700}) for path in (S2_REF, S2_TGT))
    files = [write(array, tmp_path / name) for name, array in (("ref.tif", ref), ("tgt.tif", tgt))]
    georeg.align(*files).write(tmp_path / "resampled.tif", RESAMPLED)
    aligned = tgt.georeg.align(ref, resample=True)
    with rasterio.open(tmp_path / "resampled.tif") as out:
        known = out.read_masks() > 0
        assert np.array_equal(aligned.values[known], out.read()[known])
        assert transform_of(aligned) == out.transform
    of_files, of_arrays = georeg.align(S2_REF, S2_TGT), tgt.georeg.measure(ref)
    places = of_files.points.tgt_xy
    assert np.abs(of_files.model(places) - of_arrays.model(places)).max() < 1e-3 * 10
