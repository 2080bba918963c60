"""Chromium, a small edition, and pages that must have nothing to complain about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import served_panel

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = Path(__file__).parents[3] / ".cache/screenshots"
FAILED = pytest.StashKey[bool]()
REFUSED = "Failed to load resource: the server responded with a status of 40"
"""What Chromium says about answers that a test asks for: not signed in, paused."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def edition(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Manifest and store of an edition of cats and cups."""
    return served_panel.make_edition(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture
def opened(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """A function: an address in a browser of its own; none of the pages may raise, or ask another server.

    How each page looks at the end of a test that fails lies in .cache/screenshots.
    """
    contexts, problems, requests = [], list[str](), list[tuple[str, str]]()

    def open_page(address: str, *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append((address, request.url)))
        page.goto(address)
        return page

    yield open_page
    name = re.sub(r"\W+", "_", request.node.name)
    for number, context in enumerate(contexts):
        for page in context.pages if request.node.stash[FAILED] else ():
            page.screenshot(path=SCREENSHOTS / f"{name}_{number}.png")
        context.close()
    assert [text for text in problems if not text.startswith(REFUSED)] == []
    away = [url for address, url in requests if url.split("/")[:3] != address.split("/")[:3]]
    assert [url for url in away if not url.startswith("data:")] == []


@pytest.fixture(scope="session")
def check() -> Callable[[Page], None]:
    """A function that finds nothing against WCAG on a page."""

    def run(page: Page) -> None:
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []

    return run
