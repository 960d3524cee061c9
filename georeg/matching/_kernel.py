"""The parts of matching in C, where a compiler was at hand when georeg was installed.

The libraries are plain: no version of Python is in them, and no call of them holds the interpreter's lock. Each does in
one call what a function in NumPy and OpenCV does in many; those stay, for the reader and for where there is no library.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
"""Where `hatch_build.py` puts the libraries, under these names on every system."""
ADDRESS, INTEGER = ctypes.c_void_p, ctypes.c_int64

_log = logging.getLogger(__name__)


def numbers(name: str, *members: str) -> type[ctypes.Structure]:
    """A C structure of doubles."""
    return type(name, (ctypes.Structure,), {"_fields_": [(member, ctypes.c_double) for member in members]})


def load(library: Path, name: str, *arguments: Any) -> Callable[..., int] | None:
    """A function of a library; None where there is none for this machine.

    Its status is returned; one below 0 says that there is no memory.
    """
    try:
        function = getattr(ctypes.CDLL(str(library)), name)
    except (OSError, AttributeError) as error:
        _log.debug("NumPy does the work of %s, since there is no compiled one: %s", name, error)
        return None
    function.argtypes = arguments
    function.restype = ctypes.c_int
    _log.debug("%s is from %s", name, library)
    return called(function)


def called(function: Callable[..., int]) -> Callable[..., int]:
    """A function that raises MemoryError where this one returns less than 0."""

    def call(*arguments: Any) -> int:
        status = function(*arguments)
        if status < 0:
            raise MemoryError
        return status

    return call
