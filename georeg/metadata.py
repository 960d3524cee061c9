"""What a resampled raster keeps of all that its source says of itself, and what is then no longer true."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import rasterio.shutil
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import MemoryFile

from georeg.raster import DOMAIN, Raster

_OF_THE_FILE = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "xml:VRT", "LocationInfo")
_TAGS_OF_THEIR_OWN = ("xml:XMP", "COLOR_PROFILE", "RPC", "xml:ESRI")
"""Domains that GDAL does not keep in a GeoTIFF's tag of metadata."""
_OF_THE_GRID = ("RPC", "GEOLOCATION", "GCPS_GeodataXform", "xml:gml.root-instance")
_STALE = (
    "TIFFTAG_MINSAMPLEVALUE", "TIFFTAG_MAXSAMPLEVALUE", "NODATA_VALUES", "map_info", "coordinate_system_string",
    "projection_info", "geo_points", "rpc_info", "samples", "lines", "bands", "header_offset", "file_type", "data_type",
    "interleave", "byte_order", "data_ignore_value", "x_start", "y_start", "pixel_size",
)  # fmt: skip
"""Items, the last of them of an ENVI header, that describe the source's file, grid or values."""
_STALE_ENDS = ("#GeoTransform", "#spatial_ref", "#crs_wkt")
_TABLES = ("CategoryNames", "GDALRasterAttributeTable")
_PALETTE_TYPES = ("uint8", "uint16")


def copy_metadata(source: Any, dataset: Any, tags: Mapping[str, str]) -> None:
    """Write to a new GeoTIFF what an opened raster says of itself that still holds, and ``tags`` in the domain GEOREG."""
    _update(dataset, "", _true(source.tags()))
    for domain in _domains(source):
        _update(dataset, domain, _true(source.tags(ns=domain)))
    dataset.descriptions = source.descriptions
    dataset.scales, dataset.offsets, dataset.units = source.scales, source.offsets, source.units
    dataset.colorinterp = source.colorinterp
    for band in source.indexes:
        for domain in ("", *source.tag_namespaces(band)):
            if domain not in _OF_THE_FILE:
                _update(dataset, domain, _true(source.tags(band, ns=domain or None)), band)
        if has_palette(source, band):
            dataset.write_colormap(band, source.colormap(band))
    if tags:
        dataset.update_tags(ns=DOMAIN, **tags)


def copy_domains(source: Any, dataset: Any) -> None:
    """Write to a conversion by GDAL the metadata of an opened raster that GDAL left out: all but the default domain."""
    for band in (0, *source.indexes):
        for domain in source.tag_namespaces(band):
            if domain not in (*_OF_THE_FILE, *_TAGS_OF_THEIR_OWN) and not domain.startswith(("xml:", "json:")):
                _update(dataset, domain, source.tags(band, ns=domain), band)


def has_palette(source: Any, band: int) -> bool:
    """True for a band with a colour table that a GeoTIFF can hold."""
    small = source.count == 1 and source.dtypes[0] in _PALETTE_TYPES
    return bool(small and source.colorinterp[band - 1] == ColorInterp.palette)


def copy_tables(source: Any, path: str) -> None:
    """Put the attribute tables and names of the classes of an opened raster in the file of metadata beside ``path``.

    A GeoTIFF has no place for them, and rasterio no name: they are taken from a VRT of the source, which holds all.
    """
    found = list(_tables(source))
    if not found:
        return
    sidecar = path + ".aux.xml"
    root = ElementTree.parse(sidecar).getroot() if os.path.exists(sidecar) else ElementTree.Element("PAMDataset")
    for band, table in found:
        element = root.find(f"PAMRasterBand[@band='{band}']")
        if element is None:
            element = ElementTree.SubElement(root, "PAMRasterBand", {"band": band})
        element.append(table)
    ElementTree.ElementTree(root).write(sidecar, encoding="utf-8")


