"""Resampling moves nothing: positions are those of the exact projections, and no pixel depends on its window."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from rasterio.windows import Window

from georeg.encoding import working_dtype
from georeg.errors import InputError
from georeg.models import LADDER, PolynomialDisplacement, Translation, identity
from georeg.overlap import nodes, pair_rasters
from georeg.placement import Placement, apply_transform, compose, corrected_transform, lattice
from georeg.raster import Raster, open_raster
from georeg.reader import Reader
from georeg.regrid import output_windows
from georeg.resampling import Kernel
from georeg.warp import sample

UTM33, UTM32 = CRS.from_epsg(32633), CRS.from_epsg(32632)
CORNER_XY = (302000.0, 5771000.0)
KERNELS: tuple[Kernel, ...] = get_args(Kernel)

Floats = NDArray[np.float64]


def grid_at(
    shape: tuple[int, int], gsd: float = 10.0, corner_xy: tuple[float, float] = CORNER_XY, turn_deg: float = 0.0
) -> GeoBox:
    turned = compose(Affine.translation(*corner_xy), Affine.rotation(turn_deg))
    return GeoBox(shape, compose(turned, Affine.scale(gsd, -gsd)), "EPSG:32633")


def write(
    path: Path,
    data: NDArray[Any],
    transform: Affine | None = None,
    crs: Any = "EPSG:32633",
    nodata: float | None = None,
) -> Raster:
    profile = {"driver": "GTiff", "count": 1, "dtype": data.dtype, "crs": crs, "nodata": nodata}
    profile |= {"height": data.shape[0], "width": data.shape[1], "transform": transform or grid_at((1, 1)).affine}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(data, 1)
    return open_raster(path)


def described(
    shape: tuple[int, int] = (400, 500), transform: Affine | None = None, crs: CRS = UTM33, name: str = "made.tif"
) -> Raster:
    """A raster that need not exist."""
    transform = transform or grid_at((1, 1)).affine
    return Raster(name, "GTiff", crs, transform, shape, ("uint8",), None, False, (), False, ())


def noise(shape: tuple[int, int], dtype: str = "float32", seed: int = 0) -> NDArray[Any]:
    return (1000 + 200 * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def bent(kind: str = "polynomial2", size_m: float = 20.0) -> PolynomialDisplacement:
    model = LADDER[kind]
    assert issubclass(model, PolynomialDisplacement)
    coefficients = np.random.default_rng(1).uniform(-size_m, size_m, (len(model.exponents()), 2))
    if kind == "similarity":  # growth and turn are one for both axes
        coefficients[2] = -coefficients[1, 1], coefficients[1, 0]
    return model((CORNER_XY[0] + 2000, CORNER_XY[1] - 2000), 2000.0, coefficients)


def on_grid(
    raster: Raster, model: PolynomialDisplacement, grid: GeoBox, kernel: Kernel, side_px: int = 4096
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A raster on a grid, put together from blocks."""
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    out, valid = np.zeros(shape), np.zeros(shape, bool)
    with Reader(raster) as reader:
        for window in output_windows(shape, side_px):
            dtype = working_dtype(raster.dtypes)
            patch = sample(
                reader, Placement(raster, UTM33, model), grid, [1], kernel=kernel, dtype=dtype, window=window
            )
            out[window.toslices()], valid[window.toslices()] = patch.data[0], patch.valid[0]
    return out, valid


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Raster:
    """Noise in another zone with a nodata rim, stripes and single holes."""
    data = noise((300, 320))
    row, col = np.indices(data.shape)
    data[(row + 0.3 * col < 60) | ((row - col) % 50 < 6) | (np.random.default_rng(3).random(data.shape) < 0.02)] = -1
    x, y = Transformer.from_crs(UTM33, UTM32, always_xy=True).transform(*CORNER_XY)
    transform = compose(Affine.translation(x, y), Affine.scale(11.3, -9.1))
    return write(tmp_path_factory.mktemp("warp") / "holed.tif", data, transform, "EPSG:32632", nodata=-1)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gsd", [8.0, 11.0, 36.0, 61.0])
