"""Every hostile argument, recipe and store ends in one line with a documented exit code, and none hangs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from hostile_arguments import CASES, Case, closed_port, prepare

from variorum.flows.cli import main
from variorum.pipeline import Job, build
from variorum.stages.recipe_files import load_recipe

SECONDS = 30


@pytest.fixture(scope="module")
def place(photos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    prepare(folder, photos)
    here = Path.cwd()
    os.chdir(folder)
    try:
        build(Job(load_recipe("good.yaml"), "store"))
    finally:
        os.chdir(here)
    return folder


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """What `main` sets for its process is set back."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


def ended(words: tuple[str, ...], capfd) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command in this process; it fails after `SECONDS`."""

    def too_long(*_):
        raise AssertionError(f"still running after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        with pytest.raises(SystemExit) as stop:
            main(words)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    out, err = capfd.readouterr()
    return stop.value.code, out, err


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_command_ends_in_one_line(case: Case, place, monkeypatch, capfd):
    monkeypatch.chdir(place)
    code, out, err = ended(tuple(word.replace("{port}", str(closed_port())) for word in case.words), capfd)
    assert code in (case.code if isinstance(case.code, tuple) else (case.code,)), err
    assert case.says in out + err
    assert "Traceback" not in err
    assert "hunter22" not in out + err
    assert not set(out + err) & set("\x1b\0\u202e\udcff")
    assert len(err.splitlines()) <= case.lines, err
    assert code == 0 or err.startswith("error: ") or case.lines > 1
    assert max((len(line) for line in err.splitlines()), default=0) < 1500
    assert not list(place.glob("owned"))


IN_A_PROCESS = ("recipe_deep_lists", "store_s3_secret", "unknown_command_surrogate")
"""What a process of its own may show: a stack that overflows, what a client says at the end, arguments of odd bytes."""


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_a_hostile_command_ends_the_same_in_a_process_of_its_own(name, place):
    case = next(case for case in CASES if case.name == name)
    words = [os.fsencode(word.replace("{port}", str(closed_port()))) for word in case.words]
    done = subprocess.run(
        [sys.executable, "-c", "from variorum.flows.cli import main; main()", *words],
        cwd=place,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        timeout=SECONDS,
    )
    err = done.stderr.decode()
    assert done.returncode in (case.code if isinstance(case.code, tuple) else (case.code,)), err
    assert case.says in err
    assert len(err.splitlines()) == 1
    assert "hunter22" not in err
