"""A correction in words: shift, rotation, scale and shear of its best affine map, and what is left of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from georeg.accuracy import UNMOVED_PX
from georeg.fit import Fit, Role
from georeg.models import FloatArray
from georeg.report.findings import Decomposition

MAX_SCALE, MAX_SHEAR_DEG, MAX_ROTATION_DEG, MAX_RATIO = 0.05, 1.0, 5.0, 0.02
"""Beyond these a georeferenced target is out of the ordinary."""
MAX_BEND_SHARE, MIN_BEND_PX = 0.5, 0.5
"""A bend of this share of the shift, and of so many pixels, too."""
MAX_SHIFT_SHARE = 0.25
"""And a shift by this share of the ground's side."""


@dataclass(frozen=True)
class _Parts:
    """An affine map about a place, map units and radians."""

    shift_xy: FloatArray
    rotation: float
    scale_x: float
    scale_y: float
    shear: float
    bend: float


def decompose(fitted: Fit, gsd: float, unit: str) -> Decomposition:
    """The correction of a fit; ``gsd`` are map units of a working pixel."""
    points = fitted.points
    middle_xy = points.tgt_xy[points.kept].mean(axis=0)
    ground_xy = points.everywhere_xy()
    parts = _parts(ground_xy, fitted.model(ground_xy), middle_xy)
    reach = float(np.hypot(*(ground_xy - middle_xy).T).max())
    least = _uncertain(fitted, middle_xy)
    placed = points.inputs.initial not in ("center", "none")
    side = float(np.ptp(ground_xy, axis=0).max())
    return Decomposition(
        shift_x=float(parts.shift_xy[0]),
        shift_y=float(parts.shift_xy[1]),
        rotation_deg=math.degrees(parts.rotation),
        scale_x=parts.scale_x,
        scale_y=parts.scale_y,
        shear_deg=math.degrees(parts.shear),
        bend_px=parts.bend / gsd,
        words=tuple(_words(parts, least, reach, gsd, unit)),
        anomalies=tuple(_anomalies(parts, side, gsd, unit, placed=placed)),
    )


def _parts(tgt_xy: FloatArray, ref_xy: FloatArray, middle_xy: FloatArray) -> _Parts:
    """The affine map that takes (N, 2) ``tgt_xy`` nearest to ``ref_xy``, and how far from that they still are, RMS."""
    about = tgt_xy - middle_xy
    unit = float(np.sqrt((about**2).mean())) or 1.0
    design = np.column_stack([np.ones(len(about)), about / unit])
    moved = ref_xy - tgt_xy
    solved, *_ = np.linalg.lstsq(design, moved, rcond=None)
    rest = moved - design @ solved
    east, north = np.eye(2) + solved[1:] / unit
    area = float(east[0] * north[1] - east[1] * north[0])
    length = float(np.hypot(*east))
    return _Parts(
        shift_xy=solved[0],
        rotation=math.atan2(east[1], east[0]),
        scale_x=length,
        scale_y=area / length,
        shear=math.atan2(float(east @ north), area),
        bend=float(np.sqrt((rest**2).sum(axis=1).mean())),
    )


def _uncertain(fitted: Fit, middle_xy: FloatArray) -> _Parts:
    """Standard deviations of the parts, as the residuals of the tie points hold an affine map."""
    used = fitted.role == Role.FIT
    about = fitted.points.tgt_xy[used] - middle_xy
    told = len(about) / float(np.median(fitted.points.redundancy[used]))
    x, y = fitted.residual()[used].std(axis=0)
    wide, high = (max(float(v), 1e-300) for v in about.std(axis=0))
    root = math.sqrt(max(told - 3, 1.0))
    return _Parts(
        shift_xy=np.sqrt(np.diagonal(fitted.model.covariance_at(middle_xy[None])[0])),
        rotation=float(y / wide / root),
        scale_x=float(x / wide / root),
        scale_y=float(y / high / root),
        shear=math.hypot(y / wide, x / high) / root,
        bend=0.0,
    )


