"""What many files cover together, looked up a file at a time while the window goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qgis.core import QgsCoordinateReferenceSystem, QgsRasterLayer
from qgis.PyQt.QtCore import QObject, QTimer

from .exports import plain_options
from .grids import around
from .sources import Ground, ground_of


class Grounds(QObject):
    """Looks at the headers of files; one that cannot be opened covers nothing, which georeg will say of it."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._left: list[str] = []
        self._found: list[Ground] = []
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._next)
        self._then: Callable[[Ground | None], None] = lambda _: None

    @property
    def running(self) -> bool:
        """Whether some are still to be looked at."""
        return bool(self._timer.isActive())

    def look(
        self,
        paths: Sequence[str],
        crs: QgsCoordinateReferenceSystem,
        margin_m: float,
        metres_per_unit: float,
        then: Callable[[Ground | None], None],
    ) -> None:
        """``then`` hears what all of them cover in ``crs``, with the finest of their pixels; None where that is not known."""
        self._left, self._found, self._then = list(paths), [], then
        self._of = (crs, margin_m, metres_per_unit)
        self._timer.start(0)

    def cancel(self) -> None:
        """Look no further, and call nobody."""
        self._timer.stop()

    def _next(self) -> None:
        if self._left:
            layer = QgsRasterLayer(self._left.pop(0), "target", "gdal", plain_options())
            found = ground_of(layer, *self._of) if layer.isValid() else None
            if found is not None:
                self._found.append(found)
            return
        self._timer.stop()
        boxes = [ground.box for ground in self._found]
        self._then(Ground(around(boxes), min(ground.pixel for ground in self._found)) if boxes else None)
