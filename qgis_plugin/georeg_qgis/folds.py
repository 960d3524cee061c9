"""Sections of the panel that are folded at first, and stay as the user left them."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsSettings
from qgis.gui import QgsCollapsibleGroupBox

_KEY = "georeg/folds/{}"


def fold(title: str, key: str) -> QgsCollapsibleGroupBox:
    """A section; whether it is open is kept under ``key`` in QGIS's settings, at once, since a QGIS may be killed."""
    box = QgsCollapsibleGroupBox(title)
    box.setSaveCollapsedState(False)
    box.setCollapsed(not _is_open(key))
    box.collapsedStateChanged.connect(lambda folded: QgsSettings().setValue(_KEY.format(key), not folded))
    return box


def _is_open(key: str) -> bool:
    kept: Any = QgsSettings().value(_KEY.format(key), False)
    return kept in (True, "true")
