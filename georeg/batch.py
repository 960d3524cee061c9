"""Many targets aligned to one reference, each by itself: what is refused stops none of the others."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal

from georeg.align import Alignment, concluded, match_onto
from georeg.apply import How, apply, check_names, made_folder, output_name
from georeg.device import check_device
from georeg.errors import GeoregError, InputError, LimitError, OutputError
from georeg.execution import Progress, available_threads, check_workers, counted, run_ordered, silent
from georeg.files import check_output
from georeg.options import BatchOptions, DeviceKind, FitOptions, InputOptions, LimitOptions, MatchOptions, WriteOptions
from georeg.raster import check_bands, open_reference
from georeg.reader import Reader
from georeg.remote import without_secrets
from georeg.sanity import check_options
from georeg.search import check_matching

PathLike = str | os.PathLike[str]
Outcome = Literal["aligned", "already aligned", "refused", "over a limit"]


@dataclass(frozen=True, eq=False)
class Scene:
    """What became of one target of a batch."""

    target: str
    """Its path."""
    output: str | None
    """What was written; None where nothing was."""
    alignment: Alignment | None
    """None where it was refused; if only its output could not be written, it is here."""
    error: GeoregError | None
    """Why it was refused, or not written."""
    how: How | None
    """As `georeg.apply` returns it."""
    seconds: float
    """It took, beside others."""

    @property
    def name(self) -> str:
        """File name without its folder."""
        return os.path.basename(without_secrets(self.target)) or self.target

    @property
    def outcome(self) -> Outcome:
        """In a word or two; what could not be written is ``refused`` too."""
        if self.error is not None:
            return "over a limit" if isinstance(self.error, LimitError) else "refused"
        assert self.alignment is not None
        return self.alignment.verdict

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; they do not tell how long it took, so that they are the same each time."""
        error = self.error
        return {
            "target": without_secrets(self.target),
            "outcome": self.outcome,
            "output": self.output,
            "how": self.how,
            "alignment": None if self.alignment is None else self.alignment.to_dict(),
            "error": None
            if error is None
            else {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code},
        }


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
        What is kept of the reference.
    executor
        What matches tiles and computes pixels, as in `georeg.align`; targets are then worked at one after the other.
    device
        What correlates windows and interpolates, as in `georeg.align` and `georeg.apply`.
    progress
        Called with ("scenes", done, total).

    Returns
    -------
    scenes
        What became of each target, in their order, as soon as it and those before it are done; a few more are worked at ahead.
        What georeg refuses is recorded; every other exception is raised here.

    Raises
    ------
    InputError
        The reference cannot be used, there are no targets, or options contradict each other.
    OutputError
        Before any work: two targets have one name, an output exists or is an input, or the folder cannot be made.
    """
    inputs, matching, writing = inputs or InputOptions(), matching or MatchOptions(), writing or WriteOptions()
    limits, batch = limits or LimitOptions(), batch or BatchOptions()
    paths = [os.fspath(target) for target in targets]
    check_options(limits)
    check_matching(matching)
    check_workers(matching.threads, executor)
    check_device(device, executor)
    _check(paths, folder, writing, batch)
    raster = open_reference(reference, nodata=inputs.ref_nodata)
    check_bands(raster, inputs.ref_bands)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(made_folder(os.fspath(folder)))
        taken = [path for path in (os.fspath(reference), *raster.files, inputs.gcp) if path is not None]
        outputs: Sequence[str | None] = [None] * len(paths)
        if folder is not None:
            outputs = _outputs(paths, os.fspath(folder), writing, taken)
        elif writing.in_place:
            _check_in_place(paths, taken)
        tasks = list(zip(paths, outputs, strict=True))
        n_threads = matching.threads or available_threads()
        at_once = min(n_threads, len(tasks))
        if executor is None:
            matching = replace(matching, threads=n_threads // at_once)
        reader = Reader(raster, kept_bytes=batch.cache_mb * 10**6)
        made = _Batch(reader, inputs, matching, fitting or FitOptions(), limits, writing, executor, device)
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


def _outputs(paths: Sequence[str], folder: str, writing: WriteOptions, taken: Iterable[str]) -> list[str]:
    """Of each target in a folder, once it is sure that nothing would be lost by writing them."""
    owners = {key: path for path in (*taken, *paths) for key in _identities(path)}
    names = (os.path.basename(without_secrets(path)) or path for path in paths)
    outputs = [os.path.join(folder, output_name(name, writing)) for name in names]
    check_names(outputs)
    for output in outputs:
        same = [owners[key] for key in _identities(output) if key in owners]
        check_output(output, same, overwrite=writing.overwrite)
    return outputs


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


class _Stopped(Exception):
    """Ends a target that nobody waits for any more."""


@dataclass(frozen=True)
class _Batch:
    """What all targets have in common."""

    reference: Reader
    inputs: InputOptions
    matching: MatchOptions
    fitting: FitOptions
    limits: LimitOptions
    writing: WriteOptions
    executor: Executor | None
    device: DeviceKind

    def scenes(
        self, tasks: Sequence[tuple[str, str | None]], at_once: int, folder: AbstractContextManager[Any]
    ) -> Iterator[Scene]:
        """Of each target and its output."""
        stop, context = threading.Event(), contextvars.copy_context()

        def heard(stage: str, done: int, total: int) -> None:
            if stop.is_set():
                raise _Stopped

        def scene(task: tuple[str, str | None]) -> Scene:
            return context.copy().run(self._scene, *task, heard)  # who counts traffic counts that of our threads

        with folder, self.reference:
            if self.executor is not None:
                yield from map(scene, tasks)
                return
            pool = ThreadPoolExecutor(at_once, thread_name_prefix="georeg-scene")
            try:
                yield from run_ordered(scene, tasks, pool)
            finally:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _scene(self, target: str, output: str | None, progress: Progress) -> Scene:
        began, alignment, how, error = time.monotonic(), None, None, None
        try:
            alignment = self._aligned(target, progress)
            if output is not None or self.writing.in_place:
                how = apply(
                    alignment, output, self.writing, progress=progress, executor=self.executor, device=self.device
                )
        except GeoregError as exc:
            error = exc
            _forget_frames(exc)
        written = None if how is None else output or target
        return Scene(target, written, alignment, error, how, time.monotonic() - began)

    def _aligned(self, target: str, progress: Progress) -> Alignment:
        """As `georeg.align` does it."""
        points = match_onto(
            self.reference.raster,
            target,
            self.inputs,
            self.matching,
            progress,
            self.executor,
            self.reference,
            self.device,
        )
        return concluded(points, self.inputs, self.matching, self.fitting, self.limits)


def _forget_frames(error: BaseException) -> None:
    """Let go of the functions that an error went through, since they hold pixels as long as it is kept."""
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
