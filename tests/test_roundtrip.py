"""Nothing is lost on the way: a raster of any type, format, mask and CRS that is moved by whole pixels says and holds what
GDAL reads in the source. What a GeoTIFF cannot hold is listed in `LOSSES`, with the reason.
"""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.windows import Window

from georeg.cog import copy_as_cog
from georeg.copies import copy_with_transform
from georeg.creation import Creation
from georeg.encoding import encoding_of
from georeg.execution import silent
from georeg.geotiff import write_blocks
from georeg.models import Translation
from georeg.placement import Placement, compose
from georeg.raster import Raster, open_raster
from georeg.regrid import Regridding

HEIGHT, WIDTH = 150, 140
HOLE = np.s_[40:70, 50:90]
DTYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "complex64",
    "complex_int16",
)  # fmt: skip
CUSTOM = (
    'PROJCS["a site",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",51.5],'
    'PARAMETER["central_meridian",12.25],PARAMETER["scale_factor",1],PARAMETER["false_easting",1000],'
    'PARAMETER["false_northing",2000],UNIT["metre",1]]'
)
PLACES = {
    "utm": ("EPSG:32633", Affine(10, 0, 301000, 0, -10, 5772000)),
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 12.1, 0, -1e-4, 52.05)),
    "mercator": ("EPSG:3857", Affine(2.5, 0, 1347000, 0, -2.5, 6800000)),
    "laea": ("EPSG:3035", Affine(20, 0, 4480000, 0, -20, 3220000)),
    "custom": (CUSTOM, Affine(0.05, 0, 1010, 0, -0.05, 2100)),
    "none": (None, Affine.identity()),
}
BAND_NODATA = np.array([20, 23, 26])
XMP = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><note text='a=b'/></x:xmpmeta>"
COLOURS = {0: (0, 0, 0, 255), 1: (200, 30, 30, 255), 2: (20, 160, 40, 255), 3: (10, 60, 200, 255)}
TABLES = """<CategoryNames><Category>none</Category><Category>water</Category></CategoryNames>
<GDALRasterAttributeTable tableType="thematic"><FieldDefn index="0"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>
<FieldDefn index="1"><Name>Name</Name><Type>2</Type><Usage>2</Usage></FieldDefn><Row index="0"><F>0</F><F>none</F></Row>
<Row index="1"><F>1</F><F>water &amp; ice</F></Row></GDALRasterAttributeTable>"""
MOVE_PX = (17, 9)
"""Columns and rows by which the correction moves the raster, and then the grid begins before it."""


@dataclass(frozen=True)
class Case:
    """One source."""

    dtype: str
    bands: int = 1
    mask: str = "none"
    driver: str = "GTiff"
    place: str = "utm"
    options: dict[str, Any] = field(default_factory=dict)
    """Creation options of the driver."""
    extra: str = ""

    @property
    def id(self) -> str:
        return "-".join(filter(None, (self.driver, self.dtype, str(self.bands), self.mask, self.place, self.extra)))


def _geotiffs() -> Iterator[Case]:
    places, masks = list(PLACES), ("none", "nodata", "internal")
    for i, dtype in enumerate(DTYPES):
        for j, mask in enumerate(masks):
            yield Case(dtype, (1, 3)[(i + j) % 2], mask, place=places[(i + 2 * j) % len(places)])


