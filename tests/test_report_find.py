"""What a report finds in an alignment: its figures are those of the tie points, and what is planted is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine as Transform
from rasterio.windows import Window
from scenes import image, scene
from scipy import stats
from skimage.metrics import normalized_mutual_information
from skimage.metrics import structural_similarity as skimage_ssim

import georeg
from georeg.accuracy import agreeing
from georeg.errors import InputError
from georeg.fit import Fit, Role
from georeg.models import from_transform, identity
from georeg.models.polynomial import Polynomial2
from georeg.report.change_raster import write_false_change
from georeg.report.chips import CHIP_PX, Pictures
from georeg.report.command import command_of
from georeg.report.decomposition import decompose
from georeg.report.false_change import expected_difference, false_change
from georeg.report.find import find
from georeg.report.findings import Findings
from georeg.report.looks import Seen, looking, tile_windows, window_about
from georeg.report.residuals import binned, f_exceeded
from georeg.report.similarity import (
    comparable,
    likeness,
    normalised_mutual_information,
    scaling,
    structural_similarity,
)
from georeg.tie_points import Inputs, TiePoints

GSD = 10.0
SIDE = 384


@pytest.fixture(scope="module")
def found(shift_alignment: georeg.Alignment) -> tuple[Findings, Pictures]:
    return find(shift_alignment)


def test_spreads_are_of_the_check_points_that_the_accuracy_is_of(shift_alignment, found):
    for spread, accuracy in ((found[0].before, shift_alignment.before), (found[0].after, shift_alignment.after)):
        assert spread.n == accuracy.n
        assert spread.rmse * accuracy.gsd == pytest.approx(accuracy.rmse, rel=1e-12)
        assert spread.ce90 * accuracy.gsd == pytest.approx(accuracy.ce90, rel=1e-12)
        assert spread.median <= spread.ce90 <= spread.ce95 <= spread.largest


def test_places_are_the_best_the_median_and_the_worst_check_point(shift_alignment, found):
    fitted, gsd = shift_alignment.fitted, shift_alignment.after.gsd
    radial_px = np.sort(np.hypot(*fitted.withheld_xy[agreeing(fitted)].T) / gsd)
    best, median, worst = found[0].places
    assert (best.kind, median.kind, worst.kind) == ("best", "median", "worst")
    assert (best.after_px, worst.after_px) == (radial_px[0], radial_px[-1])
    assert median.after_px == radial_px[len(radial_px) // 2]
    for place in found[0].places:
        assert place.xy == tuple(fitted.points.ref_xy[place.point])
        assert place.before_px == pytest.approx(np.hypot(*fitted.points.displacement[place.point]) / gsd)


def test_a_chip_shows_its_place_and_the_correction_makes_it_alike(shift_alignment, found):
    chips = found[1].chips
    assert [chip.kind for chip in chips] == ["best", "median", "worst"]
    for chip in chips:
        assert chip.reference.shape == chip.before.shape == chip.after.shape
        assert max(chip.reference.shape) <= CHIP_PX
        assert all(0 <= at <= side for at, side in zip(chip.at_px, chip.reference.shape[::-1], strict=True))
        both = (chip.reference > 0) & (chip.before > 0) & (chip.after > 0)
        before, after = (np.corrcoef(chip.reference[both], moved[both])[0, 1] for moved in (chip.before, chip.after))
        assert after > 0.75
        assert after > before + 0.1


def test_a_chip_holds_the_pixels_of_the_reference_at_its_place(shift_pair, shift_alignment, found):
    """The brightest of them lies in the picture where the file has it."""
    chip, place = found[1].chips[0], found[0].places[0]
    with rasterio.open(shift_pair[0]) as dataset:
        at = ~dataset.transform @ place.xy
        corner = np.rint(np.subtract(at, chip.at_px)).astype(int)
        pixels = dataset.read(1, window=Window(*corner, *chip.reference.shape[::-1]))
    assert np.subtract(at, chip.at_px) == pytest.approx(corner, abs=1e-6)
    assert stats.spearmanr(pixels.ravel(), chip.reference.ravel()).statistic > 0.99


def test_the_overview_covers_the_tie_points(shift_alignment, found):
    left, bottom, right, top = found[1].extent
    x, y = shift_alignment.points.ref_xy.T
    assert left < x.min() < x.max() < right
    assert bottom < y.min() < y.max() < top
    height, width = found[1].overview.shape
    assert max(height, width) <= 900
    assert (right - left) / width == pytest.approx((top - bottom) / height)


def test_an_alignment_reads_the_same_findings_again(shift_alignment, found):
    again = find(georeg.Alignment.from_json(shift_alignment.to_json()))[0]
    assert replace(again, made="") == replace(found[0], made="")


def test_what_is_gone_is_said(shift_alignment, tmp_path):
    inputs = replace(shift_alignment.points.inputs, target=str(tmp_path / "gone.tif"))
    fitted = replace(shift_alignment.fitted, points=replace(shift_alignment.points, inputs=inputs))
    with pytest.raises(InputError, match=r"gone\.tif does not exist"):
        find(replace(shift_alignment, fitted=fitted))


def test_correction_makes_images_more_alike(found):
    similarity = found[0].similarity
    assert similarity.after.ncc > similarity.before.ncc
    assert similarity.after.ssim > similarity.before.ssim
    assert similarity.after.nmi > similarity.before.nmi
    assert similarity.after.mse < similarity.before.mse


def test_similarity_is_that_of_scikit_image():
    rng = np.random.default_rng(0)
    a = rng.normal(100, 20, (96, 80))
    b = a + rng.normal(0, 10, a.shape)
    everywhere = np.ones(a.shape, bool)
    # its mean leaves out windows that reach over the edge
    expected = skimage_ssim(a, b, data_range=150.0)
    assert structural_similarity(a, b, everywhere, 150.0) == pytest.approx(expected, rel=1e-9)
    expected = normalized_mutual_information(a.ravel(), b.ravel(), bins=64)
    assert normalised_mutual_information(a.ravel(), b.ravel()) == pytest.approx(expected, rel=1e-9)


def test_invalid_pixels_change_no_similarity():
    rng = np.random.default_rng(1)
    a = rng.normal(100, 20, (64, 64)).astype(np.float32)
    b = (a + rng.normal(0, 10, a.shape)).astype(np.float32)
    valid = np.ones(a.shape, bool)
    valid[:20, :30] = False
    tiles = [seen(a, b, b, valid)]
    scaled = scaling(tiles)
    first = likeness(a, scaled(b), valid, scaled)
    spoilt = np.where(valid, a, 1e4).astype(np.float32)
    second = likeness(spoilt, scaled(b), valid, scaling([seen(spoilt, b, b, valid)]))
    assert (first.ncc, first.mse, first.nmi) == pytest.approx((second.ncc, second.mse, second.nmi))
    assert first.ssim == pytest.approx(second.ssim, abs=2e-3)  # what is filled in is the mean of what is valid


def test_a_linear_change_of_greys_changes_no_likeness_also_inverted():
    rng = np.random.default_rng(2)
    a = rng.normal(100, 20, (64, 64)).astype(np.float32)
    for b in (3 * a + 7, 400 - 2 * a):
        tiles = [seen(a, b, b)]
        found = likeness(a, scaling(tiles)(b), tiles[0].valid, scaling(tiles))
        assert found.mse == pytest.approx(0, abs=1e-6)
        assert (found.ncc, found.ssim) == pytest.approx((1, 1), abs=1e-4)


def test_a_tile_without_contrast_or_without_one_of_the_images_is_not_compared():
    a = np.random.default_rng(3).normal(size=(32, 32)).astype(np.float32)
    flat, none = np.zeros_like(a), np.zeros(a.shape, bool)
    assert len(comparable([seen(a, a, a), seen(a, a, flat), seen(a, a, a, none)])) == 1
    assert comparable([seen(a, a, a, none)]) == []


def test_misregistration_alone_explains_the_difference_of_unchanged_ground():
    spectrum = scene(side=SIDE, slope=2.2)
    still = image(spectrum, noise=0)[0]
    for col, row in ((0.3, 0.0), (0.0, -0.4), (0.25, 0.2)):
        moved = image(spectrum, (col, row), noise=0)[0]
        residual_xy = np.tile([-col * GSD, row * GSD], (30, 1))  # what the eye sees right of its place must go left
        tiles = [seen(still, moved, moved)]
        result = false_change(tiles, Transform(GSD, 0, 0, 0, -GSD, 0), residual_xy, residual_xy, scaling(tiles), GSD)
        assert result.expected_after == pytest.approx(result.observed_after, rel=0.15)
        turned = residual_xy[:, ::-1] * (1, -1)  # as large, in another direction, of a texture that has none
        across = false_change(tiles, Transform(GSD, 0, 0, 0, -GSD, 0), turned, turned, scaling(tiles), GSD)
        assert across.expected_after == pytest.approx(result.expected_after, rel=0.15)


def test_change_is_more_than_misregistration_explains():
    spectrum = scene(side=SIDE, slope=2.2)
    still, moved = image(spectrum, noise=0)[0], image(spectrum, (0.1, 0), noise=0)[0]
    changed = moved.copy()
    changed[:, : SIDE // 2] = image(scene(seed=5, side=SIDE, slope=2.2), noise=0)[0][:, : SIDE // 2]
    residual_xy = np.tile([-0.1 * GSD, 0], (30, 1))
    tiles = [seen(still, moved, changed)]
    result = false_change(
        tiles, Transform(GSD, 0, 0, 0, -GSD, 0), residual_xy, residual_xy, scaling([seen(still, still, moved)]), GSD
    )
    assert result.share_after < 0.7 * result.share_before
    assert result.observed_after > 5 * result.expected_after


def test_the_expected_difference_has_the_unit_and_the_frame_of_the_map():
    slope = np.add.outer(2.0 * np.arange(8), 3.0 * np.arange(8)).astype(np.float32)
    north_up, turned = Transform(5, 0, 0, 0, -5, 0), Transform(0, 5, 0, 5, 0, 0)
    east = np.diag([25.0, 0.0])
    assert expected_difference(slope, north_up, east)[3, 3] == pytest.approx(3)
    assert expected_difference(slope, turned, east)[3, 3] == pytest.approx(2)


def test_the_raster_of_false_change_is_the_same_in_blocks_and_of_all(shift_alignment, found, tmp_path, monkeypatch):
    write_false_change(shift_alignment, tmp_path / "whole.tif")
    monkeypatch.setattr("georeg.report.change_raster.BLOCK_PX", 64)
    write_false_change(shift_alignment, tmp_path / "blocks.tif")
    with rasterio.open(tmp_path / "whole.tif") as whole, rasterio.open(tmp_path / "blocks.tif") as blocks:
        np.testing.assert_array_equal(whole.read(), blocks.read())
        assert whole.descriptions == ("expected", "observed")
        assert "no evidence of change" in whole.tags()["georeg"]
        with rasterio.open(shift_alignment.points.inputs.reference) as reference:
            assert (whole.crs, whole.res) == (reference.crs, reference.res)
            corner = np.array(~reference.transform @ (whole.transform.c, whole.transform.f))
            assert corner == pytest.approx(np.rint(corner), abs=1e-6)
        expected, observed = whole.read(masked=True)
    # over other windows than the tiles, but of one picture
    told = found[0].false_change
    ratio = told.expected_after / told.observed_after
    assert np.sqrt((expected**2).mean()) / np.sqrt((observed**2).mean()) == pytest.approx(ratio, rel=0.3)
    with pytest.raises(georeg.GeoregError, match="exists"):
        write_false_change(shift_alignment, tmp_path / "whole.tif")


def test_a_known_affine_map_is_taken_apart_and_recovered():
    turn, shear, scales = np.radians(1.3), np.radians(0.8), (1.02, 0.97)
    east = scales[0] * np.array([np.cos(turn), np.sin(turn)])
    north = scales[1] * np.array([np.cos(turn + np.pi / 2), np.sin(turn + np.pi / 2)])
    north = north + scales[1] * np.tan(shear) * np.array([np.cos(turn), np.sin(turn)])
    fitted = fit_of(np.column_stack([east, north]), (120.0, -45.0))
    found = decompose(fitted, GSD, "m")
    assert (found.shift_x, found.shift_y) == pytest.approx((120, -45))
    assert found.rotation_deg == pytest.approx(1.3)
    assert (found.scale_x, found.scale_y) == pytest.approx(scales)
    assert found.shear_deg == pytest.approx(0.8)
    assert found.bend_px == pytest.approx(0, abs=1e-9)
    assert any("120 m east and 45 m south" in word for word in found.words)
    assert any("1.3 degrees counter-clockwise" in word for word in found.words)
    assert any("+2.0000% along its east and -3.0000% along its north" in word for word in found.words)


def test_a_mere_shift_is_said_in_one_sentence_and_none_as_none():
    assert len(decompose(fit_of(np.eye(2), (120.0, -45.0)), GSD, "m").words) == 1
    (none,) = decompose(fit_of(np.eye(2), (0.0, 0.0)), GSD, "m").words
    assert none == "leaves the target where it is"


@pytest.mark.parametrize(
    ("linear", "said"),
    [
        (1.08 * np.eye(2), "scaled by 1.08"),
        (np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]), "turned by 11.5 degrees"),
        (np.array([[1, 0.03], [0, 1]]), "sheared by 1.72 degrees"),
        (np.diag([1.0, 1.04]), "scales differ"),
    ],
)
def test_what_a_georeferenced_target_should_not_need_is_an_anomaly(linear, said):
    assert any(said in anomaly for anomaly in decompose(fit_of(linear, (10.0, 5.0)), GSD, "m").anomalies)
    assert decompose(fit_of(np.eye(2), (10.0, 5.0)), GSD, "m").anomalies == ()


def test_a_target_without_georeferencing_may_be_turned_and_scaled():
    assert decompose(fit_of(1.5 * np.eye(2)[::-1] * (1, -1), (10.0, 5.0), initial="none"), GSD, "m").anomalies == ()


def test_a_bend_is_told_from_the_affine_part():
    fitted = fit_of(np.eye(2), (0.0, 0.0))
    coefficients = np.zeros((6, 2))
    coefficients[4, 0] = 40.0  # xy bends the east
    bent = decompose(replace(fitted, model=Polynomial2((0.0, 0.0), 1000.0, coefficients)), GSD, "m")
    assert bent.bend_px > 0.5
    assert any("bends it by" in word for word in bent.words)
    assert any("bent by" in anomaly for anomaly in bent.anomalies)


def test_banding_is_found_and_nothing_else():
    rng = np.random.default_rng(4)
    chances = []
    for amplitude_px in (0.0, 0.2):
        row = rng.uniform(0, 3000, 500)
        residual_px = rng.normal(0, 0.15, (500, 2))
        residual_px[:, 0] += amplitude_px * np.sign(np.sin(2 * np.pi * row / 700))
        made = binned("row", row, residual_px, 20)
        assert made is not None
        assert sum(made.n) == 500
        chances.append(made.chance)
        assert np.std(made.mean_x_px) == pytest.approx(np.hypot(amplitude_px, 0.03), rel=0.35)
    assert chances[0] > 0.01
    assert chances[1] < 1e-6


def test_chance_is_uniform_where_there_is_no_banding():
    rng = np.random.default_rng(5)
    chances = [
        made.chance
        for _ in range(300)
        if (made := binned("column", rng.uniform(0, 900, 120), rng.normal(size=(120, 2)), 12)) is not None
    ]
    assert np.mean(np.array(chances) < 0.05) == pytest.approx(0.05, abs=0.04)


def test_too_few_tie_points_have_no_bins():
    assert binned("row", np.array([0.0, 1.0, 2.0]), np.zeros((3, 2)), 3) is None


def test_f_distribution_is_that_of_scipy():
    for value, n, m in ((0.5, 3, 7), (1.0, 19, 480.5), (4.2, 1, 2), (30.0, 10, 25), (1e-3, 5, 5)):
        assert f_exceeded(value, n, m) == pytest.approx(stats.f.sf(value, n, m), rel=1e-9)
    assert f_exceeded(0.0, 3, 7) == 1.0


def test_the_map_of_uncertainty_is_the_models_covariance(shift_alignment, found):
    sigma, model = found[0].sigma, shift_alignment.model
    values = np.array([[np.nan if v is None else v for v in row] for row in sigma.sigma_px])
    assert values.shape == (len(sigma.y), len(sigma.x))
    assert sigma.y[0] > sigma.y[-1]
    row, col = np.argwhere(np.isfinite(values))[7]
    tgt_xy = model.inverse([[sigma.x[col], sigma.y[row]]])
    exact_px = np.sqrt(np.trace(model.covariance_at(tgt_xy)[0])) / shift_alignment.after.gsd
    assert values[row, col] == pytest.approx(exact_px)
    assert sigma.largest_px == np.nanmax(values)
    assert np.isfinite(values).mean() > 0.5


def test_tiles_and_chips_lie_in_the_shared_ground_and_decode_little(shift_alignment):
    with looking(shift_alignment.points, shift_alignment.model, shift_alignment.after.gsd) as looks:
        parts: set[Any] = set()
        window = window_about(looks, shift_alignment.points.ref_xy[0], 64, parts)
        assert parts
        tiles = tile_windows(looks, parts)
        for one in tiles:
            assert looks.see(one).valid.mean() > 0.5
        corners = {(tile.col_off, tile.row_off) for tile in tiles}
        assert len(corners) == len(tiles) > 3
        side = tiles[0].width
        apart = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) for a in corners for b in corners if a != b]
        assert min(apart) >= side  # no pixel is compared twice
        assert window.width == 64


def test_a_look_before_is_of_the_target_as_it_lies(shift_alignment):
    with looking(shift_alignment.points, identity(), shift_alignment.after.gsd) as looks:
        look = looks.see(Window(100, 100, 32, 32))
        np.testing.assert_array_equal(look.before, look.after)


def test_the_command_makes_the_alignment_again(shift_pair, shift_alignment):
    options = {
        "inputs": georeg.InputOptions(ref_nodata=-1.0),
        "matching": georeg.MatchOptions(max_points=200, threads=1),
        "fitting": georeg.FitOptions(model="affine"),
    }
    made = georeg.align(*shift_pair, **options)
    assert made.options == ("--ref-nodata=-1.0", "--max-points", "200", "--model", "affine")
    command = command_of(made)
    assert command.startswith(f"georeg align {shift_pair[0]} {shift_pair[1]} -o ")
    assert command.endswith("--ref-nodata=-1.0 --max-points 200 --model affine")
    assert georeg.Alignment.from_json(made.to_json()).options == made.options
    older = {name: value for name, value in shift_alignment.to_dict().items() if name != "options"}
    assert georeg.Alignment.from_dict(older).options == ()


def test_a_command_tells_no_secrets(shift_alignment):
    inputs = replace(shift_alignment.points.inputs, reference="https://me:word@example.org/ref.tif?token=1")
    fitted = replace(shift_alignment.fitted, points=replace(shift_alignment.points, inputs=inputs))
    command = command_of(replace(shift_alignment, fitted=fitted))
    assert "word" not in command
    assert "token" not in command


def test_the_verdict_says_how_well_on_how_many_and_for_what(shift_alignment, found):
    verdict = found[0].verdict
    assert f"{shift_alignment.after.n} check points" in verdict
    east, north = shift_alignment.displacement()
    assert f"{east:.4g} m east and {-north:.4g} m south" in verdict
    assert "good enough for change detection" in verdict


def seen(reference: Any, before: Any, after: Any, valid: Any = None) -> Seen:
    everywhere = np.ones(reference.shape, bool) if valid is None else valid
    images = (np.asarray(one, np.float32) for one in (reference, before, after))
    return Seen(Window(0, 0, *reference.shape[::-1]), *images, everywhere, everywhere, everywhere)


def fit_of(linear: Any, shift_xy: tuple[float, float], initial: Any = "geotransform") -> Fit:
    """Exact tie points of a linear map about their middle, and a shift."""
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-1000, 1000, 9), np.linspace(-800, 800, 9)))
    tgt_xy = np.stack([x, y], axis=1)
    model = from_transform(Transform(*linear[0], shift_xy[0], *linear[1], shift_xy[1]), np.zeros(2), 1000.0)
    points = TiePoints(
        ref_xy=model(tgt_xy),
        tgt_xy=tgt_xy,
        cov=np.tile(0.01 * np.eye(2), (81, 1, 1)),
        score=np.ones(81),
        status=np.zeros(81),
        inputs=Inputs("reference.tif", "target.tif", initial=initial),
        crs="",
        gsd=GSD,
        window_px=16,
        search_px=20.0,
        chance=0.001,
    )
    return Fit(points, model, np.full(81, Role.FIT, np.uint8), 0.0, (), np.full((81, 2), np.nan))


def test_a_report_is_written_whole_or_not_at_all(shift_alignment, tmp_path: Path):
    path = tmp_path / "report.html"
    findings = georeg.write_report(shift_alignment, path)
    text = path.read_text(encoding="utf-8")
    assert findings.verdict.split(":")[0] in text
    with pytest.raises(georeg.GeoregError, match="exists"):
        georeg.write_report(shift_alignment, path)
    assert path.read_text(encoding="utf-8") == text
    with pytest.raises(georeg.GeoregError, match="would replace"):
        georeg.write_report(shift_alignment, shift_alignment.points.inputs.target, overwrite=True)
