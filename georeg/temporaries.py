"""Names for what is being written: held while their run lives, known as dead when it does not, and cleared away.

A temporary is a mark, a file ``.NAME.georeg-XXXXXXXX`` beside the destination that its run keeps locked, and whatever
begins with the mark's name and a dot: ``.new`` what is written, ``.old`` what it is about to replace. The system ends the
lock with the process, however that ends, so that the next run to write there can tell what is left of a dead one.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

SIDECARS = (".ovr", ".msk", ".msk.ovr", ".aux.xml")
"""Files that may stand beside a GeoTIFF and belong to it."""
FOREIGN_S = 86400.0
"""Age at which what another machine left is taken for dead: not every network file system tells it of locks."""
_fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None
_MARK = re.compile(r"(\..+\.georeg-[a-z0-9_]{8})(?:\..*)?", re.DOTALL)
_Part = tuple[str, str, str]
"""Where a file is while it is new, where the one that it replaces goes, and its own place."""

_live: dict[str, int] = {}
"""Marks that this process holds, with the handles of their locks."""
_written: list[str] = []
_placing = threading.Lock()


@contextmanager
def held(path: str) -> Iterator[str]:
    """The mark of a new temporary beside ``path``; it goes, with what belongs to it, when the block ends.

    What dead runs have left in the folder goes first.
    """
    folder, name = os.path.split(os.path.abspath(path))
    sweep(folder)
    mark, handle = _make(folder, name)
    _live[mark] = handle
    try:
        yield mark
    finally:
        _remove_parts(mark)
        os.close(handle)
        with suppress(OSError):
            os.remove(mark)
        del _live[mark]


def is_new(path: str) -> bool:
    """True for what is being written under a mark of this process."""
    return os.path.abspath(path).removesuffix(".new") in _live and path.endswith(".new")


def put_in_place(mark: str, path: str) -> None:
    """Give what is complete under a mark its name, with its sidecars; those of the file that it replaces go.

    The old sidecars step aside, the file is renamed, the new sidecars follow: at no moment does a sidecar stand beside a
    file that it does not describe. Killed in between, which is a matter of microseconds and only where there are
    sidecars, the file, old or new, lacks some until the next run that writes into the folder puts them back.
    """
    main, others = _parts(mark, path)
    others = [part for part in others if os.path.lexists(part[0]) or os.path.lexists(part[2])]
    if others:
        _note(_live[mark], {"into": os.path.basename(path)})
    with _placing:
        try:
            for _, old, place in others:
                if os.path.lexists(place):
                    os.replace(place, old)
            os.replace(main[0], path)
        finally:
            if not os.path.lexists(main[0]):
                _written.append(path)
            _settle(main, others)
            if others:
                with suppress(OSError):
                    _note(_live[mark], {"into": ""})
    _sync_folder(os.path.dirname(os.path.abspath(path)))


def written() -> tuple[str, ...]:
    """What this process has put in its place since `forget_written`."""
    return tuple(_written)


def forget_written() -> None:
    """A new run begins in this process."""
    _written.clear()


def abandon(wait_s: float) -> None:
    """Remove every temporary of this process, which must end right after: nothing can get its name any more."""
    if not _placing.acquire(timeout=wait_s):
        return  # a renaming hangs: the next run clears up
    for mark, handle in list(_live.items()):
        _remove_parts(mark)
        with suppress(OSError):
            os.close(handle)  # else Windows does not remove it
        with suppress(OSError):
            os.remove(mark)


def sweep(folder: str) -> None:
    """Clear away what dead runs have left in a folder; what may belong to a living one stays."""
    with suppress(OSError):  # it cannot be listed, which whoever writes there will say
        found = {match[1] for match in map(_MARK.fullmatch, os.listdir(folder)) if match}
        for mark in sorted(found):
            with suppress(OSError):  # of another user, or open on Windows
                _bury(os.path.join(folder, mark))


def _make(folder: str, name: str) -> tuple[str, int]:
    """A mark that is there and locked, where the file system has locks."""
    while True:
        handle, mark = tempfile.mkstemp(prefix=f".{name[:40]}.georeg-", dir=folder)
        if lock(handle) is not False and _is_at(handle, mark):
            with suppress(OSError):  # the disk is full, which whoever writes the file will say
                _note(handle, {"host": socket.gethostname()})
            return mark, handle
        os.close(handle)  # another run took it for dead before it was locked


def lock(handle: int) -> bool | None:
    """Lock an open file until it is closed: True once the lock is ours, False while it is another's, None where there are no
    locks."""
    if _fcntl is None:
        return None
    try:
        _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _bury(mark: str) -> None:
    """Remove a temporary if its run is dead, after what that run was about to do with sidecars."""
    with _claimed(mark) as notes:
        if notes is None:
            return
        if notes.get("into"):
            _settle(*_parts(mark, os.path.join(os.path.dirname(mark), notes["into"])))
        _remove_parts(mark)


@contextmanager
def _claimed(mark: str) -> Iterator[dict[str, str] | None]:
    """What is noted on the mark of a dead run, which goes at the end; None where the run may live."""
    try:
        handle = os.open(mark, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        yield {}  # a mark goes last: what outlives it was made in the moment in which its run was ended
        return
    with open(handle, encoding="ascii") as file:
        if _fcntl is not None and not (lock(handle) and _is_at(handle, mark)):
            yield None
            return
        notes = _read_notes(file.read())
        if notes.get("host", socket.gethostname()) != socket.gethostname() and _age_s(mark) < FOREIGN_S:
            yield None
            return
        if _fcntl is not None:
            yield notes
            os.remove(mark)
            return
    os.remove(mark)  # Windows refuses while its run has it open
    yield notes


def _note(handle: int, values: dict[str, str]) -> None:
    os.write(handle, json.dumps(values).encode() + b"\n")


def _read_notes(text: str) -> dict[str, str]:
    notes: dict[str, str] = {}
    for line in text.splitlines():
        with suppress(ValueError):  # its run was killed while it wrote
            notes |= json.loads(line)
    return notes


def _age_s(mark: str) -> float:
    """Seconds since anything of a temporary was changed."""
    newest = max(os.lstat(path).st_mtime for path in (mark, *_belonging(mark)) if os.path.lexists(path))
    return time.time() - newest


def _parts(mark: str, path: str) -> tuple[_Part, list[_Part]]:
    """The file that is to be ``path``, and what stands beside it: the sidecars, or what else was made in a folder."""
    new, old = mark + ".new", mark + ".old"
    if not os.path.isdir(new):
        return (new, old, path), [(new + suffix, old + suffix, path + suffix) for suffix in SIDECARS]
    folder, name = os.path.split(os.path.abspath(path))
    names = sorted({*os.listdir(new), *os.listdir(old)} - {name})
    main, *others = [
        (os.path.join(new, file), os.path.join(old, file), os.path.join(folder, file)) for file in (name, *names)
    ]
    return main, others


def _settle(main: _Part, others: list[_Part]) -> None:
    """Put beside the file in its place what describes it, never over anything: the new if it is new, else the old."""
    replaced = not os.path.lexists(main[0])
    for new, old, place in others:
        source = new if replaced else old
        if os.path.lexists(source) and not os.path.lexists(place):
            os.replace(source, place)


def _belonging(mark: str) -> list[str]:
    folder, name = os.path.split(mark)
    return [os.path.join(folder, file) for file in os.listdir(folder) if file.startswith(name + ".")]


def _remove_parts(mark: str) -> None:
    with suppress(OSError):
        for path in _belonging(mark):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.remove(path)


def _sync_folder(folder: str) -> None:
    """So that a power cut keeps the new name, where the system can open a folder."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
