"""Polygons as files that the worker reads: GeoPackages with their CRS."""

from __future__ import annotations

import os
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsVectorFileWriter,
    QgsVectorFileWriterTask,
    QgsVectorLayer,
)

from .i18n import translated as tr

_EDGE_POINTS = 15
"""Put on each edge, that it bends with the projection."""


def _options(name: str) -> Any:
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = name
    options.skipAttributeCreation = True
    return options


def write_polygon(polygon: QgsGeometry, crs: QgsCoordinateReferenceSystem, path: str) -> None:
    """Write one polygon.

    Raises
    ------
    ValueError
        The file cannot be written.
    """
    dense = polygon.densifyByCount(_EDGE_POINTS)
    dense.convertToMultiType()
    layer = QgsVectorLayer("MultiPolygon", "area", "memory")
    layer.setCrs(crs)
    feature = QgsFeature()
    feature.setGeometry(dense)
    layer.dataProvider().addFeatures([feature])
    context = QgsProject.instance().transformContext()
    error, why, *_ = QgsVectorFileWriter.writeAsVectorFormatV3(layer, path, context, _options("area"))
    if error != QgsVectorFileWriter.WriterError.NoError:
        raise ValueError(tr("The area cannot be written to {path}: {why}").format(path=path, why=why))


class PolygonsStep:
    """Writes the polygons of a layer, of which only the selected ones where any are, in a task beside the window."""

    def __init__(self, layer: QgsVectorLayer, path: str) -> None:
        self.path = path
        self.title = tr("Exporting “{name}”").format(name=layer.name())
        self.told = ""
        """What is said once it is there: nothing, for the polygons are the user's own."""
        self._layer = layer

    @property
    def is_there(self) -> bool:
        """Whether nothing has to be done: never, since polygons are edited."""
        return False

    def task(self) -> QgsVectorFileWriterTask:
        """What writes them; it has its own copy of the features."""
        options = _options("polygons")
        options.onlySelectedFeatures = self._layer.selectedFeatureCount() > 0
        return QgsVectorFileWriterTask(self._layer, self.path, options)

    def problem(self) -> str:
        """Why the file cannot be used once the task has ended; empty where it can."""
        return (
            "" if os.path.exists(self.path) else tr("its polygons cannot be written to {path}").format(path=self.path)
        )


def polygons_in_words(layer: QgsVectorLayer) -> str:
    """Which of a layer's polygons are taken."""
    n = layer.selectedFeatureCount()
    if n:
        return tr("{n} selected polygons of it").format(n=n) if n > 1 else tr("the selected polygon of it")
    return tr("all {n} polygons of it").format(n=layer.featureCount())
