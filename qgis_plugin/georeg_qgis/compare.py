"""Turns swipe, checkerboard and flicker on and off, and puts the canvas back as it was."""

from __future__ import annotations

from typing import Any

from qgis.gui import QgsMapCanvas, QgsMapTool
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .swipe import EVERYWHERE, LEFT, SQUARES, OtherImage, SwipeTool


class Compare(QObject):
    """Another image over the canvas; one item and one tool, made when they are first needed."""

    swipe_ended = pyqtSignal()
    """Another tool was taken."""

    def __init__(self, canvas: QgsMapCanvas, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._layers: list[str] = []
        self._names: tuple[str, str] = ("", "")
        self.item: OtherImage | None = None
        self._tool: SwipeTool | None = None
        self._tool_before: QgsMapTool | None = None
        self._board = False

    def set_layers(self, layers: list[str], names: tuple[str, str]) -> None:
        """What is compared with, by ids of layers, and what both sides are called."""
        self._layers, self._names = layers, names
        if self.item is not None:
            self.item.show_layers(layers, names)

    def swipe(self, on: bool) -> None:
        """Let the line be dragged, or give the canvas back."""
        if on:
            self._board = False
            item = self._shown(LEFT)
            item.set_at(self._canvas.width() // 2)
            self._tool_before = self._canvas.mapTool()
            self._tool = SwipeTool(self._canvas, item)
            self._tool.deactivated.connect(self._other_tool)
            self._canvas.setMapTool(self._tool)
        elif self._tool is not None:
            tool, self._tool = self._tool, None
            self._hide()
            if self._canvas.mapTool() is tool:
                self._canvas.unsetMapTool(tool)
                if self._tool_before is not None:
                    self._canvas.setMapTool(self._tool_before)

    def flicker(self, on: bool) -> None:
        """Show the other image over all of the canvas while this is on."""
        if on:
            self._shown(EVERYWHERE)
        else:
            self._as_before()

    def board(self, on: bool) -> None:
        """Show the other image on every second square."""
        if on and self._tool is not None:
            self.swipe(False)
            self.swipe_ended.emit()
        self._board = on
        self._as_before()

    def look(self, layers: list[str], name: str) -> None:
        """Show other layers over all of the canvas, for a while; `look_end` ends it."""
        item = self._shown(EVERYWHERE)
        item.show_layers(layers, (name, name))

    def look_end(self) -> None:
        """What is compared is as it was before `look`."""
        if self.item is not None:
            self.item.show_layers(self._layers, self._names)
            self._as_before()

    def _as_before(self) -> None:
        """What lasts, once what is held was let go."""
        if self._tool is not None or self._board:
            self._shown(LEFT if self._tool is not None else SQUARES)
        else:
            self._hide()

    def release(self) -> None:
        """Leave nothing on the canvas."""
        self.swipe(False)
        self._layers, self._board = [], False
        if self.item is not None:
            self.item.release()
            self.item = None

    def _shown(self, where: str) -> OtherImage:
        if self.item is None:
            self.item = OtherImage(self._canvas)
            self.item.show_layers(self._layers, self._names)
        self.item.where = where
        self.item.setVisible(True)
        if self.item.image is None:
            self.item.render()
        self.item.update()
        return self.item

    def _hide(self) -> None:
        if self.item is not None:
            self.item.setVisible(False)

    def _other_tool(self, *_: Any) -> None:
        if self._tool is not None:
            self._tool = None
            self._hide()
            self.swipe_ended.emit()
