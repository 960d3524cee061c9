"""All options as data: nothing of the command line is missing in it, and it says what the command line does."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

import georeg
from georeg import options
from georeg.cli import main
from georeg.parser import RaisingParser, UsageError, make_parser, parsed
from georeg.verb_list import VERBS
from georeg.verb_schema import NO_JOBS, schema_text, verb_schema

Capture = pytest.CaptureFixture[str]
JOBS = [verb.name for verb in VERBS if verb.name not in NO_JOBS]
TOLD = {"help", "json", "log", "quiet", "verbose", "schema"}
"""Options that are of a terminal, or ask for something else than the verb does."""
PYTHON = {"int": int, "float": float, "bool": bool, "string": str, "choice": str}


def parser_of(verb: str) -> argparse.ArgumentParser:
    (verbs,) = [a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    found: argparse.ArgumentParser = verbs.choices[verb]
    return found


def options_of(verb: str) -> list[dict[str, Any]]:
    return [option for group in verb_schema()["verbs"][verb]["groups"] for option in group["options"]]


def least_words(verb: str) -> list[str]:
    """A command line with what the verb needs and no more."""
    known = verb_schema()["verbs"][verb]
    words = [verb, *(f"{one['name']}.tif" for one in known["inputs"])]
    return words if known["output"] is None else [*words, known["output"]["flag"], "out.tif"]


def test_it_is_printed_at_once_and_the_same_each_time(capsys: Capture) -> None:
    assert main(["schema", "--json"]) == 0
    printed = capsys.readouterr().out
    assert printed == schema_text()
    assert json.loads(printed) == verb_schema()
    assert (verb_schema()["protocol"], verb_schema()["georeg"]) == (1, georeg.__version__)
    code = "import sys; from georeg.cli import main; main(['schema']); sys.exit(str({'numpy', 'rasterio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == "set()"


@pytest.mark.parametrize("verb", JOBS)
def test_every_word_of_a_verb_is_in_it_and_no_other(verb: str) -> None:
    known = verb_schema()["verbs"][verb]
    actions = [action for action in parser_of(verb)._actions if action.dest not in TOLD]
    flags = {flag for action in actions for flag in action.option_strings if flag.startswith("--")}
    shown = [text for option in options_of(verb) for text in (option["flag"], option["negative"]) if text]
    assert sorted(flags) == sorted(shown + ([known["output"]["flag"]] if known["output"] else []))
    assert [a.dest for a in actions if not a.option_strings] == [one["name"] for one in known["inputs"]]
    helps = {action.dest: action.help for action in actions}
    for one in [*known["inputs"], *options_of(verb)]:
        assert helps[one["name"]].startswith(one["help"])


@pytest.mark.parametrize("verb", JOBS)
def test_defaults_and_types_are_those_of_the_dataclasses(verb: str) -> None:
    for group in verb_schema()["verbs"][verb]["groups"]:
        made = getattr(options, group["name"])()
        for option in group["options"]:
            default = getattr(made, option["name"])
            assert option["default"] == (list(default) if isinstance(default, tuple) else default)
            assert option["default"] is not None or option["optional"]
            if option["default"] is not None and option["type"] in PYTHON:
                assert isinstance(option["default"], PYTHON[option["type"]])
            assert (option["choices"] is not None) == (option["type"] == "choice")
            assert option["default"] is None or not option["choices"] or option["default"] in option["choices"]
            assert option["unit"] is None or option["name"].endswith(option["unit"].lower())


def spelled(option: dict[str, Any], value: Any) -> list[str]:
    """Words of an option by what the schema says, for a value."""
    if option["type"] == "bool":
        return [option["flag"]] if value else [option["negative"]] if value is False and option["negative"] else []
    if option["type"] == "list":
        return [word for part in value for word in (option["flag"], part)]
    text = ",".join(map(str, value)) if option["type"] in ("ints", "place") else str(value)
    return [option["flag"], text]


@pytest.mark.parametrize("verb", JOBS)
def test_defaults_spelled_out_change_nothing(verb: str) -> None:
    said = [w for o in options_of(verb) if o["default"] is not None for w in spelled(o, o["default"])]
    plain, full = (vars(parsed([*least_words(verb), *more], RaisingParser)) for more in ([], said))
    del plain["words"], full["words"]
    assert full == plain


EXAMPLES: dict[str, Any] = {
    "int": 3,
    "float": 0.25,
    "string": "some.tif",
    "ints": [2, 1],
    "list": ["A=1", "B=2"],
    "place": [500120.5, 5900340.0],
}


@pytest.mark.parametrize("verb", JOBS)
def test_an_option_spelled_as_it_says_has_the_value(verb: str) -> None:
    for option in options_of(verb):
        for value in option["choices"] or [EXAMPLES.get(option["type"], True)]:
            words = least_words(verb)
            if option["name"] == "in_place":
                words = words[:-2]
            arguments = parsed([*words, *spelled(option, value)], RaisingParser)
            held = getattr(arguments, option["name"])
            assert (list(held) if isinstance(held, tuple) else held) == value


def test_a_tri_state_can_be_denied() -> None:
    (resample,) = [option for option in options_of("align") if option["name"] == "resample"]
    assert (resample["type"], resample["default"], resample["optional"]) == ("bool", None, True)
    assert parsed([*least_words("align"), *spelled(resample, False)], RaisingParser).resample is False


@pytest.mark.parametrize(
    "words", [[], ["align"], ["fit", "p.json", "-o", "o", "--seed", "x"], ["align", "r", "t", "-o", "o", "--in-place"]]
)
def test_a_program_is_told_of_wrong_words_by_an_exception(words: list[str], capsys: Capture) -> None:
    with pytest.raises(UsageError, match=r"; georeg.* --help lists what it takes"):
        parsed(words, RaisingParser)
    assert capsys.readouterr() == ("", "")


def test_every_option_of_the_command_line_is_a_field() -> None:
    groups = {group for verb in VERBS for group in verb.groups} | {options.BesideOptions}
    fields = {field.name for group in groups for field in dataclasses.fields(group)}
    dests = {action.dest for verb in JOBS for action in parser_of(verb)._actions if action.option_strings}
    assert dests - TOLD - {"output"} == fields
