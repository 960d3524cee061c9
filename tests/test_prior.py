"""Wherever a target lies and however it is turned, scaled or seen, it is found; what is not the same ground is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scenes import borders, fields, grey, move, placed, see
from scipy import ndimage

import georeg
from georeg.errors import GeoregError, MatchError, OverlapError, VerificationError
from georeg.options import InputOptions, MatchOptions

Floats = NDArray[np.float64]
UNIT_M = 10.0
"""Side of a pixel of the ground, metres."""
SIDE_PX, GSD = 384, 1.5
SHAPE = (SIDE_PX, SIDE_PX)
MIDDLE = (700.0, 700.0)
HERE = placed(GSD, 0, MIDDLE, SHAPE)
"""Where the reference lies on the ground."""


@pytest.fixture(scope="module")
def ground() -> Floats:
    return fields()


@pytest.fixture(scope="module")
def view(ground: Floats) -> Floats:
    """The ground as the reference sees it."""
    return see(ground, HERE, SHAPE)


def said(placing: Floats, gsd: float = GSD, off_px: tuple[float, float] = (0, 0)) -> Affine:
    """North-up geotransform whose first corner is that of an image, and ``off_px`` (column, row) beside it."""
    x, y = placing[:2, 2] + gsd * np.array(off_px)
    return Affine(UNIT_M * gsd, 0, 400_000 + UNIT_M * x, 0, -UNIT_M * gsd, 5_800_000 - UNIT_M * y)


NORTH_UP = said(HERE)


def save(path: Path, values: NDArray[Any], transform: Affine | None = NORTH_UP) -> Path:
    """A GeoTIFF, or without transform a picture that says nothing of where it is."""
    if transform is None:
        assert cv2.imwrite(str(path.with_suffix(".png")), values)
        return path.with_suffix(".png")
    height, width = values.shape
    with rasterio.open(
        path.with_suffix(".tif"), "w", driver="GTiff", count=1, height=height, width=width, dtype=values.dtype,
        crs="EPSG:32633", transform=transform,
    ) as out:  # fmt: skip
        out.write(values, 1)
    return path.with_suffix(".tif")


def align(folder: Path, ref: Floats, tgt: Floats, *, declared: Affine = NORTH_UP, **options: Any) -> georeg.Alignment:
    """Of two images with noise of their own."""
    pair = save(folder / "ref", grey(ref, seed=1)), save(folder / "tgt", grey(tgt, seed=2), declared)
    return georeg.align(*pair, **options)


def error_px(found: georeg.Alignment, there: Floats, shape: tuple[int, int] = SHAPE) -> float:
    """RMS over all the ground that both show of an image that truly lies ``there``, in pixels of the coarser."""
    height, width = shape
    px = np.stack(np.meshgrid(np.linspace(0, width, 31), np.linspace(0, height, 31)), axis=-1).reshape(-1, 2)
    true_px = move(np.linalg.inv(HERE) @ there, px)
    shared = ((true_px >= 0) & (true_px <= SIDE_PX)).all(axis=1)
    assert shared.sum() > 20
    error = found.reference_px(px[shared]) - true_px[shared]
    coarser = max(1.0, float(np.sqrt(np.linalg.det(there[:2, :2]))) / GSD)
    return float(np.sqrt((error**2).sum(axis=1).mean())) / coarser


# --- found ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle_deg", [-37, 37, 90, 180])
def test_any_rotation_is_found(angle_deg: float, ground: Floats, view: Floats, tmp_path: Path) -> None:
    there = placed(GSD, angle_deg, (715, 690), SHAPE)
    found = align(tmp_path, view, see(ground, there, SHAPE))
    assert found.verdict == "aligned"
    assert error_px(found, there) < 0.1
    # clockwise as it is drawn is clockwise on the map
    assert np.cos(np.radians(found.geometry.rotation_deg + angle_deg)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("scale", "side_px"), [(0.5, 448), (2, 256), (3, 240)])
def test_a_scale_that_the_georeferencing_does_not_know_is_found(
    scale: float, side_px: int, ground: Floats, view: Floats, tmp_path: Path
) -> None:
    """The target says that its pixels are as large as the reference's."""
    there = placed(scale * GSD, 0, (712, 692), (side_px, side_px))
    declared = said(placed(GSD, 0, (700, 700), (side_px, side_px)))
    found = align(tmp_path, view, see(ground, there, (side_px, side_px)), declared=declared)
    assert found.verdict == "aligned"
    assert error_px(found, there, (side_px, side_px)) < 0.1
    assert found.geometry.scale == pytest.approx(scale, rel=1e-3)


