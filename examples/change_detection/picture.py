"""The picture of two dates compared: before and after, side by side. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

if TYPE_CHECKING:
    from change_detection import Changes

CHANGE, FALSE = "#d7301f", "#fdae61"
LONGEST_PX = 700
"""Of larger images a part is shown, so that a pixel is seen as one."""


def figure(changes: Changes, title: str) -> Figure:
    """Change called as the target came and once it is aligned, in colour on the reference."""
    part = _part(changes)
    grey = changes.reference[part].astype(float)
    low, high = np.nanpercentile(grey, [2, 98])
    grey = np.clip((grey - low) / (high - low), 0, 1) * 0.75 + 0.2
    called = {name: mask[part] for name, mask in changes.called.items()}
    kept = called["aligned and not explained"]
    height, width = grey.shape
    drawn = Figure(figsize=(12, 12 * height / width / 2 + 1.3), layout="constrained")
    FigureCanvasAgg(drawn)
    for axes, (name, mask) in zip(
        drawn.subplots(1, 2), (("as it came", called["as it came"]), ("aligned", kept)), strict=True
    ):
        image = np.repeat(grey[..., None], 3, axis=2)
        image[~changes.valid[part]] = 1.0
        image[mask & ~kept] = matplotlib.colors.to_rgb(FALSE)
        image[mask & kept] = matplotlib.colors.to_rgb(CHANGE)
        whole = changes.called["as it came" if name == "as it came" else "aligned and not explained"]
        axes.imshow(image, interpolation="nearest")
        axes.set_title(f"{name}: {whole.sum() / changes.valid.sum():.1%} of all pixels called change", fontsize=12)
        axes.set_axis_off()
    drawn.suptitle(title, fontsize=13)
    drawn.legend(
        handles=[Patch(color=CHANGE, label="change, still called once aligned"),
                 Patch(color=FALSE, label="false change, gone once aligned")],
        loc="outside lower center", ncols=2, frameon=False, fontsize=11,
    )  # fmt: skip
    return drawn


def _part(changes: Changes) -> tuple[slice, slice]:
    """The middle of what both dates show."""
    rows, cols = (np.flatnonzero(changes.valid.any(axis=axis)) for axis in (1, 0))
    spans = []
    for seen in (rows, cols):
        first, last = int(seen[0]), int(seen[-1]) + 1
        middle, half = (first + last) // 2, LONGEST_PX // 2
        spans.append(slice(max(first, middle - half), min(last, middle + half)))
    return spans[0], spans[1]


def draw(changes: Changes, path: Path, title: str) -> None:
    """Write it as PNG."""
    figure(changes, title).savefig(path, dpi=110)
