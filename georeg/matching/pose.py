"""Where a target lies on a reference when its rotation, scale and offset are unknown: a few candidates, best first.

All matrices map target pixels to reference pixels, (column, row) with (0, 0) the outer corner of the first pixel, and
are similarities. Nothing here is proof: what follows has to check the candidates on tiles.

`poses_by_structure` tries all rotations and scales and correlates the directions of the edges, doubled in angle so that
inverted contrast counts as the same edge (Fitch et al. 2002, doi:10.5244/C.16.11), normalised by the edges that overlap
(as in Padfield 2012, doi:10.1109/TIP.2011.2181402). The sensors may differ, but the images have to share more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.lazily import Lazily
from georeg.matching.preprocess import Image, Mask

fft = Lazily("scipy.fft")

FloatArray = NDArray[np.float64]
Pyramid = list[Image]  # of (height, width, 3): cosine and sine of the doubled angle, and the share that is valid

MIN_OVERLAP = 0.25
"""Least share of the edges of the image with fewer that must overlap."""
START_PX = 72.0
"""Side, roughly, of the smaller image where everything is tried. With fewer px maps are lost; the cost of a search grows
with the fourth power."""
LEAN = 0.5
"""How much that gives way where the larger image is much larger: 0 not at all, 1 entirely."""
LARGEST = 5.0
"""How many times that the larger image may be, however small the other."""
TURN_DEG, ZOOM = 5.0, 1.09
"""Steps of rotation and scale where everything is tried; half a step moves a corner by about 2 px there."""
FINER = ((2.0, 48), (4.0, 12), (6.0, 5))
"""How much finer each next look is, and how many candidates it takes."""
FLAT_PX = 6.0
"""Deviation of the Gaussian within which the field's mean is removed and its strength made even: else the one direction
of a street grid agrees with itself everywhere, and a few strong edges outvote all others."""

_CELL = 4  # overlaps change slowly with the shift, so they are computed for every fourth only
_REACH_PX = 6  # farthest a finer look moves a candidate, in its own pixels
_SMALLEST_PX = 8
_TOP = 2  # shifts kept of each rotation and scale


@dataclass(frozen=True, eq=False)
class Pose:
    """A place of the target on the reference."""

    matrix: FloatArray
    """(2, 3): reference px = matrix[:, :2] @ target px + matrix[:, 2]."""
    score: float
    """By features: how many pairs agree. By structure: the correlation in standard deviations of chance, roughly."""


@dataclass(frozen=True)
class _Guess:
    score: float
    turn: float  # rad
    scale: float  # reference px per target px
    middle: tuple[float, float]  # where the target's centre lies, reference px
    chance: float  # standard deviation of the correlation where nothing agrees


@dataclass(frozen=True)
class _Limits:
    turn: float  # rad
    scale: tuple[float, float]

    def nearest(self, turn: float) -> float:
        wrapped = (turn + math.pi) % (2 * math.pi) - math.pi
        return min(max(wrapped, -self.turn), self.turn)

    def hold(self, turn: float, scale: float, slack: float = 1e-9) -> bool:
        near = abs(math.remainder(turn - self.nearest(turn), 2 * math.pi)) <= slack
        return near and self.scale[0] * (1 - 1e-9) <= scale <= self.scale[1] * (1 + 1e-9)


def poses_by_structure(
    ref: Image,
    ref_valid: Mask,
    tgt: Image,
    tgt_valid: Mask,
    *,
    rotation_deg: float = 180.0,
    scale: tuple[float, float] = (0.25, 4.0),
    n_candidates: int = 5,
) -> list[Pose]:
    """The similarities under which most edges of the target lie along edges of the reference, the best first.

    Parameters
    ----------
    ref, tgt
        (bands, height, width); bands are averaged in orientation space.
    ref_valid, tgt_valid
        (height, width)
    rotation_deg
        Greatest rotation either way.
    scale
        Least and greatest size of a target pixel in reference pixels.
    n_candidates
        Most to return; they differ by more than a few percent of the target.

    Examples
    --------
    >>> ref = np.random.default_rng(0).normal(size=(1, 50, 50)).repeat(4, 1).repeat(4, 2).astype(np.float32)
    >>> valid = np.ones((200, 200), bool)
    >>> turned = np.rot90(-ref, axes=(1, 2))  # to the left: what was at the right is at the top
    >>> best = poses_by_structure(ref, valid, turned, valid, scale=(0.8, 1.25))[0]
    >>> bool(np.abs(best.matrix @ [100, 0, 1] - [200, 100]).max() < 2)
    True
    """
    limits = _Limits(math.radians(rotation_deg), scale)
    sheets, canvas = _pyramid(ref, ref_valid), _pyramid(tgt, tgt_valid)
    if not all(pyramid and pyramid[0][..., :2].any() for pyramid in (sheets, canvas)):
        return []
    guesses = _everywhere(sheets, canvas, limits)
    for finer, limit in FINER:
        few = _distinct(guesses, tgt_valid.shape, max(limit, n_candidates))
        guesses = [_improved(sheets, canvas, guess, finer, limits) for guess in few]
    best = _distinct(guesses, tgt_valid.shape, n_candidates)
    return [Pose(_matrix(g.turn, g.scale, g.middle, tgt_valid.shape), g.score) for g in best if g.score > 0]


def _matrix(turn: float, scale: float, middle: Sequence[float], shape: tuple[int, ...]) -> FloatArray:
    """(2, 3): turns and scales an image of that shape about its centre, which comes to lie at ``middle``."""
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, np.asarray(middle) - linear @ (np.array(shape[1::-1]) / 2)])


def _pyramid(image: Image, valid: Mask) -> Pyramid:
    """The field of edge directions at ever coarser resolution, each level half as large as the last.

    A level is the mean of the finer ones and of the edges of the image at its own resolution: thin roads leave a trace
    in the former, the outlines of fields in the latter.
    """
    bands: list[Image] = [
        np.where(valid, band, band[valid].mean() if valid.any() else 0).astype(np.float32) for band in image
    ]
    weight = valid.astype(np.float32)
    levels: Pyramid = []
    field: Image | None = None
    while min(weight.shape) >= _SMALLEST_PX:
        inner = cv2.erode((weight > 0.99).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.float32)
        own = _directions(bands, inner)
        field = own if field is None else _half(field) + own
        levels.append(_even(field, inner))
        halved = _half(weight)
        bands = [np.asarray(_half(band * weight) / np.maximum(halved, np.float32(1e-6))) for band in bands]
        weight = halved
    return levels


def _half(array: Image) -> Image:
    height, width = array.shape[:2]
    odd = ((0, height % 2), (0, width % 2)) + ((0, 0),) * (array.ndim - 2)
    even = np.pad(array, odd) if height % 2 or width % 2 else array
    return np.asarray(cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA))


def _directions(bands: list[Image], inner: Image) -> Image:
    """(height, width, 2): cosine and sine of twice the gradient's direction; faint edges count less."""
    total = np.zeros((*inner.shape, 2), np.float32)
    if not inner.any():
        return total
    for band in bands:
        smooth = cv2.GaussianBlur(band, (0, 0), 1.0)
        gx, gy = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=1) for order in ((1, 0), (0, 1)))
        xx, yy = gx * gx, gy * gy
        typical = float(np.median((xx + yy)[inner > 0]))
        if typical > 0:
            weight = inner / (xx + yy + typical)
            total += cv2.merge([(xx - yy) * weight, 2 * gx * gy * weight])
    return np.asarray(total / np.float32(len(bands)))


