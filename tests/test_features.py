"""Laws of feature matching, on textures displaced by known amounts with exact optics."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import fft
from scipy.spatial import KDTree

from georeg.errors import InputError
from georeg.matching.features import DUPLICATE_PX, Detector, match_features

SIDE = 384
VALID = np.ones((SIDE, SIDE), bool)
HAS_AKAZE = hasattr(cv2, "AKAZE_create")
DETECTORS: list[Detector] = ["sift", "orb", *(["akaze"] if HAS_AKAZE else [])]


def scene(seed: int, mtf: float = 0.05) -> np.ndarray:
    """Spectrum of a random red texture seen through a Gaussian sensor that resolves less than its pixels."""
    f = np.hypot(fft.fftfreq(SIDE)[:, None], fft.rfftfreq(SIDE))
    rng = np.random.default_rng(seed)
    amplitude = np.exp(f**2 / 0.25 * np.log(mtf)) / np.maximum(f, 4 / SIDE) ** 1.3 * (f < 0.49)
    return (rng.normal(size=f.shape) + 1j * rng.normal(size=f.shape)) * amplitude


def image(spectrum: np.ndarray, shift_px: tuple[float, float] = (0, 0), seed: int = 1) -> np.ndarray:
    """(1, SIDE, SIDE): the scene moved by (column, row) pixels, exactly, then its own noise."""
    fy, fx = fft.fftfreq(SIDE)[:, None], fft.rfftfreq(SIDE)
    pixels = fft.irfft2(spectrum * np.exp(-2j * np.pi * (fx * shift_px[0] + fy * shift_px[1])), s=(SIDE, SIDE))
    noise = 0.02 * np.random.default_rng(seed).normal(size=pixels.shape)
    return (pixels / pixels.std() + noise)[None].astype(np.float32)


def match(ref, tgt, ref_valid=VALID, tgt_valid=VALID, **options):
    return match_features(ref, ref_valid, tgt, tgt_valid, **({"reach_px": 20, "max_points": 500} | options))


SPECTRUM = scene(0)
REF = image(SPECTRUM)
SHIFT = (1.3, -2.2)
TGT = image(SPECTRUM, SHIFT, seed=2)
# median error of a match in px, mean of those within 2 px, and the share that is beyond; ORB knows whole pixels only
LIMITS = {"sift": (0.1, 0.03, 0.03), "akaze": (0.1, 0.03, 0.03), "orb": (0.95, 0.15, 0.1)}


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("shift_px", [(0.3, 0.7), (-0.4, -0.6), (7.25, -3.5), (-12.6, 4.4)])
def test_a_known_shift_is_recovered_in_both_axes_and_signs(detector, shift_px):
    ref_px, tgt_px, score = match(REF, image(SPECTRUM, shift_px, seed=2), detector=detector)
    error = tgt_px - ref_px - shift_px
    median, bias, wrong = LIMITS[detector]
    assert len(score) > 300
    length = np.hypot(*error.T)
    assert np.median(length) < median
    assert np.abs(error[length <= 2].mean(axis=0)).max() < bias
    assert (length > 2).mean() < wrong


@pytest.mark.parametrize("detector", DETECTORS)
def test_positions_are_counted_from_the_outer_corner(detector):
    """Turned by 180°, a pixel's column becomes the width less its column: from anywhere else, twice the offset shows."""
    ref_px, tgt_px, _ = match(REF, REF[:, ::-1, ::-1], detector=detector, reach_px=2 * SIDE)
    error = tgt_px - (SIDE - ref_px)
    near = np.hypot(*error.T) < 3
    assert near.mean() > 0.95
    assert np.abs(error[near].mean(axis=0)).max() < 0.04


@pytest.mark.parametrize("detector", DETECTORS)
def test_gain_offset_and_outliers_change_little(detector):
    plain = match(REF, TGT, detector=detector)
    spiked = np.array(TGT) * 1e-3 - 17  # as of dB
    spiked[0, 100, 100] = 1e6
    ref_px, tgt_px, _ = match(9000 * REF + 4e4, spiked.astype(np.float32), detector=detector)
    assert len(ref_px) > 0.9 * len(plain[0])
    error = np.hypot(*(tgt_px - ref_px - SHIFT).T)
    assert np.median(error) < 1.1 * np.median(np.hypot(*(plain[1] - plain[0] - SHIFT).T))


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("garbage", [1e9, np.nan])
def test_invalid_pixels_make_no_features(detector, garbage):
    ref_valid, tgt_valid = VALID.copy(), VALID.copy()
    ref_valid[60:160, 100:260] = ref_valid[:, :20] = tgt_valid[230:330, 30:180] = False
    dirty = np.where(ref_valid, REF, np.float32(garbage)), np.where(tgt_valid, TGT, np.float32(-garbage))
    ref_px, tgt_px, score = match(*dirty, ref_valid, tgt_valid, detector=detector)
    assert len(score) > 50
    for px, valid in ((ref_px, ref_valid), (tgt_px, tgt_valid)):
        column, row = np.floor(px).astype(int).T
        edge = KDTree(np.argwhere(~valid)[:, ::-1] + 0.5).query(px)[0]
        assert valid[row, column].all()
        assert edge.min() > 3
    assert (np.hypot(*(tgt_px - ref_px - SHIFT).T) > 2).mean() < 0.1
    again = match(np.where(ref_valid, REF, 0), np.where(tgt_valid, TGT, 0), ref_valid, tgt_valid, detector=detector)
    assert all(np.array_equal(a, b) for a, b in zip(again, (ref_px, tgt_px, score), strict=True))


