"""The leaderboard's page in a browser: sorting by mouse and keyboard, accessibility, phone width, no network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from answering import by_warmth, constant, edition
from playwright.sync_api import expect
from waiting import wait_for

import variorum as va

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(photos, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("board")
    edition(photos, str(place / "store"))
    many = {"warm": by_warmth, **{f"constant with a long name, number {n}": constant(n) for n in range(3)}}
    va.evaluate("shots", many, store=str(place / "store"), progress=False)
    return va.leaderboard("shots", store=str(place / "store")).save(place)


def opened(browser: Browser, file: Path, **options) -> tuple[Page, list[str]]:
    page = browser.new_context(**options).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(file.as_uri())
    return page, said


def names(page: Page) -> list[str]:
    return page.locator("table").first.locator("tbody th").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, file, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page, said = opened(browser, file, color_scheme=scheme)
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert said == []


def test_heads_sort_by_mouse_and_keyboard(browser, file):
    page, said = opened(browser, file)
    ranked = names(page)
    heads = page.locator("table").first.locator("thead th")
    expect(heads.nth(0)).to_have_attribute("aria-sort", "ascending")
    heads.nth(1).locator("button").click()
    expect(heads.nth(1)).to_have_attribute("aria-sort", "ascending")
    expect(heads.nth(0)).not_to_have_attribute("aria-sort", re.compile(""))
    wait_for(lambda: names(page), sorted(ranked, key=str.lower))
    page.keyboard.press("Enter")
    expect(heads.nth(1)).to_have_attribute("aria-sort", "descending")
    wait_for(lambda: names(page), sorted(ranked, key=str.lower, reverse=True))
    expect(page.locator("#said")).to_have_text("Sorted by Model, descending", use_inner_text=True)
    heads.nth(0).locator("button").press("Space")
    wait_for(lambda: names(page), ranked)
    assert said == []


@pytest.mark.parametrize("width", [1200, 390])
def test_nothing_is_cut_off(browser, file, width):
    page, said = opened(browser, file, viewport={"width": width, "height": 740})
    wait_for(lambda: page.evaluate("document.documentElement.scrollWidth"), width)
    beyond = "boxes => boxes.map(box => box.scrollWidth - box.clientWidth)"
    wait_for(lambda: set(page.locator(".scroll").evaluate_all(beyond)), {0})
    assert said == []


def test_it_can_be_read_without_javascript(browser, file):
    page, said = opened(browser, file, java_script_enabled=False)
    wait_for(lambda: len(names(page)), 4)
    expect(page.locator("thead button")).to_have_count(0)
    assert said == []
