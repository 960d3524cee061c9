"""Jobs of the command line for another program, by lines of JSON: requests on standard input, answers on standard output.

A job is the words of a command line. It runs as there, but is heard by a `Job` instead of a terminal. The main thread does
the jobs, one at a time; a thread beside it reads requests, so that cancelling, and the end of the other program, which closes
standard input, are heard whatever the main thread is in.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import platform
import queue
import tempfile
import threading
from contextlib import suppress
from typing import Any, NoReturn

import georeg
from georeg.answers import Answers, Job, hint, own_stdout
from georeg.errors import GeoregError
from georeg.interrupts import Interrupts, listening
from georeg.lazily import Lazily
from georeg.parser import RaisingParser, UsageError, named_files, parsed
from georeg.temporaries import abandon, forget_written, held, written
from georeg.terminal import heard_by, recording, unforeseen
from georeg.verb_schema import NO_JOBS, PROTOCOL

watching = Lazily("georeg.watching")
pyproj, rasterio, rasterio_crs = Lazily("pyproj"), Lazily("rasterio"), Lazily("rasterio.crs")
memory = Lazily("georeg.memory")
GRACE_S = 0.3
"""What the main thread has for stopping by itself, before the process is ended from beside it."""
_LAST_S = 0.2
"""How long the last line may take: nobody may read it."""
_TESTED = 32633
_REQUESTS = '{"type": "run", "id": 1, "arguments": ["align", …]} or {"type": "cancel", "id": 1}'


def serve() -> int:
    """The verb: answer requests until standard input ends; the process must be its own.

    Raises
    ------
    OutputError
        There is no standard output.
    """
    answers = Answers(own_stdout())
    for name in ("rasterio", "georeg"):  # what the one logs is raised, and the other told of each job
        logging.getLogger(name).addHandler(logging.NullHandler())
    with held(os.path.join(tempfile.gettempdir(), "tie_points")) as mark:  # what killed workers left goes as well
        folder = mark + ".new"
        os.mkdir(folder)
        worker = Worker(answers, folder)
        with listening(own_process=True, end=worker.end, grace_s=GRACE_S) as interrupts:
            worker.work(interrupts)
    return 0


class Worker:
    """Does one job after the other."""

    def __init__(self, answers: Answers, folder: str) -> None:
        self._answers, self._folder = answers, folder
        self._jobs: queue.SimpleQueue[tuple[Any, list[str]]] = queue.SimpleQueue()
        self._greeted = threading.Event()
        self._lock = threading.Lock()
        self._running: Any = None
        """Id of the job that runs."""
        self._cancelled: Any = None
        """Id of the job that was cancelled, with which all ends."""
        self._gone = False
        """Whether standard input has ended."""

    def work(self, interrupts: Interrupts) -> NoReturn:
        """Until the end."""
        threading.Thread(target=self._read, args=(interrupts,), name="georeg-requests", daemon=True).start()
        memory.keep_pages()
        self._answers.send(
            type="hello",
            protocol=PROTOCOL,
            georeg=georeg.__version__,
            python=platform.python_version(),
            software=software(),
            self_test=self_test(),
        )
        self._greeted.set()
        with suppress(ImportError):  # which the first job will tell
            importlib.import_module("georeg.verbs")  # while the other program makes up its mind
        while True:
            last = self._done(*self._jobs.get())
            with self._lock:
                ends = self._gone or self._cancelled is not None or interrupts.heard.is_set()
                if not ends:
                    self._running = None
                    self._answers.send(**last)
            if ends:
                interrupts.heard.set()  # if signals are ignored
                raise KeyboardInterrupt

    def end(self) -> NoReturn:
        """Leave nothing, say so and end, without waiting for any thread."""
        abandon(wait_s=0.1)
        if self._cancelled is not None:
            files = ", ".join(written())
            told = f"Already written: {files}" if files else "No file was changed"
            self._answers.close(_LAST_S, _error(self._cancelled, "cancelled", 1, f"The job was cancelled. {told}"))
        os._exit(0 if self._gone or self._cancelled is not None else 1)

    # --- in the main thread -----------------------------------------------------------------------------------------

    def _done(self, number: Any, words: list[str]) -> dict[str, Any]:
        """Do a job; the line that ends it."""
        forget_written()
        for name in os.listdir(self._folder):
            with suppress(OSError):  # somebody still reads it, on Windows
                os.remove(os.path.join(self._folder, name))
        try:
            return _result(number, words, Job(self._answers, number, self._folder))
        except UsageError as exc:
            return _error(number, "usage", exc.exit_code, str(exc))
        except GeoregError as exc:
            return _error(number, type(exc).__name__, exc.exit_code, str(exc))
        except Exception as exc:  # noqa: BLE001 - the next job may go well
            return _error(number, "internal", 1, unforeseen(exc))
        finally:
            gc.collect()  # errors hold the pixels of the functions that they went through

    # --- in the thread that reads -----------------------------------------------------------------------------------

    def _read(self, interrupts: Interrupts) -> None:
        pending = b""
        with suppress(OSError):  # so Windows says that the other side has gone
            while part := os.read(0, 65536):
                *lines, pending = (pending + part).split(b"\n")
                for line in lines:
                    if line.strip():
                        self._greeted.wait()
                        self._hear(line, interrupts)
        with self._lock:
            self._gone = True
        interrupts.interrupt()

    def _hear(self, line: bytes, interrupts: Interrupts) -> None:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        known = request.get("type") if isinstance(request, dict) else None
        if known == "run":
            self._run(request.get("id"), request.get("arguments"))
        elif known == "cancel":
            self._cancel(request.get("id"), interrupts)
        else:
            number = request.get("id") if isinstance(request, dict) else None
            self._refuse(number, "usage", f"a line is no request that is known; send {_REQUESTS}")

    def _run(self, number: Any, words: Any) -> None:
        if (
            not isinstance(number, str | int)
            or not isinstance(words, list)
            or not all(isinstance(w, str) for w in words)
        ):
            self._refuse(number, "usage", f"a job needs an id and a list of words; send {_REQUESTS}")
            return
        with self._lock:
            if (running := self._running) is None:
                self._running = number
                self._jobs.put((number, words))
        if running is not None:
            self._refuse(number, "busy", f"job {running} is running; send another once that has ended, or cancel it")

    def _cancel(self, number: Any, interrupts: Interrupts) -> None:
        with self._lock:
            if (running := self._running) is not None and number in (None, running):
                self._cancelled = running
        if self._cancelled is None:
            self._refuse(
                number, "usage", f"no job {number} is running, so none was cancelled; it may have ended before"
            )
        else:
            interrupts.interrupt()

    def _refuse(self, number: Any, code: str, message: str) -> None:
        self._answers.send(**_error(number, code, UsageError.exit_code, message))


def _result(number: Any, words: list[str], job: Job) -> dict[str, Any]:
    """What a job comes to, if it goes well."""
    arguments = parsed(words, RaisingParser)
    if arguments.verb in NO_JOBS:
        raise UsageError(f"{arguments.verb} is no job; give the words of another verb")
    arguments.json = arguments.quiet = True
    recorded = recording(arguments.log, named_files(arguments), verbose=max(arguments.verbose, 1))
    with job, recorded, heard_by(job), watching.watched_by(job):
        code = getattr(importlib.import_module(arguments.module), arguments.verb)(arguments) or 0
    output = getattr(arguments, "output", None)
    return {
        "type": "result",
        "id": number,
        "verb": arguments.verb,
        "output": None if output is None else os.path.abspath(output),
        "exit_code": code,
        "values": job.values(),
    }


def _error(number: Any, code: str, exit_code: int, message: str) -> dict[str, Any]:
    return {
        "type": "error",
        "id": number,
        "code": code,
        "exit_code": exit_code,
        "message": message,
        "hint": hint(message),
    }


def software() -> dict[str, str]:
    """Versions of what reads and writes rasters, as far as it can be imported."""
    try:
        return {"rasterio": rasterio.__version__, "GDAL": rasterio.__gdal_version__, "PROJ": pyproj.proj_version_str}
    except ImportError:
        return {}


def self_test() -> dict[str, Any]:
    """Whether coordinate systems can be resolved: where the environment names data of another program, they cannot."""
    for name in ("pyproj", "rasterio"):
        try:
            made = pyproj.CRS if name == "pyproj" else rasterio_crs.CRS
            found = made.from_epsg(_TESTED).to_epsg()
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is told
            found, reason = None, f": {' '.join(str(exc).split())}"
        else:
            reason = ""
        if found != _TESTED:
            message = (
                f"{name} cannot resolve EPSG:{_TESTED}{reason}; unset PROJ_DATA, PROJ_LIB and GDAL_DATA, or install georeg "
                "anew in an environment of its own"
            )
            return {"ok": False, "message": message}
    return {"ok": True, "message": f"pyproj and rasterio resolve EPSG:{_TESTED}"}
