"""Makes parts in processes of this machine, each with a share of the CPU threads and a GPU of its own.

A worker is a program of its own: it isn't forked and doesn't import the caller's main module, so scripts and notebooks
can start workers too. It reads calls from a socket, and ends when the socket closes, however the command has ended.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar

from pydantic import Field

from variorum.machine.programs import python
from variorum.runners.settings import RunnerSettings, setup, share_of_cores
from variorum.runners.worker import THREADS, Setup, loaded

DEVICES = "CUDA_VISIBLE_DEVICES"
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from variorum.runners.processes import Connection, serve; serve(Connection(int(sys.argv[1])))"
)
"""What a worker runs; modules are found where the command finds them."""
LAST = 5.0
"""Seconds to wait for the exit code of a worker whose socket has closed."""


class Settings(RunnerSettings):
    """Settings of `processes`.

    Attributes:
        threads: CPU threads of a worker; 0 divides the cores among the workers.
    """

    threads: int = Field(0, ge=0)


def engine(settings: Settings, workers: int) -> Processes:
    """Processes with these settings, on the GPUs that this process may use."""
    return Processes(setup(settings.threads or share_of_cores(workers)), devices())


@dataclass(frozen=True, slots=True)
class Processes:
    """Starts processes on this machine.

    Attributes:
        setup: of every worker.
        devices: GPUs, as CUDA_VISIBLE_DEVICES names them; workers take them in turns.
    """

    setup: Setup
    devices: tuple[str, ...] = ()
    waiting: ClassVar = "this machine is busy"

    def start(self, lanes: Sequence[int]) -> list[Process]:
        """A process for each lane."""
        return [Process(self.setup.path, self.variables(lane)) for lane in lanes]

    def stop(self) -> None:
        """Nothing to give back: the workers have been killed."""

    def variables(self, lane: int) -> dict[str, str]:
        """The variables that a lane's worker gets in addition to those of this process."""
        found = dict.fromkeys(THREADS, str(self.setup.threads))
        return {**found, DEVICES: self.devices[lane % len(self.devices)]} if self.devices else found


class Process(Executor):
    """An executor with one process.

    `ProcessPoolExecutor` can't be used: its workers import the caller's main module, and so run a script again and load
    libraries before their variables are set; they live on when the command is killed; and it can't kill one at work.

    Args:
        path: its `sys.path`.
        variables: of its environment, in addition to those of this process.
    """

    def __init__(self, path: Sequence[str], variables: dict[str, str]) -> None:
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and this module
            python("-c", PROGRAM, str(theirs.fileno()), json.dumps(path)),
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C goes to the command, which ends its workers
        )
        theirs.close()
        self._thread = ThreadPoolExecutor(1)

    def submit(self, function: Callable[..., bytes], /, *args: Any, **kwargs: Any) -> Future[bytes]:  # type: ignore[override]
        """Have the process call a function that returns bytes."""
        return self._thread.submit(self._ask, pickle.dumps((function, args, kwargs)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Kill it. Its unfinished files are in the store's folder for such files, and a later process removes them."""
        self._process.kill()
        self._process.wait()
        self._thread.shutdown(wait, cancel_futures=cancel_futures)

    def _ask(self, call: bytes) -> bytes:
        try:
            self._connection.send_bytes(call)
            return self._connection.recv_bytes()
        except (EOFError, ConnectionError):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(LAST)
            code = self._process.poll()
            how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
            raise BrokenExecutor(f"process {self._process.pid} {how}") from None


def devices() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if DEVICES in os.environ:
        named = [one.strip() for one in os.environ[DEVICES].split(",")]
        return tuple(named[: named.index("-1")] if "-1" in named else [one for one in named if one])
    if not Path("/dev/nvidiactl").exists():  # importing PyTorch takes seconds
        return ()
    import torch

    return tuple(map(str, range(torch.cuda.device_count())))


def serve(connection: Connection) -> None:
    """Be a worker until the socket closes."""
    calls: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, calls), daemon=True).start()
    while True:
        function, args, kwargs = loaded(calls.get())
        connection.send_bytes(function(*args, **kwargs))


def _receive(connection: Connection, calls: SimpleQueue[bytes]) -> None:
    """Queue the calls that come, and end this process when the command has gone, even in the middle of a part."""
    while True:
        try:
            calls.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)
