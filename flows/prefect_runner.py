"""Prefect as a runner: one task per part, with retries, GPU slots and artifacts.

The store says what is done, never Prefect's database. So the same command completes a killed run, under any runner,
with or without a server.
"""

from __future__ import annotations

import variorum.flows.settings  # noqa: F401 - before Prefect reads its settings

# isort: split

import base64
import ctypes
import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

from prefect import flow, tags, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TagsContext
from prefect.futures import as_completed
from prefect.states import Cancelled
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import quote

from variorum.edition.editions import read_beside
from variorum.edition.store import Store
from variorum.flows import own_server, stale_runs
from variorum.machine.progress import QUIET, Pace, Progress
from variorum.models.device import has_driver
from variorum.pipeline import Job
from variorum.reports.contents import summary_rows
from variorum.schemas.errors import StoreError, TemporaryError, VariorumError
from variorum.schemas.manifest import Ledger, Manifest
from variorum.schemas.secrets import cleaned, cleaned_errors, shown
from variorum.stages.job import Profile
from variorum.stages.stage import P, R, Runner, Stage

T = TypeVar("T")
EVERY_SECONDS = 5.0
"""Between two updates of a progress artifact, each of which is a request to the server."""
LEASE_SECONDS = 60
"""How long a killed holder keeps a GPU slot before the server frees it."""
SHEET = "contact_sheet.png"
HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
"""The header of a card, which only loaders need."""
PICTURE = re.compile(r"!\[([^\]]*)\]\(([\w.\-]+\.png)\)")
"""A picture in a card, whose file is beside it."""
LARGEST = (1000, 1500)
"""Width and height of a picture in an artifact."""
ARTIFACTS = {"unit": "units", "release": "units"}
"""Key of a stage's progress artifact; `shards` for the others."""

reporting: ContextVar[Progress] = ContextVar("reporting", default=QUIET)
"""Receives the progress of this process; tasks on threads inherit it."""
broken: ContextVar[list[StoreError]] = ContextVar("broken")
"""Receives the errors of the store; after the first, such as a full disk, parts that haven't begun fail at once."""
at_work: ContextVar[AtWork] = ContextVar("at_work")
"""The tasks of this `map`."""
STOPPED = "Stopped by Ctrl-C."


class Stopped(BaseException):
    """The flow of this task has ended."""


class AtWork:
    """Threads that make parts, which a flow ends when it ends before them: a pool would wait until they have finished.

    On Ctrl-C, Python raises KeyboardInterrupt in the main thread only; `stop` does the same in these.
    """

    def __init__(self) -> None:
        self._threads: set[int] = set()
        self._lock = threading.Lock()
        self._over = False

    def __enter__(self) -> None:
        with self._lock:
            if self._over:
                raise Stopped
            self._threads.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads.discard(threading.get_ident())

    def stop(self) -> None:
        """Raise Stopped in them, as soon as they execute Python."""
        with self._lock:
            self._over = True
            for thread in self._threads:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Stopped))


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Return whether an error may go away: `TemporaryError`, and what isn't the project's own, such as short memory."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, TemporaryError) or not isinstance(error, VariorumError)


