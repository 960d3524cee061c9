"""Presets, how far to search, where to write, and the rest of the options behind a fold."""

from __future__ import annotations

import os
from typing import Any

from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtWidgets import (
    QButtonGroup,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .options_form import OptionsForm
from .pairs import Pair
from .params import load_schema

PRESETS: dict[str, dict[str, str]] = {
    "shift": {"MODEL": "translation", "MAX_POINTS": ""},
    "satellite": {"MODEL": "", "MAX_POINTS": ""},
    "bent": {"MODEL": "", "MAX_POINTS": "2000"},
}
"""Values of options that each preset stands for: none, one shift; georeg's own choice; and more points, to follow a bend."""
SEARCHING = ("align", "assess")
"""Verbs that look for the target's place."""
_FARTHEST_M = 1e7


class OptionsPanel(QWidget):
    """What is asked of georeg, but for the pair itself."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = OptionsForm(load_schema())
        self._output = ""
        self._gsd_m = 0.0
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._presets())
        self.fold = QgsCollapsibleGroupBox(self.tr("Advanced"))
        inside = QVBoxLayout(self.fold)
        inside.addLayout(self._basics())
        inside.addWidget(self.form)
        reset = QPushButton(self.tr("Everything at its default"))
        reset.clicked.connect(self.reset)
        inside.addWidget(reset)
        self.fold.setCollapsed(True)
        self.fold.collapsedStateChanged.connect(lambda folded: None if folded else self.form.build())
        column.addWidget(self.fold)

    def _presets(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        self.presets: dict[str, QPushButton] = {}
        together = QButtonGroup(self)
        for key, name, tip in (
            ("shift", self.tr("Shift only"), self.tr("One shift for the whole raster, nothing is turned or bent.")),
            (
                "satellite",
                self.tr("Satellite"),
                self.tr("georeg takes the simplest correction that withheld ground confirms."),
            ),
            (
                "bent",
                self.tr("Drone, old photo"),
                self.tr("As Satellite, with four times as many points, so that a bend can be followed. Takes longer."),
            ),
        ):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setToolTip(f"<p>{tip}</p>")
            button.clicked.connect(lambda _checked, key=key: self.choose(key))
            together.addButton(button)
            row.addWidget(button)
            self.presets[key] = button
        self.presets["satellite"].setChecked(True)
        return row

    def _basics(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(2, 1)
        self.search_m, self.search_px = QDoubleSpinBox(), QDoubleSpinBox()
        for spin, suffix, slot in ((self.search_m, " m", self._to_px), (self.search_px, " px", self._to_m)):
            spin.setRange(0.0, _FARTHEST_M)
            spin.setDecimals(1)
            spin.setSuffix(suffix)
            spin.setMinimumWidth(70)
            spin.setSpecialValueText(self.tr("automatic"))
            spin.setToolTip(self.tr("<p>Largest shift to accept. Automatic: as far as the smaller raster is long.</p>"))
            spin.valueChanged.connect(slot)
        grid.addWidget(QLabel(self.tr("Search within")), 0, 0)
        grid.addWidget(self.search_m, 0, 1)
        grid.addWidget(self.search_px, 0, 2)
        self.output = QLineEdit()
        self.output.setToolTip(self.tr("<p>The corrected copy. A file that exists is never replaced.</p>"))
        pick = QToolButton()
        pick.setText("…")
        pick.clicked.connect(self._pick_output)
        beside = QHBoxLayout()
        beside.addWidget(self.output)
        beside.addWidget(pick)
        grid.addWidget(QLabel(self.tr("Write to")), 1, 0)
        grid.addLayout(beside, 1, 1, 1, 2)
        return grid

    def choose(self, preset: str) -> None:
        """Take a preset: its values go into the fields, where they can be seen and changed."""
        self.presets[preset].setChecked(True)
        self.form.set_values(PRESETS[preset])

    def reset(self) -> None:
        """Everything as it was at first."""
        self.form.reset()
        self.search_m.setValue(0.0)
        self.choose("satellite")

    def pair_changed(self, pair: Pair) -> None:
        """Pixels of another size: the distance in metres stays."""
        self._gsd_m = pair.gsd * pair.metres_per_unit
        self.search_px.setEnabled(self._gsd_m > 0)
        self._to_px(self.search_m.value())

    def words(self, verb: str, *, everywhere: bool = False) -> list[str]:
        """Words of the command line after the two rasters and the output."""
        said = self.form.words(verb)
        if verb not in SEARCHING:
            return said
        if self.search_m.value() > 0:
            said += ["--max-shift-m", f"{self.search_m.value():g}"]
        if everywhere and "--initial" not in said:
            said += ["--initial", "none"]
        return said

    def output_for(self, target: str) -> str:
        """Where the corrected copy goes: what was written by hand, or a free name beside the target."""
        return str(self.output.text()).strip() or free_name(target)

    def show_output(self, target: str) -> None:
        """Show the name that would be taken if nothing is written there."""
        self.output.setPlaceholderText(free_name(target) if target else "")

    def _to_px(self, metres: float) -> None:
        self._set(self.search_px, metres / self._gsd_m if self._gsd_m else 0.0)

    def _to_m(self, pixels: float) -> None:
        self._set(self.search_m, pixels * self._gsd_m)

    def _set(self, spin: QDoubleSpinBox, value: float) -> None:
        spin.blockSignals(True)
        spin.setValue(value)
        spin.blockSignals(False)

    def _pick_output(self, *_: Any) -> None:
        start = self.output.text() or self.output.placeholderText()
        path, _ = QFileDialog.getSaveFileName(self, self.tr("Write the corrected copy to"), start, "GeoTIFF (*.tif)")
        if path:
            self.output.setText(path)


def free_name(target: str) -> str:
    """A name beside the target that no file has; in the home folder where that of the target cannot be written."""
    folder, name = os.path.split(target)
    if "://" in target or target.startswith("/vsi") or not os.access(folder or ".", os.W_OK):
        folder = os.path.expanduser("~")
    stem = os.path.splitext(name)[0] + "_aligned"
    for k in range(1, 10000):
        path = os.path.join(folder, f"{stem}.tif" if k == 1 else f"{stem}_{k}.tif")
        if not os.path.exists(path):
            return path
    return os.path.join(folder, f"{stem}_again.tif")
