"""The reviewers' page in a real browser against the real server: what people do there is what the database has."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from served_panel import join_page, kept_votes
from shapes_to_review import Running, make_shapes, running
from waiting import tap, wait_for

from variorum.people.server.requests import MOST_TASKS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser
PHONE = {"width": 360, "height": 740, "has_touch": True, "is_mobile": True}
DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return make_shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def panel(shapes, tmp_path, request) -> Iterator[Running]:
    """A new panel with labels; a test names other kinds by `pytest.mark.parametrize("panel", …, indirect=True)`."""
    kinds = getattr(request, "param", ("label",))
    name = "-".join(kinds)
    with running(shapes, name, kinds, tmp_path / "votes.sqlite") as server:
        yield server


@pytest.fixture
def unsteady(browser: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """A function that makes a browser whose connection a test may cut: no page may raise."""
    contexts, problems = list[Any](), list[str]()

    def make() -> BrowserContext:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.on("weberror", lambda error: problems.append(str(error.error)))
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert problems == []


def enter(page: Page, name: str = "Ada") -> Page:
    """Join, and wait for the first picture."""
    join_page(page, name)
    settled(page)
    return page


def settled(page: Page) -> dict[str, Any]:
    """The task that is shown, once its picture is there."""
    page.wait_for_selector(".stage img")
    page.wait_for_function("() => Variorum.view?.task")
    page.wait_for_function("() => [...document.querySelectorAll('.stage img')].every(one => one.complete)")
    return task(page)


def task(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("Variorum.view.task")
    return found


def another(page: Page, before: dict[str, Any]) -> dict[str, Any]:
    """The task that follows another one."""
    page.wait_for_function("number => Variorum.view.task && Variorum.view.task.task !== number", arg=before["task"])
    return settled(page)


def answered(page: Page, found: dict[str, Any]) -> int:
    """How many questions of a task have an answer on the page; more than it has once the next task is shown."""
    number: int = page.evaluate(
        """number => Variorum.view.task?.task === number
            ? Variorum.view.draft.lines.filter(line => line.answer).length : 1000""",
        found["task"],
    )
    return number


def with_questions(page: Page, number: int) -> dict[str, Any]:
    """Skip to a picture with at least so many questions."""
    found = settled(page)
    while len(found["questions"]) < number:
        page.keyboard.press("s")
        found = another(page, found)
    return found


def subjects(found: dict[str, Any]) -> list[str]:
    return [one["subject"] for one in found["questions"]]


def answers(panel: Running, found: dict[str, Any], reviewer: str = "Ada") -> dict[str, str]:
    """Answers that count to the questions of a task, by subject."""
    mine = [
        one
        for one in kept_votes(panel.panel)
        if one["id"] == found["picture"]["id"] and one["reviewer"] == reviewer and one["kind"] == found["kind"]
    ]
    by_subject = {one["subject"]: one["answer"] for one in mine}
    assert len(by_subject) == len(mine)
    return by_subject


def none_twice(panel: Running) -> int:
    """How many votes count; no person has two on one question."""
    rows = kept_votes(panel.panel)
    most = Counter((one["question"], one["reviewer"], one["round"]) for one in rows).most_common(1)
    assert not most or most[0][1] == 1
    return len(rows)


def saved(page: Page) -> None:
    """All that the page has kept is with the server."""
    page.wait_for_function("() => Variorum.app.unsent() === 0")


def test_a_person_goes_all_the_way_by_keyboard(panel, opened, check):
    page = opened(panel.url)
    check(page)
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    page.wait_for_selector(".label")
    check(page)
    first = with_questions(page, 3)
    page.keyboard.press("1")  # right
    page.keyboard.press("2")
    page.keyboard.press("2")  # right, then wrong
    page.keyboard.press("3")
    page.keyboard.press("w")  # wrong, and say how
    page.keyboard.press("1")
    page.keyboard.press("4")
    expect(page.locator(".label.current .said")).to_contain_text("major, fine-grained", use_inner_text=True)
    page.keyboard.press("c")
    page.keyboard.type("looks like a sign? y n u 1")
    page.keyboard.press("Control+Enter")
    check(page)
    page.keyboard.press("Enter")
    second = another(page, first)
    one, two, three = subjects(first)
    wait_for(lambda: answers(panel, first), {one: "yes", two: "no", three: "no"})
    last = next(vote for vote in kept_votes(panel.panel) if vote["subject"] == three)
    assert (last["severity"], last["category"]) == ("major", "fine_grained")
    assert last["comment"] == "looks like a sign? y n u 1"
    assert last["seconds"] >= 0

    for key in ["y", "n", "u"] * 3:  # the rest of the keys move on by themselves
        page.keyboard.press(key)
    page.keyboard.press("Space")
    third = another(page, second)
    wait_for(lambda: sorted(answers(panel, second)), sorted(subjects(second)))
    page.keyboard.press("p")
    page.locator("#problem[open]").wait_for()
    check(page)
    page.keyboard.press("3")
    another(page, third)
    wait_for(lambda: [vote["reason"] for vote in kept_votes(panel.panel) if vote["kind"] == "problem"], ["overlay"])
    page.keyboard.press("?")
    expect(page.locator("#help[open]")).to_contain_text("undo", use_inner_text=True)
    check(page)
    page.keyboard.press("Escape")
    none_twice(panel)


def test_a_label_is_found_by_typing_and_added(panel, opened, check):
    page = enter(opened(panel.url))
    first = settled(page)
    page.wait_for_function("() => Variorum.app.classes.all")
    page.keyboard.press("a")
    missing = next(one for one in ("ring", "square") if one not in subjects(first))
    page.keyboard.type(missing[:3])
    page.wait_for_selector("#class-list [aria-selected=true]")
    box = page.get_by_role("combobox", name="Search all classes")
    expect(box).to_have_attribute("aria-expanded", "true")
    option = page.locator(f"#{box.get_attribute('aria-activedescendant')}")
    expect(option).to_have_attribute("aria-selected", "true")
    name = "ring <b>" if missing == "ring" else missing
    expect(option.locator("bdi").first).to_have_text(name, use_inner_text=True)
    check(page)
    page.keyboard.press("Enter")
    expect(page.locator(".label .name").last).to_have_text(name, use_inner_text=True)
    page.keyboard.press("0")  # all others are wrong
    page.keyboard.press("Enter")
    another(page, first)
    wait_for(lambda: answers(panel, first), {**dict.fromkeys(subjects(first), "no"), missing: "yes"})


def test_by_mouse(panel, opened):
    page = enter(opened(panel.url))
    first = with_questions(page, 2)
    rows = page.locator(".label")
    for at in range(rows.count()):
        tap(rows.nth(at).locator(".answer.no"), lambda at=at: answered(page, first) > at, press="click")
    rows.nth(0).locator(".answer.yes").click()
    rows.nth(1).locator(".answer.no").click()
    page.get_by_role("button", name="borderline").click()
    page.get_by_role("button", name="Next picture").click()
    another(page, first)
    one, *others = subjects(first)
    wait_for(lambda: answers(panel, first), {one: "yes", **dict.fromkeys(others, "no")})
    assert [vote["severity"] for vote in kept_votes(panel.panel) if vote["subject"] == others[0]] == ["borderline"]


def test_on_a_phone_by_touch(panel, opened, check):
    page = enter(opened(panel.url, **PHONE))
    first = settled(page)
    check(page)
    wait_for(lambda: page.evaluate("document.documentElement.scrollWidth") <= 360, True)
    for number in range(len(first["questions"])):
        tap(page.locator(".big .unclear"), lambda number=number: answered(page, first) > number)
    tap(page.get_by_role("button", name="Next picture"), lambda: answered(page, first) > len(first["questions"]))
    second = another(page, first)
    wait_for(lambda: answers(panel, first), dict.fromkeys(subjects(first), "unclear"))
    tap(page.get_by_role("link", name="One by one"), page.locator(".single .big").is_visible)
    check(page)
    found = settled(page)
    for number in range(len(found["questions"])):
        page.wait_for_timeout(300)  # a tap that comes with the picture isn't an answer to it
        tap(page.locator(".big .yes"), lambda number=number: answered(page, found) > number)
    another(page, found)
    wait_for(lambda: answers(panel, found), dict.fromkeys(subjects(found), "yes"))
    assert second["picture"]["id"]


def test_one_by_one_with_arrows(panel, opened, check):
    page = opened(panel.url + "#one")
    enter(page)
    check(page)
    for key, answer in [("ArrowRight", "yes"), ("ArrowLeft", "no"), ("ArrowDown", "unclear")]:
        found = settled(page)
        for _ in found["questions"]:
            page.keyboard.press(key)
        another(page, found)
        wait_for(lambda found=found: answers(panel, found), dict.fromkeys(subjects(found), answer))


@pytest.mark.parametrize("panel", [("edit", "box", "safe")], indirect=True)
def test_other_kinds_of_questions(panel, opened, check):
    page = opened(panel.url + "#one")
    enter(page)
    kind = page.get_by_label("Kind of questions")
    kind.select_option("edit")
    page.wait_for_function("() => Variorum.view.task?.kind === 'edit'")
    edit = settled(page)
    expect(page.locator(".pane")).to_have_count(2)
    expect(page.locator(".pane figcaption")).to_have_text(["edit", "original"], use_inner_text=True)
    check(page)
    page.keyboard.press("o")
    expect(page.locator(".pane")).to_have_count(1)
    page.keyboard.press("w")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    another(page, edit)
    wait_for(lambda: answers(panel, edit), {"": "no"})
    assert kept_votes(panel.panel)[-1]["reason"] == page.evaluate("Variorum.app.me.panel.kinds.edit.reasons[0][0]")

    kind.select_option("box")
    page.wait_for_function("() => Variorum.view.task?.kind === 'box'")
    box = settled(page)
    left, top, width, height = box["questions"][0]["box"]
    check(page)
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowLeft", "Control+ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("y")
    expect(page.locator("#said")).to_contain_text("changed the box", use_inner_text=True)
    page.keyboard.press("Enter")
    after = another(page, box)
    wait_for(lambda: answers(panel, box), {"0": "no"})
    assert json.loads(kept_votes(panel.panel)[-1]["box"]) == [left + 2, top + 11, width - 1, height]

    handle = page.locator(".handle").nth(4).bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 30, y - 20, steps=3)
    page.mouse.up()
    page.keyboard.press("n")
    another(page, after)
    wait_for(lambda: answers(panel, after), {"0": "no"})
    sent, asked = json.loads(kept_votes(panel.panel)[-1]["box"]), after["questions"][0]["box"]
    assert sent[:2] == asked[:2]
    assert sent[2] < asked[2]
    assert sent[3] < asked[3]

    kind.select_option("safe")
    page.wait_for_function("() => Variorum.view.task?.kind === 'safe'")
    safe = settled(page)
    blurred = "getComputedStyle(document.querySelector('.sheet')).filter !== 'none'"
    wait_for(lambda: page.evaluate(blurred), True)
    check(page)
    page.keyboard.press("v")
    wait_for(lambda: page.evaluate(blurred), False)
    page.keyboard.press("ArrowRight")
    another(page, safe)
    wait_for(lambda: page.evaluate(blurred), True)  # the next one is blurred again
    wait_for(lambda: answers(panel, safe), {"": "yes"})


def test_zoom_and_pan(panel, opened):
    page = enter(opened(panel.url))
    scale = "Variorum.view.stage.panes[0].scale"
    place = "['left', 'top'].map(name => Variorum.view.stage.panes[0][name])"
    fitting = page.evaluate(scale)
    page.keyboard.press("f")
    wait_for(lambda: page.evaluate(scale), pytest.approx(1))
    page.keyboard.press("f")
    wait_for(lambda: page.evaluate(scale), pytest.approx(fitting))
    page.locator(".frame").hover(position={"x": 200, "y": 150})
    box = page.locator(".frame").bounding_box()
    under = f"Variorum.view.stage.panes[0].at({box['x'] + 200}, {box['y'] + 150})"
    before = page.evaluate(under)
    page.mouse.wheel(0, -900)  # no more than three notches at once
    page.wait_for_function(f"before => {scale} > before", arg=fitting)
    wait_for(lambda: page.evaluate(under), pytest.approx(before, abs=0.5))  # what is under the pointer stays there
    zoomed = page.evaluate(scale)
    page.mouse.wheel(0, -900)
    page.wait_for_function(f"before => {scale} > before", arg=zoomed)
    start = page.evaluate(place)
    page.keyboard.press("ArrowRight")
    wait_for(lambda: page.evaluate(place)[0] < start[0], True)
    start = page.evaluate(place)
    page.mouse.down()
    page.mouse.move(box["x"] + 170, box["y"] + 130, steps=2)
    page.mouse.up()
    wait_for(lambda: page.evaluate(place), pytest.approx([start[0] - 30, start[1] - 20], abs=0.5))
    page.keyboard.press("Escape")
    wait_for(lambda: page.evaluate(scale), pytest.approx(fitting))
    page.locator(".frame").dblclick()
    wait_for(lambda: page.evaluate(scale) == pytest.approx(fitting), False)


def test_undo_takes_back_answers_also_after_going_on(panel, opened):
    page = enter(opened(panel.url))
    first = settled(page)
    page.keyboard.press("0")
    page.keyboard.press("z")
    expect(page.locator(".label [aria-pressed=true]")).to_have_count(len(first["questions"]) - 1)
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    second = another(page, first)
    wait_for(lambda: answers(panel, first), dict.fromkeys(subjects(first), "no"))
    page.keyboard.press("z")
    again = another(page, second)
    assert again["task"] == first["task"]
    wait_for(lambda: answers(panel, first), {})
    expect(page.locator(".label .answer.no[aria-pressed=true]")).to_have_count(len(first["questions"]))
    page.keyboard.press("1")  # wrong becomes unclear
    page.keyboard.press("Enter")
    assert another(page, again)["task"] == second["task"]
    one, *others = subjects(first)
    wait_for(lambda: answers(panel, first), {one: "unclear", **dict.fromkeys(others, "no")})
    none_twice(panel)


def test_the_next_picture_comes_with_the_last_answer_unless_it_is_asked_to_stay(panel, opened):
    page = enter(opened(panel.url))
    first = with_questions(page, 2)
    for _ in first["questions"]:
        page.keyboard.press("y")
    second = another(page, first)
    wait_for(lambda: answers(panel, first), dict.fromkeys(subjects(first), "yes"))
    page.keyboard.press("z")  # the picture is back, and its last question open
    assert another(page, second)["task"] == first["task"]
    assert answered(page, first) == len(first["questions"]) - 1
    page.keyboard.press("y")
    page.keyboard.press("n")  # in the moment before the next picture, another answer takes its place
    second = another(page, first)
    wait_for(lambda: sorted(answers(panel, first).values()), sorted(["no", *["yes"] * (len(first["questions"]) - 1)]))
    page.get_by_label("Go on by itself").uncheck()
    page.reload()  # it is remembered
    assert settled(page)["task"] == second["task"]
    expect(page.get_by_label("Go on by itself")).not_to_be_checked()
    for _ in second["questions"]:
        page.keyboard.press("u")
    assert answered(page, second) == len(second["questions"])
    expect(page.locator(".work.complete:not(.leaving)")).to_be_visible()
    page.keyboard.press("Enter")
    another(page, second)


def test_a_skipped_picture_comes_again_after_all_others(panel, opened):
    page = enter(opened(panel.url))
    first = settled(page)
    page.keyboard.press("s")
    seen = [another(page, first)["task"]]
    while True:
        now = task(page)
        page.keyboard.press("0")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "number => Variorum.view.task?.task !== number && !Variorum.view.moving", arg=now["task"]
        )
        if not page.evaluate("Boolean(Variorum.view.task)"):
            break
        seen.append(task(page)["task"])
    assert seen[-1] == first["task"]
    assert first["task"] not in seen[:-1]
    expect(page.get_by_role("heading", name="Nothing more to answer here")).to_be_visible()
    counts = panel.panel.record.counts
    wait_for(lambda: none_twice(panel), counts["questions"])


def test_a_lost_connection_loses_and_doubles_nothing(panel, unsteady):
    context = unsteady()
    page = context.new_page()
    page.goto(panel.url)
    enter(page)
    context.set_offline(True)
    found = []
    for _ in range(3):  # their tasks and pictures were loaded before
        found.append(settled(page))
        page.keyboard.press("0")
        page.keyboard.press("Enter")
        another(page, found[-1])
    number = sum(len(one["questions"]) for one in found)
    saying = page.get_by_role("status").filter(has_text=f"Not saved yet ({number})")
    saying.wait_for()
    assert kept_votes(panel.panel) == []
    context.set_offline(False)
    saved(page)
    for one in found:
        assert answers(panel, one) == dict.fromkeys(subjects(one), "no")
    assert none_twice(panel) == number
    saying.wait_for(state="hidden")


def test_a_server_that_starts_again_gets_the_votes(panel, unsteady):
    page = unsteady().new_page()
    page.goto(panel.url)
    enter(page)
    found = settled(page)
    panel.stop()
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    another(page, found)
    page.get_by_text("Not saved yet").wait_for()
    panel.start()
    saved(page)
    assert answers(panel, found) == dict.fromkeys(subjects(found), "no")


def test_an_answer_that_was_lost_on_its_way_back_is_one_vote(panel, unsteady):
    page = unsteady().new_page()
    page.goto(panel.url)
    enter(page)
    sent = []

    def lose(route: Any) -> None:
        sent.append(route.fetch().status)  # the server has it, and the page doesn't learn it
        if len(sent) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/api/votes", lose)
    found = settled(page)
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    another(page, found)
    saved(page)
    assert len(sent) == 2
    assert answers(panel, found) == dict.fromkeys(subjects(found), "no")
    assert none_twice(panel) == len(found["questions"])


def test_a_reload_keeps_the_picture_its_answers_and_what_is_unsent(panel, unsteady):
    page = unsteady().new_page()
    page.goto(panel.url)
    enter(page)
    first = settled(page)
    page.route("**/api/votes", lambda route: route.abort())
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    another(page, first)
    second = with_questions(page, 3)
    page.keyboard.press("1")
    page.unroute("**/api/votes")
    page.reload()
    again = settled(page)
    assert again["task"] == second["task"]
    expect(page.locator(".label").first).to_have_attribute("data-answer", "yes")
    saved(page)
    assert answers(panel, first) == dict.fromkeys(subjects(first), "no")
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    another(page, again)
    one, *others = subjects(second)
    wait_for(lambda: answers(panel, second), {one: "yes", **dict.fromkeys(others, "no")})
    none_twice(panel)


def test_a_tab_that_crashes_loses_no_answer(panel, unsteady):
    context = unsteady()
    page = context.new_page()
    page.goto(panel.url)
    enter(page)
    page.route("**/api/votes", lambda route: route.abort())
    first = settled(page)
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    another(page, first)
    second = with_questions(page, 3)
    page.keyboard.press("2")
    page.close()
    page = context.new_page()
    page.goto(panel.url)
    settled(page)
    saved(page)
    assert answers(panel, first) == dict.fromkeys(subjects(first), "no")
    assert settled(page)["task"] == second["task"]  # the picture with an answer comes first, with its answer
    expect(page.locator(".label").nth(1)).to_have_attribute("data-answer", "yes")


def test_two_fingers_zoom(panel, opened):
    page = enter(opened(panel.url, **PHONE))
    touch = page.context.new_cdp_session(page)
    scale = "Variorum.view.stage.panes[0].scale"
    fitting = page.evaluate(scale)
    box = page.locator(".frame").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def fingers(kind: str, apart: float) -> None:
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points if kind != "touchEnd" else []})

    fingers("touchStart", 30)
    for apart in (40, 60, 75, 90):
        fingers("touchMove", apart)
    fingers("touchEnd", 0)
    wait_for(lambda: page.evaluate(scale), pytest.approx(3 * fitting, rel=0.1))


def test_the_back_button_loses_nothing(panel, opened):
    page = enter(opened(panel.url))
    found = with_questions(page, 3)
    page.keyboard.press("2")
    page.get_by_role("link", name="One by one").click()
    page.wait_for_selector(".single")
    page.go_back()
    page.wait_for_selector(".many")
    assert settled(page)["task"] == found["task"]
    expect(page.locator(".label").nth(1)).to_have_attribute("data-answer", "yes")
    page.goto("about:blank")
    page.go_back()
    assert settled(page)["task"] == found["task"]
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    another(page, found)
    one, two, three = subjects(found)
    wait_for(lambda: answers(panel, found), {one: "no", two: "yes", three: "no"})


def test_another_mode_asks_nothing_twice(panel, opened):
    page = enter(opened(panel.url))
    held = with_questions(page, 3)
    page.get_by_role("link", name="One by one").click()
    page.wait_for_selector(".single")
    for _ in range(6):
        found = settled(page)
        for _ in found["questions"]:
            page.keyboard.press("n")
        another(page, found)
    page.get_by_role("link", name="Pictures").click()
    page.wait_for_selector(".many")
    for _ in range(4):
        found = settled(page)
        page.keyboard.press("0")
        page.keyboard.press("Enter")
        another(page, found)
    saved(page)
    expect(page.locator("#notices li")).to_have_count(0)
    assert answers(panel, held) == dict.fromkeys(subjects(held), "no")
    none_twice(panel)


def test_help_and_guide_list_the_same_keys(panel, opened):
    page = enter(opened(panel.url))
    guide = (DOCS / "people" / "reviewers_guide.md").read_text(encoding="utf-8")
    for mode, place in (("Pictures", ".many"), ("One by one", ".single")):
        page.get_by_role("link", name=mode).click()
        page.wait_for_selector(place)
        page.keyboard.press("?")
        wait_for(lambda: page.locator("#help .keys kbd").count() > 15, True)
        listed = page.locator("#help .keys kbd").all_inner_texts()
        assert [name for name in listed if f"`{name}`" not in guide] == []
        page.keyboard.press("Escape")


def counted(row: str, column: int) -> tuple[int, list[str]]:
    """How many keys the docs count for a task, and those that they name."""
    text = (DOCS / "operate" / "benchmarks.md").read_text(encoding="utf-8").split("## Keys per corrected label")[1]
    line = next(line for line in text.splitlines() if line.startswith(f"| {row}"))
    cell = line.split("|")[column + 1].strip()
    names = {"←": "ArrowLeft", "→": "ArrowRight"}
    return int(re.match(r"(?:k \+ )?(\d+)", cell)[1]), [names.get(one, one) for one in re.findall("`(.+?)`", cell)]


def shown_next(page: Page, keys: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Press keys: the task that they answer, and the one that follows the last of them."""
    found = settled(page)
    page.wait_for_timeout(50)
    for key in keys:
        assert task(page)["task"] == found["task"]
        page.keyboard.press(key)
    return found, another(page, found)


