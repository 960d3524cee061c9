"""End the program within a second of being told to, whatever it is in the middle of. Of the command line alone.

A thread beside the main one does it, so that what keeps Python's lock for longer delays it: of what georeg calls, that is
GDAL writing a large vector table without geometry. Nor does a process end before the system has let go of it, as while it
syncs to a disk that hangs.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from georeg.temporaries import abandon, written
from georeg.terminal import TOLD

GRACE_S = 0.6
"""What the main thread has for stopping by itself, before the process is ended from beside it."""
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """What has been heard so far. The first signal raises KeyboardInterrupt, further ones nothing."""

    def __init__(self, end: Callable[[], None], tell: socket.socket | None, grace_s: float) -> None:
        self.heard = threading.Event()
        self._over = threading.Event()
        self._one = threading.Lock()
        self._end, self._tell, self._grace_s = end, tell, grace_s

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self.heard.is_set():
            self.heard.set()
            raise KeyboardInterrupt

    def interrupt(self) -> None:
        """Do what a signal would, from another thread, where signals are ignored too."""
        main = threading.main_thread().ident
        if hasattr(signal, "pthread_kill") and main is not None:
            signal.pthread_kill(main, signal.SIGINT)  # wakes it where it waits
        else:
            interrupt_main()
        if self._tell is not None:
            self._tell.send(bytes([signal.SIGINT]))

    def finish(self) -> None:
        """The main thread has stopped by itself; it waits here for the end where it was too late."""
        self._one.acquire()
        self._over.set()

    def watch(self, told: socket.socket) -> None:
        """End the process if a signal comes and the main thread, in a long call of C, does not hear of it in time."""
        while numbers := told.recv(64):
            if set(numbers) & set(_SIGNALS):
                break
        if not numbers or self._over.wait(self._grace_s) or not self._one.acquire(blocking=False):
            return
        self._end()


def end_interrupted() -> None:
    """Leave nothing, say so and end, without waiting for any thread as Python does before it ends."""
    abandon(wait_s=0.1)
    shown = _SHOW_CURSOR if os.isatty(2) else b""  # a progress bar hides it
    with suppress(OSError):  # nobody listens
        os.write(2, shown + f"{interrupted()}\n".encode(errors="replace"))
    os._exit(1)


@contextmanager
def listening(
    *, own_process: bool, end: Callable[[], None] = end_interrupted, grace_s: float = GRACE_S
) -> Iterator[Interrupts]:
    """Being interrupted, terminated or hung up on raises KeyboardInterrupt, and ends the process where that is not heard.

    What else is raised after a signal becomes a KeyboardInterrupt too: libraries translate what interrupts their callbacks.
    In a thread that is not the main one nothing is changed. What a shell has told a job to ignore stays ignored. A process
    of its own is ended here once it is interrupted, by ``end``, which does not return.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Interrupts(end, None, grace_s)
        return
    told, tell = socket.socketpair()
    tell.setblocking(False)
    interrupts = Interrupts(end, tell, grace_s)
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
        if own_process and interrupts.heard.is_set():
            TOLD.error(interrupted().removeprefix("georeg: "))
            end()
        signal.set_wakeup_fd(woken)
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
