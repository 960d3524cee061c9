"""A session of a person at QGIS: what can be done with a result. Points by hand, checkerboard, history, Processing."""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, json.loads(os.environ["GEOREG_DESKTOP"])["here"])

from qgis.core import QgsCoordinateTransform, QgsPointXY, QgsProject, QgsVectorLayer
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest

from playing import (
    JOB,
    LEFT,
    Player,
    click,
    found,
    idle,
    iface,
    opened,
    phase,
    plugin,
    settled,
    shot,
    toolbar_button,
)


def session():
    """The steps; each yields what it waits for."""
    yield from opened("reference", "target")
    click(toolbar_button())
    yield settled(0.7)
    phase[0] = "align"
    click(plugin().dock.running.align_button)
    yield lambda: idle() and len(plugin().dock.history.runs) == 1
    yield settled(0.5)
    yield from boards()
    yield from kept()
    yield from adding()
    yield from moving()
    yield from nowhere()
    yield from refitting()
    yield from leaving_checks_out()
    yield from history()
    yield from processing()
    yield from narrow()
    yield from reopening()


def at_px(xy, crs):
    """Where a place of the working CRS is on the canvas."""
    canvas = iface.mapCanvas()
    there = QgsCoordinateTransform(crs, canvas.mapSettings().destinationCrs(), QgsProject.instance())
    point = canvas.getCoordinateTransform().transform(there.transform(QgsPointXY(*xy)))
    return QPoint(round(point.x()), round(point.y()))


def boards():
    phase[0] = "checkerboard"
    dock, canvas = plugin().dock, iface.mapCanvas()
    before = dock.view.compare.item
    click(dock.result.board_button)
    item = dock.view.compare.item
    yield lambda: item.image is not None and not canvas.isDrawing()
    yield settled(0.4)
    found["board"] = {"first": before is None, "where": item.where, "shown": item.isVisible()}
    found["board"]["pixel"] = canvas.mapUnitsPerPixel() / dock.history.last.values["after"]["gsd"]
    shot("board")
    click(dock.result.swipe_button)
    yield settled(0.3)
    found["board"]["then"] = [item.where, dock.result.board_button.isChecked()]
    click(dock.result.swipe_button)
    found["board"]["gone"] = not item.isVisible()


def kept():
    """Where the layers of tie points are."""
    shown = plugin().dock.history.last.shown
    layers = [QgsProject.instance().mapLayer(one) for one in shown.dots]
    found["dots"] = [[layer.name(), layer.providerType(), layer.featureCount(), layer.isValid()] for layer in layers]
    found["beside"] = [os.path.basename(path) for path in shown.beside]
    found["categories"] = [len(layer.renderer().categories()) for layer in layers]
    yield settled(0.0)


def adding():
    phase[0] = "add a point"
    dock, canvas = plugin().dock, iface.mapCanvas()
    run = dock.history.last
    tie = next(tie for tie in run.ties if tie.number == 41)
    dock.view.zoom_to(tie)
    yield lambda: not canvas.isDrawing()
    click(dock.result.add_button)
    item = dock.view.compare.item
    yield lambda: item.image is not None
    found["hand_1"], found["hand_looks"] = dock.result.hand_told.text(), [item.names[0]]
    yield settled(0.3)
    shot("hand1")
    QTest.mouseClick(canvas.viewport(), LEFT, pos=at_px(tie.tgt_xy, run.crs) + QPoint(6, 4))
    yield lambda: item.image is not None and not canvas.isDrawing()
    found["hand_2"] = dock.result.hand_told.text()
    found["hand_looks"].append(item.names[0])
    QTest.mouseMove(canvas.viewport(), at_px(tie.ref_xy, run.crs))
    yield settled(0.2)
    shot("hand")
    QTest.mouseClick(canvas.viewport(), LEFT, pos=at_px(tie.ref_xy, run.crs))
    yield lambda: idle() and dock.desk.draft.made
    yield settled(0.3)
    made = dock.desk.draft.made[-1][1]
    found["added"] = {"number": made.number, "ref_xy": made.ref_xy, "tgt_xy": made.tgt_xy, "n": len(run.ties)}
    found["row"] = [dock.result.model.data(dock.result.model.index(0, column)) for column in (1, 2)]
    found["refit_text"] = dock.result.refit_button.text()
    found["verdict_stays"] = dock.result.verdict.text()
    shot("hand3")


def moving():
    phase[0] = "move a point"
    dock, canvas = plugin().dock, iface.mapCanvas()
    run = dock.history.last
    dock.result.table.selectRow(3)
    tie = dock.result.model.ties[3]
    click(dock.result.move_button)
    yield lambda: not canvas.isDrawing()
    yield settled(0.3)
    start, end = at_px(tie.ref_xy, run.crs), at_px(tie.ref_xy, run.crs) + QPoint(5, -4)
    QTest.mousePress(canvas.viewport(), LEFT, pos=start)
    yield settled(0.1)
    QTest.mouseMove(canvas.viewport(), end)
    yield settled(0.2)
    shot("move")
    QTest.mouseRelease(canvas.viewport(), LEFT, pos=end)
    yield lambda: idle() and len(dock.desk.draft.made) == 2
    moved = dock.desk.draft.made[-1][1]
    found["moved"] = [moved.number, tie.number, dock.result.model.rowCount()]
    click(dock.result.back_button)
    found["taken_back"] = [len(dock.desk.draft.made), dock.result.model.rowCount()]


