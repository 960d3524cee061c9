"""The memory of GDAL for decoded blocks: one number for the whole process, however many threads want it bounded."""

from __future__ import annotations

import threading

from rasterio.env import get_gdal_config, set_gdal_config


class _Bound:
    """Bounded while anybody wants that, as who came last wants it; before and after, what it was.

    By default GDAL would keep a twentieth of the memory.
    """

    def __init__(self) -> None:
        self._lock, self._n, self._before = threading.Lock(), 0, 0

    def enter(self, n_bytes: int, *, only_lower: bool = False) -> None:
        """Bound it to ``n_bytes``, or with ``only_lower`` to less where it is less."""
        with self._lock:
            now = get_gdal_config("GDAL_CACHEMAX")
            if self._n == 0:
                self._before = now
            self._n += 1
            set_gdal_config("GDAL_CACHEMAX", min(now, n_bytes) if only_lower else n_bytes)

    def leave(self) -> None:
        """Once for each `enter`; the last puts back what the first found."""
        with self._lock:
            self._n -= 1
            if self._n == 0:
                set_gdal_config("GDAL_CACHEMAX", self._before)


BOUND = _Bound()
