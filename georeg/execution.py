"""Run tile tasks on threads or on any executor of `concurrent.futures`, in order, with bounded memory, progress and cancel."""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from georeg import __version__
from georeg.errors import ExecutionError, InputError
from georeg.remote import Traffic, current
from georeg.tasks import LIMITS, Done, Errand, Parcels

LEAST_IN_FLIGHT = 16
"""So many tasks at least an executor that is not ours is given at once."""
Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress that goes nowhere."""


def available_threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(n_threads: int | None, executor: Executor | None) -> None:
    """Make sure that only one of them says who works.

    Raises
    ------
    InputError
        Both are given.
    """
    if executor is not None and n_threads is not None:
        raise InputError(f"--threads is {n_threads}, but the work is done elsewhere; leave it out")


@contextmanager
def workers(n_threads: int | None = None, executor: Executor | None = None) -> Iterator[Executor]:
    """A pool of threads, or an executor that is not ours to shut down; nothing that it was given is left when this ends.

    While it lives, the pools of OpenCV and BLAS are switched off so that they do not fight, and all executors compute alike.

    Raises
    ------
    InputError
        Both are given.
    """
    check_workers(n_threads, executor)
    _give_back()
    with LIMITS:
        if executor is not None:
            lent = Lent(executor)
            try:
                yield lent
            finally:
                lent.withdraw()
            return
        pool = ThreadPoolExecutor(n_threads or available_threads(), thread_name_prefix="georeg")
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Lent(Executor):
    """An executor that is not ours; tasks go to other processes as bytes. Its futures are read by `received`."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self._parcels, self._sent = executor, Parcels(), set[Future[Any]]()
        self._threads = isinstance(executor, ThreadPoolExecutor)
        self.here: Executor = executor if self._threads else ThreadPoolExecutor(available_threads(), "georeg")
        self._total, self._read = current(), dict[str, Traffic]()
        self.in_flight = max(2 * n_workers(executor), LEAST_IN_FLIGHT)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Of one task, the only argument."""
        (task,) = args
        try:
            if self._threads:
                future = self._executor.submit(function, task)
            else:
                parcels = self._parcels
                errand = Errand(parcels.run, parcels.packed_once(function), parcels.packed(task))
                future = self._executor.submit(pickle.loads, pickle.dumps(errand))
        except RuntimeError as exc:  # broken, or shut down
            raise _lost(exc) from exc
        self._sent.add(future)
        future.add_done_callback(self._sent.discard)
        return future

    def received(self, future: Future[Any]) -> Any:
        """What a task gave.

        Raises
        ------
        ExecutionError
            Nothing, and through no fault of its own.
        """
        try:
            done = future.result()
        except (BrokenExecutor, CancelledError) as exc:
            raise _lost(exc) from exc
        except ImportError as exc:
            raise ExecutionError(
                f"a worker cannot import georeg ({exc}); install georeg {__version__} for all workers"
            ) from exc
        except Exception as exc:
            if type(exc).__module__.partition(".")[0] in ("dask", "distributed"):
                raise _lost(exc) from exc
            raise
        if isinstance(done, Done):
            self._count(done)
            return done.value
        return done

    def _count(self, done: Done) -> None:
        """Add what a process has read over the network since it was heard of last."""
        if self._total is not None and done.read.n_requests:
            before = self._read.get(done.process, Traffic())
            self._total.n_bytes += max(done.read.n_bytes - before.n_bytes, 0)
            self._total.n_requests += max(done.read.n_requests - before.n_requests, 0)
            self._total.sizes.update(done.read.sizes)
            if done.read.n_requests >= before.n_requests:
                self._read[done.process] = done.read

    def withdraw(self) -> None:
        """Cancel what has not started, and wait for what has."""
        wait([future for future in list(self._sent) if not future.cancel()])
        if not self._threads:
            self.here.shutdown()


def n_workers(executor: Executor) -> int:
    """As far as it tells."""
    client = getattr(executor, "_client", None)  # of Dask
    if client is not None and not client.asynchronous:
        return sum(client.nthreads().values())
    return int(getattr(executor, "_max_workers", available_threads()))


def _lost(exc: BaseException) -> ExecutionError:
    reason = " ".join(f"{type(exc).__name__}: {exc}".split()).rstrip(":. ")
    return ExecutionError(
        f"the workers gave up ({reason}); the output was not written: look into their logs, above all whether they "
        "ran out of memory, and run again"
    )


def _give_back() -> None:
    """Return what is freed to the system: glibc keeps it for each thread, and in pieces."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def near(executor: Executor) -> Executor:
    """For tasks too small to be sent away, or that need what only this process has: threads here."""
    return executor.here if isinstance(executor, Lent) else executor


def run_ordered(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    executor: Executor,
) -> Iterator[Result]:
    """Results of ``function`` for every task, in the order of the tasks.

    A few tasks for each worker are submitted and not yet consumed. The first exception cancels what has not started and is
    raised here.
    """
    lent = executor if isinstance(executor, Lent) else None
    in_flight = lent.in_flight if lent else 2 * available_threads()
    received: Callable[[Future[Result]], Result] = lent.received if lent else Future.result
    pending: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            pending.append(executor.submit(function, task))
            if len(pending) >= in_flight:
                yield received(pending.popleft())
        while pending:
            yield received(pending.popleft())
    finally:
        for future in pending:
            future.cancel()
        _give_back()


def at_once(function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], n_threads: int | None) -> list[Result]:
    """Results of ``function`` of each of a few tuples of arguments, on threads of this process."""
    _give_back()
    with ThreadPoolExecutor(n_threads or available_threads()) as pool:
        results = list(pool.map(lambda arguments: function(*arguments), tasks))
    _give_back()
    return results


def counted(results: Iterable[Result], total: int, stage: str, progress: Progress) -> Iterator[Result]:
    """The same results, each of which is reported once it is there."""
    for done, result in enumerate(results):
        progress(stage, done, total)
        yield result
    progress(stage, total, total)
