"""Which rasters a stack is of, and when they were taken: from files, folders, patterns, tables and catalogues."""

from __future__ import annotations

import csv
import glob
import io
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from georeg.errors import InputError
from georeg.files import read_text
from georeg.lazily import Lazily
from georeg.remote import without_secrets

stac = Lazily("georeg.stac")
SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt", ".img", ".png", ".jpg", ".jpeg", ".nc", ".hdf", ".h5", ".zarr", ".dat")
"""What is taken of a folder."""
_PATHS, _DATES = ("path", "file", "href", "scene"), ("date", "datetime", "time")
_IN_NAMES = (
    (re.compile(r"(?<!\d)(\d{4})(\d{2})(\d{2})(?:T?(\d{2})(\d{2})(\d{2}))?(?!\d)"), "%Y%m%d"),
    (re.compile(r"(?<!\d)(\d{4})[-_.](\d{2})[-_.](\d{2})(?!\d)"), "%Y%m%d"),
    (re.compile(r"(?<!\d)(\d{4})(\d{3})(?!\d)"), "%Y%j"),
    (re.compile(r"L[CETMO]\d{7}(\d{4})(\d{3})(?!\d)"), "%Y%j"),  # Landsat before its collections
)


@dataclass(frozen=True)
class Listed:
    """A raster of a list."""

    path: str
    date: datetime | None
    """Without a time zone, in UTC; None where it is not told."""


def date_in_name(path: str) -> datetime | None:
    """The day that a file name tells; None where it tells none.

    >>> date_in_name("/data/T33UUU_20160608T101026_B04.jp2").isoformat()
    '2016-06-08T10:10:26'
    >>> date_in_name("LC80340322013189.tif").date().isoformat()
    '2013-07-08'
    >>> date_in_name("scene_12.tif")
    """
    name = os.path.basename(without_secrets(path))
    for pattern, form in _IN_NAMES:
        for found in pattern.finditer(name):
            day = "".join(part for part in found.groups()[:3] if part is not None)
            clock = [part for part in found.groups()[3:] if part is not None]
            with suppress(ValueError):  # digits that are no date
                date = datetime.strptime(day + "".join(clock), form + "%H%M%S"[: 2 * len(clock)])
                if 1900 <= date.year <= 2100:
                    return date
    return None


def listed(words: Sequence[str], asset: str | None = None) -> list[Listed]:
    """The rasters that words stand for, in the order of their dates where all have one.

    Parameters
    ----------
    words
        Each the path of a raster, a folder of rasters, a pattern such as ``scenes/*.tif``, a ``.csv`` file with a column of
        paths and, if need be, one of dates, or a ``.json`` file that holds a STAC item or item collection.
    asset
        Of the items of a catalogue: its key or role.

    Raises
    ------
    InputError
        A word stands for no raster, or a table cannot be understood.
    """
    found = [one for word in words for one in _of(word, asset)]
    if found and all(one.date is not None for one in found):
        found.sort(key=lambda one: (one.date or datetime.min, one.path))
    return found


def _of(word: str, asset: str | None) -> Iterable[Listed]:
    if os.path.isdir(word):
        names = sorted(name for name in os.listdir(word) if name.lower().endswith(SUFFIXES))
        if not names:
            raise InputError(
                f"the folder {word} holds no rasters ({', '.join(SUFFIXES)}); give another or name the files"
            )
        return [_alone(os.path.join(word, name)) for name in names]
    lower = word.lower()
    if lower.endswith(".csv"):
        return _table(word)
    if lower.endswith((".json", ".geojson")):
        return [_dated(each.path, _plain(each.datetime)) for each in stac.read_items(word, asset)]
    if not os.path.exists(word) and glob.has_magic(word):
        paths = sorted(glob.glob(word, recursive=True))
        if not paths:
            raise InputError(f"no file is called like {word}; check the pattern")
        return [_alone(path) for path in paths]
    return [_alone(word)]


def _alone(path: str) -> Listed:
    return Listed(path, date_in_name(path))


def _dated(path: str, date: datetime | None) -> Listed:
    return Listed(path, date or date_in_name(path))


def _plain(date: datetime | None) -> datetime | None:
    """In UTC, without saying so."""
    if date is None or date.tzinfo is None:
        return date
    offset = date.utcoffset()
    return date.replace(tzinfo=None) - offset if offset is not None else date.replace(tzinfo=None)


def _table(path: str) -> list[Listed]:
    """Paths, which may be relative to the table, and dates in the form of ISO 8601."""
    text = read_text(path)
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = {(name or "").strip().lower(): name for name in (rows[0] if rows else {})}
    paths = next((columns[name] for name in _PATHS if name in columns), None)
    dates = next((columns[name] for name in _DATES if name in columns), None)
    if paths is None:
        raise InputError(f"{path} has no column called {', '.join(_PATHS)}; its first line must name its columns")
    return [
        _row(path, number, row[paths], row[dates] if dates is not None else None) for number, row in enumerate(rows, 2)
    ]


def _row(table: str, number: int, path: str | None, date: str | None) -> Listed:
    if not path or not path.strip():
        raise InputError(f"line {number} of {table} names no raster")
    path = path.strip()
    beside = os.path.join(os.path.dirname(table), path)
    place = beside if "://" not in path and not os.path.isabs(path) and os.path.exists(beside) else path
    try:
        when = _plain(datetime.fromisoformat(date.strip())) if date and date.strip() else None
    except ValueError as exc:
        raise InputError(f"line {number} of {table}: {date!r} is no date such as 2020-07-31") from exc
    return _dated(place, when)
