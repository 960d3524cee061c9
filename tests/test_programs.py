"""What georeg exports, read by the programs it is for: GDAL's and PROJ's, and a real window of QGIS's Georeferencer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import known
import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Transformer

import georeg
from georeg.corrections import LATTICES, gcps
from georeg.errors import OutputError
from georeg.models import Local, Model
from georeg.placement import Placement
from georeg.raster import open_raster

PROJ = tuple(map(int, pyproj.proj_version_str.split(".")[:2]))


def program(name: str) -> str:
    """Its path; the test is skipped where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def piped(command: list[str], xy: known.Array) -> known.Array:
    """The first two numbers that a program writes for each pair of numbers that it reads."""
    rest = " 0 0" if "cct" in command[0] else ""
    lines = "".join(f"{x!r} {y!r}{rest}\n" for x, y in xy.tolist())
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120, check=True)
    return np.array([line.split()[:2] for line in done.stdout.splitlines()], float)


def wavy(tgt_xy: known.Array) -> known.Array:
    """Displaced by waves of 6 m, which no polynomial follows."""
    x, y = ((tgt_xy - known.CENTRE) / 1500).T
    return tgt_xy + 6 * np.stack([np.sin(x) * np.cos(y), np.cos(x + y)], axis=1)


class Wavy(Model):
    """A model that is neither affine nor a polynomial."""

    kind = "wavy"

    def __init__(self) -> None:
        pass

    def displacement(self, tgt_xy: Any) -> known.Array:
        return wavy(np.asarray(tgt_xy, float)) - np.asarray(tgt_xy, float)

    def __call__(self, tgt_xy: Any) -> known.Array:
        return wavy(np.asarray(tgt_xy, float))

    @property
    def affine(self) -> None:
        return None


def exported(fitted: georeg.Fit, path: Path) -> list[str]:
    """The option that the VRT names for gdalwarp and gdaltransform."""
    georeg.export(fitted, path)
    with rasterio.open(path) as dataset:
        return str(dataset.tags()["GEOREG_GDALWARP_OPTION"]).split()


CASES: dict[str, tuple[str, Callable[[known.Array], known.Array], list[str]]] = {
    "affine": ("affine", known.affine_truth, ["-order", "1"]),
    "second degree": ("polynomial2", known.bent_truth, ["-order", "2"]),
    "third degree": ("polynomial3", known.cubic_truth, ["-order", "3"]),
    "waves": ("affine", wavy, ["-tps"]),
}


def case(name: str, target: str) -> tuple[georeg.Fit, Callable[[known.Array], known.Array]]:
    kind, truth, _ = CASES[name]
    fitted = known.fitted(target, kind)
    if name == "waves":
        values = {field: getattr(fitted, field) for field in fitted.__dataclass_fields__}
        fitted = type(fitted)(**(values | {"model": Wavy()}))
    return fitted, truth


@pytest.mark.parametrize("name", CASES)
def test_gdaltransform_gives_our_coordinates_both_ways(name: str, tmp_path: Path) -> None:
    fitted, truth = case(name, known.ramps(tmp_path / "target.tif"))
    option = exported(fitted, tmp_path / "out.vrt")
    assert option == CASES[name][2]
    px = np.concatenate([known.spread_px(300, seed=6), [[0.0, 0.0], known.SHAPE[::-1]]])
    xy = truth(known.at(known.NORTH_UP, px))
    command = [program("gdaltransform"), "-output_xy", *option]
    there = piped([*command, str(tmp_path / "out.vrt")], px)
    back = piped([*command, "-i", str(tmp_path / "out.vrt")], xy)
    assert np.abs(there - xy).max() < 0.01 * known.GSD
    assert np.abs(back - px).max() < 0.01


