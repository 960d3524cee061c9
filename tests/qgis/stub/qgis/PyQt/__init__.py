"""PyQt6 under the name by which QGIS 4 offers it."""
