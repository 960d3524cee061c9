"""The lines of JSON that the plugin and `georeg serve` exchange. Knows no process, file or QGIS."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

PROTOCOL = 1
"""Of the worker that is spoken to."""
SETUP_HINT = "Open Settings > Options > georeg and choose or install a Python with georeg"


class WorkerError(Exception):
    """A job that ended without a result.

    Parameters
    ----------
    code
        Name of georeg's exception such as ``MatchError``, or ``usage``, ``cancelled``, ``internal``, ``setup``, ``lost``.
    message
        What happened, in a sentence.
    hint
        What to do next; empty where the message says it.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint

    def __str__(self) -> str:
        """Both, unless the message has said what to do."""
        return self.message if self.hint in self.message else f"{self.message.rstrip('.')}. {self.hint}"


def run_line(job_id: str, arguments: Sequence[str]) -> bytes:
    """Asks for a job, in the command line's own words.

    >>> run_line("1", ["align", "a.tif"])
    b'{"type": "run", "id": "1", "arguments": ["align", "a.tif"]}\\n'
    """
    return _line({"type": "run", "id": job_id, "arguments": [str(word) for word in arguments]})


def cancel_line(job_id: str) -> bytes:
    """Asks to stop a job."""
    return _line({"type": "cancel", "id": job_id})


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps(values) + "\n").encode("ascii")


def parse(line: bytes) -> dict[str, Any]:
    """What a line of the worker says.

    Raises
    ------
    WorkerError
        It is no object of JSON with a type: something that is not georeg wrote it.
    """
    try:
        said = json.loads(line.decode("utf-8"))
    except ValueError:  # a UnicodeDecodeError is one
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        shown = line.decode("utf-8", "replace").strip()[:200]
        raise WorkerError("protocol", f"the worker wrote what is no message: {shown!r}", SETUP_HINT)
    return said


def check_hello(said: dict[str, Any]) -> dict[str, Any]:
    """The first line, if the worker that says it can be used.

    Raises
    ------
    WorkerError
        It is another protocol, or the worker cannot resolve an EPSG code.
    """
    if said["type"] == "error":
        raise error_of(said)
    if said["type"] != "hello" or said.get("protocol") != PROTOCOL:
        raise WorkerError(
            "setup",
            f"the installed georeg {said.get('georeg', '')} speaks protocol {said.get('protocol')}, this plugin {PROTOCOL}",
            "Update both to the same version",
        )
    test = said.get("self_test") or {}
    if not test.get("ok"):
        raise WorkerError("setup", f"the Python of georeg is broken: {test.get('message', 'no self-test')}", SETUP_HINT)
    return said


def error_of(said: dict[str, Any]) -> WorkerError:
    """The exception for a line of type ``error``."""
    return WorkerError(
        str(said.get("code") or "internal"), str(said.get("message") or "unknown"), str(said.get("hint") or "")
    )


def result_of(said: dict[str, Any], job_id: str) -> dict[str, Any] | None:
    """The result, if the line ends the job with one; None for a line on the way.

    Raises
    ------
    WorkerError
        The line ends the job without one.
    """
    if said["type"] == "error" and said.get("id") in (job_id, None):
        raise error_of(said)
    return said if said["type"] == "result" and said.get("id") == job_id else None


_UNFIT = {
    "no module named": "the Python chosen for georeg has no georeg in it",
    "unknown option": "the Python chosen for georeg is older than 3.11",
    "invalid choice": "the georeg in the Python chosen for it is too old for this plugin",
}
"""By what a Python says that cannot start the worker."""


def lost(exit_code: int | None, stderr: str) -> WorkerError:
    """The exception for a worker that ended in the middle of a job, or never began."""
    for said, problem in _UNFIT.items():
        if said in stderr.lower():
            return WorkerError("setup", problem, SETUP_HINT)
    last = [line.strip() for line in stderr.splitlines() if line.strip()]
    text = f"the worker ended without a result (exit code {exit_code}){f': {last[-1][:300]}' if last else ''}"
    return WorkerError("lost", text, "Try again; if it happens again, please report it with the log")


def without_hint(message: str, hint: str) -> str:
    """What happened, without what to do next, which the message may end with as well.

    >>> without_hint("no ground; give others", "give others"), without_hint("no ground", "give others")
    ('no ground', 'no ground')
    """
    return message[: -len(hint)].rstrip(" ;:") if hint and message.endswith(hint) else message


class Lines:
    """Puts bytes that arrive in pieces together to lines.

    >>> lines = Lines()
    >>> lines.feed(b"a\\nb"), lines.feed(b"c\\n")
    ([b'a'], [b'bc'])
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Lines that are complete by now, without their ends."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line for line in lines if line.strip()]
