"""What georeg is asked, and what has to be written before it can be: rasters and polygons that only QGIS can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .exports import Exports
from .panel_inputs import InputsPanel
from .panel_options import OptionsPanel
from .panel_where import WherePanel
from .sources import Ground, source_of


@dataclass(frozen=True)
class Asked:
    """A question to georeg, once the steps are done."""

    paths: tuple[str, ...]
    """Of the reference and the targets."""
    words: list[str]
    """Of the options."""
    steps: list[Any]


def pair_asked(verb: str, inputs: InputsPanel, where: WherePanel, options: OptionsPanel, exports: Exports) -> Asked:
    """Of the pair that is chosen.

    Raises
    ------
    ValueError
        An option cannot be used; the text says why.
    """
    inputs.look()  # the canvas may show something else by now
    for problem in inputs.pair.problems:
        if problem.fatal:
            raise ValueError(problem.text)
    steps, paths = inputs.steps(), inputs.paths()
    words, more = where.words(exports)
    return Asked(paths, [*options.words(verb, everywhere=inputs.everywhere), *words], [*steps, *more])


def batch_asked(
    targets: Sequence[str],
    ground: Ground | None,
    inputs: InputsPanel,
    where: WherePanel,
    options: OptionsPanel,
    exports: Exports,
) -> Asked:
    """Of the reference that is chosen and many targets, which cover ``ground`` in its CRS.

    Raises
    ------
    ValueError
        The reference or an option cannot be used; the text says why.
    """
    layer = inputs.reference.currentLayer()
    source = source_of(layer, ground, where.area.box_in(layer.crs()), whole=False)
    if source.problem:
        raise ValueError(source.problem)
    steps = [exports.raster_step(layer, source.grid)] if source.grid is not None else []
    words, more = where.words(exports)
    path = steps[0].path if steps else source.path
    return Asked((path, *targets), [*options.words("batch"), *words], [*steps, *more])


def files_of(runs: Iterable[Any]) -> set[str]:
    """Rasters that results go back to."""
    inputs = [run.values["tie_points"]["inputs"] for run in runs]
    return {str(known[key]) for known in inputs for key in ("reference", "target") if key in known}
