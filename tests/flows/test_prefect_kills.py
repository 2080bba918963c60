"""Real kills of real runs: nothing of Prefect is left running, nothing is shown as running, nothing blocks the next."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from prefect_places import Deployed, Place, gone, server_of, until

from variorum.edition.editions import resolve
from variorum.edition.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path, photos, own_cache) -> Place:
    return Place(tmp_path, photos)


def test_the_server_ends_with_a_killed_run_and_the_run_is_marked(place):
    for when in ("starting", "working"):
        killed = place.run(PROBE_SECONDS="0.5")
        server = until(lambda killed=killed: server_of(killed.pid), 60, place.said)
        if when == "working":
            until(lambda: place.units() >= 2, 120, place.said)
        killed.kill()
        killed.wait()
        until(lambda server=server: gone(server), 60, "the server lives on")
        assert place.states() == ["RUNNING"] * (when == "working")
    again = place.run()
    assert again.wait(240) == 0, place.said()
    assert place.states() == ["COMPLETED", "CRASHED"]
    assert set(place.states("task_run")) <= {"COMPLETED", "CRASHED"}
    assert not list((place.home / "variorum").glob("variorum-*"))
    assert resolve("d", Store(str(place.store))).digest() == place.digest()


@pytest.mark.parametrize(
    ("sent", "codes", "state"), [(signal.SIGINT, {130}, "CANCELLED"), (signal.SIGTERM, {143, -15}, "CRASHED")]
)
def test_a_stopped_run_ends_within_seconds_and_leaves_no_server(place, sent, codes, state):
    """It doesn't wait for the part at work, which would never end."""
    stopped = place.run(PROBE_HOLD=str(place.folder / "hold"))
    until(lambda: place.units() >= 1, 180, place.said)
    (place.folder / "hold").touch()
    server = server_of(stopped.pid)
    os.killpg(stopped.pid, sent)  # as Ctrl-C does, to all of the session
    assert stopped.wait(15) in codes
    until(lambda: gone(server), 60, "the server lives on")
    assert place.states() == [state]
    assert set(place.states("task_run")) <= {"COMPLETED", "CANCELLED"}
    if sent == signal.SIGINT:
        assert place.said().splitlines()[-1].startswith("stopped; finished work is kept")


def test_ctrl_c_while_the_server_starts_ends_at_once(place):
    stopped = place.run()
    server = until(lambda: server_of(stopped.pid), 60, place.said)
    os.killpg(stopped.pid, signal.SIGINT)
    assert stopped.wait(15) == 130
    until(lambda: gone(server), 60, "the server lives on")
    starting, last = place.said().splitlines()
    assert starting.startswith("starting Prefect")
    assert last.startswith("stopped; finished work is kept")
    assert place.states() == []


def test_two_runs_start_on_one_new_database(place):
    (place.home / "prefect.db").unlink()
    runs = [place.run(f"log{number}", f"store{number}") for number in range(2)]
    assert [one.wait(400) for one in runs] == [0, 0], [place.said("log0"), place.said("log1")]
    assert place.states() == ["COMPLETED", "COMPLETED"]


def test_a_server_that_dies_midway_ends_the_run_in_one_line(place):
    broken = place.run(PROBE_SECONDS="0.5")
    until(lambda: place.units() >= 1, 180, place.said)
    os.kill(server_of(broken.pid), signal.SIGKILL)
    assert broken.wait(150) in (1, 75)
    last = place.said().splitlines()[-1]
    assert last.startswith("error: http://127.0.0.1:")
    assert "server is gone" in last
    assert "--runner threads" in last
    assert place.units() >= 1
    again = place.run()
    assert again.wait(240) == 0, place.said()
    assert place.states() == ["COMPLETED", "CRASHED"]


@pytest.mark.parametrize("how", ["no folder", "refused"])
def test_without_a_server_a_command_ends_in_one_line_before_any_work(place, how):
    (place.folder / "file").touch()
    environment = {"PREFECT_HOME": str(place.folder / "file" / "x")} if how == "no folder" else {}
    environment |= {"PREFECT_API_URL": "http://127.0.0.1:9/api"} if how == "refused" else {}
    assert place.run(**environment).wait(60) in (1, 75)
    starting, line = place.said().splitlines()
    assert starting.startswith("starting Prefect")
    assert line.startswith("error: ")
    assert (str(place.folder / "file") if how == "no folder" else "http://127.0.0.1:9/api") in line
    assert "--runner threads" in line
    assert not place.units()


# ── deployments ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def deployed(tmp_path, photos, own_cache) -> Iterator[Deployed]:
    place = Deployed(tmp_path, photos)
    words = ["server", "start", "--host", "127.0.0.1", "--port", str(place.port)]
    server = place.start([sys.executable, "-m", "prefect", *words], "server")
    try:
        until(place.answers, 180, lambda: place.said("server"))
        place.prefect("work-pool", "create", "cpu", "--type", "process")
        place.prefect("--no-prompt", "deploy", "--all")
        yield place
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def start_worker(place: Deployed, name: str, **environment: str) -> subprocess.Popen[bytes]:
    often = {"PREFECT_WORKER_QUERY_SECONDS": "2"}  # it looks for runs every ten seconds otherwise
    words = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "cpu"]
    return place.start(words, name, **often, **environment)


def test_killed_runs_of_the_deployment_dont_block_the_next(deployed):
    """Its concurrency limit is one, and a second run is cancelled as long as the first holds it.

    At first only the process of the run is killed, then another one's together with the worker.
    """
    hold = deployed.folder / "hold"  # while it is there, a run waits: however slow the machine is, it isn't done
    worker = start_worker(deployed, "worker", PROBE_SECONDS="1", PROBE_HOLD=str(hold))
    said = lambda: deployed.said("worker")  # noqa: E731
    try:
        first = deployed.begin(deployed.name)
        until(lambda: deployed.units() >= 1, 120, said)
        hold.touch()
        refused = deployed.begin(deployed.name)
        until(lambda: deployed.state(refused) == "CANCELLED", 120, said)
        kill_process_of(deployed, first)
        until(lambda: deployed.state(first) == "CRASHED", 60, said)

        hold.unlink()
        second = deployed.begin(deployed.name)
        until(lambda: deployed.units() >= 2, 120, said)
        hold.touch()
        kill(worker)
        kill_process_of(deployed, second)
        hold.unlink()
        assert deployed.state(second) == "RUNNING"
        worker = start_worker(deployed, "worker2")
        shutil.rmtree(deployed.folder / "cache")
        assert deployed.run(store="other").wait(180) == 0, deployed.said()  # any run here marks those that were killed
        until(lambda: deployed.state(second) == "CRASHED", 60, said)

        after = deployed.begin(deployed.name)
        until(lambda: deployed.state(after) in ("COMPLETED", "CANCELLED"), 180, lambda: deployed.said("worker2"))
        assert deployed.state(after) == "COMPLETED"
        states = {run["state_type"] for run in deployed.ask("/flow_runs/filter", {})}
        assert states == {"COMPLETED", "CRASHED", "CANCELLED"}
        until(lambda: not deployed.process_of(after), 60)  # without its server it would try to reach it for minutes
    finally:
        kill(worker)


def kill_process_of(place: Deployed, run: str) -> None:
    victim = place.process_of(run)
    assert victim
    os.kill(victim, signal.SIGKILL)
    until(lambda: not place.process_of(run), 60)