CASES = [
    *_geotiffs(),
    Case("uint8", 4, "alpha"),
    Case("uint8", 4, "soft alpha"),
    Case("uint16", 4, "alpha", place="laea"),
    Case("uint8", 2, "alpha", place="degrees"),
    Case("uint16", 4, "stray alpha", place="degrees"),
    Case("uint8", 3, ".msk"),
    Case("float32", 1, ".msk", place="custom"),
    Case("complex64", 2, ".msk"),
    Case("float32", 3, "nan"),
    Case("float64", 1, "nan", place="degrees"),
    Case("float32", 2, "undeclared nan"),
    Case("uint16", 1, "nodata and mask"),
    Case("int16", 3, "nodata and mask", place="mercator"),
    Case("uint8", 3, "none", extra="tables"),
    Case("uint8", 1, "none", extra="palette tables"),
    Case("uint16", 1, "nodata", extra="palette"),
    Case("uint8", 3, "none", extra="icc"),
    Case("int16", 1, "nodata", extra="point"),
    Case("uint8", 3, "none", extra="overviews"),
    Case("uint8", 2, "per-band nodata", driver="VRT"),
    Case("int16", 3, "per-band nodata", driver="VRT", place="mercator"),
    Case("float32", 2, "per-band nodata", driver="VRT"),
    Case("uint16", 3, "nodata of one band", driver="VRT"),
    Case("uint16", 3, "nodata", driver="VRT", extra="tables"),
    Case("uint8", 3, "none", driver="COG", options={"COMPRESS": "DEFLATE"}),
    Case("uint16", 1, "nodata", driver="COG", place="laea"),
    Case("float32", 2, "nan", driver="COG", place="degrees"),
    Case("uint8", 4, "alpha", driver="COG"),
    Case("uint8", 3, "internal", driver="COG", options={"COMPRESS": "JPEG"}),
    Case("uint8", 1, "none", driver="PNG", place="none"),
    Case("uint8", 3, "none", driver="PNG"),
    Case("uint8", 4, "alpha", driver="PNG", place="mercator"),
    Case("uint16", 1, "nodata", driver="PNG"),
    Case("uint8", 1, "none", driver="PNG", extra="palette tables"),
    Case("uint8", 3, "none", driver="JPEG", place="degrees"),
    Case("uint8", 3, "none", driver="JP2OpenJPEG", options={"QUALITY": 100, "REVERSIBLE": "YES"}),
    Case("uint16", 1, "none", driver="JP2OpenJPEG", options={"QUALITY": 100, "REVERSIBLE": "YES"}, place="laea"),
    Case("int16", 1, "nodata", driver="JP2OpenJPEG", options={"QUALITY": 100, "REVERSIBLE": "YES"}),
    Case("uint8", 4, "alpha", driver="JP2OpenJPEG", options={"QUALITY": 100, "REVERSIBLE": "YES"}),
    Case("uint8", 1, "none", driver="HFA", extra="palette tables"),
    Case("int16", 3, "nodata", driver="HFA"),
    Case("float32", 1, "nodata", driver="HFA", place="laea"),
    Case("float64", 1, "none", driver="HFA", place="degrees"),
    Case("complex64", 1, "none", driver="HFA"),
    Case("uint16", 3, "nodata", driver="ENVI"),
    Case("float32", 1, "nan", driver="ENVI", place="laea"),
    Case("complex64", 2, "none", driver="ENVI"),
    Case("int32", 1, "none", driver="ENVI"),
    Case("float32", 1, "nodata", driver="netCDF"),
    Case("int16", 1, "none", driver="netCDF", place="degrees"),
    Case("uint16", 3, "nodata", driver="PCIDSK"),
    Case("float32", 1, "nodata", driver="SAGA"),
    Case("uint8", 1, "none", driver="BMP"),
]
LOSSES = {
    "nodata and mask": "a valid pixel that equals nodata is moved beside it, as readers that know no masks would lose it",
    "per-band nodata": "a GeoTIFF has one nodata value: a valid pixel of another band that equals it is moved beside it",
    "nodata of one band": "as above",
}
"""What resampling by whole pixels changes, by the kind of mask, and why. Moving the origin changes nothing."""


def pattern(case: Case) -> NDArray[Any]:
    """(bands, h, w) values over the whole range of the type, extremes included."""
    rng = np.random.default_rng(len(case.id))
    shape = (case.bands, HEIGHT, WIDTH)
    if "palette" in case.extra or "tables" in case.extra:
        return rng.integers(0, 4, shape).astype(case.dtype)
    if case.dtype.startswith("complex"):
        values = rng.integers(-32768, 32768, shape) + 1j * rng.integers(-32768, 32768, shape)
        return values.astype("complex64")
    if np.dtype(case.dtype).kind == "f":
        return (rng.normal(0, 1, shape) * 10.0 ** rng.integers(-5, 6, shape)).astype(case.dtype)
    limits = np.iinfo(case.dtype)
    values = rng.integers(limits.min, limits.max, shape, dtype=case.dtype, endpoint=True)
    values[:, 0, 0], values[:, 0, 1] = limits.min, limits.max
    return values


