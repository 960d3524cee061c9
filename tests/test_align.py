"""Laws of the whole pipeline, on the sample pairs and on scenes that have nothing in common."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine

import georeg
from georeg.errors import GeoregError, InputError, LimitError, MatchError, OverlapError
from georeg.fit import Role
from georeg.report.checkerboard import SIDE_PX, SQUARES, ZOOM, draw_checkerboard

SAMPLES = Path(__file__).parent.parent / "sample_tiles"
TRUTH = json.loads((SAMPLES / "truth.json").read_text())["pairs"]


def script(name: str):
    """A script of sample_tiles/, which is not a package."""
    sys.path.insert(0, str(SAMPLES))
    try:
        spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(SAMPLES))


@pytest.fixture(scope="module")
def alignments():
    return {name: georeg.align(SAMPLES / pair["reference"], SAMPLES / pair["target"]) for name, pair in TRUTH.items()}


@pytest.mark.parametrize("name", TRUTH)
def test_model_agrees_with_the_exact_truth_over_the_whole_overlap(alignments, name):
    assert script("demo").true_error_px(alignments[name], TRUTH[name]) <= 0.05


@pytest.mark.parametrize(
    ("name", "kind"), [("shift", "translation"), ("affine", "affine"), ("polynomial", "polynomial2")]
)
def test_the_simplest_sufficient_model_is_chosen(alignments, name, kind):
    assert alignments[name].model.kind == kind


@pytest.mark.parametrize("name", TRUTH)
def test_json_round_trip_is_exact(alignments, name):
    again = georeg.Alignment.from_json(alignments[name].to_json())
    assert again == alignments[name]
    assert np.array_equal(again.points.cov, alignments[name].points.cov)
    assert np.array_equal(again.model.coefficients, alignments[name].model.coefficients)
    assert again.to_json() == alignments[name].to_json()


def test_threads_change_no_byte():
    pair = SAMPLES / TRUTH["affine"]["reference"], SAMPLES / TRUTH["affine"]["target"]
    one, eight = (georeg.align(*pair, matching=georeg.MatchOptions(threads=n)).to_json() for n in (1, 8))
    assert one == eight


def test_several_bands_may_be_used():
    pair = SAMPLES / TRUTH["affine"]["reference"], SAMPLES / TRUTH["affine"]["target"]
    bands = georeg.InputOptions(ref_bands=(1, 2, 3), tgt_bands=(1, 2, 3))
    alignment = georeg.align(*pair, inputs=bands)
    assert script("demo").true_error_px(alignment, TRUTH["affine"]) <= 0.03
    assert "band 1,2,3 of the reference" in alignment.summary()


def test_an_aligned_pair_stays_where_it_is(alignments, tmp_path):
    moved = tmp_path / "aligned.tif"
    alignments["shift"].write(moved)
    again = georeg.align(SAMPLES / TRUTH["shift"]["reference"], moved)
    assert np.hypot(*again.displacement()) / again.after.gsd < 0.03


def test_the_written_transform_is_the_model(alignments, tmp_path):
    for name, alignment in alignments.items():
        if alignment.model.affine is None:
            continue
        path = tmp_path / f"{name}.tif"
        assert alignment.write(path) == "geotransform"
        with rasterio.open(path) as written, rasterio.open(SAMPLES / TRUTH[name]["target"]) as source:
            assert np.array_equal(written.read(), source.read())
            if source.crs == rasterio.open(SAMPLES / TRUTH[name]["reference"]).crs:
                corner = np.array([[source.transform.c, source.transform.f]])
                assert alignment.model(corner)[0] == pytest.approx((written.transform.c, written.transform.f), abs=1e-6)


def test_a_model_that_no_geotransform_can_hold_is_resampled(alignments, tmp_path):
    assert alignments["polynomial"].write(tmp_path / "out.tif") == "resampled"
    with rasterio.open(tmp_path / "out.tif") as out, rasterio.open(SAMPLES / TRUTH["polynomial"]["reference"]) as ref:
        assert (out.transform, out.shape, out.crs) == (ref.transform, ref.shape, ref.crs)
        valid = out.read_masks(1) > 0
        both = np.stack([ref.read(1)[valid], out.read(1)[valid]]).astype(float)
    assert np.corrcoef(both)[0, 1] > 0.8


def test_a_limit_is_kept(alignments):
    fitted = alignments["shift"].fitted
    ce90_px = alignments["shift"].after.ce90 / 10
    for limit, unit in ((ce90_px, "px"), (10 * ce90_px, "m")):
        georeg.assess(fitted, georeg.LimitOptions(max_ce90=f"{1.01 * limit}{unit}"))
        with pytest.raises(LimitError, match=f"CE90 of {alignments['shift'].after.n} check points") as caught:
            georeg.assess(fitted, georeg.LimitOptions(max_ce90=f"{0.99 * limit}{unit}"))
        assert caught.value.exit_code == 3
        assert caught.value.found.after == alignments["shift"].after


def test_every_point_has_a_role_and_check_points_are_never_fitted(alignments):
    for alignment in alignments.values():
        role, kept = alignment.fitted.role, alignment.points.kept
        assert np.array_equal(role != Role.REJECTED, kept)
        assert alignment.after.n + alignment.after.n_excluded == (role == Role.CHECK).sum()


def test_no_shift_beyond_the_users_largest_is_accepted():
    pair = SAMPLES / TRUTH["shift"]["reference"], SAMPLES / TRUTH["shift"]["target"]
    true_m = float(np.hypot(*TRUTH["shift"]["model"]["coefficients_x"], *TRUTH["shift"]["model"]["coefficients_y"]))
    assert georeg.match(*pair, matching=georeg.MatchOptions(max_shift_m=1.1 * true_m)).kept.sum() > 100
    with pytest.raises(MatchError, match=r"could be confirmed.*at most 0 tiles agree"):
        georeg.match(*pair, matching=georeg.MatchOptions(max_shift_m=0.9 * true_m))


@pytest.fixture(scope="module")
def unlike(tmp_path_factory):
    """Pictures of different ground, all georeferenced to the same place: no turn makes a mirror image of the original."""
    folder = tmp_path_factory.mktemp("unlike")
    paths = []
    for name in ("shift", "affine", "polynomial"):
        for mirrored in (False, True):
            with rasterio.open(SAMPLES / f"{name}_reference.tif") as source:
                pixels = source.read(1)[:448, :448]
            pixels = pixels[:, ::-1] if mirrored else pixels
            path = folder / f"{name}_{mirrored}.tif"
            with rasterio.open(
                path, "w", driver="GTiff", dtype=pixels.dtype, count=1, height=448, width=448, crs="EPSG:32633",
                transform=Affine(10, 0, 400_000, 0, -10, 5_800_000),
            ) as out:  # fmt: skip
                out.write(pixels, 1)
            paths.append(path)
    return paths


def test_pairs_that_share_no_ground_are_refused(unlike, tmp_path):
    pairs = [(a, b) for i, a in enumerate(unlike) for b in unlike[i + 1 :]]
    assert len(pairs) == 15
    for k, (a, b) in enumerate(pairs):
        with pytest.raises(GeoregError, match=r"\d") as caught:
            georeg.align(a, b).write(tmp_path / f"{k}.tif")
        assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("common", ["collar", "grid", "stripes"])
def test_what_lies_over_different_ground_is_not_taken_for_ground(common, unlike, tmp_path):
    row, col = np.mgrid[:448, :448]
    over = {
        "collar": (row < 50) | (col < 30) | (row + col > 780),
        "grid": (row % 64 == 0) | (col % 64 == 0),
        "stripes": row % 7 == 0,
    }[common]
    paths = []
    for k in (0, 2):
        with rasterio.open(unlike[k]) as source:
            pixels, profile = source.read(1), source.profile
        value = 0 if common == "collar" else pixels.max()
        paths.append(tmp_path / f"{k}.tif")
        with rasterio.open(paths[-1], "w", **profile) as out:
            out.write(np.where(over, value, pixels).astype(pixels.dtype), 1)
    with pytest.raises(GeoregError):
        georeg.align(*paths)


def test_extents_that_do_not_meet_are_told_with_their_distance(tmp_path):
    far = tmp_path / "far.tif"
    with rasterio.open(SAMPLES / TRUTH["shift"]["target"]) as source:
        profile, pixels = source.profile, source.read()
    profile["transform"] = Affine.translation(100_000, 0) @ profile["transform"]
    with rasterio.open(far, "w", **profile) as out:
        out.write(pixels)
    with pytest.raises(OverlapError, match=r"share no ground.*\d+ m apart"):
        georeg.align(SAMPLES / TRUTH["shift"]["reference"], far)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": 3}'])
def test_what_is_not_a_result_is_refused(text):
    with pytest.raises(InputError):
        georeg.Alignment.from_json(text)


def test_picture_shows_one_reference_and_two_targets(alignments, tmp_path):
    path = tmp_path / "board.png"
    draw_checkerboard(alignments["affine"], str(path))
    picture = cv2.imread(str(path)).astype(float)
    side, square = SIDE_PX * ZOOM, SIDE_PX * ZOOM // SQUARES
    top, half = picture.shape[0] - side - 48, picture.shape[1] // 2
    panels = [picture[top : top + side, left : left + side] for left in (12, half + 12)]
    squares = [panel.reshape(SQUARES, square, SQUARES, square, 3).swapaxes(1, 2) for panel in panels]
    target = np.add.outer(np.arange(SQUARES), np.arange(SQUARES)) % 2 == 1
    assert np.array_equal(squares[0][~target], squares[1][~target])
    assert all((squares[0][i, j] != squares[1][i, j]).any() for i, j in np.argwhere(target))
    assert np.array_equal(squares[0][~target][..., 0], squares[0][~target][..., 2])  # the reference is grey
    assert squares[0][target][..., 2].mean() > 1.2 * squares[0][target][..., 0].mean()  # the target is amber


@pytest.mark.parametrize(
    "how",
    [
        {"matcher": "features"},
        {"matcher": "features", "detector": "orb"},
        {"preprocess": "clahe"},
        {"preprocess": "log"},
        {"preprocess": "gaussian"},
    ],
    ids=str,
)
def test_every_way_to_match_finds_the_same_shift(how):
    pair = [SAMPLES / f"shift_{side}.tif" for side in ("reference", "target")]
    found = georeg.align(*pair, matching=georeg.MatchOptions(**how)).displacement()
    assert np.hypot(found[0] - 37.3, found[1] + 52.6) / 10 < 0.02


@pytest.mark.parametrize("combine", ["none", "mean", "difference"])
def test_bands_may_be_combined(combine):
    pair = [SAMPLES / f"affine_{side}.tif" for side in ("reference", "target")]
    bands = georeg.InputOptions(ref_bands=(3, 1), tgt_bands=(3, 1))
    alignment = georeg.align(*pair, inputs=bands, matching=georeg.MatchOptions(combine=combine))
    assert alignment.after.rmse / 10 < 0.08


def test_two_bands_make_a_difference_and_three_do_not():
    pair = [SAMPLES / f"affine_{side}.tif" for side in ("reference", "target")]
    bands = georeg.InputOptions(ref_bands=(1, 2, 3), tgt_bands=(1, 2, 3))
    with pytest.raises(InputError, match="exactly 2 bands, not 3"):
        georeg.align(*pair, inputs=bands, matching=georeg.MatchOptions(combine="difference"))


def test_features_of_neighbouring_blocks_are_found_once():
    pair = [SAMPLES / f"shift_{side}.tif" for side in ("reference", "target")]
    points = georeg.match(*pair, matching=georeg.MatchOptions(matcher="features", window_px=32))
    xy = np.round(points.ref_xy[points.kept], 1)
    assert len(np.unique(xy, axis=0)) == len(xy)
