"""Results of a batch in the project: a group of layers that fills while the window goes on."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import QgsLayerTreeGroup, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QObject, QTimer

from .i18n import translated as tr
from .pairs import OUTPUT_MARK
from .results import in_tree, raster_like
from .scenes import SceneRow
from .sources import path_of


class BatchLayers(QObject):
    """Adds one corrected raster at a time: to open hundreds at once would hold the window up."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.group: QgsLayerTreeGroup | None = None
        self._left: list[SceneRow] = []
        self._ids: dict[str, str] = {}
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._next)

    @property
    def busy(self) -> bool:
        """Whether some are still to come."""
        return bool(self._left)

    def show(self, name: str, rows: Sequence[SceneRow]) -> None:
        """A new group on top, for what was written."""
        self.release()
        self._left, self._ids = [row for row in rows if row.output], {}
        if self._left:
            self.group = QgsProject.instance().layerTreeRoot().insertGroup(0, name)
            self._timer.start(0)

    def layer_of(self, row: SceneRow) -> QgsRasterLayer | None:
        """The layer of a row: the corrected raster, or the target where there is none; it is added if it is not there."""
        path = row.output or row.target
        return self._known(path) or self._add(path, row.target)

    def release(self) -> None:
        """Add no more; what was added is the user's."""
        self._timer.stop()
        self._left, self.group = [], None

    def _next(self) -> None:
        if not self._left:
            self._timer.stop()
            return
        row = self._left.pop(0)
        self._add(row.output, row.target)

    def _known(self, path: str) -> QgsRasterLayer | None:
        """A layer of this file that the project has."""
        layer = QgsProject.instance().mapLayer(self._ids.get(path, ""))
        if layer is not None:
            return layer
        return next((one for one in QgsProject.instance().mapLayers().values() if path_of(one) == path), None)

    def _add(self, path: str, target: str) -> QgsRasterLayer | None:
        first = next((one for one in self._ids.values() if QgsProject.instance().mapLayer(one) is not None), "")
        like = (self._known(target) if target != path else None) or QgsProject.instance().mapLayer(first)
        layer = raster_like(path, like)
        if layer is None:
            return None
        if path == target:  # it must not be taken for a result
            layer.setName(tr("not aligned: {name}").format(name=layer.name()))
        layer.setCustomProperty(OUTPUT_MARK, "1")
        QgsProject.instance().addMapLayer(layer, False)
        root = QgsProject.instance().layerTreeRoot()
        node = (self.group if self.group is not None and in_tree(self.group) else root).addLayer(layer)
        node.setExpanded(False)
        self._ids[path] = layer.id()
        return layer
