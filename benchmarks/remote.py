"""What a remote pair costs: bytes, requests and time against its error, served on this machine: `--help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from optics import data_folder
from rich.console import Console
from rich.table import Table
from scipy import fft

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from serving import served

import georeg

GSD_M = 10.0
MOVED_PX = {"near": (3.37, -2.61), "half a tile": (259.37, -253.61), "far": (1237.41, 803.28)}
"""(column, row) by which the ground lies further on in the target."""
REAL = (
    "s2-brandenburg/ref_S2A_20160608T153121_T33UUU_sub.jp2",
    "s2-brandenburg/tgt_S2A_20160529T153631_T33UUU_sub.jp2",
)


@dataclass(frozen=True)
class Case:
    """A pair of COGs in a folder, and where its ground lies if that is known."""

    name: str
    reference: str
    target: str
    moved_px: tuple[float, float] | None


def landscape(side: int) -> NDArray[np.complex64]:
    """Spectrum of a texture of all scales, (side, side // 2 + 1)."""
    rng = np.random.default_rng(0)
    f = np.hypot(fft.fftfreq(side).astype(np.float32)[:, None], fft.rfftfreq(side).astype(np.float32))
    amplitude = 0.15 ** (f**2 / 0.25) / np.maximum(f, 8 / side) ** 1.3
    spectrum = rng.standard_normal(f.shape, np.float32) + 1j * rng.standard_normal(f.shape, np.float32)
    return (spectrum * amplitude).astype(np.complex64)


def write_scene(spectrum: NDArray[np.complex64], path: Path, moved_px: tuple[float, float], seed: int) -> None:
    """A COG of the landscape moved by a phase ramp, with noise of its own."""
    side = len(spectrum)
    col, row = (np.asarray(v, np.float32) for v in (fft.rfftfreq(side) * moved_px[0], fft.fftfreq(side) * moved_px[1]))
    moved = spectrum * np.exp(-2j * np.pi * col).astype(np.complex64)
    moved *= np.exp(-2j * np.pi * row).astype(np.complex64)[:, None]
    ground = fft.irfft2(moved, s=(side, side))
    ground /= ground.std()
    noise = np.random.default_rng(seed).standard_normal((side, side), np.float32)
    pixels = np.clip(1500 + 350 * ground + 15 * noise, 1, 10000).astype(np.uint16)
    plain = path.with_suffix(".plain")
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 1, "height": side, "width": side, "crs": "EPSG:32633"}
    with rasterio.open(plain, "w", **profile, transform=Affine(GSD_M, 0, 3e5, 0, -GSD_M, 5.9e6)) as dataset:
        dataset.write(pixels, 1)
    write_cog(plain, path)
    plain.unlink()


def write_cog(source: Path, path: Path) -> None:
    options = {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "BLOCKSIZE": 512, "OVERVIEW_RESAMPLING": "AVERAGE"}
    rasterio.shutil.copy(source, path, driver="COG", **options)


def cases(folder: Path, side: int) -> list[Case]:
    """The pairs, written to a folder."""
    spectrum = landscape(side)
    write_scene(spectrum, folder / "reference.tif", (0.0, 0.0), 1)
    found = []
    for k, (name, moved_px) in enumerate(MOVED_PX.items()):
        write_scene(spectrum, folder / f"target{k}.tif", moved_px, 2 + k)
        found.append(Case(f"made, {name}", "reference.tif", f"target{k}.tif", moved_px))
    if all((data_folder() / name).exists() for name in REAL):
        for name, made in zip(REAL, ("real_reference.tif", "real_target.tif"), strict=True):
            write_cog(data_folder() / name, folder / made)
        found.append(Case("Sentinel-2, two dates", "real_reference.tif", "real_target.tif", None))
    return found


def row(case: Case, folder: Path) -> list[str]:
    """The case aligned over HTTP, and beside it the same from files, all over the ground."""
    with served(folder) as server:
        start = time.perf_counter()
        with georeg.metered() as traffic:
            alignment = georeg.align(server.url(case.reference), server.url(case.target))
        seconds = time.perf_counter() - start
        sent = server.told()
    local = georeg.align(folder / case.reference, folder / case.target)
    found, everywhere = (np.array(a.displacement()) / GSD_M for a in (alignment, local))
    truth = everywhere if case.moved_px is None else np.array([-1, 1]) * case.moved_px
    apart = " (of files)" if case.moved_px is None else ""
    return [
        case.name,
        f"{traffic.total_bytes / 1e6:.0f} MB",
        f"{traffic.n_bytes / traffic.total_bytes:.2%}",
        f"{traffic.n_bytes / sent['n_bytes']:.4f}",
        str(traffic.n_requests),
        f"{seconds:.0f} s",
        f"{alignment.points.kept.sum()} of {len(alignment.points)}",
        str(alignment.after.n),
        f"{alignment.after.rmse / GSD_M:.3f} px",
        f"{np.hypot(*(found - truth)):.4f} px{apart}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10980, help="pixels on a side of the made scenes")
    args = parser.parse_args()
    table = Table(box=None, pad_edge=False, header_style="")
    heads = ("pair", "size", "read", "counted/sent", "requests", "time", "tie points", "checked", "RMSE", "error")
    for k, name in enumerate(heads):
        table.add_column(name, justify="left" if k == 0 else "right", no_wrap=True)
    with tempfile.TemporaryDirectory() as name:
        for case in cases(Path(name), args.side):
            table.add_row(*row(case, Path(name)))
    Console(width=140, highlight=False).print(table)


if __name__ == "__main__":
    main()
