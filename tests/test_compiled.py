"""Laws of what is done in C: it sees and finds what NumPy and OpenCV see and find, and reads nothing it was not given."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import image, scene
from scipy.interpolate import BSpline

from georeg.matching import _kernel, fields, structure
from georeg.matching.channels import prepare_structure
from georeg.matching.fields import Field, prepare, prepare_by_numpy
from georeg.matching.refine import _quintic
from georeg.matching.structure import Peak, find_peak, find_peak_by_numpy, move_to_texture, move_to_texture_by_numpy

compiled = pytest.mark.skipif(
    not (fields.COMPILED and structure.COMPILED), reason="georeg was installed without a C compiler"
)
SIDE = 384
SPECTRUM = scene(side=SIDE)
REF = image(SPECTRUM, noise=0.03)
WAVES = (np.sin(np.indices((SIDE, SIDE))[1] / 1.5) + np.sin(np.indices((SIDE, SIDE))[0] / 1.6))[None].astype("f4")
EDGE = np.tanh((np.indices((SIDE, SIDE))[1] - 190 + 0.2 * np.indices((SIDE, SIDE))[0]) / 1.5)[None].astype("f4")


def masks(shape: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    part = np.ones(shape, bool)
    part[: shape[0] // 3, : shape[1] // 2] = False
    share = rng.random(shape)
    return {
        "all": np.ones(shape, bool),
        "part": part,
        "holes": share > 0.05,
        "few": share > 0.99,
        "none": np.zeros(shape, bool),
    }


IMAGES = {
    "scene": REF,
    "inverted": 3e4 - 1000 * REF,
    "noise": np.random.default_rng(0).normal(size=(1, SIDE, SIDE)),
    "three bands": np.concatenate([REF, 7 * REF[:, ::-1], np.full_like(REF, 3.7)]),
    "constant": np.full_like(REF, 29714.417),
    "saturated": np.minimum(REF, np.median(REF)),
    "hardly anything": np.where(np.indices((SIDE, SIDE))[0] * SIDE + np.indices((SIDE, SIDE))[1] == 1234, 1, 0)[None],
}


@compiled
@pytest.mark.parametrize("shape", [(144, 144), (290, 290), (144, 83), (37, 150)])
@pytest.mark.parametrize("name", IMAGES)
def test_fields_are_what_numpy_makes_them(name, shape):
    pixels = np.ascontiguousarray(IMAGES[name][:, : shape[0], : shape[1]], np.float32)
    for valid in masks(shape, 1).values():
        ours, theirs = prepare(pixels, valid), prepare_by_numpy(pixels, valid)
        assert_alike(ours, theirs, 1e-3 if name == "hardly anything" else 1e-4)  # where all slopes are rounding


def assert_alike(ours: Field, theirs: Field, edge: float = 1e-4) -> None:
    for one, other in zip((*ours.detail, *ours.brightness), (*theirs.detail, *theirs.brightness), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(ours.edges, theirs.edges, atol=edge)
    assert np.array_equal(ours.valid, theirs.valid)
    assert np.array_equal(ours.known, theirs.known)


@compiled
@given(st.tuples(st.integers(1, 24), st.integers(1, 24)), st.integers(1, 3), st.floats(0, 1), st.integers(0, 99))
@settings(deadline=None)
def test_fields_of_any_size_are_what_numpy_makes_them(shape, n_bands, share, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0, 255, (n_bands, *shape)).astype(np.float32)
    valid = rng.random(shape) < share
    assert_alike(prepare(pixels, valid), prepare_by_numpy(pixels, valid))


@pytest.mark.parametrize("make", [prepare, prepare_by_numpy])
def test_an_image_and_a_mask_of_other_shapes_are_refused(make):
    for shape, mask in (((1, 8, 8), (8, 9)), ((8, 8), (8, 8)), ((1, 0, 8), (0, 8))):
        with pytest.raises(ValueError, match="is needed"):
            make(np.zeros(shape, np.float32), np.ones(mask, bool))


def cut(pixels: np.ndarray, at: tuple[int, int], side: int) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, at[1] : at[1] + side, at[0] : at[0] + side], np.float32)


def pairs(window_px: int, reach_px: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Chips of two images, as large as the search needs."""
    rng = np.random.default_rng(seed)
    side = window_px + 2 * reach_px + 8
    at = tuple(rng.integers(0, SIDE - side + 1, 2).tolist())
    other = image(SPECTRUM, tuple(rng.uniform(-0.9, 0.9, 2) * max(reach_px, 1)), noise=0.1, seed=seed)
    flat = np.full((1, side, side), 5, np.float32)
    ref, tgt = cut(REF, at, side), cut(other, at, side)
    return [
        (ref, tgt),
        (ref, 300 - 7 * tgt),
        (ref, np.minimum(tgt, np.float32(0.2))),
        (np.concatenate([ref, tgt]), np.concatenate([tgt, -ref])),
        (cut(WAVES, at, side), cut(WAVES, at, side)),
        (cut(EDGE, at, side), cut(EDGE, at, side)),
        (ref, flat),
        (flat, ref),
    ]


def assert_same_peak(ours: Peak | None, theirs: Peak | None) -> None:
    assert (ours is None) == (theirs is None)
    if ours is None or theirs is None:
        return
    np.testing.assert_allclose(ours.shift_px, theirs.shift_px, atol=1e-3)
    np.testing.assert_allclose(ours.ridge_px, theirs.ridge_px, rtol=1e-6)
    np.testing.assert_allclose(
        (ours.score, ours.significance), (theirs.score, theirs.significance), rtol=1e-4, atol=1e-5
    )
    assert (ours.ambiguous, ours.inside) == (theirs.ambiguous, theirs.inside)