@pytest.mark.parametrize("ratio", [0.5, 2])
def test_pixels_of_other_size_that_are_declared_need_no_scale(
    ratio: float, ground: Floats, view: Floats, tmp_path: Path
) -> None:
    shape = (int(SIDE_PX / ratio * 0.9),) * 2
    there = placed(ratio * GSD, 0, (708, 697), shape)
    declared = said(placed(ratio * GSD, 0, (690, 715), shape), ratio * GSD)
    found = align(tmp_path, view, see(ground, there, shape), declared=declared)
    assert error_px(found, there, shape) < 0.1
    assert found.geometry.scale == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("towards", [(1, 0), (-1, -1)])
def test_two_fifths_of_the_side_are_no_distance(
    towards: tuple[int, int], ground: Floats, view: Floats, tmp_path: Path
) -> None:
    off = 0.4 * SIDE_PX * GSD * np.array(towards)
    there = placed(GSD, 0, tuple(MIDDLE + off), SHAPE)
    found = align(tmp_path, view, see(ground, there, SHAPE))
    assert found.verdict == "aligned"
    assert error_px(found, there) < 0.1
    np.testing.assert_allclose(found.displacement(), UNIT_M * off * (1, -1), atol=0.1 * GSD * UNIT_M)
    assert found.geometry.overlap == pytest.approx((1 - 0.4 * abs(towards[0])) * (1 - 0.4 * abs(towards[1])), abs=0.01)


@pytest.mark.parametrize("angle_deg", [0, 25])
def test_a_small_target_is_found_on_a_large_reference(
    angle_deg: float, ground: Floats, view: Floats, tmp_path: Path
) -> None:
    """A ninth of its ground, said to lie in the middle of it."""
    shape = (128, 128)
    there = placed(GSD, angle_deg, (610, 790), shape)
    found = align(tmp_path, view, see(ground, there, shape), declared=said(placed(GSD, 0, MIDDLE, shape)))
    assert found.verdict == "aligned"
    assert error_px(found, there, shape) < 0.1
    assert found.geometry.overlap == pytest.approx(1, abs=1e-6)


def test_extents_that_do_not_meet_are_no_obstacle(ground: Floats, view: Floats, tmp_path: Path) -> None:
    there = placed(GSD, 0, (720, 700), SHAPE)
    found = align(tmp_path, view, see(ground, there, SHAPE), declared=said(HERE, off_px=(1.3 * SIDE_PX, 0)))
    assert found.verdict == "aligned"
    assert error_px(found, there) < 0.1


def test_extents_farther_apart_than_the_smaller_is_long_are_refused_with_their_distance(
    view: Floats, tmp_path: Path
) -> None:
    gap_m = 1.2 * SIDE_PX * GSD * UNIT_M
    with pytest.raises(OverlapError, match=rf"share no ground: their extents are {gap_m:,.0f} m apart"):
        align(tmp_path, view, view, declared=said(HERE, off_px=(2.2 * SIDE_PX, 0)))
    found = align(
        tmp_path, view, view, declared=said(HERE, off_px=(2.2 * SIDE_PX, 0)), inputs=InputOptions(initial="center")
    )
    assert error_px(found, HERE) < 0.1


@pytest.mark.parametrize("ref_says", [True, False])
def test_a_picture_that_says_nothing_of_its_place_is_found(
    ref_says: bool, ground: Floats, view: Floats, tmp_path: Path
) -> None:
    shape = (300, 340)
    there = placed(1.2 * GSD, -20, (708, 705), shape)
    pair = (
        save(tmp_path / "ref", grey(view, seed=1), NORTH_UP if ref_says else None),
        save(tmp_path / "tgt", grey(see(ground, there, shape), seed=2), None),
    )
    found = georeg.align(*pair)
    assert found.verdict == "aligned"
    assert error_px(found, there, shape) < 0.1


