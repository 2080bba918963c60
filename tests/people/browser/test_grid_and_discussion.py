"""Grid and discussion in a real browser against the real server: what people do there is what the database has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pytest
from playwright.sync_api import expect
from served_panel import BOTH, Serving, join_page, kept_votes, serving
from waiting import tap, wait_for

from variorum.people.panel.collected import standing
from variorum.people.panel.panel import read_questions
from variorum.people.panel.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>"
IDS = "Variorum.gridMode.current?.tasks.map(one => one.picture.id)"
READY = "() => Variorum.gridMode.ready && Variorum.gridMode.current"


@pytest.fixture
def asked(edition: Any, request: pytest.FixtureRequest) -> Iterator[Serving]:
    """A new panel that asks about both classes of every picture, twice."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60]
    with serving(*edition, Settings(votes=2, collapsed=BOTH), name) as found:
        yield found


def open_grid(page: Page, words: str = "coffee") -> list[str]:
    """Choose a class in the grid; the ids of its first pictures."""
    page.get_by_role("link", name="Grid").click()
    page.wait_for_selector(".class-choices li")
    page.get_by_label("Search classes").fill(words)
    page.keyboard.press("Enter")
    return shown(page)


def shown(page: Page) -> list[str]:
    """Ids of the pictures in the grid, once they may be confirmed."""
    page.wait_for_function(READY)
    found: list[str] = page.evaluate(IDS)
    return found


def following(page: Page, before: list[str]) -> list[str]:
    """Ids of the batch that follows another one."""
    page.wait_for_function(f"before => Variorum.gridMode.ready && String({IDS}) !== before", arg=",".join(before))
    return shown(page)


def confirm(page: Page) -> str:
    """The text of the button that confirms."""
    return page.locator(".confirm:visible").inner_text()


def answers(asked: Serving, **fields: Any) -> dict[str, str]:
    """Answer by picture of the votes with some fields."""
    votes = [one for one in kept_votes(asked.panel) if all(one[name] == value for name, value in fields.items())]
    found = {one["id"]: one["answer"] for one in votes}
    assert len(found) == len(votes)
    return found


def asked_once(asked: Serving) -> set[str]:
    """Pictures with a single question, which isn't a control: their votes are complete after one grid."""
    questions = read_questions(asked.panel, asked.panel.store).filter(pc.field("why") == "asked")
    return {one for one, number in Counter(questions["id"].to_pylist()).items() if number == 1}


def test_exceptions_are_marked_by_key_and_by_range_and_all_is_sent_at_once(asked, opened):
    page = opened(asked.url)
    join_page(page, "Ada")
    pictures = open_grid(page)
    expect(page.locator(".ask")).to_have_text("Do all of these show coffee?", use_inner_text=True)
    expect(page.locator(".grid-head")).to_contain_text("espresso", use_inner_text=True)
    expect(page.locator(".shown-examples img")).to_have_count(4)
    expect(page.locator(".tile")).to_have_count(60)
    assert len(pictures) == 60
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.locator(".tile").nth(20).click()
    page.locator(".tile").nth(24).click(modifiers=["Shift"])
    expect(page.locator(".selected")).to_have_text(re.compile("^5 selected"), use_inner_text=True)
    page.keyboard.press("u")
    page.keyboard.press("ArrowRight")  # ends the selection
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("r")
    expect(page.locator(".confirm:visible")).to_have_text("Confirm 54 right, 1 wrong, 5 unclear", use_inner_text=True)
    page.keyboard.press("Enter")
    after = following(page, pictures)
    assert not set(pictures) & set(after)
    wanted = dict.fromkeys(pictures, "yes") | {pictures[1]: "no"} | dict.fromkeys(pictures[20:25], "unclear")
    wait_for(lambda: answers(asked, reviewer="Ada", subject="coffee"), wanted)


