"""The page of a report in a browser: accessibility, keyboard, the choice of the reference, widths, print."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plausible_report import pictures, report
from playwright.sync_api import expect
from waiting import wait_for

from variorum.reports.profile.page import page as report_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
LONG = "timm:vit_base_patch16_224.augreg2_in21k_ft_in1k"
TEN = [LONG, *(f"{LONG}.{number}" for number in range(8)), "module:mine.py:load"]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("reports")
    made = {"three": report(), "ten": report(TEN), "one": report([LONG])}
    for name, one in made.items():
        (folder / f"{name}.html").write_bytes(report_page(one, pictures(one)))
    return lambda name: folder / f"{name}.html"


def opened(browser: Browser, file: Path, **options) -> tuple[Page, list[str]]:
    page = browser.new_context(**options).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None
    )
    page.goto(file.as_uri())
    return page, said


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("three", 1200, "light"), ("ten", 1200, "dark"), ("three", 390, "dark"), ("one", 390, "light")],
)
def test_axe_finds_nothing_with_all_rows_open(browser, file, name, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page, said = opened(browser, file(name), viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.get_by_role("button", name="Open all rows").click()
    expect(page.get_by_role("button", name="Close all rows")).to_be_visible()
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert said == []


def test_the_keyboard_opens_rows_and_changes_the_reference_without_a_script(browser, file):
    page, said = opened(browser, file("three"), java_script_enabled=False)
    row = page.locator("#row-background")
    other = row.locator(".lane.m0")
    expect(other.get_by_text("reference", exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="timm:resnet50.a1_in1k")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="torchvision:resnet50")).to_be_checked()
    expect(other.get_by_text("reference", exact=True)).to_be_hidden()
    shown = next(
        one
        for one in report().rows[1].differences
        if (one.of, one.to) == ("timm:resnet50.a1_in1k", "torchvision:resnet50")
    )
    expect(other).to_contain_text(f"+{shown.value:.1f}", use_inner_text=True)
    expect(row.locator("img").first).to_be_hidden()
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.locator("#row-background summary:focus").count():
            break
    page.keyboard.press("Enter")
    expect(row.locator("img").first).to_be_visible()
    expect(row).to_contain_text("variorum view imagenet_e@1.0.0-dev", use_inner_text=True)
    assert said == []


def test_of_many_models_a_closed_row_shows_reference_best_and_worst(browser, file):
    page, said = opened(browser, file("ten"), viewport={"width": 1200, "height": 800})
    row = page.locator("#row-background")
    lanes = row.locator(".lane:not(.every):visible")
    before = lanes.count()
    assert 2 <= before <= 3
    page.get_by_role("radio").nth(4).check()
    expect(lanes).to_have_count(3)
    expect(row.locator(".lane.m4")).to_be_visible()
    row.locator("summary").click()
    expect(lanes).to_have_count(10)
    assert said == []


def test_one_model_has_no_right_half(browser, file):
    page, said = opened(browser, file("one"))
    expect(page.get_by_role("radio")).to_have_count(0)
    expect(page.get_by_text("reference", exact=True)).to_have_count(0)
    assert said == []


def test_print_is_a4_and_light_and_has_opened_rows_only(browser, file):
    page, _ = opened(browser, file("three"), color_scheme="dark")
    page.locator("#row-size summary").click()
    page.emulate_media(media="print")
    expect(page.locator(".pics:visible")).to_have_count(1)
    wait_for(lambda: page.evaluate("getComputedStyle(document.documentElement).colorScheme"), "light")
    expect(page.get_by_role("button", name="Open all rows")).to_be_hidden()
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", page.pdf(prefer_css_page_size=True))
    assert [round(float(side)) for side in box.groups()] == [595, 842]
