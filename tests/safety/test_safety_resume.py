"""Labelers' calls are made once, whatever happens to the process: killed, or without a network for a while."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from coloured_shapes import recipe, shapes

from variorum.curation.safety.harms import asking
from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.people.panel.panel import newest_ledger
from variorum.pipeline import Job, build, curate
from variorum.schemas.errors import TemporaryError
from variorum.schemas.recipe import Recipe

PICTURES, BATCH = 40, 8
LABELERS = [{"label": "a", "batch": BATCH}, {"label": "b", "batch": BATCH, "speaks": ["red"], "threshold": 0.4}]
COMMAND = """
import variorum.curation.safety.harms.asking as asking
asking.PAUSES = (0.0,)
from variorum.flows.cli import main
main()
"""


def calls(log: Path) -> list[str]:
    return log.read_text().splitlines()


def curated(folder: Path, store: str) -> str:
    """Digest of the ledger, of a run in this process."""
    job = Job(Recipe.parse(recipe(folder, LABELERS)), str(folder / store))
    return curate(job, build(job))[1].digest()


def test_a_labeler_that_stops_for_a_while(tmp_path, monkeypatch):
    shapes(tmp_path, PICTURES)
    monkeypatch.setattr(asking, "PAUSES", (0.0,))
    monkeypatch.setenv("LOG_OF_CALLS", str(tmp_path / "undisturbed"))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    digest = curated(tmp_path, "store")
    whole = calls(tmp_path / "undisturbed")
    assert len(whole) == len(set(whole)) == 2 * PICTURES / BATCH

    monkeypatch.setenv("LOG_OF_CALLS", str(tmp_path / "log"))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "another cache"))
    for at in (3, 7):
        monkeypatch.setenv("FAILS_AT", str(at))
        with pytest.raises(TemporaryError, match="the network is gone"):
            curated(tmp_path, "second")
        assert calls(tmp_path / "log") == whole[:at]
    monkeypatch.delenv("FAILS_AT")
    assert curated(tmp_path, "second") == digest
    assert calls(tmp_path / "log") == whole  # each call once, in the same order


@pytest.mark.slow
def test_a_killed_run_repeats_no_call(tmp_path):
    shapes(tmp_path, PICTURES)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(tmp_path, LABELERS)))

    def run(name: str, **more: str) -> subprocess.CompletedProcess[str]:
        place = {"LOG_OF_CALLS": str(tmp_path / f"{name}.log"), "VARIORUM_CACHE": str(tmp_path / f"{name} cache")}
        command = [sys.executable, "-c", COMMAND, "run", "recipe.yaml", "--store", name, "--runner", "threads"]
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **place, **more}, capture_output=True, text=True, timeout=300
        )

    def digest(name: str) -> str:
        store = Store(str(tmp_path / name))
        _, ledger = newest_ledger(resolve("shapes@1.0.0", store), store)
        assert ledger is not None
        return ledger.digest()

    done = run("undisturbed")
    assert done.returncode == 0, done.stderr
    whole = calls(tmp_path / "undisturbed.log")
    assert run("killed", DIES_AT="3").returncode == -signal.SIGKILL
    assert calls(tmp_path / "killed.log") == whole[:3]
    late = run("killed", FAILS_AT="6")
    assert late.returncode == 75, late.stderr
    assert "the network is gone" in late.stderr
    assert calls(tmp_path / "killed.log") == whole[:6]
    assert run("killed", DIES_AT="8").returncode == -signal.SIGKILL
    done = run("killed")
    assert done.returncode == 0, done.stderr
    assert calls(tmp_path / "killed.log") == whole
    assert digest("killed") == digest("undisturbed")
