"""Run tile tasks on threads, in order, with bounded memory, progress and cancel."""

from __future__ import annotations

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2
from threadpoolctl import threadpool_limits

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress that goes nowhere."""


def available_threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def workers(n_threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads; while it lives, the pools of OpenCV and BLAS are switched off so that they do not fight."""
    _give_back()
    before = cv2.getNumThreads()
    pool = ThreadPoolExecutor(n_threads or available_threads(), thread_name_prefix="georeg")
    try:
        cv2.setNumThreads(1)
        with threadpool_limits(limits=1, user_api="blas"):
            yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(before)


def _give_back() -> None:
    """Return what earlier stages have freed to the system: glibc keeps it for each thread, and a new stage has other threads."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def run_ordered(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    executor: Executor,
    *,
    in_flight: int = 2 * available_threads(),
) -> Iterator[Result]:
    """Results of ``function`` for every task, in the order of the tasks.

    At most ``in_flight`` tasks are submitted and not yet consumed. The first exception cancels what has not started
    and is raised here.
    """
    pending: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            pending.append(executor.submit(function, task))
            if len(pending) >= in_flight:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def counted(results: Iterable[Result], total: int, stage: str, progress: Progress) -> Iterator[Result]:
    """The same results, each of which is reported once it is there."""
    for done, result in enumerate(results):
        progress(stage, done, total)
        yield result
    progress(stage, total, total)
