"""The report of a stack as one HTML file that needs no network: whether its scenes agree with each other, and which do not."""

from __future__ import annotations

import html
import os
from typing import Any

from pyproj import CRS

from georeg.apply import PathLike
from georeg.files import check_output, write_bytes
from georeg.report.figures import figure, told
from georeg.report.layout import card, section, table
from georeg.report.page import document
from georeg.report.stack_charts import axes_of, by_number, day, drift_chart, is_dated, rmse_chart
from georeg.report.stack_matrix import STATE_WORDS, matrix_chart, signs
from georeg.report.stack_values import stack_values
from georeg.stack_result import Stack

_OPEN_ROWS = 12
"""Of the pairs that are not used, as many as are shown without a click."""


def write_stack_report(stack: Stack, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a report that shows whether the scenes of a stack agree with each other: one HTML file that needs no network.

    >>> stack = georeg.align_stack(["2019.tif", "2020.tif", "2021.tif"])  # doctest: +SKIP
    >>> georeg.write_stack_report(stack, "stack.html")  # doctest: +SKIP

    Parameters
    ----------
    overwrite
        Replace the file if it exists.

    Raises
    ------
    OutputError
        The file exists, is a scene of the stack, or cannot be written. Nothing is left under its name.
    """
    check_output(os.fspath(path), [scene.path for scene in stack.scenes], overwrite=overwrite)
    write_bytes(stack_html(stack).encode(), os.fspath(path))


def stack_html(stack: Stack) -> str:
    """HTML of a stack, with the stack as JSON in it, as `Stack.to_dict` gives it and ``report`` beside that."""
    values = stack_values(stack)
    parts = [
        _care(values),
        _refusals(values),
        _drift(values),
        f'<div class="beside">{_pairs(values)}{_rmse(values)}</div>',
        _scenes(values),
        _unused(values),
        _made(values),
    ]
    title = f"Stack of {values['report']['n_scenes']} {_noun(values)}"
    return document(values, title, _heading(values), _headline(values), parts, ("stack_page.css",))


def _heading(values: dict[str, Any]) -> str:
    """How many scenes, onto what."""
    onto, datum = "corrected together; datum:", told(values, "datum")
    held = [k for k, scene in enumerate(values["scenes"]) if scene["held"]]
    if values["datum"] == "reference" and len(held) == 1:
        onto, datum = "onto", _name(values, held[0])
    n = figure(values, "report.n_scenes", "d")
    return f"<span>{n} {_noun(values)}</span> <small>{onto}</small> <span>{datum}</span>"


def _noun(values: dict[str, Any]) -> str:
    return "scene" if values["report"]["n_scenes"] == 1 else "scenes"


def _headline(values: dict[str, Any]) -> str:
    report = values["report"]
    state, sign, badge = ("good", "✓", "CORRECTED TOGETHER")
    if report["n_refused"]:
        state, sign, badge = ("some", "▲", "SOME SCENES REFUSED") if report["n_corrected"] else ("bad", "✕", "REFUSED")
    rmse = (
        f'<b class="before">{figure(values, "report.rmse_before_px", "s2")}</b> → '
        f'<b class="after">{figure(values, "report.rmse_after_px", "s2", "px")}</b>'
    )
    tiles = [
        (
            "Scenes corrected",
            f"<b>{figure(values, 'report.n_corrected', 'd')}</b> of {figure(values, 'report.n_scenes', 'd')}",
            f"{figure(values, 'report.n_refused', 'd')} refused, {figure(values, 'report.n_held', 'd')} held where they are",
        ),
        ("Position known to", f"<b>{figure(values, 'report.sigma_px', 's2', 'px')}</b>", _sigma(values)),
        (
            "RMSE of check points",
            rmse,
            f"median of the scenes, {figure(values, 'report.n_check', 'd')} check points in all",
        ),
        (
            "Loops close to",
            f"<b>{figure(values, 'loops.median_px', 's2', 'px')}</b>",
            f"median of {figure(values, 'report.n_loops', 'd')}; the largest "
            f"{figure(values, 'loops.largest_px', 's2', 'px')}"
            if report["n_loops"]
            else "there is none, so nothing checks the pairs",
        ),
        (
            "Pairs used",
            f"<b>{figure(values, 'report.n_used', 'd')}</b> of {figure(values, 'report.n_pairs', 'd')}",
            f"{figure(values, 'report.n_contradicting', 'd')} contradict the others, "
            f"{figure(values, 'report.n_not_proven', 'd')} not proven",
        ),
    ]
    cells = "".join(
        f"<div><dt>{name}</dt><dd class=big>{value}</dd><dd class=small>{small}</dd></div>"
        for name, value, small in tiles
    )
    return (
        f'<p class="badge {state}"><span aria-hidden="true">{sign}</span> {badge}</p>'
        f'<p class="verdict">{told(values, "report.summary")}.</p><dl class="key-figures">{cells}</dl>'
    )


def _sigma(values: dict[str, Any]) -> str:
    unit = values["unit"]
    own = "" if unit == "px" else f"{figure(values, 'report.sigma_px', 's2', unit, times='gsd')}; "
    return f"{own}standard deviation along an axis, median of the scenes"


def _name(values: dict[str, Any], k: int) -> str:
    return told(values, f"report.scenes.{k}.name")


def _care(values: dict[str, Any]) -> str:
    """What to take care of, and the pairs that contradict the others."""
    items = [told(values, f"warnings.{k}") for k in range(len(values["warnings"]))]
    items += [
        f"The pair {_name(values, pair['reference'])} and {_name(values, pair['target'])} departs from all others by "
        f"{figure(values, f'pairs.{p}.misclosure_px', 's2', 'px')} and was left out."
        for p, pair in enumerate(values["pairs"])
        if pair["state"] == "contradicts the others"
    ]
    return _aside("▲ Take care", items)


def _refusals(values: dict[str, Any]) -> str:
    """Scenes that were refused, with the reason."""
    items = [
        f"<b>{_name(values, k)}</b>: {told(values, f'scenes.{k}.error.message')}"
        for k in by_number(values)
        if values["scenes"][k]["error"] is not None
    ]
    return _aside("✕ Scenes without a correction", items, "refusals")


def _aside(title: str, items: list[str], class_: str = "") -> str:
    if not items:
        return ""
    listed = "".join(f"<li>{item}</li>" for item in items)
    return (
        f'<aside class="{f"care {class_}".strip()}" aria-label="{title[2:]}"><h2>{title}</h2><ul>{listed}</ul></aside>'
    )


def _drift(values: dict[str, Any]) -> str:
    """The corrections over time."""
    scenes, dated = values["scenes"], is_dated(values)
    if all(scene["model"] is None for scene in scenes):
        return ""
    names = axes_of(values["unit"])
    signs = '<b class="moved-sign">●</b> corrected'
    drawn = [scene for scene in scenes if scene["date"] or not dated]
    signs += ', <b class="held-sign">●</b> held where it is' if any(s["held"] for s in drawn) else ""
    signs += ', <b class="bad">✕</b> refused' if any(s["error"] for s in drawn) else ""
    lead = (
        "By how much each scene was moved in its middle. A bar is one standard deviation to either side; where none is seen, it "
        "is shorter than the mark is wide. Hover over a mark for its figures, which are in the table too."
    )
    beside = [k for k, scene in enumerate(scenes) if dated and scene["date"] is None]
    left = f" Held where it is, and not shown as it has no date: {', '.join(_name(values, k) for k in beside)}."
    caption = f'<span class="key-signs">{signs}</span>.'
    cards = [
        card(drift_chart(values, axis), caption + (left if beside else ""), f"Towards {names[axis]}") for axis in (0, 1)
    ]
    title = "Corrections over time" if dated else "Corrections"
    return section("drift", title, f'<div class="cards">{"".join(cards)}</div>', lead=lead)


def _pairs(values: dict[str, Any]) -> str:
    """The matrix of pairs."""
    if not values["pairs"]:
        return ""
    lead = (
        "Each cell is a pair of scenes that were matched with each other; its colour is by how much the two, as they are "
        "corrected, depart from what the pair alone says. Each pair stands on both sides of the diagonal."
    )
    own = (
        f"Beyond what its tie points explain, a pair errs by {figure(values, 'pair_sigma_px', 's2', 'px')} as a whole (one "
        "standard deviation)."
    )
    own = own if values["pair_sigma_px"] else "No pair errs as a whole beyond what its tie points explain."
    if values["report"]["n_contradicting"]:
        own += (
            " Whether a pair contradicts the others is judged by how well it is known: one that departs by less may, where one "
            "that departs by more does not."
        )
    return section("pairs", "Pairs", card(matrix_chart(values) + signs(values), own), lead=lead)


def _rmse(values: dict[str, Any]) -> str:
    """RMSE before and after."""
    if not values["report"]["n_corrected"]:
        return ""
    lead = (
        "Of tie points that were withheld from the fit, against the other scenes as they are corrected: how far they are apart "
        "before, and after."
    )
    gsd = "" if values["unit"] == "px" else f"A pixel is {figure(values, 'gsd', 's3', values['unit'])}."
    return section("rmse", "Before and after", card(rmse_chart(values), gsd), lead=lead)


def _scenes(values: dict[str, Any]) -> str:
    """The table of scenes."""
    unit = values["unit"]
    names = [f"{name}, {html.escape(unit)}" for name in axes_of(unit)]
    head = ["No.", "scene", "date", "verdict", "model", *names, "RMSE before, px", "after, px", "check points"]
    head += ["known to, px", *([] if unit == "px" else [f"known to, {html.escape(unit)}"]), "pairs"]
    rows = [_scene_row(values, k) for k in by_number(values)]
    lead = "Displacements are in the middle, to the east and north positive." if unit != "px" else ""
    return section("scenes", "Scenes", table(head, rows), lead=lead)


def _scene_row(values: dict[str, Any], k: int) -> list[str]:
    scene, at, own = values["scenes"][k], f"scenes.{k}", f"report.scenes.{k}"
    moved = scene["model"] is not None
    date = scene["date"]
    return [
        figure(values, f"{own}.number", "d"),
        _name(values, k),
        f'<time data-part-of="{at}.date">{day(date)}</time>' if date else "–",
        told(values, f"{at}.outcome"),
        told(values, f"{at}.model.kind") if moved else "–",
        *(figure(values, f"{own}.displacement.{axis}", "+s3") if moved else "–" for axis in (0, 1)),
        *(figure(values, f"{own}.{name}", "s3") for name in ("rmse_before_px", "rmse_after_px")),
        _count(values, f"{own}.n_check", scene["after"] is not None),
        figure(values, f"{at}.sigma_px", "s2"),
        *([] if values["unit"] == "px" else [figure(values, f"{own}.sigma", "s2")]),
        _count(values, f"{at}.n_pairs", not scene["held"]),
    ]


def _count(values: dict[str, Any], path: str, known: bool) -> str:
    return figure(values, path, "d") if known else "–"


def _unused(values: dict[str, Any]) -> str:
    """The table of pairs that are not used, the worst first."""
    order = {state: n for n, state in enumerate(reversed(STATE_WORDS))}
    order |= {"contradicts the others": -1}
    unused = [(p, pair) for p, pair in enumerate(values["pairs"]) if pair["state"] != "used"]
    unused.sort(key=lambda item: (order[item[1]["state"]], -(item[1]["misclosure_px"] or 0.0)))
    if not unused:
        return ""
    rows = [_pair_row(values, p) for p, _ in unused]
    listed = table(["pair", "what became of it", "departs by, px", "tie points", "why"], rows)
    if len(rows) > _OPEN_ROWS:
        listed = f'<details><summary>Show all <span data-count="unused">{len(rows)}</span></summary>{listed}</details>'
    return section("unused", "Pairs not used", listed)


def _pair_row(values: dict[str, Any], p: int) -> list[str]:
    pair, at = values["pairs"][p], f"pairs.{p}"
    why = {
        "contradicts the others": "The corrections that all other pairs agree on are not what it says.",
        "hangs on no other": "Nothing ties its two scenes to the others.",
    }.get(pair["state"], "–")
    return [
        f"{_name(values, pair['reference'])} with {_name(values, pair['target'])}",
        STATE_WORDS[pair["state"]],
        figure(values, f"{at}.misclosure_px", "s2"),
        _count(values, f"{at}.n_points", pair["n_points"] > 0),
        told(values, f"{at}.error") if pair["error"] else why,
    ]


def _made(values: dict[str, Any]) -> str:
    """By what it was made."""
    crs = CRS.from_wkt(values["crs"])
    versions = ", ".join(
        f"{html.escape(name)} {told(values, f'report.software.{name}')}" for name in values["report"]["software"]
    )
    rows = [
        ("Datum", told(values, "datum")),
        ("Working CRS", f'<span data-part-of="crs">{html.escape(crs.name)}</span>'),
        ("Working pixel", figure(values, "gsd", "s3", values["unit"])),
        ("Made", told(values, "report.made", tag="time")),
        ("By", versions),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return section(
        "provenance",
        "How this was made",
        f'<dl class="provenance">{listed}</dl>',
        '<p class="needs-script"><button type="button" data-download>Download result.json</button> '
        "The stack with all figures of this page.</p>",
    )
