"""What a vector file holds and which format another is to have, without reading a feature."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from georeg.errors import InputError
from georeg.files import first_line

SINGLE_TYPE = "ESRI Shapefile"
"""The format whose lines and polygons may be of several parts, which others tell apart."""
DRIVER_ERRORS = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError)
"""What pyogrio raises where GDAL refuses."""
MEASURED = "Measured (M) geometry types"
"""How pyogrio begins to say that it has no name for them."""
_OTHER_SUFFIXES = {".kml": "LIBKML", ".json": "GeoJSON"}
"""Formats of suffixes that are not of one format alone."""


@dataclass(frozen=True)
class Layer:
    """What is known of a layer without reading its features."""

    name: str
    geometry_type: str | None
    """GDAL's name; None for a table."""
    crs: str | None
    """As the file has it; None where it has none."""
    features: int
    """How many."""
    metadata: dict[str, str] | None
    """Of the layer."""


@dataclass(frozen=True)
class VectorFile:
    """What is known of a vector file without reading its features."""

    path: str
    driver: str
    """GDAL's name of the format."""
    layers: tuple[Layer, ...]
    metadata: dict[str, str] | None
    """Of the whole file."""

    @property
    def name(self) -> str:
        """File name without its folder, for messages."""
        return os.path.basename(self.path) or self.path

    @property
    def files(self) -> tuple[str, ...]:
        """The file and those beside it that differ in their suffix alone, as those of a Shapefile do."""
        folder, name = os.path.split(os.path.abspath(self.path))
        if not os.path.isdir(folder):  # a GDAL name, such as of a file in an archive
            return (self.path,)
        stem = os.path.splitext(name)[0]
        return tuple(os.path.join(folder, n) for n in os.listdir(folder) if n == name or n.startswith(stem + "."))


def holds_layers(path: str) -> bool:
    """True for a file that GDAL can read as vectors."""
    try:
        with listening({}):
            return len(pyogrio.list_layers(path)) > 0
    except (DataSourceError, UnicodeEncodeError):
        return False


def open_vectors(path: str) -> VectorFile:
    """Describe the vector file at ``path``.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        with listening({}):
            names = [str(name) for name, _ in pyogrio.list_layers(path)]
        infos = [_described(path, name) for name in names]
    except DRIVER_ERRORS as exc:
        raise InputError(
            f"{path} cannot be read as vectors ({first_line(exc)}); give a file that ogrinfo can read"
        ) from exc
    layers = tuple(
        Layer(name, i["geometry_type"], i["crs"], i["features"], i["layer_metadata"])
        for name, i in zip(names, infos, strict=True)
    )
    return VectorFile(path, infos[0]["driver"], layers, infos[0]["dataset_metadata"])


def _described(path: str, name: str) -> dict[str, Any]:
    complaints: dict[str, None] = {}
    with listening(complaints):
        info: dict[str, Any] = pyogrio.read_info(path, layer=name, force_feature_count=True)
    if any(text.startswith(MEASURED) for text in complaints):
        info["geometry_type"] = "Unknown"  # pyogrio has no name for it, and GDAL keeps M where the type is left open
    return info


def driver_for(vectors: VectorFile, path: str) -> str:
    """GDAL's name of the format that ``path`` asks for by its suffix: the one of ``vectors`` where that is the same.

    Raises
    ------
    InputError
        No format with that suffix can be written.
    """
    suffixes = [os.path.splitext(name)[1].lower() for name in (vectors.path, path)]
    try:
        driver = vectors.driver if suffixes[0] == suffixes[1] else str(pyogrio.detect_write_driver(path))
    except ValueError as exc:
        driver = _OTHER_SUFFIXES.get(suffixes[1], "")
        if not driver:
            raise InputError(f"{path} names no vector format; end it in .gpkg, .geojson, .shp or .fgb") from exc
    if "w" not in pyogrio.list_drivers().get(driver, ""):
        raise InputError(f"{driver} files cannot be written; end {path} in .gpkg, .geojson, .shp or .fgb")
    return driver


@contextmanager
def listening(complaints: dict[str, None]) -> Iterator[None]:
    """What GDAL warns of goes to ``complaints`` rather than to the screen."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    complaints.update(
        {str(w.message).splitlines()[0]: None for w in caught if not str(w.message).startswith("'crs' was")}
    )
