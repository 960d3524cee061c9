"""Change the first directory of a TIFF without touching a pixel.

A changed directory is appended to the file, and then one small write at its start turns to it: whoever is killed at any
moment leaves the old file or the new one. A copy can be laid out anew instead, so that a COG stays one.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from georeg.errors import InputError, OutputError
from georeg.tiff import (
    INTEGERS,
    LENGTHS,
    LONG,
    LONG8,
    OFFSETS,
    SIZES,
    Directory,
    Entry,
    Tiff,
    place_of,
    read_numbers,
    read_values,
    size_of,
)

Changes = Mapping[int, Entry | None]
"""Tags of the first directory and what they become; None takes one away."""
_BLOCKS = {*OFFSETS, *LENGTHS}
_STEP = 8
"""Directories and values begin at multiples of this many bytes."""
_GHOST = b"GDAL_STRUCTURAL_METADATA_SIZE="
_INTACT, _BROKEN = b"KNOWN_INCOMPATIBLE_EDITION=NO\n ", b"KNOWN_INCOMPATIBLE_EDITION=YES\n"
_GHOST_BYTES = 1024  # more than the ghost area of any COG
_BUFFER_BYTES, _RANGE_BYTES = 16 * 2**20, 2**30
_WITHOUT_OFFSETS = {
    *range(254, 260), 262, 263, 266, 269, 270, 271, 272, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 285, 296, 305,
    306, 315, 316, 317, 318, 319, 320, 321, 322, 323, 324, 325, 336, 338, 339, 340, 341, 347, 529, 530, 531, 532, 700,
    33432, 33550, 33723, 33922, 34264, 34675, 34735, 34736, 34737, 42112, 42113, 50674, 50844, 50909, 51177,
}  # fmt: skip
"""Tags known to hold no place in the file but those of the blocks: pixels may only be shifted under these."""


@dataclass(frozen=True)
class Edit:
    """What gives a file another first directory: bytes at its end, then bytes at its start."""

    size: int
    """Bytes of the file before."""
    appended: bytes
    position: int
    """Where the bytes at the start begin."""
    old_head: bytes
    new_head: bytes

    @property
    def breaks_cog(self) -> bool:
        """True where the file says that it is laid out as a COG, and then says that it no longer is."""
        return _INTACT in self.old_head


# --- changed where it is ----------------------------------------------------------------------------------------------


def edited(file: BinaryIO, tiff: Tiff, changes: Changes) -> Edit:
    """How to change tags of the first directory (None takes one away) where the file is.

    Of a COG the changed directory no longer lies before the pixels, and its header is made to say so to GDAL.

    Raises
    ------
    OutputError
        A classic TIFF would pass 4 GiB.
    """
    first = tiff.directories[0]
    start = _aligned(tiff.size, _STEP)
    content, _ = _laid_out(tiff, [_changed(first.entries, changes)], start, first.following)
    position = tiff.header_size - tiff.width
    file.seek(position)
    old_head = file.read(tiff.width + _GHOST_BYTES)
    found = old_head.find(_INTACT) if old_head[tiff.width :].startswith(_GHOST) else -1
    old_head = old_head[: tiff.width if found < 0 else found + len(_INTACT)]
    new_head = struct.pack(tiff.pointer, start) + old_head[tiff.width :].replace(_INTACT, _BROKEN)
    return Edit(tiff.size, bytes(start - tiff.size) + content, position, old_head, new_head)


def apply_edit(path: str, edit: Edit) -> None:
    """Append to a file what an edit has for its end, and only when that is on the disk change its start."""
    with open(path, "r+b", buffering=0) as file:
        _write(file, edit.size, edit.appended)
        _write(file, edit.position, edit.new_head)


def is_applied(path: str, edit: Edit) -> bool:
    """True where a file is as an edit leaves it, False where it is as before, but for what was appended in vain.

    Raises
    ------
    InputError
        It is neither: something else has changed it.
    """
    with open(path, "rb") as file:
        file.seek(edit.position)
        head = file.read(len(edit.old_head))
        size = file.seek(0, os.SEEK_END)
        tail = b""
        if edit.size <= size <= edit.size + len(edit.appended):
            file.seek(edit.size)
            tail = file.read()
        else:
            raise InputError(_changed_since(path, f"it has {size} bytes, {edit.size + len(edit.appended)} then"))
    if head == edit.new_head and tail == edit.appended:
        return True
    if head == edit.old_head and edit.appended.startswith(tail):
        return False
    raise InputError(_changed_since(path, "its directory is another"))


def _changed_since(path: str, how: str) -> str:
    return f"{path} was changed since its correction ({how}), and that cannot be taken back; move its undo file away to go on"


def revert_edit(path: str, edit: Edit) -> None:
    """Give a file the bytes that it had before an edit, whether that was applied wholly or in part."""
    with open(path, "r+b", buffering=0) as file:
        _write(file, edit.position, edit.old_head)
        file.truncate(edit.size)
        os.fsync(file.fileno())


def _write(file: BinaryIO, position: int, content: bytes) -> None:
    file.seek(position)
    while content:
        content = content[file.write(content) :]
    os.fsync(file.fileno())


def _changed(entries: Mapping[int, Entry], changes: Changes) -> dict[int, Entry]:
    merged = {**entries, **changes}
    return {tag: entry for tag, entry in merged.items() if entry is not None}


def _aligned(position: int, step: int) -> int:
    return -(-position // step) * step


def _check_size(tiff: Tiff, size: int) -> None:
    if not tiff.big and size > 2**32:
        raise OutputError(
            f"{tiff.name} would pass the 4 GiB of a classic TIFF (to {size} bytes); convert it first, with "
            "gdal_translate -co BIGTIFF=YES"
        )


def _laid_out(tiff: Tiff, directories: Sequence[Mapping[int, Entry]], start: int, last: int = 0) -> tuple[bytes, int]:
    """The bytes of a chain of directories from ``start`` on, and where the first of them lies.

    The last leads to ``last``. As in a COG of GDAL, where the blocks lie comes after everything else.
    """
    offsets, position = [], start
    places: dict[tuple[int, int], int] = {}
    for number, entries in enumerate(directories):
        offsets.append(_aligned(position, _STEP))
        position = offsets[-1] + tiff.directory_size(len(entries))
        for tag in sorted(set(entries) - _BLOCKS):
            position = _assign(tiff, places, (number, tag), entries[tag], position)
    for number, entries in enumerate(directories):
        for tag in sorted(set(entries) & _BLOCKS):
            position = _assign(tiff, places, (number, tag), entries[tag], position)
    _check_size(tiff, position)
    content = bytearray(position - start)
    for number, (entries, offset) in enumerate(zip(directories, offsets, strict=True)):
        rows = [struct.pack(tiff.number, len(entries))]
        for tag, entry in sorted(entries.items()):
            field, place = entry.raw, places.get((number, tag))
            if place is not None:
                _put(content, place - start, entry.raw)
                field = struct.pack(tiff.pointer, place)
            rows.append(struct.pack(tiff.row, tag, entry.kind, entry.count, field))
        rows.append(struct.pack(tiff.pointer, [*offsets[1:], last][number]))
        _put(content, offset - start, b"".join(rows))
    return bytes(content), offsets[0]


def _assign(tiff: Tiff, places: dict[tuple[int, int], int], key: tuple[int, int], entry: Entry, position: int) -> int:
    """Give the values of an entry that do not fit in its field the next place; return where the next but one is."""
    if entry.in_field or len(entry.raw) <= tiff.width:
        return position
    places[key] = _aligned(position, _STEP)
    return places[key] + len(entry.raw)


def _put(content: bytearray, start: int, piece: bytes) -> None:
    content[start : start + len(piece)] = piece


# --- laid out anew ----------------------------------------------------------------------------------------------------


def pixels_start(file: BinaryIO, tiff: Tiff) -> int | None:
    """Where all directories and their values end and the blocks begin, in a file that has them in this order.

    None for any other file, and for one with a tag that may say where in the file something lies.
    """
    end, first = 0, tiff.size
    for directory in tiff.directories:
        if not set(directory.entries) <= _WITHOUT_OFFSETS:
            return None
        end = max(end, directory.offset + tiff.directory_size(len(directory.entries)))
        for tag, entry in directory.entries.items():
            end = max(end, (place_of(tiff, entry) or 0) + size_of(entry))
            if entry.kind not in SIZES or (tag in OFFSETS and entry.kind not in INTEGERS):
                return None
            if tag in OFFSETS:
                offsets = read_numbers(file, tiff, entry)
                first = min(first, int(offsets[offsets > 0].min(initial=tiff.size)))
    return end if end <= first else None


def copy_laid_out(file: BinaryIO, tiff: Tiff, changes: Changes, path: str) -> bool:
    """Copy an open file whose directories lie before its blocks, as in a COG, with changed tags of the first directory.

    The blocks are moved together to make room. Nothing is written, and False returned, where they lie otherwise.

    Raises
    ------
    InputError
        A tag is damaged.
    OutputError
        A classic TIFF would pass 4 GiB.
    """
    pixels = pixels_start(file, tiff)
    if pixels is None:
        return False
    directories = [
        {tag: Entry(e.kind, e.count, read_values(file, tiff, e)) for tag, e in directory.entries.items()}
        for directory in tiff.directories
    ]
    directories[0] = _changed(directories[0], changes)
    start = min(_lowest(tiff, directory) for directory in tiff.directories)
    content, _ = _laid_out(tiff, [_moved(tiff, entries, 0) for entries in directories], start)
    shift = max(0, _aligned(start + len(content) - pixels, 16))
    _check_size(tiff, tiff.size + shift)
    content, first = _laid_out(tiff, [_moved(tiff, entries, shift) for entries in directories], start)
    file.seek(0)
    header = file.read(start)
    with open(path, "wb") as copy:
        copy.write(header[: tiff.header_size - tiff.width] + struct.pack(tiff.pointer, first))
        copy.write(header[tiff.header_size :])  # what a COG says of its layout stays true
        copy.write(content.ljust(pixels + shift - start, b"\0"))
        _copy_rest(file, pixels, copy)
    return True


def _copy_rest(file: BinaryIO, start: int, copy: BinaryIO) -> None:
    """Append all of an open file from ``start`` on to another, by the system itself where it can."""
    copy.flush()
    if hasattr(os, "copy_file_range"):
        with suppress(OSError):  # not between these two; what is missing is copied below
            while n := os.copy_file_range(file.fileno(), copy.fileno(), _RANGE_BYTES, offset_src=start):
                start += n
    file.seek(start)
    copy.seek(0, os.SEEK_END)
    shutil.copyfileobj(file, copy, _BUFFER_BYTES)


def _lowest(tiff: Tiff, directory: Directory) -> int:
    places = [place_of(tiff, entry) for entry in directory.entries.values()]
    return min([directory.offset, *(place for place in places if place is not None)])


def _moved(tiff: Tiff, entries: Mapping[int, Entry], shift_bytes: int) -> dict[int, Entry]:
    """A directory whose blocks lie further on; blocks at 0 were never written and stay so."""
    moved = dict(entries)
    kind = LONG8 if tiff.big else LONG
    for tag in set(entries) & set(OFFSETS):
        raw, stored = entries[tag].raw, tiff.order + INTEGERS[entries[tag].kind]
        offsets = np.frombuffer(raw, stored).astype(np.uint64)
        offsets[offsets > 0] += np.uint64(shift_bytes)
        moved[tag] = Entry(kind, offsets.size, offsets.astype(tiff.order + INTEGERS[kind]).tobytes())
    return moved
