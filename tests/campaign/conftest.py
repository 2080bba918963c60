"""Fixtures of the attacks. After `make test-fire` the figures are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scene import Scene
from trials import Trials

sys.path.append(str(Path(__file__).parents[1] / "generators" / "sources"))  # hostile_files


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Photographs, recipes, and stores that nobody disturbed."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the server that forks must have no threads
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Iterator[Trials]:
    """Counts the test's trials, and saves the figures of marked tests."""
    counted = Trials(request.function)
    yield counted
    if counted.found and request.node.get_closest_marker("fire"):
        counted.save()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a store of the test's own goes."""
    return tmp_path / "store"
