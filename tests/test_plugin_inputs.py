"""What can be given to the panel: web maps and other layers that only QGIS reads, areas, masks, distances, many targets."""

from __future__ import annotations

import html
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import served
from tiles import write_tiles

from georeg.parser import parsed

TESTS = Path(__file__).resolve().parent
FOLDER = TESTS.parent / "qgis_plugin"
if not FOLDER.is_dir():
    pytest.skip("the plugin is not part of this source", allow_module_level=True)
sys.path[:0] = [str(FOLDER), str(TESTS / "qgis")]

from desktop import missing, play_inputs  # noqa: E402
from georeg_qgis import grids, scenes  # noqa: E402

PYTHON = "/usr/bin/python3"
TRUTH = json.loads((TESTS.parent / "sample_tiles" / "truth.json").read_text())["pairs"]["shift"]
SHIFT = (TRUTH["model"]["coefficients_x"][0], TRUTH["model"]["coefficients_y"][0])
BOUNDS = (299640.0, 5768440.0, 304760.0, 5773560.0)
"""Of the sample reference."""
TARGET_CENTRE = (302590.0, 5770610.0)
pytestmark = pytest.mark.xdist_group("qgis")
Found = dict[str, Any]


# --- grids and distances --------------------------------------------------------------------------------------------------

lengths = st.floats(1, 1e6, allow_nan=False)
places = st.floats(-1e7, 1e7, allow_nan=False)


@given(places, places, lengths, lengths, st.floats(0.1, 100), st.integers(10_000, 10_000_000))
def test_a_picture_is_cut_along_the_pixels_of_its_tiles_and_covers_what_is_wanted(
    x: float, y: float, width: float, height: float, pixel: float, most: int
) -> None:
    natives = [0.25 * 2**k for k in range(22)]
    box = (x, y, x + width, y + height)
    grid = grids.picture_grid(box, pixel, natives, (-2e7, 2e7), most)
    assert grid.pixel_x == grid.pixel_y
    assert grid.pixel_x in natives
    assert grid.n_px <= most
    for edge, origin in ((grid.x, -2e7), (grid.y, 2e7)):
        assert (edge - origin) / grid.pixel_x == pytest.approx(round((edge - origin) / grid.pixel_x), abs=1e-6)
    slack = 1e-5 * grid.pixel_x
    assert grid.box[0] <= box[0] + slack
    assert grid.box[1] <= box[1] + slack
    assert grid.box[2] >= box[2] - slack
    assert grid.box[3] >= box[3] - slack
    finer = [size for size in natives if size < grid.pixel_x]
    wanted = max([size for size in natives if size <= 1.05 * pixel], default=natives[0])
    assert grid.pixel_x >= wanted
    assert grid.pixel_x == wanted or (width / finer[-1] + 2) * (height / finer[-1] + 2) > most


@given(places, places, lengths, lengths, st.floats(0.1, 100), st.integers(10_000, 10_000_000))
def test_a_picture_without_tiles_is_as_fine_as_the_other_raster_or_as_fine_as_may_be(
    x: float, y: float, width: float, height: float, pixel: float, most: int
) -> None:
    grid = grids.picture_grid((x, y, x + width, y + height), pixel, [], (0.0, 0.0), most)
    assert grid.pixel_x >= pixel
    assert grid.pixel_x == pixel or width * height / pixel**2 > 0.9 * most


