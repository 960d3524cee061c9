"""Find all that a report says and shows of an alignment."""

from __future__ import annotations

import platform
from datetime import UTC, datetime

import cv2
import numpy as np
import pyproj
import rasterio
from rasterio.windows import Window

from georeg import __version__
from georeg.accuracy import agreeing
from georeg.alignment import Alignment
from georeg.execution import Progress, run_ordered, silent, workers
from georeg.models import FloatArray, identity
from georeg.placement import apply_transform
from georeg.reader import Reader
from georeg.report.chips import CHIP_PX, Chip, Pictures, chip, overview
from georeg.report.command import command_of
from georeg.report.decomposition import decompose
from georeg.report.false_change import false_change
from georeg.report.findings import Findings, Place
from georeg.report.looks import Looks, Part, Seen, looking, tile_windows, window_about
from georeg.report.residuals import bins, places, sigma_map, spread
from georeg.report.similarity import comparable, scaling, similarity
from georeg.report.statements import statements
from georeg.report.verdict import verdict


def find(
    alignment: Alignment, *, command: str | None = None, progress: Progress = silent, opened: Reader | None = None
) -> tuple[Findings, Pictures]:
    """What a report says beyond `Alignment.to_dict`, and its pictures.

    Parameters
    ----------
    command
        That made it; by default one that makes it again.
    progress
        Called with ("report", done, total), counted in windows.
    opened
        A reader of the reference that is open already, and stays so.

    Raises
    ------
    InputError
        A raster is no longer where it was, or cannot be read.
    """
    fitted, points, gsd = alignment.fitted, alignment.points, alignment.after.gsd
    checked = agreeing(fitted)
    before_xy, after_xy = points.displacement[checked], fitted.withheld_xy[checked]
    before, after = spread(before_xy, gsd), spread(after_xy, gsd)
    shown = places(fitted, checked, gsd)
    with looking(points, alignment.model, gsd, opened) as looks:
        pictures, tiles = _look(looks, shown, progress)
        tgt_px = looks.pair.target_placement(identity()).to_px(points.tgt_xy)
    compared = comparable(tiles)
    scaled = scaling(compared) if compared else None
    affine = looks.grid.affine
    findings = Findings(
        verdict=verdict(alignment, before, after),
        before=before,
        after=after,
        statements=statements(alignment.after, points.cov[checked], alignment.crs, points.ref_xy[checked]),
        decomposition=decompose(fitted, gsd, looks.unit),
        similarity=similarity(compared, [_middle(looks, tile.window) for tile in compared], scaled) if scaled else None,
        bins=bins(fitted, checked, tgt_px, gsd),
        places=shown,
        sigma=sigma_map(fitted, gsd),
        false_change=false_change(compared, affine, before_xy, after_xy, scaled, gsd) if scaled else None,
        command=command or command_of(alignment),
        made=made_now(),
        software=software(),
    )
    return findings, pictures


def _look(looks: Looks, shown: tuple[Place, ...], progress: Progress) -> tuple[Pictures, list[Seen]]:
    """The pictures of all places, and tiles to compare: in the same blocks of the files, so that few are decoded."""
    side = min(CHIP_PX, *(int(n) for n in looks.grid.shape))
    decoded: set[Part] = set()
    windows = [window_about(looks, np.array(place.xy), side, decoded) for place in shown]
    tiled = tile_windows(looks, decoded)
    total, seen = len(windows) + len(tiled) + 1, []
    with workers() as pool:
        for number, look in enumerate(run_ordered(looks.see, [*windows, *tiled], pool)):
            seen.append(look)
            progress("report", number + 1, total)
    chips = [
        chip(place.kind, look, _at_px(looks, look.window, place))
        for place, look in zip(shown, seen[: len(shown)], strict=True)
    ]
    made = pictures(looks, chips)
    progress("report", total, total)
    return made, seen[len(shown) :]


def pictures(looks: Looks, chips: list[Chip]) -> Pictures:
    """With the ground of the tie points, or of the reference where there are none."""
    points = looks.points
    around_xy = points.ref_xy if len(points) else _corners(looks)
    if len(points.outline_xy):
        around_xy = np.concatenate([around_xy, looks.model(points.outline_xy)])
    return Pictures(*overview(looks, around_xy), tuple(chips), looks.gsd, looks.unit)


def _corners(looks: Looks) -> FloatArray:
    height, width = looks.grid.shape
    return apply_transform(looks.grid.affine, np.array([[0, 0], [width, 0], [width, height], [0, height]], float))


def _at_px(looks: Looks, window: Window, place: Place) -> tuple[float, float]:
    col, row = apply_transform(~looks.grid.affine, np.array([place.xy]))[0]
    return float(col - window.col_off), float(row - window.row_off)


def _middle(looks: Looks, window: Window) -> tuple[float, float]:
    px = np.array([[window.col_off + window.width / 2, window.row_off + window.height / 2]])
    x, y = apply_transform(looks.grid.affine, px)[0]
    return float(x), float(y)


def made_now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def software() -> dict[str, str]:
    """Versions of georeg and of what computes for it."""
    return {
        "georeg": __version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "OpenCV": cv2.__version__,
        "rasterio": rasterio.__version__,
        "GDAL": rasterio.__gdal_version__,
        "PROJ": pyproj.proj_version_str,
    }
