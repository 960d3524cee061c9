"""Every way to write a correction puts each pixel where the model says, says what it did, and refuses what contradicts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.warp import reproject
from test_apply import CENTRE, band, centres, place, ramp
from test_vectors import MOVE, bent, fit_of, shift

import georeg
from georeg.classes import class_bands, is_classes
from georeg.cli import main
from georeg.errors import InputError
from georeg.interchange import fit_to_dict
from georeg.options import WriteOptions
from georeg.raster import open_raster


@pytest.fixture
def target(tmp_path: Path) -> str:
    band(tmp_path / "reference.tif", 10)
    return band(tmp_path / "target.tif", 10)


def fit_to(target: str, model: Any) -> georeg.Fit:
    return fit_of(model, target=target, reference=str(Path(target).with_name("reference.tif")))


def apply(target: str, model: Any, name: str = "out.tif", **options: Any) -> tuple[str, Any]:
    out = None if options.get("in_place") else Path(target).with_name(name)
    return georeg.apply(fit_to(target, model), out, WriteOptions(**options)), out


def shown(path: Any) -> tuple[Any, Any, Any]:
    """x, y and value of every valid pixel, as GDAL reads the file."""
    with rasterio.open(path) as dataset:
        x, y = centres(dataset.transform, dataset.shape)
        valid = dataset.read_masks(1) > 0
        return x[valid], y[valid], dataset.read(1)[valid].astype(float)


def errors(path: Any, model: Any) -> Any:
    """Value found minus that of the place on the target where the model has the pixel from."""
    x, y, values = shown(path)
    assert len(values) > 50_000
    xy = model.inverse(np.stack([x, y], axis=1))
    return values - ramp(*xy.T)


@pytest.mark.parametrize("name", ["out.tif", "out.vrt"])
def test_a_shift_is_a_geotransform_in_a_copy_and_in_a_vrt(target: str, name: str) -> None:
    how, out = apply(target, shift(), name)
    assert how == {"out.tif": "geotransform", "out.vrt": "vrt"}[name]
    assert np.abs(errors(out, shift())).max() < 1e-3


def test_in_place_changes_the_geotransform_and_undo_brings_every_byte_back(target: str) -> None:
    before = Path(target).read_bytes()
    how, _ = apply(target, shift(), in_place=True)
    assert how == "in place"
    assert np.abs(errors(target, shift())).max() < 1e-3
    assert georeg.undo(target).restored
    assert Path(target).read_bytes() == before


@pytest.mark.parametrize("name", ["out.tif", "out.vrt"])
def test_a_bend_without_resampling_is_gcps_that_gdal_warps_by(target: str, name: str) -> None:
    how, out = apply(target, bent(), name, resample=False)
    assert how == {"out.tif": "gcps", "out.vrt": "vrt"}[name]
    with rasterio.open(out) as dataset, rasterio.open(target) as source:
        gcps, crs = dataset.gcps
        np.testing.assert_array_equal(dataset.read(), source.read())
        warped = np.zeros(dataset.shape, np.float64)
        reproject(
            dataset.read(1).astype(float), warped, gcps=gcps, src_crs=crs, dst_crs=crs, dst_transform=place(10),
            src_nodata=-1, dst_nodata=-1, resampling=rasterio.enums.Resampling.bilinear, tolerance=0,
        )  # fmt: skip
    x, y = centres(place(10), warped.shape)
    inner = np.s_[20:-20, 20:-20]
    right = ramp(*bent().inverse(np.stack([x[inner].ravel(), y[inner].ravel()], axis=1)).T)
    assert np.abs(warped[inner].ravel() - right).max() < 0.1  # 10 m of ground are 2.5 in x, 1 in y


@pytest.mark.parametrize("driver", ["gtiff", "cog"])
@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "lanczos"])
def test_a_bend_resampled_is_right_in_every_pixel(target: str, resampling: str, driver: str) -> None:
    how, out = apply(target, bent(), format=driver, resampling=resampling)
    assert how == "resampled"
    x, y, _ = shown(out)
    near = np.maximum(abs(x - CENTRE[0]), abs(y - CENTRE[1])) < 1400  # a ramp ends at the raster's border
    assert np.abs(errors(out, bent())[near]).max() < {"lanczos": 0.1}.get(resampling, 0.01)
    with rasterio.open(out) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == ("COG" if driver == "cog" else None)


def test_a_cog_stays_one_whether_or_not_it_is_resampled(target: str) -> None:
    cog = str(Path(target).with_name("cog.tif"))
    rasterio.shutil.copy(target, cog, driver="COG")
    for model in (shift(), bent()):
        _, out = apply(cog, model, overwrite=True)
        with rasterio.open(out) as dataset:
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_a_cog_of_a_shifted_file_holds_its_very_pixels(target: str) -> None:
    how, out = apply(target, shift(), format="cog")
    assert how == "cog"
    with rasterio.open(out) as dataset, rasterio.open(target) as source:
        np.testing.assert_array_equal(dataset.read(), source.read())
    assert np.abs(errors(out, shift())).max() < 1e-3


WAYS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "geotransform": (shift(), "out.tif", {}),
    "in place": (shift(), "target.tif", {"in_place": True}),
    "cog": (shift(), "out.tif", {"format": "cog"}),
    "vrt": (shift(), "out.vrt", {}),
    "vrt of a bend": (bent(), "out.vrt", {}),
    "gcps": (bent(), "out.tif", {"resample": False}),
    "resampled": (bent(), "out.tif", {}),
    "resampled cog": (bent(), "out.tif", {"format": "cog"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_corrected_file_says_what_was_done_and_is_not_corrected_twice_unawares(
    way: str, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    model, name, options = WAYS[way]
    apply(target, model, name, **options)
    out = Path(target).with_name(name)
    with rasterio.open(out) as dataset:
        said = dataset.tags(ns="GEOREG")
    assert said["VERSION"] == georeg.__version__
    assert said["VERDICT"] == "not proven"
    assert said["REFERENCE"] == "reference.tif"
    assert said["MODEL"] == model.kind
    assert json.loads(said["CORRECTION"])["model"] == json.loads(json.dumps(model.to_dict()))
    assert not caplog.messages
    if way in ("gcps", "vrt of a bend"):
        return  # what has GCPs only is not corrected by a fit of the geotransform's frame
    again = fit_to(target, model)
    georeg.apply(again, out.with_name("again.tif"), WriteOptions(overwrite=True), target=out)
    assert [m for m in caplog.messages if f"{name} holds this very correction already" in m]
    caplog.clear()
    georeg.apply(fit_to(target, shift(MOVE + 1.0)), out.with_name("other.tif"), target=out)
    assert [m for m in caplog.messages if f"{name} holds a correction already" in m]


def test_what_is_left_as_it_is_remembers_what_moved_it(target: str, caplog: pytest.LogCaptureFixture) -> None:
    _, once = apply(target, shift(), "once.tif")
    still = fit_of(shift(MOVE * 0), target=str(once), reference=str(Path(target).with_name("reference.tif")))
    out = Path(target).with_name("out.tif")
    georeg.apply(still, out)
    assert not caplog.messages
    assert open_raster(out).provenance == open_raster(once).provenance
    georeg.apply(fit_to(target, shift()), out.with_name("twice.tif"), target=out)
    assert [m for m in caplog.messages if "holds this very correction already" in m]


def test_a_proven_result_says_its_accuracy(shift_alignment: georeg.Alignment, tmp_path: Path) -> None:
    shift_alignment.write(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        said = dataset.tags(ns="GEOREG")
    assert said["VERDICT"] == "aligned"
    assert float(said["RMSE"]) == pytest.approx(shift_alignment.after.rmse, rel=1e-5)
    assert int(said["CHECK_POINTS"]) == shift_alignment.after.n
    assert said["ACCURACY"] == shift_alignment.summary()


@pytest.mark.parametrize(
    ("model", "name", "options", "says"),
    [
        (bent(), None, {"in_place": True}, "no geotransform holds the polynomial2 correction"),
        (shift(), None, {"in_place": True, "resample": True}, "leave --resample"),
        (shift(), "out.tif", {"in_place": True}, "exclude each other"),
        (shift(), None, {}, "exclude each other"),
        (bent(), "out.vrt", {"resample": True}, "holds no pixels"),
        (bent(), "out.tif", {"format": "cog", "resample": False}, "must be resampled"),
        (bent(), "out.tif", {"resample": False, "uncertainty": "sigma.tif"}, "not of GCPs"),
        (bent(), "out.tif", {"co": ("FOO=BAR",)}, "FOO"),
        (bent(), "out.tif", {"co": ("COMPRESS",)}, "NAME=VALUE"),
    ],
)
def test_what_contradicts_itself_is_refused_and_leaves_nothing(
    target: str, model: Any, name: str | None, options: dict[str, Any], says: str
) -> None:
    folder = Path(target).parent
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    options = {k: str(folder / v) if k == "uncertainty" else v for k, v in options.items()}
    with pytest.raises(InputError, match=says):
        georeg.apply(fit_to(target, model), None if name is None else folder / name, WriteOptions(**options))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_options_without_effect_are_told(target: str, caplog: pytest.LogCaptureFixture) -> None:
    apply(target, shift(), resampling="nearest", co=("COMPRESS=LZW",))
    assert [m.split()[0] for m in caplog.messages] == ["--resampling", "--co"]


# --- classes --------------------------------------------------------------------------------------------------------


def whole_numbers(path: Path, values: Any, dtype: str = "uint8", **profile: Any) -> str:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        dtype=dtype,
        height=320,
        width=320,
        crs="EPSG:32633",
        transform=place(10),
        **profile,
    ) as dataset:
        dataset.write(values.astype(dtype), 1)
    return str(path)


def squares(*codes: int) -> Any:
    row, col = np.indices((320, 320)) // 20
    return np.array(codes)[(row * 7 + col * 3) % len(codes)]


@pytest.mark.parametrize(
    ("codes", "dtype"),
    [((0, 255), "uint8"), (tuple(range(12)), "uint8"), ((21824, 21888, 22280, 23888, 54596) * 4, "uint16")],
    ids=["mask", "scene classes", "bit fields"],
)
def test_no_value_between_two_classes_is_written(
    target: str, codes: tuple[int, ...], dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = whole_numbers(Path(target).with_name("classes.tif"), squares(*codes), dtype)
    out = Path(path).with_name("out.tif")
    georeg.apply(fit_to(target, bent()), out, target=path)
    with rasterio.open(out) as dataset:
        assert set(np.unique(dataset.read(1)[dataset.read_masks(1) > 0])) == set(codes)
    assert [m for m in caplog.messages if f"holds {len(set(codes))} whole numbers" in m]
    georeg.apply(fit_to(target, bent()), out, WriteOptions(resampling="cubic", overwrite=True), target=path)
    with rasterio.open(out) as dataset:
        assert len(np.unique(dataset.read(1))) > len(set(codes))


@pytest.mark.parametrize("options", [{"nbits": 1}, {"photometric": "palette"}], ids=["one bit", "colour table"])
def test_declared_classes_need_no_look(
    tmp_path: Path, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = whole_numbers(tmp_path / "classes.tif", squares(0, 1), **options)
    if "photometric" in options:
        with rasterio.open(path, "r+") as dataset:
            dataset.write_colormap(1, {0: (0, 0, 0), 1: (255, 0, 0)})
    assert open_raster(path).classes == (1,)
    assert not class_bands(open_raster(path))


def test_an_image_is_not_taken_for_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = 60 + 10 * np.sin(np.arange(320) / 9)[:, None] + rng.normal(0, 3, (320, 320))
    assert not class_bands(open_raster(whole_numbers(tmp_path / "dark.tif", image)))
    assert not class_bands(open_raster(band(tmp_path / "floats.tif", 10)))
    assert not class_bands(open_raster(whole_numbers(tmp_path / "empty.tif", np.zeros((320, 320)))))
    assert not is_classes(np.arange(64))
    assert is_classes(np.arange(16))


# --- the command line -----------------------------------------------------------------------------------------------


def saved(target: str, model: Any) -> str:
    path = Path(target).with_name("fit.json")
    path.write_text(json.dumps(fit_to_dict(fit_to(target, model))))
    return str(path)


def test_in_place_and_undo_by_the_command_line(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    before, result = Path(target).read_bytes(), saved(target, shift())
    assert main(["apply", result, "--in-place", "--quiet"]) == 0
    assert "in place" in capsys.readouterr().out
    assert Path(target).read_bytes() != before
    assert main(["undo", target]) == 0
    assert "as it was" in capsys.readouterr().out
    assert Path(target).read_bytes() == before
    assert main(["undo", target]) == 1
    assert "not corrected in place" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("--in-place", "-o", "x.tif")])
def test_an_output_or_in_place_is_usage(
    target: str, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["apply", saved(target, shift()), *arguments])
    assert stop.value.code == 2
    assert "-o FILE or --in-place" in capsys.readouterr().err


def test_what_cannot_be_corrected_in_place_is_said_before_the_work(
    shift_pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "target.png"
    rasterio.shutil.copy(shift_pair[1], picture, driver="PNG")
    assert main(["align", shift_pair[0], str(picture), "--in-place"]) == 1
    said = capsys.readouterr().err
    assert "only a GeoTIFF can be corrected in place" in said
    assert "match" not in said


def test_creation_options_may_be_repeated(target: str) -> None:
    out = str(Path(target).with_name("out.tif"))
    options = ["--co", "COMPRESS=LZW", "--co", "BLOCKXSIZE=128", "--co", "BLOCKYSIZE=64", "--quiet"]
    assert main(["apply", saved(target, bent()), "-o", out, *options]) == 0
    with rasterio.open(out) as dataset:
        assert dataset.compression.name == "lzw"
        assert dataset.block_shapes == [(64, 128)]


def test_several_targets_are_corrected_where_they_are(target: str, caplog: pytest.LogCaptureFixture) -> None:
    other = band(Path(target).with_name("b11.tif"), 20)
    before = [Path(path).read_bytes() for path in (target, other)]
    assert main(["apply", saved(target, shift()), target, other, "--in-place", "--quiet"]) == 0
    for path in (target, other):
        with rasterio.open(path) as dataset:
            assert dataset.tags(ns="GEOREG")["MODEL"] == "translation"
    assert main(["undo", target, other]) == 0
    assert [Path(path).read_bytes() for path in (target, other)] == before
