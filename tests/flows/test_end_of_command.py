"""The end of a process: its work is done, so nothing that native threads still do may turn it into a failure."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from variorum.flows import cli
from variorum.pixels import encode_png

RUNS = int(os.environ.get("VARIORUM_ENDS", "8"))
"""How often the slow test runs a command."""
COMMAND = "from variorum.flows.cli import command; command()"
LATE = """
import atexit, io, sys, threading, time
import pyarrow as pa, pyarrow.parquet as pq

file = io.BytesIO()
pq.write_table(pa.table({"a": [1, 2, 3]}), file)
reads = threading.Event()

class Slow(io.BytesIO):
    def read(self, *size):
        reads.set()
        time.sleep(1)
        return super().read(*size)

table = pa.PythonFile(Slow(file.getvalue()), "r")
threading.Thread(target=pq.read_table, args=[table], daemon=True).start()
reads.wait()
threading.Thread(target=lambda: (time.sleep(0.2), print("a thread")), daemon=False).start()
atexit.register(print, "at exit")
print("done")
from variorum.flows.endings import leave
leave(7)
"""
"""A process at whose end a thread of Arrow's is about to call Python."""


def test_a_native_thread_that_is_late_does_not_abort_the_command():
    """With `sys.exit(7)` in its place, the thread ends this process by SIGABRT on Python 3.11."""
    ended = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (7, "")
    assert ended.stdout.splitlines() == ["done", "a thread", "at exit"]


def test_the_script_is_the_command_that_ends_so():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["variorum"] == f"{cli.command.__module__}:{cli.command.__name__}"


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["nonsense"], 2), (["show", "x", "--store", "x"], 1)])
def test_codes_and_output_arrive(tmp_path, words, code):
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ended.returncode == code
    assert ended.stderr.startswith("error: ") if code else ended.stdout.startswith("variorum ")


@pytest.mark.slow
def test_verify_never_aborts_on_a_busy_machine(tmp_path):
    """`VARIORUM_ENDS=200` for more runs; they make the load themselves, eight at a time."""
    (tmp_path / "photos").mkdir()
    for number in range(12):
        (tmp_path / "photos" / f"{number}.png").write_bytes(encode_png(np.full((16, 16, 3), number, np.uint8)))
    source = "source: {name: image_folder, path: photos}\nsamples_per_shard: 3\n"
    (tmp_path / "recipe.yaml").write_text(f"dataset: small\nversion: 1.0.0\n{source}")

    def run(*words: str) -> tuple[int, bool, str]:
        ended = subprocess.run(
            [sys.executable, "-c", COMMAND, *words, "--store", "s"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        return ended.returncode, "match their hashes" in ended.stdout, "terminate" in ended.stderr

    assert run("run", "recipe.yaml", "--runner", "threads")[0] == 0
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: run("verify", "small"), range(RUNS)))
    assert ends == [(0, True, False)] * RUNS
