"""Images of xarray as rasters of the engine, and one correction put into effect on them."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import CRS

from georeg.arrays import array_raster, check_numbers
from georeg.classes import class_bands
from georeg.coordinates import bare, grid_coords, grid_of, moved, nodata_of, on_grid, spatial_dims, told
from georeg.encoding import encoding_of
from georeg.errors import InputError
from georeg.execution import silent
from georeg.lazily import Lazily
from georeg.models import Model
from georeg.options import KernelKind
from georeg.placement import Placement, corrected_transform
from georeg.raster import Raster, open_reference
from georeg.regrid import Regridding
from georeg.resampling import Kernel

chunks = Lazily("georeg.chunks")
Object = TypeVar("Object", xr.DataArray, xr.Dataset)
Where = str | os.PathLike[str] | xr.DataArray | xr.Dataset
_log = logging.getLogger(__name__)


def image_raster(array: xr.DataArray) -> Raster:
    """Describe an image (…, height, width) as a raster whose bands are all that lies along its first dimensions.

    Raises
    ------
    InputError
        It has no CRS, does not lie on an even grid, or holds no numbers.
    """
    grid, planes = grid_of(array), _planes(array)
    check_numbers(array.dtype, _name(array))
    source = chunks.Chunked(planes) if array.chunks is not None else planes
    dtypes = (array.dtype.name,) * planes.shape[0]
    return array_raster(source, grid, nodata=nodata_of(array), name=_name(array), dtypes=dtypes)


def _name(array: xr.DataArray) -> str:
    return "" if array.name is None else str(array.name)


def _planes(array: xr.DataArray) -> Any:
    """(n, height, width), of NumPy or Dask."""
    values = array.data if array.chunks is not None else array.values
    return values.reshape((math.prod(array.shape[:-2]), *array.shape[-2:]))


def bands_of(array: xr.DataArray) -> xr.DataArray:
    """The array, once it is known to be one image: (height, width), or bands of it along one dimension.

    Raises
    ------
    InputError
        It is several images.
    """
    rows, _ = spatial_dims(array)
    many = [dim for dim in array.dims[:-2] if array.sizes[dim] > 1]
    several = [dim for dim in many if dim in ("time", "t") or len(many) > 1]
    if several:
        raise InputError(
            f"{told(array)} holds {array.sizes[several[0]]} images along {several[0]!r}; choose one with "
            f"isel({several[0]}=0), or correct them all with align_stack(dim={several[0]!r})"
        )
    assert rows in array.dims
    return array


def images_of(dataset: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """The variables of a dataset that have rows and columns.

    Raises
    ------
    InputError
        There are none, or they do not share a grid.
    """
    found = {name: array for name, array in dataset.data_vars.items() if array.ndim > 1 and array.dtype.kind in "buifc"}
    if not found:
        raise InputError("the dataset has no variable with dimensions y and x; give one that holds images")
    dims = {spatial_dims(array) for array in found.values()}
    if len(dims) > 1:
        raise InputError(f"the variables of the dataset have different rows and columns: {sorted(dims)}; split it")
    return found


def image_in(obj: xr.DataArray | xr.Dataset, band: Hashable | None = None) -> xr.DataArray:
    """The image of an object that is looked at: an array itself, or the variable ``band``, or the only one, of a dataset.

    Raises
    ------
    InputError
        Which one is not clear, or it is not there.
    """
    if isinstance(obj, xr.DataArray):
        return obj
    found = images_of(obj)
    if band is None and len(found) == 1:
        return next(iter(found.values()))
    if band not in found:
        names = ", ".join(map(repr, found))
        said = "no variable is chosen" if band is None else f"the dataset has no image {band!r}"
        raise InputError(f"{said}; give band as one of {names}")
    return found[band]


def grid_at(where: Where) -> tuple[GeoBox, xr.DataArray | None]:
    """The grid of a raster file or of an xarray object; and an image of it, if it is one."""
    if isinstance(where, xr.DataArray | xr.Dataset):
        image = where if isinstance(where, xr.DataArray) else next(iter(images_of(where).values()))
        return grid_of(image), image
    raster = open_reference(where)
    return GeoBox(raster.shape, raster.transform, raster.crs.to_wkt()), None


@dataclass(frozen=True)
class Correcting:
    """A correction, and how it is put into effect."""

    crs: CRS
    """Working CRS, in which the model acts."""
    model: Model
    like: Where | None
    """Whose grid pixels are put on where they are resampled."""
    resample: bool | None = None
    """As `georeg.WriteOptions.resample`; by default only where one-dimensional coordinates cannot hold the correction."""
    resampling: KernelKind = "auto"

    def corrected(self, obj: Object) -> Object:
        """An image, or every image of a dataset, where it belongs; lazily if it is lazy.

        Raises
        ------
        InputError
            It does not say where it lies, or there is no grid to resample onto.
        """
        images = {None: obj} if isinstance(obj, xr.DataArray) else images_of(obj)
        first = next(iter(images.values()))
        grid, dims = grid_of(first), spatial_dims(first)
        if self.model.still and not self.resample:
            return obj
        transform = corrected_transform(Placement(_described(first, grid), self.crs, self.model))
        upright = transform is not None and transform.b == transform.d == 0
        if self.resample or (self.resample is None and not upright):
            done: Object = self._resampled(obj, images)
            return done
        if transform is None:
            raise InputError(
                f"no geotransform holds the {self.model.kind} correction of {told(first)}; leave resample=False out"
            )
        return moved(obj, transform, grid, dims)

    def _resampled(self, obj: Any, images: Mapping[Any, xr.DataArray]) -> Any:
        if self.like is None:
            raise InputError("the pixels must be resampled, and no grid is given to put them on; give like=reference")
        grid, image = grid_at(self.like)
        first = next(iter(images.values()))
        dims = _dims_on(first, grid, image)
        coords = grid_coords(obj, grid, dims)
        if image is not None:  # to the last bit, or nothing of the two could be subtracted
            coords |= {dim: bare(image.coords[dim]) for dim in dims if dim in image.coords}
        sizes = None if image is None or image.chunks is None else image.chunks[-2:]
        done = {name: self._image(array, grid, coords, dims, sizes) for name, array in images.items()}
        if not isinstance(obj, xr.Dataset):
            return done[None]
        own = {
            name: each.variable for name, each in obj.data_vars.items() if not set(each.dims) & set(spatial_dims(first))
        }
        whole = xr.Dataset({**own, **done}, attrs=obj.attrs)
        return whole[[name for name in obj.data_vars if name in whole]]

    def _image(self, array: xr.DataArray, grid: GeoBox, coords: Any, dims: tuple[str, str], sizes: Any) -> xr.DataArray:
        raster = image_raster(array)
        encoding = encoding_of(raster)
        if encoding.nodata is None:
            encoding = replace(encoding, nodata=_nodata_for(array.dtype))
        kernels = self._kernels(raster)
        bare = Placement(replace(raster, source=None), self.crs, self.model)
        plan = Regridding(bare, grid, kernels, encoding)
        if array.chunks is not None:
            data = chunks.regridded(_planes(array).view("uint8" if array.dtype == bool else array.dtype), plan, sizes)
        else:
            data = _computed(replace(plan, placement=replace(bare, raster=raster)))
        data = data.reshape((*array.shape[:-2], *(int(n) for n in grid.shape)))
        out = on_grid(array, data.view(bool) if array.dtype == bool else data, coords, dims)
        if encoding.nodata is not None and nodata_of(array) is None:
            out.attrs["_FillValue"] = encoding.nodata
        return out

    def _kernels(self, raster: Raster) -> tuple[Kernel, ...]:
        """As `georeg.correct` chooses them of a file."""
        if self.resampling != "auto":
            return (self.resampling,) * raster.count
        found = class_bands(raster)
        for band, n in found.items():
            _log.warning(
                f"band {band} of {raster.path} holds {n} whole numbers where it was looked at and is taken for classes or a "
                "mask, each pixel from the nearest; give resampling='cubic' if it is an image"
            )
        return tuple("nearest" if band in {*raster.classes, *found} else "cubic" for band in range(1, raster.count + 1))


def _described(array: xr.DataArray, grid: GeoBox) -> Raster:
    return replace(image_raster(array), source=None)


def _dims_on(array: xr.DataArray, grid: GeoBox, image: xr.DataArray | None) -> tuple[str, str]:
    """Names of rows and columns on a grid: those of the image that has it, else its own, if these are not of another sort."""
    if image is not None:
        return spatial_dims(image)
    own = grid_of(array)
    same_sort = own.crs is not None and grid.crs is not None and own.crs.geographic == grid.crs.geographic
    return spatial_dims(array) if same_sort else (str(grid.dimensions[0]), str(grid.dimensions[1]))


def _nodata_for(dtype: np.dtype[Any]) -> float | None:
    """What marks pixels as none in whole numbers that declare nothing for it: rioxarray's choice. None for floats and bool."""
    if not np.issubdtype(dtype, np.integer):
        return None
    limits = np.iinfo(dtype)
    return float(limits.max if limits.min == 0 and limits.bits < 64 else limits.min)


def _computed(plan: Regridding) -> Any:
    """All pixels (bands, height, width), on threads of this process."""
    out = np.empty((len(plan.kernels), *(int(n) for n in plan.grid.shape)), plan.encoding.dtype)
    with plan.running(silent) as blocks:
        for window, pixels, _ in blocks:
            row, col = int(window.row_off), int(window.col_off)
            out[:, row : row + int(window.height), col : col + int(window.width)] = pixels
    return out
