"""A header is replaced and nothing else: what GDAL reads, and the bytes, are held against the source."""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from test_geotiff import (
    CRS,
    INTERNAL_MASK,
    MOVED,
    ORIGIN,
    VARIANTS,
    contents,
    files,
    image,
    save,
    transform_of,
    ungeoreferenced,
    with_overviews,
)

from georeg.copies import copy_with_gcps, copy_with_transform
from georeg.errors import InputError, OutputError
from georeg.geotiff import opened
from georeg.header import MOST_GCPS
from georeg.raster import open_raster
from georeg.tiff import Tiff, read_numbers, read_tiff, read_values, truncated_block

PLACE_AND_METADATA = {33550, 33922, 34264, 34735, 34736, 34737, 42112, 50844}
OFFSETS = {273, 324}
COGS: dict[str, dict[str, Any]] = {
    "deflate": {"compress": "deflate"},
    "jpeg": {"compress": "jpeg"},
    "BigTIFF": {"compress": "lzw", "BIGTIFF": "YES"},
    "no ghost": {},
}
RPCS = {
    "HEIGHT_OFF": "100", "HEIGHT_SCALE": "500", "LAT_OFF": "52", "LAT_SCALE": "0.1", "LONG_OFF": "12", "LONG_SCALE": "0.1",
    "LINE_OFF": "75", "LINE_SCALE": "75", "SAMP_OFF": "70", "SAMP_SCALE": "70", "ERR_BIAS": "1", "ERR_RAND": "1",
    "LINE_NUM_COEFF": " ".join(["1"] * 20), "LINE_DEN_COEFF": " ".join(["1"] * 20),
    "SAMP_NUM_COEFF": " ".join(["1"] * 20), "SAMP_DEN_COEFF": " ".join(["1"] * 20),
}  # fmt: skip


def parsed(path: Path) -> tuple[io.BytesIO, Tiff]:
    file = io.BytesIO(path.read_bytes())
    return file, read_tiff(file, path.name)


def values(path: Path) -> list[dict[int, tuple[int, bytes]]]:
    """Of each directory: number of values and values of each tag."""
    file, tiff = parsed(path)
    return [{tag: (e.count, read_values(file, tiff, e)) for tag, e in d.entries.items()} for d in tiff.directories]


def blocks(path: Path) -> list[list[bytes]]:
    """Of each directory: the bytes of each block, and the 4 on either side where there are any."""
    file, tiff = parsed(path)
    content, found = file.getvalue(), []
    for directory in tiff.directories:
        tags = directory.entries
        offsets = read_numbers(file, tiff, tags.get(324, tags.get(273)))
        lengths = read_numbers(file, tiff, tags.get(325, tags.get(279)))
        found.append([content[o : o + n] for o, n in zip(offsets.tolist(), lengths.tolist(), strict=True)])
    return found


def cog(path: Path, name: str) -> Path:
    """A COG of three levels with a mask, or one of which nothing but the order says so."""
    data = image(3, "uint8", (700, 600))
    save(path.with_name("plain.tif"), data)
    with rasterio.Env(**INTERNAL_MASK), rasterio.open(path.with_name("plain.tif"), "r+") as dataset:
        dataset.write_mask((np.indices((700, 600)).sum(axis=0) > 300).astype("uint8") * 255)
    with rasterio.Env(**INTERNAL_MASK):
        rasterio.shutil.copy(path.with_name("plain.tif"), path, driver="COG", blocksize=128, **COGS[name])
    path.with_name("plain.tif").unlink()
    if name == "no ghost":
        content = path.read_bytes()
        end = content.index(b"KNOWN_INCOMPATIBLE_EDITION=NO") + 31
        path.write_bytes(content[:8] + bytes(end - 8) + content[end:])
    return path


def moved(source: Path, **options: Any) -> Path:
    out = source.with_name("moved.tif")
    copy_with_transform(open_raster(source), MOVED, str(out), **options)
    return out


