"""Images along a dimension, such as time, made to agree with each other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, TypeVar

import xarray as xr
from pyproj import CRS

from georeg.alignment import Alignment
from georeg.coordinates import grid_of
from georeg.errors import GeoregError, InputError
from georeg.images import Correcting, image_in
from georeg.models import Model, identity
from georeg.options import KernelKind
from georeg.raster import Raster

Object = TypeVar("Object", xr.DataArray, xr.Dataset)
RefusedKind = Literal["raise", "drop"]
Measuring = Callable[[Raster], Alignment]
"""What measures one raster against what all shall agree with."""
_log = logging.getLogger(__name__)


def slices(obj: Object, dim: Hashable) -> list[Object]:
    """The objects along a dimension.

    Raises
    ------
    InputError
        There is no such dimension, or but one object along it.
    """
    if dim not in obj.dims:
        raise InputError(
            f"there is no dimension {dim!r} among {tuple(obj.dims)}; give the one along which images follow"
        )
    if obj.sizes[dim] < 2:
        raise InputError(f"there is {obj.sizes[dim]} image along {dim!r}, at least 2 are needed; use align for one")
    return [obj.isel({dim: [i]}) for i in range(obj.sizes[dim])]


def measured(rasters: Sequence[Raster | None], measure: Measuring) -> list[Alignment | GeoregError | None]:
    """Of each raster by itself, what puts it where it belongs or why nothing does; None stays None: it lies right."""

    def one(raster: Raster) -> Alignment | GeoregError:
        try:
            return measure(raster)
        except GeoregError as exc:
            return exc

    return [None if raster is None else one(raster) for raster in rasters]


def stacked(
    obj: Object,
    dim: Hashable,
    found: Sequence[Alignment | GeoregError | None],
    *,
    resampling: KernelKind = "auto",
    refused: RefusedKind = "raise",
) -> Object:
    """All images along a dimension corrected onto the grid that they have, lazily if they are lazy.

    Parameters
    ----------
    found
        As of `measured`, for each image.
    refused
        ``"raise"`` what an image was refused with, or ``"drop"`` the image.

    Raises
    ------
    GeoregError
        What an image was refused with.
    """
    if not isinstance(obj, xr.Dataset):
        return _stacked(obj, dim, found, resampling, refused)
    along = [name for name, array in obj.data_vars.items() if dim in array.dims]
    done = _stacked(obj[along], dim, found, resampling, refused)
    others = obj.drop_vars(along).drop_dims([dim], errors="ignore")
    return xr.Dataset({**others.data_vars, **done.data_vars}, attrs=obj.attrs)[list(obj.data_vars)]


def _stacked(
    obj: Object,
    dim: Hashable,
    found: Sequence[Alignment | GeoregError | None],
    resampling: KernelKind,
    refused: RefusedKind,
) -> Object:
    done = []
    for i, (one, alignment) in enumerate(zip(slices(obj, dim), found, strict=True)):
        if isinstance(alignment, GeoregError):
            if refused == "raise":
                raise alignment
            _log.warning("image %d along %s is left out: %s", i, dim, alignment)
            continue
        crs, model = _own(one) if alignment is None else (alignment.crs, alignment.model)
        done.append(Correcting(crs, model, one, resample=True, resampling=resampling).corrected(one))
    if not done:
        raise next(one for one in found if isinstance(one, GeoregError))
    only: Any = {"data_vars": "minimal"} if isinstance(obj, xr.Dataset) else {}
    together: Object = xr.concat(
        done, dim=dim, coords="minimal", compat="override", join="override", combine_attrs="override", **only
    )
    return together.transpose(*obj.dims)


def _own(obj: xr.DataArray | xr.Dataset) -> tuple[CRS, Model]:
    return CRS.from_user_input(str(grid_of(image_in(obj)).crs)), identity()
