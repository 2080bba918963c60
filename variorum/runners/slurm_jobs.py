"""Makes parts in Slurm jobs, submitted as one array. They and the command write files to each other, see `mailbox`.

A job makes parts until the command ends, so it loads its models once.
"""

from __future__ import annotations

import logging
import pickle
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from variorum.machine.cache import cache_dir
from variorum.machine.programs import SAFE, shield
from variorum.machine.workplace import workplace
from variorum.runners.mailbox import LOOK, SILENCE, Pulse, put, serve, touch_often
from variorum.runners.settings import RunnerSettings, setup
from variorum.runners.worker import THREADS, Setup
from variorum.schemas.errors import RecipeError, TemporaryError
from variorum.schemas.lookup import cut

ASK = 10.0
"""Seconds between two calls of `squeue`."""
OPTIONS = ("partition", "account", "qos", "constraint")
"""Settings that `sbatch` takes as they are."""


class Settings(RunnerSettings):
    """Settings of `slurm`. Other options of `sbatch` are set by its variables, such as SBATCH_RESERVATION.

    Attributes:
        partition: as for `sbatch`, like the next three.
        account: that is charged.
        qos: quality of service.
        constraint: features that nodes must have.
        minutes: time limit of a job; a new job takes the place of one that reaches it.
        cpus: of a job, and its CPU threads.
        gpus: of a job.
        memory: of a job, in GB; 0 for the partition's default.
        folder: for the messages, on a disk that all machines share; by default in the cache.
        cluster: `local` for processes on this machine in place of jobs, to try it out without Slurm.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    minutes: int = Field(60, ge=1)
    cpus: int = Field(1, ge=1)
    gpus: int = Field(0, ge=0)
    memory: float = Field(0.0, ge=0)
    folder: str = ""
    cluster: Literal["slurm", "local"] = "slurm"


def engine(settings: Settings, workers: int) -> Jobs:
    """Jobs with these settings. Raises RecipeError if there is no Slurm here."""
    if settings.cluster == "slurm" and not shutil.which("sbatch"):
        raise RecipeError(
            "runner slurm needs the command sbatch, which isn't here: start the command where jobs are submitted, or "
            "use --runner processes"
        )
    for name, value in {
        **{name: getattr(settings, name) for name in OPTIONS},
        "folder": str(_parent(settings)),
    }.items():
        if not value.isprintable():  # a job script is lines of shell, and a new line in a value starts one
            raise RecipeError(
                f"runner slurm: {name} {cut(ascii(value))} has a control character, which a job script can't "
                f"have; choose another: --runner-set {name}=…"
            )
    return Jobs(settings, setup(settings.cpus))


def _parent(settings: Settings) -> Path:
    return Path(settings.folder).expanduser().absolute() if settings.folder else cache_dir() / "slurm"


@dataclass(slots=True)
class Jobs:
    """Submits jobs."""

    settings: Settings
    setup: Setup
    _folder: Path | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _over: threading.Event = field(default_factory=threading.Event)
    _queue: Queue = field(default_factory=lambda: Queue())

    def start(self, lanes: Sequence[int]) -> list[SlurmJob]:
        """A job for each lane, all in one array. Raises TemporaryError if Slurm doesn't accept them."""
        folder = self._folder or self._made_folder()
        boxes = [Path(tempfile.mkdtemp(dir=folder, prefix="job-")) for _ in lanes]
        try:
            executor = self._executor(folder)
            with executor.batch():
                jobs = [executor.submit(serve, str(box)) for box in boxes]
        except Exception as error:  # of submitit, and of the commands that it calls
            raise TemporaryError(f"Slurm accepts no job: {cut(str(error))}") from error
        queue = self._queue if self.settings.cluster == "slurm" else None
        return [SlurmJob(job, box, queue) for job, box in zip(jobs, boxes, strict=True)]

    @property
    def waiting(self) -> str:
        """Slurm's reasons."""
        return f"Slurm gives as reason: {', '.join(sorted({*self._queue.jobs.values()} - {'None'})) or 'none'}"

    def stop(self) -> None:
        """Remove the folder. The jobs have been told to end."""
        self._over.set()
        self._stack.close()
        self._folder = None

    def _made_folder(self) -> Path:
        """A folder that only this user can read, as a pickled stage may hold the password of a store's URL.

        Folders that killed commands left behind are removed.
        """
        parent = _parent(self.settings)
        try:
            folder = self._stack.enter_context(workplace(parent))  # mode 0700
        except OSError as error:
            raise RecipeError(
                f"{parent}: {error.strerror}; choose a folder that all machines share: --runner-set folder=…"
            ) from error
        self._folder = folder
        self._over.clear()
        touching = touch_often(folder / "command", self._over.wait)
        self._stack.callback(touching.join)  # before the folder is removed
        return folder

    def _executor(self, folder: Path) -> Any:
        import submitit

        shield()
        logging.getLogger("submitit").setLevel(logging.CRITICAL)
        own, settings = self.settings, submitit.AutoExecutor(folder=folder / "submitit", cluster=self.settings.cluster)
        settings.update_parameters(name="variorum", timeout_min=own.minutes, cpus_per_task=own.cpus)
        if own.gpus:
            settings.update_parameters(gpus_per_node=own.gpus)
        if own.memory:
            settings.update_parameters(mem_gb=own.memory)
        for name in OPTIONS:
            if value := getattr(own, name):
                settings.update_parameters(**{f"slurm_{name}": value})
        variables = {**dict.fromkeys(THREADS, own.cpus), SAFE: 1}
        settings.update_parameters(slurm_setup=[f"export {name}={value}" for name, value in variables.items()])
        return settings


