"""Results of this session, the last on top, each of which can be taken back."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from qgis.core import QgsCoordinateReferenceSystem, QgsRasterLayer

from .figures import Tie
from .i18n import translated as tr
from .results import Shown, in_tree, remove, show


@dataclass
class Run:
    """A run that came to a result."""

    name: str
    target: str
    output: str
    """The corrected file; empty where nothing was written."""
    commands: list[str]
    """Command lines that do the same."""
    values: dict[str, Any]
    """The result, as ``--json`` prints it."""
    ties: list[Tie] = field(default_factory=list)
    crs: QgsCoordinateReferenceSystem | None = None
    """Working CRS."""
    shown: Shown | None = None

    def put_on_map(
        self, crs: QgsCoordinateReferenceSystem, reference: QgsRasterLayer | None, target: QgsRasterLayer | None
    ) -> None:
        """As a group of layers on top of the tree."""
        self.crs = crs
        self.shown = show(self.name, output=self.output, ties=self.ties, crs=crs, reference=reference, target=target)


class History:
    """Runs, the last of them at the end."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    @property
    def last(self) -> Run | None:
        """The run that is shown; None where there is none."""
        return self.runs[-1] if self.runs else None

    def add(self, run: Run) -> None:
        """Put a run on top; those before it are switched off, or they would show beside it."""
        for before in self.runs:
            _switch(before, False)
        self.runs.append(run)

    def undo(self, *, delete: bool) -> str:
        """Take the last run off the map, and its file off the disk where that is wanted; what was done, in a sentence."""
        run = self.runs.pop()
        if run.shown is not None:
            remove(run.shown)
        if self.last is not None:
            _switch(self.last, True)
        if not (delete and run.output):
            return tr("{name} was taken off the map.").format(name=run.name)
        try:
            os.remove(run.output)
        except OSError as exc:
            return tr("{path} was not deleted: {why}.").format(path=run.output, why=exc.strerror or exc)
        with suppress(OSError):  # which QGIS writes beside a raster whose pixels it has counted
            os.remove(run.output + ".aux.xml")
        return tr("{name} was taken off the map, and {path} deleted.").format(name=run.name, path=run.output)


def _switch(run: Run, on: bool) -> None:
    """Show or hide the group of a run."""
    if run.shown is not None and in_tree(run.shown.group):
        run.shown.group.setItemVisibilityChecked(on)
        run.shown.group.setExpanded(on)
