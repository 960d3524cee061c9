"""Memory and time against the size of the raster: `python benchmarks/scale.py --help`.

Each size is a made raster of 4 bands of uint16 in tiles of 512. However large, its file is small: every tile is one of
a few hundred that are stored once, in an order that does not repeat; there are overviews. The target is the same file,
said to lie elsewhere.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from jobs import Run, georeg, needed
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from georeg.tiff import LENGTHS, OFFSETS, place_of, read_tiff

TILE_PX, BANDS, DISTINCT = 512, 4, 256
REDUCED = 16
"""Pixels of an overview's pixel, on a side."""
ORIGIN, GSD = (400000.0, 5800000.0), 10.0
SHIFT_PX = (3.3, -2.6)
"""Right and down, by which the target's geotransform is wrong."""
SIDES_PX = {"1k": 1024, "2k": 2048, "5k": 5120, "10k": 10240, "20k": 20480, "40k": 40960}


def ground(side_px: int, seed: int) -> NDArray[np.uint16]:
    """(BANDS, side, side) of rough ground: noise whose amplitude falls with its frequency."""
    rng = np.random.default_rng(seed)
    wave = np.hypot(*np.meshgrid(np.fft.rfftfreq(side_px), np.fft.fftfreq(side_px)))
    wave[0, 0] = np.inf
    rough = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(side_px, side_px))) * wave**-1.2, (side_px, side_px))
    image = 3000 + 700 * rough / rough.std()
    noise = rng.normal(0, 15, (BANDS, side_px, side_px))
    return (image * np.linspace(0.7, 1.3, BANDS)[:, None, None] + noise).clip(1, 20000).astype(np.uint16)


def make(path: Path, side_px: int, transform: Affine) -> None:
    """A raster of ``side_px``², whose tiles refer to `DISTINCT` that are stored once."""
    profile = {"driver": "GTiff", "dtype": "uint16", "count": BANDS, "crs": "EPSG:32633", "nodata": 0, "tiled": True}
    profile |= {"blockxsize": TILE_PX, "blockysize": TILE_PX, "compress": "deflate", "predictor": 2, "zlevel": 1}
    store = path.with_suffix(".store")
    somewhere = Affine(GSD, 0, 0, 0, -GSD, 0)
    small = []
    with rasterio.open(store, "w", width=TILE_PX, height=TILE_PX * DISTINCT, transform=somewhere, **profile) as dataset:
        for k in range(DISTINCT):
            tile = ground(TILE_PX, k)
            dataset.write(tile, window=((k * TILE_PX, (k + 1) * TILE_PX), (0, TILE_PX)))
            squares = tile.reshape(BANDS, TILE_PX // REDUCED, REDUCED, TILE_PX // REDUCED, REDUCED)
            small.append(np.rint(squares.mean(axis=(2, 4))).astype(np.uint16))
    with rasterio.open(
        path, "w", width=side_px, height=side_px, transform=transform, SPARSE_OK=True, BIGTIFF="YES", **profile
    ):
        pass  # no tile is written
    n = side_px // TILE_PX
    which = np.random.default_rng(0).integers(DISTINCT, size=n**2)
    rows = [np.concatenate([small[k] for k in line], axis=2) for line in which.reshape(n, n)]
    reduced = {"width": side_px // REDUCED, "height": side_px // REDUCED, "transform": somewhere}
    with rasterio.open(f"{path}.ovr", "w", **profile, **reduced) as dataset:
        dataset.write(np.concatenate(rows, axis=1))
    with open(store, "rb") as file:
        starts, sizes = _blocks(file)
        content = file.read() if not file.seek(0) else b""
    with open(path, "r+b") as file:
        tiff = read_tiff(file, str(path))
        end = file.seek(0, os.SEEK_END)
        file.write(content)
        for tags, numbers in ((OFFSETS, end + starts[which]), (LENGTHS, sizes[which])):
            entry = next(tiff.directories[0].entries[tag] for tag in tags if tag in tiff.directories[0].entries)
            place = place_of(tiff, entry)
            file.seek(place or 0)  # there are too many tiles for the directory itself
            file.write(numbers.astype({4: "<u4", 16: "<u8"}[entry.kind]).tobytes())
    store.unlink()


def _blocks(file) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    with rasterio.open(file.name) as dataset:
        tags = [
            [int(dataset.get_tag_item(f"BLOCK_{what}_0_{k}", "TIFF", bidx=1)) for k in range(DISTINCT)]
            for what in ("OFFSET", "SIZE")
        ]
    return np.array(tags[0]), np.array(tags[1])


def run(*arguments: object) -> Run:
    """A georeg command as a process of its own."""
    return needed(georeg(*arguments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIDES_PX, default=["2k", "10k", "40k"])
    parser.add_argument("--folder", help="where the rasters are made; 40k needs about 20 GB")
    parser.add_argument("--stage", choices=("make", "measure"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage = {"make": make_pair, "measure": measure}[arguments.stage]
        stage(SIDES_PX[arguments.sizes[0]], Path(arguments.folder))
        return
    for name in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            # processes of their own: the peak of a child is never less than what its parent holds as it starts it
            for stage_name in ("make", "measure"):
                again = ["--stage", stage_name, "--sizes", name, "--folder", folder]
                subprocess.run([sys.executable, __file__, *again], check=True)


def make_pair(side_px: int, folder: Path) -> None:
    right = Affine(GSD, 0, ORIGIN[0], 0, -GSD, ORIGIN[1])
    make(folder / "ref.tif", side_px, right)
    make(folder / "tgt.tif", side_px, right @ Affine.translation(*SHIFT_PX))


def measure(side_px: int, folder: Path) -> None:
    table = Table(title=f"{side_px}², {BANDS} bands of uint16, resampled by {SHIFT_PX} px")
    for head in ("command", "wall s", "CPU s", "CPU ns a pixel and band", "peak MB", "size MB"):
        table.add_column(head, justify="right")
    ref, tgt, out, result = (folder / name for name in ("ref.tif", "tgt.tif", "out.tif", "result.json"))
    found = run("align", ref, tgt, "-o", out, "--resample", "--quiet")
    _row(table, "align --resample", found, side_px, out)
    result.write_text(run("assess", ref, tgt, "--json", "--quiet").says)
    out.unlink()
    _row(table, "apply --resample", run("apply", result, "-o", out, "--resample", "--quiet"), side_px, out)
    console = Console(width=160)
    console.print(found.says)
    console.print(table)


def _row(table: Table, name: str, took: Run, side_px: int, out: Path) -> None:
    each = 1e9 * took.cpu_s / (BANDS * side_px**2)
    numbers = (f"{took.wall_s:.1f}", f"{took.cpu_s:.1f}", f"{each:.1f}", f"{took.peak_mb:.0f}")
    table.add_row(name, *numbers, f"{out.stat().st_size / 1e6:.0f}")


if __name__ == "__main__":
    main()
