"""What a result says, in words and numbers for the panel. Values in, values out: knows neither QGIS nor files of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .protocol import without_hint
from .texts import tr

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
    tgt_xy: tuple[float, float] | None = None
    """In the target as its georeferencing has it."""
    by_hand: bool = False
    """Whether somebody pointed at it."""

    @property
    def used(self) -> bool:
        """Whether it takes part: it was not rejected while matching."""
        return self.what in ("fit", "check", "outlier", "kept", "pinned")

    @property
    def residual(self) -> float:
        """Length of the residual, map units; NaN where there is none."""
        return math.hypot(*self.residual_xy) if self.residual_xy else math.nan


def verdict(values: dict[str, Any], left_out: int = 0) -> Verdict:
    """Of a result that georeg stands for; ``left_out``: how many check points the user had switched off for it.

    >>> after = {"rmse": 1.0, "ce90": 1.5, "gsd": 10.0, "n": 40, "n_excluded": 0}
    >>> verdict({"verdict": "aligned", "after": after, "unit": "m", "warnings": []}).grade
    'good'
    """
    after = values["after"]
    rmse_px, n = after["rmse"] / after["gsd"], after["n"]
    care = flattery(left_out) + [_sentence(text) for text in values.get("warnings", ())]
    if n < FEW:
        few = tr("{n} check points are few: take the figures as uncertain by about {share:.0%}.")
        care.append(few.format(n=n, share=1 / (2 * n**0.5)))
    good, limit = CHANGE_PX
    if rmse_px <= good:
        use = tr("Good enough for change detection pixel by pixel.")
    elif rmse_px <= limit:
        use = tr("Barely good enough for change detection pixel by pixel.")
    else:
        use = tr("Not good enough for change detection pixel by pixel: compare objects or larger pixels.")
    still = values["verdict"] == "already aligned"
    title = tr("Already aligned: nothing was moved") if still else tr("Aligned, and proven on check points")
    text = tr("{n} check points, which the fit has not seen, agree with the reference within {rmse} RMSE.")
    text = f"{text.format(n=n, rmse=measured(after['rmse'], values['unit'], after['gsd']))} {use}"
    return Verdict("care" if care or rmse_px > limit else "good", title, "\n".join([text, *map(_careful, care)]))


def checked(values: dict[str, Any], left_out: int = 0) -> Verdict:
    """Of a pair that was only measured: how far apart it is, and what a correction would leave."""
    before, after, unit = values["before"], values["after"], values["unit"]
    if values["verdict"] == "already aligned":
        return verdict(values, left_out)
    apart, left = (measured(part["rmse"], unit, part["gsd"]) for part in (before, after))
    text = tr("On {n} check points they are {apart} RMSE apart; Align would leave {left}. Nothing was written.")
    care = flattery(left_out) + [_sentence(line) for line in values.get("warnings", ())]
    lines = [text.format(n=after["n"], apart=apart, left=left), *map(_careful, care)]
    return Verdict("care" if care else "good", tr("Not aligned yet, and georeg can correct it"), "\n".join(lines))


def flattery(left_out: int) -> list[str]:
    """That figures are of what the user kept, where check points were switched off for them.

    >>> flattery(0), flattery(1)
    ([], ['1 check point was left out by you: the figures are of those that you kept.'])
    """
    if not left_out:
        return []
    one = tr("1 check point was left out by you: the figures are of those that you kept.")
    more = tr("{n} check points were left out by you: the figures are of those that you kept.")
    return [one if left_out == 1 else more.format(n=left_out)]


def refusal(code: str, message: str, hint: str) -> Verdict:
    """Of a run that ended without a result."""
    if code == "cancelled":
        unchanged = tr("No file was changed.")
        return Verdict("care", tr("Cancelled"), unchanged if "No file was changed" in message else _sentence(message))
    refused = code in ("MatchError", "FitError", "VerificationError", "LimitError", "OverlapError")
    title = tr("Do not use: georeg refuses this pair") if refused else tr("Nothing was done")
    why = without_hint(message, hint)
    lines = [_sentence(why)] + ([tr("What to do: {hint}").format(hint=_sentence(hint))] if hint else [])
    return Verdict("bad", title, "\n".join([*lines, tr("No file was changed.")]))


def rows(values: dict[str, Any]) -> list[Row]:
    """Name, then before and after, each in map units and in pixels, for a table; empty where pixels are the map units.

    >>> part = {"rmse": 64.43, "ce90": 70.0, "bias_x": -0.0068, "bias_y": 3.0, "gsd": 10.0}
    >>> rows({"unit": "m", "before": part, "after": part})[0]
    ('RMSE', '64.4', '6.44', '64.4', '6.44')
    """
    before, after, plain = values["before"], values["after"], values["unit"] == "px"
    found = []
    for key, name in (("rmse", "RMSE"), ("ce90", "CE90"), ("bias_x", tr("bias east")), ("bias_y", tr("bias north"))):
        cells = [name]
        for part in (before, after):
            own, px = number(part[key], signed="bias" in key), number(part[key] / part["gsd"], signed="bias" in key)
            cells += ["", px] if plain else [own, px]
        found.append(tuple(cells))
    return found


def remarks(values: dict[str, Any], points: Sequence[Tie], left_out: int = 0) -> str:
    """What the figures are of."""
    after = values["after"]
    told = [tr("{kind} model").format(kind=values["model"]["kind"]), tr("{n} check points").format(n=after["n"])]
    if after.get("n_excluded"):
        told[-1] += " " + tr("({n} more left out as mismatches)").format(n=after["n_excluded"])
    if left_out:
        told.append(tr("without {n} that you left out").format(n=left_out))
    if points:
        used = sum(tie.used for tie in points)
        told.append(tr("{used} of {n} tie points kept").format(used=used, n=len(points)))
    if by_hand := sum(tie.by_hand and tie.used for tie in points):
        told.append(tr("{n} by hand").format(n=by_hand))
    return ", ".join(told)


def side_by_side(one: dict[str, Any], other: dict[str, Any]) -> list[Row]:
    """Two results: a name, then what each has after its correction.

    >>> part = {"rmse": 2.0, "ce90": 3.0, "bias_x": 0.0, "bias_y": 0.0, "gsd": 10.0, "n": 9}
    >>> values = {"unit": "m", "after": part, "model": {"kind": "affine"}, "displacement": [1.0, -2.0]}
    >>> side_by_side(values, values)[0]
    ('RMSE', '2 m (0.2 px)', '2 m (0.2 px)')
    """
    found = []
    for key, name in (("rmse", "RMSE"), ("ce90", "CE90"), ("bias_x", tr("bias east")), ("bias_y", tr("bias north"))):
        parts = [(values["after"], values["unit"]) for values in (one, other)]
        found.append((name, *(measured(p[key], unit, p["gsd"], signed="bias" in key) for p, unit in parts)))
    found.append((tr("check points"), *(str(values["after"]["n"]) for values in (one, other))))
    found.append((tr("model"), *(str(values["model"]["kind"]) for values in (one, other))))
    for axis, name in enumerate((tr("moved east"), tr("moved north"))):
        shifts = [(values["displacement"][axis], values) for values in (one, other)]
        found.append((name, *(measured(v, w["unit"], w["after"]["gsd"], signed=True) for v, w in shifts)))
    return found


def in_a_line(values: dict[str, Any], by_hand: int = 0) -> str:
    """A result in a few words, for a list.

    >>> part = {"rmse": 2.0, "gsd": 10.0, "n": 9}
    >>> in_a_line({"unit": "m", "after": part, "model": {"kind": "affine"}}, 1)
    'affine, RMSE 0.2 px of 9, 1 by hand'
    """
    after = values["after"]
    text = tr("{kind}, RMSE {px:.2g} px of {n}")
    told = [text.format(kind=values["model"]["kind"], px=after["rmse"] / after["gsd"], n=after["n"])]
    return ", ".join(told + ([tr("{n} by hand").format(n=by_hand)] if by_hand else []))


def measured(length: float, unit: str, gsd: float, *, signed: bool = False) -> str:
    """A length in map units and in pixels.

    >>> measured(0.1234, "m", 10.0), measured(-2.0, "m", 10.0, signed=True), measured(0.5, "px", 1.0)
    ('0.123 m (0.012 px)', '-2 m (-0.2 px)', '0.5 px')
    """
    sign = "+" if signed else ""
    own = f"{length:{sign}.{2 if signed else 3}g} {unit}"
    return own if unit == "px" else f"{own} ({length / gsd:{sign}.2g} px)"


def ties(text: str, by_hand: Iterable[int] = ()) -> list[Tie]:
    """The tie points of a file that the worker wrote, GeoJSON with the fields of ``georeg export``."""
    hand = set(by_hand)
    found = []
    for k, feature in enumerate(json.loads(text)["features"]):
        held = feature["properties"]
        residual, place = ((held.get(f"{name}_x"), held.get(f"{name}_y")) for name in ("residual", "tgt"))
        by_status = held["role"] == "rejected" or held["status"] == "pinned"
        found.append(
            Tie(
                number=int(held.get("id", k + 1)),
                by_hand=int(held.get("id", k + 1)) in hand,
                what=str(held["status"] if by_status else held["role"]),
                ref_xy=(float(held["ref_x"]), float(held["ref_y"])),
                residual_xy=None if None in residual else (float(residual[0]), float(residual[1])),
                tgt_xy=None if None in place else (float(place[0]), float(place[1])),
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
    """The tie points of a result as ``georeg fit`` reads them, those of these numbers switched off and no others."""
    points = dict(values["tie_points"])
    off = set(numbers)
    points["status"] = [
        "disabled" if k in off else "kept" if status == "disabled" else status
        for k, status in enumerate(points["status"], start=1)
    ]
    return points


def check_numbers(values: dict[str, Any]) -> set[int]:
    """Numbers of the tie points that the accuracy of a result is of: those that it was not fitted to."""
    told = values.get("withheld_xy") or []
    return {k for k, withheld in enumerate(told, start=1) if withheld is not None}


def with_snapped(values: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """A result whose tie points are those of an answer of ``georeg snap``: one more, or one of them elsewhere."""
    more = len(answer["status"]) - len(values["tie_points"]["status"])
    held = {"role": [*values["role"], *[0] * more], "withheld_xy": [*values["withheld_xy"], *[None] * more]}
    return {**values, **held, "tie_points": {name: value for name, value in answer.items() if name != "snapped"}}


def snapped_tie(answer: dict[str, Any]) -> Tie:
    """The tie point that was measured."""
    one = answer["snapped"]
    places = [tuple(map(float, one[name])) if one.get(name) else None for name in ("ref_xy", "residual_xy", "tgt_xy")]
    return Tie(int(one["number"]), "kept", places[0] or (math.nan, math.nan), places[1], places[2], by_hand=True)


def duration(seconds: float) -> str:
    """
    >>> duration(5.2), duration(75), duration(3700)
    ('0:05', '1:15', '1:01:40')
    """
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def _careful(text: str) -> str:
    return tr("Take care: {what}").format(what=text)


def _sentence(text: str) -> str:
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?" else text + "."


def number(value: float, *, signed: bool = False) -> str:
    """Three digits, and none behind the third decimal, which means nothing."""
    sign = "+" if signed else ""
    return (
        f"{value:{sign}.3f}" if abs(value) < 1 else f"{value:{sign}.3g}" if abs(value) < 1000 else f"{value:{sign}.0f}"
    )


def _round(factor: float) -> float:
    ten = 10.0 ** math.floor(math.log10(max(factor, 1.0)))
    return ten * min((1, 2, 5, 10), key=lambda step: abs(math.log(step * ten / max(factor, 1.0))))
