"""What a pair of raster layers is, before anything is run: overlap, pixel sizes, problems and how to end each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Callable

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsLayerTree,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsUnitTypes,
)

from .compat import METRES
from .footprints import Footprint, footprint, overlap_share, pixel_in, stretch
from .grids import Box
from .i18n import translated as tr
from .sources import Source, ground_of, path_of, source_of

__all__ = ["OUTPUT_MARK", "Looked", "Pair", "Problem", "guess", "pair", "path_of"]
OUTPUT_MARK = "georeg/output"
"""Custom property of layers that the plugin made: they are not guessed as inputs."""
_STRETCHED = 0.02
"""A map whose units are longer or shorter than on the ground by more than this share is told of."""
_COARSE = 4.0
"""Pixels that differ by more than this factor are worth a word."""


@dataclass(frozen=True)
class Problem:
    """Something in the way, and the one thing to do about it."""

    text: str
    action: str
    """Key of what the panel does: ``swap``, ``reference``, ``target``, ``everywhere``, or nothing."""
    label: str
    """What stands on its link."""
    fatal: bool = True


@dataclass(frozen=True)
class Pair:
    """Facts of a reference and a target."""

    summary: str
    problems: tuple[Problem, ...]
    gsd: float = 0.0
    """Coarser pixel size of the two, units of the reference's CRS."""
    unit: str = ""
    metres_per_unit: float = 1.0
    reference: Source = Source()
    target: Source = Source()
    """Files, or what has to be exported first."""

    @property
    def ready(self) -> bool:
        """Whether nothing stands in the way."""
        return not any(problem.fatal for problem in self.problems)


@dataclass(frozen=True)
class Looked:
    """Where is looked for the target, as far as it decides what is exported."""

    everywhere: bool = False
    """The target's place is not to be believed."""
    area: Callable[[QgsCoordinateReferenceSystem], Box | None] = lambda _crs: None
    """The box around the area in a CRS; None where it is the whole overlap."""
    margin_m: float = 0.0
    """How far is searched; 0 where that is left to georeg."""


def guess(project: QgsProject) -> tuple[QgsRasterLayer | None, QgsRasterLayer | None]:
    """Reference and target among the layers of a project.

    The rule: of the rasters that are files, the topmost in the layer tree is the target, since what was added last is what is
    being worked at; the reference is the one below it that shares ground with it, or else the next one. Where names say it
    (``ref`` or ``base`` in one, ``target`` or ``tgt`` in another), names decide. A single file is the target where there is
    another raster, such as a web map, to be its reference. Layers that the plugin made are left out.
    """
    rasters = [
        layer
        for layer in QgsLayerTree.layerOrder(project.layerTreeRoot())
        if isinstance(layer, QgsRasterLayer) and layer.isValid() and not layer.customProperty(OUTPUT_MARK)
    ]
    layers = [layer for layer in rasters if path_of(layer)]
    if len(layers) < 2:
        others = [layer for layer in rasters if layer not in layers]
        if layers and others:
            return others[0], layers[0]
        return next(iter(layers + others), None), None
    named_ref = next((one for one in layers if _says(one, ("ref", "base"))), None)
    named_tgt = next((one for one in layers if one is not named_ref and _says(one, ("tgt", "target"))), None)
    if named_ref is not None:
        return named_ref, named_tgt or next(one for one in layers if one is not named_ref)
    target = named_tgt or layers[0]
    below = [one for one in layers[layers.index(target) + 1 :] + layers if one is not target]
    return next((one for one in below if overlap_share(footprint(one), footprint(target))), below[0]), target


def _says(layer: QgsMapLayer, words: tuple[str, ...]) -> bool:
    name = str(layer.name()).lower().replace("-", "_").replace(" ", "_").split("_")
    return any(part.startswith(word) for part in name for word in words)


