"""The words of the command line, and what they stand for."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import types
import typing
from collections.abc import Sequence
from typing import Any

import georeg
from georeg.errors import GeoregError
from georeg.options import BesideOptions, MatchOptions
from georeg.verb_list import VERBS, Input, Verb

DESCRIPTION = (
    "Put a raster exactly where it belongs on a georeferenced reference, prove it, or say that it cannot be done."
)
EPILOG = "exit codes: 0 done, 1 refused or failed, 2 usage, 3 a limit that you set was exceeded"


class UsageError(GeoregError):
    """The words of a command line cannot be understood."""

    exit_code = 2


class RaisingParser(argparse.ArgumentParser):
    """Raises `UsageError` where a parser would end the program."""

    def error(self, message: str) -> typing.NoReturn:
        """As `argparse.ArgumentParser.error`."""
        raise UsageError(f"{message}; {self.prog} --help lists what it takes")

    def exit(self, status: int = 0, message: str | None = None) -> typing.NoReturn:
        """As `argparse.ArgumentParser.exit`."""
        raise UsageError("--help and --version are for a terminal; give the words of a job")


def parsed(argv: Sequence[str] | None, kind: type[argparse.ArgumentParser] = argparse.ArgumentParser) -> Any:
    """The arguments that the words of a command line stand for; None: those of this process.

    They have ``verb``, its ``module``, and ``words``, as they were given.
    """
    parser = make_parser(kind)
    arguments = parser.parse_args(argv)
    arguments.words = sys.argv[1:] if argv is None else list(argv)
    if hasattr(arguments, "in_place"):
        n_given = arguments.in_place + (arguments.output is not None)
        if n_given > 1 or (n_given == 0 and arguments.verb not in ("batch", "stack")):
            parser.error("give either -o FILE or --in-place")
    return arguments


def named_files(arguments: argparse.Namespace) -> list[str]:
    """Whatever parsed arguments name that may be a file."""
    told = ("log", "verb", "module", "words")
    values = [value for name, value in vars(arguments).items() if name not in told]
    return [
        text for value in values for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)
    ]


def make_parser(kind: type[argparse.ArgumentParser] = argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = kind("georeg", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"georeg {georeg.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        _add(verbs, verb)
    return parser


def _add(verbs: Any, verb: Verb) -> None:
    parser: argparse.ArgumentParser = verbs.add_parser(
        verb.name,
        help=verb.doc,
        description=verb.doc[0].upper() + verb.doc[1:] + ".",
        epilog=EPILOG,
        fromfile_prefix_chars=verb.from_file,
    )
    parser._negative_number_matcher = re.compile(r"-\.?\d")  # before Python 3.14, -3.4e38 would be taken for an option
    parser.set_defaults(verb=verb.name, module=verb.module, json=False, log=None, quiet=False, verbose=0)
    if verb.tells:
        _telling(parser)
    words: Any = parser
    if verb.instead is not None:
        words = parser.add_mutually_exclusive_group(required=True)
    for one in verb.inputs:
        words.add_argument(one.name, metavar=_metavar(one), help=one.doc, **({"nargs": one.count} if one.count else {}))
    if verb.instead is not None:
        words.add_argument(f"--{verb.instead[0]}", action="store_true", help=verb.instead[1])
    if verb.output is not None:
        out = verb.output
        parser.add_argument("-o", "--output", metavar=out.metavar, required=out.required, help=out.doc)
    _add_options(parser, BesideOptions, verb.beside)
    for group in verb.groups:
        _add_options(parser.add_argument_group(title(group)), group)
    if verb.matching:
        _add_options(parser.add_argument_group(title(MatchOptions)), MatchOptions, verb.matching)


def _metavar(one: Input) -> str:
    return (one.name.removesuffix("s") if one.count in ("+", "*") else one.name).upper()


def _telling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    parser.add_argument("--log", metavar="FILE", help="append what the run says, with times, to a file")
    says = parser.add_mutually_exclusive_group()
    says.add_argument("--quiet", action="store_true", help="no progress, and no table at the end")
    says.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="say what each stage found, and how long it took; twice: all there is to tell of an error of ours",
    )


def title(group: type[Any]) -> str:
    """What a group of options is called."""
    return (group.__doc__ or "").rstrip(".")


def flag(name: str) -> str:
    """The option of a field.

    >>> flag("window_px")
    '--window-px'
    """
    return f"--{name.replace('_', '-')}"


def _add_options(section: Any, group: type[Any], only: tuple[str, ...] | None = None) -> None:
    """All fields of a group, or some."""
    kinds = typing.get_type_hints(group)
    for field in dataclasses.fields(group):
        if only is None or field.name in only:
            section.add_argument(flag(field.name), **_argument(field, kinds[field.name]))


def _argument(field: dataclasses.Field[Any], kind: Any) -> dict[str, Any]:
    doc = field.metadata["doc"]
    if kind is bool:
        return {"action": "store_true", "help": doc}
    if kind == bool | None:
        return {"action": argparse.BooleanOptionalAction, "default": field.default, "help": doc}
    kind = given(kind)
    values: dict[str, Any] = {"default": field.default, "help": doc}
    if field.default is not None:
        shown = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        values["help"] = f"{doc} (default {shown})"
    if typing.get_origin(kind) is typing.Literal:
        return values | {"choices": typing.get_args(kind)}
    if kind == tuple[str, ...]:
        return {"action": "append", "default": [], "help": doc, "metavar": metavar(field, kind)}
    if typing.get_origin(kind) is tuple:
        read = _place if kind == tuple[float, float] else _integers
        return values | {"type": read, "metavar": metavar(field, kind)}
    return values | {"type": kind, "metavar": metavar(field, kind)}


def given(kind: Any) -> Any:
    """The type of a value that is given, of a field that may be None."""
    if typing.get_origin(kind) is types.UnionType:
        return next(k for k in typing.get_args(kind) if k is not type(None))
    return kind


def metavar(field: dataclasses.Field[Any], kind: Any) -> str:
    """What stands for the value of an option in a usage line."""
    usual = {
        int: "N",
        str: "FILE",
        tuple[str, ...]: "NAME=VALUE",
        tuple[int, ...]: "N,N",
        tuple[float, float]: "X,Y",
    }
    return str(field.metadata["metavar"] or usual.get(kind, "X"))


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 1,2,3") from exc


def _place(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a place such as 500120.5,5900340") from exc
    return x, y
