"""What an algorithm tells besides its files: named figures of a result, and how far a job is. Knows no QGIS."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from typing import Any

NUMBER, TEXT = "number", "text"
_ACCURACY = {
    "RMSE_PX": (NUMBER, "RMSE of the check points after correction, working pixels"),
    "CE90_PX": (NUMBER, "CE90 of the check points after correction, working pixels"),
    "N_CHECK_POINTS": (NUMBER, "Number of check points"),
    "RMSE_BEFORE_PX": (NUMBER, "RMSE of the check points before correction, working pixels"),
    "RMSE": (NUMBER, "RMSE of the check points after correction, map units"),
    "CE90": (NUMBER, "CE90 of the check points after correction, map units"),
    "SHIFT_EAST": (NUMBER, "Mean displacement to the east, map units"),
    "SHIFT_NORTH": (NUMBER, "Mean displacement to the north, map units"),
    "N_TIE_POINTS": (NUMBER, "Number of tie points that were kept"),
    "GSD": (NUMBER, "Working pixel size, map units"),
    "UNIT": (TEXT, "Unit of the map"),
    "MODEL": (TEXT, "Kind of the correction"),
    "VERDICT": (TEXT, "Verdict"),
}
FIGURES: dict[str, dict[str, tuple[str, str]]] = {
    "align": _ACCURACY,
    "assess": _ACCURACY,
    "apply": _ACCURACY,
    "match": {
        "N_TIE_POINTS": (NUMBER, "Number of tie points that were kept"),
        "N_REJECTED": (NUMBER, "Number of tie points that were rejected"),
        "WINDOW_PX": (NUMBER, "Side of the matched windows, working pixels"),
    },
    "fit": {
        "SIGMA_PX": (NUMBER, "Scatter of the tie points about the fit, working pixels; no proof of its accuracy"),
        "N_TIE_POINTS": (NUMBER, "Number of tie points that were kept"),
        "N_CHECK_POINTS": (NUMBER, "Number of check points that were withheld"),
        "MODEL": (TEXT, "Kind of the correction"),
    },
    "batch": {
        "N_ALIGNED": (NUMBER, "Number of targets that were aligned"),
        "N_ALREADY_ALIGNED": (NUMBER, "Number of targets that were aligned already"),
        "N_REFUSED": (NUMBER, "Number of targets that were refused"),
        "N_OVER_A_LIMIT": (NUMBER, "Number of targets that exceed a limit"),
    },
}
"""By verb and name: whether it is a number, and what it says."""
_CHECK_ROLE = 3
_KEPT = ("kept", "pinned")
_SHARES = {
    "coarse": (0.0, 0.15),
    "match": (0.15, 0.7),
    "refine": (0.7, 0.8),
    "report": (0.8, 0.85),
    "write": (0.85, 1.0),
    "layers": (0.85, 1.0),
}
"""Where the stages of a job lie between its beginning and its end."""
_COLUMNS = ("target", "outcome", "output", "model", "rmse_px", "ce90_px", "n_check_points", "shift_east", "shift_north")


def figures(verb: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Named outputs of a result as ``--json`` prints it; those that it does not have are left out.

    >>> figures("match", {"status": ["kept", "low_texture"], "window_px": 64})
    {'N_TIE_POINTS': 1, 'N_REJECTED': 1, 'WINDOW_PX': 64}
    """
    if verb == "batch":
        counts = values.get("counts", {})
        return {name: counts.get(name[2:].replace("_", " ").lower(), 0) for name in FIGURES["batch"]}
    if verb == "match":
        status = values["status"]
        kept = sum(1 for one in status if one in _KEPT)
        return {"N_TIE_POINTS": kept, "N_REJECTED": len(status) - kept, "WINDOW_PX": values["window_px"]}
    told = {"N_TIE_POINTS": sum(1 for one in values["tie_points"]["status"] if one in _KEPT)}
    told["MODEL"] = values["model"]["kind"]
    if "after" in values:
        return {**told, **_accuracy(values)}
    checks = sum(1 for role in values["role"] if role == _CHECK_ROLE)
    fit = {**told, "SIGMA_PX": values["sigma_px"], "N_CHECK_POINTS": checks}
    return fit if verb == "fit" else {**told, "VERDICT": "not proven"}


def _accuracy(values: Mapping[str, Any]) -> dict[str, Any]:
    before, after = values["before"], values["after"]
    east, north = values["displacement"]
    return {
        "RMSE_PX": after["rmse"] / after["gsd"],
        "CE90_PX": after["ce90"] / after["gsd"],
        "N_CHECK_POINTS": after["n"],
        "RMSE_BEFORE_PX": before["rmse"] / before["gsd"],
        "RMSE": after["rmse"],
        "CE90": after["ce90"],
        "SHIFT_EAST": east,
        "SHIFT_NORTH": north,
        "GSD": after["gsd"],
        "UNIT": values["unit"],
        "VERDICT": values["verdict"],
    }


def scenes_table(values: Mapping[str, Any]) -> str:
    """The targets of a batch as CSV, one in a row."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*_COLUMNS, "message"])
    for scene in values["scenes"]:
        known = scene["figures"] or {}
        shift = dict(zip(("shift_east", "shift_north"), known.get("displacement", ())))
        row = {**dict.fromkeys(_COLUMNS), **{name: known[name] for name in _COLUMNS if name in known}, **shift} | {
            "target": scene["target"],
            "outcome": scene["outcome"],
            "output": scene["output"],
        }
        rows.writerow([*(row[name] for name in _COLUMNS), (scene["error"] or {}).get("message")])
    return text.getvalue()


def rejections(values: Mapping[str, Any]) -> str:
    """How many tie points were rejected, by reason, in words; empty where none."""
    counts = Counter(one for one in values["status"] if one not in _KEPT)
    return ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in counts.most_common())


class Share:
    """How far a job is, 0 to 1, by how far its stages are; it never goes back.

    >>> share = Share()
    >>> share.at("match", 1, 1), share.at("coarse", 1, 1)
    (0.7, 0.7)
    """

    def __init__(self) -> None:
        self._most = 0.0

    def at(self, stage: str, done: int, total: int) -> float:
        """Of the whole, once so much of a stage is done."""
        low, high = _SHARES.get(stage, (0.0, 1.0))
        now = low + (high - low) * min(1.0, done / total if total else 0.0)
        self._most = max(self._most, now)
        return self._most
