"""Write a file whole or not at all: under a temporary name beside its destination, renamed once it is complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from georeg.errors import InputError, OutputError
from georeg.temporaries import SIDECARS as SIDECARS
from georeg.temporaries import held, is_new, put_in_place, written


def check_output(path: str, inputs: Iterable[str], *, overwrite: bool) -> None:
    """Make sure that ``path`` can be written without losing anything.

    Raises
    ------
    OutputError
        It is an input, or exists while ``overwrite`` is off, or its folder is absent or not writable.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise OutputError(f"the folder {folder} does not exist; create it or choose another output")
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder; give the name of a file")
    for name in inputs:
        if _same_file(path, name):
            raise OutputError(f"{path} would replace {name}, which this run reads or writes; choose another output")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists; choose another output or give --overwrite")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"no permission to write in {folder}; choose another folder")


def _same_file(path: str, other: str) -> bool:
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def read_text(path: str) -> str:
    """The whole of a text file, without the mark that some editors put at its start.

    Raises
    ------
    InputError
        It cannot be read, or is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {(exc.strerror or str(exc)).lower()}; check the path") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"{path} is not text; give a file that georeg wrote") from exc


def write_bytes(content: bytes, path: str) -> None:
    """Write a whole file.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """A name beside ``path``, of an empty file: renamed to it, with its sidecars, if the block ends well, else removed.

    A name that was given by this function is given again: what is written there is renamed or removed by the outer block.
    """
    if is_new(path):
        yield path
        return
    with _told(path), held(path) as mark:
        new = mark + ".new"
        open(new, "xb").close()
        yield new
        for suffix in ("", *SIDECARS):
            if os.path.exists(new + suffix):
                _sync(new + suffix)
        put_in_place(mark, path)


@contextmanager
def replacing_set(path: str, protected: Iterable[str], *, overwrite: bool) -> Iterator[str]:
    """A name in a temporary folder beside ``path``; the files made in that folder move beside it if the block ends well.

    For formats of several files. All of them are checked by `check_output` before the first is moved.
    """
    folder, name = os.path.split(os.path.abspath(path))
    with _told(path), held(path) as mark:
        new = mark + ".new"
        os.mkdir(new)
        os.mkdir(mark + ".old")
        yield os.path.join(new, name)
        made = sorted(os.listdir(new))
        for file in made:
            check_output(os.path.join(folder, file), protected, overwrite=overwrite)
        for file in made:
            if os.path.isfile(os.path.join(new, file)):
                _sync(os.path.join(new, file))
        put_in_place(mark, path)


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What fails while ``path`` is written is an `OutputError`."""
    before = len(written())
    try:
        yield
    except (RasterioError, CPLE_BaseError) as exc:
        raise OutputError(
            f"{path} cannot be written: {first_line(exc)} (is the disk full, or the source damaged?); "
            "nothing was left under its name"
        ) from exc
    except OSError as exc:
        left = "it is there without its sidecars" if path in written()[before:] else "nothing was left under its name"
        raise OutputError(f"{path} cannot be written: {_reason(exc, path)}; {left}") from exc


def _sync(path: str) -> None:
    with open(path, "r+b") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())


def first_line(exc: BaseException) -> str:
    """What went wrong in the words of GDAL, without those that rasterio puts around them."""
    lines = str(exc.__cause__ or exc).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(exc).__name__


def _reason(exc: OSError, path: str) -> str:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "the disk is full, free some space or choose another folder"
    reason = (exc.strerror or str(exc)).lower()
    name = exc.filename if isinstance(exc.filename, str) else ""
    beside = os.path.dirname(os.path.abspath(name)) == os.path.dirname(os.path.abspath(path))
    return reason if not name or (beside and os.path.basename(name).startswith(".")) else f"{name}: {reason}"