@pytest.fixture
def together(shapes, tmp_path, request) -> Iterator[Running]:
    """A panel of labels; its parameter says which classes are asked together."""
    name = "-".join(request.param["circle"])
    with running(shapes, name, ("label",), tmp_path / "votes.sqlite", request.param) as server:
        yield server


TWO = {"circle": ("square",)}
FIVE = {"circle": ("square", "triangle", "bar", "cross")}


@pytest.mark.parametrize("together", [TWO], indirect=True)
def test_two_candidates_take_the_keys_that_the_docs_count(together, opened):
    row = "One label is wrong, the right one is the other of two candidates"
    page = enter(opened(together.url))
    with_questions(page, 2)
    number, keys = counted(row, 1)
    assert len(keys) == number
    found, _ = shown_next(page, keys)
    wait_for(lambda: answers(together, found), dict(zip(subjects(found), ("no", "yes"), strict=True)))
    with_questions(page, 2)
    number, keys = counted("A wrong label with severity", 1)
    assert len(keys) == number
    found, _ = shown_next(page, ["y", *keys])  # the other label has an answer already
    wait_for(lambda: answers(together, found), dict(zip(subjects(found), ("yes", "no"), strict=True)))
    said = kept_votes(together.panel)[-1]
    assert (said["severity"], said["category"]) == ("major", "fine_grained")
    page.get_by_role("link", name="One by one").click()
    page.wait_for_selector(".single")
    with_questions(page, 2)
    number, keys = counted(row, 2)
    assert len(keys) == number
    found, _ = shown_next(page, keys)
    wait_for(lambda: answers(together, found), dict(zip(subjects(found), ("no", "yes"), strict=True)))


