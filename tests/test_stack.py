"""Stacks: ten dates of one ground that change, of which some do not look like the reference, each displaced by a known amount."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import dates
import jsonschema
import numpy as np
import pytest
import rasterio
from pyproj import CRS, Transformer

import georeg
from georeg.cli import main
from georeg.errors import InputError, MatchError, OutputError
from georeg.listing import listed
from georeg.options import FitOptions, InputOptions, LimitOptions, MatchOptions, StackOptions, WriteOptions
from georeg.report.schema import schema_text
from georeg.stack import adjusted, measured_pairs
from georeg.stack_choice import KINDS
from georeg.stack_inputs import entries_of

pytestmark = pytest.mark.xdist_group("stack")  # forty-five pairs are measured once
N, SIDE = 10, 256
SNOW = (4, 8)
"""Dates that look nothing like the reference."""
BAD = (2, 5)
WRONG_PX = (1.5, -1.0)
"""What is added to the tie points of one pair."""


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    """Ten dates, what their georeferencing is wrong by, and all pairs measured."""
    folder = tmp_path_factory.mktemp("ten")
    wrong = dates.displacements(N)
    paths = dates.written(folder, dates.grounds(N, 2 * SIDE + 40, snow=SNOW), wrong, SIDE)
    options = StackOptions(reference=paths[0])
    entries, crs = entries_of(paths, None, InputOptions(), options)
    pairs = measured_pairs(entries, crs, InputOptions(), MatchOptions(), FitOptions(), options)
    return paths, wrong, entries, crs, pairs


def solved(ten, pairs=None):
    _, _, entries, crs, measured = ten
    return adjusted(entries, pairs or measured, crs, KINDS, LimitOptions(), InputOptions())


def error_px(model, wrong_xy):
    """Root mean square over the ground."""
    reach = SIDE * dates.GSD
    x, y = dates.ORIGIN
    at = np.array([[x + a * reach, y - b * reach] for a in (0.1, 0.5, 0.9) for b in (0.1, 0.5, 0.9)])
    return float(np.sqrt(((model.displacement(at) - wrong_xy) ** 2).sum(axis=1).mean())) / dates.GSD


def test_joint_errors_are_at_most_sixty_percent_of_those_scene_by_scene(ten):
    wrong, measured = ten[1], ten[4]
    alone = {p.link[1]: error_px(p.fitted.model, wrong[p.link[1]]) for p in measured if p.link[0] == 0 and p.fitted}
    stack = solved(ten)
    joint = {
        k: error_px(scene.model, wrong[k]) for k, scene in enumerate(stack.scenes) if k > 0 and scene.model is not None
    }
    both = sorted(alone.keys() & joint.keys())
    assert len(both) >= 4
    ratio = np.sqrt(np.mean([joint[k] ** 2 for k in both]) / np.mean([alone[k] ** 2 for k in both]))
    assert ratio < 0.6


def test_dates_that_look_nothing_like_the_reference_are_solved_through_others(ten):
    wrong, measured = ten[1], ten[4]
    direct = {p.link[1]: p.fitted for p in measured if p.link[0] == 0}
    stack = solved(ten)
    for k in SNOW:
        assert direct.get(k) is None
        assert error_px(stack.scenes[k].model, wrong[k]) < 0.1


def test_stated_uncertainty_is_that_of_the_errors(ten):
    wrong, stack = ten[1], solved(ten)
    z2 = [(error_px(s.model, wrong[k]) / s.sigma_px) ** 2 / 2 for k, s in enumerate(stack.scenes) if k > 0]
    assert 0.5 < np.sqrt(np.mean(z2)) < 1.6, "nine errors that have the reference's own in common"


def test_a_pair_that_is_proven_by_itself_but_wrong_is_found_and_reported(ten):
    wrong, measured = ten[1], ten[4]
    planted = [_moved(pair) if pair.link == BAD else pair for pair in measured]
    stack = solved(ten, planted)
    (bad,) = stack.contradicting()
    assert (bad.reference, bad.target) == BAD
    assert bad.misclosure_px == pytest.approx(np.hypot(*WRONG_PX), abs=0.2)
    assert "1 contradict the others" in stack.summary()
    for k, scene in enumerate(stack.scenes[1:], 1):
        assert error_px(scene.model, wrong[k]) < 0.1


def _moved(pair):
    points = pair.fitted.points
    ref_xy = points.ref_xy + np.array(WRONG_PX) * dates.GSD
    return replace(pair, fitted=replace(pair.fitted, points=replace(points, ref_xy=ref_xy)))


def test_what_is_written_is_what_the_published_schema_says(ten):
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    measured = [replace(pair, fitted=None, error="none") if 9 in pair.link else pair for pair in ten[4]]
    for pairs in (None, measured):
        values = json.loads(solved(ten, pairs).to_json())
        validator.validate(values)
        values["scenes"][3]["sigma_m"] = 1.0
        assert not validator.is_valid(values)


def test_loops_close(ten):
    loops = solved(ten).loops
    assert loops.n > 20
    assert loops.median_px < 0.1


def test_without_a_reference_the_mean_of_all_stays(ten):
    paths, wrong, _, crs, measured = ten
    entries, _ = entries_of(paths, None, InputOptions(), StackOptions())
    stack = adjusted(entries, measured, crs, KINDS, LimitOptions(), InputOptions())
    assert stack.datum == "mean of the stack"
    for k, scene in enumerate(stack.scenes):
        assert error_px(scene.model, wrong[k] - wrong.mean(axis=0)) < 0.1


def test_a_date_that_is_added_later_is_where_the_whole_run_has_it(ten, tmp_path):
    paths, measured = ten[0], ten[4]
    new = 7
    nine = [pair for pair in measured if new not in pair.link]
    earlier = solved(ten, nine)
    assert earlier.scenes[new].error is not None, "nothing ties it to the others yet"
    kept = tmp_path / "stack.json"
    kept.write_text(earlier.to_json())
    append = StackOptions(append=str(kept))
    stack = georeg.align_stack([paths[new]], stack=append)
    whole = solved(ten)
    added = next(scene for scene in stack.scenes if scene.path == paths[new])
    for path in paths[1:]:
        if path != paths[new]:
            before = next(s for s in earlier.scenes if s.path == path)
            after = next(s for s in stack.scenes if s.path == path)
            assert after.held
            assert after.model == before.model, "what was done stays"
    sigma = np.hypot(added.sigma_px, whole.scenes[new].sigma_px)
    at = added.model.displacement(np.array([dates.ORIGIN]) + [[1280.0, -1280.0]])
    difference = at - whole.scenes[new].model.displacement(np.array([dates.ORIGIN]) + [[1280.0, -1280.0]])
    assert np.hypot(*difference[0]) / dates.GSD < 3 * sigma


def test_dates_that_are_aligned_already_stay(tmp_path):
    paths = dates.written(tmp_path, dates.grounds(5, 2 * SIDE + 40), np.zeros((5, 2)), SIDE)
    for reference in (None, paths[0]):
        stack = georeg.align_stack(paths, stack=StackOptions(reference=reference))
        assert not stack.refused
        for scene in stack.scenes:
            assert error_px(scene.model, np.zeros(2)) < 0.02


def test_a_command_writes_scenes_that_agree_and_what_it_did(ten, tmp_path, capsys):
    paths, wrong = ten[0], ten[1]
    out = tmp_path / "out"
    few = [paths[k] for k in (1, 2, 3)]
    assert main(["stack", *few, "--reference", paths[0], "-o", str(out), "--quiet"]) in (0, None)
    said = capsys.readouterr().out
    assert "3 of 3 scenes corrected" in said
    assert "loops close to" in said
    for k in (1, 2, 3):
        with rasterio.open(out / Path(paths[k]).name) as file, rasterio.open(paths[k]) as source:
            moved = np.array([file.transform.c, file.transform.f]) - [source.transform.c, source.transform.f]
            assert np.hypot(*(moved - wrong[k])) < 0.1 * dates.GSD
            assert file.checksum(1) == source.checksum(1), "no pixel is touched"
    told = json.loads((out / "stack.json").read_text())
    assert [scene["outcome"] for scene in told["scenes"]] == ["held", "aligned", "aligned", "aligned"]
    assert told["loops"]["n"] == 4
    assert main(["stack", *few, "--reference", paths[0], "-o", str(out), "--quiet"]) == 1, "nothing is replaced"
    assert "exists" in capsys.readouterr().err


def test_a_run_that_was_cut_off_measures_no_pair_again(ten, tmp_path, monkeypatch):
    paths = ten[0][1:4]
    kept = tmp_path / "pairs.jsonl"
    options = StackOptions(pairs=str(kept))
    whole = georeg.align_stack(paths, stack=options)
    lines = kept.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    kept.write_bytes(b"".join(lines[:2]) + lines[2][:500])
    measured = []
    usual = georeg.stack_pairs.match_onto
    monkeypatch.setattr("georeg.stack_pairs.match_onto", lambda *a, **k: (measured.append(a[1]), usual(*a, **k))[1])
    again = georeg.align_stack(paths, stack=options)
    assert len(measured) == 1
    assert again.to_json() == whole.to_json()
    shutil.copy(paths[0], tmp_path / "other.tif")
    georeg.align_stack([str(tmp_path / "other.tif"), *paths[1:]], stack=options)
    assert len(measured) == 3, "pairs of another file are measured"


def test_a_scene_that_cannot_be_used_stops_none_of_the_others(ten, tmp_path, capsys):
    paths = ten[0]
    corrupt, elsewhere, blank = tmp_path / "corrupt.tif", tmp_path / "elsewhere.tif", tmp_path / "blank.tif"
    corrupt.write_bytes(Path(paths[1]).read_bytes()[:3000])
    _rewritten(paths[1], elsewhere, transform=rasterio.Affine(10, 0, 900_000, 0, -10, 100_000))
    _rewritten(paths[1], blank, image=np.full((SIDE, SIDE), 255, np.uint8))
    given = [*paths[1:4], str(corrupt), str(elsewhere), str(blank)]
    assert main(["stack", *given, "-o", str(tmp_path / "out"), "--quiet"]) == 1
    lines = capsys.readouterr().out.splitlines()
    for name, reason in (("corrupt", "cannot be"), ("elsewhere", "shares no ground"), ("blank", "none of its")):
        (line,) = [line for line in lines if line.startswith(name)]
        assert reason in line
    assert "3 of 6 scenes corrected" in lines[-1]
    assert sorted(p.name for p in (tmp_path / "out").glob("*.tif")) == sorted(Path(p).name for p in paths[1:4])


def _rewritten(source, path, image=None, **profile):
    with rasterio.open(source) as file:
        pixels, kept = file.read() if image is None else image[None], file.profile
    with rasterio.open(path, "w", **kept | profile) as file:
        file.write(pixels)


def test_scenes_of_another_zone_are_put_into_one_frame(tmp_path):
    """A scene in the neighbouring UTM zone, resampled by GDAL to it, which is a displacement of its own here."""
    ground, wrong = dates.grounds(3, 2 * SIDE + 40), dates.displacements(3, seed=2)
    paths = dates.written(tmp_path, ground, wrong, SIDE)
    x, y = dates.ORIGIN
    middle = np.array([x + SIDE * 5, y - SIDE * 5])
    there = Transformer.from_crs(dates.CRS, "EPSG:32632", always_xy=True)
    corner = np.array(there.transform(*(middle + [-SIDE * 5, SIDE * 5])))
    a = np.array(there.transform(*(middle + [-SIDE * 5 + 10, SIDE * 5]))) - corner
    b = np.array(there.transform(*(middle + [-SIDE * 5, SIDE * 5 - 10]))) - corner
    turned = rasterio.Affine(a[0], b[0], corner[0], a[1], b[1], corner[1])
    _rewritten(paths[2], tmp_path / "zone.tif", transform=turned, crs="EPSG:32632")
    stack = georeg.align_stack([paths[1], str(tmp_path / "zone.tif")], stack=StackOptions(reference=paths[0]))
    assert CRS.from_wkt(stack.crs) == CRS.from_user_input(dates.CRS)
    assert error_px(stack.scenes[1].model, wrong[1]) < 0.05
    assert error_px(stack.scenes[2].model, wrong[2]) < 0.05


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--model", "local"], "cannot be adjusted jointly"),
        (["--links", "0"], "--links is 0"),
        (["--reference", "{0}", "--append", "{0}"], "leave one of them out"),
        (["--in-place"], "give either -o FILE or --in-place"),
        (["--uncertainty", "{1}"], "not of a stack"),
    ],
)
def test_what_cannot_be_asked_is_refused(ten, tmp_path, capsys, words, error):
    paths = ten[0]
    words = [word.format(paths[0], tmp_path / "new.tif") for word in words]
    try:
        code = main(["stack", *paths[1:3], "-o", str(tmp_path / "out"), *words])
    except SystemExit as exc:
        code = exc.code
    assert code in (1, 2)
    assert error in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*.tif"))


def test_errors_of_python_say_what_to_do(ten, tmp_path):
    paths = ten[0]
    with pytest.raises(InputError, match="1 scenes can be used, 2 are needed"):
        georeg.align_stack(paths[:1])
    with pytest.raises(InputError, match="is given 2 times"):
        georeg.align_stack([paths[0], paths[0]])
    with pytest.raises(InputError, match="3 dates of 2 scenes"):
        georeg.align_stack(paths[:2], dates=[None] * 3)
    (tmp_path / "not.json").write_text('{"type": "georeg.Alignment"}')
    with pytest.raises(InputError, match="not a stack of georeg"):
        georeg.align_stack(paths[:2], stack=StackOptions(append=str(tmp_path / "not.json")))
    with pytest.raises(MatchError, match="none of 1 pairs of scenes could be proven"):
        georeg.align_stack([paths[0], paths[4]])
    stack = georeg.align_stack(paths[1:3])
    (tmp_path / "one").mkdir()
    shutil.copy(paths[1], tmp_path / "one")
    with pytest.raises(OutputError, match="exists"):
        georeg.write_stack(stack, tmp_path / "one", WriteOptions())


def test_lists_of_scenes_tell_their_dates(ten, tmp_path, monkeypatch):
    paths = ten[0]
    folder = Path(paths[0]).parent
    assert [one.date for one in listed([str(folder)])] == [datetime(2015 + k, 7, 1) for k in range(N)]
    assert [one.path for one in listed([str(folder / "date_201*.tif")])] == paths[:5]
    table = tmp_path / "scenes.csv"
    rows = [f"{Path(path).name},20{20 + k}-01-02T10:00:00+02:00" for k, path in enumerate(paths[:2])]
    table.write_text("\n".join(["path,date", *rows]))
    for path in paths[:2]:
        shutil.copy(path, tmp_path)
    found = listed([str(table)])
    assert [one.date for one in found] == [datetime(2020, 1, 2, 8), datetime(2021, 1, 2, 8)]
    assert [Path(one.path).parent for one in found] == [tmp_path] * 2
    table.write_text("name,date\na.tif,2020-01-01\n")
    with pytest.raises(InputError, match="no column called path"):
        listed([str(table)])
    table.write_text("path,date\na.tif,yesterday\n")
    with pytest.raises(InputError, match=r"line 2 of .* 'yesterday' is no date"):
        listed([str(table)])
    with pytest.raises(InputError, match="no file is called like"):
        listed([str(tmp_path / "*.jp2")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no rasters"):
        listed([str(tmp_path / "empty")])
