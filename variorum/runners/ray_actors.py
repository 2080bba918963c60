"""Ray actors as workers, in a running cluster or in one on this machine that ends with the command.

Philipp Moritz et al., "Ray: A Distributed Framework for Emerging AI Applications", OSDI 2018, arXiv:1712.05889.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from variorum.runners.lanes import Heard, WorkerLost
from variorum.runners.processes import devices
from variorum.runners.settings import RunnerSettings, setup, unreachable
from variorum.runners.worker import Message, Report, Sent, Setup, attempt, loaded, packed, prepare, unpacked
from variorum.schemas.lookup import cut

log = logging.getLogger(__name__)

ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # CUDA_VISIBLE_DEVICES stays as it is where no GPU is reserved
}
"""Variables that Ray reads when it is imported."""
OWN = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""The same for a cluster on this machine: it then uses the loopback interface only, as on Windows and macOS."""
WAITING = 100
"""Looks at a worker that isn't ready before a warning says so: 20 seconds."""
PATIENCE = 10.0
"""Seconds that a cluster may take to answer."""
LISTEN = 1.0
"""Seconds between two requests for progress."""


class Settings(RunnerSettings):
    """Settings of `ray`.

    Attributes:
        address: of a running cluster; by default RAY_ADDRESS. Without one, a cluster is started on this machine.
        cpus: number that a worker reserves, and its CPU threads.
        gpus: number that a worker reserves, such as 0.5; Ray hides the others from it. By default this machine's GPUs
            are divided among the workers, and in a running cluster none is reserved.
    """

    address: str = ""
    cpus: int = Field(1, ge=1)
    gpus: float | None = Field(None, ge=0)


def engine(settings: Settings, workers: int) -> Actors:
    """Actors with these settings."""
    return Actors(settings, setup(settings.cpus), workers)


@dataclass(slots=True)
class Actors:
    """Starts actors, and Ray with the first of them.

    Attributes:
        settings: of the runner.
        setup: of every worker.
        workers: their number at most.
    """

    settings: Settings
    setup: Setup
    workers: int
    _sent: dict[str, Any] = field(default_factory=dict)
    _started: bool = False

    def start(self, lanes: Sequence[int]) -> list[Actor]:
        """An actor for each lane. Raises TemporaryError if there is no cluster at the address."""
        if not self._started:
            self._connect()
        ray = _ray()
        made = ray.remote(num_cpus=self.settings.cpus, num_gpus=self.gpus(), max_concurrency=2)(Making)
        return [Actor(made.remote(pickle.dumps(self.setup)), self._sent) for _ in lanes]

    def gpus(self) -> float:
        """GPUs of a worker: as set, or its share of this machine's."""
        if self.settings.gpus is not None or self._address():
            return self.settings.gpus or 0.0
        found = len(devices())
        return 1 / -(-self.workers // found) if found else 0.0

    def _address(self) -> str:
        return self.settings.address or os.environ.get("RAY_ADDRESS", "")

    def stop(self) -> None:
        """Disconnect, and end a cluster that was started here."""
        if self._started:
            self._sent.clear()
            _ray().shutdown()
            self._started = False

    def _connect(self) -> None:
        address = self._address()
        variables = ALWAYS if address else OWN | ALWAYS
        for name, value in variables.items():
            os.environ.setdefault(name, value)
        ray = _ray()
        if hasattr(ray._private.worker, "print_to_stdstream"):  # it reports lost actors on stdout, where results go
            ray._private.worker.print_to_stdstream = lambda *_, **__: None
        own: dict[str, Any] = {
            "address": "local",
            "num_cpus": self.workers * self.settings.cpus,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
        try:
            _check_answers(address)
            ray.init(
                **({"address": address} if address else own),
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                configure_logging=True,
                ignore_reinit_error=True,
            )
        except Exception as error:  # Ray raises a plain Exception where a node starts too late
            raise unreachable("Ray", address, "ray start --head", error) from error
        self._started = True


def _check_answers(address: str) -> None:
    """Raise OSError if nothing listens at `host:port`. Ray itself would try for minutes, and fill the terminal."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def _ray() -> Any:
    """The package, untyped: it may be missing where types are checked."""
    import ray

    return ray


class Making:
    """The actor: makes one part at a time, and answers how far it is."""

    def __init__(self, setup: bytes) -> None:
        self._setup = setup
        self._messages: list[Message] = []
        self._lock = threading.Lock()

    def ready(self) -> bytes:
        """Set the process up; the pickled errors, if any."""
        try:
            prepare(loaded(self._setup))
        except Exception as error:
            return pickle.dumps(packed(error))
        return b""

    def make(self, token: str, content: bytes, part: bytes) -> bytes:
        """See `worker.attempt`."""
        with self._lock:
            self._messages = []
        return attempt(Sent(token, content), part, Report(self._note))

    def heard(self) -> list[Message]:
        """The messages since the last call."""
        with self._lock:
            found, self._messages = self._messages, []
        return found

    def _note(self, message: Message) -> None:
        with self._lock:
            self._messages.append(message)


class Actor:
    """A worker; see `lanes.Worker`.

    Args:
        handle: of the actor.
        sent: references to stages in Ray's object store, by token; the actors share them.
    """

    def __init__(self, handle: Any, sent: dict[str, Any]) -> None:
        self._handle, self._sent = handle, sent
        self._asked = handle.ready.remote()
        self._ready, self._times = False, 0

    def ready(self, seconds: float) -> bool:
        """Return whether the cluster has started the actor, and it has set itself up."""
        ray = _ray()
        if self._ready:
            return True
        done, _ = ray.wait([self._asked], timeout=seconds)
        self._times += 1
        if not done:
            if self._times == WAITING:
                log.warning("waiting for the Ray cluster: it has no free CPUs or GPUs for a worker")
            return False
        if errors := self._got(self._asked):
            raise unpacked(loaded(errors))
        self._ready = True
        return True

    def make(self, sent: Sent, part: bytes, heard: Heard) -> bytes:
        """Have the part made, and ask for progress meanwhile."""
        ray = _ray()
        if sent.token not in self._sent:
            self._sent[sent.token] = ray.put(sent.content)
        asked = self._handle.make.remote(sent.token, self._sent[sent.token], part)
        while not ray.wait([asked], timeout=LISTEN)[0]:
            with suppress(WorkerLost):  # `_got(asked)` raises it too
                for message in self._got(self._handle.heard.remote()):
                    heard(message)
        return bytes(self._got(asked))

    def end(self) -> None:
        """Kill it."""
        ray = _ray()
        with suppress(Exception):  # the actor or Ray may have ended
            ray.kill(self._handle)

    def _got(self, asked: Any) -> Any:
        ray = _ray()
        try:
            return ray.get(asked)
        except ray.exceptions.RayError as error:
            raise WorkerLost(f"(an actor) ended: {cut(str(error))}") from None
