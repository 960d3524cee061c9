"""The input side of the panel inside of QGIS's own Python, clicked at: prints one JSON object. Run by test_plugin_inputs.py."""

import json
import os
import sys
import time
import traceback

job = json.loads(sys.argv[1])
sys.path.insert(0, job["plugin"])

from osgeo import gdal  # noqa: E402
from qgis.core import (  # noqa: E402
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas  # noqa: E402
from qgis.PyQt.QtCore import QPoint, Qt, QTimer  # noqa: E402
from qgis.PyQt.QtTest import QTest  # noqa: E402
from qgis.PyQt.QtWidgets import QMainWindow  # noqa: E402

application = QgsApplication([], True)
application.initQgis()

from georeg_qgis.area_box import CANVAS, DRAWN, LAYER, OVERLAP  # noqa: E402
from georeg_qgis.dock import GeoregDock  # noqa: E402

found = {}


def tell_error(kind, value, trace):
    """What was found so far, and what went wrong, in whatever Python code of the window."""
    found["error"] = "".join(traceback.format_exception(kind, value, trace))
    print(json.dumps(found), flush=True)
    os._exit(1)


sys.excepthook = tell_error
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


class Iface:
    """What the panel asks of QGIS's window."""

    def __init__(self):
        self.window, self.canvas = QMainWindow(), QgsMapCanvas()
        self.window.setCentralWidget(self.canvas)
        self.window.resize(1200, 800)
        self.window.show()

    def mapCanvas(self):  # noqa: N802
        """A canvas."""
        return self.canvas

    def mainWindow(self):  # noqa: N802
        """A window."""
        return self.window


class Clock:
    """The longest that the window's thread worked at a stretch."""

    def __init__(self):
        self.most, self.last, self.timer = 0.0, time.thread_time(), QTimer()
        self.timer.timeout.connect(self.tick)
        self.timer.start(10)

    def tick(self):
        """Another turn of the window."""
        now = time.thread_time()
        self.most, self.last = max(self.most, now - self.last), now


def wait(ready, seconds=60.0):
    """Let the window live until something holds."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError(dock.running.log.toPlainText())
        application.processEvents()
        time.sleep(0.002)


def wait_s(seconds):
    """So long."""
    until = time.monotonic() + seconds
    wait(lambda: time.monotonic() > until)


def idle():
    return not dock.busy


def click(widget):
    for _ in range(5):  # what was just unfolded is laid out first
        application.processEvents()
    QTest.mouseClick(widget, LEFT)


def at(x, y):
    """A place of the map as one of the canvas's viewport."""
    point = iface.canvas.getCoordinateTransform().transform(x, y)
    return QPoint(round(point.x()), round(point.y()))


def click_map(x, y, button=LEFT):
    QTest.mouseMove(iface.canvas.viewport(), at(x, y))
    QTest.mouseClick(iface.canvas.viewport(), button, pos=at(x, y))


def add(path, name, provider="gdal"):
    return QgsProject.instance().addMapLayer(QgsRasterLayer(path, name, provider))


def web(url, name):
    return add(f"type=xyz&url={url}&zmin=0&zmax=16", name, "wms")


def align(button="align_button"):
    """Click, and what came of it."""
    clock, began = Clock(), time.monotonic()
    click(getattr(dock.running, button))
    wait(idle)
    clock.timer.stop()
    run = dock.history.last
    made = gdal.Open(run.output) if run and run.output else None
    grid = [made.GetGeoTransform(), [made.RasterXSize, made.RasterYSize]] if made else [None, None]
    ties = [tie.ref_xy for tie in run.ties if tie.used] if run else []
    return {
        "verdict": dock.result.verdict.text(), "output": run.output if run else "", "busy_s": clock.most, "ties": ties,
        "transform": grid[0], "size": grid[1],
        "crs": made.GetSpatialRef().GetAuthorityCode(None) if made else None,
        "seconds": time.monotonic() - began, "log": dock.running.log.toPlainText(), "line": dock.inputs.line.text(),
        "command": run.commands[0] if run else "", "displacement": run.values["displacement"] if run else None,
        "reference": run.values["tie_points"]["inputs"]["reference"] if run else "",
    }  # fmt: skip


def undo():
    if dock.history.last is not None:  # what was refused is told by what was found
        dock.undo(delete=True)


def exported():
    return sorted(name for name in os.listdir(dock.exports.folder) if name.endswith(".tif"))


def canvas_at(layer, share=1.0):
    box = layer.extent()
    box.scale(share)
    iface.canvas.setDestinationCrs(layer.crs())
    iface.canvas.setExtent(box)
    wait(lambda: True)
    return iface.canvas.extent()


def boxed(box):
    return [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]


iface = Iface()
project = QgsProject.instance()
target = add(job["target"], "target")
dock = GeoregDock(iface)
iface.window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
basemap = web(job["tiles"], "Base & map")
wait(lambda: dock.inputs.pair.ready)
found["guess"] = [dock.inputs.reference.currentLayer().name(), dock.inputs.target.currentLayer().name()]
found["before"] = dock.inputs.line.text()

# --- a web map ------------------------------------------------------------------------------------------------------------

found["basemap"] = align()
found["kept"] = exported()
found["basemap again"] = align()
undo()
found["kept by the first"] = exported()
undo()
found["kept after undo"] = exported()

for name, url in (("deaf", job["deaf"]), ("empty", job["empty"])):
    layer = web(url, name)
    dock.inputs.reference.setLayer(layer)
    if name == "deaf":
        click(dock.running.align_button)
        wait(lambda: dock.exports.running)
        wait_s(0.3)
        began = time.monotonic()
        click(dock.running.cancel_button)
        wait(idle)
        found["cancel"] = {
            "seconds": time.monotonic() - began,
            "verdict": dock.result.verdict.text(),
            "left": exported(),
        }
        found["cancel"]["ready"] = dock.running.align_button.isVisible()
        wait(lambda: not exported(), 20)  # the task ends by itself, and what it wrote goes
    else:
        found["empty"] = align()
        found["empty left"] = exported()
    project.removeMapLayer(layer.id())

# --- rasters that only QGIS can read --------------------------------------------------------------------------------------

gdal.Translate("/vsimem/reference.tif", job["reference"])
layer = add("/vsimem/reference.tif", "in memory")
dock.inputs.reference.setLayer(layer)
found["memory before"] = dock.inputs.line.text()
found["memory"] = align("check_button")
undo()
project.removeMapLayer(layer.id())

moved = gdal.Translate(job["folder"] + "/no_crs.tif", job["reference"], noData=None)
moved.SetProjection("")
moved = None
layer = QgsRasterLayer(job["folder"] + "/no_crs.tif", "crs in QGIS")
layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
project.addMapLayer(layer)
dock.inputs.reference.setLayer(layer)
found["assigned before"] = dock.inputs.line.text()
found["assigned"] = align("check_button")
undo()
project.removeMapLayer(layer.id())

# --- a web map that moves --------------------------------------------------------------------------------------------------

reference = add(job["reference"], "reference")
dock.inputs.reference.setLayer(reference)
dock.inputs.target.setLayer(basemap)
found["web target"] = align()
undo()
dock.inputs.target.setLayer(target)
project.removeMapLayer(reference.id())

# --- areas ----------------------------------------------------------------------------------------------------------------

reference = add(job["reference"], "reference")
dock.inputs.reference.setLayer(reference)
area = dock.where.area
found["area"] = {"title": dock.where.fold.title()}
shown = canvas_at(reference, 0.5)
area.choose(CANVAS)
found["area"]["limited"] = dock.where.fold.title()
found["area"]["canvas"] = {"box": boxed(shown), **align("check_button")}
undo()

canvas_at(reference)
before = iface.canvas.mapTool()
area.choose(DRAWN)
found["area"]["nothing drawn"] = align("check_button")
dock.where.fold.setCollapsed(False)
click(area.draw_button) if not area.draw_button.isChecked() else None
box = reference.extent()
x, y, step = box.center().x(), box.center().y(), box.width() / 5
click_map(x - step, y - step)
QTest.keyClick(iface.canvas, Qt.Key.Key_Escape)
found["area"]["esc"] = [iface.canvas.mapTool() is before, area.draw_button.isChecked(), area.note.text()]
click(area.draw_button)
for dx, dy in ((-1, -1), (1, -1), (0, 1)):
    click_map(x + dx * step, y + dy * step)
click_map(x, y, RIGHT)
found["area"]["tool after"] = iface.canvas.mapTool() is before
found["area"]["band"] = boxed(area._band.asGeometry().boundingBox()) if area._band else None
found["area"]["drawn"] = {"box": [x - step, y - step, x + step, y + step], **align("check_button")}
undo()

polygons = QgsVectorLayer("Polygon?crs=EPSG:32633", "fields", "memory")
for k in range(2):
    feature = QgsFeature()
    left = box.xMinimum() + k * box.width() / 2
    half = QgsRectangle(left, box.yMinimum(), left + box.width() / 2, box.yMaximum())
    feature.setGeometry(QgsGeometry.fromRect(half))
    polygons.dataProvider().addFeatures([feature])
polygons.updateExtents()
project.addMapLayer(polygons)
area.choose(LAYER)
area.layer.setLayer(polygons)
found["area"]["all"] = area.note.text()
polygons.selectByIds([next(f.id() for f in polygons.getFeatures() if f.geometry().centroid().asPoint().x() < x)])
found["area"]["selected"] = area.note.text()
found["area"]["layer"] = {"x": x, **align("check_button")}
undo()
area.choose(OVERLAP)

# --- masks ----------------------------------------------------------------------------------------------------------------

dock.where.masks["reference"].setLayer(polygons)
found["mask of polygons"] = {"x": x, **align("check_button")}
undo()
dock.where.masks["reference"].setLayer(basemap)
found["mask of a web map"] = align("check_button")
dock.where.masks["reference"].setLayer(None)
gdal.Rasterize(
    "/vsimem/mask.tif", job["half"], outputType=gdal.GDT_Byte, burnValues=[1], xRes=10, yRes=10,
    outputBounds=boxed(box), format="GTiff",
)  # fmt: skip
mask = add("/vsimem/mask.tif", "mask")
dock.where.masks["target"].setLayer(mask)
found["mask in memory"] = {"x": x, **align("check_button")}
undo()
dock.where.masks["target"].setLayer(None)
project.removeMapLayer(mask.id())
found["limits gone"] = dock.where.fold.title()

# --- distances ------------------------------------------------------------------------------------------------------------

search = dock.where.search
search.in_px.setValue(7.0)
found["search"] = {"m": search.in_map.value(), "suffix": search.in_map.suffix(), "words": search.words()}
canvas_at(reference)
click(search.measure_button)
click_map(x, y)
found["search"]["hint"] = search.note.text()
click_map(x + 300, y + 400)
found["search"]["measured"] = [
    search.search_m,
    search.in_px.value(),
    search.note.text(),
    iface.canvas.mapTool() is before,
]
iface.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
search.set_search_m(0.0)

# --- many targets ---------------------------------------------------------------------------------------------------------

many = dock.many.panel
many.fold.setCollapsed(False)
another = add(job["many"] + "/a_good.tif", "another")
picker = many.pick_layers()
found["picker"] = [picker.list.item(k).text() for k in range(picker.list.count())]
picker.list.item(1).setCheckState(Qt.CheckState.Unchecked)
picker.accept()
found["picked"] = many.targets()
many._remove()
project.removeMapLayer(another.id())
many.add_folder(job["many"])
found["many"] = {"targets": many.targets(), "button": many.run_button.text(), "folder": many.output_folder()}
many.add([job["reference"]])
found["many"]["without the reference"] = len(many.targets())
clock = Clock()
click(many.run_button)
told = []
dock.job.progress.connect(lambda said: told.append(said["stage"]))
wait(idle)
found["many"]["verdict"], found["many"]["log"] = dock.result.verdict.text(), dock.running.log.toPlainText()
wait(lambda: not dock.many.layers.busy)
found["many"]["busy_s"] = clock.most
found["many"]["stages"] = sorted(set(told))
found["many"]["rows"] = [
    [row.name, row.grade, row.verdict, row.ce90, row.displacement, row.why] for row in many.model.rows
]
found["many"]["headline"] = many.headline.text()
group = dock.many.layers.group
found["many"]["group"] = [group.name(), sorted(node.name() for node in group.findLayers())]
found["many"]["extent"] = []
for k in range(len(many.model.rows)):
    click_at = many.table.visualRect(many.model.index(k, 0)).center()
    QTest.mouseClick(many.table.viewport(), LEFT, pos=click_at)
    found["many"]["extent"].append([many.why.text(), len(group.findLayers()), boxed(iface.canvas.extent())])
found["many"]["next folder"] = many.output_folder()
found["many"]["written"] = sorted(os.listdir(found["many"]["folder"]))

dock.inputs.reference.setLayer(basemap)
many.folder.setFilePath(job["folder"] + "/by_basemap")
click(many.run_button)
wait(idle)
found["many"]["by basemap"] = [[row.name, row.verdict] for row in many.model.rows]
found["many"]["exported"] = exported()

# --- the end --------------------------------------------------------------------------------------------------------------

again = GeoregDock(iface)
found["open again"] = [
    again.where.fold.isCollapsed(),
    again.options.fold.isCollapsed(),
    again.many.panel.fold.isCollapsed(),
]
folder = dock.exports.folder
for one in (again, dock):
    one.shut()
found["folder left"] = os.path.exists(folder)
found["items left"] = [type(item).__name__ for item in iface.canvas.items() if "RubberBand" in type(item).__name__]
print(json.dumps(found))
sys.stdout.flush()
os._exit(0)
