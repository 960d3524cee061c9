"""Whether a correction is one that a raster may need: what it does to the ground, and the anomalies by name."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from georeg.errors import InputError, LimitError, VerificationError
from georeg.models import FloatArray, Model
from georeg.options import LimitOptions

_DEFAULT = LimitOptions()


@dataclass(frozen=True)
class Geometry:
    """What a model does to the ground about its tie points."""

    rotation_deg: float
    """In the mean, counter-clockwise, −180 to 180."""
    scale: float
    """The factor on lengths that is furthest from 1."""
    stretch: float
    """Largest ratio of the longest to the shortest image of a unit length: 1 for a similarity, more for shear too."""
    folds: bool
    """Somewhere the ground is folded over or mirrored."""
    overlap: float
    """Share of the smaller raster that lies on the other."""


def geometry(model: Model, tgt_xy: FloatArray, overlap: float) -> Geometry:
    """Measure a model at (N, 2) target map xy.

    >>> from affine import Affine
    >>> from georeg.models import from_transform
    >>> half_as_large = from_transform(Affine.rotation(30) @ Affine.scale(0.5), np.zeros(2), 1.0)
    >>> found = geometry(half_as_large, np.array([[0.0, 0.0], [9.0, 5.0]]), overlap=1.0)
    >>> round(found.rotation_deg, 6), round(found.scale, 6), round(found.stretch, 6), found.folds
    (30.0, 0.5, 1.0, False)
    """
    slopes = model.jacobian(tgt_xy)
    determinant = np.linalg.det(slopes)
    lengths = np.linalg.svd(slopes, compute_uv=False)
    scale = np.sqrt(np.abs(determinant))
    mean = slopes.mean(axis=0)
    return Geometry(
        rotation_deg=math.degrees(math.atan2(mean[1, 0] - mean[0, 1], mean[0, 0] + mean[1, 1])),
        scale=float(scale[np.abs(np.log(np.maximum(scale, 1e-300))).argmax()]),
        stretch=float((lengths[:, 0] / np.maximum(lengths[:, 1], 1e-300)).max()),
        folds=bool((determinant <= 0).any()),
        overlap=overlap,
    )


def check_options(limits: LimitOptions) -> None:
    """Raise `InputError` for a limit that nothing could keep."""
    for name in ("max_ce90", "max_rmse"):
        length_limit(limits, name)
    if limits.max_rotation_deg is not None and not limits.max_rotation_deg > 0:
        raise InputError(f"--max-rotation-deg is {limits.max_rotation_deg}; give a number above 0")
    for name in ("max_scale", "max_stretch"):
        if not getattr(limits, name) > 1:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(limits, name)}; give a factor above 1")
    if not 0 <= limits.min_overlap < 1:
        raise InputError(f"--min-overlap is {limits.min_overlap}; give a share from 0 to 1")


def length_limit(limits: LimitOptions, name: str) -> tuple[float, str] | None:
    """What a limit on a length says, and its unit, ``px`` or ``m``; None where there is none.

    >>> length_limit(LimitOptions(max_ce90="0.3px"), "max_ce90")
    (0.3, 'px')

    Raises
    ------
    InputError
        It is no length.
    """
    text = getattr(limits, name)
    if text is None:
        return None
    found = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*(px|m)\s*", str(text))
    with suppress(ValueError):
        if found and 0 < float(found[1]) < math.inf:
            return float(found[1]), found[2]
    raise InputError(f"--{name.replace('_', '-')} is {text}; give a length above 0 with its unit, such as 0.3px or 3m")


def check_geometry(found: Geometry, kind: str, limits: LimitOptions, *, placed: bool = True) -> None:
    """Raise for a correction that is out of the ordinary.

    Where the target was not ``placed`` by a georeferencing of its own, its scale means nothing.

    Raises
    ------
    VerificationError
        It folds the ground over, or exceeds a default limit.
    LimitError
        It exceeds a limit that the user set.
    """
    if found.folds:
        raise VerificationError(
            f"refused: the {kind} model folds the ground over or mirrors it; choose a simpler --model, or flip the target"
        )
    factor = max(found.scale, 1 / found.scale)
    anomalies = (
        ("max_rotation_deg", abs(found.rotation_deg), f"turns the target by {found.rotation_deg:.3g} degrees"),
        ("max_scale", factor, f"changes its scale by a factor of {found.scale:.3g}"),
        ("max_stretch", found.stretch, f"stretches or shears it by a factor of {found.stretch:.3g}"),
        ("min_overlap", -found.overlap, f"leaves {found.overlap:.1%} of the smaller raster on the other"),
    )
    for name, value, text in anomalies:
        limit = getattr(limits, name)
        if name == "max_scale" and not placed:
            continue
        if limit is not None and value > (-limit if name == "min_overlap" else limit):
            error = VerificationError if limit == getattr(_DEFAULT, name) else LimitError
            raise error(
                f"refused: the {kind} model {text}, beyond --{name.replace('_', '-')} {limit:g}; nothing was written: if that "
                "may be right, change the limit, else check that both rasters show the same ground"
            )