@pytest.mark.parametrize("together", [FIVE], indirect=True)
def test_five_candidates_take_the_keys_that_the_docs_count(together, opened):
    one, each = "Five candidates, one is right", "Five candidates, each right, wrong or unclear"
    words = {"y": "yes", "n": "no", "u": "unclear"}
    page = enter(opened(together.url))
    with_questions(page, 5)
    number, keys = counted(one, 1)
    assert len(keys) == number
    found, _ = shown_next(page, keys)
    wait_for(lambda: answers(together, found), dict(zip(subjects(found), ("no", "no", "yes", "no", "no"), strict=True)))
    with_questions(page, 5)
    number, keys = counted(each, 1)
    typed = [*"ynuyn", *keys]
    assert len(typed) == number
    found, _ = shown_next(page, typed)
    wait_for(lambda: answers(together, found), dict(zip(subjects(found), map(words.get, "ynuyn"), strict=True)))
    page.get_by_role("link", name="One by one").click()
    page.wait_for_selector(".single")
    for row in (one, each):
        with_questions(page, 5)
        assert counted(row, 2)[0] == 5
        found, _ = shown_next(page, [*"unyun"])
        wanted = dict(zip(subjects(found), map(words.get, "unyun"), strict=True))
        wait_for(lambda found=found, wanted=wanted: answers(together, found) == wanted, True)


