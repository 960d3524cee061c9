"""The page of a report: its figures are those of the data, nothing in it reaches out, and nobody's file name becomes markup."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import georeg
from georeg.report.chips import Pictures
from georeg.report.figures import shown
from georeg.report.find import find
from georeg.report.maps import tie_point_map
from georeg.report.page import page, refusal_page
from georeg.report.svg import VIRIDIS, colour, ticks
from georeg.report.ties import CHECK, FIT, Ties
from georeg.report.write import plain, reported

VOID = {"meta", "link", "img", "br", "input", "hr"}
KNOWN = {"tick", "scale-bar", "arrow-key"}
"""Classes of text that belongs to an axis or a scale."""
NAMES = re.compile(r"\bCE9[05]\b|[124]:1")
"""Words with a number in them that is no figure."""


class Page(HTMLParser):
    """The elements of a page with their attributes, the text in each, and the names of all around them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[dict[str, Any]] = []
        self.elements: list[dict[str, Any]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", "around": list(self.open), **{name: value or "" for name, value in attrs}}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open[-1]["tag"] == tag, f"</{tag}> closes <{self.open[-1]['tag']}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data
        if self.open:
            self.elements.append({"tag": "#text", "text": data, "around": list(self.open)})

    def having(self, name: str) -> list[dict[str, Any]]:
        return [element for element in self.elements if name in element]

    def by_id(self, name: str) -> dict[str, Any]:
        return next(element for element in self.elements if element.get("id") == name)


@pytest.fixture(scope="module")
def result(shift_alignment) -> tuple[dict[str, Any], Pictures]:
    findings, pictures = find(shift_alignment)
    return plain(reported(shift_alignment, findings)), pictures


@pytest.fixture(scope="module")
def read(result) -> Page:
    return Page(page(*result))


def at(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values[int(key)] if isinstance(values, list) else values[key]
    return values


def as_number(text: str) -> tuple[float, float]:
    """What a reader takes a figure for, and half a unit of its last digit."""
    plain_text = text.translate(str.maketrans({"−": "-", "\u2009": None, "\u00a0": None, " ": None}))
    share = 0.01 if plain_text.endswith("%") else 1.0
    mantissa, _, power = plain_text.rstrip("%").partition("×10")
    decimals = len(mantissa.partition(".")[2])
    factor = 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0) * share
    return float(mantissa) * factor, 0.5 * 10.0**-decimals * factor


def test_every_figure_in_the_page_is_the_one_in_the_data(result, read):
    values, _ = result
    figures = read.having("data-figure")
    assert len(figures) > 100
    for element in figures:
        value = at(values, element["data-figure"])
        if value is None:
            assert element["text"] == "–", element
            continue
        if "data-times" in element:
            value *= at(values, element["data-times"])
        if element["data-format"] == "power":
            told, half = math.log10(as_number("1×" + element["text"])[0]), 0.5
        else:
            told, half = as_number(element["text"])
        assert abs(told - value) <= half * (1 + 1e-6), (element["data-figure"], element["text"], value)


def test_every_quoted_text_is_the_one_in_the_data(result, read):
    values, _ = result
    quoted = read.having("data-text")
    assert any(element["data-text"] == "report.verdict" for element in quoted)
    for element in quoted:
        assert element["text"] == at(values, element["data-text"])
    for element in read.having("data-part-of"):
        wkt = at(values, element["data-part-of"])
        assert all(word in wkt for word in re.findall(r"\w+", element["text"]))


def test_no_figure_is_told_but_from_the_data(read):
    for element in read.elements:
        around = element["around"]
        if element["tag"] != "#text" or not any(e["tag"] == "main" for e in around):
            continue
        if any({"data-figure", "data-text", "data-part-of", "data-count"} & e.keys() for e in around):
            continue
        if any(KNOWN & set(e.get("class", "").split()) for e in around):
            continue
        assert not re.search(r"\d", NAMES.sub("", element["text"])), element["text"]


def test_the_page_holds_the_whole_result(result, read):
    assert json.loads(read.by_id("result")["text"]) == result[0]


def test_every_tie_point_is_drawn_once_in_the_group_that_the_legend_counts(result, read):
    values, _ = result
    drawn = read.having("data-point")
    assert sorted(int(e["data-point"]) for e in drawn) == list(range(len(values["role"])))
    groups = [next(a["data-group"] for a in e["around"] if "data-group" in a) for e in drawn]
    assert {e["data-count"]: int(e["text"]) for e in read.having("data-count")} == {g: groups.count(g) for g in groups}
    assert groups.count(CHECK) == values["after"]["n"]


def test_the_residual_of_a_mark_is_that_of_the_model(shift_alignment, read):
    fitted, gsd = shift_alignment.fitted, shift_alignment.after.gsd
    own = np.where(np.isnan(fitted.withheld_xy), fitted.residual(), fitted.withheld_xy) / gsd
    marks = read.having("data-residual")
    assert marks
    for mark in marks:
        told = [float(v) for v in mark["data-residual"].split(",")]
        np.testing.assert_allclose(told, own[int(mark["data-point"])], rtol=1e-4, atol=1e-12)


def one_point_map(residual_px: tuple[float, float] = (3.0, 1.0), unit: str = "m") -> str:
    """The map of one tie point in the middle of a square of ground; in px y is minus the row."""
    ties = Ties(
        ref_xy=np.array([[50.0, -50.0]]),
        before_px=np.array([residual_px]),
        after_px=np.array([residual_px]),
        sigma_px=np.ones((1, 2)),
        group=np.array([FIT]),
        gsd=1.0,
        unit=unit,
    )
    return tie_point_map(ties, None, (0.0, -100.0, 100.0, 0.0))


def test_an_arrow_to_the_north_east_points_right_and_up():
    number = r"(-?[\d.]+)"
    drawn = re.search(rf'id="arrows-after-fit" d="M{number} {number}L{number} {number}M', one_point_map((3.0, 1.0)))
    x1, y1, x2, y2 = map(float, drawn.groups())
    assert x2 > x1
    assert y2 < y1
    assert (x2 - x1) / (y1 - y2) == pytest.approx(3.0, rel=0.02)


def test_a_map_has_a_scale_bar_and_north_only_where_there_is_one():
    on_earth, pixels = (Page(one_point_map(unit=unit)) for unit in ("m", "px"))
    for read, unit in ((on_earth, "m"), (pixels, "px")):
        bars = [e["text"] for e in read.elements if "scale-bar" in e.get("class", "")]
        assert [text.split()[-1] for text in bars] == [unit]
    assert [e for e in on_earth.elements if e.get("aria-label") == "north is up"]
    assert not [e for e in pixels.elements if e.get("aria-label") == "north is up"]
    rows = [e["text"] for e in pixels.elements if "tick" in e.get("class", "") and "transform" in e]
    assert rows
    assert not any("−" in text for text in rows)


def test_nothing_in_the_page_reaches_out(result, read):
    for element in read.elements:
        for name in ("src", "href", "action", "data", "srcset"):
            assert element.get(name, "data:").startswith(("data:", "#")), element
    text = page(*result)
    assert not re.search(r"@import|url\((?!#)", text)
    policy = next(e["content"] for e in read.elements if e.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    script = next(e["text"] for e in read.elements if e["tag"] == "script" and "id" not in e)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy


HOSTILE = "/tmp/a\"><script>alert(1)</script><b '&amp;.tif"


def hostile(values: Any) -> Any:
    """The same values, with every text that can be another's made hostile."""
    values = copy.deepcopy(values)
    inputs = values["tie_points"]["inputs"] if values.get("tie_points") else values
    inputs["reference"] = inputs["target"] = HOSTILE
    for key in ("message", "command"):
        if key in values:
            values[key] = HOSTILE
    if "report" in values:
        values["report"] |= {"verdict": HOSTILE, "command": HOSTILE, "software": {"georeg": HOSTILE}}
        values["warnings"] = [HOSTILE]
    return values


def test_no_name_of_a_file_becomes_markup(result):
    values, pictures = result
    honest, poisoned = Page(page(values, pictures)), Page(page(hostile(values), pictures))
    tags = [[e["tag"] for e in read.elements if e["tag"] != "#text"] for read in (honest, poisoned)]
    # one more sentence of warning, with its heading; nothing else is another element
    assert tags[0].count("script") == tags[1].count("script") == 2
    assert tags[1].count("b") == tags[0].count("b")
    assert json.loads(poisoned.by_id("result")["text"])["report"]["verdict"] == HOSTILE


def test_sections_without_anything_to_show_are_left_out(result):
    values, pictures = copy.deepcopy(result[0]), result[1]
    values["report"] |= {"similarity": None, "false_change": None, "bins": [], "statements": [], "places": []}
    read = Page(page(values, Pictures(pictures.overview, pictures.extent, (), pictures.gsd, pictures.unit)))
    sections = {e["id"] for e in read.elements if e["tag"] == "section"}
    assert sections == {"verdict", "map", "residuals", "model", "certainty", "provenance"}


def test_what_is_already_aligned_is_said_so(result):
    values = copy.deepcopy(result[0])
    values["verdict"] = "already aligned"
    assert "ALREADY ALIGNED" in page(values, result[1])
    assert "ALREADY ALIGNED" not in page(*result)


def refused(**more: Any) -> dict[str, Any]:
    return {
        "type": "georeg.Refusal",
        "verdict": "refused",
        "error": "MatchError",
        "message": "3 tie points found, 4 needed; try other bands",
        "reference": "reference.tif",
        "target": "target.tif",
        "command": "georeg align reference.tif target.tif -o aligned.tif",
        "made": "2020-01-01T00:00:00+00:00",
        "software": {"georeg": georeg.__version__},
        "tie_points": None,
    } | more


def test_a_refusal_says_first_that_it_is_one_and_why():
    read = Page(refusal_page(refused(), None))
    told = read.by_id("verdict")["text"]
    assert told.index("REFUSED") < told.index("3 tie points found, 4 needed; try other bands")
    assert "No output was written" in told
    assert not read.having("data-point")


def test_a_refusal_shows_the_tie_points_that_it_has(result):
    values, pictures = result
    points = values["tie_points"]
    read = Page(refusal_page(refused(tie_points=points), pictures))
    assert len(read.having("data-point")) == len(points["status"])
    assert not read.having("data-residual")
    assert Page(refusal_page(hostile(refused(tie_points=points)), None)).by_id("result")


@given(
    value=st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > 1e-30),
    form=st.sampled_from(["s2", "s3", "+s3", ".1f", "%"]),
)
def test_a_figure_reads_as_the_number_to_its_last_digit(value, form):
    told, half = as_number(shown(value, form))
    assert abs(told - value) <= half * (1 + 1e-9) + 1e-15 * abs(value)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_not_known_is_no_number(missing):
    assert shown(missing, "s3") == "–"


@given(low=st.floats(-1e7, 1e7), span=st.floats(1e-6, 1e7))
def test_ticks_lie_evenly_within_the_axis(low, span):
    if low + span - low < 1e-3 * span or abs(low) > 1e6 * span:
        return
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 9
    assert all(low - 1e-6 * span <= v <= low + span * (1 + 1e-6) for v in found)
    assert np.ptp(np.diff(found)) < 1e-6 * span if len(found) > 2 else True


def test_the_ramp_grows_lighter_all_the_way():
    """So that it reads in grey, and by eyes that see other colours."""
    lightness = []
    for share in np.linspace(0, 1, 50):
        shade = colour(float(share), VIRIDIS)
        lightness.append(np.dot([int(shade[k : k + 2], 16) for k in (1, 3, 5)], [0.2126, 0.7152, 0.0722]))
    assert (np.diff(lightness) > 0).all()


def test_each_key_figure_is_the_one_that_it_is_called(read):
    called = {"RMSE of check points": "rmse", "CE90": "ce90", "Check points": "n", "Mean displacement": "displacement"}
    names = [e["text"] for e in read.elements if e["tag"] == "dt"]
    assert set(called) < set(names)
    for name, part in called.items():
        first = next(k for k, e in enumerate(read.elements) if e["tag"] == "dt" and e["text"] == name)
        figures = [e["data-figure"] for e in read.elements[first : first + 20] if "data-figure" in e]
        assert part in figures[0].split(".")


def test_the_page_stays_small_with_two_thousand_tie_points(result):
    values, pictures = copy.deepcopy(result[0]), result[1]
    again = np.arange(2000) % len(values["role"])
    points = values["tie_points"]
    for table, names in ((points, ("ref_xy", "tgt_xy", "cov", "score", "status")), (values, ("role", "withheld_xy"))):
        for name in names:
            table[name] = [table[name][k] for k in again]
    assert len(page(values, pictures).encode()) < 3_000_000
