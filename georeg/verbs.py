"""What each verb of the command line does with its parsed arguments."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import time
import typing
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import georeg
from georeg.errors import InputError, LimitError
from georeg.files import check_output
from georeg.fit import Role
from georeg.initial import PIXELS
from georeg.interchange import fit_from_dict, fit_to_dict, points_from_dict, points_to_dict
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
from georeg.reader import Reader
from georeg.remote import without_secrets
from georeg.scene import Outcome
from georeg.terminal import TOLD, in_colour, stages
from georeg.verb_parts import check_file, chosen, close, load, metered_verb, running, save, say, show, warn
from georeg.verb_reports import check_plots, found_points, kept_reader, plot, refused_too, write_report
from georeg.verb_reports import report as report
from georeg.watching import show_fit

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

by_hand, gcps, exporting = Lazily("georeg.by_hand"), Lazily("georeg.gcps"), Lazily("georeg.export")
checkerboard, in_place = Lazily("georeg.report.checkerboard"), Lazily("georeg.in_place")
closing, change_raster = Lazily("georeg.closing"), Lazily("georeg.report.change_raster")


def _drawn(arguments: argparse.Namespace) -> list[str]:
    """Files beside the two rasters by which they are matched."""
    return list(filter(None, (arguments.gcp, arguments.area, arguments.ref_mask, arguments.tgt_mask)))


@metered_verb
def align(arguments: argparse.Namespace) -> None:
    taken = [arguments.reference, arguments.target, *_drawn(arguments)]
    if arguments.output is not None:
        check_file(arguments, taken)
        check_format(arguments.output, plain=open_reference(arguments.reference).crs == PIXELS)
        taken.append(arguments.output)
    else:
        in_place.check_in_place(open_pair(arguments.reference, arguments.target, initial=arguments.initial)[1])
    for path in filter(None, (arguments.picture, arguments.uncertainty, arguments.report)):
        check_output(path, taken, overwrite=arguments.overwrite)
        taken.append(path)
    check_plots(arguments, taken)
    with running(arguments) as run, kept_reader(arguments, arguments.reference) as opened:
        with refused_too(arguments, arguments.reference, arguments.target):
            alignment = georeg.align(
                arguments.reference,
                arguments.target,
                inputs=chosen(arguments, InputOptions),
                matching=chosen(arguments, MatchOptions),
                fitting=chosen(arguments, FitOptions),
                limits=chosen(arguments, LimitOptions),
                opened=opened,
                **run,
            )
        run["progress"].found("match", found_points(alignment.points))
        show_fit(alignment.fitted)
        if arguments.picture:  # first, so that its failure leaves no output
            checkerboard.draw_checkerboard(alignment, arguments.picture)
        plot(arguments, alignment)
        report = write_report(arguments, alignment, run["progress"], opened)
        how = georeg.apply(alignment, arguments.output, chosen(arguments, WriteOptions), **run)
    show(arguments, alignment, f"{arguments.output or arguments.target}: {alignment.summary()}; {HOW[how]}", report)
    close(arguments, lambda: closing.show_alignment(alignment))


@metered_verb
def batch(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    with running(arguments) as run:
        scenes = georeg.align_all(
            arguments.reference,
            arguments.targets,
            arguments.output,
            inputs=chosen(arguments, InputOptions),
            matching=chosen(arguments, MatchOptions),
            fitting=chosen(arguments, FitOptions),
            limits=chosen(arguments, LimitOptions),
            writing=chosen(arguments, WriteOptions),
            batch=chosen(arguments, BatchOptions),
            **run,
        )
        rows: list[Any] = []
        skipped: list[bool] = []
        done = Counter(_told_scenes(scenes, rows, skipped, as_json=arguments.json))
    TOLD.info(f"{done.total()} targets in {time.monotonic() - began:.0f} s")
    counts = {outcome: done[outcome] for outcome in typing.get_args(Outcome)}
    n_skipped = sum(skipped)
    if arguments.json:
        say(f'],\n"counts": {json.dumps(counts)},\n"skipped": {n_skipped}}}')
    else:
        told = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
        before = f"; {n_skipped} of them were done before" if n_skipped else ""
        say(
            f"{done.total()} target{'s' if done.total() > 1 else ''} in {time.monotonic() - began:.0f} s: {told}{before}"
        )
    close(arguments, lambda: closing.show_scenes(rows))
    return 1 if done["refused"] or done["failed"] else LimitError.exit_code if done["over a limit"] else 0


def _told_scenes(
    scenes: Iterable[georeg.Scene], rows: list[Any], skipped: list[bool], *, as_json: bool
) -> Iterator[str]:
    """The outcome of each target, once it is printed: of a night's results only ``rows`` of a table are kept for its end, and
    which were skipped."""
    if as_json:
        say('{"type": "georeg.Batch",\n"scenes": [')
    for k, scene in enumerate(scenes):
        if scene.alignment is not None:
            warn(scene.alignment.fitted, of=scene.name)
        TOLD.log(logging.ERROR if scene.error else logging.INFO, f"{scene.name}: {_outcome(scene)}")
        say(("," if k else "") + json.dumps(scene.to_dict()) if as_json else f"{scene.name}: {_outcome(scene)}")
        if in_colour():
            rows.append(closing.row(scene))
        skipped.append(scene.skipped)
        yield scene.outcome


def _outcome(scene: georeg.Scene) -> str:
    before = "done before: " if scene.skipped else ""
    if scene.error is not None:
        told, word = str(scene.error), "failed" if scene.outcome == "failed" else "refused"
        return before + (told if told.startswith("refused") else f"{word}: {told}")
    return f"{before}{scene.summary}; {HOW[scene.how] if scene.how else 'nothing was changed'}"


@metered_verb
def match(arguments: argparse.Namespace) -> None:
    check_file(arguments, (arguments.reference, arguments.target, *_drawn(arguments)))
    with running(arguments) as run:
        points = georeg.match(
            arguments.reference,
            arguments.target,
            inputs=chosen(arguments, InputOptions),
            matching=chosen(arguments, MatchOptions),
            **run,
        )
        run["progress"].found("match", found_points(points))
    counts = ", ".join(f"{n} {reason}" for reason, n in points.counts().items())
    save(arguments, points_to_dict(points), f"{arguments.output}: {counts}; windows of {points.window_px} px")


def fit(arguments: argparse.Namespace) -> None:
    hand, options = chosen(arguments, HandOptions), chosen(arguments, FitOptions)
    check_file(arguments, filter(None, (arguments.points, hand.target, hand.reference)))
    points = _tie_points(arguments.points, hand)
    if gcps.by_hand(points):
        fitted = georeg.fit_by_hand(points, options)
        error_px = by_hand.left_out_rmse_px(fitted)
        how = f"RMSE {error_px:.3g} px of {points.kept.sum()} points made by hand, each left out in turn; not proven"
    else:
        fitted = georeg.fit(points, options)
        how = f"scatter {fitted.sigma_px:.3f} px; not yet proven, run georeg assess"
    show_fit(fitted)
    sentence = f"{arguments.output}: {fitted.model.kind} model, {how}"
    save(arguments, fit_to_dict(fitted), f"{sentence}\n{_table(fitted)}")
    warn(fitted)


def _table(fitted: georeg.Fit) -> str:
    """The models considered, one in a line."""
    lines = ["model         unknowns  RMSE of ground withheld  of check points    AICc"]
    for c in fitted.candidates:
        numbers = [f"{v:.4f} px" if v is not None else "-" for v in (c.cv_rmse_px, c.check_rmse_px)]
        aicc = f"{c.aicc:+.1f}" if c.aicc is not None else "-"
        mark = " <- taken" if c.kind == fitted.model.kind else ""
        lines.append(f"{c.kind:<12} {c.freedom:9.1f} {numbers[0]:>24} {numbers[1]:>16} {aicc:>7}{mark}")
    return "\n".join(lines)


def _tie_points(path: str, hand: HandOptions) -> georeg.TiePoints:
    if path.lower().endswith((".points", ".csv")):
        return georeg.read_points(path, hand)
    gcps.refuse_hand_options(hand)
    return points_from_dict(load(path))


def export(arguments: argparse.Namespace) -> None:
    check_file(arguments, (arguments.input,))
    what = georeg.export(exporting.exportable(load(arguments.input)), arguments.output, overwrite=arguments.overwrite)
    values = {"type": "georeg.Export", "output": arguments.output, "holds": what}
    TOLD.info(f"{arguments.output}: {what}")
    say(json.dumps(values, indent=1) if arguments.json else f"{arguments.output}: {what}")


@metered_verb
def assess(arguments: argparse.Namespace) -> None:
    if arguments.output:
        check_file(arguments, (*arguments.inputs, *_drawn(arguments)))
    taken = list(filter(None, (*arguments.inputs, *_drawn(arguments), arguments.output)))
    for path in filter(None, (arguments.report, arguments.false_change)):
        check_output(path, taken, overwrite=arguments.overwrite)
        taken.append(path)
    check_plots(arguments, taken)
    with kept_reader(arguments, arguments.inputs[0] if len(arguments.inputs) == 2 else None) as opened:
        alignment = _assessed(arguments, opened)
        plot(arguments, alignment)
        with stages(quiet=arguments.quiet, verbose=arguments.verbose) as progress:
            report = write_report(arguments, alignment, progress, opened)
            if arguments.false_change:
                change_raster.write_false_change(
                    alignment, arguments.false_change, overwrite=arguments.overwrite, progress=progress
                )
    sentence = f"{os.path.basename(without_secrets(alignment.points.inputs.target))}: {alignment.summary()}; nothing was changed"
    if arguments.output:
        save(arguments, {**alignment.to_dict(), **report}, sentence)
    else:
        show(arguments, alignment, sentence, report)
    close(arguments, lambda: closing.show_alignment(alignment))


def _assessed(arguments: argparse.Namespace, opened: Reader | None) -> georeg.Alignment:
    """Of a fit, or of two rasters, of which the reference may be ``opened`` already."""
    limits = chosen(arguments, LimitOptions)
    if len(arguments.inputs) == 1:
        _refuse_changed(arguments, InputOptions, MatchOptions, FitOptions, ExecutionOptions)
        fitted = fit_from_dict(load(arguments.inputs[0]))
        inputs = fitted.points.inputs
        for path in filter(None, (arguments.report, arguments.false_change)):
            check_output(path, (inputs.reference, inputs.target), overwrite=arguments.overwrite)
        with refused_too(arguments, inputs.reference, inputs.target):
            return georeg.assess(fitted, limits)
    if len(arguments.inputs) != 2:
        raise InputError(f"assess takes two rasters or one fit, {len(arguments.inputs)} inputs were given")
    with running(arguments) as run, refused_too(arguments, *arguments.inputs):
        alignment = georeg.align(
            *arguments.inputs,
            inputs=chosen(arguments, InputOptions),
            matching=chosen(arguments, MatchOptions),
            fitting=chosen(arguments, FitOptions),
            limits=limits,
            opened=opened,
            **run,
        )
        run["progress"].found("match", found_points(alignment.points))
        show_fit(alignment.fitted)
    return alignment


def _refuse_changed(arguments: argparse.Namespace, *groups: type[Any]) -> None:
    """Raise for options that would have no effect on a fit that is made already."""
    for group in groups:
        for field in dataclasses.fields(group):
            if getattr(arguments, field.name) != field.default:
                raise InputError(
                    f"--{field.name.replace('_', '-')} has no effect on a fit that is made; give two rasters, or leave it out"
                )


@metered_verb
def apply(arguments: argparse.Namespace) -> None:
    result, options = _result(arguments.result), chosen(arguments, WriteOptions)
    with running(arguments) as run:
        given = {"protected": (arguments.result,), **run}
        if len(arguments.targets) > 1:
            done = georeg.apply_all(result, arguments.output, arguments.targets, options, **given)
            how = "; ".join(f"{os.path.basename(path)} {HOW[how]}" for path, how in done.items())
        else:
            target = arguments.targets[0] if arguments.targets else None
            how = HOW[georeg.apply(result, arguments.output, options, target=target, **given)]
    written = arguments.output or ", ".join(arguments.targets) or result.points.inputs.target
    show(arguments, result, f"{written}: {_told(result)}; {how}")


def undo(arguments: argparse.Namespace) -> None:
    done = {path: georeg.undo(path) for path in arguments.targets}
    if arguments.json:
        values = {path: dataclasses.asdict(undone) for path, undone in done.items()}
        say(json.dumps({"type": "georeg.Undo", "targets": values}, indent=1))
        return
    for path, undone in done.items():
        what = "is as it was before its last correction" if undone.restored else "had not been changed; nothing to undo"
        more = f"; {undone.left} earlier corrections can be undone" if undone.left else ""
        say(f"{path}: {what}{more}")


def _result(path: str) -> georeg.Alignment | georeg.Fit:
    """What is to be applied: a fit alone is taken, but called what it is."""
    values = load(path)
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