def test_a_label_that_is_missing_takes_the_keys_that_the_docs_count(panel, opened):
    page = enter(opened(panel.url))
    row = "The right label isn't among the candidates"
    page.wait_for_function("() => Variorum.app.classes.all")
    found = settled(page)
    missing = next(one for one in ("ring", "square") if one not in subjects(found))
    number, keys = counted(row, 1)
    assert len(keys) == number
    shown_next(page, [keys[0], *missing, *keys[1:]])
    wait_for(lambda: answers(panel, found), {**dict.fromkeys(subjects(found), "no"), missing: "yes"})
    page.get_by_role("link", name="One by one").click()
    page.wait_for_selector(".single")
    found = settled(page)
    missing = next(one for one in ("ring", "square") if one not in subjects(found))
    extra = ["a", "Enter"]
    assert counted(row, 2)[0] == len(extra)
    shown_next(page, [extra[0], *missing, extra[1], *["n"] * len(found["questions"])])
    wait_for(lambda: answers(panel, found), {**dict.fromkeys(subjects(found), "no"), missing: "yes"})


def test_a_duplicated_tab_gets_pictures_of_its_own(panel, unsteady):
    context = unsteady()
    first = context.new_page()
    first.goto(panel.url)
    enter(first)
    held = settled(first)
    with context.expect_page() as opening:
        first.evaluate("() => void window.open(location.href)")  # as a browser duplicates a tab, with its storage
    second = opening.value
    assert second.evaluate("sessionStorage.length") > 0
    other = settled(second)
    assert other["task"] != held["task"]
    seen = [held["task"], other["task"]]
    for _ in range(3):
        for page in (first, second):
            found = settled(page)
            page.keyboard.press("0")
            page.keyboard.press("Enter")
            seen.append(another(page, found)["task"])
    assert len(set(seen)) == len(seen)
    for page in (first, second):
        saved(page)
        expect(page.locator("#notices li")).to_have_count(0)
    first.reload()  # the tab is still the same one
    assert settled(first)["task"] == seen[-2]
    none_twice(panel)


