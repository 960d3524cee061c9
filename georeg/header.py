"""What a GeoTIFF, and the metadata file beside it, say of where it lies, and what they have to say instead."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from georeg.errors import InputError
from georeg.files import first_line
from georeg.geotiff import opened
from georeg.raster import DOMAIN, Raster
from georeg.tiff import ASCII, DOUBLE, Entry, Tiff, read_numbers, read_tiff, read_values
from georeg.tiff_edit import Changes

MOST_GCPS = 65535 // 6
"""More points than these do not fit in the tag: GDAL keeps them in the file of metadata beside the GeoTIFF."""
_TIE_POINTS = 33922
_PLACE = (33550, _TIE_POINTS, 34264)  # pixel scale, tie points, matrix
_KEYS = (34735, 34736, 34737)
_RASTER_TYPE_KEY, _PIXEL_IS_POINT = 1025, 2
_METADATA, _RPC = 42112, 50844


@dataclass(frozen=True)
class Place:
    """Where a file is to lie: by a geotransform, or else by GCPs."""

    transform: Affine | None
    """Pixel to map."""
    crs: str | None
    """WKT of the CRS to write; None leaves the file's own, or writes none with GCPs."""
    gcps: NDArray[np.float64] | None = None
    """(N, 4) column, row, x and y."""

    @property
    def in_tags(self) -> bool:
        """False where GCPs are so many that they go to the file of metadata."""
        return self.gcps is None or len(self.gcps) <= MOST_GCPS


@dataclass(frozen=True)
class Said:
    """What a file says of itself, as GDAL understands it, that its new header depends on."""

    crs: str | None
    point: bool
    """True where AREA_OR_POINT is Point."""
    scale: tuple[float, float] | None
    """Scale and offset of the only band: with heights they are in the same tags as the geotransform."""
    rpcs: bool
    gcps: int


def said_by(path: str) -> Said:
    """What the file at ``path`` says of itself.

    Raises
    ------
    InputError
        GDAL cannot tell.
    """
    try:
        with opened(path) as dataset:
            return Said(
                crs=dataset.crs.to_wkt() if dataset.crs else None,
                point=dataset.tags().get("AREA_OR_POINT") == "Point",
                scale=(dataset.scales[0], dataset.offsets[0]) if dataset.count == 1 else None,
                rpcs=bool(dataset.tags(ns="RPC")),
                gcps=len(dataset.gcps[0]),
            )
    except (RasterioError, CPLE_BaseError) as exc:
        raise InputError(f"{path} cannot be read ({first_line(exc)}); the file may be damaged: copy it again") from exc


def place_of_transform(raster: Raster, transform: Affine, said: Said) -> Place:
    """By a geotransform; in the file's own CRS if that is what it lay in, else in the one it was placed in."""
    own = said.crs is not None and raster.placed == "geotransform"
    return Place(transform, None if own else raster.crs.to_wkt())


def losses(raster: Raster, said: Said, place: Place) -> list[str]:
    """A sentence for each thing said of the raster's place that cannot be corrected, and so is dropped."""
    sentences = []
    if said.rpcs:
        sentences.append(f"the RPCs of {raster.name} were dropped: they do not hold the correction")
    if said.gcps and place.transform is not None:
        sentences.append(f"the {said.gcps} GCPs of {raster.name} were replaced by a geotransform")
    return sentences


def new_tags(file: BinaryIO, tiff: Tiff, said: Said, place: Place, tags: Mapping[str, str]) -> Changes:
    """What the tags of an open GeoTIFF become so that it lies elsewhere and its metadata hold ``tags``.

    Parameters
    ----------
    tags
        Items of the metadata domain `DOMAIN`, instead of those that are there.

    Raises
    ------
    InputError
        A tag is damaged.
    """
    entries = tiff.directories[0].entries
    changes: dict[int, Entry | None] = dict.fromkeys({*_PLACE, _RPC} & set(entries))
    own_keys = place.crs is None and place.transform is not None
    point = _is_point(file, tiff) if own_keys else said.point
    written = _written(tiff, said, place, point=point)
    changes |= {tag: entry for tag, entry in written.items() if tag in _PLACE}
    if not own_keys:
        changes |= {tag: written.get(tag) for tag in _KEYS if tag in entries or tag in written}
    old = entries.get(_METADATA)
    text = None if old is None else read_values(file, tiff, old)
    new = _metadata(text, tags, tiff.name)
    if new != text:
        changes[_METADATA] = None if new is None else Entry(ASCII, len(new), new)
    return changes


