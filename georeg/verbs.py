"""What each verb of the command line does with its parsed arguments."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import georeg
from georeg.cluster import cluster
from georeg.errors import GeoregError, InputError, LimitError, OutputError
from georeg.execution import Progress
from georeg.files import check_output, read_text, write_bytes
from georeg.fit import Role
from georeg.initial import PIXELS
from georeg.interchange import fit_from_dict, fit_to_dict, parse_json, points_from_dict, points_to_dict
from georeg.lazily import Lazily
from georeg.options import (
    BatchOptions,
    ExecutionOptions,
    FitOptions,
    HandOptions,
    InputOptions,
    LimitOptions,
    MatchOptions,
    WriteOptions,
)
from georeg.pictures import check_format
from georeg.raster import open_pair, open_reference
from georeg.reader import KEPT_BYTES, Reader
from georeg.remote import metered, without_secrets
from georeg.terminal import TOLD, in_colour, stages

HOW = {
    "geotransform": "geotransform rewritten, pixels untouched",
    "in place": "geotransform rewritten in place, pixels untouched; georeg undo takes it back",
    "gcps": "GCPs on the correction, pixels untouched",
    "cog": "a COG of the same pixels with the geotransform corrected",
    "vrt": "a VRT that refers to the target's pixels",
    "resampled": "resampled onto the reference's grid",
    "regridded": "resampled onto an upright grid of its own pixel size",
    "vertices": "vertices moved",
}

Verb = Callable[[argparse.Namespace], int | None]
"""Returns the exit code, where that is not 0."""
by_hand, gcps, exporting = Lazily("georeg.by_hand"), Lazily("georeg.gcps"), Lazily("georeg.export")
checkerboard, in_place = Lazily("georeg.report.checkerboard"), Lazily("georeg.in_place")
closing, plot_files = Lazily("georeg.closing"), Lazily("georeg.report.plot_files")
change_raster, commands = Lazily("georeg.report.change_raster"), Lazily("georeg.report.command")
refusals = Lazily("georeg.report.refusal")
reports, schemas = Lazily("georeg.report.write"), Lazily("georeg.report.schema")


def _metered(verb: Verb) -> Verb:
    """The verb, and a line on standard error of what it read over the network, if it did."""

    @functools.wraps(verb)
    def run(arguments: argparse.Namespace) -> int | None:
        with metered() as traffic:
            try:
                return verb(arguments)
            finally:
                if traffic.n_requests:
                    TOLD.info(str(traffic))
                if traffic.n_requests and not arguments.quiet:
                    print(f"georeg: {traffic}", file=sys.stderr)

    return run


@_metered
def align(arguments: argparse.Namespace) -> None:
    taken = list(filter(None, (arguments.reference, arguments.target, arguments.gcp)))
    if arguments.output is not None:
        _check_output(arguments, taken)
        check_format(arguments.output, plain=open_reference(arguments.reference).crs == PIXELS)
        taken.append(arguments.output)
    else:
        in_place.check_in_place(open_pair(arguments.reference, arguments.target, initial=arguments.initial)[1])
    for path in filter(None, (arguments.picture, arguments.uncertainty, arguments.report)):
        check_output(path, taken, overwrite=arguments.overwrite)
        taken.append(path)
    _check_plots(arguments, taken)
    with _running(arguments) as run, _kept(arguments, arguments.reference) as opened:
        with _refused_too(arguments, arguments.reference, arguments.target):
            alignment = georeg.align(
                arguments.reference,
                arguments.target,
                inputs=_chosen(arguments, InputOptions),
                matching=_chosen(arguments, MatchOptions),
                fitting=_chosen(arguments, FitOptions),
                limits=_chosen(arguments, LimitOptions),
                opened=opened,
                **run,
            )
        run["progress"].found("match", _found(alignment.points))
        if arguments.picture:  # first, so that its failure leaves no output
            checkerboard.draw_checkerboard(alignment, arguments.picture)
        _plot(arguments, alignment)
        report = _report(arguments, alignment, run["progress"], opened)
        how = georeg.apply(alignment, arguments.output, _chosen(arguments, WriteOptions), **run)
    _show(arguments, alignment, f"{arguments.output or arguments.target}: {alignment.summary()}; {HOW[how]}", report)
    _close(arguments, lambda: closing.show_alignment(alignment))


@contextmanager
def _kept(arguments: argparse.Namespace, reference: str) -> Iterator[Reader | None]:
    """A reader of the reference that the alignment and its report share, where a report is asked for."""
    if not arguments.report:
        yield None
        return
    with Reader(open_reference(reference, nodata=arguments.ref_nodata), kept_bytes=2 * KEPT_BYTES) as opened:
        yield opened


@contextmanager
def _refused_too(arguments: argparse.Namespace, reference: str, target: str) -> Iterator[None]:
    """A pair that is refused is reported as well, where a report is asked for."""
    try:
        yield
    except GeoregError as exc:
        if arguments.report and isinstance(exc, refusals.REFUSALS):
            refused = refusals.refusal(exc, reference, target, _command(arguments))
            reports.write_refusal(refused, arguments.report)
            if arguments.json:
                _say(json.dumps(refused.to_dict(), indent=1))
        raise


def _report(
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


@_metered
def report(arguments: argparse.Namespace) -> None:
    if arguments.schema:
        _say(schemas.schema_text())
        return
    values = _load(arguments.result)
    if values.get("type") != "georeg.Alignment":
        raise InputError(
            f"{arguments.result} is not the result of an alignment, of which alone there is a report; give a file that georeg "
            "align --json or assess wrote, or run georeg assess --report on a fit"
        )
    alignment = georeg.Alignment.from_dict(values)
    inputs = alignment.points.inputs
    if arguments.output:
        _check_output(arguments, (arguments.result, inputs.reference, inputs.target))
    _check_plots(arguments, filter(None, (arguments.result, inputs.reference, inputs.target, arguments.output)))
    with stages(quiet=arguments.quiet, verbose=arguments.verbose) as progress:
        if arguments.output:
            found = reports.write_report(alignment, arguments.output, overwrite=arguments.overwrite, progress=progress)
        else:
            found = reports.find(alignment, progress=progress)[0]
    _plot(arguments, alignment)
    sentence = f"{arguments.output}: {found.verdict}" if arguments.output else found.verdict
    _show(arguments, alignment, sentence, {"report": found.to_dict()})


def _check_plots(arguments: argparse.Namespace, taken: Iterable[str]) -> None:
    if arguments.plots is not None:
        plot_files.check_plots(arguments.plots, taken, overwrite=arguments.overwrite)


def _plot(arguments: argparse.Namespace, alignment: georeg.Alignment) -> None:
    if arguments.plots is not None:
        inputs = alignment.points.inputs
        taken = filter(None, (inputs.reference, inputs.target, inputs.gcp))
        plot_files.write_plots(alignment.fitted, arguments.plots, taken, overwrite=arguments.overwrite)


def _found(points: georeg.TiePoints) -> str:
    return f"{points.kept.sum()} tie points"


@_metered
def batch(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    with _running(arguments) as run:
        scenes = georeg.align_all(
            arguments.reference,
            arguments.targets,
            arguments.output,
            inputs=_chosen(arguments, InputOptions),
            matching=_chosen(arguments, MatchOptions),
            fitting=_chosen(arguments, FitOptions),
            limits=_chosen(arguments, LimitOptions),
            writing=_chosen(arguments, WriteOptions),
            batch=_chosen(arguments, BatchOptions),
            **run,
        )
        rows: list[Any] = []
        done = Counter(_told_scenes(scenes, rows, as_json=arguments.json))
    TOLD.info(f"{done.total()} targets in {time.monotonic() - began:.0f} s")
    counts = {outcome: done[outcome] for outcome in ("aligned", "already aligned", "refused", "over a limit")}
    if arguments.json:
        _say(f'],\n"counts": {json.dumps(counts)}}}')
    else:
        told = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
        _say(f"{done.total()} target{'s' if done.total() > 1 else ''} in {time.monotonic() - began:.0f} s: {told}")
    _close(arguments, lambda: closing.show_scenes(rows))
    return 1 if done["refused"] else LimitError.exit_code if done["over a limit"] else 0


def _told_scenes(scenes: Iterable[georeg.Scene], rows: list[Any], *, as_json: bool) -> Iterator[str]:
    """The outcome of each target, once it is printed: of a night's results only ``rows`` of a table are kept for its end."""
    if as_json:
        _say('{"type": "georeg.Batch",\n"scenes": [')
    for k, scene in enumerate(scenes):
        if scene.alignment is not None:
            _warn(scene.alignment.fitted, of=scene.name)
        TOLD.log(logging.ERROR if scene.error else logging.INFO, f"{scene.name}: {_outcome(scene)}")
        _say(("," if k else "") + json.dumps(scene.to_dict()) if as_json else f"{scene.name}: {_outcome(scene)}")
        if in_colour():
            rows.append(closing.row(scene))
        yield scene.outcome