def test_an_answer_to_what_another_page_has_answered_is_told(panel, unsteady):
    contexts = [unsteady(), unsteady()]
    first = contexts[0].new_page()
    first.goto(panel.url)
    enter(first)
    found = settled(first)
    contexts[1].add_cookies(contexts[0].cookies())  # the same person on another machine, who is given it again
    second = contexts[1].new_page()
    second.goto(panel.url)
    assert settled(second)["task"] == found["task"]
    for page, key in ((first, "y"), (second, "n")):
        for _ in found["questions"]:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        another(page, found)
        page.wait_for_function("() => Variorum.app.unsent() === 0")
    notice = second.locator("#notices li").first
    notice.wait_for()
    expect(notice).to_contain_text("Ada has answered this question already", use_inner_text=True)
    assert answers(panel, found) == dict.fromkeys(subjects(found), "yes")
    none_twice(panel)


def test_a_request_never_names_more_tasks_than_the_server_reads(panel, opened):
    page = enter(opened(panel.url))
    named = page.evaluate(
        """async () => {
          const { app } = Variorum, sent = [];
          const queue = app.queue({ mode: "grid", number: 60, kind: "label", subject: "circle" });
          queue.server = { post: async (_, body) => (sent.push(body.holding.length), { tasks: [] }) };
          queue.ahead = Array.from({ length: 500 }, (_, task) => ({ task }));
          await queue.more();
          return sent;
        }"""
    )
    assert named == [MOST_TASKS]


