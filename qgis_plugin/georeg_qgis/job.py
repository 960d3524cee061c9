"""One job of georeg in a process of its own, not waited for: for the panel, whose window must go on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import Any

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, pyqtSignal

from . import env
from .protocol import (
    SETUP_HINT,
    Lines,
    WorkerError,
    cancel_line,
    check_hello,
    lost,
    parse,
    result_of,
    run_line,
    without_hint,
)
from .settings_store import interpreter

CANCEL_GRACE_MS = 800
"""What the worker has to stop by itself, before it is ended."""
CLOSE_GRACE_MS = 1500
"""What it has to end once its stdin is closed."""


class Job(QObject):
    """Runs one job at a time, each in a new worker; all signals come in the thread of the window.

    A job ends with `succeeded` or `failed`, and then `ended`. No signal is named ``event``, which Qt would take for its own.
    Messages are plain text: escape them before they go into a label that understands HTML. What `failed` says to do next is
    not in its message once more.
    """

    hello = pyqtSignal(dict)
    progress = pyqtSignal(dict)
    logged = pyqtSignal(str, str)
    tiepoints = pyqtSignal(str)
    succeeded = pyqtSignal(dict)
    failed = pyqtSignal(str, str, str)
    ended = pyqtSignal()

    def __init__(self, parent: QObject | None = None, command: Sequence[str] | None = None) -> None:
        """``command`` starts the worker; by default ``georeg serve`` in the Python that the settings name."""
        super().__init__(parent)
        self._given = list(command) if command else None
        self._process: QProcess | None = None
        self._job_id, self._n_jobs = "", 0
        self._arguments: list[str] = []
        self._lines, self._stderr = Lines(), deque(maxlen=100)
        self._greeted = self._cancelling = False
        self._grace = QTimer(self)
        self._grace.setSingleShot(True)
        self._grace.timeout.connect(self._kill)

    @property
    def running(self) -> bool:
        """Whether a job has begun and not ended."""
        return self._process is not None

    def start(self, arguments: Sequence[str]) -> None:
        """Begin a job, in the words of georeg's command line; whatever is wrong is told by `failed`."""
        if self.running:
            raise RuntimeError("a job is running")
        self._n_jobs += 1
        self._job_id = str(self._n_jobs)
        self._arguments = [str(word) for word in arguments]
        self._lines, self._greeted, self._cancelling = Lines(), False, False
        self._stderr.clear()
        self._process = process = self._new_process()
        try:
            command = self._given or env.command(env.check_interpreter(interpreter()))
        except WorkerError as exc:  # told later: whoever called start() may connect signals after it
            refusal = exc
            QTimer.singleShot(0, lambda: self._end(refusal) if self._process is process else None)
            return
        process.start(command[0], command[1:])

    def _new_process(self) -> QProcess:
        process = QProcess(self)
        environment = QProcessEnvironment()
        for name, value in env.scrubbed(os.environ).items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.errorOccurred.connect(self._not_started)
        process.finished.connect(self._finished)
        return process

    def probe(self) -> None:
        """Only hear what the worker says of itself: `succeeded` has its hello."""
        self.start([])

    def cancel(self) -> None:
        """Stop the job; `failed` with the code ``cancelled`` comes within a second."""
        if self._process is None or self._cancelling:
            return
        self._cancelling = True
        self._process.write(cancel_line(self._job_id))
        self._grace.start(CANCEL_GRACE_MS)

    def close(self) -> None:
        """End the worker and say nothing more: the plugin is unloaded."""
        self.blockSignals(True)
        if self._process is not None:
            self._drop(self._process).kill()

    def _read(self) -> None:
        if self._process is None:
            return
        for line in self._lines.feed(bytes(self._process.readAllStandardOutput())):
            try:
                self._hear(parse(line))
            except WorkerError as exc:
                self._end(exc)
            if self._process is None:
                return

    def _read_errors(self) -> None:
        if self._process is not None:
            text = bytes(self._process.readAllStandardError()).decode("utf-8", "replace")
            self._stderr.extend(text.splitlines())

    def _hear(self, said: dict[str, Any]) -> None:
        if not self._greeted:
            self._greet(check_hello(said))
            return
        result = result_of(said, self._job_id)
        if result is not None:
            self._end(result)
        elif said["type"] == "progress":
            self.progress.emit(said)
        elif said["type"] == "log":
            self.logged.emit(str(said.get("level", "info")), str(said.get("message", "")))
        elif said["type"] == "tiepoints":
            self.tiepoints.emit(str(said.get("path", "")))

    def _greet(self, hello: dict[str, Any]) -> None:
        self._greeted = True
        self.hello.emit(hello)
        if self._process is None or self._cancelling:
            return
        if self._arguments:
            self._process.write(run_line(self._job_id, self._arguments))
        else:
            self._end(hello)

    def _not_started(self, error: Any) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            why = self._process.errorString()
            self._end(WorkerError("setup", f"{self._process.program()} cannot be started: {why}", SETUP_HINT))

    def _finished(self, exit_code: int, _status: Any) -> None:
        if self._process is None or self.sender() is not self._process:
            return
        self._read()
        self._read_errors()
        if self._process is not None:
            self._end(lost(exit_code, "\n".join(self._stderr)))

    def _kill(self) -> None:
        if self._process is not None:
            self._end(WorkerError("cancelled", ""))

    def _end(self, outcome: Any) -> None:
        """Say how the job ended; a worker that had been asked to stop was cancelled, whatever else it says."""
        if self._process is None:
            return
        process = self._drop(self._process)
        if isinstance(outcome, WorkerError) and self._cancelling:
            said = (
                outcome.message if outcome.code == "cancelled" and outcome.message else "cancelled. No file was changed"
            )
            outcome = WorkerError("cancelled", said)
        if self._cancelling:
            process.kill()
        else:  # the end of its stdin is its end
            process.closeWriteChannel()
            QTimer.singleShot(CLOSE_GRACE_MS, process.kill)
        if isinstance(outcome, WorkerError):
            self.failed.emit(outcome.code, without_hint(outcome.message, outcome.hint), outcome.hint)
        else:
            self.succeeded.emit(outcome)
        self.ended.emit()

    def _drop(self, process: QProcess) -> QProcess:
        """Hear the process no more; it goes once it has ended."""
        self._process = None
        self._grace.stop()
        for signal in (process.readyReadStandardOutput, process.readyReadStandardError, process.errorOccurred):
            signal.disconnect()
        process.finished.disconnect()
        process.finished.connect(process.deleteLater)
        if process.state() == QProcess.ProcessState.NotRunning:
            process.deleteLater()
        return process
