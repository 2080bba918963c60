"""Editions with annotations, shared by the tests of reports."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from annotated_set import ANNOTATED

from variorum.edition.store import Store
from variorum.pipeline import Job, run
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe

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
