"""Match what only the structure of two images shares: radar and optical, map and photograph, night and day.

Each pixel bears the distribution of the gradients' directions around it, modulo half a turn, as the first terms of its
Fourier series: a histogram of oriented gradients (Dalal & Triggs 2005, doi:10.1109/CVPR.2005.177) without bins (Liu et
al. 2014, doi:10.1007/s11263-013-0634-z). Gradients count by how much they exceed those around them, so that tone,
contrast and its sign do not matter; what varies slowly is taken away, as it would make a broad peak.

`refine_structure` finds the top of the correlation of two windows. Blocks of the window vote for it, and the scatter of
their votes, not the height of the peak, tells how well it is known.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.matching.fields import MARGIN_PX, Field, Image, fill_invalid, standardised
from georeg.matching.refine import STRAY_PX, Refined
from georeg.matching.structure import TEMPLATE_PX

FloatArray = NDArray[np.float64]

GRADIENT_PX = 0.7
"""Deviation of the Gaussian whose gradient is taken."""
CONTRAST_PX = 16.0
"""Deviation of the Gaussian mean of the squared gradients that a gradient is compared with."""
FAINT = 0.1
"""Squared gradients of this share of that mean count 0.7, larger ones up to 1, so that no bright target dominates."""
FLAT = 0.01
"""This share of the mean over the image is added to it, so that noise of flat ground does not count."""
POOL_PX = 1.2
"""Deviation of the Gaussian mean of the channels."""
LOCAL_PX = 6.0
"""Deviation of the Gaussian mean that is taken away from the channels."""
FINER = 0.7
"""Weight of the channels of four times the direction."""
BLOCK_PX = 16
"""Side of the blocks that vote."""
STEP_PX = 2
"""In windows larger than `TEMPLATE_PX`, every so many pixels of a row and of a column are compared: they are smooth."""
LEAST_BLOCKS = 4
"""A window has at least this many blocks along a side."""
ROUNDS = 4
"""Most places whose neighbourhood the refinement looks at."""
NEAR_PX = 0.75
"""A top this near to the middle of the places looked at is read there; more than half a pixel, so that it cannot swing."""
LEAST_HOLDING = 2.0
"""A window that fewer blocks than this hold says nothing of how well it is known."""
FINEST_PX = 0.02
"""No shift is known better than this: the pull of whole pixels on the finest texture."""
OPTIMISM = 1.1
"""The scatter of the votes understates deviations by this: 1.15 on infrared and visible images of one grid."""


def prepare_structure(image: Image, valid: NDArray[np.bool_]) -> Field:
    """Prepare a block of pixels to be matched by its structure alone; both images must be.

    Parameters
    ----------
    image
        (bands, height, width), finite; the two images may have different bands.
    valid
        (height, width)

    >>> import numpy as np
    >>> step = np.tile(np.repeat(np.float32([0, 1]), 32), (64, 1))
    >>> field, inverted = (prepare_structure(band[None], np.ones((64, 64), bool)) for band in (step, 5 - step))
    >>> field.edges.shape, bool(np.allclose(field.edges, inverted.edges, atol=1e-4))
    ((64, 64, 4), True)
    """
    known = valid.astype(np.uint8)
    kernel = np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8)
    inner = np.asarray(cv2.erode(known, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8)
    seen = inner.astype(np.float32)
    bands = [_directions(standardised(band, valid), seen) for band in fill_invalid(image, valid)]
    pooled = _smooth(np.asarray(sum(bands), np.float32), POOL_PX)
    rough = (pooled - _local_mean(pooled * seen[..., None], seen, LOCAL_PX)) * seen[..., None]
    power = float(np.vdot(rough, rough)) / max(float(seen.sum()), 1.0)
    return Field((), (), np.asarray(rough / np.float32(np.sqrt(power) or 1.0), np.float32), inner, known)


def _smooth(image: Image, sigma_px: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT))


def _local_mean(image: Image, seen: Image, sigma_px: float) -> Image:
    """Gaussian mean over the valid pixels, of an image that is 0 elsewhere; made on larger pixels, as it is smooth."""
    height, width = seen.shape
    larger = max(int(sigma_px / 2), 1)
    size = (-(-width // larger), -(-height // larger))

    def mean(values: Image) -> Image:
        small = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
        return np.asarray(cv2.resize(_smooth(small, sigma_px / larger), (width, height)), np.float32)

    weight = np.maximum(mean(seen), np.float32(1e-3))
    return np.asarray(mean(image) / (weight if image.ndim == 2 else weight[..., None]))


def _directions(band: Image, seen: Image) -> Image:
    """(height, width, 4) cosine and sine of twice and of four times the gradient's direction, 1 long where it is clear."""
    smooth = _smooth(band, GRADIENT_PX)
    slope = np.array([[-0.5, 0, 0.5]], np.float32)
    gx = cv2.filter2D(smooth, cv2.CV_32F, slope, borderType=cv2.BORDER_REFLECT) * seen
    gy = cv2.filter2D(smooth, cv2.CV_32F, slope.T, borderType=cv2.BORDER_REFLECT) * seen
    power = gx * gx + gy * gy + np.float32(1e-20)
    faint = np.float32(FAINT) * (_local_mean(power, seen, CONTRAST_PX) + np.float32(FLAT) * power.mean())
    amount = np.sqrt(power / (power + faint))
    cos2, sin2 = (gx * gx - gy * gy) / power, 2 * gx * gy / power
    finer = np.float32(FINER) * amount
    series = (amount * cos2, amount * sin2, finer * (cos2 * cos2 - sin2 * sin2), finer * 2 * cos2 * sin2)
    return np.asarray(cv2.merge(series), np.float32)