@pytest.mark.parametrize("panel", [("edit", "box", "safe")], indirect=True)
def test_a_grid_of_each_kind(panel, opened, check):
    page = opened(panel.url)
    enter(page)
    page.get_by_role("link", name="Grid").click()
    asks = {"edit": "Are all of these edits clean?", "box": "Do all of these boxes fit?"}
    asks["safe"] = "Are all of these pictures safe to show to everyone?"
    blurred = "getComputedStyle(document.querySelector('.tile img')).filter !== 'none'"
    for kind, ask in asks.items():
        page.locator(".choice-kinds button", has_text=ask).click()
        page.wait_for_function("() => Variorum.gridMode.ready && Variorum.gridMode.current")
        expect(page.locator(".ask")).to_have_text(ask, use_inner_text=True)
        assert page.evaluate("Variorum.gridMode.current.tasks.every(one => one.kind === Variorum.gridMode.kind)")
        cells = page.evaluate(
            "Variorum.gridMode.current.cells.map(({ task, question }) => [task.picture.id, question.subject])"
        )
        assert len(cells) > 5
        expect(page.locator(".tile")).to_have_count(len(cells))
        wait_for(lambda: page.locator(".tile .box").count() > 0, kind == "box")
        wait_for(lambda: page.evaluate(blurred), kind == "safe")
        check(page)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("l")
        page.wait_for_selector(".grid-lens:visible")
        expect(page.locator(".grid-lens img")).to_have_count(2 if kind == "edit" else 1)
        page.keyboard.press("l")
        if kind == "safe":
            page.keyboard.press("v")
            wait_for(lambda: page.evaluate(blurred), False)
            page.wait_for_function("() => Variorum.gridMode.ready")  # nobody confirms what hasn't come yet
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        wanted = {(*cell, "no" if at == 1 else "yes") for at, cell in enumerate(cells)}
        wait_for(lambda kind=kind: {(one["id"], one["subject"], one["answer"]) for one in of_kind(panel, kind)}, wanted)
        page.keyboard.press("Escape")
        page.wait_for_selector(".choice:visible")
    none_twice(panel)


