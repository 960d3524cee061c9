"""The scenes of a stack before it is adjusted: those to correct, and those that stay where they are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pyproj import CRS

from georeg.errors import GeoregError, InputError
from georeg.files import read_text
from georeg.initial import PIXELS
from georeg.listing import date_in_name
from georeg.models import identity
from georeg.models.polynomial import PolynomialDisplacement
from georeg.options import InputOptions, StackOptions
from georeg.overlap import pair_rasters
from georeg.raster import Raster, check_bands, open_reference
from georeg.stack_result import read_earlier


@dataclass(frozen=True, eq=False)
class Entry:
    """A scene before it is adjusted."""

    path: str
    date: datetime | None
    raster: Raster | None
    error: GeoregError | None = None
    held: PolynomialDisplacement | None = None
    """The correction that it keeps."""


def entries_of(
    scenes: Sequence[str | Raster],
    dates: Sequence[datetime | None] | None,
    inputs: InputOptions,
    stack: StackOptions,
    reference: str | Raster | None = None,
) -> tuple[list[Entry], CRS]:
    """The reference or the scenes of an earlier run, and then the scenes; and the CRS in which all are adjusted.

    Raises
    ------
    InputError
        Fewer than two can be used, none is left to correct, or the reference or the earlier run cannot be used.
    """
    if dates is not None and len(dates) != len(scenes):
        raise InputError(f"{len(dates)} dates of {len(scenes)} scenes; give one for each")
    for path, n in Counter(_identity(scene) for scene in scenes).items():
        if n > 1:
            raise InputError(f"{path} is given {n} times; give each scene once")
    when = dict(zip(map(_identity, scenes), dates, strict=True)) if dates is not None else {}
    crs, first = None, _anchor(reference or stack.reference, when, inputs)
    if stack.append is not None:
        earlier = read_earlier(read_text(stack.append))
        crs = CRS.from_wkt(earlier.crs)
        for path, date, model in zip(earlier.paths, earlier.dates, earlier.models, strict=True):
            assert isinstance(model, PolynomialDisplacement)
            first.append(replace(_opened(path, date, inputs), held=model))
    taken = {_identity(entry.raster or entry.path) for entry in first}
    new = [_opened(one, when.get(_identity(one)), inputs) for one in scenes if _identity(one) not in taken]
    entries = [*first, *new]
    usable = [entry.raster for entry in entries if entry.raster is not None]
    if len(usable) < 2:
        errors = "; ".join(str(entry.error) for entry in entries if entry.error is not None)
        raise InputError(f"{len(usable)} scenes can be used, 2 are needed{': ' + errors if errors else ''}")
    if not any(entry.raster is not None for entry in new):
        raise InputError("no scene is left to correct; give others than the reference or the earlier run's")
    return entries, crs or pair_rasters(usable[0], usable[0]).crs


def _identity(scene: str | Raster) -> str:
    """By which one scene is known for the same as another."""
    path = scene if isinstance(scene, str) else scene.path
    held = not isinstance(scene, str) and scene.source is not None
    return f"{path} {id(scene)}" if held else os.path.realpath(path)


def _anchor(reference: str | Raster | None, when: dict[str, datetime | None], inputs: InputOptions) -> list[Entry]:
    """The reference, which stays as it is; its date is known if it is a scene too."""
    if reference is None:
        return []
    raster = open_reference(reference, nodata=inputs.ref_nodata)
    check_bands(raster, inputs.ref_bands)
    _check_place(raster)
    return [Entry(raster.path, when.get(_identity(reference)) or date_in_name(raster.path), raster, held=identity())]


def _check_place(raster: Raster) -> None:
    if raster.crs == PIXELS:
        raise InputError(f"{raster.name} has no georeferencing; scenes of a stack need one")


def _opened(scene: str | Raster, date: datetime | None, inputs: InputOptions) -> Entry:
    path = scene if isinstance(scene, str) else scene.path
    try:
        raster = open_reference(scene, nodata=inputs.tgt_nodata)
        check_bands(raster, inputs.tgt_bands)
        _check_place(raster)
    except GeoregError as exc:
        return Entry(path, date, None, exc)
    return Entry(path, date, raster)
