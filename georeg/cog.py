"""A cloud-optimised GeoTIFF of a raster whose geotransform alone is corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from affine import Affine

from georeg.copies import copy_with_transform
from georeg.creation import Creation
from georeg.files import check_output, replacing
from georeg.geotiff import opened, read_back
from georeg.metadata import domain_items
from georeg.overviews import make_cog
from georeg.raster import Raster


def copy_as_cog(
    raster: Raster,
    transform: Affine,
    path: str,
    *,
    tags: Mapping[str, str] = {},
    options: tuple[str, ...] = (),
    classes: Sequence[int] | None = None,
) -> None:
    """Copy a raster to a COG with another geotransform, every pixel as GDAL reads it, and all else that it says of itself.

    It is compressed without loss whatever the source is. Overviews are kept, or built where there are none. For a moment
    a plain copy stands beside it.

    Parameters
    ----------
    transform
        Pixel to map.
    path
        Destination.
    tags
        Items of the metadata domain GEOREG, instead of the raster's.
    options
        Creation options of GDAL's COG driver, NAME=VALUE.
    classes
        1-based numbers of the bands whose values must not be averaged in overviews; by default `Raster.classes`.

    Raises
    ------
    InputError
        The source is truncated or damaged, or a creation option is unknown or cannot be used.
    OutputError
        The copy cannot be written, or would replace a file that the raster is read from.
    """
    check_output(path, raster.files, overwrite=True)
    creation, dtype = Creation("COG", options), np.result_type(*raster.dtypes)
    creation.check(dtype, raster.count)
    nearest = bool(raster.classes if classes is None else classes)
    with replacing(path) as temporary:
        plain = temporary + ".tif"
        copy_with_transform(raster, transform, plain, tags=tags)
        with opened(plain) as dataset:
            items = domain_items(dataset)
        make_cog(plain, temporary, creation, nearest=nearest, dtype=dtype, items=items)
        read_back(temporary, raster, raster.shape, transform)
