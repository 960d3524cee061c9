"""A pair that was refused: why, and what is known of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from rasterio.windows import Window

from georeg.errors import FitError, GeoregError, InputError, LimitError, MatchError, OverlapError, VerificationError
from georeg.interchange import points_to_dict
from georeg.models import identity
from georeg.placement import apply_transform
from georeg.remote import without_secrets
from georeg.report.chips import CHIP_PX, Pictures, chip
from georeg.report.find import made_now, pictures, software
from georeg.report.looks import Looks, looking, window_about
from georeg.tie_points import TiePoints

REFUSALS = (MatchError, FitError, VerificationError, LimitError, OverlapError)
"""Errors that are of the pair rather than of how georeg was asked."""


@dataclass(frozen=True, eq=False)
class Refusal:
    """What is known of a pair that could not be aligned."""

    error: str
    """Class of the exception."""
    message: str
    """What happened, and what to do next."""
    reference: str
    """Path."""
    target: str
    """Path."""
    command: str
    made: str
    """When, ISO 8601 in UTC."""
    software: dict[str, str]
    """Versions."""
    points: TiePoints | None
    """Tie points as far as there are any."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "type": "georeg.Refusal",
            "verdict": "refused",
            "error": self.error,
            "message": self.message,
            "reference": without_secrets(self.reference),
            "target": without_secrets(self.target),
            "command": self.command,
            "made": self.made,
            "software": self.software,
            "tie_points": None if self.points is None else points_to_dict(self.points),
        }


def refusal(
    error: GeoregError, reference: str | os.PathLike[str], target: str | os.PathLike[str], command: str
) -> Refusal:
    """What an error of a pair tells, with the tie points that it carries."""
    return Refusal(
        error=type(error).__name__,
        message=str(error),
        reference=os.fspath(reference),
        target=os.fspath(target),
        command=command,
        made=made_now(),
        software=software(),
        points=error.evidence,
    )


def pictures_of(refused: Refusal) -> Pictures | None:
    """The ground of the tie points, and both images in the middle of what they share; None without tie points or overlap."""
    points = refused.points
    if points is None or not len(points):
        return None
    try:
        with looking(points, identity(), points.gsd / points.reduction) as looks:
            shared = looks.shared_px()
            if shared.is_empty:
                return None
            return pictures(looks, [chip("middle", looks.see(window), at) for window, at in [_middle(looks, shared)]])
    except InputError:  # it is told already why the pair was refused
        return None


def _middle(looks: Looks, shared: shapely.Geometry) -> tuple[Window, tuple[float, float]]:
    px = shapely.get_coordinates(shapely.point_on_surface(shared))
    side = min(CHIP_PX, *(int(n) for n in looks.grid.shape))
    window = window_about(looks, apply_transform(looks.grid.affine, px)[0], side, set())
    col, row = np.subtract(px[0], (window.col_off, window.row_off))
    return window, (float(col), float(row))
