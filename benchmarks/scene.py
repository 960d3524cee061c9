"""A pair of scenes as large as Sentinel-2 tiles, of real ground, with a displacement that is known.

The overlap of two real dates, the second moved onto the first by a phase ramp of the measured displacement, is cut into
squares at random places, each turned over at random, in every way as often; the scenes are mosaics of these, alike in both
dates. So nothing repeats at one distance, and what is left of the displacement within a square cancels over four. Then the
whole second scene is moved by `CONTENT_PX`, by a phase ramp, and its geotransform is wrong by the rest of `SHIFT_PX`.

Where ``exact``, both scenes are of the first date, each with noise of its own: then the truth holds everywhere. Without
the real imagery the ground is made, and exact too. `python benchmarks/scene.py FOLDER` makes a pair and prints what it is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import fft

Image = NDArray[np.uint16]
SHIFT_PX = (3.3, -2.6)
"""Right and down, by which the target's ground lies elsewhere on the map than it should."""
CONTENT_PX = (-0.37, 0.24)
"""The part of it by which the pixels are moved; the rest is in the geotransform."""
GSD = 10.0
SQUARE_PX = 610
STRIP_PX = 512
NOISE = 15.0
"""Standard deviation of the noise of an exact scene, digital numbers."""
DATA = Path(os.environ.get("GEOREG_DATA") or Path(__file__).parents[2] / "shared" / "data")
FOLDER = DATA / "s2-brandenburg"
MEASURED_PX = (-0.7, 1.9)
"""To add to the second date's (column, row), of its documentation."""
STORED = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2, "zlevel": 6}


@lru_cache(maxsize=1)
def two_dates() -> tuple[Image, Image]:
    """The ground that two dates share, on the pixels of the first; made ground, twice, where there is no real imagery."""
    if not FOLDER.is_dir():
        return (made_ground(2 * SQUARE_PX),) * 2
    with (
        rasterio.open(next(FOLDER.glob("ref_*.jp2"))) as ref,
        rasterio.open(next(FOLDER.glob("tgt_*.jp2"))) as tgt,
    ):
        a, b = ref.read(1), tgt.read(1)
        col, row = ~ref.transform @ (tgt.transform.c, tgt.transform.f)
    left, top = round(col + MEASURED_PX[0]), round(row + MEASURED_PX[1])
    rest = (col + MEASURED_PX[0] - left, row + MEASURED_PX[1] - top)
    empty = b == 0
    move(b, rest)
    b[empty] = 0
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + b.shape[1], a.shape[1]), min(top + b.shape[0], a.shape[0])
    both = a[y0:y1, x0:x1], b[y0 - top : y1 - top, x0 - left : x1 - left]
    seen = (both[0] > 0) & (both[1] > 0)
    rows, cols = (np.flatnonzero(seen.mean(axis=axis) > 0.999) for axis in (1, 0))
    inner = np.s_[rows[0] + 16 : rows[-1] - 16, cols[0] + 16 : cols[-1] - 16]
    return both[0][inner], both[1][inner]


def made_ground(side_px: int) -> Image:
    """Rough ground: noise whose amplitude falls with its frequency."""
    wave = np.hypot(*np.meshgrid(np.fft.rfftfreq(side_px), np.fft.fftfreq(side_px)))
    wave[0, 0] = np.inf
    noise = np.random.default_rng(0).normal(size=(side_px, side_px))
    rough = np.fft.irfft2(np.fft.rfft2(noise) * wave**-1.2, (side_px, side_px))
    return np.clip(3000 + 700 * rough / rough.std(), 1, 20000).astype(np.uint16)


def move(image: Image, shift_px: tuple[float, float]) -> None:
    """Move an image right and down by a phase ramp, in place and strip by strip, however large it is."""
    for part, by_px in ((image, shift_px[0]), (image.T, shift_px[1])):
        ramp = np.exp(-2j * np.pi * np.fft.rfftfreq(part.shape[1]) * by_px).astype(np.complex64)
        for first in range(0, len(part), STRIP_PX):
            strip = part[first : first + STRIP_PX]
            moved = fft.irfft(fft.rfft(strip.astype(np.float32), axis=1) * ramp, part.shape[1], axis=1)
            strip[:] = np.rint(moved).clip(1, 65535)


