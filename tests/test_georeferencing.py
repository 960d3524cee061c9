"""Georeferencing is exact: a target whose geotransform is moved by a known amount is put back by that amount.

Every raster samples one band-limited scene once, where its pixel centres truly lie, in whatever CRS and orientation it
has. The target's geotransform says that they lie elsewhere, by a known amount: nothing else tells the two apart.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from scipy import fft, ndimage

import georeg

FOLDER = Path(__file__).resolve().parents[1] / "sample_tiles"
SIDE, STEP_M = 1875, 2.4  # the scene: 4.5 km
RECOVERED_PX = 0.05
REALIGNED_PX = 0.03

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Site:
    """Where the scene lies: it is flat in this CRS, metres from its centre."""

    crs: str
    lon: float
    lat: float

    @property
    def centre_xy(self) -> Floats:
        return moved_to(np.array([[self.lon, self.lat]]), "EPSG:4326", self.crs)[0]


NORTH = Site("EPSG:32633", 12.31, 52.03)
SOUTH = Site("EPSG:32733", 14.72, -22.95)
CITY = Site("EPSG:32618", -73.95, 40.72)
EQUATOR = Site("EPSG:32737", 39.2, -0.003)

CUSTOM_PROJ = "+proj=laea +lat_0=50 +lon_0=5 +x_0=1000 +y_0=-500 +ellps=bessel +units=m +no_defs"
CUSTOM_WKT = CRS.from_proj4("+proj=lcc +lat_1=45 +lat_2=55 +lat_0=50 +lon_0=11 +a=6378000 +rf=298 +units=km").to_wkt()


@dataclass(frozen=True)
class Layout:
    """Where a file says that its pixels lie: about the site's centre, but for `off_px`."""

    crs: str = "EPSG:32633"
    gsd_m: tuple[float, float] = (10.0, 10.0)
    """Along columns and along rows; a negative one mirrors."""
    turn_deg: float = 0.0
    """Turn of the geotransform, counterclockwise."""
    off_px: tuple[float, float] = (0.0, 0.0)
    extent_m: float = 3900.0
    optics_m: float = 0.0
    """Pixel size that sets the point spread function, if not the larger of its own."""

    @property
    def shape(self) -> tuple[int, int]:
        return round(self.extent_m / abs(self.gsd_m[1])), round(self.extent_m / abs(self.gsd_m[0]))

    def transform(self, site: Site) -> Affine:
        x, y = moved_to(site.centre_xy[None], site.crs, self.crs)[0]
        height, width = self.shape
        return compose(
            Affine.translation(x, y),
            Affine.scale(*self.units_per_m(site)),
            Affine.rotation(self.turn_deg),
            Affine.scale(self.gsd_m[0], -self.gsd_m[1]),
            Affine.translation(self.off_px[0] - width / 2, self.off_px[1] - height / 2),
        )

    def units_per_m(self, site: Site) -> Floats:
        """Map units per metre of ground, east and north."""
        around = site.centre_xy + np.array([[0, 0], [100, 0], [0, 100]])
        xy = moved_to(around, site.crs, self.crs)
        return np.asarray(np.hypot(*(xy[1:] - xy[0]).T) / 100)


@dataclass(frozen=True)
class Case:
    """A reference, a target, and the displacement of the target's geotransform."""

    name: str
    tgt: Layout = field(default_factory=Layout)
    ref: Layout = field(default_factory=Layout)
    move_m: tuple[float, float] = (23.4, -17.8)
    """Displacement: true − given position of the target, in metres along the axes of its own CRS."""
    site: Site = NORTH
    dtype: str = "uint16"
    nodata: float | None = None
    hidden: str = ""
    """Which pixels are nodata: `rim`, or `stripes` over a fifth of them."""
    tags: tuple[tuple[str, str], ...] = ()

    def true_transform(self) -> Affine:
        """Pixel to map as it should be in the target's file."""
        own_xy = self.move_m * self.tgt.units_per_m(self.site)
        return compose(Affine.translation(*own_xy), self.tgt.transform(self.site))


