"""One correction for everything that shares the wrong frame: bands, masks and vectors of a scene, proven or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine as Transform
from pyproj import Transformer
from rasterio.windows import Window
from test_vectors import CENTRE, LINES, MOVE, UTM33, bent, files, fit_of, geometries, shift, written, xy_of

import georeg
from georeg.cli import main
from georeg.errors import InputError, OutputError
from georeg.interchange import fit_to_dict
from georeg.regrid import output_windows

CLASSES = {0: (0, 0, 0), 3: (200, 0, 0), 7: (0, 200, 0)}


def place(gsd: float) -> Transform:
    return Transform(gsd, 0, CENTRE[0] - 1600, 0, -gsd, CENTRE[1] + 1600)


def ramp(x: Any, y: Any) -> Any:
    """Values that tell where they are: smooth, so that any interpolation finds them."""
    return 1000 + (np.asarray(x) - CENTRE[0]) / 4 + (np.asarray(y) - CENTRE[1]) / 10


def centres(transform: Any, shape: tuple[int, int]) -> tuple[Any, Any]:
    col, row = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    a, b, c, d, e, f = transform[:6]
    return a * col + b * row + c, d * col + e * row + f


def band(path: Path, gsd: float, classes: bool = False, crs: str = "EPSG:32633") -> str:
    """3.2 km of ground whose values are `ramp` of where the target says that they are, or classes in squares of 160 m."""
    shape = (round(3200 / gsd),) * 2
    x, y = centres(place(gsd), shape)
    values = ramp(x, y).astype(np.float32)
    if classes:
        values = np.where((np.floor(x / 160) + np.floor(y / 160)) % 2, 3, 7).astype(np.uint8)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        dtype=values.dtype,
        height=shape[0],
        width=shape[1],
        crs=crs,
        transform=place(gsd),
    ) as out:
        out.write(values, 1)
        if classes:
            out.write_colormap(1, CLASSES)
    return str(path)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A folder with the target of 10 m, its reference, a band of 20 m, a mask of 20 m and roads."""
    band(tmp_path / "b02.tif", 10)
    band(tmp_path / "reference.tif", 10)
    band(tmp_path / "b11.tif", 20)
    band(tmp_path / "mask.tif", 20, classes=True)
    written(tmp_path / "roads.gpkg", LINES, n=[1, 2])
    return tmp_path


TARGETS = ("b02.tif", "b11.tif", "mask.tif", "roads.gpkg")


def fit_in(scene: Path, model: Any) -> georeg.Fit:
    return fit_of(model, target=str(scene / "b02.tif"), reference=str(scene / "reference.tif"))


def apply_all(scene: Path, model: Any, **options: Any) -> dict[str, str]:
    done = georeg.apply_all(
        fit_in(scene, model), scene / "out", [scene / name for name in TARGETS], georeg.WriteOptions(**options)
    )
    return {Path(path).name: how for path, how in done.items()}


def test_a_shift_moves_every_file_of_the_scene_and_no_pixel_changes(scene):
    assert apply_all(scene, shift()) == dict.fromkeys(TARGETS[:3], "geotransform") | {"roads.gpkg": "vertices"}
    assert sorted(files(scene / "out")) == sorted(TARGETS)
    for name in TARGETS[:3]:
        with rasterio.open(scene / name) as before, rasterio.open(scene / "out" / name) as after:
            assert np.array_equal(before.read(), after.read())
            assert (after.transform.c - before.transform.c, after.transform.f - before.transform.f) == pytest.approx(
                MOVE
            )
    assert xy_of(scene / "out" / "roads.gpkg") == pytest.approx(shapely.get_coordinates(LINES) + MOVE, abs=1e-6)


def test_a_bent_correction_puts_every_raster_on_the_grid_of_the_reference(scene):
    assert apply_all(scene, bent()) == dict.fromkeys(TARGETS[:3], "resampled") | {"roads.gpkg": "vertices"}
    with rasterio.open(scene / "reference.tif") as reference:
        grid = (reference.transform, reference.shape, reference.crs)
    tgt_xy = bent().inverse(np.stack([a.ravel() for a in centres(grid[0], grid[1])], axis=1)).T.reshape(2, *grid[1])
    inside = (np.abs(tgt_xy - CENTRE[:, None, None]) < 1500).all(axis=0)
    for name in TARGETS[:2]:
        with rasterio.open(scene / "out" / name) as out:
            assert (out.transform, out.shape, out.crs) == grid
            assert out.read(1)[inside] == pytest.approx(ramp(*tgt_xy)[inside], abs=0.05)
    with rasterio.open(scene / "out" / "mask.tif") as out, rasterio.open(scene / "mask.tif") as mask:
        assert (out.transform, out.shape) == grid[:2]
        assert set(np.unique(out.read(1)[inside])) == {3, 7}
        assert out.colormap(1)[3] == mask.colormap(1)[3]
        into = np.floor(tgt_xy[0] / 160) + np.floor(tgt_xy[1] / 160)
        border = (np.abs((tgt_xy + 80) % 160 - 80) < 21).any(axis=0)  # a pixel of 20 m may belong to either side
        assert np.array_equal(out.read(1)[inside & ~border], np.where(into % 2, 3, 7)[inside & ~border])


