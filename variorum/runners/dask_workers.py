"""Dask workers: those of a running cluster, or processes on this machine that end with the command.

Matthew Rocklin, "Dask: Parallel Computation with Blocked algorithms and Task Scheduling", SciPy 2015.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from variorum.runners.lanes import Heard, WorkerLost
from variorum.runners.processes import DEVICES, devices
from variorum.runners.settings import RunnerSettings, setup, share_of_cores, unreachable
from variorum.runners.worker import THREADS, Message, Report, Sent, Setup, attempt, loaded, prepare
from variorum.schemas.errors import TemporaryError
from variorum.schemas.lookup import cut

log = logging.getLogger(__name__)

PATIENCE = "20s"
"""How long a scheduler may take to answer, and own workers to start."""
TOPIC = "variorum-"
"""Prefix of the topics under which workers send messages."""


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
    """Connects to Dask, which chooses the worker of each task. A lane has one task at a time.

    Attributes:
        settings: of the runner.
        setup: of every worker.
        workers: number of workers of an own cluster.
    """

    settings: Settings
    setup: Setup
    workers: int
    _client: Any = None
    _cluster: Any = None
    _last: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, lanes: Sequence[int]) -> list[Task]:
        """A task for each lane. Raises TemporaryError if no scheduler answers."""
        if self._client is None:
            self._connect()
        return [Task(self) for _ in lanes]

    def stop(self) -> None:
        """Disconnect, and end a cluster that was started here."""
        if self._client is not None and self._last and self._cluster is None:
            with suppress(Exception):
                self._client.unregister_worker_plugin(f"{TOPIC}{self.setup.run}")
        for one in (self._client, self._cluster):
            if one is not None:
                with suppress(Exception):  # it may have ended already
                    one.close()
        self._client = self._cluster = None

    def send(self, sent: Sent) -> None:
        """Give a stage to all workers, including those that start later. It replaces the last one."""
        with self._lock:
            if sent.token == self._last:
                return
            try:
                self._client.register_plugin(made_plugin(self.setup, sent), name=f"{TOPIC}{self.setup.run}")
            except Exception as error:  # whatever Dask raises
                raise TemporaryError(f"Dask's workers can't be set up: {cut(str(error))}") from error
            self._last = sent.token

    def _connect(self) -> None:
        distributed = _distributed()
        for name in ("distributed", "distributed.worker", "distributed.nanny", "distributed.scheduler"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        address = self.settings.address or os.environ.get("DASK_SCHEDULER_ADDRESS", "")
        try:
            if not address:
                self._cluster = own_cluster(self.setup, self.workers)
            self._client = distributed.Client(self._cluster or address, timeout=PATIENCE, set_as_default=False)
        except Exception as error:  # whatever Dask raises
            raise unreachable("Dask", address, "dask scheduler", error) from error


def own_cluster(setup: Setup, workers: int) -> Any:
    """A cluster on this machine. Each worker has one task at a time, and a GPU of its own if there are any."""
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


def made_plugin(setup: Setup, sent: Sent) -> Any:
    """The plugin that keeps the stage on a worker."""
    from distributed import WorkerPlugin

    class Prepared(WorkerPlugin):  # type: ignore[misc, unused-ignore]
        """Runs on every worker, also on one that replaces another."""

        def setup(self, worker: Any) -> None:
            """Keep the stage, in place of the last one."""
            hold(setup, sent)

        def teardown(self, worker: Any) -> None:
            """Forget the stage."""
            release(setup.run)

    return Prepared()


_held: dict[str, tuple[Setup, Sent]] = {}
"""In a worker: by command, the last stage."""


def hold(setup: Setup, sent: Sent) -> None:
    """Keep a stage for its tasks. A function, as the plugin travels by value and would bring a `_held` of its own."""
    _held[setup.run] = setup, sent


def release(run: str) -> None:
    """Forget the stage of a command."""
    _held.pop(run, None)


def make(run: str, topic: str, part: bytes) -> bytes:
    """The task: see `worker.attempt`. It sets the process up each time, as another command may have done so since."""
    from distributed import get_worker

    worker = get_worker()
    setup, sent = _held[run]
    prepare(setup)
    return attempt(sent, part, Report(lambda message: worker.log_event(topic, pickle.dumps(message))))


class Task:
    """The tasks of one lane; see `lanes.Worker`."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._future: Any = None

    def ready(self, seconds: float) -> bool:
        """Always true: the scheduler keeps a task until a worker is free."""
        return True

    def make(self, sent: Sent, part: bytes, heard: Heard) -> bytes:
        """Have the part made by any worker."""
        from distributed import CancelledError
        from distributed.scheduler import KilledWorker

        tasks, client, topic = self._tasks, self._tasks._client, f"{TOPIC}{uuid.uuid4().hex}"
        tasks.send(sent)

        def hear(event: tuple[Any, bytes]) -> None:
            message: Message = loaded(event[1])
            heard(message)

        try:
            client.subscribe_topic(topic, hear)
            resources = {tasks.settings.resource: 1} if tasks.settings.resource else None
            self._future = client.submit(make, tasks.setup.run, topic, part, key=topic, resources=resources, pure=False)
            return bytes(self._future.result())
        except (KilledWorker, CancelledError, OSError, TimeoutError) as error:
            raise WorkerLost(f"ended: {cut(str(error))}") from None
        finally:
            with suppress(Exception):
                client.unsubscribe_topic(topic)

    def end(self) -> None:
        """Cancel the task."""
        if self._future is not None:
            with suppress(Exception):
                self._future.cancel(force=True)
