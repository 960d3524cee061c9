"""The plots of a fit as PNG files in a folder, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from georeg.errors import OutputError
from georeg.files import check_output, replacing_set
from georeg.fit import Fit
from georeg.report.boards import board
from georeg.report.diagnostics import plot_histogram, plot_qq, plot_radial, plot_rows_columns, plot_uncertainty
from georeg.report.marks import plotting
from georeg.report.plots import draw_board, plot_residuals, plot_vectors

DPI = 150
_Draw = Callable[[Fit, Any], object]
"""Draws a fit on a figure of matplotlib."""


def _on_one(draw: _Draw) -> _Draw:
    return lambda fitted, figure: draw(fitted, figure.subplots())


def _boards(fitted: Fit, figure: Any) -> None:
    seen = board(fitted)
    for ax, moved, title in zip(figure.subplots(1, 2), (seen.before, seen.after), ("Before", "After"), strict=True):
        draw_board(ax, seen, moved, title)


PLOTS: dict[str, tuple[tuple[float, float], _Draw]] = {
    "residuals.png": ((6.4, 7.2), _on_one(plot_residuals)),
    "vectors.png": ((8.0, 8.0), _on_one(plot_vectors)),
    "checkerboard.png": ((12.0, 7.2), _boards),
    "histogram.png": ((7.2, 5.2), _on_one(plot_histogram)),
    "qq.png": ((7.2, 5.6), _on_one(plot_qq)),
    "radial.png": ((7.2, 5.6), _on_one(plot_radial)),
    "rows_columns.png": ((9.0, 7.2), lambda fitted, figure: plot_rows_columns(fitted, tuple(figure.subplots(2, 1)))),
    "uncertainty.png": ((8.0, 7.2), _on_one(plot_uncertainty)),
}
"""Name of each file, the size of its figure in inches, and what draws it."""


def check_plots(folder: str, inputs: Iterable[str], *, overwrite: bool) -> None:
    """Make sure, before any work, that the plots can be drawn and written without losing anything.

    Raises
    ------
    InputError
        There is no matplotlib.
    OutputError
        The folder cannot be made, or holds files of such names while ``overwrite`` is off, or a plot would replace an input.
    """
    plotting("figure")
    inputs = list(inputs)
    if not os.path.isdir(folder):
        check_output(folder.rstrip("/" + os.sep) or folder, inputs, overwrite=False)
        return
    for name in PLOTS:
        check_output(os.path.join(folder, name), inputs, overwrite=overwrite)


def write_plots(fitted: Fit, folder: str, inputs: Iterable[str] = (), *, overwrite: bool = False) -> list[str]:
    """Draw all `PLOTS` of a fit into a folder, which is made if need be; returns their paths.

    Raises
    ------
    InputError
        There is no matplotlib, nothing to plot, or a raster is no longer where it was.
    OutputError
        As `check_plots`, or a file cannot be written; then there is none.
    """
    inputs = list(inputs)
    check_plots(folder, inputs, overwrite=overwrite)
    new = not os.path.isdir(folder)
    try:
        if new:
            os.mkdir(folder)
        with replacing_set(os.path.join(folder, next(iter(PLOTS))), inputs, overwrite=overwrite) as first:
            for name, (size, draw) in PLOTS.items():
                figure = plotting("figure").Figure(figsize=size, layout="constrained", dpi=DPI)
                draw(fitted, figure)
                figure.savefig(os.path.join(os.path.dirname(first), name), format="png")
    except FileExistsError as exc:
        raise OutputError(f"the folder {folder} cannot be made: it was made meanwhile; run again") from exc
    finally:
        if new:
            with suppress(OSError):  # the plots are in it
                os.rmdir(folder)
    return [os.path.join(folder, name) for name in PLOTS]
