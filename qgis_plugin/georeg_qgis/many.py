"""What the panel does with many targets: asks for them, shows what became of each, and puts the results on the map."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtCore import QObject

from .batch_layers import BatchLayers
from .figures import refusal
from .grounds import Grounds
from .panel_batch import BatchPanel
from .preparing import batch_asked
from .scenes import SceneRow, scene_rows
from .sources import Ground, why_export


class Many(QObject):
    """Holds the section of the panel, and speaks for it to the dock."""

    def __init__(self, dock: Any) -> None:
        super().__init__(dock)
        self._dock = dock
        self.panel, self.layers, self._grounds = BatchPanel(), BatchLayers(self), Grounds(self)
        self.panel.asked.connect(self.align)
        self.panel.row_chosen.connect(self._zoom)

    @property
    def running(self) -> bool:
        """Whether targets are looked at, before georeg is asked anything."""
        return self._grounds.running

    def align(self) -> None:
        """Align all targets of the list to the reference, each by itself."""
        dock, layer = self._dock, self._dock.inputs.reference.currentLayer()
        if dock.busy:
            return
        if layer is None:
            dock.result.show_verdict(refusal("usage", self.tr("there is no reference; choose one"), ""))
        elif why_export(layer):  # what has to be exported of it is what the targets cover
            dock.wait()
            metres = dock.inputs.metres_per_unit()
            self._grounds.look(self.panel.targets(), layer.crs(), dock.where.search.search_m, metres, self._begin)
        else:
            self._begin(None)

    def cancel(self) -> None:
        """Stop looking at targets."""
        self._grounds.cancel()
        self._dock.not_prepared("cancelled", self.tr("The run was cancelled. No file was changed"), "")

    def pair_changed(self) -> None:
        """Another reference, which is no target."""
        self.panel.set_reference(self._dock.inputs.paths()[0])

    def clear(self) -> None:
        """Another project."""
        self.layers.release()
        self.panel.clear_rows()

    def release(self) -> None:
        """Look at nothing more, and add no more layers."""
        self._grounds.cancel()
        self.layers.release()

    def _begin(self, ground: Ground | None) -> None:
        dock, folder = self._dock, self.panel.output_folder()
        try:
            asked = batch_asked(self.panel.targets(), ground, dock.inputs, dock.where, dock.options, dock.exports)
        except ValueError as exc:
            dock.not_prepared("usage", str(exc), "")
            return
        arguments = ["batch", *asked.paths, "-o", folder, *asked.words]
        self.panel.begin(folder)
        n = len(asked.paths) - 1

        def begin() -> None:
            dock.begin(arguments, self._aligned, otherwise=self._failed)
            dock.running.progressed({"stage": "scenes", "done": 0, "total": n})

        dock.prepare(asked.steps, begin)

    def _failed(self, code: str, message: str, hint: str) -> None:
        """A batch that was cancelled can go on."""
        if code == "cancelled":
            message = f"{message.rstrip('.')}. " + self.tr("The same button again goes on with the rest.")
        self._dock.result.show_verdict(refusal(code, message, hint), setup=code == "setup")

    def _aligned(self, line: dict[str, Any]) -> None:
        rows = scene_rows(line["values"], self._dock.in_labels)
        self.panel.show_rows(rows)
        self.layers.show(self.tr("georeg: batch of {n}").format(n=len(rows)), rows)

    def _zoom(self, row: SceneRow) -> None:
        self._dock.view.zoom_to_layer(self.layers.layer_of(row))
