"""How a GeoTIFF is stored: our defaults, the user's creation options over them, and a refusal of those that GDAL ignores."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterBlockError, RasterioError
from rasterio.io import MemoryFile

from georeg.errors import InputError
from georeg.files import first_line

DriverKind = Literal["GTiff", "COG"]
BLOCK_PX = 512
_BESIDE = ("TFW", "WORLDFILE", "RPB", "RPCTXT", "APPEND_SUBDATASET", "PROFILE")
"""Options that write a file beside the output, or decide whether it says where it lies."""
_GRID = ("TILING_SCHEME", "TARGET_SRS", "RES", "EXTENT", "WARP_RESAMPLING", "ADD_ALPHA", "ALIGNED_LEVELS")
"""Options with which the COG driver resamples a second time."""
_PREDICTED = ("DEFLATE", "LZW", "ZSTD")
"""Compressions that a predictor helps."""


@dataclass(frozen=True)
class Creation:
    """How resampled pixels are stored."""

    driver: DriverKind = "GTiff"
    """GDAL's: a plain tiled GeoTIFF or a cloud-optimised one."""
    options: tuple[str, ...] = ()
    """Creation options of that driver, NAME=VALUE, instead of ours."""

    def profile(self, dtype: Any, shape: tuple[int, int]) -> dict[str, str]:
        """All creation options of a file of such pixels, (height, width).

        >>> Creation("COG", ("compress=zstd",)).profile("uint8", (512, 512))["PREDICTOR"]
        'YES'

        Raises
        ------
        InputError
            An option is not NAME=VALUE, or cannot be used here.
        """
        given = self._given()
        layout = {"BLOCKSIZE": str(BLOCK_PX)} if self.driver == "COG" else _tiles(given, shape)
        defaults = layout | {"BIGTIFF": "IF_SAFER"}
        defaults |= compression(dtype, given.get("COMPRESS", "DEFLATE").upper(), self.driver)
        if "NBITS" in given:
            defaults.pop("PREDICTOR", None)  # there is none for such bits
        return defaults | given

    def check(self, dtype: Any, count: int) -> None:
        """Raise unless GDAL understands every option that the user gave: a file of a few pixels is made in memory.

        Raises
        ------
        InputError
            An option is not NAME=VALUE, is unknown, or cannot be used with such pixels.
        """
        if not self.options:
            return
        side = BLOCK_PX + 16  # so that a COG has an overview
        profile = self.profile(dtype, (side, side)) | {"NUM_THREADS": "1"}  # errors of its threads are only printed
        shape = {"dtype": dtype, "count": count, "height": side, "width": side, "transform": Affine(2, 0, 1, 0, -2, 1)}
        try:
            with _complaints() as complaints, MemoryFile() as plain, MemoryFile() as made:
                options: Mapping[str, str] = profile if self.driver == "GTiff" else {}
                with plain.open(driver="GTiff", **shape, **options) as dataset:
                    dataset.write(np.zeros((count, side, side), dtype))
                if self.driver == "COG":
                    rasterio.shutil.copy(plain.name, made.name, driver="COG", **profile)
        except (RasterioError, RasterBlockError, CPLE_BaseError, ValueError) as exc:
            raise InputError(self._refusal(first_line(exc))) from exc
        if complaints:
            raise InputError(self._refusal(complaints[0]))

    def _given(self) -> dict[str, str]:
        given: dict[str, str] = {}
        for option in self.options:
            name, equals, value = option.partition("=")
            name = name.strip().upper()
            if not equals or not name:
                raise InputError(f"the creation option {option!r} is not NAME=VALUE; give one such as COMPRESS=ZSTD")
            if name in _BESIDE or (self.driver == "COG" and name in _GRID):
                raise InputError(
                    f"the creation option {option} would change where the output lies or what is beside it; leave it out"
                )
            given[name] = value.strip()
        return given

    def _refusal(self, reason: str) -> str:
        named = [
            option
            for option in self.options
            if re.search(rf"\b{re.escape(option.split('=')[0].strip())}\b", reason, re.I)
        ]
        what = "option " + named[0] if named else "options " + " ".join(self.options)
        reason = re.sub(r"(/vsimem/)?[0-9a-f-]{36}\S*\.tif: ?", "", reason)
        return f"the creation {what} cannot be used for this {self.driver}: {reason}; change it or leave it out"


def compression(dtype: Any, method: str = "DEFLATE", driver: DriverKind = "GTiff") -> dict[str, Any]:
    """Creation options that compress pixels of a type, with the predictor that suits it.

    The level is the quickest for 16 bits and floats, which with a predictor get no smaller by a higher one.
    """
    dtype, options = np.dtype(dtype), {"COMPRESS": method, "NUM_THREADS": "ALL_CPUS"}
    predictor = "1"
    if dtype.kind in "iu" and dtype.itemsize <= 4:  # not every libtiff has one for 64 bits
        predictor = "2"
    elif dtype.kind == "f":
        predictor = "3"
    if method not in _PREDICTED:
        return options
    if driver == "COG":
        options["PREDICTOR"] = "NO" if predictor == "1" else "YES"
    else:
        options["PREDICTOR"] = predictor
    if method == "DEFLATE":
        options["LEVEL" if driver == "COG" else "ZLEVEL"] = "1" if dtype.itemsize == 2 or dtype.kind == "f" else "6"
    return options


def _tiles(given: Mapping[str, str], shape: Sequence[int]) -> dict[str, str]:
    """Square tiles, of a small image no larger than that."""
    if given.get("TILED", "YES").upper() not in ("YES", "TRUE", "ON", "1"):
        return {}
    side = str(min(BLOCK_PX, 16 * -(-max(shape) // 16)))
    return {"TILED": "YES", "BLOCKXSIZE": side, "BLOCKYSIZE": side}


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What GDAL warns of in this thread: rasterio only logs it."""
    log, heard = logging.getLogger("rasterio._env"), _Hearing()
    level = log.level
    log.addFilter(heard)
    log.setLevel(min(level or logging.WARNING, logging.WARNING))
    try:
        yield heard.messages
    finally:
        log.setLevel(level)
        log.removeFilter(heard)


class _Hearing(logging.Filter):
    """Takes the warnings of one thread out of a log."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread or record.levelno < logging.WARNING:
            return True
        self.messages.append(re.sub(r"^CPLE_\w+ in ", "", record.getMessage()).rstrip("."))
        return False
