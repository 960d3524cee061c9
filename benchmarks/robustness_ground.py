"""What the trials of `robustness.py` are made of: real ground, seen by a sensor of any pixel size, place and rotation.

The ground is the finest imagery at hand. A sensor sees it through a Gaussian whose transfer at the Nyquist frequency of
*its* pixels is `MTF`, and samples that with a spline of fifth order wherever its pixels lie: rotation and scale are as
exact as a shift, and the aliasing is a sensor's. Transforms are 3 x 3, of pixel coordinates (column, row) from the outer
corner of the first pixel.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from optics import data_folder
from rasterio.errors import NotGeoreferencedWarning
from scipy import ndimage

from georeg import MatchOptions

Array = NDArray[Any]
Floats = NDArray[np.float64]
MTF = 0.2
"""Modulation transfer at the Nyquist frequency of the pixels."""
CRS = "EPSG:32633"
"""Of every made raster: somewhere on Earth."""
CORNER_XY = (400_000.0, 5_500_000.0)
"""Map coordinates of the first pixel's corner of the ground."""


@dataclass(frozen=True)
class Picture:
    """An image to be written to a file."""

    values: Array
    """(height, width)"""
    transform: Affine | None = None
    """Pixel to map; None: it has no georeferencing."""
    nodata: float | None = None


@dataclass(frozen=True)
class Trial:
    """Two images, where the pixels of the target lie in the reference, and how an answer is judged."""

    ref: Picture | Path
    tgt: Picture | Path
    tgt_px: Floats
    """(N, 2) target pixel coordinates of ground that both show; (0, 2): they share none, and any answer is wrong."""
    ref_px: Floats
    """(N, 2) truth: reference pixel coordinates of the same."""
    labels: dict[str, str]
    """What the results are grouped by."""
    per_px: float = 1.0
    """Pixels of the coarser raster per reference pixel, which errors are counted in."""
    measure: Literal["rms_px", "median_px", "max_px"] = "rms_px"
    solved_px: float = 1.0
    """Solved, where the error is at most this."""
    wrong_px: float = 3.0
    """Silently wrong, where it is more than this."""
    matching: MatchOptions = MatchOptions()
    about: dict[str, Any] = field(default_factory=dict)
    """Parameters, for whoever looks at one trial."""


@dataclass(frozen=True)
class Ground:
    """Layers of one place on one grid, or on two whose displacement is known."""

    name: str
    place: str
    ref_layers: tuple[tuple[str, int], ...]
    """File and band."""
    tgt_layers: tuple[tuple[str, int], ...]
    displacement_px: tuple[float, float] = (0.0, 0.0)
    """Pixel coordinates of a feature in the target's layers less those in the reference's."""
    weight: float = 1.0
    """How often it is drawn."""

    @property
    def two_dates(self) -> bool:
        return self.ref_layers != self.tgt_layers


def _one(name: str, place: str, files: Sequence[str], bands: int, weight: float) -> Ground:
    layers = tuple((f"{place}/{file}", band) for file in files for band in range(1, bands + 1))
    return Ground(name, place, layers, layers, weight=weight)


@lru_cache(maxsize=1)
def grounds() -> tuple[Ground, ...]:
    """Every ground of which the imagery is there."""
    s2, naip, l8, far = "s2-brandenburg", "naip-series-nd", "l8-pan-ms-cloudy", "s2-l9-unalakleet"
    june, may = "ref_S2A_20160608T153121_T33UUU_sub.jp2", "tgt_S2A_20160529T153631_T33UUU_sub.jp2"
    found = [
        _one("hura lo", "hura-vhr", ["hura_lo_z18.tif"], 3, 2.0),
        _one("hura chura2", "hura-vhr", ["hura_chura2_z18.tif"], 3, 1.0),
        _one("hura h1", "hura-vhr", ["hura_h1_z18.tif"], 3, 1.0),
        _one("S2 June", s2, [june], 1, 1.5),
        _one("S2 May", s2, [may], 1, 1.0),
        _one("L8 pan", l8, ["l8_B8.tif"], 1, 1.0),
        _one("L8 red, NIR", l8, ["l8_B4.tif", "l8_B5.tif"], 1, 1.0),
        _one("S2 coast", l8, ["s2_B05.tif", "s2_B8A.tif", "s2_B11.tif"], 1, 1.5),
        _one("aerial", "aerial-landsat-idaho", ["aerial_10m_source1.tif"], 3, 1.0),
        _one("Landsat", "aerial-landsat-idaho", ["landsat_30m_reference1.tif"], 3, 0.5),
        _one("S2 tundra", far, ["2023-10-09-22-28-02_S2_ms.tif"], 5, 1.0),
        _one("L9 tundra", far, ["2023-06-30-22-01-55_L9_ms.tif"], 5, 0.5),
        _two_dates("S2 dates", s2, june, may, "s2-brandenburg", 1, 2.0),
    ]
    dates = sorted(path.name for path in (data_folder() / naip).glob("*.tif"))
    for name in dates:
        found.append(_one("NAIP", naip, [name], 4, 0.3))
    for name in dates[1:]:
        found.append(_two_dates("NAIP dates", naip, dates[0], name, f"naip_{Path(name).stem[-8:]}", 4, 0.2))
    return tuple(g for g in found if g is not None and (data_folder() / g.ref_layers[0][0]).exists())


def _two_dates(name: str, place: str, ref: str, tgt: str, truth: str, bands: int, weight: float) -> Ground | None:
    folder = data_folder()
    if not (folder / place / tgt).exists():
        return None
    add_x, add_y = json.loads((folder / "truth" / f"{truth}.json").read_text())["correction_median"]
    with rasterio.open(folder / place / ref) as one, rasterio.open(folder / place / tgt) as two:
        here, there = one.transform, two.transform
    moved = (here.c - add_x - there.c) / here.a, (there.f - here.f + add_y) / here.a
    ref_layers, tgt_layers = (tuple((f"{place}/{file}", k) for k in range(1, bands + 1)) for file in (ref, tgt))
    return Ground(name, place, ref_layers, tgt_layers, moved, weight)


