"""Which targets of a batch an earlier run has done, which are to be done, and where that is noted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from georeg.apply import output_name
from georeg.errors import GeoregError
from georeg.execution import at_once
from georeg.files import check_output, write_bytes
from georeg.manifest import NAME, History, Manifest, Record, Work, check_list, fingerprint, read_manifest, sha256_of
from georeg.manifest import work_on as work_on
from georeg.manifest import writing as writing_to
from georeg.options import BatchOptions, DeviceKind, InputOptions, WriteOptions, words
from georeg.raster import open_raster
from georeg.remote import without_secrets
from georeg.scene import Scene, recorded, relative

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Task:
    """One target of a batch."""

    target: str
    output: str | None
    """What is to be written beside it; None where nothing is, or where it is corrected in place."""
    known: Record | None = None
    """What an earlier run made of it, by the same work, which need not be done again."""
    work: dict[str, Any] | None = None
    """What is to be done to it, as its line in a manifest has it."""
    ours: bool = False
    """Its output is there, left by a run that was cut off before it could note that."""
    stale: bool = False
    """An earlier run had to do with it, but its output is not what this one would write."""

    @property
    def key(self) -> str:
        """As a manifest knows the target: a file from anywhere, and nothing secret."""
        return os.path.abspath(self.target) if os.path.exists(self.target) else without_secrets(self.target)


@dataclass(frozen=True)
class Ledger:
    """Where it is noted what becomes of targets; without a path nowhere."""

    path: str | None
    quarantine: str | None
    work: Work
    history: History
    in_place: bool

    @property
    def folder(self) -> str:
        """Of the manifest."""
        return os.path.dirname(os.path.abspath(self.path or ""))

    def planned(self, tasks: Sequence[Task]) -> list[Task]:
        """What is to be done, once it is known what is done; outputs of earlier runs are read to be sure of them."""
        return list(tasks) if self.path is None else at_once(self._planned, [(task,) for task in tasks], None)

    def _planned(self, task: Task) -> Task:
        now, then = work_on(self.work, task.target), self.history.records.get(task.key)
        task = replace(task, work=now)
        if then is None:
            return task
        written = task.target if self.in_place else task.output
        named = None if written is None else relative(written, self.folder)
        if then.state == "done":
            same = then.work == now or (self.in_place and then.work | {"target": now["target"]} == now)
            there = then.output == named and (written is None or sha256_of(written) == then.sha256)
            return replace(task, known=then) if same and there else replace(task, stale=True)
        if then.work != now:
            return replace(task, stale=True)
        if then.settled:
            return replace(task, known=then)
        left = then.state == "pending" and then.output == named and task.output is not None
        return replace(task, ours=left and _corrected(task.output))

    @contextmanager
    def opened(self, tasks: Sequence[Task]) -> Iterator[Manifest | None]:
        """The manifest, in which it stands that tasks are to be done; None where there is none."""
        if self.path is None:
            yield None
            return
        with writing_to(self.path, self.history, [self._pending(task) for task in tasks if task.known is None]) as one:
            yield one

    def _pending(self, task: Task) -> Record:
        written = task.target if self.in_place else task.output
        return Record(task.key, "pending", task.work or {}, None if written is None else relative(written, self.folder))

    def note(self, manifest: Manifest | None, task: Task, scene: Scene) -> None:
        """What became of a task."""
        if manifest is not None:
            manifest.add(recorded(scene, task.key, task.work or {}, self.folder))

    def finish(self, manifest: Manifest | None, tasks: Sequence[Task], limited: Sequence[str]) -> None:
        """Once all are done: the manifest in their order, and the list of those that are over a limit."""
        if self.quarantine is not None:
            write_bytes(b"".join(os.fsencode(path) + b"\n" for path in dict.fromkeys(limited)), self.quarantine)
        if manifest is not None:
            manifest.finish([task.key for task in tasks])


def _corrected(path: str | None) -> bool:
    """Whether a file is one that georeg wrote."""
    try:
        return path is not None and os.path.isfile(path) and bool(open_raster(path).provenance)
    except GeoregError:
        return False


def work_of(reference: str, groups: Sequence[Any], device: DeviceKind) -> Work:
    """What is done to each target, by groups of options of which the last are `WriteOptions`."""
    *others, writing = groups
    said = [*map(without_secrets, words(*others, replace(writing, overwrite=False)))]
    said += ["--device", device] if device != "cpu" else []
    named = [value for group in others if isinstance(group, InputOptions) for value in asdict(group).values()]
    paths = [reference, *(value for value in named if isinstance(value, str) and os.path.isfile(value))]
    known = {Task(path, None).key: fingerprint(path) for path in paths}
    return Work(tuple(said), tuple(known.items()))


def tasks_of(paths: Sequence[str], folder: PathLike | None, writing: WriteOptions) -> list[Task]:
    """Of each target, and what is written of it in a folder."""
    if folder is None:
        return [Task(path, None) for path in paths]
    names = (os.path.basename(without_secrets(path)) or path for path in paths)
    outputs = [os.path.join(os.fspath(folder), output_name(name, writing)) for name in names]
    return [Task(path, output) for path, output in zip(paths, outputs, strict=True)]


def read_ledger(
    batch: BatchOptions,
    folder: PathLike | None,
    work: Work,
    tasks: Sequence[Task],
    taken: Sequence[str],
    writing: WriteOptions,
) -> Ledger:
    """What was noted before.

    Raises
    ------
    OutputError
        The manifest or the list of what is over a limit would replace something else.
    """
    path = batch.manifest
    if path is None and folder is not None:
        path = os.path.join(os.fspath(folder), NAME)
    taken = [*taken, *(name for task in tasks for name in (task.target, task.output) if name is not None)]
    history = History()
    if path is not None:
        check_output(path, taken, overwrite=True)
        history = read_manifest(path)
        taken.append(path)
    if batch.quarantine is not None:
        check_list(batch.quarantine, history, taken, overwrite=writing.overwrite)
    return Ledger(path, batch.quarantine, work, history, writing.in_place)
