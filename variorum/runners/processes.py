"""Workers that are processes of this machine, each with a share of the CPU threads and a GPU of its own.

A worker is a program of its own: it isn't forked and doesn't import the caller's main module, so scripts and notebooks
can start workers too. It reads parts from a socket, and ends when the socket closes, however the command has ended.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from pydantic import Field

from variorum.runners.lanes import Heard, WorkerLost
from variorum.runners.settings import RunnerSettings, setup, share_of_cores
from variorum.runners.worker import THREADS, Message, Report, Sent, Setup, attempt, loaded, packed, prepare, unpacked

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

    def start(self, lanes: Sequence[int]) -> list[Process]:
        """A process for each lane."""
        return [Process(self.setup, self.variables(lane)) for lane in lanes]

    def stop(self) -> None:
        """Nothing to give back: the workers have been killed."""

    def variables(self, lane: int) -> dict[str, str]:
        """The variables that a lane's worker gets in addition to those of this process."""
        found = dict.fromkeys(THREADS, str(self.setup.threads))
        return {**found, DEVICES: self.devices[lane % len(self.devices)]} if self.devices else found


class Process:
    """A worker; see `lanes.Worker`."""

    def __init__(self, setup: Setup, variables: dict[str, str]) -> None:
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and this module
            [sys.executable, "-P", "-c", PROGRAM, str(theirs.fileno()), json.dumps(setup.path)],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C goes to the command, which ends its workers
        )
        theirs.close()
        self._has = ""
        self._ready = False
        with suppress(OSError):  # it has ended; `ready` says so
            self._connection.send_bytes(pickle.dumps(setup))

    def ready(self, seconds: float) -> bool:
        """Return whether it has set itself up."""
        if not self._ready:
            with self._losing():
                if not self._connection.poll(seconds):
                    return False
                if errors := self._connection.recv():
                    raise unpacked(errors)
            self._ready = True
        elif self._process.poll() is not None:
            raise self._lost()
        return True

    def make(self, sent: Sent, part: bytes, heard: Heard) -> bytes:
        """Send the part, with the stage if the worker doesn't have it, and listen until the outcome comes."""
        content = b"" if self._has == sent.token else sent.content
        with self._losing():
            self._connection.send((sent.token, content, part))
            self._has = sent.token
            while True:
                kind, value = self._connection.recv()
                if kind == "outcome":
                    return bytes(value)
                heard(value)

    def end(self) -> None:
        """Kill it. Its unfinished files are in the store's folder for such files, and a later process removes them."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Inside, a closed socket is a lost worker."""
        try:
            yield
        except (EOFError, ConnectionError):
            raise self._lost() from None

    def _lost(self) -> WorkerLost:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LAST)
        code = self._process.poll()
        how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        return WorkerLost(f"(process {self._process.pid}) {how}")


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
    setup: Setup = loaded(connection.recv_bytes())
    try:
        prepare(setup)
    except Exception as error:
        connection.send(packed(error))
        return
    connection.send(())
    tasks: SimpleQueue[tuple[str, bytes, bytes]] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
    lock = threading.Lock()  # threads of a part send messages too

    def send(kind: str, value: Message | bytes) -> None:
        with lock:
            connection.send((kind, value))

    while True:
        token, content, part = tasks.get()
        report = Report(lambda message: send("message", message))
        send("outcome", attempt(Sent(token, content), part, report))


def _receive(connection: Connection, tasks: SimpleQueue[tuple[str, bytes, bytes]]) -> None:
    """Queue the parts that come, and end this process when the command has gone, even in the middle of a part."""
    while True:
        try:
            tasks.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)
