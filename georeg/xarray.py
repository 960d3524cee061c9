"""The accessor ``georeg`` of xarray's DataArray and Dataset: ``import georeg.xarray`` registers it.

It reads and writes places as odc-geo and rioxarray do, a coordinate ``spatial_ref`` beside those of rows and columns, and takes
what ``odc.stac.load`` and ``rioxarray.open_rasterio`` give. Pixels go in and out as arrays; no file is written. Of Dask arrays
only the chunks that are looked at are computed to measure, and what is resampled stays lazy.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

import xarray as xr
from pyproj import CRS

from georeg.align import align
from georeg.alignment import Alignment
from georeg.cube import RefusedKind, correction_of, dates_along, slices, stacked
from georeg.errors import InputError
from georeg.fit import Fit
from georeg.images import Correcting, Where, bands_of, image_in, image_raster
from georeg.options import FitOptions, InputOptions, KernelKind, LimitOptions, MatchOptions
from georeg.raster import Raster
from georeg.stack import align_stack

Object = TypeVar("Object", xr.DataArray, xr.Dataset)


class _Accessor(Generic[Object]):
    def __init__(self, obj: Object) -> None:
        self._obj: Object = obj

    def measure(
        self,
        reference: Where,
        *,
        band: Hashable | None = None,
        inputs: InputOptions | None = None,
        matching: MatchOptions | None = None,
        fitting: FitOptions | None = None,
        limits: LimitOptions | None = None,
    ) -> Alignment:
        """Find the correction that puts this image onto ``reference``, and prove it; nothing is changed.

        Parameters
        ----------
        reference
            A path, or a DataArray or Dataset.
        band
            Variable of a Dataset by which it is matched, and the variable of this name of a reference that is one. Which
            bands of an array are matched is said by ``inputs.tgt_bands`` and ``inputs.ref_bands``.
        inputs, matching, fitting, limits
            As of `georeg.align`.

        Raises
        ------
        GeoregError
            As `georeg.align`; or one of the two does not say where it lies.
        """
        return align(
            _reference(reference, band),
            image_raster(bands_of(image_in(self._obj, band))),
            inputs=inputs,
            matching=matching,
            fitting=fitting,
            limits=limits,
        )

    def apply(
        self,
        alignment: Alignment | Fit,
        *,
        like: Where | None = None,
        resample: bool | None = None,
        resampling: KernelKind = "auto",
    ) -> Object:
        """Put a correction into effect, on all that this holds: bands, times, and every image of a Dataset.

        Parameters
        ----------
        alignment
            Of `measure`, of `georeg.align`, or of anything that shares the wrong frame.
        like
            Raster whose grid the pixels are put on where they are resampled.
        resample
            True puts the pixels on the grid of ``like``. False never does: a correction that turns then leaves pixel numbers as
            coordinates, and stands in the GeoTransform of ``spatial_ref``. By default coordinates are rewritten and no pixel is
            touched, except where coordinates of one dimension cannot hold the correction.
        resampling
            As `georeg.WriteOptions.resampling`; ``"auto"`` looks at pixels of whole numbers to tell classes from images.

        Raises
        ------
        InputError
            Pixels must be resampled and there is no ``like``, or must not be and no geotransform holds the correction.
        """
        crs = CRS.from_wkt(alignment.points.crs)
        return Correcting(crs, alignment.model, like, resample, resampling).corrected(self._obj)

    def align(
        self,
        reference: Where,
        *,
        resample: bool | None = None,
        resampling: KernelKind = "auto",
        **options: Any,
    ) -> Object:
        """Put this image where ``reference`` says it belongs: `measure`, then `apply`; ``options`` are those of `measure`.

        Raises
        ------
        GeoregError
            As `measure` and `apply`.
        """
        alignment = self.measure(reference, **options)
        return self.apply(alignment, like=reference, resample=resample, resampling=resampling)

    def align_stack(
        self,
        dim: Hashable = "time",
        *,
        to: Where | int | None = None,
        band: Hashable | None = None,
        resampling: KernelKind = "auto",
        refused: RefusedKind = "raise",
        **options: Any,
    ) -> Object:
        """Make the images along a dimension agree with each other: one joint adjustment of all, as by `georeg.align_stack`, is
        made now, and each is resampled, lazily if it is lazy, onto the grid that they share, which stays.

        Parameters
        ----------
        dim
            Along which the images follow; its dates, if it has any, say which are likely to look alike.
        to
            What they are put onto: the number of one of them, which stays as it is, or a reference as of `measure`. By default
            they are put where they lie in the mean.
        band
            As of `measure`.
        resampling
            As of `apply`.
        refused
            What to do with an image for which no correction can be shown to be right: ``"raise"`` its error, or ``"drop"`` it.
        options
            ``inputs``, ``matching``, ``fitting``, ``limits`` and ``stack`` of `georeg.align_stack`; ``inputs`` are of one image.

        Raises
        ------
        GeoregError
            As `georeg.align_stack`, or of the first image that is refused.
        """
        images = [image_in(one, band) for one in slices(self._obj, dim)]
        if isinstance(to, int) and not 0 <= to < len(images):
            raise InputError(f"to is {to}, and there are {len(images)} images along {dim!r}; give a number from 0")
        rasters = [image_raster(bands_of(image)) for image in images]
        anchor = rasters[to] if isinstance(to, int) else None if to is None else _reference(to, band)
        made = align_stack(rasters, reference=anchor, dates=dates_along(self._obj, dim), **options)
        scenes = iter(made.scenes[anchor is not None :])
        found = [None if raster is anchor else correction_of(next(scenes)) for raster in rasters]
        return stacked(self._obj, dim, found, resampling=resampling, refused=refused)


def _reference(where: Where, band: Hashable | None) -> str | os.PathLike[str] | Raster:
    if isinstance(where, xr.DataArray | xr.Dataset):
        return image_raster(bands_of(image_in(where, band)))
    return where


class GeoregArray(_Accessor[xr.DataArray]):
    """``array.georeg``"""


class GeoregDataset(_Accessor[xr.Dataset]):
    """``dataset.georeg``"""


_xarray: Any = xr  # registers without types
_xarray.register_dataarray_accessor("georeg")(GeoregArray)
_xarray.register_dataset_accessor("georeg")(GeoregDataset)