def _even(field: Image, inner: Image) -> Image:
    """Take the local mean away, and divide by the local strength; the mask becomes the third channel."""

    def mean(array: Image) -> Image:
        return np.asarray(cv2.GaussianBlur(array, (0, 0), FLAT_PX, borderType=cv2.BORDER_CONSTANT))

    share = mean(inner) + np.float32(1e-3)
    flat = (field - mean(field) / share[..., None]) * inner[..., None]
    strength = mean((flat**2).sum(axis=2)) / share
    faint = np.float32(0.1) * strength.max() + np.float32(1e-12)
    return np.dstack([flat / np.sqrt(strength + faint)[..., None], inner])


def _placed(pyramid: Pyramid, matrix: FloatArray, shape: tuple[int, int]) -> Image:
    """(3, height, width): the field on a grid to which ``matrix`` maps image px; directions turn with it."""
    zoom = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    level = min(max(round(-math.log2(zoom)), 0), len(pyramid) - 1)
    from_level = matrix * [2.0**level, 2.0**level, 1.0]
    from_level[:, 2] += from_level[:, :2].sum(axis=1) / 2 - 0.5  # OpenCV counts from the centre of the first pixel
    x, y, seen = cv2.split(cv2.warpAffine(pyramid[level], from_level, shape[::-1], flags=cv2.INTER_LINEAR))
    cosine, sine = (np.float32(f(2 * math.atan2(matrix[1, 0], matrix[0, 0]))) for f in (math.cos, math.sin))
    return np.stack([x * cosine - y * sine, x * sine + y * cosine, seen])


def _grid_px(ref: Pyramid, tgt: Pyramid, scale: float, start_px: float) -> float:
    """Reference px per px of a grid on which the smaller image is about ``start_px`` large."""
    side = math.sqrt(ref[0][..., 2].sum()), math.sqrt(tgt[0][..., 2].sum()) * scale
    wanted = min(side) ** (1 - LEAN) * max(side) ** LEAN / start_px
    return float(max(wanted, max(side) / (LARGEST * start_px), min(1.0, scale)))


