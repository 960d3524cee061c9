"""Laws of what is done to images before they are matched."""

from __future__ import annotations

import numpy as np
import pytest

from georeg.errors import InputError
from georeg.matching.preprocess import TILE_PX, preprocess

RNG = np.random.default_rng(0)
IMAGE = RNG.gamma(4.0, 500.0, size=(2, 150, 130)).astype(np.float32)
VALID = np.ones(IMAGE.shape[1:], bool)
HOLES = VALID.copy()
HOLES[40:70, 30:60] = HOLES[:, :5] = False
HOWS = ("none", "clahe", "gaussian", "log")
WAYS = [
    (how, combine) for how in HOWS for combine in ("none", "mean", "difference") if (how, combine) != ("none", "none")
]


def test_nothing_to_do_is_the_image_itself():
    assert preprocess(IMAGE, VALID, how="none", combine="none") is IMAGE


@pytest.mark.parametrize(("how", "combine"), WAYS)
@pytest.mark.parametrize("garbage", [1e9, -3e38, np.nan, np.inf])
def test_what_invalid_pixels_hold_alters_nothing(how, combine, garbage):
    clean = preprocess(IMAGE, HOLES, how=how, combine=combine)
    dirty = preprocess(np.where(HOLES, IMAGE, np.float32(garbage)), HOLES, how=how, combine=combine)
    assert clean.shape == ((2 if combine == "none" else 1), 150, 130)
    assert clean.dtype == np.float32
    assert np.array_equal(dirty, clean)
    assert not clean[:, ~HOLES].any()
    assert (clean[:, HOLES].std(axis=1) > 0).all()


@pytest.mark.parametrize(("how", "combine"), WAYS)
def test_images_without_valid_pixels_or_without_contrast_stay_finite(how, combine):
    assert not preprocess(np.full_like(IMAGE, np.nan), ~VALID, how=how, combine=combine).any()
    for level in (0, 7, -7):
        flat = preprocess(np.full_like(IMAGE, level), VALID, how=how, combine=combine)
        assert np.isfinite(flat).all()
        assert np.ptp(flat) < 1e-5
    assert preprocess(IMAGE[:, :1, :1], VALID[:1, :1], how=how, combine=combine).shape[1:] == (1, 1)


def test_clahe_ignores_gain_and_offset():
    plain = preprocess(IMAGE, HOLES, how="clahe", combine="none")
    scaled = preprocess(2e-4 * IMAGE - 0.3, HOLES, how="clahe", combine="none")
    np.testing.assert_allclose(scaled, plain, atol=2e-3)
    assert plain.min() >= 0
    assert plain.max() <= 1


def test_clahe_gives_dim_ground_the_contrast_of_bright_ground():
    gain = np.where(np.arange(8 * TILE_PX) < 4 * TILE_PX, 1.0, 0.1)  # a cloud's shadow
    texture = np.random.default_rng(1).normal(size=(1, 256, 8 * TILE_PX)) + 10
    valid = np.ones(texture.shape[1:], bool)
    bright, dim = slice(2 * TILE_PX), slice(6 * TILE_PX, None)
    before = (texture * gain).astype(np.float32)
    after = preprocess(before, valid, how="clahe", combine="none")
    assert before[..., dim].std() < 0.15 * before[..., bright].std()
    assert after[..., dim].std() > 0.17 * after[..., bright].std()


def test_clahe_keeps_the_contrast_beside_a_hole():
    texture = np.random.default_rng(3).normal(size=(1, 2 * TILE_PX, 8 * TILE_PX)).astype(np.float32)
    valid = np.ones(texture.shape[1:], bool)
    holes = valid.copy()
    holes[:, TILE_PX : 7 * TILE_PX] = holes[40:90, :48] = False
    whole, rest = (preprocess(texture, seen, how="clahe", combine="none")[0, holes].std() for seen in (valid, holes))
    assert rest == pytest.approx(whole, rel=0.03)


