"""georeg among the providers of Processing."""

from __future__ import annotations

import os

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms import Align, Apply, Assess, Batch, Fit, Match
from .env import GEOREG

ICON = os.path.join(os.path.dirname(__file__), "icon.svg")


class GeoregProvider(QgsProcessingProvider):
    """Holds the algorithms, one for each stage."""

    def id(self) -> str:
        """What the names of algorithms begin with."""
        return "georeg"

    def name(self) -> str:
        """In the toolbox."""
        return "georeg"

    def longName(self) -> str:
        """With its version."""
        return f"georeg {GEOREG}"

    def icon(self) -> QIcon:
        """Of the plugin."""
        return QIcon(ICON)

    def loadAlgorithms(self) -> None:
        """Called by QGIS."""
        for algorithm in (Align, Match, Fit, Assess, Apply, Batch):
            self.addAlgorithm(algorithm())

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """What georeg writes; the first is the default."""
        return ["tif", "tiff", "vrt"]

    def defaultRasterFileExtension(self) -> str:
        """A GeoTIFF."""
        return "tif"

    def supportsNonFileBasedOutput(self) -> bool:
        """Outputs are files."""
        return False
