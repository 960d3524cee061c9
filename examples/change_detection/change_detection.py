"""Two dates -> align -> change vectors -> leave out what misregistration alone explains.

    python change_detection.py REFERENCE TARGET [--nodata 0] [-o FOLDER]

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
from picture import draw
from rasterio.enums import Resampling
from rasterio.warp import reproject

import georeg
from georeg.accuracy import agreeing
from georeg.report.false_change import expected_difference, moments

SAMPLES = Path(__file__).resolve().parents[2] / "sample_tiles"
DEVIATIONS = 2.0
"""What exceeds the median difference of the aligned dates by so many of its robust standard deviations is called change."""


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
    explained_before: np.ndarray
    """(height, width) length of the change vector that the misregistration alone makes; as the target came."""
    explained_after: np.ndarray
    """The same, by what is left of it once aligned."""
    threshold: float
    """Longer vectors are called change."""

    @property
    def called(self) -> np.ndarray:
        """(height, width) what is called change in the end: it is long, and misregistration does not explain it."""
        return self.valid & (self.after > np.maximum(self.threshold, self.explained_after))

    @property
    def called_before(self) -> np.ndarray:
        """(height, width) what would be called change without alignment."""
        return self.valid & (self.before > self.threshold)


def align(reference: Path, target: Path, aligned: Path, nodata: float | None = None) -> georeg.Alignment:
    """Put the target onto the grid of the reference, in the file ``aligned``.

    Pixels of the value ``nodata`` say nothing, if the files do not say themselves which do not.
    """
    alignment = georeg.align(reference, target, inputs=georeg.InputOptions(ref_nodata=nodata, tgt_nodata=nodata))
    alignment.write(aligned, georeg.WriteOptions(resample=True, overwrite=True))
    return alignment


def n_bands(*paths: Path) -> int:
    """Bands that all files have."""
    counts = []
    for path in paths:
        with rasterio.open(path) as dataset:
            counts.append(dataset.count)
    return min(counts)


def on_grid(path: Path, reference: Path, n: int, nodata: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The first bands of a file on the grid of the reference, by its own georeference, and where all of them are valid."""
    with rasterio.open(reference) as grid, rasterio.open(path) as dataset:
        pixels = np.full((n, grid.height, grid.width), np.nan, np.float32)
        own = dataset.read(list(range(1, n + 1)), masked=True).astype(np.float32).filled(np.nan)
        if nodata is not None:
            own[own == nodata] = np.nan
        if (dataset.transform, dataset.shape) == (grid.transform, grid.shape):
            pixels[:] = own
        else:
            where = {"src_transform": dataset.transform, "dst_transform": grid.transform}
            crs = {"src_crs": dataset.crs, "dst_crs": grid.crs, "src_nodata": np.nan, "dst_nodata": np.nan}
            reproject(own, pixels, **where, **crs, resampling=Resampling.cubic_spline)
    return pixels, np.isfinite(pixels).all(axis=0)