def test_smoothing_takes_the_mean_of_valid_pixels_alone():
    level = preprocess(np.full_like(IMAGE, 300), HOLES, how="gaussian", combine="none")
    np.testing.assert_allclose(level[:, HOLES], 300, rtol=1e-5)  # neither holes nor borders darken it


def test_smoothing_is_by_one_pixel():
    impulse = np.zeros((1, 41, 41), np.float32)
    impulse[0, 20, 20] = 1
    seen = preprocess(impulse, np.ones((41, 41), bool), how="gaussian", combine="none")[0]
    assert seen.sum() == pytest.approx(1, abs=1e-4)
    assert (seen.sum(axis=0) * (np.arange(41) - 20.0) ** 2).sum() == pytest.approx(1, abs=0.02)
    assert (seen.sum(axis=1) * (np.arange(41) - 20.0)).sum() == pytest.approx(0, abs=1e-6)


def test_a_logarithm_makes_a_factor_a_sum():
    plain = preprocess(IMAGE, VALID, how="log", combine="none")
    brighter = preprocess(50 * IMAGE, VALID, how="log", combine="none")
    np.testing.assert_allclose(brighter - plain, np.log(50), atol=2e-5)
    usual = np.percentile(IMAGE[0], 2) < IMAGE[0]
    np.testing.assert_allclose(plain[0, usual], np.log(IMAGE[0, usual]), rtol=1e-6)


def test_a_logarithm_of_zero_or_less_is_that_of_the_darkest_positive_values():
    image = np.array(IMAGE)
    image[:, ::7], image[:, 3::7] = 0, -50
    seen = preprocess(image, VALID, how="log", combine="none")
    for band, out in zip(image, seen, strict=True):
        assert np.ptp(out[band <= 0]) == 0
        assert out[band <= 0].max() == out.min()
        assert out.min() == pytest.approx(np.log(np.percentile(band[band > 0], 1)), rel=1e-5)


def test_a_normalised_difference_knows_no_common_gain():
    seen = preprocess(IMAGE, VALID, how="none", combine="difference")
    first, second = IMAGE.astype(float)
    np.testing.assert_allclose(seen[0], (first - second) / (first + second), atol=1e-6)
    np.testing.assert_allclose(preprocess(9 * IMAGE, VALID, how="none", combine="difference"), seen, atol=1e-6)


def test_bands_that_add_up_to_nothing_have_no_difference():
    bands = np.array([[[0, 5, 3, -1]], [[0, -5, 1, 1.0001]]], np.float32)
    seen = preprocess(bands, np.ones((1, 4), bool), how="none", combine="difference")
    np.testing.assert_allclose(seen, [[[0, 0, 0.5, -1]]])


@pytest.mark.parametrize("n", [1, 3])
def test_a_difference_needs_two_bands(n):
    with pytest.raises(InputError, match=rf"exactly 2 bands, not {n}; choose two with --ref-bands"):
        preprocess(IMAGE[[0] * n], VALID, how="none", combine="difference")


def test_in_the_mean_every_band_counts_alike():
    flat = np.full((1, *VALID.shape), 3, np.float32)
    loud = np.concatenate([IMAGE[:1], 1000 * IMAGE[1:], flat])
    seen = preprocess(loud, VALID, how="none", combine="mean")[0]
    both = [np.corrcoef(seen.ravel(), band.ravel())[0, 1] for band in IMAGE]
    np.testing.assert_allclose(both, np.sqrt(0.5), atol=0.02)
    assert seen.min() >= 0


def test_bands_are_combined_before_they_are_treated():
    mean = preprocess(IMAGE, VALID, how="none", combine="mean")
    for how in ("clahe", "gaussian", "log"):
        seen = preprocess(IMAGE, VALID, how=how, combine="mean")
        assert np.array_equal(seen, preprocess(mean, VALID, how=how, combine="none"))
