"""Fixtures of the attacks. After `make test-fire` the figures are printed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from report import costs, part_of
from scene import Scene
from trials import Trials


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the marked tests that aren't in the part that FIRE_PART names, as 2/4."""
    number, _, count = os.environ.get("FIRE_PART", "1/1").partition("/")
    marked = {item: item.originalname for item in items if item.get_closest_marker("fire")}
    part = part_of(marked.values(), costs(), int(count))
    others = [item for item, name in marked.items() if part[name] != int(number)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


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
