"""Open a raster lazily and read windows of it with their valid mask.

The only place where georeg opens a raster for reading.
"""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import DTypeLike, NDArray
from pyproj import CRS
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio does not translate it
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.env import get_gdal_config, set_gdal_config
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window

from georeg.errors import InputError
from georeg.initial import Frame, Placed, is_plain, place
from georeg.options import InitialKind
from georeg.remote import current, fetch_blocks, fetching, is_remote, without_secrets

DOMAIN = "GEOREG"
"""Metadata domain of what georeg says of a file that it corrected."""
CACHE_BYTES = 96 * 2**20
"""Decoded blocks that GDAL may keep while rasters are read."""


@dataclass(frozen=True)
class Raster:
    """What is known of a raster file without reading its pixels."""

    path: str
    """Path or GDAL name."""
    driver: str
    """GDAL's name of the format."""
    crs: CRS
    """Coordinate reference system."""
    transform: Affine
    """Pixel to map; (0, 0) is the outer corner of the first pixel."""
    shape: tuple[int, int]
    """(height, width) in pixels."""
    dtypes: tuple[str, ...]
    """NumPy's type of each band as it is read."""
    nodata: float | None
    """Nodata value in use: the file's own, of the first band that has one, or the one the user gave."""
    nodata_given: bool
    """True where the user's nodata value replaces the file's mask."""
    alpha_bands: tuple[int, ...]
    """1-based numbers of alpha bands."""
    has_mask: bool
    """False where the file declares every pixel valid."""
    classes: tuple[int, ...]
    """1-based numbers of the bands that the file says hold classes: by a colour table, one bit, or a thematic layer."""
    block_shape: tuple[int, int] = (1, 1)
    """(height, width) of what is decoded at once."""
    cog: bool = False
    """True where it is a cloud-optimised GeoTIFF."""
    provenance: tuple[tuple[str, str], ...] = ()
    """What georeg wrote into it when it corrected it, by name; see `georeg.provenance`."""
    files: tuple[str, ...] = ()
    """Every file it is read from, such as sidecars and the sources of a VRT."""
    placed: Placed = "geotransform"
    """What CRS and transform come from: the file, or where it was placed to be searched for."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)

    @property
    def name(self) -> str:
        """File name without its folder, for messages."""
        return os.path.basename(without_secrets(self.path)) or self.path

    @property
    def remote(self) -> bool:
        """Whether some of it is read over the network."""
        return any(is_remote(name) for name in (self.path, *self.files))


def open_raster(
    path: str | os.PathLike[str],
    *,
    nodata: float | None = None,
    initial: InitialKind = "auto",
    reference: Raster | None = None,
) -> Raster:
    """Describe the raster at ``path``.

    Parameters
    ----------
    path
        File or GDAL name.
    nodata
        Pixel value to take as nodata instead of the file's own mask.
    initial
        What says where it lies at first; see `InputOptions`.
    reference
        By which a target without georeferencing is placed. Where there is none, ``auto`` is ``geotransform``, and
        ``center`` and ``none`` give the raster's own pixels as map, `georeg.initial.PIXELS`.

    Raises
    ------
    InputError
        The file is absent, is not a raster, has no pixels, or does not say what ``initial`` asks for.
    """
    path = os.fspath(path)
    ref = reference
    frame = None if ref is None else Frame(ref.name, ref.crs, ref.transform, ref.shape)
    with fetching(path, current()), _dataset(path) as dataset:
        told = without_secrets(path)
        _check_bands(dataset, told)
        crs, transform, placed = place(dataset, told, initial, frame)
        flags = dataset.mask_flag_enums
        return Raster(
            path=path,
            driver=dataset.driver,
            crs=crs,
            transform=transform,
            shape=(dataset.height, dataset.width),
            dtypes=tuple("complex64" if name == "complex_int16" else name for name in dataset.dtypes),
            nodata=_nodata(dataset) if nodata is None else nodata,
            nodata_given=nodata is not None,
            alpha_bands=tuple(i for i, c in enumerate(dataset.colorinterp, start=1) if c == ColorInterp.alpha),
            has_mask=any(MaskFlags.all_valid not in f for f in flags),
            classes=tuple(band for band in dataset.indexes if _declared_classes(dataset, band)),
            block_shape=dataset.block_shapes[0],
            cog=dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG",
            provenance=tuple(dataset.tags(ns=DOMAIN).items()),
            files=tuple(dataset.files),
            placed=placed,
        )


def holds_raster(path: str) -> bool:
    """True for a file that GDAL can open as a raster, or as several."""
    try:
        with fetching(path, current()), _dataset(path) as dataset:
            return bool(dataset.count or dataset.subdatasets)
    except InputError:
        return False


def open_reference(path: str | os.PathLike[str], *, nodata: float | None = None) -> Raster:
    """Describe the raster at ``path`` as a reference: by its geotransform, or a plain picture by its pixels.

    Raises
    ------
    InputError
        As `open_raster`; CRS and geotransform are both there, or neither and no other georeferencing.
    """
    with fetching(os.fspath(path), current()), _dataset(os.fspath(path)) as dataset:
        plain = is_plain(dataset)
    return open_raster(path, nodata=nodata, initial="none" if plain else "geotransform")


def own_transform(path: str | os.PathLike[str]) -> Affine | None:
    """The geotransform of a file, whatever it was placed by; None where it has none."""
    with fetching(os.fspath(path), current()), _dataset(os.fspath(path)) as dataset:
        transform: Affine = dataset.transform
    return None if transform.is_identity or transform.determinant == 0 else transform


def open_pair(
    reference: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    ref_nodata: float | None = None,
    tgt_nodata: float | None = None,
    initial: InitialKind = "auto",
) -> tuple[Raster, Raster]:
    """Describe a reference and the target that is placed by it; see `open_reference` and `open_raster`."""
    ref = open_reference(reference, nodata=ref_nodata)
    return ref, open_raster(target, nodata=tgt_nodata, initial=initial, reference=ref)


def _dataset(path: str, **options: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path, sharing=False, **options)
    except UnicodeEncodeError as exc:
        raise InputError(f"the name {path!r} is not UTF-8, and GDAL cannot open it; rename the file") from exc
    except RasterioIOError as exc:
        reason = without_secrets(str(exc).strip().splitlines()[0]) if str(exc).strip() else "unknown error"
        if is_remote(path):
            raise InputError(
                f"{without_secrets(path)} cannot be read over the network ({reason.rstrip('.!')}); check its address, your "
                "access to it and the connection, or download it"
            ) from exc
        if "://" not in path and not path.startswith("/vsi") and not os.path.exists(path):
            raise InputError(f"{path} does not exist; check the path") from exc
        if os.path.isfile(path) and not os.access(path, os.R_OK):
            raise InputError(f"no permission to read {path}; change its permissions or copy it") from exc
        raise InputError(f"{path} cannot be opened as a raster ({reason}); give a file that gdalinfo can read") from exc


def _nodata(dataset: Any) -> float | None:
    return next((value for value in dataset.nodatavals if value is not None), None)


def _declared_classes(dataset: Any, band: int) -> bool:
    one_bit = dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS") == "1"
    thematic = dataset.tags(band).get("LAYER_TYPE") == "thematic"
    return bool(one_bit or thematic or dataset.colorinterp[band - 1] == ColorInterp.palette)


def _check_bands(dataset: Any, path: str) -> None:
    if dataset.count == 0:
        names = ", ".join(dataset.subdatasets[:3])
        hint = f"give one of its subdatasets, such as {names}" if names else "give a raster with bands"
        raise InputError(f"{path} has 0 bands; {hint}")


class Reader:
    """Reads windows of one raster from any thread.

    All threads share one handle and take turns, so that a block of the file is decoded once for all windows that touch it
    rather than once a thread. A context manager: leaving it closes the handle. Pickling keeps the description alone.
    """

    def __init__(self, raster: Raster) -> None:
        self.raster = raster
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
        return (Reader, (self.raster,))

    def _handle(self, overviews: bool) -> Any:
        if overviews not in self._open:
            options = {} if overviews else {"OVERVIEW_LEVEL": "NONE"}
            self._open[overviews] = _dataset(self.raster.path, **options)
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
                self._open[level] = _dataset(self.raster.path, OVERVIEW_LEVEL=level[1])
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
        valid = handle.read_masks(list(bands), **options) >= 128
        alpha = np.isin(bands, self.raster.alpha_bands)
        valid[alpha] = valid.all(axis=0)  # what is transparent has no opacity to interpolate either
        return np.asarray(valid)


def check_bands(raster: Raster, bands: Sequence[int]) -> tuple[int, ...]:
    """Return ``bands`` as a tuple once each is known to exist and to hold pixels rather than transparency.

    Raises
    ------
    InputError
        A band is absent or is the alpha band.
    """
    for band in bands:
        if not 1 <= band <= raster.count:
            raise InputError(f"{without_secrets(raster.path)} has no band {band}; it has bands 1 to {raster.count}")
        if band in raster.alpha_bands:
            raise InputError(
                f"band {band} of {without_secrets(raster.path)} is its alpha band; choose a band with an image"
            )
    if not bands:
        raise InputError(f"no band of {without_secrets(raster.path)} was chosen; give at least one number from 1")
    return tuple(bands)
