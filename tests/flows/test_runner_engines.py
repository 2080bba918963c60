"""The runners on their engines: one edition to the byte, one model a worker, and kills that cost one unit."""

from __future__ import annotations

import os
import signal
import tempfile
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest
from engine_place import Place, until

PACKAGES = {"processes": "sys", "ray": "ray", "dask": "distributed", "slurm": "submitit"}
pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path, photos):
    found = Place(tmp_path, photos)
    yield found
    if found.process and found.process.poll() is None:
        found.process.kill()
        found.process.wait()


@pytest.fixture(scope="module")
def on_threads(tmp_path_factory, photos):
    """The digest of the release on threads."""

    @cache
    def digest() -> str:
        found = Place(tmp_path_factory.mktemp("threads"), photos)
        found.start("threads")
        return found.finish()

    return digest


@pytest.mark.parametrize("runner", PACKAGES)
def test_a_killed_worker_costs_one_unit_and_the_edition_is_that_of_threads(place, on_threads, runner):
    pytest.importorskip(PACKAGES[runner])
    (place.folder / "doomed").write_text("chelsea/1.jpg")
    place.start(runner)
    assert place.finish() == on_threads()

    rows, said = place.made(), (place.folder / "said").read_text()
    pictures = Counter(picture for _, _, picture in rows)
    assert len(pictures) == 12
    assert {picture for picture, times in pictures.items() if times > 1} == {"chelsea/0.jpg", "chelsea/1.jpg"}
    assert said.count("another makes it again") == 1
    assert "samples 4 to 6" in said
    lines = Counter(line.removeprefix("looked at ") for line in said.splitlines() if line.startswith("looked at "))
    assert set(lines) == set(pictures)  # a killed worker may take its lines along
    assert all(lines[picture] == 1 for picture in pictures if pictures[picture] == 1)

    models = defaultdict(set)
    for process, model, _ in rows:
        models[process].add(model)
    # two workers, and the one in place of the lost one, unless Dask gives its part to the other one
    assert len(models) == 3 or (runner == "dask" and len(models) == 2)
    assert all(len(loaded) == 1 for loaded in models.values())
    until(lambda: not any(Path(f"/proc/{process}").exists() for process in models), 15)


@pytest.mark.parametrize("runner", ["processes", "ray", "dask"])
def test_workers_end_with_a_killed_command_and_the_same_one_goes_on(place, on_threads, runner):
    pytest.importorskip(PACKAGES[runner])
    place.start(runner, TALLY_SECONDS="0.3")
    until(lambda: place.receipts() >= 2)
    place.process.send_signal(signal.SIGKILL)
    place.process.wait()
    workers = {process for process, _, _ in place.made()}
    until(lambda: not any(Path(f"/proc/{process}/exe").exists() for process in workers), 15)

    before, finished = len(place.made()), place.receipts()
    place.start(runner if runner == "processes" else "threads")
    assert place.finish() == on_threads()
    assert len(place.made()) - before == 12 - 2 * finished


def test_ctrl_c_ends_the_workers(place):
    place.start("processes", TALLY_SECONDS="60")
    until(place.made)
    place.process.send_signal(signal.SIGINT)
    assert place.process.wait(10) == 130
    assert "stopped; finished work is kept" in (place.folder / "said").read_text()
    assert not any(Path(f"/proc/{process}").exists() for process, _, _ in place.made())


def stop_raylets(folder: str) -> list[int]:
    """Stop the processes in which Ray's nodes with this folder start, and give their ids."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if words.partition(b"\0")[0].endswith(b"/raylet") and folder.encode() in words:
            os.kill(int(entry.name), signal.SIGSTOP)
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("runner", ["ray", "dask"])
def test_a_cluster_that_starts_too_late_is_an_error_for_now(place, runner):
    pytest.importorskip(PACKAGES[runner])
    with tempfile.TemporaryDirectory() as folder:  # with a short path, as Ray's sockets lie there
        place.start(runner, RAY_TMPDIR=folder, DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="1ms")
        if runner == "ray":
            found: list[int] = []
            until(lambda: found.extend(stop_raylets(folder)) or found)
        code = place.process.wait(120)
        said = (place.folder / "said").read_text().splitlines()
        assert code == 75, said
        assert said[-1].startswith(f"error: {runner.capitalize()} can't start on this machine (")
        assert said[-1].endswith("or use --runner processes")
