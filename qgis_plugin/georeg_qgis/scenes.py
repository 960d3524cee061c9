"""What became of each target of a batch, in words for a table. Values in, values out: knows no QGIS."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .figures import measured, verdict
from .texts import tr

RASTERS = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".png", ".jpg", ".jpeg", ".ntf", ".bil", ".bsq", ".sid", ".ecw")
"""Ends of names by which files of a folder are taken for rasters."""
_GRADES = {"bad": 0, "care": 1, "good": 2}


@dataclass(frozen=True)
class SceneRow:
    """One row of the table."""

    target: str
    """Path of the target."""
    output: str
    """Path of what was written; empty where nothing was."""
    grade: str
    """``good``, ``care`` or ``bad``."""
    verdict: str
    ce90: str
    displacement: str
    why: str
    """Why it was refused, or what to take care of; empty where there is nothing to say."""

    @property
    def name(self) -> str:
        """File name of the target."""
        return os.path.basename(self.target) or self.target


def scene_rows(values: Mapping[str, Any], in_labels: Callable[[str], str] = str) -> list[SceneRow]:
    """The rows of a batch's result, what failed first: nobody should have to look for it.

    ``in_labels`` calls the options that a sentence names as they are on screen.
    """
    rows = [_row(scene, in_labels) for scene in values["scenes"]]
    return sorted(rows, key=lambda row: _GRADES[row.grade])


def _row(scene: Mapping[str, Any], in_labels: Callable[[str], str]) -> SceneRow:
    found, error = scene["alignment"], scene["error"] or {}
    ce90 = displacement = ""
    if found:
        after, unit = found["after"], found["unit"]
        east, north = found["displacement"]
        ce90 = measured(after["ce90"], unit, after["gsd"])
        displacement = tr("{east} {unit} E, {north} {unit} N").format(
            east=_signed(east), north=_signed(north), unit=unit
        )
    grade, said = _verdict(scene["outcome"], found)
    care = "; ".join(found.get("warnings", ())) if found else ""
    return SceneRow(
        target=str(scene["target"]),
        output=str(scene["output"] or ""),
        grade=grade,
        verdict=said,
        ce90=ce90,
        displacement=displacement,
        why=_sentence(in_labels(str(error.get("message") or care))),
    )


def _verdict(outcome: str, found: Any) -> tuple[str, str]:
    """A grade, and the verdict in few words."""
    if outcome == "refused":
        return "bad", tr("Refused")
    if outcome == "over a limit":
        return "bad", tr("Over a limit")
    if outcome == "failed":
        return "bad", tr("Failed")
    if not found:
        return "care", outcome.capitalize()
    grade = verdict(found).grade
    title = tr("Already aligned") if outcome == "already aligned" else tr("Aligned")
    return grade, title if grade == "good" else tr("{verdict}, take care").format(verdict=title)


def _sentence(text: str) -> str:
    """
    >>> _sentence("no overlap"), _sentence("")
    ('No overlap.', '')
    """
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _signed(length: float) -> str:
    """
    >>> _signed(12.345), _signed(-0.5), _signed(0.0)
    ('+12.3', '\u22120.5', '+0')
    """
    return f"{length:+.3g}".replace("-", "\u2212")


def headline(rows: Sequence[SceneRow]) -> str:
    """How many of them came out how, in a sentence.

    >>> row = SceneRow("a.tif", "", "bad", "Refused", "", "", "no overlap")
    >>> headline([row]), headline([])
    ('1 of 1 scenes not aligned.', 'No scenes.')
    """
    n = {grade: sum(row.grade == grade for row in rows) for grade in _GRADES}
    if not rows:
        return tr("No scenes.")
    told = [tr("All {n} scenes aligned.").format(n=len(rows))]
    if n["bad"]:
        told = [tr("{bad} of {n} scenes not aligned.").format(bad=n["bad"], n=len(rows))]
    if n["care"]:
        told.append(tr("Of {n}, take care.").format(n=n["care"]))
    return " ".join(told)


def rasters_in(folder: str, but: str = "") -> list[str]:
    """Files of a folder that look like rasters, by their names and in their order; ``but``: one that is left out."""
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(RASTERS) and not name.startswith("."))
    paths = [os.path.join(folder, name) for name in names]
    return [path for path in paths if os.path.isfile(path) and os.path.realpath(path) != os.path.realpath(but)]


def output_folder(target: str) -> str:
    """A folder beside a target that is not there yet; in the home folder where that cannot be written."""
    beside = os.path.dirname(target)
    if "://" in target or target.startswith("/vsi") or not os.access(beside or ".", os.W_OK):
        beside = os.path.expanduser("~")
    for k in range(1, 10000):
        path = os.path.join(beside, "aligned" if k == 1 else f"aligned_{k}")
        if not os.path.exists(path):
            return path
    return os.path.join(beside, "aligned_again")
