"""All verbs and their options as data, for programs that offer them: made of what the command line is made of."""

from __future__ import annotations

import argparse
import dataclasses
import json
import typing
from typing import Any

import georeg
from georeg.options import BesideOptions, MatchOptions
from georeg.parser import flag, given, metavar, title
from georeg.verb_list import VERBS, Input, Output, Verb

PROTOCOL = 1
"""Of this schema and of `georeg.serve`: it grows where another program would have to be changed."""
_UNITS = {"px": "px", "m": "m", "deg": "deg", "mb": "MB"}
NO_JOBS = ("schema", "serve")
"""Verbs that are no jobs."""


def schema(_: argparse.Namespace) -> None:
    """The verb: print `verb_schema`."""
    print(schema_text(), end="")


def schema_text() -> str:
    """`verb_schema` as JSON, the same bytes each time."""
    return json.dumps(verb_schema(), indent=1) + "\n"


def verb_schema() -> dict[str, Any]:
    """Verbs that are jobs, by name; the options that say how a terminal is told of them are left out.

    >>> option = verb_schema()["verbs"]["match"]["groups"][1]["options"][0]
    >>> option["flag"], option["type"], option["default"], option["unit"]
    ('--window-px', 'int', None, 'px')
    """
    verbs = {verb.name: _verb(verb) for verb in VERBS if verb.name not in NO_JOBS}
    return {"protocol": PROTOCOL, "georeg": georeg.__version__, "verbs": verbs}


def _verb(verb: Verb) -> dict[str, Any]:
    groups = [_group(group, tuple(field.name for field in dataclasses.fields(group))) for group in verb.groups]
    if verb.matching:
        groups.append(_group(MatchOptions, verb.matching))
    if verb.beside:
        groups.append(_group(BesideOptions, verb.beside))
    return {
        "help": verb.doc,
        "inputs": [_input(one) for one in verb.inputs],
        "output": None if verb.output is None else _output(verb.output),
        "groups": groups,
    }


def _input(one: Input) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": one.kind,
        "many": one.count in ("+", "*"),
        "optional": one.count in ("?", "*"),
        "help": one.doc,
    }


def _output(output: Output) -> dict[str, Any]:
    return {
        "name": "output",
        "flag": "--output",
        "type": output.metavar.lower(),
        "optional": not output.required,
        "help": output.doc,
    }


def _group(group: type[Any], names: tuple[str, ...]) -> dict[str, Any]:
    kinds = typing.get_type_hints(group)
    fields = [field for field in dataclasses.fields(group) if field.name in names]
    return {
        "name": group.__name__,
        "title": title(group),
        "options": [_option(field, kinds[field.name]) for field in fields],
    }


def _option(field: dataclasses.Field[Any], kind: Any) -> dict[str, Any]:
    one, default = given(kind), field.default
    is_bool = one is bool
    return {
        "name": field.name,
        "flag": flag(field.name),
        "negative": f"--no-{flag(field.name)[2:]}" if kind == bool | None else None,
        "type": _type(one),
        "default": list(default) if isinstance(default, tuple) else default,
        "choices": list(typing.get_args(one)) if typing.get_origin(one) is typing.Literal else None,
        "unit": _UNITS.get(field.name.rpartition("_")[2]) if one in (int, float) else None,
        "optional": kind != one,
        "metavar": None if is_bool or typing.get_origin(one) is typing.Literal else metavar(field, one),
        "help": field.metadata["doc"],
    }


def _type(kind: Any) -> str:
    """How a value is written: ``ints`` and ``place`` with commas, ``list`` by giving the option again; ``bool`` has no value."""
    if typing.get_origin(kind) is typing.Literal:
        return "choice"
    names = {
        int: "int",
        float: "float",
        bool: "bool",
        str: "string",
        tuple[int, ...]: "ints",
        tuple[str, ...]: "list",
        tuple[float, float]: "place",
    }
    return names[kind]
