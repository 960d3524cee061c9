"""Vector files that share the wrong frame: every vertex moves as the model says, and nothing else changes."""

from __future__ import annotations

import json
import logging
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
import shapely
from affine import Affine as Transform
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

import georeg
from georeg.arrow import EditedStream
from georeg.errors import InputError, OutputError
from georeg.fit import Fit, Role
from georeg.initial import PIXELS
from georeg.models import Affine, Polynomial2, Translation
from georeg.tie_points import Inputs, TiePoints
from georeg.vectors import Frame, _corrected
from georeg.wkb import find_vertices

UTM33 = CRS.from_epsg(32633)
CENTRE = np.array([400_000.0, 5_800_000.0])
MOVE = np.array([37.3, -52.6])


def shift(move: Any = MOVE, kind: type[Translation] = Translation) -> Translation:
    here = CENTRE + np.array([[0, 0], [1000, 0], [0, 1000]])
    return kind.fit(here, here + move)


def bent(bend: float = 200.0) -> Polynomial2:
    """Ground that is bent by so many metres over 10 km."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-5000, 5000, 7), np.linspace(-5000, 5000, 7)))
    tgt = CENTRE + np.stack([x, y], axis=1)
    return Polynomial2.fit(tgt, tgt + np.stack([bend * (y / 5000) ** 2, bend * (x * y) / 5000**2], axis=1))


def fit_of(model: Any, crs: CRS = UTM33, **inputs: Any) -> Fit:
    """A fit that somebody made, whatever it was made from."""
    xy = CENTRE + np.array([[0.0, 0.0], [1000.0, 0.0], [0.0, 1000.0], [1000.0, 1000.0]])
    n = len(xy)
    points = TiePoints(
        xy, xy, np.tile(np.eye(2), (n, 1, 1)), np.ones(n), np.zeros(n, np.uint8),
        Inputs(**{"reference": "", "target": "", "initial": "geotransform"} | inputs),
        crs.to_wkt(), 10.0, 64, 10.0, 0.0,
    )  # fmt: skip
    return Fit(points, model, np.full(n, Role.FIT, np.uint8), 0.1, (), np.full((n, 2), np.nan))


def written(
    path: Path, geometries: Any, crs: str | None = "EPSG:32633", layer: str | None = None, **fields: Any
) -> str:
    wkb = np.array([None if g is None else shapely.to_wkb(g, flavor="iso") for g in geometries], object)
    data = [np.asarray(v) for v in fields.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no CRS
        pyogrio.raw.write(path, wkb, data, list(fields), layer=layer, geometry_type="Unknown", crs=crs)
    return str(path)


def geometries(path: Any, layer: str | None = None) -> np.ndarray:
    return shapely.from_wkb(pyogrio.raw.read(path, layer=layer, columns=[])[2])


def xy_of(path: Any, layer: str | None = None) -> np.ndarray:
    return shapely.get_coordinates(geometries(path, layer))


SHAPES = [
    shapely.Point(CENTRE),
    shapely.LineString(CENTRE + np.array([[0, 0], [10, 20], [30, -5]])),
    shapely.Polygon(
        CENTRE + np.array([[0, 0], [100, 0], [100, 100], [0, 0]]),
        [CENTRE + np.array([[20, 10], [80, 10], [80, 60], [20, 10]])],
    ),
    shapely.MultiPoint(CENTRE + np.array([[1, 1], [2, 2]])),
    shapely.MultiPolygon([shapely.box(*CENTRE, *(CENTRE + 5)), shapely.box(*(CENTRE + 10), *(CENTRE + 15))]),
    shapely.GeometryCollection([shapely.Point(CENTRE + 3), shapely.LineString([CENTRE, CENTRE + 7])]),
    shapely.Point(*CENTRE, 123.5),
    shapely.Polygon([(*(CENTRE + d), z) for d, z in (((0, 0), 1), ((5, 0), 2), ((5, 5), 3), ((0, 0), 1))]),
    shapely.Polygon(),
    None,
]


@pytest.mark.parametrize("move", [(37.3, 0), (-37.3, 0), (0, 52.6), (0, -52.6)])
def test_every_vertex_moves_by_the_displacement_and_no_height_changes(move, tmp_path):
    source = written(tmp_path / "in.gpkg", SHAPES)
    assert georeg.apply(fit_of(shift(move)), tmp_path / "out.gpkg", target=source) == "vertices"
    before, after = geometries(source), geometries(tmp_path / "out.gpkg")
    assert after[-1] is None
    assert [g.geom_type for g in after[:-1]] == [g.geom_type for g in SHAPES[:-1]]
    assert np.array_equal(shapely.is_empty(before), shapely.is_empty(after))
    for a, b in zip(before[:-1], after[:-1], strict=True):
        assert shapely.get_coordinates(b) == pytest.approx(shapely.get_coordinates(a) + move, abs=1e-6)
        heights = (shapely.get_coordinates(g, include_z=True)[:, 2] for g in (a, b))
        assert np.array_equal(*heights, equal_nan=True)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32632", "EPSG:3857", "EPSG:3035", "EPSG:31469"])
def test_coordinates_go_through_the_working_crs_and_back(crs, tmp_path):
    to_own = Transformer.from_crs(UTM33, crs, always_xy=True)
    true_xy = CENTRE + np.array([[0.0, 0.0], [900.0, 400.0], [-700.0, 1200.0]])
    tgt_xy = np.stack(to_own.transform(*true_xy.T), axis=1)
    source = written(tmp_path / "in.gpkg", shapely.points(tgt_xy), crs)
    georeg.apply(fit_of(shift()), tmp_path / "out.gpkg", target=source)
    assert CRS.from_user_input(pyogrio.read_info(tmp_path / "out.gpkg")["crs"]) == CRS.from_user_input(crs)
    back = np.stack(to_own.transform(*xy_of(tmp_path / "out.gpkg").T, direction="INVERSE"), axis=1)
    assert back == pytest.approx(true_xy + MOVE, abs=2e-3)  # what a change of datum loses there and back


@given(
    shift_xy=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    linear=st.lists(st.floats(-0.02, 0.02), min_size=4, max_size=4),
    at=st.lists(st.tuples(st.floats(-4000, 4000), st.floats(-4000, 4000)), min_size=1, max_size=20),
)
def test_vertices_go_where_the_model_sends_them(shift_xy, linear, at):
    model = Affine(
        tuple(CENTRE), 1000.0, np.array([shift_xy, 1000 * np.array(linear[:2]), 1000 * np.array(linear[2:])])
    )
    line = shapely.LineString(CENTRE + np.array(at + at))
    data = np.frombuffer(shapely.to_wkb(line), np.uint8).copy()
    vertices, frame = find_vertices(data, [0]), Frame(model, UTM33, 10.0)
    vertices.put(data, _corrected(vertices.xy(data), src=UTM33, own=Transform.identity(), dst=UTM33, frame=frame)[1])
    moved = shapely.get_coordinates(shapely.from_wkb(data.tobytes()))
    assert moved == pytest.approx(model(shapely.get_coordinates(line)), abs=1e-6)


FEATURES = [
    {"i": 1, "big": 2**53 + 1, "b": True, "s": "ä", "f": 1.5, "d": "2020-01-02", "t": "2020-01-02T03:04:05Z",
     "names": ["x", "y"], "numbers": [1, 2], "o": {"k": 1}},
    {"i": None, "big": None, "b": None, "s": None, "f": None, "d": None, "t": None,
     "names": None, "numbers": None, "o": None},
    {"i": 3, "big": -3, "b": False, "s": "", "f": -0.25, "d": "1999-12-31", "t": "2020-06-02T03:04:05.250Z",
     "names": [], "numbers": [7], "o": [1]},
]  # fmt: skip


def collection(path: Path, crs: str | None = None) -> str:
    lonlat = [(13.5, 52.3), None, (13.6, 52.4)]
    features = [
        {"type": "Feature", "properties": p, "geometry": at and {"type": "Point", "coordinates": at}}
        for p, at in zip(FEATURES, lonlat, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(path)


def test_attributes_of_every_type_stay(tmp_path):
    source = collection(tmp_path / "in.geojson")
    georeg.apply(fit_of(shift()), tmp_path / "out.geojson", target=source)
    features = json.loads((tmp_path / "out.geojson").read_text())["features"]
    assert [f["properties"] for f in features] == FEATURES
    assert features[1]["geometry"] is None
    to_utm = Transformer.from_crs(4326, 32633, always_xy=True)
    before, after = (np.stack(to_utm.transform(*xy_of(p).T), axis=1) for p in (source, tmp_path / "out.geojson"))
    assert after - before == pytest.approx(np.tile(MOVE, (2, 1)), abs=1e-4)


def test_types_stay_where_the_format_changes(tmp_path):
    source = collection(tmp_path / "in.geojson")
    georeg.apply(fit_of(shift()), tmp_path / "out.gpkg", target=source)
    before, after = pyogrio.read_info(source), pyogrio.read_info(tmp_path / "out.gpkg")
    plain = [k for k, kind in enumerate(before["dtypes"]) if not str(kind).startswith("list")]
    for name in ("fields", "dtypes", "ogr_types", "ogr_subtypes"):
        assert [before[name][k] for k in plain] == [after[name][k] for k in plain]
    with sqlite3.connect(tmp_path / "out.gpkg") as database:
        table = database.execute(f'select big, i, b from "{after["layer_name"]}"')
        assert table.fetchall() == [(2**53 + 1, 1, 1), (None, None, None), (-3, 3, 0)]
    database.close()


def test_layers_tables_and_feature_numbers_stay(tmp_path):
    source = written(tmp_path / "in.gpkg", [shapely.Point(CENTRE)], layer="roads", kind=["a"])
    written(tmp_path / "in.gpkg", [shapely.Point(13.5, 52.3)], "EPSG:4326", layer="Ärger 2", n=[5])
    pyogrio.raw.write(source, None, [np.array([7, 8])], ["key"], layer="table")
    with sqlite3.connect(source) as database:  # a spatial index would need functions of its own
        database.execute('update "table" set fid = fid * 10')
    database.close()
    georeg.apply(fit_of(shift()), tmp_path / "out.gpkg", target=source)
    assert np.array_equal(pyogrio.list_layers(tmp_path / "out.gpkg"), pyogrio.list_layers(source))
    assert [pyogrio.read_info(tmp_path / "out.gpkg", layer=n)["crs"] for n in ("roads", "Ärger 2")] == [
        "EPSG:32633",
        "EPSG:4326",
    ]
    fids, table = pyogrio.raw.read(tmp_path / "out.gpkg", layer="table", return_fids=True)[1::2]
    assert (fids.tolist(), table[0].tolist()) == ([10, 20], [7, 8])
    assert xy_of(tmp_path / "out.gpkg", "roads") == pytest.approx((CENTRE + MOVE)[None], abs=1e-6)


def measured(path: Path) -> str:
    """Lines with M, by the way of the format whose geometries are text."""
    (path.parent / "m.csv").write_text(
        'id,WKT\n1,"LINESTRING M (400000 5800000 5, 400100 5800000 6)"\n2,"LINESTRING M (400000 5800100 7, 400100 5800100 8)"\n'
    )
    with pyogrio.raw.open_arrow(path.parent / "m.csv", GEOM_POSSIBLE_NAMES="WKT", KEEP_GEOM_COLUMNS="NO") as (
        _,
        stream,
    ):
        pyogrio.raw.write_arrow(stream, path, geometry_name="wkb_geometry", geometry_type="Unknown", crs="EPSG:32633")
    return str(path)


@pytest.mark.filterwarnings("ignore:Measured")
@pytest.mark.parametrize("suffix", ["shp", "gpkg"])
def test_measures_stay(suffix, tmp_path):
    source = measured(tmp_path / f"in.{suffix}")
    georeg.apply(fit_of(shift()), tmp_path / f"out.{suffix}", target=source)
    georeg.apply(fit_of(shift(-MOVE)), tmp_path / f"back.{suffix}", target=tmp_path / f"out.{suffix}")
    streams = [raw_geometries(path) for path in (source, tmp_path / f"out.{suffix}", tmp_path / f"back.{suffix}")]
    for before, after, back in zip(*streams, strict=True):
        at, moved, again = (find_ordinates(data) for data in (before, after, back))
        assert moved[:, :2] == pytest.approx(at[:, :2] + MOVE, abs=1e-6)
        assert np.array_equal(moved[:, 2], at[:, 2])
        assert again == pytest.approx(at, abs=1e-6)


def raw_geometries(path: Any) -> list[bytes]:
    """As GDAL gives them, with their measures."""
    found: list[bytes] = []

    def keep(data: np.ndarray, starts: np.ndarray) -> None:
        found.extend(data[a:b].tobytes() for a, b in zip(starts, [*starts[1:], len(data)], strict=True))

    with warnings.catch_warnings(), pyogrio.raw.open_arrow(path) as (meta, stream):
        warnings.simplefilter("ignore")
        name = meta["geometry_name"] or "wkb_geometry"
        copy = Path(path).with_name("copy.fgb")
        pyogrio.raw.write_arrow(
            EditedStream(stream, name, keep), copy, geometry_name=name, geometry_type="Unknown", crs="EPSG:32633"
        )
    return found


def find_ordinates(wkb: bytes) -> np.ndarray:
    """(N, 3) x, y and m of a line string with measures."""
    assert int.from_bytes(wkb[1:5], "little") == 2002
    return np.frombuffer(wkb, "<f8", offset=9).reshape(-1, 3)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


# --- formats --------------------------------------------------------------------------------------------------------

LINES = [
    shapely.LineString(CENTRE + np.array([[0, 0], [10, 20]])),
    shapely.LineString(CENTRE + np.array([[5, 5], [9, 1]])),
]


@pytest.mark.parametrize("end", ["gpkg", "shp", "geojson", "fgb", "json", "gml", "kml", "sqlite"])
@pytest.mark.parametrize("begin", ["gpkg", "shp", "geojson", "fgb"])
def test_the_suffix_chooses_the_format(begin, end, tmp_path):
    source = written(tmp_path / f"in.{begin}", LINES, name=["a", "b"], n=[1, 2])
    out = tmp_path / f"out.{end}"
    georeg.apply(fit_of(shift()), out, target=source)
    to_utm = Transformer.from_crs(pyogrio.read_info(out)["crs"], UTM33, always_xy=True)
    moved = sorted(np.stack(to_utm.transform(*xy_of(out).T), axis=1).tolist())
    assert np.array(moved) == pytest.approx(
        np.array(sorted((shapely.get_coordinates(LINES) + MOVE).tolist())), abs=0.02
    )


def test_geojson_is_in_longitude_and_latitude(tmp_path):
    source = written(tmp_path / "in.gpkg", LINES)
    georeg.apply(fit_of(shift()), tmp_path / "out.geojson", target=source)
    lon, lat = xy_of(tmp_path / "out.geojson").T
    assert ((lon > 13) & (lon < 14) & (lat > 52) & (lat < 53)).all()


def test_a_shapefile_is_all_its_files_and_replaces_none(tmp_path):
    source = written(tmp_path / "in.gpkg", LINES, name=["ä", "b"])
    georeg.apply(fit_of(shift()), tmp_path / "out.shp", target=source)
    assert {"out.shp", "out.shx", "out.dbf", "out.prj"} < set(files(tmp_path))
    assert pyogrio.raw.read(tmp_path / "out.shp")[3][0].tolist() == ["ä", "b"]
    (tmp_path / "other.dbf").write_bytes(b"precious")
    before = files(tmp_path)
    with pytest.raises(OutputError, match=r"other\.dbf exists"):
        georeg.apply(fit_of(shift()), tmp_path / "other.shp", target=source)
    assert files(tmp_path) == before
    georeg.apply(fit_of(shift()), tmp_path / "back.shp", target=tmp_path / "out.shp")
    with pytest.raises(OutputError, match="would replace"):
        georeg.apply(
            fit_of(shift()), tmp_path / "out.shp", georeg.WriteOptions(overwrite=True), target=tmp_path / "out.shp"
        )


def test_a_shapefile_of_several_parts_becomes_a_geopackage(tmp_path):
    shapes = [shapely.box(*CENTRE, *(CENTRE + 1)), SHAPES[4]]
    source = written(tmp_path / "in.shp", shapes, n=[1, 2])
    georeg.apply(fit_of(shift()), tmp_path / "out.gpkg", target=source)
    assert [g.geom_type for g in geometries(tmp_path / "out.gpkg")] == ["Polygon", "MultiPolygon"]


@pytest.mark.parametrize("suffix", ["geojson", "fgb", "shp"])
def test_a_format_of_one_layer_refuses_two(suffix, tmp_path):
    source = written(tmp_path / "in.gpkg", LINES, layer="one", n=[1, 2])
    written(tmp_path / "in.gpkg", LINES, layer="two", n=[1, 2])
    before = files(tmp_path)
    with pytest.raises(OutputError, match=r"2 layers|two of in\.gpkg cannot be written"):
        georeg.apply(fit_of(shift()), tmp_path / f"out.{suffix}", target=source)
    assert files(tmp_path) == before


def test_a_raster_is_a_raster_whatever_its_suffix(tmp_path):
    place = Transform(10, 0, CENTRE[0], 0, -10, CENTRE[1])
    profile = {"width": 32, "height": 32, "count": 1, "dtype": "uint8", "crs": "EPSG:32633", "transform": place}
    with rasterio.open(tmp_path / "in.gpkg", "w", driver="GPKG", **profile) as dataset:
        dataset.write(np.full((1, 32, 32), 7, np.uint8))
    written(tmp_path / "in.gpkg", LINES, layer="lines")
    assert georeg.apply(fit_of(shift()), tmp_path / "out.tif", target=tmp_path / "in.gpkg") == "geotransform"


def test_many_features_pass_in_batches(tmp_path):
    xy = CENTRE + np.random.default_rng(0).uniform(-4000, 4000, (150_000, 2))
    source = written(tmp_path / "in.gpkg", shapely.points(xy), n=np.arange(len(xy)))
    georeg.apply(fit_of(bent()), tmp_path / "out.gpkg", target=source)
    assert xy_of(tmp_path / "out.gpkg") == pytest.approx(bent()(xy), abs=1e-6)
    assert np.array_equal(pyogrio.raw.read(tmp_path / "out.gpkg")[3][0], np.arange(len(xy)))


# --- bends and places -----------------------------------------------------------------------------------------------


def test_the_bend_of_a_segment_is_told_where_it_matters(tmp_path, caplog):
    # the parabola 200 (y / 5000)² of a chord of 2 km departs by 200 (1000 / 5000)² = 8 m, 0.8 px
    long, short = ([shapely.LineString(CENTRE + np.array([[0, -h], [0, h]]))] for h in (1000, 100))
    for name, lines in (("long", long), ("short", short)):
        georeg.apply(fit_of(bent()), tmp_path / f"{name}_out.gpkg", target=written(tmp_path / f"{name}.gpkg", lines))
    georeg.apply(fit_of(shift()), tmp_path / "straight.gpkg", target=tmp_path / "long.gpkg")
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert told.startswith("long.gpkg: straight segments ought to bend by up to 0.8 px")


def test_arcs_move_by_the_points_that_make_them(tmp_path):
    (tmp_path / "c.csv").write_text('id,WKT\n1,"CIRCULARSTRING (400000 5800000, 400001 5800001, 400002 5800000)"\n')
    with pyogrio.raw.open_arrow(tmp_path / "c.csv", GEOM_POSSIBLE_NAMES="WKT", KEEP_GEOM_COLUMNS="NO") as (_, stream):
        pyogrio.raw.write_arrow(
            stream, tmp_path / "in.gpkg", geometry_name="wkb_geometry", geometry_type="Unknown", crs="EPSG:32633"
        )
    georeg.apply(fit_of(shift()), tmp_path / "out.gpkg", target=tmp_path / "in.gpkg")
    before, after = (np.frombuffer(raw_geometries(tmp_path / name)[0], np.uint8) for name in ("in.gpkg", "out.gpkg"))
    assert np.array_equal(before[:9], after[:9])
    at, moved = (find_vertices(data, [0]) for data in (before, after))
    assert not at.starts_segment.any()
    assert moved.xy(after) == pytest.approx(at.xy(before) + MOVE, abs=1e-6)


def test_a_table_alone_is_refused(tmp_path):
    (tmp_path / "points.csv").write_text("x,y\n400000,5800000\n")
    with pytest.raises(InputError, match="holds no geometries"):
        georeg.apply(fit_of(shift()), tmp_path / "out.gpkg", target=tmp_path / "points.csv")
    assert list(files(tmp_path)) == ["points.csv"]


def test_a_vertex_that_has_no_place_refuses_the_file(tmp_path):
    source = written(
        tmp_path / "in.gpkg", [shapely.Point(13.5, 52.3), shapely.Point(0, 95), shapely.Point(1, 96)], "EPSG:4326"
    )
    before = files(tmp_path)
    with pytest.raises(OutputError, match=r"2 vertices of in\.gpkg"):
        georeg.apply(fit_of(shift()), tmp_path / "out.gpkg", target=source)
    assert files(tmp_path) == before


def test_vectors_without_a_crs_are_refused(tmp_path):
    source = written(tmp_path / "in.shp", LINES, None)
    before = files(tmp_path)
    with pytest.raises(InputError, match=r"layer in of in\.shp has no CRS"):
        georeg.apply(fit_of(shift()), tmp_path / "out.shp", target=source)
    assert files(tmp_path) == before


def test_what_cannot_be_a_vector_output_is_refused(tmp_path):
    source = written(tmp_path / "in.gpkg", LINES)
    for name in ("out.tif", "out", "out.docx", "out.gtfs"):
        with pytest.raises(InputError, match=r"\.gpkg, \.geojson"):
            georeg.apply(fit_of(shift()), tmp_path / name, target=source)
    with pytest.raises(InputError, match="--uncertainty is of rasters"):
        georeg.apply(
            fit_of(shift()),
            tmp_path / "o.gpkg",
            georeg.WriteOptions(uncertainty=str(tmp_path / "u.tif")),
            target=source,
        )
    assert list(files(tmp_path)) == ["in.gpkg"]


def test_an_error_of_the_correction_leaves_nothing(tmp_path):
    class Broken(Translation):
        def __call__(self, tgt_xy: Any) -> Any:
            raise MemoryError("no more")

    source = written(tmp_path / "in.gpkg", LINES)
    with pytest.raises(MemoryError, match="no more"):
        georeg.apply(fit_of(shift(kind=Broken)), tmp_path / "o.gpkg", target=source)
    assert list(files(tmp_path)) == ["in.gpkg"]


# --- targets without georeferencing ---------------------------------------------------------------------------------


def picture(path: Path, shape: tuple[int, int], **profile: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path, "w", driver="GTiff", count=1, dtype="uint8", height=shape[0], width=shape[1], **profile
        ) as d:
            d.write(np.ones((1, *shape), np.uint8))
    return str(path)


def test_vectors_drawn_on_a_scan_go_where_its_pixels_go(tmp_path):
    reference = picture(
        tmp_path / "r.tif", (300, 400), crs="EPSG:32633", transform=Transform(10, 0, *CENTRE[:1], 0, -10, CENTRE[1])
    )
    scan = picture(tmp_path / "t.tif", (200, 200))
    fitted = fit_of(shift(), reference=reference, target=scan, initial="none")
    assert georeg.apply(fitted, tmp_path / "scan.tif") == "geotransform"
    px = np.array([[0.0, 0.0], [200.0, 0.0], [30.0, 170.0]])
    source = written(tmp_path / "drawn.shp", shapely.points(px * (1, -1)), None)
    georeg.apply(fitted, tmp_path / "out.gpkg", target=source)
    with rasterio.open(tmp_path / "scan.tif") as dataset:
        corrected = np.array([dataset.xy(y, x, offset="ul") for x, y in px])
    assert xy_of(tmp_path / "out.gpkg") == pytest.approx(corrected, abs=1e-6)
    assert pyogrio.read_info(tmp_path / "out.gpkg")["crs"] == "EPSG:32633"
    elsewhere = written(tmp_path / "map.gpkg", LINES)
    with pytest.raises(InputError, match="is not georeferenced"):
        georeg.apply(fitted, tmp_path / "no.gpkg", target=elsewhere)


def test_vectors_drawn_on_a_picture_lie_on_the_pixels_of_the_reference(tmp_path):
    pair = {"reference": picture(tmp_path / "r.tif", (300, 400)), "target": picture(tmp_path / "t.tif", (300, 400))}
    move = np.array([12.0, -7.0])
    here = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    fitted = fit_of(Translation.fit(here, here + move), PIXELS, initial="center", **pair)
    source = written(tmp_path / "drawn.shp", shapely.points([[5.0, -6.0], [50.0, -60.0]]), None)
    georeg.apply(fitted, tmp_path / "out.shp", target=source)
    assert xy_of(tmp_path / "out.shp") == pytest.approx(np.array([[17.0, -13.0], [62.0, -67.0]]), abs=1e-6)
    assert pyogrio.read_info(tmp_path / "out.shp")["crs"] is None
