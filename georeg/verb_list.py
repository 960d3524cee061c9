"""The verbs of the command line as data: its parser and its schema are built from them and from the options' own fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from georeg.options import (
    BandsOptions,
    BatchOptions,
    ExecutionOptions,
    FitOptions,
    HandOptions,
    InputOptions,
    LimitOptions,
    MatchOptions,
    PlaceOptions,
    StackOptions,
    StacOptions,
    WriteOptions,
)


@dataclass(frozen=True)
class Input:
    """A file that a verb reads, named by a word of its own."""

    name: str
    doc: str
    kind: Literal["raster", "file"] = "raster"
    """``file``: of georeg, or of any kind."""
    count: Literal[None, "?", "*", "+"] = None
    """How many such words there may be, as argparse says it; None: one."""


@dataclass(frozen=True)
class Output:
    """What a verb writes under the name that ``-o`` gives."""

    doc: str
    required: bool = True
    metavar: Literal["FILE", "FOLDER"] = "FILE"


@dataclass(frozen=True)
class Verb:
    """A verb of the command line: what it reads, what it writes, and its options."""

    name: str
    doc: str
    inputs: tuple[Input, ...] = ()
    output: Output | None = None
    groups: tuple[type[Any], ...] = ()
    """Dataclasses all of whose fields are options of it."""
    matching: tuple[str, ...] = ()
    """Fields of `MatchOptions` that are, where not all of them are."""
    beside: tuple[str, ...] = ()
    """Fields of `BesideOptions` that are."""
    instead: tuple[str, str] | None = None
    """Name and doc of a flag that asks for something else, without any input."""
    from_file: str | None = None
    """What starts a word that stands for the lines of a file."""
    tells: bool = True
    """Whether it has options of how it tells what it does."""
    module: str = "georeg.verbs"
    """Where the function of its name is."""


REFERENCE = Input("reference", "the trusted raster")
TARGET = Input("target", "the raster to correct")
VERBS = (
    Verb(
        "align",
        "align one raster to another: match, fit, assess and apply",
        (REFERENCE, TARGET),
        Output(
            "the corrected target, a GeoTIFF or .vrt; a .png or .jpg too, of two plain pictures",
            required=False,
        ),
        (InputOptions, MatchOptions, FitOptions, LimitOptions, WriteOptions, ExecutionOptions),
        beside=("picture", "plots", "report"),
    ),
    Verb(
        "batch",
        "align many rasters to one, each by itself: what is refused stops none of the others",
        (
            REFERENCE,
            Input("targets", "the rasters to correct; @FILE stands for the lines of a file", count="+"),
        ),
        Output("for the corrected targets; without it they are only measured", required=False, metavar="FOLDER"),
        (InputOptions, MatchOptions, FitOptions, LimitOptions, WriteOptions, BatchOptions, ExecutionOptions),
        from_file="@",
    ),
    Verb(
        "stack",
        "correct many dates of one place together, so that they agree with each other",
        (
            Input(
                "scenes",
                "rasters, folders or patterns of such, a .csv table of paths and dates, or a .json STAC item collection; @FILE "
                "stands for the lines of a file",
                "file",
                "+",
            ),
        ),
        Output("for the corrected scenes and stack.json; without it they are only measured", False, "FOLDER"),
        (StackOptions, InputOptions, MatchOptions, FitOptions, LimitOptions, WriteOptions, ExecutionOptions),
        beside=("report",),
        from_file="@",
        module="georeg.verb_stack",
    ),
    Verb(
        "bands",
        "put the bands of one instrument, a file each, onto each other in one file, by one rig for all captures",
        (
            Input(
                "inputs",
                "rasters of one band each; names that differ in what follows the last _ are of one capture, and where there are "
                "several captures, all have the same endings; @FILE stands for the lines of a file",
                count="+",
            ),
        ),
        Output(
            "the bands in one GeoTIFF; of several captures a FOLDER; without it they are only measured", required=False
        ),
        (BandsOptions, MatchOptions, LimitOptions, ExecutionOptions),
        from_file="@",
        module="georeg.verb_bands",
    ),
    Verb(
        "match",
        "measure tie points between two rasters",
        (REFERENCE, TARGET),
        Output("the tie points, JSON"),
        (InputOptions, MatchOptions, ExecutionOptions),
        beside=("overwrite",),
    ),
    Verb(
        "snap",
        "measure one more tie point where somebody points, or one of them anew, by the peak near there",
        (Input("points", "file from georeg match, fit, assess or align --json", "file"),),
        Output("all tie points with that one, JSON"),
        (PlaceOptions,),
        matching=("window_px", "matcher", "preprocess", "combine", "false_match_rate", "threads"),
        beside=("overwrite",),
        module="georeg.verb_snap",
    ),
    Verb(
        "fit",
        "fit a correction to tie points",
        (Input("points", "file from georeg match, or a .points or .csv file made by hand", "file"),),
        Output("the fit, JSON"),
        (FitOptions, HandOptions),
        beside=("overwrite",),
    ),
    Verb(
        "assess",
        "measure how well two rasters agree, or prove a fit; changes no raster",
        (Input("inputs", "REFERENCE and TARGET, or one file from georeg fit", count="+"),),
        Output("the result, JSON", required=False),
        (InputOptions, MatchOptions, FitOptions, LimitOptions, ExecutionOptions),
        beside=("plots", "report", "false_change", "overwrite"),
    ),
    Verb(
        "report",
        "show whether an alignment worked, as one HTML file; reads the rasters again",
        (Input("result", "file from georeg align --json or assess", "file", "?"),),
        Output("the report, HTML; without it the verdict is printed", required=False),
        beside=("plots", "overwrite"),
        instead=("schema", "print the JSON Schema of all results instead"),
    ),
    Verb(
        "apply",
        "correct a target, and all that shares its wrong frame, by a result",
        (
            Input("result", "file from georeg assess or align --json, or, not proven, from georeg fit", "file"),
            Input(
                "targets",
                "other rasters of the same acquisition, or vector files drawn on it, to correct; by default the raster that "
                "was matched. What must be resampled goes onto the reference's grid whatever its own pixels. Of vectors the "
                "vertices move, and straight segments stay straight",
                "file",
                "*",
            ),
        ),
        Output(
            "the corrected file, a GeoTIFF, .vrt or of the vector format of its suffix; of several targets a FOLDER",
            required=False,
        ),
        (WriteOptions, ExecutionOptions),
    ),
    Verb(
        "undo",
        "take back the last correction that was made in place, to the byte",
        (Input("targets", "GeoTIFF corrected with --in-place", count="+"),),
    ),
    Verb(
        "export",
        "write tie points or a correction for other programs",
        (Input("input", "file from georeg match, fit, assess or align --json", "file"),),
        Output(
            "tie points: .gpkg, .geojson, .csv or .points (QGIS); correction: .vrt (GCPs), .json, .proj or .tif (a grid)"
        ),
        beside=("overwrite",),
    ),
    Verb(
        "stac",
        "write the STAC Item of a corrected raster: where it lies, how accurately, and by what",
        (
            Input("result", "file from georeg assess or align --json", "file"),
            Input("item", "Item of the uncorrected raster, JSON; it is not changed", "file"),
        ),
        Output("the new Item, JSON"),
        (StacOptions,),
        beside=("overwrite",),
        module="georeg.verb_stac",
    ),
    Verb(
        "schema",
        "print all verbs and their options as JSON, for programs that offer them",
        module="georeg.verb_schema",
    ),
    Verb(
        "serve",
        "do jobs for another program, by lines of JSON on standard input and output",
        tells=False,
        module="georeg.serve",
    ),
)