@contextmanager
def opened(path: Path, mode: Literal["r", "w"] = "r", **profile: Any) -> Iterator[Any]:
    """A raster that may be without georeferencing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, mode, **profile) as raster:
            yield raster


@lru_cache(maxsize=24)
def layer(path: str, band: int) -> tuple[Array, NDArray[np.bool_], float]:
    """Values, where they are valid, and the pixel size in map units."""
    with opened(data_folder() / path) as raster:
        values, gsd = raster.read(band), float(raster.transform.a)
        valid = raster.read_masks(band) > 0
    valid &= np.isfinite(values) & (values != 0)  # a swath's edge is 0 in Sentinel-2
    values[~valid] = np.median(values[valid])  # the same in whatever sees it
    return values, valid, gsd


def pick(rng: np.random.Generator) -> Ground:
    """A ground, by its weight."""
    weights = np.array([ground.weight for ground in grounds()])
    return grounds()[rng.choice(len(weights), p=weights / weights.sum())]


def placed(scale: float, angle: float, at: Sequence[float], centre: Sequence[float]) -> Floats:
    """Ground pixels of image pixels: ``scale`` ground pixels a pixel, ``angle`` radians, ``centre`` lying ``at`` a place."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    out = np.eye(3)
    out[:2, :2], out[:2, 2] = turn, np.asarray(at) - turn @ np.asarray(centre)
    return out


def apply(transform: Floats, px: Floats) -> Floats:
    return np.asarray(px @ transform[:2, :2].T + transform[:2, 2])


def corners(shape: tuple[int, int]) -> Floats:
    return np.array([[0, 0], [shape[1], 0], [shape[1], shape[0]], [0, shape[0]]], float)


def see(source: tuple[str, int], to_ground: Floats, shape: tuple[int, int]) -> Floats | None:
    """The layer as a sensor with pixels ``to_ground`` sees it, (height, width); None where it lacks some of that."""
    values, valid, _ = layer(*source)
    gsd = float(np.sqrt(abs(np.linalg.det(to_ground[:2, :2]))))
    around, pad = apply(to_ground, corners(shape)), int(np.ceil(4 * gsd)) + 8
    low, high = np.floor(around.min(axis=0)).astype(int), np.ceil(around.max(axis=0)).astype(int)
    if (low < 0).any() or (high > values.shape[::-1]).any():
        return None
    if valid[low[1] : high[1], low[0] : high[0]].mean() < 0.99:
        return None
    low, high = np.maximum(low - pad, 0), np.minimum(high + pad, values.shape[::-1])
    image = values[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    sigma, step = gsd * np.sqrt(-2 * np.log(MTF)) / np.pi, max(1, int(gsd / 2))
    side = 2 * int(np.ceil(4.5 * sigma)) + 1
    image = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REFLECT)[::step, ::step]
    centre = np.stack(np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5), axis=-1).reshape(-1, 2)
    at = (apply(to_ground, centre) - 0.5 - low) / step
    seen = ndimage.map_coordinates(image.astype(float), at.T[::-1], order=5, mode="mirror")
    return np.asarray(seen.reshape(shape))


def tone(image: Floats, rng: np.random.Generator, inverted: bool = False) -> Floats:
    """Between 0 and about 1, with a gamma in half of the cases."""
    low, high = np.percentile(image, [0.5, 99.5])
    out = np.clip((image - low) / max(high - low, 1e-9), -0.1, 1.1)
    out = 1 - out if inverted else out
    if rng.random() < 0.5:
        out = np.clip(out, 0, None) ** np.exp(rng.uniform(np.log(0.6), np.log(1.6)))
    return np.asarray(out)


def quantised(image: Floats, rng: np.random.Generator, snr_db: float | None = None) -> Array:
    """Digital numbers of an image between 0 and 1, with noise of their own; 0, which may be nodata, is none of them."""
    snr_db = rng.uniform(20, 35) if snr_db is None else snr_db
    noise = rng.normal(size=image.shape) * image.std() * 10 ** (-snr_db / 20)
    low, high = rng.uniform(10, 60), rng.uniform(150, 245)
    values = low + (high - low) * (image + noise)
    if rng.random() < 0.5:
        return np.clip(np.rint(values), 1, 255).astype(np.uint8)
    return np.clip(np.rint(values * rng.uniform(5, 60)), 1, 65535).astype(np.uint16)


def lumps(shape: tuple[int, int], size_px: float, rng: np.random.Generator) -> Floats:
    """A smooth random field, between 0 and 1, evenly."""
    coarse = max(1.0, size_px / 4)
    small = rng.normal(size=tuple(int(n / coarse) + 8 for n in shape))
    field = ndimage.gaussian_filter(small, size_px / coarse)
    rows, cols = (np.arange(n) / coarse + 4 for n in shape)
    field = ndimage.map_coordinates(field, np.meshgrid(rows, cols, indexing="ij"), order=3, mode="nearest")
    return np.asarray(field.argsort(axis=None).argsort().reshape(shape) / field.size)


def clouded(image: Floats, share: float, rng: np.random.Generator) -> Floats:
    """With a share of it under bright, soft-edged cloud."""
    shape = (image.shape[0], image.shape[1])
    opacity = ndimage.gaussian_filter((lumps(shape, min(shape) / 10, rng) > 1 - share).astype(float), 3)
    return np.asarray(image * (1 - opacity) + opacity * (1.05 + 0.15 * lumps(shape, 8, rng)))
