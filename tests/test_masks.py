"""Ground that is not to be matched: masks of both rasters, and an area for the tie points."""

from __future__ import annotations

import json
import multiprocessing
import re
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.windows import Window
from scenes import image, scene

import georeg
from georeg.cli import main
from georeg.errors import GeoregError, InputError
from georeg.interchange import points_from_dict, points_to_dict
from georeg.masks import with_mask
from georeg.options import FitOptions, InputOptions, MatchOptions, WriteOptions
from georeg.raster import open_raster
from georeg.reader import Reader

SIDE, GSD = 512, 10.0
UTM = CRS.from_epsg(32633)
NORTH_UP = Affine(GSD, 0, 400_000, 0, -GSD, 5_800_000)
SHIFT_PX = (3.4, -2.2)
"""(column, row) by which the target lies beside the reference."""
MOVED_PX = (12.4, 4.8)
"""And by which ground that has moved does."""
TRUTH = np.array([-SHIFT_PX[0], SHIFT_PX[1]]) * GSD
"""Reference − target, metres east and north."""
EDGE_PX = 190
"""Ground has moved from this column on: most of it."""
SHIFTED = FitOptions(model="translation")


def write(path: Path, data: np.ndarray, *, crs: CRS | None = UTM, transform: Affine = NORTH_UP, **profile: Any) -> str:
    data = data if data.ndim == 3 else data[None]
    if profile.get("driver") != "PNG":
        profile = {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128} | profile
    size = {"count": len(data), "height": data.shape[1], "width": data.shape[2], "dtype": data.dtype}
    placed = {} if crs is None else {"crs": crs.to_wkt(), "transform": transform}
    with rasterio.open(path, "w", **size, **placed, **profile) as dataset:
        dataset.write(data)
    return str(path)


def draw(path: Path, *polygons: Any, crs: int | None = 32633, kind: str = "Polygon") -> str:
    """A vector file of geometries."""
    with warnings.catch_warnings(action="ignore"):  # of a layer without a CRS
        _draw(path, polygons, crs, kind)
    return str(path)


def _draw(path: Path, polygons: Any, crs: int | None, kind: str) -> None:
    pyogrio.raw.write(
        str(path),
        geometry=np.array([shapely.to_wkb(p) for p in polygons], object),
        field_data=[],
        fields=np.array([], object),
        crs=None if crs is None else f"EPSG:{crs}",
        geometry_type=kind,
        driver="GPKG" if path.suffix == ".gpkg" else "GeoJSON",
    )


def on_map(left: float, top: float, right: float, bottom: float) -> Any:
    """The polygon of a box of pixels (columns and rows)."""
    x, y = NORTH_UP.c, NORTH_UP.f
    return shapely.box(x + left * GSD, y - bottom * GSD, x + right * GSD, y - top * GSD)


def into(polygon: Any, crs: int) -> Any:
    """With edges as curved as they are in another CRS."""
    to = Transformer.from_crs(UTM, crs, always_xy=True)
    return shapely.transform(shapely.segmentize(polygon, 100), lambda xy: np.stack(to.transform(*xy.T), axis=1))