def test_no_match_is_longer_than_the_reach():
    for reach_px in (1.0, 2.5, 10.0):
        ref_px, tgt_px, _ = match(REF, TGT, reach_px=reach_px)
        assert np.hypot(*(tgt_px - ref_px).T).max(initial=0) <= reach_px
    assert (np.hypot(*(np.subtract(*match(REF, TGT, reach_px=1.0)[1::-1]) - SHIFT).T) > 1).all()  # none is right


def test_what_lies_beyond_the_reach_makes_nothing_ambiguous():
    half = REF[:, :, : SIDE // 2]
    twice = np.concatenate([half, half], axis=2)  # every feature has a twin, 192 px away
    near, far = (len(match(twice, twice, reach_px=reach_px, max_points=5000)[2]) for reach_px in (188, 196))
    assert near > 2000
    assert far < 0.3 * near


def test_bands_are_combined_whatever_their_units():
    ref, other = np.concatenate([REF, image(scene(5))]), image(scene(5), SHIFT, seed=3)
    ref_px, tgt_px, _ = match(ref, np.concatenate([TGT, other]))
    assert (np.hypot(*(tgt_px - ref_px - SHIFT).T) < 1).sum() > 400
    units = np.array([2e-3, 1e4])[:, None, None].astype(np.float32)
    again = match(units * ref, np.concatenate([TGT * 7, other - 300]))[0]
    assert (KDTree(ref_px).query(again)[0] < 0.1).mean() > 0.9
    alone = match(REF, TGT)[0]
    assert (KDTree(ref_px).query(alone)[0] < 0.1).mean() < 0.2


def test_matches_are_spread_evenly():
    amplitude = np.where(np.arange(SIDE) < SIDE // 2, 1.0, 0.15).astype(np.float32)  # a hazy half
    ref_px, _, _ = match(REF * amplitude, TGT * amplitude, max_points=144)
    count = np.histogram2d(*ref_px.T, bins=4, range=((0, SIDE), (0, SIDE)))[0]
    assert len(ref_px) == 144
    assert count.min() >= 4


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_place_is_matched_once(detector):
    for px in match(REF, TGT, detector=detector, max_points=5000)[:2]:
        assert len(px) > 500
        assert not KDTree(px).query_pairs(DUPLICATE_PX)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_same_images_give_the_same_matches(detector):
    once, again = match(REF, TGT, detector=detector), match(REF.copy(), TGT.copy(), detector=detector)
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))


def test_a_stricter_ratio_leaves_the_surer_matches():
    loose, strict = match(REF, TGT, max_points=5000), match(REF, TGT, max_points=5000, ratio=0.4)
    assert 0 < len(strict[2]) < len(loose[2])
    assert strict[2].min() > 0.6
    assert loose[2].min() > 0.15
    assert loose[2].max() <= 1


def test_unrelated_images_give_few_matches():
    related, unrelated = (len(match(REF, tgt, max_points=5000, ratio=0.7)[2]) for tgt in (TGT, image(scene(9))))
    assert related > 2000
    assert unrelated < 0.03 * related


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(
    ("ref", "ref_valid"),
    [
        (np.ones_like(REF), VALID),
        (REF, ~VALID),
        (np.full_like(REF, np.nan), ~VALID),
        (REF[:, :0, :0], VALID[:0, :0]),
        (REF[:, :1, :9], VALID[:1, :9]),
        (REF[:, :15, :60], VALID[:15, :60]),
    ],
    ids=["flat", "masked", "nan", "empty", "line", "tiny"],
)
def test_where_nothing_can_be_seen_there_are_no_matches(detector, ref, ref_valid):
    for sides in ((ref, TGT, ref_valid, VALID), (TGT, ref, VALID, ref_valid)):
        ref_px, tgt_px, score = match(*sides, detector=detector)
        assert ref_px.shape == tgt_px.shape == (0, 2)
        assert score.shape == (0,)
        assert ref_px.dtype == tgt_px.dtype == np.float64


@pytest.mark.skipif(HAS_AKAZE, reason="this OpenCV has AKAZE")
def test_akaze_without_opencv_4_says_what_to_do():
    with pytest.raises(
        InputError, match=r"this OpenCV \(\d+\.\d+\) has no AKAZE; install opencv 4 or choose --detector"
    ):
        match(REF, TGT, detector="akaze")
