"""Too few descriptors, too little memory, clocks that go back, signals: one line, and the same command goes on."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial

import pytest
from faults import limited, years_back
from scene import COMMAND, FAILED, PATIENCE, Ended, stopped, then_same, words

OF_A_LIBRARY = ("OpenBLAS error: Memory allocation", "cannot allocate memory for thread-local data: ABORT")
"""What libraries in C say when they lack memory. They end the process at once, with exit codes of their own."""


@pytest.mark.fire
def test_few_descriptors(scene, trials, store):
    """A run that lacks free file descriptors ends well or in one line, and seals nothing that it couldn't read.

    Limits of 12 to 128 open files, for recipes with and without models.
    """

    def attack(case: tuple[str, int]) -> str:
        recipe, most = case
        fault = partial(limited, resource.RLIMIT_NOFILE, most)
        ended = scene.run(words("run", scene.recipe(recipe), store), fault=fault)
        wrong = ended.wrong(*FAILED) or then_same(scene, store, recipe)
        shutil.rmtree(store, ignore_errors=True)
        return wrong

    trials(attack, [*(("q", most) for most in (12, 14, 16, 20, 24, 32, 64)), ("k", 16), ("k", 64)])


@pytest.mark.fire
def test_little_memory(scene, trials, store):
    """A run that lacks memory ends in one line, its own or a C library's, and the same command with more goes on.

    Limits of 0.7 to 2 GB on the address space (`ulimit -v`).
    """

    def attack(megabytes: int) -> str:
        limit = ["bash", "-c", f'ulimit -v {megabytes * 1024}; exec "$@"', "bash"]
        ended = subprocess.run(
            [*limit, *COMMAND, *words("run", scene.recipe("k"), store)],
            cwd=scene.folder,
            env={**os.environ, **scene.environment()},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        aborted = ended.returncode not in (0, 75) and any(one in ended.stderr for one in OF_A_LIBRARY)
        wrong = "" if aborted else Ended(ended.returncode, ended.stdout + ended.stderr).wrong(*FAILED)
        wrong = wrong or then_same(scene, store, "k")
        shutil.rmtree(store, ignore_errors=True)
        return wrong

    trials(attack, [700, 1000, 1300, 2000])


@pytest.mark.fire
def test_the_clock_goes_back(scene, trials, store):
    """Results don't depend on the clock, nor on the times of files.

    A clock three years back, pictures and a cache from the future, and a store half-made before the clock went back.
    """

    def attack(case: str) -> str:
        if case != "at once":
            scene.before("q", case, store)
        wrong = scene.run(words("run", scene.recipe("q"), store), fault=partial(years_back, 3.0)).wrong()
        wrong = wrong or then_same(scene, store)
        shutil.rmtree(store)
        return wrong

    trials(attack, ["at once", "curate", "release"])


@dataclass(frozen=True)
class Signalled:
    """A signal at a moment."""

    number: signal.Signals
    seconds: float

    def __str__(self) -> str:
        return f"{self.number.name} after {self.seconds:.2f} s"


@pytest.mark.fire
def test_signals(scene, trials, store):
    """Ctrl-C, termination and a closed terminal end a run within two seconds; Ctrl-C says what is kept.

    SIGINT, SIGTERM and SIGHUP at random moments; exit codes 130, 143 and 129; the same command then goes on.
    """
    codes = {signal.SIGINT: (130,), signal.SIGTERM: (143, -15), signal.SIGHUP: (129, -1)}

    def attack(case: Signalled) -> str:
        run = scene.start(words("run", scene.recipe("k"), store, "--workers", "2"))
        with stopped([run]):
            time.sleep(case.seconds)
            run.send(case.number)
            began = time.monotonic()
            ended = run.ended()
            took = time.monotonic() - began
        wrong = ended.wrong(*codes[case.number])
        if not wrong and took > 2:
            wrong = f"it took {took:.1f} s"
        if not wrong and case.number == signal.SIGINT and "finished work is kept" not in ended.output:
            wrong = "no message"
        wrong = wrong or then_same(scene, store, "k")
        shutil.rmtree(store, ignore_errors=True)
        return wrong

    scene.after("k", "run")
    counts = [(signal.SIGINT, 6), (signal.SIGTERM, 3), (signal.SIGHUP, 3)]
    trials(attack, [Signalled(one, 0.5 + 0.3 * place) for one, count in counts for place in range(count)])