def domain_items(source: Any) -> list[ElementTree.Element]:
    """Items, as in a GeoTIFF's tag of metadata, of all domains of an opened raster but the default one, and of its bands.

    GDAL drops these where it converts a raster, or else those of the default domain of the bands.
    """
    items = []
    for band in (0, *source.indexes):
        of_band = {"sample": str(band - 1)} if band else {}
        for domain in source.tag_namespaces(band):
            if domain in (*_OF_THE_FILE, *_TAGS_OF_THEIR_OWN) or domain.startswith("json:"):
                continue
            for name, value in source.tags(band, ns=domain).items():
                form = {"format": "xml"} if domain.startswith("xml:") else {"name": name}
                item = ElementTree.Element("Item", {**form, "domain": domain, **of_band})
                item.text, item.tail = value, "\n"
                items.append(item)
    return items


def metadata_losses(source: Any, raster: Raster) -> Iterator[str]:
    """A sentence for each thing that a user would miss in a resampled raster."""
    if source.tags(ns="RPC"):
        yield f"the RPCs of {raster.name} were dropped: they do not hold for resampled pixels"
    if source.tags(ns="GEOLOCATION"):
        yield f"the geolocation arrays of {raster.name} were dropped: they do not hold for resampled pixels"
    if source.gcps[0]:
        yield f"the {len(source.gcps[0])} GCPs of {raster.name} were replaced by a geotransform"
    palettes = [band for band in source.indexes if source.colorinterp[band - 1] == ColorInterp.palette]
    lost = [str(band) for band in palettes if not has_palette(source, band)]
    if lost:
        yield (
            f"the colour table of band {', '.join(lost)} of {raster.name} was dropped: a GeoTIFF has one only where it has one "
            "band, of 8 or 16 bits"
        )
    texts = [name for name in source.tag_namespaces() if name.startswith("json:")]
    if texts:
        yield f"the metadata {', '.join(texts)} of {raster.name} were dropped: they cannot be written to a GeoTIFF"


def alpha_masks(source: Any) -> bool:
    """True where an alpha band says which pixels are valid; to GDAL not every one does."""
    return any(MaskFlags.alpha in flags for flags in source.mask_flag_enums)


def masks_fit(source: Any) -> bool:
    """False where bands have masks of their own that neither one mask nor a nodata value can say."""
    flags = source.mask_flag_enums
    one = all(set(flag) == set(flags[0]) for flag in flags) and all(flags)
    floats = all(np.dtype("complex64" if name == "complex_int16" else name).kind in "fc" for name in source.dtypes)
    return one or floats or any(MaskFlags.nodata in flag for flag in flags)


def _domains(source: Any) -> list[str]:
    dropped = (*_OF_THE_FILE, *_OF_THE_GRID, DOMAIN)
    return [name for name in source.tag_namespaces() if name not in dropped and not name.startswith("json:")]


def _true(tags: Mapping[str, str]) -> dict[str, str]:
    """Items that hold for other pixels too."""
    return {
        name: value
        for name, value in tags.items()
        if not name.startswith("STATISTICS_") and name not in _STALE and not name.endswith(_STALE_ENDS)
    }


def _update(dataset: Any, domain: str, tags: Mapping[str, str], band: int = 0) -> None:
    if domain.startswith("xml:"):
        text = tags[domain]
        if "=" not in text:
            text = '<?xml version="1.0"?>' + text
        name, _, rest = text.partition("=")  # rasterio writes "name=value", and so the whole text
        tags = {name: rest}
    if tags:
        dataset.update_tags(band, ns=domain or None, **tags)


def _tables(source: Any) -> Iterator[tuple[str, ElementTree.Element]]:
    """Band number and element, as in GDAL's files of metadata, of each table of an opened raster."""
    with MemoryFile(ext=".vrt") as file:
        rasterio.shutil.copy(source, file.name, driver="VRT")
        root = ElementTree.fromstring(file.read())
    for band in root.findall("VRTRasterBand"):
        for table in band:
            if table.tag in _TABLES:
                yield band.get("band", "1"), table
