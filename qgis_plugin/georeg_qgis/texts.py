"""Translation for rooms that know no QGIS: who has one says how it is done; else texts stay as they are."""

from __future__ import annotations

from typing import Callable

_how: list[Callable[[str], str]] = []


def tr(text: str) -> str:
    """A text in the language of whoever reads it."""
    return _how[-1](text) if _how else text


def translate_by(how: Callable[[str], str]) -> None:
    """From now on texts are translated so."""
    _how[:] = [how]
