"""Rasters that the worker cannot open by itself, written to files for the session, in tasks beside the window."""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsProject,
    QgsRasterFileWriter,
    QgsRasterFileWriterTask,
    QgsRasterLayer,
    QgsRasterPipe,
    QgsRectangle,
    QgsTask,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .compat import PICTURES
from .grids import Grid
from .i18n import translated as tr

_PLACES = 5
"""Along each axis, where an exported picture is looked at to see whether there is any."""
_LOOKED_PX = 16


class RasterStep:
    """Writes the pixels of a grid of a raster layer, in the layer's CRS, as they are: none is interpolated."""

    def __init__(self, layer: QgsRasterLayer, grid: Grid, path: str, *, is_there: bool) -> None:
        self.path, self.grid = path, grid
        self.is_there = is_there
        """Whether it was exported before."""
        self.title = tr("Exporting “{name}”").format(name=layer.name())
        self.told = tr("“{name}” was exported for this area: {path}").format(name=layer.name(), path=path)
        self._layer = layer
        self._is_picture = is_picture(layer)

    def task(self) -> QgsTask:
        """What writes it; it has its own connection to the source."""
        writer = QgsRasterFileWriter(self.path)
        writer.setOutputFormat("GTiff")
        writer.setCreateOptions(["TILED=YES", "COMPRESS=DEFLATE", "ZLEVEL=1", "BIGTIFF=IF_SAFER"])
        pipe = QgsRasterPipe()
        pipe.set(self._layer.dataProvider().clone())
        box, crs = QgsRectangle(*self.grid.box), self._layer.crs()
        context = QgsProject.instance().transformContext()
        return QgsRasterFileWriterTask(writer, pipe, self.grid.columns, self.grid.rows, box, crs, context)

    def problem(self) -> str:
        """Why the file cannot be used once the task has ended; empty where it can."""
        made = QgsRasterLayer(self.path, "exported", "gdal", plain_options())
        if not made.isValid():
            return tr("it could not be read or written to {path}").format(path=self.path)
        if self._is_picture and not _shows_anything(made):
            return tr("its server gave no picture of this area; check that it can be reached and shows the area")
        return ""


def is_picture(layer: QgsRasterLayer) -> bool:
    """Whether its pixels are a picture that a server has drawn, or has as tiles."""
    provider = layer.dataProvider()
    return provider is not None and provider.dataType(1) in PICTURES


def plain_options() -> Any:
    """A layer whose pixels are not read for a style."""
    options = QgsRasterLayer.LayerOptions()
    options.loadDefaultStyle = False
    return options


