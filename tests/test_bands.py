"""Bands of one instrument: where its lenses look is found to some hundredths of a pixel, for all captures at once, or refused."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

import georeg
from georeg.cli import main
from georeg.errors import GeoregError, InputError, LimitError, OutputError

Capture = pytest.CaptureFixture[str]
HEIGHT, WIDTH = 300, 400
CORNERS = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT], [WIDTH / 2, HEIGHT / 2]], float)
RIG = (
    np.eye(3),
    np.array([[1.002, -0.003, -7.3], [0.004, 1.003, 4.6], [4e-6, -3e-6, 1.0]]),
    np.array([[0.996, 0.005, 9.4], [-0.002, 0.998, -6.7], [-5e-6, 2e-6, 1.0]]),
)
"""Pixels of each band to those of the first."""
FEW = georeg.MatchOptions(window_px=48, max_points=120)
QUICK = ("--window-px", "48", "--max-points", "120", "--quiet")
WHERE = {"crs": "EPSG:32633", "transform": Affine(0.1, 0, 4e5, 0, -0.1, 5.8e6)}
DATA = Path(os.environ.get("GEOREG_DATA") or Path(__file__).parents[2] / "shared" / "data")
ORCHARD = DATA / "micasense-orchard"


def moved(matrix: np.ndarray, px: np.ndarray) -> np.ndarray:
    """(N, 2) pixels by a homography."""
    x, y, w = matrix @ np.column_stack([px, np.ones(len(px))]).T
    return np.stack([x / w, y / w], axis=1)


def ground(seed: int, px: np.ndarray, contrast: float) -> np.ndarray:
    """Grey values of ground at (N, 2) places: waves no shorter than 4 px, so that pixels hold all there is to see."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(160, 2))
    waves *= (2 * np.pi / rng.uniform(4, 40, 160) / np.hypot(*waves.T))[:, None]
    height, phase = rng.normal(size=160), rng.uniform(0, 2 * np.pi, 160)
    value = np.zeros(len(px))
    for wave, size, start in zip(waves, height, phase, strict=True):
        value += size * np.cos(px @ wave + start)
    return 20000 + contrast * value


def save(path: Path, pixels: np.ndarray, **how: Any) -> str:
    count, height, width = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width, dtype="uint16", **how
        ) as dataset:
            dataset.write(pixels)
    return str(path)


def seen(seed: int, matrix: np.ndarray, contrast: float = 300.0, noise: float = 0.0, side: float = 1.0) -> np.ndarray:
    """What a band sees of the ground: (1, height, width), of pixels ``side`` times as large."""
    columns, rows = int(WIDTH / side), int(HEIGHT / side)
    px = np.stack(np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5), axis=-1).reshape(-1, 2) * side
    value = ground(seed, moved(matrix, px), contrast)
    value += noise * np.random.default_rng(seed + 99).normal(size=len(value))
    return np.rint(np.clip(value, 0, 65535)).astype(np.uint16).reshape(1, rows, columns)