@task(
    name="part",
    task_run_name="{label}",
    retries=2,
    retry_delay_seconds=[2, 20],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def part_task(stage: Stage[Any, Any], part: Any, label: str) -> Any:
    """Make one part of a stage, in a GPU slot if the stage uses models."""
    try:
        with cleaned_errors(), gpu_slot(stage.uses_models), at_work.get():
            errors = broken.get([])
            if errors:
                raise errors[0]
            try:
                return stage.make(part, reporting.get().advance)
            except StoreError as error:
                errors.append(error)
                raise
    except Stopped:
        return Cancelled(message=STOPPED)


class OnPage(Progress):
    """Passes the steps of a stage on, and shows them with the time left as a progress artifact of its flow."""

    def __init__(self, key: str, what: str, total: int, progress: Progress) -> None:
        self.what, self.progress, self.pace = what, progress, Pace(total)
        self._artifact: Any = create_progress_artifact(0.0, key=key, description=f"{what}, {total} to do")
        self._lock, self._said = threading.Lock(), 0.0

    def advance(self, steps: int) -> None:
        """See `Progress.advance`."""
        self.progress.advance(steps)
        self.pace.advance(steps)
        if self.is_late() and self._lock.acquire(blocking=False):
            try:
                with suppress(Exception):  # a page that can't be reached stops no work
                    self.update()
            finally:
                self._lock.release()

    def is_late(self) -> bool:
        """Return whether the page is older than `EVERY_SECONDS`."""
        return self.pace.seconds() - self._said >= EVERY_SECONDS

    def update(self) -> None:
        """Show it as it is now."""
        self._said, pace = self.pace.seconds(), self.pace
        said = f"{self.what}: {pace.done} of {pace.total}, {pace.time()}"
        update_progress_artifact(self._artifact, 100 * min(pace.done / max(pace.total, 1), 1), said)


class PrefectRunner:
    """Makes parts as Prefect tasks inside a flow. The flow's task runner decides how many run at a time."""

    def map(self, stage: Stage[P, R], parts: Sequence[P], progress: Progress) -> list[R]:
        """See `Runner.map`; also shows a progress artifact."""
        if stage.uses_models:
            ensure_gpu_limit()
        submit: Any = part_task.with_options(name=stage.name).submit
        key, total = ARTIFACTS.get(stage.name, "shards"), sum(part.samples for part in parts)
        shown = OnPage(key, stage.doing, total, progress)
        token, stop, working = reporting.set(shown), broken.set([]), at_work.set(tasks := AtWork())
        try:
            futures: list[Any] = [submit(quote(stage), quote(part), str(part)) for part in parts]
            for _ in as_completed(futures):
                if shown.is_late():
                    shown.update()
            shown.update()
        except BaseException:
            tasks.stop()
            raise
        finally:
            reporting.reset(token)
            broken.reset(stop)
            at_work.reset(working)
        results = [future.result(raise_on_failure=False) for future in futures]
        if errors := [result for result in results if isinstance(result, BaseException)]:
            raise errors[0]
        return results


def in_flow(
    name: str, work: Callable[[Job, Runner, Progress], T], job: Job, progress: Progress = QUIET, *, workers: int = 1
) -> T:
    """Work on a job inside a flow.

    Args:
        name: of the flow.
        work: such as `variorum.pipeline.run`; called with the job, a `PrefectRunner` and `progress`.
        job: the job.
        progress: receives the progress.
        workers: number of tasks at the same time.
    """

    def pipeline(recipe: dict[str, Any], profile: Profile, store: str) -> Any:  # the parameters are only shown
        stale_runs.claim(tag)
        try:
            # for each tag of a task, Prefect would ask the server for a slot
            with cleaned_errors(), TagsContext(current_tags=outside):
                result = work(job, PrefectRunner(), progress)
                if not inside:
                    draw(result, job)
        except KeyboardInterrupt as error:
            stopped.append(error)
            return Cancelled(message=STOPPED)
        return quote(result)

    stopped: list[KeyboardInterrupt] = []
    outside, inside = TagsContext.get().current_tags, FlowRunContext.get() is not None
    pool: Any = ThreadPoolTaskRunner(max_workers=workers)
    title = f"{job.recipe.dataset} {job.recipe.version}"
    run_it: Any = flow(name=name, flow_run_name=title, task_runner=pool, validate_parameters=False)(pipeline)
    with own_server.api() as server, stale_runs.lease(server) as tag, tags(tag):
        stale_runs.claim(tag)
        stale_runs.mark_killed(server)
        try:
            result = run_it(cleaned(job.recipe.dump()), job.profile, shown(job.store.url))
        except BaseException as error:
            own_server.check_still_there(stopped[0] if stopped else error)
            if stopped:
                own_server.leave_to_end()
                raise stopped[0] from None
            raise
        if inside:  # people look for artifacts on the page of the outer run
            draw(result.unquote(), job)
        return result.unquote()  # type: ignore[no-any-return]


def draw(result: object, job: Job) -> None:
    """Create artifacts of the result: the edition's counts, the card, the contact sheet, the ledger's verdicts."""
    ledger: Ledger | None = None
    if isinstance(result, Manifest):
        name, ledger = f"{result.dataset}@{result.version}", result.ledger
        create_table_artifact(summary_rows(result), key="counts", description=name)
        if card := read_beside(result, "README.md", job.store):
            create_markdown_artifact(self_contained(card.decode(), result, job.store), key="card", description=name)
        if sheet := read_beside(result, SHEET, job.store):
            create_markdown_artifact(f"![Contact sheet]({data_url(sheet)})", key="sheet", description=name)
    elif isinstance(result, tuple) and isinstance(result[-1], Ledger):
        ledger = result[-1]
    if ledger:
        rows = [
            {"action": action, "reason": reason, "pictures": pictures}
            for action, reasons in ledger.counts.items()
            for reason, pictures in reasons.items()
        ]
        create_table_artifact(rows, key="verdicts", description=f"{job.recipe.dataset}@{job.recipe.version}")


def self_contained(card: str, manifest: Manifest, store: Store) -> str:
    """A card for Prefect's pages, without its header and with embedded plots, as browsers can't reach the store."""

    def inside(found: re.Match[str]) -> str:
        plot = None if found[2] == SHEET else read_beside(manifest, found[2], store)
        return f"![{found[1]}]({data_url(plot)})" if plot else ""

    return PICTURE.sub(inside, HEADER.sub("", card))


def data_url(picture: bytes) -> str:
    """A picture as a URL that holds it, as a JPEG of at most `LARGEST` pixels."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail(LARGEST)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def gpus() -> int:
    """Number of CUDA devices that this process sees. PyTorch is imported only where a driver is."""
    if not has_driver():
        return 0
    import torch

    return torch.cuda.device_count()


@contextmanager
def gpu_slot(wanted: bool = True) -> Iterator[None]:
    """Hold one slot of the server's `gpu` limit; does nothing without a GPU."""
    if not wanted or not gpus():
        yield
        return
    from prefect.concurrency.sync import concurrency

    with concurrency("gpu", occupy=1, lease_duration=LEASE_SECONDS, strict=True):
        yield


def ensure_gpu_limit() -> None:
    """Declare one `gpu` slot per device, unless the server has a number set."""
    if not gpus():
        return
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name("gpu")
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="gpu", limit=gpus()))
