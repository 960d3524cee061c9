"""Write GeoTIFFs whole or not at all.

The only place where georeg opens a raster for writing. Output gets its name once it has been read back.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from georeg.errors import InputError, OutputError
from georeg.files import SIDECARS, check_output, replacing
from georeg.raster import Raster, truncated_block

BLOCK_PX = 512
_GRID_DOMAINS = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "GEOLOCATION", "COLOR_PROFILE")
"""Metadata domains that describe a file or its grid, and so do not hold for another."""


def copy_with_transform(raster: Raster, transform: Affine, path: str) -> None:
    """Copy a raster to a GeoTIFF with another geotransform and nothing else changed.

    A GeoTIFF is copied byte by byte, with its sidecars, before its header is rewritten; other formats are converted
    without loss.

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
        _set_transform(temporary, transform)
        _read_back(temporary, raster, raster.shape, transform)


def write_blocks(
    raster: Raster,
    grid: GeoBox,
    blocks: Iterable[tuple[Window, NDArray[Any], NDArray[np.bool_]]],
    path: str,
) -> None:
    """Write resampled blocks of ``raster`` to a tiled GeoTIFF on ``grid``, with the raster's metadata.

    Parameters
    ----------
    raster
        Where the pixels come from: types, nodata and metadata are taken over.
    grid
        Grid of the output.
    blocks
        (window, data, valid), both (bands, h, w), in the order to write.
    path
        Destination.

    Raises
    ------
    OutputError
        It cannot be written, or would replace a file that the raster is read from.
    """
    check_output(path, raster.files, overwrite=True)
    dtype = np.result_type(*raster.dtypes)
    nodata = _representable(raster.nodata, dtype)
    profile = {
        "driver": "GTiff", "dtype": dtype, "count": raster.count, "nodata": nodata,
        "height": grid.shape[0], "width": grid.shape[1], "transform": grid.affine, "crs": str(grid.crs),
        "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "BIGTIFF": "IF_SAFER", **_compression(dtype),
    }  # fmt: skip
    with (
        replacing(path) as temporary,
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(raster.path) as source,
    ):
        masked = nodata is None and not raster.alpha_bands
        with rasterio.open(temporary, "w", **profile) as dataset:
            _copy_metadata(source, dataset)
            for window, data, valid in blocks:
                dataset.write(_encode(data, valid, dtype, nodata), window=window)
                if masked:
                    dataset.write_mask(valid.any(axis=0), window=window)
        _read_back(temporary, raster, (grid.shape[0], grid.shape[1]), grid.affine)


def _representable(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """The nodata value if pixels of ``dtype`` can hold it, else None."""
    if nodata is None or not np.issubdtype(dtype, np.integer):
        return nodata
    limits = np.iinfo(dtype)
    return nodata if limits.min <= nodata <= limits.max and float(nodata).is_integer() else None


def _encode(data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any], nodata: float | None) -> NDArray[Any]:
    """Values in the file's type: rounded and clamped, never equal to nodata where valid."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        largest = np.asarray(limits.max, data.dtype)
        if int(largest) > limits.max:  # 64 bits do not fit a double
            largest = np.nextafter(largest, 0)
        data = np.clip(np.rint(data), limits.min, largest)
    data = data.astype(dtype)
    fill = dtype.type(_fill_value(dtype) if nodata is None else nodata)
    if nodata is not None:
        data = np.where(data == fill, _beside(fill), data)
    return np.where(valid, data, fill)


def _fill_value(dtype: np.dtype[Any]) -> float:
    """What an invalid pixel holds where no nodata value says so."""
    return float("nan") if np.issubdtype(dtype, np.floating) else 0.0


def _beside(value: Any) -> Any:
    """A number so close to ``value`` that it may stand for it, and far enough for GDAL to tell them apart."""
    if np.issubdtype(type(value), np.integer):
        return value - 1 if value == np.iinfo(type(value)).max else value + 1
    return value * type(value)(1 - 1e-5) if value else type(value)(np.finfo(type(value)).tiny)


def _copy_metadata(source: Any, dataset: Any) -> None:
    dataset.update_tags(**source.tags())
    for domain in source.tag_namespaces():
        if domain not in _GRID_DOMAINS and not domain.startswith("xml:"):
            dataset.update_tags(ns=domain, **source.tags(ns=domain))
    dataset.descriptions = source.descriptions
    dataset.scales, dataset.offsets, dataset.units = source.scales, source.offsets, source.units
    dataset.colorinterp = source.colorinterp
    for band in source.indexes:
        tags = {k: v for k, v in source.tags(band).items() if not k.startswith("STATISTICS_")}
        dataset.update_tags(band, **tags)
        if source.colorinterp[band - 1] == ColorInterp.palette:
            dataset.write_colormap(band, source.colormap(band))


def _compression(dtype: Any) -> dict[str, Any]:
    predictor = 1
    if np.issubdtype(dtype, np.integer) and np.dtype(dtype).itemsize <= 4:  # not every libtiff has one for 64 bits
        predictor = 2
    elif np.issubdtype(dtype, np.floating):
        predictor = 3
    return {"COMPRESS": "DEFLATE", "PREDICTOR": predictor, "NUM_THREADS": "ALL_CPUS"}


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
    options = _compression(dtype) | {"TILED": "YES", "BIGTIFF": "IF_SAFER"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(raster.path) as source:
        internal_mask = any(MaskFlags.per_dataset in flags for flags in source.mask_flag_enums)
        if source.overviews(1) and not internal_mask:
            options["COPY_SRC_OVERVIEWS"] = "YES"
        if "NBITS" in source.tags(1, ns="IMAGE_STRUCTURE"):
            options["NBITS"] = 8 * dtype.itemsize  # packing the 15 bits of Sentinel-2 would forbid a predictor
        rasterio.shutil.copy(source, temporary, driver="GTiff", **options)


def _set_transform(path: str, transform: Affine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # where a world file had the geotransform
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            dataset.transform = transform


def _read_back(path: str, raster: Raster, shape: tuple[int, int], transform: Affine) -> None:
    """Raise unless the file just written holds the bands, the size and the geotransform it should, to its last block."""
    with rasterio.open(path) as dataset:
        written = (dataset.count, (dataset.height, dataset.width))
        if written != (raster.count, shape) or not dataset.transform.almost_equals(transform, 1e-9):
            raise OutputError(
                f"the file written has bands, shape {written} and geotransform {tuple(dataset.transform)[:6]} instead of "
                f"{(raster.count, shape)} and {tuple(transform)[:6]}; please report this with gdalinfo of the target"
            )
    missing = truncated_block(path)
    if missing:
        raise OutputError(f"{missing} of the output was not written; is the disk full?")
