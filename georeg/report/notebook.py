"""An alignment in a notebook: a sentence, a table and a small map of residuals, as HTML without scripts."""

from __future__ import annotations

import html

import numpy as np
from pyproj import CRS

from georeg.accuracy import Accuracy
from georeg.fit import Fit, Role
from georeg.overlap import unit_name
from georeg.report.boards import round_length
from georeg.report.marks import ways

_SIDE, _MARGIN = 260.0, 16.0
_ARROW = 0.06
"""Length of a long arrow as a share of the map's longer side."""
_LONGEST = 0.15
"""No arrow is longer than this share."""
_MOST_ARROWS = 600
_CELL = '<td style="text-align:right">'
_CHECK, _FIT = "#D55E00", "#0072B2"


def notebook_html(fitted: Fit, sentence: str, before: Accuracy, after: Accuracy) -> str:
    """What a notebook shows of a fit that is proven.

    Parameters
    ----------
    fitted
        The tie points and what the model leaves of them.
    sentence
        What was found, plain text without its full stop.
    before, after
        Accuracies of the check points.
    """
    crs = CRS.from_wkt(fitted.points.crs)
    unit, (east, north) = unit_name(crs), ways(crs)
    rows = [
        ("RMSE", *(_length(found.rmse, unit, found.gsd) for found in (before, after))),
        ("CE90", *(_length(found.ce90, unit, found.gsd) for found in (before, after))),
        (f"bias {east}", *(_length(found.bias_x, unit, found.gsd, "+.2g") for found in (before, after))),
        (f"bias {north}", *(_length(found.bias_y, unit, found.gsd, "+.2g") for found in (before, after))),
    ]
    cells = "".join(f"<tr><th>{name}</th>{_CELL}{a}</td>{_CELL}{b}</td></tr>" for name, a, b in rows)
    return (
        f"<div><p><b>georeg:</b> {html.escape(sentence)}.</p>"
        '<div style="display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start">'
        f"<table><thead><tr><th>{after.n} check points</th><th>before</th><th>after</th></tr></thead>"
        f"<tbody>{cells}</tbody></table>{_map(fitted, unit)}</div></div>"
    )


def _length(length: float, unit: str, gsd: float, form: str = ".3g") -> str:
    in_px = "" if unit == "px" else f" ({length / gsd:{form.replace('3', '2')}} px)"
    return html.escape(f"{length:{form}} {unit}{in_px}")


def _map(fitted: Fit, unit: str) -> str:
    """SVG of the tie points used, with what the model leaves of each as a line from its mark."""
    known = np.asarray(~np.isnan(fitted.withheld_xy).any(axis=1))
    used = np.flatnonzero(known | (fitted.role == Role.FIT))
    if not len(used):
        return ""
    used = used[:: -(-len(used) // _MOST_ARROWS)]
    residual = np.where(known[:, None], fitted.withheld_xy, fitted.residual())[used]
    xy, checks = fitted.points.ref_xy[used], known[used]
    low, span = xy.min(axis=0), float(np.ptp(xy, axis=0).max()) or 1.0
    per_unit = (_SIDE - 2 * _MARGIN) / span
    height = float(np.ptp(xy[:, 1])) * per_unit + 2 * _MARGIN
    typical = float(np.quantile(np.hypot(*residual.T), 0.9)) or 1.0
    times = round_length(_ARROW * span / typical)
    longest = _LONGEST * span / times
    shrunk = residual * np.minimum(1, longest / np.maximum(np.hypot(*residual.T), 1e-300))[:, None]
    marks = []
    for at, arrow, check in zip((xy - low) * per_unit, shrunk * times * per_unit, checks, strict=True):
        x, y = _MARGIN + at[0], height - _MARGIN - at[1]
        colour = _CHECK if check else _FIT
        marks.append(
            f'<path d="M{x:.1f} {y:.1f}l{arrow[0]:.1f} {-arrow[1]:.1f}" stroke="{colour}"/>'
            + (
                f'<rect x="{x - 1.8:.1f}" y="{y - 1.8:.1f}" width="3.6" height="3.6" fill="{colour}"/>'
                if check
                else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6" fill="{colour}"/>'
            )
        )
    width = span * _SIDE / (_SIDE - 2 * _MARGIN)
    ground = f"{width / 1000:.3g} km" if unit == "m" and width >= 1000 else f"{width:.0f} {unit}"
    told = (
        f"residuals after correction, drawn {times:g} times as long; squares: check points, circles: points of the fit"
    )
    return (
        f'<figure style="margin:0;max-width:{_SIDE:.0f}px"><svg width="{_SIDE:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {_SIDE:.0f} {height:.0f}" role="img" aria-label="{told}" stroke-width="1" '
        f'xmlns="http://www.w3.org/2000/svg"><rect width="100%" height="100%" fill="white" stroke="#808080"/>'
        f'{"".join(marks)}</svg><figcaption style="font-size:small">{told}; the '
        f"map is {html.escape(ground)} wide</figcaption></figure>"
    )
