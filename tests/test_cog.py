"""How pixels are stored: a COG is valid and says all that its source says, overviews are true to their pixels, and creation
options do what they say or are refused.
"""

from __future__ import annotations

import logging
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
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.env import get_gdal_config, set_gdal_config
from rasterio.rpc import RPC
from rasterio.windows import Window

from georeg.cog import copy_as_cog
from georeg.creation import Creation, compression
from georeg.encoding import encoding_of
from georeg.errors import GeoregError, InputError, OutputError
from georeg.geotiff import write_blocks, write_values
from georeg.overviews import bounded_cache
from georeg.raster import open_raster
from georeg.reader import CACHE_BYTES

CRS = "EPSG:32633"
ORIGIN = Affine(10, 0, 301000, 0, -10, 5772000)
MOVED = Affine(10, 0, 301037.25, 0, -10, 5771947.5)
SHAPE = (600, 700)
COLOURS = {0: (0, 0, 0, 255), 1: (200, 30, 30, 255), 2: (20, 160, 40, 255), 3: (10, 60, 200, 255)}


def image(count: int = 1, dtype: str = "uint16", shape: tuple[int, int] = SHAPE) -> NDArray[Any]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.stack([100 + 60 * np.sin(x / (7 + k)) * np.cos(y / 9) for k in range(count)]).astype(dtype)


def save(path: Path, data: NDArray[Any], **profile: Any) -> Path:
    shape = {"count": data.shape[0], "height": data.shape[1], "width": data.shape[2]}
    profile = {"driver": "GTiff", "dtype": data.dtype, "crs": CRS, "transform": ORIGIN} | profile
    with rasterio.open(path, "w", **shape, **profile) as dataset:
        dataset.write(data)
    return path


def written(source: Path, data: NDArray[Any], valid: NDArray[np.bool_] | None = None, **options: Any) -> Path:
    """The file that comes of one block of pixels for a source."""
    raster, out = open_raster(source), source.with_name("out.tif")
    encoding = encoding_of(raster)
    valid = np.ones(data.shape, bool) if valid is None else np.broadcast_to(valid, data.shape)
    pixels = encoding.encode(data, valid, range(1, len(data) + 1))
    window = Window(0, 0, data.shape[2], data.shape[1])
    grid = GeoBox(data.shape[1:], ORIGIN, CRS)
    write_blocks(raster, grid, encoding, [(window, pixels, valid)], str(out), **options)
    return out


def cog(*options: str) -> dict[str, Any]:
    return {"creation": Creation("COG", options)}


def assert_cog(path: Path) -> None:
    validate = pytest.importorskip("rio_cogeo").cog_validate
    valid, errors, complaints = validate(str(path), quiet=True)
    assert (valid, errors, complaints) == (True, [], [])


