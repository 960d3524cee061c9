"""A session of a person at QGIS, played by QTest: run by ``qgis --code``, told by ``desktop.py`` what to do with what.

Each step is done, then waited for without keeping QGIS from its work; what was found is written to ``report.json``.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback

from qgis import utils
from qgis.core import QgsProject
from qgis.PyQt.QtCore import QObject, QPoint, Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QMessageBox, QToolButton

JOB = json.loads(os.environ["GEOREG_DESKTOP"])
TICK_MS = 10
LEFT = Qt.MouseButton.LeftButton
iface = utils.iface
found = {"blocked_s": {}, "busy_s": {}, "clicks": 0, "shots": [], "python_errors": []}
phase = ["start"]
last = [time.monotonic(), time.thread_time()]


def tick() -> None:
    """How long the window was not listening, and how long it was at work meanwhile, by what was going on."""
    now = [time.monotonic(), time.thread_time()]
    gaps = (now[0] - last[0] - TICK_MS / 1000, now[1] - last[1])
    last[:] = now
    for key, gap in zip(("blocked_s", "busy_s"), gaps):  # noqa: B905 - the Python of QGIS may be 3.9
        found[key][phase[0]] = round(max(gap, found[key].get(phase[0], 0.0)), 3)


def hear_errors(kind, value, trace) -> None:
    """Of Python, which QGIS would only show in a bar."""
    found["python_errors"].append("".join(traceback.format_exception(kind, value, trace)))


def click(widget) -> None:
    found["clicks"] += 1
    QTest.mouseClick(widget, LEFT)


def plugin():
    return utils.plugins["georeg_qgis"]


def workers() -> list:
    """Process ids of the workers that this QGIS has."""
    ours = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat, open(f"/proc/{name}/cmdline") as line:
                parent, state = stat.read().rpartition(")")[2].split()[1::-1]
                if int(parent) == os.getpid() and state != "Z" and "georeg.cli" in line.read():
                    ours.append(int(name))
        except OSError:
            pass
    return ours


def shot(name: str) -> None:
    """What the whole screen shows."""
    path = os.path.join(JOB["out"], f"{name}.png")
    tick()
    QApplication.primaryScreen().grabWindow(0).save(path)
    found["shots"].append(path)
    last[:] = time.monotonic(), time.thread_time()  # what that took is no fault of the plugin


def groups() -> list:
    return [group.name() for group in QgsProject.instance().layerTreeRoot().findGroups()]


def aligned_visible() -> bool:
    """Whether a corrected raster is on the canvas and drawn."""
    root = QgsProject.instance().layerTreeRoot()
    shown = [layer for layer in iface.mapCanvas().layers() if layer.name().endswith("_aligned")]
    return bool(shown) and root.findLayer(shown[0].id()).isVisible() and not iface.mapCanvas().isDrawing()


def idle() -> bool:
    return not plugin().dock.job.running and not iface.mapCanvas().isDrawing()


def settled(seconds: float):
    """True once so much time has passed."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def toolbar_button():
    buttons = iface.mainWindow().findChildren(QToolButton)
    return next(
        b for b in buttons if b.defaultAction() and b.defaultAction().objectName() == "georegPanel" and b.isVisible()
    )


def session():
    """The steps; each yields what it waits for."""
    sys.excepthook = hear_errors
    iface.mainWindow().showMaximized()
    found["loaded"] = utils.loadPlugin("georeg_qgis") and utils.startPlugin("georeg_qgis")
    for key in ("reference", "target"):
        iface.addRasterLayer(JOB[key], key if JOB.get("plain") else os.path.basename(JOB[key]).rpartition(".")[0])
    yield settled(2.0)
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
    dock.options.search_m.setValue(500.0)  # which is of the search, and not of a refit
    began = time.monotonic()
    click(dock.result.refit_button)
    yield lambda: idle() and len(dock.history.runs) == 2
    found["refit_s"] = round(time.monotonic() - began, 2)
    found["refit_log"] = dock.running.log.toPlainText()
    found["switched_off"] = dock.history.last.values["tie_points"]["status"].count("disabled")
    found["refit_output"] = dock.history.last.output
    dock.options.search_m.setValue(0.0)
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


class Player:
    """Goes from step to step."""

    def __init__(self) -> None:
        self._steps, self._ready, self._until = session(), settled(2.0), time.monotonic() + 60
        self.timer = QTimer()
        self.timer.timeout.connect(self.play)
        self.timer.start(TICK_MS)

    def play(self) -> None:
        tick()
        try:
            if not self._ready():
                if time.monotonic() > self._until:
                    raise TimeoutError(f"in {phase[0]}: {plugin().dock.running.log.toPlainText()}")
                return
            self._ready, self._until = next(self._steps), time.monotonic() + 60
        except StopIteration:
            self.end()
        except Exception:  # noqa: BLE001 - whatever it is, it is told
            found["error"] = traceback.format_exc()
            shot("error")
            self.end()

    def end(self) -> None:
        self.timer.stop()
        path = os.path.join(JOB["out"], "report.json")
        with open(path + ".part", "w") as file:
            json.dump(found, file, indent=1)
        os.replace(path + ".part", path)


player = Player()
