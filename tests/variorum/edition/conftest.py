"""A small store that tests tamper with; each test works on a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_store import make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `small_store`: the store, the recipes of its editions and their generator."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        make(folder)
    return folder
