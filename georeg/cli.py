"""The command line: a face without logic, built from the options' own fields."""

from __future__ import annotations

import importlib
import logging
import sys
from argparse import Namespace
from collections.abc import Sequence

import georeg
from georeg.errors import GeoregError
from georeg.interrupts import interrupted, listening
from georeg.lazily import Lazily
from georeg.parser import named_files, parsed
from georeg.temporaries import forget_written
from georeg.terminal import TOLD, recording, unforeseen

memory, serving, shlex = Lazily("georeg.memory"), Lazily("georeg.serve"), Lazily("shlex")
_MUTE = logging.NullHandler()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Without ``argv`` the process is taken to be its own."""
    arguments = parsed(argv)
    if arguments.verb == "serve":
        return int(serving.serve())
    # rasterio logs what it then raises: it is said once, in our sentence
    logging.getLogger("rasterio").addHandler(_MUTE)
    forget_written()
    try:
        with recording(arguments.log, named_files(arguments), verbose=arguments.verbose):
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


def _run(arguments: Namespace, *, own_process: bool) -> int:
    """Do what a verb does, and say what goes wrong; returns the exit code."""
    try:
        with listening(own_process=own_process):
            if own_process:
                memory.keep_pages()
            # what the verbs need takes half a second to import: not for --help
            verbs = importlib.import_module(arguments.module)
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
        _fail(f"georeg: {unforeseen(exc)}")
        return 1
    return code or 0


def _fail(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    TOLD.error(sentence.removeprefix("georeg: "))


if __name__ == "__main__":
    sys.exit(main())
