"""How the process keeps the memory that its arrays come and go in. Of the command line alone: it holds for all of it."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
KEPT_BYTES = 48 * 2**20
"""Arrays up to this size use again what was freed, and this much that is free stays with the process."""


def keep_pages() -> None:
    """Have the C library use freed memory again, of one heap for all threads, instead of giving it back and asking anew.

    Pages that the system gives anew cost more the more threads ask for them, and each thread's own heap keeps what it once
    needed. Does nothing where the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, KEPT_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES)):
            mallopt(option, value)
