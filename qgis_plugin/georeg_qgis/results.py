"""Results on the canvas: a group with the corrected raster, the tie points, and both inputs beside it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Callable

from qgis.core import (
    QgsArrowSymbolLayer,
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsDataProvider,
    QgsFeature,
    QgsGeometry,
    QgsLayerTreeGroup,
    QgsLineSymbol,
    QgsMapLayer,
    QgsMapLayerStyle,
    QgsMarkerSymbol,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRendererCategory,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from .figures import Tie, arrow, exaggeration
from .i18n import translated as tr
from .pairs import OUTPUT_MARK

ROLES = {
    "check": ("check point", "#2b83ba", "diamond"),
    "fit": ("used by the fit", "#1a9641", "circle"),
    "kept": ("kept", "#1a9641", "circle"),
    "pinned": ("pinned by hand", "#762a83", "square"),
    "outlier": ("outlier", "#d7191c", "cross2"),
    "masked": ("too few valid pixels", "#7f7f7f", "cross2"),
    "low_texture": ("too little texture", "#b2abd2", "cross2"),
    "weak_peak": ("no better than chance", "#fdae61", "cross2"),
    "inconsistent": ("two estimates disagree", "#e66101", "cross2"),
    "out_of_range": ("out of the search", "#8c510a", "cross2"),
    "ambiguous_peak": ("ambiguous", "#c51b7d", "cross2"),
    "disabled": ("switched off by hand", "#404040", "cross2"),
}
"""Legend, colour and marker of each role, and of each reason of rejection."""


@dataclass
class Shown:
    """What a run has put into the project, by the ids of its layers and the name of its group."""

    group: QgsLayerTreeGroup | None
    layer_ids: list[str]
    output: str
    """The file that the run made; empty for none."""
    aligned: str
    """Id of the corrected raster; empty for none. Layers go by their ids, for the user may have removed them."""
    compared: dict[str, str]
    """Ids of ``reference`` and ``target`` as they were, for comparing."""
    dots: list[str]
    """Ids of the layers of tie points."""
    hidden: list[str]
    """Ids of the user's layers that were switched off: the target, which would show beside the corrected one."""
    beside: list[str] = field(default_factory=list)
    """Files beside the output, which go with it."""


def show(
    name: str,
    *,
    output: str,
    ties: Sequence[Tie],
    crs: QgsCoordinateReferenceSystem,
    reference: QgsRasterLayer | None,
    target: QgsRasterLayer | None,
) -> Shown:
    """Put the results of a run on top of the layer tree; the user's own layers stay as they are.

    Markers and arrows lie above the corrected raster, or it would hide them. Both inputs are there once more, as copies, so
    that removing the group removes nothing of the user's.
    """
    group = QgsProject.instance().layerTreeRoot().insertGroup(0, f"georeg: {name}")
    layers: list[QgsMapLayer] = tie_layers(ties, crs)
    beside = kept_beside(layers, output) if output else []
    dots, hidden, aligned = list(layers), [], None
    if output:
        aligned = raster_like(output, target)
        if aligned is not None:
            layers.append(aligned)
    compared: dict[str, QgsMapLayer] = {}
    for key, layer, title in (
        ("target", target, tr("before: {name}")),
        ("reference", reference, tr("reference: {name}")),
    ):
        if layer is not None:
            compared[key] = copied = layer.clone()
            copied.setName(title.format(name=layer.name()))
            layers.append(copied)
    for layer in layers:
        layer.setCustomProperty(OUTPUT_MARK, "1")
        QgsProject.instance().addMapLayer(layer, False)
        node = group.addLayer(layer)
        node.setExpanded(isinstance(layer, QgsVectorLayer))
        if layer is compared.get("target") and aligned is not None:
            node.setItemVisibilityChecked(False)
    group.setExpanded(True)
    if aligned is not None and target is not None and _visible(target.id()):
        hidden.append(target.id())
        set_visible(hidden, False)
    ids = [layer.id() for layer in layers]
    return Shown(
        group=group,
        layer_ids=ids,
        output=output,
        aligned=aligned.id() if aligned is not None else "",
        compared={key: layer.id() for key, layer in compared.items()},
        dots=[layer.id() for layer in dots],
        hidden=hidden,
        beside=beside,
    )


def raster_like(path: str, target: QgsRasterLayer | None) -> QgsRasterLayer | None:
    """A raster with the style of another; None where it cannot be opened."""
    options = QgsRasterLayer.LayerOptions()
    options.loadDefaultStyle = target is None  # which would read its pixels for their range
    layer = QgsRasterLayer(path, os.path.splitext(os.path.basename(path))[0], "gdal", options)
    if not layer.isValid():
        return None
    if target is not None:
        style = QgsMapLayerStyle()
        style.readFromLayer(target)
        style.writeToLayer(layer)
        layer.setName(os.path.splitext(os.path.basename(path))[0])
    return layer


def set_visible(layer_ids: Sequence[str], on: bool) -> None:
    """Tick or untick layers in the tree; those that are no longer there are left out."""
    for one in layer_ids:
        node = QgsProject.instance().layerTreeRoot().findLayer(one)
        if node is not None:
            node.setItemVisibilityChecked(on)


def _visible(layer_id: str) -> bool:
    node = QgsProject.instance().layerTreeRoot().findLayer(layer_id)
    return node is not None and bool(node.itemVisibilityChecked())


