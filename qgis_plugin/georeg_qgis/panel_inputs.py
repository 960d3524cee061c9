"""The top of the panel: which raster stays, which moves, and what is in the way."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from typing import Any

from qgis.core import QgsMapLayer, QgsMapLayerProxyModel, QgsProject, QgsProviderRegistry, QgsRasterLayer, QgsUnitTypes
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QGridLayout, QLabel, QToolButton, QWidget

from .compat import METRES
from .exports import Exports
from .pairs import OUTPUT_MARK, Looked, Pair, guess, pair, path_of

_INK = {True: "#b3261e", False: "#8a5a00"}
"""Colour of a problem that stands in the way, and of one that does not."""


class InputsPanel(QWidget):
    """Two combo boxes of raster layers with file pickers, a button that swaps them, and a live line about the pair."""

    changed = pyqtSignal()
    """Another pair, or the same with other facts; `pair` has them."""

    def __init__(self, exports: Exports, looked: Callable[[bool], Looked], parent: QWidget | None = None) -> None:
        """``looked`` tells where is looked, given whether that is everywhere."""
        super().__init__(parent)
        self.everywhere = False
        self.pair = Pair("", ())
        self._guessed: tuple = (None, None)
        self._exports, self._looked = exports, looked
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        self.reference = self._row(grid, 0, self.tr("Reference"), self.tr("stays"), self._open_reference)
        self.target = self._row(grid, 1, self.tr("Target"), self.tr("moves"), self._open_target)
        self.swap_button = QToolButton()
        self.swap_button.setText("⇅")
        self.swap_button.setToolTip(self.tr("Swap reference and target"))
        self.swap_button.clicked.connect(self.swap)
        grid.addWidget(self.swap_button, 0, 3, 2, 1)
        grid.setColumnStretch(1, 1)
        self.line = QLabel()
        self.line.setWordWrap(True)
        self.line.setTextFormat(Qt.TextFormat.RichText)
        self.line.linkActivated.connect(self._act)
        grid.addWidget(self.line, 2, 0, 1, 4)
        self.guess()
        for combo in (self.reference, self.target):
            combo.layerChanged.connect(self._other_layer)
        QgsProject.instance().legendLayersAdded.connect(self._layers_added)
        self.look()

    def _row(self, grid: QGridLayout, row: int, name: str, role: str, pick: Any) -> QgsMapLayerComboBox:
        label = QLabel(f"<b>{name}</b><br><small>{role}</small>")
        combo = QgsMapLayerComboBox()
        combo.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        combo.setAllowEmptyLayer(True)
        combo.setMinimumContentsLength(3)
        combo.setSizeAdjustPolicy(combo.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        button = QToolButton()
        button.setText("…")
        button.setToolTip(self.tr("Open a raster file"))
        button.clicked.connect(pick)
        grid.addWidget(label, row, 0)
        grid.addWidget(combo, row, 1)
        grid.addWidget(button, row, 2)
        return combo

    def paths(self) -> tuple[str, str]:
        """Files of reference and target, of which some may have to be exported first; empty where there is none."""
        reference, target = (self._path(*side) for side in self._sides())
        return reference, target

    def metres_per_unit(self) -> float:
        """Of the CRS of the reference."""
        layer = self.reference.currentLayer()
        known = layer is not None and layer.crs().isValid()
        return float(QgsUnitTypes.fromUnitToUnitFactor(layer.crs().mapUnits(), METRES)) if known else 1.0

    def steps(self) -> list[Any]:
        """What has to be exported before the paths can be read."""
        return [self._exports.raster_step(layer, source.grid) for layer, source in self._sides() if source.grid]

    def _sides(self) -> tuple:
        return (
            (self.reference.currentLayer(), self.pair.reference),
            (self.target.currentLayer(), self.pair.target),
        )

    def _path(self, layer: Any, source: Any) -> str:
        if source.grid is not None:
            return str(self._exports.raster_step(layer, source.grid).path)
        return str(source.path) or path_of(layer)

    def guess(self) -> None:
        """Choose both by the rule of `pairs.guess`."""
        reference, target = guess(QgsProject.instance())
        self.reference.setLayer(reference)
        self.target.setLayer(target)
        self._guessed = (reference, target)

    def swap(self) -> None:
        """Exchange reference and target."""
        reference, target = self.reference.currentLayer(), self.target.currentLayer()
        for combo, layer in ((self.reference, target), (self.target, reference)):
            combo.blockSignals(True)
            combo.setLayer(layer)
            combo.blockSignals(False)
        self._other_layer()

    def look(self) -> None:
        """See what the pair is, and say so."""
        looked = self._looked(self.everywhere)
        self.pair = pair(self.reference.currentLayer(), self.target.currentLayer(), looked)
        whole = self.pair.summary.replace(":", ":\u2060")  # an EPSG code is not broken
        lines = [html.escape(whole)] if whole else []
        for problem in self.pair.problems:
            link = f' <a href="{problem.action}">{html.escape(problem.label)}</a>' if problem.action else ""
            lines.append(f'<span style="color:{_INK[problem.fatal]}">{html.escape(problem.text)}</span>{link}')
        lines += [html.escape(self._told(step, source)) for step, source in zip(self.steps(), self._exported())]
        self.line.setText("<br>".join(lines))
        self.changed.emit()

    def _exported(self) -> list[Any]:
        return [source for _, source in self._sides() if source.grid]

    def _told(self, step: Any, source: Any) -> str:
        """That a layer will be exported, or was; a long path may be broken."""
        if step.is_there:
            return str(step.told).replace("/", "/\u200b").replace("\\", "\\\u200b")
        text = self.tr("{why}: {columns} × {rows} pixels of it are exported for this area first.")
        return text.format(why=source.why, columns=source.grid.columns, rows=source.grid.rows)

    def release(self) -> None:
        """Hear no more of the project."""
        QgsProject.instance().legendLayersAdded.disconnect(self._layers_added)

    def _other_layer(self, *_: Any) -> None:
        self.everywhere = False
        self.look()

    def _layers_added(self, layers: list) -> None:
        """A pair that is not complete is guessed again; one that was chosen stays."""
        if all(layer.customProperty(OUTPUT_MARK) for layer in layers):
            return
        chosen = (self.reference.currentLayer(), self.target.currentLayer())
        if None in chosen and chosen in ((None, None), self._guessed):
            self.guess()
        elif None in chosen:
            empty, full = (self.reference, chosen[1]) if chosen[0] is None else (self.target, chosen[0])
            empty.setLayer(next((layer for layer in guess(QgsProject.instance()) if layer is not full), None))

    def _act(self, action: str) -> None:
        if action == "everywhere":
            self.everywhere = True
            self.look()
        else:
            {"swap": self.swap, "reference": self._open_reference, "target": self._open_target}[action]()

    def _open_reference(self) -> None:
        self._open(self.reference, self.tr("Open the reference"))

    def _open_target(self) -> None:
        self._open(self.target, self.tr("Open the target"))

    def _open(self, combo: QgsMapLayerComboBox, title: str) -> None:
        filters = QgsProviderRegistry.instance().fileRasterFilters()
        path, _ = QFileDialog.getOpenFileName(self, title, os.path.dirname(path_of(combo.currentLayer())), filters)
        layer = add_raster(path) if path else None
        if layer is not None:
            combo.setLayer(layer)


def add_raster(path: str) -> QgsMapLayer | None:
    """A raster file as a layer of the project; None where QGIS cannot open it."""
    layer = QgsRasterLayer(path, os.path.splitext(os.path.basename(path))[0], "gdal")
    if not layer.isValid():
        return None
    return QgsProject.instance().addMapLayer(layer)