# --- nothing else changes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_every_block_and_every_other_tag_stays_byte_for_byte(name: str, tmp_path: Path) -> None:
    source = VARIANTS[name](tmp_path / "source.tif")
    out = moved(source, tags={"RMSE": "0.3"})
    assert blocks(out) == blocks(source)
    for number, (before, after) in enumerate(zip(values(source), values(out), strict=True)):
        may_change = OFFSETS | (PLACE_AND_METADATA if number == 0 else set())
        assert {t: v for t, v in after.items() if t not in may_change} == {
            t: v for t, v in before.items() if t not in may_change
        }


@pytest.mark.parametrize("name", COGS)
@pytest.mark.parametrize("text", ["", "long " * 2000])
def test_a_cog_stays_one(name: str, text: str, tmp_path: Path) -> None:
    source = cog(tmp_path / "source.tif", name)
    out = moved(source, tags={"TEXT": text} if text else {})
    with rasterio.open(source) as before, rasterio.open(out) as after:
        assert after.tags(ns="IMAGE_STRUCTURE") == before.tags(ns="IMAGE_STRUCTURE")
        assert after.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == (None if name == "no ghost" else "COG")
        assert after.transform == MOVED
        np.testing.assert_array_equal(after.read(), before.read())
    file, tiff = parsed(out)
    assert all(a.offset < b.offset for a, b in pairwise(tiff.directories))
    offsets = [read_numbers(file, tiff, d.entries[324]) for d in tiff.directories]
    assert tiff.directories[-1].offset < min(int(o[o > 0].min()) for o in offsets)
    assert tiff.directories[0].offset < 300
    first = min(int(o.min()) for o in offsets)
    shift = first - min(int(read_numbers(*parsed(source), d.entries[324]).min()) for d in parsed(source)[1].directories)
    old, new = source.read_bytes(), out.read_bytes()
    assert new[first - 4 :] == old[first - 4 - shift :]  # with what GDAL keeps before and after each block


def test_pixels_are_not_moved_under_a_tag_that_may_point_at_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = cog(tmp_path / "source.tif", "deflate")
    content, first = bytearray(source.read_bytes()), parsed(source)[1].directories[0]
    row = first.offset + 2 + 12 * list(first.entries).index(339)
    struct.pack_into("<H", content, row, 345)  # of no use to GDAL
    source.write_bytes(content)
    out = moved(source)
    assert out.read_bytes()[400 : len(content)] == content[400:]
    with rasterio.open(out) as dataset:
        assert dataset.transform == MOVED
        assert dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") is None
    assert "not a cloud optimised one" in caplog.text


@pytest.mark.parametrize("name", COGS)
def test_the_validator_of_rio_cogeo_agrees(name: str, tmp_path: Path) -> None:
    rio_cogeo = pytest.importorskip("rio_cogeo", reason="pip install rio-cogeo")
    source = cog(tmp_path / "source.tif", name)
    out = moved(source, tags={"TEXT": "long " * 2000})
    assert rio_cogeo.cog_validate(source, strict=True, quiet=True) == (True, [], [])
    assert rio_cogeo.cog_validate(out, strict=True, quiet=True) == (True, [], [])


def test_metadata_hold_the_new_tags_and_lose_those_of_an_earlier_correction(tmp_path: Path) -> None:
    source = VARIANTS["described"](tmp_path / "source.tif")
    text = {"SUMMARY": "0.3 m < 1 px & proven", "ÜBER": "zwölf"}
    once = moved(source, tags={"OLD": "x"})
    again = tmp_path / "again.tif"
    copy_with_transform(open_raster(once), ORIGIN, str(again), tags=text)
    with rasterio.open(source) as before, rasterio.open(again) as after:
        assert after.tags(ns="GEOREG") == text
        assert after.tags() == before.tags()
        assert after.tags(ns="IMAGERY") == before.tags(ns="IMAGERY")
        assert after.tags(2) == before.tags(2)


