"""The tie points of a result as arrays, in groups that a map shows: `Ties`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from georeg.models import FloatArray, from_dict
from georeg.overlap import unit_name

CHECK, MISMATCH, FIT, OUTLIER, KEPT = "check", "mismatch", "fit", "outlier", "kept"
_ROLES = {1: FIT, 2: OUTLIER}
GROUPS = {
    CHECK: "check points",
    FIT: "points of the fit",
    MISMATCH: "check points left out as mismatches",
    OUTLIER: "points that the fit found inconsistent",
    "low_texture": "rejected: low texture",
    "weak_peak": "rejected: weak peak",
    "ambiguous_peak": "rejected: ambiguous peak",
    "inconsistent": "rejected: inconsistent",
    "out_of_range": "rejected: out of range",
    "masked": "rejected: masked",
    "disabled": "switched off by hand",
    KEPT: "measured, not proven",
    "pinned": "made by hand",
}
"""Names of the groups of tie points, in the order of a legend."""


@dataclass(frozen=True, eq=False)
class Ties:
    """N tie points; residuals are NaN where there are none."""

    ref_xy: FloatArray
    """(N, 2) working CRS."""
    before_px: FloatArray
    """(N, 2) residual without a correction, working pixels, east and north."""
    after_px: FloatArray
    """(N, 2) residual with it: by a model that the tie point took no part in where there is one."""
    sigma_px: FloatArray
    """(N, 2) standard deviation of a residual by its own covariance and the scatter of the fit."""
    group: NDArray[np.str_]
    """(N,) one of `GROUPS`."""
    gsd: float
    """Working pixel, map units."""
    unit: str
    """Of the map: ``px`` where it is no place on Earth."""

    @property
    def checked(self) -> NDArray[np.bool_]:
        """(N,) True for the check points that the accuracy is of."""
        return np.asarray(self.group == CHECK)

    @property
    def axes(self) -> tuple[str, str]:
        """What +x and +y are."""
        return ("right", "up") if self.unit == "px" else ("east", "north")

    def counts(self) -> dict[str, int]:
        """Number of tie points by group, only those that occur."""
        return {name: int(n) for name in GROUPS if (n := (self.group == name).sum())}


def ties_of(values: dict[str, Any]) -> Ties:
    """The tie points of a result."""
    points = values["tie_points"]
    ref_xy, tgt_xy = (np.array(points[name], float).reshape(-1, 2) for name in ("ref_xy", "tgt_xy"))
    gsd, sigma_px = values["after"]["gsd"], values["sigma_px"] * points["gsd"]
    withheld_xy = np.array([row or [np.nan, np.nan] for row in values["withheld_xy"]], float).reshape(-1, 2)
    offered = np.array(values["role"], int) > 0
    after_xy = np.where(np.isnan(withheld_xy), ref_xy - from_dict(values["model"])(tgt_xy), withheld_xy)
    variance = np.array(points["cov"], float).reshape(-1, 2, 2)[:, [0, 1], [0, 1]]
    tolerance = values["verification"]["tolerance_px"] * gsd
    return Ties(
        ref_xy=ref_xy,
        before_px=(ref_xy - tgt_xy) / gsd,
        after_px=np.where(offered[:, None], after_xy / gsd, np.nan),
        sigma_px=np.sqrt(variance + sigma_px**2) / gsd,
        group=_groups(values, np.hypot(*withheld_xy.T), tolerance),
        gsd=gsd,
        unit=values["unit"],
    )


def ties_of_refusal(values: dict[str, Any]) -> Ties | None:
    """Those of a refusal, kept or not; None where none were tried."""
    points = values.get("tie_points")
    if not points or not points["ref_xy"]:
        return None
    ref_xy, tgt_xy = (np.array(points[name], float).reshape(-1, 2) for name in ("ref_xy", "tgt_xy"))
    gsd = points["gsd"] / points["reduction"]
    none = np.full(ref_xy.shape, np.nan)
    unit = unit_name(CRS.from_wkt(points["crs"]))
    return Ties(ref_xy, (ref_xy - tgt_xy) / gsd, none, none, np.array(points["status"]), gsd, unit)


def _groups(values: dict[str, Any], radial: FloatArray, tolerance: float) -> NDArray[np.str_]:
    named = []
    for status, role, distance in zip(values["tie_points"]["status"], values["role"], radial, strict=True):
        if np.isfinite(distance):
            named.append(CHECK if distance <= tolerance else MISMATCH)
        else:
            named.append(_ROLES.get(role, status))
    return np.array(named, dtype=np.str_)
