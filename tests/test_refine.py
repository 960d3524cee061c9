"""Laws of the refinement: what the compiled kernel finds is what the NumPy reference finds, and both find the truth."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import scenes
from scipy import ndimage

from georeg.matching import _kernel
from georeg.matching.fields import Field, prepare
from georeg.matching.refine import COMPILED, HALO_PX, WHITE_NOISE, Refined, _taps, refine, refine_by_numpy

SIDE = 192
SHIFT_PX = (0.37, -0.23)

compiled = pytest.mark.skipif(not COMPILED, reason="georeg was installed without a C compiler")
both = pytest.mark.parametrize("match", [pytest.param(refine, marks=compiled), refine_by_numpy])


def scene(seed: int, slope: float = 1.3) -> np.ndarray:
    return scenes.scene(seed, SIDE, slope=slope)


def image(
    spectrum: np.ndarray, shift_px: tuple[float, float] = (0, 0), noise: float = 0.0, seed: int = 1
) -> np.ndarray:
    """(side, side)"""
    return scenes.image(spectrum, shift_px, noise, seed)[0]


def field(*bands: np.ndarray, valid: np.ndarray | None = None) -> Field:
    valid = np.ones((SIDE, SIDE), bool) if valid is None else valid
    return prepare(np.stack(bands).astype(np.float32) * valid, valid)


def gamma(pixels: np.ndarray) -> np.ndarray:
    return np.asarray((pixels - pixels.min() + 0.05) ** 2)


def clouded(pixels: np.ndarray) -> np.ndarray:
    lumps = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=pixels.shape), 8, mode="wrap")
    return np.where(lumps > np.quantile(lumps, 0.7), 4, pixels)


def shaded(pixels: np.ndarray) -> np.ndarray:
    row, col = np.indices(pixels.shape) / 30.0
    return pixels * (1 + 0.5 * np.sin(col)) + 2 * np.sin(row)


def striped(phase: int) -> np.ndarray:
    row, col = np.indices((SIDE, SIDE))
    return np.asarray((col + row // 4 + phase) % 15 >= 3)


REF, TGT = image(scene(0), noise=0.03), image(scene(0), SHIFT_PX, noise=0.03, seed=2)
GREY_REF, GREY_TGT = (image(scene(3, slope=0.2), s, noise=0.2, seed=k) for k, s in ((1, (0, 0)), (2, SHIFT_PX)))
THREE = [(image(scene(k), noise=0.05, seed=k), image(scene(k), SHIFT_PX, noise=0.05, seed=9 + k)) for k in (4, 5, 6)]
BLOB = np.hypot(*(np.indices((SIDE, SIDE)) - SIDE / 2)) > 30
PAIRS: dict[str, Callable[[], tuple[Field, Field]]] = {
    "plain": lambda: (field(REF), field(TGT)),
    "white residual": lambda: (field(GREY_REF), field(GREY_TGT)),
    "red residual": lambda: (field(REF), field(shaded(TGT))),
    "inverted": lambda: (field(REF), field(-TGT)),
    "gamma": lambda: (field(REF), field(gamma(TGT))),
    "clouded": lambda: (field(REF), field(clouded(TGT))),
    "striped": lambda: (field(REF, valid=striped(0)), field(TGT, valid=striped(8))),
    "part masked": lambda: (field(REF, valid=BLOB), field(TGT)),
    "three bands": lambda: (field(*(r for r, _ in THREE)), field(*(t for _, t in THREE))),
    "three bands, striped": lambda: (
        field(*(r for r, _ in THREE), valid=striped(0)),
        field(*(-t for _, t in THREE), valid=striped(3)),
    ),
}


def corners(window_px: int) -> list[tuple[int, int]]:
    line = range(HALO_PX + 1, SIDE - window_px - HALO_PX, max(window_px, 48) + 5)
    return [(col, row) for row in line for col in line]


@compiled
@pytest.mark.parametrize("window_px", [8, 32, 48, 64, 128])
@pytest.mark.parametrize("name", PAIRS)
def test_the_compiled_kernel_finds_what_numpy_finds(name, window_px):
    ref, tgt = PAIRS[name]()
    n_found = 0
    for corner in corners(window_px):
        args = (ref, tgt, corner, corner, window_px, (0.3, -0.1))
        ours, theirs = refine(*args), refine_by_numpy(*args)
        assert (ours is None) == (theirs is None)
        if ours is None or theirs is None or window_px < 32:  # eight pixels tell too little for digits to agree
            continue
        n_found += 1
        np.testing.assert_allclose(ours.shift_px, theirs.shift_px, atol=1e-4)
        np.testing.assert_allclose(ours.cov_px, theirs.cov_px, rtol=0.01, atol=0.01 * np.trace(theirs.cov_px))
        np.testing.assert_allclose(ours.centre_px, theirs.centre_px, atol=0.05)
        np.testing.assert_allclose(ours.disagreement, theirs.disagreement, rtol=0.02, atol=0.02)
    assert window_px < 32 or n_found > 0


@both
@pytest.mark.parametrize("shift_px", [(0.0, 0.0), (0.5, -0.5), (-0.31, 0.77), SHIFT_PX])
@pytest.mark.parametrize("name", ["noiseless", "inverted", "striped"])
def test_a_known_shift_is_recovered(match, name, shift_px):
    sign = -1 if name == "inverted" else 1
    masks = (striped(0), striped(8)) if name == "striped" else (None, None)
    ref, tgt = field(image(scene(0)), valid=masks[0]), field(sign * image(scene(0), shift_px), valid=masks[1])
    found = match(ref, tgt, (64, 64), (64, 64), 64, (round(shift_px[0], 1), round(shift_px[1], 1)))
    assert found is not None
    assert np.abs(found.shift_px - shift_px).max() < 0.01


@both
def test_corners_shift_by_whole_pixels(match):
    ref, tgt = PAIRS["plain"]()
    here = match(ref, tgt, (64, 60), (64, 60), 64, (0.0, 0.0))
    moved = match(ref, tgt, (64, 60), (65, 60), 64, (-0.5, 0.0))
    assert here is not None
    assert moved is not None
    np.testing.assert_allclose(moved.shift_px + (1, 0), here.shift_px, atol=0.02)
    np.testing.assert_allclose(moved.centre_px, here.centre_px, atol=1)
    assert (np.abs(here.centre_px - (96, 92)) < 16).all()


@both
def test_a_window_that_nothing_holds_is_none(match):
    ref, tgt = PAIRS["plain"]()
    flat = field(np.ones((SIDE, SIDE), np.float32))
    unseen = field(REF, valid=np.zeros((SIDE, SIDE), bool))
    edge = field((np.indices((SIDE, SIDE))[1] > 90).astype(np.float32))
    for one, other in ((flat, flat), (flat, tgt), (ref, flat), (unseen, tgt), (ref, unseen), (edge, edge)):
        assert match(one, other, (64, 64), (64, 64), 64, (0.0, 0.0)) is None


@both
def test_a_window_that_strays_from_its_start_is_none(match):
    ref = field(image(scene(0, slope=2.0)))
    tgt = field(image(scene(0, slope=2.0), (1.8, 0.0)))
    assert match(ref, tgt, (64, 64), (64, 64), 64, (0.0, 0.0)) is None


@both
def test_windows_that_do_not_fit_are_refused(match):
    ref, tgt = PAIRS["plain"]()
    with pytest.raises(ValueError, match="multiple of 8"):
        match(ref, tgt, (64, 64), (64, 64), 60, (0.0, 0.0))
    for corner in ((4, 64), (64, 4), (SIDE - 68, 64), (64, SIDE - 68)):
        for at in ((corner, (64, 64)), ((64, 64), corner)):
            with pytest.raises(ValueError, match="5 pixels around 64"):
                match(ref, tgt, *at, 64, (0.0, 0.0))
    with pytest.raises(ValueError, match="bands"):
        match(ref, PAIRS["three bands"]()[1], (64, 64), (64, 64), 64, (0.0, 0.0))


@both
def test_threads_change_no_byte(match):
    ref, tgt = PAIRS["striped"]()

    def found(corner: tuple[int, int]) -> Refined | None:
        return match(ref, tgt, corner, corner, 64, (0.3, -0.1))

    at = 8 * corners(64)
    alone = [found(corner) for corner in at]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(found, at))
    assert [encoded(one) for one in alone] == [encoded(one) for one in together]


def encoded(found: Refined | None) -> bytes:
    return b"" if found is None else b"".join(np.asarray(value).tobytes() for value in astuple(found))


@compiled
def test_images_of_any_layout_give_the_same():
    ref, tgt = PAIRS["three bands"]()
    laid = [
        replace(
            each,
            detail=tuple(np.asfortranarray(band) for band in each.detail),
            brightness=tuple(np.asfortranarray(band) for band in each.brightness),
            edges=np.asfortranarray(each.edges),
            valid=np.asfortranarray(each.valid),
        )
        for each in (ref, tgt)
    ]
    args = ((64, 60), (64, 60), 64, (0.3, -0.1))
    assert encoded(refine(ref, tgt, *args)) == encoded(refine(*laid, *args)) != b""


def test_without_a_library_there_is_no_kernel(tmp_path: Path):
    assert _kernel.load(tmp_path / "none.so", "georeg_refine_v1") is None
    (tmp_path / "other.so").write_bytes(b"no library")
    assert _kernel.load(tmp_path / "other.so", "georeg_refine_v1") is None


def test_white_noise_has_the_power_that_the_choice_of_brightness_counts_with():
    noise = field(np.random.default_rng(0).normal(size=(SIDE, SIDE)))
    taps = _taps(0.0)
    bright, detail = (cv2.sepFilter2D(band[0], cv2.CV_32F, taps, taps) for band in (noise.brightness, noise.detail))
    assert bright.var() / detail.var() == pytest.approx(WHITE_NOISE, rel=0.05)
