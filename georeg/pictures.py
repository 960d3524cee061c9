"""Pictures without a place on Earth: PNG and JPEG."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from georeg.encoding import Encoding
from georeg.errors import InputError, OutputError
from georeg.files import check_output, replacing
from georeg.geotiff import opened
from georeg.raster import Raster

_PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_PICTURE_TYPES = {"PNG": ("uint8", "uint16"), "JPEG": ("uint8",)}


def check_format(path: str, plain: bool) -> None:
    """Raise InputError for a picture that would have to hold a place on Earth: only the result of a ``plain`` pair has none."""
    if picture_format(path) and not plain:
        raise InputError(f"{path} would be a {picture_format(path)} without georeferencing; give a name ending in .tif")


def picture_format(path: str) -> str | None:
    """GDAL's name of the format of a file without georeferencing, by its suffix; None for a GeoTIFF.

    >>> picture_format("aligned.JPG"), picture_format("aligned.tif")
    ('JPEG', None)
    """
    return _PICTURES.get(os.path.splitext(path)[1].lower())


def write_picture(
    raster: Raster,
    grid: GeoBox,
    encoding: Encoding,
    blocks: Iterable[tuple[Window, NDArray[Any], NDArray[np.bool_]]],
    path: str,
) -> None:
    """Write resampled blocks of ``raster`` to a PNG or JPEG; invalid pixels are transparent, in a JPEG black.

    It shows the colours of a colour table. Parameters are those of `write_blocks`.

    Raises
    ------
    OutputError
        The format has no place for such pixels, or the file cannot be written.
    """
    check_output(path, raster.files, overwrite=True)
    driver, dtype = picture_format(path) or "PNG", encoding.dtype
    colours = [band for band in range(raster.count) if band + 1 not in raster.alpha_bands]
    if str(dtype) not in _PICTURE_TYPES[driver] or len(colours) not in (1, 3):
        raise OutputError(
            f"{driver} holds {' or '.join(_PICTURE_TYPES[driver])} pixels of 1 or 3 bands, not {len(colours)} bands of "
            f"{dtype}; give a name ending in .tif"
        )
    image = np.zeros((len(colours), *grid.shape), dtype)
    opacity = np.zeros((1, *grid.shape), dtype)
    for window, pixels, valid in blocks:
        inside, seen = (slice(None), *window.toslices()), valid[colours].all(axis=0)
        image[inside] = np.where(seen, pixels[colours], 0)
        alpha = pixels[raster.alpha_bands[0] - 1] if raster.alpha_bands else np.iinfo(dtype).max
        opacity[inside] = np.where(seen, alpha, 0)
    table = _colour_table(raster)
    if table is not None:
        image = np.where(opacity > 0, table[:, image[0]], 0).astype(dtype)
    if driver == "PNG" and (opacity < np.iinfo(dtype).max).any():
        image = np.concatenate([image, opacity])
    with replacing(path) as temporary:
        options = {"QUALITY": 95} if driver == "JPEG" else {}
        profile = {"dtype": dtype, "count": len(image), "height": grid.shape[0], "width": grid.shape[1]}
        with opened(temporary, "w", driver=driver, **profile, **options) as dataset:
            dataset.write(image)
        with opened(temporary) as dataset:
            if (dataset.count, dataset.shape) != (len(image), image.shape[1:]) or (
                driver == "PNG" and not np.array_equal(dataset.read(), image)
            ):
                raise OutputError(f"{path} does not hold what was written; is the disk full?")


def _colour_table(raster: Raster) -> NDArray[np.uint8] | None:
    """(3, 256): red, green and blue of each class; None of an image that has no such table."""
    with opened(raster.path) as dataset:
        if dataset.colorinterp[0] != ColorInterp.palette:
            return None
        table = dataset.colormap(1)
    return np.array([table.get(value, (0, 0, 0, 0))[:3] for value in range(256)], np.uint8).T
