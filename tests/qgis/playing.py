"""What the sessions have in common that QTest plays in a QGIS: how a step is done, waited for and told of.

Run by ``qgis --code``, told by ``desktop.py`` what to do with what. Each step is done, then waited for without keeping QGIS
from its work; what was found is written to ``report.json``.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback

from qgis import utils
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QToolButton

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


def opened(*keys: str):
    """The plugin loaded, rasters of the job open and then the panel; what is waited for."""
    iface.mainWindow().showMaximized()
    found["loaded"] = utils.loadPlugin("georeg_qgis") and utils.startPlugin("georeg_qgis")
    for key in keys:
        iface.addRasterLayer(JOB[key], key if JOB.get("plain") else os.path.basename(JOB[key]).rpartition(".")[0])
    yield settled(2.0)


class Player:
    """Goes from step to step."""

    def __init__(self, steps) -> None:
        sys.excepthook = hear_errors
        self._steps, self._ready, self._until = steps, settled(2.0), time.monotonic() + 60
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
