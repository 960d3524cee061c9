"""A checkerboard of reference and target, before and after: where edges break, they do not overlay."""

from __future__ import annotations

import cv2
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from georeg.align import Alignment
from georeg.errors import OutputError
from georeg.files import replacing
from georeg.fit import Role
from georeg.models import FloatArray, identity
from georeg.overlap import Pair, pair_rasters, unit_name
from georeg.placement import Placement, apply_transform, compose
from georeg.raster import open_pair
from georeg.reader import Reader
from georeg.warp import sample

SIDE_PX = 192
"""Working pixels on a side of each panel."""
SQUARES = 6
"""Squares on a side of each board."""
ZOOM = 3
"""Screen pixels for one working pixel."""
_MARGIN, _CAPTION = 24, 64
# The target's squares are amber and the reference's are grey: they stay apart for colour-blind eyes too. BGR.
_TINTS = np.array([[1.0, 1.0, 1.0], [0.62, 0.88, 1.0]])


def draw_checkerboard(alignment: Alignment, path: str) -> None:
    """Draw a PNG of two boards, the target uncorrected and corrected, around a well-matched check point.

    Raises
    ------
    OutputError
        The picture cannot be written.
    """
    inputs = alignment.points.inputs
    pair = pair_rasters(
        *open_pair(
            inputs.reference,
            inputs.target,
            ref_nodata=inputs.ref_nodata,
            tgt_nodata=inputs.tgt_nodata,
            initial=inputs.initial,
        )
    )
    gsd = alignment.after.gsd
    grid = _window(pair, gsd, _centre_xy(alignment))
    with Reader(pair.reference) as ref, Reader(pair.target) as tgt:
        reference = _grey(ref, pair.reference_placement(), grid, inputs.ref_bands[:1])
        before = _grey(tgt, pair.target_placement(identity()), grid, inputs.tgt_bands[:1])
        after = _grey(tgt, pair.target_placement(alignment.model), grid, inputs.tgt_bands[:1])
    captions = [
        (f"{word}: check-point RMSE {a.rmse / gsd:.2f} px", f"{a.n} points, CE90 {a.ce90 / gsd:.2f} px")
        for word, a in (("Before", alignment.before), ("After", alignment.after))
    ]
    panels = [
        _panel(_board(reference, moved), *caption) for moved, caption in zip((before, after), captions, strict=True)
    ]
    picture = np.hstack(panels)
    _scale_bar(picture, gsd, unit_name(pair.crs))
    ok, png = cv2.imencode(".png", picture)
    if not ok:
        raise OutputError(f"{path} could not be encoded as PNG")
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(png.tobytes())


def _centre_xy(alignment: Alignment) -> FloatArray:
    """The check point nearest the middle of all, of the better-matched half."""
    points = alignment.points
    check = np.flatnonzero(alignment.fitted.role == Role.CHECK)
    good = check[points.score[check] >= np.median(points.score[check])]
    far = np.hypot(*(points.ref_xy[good] - points.ref_xy[points.kept].mean(axis=0)).T)
    return np.asarray(points.ref_xy[good[far.argmin()]])


def _window(pair: Pair, gsd: float, centre_xy: FloatArray) -> GeoBox:
    """Working pixels around a place; their size is that of the corrected target where the search had to find it."""
    factor = gsd / pair.gsd if abs(gsd / pair.gsd - 1) > 1e-6 else 1.0
    affine = compose(pair.grid.affine, Affine.scale(factor))
    col, row = np.rint(apply_transform(~affine, centre_xy[None])[0]).astype(int)
    half = SIDE_PX // 2
    # kept within the reference where it is large enough
    height, width = (round(n / factor) for n in pair.grid.shape)
    col = int(np.clip(col, half, max(half, width - half)))
    row = int(np.clip(row, half, max(half, height - half)))
    return GeoBox((SIDE_PX, SIDE_PX), compose(affine, Affine.translation(col - half, row - half)), pair.grid.crs)


def _grey(reader: Reader, placement: Placement, grid: GeoBox, bands: tuple[int, ...]) -> FloatArray:
    """(height, width) 0 to 1, each grey about as frequent as any so that no cloud darkens the rest; invalid pixels black."""
    patch = sample(reader, placement, grid, bands)
    image, valid = patch.data[0].astype(float), patch.valid[0]
    if valid.any():
        steps = np.linspace(0, 1, 65)
        image = 0.05 + 0.95 * np.interp(image, np.quantile(image[valid], steps), steps)
    return np.where(valid, image, 0)


def _board(reference: FloatArray, moved: FloatArray) -> NDArray[np.uint8]:
    square = np.arange(SIDE_PX) * SQUARES // SIDE_PX
    odd = (square[:, None] + square) % 2
    pixels = np.where(odd, moved, reference)[..., None] * _TINTS[odd] * 255
    return np.repeat(np.repeat(pixels.astype(np.uint8), ZOOM, axis=0), ZOOM, axis=1)


def _panel(board: NDArray[np.uint8], title: str, subtitle: str) -> NDArray[np.uint8]:
    height, width = board.shape[:2]
    panel = np.full((height + _CAPTION + 2 * _MARGIN, width + _MARGIN, 3), 255, np.uint8)
    panel[_CAPTION : _CAPTION + height, _MARGIN // 2 : _MARGIN // 2 + width] = board
    _text(panel, title, (_MARGIN // 2, 26), 0.7)
    _text(panel, subtitle, (_MARGIN // 2, 52), 0.55)
    return panel


def _scale_bar(picture: NDArray[np.uint8], gsd: float, unit: str) -> None:
    """A bar of a round length under the left board, and what the colours mean."""
    length = 0.3 * SIDE_PX * gsd
    step = 10 ** np.floor(np.log10(length))
    length = step * max(k for k in (1, 2, 5) if k * step <= length)
    y, x = picture.shape[0] - 22, _MARGIN // 2
    end = x + round(length / gsd * ZOOM)
    cv2.rectangle(picture, (x, y - 5), (end, y), (0, 0, 0), -1)
    _text(picture, f"{length:g} {unit}     grey: reference, amber: target", (end + 8, y + 2), 0.5)


def _text(picture: NDArray[np.uint8], text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_DUPLEX, size, (30, 30, 30), 1, cv2.LINE_AA)
