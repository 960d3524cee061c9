"""The verb that puts the bands of one instrument onto each other."""

from __future__ import annotations

import argparse
import json

import georeg
from georeg.band_files import captures_of
from georeg.bands import outputs_of
from georeg.options import BandsOptions, LimitOptions, MatchOptions
from georeg.terminal import TOLD
from georeg.verb_parts import chosen, metered_verb, running, say, warn


@metered_verb
def bands(arguments: argparse.Namespace) -> int:
    options = chosen(arguments, BandsOptions)
    captures = captures_of(arguments.inputs)
    if arguments.output is not None and len(captures) == 1:
        outputs_of(captures, arguments.output, overwrite=options.overwrite)  # before any work
    with running(arguments) as run:
        found = georeg.align_bands(
            arguments.inputs,
            options=options,
            matching=chosen(arguments, MatchOptions),
            limits=chosen(arguments, LimitOptions),
            **run,
        )
        written = {} if arguments.output is None else found.write(arguments.output, **run)
    for name, band in zip(found.names, found.bands, strict=True):
        if band is not None:
            warn(band.fitted, of=f"band {name}")
    _tell(arguments, found, written)
    return 1 if found.refused() else 0


def _tell(arguments: argparse.Namespace, found: georeg.BandAlignment, written: dict[str, str]) -> None:
    lines = found.summary().splitlines()
    refused = found.refused()
    for capture in found.captures:
        what = refused.get(capture.name) or written.get(capture.name, "nothing was written")
        lines.append(f"{capture.name}: {what}")
    for line in lines:
        TOLD.info(line)
    values = {**found.to_dict(), "written": written}
    say(json.dumps(values, indent=1) if arguments.json else "\n".join(lines))
