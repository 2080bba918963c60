"""The record of a picture in a real browser: wipe, mask, boxes, zoom; marks and their file; search in records."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sample_page
from playwright.sync_api import expect
from waiting import wait_for

from variorum.kit.raters.marks import Mark, read_marks

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
ROWS = 40


@pytest.fixture(scope="module")
def pages(photos, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("records")
    return {
        "edition": sample_page.write(folder / "edition.html", photos, ROWS),
        "blurred": sample_page.write(folder / "blurred.html", photos, ROWS, blur=True),
    }


def shows(page: Page, sample: str) -> None:
    wait_for(lambda: page.locator("#record .what bdi").inner_text(), sample)
    page.wait_for_selector("#record[open] .record")


def test_original_and_edit_lie_under_a_wipe_with_mask_and_boxes(opened):
    page = opened("edition", "#open=00000003")
    shows(page, "00000003")
    stage, wipe = page.locator("#record .stage"), page.get_by_role("slider", name="Wipe")
    box = stage.bounding_box()
    assert box["width"] > 800
    assert box["height"] > 380  # it takes the room there is, not a thumbnail's
    expect(page.locator(".wipe bdi")).to_have_text(["original", "rotate_45, quarantined"], use_inner_text=True)
    clipped = "image => parseFloat(image.style.clipPath.split(' ')[1]) / parseFloat(image.style.width)"
    over = page.locator("#record img.over")
    assert over.get_attribute("src") != stage.locator("img").first.get_attribute("src")
    assert over.evaluate(clipped) == pytest.approx(0.5, abs=0.02)
    wipe.focus()
    page.keyboard.press("ArrowLeft")
    wait_for(lambda: over.evaluate(clipped) > 0.51, True)
    grip = wipe.locator(".grip").bounding_box()
    page.mouse.move(grip["x"] + 20, grip["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, grip["y"] + 20, steps=4)
    page.mouse.up()
    expect(wipe).to_have_attribute("aria-valuenow", re.compile("^(39|40|41)$"))
    shows(page, "00000003")  # neither drag nor arrows of the wipe go on to another picture
    page.keyboard.press("m")
    expect(stage.locator(".mask")).to_be_visible()
    page.keyboard.press("b")
    expect(stage.locator(".boxes rect")).to_have_count(2)  # a dark and a light line
    expect(stage.locator(".boxes text")).to_have_text("a tail")
    page.locator("#record .content").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")  # moves the picture while it is larger than its frame
    shows(page, "00000003")
    page.keyboard.press("f")
    page.keyboard.press("o")
    expect(stage.locator(".pane")).to_have_count(2)  # side by side
    page.keyboard.press("ArrowRight")
    shows(page, "00000004")
    expect(stage.locator(".pane")).to_have_count(2)
    expect(stage.locator(".mask").first).to_be_visible()  # what is on stays on
    page.keyboard.press("Escape")
    wait_for(lambda: page.evaluate("!!document.activeElement.ariaLabel?.endsWith('00000004')"), True)


def test_pictures_like_this_one_lead_to_them(opened):
    page = opened("edition", "#open=00000003")
    shows(page, "00000003")
    page.locator("#record section", has_text="Pictures like this one").locator("button").click()
    shows(page, "00000008")


def test_a_blurred_page_shows_a_picture_only_when_asked(opened):
    page = opened("blurred", "#open=00000003")
    shows(page, "00000003")
    sheet = page.locator("#record .sheet").first
    assert "blur(" in sheet.evaluate("one => getComputedStyle(one).filter")
    page.keyboard.press("v")
    wait_for(lambda: sheet.evaluate("one => getComputedStyle(one).filter"), "none")
    page.keyboard.press("ArrowRight")
    shows(page, "00000004")
    wait_for(lambda: "blur(" in sheet.evaluate("one => getComputedStyle(one).filter"), True)


def test_a_finger_swipes_to_the_next_picture(opened):
    page = opened("edition", "#open=00000003", width=390, height=800, has_touch=True)
    shows(page, "00000003")
    swipe = """row => {
        const { left, top } = row.getBoundingClientRect();
        const at = (kind, x) => row.firstChild.firstChild.dispatchEvent(new PointerEvent(kind,
            { bubbles: true, isPrimary: true, pointerId: 1, pointerType: "touch", clientX: left + x, clientY: top }));
        at("pointerdown", 300); at("pointerup", 120);
    }"""
    page.evaluate("Element.prototype.setPointerCapture = () => {}")  # there is no real finger to capture
    page.locator("#record .panes").evaluate(swipe)
    shows(page, "00000004")
    wait_for(lambda: page.evaluate("document.documentElement.scrollWidth <= innerWidth"), True)


def test_marks_are_kept_in_the_browser_and_come_as_a_file(opened, pages, tmp_path):
    page = opened("edition")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("t")
    page.keyboard.type("<b>odd</b>")
    page.keyboard.press("Enter")
    page.get_by_label("Note").fill("which one?")
    page.keyboard.press("Tab")
    page.locator("#record").get_by_role("button", name="Close").click()
    expect(page.locator(".card:visible .flag:visible")).to_have_text(["⚑", "<b>odd</b>"])
    page.locator(".facet", has_text="variant").get_by_label("snow").check()
    page.locator("#marks-button").click()
    page.locator("#marks").get_by_label("Add a tag").fill("winter")
    page.keyboard.press("Enter")
    expect(page.locator("#marks-button")).to_have_text(f"Marks ({2 + ROWS // 5})")
    page = page.context.new_page()
    page.goto(pages["edition"].as_uri())
    page.locator("#marks-button").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the marks").click()
    file = tmp_path / "marks.jsonl"
    download.value.save_as(file)
    assert download.value.suggested_filename == "marks-shapes@1.0.0-r1.jsonl"
    marks = read_marks(file)
    assert (marks.edition, marks.digest) == ("shapes@1.0.0-r1", sample_page.DIGEST)
    assert marks.asked == ["00000000"]
    assert marks.by_id["00000001"] == Mark(False, ("<b>odd</b>",), "which one?")
    assert marks.by_id["00000004"] == Mark(False, ("winter",), "")
    page.get_by_role("button", name="Show marked ones alone").click()
    page.keyboard.press("Escape")
    page.locator(".facet", has_text="variant").get_by_label("snow").uncheck()
    expect(page.locator("#count")).to_have_text(f"{2 + ROWS // 5} of {ROWS}", use_inner_text=True)


def test_a_search_finds_captions_and_tags(opened):
    page = opened("edition")
    page.keyboard.press("/")
    page.keyboard.type("photograph 33 dusk")
    expect(page.locator("#count")).to_have_text(f"1 of {ROWS}", use_inner_text=True)
    page.keyboard.press("Enter")
    page.keyboard.press("t")
    page.keyboard.type("kingfisher")
    page.keyboard.press("Enter")
    page.locator("#record").get_by_role("button", name="Close").click()
    page.locator("#search").fill("kingfisher")
    expect(page.locator("#count")).to_have_text(f"1 of {ROWS}", use_inner_text=True)
