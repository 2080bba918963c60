"""The administrator's page in a real browser against the real server."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from served_panel import ADMIN_KEY, Serving, answer, join_page, kept_votes, serving, write_gold
from waiting import wait_for

from variorum.people.panel.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>"
TURNED = "א <b>ב</b>"
"""Letters that are written from the right."""


@pytest.fixture(scope="module")
def known(edition: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bool]:
    """A function: whether a picture, by its id, shows the cat."""
    from variorum.edition.tables import read_table

    manifest, store = edition
    cats = {row["id"]: "chelsea" in row["origin"] for row in read_table(store, manifest.rows).to_pylist()}
    return cats.__getitem__


@pytest.fixture(scope="module")
def voted(edition: Any, known: Callable[[str], bool], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A panel with the votes of three people: two who look, and one who always says yes."""
    gold = write_gold(tmp_path_factory.mktemp("gold") / "gold.csv", 30)
    with serving(*edition, Settings(votes=3, gold=0.3), "admin", gold) as found:

        def right(task: Any, subject: str) -> str:
            return "yes" if known(task.id) == (subject == "chelsea") else "no"

        answer(found.panel, "Ada", right, 60)
        answer(found.panel, TURNED, right, 20)
        answer(found.panel, HOSTILE, lambda _, __: "unclear", 60)
        yield found


def signed_in(opened: Callable[..., Page], voted: Serving, **options: Any) -> Page:
    """The administrator's page with its numbers."""
    page = opened(f"{voted.url}/admin?key={ADMIN_KEY}", **options)
    page.wait_for_selector(".raters tbody tr")
    return page


def line(page: Page, name: str) -> Any:
    return page.locator(".raters tbody tr", has_text=name)


def test_raters_coverage_and_agreement_are_shown_with_names_as_text(voted, opened):
    page = signed_in(opened, voted)
    page.wait_for_url("**/admin")  # the key isn't left in the address
    expect(page.locator("h1")).to_have_text("served", use_inner_text=True)
    names = page.locator(".raters tbody th bdi")
    wait_for(lambda: {"Ada", TURNED, HOSTILE} <= {*names.all_inner_texts()}, True)
    expect(page.locator("img")).to_have_count(0)
    votes = kept_votes(voted.panel)
    for name in ("Ada", TURNED, HOSTILE):
        given = sum(one["reviewer"] == name for one in votes)
        expect(line(page, name).locator("[data-label=Answers]")).to_have_text(str(given), use_inner_text=True)
    right, of = line(page, "Ada").locator(".interval").inner_text().split("\n")[0].split(" of ")
    assert 0 < int(right) == int(of)
    expect(line(page, "Ada")).not_to_contain_text("⚠ suspect", use_inner_text=True)
    expect(line(page, HOSTILE)).to_contain_text("⚠ suspect", use_inner_text=True)
    expect(line(page, HOSTILE).locator(".reason")).not_to_be_empty()
    counts = voted.panel.record.counts
    numbers = page.locator(".legend strong")
    wait_for(lambda: sum(map(int, numbers.all_inner_texts())), counts["questions"] - counts["gold"])
    for word in ("clicks", "Gwet"):
        expect(page.locator("#facts")).to_contain_text(word, use_inner_text=True)


def test_a_paused_rater_is_told_so_and_their_vote_is_not_kept(voted, opened):
    page = signed_in(opened, voted)
    reviewer = opened(voted.url)
    join_page(reviewer, "Bob")
    reviewer.get_by_role("link", name="Grid").click()
    reviewer.locator(".class-choices button").first.click()
    reviewer.wait_for_function("() => Variorum.gridMode.ready")
    line(page, "Bob").get_by_role("button", name="Pause").click()
    line(page, "Bob").get_by_text("paused").wait_for()
    reviewer.keyboard.press("Enter")
    reviewer.wait_for_selector("#notices:not([hidden]) li")
    expect(reviewer.locator("#notices")).to_contain_text("paused", use_inner_text=True)
    assert [one for one in kept_votes(voted.panel) if one["reviewer"] == "Bob"] == []
    line(page, "Bob").get_by_role("button", name="Resume").click()
    line(page, "Bob").get_by_role("button", name="Pause").wait_for()


def test_the_panel_is_paused_for_all(voted, opened):
    page = signed_in(opened, voted)
    page.get_by_role("button", name="Pause the panel").click()
    page.get_by_role("button", name="Resume the panel").wait_for()
    expect(page.locator("#state")).to_have_text("paused", use_inner_text=True)
    reviewer = opened(voted.url)
    join_page(reviewer, "Dan")
    expect(reviewer.locator("#notices")).to_contain_text("paused", use_inner_text=True)
    page.get_by_role("button", name="Resume the panel").click()
    page.get_by_role("button", name="Pause the panel").wait_for()


