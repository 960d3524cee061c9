"""Who watches tie points appear while a run lasts, such as a map; nobody by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from georeg.fit import Fit
from georeg.tie_points import TiePoints


class Watcher(Protocol):
    """Sees tie points; whatever it raises ends the run."""

    def due(self) -> bool:
        """Whether it would look at tie points that are not complete yet."""

    def see(self, points: TiePoints, fitted: Fit | None = None, *, partial: bool = False) -> None:
        """These are there, those rejected too, with their fit if there is one."""


_WATCHER: ContextVar[Watcher | None] = ContextVar("georeg_watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """In this block, and in this thread alone, tie points are shown to ``watcher``."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def due() -> bool:
    """Whether somebody would look at tie points that are not complete yet."""
    watcher = _WATCHER.get()
    return watcher is not None and watcher.due()


def show_points(points: TiePoints, *, partial: bool = False) -> None:
    """Tie points that no model was fitted to yet; with ``partial`` more are coming, and their status may still change."""
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher.see(points, partial=partial)


def show_fit(fitted: Fit) -> None:
    """Tie points with what each did for the fit, and their residuals."""
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher.see(fitted.points, fitted)
