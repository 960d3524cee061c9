"""Copy a raster to a GeoTIFF that lies elsewhere, its pixels untouched."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import MaskFlags

from georeg.errors import InputError, OutputError
from georeg.files import SIDECARS, check_output, replacing
from georeg.geotiff import compression, opened, read_back
from georeg.header import Place, Said, losses, new_tags, place_of_transform, placed_sidecar, said_by
from georeg.metadata import copy_domains
from georeg.raster import Raster
from georeg.tiff import read_tiff, truncated_block
from georeg.tiff_edit import apply_edit, copy_laid_out, edited

_log = logging.getLogger(__name__)


def copy_with_transform(raster: Raster, transform: Affine, path: str, *, tags: Mapping[str, str] = {}) -> None:
    """Copy a raster to a GeoTIFF with another geotransform and nothing else changed.

    A GeoTIFF is copied byte by byte but for its header, with its sidecars, and a COG stays one; other formats are
    converted without loss. A file that was placed gets the CRS that it was placed in. GCPs and RPCs are dropped, and the
    log says so.

    Parameters
    ----------
    transform
        Pixel to map.
    path
        Destination.
    tags
        Items of the metadata domain GEOREG.

    Raises
    ------
    InputError
        The source is truncated or damaged.
    OutputError
        The copy cannot be written, or would replace a file that the raster is read from.
    """
    said = said_by(raster.path)
    place = place_of_transform(raster, transform, said)
    check = partial(read_back, raster=raster, shape=raster.shape, transform=transform)
    _copy(raster, said, place, path, tags, check)


def copy_with_gcps(
    raster: Raster,
    gcps_px: NDArray[np.float64],
    gcps_xy: NDArray[np.float64],
    crs_wkt: str | None,
    path: str,
    *,
    tags: Mapping[str, str] = {},
) -> None:
    """Copy a raster to a GeoTIFF with GCPs instead of a geotransform and nothing else changed; see `copy_with_transform`.

    Parameters
    ----------
    gcps_px
        (N, 2) column and row in the raster.
    gcps_xy
        (N, 2) where they lie. More than fit in a GeoTIFF are kept in a file ``.aux.xml`` beside it, as GDAL does.
    crs_wkt
        CRS of ``gcps_xy``; None for no place on Earth.

    Raises
    ------
    InputError, OutputError
        As `copy_with_transform`.
    """
    said = said_by(raster.path)
    gcps = np.hstack([gcps_px, gcps_xy])
    place = Place(None, crs_wkt, gcps)
    _copy(raster, said, place, path, tags, partial(_read_back_gcps, raster=raster, wanted=gcps))


def _copy(
    raster: Raster, said: Said, place: Place, path: str, tags: Mapping[str, str], check: Callable[[str], None]
) -> None:
    check_output(path, raster.files, overwrite=True)
    with replacing(path) as temporary:
        if raster.driver == "GTiff" and os.path.isfile(raster.path):
            _copy_files(raster.path, temporary, said, place, tags)
        else:
            _convert(raster, temporary)
            aside = temporary + ".aside"  # else its pixels could not be moved to keep how GDAL has laid it out
            os.replace(temporary, aside)
            try:
                _edit_header(aside, temporary, said, place, tags)
            finally:
                os.remove(aside)
        _place_sidecar(temporary, place)
        check(temporary)
    for sentence in losses(raster, said, place):
        _log.warning(sentence)


def _copy_files(source: str, temporary: str, said: Said, place: Place, tags: Mapping[str, str]) -> None:
    """Copy a GeoTIFF and its sidecars."""
    missing = truncated_block(source)
    if missing:
        raise InputError(f"{source} is truncated: {missing} lies beyond its end; copy or download it again")
    _edit_header(source, temporary, said, place, tags)
    for suffix in SIDECARS:
        if os.path.exists(source + suffix):
            shutil.copyfile(source + suffix, temporary + suffix)


def _edit_header(source: str, temporary: str, said: Said, place: Place, tags: Mapping[str, str]) -> None:
    """Give a GeoTIFF another header, in a copy."""
    with open(source, "rb") as file:
        tiff = read_tiff(file, source)
        changes = new_tags(file, tiff, said, place, tags)
        if copy_laid_out(file, tiff, changes, temporary):
            return
        edit = edited(file, tiff, changes)
    shutil.copyfile(source, temporary)
    apply_edit(temporary, edit)
    if edit.breaks_cog:
        _log.warning(
            f"the copy of {os.path.basename(source)} is a GeoTIFF but not a cloud optimised one: its pixels cannot be moved, "
            "for it has tags that georeg does not know"
        )


def _place_sidecar(path: str, place: Place) -> None:
    sidecar = path + ".aux.xml"
    old = None
    if os.path.exists(sidecar):
        with open(sidecar, "rb") as file:
            old = file.read()
    new = placed_sidecar(old, place, sidecar)
    if new is not None and new != old:
        with open(sidecar, "wb") as file:
            file.write(new)


def _read_back_gcps(path: str, raster: Raster, wanted: NDArray[np.float64]) -> None:
    """Raise unless the file just written holds the bands, the size and the GCPs it should, to its last block."""
    read_back(path, raster, raster.shape, Affine.identity())
    with opened(path) as dataset:
        points = dataset.gcps[0]
    written = np.array([(point.col, point.row, point.x, point.y) for point in points]).reshape(-1, 4)
    if written.shape != wanted.shape or not np.allclose(written, wanted, rtol=1e-12, atol=1e-9):
        raise OutputError(
            f"the file written has {len(written)} GCPs that are not the {len(wanted)} it should have; please report this "
            "with gdalinfo of the target"
        )


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
        with opened(temporary, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            copy_domains(source, dataset)