def test_a_batch_is_taken_back_as_a_whole_and_sent_again(asked, opened):
    page = opened(asked.url)
    join_page(page, "Ada")
    pictures = open_grid(page)
    page.locator(".tile").nth(3).click()
    page.keyboard.press("Enter")
    after = following(page, pictures)
    wait_for(lambda: len(answers(asked)), 60)
    page.keyboard.press("z")
    assert following(page, after) == pictures
    expect(page.locator(".tile").nth(3)).to_have_attribute("aria-label", "Picture 4 of 60: wrong")
    wait_for(lambda: len(answers(asked)), 0)
    page.locator(".tile").nth(3).click()
    page.get_by_role("button", name="Confirm 60 right").click()
    assert following(page, pictures) == after
    wait_for(lambda: answers(asked), dict.fromkeys(pictures, "yes"))


def test_a_second_press_of_enter_confirms_nothing_that_was_not_seen(asked, opened):
    page = opened(asked.url)
    join_page(page, "Ada")
    pictures = open_grid(page)
    page.wait_for_function("() => Variorum.gridMode.coming.length > 0")
    for _ in range(3):
        page.keyboard.press("Enter")
    following(page, pictures)
    wait_for(lambda: len(kept_votes(asked.panel)), 60)
    assert set(answers(asked)) == set(pictures)


def test_what_does_not_fit_into_view_must_have_been_in_view(asked, opened):
    page = opened(asked.url, width=360, height=740, has_touch=True)
    join_page(page, "Ada")
    open_grid(page)
    presses = 0
    while (before := confirm(page)).startswith("Show"):
        tap(page.locator(".confirm:visible"), lambda before=before: confirm(page) != before)
        presses += 1
    assert presses > 1
    assert kept_votes(asked.panel) == []
    tap(page.locator(".tile").nth(59), lambda: confirm(page) == "Confirm 59 right, 1 wrong")
    unclear = page.locator(".grid-bar").get_by_role("button", name="unclear").first
    tap(unclear, lambda: unclear.get_attribute("aria-pressed") == "true")
    tap(page.locator(".tile").nth(58), lambda: confirm(page) == "Confirm 58 right, 1 wrong, 1 unclear")
    tap(page.locator(".confirm:visible"), lambda: sorted(answers(asked).values())[:2] == ["no", "unclear"])


def test_all_are_marked_and_the_lens_shows_one_large(asked, opened):
    page = opened(asked.url)
    join_page(page, "Ada")
    pictures = open_grid(page)
    page.keyboard.press("a")
    expect(page.locator(".confirm:visible")).to_have_text("Confirm 0 right, 60 wrong", use_inner_text=True)
    page.keyboard.press("a")
    expect(page.locator(".confirm:visible")).to_have_text("Confirm 60 right", use_inner_text=True)
    page.keyboard.press("ArrowRight")
    page.keyboard.down("Space")
    page.wait_for_selector(".grid-lens:visible")
    expect(page.locator(".grid-lens img")).to_have_attribute("src", re.compile(f"^/pictures/{pictures[1]}"))
    page.keyboard.press("ArrowDown")
    columns = page.evaluate("Variorum.gridMode.tiles.columns")
    expect(page.locator(".grid-lens img")).to_have_attribute("src", re.compile(f"^/pictures/{pictures[1 + columns]}"))
    page.keyboard.up("Space")
    page.wait_for_selector(".grid-lens", state="hidden")
    expect(page.locator(".confirm:visible")).to_have_text(
        "Confirm 60 right", use_inner_text=True
    )  # a space that was held marks nothing


def test_the_grid_ends_when_everything_is_answered_and_offers_other_classes(asked, opened):
    page = opened(asked.url)
    join_page(page, "Ada")
    pictures = open_grid(page, "coffee")
    while pictures:
        page.keyboard.press("Enter")
        before = ",".join(pictures)
        page.wait_for_function(f"before => String({IDS}) !== before", arg=before)
        if page.locator(".grid-page .empty").is_visible():
            break
        pictures = following(page, pictures)
    asked_for = read_questions(asked.panel, asked.panel.store).filter(
        (pc.field("subject") == "coffee") & (pc.field("why") != "gold")
    )
    wait_for(lambda: set(asked_for["id"].to_pylist()) - set(answers(asked)), set())
    said = re.compile("^Nothing is open here any more")
    expect(page.locator(".grid-page .empty")).to_have_text(said, use_inner_text=True)
    page.get_by_role("button", name="Choose another").click()
    page.locator(".class-choices button", has_text="chelsea").wait_for()
    expect(page.locator(".class-choices button", has_text="coffee")).to_have_count(0)


