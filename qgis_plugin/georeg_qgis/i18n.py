"""Translation of what the plugin says."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication

from .texts import translate_by

CONTEXT = "georeg"


def translated(text: str) -> str:
    """A text in the language of QGIS, where the plugin has it."""
    return QCoreApplication.translate(CONTEXT, text)


translate_by(translated)
