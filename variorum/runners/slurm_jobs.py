"""Slurm jobs as workers, submitted as one array. They and the command write files to each other, see `mailbox`.

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
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from variorum.machine.cache import cache_dir
from variorum.machine.workplace import workplace
from variorum.runners.lanes import Heard, WorkerLost
from variorum.runners.mailbox import LOOK, SILENCE, Pulse, put, read_said, serve, touch_often
from variorum.runners.settings import RunnerSettings, setup
from variorum.runners.worker import THREADS, Sent, Setup, loaded, unpacked
from variorum.schemas.errors import RecipeError, TemporaryError
from variorum.schemas.lookup import cut

log = logging.getLogger(__name__)

ASK = 10.0
"""Seconds between two calls of `squeue`."""
WAITING = 150
"""Looks at a job that isn't ready before a warning says so: 30 seconds."""


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
    return Jobs(settings, setup(settings.cpus))


@dataclass(slots=True)
class Jobs:
    """Submits jobs.

    Attributes:
        settings: of the runner.
        setup: of every worker.
    """

    settings: Settings
    setup: Setup
    _folder: Path | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _over: threading.Event = field(default_factory=threading.Event)
    _watch: Watch = field(default_factory=lambda: Watch())

    def start(self, lanes: Sequence[int]) -> list[SlurmJob]:
        """A job for each lane, all in one array. Raises TemporaryError if Slurm doesn't accept them."""
        folder = self._folder or self._made_folder()
        boxes = [Path(tempfile.mkdtemp(dir=folder, prefix="job-")) for _ in lanes]
        try:
            executor = self._executor(folder)
            with executor.batch():
                jobs = [executor.submit(serve, self.setup, str(box)) for box in boxes]
        except Exception as error:  # of submitit, and of the commands that it calls
            raise TemporaryError(f"Slurm accepts no job: {cut(str(error))}") from error
        watch = self._watch if self.settings.cluster == "slurm" else None
        return [SlurmJob(job, box, watch) for job, box in zip(jobs, boxes, strict=True)]

    def stop(self) -> None:
        """Remove the folder. The jobs have been told to end."""
        self._over.set()
        self._stack.close()
        self._folder = None

    def _made_folder(self) -> Path:
        """A folder that only this user can read, as a pickled stage may hold the password of a store's URL.

        Folders that killed commands left behind are removed.
        """
        parent = Path(self.settings.folder).expanduser().absolute() if self.settings.folder else cache_dir() / "slurm"
        try:
            folder = self._stack.enter_context(workplace(parent))  # mode 0700
        except OSError as error:
            raise RecipeError(
                f"{parent}: {error.strerror}; choose a folder that all machines share: --runner-set folder=…"
            ) from error
        self._folder = folder
        self._over.clear()
        touch_often(folder / "command", self._over.wait)
        return folder

    def _executor(self, folder: Path) -> Any:
        import submitit

        logging.getLogger("submitit").setLevel(logging.CRITICAL)
        own, settings = self.settings, submitit.AutoExecutor(folder=folder / "submitit", cluster=self.settings.cluster)
        settings.update_parameters(name="variorum", timeout_min=own.minutes, cpus_per_task=own.cpus)
        if own.gpus:
            settings.update_parameters(gpus_per_node=own.gpus)
        if own.memory:
            settings.update_parameters(mem_gb=own.memory)
        for name in ("partition", "account", "qos", "constraint"):
            if value := getattr(own, name):
                settings.update_parameters(**{f"slurm_{name}": value})
        settings.update_parameters(slurm_setup=[f"export {name}={own.cpus}" for name in THREADS])
        return settings


class SlurmJob:
    """A worker; see `lanes.Worker`.

    Args:
        job: as submitit gives it.
        box: folder of its messages.
        watch: which jobs Slurm has; None for a process of this machine.
    """

    def __init__(self, job: Any, box: Path, watch: Watch | None) -> None:
        self._job, self._box, self._watch = job, box, watch
        self._since = time.monotonic()
        self._pulse = Pulse(box / "job")
        self._number, self._times = 0, 0
        self._ready = self._ended = False

    def ready(self, seconds: float) -> bool:
        """Return whether the job has started and has set itself up."""
        if not self._ready:
            self._times += 1
            if not (self._box / "ready").exists():
                if self._gone():
                    raise self._lost()
                if self._times == WAITING:
                    why = self._watch.reason(str(self._job.job_id)) if self._watch else ""
                    log.warning("waiting for Slurm to start job %s%s", self._job.job_id, why)
                time.sleep(seconds)
                return False
            if errors := loaded((self._box / "ready").read_bytes()):
                raise unpacked(errors)
            self._ready = True
        return True

    def make(self, sent: Sent, part: bytes, heard: Heard) -> bytes:
        """Write the part, and wait for its outcome."""
        stage = self._box.parent / f"stage-{sent.token}"
        if not stage.exists():
            put(stage, sent.content)
        number, offset = self._number, 0
        self._number += 1
        put(self._box / f"part-{number}", pickle.dumps((sent.token, part)))
        outcome, said = self._box / f"outcome-{number}", self._box / f"said-{number}"
        while not outcome.exists():
            offset = read_said(said, offset, heard)
            if self._ended or self._gone() or self._pulse.silent(SILENCE):
                if outcome.exists():  # it was written meanwhile
                    break
                raise self._lost()
            time.sleep(LOOK)
        return outcome.read_bytes()

    def end(self) -> None:
        """Cancel the job, and tell its process to end."""
        self._ended = True
        with suppress(OSError):
            (self._box / "stop").touch()
        if self._watch:
            with suppress(Exception):  # it may have ended, or Slurm doesn't answer
                self._job.cancel(check=False)

    def _gone(self) -> bool:
        if self._watch:
            return not self._watch.has(str(self._job.job_id), self._since)
        return bool(self._job.done())

    def _lost(self) -> WorkerLost:
        said = ""
        with suppress(Exception):  # it may have written nothing
            said = f": {self._job.stderr().strip().splitlines()[-1][:200]}"
        return WorkerLost(f"(job {self._job.job_id}) ended{said}")


@dataclass(slots=True)
class Watch:
    """Which of this user's jobs Slurm knows. All lanes share one call of `squeue`, to spare Slurm's controller."""

    _jobs: dict[str, str] = field(default_factory=dict)
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
                    self._jobs = dict(line.split(maxsplit=1) for line in said.splitlines() if " " in line.strip())
            return self._at <= since or job in self._jobs

    def reason(self, job: str) -> str:
        """Why a job waits, in Slurm's words and in brackets; `""` if it doesn't wait."""
        return f" ({self._jobs[job]})" if self._jobs.get(job, "None") != "None" else ""
