"""Images along a dimension, such as time, made to agree with each other."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

import numpy as np
import xarray as xr
from pyproj import CRS

from georeg.alignment import Alignment
from georeg.coordinates import grid_of
from georeg.errors import GeoregError, InputError
from georeg.images import Correcting, image_in
from georeg.models import Model, identity
from georeg.options import KernelKind
from georeg.stack_result import StackScene

Object = TypeVar("Object", xr.DataArray, xr.Dataset)
RefusedKind = Literal["raise", "drop"]
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


def dates_along(obj: xr.DataArray | xr.Dataset, dim: Hashable) -> list[datetime | None] | None:
    """When each image along a dimension was taken; None where its coordinate does not tell."""
    if dim not in obj.coords or obj.coords[dim].dtype.kind != "M":
        return None
    seconds = obj.coords[dim].values.astype("datetime64[s]")
    return [None if np.isnat(one) else one.item() for one in seconds]


def correction_of(scene: StackScene) -> Alignment | GeoregError | None:
    """What puts an image right, or why nothing does; None: it stays."""
    return scene.error or scene.alignment


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
        For each image, as of `correction_of`.
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
