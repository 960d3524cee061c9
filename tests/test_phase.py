"""Laws of phase correlation alone, against textures that were moved exactly."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import scenes
from numpy.typing import NDArray
from scenes import image, scene

import georeg
from georeg.errors import InputError
from georeg.matching import phase
from georeg.matching.phase import UNKNOWN_PX2, Correlated, control_significance, correlate, correlate_windows
from georeg.options import MatchOptions
from georeg.tie_points import Status

SAMPLES = Path(__file__).resolve().parents[1] / "sample_tiles"
SIDE = 384
SPECTRUM = scene(3, side=SIDE)
MOVES_PX = [(0.3, -0.2), (0.5, 0.5), (-1.45, 2.3), (3.1, -0.75)]
PARTS = ("shift_px", "cov_px", "score", "significance")
Windows = NDArray[np.float32]


def cut(pixels: NDArray[np.float32], side: int) -> Windows:
    """Half-overlapping windows (N, side, side) of (height, width), row by row."""
    starts = range(0, pixels.shape[0] - side + 1, side // 2)
    return np.stack([pixels[row : row + side, col : col + side] for row in starts for col in starts])


@lru_cache
def texture(move_px: tuple[float, float]) -> NDArray[np.float32]:
    """(height, width) of deviation 1, moved by (column, row) pixels."""
    return image(SPECTRUM, move_px, noise=0)[0]


def pair(side: int, move_px: tuple[float, float], noise: float = 0.05) -> tuple[Windows, Windows]:
    """The same windows of a texture, and of the texture moved by (column, row) pixels, each with noise of its own."""
    rng = np.random.default_rng(5)
    seen = (texture(px) + noise * rng.normal(size=(SIDE, SIDE)) for px in ((0.0, 0.0), move_px))
    ref, tgt = (cut(pixels.astype(np.float32), side) for pixels in seen)
    return ref, tgt


def whole(windows: Windows) -> tuple[Windows, NDArray[np.bool_]]:
    return windows, np.ones(windows.shape, bool)


def centres(n: int, side: int) -> NDArray[np.intp]:
    """Of the windows of `cut`."""
    per_row = round(n**0.5)
    return np.array([(k % per_row, k // per_row) for k in range(n)]) * (side // 2) + side // 2


@pytest.mark.parametrize("move_px", MOVES_PX)
@pytest.mark.parametrize("side", [64, 128])
def test_shifts_are_those_of_the_texture(side: int, move_px: tuple[float, float]) -> None:
    error = correlate(*pair(side, move_px, noise=0.02)).shift_px - move_px
    assert np.abs(np.median(error, axis=0)).max() < 0.01
    assert np.sqrt((error**2).mean()) < 0.012
    assert np.abs(error).max() < 0.04


@pytest.mark.parametrize("move_px", MOVES_PX)
def test_shifts_are_those_of_fields_with_straight_borders(move_px: tuple[float, float]) -> None:
    ground, rng = scenes.fields(1, side=1000), np.random.default_rng(0)
    seen = []
    for px in ((0.0, 0.0), move_px):
        place = scenes.placed(2.0, 0, (500 - 2 * px[0], 500 - 2 * px[1]), (SIDE, SIDE))
        pixels = scenes.see(ground, place, (SIDE, SIDE)) + 0.03 * rng.normal(size=(SIDE, SIDE))
        seen.append(cut(pixels.astype(np.float32), 64))
    error = correlate(*seen).shift_px - move_px
    assert np.abs(np.median(error, axis=0)).max() < 0.01
    assert np.sqrt((error**2).mean()) < 0.02


def test_what_lies_further_right_and_down_in_the_target_has_a_positive_shift() -> None:
    pixels = image(SPECTRUM)[0]
    windows = cut(pixels, 64)
    right, down = cut(np.roll(pixels, 2, axis=1), 64), cut(np.roll(pixels, 3, axis=0), 64)
    np.testing.assert_allclose(correlate(windows, right).shift_px, np.tile([2, 0], (len(windows), 1)), atol=0.1)
    np.testing.assert_allclose(correlate(windows, down).shift_px, np.tile([0, 3], (len(windows), 1)), atol=0.1)


def test_the_way_back_is_the_opposite_one() -> None:
    ref, tgt = pair(64, (-1.45, 2.3))
    np.testing.assert_allclose(correlate(tgt, ref).shift_px, -correlate(ref, tgt).shift_px, atol=1e-4)


@pytest.mark.parametrize(("gain", "offset"), [(-1.0, 0.0), (-300.0, 9000.0), (1e-9, 0.0), (1e9, 0.0), (40.0, -2e4)])
def test_neither_brightness_nor_contrast_matters(gain: float, offset: float) -> None:
    ref, tgt = pair(64, (0.3, -1.2))
    plain, other = correlate(ref, tgt), correlate(ref, (gain * tgt + offset).astype(np.float32))
    np.testing.assert_allclose(other.shift_px, plain.shift_px, atol=2e-3)
    np.testing.assert_allclose(other.significance, plain.significance, rtol=1e-2)


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("noise", [0.05, 0.1, 0.3])
def test_errors_are_as_large_as_the_covariance_says(side: int, noise: float) -> None:
    z = []
    for move_px in MOVES_PX:
        found = correlate(*pair(side, move_px, noise))
        z.append((found.shift_px - move_px) / np.sqrt(np.diagonal(found.cov_px, axis1=1, axis2=2)))
    spread = np.sqrt((np.concatenate(z) ** 2).mean(axis=0))
    assert (spread > 0.5).all(), spread  # somewhat more is stated, for ground that changes
    assert (spread < 1.1).all(), spread


def test_along_a_lone_edge_little_is_known() -> None:
    col, row = np.meshgrid(np.arange(64), np.arange(64))
    rng = np.random.default_rng(0)
    edges = [np.tanh((col - 0.3 * row - 22 - move) / 2) + 0.02 * rng.normal(size=(64, 64)) for move in (0.0, 0.4)]
    cov = correlate(*(edge.astype(np.float32)[None] for edge in edges)).cov_px[0]
    (least, most), axes = np.linalg.eigh(cov)
    assert least < 0.15**2
    assert most > 10 * least
    assert abs(axes[:, 1] @ (0.3, 1)) / np.hypot(0.3, 1) > 0.95  # the long axis lies along the edge


def test_significance_separates_windows_that_correspond_from_others() -> None:
    ref, tgt = pair(64, (1.3, 0.4), noise=0.3)
    n = len(ref)
    control = control_significance(whole(ref), whole(tgt), np.arange(n), centres(n, 64))
    assert len(control) > n / 2
    assert correlate(ref, tgt).significance.min() > 1.3 * control.max()


def test_controls_do_not_overlap_what_they_are_compared_with() -> None:
    ref, tgt = pair(64, (0, 0), noise=0.05)
    near = np.full((len(ref), 2), 100)  # all of them at one place
    assert control_significance(whole(ref), whole(tgt), np.arange(len(ref)), near).shape == (0,)
    assert control_significance(whole(ref), whole(tgt), np.zeros(0, np.intp), near).shape == (0,)


def matched(ref: Windows, tgt: Windows, known: NDArray[np.bool_], reach_px: int = 16) -> tuple[NDArray, NDArray]:
    matches = correlate_windows((ref, known), whole(tgt), centres(len(ref), ref.shape[1]), reach_px=reach_px)
    return matches.status, matches.shift_px


def test_invalid_pixels_do_not_draw() -> None:
    ref, tgt = pair(64, (1.3, -0.4), noise=0.02)
    known = np.ones(ref.shape, bool)
    known[:, 20:36, 24:40] = False
    status, shift = matched(np.where(known, ref, -999).astype(np.float32), tgt, known)
    assert (status == Status.KEPT).all()
    assert np.abs(np.median(shift, axis=0) - (1.3, -0.4)).max() < 0.03
    assert np.sqrt(((shift - (1.3, -0.4)) ** 2).mean()) < 0.08


def test_windows_of_which_too_little_is_known_are_masked() -> None:
    ref, tgt = pair(64, (1.3, -0.4))
    known = np.ones(ref.shape, bool)
    known[::2, :, :8] = False  # an eighth
    status, _ = matched(ref, tgt, known)
    assert (status[::2] == Status.MASKED).all()
    assert (status[1::2] == Status.KEPT).all()
    status, _ = matched(ref, tgt, np.zeros(ref.shape, bool))
    assert (status == Status.MASKED).all()


def test_nothing_is_found_beyond_the_reach() -> None:
    ref, tgt = pair(64, (6.4, 0.0))
    assert (matched(ref, tgt, np.ones(ref.shape, bool), reach_px=8)[0] == Status.KEPT).all()
    assert (matched(ref, tgt, np.ones(ref.shape, bool), reach_px=6)[0] == Status.OUT_OF_RANGE).all()


def test_flat_windows_are_known_nowhere() -> None:
    flat = np.full((2, 64, 64), 7.3, np.float32)
    found = correlate(flat, flat)
    np.testing.assert_array_equal(found.cov_px, np.tile(UNKNOWN_PX2 * np.eye(2), (2, 1, 1)))
    assert (matched(flat, flat, np.ones(flat.shape, bool))[0] == Status.LOW_TEXTURE).all()


def test_no_windows_have_no_shifts() -> None:
    found = correlate(*np.zeros((2, 0, 64, 64), np.float32))
    assert found.shift_px.shape == (0, 2)
    assert found.cov_px.shape == (0, 2, 2)


def test_windows_in_batches_are_windows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ref, tgt = pair(64, (0.3, -1.2))
    at_once = correlate(ref, tgt)
    monkeypatch.setattr(phase, "BATCH_PX", 7 * 64 * 64)
    assert_alike(correlate(ref, tgt), at_once)


def assert_alike(found: Correlated, expected: Correlated) -> None:
    for part, atol in zip(PARTS, (1e-5, 1e-6, 1e-5, 1e-3), strict=True):
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), rtol=1e-4, atol=atol)


def test_the_fast_preset_finds_the_truth(shift_pair: tuple[str, str]) -> None:
    truth = json.loads((SAMPLES / "truth.json").read_text())["pairs"]["shift"]
    moved = (*truth["model"]["coefficients_x"], *truth["model"]["coefficients_y"])
    alignment = georeg.align(*shift_pair, matching=georeg.MatchOptions(preset="fast"))
    at = alignment.points.everywhere_xy()
    error_px = (alignment.model(at) - at - moved) / truth["gsd_m"]
    assert np.hypot(*error_px.T).max() < 0.05
    points = alignment.points.subset(alignment.points.kept)
    error = points.ref_xy - points.tgt_xy - moved
    z = (
        np.median(np.abs(error), axis=0)
        / 0.6745
        / np.median(np.sqrt(np.diagonal(points.cov, axis1=1, axis2=2)), axis=0)
    )
    assert (z > 0.6).all(), z
    assert (z < 1.6).all(), z
    assert alignment.after.rmse < 0.2 * truth["gsd_m"]


def test_the_fast_preset_refuses_what_does_not_correspond(shift_pair: tuple[str, str]) -> None:
    other = str(SAMPLES / "polynomial_target.tif")
    with pytest.raises(georeg.GeoregError, match=r"tie points|place|chance|confirm"):
        georeg.align(shift_pair[0], other, matching=georeg.MatchOptions(preset="fast", matcher="phase"))


@pytest.mark.parametrize("other", [{"matcher": "features"}, {"preprocess": "log"}, {"combine": "mean"}])
def test_what_the_fast_preset_would_ignore_is_refused(other):
    sample = Path(__file__).parent.parent / "sample_tiles"
    with pytest.raises(InputError, match=f"without --{next(iter(other))}"):
        georeg.match(
            sample / "shift_reference.tif", sample / "shift_target.tif", matching=MatchOptions(preset="fast", **other)
        )
