"""Pictures of a place, reference beside uncorrected and corrected target; a script makes a viewer of them."""

from __future__ import annotations

import html
from typing import Any

from georeg.report.chips import Chip, Pictures
from georeg.report.encoded import data_uri
from georeg.report.figures import figure, length
from georeg.report.svg import round_below, tick_label

NAMES = {"reference": "Reference", "before": "Before", "after": "After"}
_PLACES = {"best": "Best place", "median": "Median place", "worst": "Worst place", "middle": "Middle of the overlap"}


def viewer(chip: Chip, names: list[str], title: str, caption: str, pictures: Pictures) -> str:
    """A figure of the pictures of one place, with a scale bar; ``title`` is text and ``caption`` markup."""
    height, width = chip.reference.shape
    bar_length = round_below(0.3 * width * pictures.gsd)
    bar = (
        f'<span class="scale" style="width:{100 * bar_length / (pictures.gsd * width):.2f}%">'
        f'<i class="scale-bar">{_round_length(bar_length, pictures.unit)}</i></span>'
    )
    views = "".join(
        f'<div class="view" data-view="{name}"><img src="{data_uri(getattr(chip, name), exact=True)}" width="{width}" '
        f'height="{height}" alt="{NAMES[name]}, {title.lower()}">{bar}<span class="side {name}">{NAMES[name]}</span></div>'
        for name in names
    )
    at = ",".join(f"{v:.2f}" for v in chip.at_px)
    return (
        f'<figure class="place" data-at="{at}" data-gsd="{pictures.gsd!r}" data-unit="{html.escape(pictures.unit)}">'
        f'<h3>{html.escape(title)}</h3><div class="views">{views}</div><figcaption>{caption}</figcaption></figure>'
    )


def _round_length(length: float, unit: str) -> str:
    return f"{length / 1000:g} km" if unit == "m" and length >= 1000 else f"{tick_label(length)} {html.escape(unit)}"


def places(values: dict[str, Any], pictures: Pictures) -> str:
    """The best, the median and the worst check point."""
    by_kind = {chip.kind: chip for chip in pictures.chips}
    drawn = [
        viewer(by_kind[place["kind"]], list(NAMES), _PLACES[place["kind"]], _caption(values, number), pictures)
        for number, place in enumerate(values["report"]["places"])
        if place["kind"] in by_kind
    ]
    return f'<div class="places">{"".join(drawn)}</div>' if drawn else ""


def middle(pictures: Pictures) -> str:
    """Both rasters as they lie, where no place is better than another."""
    caption = "In the middle of the ground that both rasters say they show."
    drawn = [viewer(chip, ["reference", "before"], _PLACES["middle"], caption, pictures) for chip in pictures.chips]
    return f'<div class="places">{"".join(drawn)}</div>' if drawn else ""


def _caption(values: dict[str, Any], number: int) -> str:
    at = f"report.places.{number}"
    unit = values["unit"]
    digits = ".1f" if unit in ("m", "ft", "px") else "s6"
    residuals = [length(values, f"{at}.{when}_px", "after.gsd") for when in ("before", "after")]
    return (
        f'Residual of this check point: <b class="before">{residuals[0]}</b> before, '
        f'<b class="after">{residuals[1]}</b> after. At {figure(values, f"{at}.xy.0", digits)}, '
        f"{figure(values, f'{at}.xy.1', digits, unit)}; tie point {figure(values, f'{at}.point', 'd')}."
    )
