"""Where a window of the reference lies in the target, to about a tenth of a pixel, by the orientation of its edges.

Every whole-pixel shift is scored by the correlation of the two edge fields where both are valid, normalised by the
edges that overlap there (masked normalised correlation: Padfield 2012, doi:10.1109/TIP.2011.2181402). The window is
compared with all of the ground it may lie on, so no taper pulls the peak towards where it was expected.

OpenCV correlates; the rest is done in C (`_peak.c`, `_fields.c`) where a compiler was at hand when georeg was installed.
`find_peak_by_numpy` and `move_to_texture_by_numpy` do the same, for the reader and where there was none.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.matching import _kernel
from georeg.matching.fields import Field

FloatArray = NDArray[np.float64]
Pixels = NDArray[np.intp]

TEMPLATE_PX = 64
"""Larger windows are compared on edges averaged over two pixels."""
PEAK_PX = 3
"""A second peak is at least this far from the first, compared pixels."""
RIVAL = 0.8
"""A second peak of this share of the first makes a match ambiguous, unless both lie on one ridge, as along an edge."""
RIDGE_PX = 1.0
"""Most deviation of a ridge across its length, compared pixels."""
MIN_OVERLAP = 0.25
"""Least share of the edges of a window that must overlap valid ground for a shift to count."""

_STEP_PX = 4
"""Windows move to texture in steps of this."""


_Settings = _kernel.numbers("_Settings", "peak_px", "rival", "ridge_px", "min_overlap")
_SETTINGS = _Settings(PEAK_PX, RIVAL, RIDGE_PX, MIN_OVERLAP)


class _Part(ctypes.Structure):
    _fields_ = [("edges", ctypes.c_void_p), ("side", ctypes.c_int64), ("pitch", ctypes.c_int64)]


class _Found(ctypes.Structure):
    _fields_ = [
        ("shift_px", ctypes.c_double * 2),
        ("score", ctypes.c_double),
        ("overlap", ctypes.c_double),
        ("ridge_px", ctypes.c_double * 3),
        ("ambiguous", ctypes.c_double),
        ("inside", ctypes.c_double),
    ]


_PEAK = _kernel.load(
    _kernel.FOLDER / "_peak.so", "georeg_peak_v1", _kernel.ADDRESS, _kernel.INTEGER, *6 * [_kernel.ADDRESS]
)
_TEXTURE = _kernel.load(
    _kernel.FOLDER / "_fields.so", "georeg_texture_v1", _kernel.ADDRESS, *8 * [_kernel.INTEGER], _kernel.ADDRESS
)
COMPILED = _PEAK is not None and _TEXTURE is not None
"""Whether `find_peak` and `move_to_texture` run in C."""


@dataclass(frozen=True)
class Peak:
    """The best shift of a window."""

    shift_px: FloatArray
    """(2,) target position - reference position (column, row), less what was expected."""
    score: float
    """Correlation of the edges, -1 to 1."""
    significance: float
    """The score times the root of the edges that overlap: alike for all windows that do not correspond."""
    ridge_px: FloatArray
    """(2, 2) covariance of the shifts that fit about as well along a ridge, px²; 0 where there is no ridge."""
    ambiguous: bool
    """Another place fits about as well."""
    inside: bool
    """Whether the peak lies within the search area, not at its border."""


def find_peak(
    ref: Field,
    tgt: Field,
    ref_corner: tuple[int, int],
    tgt_corner: tuple[int, int],
    *,
    window_px: int,
    reach_px: int,
) -> Peak | None:
    """The best shift of one window within a search area; None where it has no edges.

    Parameters
    ----------
    ref_corner, tgt_corner
        First pixel (column, row) of the window, and of where it is expected in the target; the window must lie inside
        the image, and so must ``reach_px`` more pixels around it in the target.
    """
    if _PEAK is None:
        return find_peak_by_numpy(ref, tgt, ref_corner, tgt_corner, window_px=window_px, reach_px=reach_px)
    (window, seen), (ground, seen_ground), reduce = _cuts(ref, tgt, ref_corner, tgt_corner, window_px, reach_px)
    surface, overlap, under = np.asarray(cv2.matchTemplate(ground, window, cv2.TM_CCORR), np.float32), None, None
    if seen is not None and seen_ground is not None:
        overlap = np.asarray(cv2.matchTemplate(seen_ground, _energy(window), cv2.TM_CCORR), np.float32)
        under = np.asarray(cv2.matchTemplate(_energy(ground), seen, cv2.TM_CCORR), np.float32)
    found = _Found()
    parts, maps = [_part(image) for image in (window, ground)], [surface, overlap, under]
    addresses = [None if each is None else each.ctypes.data for each in maps]
    if not _PEAK(ctypes.byref(_SETTINGS), window.shape[2], *map(ctypes.byref, parts), *addresses, ctypes.byref(found)):
        return None
    xx, xy, yy = (value * reduce**2 for value in found.ridge_px)
    return Peak(
        shift_px=np.array(found.shift_px) * reduce,
        score=found.score,
        significance=found.score * math.sqrt(max(found.overlap, 0)) * reduce,
        ridge_px=np.array([[xx, xy], [xy, yy]]),
        ambiguous=found.ambiguous > 0,
        inside=found.inside > 0,
    )


def _part(image: NDArray[np.float32]) -> _Part:
    return _Part(image.ctypes.data, image.shape[0], image.strides[0] // image.itemsize)


def find_peak_by_numpy(
    ref: Field,
    tgt: Field,
    ref_corner: tuple[int, int],
    tgt_corner: tuple[int, int],
    *,
    window_px: int,
    reach_px: int,
) -> Peak | None:
    """What `find_peak` does, without a compiled library."""
    (template, seen), (ground, seen_ground), reduce = _cuts(ref, tgt, ref_corner, tgt_corner, window_px, reach_px)
    energy, energy_ground = (_energy(a) for a in (template, ground))
    total = float(energy.sum())
    if not total > 0:
        return None
    surface = np.asarray(cv2.matchTemplate(ground, template, cv2.TM_CCORR), np.float32)
    if seen is None or seen_ground is None:
        rows, cols = template.shape[:2]
        sums = cv2.boxFilter(energy_ground, cv2.CV_32F, (cols, rows), anchor=(0, 0), normalize=False)
        overlap_ground = sums[: surface.shape[0], : surface.shape[1]]
        overlap = np.full_like(surface, total)
    else:
        overlap = np.asarray(cv2.matchTemplate(seen_ground, energy, cv2.TM_CCORR), np.float32)
        overlap_ground = cv2.matchTemplate(energy_ground, seen, cv2.TM_CCORR)
    enough = overlap >= MIN_OVERLAP * total
    scores = np.where(enough, surface / np.sqrt(np.maximum(overlap * overlap_ground, 1e-6)), -1).astype(np.float32)
    return _read_peak(scores, np.asarray(np.minimum(overlap, overlap_ground), np.float32), reduce)


_Cut = tuple[NDArray[np.float32], NDArray[np.float32] | None]


def _cuts(
    ref: Field, tgt: Field, ref_corner: tuple[int, int], tgt_corner: tuple[int, int], window_px: int, reach_px: int
) -> tuple[_Cut, _Cut, int]:
    """Edges of the window and of its ground and, unless all are, which pixels are valid; and by how much both are reduced."""
    first = (tgt_corner[0] - reach_px, tgt_corner[1] - reach_px)
    (window, seen), (ground, seen_ground) = _cut(ref, ref_corner, window_px), _cut(tgt, first, window_px + 2 * reach_px)
    reduce = 1 if window_px <= TEMPLATE_PX else 2
    if reduce > 1:
        window, ground = _reduced(window, reduce), _reduced(ground, reduce)
    if (ref.whole or seen.all()) and (tgt.whole or seen_ground.all()):
        return (window, None), (ground, None), reduce
    masks = [mask.astype(np.float32) for mask in (seen, seen_ground)]
    if reduce > 1:
        masks = [_reduced(mask, reduce) for mask in masks]
    return (window, masks[0]), (ground, masks[1]), reduce


def _cut(field: Field, corner: tuple[int, int], side: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    col, row = corner
    height, width = field.valid.shape
    if min(col, row) < 0 or max(col - width, row - height) > -side or side < 1:
        raise ValueError(f"{side} pixels from ({col}, {row}) are not within {width} by {height}")
    part = np.s_[row : row + side, col : col + side]
    return field.edges[part], field.valid[part]


def _energy(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of squares over the channels."""
    return np.asarray(cv2.transform(edges * edges, np.ones((1, edges.shape[2]), np.float32)))


