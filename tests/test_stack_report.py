"""The report of a stack: its figures are those of the stack, names are quoted, and nothing in it reaches out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import pytest
from test_report_page import KNOWN, NAMES, Page, as_number, at

import georeg
from georeg.cli import main
from georeg.errors import InputError, LimitError, MatchError, OutputError
from georeg.models import identity
from georeg.models.polynomial import Translation
from georeg.report.stack_charts import by_number, date_ticks, day
from georeg.report.stack_page import stack_html, write_stack_report
from georeg.report.stack_values import in_order, short_names, stack_values
from georeg.stack_result import Loops, Stack, StackPair, StackScene

HOSTILE = "a\"><script>alert(1)</script><b '&amp;.tif"
START = datetime(2019, 3, 1)
BAD, REFUSED, HANGING = (1, 3), (2, 3), (3, 4)


def made(alignment, n: int, *, dated: bool = True, held: bool = True, refused: tuple[int, ...] = ()) -> Stack:
    """``n`` scenes, the first of which is held, each moved by other amounts; pairs of each with the three after it."""
    gsd = alignment.after.gsd
    scenes = []
    for k in range(n):
        date = START + timedelta(days=23 * k) if dated else None
        moved = Translation((500_000.0, 5_600_000.0), 1.0, np.array([[0.5 * k - 3.21, 1.37 - 0.25 * k]]))
        after = replace(alignment.after, rmse=(0.11 + 0.013 * k) * gsd, n=40 + k)
        before = replace(alignment.before, rmse=(0.9 + 0.21 * k) * gsd)
        own = replace(alignment, before=before, after=after)
        scene = StackScene(f"/data/scene_{k:02d}.tif", date, moved, 0.021 + 0.004 * k, 3, own)
        if k in refused:
            error = MatchError(f"refused: none of its {k} pairs ties it to the others")
            scene = replace(scene, model=None, sigma_px=None, n_pairs=0, alignment=None, error=error)
        if held and k == 0:
            scene = replace(scene, model=identity(), sigma_px=0.0, n_pairs=0, alignment=None, held=True, error=None)
        scenes.append(scene)
    pairs = tuple(pair(i, j) for i, j in combinations(range(n), 2) if j - i <= 3)
    datum = "reference" if held else "mean of the stack"
    loops = Loops(7, 0.034, 0.081, 0.13) if n > 2 else Loops(0, None, None, None)
    return Stack(tuple(scenes), pairs, loops, datum, alignment.points.crs, gsd, 0.017, 0.2)


def pair(i: int, j: int) -> StackPair:
    if (i, j) == BAD:
        return StackPair(i, j, "contradicts the others", 61, 1.73)
    if (i, j) == REFUSED:
        return StackPair(i, j, "refused", error="4 tie points found, 12 needed; widen the search")
    if (i, j) == HANGING:
        return StackPair(i, j, "hangs on no other")
    return StackPair(i, j, "used", 100 + i + j, 0.01 * (1 + i) + 0.003 * j)


@pytest.fixture(scope="module")
def stack(shift_alignment) -> Stack:
    return replace(made(shift_alignment, 6, refused=(5,)), warnings=("one scene is held by one pair alone",))


@pytest.fixture(scope="module")
def read(stack) -> Page:
    return Page(stack_html(stack))


def titles(read: Page, name: str) -> dict[int, list[str]]:
    """Texts that are seen over marks, by the number that the mark has under ``name``."""
    found: dict[int, list[str]] = {}
    for element in read.elements:
        if element["tag"] == "title" and any(name in around for around in element["around"]):
            mark = next(around for around in element["around"] if name in around)
            found.setdefault(int(mark[name]), []).append(element["text"])
    return found


def cells(read: Page, section: str) -> list[list[str]]:
    """Texts of the table in a section, row by row without the heading."""
    rows: list[list[str]] = []
    for element in read.elements:
        ids = {around.get("id") for around in element["around"]}
        if section in ids and element["tag"] == "tr":
            rows.append([])
        elif section in ids and element["tag"] in ("th", "td"):
            rows[-1].append(element)
    return [[cell["text"] for cell in row] for row in rows[1:]]


def matches(told: str, value: float) -> bool:
    """Whether a figure as it is read is the value, but for how it is rounded."""
    number, half = as_number(told.replace("+", ""))
    return abs(number - value) <= half * (1 + 1e-6)


def test_every_figure_in_the_page_is_the_one_in_the_data(stack, read):
    values = json.loads(read.by_id("result")["text"])
    figures = read.having("data-figure")
    assert len(figures) > 80
    for element in figures:
        value = at(values, element["data-figure"])
        if value is None:
            assert element["text"] == "–"
            continue
        value *= at(values, element["data-times"]) if "data-times" in element else 1.0
        assert matches(element["text"], value), (element["data-figure"], element["text"], value)
    for element in read.having("data-text"):
        assert element["text"] == str(at(values, element["data-text"]))
    assert {key: value for key, value in values.items() if key != "report"} == json.loads(stack.to_json())


def test_no_figure_is_told_but_from_the_data(read):
    for element in read.elements:
        around = element["around"]
        if element["tag"] != "#text" or not any(e["tag"] == "main" for e in around):
            continue
        if any({"data-figure", "data-text", "data-part-of", "data-count"} & e.keys() for e in around):
            continue
        if any(KNOWN & set(e.get("class", "").split()) or e["tag"] == "title" for e in around):
            continue
        assert not re.search(r"\d", NAMES.sub("", element["text"])), element["text"]


def test_the_rows_of_the_table_are_the_scenes(stack, read):
    rows = cells(read, "scenes")
    assert len(rows) == len(stack.scenes)
    for scene, row in zip(stack.scenes, rows, strict=True):
        assert row[1:4] == [scene.name, scene.date.date().isoformat(), scene.outcome]
        if scene.alignment is None:
            assert row[7:10] == ["–"] * 3
            continue
        moved, gsd = scene.model.displacement(scene.model.origin_xy)[0], stack.gsd
        before, after = (a.rmse / a.gsd for a in (scene.alignment.before, scene.alignment.after))
        expected = [*moved, before, after, scene.alignment.after.n, scene.sigma_px, scene.sigma_px * gsd, scene.n_pairs]
        assert row[4] == "translation"
        for told, value in zip(row[5:], expected, strict=True):
            assert matches(told, value), (scene.name, told, value)


def test_every_scene_is_drawn_where_its_figures_say(stack, read):
    """The titles of the marks, and that further east is further up."""
    told, refused = titles(read, "data-scene"), titles(read, "data-refused")
    assert set(told) == {k for k, scene in enumerate(stack.scenes) if scene.model is not None}
    assert set(refused) == {5}
    for k, texts in told.items():
        moved = stack.scenes[k].model.displacement([[0.0, 0.0]])[0]
        for text, axis, value in zip(texts, ("east", "north"), moved, strict=True):
            assert text.startswith(f"{stack.scenes[k].name}, {stack.scenes[k].date.date()}: {axis} ")
            figures = re.search(rf"{axis} (\S+) m \((\S+) px\), known to (\S+) m", text).groups()
            for figure, number in zip(
                figures, (value, value / stack.gsd, stack.scenes[k].sigma_px * stack.gsd), strict=True
            ):
                assert matches(figure, number)
    groups = [e for e in read.having("data-scene") if e["data-scene"] != "0"]
    circles = [e for e in read.elements if e["tag"] == "circle" and any(g in e["around"] for g in groups)]
    east, north = circles[: len(circles) // 2], circles[len(circles) // 2 :]
    heights = [[float(c["cy"]) for c in axis] for axis in (east, north)]
    assert heights[0] == sorted(heights[0], reverse=True)
    assert heights[1] == sorted(heights[1])
    places = [float(c["cx"]) for c in east]
    np.testing.assert_allclose(np.diff(places), np.diff(places)[0], atol=0.02)  # dates are equally far from each other


def test_bars_are_one_sigma_to_either_side(stack, read):
    """By the scale that the mean of two marks has."""
    groups = read.having("data-scene")
    east = [e for e in groups if e["data-scene"] in ("1", "4")][:2]
    y, half = [], []
    for group in east:
        inner = [e for e in read.elements if group in e["around"]]
        y.append(float(next(e["cy"] for e in inner if e["tag"] == "circle")))
        top, bottom = re.search(
            r" ([\d.]+)h6m-3 0V([\d.]+)m", next(e["d"] for e in inner if e["tag"] == "path")
        ).groups()
        half.append((float(bottom) - float(top)) / 2)
    moved = [stack.scenes[k].model.displacement([[0.0, 0.0]])[0][0] for k in (1, 4)]
    units = (y[0] - y[1]) / (moved[1] - moved[0])
    np.testing.assert_allclose(half, [stack.scenes[k].sigma_px * stack.gsd * units for k in (1, 4)], atol=0.02)


def test_every_pair_is_a_cell_on_both_sides_of_the_diagonal(stack, read):
    told = titles(read, "data-pair")
    assert set(told) == set(range(len(stack.pairs)))
    for p, pair in enumerate(stack.pairs):
        assert len(told[p]) == 2
        for text in told[p]:
            names = [stack.scenes[k].name for k in (pair.reference, pair.target)]
            assert all(name in text for name in names)
            if pair.misclosure_px is not None:
                assert matches(re.search(r"departs by (\S+) px", text)[1], pair.misclosure_px)
                assert f"{pair.n_points} tie points" in text
    boxes = [
        (next(g for g in e["around"] if "data-pair" in g), e)
        for e in read.elements
        if e["tag"] == "rect" and any("data-pair" in g for g in e["around"])
    ]
    for group, box in boxes:
        state = stack.pairs[int(group["data-pair"])].state
        classes = {"contradicts the others": "contradicts", "refused": "refused", "hangs on no other": "hanging"}
        assert box["class"] == classes.get(state, "used")
        assert ("fill" in box) == (state in ("used", "contradicts the others"))
    frame = next(e for e in read.elements if e.get("class") == "ground-of-cells")
    left, top = float(frame["x"]), float(frame["y"])
    for p in range(len(stack.pairs)):
        one, other = (box for group, box in boxes if group["data-pair"] == str(p))
        places = [(float(box["x"]) - left, float(box["y"]) - top) for box in (one, other)]
        assert places[0] == pytest.approx(places[1][::-1], abs=0.02)
        assert places[0] != pytest.approx(places[1], abs=1)


def test_what_went_wrong_is_said_in_words(stack, read):
    asides = [e["text"] for e in read.elements if e["tag"] == "aside"]
    assert "one scene is held by one pair alone" in asides[0]
    assert "The pair scene_01.tif and scene_03.tif departs from all others by 1.7\u00a0px" in asides[0]
    assert f"scene_05.tif: {stack.scenes[5].error}" in asides[1]
    assert "SOME SCENES REFUSED" in read.by_id("verdict")["text"]
    assert f"{stack.summary()}." in read.by_id("verdict")["text"]
    assert [row[0] for row in cells(read, "unused")] == [
        f"scene_0{i}.tif with scene_0{j}.tif" for i, j in (BAD, HANGING, REFUSED)
    ]
    assert cells(read, "unused")[2][-1] == "4 tie points found, 12 needed; widen the search"


def test_nothing_in_the_page_reaches_out(stack, read):
    for element in read.elements:
        for name in ("src", "href", "action", "data", "srcset"):
            assert element.get(name, "data:").startswith(("data:", "#")), element
    assert not re.search(r"@import|url\((?!#)", stack_html(stack))
    policy = next(e["content"] for e in read.elements if e.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    script = next(e["text"] for e in read.elements if e["tag"] == "script" and "id" not in e)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy


def test_no_name_of_a_file_becomes_markup(stack, read):
    scenes = tuple(replace(scene, path=f"/data/{k}{HOSTILE}") for k, scene in enumerate(stack.scenes))
    scenes = (*scenes[:5], replace(scenes[5], error=InputError(HOSTILE)))
    pairs = tuple(replace(pair, error=HOSTILE) if pair.error else pair for pair in stack.pairs)
    poisoned = Page(stack_html(replace(stack, scenes=scenes, pairs=pairs, warnings=(HOSTILE,))))
    tags = [[e["tag"] for e in page.elements if e["tag"] != "#text"] for page in (read, poisoned)]
    assert tags[0] == tags[1]
    assert cells(poisoned, "scenes")[1][1] == scenes[1].name


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("n", [2, 50])
def test_few_and_many_scenes_are_all_there(shift_alignment, n, dated):
    read = Page(stack_html(made(shift_alignment, n, dated=dated)))
    assert len(cells(read, "scenes")) == n
    assert set(titles(read, "data-scene")) == set(range(n))
    assert set(titles(read, "data-rmse")) == set(range(1, n))
    title = "Corrections over time" if dated and n > 2 else "Corrections"
    assert next(e["text"] for e in read.elements if e.get("id") == "drift-h").startswith(title)
    ticks = [e for e in read.elements if "tick" in e.get("class", "") and "transform" not in e]
    apart_in_columns_and_rows(ticks)


def apart_in_columns_and_rows(ticks):
    """No two labels of one chart stand on each other: those of one line are a label's height or a letter apart."""
    for chart in {id(t["around"][-1]): t["around"][-1] for t in ticks}.values():
        own = [t for t in ticks if t["around"][-1] is chart]
        for one, other in combinations(own, 2):
            if one["x"] == other["x"] and one.get("text-anchor") == other.get("text-anchor"):
                assert abs(float(one["y"]) - float(other["y"])) >= 11, (one["text"], other["text"])
            elif one["y"] == other["y"] and one.get("text-anchor") == other.get("text-anchor") == "middle":
                wide = 3.2 * (len(one["text"]) + len(other["text"]))
                assert abs(float(one["x"]) - float(other["x"])) >= wide, (one["text"], other["text"])


