"""Corrections whose effect is known without georeg: a raster, a displacement written in NumPy, and a fit to it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.errors import NotGeoreferencedWarning

from georeg.fit import Fit, Role
from georeg.models import LADDER
from georeg.tie_points import Inputs, Status, TiePoints

Array = NDArray[np.float64]

UTM = CRS.from_epsg(32633)
GSD = 10.0
SHAPE = (300, 400)
NORTH_UP = Affine(GSD, 0, 400000, 0, -GSD, 5800000)
CENTRE = np.array([402000.0, 5798500.0])


def affine_truth(tgt_xy: Array) -> Array:
    """Moved by 40 m east and 25 m south, sheared and stretched by some parts in ten thousand."""
    u = tgt_xy - CENTRE
    return tgt_xy + [40, -25] + u @ np.array([[3e-4, -5e-4], [2e-4, 8e-4]])


def bent_truth(tgt_xy: Array) -> Array:
    """The same, and bent by up to 4 m, as a polynomial of the second degree is."""
    x, y = ((tgt_xy - CENTRE) / 2000).T
    return affine_truth(tgt_xy) + np.stack([4 * x * x - 2 * y * y, 3 * x * y], axis=1)


def cubic_truth(tgt_xy: Array) -> Array:
    """And once more, as one of the third degree is."""
    x, y = ((tgt_xy - CENTRE) / 2000).T
    return bent_truth(tgt_xy) + np.stack([2 * x**3 + y**3, x * y * y], axis=1)


TRUTHS: dict[str, Callable[[Array], Array]] = {
    "affine": affine_truth,
    "polynomial2": bent_truth,
    "polynomial3": cubic_truth,
}


def ramps(path: Path, transform: Affine | None = NORTH_UP, crs: CRS | None = UTM, **profile: Any) -> str:
    """A raster whose first band holds the column and whose second the row of each pixel's centre."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    profile = {"driver": "GTiff", "dtype": "float32", "nodata": -1} | profile
    if transform is not None:
        profile |= {"transform": transform, "crs": None if crs is None else crs.to_wkt()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", count=2, height=SHAPE[0], width=SHAPE[1], **profile) as dataset:
            dataset.write(np.stack([cols, rows]).astype(profile["dtype"]))
    return str(path)


def spread_px(n: int, seed: int = 0) -> Array:
    """(n, 2) column and row all over the raster."""
    return np.random.default_rng(seed).uniform((0, 0), SHAPE[::-1], (n, 2))


def at(transform: Affine, px: Array) -> Array:
    """Map xy of pixels, without georeg."""
    a, b, c, d, e, f = transform[:6]
    return np.stack([a * px[:, 0] + b * px[:, 1] + c, d * px[:, 0] + e * px[:, 1] + f], axis=1)


def tie_points(target: str, truth: Callable[[Array], Array] = affine_truth, n: int = 60, **given: Any) -> TiePoints:
    """Exact tie points, every seventh rejected for one reason or another."""
    tgt_xy = at(NORTH_UP, spread_px(n))
    rng = np.random.default_rng(1)
    root = rng.normal(size=(n, 2, 2))
    reasons = np.array([s for s in Status if s not in (Status.KEPT, Status.PINNED)])
    rejected = np.arange(n) % 7 == 0
    values = {
        "ref_xy": truth(tgt_xy), "tgt_xy": tgt_xy, "cov": root @ root.swapaxes(1, 2), "score": rng.random(n),
        "status": np.where(rejected, reasons[np.arange(n) // 7 % len(reasons)], Status.KEPT),
        "inputs": Inputs("/absent/reference.tif", target), "crs": UTM.to_wkt(), "gsd": GSD, "window_px": 64,
        "search_px": 20.0, "chance": 0.001,
    }  # fmt: skip
    return TiePoints(**(values | given))


def fitted(target: str, kind: str = "affine", **given: Any) -> Fit:
    """A fit of tie points that are exact but for two outliers, 30 m off; every fifth is a check point."""
    points = tie_points(target, TRUTHS[kind], **given)
    role = np.where(points.kept, np.where(np.arange(len(points)) % 5 == 1, Role.CHECK, Role.FIT), Role.REJECTED)
    used = role == Role.FIT
    model = LADDER[kind].fit(points.tgt_xy[used], points.ref_xy[used])
    outliers = np.flatnonzero(used)[:2]
    role[outliers] = Role.OUTLIER
    moved = points.ref_xy.copy()
    moved[outliers] += [30, -20]
    points = tie_points(target, TRUTHS[kind], **(given | {"ref_xy": moved}))
    withheld_xy = np.where((role == Role.CHECK)[:, None], [0.0, 0.0], np.nan)
    return Fit(points, model, role.astype(np.uint8), 0.01, (), withheld_xy)
