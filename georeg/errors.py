"""The exceptions of georeg: each says what happened, with numbers, and what to do next."""

from __future__ import annotations

from typing import Any


class GeoregError(Exception):
    """Base of every error that georeg raises on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1
    evidence: Any = None
    """The `TiePoints` that were found before it came to this, for a report; None where it did not come so far."""


class InputError(GeoregError):
    """The user's data or arguments cannot be used: not a raster, no CRS, band absent, truncated file."""


class OverlapError(InputError):
    """The two rasters share no ground, or none with valid pixels."""


class MatchError(GeoregError):
    """Too few tie points were found."""


class FitError(GeoregError):
    """No model could be fitted to the tie points."""


class VerificationError(GeoregError):
    """An alignment was found but could not be shown to be right: it is refused."""


class OutputError(GeoregError):
    """The result could not be written; nothing was left under its name."""


class LimitError(GeoregError):
    """The result is valid but exceeds a limit that the user set."""

    exit_code = 3
    found: Any = None
    """The `Alignment` whose figures exceed it; None where it did not come so far."""


class UnforeseenError(GeoregError):
    """A bug of ours or a full memory, met while others were worked at; the log has the rest."""


class ExecutionError(GeoregError):
    """The workers that were to do the tasks are lost, or are not what they should be."""
