"""What `georeg.serve` says of a job, in lines of JSON on what was standard output."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from georeg.errors import OutputError
from georeg.lazily import Lazily
from georeg.terminal import Stages

if TYPE_CHECKING:
    from georeg.fit import Fit
    from georeg.tie_points import TiePoints

pyproj, remote, table = Lazily("pyproj"), Lazily("georeg.remote"), Lazily("georeg.table")
EVERY_S = 0.1
"""A stage tells no oftener how far it is."""
PARTIAL_S, PARTIAL_SHARE = 0.5, 0.05
"""Tie points that are not complete are written no oftener, and in no larger share of the time."""
_LIBRARY = logging.getLogger("georeg")


def own_stdout() -> int:
    """What standard output is, for us alone: whatever is written there from now on goes to standard error.

    Raises
    ------
    OutputError
        There is none.
    """
    try:
        handle = os.dup(1)
    except OSError as exc:
        raise OutputError("there is no standard output to answer on; run georeg serve with pipes") from exc
    try:
        os.dup2(2, 1)
    except OSError:  # there is no standard error
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return handle


def hint(message: str) -> str:
    """What a sentence of ours says is to be done next.

    >>> hint("a.tif has no CRS; assign one"), hint("CE90 is 3 px; nothing was written: raise --max-ce90"), hint("no")
    ('assign one', 'raise --max-ce90', '')
    """
    last = message.rpartition("; ")[2] if "; " in message else ""
    return last.partition(": ")[2] if last.startswith("nothing was") else last


class Answers:
    """Lines of JSON from any thread; one of their own writes them, so that no interrupt halves any."""

    def __init__(self, handle: int) -> None:
        self._handle, self._lines, self._closed = handle, queue.SimpleQueue[bytes | None](), False
        self._writer = threading.Thread(target=self._write, name="georeg-answers", daemon=True)
        self._writer.start()

    def send(self, **values: Any) -> None:
        """One line, later; none once `close` was called."""
        if not self._closed:
            self._lines.put(json.dumps(values).encode() + b"\n")

    def close(self, wait_s: float, last: dict[str, Any] | None = None) -> None:
        """Wait until all is written, if somebody reads it, with one line more."""
        self._closed = True
        if last is not None:
            self._lines.put(json.dumps(last).encode() + b"\n")
        self._lines.put(None)
        self._writer.join(wait_s)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with suppress(OSError):  # nobody reads; who has gone closes standard input, too, which ends us
                while line:
                    line = line[os.write(self._handle, line) :]


class _Stages(Stages):
    """Progress in lines."""

    def __init__(self, answers: Answers, number: Any) -> None:
        super().__init__()
        self._answers, self._number, self._told = answers, number, ("", 0.0)

    def update(self, stage: str, done: int, total: int, seconds: float) -> None:
        """As `Stages.update`."""
        now, (before, when) = time.monotonic(), self._told
        if stage == before and done < total and now < when + EVERY_S:
            return
        self._told = (stage, now)
        self._answers.send(
            type="progress",
            id=self._number,
            stage=stage,
            done=done,
            total=total,
            elapsed_s=round(seconds, 3),
            eta_s=round(seconds * (total - done) / done, 3) if done else None,
        )


class Job(logging.Handler):
    """Hears a job: what it would print, its stages, what it logs, and its tie points."""

    def __init__(self, answers: Answers, number: Any, folder: str) -> None:
        super().__init__(logging.INFO)
        self.stages: Stages = _Stages(answers, number)
        self._answers, self._number, self._folder = answers, number, folder
        self._said: list[str] = []
        self._n_files, self._due = 0, 0.0

    def __enter__(self) -> Self:
        _LIBRARY.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _LIBRARY.removeHandler(self)
        self.close()

    def say(self, text: str) -> None:
        """As `georeg.terminal.Listener.say`."""
        self._said.append(text)

    def values(self) -> Any:
        """What was said, which is JSON."""
        return json.loads("\n".join(self._said)) if self._said else {}

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging.Handler.emit`."""
        level = "error" if record.levelno > logging.WARNING else "warning" if record.levelno > logging.INFO else "info"
        self._log(level, remote.without_secrets(record.getMessage()))

    def _log(self, level: str, message: str) -> None:
        self._answers.send(type="log", id=self._number, level=level, message=message)

    def due(self) -> bool:
        """As `georeg.watching.Watcher.due`."""
        return time.monotonic() >= self._due

    def see(self, points: TiePoints, fitted: Fit | None = None, *, partial: bool = False) -> None:
        """As `georeg.watching.Watcher.see`: a file of its own each time, which nobody changes any more."""
        began = time.monotonic()
        self._n_files += 1
        path = os.path.join(self._folder, f"points-{self._n_files}.geojson")
        try:
            with open(path + ".part", "w", encoding="ascii") as file:
                file.write(json.dumps(table.feature_collection(points, fitted, points.ref_xy) | _named(points.crs)))
            os.replace(path + ".part", path)
        except OSError as exc:  # the result does not need it
            self._log("warning", f"tie points cannot be shown: {(exc.strerror or str(exc)).lower()}")
        else:
            state = "fitted" if fitted is not None else "partial" if partial else "matched"
            self._answers.send(type="tiepoints", id=self._number, path=path, state=state, n=len(points), crs=points.crs)
        now = time.monotonic()
        self._due = now + max(PARTIAL_S, (now - began) / PARTIAL_SHARE)


def _named(wkt: str) -> dict[str, Any]:
    """How GeoJSON names another CRS than WGS 84, where it has a name."""
    authority = pyproj.CRS.from_wkt(wkt).to_authority(min_confidence=100)
    if authority is None:
        return {}
    return {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:{}::{}".format(*authority)}}}
