"""A target without georeferencing is given a placement, and a correction of any rotation and scale then holds exactly."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC
from rasterio.windows import Window

import georeg
from georeg.cli import main
from georeg.errors import InputError, OutputError
from georeg.initial import PIXEL_TRANSFORM, PIXELS
from georeg.interchange import points_from_dict, points_to_dict
from georeg.models import PolynomialDisplacement, from_transform, identity
from georeg.options import FitOptions, WriteOptions
from georeg.overlap import pair_rasters, unit_name
from georeg.placement import Placement, apply_transform, compose, corrected_transform, lattice, transform_xy
from georeg.raster import Raster, open_pair, open_raster, open_reference
from georeg.reader import Reader
from georeg.report.checkerboard import draw_checkerboard
from georeg.tie_points import Inputs, TiePoints
from georeg.warp import sample

UTM = "EPSG:32633"
REFERENCE = Affine(10, 0, 301000, 0, -10, 5772000)
SHAPE = (240, 320)


def relief(xy_px: NDArray[Any]) -> NDArray[np.float64]:
    """A smooth picture, 20 to 220, of (…, 2) columns and rows of the reference; it looks the same from no two sides."""
    col, row = np.moveaxis(np.asarray(xy_px, float), -1, 0)
    return 120 + 60 * np.sin(col / 17 + row / 41) + 40 * np.cos(row / 13 - col / 29)


def centres(shape: tuple[int, int]) -> NDArray[np.float64]:
    """(height, width, 2) columns and rows of the centres of pixels."""
    return np.stack(np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5), axis=-1)


def save(path: Path, data: NDArray[Any], *, colormap: Any = None, **profile: Any) -> Path:
    """Write a raster in the format of its suffix, without georeferencing unless the profile has some."""
    data = data if data.ndim == 3 else data[None]
    driver = {".tif": "GTiff", ".png": "PNG", ".jpg": "JPEG"}[path.suffix]
    shape = {"count": len(data), "height": data.shape[1], "width": data.shape[2], "dtype": data.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **{"driver": driver, **shape, **profile}) as dataset:
            dataset.write(data)
            if colormap:
                dataset.write_colormap(1, colormap)
    return path


def read(path: Path | str) -> tuple[NDArray[Any], NDArray[np.bool_], Any]:
    """Pixels, valid mask (height, width), and (crs, transform, number of GCPs)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            mask = dataset.dataset_mask() > 0
            return dataset.read(), mask, (dataset.crs, dataset.transform, len(dataset.gcps[0]))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return save(tmp_path / "reference.tif", relief(centres(SHAPE)).astype("float32"), crs=UTM, transform=REFERENCE)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A plain picture of the same."""
    return save(tmp_path / "photo.png", np.rint(relief(centres(SHAPE))).astype("uint8"))


def scan_of(path: Path, to_reference_px: Affine, shape: tuple[int, int], **profile: Any) -> Path:
    """A picture whose pixels lie in those of the reference as ``to_reference_px`` says."""
    seen = apply_transform(to_reference_px, centres(shape).reshape(-1, 2)).reshape(*shape, 2)
    dtype = profile.pop("dtype", "uint8")
    values = relief(seen)
    return save(path, (np.rint(values) if dtype == "uint8" else values).astype(dtype), **profile)


def gcps_of(transform: Affine, px: Any = ((0, 0), (160, 3), (155, 120), (2, 118))) -> list[GroundControlPoint]:
    return [
        GroundControlPoint(row=row, col=col, **dict(zip("xy", transform @ (col, row), strict=True))) for col, row in px
    ]


def correcting(raster: Raster, crs: CRS, right: Affine) -> PolynomialDisplacement:
    """The model that gives a placed raster the geotransform ``right``, fitted about its corners."""
    assert raster.crs == crs
    model = compose(right, ~raster.transform)
    height, width = raster.shape
    centre = np.array(raster.transform @ (width / 2, height / 2))
    scale = float(np.hypot(*(np.array(raster.transform @ (width, height)) - centre)))
    return from_transform(model, centre, scale)


def aligned(reference: Path, target: Path, right: Affine, initial: Any = "auto") -> georeg.Alignment:
    """The alignment that a search would find: a lattice of exact tie points, and the model through them."""
    ref, tgt = open_pair(reference, target, initial=initial)
    crs = pair_rasters(ref, tgt).crs
    model = correcting(tgt, crs, right)
    height, width = tgt.shape
    cols, rows = np.meshgrid(np.linspace(5, width - 5, 12), np.linspace(5, height - 5, 12))
    tgt_xy = apply_transform(tgt.transform, np.stack([cols.ravel(), rows.ravel()], axis=1))
    gsd = abs(ref.transform.determinant) ** 0.5
    noise = np.random.default_rng(0).normal(0, 0.05 * gsd, tgt_xy.shape)
    n = len(tgt_xy)
    points = TiePoints(
        ref_xy=model(tgt_xy) + noise,
        tgt_xy=tgt_xy,
        cov=np.tile(np.eye(2) * (0.05 * gsd) ** 2, (n, 1, 1)),
        score=np.ones(n),
        status=np.zeros(n, np.uint8),
        inputs=Inputs(str(reference), str(target), initial=tgt.placed),
        crs=crs.to_wkt(),
        gsd=gsd,
        window_px=32,
        search_px=8.0,
        chance=0.01,
    )
    return georeg.assess(replace(georeg.fit(points, FitOptions(model="affine")), model=model))


TURNED = REFERENCE @ Affine.translation(310, 5) @ Affine.rotation(90) @ Affine.scale(1.25)
"""A target turned by a quarter and a little coarser than the reference."""
TURNED_SHAPE = (230, 180)


# --- placements -----------------------------------------------------------------------------------------------------


def middle(raster: Raster) -> NDArray[np.float64]:
    return np.array(raster.transform @ (raster.shape[1] / 2, raster.shape[0] / 2))


@pytest.mark.parametrize("initial", ["auto", "none"])
def test_nothing_known_puts_centre_on_centre_and_longer_side_on_longer_side(reference, tmp_path, initial):
    ref, tgt = open_pair(reference, save(tmp_path / "scan.png", np.ones((500, 200), "uint8")), initial=initial)
    assert (tgt.placed, tgt.crs) == ("none", CRS.from_user_input(UTM))
    np.testing.assert_allclose(middle(tgt), middle(ref), rtol=1e-14)
    assert tgt.transform[:2] == pytest.approx((320 * 10 / 500, 0), abs=1e-12)
    assert tgt.transform[3:5] == pytest.approx((0, -320 * 10 / 500), abs=1e-12)


@pytest.mark.parametrize("angle_deg", [0, 30, 180, -135])
def test_center_takes_the_pixels_of_the_reference(tmp_path, angle_deg):
    turned = REFERENCE @ Affine.rotation(angle_deg) @ Affine.scale(1, 1.5)
    ref, tgt = open_pair(
        save(tmp_path / "reference.tif", np.ones(SHAPE, "uint8"), crs=UTM, transform=turned),
        save(tmp_path / "scan.png", np.ones((50, 20), "uint8")),
        initial="center",
    )
    assert tgt.placed == "center"
    np.testing.assert_allclose(middle(tgt), middle(ref), rtol=1e-14)
    np.testing.assert_allclose(tgt.transform[:2] + tgt.transform[3:5], turned[:2] + turned[3:5], rtol=1e-12)


@pytest.mark.parametrize("initial", ["center", "none"])
def test_a_scan_is_not_mirrored_where_the_reference_is_stored_south_up(tmp_path, initial):
    south_up = Affine(10, 0, 301000, 0, 10, 5772000)
    path = save(tmp_path / "reference.tif", np.ones(SHAPE, "uint8"), crs=UTM, transform=south_up)
    _, tgt = open_pair(path, save(tmp_path / "scan.png", np.ones(SHAPE, "uint8")), initial=initial)
    assert tgt.transform[:2] + tgt.transform[3:5] == pytest.approx((10, 0, 0, -10))


@pytest.mark.parametrize("initial", ["center", "none"])
def test_a_reference_in_degrees_places_by_square_metres(tmp_path, initial):
    degrees = Affine(1e-4, 0, 12.1, 0, -1e-4, 60.0)
    path = save(tmp_path / "reference.tif", np.ones(SHAPE, "uint8"), crs="EPSG:4326", transform=degrees)
    ref, tgt = open_pair(path, save(tmp_path / "scan.png", np.ones(SHAPE, "uint8")), initial=initial)
    assert tgt.crs == CRS.from_epsg(32633) == pair_rasters(ref, tgt).crs
    back = transform_xy(middle(tgt)[None], tgt.crs, ref.crs)[0]
    np.testing.assert_allclose(back, middle(ref), atol=1e-9)
    side_x, side_y = np.hypot(*np.reshape(tgt.transform[:6], (2, 3))[:, :2])
    ratio = 1.0 if initial == "none" else 0.5  # a degree of longitude at 60 degrees north is half as long
    assert side_x / side_y == pytest.approx(ratio, rel=0.01)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_gcps_on_an_affine_give_it_back(reference, tmp_path, suffix):
    exact = REFERENCE @ Affine.rotation(33) @ Affine.scale(0.7, 1.3)
    path = save(tmp_path / f"scan{suffix}", np.ones((120, 160), "uint8"), gcps=gcps_of(exact), crs=UTM)
    _, tgt = open_pair(reference, path)
    assert (tgt.placed, tgt.crs) == ("gcps", CRS.from_user_input(UTM))
    corners = np.array([[0.0, 0], [160, 0], [160, 120], [0, 120]])
    np.testing.assert_allclose(apply_transform(tgt.transform, corners), apply_transform(exact, corners), atol=1e-6)


def test_gcps_in_degrees_are_used_in_the_references_crs(reference, tmp_path):
    utm = gcps_of(REFERENCE)
    lonlat = transform_xy(np.array([(g.x, g.y) for g in utm]), CRS.from_user_input(UTM), CRS.from_epsg(4326))
    gcps = [GroundControlPoint(g.row, g.col, x, y) for g, (x, y) in zip(utm, lonlat, strict=True)]
    path = save(tmp_path / "scan.tif", np.ones((120, 160), "uint8"), gcps=gcps, crs="EPSG:4326")
    _, tgt = open_pair(reference, path)
    assert tgt.crs == CRS.from_user_input(UTM)
    np.testing.assert_allclose(tgt.transform[:6], REFERENCE[:6], rtol=1e-6, atol=1e-6)
    assert open_raster(path, initial="gcps").crs == CRS.from_epsg(4326)


@pytest.mark.parametrize(
    ("gcps", "message"),
    [
        (gcps_of(REFERENCE)[:2], "has 2 GCPs, 3 needed"),
        (gcps_of(REFERENCE, ((0, 0), (50, 50), (100, 100.01))), "the 3 GCPs of .* lie on one line"),
        (None, "has 0 GCPs, 3 needed"),
    ],
    ids=["two", "collinear", "none"],
)
def test_gcps_that_give_no_plane_are_refused(reference, tmp_path, gcps, message):
    path = save(tmp_path / "scan.tif", np.ones((120, 160), "uint8"), **({"gcps": gcps, "crs": UTM} if gcps else {}))
    with pytest.raises(InputError, match=message):
        open_pair(reference, path, initial="gcps")


def test_a_world_file_is_used_in_the_references_crs(reference, photo):
    photo.with_suffix(".wld").write_text("12\n0\n0\n-12\n301006\n5771994\n")
    _, tgt = open_pair(reference, photo, initial="geotransform")
    assert (tgt.placed, tgt.crs) == ("geotransform", CRS.from_user_input(UTM))
    assert tuple(tgt.transform)[:6] == (12, 0, 301000, 0, -12, 5772000)
    assert open_pair(reference, photo)[1].placed == "none"  # nothing says that it is in this CRS
    with pytest.raises(InputError, match="has no CRS"):
        open_raster(photo)


def test_no_geotransform_is_no_placement(reference, photo):
    with pytest.raises(InputError, match="no usable geotransform"):
        open_pair(reference, photo, initial="geotransform")


def test_georeferencing_is_used_or_ignored_as_asked(reference, tmp_path):
    path = save(tmp_path / "scan.tif", np.ones((120, 160), "uint8"), crs="EPSG:32632", transform=REFERENCE)
    for initial in ("auto", "geotransform"):
        tgt = open_pair(reference, path, initial=initial)[1]
        assert (tgt.placed, tgt.crs, tgt.transform) == ("geotransform", CRS.from_epsg(32632), REFERENCE)
    for initial in ("center", "none"):
        tgt = open_pair(reference, path, initial=initial)[1]
        assert (tgt.placed, tgt.crs) == (initial, CRS.from_epsg(32633))


def test_rpcs_are_refused_in_one_sentence(reference, tmp_path):
    of = {f"{axis}_{part}": 1.0 for axis in ("height", "lat", "line", "long", "samp") for part in ("off", "scale")}
    terms = {f"{axis}_{part}_coeff": [1.0] * 20 for axis in ("line", "samp") for part in ("num", "den")}
    rpc = RPC(**of, **terms)
    path = save(tmp_path / "scan.tif", np.ones((120, 160), "uint8"), rpcs=rpc)
    for initial in ("auto", "gcps", "geotransform"):
        with pytest.raises(InputError, match=r"by RPCs alone, which georeg does not use; orthorectify"):
            open_pair(reference, path, initial=initial)
    georeg.apply(aligned(reference, path, REFERENCE, initial="none"), tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.crs == UTM


# --- plain pictures -------------------------------------------------------------------------------------------------


def test_two_plain_pictures_lie_in_pixels_of_the_reference(photo, tmp_path):
    ref, tgt = open_pair(photo, save(tmp_path / "other.jpg", np.ones((480, 640), "uint8")))
    assert (ref.crs, ref.transform, ref.placed) == (PIXELS, PIXEL_TRANSFORM, "none")
    assert (tgt.crs, tgt.placed) == (PIXELS, "none")
    assert tuple(tgt.transform)[:6] == (0.5, 0, 0, 0, -0.5, 0)
    pair = pair_rasters(ref, tgt)
    assert (pair.crs, unit_name(pair.crs), pair.gsd) == (PIXELS, "px", 1.0)


def test_pixels_survive_their_wkt_and_never_reach_proj(monkeypatch):
    assert CRS.from_wkt(PIXELS.to_wkt()) == PIXELS
    grid = GeoBox((3, 4), PIXEL_TRANSFORM, PIXELS.to_wkt())
    assert CRS.from_wkt(str(grid.crs)) == PIXELS
    xy = np.array([[1.5, -2.5]])
    with pytest.raises(InputError, match="cannot be expressed in another CRS"):
        transform_xy(xy, PIXELS, CRS.from_epsg(4326))
    monkeypatch.setattr("georeg.placement.transformer", None)
    assert transform_xy(xy, PIXELS, CRS.from_wkt(PIXELS.to_wkt())) is xy


@pytest.mark.parametrize("initial", ["auto", "geotransform"])
def test_a_georeferenced_target_on_a_plain_reference_is_refused(photo, reference, initial):
    with pytest.raises(InputError, match=r"photo\.png is not georeferenced but .* is; swap them"):
        open_pair(photo, reference, initial=initial)
    assert open_pair(photo, reference, initial="none")[1].crs == PIXELS


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"crs": UTM}, "no usable geotransform"),
        ({"transform": REFERENCE}, "has no CRS"),
        ({"gcps": gcps_of(REFERENCE), "crs": UTM}, "4 GCPs but no usable geotransform|has no CRS"),
    ],
    ids=["CRS alone", "transform alone", "GCPs"],
)
def test_a_reference_is_georeferenced_in_full_or_not_at_all(tmp_path, profile, message):
    path = save(tmp_path / "reference.tif", np.ones((12, 16), "uint8"), **profile)
    with pytest.raises(InputError, match=message):
        open_reference(path)


# --- large corrections ----------------------------------------------------------------------------------------------

LARGE = {
    "angle_deg": st.floats(-180, 180),
    "scale": st.floats(0.25, 4),
    "offset_px": st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
}


def large(angle_deg: float, scale: float, offset_px: tuple[float, float]) -> tuple[Placement, Affine]:
    """A raster of 160 by 120 pixels in UTM, and the geotransform that a large affine correction gives it."""
    raster = Raster(
        "", "GTiff", CRS.from_user_input(UTM), REFERENCE, (120, 160), ("uint8",), None, False, (), False, ()
    )
    right = REFERENCE @ Affine.translation(*offset_px) @ Affine.rotation(angle_deg) @ Affine.scale(scale)
    return Placement(raster, raster.crs, correcting(raster, raster.crs, right)), right


@given(**LARGE)
def test_a_large_affine_correction_is_exact_from_pixel_to_map_and_back(angle_deg, scale, offset_px):
    place, right = large(angle_deg, scale, offset_px)
    px = np.stack(np.meshgrid(np.linspace(-500, 700, 7), np.linspace(-500, 700, 7)), axis=-1).reshape(-1, 2)
    xy = apply_transform(right, px)
    np.testing.assert_allclose(place.to_xy(px), xy, atol=2e-7)
    np.testing.assert_allclose(place.to_px(xy), px, atol=2e-7)
    found = corrected_transform(place)
    np.testing.assert_allclose(apply_transform(found, px), xy, atol=2e-7)
    np.testing.assert_allclose(place.model(place.model.inverse(xy)), xy, atol=1e-9 * place.model.scale)


@given(**LARGE)
def test_a_large_affine_correction_needs_no_fine_lattice(angle_deg, scale, offset_px):
    place, right = large(angle_deg, scale, offset_px)
    grid = GeoBox((400, 400), compose(REFERENCE, Affine.translation(-50, -50)), UTM)
    nodes = lattice(place, grid)
    assert nodes.step == 64
    assert nodes.coarsening == pytest.approx(1 / scale, rel=1e-6)
    (top, bottom), (left, right_) = nodes.cells
    corner, far = (nodes.step * np.array(at) for at in ((left, top), (right_, bottom)))
    window = Window(*corner, *(far - corner))
    at = corner + 0.5 + np.stack(np.meshgrid(*(np.arange(n) for n in far - corner)), axis=-1).reshape(-1, 2)
    exact = apply_transform(~right, apply_transform(grid.affine, at))
    np.testing.assert_allclose(nodes.positions(window).px.reshape(2, -1).T, exact, atol=1e-6)


@pytest.mark.parametrize("angle_deg", [0, 37, 90, -145, 180])
@pytest.mark.parametrize("scale", [0.25, 0.8, 1, 2.5])
def test_a_turned_raster_resampled_is_the_picture_that_it_shows(reference, tmp_path, angle_deg, scale):
    shape = (round(200 / scale), round(180 / scale))
    to_ref_px = Affine.translation(170, 110) @ Affine.rotation(angle_deg) @ Affine.scale(scale)
    to_ref_px = to_ref_px @ Affine.translation(-shape[1] / 2, -shape[0] / 2)
    ref, tgt = open_pair(reference, scan_of(tmp_path / "scan.tif", to_ref_px, shape, dtype="float32"))
    place = Placement(tgt, ref.crs, correcting(tgt, ref.crs, REFERENCE @ to_ref_px))
    with Reader(tgt) as reader:
        patch = sample(reader, place, GeoBox(SHAPE, REFERENCE, UTM), (1,), kernel="cubic")
    exact = relief(centres(SHAPE))
    inside = cv2.erode(patch.valid[0].astype(np.uint8), np.ones((25, 25))) > 0
    assert patch.valid.sum() == pytest.approx(200 * 180, rel=0.05)
    assert inside.sum() > 10000
    assert np.abs(patch.data[0] - exact)[inside].max() < 0.5  # where pixels are averaged, a little contrast is lost


# --- applying -------------------------------------------------------------------------------------------------------


def rgba(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Three bands and one of opacity, with a hole."""
    image = np.stack([relief(centres(shape)) + k for k in (0, 5, 10)] + [np.full(shape, 255)]).astype("uint8")
    image[3, 20:40, 30:60] = 0
    return image