def test_whole_image_equals_tiles(holed: Raster, kernel: Kernel, gsd: float) -> None:
    grid = grid_at((int(2600 / gsd), int(2700 / gsd)), gsd)
    whole, whole_valid = on_grid(holed, bent(), grid, kernel)
    assert 0.1 < whole_valid.mean() < 1
    for side_px in (29, 64, 128):
        tiles, tiles_valid = on_grid(holed, bent(), grid, kernel, side_px)
        np.testing.assert_array_equal(whole_valid, tiles_valid)
        np.testing.assert_array_equal(whole[whole_valid], tiles[whole_valid])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_resampling_onto_its_own_grid_changes_nothing(tmp_path: Path, kernel: Kernel, dtype: str) -> None:
    data = (noise((70, 90), "float64") / 4).astype(dtype)
    raster = write(tmp_path / "own.tif", data)
    out, valid = on_grid(raster, identity(), grid_at((70, 90)), kernel)
    assert valid.all()
    np.testing.assert_array_equal(out, data)


@pytest.mark.parametrize("kernel", KERNELS)
def test_whole_pixel_shift_moves_values_unchanged(tmp_path: Path, kernel: Kernel) -> None:
    data = noise((70, 90))
    moved_east_30_north_20 = Translation((0.0, 0.0), 1.0, np.array([[30.0, 20.0]]))
    out, valid = on_grid(write(tmp_path / "a.tif", data), moved_east_30_north_20, grid_at((70, 90)), kernel)
    np.testing.assert_array_equal(out[:-2, 3:], data[2:, :-3])
    assert valid[:-2, 3:].all()
    assert valid.sum() == 68 * 87


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gsd", [7.7, 10.0, 26.0])
def test_constant_stays_constant_next_to_nodata(tmp_path: Path, kernel: Kernel, gsd: float) -> None:
    data = np.full((120, 120), 731.25, np.float32)
    data[40:60, 30:90] = np.nan
    data[100:, ::7] = np.nan
    raster = write(tmp_path / "flat.tif", data, nodata=np.nan)
    out, valid = on_grid(raster, bent(), grid_at((60, 60), gsd, (CORNER_XY[0] + 3, CORNER_XY[1] - 4)), kernel)
    assert 0.3 < valid.mean() < 1
    np.testing.assert_array_equal(out[valid], np.float32(731.25))


@pytest.mark.parametrize("kernel", ["bilinear", "cubic", "quintic"])
@pytest.mark.parametrize("move_px", [(0.5, 0.5), (0.3, -0.7), (-0.11, 0.23)])
def test_ramp_is_moved_by_what_was_asked(tmp_path: Path, kernel: Kernel, move_px: tuple[float, float]) -> None:
    row, col = np.indices((120, 120), np.float32)
    raster = write(tmp_path / "ramp.tif", (3 * col + 5 * row).astype(np.float32))
    model = Translation((0.0, 0.0), 1.0, np.array([[10 * move_px[0], -10 * move_px[1]]]))
    out, _ = on_grid(raster, model, grid_at((120, 120)), kernel)
    inner = np.s_[40:-40, 40:-40]
    expected = 3 * (col - move_px[0]) + 5 * (row - move_px[1])
    assert np.abs(out - expected)[inner].max() < 0.005 * 3


@pytest.mark.parametrize("kernel", ["cubic", "quintic"])
def test_spline_moves_a_band_limited_wave_without_bias(tmp_path: Path, kernel: Kernel) -> None:
    row, col = np.indices((128, 128))
    raster = write(tmp_path / "wave.tif", np.cos(0.5 * np.pi * col + 0.2 * row).astype(np.float32))
    model = Translation((0.0, 0.0), 1.0, np.array([[3.4, 0.0]]))
    out, _ = on_grid(raster, model, grid_at((128, 128)), kernel)
    wave = np.exp(-1j * (0.5 * np.pi * (col - 0.34) + 0.2 * row))
    phase = np.angle((out * wave)[40:-40, 40:-40].sum())
    assert abs(phase / (0.5 * np.pi)) < {"cubic": 0.01, "quintic": 0.001}[kernel]


