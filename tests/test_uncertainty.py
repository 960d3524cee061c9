"""The uncertainty raster: the model's covariance at each pixel, on the grid of the corrected target."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine as Transform
from numpy.typing import ArrayLike
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from rasterio.windows import Window
from test_vectors import CENTRE, UTM33, bent, files, fit_of, shift

import georeg
from georeg.errors import OutputError
from georeg.initial import PIXELS
from georeg.models import FloatArray, Translation
from georeg.placement import Placement
from georeg.raster import open_raster
from georeg.uncertainty import Certainty

SHAPE = (300, 700)


class Stated(Translation):
    """A shift whose covariance is made up: σx grows eastwards and σy northwards, metre by kilometre."""

    def covariance_at(self, tgt_xy: ArrayLike) -> FloatArray:
        sigma = stated_sigma(np.asarray(tgt_xy, float))
        return sigma[:, :, None] * np.array([[1, 0.3], [0.3, 1]]) * sigma[:, None, :]


def stated_sigma(tgt_xy: FloatArray) -> FloatArray:
    return np.hypot(0.5, (tgt_xy - CENTRE) / 1000)


def stated() -> Translation:
    return shift(kind=Stated)


def raster(path: Path, crs: Any = "EPSG:32633", transform: Any = None, shape: Any = SHAPE, dtype: str = "uint8") -> str:
    place = transform or Transform(10, 0, CENTRE[0], 0, -10, CENTRE[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path, "w", driver="GTiff", count=1, dtype=dtype, height=shape[0], width=shape[1], crs=crs, transform=place
        ) as out:
            out.write(np.random.default_rng(0).integers(1, 200, (1, *shape)).astype(dtype))
    return str(path)


def centres(dataset: Any) -> np.ndarray:
    """(H W, 2) map coordinates of every pixel centre."""
    col, row = np.meshgrid(np.arange(dataset.width) + 0.5, np.arange(dataset.height) + 0.5)
    a, b, c, d, e, f = dataset.transform[:6]
    return np.stack([a * col + b * row + c, d * col + e * row + f], axis=-1).reshape(-1, 2)


def with_uncertainty(tmp_path: Path, **options: Any) -> georeg.WriteOptions:
    return georeg.WriteOptions(uncertainty=str(tmp_path / "sigma.tif"), **options)


def test_a_geotransform_that_is_rewritten_has_the_uncertainty_of_each_of_its_pixels(tmp_path):
    target = raster(tmp_path / "t.tif")
    assert (
        georeg.apply(fit_of(stated(), target=target), tmp_path / "o.tif", with_uncertainty(tmp_path)) == "geotransform"
    )
    with (
        rasterio.open(tmp_path / "sigma.tif") as sigma,
        rasterio.open(tmp_path / "o.tif") as out,
        rasterio.open(target) as t,
    ):
        assert (sigma.transform, sigma.shape, sigma.crs) == (out.transform, out.shape, out.crs)
        assert (sigma.descriptions, sigma.units, sigma.dtypes) == (("sigma_x", "sigma_y"), ("m", "m"), ("float32",) * 2)
        assert np.isnan(sigma.nodata)
        assert "WGS 84 / UTM zone 33N" in sigma.tags()["georeg"]
        found = np.moveaxis(sigma.read(), 0, -1).reshape(-1, 2)
        # of where each pixel came from, not of where it went to
        assert found == pytest.approx(stated_sigma(centres(t)), rel=0.011)
        assert not np.allclose(found, stated_sigma(centres(out)), rtol=0.001)


def test_a_raster_that_is_resampled_has_it_on_the_grid_of_the_reference_and_nowhere_beside_the_target(tmp_path):
    target = raster(tmp_path / "t.tif")
    reference = raster(
        tmp_path / "r.tif", transform=Transform(20, 0, CENTRE[0] - 400, 0, -20, CENTRE[1] + 400), shape=(200, 400)
    )
    fitted = fit_of(stated(), target=target, reference=reference)
    assert georeg.apply(fitted, tmp_path / "o.tif", with_uncertainty(tmp_path, resample=True)) == "resampled"
    with rasterio.open(tmp_path / "sigma.tif") as sigma, rasterio.open(tmp_path / "o.tif") as out:
        assert (sigma.transform, sigma.shape, sigma.crs) == (out.transform, out.shape, out.crs)
        found = np.moveaxis(sigma.read(), 0, -1).reshape(-1, 2)
        seen = out.read_masks(1).ravel() > 0
        assert np.array_equal(np.isfinite(found), np.stack([seen, seen], axis=1))
        assert 0.2 < seen.mean() < 0.7
        assert found[seen] == pytest.approx(stated_sigma(centres(out)[seen] - (37.3, -52.6)), rel=0.011)


def test_axes_and_unit_are_of_the_working_crs(tmp_path):
    to_degrees = Transformer.from_crs(UTM33, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*CENTRE)
    target = raster(tmp_path / "t.tif", "EPSG:4326", Transform(1.5e-4, 0, lon, 0, -9e-5, lat))
    georeg.apply(fit_of(stated(), target=target), tmp_path / "o.tif", with_uncertainty(tmp_path))
    with rasterio.open(tmp_path / "sigma.tif") as sigma, rasterio.open(target) as source:
        assert sigma.crs == source.crs
        assert sigma.units == ("m", "m")
        assert "x (east) and y (north) of WGS 84 / UTM zone 33N" in sigma.tags()["georeg"]
        tgt_xy = np.stack(to_degrees.transform(*centres(source).T, direction="INVERSE"), axis=1)
        found = np.moveaxis(sigma.read(), 0, -1).reshape(-1, 2)
    assert found == pytest.approx(stated_sigma(tgt_xy), rel=0.011)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_between_the_nodes_it_is_within_a_hundredth(scale, tmp_path):
    """However sharply it bends: the lattice is made finer, down to the pixel."""

    class Sharp(Translation):
        def covariance_at(self, tgt_xy: ArrayLike) -> FloatArray:
            return np.eye(2) * self.sigma(tgt_xy)[:, None, None] ** 2

        def sigma(self, tgt_xy: ArrayLike) -> FloatArray:
            return 1 + 0.5 * np.sin(np.asarray(tgt_xy)[:, 0] * scale / 30_000)

    model = shift(kind=Sharp)
    opened = open_raster(raster(tmp_path / "t.tif"))
    grid = GeoBox(opened.shape, opened.transform, opened.crs.to_wkt())
    _, values = Certainty(Placement(opened, UTM33, model), grid, resampled=False).window(Window(30, 7, 500, 200))
    with rasterio.open(opened.path) as dataset:
        true = model.sigma(centres(dataset)).reshape(SHAPE)[7:207, 30:530]
    assert values[0] == pytest.approx(true, rel=0.011)
    assert np.array_equal(values[0], values[1])


def test_windows_of_any_size_agree(tmp_path):
    opened = open_raster(raster(tmp_path / "t.tif"))
    grid = GeoBox(opened.shape, opened.transform, opened.crs.to_wkt())
    certainty = Certainty(Placement(opened, UTM33, stated()), grid, resampled=True)
    _, whole = certainty.window(Window(0, 0, 700, 300))
    for window in (Window(0, 0, 1, 1), Window(699, 299, 1, 1), Window(100, 50, 3, 250)):
        _, part = certainty.window(window)
        rows, cols = window.toslices()
        assert part == pytest.approx(whole[:, rows, cols], rel=0.021, nan_ok=True)


def test_where_the_model_has_no_inverse_there_is_none(tmp_path):
    target = raster(tmp_path / "t.tif", transform=Transform(100, 0, CENTRE[0] - 35_000, 0, -100, CENTRE[1] + 15_000))
    reference = raster(tmp_path / "r.tif", transform=Transform(100, 0, CENTRE[0] - 35_000, 0, -100, CENTRE[1] + 15_000))
    fitted = fit_of(bent(2500.0), target=target, reference=reference)
    georeg.apply(fitted, tmp_path / "o.tif", with_uncertainty(tmp_path))
    with rasterio.open(tmp_path / "sigma.tif") as sigma, rasterio.open(tmp_path / "o.tif") as out:
        seen = out.read_masks(1) > 0
        assert 0.02 < seen.mean() < 0.98
        assert np.array_equal(np.isfinite(sigma.read(1)), seen)


def test_no_correction_has_no_uncertainty_but_zero(tmp_path):
    class Certain(Translation):
        def covariance_at(self, tgt_xy: ArrayLike) -> FloatArray:
            return np.zeros((len(np.asarray(tgt_xy)), 2, 2))

    georeg.apply(
        fit_of(shift((0, 0), Certain), target=raster(tmp_path / "t.tif")),
        tmp_path / "o.tif",
        with_uncertainty(tmp_path),
    )
    with rasterio.open(tmp_path / "sigma.tif") as sigma:
        assert not sigma.read().any()


def test_pixels_of_a_picture_are_its_unit(tmp_path):
    pair = {side: raster(tmp_path / f"{side}.tif", None, Transform.identity()) for side in ("reference", "target")}
    here = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    fitted = fit_of(Translation.fit(here, here + (3, 4)), PIXELS, initial="center", **pair)
    georeg.apply(fitted, tmp_path / "o.tif", with_uncertainty(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(tmp_path / "sigma.tif") as sigma:
            assert (sigma.crs, sigma.units) == (None, ("px", "px"))


@pytest.mark.parametrize("fails", ["output", "uncertainty"])
def test_the_failure_of_one_leaves_neither(fails, tmp_path, monkeypatch):
    def broken(*_: Any, **__: Any) -> None:
        raise OutputError("the disk is full")

    target = raster(tmp_path / "t.tif")
    name = "copy_with_transform" if fails == "output" else "write_uncertainty"
    monkeypatch.setattr(sys.modules["georeg.correct"], name, broken)
    before = files(tmp_path)
    with pytest.raises(OutputError, match="disk is full"):
        georeg.apply(fit_of(stated(), target=target), tmp_path / "o.tif", with_uncertainty(tmp_path))
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["t.tif", "o.tif", "there.tif", "absent/u.tif"])
def test_the_uncertainty_replaces_nothing(name, tmp_path):
    target = raster(tmp_path / "t.tif")
    (tmp_path / "there.tif").write_bytes(b"precious")
    before = files(tmp_path)
    options = georeg.WriteOptions(uncertainty=str(tmp_path / name), overwrite=name != "there.tif")
    with pytest.raises(OutputError):
        georeg.apply(fit_of(stated(), target=target), tmp_path / "o.tif", options)
    assert files(tmp_path) == before


def test_it_compresses(tmp_path):
    target = raster(tmp_path / "t.tif", shape=(2000, 2000))
    georeg.apply(fit_of(stated(), target=target), tmp_path / "o.tif", with_uncertainty(tmp_path))
    assert (tmp_path / "sigma.tif").stat().st_size < 0.1 * 2 * 4 * 2000 * 2000


def test_a_working_crs_in_degrees_says_so(tmp_path):
    wgs84 = CRS.from_epsg(4326)
    model = Translation.fit(*(np.array([[13.0, 52.0], [13.1, 52.0], [13.0, 52.1]]),) * 2)
    target = raster(tmp_path / "t.tif", "EPSG:4326", Transform(1e-4, 0, 13, 0, -1e-4, 52))
    georeg.apply(fit_of(model, wgs84, target=target), tmp_path / "o.tif", with_uncertainty(tmp_path))
    with rasterio.open(tmp_path / "sigma.tif") as sigma:
        assert sigma.units == ("degree", "degree")
