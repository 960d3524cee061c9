"""Builds the plugin's widgets on PyQt6, with a stub of QGIS: prints what was found as JSON. Run by test_plugin_qt6.py.

python built.py STUB PLUGINS RESULT POINTS
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

stub, plugins, result, points = sys.argv[1:]
sys.path[:0] = [stub, plugins]

from qgis.gui import QgsMapCanvas  # noqa: E402
from qgis.PyQt.QtCore import QEvent, QObject, Qt, pyqtSignal  # noqa: E402
from qgis.PyQt.QtGui import QKeyEvent  # noqa: E402
from qgis.PyQt.QtTest import QTest  # noqa: E402
from qgis.PyQt.QtWidgets import QApplication, QMainWindow  # noqa: E402

application = QApplication([])
raised: list[str] = []


def hear(*what: Any) -> None:
    """What Python raises in a slot, which Qt goes on after."""
    raised.append("".join(traceback.format_exception(*what)))
    print(raised[-1], file=sys.stderr)


sys.excepthook = hear
names = sorted(path.stem for path in Path(plugins, "georeg_qgis").glob("*.py") if path.stem != "__init__")
modules = {name: importlib.import_module(f"georeg_qgis.{name}") for name in names}
figures = modules["figures"]


class Iface:
    """What the plugin asks of QGIS's window."""

    def __init__(self) -> None:
        self.window, self.canvas = QMainWindow(), QgsMapCanvas()

    def mainWindow(self) -> QMainWindow:
        return self.window

    def mapCanvas(self) -> QgsMapCanvas:
        return self.canvas


class FakeJob(QObject):
    """A job that says what it is told to."""

    hello, progress, succeeded = pyqtSignal(dict), pyqtSignal(dict), pyqtSignal(dict)
    logged, tiepoints, failed, ended = pyqtSignal(str, str), pyqtSignal(str), pyqtSignal(str, str, str), pyqtSignal()
    running = False

    def start(self, words: list[str]) -> None:
        self.words = words

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass


dock = modules["dock"].GeoregDock(Iface(), job=FakeJob())
dock.show()
values = json.loads(Path(result).read_text())
ties = figures.ties(Path(points).read_text(), by_hand=[3])
found = {"modules": len(modules)}
run = modules["history"].Run(
    "scene", "t.tif", "o.tif", ["georeg align r.tif t.tif -o o.tif"], values, ties, by_hand={3}
)
run.left_out = {1}
dock.history.add(run)
dock.show_run(run)
found["verdict"], found["figures"] = dock.result.verdict.text(), dock.result.figures.text()
model = dock.result.model
index = model.index(0, 0)
found["rows"] = [model.data(model.index(0, column)) for column in range(1, 5)]
found["align"] = model.data(model.index(0, 1), Qt.ItemDataRole.TextAlignmentRole) is not None
found["ticked"] = model.data(index, Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked
found["untick"] = model.setData(index, Qt.CheckState.Unchecked.value, Qt.ItemDataRole.CheckStateRole)
found["unticked"] = [len(model.unticked), dock.result.refit_button.text()]
QTest.mouseClick(
    dock.result.table.viewport(), Qt.MouseButton.LeftButton, pos=dock.result.table.visualRect(index).center()
)
found["clicked"] = len(model.unticked)
dock.options.form.build()
found["fields"] = len(dock.options.form._fields)
dock.running.set_running(True)
dock.running.progressed({"stage": "match", "done": 1, "total": 2, "eta_s": 3.0})
found["stage"] = dock.running.stage.text()
dock.running.set_running(False)
dock.job.failed.emit("MatchError", "the rasters share no ground", "give others")
found["refusal"] = dock.result.verdict.text()
dock.desk.list.show_comparison(run, run)
found["compared"] = dock.desk.list.table.text().count("RMSE")
tool = modules["point_tools"].AddTool(dock.view.canvas)
left: list[str] = []
tool.left.connect(lambda: left.append("left"))
dock.view.canvas.setMapTool(tool)
tool.keyPressEvent(QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Escape, Qt.KeyboardModifier.NoModifier))
found["escaped"] = left
box = modules["undo_box"]
box.ask(dock, run, lambda _: None)
found["undo"] = type(application.activeModalWidget()).__name__
application.activeModalWidget().close()
page = modules["settings"].SetupWidget()
page.show()
application.processEvents()
found["setup"] = page.command.toPlainText()
page.close_processes()
found["algorithms"] = [made().displayName() for made in (modules["algorithms"].Align, modules["algorithms"].Batch)]
folder = Path(result).parent
said = {("georeg", "Cancelled"): "Abgebrochen", ("ResultPanel", "Swipe"): "Wischen"}
parts = "".join(
    f"<context><name>{context}</name><message><source>{source}</source><translation>{text}</translation></message>"
    f"<message><source>Undo</source><translation type='unfinished'>nichts</translation></message></context>"
    for (context, source), text in said.items()
)
(folder / "georeg_de.ts").write_text(
    f"<?xml version='1.0' encoding='utf-8'?><!DOCTYPE TS><TS>{parts}</TS>", encoding="utf-8"
)
i18n = modules["i18n"]
catalogue = i18n.Catalogue(i18n.catalogue_for("de_AT", str(folder)))
application.installTranslator(catalogue)
panel = modules["panel_result"].ResultPanel()
found["german"] = [figures.refusal("cancelled", "", "").title, panel.swipe_button.text(), i18n.translated("Undo")]
found["no_language"] = i18n.catalogue_for("xx", str(folder))
application.removeTranslator(catalogue)
dock.grab()
page.grab()
dock.shut()
application.processEvents()
found["raised"] = raised
print(json.dumps(found))
sys.stdout.flush()
os._exit(0)