def test_gdaltransform_gives_our_coordinates_of_a_target_in_another_crs(tmp_path: Path) -> None:
    """The model acts in UTM zone 33, the pixels lie in zone 32: neither is affine to the other."""
    there = Transformer.from_crs(32633, 32632, always_xy=True)
    corner = there.transform(400000, 5800000)
    transform = Affine(known.GSD, 0, corner[0], 0, -known.GSD, corner[1])
    target = known.ramps(tmp_path / "target.tif", transform, CRS.from_epsg(32632))
    option = exported(known.fitted(target), tmp_path / "out.vrt")
    px = known.spread_px(200, seed=6)
    own = known.at(transform, px)
    xy = known.affine_truth(np.stack(there.transform(*own.T, direction="INVERSE"), axis=1))
    found = piped([program("gdaltransform"), "-output_xy", *option, str(tmp_path / "out.vrt")], px)
    assert np.abs(found - xy).max() < 0.01 * known.GSD


@pytest.mark.parametrize("name", CASES)
def test_gdalwarp_puts_the_pixels_where_we_say(name: str, tmp_path: Path) -> None:
    """The bands hold column and row, which linear interpolation keeps: the result says where its pixels came from."""
    fitted, truth = case(name, known.ramps(tmp_path / "target.tif"))
    option = exported(fitted, tmp_path / "out.vrt")
    command = [program("gdalwarp"), "-q", *option, "-r", "bilinear", "-et", "0", "-tr", "20", "20", "-tap"]
    subprocess.run([*command, str(tmp_path / "out.vrt"), str(tmp_path / "out.tif")], check=True, timeout=120)
    with rasterio.open(tmp_path / "out.tif") as dataset:
        cols, rows = dataset.read().astype(float)
        transform = dataset.transform
        assert CRS.from_user_input(dataset.crs) == known.UTM
    inside = (cols > 2) & (rows > 2) & (cols < 398) & (rows < 298)  # nodata is -1
    row, col = np.nonzero(inside)
    assert len(row) > 20000
    source = np.stack([cols[inside], rows[inside]], axis=1)
    right = truth(known.at(known.NORTH_UP, source))
    assert np.abs(right - known.at(transform, np.stack([col + 0.5, row + 0.5], axis=1))).max() < 0.01 * known.GSD


def test_gcps_that_gdal_could_not_use_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = open_raster(known.ramps(tmp_path / "target.tif"))
    monkeypatch.setattr("georeg.corrections.LATTICES", LATTICES[:1])
    with pytest.raises(OutputError, match=r"ending in \.tif"):
        gcps(Placement(target, known.UTM, Wavy()))


def test_a_local_model_is_exported_as_gcps_and_as_a_grid(tmp_path: Path) -> None:
    target = known.ramps(tmp_path / "target.tif")
    tgt_xy = known.at(known.NORTH_UP, known.spread_px(80, seed=2))
    fitted = known.fitted(target)
    values = {field: getattr(fitted, field) for field in fitted.__dataclass_fields__}
    fitted = type(fitted)(**(values | {"model": Local.fit(tgt_xy, wavy(tgt_xy), np.full(80, 100.0))}))
    option = exported(fitted, tmp_path / "out.vrt")
    px = known.spread_px(200, seed=6)
    xy = fitted.model(known.at(known.NORTH_UP, px))
    found = piped([program("gdaltransform"), "-output_xy", *option, str(tmp_path / "out.vrt")], px)
    assert np.abs(found - xy).max() < 0.01 * known.GSD
    assert "nodes" in georeg.export(fitted, tmp_path / "out.tif")


# --- PROJ -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cct", "pyproj"])
def test_proj_evaluates_the_pipeline_to_a_millimetre(how: str, tmp_path: Path) -> None:
    georeg.export(known.fitted(known.ramps(tmp_path / "target.tif")), tmp_path / "out.proj")
    xy = known.at(known.NORTH_UP, known.spread_px(300, seed=7))
    if how == "cct":
        moved = piped([program("cct"), "-d", "6", f"@{tmp_path / 'out.proj'}"], xy)
    else:
        pipeline = Transformer.from_pipeline((tmp_path / "out.proj").read_text())
        moved = np.stack(pipeline.transform(*xy.T), axis=1)
    assert np.abs(moved - known.affine_truth(xy)).max() < 1e-3


