"""The verdict of a report: one or two plain sentences, and what to take care of."""

from __future__ import annotations

from georeg.alignment import Alignment
from georeg.overlap import unit_name
from georeg.report.findings import Spread

CHANGE_PX = (0.2, 0.3)
"""Change detection asks for a registration within 0.2 px (Dai and Khorram 1998, doi:10.1109/36.718860), or at most 0.3 px."""
FEW = 20
"""Fewer check points than these are few."""


def verdict(alignment: Alignment, before: Spread, after: Spread) -> str:
    """What was done, how well, what that is good for, and what to take care of."""
    unit, gsd = unit_name(alignment.crs), alignment.after.gsd
    own = f", {after.rmse * gsd:.3g} {unit}" if unit != "px" else ""
    if alignment.verdict == "already aligned":
        done = f"Already aligned, nothing was moved: the rasters agree within {after.rmse:.2g} px RMSE{own}"
    else:
        east, north = alignment.displacement()
        ways = f"{abs(east):.4g} {unit} {'east' if east >= 0 else 'west'} and {abs(north):.4g} {unit} "
        ways += "north" if north >= 0 else "south"
        done = (
            f"A correction of {ways} in the mean ({alignment.model.kind} model) brings the target onto the reference within "
            f"{after.rmse:.2g} px RMSE{own}; without it they are {before.rmse:.3g} px apart"
        )
    care = _care(alignment, after)
    return f"{done}, on {after.n} check points. {_use(after)}" + (f" Take care: {'; '.join(care)}." if care else "")


def _use(after: Spread) -> str:
    """What it is good for."""
    good, limit = CHANGE_PX
    if after.rmse <= good:
        return f"That is good enough for change detection pixel by pixel, which asks for {good} px."
    if after.rmse <= limit:
        return f"That is barely good enough for change detection pixel by pixel, which asks for {good} to {limit} px."
    return (
        f"That is not good enough for change detection pixel by pixel, which asks for {good} to {limit} px: compare objects or "
        "larger pixels."
    )


def _care(alignment: Alignment, after: Spread) -> list[str]:
    said = list(alignment.fitted.warnings)  # which tell of a second group too
    if after.n < FEW:
        said.append(
            f"{after.n} check points are few, and the figures are uncertain by about {1 / (2 * after.n**0.5):.0%}"
        )
    left_out = alignment.after.n_excluded
    if left_out > 0.1 * (after.n + left_out):
        said.append(f"{left_out} of {after.n + left_out} check points were left out as mismatches")
    return said
