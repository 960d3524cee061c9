"""What is written is whole and true: a moved origin changes nothing else, resampling keeps what a file says of itself,
and a run that fails leaves everything as it was.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

import georeg
from georeg.copies import copy_with_transform
from georeg.encoding import encoding_of
from georeg.errors import InputError, OutputError
from georeg.files import SIDECARS, check_output, replacing, write_bytes
from georeg.geotiff import write_blocks
from georeg.options import WriteOptions
from georeg.raster import Raster, open_raster
from georeg.tiff import read_numbers, read_tiff

CRS = "EPSG:32633"
ORIGIN = Affine(10, 0, 301000, 0, -10, 5772000)  # within the sample tiles
MOVED = Affine.translation(37.25, -52.5) @ ORIGIN
COLOURS = {0: (0, 0, 0, 255), 1: (200, 30, 30, 255), 2: (20, 160, 40, 255), 3: (10, 60, 200, 255)}
INTERNAL_MASK = {"GDAL_TIFF_INTERNAL_MASK": True}
EXTERNAL_MASK = {"GDAL_TIFF_INTERNAL_MASK": False}
EXTERNAL_OVERVIEWS = {"TIFF_USE_OVR": True}


def image(count: int = 1, dtype: str = "uint16", shape: tuple[int, int] = (150, 140)) -> NDArray[Any]:
    """A smooth pattern with a little noise, (bands, height, width)."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[: shape[0], : shape[1]]
    bands = [100 + 60 * np.sin(x / (7 + k)) * np.cos(y / 9) + rng.normal(0, 4, shape) for k in range(count)]
    values = np.stack(bands)
    if np.issubdtype(np.dtype(dtype), np.complexfloating):
        values = values + 1j * values[:, ::-1]
    return (values - 100 if dtype == "int8" else values).clip(-120 if dtype == "int8" else 0, None).astype(dtype)


def save(path: Path, data: NDArray[Any], **profile: Any) -> Path:
    """Write a raster at `ORIGIN`."""
    shape = {"count": data.shape[0], "height": data.shape[1], "width": data.shape[2]}
    profile = {"driver": "GTiff", "dtype": data.dtype, "crs": CRS, "transform": ORIGIN} | profile
    with rasterio.open(path, "w", **shape, **profile) as dataset:
        dataset.write(data)
    return path


def holed(path: Path, **options: Any) -> Path:
    """A raster with a mask that leaves a hole."""
    mask = np.ones((150, 140), bool)
    mask[40:70, 50:90] = False
    with (
        rasterio.Env(**options),
        rasterio.open(
            path, "w", driver="GTiff", dtype="uint8", count=2, height=150, width=140, crs=CRS, transform=ORIGIN
        ) as dataset,
    ):
        dataset.write(image(2, "uint8"))
        dataset.write_mask(mask)
    return path


def with_overviews(path: Path, **options: Any) -> Path:
    with rasterio.Env(**options), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    return path


