"""Points made by hand say where the target lies: tiles confirm it or it is refused, and pinned points are kept in the fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_fit
from affine import Affine
from known import at
from scenes import fields, grey, move, placed, see
from test_gcps import clicks
from test_prior import GSD, HERE, MIDDLE, NORTH_UP, SHAPE, UNIT_M, Floats, error_px, said, save

import georeg
from georeg.cli import main
from georeg.errors import FitError, GeoregError, InputError, MatchError, OverlapError
from georeg.fit import Role, fit
from georeg.interchange import fit_from_dict, fit_to_dict
from georeg.mixture import robust_fit
from georeg.models import Affine as AffineModel
from georeg.options import FitOptions, InputOptions, MatchOptions
from georeg.styles import points_qml
from georeg.table import csv_text, read_csv
from georeg.tie_points import Status, TiePoints

TURNED = placed(GSD, 25, (715, 690), SHAPE)
COLUMN_AND_MINUS_ROW = Affine.scale(1, -1)
"""Coordinates of a picture without georeferencing in QGIS."""


@pytest.fixture(scope="module")
def ground() -> Floats:
    return fields()


@pytest.fixture(scope="module")
def pair(ground: Floats, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reference, and a picture of its ground that is turned by 25 degrees and says nothing of where it is."""
    folder = tmp_path_factory.mktemp("turned")
    return (
        save(folder / "ref", grey(see(ground, HERE, SHAPE), seed=1)),
        save(folder / "tgt", grey(see(ground, TURNED, SHAPE), seed=2), None),
    )


def made(
    path: Path,
    there: Floats,
    n: int,
    *,
    here: Floats = HERE,
    transform: Affine = NORTH_UP,
    source: Affine = COLUMN_AND_MINUS_ROW,
    noise_px: float = 0.0,
    off_px: tuple[float, float] = (0, 0),
    seed: int = 0,
) -> str:
    """A file of ``n`` clicks in an image that truly lies ``there``, wrong by ``noise_px`` on each axis and by ``off_px``."""
    rng = np.random.default_rng([seed, n])
    px = rng.uniform(50, 210, (n, 2))
    ref_px = move(np.linalg.inv(here) @ there, px) + rng.normal(0, noise_px, px.shape) + off_px
    return clicks(path, at(transform, ref_px), at(source, px), disabled=1)


