"""The dialog of an algorithm, filled in with what the panel has done."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

_MODULE = "processing"
"""Of QGIS's own plugin, which is there only where it is switched on."""


def open_dialog(verb: str, values: Mapping[str, Any]) -> Any:
    """Show it, not waiting for it; None where Processing is switched off."""
    try:
        processing = importlib.import_module(_MODULE)
    except ImportError:
        return None
    dialog = processing.createAlgorithmDialog(f"georeg:{verb}", dict(values))
    if dialog is not None:
        dialog.show()
    return dialog
