"""What the user has set, in QGIS's settings."""

from __future__ import annotations

from qgis.core import QgsSettings

from . import env

INTERPRETER = "georeg/interpreter"


def interpreter() -> str:
    """The Python of georeg: a path that need not exist, or empty."""
    return env.chosen_interpreter(own_interpreter())


def own_interpreter() -> str:
    """The path that the user gave; empty where none."""
    return str(QgsSettings().value(INTERPRETER, "") or "")


def set_interpreter(path: str) -> None:
    """Keep the path; empty: none, so that the managed environment is taken where there is one."""
    QgsSettings().setValue(INTERPRETER, path)
