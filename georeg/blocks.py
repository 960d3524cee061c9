"""A block of windows: read once from both rasters, prepared once, matched one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from georeg.device import arrays_of
from georeg.matching.channels import LOCAL_PX, prepare_structure
from georeg.matching.features import Detector, match_features
from georeg.matching.fields import Field, prepare
from georeg.matching.phase import control_significance, correlate_windows
from georeg.matching.preprocess import Combine, Preprocess, preprocess
from georeg.matching.structure import move_to_texture
from georeg.matching.windows import MARGIN_PX, Matches, concatenated, locate, match_windows
from georeg.models import FloatArray
from georeg.options import DeviceKind
from georeg.placement import Placement
from georeg.reader import Reader
from georeg.tie_points import Status
from georeg.warp import Sampling, sampling

How = Literal["phase", "structure", "sift", "akaze", "orb", "fast"]
"""By intensity where edges point the same way, by the structure of edges alone, by intensity where keypoints say, or, quick
and coarse, by phase correlation alone."""
BLOCK_PX = 768
"""Windows whose centres share a square of this side are read at once."""
CERTAIN = 10.0
"""A window of this significance is no chance, where too few that do not correspond can tell."""
FEATURE_REACH_PX = 4
"""A window is sought this far around where features say it is."""


@dataclass(frozen=True)
class Looks:
    """How the pixels of a raster are looked at."""

    bands: tuple[int, ...]
    preprocess: Preprocess
    combine: Combine


@dataclass(frozen=True)
class Block:
    """Windows to match that are read at once; picklable."""

    ref: Reader
    tgt: Reader
    ref_place: Placement
    tgt_place: Placement
    looks: tuple[Looks, Looks]
    grid: GeoBox
    """Pixels to read: the windows and what is around them."""
    centre_px: NDArray[np.intp]
    """(N, 2) of the windows in ``grid``."""
    control: NDArray[np.intp]
    """Indices of the windows that are also matched with ground that does not correspond."""
    window_px: int
    reach_px: int
    """How far from where they are expected windows are sought."""
    wander_px: int
    """How far a window may move to better texture."""
    rough: bool
    """Whether overviews and a quick interpolation will do."""
    how: How
    """How the windows are matched."""
    device: DeviceKind = "cpu"
    """What correlates windows that are matched ``fast``."""


@dataclass(frozen=True)
class Measured:
    """What a block gives, in map coordinates of the working CRS."""

    ref_xy: FloatArray
    tgt_xy: FloatArray
    linear: FloatArray
    """(2, 2): pixels to map units."""
    matches: Matches
    control_significance: FloatArray
    """Of the windows that do not correspond but could be taken for a match."""
    n_controls: int


def blocks_of(centre_px: NDArray[np.intp], strip: int) -> list[NDArray[np.intp]]:
    """Window centres by square of `BLOCK_PX`, row by row of strips of so many squares."""
    square = centre_px // BLOCK_PX
    order = np.lexsort((centre_px[:, 0], centre_px[:, 1], square[:, 0], square[:, 1], square[:, 0] // strip))
    edges = np.flatnonzero(np.any(np.diff(square[order], axis=0), axis=1)) + 1
    return [part for part in np.split(centre_px[order], edges) if len(part)]


def widest_reach_px(window_px: int) -> int:
    """How far a window can be sought."""
    return max(window_px // 4, 4)


def halo_px(window_px: int, wander_px: int, how: How, reach_px: int | None = None) -> int:
    """Pixels to read around the centre of a window; by default for the widest reach."""
    if how == "fast":
        return window_px // 2
    context = math.ceil(3 * LOCAL_PX) if how == "structure" else 0
    reach = widest_reach_px(window_px) if reach_px is None else reach_px
    return window_px // 2 + reach + wander_px + MARGIN_PX + context + 1


def _windows(side: Sampling, block: Block) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """All windows of one raster, (N, side, side), bands added up; and which of their pixels are known."""
    n, half = block.window_px, block.window_px // 2
    data, known = [], []
    for col, row in block.centre_px:
        pixels, seen = side.pixels(Window(int(col) - half, int(row) - half, n, n))
        data.append(pixels.sum(axis=0))
        known.append(informative(pixels, seen))
    return np.stack(data), np.stack(known)


@dataclass(frozen=True)
class _Part:
    """Windows of a block whose surroundings are prepared together."""

    corner_px: NDArray[np.intp]
    """Its first pixel (column, row) in the block."""
    images: list[tuple[NDArray[np.float32], NDArray[np.bool_]]]
    """Reference and target, and what is valid of them."""
    fields: tuple[Field, Field]
    centre_px: NDArray[np.intp]
    """(n, 2) of its windows, in its own pixels."""


def match_block(block: Block) -> Measured:
    """Match every window, the pixels of both rasters read once, and prepared once."""
    sides = [
        sampling(
            reader,
            place,
            block.grid,
            look.bands,
            kernel="bilinear" if block.rough else "quintic",
            snap_px=block.window_px,
            overviews=block.rough,
        )
        for reader, place, look in zip(
            (block.ref, block.tgt), (block.ref_place, block.tgt_place), block.looks, strict=True
        )
    ]
    if block.how == "fast":
        ref, tgt = (_windows(side, block) for side in sides)
        arrays = arrays_of(block.device)
        matches = correlate_windows(ref, tgt, block.centre_px, reach_px=block.reach_px, arrays=arrays)
        significance = control_significance(ref, tgt, block.control, block.centre_px, arrays)
        n_controls = len(significance)
    else:
        matches, parts = _match_parts(block, sides)
        significance, n_controls = _match_controls(block, parts)
    return Measured(
        ref_xy=sides[0].xy(matches.ref_px),
        tgt_xy=block.tgt_place.model.inverse(sides[1].xy(matches.ref_px + matches.shift_px)),
        linear=np.array([*block.grid.affine[:2], *block.grid.affine[3:5]]).reshape(2, 2),
        matches=matches,
        control_significance=significance,
        n_controls=n_controls,
    )


def _together(block: Block) -> list[NDArray[np.intp]]:
    """Windows (n, 2) to prepare together: all, or one by one where most of the block lies between them.

    What looks at more than a window's surroundings is always prepared for all.
    """
    plain = all(look.preprocess == "none" and look.combine == "none" for look in block.looks)
    side = 2 * halo_px(block.window_px, block.wander_px, block.how, block.reach_px)
    if block.how != "phase" or not plain or len(block.centre_px) * side**2 > math.prod(block.grid.shape):
        return [block.centre_px]
    return list(block.centre_px[:, None])


def _prepared(block: Block, sides: list[Sampling], windows: NDArray[np.intp]) -> _Part:
    halo = halo_px(block.window_px, block.wander_px, block.how, block.reach_px)
    low, high = windows.min(axis=0) - halo, windows.max(axis=0) + halo
    window = Window(int(low[0]), int(low[1]), *(int(n) for n in high - low))
    images = []
    for side, look in zip(sides, block.looks, strict=True):
        data, seen = side.pixels(window)
        valid = informative(data, seen)
        images.append((preprocess(data, valid, how=look.preprocess, combine=look.combine), valid))
    ref, tgt = ((prepare_structure if block.how == "structure" else prepare)(*image) for image in images)
    centre_px = windows - low
    if block.how in ("phase", "structure"):
        centre_px = move_to_texture(ref, centre_px, block.window_px, block.wander_px)
    return _Part(low, images, (ref, tgt), centre_px)


def _match_parts(block: Block, sides: list[Sampling]) -> tuple[Matches, dict[int, tuple[_Part, int]]]:
    """All windows matched; and, by number, those which controls need: their part, and their number in it."""
    n = len(block.centre_px)
    needed = {int(k) for control in block.control for k in (control, _elsewhere(control, n))}
    kept: dict[int, tuple[_Part, int]] = {}
    matches, first = [], 0
    for windows in _together(block):
        part = _prepared(block, sides, windows)
        matches.append(_in_block(part, _match_part(block, part)))
        kept |= {k: (part, k - first) for k in range(first, first + len(windows)) if k in needed}
        first += len(windows)
    return concatenated(matches), kept


def _elsewhere(k: int, n: int) -> int:
    """The window of which that of number ``k`` shall show nothing."""
    return (k + n // 2) % n


def _match_part(block: Block, part: _Part) -> Matches:
    if block.how == "phase" or block.how == "structure" or block.how == "fast":
        return match_windows(*part.fields, part.centre_px, window_px=block.window_px, reach_px=block.reach_px)
    return _match_by_features(block, block.how, part)


def _in_block(part: _Part, matches: Matches) -> Matches:
    return replace(matches, ref_px=matches.ref_px + part.corner_px)


def _match_by_features(block: Block, detector: Detector, part: _Part) -> Matches:
    """Features propose places, about as many as there are windows; matching windows there decides."""
    (ref, ref_valid), (tgt, tgt_valid) = part.images
    ref_px, tgt_px, _ = match_features(
        ref,
        ref_valid,
        tgt,
        tgt_valid,
        detector=detector,
        reach_px=block.reach_px,
        max_points=max(len(part.centre_px), 4),
    )
    # half the distance of two windows around them: features beyond are found again from the block next to this
    around = 2 * block.wander_px
    low, high = part.centre_px.min(axis=0) - around, part.centre_px.max(axis=0) + around
    own = ((ref_px >= low) & (ref_px < high)).all(axis=1)
    at_ref, at_tgt = (np.asarray(np.rint(px[own]), np.intp) for px in (ref_px, tgt_px))
    return match_windows(*part.fields, at_ref, tgt_px=at_tgt, window_px=block.window_px, reach_px=FEATURE_REACH_PX)


def _match_controls(block: Block, parts: dict[int, tuple[_Part, int]]) -> tuple[FloatArray, int]:
    """Significance of windows that do not correspond but look like a match, and how many were tried.

    Each is matched with the same place turned by half a turn and, where there is one, with another place.
    """
    half, reach = block.window_px // 2, block.reach_px
    found = []
    for k in block.control:
        (part, i), (other, j) = parts[int(k)], parts[_elsewhere(int(k), len(block.centre_px))]
        at, elsewhere = part.centre_px[i], other.centre_px[j]
        turned, centre = _turned_about(part.fields[1], at, half + reach + MARGIN_PX + 1)
        found.append(locate(part.fields[0], turned, at - half, centre - half, block.window_px, reach))
        apart = np.abs(elsewhere + other.corner_px - at - part.corner_px).max()
        if apart >= block.window_px:
            found.append(locate(part.fields[0], other.fields[1], at - half, elsewhere - half, block.window_px, reach))
    peaks = [(peak, status) for peak, status in found if peak is not None]
    passed = [peak.significance for peak, status in peaks if status == Status.KEPT]
    return np.array(passed, float), len(peaks)


def _turned_about(field: Field, at: NDArray[np.intp], radius: int) -> tuple[Field, NDArray[np.intp]]:
    """What is around a place, turned by half a turn, and where the place is then."""
    low = np.maximum(at - radius, 0)
    part = field.part(slice(int(low[1]), int(at[1]) + radius), slice(int(low[0]), int(at[0]) + radius)).turned()
    return part, np.array(part.valid.shape[::-1]) - (at - low)


def informative(data: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(height, width) valid in every band and no undeclared fill or saturation: a run of zeros or of the highest value.

    Data and what is valid of it are both (bands, height, width).
    """
    valid = seen.all(axis=0)
    highest = data.max(axis=(1, 2), keepdims=True, initial=1e-30)
    flat = (np.abs(data) <= 1e-6 * highest).all(axis=0) | (data >= highest * (1 - 1e-6)).all(axis=0)
    if not flat.any():
        return np.asarray(valid)
    kernel = np.ones((5, 5), np.uint8)
    fill = cv2.dilate(cv2.erode(flat.astype(np.uint8), kernel), kernel)
    return np.asarray(valid & (fill == 0))


def least_significance(control: FloatArray, n_controls: int, false_match_rate: float) -> float:
    """The significance that ``false_match_rate`` of windows that do not correspond would reach.

    Each control is the best of many shifts, so that their tail is Gumbel's, fitted by its moments.

    >>> least_significance(np.array([4.0, 5.0, 6.0, 5.0, 5.0, 5.0]), 6, 0.001) > 7
    True
    """
    if len(control) < 5:
        return CERTAIN
    share = len(control) / max(n_controls, 1)
    log_rate = math.log(-math.log1p(-min(false_match_rate / share, 0.5)))
    spread = float(control.std()) * math.sqrt(6) / math.pi
    return float(control.mean()) - spread * (np.euler_gamma + log_rate)