def test_people_who_differ_decide_together(asked, opened):
    first, second = opened(f"{asked.url}/#grid"), opened(f"{asked.url}/#grid")  # other modes would hold pictures back
    join_page(first, "Ada")
    join_page(second, HOSTILE)
    pictures = open_grid(first)
    assert open_grid(second) == pictures
    differ = [at for at, one in enumerate(pictures) if one in asked_once(asked)][:2]
    second.locator(".tile").nth(differ[0]).click()
    second.locator(".tile").nth(differ[1]).click()
    second.keyboard.press("u")
    for page in (first, second):
        page.keyboard.press("Enter")
    wait_for(lambda: len(kept_votes(asked.panel)), 120)

    assert standing(asked.panel).disputed == 2
    first.get_by_role("link", name="Discussion").click()
    first.wait_for_selector(".votes td")
    expect(first.locator(".discussion [role=status]")).to_have_text(re.compile("^1 of 2"), use_inner_text=True)
    expect(first.locator(".votes tbody tr")).to_have_count(2)
    said = [row.split("\t") for row in first.locator(".votes tbody tr").all_inner_texts()]
    assert sorted(row[0].strip() for row in said) == sorted(["Ada", HOSTILE])
    assert {row[1].strip() for row in said} in ({"right", "wrong"}, {"right", "unclear"})
    of = "Variorum.discussion.current.task.picture.id"
    one = first.evaluate(of)
    first.keyboard.press("n")
    first.keyboard.press("1")
    first.get_by_label("Kind of mistake").select_option("spurious_correlation")
    first.locator(".discussion textarea").fill("only the table")
    first.keyboard.press("Enter")
    first.wait_for_function(f"one => {of} !== one", arg=one)
    other = first.evaluate(of)
    assert {one, other} == {pictures[at] for at in differ}
    first.keyboard.press("y")
    first.get_by_text("Everybody agrees").wait_for()
    wait_for(lambda: answers(asked, round=2), {one: "no", other: "yes"})
    assert standing(asked.panel).disputed == 0
    (decided,) = [vote for vote in kept_votes(asked.panel) if vote["round"] == 2 and vote["id"] == one]
    assert (decided["severity"], decided["category"], decided["comment"]) == (
        "major",
        "spurious_correlation",
        "only the table",
    )
    assert len(answers(asked, round=1, reviewer="Ada")) == 60  # what people said at first stays
    second.get_by_role("link", name="Discussion").click()
    second.get_by_text("Everybody agrees").wait_for()

    first.keyboard.press("z")
    first.wait_for_selector(".votes td")
    wait_for(lambda: first.evaluate(of), other)
    wait_for(lambda: answers(asked, round=2), {one: "no"})


@pytest.mark.parametrize("width", [1280, 360])
def test_grid_and_discussion_are_accessible(asked, opened, check, width):
    page = opened(asked.url, width=width, height=800)
    join_page(page, "Ada")
    page.get_by_role("link", name="Grid").click()
    page.wait_for_selector(".class-choices li")
    check(page)
    open_grid(page)
    page.locator(".tile").nth(2).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    check(page)
    page.keyboard.press("l")
    page.wait_for_selector(".grid-lens:visible")
    check(page)
    page.keyboard.press("l")
    while confirm(page).startswith("Show"):
        page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    other = opened(asked.url)
    join_page(other, HOSTILE)
    open_grid(other)
    other.keyboard.press("a")
    other.keyboard.press("Enter")
    wait_for(lambda: len(kept_votes(asked.panel)), 120)
    page.get_by_role("link", name="Discussion").click()
    page.wait_for_selector(".votes td")
    page.keyboard.press("n")
    check(page)
    wait_for(lambda: page.evaluate("document.documentElement.scrollWidth <= innerWidth"), True)