def mosaics(side_px: int, seed: int, *, exact: bool = False) -> tuple[Image, Image]:
    """Both dates of a scene of ``side_px``², the second moved by `CONTENT_PX`."""
    dates, rng = two_dates(), np.random.default_rng(seed)
    if exact or not FOLDER.is_dir():
        dates = (dates[0], dates[0])
    made = tuple(np.empty((side_px, side_px), np.uint16) for _ in dates)
    height, width = dates[0].shape
    flips: list[tuple[int, int]] = []
    for top in range(0, side_px, SQUARE_PX):
        for left in range(0, side_px, SQUARE_PX):
            flips = flips or [((-1) ** int(k & 1), (-1) ** int(k >> 1)) for k in rng.permutation(4)]
            up, across = flips.pop()
            y, x = rng.integers(height - SQUARE_PX), rng.integers(width - SQUARE_PX)
            for scene, date in zip(made, dates, strict=True):
                square = date[y : y + SQUARE_PX, x : x + SQUARE_PX][::up, ::across]
                place = scene[top : top + SQUARE_PX, left : left + SQUARE_PX]
                place[:] = square[: place.shape[0], : place.shape[1]]
    move(made[1], CONTENT_PX)
    if dates[0] is dates[1]:
        for scene in made:
            add_noise(scene, rng)
    return made[0], made[1]


def add_noise(image: Image, rng: np.random.Generator) -> None:
    for first in range(0, len(image), STRIP_PX):
        strip = image[first : first + STRIP_PX]
        strip[:] = np.rint(strip + NOISE * rng.standard_normal(strip.shape, np.float32)).clip(1, 65535)


def make_scenes(
    folder: Path, side_px: int = 10980, *, seed: int = 0, targets: int = 1, bands: int = 1, exact: bool = False
) -> tuple[Path, list[Path]]:
    """A reference and the same ground at another date, ``targets`` times, with nodata 0 and in UTM.

    Of several bands each is the first, darker or brighter, with noise of its own.
    """
    right = Affine(GSD, 0, 300000, 0, -GSD, 5900040)
    rest = (SHIFT_PX[0] - CONTENT_PX[0], SHIFT_PX[1] - CONTENT_PX[1])
    images = mosaics(side_px, seed, exact=exact)
    reference, others = folder / "reference.tif", [folder / f"target_{k:03}.tif" for k in range(targets)]
    write(reference, images[0], right, bands, seed)
    write(others[0], images[1], right @ Affine.translation(*rest), bands, seed + 1)
    for other in others[1:]:
        shutil.copyfile(others[0], other)
    return reference, others


def write(path: Path, image: Image, transform: Affine, bands: int, seed: int) -> None:
    height, width = image.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": "uint16", "nodata": 0}
    rng, tones = np.random.default_rng(seed), np.linspace(1.0, 0.7, bands)
    with rasterio.open(path, "w", **profile, **STORED, crs="EPSG:32633", transform=transform) as dataset:
        for first in range(0, height, STRIP_PX):
            strip = image[first : first + STRIP_PX]
            for band, tone in enumerate(tones, start=1):
                other = strip if band == 1 else np.maximum(strip * tone, 1).astype(np.uint16)
                if band > 1:
                    add_noise(other, rng)
                dataset.write(other, band, window=Window(0, first, width, len(strip)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=10980, help="pixels")
    parser.add_argument("--targets", type=int, default=1)
    parser.add_argument("--bands", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--exact", action="store_true", help="both of one date, each with noise of its own")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    reference, targets = make_scenes(
        arguments.folder,
        arguments.side,
        seed=arguments.seed,
        targets=arguments.targets,
        bands=arguments.bands,
        exact=arguments.exact,
    )
    truth = (-SHIFT_PX[0] * GSD, SHIFT_PX[1] * GSD)  # reference - target; rows run south
    ground = ("one date and noise" if arguments.exact else "two dates") if FOLDER.is_dir() else "made ground and noise"
    print(
        json.dumps(
            {
                "reference": str(reference),
                "targets": list(map(str, targets)),
                "displacement": truth,
                "gsd": GSD,
                "side_px": arguments.side,
                "ground": ground,
            }
        )
    )


if __name__ == "__main__":
    main()