def refine_structure(
    ref: Field,
    tgt: Field,
    ref_corner: tuple[int, int],
    tgt_corner: tuple[int, int],
    window_px: int,
    start_px: tuple[float, float],
) -> Refined | None:
    """Refine the shift of one window; None where it strays from its start or nothing holds it.

    The disagreement is that of two opposite quarters of the window with the other two: it sees errors that go on for
    longer than a block, but not a linear change of the shift within the window.

    Parameters
    ----------
    ref_corner, tgt_corner
        First pixel (column, row) of each window; `georeg.matching.refine.HALO_PX` more pixels around it must exist.
    window_px
        Side of the windows.
    start_px
        Shift (column, row) to start from, within a pixel.

    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(1, 80, 80)).astype(np.float32)
    >>> field = prepare_structure(noise, np.ones((80, 80), bool))
    >>> bool(np.abs(refine_structure(field, field, (8, 8), (8, 8), 64, (0.4, 0.0)).shift_px).max() < 0.01)
    True
    """
    whole = np.zeros(2, int)
    for _ in range(ROUNDS):
        votes = _votes(ref, tgt, ref_corner, (tgt_corner[0] + int(whole[0]), tgt_corner[1] + int(whole[1])), window_px)
        top = _top(votes.sum(axis=0))
        if top is None or np.abs(whole + top - start_px).max() > STRAY_PX:
            return None
        if np.abs(top).max() <= NEAR_PX:
            break
        whole += np.rint(top).astype(int).clip(-1, 1)
    else:
        return None
    held = np.maximum(-votes[:, 3] - votes[:, 4], 0)
    holding = float(held.sum() ** 2 / (held @ held))
    if holding < LEAST_HOLDING:
        return None
    cov, difference = _scatter(votes, top, holding)
    disagreement = float(difference @ np.linalg.solve(cov, difference))
    return Refined(whole + top, cov, np.array(ref_corner) + _centre(held, window_px), disagreement)


