"""End the program within a second of being told to, whatever it is in the middle of. Of the command line alone."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from georeg.temporaries import abandon, written

GRACE_S = 0.6
"""What the main thread has for stopping by itself, before the process is ended from beside it."""
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """What has been heard so far. The first signal raises KeyboardInterrupt, further ones nothing."""

    def __init__(self) -> None:
        self.heard = threading.Event()
        self._over = threading.Event()
        self._one = threading.Lock()

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self.heard.is_set():
            self.heard.set()
            raise KeyboardInterrupt

    def finish(self) -> None:
        """The main thread has stopped by itself; it waits here for the end where it was too late."""
        self._one.acquire()
        self._over.set()

    def watch(self, told: socket.socket) -> None:
        """End the process if a signal comes and the main thread, in a long call of C, does not hear of it in time."""
        while numbers := told.recv(64):
            if set(numbers) & set(_SIGNALS):
                break
        if not numbers or self._over.wait(GRACE_S) or not self._one.acquire(blocking=False):
            return
        abandon(wait_s=0.1)
        end = _SHOW_CURSOR if os.isatty(2) else b""  # a progress bar hides it
        os.write(2, end + f"{interrupted()}\n".encode(errors="replace"))
        os._exit(1)


@contextmanager
def listening(*, own_process: bool) -> Iterator[Interrupts]:
    """Being interrupted, terminated or hung up on raises KeyboardInterrupt, and ends the process where that is not heard.

    What else is raised after a signal becomes a KeyboardInterrupt too: libraries translate what interrupts their callbacks.
    In a thread that is not the main one nothing is changed. What a shell has told a job to ignore stays ignored. A process
    of its own, once interrupted, stays deaf to further signals until its end.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    told, tell = socket.socketpair()
    tell.setblocking(False)
    watcher = threading.Thread(target=interrupts.watch, args=(told,), name="georeg-interrupts", daemon=True)
    before: dict[int, Any] = {}
    woken, complained = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False), sys.unraisablehook
    try:
        watcher.start()
        sys.unraisablehook = lambda what: None if interrupts.heard.is_set() else complained(what)
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, interrupts.handle)
        yield interrupts
    except Exception as exc:
        if interrupts.heard.is_set():
            raise KeyboardInterrupt from exc
        raise
    finally:
        interrupts.finish()
        signal.set_wakeup_fd(woken)
        if own_process and interrupts.heard.is_set():
            abandon(wait_s=0.1)  # where the clearing up was itself interrupted
        else:
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = complained
        tell.close()
        watcher.join()
        told.close()


def interrupted() -> str:
    """The sentence to end with."""
    names = ", ".join(written())
    return f"georeg: interrupted; {f'{names} written before' if names else 'nothing was written'}"
