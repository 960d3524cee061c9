"""The pipeline: open -> pair -> coarse -> match -> fit -> assess -> apply.

Each verb is one function from values to a value; `align` is the first four of them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from georeg.accuracy import is_null, verify
from georeg.alignment import Alignment as Alignment
from georeg.alignment import PathLike
from georeg.device import check_device
from georeg.errors import GeoregError, InputError, LimitError, MatchError
from georeg.execution import Progress, silent
from georeg.fit import Fit, fit, unmoved
from georeg.initial import PIXELS
from georeg.lazily import Lazily
from georeg.masks import with_mask
from georeg.models import FloatArray
from georeg.options import DeviceKind, FitOptions, InputOptions, LimitOptions, MatchOptions, words
from georeg.overlap import Pair, pair_rasters, unit_name
from georeg.raster import Raster, check_bands, open_raster, open_reference
from georeg.reader import Reader
from georeg.remote import without_secrets
from georeg.sanity import check_geometry, check_options, geometry, length_limit
from georeg.search import find_tie_points
from georeg.seeds import seeds
from georeg.tie_points import Inputs, Status, TiePoints
from georeg.watching import show_points

gcps = Lazily("georeg.gcps")
_log = logging.getLogger(__name__)
MIN_TIE_POINTS = 4


def align(
    reference: PathLike | Raster,
    target: PathLike | Raster,
    *,
    inputs: InputOptions | None = None,
    matching: MatchOptions | None = None,
    fitting: FitOptions | None = None,
    limits: LimitOptions | None = None,
    progress: Progress = silent,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
    opened: Reader | None = None,
) -> Alignment:
    """Find the correction that puts ``target`` onto ``reference``, and prove it.

    Nothing is written; call `Alignment.write` on what this returns.

    Parameters
    ----------
    reference, target
        Paths of two rasters, of any CRS, pixel size, type and orientation; the target, or both, may have no georeferencing.
        Or arrays described as rasters, see `georeg.arrays`.
    inputs, matching, fitting, limits
        Options of the stages.
    progress
        Called with (stage, done, total).
    executor
        What matches tiles: any executor of `concurrent.futures`, such as ``distributed.Client(…).get_executor()``; by default
        threads of ours. Its workers must reach the rasters by the same paths. It is not shut down, and changes no result.
    device
        What correlates windows with ``matching.preset="fast"``: ``"cpu"``; ``"cuda"``, a graphics card of whoever matches the
        tiles, through CuPy; or ``"auto"``, one where it is found. Shifts are the same to 0.001 px. The default preset
        refines windows on processors alone.
    opened
        A reader of ``reference`` that is open already, and stays so, for whoever reads it again.

    Raises
    ------
    InputError, OverlapError
        A raster cannot be used, they share no ground, or there is no graphics card.
    MatchError, FitError, VerificationError
        No correction could be found and shown to be right.
    LimitError
        It was, but a limit is exceeded.
    ExecutionError
        The workers of ``executor`` are lost.
    """
    check_options(limits or LimitOptions())  # before the work rather than after it
    inputs, matching, fitting = inputs or InputOptions(), matching or MatchOptions(), fitting or FitOptions()
    limits = limits or LimitOptions()
    if opened is None:
        points = match(
            reference, target, inputs=inputs, matching=matching, progress=progress, executor=executor, device=device
        )
    else:
        check_device(device, executor)
        points = match_onto(opened.raster, target, inputs, matching, progress, executor, opened, device)
    return concluded(points, inputs, matching, fitting, limits)


def concluded(
    points: TiePoints, inputs: InputOptions, matching: MatchOptions, fitting: FitOptions, limits: LimitOptions
) -> Alignment:
    """Fit and assess tie points that were matched by these options, which the result remembers.

    Raises
    ------
    FitError, VerificationError, LimitError
        As `align`.
    """
    with _telling(points):
        alignment = assess(fit(points, fitting), limits)
    return replace(alignment, options=_without_secrets(words(inputs, matching, fitting, limits)))


def _without_secrets(said: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(without_secrets, said))


@contextmanager
def _telling(points: TiePoints) -> Iterator[None]:
    """An error of ours carries the tie points that it is about."""
    try:
        yield
    except GeoregError as exc:
        exc.evidence = points
        raise


def assess(fitted: Fit, limits: LimitOptions | None = None, *, decided: bool = False) -> Alignment:
    """Hold a fit against the check points withheld from it.

    Parameters
    ----------
    decided
        Whether the correction is none has been decided already, as by a joint adjustment of many scenes.

    Raises
    ------
    VerificationError
        Chance explains the agreement as well.
    LimitError
        The accuracy exceeds a limit.
    """
    limits = limits or LimitOptions()
    check_options(limits)
    with _telling(fitted.points):
        return _assessed(fitted, limits, decided)


def _assessed(fitted: Fit, limits: LimitOptions, decided: bool) -> Alignment:
    seen = geometry(fitted.model, _ground(fitted), fitted.points.overlap)
    placed = fitted.points.inputs.initial not in ("center", "none")
    check_geometry(seen, fitted.model.kind, limits, placed=placed)
    proof = verify(fitted)
    if not decided and is_null(fitted):
        fitted = unmoved(fitted)
        seen, proof = geometry(fitted.model, _ground(fitted), fitted.points.overlap), verify(fitted)
    alignment = Alignment(fitted, *proof, seen)
    verification = alignment.verification
    _log.info(
        "%s: %s model of %s considered; %d of %d check points agree with it within %.2g px, chance 1e%.0f",
        _name(fitted.points),
        fitted.model.kind,
        ", ".join(candidate.kind for candidate in fitted.candidates),
        verification.n_agreeing,
        verification.n_checked,
        verification.tolerance_px,
        verification.log10_chance,
    )
    for name in ("ce90", "rmse"):
        _check_length(alignment, limits, name)
    return alignment


def _check_length(alignment: Alignment, limits: LimitOptions, name: str) -> None:
    """Raise for a figure of the check points that is over its limit."""
    asked = length_limit(limits, f"max_{name}")
    if asked is None:
        return
    limit, unit = asked
    if unit == "m" and alignment.crs == PIXELS:
        raise InputError(f"--max-{name} is {limit:g} m, and pictures without a map have no metres; give it in px")
    after = alignment.after
    one = after.gsd if unit == "px" else 1 / alignment.crs.axis_info[0].unit_conversion_factor
    value = getattr(after, name) / one
    if value > limit:
        error = LimitError(
            f"{name.upper()} of {after.n} check points after correction is {value:.3g} {unit}, over the limit of "
            f"{limit:g} {unit}; nothing was written: raise --max-{name} or try --model polynomial2"
        )
        error.found = alignment
        raise error


def _name(points: TiePoints) -> str:
    """The target's, for a log."""
    return os.path.basename(without_secrets(points.inputs.target))


