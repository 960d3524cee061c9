"""Dates of one ground, each displaced by a known amount with exact optics, of which not all look alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from scenes import fields, grey, placed, see
from scipy import ndimage

GSD = 10.0
"""Map units of a pixel."""
ORIGIN = (400_000.0, 5_800_000.0)
"""Map coordinates of the outer corner of the first pixel, as files say it."""
CRS = "EPSG:32633"


def grounds(n: int, side: int, seed: int = 0, kept: float = 0.9, snow: tuple[int, ...] = ()) -> list[np.ndarray]:
    """(side, side) ground of each date: it changes by a tenth of its variance from one to the next, and shows in the dates
    of ``snow`` nothing of what the first one shows; others show both."""
    rng = np.random.default_rng([7, seed])
    changing = [fields(seed + 100 * part, side) for part in (1, 2)]
    made = []
    for date in range(n):
        for part in (0, 1):
            fresh = ndimage.gaussian_filter(rng.normal(size=(side, side)), 3.0)
            changing[part] = np.sqrt(kept) * changing[part] + np.sqrt(1 - kept) * fresh / fresh.std()
        shown = changing[1] if date in snow else changing[0] if date == 0 else (changing[0] + changing[1]) / np.sqrt(2)
        made.append(shown)
    return made


def displacements(n: int, seed: int = 0, px: float = 2.0) -> np.ndarray:
    """(N, 2) by which the georeferencing of each date is wrong, map units; that of the first is right."""
    found = np.random.default_rng([8, seed]).uniform(-px, px, (n, 2)) * GSD
    found[0] = 0
    return found


def written(
    folder: Path, ground: list[np.ndarray], wrong_xy: np.ndarray, side: int, noise: float = 0.05, seed: int = 0
) -> list[str]:
    """A GeoTIFF of each date, of (side, side) pixels; it lies ``wrong_xy`` from where its georeferencing has it."""
    paths = []
    for date, (shown, (east, north)) in enumerate(zip(ground, wrong_xy, strict=True)):
        centre = np.array(shown.shape[::-1]) / 2 + 2 * np.array([east, -north]) / GSD
        image = grey(see(shown, placed(2.0, 0.0, tuple(centre), (side, side)), (side, side)), noise, 50 * seed + date)
        path = folder / f"date_{2015 + date}0701.tif"
        profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "crs": CRS}
        with rasterio.open(path, "w", transform=Affine(GSD, 0, ORIGIN[0], 0, -GSD, ORIGIN[1]), **profile) as file:
            file.write(image, 1)
        paths.append(str(path))
    return paths