@pytest.mark.parametrize("panel", [("safe",)], indirect=True)
def test_veiled_pictures_come_blurred_until_somebody_asks(panel, opened):
    page = opened(panel.url + "#one")
    asked = list[str]()
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))

    def sent(*kinds: str) -> list[str]:
        page.wait_for_timeout(20)  # lets Playwright tell of requests
        return [path for path in asked if path.startswith(tuple(f"/{kind}/" for kind in kinds))]

    found = settled(enter(page))
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        found = another(page, found)
    assert len(sent("blurred")) > 2
    assert sent("pictures", "thumbnails", "masks") == []
    page.keyboard.press("v")
    shown = [one["id"] for one in (found["picture"], found["picture"]["original"]) if one]
    wait_for(lambda: sent("pictures"), [f"/pictures/{one}" for one in shown])
    asked.clear()
    page.get_by_role("link", name="Grid").click()
    page.locator(".choice-kinds button").first.click()
    page.wait_for_function("() => Variorum.gridMode.ready && Variorum.gridMode.current")
    page.keyboard.press("l")
    page.wait_for_selector(".grid-lens:visible")
    assert sent("pictures", "thumbnails") == []
    page.keyboard.press("l")
    page.keyboard.press("v")
    page.wait_for_function("() => Variorum.gridMode.ready")
    number = page.evaluate("Variorum.gridMode.current.cells.length")
    wait_for(lambda: len(set(sent("thumbnails"))), number)


def of_kind(panel: Running, kind: str) -> list[dict[str, Any]]:
    return [one for one in kept_votes(panel.panel) if one["kind"] == kind]