def pair(reference: QgsRasterLayer | None, target: QgsRasterLayer | None, looked: Looked | None = None) -> Pair:
    """Facts and problems of two layers, from their headers alone."""
    looked = looked or Looked()
    if reference is None or target is None:
        which = (
            tr("a reference and a target")
            if reference is None and target is None
            else (tr("a reference") if reference is None else tr("a target"))
        )
        key = "reference" if reference is None else "target"
        return Pair("", (Problem(tr("Choose {which}.").format(which=which), key, tr("Open a file…")),))
    crs = reference.crs()
    unit = QgsUnitTypes.toAbbreviatedString(crs.mapUnits()) if crs.isValid() else "px"
    metres = QgsUnitTypes.fromUnitToUnitFactor(crs.mapUnits(), METRES) if crs.isValid() else 1.0
    sources = _sources(reference, target, looked, metres)
    problems = _source_problems(sources)
    if problems:
        return Pair("", tuple(problems), unit=unit, metres_per_unit=metres)
    ref, tgt = (footprint(layer, source.grid) for layer, source in zip((reference, target), sources))
    ref_gsd, tgt_gsd = pixel_in(ref, crs), pixel_in(tgt, crs)
    share = overlap_share(ref, tgt)
    parts = [tr("overlap {share:.0%} of the smaller").format(share=share)] if share else []
    pixels = (
        f"{ref_gsd:.3g} {unit}" if abs(ref_gsd - tgt_gsd) < 0.01 * ref_gsd else f"{ref_gsd:.3g} / {tgt_gsd:.3g} {unit}"
    )
    parts.append(tr("pixels {pixels}").format(pixels=pixels))
    names = [_crs_name(layer.crs()) for layer in (reference, target)]
    parts.append(names[0] if names[0] == names[1] else f"{names[0]} / {names[1]}")
    problems = _ground_problems(ref, tgt, None if looked.everywhere else share, ref_gsd, tgt_gsd)
    return Pair(" · ".join(parts), tuple(problems), max(ref_gsd, tgt_gsd), unit, metres, *sources)


def _sources(reference: QgsRasterLayer, target: QgsRasterLayer, looked: Looked, metres: float) -> tuple[Source, Source]:
    """Of both; a web map is cut by what the other covers, and by the area."""
    found = []
    for layer, other, whole in ((reference, target, False), (target, reference, True)):
        crs = layer.crs()
        ground = None if looked.everywhere else ground_of(other, crs, looked.margin_m, metres)
        found.append(source_of(layer, ground, looked.area(crs) if crs.isValid() else None, whole=whole))
    return found[0], found[1]


def _source_problems(sources: tuple[Source, Source]) -> list[Problem]:
    for source, key in zip(sources, ("reference", "target")):
        if source.problem:
            return [Problem(source.problem, key, tr("Open a file…"))]
    if sources[0].path and sources[1].path and _same(sources[0].path, sources[1].path):
        return [Problem(tr("Reference and target are the same file."), "target", tr("Open another target…"))]
    return []


def _ground_problems(
    reference: Footprint, target: Footprint, share: float | None, ref_gsd: float, tgt_gsd: float
) -> list[Problem]:
    problems = []
    if not reference.crs.isValid() and target.crs.isValid():
        problems.append(
            Problem(tr("The reference has no CRS, so it cannot say where the target lies."), "swap", tr("Swap"))
        )
    elif share == 0:
        text = tr("The two share no ground as they are georeferenced.")
        problems.append(Problem(text, "everywhere", tr("Search everywhere"), fatal=True))
    elif share is None:
        problems.append(Problem(tr("The target is sought all over the reference."), "", "", fatal=False))
    longer = stretch(reference.crs, target)
    if abs(longer - 1) > _STRETCHED:
        text = tr("Lengths are in {unit} of {crs}, {n:.3g} of which are 1 {unit} on the ground here.")
        unit = QgsUnitTypes.toAbbreviatedString(reference.crs.mapUnits())
        told = text.format(unit=unit, crs=_crs_name(reference.crs), n=longer)
        problems.append(Problem(told, "", "", fatal=False))
    ratio = max(ref_gsd, tgt_gsd) / max(min(ref_gsd, tgt_gsd), 1e-300)
    if share and ratio > _COARSE:
        text = tr("Pixels differ by a factor of {ratio:.3g}: only detail of the coarser is compared.")
        problems.append(Problem(text.format(ratio=ratio), "", "", fatal=False))
    return problems


def _crs_name(crs: QgsCoordinateReferenceSystem) -> str:
    return str(crs.authid() or crs.description()) if crs.isValid() else tr("no CRS")


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
