"""Two dates -> align -> change vectors -> leave out what misregistration alone explains.

    python change_detection.py REFERENCE TARGET [-o FOLDER]

Without arguments it takes the pair ``shift`` of ``sample_tiles``, and the Sentinel-2 pair where GEOREG_DATA names a folder of it.
Each step is a function from files or arrays to files or arrays, to be called from any scheduler; only georeg, NumPy and
rasterio are needed, and matplotlib for the picture.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import reproject

import georeg
from georeg.accuracy import agreeing
from georeg.report.false_change import expected_difference, moments

SAMPLES = Path(__file__).resolve().parents[2] / "sample_tiles"
DEVIATIONS = 3.0
"""What exceeds the usual difference of aligned dates by so many of its robust standard deviations is called change."""


@dataclass(frozen=True)
class Changes:
    """Two dates compared on the grid of the reference, before and after the second was aligned."""

    reference: np.ndarray
    """(height, width) its first band."""
    valid: np.ndarray
    """(height, width) where both dates are seen, before and after."""
    before: np.ndarray
    """(height, width) length of the change vector, grey values of the reference; as the target came."""
    after: np.ndarray
    """The same, aligned."""
    explained: np.ndarray
    """The same, by the misregistration that is left and nothing else."""
    threshold: float
    """Longer vectors are called change."""

    @property
    def called(self) -> dict[str, np.ndarray]:
        """(height, width) what is called change at each step."""
        after = self.valid & (self.after > self.threshold)
        return {
            "as it came": self.valid & (self.before > self.threshold),
            "aligned": after,
            "aligned and not explained": after & (self.after > self.explained),
        }


def align(reference: Path, target: Path, aligned: Path) -> georeg.Alignment:
    """Put the target onto the grid of the reference, in the file ``aligned``."""
    bands = tuple(range(1, n_bands(reference, target) + 1))
    alignment = georeg.align(reference, target, inputs=georeg.InputOptions(ref_bands=bands[:1], tgt_bands=bands[:1]))
    alignment.write(aligned, georeg.WriteOptions(resample=True, overwrite=True))
    return alignment


def n_bands(*paths: Path) -> int:
    """Bands that all files have."""
    counts = []
    for path in paths:
        with rasterio.open(path) as dataset:
            counts.append(dataset.count)
    return min(counts)


def on_grid(path: Path, reference: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first bands of a file on the grid of the reference, by its own georeference, and where all of them are valid."""
    with rasterio.open(reference) as grid, rasterio.open(path) as dataset:
        pixels = np.full((n, grid.height, grid.width), np.nan, np.float32)
        own = dataset.read(list(range(1, n + 1)), masked=True).astype(np.float32).filled(np.nan)
        if (dataset.transform, dataset.shape) == (grid.transform, grid.shape):
            pixels[:] = own
        else:
            where = {"src_transform": dataset.transform, "dst_transform": grid.transform}
            crs = {"src_crs": dataset.crs, "dst_crs": grid.crs, "src_nodata": np.nan, "dst_nodata": np.nan}
            reproject(own, pixels, **where, **crs, resampling=Resampling.cubic_spline)
    return pixels, np.isfinite(pixels).all(axis=0)


