"""A session of a person at QGIS: what can be given to georeg. A web map, an area, a distance, masks, many targets."""

from __future__ import annotations

import json
import os
import shutil
import sys

sys.path.insert(0, json.loads(os.environ["GEOREG_DESKTOP"])["here"])

from qgis.core import QgsFeature, QgsGeometry, QgsPointXY, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QScrollArea

from playing import (
    JOB,
    LEFT,
    Player,
    click,
    found,
    iface,
    opened,
    phase,
    plugin,
    settled,
    shot,
    toolbar_button,
)

RIGHT = Qt.MouseButton.RightButton


def session():
    """The steps; each yields what it waits for."""
    yield from opened("target")
    layer = QgsRasterLayer(f"type=xyz&url={JOB['tiles']}&zmin=0&zmax=16", "Web map", "wms")
    QgsProject.instance().addMapLayer(layer, False)
    QgsProject.instance().layerTreeRoot().addLayer(layer)
    phase[0] = "open the panel"
    click(toolbar_button())
    yield settled(1.0)
    yield from widths("basemap-before")
    yield from basemap()
    yield from drawing()
    yield from measuring()
    yield from folder()


def idle() -> bool:
    return not plugin().dock.busy and not iface.mapCanvas().isDrawing()


def widths(name):
    """Screenshots of the panel, narrow and wide."""
    dock = plugin().dock
    for width in (300, 620):
        iface.mainWindow().resizeDocks([dock], [width], Qt.Orientation.Horizontal)
        yield settled(0.6)
        inside = dock.widget().widget()
        found.setdefault("too_wide_px", {})[f"{name} {width}"] = inside.width() - dock.widget().viewport().width()
        found.setdefault("dock_px", {})[f"{name} {width}"] = dock.width()
        shot(f"{name}-{width}")
        path = os.path.join(JOB["out"], f"{name}-{width}-panel.png")
        inside.grab().save(path)
    iface.mainWindow().resizeDocks([dock], [400], Qt.Orientation.Horizontal)
    yield settled(0.5)


def see(widget) -> None:
    plugin().dock.findChild(QScrollArea).ensureWidgetVisible(widget)


def click_map(x_share, y_share, button=LEFT) -> None:
    """A place of the canvas."""
    view = iface.mapCanvas().viewport()
    at = QPoint(round(x_share * view.width()), round(y_share * view.height()))
    QTest.mouseMove(view, at)
    QTest.mouseClick(view, button, pos=at)


def basemap():
    phase[0] = "align to a web map"
    dock = plugin().dock
    found["line before"] = dock.inputs.line.text()
    found["clicks"] = 0
    click(dock.running.align_button)
    yield lambda: dock.exports.running or dock.job.running
    shot("exporting")
    yield lambda: idle() and len(dock.history.runs) == 1
    found["align_clicks"] = found["clicks"]
    found["line after"], found["verdict"] = dock.inputs.line.text(), dock.result.verdict.text()
    yield settled(0.7)
    yield from widths("basemap-after")
    found["exported"] = os.listdir(dock.exports.folder)
    dock.undo(delete=True)
    yield settled(0.5)
    found["exported after undo"] = [name for name in os.listdir(dock.exports.folder) if name.endswith(".tif")]


def drawing():
    phase[0] = "draw an area"
    dock = plugin().dock
    iface.mapCanvas().setExtent(QgsProject.instance().mapLayersByName("shift_target")[0].extent())
    iface.mapCanvas().refresh()
    dock.where.fold.setCollapsed(False)
    yield settled(0.7)
    dock.where.area.choose("drawn")
    for x, y in ((0.4, 0.4), (0.6, 0.35), (0.65, 0.6)):
        click_map(x, y)
    QTest.mouseMove(iface.mapCanvas().viewport(), QPoint(400, 500))
    yield settled(0.5)
    yield from widths("drawing")
    click_map(0.42, 0.65)
    click_map(0.42, 0.65, RIGHT)
    yield settled(0.6)
    found["tool gone"] = dock.where.area._tool is None
    shot("drawn")


def measuring():
    phase[0] = "measure a distance"
    dock = plugin().dock
    click(dock.where.search.measure_button)
    click_map(0.5, 0.5)
    yield settled(0.4)
    shot("measuring")
    click_map(0.52, 0.53)
    yield settled(0.4)
    found["measured"] = dock.where.search.note.text()
    clouds = QgsVectorLayer("Polygon?crs=EPSG:32633", "clouds", "memory")
    for x, y, radius in ((303200, 5771900, 350), (303900, 5769200, 260)):
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromPointXY(QgsPointXY(x, y)).buffer(radius, 24))
        clouds.dataProvider().addFeatures([feature])
    QgsProject.instance().addMapLayer(clouds)
    dock.where.masks["target"].setLayer(clouds)
    yield from widths("where")
    shot("where")
    dock.where.reset()
    yield settled(0.3)
    dock.where.fold.setCollapsed(True)
    QgsProject.instance().removeMapLayer(clouds.id())


def folder():
    phase[0] = "many targets"
    dock = plugin().dock
    reference = iface.addRasterLayer(JOB["reference"], "reference")
    yield settled(0.7)
    dock.inputs.reference.setLayer(reference)
    many = os.path.join(os.path.dirname(JOB["target"]), "many")
    os.mkdir(many)
    for name, key in (("2024-05-01", "target"), ("2024-05-11", "target"), ("2024-05-21", "other")):
        shutil.copy(JOB[key], os.path.join(many, f"{name}.tif"))
    with open(os.path.join(many, "2024-05-31.tif"), "w") as file:
        file.write("no raster")
    panel = dock.many.panel
    panel.fold.setCollapsed(False)
    panel.add_folder(many)
    yield settled(0.4)
    see(panel)
    yield from widths("many-before")
    click(panel.run_button)
    yield lambda: dock.running.bar.maximum() > 1 or idle()
    shot("many-running")
    yield lambda: idle() and panel.model.rows and not dock.many.layers.busy
    yield settled(0.7)
    see(panel.table)
    yield settled(0.2)
    index = panel.model.index(0, 0)
    QTest.mouseClick(panel.table.viewport(), LEFT, pos=panel.table.visualRect(index).center())
    yield settled(0.7)
    see(panel.why)
    found["rows"] = [[row.name, row.verdict, row.why] for row in panel.model.rows]
    yield from widths("many")
    iface.mainWindow().resizeDocks([dock], [600], Qt.Orientation.Horizontal)
    yield settled(0.5)
    see(panel.why)
    yield settled(0.3)
    shot("many")


player = Player(session())