def _outcome(scene: georeg.Scene) -> str:
    if scene.error is not None:
        told = str(scene.error)
        return told if told.startswith("refused") else f"refused: {told}"
    assert scene.alignment is not None
    return f"{scene.alignment.summary()}; {HOW[scene.how] if scene.how else 'nothing was changed'}"


@_metered
def match(arguments: argparse.Namespace) -> None:
    _check_output(arguments, filter(None, (arguments.reference, arguments.target, arguments.gcp)))
    with _running(arguments) as run:
        points = georeg.match(
            arguments.reference,
            arguments.target,
            inputs=_chosen(arguments, InputOptions),
            matching=_chosen(arguments, MatchOptions),
            **run,
        )
        run["progress"].found("match", _found(points))
    counts = ", ".join(f"{n} {reason}" for reason, n in points.counts().items())
    _save(arguments, points_to_dict(points), f"{arguments.output}: {counts}; windows of {points.window_px} px")


def fit(arguments: argparse.Namespace) -> None:
    hand, options = _chosen(arguments, HandOptions), _chosen(arguments, FitOptions)
    _check_output(arguments, filter(None, (arguments.points, hand.target, hand.reference)))
    points = _tie_points(arguments.points, hand)
    if gcps.by_hand(points):
        fitted = georeg.fit_by_hand(points, options)
        error_px = by_hand.left_out_rmse_px(fitted)
        how = f"RMSE {error_px:.3g} px of {points.kept.sum()} points made by hand, each left out in turn; not proven"
    else:
        fitted = georeg.fit(points, options)
        how = f"scatter {fitted.sigma_px:.3f} px; not yet proven, run georeg assess"
    sentence = f"{arguments.output}: {fitted.model.kind} model, {how}"
    _save(arguments, fit_to_dict(fitted), f"{sentence}\n{_table(fitted)}")
    _warn(fitted)