def remove(shown: Shown) -> None:
    """Take the group and its layers out of the project; what the user has removed already stays removed."""
    project = QgsProject.instance()
    set_visible(shown.hidden, True)
    project.removeMapLayers([one for one in shown.layer_ids if project.mapLayer(one) is not None])
    if in_tree(shown.group):
        project.layerTreeRoot().removeChildNode(shown.group)
    shown.group, shown.aligned = None, ""
    shown.layer_ids, shown.compared, shown.dots, shown.hidden, shown.beside = [], {}, [], [], []


def in_tree(group: QgsLayerTreeGroup | None) -> bool:
    """Whether a group is still there."""
    try:
        return group is not None and group in QgsProject.instance().layerTreeRoot().findGroups()
    except RuntimeError:  # the user removed it: nothing is left of it but its name
        return False


def tie_layers(ties: Sequence[Tie], crs: QgsCoordinateReferenceSystem) -> list[QgsMapLayer]:
    """Arrows of residuals, where there are any, and the tie points."""
    if not ties:
        return []
    points = _layer(
        "Point", tr("tie points"), crs, [(tie, QgsGeometry.fromPointXY(QgsPointXY(*tie.ref_xy))) for tie in ties]
    )
    points.setRenderer(_renderer([tie.what for tie in ties], _marker))
    times, longest = exaggeration(ties)
    drawn = [tie for tie in ties if tie.used and tie.residual_xy]
    if not drawn:
        return [points]
    lines = [(tie, QgsGeometry.fromPolylineXY([QgsPointXY(*xy) for xy in arrow(tie, times, longest)])) for tie in drawn]
    arrows = _layer("LineString", tr("residuals × {times:,.0f}").format(times=times), crs, lines)
    arrows.setRenderer(_renderer([tie.what for tie in drawn], _arrow))
    return [arrows, points]


def kept_beside(layers: list[QgsMapLayer], output: str) -> list[str]:
    """Write layers of tie points into a GeoPackage beside the output, and have them read from there; the files written.

    What lies in memory alone would go with QGIS: those that cannot be written stay there, and QGIS asks before it closes.
    """
    path = free_path(os.path.splitext(output)[0] + "_tie_points", ".gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    written = []
    for layer, name in zip(reversed(layers), ("tie points", "residuals")):
        options.layerName = name
        existing = QgsVectorFileWriter.ActionOnExistingFile
        options.actionOnExistingFile = existing.CreateOrOverwriteLayer if written else existing.CreateOrOverwriteFile
        context = QgsProject.instance().transformContext()
        error, *_ = QgsVectorFileWriter.writeAsVectorFormatV3(layer, path, context, options)
        if error != QgsVectorFileWriter.WriterError.NoError:
            break
        renderer = layer.renderer().clone()
        layer.setDataSource(f"{path}|layername={name}", layer.name(), "ogr", QgsDataProvider.ProviderOptions())
        layer.setRenderer(renderer)
        written = [path]
    return written


def free_path(stem: str, suffix: str) -> str:
    """A name that no file has."""
    names = (f"{stem}{suffix}" if k == 1 else f"{stem}_{k}{suffix}" for k in itertools.count(1))
    return next(path for path in names if not os.path.exists(path))


def _layer(kind: str, name: str, crs: QgsCoordinateReferenceSystem, features: Sequence) -> QgsVectorLayer:
    layer = QgsVectorLayer(f"{kind}?field=number:int&field=what:string&field=residual:double", name, "memory")
    layer.setCrs(crs)
    made = []
    for tie, geometry in features:
        feature = QgsFeature(layer.fields())
        feature.setAttributes([tie.number, tie.what, tie.residual if tie.residual_xy else None])
        feature.setGeometry(geometry)
        made.append(feature)
    layer.dataProvider().addFeatures(made)
    layer.updateExtents()
    return layer


def _renderer(whats: Sequence[str], symbol: Callable) -> QgsCategorizedSymbolRenderer:
    """Categories of those that occur, each with how many there are."""
    known = list(ROLES) + sorted(set(whats) - set(ROLES))
    categories = []
    for what in known:
        n = list(whats).count(what)
        if n:
            label, colour, shape = ROLES.get(what, (f"{what.replace('_', ' ')}", "#404040", "cross2"))
            categories.append(QgsRendererCategory(what, symbol(colour, shape), f"{tr(label)} ({n})"))
    return QgsCategorizedSymbolRenderer("what", categories)


def _marker(colour: str, shape: str) -> QgsMarkerSymbol:
    crossed = shape == "cross2"
    return QgsMarkerSymbol.createSimple(
        {
            "name": shape,
            "color": colour,
            "outline_color": colour if crossed else "#ffffff",
            "outline_width": "0.4" if crossed else "0.2",
            "size": "1.6" if crossed else "2.0",
        }
    )


def _arrow(colour: str, _shape: str) -> QgsLineSymbol:
    layer = QgsArrowSymbolLayer.create(
        {
            "arrow_type": "0",
            "head_type": "0",
            "is_curved": "0",
            "is_repeated": "0",
            "arrow_width": "0.5",
            "arrow_start_width": "0.5",
            "head_length": "1.8",
            "head_thickness": "0.9",
        }
    )
    layer.setColor(QColor(colour))
    symbol = QgsLineSymbol.createSimple({})
    symbol.changeSymbolLayer(0, layer)  # which hands it over: a list given to QgsLineSymbol does not, and QGIS crashes
    return symbol
