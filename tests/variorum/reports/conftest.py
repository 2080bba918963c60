"""Editions with annotations, shared by the tests of reports."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from annotated_set import ANNOTATED

from variorum.edition.store import Store
from variorum.pipeline import Job, run
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe

if TYPE_CHECKING:
    from playwright.sync_api import Page

Made = tuple[Job, Manifest]


@pytest.fixture(scope="session")
def make(tmp_path_factory) -> Callable[..., Made]:
    """A function: the edition of a recipe on `annotated_set`, with its card; the store can be shared."""

    def build(store: Store | None = None, source: dict | None = None, **more) -> Made:
        recipe = {"dataset": "shapes", "version": "1.0.0", "samples_per_shard": 5, "masters": "original", **more}
        job = Job(
            Recipe.parse({**recipe, "source": {**ANNOTATED, **(source or {})}}),
            store or str(tmp_path_factory.mktemp("annotated")),
        )
        return job, run(job)

    return build


@pytest.fixture(scope="session")
def everything(make) -> Made:
    """An edition with splits, configurations, boxes, captions, label states and two formats."""
    return make(configs="place")


@pytest.fixture
def format3(tmp_path) -> Store:
    """A store with the edition `old@1.0.0` of format 3 and a release of it."""
    with tarfile.open(Path(__file__).parents[1] / "edition" / "format3.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return Store(str(tmp_path / "store"))


@dataclass
class Seen:
    """What a page did besides being shown."""

    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def opened(browser, pages) -> Iterator[Callable[..., Page]]:
    """A function: a page of the fixture `pages`, opened. In the end it must have said nothing and asked for no file."""
    contexts = []
    seen = Seen()

    def open_page(name: str, after: str = "", *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen.problems.append(message.text))
        page.on("pageerror", lambda error: seen.problems.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(pages[name].as_uri() + after)
        return page

    yield open_page
    for context in contexts:
        context.close()
    files = [url for url in seen.requests if not url.startswith("data:")]
    assert seen.problems == []
    assert len(files) == len(contexts)
    assert all(url.startswith("file:") for url in files)
