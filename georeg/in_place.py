"""Correct a GeoTIFF where it is, its header alone, and take that back to the byte.

Before the file is touched, one beside it is told how to undo it. Whoever is killed at any moment leaves the old file or
the corrected one, and the next correction or undo clears away what was begun.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from georeg.errors import InputError, OutputError
from georeg.files import check_output, first_line, read_text, write_bytes
from georeg.geotiff import opened, read_back
from georeg.header import losses, new_tags, place_of_transform, placed_sidecar, said_by
from georeg.raster import Raster
from georeg.tiff import read_tiff, truncated_block
from georeg.tiff_edit import Edit, apply_edit, edited, is_applied, revert_edit

SUFFIX = ".georeg-undo.json"
"""Of the file that says how to undo the corrections of the file beside it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Undone:
    """What came of an undo."""

    restored: bool
    """False where the last correction had been cut short before it took effect: there was nothing to take back."""
    left: int
    """Earlier corrections that can still be taken back."""


@dataclass(frozen=True)
class _Step:
    """One correction."""

    edit: Edit
    sidecar: tuple[bytes, bytes] | None
    """GDAL's file of metadata before and after; None where it stays."""


def correct_in_place(raster: Raster, transform: Affine, *, tags: Mapping[str, str] = {}) -> str:
    """Give a GeoTIFF another geotransform by changing its header alone; the path of the file that undoes it is returned.

    Pixels, overviews and masks are not touched. GCPs and RPCs are dropped, and the log says so.

    Parameters
    ----------
    transform
        Pixel to map.
    tags
        Items of the metadata domain GEOREG.

    Raises
    ------
    InputError
        It is not a whole GeoTIFF of one page in a file of this computer, or was changed since it was last corrected.
    OutputError
        It cannot be written; it is as it was.
    """
    path = raster.path
    check_in_place(raster)
    steps = _settled(path)
    said = said_by(path)
    place = place_of_transform(raster, transform, said)
    with open(path, "rb") as file:
        tiff = read_tiff(file, path)
        edit = edited(file, tiff, new_tags(file, tiff, said, place, tags))
    old = _sidecar(path)
    new = placed_sidecar(old, place, path + ".aux.xml")
    step = _Step(edit, None if old is None or new is None or old == new else (old, new))
    _save(path, [*steps, step])
    try:
        apply_edit(path, edit)
        if step.sidecar is not None:
            write_bytes(step.sidecar[1], path + ".aux.xml")
        read_back(path, raster, raster.shape, transform)
    except BaseException as exc:
        _take_back(path, step)
        _save(path, steps)
        if isinstance(exc, OSError | RasterioError | CPLE_BaseError):
            raise OutputError(f"{path} cannot be changed: {_reason(exc)}; it is as it was") from exc
        raise
    beside = said_by(path).rpcs
    dropped = losses(raster, replace(said, rpcs=said.rpcs and not beside), place)
    for sentence in (*dropped, *_remarks(raster, edit, rpcs_beside=beside)):
        _log.warning(sentence)
    return path + SUFFIX


