"""Parameters of the algorithms, from the options that georeg's command line has (schema.json). Knows no QGIS."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEFT_OUT = frozenset({"dask_scheduler", "dask_local", "in_place", "plots"})
"""Options that are no parameters: QGIS has its own ways for them."""
PATHS = {"gcp": "file", "target": "raster", "reference": "raster", "uncertainty": "output"} | {
    "area": "file",
    "ref_mask": "file",
    "tgt_mask": "file",
    "report": "html",
    "picture": "png",
    "false_change": "output",
}
"""Options whose text names a file, and what it is for."""
SWITCH = ("as needed", "yes", "no")
"""Choices for an option that is on, off or left to georeg."""
_WORDS = {"ref": "reference", "tgt": "target", "max": "largest", "min": "least", "gcp": "points made by hand"}
_NAMES = {
    "initial": "Place of the target at first",
    "gcp_sigma": "Deviation of points made by hand",
    "combine": "Combination of bands",
    "preprocess": "Preprocessing",
    "spacing": "Distance of windows",
    "window": "Side of windows",
    "patches": "Number of patches",
    "co": "Creation options",
    "ce90": "CE90",
    "rmse": "RMSE",
    "max_points": "Number of windows",
    "n": "number",
    "pin": "Keep points made by hand",
    "overwrite": "Replace existing files",
    "uncertainty": "Uncertainty of each pixel",
    "false_change": "Difference by misregistration",
    "picture": "Checkerboard before and after",
}
_UNITS = {"px": "px", "m": "m", "deg": "°", "mb": "MB"}


@dataclass(frozen=True)
class Parameter:
    """One parameter of an algorithm, and the option that it stands for."""

    name: str
    """Of the parameter, such as WINDOW_PX."""
    flag: str
    """Of the command line, such as --window-px."""
    kind: str
    """int, float, bool, switch (on, off or neither), choice, text, ints, list, file, raster; or what is written: output (a
    raster), html, png."""
    default: Any
    """None where georeg decides."""
    choices: tuple[str, ...]
    """Of kind choice and switch."""
    optional: bool
    """Whether it may be left empty."""
    label: str
    help: str


def load_schema() -> dict[str, Any]:
    """The options of this version, as ``georeg schema --json`` prints them."""
    with open(os.path.join(os.path.dirname(__file__), "schema.json"), encoding="utf-8") as file:
        schema: dict[str, Any] = json.load(file)
    return schema


def parameters(schema: Mapping[str, Any], verb: str) -> list[Parameter]:
    """Those of a verb's options that are parameters of its algorithm, in the order of the command line."""
    known = [option for option in _options(schema, verb) if option["name"] not in LEFT_OUT]
    return [_parameter(option, in_labels(option.get("help") or "", schema)) for option in known]


def _options(schema: Mapping[str, Any], verb: str) -> list[Mapping[str, Any]]:
    return [option for group in schema["verbs"][verb]["groups"] for option in group["options"]]


def _parameter(option: Mapping[str, Any], help_text: str) -> Parameter:
    name, default, kind = option["name"], option["default"], option["type"]
    if kind == "bool" and default is None:
        kind = "switch"
    elif kind == "string":
        kind = PATHS.get(name, "text")
    choices = SWITCH if kind == "switch" else tuple(map(str, option.get("choices") or ()))
    return Parameter(
        name=name.upper(),
        flag=option["flag"],
        kind=kind,
        default=tuple(default) if isinstance(default, list) else default,
        choices=choices,
        optional=default is None or kind == "list" or bool(option.get("optional")),
        label=label(name),
        help=_sentence(help_text) + (f" Give a word, not its number: {', '.join(choices)}." if choices else ""),
    )


def label(name: str) -> str:
    """What a field of the options is called on screen.

    >>> label("window_px"), label("tgt_bands"), label("co")
    ('Side of windows (px)', 'Target bands', 'Creation options')
    """
    words = name.split("_")
    unit = f" ({_UNITS[words.pop()]})" if len(words) > 1 and words[-1] in _UNITS else ""
    spelt = " ".join(_WORDS.get(word) or _NAMES.get(word) or word for word in words)
    text = _NAMES.get(name) or _NAMES.get("_".join(words)) or spelt
    return text[:1].upper() + text[1:] + unit


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".") if text else ""


