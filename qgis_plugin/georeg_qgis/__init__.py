"""georeg in QGIS: a panel, and Processing algorithms. georeg itself runs in a process and a Python of its own."""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:
    """The plugin, for QGIS; ``iface`` is None in qgis_process."""
    from .plugin import GeoregPlugin

    return GeoregPlugin(iface)