SCANS = {
    "grey png": lambda d: save(d / "scan.png", rgba(TURNED_SHAPE)[:1]),
    "rgba png": lambda d: save(d / "scan.png", rgba(TURNED_SHAPE)),
    "uint16 png": lambda d: save(d / "scan.png", rgba(TURNED_SHAPE)[:1].astype("uint16") * 200),
    "palette png": lambda d: save(
        d / "scan.png", rgba(TURNED_SHAPE)[0] // 32, colormap={k: (k, 9, 99) for k in range(8)}
    ),
    "jpeg": lambda d: save(d / "scan.jpg", rgba(TURNED_SHAPE)[:3]),
    "tiff": lambda d: save(d / "scan.tif", rgba(TURNED_SHAPE)[:3]),
    "tiff with GCPs": lambda d: save(d / "scan.tif", rgba(TURNED_SHAPE)[:3], gcps=gcps_of(TURNED), crs=UTM),
    "png with GCPs": lambda d: save(d / "scan.png", rgba(TURNED_SHAPE)[:3], gcps=gcps_of(TURNED), crs=UTM),
    "nodata": lambda d: save(d / "scan.tif", rgba(TURNED_SHAPE)[3:], nodata=0),
}


@pytest.mark.parametrize("make", SCANS.values(), ids=SCANS)
def test_a_scan_gets_crs_and_geotransform_and_keeps_its_pixels(reference, tmp_path, make):
    scan, out = make(tmp_path), tmp_path / "out.tif"
    assert georeg.apply(aligned(reference, scan, TURNED), out) == "geotransform"
    before, mask_before, _ = read(scan)
    after, mask_after, (crs, transform, n_gcps) = read(out)
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(mask_after, mask_before)
    assert (crs, n_gcps) == (UTM, 0)
    corners = np.array([[0.0, 0], [180, 0], [180, 230], [0, 230]])
    np.testing.assert_allclose(apply_transform(transform, corners), apply_transform(TURNED, corners), atol=1e-6)
    assert open_raster(out).placed == "geotransform"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(scan) as a, rasterio.open(out) as b:
            assert a.colorinterp == b.colorinterp or scan.suffix == ".tif"
            assert ColorInterp.palette not in a.colorinterp or a.colormap(1).items() <= b.colormap(1).items()


