"""What a run tells of itself while it lasts: progress on a terminal or in lines, and a log file. Of the command line alone."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol, Self

import georeg
from georeg.errors import OutputError
from georeg.lazily import Lazily

rich, console, remote = Lazily("rich.progress"), Lazily("rich.console"), Lazily("georeg.remote")
TOLD = logging.getLogger("georeg.told")
"""For a log file alone: what standard output or standard error hold anyhow."""
_log = logging.getLogger(__name__)
_LIBRARY = logging.getLogger("georeg")
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
"""Of what is said on standard error, by how often --verbose is given."""
_WIDEST_BAR, _REST = 40, 62
"""Columns of a bar, and of what stands beside it."""
_HEAD_BYTES = 4096


def on_terminal() -> bool:
    """Whether standard error is a terminal on which lines can be drawn again."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def in_colour() -> bool:
    """Whether tables are for standard error: a terminal, or whatever FORCE_COLOR asks to be taken for one."""
    return sys.stderr is not None and (sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR")))


def error_console() -> Any:
    """A `rich.console.Console` on standard error: it knows whether there is a terminal, and NO_COLOR, FORCE_COLOR and TERM."""
    return console.Console(stderr=True, highlight=False)


class Stages:
    """Hears how far each stage is, as the `Progress` of georeg's functions, and tells nobody but the log."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._ended = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        # a stage that is first heard of once a part is done has begun when the one before it ended
        began = self._began.setdefault(stage, self._ended if done else now)
        self.update(stage, done, total, now - began)
        if done >= total:
            TOLD.info("%s %d/%d in %.1f s", stage, done, total, now - began)
            self._ended = now
            del self._began[stage]

    def update(self, stage: str, done: int, total: int, seconds: float) -> None:
        """A stage that began so many seconds ago is so far."""

    def found(self, stage: str, text: str) -> None:
        """What a stage that is over has found, in a word or two."""


class Lines(Stages):
    """A line on standard error when a stage is done, for a log; with its seconds if they are asked for."""

    def __init__(self, *, seconds: bool = False) -> None:
        super().__init__()
        self._seconds = seconds

    def update(self, stage: str, done: int, total: int, seconds: float) -> None:
        """As `Stages.update`."""
        if done >= total:
            took = f" in {seconds:.1f} s" if self._seconds else ""
            print(f"georeg: {stage} {done}/{total}{took}", file=sys.stderr)


class Bars(Stages):
    """Progress bars on a terminal, one for each stage."""

    def __init__(self) -> None:
        super().__init__()
        screen = error_console()
        self._bar = rich.Progress(
            rich.TextColumn("{task.description:<11}"),
            rich.BarColumn(min(_WIDEST_BAR, max(4, screen.width - _REST))),
            rich.MofNCompleteColumn(),
            rich.TimeElapsedColumn(),
            rich.TextColumn("[dim]ETA"),
            rich.TimeRemainingColumn(compact=True),
            rich.TextColumn("{task.fields[found]}"),
            console=screen,
            redirect_stdout=sys.stdout is not None
            and sys.stdout.isatty(),  # else what is printed meanwhile would go there
        )
        self._stages: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, stage: str, done: int, total: int, seconds: float) -> None:
        """As `Stages.update`."""
        if stage not in self._stages:
            self._stages[stage] = self._bar.add_task(stage, total=total, found="")
        task = self._stages[stage]
        if self._bar.tasks[task].finished and done < total:  # once more, as on larger pixels
            self._bar.reset(task, total=total)
        self._bar.tasks[task].start_time = self._bar.get_time() - seconds
        self._bar.update(task, completed=done, total=total)

    def found(self, stage: str, text: str) -> None:
        """As `Stages.found`."""
        if stage in self._stages:
            self._bar.update(self._stages[stage], found=text)


class Listener(Protocol):
    """Hears a run instead of the terminal."""

    stages: Stages

    def say(self, text: str) -> None:
        """What standard output would hold: a line, or many."""


_LISTENER: ContextVar[Listener | None] = ContextVar("georeg_listener", default=None)


def listener() -> Listener | None:
    """Who hears this run instead of the terminal, if anybody."""
    return _LISTENER.get()


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """In this block, and in this thread alone, ``listener`` hears what would be shown and printed."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def stages(*, quiet: bool, verbose: int) -> Stages:
    """What shows progress: bars on a terminal, lines elsewhere, nothing if that is wanted."""
    hears = listener()
    if hears is not None:
        return hears.stages
    if quiet:
        return Stages()
    return Bars() if on_terminal() else Lines(seconds=verbose > 0)


class _Stderr(logging.Handler):
    """Lines on what is standard error when they are said, which bars redirect."""

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(TOLD.name):
            print(self.format(record), file=sys.stderr)


class _Bare(logging.Formatter):
    """Lines with their time and without what gives access to remote files: a log is shown to others."""

    def format(self, record: logging.LogRecord) -> str:
        return str(remote.without_secrets(super().format(record)))


class _LogFile(logging.FileHandler):
    """Appends to a file; one that can no longer be written is said once, and ends nothing."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        exc = sys.exc_info()[1]
        if _LIBRARY.handlers.count(self) == 0 or not isinstance(exc, OSError):
            return
        _LIBRARY.removeHandler(self)
        reason = (exc.strerror or str(exc)).lower()
        print(
            f"georeg: warning: the log {self.baseFilename} cannot be written: {reason}; it ends here", file=sys.stderr
        )


@contextmanager
def recording(log: str | None, taken: Iterable[str], *, verbose: int = 0) -> Iterator[None]:
    """While this lasts, what the library logs is on standard error, and with all that is told in a log file.

    Parameters
    ----------
    log
        A file to append to; None for none.
    taken
        Files that this run reads or writes.
    verbose
        0: warnings on standard error; 1: what stages found; 2: all.

    Raises
    ------
    OutputError
        The log cannot be opened, is one of the files taken, or is no text.
    """
    level = _LEVELS[min(verbose, 2)]
    handlers: list[logging.Handler] = [_Stderr(level)]
    handlers[0].setFormatter(logging.Formatter("georeg: %(message)s"))
    if log is not None:
        handlers.append(_appended(log, taken))
    before = _LIBRARY.level
    with ExitStack() as stack:
        for handler in handlers:
            stack.callback(_closed, handler)
            _LIBRARY.addHandler(handler)
        _LIBRARY.setLevel(logging.DEBUG if log is not None else level)
        stack.callback(_LIBRARY.setLevel, before)
        yield


def _closed(handler: logging.Handler) -> None:
    _LIBRARY.removeHandler(handler)
    with suppress(OSError):  # what could not be written has been said
        handler.close()


def _appended(log: str, taken: Iterable[str]) -> _LogFile:
    """A handler that writes at the end of a file, once it is sure that this spoils nothing."""
    for name in taken:
        if os.path.realpath(name) == os.path.realpath(log) or (
            os.path.exists(name) and os.path.exists(log) and os.path.samefile(name, log)
        ):
            raise OutputError(f"the log {log} is a file that this run reads or writes; give --log another file")
    try:
        if os.path.isfile(log):
            with open(log, "rb") as file:
                if b"\0" in file.read(_HEAD_BYTES):
                    raise OutputError(f"the log {log} exists and is no text; give --log another file")
        handler = _LogFile(log, mode="a", encoding="utf-8")
    except (OSError, ValueError) as exc:
        reason = ((getattr(exc, "strerror", None)) or str(exc)).lower()
        raise OutputError(f"the log {log} cannot be opened: {reason}; give --log a file that can be written") from exc
    handler.setFormatter(_Bare("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    return handler


def unforeseen(exc: Exception) -> str:
    """The sentence for what none of our errors foresees; the log has the rest."""
    _log.debug("unforeseen", exc_info=exc)
    reason = " ".join(str(exc).split())
    if isinstance(exc, MemoryError) or "Insufficient memory" in reason:  # as OpenCV says it
        return (
            f"the memory is full ({reason or type(exc).__name__}); lower --threads, close other programs, or use a machine "
            "with more memory"
        )
    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if os.path.dirname(georeg.__file__) in frame.filename] or frames
    at = f"{os.path.basename(ours[-1].filename)}:{ours[-1].lineno}"
    return f"internal error: {type(exc).__name__}: {reason} at {at}; please report this with the command"