def change_vectors(reference: np.ndarray, image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(height, width) length of the change vector of two dates (bands, height, width), divided by the root of the bands.

    The grey values of the second are first scaled to those of the first, band by band, by a line through pixels of which most
    have not changed: those that differ most are left out, three times.
    """
    squares = np.zeros(valid.shape)
    for one, other in zip(reference, image, strict=True):
        fitted, used = np.zeros(2), valid.copy()
        for _ in range(3):
            fitted = np.polyfit(other[used], one[used], 1)
            difference = np.where(valid, one - np.polyval(fitted, np.where(valid, other, 0)), 0)
            used = valid & (np.abs(difference) <= np.quantile(np.abs(difference[valid]), 0.8))
        squares += difference**2
    return np.asarray(np.sqrt(squares / len(reference)))


def left_over(alignment: georeg.Alignment, reference: np.ndarray, transform: rasterio.Affine) -> np.ndarray:
    """(height, width) length of the change vector that the residuals of the check points alone would make."""
    residual_xy = alignment.fitted.withheld_xy[agreeing(alignment.fitted)]
    of_bands = [expected_difference(np.nan_to_num(band), transform, moments(residual_xy)) for band in reference]
    return np.asarray(np.sqrt(np.mean(np.square(of_bands), axis=0)))


def compare(reference: Path, target: Path, aligned: Path, alignment: georeg.Alignment) -> Changes:
    """Change vectors of the target as it came and aligned, and what misregistration still explains of them."""
    n = n_bands(reference, target)
    first, seen = on_grid(reference, reference, n)
    came, came_valid = on_grid(target, reference, n)
    moved, moved_valid = on_grid(aligned, reference, n)
    valid = seen & came_valid & moved_valid
    with rasterio.open(reference) as grid:
        explained = left_over(alignment, first, grid.transform)
    before, after = (change_vectors(first, image, valid) for image in (came, moved))
    middle = float(np.median(after[valid]))
    spread = 1.4826 * float(np.median(np.abs(after[valid] - middle)))
    return Changes(first[0], valid, before, after, explained, middle + DEVIATIONS * spread)


def told(alignment: georeg.Alignment, changes: Changes) -> str:
    """The figures, in lines."""
    n = int(changes.valid.sum())
    called = {name: int(mask.sum()) for name, mask in changes.called.items()}
    before_px, after_px = (accuracy.rmse / accuracy.gsd for accuracy in (alignment.before, alignment.after))
    lines = [
        f"misregistration {before_px:.2f} px RMSE as it came, {after_px:.2f} px aligned, on {alignment.after.n} check points",
        f"change vectors longer than {changes.threshold:.0f} grey values, of {n} pixels that both dates show:",
        *(f"  {name:<26} {count:>9} px  {count / n:6.2%}" for name, count in called.items()),
    ]
    removed = called["as it came"] - called["aligned and not explained"]
    lines.append(f"false change removed: {removed} px, {removed / max(called['as it came'], 1):.0%} of what was called change")
    return "\n".join(lines)


def write_mask(changes: Changes, reference: Path, path: Path) -> None:
    """Write a GeoTIFF: 1 change, 0 none, 255 not seen."""
    mask = np.where(changes.valid, changes.called["aligned and not explained"], 255).astype(np.uint8)
    with rasterio.open(reference) as grid:
        profile = {"crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width}
    with rasterio.open(path, "w", driver="GTiff", count=1, dtype="uint8", nodata=255, compress="deflate", **profile) as out:
        out.write(mask, 1)


def run(reference: Path, target: Path, folder: Path) -> Changes:
    """The whole pipeline, into a folder; prints its figures."""
    folder.mkdir(parents=True, exist_ok=True)
    aligned = folder / f"{target.stem}_aligned.tif"
    alignment = align(reference, target, aligned)
    changes = compare(reference, target, aligned, alignment)
    write_mask(changes, reference, folder / f"{target.stem}_change.tif")
    print(told(alignment, changes))
    return changes


def pairs() -> dict[str, tuple[Path, Path]]:
    """What there is to try, by name."""
    found = {"sample_tiles, shift": (SAMPLES / "shift_reference.tif", SAMPLES / "shift_target.tif")}
    real = Path(os.environ.get("GEOREG_DATA", "")) / "s2-brandenburg"
    if os.environ.get("GEOREG_DATA") and real.is_dir():
        found["s2-brandenburg"] = (next(real.glob("ref_*.jp2")), next(real.glob("tgt_*.jp2")))
    return found


def main() -> None:
    """Of the command line."""
    parser = argparse.ArgumentParser(description="Find what changed between two dates, and not what merely moved.")
    parser.add_argument("reference", type=Path, nargs="?", help="raster of the first date")
    parser.add_argument("target", type=Path, nargs="?", help="raster of the second date, to be aligned to the first")
    parser.add_argument("-o", "--output", type=Path, default=Path("change_output"), help="folder; change_output")
    given = parser.parse_args()
    if given.reference and not given.target:
        parser.error("give a target as well")
    chosen = {given.target.stem: (given.reference, given.target)} if given.target else pairs()
    from picture import draw

    for name, (reference, target) in chosen.items():
        print(f"{name}")
        changes = run(reference, target, given.output)
        draw(changes, given.output / f"{target.stem}_change.png", name)


if __name__ == "__main__":
    main()
