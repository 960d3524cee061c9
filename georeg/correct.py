"""One raster corrected into one output: which way, and the doing of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from affine import Affine
from odc.geo.geobox import GeoBox

from georeg.classes import class_bands
from georeg.cog import copy_as_cog
from georeg.copies import copy_with_gcps, copy_with_transform
from georeg.corrections import gcps
from georeg.creation import Creation
from georeg.encoding import encoding_of
from georeg.errors import InputError
from georeg.execution import Progress
from georeg.files import replacing
from georeg.geotiff import write_blocks
from georeg.in_place import check_in_place, correct_in_place
from georeg.initial import PIXELS
from georeg.options import DeviceKind, WriteOptions
from georeg.pictures import picture_format, write_picture
from georeg.placement import Placement, corrected_transform
from georeg.raster import Raster
from georeg.regrid import Regridding
from georeg.resampling import Kernel
from georeg.uncertainty import Certainty, write_uncertainty
from georeg.vrt import write_vrt

Way = Literal["geotransform", "in place", "cog", "gcps", "vrt", "resampled"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Correction:
    """A raster, where it belongs, and how that is to be written."""

    placement: Placement
    grid: GeoBox | None
    """To resample onto; None where nothing is resampled."""
    way: Way
    transform: Affine | None
    """The corrected geotransform; None where none holds the correction, or none is wanted."""
    path: str
    """Of the output; the raster itself where it is corrected in place."""
    options: WriteOptions
    tags: dict[str, str]
    """What the output says of its correction."""

    @property
    def raster(self) -> Raster:
        return self.placement.raster

    def check(self) -> None:
        """Raise for creation options that GDAL would ignore, and for a file that cannot be corrected in place."""
        if self.way == "in place":
            check_in_place(self.raster)
        if self.way in ("resampled", "cog"):
            self._creation().check(encoding_of(self.raster).dtype, self.raster.count)

    def write(self, progress: Progress, executor: Executor | None = None, device: DeviceKind = "cpu") -> None:
        """Write the output, and its uncertainty if asked for; ``executor`` computes pixels, on ``device``."""
        for sentence in self._without_effect():
            _log.warning(sentence)
        with self._uncertainty(progress, executor):
            if self.way == "resampled":
                self._resample(progress, executor, device)
                return
            progress("write", 0, 1)
            self._rewrite()
            progress("write", 1, 1)

    def _rewrite(self) -> None:
        """All ways that touch no pixel."""
        if self.way == "vrt":
            where = self.transform if self.transform is not None else gcps(self.placement)
            write_vrt(self.raster, where, self.placement.crs, self.path, tags=self.tags)
        elif self.way == "gcps":
            made, crs = gcps(self.placement), self.placement.crs
            wkt = None if crs == PIXELS else crs.to_wkt()
            copy_with_gcps(self.raster, made.px, made.xy, wkt, self.path, tags=self.tags)
        else:
            assert self.transform is not None
            if self.way == "in place":
                correct_in_place(self.raster, self.transform, tags=self.tags)
            elif self.way == "cog":
                classes = (*self.raster.classes, *class_bands(self.raster))
                copy_as_cog(
                    self.raster, self.transform, self.path, tags=self.tags, options=self.options.co, classes=classes
                )
            else:
                copy_with_transform(self.raster, self.transform, self.path, tags=self.tags)

    def _resample(self, progress: Progress, executor: Executor | None, device: DeviceKind) -> None:
        assert self.grid is not None
        raster, encoding = self.raster, encoding_of(self.raster)
        regridding = Regridding(self.placement, self.grid, self._kernels(), encoding, device)
        if picture_format(self.path):
            regridding = replace(regridding, encoding=replace(encoding, nodata=None))
            with regridding.running(progress, executor) as blocks:
                write_picture(raster, self.grid, regridding.encoding, blocks, self.path)
            return
        with regridding.running(progress, executor) as blocks:
            write_blocks(
                raster,
                self.grid,
                encoding,
                blocks,
                self.path,
                tags=self.tags,
                creation=self._creation(),
                classes=[band for band, kernel in enumerate(regridding.kernels, start=1) if kernel == "nearest"],
            )

    def _creation(self) -> Creation:
        cog = self.options.format == "cog" or (self.options.format == "auto" and self.raster.cog)
        return Creation("COG" if cog else "GTiff", self.options.co)

    def _kernels(self) -> tuple[Kernel, ...]:
        """Of each band: what was asked for, else the nearest pixel for classes and the cubic B-spline for all others."""
        raster, asked = self.raster, self.options.resampling
        if asked != "auto":
            return (asked,) * raster.count
        found = class_bands(raster)
        for band, n in found.items():
            _log.warning(
                f"band {band} of {raster.name} holds {n} whole numbers where it was looked at and is taken for classes or a "
                "mask, each pixel from the nearest; give --resampling cubic if it is an image"
            )
        classes = {*raster.classes, *found}
        return tuple("nearest" if band in classes else "cubic" for band in range(1, raster.count + 1))

    def _without_effect(self) -> Iterator[str]:
        """What was asked for and has no effect where no pixel is touched."""
        if self.way == "resampled":
            return
        given = {"--resampling": self.options.resampling != "auto", "--co": bool(self.options.co) and self.way != "cog"}
        for name in (name for name, is_given in given.items() if is_given):
            yield f"{name} has no effect, as the pixels of {self.raster.name} stay as they are; add --resample to write them anew"

    @contextmanager
    def _uncertainty(self, progress: Progress, executor: Executor | None) -> Iterator[None]:
        """The uncertainty is written before what it is of, and gets its name after: the failure of one leaves neither."""
        if self.options.uncertainty is None:
            yield
            return
        grid = self.grid
        if grid is None:
            if self.transform is None:
                raise InputError("--uncertainty is of pixels that lie on a grid, not of GCPs; leave --no-resample out")
            grid = GeoBox(self.raster.shape, self.transform, self.raster.crs.to_wkt())
        certainty = Certainty(self.placement, grid, resampled=self.grid is not None)
        with replacing(self.options.uncertainty) as temporary:
            write_uncertainty(certainty, temporary, progress=progress, executor=executor)
            yield


def way_of(placement: Placement, path: str, options: WriteOptions, *, plain: bool) -> tuple[Way, Affine | None]:
    """How a raster is to be corrected, and its corrected geotransform where that holds the correction.

    Parameters
    ----------
    path
        Of the output.
    plain
        True where the reference has no place on Earth, and the target is put onto its pixels.

    Raises
    ------
    InputError
        What was asked for contradicts itself or the correction.
    """
    kind, vrt = placement.model.kind, options.format == "vrt" or _is_vrt(path)
    transform = None if plain else corrected_transform(placement)
    if options.in_place:
        if options.resample or options.format != "auto":
            raise InputError(
                "--in-place rewrites the geotransform alone; leave --resample and --format out, or give -o"
            )
        if transform is None:
            raise InputError(
                f"no geotransform holds the {kind} correction of {placement.raster.name}, and --in-place changes nothing else; "
                "give -o instead"
            )
        return "in place", transform
    if vrt:
        if options.resample:
            raise InputError(
                f"{path} would be a VRT, which holds no pixels; leave --resample out, or give a name in .tif"
            )
        return "vrt", transform
    if options.resample or (plain and options.resample is None):
        return "resampled", None
    if transform is not None:
        return "cog" if options.format == "cog" and not placement.raster.cog else "geotransform", transform
    if options.resample is None:
        return "resampled", None
    if options.format == "cog":
        raise InputError(f"a COG of the {kind} correction must be resampled; leave --no-resample out")
    return "gcps", None


def _is_vrt(path: str) -> bool:
    return os.path.splitext(path)[1].lower() == ".vrt"
