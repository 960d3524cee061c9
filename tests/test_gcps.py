"""Points made by hand, and those that QGIS's Georeferencer reads and writes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import known
import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Transformer

import georeg
from georeg.by_hand import fit_by_hand
from georeg.cli import main
from georeg.errors import FitError, InputError
from georeg.gcps import points_text, read_points
from georeg.options import FitOptions, HandOptions
from georeg.raster import open_raster
from georeg.tie_points import Status

HEADER = "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"
TURNED = Affine(8, 6, 400000, 6, -8, 5800000)


def clicks(path: Path, ref_xy: Any, source_xy: Any, crs: str | None = "EPSG:32633", disabled: int = 0) -> str:
    """A file as QGIS writes it: enabled points, then disabled ones that are wrong."""
    lines = [] if crs is None else [f"#CRS: {crs}"]
    lines.append(HEADER)
    lines += [
        f"{x!r},{y!r},{u!r},{v!r},1,0,0,0" for (x, y), (u, v) in zip(ref_xy.tolist(), source_xy.tolist(), strict=True)
    ]
    lines += ["1.5,2.5,400000,5800000,0,0,0,0"] * disabled
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("transform", [known.NORTH_UP, TURNED], ids=["north up", "turned"])
@pytest.mark.parametrize("suffix", [".points", ".csv"])
def test_clicks_in_a_georeferenced_raster_give_the_known_correction(
    suffix: str, transform: Affine, tmp_path: Path
) -> None:
    target = known.ramps(tmp_path / "t.tif", transform)
    tgt_xy = known.at(transform, known.spread_px(12))
    path = clicks(tmp_path / f"clicks{suffix}", known.affine_truth(tgt_xy), tgt_xy, disabled=2)
    points = read_points(path, HandOptions(target=target))
    assert points.kept.tolist() == [True] * 12 + [False] * 2
    model = fit_by_hand(points).model
    tested = known.at(transform, known.spread_px(50, seed=3))
    assert np.abs(model(tested) - known.affine_truth(tested)).max() < 1e-5


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_clicks_in_a_plain_scan_are_columns_and_minus_rows(suffix: str, tmp_path: Path) -> None:
    profile = {"dtype": "uint16", "nodata": None} | ({"driver": "PNG"} if suffix == ".png" else {})
    reference = known.ramps(tmp_path / "r.tif")
    target = known.ramps(tmp_path / f"t{suffix}", None, **profile)
    px = known.spread_px(9)
    path = clicks(tmp_path / "clicks.points", known.at(TURNED, px), px * (1, -1))
    points = read_points(path, HandOptions(target=target, reference=reference))
    fitted = fit_by_hand(points, FitOptions(model="affine"))
    raster = open_raster(target, initial=points.inputs.initial, reference=open_raster(reference))
    tested = known.spread_px(30, seed=4)
    assert np.abs(fitted.model(known.at(raster.transform, tested)) - known.at(TURNED, tested)).max() < 1e-5
    assert points.gsd == pytest.approx(10, rel=1e-6)  # hypot(8, 6), whatever the reference's pixels are


def test_the_reference_gives_its_crs_to_points_that_name_none(tmp_path: Path) -> None:
    target, reference = known.ramps(tmp_path / "t.tif"), known.ramps(tmp_path / "r.tif")
    tgt_xy = known.at(known.NORTH_UP, known.spread_px(5))
    path = clicks(tmp_path / "clicks.points", tgt_xy + [5, 7], tgt_xy, crs=None)
    with pytest.raises(InputError, match="--reference"):
        read_points(path, HandOptions(target=target))
    points = read_points(path, HandOptions(target=target, reference=reference))
    assert CRS.from_wkt(points.crs) == known.UTM
    assert np.allclose(points.displacement, [5, 7])


def test_clicks_in_degrees_are_taken_to_the_utm_zone(tmp_path: Path) -> None:
    target = known.ramps(tmp_path / "t.tif")
    tgt_xy = known.at(known.NORTH_UP, known.spread_px(6))
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(*(tgt_xy + [30, -40]).T)
    path = clicks(tmp_path / "clicks.points", np.stack([lon, lat], axis=1), tgt_xy, crs="EPSG:4326")
    points = read_points(path, HandOptions(target=target))
    assert np.abs(points.displacement - [30, -40]).max() < 1e-3


def test_a_click_is_as_accurate_as_is_said(tmp_path: Path) -> None:
    target = known.ramps(tmp_path / "t.tif")
    tgt_xy = known.at(known.NORTH_UP, known.spread_px(3))
    path = clicks(tmp_path / "clicks.points", tgt_xy, tgt_xy)
    for sigma_px in (1.0, 0.25):
        points = read_points(path, HandOptions(target=target, sigma_px=sigma_px))
        assert np.allclose(points.cov, (sigma_px * known.GSD) ** 2 * np.eye(2))


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    target = known.ramps(tmp_path / "t.tif")
    path = tmp_path / "clicks.points"
    path.write_text(
        "mapX\tmapY\tpixelX\tpixelY\tenable\n400010\t5799990\t400000\t5800000\t1\n400020\t5799990\t400010\t5800000\n"
    )
    points = read_points(path, HandOptions(target=target, reference=target))
    assert points.displacement.tolist() == [[10, -10], [10, -10]]
    assert points.kept.all()


REFUSED: dict[str, tuple[str, str]] = {
    "empty": ("", "no line"),
    "no header": ("1,2,3,4,1,0,0,0\n", "no line"),
    "no points": (f"#CRS: EPSG:32633\n{HEADER}\n", "0 points"),
    "all disabled": (f"#CRS: EPSG:32633\n{HEADER}\n1,2,3,4,0,0,0,0\n", "none of them enabled"),
    "words": (f"#CRS: EPSG:32633\n{HEADER}\n1,2,3,four,1\n", "line 3"),
    "short": (f"#CRS: EPSG:32633\n{HEADER}\n\n1,2,3\n", "line 4"),
    "not finite": (f"#CRS: EPSG:32633\n{HEADER}\n1,nan,3,4,1\n", "line 3"),
    "nonsense CRS": (f"#CRS: PROJCS[nonsense\n{HEADER}\n1,2,3,4,1\n", "not known"),
    "no CRS": (f"#CRS: \n{HEADER}\n1,2,3,4,1\n", "--reference"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_holds_no_points_is_refused(name: str, tmp_path: Path) -> None:
    text, says = REFUSED[name]
    (tmp_path / "clicks.points").write_text(text)
    target = known.ramps(tmp_path / "t.tif")
    with pytest.raises(InputError, match=says):
        read_points(tmp_path / "clicks.points", HandOptions(target=target))


def test_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    plain = known.ramps(tmp_path / "plain.tif", None)
    path = clicks(tmp_path / "clicks.points", np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(InputError, match="--target"):
        read_points(path)
    with pytest.raises(InputError, match="--reference"):
        read_points(path, HandOptions(target=plain))
    with pytest.raises(InputError, match="--sigma-px is 0"):
        read_points(path, HandOptions(target=plain, sigma_px=0))
    with pytest.raises(InputError, match="cannot be read"):
        read_points(tmp_path / "absent.points", HandOptions(target=plain))


# --- the fit --------------------------------------------------------------------------------------------------------


def by_hand(tmp_path: Path, n: int, noise_px: float = 0.0, truth: Any = known.affine_truth) -> georeg.TiePoints:
    target = known.ramps(tmp_path / "t.tif")
    tgt_xy = known.at(known.NORTH_UP, known.spread_px(n, seed=8))
    noise = np.random.default_rng(2).normal(0, noise_px * known.GSD, tgt_xy.shape)
    return read_points(clicks(tmp_path / "c.points", truth(tgt_xy) + noise, tgt_xy), HandOptions(target=target))


@pytest.mark.parametrize("n", [4, 6, 10, 20])
def test_few_points_with_errors_of_a_click_give_a_correction_within_them(n: int, tmp_path: Path) -> None:
    points = by_hand(tmp_path, n, noise_px=1.0)
    fitted = fit_by_hand(points)
    tested = known.at(known.NORTH_UP, known.spread_px(200, seed=5))
    error_px = np.hypot(*(fitted.model(tested) - known.affine_truth(tested)).T) / known.GSD
    assert np.sqrt((error_px**2).mean()) < 3 * math.sqrt(2 / n)
    assert np.isfinite(fitted.withheld_xy).all()


def test_the_simplest_model_that_does_is_taken(tmp_path: Path) -> None:
    moved = by_hand(tmp_path, 15, noise_px=0.5, truth=lambda xy: xy + [50, 20])
    assert fit_by_hand(moved).model.kind == "translation"
    assert fit_by_hand(by_hand(tmp_path, 15, truth=known.affine_truth)).model.kind == "affine"
    assert fit_by_hand(by_hand(tmp_path, 15, truth=known.bent_truth)).model.kind == "polynomial2"


def test_residuals_left_out_are_those_of_fits_without_the_point(tmp_path: Path) -> None:
    points = by_hand(tmp_path, 8, noise_px=1.0)
    fitted = fit_by_hand(points, FitOptions(model="affine"))
    for k in range(8):
        others = np.arange(8) != k
        design = np.column_stack([np.ones(8), points.tgt_xy - known.CENTRE])
        solved = np.linalg.lstsq(design[others], (points.ref_xy - known.CENTRE)[others], rcond=None)[0]
        expected = points.ref_xy[k] - known.CENTRE - design[k] @ solved
        assert np.allclose(fitted.withheld_xy[k], expected, atol=1e-5)


@pytest.mark.parametrize(("n", "kind"), [(1, "auto"), (3, "affine"), (4, "polynomial2")])
def test_too_few_points_are_refused(n: int, kind: Any, tmp_path: Path) -> None:
    with pytest.raises(FitError, match=f"{n} enabled tie points"):
        fit_by_hand(by_hand(tmp_path, n), FitOptions(model=kind))


def test_points_on_a_line_are_refused(tmp_path: Path) -> None:
    target = known.ramps(tmp_path / "t.tif")
    tgt_xy = known.at(known.NORTH_UP, np.linspace((10, 10), (200, 200), 8))
    path = clicks(tmp_path / "c.points", tgt_xy + 5, tgt_xy)
    points = read_points(path, HandOptions(target=target))
    with pytest.raises(FitError, match="spread them"):
        fit_by_hand(points, FitOptions(model="affine"))
    assert fit_by_hand(points).model.kind == "translation"


# --- there and back -------------------------------------------------------------------------------------------------


def test_our_points_come_back_as_they_were(tmp_path: Path) -> None:
    target = known.ramps(tmp_path / "t.tif")
    fitted = known.fitted(target)
    (tmp_path / "p.points").write_text(points_text(fitted.points, fitted, open_raster(target)))
    back = read_points(tmp_path / "p.points", HandOptions(target=target))
    assert np.abs(back.ref_xy - fitted.points.ref_xy).max() == 0
    assert np.abs(back.tgt_xy - fitted.points.tgt_xy).max() < 1e-8
    assert back.kept.sum() == (fitted.points.kept.sum() - 2)  # the outliers are switched off
    assert set(back.status.tolist()) == {Status.KEPT, Status.DISABLED}


def test_a_file_of_points_for_a_plain_scan_has_columns_and_minus_rows(tmp_path: Path) -> None:
    reference, target = known.ramps(tmp_path / "r.tif"), known.ramps(tmp_path / "t.tif", None)
    px = known.spread_px(9)
    path = clicks(tmp_path / "c.points", known.at(TURNED, px), px * (1, -1))
    points = read_points(path, HandOptions(target=target, reference=reference))
    raster = open_raster(target, initial=points.inputs.initial, reference=open_raster(reference))
    rows = [line.split(",") for line in points_text(points, None, raster).splitlines()[2:]]
    assert np.abs(np.array(rows, float)[:, 2:4] - px * (1, -1)).max() < 1e-8


# --- the command line -----------------------------------------------------------------------------------------------


def test_the_command_line_fits_clicks_and_says_that_nothing_is_proven(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = known.ramps(tmp_path / "t.tif")
    tgt_xy = known.at(known.NORTH_UP, known.spread_px(12))
    path = clicks(tmp_path / "clicks.csv", known.affine_truth(tgt_xy), tgt_xy)
    arguments = ["fit", path, "--target", target, "-o", str(tmp_path / "fit.json")]
    assert main(arguments) == 0
    assert "12 points made by hand" in (said := capsys.readouterr().out)
    assert "not proven" in said
    made = json.loads((tmp_path / "fit.json").read_text())
    assert made["tie_points"]["inputs"]["target"] == target
    assert main(arguments) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["fit", path, "--target", target, "-o", target, "--overwrite"]) == 1
    assert "would replace" in capsys.readouterr().err


def test_options_of_clicks_are_refused_for_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "points.json").write_text("{}")
    arguments = ["fit", str(tmp_path / "points.json"), "-o", str(tmp_path / "fit.json"), "--sigma-px", "2"]
    assert main(arguments) == 1
    assert "made by hand" in capsys.readouterr().err