def test_heights_keep_their_scale(tmp_path: Path) -> None:
    source = save(tmp_path / "source.tif", image(1, "int16"), crs="EPSG:32633+5773")
    with rasterio.open(source, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.25,), (-10.0,)
        dataset.transform = ORIGIN
    assert contents(moved(source)) == contents(source)


@pytest.mark.parametrize("name", ["described", "cog", "posts", "placed by sidecar", "bigtiff", "big-endian"])
def test_a_file_that_was_placed_gets_the_crs_it_was_placed_in(name: str, tmp_path: Path) -> None:
    source = VARIANTS[name](tmp_path / "source.tif")
    reference = open_raster(save(tmp_path / "reference.tif", image(), crs="EPSG:25833"))
    out = tmp_path / "moved.tif"
    copy_with_transform(open_raster(source, initial="none", reference=reference), MOVED, str(out))
    with rasterio.open(source) as before, rasterio.open(out) as after:
        assert (after.crs, after.transform) == (rasterio.crs.CRS.from_epsg(25833), MOVED)
        assert after.tags() == {"AREA_OR_POINT": "Area"} | before.tags()


# --- what a geotransform replaces -------------------------------------------------------------------------------------


def with_gcps(path: Path, count: int = 5) -> Path:
    ungeoreferenced(path)
    points = [GroundControlPoint(row=7 * k, col=3 * k * k, x=3e5 + 30 * k * k, y=5e6 - 70 * k) for k in range(count)]
    with opened(str(path), "r+") as dataset:
        dataset.gcps = (points, rasterio.crs.CRS.from_string(CRS))
    return path


def test_rpcs_are_dropped_and_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("tag.tif", "sidecar.tif"):
        source = save(tmp_path / name, image())
        if name == "tag.tif":
            with rasterio.open(source, "r+") as dataset:
                dataset.update_tags(ns="RPC", **RPCS)
        else:
            items = "".join(f'<MDI key="{k}">{v}</MDI>' for k, v in RPCS.items())
            aux = f'<PAMDataset><Metadata domain="RPC">{items}</Metadata></PAMDataset>'
            Path(f"{source}.aux.xml").write_text(aux)
        with rasterio.open(source) as dataset:
            assert dataset.rpcs is not None
        with rasterio.open(moved(source)) as dataset:
            assert dataset.rpcs is None
        assert f"the RPCs of {name} were dropped" in caplog.text
        caplog.clear()


def test_gcps_are_replaced_and_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = with_gcps(tmp_path / "source.tif")
    reference = open_raster(save(tmp_path / "reference.tif", image()))
    out = tmp_path / "moved.tif"
    copy_with_transform(open_raster(source, reference=reference), MOVED, str(out))
    with rasterio.open(out) as dataset:
        assert (dataset.gcps[0], dataset.transform, dataset.crs) == ([], MOVED, rasterio.crs.CRS.from_string(CRS))
    assert "the 5 GCPs of source.tif were replaced by a geotransform" in caplog.text


def test_nothing_is_said_where_nothing_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "georeg"):
        moved(save(tmp_path / "source.tif", image()))
    assert caplog.records == []


# --- GCPs instead -----------------------------------------------------------------------------------------------------


