"""Prefect: killed and stopped runs leave no server, no zombie run, and a store that the same command completes."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from scene import COMMAND, PATIENCE, Scene, differs

LONGEST = 60
"""Seconds within which a server ends after its parent."""


def started(scene: Scene, store: Path, home: Path) -> subprocess.Popen[bytes]:
    """A run under Prefect, with a server of its own, when it is at work. It prints into the file `said`."""
    arguments = ["run", str(scene.recipe("q")), "--store", str(store)]
    environment = {**os.environ, **scene.environment(), "PREFECT_HOME": str(home)}
    with said(scene).open("wb") as output:
        run = subprocess.Popen([*COMMAND, *arguments], cwd=scene.folder, env=environment, stdout=output, stderr=output)
    began = time.monotonic()
    while run.poll() is None and not list(store.glob("objects/*")):
        if time.monotonic() - began > PATIENCE:
            run.kill()
        time.sleep(0.02)
    return run


def said(scene: Scene) -> Path:
    """What the last run printed."""
    return scene.folder / "said"


def alive(home: Path) -> list[int]:
    """Processes that work with this Prefect home, seen by their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"PREFECT_HOME={home}\0".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def left(home: Path) -> str:
    """What a run left behind: processes after a while; "" for none."""
    began = time.monotonic()
    while alive(home) and time.monotonic() - began < LONGEST:
        time.sleep(0.5)
    still = alive(home)
    for process in still:
        os.kill(process, signal.SIGKILL)
    return f"{len(still)} processes live on after {LONGEST} s" if still else ""


def zombies(home: Path) -> str:
    """Flow runs that Prefect takes for running; "" for none."""
    with sqlite3.connect(home / "prefect.db") as database:
        states = database.execute("SELECT state_type FROM flow_run").fetchall()
    running = [state for (state,) in states if state in ("RUNNING", "PENDING", "CANCELLING")]
    return f"{len(running)} of {len(states)} flow runs are still {running[0]}" if running else ""


@pytest.mark.fire
def test_killed_under_prefect(scene, trials, store, tmp_path):
    """A run under Prefect that is killed leaves no server and no run that is taken for running.

    `kill -9`, SIGINT and SIGTERM while pictures are made; then the processes, the same command, Prefect's database.
    """
    whole, home = scene.after("q", "run"), tmp_path / "prefect"
    codes = {signal.SIGKILL: (-9,), signal.SIGINT: (130,), signal.SIGTERM: (143, -15)}

    def attack(number: signal.Signals) -> str:
        run = started(scene, store, home)
        run.send_signal(number)
        code = run.wait(LONGEST)
        wrong = "" if code in codes[number] else f"exit code {code}: {said(scene).read_text()[-300:]}"
        wrong = wrong or left(home)
        again = started(scene, store, home)
        again.wait(PATIENCE)
        wrong = wrong or ("" if again.returncode == 0 else f"the same command: {said(scene).read_text()[-300:]}")
        wrong = wrong or left(home) or differs(store, whole) or zombies(home)
        shutil.rmtree(store)
        return wrong

    trials(attack, [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
