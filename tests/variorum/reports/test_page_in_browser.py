"""The page in a real browser: it shows what the data say, by mouse and by keyboard, and runs nothing of theirs."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import sample_page
from playwright.sync_api import expect
from waiting import wait_for

from variorum.reports.page.plots import as_json
from variorum.schemas.plot import IntervalPlot, Point

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
ROWS = 200
EVERYTHING = "190 pictures, 10 not made"
RUNS = '<svg xmlns="http://www.w3.org/2000/svg" onload="top.hacked=1"><script>top.hacked=1</script></svg>'
MANY = [f"class {number:04}" for number in range(1100)]


@pytest.fixture(scope="module")
def pages(photos, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    bad = sample_page.HOSTILE
    hostile = {"title": bad[0], "subtitle": bad[1], "findings": bad, "notes": bad, "counts": [[bad[0], 1]]}
    hostile["links"] = [["one", "javascript:window.hacked=1"], ["two", "//elsewhere.example/x"], ["card", "README.md"]]
    hostile["plots"] = [
        as_json(IntervalPlot(bad[0], bad[0], bad, {bad[1]: (Point(1, 0, 2),) * len(bad)})),
        {"kind": "evaluation", "title": bad[0], "about": bad[0], "svg": RUNS, "head": bad, "rows": [bad]},
        {"kind": bad[0]},
        {"kind": "constructor"},
    ]
    other = {"title": "shapes@1.1.0", "digest": "77" * 32}
    return {
        "edition": sample_page.write(folder / "edition.html", photos, ROWS),
        "models": sample_page.write(folder / "models.html", photos, ROWS, models=True),
        "diff": sample_page.write(folder / "diff.html", photos, 60, kind="diff", other=other, map=None, plots=[]),
        "hostile": sample_page.write(folder / "hostile.html", photos, 60, bad, bad[0], models=True, **hostile),
        "empty": sample_page.write(folder / "empty.html", photos, 0, plots=[], map=None, counts=[]),
        "warned": sample_page.write(folder / "warned.html", photos, 60, warning=f"Spiders {bad[1]}"),
        "classes": sample_page.write(folder / "classes.html", photos, 5500, classes=MANY, models=True),
    }


def count(page: Page) -> str:
    """The count after the next frames."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator("#count").inner_text()


def shows(page: Page, text: str) -> None:
    """The count is a text, after the next frames or later."""
    count(page)
    expect(page.locator("#count")).to_have_text(text, use_inner_text=True)


def focused(page: Page) -> str:
    """The name of what has the focus."""
    name: str = page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.id")
    return name


def wait_for_focus(page: Page, row: str) -> None:
    """A closed panel gives the focus back a moment later."""
    wait_for(lambda: page.evaluate("row => !!document.activeElement.ariaLabel?.endsWith(row)", row), True)


def wait_for_address(page: Page, part: str) -> str:
    wait_for(lambda: page.evaluate("part => location.hash.includes(part)", part), True)
    return page.url


def record_of(page: Page) -> str:
    """The id in the panel, once its record is there."""
    page.wait_for_selector("#record[open] .record")
    return page.locator("#record .what bdi").inner_text()


def shows_record(page: Page, sample: str) -> None:
    """The panel shows a picture's record."""
    wait_for(lambda: record_of(page), sample)