def test_averaging_keeps_the_centre_of_what_it_averages(tmp_path: Path) -> None:
    """The half-pixel trap: coarser pixels by a whole factor, or nearly, move nothing."""
    row, col = np.indices((400, 400), np.float32)
    raster = write(tmp_path / "ramp.tif", (col + 10 * row).astype(np.float32))
    for factor in (2.0, 3.0, 4.0, 5.5, 2.6):
        side = int(300 / factor)
        out, _ = on_grid(raster, identity(), grid_at((side, side), 10 * factor), "cubic")
        at = (np.arange(side) + 0.5) * factor - 0.5
        inner = np.s_[side // 4 : -side // 4, side // 4 : -side // 4]
        assert np.abs(out - (at + 10 * at[:, None]))[inner].max() < 0.005 * factor


@pytest.mark.parametrize("src", [UTM32, CRS.from_epsg(4326), CRS.from_epsg(3857), CRS.from_epsg(3035)])
def test_map_between_lattice_nodes_is_exact(src: CRS) -> None:
    to_src = Transformer.from_crs(UTM33, src, always_xy=True)
    x, y = to_src.transform(*CORNER_XY)
    east, _ = to_src.transform(CORNER_XY[0] + 10, CORNER_XY[1])
    gsd = east - x
    transform = Affine(gsd, 0, x, 0, -gsd, y)
    grid, model = grid_at((700, 900), turn_deg=3.0), bent("polynomial3", 5.0)
    placement = Placement(described((800, 800), transform, src), UTM33, model)
    src_px = lattice(placement, grid).positions(Window(0, 0, 900, 700)).px
    row, col = (at.ravel() for at in np.indices((700, 900))[:, ::53, ::47])
    xy = apply_transform(grid.affine, np.stack([col, row], axis=1) + 0.5)
    tgt_xy = model.inverse(xy)
    exact = apply_transform(~transform, np.stack(to_src.transform(*tgt_xy.T), axis=1))
    inside = ((exact > -20) & (exact < 820)).all(axis=1)
    assert inside.mean() > 0.7
    assert np.abs(src_px[:, row, col].T - exact)[inside].max() < 0.005


@given(
    px=st.lists(st.tuples(st.floats(-100, 500), st.floats(-100, 500)), min_size=1, max_size=20),
    turn_deg=st.floats(-180, 180),
    mirrored=st.booleans(),
    epsg=st.sampled_from([32633, 32632, 4326, 3857, 3035]),
    kind=st.sampled_from(["translation", "similarity", "affine", "polynomial2", "polynomial3"]),
)
@settings(deadline=None, max_examples=60)
def test_to_px_is_the_inverse_of_to_xy(
    px: list[tuple[float, float]], turn_deg: float, mirrored: bool, epsg: int, kind: str
) -> None:
    crs = CRS.from_epsg(epsg)
    x, y = Transformer.from_crs(UTM33, crs, always_xy=True).transform(*CORNER_XY)
    scale = 1e-4 if crs.is_geographic else 10.0
    turned = compose(compose(Affine.translation(x, y), Affine.rotation(turn_deg)), Affine.scale(scale, scale))
    if mirrored:
        turned = compose(turned, Affine.scale(-1, 1))
    placement = Placement(described(transform=turned, crs=crs), UTM33, bent(kind, 2.0))
    np.testing.assert_allclose(placement.to_px(placement.to_xy(np.array(px))), px, atol=1e-4)


@pytest.mark.parametrize("kind", ["translation", "similarity", "affine"])
def test_corrected_transform_is_exact_in_the_same_crs(kind: str) -> None:
    raster = described(transform=grid_at((1, 1), turn_deg=30.0).affine)
    placement = Placement(raster, UTM33, bent(kind))
    transform = corrected_transform(placement)
    assert transform is not None
    px = np.array([[0.0, 0], [500, 0], [0, 400], [500, 400], [13.3, 77.7]])
    np.testing.assert_allclose(apply_transform(transform, px), placement.to_xy(px), rtol=0, atol=1e-7)


def test_translation_leaves_pixel_size_and_rotation_untouched() -> None:
    raster = described(transform=grid_at((1, 1), turn_deg=30.0).affine)
    transform = corrected_transform(Placement(raster, UTM33, bent("translation")))
    assert transform is not None
    assert [transform[k] for k in (0, 1, 3, 4)] == [raster.transform[k] for k in (0, 1, 3, 4)]


@pytest.mark.parametrize("crs", [UTM32, CRS.from_epsg(4326), CRS.from_epsg(3857)])
@pytest.mark.parametrize("kind", ["translation", "affine"])
def test_corrected_transform_in_another_crs_is_near_or_none(crs: CRS, kind: str) -> None:
    x, y = Transformer.from_crs(UTM33, crs, always_xy=True).transform(*CORNER_XY)
    gsd = 1e-4 if crs.is_geographic else 10.0
    for size_px, size_m in ((400, 20.0), (400, 900.0), (9000, 900.0)):
        raster = described((size_px, size_px), Affine(gsd, 0, x, 0, -gsd, y), crs)
        placement = Placement(raster, UTM33, bent(kind, size_m))
        transform = corrected_transform(placement)
        if transform is None:
            assert size_m > 20
            continue
        at = np.linspace(0, size_px, 15)
        px = np.stack([axis.ravel() for axis in np.meshgrid(at, at)], axis=1)
        right_xy = np.stack(Transformer.from_crs(UTM33, crs, always_xy=True).transform(*placement.to_xy(px).T), axis=1)
        assert np.abs(apply_transform(~transform, right_xy) - px).max() <= 0.011


@pytest.mark.parametrize("kind", ["polynomial2", "polynomial3"])
def test_no_geotransform_stands_for_a_bend(kind: str) -> None:
    assert corrected_transform(Placement(described(), UTM33, bent(kind))) is None


def test_grid_far_outside_a_projection_is_invalid_not_wrong(tmp_path: Path) -> None:
    """Most of a world grid has no place in a UTM zone."""
    raster = write(tmp_path / "a.tif", noise((50, 50)))
    world = GeoBox((90, 180), Affine(222638.98, 0, -20037508, 0, -222638.98, 10018754), "EPSG:3857")
    with Reader(raster) as reader:
        patch = sample(reader, Placement(raster, CRS.from_epsg(3857), identity()), world, [1], snap_px=64.0)
    assert np.isfinite(patch.data).all()
    assert patch.valid.sum() <= 1


@pytest.mark.parametrize("kind", ["polynomial2", "polynomial3"])
def test_bend_shows_no_second_image_far_away(tmp_path: Path, kind: str) -> None:
    """A polynomial returns to the raster's own coordinates far from where it was fitted; nothing is there."""
    raster = write(tmp_path / "a.tif", noise((400, 400)))
    _, valid = on_grid(
        raster, bent(kind, 40.0), grid_at((1500, 1500), 100.0, (CORNER_XY[0] - 7e4, CORNER_XY[1] + 7e4)), "nearest"
    )
    row, col = np.nonzero(valid)
    assert 1500 < len(row) < 1700
    assert max(np.ptp(row), np.ptp(col)) < 45


def test_outside_the_raster_is_invalid(tmp_path: Path) -> None:
    raster = write(tmp_path / "a.tif", noise((50, 50)))
    _, valid = on_grid(raster, identity(), grid_at((50, 50), corner_xy=(0.0, 0.0)), "cubic")
    assert not valid.any()


def test_snapped_patch_says_where_its_pixels_lie(tmp_path: Path) -> None:
    data = noise((200, 200))
    raster = write(tmp_path / "a.tif", data)
    model = Translation((0.0, 0.0), 1.0, np.array([[33.4, -56.1]]))
    grid = grid_at((60, 60), corner_xy=(CORNER_XY[0] + 500, CORNER_XY[1] - 500))
    placement = Placement(raster, UTM33, model)
    with Reader(raster) as reader:
        patch = sample(reader, placement, grid, [1], snap_px=64.0)
    col, row = (int(n) for n in np.rint(placement.to_px(patch.xy(np.zeros((1, 2))))[0]))
    np.testing.assert_array_equal(patch.data[0], data[row : row + 60, col : col + 60])
    asked = apply_transform(grid.affine, np.zeros((1, 2)))
    assert np.abs(patch.xy(np.zeros((1, 2))) - asked).max() <= 5.0001


@given(height=st.integers(1, 90), width=st.integers(1, 90), side_px=st.integers(7, 128))
def test_output_windows_cover_every_pixel_once(height: int, width: int, side_px: int) -> None:
    covered = np.zeros((height, width), int)
    for window in output_windows((height, width), side_px):
        assert max(window.height, window.width) <= side_px
        covered[window.toslices()] += 1
    assert (covered == 1).all()


def test_windows_lie_inside_the_overlap() -> None:
    """No window reaches more than a pixel over the outline of what both rasters share."""
    moved = compose(Affine.translation(1500, -900), compose(grid_at((1, 1)).affine, Affine.rotation(25)))
    pair = pair_rasters(described((500, 500)), described((500, 500), moved))
    overlap = pair.overlap_px(identity(), pair.grid)
    centres = nodes(overlap, 20, (32,))
    assert len(centres) > 50
    turned = [pair.reference_placement(), pair.target_placement(identity())]
    for offset in ((0, 0), (-31, 0), (31, 0), (0, -31), (0, 31)):
        xy = apply_transform(pair.grid.affine, centres + np.array(offset, float))
        for placement in turned:
            px = placement.to_px(xy)
            assert ((px > -2) & (px < 502)).all()


def test_windows_keep_the_first_margin_that_leaves_any() -> None:
    wide, narrow = shapely.box(0, 0, 200, 200), shapely.box(0, 0, 40, 200)
    assert nodes(wide, 20, (32, 16)).min() >= 32
    assert nodes(wide, 20, (32, 16)).max() <= 168
    thin = nodes(narrow, 20, (32, 16))
    assert len(thin) > 0
    assert thin[:, 0].min() >= 16
    assert thin[:, 0].max() <= 24
    assert len(nodes(narrow, 20, (32,))) == 0


def test_narrow_overlap_still_has_windows() -> None:
    moved = compose(Affine.translation(4600, 0), grid_at((1, 1)).affine)
    pair = pair_rasters(described((500, 500)), described((500, 500), moved))
    assert len(nodes(pair.overlap_px(identity(), pair.grid), 20, (32, 16))) > 0


def test_rasters_apart_share_nothing_but_a_grid() -> None:
    moved = compose(Affine.translation(25000, 0), grid_at((1, 1)).affine)
    pair = pair_rasters(described((400, 500)), described((400, 500), moved))
    overlap = pair.overlap_px(identity(), pair.grid)
    assert overlap.is_empty
    assert nodes(overlap, 20, (32, 16)).shape == (0, 2)
    back = Translation((0.0, 0.0), 1.0, np.array([[-25000.0, 0.0]]))
    assert pair.overlap_px(back, pair.grid).area == pytest.approx(400 * 500)


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [
        (12.3, 52.0, 32633),
        (-73.9, -40.7, 32718),
        (179.9, 10.0, 32660),
        (15.0, 86.0, 32661),
        (15.0, -86.0, 32761),
    ],
)
def test_geographic_reference_is_compared_in_utm_or_ups(lon: float, lat: float, epsg: int) -> None:
    raster = described((400, 400), Affine(1e-4, 0, lon, 0, -1e-4, lat), CRS.from_epsg(4326))
    pair = pair_rasters(raster, raster)
    assert pair.crs == CRS.from_epsg(epsg)


