"""Laws of the matchers, on textures displaced by known amounts with exact optics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scenes import image, scene
from scipy import ndimage

from georeg.matching.coarse import coarse_shifts
from georeg.matching.fields import fill_invalid, prepare
from georeg.matching.structure import move_to_texture
from georeg.matching.windows import match_windows, trusted_covariance
from georeg.tie_points import Status


def centres(side: int, window_px: int, step: int = 48) -> np.ndarray:
    line = np.arange(window_px, side - window_px, step)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


SPECTRUM = scene()
REF = image(SPECTRUM)
VALID = np.ones(REF.shape[1:], bool)


def found_in(ref, tgt, at=None, ref_valid=None, tgt_valid=None, **options):
    """Matches of two images; all pixels are valid unless said otherwise."""
    all_valid = np.ones(ref.shape[1:], bool)
    fields = [
        prepare(image_, all_valid if valid is None else valid) for image_, valid in ((ref, ref_valid), (tgt, tgt_valid))
    ]
    window_px = options.get("window_px", 64)
    return match_windows(*fields, centres(ref.shape[1], window_px) if at is None else at, **options)


def errors(found, shift_px):
    return (found.shift_px - shift_px)[found.status == Status.KEPT]


@pytest.mark.parametrize("shift_px", [(0, 0), (3, -5), (0.3, 0.7), (-0.5, 0.5), (-6.25, 4.4)])
@pytest.mark.parametrize("window_px", [64, 96])
def test_a_known_shift_is_recovered_in_both_axes_and_signs(shift_px, window_px):
    found = found_in(REF, image(SPECTRUM, shift_px, seed=2), window_px=window_px)
    assert (found.status == Status.KEPT).mean() > 0.95
    assert np.abs(errors(found, shift_px).mean(axis=0)).max() < 0.002  # bias over all windows
    assert np.sqrt((errors(found, shift_px) ** 2).sum(axis=1).mean()) < 0.01


def test_no_fraction_of_a_pixel_attracts():
    bias = []
    for fraction in np.linspace(0, 1, 9):
        found = found_in(image(SPECTRUM, noise=0), image(SPECTRUM, (fraction, 0), noise=0))
        bias.append(errors(found, (fraction, 0)).mean(axis=0))
    assert np.abs(bias).max() < 0.001


TONES = {
    "gain and offset": lambda x: 7 * x + 300,
    "inverted": lambda x: -x,
    "gamma": lambda x: (x - x.min() + 0.1) ** 0.6,
    "inverted in patches": lambda x: np.where(np.indices(x.shape)[1] // 24 % 2, -x, x),
}


@pytest.mark.parametrize("tone", TONES)
def test_contrast_may_be_other(tone):
    tgt = TONES[tone](image(SPECTRUM, (1.3, -2.2), seed=2)).astype(np.float32)
    found = found_in(REF, tgt)
    assert (found.status == Status.KEPT).mean() > 0.9
    assert np.sqrt((errors(found, (1.3, -2.2)) ** 2).mean()) < 0.02


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_what_a_cloud_hides_does_not_attract(share):
    rng = np.random.default_rng(4)
    lumps = ndimage.gaussian_filter(rng.normal(size=REF.shape[1:]), 7, mode="wrap")
    opacity = ndimage.gaussian_filter((lumps > np.quantile(lumps, 1 - share)).astype(float), 1.5)
    tgt = (image(SPECTRUM, (0.6, -0.4), seed=2) * (1 - opacity) + 4 * opacity).astype(np.float32)
    found = found_in(REF, tgt)
    assert (found.status == Status.KEPT).mean() > 0.6
    wrong = np.hypot(*errors(found, (0.6, -0.4)).T) > 0.5
    assert wrong.mean() <= 0.02
    assert np.median(np.abs(errors(found, (0.6, -0.4)))) < 0.02


def z_scores(found, shift_px):
    kept = found.status == Status.KEPT
    whitened = np.linalg.solve(np.linalg.cholesky(trusted_covariance(found)[kept]), errors(found, shift_px)[..., None])
    return whitened[..., 0]


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_stated_covariance_is_true(noise):
    z = []
    for seed in range(6):
        tgt, ref = image(SPECTRUM, (0.2, 0.1), noise, 10 + seed), image(SPECTRUM, noise=noise, seed=20 + seed)
        z.append(z_scores(found_in(ref, tgt), (0.2, 0.1)))
    assert 0.8 < np.concatenate(z).std() < 1.3


def test_along_a_lone_edge_the_covariance_is_long():
    y, x = np.indices((256, 256))
    edge = np.tanh((x - 120 + 0.15 * (y - 128)) / 1.5)
    rng = np.random.default_rng(0)
    ref, tgt = ((np.roll(edge, s, axis=1) + 0.02 * rng.normal(size=edge.shape))[None].astype("f4") for s in (0, 2))
    found = found_in(ref, tgt, np.array([[120, 128]]))
    if found.status[0] == Status.KEPT:
        length, axes = np.linalg.eigh(found.cov_px[0])
        across = np.array([1, 0.15]) / np.hypot(1, 0.15)
        assert np.sqrt(length[1]) > 1
        assert np.sqrt(length[0]) < 0.05
        assert abs(axes[:, 0] @ across) > 0.99
        assert abs((found.shift_px[0] - (2, 0)) @ across) < 0.05
    else:
        assert found.status[0] in (Status.AMBIGUOUS_PEAK, Status.OUT_OF_RANGE)


def test_a_pattern_that_repeats_is_ambiguous():
    y, x = np.indices((256, 256))
    waves = (np.sin(x / 1.5) + np.sin(y / 1.6 + 0.3 * x))[None].astype(np.float32)
    found = found_in(waves, waves, np.array([[128, 128]]))
    assert found.status[0] == Status.AMBIGUOUS_PEAK


MASKS = {
    "stripes": [(np.indices((384, 384))[1] + np.indices((384, 384))[0] // 4 + 8 * k) % 15 >= 3 for k in (0, 1)],
    "the same stripes": [(np.indices((384, 384))[1] + np.indices((384, 384))[0] // 4) % 15 >= 3] * 2,
    "half": [np.ones((384, 384), bool), np.indices((384, 384))[0] // 32 % 2 > 0],
}


@pytest.mark.parametrize("mask", MASKS)
def test_invalid_pixels_do_not_attract_and_lose_no_window(mask):
    ref_valid, tgt_valid = MASKS[mask]
    ref, tgt = np.where(ref_valid, REF, -9), np.where(tgt_valid, image(SPECTRUM, (0.6, 0.2), seed=2), 9)
    found = found_in(ref.astype("f4"), tgt.astype("f4"), None, ref_valid, tgt_valid)
    assert (found.status == Status.KEPT).all()
    assert np.abs(errors(found, (0.6, 0.2)).mean(axis=0)).max() < 0.01
    assert np.sqrt((errors(found, (0.6, 0.2)) ** 2).mean()) < 0.015


@pytest.mark.parametrize("constant", [0, 12345.678, 29714.417, 1e-8])
def test_a_constant_band_has_no_vote_though_masks_leave_rounding_in_it(constant):
    valid = np.ones((384, 384), bool)
    valid[100:180, 60:300] = valid[300:320] = valid[20:200, 330:350] = False
    pair = [REF, image(SPECTRUM, (3.3, -2.6), seed=2)]
    bands = [np.concatenate([one, np.full_like(one, constant)]) for one in pair]
    ref, tgt = (np.where(valid, both, -9).astype(np.float32) for both in bands)
    found = found_in(ref, tgt, None, valid, valid)
    assert (found.status == Status.KEPT).mean() > 0.5
    assert np.abs(errors(found, (3.3, -2.6))).max() < 0.1


def test_a_wild_pixel_does_no_harm():
    ref = REF.copy()
    ref[0, 50, 51], ref[0, 101, 202] = -3.4e38, 1e25
    found = found_in(ref, image(SPECTRUM, (0.3, 0.2), seed=2))
    assert (found.status == Status.KEPT).mean() > 0.8
    assert np.sqrt((errors(found, (0.3, 0.2)) ** 2).mean()) < 0.05


def test_a_match_holds_where_its_gradients_are():
    x = np.indices((256, 256))[1]
    texture = image(scene(seed=7, side=256))[0] * (x > 140)
    found = found_in(texture[None].astype("f4"), texture[None].astype("f4"), np.array([[128, 128]]))
    assert found.status[0] == Status.KEPT
    assert 145 < found.ref_px[0, 0] < 158  # the window reaches from 96 to 160
    assert 110 < found.ref_px[0, 1] < 146


def test_windows_move_to_texture_but_not_far():
    patch = np.zeros((1, 256, 256), np.float32)
    patch[0, 100:150, 150:200] = image(scene(seed=7, side=256))[0, 100:150, 150:200]
    field = prepare(patch, np.ones((256, 256), bool))
    moved = move_to_texture(field, np.array([[150, 110], [60, 200]]), 48, 16)
    assert (moved[0] >= (158, 114)).all()
    assert (np.abs(moved - [[150, 110], [60, 200]]) <= 16).all()


@given(hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_what_fills_invalid_pixels_keeps_the_valid_ones_and_their_range(valid):
    image_ = np.random.default_rng(1).uniform(5, 6, size=(2, *valid.shape)).astype(np.float32)
    filled = fill_invalid(np.where(valid, image_, np.float32(1e9)), valid)
    assert np.array_equal(filled[:, valid], image_[:, valid])
    if valid.any():
        assert 4.99 < filled.min() <= filled.max() < 6.01


def test_every_window_that_cannot_be_matched_says_why():
    flat, at, invalid = np.ones_like(REF), np.array([[100, 100]]), ~VALID
    assert found_in(flat, REF, at).status[0] == Status.LOW_TEXTURE
    assert found_in(REF, REF, at, invalid).status[0] == Status.MASKED
    assert found_in(REF, REF, at, None, invalid).status[0] == Status.MASKED
    assert found_in(REF, REF, at, tgt_px=np.array([[10, 100]])).status[0] == Status.OUT_OF_RANGE
    assert len(found_in(REF, REF, np.zeros((0, 2), int)).score) == 0


def test_windows_that_do_not_correspond_are_less_significant():
    other = image(scene(seed=99), seed=5)
    right, wrong = found_in(REF, image(SPECTRUM, (1, 1), seed=2)), found_in(REF, other)
    assert right.significance.min() > 1.5 * wrong.significance.max()


def test_one_window_equals_the_same_window_among_many():
    tgt = image(SPECTRUM, (0.4, 1.2), seed=2)
    at = centres(384, 64)
    many, alone = found_in(REF, tgt, at), found_in(REF, tgt, at[7:8])
    assert np.array_equal(many.shift_px[7], alone.shift_px[0])


def test_forth_and_back_are_the_same():
    tgt = image(SPECTRUM, (2.4, 1.2), seed=2)
    at = np.array([[150, 160], [200, 240]])
    forth = found_in(REF, tgt, at)
    back = found_in(tgt, REF, at + (2, 1), tgt_px=at)
    np.testing.assert_allclose(back.shift_px + forth.shift_px, 0, atol=2e-3)


def test_bands_vote_together():
    bands = [image(scene(seed=s), (0.4, 0.3), seed=s) for s in (0, 5)]
    ref = np.concatenate([image(scene(seed=s), seed=9 + s) for s in (0, 5)])
    alone = [errors(found_in(ref[k : k + 1], bands[k]), (0.4, 0.3)) for k in (0, 1)]
    both = errors(found_in(ref, np.concatenate(bands)), (0.4, 0.3))
    assert both.std() < 0.85 * min(e.std() for e in alone)


@pytest.mark.parametrize("shift_px", [(0, 0), (25, -40), (-120, 90)])
@pytest.mark.parametrize("contrast", [1, -1])
def test_coarse_shift_is_found_also_with_inverted_contrast(shift_px, contrast):
    big = scene(seed=3, side=512)
    ref, tgt = image(big)[:, :256, 128:384], contrast * image(big, shift_px, seed=2)[:, :256, 128:384]
    valid = np.ones(ref.shape[1:], bool)
    found, score = coarse_shifts(ref, valid, tgt, valid)
    assert tuple(found[0]) == shift_px
    assert score[0] == score.max()


@pytest.mark.parametrize("shapes", [((203, 203), (202, 172)), ((135, 202), (270, 203)), ((90, 300), (91, 299))])
def test_coarse_shift_is_found_in_images_of_any_shapes(shapes):
    big = scene(seed=3, side=512)
    chips = [
        image(big, shift)[:, 90 : 90 + rows, 80 : 80 + cols]
        for shift, (rows, cols) in zip(((0, 0), (21, -17)), shapes, strict=True)
    ]
    found, _ = coarse_shifts(chips[0], np.ones(shapes[0], bool), chips[1], np.ones(shapes[1], bool))
    assert tuple(found[0]) == (21, -17)


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
