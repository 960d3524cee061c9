"""Copy a raster to a GeoTIFF that lies elsewhere, its pixels untouched."""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import MaskFlags

from georeg.errors import InputError
from georeg.files import SIDECARS, check_output, replacing
from georeg.geotiff import compression, opened, read_back, truncated_block
from georeg.raster import Raster


def copy_with_transform(raster: Raster, transform: Affine, path: str) -> None:
    """Copy a raster to a GeoTIFF with another geotransform and nothing else changed.

    A GeoTIFF is copied byte by byte, with its sidecars, before its header is rewritten; other formats are converted
    without loss. A file that was placed gets the CRS that it was placed in, and loses its GCPs.

    Raises
    ------
    InputError
        The source is truncated.
    OutputError
        The copy cannot be written, or would replace a file that the raster is read from.
    """
    check_output(path, raster.files, overwrite=True)
    with replacing(path) as temporary:
        if raster.driver == "GTiff" and os.path.isfile(raster.path):
            _copy_files(raster.path, temporary)
        else:
            _convert(raster, temporary)
        _georeference(temporary, raster, transform)
        read_back(temporary, raster, raster.shape, transform)


def _copy_files(source: str, temporary: str) -> None:
    """Copy a GeoTIFF and its sidecars byte by byte."""
    missing = truncated_block(source)
    if missing:
        raise InputError(f"{source} is truncated: {missing} lies beyond its end; copy or download it again")
    for suffix in ("", *SIDECARS):
        if os.path.exists(source + suffix):
            shutil.copyfile(source + suffix, temporary + suffix)


def _convert(raster: Raster, temporary: str) -> None:
    """Copy a raster of another format with its metadata and overviews."""
    dtype = np.result_type(*raster.dtypes)
    options = compression(dtype) | {"TILED": "YES", "BIGTIFF": "IF_SAFER"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), opened(raster.path) as source:
        internal_mask = any(MaskFlags.per_dataset in flags for flags in source.mask_flag_enums)
        if source.overviews(1) and not internal_mask:
            options["COPY_SRC_OVERVIEWS"] = "YES"
        if "NBITS" in source.tags(1, ns="IMAGE_STRUCTURE"):
            options["NBITS"] = 8 * dtype.itemsize  # packing the 15 bits of Sentinel-2 would forbid a predictor
        rasterio.shutil.copy(source, temporary, driver="GTiff", **options)


def _georeference(path: str, raster: Raster, transform: Affine) -> None:
    if raster.placed != "geotransform":
        _forget_placement(path + ".aux.xml")
    with opened(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.transform = transform  # a GeoTIFF then drops its GCPs
        if dataset.crs is None or raster.placed != "geotransform":
            dataset.crs = raster.crs.to_wkt()


def _forget_placement(sidecar: str) -> None:
    """Take out of a file of metadata what would contradict the GeoTIFF beside it; GDAL would believe the sidecar."""
    if not os.path.exists(sidecar):
        return
    tree = ElementTree.parse(sidecar)
    root = tree.getroot()
    for element in list(root):
        if element.tag in ("SRS", "GeoTransform", "GCPList"):
            root.remove(element)
    tree.write(sidecar)
