"""qgis.gui, as far as widgets are built with it."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import QObject, pyqtSignal
from PyQt6.QtWidgets import (
    QComboBox,
    QDockWidget,
    QGraphicsRectItem,
    QGraphicsView,
    QGroupBox,
    QLineEdit,
    QWidget,
)

from .anything import Anything, lookup


class QgsDockWidget(QDockWidget):
    """A dock."""


class QgsCollapsibleGroupBox(QGroupBox):
    """A group that folds."""

    collapsedStateChanged = pyqtSignal(bool)

    def setCollapsed(self, folded: bool) -> None:
        self.collapsedStateChanged.emit(folded)

    def setSaveCollapsedState(self, _: bool) -> None:
        pass


class QgsMapLayerComboBox(QComboBox):
    """No layer can be chosen."""

    layerChanged = pyqtSignal(object)

    def setFilters(self, _: Any) -> None:
        pass

    def setAllowEmptyLayer(self, *_: Any) -> None:
        pass

    def setLayer(self, layer: Any) -> None:
        self.layerChanged.emit(layer)

    def currentLayer(self) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class QgsFileWidget(QWidget):
    """A path."""

    fileChanged = pyqtSignal(str)
    StorageMode = Anything

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.line = QLineEdit(self)

    def setFilePath(self, path: str) -> None:
        self.line.setText(path)

    def filePath(self) -> str:
        return str(self.line.text())

    def lineEdit(self) -> QLineEdit:
        return self.line

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class QgsMapCanvas(QGraphicsView):
    """An empty canvas."""

    extentsChanged = pyqtSignal()
    mapCanvasRefreshed = pyqtSignal()
    destinationCrsChanged = pyqtSignal()

    def mapTool(self) -> Any:
        return getattr(self, "_tool", None)

    def setMapTool(self, tool: Any) -> None:
        self._tool = tool

    def unsetMapTool(self, tool: Any) -> None:
        self._tool = None
        tool.deactivated.emit()

    def scene(self) -> Any:
        return Anything()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: Anything()


class QgsMapCanvasItem(QGraphicsRectItem):
    """An item of the canvas."""

    def __init__(self, _: Any) -> None:
        super().__init__()


class QgsMapTool(QObject):
    """A tool of the canvas."""

    deactivated = pyqtSignal()
    activated = pyqtSignal()

    def __init__(self, canvas: Any) -> None:
        super().__init__()
        self._canvas = canvas

    def canvas(self) -> Any:
        return self._canvas

    def setCursor(self, _: Any) -> None:
        pass


class QgsOptionsPageWidget(QWidget):
    """A page of the options."""


class QgsOptionsWidgetFactory:
    """Makes pages."""

    def __init__(self, *_: Any) -> None:
        pass


def __getattr__(name: str) -> Any:
    return lookup(globals(), name)
