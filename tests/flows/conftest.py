"""Shared by the tests of flows and the command line."""

import os
import subprocess

import pytest
from warm_command import run_command, run_fresh


@pytest.fixture
def command(tmp_path):
    """Runs the command in the test's folder, with a cache of its own; returns the finished process."""

    def call(*arguments: str, fresh: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {"VARIORUM_CACHE": str(tmp_path / "cache"), "COLUMNS": "200", "NO_COLOR": "1"}
        return (run_fresh if fresh else run_command)(arguments, tmp_path, {**os.environ, **own, **environment})

    return call


@pytest.fixture(scope="session")
def shots(photos, tmp_path_factory):
    """A folder with a store that has shots@1.0.0, 1.1.0 and 1.2.0-dev, for tests that publish them."""
    from published_set import made

    folder = tmp_path_factory.mktemp("shots")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        for version in ("1.0.0", "1.1.0", "1.2.0-dev"):
            made(folder / "store", photos, version)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Prefect's server for tests, and a PREFECT_HOME; gives that folder."""
    import variorum.flows.settings  # noqa: F401

    # isort: split
    from prefect.settings import PREFECT_HOME, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect")
    with prefect_test_harness(server_startup_timeout=180), temporary_settings({PREFECT_HOME: home}):
        yield home
