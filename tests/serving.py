"""A server of parts of files that counts what it sends and can be told to fail.

It runs in a process of its own: GDAL may ask while Python's interpreter is locked.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

BEHAVIOUR: dict[str, Any] = {"n_bytes": 0, "n_requests": 0, "ranges": True, "left": None, "status": None, "key": None}
"""Bytes of bodies and requests answered with one; whether it serves parts of files; after how many more requests it ends
every connection without an answer; a status that it answers all with; what the query must be."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder = Path()
    state: ClassVar[dict[str, Any]] = dict(BEHAVIOUR)
    lock = threading.Lock()

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        """Take over a change of the state, and tell it."""
        with self.lock:
            self.state.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            told = json.dumps(self.state).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def _answer(self, body: bool) -> None:
        state = self.state
        if self._dead():
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        address = urlsplit(self.path)
        path = self.folder / address.path.lstrip("/")
        if state["status"] or not path.is_file():
            self._empty(state["status"] or 404)
        elif state["key"] and address.query != state["key"]:
            self._empty(403)
        else:
            self._part(path, body)

    def _dead(self) -> bool:
        with self.lock:
            left = self.state["left"]
            if left:
                self.state["left"] = left - 1
            return left == 0

    def _part(self, path: Path, body: bool) -> None:
        size = path.stat().st_size
        first, last, ranges = 0, size - 1, self.state["ranges"]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        part = bool(asked and ranges)
        if asked and ranges:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        if first > last:
            return self._empty(416)
        self.send_response(206 if part else 200)
        self.send_header("Content-Length", str(last - first + 1))
        if ranges:
            self.send_header("Accept-Ranges", "bytes")
        if part:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if body:
            with path.open("rb") as file:
                file.seek(first)
                content = file.read(last - first + 1)
            with self.lock:
                self.state["n_requests"] += 1
                self.state["n_bytes"] += len(content)
            with suppress(ConnectionError):  # who asked has gone
                self.wfile.write(content)

    def _empty(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Server:
    """A running server of a folder."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, name: str) -> str:
        """Of a file of the folder."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def told(self, **change: Any) -> dict[str, Any]:
        """Its state, see `BEHAVIOUR`, after a change of it."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/", json.dumps(change))
        state: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return state


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A server of a folder while it is needed."""
    process = subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Server(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def main() -> None:
    _Handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