def grey_lines(reference: np.ndarray, image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(bands, 2) slope and offset that bring the grey values of a date (bands, height, width) to those of the reference.

    The line through the quartiles of both, which clouds hardly move, then fitted three times to what differs little from it.
    """
    lines = []
    for one, other in zip(reference.astype(float), image.astype(float), strict=True):
        line = np.polyfit(*(np.quantile(image[valid], [0.25, 0.75]) for image in (other, one)), 1)
        for _ in range(3):
            difference = np.abs(one - np.polyval(line, other))
            used = valid & (difference <= np.quantile(difference[valid], 0.6))
            line = np.polyfit(other[used], one[used], 1)
        lines.append(line)
    return np.array(lines)


def change_vectors(reference: np.ndarray, image: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """(height, width) length of the change vector of two dates (bands, height, width), divided by the root of the bands."""
    differences = [one - np.polyval(line, other) for one, other, line in zip(reference, image, lines, strict=True)]
    return np.asarray(np.sqrt(np.mean(np.square(differences), axis=0)))


def explained(reference: np.ndarray, transform: rasterio.Affine, residual_xy: np.ndarray) -> np.ndarray:
    """(height, width) length of the change vector that residuals (N, 2) of check points alone would make."""
    of_bands = [expected_difference(np.nan_to_num(band), transform, moments(residual_xy)) for band in reference]
    return np.asarray(np.sqrt(np.mean(np.square(of_bands), axis=0)))


def compare(
    reference: Path, target: Path, aligned: Path, alignment: georeg.Alignment, nodata: float | None = None
) -> Changes:
    """Change vectors of the target as it came and aligned, and what misregistration still explains of them."""
    n = n_bands(reference, target)
    (first, seen), (came, came_valid), (moved, moved_valid) = (
        on_grid(path, reference, n, nodata) for path in (reference, target, aligned)
    )
    valid = seen & came_valid & moved_valid
    lines = grey_lines(first, moved, valid)
    before, after = (change_vectors(first, image, lines) for image in (came, moved))
    points, checked = alignment.points, agreeing(alignment.fitted)
    residuals_xy = ((points.ref_xy - points.tgt_xy)[checked], alignment.fitted.withheld_xy[checked])
    with rasterio.open(reference) as grid:
        explained_before, explained_after = (explained(first, grid.transform, xy) for xy in residuals_xy)
    middle = float(np.median(after[valid]))
    spread = 1.4826 * float(np.median(np.abs(after[valid] - middle)))
    threshold = middle + DEVIATIONS * spread
    return Changes(first[0], valid, before, after, explained_before, explained_after, threshold)


def told(alignment: georeg.Alignment, changes: Changes) -> str:
    """The figures, in lines."""
    valid, before, after = changes.valid, changes.called_before, changes.called
    n = int(valid.sum())
    rmse_px = [accuracy.rmse / accuracy.gsd for accuracy in (alignment.before, alignment.after)]
    made = [float(np.sqrt(np.mean(image[valid] ** 2))) for image in (changes.explained_before, changes.explained_after)]
    rows = {
        "called change as it came": before,
        "  of it, explained by its misregistration": before & (changes.before <= changes.explained_before),
        "called change once aligned": after,
        "false change that alignment removed": before & ~after,
        "change that misregistration had hidden": after & ~before,
    }
    return "\n".join(
        [
            f"  misregistration: {rmse_px[0]:.2f} px RMSE as it came, {rmse_px[1]:.2f} px aligned, n = {alignment.after.n}",
            f"  alone it makes a difference of {made[0]:.0f} grey values RMS as it came, {made[1]:.1f} aligned",
            f"  {n} pixels in both dates; change is what differs by more than {changes.threshold:.0f} grey values",
            *(f"  {name:<44}{mask.sum():>8} px {mask.sum() / n:>6.1%}" for name, mask in rows.items()),
            f"  {(before & ~after).sum() / max(before.sum(), 1):.0%} of what would be called change without alignment is false",
        ]
    )


def write_mask(changes: Changes, reference: Path, path: Path) -> None:
    """Write a GeoTIFF: 1 change, 0 none, 255 not seen."""
    mask = np.where(changes.valid, changes.called, 255).astype(np.uint8)
    with rasterio.open(reference) as grid:
        profile = {"crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width}
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint8", nodata=255, compress="deflate", **profile
    ) as out:
        out.write(mask, 1)


def run(reference: Path, target: Path, folder: Path, nodata: float | None = None) -> Changes:
    """The whole pipeline, into a folder; prints its figures."""
    folder.mkdir(parents=True, exist_ok=True)
    aligned = folder / f"{target.stem}_aligned.tif"
    alignment = align(reference, target, aligned, nodata)
    changes = compare(reference, target, aligned, alignment, nodata)
    write_mask(changes, reference, folder / f"{target.stem}_change.tif")
    print(told(alignment, changes))
    return changes


def pairs() -> dict[str, tuple[Path, Path, float | None]]:
    """Reference, target and nodata value of what there is to try, by name."""
    found = {"sample_tiles, pair shift": (SAMPLES / "shift_reference.tif", SAMPLES / "shift_target.tif", None)}
    real = Path(os.environ.get("GEOREG_DATA") or "absent") / "s2-brandenburg"
    if real.is_dir():  # Sentinel-2 of 2016-06-08 and 2016-05-29, with some cloud, nodata not declared
        found["s2-brandenburg"] = (next(real.glob("ref_*.jp2")), next(real.glob("tgt_*.jp2")), 0.0)
    return found


def main() -> None:
    """Of the command line."""
    parser = argparse.ArgumentParser(description="Find what changed between two dates, and not what merely moved.")
    parser.add_argument("reference", type=Path, nargs="?", help="raster of the first date")
    parser.add_argument("target", type=Path, nargs="?", help="raster of the second date, to be aligned to the first")
    parser.add_argument("-o", "--output", type=Path, default=Path("change_output"), help="folder; change_output")
    parser.add_argument("--nodata", type=float, help="pixel value that says nothing, where the files do not declare it")
    given = parser.parse_args()
    if given.reference and not given.target:
        parser.error("give a target as well")
    chosen = {given.target.stem: (given.reference, given.target, given.nodata)} if given.target else pairs()
    for name, (reference, target, nodata) in chosen.items():
        print(name)
        changes = run(reference, target, given.output, nodata)
        draw(changes, given.output / f"{target.stem}_change.png", name)


if __name__ == "__main__":
    main()
