"""Write GeoTIFFs, whole or not at all.

The only place where georeg opens a raster for writing. Output gets its name once it has been read back.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from georeg.encoding import Encoding
from georeg.errors import OutputError
from georeg.files import check_output, replacing
from georeg.initial import PIXELS
from georeg.placement import compose
from georeg.raster import Raster
from georeg.tiff import truncated_block

BLOCK_PX = 512
_GRID_DOMAINS = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "GEOLOCATION", "COLOR_PROFILE")
"""Metadata domains that describe a file or its grid, and so do not hold for another."""


def write_blocks(
    raster: Raster,
    grid: GeoBox,
    encoding: Encoding,
    blocks: Iterable[tuple[Window, NDArray[Any], NDArray[np.bool_]]],
    path: str,
) -> None:
    """Write resampled blocks of ``raster`` to a tiled GeoTIFF on ``grid``, with the raster's metadata.

    On a grid of pixels, of a plain picture, the file has neither CRS nor geotransform.

    Parameters
    ----------
    raster
        Where the pixels come from: types, nodata and metadata are taken over.
    grid
        Grid of the output.
    encoding
        What the pixels are.
    blocks
        (window, pixels, valid), both (bands, h, w), in the order to write.
    path
        Destination.

    Raises
    ------
    OutputError
        It cannot be written, or would replace a file that the raster is read from.
    """
    check_output(path, raster.files, overwrite=True)
    dtype, nodata = encoding.dtype, encoding.nodata
    profile = {
        "driver": "GTiff", "dtype": dtype, "count": raster.count, "nodata": nodata,
        "height": grid.shape[0], "width": grid.shape[1], **_georeferencing(grid),
        "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "BIGTIFF": "IF_SAFER", **compression(dtype),
    }  # fmt: skip
    with (
        replacing(path) as temporary,
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        opened(raster.path) as source,
    ):
        masked = nodata is None and not raster.alpha_bands
        with opened(temporary, "w", **profile) as dataset:
            _copy_metadata(source, dataset)
            for window, pixels, valid in blocks:
                dataset.write(pixels, window=window)
                if masked:
                    dataset.write_mask(valid.any(axis=0), window=window)
        shape = (grid.shape[0], grid.shape[1])
        read_back(temporary, raster, shape, profile.get("transform", Affine.identity()))


def write_values(
    grid: GeoBox,
    bands: Mapping[str, str],
    tags: Mapping[str, str],
    blocks: Iterable[tuple[Window, NDArray[np.float32]]],
    path: str,
) -> None:
    """Write blocks of numbers to a tiled GeoTIFF of 32-bit floats on ``grid``; NaN is nodata.

    Parameters
    ----------
    bands
        Description and unit of each band.
    tags
        Metadata of the whole file.
    blocks
        (window, data), data of (bands, h, w), in the order to write.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    profile = {
        "driver": "GTiff", "dtype": "float32", "count": len(bands), "nodata": math.nan,
        "height": grid.shape[0], "width": grid.shape[1], **_georeferencing(grid),
        "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "BIGTIFF": "IF_SAFER",
        **compression(np.float32),
    }  # fmt: skip
    with replacing(path) as temporary:
        with opened(temporary, "w", **profile) as dataset:
            dataset.descriptions, dataset.units = tuple(bands), tuple(bands.values())
            dataset.update_tags(**tags)
            for window, data in blocks:
                dataset.write(data, window=window)
        if missing := truncated_block(temporary):
            raise OutputError(f"{missing} of {path} was not written; is the disk full?")


def write_grid(
    values: NDArray[np.float64], transform: Affine, crs: str | None, names: tuple[str, ...], path: str
) -> None:
    """Write numbers at the nodes of a lattice as a GeoTIFF that PROJ takes for a grid of shifts.

    Parameters
    ----------
    values
        (bands, n, m) at the nodes.
    transform
        (column, row) of a node to map: (0, 0) is the first node, not a corner of it.
    crs, names
        WKT, and what each band is called.
    path
        Destination.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    bands, height, width = values.shape
    corner = compose(transform, Affine.translation(-0.5, -0.5))
    profile = {
        "driver": "GTiff", "dtype": "float64", "count": bands, "height": height, "width": width, "transform": corner,
        "crs": crs, "COMPRESS": "DEFLATE", "GEOTIFF_VERSION": "1.1",
    }  # fmt: skip
    with replacing(path) as temporary:
        with opened(temporary, "w", **profile) as dataset:
            dataset.update_tags(AREA_OR_POINT="Point", TYPE="HORIZONTAL_OFFSET")
            dataset.descriptions = names
            dataset.write(values)
        with opened(temporary) as dataset:
            if not np.array_equal(dataset.read(), values):
                raise OutputError(f"{path} does not hold what was written; is the disk full?")


def opened(path: str, mode: str = "r", **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # it is placed, or a picture
        return rasterio.open(path, mode, **options)


def _georeferencing(grid: GeoBox) -> dict[str, Any]:
    crs = str(grid.crs)
    return {} if crs == PIXELS.to_wkt() else {"transform": grid.affine, "crs": crs}


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


def compression(dtype: Any) -> dict[str, Any]:
    predictor = 1
    if np.issubdtype(dtype, np.integer) and np.dtype(dtype).itemsize <= 4:  # not every libtiff has one for 64 bits
        predictor = 2
    elif np.issubdtype(dtype, np.floating):
        predictor = 3
    return {"COMPRESS": "DEFLATE", "PREDICTOR": predictor, "NUM_THREADS": "ALL_CPUS"}


def read_back(path: str, raster: Raster, shape: tuple[int, int], transform: Affine) -> None:
    """Raise unless the file just written holds the bands, the size and the geotransform it should, to its last block."""
    with opened(path) as dataset:
        written = (dataset.count, (dataset.height, dataset.width))
        # to some last bits: GDAL moves the origin by half a pixel where AREA_OR_POINT is Point
        same = np.allclose(tuple(dataset.transform), tuple(transform), rtol=1e-12, atol=1e-9)
        if written != (raster.count, shape) or not same:
            raise OutputError(
                f"the file written has bands, shape {written} and geotransform {tuple(dataset.transform)[:6]} instead of "
                f"{(raster.count, shape)} and {tuple(transform)[:6]}; please report this with gdalinfo of the target"
            )
    missing = truncated_block(path)
    if missing:
        raise OutputError(f"{missing} of the output was not written; is the disk full?")