@given(st.integers(1, 500), st.integers(1, 500), st.floats(0.1, 50), st.data())
def test_a_raster_is_cut_along_its_own_pixels(columns: int, rows: int, pixel: float, data: Any) -> None:
    whole = (1000.0, 2000.0, 1000.0 + columns * pixel, 2000.0 + rows * pixel)
    shares = sorted(data.draw(st.lists(st.floats(-0.2, 1.2), min_size=2, max_size=2, unique=True)))
    box = tuple(whole[k % 2] + shares[k // 2] * (whole[k % 2 + 2] - whole[k % 2]) for k in range(4))
    grid = grids.own_grid(box, whole, columns, rows)  # type: ignore[arg-type]
    assert grid.columns <= columns
    assert grid.rows <= rows
    left = (grid.x - whole[0]) / pixel
    assert left == pytest.approx(round(left), abs=1e-6)
    inside = grids.common(box, whole)  # type: ignore[arg-type]
    if inside is not None:
        slack = 1e-5 * pixel
        assert grid.box[0] <= inside[0] + slack
        assert grid.box[3] >= inside[3] - slack
        assert grid.columns * pixel < inside[2] - inside[0] + 2 * pixel + slack


@given(st.floats(0, 1e5), st.floats(0.01, 100))
def test_a_distance_that_was_clicked_is_searched_for_with_a_margin(distance: float, gsd: float) -> None:
    search = grids.search_m(distance, gsd)
    assert search >= max(1.5 * distance, distance + 10 * gsd) * (1 - 1e-9)
    assert search <= 1.2 * max(1.5 * distance, distance + 10 * gsd)
    assert len(f"{search:.6g}".replace(".", "").strip("0")) <= 2 or search >= 1e6


# --- rows of a batch ------------------------------------------------------------------------------------------------------


def test_what_failed_stands_first_and_none_is_missing(shift_alignment: Any) -> None:
    fine = {"target": "a.tif", "outcome": "aligned", "output": "o/a.tif", "alignment": shift_alignment.to_dict()}
    error = {"type": "MatchError", "message": "nothing fits; lower --window-px", "exit_code": 1}
    bad = {"target": "/f/b.tif", "outcome": "refused", "output": None, "alignment": None, "error": error}
    rows = scenes.scene_rows(
        {"scenes": [{**fine, "error": None}, bad]}, lambda text: text.replace("--window-px", "'W'")
    )
    assert [row.name for row in rows] == ["b.tif", "a.tif"]
    assert rows[0].why == "Nothing fits; lower 'W'."
    assert (rows[0].grade, rows[1].grade) == ("bad", "good")
    assert f"{shift_alignment.after.ce90:.3g} m" in rows[1].ce90
    assert scenes.headline(rows) == "1 of 2 scenes not aligned."
    failed = {**bad, "outcome": "failed"}
    assert scenes.scene_rows({"scenes": [failed]})[0].verdict == "Failed"
    limit = {**fine, "outcome": "over a limit", "error": {**error, "type": "LimitError"}}
    assert scenes.scene_rows({"scenes": [limit]})[0].grade == "bad"


def test_rasters_of_a_folder_leave_out_the_reference_and_what_is_none(tmp_path: Path) -> None:
    for name in ("b.TIF", "a.tif", "reference.tif", "notes.txt", ".hidden.tif", "a.tif.aux.xml"):
        (tmp_path / name).touch()
    (tmp_path / "folder.tif").mkdir()
    found = scenes.rasters_in(str(tmp_path), but=str(tmp_path / "reference.tif"))
    assert [Path(path).name for path in found] == ["a.tif", "b.TIF"]


def test_the_folder_of_what_is_written_is_one_that_is_not_there(tmp_path: Path) -> None:
    target = str(tmp_path / "a.tif")
    first = scenes.output_folder(target)
    assert Path(first) == tmp_path / "aligned"
    Path(first).mkdir()
    assert Path(scenes.output_folder(target)) == tmp_path / "aligned_2"
    assert not scenes.output_folder("https://host/a.tif").startswith("https")


# --- inside QGIS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deaf() -> Iterator[str]:
    """An address where nobody ever answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{{z}}/{{x}}/{{y}}.png"


def half_of_the_reference(path: Path) -> None:
    """Its western half, as a polygon."""
    left, bottom, right, top = BOUNDS
    middle = (left + right) / 2
    ring = [[left, bottom], [middle, bottom], [middle, top], [left, top], [left, bottom]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, shift_pair: tuple[str, str], deaf: str) -> Found:
    """What plugin_inputs_driver.py prints."""
    folder = tmp_path_factory.mktemp("inputs")
    folder.chmod(0o700)
    environment = {
        "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PATH": os.defpath, "LANG": "C.UTF-8",
        "QT_QPA_PLATFORM": "offscreen", "GEOREG_PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    probe = [PYTHON, "-c", "import qgis.core, osgeo.gdal"]
    if not Path(PYTHON).exists() or subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:
        pytest.skip("QGIS's Python is not installed")
    data, many, tiles = (folder / name for name in ("data", "many", "tiles"))
    for made in (data, many, tiles):
        made.mkdir()
    reference, target = (str(shutil.copy(path, data)) for path in shift_pair)
    shutil.copy(target, many / "a_good.tif")
    shutil.copy(Path(shift_pair[0]).with_name("polynomial_target.tif"), many / "b_elsewhere.tif")
    (many / "c_broken.tif").write_bytes(b"no raster")
    half_of_the_reference(folder / "half.geojson")
    write_tiles(reference, tiles, range(12, 16))
    with served(tiles) as server:
        job = {
            "plugin": str(FOLDER), "folder": str(folder), "reference": reference, "target": target, "deaf": deaf,
            "tiles": server.url("{z}/{x}/{y}.png"), "empty": server.url("none/{z}/{x}/{y}.png"), "many": str(many),
            "half": str(folder / "half.geojson"),
        }  # fmt: skip
        done = subprocess.run(
            [PYTHON, str(TESTS / "plugin_inputs_driver.py"), json.dumps(job)],
            env=environment, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
    assert done.stdout, done.stderr[-3000:]
    seen: Found = json.loads(done.stdout.splitlines()[-1])
    assert "error" not in seen, seen["error"]
    return {**seen, "folder": folder}


def said(text: str) -> str:
    """Of a label, without its markup."""
    return html.unescape(text).replace("\u2060", "").replace("\u200b", "")


def moved(run: Found) -> tuple[float, float]:
    """By how much the centre of the corrected raster lies elsewhere than that of the target, metres."""
    x0, dx, rx, y0, ry, dy = run["transform"]
    columns, rows = run["size"]
    x, y = x0 + columns / 2 * dx + rows / 2 * rx, y0 + columns / 2 * ry + rows / 2 * dy
    return x - TARGET_CENTRE[0], y - TARGET_CENTRE[1]


def test_a_single_file_is_put_onto_the_web_map_below_it(found: Found) -> None:
    assert found["guess"] == ["Base & map", "target"]
    line = said(found["before"])
    assert "“Base & map” is a web map" in line
    assert "exported for this area first" in line
    assert "1.62 of which are 1 m on the ground" in line  # 1 / cos 52°: lengths on the web's map are no metres


def test_a_raster_is_aligned_to_a_web_map_as_to_the_file_that_it_shows(found: Found) -> None:
    run = found["basemap"]
    assert "proven on check points" in run["verdict"]
    assert run["crs"] == "32633"
    assert moved(run) == pytest.approx(SHIFT, abs=0.1 * TRUTH["gsd_m"])
    assert f"exported for this area: {run['reference']}" in said(run["line"])


def test_a_web_map_as_the_target_is_written_into_the_folder_of_the_user(found: Found) -> None:
    run = found["web target"]
    assert "check points" in run["verdict"]
    assert run["displacement"] == pytest.approx((0, 0), abs=0.1 * TRUTH["gsd_m"])  # it shows the reference
    assert Path(run["output"]) == found["folder"] / "Base_map_aligned.tif"


def test_the_export_of_a_web_map_does_not_hold_the_window_up(found: Found) -> None:
    for name in ("basemap", "basemap again", "memory"):
        assert found[name]["busy_s"] < 0.3, name
    assert found["many"]["busy_s"] < 0.3


def test_an_export_is_used_again_and_lives_as_long_as_a_result_of_it(found: Found) -> None:
    assert len(found["kept"]) == 1
    assert found["basemap again"]["reference"] == found["basemap"]["reference"]
    assert found["basemap again"]["log"].count("Exporting “Base & map”") == 1
    assert found["kept by the first"] == found["kept"]
    assert found["kept after undo"] == []


def test_cancelling_an_export_takes_less_than_a_second_and_leaves_no_file(found: Found) -> None:
    assert found["cancel"]["seconds"] < 1
    assert found["cancel"]["ready"]
    assert "No file was changed" in found["cancel"]["verdict"]


def test_a_web_map_that_shows_nothing_is_called_so(found: Found) -> None:
    assert "gave no picture of this area" in found["empty"]["verdict"]
    assert found["empty left"] == []


@pytest.mark.parametrize(
    ("name", "why"), [("memory", "is not a file that georeg can open"), ("assigned", "has its CRS in QGIS only")]
)
def test_a_raster_that_only_qgis_can_read_is_copied_pixel_by_pixel(found: Found, name: str, why: str) -> None:
    assert why in said(found[f"{name} before"])
    assert "512 × 512 pixels" in said(found[f"{name} before"])
    assert found[name]["displacement"] == pytest.approx(SHIFT, abs=0.1 * TRUTH["gsd_m"])


@pytest.mark.parametrize("area", ["canvas", "drawn"])
def test_tie_points_come_from_the_area_alone(found: Found, area: str) -> None:
    run = found["area"][area]
    left, bottom, right, top = run["box"]
    assert len(run["ties"]) > 20
    assert all(left <= x <= right and bottom <= y <= top for x, y in run["ties"])
    parsed([*run["command"].split()[1:]])


def test_of_a_polygon_layer_only_the_selected_polygons_count(found: Found) -> None:
    assert "all 2 polygons" in found["area"]["all"]
    assert "the selected polygon" in found["area"]["selected"]
    run = found["area"]["layer"]
    assert len(run["ties"]) > 20
    assert max(x for x, _ in run["ties"]) <= run["x"]


def test_a_drawn_area_stays_in_sight_and_esc_gives_it_up(found: Found) -> None:
    area = found["area"]
    assert area["esc"] == [True, False, "Nothing is drawn yet."]
    assert "none is drawn yet" in area["nothing drawn"]["verdict"]
    assert area["tool after"]
    assert area["band"] == pytest.approx(area["drawn"]["box"], abs=15)  # a click is a pixel of the screen


def test_a_folded_section_says_that_something_in_it_counts(found: Found) -> None:
    assert found["area"]["title"] == found["limits gone"] == "Where to look"
    assert found["area"]["limited"] == "Where to look (limited)"


@pytest.mark.parametrize(("name", "flag"), [("mask of polygons", "--ref-mask"), ("mask in memory", "--tgt-mask")])
def test_nothing_is_matched_under_a_mask(found: Found, name: str, flag: str) -> None:
    run = found[name]
    assert flag in run["command"]
    assert len(run["ties"]) > 20
    assert min(x for x, _ in run["ties"]) > run["x"] - 100


def test_a_web_map_is_no_mask(found: Found) -> None:
    assert "is a web map, whose colours are no mask" in said(found["mask of a web map"]["verdict"])


def test_a_distance_is_told_in_both_units_and_measured_by_two_clicks(found: Found) -> None:
    search = found["search"]
    assert (search["m"], search["suffix"], search["words"]) == (70.0, " m", ["--max-shift-m", "70"])
    assert "in the reference" in search["hint"]
    metres, pixels, note, tool_is_back = search["measured"]
    assert metres == pytest.approx(1.5 * 500, rel=0.05)
    assert pixels == pytest.approx(metres / 10)
    assert "Measured" in note
    assert tool_is_back


def test_many_targets_are_aligned_and_those_that_fail_stand_first_with_the_reason(found: Found) -> None:
    many = found["many"]
    assert [Path(path).name for path in many["targets"]] == ["a_good.tif", "b_elsewhere.tif", "c_broken.tif"]
    assert many["without the reference"] == 3
    assert many["stages"] == ["scenes"]
    failed, broken, good = many["rows"]
    assert [row[0] for row in many["rows"]] == ["b_elsewhere.tif", "c_broken.tif", "a_good.tif"]
    assert failed[1] == broken[1] == "bad"
    assert "could be confirmed" in failed[5]
    assert "cannot be opened as a raster" in broken[5]
    assert good[2] == "Aligned"
    assert "2 of 3 scenes not aligned" in many["headline"]
    assert not [row[5] for row in many["rows"] if "--" in row[5]]  # options are called as they are on screen


def test_results_of_many_are_a_group_and_a_row_leads_to_its_layer(found: Found) -> None:
    many = found["many"]
    assert many["group"] == ["georeg: batch of 3", ["a_good"]]
    assert [n for _, n, _ in many["extent"]] == [
        2,
        2,
        2,
    ]  # the target of the first row was added, the second is no raster
    assert many["extent"][0][2] != many["extent"][2][2]
    assert "a_good.tif" in many["written"]
    assert Path(many["next folder"]).name == "aligned_2"


def test_layers_that_are_ticked_become_targets(found: Found) -> None:
    assert found["picker"] == ["another", "target"]  # neither the reference nor the web map
    assert [Path(path).name for path in found["picked"]] == ["a_good.tif"]


def test_many_targets_can_be_aligned_to_a_web_map(found: Found) -> None:
    by = dict(found["many"]["by basemap"])
    assert by["a_good.tif"] == "Aligned"
    assert len(found["many"]["exported"]) == 1


def test_sections_remember_whether_they_are_open(found: Found) -> None:
    assert found["open again"] == [False, True, False]


def test_a_panel_that_is_shut_leaves_nothing(found: Found) -> None:
    assert not found["folder left"]
    assert found["items left"] == []


# --- on a desktop ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the session that ``qgis/driven_inputs.py`` plays has found."""
    if absent := missing():
        pytest.skip(f"{', '.join(absent)} not installed")
    seen = play_inputs(tmp_path_factory.mktemp("desktop-inputs"))
    assert "error" not in seen, seen["error"]
    return seen


def test_one_click_aligns_to_a_web_map(played: Found) -> None:
    assert played["align_clicks"] == 1
    assert "proven on check points" in played["verdict"]
    assert "was exported for this area" in played["line after"]
    assert [name for name in played["exported"] if name.endswith(".tif")]
    assert played["exported after undo"] == []
    assert played["python_errors"] == []


def test_everything_fits_into_a_narrow_panel_and_never_holds_the_window_up(played: Found) -> None:
    narrow = [name for name in played["dock_px"] if name.endswith(" 300")]
    assert len(narrow) > 4
    assert all(played["dock_px"][name] == 300 for name in narrow)
    assert all(px <= 0 for px in played["too_wide_px"].values()), played["too_wide_px"]
    for phase in set(played["busy_s"]) - {"start"}:
        assert played["busy_s"][phase] < 0.3, (phase, played["busy_s"])


def test_a_polygon_is_drawn_and_a_distance_measured_by_hand(played: Found) -> None:
    assert played["tool gone"]
    assert "searched within" in played["measured"]
    assert [row[1] for row in played["rows"]] == ["Refused", "Refused", "Aligned", "Aligned"]