# --- where the target lies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "noise_px"), [(2, 0.5), (3, 2.0), (8, 2.0)])
def test_points_place_a_turned_picture_and_nothing_else_is_searched(
    n: int, noise_px: float, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def searched(*_: Any) -> None:
        raise AssertionError("searched")

    for name in ("coarse_shifts", "poses_by_features", "poses_by_structure"):
        monkeypatch.setattr(f"georeg.prior.{name}", searched)
    path = made(tmp_path / "clicks.points", TURNED, n, noise_px=noise_px)
    found = georeg.align(*pair, inputs=InputOptions(gcp=path))
    assert error_px(found, TURNED) < 0.1
    assert "; placed by clicks.points" in found.summary()
    again = georeg.Alignment.from_json(found.to_json())
    assert again.points.inputs.gcp == path
    assert again == found


def test_wrong_points_are_refused_and_nothing_else_is_searched(pair: tuple[Path, Path], tmp_path: Path) -> None:
    path = made(tmp_path / "clicks.points", TURNED, 3, off_px=(120, 0))
    with pytest.raises(
        MatchError, match=r"the 3 points of .*clicks\.points put tgt\.png where .* tiles agree .* check the"
    ):
        georeg.align(*pair, inputs=InputOptions(gcp=path))


def test_points_less_accurate_than_is_said_are_refused_with_both_distances(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    path = made(tmp_path / "clicks.points", TURNED, 3, off_px=(11, 0))
    with pytest.raises(
        MatchError, match=r"1\d\.\d px from where the 3 points of .* may be \d\.\d px; .*--gcp-sigma-px"
    ):
        georeg.align(*pair, inputs=InputOptions(gcp=path))
    found = georeg.align(*pair, inputs=InputOptions(gcp=path, gcp_sigma_px=5.0))
    assert error_px(found, TURNED) < 0.1


def test_one_point_places_what_is_not_turned_and_asks_for_more_where_it_is(
    ground: Floats, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    path = made(tmp_path / "clicks.points", TURNED, 1)
    with pytest.raises(MatchError, match="one says nothing of a turn"):
        georeg.align(*pair, inputs=InputOptions(gcp=path))
    there = placed(GSD, 0, (MIDDLE[0] + 60 * GSD, MIDDLE[1]), SHAPE)
    target = save(tmp_path / "tgt", grey(see(ground, there, SHAPE), seed=2))
    path = made(tmp_path / "clicks.points", there, 1, source=NORTH_UP, noise_px=1.0)
    assert error_px(georeg.align(pair[0], target, inputs=InputOptions(gcp=path)), there) < 0.1
    with pytest.raises(InputError, match=r"displace tgt\.tif by .* --max-shift-m"):
        georeg.align(pair[0], target, inputs=InputOptions(gcp=path), matching=MatchOptions(max_shift_m=300))


def test_points_that_put_the_target_beside_the_reference_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    path = made(tmp_path / "clicks.points", TURNED, 3, off_px=(2000, 0))
    with pytest.raises(OverlapError, match=r"put tgt\.png beside ref\.tif"):
        georeg.match(*pair, inputs=InputOptions(gcp=path))


# --- ground that repeats --------------------------------------------------------------------------------------------

PERIOD_PX, TURN = 24, np.radians(30)
SMALL = (256, 256)


def plantation(periods: int) -> Floats:
    """Where an image lies whose ground is displaced by whole periods."""
    step = PERIOD_PX * GSD * np.array([np.cos(TURN), np.sin(TURN)])
    return placed(GSD, 0, tuple(MIDDLE + periods * step), SMALL)


@pytest.fixture(scope="module")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plantation, displaced by one period."""
    folder = tmp_path_factory.mktemp("repeating")
    col, row = np.meshgrid(*[np.arange(1400) + 0.5] * 2)
    along, across = col * np.cos(TURN) + row * np.sin(TURN), row * np.cos(TURN) - col * np.sin(TURN)
    waves = sum(np.cos(2 * np.pi * x / (PERIOD_PX * GSD)) for x in (along, across))
    trees = np.where(waves > 0.8, 1.5, -0.8)
    images = (see(trees, plantation(k), SMALL) for k in (0, 1))
    declared = said(plantation(0))
    ref, tgt = (save(folder / f"{k}", grey(image, seed=k), declared) for k, image in enumerate(images))
    return ref, tgt


@pytest.mark.parametrize("periods", [1, 2])
@pytest.mark.parametrize("n", [1, 4])
def test_where_ground_repeats_the_points_decide(
    n: int, periods: int, repeating: tuple[Path, Path], tmp_path: Path
) -> None:
    """Nothing but the points tells one period from another: whoever makes them vouches for it, be it right (1) or not."""
    with pytest.raises(GeoregError):
        georeg.align(*repeating)
    declared, here, there = said(plantation(0)), plantation(0), plantation(periods)
    path = made(tmp_path / "c.points", there, n, here=here, transform=declared, source=declared, noise_px=0.7)
    found = georeg.align(*repeating, inputs=InputOptions(gcp=path))
    px = np.random.default_rng(0).uniform(20, 200, (50, 2))
    assert np.abs(found.reference_px(px) - move(np.linalg.inv(here) @ there, px)).max() < 0.1


def test_a_point_between_two_periods_is_refused(repeating: tuple[Path, Path], tmp_path: Path) -> None:
    declared, here, half = (
        said(plantation(0)),
        plantation(0),
        (0.5 * PERIOD_PX * np.cos(TURN), 0.5 * PERIOD_PX * np.sin(TURN)),
    )
    path = made(tmp_path / "c.points", plantation(1), 1, here=here, transform=declared, source=declared, off_px=half)
    with pytest.raises(MatchError, match="refused: "):
        georeg.align(*repeating, inputs=InputOptions(gcp=path))


# --- pins -----------------------------------------------------------------------------------------------------------


def pinned(points: TiePoints, uv: Any, off_px: tuple[float, float], sigma_px: float) -> TiePoints:
    """Tie points of `test_fit`, and a pinned one that is wrong by ``off_px``."""
    uv = np.array([uv], float)
    tgt_xy = test_fit.CENTRE + 5000 * uv
    pin = replace(
        points.subset(np.arange(len(points)) < 1),
        tgt_xy=tgt_xy,
        ref_xy=tgt_xy + test_fit.GSD * (test_fit.affine(uv) + off_px),
        cov=(sigma_px * test_fit.GSD) ** 2 * np.eye(2)[None],
        status=np.array([Status.PINNED]),
    )
    return points.joined(pin)


def pin_residual_px(fitted: georeg.Fit) -> float:
    return float(np.hypot(*fitted.residual()[-1])) / fitted.points.gsd


@pytest.mark.parametrize("n", [30, 200])
@pytest.mark.parametrize("step", [0.5, 1.0])
def test_a_pinned_point_pulls_the_model_by_how_well_it_is_known(n: int, step: float) -> None:
    points = replace(test_fit.tie_points(test_fit.affine, n=n, noise_px=0.3), step=step)
    wanted = {sigma_px: pinned(points, (1.6, 1.5), (0.25, -0.1), sigma_px) for sigma_px in (0.01, 100.0)}
    hard, soft = (fit(wanted[sigma_px], FitOptions(model="affine")) for sigma_px in (0.01, 100.0))
    alone = fit(points, FitOptions(model="affine"))
    assert pin_residual_px(hard) < 0.03
    assert pin_residual_px(soft) > 0.15
    at_pin = points.tgt_xy[:1] + 1.0
    assert np.abs(soft.model(at_pin) - alone.model(at_pin)).max() < 1e-3 * points.gsd
    assert (hard.role[-1], soft.role[-1]) == (Role.FIT, Role.FIT)
    assert np.isnan(hard.withheld_xy[-1]).all()  # it checks nothing


def test_a_pinned_point_is_combined_with_the_others_by_least_squares() -> None:
    """Held against the normal equations, written out."""
    points = pinned(test_fit.tie_points(test_fit.affine, n=100, noise_px=0.2), (1.3, 1.2), (0.1, 0.0), 0.05)
    found = robust_fit(points, AffineModel, seed=0)
    variance = np.where(
        points.pinned, (0.05 * points.gsd) ** 2, points.cov[:, 0, 0] + (found.sigma_px * points.gsd) ** 2
    )
    design = np.column_stack([np.ones(len(points)), (points.tgt_xy - test_fit.CENTRE) / 5000])
    root = np.sqrt(found.member / variance)[:, None]
    solved = np.linalg.lstsq(root * design, root * points.displacement, rcond=None)[0]
    assert np.allclose(found.model.displacement(points.tgt_xy), design @ solved, atol=1e-3 * points.gsd)


@pytest.mark.parametrize(("off_px", "sigma_px"), [((20, 0), 1.0), ((3, 0), 0.01), ((0, -1.5), 0.1)])
@pytest.mark.parametrize("model", ["auto", "affine"])
def test_a_pinned_point_that_contradicts_the_tie_points_is_refused(
    model: Any, off_px: tuple[float, float], sigma_px: float
) -> None:
    points = test_fit.tie_points(test_fit.affine, noise_px=0.1)
    with pytest.raises(FitError, match=r"1 of 1 pinned points contradict the affine model .* --gcp-sigma-px"):
        fit(pinned(points, (0.5, 0.5), off_px, sigma_px), FitOptions(model=model))


def test_pinned_points_survive_files_and_have_a_legend() -> None:
    points = pinned(test_fit.tie_points(test_fit.affine), (0.5, 0.5), (0, 0), 0.5)
    points = replace(points, status=np.where(np.arange(len(points)) == 3, Status.DISABLED, points.status))
    fitted = fit(points)
    assert fitted.role[3] == Role.REJECTED
    assert fit_from_dict(json.loads(json.dumps(fit_to_dict(fitted)))).points == points
    assert read_csv(csv_text(points, fitted)) == points
    legend = points_qml({"pinned", "disabled"})
    assert "pinned by hand" in legend
    assert "switched off by hand" in legend


# --- the command line -----------------------------------------------------------------------------------------------


def test_the_command_line_seeds_and_pins(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path / "clicks.points", TURNED, 4, noise_px=0.7)
    rasters, points = [str(p) for p in pair], str(tmp_path / "points.json")
    assert main(["match", *rasters, "-o", points, "--gcp", path, "--pin"]) == 0
    assert "4 pinned" in capsys.readouterr().out
    assert main(["fit", points, "-o", str(tmp_path / "fit.json")]) == 0
    assert main(["export", str(tmp_path / "fit.json"), "-o", str(tmp_path / "points.gpkg")]) == 0
    assert main(["assess", *rasters, "--gcp", path, "--pin", "--gcp-sigma-px", "2"]) == 0
    assert main(["align", *rasters, "-o", str(tmp_path / "out.tif"), "--gcp", path, "--pin"]) == 0
    assert main(["align", *rasters, "-o", path, "--gcp", path, "--overwrite"]) == 1
    assert "would replace" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["--pin"], ["--gcp-sigma-px", "2"]])
def test_what_needs_points_is_refused_without(
    given: list[str], pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["match", *map(str, pair), "-o", str(tmp_path / "p.json"), *given]) == 1
    assert "give --gcp" in capsys.readouterr().err


def test_points_that_cannot_be_used_are_refused_with_the_reason(pair: tuple[Path, Path], tmp_path: Path) -> None:
    exported = tmp_path / "points.csv"
    exported.write_text(csv_text(test_fit.tie_points(test_fit.affine)))
    off = clicks(tmp_path / "off.points", np.zeros((0, 2)), np.zeros((0, 2)), disabled=3)
    good = made(tmp_path / "clicks.points", TURNED, 3)
    for options, says in (
        (InputOptions(gcp=str(exported)), "made by hand"),
        (InputOptions(gcp=off), "none of them enabled"),
        (InputOptions(gcp=str(tmp_path / "absent.points")), "cannot be read"),
        (InputOptions(gcp=good, gcp_sigma_px=0), "--gcp-sigma-px is 0"),
    ):
        with pytest.raises(InputError, match=says):
            georeg.match(*pair, inputs=options)


def test_the_deviation_of_pins_is_in_pixels_of_the_target(pair: tuple[Path, Path], tmp_path: Path) -> None:
    path = made(tmp_path / "clicks.points", TURNED, 3)
    points = georeg.match(*pair, inputs=InputOptions(gcp=path, pin=True, gcp_sigma_px=0.5))
    assert points.pinned.sum() == 3
    sigma = np.sqrt(points.cov[points.pinned][:, 0, 0])
    assert np.allclose(sigma, 0.5 * GSD * UNIT_M, rtol=1e-3)