def some_gcps(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    px = rng.uniform(0, 140, (count, 2))
    return px, np.column_stack([301000 + 10 * px[:, 0], 5772000 - 10 * px[:, 1]]) + rng.normal(0, 20, (count, 2))


@pytest.mark.parametrize("count", [1, 40, MOST_GCPS, MOST_GCPS + 1])
@pytest.mark.parametrize("name", ["described", "cog", "posts", "big-endian", "overruled by sidecar", "bigtiff"])
def test_gcps_are_where_they_should_be(name: str, count: int, tmp_path: Path) -> None:
    source = VARIANTS[name](tmp_path / "source.tif")
    px, xy = some_gcps(count)
    wkt = rasterio.crs.CRS.from_epsg(25833).to_wkt()
    out = tmp_path / "out.tif"
    copy_with_gcps(open_raster(source), px, xy, wkt, str(out), tags={"A": "b"})
    with rasterio.open(out) as dataset:
        points, crs = dataset.gcps
        np.testing.assert_allclose([(p.col, p.row) for p in points], px, rtol=0, atol=1e-9)
        np.testing.assert_array_equal([(p.x, p.y) for p in points], xy)
        assert crs.to_epsg() == 25833
        assert dataset.transform.is_identity
        assert dataset.tags(ns="GEOREG") == {"A": "b"}
    assert blocks(out) == blocks(source)
    if name != "overruled by sidecar":
        assert os.path.exists(f"{out}.aux.xml") == (count > MOST_GCPS)
    back = tmp_path / "back.tif"
    copy_with_transform(open_raster(out, initial="none", reference=open_raster(source)), ORIGIN, str(back))
    assert contents(back)["pixels"] == contents(source)["pixels"]
    assert transform_of(back) == ORIGIN
    with rasterio.open(back) as dataset:
        assert dataset.gcps[0] == []


def test_another_format_and_no_crs_take_gcps_too(tmp_path: Path) -> None:
    source = tmp_path / "source.png"
    with opened(str(ungeoreferenced(tmp_path / "plain.tif"))) as dataset:
        rasterio.shutil.copy(dataset, source, driver="PNG")
    px, xy = some_gcps(9)
    copy_with_gcps(open_raster(source, initial="none"), px, xy, None, str(tmp_path / "out.tif"))
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert [(p.col, p.row, p.x, p.y) for p in dataset.gcps[0]] == [
            tuple(row) for row in np.hstack([px, xy]).tolist()
        ]
        assert not dataset.crs


# --- whole or not -----------------------------------------------------------------------------------------------------


def first_missing_by_gdal(path: Path) -> str | None:
    """Asked of GDAL block by block, of the main image alone."""
    with rasterio.open(path) as dataset:
        for band, (height, width) in zip(dataset.indexes, dataset.block_shapes, strict=True):
            for y in range(-(-dataset.height // height)):
                for x in range(-(-dataset.width // width)):
                    place = dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band)
                    length = dataset.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=band)
                    if place and int(place) + int(length) > path.stat().st_size:
                        return f"block row {y}, column {x} of band {band}"
    return None


@pytest.mark.parametrize(
    "options",
    [{}, {"interleave": "band"}, {"tiled": True, "blockxsize": 32, "blockysize": 64, "interleave": "band"}],
    ids=["strips", "strips of bands", "tiles of bands"],
)
@pytest.mark.parametrize("kept", [0.2, 0.55, 0.9, 1.0])
def test_the_first_missing_block_is_the_one_that_gdal_would_miss(
    options: dict[str, Any], kept: float, tmp_path: Path
) -> None:
    source = save(tmp_path / "source.tif", image(3), **options)
    os.truncate(source, int(source.stat().st_size * kept))
    assert truncated_block(str(source)) == first_missing_by_gdal(source)
    assert (truncated_block(str(source)) is None) == (kept == 1.0)


def test_a_missing_block_of_an_overview_is_noticed(tmp_path: Path) -> None:
    source = with_overviews(save(tmp_path / "source.tif", image(shape=(300, 300))))
    file, tiff = parsed(source)
    last = max(int(read_numbers(file, tiff, d.entries.get(324, d.entries.get(273))).max()) for d in tiff.directories)
    os.truncate(source, max(last, *(d.offset + 400 for d in tiff.directories)) + 2)
    assert first_missing_by_gdal(source) is None
    with pytest.raises(InputError, match=r"of directory \d \(an overview or mask\) lies beyond its end"):
        moved(source)


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_whole_is_called_whole(name: str, tmp_path: Path) -> None:
    assert truncated_block(str(VARIANTS[name](tmp_path / "source.tif"))) is None


@pytest.mark.parametrize("big", [False, True])
def test_a_chain_that_turns_back_is_refused(big: bool, tmp_path: Path) -> None:
    source = with_overviews(save(tmp_path / "source.tif", image(), BIGTIFF="YES" if big else "NO"))
    _, tiff = parsed(source)
    last, content = tiff.directories[-1], bytearray(source.read_bytes())
    struct.pack_into(
        tiff.pointer, content, last.offset + tiff.directory_size(len(last.entries)) - tiff.width, 8 + 8 * big
    )
    struct.pack_into(tiff.pointer, content, last.offset + tiff.directory_size(len(last.entries)) - tiff.width,
                     tiff.directories[0].offset)  # fmt: skip
    with pytest.raises(InputError, match="is one that came before"):
        read_tiff(io.BytesIO(bytes(content)), "x.tif")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin like a TIFF"),
        (b"II*\0", "does not begin like a TIFF"),
        (b"II+\0\x08\0\0\0", "does not begin like a TIFF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "does not begin like a TIFF"),
        (b"II*\0\0\0\0\0" + bytes(20), "lies beyond its end"),
        (b"MM\0*\0\0\xff\xff" + bytes(20), "lies beyond its end"),
        (b"II*\0\x08\0\0\0" + b"\xff\xff" + bytes(50), "has 65535 entries"),
        (b"II*\0\x08\0\0\0" + b"\x05\x00" + bytes(20), "lies beyond its end"),
        (b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(50), "entries"),
    ],
)
def test_a_damaged_header_is_refused_in_a_sentence(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_tiff(io.BytesIO(content), "x.tif")


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_anywhere_in_the_header_is_an_answer_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "source.tif"
    content = bytearray(VARIANTS["cog"](path).read_bytes())
    for position, value in changes:
        content[position] = value
    path.write_bytes(content)
    try:
        said = truncated_block(str(path)) or "damaged nowhere"
    except InputError as exc:
        said = str(exc)
    assert re.search(r"damaged|begin like a TIFF|^block row ", said)


# --- large files ------------------------------------------------------------------------------------------------------


def extended(path: Path, size: int, **profile: Any) -> Path:
    """A GeoTIFF of so many bytes, most of them a hole."""
    save(path, image(), **profile)
    os.truncate(path, size)
    return path


@pytest.mark.parametrize("layout", ["directory last", "directory first"])
def test_a_classic_tiff_does_not_pass_4_gib(layout: str, tmp_path: Path) -> None:
    source = tmp_path / "source.tif"
    save(source, image())
    if layout == "directory last":
        with rasterio.open(source, "r+") as dataset:
            dataset.update_tags(NOTE="long " * 2000)
    os.truncate(source, 2**32 - 100)
    with pytest.raises(OutputError, match=r"would pass the 4 GiB of a classic TIFF .* BIGTIFF=YES"):
        moved(source, tags={"TEXT": "long " * 2000})
    assert list(files_named(tmp_path)) == ["source.tif"]


def files_named(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_copy_takes_little_more_than_its_bytes(tmp_path: Path) -> None:
    source = extended(tmp_path / "source.tif", 200 * 2**20, BIGTIFF="YES")
    start = time.perf_counter()
    out = moved(source)
    assert time.perf_counter() - start < 5
    assert out.stat().st_size >= source.stat().st_size
    assert transform_of(out) == MOVED


def test_many_blocks_are_looked_at_at_once(tmp_path: Path) -> None:
    source = tmp_path / "source.tif"
    with rasterio.open(source, "w", driver="GTiff", dtype="uint8", count=1, width=16 * 800, height=16 * 500, tiled=True,
                       blockxsize=16, blockysize=16, SPARSE_OK="TRUE", crs=CRS, transform=ORIGIN):  # fmt: skip
        pass
    start = time.perf_counter()
    assert truncated_block(str(source)) is None
    assert time.perf_counter() - start < 1
    assert files(tmp_path) == files(tmp_path)
