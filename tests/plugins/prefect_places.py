"""Folders with a recipe, a store and a PREFECT_HOME of their own, for real runs under Prefect."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from variorum.flows.server_process import HEALTH
from variorum.pipeline import Job, run
from variorum.schemas.recipe import Recipe

ROOT = Path(__file__).parents[2]
PLUGINS = Path(__file__).parent
SOME = "01a22b02-f005-79e9-a5e4-22b00a7b13fb"
SOCKETS = ["/api/events/in", "/api/events/out", "/api/logs/out", "/api/task_runs/subscriptions/scheduled"]
SOCKETS += [f"/api/work_pools/{SOME}/workers/connect"]
ELSEWHERE = [
    "/docs",
    "/redoc",
    "/openapi.json",
    "/docs/oauth2-redirect",
    "/api",
    "/api/",
    "/api/docs",
    "/api/openapi.json",
]
COMMAND = [sys.executable, "-c", "from variorum.flows.cli import main; main()"]


@cache
def empty_database() -> bytes:
    """Returns a database without runs as Prefect makes it at its first start, which takes most of that start."""
    with tempfile.TemporaryDirectory() as home:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        words = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
        subprocess.run(words, env={**variables, "PREFECT_HOME": home}, capture_output=True, check=True)
        return (Path(home) / "prefect.db").read_bytes()


def with_database(home: Path) -> Path:
    """Makes a PREFECT_HOME in which a server starts at once."""
    home.mkdir(0o700)
    (home / "prefect.db").write_bytes(empty_database())
    return home


def states(home: Path, table: str = "flow_run") -> list[str]:
    """Of all flow or task runs in the database of a PREFECT_HOME, sorted."""
    with sqlite3.connect(home / "prefect.db") as database:
        found = sorted(state for (state,) in database.execute(f"select state_type from {table}"))
    database.close()
    return found


class Place:
    """A folder with a recipe, a store, a cache and a PREFECT_HOME of its own, where runs are started and watched."""

    def __init__(self, folder: Path, photos: Path, **environment: str) -> None:
        self.folder, self.home, self.store = folder, with_database(folder / "prefect"), folder / "store"
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
            "PYTHONPATH": os.pathsep.join([str(PLUGINS), os.environ.get("PYTHONPATH", "")]),
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
        return states(self.home, table)

    def digest(self) -> str:
        """Of an undisturbed run on threads."""
        return run(Job(Recipe.parse(self.recipe), str(self.folder / "plain"))).digest()


class Watched(Place):
    """The same with a server that stays, on a port of its own, which is asked through its API with its password."""

    password = ""

    def __init__(self, folder: Path, photos: Path, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/api"
        super().__init__(folder, photos, **environment)

    def ask(self, path: str, what: object = None) -> Any:
        """The answer of the server's API; a request with a body is a POST. It is repeated while SQLite is busy."""
        body = None if what is None else json.dumps(what).encode()
        request = urllib.request.Request(f"{self.address}{path}", body, self.headers(changing=body is not None))
        for attempt in range(5):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or attempt == 4:
                    raise
                time.sleep(1)
        return None

    def headers(self, *, changing: bool) -> dict[str, str]:
        """What a client with the password sends."""
        known = base64.b64encode(self.password.encode()).decode()
        found = {"Content-Type": "application/json", "Authorization": f"Basic {known}"}
        if changing:
            found["Prefect-Csrf-Client"] = "tests"
            found["Prefect-Csrf-Token"] = self.ask("/csrf-token?client=tests")["token"]
        return found

    def answers(self) -> bool:
        try:
            return bool(self.ask("/health"))
        except OSError:
            return False

    def begin(self, name: str) -> str:
        """Start a run of a deployment at once; returns its id."""
        (deployment,) = self.ask("/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
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


class Deployed(Watched):
    """One deployment of prefect.yaml on that server, with another recipe; it has a password."""

    name, password = "imagenet_e-release", "variorum:shakennotstirred"

    def __init__(self, folder: Path, photos: Path) -> None:
        super().__init__(folder, photos)
        self.environment["PREFECT_API_URL"] = self.address
        self.environment |= dict.fromkeys(("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"), self.password)
        self.environment["PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"] = "true"
        given = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        deployment = next(one for one in given["deployments"] if one["name"] == self.name)
        deployment["parameters"] |= {"recipe": "recipe.yaml", "store": "store"}
        del deployment["schedules"]
        given["deployments"] = [deployment]
        (folder / "prefect.yaml").write_text(yaml.safe_dump(given))

    def prefect(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


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


def password_of(server: int) -> str:
    """The password of a server, from its environment, which only its user can read."""
    variables = (Path("/proc") / str(server) / "environ").read_text().split("\0")
    return next(one for one in variables if one.startswith("PREFECT_SERVER_API_AUTH_STRING=")).partition("=")[2]


def gone(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Guarded(Watched):
    """A command with a server of its own, of which only its process tells the port and the password."""

    process: subprocess.Popen[bytes]
    server: int

    def find(self) -> None:
        """Wait for the server."""
        self.server = until(lambda: server_of(self.process.pid), 60, self.said)
        self.password = password_of(self.server)
        self.port = until(lambda: port_of(self.server), 60, self.said)
        self.address = f"http://127.0.0.1:{self.port}/api"
        until(self.answers, 180, self.said)
        until(self.known, 60, self.said)

    def routes(self) -> list[tuple[str, str]]:
        """Method and path of all that the server knows, with some value for each part in braces."""
        schema = self.ask("/openapi.json")
        found = [
            (method.upper(), "/api" + re.sub(r"{[^}]*}", SOME, path))
            for path, methods in schema["paths"].items()
            for method in methods
        ]
        assert len(found) > 150
        assert {("POST", "/api/deployments/filter"), ("GET", "/api/health"), ("GET", "/api/ready")} <= set(found)
        if isinstance(self, Idle):
            found.remove(("GET", HEALTH))  # which says that it is there
        return [*found, *(("GET", path) for path in ELSEWHERE), *(("WS", path) for path in SOCKETS)]

    def known(self) -> list[Any]:
        """All deployments, with what strangers could change, and all runs that nobody has scheduled."""
        deployments = self.ask("/deployments/filter", {})
        runs = self.ask("/flow_runs/filter", {})
        same = ("id", "name", "pull_steps", "parameters", "schedules", "entrypoint", "job_variables", "paused")
        return [{name: one[name] for name in same} for one in deployments] + [
            one["id"] for one in runs if not one["auto_scheduled"]
        ]

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)  # the server ends by itself
        self.process.wait()


class Idle(Guarded):
    """`variorum serve` on a terminal, of a recipe that isn't due."""

    def __init__(self, folder: Path, photos: Path) -> None:
        super().__init__(folder, photos)
        ours, theirs = pty.openpty()
        words = ["serve", "recipe.yaml", "--cron", "0 0 29 2 *", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*COMMAND, *words], cwd=folder, env=self.environment, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        threading.Thread(target=self.listen, args=(ours,), daemon=True).start()
        self.find()

    def listen(self, terminal: int) -> None:
        with (self.folder / "log").open("wb") as log, suppress(OSError):  # the terminal ends with the command
            while text := os.read(terminal, 4096):
                log.write(text)
                log.flush()
        os.close(terminal)


def port_of(server: int) -> int:
    """The port on which a process listens, or 0."""
    inodes = set()
    for link in (Path("/proc") / str(server) / "fd").iterdir():
        with suppress(OSError):
            inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    for line in (Path("/proc") / str(server) / "net" / "tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and words[9] in inodes:
            return int(words[1].partition(":")[2], 16)
    return 0
