"""What each verb of the command line does with its parsed arguments."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import georeg
from georeg.cluster import cluster
from georeg.errors import InputError, LimitError, OutputError
from georeg.execution import Progress, silent
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
from georeg.remote import metered, without_secrets

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
rich = Lazily("rich.progress")


def _metered(verb: Verb) -> Verb:
    """The verb, and a line on standard error of what it read over the network, if it did."""

    @functools.wraps(verb)
    def run(arguments: argparse.Namespace) -> int | None:
        with metered() as traffic:
            try:
                return verb(arguments)
            finally:
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
    for path in filter(None, (arguments.picture, arguments.uncertainty)):
        check_output(path, taken, overwrite=arguments.overwrite)
        taken.append(path)
    with _running(arguments) as run:
        alignment = georeg.align(
            arguments.reference,
            arguments.target,
            inputs=_chosen(arguments, InputOptions),
            matching=_chosen(arguments, MatchOptions),
            fitting=_chosen(arguments, FitOptions),
            limits=_chosen(arguments, LimitOptions),
            **run,
        )
        if arguments.picture:  # first, so that its failure leaves no output
            checkerboard.draw_checkerboard(alignment, arguments.picture)
        how = georeg.apply(alignment, arguments.output, _chosen(arguments, WriteOptions), **run)
    _show(arguments, alignment, f"{arguments.output or arguments.target}: {alignment.summary()}; {HOW[how]}")


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
        done = Counter(_told_scenes(scenes, as_json=arguments.json))
    counts = {outcome: done[outcome] for outcome in ("aligned", "already aligned", "refused", "over a limit")}
    if arguments.json:
        _say(f'],\n"counts": {json.dumps(counts)}}}')
    else:
        told = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
        _say(f"{done.total()} target{'s' if done.total() > 1 else ''} in {time.monotonic() - began:.0f} s: {told}")
    return 1 if done["refused"] else LimitError.exit_code if done["over a limit"] else 0


def _told_scenes(scenes: Iterable[georeg.Scene], *, as_json: bool) -> Iterator[str]:
    """The outcome of each target, once it is printed: a night's results are not kept for its end."""
    if as_json:
        _say('{"type": "georeg.Batch",\n"scenes": [')
    for k, scene in enumerate(scenes):
        if scene.alignment is not None:
            _warn(scene.alignment.fitted, of=scene.name)
        _say(("," if k else "") + json.dumps(scene.to_dict()) if as_json else f"{scene.name}: {_outcome(scene)}")
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
        print(f"georeg: warning: {f'{of}: ' if of else ''}{warning}", file=sys.stderr)


def _tie_points(path: str, hand: HandOptions) -> georeg.TiePoints:
    if path.lower().endswith((".points", ".csv")):
        return georeg.read_points(path, hand)
    gcps.refuse_hand_options(hand)
    return points_from_dict(_load(path))


def export(arguments: argparse.Namespace) -> None:
    _check_output(arguments, (arguments.input,))
    what = georeg.export(exporting.exportable(_load(arguments.input)), arguments.output, overwrite=arguments.overwrite)
    values = {"type": "georeg.Export", "output": arguments.output, "holds": what}
    _say(json.dumps(values, indent=1) if arguments.json else f"{arguments.output}: {what}")


@_metered
def assess(arguments: argparse.Namespace) -> None:
    limits = _chosen(arguments, LimitOptions)
    if arguments.output:
        _check_output(arguments, filter(None, (*arguments.inputs, arguments.gcp)))
    if len(arguments.inputs) == 1:
        _refuse_changed(arguments, InputOptions, MatchOptions, FitOptions, ExecutionOptions)
        alignment = georeg.assess(fit_from_dict(_load(arguments.inputs[0])), limits)
    elif len(arguments.inputs) == 2:
        with _running(arguments) as run:
            alignment = georeg.align(
                *arguments.inputs,
                inputs=_chosen(arguments, InputOptions),
                matching=_chosen(arguments, MatchOptions),
                fitting=_chosen(arguments, FitOptions),
                limits=limits,
                **run,
            )
    else:
        raise InputError(f"assess takes two rasters or one fit, {len(arguments.inputs)} inputs were given")
    sentence = f"{os.path.basename(without_secrets(alignment.points.inputs.target))}: {alignment.summary()}; nothing was changed"
    if arguments.output:
        _save(arguments, alignment.to_dict(), sentence)
    else:
        _show(arguments, alignment, sentence)


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


def _show(arguments: argparse.Namespace, result: georeg.Alignment | georeg.Fit, sentence: str) -> None:
    values = result.to_dict() if isinstance(result, georeg.Alignment) else fit_to_dict(result)
    _warn(result.fitted if isinstance(result, georeg.Alignment) else result)
    _say(json.dumps(values, indent=1) if arguments.json else sentence)


def _load(path: str) -> dict[str, Any]:
    return parse_json(read_text(path))


def _save(arguments: argparse.Namespace, values: dict[str, Any], sentence: str) -> None:
    text = json.dumps(values, indent=1)
    write_bytes((text + "\n").encode(), arguments.output)
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
    with cluster(options) as executor, _progress(arguments) as progress:
        yield {"executor": executor, "progress": progress, "device": options.device}


def _progress(arguments: argparse.Namespace) -> AbstractContextManager[Progress]:
    if arguments.quiet:
        return nullcontext(silent)
    return _Bar() if sys.stderr is not None and sys.stderr.isatty() else _Log()


class _Log(AbstractContextManager[Progress]):
    """A line on standard error when a stage is done, for a log."""

    def __enter__(self) -> Progress:
        return self._update

    def __exit__(self, *_: object) -> None:
        pass

    def _update(self, stage: str, done: int, total: int) -> None:
        if done >= total:
            print(f"georeg: {stage} {done}/{total}", file=sys.stderr)


class _Bar(AbstractContextManager[Progress]):
    """Progress bars on a terminal, one for each stage."""

    def __init__(self) -> None:
        self._bar = rich.Progress(
            rich.TextColumn("{task.description:<8}"), rich.BarColumn(), rich.MofNCompleteColumn(),
            rich.TimeElapsedColumn(), rich.TimeRemainingColumn(), console=rich.Console(stderr=True),
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # else what is printed meanwhile would go there
        )  # fmt: skip
        self._stages: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        self._bar.start()
        return self._update

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _update(self, stage: str, done: int, total: int) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._bar.add_task(stage, total=total)
        self._bar.update(self._stages[stage], completed=done, total=total)
