"""What a result says, in words and numbers for the panel. Values in, values out: knows neither QGIS nor files of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CHANGE_PX = (0.2, 0.3)
"""Change detection pixel by pixel asks for a registration within the first, or at most the second, in pixels (RMSE)."""
FEW = 20
"""Fewer check points than these are few."""
DRAWN_SHARE, LONGEST_SHARE = 0.06, 0.12
"""The longer arrows are drawn this long, and none longer than that, as a share of the diagonal of the tie points."""

Row = tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """A judgement in words."""

    grade: str
    """``good``, ``care`` or ``bad``."""
    title: str
    text: str


@dataclass(frozen=True)
class Tie:
    """One tie point, in map units of the working CRS."""

    number: int
    """As in the file, from 1."""
    what: str
    """``fit``, ``check``, ``outlier``, ``kept``, ``pinned``, or why it was rejected."""
    ref_xy: tuple[float, float]
    residual_xy: tuple[float, float] | None
    """Reference − corrected target; None where there is no model yet."""

    @property
    def used(self) -> bool:
        """Whether it takes part: it was not rejected while matching."""
        return self.what in ("fit", "check", "outlier", "kept", "pinned")

    @property
    def residual(self) -> float:
        """Length of the residual, map units; NaN where there is none."""
        return math.hypot(*self.residual_xy) if self.residual_xy else math.nan


def verdict(values: dict[str, Any]) -> Verdict:
    """Of a result that georeg stands for.

    >>> after = {"rmse": 1.0, "ce90": 1.5, "gsd": 10.0, "n": 40, "n_excluded": 0}
    >>> verdict({"verdict": "aligned", "after": after, "unit": "m", "warnings": []}).grade
    'good'
    """
    after = values["after"]
    rmse_px, n = after["rmse"] / after["gsd"], after["n"]
    care = [_sentence(text) for text in values.get("warnings", ())]
    if n < FEW:
        care.append(f"{n} check points are few: take the figures as uncertain by about {1 / (2 * n**0.5):.0%}.")
    good, limit = CHANGE_PX
    if rmse_px <= good:
        use = "Good enough for change detection pixel by pixel"
    elif rmse_px <= limit:
        use = "Barely good enough for change detection pixel by pixel"
    else:
        use = "Not good enough for change detection pixel by pixel: compare objects or larger pixels"
        care.append("")
    still = values["verdict"] == "already aligned"
    title = "Already aligned: nothing was moved" if still else "Aligned, and proven on check points"
    where = f"agree with the reference within {measured(after['rmse'], values['unit'], after['gsd'])} RMSE"
    text = f"{n} check points, which the fit has not seen, {where}. {use}."
    told = [text] + ["Take care: " + line for line in care if line]
    return Verdict("care" if care else "good", title, "\n".join(told))


def checked(values: dict[str, Any]) -> Verdict:
    """Of a pair that was only measured: how far apart it is, and what a correction would leave."""
    before, after, unit = values["before"], values["after"], values["unit"]
    if values["verdict"] == "already aligned":
        return verdict(values)
    apart, left = (measured(part["rmse"], unit, part["gsd"]) for part in (before, after))
    text = f"On {after['n']} check points they are {apart} RMSE apart; Align would leave {left}. Nothing was written."
    care = ["Take care: " + _sentence(line) for line in values.get("warnings", ())]
    return Verdict("care" if care else "good", "Not aligned yet, and georeg can correct it", "\n".join([text, *care]))


def refusal(code: str, message: str, hint: str) -> Verdict:
    """Of a run that ended without a result."""
    if code == "cancelled":
        told = "" if "No file was changed" in message else _sentence(message)
        return Verdict("care", "Cancelled", told or "No file was changed.")
    refused = code in ("MatchError", "FitError", "VerificationError", "LimitError", "OverlapError")
    title = "Do not use: georeg refuses this pair" if refused else "Nothing was done"
    why = message[: -len(hint)].rstrip(" ;:") if hint and message.endswith(hint) else message
    lines = [_sentence(why)] + (["What to do: " + _sentence(hint)] if hint else []) + ["No file was changed."]
    return Verdict("bad", title, "\n".join(lines))


def rows(values: dict[str, Any]) -> list[Row]:
    """Name, then before and after, each in map units and in pixels, for a table; empty where pixels are the map units.

    >>> part = {"rmse": 64.43, "ce90": 70.0, "bias_x": -0.0068, "bias_y": 3.0, "gsd": 10.0}
    >>> rows({"unit": "m", "before": part, "after": part})[0]
    ('RMSE', '64.4', '6.44', '64.4', '6.44')
    """
    before, after, plain = values["before"], values["after"], values["unit"] == "px"
    found = []
    for key, name in (("rmse", "RMSE"), ("ce90", "CE90"), ("bias_x", "bias east"), ("bias_y", "bias north")):
        cells = [name]
        for part in (before, after):
            own, px = _number(part[key], signed="bias" in name), _number(part[key] / part["gsd"], signed="bias" in name)
            cells += ["", px] if plain else [own, px]
        found.append(tuple(cells))
    return found


def remarks(values: dict[str, Any], points: Sequence[Tie]) -> str:
    """What the figures are of."""
    after = values["after"]
    excluded = f" ({after['n_excluded']} more left out as mismatches)" if after.get("n_excluded") else ""
    used = sum(tie.used for tie in points)
    of = f", {used} of {len(points)} tie points kept" if points else ""
    return f"{values['model']['kind']} model, {after['n']} check points{excluded}{of}"


def measured(length: float, unit: str, gsd: float, *, signed: bool = False) -> str:
    """A length in map units and in pixels.

    >>> measured(0.1234, "m", 10.0), measured(-2.0, "m", 10.0, signed=True), measured(0.5, "px", 1.0)
    ('0.123 m (0.012 px)', '-2 m (-0.2 px)', '0.5 px')
    """
    sign = "+" if signed else ""
    own = f"{length:{sign}.{2 if signed else 3}g} {unit}"
    return own if unit == "px" else f"{own} ({length / gsd:{sign}.2g} px)"


def ties(text: str) -> list[Tie]:
    """The tie points of a file that the worker wrote, GeoJSON with the fields of ``georeg export``."""
    found = []
    for k, feature in enumerate(json.loads(text)["features"]):
        held = feature["properties"]
        residual = (held.get("residual_x"), held.get("residual_y"))
        by_status = held["role"] == "rejected" or held["status"] == "pinned"
        found.append(
            Tie(
                number=int(held.get("id", k + 1)),
                what=str(held["status"] if by_status else held["role"]),
                ref_xy=(float(held["ref_x"]), float(held["ref_y"])),
                residual_xy=None if None in residual else (float(residual[0]), float(residual[1])),
            )
        )
    return found


def by_residual(points: Sequence[Tie]) -> list[Tie]:
    """Those that were used, the worst first, then the rejected ones."""
    return sorted(points, key=lambda tie: (not tie.used, -tie.residual if tie.residual_xy else 0.0, tie.number))


def worst(points: Sequence[Tie]) -> Tie | None:
    """The check point that lies furthest from where it should, or any point used where there is none."""
    for whats in (("check",), ("fit", "kept", "pinned")):
        chosen = [tie for tie in points if tie.what in whats and tie.residual_xy]
        if chosen:
            return max(chosen, key=lambda tie: tie.residual)
    return None


def exaggeration(points: Sequence[Tie]) -> tuple[float, float]:
    """How many times as long as residuals arrows are drawn, one of 1, 2, 5, 10, …, and the longest that one may be.

    >>> at = [Tie(k, "fit", (100.0 * k, 0.0), (1.0, 0.0)) for k in range(11)]
    >>> exaggeration(at)
    (50.0, 120.0)
    """
    used = [tie for tie in points if tie.used and tie.residual_xy]
    if not used:
        return 1.0, 0.0
    xs, ys = zip(*(tie.ref_xy for tie in used))
    extent = math.hypot(max(xs) - min(xs), max(ys) - min(ys))
    typical = sorted(tie.residual for tie in used)[int(0.9 * (len(used) - 1))]
    wanted = DRAWN_SHARE * extent / typical if typical > 0 else 1.0
    return _round(wanted), LONGEST_SHARE * extent


def arrow(tie: Tie, times: float, longest: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and end of the arrow of a residual."""
    factor = min(times, longest / max(tie.residual, 1e-300)) if tie.residual_xy else 0.0
    (x, y), (dx, dy) = tie.ref_xy, tie.residual_xy or (0.0, 0.0)
    return (x, y), (x + factor * dx, y + factor * dy)


def without(values: dict[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """The tie points of a result as ``georeg fit`` reads them, those of these numbers switched off."""
    points = dict(values["tie_points"])
    off = set(numbers)
    points["status"] = ["disabled" if k in off else status for k, status in enumerate(points["status"], start=1)]
    return points


def duration(seconds: float) -> str:
    """
    >>> duration(5.2), duration(75), duration(3700)
    ('0:05', '1:15', '1:01:40')
    """
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def _sentence(text: str) -> str:
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?" else text + "."


def _number(value: float, *, signed: bool = False) -> str:
    """Three digits, and none behind the third decimal, which means nothing."""
    sign = "+" if signed else ""
    return (
        f"{value:{sign}.3f}" if abs(value) < 1 else f"{value:{sign}.3g}" if abs(value) < 1000 else f"{value:{sign}.0f}"
    )


def _round(factor: float) -> float:
    ten = 10.0 ** math.floor(math.log10(max(factor, 1.0)))
    return ten * min((1, 2, 5, 10), key=lambda step: abs(math.log(step * ten / max(factor, 1.0))))
