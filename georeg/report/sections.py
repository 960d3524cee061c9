"""The sections of a report, each from the values of a result to markup; one that has nothing to show is empty."""

from __future__ import annotations

from typing import Any

from georeg.report.charts import bins_chart, histogram_chart, quantile_chart, radial_chart
from georeg.report.figures import figure, length, told
from georeg.report.frame import Extent
from georeg.report.ground import sigma_map, tiles_map, varies
from georeg.report.layout import card, section, table
from georeg.report.maps import legend, tie_point_map
from georeg.report.ties import Ties

_KINDS = {
    "translation": "translation",
    "polynomial2": "polynomial, degree two",
    "polynomial3": "polynomial, degree three",
}
UNLIKELY = 0.01
"""A pattern along rows or columns that chance makes less often than this is said to be one."""


def headline(values: dict[str, Any]) -> str:
    """The verdict, and the figures that most people want."""
    unit = values["unit"]
    rmse = f'<b class="after">{figure(values, "report.after.rmse", "s2", "px")}</b>'
    if values["verdict"] != "already aligned":
        rmse = f'<b class="before">{figure(values, "report.before.rmse", "s2")}</b> → {rmse}'
    tiles = [
        (
            "RMSE of check points",
            rmse,
            _in_unit(values, "rmse"),
        ),
        (
            "CE90",
            f"<b>{figure(values, 'report.after.ce90', 's2', 'px')}</b>",
            _in_unit(values, "ce90", only_after=True),
        ),
        (
            "Check points",
            f"<b>{figure(values, 'after.n', 'd')}</b>",
            f"{figure(values, 'after.n_excluded', 'd')} left out",
        ),
        (
            "Mean displacement",
            f"<b>{figure(values, 'displacement.0', '+s3', unit)}</b> {_axes(unit)[0]}",
            f"<b>{figure(values, 'displacement.1', '+s3', unit)}</b> {_axes(unit)[1]}",
        ),
        (
            "Probability by chance",
            f"<b>{figure(values, 'verification.log10_chance', 'power')}</b>",
            f"{figure(values, 'verification.n_agreeing', 'd')} of {figure(values, 'verification.n_checked', 'd')} agree within "
            f"{figure(values, 'verification.tolerance_px', 's2', 'px')}",
        ),
    ]
    cells = "".join(
        f"<div><dt>{name}</dt><dd class=big>{value}</dd><dd class=small>{small}</dd></div>"
        for name, value, small in tiles
    )
    badge = "ALREADY ALIGNED" if values["verdict"] == "already aligned" else "CORRECTION PROVEN"
    return (
        f'<p class="badge good"><span aria-hidden="true">✓</span> {badge}</p>'
        f'<p class="verdict">{told(values, "report.verdict")}</p><dl class="key-figures">{cells}</dl>'
    )


def _axes(unit: str) -> tuple[str, str]:
    return ("right", "up") if unit == "px" else ("east", "north")


def _in_unit(values: dict[str, Any], name: str, *, only_after: bool = False) -> str:
    unit = values["unit"]
    if unit == "px":
        return "on check points"
    after = figure(values, f"after.{name}", "s2", unit)
    return (
        after
        if only_after or values["verdict"] == "already aligned"
        else f"{figure(values, f'before.{name}', 's2')} → {after}"
    )


def warnings(values: dict[str, Any]) -> str:
    """What to take care of; what is out of the ordinary in the correction is said there as well."""
    paths = [f"warnings.{k}" for k in range(len(values["warnings"]))]
    paths += [f"report.decomposition.anomalies.{k}" for k in range(len(values["report"]["decomposition"]["anomalies"]))]
    items = "".join(f"<li>{told(values, path)}</li>" for path in paths)
    if not items:
        return ""
    return f'<aside class="care" aria-label="Take care"><h2>▲ Take care</h2><ul>{items}</ul></aside>'


