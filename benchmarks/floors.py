"""What a job on two scenes cannot do without, each by the quickest means at hand: `python benchmarks/floors.py --help`.

Decoding both files, the correlations of as many windows, one interpolation of the target and the encoding of the result.
Each is run by itself on one thread and measured inside the process, so that starting is not counted; what prepares it is
not either. `whole.py` runs each as a process of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import rasterio
import scene
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import fft

from georeg.resampling import Positions, interpolate, taps

Image = NDArray[np.float32]
STRIP_PX, HALO_PX = 512, 16
WINDOW_PX, FIELD_PX = 256, 2304
"""Windows are cut at random out of a field of both scenes, which is read before."""
STORES: dict[str, dict[str, object]] = {
    "DEFLATE-6": {"compress": "deflate", "zlevel": 6},
    "DEFLATE-1": {"compress": "deflate", "zlevel": 1},
    "ZSTD-1": {"compress": "zstd", "zstd_level": 1},
}
FRACTION_PX = tuple(by - np.floor(by) for by in scene.SHIFT_PX)
"""(right, down) part of a pixel by which the target is read beside its own."""


class Clock:
    """CPU seconds of the process within `running`, all in all."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self.cpu_s += time.process_time() - start


def decode(paths: list[Path]) -> dict[str, float]:
    """Every block of every file once."""
    clock = Clock()
    for path in paths:
        with clock.running(), rasterio.open(path) as dataset:
            for _, window in dataset.block_windows(1):
                dataset.read(window=window)
    return {"blocks by rasterio": clock.cpu_s}


# ---- correlations of windows


def correlate(paths: list[Path], n: int) -> dict[str, float]:
    """Phase correlations of ``n`` pairs of windows, each to a part of a pixel; the median is held against the truth."""
    fields = []
    for path in paths:
        with rasterio.open(path) as dataset:
            fields.append(dataset.read(1, window=Window(0, 0, FIELD_PX, FIELD_PX)))
    room = [side - WINDOW_PX for side in fields[0].shape]
    corners = np.random.default_rng(0).integers(0, room, (n, 2))
    found = {}
    for name, by in CORRELATIONS.items():
        clock, shifts = Clock(), np.empty((n, 2))
        with clock.running():
            for k, (row, col) in enumerate(corners):
                at = np.s_[row : row + WINDOW_PX, col : col + WINDOW_PX]
                shifts[k] = by(*(field[at].astype(np.float32) for field in fields))
        found[name] = clock.cpu_s
        error = np.hypot(*(np.median(shifts, axis=0) - scene.CONTENT_PX))
        if not error < 0.2:
            raise SystemExit(f"{name} is off by {error:.2f} px in the median of {n} windows; it is no floor")
    return found


HANN = cv2.createHanningWindow((WINDOW_PX, WINDOW_PX), cv2.CV_32F)


def by_opencv(ref: Image, tgt: Image) -> tuple[float, float]:
    return cv2.phaseCorrelate(ref, tgt, HANN)[0]


def by_opencv_dft(ref: Image, tgt: Image) -> tuple[float, float]:
    """The real transforms of OpenCV in their packed form."""
    a, b = (cv2.dft(cv2.multiply(cv2.subtract(image, cv2.mean(image)[0]), HANN)) for image in (ref, tgt))
    cross = cv2.mulSpectrums(b, a, 0, conjB=True)
    cross = cross / (np.abs(cross) + 1.0)  # packed: real and imaginary parts apart, which whitens about as well
    return peak(cv2.idft(cross))


def by_scipy(ref: Image, tgt: Image) -> tuple[float, float]:
    a, b = (fft.rfft2((image - image.mean()) * HANN) for image in (ref, tgt))
    cross = b * a.conj()
    cross /= np.abs(cross) + np.float32(1)
    return peak(fft.irfft2(cross))


def peak(surface: Image) -> tuple[float, float]:
    """(right, down) of the highest value, by the centre of what is around it."""
    row, col = np.unravel_index(int(surface.argmax()), surface.shape)
    around = np.arange(-2, 3)
    near = np.maximum(surface[np.ix_((row + around) % WINDOW_PX, (col + around) % WINDOW_PX)], 0)
    middle = np.array([near.sum(axis=0) @ around, near.sum(axis=1) @ around]) / near.sum()
    right, down = middle + (col, row)
    half = WINDOW_PX / 2
    return float((right + half) % WINDOW_PX - half), float((down + half) % WINDOW_PX - half)


CORRELATIONS: dict[str, Callable[[Image, Image], tuple[float, float]]] = {
    "cv2.phaseCorrelate": by_opencv,
    "cv2.dft": by_opencv_dft,
    "scipy.fft": by_scipy,
}


# ---- one interpolation