def _shows_anything(layer: QgsRasterLayer) -> bool:
    """Whether a picture is not transparent at some of the places that are looked at."""
    provider, whole = layer.dataProvider(), layer.extent()
    alpha = provider.bandCount()
    side_x, side_y = (_LOOKED_PX * whole.width() / layer.width(), _LOOKED_PX * whole.height() / layer.height())
    for k in range(_PLACES * _PLACES):
        x = whole.xMinimum() + (k % _PLACES + 0.5) / _PLACES * whole.width()
        y = whole.yMinimum() + (k // _PLACES + 0.5) / _PLACES * whole.height()
        around = QgsRectangle(x - side_x / 2, y - side_y / 2, x + side_x / 2, y + side_y / 2)
        block = provider.block(alpha, around, _LOOKED_PX, _LOOKED_PX)  # which owns what data() shows
        if any(bytes(block.data())):
            return True
    return False


class Exports(QObject):
    """Does steps one after the other, keeps their files as long as a result needs them, and removes all in the end."""

    progress = pyqtSignal(dict)
    """How far the step is, as the worker tells it of a job."""
    said = pyqtSignal(str, str)
    """Level and text, for the log."""

    def __init__(self, folder: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder = os.path.join(folder, "exports")
        os.mkdir(self.folder)
        self._there: set[str] = set()
        self._places: dict[str, str] = {}
        self._n_dropped = self._n_asked = 0
        self._left: list[Any] = []
        self._task: QgsTask | None = None
        self._then: Callable[[], None] = lambda: None
        self._failed: Callable[[str, str, str], None] = lambda *_: None

    @property
    def running(self) -> bool:
        """Whether a step is being done."""
        return self._task is not None

    def raster_step(self, layer: QgsRasterLayer, grid: Grid) -> RasterStep:
        """What exports this grid of a layer; the same again has the same file."""
        key = (layer.id(), layer.source(), layer.crs().toWkt(), grid, self._n_dropped)
        name = f"{plain_name(layer.name())}_{zlib.crc32(repr(key).encode()):08x}.tif"
        path = os.path.join(self.folder, name)
        self._places[path] = os.path.join(_home(), f"{plain_name(layer.name())}.tif")
        return RasterStep(layer, grid, path, is_there=path in self._there and os.path.exists(path))

    def new_path(self, name: str, suffix: str) -> str:
        """A file of this session that has not been asked for yet."""
        self._n_asked += 1
        return os.path.join(self.folder, f"{plain_name(name)}_{self._n_asked}{suffix}")

    def place_of(self, path: str) -> str:
        """A path beside which results go: for a file of this session, one in the folder of the project."""
        return self._places.get(path, path)

    def start(self, steps: Sequence[Any], then: Callable[[], None], failed: Callable[[str, str, str], None]) -> None:
        """Do the steps that are not done yet; ``then`` is called once all are, or ``failed`` with code, message and hint."""
        self._left, self._then, self._failed = [step for step in steps if not step.is_there], then, failed
        self._next()

    def cancel(self) -> None:
        """Stop; the task may take its time, which nobody waits for, and leaves no file."""
        self._drop("cancelled", tr("The export was cancelled. No file was changed"))

    def forget(self, needed: Iterable[str]) -> None:
        """Remove the exported files but for those of a session's results."""
        kept = set(needed)
        for path in self._there - kept:
            _remove(path)
        self._there &= kept

    def release(self) -> None:
        """End what runs; the folder goes with that of the panel."""
        self._failed = lambda *_: None
        if self.running:
            self._drop("cancelled", "")

    def _next(self) -> None:
        if not self._left:
            self._then()
            return
        step = self._left[0]
        self.said.emit("info", f"{step.title} → {step.path}")
        self.progress.emit({"stage": step.title, "done": 0, "total": 0})
        try:
            self._task = task = step.task()
        except RuntimeError:  # nothing is left of the layer but its name
            self._left = []
            self._failed("export", tr("{title}: the layer was removed meanwhile").format(title=step.title), "")
            return
        task.setDescription(f"georeg: {step.title}")
        task.progressChanged.connect(lambda percent: self._progressed(task, percent))
        task.taskCompleted.connect(lambda: self._ended(task))
        task.taskTerminated.connect(lambda: self._ended(task))
        QgsApplication.taskManager().addTask(task)

    def _progressed(self, task: QgsTask, percent: float) -> None:
        if task is self._task:
            self.progress.emit({"stage": self._left[0].title, "done": int(percent), "total": 100})

    def _ended(self, task: QgsTask) -> None:
        if task is not self._task:
            return
        self._task = None
        step = self._left[0]
        problem = step.problem()
        if problem:
            _remove(step.path)
            self._left = []
            self._failed("export", f"{step.title}: {problem}", "")
            return
        self._left.pop(0)
        self._there.add(step.path)
        if step.told:
            self.said.emit("info", step.told)
        self._next()

    def _drop(self, code: str, message: str) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        path, self._left = self._left[0].path, []
        self._n_dropped += 1  # the next run writes to another file: this one may be written to for a while
        with contextlib.suppress(RuntimeError):  # it has gone by itself
            task.taskTerminated.connect(lambda: _remove(path))
            task.taskCompleted.connect(lambda: _remove(path))
            task.cancel()
        self._failed(code, message, "")


def _remove(path: str) -> None:
    """Take a file away, with what QGIS wrote beside it."""
    for one in (path, path + ".aux.xml"):
        with contextlib.suppress(OSError):
            os.remove(one)


def _home() -> str:
    """The folder of the project, or that of the user."""
    return str(QgsProject.instance().homePath()) or os.path.expanduser("~")


def plain_name(name: str) -> str:
    """A file name without an end, of a layer's name."""
    return re.sub(r"[^\w-]+", "_", name).strip("_")[:60] or "layer"
