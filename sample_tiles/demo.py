"""Align every sample pair as a user would, and hold the result against its exact truth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from make_samples import displacement

import georeg
from georeg.overlap import pair_rasters
from georeg.placement import apply_transform
from georeg.raster import open_raster
from georeg.report.checkerboard import draw_checkerboard

HERE = Path(__file__).parent
OUT = Path("demo_output")


def main() -> int:
    """Align the pairs into `OUT`, print a table; the exit code is 1 if a pair misses its truth."""
    OUT.mkdir(exist_ok=True)
    pairs = json.loads((HERE / "truth.json").read_text())["pairs"]
    print(f"{'pair':<11} {'model':<12} {'RMSE before':>11} {'after':>8} {'n':>4} {'error against truth':>20}")
    missed = 0
    for name, truth in pairs.items():
        alignment = georeg.align(HERE / truth["reference"], HERE / truth["target"])
        alignment.write(OUT / f"{name}_aligned.tif", georeg.WriteOptions(overwrite=True))
        draw_checkerboard(alignment, str(OUT / f"{name}.png"))
        error_px = true_error_px(alignment, truth)
        missed += error_px > 0.05
        before, after = (a.rmse / a.gsd for a in (alignment.before, alignment.after))
        print(
            f"{name:<11} {alignment.model.kind:<12} {before:>8.2f} px {after:>5.2f} px {alignment.after.n:>4} "
            f"{error_px:>13.3f} px RMS"
        )
    print(f"\nRMSE is of check points withheld from the fit. Aligned files and before/after pictures: {OUT}/")
    print(f"Look at {OUT / 'affine.png'}")
    return int(missed > 0)


def true_error_px(alignment: georeg.Alignment, truth: dict[str, Any]) -> float:
    """RMS difference of the fitted from the exact displacement over the whole overlap, working pixels."""
    inputs = alignment.points.inputs
    pair = pair_rasters(open_raster(inputs.reference), open_raster(inputs.target))
    overlap = pair.overlap_px(alignment.model, pair.grid)
    left, top, right, bottom = overlap.bounds
    x, y = np.meshgrid(np.linspace(left, right, 41), np.linspace(top, bottom, 41))
    inside = shapely.contains_xy(overlap, x, y)
    ref_xy = apply_transform(pair.grid.affine, np.stack([x[inside], y[inside]], axis=1))
    tgt_xy = alignment.model.inverse(ref_xy)
    wrong = ref_xy - tgt_xy - displacement(truth, tgt_xy)
    return float(np.sqrt((wrong**2).sum(axis=1).mean()) / alignment.after.gsd)


if __name__ == "__main__":
    sys.exit(main())