def capture(
    folder: Path, name: str, seed: int, rig: Sequence[np.ndarray] = RIG, noise: float = 30.0, **how: Any
) -> list[str]:
    """Files of all bands, of which the last sees the ground inverted."""
    folder.mkdir(exist_ok=True)
    contrasts = (300.0, 220.0, -250.0)
    return [
        save(folder / f"{name}_{k}.tif", seen(10 * seed, matrix, contrasts[k - 1], noise), **how)
        for k, matrix in enumerate(rig, 1)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captures")


@pytest.fixture(scope="module")
def paths(folder: Path) -> list[str]:
    return capture(folder, "IMG_0001", 1)


def errors_px(found: georeg.BandAlignment, rig: Sequence[np.ndarray] = RIG) -> np.ndarray:
    """How far each band's corners and middle are from where they belong, (bands, 5)."""
    flip = np.array([1, -1])
    made = [model(CORNERS * flip) * flip for model in found.models]
    return np.array([np.hypot(*(one - moved(h, CORNERS)).T) for one, h in zip(made, rig, strict=True)])


def opened(path: Path | str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Pixels, valid (height, width), and profile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            valid = (dataset.read_masks() > 0).all(axis=0)
            profile = {**dataset.profile, "descriptions": dataset.descriptions, "tags": dataset.tags(dataset.count)}
            return dataset.read(), valid, profile


# --- one capture ----------------------------------------------------------------------------------------------------


def test_bands_lie_on_each_other_to_hundredths_of_a_pixel(paths: list[str], tmp_path: Path) -> None:
    found = georeg.align_bands(paths, matching=FEW)
    assert errors_px(found).max() < 0.1
    assert found.write(tmp_path / "stacked.tif") == {"IMG_0001": str(tmp_path / "stacked.tif")}
    pixels, valid, profile = opened(tmp_path / "stacked.tif")
    assert (profile["count"], profile["dtype"], profile["crs"]) == (3, "uint16", None)
    assert profile["descriptions"] == ("1", "2", "3")
    assert profile["tags"]["ALIGNED_ONTO"] == "1"
    assert float(profile["tags"]["RMSE_PX"]) < 0.1
    assert np.array_equal(pixels[0], opened(paths[0])[0][0])
    for k, contrast in ((1, 220.0), (2, -250.0)):  # each pixel as if the band had looked from where the first does
        exact = seen(10, np.eye(3), contrast)[0].astype(float)
        assert np.abs(pixels[k] - exact)[valid].std() < 0.1 * exact.std()
    inside = np.ones((HEIGHT, WIDTH), bool)
    xy = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1).reshape(-1, 2)
    for matrix in RIG:
        back = moved(np.linalg.inv(matrix), xy)
        inside &= ((back >= 0) & (back <= (WIDTH, HEIGHT))).all(axis=1).reshape(HEIGHT, WIDTH)
    assert 0.9 < valid.mean() < 0.97
    assert (inside != valid).mean() < 0.002


@pytest.mark.parametrize("onto", [2, 3])
def test_any_band_may_be_the_one_the_others_are_put_onto(onto: int, paths: list[str]) -> None:
    found = georeg.align_bands(paths, options=georeg.BandsOptions(onto=onto), matching=FEW)
    to = np.linalg.inv(RIG[onto - 1])
    assert errors_px(found, [to @ matrix for matrix in RIG]).max() < 0.1
    assert found.bands[onto - 1] is None


def test_where_on_earth_the_first_lies_is_kept(tmp_path: Path) -> None:
    paths = capture(tmp_path / "in", "IMG", 1, **WHERE)
    georeg.align_bands(paths, matching=FEW).write(tmp_path / "stacked.tif")
    _, _, profile = opened(tmp_path / "stacked.tif")
    assert (profile["crs"].to_epsg(), profile["transform"]) == (32633, WHERE["transform"])


def test_a_pixel_is_nodata_where_any_band_has_none(tmp_path: Path) -> None:
    paths = capture(tmp_path / "in", "IMG", 1, nodata=0)
    pixels = opened(paths[1])[0]
    pixels[0, 100:140, 200:260] = 0
    save(Path(paths[1]), pixels, nodata=0)
    georeg.align_bands(paths, matching=FEW).write(tmp_path / "stacked.tif")
    stacked, valid, profile = opened(tmp_path / "stacked.tif")
    assert profile["nodata"] == 0
    at = np.rint(moved(RIG[1], np.array([[230.0, 120.0]]))[0]).astype(int)
    assert not valid[at[1] - 15 : at[1] + 15, at[0] - 25 : at[0] + 25].any()
    assert ((stacked == 0).all(axis=0) == ~valid).all()
    assert (stacked[:, valid] > 0).all()


def test_a_band_of_larger_pixels_is_put_onto_the_grid_too(paths: list[str], tmp_path: Path) -> None:
    small = save(tmp_path / "small.tif", seen(10, RIG[1], 220.0, side=2.0))
    found = georeg.align_bands([paths[0], small], matching=FEW)
    assert errors_px(found, RIG[:2]).max() < 0.2
    found.write(tmp_path / "stacked.tif")
    pixels, valid, profile = opened(tmp_path / "stacked.tif")
    assert (profile["height"], profile["width"]) == (HEIGHT, WIDTH)
    exact = seen(10, np.eye(3), 220.0)[0].astype(float)
    assert np.corrcoef(pixels[1][valid], exact[valid])[0, 1] > 0.9


def test_bands_that_lie_right_are_left_alone(tmp_path: Path) -> None:
    paths = capture(tmp_path / "in", "IMG", 1, rig=(np.eye(3),) * 3)
    found = georeg.align_bands(paths, matching=FEW)
    assert errors_px(found, (np.eye(3),) * 3).max() < 0.05
    found.write(tmp_path / "stacked.tif")
    stacked, valid, _ = opened(tmp_path / "stacked.tif")
    if all(band is None or band.model.still for band in found.bands):
        assert valid.all()
        assert np.array_equal(stacked, np.concatenate([opened(path)[0] for path in paths]))


# --- many captures --------------------------------------------------------------------------------------------------


def test_all_captures_together_tell_more_than_each(tmp_path: Path) -> None:
    sparse = georeg.MatchOptions(window_px=48, max_points=45)
    sets = [capture(tmp_path, f"IMG_{k}", k, noise=400.0) for k in range(1, 6)]
    alone = [errors_px(georeg.align_bands(paths, matching=sparse)).max() for paths in sets]
    together = errors_px(georeg.align_bands([path for paths in sets for path in paths], matching=sparse)).max()
    assert together < np.mean(alone)


def test_what_shows_nothing_is_put_right_by_the_rig_and_what_is_of_another_is_refused(
    paths: list[str], folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    more = [*paths, *capture(folder, "IMG_0002", 2), *capture(folder, "IMG_0003", 3), *capture(folder, "IMG_0004", 4)]
    water = [save(folder / f"IMG_0005_{k}.tif", np.full((1, HEIGHT, WIDTH), 900)) for k in (1, 2, 3)]
    bumped = (RIG[0], np.array([[1, 0, 5.0], [0, 1, 3.0], [0, 0, 1]]) @ RIG[1], RIG[2])
    other = capture(folder, "IMG_0006", 6, rig=bumped)
    out = tmp_path / "out"
    given = [*more, *water, *other]
    assert main(["bands", *given, "-o", str(out), *QUICK]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("band 2 onto 1: ")
    assert told[-1].startswith("IMG_0006: refused: ")
    assert "tie points of band 2 agree with the rig of all captures" in told[-1]
    assert sorted(path.name for path in out.iterdir()) == [f"IMG_000{k}.tif" for k in (1, 2, 3, 4, 5)]
    for k in (1, 2, 3, 4):  # all by one rig, that of the truth
        pixels, valid, _ = opened(out / f"IMG_000{k}.tif")
        exact = seen(10 * k, np.eye(3), 220.0)[0].astype(float)
        assert np.abs(pixels[1] - exact)[valid].std() < 0.1 * exact.std()
    pixels, valid, _ = opened(out / "IMG_0005.tif")
    assert (pixels[:, valid] == 900).all()


def test_nobody_changes_a_byte_by_working_along(paths: list[str], tmp_path: Path) -> None:
    made = []
    for k, n_threads in enumerate((1, 3)):
        matching = georeg.MatchOptions(window_px=48, max_points=120, threads=n_threads)
        georeg.align_bands(paths, matching=matching).write(tmp_path / f"{k}.tif")
        made.append((tmp_path / f"{k}.tif").read_bytes())
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = georeg.align_bands(paths, matching=FEW, executor=pool)
        found.write(tmp_path / "pool.tif", executor=pool)
    made.append((tmp_path / "pool.tif").read_bytes())
    assert made[0] == made[1] == made[2]


# --- refused --------------------------------------------------------------------------------------------------------


def test_bands_that_do_not_show_the_same_are_refused(paths: list[str], tmp_path: Path, capsys: Capture) -> None:
    other = save(tmp_path / "IMG_0001_2.tif", seen(77, RIG[1]))
    with pytest.raises(GeoregError, match=r"band 2|no capture has tie points between band") as caught:
        georeg.align_bands([paths[0], other], matching=FEW)
    assert not isinstance(caught.value, InputError)
    assert main(["bands", paths[0], other, "-o", str(tmp_path / "out.tif"), *QUICK]) == 1
    assert not (tmp_path / "out.tif").exists()


def test_a_limit_is_kept(paths: list[str], tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(
        LimitError, match=r"band 2: CE90 of .* check points after correction is .* px, over the limit of 0.0001 px"
    ):
        georeg.align_bands(paths, matching=FEW, limits=georeg.LimitOptions(max_ce90="0.0001px"))
    assert main(["bands", *paths, "-o", str(tmp_path / "out.tif"), *QUICK, "--max-ce90", "0.0001px"]) == 3


REFUSED: dict[str, tuple[Callable[[list[str], Path], dict[str, Any]], type[Exception], str]] = {
    "one file": (lambda p, _: {"paths": p[:1]}, InputError, "1 file was given"),
    "twice": (lambda p, _: {"paths": [*p, p[0]]}, InputError, "given twice"),
    "absent": (lambda p, _: {"paths": [p[0], "absent_2.tif"]}, InputError, "does not exist"),
    "three bands": (
        lambda p, t: {"paths": [p[0], save(t / "rgb.tif", np.zeros((3, 8, 8)))]}, InputError, r"rgb\.tif has 3 bands"
    ),
    "onto": (lambda p, _: {"paths": p, "options": georeg.BandsOptions(onto=4)}, InputError, "--onto is 4, .* 3 bands"),
    "a band lacks": (
        lambda p, t: {"paths": [*p, *capture(t / "in", "IMG_0009", 9)[:2]]}, InputError, "do not have the same bands: 3 is"
    ),
    "another camera": (
        lambda p, t: {
            "paths": [*p, *(save(t / f"B_{k}.tif", seen(9, RIG[k - 1])[:, :200]) for k in (1, 2, 3))]
        },
        InputError, "have 400 by 200 pixels and 400 by 300 pixels",
    ),
    "threads": (lambda p, _: {"paths": p, "matching": georeg.MatchOptions(threads=0)}, InputError, "--threads is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_before_any_work(
    name: str, paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("georeg.bands.match_onto", lambda *_: pytest.fail("work was done"))
    make, kind, text = REFUSED[name]
    given = make(paths, tmp_path)
    with pytest.raises(kind, match=text):
        georeg.align_bands(given.pop("paths"), **given)


def test_nothing_is_replaced_unasked(paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = georeg.align_bands(paths, matching=FEW)
    out = tmp_path / "out.tif"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        found.write(out)
    assert out.read_bytes() == b"precious"
    with pytest.raises(OutputError, match="would replace"):
        found.write(paths[1])
    monkeypatch.setattr("georeg.bands.match_onto", lambda *_: pytest.fail("work was done"))
    assert main(["bands", *paths, "-o", str(out), *QUICK]) == 1


def test_without_an_output_they_are_only_measured(paths: list[str], folder: Path, capsys: Capture) -> None:
    before = sorted(folder.iterdir())
    assert main(["bands", *paths, *QUICK, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["type"], values["onto"], values["written"]) == ("georeg.BandAlignment", 1, {})
    assert [one["alignment"] and one["alignment"]["model"]["kind"] for one in values["bands"]] == [
        None, "homography", "homography"
    ]  # fmt: skip
    assert values["captures"][0]["bands"][1]["n_agreeing"] > 20
    assert sorted(folder.iterdir()) == before


# --- a real camera --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not ORCHARD.is_dir(), reason="imagery is not here")
def test_the_orchard_camera_is_put_right_to_a_pixel(tmp_path: Path) -> None:
    truth = json.loads((DATA / "truth" / "micasense-orchard.json").read_text())["IMG_0001"]
    found = georeg.align_bands(sorted(ORCHARD.glob("IMG_0001_*.tif")))
    corners, flip = np.array([[0, 0], [1280, 0], [1280, 960], [0, 960]], float), np.array([1, -1])
    for number, model in enumerate(found.models[1:], 2):
        right = moved(np.array(truth[f"band{number}"]["H_band_to_band1"]), corners - 0.5) + 0.5
        assert np.hypot(*(model(corners * flip) * flip - right).T).max() < 1.0
    found.write(tmp_path / "stacked.tif")
    assert opened(tmp_path / "stacked.tif")[2]["count"] == 5