def _votes(ref: Field, tgt: Field, ref_corner: tuple[int, int], tgt_corner: tuple[int, int], side: int) -> FloatArray:
    """(blocks, 6) of each block's correlation about a shift: the coefficients of 1, x, y, x²/2, y²/2 and xy.

    What the target would explain of the reference less half of what it has by itself, so that rich ground does not
    attract: the top of the sum is that of the normalised correlation. Only pixels count that are valid at all shifts.
    """
    blocks = max(side // BLOCK_PX, LEAST_BLOCKS)
    step = 1 if side <= TEMPLATE_PX else STEP_PX

    def cut(image: NDArray[Any], corner: tuple[int, int]) -> NDArray[Any]:
        col, row = corner
        return np.ascontiguousarray(image[row : row + side : step, col : col + side : step])

    around = [(tgt_corner[0] + dx, tgt_corner[1] + dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    seen = [cut(ref.valid, ref_corner), *(cut(tgt.valid, corner) for corner in around)]
    both = np.minimum.reduce(seen).astype(np.float32)[..., None]
    f, moved = cut(ref.edges, ref_corner) * both, [cut(tgt.edges, corner) for corner in around]
    middle = moved[4] * both
    half_gain = np.float32(0.5 * np.vdot(f, middle) / max(float(np.vdot(middle, middle)), 1e-20))
    ones = np.ones((1, f.shape[2]), np.float32)
    fits = [cv2.transform((f - half_gain * g * both) * g, ones) for g in moved]
    surface = [cv2.resize(fit, (blocks, blocks), interpolation=cv2.INTER_AREA).ravel() for fit in fits]
    return np.asarray(np.array(surface, float).T @ _PARABOLOID)


def _paraboloid() -> FloatArray:
    """(9, 6): values on 3 by 3 places, row by row, to the coefficients of the paraboloid that fits them best."""
    y, x = np.indices((3, 3)).reshape(2, -1) - 1.0
    return np.asarray(np.linalg.pinv(np.stack([np.ones(9), x, y, x * x / 2, y * y / 2, x * y], axis=1)).T)


_PARABOLOID = _paraboloid()


def _slope_and_bend(coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gradient (..., 2) and Hessian (..., 2, 2) of paraboloids (..., 6)."""
    _, x, y, xx, yy, xy = np.moveaxis(coefficients, -1, 0)
    return np.stack([x, y], axis=-1), np.stack([xx, xy, xy, yy], axis=-1).reshape(*x.shape, 2, 2)


def _top(coefficients: FloatArray) -> FloatArray | None:
    """Where a paraboloid has its top, None where it has none."""
    slope, bend = _slope_and_bend(coefficients)
    steep = np.linalg.eigvalsh(bend)
    if not (np.isfinite(steep).all() and steep[1] < 1e-6 * steep[0] < 0):
        return None
    return np.asarray(np.linalg.solve(bend, -slope))


def _scatter(votes: FloatArray, top: FloatArray, holding: float) -> tuple[FloatArray, FloatArray]:
    """Covariance (2, 2) of the common top, and how far the opposite quarters of the window move it apart (2,).

    A sandwich: the slopes of the blocks at the top scatter about 0; the bend of their sum turns them into pixels.
    """
    slope, bend = _slope_and_bend(votes)
    pulls = (slope + bend @ top) @ np.linalg.inv(bend.sum(axis=0))
    side = np.sqrt(len(votes))
    half = np.sign(np.arange(side) - (side - 1) / 2)
    cov = OPTIMISM**2 * holding / (holding - 1) * (pulls.T @ pulls) + FINEST_PX**2 * np.eye(2)
    return np.asarray(cov, float), np.asarray(np.outer(half, half).ravel() @ pulls, float)


def _centre(held: FloatArray, side: int) -> FloatArray:
    """(2,) mean place in the window (column, row) of what holds it, block by block."""
    blocks = round(np.sqrt(len(held)))
    at = (np.arange(blocks) + 0.5) * side / blocks
    across = held.reshape(blocks, blocks)
    return np.asarray(np.array([across.sum(axis=0) @ at, across.sum(axis=1) @ at]) / held.sum(), float)