def test_a_stack_of_refused_scenes_alone_says_so(shift_alignment):
    stack = made(shift_alignment, 4, held=False, refused=(0, 1, 2, 3))
    pairs = tuple(StackPair(p.reference, p.target, "refused", error="no texture") for p in stack.pairs)
    stack = replace(stack, pairs=pairs, loops=Loops(0, None, None, None))
    read = Page(stack_html(stack))
    sections = {e["id"] for e in read.elements if e["tag"] == "section"}
    assert sections == {"verdict", "pairs", "scenes", "unused", "provenance"}
    assert "REFUSED" in read.by_id("verdict")["text"]
    for scene in stack.scenes:
        assert f"{scene.name}: {scene.error}" in next(e["text"] for e in read.elements if e["tag"] == "aside")


def test_a_scene_over_a_limit_is_told_apart(shift_alignment):
    stack = made(shift_alignment, 3)
    last = replace(stack.scenes[2], alignment=None, model=None, error=LimitError("CE90 is 0.5 px, over 0.3 px"))
    rows = cells(Page(stack_html(replace(stack, scenes=(*stack.scenes[:2], last)))), "scenes")
    assert rows[2][3] == "over a limit"


def test_a_reference_without_a_date_does_not_hide_those_of_the_scenes(shift_alignment):
    stack = made(shift_alignment, 5)
    read = Page(stack_html(replace(stack, scenes=(replace(stack.scenes[0], date=None), *stack.scenes[1:]))))
    assert set(titles(read, "data-scene")) == {1, 2, 3, 4}
    assert "Held where it is, and not shown as it has no date: scene_00.tif" in read.by_id("drift")["text"]