def in_labels(text: str, schema: Mapping[str, Any]) -> str:
    """A sentence of georeg with the options that it names called as they are on screen.

    >>> option = {"name": "overwrite", "flag": "--overwrite", "type": "bool", "default": False}
    >>> in_labels("give --overwrite", {"verbs": {"fit": {"groups": [{"options": [option]}]}}})
    "give 'Replace existing files'"
    """
    options = [option for known in schema["verbs"] for option in _options(schema, known)]
    shown = {option["flag"]: label(option["name"]) for option in options}
    return re.sub(r"--[a-z][a-z0-9-]*", lambda found: f"'{shown[found[0]]}'" if found[0] in shown else found[0], text)


def words(known: Iterable[Parameter], values: Mapping[str, Any]) -> list[str]:
    """Words of the command line for values that are not the defaults, by the names of the parameters.

    >>> known = [Parameter("PIN", "--pin", "bool", False, (), False, "", "")]
    >>> words(known, {"PIN": True}), words(known, {"PIN": False}), words(known, {})
    (['--pin'], [], [])
    """
    said: list[str] = []
    for parameter in known:
        value = values.get(parameter.name)
        if value is not None and value != "" and value != parameter.default:
            said += _worded(parameter, value)
    return said


def _worded(parameter: Parameter, value: Any) -> list[str]:
    flag = parameter.flag
    if parameter.kind == "bool":
        return [flag] if value else []
    if parameter.kind == "switch":
        on: bool | None = {SWITCH[1]: True, SWITCH[2]: False}.get(str(value))
        return [] if on is None else [flag if on else f"--no-{flag[2:]}"]
    if parameter.kind == "list":
        return [word for part in value for word in (flag, str(part))]
    if parameter.kind == "ints":
        value = ",".join(str(int(part)) for part in value)
    text = str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def values_of(schema: Mapping[str, Any], said: Sequence[str]) -> dict[str, Any]:
    """Values of an algorithm's parameters for the words of a command line, its verb first; the inverse of `words`.

    >>> option = {"name": "pin", "flag": "--pin", "type": "bool", "default": False}
    >>> verb = {"groups": [{"options": [option]}], "inputs": [{"name": "reference"}], "output": {}}
    >>> values_of({"verbs": {"align": verb}}, ["align", "a.tif", "-o", "b.tif", "--pin"])
    {'REFERENCE': 'a.tif', 'OUTPUT': 'b.tif', 'PIN': True}
    """
    verb, left = said[0], list(said[1:])
    known = {parameter.flag: parameter for parameter in parameters(schema, verb)}
    inputs = [one["name"].upper() for one in schema["verbs"][verb]["inputs"]]
    if inputs == ["INPUTS"]:  # of assess: two rasters, or a fit
        inputs = ["REFERENCE", "TARGET"]
    found: dict[str, Any] = {}
    while left:
        word, sign, text = left.pop(0).partition("=")
        if word in ("-o", "--output"):
            found["OUTPUT"] = left.pop(0)
        elif word in known and known[word].kind in ("bool", "switch"):
            found[known[word].name] = True if known[word].kind == "bool" else SWITCH[1]
        elif word in known:
            _put(found, known[word], text if sign else left.pop(0))
        elif word.startswith("--no-") and "--" + word[5:] in known:
            found[known["--" + word[5:]].name] = SWITCH[2]
        elif inputs and not word.startswith("--"):
            found[inputs.pop(0)] = word + sign + text
    return found


def _put(found: dict[str, Any], parameter: Parameter, text: str) -> None:
    if parameter.kind == "ints":
        found[parameter.name] = list(whole_numbers(text))
    elif parameter.kind == "list":
        found[parameter.name] = "|".join(filter(None, (found.get(parameter.name), text)))
    elif parameter.kind in ("int", "float"):
        found[parameter.name] = int(text) if parameter.kind == "int" else float(text)
    else:
        found[parameter.name] = text


def whole_numbers(text: str) -> tuple[int, ...]:
    """Band numbers as a user writes them.

    >>> whole_numbers("3, 2 1")
    (3, 2, 1)

    Raises
    ------
    ValueError
        They are none.
    """
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not a list of whole numbers such as 1,2,3")
    return tuple(map(int, parts))


def parts_of(text: str) -> tuple[str, ...]:
    """Creation options, one in a line or apart by bars as QGIS keeps them.

    >>> parts_of("COMPRESS=ZSTD|PREDICTOR=2")
    ('COMPRESS=ZSTD', 'PREDICTOR=2')
    """
    return tuple(part.strip() for part in re.split(r"[|\n]", text) if part.strip())
