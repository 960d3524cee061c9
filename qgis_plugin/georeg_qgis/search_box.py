"""How far the target may be off: in units of the map and in pixels, or by two clicks on the canvas."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsCoordinateTransform, QgsCsException, QgsDistanceArea, QgsPointXY, QgsProject
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QDoubleSpinBox, QGridLayout, QLabel, QPushButton, QWidget

from .compat import METRES
from .grids import search_m
from .map_tools import MeasureTool
from .pairs import Pair

_FARTHEST_M = 1e7


class SearchBox(QWidget):
    """Two fields for one distance, and a button to measure it with."""

    changed = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._tool: MeasureTool | None = None
        self._gsd_m, self._unit, self._unit_m = 0.0, "m", 1.0
        self._crs: Any = None
        self.search_m = 0.0
        """Metres, as georeg counts them: units of the working CRS; 0 is automatic."""
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        self.in_map, self.in_px = QDoubleSpinBox(), QDoubleSpinBox()
        for column, (spin, slot) in enumerate(((self.in_map, self._map_given), (self.in_px, self._px_given))):
            spin.setRange(0.0, _FARTHEST_M)
            spin.setDecimals(1)
            spin.setMinimumWidth(40)
            spin.setSpecialValueText(self.tr("auto"))
            spin.setToolTip(self.tr("<p>Largest shift to accept. Automatic: as far as the smaller raster is long.</p>"))
            spin.valueChanged.connect(slot)
            grid.addWidget(spin, 0, column)
        self.in_px.setSuffix(" px")
        self.measure_button = QPushButton(self.tr("Measure on the map"))
        self.measure_button.setCheckable(True)
        tip = self.tr(
            "Two clicks on the map: where something is in the target, and where the same is in the reference."
        )
        self.measure_button.setToolTip(f"<p>{tip}</p>")
        self.measure_button.toggled.connect(self._measure)
        grid.addWidget(self.measure_button, 1, 0, 1, 2)
        self.note = QLabel()
        self.note.setWordWrap(True)
        grid.addWidget(self.note, 2, 0, 1, 2)
        self._say("")
        self._show()

    def set_search_m(self, metres: float) -> None:
        """Search so far; 0: as far as georeg thinks."""
        self.search_m = max(0.0, min(float(metres), _FARTHEST_M))
        self._show()
        self.changed.emit()

    def words(self) -> list[str]:
        """For the command line."""
        return ["--max-shift-m", f"{self.search_m:.6g}"] if self.search_m > 0 else []

    def pair_changed(self, pair: Pair, crs: Any) -> None:
        """Pixels and units of another size: the distance on the ground stays."""
        self._gsd_m, self._crs = pair.gsd * pair.metres_per_unit, crs
        linear = pair.unit not in ("", "px") and crs is not None and not crs.isGeographic()
        self._unit, self._unit_m = (pair.unit, pair.metres_per_unit) if linear else ("m", 1.0)
        self._show()

    def release(self) -> None:
        """Give the canvas back."""
        if self._tool is not None:
            self._tool.leave()

    def _map_given(self, value: float) -> None:
        self.set_search_m(value * self._unit_m)

    def _px_given(self, value: float) -> None:
        self.set_search_m(value * self._gsd_m)

    def _show(self) -> None:
        """Both fields, of which that which is being typed in keeps what was typed."""
        self.in_px.setEnabled(self._gsd_m > 0)
        self.in_map.setSuffix(f" {self._unit}")
        in_px = self.search_m / self._gsd_m if self._gsd_m else 0.0
        for spin, value in ((self.in_map, self.search_m / self._unit_m), (self.in_px, in_px)):
            if not (spin.hasFocus() and abs(spin.value() - value) < 0.05):
                spin.blockSignals(True)
                spin.setValue(value)
                spin.blockSignals(False)

    def _measure(self, on: bool) -> None:
        if on and self._tool is None:
            self._tool = tool = MeasureTool(self._canvas)
            tool.one_clicked.connect(
                lambda: self._say(self.tr("And where is the same in the reference? Esc gives up."))
            )
            tool.measured.connect(self._measured)
            tool.left.connect(self._left)
            self._say(self.tr("Click something that both show: first where it is in the target. Esc gives up."))
            self._canvas.setMapTool(tool)
            self._canvas.setFocus()
        elif not on and self._tool is not None:
            self._tool.leave()

    def _left(self) -> None:
        tool, self._tool = self._tool, None
        if tool is not None:
            tool.deleteLater()
        self.measure_button.setChecked(False)
        self._say("")

    def _measured(self, first: QgsPointXY, second: QgsPointXY) -> None:
        apart = self._apart_m(first, second)
        self.set_search_m(search_m(apart, self._gsd_m))
        text = self.tr("Measured {apart} m; searched within {search} m, to be sure.")
        self._say(text.format(apart=f"{apart:.3g}", search=f"{self.search_m:g}"))

    def _apart_m(self, first: QgsPointXY, second: QgsPointXY) -> float:
        """Distance of two points of the canvas: on the ellipsoid, or in the CRS of the reference where that is longer, for
        georeg counts in its units."""
        project, shown = QgsProject.instance(), self._canvas.mapSettings().destinationCrs()
        measure = QgsDistanceArea()
        measure.setSourceCrs(shown, project.transformContext())
        ellipsoid = project.ellipsoid()
        measure.setEllipsoid(ellipsoid if ellipsoid and ellipsoid != "NONE" else "EPSG:7030")
        apart = measure.convertLengthMeasurement(measure.measureLine(first, second), METRES)
        if self._crs is None or not self._crs.isValid() or self._crs.isGeographic():
            return float(apart)
        try:
            there = QgsCoordinateTransform(shown, self._crs, project)
            flat = there.transform(first).distance(there.transform(second)) * self._unit_m
        except QgsCsException:
            return float(apart)
        return float(max(apart, flat))

    def _say(self, text: str) -> None:
        self.note.setText(text)
        self.note.setVisible(bool(text))