def test_scenes_stand_by_date_and_without_dates_as_they_were_given(shift_alignment):
    stack = made(shift_alignment, 4)
    turned = replace(stack, scenes=tuple(reversed(stack.scenes)))
    assert in_order(turned) == [3, 2, 1, 0]
    assert by_number(stack_values(turned)) == [3, 2, 1, 0]
    zoned = replace(turned.scenes[0], date=START.replace(tzinfo=UTC))
    assert in_order(replace(turned, scenes=(zoned, *turned.scenes[1:])))[:2] == [0, 3]
    missing = replace(turned.scenes[0], date=None)
    assert in_order(replace(turned, scenes=(missing, *turned.scenes[1:]))) == [0, 1, 2, 3]


@pytest.mark.parametrize("days", [3, 20, 100, 119, 121, 200, 400, 800, 2000, 9000, 40000])
@pytest.mark.parametrize("year", [1931, 2011])
def test_dates_along_an_axis_are_few_round_and_within(year, days):
    low = datetime(year, 2, 17, tzinfo=UTC).timestamp()
    found = date_ticks(low, low + 86400 * days)
    assert 2 <= len(found) <= 8
    assert all(low <= v <= low + 86400 * days and v % 86400 == 0 for v, _ in found)
    assert len({name for _, name in found}) == len(found)