def _table(fitted: georeg.Fit) -> str:
    """The models considered, one in a line."""
    lines = ["model         unknowns  RMSE of ground withheld  of check points    AICc"]
    for c in fitted.candidates:
        numbers = [f"{v:.4f} px" if v is not None else "-" for v in (c.cv_rmse_px, c.check_rmse_px)]
        aicc = f"{c.aicc:+.1f}" if c.aicc is not None else "-"
        mark = " <- taken" if c.kind == fitted.model.kind else ""
        lines.append(f"{c.kind:<12} {c.freedom:9.1f} {numbers[0]:>24} {numbers[1]:>16} {aicc:>7}{mark}")
    return "\n".join(lines)


def _warn(fitted: georeg.Fit, of: str = "") -> None:
    for warning in fitted.warnings:
        text = f"{f'{of}: ' if of else ''}{warning}"
        print(f"georeg: warning: {text}", file=sys.stderr)
        TOLD.warning(text)


def _tie_points(path: str, hand: HandOptions) -> georeg.TiePoints:
    if path.lower().endswith((".points", ".csv")):
        return georeg.read_points(path, hand)
    gcps.refuse_hand_options(hand)
    return points_from_dict(_load(path))


def export(arguments: argparse.Namespace) -> None:
    _check_output(arguments, (arguments.input,))
    what = georeg.export(exporting.exportable(_load(arguments.input)), arguments.output, overwrite=arguments.overwrite)
    values = {"type": "georeg.Export", "output": arguments.output, "holds": what}
    TOLD.info(f"{arguments.output}: {what}")
    _say(json.dumps(values, indent=1) if arguments.json else f"{arguments.output}: {what}")


@_metered
def assess(arguments: argparse.Namespace) -> None:
    limits = _chosen(arguments, LimitOptions)
    if arguments.output:
        _check_output(arguments, filter(None, (*arguments.inputs, arguments.gcp)))
    taken = list(filter(None, (*arguments.inputs, arguments.gcp, arguments.output)))
    for path in filter(None, (arguments.report, arguments.false_change)):
        check_output(path, taken, overwrite=arguments.overwrite)
        taken.append(path)
    _check_plots(arguments, taken)
    if len(arguments.inputs) == 1:
        _refuse_changed(arguments, InputOptions, MatchOptions, FitOptions, ExecutionOptions)
        fitted = fit_from_dict(_load(arguments.inputs[0]))
        inputs = fitted.points.inputs
        for path in filter(None, (arguments.report, arguments.false_change)):
            check_output(path, (inputs.reference, inputs.target), overwrite=arguments.overwrite)
        with _refused_too(arguments, inputs.reference, inputs.target):
            alignment = georeg.assess(fitted, limits)
    elif len(arguments.inputs) == 2:
        with _running(arguments) as run, _refused_too(arguments, *arguments.inputs):
            alignment = georeg.align(
                *arguments.inputs,
                inputs=_chosen(arguments, InputOptions),
                matching=_chosen(arguments, MatchOptions),
                fitting=_chosen(arguments, FitOptions),
                limits=limits,
                **run,
            )
            run["progress"].found("match", _found(alignment.points))
    else:
        raise InputError(f"assess takes two rasters or one fit, {len(arguments.inputs)} inputs were given")
    _plot(arguments, alignment)
    with stages(quiet=arguments.quiet, verbose=arguments.verbose) as progress:
        report = _report(arguments, alignment, progress)
        if arguments.false_change:
            change_raster.write_false_change(
                alignment, arguments.false_change, overwrite=arguments.overwrite, progress=progress
            )
    sentence = f"{os.path.basename(without_secrets(alignment.points.inputs.target))}: {alignment.summary()}; nothing was changed"
    if arguments.output:
        _save(arguments, {**alignment.to_dict(), **report}, sentence)
    else:
        _show(arguments, alignment, sentence, report)
    _close(arguments, lambda: closing.show_alignment(alignment))


