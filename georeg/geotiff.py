"""Write GeoTIFFs, whole or not at all.

The only place where georeg opens a raster for writing. Output gets its name once it has been read back.
"""

from __future__ import annotations

import logging
import math
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from georeg.creation import Creation
from georeg.creation import compression as compression
from georeg.encoding import Encoding
from georeg.errors import OutputError
from georeg.files import check_output, replacing
from georeg.initial import PIXELS
from georeg.metadata import alpha_masks, copy_metadata, copy_tables, domain_items, masks_fit, metadata_losses
from georeg.overviews import bounded_cache, make_cog
from georeg.placement import compose
from georeg.raster import OPENING, Raster
from georeg.tiff import truncated_block

_log = logging.getLogger(__name__)


def write_blocks(
    raster: Raster,
    grid: GeoBox,
    encoding: Encoding,
    blocks: Iterable[tuple[Window, NDArray[Any], NDArray[np.bool_]]],
    path: str,
    *,
    tags: Mapping[str, str] = {},
    creation: Creation | None = None,
    classes: Sequence[int] | None = None,
) -> None:
    """Write resampled blocks of ``raster`` to a tiled GeoTIFF on ``grid``, with all that the raster says of itself.

    What no longer holds is dropped, such as statistics; where it would be missed, such as RPCs, the log says so. On a
    grid of pixels, of a plain picture, the file has neither CRS nor geotransform. A COG has overviews.

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
    tags
        Items of the metadata domain GEOREG, instead of the raster's.
    creation
        How the file is stored; by default a plain GeoTIFF.
    classes
        1-based numbers of the bands whose values must not be averaged in overviews; by default `Raster.classes`.

    Raises
    ------
    InputError
        A creation option is unknown or cannot be used.
    OutputError
        It cannot be written, or would replace a file that the raster is read from.
    """
    check_output(path, raster.files, overwrite=True)
    creation = creation or Creation()
    creation.check(encoding.dtype, raster.count)
    nearest = bool(raster.classes if classes is None else classes)
    with replacing(path) as temporary, bounded_cache(), opened(raster.path) as source:
        _check_masks(source, raster, encoding)
        first = temporary if creation.driver == "GTiff" else temporary + ".tif"
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            _write_pixels(source, raster, grid, encoding, blocks, first, tags=tags, creation=creation)
        copy_tables(source, first)
        if creation.driver == "COG":
            with opened(first) as dataset:
                items = domain_items(dataset)
            make_cog(first, temporary, creation, nearest=nearest, dtype=encoding.dtype, items=items)
        transform = _georeferencing(grid).get("transform", Affine.identity())
        read_back(temporary, raster, (int(grid.shape[0]), int(grid.shape[1])), transform)
        losses = list(metadata_losses(source, raster))
    for sentence in losses:
        _log.warning(sentence)


def _check_masks(source: Any, raster: Raster, encoding: Encoding) -> None:
    if encoding.nodata is None and not (raster.alpha_bands or raster.nodata_given or masks_fit(source)):
        raise OutputError(
            f"the {raster.count} bands of {raster.name} have masks of their own, and a GeoTIFF of {encoding.dtype} has one for "
            "all of them; give a nodata value, or correct the bands one by one"
        )


def _write_pixels(
    source: Any,
    raster: Raster,
    grid: GeoBox,
    encoding: Encoding,
    blocks: Iterable[tuple[Window, NDArray[Any], NDArray[np.bool_]]],
    path: str,
    *,
    tags: Mapping[str, str],
    creation: Creation,
) -> None:
    """Write pixels, then their masks; what is made into a COG later is stored by our own options until then.

    Both are compressed by threads of their own: written together, where each lies would be another at every run.
    """
    stored = creation if creation.driver == "GTiff" else Creation()
    profile = _profile(grid, raster.count, encoding.dtype, encoding.nodata, stored)
    masked = encoding.nodata is None and not alpha_masks(source)
    masks: list[tuple[Window, bytes]] = []
    with opened(path, "w", **profile) as dataset:
        copy_metadata(source, dataset, tags)
        for window, pixels, valid in blocks:
            dataset.write(pixels, window=window)
            if masked:
                masks.append((window, zlib.compress(np.packbits(valid.any(axis=0)).tobytes(), 1)))
    if masked:
        with opened(path, "r+") as dataset:
            for window, packed in masks:
                shape = int(window.height), int(window.width)
                bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=shape[0] * shape[1])
                dataset.write_mask(bits.reshape(shape).astype(bool), window=window)


def _profile(grid: GeoBox, count: int, dtype: Any, nodata: float | None, creation: Creation) -> dict[str, Any]:
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    return {
        "driver": "GTiff", "dtype": dtype, "count": count, "nodata": nodata, "height": shape[0], "width": shape[1],
        **_georeferencing(grid), **creation.profile(dtype, shape),
    }  # fmt: skip


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
    profile = _profile(grid, len(bands), "float32", math.nan, Creation())
    with replacing(path) as temporary, bounded_cache():
        with opened(temporary, "w", **profile) as dataset:
            dataset.descriptions, dataset.units = tuple(bands), tuple(bands.values())
            dataset.update_tags(**tags)
            for window, data in blocks:
                dataset.write(data, window=window)
        if missing := truncated_block(temporary):
            raise OutputError(f"{missing} of {path} was not written; is the disk full?")


def write_bands(
    source: Raster,
    grid: GeoBox,
    encoding: Encoding,
    bands: Mapping[str, Mapping[str, str]],
    blocks: Iterable[tuple[Window, NDArray[Any], NDArray[np.bool_]]],
    path: str,
    *,
    creation: Creation | None = None,
) -> None:
    """Write bands of several files to one tiled GeoTIFF on ``grid``; without a nodata value it has one mask for all of them.

    Parameters
    ----------
    source
        Whose metadata the file takes over: that of the file, not of its bands.
    grid
        Grid of the output.
    encoding
        What the pixels are.
    bands
        Metadata of each band, by its description.
    blocks
        (window, pixels, valid), the first (bands, h, w), the other (h, w), in the order to write.
    path
        Destination.
    creation
        How the file is stored; by default a plain GeoTIFF.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    profile = _profile(grid, len(bands), encoding.dtype, encoding.nodata, creation or Creation())
    masks: list[tuple[Window, NDArray[np.bool_]]] = []
    with replacing(path) as temporary, bounded_cache(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with opened(source.path) as file, opened(temporary, "w", **profile) as dataset:
            dataset.update_tags(**file.tags())
            dataset.descriptions = tuple(bands)
            for number, items in enumerate(bands.values(), 1):
                dataset.update_tags(number, **items)
            for window, pixels, valid in blocks:
                dataset.write(pixels, window=window)
                masks.append((window, valid))
        if encoding.nodata is None and not all(valid.all() for _, valid in masks):
            with opened(temporary, "r+") as dataset:
                for window, valid in masks:
                    dataset.write_mask(valid, window=window)
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
    with OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # it is placed, or a picture
        return rasterio.open(path, mode, **options)


def _georeferencing(grid: GeoBox) -> dict[str, Any]:
    crs = str(grid.crs)
    return {} if crs == PIXELS.to_wkt() else {"transform": grid.affine, "crs": crs}


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