def _ground(fitted: Fit) -> FloatArray:
    """Places at which a model is looked at: the tie points, and all over the ground."""
    return np.concatenate([fitted.points.tgt_xy, fitted.points.everywhere_xy()])


def match(
    reference: PathLike | Raster,
    target: PathLike | Raster,
    *,
    inputs: InputOptions | None = None,
    matching: MatchOptions | None = None,
    progress: Progress = silent,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
) -> TiePoints:
    """Measure tie points between two rasters, from coarse to fine. The parameters are those of `align`.

    Raises
    ------
    InputError, OverlapError
        A raster cannot be used, or they share no ground.
    MatchError
        Too few tie points.
    """
    check_device(device, executor)
    inputs = inputs or InputOptions()
    ref = with_mask(open_reference(reference, nodata=inputs.ref_nodata), inputs.ref_mask)
    return match_onto(ref, target, inputs, matching or MatchOptions(), progress, executor, device=device)


def match_onto(
    reference: Raster,
    target: PathLike | Raster,
    inputs: InputOptions,
    matching: MatchOptions,
    progress: Progress,
    executor: Executor | None = None,
    opened: Reader | None = None,
    device: DeviceKind = "cpu",
) -> TiePoints:
    """As `match`; ``opened`` is a reader of the reference that is open already, and stays so."""
    pair, names = _pair(reference, target, inputs)
    made = None if inputs.gcp is None else gcps.points_on_pair(inputs.gcp, pair, names, inputs.gcp_sigma_px)
    starts = () if made is None else seeds(made, pair)
    points = find_tie_points(pair, names, matching, progress, starts, executor, opened, device)
    show_points(points)
    counts = ", ".join(f"{n} {reason}" for reason, n in points.counts().items())
    _log.info(
        "%s: working pixels of %.4g %s, windows of %d px, %d tried: %s",
        _name(points),
        points.gsd,
        unit_name(pair.crs),
        points.window_px,
        len(points),
        counts,
    )
    if points.kept.sum() < MIN_TIE_POINTS:
        found = ", ".join(f"{n} {reason}" for reason, n in points.counts().items()) or "none tried"
        with _telling(points):
            raise MatchError(
                f"{int(points.kept.sum())} tie points found between {pair.reference.name} and {pair.target.name} ({found}), "
                f"{MIN_TIE_POINTS} needed; check that both show the same ground, or try other bands, a smaller --window-px, "
                "more --max-points or a larger --max-shift-m"
            )
    return points.joined(_pinned(made)) if made is not None and inputs.pin else points


def _pinned(made: TiePoints) -> TiePoints:
    enabled = made.subset(made.kept)
    return replace(enabled, status=np.full(len(enabled), Status.PINNED))


def _absolute(path: str) -> str:
    """The path of a file from anywhere, so that a result can be applied from another folder."""
    return os.path.abspath(path) if os.path.exists(path) else path


def _pair(ref: Raster, target: PathLike | Raster, inputs: InputOptions) -> tuple[Pair, Inputs]:
    if ref.mask != inputs.ref_mask:
        raise InputError(
            f"{ref.name} was opened with the mask {ref.mask}, and {inputs.ref_mask} is to mask it; open it by "
            "georeg.masks.with_mask, or leave out opened"
        )
    tgt = open_raster(target, nodata=inputs.tgt_nodata, initial=inputs.initial, reference=ref)
    tgt = with_mask(tgt, inputs.tgt_mask)
    names = Inputs(
        _absolute(ref.path),
        _absolute(tgt.path),
        check_bands(ref, inputs.ref_bands),
        check_bands(tgt, inputs.tgt_bands),
        inputs.ref_nodata,
        inputs.tgt_nodata,
        tgt.placed,
        *(None if path is None else _absolute(path) for path in (inputs.gcp, inputs.area, ref.mask, tgt.mask)),
    )
    if inputs.gcp is None and (inputs.pin or inputs.gcp_sigma_px != InputOptions.gcp_sigma_px):
        raise InputError(
            "--pin and --gcp-sigma-px are of the points of --gcp, and none are given; give --gcp or leave them out"
        )
    if len(names.ref_bands) != len(names.tgt_bands):
        raise InputError(
            f"{len(names.ref_bands)} bands of the reference against {len(names.tgt_bands)} of the target; "
            "give as many of each"
        )
    return pair_rasters(ref, tgt), names