CASES = [
    Case("same grid, subpixel ++", move_m=(3.7, 4.4)),
    Case("same grid, subpixel +-", move_m=(3.7, -4.4)),
    Case("same grid, subpixel -+", move_m=(-3.7, 4.4)),
    Case("same grid, subpixel --", move_m=(-3.7, -4.4)),
    Case("same grid, x only", move_m=(26.0, 0.0)),
    Case("same grid, y only", move_m=(0.0, 26.0)),
    Case("same grid, no displacement", move_m=(0.0, 0.0)),
    Case("whole pixels", move_m=(-120.0, 70.0)),
    Case("far", move_m=(283.0, -274.0)),
    Case("pixels half a pixel off", Layout(off_px=(0.5, 0.5))),
    Case("south-up", Layout(gsd_m=(10, -10))),
    Case("mirrored", Layout(gsd_m=(-10, 10))),
    Case("south-up and mirrored", Layout(gsd_m=(-10, -10))),
    Case("turned 5", Layout(turn_deg=5)),
    Case("turned 30", Layout(turn_deg=30)),
    Case("turned 90", Layout(turn_deg=90)),
    Case("turned -150 and mirrored", Layout(turn_deg=-150, gsd_m=(-10, 10))),
    Case("reference turned 5", ref=Layout(turn_deg=5)),
    Case("reference turned 30", ref=Layout(turn_deg=30)),
    Case("reference turned 90", ref=Layout(turn_deg=90)),
    Case("reference south-up", ref=Layout(gsd_m=(10, -10))),
    Case("both turned", Layout(turn_deg=-20), Layout(turn_deg=30)),
    Case("unequal gsd of the target", Layout(gsd_m=(10, 15))),
    Case("unequal gsd of the reference", ref=Layout(gsd_m=(14, 10))),
    Case("unequal gsd of both, turned", Layout(gsd_m=(15, 10), turn_deg=20), Layout(gsd_m=(10, 12))),
    Case("15 m on 10 m", Layout(gsd_m=(15, 15))),
    Case("20 m on 10 m", Layout(gsd_m=(20, 20))),
    Case("20 m on 10 m, corner half a pixel off", Layout(gsd_m=(20, 20), off_px=(0.25, 0.25))),
    Case("30 m on 10 m", Layout(gsd_m=(30, 30))),
    Case("5 m on 10 m", Layout(gsd_m=(5, 5))),
    Case("5 m on 10 m, corner half a pixel off", Layout(gsd_m=(5, 5), off_px=(0.5, -0.5))),
    Case("other zone", Layout("EPSG:32632")),
    Case("other zone, 20 m", Layout("EPSG:32632", gsd_m=(20, 20))),
    Case("reference in other zone", ref=Layout("EPSG:32632")),
    Case("geographic", Layout("EPSG:4326")),
    Case("geographic reference", ref=Layout("EPSG:4326")),
    Case("both geographic", Layout("EPSG:4326"), Layout("EPSG:4326")),
    Case("Web Mercator", Layout("EPSG:3857")),
    Case("Web Mercator reference", ref=Layout("EPSG:3857")),
    Case("custom PROJ string", Layout(CUSTOM_PROJ)),
    Case("custom WKT in km", Layout(CUSTOM_WKT)),
    Case("custom reference in km", ref=Layout(CUSTOM_WKT)),
    Case("southern", Layout("EPSG:32733"), Layout("EPSG:32733"), site=SOUTH),
    Case("southern, geographic", Layout("EPSG:4326"), Layout("EPSG:32733"), site=SOUTH),
    Case("across the equator's zones", Layout("EPSG:32637"), Layout("EPSG:32737"), site=EQUATOR),
    Case("feet", Layout("EPSG:2263"), Layout("EPSG:2263"), site=CITY),
    Case("feet on metres", Layout("EPSG:2263"), Layout("EPSG:32618"), site=CITY),
    Case("pixel is point", tags=(("AREA_OR_POINT", "Point"),)),
    Case("uint8", dtype="uint8"),
    Case("int16", dtype="int16"),
    Case("float32", dtype="float32"),
    Case("float64, NaN nodata", dtype="float64", nodata=np.nan, hidden="rim"),
    Case("float32, NaN not declared", dtype="float32", hidden="rim"),
    Case("float32, -inf nodata", dtype="float32", nodata=-np.inf, hidden="rim"),
    Case("uint16, nodata 0", nodata=0, hidden="rim"),
    Case("int16, nodata -9999", dtype="int16", nodata=-9999, hidden="rim"),
    Case("stripes of nodata", nodata=0, hidden="stripes"),
    Case("stripes of nodata, turned", Layout(turn_deg=30), nodata=0, hidden="stripes"),
]


def moved_to(xy: Floats, src: str, dst: str) -> Floats:
    """(N, 2) coordinates in another CRS, x before y."""
    return np.stack(transformer(src, dst).transform(xy[:, 0], xy[:, 1]), axis=1)


@functools.cache
def transformer(src: str, dst: str) -> Transformer:
    return Transformer.from_crs(src, dst, always_xy=True)


def compose(*transforms: Affine) -> Affine:
    """Their product; affine 2 knows no ``@``, affine 3 warns of ``*``."""
    product = functools.reduce(np.matmul, (np.array(tuple(t)).reshape(3, 3) for t in transforms))
    return Affine(*product[:2].ravel())


