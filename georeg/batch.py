"""Many targets aligned to one reference, each by itself: what is refused stops none of the others."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from georeg.align import Alignment, concluded, match_onto
from georeg.apply import apply, check_names, made_folder
from georeg.device import check_device
from georeg.errors import GeoregError, InputError, OutputError, UnforeseenError
from georeg.execution import (
    Progress,
    available_threads,
    check_workers,
    counted,
    n_workers,
    run_ordered,
    silent,
    workers,
)
from georeg.files import check_output
from georeg.ledger import Ledger, Task, read_ledger, tasks_of, work_of
from georeg.masks import with_mask
from georeg.options import BatchOptions, DeviceKind, FitOptions, InputOptions, LimitOptions, MatchOptions, WriteOptions
from georeg.raster import check_bands, open_reference
from georeg.reader import Reader
from georeg.sanity import check_options
from georeg.scene import Outcome as Outcome
from georeg.scene import Scene as Scene
from georeg.scene import remembered
from georeg.search import check_matching
from georeg.terminal import unforeseen

PathLike = str | os.PathLike[str]
_Align = Callable[[str], Alignment]


def align_all(
    reference: PathLike,
    targets: Sequence[PathLike],
    folder: PathLike | None = None,
    *,
    inputs: InputOptions | None = None,
    matching: MatchOptions | None = None,
    fitting: FitOptions | None = None,
    limits: LimitOptions | None = None,
    writing: WriteOptions | None = None,
    batch: BatchOptions | None = None,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
    progress: Progress = silent,
) -> Iterator[Scene]:
    """Align each of many targets to one reference, exactly as `georeg.align` and `georeg.apply` would do it alone.

    As many targets are worked at as there are threads, each by one; of fewer targets each has several. The reference is opened
    once, and what was decoded of it is kept for the next. While this runs, OpenCV, BLAS and GDAL's cache are bounded in the whole
    process. Closing the iterator, or what is raised from it, stops all and leaves no half-written file.

    >>> scenes = georeg.align_all("reference.tif", ["a.tif", "b.tif"], "aligned/")  # doctest: +SKIP
    >>> [(scene.name, scene.outcome) for scene in scenes]  # doctest: +SKIP
    [('a.tif', 'aligned'), ('b.tif', 'refused')]

    Parameters
    ----------
    reference, targets
        Paths of rasters, as in `georeg.align`.
    folder
        What is aligned is written here, into a file of the target's name, as by `georeg.apply_all`; it is made if need be.
        None: nothing is written, but with ``writing.in_place`` each target is corrected where it is.
    inputs, matching, fitting, limits, writing
        Options of the stages, for all targets.
    batch
        What is kept of the reference, and where it is noted what became of each target: with a folder, or where a manifest is
        named, what the same call has done before is skipped.
    executor
        What matches and computes pixels, as in `georeg.align`: each worker a target of its own, where these are as many as the
        workers, else all of them the tiles of one target after the other.
    device
        What correlates windows and interpolates, as in `georeg.align` and `georeg.apply`.
    progress
        Called with ("scenes", done, total).

    Returns
    -------
    scenes
        What became of each target, in their order, as soon as it and those before it are done; a few more are worked at ahead.
        What georeg refuses is recorded, and what nobody foresaw is, too, as ``failed``: it stops none of the others.

    Raises
    ------
    InputError
        The reference cannot be used, there are no targets, or options contradict each other.
    OutputError
        Before any work: two targets have one name, an output exists, and was not made by this very call, or is an input, or the
        folder cannot be made. Later: the manifest cannot be written.
    """
    inputs, matching, writing = inputs or InputOptions(), matching or MatchOptions(), writing or WriteOptions()
    fitting, limits, batch = fitting or FitOptions(), limits or LimitOptions(), batch or BatchOptions()
    paths = [os.fspath(target) for target in targets]
    check_options(limits)
    check_matching(matching)
    check_workers(matching.threads, executor)
    check_device(device, executor)
    _check(paths, folder, writing, batch)
    if inputs.tgt_mask is not None and len(paths) > 1:
        raise InputError(
            f"--tgt-mask is of one target, {len(paths)} were given; run georeg align for each with its own mask"
        )
    raster = with_mask(open_reference(reference, nodata=inputs.ref_nodata), inputs.ref_mask)
    check_bands(raster, inputs.ref_bands)
    work = work_of(raster.path, (inputs, matching, fitting, limits, writing), device)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(made_folder(os.fspath(folder)))
        drawn = (inputs.gcp, inputs.area, inputs.ref_mask, inputs.tgt_mask)
        taken = [path for path in (os.fspath(reference), *raster.files, *drawn) if path is not None]
        tasks = tasks_of(paths, folder, writing)
        ledger = read_ledger(batch, folder, work, tasks, taken, writing)
        tasks = ledger.planned(tasks)
        _check_outputs(tasks, writing, taken)
        n_threads, n_open = matching.threads or available_threads(), sum(task.known is None for task in tasks)
        at_once = min(n_threads, max(n_open, 1))
        if executor is None:
            matching = replace(matching, threads=n_threads // at_once)
        reader = Reader(raster, kept_bytes=batch.cache_mb * 10**6)
        aligning = _Aligning(reader, inputs, matching, fitting, limits, device)
        made = _Batch(aligning, writing, executor, ledger)
        return counted(made.scenes(tasks, at_once, stack.pop_all()), len(tasks), "scenes", progress)


def _check(paths: Sequence[str], folder: PathLike | None, writing: WriteOptions, batch: BatchOptions) -> None:
    """Raise for options that contradict each other."""
    if not paths:
        raise InputError("no target was given; give at least one")
    if writing.uncertainty is not None:
        raise InputError(f"--uncertainty is of one target, {len(paths)} were given; run georeg align for one of them")
    if folder is not None and writing.in_place:
        raise InputError("a folder and --in-place exclude each other; give one of them")
    if folder is None and writing not in (WriteOptions(), WriteOptions(in_place=True)):
        raise InputError("nothing is written without a folder; give one with -o, or leave out how to write")
    if not batch.cache_mb >= 0:
        raise InputError(f"--cache-mb is {batch.cache_mb}; give a number from 0")


def _check_outputs(tasks: Sequence[Task], writing: WriteOptions, taken: Iterable[str]) -> None:
    """Make sure that nothing would be lost by what is written."""
    paths = [task.target for task in tasks]
    if writing.in_place:
        _check_in_place(paths, taken)
    owners = {key: path for path in (*taken, *paths) for key in _identities(path)}
    check_names(task.output for task in tasks if task.output is not None)
    for task in tasks:
        if task.output is not None:
            same = [owners[key] for key in _identities(task.output) if key in owners]
            if task.stale and os.path.lexists(task.output) and not (same or writing.overwrite):
                raise OutputError(
                    f"{task.output} is of an earlier run with other options or files, or was changed since; give --overwrite to "
                    "make it anew, or another folder"
                )
            check_output(task.output, same, overwrite=writing.overwrite or task.known is not None or task.ours)


def _check_in_place(paths: Sequence[str], taken: Iterable[str]) -> None:
    """Make sure that each target is another file, and none is what it is aligned by."""
    owners = {key: path for path in taken for key in _identities(path)}
    for path in paths:
        keys = _identities(path)
        for owner in (owners[key] for key in keys if key in owners):
            raise OutputError(
                f"{path} cannot be corrected in place, as {owner} is the same file; leave one of them out"
            )
        owners |= dict.fromkeys(keys, path)


def _identities(path: str) -> list[Hashable]:
    """By which a file is known under whatever name; of hundreds of files each is looked at once."""
    known: list[Hashable] = [os.path.realpath(path)]
    if os.path.exists(path):
        status = os.stat(path)
        known.append((status.st_dev, status.st_ino))
    return known


class _Stopped(BaseException):
    """Ends a target that nobody waits for any more."""


@dataclass(frozen=True)
class _Aligning:
    """How all targets are aligned, here or in another process."""

    reference: Reader
    inputs: InputOptions
    matching: MatchOptions
    fitting: FitOptions
    limits: LimitOptions
    device: DeviceKind

    def __call__(self, target: str, progress: Progress, executor: Executor | None) -> Alignment:
        """As `georeg.align` does it."""
        points = match_onto(
            self.reference.raster,
            target,
            self.inputs,
            self.matching,
            progress,
            executor,
            self.reference,
            self.device,
        )
        return concluded(points, self.inputs, self.matching, self.fitting, self.limits)


@dataclass(frozen=True)
class _Alone:
    """The same by one thread, as a task for a worker; what it refuses comes back as well."""

    aligning: _Aligning

    def __call__(self, target: str) -> Alignment | GeoregError:
        one = replace(self.aligning, matching=replace(self.aligning.matching, threads=1))
        try:
            return one(target, silent, None)
        except GeoregError as exc:
            _forget_frames(exc)
            return exc


@dataclass(frozen=True)
class _Batch:
    """What all targets have in common."""

    aligning: _Aligning
    writing: WriteOptions
    executor: Executor | None
    ledger: Ledger

    def scenes(self, tasks: Sequence[Task], n_threads: int, folder: AbstractContextManager[Any]) -> Iterator[Scene]:
        """Of each target."""
        stop, context, limited = threading.Event(), contextvars.copy_context(), list[str]()

        def heard(stage: str, done: int, total: int) -> None:
            if stop.is_set():
                raise _Stopped

        with (
            folder,
            self.ledger.opened(tasks) as manifest,
            self.aligning.reference,
            self._aligner(sum(task.known is None for task in tasks), n_threads, heard) as (align, at_once),
        ):

            def ended(task: Task) -> Scene:
                if task.known is not None:
                    return remembered(task.known, task.target, task.output)
                scene = context.copy().run(
                    self._scene, task, align, heard
                )  # who counts traffic counts that of our threads
                if scene.error is not None:
                    heard("scene", 0, 1)
                self.ledger.note(manifest, task, scene)
                return scene

            pool = ThreadPoolExecutor(at_once, thread_name_prefix="georeg-scene")
            try:
                for task, scene in zip(tasks, run_ordered(ended, tasks, pool), strict=True):
                    limited += [task.key] if scene.outcome == "over a limit" else []
                    yield scene
            finally:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
            self.ledger.finish(manifest, tasks, limited)

    @contextmanager
    def _aligner(self, n_tasks: int, n_threads: int, heard: Progress) -> Iterator[tuple[_Align, int]]:
        """What aligns a target, and how many at once: with as many targets as workers, each of these has one to itself."""
        if self.executor is None:
            yield lambda target: self.aligning(target, heard, None), n_threads
        elif n_tasks < n_workers(self.executor):
            yield lambda target: self.aligning(target, heard, self.executor), 1
        else:
            with workers(None, self.executor) as lent:
                yield partial(_sent, lent, _Alone(self.aligning)), n_workers(self.executor) + 1

    def _scene(self, task: Task, align: _Align, heard: Progress) -> Scene:
        began, alignment, how, error = time.monotonic(), None, None, None
        try:
            alignment = align(os.path.abspath(task.target) if os.path.exists(task.target) else task.target)
            if task.output is not None or self.writing.in_place:
                writing = replace(self.writing, overwrite=True) if task.ours else self.writing
                how = apply(
                    alignment,
                    task.output,
                    writing,
                    progress=heard,
                    executor=self.executor,
                    device=self.aligning.device,
                )
        except GeoregError as exc:
            error = exc
        except Exception as exc:  # noqa: BLE001 - a bug that one scene meets shall not cost the night of the others
            error = UnforeseenError(unforeseen(exc))
        if error is not None:
            _forget_frames(error)
        written = None if how is None else task.output or task.target
        return Scene(task.target, written, alignment, error, how, time.monotonic() - began)


def _sent(lent: Any, alone: _Alone, target: str) -> Alignment:
    """What a worker finds."""
    done = lent.received(lent.submit(alone, target))
    if isinstance(done, GeoregError):
        raise done
    alignment: Alignment = done
    return alignment


def _forget_frames(error: BaseException) -> None:
    """Let go of the functions that an error went through, since they hold pixels as long as it is kept."""
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
