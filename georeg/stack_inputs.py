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
    paths: Sequence[str], dates: Sequence[datetime | None] | None, inputs: InputOptions, stack: StackOptions
) -> tuple[list[Entry], CRS]:
    """The reference or the scenes of an earlier run, and then the scenes; and the CRS in which all are adjusted."""
    if dates is not None and len(dates) != len(paths):
        raise InputError(f"{len(dates)} dates of {len(paths)} scenes; give one for each")
    for path, n in Counter(os.path.realpath(path) for path in paths).items():
        if n > 1:
            raise InputError(f"{path} is given {n} times; give each scene once")
    known = list(dates) if dates is not None else [None] * len(paths)
    first: list[Entry] = []
    crs: CRS | None = None
    if stack.reference is not None:
        raster = open_reference(stack.reference, nodata=inputs.ref_nodata)
        check_bands(raster, inputs.ref_bands)
        if raster.crs == PIXELS:
            raise InputError(f"{raster.name} has no georeferencing; scenes of a stack need one")
        first.append(Entry(stack.reference, None, raster, held=identity()))
        same = os.path.realpath(stack.reference)
        date = [when for path, when in zip(paths, known, strict=True) if os.path.realpath(path) == same]
        first[0] = replace(first[0], date=date[0] if date else None)
    if stack.append is not None:
        earlier = read_earlier(read_text(stack.append))
        crs = CRS.from_wkt(earlier.crs)
        for path, when, model in zip(earlier.paths, earlier.dates, earlier.models, strict=True):
            assert isinstance(model, PolynomialDisplacement)
            first.append(replace(_opened(path, when, inputs), held=model))
    taken = {os.path.realpath(entry.path) for entry in first}
    new = [
        _opened(path, when, inputs)
        for path, when in zip(paths, known, strict=True)
        if os.path.realpath(path) not in taken
    ]
    entries = [*first, *new]
    usable = [entry.raster for entry in entries if entry.raster is not None]
    if len(usable) < 2:
        errors = "; ".join(str(entry.error) for entry in entries if entry.error is not None)
        raise InputError(f"{len(usable)} scenes can be used, 2 are needed{': ' + errors if errors else ''}")
    if not any(entry.raster is not None for entry in new):
        raise InputError("no scene is left to correct; give others than the reference or the earlier run's")
    return entries, crs or pair_rasters(usable[0], usable[0]).crs


def _opened(path: str, date: datetime | None, inputs: InputOptions) -> Entry:
    try:
        raster = open_reference(path, nodata=inputs.tgt_nodata)
        check_bands(raster, inputs.tgt_bands)
        if raster.crs == PIXELS:
            raise InputError(f"{raster.name} has no georeferencing; scenes of a stack need one")
    except GeoregError as exc:
        return Entry(path, date, None, exc)
    return Entry(path, date, raster)
