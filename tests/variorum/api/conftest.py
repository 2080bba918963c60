"""A folder as somebody works in it: photographs, and a store with a few editions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from annotated_set import ANNOTATED

import variorum as va

PHOTOS = {"name": "image_folder", "path": "photos"}
CURATED = {
    "generate": [{"name": "negative"}],
    "curate": [{"name": "bright"}, {"name": "bright_rules", "relabel": 1}],
    "evaluate": [{"name": "brightness"}],
}


@pytest.fixture(scope="session")
def workplace(tmp_path_factory, photos) -> Path:
    """`photos`, and in `store`: shapes@1.0.0, shapes@1.1.0 with three pictures less, mine@1.0.0 and its release."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(photos, folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        for version, pictures in (("1.0.0", 12), ("1.1.0", 9)):
            source = {**ANNOTATED, "pictures": pictures}
            va.run(dataset="shapes", version=version, source=source, samples_per_shard=5, progress=False)
        va.run(dataset="mine", version="1.0.0", source=PHOTOS, samples_per_shard=4, progress=False, **CURATED)
    return folder


@pytest.fixture
def shared(workplace, monkeypatch) -> Path:
    """The folder itself, for tests that only read."""
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("VARIORUM_CACHE", str(workplace / "cache"))
    return workplace


@pytest.fixture
def here(workplace, tmp_path, monkeypatch) -> Path:
    """A copy of it that a test works in."""
    shutil.copytree(workplace, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("VARIORUM_CACHE", str(workplace / "cache"))
    return tmp_path / "here"


@pytest.fixture(scope="module")
def kept_apart(tmp_path_factory):
    """Pictures that are given from Python are kept in a folder of the tests; the models stay where they are."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr("variorum.api.given.cache_dir", lambda: folder)
        yield folder
