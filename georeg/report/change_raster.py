"""The difference that misregistration alone makes, and the one that there is, as a raster on the working grid."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from georeg.accuracy import agreeing
from georeg.alignment import Alignment, PathLike
from georeg.errors import InputError
from georeg.execution import Progress, counted, run_ordered, silent, workers
from georeg.files import check_output
from georeg.geotiff import write_values
from georeg.models import FloatArray
from georeg.placement import compose
from georeg.regrid import BLOCK_PX, output_windows
from georeg.report.false_change import expected_difference, moments
from georeg.report.looks import Looks, inside, looking, tile_windows
from georeg.report.similarity import Scaling, comparable, scaling

BANDS = ("expected", "observed")
_TAG = (
    "expected: size of the difference of unchanged ground that misregistration alone makes, the square root of g' M g, of the "
    "gradient g of the reference and the second moments M of the residuals of {n} check points after correction; observed: "
    "reference minus corrected target, whose grey values are scaled linearly to the reference's ({factor:.6g} times, plus "
    "{offset:.6g}); both in grey values of the reference. Where the observed difference is within the expected one, it is no "
    "evidence of change"
)


@dataclass(frozen=True)
class _Change:
    """What is computed, block by block."""

    looks: Looks
    corner_px: tuple[int, int]
    """(column, row) of the output's first pixel in the working grid."""
    moments_xy: FloatArray
    scaled: Scaling

    def block(self, window: Window) -> tuple[Window, NDArray[np.float32]]:
        """Both bands (2, height, width) of a window of the output; NaN where one of the images or a neighbour is not valid."""
        col, row = self.corner_px
        wider = Window(window.col_off + col - 1, window.row_off + row - 1, window.width + 2, window.height + 2)
        reference, ref_valid = self.looks.see_reference(wider)
        target, tgt_valid = self.looks.see_target(wider, self.looks.model)
        expected = expected_difference(reference, self.looks.grid.affine, self.moments_xy)
        both = np.stack([expected, reference - self.scaled(target)])
        known = inside(ref_valid & tgt_valid)
        return window, np.where(known, both, np.nan)[:, 1:-1, 1:-1].astype(np.float32)


def write_false_change(
    alignment: Alignment, path: PathLike, *, overwrite: bool = False, progress: Progress = silent
) -> None:
    """Write ``expected`` and ``observed`` differences of the reference and the corrected target to a GeoTIFF, block by block.

    It lies on the reference's grid over the shared ground, with larger pixels where the target's are larger. Mask change by
    ``abs(observed) <= expected``.

    Raises
    ------
    InputError
        A raster is no longer where it was, or no part of them can be compared.
    OutputError
        The file exists, is an input, or cannot be written. Nothing is left under its name.
    """
    fitted, points = alignment.fitted, alignment.points
    check_output(os.fspath(path), (points.inputs.reference, points.inputs.target), overwrite=overwrite)
    checked = agreeing(fitted)
    with looking(points, alignment.model, alignment.after.gsd) as looks, workers() as pool:
        scaled = _scaled(looks)
        left, top, width, height = _extent(looks)
        change = _Change(looks, (left, top), moments(fitted.withheld_xy[checked]), scaled)
        grid = GeoBox(
            (height, width), compose(looks.grid.affine, looks.grid.affine.translation(left, top)), looks.grid.crs
        )
        windows = output_windows((height, width), BLOCK_PX)
        tag = _TAG.format(n=int(checked.sum()), factor=scaled.factor, offset=scaled.offset)
        blocks = run_ordered(partial(_Change.block, change), windows, pool)
        done = counted(blocks, len(windows), "false change", progress)
        write_values(grid, dict.fromkeys(BANDS, ""), {"georeg": tag}, done, os.fspath(path))


def _scaled(looks: Looks) -> Scaling:
    tiles = comparable([looks.see(window) for window in tile_windows(looks, set())])
    if not tiles:
        raise InputError(
            "no part of the shared ground shows both rasters with some contrast; there is no difference to map"
        )
    return scaling(tiles)


def _extent(looks: Looks) -> tuple[int, int, int, int]:
    """First column and row of the shared ground in the working grid, its width and its height."""
    left, top, right, bottom = looks.shared_px().bounds
    low = np.maximum(np.floor([left, top]).astype(int), 0)
    high = np.minimum(np.ceil([right, bottom]).astype(int), looks.grid.shape[::-1])
    col, row = (int(n) for n in low)
    width, height = (int(n) for n in np.maximum(high - low, 1))
    return col, row, width, height
