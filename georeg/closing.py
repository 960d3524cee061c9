"""The table at the end of a run, for whoever sits at the terminal: it stands on standard error, beside the sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from georeg.alignment import Alignment
from georeg.lazily import Lazily
from georeg.overlap import unit_name
from georeg.report.marks import ways
from georeg.scene import Outcome, Scene
from georeg.terminal import error_console

box, rich, text = Lazily("rich.box"), Lazily("rich.table"), Lazily("rich.text")
_SPARED = ("overlap", "bias_after", "rmse_before", "model", "ce90_after", "check_points")
"""Columns that a narrow terminal does without, the first of them first."""
_ENDLESS = 10_000
_LEAST_NAME = 12
"""Columns of a terminal for the name of a scene."""
_STYLES: dict[Outcome, str] = {
    "aligned": "bold green",
    "already aligned": "bold cyan",
    "refused": "bold red",
    "over a limit": "bold yellow",
    "failed": "bold red",
}


@dataclass(frozen=True)
class Row:
    """What a table says of one scene, in words: so little can be kept of thousands of them."""

    scene: str
    verdict: Outcome
    model: str = "-"
    check_points: str = "-"
    rmse_before: str = "-"
    rmse_after: str = "-"
    ce90_after: str = "-"
    bias_after: str = "-"
    overlap: str = "-"


def row(scene: Scene) -> Row:
    """Of one scene of a batch; without figures where nothing was found."""
    found = scene.figures
    if found is None:
        return Row(scene.name, scene.outcome)
    unit, gsd = found["unit"], found["gsd"]
    figures = [_stacked(found[name], unit, gsd) for name in ("rmse_before", "rmse", "ce90")]
    east, north = found["bias"]
    return Row(
        scene.name,
        scene.outcome,
        found["model"],
        str(found["n_check_points"]),
        figures[0],
        figures[1],
        figures[2],
        f"{east:+.2g} {unit} E\n{north:+.2g} {unit} N",
        f"{found['overlap']:.0%}",
    )


def measured(length: float, unit: str, gsd: float) -> str:
    """A length in map units and in working pixels, which are the same where there is no map.

    >>> measured(0.1234, "m", 10.0), measured(64.52, "m", 10.0), measured(0.5, "px", 1.0)
    ('0.123 m (0.012 px)', '64.5 m (6.5 px)', '0.5 px')
    """
    return f"{length:.3g} {unit}" + ("" if unit == "px" else f" ({length / gsd:.2g} px)")


def _stacked(length: float, unit: str, gsd: float) -> str:
    """In two lines, for a narrow column."""
    return measured(length, unit, gsd).replace(" (", "\n").rstrip(")")


def show_alignment(alignment: Alignment) -> None:
    """The figures of one alignment, before and after."""
    unit, both = unit_name(alignment.crs), (alignment.before, alignment.after)
    points, after = alignment.points, alignment.after
    table = rich.Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"[{_STYLES[alignment.verdict]}]{alignment.verdict}")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right", style="bold")
    for name in ("rmse", "ce90"):
        table.add_row(name.upper(), *(measured(getattr(found, name), unit, found.gsd) for found in both))
    for name, way in zip(("bias_x", "bias_y"), ways(alignment.crs), strict=True):
        table.add_row(f"bias {way}", *(_signed(getattr(found, name), unit, found.gsd) for found in both))
    excluded = f", {after.n_excluded} left out" if after.n_excluded else ""
    table.add_section()
    table.add_row("model", "", alignment.model.kind)
    table.add_row("check points", "", f"{after.n}{excluded}")
    table.add_row("tie points", "", f"{int(points.kept.sum())} of {len(points)}")
    table.add_row("overlap", "", f"{alignment.geometry.overlap:.0%}")
    error_console().print(table)


def _signed(length: float, unit: str, gsd: float) -> str:
    return f"{length:+.2g} {unit}" + ("" if unit == "px" else f" ({length / gsd:+.2g} px)")


def show_scenes(rows: Sequence[Row]) -> None:
    """One row for each scene of a batch; on a narrow terminal without the columns that say least."""
    screen, names = error_console(), [field.name for field in fields(Row)]
    folded, endless = (
        [replace(one, scene=one.scene[:_LEAST_NAME]) for one in rows],
        screen.options.update(width=_ENDLESS),
    )
    for spared in range(len(_SPARED) + 1):
        shown = [name for name in names if name not in _SPARED[:spared]]
        if screen.measure(_scenes(folded, shown), options=endless).maximum <= screen.width:
            break
    screen.print(_scenes(rows, shown))


def _scenes(rows: Sequence[Row], names: Sequence[str]) -> Any:
    """A table of some fields of the rows, of whose cells only names of scenes may be broken."""
    table = rich.Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        title = name.replace("_", "\n").replace("rmse", "RMSE").replace("ce90", "CE90")
        right = name not in ("scene", "verdict", "model")
        broken = {"overflow": "fold", "min_width": _LEAST_NAME} if name == "scene" else {"no_wrap": True}
        table.add_column(title, justify="right" if right else "left", **broken)
    for one in rows:
        cells = [
            text.Text(str(getattr(one, name)), _STYLES[one.verdict] if name == "verdict" else "") for name in names
        ]
        table.add_row(*cells)
    return table
