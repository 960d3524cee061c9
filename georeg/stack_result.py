"""What a stack is: corrections that agree with each other, the pairs that they rest on, and the loops that check these."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from pyproj import CRS

from georeg import __version__
from georeg.alignment import Alignment, Verdict
from georeg.errors import GeoregError, InputError, LimitError
from georeg.interchange import parse_json
from georeg.models import Model, from_dict
from georeg.overlap import unit_name
from georeg.remote import without_secrets

PairState = Literal["used", "contradicts the others", "refused", "hangs on no other"]
Datum = Literal["reference", "mean of the stack", "earlier stack"]


@dataclass(frozen=True, eq=False)
class StackScene:
    """What became of one scene."""

    path: str
    date: datetime | None
    """None where it is not known."""
    model: Model | None
    """Its correction; None where it was refused."""
    sigma_px: float | None
    """Standard deviation of its corrected position against the datum, root mean square over the ground, working pixels."""
    n_pairs: int
    """Pairs that hold it."""
    alignment: Alignment | None = None
    """None where it was refused, or held as an earlier run left it."""
    error: GeoregError | None = None
    """Why it was refused."""
    held: bool = False
    """It is the reference, or stays as an earlier run corrected it."""

    @property
    def name(self) -> str:
        """File name without its folder."""
        return os.path.basename(without_secrets(self.path)) or self.path

    @property
    def outcome(self) -> Verdict | Literal["held", "refused", "over a limit"]:
        """In a word or two."""
        if self.error is not None:
            return "over a limit" if isinstance(self.error, LimitError) else "refused"
        if self.alignment is None:
            return "held"
        return self.alignment.verdict


@dataclass(frozen=True)
class StackPair:
    """What became of one pair of scenes."""

    reference: int
    """Number of a scene."""
    target: int
    """Number of a scene."""
    state: PairState
    n_points: int = 0
    """Tie points that it adds to the adjustment."""
    misclosure_px: float | None = None
    """By which it departs from the corrections of both scenes, root mean square over its tie points, working pixels."""
    error: str | None = None
    """Why it was refused."""


@dataclass(frozen=True)
class Loops:
    """How well triangles of pairs close: the displacements around each should add up to nothing; working pixels."""

    n: int
    """Triangles of pairs that are used."""
    median_px: float | None
    """None without any."""
    p90_px: float | None
    largest_px: float | None


@dataclass(frozen=True, eq=False)
class Stack:
    """Corrections of many scenes that agree with each other."""

    scenes: tuple[StackScene, ...]
    pairs: tuple[StackPair, ...]
    loops: Loops
    datum: Datum
    """What the corrections refer to."""
    crs: str
    """Working CRS of all, as WKT."""
    gsd: float
    """Working pixel size, map units."""
    pair_sigma_px: float
    """Standard deviation by which a pair errs as a whole, beyond its tie points, working pixels."""
    common_noise: float
    """Share of the tie points' variance that all pairs of a scene have in common, so that no loop shows it."""
    warnings: tuple[str, ...] = ()
    version: str = __version__

    @property
    def corrected(self) -> list[StackScene]:
        """Scenes with a correction of this run."""
        return [scene for scene in self.scenes if scene.alignment is not None]

    @property
    def refused(self) -> list[StackScene]:
        """Scenes without one."""
        return [scene for scene in self.scenes if scene.error is not None]

    def contradicting(self) -> list[StackPair]:
        """Pairs that do not fit to the others."""
        return [pair for pair in self.pairs if pair.state == "contradicts the others"]

    def summary(self) -> str:
        """What was found, in one sentence without its full stop."""
        used = sum(pair.state == "used" for pair in self.pairs)
        bad, loops = len(self.contradicting()), self.loops
        closing = (
            f"{loops.n} loops close to {loops.median_px:.2g} px in the median" if loops.n else "no loop checks them"
        )
        left = f", {bad} contradict the others and were left out" if bad else ""
        sigma = [scene.sigma_px for scene in self.corrected if scene.sigma_px is not None]
        known = f", known to {np.median(sigma):.2g} px in the median" if sigma else ""
        return (
            f"{len(self.corrected)} of {sum(not scene.held for scene in self.scenes)} scenes corrected{known}; {used} of "
            f"{len(self.pairs)} pairs used{left}; {closing}; datum: {self.datum}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "type": "georeg.Stack",
            "version": self.version,
            "datum": self.datum,
            "crs": self.crs,
            "unit": unit_name(CRS.from_wkt(self.crs)),
            "gsd": self.gsd,
            "pair_sigma_px": self.pair_sigma_px,
            "common_noise": self.common_noise,
            "loops": asdict(self.loops),
            "warnings": list(self.warnings),
            "scenes": [_scene(scene) for scene in self.scenes],
            "pairs": [asdict(pair) for pair in self.pairs],
        }

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(self.to_dict(), indent=1)


def _scene(scene: StackScene) -> dict[str, Any]:
    alignment, error = scene.alignment, scene.error
    return {
        "path": without_secrets(scene.path),
        "date": None if scene.date is None else scene.date.isoformat(),
        "outcome": scene.outcome,
        "held": scene.held,
        "n_pairs": scene.n_pairs,
        "sigma_px": scene.sigma_px,
        "model": None if scene.model is None else scene.model.to_dict(),
        "before": None if alignment is None else asdict(alignment.before),
        "after": None if alignment is None else asdict(alignment.after),
        "geometry": None if alignment is None else asdict(alignment.geometry),
        "error": None
        if error is None
        else {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code},
    }


@dataclass(frozen=True, eq=False)
class Earlier:
    """A stack that was adjusted before, to which scenes are added."""

    crs: str
    paths: tuple[str, ...]
    dates: tuple[datetime | None, ...]
    models: tuple[Model, ...]
    gsd: float


def read_earlier(text: str) -> Earlier:
    """Scenes and corrections of what `Stack.to_json` wrote; those that were refused are left out.

    Raises
    ------
    InputError
        It is no such thing.
    """
    values = parse_json(text)
    try:
        if values["type"] != "georeg.Stack":
            raise ValueError(f"type is {values['type']!r}")
        scenes: Sequence[dict[str, Any]] = [scene for scene in values["scenes"] if scene["model"] is not None]
        return Earlier(
            str(values["crs"]),
            tuple(str(scene["path"]) for scene in scenes),
            tuple(None if scene["date"] is None else datetime.fromisoformat(scene["date"]) for scene in scenes),
            tuple(from_dict(scene["model"]) for scene in scenes),
            float(values["gsd"]),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(f"not a stack of georeg ({exc!r}); give the file that georeg stack wrote") from exc