def test_short_names_keep_what_distinguishes():
    assert short_names(["a_2019_x.tif", "a_2020_x.tif"]) == ["2019", "2020"]
    assert short_names(["same.tif", "same.tif"]) == ["same", "same"]
    assert all(len(name) <= 10 for name in short_names(["q" * 40 + ".tif", "r" * 40 + ".tif"]))
    assert day("2019-03-01T10:11:12+00:00") == "2019-03-01"


def test_the_report_replaces_nothing_unasked(stack, tmp_path):
    path = tmp_path / "stack.html"
    write_stack_report(stack, path)
    assert Page(path.read_text(encoding="utf-8")).by_id("verdict")
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        georeg.write_stack_report(stack, path)
    assert path.read_text() == "mine"
    georeg.write_stack_report(stack, path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    scene = tmp_path / "scene.tif"
    scene.write_text("a raster")
    with pytest.raises(OutputError, match="would replace"):
        write_stack_report(replace(stack, scenes=(replace(stack.scenes[0], path=str(scene)),)), scene, overwrite=True)
    assert scene.read_text() == "a raster"


def test_the_verb_writes_a_report_and_checks_it_first(shift_pair, tmp_path, capsys):
    report = tmp_path / "stack.html"
    assert main(["stack", *shift_pair, "--report", str(report), "--quiet"]) == 0
    read = Page(report.read_text(encoding="utf-8"))
    assert read.by_id("result")["text"].count('"georeg.Stack"') == 1
    kept = report.read_bytes()
    assert main(["stack", *shift_pair, "--report", str(report), "--quiet"]) == 1
    assert report.read_bytes() == kept
    folder = tmp_path / "out"
    clash = ["stack", *shift_pair, "-o", str(folder), "--report", str(folder / "stack.json"), "--quiet"]
    capsys.readouterr()
    assert main(clash) == 1
    assert "would replace" in capsys.readouterr().err
    assert not folder.exists()
