"""Many rasters of the same ground corrected together, so that they agree with each other: a joint adjustment of pairs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from georeg.apply import PathLike, apply, check_names, made_folder, output_name
from georeg.device import check_device
from georeg.errors import InputError, MatchError
from georeg.execution import Progress, check_workers, counted, silent
from georeg.files import check_output, write_bytes
from georeg.graph import Link, links, more_links, parts, unlikeness
from georeg.models import identity
from georeg.options import DeviceKind, FitOptions, InputOptions, LimitOptions, MatchOptions, StackOptions, WriteOptions
from georeg.overlap import footprint
from georeg.placement import Placement
from georeg.raster import Raster
from georeg.remote import without_secrets
from georeg.sanity import check_options
from georeg.search import check_matching
from georeg.stack_choice import KINDS, Kind
from georeg.stack_inputs import Entry, entries_of
from georeg.stack_pairs import Measured, Measuring, Store
from georeg.stack_result import Datum, Stack, StackScene
from georeg.stack_scenes import Scenes, loops_of, pairs_of, warnings_of
from georeg.stack_solve import in_crs, solved, ties_of

NAME, PAIRS = "stack.json", "pairs.jsonl"
"""What stands in the folder of the outputs beside them."""
LEAST_SHARED = 0.05
"""Scenes are matched where they share this much of the smaller one."""
FEW_SCENES = 10
"""Of so few scenes all pairs are matched."""
_MORE_ROUNDS = 3


def align_stack(
    scenes: Sequence[PathLike | Raster],
    *,
    reference: PathLike | Raster | None = None,
    dates: Sequence[datetime | None] | None = None,
    inputs: InputOptions | None = None,
    matching: MatchOptions | None = None,
    fitting: FitOptions | None = None,
    limits: LimitOptions | None = None,
    stack: StackOptions | None = None,
    progress: Progress = silent,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
) -> Stack:
    """Correct many rasters of the same ground so that they agree with each other; no pixel is written.

    Pairs of scenes that look alike are matched, each as `georeg.align` would do it. All corrections are then found at once
    from the tie points of all pairs. Pairs that do not fit to the others are left out. A scene that looks like the reference
    in no pair is corrected through others.

    >>> stack = georeg.align_stack(["2019.tif", "2020.tif", "2021.tif"])  # doctest: +SKIP
    >>> georeg.write_stack(stack, "aligned/")  # doctest: +SKIP

    Parameters
    ----------
    scenes
        Paths of georeferenced rasters, of any CRS; or rasters that are described already, also of arrays.
    reference
        The trusted raster, as ``stack.reference``.
    dates
        Of each scene, None where it is not known: scenes alike in season and date are matched. By default their order counts.
    inputs
        Bands and nodata of all scenes are those of the target; those of ``stack.reference`` are the reference's.
    matching, fitting, limits
        Options of the stages; limits are of scenes, and of models those are taken that are polynomials.
    stack
        Reference, pairs, and what an earlier run left.
    progress, executor, device
        As in `georeg.align`.

    Raises
    ------
    InputError
        Options contradict each other, or fewer than two scenes can be used.
    MatchError
        No pair of scenes could be proven.
    FitError
        The pairs do not hold the corrections.
    """
    inputs, matching, fitting = inputs or InputOptions(), matching or MatchOptions(), fitting or FitOptions()
    limits, stack = limits or LimitOptions(), stack or StackOptions()
    check_options(limits)
    check_matching(matching)
    check_workers(matching.threads, executor)
    check_device(device, executor)
    kinds = _kinds(fitting)
    anchored = reference if reference is not None else stack.reference
    _check(inputs, stack, anchored)
    given, anchor = [_source(scene) for scene in scenes], None if anchored is None else _source(anchored)
    entries, crs = entries_of(given, dates, inputs, stack, anchor)
    measured = measured_pairs(entries, crs, inputs, matching, fitting, stack, progress, executor, device)
    return adjusted(entries, measured, crs, kinds, limits, inputs)


def _source(scene: PathLike | Raster) -> str | Raster:
    return scene if isinstance(scene, Raster) else os.fspath(scene)


def _kinds(fitting: FitOptions) -> tuple[Kind, ...]:
    if fitting.model == "auto":
        return KINDS
    chosen = tuple(kind for kind in KINDS if kind.kind == fitting.model)
    if not chosen:
        raise InputError(
            f"--model {fitting.model} cannot be adjusted jointly; choose auto or one of "
            f"{', '.join(kind.kind for kind in KINDS)}"
        )
    return chosen


def _check(inputs: InputOptions, stack: StackOptions, reference: object) -> None:
    for name in ("gcp", "ref_mask", "tgt_mask"):
        if getattr(inputs, name, None) is not None:
            raise InputError(f"--{name.replace('_', '-')} is of one pair, and a stack has many; leave it out")
    if stack.links < 1:
        raise InputError(f"--links is {stack.links}; give a number from 1")
    if reference is not None and stack.append is not None:
        raise InputError(
            "--append keeps the datum of the earlier stack, and --reference gives one; leave one of them out"
        )


def measured_pairs(
    entries: Sequence[Entry],
    crs: CRS,
    inputs: InputOptions,
    matching: MatchOptions,
    fitting: FitOptions,
    stack: StackOptions,
    progress: Progress = silent,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
) -> list[Measured]:
    """All pairs that are needed, by the numbers of entries: more for scenes that too few of their first ones hold."""
    numbers = [k for k, entry in enumerate(entries) if entry.raster is not None]
    rasters = tuple(raster for entry in entries if (raster := entry.raster) is not None)
    alike = replace(inputs, ref_bands=inputs.tgt_bands, ref_nodata=inputs.tgt_nodata)
    anchored = inputs if stack.append is None and entries[0].held is not None else None
    measuring = Measuring(rasters, alike, anchored, matching, fitting, executor, device)
    n, store = len(numbers), Store(stack.pairs)
    held = np.array([entries[k].held is not None for k in numbers])
    shared = _shared(measuring.scenes, crs) & ~(held[:, None] & held[None, :])
    unlike = unlikeness([entries[k].date for k in numbers])
    anchor = None if anchored is None else 0
    todo = links(unlike, shared, 2 * n if n <= FEW_SCENES else stack.links, anchor)
    found: dict[Link, Measured] = {}
    for _ in range(1 + _MORE_ROUNDS):
        found |= _round(measuring, store, todo, progress)
        proven = Counter(scene for link, pair in found.items() if pair.fitted is not None for scene in link)
        weak = [scene for scene in range(n) if not held[scene] and proven[scene] < 2]
        todo = more_links(unlike, shared, found, weak, stack.links)
        if not todo:
            break
    given = ((link, pair) for link, pair in sorted(found.items()))
    return [replace(pair, link=(numbers[link[0]], numbers[link[1]])) for link, pair in given]


def _round(measuring: Measuring, store: Store, todo: Sequence[Link], progress: Progress) -> dict[Link, Measured]:
    keys = {link: measuring.key(link) for link in todo}
    known = {link: pair for link in todo if (pair := store.find(link, keys[link])) is not None}
    left = [link for link in todo if link not in known]
    for pair in counted(measuring.of(left), len(left), "pairs", progress):
        store.add(keys[pair.link], pair)
        known[pair.link] = pair
    return known


def _shared(rasters: Sequence[Raster], crs: CRS) -> NDArray[np.bool_]:
    """(N, N) True where two scenes share ground enough."""
    ground = np.array([footprint(Placement(raster, crs, identity())) for raster in rasters])
    area = shapely.area(ground)
    common = np.array([shapely.area(shapely.intersection(one, ground)) for one in ground])
    return np.asarray(common >= LEAST_SHARED * np.minimum(area[:, None], area[None, :]))


def adjusted(
    entries: Sequence[Entry],
    measured: Sequence[Measured],
    crs: CRS,
    kinds: Sequence[Kind],
    limits: LimitOptions,
    inputs: InputOptions,
) -> Stack:
    """Corrections from measured pairs."""
    proven = [pair for pair in measured if pair.fitted is not None]
    if not proven:
        told = Counter(pair.error for pair in measured).most_common(1)
        why = f": {told[0][0]}" if told and told[0][0] else ""
        raise MatchError(f"none of {len(measured)} pairs of scenes could be proven{why}")
    hanging = _hanging_together(entries, proven)
    members = [k for k in range(len(entries)) if hanging[k]]  # the adjustment knows these alone
    number = {k: n for n, k in enumerate(members)}
    used = [pair for pair in proven if hanging[pair.link[0]]]
    fits = [in_crs(pair.fitted, crs) for pair in used if pair.fitted is not None]
    gsd = float(np.median([fitted.points.gsd / fitted.points.reduction for fitted in fits]))
    ties = [ties_of(fitted, *(number[k] for k in pair.link)) for pair, fitted in zip(used, fits, strict=True)]
    held = {number[k]: model for k in members if (model := entries[k].held) is not None}
    found = solved(ties, len(members), held, kinds, gsd)
    scenes = Scenes(entries, members, found, fits, ties, gsd, limits, inputs)
    return Stack(
        scenes=tuple(scenes.result(k, measured) for k in range(len(entries))),
        pairs=pairs_of(measured, used, found, ties, gsd),
        loops=loops_of(found, ties, gsd),
        datum=_datum(entries),
        crs=crs.to_wkt(),
        gsd=gsd,
        pair_sigma_px=float(np.sqrt(found.noise.variance)) / gsd,
        common_noise=1 - found.noise.kappa,
        warnings=warnings_of(entries, members, found),
    )


def _datum(entries: Sequence[Entry]) -> Datum:
    held = sum(entry.held is not None for entry in entries)
    return "earlier stack" if held > 1 else "reference" if held else "mean of the stack"


def _hanging_together(entries: Sequence[Entry], proven: Sequence[Measured]) -> NDArray[np.bool_]:
    """(N,) True for scenes that hang together with those that are held, or, without any, for the most that hang together."""
    held = [k for k, entry in enumerate(entries) if entry.held is not None]
    chain = [(held[0], k) for k in held[1:]]
    part = parts(len(entries), [*(pair.link for pair in proven), *chain])
    wanted = part[held[0]] if held else int(np.bincount(part).argmax())
    linked = np.zeros(len(entries), bool)
    linked[[k for pair in proven for k in pair.link] + held] = True
    if held and not any(part[pair.link[0]] == wanted for pair in proven):
        raise MatchError(
            f"none of {len(proven)} proven pairs ties a scene to the reference; give a larger --links, other bands, or leave "
            "--reference out"
        )
    return np.asarray((part == wanted) & linked)


def write_stack(
    stack: Stack,
    folder: PathLike,
    writing: WriteOptions | None = None,
    *,
    progress: Progress = silent,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
) -> dict[str, str]:
    """Write the corrected scenes of a stack into a folder, each as `georeg.apply` does it, and the stack as ``stack.json``.

    All outputs are checked before the first is written. What is resampled goes onto the grid of the reference, or, without
    one, of the first scene.

    Returns
    -------
    outputs
        Path of each output by that of its scene.

    Raises
    ------
    InputError
        ``writing`` asks for what is of one raster alone.
    OutputError
        Two scenes have one name, or an output exists, is an input, or cannot be written.
    """
    writing, into = writing or WriteOptions(), os.fspath(folder)
    with made_folder(into):
        inputs = [scene.path for scene in stack.scenes]
        outputs = checked_outputs([scene.path for scene in stack.corrected], into, writing, inputs)

        def written(scene: StackScene) -> None:
            assert scene.alignment is not None
            apply(scene.alignment, outputs[scene.path], writing, executor=executor, device=device)

        for _ in counted(map(written, stack.corrected), len(stack.corrected), "write", progress):
            pass
        write_bytes((stack.to_json() + "\n").encode(), os.path.join(into, NAME))
    return outputs


def checked_outputs(
    paths: Sequence[str], folder: str, writing: WriteOptions, protected: Sequence[str] = ()
) -> dict[str, str]:
    """Path of the output of each scene in a folder, once it is sure that all can be written and nothing is lost.

    Parameters
    ----------
    paths
        Of the scenes.
    protected
        What must not be replaced beside them.

    Raises
    ------
    InputError
        ``writing`` asks for what is of one raster alone.
    OutputError
        Two scenes have one name, or an output exists, is an input, or cannot be written.
    """
    for name in ("uncertainty", "in_place"):
        if getattr(writing, name):
            raise InputError(f"--{name.replace('_', '-')} is not of a stack; leave it out")
    names = (output_name(os.path.basename(without_secrets(path)), writing) for path in paths)
    outputs = {path: os.path.join(folder, name) for path, name in zip(paths, names, strict=True)}
    check_names(outputs.values())
    for path in (*outputs.values(), os.path.join(folder, NAME)):
        check_output(path, [*paths, *protected], overwrite=writing.overwrite)
    return outputs