def check(page: Page) -> None:
    """Find nothing against WCAG with axe."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []


def test_it_opens_and_shows_pictures_with_their_facts(opened):
    page = opened("edition")
    assert page.title() == "shapes@1.0.0-r1"
    expect(page.locator("h1")).to_have_text("shapes@1.0.0-r1", use_inner_text=True)
    expect(page.locator("#counts")).to_have_text(
        re.compile(r"^\s*31\s+accepted\s+6\s+quarantined\s*$"), use_inner_text=True
    )
    shows(page, EVERYTHING)
    card = page.locator(".card").first
    expect(card).to_have_attribute("aria-label", "tench, original, accepted, keep, 00000000")
    card.locator("img").evaluate("image => image.decode()")
    wait_for(lambda: card.locator("img").evaluate("image => image.naturalWidth"), 96)
    wait_for(lambda: 10 < page.locator(".card").count() < 100, True)  # those in sight, not all
    held = page.locator(".card.held:visible").first
    expect(held).to_contain_text("quarantined", use_inner_text=True)
    page.locator("#about summary").click()
    expect(page.locator("#about")).to_contain_text("3 pictures are near copies", use_inner_text=True)
    expect(page.locator("#about a")).to_have_attribute("href", "./README.md")


def test_pictures_far_below_come_when_they_are_scrolled_to(opened):
    page = opened("classes")
    page.locator(".grid").evaluate("grid => { grid.scrollTop = grid.scrollHeight; }")
    page.wait_for_selector(".card[aria-label$='0000157b']")  # the last of 5500
    wait_for(lambda: page.locator(".card").count() < 150, True)
    loaded = (
        "() => [...document.querySelectorAll('.card img[src]')].filter(one => one.complete && one.naturalWidth > 0)"
    )
    wait_for(lambda: page.evaluate(f"({loaded})().length > 20"), True)


def test_filters_narrow_and_chips_take_them_back(opened):
    page = opened("edition")
    quarantined = page.locator(".facet", has_text="status").get_by_label("quarantined")
    quarantined.check()
    number = int(quarantined.locator("..").inner_text().split()[-1])
    shows(page, f"{number} of {ROWS}")
    wait_for(lambda: all("quarantined" in name for name in names(page)), True)
    accepted = page.locator(".facet", has_text="status").get_by_label("accepted").locator("..").inner_text()
    assert int(accepted.split()[-1]) > ROWS / 2  # how many more it would be, not none
    page.locator("#search").fill("tench photos/00")
    few = int(count(page).split()[0])
    assert 0 < few < number
    page.get_by_label("gate.iou: at least", exact=True).fill("0.5")
    page.keyboard.press("Tab")
    fewer = int(count(page).split()[0])
    assert fewer < few
    chips = ["“tench photos/00”", "status: quarantined", "gate.iou ≥ 0.5", "Clear all"]
    wait_for(lambda: [chip.split("\n")[0] for chip in page.locator("#chips li").all_inner_texts()], chips)
    page.get_by_label("Remove filter gate.iou ≥ 0.5").click()
    shows(page, f"{few} of {ROWS}")
    page.locator("#chips").get_by_text("Clear all").click()
    shows(page, EVERYTHING)
    expect(quarantined).not_to_be_checked()


def names(page: Page) -> list[str]:
    """What the cards in sight are, in their order."""
    count(page)
    found: list[str] = page.locator(".card:visible").evaluate_all("cards => cards.map(card => card.ariaLabel)")
    return found


def test_any_column_sorts_both_ways_and_none_comes_last(opened):
    page = opened("edition")
    page.locator("#sort").select_option("gate.iou")
    values = page.evaluate(
        "[...Variorum.page.view.order].map(row => Variorum.page.data.columns.get('gate.iou').numbers[row])"
    )
    page.locator("#direction").click()
    down = page.evaluate(
        "[...Variorum.page.view.order].map(row => Variorum.page.data.columns.get('gate.iou').numbers[row])"
    )
    known = [value for value in values if value == value]
    assert known == sorted(known)
    assert [value for value in down if value == value] == known[::-1]
    assert all(value != value for value in values[len(known) :])
    assert all(value != value for value in down[len(known) :])
    count(page)  # the cards are filled in the next frame
    expect(page.locator(".card .value").first).to_have_text(f"{known[-1]:.4g}", use_inner_text=True)
    page.locator("#sort").select_option("class")
    wait_for(lambda: names(page)[0].startswith("tiger shark"), True)


def test_a_view_is_shared_by_its_address(opened):
    page = opened("edition")
    page.locator(".facet", has_text="variant").get_by_label("snow").check()
    page.get_by_label("gate.iou: at most", exact=True).fill("0.75")
    page.locator("#sort").select_option("width")
    page.locator("#direction").click()
    page.locator("#originals").click()
    page.keyboard.press("3")
    before, seen = count(page), names(page)
    address = wait_for_address(page, "size=3")
    again = opened("edition", "#" + address.split("#", 1)[1])
    shows(again, before)
    wait_for(lambda: names(again), seen)
    expect(again.locator("#originals")).to_have_attribute("aria-pressed", "true")
    expect(again.locator("#sort")).to_have_value("width")


@pytest.mark.parametrize(
    "after",
    [
        "#%E0%A4%A",
        "#is.status=<img src=x onerror=alert(1)>&is.__proto__=1&in.constructor=1..2&sort=__proto__",
        "#in.gate.iou=NaN..Infinity&in.width=1e999..x&in.class=1..2&is.width=3&size=99&view=<b>&open=nothing",
        "#area=1,2;3&q=" + "%00" * 500 + "&is.class=" + "x" * 5000,
        "#area=1,2;NaN,3;4,5&open=__proto__&originals=2&in.gate.iou=..",
    ],
)
def test_a_hostile_address_changes_nothing(opened, after):
    page = opened("edition", after)
    shown = EVERYTHING if "q=" not in after else f"0 of {ROWS}"
    shows(page, shown)
    assert page.evaluate("Variorum.page.view.sort") == ""
    expect(page.locator("#chips li")).to_have_count(1 if "q=" in after else 0)
    assert page.evaluate("document.querySelectorAll('img[onerror]').length") == 0


def test_the_panel_shows_the_record_its_checks_and_its_family(opened):
    page = opened("edition")
    page.locator(".card[aria-label$='00000008']").click()
    shows_record(page, "00000008")
    panel = page.locator("#record")
    expect(panel.locator(".wipe bdi")).to_have_text(["original", "rotate_45"], use_inner_text=True)
    expect(panel.locator(".strips button")).to_have_count(5)
    rows = [["iou", "0.83", "≥ 0.5", "✓ passed"], ["blank", "0.4", "≤ 0.2", "✕ failed"]]
    wait_for(lambda: [row.split("\t") for row in panel.locator("tbody tr").all_inner_texts()], rows)
    record = panel.locator(".record")
    expect(record).to_contain_text(re.compile(r"number\s+8\b"), use_inner_text=True)
    expect(record).to_contain_text("attribute_edit", use_inner_text=True)  # out of a text that holds JSON
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    record.get_by_text("Copy JSON").click()
    wait_for(lambda: page.evaluate("!!window.copied"), True)
    assert json.loads(page.evaluate("window.copied")) == sample_page.record(8, told=None)
    page.keyboard.press("ArrowRight")
    shows_record(page, "00000009")
    panel.locator(".strips button").first.click()
    shows_record(page, "00000005")
    wait_for_address(page, "open=00000005")
    page.keyboard.press("Escape")
    wait_for_focus(page, "00000005")
    expect(panel).to_be_hidden()


def test_a_row_with_no_picture_says_so(opened):
    page = opened("edition", "#open=00000013")
    shows_record(page, "00000013")
    expect(page.locator("#record .stage .absent")).to_have_attribute("data-why", "no picture: It shows nothing.")
    page.keyboard.press("Escape")
    card = page.locator(".card[aria-label$='00000013']")
    expect(card.locator(".absent")).to_have_attribute("data-why", "no picture: It shows nothing.")
    expect(card.locator(".mark")).to_have_text("– not possible", use_inner_text=True)


def test_everything_by_keyboard_alone(opened):
    page = opened("edition")
    page.keyboard.press("Tab")
    wait_for(lambda: page.evaluate("document.activeElement.className"), "skip")
    page.keyboard.press("Enter")
    wait_for_focus(page, "00000000")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    wait_for_focus(page, "00000001")
    page.keyboard.press("Control+End")
    wait_for_focus(page, f"{ROWS - 1:08x}")
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    wait_for(lambda: 0 < page.evaluate("document.activeElement.getBoundingClientRect().top") < 800, True)
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    shows_record(page, "00000001")
    page.keyboard.press("ArrowRight")
    shows_record(page, "00000002")
    page.keyboard.press("Escape")
    wait_for_focus(page, "00000002")
    page.keyboard.press("/")
    page.keyboard.type("goldfish")
    shows(page, f"{ROWS // 4} of {ROWS}")
    page.keyboard.press("Enter")
    wait_for(lambda: focused(page).startswith("goldfish"), True)
    page.keyboard.press("o")
    expect(page.locator("#originals")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("b")
    blurred = "image => getComputedStyle(image).filter.includes('blur(')"
    wait_for(lambda: page.locator(".card img").first.evaluate(blurred), True)
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert count(page)
    expect(page.locator("#chips li")).to_have_count(3)  # the search, the value, clear all
    page.keyboard.press("p")
    expect(page.locator("#view-plots")).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator("#view-map canvas")).to_be_visible()


def test_the_focus_survives_scrolling_away(opened):
    page = opened("classes")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    page.locator(".grid").evaluate("grid => { grid.scrollTop = 50000; }")
    count(page)
    wait_for_focus(page, "00000000")
    page.keyboard.press("ArrowRight")
    wait_for_focus(page, "00000001")
    wait_for(lambda: page.locator(".grid").evaluate("grid => grid.scrollTop") < 100, True)


def test_one_picture_can_be_reached_by_tab_wherever_the_grid_is(opened):
    page = opened("classes")
    for top in (50_000, 0, 90_000):
        page.locator(".grid").evaluate("(grid, top) => { grid.scrollTop = top; }", top)
        page.keyboard.press("3" if top else "1")  # all cards are made anew
        assert count(page)
        expect(page.locator(".card[tabindex='0']")).to_have_count(1)


def test_originals_stand_beside_their_edits(opened):
    page = opened("edition", "#is.variant=snow&is.variant=rotate_45&originals=1")
    lines = page.locator(".photograph:visible")
    heading = ["photos/0000.jpg", "2", "of", "4", "edits"]
    wait_for(lambda: lines.first.locator(".heading").inner_text().split(), heading)
    expect(lines.first.locator(".card .name")).to_have_text(["original", "rotate_45", "snow"], use_inner_text=True)
    expect(lines.first.locator(".lead .card")).to_have_attribute("aria-label", re.compile("^original, "))
    shows(page, f"{2 * ROWS // 5} of {ROWS}")  # originals that are shown beside don't count


def test_plots_follow_the_filters_and_have_tables(opened):
    page = opened("edition", "#view=plots")
    titles = page.locator("#view-plots .plot h3")
    drawn = ["From source to release", "Accuracy drop", "Calibration", "Found against quality", "Robustness by attack"]
    expect(titles).to_have_text([*drawn, "gate.iou"], use_inner_text=True)
    page.wait_for_selector(".plot svg .limit", state="attached")
    small = "texts => texts.filter(text => parseFloat(getComputedStyle(text).fontSize) < 12).length"
    wait_for(lambda: page.locator(".plot svg text").evaluate_all(small), 0)
    histogram = page.locator(".plot", has_text="limit ≥ 0.5")
    histogram.locator("summary").click()

    def in_view() -> int:
        cells = histogram.locator("tbody tr td:nth-child(2)").all_inner_texts()
        return sum(int(cell) for cell in cells)

    wait_for(in_view, ROWS * 4 // 5)
    page.locator(".facet", has_text="variant").get_by_label("snow").check()
    wait_for(in_view, ROWS // 5)
    page.get_by_label("Add a histogram").select_option("width")
    expect(titles).to_have_text([*drawn, "gate.iou", "width"], use_inner_text=True)
    page.locator(".plot", has_text="Accuracy drop").locator("summary").click()
    expect(page.locator(".plot", has_text="Accuracy drop").locator("tbody tr")).to_have_count(3)
    radar = page.locator(".plot", has_text="Robustness by attack")
    radar.locator("summary").click()
    expect(radar.locator("tbody tr")).to_have_count(7)  # a value is missing
    expect(radar.locator("tbody tr").nth(1).locator("th, td")).to_have_text(["one", "blur", "50"], use_inner_text=True)
    expect(radar.locator("img")).to_have_attribute("alt", re.compile("^Robustness by attack: found, % from 0 at the"))
    wait_for(lambda: radar.locator("img").evaluate("one => one.naturalWidth"), 400)
    curves = page.locator(".plot", has_text="Found against quality")
    curves.locator("summary").click()
    expect(curves.locator("tbody tr")).to_have_count(3)


def test_two_models_stand_side_by_side_and_each_number_shows_its_pictures(opened):
    page = opened("models", "#view=models")
    pair = page.locator("#view-models .beside")
    # 160 pictures aren't of the baseline, and 10 of these aren't made
    made = [row for row in range(ROWS) if row % 20 != 19 and row % 5 != 2]
    counts = Counter((row % 4 == 0, row % 7 == 0) for row in made)
    order = [(False, False), (False, True), (True, False), (True, True)]
    wait_for(lambda: pair.locator(".count").all_inner_texts(), [str(counts[key]) for key in order])
    share = [100 * sum(counts[key] for key in order if not key[side]) / len(made) for side in (0, 1)]
    expect(pair).to_contain_text(f"one {share[0]:.1f}\u00a0%, two {share[1]:.1f}\u00a0%", use_inner_text=True)
    said = pair.locator("p").first.inner_text().replace("−", "-")
    difference, low, high = map(float, re.findall(r"-?\d+\.\d", said)[2:5])
    assert difference == round(share[0] - share[1], 1)
    rng = np.random.default_rng(0)
    lost = np.array([[(row % 7 == 0) - (row % 4 == 0) for row in made if row // 5 == one] for one in range(40)], object)
    drawn = [np.concatenate([lost[one] for one in rng.integers(0, 40, 40)]).mean() for _ in range(2000)]
    assert np.abs(100 * np.quantile(drawn, [0.025, 0.975]) - [low, high]).max() < 1

    pair.locator("td.differ .count").first.click()
    shows(page, f"{counts[False, True]} of {ROWS}")
    chips = ["answer of one: right", "answer of two: wrong", "baseline: no"]
    wait_for(lambda: page.locator("#chips .chip bdi").all_inner_texts(), chips)
    page.locator(".card").first.click()
    record_of(page)
    answers = page.locator("#record section", has_text="Models on").locator("tbody tr")
    wait_for(lambda: [row.split("\t")[-1] for row in answers.all_inner_texts()], ["✓ right", "✕ wrong", "✕ wrong"])
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    wait_for(lambda: pair.locator(".count").all_inner_texts(), [str(counts[key]) for key in order])


def test_confusions_are_counted_by_class_and_follow_the_filters(opened):
    page = opened("models", "#view=models&is.variant=original")
    wrong = Counter(row // 5 % 4 for row in range(0, ROWS, 5) if row % 4 == 0)
    names = sample_page.CLASSES
    table = page.locator("#view-models section", has_text="Most confused").locator("tbody tr")
    rows = [[names[one], names[(one + 1) % 4], str(number)] for one, number in wrong.items()]
    wait_for(lambda: sorted(re.split(r"\s*\t\s*", row) for row in table.all_inner_texts()), sorted(rows))
    matrix = page.locator(".matrix tbody tr")
    wait_for(lambda: matrix.count(), 4)
    tench = page.get_by_role("button", name="tench taken for goldfish: show these 10 pictures")
    expect(tench).to_have_count(2)  # in the list and in the matrix
    tench.last.click()
    shows(page, f"10 of {ROWS}")
    page.keyboard.press("c")
    page.get_by_label("Model", exact=True).select_option("answer of two")
    expect(page.locator("#view-models h3", has_text="matrix")).to_have_text("Confusion matrix of two")
    many = opened("classes", "#view=models")
    expect(many.locator("#view-models section", has_text="Most confused").locator("tbody tr")).to_have_count(20)
    expect(many.locator(".matrix")).to_be_hidden()


def test_an_area_of_the_map_filters_the_grid(opened):
    page = opened("edition", "#view=map")
    canvas = page.locator("canvas")
    canvas.hover(position={"x": 2, "y": 2})  # waits until nothing moves any more
    box = canvas.bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 2, steps=5)
    page.mouse.up()
    few = int(count(page).split()[0])
    assert 0 < few < ROWS
    address = wait_for_address(page, "area=")
    shows(opened("edition", "#" + address.split("#", 1)[1]), f"{few} of {ROWS}")
    page.get_by_text(f"Show {few} in the grid").click()
    expect(page.locator("#view-grid")).to_be_visible()
    page.get_by_label("Remove filter part of the map").click()
    shows(page, EVERYTHING)


def test_the_map_is_read_by_keyboard_and_by_pointing(opened):
    page = opened("edition", "#view=map")
    canvas = page.locator("canvas")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tip img")).to_have_attribute("src", re.compile("^data:"))
    page.keyboard.press("Enter")
    record_of(page)
    page.keyboard.press("Escape")
    wait_for(lambda: page.evaluate("document.activeElement.tagName"), "CANVAS")


def test_a_difference_shows_before_and_after(opened):
    page = opened("diff")
    expect(page.locator("h1")).to_have_text("shapes@1.0.0-r1 → shapes@1.1.0", use_inner_text=True)
    shows(page, "60 changes")
    expect(page.locator(".card").nth(3).locator("img[src]")).to_have_count(2)
    page.locator(".facet", has_text="change").first.get_by_label("dropped").check()
    shows(page, "20 of 60")
    page.locator(".facet", has_text="why").get_by_label("verdict: copy").check()
    shows(page, "10 of 60")
    wait_for(lambda: all(one.startswith("dropped, ") and "verdict: copy" in one for one in names(page)), True)
    page.locator(".card:visible").first.click()
    record_of(page)
    expect(page.locator("#record .wipe bdi")).to_have_text(["before: goldfish", "after: tench"], use_inner_text=True)


def test_hostile_texts_are_shown_and_never_run(opened):
    page = opened("hostile", "#view=plots")
    page.wait_for_selector("#view-plots .plot svg")
    page.keyboard.press("c")
    page.wait_for_selector(".models .four")
    page.keyboard.press("c")
    page.locator("#about summary").click()
    for row in range(0, 60, 5):
        page.evaluate("row => { Variorum.page.record.open(row); }", row)
        shows_record(page, f"{row:08x}")
    expect(page.locator("#record .record")).to_contain_text(sample_page.HOSTILE[0], use_inner_text=True)
    page.keyboard.press("Escape")
    kinds = "links => links.map(link => link.protocol)"
    wait_for(lambda: page.locator("#about a").evaluate_all(kinds), ["file:"] * 3)
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelectorAll('[onerror]').length") == 0
    expect(page.locator(".facet", has_text="class").first).to_contain_text("⟨202E⟩gnp.exe", use_inner_text=True)
    wait_for(lambda: page.evaluate("document.documentElement.scrollWidth <= innerWidth"), True)


def test_the_browser_refuses_what_the_page_never_does(browser, pages):
    page = browser.new_page()
    page.goto(pages["edition"].as_uri())
    tries = """() => {
        const script = () => {
            const one = document.createElement("script");
            one.text = "window.ran = 1";
            document.body.append(one);
        };
        const markup = () => { document.body.innerHTML = "<img src=x onerror='window.ran = 1'>"; };
        const handler = () => document.querySelector("h1").setAttribute("onclick", "window.ran = 1");
        const policy = () => trustedTypes.createPolicy("own", { createScript: text => text });
        window.refused = 0;
        for (const one of [script, markup, handler, policy]) { try { one(); } catch { window.refused++; } }
        document.querySelector("h1").click();
        return fetch("https://example.org/").then(() => "sent", () => "refused");
    }"""
    assert page.evaluate(tries) == "refused"
    assert page.evaluate("window.ran") is None
    assert page.evaluate("window.refused") == 4
    expect(page.locator("h1")).to_have_text("shapes@1.0.0-r1", use_inner_text=True)
    page.close()


def test_a_page_without_pictures_is_friendly(opened):
    page = opened("empty")
    shows(page, "0 pictures")
    expect(page.locator("#view-grid")).to_contain_text("No pictures yet", use_inner_text=True)
    for key in ("o", "p", "b", "f", "ArrowDown"):
        page.keyboard.press(key)
    check(page)


def test_a_content_warning_stands_in_the_head(opened):
    page = opened("warned")
    expect(page.locator("#warning")).to_contain_text("Content warning: Spiders <img src=x", use_inner_text=True)
    expect(page.locator("#blur")).to_be_hidden()
    page.keyboard.press("b")
    assert page.evaluate("document.body.classList.contains('blurred')") is False
    assert page.evaluate("document.querySelectorAll('[onerror]').length") == 0
    check(page)
    expect(opened("edition").locator("#warning")).to_be_hidden()


def test_1100_classes_can_be_searched(opened):
    page = opened("classes")
    facet = page.locator(".facet", has_text="class").first
    expect(facet.locator("li")).to_have_count(8)
    facet.locator("button").click()
    expect(facet.locator("li")).to_have_count(200)
    facet.get_by_label("Find in class").fill("0999")
    expect(facet.locator("li")).to_have_count(1)
    facet.get_by_label("class 0999").check()
    shows(page, "5 of 5,500")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_axe_finds_nothing(opened, scheme, width):
    page = opened("models", color_scheme=scheme, width=width, reduced_motion="reduce")
    assert count(page)
    check(page)
    if width == 390:
        expect(page.locator("#filters")).to_be_hidden()
        tops = "cards => cards.map(card => card.getBoundingClientRect().top)"
        wait_for(lambda: Counter(page.locator(".card:visible").evaluate_all(tops)).most_common(1)[0][1], 2)
        page.locator("#filters-button").click()
        expect(page.locator("#filters")).to_be_visible()
        check(page)
        page.keyboard.press("Escape")
        wait_for(lambda: focused(page), "filters-button")
    page.locator("#originals").click()
    page.locator(".facet input").first.evaluate("box => box.click()")
    check(page)
    page.locator(".card:visible").nth(1).click()
    record_of(page)
    check(page)
    if width == 390:
        wait_for(lambda: page.locator("#record").bounding_box()["width"], 390)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    check(page)
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.wait_for_selector("#view-plots .plot svg")
    check(page)
    page.keyboard.press("c")
    page.wait_for_selector(".models .four")
    check(page)


def test_colours_follow_the_system_until_they_are_chosen(opened):
    page = opened("edition", color_scheme="dark")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    wait_for(lambda: page.evaluate(paper), "rgb(22, 24, 28)")
    page.locator("#theme").click()
    wait_for(lambda: page.evaluate(paper), "rgb(255, 255, 255)")
