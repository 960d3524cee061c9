"""The table at the end of a stack, for whoever sits at the terminal."""

from __future__ import annotations

import numpy as np

from georeg.lazily import Lazily
from georeg.overlap import unit_name
from georeg.stack_result import Stack, StackScene
from georeg.terminal import error_console

box, rich, text = Lazily("rich.box"), Lazily("rich.table"), Lazily("rich.text")
_STYLES = {
    "aligned": "bold green",
    "already aligned": "bold cyan",
    "refused": "bold red",
    "over a limit": "bold yellow",
    "held": "dim",
}
_TITLES = ("scene", "date", "verdict", "model", "displacement", "RMSE\nbefore", "RMSE\nafter", "known to", "pairs")


def show_stack(stack: Stack) -> None:
    """One row for each scene."""
    table = rich.Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in _TITLES:
        table.add_column(title, justify="left" if title in ("scene", "date", "verdict", "model") else "right")
    for scene in stack.scenes:
        table.add_row(*_row(stack, scene))
    error_console().print(table)


def _row(stack: Stack, scene: StackScene) -> list[object]:
    date = "-" if scene.date is None else scene.date.date().isoformat()
    verdict = text.Text(scene.outcome, _STYLES[scene.outcome])
    cells: list[object] = [scene.name, date, verdict]
    alignment = scene.alignment
    if alignment is None:
        return [*cells, *["-"] * 6]
    unit = unit_name(alignment.crs)
    east, north = alignment.displacement()
    px = [f"{found.rmse / found.gsd:.2g} px" for found in (alignment.before, alignment.after)]
    moved = f"{east:+.2f} {unit} E\n{north:+.2f} {unit} N\n({np.hypot(east, north) / stack.gsd:.2g} px)"
    return [*cells, alignment.model.kind, moved, *px, f"{scene.sigma_px:.2g} px", str(scene.n_pairs)]
