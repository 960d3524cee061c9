"""How QGIS draws tie points and their residual arrows, as QML; each entry of the legend says what it means."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from georeg.tie_points import Status

ROLES = {
    "kept": ("kept", "#1a9641", "circle"),
    "fit": ("used by the fit", "#1a9641", "circle"),
    "check": ("check point, withheld from the fit", "#2b83ba", "diamond"),
    "pinned": ("pinned by hand, and kept in the fit", "#762a83", "square"),
    "outlier": ("outlier: the fit found it inconsistent with the others", "#d7191c", "cross2"),
}
"""Legend, colour and marker of what a tie point did."""
REJECTED = {
    Status.MASKED: ("rejected: too few valid pixels", "#7f7f7f"),
    Status.LOW_TEXTURE: ("rejected: too little texture", "#b2abd2"),
    Status.WEAK_PEAK: ("rejected: no better than places that do not correspond", "#fdae61"),
    Status.INCONSISTENT: ("rejected: two estimates of it disagree", "#e66101"),
    Status.OUT_OF_RANGE: ("rejected: further away than was searched", "#8c510a"),
    Status.AMBIGUOUS_PEAK: ("rejected: another place fits about as well", "#c51b7d"),
    Status.DISABLED: ("switched off by hand", "#404040"),
}
"""Legend and colour of why a tie point was rejected."""
WHAT = 'CASE WHEN "role" = \'rejected\' OR "status" = \'pinned\' THEN "status" ELSE "role" END'
"""QGIS expression by which points are told apart."""


def points_qml(occurring: set[str]) -> str:
    """Style of the tie points, by role and by reason of rejection; the legend lists only what is ``occurring``."""
    looks = {role: (label, colour, shape, 2.2) for role, (label, colour, shape) in ROLES.items()}
    for status in Status:
        if status not in (Status.KEPT, Status.PINNED):
            label, colour = REJECTED.get(status, (f"rejected: {status.name.lower().replace('_', ' ')}", "#404040"))
            looks[status.name.lower()] = (label, colour, "cross2", 1.6)
    shown = {name: look for name, look in looks.items() if name in occurring}
    symbols = [_marker(*look[1:]) for look in shown.values()]
    return _categorized(WHAT, {name: look[0] for name, look in shown.items()}, symbols, "marker")


def arrows_qml(exaggeration: float, occurring: set[str]) -> str:
    """Style of the residual arrows, by role; the legend says how many times as long as the residual they are drawn."""
    shown = {role: look for role, look in ROLES.items() if role in occurring}
    times = f"drawn {exaggeration:,.6g} times as long"
    said = {"check": f"residual of a check point, {times}", "outlier": f"residual of an outlier, at most {times}"}
    labels = {role: said.get(role, f"residual of a point used by the fit, {times}") for role in shown}
    return _categorized('"role"', labels, [_arrow(k, look[1]) for k, look in enumerate(shown.values())], "line")


def _categorized(attribute: str, labels: dict[str, str], symbols: list[str], kind: str) -> str:
    categories = "".join(
        f'<category render="true" symbol="{k}" value={quoteattr(value)} label={quoteattr(label)} type="string"/>'
        for k, (value, label) in enumerate(labels.items())
    )
    drawn = "".join(
        f'<symbol type="{kind}" name="{k}" alpha="1" clip_to_extent="1" force_rhr="0">{layer}</symbol>'
        for k, layer in enumerate(symbols)
    )
    return (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">\n'
        '<qgis version="3.22.0" styleCategories="Symbology">'
        f'<renderer-v2 type="categorizedSymbol" attr={quoteattr(attribute)} enableorderby="0" forceraster="0" symbollevels="0">'
        f"<categories>{categories}</categories><symbols>{drawn}</symbols></renderer-v2></qgis>\n"
    )


def _marker(colour: str, shape: str, size_mm: float) -> str:
    outline = colour if shape == "cross2" else "#ffffff"
    options = {
        "name": shape, "color": _rgba(colour), "outline_color": _rgba(outline), "size": size_mm, "size_unit": "MM",
        "outline_width": 0.5 if shape == "cross2" else 0.2, "outline_width_unit": "MM", "outline_style": "solid",
    }  # fmt: skip
    return _layer("SimpleMarker", options)


def _arrow(number: int, colour: str) -> str:
    fill = f'<symbol type="fill" name="@{number}@0" alpha="1" clip_to_extent="1" force_rhr="0">' + _layer(
        "SimpleFill", {"color": _rgba(colour), "outline_style": "no", "style": "solid"}
    )
    options = {
        "arrow_type": 0, "head_type": 0, "is_curved": 0, "is_repeated": 0, "arrow_width": 0.5, "arrow_start_width": 0.5,
        "head_length": 1.8, "head_thickness": 0.9, "arrow_width_unit": "MM", "arrow_start_width_unit": "MM",
        "head_length_unit": "MM", "head_thickness_unit": "MM",
    }  # fmt: skip
    return _layer("ArrowLine", options, fill + "</symbol>")


def _layer(kind: str, options: dict[str, object], inner: str = "") -> str:
    listed = "".join(f'<Option type="QString" name="{name}" value="{value}"/>' for name, value in options.items())
    return f'<layer class="{kind}" enabled="1" locked="0" pass="0"><Option type="Map">{listed}</Option>{inner}</layer>'


def _rgba(colour: str) -> str:
    return ",".join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5)) + ",255"
