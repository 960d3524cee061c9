"""qgis.core, as far as widgets are built with it."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import QObject, pyqtSignal

from .anything import Anything, lookup


class QgsSettings:
    """Nothing is kept beyond the process."""

    kept: dict[str, Any] = {}  # noqa: RUF012

    def value(self, key: str, default: Any = None, **_: Any) -> Any:
        return self.kept.get(key, default)

    def setValue(self, key: str, value: Any) -> None:
        self.kept[key] = value


class _Project(QObject):
    """An empty project."""

    cleared = pyqtSignal()
    readProject = pyqtSignal(object)
    legendLayersAdded = pyqtSignal(list)
    layersAdded = pyqtSignal(list)
    layersWillBeRemoved = pyqtSignal(list)
    layerWillBeRemoved = pyqtSignal(str)
    layersRemoved = pyqtSignal(list)
    layerRemoved = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}

    def mapLayer(self, _: str) -> None:
        return None

    def mapLayers(self) -> dict[str, Any]:
        return {}

    def writeEntry(self, scope: str, key: str, text: str) -> bool:
        self.entries[scope + key] = text
        return True

    def readEntry(self, scope: str, key: str, default: str = "") -> tuple[str, bool]:
        return self.entries.get(scope + key, default), scope + key in self.entries

    def __getattr__(self, name: str) -> Any:
        return lambda *_: Anything()


class QgsProject:
    """The one project."""

    made: Any = None

    @classmethod
    def instance(cls) -> _Project:
        cls.made = cls.made or _Project()
        return cls.made


class QgsTask(QObject):
    """A task that is never run."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: Anything()


def __getattr__(name: str) -> Any:
    return lookup(globals(), name)
