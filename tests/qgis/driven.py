"""A session of a person at QGIS: the whole of it, as ``docs/qgis.md`` tells it."""

from __future__ import annotations

import json
import os
import sys
import time

sys.path.insert(0, json.loads(os.environ["GEOREG_DESKTOP"])["here"])

from qgis import utils
from qgis.core import QgsProject
from qgis.PyQt.QtCore import QObject, QPoint
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QMessageBox

from playing import (
    JOB,
    LEFT,
    Player,
    click,
    found,
    idle,
    iface,
    last,
    opened,
    phase,
    plugin,
    settled,
    shot,
    toolbar_button,
    workers,
)


def groups() -> list:
    return [group.name() for group in QgsProject.instance().layerTreeRoot().findGroups()]


def aligned_visible() -> bool:
    """Whether a corrected raster is on the canvas and drawn."""
    root = QgsProject.instance().layerTreeRoot()
    shown = [layer for layer in iface.mapCanvas().layers() if layer.name().endswith("_aligned")]
    return bool(shown) and root.findLayer(shown[0].id()).isVisible() and not iface.mapCanvas().isDrawing()


def session():
    """The steps; each yields what it waits for."""
    yield from opened("reference", "target")
    yield from aligning()
    yield from comparing()
    yield from refitting()
    yield from undoing()
    yield from checking()
    yield from cancelling()
    yield from refused()
    yield from reloading()


def aligning():
    phase[0] = "open the panel"
    click(toolbar_button())
    yield settled(1.0)
    shot("panel")
    found["paths"] = list(plugin().dock.inputs.paths())
    found["line"] = plugin().dock.inputs.line.text()
    phase[0], found["clicks"], began = "align", 0, time.monotonic()
    click(plugin().dock.running.align_button)
    yield lambda: plugin().dock.running.bar.maximum() > 0 or idle()
    shot("running")
    yield aligned_visible
    found["align_s"], found["align_clicks"] = round(time.monotonic() - began, 2), found["clicks"]
    dock = plugin().dock
    found["verdict"], found["groups"] = dock.result.verdict.text(), groups()
    found["figures"], found["log"] = dock.result.figures.text(), dock.running.log.toPlainText()
    run = dock.history.last
    found["output"] = run.output
    found["aligned_crs"] = QgsProject.instance().mapLayer(run.shown.aligned).crs().authid()
    found["n_ties"] = len(run.ties)
    found["displacement"] = run.values["displacement"]
    yield settled(1.0)
    shot("aligned")


