"""The command line: a face without logic, built from the options' own fields."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import logging
import os
import re
import sys
import traceback
import types
import typing
from collections.abc import Sequence
from typing import Any

import georeg
from georeg.errors import GeoregError
from georeg.interrupts import interrupted, listening
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
from georeg.temporaries import forget_written
from georeg.terminal import TOLD, recording

memory, shlex = Lazily("georeg.memory"), Lazily("shlex")
DESCRIPTION = (
    "Put a raster exactly where it belongs on a georeferenced reference, prove it, or say that it cannot be done."
)
_MUTE = logging.NullHandler()
_log = logging.getLogger(__name__)
EPILOG = "exit codes: 0 done, 1 refused or failed, 2 usage, 3 a limit that you set was exceeded"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Without ``argv`` the process is taken to be its own."""
    arguments = _parsed(argv)
    # rasterio logs what it then raises: it is said once, in our sentence
    logging.getLogger("rasterio").addHandler(_MUTE)
    forget_written()
    try:
        with recording(arguments.log, _named(arguments), verbose=arguments.verbose):
            if arguments.log:
                TOLD.info(
                    "georeg %s: %s",
                    georeg.__version__,
                    shlex.join(["georeg", *(sys.argv[1:] if argv is None else argv)]),
                )
            code = _run(arguments, own_process=argv is None)
            TOLD.info("exit code %d", code)
            return code
    except GeoregError as exc:  # the log cannot be opened
        print(f"georeg: {exc}", file=sys.stderr)
        return exc.exit_code


def _named(arguments: argparse.Namespace) -> list[str]:
    """Whatever the command line names that may be a file."""
    values = [value for name, value in vars(arguments).items() if name not in ("log", "verb", "words")]
    return [
        text for value in values for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)
    ]


def _run(arguments: argparse.Namespace, *, own_process: bool) -> int:
    """Do what a verb does, and say what goes wrong; returns the exit code."""
    try:
        with listening(own_process=own_process):
            if own_process:
                memory.keep_pages()
            # what the verbs need takes half a second to import: not for --help
            verbs = importlib.import_module("georeg.verbs")
            code: int | None = getattr(verbs, arguments.verb)(arguments)
    except GeoregError as exc:
        _fail(f"georeg: {exc}")
        return exc.exit_code
    except KeyboardInterrupt:
        _fail(interrupted())
        return 1
    except BrokenPipeError:
        return 1  # the reader of our output has gone: it has what it wanted
    except Exception as exc:  # noqa: BLE001 - whoever meets a bug of ours gets a sentence, not a page of our code
        _fail(f"georeg: {_unforeseen(exc)}")
        return 1
    return code or 0


def _fail(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    TOLD.error(sentence.removeprefix("georeg: "))


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.words = sys.argv[1:] if argv is None else list(argv)
    if hasattr(arguments, "in_place"):
        n_given = arguments.in_place + (arguments.output is not None)
        if n_given > 1 or (n_given == 0 and arguments.verb != "batch"):
            parser.error("give either -o FILE or --in-place")
    return arguments


def _unforeseen(exc: Exception) -> str:
    """The sentence for what none of our errors foresees; the log has the rest."""
    _log.debug("unforeseen", exc_info=exc)
    reason = " ".join(str(exc).split())
    if isinstance(exc, MemoryError) or "Insufficient memory" in reason:  # as OpenCV says it
        return (
            f"the memory is full ({reason or type(exc).__name__}); lower --threads, close other programs, or use a machine "
            "with more memory"
        )
    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if os.path.dirname(georeg.__file__) in frame.filename] or frames
    at = f"{os.path.basename(ours[-1].filename)}:{ours[-1].lineno}"
    return f"internal error: {type(exc).__name__}: {reason} at {at}; please report this with the command"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("georeg", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"georeg {georeg.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    verb = _verb(verbs, "align", "align one raster to another: match, fit, assess and apply")
    _two_rasters(verb)
    _output(verb, "the corrected target, a GeoTIFF or .vrt; a .png or .jpg too, of two plain pictures", required=False)
    verb.add_argument("--picture", metavar="PNG", help="also draw a checkerboard of both, before and after")
    _plots(verb)
    _reports(verb)
    _options(verb, InputOptions, MatchOptions, FitOptions, LimitOptions, WriteOptions, ExecutionOptions)

    verb = _verb(
        verbs,
        "batch",
        "align many rasters to one, each by itself: what is refused stops none of the others",
        from_file="@",
    )
    verb.add_argument("reference", metavar="REFERENCE", help="the trusted raster")
    verb.add_argument(
        "targets", nargs="+", metavar="TARGET", help="the rasters to correct; @FILE stands for the lines of a file"
    )
    _output(verb, "for the corrected targets; without it they are only measured", required=False, metavar="FOLDER")
    _options(verb, InputOptions, MatchOptions, FitOptions, LimitOptions, WriteOptions, BatchOptions, ExecutionOptions)

    verb = _verb(verbs, "match", "measure tie points between two rasters")
    _two_rasters(verb)
    _output(verb, "the tie points, JSON")
    _options(verb, InputOptions, MatchOptions, ExecutionOptions)
    verb.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")

    verb = _verb(verbs, "fit", "fit a correction to tie points")
    verb.add_argument("points", metavar="POINTS", help="file from georeg match, or a .points or .csv file made by hand")
    _output(verb, "the fit, JSON")
    _options(verb, FitOptions, HandOptions)
    verb.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")

    verb = _verb(verbs, "assess", "measure how well two rasters agree, or prove a fit; changes no raster")
    verb.add_argument("inputs", nargs="+", metavar="INPUT", help="REFERENCE and TARGET, or one file from georeg fit")
    _output(verb, "the result, JSON", required=False)
    _plots(verb)
    _reports(verb)
    verb.add_argument(
        "--false-change",
        metavar="FILE",
        help="also write a GeoTIFF of the difference that misregistration alone makes once the target is corrected, and of the "
        "one observed, in grey values of the reference: what does not exceed the first is no evidence of change",
    )
    _options(verb, InputOptions, MatchOptions, FitOptions, LimitOptions, ExecutionOptions)
    verb.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")

    verb = _verb(verbs, "report", "show whether an alignment worked, as one HTML file; reads the rasters again")
    what = verb.add_mutually_exclusive_group(required=True)
    what.add_argument("result", nargs="?", metavar="RESULT", help="file from georeg align --json or assess")
    what.add_argument("--schema", action="store_true", help="print the JSON Schema of all results instead")
    _output(verb, "the report, HTML; without it the verdict is printed", required=False)
    _plots(verb)
    verb.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")

    verb = _verb(verbs, "apply", "correct a target, and all that shares its wrong frame, by a result")
    verb.add_argument(
        "result", metavar="RESULT", help="file from georeg assess or align --json, or, not proven, from georeg fit"
    )
    verb.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="other rasters of the same acquisition, or vector files drawn on it, to correct; by default the raster that was "
        "matched. What must be resampled goes onto the reference's grid whatever its own pixels. Of vectors the vertices move, "
        "and straight segments stay straight",
    )
    _output(
        verb,
        "the corrected file, a GeoTIFF, .vrt or of the vector format of its suffix; of several targets a FOLDER",
        required=False,
    )
    _options(verb, WriteOptions, ExecutionOptions)

    verb = _verb(verbs, "undo", "take back the last correction that was made in place, to the byte")
    verb.add_argument("targets", nargs="+", metavar="TARGET", help="GeoTIFF corrected with --in-place")

    verb = _verb(verbs, "export", "write tie points or a correction for other programs")
    verb.add_argument("input", metavar="INPUT", help="file from georeg match, fit, assess or align --json")
    _output(
        verb,
        "tie points: .gpkg, .geojson, .csv or .points (QGIS); correction: .vrt (GCPs), .json, .proj or .tif (a grid)",
    )
    verb.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")
    return parser


