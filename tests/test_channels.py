"""Laws of the matcher of structure, on made places that two sensors see in their own ways, moved by known amounts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import image, scene
from scipy import ndimage
from test_matching import centres, errors, z_scores

from georeg.blocks import least_significance
from georeg.matching.channels import prepare_structure, refine_structure
from georeg.matching.structure import move_to_texture
from georeg.matching.windows import locate, match_windows
from georeg.tie_points import Status

SIDE, FINE = 384, 4
SHIFT_PX = (2.25, -3.5)
AT = centres(SIDE, 96)


def parcels(seed: int) -> np.ndarray:
    """Land parcels and houses, one number for each kind of ground, on a grid `FINE` times finer than the pixels."""
    rng = np.random.default_rng(seed)
    n = SIDE * FINE
    relief = ndimage.gaussian_filter(rng.normal(size=(n // 8, n // 8)), 4, mode="wrap")
    kinds = np.digitize(relief, np.quantile(relief, np.arange(1, 6) / 6)).repeat(8, 0).repeat(8, 1)
    for _ in range(150):
        (row, col), (height, width) = rng.integers(0, n - 120, 2), rng.integers(20, 110, 2)
        kinds[row : row + height, col : col + width] = rng.integers(0, 6)
    return kinds


def seen(kinds: np.ndarray, sensor: str, shift_px=(0.0, 0.0), seed: int = 0) -> np.ndarray:
    """(1, SIDE, SIDE): the place through the optics of a sensor with its own tones and noise, moved (column, row)."""
    rng = np.random.default_rng(seed)
    col, row = (round(FINE * move) for move in shift_px)
    kinds = np.roll(kinds, (row, col), (0, 1))
    tones = rng.permutation(6).astype(float)[kinds]
    if sensor == "map":
        tones = np.where(ndimage.maximum_filter(kinds, 5) != ndimage.minimum_filter(kinds, 5), 1.0, 0.0)
    elif sensor == "radar":  # two looks after the optics
        tones = (tones + 1) * np.sqrt(rng.gamma(1 / 8, 8, size=kinds.shape))
    blurred = ndimage.gaussian_filter(tones, 0.55 * FINE, mode="wrap")[::FINE, ::FINE]
    return (blurred + 0.05 * rng.normal(size=blurred.shape))[None].astype(np.float32)


PLACES = [parcels(seed) for seed in (1, 2)]
OPTICAL = [seen(place, "optical") for place in PLACES]
VALID = np.ones((SIDE, SIDE), bool)


def found_in(ref, tgt, at=AT, ref_valid=VALID, tgt_valid=VALID, window_px=96, **options):
    fields = prepare_structure(ref, ref_valid), prepare_structure(tgt, tgt_valid)
    return match_windows(*fields, at, window_px=window_px, **options)


def rms(found, shift_px=SHIFT_PX):
    return np.sqrt((errors(found, shift_px) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize(("sensor", "most_px"), [("optical", 0.1), ("map", 0.1), ("radar", 0.3)])
def test_another_sensor_s_view_is_found_and_its_covariance_is_true(sensor, most_px):
    z, bias = [], []
    for place, ref in zip(PLACES, OPTICAL, strict=True):
        found = found_in(ref, seen(place, sensor, SHIFT_PX, seed=5))
        assert (found.status == Status.KEPT).mean() > 0.95
        assert rms(found) < most_px
        bias.append(errors(found, SHIFT_PX).mean(axis=0))
        z.append(z_scores(found, SHIFT_PX))
    assert np.abs(bias).max() < most_px / 3
    assert 0.55 < np.concatenate(z).std() < 1.3


@pytest.mark.parametrize("shift_px", [(0, 0), (3, -5), (0.3, 0.7), (-0.5, 0.5), (-6.25, 4.4), (17.3, -20.6)])
def test_a_shift_is_recovered_in_both_axes_and_signs_though_contrast_is_inverted(shift_px):
    spectrum = scene()
    at = centres(SIDE, 128)
    found = found_in(image(spectrum), -image(spectrum, shift_px, seed=2), at, reach_px=24)
    assert (found.status == Status.KEPT).all()
    assert rms(found, shift_px) < 0.06


def test_no_fraction_of_a_pixel_attracts():
    spectrum = scene()
    ref = image(spectrum, noise=0)
    moves = np.linspace(0, 1, 9)
    bias = [errors(found_in(ref, image(spectrum, (0, m), noise=0)), (0, m)).mean(axis=0) for m in moves]
    assert np.abs(bias).max() < 0.02


@pytest.mark.parametrize("window_px", [64, 88, 128, 160])
def test_larger_windows_know_better(window_px):
    place, ref = PLACES[0], OPTICAL[0]
    found = found_in(ref, seen(place, "radar", SHIFT_PX, seed=5), centres(SIDE, 176, 8), window_px=window_px)
    kept = found.status == Status.KEPT
    assert kept.mean() > 0.9
    stated = np.sqrt(np.trace(found.cov_px[kept], axis1=1, axis2=2).mean())
    assert stated == pytest.approx(16 / window_px, rel=0.4)


def test_the_reference_may_have_other_bands():
    ref = np.concatenate([seen(PLACES[0], "optical", seed=seed) for seed in (0, 1, 2)])
    found = found_in(ref, seen(PLACES[0], "optical", SHIFT_PX, seed=5))
    assert rms(found) < 0.1


def test_windows_that_do_not_correspond_do_not_pass_and_those_that_do_do():
    control, n_controls, unrelated = [], 0, []
    ref = prepare_structure(OPTICAL[0], VALID)
    for seed in range(4):
        tgt = prepare_structure(seen(parcels(10 + seed), "radar", seed=seed), VALID)
        for other, into in ((tgt.turned(), control), (tgt, unrelated)):
            found = [locate(ref, other, at - 48, at - 48, 96, 24) for at in AT]
            into += [peak.significance for peak, status in found if peak is not None and status == Status.KEPT]
        n_controls += len(AT)
    least = least_significance(np.array(control), n_controls, 0.001)
    assert max(unrelated) < least
    true = found_in(OPTICAL[0], seen(PLACES[0], "radar", SHIFT_PX, seed=5))
    assert (true.significance > least).mean() > 0.95


def test_half_a_turn_and_back_changes_nothing_that_is_matched():
    field = prepare_structure(OPTICAL[0], VALID)
    turned = prepare_structure(np.ascontiguousarray(OPTICAL[0][:, ::-1, ::-1]), VALID)
    assert np.allclose(field.turned().edges, turned.edges, atol=0.01)


MASKS = {
    "stripes": (np.indices((SIDE, SIDE))[1] + np.indices((SIDE, SIDE))[0] // 4) % 24 >= 4,
    "corner": ~((np.indices((SIDE, SIDE)) < 180).all(axis=0)),
}


@pytest.mark.parametrize("mask", MASKS)
def test_invalid_pixels_do_not_attract(mask):
    valid = MASKS[mask]
    tgt = np.where(valid, seen(PLACES[0], "optical", SHIFT_PX, seed=5), 1e4).astype(np.float32)
    found = found_in(np.where(valid, OPTICAL[0], -1e4).astype(np.float32), tgt, AT, valid, valid)
    kept = found.status == Status.KEPT
    assert kept.mean() > 0.7
    assert set(found.status[~kept]) <= {Status.MASKED}
    assert rms(found) < 0.15


def test_where_the_match_holds_is_where_the_structure_is():
    ref = np.zeros((1, SIDE, SIDE), np.float32)
    ref[:, :, 200:] = OPTICAL[0][:, :, 200:]
    found = found_in(ref, ref, np.array([[200, 192]]))
    assert found.status[0] == Status.KEPT
    assert found.ref_px[0, 0] > 210


def test_along_a_lone_edge_nothing_is_claimed():
    y, x = np.indices((256, 256))
    edge = np.tanh((x - 120 + 0.15 * (y - 128)) / 1.5)
    rng = np.random.default_rng(0)
    ref, tgt = ((np.roll(edge, s, axis=1) + 0.02 * rng.normal(size=edge.shape))[None].astype("f4") for s in (0, 2))
    valid = np.ones((256, 256), bool)
    found = found_in(ref, tgt, np.array([[120, 128]]), valid, valid)
    if found.status[0] == Status.KEPT:
        assert np.linalg.eigvalsh(found.cov_px[0])[1] > 0.5


def test_a_lone_dot_says_nothing_of_how_well_it_is_known():
    dot = np.zeros((1, 256, 256), np.float32)
    dot[:, 135:138, 135:138] = 1
    valid = np.ones((256, 256), bool)
    assert found_in(dot, dot, np.array([[128, 128]]), valid, valid).status[0] != Status.KEPT


@pytest.mark.parametrize("constant", [0, 12345.678, 1e30])
def test_what_is_flat_has_no_structure(constant):
    flat = np.full((1, 256, 256), constant, np.float32)
    valid = np.ones((256, 256), bool)
    found = found_in(flat, flat, np.array([[128, 128]]), valid, valid)
    assert found.status[0] == Status.LOW_TEXTURE


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 3)])
@pytest.mark.parametrize("all_valid", [True, False])
def test_small_images_and_none_valid_have_a_field(shape, all_valid):
    field = prepare_structure(np.ones((2, *shape), np.float32), np.full(shape, all_valid))
    assert field.edges.shape == (*shape, 4)
    assert not field.edges.any()


def test_no_windows_no_matches():
    found = found_in(OPTICAL[0], OPTICAL[0], np.zeros((0, 2), int))
    assert len(found.status) == 0


def test_a_window_at_the_border_is_out_of_range():
    found = found_in(OPTICAL[0], OPTICAL[0], np.array([[50, 50], [192, 192]]))
    assert found.status.tolist() == [Status.OUT_OF_RANGE, Status.KEPT]


def test_a_start_that_is_far_off_is_given_up():
    field = prepare_structure(OPTICAL[0], VALID)
    assert refine_structure(field, field, (100, 100), (104, 100), 96, (0.0, 0.0)) is None


def test_windows_move_to_texture_as_for_intensities():
    half = OPTICAL[0].copy()
    half[:, :, :190] = 0
    moved = move_to_texture(prepare_structure(half, VALID), np.array([[180, 192]]), 64, 24)
    assert moved[0, 0] > 190


@given(gain=st.floats(-1e6, 1e6).filter(lambda g: abs(g) > 1e-6), offset=st.floats(-1e3, 1e3))
def test_gain_sign_and_offset_change_nothing(gain, offset):
    part = OPTICAL[0][:, :128, :128].astype(float)
    valid = np.ones((128, 128), bool)
    ref = prepare_structure(part.astype(np.float32), valid).edges
    tgt = prepare_structure((gain * (part + np.clip(offset, -100, 100))).astype(np.float32), valid).edges
    assert np.sqrt(((ref - tgt) ** 2).mean()) < 0.05
