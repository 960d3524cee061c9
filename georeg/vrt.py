"""A VRT of the target with its geotransform corrected, or GCPs that lie on the correction: nothing is resampled."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping

import rasterio.shutil
from affine import Affine
from pyproj import CRS

from georeg.corrections import Gcps
from georeg.files import check_output, replacing
from georeg.initial import PIXELS
from georeg.raster import DOMAIN, Raster

OPTION = "GEOREG_GDALWARP_OPTION"
"""Metadata item of the VRT: with what gdalwarp and gdaltransform give the correction back."""


def write_vrt(raster: Raster, where: Gcps | Affine, crs: CRS, path: str, *, tags: Mapping[str, str] = {}) -> None:
    """Write a VRT of a raster, all its bands, masks and metadata, with GCPs or another geotransform instead of its own.

    It refers to the raster relative to its own folder where the raster is in there, else by its absolute path.

    Parameters
    ----------
    where
        GCPs, whose map coordinates are in ``crs``, or the geotransform in the raster's own CRS.
    tags
        Items of the metadata domain GEOREG.

    Raises
    ------
    OutputError
        It cannot be written, or would replace a file that the raster is read from.
    """
    check_output(path, raster.files, overwrite=True)
    source = os.path.abspath(raster.path) if os.path.exists(raster.path) else raster.path
    with replacing(os.path.abspath(path)) as temporary:
        rasterio.shutil.copy(source, temporary, driver="VRT")
        tree = ElementTree.parse(temporary)
        _place(tree.getroot(), where, raster.crs if isinstance(where, Affine) else crs)
        _say(tree.getroot(), tags)
        ElementTree.indent(tree)
        tree.write(temporary, encoding="utf-8")


def _place(root: ElementTree.Element, where: Gcps | Affine, crs: CRS) -> None:
    for element in list(root):
        if element.tag in ("SRS", "GeoTransform", "GCPList"):
            root.remove(element)
    if isinstance(where, Affine):
        transform = ElementTree.Element("GeoTransform")
        transform.text = ", ".join(map(repr, where.to_gdal()))
        root.insert(0, transform)
        if crs != PIXELS:
            north_first = crs.axis_info[0].direction == "north"
            srs = ElementTree.Element("SRS", {"dataAxisToSRSAxisMapping": "2,1" if north_first else "1,2"})
            srs.text = crs.to_wkt()
            root.insert(0, srs)
        return
    gcps = where
    listed = ElementTree.Element("GCPList", {} if crs == PIXELS else {"Projection": crs.to_wkt()})
    for number, ((col, row), (x, y)) in enumerate(zip(gcps.px.tolist(), gcps.xy.tolist(), strict=True), start=1):
        place = {"Pixel": repr(col), "Line": repr(row), "X": repr(x), "Y": repr(y)}
        ElementTree.SubElement(listed, "GCP", {"Id": str(number), **place})
    root.insert(0, listed)
    own = next((m for m in root.findall("Metadata") if not m.get("domain")), None)
    own = ElementTree.SubElement(root, "Metadata") if own is None else own
    ElementTree.SubElement(own, "MDI", {"key": OPTION}).text = gcps.gdal_option


def _say(root: ElementTree.Element, tags: Mapping[str, str]) -> None:
    for domain in [m for m in root.findall("Metadata") if m.get("domain") == DOMAIN]:
        root.remove(domain)
    if tags:
        said = ElementTree.SubElement(root, "Metadata", {"domain": DOMAIN})
        for name, value in tags.items():
            ElementTree.SubElement(said, "MDI", {"key": name}).text = value
