"""The report as one HTML file that needs no network: `page` of an alignment, `refusal_page` of a refusal."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
from importlib.resources import files
from typing import Any

import numpy as np

from georeg.report import quoting, sections
from georeg.report.chips import Pictures
from georeg.report.figures import told
from georeg.report.frame import Extent
from georeg.report.layout import section
from georeg.report.maps import legend, tie_point_map
from georeg.report.ties import Ties, ties_of, ties_of_refusal
from georeg.report.viewers import middle, places


def page(values: dict[str, Any], pictures: Pictures) -> str:
    """HTML of an alignment.

    Parameters
    ----------
    values
        `Alignment.to_dict`, with `Findings.to_dict` under the key ``report``: every figure of the page is from there.
    pictures
        Of the overlap, and of the places that the findings name.
    """
    ties = ties_of(values)
    looked = places(values, pictures)
    lead = (
        "The check point that fits best, the one in the middle of the order and the one that fits worst, at full resolution. "
        "Where edges jump between the two sides, the images do not overlay."
    )
    parts = [
        sections.warnings(values),
        section("places", "Before and after", looked, lead=lead) if looked else "",
        sections.ground(ties, pictures.overview, pictures.extent),
        sections.residuals(values, ties),
        sections.patterns(values, ties),
        sections.model(values),
        sections.certainty(values, ties),
        sections.likeness(values, ties, pictures.extent),
        quoting.statements(values),
        quoting.false_change(values),
        quoting.provenance(values, values["tie_points"]["inputs"], "report"),
    ]
    inputs = values["tie_points"]["inputs"]
    return _document(values, inputs, sections.headline(values), parts)


def refusal_page(values: dict[str, Any], pictures: Pictures | None) -> str:
    """HTML of a refusal: why, what to do next, and the two rasters as they lie where there are ``pictures``.

    Parameters
    ----------
    values
        The JSON of a refusal.
    """
    ties = ties_of_refusal(values)
    looked = middle(pictures) if pictures is not None else ""
    lead = "Both rasters where their georeferencing puts them, without a correction."
    extent = _extent(ties) if pictures is None else pictures.extent
    parts = [
        section("places", "As the two lie", looked, lead=lead) if looked else "",
        _found(ties, pictures, extent) if ties is not None and extent is not None else "",
        quoting.provenance(values, (values.get("tie_points") or {}).get("inputs"), ""),
    ]
    top = (
        '<p class="badge bad"><span aria-hidden="true">✕</span> REFUSED</p>'
        f'<p class="verdict">{told(values, "message")}</p>'
        "<p>No output was written. georeg refuses what it cannot show to be right; the sentence says why, and after its "
        f"semicolon or colon what to try next. Programs know it as {told(values, 'error', tag='code')}.</p>"
    )
    return _document(values, values, top, parts)


def _found(ties: Ties, pictures: Pictures | None, extent: Extent) -> str:
    overview = pictures.overview if pictures is not None else None
    drawn = f'<div class="map-box">{tie_point_map(ties, overview, extent)}</div>'
    lead = (
        "What was tried as a tie point, and what became of it: nothing here is proven. Arrows point from where the target shows "
        "a place to where the reference does."
    )
    return section("map", "Tie points", f'<div class="with-legend">{drawn}<div>{legend(ties)}</div></div>', lead=lead)


def _extent(ties: Ties | None) -> Extent | None:
    """Of the tie points, where there is no picture of the ground."""
    if ties is None:
        return None
    low, high = ties.ref_xy.min(axis=0), ties.ref_xy.max(axis=0)
    margin = 0.03 * float((high - low).max()) + ties.gsd
    low, high = low - margin, high + margin
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _document(values: dict[str, Any], inputs: dict[str, Any], top: str, parts: list[str]) -> str:
    names = [os.path.basename(str(inputs[side]).replace("\\", "/")) for side in ("target", "reference")]
    said = html.escape(f"{names[0]}"), html.escape(f"{names[1]}")
    heading = f"<span>{said[0]}</span> <small>onto</small> <span>{said[1]}</span>"
    return document(values, f"{names[0]} onto {names[1]}", heading, top, parts)


def document(
    values: dict[str, Any], title: str, heading: str, top: str, parts: list[str], styles: tuple[str, ...] = ()
) -> str:
    """The whole file.

    Parameters
    ----------
    values
        What it holds as JSON.
    title
        Text.
    heading, top, parts
        Markup of the heading, the verdict, and the sections; empty ones are left out.
    styles
        Names of style sheets of this package that come after that of all pages.
    """
    sheets = [files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.css", *styles)]
    style, script = "".join(sheets), files(__package__).joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)} – georeg</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header><p class="by">georeg report</p><h1>{heading}</h1></header>\n<main>\n'
        f'<section id="verdict" aria-label="Verdict">{top}</section>\n'
        + "\n".join(part for part in parts if part)
        + f'\n</main>\n<div id="tip" role="status" hidden></div>\n'
        f'<script type="application/json" id="result">{_embedded(values)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _embedded(values: dict[str, Any]) -> str:
    """JSON that cannot end the element that it stands in; numbers that JSON does not have are null."""
    return json.dumps(_finite(values), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