def _verb(verbs: Any, name: str, doc: str, *, from_file: str | None = None) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=doc,
        description=doc[0].upper() + doc[1:] + ".",
        epilog=EPILOG,
        fromfile_prefix_chars=from_file,
    )
    verb._negative_number_matcher = re.compile(r"-\.?\d")  # before Python 3.14, -3.4e38 would be taken for an option
    verb.set_defaults(verb=name)
    verb.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    verb.add_argument("--log", metavar="FILE", help="append what the run says, with times, to a file")
    says = verb.add_mutually_exclusive_group()
    says.add_argument("--quiet", action="store_true", help="no progress, and no table at the end")
    says.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="say what each stage found, and how long it took; twice: all there is to tell of an error of ours",
    )
    return verb


def _two_rasters(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("reference", metavar="REFERENCE", help="the trusted raster")
    verb.add_argument("target", metavar="TARGET", help="the raster to correct")


def _output(verb: argparse.ArgumentParser, doc: str, *, required: bool = True, metavar: str = "FILE") -> None:
    verb.add_argument("-o", "--output", metavar=metavar, required=required, help=doc)


def _reports(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--report", metavar="FILE", help="also write a report, one HTML file; of a refused pair, too")


def _plots(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--plots", metavar="FOLDER", help="also draw plots of the residuals, PNG; needs georeg[plot]")


def _options(verb: argparse.ArgumentParser, *groups: type[Any]) -> None:
    for group in groups:
        section = verb.add_argument_group((group.__doc__ or "").rstrip("."))
        types_of = typing.get_type_hints(group)
        for field in dataclasses.fields(group):
            section.add_argument(f"--{field.name.replace('_', '-')}", **_argument(field, types_of[field.name]))


def _argument(field: dataclasses.Field[Any], kind: Any) -> dict[str, Any]:
    doc = field.metadata["doc"]
    if kind is bool:
        return {"action": "store_true", "help": doc}
    if kind == bool | None:
        return {"action": argparse.BooleanOptionalAction, "default": field.default, "help": doc}
    if typing.get_origin(kind) is types.UnionType:
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    values: dict[str, Any] = {"default": field.default, "help": doc}
    if field.default is not None:
        shown = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        values["help"] = f"{doc} (default {shown})"
    if typing.get_origin(kind) is typing.Literal:
        return values | {"choices": typing.get_args(kind)}
    if kind == tuple[str, ...]:
        return {"action": "append", "default": [], "help": doc, "metavar": "NAME=VALUE"}
    if typing.get_origin(kind) is tuple:
        return values | {"type": _integers, "metavar": "N,N"}
    return values | {"type": kind, "metavar": field.metadata["metavar"] or {int: "N", str: "FILE"}.get(kind, "X")}


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 1,2,3") from exc


if __name__ == "__main__":
    sys.exit(main())
