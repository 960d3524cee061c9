"""What the cases share: samples that may be written beside, the panel, and waiting without keeping QGIS from its work."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QEventLoop, QTimer

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "sample_tiles"
sys.path.insert(0, str(ROOT / "qgis_plugin"))

from georeg_qgis.dock import GeoregDock  # noqa: E402
from georeg_qgis.provider import GeoregProvider  # noqa: E402

LONGEST_MS = 60_000


def until(ready) -> None:
    """Let QGIS live until something is so."""
    loop, late = QEventLoop(), []
    watch, end = QTimer(), QTimer()
    watch.timeout.connect(lambda: loop.quit() if ready() else None)
    end.timeout.connect(lambda: (late.append(1), loop.quit()))
    end.setSingleShot(True)
    watch.start(10)
    end.start(LONGEST_MS)
    loop.exec_() if hasattr(loop, "exec_") else loop.exec()
    watch.stop()
    end.stop()
    assert not late, "it took too long"


@pytest.fixture
def samples(tmp_path):
    """Copies of samples, by name."""
    names = ("shift_reference", "shift_target", "polynomial_target")
    return {name: shutil.copy(SAMPLES / f"{name}.tif", tmp_path) for name in names}


@pytest.fixture
def truth():
    """The displacement (east, north) of the pair that is moved, map units."""
    model = json.loads((SAMPLES / "truth.json").read_text())["pairs"]["shift"]["model"]
    return model["coefficients_x"][0], model["coefficients_y"][0]


@pytest.fixture
def dock(qgis_iface, qgis_new_project, samples):
    """The panel, with the pair that is moved chosen."""
    layers = {name: QgsRasterLayer(path, name) for name, path in samples.items()}
    for layer in (layers["shift_reference"], layers["shift_target"]):
        QgsProject.instance().addMapLayer(layer)
    made = GeoregDock(qgis_iface)
    made.inputs.reference.setLayer(layers["shift_reference"])
    made.inputs.target.setLayer(layers["shift_target"])
    yield made
    gone(made)


def gone(made) -> None:
    """Shut and delete a panel, as when the plugin is unloaded: what lives on hears of a project that ends."""
    made.shut()
    made.deleteLater()
    QCoreApplication.sendPostedEvents(made, QEvent.Type.DeferredDelete)


@pytest.fixture
def georeg(qgis_processing):
    """Runs an algorithm of the plugin."""
    import processing

    provider = GeoregProvider()
    QgsApplication.processingRegistry().addProvider(provider)
    yield lambda verb, **given: processing.run(f"georeg:{verb}", {name: _plain(value) for name, value in given.items()})
    QgsApplication.processingRegistry().removeProvider(provider)


def _plain(value):
    return os.fspath(value) if isinstance(value, os.PathLike) else value