def ground(ties: Ties, overview: Any, extent: Extent) -> str:
    """The map of the tie points."""
    lead = (
        "Each mark is a tie point. An arrow points from where the corrected target shows it to where the reference does: "
        "its residual. Hover or tap a mark for its figures, or step through them with the arrow keys; a click in the legend "
        "hides what it names."
    )
    choice = (
        '<div class="segments needs-script" role="group" aria-label="Arrows">'
        '<button type="button" data-arrows-of="after" aria-pressed="true">Residuals after</button>'
        '<button type="button" data-arrows-of="before" aria-pressed="false">Residuals before</button></div>'
    )
    drawn = f'<div class="map-box">{tie_point_map(ties, overview, extent)}</div>'
    return section(
        "map", "Tie points", f'<div class="with-legend">{drawn}<div>{legend(ties)}{choice}</div></div>', lead=lead
    )


def residuals(values: dict[str, Any], ties: Ties) -> str:
    """How large the errors of the check points are, and how distributed."""
    radial = (
        f"Half of the check points lie within {length(values, 'report.after.median', 'after.gsd')}, CE90 is "
        f"{length(values, 'report.after.ce90', 'after.gsd')} and CE95 {length(values, 'report.after.ce95', 'after.gsd')}, the "
        f"largest {length(values, 'report.after.largest', 'after.gsd')}. Before, CE90 was "
        f"{length(values, 'report.before.ce90', 'after.gsd')}."
    )
    histograms = [
        card(
            histogram_chart(ties, axis),
            f"Mean {figure(values, f'after.bias_{name}', '+s2', values['unit'])}, RMSE "
            f"{figure(values, f'after.rmse_{name}', 's3', values['unit'])}; before, mean "
            f"{figure(values, f'before.bias_{name}', '+s3', values['unit'])}.",
            f"Towards {ties.axes[axis]}",
        )
        for axis, name in enumerate("xy")
    ]
    quantiles = (
        "Where marks follow the line, errors are as large as they are said to be, and as mismatches are rare. Steeper: larger "
        "than said; flatter: smaller. The band holds nineteen of twenty marks."
    )
    rows = [
        [
            name,
            *(figure(values, f"report.{when}.{key}", "s3") for when in ("before", "after")),
            *_unit_cells(values, key),
        ]
        for key, name in (
            ("rmse", "RMSE"),
            ("median", "median"),
            ("ce90", "CE90"),
            ("ce95", "CE95"),
            ("largest", "largest"),
        )
    ]
    units = [] if values["unit"] == "px" else [f"before, {values['unit']}", f"after, {values['unit']}"]
    lead = (
        f"Of {figure(values, 'after.n', 'd')} check points: tie points that the model took no part in. "
        f"A pixel is {figure(values, 'after.gsd', 's3', values['unit'])}."
    )
    return section(
        "residuals",
        "Errors that remain",
        '<div class="cards">',
        card(radial_chart(ties, values), radial, "Radial error"),
        *histograms,
        card(quantile_chart(ties), quantiles, "As large as expected?"),
        "</div>",
        table(["radial", "before, px", "after, px", *units], rows),
        lead=lead,
    )


def _unit_cells(values: dict[str, Any], key: str) -> list[str]:
    if values["unit"] == "px":
        return []
    return [figure(values, f"report.{when}.{key}", "s3", times="after.gsd") for when in ("before", "after")]


def patterns(values: dict[str, Any], ties: Ties) -> str:
    """Errors along rows and columns."""
    cards = []
    for number, bins in enumerate(values["report"]["bins"]):
        at = f"report.bins.{number}"
        rare = bins["chance"] < UNLIKELY
        words = (
            "<strong>There is a pattern</strong>: jitter or banding of the sensor, or a bend that the model does not follow."
            if rare
            else "No pattern is shown."
        )
        chance = f"Means differ as much by chance with probability {figure(values, f'{at}.chance', 's2')}. {words}"
        cards.append(card(bins_chart(bins, ties.axes), chance, f"Against the {bins['axis']}"))
    if not cards:
        return ""
    lead = "Jitter of the platform shows against rows of most scanners, banding of detectors against columns."
    return section("patterns", "Along rows and columns", f'<div class="cards">{"".join(cards)}</div>', lead=lead)


