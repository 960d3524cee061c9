"""What can be said against a pair of layers before anything is run, each in one sentence."""

from __future__ import annotations

import html
import os

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsMapLayer,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRectangle,
)

from .i18n import translated as tr

_FILE_PROVIDERS = {"gdal", "ogr"}
_REMOTE = ("/vsi", "http://", "https://", "s3://")


def path_of(layer: QgsMapLayer) -> str:
    """The file of a layer, which georeg opens by itself.

    Raises
    ------
    ValueError
        It is no plain file: a web map, a layer in memory or in a database, a table of a larger file.
    """
    refused = tr("{layer} is not a plain file but {what}, which georeg cannot open; export it to a GeoTIFF first")
    provider = layer.providerType()
    if provider not in _FILE_PROVIDERS:
        raise ValueError(refused.format(layer=layer.name(), what=tr("a layer of the provider “{}”").format(provider)))
    source = layer.source()
    parts = QgsProviderRegistry.instance().decodeUri(provider, source)
    path = str(parts.get("path") or "")
    if isinstance(layer, QgsRasterLayer) and parts.get("layerName"):
        raise ValueError(refused.format(layer=layer.name(), what=tr("one of several in {}").format(path)))
    if parts.get("openOptions"):
        raise ValueError(refused.format(layer=layer.name(), what=tr("a file opened with options")))
    for remote in _REMOTE:
        if source.startswith(remote):
            return source
    if os.path.isfile(path):
        return os.path.abspath(path)
    raise ValueError(refused.format(layer=layer.name(), what=tr("“{}”, where no file is").format(path or source)))


def same_file(one: str, other: str) -> bool:
    """Whether two paths are one file."""
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def pair_problem(
    reference: QgsRasterLayer,
    target: QgsRasterLayer,
    initial: str,
    max_shift_m: float | None,
    context: QgsCoordinateTransformContext,
) -> str:
    """Why two layers cannot be aligned, for a label that understands HTML; empty where nothing is known against it."""
    try:
        paths = path_of(reference), path_of(target)
    except ValueError as exc:
        return html.escape(str(exc), quote=False)
    if same_file(*paths):
        text = tr("Reference and target are the same file, {path}; choose two.").format(path=paths[0])
        return html.escape(text, quote=False)
    return html.escape(
        _crs_problem(reference, target) or _overlap_problem(reference, target, initial, max_shift_m, context),
        quote=False,
    )


def _crs_problem(reference: QgsRasterLayer, target: QgsRasterLayer) -> str:
    for layer in (reference, target):
        own = layer.dataProvider().crs()
        if layer.crs().isValid() and layer.crs() != own:
            text = tr(
                "{layer} has the CRS {shown} in QGIS, but {own} in its file, which is what georeg reads; assign the projection "
                "to the file, or set the layer's CRS back"
            )
            return text.format(layer=layer.name(), shown=_name(layer.crs()), own=_name(own))
    if not reference.crs().isValid() and target.crs().isValid():
        text = tr("The reference {layer} has no CRS, so nothing can be placed by it; assign its projection to its file")
        return text.format(layer=reference.name())
    return ""


def _name(crs: QgsCoordinateReferenceSystem) -> str:
    return crs.authid() or crs.description() or tr("another one") if crs.isValid() else tr("none")


def _overlap_problem(
    reference: QgsRasterLayer,
    target: QgsRasterLayer,
    initial: str,
    max_shift_m: float | None,
    context: QgsCoordinateTransformContext,
) -> str:
    """That they lie further apart than georeg seeks: the length of the smaller, or the largest shift."""
    if initial not in ("auto", "geotransform") or not reference.crs().isValid() or not target.crs().isValid():
        return ""
    ref = QgsRectangle(reference.extent())
    try:
        tgt = QgsCoordinateTransform(target.crs(), reference.crs(), context).transformBoundingBox(target.extent())
    except QgsCsException:
        return tr(
            "The extent of {target} cannot be expressed in the CRS of {reference}; check that both CRSs are right"
        ).format(target=target.name(), reference=reference.name())
    reach = min(max(ref.width(), ref.height()), max(tgt.width(), tgt.height()))
    if max_shift_m is not None and not reference.crs().isGeographic():
        reach = min(reach, max_shift_m)
    if ref.buffered(reach).intersects(tgt):
        return ""
    return tr(
        "{reference} and {target} share no ground, and lie further apart than the smaller is long; check that both show the same "
        "place and that both CRSs are right, or set where the target lies at first to center or none"
    ).format(reference=reference.name(), target=target.name())
