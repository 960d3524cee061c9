"""Rasters that GDAL reads over the network: how they are asked for, what was read of them, and what may be told of them."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import rasterio
from rasterio.env import get_gdal_config
from rasterio.windows import Window

OPTIONS: dict[str, Any] = {
    "GDAL_HTTP_CONNECTTIMEOUT": 15,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 100,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "CPL_VSIL_CURL_CACHE_SIZE": 128 * 2**20,
}
"""Of GDAL, where the user has set no other: patience in seconds and bytes a second, and bytes that it keeps."""
SIDECARS = (".ovr", ".msk", ".aux.xml")
"""Files beside a raster that are asked for; GDAL would try some forty names."""
_REMOTE = re.compile(
    r"(?:[a-z0-9]+\+)*(?:https?|ftp|s3|gs|az|oss)://|.*/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs)(?:_streaming)?[/?]",
    re.IGNORECASE,
)
_KEYS = ("VSICURL", "S3", "GS", "AZURE", "ADLS", "OSS", "SWIFT", "WEBHDFS")
"""Under which GDAL tells what it fetches."""
_SIZE = re.compile(r"GetFileSize\((.+)\)=(\d+)\s+response_code=(\d+)")
_RANGE = re.compile(r"Downloading (\d+)-(\d+) \((.+)\)\.\.\.")
_TROUBLE = re.compile(r"(?:DownloadRegion|GetFileSize)\(.+?\): response_code=(\d+), (?:curl error )?msg=(.*)")
_ANSWER = re.compile(r"Got response_code=(\d+)")
_FETCHED_PX = 256 * 256
"""Where blocks are small, so many pixels are fetched at once."""
_FIRST_BYTES = 16384
"""Fetched together with the size of a file, where that is not asked for alone."""


def is_remote(path: str) -> bool:
    """Whether GDAL fetches the file of that name over the network.

    >>> is_remote("https://example.org/scene.tif"), is_remote("/vsis3/bucket/scene.tif"), is_remote("scene.tif")
    (True, True, False)
    """
    return _REMOTE.match(path) is not None


def without_secrets(text: str) -> str:
    """A name or a message with all remote names in it as they may be told and stored: without user, password and query.

    >>> without_secrets("no https://me:word@example.org/scene.tif?token=1 here")
    'no https://example.org/scene.tif here'
    >>> without_secrets("what?.tif")
    'what?.tif'
    """
    return re.sub(r"[^\s'\"()<>]+", lambda word: _bare(word[0]) if is_remote(word[0]) else word[0], text)


def _bare(path: str) -> str:
    wrapped = re.match(r"(.*/vsi[a-z_0-9]+)\?(?:.*&)?url=([^&]*)", path)
    if wrapped:
        path = f"{wrapped[1]}/{wrapped[2].replace('%3A', ':').replace('%2F', '/').partition('%3F')[0]}"
    return re.sub(r"://[^/@?]*@", "://", path).partition("?")[0]


@dataclass
class Traffic:
    """What was read over the network; it grows while it is read."""

    n_bytes: int = 0
    """Bytes of files, without the headers of messages."""
    n_requests: int = 0
    """Requests that were answered with bytes."""
    sizes: dict[str, int] = field(default_factory=dict, repr=False)
    """Whole size in bytes of each file that was asked for, by its address without secrets."""

    @property
    def total_bytes(self) -> int:
        """Of the files that were read, whole."""
        return sum(self.sizes.values())

    def __str__(self) -> str:
        """A sentence without its full stop.

        >>> str(Traffic(11_300_000, 143, {"https://example.org/scene.tif": 512_000_000}))
        'read 11.3 MB of 512 MB over the network in 143 requests'
        """
        return f"read {_mb(self.n_bytes)} of {_mb(self.total_bytes)} over the network in {self.n_requests} requests"


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.3g} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.3g} GB"


_METER: ContextVar[Traffic | None] = ContextVar("georeg_traffic", default=None)
_LISTENING = threading.local()
_SIZES: dict[str, int] = {}
"""GDAL asks once in a process for the size of a file."""


@contextmanager
def metered() -> Iterator[Traffic]:
    """Count what georeg reads over the network in this block; nothing is counted of local files.

    What GDAL has still in memory, from an earlier block, is not read again.

    >>> with metered() as traffic:
    ...     pass
    >>> traffic.n_bytes
    0
    """
    traffic = Traffic()
    token = _METER.set(traffic)
    try:
        yield traffic
    finally:
        _METER.reset(token)


def current() -> Traffic | None:
    """What counts in this block, to be handed to other threads; None outside of `metered`."""
    return _METER.get()


@contextmanager
def fetching(path: str, traffic: Traffic | None, *, remote: bool | None = None) -> Iterator[Listener]:
    """GDAL as it should read a remote file, in this thread, and what it fetches counted; nothing for a local file.

    One request after the other is made: only so does GDAL tell of each, and keep what it has fetched. ``remote`` is whether
    there is anything to fetch, where the name alone does not tell.
    """
    listener = Listener(traffic or Traffic())
    if not (is_remote(path) if remote is None else remote):
        yield listener
        return
    options = {name: value for name, value in OPTIONS.items() if get_gdal_config(name) is None}
    options |= {"GDAL_HTTP_MULTIRANGE": "SERIAL", "CPL_DEBUG": ",".join(_KEYS)} | _beside(path)
    _FILTER.start()
    before = getattr(_LISTENING, "to", None)
    _LISTENING.to = listener
    try:
        with rasterio.Env(**options):
            yield listener
    finally:
        _LISTENING.to = before
        _FILTER.stop()


def fetch_blocks(dataset: Any, window: Window, factor: int, bands: Sequence[int]) -> None:
    """Have GDAL fetch the blocks of an open raster that a window needs, whose pixels ``factor`` times smaller are counted.

    It tells what it fetches, but rasterio drops that while it reads pixels; not so while they are summed. The blocks are taken
    from the last to the first: where GDAL sees that it reads on and on, it fetches ahead.
    """
    left, top = int(window.col_off) // factor, int(window.row_off) // factor
    right = min(-(-int(window.col_off + window.width) // factor), dataset.width)
    bottom = min(-(-int(window.row_off + window.height) // factor), dataset.height)
    for band in bands:
        height, width = dataset.block_shapes[band - 1]
        height *= max(1, _FETCHED_PX // (height * width))
        for y in reversed(range(top // height * height, bottom, height)):
            for x in reversed(range(left // width * width, right, width)):
                block = Window(x, y, min(width, dataset.width - x), min(height, dataset.height - y))
                dataset.checksum(band, window=block)


def _beside(path: str) -> dict[str, str]:
    """Which files beside it GDAL asks for: none where the name is one of a question, all of a VRT."""
    suffix = os.path.splitext(path)[1]
    if "?" in path or re.search(r"[\s,]", suffix):
        return {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    allowed = "" if suffix.lower() in (".vrt", "") else ",".join((suffix, *SIDECARS))
    return {"GDAL_DISABLE_READDIR_ON_OPEN": "YES"} | ({"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": allowed} if allowed else {})


class Listener:
    """Counts what GDAL tells in one thread."""

    def __init__(self, traffic: Traffic) -> None:
        self.trouble: str | None = None
        """Why a fetch failed, if the last did."""
        self._traffic = traffic
        self._asked = 0

    def hear(self, message: str) -> None:
        if size := _SIZE.search(message):
            self._know(size[1], int(size[2]))
            if size[3] == "206":  # asked for with the first bytes
                self._count(min(_FIRST_BYTES, int(size[2])))
        elif asked := _RANGE.search(message):
            address = without_secrets(asked[3])
            self._know(address, _SIZES.get(address, 0))
            end = min(int(asked[2]) + 1, _SIZES.get(address, int(asked[2]) + 1))
            self._asked = end - int(asked[1])
        elif trouble := _TROUBLE.search(message):
            code, reason = trouble.groups()
            self.trouble = f"HTTP response code {code}" if int(code) >= 400 else reason
        elif answer := _ANSWER.search(message):
            if answer[1] == "206":
                self.trouble = None
                self._count(self._asked)
            self._asked = 0

    def _know(self, address: str, size: int) -> None:
        if size:
            address = without_secrets(address)
            _SIZES[address] = size
            with _LOCK:
                self._traffic.sizes[address] = size

    def _count(self, n_bytes: int) -> None:
        with _LOCK:  # two threads may read two files
            self._traffic.n_bytes += n_bytes
            self._traffic.n_requests += 1


_LOCK = threading.Lock()


class _Filter(logging.Filter):
    """Takes what GDAL tells of a fetch out of the log of rasterio, while there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._log = logging.getLogger("rasterio._env")
        self._n, self._level = 0, logging.NOTSET

    def start(self) -> None:
        with _LOCK:
            self._n += 1
            if self._n == 1:
                self._level = self._log.level
                self._log.setLevel(logging.DEBUG)
                self._log.addFilter(self)

    def stop(self) -> None:
        with _LOCK:
            self._n -= 1
            if self._n == 0:
                self._log.removeFilter(self)
                self._log.setLevel(self._level)

    def filter(self, record: logging.LogRecord) -> bool:
        listener: Listener | None = getattr(_LISTENING, "to", None)
        message = record.getMessage()
        if listener is not None:
            listener.hear(message)
        if record.levelno < max(logging.INFO, self._level or logging.getLogger("rasterio").getEffectiveLevel()):
            return False
        record.msg, record.args = without_secrets(message), ()
        return True


_FILTER = _Filter()