def nodata_of(case: Case) -> float | int | None:
    if case.mask == "nan":
        return float("nan")
    if "nodata" not in case.mask:
        return None
    kind = np.dtype(case.dtype.replace("complex_int16", "complex64")).kind
    return {"u": 20, "i": 20, "f": -9999.0, "c": 0.0}[kind]


def make(case: Case, folder: Path) -> Path | str:
    """A source in a folder of its own."""
    crs, transform = PLACES[case.place]
    data, nodata = pattern(case), nodata_of(case)
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[HOLE] = True
    if nodata is not None and case.mask != "nodata and mask":
        data[:, hole] = nodata
    if case.mask == "undeclared nan":
        data[0, hole] = np.nan
    if "alpha" in case.mask:
        opaque = np.iinfo(case.dtype).max
        data[-1] = np.where(hole, 0, opaque)
        if case.mask == "soft alpha":
            data[-1, 80:100], data[-1, 100:120] = 200, 100
    if case.mask == "nodata and mask":
        data[:, 100, 100] = nodata
    if "band" in case.mask:
        data[:, hole] = BAND_NODATA[: case.bands, None]
        data[:, 100, 100:103] = BAND_NODATA
    path = folder / "source.tif"
    profile = {
        "driver": "GTiff", "dtype": case.dtype, "count": case.bands, "height": HEIGHT, "width": WIDTH, "crs": crs,
        "transform": transform, "nodata": None if "band" in case.mask else nodata,
    }  # fmt: skip
    if "alpha" in case.mask:
        profile |= {"ALPHA": "YES"} | ({} if case.bands == 2 or "stray" in case.mask else {"PHOTOMETRIC": "RGB"})
    if "palette" in case.extra:
        profile["photometric"] = "palette"
    if case.extra == "icc":
        profile["SOURCE_ICC_PROFILE"] = "AAAAEGFiY2RlZmdoaWprbA=="
    internal = {"GDAL_TIFF_INTERNAL_MASK": case.mask != ".msk"}
    with rasterio.Env(**internal), reading(path, "w", **profile) as dataset:
        describe(dataset, case)
        dataset.write(data)
        if case.mask in ("internal", ".msk", "nodata and mask"):
            dataset.write_mask(~hole)
    if "tables" in case.extra:
        path.with_name(path.name + ".aux.xml").write_text(
            f'<PAMDataset><PAMRasterBand band="{case.bands}">{TABLES}</PAMRasterBand></PAMDataset>'
        )
    if case.extra == "overviews":
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews([2], rasterio.enums.Resampling.nearest)
    return path if case.driver == "GTiff" else converted(case, path)


def describe(dataset: Any, case: Case) -> None:
    count = case.bands
    dataset.descriptions = tuple(f"band {k}" for k in range(count))
    dataset.scales, dataset.offsets = tuple(0.5 + np.arange(count)), tuple(np.arange(count) - 0.25)
    dataset.units = tuple(f"unit {k}" for k in range(count))
    dataset.update_tags(ACQUIRED="2024-05-06", TIFFTAG_SOFTWARE="a camera")
    dataset.update_tags(ns="IMAGERY", CLOUDCOVER="3")
    dataset.update_tags(1, WAVELENGTH="560", STATISTICS_MEAN="3")
    dataset.update_tags(1, ns="CALIBRATION", GAIN="2")
    name, _, rest = XMP.partition("=")
    dataset.update_tags(ns="xml:XMP", **{name: rest})
    if case.extra == "point":
        dataset.update_tags(AREA_OR_POINT="Point")
    if "palette" in case.extra:
        dataset.write_colormap(1, COLOURS)


