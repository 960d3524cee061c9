"""Read the directories of a TIFF, classic or BigTIFF, of either byte order, and tell whether all its blocks are there.

TIFF 6.0: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf; BigTIFF: http://bigtiff.org
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from georeg.errors import InputError

ASCII, SHORT, LONG, DOUBLE, LONG8 = 2, 3, 4, 12, 16
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
INTEGERS = {1: "u1", SHORT: "u2", LONG: "u4", LONG8: "u8"}
_WIDTH, _HEIGHT, _ROWS, _PLANES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 278, 284, 322, 323
OFFSETS, LENGTHS = (324, 273), (325, 279)
_MOST_ENTRIES = 4096  # libtiff takes a directory of more for damaged


@dataclass(frozen=True)
class Entry:
    """One tag of a directory."""

    kind: int
    """TIFF's number of the type."""
    count: int
    """Number of values."""
    raw: bytes
    """The values in the file's byte order, or the field of the directory that holds them or says where they are."""
    in_field: bool = False
    """True where ``raw`` is that field."""


@dataclass(frozen=True)
class Directory:
    """One image of a file: the main one, an overview or a mask."""

    offset: int
    entries: Mapping[int, Entry]
    """By tag, each with its field."""
    following: int
    """Offset of the next directory, 0 for none."""


@dataclass(frozen=True)
class Tiff:
    """How a file is laid out."""

    name: str
    """For messages."""
    order: str
    """``<`` or ``>``, as in `struct`."""
    big: bool
    """True for BigTIFF."""
    size: int
    """Bytes of the file."""
    directories: tuple[Directory, ...]

    @property
    def pointer(self) -> str:
        """An offset, for `struct`."""
        return self.order + ("Q" if self.big else "I")

    @property
    def number(self) -> str:
        """How many entries a directory has, for `struct`."""
        return self.order + ("Q" if self.big else "H")

    @property
    def row(self) -> str:
        """An entry of a directory, for `struct`: tag, type, number of values, field."""
        return self.order + ("HHQ8s" if self.big else "HHI4s")

    @property
    def width(self) -> int:
        """Bytes of an offset, and of a field."""
        return 8 if self.big else 4

    @property
    def header_size(self) -> int:
        """Bytes before anything else; the last of them are the offset of the first directory."""
        return 16 if self.big else 8

    def directory_size(self, entries: int) -> int:
        """Bytes of a directory of so many entries."""
        return struct.calcsize(self.number) + entries * struct.calcsize(self.row) + self.width