def _is_point(file: BinaryIO, tiff: Tiff) -> bool:
    """Whether by its own keys the pixels of a file are points, so that its geotransform counts from their centres."""
    keys = read_numbers(file, tiff, tiff.directories[0].entries.get(_KEYS[0]))
    rows = keys[4 : len(keys) // 4 * 4].reshape(-1, 4)
    return any(key == _RASTER_TYPE_KEY and value == _PIXEL_IS_POINT for key, _, _, value in rows.tolist())


def _written(tiff: Tiff, said: Said, place: Place, *, point: bool) -> dict[int, Entry]:
    """The tags that GDAL writes in a file of one pixel that lies there."""
    profile: dict[str, Any] = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
    profile["crs"] = said.crs if place.crs is None and place.transform is not None else place.crs
    if place.transform is not None:
        profile["transform"] = place.transform
    with MemoryFile() as memory:
        with opened(memory.name, "w", **profile, ENDIANNESS="LITTLE" if tiff.order == "<" else "BIG") as dataset:
            if point:
                dataset.update_tags(AREA_OR_POINT="Point")
            if said.scale is not None:
                dataset.scales, dataset.offsets = said.scale[:1], said.scale[1:]
        file = io.BytesIO(memory.read())
    one = read_tiff(file, "a file in memory")
    entries = one.directories[0].entries
    found = {tag: entries[tag] for tag in {*_PLACE, *_KEYS} & set(entries)}
    written = {tag: Entry(e.kind, e.count, read_values(file, one, e)) for tag, e in found.items()}
    if place.transform is None:
        written = {tag: entry for tag, entry in written.items() if tag not in _PLACE}
        if place.gcps is not None and place.in_tags:
            written[_TIE_POINTS] = _tie_points(tiff, place.gcps, point=point)
    return written


def _tie_points(tiff: Tiff, gcps: NDArray[np.float64], *, point: bool) -> Entry:
    """GCPs as a tag, by our own hand: GDAL 3.10 writes them a pixel off where pixels are points."""
    rows = np.zeros((len(gcps), 6))
    rows[:, :2] = gcps[:, :2] - (0.5 if point else 0.0)
    rows[:, 3:5] = gcps[:, 2:]
    return Entry(DOUBLE, rows.size, rows.astype(tiff.order + "f8").tobytes())


def _metadata(text: bytes | None, tags: Mapping[str, str], name: str) -> bytes | None:
    """GDAL's metadata tag without RPCs and with ``tags``; as it is where that changes nothing."""
    content = (text or b"<GDALMetadata>\n</GDALMetadata>").rstrip(b"\0 \n")
    root = _parsed(content, f"the metadata tag of {name}")
    stale = [item for item in root.findall("Item") if item.get("domain") in (DOMAIN, "RPC")]
    if not stale and not tags:
        return text
    for item in stale:
        root.remove(item)
    for key, value in tags.items():
        item = ElementTree.SubElement(root, "Item", {"name": key, "domain": DOMAIN})
        item.text, item.tail = escape(value, {'"': "&quot;"}), "\n"  # GDAL escapes twice
    return _text(root) + b"\n\0" if len(root) else None


def _parsed(content: bytes, name: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as exc:
        raise InputError(f"{name} is not XML ({exc}), and GDAL would not understand it; repair or remove it") from exc


def placed_sidecar(content: bytes | None, place: Place, name: str) -> bytes | None:
    """GDAL's file of metadata beside a GeoTIFF without what would contradict the place of that: GDAL would believe it.

    It takes the GCPs that the tags cannot hold. As it is where nothing changes; None where there is, or need be, none.

    Raises
    ------
    InputError
        It is not XML.
    """
    if content is None and place.in_tags:
        return None
    root = _parsed(content or b"<PAMDataset/>", name)
    stale = [element for element in root if _contradicts(element, keep_crs=place.crs is None and place.in_tags)]
    if not stale and place.in_tags:
        return content
    for element in stale:
        root.remove(element)
    if place.gcps is not None and not place.in_tags:
        root.insert(0, _gcp_list(place.gcps, place.crs))
    return _text(root)


def _contradicts(element: ElementTree.Element, *, keep_crs: bool) -> bool:
    if element.tag == "Metadata":
        return element.get("domain") == "RPC" or element.find(".//GeodataXform") is not None
    return element.tag in ("GeoTransform", "GCPList") or (element.tag == "SRS" and not keep_crs)


def _gcp_list(gcps: NDArray[np.float64], crs: str | None) -> ElementTree.Element:
    listed = ElementTree.Element("GCPList", {"Projection": crs} if crs else {})
    for number, point in enumerate(gcps.tolist(), start=1):
        numbers = dict(zip(("Pixel", "Line", "X", "Y"), map(repr, point), strict=True))
        ElementTree.SubElement(listed, "GCP", {"Id": str(number), **numbers})
    return listed


def _text(root: ElementTree.Element) -> bytes:
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=False)
    return text
