"""The cloud-optimised GeoTIFF that GDAL makes of one."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import rasterio
import rasterio.shutil

from georeg.creation import BLOCK_PX, Creation
from georeg.errors import OutputError
from georeg.files import SIDECARS
from georeg.gdal_cache import BOUND
from georeg.reader import CACHE_BYTES
from georeg.tiff import ASCII, Entry, read_tiff, read_values
from georeg.tiff_edit import copy_laid_out

_METADATA = 42112


def make_cog(
    source: str, path: str, creation: Creation, *, nearest: bool, dtype: Any, items: Sequence[ElementTree.Element]
) -> None:
    """Make a COG of a GeoTIFF, which goes; its overviews are kept, or built where it has none.

    Parameters
    ----------
    items
        Of metadata, beside those that GDAL copies: see `georeg.metadata.domain_items`.
    """
    profile = creation.profile(dtype, (BLOCK_PX, BLOCK_PX))
    profile = {"OVERVIEW_RESAMPLING": "NEAREST" if nearest else "AVERAGE"} | profile
    made = path + ".cog"
    with bounded_cache(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        rasterio.shutil.copy(source, made, driver="COG", **profile)
    remove_geotiff(source)
    with open(made, "rb") as file:
        tiff = read_tiff(file, made)
        old = tiff.directories[0].entries.get(_METADATA)
        text = b"<GDALMetadata />" if old is None else read_values(file, tiff, old).rstrip(b"\0 \n")
        root = ElementTree.fromstring(text)
        root.extend(items)
        text = ElementTree.tostring(root) + b"\n\0"
        if not copy_laid_out(file, tiff, {_METADATA: Entry(ASCII, len(text), text)}, path):
            raise OutputError("GDAL made a COG of an unknown layout; please report this with gdalinfo of the target")
    for suffix in SIDECARS:
        if os.path.exists(made + suffix):
            os.replace(made + suffix, path + suffix)
    remove_geotiff(made)


def remove_geotiff(path: str) -> None:
    """Remove an intermediate file and what belongs to it."""
    for suffix in ("", *SIDECARS):
        with suppress(FileNotFoundError):
            os.remove(path + suffix)


@contextmanager
def bounded_cache() -> Iterator[None]:
    """Meanwhile GDAL keeps no more decoded blocks than while rasters are read, or fewer if that was set: by default it is a
    twentieth of the memory.
    """
    BOUND.enter(CACHE_BYTES, only_lower=True)
    try:
        yield
    finally:
        BOUND.leave()
