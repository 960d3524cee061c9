"""Names that QGIS has moved between 3.22 and 4: where each is found."""

from __future__ import annotations

import functools
from typing import Any

from qgis.core import Qgis, QgsProcessing, QgsProcessingParameterDefinition, QgsProcessingParameterNumber

try:
    from qgis.PyQt.QtGui import QAction
except ImportError:  # Qt 5
    from qgis.PyQt.QtWidgets import QAction

__all__ = ["ADVANCED", "DOUBLE", "INTEGER", "RASTERS", "QAction"]


def _first(new: str, owner: Any, old: str) -> Any:
    """A member of an enumeration: of `Qgis` where it is there, else of the class that had it before 3.36."""
    try:
        return functools.reduce(getattr, new.split("."), Qgis)
    except AttributeError:
        return functools.reduce(getattr, old.split("."), owner)


ADVANCED = _first("ProcessingParameterFlag.Advanced", QgsProcessingParameterDefinition, "Flag.FlagAdvanced")
INTEGER = _first("ProcessingNumberParameterType.Integer", QgsProcessingParameterNumber, "Type.Integer")
DOUBLE = _first("ProcessingNumberParameterType.Double", QgsProcessingParameterNumber, "Type.Double")
RASTERS = _first("ProcessingSourceType.Raster", QgsProcessing, "SourceType.TypeRaster")
