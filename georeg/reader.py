"""Read windows of a raster with their valid mask, from any thread."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio does not translate it
from rasterio.enums import Resampling
from rasterio.env import get_gdal_config, set_gdal_config
from rasterio.errors import RasterioError
from rasterio.windows import Window

from georeg.errors import InputError
from georeg.raster import Raster, dataset_of
from georeg.remote import current, fetch_blocks, fetching, without_secrets

CACHE_BYTES = 64 * 2**20
"""Decoded blocks that GDAL may keep while rasters are read."""


class Reader:
    """Reads windows of one raster from any thread.

    All threads share one handle and take turns, so that a block of the file is decoded once for all windows that touch it
    rather than once a thread. A context manager: leaving it closes the handle. Pickling keeps the description alone.

    What is less opaque than ``least_alpha`` of 255 is not valid.
    """

    def __init__(self, raster: Raster, least_alpha: int = 128) -> None:
        self.raster, self.least_alpha = raster, least_alpha
        self._lock = threading.Lock()
        self._open: dict[bool | tuple[str, int], Any] = {}
        self._traffic = current()

    def __enter__(self) -> Reader:
        # GDAL would keep a twentieth of the memory in decoded blocks; it is put back on leaving
        self._cache_bytes = get_gdal_config("GDAL_CACHEMAX")
        set_gdal_config("GDAL_CACHEMAX", CACHE_BYTES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()
        set_gdal_config("GDAL_CACHEMAX", self._cache_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Reader, (self.raster, self.least_alpha))

    def _handle(self, overviews: bool) -> Any:
        if overviews not in self._open:
            options = {} if overviews else {"OVERVIEW_LEVEL": "NONE"}
            self._open[overviews] = dataset_of(self.raster.path, **options)
        return self._open[overviews]

    def read(
        self,
        corner_px: tuple[int, int],
        shape: tuple[int, int],
        bands: Sequence[int],
        *,
        reduce: int = 1,
        overviews: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window, averaged by a whole factor; what lies outside the raster comes back invalid.

        Parameters
        ----------
        corner_px
            (row, column) of the window's first pixel, counted in reduced pixels; may be negative.
        shape
            (height, width) in reduced pixels.
        bands
            1-based band numbers.
        reduce
            Each returned pixel is the mean of ``reduce`` × ``reduce`` pixels of the file.
        overviews
            Allow the file's overviews to stand in for the mean. They may be shifted by up to half of one of
            their pixels, so this is for coarse searches only.
        dtype
            Type of the returned array; complex bands come back as magnitudes unless it is complex.

        Returns
        -------
        data, valid
            Both (bands, height, width); ``data`` is zero where it is not valid.

        Raises
        ------
        InputError
            The pixels cannot be read.
        """
        data = np.zeros((len(bands), *shape), dtype)
        valid = np.zeros(data.shape, bool)
        height, width = (n // reduce for n in self.raster.shape)
        top, left = max(corner_px[0], 0), max(corner_px[1], 0)
        bottom, right = min(corner_px[0] + shape[0], height), min(corner_px[1] + shape[1], width)
        if top >= bottom or left >= right:
            return data, valid
        inside = np.s_[:, top - corner_px[0] : bottom - corner_px[0], left - corner_px[1] : right - corner_px[1]]
        window = Window(left * reduce, top * reduce, (right - left) * reduce, (bottom - top) * reduce)
        values, mask = self._read_inside(window, (bottom - top, right - left), bands, reduce, overviews)
        if np.iscomplexobj(values) and not np.issubdtype(np.dtype(dtype), np.complexfloating):
            values = np.abs(values)
        if np.issubdtype(values.dtype, np.inexact):
            limit = np.finfo(dtype).max if np.issubdtype(dtype, np.inexact) else np.inf
            mask &= np.isfinite(values) & (np.abs(values) <= limit)
        data[inside] = np.where(mask, values, 0)
        valid[inside] = mask
        return data, valid

    def _read_inside(
        self, window: Window, shape: tuple[int, int], bands: Sequence[int], reduce: int, overviews: bool
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        options: dict[str, Any] = {"window": window}
        if reduce > 1:
            options |= {"out_shape": (len(bands), *shape), "resampling": Resampling.average}
        with self._lock, fetching(self.raster.path, self._traffic, remote=self.raster.remote) as network:
            try:
                handle = self._handle(overviews and reduce > 1)
                if self.raster.remote:
                    self._fetch(handle, window, bands, reduce if overviews else 1)
                    if self.raster.has_mask and not overviews and reduce > 1:  # GDAL averages the mask of an overview
                        self._fetch(self._handle(True), window, bands, reduce)
                values = handle.read(list(bands), **options)
                mask = self._valid(handle, values, bands, options)
            except (RasterioError, CPLE_BaseError, ValueError) as exc:
                raise self._unreadable(window, network.trouble or str(exc).splitlines()[0]) from exc
        return values, mask

    def _unreadable(self, window: Window, reason: str) -> InputError:
        advice = "the file may be truncated or damaged: copy or download it again"
        if self.raster.remote:
            advice = "the server or the connection may have failed: try again, or download it"
        return InputError(
            f"{without_secrets(self.raster.path)} cannot be read at rows {window.row_off}-{window.row_off + window.height}, "
            f"columns {window.col_off}-{window.col_off + window.width} ({without_secrets(reason)}); {advice}"
        )

    def _fetch(self, handle: Any, window: Window, bands: Sequence[int], reduce: int) -> None:
        """Have GDAL fetch the blocks of a window, of the overview that it would read; then they are read from its memory."""
        factors = [factor for factor in handle.overviews(bands[0]) if factor <= reduce]
        factor = max(factors, default=1)
        if factors:
            level = ("level", factors.index(factor))
            if level not in self._open:
                self._open[level] = dataset_of(self.raster.path, OVERVIEW_LEVEL=level[1])
            handle = self._open[level]
        fetch_blocks(handle, window, factor, bands)

    def _valid(
        self, handle: Any, values: NDArray[Any], bands: Sequence[int], options: dict[str, Any]
    ) -> NDArray[np.bool_]:
        if self.raster.nodata_given:
            nodata = self.raster.nodata
            assert nodata is not None
            invalid = np.isnan(values) if math.isnan(nodata) else values == nodata
            return np.asarray(~invalid)
        if not self.raster.has_mask:
            return np.ones(values.shape, bool)
        valid = handle.read_masks(list(bands), **options) >= self.least_alpha
        alpha = np.isin(bands, self.raster.alpha_bands)
        valid[alpha] = valid.all(axis=0)  # what is transparent has no opacity to interpolate either
        return np.asarray(valid)