def model(values: dict[str, Any]) -> str:
    """The correction in words, and the models that were considered."""
    at = "report.decomposition"
    words = "".join(
        f"<li>{told(values, f'{at}.words.{k}')}</li>" for k in range(len(values["report"]["decomposition"]["words"]))
    )
    candidates, still = values["candidates"], values["verdict"] == "already aligned"
    rows, marked, flawed = [], None, any(candidate.get("flaw") for candidate in candidates)
    for k, candidate in enumerate(candidates):
        taken = candidate["kind"] == values["model"]["kind"] and not still
        marked = k if taken else marked
        flaw = told(values, f"candidates.{k}.flaw") if candidate.get("flaw") else ""
        rows.append(
            [
                told(values, f"candidates.{k}.kind") + (" <strong>✓ taken</strong>" if taken else ""),
                figure(values, f"candidates.{k}.freedom", ".3g"),
                figure(values, f"candidates.{k}.cv_rmse_px", "s3"),
                figure(values, f"candidates.{k}.check_rmse_px", "s3"),
                figure(values, f"candidates.{k}.aicc", ".1f"),
                *([flaw] if flawed else []),
            ]
        )
    head = ["model", "unknowns", "RMSE of withheld ground, px", "RMSE of check points, px", "ΔAICc"]
    head += ["not taken because"] if flawed else []
    moved = "Nothing was moved: the correction cannot be told from none. " if still else ""
    lead = (
        moved
        + "The simplest model that withheld ground does not improve on is taken; AICc is for comparison and decides nothing."
    )
    return section(
        "model", "The correction", f'<ul class="words">{words}</ul>', table(head, rows, marked=marked), lead=lead
    )


def certainty(values: dict[str, Any], ties: Ties) -> str:
    """The map of the model's own uncertainty; a sentence where it is the same everywhere."""
    sigma, at = values["report"]["sigma"], "report.sigma"
    lead = (
        f"By the covariance of the model, positions are uncertain by {length(values, f'{at}.median_px', 'after.gsd')} in "
        f"the median and {length(values, f'{at}.largest_px', 'after.gsd')} at most (one standard deviation, both axes together)."
    )
    drawn = card(sigma_map(sigma, ties), "Dots are tie points: away from them it grows.") if varies(sigma) else ""
    lead += "" if drawn else " It is the same everywhere."
    return section("certainty", "How certain the correction is", drawn, lead=lead)


_LIKENESS = {
    "ncc": ("correlation (NCC)", "one is alike"),
    "ssim": ("structural similarity (SSIM)", "one is alike"),
    "mse": ("squared difference (MSE, share of variance)", "nought is alike"),
    "nmi": ("mutual information (normalised)", "one to two"),
}


def likeness(values: dict[str, Any], ties: Ties, extent: Extent) -> str:
    """How alike the images are before and after, tile by tile."""
    similarity = values["report"]["similarity"]
    if similarity is None:
        return ""
    at = "report.similarity"
    rows = [
        [name, *(figure(values, f"{at}.{when}.{key}", "s3") for when in ("before", "after")), note]
        for key, (name, note) in _LIKENESS.items()
    ]
    cards = [
        card(
            tiles_map(similarity, when, ties, extent),
            f"Median {figure(values, f'{at}.{when}.ncc', 's3')}. White ground was not compared.",
            when.capitalize(),
        )
        for when in ("before", "after")
    ]
    lead = (
        f"Medians over tiles of {figure(values, f'{at}.tile_px', 'd')} pixels a side. What changed on the ground lowers all of "
        "these, before and after alike."
    )
    head = ["measure", "before", "after", ""]
    return section(
        "likeness",
        "How alike the images are",
        table(head, rows),
        f'<div class="cards">{"".join(cards)}</div>',
        lead=lead,
    )