def converted(case: Case, path: Path) -> Path | str:
    """The source in another format."""
    suffixes = {
        "JP2OpenJPEG": ".jp2",
        "HFA": ".img",
        "ENVI": ".dat",
        "netCDF": ".nc",
        "PCIDSK": ".pix",
        "SAGA": ".sdat",
    }
    other = path.with_name("source" + suffixes.get(case.driver, "." + case.driver.lower()))
    if case.driver == "COG":
        other = path.with_name("cog.tif")
    rasterio.shutil.copy(path, other, driver=case.driver, **case.options)
    if "band" in case.mask:
        root = ElementTree.parse(other)
        for k, band in enumerate(root.findall("VRTRasterBand")):
            if case.mask == "per-band nodata" or k == 1:
                ElementTree.SubElement(band, "NoDataValue").text = str(BAND_NODATA[k])
        root.write(other)
    return f"NETCDF:{other}:Band1" if case.driver == "netCDF" else other


@contextmanager
def reading(path: Path | str, mode: str = "r", **profile: Any) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, mode, **profile) as dataset:
            yield dataset


def tables(path: Path | str) -> list[tuple[int, str]]:
    """Attribute tables and names of classes, as GDAL tells them in a VRT."""
    with reading(path) as dataset, MemoryFile(ext=".vrt") as file:
        rasterio.shutil.copy(dataset, file.name, driver="VRT")
        root = ElementTree.fromstring(file.read())
    return [
        (number, "".join(ElementTree.tostring(table, encoding="unicode").split()))
        for number, band in enumerate(root.findall("VRTRasterBand"))
        for table in band
        if table.tag in ("GDALRasterAttributeTable", "CategoryNames")
    ]


FILE_DOMAINS = (
    "IMAGE_STRUCTURE",
    "DERIVED_SUBDATASETS",
    "xml:VRT",
    "LocationInfo",
    "xml:gml.root-instance",
    "GEOREG",
    "ENVI",
)


def said(path: Path | str) -> dict[str, Any]:
    """What GDAL reads of a raster but for its pixels and its place."""
    names = ("count", "descriptions", "scales", "offsets", "units")
    with reading(path) as dataset:
        interpretations = list(dataset.colorinterp)
        if interpretations[0] == ColorInterp.undefined:
            interpretations[0] = ColorInterp.gray  # the first band of a GeoTIFF has one
        palettes = [b for b in dataset.indexes if dataset.colorinterp[b - 1] == ColorInterp.palette]
        return {
            **{name: getattr(dataset, name) for name in names},
            "interpretations": interpretations,
            "tags": [true(dataset.tags(b)) for b in (0, *dataset.indexes)],
            "domains": [domains(dataset, b) for b in (0, *dataset.indexes)],
            "palettes": {b: dataset.colormap(b) for b in palettes},
            "tables": tables(path),
        }


def domains(dataset: Any, band: int) -> dict[str, dict[str, str]]:
    names = set(dataset.tag_namespaces(band)) - set(FILE_DOMAINS)
    return {name: dataset.tags(band, ns=name) for name in names}


def true(tags: dict[str, str]) -> dict[str, str]:
    """Items that hold for other pixels too."""
    return {
        k: v for k, v in {"AREA_OR_POINT": "Area", **tags}.items() if not k.startswith("STATISTICS") and "#" not in k
    }


def open_placed(path: Path | str) -> Raster:
    """A raster by its geotransform, or by its own pixels where it has none."""
    with reading(path) as dataset:
        return open_raster(path, initial="geotransform" if dataset.crs else "none")


def scene(path: Path | str) -> tuple[Raster, Placement, GeoBox]:
    """A raster, a correction that moves it by `MOVE_PX`, and a grid that begins 5 columns and 3 rows before the corrected
    raster and ends 8 and 6 pixels before its end.
    """
    raster = open_placed(path)
    move = raster.transform @ MOVE_PX
    origin = raster.transform @ (0, 0)
    shift = np.subtract(move, origin)
    at = np.array([[0.0, 0.0], [100.0, 50.0]]) + origin
    placement = Placement(raster, raster.crs, Translation.fit(at, at + shift))
    corner = compose(raster.transform, Affine.translation(MOVE_PX[0] - 5, MOVE_PX[1] - 3))
    return raster, placement, GeoBox((HEIGHT - 6 + 3, WIDTH - 8 + 5), corner, raster.crs.to_wkt())


