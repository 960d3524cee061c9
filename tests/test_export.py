"""Tie points and corrections for other programs: whole, with all there is to know, or refused in a sentence."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import known
import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.enums import ColorInterp
from scipy.interpolate import RegularGridInterpolator

import georeg
from georeg.cli import main
from georeg.corrections import proj_pipeline
from georeg.errors import InputError, OutputError
from georeg.export import WRITERS
from georeg.initial import PIXELS
from georeg.interchange import fit_to_dict, points_to_dict
from georeg.models import from_dict, from_transform
from georeg.table import csv_text, read_csv
from georeg.tie_points import Status

MODELLED = (".vrt", ".json", ".proj", ".tif")


@pytest.fixture
def target(tmp_path: Path) -> str:
    return known.ramps(tmp_path / "target.tif")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# --- every format ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", WRITERS)
def test_an_export_has_its_name_alone_and_replaces_nothing_unasked(suffix: str, target: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix.upper()}"
    fitted = known.fitted(target)
    assert georeg.export(fitted, path)
    assert names(tmp_path) == [path.name, "target.tif"]
    with pytest.raises(OutputError, match="--overwrite"):
        georeg.export(fitted, path)
    first = path.read_bytes()
    georeg.export(fitted, path, overwrite=True)
    assert suffix == ".gpkg" or path.read_bytes() == first  # a GeoPackage holds the time of its making


@pytest.mark.parametrize("suffix", WRITERS)
def test_tie_points_alone_have_no_correction(suffix: str, target: str, tmp_path: Path) -> None:
    points = known.tie_points(target)
    if suffix in MODELLED:
        with pytest.raises(InputError, match="run georeg fit"):
            georeg.export(points, tmp_path / f"out{suffix}")
        assert names(tmp_path) == ["target.tif"]
    else:
        georeg.export(points, tmp_path / f"out{suffix}")


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_needs_the_target_says_so_where_it_is_gone(suffix: str, target: str, tmp_path: Path) -> None:
    fitted = known.fitted(target)
    os.remove(target)
    if suffix in (".points", ".vrt", ".tif"):
        with pytest.raises(InputError, match="needs the target's pixels"):
            georeg.export(fitted, tmp_path / f"out{suffix}")
        assert names(tmp_path) == []
    else:
        georeg.export(fitted, tmp_path / f"out{suffix}")


@pytest.mark.parametrize("name", ["out", "out.shp", "out.json.gz", ".csv"])
def test_an_unknown_suffix_is_refused(name: str, target: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.gpkg"):
        georeg.export(known.fitted(target), tmp_path / name)


def test_an_export_does_not_replace_the_target(target: str) -> None:
    with pytest.raises(OutputError, match="would replace"):
        georeg.export(known.fitted(target), target, overwrite=True)


# --- tie points -----------------------------------------------------------------------------------------------------


def layer(path: Path, name: str) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """Metadata, geometries and columns of a layer."""
    meta, _, geometry, columns = pyogrio.raw.read(path, layer=name)
    return meta, shapely.from_wkb(geometry), dict(zip(meta["fields"], columns, strict=True))


def test_a_geopackage_holds_every_tie_point_where_the_reference_has_it(target: str, tmp_path: Path) -> None:
    fitted = known.fitted(target)
    georeg.export(fitted, tmp_path / "out.gpkg")
    meta, places, held = layer(tmp_path / "out.gpkg", "tie_points")
    points = fitted.points
    assert CRS.from_user_input(meta["crs"]) == known.UTM
    assert np.array_equal(shapely.get_coordinates(places), points.ref_xy)
    assert np.array_equal(np.stack([held["dx"], held["dy"]], axis=1), points.ref_xy - points.tgt_xy)
    assert np.array_equal(held["status"], [Status(s).name.lower() for s in points.status])
    assert {r: int((held["role"] == r).sum()) for r in ("outlier", "rejected")} == {"outlier": 2, "rejected": 9}
    assert np.allclose(held["sigma_y"] ** 2, points.cov[:, 1, 1])
    outlier = held["role"] == "outlier"
    residual = np.stack([held["residual_x"], held["residual_y"]], axis=1)
    assert np.allclose(residual[outlier], [30, -20], atol=1e-6)
    assert np.abs(residual[~outlier]).max() < 1e-6


def test_arrows_are_as_many_times_as_long_as_they_say(target: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    noisy = known.affine_truth(known.at(known.NORTH_UP, known.spread_px(60))) + rng.normal(0, 0.3, (60, 2))
    fitted = known.fitted(target, ref_xy=noisy)
    georeg.export(fitted, tmp_path / "out.gpkg")
    _, arrows, held = layer(tmp_path / "out.gpkg", "residual_arrows")
    ends = shapely.get_coordinates(arrows).reshape(-1, 2, 2)
    kept = fitted.points.kept
    assert np.array_equal(ends[:, 0], fitted.points.ref_xy[kept])
    drawn = (ends[:, 1] - ends[:, 0]) / held["exaggeration"][:, None]
    assert np.allclose(drawn, fitted.residual()[kept], atol=1e-6)
    assert np.allclose(np.hypot(*drawn.T), held["residual"])
    extent = np.hypot(*np.ptp(fitted.points.ref_xy, axis=0))
    lengths = np.hypot(*(ends[:, 1] - ends[:, 0]).T) / extent
    assert 0.01 < np.median(lengths) < 0.06
    assert lengths.max() < 0.13


def test_a_perfect_fit_has_arrows_too(target: str, tmp_path: Path) -> None:
    points = known.tie_points(target, lambda xy: xy)
    same = georeg.fit_by_hand(points)
    georeg.export(same, tmp_path / "out.gpkg")
    assert len(layer(tmp_path / "out.gpkg", "residual_arrows")[1]) == points.kept.sum()


def test_points_alone_have_no_arrows_and_no_residuals(target: str, tmp_path: Path) -> None:
    georeg.export(known.tie_points(target), tmp_path / "out.gpkg")
    assert set(pyogrio.list_layers(tmp_path / "out.gpkg")[:, 0]) == {"tie_points", "layer_styles"}
    _, _, held = layer(tmp_path / "out.gpkg", "tie_points")
    assert set(held["role"]) == {"kept", "rejected"}
    assert np.isnan(held["residual_x"]).all()


def test_no_tie_points_make_an_empty_table(target: str, tmp_path: Path) -> None:
    points = known.tie_points(target)
    none = points.subset(np.zeros(len(points), bool))
    for suffix in (".gpkg", ".geojson", ".csv", ".points"):
        georeg.export(none, tmp_path / f"out{suffix}")
    assert read_csv((tmp_path / "out.csv").read_text()) == none


def test_geojson_is_in_longitude_and_latitude(target: str, tmp_path: Path) -> None:
    fitted = known.fitted(target)
    georeg.export(fitted, tmp_path / "out.geojson")
    text = (tmp_path / "out.geojson").read_text()
    assert "NaN" not in text
    made = json.loads(text)
    places = np.array([f["geometry"]["coordinates"] for f in made["features"]])
    expected = Transformer.from_crs(32633, 4326, always_xy=True).transform(*fitted.points.ref_xy.T)
    assert np.abs(places - np.stack(expected, axis=1)).max() < 2e-9
    assert made["features"][0]["properties"]["role"] == "rejected"
    assert len(pyogrio.raw.read(tmp_path / "out.geojson")[2]) == len(fitted.points)


def test_plain_pictures_have_no_longitude(target: str, tmp_path: Path) -> None:
    points = known.tie_points(target, crs=PIXELS.to_wkt())
    with pytest.raises(InputError, match="longitude"):
        georeg.export(points, tmp_path / "out.geojson")
    georeg.export(points, tmp_path / "out.gpkg")
    assert names(tmp_path) == ["out.gpkg", "target.tif"]


@pytest.mark.parametrize("how", ["points", "fit"])
def test_a_csv_gives_the_tie_points_back_to_the_last_bit(how: str, target: str, tmp_path: Path) -> None:
    fitted = known.fitted(target)
    georeg.export(fitted if how == "fit" else fitted.points, tmp_path / "out.csv")
    assert georeg.read_points(tmp_path / "out.csv") == fitted.points


@given(st.lists(st.floats(-1e300, 1e300), min_size=8, max_size=8))
def test_any_number_survives_a_csv(values: list[float]) -> None:
    ref_xy, tgt_xy = np.reshape(values, (2, 2, 2))
    points = known.tie_points("t.tif", n=2, ref_xy=ref_xy, tgt_xy=tgt_xy)
    assert read_csv(csv_text(points)) == points


def test_a_csv_survives_a_spreadsheet_and_a_person(target: str) -> None:
    """Cells quoted, rows filled up to one length, rows deleted and a status changed."""
    points = known.tie_points(target)
    lines = list(csv.reader(io.StringIO(csv_text(points))))
    width = max(map(len, lines))
    text = io.StringIO()
    rows = [row + [""] * (width - len(row)) for row in lines]
    del rows[5:9]
    rows[2][1] = "masked"
    csv.writer(text).writerows(rows)
    back = read_csv(text.getvalue())
    left = np.delete(np.arange(len(points)), np.arange(3, 7))
    assert np.array_equal(back.ref_xy, points.ref_xy[left])
    assert back.status[0] == Status.MASKED
    assert (back.crs, back.inputs) == (points.crs, points.inputs)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("tgt_x", "tgt"),
        lambda text: text.replace("kept", "perhaps"),
        lambda text: text.replace('"gsd"', '"size"'),
        lambda text: text.replace("0.", "zero.", 5),
        lambda text: "id,status\n1,kept\n",
        lambda text: "#georeg {\n" + text,
    ],
    ids=["column", "status", "heading", "number", "foreign", "half"],
)
def test_a_damaged_csv_is_refused(damage: Any, target: str, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text(damage(csv_text(known.tie_points(target))))
    with pytest.raises(InputError):
        georeg.read_points(tmp_path / "out.csv")


# --- corrections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", known.TRUTHS)
def test_the_json_of_a_correction_is_its_model_and_crs(kind: str, target: str, tmp_path: Path) -> None:
    fitted = known.fitted(target, kind)
    georeg.export(fitted, tmp_path / "out.json")
    made = json.loads((tmp_path / "out.json").read_text())
    assert from_dict(made["model"]) == fitted.model
    assert CRS.from_wkt(made["crs"]) == known.UTM


def test_what_is_not_affine_is_no_pipeline(target: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ending in \.tif"):
        georeg.export(known.fitted(target, "polynomial2"), tmp_path / "out.proj")
    assert names(tmp_path) == ["target.tif"]


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.floats(-1e5, 1e5))
def test_a_pipeline_moves_like_its_model(linear: list[float], offset: float) -> None:
    a, b, d, e = linear
    transform = rasterio.Affine(a, b, offset, d, e, -offset)
    xy = known.at(known.NORTH_UP, known.spread_px(5))
    text = proj_pipeline(from_transform(transform, known.CENTRE, 1000.0))
    moved = Transformer.from_pipeline(text).transform(*xy.T)
    assert np.abs(np.stack(moved, axis=1) - known.at(transform, xy)).max() < 1e-3


@pytest.mark.parametrize("kind", known.TRUTHS)
def test_a_grid_of_displacements_is_right_between_its_nodes(kind: str, target: str, tmp_path: Path) -> None:
    georeg.export(known.fitted(target, kind), tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        values, transform = dataset.read(), dataset.transform
        assert dataset.descriptions == ("easting_offset", "northing_offset")
        assert dataset.tags()["AREA_OR_POINT"] == "Point"
        assert CRS.from_user_input(dataset.crs) == known.UTM
    rows, cols = (np.arange(n) + 0.5 for n in values.shape[1:])
    height, width = known.SHAPE
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    xy = known.at(known.NORTH_UP, np.concatenate([known.spread_px(500, seed=9), corners]))
    px = known.at(~transform, xy)
    found = np.stack([RegularGridInterpolator((rows, cols), band)(px[:, ::-1]) for band in values], axis=1)
    assert np.abs(xy + found - known.TRUTHS[kind](xy)).max() < 0.01 * known.GSD


def decorated(path: Path) -> str:
    """Two bands with names, a colour table, an own mask and a tag."""
    profile = {"driver": "GTiff", "count": 2, "height": 300, "width": 400, "dtype": "uint8"}
    rng = np.random.default_rng(0)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", crs="EPSG:32633", transform=known.NORTH_UP, **profile) as dataset,
    ):
        dataset.write(rng.integers(0, 255, (2, 300, 400), dtype=np.uint8))
        dataset.write_mask(rng.random((300, 400)) > 0.3)
        dataset.descriptions = ("classes", "other")
        dataset.update_tags(SCENE="somewhere")
        dataset.write_colormap(1, {k: (k, 255 - k, 7, 255) for k in range(256)})
        dataset.colorinterp = (ColorInterp.palette, ColorInterp.undefined)
    return str(path)


def test_a_vrt_carries_everything_over_and_moves_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    target = decorated(folder / "target.tif")
    georeg.export(known.fitted(target), folder / "out.vrt")
    shutil.copytree(folder, tmp_path / "b")
    shutil.rmtree(folder)
    with rasterio.open(tmp_path / "b" / "target.tif") as source, rasterio.open(tmp_path / "b" / "out.vrt") as made:
        assert np.array_equal(source.read(), made.read())
        assert np.array_equal(source.read_masks(), made.read_masks())
        assert not made.read_masks().all()
        assert (made.dtypes, made.descriptions, made.colorinterp) == (
            source.dtypes,
            source.descriptions,
            source.colorinterp,
        )
        assert made.colormap(1) == source.colormap(1)
        assert made.tags()["SCENE"] == "somewhere"
        places, crs = made.gcps
        assert CRS.from_user_input(crs) == known.UTM
        assert made.transform.is_identity
    px = np.array([(g.col, g.row) for g in places])
    xy = np.array([(g.x, g.y) for g in places])
    assert np.abs(known.affine_truth(known.at(known.NORTH_UP, px)) - xy).max() < 1e-5


def test_a_vrt_in_another_folder_finds_the_target(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    georeg.export(known.fitted("target.tif"), "elsewhere/out.vrt")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with rasterio.open("out.vrt") as made, rasterio.open(target) as source:
        assert np.array_equal(made.read(), source.read())


def test_the_vrt_of_a_vrt_reads_the_same_pixels(target: str, tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    rasterio.shutil.copy(target, tmp_path / "plain.vrt", driver="VRT")
    georeg.export(known.fitted(str(tmp_path / "plain.vrt")), tmp_path / "deeper" / "out.vrt")
    with rasterio.open(tmp_path / "deeper" / "out.vrt") as made, rasterio.open(target) as source:
        assert np.array_equal(made.read(), source.read())
        assert len(made.gcps[0]) > 3


# --- the command line -----------------------------------------------------------------------------------------------


def saved(values: dict[str, Any], path: Path) -> str:
    path.write_text(json.dumps(values))
    return str(path)


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_command_line_says_what_it_wrote(
    suffix: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = saved(fit_to_dict(known.fitted(target)), tmp_path / "fit.json")
    out = str(tmp_path / f"out{suffix}")
    assert main(["export", source, "-o", out]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: ")
    assert printed.err == ""
    assert main(["export", source, "-o", out, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == out
    assert main(["export", source, "-o", source, "--overwrite"]) == 1
    assert "would replace" in capsys.readouterr().err


def test_the_command_line_fits_an_exported_csv_like_the_points_themselves(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    points = known.tie_points(target, n=200, cov=np.tile(np.eye(2) * 0.04, (200, 1, 1)))
    points = known.tie_points(
        target, n=200, cov=points.cov, ref_xy=points.ref_xy + rng.normal(0, 0.2, points.ref_xy.shape)
    )
    source = saved(points_to_dict(points), tmp_path / "points.json")
    assert main(["export", source, "-o", str(tmp_path / "points.csv")]) == 0
    for name in ("points.json", "points.csv"):
        assert main(["fit", str(tmp_path / name), "-o", str(tmp_path / f"{name}.fit"), "--model", "affine"]) == 0
    assert (tmp_path / "points.json.fit").read_bytes() == (tmp_path / "points.csv.fit").read_bytes()


@pytest.mark.parametrize("text", ["", "hello", "[1, 2]", "{}", '{"model": 1}'])
def test_garbage_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.json").write_text(text)
    assert main(["export", str(tmp_path / "in.json"), "-o", str(tmp_path / "out.csv")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert names(tmp_path) == ["in.json"]


def test_an_alignment_is_exported_like_its_fit(shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    for suffix in (".csv", ".proj", ".points"):
        georeg.export(shift_alignment, tmp_path / f"a{suffix}")
        georeg.export(shift_alignment.fitted, tmp_path / f"b{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    saved(shift_alignment.to_dict(), tmp_path / "result.json")
    assert main(["export", str(tmp_path / "result.json"), "-o", str(tmp_path / "c.csv")]) == 0
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
