"""What became of one target of a batch, now or in an earlier run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

from georeg import errors
from georeg.alignment import Alignment
from georeg.apply import How
from georeg.errors import ExecutionError, GeoregError, LimitError, OutputError, UnforeseenError
from georeg.manifest import Record, State, sha256_of
from georeg.overlap import unit_name
from georeg.remote import without_secrets

Outcome = Literal["aligned", "already aligned", "refused", "over a limit", "failed"]


@dataclass(frozen=True, eq=False)
class Scene:
    """What became of one target of a batch."""

    target: str
    """Its path."""
    output: str | None
    """What was written; None where nothing was."""
    alignment: Alignment | None
    """None where it was refused, or skipped; if only its output could not be written, it is here."""
    error: GeoregError | None
    """Why it was refused, or not written."""
    how: How | None
    """As `georeg.apply` returns it."""
    seconds: float
    """It took, beside others."""
    record: Record | None = None
    """The line of the manifest that says what became of it in an earlier run, where it was skipped for that."""

    @property
    def name(self) -> str:
        """File name without its folder."""
        return os.path.basename(without_secrets(self.target)) or self.target

    @property
    def skipped(self) -> bool:
        """Whether an earlier run has done the same already, so that nothing was done now."""
        return self.record is not None

    @property
    def outcome(self) -> Outcome:
        """In a word or two; ``failed`` is what was not refused for what it shows: it could not be written, or computed."""
        if isinstance(self.error, LimitError):
            return "over a limit"
        if self.error is not None:
            return "failed" if isinstance(self.error, OutputError | ExecutionError | UnforeseenError) else "refused"
        return "already aligned" if (self.figures or {})["verdict"] == "already aligned" else "aligned"

    @property
    def summary(self) -> str | None:
        """What was found, as `Alignment.summary` has it; None where nothing was."""
        if self.record is not None:
            return self.record.summary
        return None if self.alignment is None else self.alignment.summary()

    @property
    def figures(self) -> dict[str, Any] | None:
        """What the check points say, in map units and working pixels; None where nothing was found."""
        if self.record is not None:
            return self.record.figures
        found = self.error.found if isinstance(self.error, LimitError) else self.alignment
        return None if found is None else _figures(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; they do not tell how long it took, so that they are the same each time."""
        return {
            "target": without_secrets(self.target),
            "outcome": self.outcome,
            "skipped": self.skipped,
            "output": self.output,
            "how": self.how,
            "figures": self.figures,
            "alignment": None if self.alignment is None else self.alignment.to_dict(),
            "error": _told(self.error),
        }


def _figures(found: Alignment) -> dict[str, Any]:
    before, after = found.before, found.after
    return {
        "verdict": found.verdict,
        "model": found.model.kind,
        "unit": unit_name(found.crs),
        "gsd": after.gsd,
        "n_check_points": after.n,
        "rmse_before": before.rmse,
        "rmse_before_px": before.rmse / after.gsd,
        "rmse": after.rmse,
        "rmse_px": after.rmse / after.gsd,
        "ce90": after.ce90,
        "ce90_px": after.ce90 / after.gsd,
        "bias": [after.bias_x, after.bias_y],
        "displacement": list(found.displacement()),
        "overlap": found.geometry.overlap,
    }


def _told(error: GeoregError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code}


def recorded(scene: Scene, key: str, work: dict[str, Any], folder: str) -> Record:
    """The line of a manifest in ``folder`` that says what became of a target, known there as ``key``, by such work."""
    outcome = scene.outcome
    state: State = "done" if outcome in ("aligned", "already aligned") else outcome  # type: ignore[assignment]
    return Record(
        key,
        state,
        work,
        None if scene.output is None else relative(scene.output, folder),
        None if scene.output is None else sha256_of(scene.output),
        scene.how,
        scene.figures,
        scene.summary,
        _told(scene.error),
    )


def remembered(record: Record, target: str, output: str | None) -> Scene:
    """What became of a target in an earlier run."""
    error, how = record.error, record.how
    kind = getattr(errors, error["type"], GeoregError) if error else None
    return Scene(
        target,
        None if record.output is None else output,
        None,
        None if error is None or kind is None else kind(error["message"]),
        how,  # type: ignore[arg-type]
        0.0,
        record,
    )


def relative(path: str, folder: str) -> str:
    """How a manifest in ``folder`` names a file: the same after both have moved, and on every system."""
    try:
        found = os.path.relpath(path, folder)
    except ValueError:  # on another drive of Windows
        found = os.path.abspath(path)
    return found.replace(os.sep, "/")
