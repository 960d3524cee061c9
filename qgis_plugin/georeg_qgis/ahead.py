"""Reads the code of the panel before it is opened, a file at a time: all at once would hold QGIS up for a third of a second."""

from __future__ import annotations

import importlib

from qgis.PyQt.QtCore import QObject, QTimer

MODULES = (
    "job",
    "figures",
    "grids",
    "footprints",
    "exports",
    "sources",
    "pairs",
    "folds",
    "map_tools",
    "vector_files",
    "area_box",
    "search_box",
    "panel_where",
    "swipe",
    "compare",
    "tie_table",
    "results",
    "history",
    "undo_box",
    "point_tools",
    "canvas_view",
    "hand",
    "options_form",
    "panel_inputs",
    "panel_options",
    "panel_run",
    "panel_result",
    "grounds",
    "scenes",
    "scene_table",
    "batch_layers",
    "layer_picker",
    "panel_batch",
    "preparing",
    "many",
    "panel_history",
    "processing_dialog",
    "desk",
    "dock",
)
"""None imports one that stands behind it."""
_EVERY_MS = 50


class Ahead(QObject):
    """Imports `MODULES` while QGIS has nothing else to do; the panel itself is made when it is opened."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._left = list(MODULES)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._next)
        self._timer.start(_EVERY_MS)

    def _next(self) -> None:
        if self._left:
            importlib.import_module(f"{__package__}.{self._left.pop(0)}")
        else:
            self._timer.stop()
