"""Files of bands: which are of one capture, and all of a capture in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from georeg.creation import Creation
from georeg.encoding import Encoding, encoding_of
from georeg.errors import InputError
from georeg.execution import run_ordered, workers
from georeg.geotiff import write_bands
from georeg.initial import PIXEL_TRANSFORM, PIXELS
from georeg.models import Model
from georeg.options import BandsOptions, DeviceKind
from georeg.placement import Placement, compose
from georeg.raster import Raster, open_raster, open_reference
from georeg.reader import Reader
from georeg.regrid import BLOCK_PX, Regridding, output_windows
from georeg.resampling import Kernel


@dataclass(frozen=True)
class Capture:
    """What an instrument saw at once."""

    name: str
    paths: tuple[str, ...]
    """Of its bands."""
    bands: tuple[str, ...]
    """What its bands are called: the same in all captures."""


def captures_of(paths: Sequence[str]) -> tuple[Capture, ...]:
    """Files sorted into captures by their names: what they have in common ends with the last ``_``.

    Bands are in the order in which those of the first capture are given. Files that have nothing in common are one capture.

    >>> [(c.name, c.bands) for c in captures_of(["IMG_1_1.tif", "IMG_1_2.tif", "IMG_2_1.tif", "IMG_2_2.tif"])]
    [('IMG_1', ('1', '2')), ('IMG_2', ('1', '2'))]
    >>> [(c.name, c.bands) for c in captures_of(["red.tif", "nir.tif"])]
    [('red', ('red', 'nir'))]

    Raises
    ------
    InputError
        There are fewer than two bands, a file is given twice, or a capture lacks a band that others have.
    """
    if len(set(map(os.path.realpath, paths))) < len(paths):
        raise InputError(f"one of the {len(paths)} files is given twice; give each once")
    if len(paths) < 2:
        raise InputError(f"{len(paths)} file was given; bands are put onto each other from 2 files on")
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        common, _, band = os.path.splitext(name)[0].rpartition("_")
        group = groups.setdefault((folder, common), {})
        if band in group:
            raise InputError(f"{path} and {group[band]} would be the same band; rename one of them")
        group[band] = path
    if all(len(group) == 1 for group in groups.values()):  # names with nothing in common
        names = tuple(os.path.splitext(os.path.basename(path))[0] for path in paths)
        return (Capture(names[0], tuple(paths), names),)
    bands = tuple(next(iter(groups.values())))
    captures = []
    for (_, common), group in groups.items():
        odd = {*bands} ^ {*group}
        if odd:
            raise InputError(
                f"{common or next(iter(group.values()))} and {next(iter(groups))[1]} do not have the same bands: "
                f"{', '.join(sorted(odd))} is of one alone; give all bands of each capture, or the captures by themselves"
            )
        captures.append(Capture(common or bands[0], tuple(group[band] for band in bands), bands))
    _refuse_same(captures)
    return tuple(captures)


def _refuse_same(captures: Sequence[Capture]) -> None:
    names = [os.path.normcase(capture.name) for capture in captures]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{names.count(name)} captures are called {name}, of several folders; give each by itself")


def plain_rasters(capture: Capture, options: BandsOptions) -> list[Raster]:
    """The bands as plain pictures of one size, that of ``options.onto``, wherever on Earth they say they are.

    Raises
    ------
    InputError
        One cannot be opened, or has more bands than one.
    """
    rasters = [open_raster(path, initial="none") for path in capture.paths]
    for raster in rasters:
        if raster.count != 1:
            raise InputError(
                f"{raster.name} has {raster.count} bands; give files of one band, such as gdal_translate -b makes"
            )
    height, width = rasters[options.onto - 1].shape
    stretched = (Affine.scale(width / raster.shape[1], height / raster.shape[0]) for raster in rasters)
    return [
        replace(raster, transform=compose(PIXEL_TRANSFORM, one), placed="center")
        for raster, one in zip(rasters, stretched, strict=True)
    ]


def write_capture(
    capture: Capture,
    options: BandsOptions,
    models: Sequence[Model],
    tags: Sequence[Mapping[str, str]],
    path: str,
    *,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
) -> None:
    """Write all bands of a capture to one GeoTIFF on the grid of ``options.onto``, where its file says that lies.

    Parameters
    ----------
    models
        Of each band, in pixels, y upwards.
    tags
        Metadata of each band.
    path
        Destination, which is replaced.

    Raises
    ------
    InputError
        A creation option cannot be used.
    OutputError
        It cannot be written.
    """
    rasters = plain_rasters(capture, options)
    onto = rasters[options.onto - 1]
    pixels = GeoBox(onto.shape, PIXEL_TRANSFORM, PIXELS.to_wkt())
    encoding, kernel = _encoding(rasters), _kernel(options)
    regridded = [
        Regridding(Placement(raster, PIXELS, model), pixels, (kernel,), _alone(raster, encoding), device)
        for raster, model in zip(rasters, models, strict=True)
    ]
    creation = Creation("GTiff", options.co)
    creation.check(encoding.dtype, len(rasters))
    placed = open_reference(capture.paths[options.onto - 1])
    grid = GeoBox(placed.shape, placed.transform, placed.crs.to_wkt())
    described = dict(zip(capture.bands, tags, strict=True))
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader(raster, least_alpha=1)) for raster in rasters]
        pool = stack.enter_context(workers(executor=executor))
        windows = output_windows(onto.shape, BLOCK_PX)
        blocks = run_ordered(partial(_block, regridded, readers, encoding), windows, pool)
        write_bands(placed, grid, encoding, described, blocks, path, creation=creation)


def _encoding(rasters: Sequence[Raster]) -> Encoding:
    """One type that holds all bands, and the nodata value where all have the same."""
    dtypes = tuple(raster.dtypes[0] for raster in rasters)
    given = {raster.nodata for raster in rasters}
    first = encoding_of(replace(rasters[0], dtypes=dtypes, nodata=given.pop() if len(given) == 1 else None))
    return Encoding(first.dtype, first.nodata, dtypes)


def _alone(raster: Raster, encoding: Encoding) -> Encoding:
    return replace(encoding, band_dtypes=raster.dtypes)


def _kernel(options: BandsOptions) -> Kernel:
    return "cubic" if options.resampling == "auto" else options.resampling


def _block(
    regridded: Sequence[Regridding], readers: Sequence[Reader], encoding: Encoding, window: Window
) -> tuple[Window, NDArray[Any], NDArray[np.bool_]]:
    """A block of all bands; valid where all are."""
    made = [one.block(reader, window) for one, reader in zip(regridded, readers, strict=True)]
    pixels, valid = np.concatenate([pixels for _, pixels, _ in made]), np.concatenate([seen for *_, seen in made])
    everywhere = np.asarray(valid.all(axis=0))
    if encoding.nodata is not None:
        pixels[:, ~everywhere] = encoding.dtype.type(encoding.nodata)
    return window, pixels, everywhere
