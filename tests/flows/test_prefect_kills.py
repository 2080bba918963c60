"""Real kills of real runs: nothing of Prefect is left running, nothing is shown as running, nothing blocks the next."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.pipeline import Job, run
from variorum.schemas.recipe import Recipe

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from variorum.flows.cli import main; main()"]


class Place:
    """A folder with a recipe, a store, a cache and a PREFECT_HOME of its own, where runs are started and watched."""

    def __init__(self, folder: Path, photos: Path, **environment: str) -> None:
        self.folder, self.home, self.store = folder, folder / "prefect", folder / "store"
        self.recipe = {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 2,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": "probe"}],
        }
        (folder / "recipe.yaml").write_text(yaml.safe_dump(self.recipe))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(self.home),
            "PWD": str(folder),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "VARIORUM_CACHE": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parents[1] / "plugins"), os.environ.get("PYTHONPATH", "")]
            ),
            **environment,
        }

    def start(self, command: list[str], name: str, **environment: str) -> subprocess.Popen[bytes]:
        """A process in a session of its own that writes to a file of this name."""
        with (self.folder / name).open("wb") as log:
            env = {**self.environment, **environment}
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def run(self, name: str = "log", store: str = "store", **environment: str) -> subprocess.Popen[bytes]:
        """`variorum run` of the recipe."""
        return self.start([*COMMAND, "run", "recipe.yaml", "--store", store], name, **environment)

    def said(self, name: str = "log") -> str:
        return (self.folder / name).read_text(errors="replace").strip()

    def units(self) -> int:
        return len(list((self.store / "units").glob("*.json")))

    def states(self, table: str = "flow_run") -> list[str]:
        """Of all flow or task runs in the database, sorted."""
        with sqlite3.connect(self.home / "prefect.db") as database:
            found = sorted(state for (state,) in database.execute(f"select state_type from {table}"))
        database.close()
        return found

    def digest(self) -> str:
        """Of an undisturbed run on threads."""
        return run(Job(Recipe.parse(self.recipe), str(self.folder / "plain"))).digest()


@pytest.fixture
def place(tmp_path, photos, own_cache) -> Place:
    return Place(tmp_path, photos)


def until(condition: Callable[[], Any], seconds: float, what: object = "") -> Any:
    """What a condition gives as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.05)
    return found


