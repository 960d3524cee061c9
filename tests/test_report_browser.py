"""The page of a report as people use it: opened in headless Chromium, on a phone's width and on a desk's.

Chromium is found by its usual names or by the environment variable GEOREG_CHROMIUM; skipped where there is none. Screenshots
go to the folder that GEOREG_SCREENSHOTS names, so that somebody can look at them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from test_real_data import DATA, IDAHO_AERIAL, IDAHO_LANDSAT, L8, S2_REF, S2_TGT

import georeg
from georeg.report.refusal import refusal
from georeg.report.write import write_refusal, write_report

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is absent: pip install georeg[test]")
CHROMIUM = os.environ.get("GEOREG_CHROMIUM") or next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        if (path := shutil.which(name))
    ),
    None,
)
pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is absent: install chromium, or name it in GEOREG_CHROMIUM"),
]
SAMPLES = Path(__file__).resolve().parents[1] / "sample_tiles"
NAIP = DATA / "naip-series-nd"
SIZES = {"phone": {"width": 390, "height": 844}, "desk": {"width": 1440, "height": 900}}
MAX_BYTES = 3_000_000
PAIRS = {
    "sample": (SAMPLES / "affine_reference.tif", SAMPLES / "affine_target.tif"),
    "s2-brandenburg": (S2_REF, S2_TGT),
    "naip-series-nd": (NAIP / "m_4709963_se_14_1_20090818.tif", NAIP / "m_4709963_se_14_1_20170827.tif"),
    "aerial-landsat-idaho": (IDAHO_LANDSAT, IDAHO_AERIAL),
    "cloudy": (L8 / "l8_B4.tif", L8 / "l8_B8.tif"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=PAIRS)
def report(request, tmp_path_factory) -> Path:
    """The report of a pair, by its name."""
    pair = PAIRS[request.param]
    if not all(path.exists() for path in pair):
        pytest.skip(f"real imagery is absent: no file {pair[0]}")
    folder = tmp_path_factory.mktemp(request.param)
    reference = without_clouds(pair[0], folder / "clear.tif") if request.param == "cloudy" else pair[0]
    path = folder / f"{request.param}.html"
    write_report(georeg.align(reference, pair[1]), path)
    return path


def without_clouds(path: Path, clear: Path) -> Path:
    """The raster with what its quality band takes for clouds or cirrus as nodata."""
    with rasterio.open(path) as source, rasterio.open(L8 / "l8_BQA.tif") as quality:
        pixels, bits, profile = source.read(1), quality.read(1), source.profile
    clouds = ((bits >> 14 & 3) >= 2) | ((bits >> 12 & 3) == 3)
    with rasterio.open(clear, "w", **profile | {"driver": "GTiff", "nodata": 0}) as out:
        out.write(np.where(clouds, 0, pixels), 1)
    return clear


@pytest.fixture(scope="module", params=["no common ground", "clouds that move"])
def refused(request, tmp_path_factory) -> Path:
    """The report of a pair that was refused, without tie points and with them."""
    folder = tmp_path_factory.mktemp("refused")
    pair = PAIRS["cloudy"]
    if request.param == "no common ground":
        pair = (SAMPLES / "shift_reference.tif", elsewhere(SAMPLES / "shift_target.tif", folder / "elsewhere.tif"))
    if not all(path.exists() for path in pair):
        pytest.skip(f"real imagery is absent: no file {pair[1]}")
    with pytest.raises(georeg.GeoregError) as caught:
        georeg.align(*pair)
    path = folder / f"refused, {request.param}.html"
    write_refusal(refusal(caught.value, *pair, f"georeg align {pair[0]} {pair[1]} -o out.tif"), str(path))
    return path


def elsewhere(path: Path, moved: Path) -> Path:
    """The raster a hundred kilometres to the east."""
    shutil.copy(path, moved)
    with rasterio.open(moved, "r+") as dataset:
        dataset.transform = rasterio.Affine.translation(100_000, 0) @ dataset.transform
    return moved


class Watched:
    """A page that is opened, and all that goes wrong in it."""

    def __init__(self, browser, path: Path, size: str, **context) -> None:
        self.name = f"{path.stem} {size}"
        self.folder = Path(os.environ.get("GEOREG_SCREENSHOTS") or path.parent)
        self.context = browser.new_context(viewport=SIZES[size], **context)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.wrong.append(m.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda r: self.asked(r.url))
        self.page.goto(path.as_uri())

    def asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.wrong.append(f"request of {url}")

    def shoot(self, what: str, **options) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        picture = self.page.screenshot(path=self.folder / f"{self.name} {what}.png", **options)
        assert len(picture) > 10_000

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def drive_swipe(page) -> None:
    """Drag the handle, then move it by keys: the upper picture is clipped there."""
    place = page.locator(".place").first
    handle, upper = place.locator(".handle"), place.locator(".layer").nth(1)
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 100, y, steps=4)
    page.mouse.up()
    at = float(handle.get_attribute("aria-valuenow"))
    width = place.locator(".stage").bounding_box()["width"]
    assert at == pytest.approx(50 - 100 * 100 / width, abs=1.5)
    assert float(upper.evaluate("e => e.style.clipPath.match(/([\\d.]+)%\\)/)[1]")) == pytest.approx(at, abs=1)
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(at + 2, abs=1)


def drive_flicker(page) -> None:
    """It shows one picture and the other by itself; held, the other."""
    place = page.locator(".place").first
    stage = place.locator(".stage")
    place.get_by_role("button", name="Flicker", exact=True).click()
    seen = set()
    for _ in range(20):
        seen.add(stage.get_attribute("data-shown"))
        page.wait_for_timeout(60)
    assert len(seen) == 2
    hold = place.locator("[data-flicker=hold]")
    hold.hover()
    before = place.locator(".layer").nth(1).evaluate("e => e.style.visibility")
    page.mouse.down()
    assert place.locator("[data-flicker=auto]").get_attribute("aria-pressed") == "false"
    assert place.locator(".layer").nth(1).evaluate("e => e.style.visibility") == "visible"
    page.mouse.up()
    assert before in ("visible", "hidden")
    assert place.locator(".layer").nth(1).evaluate("e => e.style.visibility") == "hidden"


def drive_checkerboard_and_zoom(page) -> None:
    place = page.locator(".place").first
    place.get_by_role("button", name="Checkerboard").click()
    upper = place.locator(".layer").nth(1)
    assert "conic-gradient" in upper.evaluate(
        "e => getComputedStyle(e).maskImage || getComputedStyle(e).webkitMaskImage"
    )
    for zoom in ("4", "2", "1"):
        place.get_by_role("button", name=f"{zoom}:1").click()
        shown = upper.locator("img").evaluate("e => e.getBoundingClientRect().width / e.naturalWidth")
        assert shown == pytest.approx(float(zoom))
    assert upper.locator("img").evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    pictures = [upper.locator("img").get_attribute("src")]
    for name in ("reference", "after"):
        place.locator("select").nth(1).select_option(name)
        pictures.append(upper.locator("img").get_attribute("src"))
    assert pictures[0] == pictures[2] != pictures[1]


def drive_map(page) -> None:
    """A mark tells its figures, and the legend hides a group."""
    mark = page.locator(".map [data-point]").last
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert f"Point {page.locator('.picked').get_attribute('data-point')}" in tip.inner_text()
    assert "displacement" in tip.inner_text()
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]
    assert tip.evaluate("e => e.scrollWidth <= e.clientWidth")
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.locator(".map").focus()
    told = []
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        told.append(tip.inner_text())
    assert told[0] != told[1]
    page.keyboard.press("Escape")
    entry = page.locator("[data-toggle]").first
    group = page.locator(f"[data-group={entry.get_attribute('data-toggle')}]")
    assert group.is_visible()
    entry.click()
    assert group.is_hidden()
    entry.click()
    assert group.is_visible()


def fits(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("size", SIZES)
def test_a_report_works_as_people_use_it(browser, report, size):
    with Watched(browser, report, size) as watched:
        page = watched.page
        assert fits(page)
        watched.shoot("page", full_page=True)
        drive_swipe(page)
        drive_flicker(page)
        watched.shoot("flicker")
        drive_checkerboard_and_zoom(page)
        watched.shoot("checkerboard")
        drive_map(page)
        page.get_by_role("button", name="Residuals before").click()
        assert page.locator(".arrows[data-when=before]").is_visible()
        assert page.locator(".arrows[data-when=after]").is_hidden()
        watched.shoot("map")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert georeg.Alignment.from_json(Path(download.value.path()).read_text()).after.n > 0
        assert fits(page)
        assert not watched.wrong


def test_a_report_is_small_enough_to_send(report):
    assert report.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("size", SIZES)
def test_a_refusal_is_shown_with_what_there_is(browser, refused, size):
    with Watched(browser, refused, size) as watched:
        page = watched.page
        assert page.get_by_text("REFUSED", exact=False).first.is_visible()
        if page.locator(".place").count():
            drive_swipe(page)
            drive_map(page)
        watched.shoot("page", full_page=True)
        assert fits(page)
        assert not watched.wrong
    assert refused.stat().st_size < MAX_BYTES


@pytest.fixture(scope="module")
def sample(tmp_path_factory, shift_alignment) -> Path:
    path = tmp_path_factory.mktemp("report") / "one.html"
    write_report(shift_alignment, path)
    return path


def test_nothing_flickers_for_those_who_prefer_less_motion(browser, sample):
    with Watched(browser, sample, "desk", reduced_motion="reduce") as watched:
        place = watched.page.locator(".place").first
        place.get_by_role("button", name="Flicker", exact=True).click()
        seen = set()
        for _ in range(10):
            seen.add(place.locator(".stage").get_attribute("data-shown"))
            watched.page.wait_for_timeout(60)
        assert len(seen) == 1
        assert place.locator(".note").is_visible()
        hold = place.locator("[data-flicker=hold]")
        hold.focus()
        watched.page.keyboard.down("Space")
        assert place.locator(".stage").get_attribute("data-shown") not in seen
        watched.page.keyboard.up("Space")
        assert place.locator(".stage").get_attribute("data-shown") in seen


def test_print_shows_three_pictures_of_each_place_and_no_controls(browser, sample):
    with Watched(browser, sample, "desk") as watched:
        page = watched.page
        page.emulate_media(media="print")
        assert page.locator(".view img:visible").count() == 9
        assert (
            not page.locator("button:visible, select:visible").count() - page.locator(".legend button:visible").count()
        )
        page.set_viewport_size({"width": 688, "height": 1000})  # A4 less its margins
        assert fits(page)
        watched.shoot("print", full_page=True)


def test_without_scripts_all_pictures_and_figures_are_there(browser, sample):
    with Watched(browser, sample, "phone", java_script_enabled=False) as watched:
        page = watched.page
        assert page.locator(".view img:visible").count() == 9
        assert not page.locator(".needs-script:visible").count()
        watched.shoot("without scripts", full_page=True)


def test_a_finger_drags_the_swipe(browser, sample):
    with Watched(browser, sample, "phone", has_touch=True) as watched:
        stage = watched.page.locator(".stage").first
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()
        watched.page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
        at = watched.page.locator(".handle").first.get_attribute("aria-valuenow")
        assert float(at) == pytest.approx(80, abs=2)
        mark = watched.page.locator(".map [data-point]").first
        mark.scroll_into_view_if_needed()
        mark.tap(force=True)
        assert watched.page.locator("#tip").is_visible()
