"""A VRT of the target with GCPs that lie on the correction: nothing is resampled, and GDAL can do it at any time."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree

import rasterio.shutil
from pyproj import CRS

from georeg.corrections import Gcps
from georeg.files import check_output, replacing
from georeg.initial import PIXELS
from georeg.raster import Raster

OPTION = "GEOREG_GDALWARP_OPTION"
"""Metadata item of the VRT: with what gdalwarp and gdaltransform give the correction back."""


def write_vrt(raster: Raster, gcps: Gcps, crs: CRS, path: str) -> None:
    """Write a VRT of a raster, all its bands, masks and metadata, with GCPs instead of a geotransform.

    It refers to the raster relative to its own folder where the raster is in there, else by its absolute path.

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
        _place(tree.getroot(), gcps, crs)
        ElementTree.indent(tree)
        tree.write(temporary, encoding="utf-8")


def _place(root: ElementTree.Element, gcps: Gcps, crs: CRS) -> None:
    for element in list(root):
        if element.tag in ("SRS", "GeoTransform", "GCPList"):
            root.remove(element)
    listed = ElementTree.Element("GCPList", {} if crs == PIXELS else {"Projection": crs.to_wkt()})
    for number, ((col, row), (x, y)) in enumerate(zip(gcps.px.tolist(), gcps.xy.tolist(), strict=True), start=1):
        place = {"Pixel": repr(col), "Line": repr(row), "X": repr(x), "Y": repr(y)}
        ElementTree.SubElement(listed, "GCP", {"Id": str(number), **place})
    root.insert(0, listed)
    own = next((m for m in root.findall("Metadata") if not m.get("domain")), None)
    own = ElementTree.SubElement(root, "Metadata") if own is None else own
    ElementTree.SubElement(own, "MDI", {"key": OPTION}).text = gcps.gdal_option