def at(transform: Affine, px: Floats) -> Floats:
    """Map coordinates of (N, 2) pixel coordinates (column, row)."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return np.stack([a * px[:, 0] + b * px[:, 1] + c, d * px[:, 0] + e * px[:, 1] + f], axis=1)


@functools.cache
def ground() -> Floats:
    """Red reflectance * 10000 of the sample tiles' landscape, on cells of `STEP_M`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        for name in ("landscape", "tones"):
            spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
        landscape, tones = sys.modules["landscape"], sys.modules["tones"]
        land = landscape.build(landscape.Scenery(5), side=SIDE, step_m=STEP_M)
        return np.asarray(tones.render(land, band="red"), np.float64)


@functools.cache
def optics(gsd_m: float) -> Floats:
    """Quintic spline of the ground through a Gaussian point spread function: MTF 0.15 at the Nyquist frequency."""
    south, east = fft.fftfreq(SIDE)[:, None], fft.rfftfreq(SIDE)[None, :]
    mtf = 0.15 ** ((south**2 + east**2) * (2 * gsd_m / STEP_M) ** 2)
    spline = [(66 + 52 * np.cos(2 * np.pi * w) + 2 * np.cos(4 * np.pi * w)) / 120 for w in (south, east)]
    return np.asarray(fft.irfft2(fft.rfft2(ground()) * mtf / (spline[0] * spline[1]), s=(SIDE, SIDE)))


def see(layout: Layout, transform: Affine, site: Site) -> Floats:
    """The scene at the pixel centres that `transform` gives; it repeats beyond its edges."""
    height, width = layout.shape
    col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    xy = at(transform, np.stack([col.ravel(), row.ravel()], axis=1))
    cell = (moved_to(xy, layout.crs, site.crs) - site.centre_xy) * [1, -1] / STEP_M + SIDE / 2 - 0.5
    seen = ndimage.map_coordinates(
        optics(layout.optics_m or max(map(abs, layout.gsd_m))), cell.T[::-1], order=5, mode="grid-wrap", prefilter=False
    )
    return np.asarray(seen.reshape(height, width))


def hidden(shape: tuple[int, int], how: str) -> NDArray[np.bool_]:
    row, col = np.indices(shape)
    if how == "stripes":
        return (row + 0.15 * col) % 20 < 4
    if how == "rim":
        return (row + 0.2 * col < 40) | (col - 0.1 * row > 0.93 * shape[1])
    return np.zeros(shape, bool)


def write_raster(path: Path, layout: Layout, case: Case, role: str) -> Path:
    """Write one side of a case; only the target has the case's type, nodata and displacement."""
    target = role == "target"
    image = see(layout, case.true_transform() if target else layout.transform(case.site), case.site)
    image += np.random.default_rng(len(role)).normal(0, 0.01 * image.std(), image.shape)  # 40 dB
    dtype, nodata = (case.dtype, case.nodata) if target else ("uint16", None)
    if dtype == "uint8":
        image = np.clip(image / 14, 1, 255)
    image = np.clip(np.rint(image), 1, None) if np.issubdtype(np.dtype(dtype), np.integer) else image / 1e4
    if target:
        image[hidden(layout.shape, case.hidden)] = np.nan if nodata is None else nodata
    profile: dict[str, Any] = {"driver": "GTiff", "count": 1, "dtype": dtype, "nodata": nodata, "tiled": True}
    profile |= {"height": layout.shape[0], "width": layout.shape[1], "crs": layout.crs}
    profile |= {"transform": layout.transform(case.site)}
    with rasterio.open(path, "w", blockxsize=128, blockysize=128, **profile) as dataset:
        dataset.update_tags(**(dict(case.tags) if target else {}))
        dataset.write(image.astype(dtype), 1)
    return path


@dataclass(frozen=True)
class Run:
    """A case, aligned, written and aligned again."""

    case: Case
    reference: Path
    target: Path
    alignment: georeg.Alignment
    written: Path
    how: str

    def lattice_px(self, ends: tuple[float, float] = (0.02, 0.98), n: int = 15) -> Floats:
        height, width = self.case.tgt.shape
        col, row = np.meshgrid(np.linspace(*ends, n) * width, np.linspace(*ends, n) * height)
        return np.stack([col.ravel(), row.ravel()], axis=1)

    def true_xy(self, px: Floats) -> Floats:
        """True positions of target pixel coordinates, in the target's CRS."""
        return at(self.case.true_transform(), px)

    def in_working_crs(self, own_xy: Floats) -> Floats:
        return moved_to(own_xy, self.case.tgt.crs, self.alignment.points.crs)

    def model_error_px(self) -> Floats:
        """(N, 2) corrected − true position over the overlap, working pixels."""
        px = self.lattice_px()
        with rasterio.open(self.target) as dataset:
            given = self.in_working_crs(at(dataset.transform, px))
        true = self.in_working_crs(self.true_xy(px))
        ref_px = at(
            ~self.case.ref.transform(self.case.site),
            moved_to(true, self.alignment.points.crs, self.case.ref.crs),
        )
        inside = ((ref_px > 0) & (ref_px < self.case.ref.shape[::-1])).all(axis=1)
        return (self.alignment.model(given) - true)[inside] / self.alignment.points.gsd


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(request.param, tmp_path_factory.mktemp("case"))


