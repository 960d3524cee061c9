"""Read windows of a raster with their valid mask, from any thread."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio does not translate it
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from georeg.decoded import Bands, Decoded, Pixels, part_shape
from georeg.errors import InputError
from georeg.gdal_cache import BOUND
from georeg.masks import Mask
from georeg.raster import Raster, dataset_of
from georeg.reduced import Reduced, blank, copy_pixels, held_factor, least_factor, means
from georeg.remote import current, fetch_blocks, fetching, without_secrets

CACHE_BYTES = 64 * 2**20
"""Decoded blocks that GDAL may keep while it writes, or reads what georeg does not keep itself."""
GDAL_BYTES = 8 * 2**20
"""The same while georeg keeps what it reads."""
KEPT_BYTES = 32 * 2**20
"""Decoded pixels of one raster that are kept for the next window."""
_LARGEST_PART_BYTES = 16 * 2**20
"""Blocks larger than this are left to GDAL."""
_STRIP_PIXELS = 2**22
"""So many are read at once to make means without GDAL."""


class Reader:
    """Reads windows of one raster from any thread.

    A block of the file is decoded once for all windows that touch it, in whatever thread; those of a local GeoTIFF on several
    threads at once, each with a handle of its own. Of other files threads take turns with one handle. The means of a local
    raster without overviews are made once. A context manager: leaving it closes all handles. Pickling keeps the description
    alone.

    What is less opaque than ``least_alpha`` of 255 is not valid, nor what the raster's mask covers. About ``kept_bytes`` of
    decoded pixels are kept. An array that is a raster is read part by part from its `Source`.
    """

    def __init__(self, raster: Raster, least_alpha: int = 128, kept_bytes: int = KEPT_BYTES) -> None:
        self.raster, self.least_alpha = raster, least_alpha
        self._lock, self._holding = threading.Lock(), threading.Lock()
        self._open: dict[bool | tuple[str, int], Any] = {}
        self._free: list[Any] = []
        self._held: dict[tuple[Bands, int], Reduced] = {}
        self._traffic, self._identity = current(), _identity(raster.path)
        source = raster.source
        self.part_shape = part_shape(raster.shape, raster.block_shape) if source is None else source.part_shape
        self._decoded = Decoded(self._decode, raster.shape, self.part_shape, kept_bytes)
        self._for_others = kept_bytes > KEPT_BYTES
        self._mask = None if raster.mask is None else Mask(raster)
        part_bytes = math.prod(self.part_shape) * max(np.dtype(name).itemsize for name in raster.dtypes)
        self._by_parts = source is not None or (not raster.remote and part_bytes <= _LARGEST_PART_BYTES)

    @property
    def n_decoded(self) -> int:
        """Parts of the file, of whole blocks, that were decoded at full resolution so far; again, if they were dropped."""
        return self._decoded.n_decoded

    def __enter__(self) -> Reader:
        BOUND.enter(GDAL_BYTES if self._by_parts else CACHE_BYTES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()
            while self._free:
                self._free.pop().close()
            self._held.clear()
        self._decoded.forget()
        if self._mask is not None:
            self._mask.close()
        BOUND.leave()

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
        data, valid = blank((len(bands), *shape), dtype)
        height, width = (n // reduce for n in self.raster.shape)
        top, left = max(corner_px[0], 0), max(corner_px[1], 0)
        bottom, right = min(corner_px[0] + shape[0], height), min(corner_px[1] + shape[1], width)
        if top >= bottom or left >= right:
            return data, valid
        window = Window(left, top, right - left, bottom - top)
        for rows, cols, pixels in self._within(window, tuple(bands), reduce, overviews):
            row, col = top - corner_px[0], left - corner_px[1]
            inside = np.s_[:, rows.start + row : rows.stop + row, cols.start + col : cols.stop + col]
            copy_pixels(pixels, data[inside], valid[inside])
        return data, valid

    def _within(
        self, window: Window, bands: Bands, reduce: int, overviews: bool
    ) -> Iterable[tuple[slice, slice, Pixels]]:
        """The pixels of a window inside the raster, both counted in reduced pixels, by rows and columns of the window."""
        if reduce == 1 and self._by_parts:
            return self._decoded.within(window, bands)
        whole = slice(0, int(window.height)), slice(0, int(window.width))
        held = self._means(bands, reduce) if overviews and reduce > 1 else None
        if held is not None:
            self._complete(held, bands)
            return [(*whole, held.read(window, reduce))]
        masked = self._mask is not None and reduce > 1 and not overviews
        if masked or self.raster.source is not None:
            return self._means_of_pixels(window, bands, reduce)
        full = Window(window.col_off * reduce, window.row_off * reduce, window.width * reduce, window.height * reduce)
        shape = (int(window.height), int(window.width))
        return [(*whole, Pixels(*self._read_inside(full, shape, bands, reduce, overviews)))]

    def _means_of_pixels(self, window: Window, bands: Bands, reduce: int) -> Iterator[tuple[slice, slice, Pixels]]:
        """As `_within`, a few rows at a time: of the pixels that are not covered, where GDAL would take the mean of all, and of
        arrays."""
        height, width = int(window.height), int(window.width)
        rows = max(1, _STRIP_PIXELS // (width * reduce**2))
        for top in range(0, height, rows):
            n = min(rows, height - top)
            corner_px = (int(window.row_off + top) * reduce, int(window.col_off) * reduce)
            pixels = self.read(corner_px, (n * reduce, width * reduce), bands)
            found, known = means(*pixels, reduce)
            if self.raster.source is not None and all(np.dtype(self.raster.dtypes[b - 1]).kind in "iu" for b in bands):
                found = np.floor(found + np.float32(0.5))  # as GDAL does it, so that arrays give the bytes of files
            yield slice(top, top + n), slice(0, width), Pixels(found, known)

    def forget(self) -> None:
        """Keep no decoded pixels any more, but the means of them; nothing where more than usual is to be kept, for others."""
        if not self._for_others:
            self._decoded.forget()

    def keep_means(self, bands: Sequence[int]) -> bool:
        """From here on make means over squares of pixels of all that is decoded, so that reading larger pixels later decodes
        nothing again; False where that would spare nothing, as there are overviews or few pixels."""
        pixel_bytes = sum(np.dtype(self.raster.dtypes[band - 1]).itemsize for band in bands)
        if math.prod(self.raster.shape) * pixel_bytes <= KEPT_BYTES:
            return False
        held = self._means(tuple(bands), least_factor(self.raster.shape, len(bands)))
        return held is not None and held.by_parts

    def _means(self, bands: Bands, reduce: int) -> Reduced | None:
        """What holds them, if anything does; it may not be complete."""
        factor = held_factor(self.raster.shape, len(bands), reduce)
        if factor is None or not self._by_parts or not self._bare:
            return None
        with self._lock:
            if (bands, factor) not in self._held:
                self._held[bands, factor] = Reduced(self.raster.shape, self.part_shape, len(bands), factor)
            return self._held[bands, factor]

    @cached_property
    def _bare(self) -> bool:
        """Whether the file has no overviews."""
        if self.raster.source is not None:
            return True
        with self._lock:
            handle = self._handle(True)
            return not any(handle.overviews(band) for band in handle.indexes)

    def _complete(self, held: Reduced, bands: Bands) -> None:
        with self._holding:
            for window in held.missing():
                shape = (int(window.height), int(window.width))
                pixels = Pixels(*self.read((int(window.row_off), int(window.col_off)), shape, bands))
                held.add(window, pixels)

    def _decode(self, window: Window, bands: Bands) -> Pixels:
        """Pixels at full resolution, of a local file or an array."""
        pixels = self._of_file(window, bands) if self.raster.source is None else self._of_source(window, bands)
        for (held_bands, _), held in list(self._held.items()):
            if held_bands == bands and held.by_parts:
                held.add(window, pixels)
        return pixels

    def _of_source(self, window: Window, bands: Bands) -> Pixels:
        assert self.raster.source is not None
        values, nodata = self.raster.source.read(window, bands), self.raster.nodata
        valid = np.ones(values.shape, bool)
        if nodata is not None:
            valid = ~np.isnan(values) if math.isnan(nodata) else values != nodata
        if self._mask is not None:
            valid = valid & ~self._mask.covers(window, values.shape[1:])
        return Pixels(values, None if valid.all() else np.asarray(valid))

    def _of_file(self, window: Window, bands: Bands) -> Pixels:
        with self._handle_alone() as handle:
            try:
                dtypes = {self.raster.dtypes[band - 1] for band in bands}
                shape = (len(bands), int(window.height), int(window.width))
                room = self._decoded.rooms.room(shape, dtypes.pop()) if len(dtypes) == 1 else None
                values = handle.read(list(bands), window=window, out=room)
                valid = self._valid(handle, values, bands, {"window": window})
            except (RasterioError, CPLE_BaseError, ValueError) as exc:
                raise self._unreadable(window, str(exc).splitlines()[0]) from exc
        return Pixels(values, None if valid.all() else valid)

    @contextmanager
    def _handle_alone(self) -> Iterator[Any]:
        """One from which no other thread reads meanwhile: of a GeoTIFF any that is free, or a new one; else the only one."""
        if self.raster.driver != "GTiff":
            with self._lock:
                yield self._handle(False)
            return
        try:
            handle = self._free.pop()
        except IndexError:
            handle = dataset_of(self.raster.path, OVERVIEW_LEVEL="NONE")
            if _identity(self.raster.path) != self._identity:
                handle.close()
                raise InputError(
                    f"{self.raster.path} was replaced while it was read; run again when nothing writes to it"
                ) from None
        try:
            yield handle
        finally:
            self._free.append(handle)

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
        valid = self._own_valid(handle, values, bands, options)
        if self._mask is not None:
            valid = valid & ~self._mask.covers(options["window"], values.shape[1:])
        return valid

    def _own_valid(
        self, handle: Any, values: NDArray[Any], bands: Sequence[int], options: dict[str, Any]
    ) -> NDArray[np.bool_]:
        if self.raster.nodata_given:
            nodata = self.raster.nodata
            assert nodata is not None
            invalid = np.isnan(values) if math.isnan(nodata) else values == nodata
            return np.asarray(~invalid)
        if not self.raster.has_mask:
            return np.ones(values.shape, bool)
        if np.issubdtype(values.dtype, np.integer) and "out_shape" not in options:
            alone = [_nodata_alone(handle, band) for band in bands]
            if None not in alone:
                return np.asarray(values != np.array(alone).astype(values.dtype)[:, None, None])
        valid = handle.read_masks(list(bands), **options) >= self.least_alpha
        alpha = np.isin(bands, self.raster.alpha_bands)
        valid[alpha] = valid.all(axis=0)  # what is transparent has no opacity to interpolate either
        return np.asarray(valid)


def _identity(path: str) -> tuple[int, ...] | None:
    """What tells a file from another of its name; None where the name is not that of a file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _nodata_alone(handle: Any, band: int) -> float | None:
    """The whole number that alone says which pixels of a band are not valid; None where something else does."""
    nodata = handle.nodatavals[band - 1]
    only = handle.mask_flag_enums[band - 1] == [MaskFlags.nodata]
    limits = np.iinfo(handle.dtypes[band - 1])
    fits = nodata is not None and float(nodata).is_integer() and limits.min <= nodata <= limits.max
    return float(nodata) if only and fits and abs(nodata) < 2**53 else None
