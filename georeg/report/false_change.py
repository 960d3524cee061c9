"""The difference that misregistration alone makes: gradient times residual."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from georeg.models import FloatArray
from georeg.report.findings import FalseChange
from georeg.report.looks import Seen, inside
from georeg.report.similarity import Scaling


def moments(residual_xy: FloatArray) -> FloatArray:
    """Second moments (2, 2) of residuals (N, 2), map units squared."""
    return np.asarray(residual_xy.T @ residual_xy / len(residual_xy))


def expected_difference(image: NDArray[np.float32], transform: Affine, moments_xy: FloatArray) -> FloatArray:
    """sqrt(gᵀ M g) at every pixel of an image (height, width), in its own unit.

    Parameters
    ----------
    transform
        Pixel to map.
    moments_xy
        Second moments (2, 2) of the residuals, map units squared.

    >>> import numpy as np
    >>> from affine import Affine
    >>> slope = np.tile(np.arange(5.0), (4, 1)) * 3  # 3 a pixel, eastwards
    >>> expected_difference(slope, Affine(10, 0, 0, 0, -10, 0), np.diag([25.0, 400.0]))[1].round(9).tolist()
    [1.5, 1.5, 1.5, 1.5, 1.5]
    """
    down, across = np.gradient(image.astype(float))
    a, b, _, d, e, _ = tuple(transform)[:6]
    to_px = np.linalg.inv([[a, b], [d, e]])
    m = to_px @ moments_xy @ to_px.T
    return np.asarray(np.sqrt(np.maximum(m[0, 0] * across**2 + 2 * m[0, 1] * across * down + m[1, 1] * down**2, 0)))


def false_change(
    tiles: Sequence[Seen], transform: Affine, before_xy: FloatArray, after_xy: FloatArray, scaled: Scaling, gsd: float
) -> FalseChange:
    """What misregistration alone does, over comparable ``tiles``, at least one.

    Parameters
    ----------
    transform
        Pixel of the working grid to map.
    before_xy, after_xy
        (N, 2) residuals of the check points, map units.
    """
    of_each = [
        [_compared(tile, image, transform, moments(xy), scaled) for tile in tiles]
        for image, xy in (("before", before_xy), ("after", after_xy))
    ]
    (expected_before, observed_before), (expected_after, observed_after) = (
        (np.concatenate([e for e, _ in pairs]), np.concatenate([o for _, o in pairs])) for pairs in of_each
    )
    figures = [
        float(np.sqrt((values**2).mean()) / scaled.deviation)
        for values in (expected_before, expected_after, observed_before, observed_after)
    ]
    shares = [
        float((np.abs(observed) <= expected).mean())
        for expected, observed in ((expected_before, observed_before), (expected_after, observed_after))
    ]
    rmse_px = [float(np.sqrt((xy**2).sum(axis=1).mean()) / gsd) for xy in (before_xy, after_xy)]
    text = (
        f"As the target was ({rmse_px[0]:.2g} px RMSE), misregistration alone would make a difference of {figures[0]:.1%} of "
        f"the reference's contrast; corrected ({rmse_px[1]:.2g} px RMSE) it makes {figures[1]:.1%}, where {figures[3]:.1%} is "
        f"observed. {shares[1]:.1%} of the pixels differ by no more than that: they are no evidence of change."
    )
    return FalseChange(figures[0], figures[1], figures[2], figures[3], shares[0], shares[1], len(observed_after), text)


def _compared(
    tile: Seen, name: str, transform: Affine, moments_xy: FloatArray, scaled: Scaling
) -> tuple[FloatArray, FloatArray]:
    """Expected and observed difference of the valid pixels of a tile, both (N,), units of the reference."""
    expected = expected_difference(tile.reference, transform, moments_xy)
    observed = tile.reference - scaled(getattr(tile, name))
    inner = inside(tile.valid)
    return expected[inner], observed[inner]
