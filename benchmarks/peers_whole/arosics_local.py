"""AROSICS: COREG_LOCAL with its own window and filters, without writing an image. REFERENCE TARGET N

Its tie points are those that its filters keep. It warps by them as GCPs; the model is an affine map fitted to them.
"""

from __future__ import annotations

import contextlib
import json
import sys

import numpy as np
from arosics import COREG_LOCAL
from osgeo import gdal


def main() -> None:
    reference, target, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    raster = gdal.Open(target)
    width, height = raster.RasterXSize, raster.RasterYSize
    left, a, _, top, _, e = raster.GetGeoTransform()
    spacing_px = round(max(width, height) / n**0.5)
    with contextlib.redirect_stdout(sys.stderr):
        job = COREG_LOCAL(reference, target, grid_res=spacing_px, nodata=(0, 0), progress=False, q=True)
        table = job.CoRegPoints_table
    kept = table[(table["X_SHIFT_M"] != -9999) & (table["OUTLIER"].astype(bool) == False)]  # noqa: E712 - of a column
    tgt_xy = kept[["X_MAP", "Y_MAP"]].to_numpy(float)
    tie = kept[["X_SHIFT_M", "Y_SHIFT_M"]].to_numpy(float)
    at = np.array([(x, y) for x in (left, left + a * width) for y in (top, top + e * height)])
    at = np.concatenate([at, at.mean(axis=0, keepdims=True)])
    centre = tgt_xy.mean(axis=0)
    design, places = (np.column_stack([xy - centre, np.ones(len(xy))]) for xy in (tgt_xy, at))
    model = places @ np.linalg.lstsq(design, tie, rcond=None)[0]
    print(json.dumps({"tie": tie.tolist(), "model": model.tolist()}))


if __name__ == "__main__":
    main()
