"""The verb ``georeg stack``: many dates corrected so that they agree with each other."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from georeg.apply import made_folder
from georeg.files import check_output
from georeg.lazily import Lazily
from georeg.listing import Listed, listed
from georeg.options import FitOptions, InputOptions, LimitOptions, MatchOptions, StackOptions, WriteOptions
from georeg.stack import NAME, PAIRS, align_stack, checked_outputs, write_stack
from georeg.stack_result import Stack, StackScene
from georeg.terminal import TOLD
from georeg.verb_parts import chosen, close, metered_verb, running, say

closing, pages = Lazily("georeg.closing_stack"), Lazily("georeg.report.stack_page")


@metered_verb
def stack(arguments: argparse.Namespace) -> int | None:
    options, folder = chosen(arguments, StackOptions), arguments.output
    written: list[str] = []
    found = listed(arguments.scenes, options.asset)
    with nullcontext() if folder is None else made_folder(folder):
        if folder is not None:
            protected = _read(arguments, found, options)
            outputs = checked_outputs([one.path for one in found], folder, chosen(arguments, WriteOptions), protected)
            written = [*outputs.values(), os.path.join(folder, NAME)]
            options = replace(options, pairs=options.pairs or os.path.join(folder, PAIRS))
        if arguments.report:
            taken = [*written, *_read(arguments, found, options)]
            check_output(arguments.report, taken, overwrite=arguments.overwrite)
        made = _made(arguments, found, options)
        if arguments.report:  # of refused scenes, too
            pages.write_stack_report(made, arguments.report, overwrite=arguments.overwrite)
    _tell(arguments, made)
    close(arguments, lambda: closing.show_stack(made))
    return _exit_code(made)


def _read(arguments: argparse.Namespace, found: Sequence[Listed], options: StackOptions) -> list[str]:
    """Files that the run reads, and that of the pairs."""
    given = [*arguments.scenes, options.reference, options.append, options.pairs]
    return [*(scene.path for scene in found), *(path for path in given if path)]


def _made(arguments: argparse.Namespace, found: Sequence[Listed], options: StackOptions) -> Stack:
    with running(arguments) as run:
        made = align_stack(
            [scene.path for scene in found],
            dates=[scene.date for scene in found],
            inputs=chosen(arguments, InputOptions),
            matching=chosen(arguments, MatchOptions),
            fitting=chosen(arguments, FitOptions),
            limits=chosen(arguments, LimitOptions),
            stack=options,
            **run,
        )
        if arguments.output is not None:
            write_stack(made, arguments.output, chosen(arguments, WriteOptions), **run)
    return made


def _tell(arguments: argparse.Namespace, made: Stack) -> None:
    for text in (*made.warnings, *_bad_pairs(made)):
        print(f"georeg: warning: {text}", file=sys.stderr)
        TOLD.warning(text)
    lines = [] if arguments.json else [line for scene in made.scenes if (line := _line(scene))]
    folder = arguments.output
    where = "; nothing was written" if folder is None else f"; written to {folder}, with {NAME}"
    lines.append(f"{made.summary()}{where}")
    for line in lines:
        TOLD.info(line)
    say(made.to_json() if arguments.json else "\n".join(lines))


def _bad_pairs(made: Stack) -> list[str]:
    return [
        f"the pair {made.scenes[pair.reference].name} and {made.scenes[pair.target].name} departs from all others by "
        f"{pair.misclosure_px:.2g} px and was left out"
        for pair in made.contradicting()
    ]


def _line(scene: StackScene) -> str:
    """What became of a scene; nothing of one that stays where it is."""
    if scene.held:
        return ""
    if scene.alignment is None:
        return f"{scene.name}: {scene.error}"
    known = f", known to {scene.sigma_px:.2g} px by {scene.n_pairs} pairs"
    return f"{scene.name}: {scene.alignment.summary()}{known}"


def _exit_code(made: Stack) -> int | None:
    """3 where scenes are over a limit and nothing else is wrong, 1 where any was refused."""
    codes = [scene.error.exit_code for scene in made.refused if scene.error is not None]
    return None if not codes else 1 if any(code != 3 for code in codes) else 3
