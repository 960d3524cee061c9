"""Makes an environment for georeg, step by step, while the window goes on. QGIS's own Python is never installed into."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment, pyqtSignal

from . import env
from .i18n import translated as tr


class Installer(QObject):
    """Runs commands one after the other; `finished` comes once, with a sentence that is empty where all went well."""

    said = pyqtSignal(str)
    stepped = pyqtSignal(int, int)
    finished = pyqtSignal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._steps: list[Sequence[str]] = []
        self._n_steps = 0
        self._output: list[str] = []
        self._pythons: list[str] = []
        self._folder = self._requirement = ""
        self._process: QProcess | None = None
        self._cancelled = False

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._process is not None

    def install(self, folder: str, requirement: str, pythons: Sequence[str] | None = None) -> None:
        """Make an environment in a folder, from the first of the Pythons that is new enough, and install into it."""
        self._folder, self._requirement, self._cancelled = folder, requirement, False
        self._pythons = list(env.base_pythons() if pythons is None else pythons)
        self._steps, self._output = [], []
        self._next_python()

    def cancel(self) -> None:
        """Stop; what was made so far is removed."""
        self._cancelled = True
        if self._process is not None:
            self._process.kill()

    def _next_python(self) -> None:
        if not self._pythons:
            newest = "{}.{}".format(*env.OLDEST_PYTHON)
            self._done(tr("No Python {} or newer was found; install one, and try again").format(newest))
            return
        self._start(env.version_command(self._pythons[0]), self._versioned)

    def _versioned(self, exit_code: int, output: str) -> None:
        python = self._pythons.pop(0)
        if exit_code or not env.is_new_enough(output):
            self._next_python()
            return
        self.said.emit(tr("Python {version}: {path}").format(version=output.strip(), path=python))
        self._steps = list(env.install_commands(python, self._folder, self._requirement))
        self._n_steps = len(self._steps)
        self._next_step()

    def _next_step(self) -> None:
        self.stepped.emit(self._n_steps - len(self._steps), self._n_steps)
        if self._steps:
            step = self._steps.pop(0)
            self.said.emit(" ".join(step))
            self._start(step, self._stepped)
        else:
            self._done("")

    def _stepped(self, exit_code: int, output: str) -> None:
        if exit_code:
            self._done(env.install_failure(output))
        else:
            self._next_step()

    def _start(self, command: Sequence[str], then: Any) -> None:
        self._process = process = QProcess(self)
        environment = QProcessEnvironment()
        for name, value in env.scrubbed(os.environ).items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        self._output = []
        process.readyRead.connect(lambda: self._read(process))
        process.finished.connect(lambda code, _status: self._ended(process, code, then))
        process.errorOccurred.connect(lambda error: self._not_started(process, error, then))
        process.start(command[0], list(command[1:]))
        process.closeWriteChannel()  # nobody answers questions

    def _read(self, process: QProcess) -> None:
        for line in bytes(process.readAll()).decode("utf-8", "replace").splitlines():
            self._output.append(line)
            self.said.emit(line)

    def _not_started(self, process: QProcess, error: Any, then: Any) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._output.append(process.errorString())
            self._ended(process, 1, then)

    def _ended(self, process: QProcess, code: int, then: Any) -> None:
        if self._process is not process:
            return
        self._read(process)
        self._process = None
        process.deleteLater()
        if self._cancelled:
            self._done(tr("Cancelled. Nothing was installed"))
        else:
            then(code or int(process.exitStatus() != QProcess.ExitStatus.NormalExit), "\n".join(self._output))

    def _done(self, problem: str) -> None:
        if problem and self._steps is not None and self._n_steps:
            shutil.rmtree(self._folder, ignore_errors=True)  # half an environment is worse than none
        self._n_steps = 0
        self.finished.emit(problem)