MOVED = on_map(EDGE_PX, -50, SIDE + 50, SIDE + 50)
STILL = on_map(-50, -50, EDGE_PX, SIDE + 50)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A pair of which most of the ground has moved."""
    folder = tmp_path_factory.mktemp("moved")
    spectrum = scene(seed=3, side=SIDE)
    ref = image(spectrum)
    tgt = np.where(np.arange(SIDE) < EDGE_PX, image(spectrum, SHIFT_PX, seed=2), image(spectrum, MOVED_PX, seed=2))
    grey = [np.clip(128 + 36 * data[0], 1, 255).astype(np.uint8) for data in (ref, tgt)]
    return write(folder / "reference.tif", grey[0]), write(folder / "target.tif", grey[1])


def covering(folder: Path, how: str) -> str:
    """A mask of the ground that has moved."""
    if how == "same CRS":
        return draw(folder / "moved.gpkg", MOVED)
    if how == "degrees":
        return draw(folder / "moved.geojson", into(MOVED, 4326), crs=4326)
    if how == "another zone":
        return draw(folder / "moved.gpkg", into(MOVED, 32632), crs=32632)
    covered = np.tile((np.arange(SIDE) >= EDGE_PX).astype(np.uint8), (SIDE, 1))
    if how == "same pixels":
        return write(folder / "moved.tif", covered)
    # coarser pixels, turned against those of the pair, and those that are not covered are nodata
    to = Transformer.from_crs(32632, UTM, always_xy=True)
    x, y = Transformer.from_crs(UTM, 32632, always_xy=True).transform(NORTH_UP.c - 500, NORTH_UP.f + 800)
    transform = Affine(15, 0, x, 0, -15, y)
    col, row = np.meshgrid(np.arange(600) + 0.5, np.arange(600) + 0.5)
    east = to.transform(x + 15 * col, y - 15 * row)[0]
    data = np.where(east >= NORTH_UP.c + EDGE_PX * GSD, 7, 255).astype(np.uint8)
    return write(folder / "moved.tif", data, crs=CRS.from_epsg(32632), transform=transform, nodata=255)


KINDS = ("same CRS", "degrees", "another zone", "same pixels", "other pixels")


def found(pair: tuple[str, str], **inputs: Any) -> georeg.Alignment:
    return georeg.align(*pair, inputs=InputOptions(**inputs), fitting=SHIFTED)


def error_m(alignment: georeg.Alignment) -> float:
    return float(np.hypot(*(np.array(alignment.displacement()) - TRUTH)))


def test_without_a_mask_the_moved_ground_decides(pair: tuple[str, str]) -> None:
    with suppress(GeoregError):  # refused is as good
        assert error_m(found(pair)) > 5 * GSD


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("side", ["ref_mask", "tgt_mask"])
def test_masked_ground_has_no_say(pair: tuple[str, str], tmp_path: Path, side: str, how: str) -> None:
    alignment = found(pair, **{side: covering(tmp_path, how)})
    assert error_m(alignment) < 0.05 * GSD
    # windows that reach a little over the edge may be matched: half their side at most
    kept = alignment.points.ref_xy[alignment.points.kept]
    assert kept[:, 0].max() < NORTH_UP.c + (EDGE_PX + 64) * GSD


@pytest.mark.parametrize("crs", [32633, 4326, 32632, None])
def test_tie_points_lie_in_the_area_and_no_other_ground_has_a_say(
    pair: tuple[str, str], tmp_path: Path, crs: int | None
) -> None:
    wanted = on_map(20, 30, EDGE_PX - 30, SIDE - 10)
    area = draw(tmp_path / "area.gpkg", wanted if crs in (32633, None) else into(wanted, crs), crs=crs)
    alignment = found(pair, area=area)
    assert error_m(alignment) < 0.05 * GSD
    assert len(alignment.points) > 20
    assert shapely.contains_xy(wanted.buffer(0.01), *alignment.points.ref_xy.T).all()


def test_windows_are_spent_in_the_area(pair: tuple[str, str], tmp_path: Path) -> None:
    area = draw(tmp_path / "area.gpkg", on_map(20, 20, 180, 180), on_map(20, 300, 180, 460))
    matching = MatchOptions(max_points=60, window_px=32)
    tried = []
    inside = georeg.match(
        *pair,
        inputs=InputOptions(area=area),
        matching=matching,
        progress=lambda stage, done, total: tried.append(total) if stage == "match" else None,
    )
    assert 30 < len(inside) <= max(tried) < 90


def test_a_search_without_georeferencing_goes_by_the_area(pair: tuple[str, str], tmp_path: Path) -> None:
    area = draw(tmp_path / "area.gpkg", on_map(0, 0, EDGE_PX, SIDE))
    alignment = found(pair, area=area, initial="none")
    assert error_m(alignment) < 0.05 * GSD


def test_edges_of_a_mask_that_covers_both_are_no_features(tmp_path: Path) -> None:
    spectrum, blots = scene(seed=5, side=SIDE), image(scene(seed=6, side=SIDE, slope=3.0))[0]
    sides = (image(spectrum), image(spectrum, SHIFT_PX, seed=2))
    paths = [write(tmp_path / f"{k}.tif", data) for k, data in enumerate(sides)]
    mask = write(tmp_path / "blots.tif", (blots > np.median(blots)).astype(np.uint8))
    alignment = found((paths[0], paths[1]), ref_mask=mask, tgt_mask=mask)
    assert error_m(alignment) < 0.01 * GSD
    assert alignment.points.counts()["masked"] > 50


def test_a_mask_of_nothing_changes_nothing(shift_pair: tuple[str, str], shift_alignment: Any, tmp_path: Path) -> None:
    with rasterio.open(shift_pair[0]) as dataset:
        blank = np.zeros(dataset.shape, np.uint8)
        mask = write(tmp_path / "none.tif", blank, crs=CRS.from_user_input(dataset.crs), transform=dataset.transform)
        everywhere = draw(tmp_path / "all.gpkg", shapely.box(*dataset.bounds).buffer(9999), crs=dataset.crs.to_epsg())
    with_all = georeg.align(*shift_pair, inputs=InputOptions(ref_mask=mask, tgt_mask=mask, area=everywhere))
    ours, plain = (a.to_dict() for a in (with_all, shift_alignment))
    assert ours["tie_points"].pop("inputs") == plain["tie_points"].pop("inputs") | {
        "area": everywhere,
        "ref_mask": mask,
        "tgt_mask": mask,
    }
    assert ours["tie_points"]["status"] == plain["tie_points"]["status"]
    for name in ("ref_xy", "tgt_xy"):
        np.testing.assert_allclose(ours["tie_points"][name], plain["tie_points"][name], atol=1e-9)
    np.testing.assert_allclose(ours["displacement"], plain["displacement"], atol=1e-6)


# what a reader gives

BOX = (37, 50, 151, 133)
"""Left, top, right, bottom of what is covered, pixels."""


@pytest.fixture(scope="module", params=["tiles", "strips", "overviews"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    data = np.random.default_rng(0).integers(1, 200, (2, 256, 300)).astype(np.uint8)
    layout = {"tiled": False, "blockysize": 256} if request.param == "strips" else {}
    path = write(tmp_path_factory.mktemp("plain") / "a.tif", data, **layout)
    if request.param == "overviews":
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews([2, 4])
    return path


def covered_px() -> np.ndarray:
    covered = np.zeros((256, 300), bool)
    covered[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    return covered


def masks_of_box(folder: Path) -> list[str]:
    return [
        draw(folder / "box.gpkg", on_map(*BOX)),
        write(folder / "box.tif", np.where(covered_px(), 2, 0).astype(np.int16)),
        write(folder / "nan.tif", np.where(covered_px(), 1.5, np.nan).astype(np.float32)),
    ]


def test_what_is_covered_is_not_valid_and_all_else_as_without(plain: str, tmp_path: Path) -> None:
    with Reader(open_raster(plain)) as reader:
        data, valid = reader.read((-5, 20), (270, 250), [2, 1])
    outside = ~np.pad(covered_px(), ((5, 9), (0, 0)))[:, 20:270]
    for mask in masks_of_box(tmp_path):
        with Reader(with_mask(open_raster(plain), mask)) as reader:
            masked, left = reader.read((-5, 20), (270, 250), [2, 1])
        np.testing.assert_array_equal(left, valid & outside)
        np.testing.assert_array_equal(masked, np.where(left, data, 0))


def test_means_are_of_what_is_not_covered(plain: str, tmp_path: Path) -> None:
    with rasterio.open(plain) as dataset:
        pixels = dataset.read().astype(float)
    free = ~covered_px()
    shape = (2, 85, 3, 100, 3)
    n = np.broadcast_to(free, pixels.shape)[:, :255].reshape(shape).sum(axis=(2, 4))
    mean = (pixels * free)[:, :255].reshape(shape).sum(axis=(2, 4)) / np.maximum(n, 1)
    for mask in masks_of_box(tmp_path):
        with Reader(with_mask(open_raster(plain), mask)) as reader:
            data, valid = reader.read((0, 0), (85, 100), [1, 2], reduce=3)
        np.testing.assert_array_equal(valid, n > 0)
        np.testing.assert_allclose(data, np.where(n > 0, mean, 0), rtol=1e-5)


@pytest.mark.parametrize("smaller", [[], [2, 4]])
def test_larger_pixels_of_a_coarse_search_show_nothing_that_is_covered(smaller: list[int], tmp_path: Path) -> None:
    path = write(tmp_path / "loud.tif", np.where(covered_px(), 255, 10).astype(np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews(smaller, Resampling.average)
    for mask in masks_of_box(tmp_path):
        with Reader(with_mask(open_raster(path), mask)) as reader:
            data, valid = reader.read((0, 0), (64, 75), [1], reduce=4, overviews=True)
        assert (data[valid] == 10).all()
        assert not valid[0, 13:33, 10:37].any()
        assert valid[0, :12].all()


def test_the_nearest_pixel_of_a_mask_in_another_crs_decides(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.ones((300, 300), np.uint8))
    mask = covering(tmp_path, "other pixels")
    with rasterio.open(mask) as dataset:
        values, transform = dataset.read(1), dataset.transform
    raster = with_mask(open_raster(path), mask)
    with Reader(raster) as reader:
        valid = reader.read((0, 0), (300, 300), [1])[1][0]
    col, row = np.meshgrid(np.arange(300) + 0.5, np.arange(300) + 0.5)
    x, y = Transformer.from_crs(UTM, 32632, always_xy=True).transform(NORTH_UP.c + GSD * col, NORTH_UP.f - GSD * row)
    at = (np.floor((transform.f - y) / 15).astype(int), np.floor((x - transform.c) / 15).astype(int))
    agree = valid == (values[at] == 255)
    assert agree.mean() > 0.99  # GDAL places pixels to an eighth of one
    assert 0.3 < valid.mean() < 0.9


def test_parts_of_a_mask_equal_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.ones((300, 300), np.uint8))
    turned = shapely.affinity.rotate(on_map(40, 60, 220, 190), 31)
    ring = turned.difference(shapely.affinity.scale(turned, 0.4, 0.5))
    raster = with_mask(open_raster(path), draw(tmp_path / "ring.gpkg", ring, on_map(250.5, 0.5, 260.5, 299.5)))
    with Reader(raster) as reader:
        assert reader._mask is not None
        whole = reader._mask.covers(Window(0, 0, 300, 300), (300, 300))
        parts = [
            [reader._mask.covers(Window(c, r, 70, 50), (50, 70)) for c in range(-20, 300, 70)]
            for r in range(-10, 300, 50)
        ]
    np.testing.assert_array_equal(np.block(parts)[10:310, 20:320], whole)
    centres = np.stack(np.meshgrid(np.arange(300) + 0.5, np.arange(300) + 0.5), axis=-1).reshape(-1, 2)
    xy = centres * (GSD, -GSD) + (NORTH_UP.c, NORTH_UP.f)
    edge = shapely.distance(shapely.points(xy), ring.boundary).reshape(300, 300) < 1e-3 * GSD
    truth = shapely.contains_xy(ring, *xy.T).reshape(300, 300)
    assert (whole == truth)[:, :250][~edge[:, :250]].all()


def test_polygons_in_degrees_reach_over_the_date_line(tmp_path: Path) -> None:
    crs = CRS.from_epsg(32701)
    west = Transformer.from_crs(4326, crs, always_xy=True).transform(-179.99, -16.5)
    transform = Affine(100, 0, west[0] - 5000, 0, -100, west[1] + 5000)  # the line lies within
    path = write(tmp_path / "a.tif", np.ones((100, 100), np.uint8), crs=crs, transform=transform)
    mask = draw(
        tmp_path / "m.geojson", shapely.box(179.9, -17, 180, -16), shapely.box(-180, -17, -179.98, -16), crs=4326
    )
    with Reader(with_mask(open_raster(path), mask)) as reader:
        valid = reader.read((0, 0), (100, 100), [1])[1][0]
    col, row = np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5)
    lon = Transformer.from_crs(crs, 4326, always_xy=True).transform(transform.c + 100 * col, transform.f - 100 * row)[0]
    assert (valid == ((lon > -179.98) & (lon < 179.9))).mean() > 0.99
    assert 0.1 < valid.mean() < 0.9


# what a result says and does


def test_a_result_says_what_it_was_found_by_and_is_read_again(pair: tuple[str, str], tmp_path: Path) -> None:
    mask, area = covering(tmp_path, "same CRS"), draw(tmp_path / "area.gpkg", STILL)
    alignment = found(pair, tgt_mask=mask, area=area)
    inputs = alignment.points.inputs
    assert (inputs.area, inputs.ref_mask, inputs.tgt_mask) == (area, None, mask)
    assert georeg.Alignment.from_json(alignment.to_json()) == alignment
    assert alignment.options == ("--area", area, "--tgt-mask", mask, "--model", "translation")
    values = points_to_dict(alignment.points)
    assert values["inputs"].keys() >= {"area", "tgt_mask"}
    assert "ref_mask" not in values["inputs"]
    older = json.loads(json.dumps(values))
    for name in ("area", "tgt_mask"):
        del older["inputs"][name]
    assert points_from_dict(older).inputs.area is None


def test_what_is_written_is_not_masked(pair: tuple[str, str], tmp_path: Path) -> None:
    alignment = found(pair, tgt_mask=covering(tmp_path, "same CRS"))
    alignment.write(tmp_path / "out.tif", WriteOptions(resample=True))
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert (dataset.read(1, window=Window(250, 50, 200, 400)) > 0).mean() > 0.999
        assert dataset.dataset_mask()[50:450, 250:450].all()


def test_workers_mask_as_threads_do(pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = InputOptions(tgt_mask=covering(tmp_path, "another zone"), ref_mask=covering(tmp_path, "same pixels"))
    matching = MatchOptions(window_px=32)
    here = georeg.match(*pair, inputs=inputs, matching=matching)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        there = georeg.match(*pair, inputs=inputs, matching=matching, executor=pool)
    assert there == here


def test_a_batch_masks_its_reference(pair: tuple[str, str], tmp_path: Path) -> None:
    inputs = InputOptions(ref_mask=covering(tmp_path, "same CRS"), area=draw(tmp_path / "area.gpkg", STILL))
    (done,) = georeg.align_all(pair[0], [pair[1]], inputs=inputs, fitting=SHIFTED)
    assert done.alignment == found(pair, ref_mask=inputs.ref_mask, area=inputs.area)
    with pytest.raises(InputError, match="--tgt-mask is of one target, 2 were given; run georeg align"):
        list(georeg.align_all(pair[0], pair, inputs=InputOptions(tgt_mask=inputs.ref_mask)))


def test_a_report_looks_at_what_was_matched(pair: tuple[str, str], tmp_path: Path) -> None:
    mask = covering(tmp_path, "same CRS")
    alignment = found(pair, tgt_mask=mask)
    georeg.write_report(alignment, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.search(r"--tgt-mask \S*moved\.gpkg", page)


def test_the_command_line_takes_them(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask, area = covering(tmp_path, "degrees"), draw(tmp_path / "area.gpkg", STILL)
    words = ["align", *pair, "--tgt-mask", mask, "--area", area, "--model", "translation"]
    assert main([*words, "-o", str(tmp_path / "out.tif"), "--json", "--report", str(tmp_path / "r.html")]) == 0
    alignment = georeg.Alignment.from_json(capsys.readouterr().out)
    assert error_m(alignment) < 0.05 * GSD
    before = Path(mask).read_bytes()
    assert main([*words, "-o", mask, "--overwrite"]) == 1
    assert "would replace" in capsys.readouterr().err
    assert Path(mask).read_bytes() == before


# what cannot be used

LINE = shapely.LineString([(400_100, 5_799_000), (402_000, 5_799_900)])
FAR = shapely.box(600_000, 5_700_000, 601_000, 5_701_000)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda f: draw(f / "m.gpkg", LINE, kind="LineString"), "holds no polygons; draw some, or leave it out"),
        (lambda f: draw(f / "m.gpkg", LINE, kind="Unknown"), "holds no polygons"),
        (lambda f: draw(f / "m.gpkg"), "holds no polygons"),
        (lambda f: draw(f / "m.gpkg", MOVED, crs=None), "has no CRS"),
        (lambda f: str(f / "absent.gpkg"), "does not exist; check the path"),
        (lambda f: str((f / "m.txt").write_text("no mask") and f / "m.txt"), "cannot be read as a raster or as polygons"),
        (lambda f: write(f / "m.png", np.ones((SIDE, SIDE), np.uint8), crs=None, driver="PNG"), "is not georeferenced"),
        (
            lambda f: write(f / "m.tif", np.ones((9, 9), np.uint8), transform=Affine(10, 0, 9e5, 0, -10, 1e6)),
            "lies nowhere on",
        ),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_mask_that_cannot_be_used_is_refused(pair: tuple[str, str], tmp_path: Path, made: Any, told: str) -> None:
    path = made(tmp_path)
    for side in ("ref_mask", "tgt_mask"):
        with pytest.raises(InputError, match=told):
            found(pair, **{side: path})


def test_an_area_beside_the_rasters_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the area .*far.gpkg lies nowhere on reference.tif; check its CRS"):
        found(pair, area=draw(tmp_path / "far.gpkg", FAR))
    with pytest.raises(InputError, match="holds no polygons"):
        found(pair, area=draw(tmp_path / "line.gpkg", LINE, kind="LineString"))


def test_an_area_beside_what_both_share_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    with rasterio.open(pair[1]) as dataset:
        right = dataset.read(window=Window(300, 0, 212, SIDE))
    part = write(tmp_path / "right.tif", right, transform=Affine(GSD, 0, NORTH_UP.c + 300 * GSD, 0, -GSD, NORTH_UP.f))
    with pytest.raises(GeoregError, match=r"area.gpkg"):
        found((pair[0], part), area=draw(tmp_path / "area.gpkg", on_map(0, 0, 100, 100)))


def test_all_masked_is_refused_with_what_to_do(pair: tuple[str, str], tmp_path: Path) -> None:
    mask = draw(tmp_path / "all.gpkg", on_map(-9, -9, SIDE + 9, SIDE + 9))
    with pytest.raises(InputError, match=r"shows nothing where the two rasters may overlap: .* masks"):
        found(pair, ref_mask=mask)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_picture_without_georeferencing_has_a_mask_of_its_own_pixels(pair: tuple[str, str], tmp_path: Path) -> None:
    with rasterio.open(pair[1]) as dataset:
        picture = write(tmp_path / "target.png", dataset.read(), crs=None, driver="PNG")
    covered = np.tile((np.arange(SIDE) >= EDGE_PX).astype(np.uint8), (SIDE, 1))
    box = shapely.box(EDGE_PX, -SIDE, SIDE, 0)
    for mask in (
        write(tmp_path / "m.png", covered, crs=None, driver="PNG"),
        draw(tmp_path / "m.gpkg", box, crs=None),
    ):
        alignment = georeg.align(pair[0], picture, inputs=InputOptions(tgt_mask=mask))
        at = np.array([[50.0, 100.0], [120.0, 400.0]])
        np.testing.assert_allclose(alignment.reference_px(at), at - SHIFT_PX, atol=0.15)
    with pytest.raises(InputError, match="is not georeferenced; give a mask with the pixels of"):
        found((pair[0], picture), tgt_mask=covering(tmp_path, "same pixels"))
    with pytest.raises(InputError, match="9 × 9 pixels"):
        found((pair[0], picture), tgt_mask=write(tmp_path / "s.png", np.ones((9, 9), np.uint8), crs=None, driver="PNG"))
