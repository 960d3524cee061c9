"""Correct vector files that share the wrong frame of a target, such as lines digitised on it; file in, file out.

Vertices are moved and nothing else is changed: a straight segment stays straight.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyogrio.raw
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from georeg.arrow import EditedStream
from georeg.errors import InputError, OutputError
from georeg.execution import Progress, silent
from georeg.files import first_line, replacing_set
from georeg.initial import PIXELS
from georeg.layers import DRIVER_ERRORS, MEASURED, SINGLE_TYPE, Layer, VectorFile, driver_for, listening, open_vectors
from georeg.models import FloatArray
from georeg.placement import apply_transform, compose, transform_xy
from georeg.wkb import find_vertices

SHOWN_BEND_PX = 0.1
"""Segments that ought to bend by more than this are told of, working pixels."""
_WGS84_ALONE = ("GeoJSON", "GeoJSONSeq")
"""Formats whose coordinates are longitude and latitude, by RFC 7946."""
_BATCH = 8192
"""Features in memory at a time."""
_GEOMETRY = "wkb_geometry"
"""GDAL's name of a geometry without one."""
_WGS84 = CRS.from_epsg(4326)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """The wrong frame that a vector file shares with a target, and the correction of it."""

    model: Callable[[FloatArray], FloatArray]
    """Target map xy -> corrected map xy, both in ``crs``."""
    crs: CRS
    """Working CRS."""
    gsd: float
    """Working pixel size, map units."""
    pixels: tuple[CRS, Affine] | None = None
    """Where a target without georeferencing was placed, CRS and pixel to map: a layer without CRS then lies on its pixels,
    x = column and y = −row, as GIS programs show them."""


@dataclass
class _Tally:
    """What was met on the way."""

    unplaced: int = 0
    """Vertices that model or projection cannot place."""
    bend: float = 0.0
    """Largest departure of a corrected segment's middle from the straight one, map units."""
    complaints: dict[str, None] = field(default_factory=dict)
    """Of the format that is written, each once."""


def check_layers(vectors: VectorFile, frame: Frame) -> None:
    """Raise InputError unless every layer of ``vectors`` lies somewhere in the frame of the target, and one has geometries."""
    drawn = [layer for layer in vectors.layers if layer.geometry_type is not None]
    if not drawn:
        raise InputError(f"{vectors.path} holds no geometries, only tables; convert its coordinates to points first")
    for layer in drawn:
        _own_frame(vectors, layer, frame)


def write_vectors(
    vectors: VectorFile,
    frame: Frame,
    path: str,
    *,
    protected: Iterable[str] = (),
    overwrite: bool = False,
    progress: Progress = silent,
) -> None:
    """Write a corrected copy of a vector file: the vertices of every layer moved, all else as it was.

    Layers, attributes of every type, Z, M, curves and absent geometries stay, as far as the format of ``path`` can hold
    them; layers without geometry are copied. Coordinates go from the layer's CRS to the working CRS, through the model
    and back. GeoJSON is written in WGS 84, and a layer without a CRS that lay on the pixels of a target in the working CRS.
    A batch of features is in memory at a time.

    Only vertices move: where the model is not affine the straight segments between them ought to bend. The largest bend
    is measured and logged where it exceeds `SHOWN_BEND_PX`; add vertices before, where that matters.

    Parameters
    ----------
    protected
        Files that must not be replaced, beside those of ``vectors``.
    overwrite
        Replace files that exist.

    Raises
    ------
    InputError
        A layer does not say where on Earth it lies.
    OutputError
        A vertex cannot be placed, the format cannot hold the layers, or the file cannot be written. Nothing is left.
    """
    driver, tally = driver_for(vectors, path), _Tally()
    check_layers(vectors, frame)
    with replacing_set(path, (*protected, *vectors.files), overwrite=overwrite) as temporary:
        for k, layer in enumerate(vectors.layers):
            progress("layers", k, len(vectors.layers))
            _write_layer(vectors, layer, frame, tally, temporary, driver)
        if tally.unplaced:
            raise OutputError(
                f"{tally.unplaced} vertices of {vectors.name} lie where the correction cannot place them, too far from where "
                "it was fitted; clip the layers to the target's extent, or choose a simpler --model; nothing was written"
            )
        _read_back(vectors, temporary, path)
    progress("layers", len(vectors.layers), len(vectors.layers))
    _tell(vectors, frame, tally)


def _write_layer(vectors: VectorFile, layer: Layer, frame: Frame, tally: _Tally, path: str, driver: str) -> None:
    same = vectors.driver == driver
    options: dict[str, Any] = {"layer": layer.name, "driver": driver, "layer_metadata": layer.metadata}
    options |= {"dataset_metadata": vectors.metadata, "encoding": "UTF-8" if driver == SINGLE_TYPE else None}
    numbered = same and driver == "GPKG"
    source = pyogrio.raw.open_arrow(vectors.path, layer=layer.name, return_fids=numbered, batch_size=_BATCH)
    with _refusing(vectors, layer, driver), listening(tally.complaints), source as (meta, stream):
        if layer.geometry_type is None:
            pyogrio.raw.write_arrow(stream, path, **options)
            return
        src, own, dst = _own_frame(vectors, layer, frame)
        if driver in _WGS84_ALONE and dst != PIXELS and not _in_degrees(dst):
            dst = _WGS84
        kept = same or vectors.driver != SINGLE_TYPE
        column = meta["geometry_name"] or _GEOMETRY
        options |= {"geometry_name": column, "geometry_type": layer.geometry_type if kept else "Unknown"}
        options["crs"] = layer.crs if dst == src and layer.crs else None if dst == PIXELS else dst.to_wkt()
        correct = partial(_corrected, src=src, own=own, dst=dst, frame=frame)
        _hand_over(EditedStream(stream, column, partial(_move, correct, tally)), path, options)