def nowhere():
    phase[0] = "a place that shows nothing"
    dock = plugin().dock
    dock.desk.measure((0.0, 0.0), None, None)
    yield idle
    found["nowhere"] = [dock.result.hand_told.text(), dock.result.hand_told.isVisible(), dock.result.verdict.text()]
    yield settled(0.2)
    shot("nowhere")


def refitting():
    phase[0] = "refit with it"
    dock = plugin().dock
    click(dock.result.refit_button)
    yield lambda: idle() and len(dock.history.runs) == 2
    yield settled(0.3)
    run = dock.history.last
    number = found["added"]["number"]
    found["refitted"] = [
        sorted(run.by_hand),
        len(run.ties),
        run.ties[number - 1].by_hand,
        len(run.values["tie_points"]["status"]),
    ]
    found["refit_figures"] = dock.result.figures.text()
    shot("hand_refit")


def leaving_checks_out():
    phase[0] = "leave checks out"
    dock = plugin().dock
    model = dock.result.model
    rows = [k for k, tie in enumerate(model.ties) if tie.what == "check"][:2]
    for row in rows:
        model.setData(model.index(row, 0), Qt.CheckState.Unchecked, Qt.ItemDataRole.CheckStateRole)
    click(dock.result.refit_button)
    yield lambda: idle() and len(dock.history.runs) == 3
    yield settled(0.3)
    found["honest"] = [dock.result.verdict.text(), dock.result.figures.text(), len(dock.history.last.left_out)]
    found["nothing_more"] = dock.result.refit_button.isEnabled()
    shot("honest")


def history():
    phase[0] = "history"
    dock = plugin().dock
    listed = dock.desk.list
    listed.setCollapsed(False)
    dock.widget().ensureWidgetVisible(listed)
    yield settled(0.4)
    found["listed"] = [listed.list.item(row).text() for row in range(listed.list.count())]
    listed.list.item(0).setSelected(True)
    listed.list.item(2).setSelected(True)
    chosen = [run.name for run in listed.chosen()]
    click(listed.compare_button)
    yield settled(0.5)
    dock.widget().ensureWidgetVisible(listed.table)
    found["compared"] = [chosen, listed.table.text(), dock.result.against.currentText()]
    click(dock.result.swipe_button)
    item = dock.view.compare.item
    yield lambda: item.image is not None
    found["compared_names"] = list(item.names)
    yield settled(0.5)
    shot("history")
    click(dock.result.swipe_button)
    listed.list.clearSelection()
    row = next(k for k, run in enumerate(listed._runs) if run.words)
    listed.list.item(row).setSelected(True)
    click(listed.again_button)
    yield lambda: idle() and len(dock.history.runs) == 4
    run = dock.history.last
    found["again"] = [os.path.basename(run.output), run.values["displacement"], run.words[0], sorted(run.by_hand)]


def processing():
    phase[0] = "processing"
    dock = plugin().dock
    dock.desk.open_in_processing()
    dialog = dock.desk.dialog
    yield dialog.isVisible
    yield settled(0.5)
    shot("processing")
    given = getattr(dialog, "createProcessingParameters", None) or dialog.getParameterValues
    parameters = given()
    found["processing"] = {name: str(parameters.get(name)) for name in ("REFERENCE", "TARGET", "OUTPUT", "MODEL")}
    dialog.close()
    yield settled(0.2)


def narrow():
    phase[0] = "narrow"
    dock = plugin().dock
    for name, width in (("narrow", 300), ("wide", 620)):
        iface.mainWindow().resizeDocks([dock], [width], Qt.Orientation.Horizontal)
        dock.desk.list.setCollapsed(False)
        yield settled(0.6)
        dock.widget().verticalScrollBar().setValue(0)
        yield settled(0.2)
        shot(name + "_top")
        dock.widget().verticalScrollBar().setValue(dock.widget().verticalScrollBar().maximum())
        yield settled(0.2)
        shot(name + "_bottom")
        parts = (dock.inputs, dock.options, dock.running, dock.result, dock.desk.list)
        found[name + "_least"] = {type(part).__name__: part.minimumSizeHint().width() for part in parts}
        inside = (dock.result.looking, dock.result.points, dock.result.after, dock.result.figures, dock.result.verdict)
        found[name + "_least"]["result"] = [part.minimumSizeHint().width() for part in inside]
        found[name] = [dock.width(), dock.widget().widget().width() - dock.widget().viewport().width()]


def reopening():
    phase[0] = "reopen"
    dock = plugin().dock
    names = [run.name for run in dock.history.runs]
    path = os.path.join(os.path.dirname(JOB["target"]), "project.qgz")
    QgsProject.instance().write(path)
    iface.newProject()
    yield settled(0.5)
    found["new_project"] = len(dock.history.runs)
    iface.addProject(path)
    yield settled(1.0)
    last = dock.history.last
    found["reopened"] = [
        [run.name for run in dock.history.runs] == names,
        last is not None and bool(last.shown.aligned),
    ]
    found["reopened"] += [len(last.ties), dock.result.refit_button.isVisible(), len(last.shown.dots)]
    found["reopened_dots"] = [
        isinstance(QgsProject.instance().mapLayer(one), QgsVectorLayer)
        and QgsProject.instance().mapLayer(one).featureCount()
        for one in last.shown.dots
    ]
    shot("reopened")
    dock.undo(delete=True)
    yield settled(0.3)
    found["undone"] = [os.path.exists(last.output), len(dock.history.runs)]


player = Player(session())