def palette(path: Path) -> Path:
    classes = (image(1, "uint8") // 20 % 4).astype("uint8")
    save(path, classes, photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, COLOURS)
    return path


def described(path: Path) -> Path:
    """Everything that a file can say of its bands."""
    save(path, image(3), nodata=0, tiled=True, blockxsize=64, blockysize=64, compress="deflate", predictor=2)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("red", "green", "nir")
        dataset.scales, dataset.offsets, dataset.units = (1e-4, 2e-4, 3e-4), (-0.1, 0.0, 0.5), ("sr", "sr", "K")
        dataset.update_tags(ACQUIRED="2024-05-06", TIFFTAG_SOFTWARE="a camera")
        dataset.update_tags(ns="IMAGERY", CLOUDCOVER="3")
        dataset.update_tags(2, WAVELENGTH="560")
    return with_overviews(path)


def holding_nan(path: Path) -> Path:
    data = image(1, "float32")
    data[:, 30:60, 40:80] = np.nan
    return save(path, data, nodata=float("nan"))


def transparent(path: Path) -> Path:
    data = image(4, "uint8")
    data[3] = 255
    data[3, 20:50, 20:90] = 0
    return save(path, data, photometric="RGB", alpha="YES")


def with_statistics(path: Path) -> Path:
    save(path, image(1, "uint16"))
    Path(f"{path}.aux.xml").write_text(
        '<PAMDataset><Metadata><MDI key="NOTE">kept</MDI></Metadata><PAMRasterBand band="1"><Description>pan</Description>'
        '<Metadata><MDI key="STATISTICS_MEAN">99.5</MDI></Metadata></PAMRasterBand></PAMDataset>'
    )
    return path


def ungeoreferenced(path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return save(path, image(1, "uint16"), transform=None, crs=None)


def placed_by_sidecar(path: Path) -> Path:
    ungeoreferenced(path)
    numbers = ", ".join(f"{v:.17g}" for v in ORIGIN.to_gdal())
    Path(f"{path}.aux.xml").write_text(
        f"<PAMDataset><SRS>{CRS}</SRS><GeoTransform>{numbers}</GeoTransform></PAMDataset>"
    )
    return path


def overruled_by_sidecar(path: Path) -> Path:
    save(path, image(1, "uint16"), transform=Affine.translation(5000, 0) @ ORIGIN)
    numbers = ", ".join(f"{v:.17g}" for v in ORIGIN.to_gdal())
    Path(f"{path}.aux.xml").write_text(f"<PAMDataset><GeoTransform>{numbers}</GeoTransform></PAMDataset>")
    return path


def placed_by_world_file(path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        save(path, image(1, "uint16"), transform=None)
    a, b, d, e = ORIGIN.a, ORIGIN.b, ORIGIN.d, ORIGIN.e
    centre = (ORIGIN.c + a / 2, ORIGIN.f + e / 2)
    path.with_suffix(".tfw").write_text("\n".join(map(str, (a, d, b, e, *centre))))
    return path


def posts(path: Path) -> Path:
    save(path, image(1, "float32"), nodata=-9999)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(AREA_OR_POINT="Point")
    return path


def complex_int16(path: Path) -> Path:
    data = np.rint(image(1, "complex64"))
    with rasterio.open(
        path, "w", driver="GTiff", dtype="complex_int16", count=1, height=150, width=140, crs=CRS, transform=ORIGIN
    ) as dataset:
        dataset.write(data)
    return path


def out_of_range_nodata(path: Path) -> Path:
    """A uint8 file whose nodata value no pixel can have: GDAL allows it."""
    save(path, image(1, "uint8"))
    Path(f"{path}.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>-9999</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    return path


def jpeg2000(path: Path, **options: Any) -> Path:
    path = path.with_suffix(".jp2")
    return save(path, image(1, "uint16"), driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES", **options)


VARIANTS: dict[str, Callable[[Path], Path]] = {
    "palette": palette,
    "described": described,
    "nan": holding_nan,
    "alpha": transparent,
    "internal mask": lambda path: holed(path, **INTERNAL_MASK),
    "external mask": lambda path: holed(path, **EXTERNAL_MASK),
    "internal mask and overviews": lambda path: with_overviews(holed(path, **INTERNAL_MASK)),
    "external overviews": lambda path: with_overviews(save(path, image()), **EXTERNAL_OVERVIEWS),
    "int8": lambda path: save(path, image(1, "int8")),
    "int32": lambda path: save(path, image(1, "int32")),
    "uint32": lambda path: save(path, image(1, "uint32"), nodata=2**32 - 1),
    "int64": lambda path: save(path, image(1, "int64")),
    "float64": lambda path: save(path, image(2, "float64"), interleave="band"),
    "complex64": lambda path: save(path, image(1, "complex64")),
    "complex_int16": complex_int16,
    "jpeg": lambda path: save(
        path, image(3, "uint8"), compress="jpeg", photometric="YCbCr", tiled=True, blockxsize=64, blockysize=64
    ),
    "lzw strips": lambda path: save(path, image(3), compress="lzw", blockysize=7),
    "bigtiff": lambda path: save(path, image(), BIGTIFF="YES"),
    "big-endian": lambda path: save(path, image(), ENDIANNESS="BIG"),
    "12 bits": lambda path: save(path, image(), NBITS=12),
    "sparse": lambda path: save(path, np.zeros((1, 150, 140), "uint8"), SPARSE_OK="TRUE", tiled=True),
    "cog": lambda path: save(path, image(3, shape=(300, 280)), driver="COG", blocksize=128, compress="deflate"),
    "posts": posts,
    "statistics": with_statistics,
    "placed by sidecar": placed_by_sidecar,
    "overruled by sidecar": overruled_by_sidecar,
    "placed by world file": placed_by_world_file,
    "nodata out of range": out_of_range_nodata,
}
FILE_DOMAINS = ("DERIVED_SUBDATASETS",)  # they name the file
LAYOUT_TAGS = ("LAYOUT", "OVERVIEWS_ALGORITHM")


def contents(path: Path) -> dict[str, Any]:
    """All that a raster holds, but for where it lies."""
    with rasterio.open(path) as dataset:
        tags = {band: dataset.tags(band) for band in (0, *dataset.indexes)}
        domains = {
            name: {k: v for k, v in dataset.tags(ns=name).items() if k not in LAYOUT_TAGS}
            for name in dataset.tag_namespaces()
            if name not in FILE_DOMAINS
        }
        palettes = {
            band: dataset.colormap(band)
            for band in dataset.indexes
            if dataset.colorinterp[band - 1] == ColorInterp.palette
        }
        names = (
            "count",
            "shape",
            "dtypes",
            "descriptions",
            "scales",
            "offsets",
            "units",
            "colorinterp",
            "block_shapes",
        )
        return {
            **{name: getattr(dataset, name) for name in names},
            "crs": dataset.crs.to_wkt(),
            "nodata": repr(dataset.nodatavals),
            "mask_flags": [sorted(f.name for f in flags) for flags in dataset.mask_flag_enums],
            "tags": tags,
            "domains": domains,
            "palettes": palettes,
            "overviews": [dataset.overviews(band) for band in dataset.indexes],
            "pixels": dataset.read().tobytes(),
            "masks": dataset.read_masks().tobytes(),
            "reduced": dataset.read(out_shape=(dataset.height // 2, dataset.width // 2)).tobytes(),
        }


def transform_of(path: str | Path) -> Affine:
    with rasterio.open(path) as dataset:
        return dataset.transform


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


# --- a rewritten geotransform ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_moving_the_origin_changes_nothing_else(name: str, tmp_path: Path) -> None:
    source = VARIANTS[name](tmp_path / "source.tif")
    before = files(tmp_path)
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "moved.tif"
    copy_with_transform(open_raster(source), MOVED, str(out))
    assert transform_of(source) == ORIGIN
    assert contents(out) == contents(source)
    assert transform_of(out) == MOVED
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "transform",
    [Affine(9.99, 0.2, 301001.123456789, 0.19, -10.01, 5771999.1), Affine(10, 0, 301000, 0, 10, 5771000)],
    ids=["turned", "south up"],
)
def test_any_geotransform_is_written_exactly(transform: Affine, tmp_path: Path) -> None:
    source = described(tmp_path / "source.tif")
    copy_with_transform(open_raster(source), transform, str(tmp_path / "out.tif"))
    assert transform_of(tmp_path / "out.tif") == transform
    assert contents(tmp_path / "out.tif") == contents(source)


def test_a_turned_raster_can_be_turned_back(tmp_path: Path) -> None:
    turned = ORIGIN @ Affine.rotation(10)
    source = save(tmp_path / "source.tif", image(), transform=turned)
    copy_with_transform(open_raster(source), ORIGIN, str(tmp_path / "out.tif"))
    assert transform_of(tmp_path / "out.tif") == ORIGIN


@pytest.mark.parametrize("options", [{}, {"NBITS": 15}], ids=["16 bits", "15 bits"])
def test_another_format_becomes_a_geotiff_of_the_same_pixels(options: dict[str, Any], tmp_path: Path) -> None:
    source = jpeg2000(tmp_path / "source", **options)
    out = tmp_path / "out.tif"
    copy_with_transform(open_raster(source), MOVED, str(out))
    with rasterio.open(source) as a, rasterio.open(out) as b:
        assert b.driver == "GTiff"
        assert b.transform == MOVED
        assert b.crs == a.crs
        np.testing.assert_array_equal(b.read(), a.read())
        assert b.dtypes == a.dtypes


def test_a_vrt_becomes_a_geotiff_that_says_the_same(tmp_path: Path) -> None:
    source = described(tmp_path / "source.tif")
    rasterio.shutil.copy(source, tmp_path / "source.vrt", driver="VRT")
    copy_with_transform(open_raster(tmp_path / "source.vrt"), MOVED, str(tmp_path / "out.tif"))
    want, got = contents(tmp_path / "source.vrt"), contents(tmp_path / "out.tif")
    for name in ("pixels", "dtypes", "descriptions", "scales", "offsets", "units", "nodata", "tags", "overviews"):
        assert got[name] == want[name], name
    assert transform_of(tmp_path / "out.tif") == MOVED


def test_a_truncated_source_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image(3))
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(InputError, match="truncated"):
        copy_with_transform(open_raster(source), MOVED, str(tmp_path / "out.tif"))
    assert list(files(tmp_path)) == ["source.tif"]


def test_a_truncated_source_of_another_format_is_refused(tmp_path: Path) -> None:
    source = jpeg2000(tmp_path / "source")
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(georeg.GeoregError, match="damaged"):
        copy_with_transform(open_raster(source), MOVED, str(tmp_path / "out.tif"))
    assert list(files(tmp_path)) == ["source.jp2"]


# --- resampled ------------------------------------------------------------------------------------------------------


def resampled(alignment: georeg.Alignment, source: Path, **options: Any) -> Path:
    out = source.with_name("resampled.tif")
    how = georeg.apply(alignment, out, WriteOptions(resample=True, **options), target=source)
    assert how == "resampled"
    return out


@pytest.mark.parametrize("name", VARIANTS)
def test_resampling_takes_the_references_grid_and_keeps_the_metadata(
    name: str, shift_alignment: georeg.Alignment, shift_pair: tuple[str, str], tmp_path: Path
) -> None:
    source = VARIANTS[name](tmp_path / "source.tif")
    out = resampled(shift_alignment, source)
    with rasterio.open(shift_pair[0]) as reference, rasterio.open(source) as before, rasterio.open(out) as after:
        assert (after.transform, after.shape, after.crs) == (reference.transform, reference.shape, reference.crs)
        names = ("count", "descriptions", "scales", "offsets", "units", "colorinterp")
        assert {n: getattr(after, n) for n in names} == {n: getattr(before, n) for n in names}
        assert after.tags() == {"AREA_OR_POINT": "Area"} | before.tags()
        assert after.tags(ns="IMAGERY") == before.tags(ns="IMAGERY")
        assert [{k: v for k, v in before.tags(b).items() if "STATISTICS" not in k} for b in before.indexes] == [
            after.tags(b) for b in after.indexes
        ]
        if name == "palette":
            assert after.colormap(1) == before.colormap(1)
        if name != "nodata out of range":
            assert repr(after.nodata) == repr(before.nodata)
        assert after.dtypes == (open_raster(source).dtypes)
        share = (after.read_masks() > 0).all(axis=0).sum() / (before.read_masks() > 0).all(axis=0).sum()
        assert share == pytest.approx(1, abs=0.01)
        assert_moved(before, after)


def assert_moved(before: Any, after: Any) -> None:
    """The pixels lie where the correction of (+37.3, -52.6) m puts them: 4 right and 5 down, to a part of a pixel."""
    col, row = (round(v) for v in ~after.transform @ (ORIGIN.c + 37.3, ORIGIN.f - 52.6))
    window = Window(col + 5, row + 5, before.width - 10, before.height - 10)
    inner = Window(5, 5, before.width - 10, before.height - 10)
    was, now = before.read(1, window=inner), after.read(1, window=window)
    valid = (before.read_masks(window=inner) > 0).all(axis=0) & (after.read_masks(window=window) > 0).all(axis=0)
    assert valid.sum() > 0.8 * valid.size * (before.read_masks() > 0).mean()
    if was[valid].std():
        assert abs(np.corrcoef(was[valid], now[valid])[0, 1]) > 0.7


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("hole", ["nodata", "mask", "given"])
def test_no_nodata_bleeds_into_valid_pixels(
    hole: str, dtype: str, shift_alignment: georeg.Alignment, tmp_path: Path
) -> None:
    data = constant_with_hole(dtype, 3)
    source = save(tmp_path / "source.tif", data, **({"nodata": 3} if hole == "nodata" else {}))
    if hole == "mask":
        with rasterio.Env(**INTERNAL_MASK), rasterio.open(source, "r+") as dataset:
            dataset.write_mask(data[0] != 3)
    alignment = given_nodata(shift_alignment, 3) if hole == "given" else shift_alignment
    assert_constant_with_hole(resampled(alignment, source))


@pytest.mark.parametrize("nodata", [float("nan"), None], ids=["declared", "undeclared"])
def test_no_nan_bleeds_into_valid_pixels(
    nodata: float | None, shift_alignment: georeg.Alignment, tmp_path: Path
) -> None:
    source = save(tmp_path / "source.tif", constant_with_hole("float32", np.nan), nodata=nodata)
    assert_constant_with_hole(resampled(shift_alignment, source))


def test_no_transparent_pixel_bleeds_into_opaque_ones(shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    data = np.concatenate([constant_with_hole("uint8", 3)] * 2)
    data[1] = np.where(data[0] == 3, 0, 255)
    assert_constant_with_hole(resampled(shift_alignment, save(tmp_path / "source.tif", data, alpha="YES")))


def constant_with_hole(dtype: str, hole: float) -> NDArray[Any]:
    data = np.full((1, 150, 140), 117, dtype)
    data[:, 40:70, 50:90] = hole
    return data


def assert_constant_with_hole(path: Path) -> None:
    with rasterio.open(path) as after:
        valid = after.read_masks(1) > 0
        assert valid.sum() == pytest.approx(150 * 140 - 30 * 40, rel=0.01)
        assert set(np.unique(after.read(1)[valid])) == {117}


def given_nodata(alignment: georeg.Alignment, nodata: float) -> georeg.Alignment:
    """The same alignment, as if --tgt-nodata had been given."""
    values = alignment.to_dict()
    values["tie_points"]["inputs"]["tgt_nodata"] = nodata
    return georeg.Alignment.from_dict(values)


@pytest.mark.parametrize("nodata", [-9999, 0.5, float("nan"), 256])
def test_a_nodata_value_that_no_pixel_can_have_gives_a_mask(
    nodata: float, shift_alignment: georeg.Alignment, tmp_path: Path
) -> None:
    source = save(tmp_path / "source.tif", image(1, "uint8"))
    with rasterio.open(resampled(given_nodata(shift_alignment, nodata), source)) as after:
        assert after.nodata is None
        assert (after.read_masks(1) > 0).sum() == pytest.approx(150 * 140, rel=0.01)


INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_values_are_clamped_and_never_wrap(dtype: str, shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    data = np.full((1, 150, 140), low, dtype)
    data[:, :, 60:] = high
    out = resampled(shift_alignment, save(tmp_path / "source.tif", data), resampling="cubic")
    with rasterio.open(out) as after:
        values, valid = after.read(1), after.read_masks(1) > 0
    rows = valid.all(axis=1) if valid.all(axis=1).any() else valid.any(axis=1)
    for row, inside in zip(values[rows], valid[rows], strict=True):
        steps = np.diff(row[inside].astype(float))
        # an overshoot that wrapped would be a jump of nearly the whole range against the edge
        assert (steps < -0.5 * (high - low)).sum() == 0


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("end", ["low", "high"])
def test_no_overshoot_reaches_nodata(end: str, dtype: str, shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    limits = np.iinfo(dtype)
    bits = limits.bits // 4 if limits.bits == 64 else 0  # so that a double tells the ends from their neighbours
    low, high = (limits.min >> 2 * bits, limits.max >> 2 * bits)
    nodata, dark, bright = (low, low + 1, high) if end == "low" else (high, low, high - 1)
    data = np.full((1, 150, 140), dark, dtype)
    data[:, :, 60:] = bright
    out = resampled(shift_alignment, save(tmp_path / "source.tif", data, nodata=nodata), resampling="cubic")
    with rasterio.open(out) as after:
        valid = after.read_masks(1) > 0
        assert valid.sum() == pytest.approx(150 * 140, rel=0.01)
        assert valid[valid.any(axis=1)][:, valid.any(axis=0)].all()


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_the_largest_64_bit_values_are_clamped_too(dtype: str, tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", np.ones((1, 4, 4), dtype))
    top = float(np.iinfo(dtype).max)
    data, valid = np.full((1, 4, 4), top), np.ones((1, 4, 4), bool)
    raster = open_raster(source)
    encoding = encoding_of(raster)
    pixels = encoding.encode(data, valid, [1])
    write_blocks(raster, grid(4, 4), encoding, [(Window(0, 0, 4, 4), pixels, valid)], str(tmp_path / "out.tif"))
    with rasterio.open(tmp_path / "out.tif") as after:
        assert after.read().min() > 0.999 * top


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("which", ["zero", "lowest", "highest", "fraction"])
def test_valid_pixels_never_equal_nodata(dtype: str, which: str, tmp_path: Path) -> None:
    limits = np.iinfo(dtype) if np.issubdtype(np.dtype(dtype), np.integer) else np.iinfo("int16")
    nodata = {"zero": 0, "lowest": limits.min, "highest": limits.max, "fraction": -9999.875}[which]
    if which == "fraction" and np.issubdtype(np.dtype(dtype), np.integer):
        nodata = 17
    source = save(tmp_path / "source.tif", np.ones((1, 4, 4), dtype), nodata=nodata)
    data = np.full((1, 4, 4), np.dtype(dtype).type(nodata))
    valid = np.eye(4, dtype=bool)[None]
    raster = open_raster(source)
    encoding = encoding_of(raster)
    pixels = encoding.encode(data, valid, [1])
    write_blocks(raster, grid(4, 4), encoding, [(Window(0, 0, 4, 4), pixels, valid)], str(tmp_path / "out.tif"))
    with rasterio.open(tmp_path / "out.tif") as after:
        assert after.nodata == nodata
        np.testing.assert_array_equal(after.read_masks() > 0, valid)
        np.testing.assert_allclose(after.read()[valid].real, nodata, rtol=1e-4, atol=1)


def grid(height: int, width: int) -> GeoBox:
    return GeoBox((height, width), ORIGIN, CRS)


def test_masks_lie_behind_the_pixels(tmp_path: Path) -> None:
    """Mixed with them, each would lie where the threads that compress happen to put it: other bytes at every run."""
    side, out, rng = 512, tmp_path / "out.tif", np.random.default_rng(3)
    raster = open_raster(save(tmp_path / "source.tif", image(1, "uint16")))
    pixels, valid = rng.integers(1, 4000, (1, side, side), np.uint16), rng.random((1, side, side)) > 0.1
    windows = [Window(col, row, side, side) for row in range(0, 2 * side, side) for col in range(0, 2 * side, side)]
    with rasterio.Env(GDAL_CACHEMAX=2**19):  # so that blocks leave it before the file is closed
        blocks = [(window, pixels, valid) for window in windows]
        write_blocks(raster, grid(2 * side, 2 * side), encoding_of(raster), blocks, str(out))
    with out.open("rb") as file:
        tiff = read_tiff(file, str(out))
        of_pixels, of_masks = (read_numbers(file, tiff, one.entries[324]) for one in tiff.directories)
    assert of_pixels.max() < of_masks.min()
    with rasterio.open(out) as after:
        np.testing.assert_array_equal(after.read_masks(1) > 0, np.tile(valid[0], (2, 2)))


def test_classes_stay_classes(shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    classes = (image(1, "uint8") // 20 % 2 * 3).astype("uint8")
    save(tmp_path / "source.tif", classes, photometric="palette")
    with rasterio.open(tmp_path / "source.tif", "r+") as dataset:
        dataset.write_colormap(1, COLOURS)
    with rasterio.open(resampled(shift_alignment, tmp_path / "source.tif")) as after:
        assert set(np.unique(after.read(1, masked=True).compressed())) == {0, 3}
        assert after.colorinterp == (ColorInterp.palette,)


def test_complex_values_keep_their_phase(shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    phase = np.exp(0.7j)
    source = save(tmp_path / "source.tif", (image(1, "float32") * phase).astype("complex64"))
    with rasterio.open(resampled(shift_alignment, source)) as after:
        values = after.read(1)[after.read_masks(1) > 0]
        np.testing.assert_allclose(np.angle(values[np.abs(values) > 10]), 0.7, atol=1e-4)


def test_transparent_pixels_stay_transparent(shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    with rasterio.open(resampled(shift_alignment, transparent(tmp_path / "source.tif"))) as after:
        assert after.colorinterp[3] == ColorInterp.alpha
        assert set(np.unique(after.read(4))) == {0, 255}
        assert (after.read(4) == 255).sum() == pytest.approx(150 * 140 - 30 * 70, rel=0.01)


# --- whole or not at all --------------------------------------------------------------------------------------------

WAYS = {"geotransform": WriteOptions(), "resampled": WriteOptions(resample=True)}


@pytest.mark.parametrize("way", WAYS)
def test_an_existing_output_is_kept_unless_overwritten(
    way: str, shift_alignment: georeg.Alignment, tmp_path: Path
) -> None:
    out = tmp_path / "out.tif"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        georeg.apply(shift_alignment, out, WAYS[way])
    assert files(tmp_path) == {"out.tif": b"precious"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["same", "relative", "symlink", "hard link"])
def test_an_input_is_never_overwritten(
    name: str, way: str, shift_alignment: georeg.Alignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(tmp_path / "source.tif", image())
    before = source.read_bytes()
    out: Path = tmp_path / "link.tif"
    monkeypatch.chdir(tmp_path)
    if name == "symlink":
        out.symlink_to(source)
    elif name == "hard link":
        os.link(source, out)
    else:
        out = source if name == "same" else Path("./../") / tmp_path.name / "source.tif"
    options = WriteOptions(resample=WAYS[way].resample, overwrite=True)
    with pytest.raises(OutputError, match="would replace"):
        georeg.apply(shift_alignment, out, options, target=source)
    assert source.read_bytes() == before


@pytest.mark.parametrize("way", WAYS)
def test_what_a_virtual_raster_is_made_of_is_never_overwritten(
    way: str, shift_alignment: georeg.Alignment, tmp_path: Path
) -> None:
    source = save(tmp_path / "source.tif", image())
    rasterio.shutil.copy(source, tmp_path / "source.vrt", driver="VRT")
    before = files(tmp_path)
    options = WriteOptions(resample=WAYS[way].resample, overwrite=True)
    with pytest.raises(OutputError, match="would replace"):
        georeg.apply(shift_alignment, source, options, target=tmp_path / "source.vrt")
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["out", "out.dat", "ünï cödé.tif", "n" * 250 + ".tif", "a.b.c.tiff"])
def test_any_name_will_do(name: str, shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    for options in WAYS.values():
        georeg.apply(shift_alignment, tmp_path / name, options)
        with rasterio.open(tmp_path / name) as dataset:
            assert dataset.driver == "GTiff"
        assert [p.name for p in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_a_raster_in_an_archive_can_be_corrected(tmp_path: Path) -> None:
    source = described(tmp_path / "source.tif")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(source, "source.tif")
    copy_with_transform(open_raster(f"/vsizip/{tmp_path}/archive.zip/source.tif"), MOVED, str(tmp_path / "out.tif"))
    with rasterio.open(source) as a, rasterio.open(tmp_path / "out.tif") as b:
        np.testing.assert_array_equal(a.read(), b.read())
        assert b.transform == MOVED


def blocks_that_fail() -> Iterator[tuple[Window, NDArray[Any], NDArray[np.bool_]]]:
    yield Window(0, 0, 512, 512), np.ones((1, 512, 512), "uint16"), np.ones((1, 512, 512), bool)
    raise InputError("the pixels cannot be read")


@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_in_mid_writing_leaves_everything_as_it_was(exists: bool, tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image())
    out = tmp_path / "out.tif"
    if exists:
        out.write_bytes(b"old")
        Path(f"{out}.aux.xml").write_bytes(b"<PAMDataset/>")
    before = files(tmp_path)
    raster = open_raster(source)
    with pytest.raises(InputError, match="cannot be read"):
        write_blocks(raster, grid(1024, 512), encoding_of(raster), blocks_that_fail(), str(out))
    assert files(tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), RuntimeError])
def test_nothing_is_left_after_any_error(error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = described(tmp_path / "source.tif")
    before = files(tmp_path)

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(OutputError if isinstance(error, OSError) else error):
        copy_with_transform(open_raster(source), MOVED, str(tmp_path / "out.tif"))
    assert files(tmp_path) == before


def test_sidecars_of_a_replaced_file_do_not_survive(tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image())
    out = placed_by_sidecar(tmp_path / "out.tif")
    for suffix in SIDECARS[:-1]:
        Path(f"{out}{suffix}").write_bytes(b"stale")
    copy_with_transform(open_raster(source), MOVED, str(out))
    assert list(files(tmp_path)) == ["out.tif", "source.tif"]
    assert transform_of(out) == MOVED


def test_the_output_has_the_permissions_of_a_new_file(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_bytes(b"x", str(tmp_path / "out"))
    finally:
        os.umask(umask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_replacing_takes_a_path_relative_to_the_folder_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with replacing("out.tif") as temporary:
        assert Path(temporary).parent == tmp_path
        Path(temporary).write_bytes(b"new")
    assert files(tmp_path) == {"out.tif": b"new"}


def test_a_dangling_link_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "out.tif").symlink_to(tmp_path / "elsewhere.tif")
    with pytest.raises(OutputError, match="exists"):
        check_output(str(tmp_path / "out.tif"), (), overwrite=False)


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder"):
        check_output(str(tmp_path), (), overwrite=True)


# --- no room, no permission -----------------------------------------------------------------------------------------


def limited(size: int) -> Callable[[], None]:
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "georeg.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.fixture(scope="module")
def result(shift_alignment: georeg.Alignment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("result") / "result.json"
    path.write_text(shift_alignment.to_json())
    return path


@pytest.mark.parametrize("way", [(), ("--resample",)], ids=WAYS)
@pytest.mark.parametrize("size", [0, 1000, 100_000, 250_000])
def test_a_full_disk_is_one_sentence_and_no_file(size: int, way: tuple[str, ...], result: Path, tmp_path: Path) -> None:
    done = run("apply", "--quiet", result, "-o", tmp_path / "out.tif", *way, preexec_fn=limited(size))
    assert done.returncode == 1
    assert done.stdout == ""
    # libtiff says a word of its own to the terminal, past every handler
    ours = [line for line in done.stderr.splitlines() if not line.startswith("_tiff")]
    assert len(ours) == 1, done.stderr
    assert "disk" in ours[0]
    assert list(tmp_path.iterdir()) == []


def nobody() -> None:
    os.setgid(65534)
    os.setuid(65534)


@pytest.mark.skipif(os.name == "nt", reason="permissions of Windows differ")
def test_no_permission_is_one_sentence(result: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o755)
    if os.geteuid() == 0:
        for folder in (tmp_path, result.parent, *tmp_path.parents[:2], *result.parents[1:3]):
            folder.chmod(0o755)
        result.chmod(0o644)
        try:
            runs = run("assess", "--help", preexec_fn=nobody).returncode == 0
        except PermissionError:
            runs = False
        if not runs:
            pytest.skip("root may write everywhere, and no other user can run this interpreter")
    else:
        locked.chmod(0o555)
    done = run("apply", "--quiet", result, "-o", locked / "out.tif", preexec_fn=nobody if os.geteuid() == 0 else None)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "permission" in done.stderr
    assert list(locked.iterdir()) == []


def test_a_folder_that_takes_no_file_is_one_sentence(
    shift_alignment: georeg.Alignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(OutputError, match="cannot be written: permission denied"):
        georeg.apply(shift_alignment, tmp_path / "out.tif")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="no permission to write"):
        georeg.apply(shift_alignment, tmp_path / "out.tif")


def test_a_full_disk_is_noticed_by_python_too(
    shift_alignment: georeg.Alignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        georeg.apply(shift_alignment, tmp_path / "out.tif")
    assert list(tmp_path.iterdir()) == []


def test_the_raster_says_what_it_is(tmp_path: Path) -> None:
    raster: Raster = open_raster(complex_int16(tmp_path / "source.tif"))
    assert raster.dtypes == ("complex64",)


def test_a_converted_raster_stays_as_it_was_laid_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """GDAL writes it with its overviews first; moved in place, its header would break that."""
    source, out = tmp_path / "source.jp2", tmp_path / "out.tif"
    with rasterio.open(
        source, "w", driver="JP2OpenJPEG", dtype="uint16", count=1, height=700, width=900, crs=CRS, transform=ORIGIN,
        QUALITY="100", REVERSIBLE="YES",
    ) as dataset:  # fmt: skip
        dataset.write(image(1, "uint16", (700, 900)))
    raster = open_raster(source)
    copy_with_transform(raster, MOVED, str(out))
    assert not caplog.records
    with rasterio.open(out) as after, rasterio.open(source) as before:
        assert after.overviews(1) == before.overviews(1) != []
        assert after.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
        np.testing.assert_array_equal(after.read(), before.read())
        assert after.transform == MOVED
    assert [path.name for path in tmp_path.iterdir() if "aside" in path.name] == []