@pytest.mark.skipif(PROJ < (9, 4), reason="PROJ knows such grids from 9.4 on")
@pytest.mark.parametrize("name", CASES)
def test_proj_evaluates_the_grid_both_ways(name: str, tmp_path: Path) -> None:
    fitted, truth = case(name, known.ramps(tmp_path / "target.tif"))
    georeg.export(fitted, tmp_path / "out.tif")
    shift = Transformer.from_pipeline(f"+proj=gridshift +grids={tmp_path / 'out.tif'}")
    xy = known.at(known.NORTH_UP, np.concatenate([known.spread_px(300), [[0.0, 0.0], known.SHAPE[::-1]]]))
    moved = np.stack(shift.transform(*xy.T), axis=1)
    assert np.abs(moved - truth(xy)).max() < 0.01 * known.GSD
    inner = truth(xy[:300])
    back = np.stack(shift.transform(*inner.T, direction="INVERSE"), axis=1)
    assert np.abs(back - xy[:300]).max() < 0.01 * known.GSD


# --- QGIS -----------------------------------------------------------------------------------------------------------

DRIVER = """
import json, os, traceback
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtWidgets import QAction, QApplication, QComboBox, QDialogButtonBox, QFileDialog, QLineEdit, QTableView
from qgis.utils import iface

job = json.loads(os.environ["GEOREG_JOB"])
asked, found = [], {}

def answer():
    # whatever dialog has come up: a file to open, or the settings of the transformation
    window = QApplication.activeModalWidget()
    if isinstance(window, QFileDialog) and asked:
        window.findChild(QLineEdit, "fileNameEdit").setText(asked[0])
        window.findChild(QDialogButtonBox).button(QDialogButtonBox.Open).click()
    elif window is not None and window.metaObject().className() == "QgsTransformSettingsDialog":
        kinds = window.findChild(QComboBox, "cmbTransformType")
        kinds.setCurrentIndex(kinds.findText("Polynomial 1"))
        window.findChild(QDialogButtonBox).button(QDialogButtonBox.Ok).click()
    elif window is not None and hasattr(window, "accept"):
        window.accept()

def drive():
    try:
        iface.mainWindow().findChild(QAction, "mActionShowGeoreferencer").trigger()
        windows = QApplication.topLevelWidgets()
        window = next(w for w in windows if w.metaObject().className() == "QgsGeoreferencerMainWindow")
        actions = {a.objectName(): a for a in window.findChildren(QAction)}
        for name, path in (("mActionOpenRaster", job["raster"]), ("mActionLoadGCPpoints", job["points"])):
            asked.append(path)
            actions[name].trigger()
            asked.clear()
        actions["mActionTransformSettings"].trigger()
        for name in ("tie_points", "residual_arrows"):
            layer = iface.addVectorLayer(job["gpkg"] + "|layername=" + name, name, "ogr")
            renderer = layer.renderer()
            found[name] = {"type": renderer.type(), "labels": [c.label() for c in renderer.categories()],
                           "drawn": [f["id"] for f in layer.getFeatures() if drawn(renderer, layer, f)]}
        QTimer.singleShot(1500, lambda: finish(window))
    except Exception:
        finish(None)

def drawn(renderer, layer, feature):
    from qgis.core import QgsRenderContext
    context = QgsRenderContext()
    context.expressionContext().setFeature(feature)
    context.expressionContext().setFields(layer.fields())
    renderer.startRender(context, layer.fields())
    symbol = renderer.symbolForFeature(feature, context)
    renderer.stopRender(context)
    return symbol is not None

def finish(window):
    try:
        if window is None:
            found["error"] = traceback.format_exc()
        else:
            tables = window.findChildren(QTableView)
            model = next(t for t in tables if t.metaObject().className() == "QgsGCPListWidget").model()
            cells = range(1, model.columnCount())
            found["rows"] = [[model.data(model.index(r, 0), Qt.CheckStateRole) == Qt.Checked]
                             + [model.data(model.index(r, c), Qt.UserRole) for c in cells]
                             for r in range(model.rowCount())]
            window.grab().save(job["out"] + ".georeferencer.png")
            iface.mainWindow().grab().save(job["out"] + ".png")
    except Exception:
        found["error"] = traceback.format_exc()
    with open(job["out"], "w") as file:
        json.dump(found, file)
    os._exit(0)

timer = QTimer()
timer.timeout.connect(answer)
timer.start(200)
QTimer.singleShot(2000, drive)
"""