def _refuse_changed(arguments: argparse.Namespace, *groups: type[Any]) -> None:
    """Raise for options that would have no effect on a fit that is made already."""
    for group in groups:
        for field in dataclasses.fields(group):
            if getattr(arguments, field.name) != field.default:
                raise InputError(
                    f"--{field.name.replace('_', '-')} has no effect on a fit that is made; give two rasters, or leave it out"
                )


@_metered
def apply(arguments: argparse.Namespace) -> None:
    result, options = _result(arguments.result), _chosen(arguments, WriteOptions)
    with _running(arguments) as run:
        given = {"protected": (arguments.result,), **run}
        if len(arguments.targets) > 1:
            done = georeg.apply_all(result, arguments.output, arguments.targets, options, **given)
            how = "; ".join(f"{os.path.basename(path)} {HOW[how]}" for path, how in done.items())
        else:
            target = arguments.targets[0] if arguments.targets else None
            how = HOW[georeg.apply(result, arguments.output, options, target=target, **given)]
    written = arguments.output or ", ".join(arguments.targets) or result.points.inputs.target
    _show(arguments, result, f"{written}: {_told(result)}; {how}")


def undo(arguments: argparse.Namespace) -> None:
    done = {path: georeg.undo(path) for path in arguments.targets}
    if arguments.json:
        values = {path: dataclasses.asdict(undone) for path, undone in done.items()}
        _say(json.dumps({"type": "georeg.Undo", "targets": values}, indent=1))
        return
    for path, undone in done.items():
        what = "is as it was before its last correction" if undone.restored else "had not been changed; nothing to undo"
        more = f"; {undone.left} earlier corrections can be undone" if undone.left else ""
        _say(f"{path}: {what}{more}")


def _result(path: str) -> georeg.Alignment | georeg.Fit:
    """What is to be applied: a fit alone is taken, but called what it is."""
    values = _load(path)
    proven = values.get("type") == "georeg.Alignment"
    return georeg.Alignment.from_dict(values) if proven else fit_from_dict(values)


def _told(result: georeg.Alignment | georeg.Fit) -> str:
    if isinstance(result, georeg.Alignment):
        return result.summary()
    then = "look at the result" if gcps.by_hand(result.points) else "run georeg assess"
    return (
        f"NOT PROVEN: {result.model.kind} model fitted to {(result.role == Role.FIT).sum()} points, scatter "
        f"{result.sigma_px:.3g} px, not held against check points; {then}"
    )


def _show(
    arguments: argparse.Namespace,
    result: georeg.Alignment | georeg.Fit,
    sentence: str,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    values = {**(result.to_dict() if isinstance(result, georeg.Alignment) else fit_to_dict(result)), **more}
    _warn(result.fitted if isinstance(result, georeg.Alignment) else result)
    TOLD.info(sentence)
    _say(json.dumps(values, indent=1) if arguments.json else sentence)


def _close(arguments: argparse.Namespace, show: Callable[[], None]) -> None:
    """Show a table where somebody sees it, and where it does not stand amid JSON."""
    amid_json = arguments.json and sys.stdout is not None and sys.stdout.isatty()
    if in_colour() and not arguments.quiet and not amid_json:
        show()


def _load(path: str) -> dict[str, Any]:
    return parse_json(read_text(path))


def _save(arguments: argparse.Namespace, values: dict[str, Any], sentence: str) -> None:
    text = json.dumps(values, indent=1)
    write_bytes((text + "\n").encode(), arguments.output)
    TOLD.info(sentence)
    _say(text if arguments.json else sentence)


def _check_output(arguments: argparse.Namespace, inputs: Iterable[str]) -> None:
    """Before any work, so that nobody waits in vain."""
    check_output(arguments.output, inputs, overwrite=arguments.overwrite)


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as exc:
        # else Python would try once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(exc, BrokenPipeError):
            raise
        raise OutputError(f"standard output cannot be written: {(exc.strerror or str(exc)).lower()}") from exc


def _chosen(arguments: argparse.Namespace, group: type[Any]) -> Any:
    values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(group)}
    return group(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


@contextmanager
def _running(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What does the work and what hears how far it is, as georeg's functions take them."""
    options = _chosen(arguments, ExecutionOptions)
    shown = stages(quiet=arguments.quiet, verbose=arguments.verbose)
    with cluster(options) as executor, shown as progress:
        yield {"executor": executor, "progress": progress, "device": options.device}
