"""Where an xarray object says it lies, by the conventions of odc-geo and rioxarray; and the same, said to lie elsewhere."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from georeg.errors import InputError

Object = TypeVar("Object", xr.DataArray, xr.Dataset)
UNEVEN_PX = 0.1
"""Coordinates that are farther than this from evenly spaced ones are refused, pixels."""
_OF_OLD_GRID = ("transform", "res", "bounds", "crs")
"""Attributes, of older readers, that say where pixels were."""
_OF_OLD_FILE = ("source", "chunksizes", "preferred_chunks", "original_shape", "szip", "zlib")
"""Encodings that are of a file which the pixels are no longer those of."""


def spatial_dims(array: xr.DataArray) -> tuple[str, str]:
    """Names of the dimensions along rows and columns, the last two.

    Raises
    ------
    InputError
        There are none, or not in that order.
    """
    dims = array.odc.uncached.spatial_dims if array.ndim > 1 else None
    if dims is None:
        raise InputError(f"{told(array)} has no dimensions y and x but {array.dims}; give an image")
    if array.dims[-2:] != tuple(dims):
        order = ", ".join(map(repr, [*(dim for dim in array.dims if dim not in dims), *dims]))
        raise InputError(
            f"{told(array)} has the dimensions {array.dims}; transpose({order}) puts rows and columns last"
        )
    return str(dims[0]), str(dims[1])


def told(obj: xr.DataArray | xr.Dataset) -> str:
    """What to call it in a message."""
    return f"the array {obj.name!r}" if isinstance(obj, xr.DataArray) and obj.name is not None else "the array"


def grid_of(array: xr.DataArray) -> GeoBox:
    """The grid of an image: CRS and GeoTransform of its ``spatial_ref``, where that agrees with its coordinates, else these.

    Raises
    ------
    InputError
        It has no CRS, or does not lie on an even grid.
    """
    dims = spatial_dims(array)
    grid = array.odc.uncached.geobox
    if array.odc.uncached.crs is None:
        raise InputError(
            f"{told(array)} has no CRS: no coordinate spatial_ref; assign the right one, for example with "
            "array.rio.write_crs('EPSG:32633')"
        )
    if not isinstance(grid, GeoBox):
        what = "GCPs" if grid is not None else "no coordinates from which a grid follows"
        raise InputError(
            f"{told(array)} has {what}; give one with evenly spaced {dims[0]} and {dims[1]}, or a GeoTransform"
        )
    for dim in dims:
        _check_even(array, dim)
    return grid


def _check_even(array: xr.DataArray, dim: str) -> None:
    if dim not in array.coords or array.sizes[dim] < 2:
        return
    at = np.asarray(array.coords[dim].values, float)
    even = np.linspace(at[0], at[-1], len(at))
    uneven_px = float(np.abs(at - even).max() / abs(even[1] - even[0])) if at[0] != at[-1] else np.inf
    if not uneven_px <= UNEVEN_PX:
        raise InputError(
            f"the coordinate {dim} of {told(array)} is uneven by {uneven_px:.2g} px, {UNEVEN_PX:g} allowed; interpolate it to "
            "an even grid first, or use float64"
        )


def nodata_of(array: xr.DataArray) -> float | None:
    """The value of its pixels that stands for none; where NaN has taken its place, none does."""
    value = array.attrs.get("nodata", array.attrs.get("_FillValue"))
    return None if value is None else float(value)


def grid_coords(obj: xr.DataArray | xr.Dataset, grid: GeoBox, dims: tuple[str, str]) -> dict[Hashable, xr.DataArray]:
    """Coordinates of a grid, by the name that ``obj`` calls its CRS by; pixels from 0.5 on where the grid is turned, which the
    GeoTransform of the CRS then says."""
    return dict(xr_coords(grid, crs_coord_name=crs_name(obj), dims=dims))


def crs_name(obj: xr.DataArray | xr.Dataset) -> str:
    """Name of the coordinate that holds the CRS."""
    first = next(iter(obj.data_vars.values()), None) if isinstance(obj, xr.Dataset) else obj
    said = None if first is None else first.encoding.get("grid_mapping", first.attrs.get("grid_mapping"))
    found = [str(name) for name, coord in obj.coords.items() if not coord.ndim and "crs_wkt" in coord.attrs]
    return str(said or (found[0] if found else "spatial_ref"))


def moved(obj: Object, transform: Affine, grid: GeoBox, dims: tuple[str, str]) -> Object:
    """The same pixels under another geotransform: coordinates and CRS are written anew, no pixel is touched."""
    coords = grid_coords(obj, GeoBox(grid.shape, transform, grid.crs), dims)
    if transform.b == transform.d == 0:
        for dim in dims:
            old = obj.coords[dim].attrs if dim in obj.coords else {}
            coords[dim].attrs |= {name: value for name, value in old.items() if name not in coords[dim].attrs}
    kept = obj.drop_vars([name for name in obj.coords if _is_placed(obj, name, dims)])
    return _referred(kept.assign_coords(coords), crs_name(obj))


def on_grid(
    array: xr.DataArray, data: NDArray[Any] | Any, coords: Mapping[Hashable, xr.DataArray], dims: tuple[str, str]
) -> xr.DataArray:
    """New pixels (…, height, width) of an image, with the coordinates of their grid and ``dims`` of these."""
    own = spatial_dims(array)
    kept = {name: bare(coord) for name, coord in array.coords.items() if not _is_placed(array, name, own)}
    out = xr.DataArray(data, dims=(*array.dims[:-2], *dims), name=array.name, attrs=array.attrs)
    out.encoding = {name: value for name, value in array.encoding.items() if name not in _OF_OLD_FILE}
    return _referred(out.assign_coords({**kept, **coords}), _crs_among(coords))


def bare(coord: xr.DataArray) -> xr.DataArray:
    """A coordinate without the others that xarray hangs on it, such as its CRS."""
    return xr.DataArray(coord.variable)


def _is_placed(obj: xr.DataArray | xr.Dataset, name: Hashable, dims: tuple[str, str]) -> bool:
    """Whether a coordinate says where pixels are: it goes along rows or columns, or holds the CRS."""
    return bool(set(dims) & set(obj.coords[name].dims)) or str(name) == crs_name(obj)


def _crs_among(coords: Mapping[Hashable, xr.DataArray]) -> str:
    return next(str(name) for name, coord in coords.items() if not coord.ndim and "spatial_ref" in coord.attrs)


def _referred(obj: Object, name: str) -> Object:
    """With every variable naming the coordinate that holds the CRS, and nothing left of an older place."""
    out: Object = obj.copy(deep=False)
    images: list[Any] = [*out.data_vars.values()] if isinstance(out, xr.Dataset) else [out]
    for each in [out, *images]:
        each.attrs = {key: value for key, value in each.attrs.items() if key not in (*_OF_OLD_GRID, "grid_mapping")}
    for each in images:
        each.encoding = {**each.encoding, "grid_mapping": name}
    return out
