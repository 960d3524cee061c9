"""A command line that makes an alignment again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from georeg.alignment import Alignment
from georeg.options import InputOptions, words
from georeg.remote import without_secrets

OUTPUT = "aligned.tif"


def command_of(alignment: Alignment) -> str:
    """``georeg align`` with the options that made it, quoted for a shell; without what gives access to a server."""
    inputs = alignment.points.inputs
    told = InputOptions(
        inputs.ref_bands,
        inputs.tgt_bands,
        inputs.ref_nodata,
        inputs.tgt_nodata,
        gcp=inputs.gcp,
        area=inputs.area,
        ref_mask=inputs.ref_mask,
        tgt_mask=inputs.tgt_mask,
    )
    options = alignment.options or words(told)  # of a fit made stage by stage its inputs alone are known
    return typed(["align", inputs.reference, inputs.target, "-o", OUTPUT, *options])


def typed(said: Sequence[str]) -> str:
    """Words after ``georeg``, quoted for a shell, without what gives access to a server.

    >>> typed(["align", "--gcp=https://me:word@example.org/p.csv", "my reference.tif"])
    "georeg align --gcp=https://example.org/p.csv 'my reference.tif'"
    """
    return shlex.join(["georeg", *map(_bare, said)])


def _bare(word: str) -> str:
    name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return name + equals + without_secrets(value)