def test_a_world_files_target_gets_the_references_crs(reference, photo, tmp_path):
    photo.with_suffix(".wld").write_text("12\n0\n0\n-12\n301006\n5771994\n")
    alignment = aligned(reference, photo, REFERENCE, initial="geotransform")
    georeg.apply(alignment, tmp_path / "out.tif")
    crs, transform, _ = read(tmp_path / "out.tif")[2]
    assert crs == UTM
    assert transform.almost_equals(REFERENCE, 1e-6)


def test_ignored_georeferencing_does_not_come_back(reference, tmp_path):
    scan = save(tmp_path / "scan.tif", rgba(TURNED_SHAPE), crs="EPSG:3857", transform=Affine(1, 0, 5, 0, -1, 5))
    georeg.apply(aligned(reference, scan, TURNED, initial="center"), tmp_path / "out.tif")
    crs, transform, _ = read(tmp_path / "out.tif")[2]
    assert crs == UTM
    assert transform.almost_equals(TURNED, 1e-6)


def test_a_result_from_json_applies_the_same_and_to_a_band_of_other_size(reference, tmp_path):
    scan = save(tmp_path / "scan.png", rgba(TURNED_SHAPE))
    alignment = aligned(reference, scan, TURNED)
    again = georeg.Alignment.from_json(alignment.to_json())
    assert again == alignment
    assert again.points.inputs.initial == "none"
    half = save(tmp_path / "half.png", rgba((115, 90)))
    georeg.apply(again, tmp_path / "out.tif", target=half)
    transform = read(tmp_path / "out.tif")[2][1]
    assert transform.almost_equals(TURNED @ Affine.scale(2), 1e-6)


