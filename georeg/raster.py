"""Open a raster lazily and describe it.

The only place where georeg opens a raster for reading.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio._err import CPLE_BaseError  # what GDAL raises where rasterio does not translate it
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.windows import Window

from georeg.errors import InputError
from georeg.initial import Frame, Placed, is_plain, place
from georeg.options import InitialKind
from georeg.remote import current, fetching, is_remote, without_secrets

DOMAIN = "GEOREG"
"""Metadata domain of what georeg says of a file that it corrected."""

OPENING = threading.Lock()
"""Held while a file is opened: what warnings are shown is the same for all threads."""


ARRAY = "array:"
"""Begins the path of a raster that is in no file; see `georeg.arrays`."""


class Source(Protocol):
    """Pixels that are in no file."""

    @property
    def part_shape(self) -> tuple[int, int]:
        """(height, width) of what is read at once."""

    def read(self, window: Window, bands: tuple[int, ...]) -> NDArray[Any]:
        """Pixels (bands, height, width), which nobody changes, of a window inside the raster. From any thread."""


@dataclass(frozen=True)
class Raster:
    """What is known of a raster file, or of an array that is one, without reading its pixels."""

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
    mask: str | None = None
    """File of what covers pixels that are not to be matched, see `georeg.masks`; None: nothing does."""
    source: Source | None = field(default=None, compare=False)
    """What its pixels are read from, if not from a file."""

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
    path: str | os.PathLike[str] | Raster,
    *,
    nodata: float | None = None,
    initial: InitialKind = "auto",
    reference: Raster | None = None,
) -> Raster:
    """Describe the raster at ``path``.

    Parameters
    ----------
    path
        File or GDAL name; or an array described as a raster, see `georeg.arrays`, which is only given ``nodata``.
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
    if isinstance(path, Raster):
        return path if nodata is None else replace(path, nodata=nodata, nodata_given=True)
    path = os.fspath(path)
    ref = reference
    frame = None if ref is None else Frame(ref.name, ref.crs, ref.transform, ref.shape)
    with fetching(path, current()), dataset_of(path) as dataset, _damage_told(path):
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
        with fetching(path, current()), dataset_of(path) as dataset:
            return bool(dataset.count or dataset.subdatasets)
    except InputError:
        return False


def open_reference(path: str | os.PathLike[str] | Raster, *, nodata: float | None = None) -> Raster:
    """Describe the raster at ``path`` as a reference: by its geotransform, or a plain picture by its pixels.

    Raises
    ------
    InputError
        As `open_raster`; CRS and geotransform are both there, or neither and no other georeferencing.
    """
    if isinstance(path, Raster):
        return open_raster(path, nodata=nodata)
    with fetching(os.fspath(path), current()), dataset_of(os.fspath(path)) as dataset:
        plain = is_plain(dataset)
    return open_raster(path, nodata=nodata, initial="none" if plain else "geotransform")


def own_transform(path: str | os.PathLike[str]) -> Affine | None:
    """The geotransform of a file, whatever it was placed by; None where it has none."""
    with fetching(os.fspath(path), current()), dataset_of(os.fspath(path)) as dataset:
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


def dataset_of(path: str, **options: Any) -> Any:
    """An open dataset of rasterio, to read.

    Raises
    ------
    InputError
        There is none.
    """
    try:
        with OPENING, warnings.catch_warnings():
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
        if path.startswith(ARRAY):
            raise InputError(f"{path} was an array, which a result does not keep; give the raster itself") from exc
        if "://" not in path and not path.startswith("/vsi") and not os.path.exists(path):
            raise InputError(f"{path} does not exist; check the path") from exc
        if os.path.isfile(path) and not os.access(path, os.R_OK):
            raise InputError(f"no permission to read {path}; change its permissions or copy it") from exc
        raise InputError(f"{path} cannot be opened as a raster ({reason}); give a file that gdalinfo can read") from exc


@contextmanager
def _damage_told(path: str) -> Iterator[None]:
    """What GDAL finds wrong only when it is asked for is said like what it finds at once."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as exc:
        raise InputError(
            f"{without_secrets(path)} is damaged ({without_secrets(str(exc).splitlines()[0])}); copy or download it again"
        ) from exc


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
