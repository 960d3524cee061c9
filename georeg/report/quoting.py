"""The sections of a report that are quoted or kept: what standards have one say, and how the result was made."""

from __future__ import annotations

import html
from typing import Any

from pyproj import CRS

from georeg.report.figures import figure, told
from georeg.report.layout import section, table


def statements(values: dict[str, Any]) -> str:
    """What standards have one say, and what it means for change detection."""
    blocks = []
    for k, statement in enumerate(values["report"]["statements"]):
        at = f"report.statements.{k}"
        few = statement["n"] < statement["n_needed"]
        lacking = (
            f'<p class="lacking">▲ {figure(values, f"{at}.n", "d")} check points, the standard asks for '
            f"{figure(values, f'{at}.n_needed', 'd')}.</p>"
            if few
            else ""
        )
        title, text = (told(values, f"{at}.{key}") for key in ("standard", "text"))
        blocks.append(f"<article><h3>{title}</h3><p>{text}</p>{lacking}</article>")
    return section("statements", "To quote", f'<div class="statements">{"".join(blocks)}</div>') if blocks else ""


def false_change(values: dict[str, Any]) -> str:
    """What misregistration alone does to a difference of the two images."""
    if values["report"]["false_change"] is None:
        return ""
    at = "report.false_change"
    rows = [
        [name, *(figure(values, f"{at}.{key}_{when}", "%") for when in ("before", "after"))]
        for key, name in (
            ("expected", "difference expected from misregistration alone, of the reference's standard deviation"),
            ("observed", "difference there is, of the same"),
            ("share", "share of pixels that differ by no more than is expected"),
        )
    ]
    lead = told(values, f"{at}.text")
    return section("change", "For change detection", table(["", "before", "after"], rows), lead=lead)


def provenance(values: dict[str, Any], inputs: dict[str, Any] | None, at: str) -> str:
    """What was compared, by what, and the command that does it again; ``at`` is where command, time and software lie."""
    prefix = f"{at}." if at else ""
    rows = []
    for side, name in (("reference", "ref"), ("target", "tgt")):
        path = f"tie_points.inputs.{side}" if inputs else side
        numbers = range(len(inputs[f"{name}_bands"])) if inputs else ()
        bands = ", ".join(figure(values, f"tie_points.inputs.{name}_bands.{k}", "d") for k in numbers)
        bands = bands and f"; band {bands}"
        rows.append((side.capitalize(), f"{told(values, path, tag='code')}{bands}"))
    points = values.get("tie_points")
    if points:
        named = html.escape(_crs_name(points["crs"]))
        rows.append(("Working CRS", f'<span data-part-of="tie_points.crs">{named}</span>'))
        rows.append(
            (
                "Tie points",
                f"windows of {figure(values, 'tie_points.window_px', 'd')} pixels, sought within "
                f"{figure(values, 'tie_points.search_px', 's3', 'px')}; false matches {figure(values, 'tie_points.chance', '%')}",
            )
        )
    software = values["report"]["software"] if at else values["software"]
    versions = ", ".join(f"{html.escape(name)} {told(values, f'{prefix}software.{name}')}" for name in software)
    rows += [("Made", told(values, f"{prefix}made", tag="time")), ("By", versions)]
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    command = told(values, f"{prefix}command", tag="code")
    return section(
        "provenance",
        "How this was made",
        f'<dl class="provenance">{listed}</dl>',
        '<div class="command"><button type="button" class="needs-script" data-copy>Copy</button>',
        f'<pre tabindex="0" aria-label="Command that makes it again">{command}</pre></div>',
        '<p class="needs-script"><button type="button" data-download>Download result.json</button> '
        "All figures of this page, and those behind its charts.</p>",
    )


def _crs_name(wkt: str) -> str:
    crs = CRS.from_wkt(wkt)
    code, operation = crs.to_json_dict().get("id"), crs.coordinate_operation  # to look for one that it lacks takes long
    more = f"{code['authority']}:{code['code']}" if code else operation.method_name if operation is not None else ""
    return f"{crs.name} ({more})" if more else crs.name
