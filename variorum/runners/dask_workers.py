"""Makes parts on Dask workers: of a running cluster, or processes on this machine that end with the command.

Matthew Rocklin, "Dask: Parallel Computation with Blocked algorithms and Task Scheduling", SciPy 2015.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from variorum.machine.programs import shield
from variorum.runners.processes import DEVICES, devices
from variorum.runners.settings import RunnerSettings, setup, share_of_cores, unreachable
from variorum.runners.worker import THREADS, Setup

log = logging.getLogger(__name__)

PATIENCE = "20s"
"""How long a scheduler may take to answer, and own workers to start."""


class Settings(RunnerSettings):
    """Settings of `dask`.

    Attributes:
        address: of a running scheduler; by default DASK_SCHEDULER_ADDRESS. Without one, a cluster is started here.
        threads: CPU threads of a worker; 0 divides this machine's cores among the workers.
        resource: of which each part takes one, such as `GPU`; the cluster's workers must have been started with it.
    """

    address: str = ""
    threads: int = Field(0, ge=0)
    resource: str = ""


def engine(settings: Settings, workers: int) -> Tasks:
    """Tasks with these settings."""
    return Tasks(settings, setup(settings.threads or share_of_cores(workers)), workers)


@dataclass(slots=True)
class Tasks:
    """Connects to Dask, which chooses the worker of each task. An executor has one task at a time.

    Attributes:
        settings: of the runner.
        setup: of every worker.
        workers: number of workers of an own cluster.
    """

    settings: Settings
    setup: Setup
    workers: int
    waiting: ClassVar = "the Dask cluster has no free worker for them"
    _client: Any = None
    _cluster: Any = None

    def start(self, lanes: Sequence[int]) -> list[Executor]:
        """An executor for each lane, on all workers. Raises TemporaryError if no scheduler answers."""
        if self._client is None or self._client.status != "running":  # it calls for a lost scheduler, which may be back
            self.stop()
            self._connect()
        resources = {"resources": {self.settings.resource: 1}} if self.settings.resource else {}
        return [self._client.get_executor(pure=False, **resources) for _ in lanes]

    def stop(self) -> None:
        """Disconnect, and end a cluster that was started here."""
        for one in (self._client, self._cluster):
            if one is not None:
                with suppress(Exception):  # it may have ended already
                    one.close()
        self._client = self._cluster = None

    def _connect(self) -> None:
        distributed = _distributed()
        for name in ("", ".client", ".worker", ".nanny", ".scheduler"):
            logging.getLogger(f"distributed{name}").setLevel(logging.CRITICAL)
        address = self.settings.address or os.environ.get("DASK_SCHEDULER_ADDRESS", "")
        try:
            if not address:
                self._cluster = own_cluster(self.setup, self.workers)
            self._client = distributed.Client(self._cluster or address, timeout=PATIENCE, set_as_default=False)
        except Exception as error:  # whatever Dask raises
            raise unreachable("Dask", address, "dask scheduler", error) from error


def own_cluster(setup: Setup, workers: int) -> Any:
    """A cluster on this machine. Each worker has one task at a time, and a GPU of its own if there are any."""
    shield()
    distributed = _distributed()
    security = _security()
    both = {"host": "127.0.0.1", "dashboard": False, "protocol": "tls://" if security else "tcp://"}
    both |= {"security": security} if security else {}
    each = {**both, "nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    found, threads = devices(), dict.fromkeys(THREADS, str(setup.threads))
    specs = {
        lane: {
            "cls": distributed.Nanny,
            "options": {**each, "env": threads | ({DEVICES: found[lane % len(found)]} if found else {})},
        }
        for lane in range(workers)
    }
    scheduler = {"cls": distributed.Scheduler, "options": {**both, "allowed_failures": 0}}  # lanes try again
    return distributed.SpecCluster(workers=specs, scheduler=scheduler, security=security, silence_logs=logging.CRITICAL)


def _security() -> Any:
    """TLS keys for this cluster, so that no other user of the machine can use it; None without `cryptography`."""
    distributed = _distributed()
    try:
        return distributed.Security.temporary()
    except ImportError:
        log.warning("without the package cryptography, other users of this machine can run code on Dask's workers")
        return None


def _distributed() -> Any:
    """The package, untyped: it may be missing where types are checked."""
    import distributed

    return distributed
