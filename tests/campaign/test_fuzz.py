"""Fuzzing of every decoder and reader"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest

SECONDS = int(os.environ.get("VARIORUM_FUZZ_SECONDS", "10"))
"""For each target, in `make test-fire`."""
FOUND = sorted(path for path in fuzz.CORPUS.rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def aside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fuzz, "PLACE", tmp_path / "place")
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_stays_mended(path):
    fuzz.tried(path.parent.name, path.read_bytes())


def test_the_corpus_is_small():
    assert {path.parent.name for path in FOUND} <= {*fuzz.TARGETS}
    assert sum(path.stat().st_size for path in FOUND) < 200_000


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with real files for each target."""
    if not (fuzz.LIBRARY / "atheris").exists():
        pytest.skip("atheris isn't installed: make fuzz")
    folder = tmp_path_factory.mktemp("fuzz")
    subprocess.run([sys.executable, fuzz.__file__, "seeds", str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.fire
def test_changed_bytes(trials, real):
    """Whatever bytes a decoder or reader gets, it returns or raises one of the project's own errors, in one line.

    Atheris changes real files, guided by the code that they reach; a trial is a target, for ten seconds.
    """

    def attack(target: str) -> str:
        words = [sys.executable, fuzz.__file__, target, str(SECONDS), str(real)]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        found = done.stderr.partition("Uncaught Python exception")[2]
        return "" if done.returncode == 0 else (found or done.stderr)[-500:]

    trials(attack, fuzz.TARGETS)