def test_a_reference_in_degrees_is_resampled_onto_as_well(scene):
    to_degrees = Transformer.from_crs(UTM33, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*CENTRE)
    degrees = Transform(1.5e-4, 0, lon - 0.01, 0, -9e-5, lat + 0.006)
    with rasterio.open(
        scene / "r.tif",
        "w",
        driver="GTiff",
        count=1,
        dtype="uint8",
        height=130,
        width=130,
        crs="EPSG:4326",
        transform=degrees,
    ) as out:
        out.write(np.ones((1, 130, 130), np.uint8))
    fitted = fit_of(bent(), target=str(scene / "b02.tif"), reference=str(scene / "r.tif"))
    assert georeg.apply(fitted, scene / "out.tif") == "resampled"
    with rasterio.open(scene / "out.tif") as out:
        x, y = (a.ravel() for a in centres(degrees, (130, 130)))
        tgt_xy = bent().inverse(np.stack(to_degrees.transform(x, y, direction="INVERSE"), axis=1))
        assert out.read_masks(1).all()
        assert out.read(1).ravel() == pytest.approx(ramp(*tgt_xy.T), abs=0.05)


def test_a_fit_without_a_reference_is_resampled_on_pixels_of_its_own_size(scene):
    fitted = fit_of(bent(), target=str(scene / "b02.tif"))
    assert georeg.apply(fitted, scene / "out.tif") == "regridded"
    with rasterio.open(scene / "out.tif") as out:
        assert out.crs == rasterio.CRS.from_epsg(32633)
        assert out.transform.a == -out.transform.e == pytest.approx(10, rel=0.02)
        x, y = centres(out.transform, out.shape)
        tgt_xy = bent().inverse(np.stack([x.ravel(), y.ravel()], axis=1)).T.reshape(2, *out.shape)
        inside = (np.abs(tgt_xy - CENTRE[:, None, None]) < 1500).all(axis=0)
        assert inside.sum() > 0.8 * (3000 / 10) ** 2
        assert out.read(1)[inside] == pytest.approx(ramp(*tgt_xy)[inside], abs=0.05)


def test_a_fit_that_names_no_target_asks_for_one(scene):
    with pytest.raises(InputError, match="name no target"):
        georeg.apply(fit_of(shift()), scene / "out.tif")


def test_each_of_several_files_is_what_it_is_alone(scene):
    apply_all(scene, bent())
    for name in TARGETS[:3]:
        georeg.apply(fit_in(scene, bent()), scene / "alone.tif", target=scene / name)
        assert (scene / "alone.tif").read_bytes() == (scene / "out" / name).read_bytes()
        (scene / "alone.tif").unlink()


# --- the whole set is checked first ---------------------------------------------------------------------------------


def refuse(scene: Path, targets: list[Any], says: str, folder: str = "out", **options: Any) -> None:
    before = {p: p.read_bytes() for p in scene.rglob("*") if p.is_file()}
    there = (scene / folder).is_dir()
    with pytest.raises((InputError, OutputError), match=says):
        georeg.apply_all(fit_in(scene, shift()), scene / folder, targets, georeg.WriteOptions(**options))
    assert {p: p.read_bytes() for p in scene.rglob("*") if p.is_file()} == before
    assert (scene / folder).is_dir() == there


def test_one_file_that_cannot_be_written_stops_all(scene):
    both = [scene / "b02.tif", scene / "roads.gpkg"]
    (scene / "full").mkdir()
    (scene / "full" / "roads.gpkg").write_bytes(b"precious")
    refuse(scene, both, "roads.gpkg exists", "full")
    refuse(scene, both, "would replace", ".")
    refuse(scene, both, "would replace", ".", overwrite=True)
    refuse(scene, [*both, scene / "absent.tif"], "does not exist")
    refuse(scene, both, "--uncertainty is of one target, 2 were given", uncertainty=str(scene / "u.tif"))
    refuse(scene, both, "cannot be made", "no/such/folder")
    (scene / "text.tif").write_text("no raster\n")
    refuse(scene, [*both, scene / "text.tif"], "cannot be opened as a raster")
    georeg.apply_all(fit_in(scene, shift()), scene / "full", both, georeg.WriteOptions(overwrite=True))
    assert len(geometries(scene / "full" / "roads.gpkg")) == 2


