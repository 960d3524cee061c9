"""Names that QGIS has moved between 3.22 and 4: where each is found."""

from __future__ import annotations

import functools
from typing import Any

from qgis.core import (
    Qgis,
    QgsMapLayerProxyModel,
    QgsProcessing,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterNumber,
    QgsUnitTypes,
    QgsWkbTypes,
)

try:
    from qgis.PyQt.QtGui import QAction
except ImportError:  # Qt 5
    from qgis.PyQt.QtWidgets import QAction

__all__ = [
    "ADVANCED",
    "DOUBLE",
    "INTEGER",
    "LINE",
    "METRES",
    "PICTURES",
    "POLYGON",
    "POLYGON_LAYERS",
    "RASTERS",
    "RASTER_LAYERS",
    "QAction",
]


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
POLYGON = _first("GeometryType.Polygon", QgsWkbTypes, "GeometryType.PolygonGeometry")
LINE = _first("GeometryType.Line", QgsWkbTypes, "GeometryType.LineGeometry")
METRES = _first("DistanceUnit.Meters", QgsUnitTypes, "DistanceUnit.DistanceMeters")
POLYGON_LAYERS = _first("LayerFilter.PolygonLayer", QgsMapLayerProxyModel, "Filter.PolygonLayer")
RASTER_LAYERS = _first("LayerFilter.RasterLayer", QgsMapLayerProxyModel, "Filter.RasterLayer")
PICTURES = tuple(_first(f"DataType.{name}", Qgis, f"DataType.{name}") for name in ("ARGB32", "ARGB32_Premultiplied"))
"""What a raster's pixels are where a server has drawn them."""