def resampled(path: Path | str, out: Path, creation: Creation | None = None) -> None:
    raster, placement, grid = scene(path)
    encoding = encoding_of(raster)
    kernels = ("cubic",) * raster.count
    regridding = Regridding(placement, grid, kernels, encoding)
    with regridding.running(silent) as blocks:
        write_blocks(raster, grid, encoding, blocks, str(out), tags={"METHOD": "test"}, creation=creation)


def moved(path: Path | str, out: Path) -> None:
    raster = open_raster(path)
    copy_with_transform(
        raster, compose(raster.transform, Affine.translation(*MOVE_PX)), str(out), tags={"METHOD": "test"}
    )


def moved_cog(path: Path | str, out: Path) -> None:
    raster = open_raster(path)
    copy_as_cog(raster, compose(raster.transform, Affine.translation(*MOVE_PX)), str(out), tags={"METHOD": "test"})


WAYS: dict[str, Callable[[Path | str, Path], None]] = {
    "moved": moved,
    "resampled": resampled,
    "moved COG": moved_cog,
    "resampled COG": lambda path, out: resampled(path, out, Creation("COG")),
}
RUNS = [
    pytest.param(case, way, id=f"{case.id}-{way}")
    for i, case in enumerate(CASES)
    for way in WAYS
    if (way == "resampled" or case.place != "none")  # a plain picture is always resampled
    and ("COG" not in way or i % 4 == 0 or case.driver in ("COG", "VRT") or case.extra)
]


@pytest.mark.parametrize(("case", "way"), RUNS)
def test_nothing_is_lost(case: Case, way: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source, out = make(case, tmp_path / "in"), tmp_path / "out.tif"
    before = {p.name: p.read_bytes() for p in (tmp_path / "in").iterdir()}
    WAYS[way](source, out)
    assert {p.name: p.read_bytes() for p in (tmp_path / "in").iterdir()} == before
    assert {p.name for p in tmp_path.iterdir()} <= {"in", "out.tif", "out.tif.aux.xml", "out.tif.msk"}
    want, got = said(source), said(out)
    for name, value in want.items():
        assert got[name] == value, name
    with reading(source) as a, reading(out) as b:
        assert b.tags(ns="GEOREG") == {"METHOD": "test"}
        assert a.crs == b.crs
        assert [np.dtype(n.replace("complex_int16", "complex64")) for n in a.dtypes] == [
            np.dtype(n.replace("complex_int16", "complex64")) for n in b.dtypes
        ]
        assert_same_pixels(case, a, b, resampled="resampled" in way)


def assert_same_pixels(case: Case, source: Any, out: Any, *, resampled: bool) -> None:
    theirs, ours = Window(0, 0, WIDTH, HEIGHT), Window(0, 0, WIDTH, HEIGHT)
    if resampled:
        theirs, ours = Window(0, 0, WIDTH - 8, HEIGHT - 6), Window(5, 3, WIDTH - 8, HEIGHT - 6)
        shown = [band for band in out.indexes if out.colorinterp[band - 1] != ColorInterp.alpha]
        assert not out.read_masks(shown)[:, :3].any()
    was, now = source.read(window=theirs), out.read(window=ours)
    mask_was, mask_now = source.read_masks(window=theirs), out.read_masks(window=ours)
    changed = lost(case, was, mask_was > 0, out.nodata) if resampled else np.zeros(was.shape, bool)
    assert changed.any() == (resampled and case.mask in LOSSES)
    np.testing.assert_array_equal(mask_now, mask_was)
    kept = (mask_was > 0) & ~changed if resampled else np.ones(was.shape, bool)
    np.testing.assert_array_equal(now[kept], was[kept])
    if case.mask == "undeclared nan":
        np.testing.assert_array_equal(np.isnan(now), np.isnan(was))


def lost(case: Case, values: NDArray[Any], valid: NDArray[np.bool_], nodata: float | None) -> NDArray[np.bool_]:
    """Pixels that change for a reason that `LOSSES` gives; no others may."""
    if case.mask in LOSSES:
        return valid & (values == nodata)
    return np.zeros(values.shape, bool)