def test_two_targets_of_one_name_are_refused(scene):
    (scene / "more").mkdir()
    band(scene / "more" / "b02.tif", 10)
    refuse(scene, [scene / "b02.tif", scene / "more" / "b02.tif"], "2 targets would be written as b02.tif")


def test_other_formats_become_geotiffs_in_a_folder(scene):
    with rasterio.open(scene / "b02.tif") as source:
        profile = source.profile | {"driver": "PNG", "dtype": "uint16"}
        with rasterio.open(scene / "quicklook.png", "w", **profile, WORLDFILE="YES") as out:
            out.write(source.read().astype("uint16"))
    targets = [scene / "quicklook.png", scene / "b02.tif"]
    georeg.apply_all(fit_in(scene, shift()), scene / "out", targets)
    assert {"quicklook.tif", "b02.tif"} <= set(files(scene / "out"))


# --- the verb -------------------------------------------------------------------------------------------------------


def saved(scene: Path, values: dict[str, Any]) -> str:
    (scene / "result.json").write_text(json.dumps(values))
    return str(scene / "result.json")


def test_the_verb_corrects_a_whole_scene(scene, capsys):
    result = saved(scene, fit_to_dict(fit_in(scene, shift())))
    targets = [str(scene / name) for name in TARGETS]
    assert main(["apply", result, *targets, "-o", str(scene / "out")]) == 0
    printed = capsys.readouterr()
    assert sorted(files(scene / "out")) == sorted(TARGETS)
    assert "b11.tif geotransform rewritten, pixels untouched; " in printed.out
    assert "roads.gpkg vertices moved" in printed.out
    assert "georeg: targets 4/4" in printed.err
    assert main(["apply", "--quiet", result, *targets, "-o", str(scene / "out")]) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["apply", "--quiet", "--json", result, *targets, "-o", str(scene / "out"), "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((scene / "result.json").read_text())


def test_a_fit_is_applied_but_called_not_proven(scene, capsys):
    result = saved(scene, fit_to_dict(fit_in(scene, shift())))
    assert main(["apply", "--quiet", result, "-o", str(scene / "out.tif")]) == 0
    said = capsys.readouterr().out
    assert "NOT PROVEN: translation model fitted to 4 points, scatter 0.1 px, not held against check points" in said
    assert "RMSE" not in said
    with rasterio.open(scene / "out.tif") as out, rasterio.open(scene / "b02.tif") as source:
        assert (out.transform.c - source.transform.c, out.transform.f - source.transform.f) == pytest.approx(MOVE)


def test_no_target_replaces_the_result_it_is_corrected_by(scene, capsys):
    written(scene / "drawn.geojson", [shapely.Point(13.5, 52.3)], "EPSG:4326")
    (scene / "out").mkdir()
    result = scene / "out" / "drawn.geojson"
    result.write_text(json.dumps(fit_to_dict(fit_in(scene, shift()))))
    before = result.read_bytes()
    for targets, output in ((["drawn.geojson"], result), (["drawn.geojson", "b02.tif"], scene / "out")):
        arguments = [str(result), *(str(scene / name) for name in targets), "-o", str(output), "--overwrite"]
        assert main(["apply", "--quiet", *arguments]) == 1
        assert "would replace" in capsys.readouterr().err
        assert result.read_bytes() == before


def test_the_bend_is_told_on_standard_error(scene, capsys):
    written(scene / "long.gpkg", [shapely.LineString(CENTRE + np.array([[0, -1000], [0, 1000]]))])
    result = saved(scene, fit_to_dict(fit_in(scene, bent())))
    assert main(["apply", "--quiet", result, str(scene / "long.gpkg"), "-o", str(scene / "o.gpkg")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("georeg: long.gpkg: straight segments ought to bend by up to 0.8 px")


def test_blocks_cover_a_grid_once():
    seen = np.zeros((700, 1030), int)
    for window in output_windows(seen.shape, 512):
        assert isinstance(window, Window)
        seen[window.toslices()] += 1
    assert (seen == 1).all()