# --- COGs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", ["none", "nodata", "mask", "alpha"])
def test_a_cog_is_valid_and_alone(mask: str, tmp_path: Path) -> None:
    data = image(4 if mask == "alpha" else 2, "uint8")
    profile = {"nodata": {"nodata": 0}, "alpha": {"alpha": {"photometric": "RGB", "alpha": "YES"}}}.get(mask, {})
    source = save(tmp_path / "source.tif", data, **profile.get("alpha", profile))
    out = written(source, data, np.indices(SHAPE).sum(axis=0) > 300 if mask != "none" else None, **cog())
    assert_cog(out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.tif", "source.tif"]


@pytest.mark.parametrize(
    "options", [{}, {"compress": "jpeg", "photometric": "YCbCr", "tiled": True}], ids=["raw", "jpeg"]
)
def test_a_moved_cog_has_every_pixel_of_its_source(options: dict[str, Any], tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image(3, "uint8"), **options)
    out = tmp_path / "out.tif"
    copy_as_cog(open_raster(source), MOVED, str(out), tags={"METHOD": "test"})
    assert_cog(out)
    with rasterio.open(source) as a, rasterio.open(out) as b:
        np.testing.assert_array_equal(a.read(), b.read())
        assert (b.transform, b.crs, b.tags(ns="GEOREG")) == (MOVED, a.crs, {"METHOD": "test"})
        assert b.compression.name == "deflate"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.tif", "source.tif"]


def test_a_moved_cog_keeps_the_overviews_of_its_source(tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image())
    with rasterio.open(source, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    copy_as_cog(open_raster(source), MOVED, str(tmp_path / "out.tif"))
    with rasterio.open(source, OVERVIEW_LEVEL=0) as a, rasterio.open(tmp_path / "out.tif", OVERVIEW_LEVEL=0) as b:
        np.testing.assert_array_equal(a.read(), b.read())


WAYS: dict[str, Callable[[Path], Any]] = {
    "moved": lambda source: copy_as_cog(open_raster(source), MOVED, str(source.with_name("out.tif"))),
    "resampled": lambda source: written(source, image(), **cog()),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_of_a_cog_that_fails(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "source.tif", image())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rasterio.shutil, "copy", full)
    with pytest.raises(OutputError, match="disk is full"):
        WAYS[way](source)
    assert [p.name for p in tmp_path.iterdir()] == ["source.tif"]


# --- overviews ------------------------------------------------------------------------------------------------------


def test_overviews_are_means_of_valid_pixels(tmp_path: Path) -> None:
    data = np.full((1, *SHAPE), 117, "uint8")
    source = save(tmp_path / "source.tif", data, nodata=3)
    columns = np.arange(SHAPE[1]) % 3 > 0
    with rasterio.open(written(source, data, columns, **cog())) as out:
        assert out.overviews(1)[0] == 2
        small = out.read(1, out_shape=(SHAPE[0] // 2, SHAPE[1] // 2))
        assert set(np.unique(small)) == {117}


def test_overviews_are_means_of_what_the_mask_leaves(tmp_path: Path) -> None:
    data = np.full((1, *SHAPE), 117, "uint8")
    source = save(tmp_path / "source.tif", data)
    columns = np.arange(SHAPE[1]) % 3 > 0
    with rasterio.open(written(source, data, columns, **cog())) as out:
        assert out.overviews(1)
        assert set(np.unique(out.read(1, out_shape=(SHAPE[0] // 2, SHAPE[1] // 2)))) == {117}


@pytest.mark.parametrize("said_by", ["colours", "caller"])
def test_overviews_of_classes_hold_no_other_classes(said_by: str, tmp_path: Path) -> None:
    data = np.random.default_rng(1).choice(np.array([0, 3], "uint8"), (1, *SHAPE))
    source = save(tmp_path / "source.tif", data, **({"photometric": "palette"} if said_by == "colours" else {}))
    options: dict[str, Any] = {"classes": (1,)}
    if said_by == "colours":
        options = {}
        with rasterio.open(source, "r+") as dataset:
            dataset.write_colormap(1, COLOURS)
    with rasterio.open(written(source, data, **cog(), **options)) as out:
        assert out.overviews(1)
        assert set(np.unique(out.read(1, out_shape=(SHAPE[0] // 2, SHAPE[1] // 2)))) == {0, 3}


# --- creation options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", "2"), ("int32", "2"), ("float32", "3"), ("complex64", "1")])
@pytest.mark.parametrize("method", ["DEFLATE", "ZSTD", "LZW"])
def test_each_type_gets_its_predictor(method: str, dtype: str, predictor: str, tmp_path: Path) -> None:
    data = image(1, dtype)
    source = save(tmp_path / "source.tif", data)
    out = written(source, data, creation=Creation(options=(f"COMPRESS={method}",)))
    with rasterio.open(out) as dataset:
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        assert (structure["COMPRESSION"], structure.get("PREDICTOR", "1")) == (method, predictor)
        np.testing.assert_array_equal(dataset.read(), data)


def test_options_go_over_the_defaults(tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image())
    options = ("blockxsize=128", "BLOCKYSIZE=64", "PREDICTOR=1", "INTERLEAVE=BAND", "BIGTIFF=YES")
    out = written(source, image(), creation=Creation(options=options))
    assert out.read_bytes()[2] == 43
    with rasterio.open(out) as dataset:
        assert dataset.block_shapes == [(64, 128)]
        assert "PREDICTOR" not in dataset.tags(ns="IMAGE_STRUCTURE")
    with rasterio.open(written(source, image(), creation=Creation(options=("TILED=NO", "COMPRESS=NONE")))) as dataset:
        assert dataset.block_shapes[0][1] == SHAPE[1]
        assert dataset.compression is None
    with rasterio.open(written(source, image(), **cog("BLOCKSIZE=256", "COMPRESS=LZW"))) as dataset:
        assert (dataset.block_shapes, dataset.compression.name) == ([(256, 256)], "lzw")


@pytest.mark.parametrize(
    ("driver", "option"),
    [
        ("GTiff", "FOO=1"), ("GTiff", "COMPRESS=ABC"), ("GTiff", "COMPRESS=JPEG"), ("GTiff", "ZLEVEL=99"),
        ("GTiff", "PREDICTOR=3"),
        ("GTiff", "BLOCKXSIZE=100"), ("GTiff", "LEVEL=9"), ("GTiff", "COMPRESS"), ("GTiff", "TFW=YES"), ("GTiff", "=3"),
        ("COG", "FOO=1"), ("COG", "COMPRESS=ABC"), ("COG", "COMPRESS=JPEG"), ("COG", "TILED=YES"), ("COG", "LEVEL=99"),
        ("COG", "BLOCKSIZE=100"), ("COG", "TARGET_SRS=EPSG:3857"), ("COG", "OVERVIEW_RESAMPLING=ABC"),
    ],
)  # fmt: skip
def test_an_option_that_gdal_cannot_use_is_refused_by_name(driver: Any, option: str, tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image())
    with pytest.raises(GeoregError) as caught:
        written(source, image(), creation=Creation(driver, (option, "NUM_THREADS=1")))
    assert option in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["source.tif"]


def test_a_refusal_needs_no_log(tmp_path: Path) -> None:
    log = logging.getLogger("rasterio._env")
    log.setLevel(logging.CRITICAL)
    try:
        with pytest.raises(InputError, match="FOO"):
            Creation(options=("FOO=1",)).check("uint8", 1)
        assert log.level == logging.CRITICAL
        assert not log.filters
    finally:
        log.setLevel(logging.NOTSET)


def test_more_than_4_gib_is_a_bigtiff(tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image())
    raster, grid, out = open_raster(source), GeoBox((60_000, 40_000), ORIGIN, CRS), tmp_path / "out.tif"
    pixels, valid = image(1, shape=(512, 512)), np.ones((1, 512, 512), bool)
    corners = [(Window(0, 0, 512, 512), pixels, valid), (Window(39_424, 59_392, 512, 512), pixels, valid)]
    write_blocks(raster, grid, encoding_of(raster), corners, str(out), creation=Creation(options=("SPARSE_OK=TRUE",)))
    assert out.read_bytes()[2] == 43
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(window=Window(39_424, 59_392, 512, 512)), pixels)


def test_a_better_compression_costs_nothing_where_it_gains_nothing() -> None:
    assert compression("uint8")["ZLEVEL"] > compression("uint16")["ZLEVEL"]
    assert "ZLEVEL" not in compression("uint8", "ZSTD")


# --- the cache ------------------------------------------------------------------------------------------------------


def test_the_cache_of_gdal_is_bounded_while_values_are_written(tmp_path: Path) -> None:
    before = get_gdal_config("GDAL_CACHEMAX")
    seen = []

    def blocks() -> Iterator[tuple[Window, NDArray[np.float32]]]:
        seen.append(get_gdal_config("GDAL_CACHEMAX"))
        yield Window(0, 0, 64, 64), np.ones((1, 64, 64), "float32")

    write_values(GeoBox((64, 64), ORIGIN, CRS), {"sigma": "m"}, {}, blocks(), str(tmp_path / "out.tif"))
    assert seen == [CACHE_BYTES]
    assert get_gdal_config("GDAL_CACHEMAX") == before
    with bounded_cache():
        set_gdal_config("GDAL_CACHEMAX", CACHE_BYTES // 2)
        with bounded_cache():
            assert get_gdal_config("GDAL_CACHEMAX") == CACHE_BYTES // 2  # a lower bound stays
    assert get_gdal_config("GDAL_CACHEMAX") == before


# --- what cannot be kept is said ------------------------------------------------------------------------------------


def test_what_would_be_missed_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = image(1, "uint8")
    source = save(tmp_path / "source.tif", data)
    rpc = RPC(0.0, 1.0, 0.0, 1.0, [1.0] * 20, [1.0] * 20, 0.0, 1.0, 0.0, 1.0, [1.0] * 20, [1.0] * 20, 1.0, 1.0)
    with rasterio.open(source, "r+") as dataset:
        dataset.rpcs = rpc
        dataset.update_tags(ns="GEOLOCATION", X_DATASET="lon.tif")
    with rasterio.open(source) as dataset:
        assert dataset.rpcs is not None
    with caplog.at_level(logging.WARNING, logger="georeg"):
        out = written(source, data)
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "RPCs of source.tif were dropped" in told
    assert "geolocation arrays of source.tif were dropped" in told
    with rasterio.open(out) as dataset:
        assert dataset.rpcs is None
        assert not {"RPC", "GEOLOCATION"} & set(dataset.tag_namespaces())


def test_gcps_are_replaced_and_that_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    points = [GroundControlPoint(r, c, *(ORIGIN @ (c, r))) for r, c in ((0, 0), (0, 500), (500, 0), (500, 500))]
    source = save(tmp_path / "source.tif", image(), gcps=points, transform=None)
    raster = open_raster(source, initial="gcps", reference=open_raster(save(tmp_path / "reference.tif", image())))
    encoding, grid = encoding_of(raster), GeoBox((64, 64), ORIGIN, CRS)
    block = (Window(0, 0, 64, 64), image(1, shape=(64, 64)), np.ones((1, 64, 64), bool))
    with caplog.at_level(logging.WARNING, logger="georeg"):
        write_blocks(raster, grid, encoding, [block], str(tmp_path / "out.tif"))
    assert "the 4 GCPs of source.tif were replaced" in caplog.text
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert (dataset.gcps[0], dataset.transform) == ([], ORIGIN)


def test_a_source_that_says_nothing_odd_is_written_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        written(save(tmp_path / "source.tif", image()), image(), **cog())
    assert not caplog.records


def test_statistics_and_histograms_are_dropped(tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image())
    Path(f"{source}.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Histograms><HistItem><HistMin>0</HistMin><HistMax>1</HistMax><BucketCount>2'
        "</BucketCount><IncludeOutOfRange>0</IncludeOutOfRange><Approximate>0</Approximate><HistCounts>1|2</HistCounts>"
        '</HistItem></Histograms><CategoryNames><Category>a</Category></CategoryNames><Metadata><MDI key="STATISTICS_MEAN">1'
        '</MDI><MDI key="NOTE">kept</MDI></Metadata></PAMRasterBand></PAMDataset>'
    )
    out = written(source, image())
    with rasterio.open(out) as dataset:
        assert dataset.tags(1) == {"NOTE": "kept"}
    sidecar = Path(f"{out}.aux.xml").read_text()
    assert "<Category>a</Category>" in sidecar
    assert "Hist" not in sidecar


def test_bands_with_masks_of_their_own_are_refused(tmp_path: Path) -> None:
    data = image(2, "uint8")
    save(tmp_path / "source.tif", data)
    rasterio.shutil.copy(tmp_path / "source.tif", tmp_path / "source.vrt", driver="VRT")
    text = (tmp_path / "source.vrt").read_text()
    mask = (
        "<MaskBand><VRTRasterBand dataType='Byte'><SimpleSource><SourceFilename relativeToVRT='1'>source.tif</SourceFilename>"
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand></VRTRasterBand>"
    )
    (tmp_path / "source.vrt").write_text(text.replace("</VRTRasterBand>", mask, 1))
    with pytest.raises(OutputError, match="masks of their own"):
        written(tmp_path / "source.vrt", data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source.tif", "source.vrt"]


# --- values that GDAL takes for nodata --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_valid_pixels_a_few_last_bits_from_nodata_stay_valid(dtype: str, tmp_path: Path) -> None:
    nodata = 100.0
    source = save(tmp_path / "source.tif", image(1, dtype, (16, 16)), nodata=nodata)
    data = (nodata * (1 + 1e-8 * np.arange(-128, 128))).reshape(1, 16, 16).astype(dtype)
    if dtype == "complex64":
        data = data + np.complex64(5j)
    with rasterio.open(written(source, data)) as out:
        assert (out.read_masks() > 0).all()
        np.testing.assert_allclose(out.read().real, data.real, rtol=2e-5)
        np.testing.assert_array_equal(out.read().imag, data.imag)
    with rasterio.open(save(tmp_path / "plain.tif", data, nodata=nodata)) as plain:
        assert not (plain.read_masks() > 0).all()  # GDAL would have lost some


def test_an_alpha_band_that_gdal_does_not_heed_gets_a_mask(tmp_path: Path) -> None:
    data = image(4)
    source = save(tmp_path / "source.tif", data, alpha="YES")
    with rasterio.open(source) as dataset:
        assert dataset.colorinterp[1] == ColorInterp.alpha
    valid = np.indices(SHAPE)[0] > 300
    with rasterio.open(written(source, data, valid)) as out:
        np.testing.assert_array_equal(out.read_masks(1) > 0, valid)
