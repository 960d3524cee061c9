"""A stub of QGIS on PyQt6: widgets that can be built, and classes that let anything be asked of them."""