@dataclass(frozen=True)
class _Spectra:
    field: NDArray[np.complex64]  # (2, ...)
    strength: NDArray[np.complex64]
    seen: NDArray[np.complex64]
    total: float  # of the strength


def _spectra(field: Image, full: tuple[int, int]) -> _Spectra:
    cells = full[0] // _CELL, full[1] // _CELL
    strength = field[0] ** 2 + field[1] ** 2
    grown = np.zeros((*full, 2), np.float32)
    grown[: field.shape[1], : field.shape[2]] = cv2.merge([strength, field[2]])
    strength_c, seen_c = cv2.split(cv2.resize(grown, cells[::-1], interpolation=cv2.INTER_AREA))
    return _Spectra(
        fft.rfft2(field[:2], full), fft.rfft2(strength_c) * _CELL**2, fft.rfft2(seen_c), float(strength.sum())
    )


def _everywhere(ref: Pyramid, tgt: Pyramid, limits: _Limits) -> list[_Guess]:
    n_scales = math.ceil(math.log(limits.scale[1] / limits.scale[0]) / math.log(ZOOM)) + 1
    prepared: dict[tuple[float, tuple[int, int]], _Spectra] = {}
    guesses: list[_Guess] = []
    for scale in np.geomspace(*limits.scale, n_scales):
        px = 2 ** (round(4 * math.log2(_grid_px(ref, tgt, scale, START_PX))) / 4)  # few grids, so they can be reused
        shape = math.ceil(ref[0].shape[0] / px), math.ceil(ref[0].shape[1] / px)
        side = math.ceil(math.hypot(*tgt[0].shape[:2]) * scale / px)
        spare = int(0.35 * min(side, *shape))  # less would overlap than counts
        full = tuple(_CELL * fft.next_fast_len(-(-(n + side - spare) // _CELL)) for n in shape)
        key = (px, (full[0], full[1]))
        if key not in prepared:
            prepared[key] = _spectra(_placed(ref, np.array([[1 / px, 0, 0], [0, 1 / px, 0]]), shape), key[1])
        guesses += _at_scale(prepared[key], tgt, float(scale), px, side, key[1], spare, limits)
    return guesses


def _at_scale(
    ref: _Spectra, tgt: Pyramid, scale: float, px: float, side: int, full: tuple[int, int], spare: int, limits: _Limits
) -> Iterator[_Guess]:
    n_turns = math.ceil(180 / TURN_DEG)
    cells = full[0] // _CELL, full[1] // _CELL
    power, count = 0.0, 0
    found = []
    for turn in np.arange(n_turns) * math.pi / n_turns:
        # half a turn leaves doubled angles alone and conjugates the spectra, so it comes nearly free
        halves = [h for h in (0, 1) if limits.hold(turn + math.pi * h, scale, math.radians(TURN_DEG) / 2)]
        if not halves:
            continue
        matrix = _matrix(turn, scale / px, (side / 2, side / 2), tgt[0].shape)
        mine = _spectra(_placed(tgt, matrix, (side, side)), full)
        floor = MIN_OVERLAP * min(ref.total, mine.total)
        for half in halves:
            field, strength, seen = (a if half else a.conj() for a in (mine.field, mine.strength, mine.seen))
            correlation = fft.irfft2(ref.field[0] * field[0] + ref.field[1] * field[1], full)
            overlap_ref, overlap_tgt = fft.irfft2(np.stack([ref.strength * seen, ref.seen * strength]), cells)
            enough = np.minimum(overlap_ref, overlap_tgt) > max(floor, 1e-6)
            norm = np.where(enough, overlap_ref * overlap_tgt, np.inf) ** -0.25
            power += float(((correlation[::_CELL, ::_CELL] * norm) ** 2).sum())
            count += int(enough.sum())
            surface = _blockwise_max(correlation) * norm
            for _ in range(_TOP):
                row, col = divmod(int(surface.argmax()), cells[1])
                if not surface[row, col] > 0:
                    break
                rows, cols = (slice(k * _CELL, (k + 1) * _CELL) for k in (row, col))
                down, right = divmod(int(correlation[rows, cols].argmax()), _CELL)
                peak = np.array([col * _CELL + right, row * _CELL + down]) - half * (side - 1)
                least = spare // 2 - side
                shift = (peak - least) % np.array(full[::-1]) + least
                middle = (shift + side / 2) * px
                found.append((float(surface[row, col]), turn + math.pi * half, (float(middle[0]), float(middle[1]))))
                surface[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3] = 0
    chance = math.sqrt(power / count) if count else 1.0
    for score, turn, at in found:
        yield _Guess(score / chance, limits.nearest(turn), scale, at, chance)


def _blockwise_max(array: Image) -> Image:
    rows = array.reshape(array.shape[0] // _CELL, _CELL, -1).max(axis=1)
    return np.asarray(np.maximum.reduce([rows[:, k::_CELL] for k in range(_CELL)]))


def _distinct(guesses: list[_Guess], shape: tuple[int, ...], limit: int) -> list[_Guess]:
    """The best, without those that put the target's corners nearly where a better one does."""
    guesses = sorted(guesses, key=lambda g: -g.score)
    corners = np.array([(x, y, 1) for x in (0, shape[1]) for y in (0, shape[0])])
    at = np.array([corners @ _matrix(g.turn, g.scale, g.middle, shape).T for g in guesses]).reshape(-1, 4, 2)
    near = 0.06 * math.hypot(*shape) * np.array([g.scale for g in guesses])
    left = np.array([g.score > 0 for g in guesses], bool)
    kept: list[_Guess] = []
    while left.any() and len(kept) < limit:
        first = int(left.argmax())
        kept.append(guesses[first])
        left &= np.linalg.norm(at - at[first], axis=2).mean(axis=1) > near
        left[first] = False
    return kept


def _improved(ref: Pyramid, tgt: Pyramid, guess: _Guess, finer: float, limits: _Limits) -> _Guess:
    """Try the rotations and scales around it, at finer resolution and with smaller shifts."""
    shape = tgt[0].shape[:2]
    px = _grid_px(ref, tgt, guess.scale, START_PX * finer)
    turn_step, zoom = math.radians(TURN_DEG) / finer, ZOOM ** (1 / finer)
    corners = np.array([(x, y, 1) for x in (0, shape[1]) for y in (0, shape[0])])
    corners = corners @ _matrix(guess.turn, guess.scale, guess.middle, shape).T
    low = np.maximum(corners.min(axis=0) - _REACH_PX * px, 0)
    high = np.minimum(corners.max(axis=0) + _REACH_PX * px, ref[0].shape[1::-1])
    width, height = (max(math.ceil(v), 1) for v in (high - low) / px)
    full = tuple(fft.next_fast_len(n + 2 * _REACH_PX) for n in (height, width))
    field_ref = _placed(ref, np.column_stack([np.eye(2) / px, -low / px]), (height, width))
    spectrum_ref = fft.rfft2(field_ref[:2], full)
    strength_ref = field_ref[0] ** 2 + field_ref[1] ** 2
    scores = np.full((3, 3), -np.inf)
    moves = np.zeros((3, 3, 2))
    for i, j in np.ndindex(3, 3):
        turn, scale = guess.turn + turn_step * (i - 1), guess.scale * zoom ** (j - 1)
        if (i, j) != (1, 1) and not limits.hold(turn, scale):
            continue
        matrix = _matrix(turn, scale, guess.middle, shape)
        field = _placed(tgt, np.column_stack([matrix[:, :2], matrix[:, 2] - low]) / px, (height, width))
        product = (spectrum_ref * fft.rfft2(field[:2], full).conj()).sum(axis=0)
        correlation = np.roll(fft.irfft2(product, full), (_REACH_PX, _REACH_PX), (0, 1))
        correlation = correlation[: 2 * _REACH_PX + 1, : 2 * _REACH_PX + 1]
        overlap_ref = float((strength_ref * field[2]).sum())
        overlap_tgt = float(((field[0] ** 2 + field[1] ** 2) * field_ref[2]).sum())
        row, col = divmod(int(correlation.argmax()), 2 * _REACH_PX + 1)
        scores[i, j] = correlation[row, col] / max(overlap_ref * overlap_tgt, 1e-12) ** 0.25
        moves[i, j] = (
            col - _REACH_PX + _vertex(correlation[row], col),
            row - _REACH_PX + _vertex(correlation[:, col], row),
        )
    i, j = divmod(int(scores.argmax()), 3)
    middle = np.array(guess.middle) + moves[i, j] * px
    return replace(
        guess,
        score=float(scores[i, j]) / guess.chance,
        turn=guess.turn + turn_step * (i - 1 + _vertex(scores[:, j], i)),
        scale=guess.scale * zoom ** (j - 1 + _vertex(scores[i], j)),
        middle=(float(middle[0]), float(middle[1])),
    )


def _vertex(values: NDArray[Any], at: int) -> float:
    """How far from the greatest value the parabola through it and its neighbours has its top."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = (float(v) for v in values[at - 1 : at + 2])
    bend = before - 2 * here + after
    return 0.5 * (before - after) / bend if math.isfinite(bend) and bend < 0 else 0.0
