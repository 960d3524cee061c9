"""Tile tasks on their way to a process that is not ours, and what is done with them there.

A task travels as bytes: paths, windows and models, never pixels or open files. Where it arrives, rasters are opened once for
all tasks of a run, and closed when no task has come for a while.
"""

from __future__ import annotations

import io
import os
import pickle
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
from threadpoolctl import threadpool_limits

from georeg import __version__
from georeg.errors import ExecutionError
from georeg.models import Model
from georeg.placement import Placement
from georeg.raster import Raster
from georeg.reader import Reader
from georeg.remote import Traffic, metered

IDLE_S = 10.0
"""A process closes the files of a run for which no task has come for so long."""
PROCESS = uuid.uuid4().hex
"""Tells this process from all others."""


class _Limits:
    """One thread each in OpenCV and BLAS while anybody wants that; before and after, what it was."""

    def __init__(self) -> None:
        self._lock, self._n, self._undo = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._n += 1
            if self._n == 1:
                self._undo.callback(cv2.setNumThreads, cv2.getNumThreads())
                cv2.setNumThreads(1)
                self._undo.enter_context(threadpool_limits(limits=1, user_api="blas"))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n -= 1
            if self._n == 0:
                self._undo.close()


LIMITS = _Limits()


@dataclass(frozen=True)
class _Made:
    """How to make what is not copied."""

    make: Callable[..., Any]
    given: tuple[Any, ...]


class Parcels:
    """Packs the tasks of one run."""

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex
        self._once: dict[int, tuple[Any, bytes]] = {}

    def packed(self, value: Any) -> bytes:
        """Bytes that `run_task` understands."""
        file = io.BytesIO()
        _Pickler(file, self).dump(value)
        return zlib.compress(file.getbuffer(), 1)

    def packed_once(self, value: Any, made: Callable[[Any], Any] = lambda value: value) -> bytes:
        """The same bytes each time for the same object, of which ``made`` says how to make it: unpacked once in a process."""
        if id(value) not in self._once:
            self._once[id(value)] = (value, self.packed(made(value)))  # with the object, so that its id remains its own
        return self._once[id(value)][1]


class _Pickler(pickle.Pickler):
    """Describes what is open, and packs once what many tasks have in common."""

    def __init__(self, file: io.BytesIO, parcels: Parcels) -> None:
        super().__init__(file, protocol=5)
        self._parcels = parcels

    def reducer_override(self, value: Any) -> Any:
        made = _HOW.get(type(value))
        if made is not None:
            return _kept, (self._parcels.run, self._parcels.packed_once(value, made))
        if isinstance(value, Model):  # without what it has computed since
            return type(value), tuple(getattr(value, field.name) for field in fields(value))
        return NotImplemented


@dataclass(frozen=True)
class Errand:
    """A task on its way: unpickling it does it.

    So ``pickle.loads`` can be asked to do it, which exists everywhere: Dask waits for ever where it cannot import a function,
    but what fails within one is told.
    """

    run: str
    function: bytes
    task: bytes

    def __reduce__(self) -> tuple[Any, ...]:
        return run_task, (__version__, self.run, self.function, self.task)


def _placement(place: Placement) -> _Made:
    return _Made(Placement, (_from_anywhere(place.raster), place.crs, place.model))


def _reader(reader: Reader) -> _Made:
    raster = _from_anywhere(reader.raster)
    paths = (raster.path,) if raster.mask is None else (raster.path, raster.mask)
    return _Made(_opened, (raster, reader.least_alpha, {path: n for path in paths if (n := _size(path)) is not None}))


_HOW: dict[type, Callable[[Any], _Made]] = {Placement: _placement, Reader: _reader}


def _from_anywhere(raster: Raster) -> Raster:
    """With paths that lead to its files from any folder."""
    mask = raster.mask if raster.mask is None else _absolute(raster.mask)
    return replace(raster, path=_absolute(raster.path), mask=mask)