def comparing():
    phase[0] = "swipe"
    dock, canvas = plugin().dock, iface.mapCanvas()
    click(dock.result.swipe_button)
    item = dock.view.compare.item
    yield lambda: item.image is not None and not canvas.isDrawing()
    view, y = canvas.viewport(), canvas.height() // 2
    before = canvas.grab().toImage()
    QTest.mousePress(view, LEFT, pos=QPoint(canvas.width() // 2, y))
    QTest.mouseMove(view, QPoint(canvas.width() // 3, y))
    yield settled(0.1)
    QTest.mouseRelease(view, LEFT, pos=QPoint(canvas.width() // 3, y))
    QTest.mouseClick(view, LEFT, pos=QPoint(canvas.width() // 2 + 60, y))
    yield settled(0.2)
    last[:] = time.monotonic(), time.thread_time()
    found["swiped_px"] = item.at_px - canvas.width() // 2
    found["swipe_changes"] = canvas.grab().toImage() != before
    last[:] = time.monotonic(), time.thread_time()
    shot("swipe")
    click(dock.result.swipe_button)
    yield settled(0.3)
    found["swipe_gone"] = not item.isVisible() and dock.result.dots.isChecked()
    QTest.mousePress(dock.result.flicker_button, LEFT)
    yield lambda: item.image is not None
    found["flicker_shown"] = item.isVisible() and item.everywhere
    QTest.mouseRelease(dock.result.flicker_button, LEFT)
    found["flicker_gone"] = not item.isVisible()
    click(dock.result.worst_button)
    yield lambda: not canvas.isDrawing()
    yield settled(0.5)
    found["worst_pixel"] = canvas.mapUnitsPerPixel() / dock.history.last.values["after"]["gsd"]
    shot("worst")
    iface.mapCanvas().setExtent(QgsProject.instance().mapLayer(dock.history.last.shown.aligned).extent())
    iface.mapCanvas().refresh()
    yield settled(0.5)


def refitting():
    phase[0] = "refit"
    dock = plugin().dock
    for row in range(3):
        index = dock.result.model.index(row, 0)
        dock.result.table.scrollTo(index)
        at = dock.result.table.visualRect(index).center()
        QTest.mouseClick(dock.result.table.viewport(), LEFT, pos=at)
    found["unticked"] = len(dock.result.model.unticked)
    dock.where.search.set_search_m(500.0)  # which is of the search, and not of a refit
    began = time.monotonic()
    click(dock.result.refit_button)
    yield lambda: idle() and len(dock.history.runs) == 2
    found["refit_s"] = round(time.monotonic() - began, 2)
    found["refit_log"] = dock.running.log.toPlainText()
    found["switched_off"] = dock.history.last.values["tie_points"]["status"].count("disabled")
    found["refit_output"] = dock.history.last.output
    dock.where.search.set_search_m(0.0)
    yield settled(0.7)
    shot("refit")


def undoing():
    phase[0] = "undo"
    dock = plugin().dock
    outputs = [run.output for run in dock.history.runs]
    for _ in outputs:
        click(dock.result.undo_button)
        yield lambda: isinstance(QApplication.activeModalWidget(), QMessageBox)
        box = QApplication.activeModalWidget()
        if not found.get("undo_text"):
            found["undo_text"] = box.text() + " " + box.informativeText()
            yield settled(0.3)
            shot("undo")
        click(next(b for b in box.buttons() if "delete" in b.text()))
        yield settled(0.5)
    found["after_undo"] = {"groups": groups(), "files": [path for path in outputs if os.path.exists(path)]}
    found["inputs_left"] = sorted(layer.name() for layer in QgsProject.instance().mapLayers().values())


def checking():
    phase[0] = "check only"
    dock = plugin().dock
    click(dock.running.check_button)
    yield lambda: idle() and len(dock.history.runs) == 1
    found["check"], found["check_groups"] = dock.result.verdict.text(), groups()
    found["after_check"] = sorted(os.listdir(os.path.dirname(JOB["target"])))
    click(dock.result.command_button)
    found["command"] = QApplication.clipboard().text()
    dock.options.fold.setCollapsed(False)
    yield settled(0.5)
    shot("advanced")
    found["too_wide_px"] = dock.widget().widget().width() - dock.widget().viewport().width()
    dock.options.fold.setCollapsed(True)
    dock.undo(delete=True)
    yield settled(0.2)


def cancelling():
    phase[0] = "cancel"
    dock = plugin().dock
    click(dock.running.align_button)
    yield lambda: dock.running.bar.maximum() > 0
    pids, began = workers(), time.monotonic()
    click(dock.running.cancel_button)
    yield lambda: not dock.job.running and dock.running.align_button.isVisible()
    found["cancel_s"] = round(time.monotonic() - began, 3)
    yield lambda: not workers()
    found["cancelled_worker"] = {"n": len(pids), "gone_s": round(time.monotonic() - began, 3)}
    found["cancel_text"] = dock.result.verdict.text()
    found["after_cancel"] = sorted(os.listdir(os.path.dirname(JOB["target"])))
    yield settled(0.4)
    shot("cancelled")


def refused():
    phase[0] = "refusal"
    dock = plugin().dock
    layer = iface.addRasterLayer(JOB["other"], "another place")
    yield settled(0.7)
    dock.inputs.target.setLayer(layer)
    click(dock.running.align_button)
    yield lambda: idle() and dock.result.verdict.isVisible()
    found["refusal"] = dock.result.verdict.text()
    found["after_refusal"] = sorted(os.listdir(os.path.dirname(JOB["target"])))
    yield settled(0.4)
    shot("refused")
    QgsProject.instance().removeMapLayer(layer.id())
    yield settled(0.3)


def reloading():
    phase[0] = "unload and reload"
    found["unloaded"] = bool(utils.unloadPlugin("georeg_qgis"))
    yield settled(0.5)
    ours = ("GeoregDock", "georegPanel", "georegSetup")
    found["left_behind"] = [name for name in ours if iface.mainWindow().findChild(QObject, name) is not None]
    found["reloaded"] = bool(utils.loadPlugin("georeg_qgis") and utils.startPlugin("georeg_qgis"))
    yield settled(0.5)
    click(toolbar_button())
    yield settled(0.7)
    phase[0] = "run until killed"
    click(plugin().dock.running.align_button)
    yield lambda: plugin().dock.running.bar.maximum() > 0
    found["workers"] = workers()


player = Player(session())