@pytest.fixture(scope="module")
def in_qgis(tmp_path_factory: pytest.TempPathFactory) -> tuple[georeg.Fit, dict[str, Any]]:
    """A fit, and what QGIS has in its windows of the files exported from it."""
    qgis, display = program("qgis"), program("xvfb-run")
    folder = tmp_path_factory.mktemp("qgis")
    target = known.ramps(folder / "target.tif")
    clean = known.tie_points(target)
    noise = np.random.default_rng(4).normal(0, 2.0, clean.ref_xy.shape)
    fitted = known.fitted(target, ref_xy=clean.ref_xy + noise)
    job = {"raster": target, "out": str(folder / "found.json")}
    for name, suffix in (("points", "points"), ("gpkg", "gpkg")):
        job[name] = str(folder / f"out.{suffix}")
        georeg.export(fitted, job[name])
    (folder / "drive.py").write_text(DRIVER)
    (folder / "run").mkdir(mode=0o700)
    environment = {
        "PATH": os.defpath, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run"), "LANG": "C.UTF-8",
        "QT_QPA_PLATFORM": "xcb", "GEOREG_JOB": json.dumps(job),
    }  # fmt: skip
    started = [qgis, "--nologo", "--noversioncheck", "--profiles-path", str(folder / "profile"), "--code"]
    command = [display, "-a", "-s", "-screen 0 1600x1000x24", *started, str(folder / "drive.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert Path(job["out"]).exists(), done.stderr[-2000:]
    found = json.loads(Path(job["out"]).read_text())
    assert "error" not in found, found["error"]
    return fitted, found


def test_the_georeferencer_of_qgis_loads_our_points(in_qgis: tuple[georeg.Fit, dict[str, Any]]) -> None:
    """Places, which are enabled, and the residuals in pixels of its own fit to these: those of least squares in NumPy."""
    fitted, found = in_qgis
    points = fitted.points
    rows = found["rows"]
    assert len(rows) == len(points) == 60
    enabled = np.array([row[0] for row in rows])
    assert np.array_equal(enabled, np.isin(fitted.role, (1, 3)))
    values = np.array([row[2:9] for row in rows], float)
    assert np.abs(values[:, :2] - points.tgt_xy).max() < 1e-6
    assert np.abs(values[:, 2:4] - points.ref_xy).max() < 1e-6
    px = known.at(~known.NORTH_UP, points.tgt_xy)
    design = np.column_stack([np.ones(len(points)), points.ref_xy - known.CENTRE])
    solved = np.linalg.lstsq(design[enabled], px[enabled], rcond=None)[0]
    residual_px = design @ solved - px
    assert np.abs(values[:, 4:6] - residual_px).max() < 1e-3
    assert np.abs(residual_px[enabled]).max() > 0.3


def test_qgis_draws_every_tie_point_and_arrow_by_our_style(in_qgis: tuple[georeg.Fit, dict[str, Any]]) -> None:
    fitted, found = in_qgis
    kept = np.flatnonzero(fitted.points.kept) + 1
    for name, ids in (("tie_points", list(range(1, 61))), ("residual_arrows", kept.tolist())):
        assert found[name]["type"] == "categorizedSymbol"
        assert sorted(found[name]["drawn"]) == ids
    assert "check point, withheld from the fit" in found["tie_points"]["labels"]
    assert any("times as long" in label for label in found["residual_arrows"]["labels"])
