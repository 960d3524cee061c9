"""The reports that verbs write beside their results, and the verb that writes one alone."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import georeg
from georeg.errors import GeoregError, InputError
from georeg.execution import Progress
from georeg.lazily import Lazily
from georeg.masks import with_mask
from georeg.raster import open_reference
from georeg.reader import KEPT_BYTES, Reader
from georeg.terminal import stages
from georeg.verb_parts import check_file, load, metered_verb, say, show

commands, plot_files = Lazily("georeg.report.command"), Lazily("georeg.report.plot_files")
refusals, reports = Lazily("georeg.report.refusal"), Lazily("georeg.report.write")
schemas = Lazily("georeg.report.schema")


@contextmanager
def kept_reader(arguments: argparse.Namespace, reference: str | None) -> Iterator[Reader | None]:
    """A reader of the reference that the alignment and its report share, where a report is asked for."""
    if not arguments.report or reference is None:
        yield None
        return
    raster = with_mask(open_reference(reference, nodata=arguments.ref_nodata), arguments.ref_mask)
    with Reader(raster, kept_bytes=2 * KEPT_BYTES) as opened:
        yield opened


@contextmanager
def refused_too(arguments: argparse.Namespace, reference: str, target: str) -> Iterator[None]:
    """A pair that is refused is reported as well, where a report is asked for."""
    try:
        yield
    except GeoregError as exc:
        if arguments.report and isinstance(exc, refusals.REFUSALS):
            refused = refusals.refusal(exc, reference, target, _command(arguments))
            reports.write_refusal(refused, arguments.report)
            if arguments.json:
                say(json.dumps(refused.to_dict(), indent=1))
        raise


def write_report(
    arguments: argparse.Namespace, alignment: georeg.Alignment, progress: Progress, opened: Reader | None = None
) -> dict[str, Any]:
    """Write it where it is asked for; what it adds to the result."""
    if not arguments.report:
        return {}
    findings = reports.write_report(
        alignment,
        arguments.report,
        command=_command(arguments),
        overwrite=arguments.overwrite,
        progress=progress,
        opened=opened,
    )
    return {"report": findings.to_dict()}


def _command(arguments: argparse.Namespace) -> str:
    return str(commands.typed(arguments.words))


@metered_verb
def report(arguments: argparse.Namespace) -> None:
    if arguments.schema:
        say(schemas.schema_text())
        return
    values = load(arguments.result)
    if values.get("type") != "georeg.Alignment":
        raise InputError(
            f"{arguments.result} is not the result of an alignment, of which alone there is a report; give a file that georeg "
            "align --json or assess wrote, or run georeg assess --report on a fit"
        )
    alignment = georeg.Alignment.from_dict(values)
    inputs = alignment.points.inputs
    if arguments.output:
        check_file(arguments, (arguments.result, inputs.reference, inputs.target))
    check_plots(arguments, filter(None, (arguments.result, inputs.reference, inputs.target, arguments.output)))
    with stages(quiet=arguments.quiet, verbose=arguments.verbose) as progress:
        if arguments.output:
            found = reports.write_report(alignment, arguments.output, overwrite=arguments.overwrite, progress=progress)
        else:
            found = reports.find(alignment, progress=progress)[0]
    plot(arguments, alignment)
    sentence = f"{arguments.output}: {found.verdict}" if arguments.output else found.verdict
    show(arguments, alignment, sentence, {"report": found.to_dict()})


def check_plots(arguments: argparse.Namespace, taken: Iterable[str]) -> None:
    if arguments.plots is not None:
        plot_files.check_plots(arguments.plots, taken, overwrite=arguments.overwrite)


def plot(arguments: argparse.Namespace, alignment: georeg.Alignment) -> None:
    if arguments.plots is not None:
        inputs = alignment.points.inputs
        taken = filter(
            None, (inputs.reference, inputs.target, inputs.gcp, inputs.area, inputs.ref_mask, inputs.tgt_mask)
        )
        plot_files.write_plots(alignment.fitted, arguments.plots, taken, overwrite=arguments.overwrite)


def found_points(points: georeg.TiePoints) -> str:
    return f"{points.kept.sum()} tie points"
