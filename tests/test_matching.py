"""Laws of the matchers, on textures displaced by known amounts with exact optics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from georeg.matching.coarse import coarse_shifts
from georeg.matching.phase import coherence_weight, fill_invalid, match_windows
from georeg.tie_points import Status

OVERSAMPLING = 4


def scene(seed: int = 0, side: int = 384, mtf: float = 0.15) -> np.ndarray:
    """Spectrum of a random red texture seen through a Gaussian sensor, on a grid finer than its pixels."""
    n = side * OVERSAMPLING
    f = np.hypot(fft.fftfreq(n)[:, None], fft.rfftfreq(n)) * OVERSAMPLING
    rng = np.random.default_rng(seed)
    amplitude = np.exp(f**2 / 0.25 * np.log(mtf)) / np.maximum(f, 4 / side) ** 1.3
    return (rng.normal(size=f.shape) + 1j * rng.normal(size=f.shape)) * amplitude


def image(
    spectrum: np.ndarray, shift_px: tuple[float, float] = (0, 0), noise: float = 0.02, seed: int = 1
) -> np.ndarray:
    """(1, side, side): the scene moved by (column, row) pixels, exactly, then decimated, then its own noise."""
    n = spectrum.shape[0]
    fy, fx = fft.fftfreq(n)[:, None] * OVERSAMPLING, fft.rfftfreq(n) * OVERSAMPLING
    moved = spectrum * np.exp(-2j * np.pi * (fx * shift_px[0] + fy * shift_px[1]))
    pixels = fft.irfft2(moved, s=(n, n))[::OVERSAMPLING, ::OVERSAMPLING]
    pixels = pixels / pixels.std()
    return (pixels + noise * np.random.default_rng(seed).normal(size=pixels.shape))[None].astype(np.float32)


def centres(side: int, window_px: int, step: int = 48) -> np.ndarray:
    line = np.arange(window_px, side - window_px, step)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


SPECTRUM = scene()
REF = image(SPECTRUM)
VALID = np.ones(REF.shape[1:], bool)


@pytest.mark.parametrize("shift_px", [(0, 0), (3, -5), (0.3, 0.7), (-0.5, 0.5), (-6.25, 4.4)])
@pytest.mark.parametrize("window_px", [64, 96])
def test_a_known_shift_is_recovered_in_both_axes_and_signs(shift_px, window_px):
    tgt = image(SPECTRUM, shift_px, seed=2)
    found = match_windows(REF, VALID, tgt, VALID, centres(384, window_px), window_px=window_px)
    assert (found.status == Status.KEPT).all()
    error = found.shift_px - shift_px
    assert np.abs(error.mean(axis=0)).max() < 0.012  # bias over all windows
    assert np.sqrt((error**2).sum(axis=1).mean()) < 0.06


def test_measured_coherence_makes_matches_better_where_most_frequencies_are_noise():
    soft = scene(seed=4, mtf=1e-5)
    ref, tgt = image(soft, noise=0.05), image(soft, (0.4, -0.3), noise=0.05, seed=2)
    at = centres(384, 64, step=32)
    first = match_windows(ref, VALID, tgt, VALID, at, window_px=64)
    second = match_windows(ref, VALID, tgt, VALID, at, window_px=64, weight=coherence_weight(first.coherence))
    spread = [np.median(np.hypot(*(m.shift_px - (0.4, -0.3)).T)) for m in (first, second)]
    assert spread[1] < 0.7 * spread[0]


def test_stated_covariance_is_true_for_sensor_noise():
    z = []
    for seed in range(4):
        tgt = image(SPECTRUM, (0.2, 0.1), noise=0.1, seed=10 + seed)
        ref = image(SPECTRUM, noise=0.1, seed=20 + seed)
        at = centres(384, 64)
        first = match_windows(ref, VALID, tgt, VALID, at, window_px=64)
        found = match_windows(ref, VALID, tgt, VALID, at, window_px=64, weight=coherence_weight(first.coherence))
        sigma = np.sqrt(np.diagonal(found.cov_px, axis1=1, axis2=2))
        z.append((found.shift_px - (0.2, 0.1)) / sigma)
    assert 0.7 < np.concatenate(z).std() < 1.4


def test_gain_and_offset_change_nothing():
    tgt = image(SPECTRUM, (1.3, -2.2), seed=2)
    at = centres(384, 64)
    plain = match_windows(REF, VALID, tgt, VALID, at, window_px=64)
    scaled = match_windows(REF, VALID, 7 * tgt + 300, VALID, at, window_px=64)
    np.testing.assert_allclose(scaled.shift_px, plain.shift_px, atol=2e-3)


def test_invalid_pixels_do_not_attract():
    tgt = image(SPECTRUM, (0.6, 0.2), seed=2)
    ref_valid, tgt_valid = VALID.copy(), VALID.copy()
    for top in range(0, 384, 48):  # a fifth of each image, elsewhere in the two
        ref_valid[top : top + 20, top // 2 % 90 :: 96] = ref_valid[top : top + 20, 10:60] = False
        tgt_valid[top + 24 : top + 40, 20:90] = tgt_valid[top + 10 : top + 30, 200:250] = False
    ref, tgt = np.where(ref_valid, REF, 0), np.where(tgt_valid, tgt, 0)
    found = match_windows(ref, ref_valid, tgt, tgt_valid, centres(384, 64), window_px=64)
    kept = found.status == Status.KEPT
    assert kept.mean() > 0.9
    assert np.abs(np.median(found.shift_px[kept] - (0.6, 0.2), axis=0)).max() < 0.03


def test_what_fills_invalid_pixels_keeps_the_valid_ones():
    valid = np.random.default_rng(0).random((37, 50)) > 0.7
    image_ = np.random.default_rng(1).normal(size=(2, 37, 50)).astype(np.float32)
    filled = fill_invalid(np.where(valid, image_, np.float32(1e9)), valid)
    assert np.array_equal(filled[:, valid], image_[:, valid])
    assert np.abs(filled).max() <= np.abs(image_[:, valid]).max()
    assert np.array_equal(fill_invalid(image_, ~valid & valid), image_)  # nothing to continue


def test_every_window_that_cannot_be_matched_says_why():
    flat = np.ones_like(REF)
    at = np.array([[100, 100]])
    assert match_windows(flat, VALID, REF, VALID, at, window_px=64).status[0] == Status.LOW_TEXTURE
    assert match_windows(REF, ~VALID, REF, VALID, at, window_px=64).status[0] == Status.MASKED
    far = image(SPECTRUM, (0, 0), seed=3)
    outside = match_windows(REF, VALID, far, VALID, at, tgt_px=np.array([[10, 100]]), window_px=64)
    assert outside.status[0] == Status.OUT_OF_RANGE
    assert len(match_windows(REF, VALID, REF, VALID, np.zeros((0, 2), int), window_px=64).score) == 0


def test_windows_that_do_not_correspond_score_low():
    other = image(scene(seed=99), seed=5)
    at = centres(384, 64)
    right = match_windows(REF, VALID, image(SPECTRUM, (1, 1), seed=2), VALID, at, window_px=64)
    wrong = match_windows(REF, VALID, other, VALID, at, window_px=64)
    settled = wrong.status == Status.KEPT
    assert np.percentile(right.score, 1) > wrong.score[settled].max()


def test_one_window_equals_the_same_window_among_many():
    tgt = image(SPECTRUM, (0.4, 1.2), seed=2)
    at = centres(384, 64)
    many = match_windows(REF, VALID, tgt, VALID, at, window_px=64)
    alone = match_windows(REF, VALID, tgt, VALID, at[7:8], window_px=64)
    np.testing.assert_allclose(many.shift_px[7], alone.shift_px[0], atol=1e-6)


@pytest.mark.parametrize("shift_px", [(0, 0), (25, -40), (-120, 90)])
@pytest.mark.parametrize("contrast", [1, -1])
def test_coarse_shift_is_found_also_with_inverted_contrast(shift_px, contrast):
    big = scene(seed=3, side=512)
    ref, tgt = image(big)[:, :256, 128:384], contrast * image(big, shift_px, seed=2)[:, :256, 128:384]
    valid = np.ones(ref.shape[1:], bool)
    found, score = coarse_shifts(ref, valid, tgt, valid)
    assert tuple(found[0]) == shift_px
    assert score[0] == score.max()


def test_coarse_shift_ignores_what_is_masked():
    big = scene(seed=3, side=512)
    ref, tgt = image(big)[:, :256, :256].copy(), image(big, (20, 10), seed=2)[:, :256, :256].copy()
    valid = np.ones(ref.shape[1:], bool)
    valid[60:120, 40:200] = False  # the same stain in both would say: no shift
    for picture in (ref, tgt):
        picture[0, ~valid] = 50 * image(scene(seed=8, side=256))[0][~valid]
    assert tuple(coarse_shifts(ref, valid, tgt, valid)[0][0]) == (20, 10)


def test_coarse_search_of_nothing_finds_nothing():
    flat = np.zeros((1, 64, 64), np.float32)
    found, score = coarse_shifts(flat, np.ones((64, 64), bool), flat, np.ones((64, 64), bool))
    assert found.shape == (0, 2)
    assert score.shape == (0,)
