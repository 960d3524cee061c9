"""The JSON Schema of what georeg writes as JSON: alignments, with or without a report, fits, tie points and refusals."""

from __future__ import annotations

from importlib.resources import files

NAME = "result.schema.json"


def schema_text() -> str:
    """As it is published, JSON Schema draft 2020-12.

    >>> "https://json-schema.org/draft/2020-12/schema" in schema_text()
    True
    """
    return files("georeg.report").joinpath(NAME).read_text(encoding="utf-8")
