"""Workers that are jobs of Slurm, submitted as one array, which talk to the command through files in a shared folder.

A job serves parts until the command ends, so it loads its models once. Each job has a folder with numbered files: the
command writes `part-3`, the job appends lines to `said-3` and renames its answer to `outcome-3`. Both sides touch a
file now and then; a job that falls silent is lost, and a job whose command falls silent ends.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from variorum.machine.cache import cache_dir
from variorum.machine.workplace import workplace
from variorum.runners.lanes import Heard, WorkerLost
from variorum.runners.settings import RunnerSettings, setup
from variorum.runners.worker import THREADS, Message, Report, Sent, Setup, attempt, loaded, packed, prepare, unpacked
from variorum.schemas.errors import RecipeError, TemporaryError

log = logging.getLogger(__name__)

LOOK = 0.2
"""Seconds between two looks at the folder."""
PULSE = 5.0
"""Seconds between two touches."""
SILENCE = 120.0
"""Seconds without a touch after which the other side is taken for dead."""
ASK = 10.0
"""Seconds between two questions to Slurm."""
WAITING = 150
"""Times that a lane asks for its job before it says that it waits: 30 seconds."""


class Settings(RunnerSettings):
    """Settings of `slurm`. What isn't here can be set for `sbatch` by its own variables, such as SBATCH_RESERVATION.

    Attributes:
        partition: of the jobs, as for `sbatch`; so are account, qos and constraint.
        account: that pays.
        qos: quality of service.
        constraint: on the nodes.
        minutes: time limit of a job; when it is over, another job goes on.
        cpus: of a job, and its CPU threads.
        gpus: of a job.
        memory: of a job, in GB; 0 for the partition's default.
        folder: for the messages, on a disk that all machines share; by default in the cache.
        cluster: `local` for processes of this machine in place of jobs, to try it out without Slurm.
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
        """A job for each lane, all in one array. Raises TemporaryError if they can't be submitted."""
        folder = self._folder or self._made_folder()
        boxes = [Path(tempfile.mkdtemp(dir=folder, prefix="job-")) for _ in lanes]
        try:
            executor = self._executor(folder)
            with executor.batch():
                jobs = [executor.submit(serve, self.setup, str(box), PULSE, SILENCE) for box in boxes]
        except Exception as error:  # of submitit, and of the commands that it calls
            raise TemporaryError(f"Slurm takes no job: {' '.join(str(error).split())[:300]}") from error
        watch = self._watch if self.settings.cluster == "slurm" else None
        return [SlurmJob(job, box, watch) for job, box in zip(jobs, boxes, strict=True)]

    def stop(self) -> None:
        """Remove the folder; the jobs have been ended."""
        self._over.set()
        self._stack.close()
        self._folder = None

    def _made_folder(self) -> Path:
        """A folder that nobody else can read: the pickled stage may have the password of a store's URL.

        Those of killed commands are removed.
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
        _touch_often(folder / "command", PULSE, self._over.wait)
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
        """Whether the job runs and has set itself up."""
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
        while True:
            if there := outcome.exists():
                return outcome.read_bytes()
            offset = read_said(said, offset, heard)
            if self._ended or self._gone() or self._pulse.silent(SILENCE):
                if not there and outcome.exists():
                    continue
                raise self._lost()
            time.sleep(LOOK)

    def end(self) -> None:
        """Cancel the job, and tell it to end."""
        self._ended = True
        with suppress(OSError):
            (self._box / "stop").touch()
        if self._watch:
            with suppress(Exception):  # it has ended, or Slurm doesn't answer
                self._job.cancel(check=False)

    def _gone(self) -> bool:
        if self._watch:
            return not self._watch.has(str(self._job.job_id), self._since)
        return bool(self._job.done())

    def _lost(self) -> WorkerLost:
        said = ""
        with suppress(Exception):  # it has said nothing
            said = f": {self._job.stderr().strip().splitlines()[-1][:200]}"
        return WorkerLost(f"(job {self._job.job_id}) ended{said}")


@dataclass(slots=True)
class Watch:
    """Which of this user's jobs Slurm has. All lanes share one question, as Slurm's controller is shared by many."""

    _jobs: dict[str, str] = field(default_factory=dict)
    _at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def has(self, job: str, since: float) -> bool:
        """Whether a job waits or runs; also if nothing is known.

        Args:
            job: its id.
            since: when it was submitted, by the monotonic clock.
        """
        with self._lock:
            if time.monotonic() - max(self._at, since) > ASK:
                with suppress(OSError, subprocess.SubprocessError):  # nothing is known
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
        """Why a job waits, in brackets, as Slurm says it; `""` if it doesn't."""
        return f" ({self._jobs[job]})" if self._jobs.get(job, "None") != "None" else ""


@dataclass(slots=True)
class Pulse:
    """Whether somebody else still touches a file. Only this machine's clock is asked, as clocks may differ."""

    file: Path
    _last: int = -1
    _at: float = field(default_factory=time.monotonic)

    def silent(self, seconds: float) -> bool:
        """Whether the file hasn't been touched for so long."""
        with suppress(OSError):
            if (now := self.file.stat().st_mtime_ns) != self._last:
                self._last, self._at = now, time.monotonic()
        return time.monotonic() - self._at > seconds


def serve(setup: Setup, place: str, pulse: float, silence: float) -> None:
    """The job: make parts until the command ends it, or falls silent.

    Args:
        setup: of the worker.
        place: folder of its messages.
        pulse: seconds between two touches.
        silence: seconds after which the command is taken for dead.
    """
    box = Path(place)
    _touch_often(box / "job", pulse, threading.Event().wait)
    threading.Thread(target=_end_with_command, args=(box, silence), daemon=True).start()
    try:
        prepare(setup)
    except Exception as error:
        put(box / "ready", pickle.dumps(packed(error)))
        return
    put(box / "ready", pickle.dumps(()))
    number = 0
    while True:
        part = box / f"part-{number}"
        while (box / f"outcome-{number}").exists() or not part.exists():
            if (box / f"outcome-{number}").exists():  # Slurm has started this job again
                number += 1
                part = box / f"part-{number}"
            else:
                time.sleep(LOOK)
        token, content = loaded(part.read_bytes())
        sent = Sent(token, (box.parent / f"stage-{token}").read_bytes())
        with (box / f"said-{number}").open("a", encoding="utf-8") as said:

            def send(message: Message, said: Any = said) -> None:
                said.write(json.dumps(message) + "\n")
                said.flush()

            answer = attempt(sent, content, Report(send))
        put(box / f"outcome-{number}", answer)


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    partial.write_bytes(content)
    partial.rename(path)


def read_said(path: Path, offset: int, heard: Heard) -> int:
    """Pass on the whole lines of messages after an offset; returns the offset after them."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            lines = file.read()
    except OSError:
        return offset
    whole = lines[: lines.rfind(b"\n") + 1]
    for line in whole.splitlines():
        number, kind, content = json.loads(line)
        heard((number, kind, content))
    return offset + len(whole)


def _touch_often(file: Path, pulse: float, wait: Callable[[float], bool]) -> None:
    """Touch a file in the background until `wait` returns True."""

    def touch() -> None:
        while True:
            with suppress(OSError):
                file.touch()
            if wait(pulse):
                return

    threading.Thread(target=touch, daemon=True).start()


def _end_with_command(box: Path, silence: float) -> None:
    """End this process when the command says so, or says nothing more."""
    command = Pulse(box.parent / "command")
    while box.exists() and not ((box / "stop").exists() or command.silent(silence)):
        time.sleep(1.0)
    os._exit(0)