@pytest.fixture
def copies(tmp_path) -> Iterator[Running]:
    """A panel that asks about copies."""
    (tmp_path / "copied").mkdir()
    copied = make_shapes(tmp_path / "copied", pictures=6, copies=4)
    with running(copied, "copies", ("copy",), tmp_path / "votes.sqlite") as server:
        yield server


def test_copies_are_compared_one_by_one(copies, opened, check):
    page = opened(copies.url)
    enter(page)
    page.wait_for_selector(".pane")
    expect(page.get_by_role("link", name="Grid")).to_have_count(0)  # details decide, which thumbnails don't show
    found = settled(page)
    expect(page.locator(".pane")).to_have_count(2)
    assert found["questions"][0]["other"]["id"] == found["questions"][0]["subject"] != found["picture"]["id"]
    check(page)
    page.get_by_role("link", name="One by one").click()
    page.wait_for_selector(".single")
    wanted = {}
    for key, answer in (("ArrowRight", "yes"), ("ArrowLeft", "no"), ("ArrowDown", "unclear")):
        found = settled(page)
        expect(page.locator(".pane")).to_have_count(2)
        wanted[found["questions"][0]["question"]] = answer
        page.keyboard.press(key)
        another(page, found)
    wait_for(lambda: {one["question"]: one["answer"] for one in of_kind(copies, "copy")}, wanted)


def test_two_tabs_get_different_pictures(panel, unsteady):
    context = unsteady()
    tabs = [context.new_page(), context.new_page()]
    tabs[0].goto(panel.url)
    enter(tabs[0])
    tabs[1].goto(panel.url)
    tabs[1].wait_for_selector(".label")
    seen = list[int]()
    for _ in range(4):
        for tab in tabs:
            found = settled(tab)
            seen.append(found["task"])
            tab.keyboard.press("0")
            tab.keyboard.press("Enter")
            another(tab, found)
    assert len(set(seen)) == len(seen)
    for tab in tabs:
        saved(tab)
        expect(tab.locator("#notices li")).to_have_count(0)
    none_twice(panel)


def test_a_double_click_answers_once(panel, opened):
    page = enter(opened(panel.url))
    first = settled(page)
    page.keyboard.press("0")
    page.get_by_role("button", name="Next picture").dblclick()
    another(page, first)
    saved(page)
    assert none_twice(panel) == len(first["questions"])
    page.goto(panel.url + "#one")
    page.wait_for_selector(".single")
    found = with_questions(page, 2)
    page.wait_for_timeout(300)
    page.locator(".big .yes").dblclick()
    assert page.evaluate("Variorum.view.draft.lines.map(line => line.answer)").count("yes") == 1
    assert task(page)["task"] == found["task"]


def test_a_vote_that_is_refused_is_told(panel, opened):
    from variorum.people.votes.ballots import pause_panel

    page = enter(opened(panel.url))
    found = settled(page)
    pause_panel(panel.engine, panel.panel.key, True)
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    another(page, found)
    notice = page.locator("#notices li").first
    notice.wait_for()
    expect(notice).to_contain_text("wasn't kept", use_inner_text=True)
    assert kept_votes(panel.panel) == []
    notice.get_by_role("button", name="Close this message").click()


def test_nothing_tells_which_label_was_given(panel, opened):
    page = enter(opened(panel.url))
    manifest, store = panel.panel.manifest, panel.panel.store
    from variorum.edition.tables import read_table

    given = {row["id"]: row["label"] for row in read_table(store, manifest.rows).to_pylist()}
    assert any(given.values())
    found = with_questions(page, 3)
    page.keyboard.press("b")
    shown = page.evaluate("document.body.innerText + document.querySelector('.stage').outerHTML")
    for name in subjects(found):  # each is named as often as the others
        assert len(re.findall(rf"\b{name}\b", shown)) <= 2
    assert all(one["label"] == one["name"] == "" for one in found["picture"]["objects"])


def test_classes_are_found_among_twenty_thousand(panel, opened):
    page = enter(opened(panel.url))
    found = page.evaluate(
        """() => {
          const names = Array.from({length: 20000}, (_, k) => [`n${k}`, `Émile's bird no. ${k}`]);
          names.push(["jay", "jay"], ["bluejay", "blue jay"], ["jaywalker", "jaywalker"]);
          const classes = new Variorum.Classes({ get: async () => ({ classes: names }) }, null);
          return classes.list().then(() => ["jay", "emile 19999", "BIRD", "zzz"].map(words => classes.find(words)));
        }"""
    )
    assert [name for _, name in found[0]] == ["jay", "jaywalker", "blue jay"]
    assert found[1] == [["n19999", "Émile's bird no. 19999"]]
    assert len(found[2]) == 50
    assert found[3] == []
