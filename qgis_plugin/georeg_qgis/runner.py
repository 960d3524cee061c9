"""One job of georeg in a process of its own, waited for: for Processing, whose algorithms have a thread to wait in."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess  # nosec B404
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Callable

from . import env
from .protocol import SETUP_HINT, WorkerError, cancel_line, check_hello, lost, parse, result_of, run_line

CANCEL_GRACE_S = 0.8
"""What the worker has to stop by itself, before it is ended."""
START_S = 90.0
"""What it has to say hello: on a cold disk, its libraries take their time."""
TICK_S = 0.05
JOB = "1"
_IS_WINDOWS = sys.platform == "win32"


class Runner:
    """Runs jobs, each in a new worker.

    Parameters
    ----------
    interpreter
        A Python that has georeg.
    command
        Words that start the worker; by default ``georeg serve`` in that Python.
    """

    def __init__(self, interpreter: str, command: Sequence[str] | None = None) -> None:
        self._command = list(command) if command else env.command(env.check_interpreter(interpreter))

    def hello(self) -> dict[str, Any]:
        """What the worker says of itself.

        Raises
        ------
        WorkerError
            It cannot be started, or is of no use.
        """
        with _Worker(self._command) as worker:
            return worker.hello(lambda: False)

    def run(
        self,
        arguments: Sequence[str],
        on_line: Callable[[dict[str, Any]], None],
        is_cancelled: Callable[[], bool],
    ) -> dict[str, Any]:
        """Do a job.

        Parameters
        ----------
        arguments
            Words of georeg's command line, such as ``["align", "reference.tif", …]``.
        on_line
            Hears each line on the way, in the thread that waits.
        is_cancelled
            Asked twenty times a second.

        Returns
        -------
        The line of type ``result``.

        Raises
        ------
        WorkerError
            There is none: the job was refused, failed or was cancelled, or the worker cannot be used.
        """
        with _Worker(self._command) as worker:
            on_line(worker.hello(is_cancelled))
            worker.send(run_line(JOB, arguments))
            return worker.result(on_line, is_cancelled)


class _Worker:
    """The process, with a thread for each of its streams. Its stdin stays open: the end of it is the end of the worker."""

    def __init__(self, command: list[str]) -> None:
        options: dict[str, Any] = {"start_new_session": True}
        if _IS_WINDOWS:
            options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}  # type: ignore[attr-defined]
        try:
            self._process = subprocess.Popen(  # nosec B603
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env.scrubbed(os.environ),
                **options,
            )
        except OSError as exc:
            raise WorkerError("setup", f"{command[0]} cannot be started: {exc.strerror}", SETUP_HINT) from exc
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._stderr: deque[str] = deque(maxlen=100)
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        """Close its stdin, and end it if it does not take the hint."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(CANCEL_GRACE_S)
        except subprocess.TimeoutExpired:
            self._kill()
        for thread in self._threads:
            thread.join(1.0)

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    def _read(self) -> None:
        with self._process.stdout as stdout:  # type: ignore[union-attr]
            for line in stdout:
                if line.strip():
                    self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        with self._process.stderr as stderr:  # type: ignore[union-attr]
            for line in stderr:
                self._stderr.append(line.decode("utf-8", "replace"))

    def _kill(self) -> None:
        """End it and what it started."""
        with contextlib.suppress(OSError):
            if _IS_WINDOWS:
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def send(self, line: bytes) -> None:
        """To its stdin; that it has gone is seen when its lines end."""
        with contextlib.suppress(OSError):
            self._stdin.write(line)
            self._stdin.flush()

    def hello(self, is_cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Its first line."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if is_cancelled():
                raise _cancelled()
            line = self._next()
            if line is not None:
                return check_hello(parse(line))
        raise WorkerError("setup", f"the worker said nothing for {START_S:.0f} s", SETUP_HINT)

    def result(self, on_line: Callable[[dict[str, Any]], None], is_cancelled: Callable[[], bool]) -> dict[str, Any]:
        """The line that ends the job, once it is there."""
        stop_at: float | None = None
        while True:
            if stop_at is None and is_cancelled():
                self.send(cancel_line(JOB))
                stop_at = time.monotonic() + CANCEL_GRACE_S
            if stop_at is not None and time.monotonic() > stop_at:
                self._kill()
                raise _cancelled()
            try:
                line = self._next()
            except WorkerError:
                if stop_at is not None:  # it has ended without another word, as it was asked to
                    raise _cancelled() from None
                raise
            if line is None:
                continue
            said = parse(line)
            result = result_of(said, JOB)
            if result is not None:
                return result
            on_line(said)

    def _next(self) -> bytes | None:
        """The next line, or None if none comes within a tick."""
        try:
            line = self._lines.get(timeout=TICK_S)
        except queue.Empty:
            return None
        if line is None:
            self._threads[1].join(1.0)  # what it says on stderr last is why it ended
            raise lost(self._exit_code(), "".join(self._stderr))
        return line

    def _exit_code(self) -> int | None:
        try:
            return self._process.wait(CANCEL_GRACE_S)
        except subprocess.TimeoutExpired:  # it closed its stdout and lives
            return None


def _cancelled() -> WorkerError:
    return WorkerError("cancelled", "cancelled. No file was changed")