def _hand_over(edited: EditedStream, path: str, options: dict[str, Any]) -> None:
    try:
        pyogrio.raw.write_arrow(edited, path, **options)
    finally:
        if edited.error is not None:
            raise edited.error


def _in_degrees(crs: CRS) -> bool:
    """True for longitude and latitude of WGS 84, by whatever name."""
    return bool(crs.is_geographic and crs.datum == _WGS84.datum)


def _own_frame(vectors: VectorFile, layer: Layer, frame: Frame) -> tuple[CRS, Affine, CRS]:
    """CRS in which a layer's coordinates are a map's, what makes them so, and the CRS to write them in."""
    try:
        crs = PIXELS if layer.crs is None else CRS.from_user_input(layer.crs)
    except CRSError as exc:
        raise InputError(
            f"layer {layer.name} of {vectors.name} has a CRS that cannot be used ({exc}); assign another"
        ) from exc
    earthly = crs.is_projected or crs.is_geographic
    if earthly and frame.pixels is None and frame.crs != PIXELS:
        return crs, Affine.identity(), crs
    if earthly:
        raise InputError(
            f"layer {layer.name} of {vectors.name} is in {crs.name}, but the target that was aligned is not georeferenced; "
            "give vectors that were drawn on the target's pixels, without a CRS"
        )
    if frame.pixels is not None:
        return frame.pixels[0], compose(frame.pixels[1], Affine.scale(1, -1)), frame.crs
    if frame.crs == PIXELS:
        return PIXELS, Affine.identity(), PIXELS
    raise InputError(
        f"layer {layer.name} of {vectors.name} has no CRS (coordinate reference system); assign the one that it was drawn in, "
        "for example with: ogr2ogr -a_srs EPSG:32633 OUT IN"
    )


def _corrected(xy: FloatArray, *, src: CRS, own: Affine, dst: CRS, frame: Frame) -> tuple[FloatArray, FloatArray]:
    """Corrected coordinates (N, 2) in the working CRS and in ``dst``; NaN where there are none."""
    tgt_xy = transform_xy(apply_transform(own, xy), src, frame.crs)
    known = np.isfinite(tgt_xy).all(axis=1)
    ref_xy = np.full(tgt_xy.shape, np.nan)
    ref_xy[known] = frame.model(tgt_xy[known])
    return ref_xy, transform_xy(ref_xy, frame.crs, dst)


def _move(
    correct: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
    tally: _Tally,
    data: NDArray[np.uint8],
    starts: NDArray[np.intp],
) -> None:
    """Move the vertices of a batch of geometries in place; those of no place stay, and are counted."""
    vertices = find_vertices(data, starts)
    xy = vertices.xy(data)
    ref_xy, moved = correct(xy)
    placed = np.asarray(np.isfinite(moved).all(axis=1))
    tally.unplaced += int((np.isfinite(xy).all(axis=1) & ~placed).sum())
    vertices.put(data, np.where(placed[:, None], moved, xy))
    begin = np.flatnonzero(vertices.starts_segment)
    bent = correct((xy[begin] + xy[begin + 1]) / 2)[0] - (ref_xy[begin] + ref_xy[begin + 1]) / 2
    tally.bend = max(tally.bend, float(np.nan_to_num(np.hypot(*bent.T)).max(initial=0)))


@contextmanager
def _refusing(vectors: VectorFile, layer: Layer, driver: str) -> Iterator[None]:
    try:
        yield
    except (*DRIVER_ERRORS, RuntimeError, ValueError) as exc:
        raise OutputError(
            f"layer {layer.name} of {vectors.name} cannot be written as {driver}: {first_line(exc)}; choose another format, "
            "such as .gpkg"
        ) from exc


def _read_back(vectors: VectorFile, temporary: str, path: str) -> None:
    """Raise unless the file just written holds as many layers and features as it should."""
    written = open_vectors(temporary)
    asked, found = ([layer.features for layer in v.layers] for v in (vectors, written))
    if len(found) < len(asked):
        raise OutputError(
            f"{vectors.name} has {len(asked)} layers, but a {written.driver} file holds {len(found)}; end {path} in .gpkg"
        )
    if found != asked:
        raise OutputError(f"{path} would hold {found} features instead of {asked}; is the disk full? Or choose a .gpkg")


def _tell(vectors: VectorFile, frame: Frame, tally: _Tally) -> None:
    for complaint in tally.complaints:
        if not complaint.startswith(MEASURED):
            _log.warning("%s: %s", vectors.name, complaint)
    if tally.bend > SHOWN_BEND_PX * frame.gsd:
        _log.warning(
            "%s: straight segments ought to bend by up to %.2g px under this correction, and only their vertices were moved; "
            "add vertices first where that matters",
            vectors.name,
            tally.bend / frame.gsd,
        )
