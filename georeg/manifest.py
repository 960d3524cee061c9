"""What became of each target of a batch, a line of JSON for each: kept through a kill, so that the next run goes on from there.

A line is appended as soon as a target ends, and each target that is still to be done has one before any work. Of several lines
of a target the last one holds. Once all are done the file is written anew, in the order of the targets: the same bytes,
however often the run was cut off.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from georeg import __version__
from georeg.errors import OutputError
from georeg.files import check_output, write_bytes
from georeg.temporaries import lock

State = Literal["pending", "done", "refused", "over a limit", "failed"]
NAME = "manifest.jsonl"
"""In the folder of the outputs, where no other name is given."""
_BEGIN = b'{"target": '
"""Of each line, by which it is known for one of ours."""


@dataclass(frozen=True)
class Work:
    """What is done to all targets of a run: with the same, a target comes out the same."""

    options: tuple[str, ...]
    """Words of the command line for what is not at its default."""
    files: tuple[tuple[str, Any], ...]
    """Path and `fingerprint` of the reference and of whatever else the options name."""
    georeg: str = __version__


@dataclass(frozen=True)
class Record:
    """A line of a manifest."""

    target: str
    """Absolute, if it is a file."""
    state: State
    work: dict[str, Any]
    """What was, or is to be, done to it: a `Work` and the target's own `fingerprint` before."""
    output: str | None = None
    """Relative to the folder of the manifest; None where nothing was written."""
    sha256: str | None = None
    """Of the output, in hexadecimal."""
    how: str | None = None
    """As `georeg.apply` returns it."""
    figures: dict[str, Any] | None = None
    """Of its check points; None where nothing was found."""
    summary: str | None = None
    """What was found, in a sentence."""
    error: dict[str, Any] | None = None
    """Type and message of what it was refused for, and the exit code that it means."""

    @property
    def settled(self) -> bool:
        """Whether the same work would end the same: not where it failed, nor where there is no file to know again."""
        same = self.work.get("target") is not None
        return self.state == "done" or (self.state in ("refused", "over a limit") and same)

    def line(self) -> bytes:
        """As it stands in the file."""
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(frozen=True)
class History:
    """What a manifest says when a run begins."""

    records: dict[str, Record] = field(default_factory=dict)
    """The last one of each target."""
    limited: frozenset[str] = frozenset()
    """Targets that were over a limit at any time."""
    n_bytes: int = 0
    """Length of the file; 0 where there is none."""
    torn: bool = False
    """Its last line was cut off."""


def fingerprint(path: str) -> dict[str, int] | None:
    """By which a local file is known to be as it was: its length and when it was written, whole nanoseconds."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def sha256_of(path: str) -> str | None:
    """Of a file's content; None where there is none that can be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def work_on(work: Work, target: str) -> dict[str, Any]:
    """What is done to one target, as its line has it."""
    return {
        "georeg": work.georeg,
        "options": list(work.options),
        "files": dict(work.files),
        "target": fingerprint(target),
    }


def read_manifest(path: str) -> History:
    """What a manifest says; of one that is not there: nothing.

    Raises
    ------
    OutputError
        It cannot be read, or holds something else.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return History()
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise OutputError(f"the manifest {path} cannot be read: {reason}; give --manifest another file") from exc
    records: dict[str, Record] = {}
    limited = set()
    for number, line in enumerate(content.splitlines(), 1):
        record = _record(line)
        if record is not None:
            records[record.target] = record
            limited |= {record.target} if record.state == "over a limit" else set()
        elif not (line.startswith(_BEGIN) or _BEGIN.startswith(line)):
            raise OutputError(
                f"line {number} of {path} is not of a manifest of georeg batch; give --manifest another file"
            )
    return History(records, frozenset(limited), len(content), bool(content) and not content.endswith(b"\n"))


def _record(line: bytes) -> Record | None:
    """None for a line that was cut off."""
    try:
        values = json.loads(line)
        return Record(**{one.name: values[one.name] for one in fields(Record)})
    except (ValueError, TypeError, KeyError):
        return None


class Manifest:
    """A manifest that is being written, from any thread."""

    def __init__(self, path: str, history: History, handle: int) -> None:
        self.path = path
        self._records, self._handle, self._lock = dict(history.records), handle, threading.Lock()

    def add(self, *records: Record) -> None:
        """Append lines; they are on the disk when this returns.

        Raises
        ------
        OutputError
            They cannot be written.
        """
        with self._lock:
            self._records |= {record.target: record for record in records}
            self.append(b"".join(record.line() for record in records))

    def append(self, content: bytes) -> None:
        """Bytes at the end of the file."""
        try:
            while content:
                content = content[os.write(self._handle, content) :]
            os.fsync(self._handle)
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
            raise OutputError(
                f"the manifest {self.path} cannot be written: {reason}; what it says is done is done, run the same again"
            ) from exc

    def close(self) -> None:
        """Let go of it, and of its lock."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def finish(self, targets: Sequence[str]) -> None:
        """Write it anew: lines of other runs, then one for each target, in this order."""
        last = dict.fromkeys(targets)
        if os.name != "posix":  # which replaces no file that is open
            self.close()
        lines = [record.line() for target, record in self._records.items() if target not in last]
        lines += [self._records[target].line() for target in last]
        write_bytes(b"".join(lines), self.path)


@contextmanager
def writing(path: str, history: History, pending: Sequence[Record]) -> Iterator[Manifest]:
    """A manifest to append to, with a line for what is to be done; no other run can write to it meanwhile.

    Raises
    ------
    OutputError
        It cannot be written, or another run does or did since it was read.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise OutputError(f"the manifest {path} cannot be written: {reason}; give --manifest another file") from exc
    manifest = Manifest(path, history, handle)
    try:
        if lock(handle) is False or os.fstat(handle).st_size != history.n_bytes:
            raise OutputError(f"another run writes the manifest {path}; wait for it, or give --manifest another file")
        if history.torn:
            manifest.append(b"\n")
        manifest.add(*pending)
        yield manifest
    finally:
        manifest.close()


def check_list(path: str, known: History, taken: Sequence[str], *, overwrite: bool) -> None:
    """Make sure that a list of targets that are over a limit can be written, also over the one of an earlier run.

    Raises
    ------
    OutputError
        It cannot, or something else would be lost.
    """
    ours = False
    if os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            ours = set(file.read().splitlines()) <= known.limited
    check_output(path, taken, overwrite=overwrite or ours)
