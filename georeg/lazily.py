"""Modules that are imported once they are used."""

from __future__ import annotations

import importlib
from typing import Any


class Lazily:
    """Stands for a module, and imports it when something of it is first asked for.

    What reads and writes vector files takes as much memory as all the rest, SciPy as long to import, and both are seldom
    needed. Types of such a module are imported under ``if TYPE_CHECKING:``.

    >>> Lazily("math").sqrt(9.0)
    3.0
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