def undo(path: str) -> Undone:
    """Take back the last correction of a file by `correct_in_place`, to the byte.

    Raises
    ------
    InputError
        Nothing was corrected, or the file was changed since.
    OutputError
        It cannot be written.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path} does not exist; check the path")
    steps = _load(path)
    if not steps:
        raise InputError(
            f"{path} was not corrected in place: there is no {os.path.basename(path)}{SUFFIX} beside it; if the file was moved, "
            "put that file beside it again"
        )
    _check_access(path)
    step, left = steps[-1], steps[:-1]
    restored = is_applied(path, step.edit)
    if restored and step.sidecar is not None and _sidecar(path) not in (None, *step.sidecar):
        raise InputError(
            f"{path}.aux.xml was changed since {os.path.basename(path)} was corrected; move it away, and undo brings "
            "back the one from before"
        )
    try:
        _take_back(path, step)
        _save(path, left)
    except OSError as exc:
        raise OutputError(f"{path} cannot be written: {_reason(exc)}; run undo again") from exc
    return Undone(restored, len(left))


def check_in_place(raster: Raster) -> None:
    """Make sure that a raster can be corrected in place.

    Raises
    ------
    InputError
        It is not a whole GeoTIFF of one page in a file of this computer.
    OutputError
        There is no permission.
    """
    path, instead = raster.path, "write a corrected copy instead"
    if not os.path.isfile(path):
        raise InputError(f"{path} is not a file of this computer, and cannot be corrected in place; {instead}")
    if os.path.islink(path):
        raise InputError(f"{path} is a link; give the file that it leads to, {os.path.realpath(path)}")
    if raster.driver != "GTiff":
        raise InputError(f"{path} is {raster.driver}, and only a GeoTIFF can be corrected in place; {instead}")
    with opened(path) as dataset:
        pages = len(dataset.subdatasets)
    if pages:
        raise InputError(f"{path} has {pages} pages, and only a GeoTIFF of one can be corrected in place; {instead}")
    _check_access(path)
    missing = truncated_block(path)
    if missing:
        raise InputError(f"{path} is truncated: {missing} lies beyond its end; copy or download it again")


def _check_access(path: str) -> None:
    if not os.access(path, os.W_OK):
        raise OutputError(f"no permission to change {path}; write a corrected copy instead")
    check_output(path + SUFFIX, (), overwrite=True)


def _remarks(raster: Raster, edit: Edit, *, rpcs_beside: bool) -> list[str]:
    """A sentence for each thing that is not as good as before."""
    sentences = []
    if rpcs_beside:
        sentences.append(f"the file with RPCs beside {raster.name} was left: it does not hold the correction")
    if edit.breaks_cog:
        sentences.append(
            f"{raster.name} is still a GeoTIFF but no longer a cloud optimised one, as GDAL will say; undo it and write a "
            "corrected copy where that matters"
        )
    return sentences


def _settled(path: str) -> list[_Step]:
    """The corrections of a file that can be undone, once one that was cut short has been cleared away."""
    steps = _load(path)
    if steps and not is_applied(path, steps[-1].edit):
        _take_back(path, steps[-1])
        _save(path, steps := steps[:-1])
    return steps


def _take_back(path: str, step: _Step) -> None:
    """Undo a correction that was applied wholly or in part. GDAL's file goes first: beside an old one it is believed."""
    if step.sidecar is not None and _sidecar(path) in (None, step.sidecar[1]):
        write_bytes(step.sidecar[0], path + ".aux.xml")
    revert_edit(path, step.edit)


def _sidecar(path: str) -> bytes | None:
    if not os.path.exists(path + ".aux.xml"):
        return None
    with open(path + ".aux.xml", "rb") as file:
        return file.read()


def _load(path: str) -> list[_Step]:
    """The corrections of a file, the last one last; none where nothing says so."""
    if not os.path.exists(path + SUFFIX):
        return []
    try:
        return [_decoded(step) for step in json.loads(read_text(path + SUFFIX))["steps"]]
    except (ValueError, KeyError, TypeError) as exc:
        raise InputError(
            f"{path}{SUFFIX} is damaged ({type(exc).__name__}), so that no correction can be taken back; move it away to "
            "keep the file as it is"
        ) from exc


def _save(path: str, steps: Sequence[_Step]) -> None:
    """Write what undoes the corrections of a file; remove it where there are none."""
    if steps:
        content = {"georeg": "how to undo corrections of the file beside this one", "steps": list(map(_encoded, steps))}
        write_bytes(json.dumps(content, indent=1).encode() + b"\n", path + SUFFIX)
    else:
        with suppress(FileNotFoundError):
            os.remove(path + SUFFIX)
    with suppress(OSError):  # Windows opens no folders
        folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _encoded(step: _Step) -> dict[str, object]:
    edit, pair = step.edit, step.sidecar
    return {
        "size": edit.size,
        "appended": _text(edit.appended),
        "position": edit.position,
        "old_head": _text(edit.old_head),
        "new_head": _text(edit.new_head),
        "sidecar": None if pair is None else [_text(pair[0]), _text(pair[1])],
    }


def _decoded(step: dict[str, object]) -> _Step:
    numbers = [int(str(step[name])) for name in ("size", "position")]
    appended, old_head, new_head = (_bytes(step[name]) for name in ("appended", "old_head", "new_head"))
    pair = step["sidecar"]
    edit = Edit(numbers[0], appended, numbers[1], old_head, new_head)
    return _Step(edit, (_bytes(pair[0]), _bytes(pair[1])) if isinstance(pair, list) else None)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: object) -> bytes:
    return base64.b64decode(str(text), validate=True)


def _reason(exc: BaseException) -> str:
    return (
        first_line(exc)
        if isinstance(exc, RasterioError | CPLE_BaseError)
        else (getattr(exc, "strerror", None) or str(exc)).lower()
    )