class SlurmJob(Executor):
    """An executor with one job, which stays.

    `submitit` would submit a job for each call, which waits in Slurm's queue and loads its models anew.

    Args:
        job: as submitit gives it.
        box: folder of its calls.
        queue: asked for the job; None for a process of this machine.
    """

    def __init__(self, job: Any, box: Path, queue: Queue | None) -> None:
        self._job, self._box, self._queue = job, box, queue
        self._since = time.monotonic()
        self._pulse = Pulse(box / "job")
        self._number = count()
        self._ended = threading.Event()
        self._thread = ThreadPoolExecutor(1)

    def submit(self, function: Callable[..., bytes], /, *args: Any, **kwargs: Any) -> Future[bytes]:  # type: ignore[override]
        """Have the job call a function that returns bytes."""
        return self._thread.submit(self._ask, pickle.dumps((function, args, kwargs)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel the job, and tell its process to end."""
        self._ended.set()
        self._thread.shutdown(wait, cancel_futures=cancel_futures)
        (self._box / "stop").touch()
        if self._queue:
            self._job.cancel(check=False)

    def _ask(self, call: bytes) -> bytes:
        """Write the call, and wait for its answer."""
        number = next(self._number)
        answer = self._box / f"answer-{number}"
        put(self._box / f"call-{number}", call)
        while not answer.exists():
            started = number > 0
            if self._ended.wait(LOOK) or self._gone() or (started and self._pulse.silent(SILENCE)):
                if answer.exists():  # it was written meanwhile
                    break
                raise BrokenExecutor(f"job {self._job.job_id} ended{self._last_words()}")
        return answer.read_bytes()

    def _gone(self) -> bool:
        return not self._queue.has(str(self._job.job_id), self._since) if self._queue else bool(self._job.done())

    def _last_words(self) -> str:
        with suppress(Exception):  # it may have written nothing
            return f": {self._job.stderr().strip().splitlines()[-1][:200]}"
        return ""


@dataclass(slots=True)
class Queue:
    """This user's jobs in Slurm. All executors share one call of `squeue`, to spare Slurm's controller."""

    jobs: dict[str, str] = field(default_factory=dict)
    """By id, why a job waits."""
    _at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def has(self, job: str, since: float) -> bool:
        """Return whether a job waits or runs; True if Slurm doesn't answer or hasn't been asked since it was submitted.

        Args:
            job: its id.
            since: when it was submitted, by the monotonic clock.
        """
        with self._lock:
            if time.monotonic() - max(self._at, since) > ASK:
                with suppress(OSError, subprocess.SubprocessError):
                    said = subprocess.run(
                        ["squeue", "--me", "--noheader", "--array", "--format=%i %r"],  # noqa: S607 - as sbatch is
                        capture_output=True,
                        text=True,
                        check=True,
                        timeout=SILENCE,
                    ).stdout
                    self._at = time.monotonic()
                    self.jobs = dict(line.split(maxsplit=1) for line in said.splitlines() if " " in line.strip())
            return self._at <= since or job in self.jobs
