"""A checkerboard of reference and target, before and after: where edges break, they do not overlay."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from georeg.alignment import Alignment
from georeg.errors import OutputError
from georeg.files import replacing
from georeg.models import FloatArray
from georeg.report.boards import SIDE_PX as SIDE_PX
from georeg.report.boards import SQUARES as SQUARES
from georeg.report.boards import board, round_length

ZOOM = 3
"""Screen pixels for one working pixel."""
_MARGIN, _CAPTION = 24, 64


def draw_checkerboard(alignment: Alignment, path: str) -> None:
    """Draw a PNG of two boards, the target uncorrected and corrected, around a well-matched check point.

    Raises
    ------
    OutputError
        The picture cannot be written.
    """
    seen, gsd = board(alignment.fitted), alignment.after.gsd
    captions = [
        (f"{word}: check-point RMSE {a.rmse / gsd:.2f} px", f"{a.n} points, CE90 {a.ce90 / gsd:.2f} px")
        for word, a in (("Before", alignment.before), ("After", alignment.after))
    ]
    panels = [
        _panel(_pixels(seen.mixed(moved)), *caption)
        for moved, caption in zip((seen.before, seen.after), captions, strict=True)
    ]
    picture = np.hstack(panels)
    _scale_bar(picture, gsd, seen.unit)
    ok, png = cv2.imencode(".png", picture)
    if not ok:
        raise OutputError(f"{path} could not be encoded as PNG")
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(png.tobytes())


def _pixels(rgb: FloatArray) -> NDArray[np.uint8]:
    """A board as OpenCV draws it: BGR, each pixel larger."""
    pixels = (rgb[..., ::-1] * 255).astype(np.uint8)
    return np.repeat(np.repeat(pixels, ZOOM, axis=0), ZOOM, axis=1)


def _panel(board: NDArray[np.uint8], title: str, subtitle: str) -> NDArray[np.uint8]:
    height, width = board.shape[:2]
    panel = np.full((height + _CAPTION + 2 * _MARGIN, width + _MARGIN, 3), 255, np.uint8)
    panel[_CAPTION : _CAPTION + height, _MARGIN // 2 : _MARGIN // 2 + width] = board
    _text(panel, title, (_MARGIN // 2, 26), 0.7)
    _text(panel, subtitle, (_MARGIN // 2, 52), 0.55)
    return panel


def _scale_bar(picture: NDArray[np.uint8], gsd: float, unit: str) -> None:
    """A bar of a round length under the left board, and what the colours mean."""
    length = round_length(0.3 * SIDE_PX * gsd)
    y, x = picture.shape[0] - 22, _MARGIN // 2
    end = x + round(length / gsd * ZOOM)
    cv2.rectangle(picture, (x, y - 5), (end, y), (0, 0, 0), -1)
    _text(picture, f"{length:g} {unit}     grey: reference, amber: target", (end + 8, y + 2), 0.5)


def _text(picture: NDArray[np.uint8], text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_DUPLEX, size, (30, 30, 30), 1, cv2.LINE_AA)
