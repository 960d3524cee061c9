"""The bands of one instrument, a file each, put onto each other: one model for each band, from all captures together.

A camera with a lens for each band, or several cameras on one frame: from capture to capture the ground changes, and the bands
do not move against each other. So tie points of all captures are fitted together, in pixels.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from georeg.align import Alignment, assess, match_onto
from georeg.apply import made_folder
from georeg.band_files import Capture, captures_of, plain_rasters, write_capture
from georeg.device import check_device
from georeg.errors import GeoregError, InputError, MatchError, OverlapError
from georeg.execution import Progress, check_workers, counted, silent
from georeg.files import check_output
from georeg.fit import fit
from georeg.models import Model, identity
from georeg.options import BandsOptions, DeviceKind, FitOptions, InputOptions, LimitOptions, MatchOptions
from georeg.raster import Raster
from georeg.reader import KEPT_BYTES, Reader
from georeg.sanity import check_options
from georeg.search import check_matching
from georeg.tie_points import TiePoints

PathLike = str | os.PathLike[str]
MOST_POINTS = 4000
"""So many tie points of a band are fitted at most: of more captures fewer each."""
AGREEING = 0.5
"""A capture of whose tie points a smaller share agrees with the rig is not of it."""
LEAST_POINTS = 8
"""A capture with fewer tie points in a band cannot contradict it."""
_log = logging.getLogger(__name__)
_CENTER = InputOptions(initial="center")


@dataclass(frozen=True)
class Seen:
    """How one band of one capture agrees with the model that all captures share."""

    n: int
    """Tie points."""
    n_agreeing: int
    """Of them, those as near to the model as its check points are held to be."""
    rmse_px: float | None
    """RMSE of these, pixels of the band that all are put onto; None where there are none."""

    @property
    def contradicts(self) -> bool:
        """Whether this capture is none of the rig."""
        return self.n >= LEAST_POINTS and self.n_agreeing < AGREEING * self.n


@dataclass(frozen=True, eq=False)
class BandAlignment:
    """A rig that its check points have confirmed."""

    captures: tuple[Capture, ...]
    options: BandsOptions
    bands: tuple[Alignment | None, ...]
    """How each band is put onto that of ``options.onto``, which has None; their CRS is of pixels, y upwards."""
    seen: tuple[tuple[Seen, ...], ...]
    """Of each capture, each band."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the bands."""
        return self.captures[0].bands

    @property
    def models(self) -> tuple[Model, ...]:
        """Of each band: x and −y of its pixels, stretched to the size of the band that it is put onto, to those of that band."""
        return tuple(identity() if band is None else band.model for band in self.bands)

    def refused(self) -> dict[str, str]:
        """Captures that contradict the rig, and why."""
        return {
            capture.name: f"refused: {one.n_agreeing} of {one.n} tie points of band {name} agree with the rig of all "
            "captures; give this capture by itself, or leave it out"
            for capture, row in zip(self.captures, self.seen, strict=True)
            for name, one in zip(self.names, row, strict=True)
            if one.contradicts
        }

    def summary(self) -> str:
        """What was found, with the numbers that prove it, a line for each band."""
        onto = self.names[self.options.onto - 1]
        lines = [
            f"band {name} onto {onto}: {_towards(band)} ({band.model.kind} model); RMSE {band.before.rmse:.3g} px before, "
            f"{band.after.rmse:.3g} px after, CE90 {band.after.ce90:.3g} px, on {band.after.n} check points"
            for name, band in zip(self.names, self.bands, strict=True)
            if band is not None
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        refused = self.refused()
        return {
            "type": "georeg.BandAlignment",
            "onto": self.options.onto,
            "bands": [
                {"name": name, "alignment": None if band is None else band.to_dict()}
                for name, band in zip(self.names, self.bands, strict=True)
            ],
            "captures": [
                {
                    "name": one.name,
                    "paths": list(one.paths),
                    "bands": [*map(asdict, row)],
                    "error": refused.get(one.name),
                }
                for one, row in zip(self.captures, self.seen, strict=True)
            ],
        }

    def write(
        self,
        path: PathLike,
        *,
        progress: Progress = silent,
        executor: Executor | None = None,
        device: DeviceKind = "cpu",
    ) -> dict[str, str]:
        """Write each capture that does not contradict the rig as one GeoTIFF of all bands on the grid of one of them.

        Each pixel is interpolated once, those of the band that the others are put onto never. A pixel is valid where it
        is in all bands; without a nodata value a mask says so.

        Parameters
        ----------
        path
            Of the file; of several captures the folder of files of their names, which is made if need be.

        Returns
        -------
        written
            Path of each output by the name of its capture.

        Raises
        ------
        OutputError
            An output exists, is an input, or cannot be written.
        """
        check_device(device, executor)
        out, refused = os.fspath(path), self.refused()
        wanted = [capture for capture in self.captures if capture.name not in refused]
        folder = len(self.captures) > 1
        with made_folder(out) if folder else nullcontext():
            paths = outputs_of(self.captures, out, overwrite=self.options.overwrite)
            tags = [{} if band is None else _tags(band, self.names[self.options.onto - 1]) for band in self.bands]
            for capture in counted(wanted, len(wanted), "captures", progress):
                write_capture(
                    capture, self.options, self.models, tags, paths[capture.name], executor=executor, device=device
                )
        return {capture.name: paths[capture.name] for capture in wanted}


def outputs_of(captures: Sequence[Capture], path: str, *, overwrite: bool) -> dict[str, str]:
    """Of each capture, once it is sure that nothing would be lost.

    Raises
    ------
    OutputError
        One exists or is an input.
    """
    taken = [name for capture in captures for name in capture.paths]
    one = len(captures) == 1
    paths = {capture.name: path if one else os.path.join(path, f"{capture.name}.tif") for capture in captures}
    for output in paths.values():
        check_output(output, taken, overwrite=overwrite)
    return paths


def _towards(band: Alignment) -> str:
    east, north = band.displacement()
    return (
        f"{abs(east):.2f} px {'right' if east >= 0 else 'left'}, {abs(north):.2f} px {'up' if north >= 0 else 'down'}"
    )


def _tags(band: Alignment, onto: str) -> dict[str, str]:
    after = band.after
    return {
        "ALIGNED_ONTO": onto,
        "MODEL": band.model.kind,
        "RMSE_PX": f"{after.rmse:.6g}",
        "CE90_PX": f"{after.ce90:.6g}",
        "CHECK_POINTS": str(after.n),
    }


def align_bands(
    paths: Sequence[PathLike],
    *,
    options: BandsOptions | None = None,
    matching: MatchOptions | None = None,
    limits: LimitOptions | None = None,
    progress: Progress = silent,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
) -> BandAlignment:
    """Find how the bands of one instrument lie against each other, from all captures together, and prove it.

    Where files say where on Earth they are is only kept for the output: bands are matched as they lie in the pixels.

    >>> georeg.align_bands(["camera_1.tif", "camera_2.tif"]).write("stacked.tif")  # doctest: +SKIP

    Parameters
    ----------
    paths
        Files of one band each. Those whose names differ in what follows the last ``_`` are of one capture.
    options
        Which band the others are put onto, by which model, and how the result is written.
    matching, limits
        As of `georeg.align`; limits are held against each band.
    progress
        Called with ("bands", done, total).
    executor, device
        As of `georeg.align`.

    Raises
    ------
    InputError
        Files cannot be used, captures are not alike, or options contradict each other.
    MatchError, FitError, VerificationError
        How a band lies could not be found and shown to be right.
    LimitError
        It was, but a limit is exceeded.
    """
    options, matching, limits = options or BandsOptions(), matching or MatchOptions(), limits or LimitOptions()
    check_options(limits)
    check_matching(matching)
    check_workers(matching.threads, executor)
    check_device(device, executor)
    captures = captures_of([os.fspath(path) for path in paths])
    n_bands = len(captures[0].paths)
    if not 1 <= options.onto <= n_bands:
        raise InputError(
            f"--onto is {options.onto}, and a capture has {n_bands} bands; give a number from 1 to {n_bands}"
        )
    onto, rasters = options.onto - 1, [plain_rasters(capture, options) for capture in captures]
    _check_alike(captures, rasters)
    found: list[list[TiePoints | None]] = [[] for _ in range(n_bands)]
    matched = _matched(rasters, onto, matching, executor, device)
    for k, points in counted(matched, len(captures) * (n_bands - 1), "bands", progress):
        found[k].append(points)
    made = [None if k == onto else _fitted(found[k], name, options, limits) for k, name in enumerate(captures[0].bands)]
    seen = [
        tuple(Seen(0, 0, None) if one is None else _seen(one, found[k][n]) for k, one in enumerate(made))
        for n in range(len(captures))
    ]
    return BandAlignment(captures, options, tuple(made), tuple(seen))


def _check_alike(captures: Sequence[Capture], rasters: Sequence[Sequence[Raster]]) -> None:
    """Raise where the files of a band differ in size from capture to capture, which then are not of one rig."""
    for capture, row in zip(captures, rasters, strict=True):
        for one, first in zip(row, rasters[0], strict=True):
            if one.shape != first.shape:
                sizes = " and ".join("{1} by {0} pixels".format(*raster.shape) for raster in (one, first))
                raise InputError(
                    f"{one.name} of {capture.name} and {first.name} have {sizes}; give captures of one camera together"
                )


def _matched(
    rasters: Sequence[Sequence[Raster]],
    onto: int,
    matching: MatchOptions,
    executor: Executor | None,
    device: DeviceKind,
) -> Iterator[tuple[int, TiePoints | None]]:
    """The number of a band, from 0, and its tie points in a capture; None where there are too few. Capture by capture."""
    for row in rasters:
        with Reader(row[onto], kept_bytes=2 * KEPT_BYTES) as reader:
            for k in (k for k in range(len(row)) if k != onto):
                try:
                    yield k, match_onto(row[onto], row[k], _CENTER, matching, silent, executor, reader, device)
                except (MatchError, OverlapError) as exc:  # such as over water
                    _log.warning(f"{row[k].name}: {exc}")
                    yield k, None


def _fitted(points: Sequence[TiePoints | None], name: str, options: BandsOptions, limits: LimitOptions) -> Alignment:
    """The model of a band, by the tie points of all captures."""
    there = [one.subset(one.kept) for one in points if one is not None]
    if not there:
        raise MatchError(
            f"no capture has tie points between band {name} and the one that it is put onto; try another --onto, "
            "--matcher structure, or captures with more texture"
        )
    share = min(1.0, MOST_POINTS / sum(map(len, there)))
    pooled: TiePoints | None = None
    for one in there:
        some = one.subset(_spread(len(one), share))
        pooled = some if pooled is None else pooled.joined(some)
    assert pooled is not None
    pooled = replace(
        pooled,
        chance=max(one.chance for one in there),
        log10_tests=max(one.log10_tests for one in there),
        search_px=max(one.search_px for one in there),
        overlap=min(one.overlap for one in there),
    )
    try:
        return assess(fit(pooled, FitOptions(model=options.model, seed=options.seed)), limits)
    except GeoregError as exc:
        raise _named(exc, name) from exc


def _named(error: GeoregError, name: str) -> GeoregError:
    """The same error, which says what band it is of."""
    one = type(error)(f"band {name}: {error}")
    one.evidence = error.evidence
    return one


def _spread(n: int, share: float) -> NDArray[np.bool_]:
    """(n,) True for a share of them, evenly."""
    return np.asarray(np.diff(np.floor(np.arange(n + 1) * share)) > 0)


def _seen(made: Alignment, points: TiePoints | None) -> Seen:
    """How the tie points of one capture agree with what was found by all."""
    if points is None:
        return Seen(0, 0, None)
    kept = points.subset(points.kept)
    radial_px = np.hypot(*(kept.ref_xy - made.model(kept.tgt_xy)).T)
    near = radial_px <= made.verification.tolerance_px
    rmse_px = float(np.sqrt((radial_px[near] ** 2).mean())) if near.any() else None
    return Seen(len(kept), int(near.sum()), rmse_px)