def _words(parts: _Parts, least: _Parts, reach: float, gsd: float, unit: str) -> list[str]:
    """A sentence for each part that is larger than its uncertainty and than what counts as unmoved at the edge."""
    seen = UNMOVED_PX * gsd
    said = []
    ways = [
        f"{abs(value):.4g} {unit} {name[int(value < 0)]}"
        for value, sigma, name in zip(
            parts.shift_xy, least.shift_xy, (("east", "west"), ("north", "south")), strict=True
        )
        if abs(value) > max(sigma, seen)
    ]
    if ways:
        px = "" if unit == "px" else f", {np.hypot(*parts.shift_xy) / gsd:.3g} px"
        said.append(f"moves the target {' and '.join(ways)}{px}")
    if abs(parts.rotation) > least.rotation and abs(parts.rotation) * reach > seen:
        turn = "counter-clockwise" if parts.rotation > 0 else "clockwise"
        said.append(
            f"turns it by {abs(math.degrees(parts.rotation)):.3g} degrees {turn}{_at_edge(parts.rotation, reach, gsd)}"
        )
    scales = [
        (f"{growth - 1:+.4%} along {axis}", abs(growth - 1))
        for growth, sigma, axis in (
            (parts.scale_x, least.scale_x, "its east"),
            (parts.scale_y, least.scale_y, "its north"),
        )
        if abs(growth - 1) > sigma and abs(growth - 1) * reach > seen
    ]
    if scales:
        most = max(by for _, by in scales)
        said.append(f"scales it by {' and '.join(text for text, _ in scales)}{_at_edge(most, reach, gsd)}")
    if abs(parts.shear) > least.shear and abs(parts.shear) * reach > seen:
        said.append(f"shears it by {math.degrees(parts.shear):+.3g} degrees{_at_edge(parts.shear, reach, gsd)}")
    if parts.bend > seen:
        said.append(f"bends it by {parts.bend / gsd:.2g} px RMS beyond that")
    return said or ["leaves the target where it is"]


def _at_edge(slope: float, reach: float, gsd: float) -> str:
    return f", {abs(slope) * reach / gsd:.2g} px at the edge of the scene"


def _anomalies(parts: _Parts, side: float, gsd: float, unit: str, *, placed: bool) -> list[str]:
    """What is out of the ordinary; of a target that was not ``placed`` by a georeferencing, what no camera does."""
    shift, said = float(np.hypot(*parts.shift_xy)), []
    mean, ratio = math.sqrt(abs(parts.scale_x * parts.scale_y)), parts.scale_x / parts.scale_y
    if placed and abs(math.degrees(parts.rotation)) > MAX_ROTATION_DEG:
        said.append(
            f"turned by {math.degrees(parts.rotation):.3g} degrees, where a georeferenced target should need less than "
            f"{MAX_ROTATION_DEG:g}: its geotransform may ignore a rotation"
        )
    if placed and abs(mean - 1) > MAX_SCALE:
        said.append(
            f"scaled by {mean:.4g}, where a georeferenced target should need no more than {MAX_SCALE:.0%}: its pixel size or "
            "the unit of its CRS may be wrong"
        )
    if abs(ratio - 1) > MAX_RATIO:
        said.append(f"its scales differ, {parts.scale_x:.4g} along east and {parts.scale_y:.4g} along north")
    if abs(math.degrees(parts.shear)) > MAX_SHEAR_DEG:
        said.append(f"sheared by {math.degrees(parts.shear):.3g} degrees: its CRS may not be what it says")
    if placed and shift > MAX_SHIFT_SHARE * side:
        said.append(f"moved by {shift:.4g} {unit}, {shift / side:.0%} of the side of the shared ground")
    if parts.bend > max(MAX_BEND_SHARE * shift, MIN_BEND_PX * gsd):
        said.append(
            f"bent by {parts.bend / gsd:.2g} px RMS, against a shift of {shift / gsd:.2g} px: relief, a camera without "
            "orthorectification, or clouds may be the cause"
        )
    return said
