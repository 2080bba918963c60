"""Makes parts in Ray actors, in a running cluster or in one on this machine that ends with the command.

Philipp Moritz et al., "Ray: A Distributed Framework for Emerging AI Applications", OSDI 2018, arXiv:1712.05889.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from variorum.machine.programs import shield
from variorum.runners.processes import devices
from variorum.runners.settings import RunnerSettings, setup, unreachable
from variorum.runners.worker import Setup

ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # CUDA_VISIBLE_DEVICES stays as it is where no GPU is reserved
}
"""Variables that Ray reads when it is imported."""
OWN = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""The same for a cluster on this machine: it then uses the loopback interface only, as on Windows and macOS."""
PATIENCE = 10.0
"""Seconds that a cluster may take to answer."""


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
    """Starts actors, and Ray with the first of them."""

    settings: Settings
    setup: Setup
    workers: int
    waiting: ClassVar = "the Ray cluster has no free CPUs or GPUs for them"
    _started: bool = False

    def start(self, lanes: Sequence[int]) -> list[Actor]:
        """An actor for each lane. Raises TemporaryError if there is no cluster at the address."""
        if not self._started:
            self._connect()
        calling = _ray().remote(num_cpus=self.settings.cpus, num_gpus=self.gpus())(Calling)
        return [Actor(calling.remote()) for _ in lanes]

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
            _ray().shutdown()
            self._started = False

    def _connect(self) -> None:
        address = self._address()
        variables = ALWAYS if address else OWN | ALWAYS
        for name, value in variables.items():
            os.environ.setdefault(name, value)
        shield()
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


class Calling:
    """The actor."""

    def call(self, function: Callable[..., bytes], *args: Any) -> bytes:
        """Call a function in this process."""
        return function(*args)


class Actor(Executor):
    """An executor with one actor."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def submit(self, function: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        """Have the actor call a function, when the cluster has started it."""
        return self._handle.call.remote(function, *args).future()  # type: ignore[no-any-return]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Kill it."""
        _ray().kill(self._handle)
