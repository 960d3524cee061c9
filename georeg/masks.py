"""Pixels of a raster that another file says are not to be matched, a window at a time."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio does not translate it
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.transform import array_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from georeg.errors import InputError
from georeg.initial import PIXELS
from georeg.lazily import Lazily
from georeg.raster import Raster, dataset_of, holds_raster, open_reference
from georeg.remote import current, fetching, without_secrets

polygons = Lazily("georeg.polygons")
SAMPLES = 4
"""A larger pixel is looked up at so many places along each axis."""
_WARP_MB = 16
_SAME_PX = 0.01
"""Grids of one shape whose corners are this near are the same."""


def with_mask(raster: Raster, path: str | None) -> Raster:
    """The raster, of which pixels that a mask covers are not matched.

    Parameters
    ----------
    path
        Of polygons, or of a raster whose first band is valid and not zero there; None: no mask.

    Raises
    ------
    InputError
        It cannot be read, holds no polygons, lies nowhere on the raster, or does not say where it lies as the raster does.
    """
    if path is None:
        return raster
    masked = replace(raster, mask=path)
    with Mask(masked) as mask:
        mask.covers(Window(0, 0, 1, 1), (1, 1))
    return masked


class Mask:
    """What covers the pixels of a raster by its ``mask``: opened when it is first asked for, from any thread."""

    def __init__(self, raster: Raster) -> None:
        assert raster.mask is not None
        self._raster, self._path = raster, raster.mask
        self._lock = threading.Lock()
        self._open: Any = None

    def __enter__(self) -> Mask:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its file."""
        with self._lock:
            if self._open is not None:
                self._open.close()
            self._open = None

    def covers(self, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) which pixels of a window of the raster are covered; of larger ones those that are in part.

        Raises
        ------
        InputError
            It cannot be read.
        """
        with self._lock:
            if self._open is None:
                raster = holds_raster(self._path)
                self._open = _Grid(self._path, self._raster) if raster else _Drawn(self._path, self._raster)
            source = self._open
        return np.asarray(source.covers(window, shape))


class _Drawn:
    """Polygons."""

    def __init__(self, path: str, raster: Raster) -> None:
        self._outlines = polygons.outlines_on(path, raster)

    def covers(self, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
        return np.asarray(self._outlines.inside(window, shape))

    def close(self) -> None:
        """Nothing is open."""


class _Grid:
    """A raster, read at the nearest of its pixels."""

    def __init__(self, path: str, raster: Raster) -> None:
        self._path, self._lock, self._traffic = path, threading.Lock(), current()
        own = open_reference(path)
        _check_place(own, raster)
        self._file = dataset_of(path, OVERVIEW_LEVEL="NONE")
        self._warped = nullcontext(self._file) if _same_grid(own, raster) else _onto(self._file, raster)
        self._onto = self._warped.__enter__()

    def covers(self, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
        n = max(1, min(SAMPLES, int(window.height) // shape[0]))
        options = {"window": window, "out_shape": (n * shape[0], n * shape[1]), "resampling": Resampling.nearest}
        try:
            with self._lock, fetching(self._path, self._traffic):
                values, known = self._onto.read(1, **options), self._onto.read_masks(1, **options)
        except (RasterioError, CPLE_BaseError, ValueError) as exc:
            raise InputError(
                f"the mask {without_secrets(self._path)} cannot be read ({str(exc).splitlines()[0]}); copy or make it again"
            ) from exc
        covered = (values != 0) & (known > 0)
        if np.issubdtype(values.dtype, np.inexact):
            covered &= ~np.isnan(values)
        return np.asarray(covered.reshape(shape[0], n, shape[1], n).any(axis=(1, 3)))

    def close(self) -> None:
        self._warped.__exit__(None, None, None)
        self._file.close()


def _onto(file: Any, raster: Raster) -> WarpedVRT:
    height, width = raster.shape
    return WarpedVRT(
        file,
        crs=raster.crs.to_wkt(),
        transform=raster.transform,
        width=width,
        height=height,
        resampling=Resampling.nearest,
        warp_mem_limit=_WARP_MB,
    )


def _check_place(mask: Raster, raster: Raster) -> None:
    """Raise unless both say where on Earth they lie, or the mask has the pixels of a raster that does not."""
    path = without_secrets(mask.path)
    placed = raster.placed in ("geotransform", "gcps") and raster.crs != PIXELS
    if mask.crs != PIXELS and not placed:
        raise InputError(
            f"the mask {path} is in {mask.crs.name}, but {raster.name} is not georeferenced; give a mask with the pixels of "
            f"{raster.name}, without a CRS"
        )
    if mask.crs == PIXELS and placed:
        raise InputError(
            f"the mask {path} is not georeferenced, but {raster.name} is; georeference the mask, for example with gdal_translate "
            "-a_srs -a_ullr"
        )
    if mask.crs == PIXELS and mask.shape != raster.shape:
        (height, width), (rows, cols) = mask.shape, raster.shape
        raise InputError(
            f"the mask {path} has {width} × {height} pixels, and {raster.name}, which is not georeferenced, {cols} × {rows}; "
            "give a mask of the same pixels"
        )
    if placed and not _meet(mask, raster):
        raise InputError(
            f"the mask {path} lies nowhere on {raster.name}; check that both CRSs are right, or leave it out"
        )


def _meet(mask: Raster, raster: Raster) -> bool:
    """Whether the bounds of two rasters touch; True too where those of one cannot be told in the CRS of the other."""
    one, other = (array_bounds(*each.shape, each.transform) for each in (mask, raster))
    try:
        west, south, east, north = transform_bounds(mask.crs.to_wkt(), raster.crs.to_wkt(), *one)
    except (RasterioError, CPLE_BaseError):
        return True
    if not np.isfinite([west, south, east, north]).all() or west > east:
        return True
    return bool(west < other[2] and other[0] < east and south < other[3] and other[1] < north)


def _same_grid(mask: Raster, raster: Raster) -> bool:
    if mask.shape != raster.shape or mask.crs == PIXELS:
        return mask.crs == PIXELS
    to_own, to_xy = (np.reshape(tuple(transform), (3, 3)) for transform in (~mask.transform, raster.transform))
    height, width = mask.shape
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float).T
    return bool(mask.crs == raster.crs and np.abs(to_own @ to_xy @ corners - corners).max() < _SAME_PX)