def made(case: Case, folder: Path) -> Run:
    reference = write_raster(folder / "reference.tif", case.ref, case, "reference")
    target = write_raster(folder / "target.tif", case.tgt, case, "target")
    alignment = georeg.align(reference, target)
    how = georeg.apply(alignment, folder / "written.tif")
    return Run(case, reference, target, alignment, folder / "written.tif", how)


def rms(error: Floats) -> float:
    return float(np.sqrt((error**2).sum(axis=1).mean()))


def accuracy_of(run: Run) -> str:
    return f"{run.case.name}: {run.alignment.summary()}"


def test_displacement_is_recovered(run: Run) -> None:
    error_px = run.model_error_px()
    assert len(error_px) > 100
    assert rms(error_px) < RECOVERED_PX, accuracy_of(run)


def test_sign_is_right_on_both_axes(run: Run) -> None:
    """+x is east and +y is north, whichever way the rows and columns of either raster run."""
    px = np.array(run.case.tgt.shape[::-1])[None] / 2
    with rasterio.open(run.target) as dataset:
        given = run.in_working_crs(at(dataset.transform, px))
    told = (run.in_working_crs(run.true_xy(px)) - given)[0]
    found = (run.alignment.model(given) - given)[0]
    large = np.abs(told) > 0.1 * run.alignment.points.gsd
    assert (np.sign(found) == np.sign(told))[large].all(), accuracy_of(run)
    assert np.sign(run.alignment.displacement())[large].tolist() == np.sign(told)[large].tolist()


def test_written_file_lies_where_it_should(run: Run) -> None:
    """A moved geotransform holds even in another CRS: at corners, sides and centre, from pixel to map."""
    assert run.how == "geotransform"
    px = run.lattice_px(ends=(0.0, 1.0), n=3)
    with rasterio.open(run.written) as dataset, rasterio.open(run.target) as target:
        written_xy = at(dataset.transform, px)
        assert (dataset.crs, dataset.shape, dataset.nodata) == (
            target.crs,
            target.shape,
            pytest.approx(target.nodata, nan_ok=True),
        )
        assert dataset.tags().get("AREA_OR_POINT") == target.tags().get("AREA_OR_POINT")
        np.testing.assert_array_equal(dataset.read(), target.read())
    error_px = (run.in_working_crs(written_xy) - run.in_working_crs(run.true_xy(px))) / run.alignment.points.gsd
    assert np.hypot(*error_px.T).max() < RECOVERED_PX, accuracy_of(run)


def test_aligning_what_was_written_finds_nothing(run: Run) -> None:
    """The self-test of the sign: applied the wrong way, a correction doubles the displacement."""
    again = georeg.align(run.reference, run.written)
    true_xy = moved_to(run.true_xy(run.lattice_px()), run.case.tgt.crs, again.points.crs)
    assert rms(again.model.displacement(true_xy) / again.points.gsd) < REALIGNED_PX, again.summary()


@pytest.mark.parametrize("name", ["same grid, subpixel +-", "turned 30", "other zone, 20 m", "geographic"])
def test_resampled_file_shows_the_ground_where_it_is(name: str, tmp_path: Path) -> None:
    """On the reference's grid, the pixels are compared with the scene itself, by a shift to first order."""
    case = next(case for case in CASES if case.name == name)
    run = made(case, tmp_path)
    georeg.apply(run.alignment, tmp_path / "resampled.tif", georeg.WriteOptions(resample=True))
    right = see(
        Layout(case.ref.crs, case.ref.gsd_m, optics_m=max(case.tgt.gsd_m)), case.ref.transform(case.site), case.site
    )
    with rasterio.open(tmp_path / "resampled.tif") as dataset, rasterio.open(run.reference) as reference:
        assert (dataset.transform, dataset.crs, dataset.shape) == (reference.transform, reference.crs, reference.shape)
        seen, valid = dataset.read(1).astype(float), dataset.read_masks(1) > 0
    inner = ndimage.binary_erosion(valid, iterations=4)
    assert inner.mean() > 0.5
    down, across = (gradient[inner] for gradient in np.gradient(right))
    move_px, *_ = np.linalg.lstsq(np.column_stack([across, down]), (right - seen)[inner], rcond=None)
    assert np.hypot(*move_px) < RECOVERED_PX