def warp(path: Path) -> dict[str, float]:
    """The whole target read `FRACTION_PX` beside its pixels and rounded, strip by strip as uint16 -> uint16."""
    clocks = {name: Clock() for name in WARPS}
    ready = {name: prepare(path) for name, (prepare, _) in WARPS.items()}
    for strip in strips(path):
        for name, (_, by) in WARPS.items():
            with clocks[name].running():
                moved = by(strip.astype(np.float32), ready[name])[HALO_PX:-HALO_PX]
                np.rint(moved, out=moved)
                np.clip(moved, 1, 65535, out=moved)
                moved.astype(np.uint16)
    return {name: clock.cpu_s for name, clock in clocks.items()}


def strips(path: Path) -> Iterator[NDArray[np.uint16]]:
    """Of the first band, with `HALO_PX` lines more above and below, alike where there are none."""
    with rasterio.open(path) as dataset:
        for first in range(0, dataset.height, STRIP_PX):
            top, bottom = max(first - HALO_PX, 0), min(first + STRIP_PX + HALO_PX, dataset.height)
            strip = dataset.read(1, window=Window(0, top, dataset.width, bottom - top))
            lacking = (top - (first - HALO_PX), min(first + STRIP_PX, dataset.height) + HALO_PX - bottom)
            yield np.pad(strip, (lacking, (0, 0)), mode="edge")


def grid(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows at which a strip is read, counted from the centres of its pixels."""
    with rasterio.open(path) as dataset:
        width = dataset.width
    return np.arange(width) + FRACTION_PX[0], np.arange(STRIP_PX + 2 * HALO_PX) + FRACTION_PX[1]


def prepare_ours(path: Path) -> Positions:
    col, row = grid(path)
    px = np.stack(np.broadcast_arrays(col + 0.5, row[:, None] + 0.5)).copy()
    return Positions(px, (0.0, 0.0), (float(px[0].max()), float(px[1].max())))


def by_ours(strip: Image, at: Positions) -> Image:
    lines = Positions(np.ascontiguousarray(at.px[:, : len(strip)]), at.low, at.high)
    return interpolate(strip[None], np.ones((1, *strip.shape), bool), lines, (0, 0), reduce=1, kernel="cubic")[0][0]


def prepare_remap(path: Path) -> tuple[Image, Image]:
    col, row = grid(path)
    maps = np.broadcast_arrays(col.astype(np.float32), row[:, None].astype(np.float32))
    return maps[0].copy(), maps[1].copy()


def by_remap(strip: Image, at: tuple[Image, Image]) -> Image:
    """Positions to a 32nd of a pixel; OpenCV takes no more than 32767 columns."""
    return cv2.remap(strip, at[0][: len(strip)], at[1][: len(strip)], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def prepare_filters(path: Path) -> tuple[Image, Image]:
    """The spline and its prefilter in one, of each axis: of a shift alone they are the same for every pixel."""
    by = taps("cubic")
    both = np.concatenate([by.prefilter[:0:-1], by.prefilter])
    found = []
    for part in FRACTION_PX:
        weights = by.table[round(part * (len(by.table) - 1))]  # of the pixels from 1 before to 2 after
        filters = np.convolve(both, weights)
        found.append(np.pad(filters, (1, 0))[: 2 * HALO_PX - 1])
    return found[0].astype(np.float32), found[1].astype(np.float32)


def by_filters(strip: Image, filters: tuple[Image, Image]) -> Image:
    return cv2.sepFilter2D(strip, cv2.CV_32F, filters[0], filters[1], borderType=cv2.BORDER_REPLICATE)


WARPS: dict[str, tuple[Callable, Callable]] = {
    "B-spline by georeg": (prepare_ours, by_ours),
    "cv2.remap, cubic": (prepare_remap, by_remap),
    "B-spline by cv2.sepFilter2D": (prepare_filters, by_filters),
}


# ---- encoding


def encode(path: Path, store: str) -> dict[str, float]:
    """The pixels of a file written again, in tiles of 512 and in the order of the file, on one thread."""
    clock = Clock()
    with rasterio.open(path) as source, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        profile = {
            key: source.profile[key] for key in ("width", "height", "count", "dtype", "crs", "transform", "nodata")
        }
        profile |= {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512, "predictor": 2}
        with clock.running():
            dataset = rasterio.open(Path(folder) / "floor.tif", "w", **profile, **STORES[store], num_threads=1)
        for first in range(0, source.height, STRIP_PX):
            window = Window(0, first, source.width, min(STRIP_PX, source.height - first))
            pixels = source.read(window=window)
            with clock.running():
                dataset.write(pixels, window=window)
        with clock.running():
            dataset.close()
    return {"rasterio": clock.cpu_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("decode", "correlate", "warp", "encode"))
    parser.add_argument(
        "files", nargs="+", type=Path, help="reference and target; of warp the target, of encode the result"
    )
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--store", choices=STORES, default="DEFLATE-6")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    whats: dict[str, Callable[[], dict[str, float]]] = {
        "decode": lambda: decode(arguments.files),
        "correlate": lambda: correlate(arguments.files, arguments.windows),
        "warp": lambda: warp(arguments.files[-1]),
        "encode": lambda: encode(arguments.files[-1], arguments.store),
    }
    print(json.dumps(whats[arguments.what]()))


if __name__ == "__main__":
    main()
