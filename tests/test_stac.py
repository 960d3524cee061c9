"""STAC Items: what is read from them, and the Item of a corrected raster."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from pystac.validation.stac_validator import JsonSchemaSTACValidator

import georeg
from georeg.cli import main
from georeg.errors import InputError
from georeg.options import WriteOptions
from georeg.raster import open_raster
from georeg.stac import StacScene, read_item
from georeg.stac_fields import accuracy_fields, footprint_fields, projection_fields

TAKEN = dt.datetime(2023, 6, 1, 10, 20, 30, tzinfo=dt.UTC)
BOX = shapely.geometry.mapping(shapely.box(12, 51, 13, 52))

FIELDS: dict[str, Any] = {
    "proj:code": (str, type(None)),
    "proj:wkt2": str,
    "proj:shape": [int, 2],
    "proj:transform": [float, 6],
    "proj:bbox": [float, 4],
    "proj:geometry": dict,
    "processing:software": dict,
    "processing:lineage": str,
    "processing:level": str,
    "processing:facility": str,
    **{f"accuracy:geometric_{name}": float for name in ("rmse", "x_bias", "y_bias", "x_stddev", "y_stddev")},
}
"""What the pages of the extensions projection 2.0, processing 1.2 and accuracy 1.0 say of the fields that are used here. Their
schemas allow no other fields with these prefixes."""


def raster(path: Path, *, east: float = 0.0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(10, 0, 400_000 + east, 0, -10, 5_800_000)
    profile = {"driver": "GTiff", "count": 3, "height": 20, "width": 30, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=transform, **profile) as dataset:
        dataset.write(np.full((3, 20, 30), 7, np.uint8))
    return str(path)


def item_of(
    assets: dict[str, pystac.Asset], *, name: str = "scene", taken: dt.datetime | None = TAKEN, **more: Any
) -> Any:
    item = pystac.Item(name, BOX, [12, 51, 13, 52], taken, more)
    for key, asset in assets.items():
        item.add_asset(key, asset)
    return item


def data(
    href: str, *bands: dict[str, Any], spelling: str = "bands", roles: tuple[str, ...] = ("data",)
) -> pystac.Asset:
    return pystac.Asset(href, roles=list(roles), extra_fields={spelling: list(bands)} if bands else {})


def saved(item: pystac.Item | pystac.ItemCollection, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(item.to_dict(transform_hrefs=False)), encoding="utf-8")
    return str(path)


# reading


@pytest.mark.parametrize("href", ["red.tif", "./red.tif", "../scenes/red.tif"])
def test_relative_addresses_count_from_the_file(tmp_path: Path, href: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raster(tmp_path / "scenes" / "red.tif")
    file = saved(item_of({"red": data(href)}), tmp_path / "scenes" / "item.json")
    expected = (StacScene("scene", TAKEN, path, 1),)
    assert georeg.read_items(file, "red") == expected
    monkeypatch.chdir(tmp_path)
    assert georeg.read_items(Path("scenes/item.json")) == expected
    with rasterio.open(georeg.read_items("scenes/item.json")[0].path) as dataset:
        assert dataset.read(1)[0, 0] == 7


def test_other_addresses_stay_what_they_are(tmp_path: Path) -> None:
    path = raster(tmp_path / "a b.tif")
    hrefs = {"https": "https://example.org/a.tif", "s3": "s3://bucket/a.tif", "file": Path(path).as_uri(), "path": path}
    file = saved(item_of({key: data(href) for key, href in hrefs.items()}), tmp_path / "elsewhere" / "item.json")
    expected = {"https": hrefs["https"], "s3": hrefs["s3"], "file": path, "path": path}
    assert {key: georeg.read_items(file, key)[0].path for key in hrefs} == expected


def test_an_item_of_a_catalogue_leads_to_its_assets(tmp_path: Path) -> None:
    item = item_of({"red": data("./red.tif")})
    item.add_link(pystac.Link("self", "https://example.org/c/item.json"))
    assert georeg.read_items(saved(item, tmp_path / "item.json"))[0].path == "https://example.org/c/red.tif"
    path = raster(tmp_path / "red.tif")  # and where it was downloaded with it, beside it
    assert georeg.read_items(str(tmp_path / "item.json"))[0].path == path


def test_a_collection_gives_each_of_its_items_in_turn(tmp_path: Path) -> None:
    days = [TAKEN + dt.timedelta(days=k) for k in (3, 1, 2)]
    items = [item_of({"red": data(f"{k}.tif")}, name=f"s{k}", taken=day) for k, day in enumerate(days)]
    file = saved(pystac.ItemCollection(items), tmp_path / "search.json")
    found = georeg.read_items(file, "red")
    assert [(s.item_id, s.datetime, Path(s.path).name) for s in found] == [
        (f"s{k}", day, f"{k}.tif") for k, day in enumerate(days)
    ]
    for item in items:
        item.set_self_href(str(tmp_path / "item.json"))
    assert georeg.read_items(pystac.ItemCollection(items), "red") == found
    assert georeg.read_items(items, "red") == found
    assert georeg.read_items(items[0], "red") == found[:1]


RED, NIR = {"name": "B04", "common_name": "red"}, {"name": "B08", "common_name": "nir"}
NEW_RED, NEW_NIR = ({"name": b["name"], "eo:common_name": b["common_name"]} for b in (RED, NIR))


@pytest.mark.parametrize(("spelling", "red", "nir"), [("eo:bands", RED, NIR), ("bands", NEW_RED, NEW_NIR)])
def test_a_band_is_found_by_either_name_in_either_spelling(spelling: str, red: Any, nir: Any) -> None:
    apart = item_of(
        {"a": data("s3://b/a.tif", red, spelling=spelling), "b": data("s3://b/b.tif", nir, spelling=spelling)}
    )
    together = item_of({"all": data("s3://b/all.tif", red, nir, spelling=spelling)})
    both = item_of(
        {
            "stacked": data("s3://b/all.tif", red, nir, spelling=spelling),
            "b": data("s3://b/b.tif", nir, spelling=spelling),
            "look": data("s3://b/look.tif", red, nir, spelling=spelling, roles=("visual",)),
        }
    )
    for name in ("nir", "B08"):
        found = [georeg.read_items(item, name)[0] for item in (apart, together, both)]
        assert [(s.path, s.band) for s in found] == [("s3://b/b.tif", 1), ("s3://b/all.tif", 2), ("s3://b/b.tif", 1)]
    assert georeg.read_items(both, "red")[0].band == 1
    assert georeg.read_items(both, "look")[0].path == "s3://b/look.tif"  # by its key anything can be had


def test_stac_1_1_may_name_the_only_band_at_the_asset() -> None:
    asset = pystac.Asset(
        "s3://b/a.tif", roles=["data"], extra_fields={"eo:common_name": "red", "bands": [{"name": "B04"}]}
    )
    item = item_of({"a": asset, "b": data("s3://b/b.tif", NEW_NIR)})
    assert [georeg.read_items(item, name)[0].path for name in ("red", "B04")] == ["s3://b/a.tif", "s3://b/a.tif"]


def test_without_a_choice_the_only_data_is_taken() -> None:
    item = item_of(
        {
            "image": data("s3://b/a.tif"),
            "small": data("s3://b/s.png", roles=("thumbnail",)),
            "q": data("s3://b/q.tif", roles=()),
        }
    )
    assert georeg.read_items(item)[0].path == "s3://b/a.tif"
    clouds = item_of({"image": data("s3://b/a.tif"), "mask": data("s3://b/m.tif", roles=("cloud",))})
    assert georeg.read_items(clouds, "cloud")[0].path == "s3://b/m.tif"


@pytest.mark.parametrize(
    ("asset", "told"),
    [
        ("swir", r"the Item scene has no asset for swir; choose one of its assets a \(B04, red\), b \(B08, nir\), c"),
        (None, "the Item scene has several assets that is data: a, b, c; choose one"),
        ("data", "several assets for data: a, b, c"),
    ],
)
def test_an_asset_that_is_not_there_or_not_alone_is_refused(asset: str | None, told: str) -> None:
    item = item_of({"a": data("s3://b/a.tif", NEW_RED), "b": data("s3://b/b.tif", NEW_NIR), "c": data("s3://b/c.tif")})
    with pytest.raises(InputError, match=told):
        georeg.read_items(item, asset)


def test_an_interval_counts_as_its_middle_and_no_date_is_refused(tmp_path: Path) -> None:
    interval = {"start_datetime": "2023-06-01T10:00:00Z", "end_datetime": "2023-06-01T14:00:00+02:00"}
    item = item_of({"a": data("s3://b/a.tif")}, taken=None, **interval)
    assert georeg.read_items(item)[0].datetime == dt.datetime(2023, 6, 1, 11, tzinfo=dt.UTC)
    values = item.to_dict()
    del values["properties"]["end_datetime"]
    (tmp_path / "item.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="If datetime is None, a start_datetime and end_datetime must be supplied"):
        georeg.read_items(tmp_path / "item.json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"type": "Collection"}', "its type is 'Collection'; give a file of one of these"),
        ('{"type": "Feature"}', "is no STAC Item and no ItemCollection"),
        ('{"type": "FeatureCollection", "features": []}', "holds no Items; give at least one"),
        ("[1, 2]", "its type is None"),
        ("{", "is no STAC Item and no ItemCollection"),
    ],
)
def test_a_file_of_no_items_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "item.json").write_text(text)
    with pytest.raises(InputError, match=told):
        georeg.read_items(tmp_path / "item.json")
    with pytest.raises(InputError, match="check the path"):
        georeg.read_items(tmp_path / "absent.json")


def test_an_item_without_an_address_has_no_relative_ones() -> None:
    with pytest.raises(InputError, match="relative to an Item that has no address; call its set_self_href"):
        georeg.read_items(item_of({"a": data("./a.tif")}))


def test_without_pystac_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pystac", None)
    with pytest.raises(InputError, match=r'pip install "georeg\[stac\]"'):
        georeg.read_items(tmp_path / "item.json")


# writing


@pytest.fixture
def scene(shift_pair: tuple[str, str], shift_alignment: georeg.Alignment, tmp_path: Path) -> tuple[pystac.Item, str]:
    """The Item of an uncorrected raster, read from its file, and the corrected raster."""
    target = data(shift_pair[1], NEW_RED)
    target.extra_fields |= {"proj:shape": [1, 1], "file:size": 9, "gsd": 10}
    item = item_of(
        {"red": target, "look": data("look.png", roles=("thumbnail",))},
        **{
            "platform": "somewhere-1",
            "proj:code": "EPSG:4326",
            "created": "2023-06-02T00:00:00Z",
            "processing:software": {"first": "1.0"},
            "processing:lineage": "Terrain corrected.",
            "processing:level": "L1C",
        },
    )
    item.stac_extensions = [
        "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
        "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    ]
    item.add_link(pystac.Link("license", "https://example.org/licence"))
    item.add_link(pystac.Link("root", "https://example.org/catalog.json"))
    item.collection_id = "scenes"
    path = saved(item, tmp_path / "in" / "item.json")
    corrected = tmp_path / "out" / "red.tif"
    corrected.parent.mkdir()
    shift_alignment.write(corrected)
    return read_item(path), str(corrected)


def check_core(values: dict[str, Any]) -> None:
    """Valid by the schema of Items that pystac carries with it."""
    JsonSchemaSTACValidator().validate_core(values, pystac.STACObjectType.ITEM, values["stac_version"], None)


def check_fields(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name.split(":")[0] in ("proj", "processing", "accuracy"):
            kind = FIELDS[name]
            if isinstance(kind, list):
                assert len(value) == kind[1], name
                assert all(isinstance(one, kind[0]) for one in value), name
            else:
                assert isinstance(value, kind), name


def test_a_corrected_item_says_where_its_raster_lies_and_how_well(scene: Any, shift_alignment: Any) -> None:
    item, corrected = scene
    before = item.to_dict(transform_hrefs=False)
    made = georeg.corrected_item(item, shift_alignment, corrected)
    assert item.to_dict(transform_hrefs=False) == before
    values = made.to_dict()
    check_core(values)
    check_fields(values["properties"])
    assert list(made.assets) == ["red"]
    asset = values["assets"]["red"]
    check_fields(asset)
    with rasterio.open(corrected) as dataset:
        assert asset["proj:code"] == dataset.crs.to_string()
        assert asset["proj:transform"] == list(dataset.transform)[:6]
        assert asset["proj:shape"] == list(dataset.shape)
        assert asset["proj:bbox"] == list(dataset.bounds)
        assert shapely.geometry.shape(asset["proj:geometry"]).equals(shapely.box(*dataset.bounds))
        x, y = Transformer.from_crs(dataset.crs, 4326, always_xy=True).transform(*dataset.xy(0, 0))
    footprint = shapely.geometry.shape(values["geometry"])
    assert footprint.exterior.is_ccw
    np.testing.assert_allclose(footprint.bounds, values["bbox"], atol=1e-6)
    assert shapely.contains_xy(footprint, x, y)
    after = shift_alignment.after
    assert (asset["accuracy:geometric_rmse"], asset["georeg:ce90"]) == (after.rmse, after.ce90)
    assert asset["georeg:check_points"] == after.n
    for axis, rmse in (("x", after.rmse_x), ("y", after.rmse_y)):
        bias, spread = (asset[f"accuracy:geometric_{axis}_{name}"] for name in ("bias", "stddev"))
        assert np.hypot(bias, spread) == pytest.approx(rmse)


def test_a_corrected_item_keeps_what_still_holds_and_no_more(scene: Any, shift_alignment: Any) -> None:
    item, corrected = scene
    made = georeg.corrected_item(item, shift_alignment, corrected)
    assert (made.id, made.datetime, made.collection_id) == ("scene_georeg", TAKEN, None)
    kept = made.properties
    assert (kept["platform"], kept["processing:level"]) == ("somewhere-1", "L1C")
    assert kept["processing:software"] == {"first": "1.0", "georeg": georeg.__version__}
    lineage = kept["processing:lineage"]
    assert lineage.startswith("Terrain corrected.\n\nAligned to shift_reference.tif by georeg ")
    assert shift_alignment.summary() in lineage
    assert not {"proj:code", "created"} & set(kept)
    fields = made.assets["red"].extra_fields
    assert (fields["bands"], fields["gsd"]) == ([NEW_RED], 10)
    assert "file:size" not in fields
    names = [uri.split("/")[3] + " " + uri.split("/")[4] for uri in made.stac_extensions]
    assert names == ["eo v2.0.0", "processing v1.2.0", "projection v2.0.0", "accuracy v1.0.0-beta.1"]
    links = {link.rel: link.get_href() for link in made.links}
    assert links == {"license": "https://example.org/licence", "derived_from": item.get_self_href()}


def test_it_is_read_again_from_where_it_was_written(scene: Any, shift_alignment: Any, tmp_path: Path) -> None:
    item, corrected = scene
    made = georeg.corrected_item(item, shift_alignment, corrected)
    georeg.write_item(made, tmp_path / "out" / "item.json")
    values = json.loads((tmp_path / "out" / "item.json").read_text(encoding="utf-8"))
    assert values["assets"]["red"]["href"] == "./red.tif"
    assert {link["rel"]: link["href"] for link in values["links"]}["derived_from"] == "../in/item.json"
    assert georeg.read_items(tmp_path / "out" / "item.json", "B04") == (StacScene("scene_georeg", TAKEN, corrected, 1),)
    assert made.assets["red"].href == corrected
    check_core(values)


def test_several_assets_of_one_item_are_corrected_together(scene: Any, shift_alignment: Any) -> None:
    item, corrected = scene
    item.add_asset("nir", data("s3://b/nir.tif", NEW_NIR))
    made = georeg.corrected_item(item, shift_alignment, {"red": corrected, "nir": corrected}, item_id="new")
    assert (made.id, list(made.assets)) == ("new", ["red", "nir"])
    assert georeg.read_items(made, "nir")[0].path == corrected
    with pytest.raises(InputError, match="the Item scene has no asset swir; choose one of its assets red"):
        georeg.corrected_item(item, shift_alignment, {"swir": corrected})
    with pytest.raises(InputError, match="has several assets that is data: red, nir"):
        georeg.corrected_item(item, shift_alignment, corrected)
    assert list(georeg.corrected_item(item, shift_alignment, corrected, asset_key="B08").assets) == ["nir"]


def test_a_raster_that_another_result_corrected_is_refused(scene: Any, shift_alignment: Any, tmp_path: Path) -> None:
    item, corrected = scene
    other = georeg.assess(georeg.fit(shift_alignment.points, georeg.FitOptions(model="affine")))
    with pytest.raises(InputError, match=r"red.tif says that it was corrected otherwise than by this result"):
        georeg.corrected_item(item, other, corrected)


def test_a_resampled_cog_has_its_own_grid(scene: Any, shift_alignment: Any, tmp_path: Path) -> None:
    path = tmp_path / "cog.tif"
    shift_alignment.write(path, WriteOptions(resample=True, format="cog"))
    made = georeg.corrected_item(scene[0], shift_alignment, path)
    assert made.assets["red"].media_type == pystac.MediaType.COG
    with rasterio.open(path) as dataset:
        assert made.assets["red"].extra_fields["proj:transform"] == list(dataset.transform)[:6]


def test_lengths_are_metres_whatever_the_unit_of_the_map(shift_alignment: Any) -> None:
    values = shift_alignment.to_dict()
    feet = "EPSG:2263"  # New York in US survey feet
    values["tie_points"]["crs"] = rasterio.crs.CRS.from_string(feet).to_wkt()
    fields = accuracy_fields(georeg.Alignment.from_dict(values))
    assert fields["georeg:ce90"] == pytest.approx(shift_alignment.after.ce90 * 1200 / 3937)
    assert fields["accuracy:geometric_rmse"] == pytest.approx(shift_alignment.after.rmse * 1200 / 3937)


def test_over_the_date_line_the_outline_is_cut(tmp_path: Path) -> None:
    west = Transformer.from_crs(4326, 32701, always_xy=True).transform(-180, -16.5)[0]
    profile = {"driver": "GTiff", "count": 1, "height": 50, "width": 100, "dtype": "uint8", "crs": "EPSG:32701"}
    transform = Affine(100, 0, west - 3000, 0, -100, 8_180_000)
    with rasterio.open(tmp_path / "a.tif", "w", transform=transform, **profile) as dataset:
        dataset.write(np.ones((1, 50, 100), np.uint8))
        bounds = dataset.bounds
    geometry, bbox = footprint_fields(open_raster(tmp_path / "a.tif"))
    outline = shapely.geometry.shape(geometry)
    assert (geometry["type"], len(outline.geoms)) == ("MultiPolygon", 2)
    assert all(part.exterior.is_ccw for part in outline.geoms)
    assert bbox[0] > 179 > -179 > bbox[2]
    lon, lat = Transformer.from_crs(32701, 4326, always_xy=True).transform(
        np.array([bounds.left + 500, bounds.right - 500]), np.array([bounds.top - 500, bounds.bottom + 500])
    )
    assert lon[0] > 179
    assert lon[1] < -179
    assert shapely.contains_xy(outline, lon, lat).all()
    assert outline.area < 0.01


def test_a_raster_over_the_pole_is_refused(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "count": 1, "height": 50, "width": 50, "dtype": "uint8", "crs": "EPSG:3413"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=Affine(100, 0, -2500, 0, -100, 2500), **profile) as dataset:
        dataset.write(np.ones((1, 50, 50), np.uint8))
    with pytest.raises(InputError, match="reaches over a pole"):
        footprint_fields(open_raster(tmp_path / "a.tif"))


def test_a_crs_without_a_code_is_written_out(tmp_path: Path) -> None:
    crs = "+proj=laea +lat_0=51.3 +lon_0=12.7 +datum=WGS84 +units=m"
    profile = {"driver": "GTiff", "count": 1, "height": 5, "width": 7, "dtype": "uint8", "crs": crs}
    with rasterio.open(tmp_path / "a.tif", "w", transform=Affine(10, 0, 0, 0, -10, 0), **profile) as dataset:
        dataset.write(np.ones((1, 5, 7), np.uint8))
    fields = projection_fields(open_raster(tmp_path / "a.tif"))
    assert (fields["proj:code"], fields["proj:shape"]) == (None, [5, 7])
    assert "Azimuthal" in fields["proj:wkt2"]
    check_fields(fields)


def test_the_verb_writes_it_and_loses_nothing(
    scene: Any, shift_alignment: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corrected = scene[1]
    result = tmp_path / "result.json"
    result.write_text(shift_alignment.to_json())
    given, output = str(tmp_path / "in" / "item.json"), str(tmp_path / "out" / "item.json")
    before = Path(given).read_bytes()
    words = ["stac", str(result), given, "--corrected", corrected, "--asset", "red"]
    assert main([*words, "-o", output]) == 0
    assert capsys.readouterr().out == f"{output}: Item scene_georeg, red corrected\n"
    expected = georeg.corrected_item(read_item(given), shift_alignment, corrected)
    assert georeg.write_item(expected, tmp_path / "out" / "again.json") + "\n" == Path(output).read_text(
        encoding="utf-8"
    )
    for taken, told in ((given, "would replace"), (output, "exists; choose another output or give --overwrite")):
        assert main([*words, "-o", taken]) == 1
        assert told in capsys.readouterr().err
    assert Path(given).read_bytes() == before
    assert main([*words, "-o", output, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "scene_georeg"
    assert main([*words[:3], "-o", str(tmp_path / "new.json")]) == 1
    assert "give --corrected" in capsys.readouterr().err


def test_stac_validator_finds_its_core_valid(scene: Any, shift_alignment: Any, tmp_path: Path) -> None:
    made = georeg.corrected_item(scene[0], shift_alignment, scene[1])
    georeg.write_item(made, tmp_path / "out" / "item.json")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        stac_validator = importlib.import_module("stac_validator.stac_validator")
    checked = stac_validator.StacValidate(str(tmp_path / "out" / "item.json"), core=True, schema_map=core_schemas())
    assert checked.run(), checked.message
    values = json.loads((tmp_path / "out" / "item.json").read_text(encoding="utf-8"))
    del values["geometry"]
    (tmp_path / "out" / "item.json").write_text(json.dumps(values), encoding="utf-8")
    assert not stac_validator.StacValidate(
        str(tmp_path / "out" / "item.json"), core=True, schema_map=core_schemas()
    ).run()


def core_schemas() -> dict[str, str]:
    """Files of the schemas of STAC's core that pystac carries with it, by their addresses."""
    folder = Path(pystac.__file__).parent / "validation" / "jsonschemas"
    core = {path.stem: path for path in (folder / "stac-spec" / "v1.1.0").glob("*.json")}
    found = {
        f"https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/{name}.json": path for name, path in core.items()
    }
    found |= {f"https://geojson.org/schema/{path.name}": path for path in (folder / "geojson").glob("*.json")}
    return {uri: str(path) for uri, path in found.items()}