def _absolute(path: str) -> str:
    return os.path.abspath(path) if os.path.exists(path) else path


def _size(path: str) -> int | None:
    """Of a file, bytes; None where there is none."""
    return os.path.getsize(path) if os.path.isfile(path) else None


def _opened(raster: Raster, least_alpha: int, sizes: dict[str, int]) -> Reader:
    """A reader of the files that the sender of the task means, of ``sizes`` in bytes."""
    for path, n_bytes in sizes.items():
        here = _size(path)
        if here != n_bytes:
            found = "does not see it" if here is None else f"finds {here} bytes there"
            raise ExecutionError(
                f"{path} has {n_bytes} bytes, and a worker {found}; all workers must reach the same files by the same "
                "paths: put them on a disk or a server that all share"
            )
    return Reader(raster, least_alpha)


class _Run:
    """What this process keeps of a run between its tasks."""

    def __init__(self) -> None:
        self.n_tasks, self.last_s = 0, 0.0
        self.kept: dict[bytes, Any] = {}
        self.traffic: list[Traffic] = []
        self.files = ExitStack()
        self.lock = threading.RLock()

    def read(self) -> Traffic:
        """What was read over the network since the run began here."""
        sizes = {name: size for traffic in self.traffic for name, size in traffic.sizes.copy().items()}
        return Traffic(sum(t.n_bytes for t in self.traffic), sum(t.n_requests for t in self.traffic), sizes)


_RUNS: dict[str, _Run] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Done:
    """What a task gave."""

    value: Any
    process: str
    """Which did it."""
    read: Traffic
    """What this process has read over the network in this run so far."""


def run_task(version: str, run: str, function: bytes, task: bytes) -> Done:
    """Do one task here.

    Raises
    ------
    ExecutionError
        Another version of georeg is installed here than the one that sent the task.
    """
    if version != __version__:
        raise ExecutionError(
            f"a worker has georeg {__version__}, and this is {version}; install the same version on all workers"
        )
    with _working(run) as here, LIMITS:
        value = _kept(run, function)(_unpacked(task))
        return Done(value, PROCESS, here.read())


@contextmanager
def _working(run: str) -> Iterator[_Run]:
    """What is kept of a run; files of others, which nobody works at, are closed."""
    with _LOCK:
        if run not in _RUNS:
            _close_idle(0)
            _RUNS[run] = _Run()
        here = _RUNS[run]
        here.n_tasks += 1
    try:
        yield here
    finally:
        with _LOCK:
            here.n_tasks, here.last_s = here.n_tasks - 1, time.monotonic()
            _look_again()


def _close_idle(idle_s: float) -> None:
    now = time.monotonic()
    for name, run in list(_RUNS.items()):
        if not run.n_tasks and now - run.last_s >= idle_s:
            _RUNS.pop(name).files.close()


_WATCH: list[threading.Timer] = []


def _look_again() -> None:
    """Have the files closed that are not used for `IDLE_S`, by a thread that looks after them."""
    if not _WATCH:
        _WATCH.append(threading.Timer(IDLE_S, _watched))
        _WATCH[0].daemon = True
        _WATCH[0].start()


def _watched() -> None:
    with _LOCK:
        _WATCH.clear()
        _close_idle(IDLE_S)
        if _RUNS:
            _look_again()


def _unpacked(packed: bytes) -> Any:
    return pickle.loads(zlib.decompress(packed))


def _kept(run: str, packed: bytes) -> Any:
    """What is in a parcel: the same object for all tasks of a run, closed with it."""
    here = _RUNS[run]
    with here.lock:
        if packed not in here.kept:
            value = _unpacked(packed)
            if isinstance(value, _Made):
                with metered() as traffic:
                    value = value.make(*value.given)
                here.traffic.append(traffic)
            here.kept[packed] = here.files.enter_context(value) if isinstance(value, Reader) else value
        return here.kept[packed]
