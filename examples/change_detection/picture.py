"""The picture of two dates compared: before and after, side by side. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

if TYPE_CHECKING:
    from change_detection import Changes

CHANGE, FALSE, HIDDEN = "#d7301f", "#fdae61", "#4393c3"
SIDE_PX = 450
"""Of larger images a part is shown, so that a pixel is seen as one: where much false change is gone, and not all is cloud."""


def figure(changes: Changes, title: str) -> Figure:
    """Change called as the target came and once it is aligned, in colour on the reference."""
    part = _part(changes)
    grey = changes.reference[part].astype(float)
    low, high = np.nanpercentile(grey, [2, 98])
    grey = np.clip((grey - low) / (high - low), 0, 1) * 0.75 + 0.2
    before, after, valid = (mask[part] for mask in (changes.called_before, changes.called, changes.valid))
    height, width = grey.shape
    drawn = Figure(figsize=(12, 12 * height / width / 2 + 1.3), layout="constrained")
    FigureCanvasAgg(drawn)
    shown = (
        ("as it came", changes.called_before, {CHANGE: before & after, FALSE: before & ~after}),
        ("aligned", changes.called, {CHANGE: before & after, HIDDEN: after & ~before}),
    )
    for axes, (name, called, colours) in zip(drawn.subplots(1, 2), shown, strict=True):
        image = np.repeat(np.where(valid, grey, 1.0)[..., None], 3, axis=2)
        for colour, mask in colours.items():
            image[mask] = to_rgb(colour)
        axes.imshow(image, interpolation="nearest")
        axes.set_title(f"{name}: {called.sum() / changes.valid.sum():.1%} of all pixels called change", fontsize=12)
        axes.set_axis_off()
    of_all = " × ".join(map(str, changes.valid.shape))
    drawn.suptitle(f"{title}: {height} × {width} of {of_all} pixels", fontsize=13)
    names = {
        CHANGE: "change",
        FALSE: "false change, gone once aligned",
        HIDDEN: "change that misregistration had hidden",
    }
    handles = [Patch(color=colour, label=label) for colour, label in names.items()]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=11)
    return drawn


def _part(changes: Changes) -> tuple[slice, slice]:
    """Rows and columns to show: all that both dates show, or a square of it."""
    rows, cols = (np.flatnonzero(changes.valid.any(axis=axis)) for axis in (1, 0))
    worth = (changes.called_before & ~changes.called) - 0.1 * changes.called
    corners = [
        (row, col)
        for row in range(int(rows[0]), max(int(rows[-1]) + 2 - SIDE_PX, int(rows[0]) + 1), SIDE_PX // 4)
        for col in range(int(cols[0]), max(int(cols[-1]) + 2 - SIDE_PX, int(cols[0]) + 1), SIDE_PX // 4)
    ]
    row, col = max(corners, key=lambda at: float(worth[at[0] : at[0] + SIDE_PX, at[1] : at[1] + SIDE_PX].sum()))
    return slice(row, min(row + SIDE_PX, int(rows[-1]) + 1)), slice(col, min(col + SIDE_PX, int(cols[-1]) + 1))


def draw(changes: Changes, path: Path, title: str) -> None:
    """Write it as PNG."""
    figure(changes, title).savefig(path, dpi=110)
