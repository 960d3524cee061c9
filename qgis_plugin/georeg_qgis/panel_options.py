"""Presets, where to look, where to write, and the rest of the options, each but the first behind a fold."""

from __future__ import annotations

import os
from typing import Any

from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtWidgets import (
    QButtonGroup,
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
from .panel_where import WherePanel
from .params import load_schema

PRESETS: dict[str, dict[str, str]] = {
    "shift": {"MODEL": "translation", "MAX_POINTS": ""},
    "satellite": {"MODEL": "", "MAX_POINTS": ""},
    "bent": {"MODEL": "", "MAX_POINTS": "2000"},
}
"""Values of options that each preset stands for: none, one shift; georeg's own choice; and more points, to follow a bend."""
SEARCHING = ("align", "assess", "batch")
"""Verbs that look for the target's place."""


class OptionsPanel(QWidget):
    """What is asked of georeg, but for the pair itself."""

    def __init__(self, where: WherePanel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = OptionsForm(load_schema())
        self.where = where
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._presets())
        column.addWidget(where)
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
            button.setMinimumWidth(40)  # in a narrow panel, what is left around the name goes first
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
        self.output = QLineEdit()
        self.output.setToolTip(self.tr("<p>The corrected copy. A file that exists is never replaced.</p>"))
        pick = QToolButton()
        pick.setText("…")
        pick.clicked.connect(self._pick_output)
        beside = QHBoxLayout()
        beside.addWidget(self.output)
        beside.addWidget(pick)
        grid.addWidget(QLabel(self.tr("Write to")), 0, 0)
        grid.addLayout(beside, 0, 1)
        return grid

    def choose(self, preset: str) -> None:
        """Take a preset: its values go into the fields, where they can be seen and changed."""
        self.presets[preset].setChecked(True)
        self.form.set_values(PRESETS[preset])

    def reset(self) -> None:
        """Everything as it was at first."""
        self.form.reset()
        self.where.reset()
        self.choose("satellite")

    def words(self, verb: str, *, everywhere: bool = False) -> list[str]:
        """Words of the command line after the two rasters and the output, but for those of where to look."""
        said = self.form.words(verb)
        if verb in SEARCHING and everywhere and "--initial" not in said:
            said += ["--initial", "none"]
        return said

    def output_for(self, target: str) -> str:
        """Where the corrected copy goes: what was written by hand, or a free name beside the target."""
        return str(self.output.text()).strip() or free_name(target)

    def show_output(self, target: str) -> None:
        """Show the name that would be taken if nothing is written there."""
        self.output.setPlaceholderText(free_name(target) if target else "")

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
