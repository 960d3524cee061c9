"""Tie points and fits as plain values for JSON, exact to the last bit, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, TypeVar, get_args

import numpy as np

from georeg.choice import Candidate
from georeg.errors import InputError
from georeg.fit import Fit, SecondGroup
from georeg.models import from_dict
from georeg.options import InitialKind
from georeg.remote import without_secrets
from georeg.tie_points import Inputs, Status, TiePoints

Value = TypeVar("Value")

_SCALARS = ("crs", "gsd", "window_px", "search_px", "chance", "log10_tests", "overlap", "reduction", "step")

_OUTLINES = ("area", "ref_mask", "tgt_mask")

_ARRAYS = ("ref_xy", "tgt_xy", "cov", "score", "outline_xy")


def points_to_dict(points: TiePoints) -> dict[str, Any]:
    """Columns of numbers, and the reason of each rejection by name."""
    return {
        "inputs": _told(points.inputs),
        **{name: getattr(points, name) for name in _SCALARS},
        **({"apart": points.apart} if points.apart else {}),
        "status": [Status(s).name.lower() for s in points.status],
        **{name: getattr(points, name).tolist() for name in _ARRAYS},
    }


def _told(inputs: Inputs) -> dict[str, Any]:
    """The two rasters without what gives access to them: a result is shown to others. Area and masks only if there are any."""
    values = asdict(replace(inputs, reference=without_secrets(inputs.reference), target=without_secrets(inputs.target)))
    outlines = {name: values.pop(name) for name in _OUTLINES}
    return values | {name: without_secrets(path) for name, path in outlines.items() if path is not None}


def points_from_dict(values: dict[str, Any]) -> TiePoints:
    """The tie points that `points_to_dict` described.

    Raises
    ------
    InputError
        The values do not describe any.
    """
    return _reading("tie points", "match", _points, values)


def fit_to_dict(fitted: Fit) -> dict[str, Any]:
    """Model, candidates and roles, with the tie points."""
    return {
        "model": fitted.model.to_dict(),
        "sigma_px": fitted.sigma_px,
        "candidates": [asdict(c) for c in fitted.candidates],
        "second": asdict(fitted.second) if fitted.second else None,
        "warnings": list(fitted.warnings),
        "role": fitted.role.tolist(),
        "withheld_xy": [row if np.isfinite(row).all() else None for row in fitted.withheld_xy.tolist()],
        "tie_points": points_to_dict(fitted.points),
    }


def fit_from_dict(values: dict[str, Any]) -> Fit:
    """The fit that `fit_to_dict` described.

    Raises
    ------
    InputError
        The values do not describe one.
    """
    return _reading("a fit", "fit", _fit, values)


def parse_json(text: str) -> dict[str, Any]:
    """The object that JSON text holds.

    Raises
    ------
    InputError
        It holds none.
    """
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as exc:
        raise InputError(f"not JSON ({exc}); give a file that georeg wrote") from exc
    if not isinstance(values, dict):
        raise InputError("JSON without an object at its top; give a file that georeg wrote")
    return values


def _points(values: dict[str, Any]) -> TiePoints:
    inputs = values["inputs"]
    bands = {name: tuple(inputs[name]) for name in ("ref_bands", "tgt_bands")}
    if inputs.get("initial", "auto") not in get_args(InitialKind):
        raise ValueError(f"initial is {inputs['initial']!r}")
    arrays: dict[str, Any] = {name: np.array(values[name], float) for name in _ARRAYS}
    return TiePoints(
        **arrays,
        status=np.array([Status[s.upper()] for s in values["status"]], np.uint8),
        inputs=Inputs(**{**inputs, **bands}),
        **{name: values[name] for name in _SCALARS},
        apart=float(values.get("apart", 0.0)),
    )


def _fit(values: dict[str, Any]) -> Fit:
    points, role = _points(values["tie_points"]), np.array(values["role"], np.uint8)
    if role.shape != (len(points),):
        raise ValueError(f"{role.size} roles of {len(points)} tie points")
    if len(values["withheld_xy"]) != len(points):
        raise ValueError(f"{len(values['withheld_xy'])} withheld residuals of {len(points)} tie points")
    return Fit(
        points=points,
        model=from_dict(values["model"]),
        role=role,
        sigma_px=float(values["sigma_px"]),
        second=_second(values["second"]),
        warnings=tuple(map(str, values["warnings"])),
        candidates=tuple(Candidate(**c) for c in values["candidates"]),
        withheld_xy=np.array(
            [[np.nan, np.nan] if row is None else row for row in values["withheld_xy"]], float
        ).reshape(-1, 2),
    )


def _second(values: dict[str, Any] | None) -> SecondGroup | None:
    return (
        SecondGroup(int(values["n"]), (float(values["displacement"][0]), float(values["displacement"][1])))
        if values
        else None
    )


def _reading(what: str, verb: str, read: Callable[[dict[str, Any]], Value], values: dict[str, Any]) -> Value:
    try:
        return read(values)
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(f"not {what} of georeg ({exc!r}); give the file that georeg {verb} wrote") from exc
