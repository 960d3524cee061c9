"""Results of this project, the last on top, each of which can be taken back, shown again and done again."""

from __future__ import annotations

import json
import os
import shlex
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from qgis.core import QgsCoordinateReferenceSystem, QgsProject, QgsRasterLayer

from .figures import Tie
from .i18n import translated as tr
from .results import Shown, in_tree, remove, show

SCOPE, ENTRY = "georeg", "/runs"
"""Where a project keeps them."""
MOST = 10
"""So many of the last runs are kept with a project."""


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
    left_out: set[int] = field(default_factory=set)
    """Numbers of check points that the user has switched off for it."""
    by_hand: set[int] = field(default_factory=set)
    """Numbers of the tie points that somebody pointed at."""
    when: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M:%S"))

    def put_on_map(
        self, crs: QgsCoordinateReferenceSystem, reference: QgsRasterLayer | None, target: QgsRasterLayer | None
    ) -> None:
        """As a group of layers on top of the tree."""
        self.crs = crs
        self.shown = show(self.name, output=self.output, ties=self.ties, crs=crs, reference=reference, target=target)

    @property
    def words(self) -> list[str]:
        """Words of the command line that made it; empty where it took several, as a refit does."""
        return shlex.split(self.commands[0])[1:] if len(self.commands) == 1 else []

    def to_dict(self) -> dict[str, Any]:
        """As values for JSON; layers by their ids, which a project keeps."""
        plain = ("name", "target", "output", "commands", "values", "when")
        shown = None if self.shown is None else {k: v for k, v in vars(self.shown).items() if k != "group"}
        told = {"ties": [asdict(tie) for tie in self.ties], "shown": shown}
        numbers = {"left_out": sorted(self.left_out), "by_hand": sorted(self.by_hand)}
        return {**{name: getattr(self, name) for name in plain}, **told, **numbers}


def run_from_dict(values: dict[str, Any]) -> Run:
    """What `Run.to_dict` described, with those of its layers that the project still has.

    Raises
    ------
    KeyError, TypeError
        Another version of the plugin wrote it.
    """
    known = {**values, "left_out": set(values["left_out"]), "by_hand": set(values["by_hand"])}
    known["ties"] = [_tie(one) for one in values["ties"]]
    known["crs"] = QgsCoordinateReferenceSystem.fromWkt(values["values"]["tie_points"]["crs"])
    if values["shown"] is not None:
        known["shown"] = _still_there(values["shown"])
    return Run(**known)


def _tie(values: dict[str, Any]) -> Tie:
    places = {name: values[name] and tuple(values[name]) for name in ("ref_xy", "residual_xy", "tgt_xy")}
    return Tie(**{**values, **places})


def _still_there(shown: dict[str, Any]) -> Shown:
    project = QgsProject.instance()
    here = {one for one in shown["layer_ids"] if project.mapLayer(one) is not None}
    nodes = [project.layerTreeRoot().findLayer(one) for one in here]
    groups = [node.parent() for node in nodes if node is not None and node.parent() is not project.layerTreeRoot()]
    return Shown(
        group=groups[0] if groups else None,
        layer_ids=[one for one in shown["layer_ids"] if one in here],
        output=shown["output"],
        aligned=shown["aligned"] if shown["aligned"] in here else "",
        compared={key: one for key, one in shown["compared"].items() if one in here},
        dots=[one for one in shown["dots"] if one in here],
        hidden=list(shown["hidden"]),
        beside=list(shown["beside"]),
    )


class History:
    """Runs, the one that is shown at the end."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    @property
    def last(self) -> Run | None:
        """The run that is shown; None where there is none."""
        return self.runs[-1] if self.runs else None

    def add(self, run: Run) -> None:
        """Put a run on top; those before it are switched off, or they would show beside it."""
        for before in self.runs:
            switch(before, False)
        self.runs.append(run)
        self.keep()

    def bring_up(self, run: Run) -> None:
        """Show a run that was there before."""
        self.runs.remove(run)
        for other in self.runs:
            switch(other, False)
        self.runs.append(run)
        switch(run, True)
        self.keep()

    def undo(self, *, delete: bool) -> str:
        """Take the last run off the map, and its file off the disk where that is wanted; what was done, in a sentence."""
        run = self.runs.pop()
        beside = list(run.shown.beside) if run.shown is not None else []
        if run.shown is not None:
            remove(run.shown)
        if self.last is not None:
            switch(self.last, True)
        self.keep()
        if not (delete and run.output):
            return tr("{name} was taken off the map.").format(name=run.name)
        try:
            os.remove(run.output)
        except OSError as exc:
            return tr("{path} was not deleted: {why}.").format(path=run.output, why=exc.strerror or exc)
        for path in (
            run.output + ".aux.xml",
            *beside,
        ):  # QGIS writes the first beside a raster whose pixels it has counted
            with suppress(OSError):
                os.remove(path)
        return tr("{name} was taken off the map, and {path} deleted.").format(name=run.name, path=run.output)

    def files(self) -> set[str]:
        """Rasters that results are of."""
        inputs = [run.values["tie_points"]["inputs"] for run in self.runs]
        return {run.target for run in self.runs} | {one[side] for one in inputs for side in ("reference", "target")}

    def keep(self) -> None:
        """With the project, from where `load` takes them."""
        QgsProject.instance().writeEntry(SCOPE, ENTRY, json.dumps([run.to_dict() for run in self.runs[-MOST:]]))

    def load(self) -> None:
        """Those that the project has; none where it has none that can be read."""
        text, _ = QgsProject.instance().readEntry(SCOPE, ENTRY, "[]")
        self.runs = []
        with suppress(KeyError, TypeError, ValueError):
            self.runs = [run_from_dict(one) for one in json.loads(text)]


def switch(run: Run, on: bool) -> None:
    """Show or hide the group of a run."""
    if run.shown is not None and in_tree(run.shown.group):
        run.shown.group.setItemVisibilityChecked(on)
        run.shown.group.setExpanded(on)