def test_inverted_contrast_is_found_at_any_rotation(ground: Floats, view: Floats, tmp_path: Path) -> None:
    there = placed(GSD, 70, (715, 705), SHAPE)
    found = align(tmp_path, view, -see(ground, there, SHAPE))
    assert found.verdict == "aligned"
    assert error_px(found, there) < 0.1


def rendering(kind: str, there: Floats) -> Floats:
    """The borders of the ground's fields as another sensor sees them: nothing else is the same."""
    side = 1400
    corners = np.random.default_rng(0).uniform(0, side, (round(side / 45) ** 2, 2))  # as in `fields`
    field = borders(corners, side)
    if kind == "radar":
        rng = np.random.default_rng(77)
        seen = see(np.exp(0.6 * rng.normal(size=len(corners))[field]), there, SHAPE)
        seen = np.sqrt(seen * rng.gamma(4, 1 / 4, SHAPE))  # four looks
    else:
        lines = np.zeros(field.shape, bool)
        for axis in (0, 1):
            for step in (-1, 1):  # on both sides of a border, so that the line lies on it
                lines |= field != np.roll(field, step, axis)
        seen = -see(ndimage.binary_dilation(lines).astype(float), there, SHAPE)
    return (seen - seen.mean()) / seen.std()


@pytest.mark.parametrize(("kind", "matcher"), [("radar", "auto"), ("map", "auto"), ("map", "structure")])
def test_ground_that_shares_but_its_edges_is_found(kind: str, matcher: Any, view: Floats, tmp_path: Path) -> None:
    there = placed(GSD, 12, (712, 690), SHAPE)
    found = align(tmp_path, view, rendering(kind, there), matching=MatchOptions(matcher=matcher))
    assert found.verdict == "aligned"
    assert error_px(found, there) < 0.75  # speckle, and lines for surfaces


# --- refused --------------------------------------------------------------------------------------------------------


def test_a_mirror_image_is_refused(view: Floats, tmp_path: Path) -> None:
    with pytest.raises(GeoregError, match=r"no place of tgt\.tif on ref\.tif could be confirmed"):
        align(tmp_path, view[:256, :256], view[:256, 255::-1])


def test_other_ground_is_refused(view: Floats, tmp_path: Path) -> None:
    with pytest.raises(MatchError, match="check that both show the same ground"):
        align(tmp_path, view[:256, :256], see(fields(5), HERE, SHAPE)[:256, :256])


def test_another_part_of_the_same_ground_is_refused(ground: Floats, tmp_path: Path) -> None:
    """Halves that share nothing."""
    shape = (256, 256)
    one, other = (see(ground, placed(GSD, 0, (x, 700), shape), shape) for x in (350, 1000))
    with pytest.raises(GeoregError):
        align(tmp_path, one, other)


def test_ground_that_repeats_itself_is_refused(tmp_path: Path) -> None:
    """A plantation of period 24 px, displaced by one period: every displacement by whole periods fits as well."""
    turn, period, shape = np.radians(30), 24 * GSD, (256, 256)
    col, row = np.meshgrid(*[np.arange(1400) + 0.5] * 2)
    along, across = col * np.cos(turn) + row * np.sin(turn), row * np.cos(turn) - col * np.sin(turn)
    waves = np.cos(2 * np.pi * along / period) + np.cos(2 * np.pi * across / period)
    trees = np.where(waves > 0.8, 1.5, -0.8)
    moved = tuple(MIDDLE + period * np.array([np.cos(turn), np.sin(turn)]))
    with pytest.raises(GeoregError):
        align(tmp_path, *(see(trees, placed(GSD, 0, at, shape), shape) for at in (MIDDLE, moved)))


