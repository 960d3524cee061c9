"""What may be done to an image before it is matched: bands combined, contrast equalised, noise smoothed, logarithms."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.errors import InputError
from georeg.matching.fields import fill_invalid

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Preprocess = Literal["none", "clahe", "gaussian", "log"]
Combine = Literal["none", "mean", "difference"]

TILE_PX = 128
"""Side, roughly, of the tiles whose histograms CLAHE equalises. With 16 bits OpenCV never clips below one pixel for each
of 65536 grey values, so contrast grows up to 65536 / TILE_PX² = 4 times, whatever its clip limit says."""
SIGMA_PX = 1.0
"""Standard deviation of the Gaussian."""
LOG_FLOOR = 1.0
"""Percentile of the positive values below which a logarithm is taken of that percentile."""

_STRETCH = (1.0, 99.0)


def preprocess(image: Image, valid: Mask, *, how: Preprocess, combine: Combine) -> Image:
    """Combine the bands of an image, then treat each of those that are left.

    Parameters
    ----------
    image
        (bands, height, width), any unit; what invalid pixels hold has no influence.
    valid
        (height, width)
    how
        "clahe" equalises the histogram locally (Zuiderveld 1994, doi:10.1016/B978-0-12-336156-1.50061-6); "gaussian"
        smooths; "log" makes the multiplicative speckle of SAR intensity additive (values in dB are logarithms already).
    combine
        "none" leaves every band its vote; "mean" averages bands scaled to unit deviation; "difference" is
        (b1 − b2) / (b1 + b2) of exactly two bands.

    Returns
    -------
    Image
        (bands, height, width), or (1, height, width) if combined. Invalid pixels hold 0 if anything was done.

    Raises
    ------
    InputError
        The difference of other than two bands.

    Examples
    --------
    >>> bands = np.array([[[3, 1]], [[1, 3]]], np.float32)
    >>> preprocess(bands, np.ones((1, 2), bool), how="none", combine="difference")
    array([[[ 0.5, -0.5]]], dtype=float32)
    """
    if combine == "difference" and len(image) != 2:
        raise InputError(f"a normalised difference needs exactly 2 bands, not {len(image)}; choose two with --ref-bands "
                         "and --tgt-bands, or combine them by their mean")  # fmt: skip
    if combine == "none" and how == "none":
        return image
    image = np.where(valid, image, np.float32(0))
    combined = {"none": _every, "mean": _mean, "difference": _difference}[combine](image, valid)
    treat = {"none": _same, "clahe": _clahe, "gaussian": _gaussian, "log": _log}[how]
    if not valid.any():
        return np.zeros_like(combined)
    return np.where(valid, [treat(band, valid) for band in combined], 0).astype(np.float32)


def grey(band: NDArray[Any], valid: Mask) -> Image:
    """(height, width) stretched from 0 to 1 between the percentiles of the valid pixels, and continued over the others.

    0 where nothing varies.
    """
    if not valid.any():
        return np.zeros(valid.shape, np.float32)
    seen = band[valid].astype(float)
    low, high = np.percentile(seen, _STRETCH)
    if not high > low:  # all but a few pixels are alike
        low, high = seen.min(), seen.max()
    if not high > low:
        return np.zeros(valid.shape, np.float32)
    stretched = np.clip((np.where(valid, band, low) - low) / (high - low), 0, 1).astype(np.float32)
    # centred, so that it is grey that stands where the filling finds no neighbours
    return np.asarray(fill_invalid(stretched[None] - np.float32(0.5), valid)[0] + np.float32(0.5))


def _every(image: Image, valid: Mask) -> Image:
    return image


def _mean(image: Image, valid: Mask) -> Image:
    """Of the bands that vary; their levels stay, so that what was positive is positive."""
    deviation = np.array([band[valid].std(dtype=float) if valid.any() else 0.0 for band in image])
    weight = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0) / max(len(image), 1)
    return np.asarray(np.tensordot(weight, image, axes=1)[None], np.float32)


def _difference(image: Image, valid: Mask) -> Image:
    """From −1 to 1, as it is of values that are not negative; 0 where the bands add up to 0."""
    first, second = image.astype(float)
    total = first + second
    ratio = np.divide(first - second, total, out=np.zeros_like(total), where=total != 0)
    return np.asarray(np.clip(ratio, -1, 1)[None], np.float32)


def _same(band: Image, valid: Mask) -> Image:
    return band


def _clahe(band: Image, valid: Mask) -> Image:
    """From 0 to 1."""
    height, width = valid.shape
    tiles = (max(1, round(width / TILE_PX)), max(1, round(height / TILE_PX)))
    levels = np.rint(grey(band, valid) * 65535).astype(np.uint16)
    return np.asarray(cv2.createCLAHE(1.0, tiles).apply(levels) / np.float32(65535))


def _gaussian(band: Image, valid: Mask) -> Image:
    """A mean of valid pixels alone."""
    weight, total = (
        cv2.GaussianBlur(each.astype(float), (9, 9), SIGMA_PX, borderType=cv2.BORDER_CONSTANT) for each in (valid, band)
    )
    return np.asarray(np.divide(total, weight, out=np.zeros_like(total), where=valid), np.float32)


def _log(band: Image, valid: Mask) -> Image:
    """0 everywhere if nothing is positive."""
    positive = band[valid & (band > 0)]
    if not len(positive):
        return np.zeros_like(band)
    return np.log(np.maximum(band, np.percentile(positive, LOG_FLOOR))).astype(np.float32)