def server_of(parent: int) -> int:
    """Process id of the server that a run started, or 0."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words, state = (entry / "cmdline").read_text(), (entry / "stat").read_text()
        except OSError:
            continue
        if "server_process.py" in words and int(state.rpartition(")")[2].split()[1]) == parent:
            return int(entry.name)
    return 0


def gone(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("when", ["starting", "working"])
def test_the_server_ends_with_a_killed_run_and_the_run_is_marked(place, when):
    killed = place.run(PROBE_SECONDS="0.5")
    server = until(lambda: server_of(killed.pid), 60, place.said)
    if when == "working":
        until(lambda: place.units() >= 2, 120, place.said)
    killed.kill()
    killed.wait()
    until(lambda: gone(server), 6, "the server lives on")
    if when == "working":
        assert place.states() == ["RUNNING"]
    again = place.run()
    assert again.wait(240) == 0, place.said()
    assert place.states() == ["COMPLETED"] + ["CRASHED"] * (when == "working")
    assert set(place.states("task_run")) <= {"COMPLETED", "CRASHED"}
    assert not list((place.home / "variorum").glob("variorum-*"))
    assert resolve("d", Store(str(place.store))).digest() == place.digest()


@pytest.mark.parametrize(("sent", "codes"), [(signal.SIGINT, {130}), (signal.SIGTERM, {143, -15})])
def test_a_stopped_run_ends_within_seconds_and_leaves_no_server(place, sent, codes):
    stopped = place.run(PROBE_SECONDS="0.5")
    until(lambda: place.units() >= 1, 180, place.said)
    server = server_of(stopped.pid)
    os.killpg(stopped.pid, sent)  # as Ctrl-C does, to all of the session
    assert stopped.wait(15) in codes
    until(lambda: gone(server), 6, "the server lives on")
    assert place.states() == ["CRASHED"]


def test_two_runs_start_on_one_new_database(place):
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
    (line,) = place.said().splitlines()
    assert line.startswith("error: ")
    assert (str(place.folder / "file") if how == "no folder" else "http://127.0.0.1:9/api") in line
    assert "--runner threads" in line
    assert not place.units()


# ── deployments ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Deployed(Place):
    """The deployment of prefect.yaml on a server that stays, with another recipe."""

    def __init__(self, folder: Path, photos: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/api"
        super().__init__(folder, photos, PREFECT_API_URL=self.address)
        given = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        (deployment,) = given["deployments"]
        deployment["parameters"] |= {"recipe": "recipe.yaml", "store": "store"}
        del deployment["schedules"]
        (folder / "prefect.yaml").write_text(yaml.safe_dump(given))

    def prefect(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path: str, what: object = None) -> Any:
        """The answer of the server's API; a request with a body is a POST. It is repeated while SQLite is busy."""
        body = None if what is None else json.dumps(what).encode()
        request = urllib.request.Request(f"{self.address}{path}", body, {"Content-Type": "application/json"})
        for attempt in range(5):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or attempt == 4:
                    raise
                time.sleep(1)
        return None

    def answers(self) -> bool:
        try:
            return bool(self.ask("/health"))
        except OSError:
            return False

    def begin(self) -> str:
        """Start a run of the deployment at once; returns its id."""
        (deployment,) = self.ask("/deployments/filter", {})
        return str(self.ask(f"/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})["id"])

    def state(self, flow_run: str) -> str:
        return str(self.ask(f"/flow_runs/{flow_run}")["state_type"])

    def process_of(self, flow_run: str) -> int:
        """Process id of the flow run's own process, which has the id in its environment."""
        for entry in Path("/proc").iterdir():
            try:
                if (
                    entry.name.isdigit()
                    and f"PREFECT__FLOW_RUN_ID={flow_run}".encode() in (entry / "environ").read_bytes()
                ):
                    return int(entry.name)
            except OSError:
                continue
        return 0


@pytest.fixture
def deployed(tmp_path, photos, own_cache) -> Iterator[Deployed]:
    place = Deployed(tmp_path, photos)
    words = ["server", "start", "--host", "127.0.0.1", "--port", str(place.port)]
    server = place.start([sys.executable, "-m", "prefect", *words], "server")
    try:
        until(place.answers, 180, lambda: place.said("server"))
        place.prefect("work-pool", "create", "local", "--type", "process")
        place.prefect("--no-prompt", "deploy", "--all")
        yield place
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def start_worker(place: Deployed, name: str, **environment: str) -> subprocess.Popen[bytes]:
    return place.start([sys.executable, "-m", "prefect", "worker", "start", "--pool", "local"], name, **environment)


@pytest.mark.parametrize("whom", ["process", "worker and process"])
def test_a_killed_run_of_the_deployment_doesnt_block_the_next(deployed, whom):
    """Its concurrency limit is one, and a second run is cancelled as long as the first holds it."""
    hold = deployed.folder / "hold"  # while it is there, a run waits: however slow the machine is, it isn't done
    worker = start_worker(deployed, "worker", PROBE_SECONDS="1", PROBE_HOLD=str(hold))
    try:
        killed = deployed.begin()
        until(lambda: deployed.units() >= 1, 120, lambda: deployed.said("worker"))
        hold.touch()
        refused = deployed.begin()
        until(lambda: deployed.state(refused) == "CANCELLED", 120, lambda: deployed.said("worker"))
        victim = deployed.process_of(killed)
        assert victim
        if whom == "worker and process":
            kill(worker)
        os.kill(victim, signal.SIGKILL)
        until(lambda: not deployed.process_of(killed), 10)
        hold.unlink()
        if whom == "worker and process":
            assert deployed.state(killed) == "RUNNING"
            worker = start_worker(deployed, "worker2")
            shutil.rmtree(deployed.folder / "cache")
            assert deployed.run(store="other").wait(180) == 0, (
                deployed.said()
            )  # any run here marks those that were killed
        until(lambda: deployed.state(killed) == "CRASHED", 60, lambda: deployed.said("worker"))
        after = deployed.begin()
        until(lambda: deployed.state(after) in ("COMPLETED", "CANCELLED"), 180, lambda: deployed.said("worker"))
        assert deployed.state(after) == "COMPLETED"
        states = {run["state_type"] for run in deployed.ask("/flow_runs/filter", {})}
        assert states == {"COMPLETED", "CRASHED", "CANCELLED"}
        until(lambda: not deployed.process_of(after), 60)  # without its server it would try to reach it for minutes
    finally:
        kill(worker)
