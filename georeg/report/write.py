"""Write the report of an alignment, or of a refusal, as one HTML file."""

from __future__ import annotations

import json
import os
from typing import Any

from georeg.alignment import Alignment, PathLike
from georeg.execution import Progress, silent
from georeg.files import check_output, write_bytes
from georeg.reader import Reader
from georeg.report.find import find
from georeg.report.findings import Findings
from georeg.report.page import page, refusal_page
from georeg.report.refusal import Refusal, pictures_of


def write_report(
    alignment: Alignment,
    path: PathLike,
    *,
    command: str | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    opened: Reader | None = None,
) -> Findings:
    """Write a report that shows whether an alignment worked: one HTML file that needs no network.

    The rasters are read again, a few windows of them.

    Parameters
    ----------
    command
        That made the alignment; by default one that makes it again.
    overwrite
        Replace the file if it exists.
    progress
        Called with ("report", done, total).
    opened
        A reader of the reference that is open already, and stays so.

    Returns
    -------
    findings
        All figures in it that `Alignment.to_dict` does not have.

    Raises
    ------
    InputError
        A raster is no longer where it was, or cannot be read.
    OutputError
        The file exists, is an input, or cannot be written. Nothing is left under its name.
    """
    inputs = alignment.points.inputs
    check_output(os.fspath(path), (inputs.reference, inputs.target), overwrite=overwrite)
    findings, pictures = find(alignment, command=command, progress=progress, opened=opened)
    write_bytes(page(plain(reported(alignment, findings)), pictures).encode(), os.fspath(path))
    return findings


def write_refusal(refusal: Refusal, path: str) -> None:
    """Write what is known of a pair that was refused, in the same way; what is there already is replaced.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    write_bytes(refusal_page(plain(refusal.to_dict()), pictures_of(refusal)).encode(), path)


def reported(alignment: Alignment, findings: Findings) -> dict[str, Any]:
    """The result with its report, for JSON; `Alignment.from_dict` reads it."""
    return {**alignment.to_dict(), "report": findings.to_dict()}


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """As they are once they are read again from JSON."""
    made: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
    return made