def test_an_added_rater_joins_by_their_link(voted, opened):
    page = signed_in(opened, voted)
    page.get_by_label("Name of the new reviewer").fill("Eve <b>")
    page.get_by_role("button", name="Add a reviewer").click()
    expect(page.locator("#added")).to_contain_text("Link of Eve <b>", use_inner_text=True)
    link = page.locator("#added input").input_value()
    line(page, "Eve <b>").wait_for()
    person = opened(link)
    person.wait_for_selector("#modes:not([hidden])")
    expect(person.locator("#subtitle")).to_contain_text("Eve <b>", use_inner_text=True)
    assert "secret" not in person.url
    page.get_by_label("Name of the new reviewer").fill("\x07")
    page.get_by_role("button", name="Add a reviewer").click()
    page.locator("#failed:visible").wait_for()
    expect(page.locator("#failed")).to_contain_text("character", use_inner_text=True)


def test_the_page_follows_the_panel_by_itself(voted, opened):
    page = signed_in(opened, voted)
    expect(line(page, "Zoe")).to_have_count(0)
    answer(voted.panel, "Zoe", lambda _, __: "yes", 3, time.time())
    line(page, "Zoe").wait_for()


@pytest.mark.parametrize(("name", "ending"), [("Parquet", ".parquet"), ("CSV", ".csv"), ("Label Studio", ".json")])
def test_votes_are_downloaded(voted, opened, name, ending):
    page = signed_in(opened, voted)
    with page.expect_download() as waiting:
        page.get_by_role("link", name=name, exact=True).click()
    assert waiting.value.suggested_filename.endswith(ending)
    data = Path(waiting.value.path()).read_bytes()
    votes = {one["vote"] for one in kept_votes(voted.panel)}
    if ending == ".parquet":
        import pyarrow.parquet as pq

        assert set(pq.read_table(io.BytesIO(data))["vote"].to_pylist()) == votes
    elif ending == ".csv":
        assert {row["vote"] for row in csv.DictReader(io.StringIO(data.decode()))} == votes
    else:
        assert len({task["data"]["picture"] for task in json.loads(data)}) > 20


def test_nobody_sees_it_without_the_key(voted, opened):
    page = opened(f"{voted.url}/admin")
    page.locator("#failed:visible").wait_for()
    expect(page.locator("#failed")).to_contain_text("link", use_inner_text=True)
    expect(page.locator(".raters tbody tr")).to_have_count(0)


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_on_a_desk_and_a_phone(voted, opened, check, width, scheme):
    page = signed_in(opened, voted, width=width, color_scheme=scheme)
    line(page, "Ada").get_by_role("button", name="Pause").click()
    line(page, "Ada").get_by_text("paused").wait_for()
    check(page)
    wait_for(lambda: page.evaluate("document.documentElement.scrollWidth <= innerWidth"), True)
    line(page, "Ada").get_by_role("button", name="Resume").click()
    line(page, "Ada").get_by_role("button", name="Pause").wait_for()


def left(*pages):
    """Leave pages of a server that ends before they are closed: they would ask it in vain."""
    for page in pages:
        page.goto("about:blank")


def test_whoever_joins_waits_until_the_organiser_confirms_them(edition, opened):
    name = f"{HOSTILE} {time.time_ns()}"  # a second try has the same database
    with serving(*edition, Settings(votes=3, gold=0.0), "waiting", joining="confirmed") as found:
        page = opened(found.url)
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Join").click()
        expect(page.get_by_role("status").filter(has_text="The organiser lets you in")).to_be_visible()
        admin = signed_in(opened, found)
        expect(line(admin, name).locator(".badge")).to_have_text("waits")
        admin.get_by_role("button", name=f"Confirm {name}").click()
        expect(line(admin, name).locator("button", has_text="Pause")).to_be_visible()
        page.wait_for_selector("#modes:not([hidden])")
        left(page, admin)


def test_only_invited_people_are_let_in(edition, opened):
    with serving(*edition, Settings(votes=3, gold=0.0), "invited", joining="invited") as found:
        page = opened(found.url)
        expect(page.locator("#work")).to_contain_text("This review is for invited people.")
        expect(page.get_by_label("Your name")).to_have_count(0)
        admin = opened(f"{found.url}/admin?key={ADMIN_KEY}")
        admin.get_by_label("Name of the new reviewer").fill("Ann")
        admin.get_by_role("button", name="Add a reviewer").click()
        page.goto(admin.get_by_label("Link of Ann, for them alone").first.input_value())
        page.wait_for_selector("#modes:not([hidden])")
        expect(admin.get_by_label("Invitation for anybody")).to_have_count(0)
        left(page, admin)