@pytest.mark.parametrize("target_gsd", [5.0, 10.0, 10.3, 17.0, 30.0])
def test_working_grid_has_the_coarser_pixels(target_gsd: float) -> None:
    target = described((300, 300), grid_at((1, 1), target_gsd, (CORNER_XY[0] + 203, CORNER_XY[1] - 207)).affine)
    pair = pair_rasters(described(), target)
    assert pair.gsd == pytest.approx(max(10.0, target_gsd), rel=0.06)
    corners = apply_transform(
        ~pair.grid.affine, apply_transform(grid_at((1, 1)).affine, np.array([[0.0, 0], [500, 400]]))
    )
    assert (corners > -1e-6).all()
    assert (corners <= np.array(pair.grid.shape[::-1]) + 1e-6).all()


def test_extent_beyond_the_projection_is_refused() -> None:
    nowhere = described((400, 400), Affine(1.0, 0, 500, 0, -1.0, 95), CRS.from_epsg(4326))
    with pytest.raises(InputError):
        pair_rasters(described(), nowhere)


def test_a_hole_in_one_band_is_no_hole_in_the_others(tmp_path: Path) -> None:
    path = tmp_path / "bands.tif"
    pixels = np.full((3, 60, 80), 500, np.uint16)
    pixels[1, 20:40, 30:50] = 0
    profile = {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint16",
        "crs": "EPSG:32633",
        "nodata": 0,
        "height": 60,
        "width": 80,
    }
    with rasterio.open(path, "w", transform=grid_at((1, 1)).affine, **profile) as dataset:
        dataset.write(pixels)
    raster = open_raster(path)
    with Reader(raster) as reader:
        patch = sample(reader, Placement(raster, UTM33, identity()), grid_at((60, 80)), (1, 2, 3), kernel="cubic")
    assert patch.valid[[0, 2]].all()
    np.testing.assert_array_equal(patch.valid[1], pixels[1] > 0)
    np.testing.assert_array_equal(patch.data[patch.valid], 500)
