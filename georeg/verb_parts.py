"""What the verbs of the command line share: how they read their arguments, do their work and say what came of it."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import georeg
from georeg.cluster import cluster
from georeg.errors import OutputError
from georeg.files import check_output, read_text, write_bytes
from georeg.interchange import fit_to_dict, parse_json
from georeg.options import ExecutionOptions
from georeg.remote import metered
from georeg.terminal import TOLD, in_colour, listener, stages

Verb = Callable[[argparse.Namespace], int | None]
"""Returns the exit code, where that is not 0."""


def metered_verb(verb: Verb) -> Verb:
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


def warn(fitted: georeg.Fit, of: str = "") -> None:
    for warning in fitted.warnings:
        text = f"{f'{of}: ' if of else ''}{warning}"
        print(f"georeg: warning: {text}", file=sys.stderr)
        TOLD.warning(text)


def show(
    arguments: argparse.Namespace,
    result: georeg.Alignment | georeg.Fit,
    sentence: str,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    values = {**(result.to_dict() if isinstance(result, georeg.Alignment) else fit_to_dict(result)), **more}
    warn(result.fitted if isinstance(result, georeg.Alignment) else result)
    TOLD.info(sentence)
    say(json.dumps(values, indent=1) if arguments.json else sentence)


def close(arguments: argparse.Namespace, show: Callable[[], None]) -> None:
    """Show a table where somebody sees it, and where it does not stand amid JSON."""
    amid_json = arguments.json and sys.stdout is not None and sys.stdout.isatty()
    if in_colour() and not arguments.quiet and not amid_json:
        show()


def load(path: str) -> dict[str, Any]:
    return parse_json(read_text(path))


def save(arguments: argparse.Namespace, values: dict[str, Any], sentence: str) -> None:
    text = json.dumps(values, indent=1)
    write_bytes((text + "\n").encode(), arguments.output)
    TOLD.info(sentence)
    say(text if arguments.json else sentence)


def check_file(arguments: argparse.Namespace, inputs: Iterable[str]) -> None:
    """Before any work, so that nobody waits in vain."""
    check_output(arguments.output, inputs, overwrite=arguments.overwrite)


def say(text: str) -> None:
    hears = listener()
    if hears is not None:
        hears.say(text)
        return
    try:
        print(text, flush=True)
    except OSError as exc:
        # else Python would try once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(exc, BrokenPipeError):
            raise
        raise OutputError(f"standard output cannot be written: {(exc.strerror or str(exc)).lower()}") from exc


def chosen(arguments: argparse.Namespace, group: type[Any]) -> Any:
    values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(group)}
    return group(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


@contextmanager
def running(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What does the work and what hears how far it is, as georeg's functions take them."""
    options = chosen(arguments, ExecutionOptions)
    shown = stages(quiet=arguments.quiet, verbose=arguments.verbose)
    with cluster(options) as executor, shown as progress:
        yield {"executor": executor, "progress": progress, "device": options.device}