@pytest.mark.parametrize("level", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("blur_px", [0.0, 1.0])
def test_what_is_printed_in_both_is_never_taken_for_the_ground(
    level: float, blur_px: float, ground: Floats, view: Floats, tmp_path: Path
) -> None:
    """Fixed-pattern noise, ``level`` times as strong as the ground, which lies 9 px away: right or refused."""
    pattern = np.random.default_rng(3).normal(size=SHAPE)
    pattern = ndimage.gaussian_filter(pattern, blur_px) if blur_px else pattern
    pattern *= level / pattern.std()
    there = placed(GSD, 0, (MIDDLE[0] + 9 * GSD, MIDDLE[1]), SHAPE)
    try:
        found = align(tmp_path, 0.7 * (view + pattern), 0.7 * (see(ground, there, SHAPE) + pattern))
    except GeoregError:
        return
    assert error_px(found, there) < 0.5


# --- nothing to correct ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.03, 0.3])
def test_what_is_aligned_stays_to_the_bit(noise: float, view: Floats, tmp_path: Path) -> None:
    pair = [save(tmp_path / name, grey(view, noise=noise, seed=k)) for k, name in enumerate(("ref", "tgt"))]
    found = georeg.align(*pair)
    if found.verdict == "already aligned":
        assert not found.model.coefficients.any()
        assert found.displacement() == (0.0, 0.0)
        assert found.before == found.after
        assert "already aligned, nothing moved" in found.summary()
        assert found.write(tmp_path / "out.tif") == "geotransform"
        with rasterio.open(tmp_path / "out.tif") as out, rasterio.open(pair[1]) as source:
            assert out.transform == source.transform
            np.testing.assert_array_equal(out.read(), source.read())
    assert error_px(found, HERE) < 0.03


def test_one_picture_twice_is_already_aligned(view: Floats, tmp_path: Path) -> None:
    ref = save(tmp_path / "ref", grey(view))
    assert georeg.align(ref, save(tmp_path / "tgt", grey(view))).verdict == "already aligned"


@pytest.mark.parametrize("moved_px", [(0.3, 0.0), (0.0, -0.08)])
def test_a_small_displacement_is_a_displacement(
    moved_px: tuple[float, float], ground: Floats, view: Floats, tmp_path: Path
) -> None:
    there = placed(GSD, 0, tuple(np.array(MIDDLE) + GSD * np.array(moved_px)), SHAPE)
    found = align(tmp_path, view, see(ground, there, SHAPE))
    assert found.verdict == "aligned"
    assert error_px(found, there) < 0.03


def test_a_result_survives_its_json_with_every_new_field(ground: Floats, view: Floats, tmp_path: Path) -> None:
    """A turned target on few tie points: each is withheld in its turn, and those that were rejected are not."""
    shape = (160, 160)
    there = placed(GSD, 25, (690, 720), shape)
    found = align(tmp_path, view, see(ground, there, shape), declared=said(placed(GSD, 0, MIDDLE, shape)))
    again = georeg.Alignment.from_json(found.to_json())
    assert again.to_json() == found.to_json()
    assert (again.verdict, again.geometry) == (found.verdict, found.geometry)
    assert found.points.log10_tests > 0
    for name in ("log10_tests", "overlap", "step"):
        assert getattr(again.points, name) == getattr(found.points, name)
    withheld_xy = found.fitted.withheld_xy
    assert 0 < np.isnan(withheld_xy).any(axis=1).sum() < len(withheld_xy)
    np.testing.assert_array_equal(again.fitted.withheld_xy, withheld_xy)  # NaN where NaN


# --- what the user sets ---------------------------------------------------------------------------------------------


def test_no_target_is_sought_beyond_the_users_largest_shift(ground: Floats, view: Floats, tmp_path: Path) -> None:
    there = placed(GSD, 0, (MIDDLE[0] + 40 * GSD, MIDDLE[1]), SHAPE)
    images = view[:256, :256], see(ground, there, SHAPE)[:256, :256]
    true_m = 40 * GSD * UNIT_M
    with pytest.raises(MatchError, match="could be confirmed"):
        align(tmp_path, *images, matching=MatchOptions(max_shift_m=0.9 * true_m))
    assert error_px(align(tmp_path, *images, matching=MatchOptions(max_shift_m=1.1 * true_m)), there) < 0.1


def test_a_model_too_simple_for_a_turn_is_refused_not_bent(ground: Floats, view: Floats, tmp_path: Path) -> None:
    there = placed(GSD, 30, (715, 690), SHAPE)
    with pytest.raises((georeg.errors.FitError, VerificationError), match="translation"):
        align(tmp_path, view, see(ground, there, SHAPE), fitting=georeg.FitOptions(model="translation"))
