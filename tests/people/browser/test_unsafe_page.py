"""Questions about categories of unsafe pictures on the reviewers' page: their words, their veil, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from coloured_shapes import recipe, shapes
from playwright.sync_api import expect
from served_panel import join_page
from shapes_to_review import Running
from waiting import wait_for

from variorum.edition.store import Store
from variorum.people.panel.panel import open_panel, publish
from variorum.people.panel.settings import Settings
from variorum.people.votes.ballots import counted
from variorum.pipeline import Job, build, curate
from variorum.schemas.recipe import Recipe

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
DEFINITIONS = {"red": "red (a shape that is red)", "blue": "blue (a shape that is blue)"}


@pytest.fixture
def panel(tmp_path, monkeypatch) -> Iterator[Running]:
    """Three pictures, each with two categories that a labeler is unsure of."""
    monkeypatch.setenv("LOG_OF_CALLS", str(tmp_path / "log"))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    shapes(tmp_path, 3)
    labelers = [{"label": "a", "speaks": ["red", "blue"], "threshold": 0.04}]
    store = Store(str(tmp_path / "store"))
    job = Job(Recipe.parse(recipe(tmp_path, labelers, unsure=0.999)), store)
    manifest = build(job)
    curate(job, manifest)
    publish(manifest, store, Settings(kinds=("unsafe",), gold=0, agreed=0))
    server = Running(open_panel(manifest, store))
    yield server
    server.stop()


def test_each_category_is_asked_with_its_definition_behind_a_veil(panel: Running, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(panel.url)
    join_page(page, "Ada")
    expect(page.locator("#question")).to_have_text("In which of these ways is the picture unsafe?")
    page.wait_for_function("() => Variorum.view?.task")
    asked = page.evaluate("Variorum.view.task.questions.map((one) => one.subject)")
    assert set(asked) <= set(DEFINITIONS)
    expect(page.locator(".labels .name")).to_have_text([DEFINITIONS[name] for name in asked])
    assert page.evaluate("Variorum.view.stage.hidden")
    for _ in asked:
        page.keyboard.press("y")
    page.keyboard.press("Enter")
    wait_for(lambda: len(counted(panel.engine, panel.panel.key)), len(asked))
    kept = counted(panel.engine, panel.panel.key).to_pylist()
    assert {(one["kind"], one["subject"], one["answer"]) for one in kept} == {("unsafe", name, "yes") for name in asked}
    page.close()
