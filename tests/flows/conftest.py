"""Shared by the tests of flows and the command line."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def command(tmp_path):
    """Runs the command in the test's folder, with a cache of its own; returns the finished process."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {"VARIORUM_CACHE": str(tmp_path / "cache"), "COLUMNS": "200", "NO_COLOR": "1"}
        return subprocess.run(
            [sys.executable, "-c", "from variorum.flows.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={**os.environ, **own, **environment},
            capture_output=True,
            text=True,
        )

    return call
