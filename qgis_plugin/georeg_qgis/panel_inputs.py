"""The top of the panel: which raster stays, which moves, and what is in the way."""

from __future__ import annotations

import html
import os
from typing import Any

from qgis.core import QgsMapLayer, QgsMapLayerProxyModel, QgsProject, QgsProviderRegistry, QgsRasterLayer
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QGridLayout, QLabel, QToolButton, QWidget

from .pairs import OUTPUT_MARK, Pair, guess, pair, path_of

_INK = {True: "#b3261e", False: "#8a5a00"}
"""Colour of a problem that stands in the way, and of one that does not."""


class InputsPanel(QWidget):
    """Two combo boxes of raster layers with file pickers, a button that swaps them, and a live line about the pair."""

    changed = pyqtSignal()
    """Another pair, or the same with other facts; `pair` has them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.everywhere = False
        self.pair = Pair("", ())
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
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
        combo.setMinimumContentsLength(8)
        combo.setSizeAdjustPolicy(combo.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        button = QToolButton()
        button.setText("…")
        button.setToolTip(self.tr("Open a raster file"))
        button.clicked.connect(pick)
        grid.addWidget(label, row, 0)
        grid.addWidget(combo, row, 1)
        grid.addWidget(button, row, 2)
        return combo

    def paths(self) -> tuple:
        """Files of reference and target."""
        return path_of(self.reference.currentLayer()), path_of(self.target.currentLayer())

    def guess(self) -> None:
        """Choose both by the rule of `pairs.guess`."""
        reference, target = guess(QgsProject.instance())
        self.reference.setLayer(reference)
        self.target.setLayer(target)

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
        self.pair = pair(self.reference.currentLayer(), self.target.currentLayer(), everywhere=self.everywhere)
        whole = self.pair.summary.replace(":", ":\u2060")  # an EPSG code is not broken
        lines = [html.escape(whole)] if whole else []
        for problem in self.pair.problems:
            link = f' <a href="{problem.action}">{html.escape(problem.label)}</a>' if problem.action else ""
            lines.append(f'<span style="color:{_INK[problem.fatal]}">{html.escape(problem.text)}</span>{link}')
        self.line.setText("<br>".join(lines))
        self.changed.emit()

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
        if chosen == (None, None):
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