def _reduced(image: NDArray[np.float32], reduce: int) -> NDArray[np.float32]:
    size = (image.shape[1] // reduce, image.shape[0] // reduce)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _read_peak(surface: NDArray[np.float32], overlap: NDArray[np.float32], reduce: int) -> Peak:
    _, score, _, (col, row) = cv2.minMaxLoc(surface)
    height, width = surface.shape
    middle = np.array([width - 1, height - 1]) / 2
    at = np.array([col, row], float)
    inside = 0 < row < height - 1 and 0 < col < width - 1
    if inside:
        at += _vertex(surface[row, col - 1 : col + 2]), _vertex(surface[row - 1 : row + 2, col])
    rows, cols = np.nonzero(surface > RIVAL * score)
    apart = np.stack([cols - col, rows - row])
    ridge, ambiguous = np.zeros((2, 2)), False
    if score > 0 and np.abs(apart).max() > PEAK_PX:
        ridge = apart @ apart.T / apart.shape[1]
        ambiguous = bool(np.linalg.eigvalsh(ridge)[0] > RIDGE_PX**2)
    return Peak(
        shift_px=(at - middle) * reduce,
        score=float(score),
        significance=float(score) * float(np.sqrt(max(float(overlap[row, col]), 0))) * reduce,
        ridge_px=ridge * reduce**2,
        ambiguous=ambiguous,
        inside=inside,
    )


def _vertex(three: NDArray[np.float32]) -> float:
    """Where the parabola through three values has its peak, from the middle one."""
    left, middle, right = (float(v) for v in three)
    return 0.5 * (left - right) / min(left - 2 * middle + right, -1e-9)


def move_to_texture(field: Field, centre_px: Pixels, window_px: int, within_px: int) -> Pixels:
    """The window centres, each moved by up to ``within_px`` to where edges of different directions are the most.

    Parameters
    ----------
    centre_px
        (N, 2) (column, row); windows of ``window_px`` about all places within reach must lie inside the image.
    """
    reach = within_px // _STEP_PX
    if reach == 0 or not len(centre_px):
        return centre_px
    if _TEXTURE is None:
        return move_to_texture_by_numpy(field, centre_px, window_px, within_px)
    height, width, channels = field.edges.shape
    moved = np.array(centre_px, np.int64, order="C")
    cells = (round(height / _STEP_PX), round(width / _STEP_PX), window_px // _STEP_PX)
    _TEXTURE(field.laid.edges, height, width, channels, *cells, reach, len(moved), moved.ctypes.data)
    return moved.astype(np.intp, copy=False)


def move_to_texture_by_numpy(field: Field, centre_px: Pixels, window_px: int, within_px: int) -> Pixels:
    """What `move_to_texture` does, without a compiled library."""
    step = _STEP_PX
    reach = within_px // step
    if reach == 0 or not len(centre_px):
        return centre_px
    # with twice the angle, edges of all directions cancel, and those of one direction do not
    direction = np.ascontiguousarray(field.edges[..., :2])
    amount = np.sqrt(_energy(direction))
    small = cv2.resize(np.dstack([amount, direction]), None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    sums = cv2.boxFilter(small, cv2.CV_32F, (window_px // step, window_px // step), borderType=cv2.BORDER_CONSTANT)
    crossing = sums[..., 0] - np.hypot(sums[..., 1], sums[..., 2])
    line = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    at = centre_px[:, None] // step + offsets
    height, width = crossing.shape
    found = crossing[at[..., 1].clip(0, height - 1), at[..., 0].clip(0, width - 1)]
    best = (found * (1 - 0.1 * (offsets**2).sum(axis=1) / max(2 * reach**2, 1))).argmax(axis=1)
    return np.asarray(centre_px + step * offsets[best], np.intp)