def read_tiff(file: BinaryIO, name: str) -> Tiff:
    """Read the header and all directories of an open file, without the values that lie outside of them.

    Raises
    ------
    InputError
        It is not a TIFF, or a directory is damaged or lies beyond the end.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    version = struct.unpack(order + "H", start[2:4])[0] if order and len(start) >= 8 else 0
    if order is None or version not in (42, 43) or (version == 43 and len(start) < 16):
        raise InputError(f"{name} does not begin like a TIFF; give a file that gdalinfo calls GTiff")
    tiff = Tiff(name, order, version == 43, size, ())
    following = unpacked(tiff.pointer, start, tiff.header_size - tiff.width)
    directories: list[Directory] = []
    seen: set[int] = set()
    while following or not directories:
        if following in seen:
            raise _damaged(name, f"directory {len(directories) + 1} is one that came before, at byte {following}")
        seen.add(following)
        directories.append(_read_directory(file, tiff, following, len(directories) + 1))
        following = directories[-1].following
    return replace(tiff, directories=tuple(directories))


def unpacked(kind: str, content: bytes, start: int = 0) -> int:
    return int(struct.unpack_from(kind, content, start)[0])


def _damaged(name: str, what: str) -> InputError:
    return InputError(f"{name} is damaged or truncated: {what}; copy or download it again")


def _read_directory(file: BinaryIO, tiff: Tiff, offset: int, number: int) -> Directory:
    beyond = _damaged(tiff.name, f"its directory {number} at byte {offset} lies beyond its end at {tiff.size}")
    head = struct.calcsize(tiff.number)
    if not tiff.header_size <= offset <= tiff.size - head:
        raise beyond
    file.seek(offset)
    count = unpacked(tiff.number, file.read(head))
    if not 1 <= count <= _MOST_ENTRIES:
        raise _damaged(tiff.name, f"its directory {number} at byte {offset} has {count} entries")
    if offset + tiff.directory_size(count) > tiff.size:
        raise beyond
    body = file.read(tiff.directory_size(count) - head)
    entries: dict[int, Entry] = {}
    for tag, kind, length, field in struct.iter_unpack(tiff.row, body[: -tiff.width]):
        entries.setdefault(tag, Entry(kind, length, field, in_field=True))
    return Directory(offset, entries, unpacked(tiff.pointer, body, len(body) - tiff.width))


def size_of(entry: Entry) -> int:
    """Bytes of all values of an entry."""
    return SIZES.get(entry.kind, 0) * entry.count


def place_of(tiff: Tiff, entry: Entry) -> int | None:
    """Where the values of an entry lie outside of its directory; None where they do not."""
    return unpacked(tiff.pointer, entry.raw) if size_of(entry) > tiff.width else None


def read_values(file: BinaryIO, tiff: Tiff, entry: Entry) -> bytes:
    """The values of an entry, in the file's byte order.

    Raises
    ------
    InputError
        They lie beyond the end of the file.
    """
    if not entry.in_field:
        return entry.raw
    length, place = size_of(entry), place_of(tiff, entry)
    if place is None:
        return entry.raw[:length]
    if place + length > tiff.size:
        raise _damaged(tiff.name, f"{length} bytes of a tag at byte {place} lie beyond its end at {tiff.size}")
    file.seek(place)
    return file.read(length)


def read_numbers(file: BinaryIO, tiff: Tiff, entry: Entry | None) -> NDArray[np.int64]:
    """The whole numbers that an entry holds, none where there is no entry or it holds others."""
    if entry is None or entry.kind not in INTEGERS:
        return np.zeros(0, np.int64)
    values = np.frombuffer(read_values(file, tiff, entry), tiff.order + INTEGERS[entry.kind])
    numbers: NDArray[np.int64] = np.minimum(values.astype(np.uint64), 2**60).astype(np.int64)  # ends do not overflow
    return numbers


def truncated_block(path: str) -> str | None:
    """Name the first block of a TIFF, also of its overviews and masks, that lies beyond its end; None if all are there.

    Raises
    ------
    InputError
        The file is damaged: not even all its directories can be read.
    """
    with open(path, "rb") as file:
        tiff = read_tiff(file, path)
        for number, directory in enumerate(tiff.directories):
            tags = directory.entries
            offsets, lengths = (
                read_numbers(file, tiff, next((tags[tag] for tag in kind if tag in tags), None))
                for kind in (OFFSETS, LENGTHS)
            )
            ends = offsets.copy()
            ends[: lengths.size] += lengths[: ends.size]
            beyond = np.flatnonzero((offsets > 0) & (ends > tiff.size))
            if beyond.size:
                block = _block_name(file, tiff, directory, int(beyond[0]))
                return block if number == 0 else f"{block} of directory {number + 1} (an overview or mask)"
    return None


def _block_name(file: BinaryIO, tiff: Tiff, directory: Directory, index: int) -> str:
    def first(tag: int, otherwise: int) -> int:
        numbers = read_numbers(file, tiff, directory.entries.get(tag))
        return int(numbers[0]) if numbers.size and numbers[0] > 0 else otherwise

    width, height = first(_WIDTH, 1), first(_HEIGHT, 1)
    across = -(-width // first(_TILE_WIDTH, width))
    down = -(-height // first(_TILE_HEIGHT, min(first(_ROWS, height), height)))
    y, x = divmod(index % (across * down), across)
    band = index // (across * down) + 1 if first(_PLANES, 1) == 2 else 1
    return f"block row {y}, column {x} of band {band}"