def test_tie_points_of_older_files_and_of_none_other_are_read(reference, photo):
    values = points_to_dict(aligned(reference, photo, REFERENCE).points)
    del values["inputs"]["initial"]
    assert points_from_dict(values).inputs.initial == "auto"
    values["inputs"]["initial"] = "somewhere"
    with pytest.raises(InputError, match="somewhere"):
        points_from_dict(values)


def test_a_scan_resampled_lies_on_the_references_grid(reference, tmp_path):
    to_ref_px = ~REFERENCE @ TURNED
    scan = scan_of(tmp_path / "scan.png", to_ref_px, TURNED_SHAPE)
    out = tmp_path / "out.tif"
    assert georeg.apply(aligned(reference, scan, TURNED), out, WriteOptions(resample=True)) == "resampled"
    data, valid, (crs, transform, _) = read(out)
    assert (crs, transform) == (UTM, REFERENCE)
    assert np.abs(data[0] - relief(centres(SHAPE)))[valid].max() < 3


def test_a_picture_of_a_place_on_earth_is_refused_before_the_work(reference, photo, tmp_path):
    with pytest.raises(InputError, match=r"without georeferencing; give a name ending in \.tif"):
        georeg.apply(aligned(reference, photo, REFERENCE), tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


PLAIN_TURNED = PIXEL_TRANSFORM @ ~REFERENCE @ TURNED


@pytest.mark.parametrize(("name", "bands", "dtype"), [
    ("out.tif", 1, "uint8"), ("out.png", 1, "uint8"), ("out.png", 3, "uint8"), ("out.PNG", 4, "uint8"),
    ("out.png", 1, "uint16"), ("out.jpg", 3, "uint8"), ("out.jpeg", 1, "uint8"),
])  # fmt: skip
def test_a_plain_pair_is_resampled_into_a_picture_without_crs(photo, tmp_path, name, bands, dtype):
    seen = apply_transform(~REFERENCE @ TURNED, centres(TURNED_SHAPE).reshape(-1, 2)).reshape(*TURNED_SHAPE, 2)
    image = np.stack([relief(seen)] * min(bands, 3) + [np.full(TURNED_SHAPE, 255)] * (bands == 4))
    scan = save(tmp_path / "scan.png", np.rint(image * (200 if dtype == "uint16" else 1)).astype(dtype))
    out = tmp_path / name
    alignment = aligned(photo, scan, PLAIN_TURNED)
    again = georeg.Alignment.from_json(alignment.to_json())
    assert again == alignment
    assert again.crs == PIXELS
    assert georeg.apply(again, out) == "resampled"
    data, _, (crs, transform, _) = read(out)
    assert crs is None
    assert transform.is_identity
    assert data.dtype == dtype
    back = apply_transform(~TURNED @ REFERENCE, centres(SHAPE).reshape(-1, 2)).reshape(*SHAPE, 2)
    covered = ((back > 2) & (back < np.array(TURNED_SHAPE[::-1]) - 2)).all(axis=-1)
    outside = ((back < -2) | (back > np.array(TURNED_SHAPE[::-1]) + 2)).any(axis=-1)
    error = np.abs(data[0] / (200 if dtype == "uint16" else 1) - relief(centres(SHAPE)))
    assert error[covered].max() < (12 if "jp" in name else 3)
    if name.lower().endswith("png"):
        assert len(data) == min(bands, 3) + 1
        assert (data[-1][covered] == np.iinfo(dtype).max).all()
        assert (data[-1][outside] == 0).all()
    elif "jp" in name:
        assert len(data) == bands
        assert data[0][cv2.erode(outside.astype(np.uint8), np.ones((17, 17))) > 0].max(initial=0) < 8


def test_a_palette_becomes_the_colours_it_stands_for(photo, tmp_path):
    colours = {k: (30 * k, 255 - 30 * k, 7) for k in range(8)}
    classes = (relief(centres(SHAPE)) // 32).astype("uint8")
    scan = save(tmp_path / "scan.png", classes, colormap=colours)
    georeg.apply(aligned(photo, scan, PIXEL_TRANSFORM), tmp_path / "out.png")
    np.testing.assert_array_equal(read(tmp_path / "out.png")[0][0], 30 * classes)


@pytest.mark.parametrize(("name", "data"), [
    ("out.jpg", np.ones(SHAPE, "uint16")), ("out.png", np.ones(SHAPE, "float32")), ("out.png", np.ones((5, *SHAPE), "uint8")),
])  # fmt: skip
def test_pixels_that_a_picture_cannot_hold_are_refused(photo, tmp_path, name, data):
    scan = save(tmp_path / "scan.tif", data)
    with pytest.raises(OutputError, match=r"give a name ending in \.tif"):
        georeg.apply(aligned(photo, scan, PIXEL_TRANSFORM), tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.png", "scan.tif"]


# --- pictures and command line --------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["on Earth", "plain"])
def test_the_checkerboard_shows_a_turned_target_in_place(reference, photo, tmp_path, plain):
    scan = scan_of(tmp_path / "scan.png", ~REFERENCE @ TURNED, TURNED_SHAPE)
    alignment = aligned(photo, scan, PLAIN_TURNED) if plain else aligned(reference, scan, TURNED)
    draw_checkerboard(alignment, str(tmp_path / "board.png"))
    board = cv2.imread(str(tmp_path / "board.png"))[64 : 64 + 576].astype(float)[..., 2]  # red: no tint
    before, after = board[:, 12 : 12 + 576], board[:, 612 : 612 + 576]
    jumps = [np.abs(np.diff(panel[:, 95::96][:, :5], axis=1)).mean() for panel in (before, after)]
    edges = [np.abs(panel[:, k * 96] - panel[:, k * 96 - 1]) for panel in (before, after) for k in range(1, 6)]
    at_edges = np.mean(edges[:5]), np.mean(edges[5:])
    assert at_edges[1] < 0.3 * at_edges[0], jumps


def test_the_command_line_takes_the_placement_and_says_what_is_wrong(reference, photo, tmp_path, capsys):
    out = str(tmp_path / "out.tif")
    for initial, message in (("gcps", "has 0 GCPs, 3 needed"), ("geotransform", "no usable geotransform")):
        assert main(["align", str(reference), str(photo), "-o", out, "--initial", initial]) == 1
        assert message in capsys.readouterr().err
    assert main(["align", str(photo), str(reference), "-o", out]) == 1
    assert "swap them" in capsys.readouterr().err
    with pytest.raises(SystemExit) as usage:
        main(["align", str(reference), str(photo), "-o", out, "--initial", "guess"])
    assert usage.value.code == 2
    result = tmp_path / "result.json"
    result.write_text(aligned(reference, photo, REFERENCE).to_json())
    assert json.loads(result.read_text())["tie_points"]["inputs"]["initial"] == "none"
    assert main(["apply", str(result), "-o", out, "--quiet"]) == 0
    assert read(out)[2][0] == UTM
    assert main(["apply", str(result), "-o", str(tmp_path / "out.jpg"), "--quiet"]) == 1
    assert "give a name ending in .tif" in capsys.readouterr().err


def test_no_correction_leaves_a_placement_as_it_is(reference, photo):
    ref, tgt = open_pair(reference, photo)
    assert corrected_transform(Placement(tgt, ref.crs, identity())) == tgt.transform == REFERENCE
    assert replace(tgt, placed="geotransform") != tgt