@compiled
@pytest.mark.parametrize("make", [prepare, prepare_structure])
@pytest.mark.parametrize(
    ("window_px", "reach_px"), [(16, 0), (16, 4), (32, 32), (48, 1), (64, 16), (128, 32), (256, 9)]
)
def test_a_peak_is_what_numpy_finds(make, window_px, reach_px):
    ambiguous, n_found = 0, 0
    for k, (ref, tgt) in enumerate(pairs(window_px, reach_px, seed=window_px + reach_px)):
        first = (reach_px + 4,) * 2
        for name, valid in masks(ref.shape[1:], k).items():
            own = np.ones_like(valid) if name == "part" else valid
            both = make(ref, own), make(tgt, valid)
            found = [
                f(*both, first, first, window_px=window_px, reach_px=reach_px) for f in (find_peak, find_peak_by_numpy)
            ]
            assert_same_peak(*found)
            n_found += found[0] is not None
            ambiguous += found[0] is not None and found[0].ambiguous
    assert n_found > 10
    assert ambiguous > 0 or reach_px < 9


@pytest.mark.parametrize("find", [find_peak, find_peak_by_numpy])
def test_a_search_beyond_the_image_is_refused(find):
    field = prepare(cut(REF, (0, 0), 96), np.ones((96, 96), bool))
    for ref_corner, tgt_corner in (((-1, 0), (16, 16)), ((33, 0), (16, 16)), ((0, 0), (15, 16)), ((0, 0), (16, 17))):
        with pytest.raises(ValueError, match="not within 96 by 96"):
            find(field, field, ref_corner, tgt_corner, window_px=64, reach_px=16)


@pytest.mark.parametrize("find", [find_peak, find_peak_by_numpy])
@pytest.mark.parametrize("hidden", [0, 1])
def test_what_only_one_image_shows_lowers_no_score(find, hidden):
    valid = [np.ones((112, 112), bool) for _ in "ab"]
    valid[hidden][:, ::32] = False
    valid[hidden][:56] = False
    both = [prepare(cut(REF, (0, 0), 112), each) for each in valid]
    found = find(*both, (24, 24), (24, 24), window_px=64, reach_px=16)
    assert found is not None
    assert found.score > 0.97
    np.testing.assert_allclose(found.shift_px, 0, atol=0.05)


@compiled
@pytest.mark.parametrize("make", [prepare, prepare_structure])
@pytest.mark.parametrize("side", [143, 144, 145, 146, 290])
def test_windows_move_where_numpy_moves_them(make, side):
    rng = np.random.default_rng(side)
    valid = masks((side, side), 2)["part"]
    field, moved = make(cut(REF, (7, 9), side), valid), 0
    for window_px, within_px in ((16, 3), (32, 8), (64, 16), (48, 40)):
        at = rng.integers(0, side, (20, 2))
        ours, theirs = (move(field, at, window_px, within_px) for move in (move_to_texture, move_to_texture_by_numpy))
        assert np.array_equal(ours, theirs)
        moved += int((ours != at).any())
    assert moved == 3


@compiled
def test_threads_change_no_byte_of_a_field():
    chips = [(cut(REF, (k, 2 * k), 144), masks((144, 144), k)["holes"]) for k in range(32)]

    def made(chip: tuple[np.ndarray, np.ndarray]) -> bytes:
        field = prepare(*chip)
        return b"".join(each.tobytes() for each in (*field.detail, *field.brightness, field.edges, field.valid))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(made, chips)) == list(map(made, chips))


def test_a_field_is_told_whole_and_goes_to_another_process():
    valid = masks((64, 64), 0)
    whole, part = (prepare(cut(REF, (0, 0), 64), valid[name]) for name in ("all", "part"))
    assert (whole.whole, part.whole) == (True, False)
    assert part.part(slice(40, 60), slice(40, 60)).whole
    assert whole.laid.edges == whole.edges.ctypes.data
    again = pickle.loads(pickle.dumps(whole))
    assert again.laid.edges == again.edges.ctypes.data != whole.laid.edges


def test_without_a_library_numpy_does_it_all(monkeypatch):
    for module, name in ((fields, "_KERNEL"), (structure, "_PEAK"), (structure, "_TEXTURE")):
        monkeypatch.setattr(module, name, None)
    valid, at = np.ones((96, 96), bool), np.array([[48, 48]])
    ref, tgt = (prepare(cut(pixels, (0, 0), 96), valid) for pixels in (REF, image(SPECTRUM, (1, 2))))
    found = find_peak(ref, tgt, (32, 32), (32, 32), window_px=32, reach_px=8)
    assert found is not None
    np.testing.assert_allclose(found.shift_px, (1, 2), atol=0.2)
    assert np.array_equal(move_to_texture(ref, at, 32, 8), move_to_texture_by_numpy(ref, at, 32, 8))


def test_no_memory_is_an_error():
    with pytest.raises(MemoryError):
        _kernel.called(lambda: -1)()


def test_the_quintic_spline_is_scipys():
    at = np.linspace(-4, 4, 2001)
    spline = BSpline.basis_element(np.arange(7) - 3.0, extrapolate=False)
    np.testing.assert_allclose(_quintic(at), np.nan_to_num(spline(at)), atol=1e-14)


def test_matching_starts_without_scipy():
    code = (
        "import sys, georeg.matching.windows, georeg.matching.coarse, georeg.matching.features, georeg.matching.pose;"
        "raise SystemExit(any(name.startswith('scipy') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
