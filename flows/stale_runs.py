"""Runs that were killed: each process keeps a lock, and the next one marks the runs of those that are gone as crashed.

A killed process tells nobody, so Prefect would show its runs as running for good. A lock on a file ends with its
process, whatever ended it. So a run has a tag, and PREFECT_HOME a locked file of this name: if the lock can be taken,
the run's process is gone. Runs of other machines are left alone, as a lock need not reach there.
"""

from __future__ import annotations

import fcntl
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run as this_flow_run
from prefect.settings import PREFECT_HOME
from prefect.states import Crashed

log = logging.getLogger(__name__)

PREFIX = "variorum-"
UNDERWAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
PAGE = 200
"""Rows that Prefect's API gives at once."""


HELD: set[str] = set()
"""Tags of the locks that this process holds now."""


@contextmanager
def lease(server: str) -> Iterator[str]:
    """Hold a lock for the runs of this process on this server.

    Args:
        server: its name, `""` for our own.

    Yields:
        the tag that the flow runs must have; unknown to others if PREFECT_HOME can't be written.
    """
    tag = f"{PREFIX}{uuid4().hex[:12]}"
    path = folder() / tag
    try:
        file = held(path, {"server": server, "host": socket.gethostname(), "boot": boot_id()})
    except OSError as error:
        log.warning(
            "%s: can't be written (%s): if this run is killed, Prefect goes on showing it as running", path, error
        )
        yield tag
        return
    with file:
        HELD.add(tag)
        try:
            yield tag
        finally:
            HELD.discard(tag)
        path.unlink(missing_ok=True)  # after an error it stays: Prefect may not know yet that the run has ended


def held(path: Path, owner: dict[str, str]) -> IO[str]:
    """Make a locked file that appears under its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"new-{path.name}")
    file = new.open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        json.dump(owner, file)
        file.flush()
        new.rename(path)
    except OSError:
        file.close()
        new.unlink(missing_ok=True)
        raise
    return file


def claim(tag: str) -> None:
    """Give the flow run that this code is in, if any, this process's tag, in place of those of earlier attempts."""
    if this_flow_run.id:
        with get_client(sync_client=True) as client:
            tags = client.read_flow_run(UUID(this_flow_run.id)).tags
            if tag in tags:
                return
            others = [one for one in tags if not one.startswith(PREFIX) or one in HELD]
            client.update_flow_run(UUID(this_flow_run.id), tags=[*others, tag])


def let_go() -> None:
    """Take this process's tag from the flow run that this code is in: it will end, and another process go on with it.

    Until that one has claimed the run, nobody may take it for killed.
    """
    if this_flow_run.id:
        with get_client(sync_client=True) as client:
            others = [one for one in client.read_flow_run(UUID(this_flow_run.id)).tags if not one.startswith(PREFIX)]
            client.update_flow_run(UUID(this_flow_run.id), tags=others)


def mark_killed(server: str) -> int:
    """Mark the runs on this server whose process was killed as crashed; their number. Problems are only logged."""
    marked = 0
    for path in sorted(folder().glob(f"{PREFIX}*")):
        try:
            marked += _mark(path, server)
        except Exception as error:  # the run that starts now needs none of this
            log.warning("%s: can't be looked at (%s): killed runs may be shown as running", path, error)
    return marked


def _mark(path: Path, server: str) -> int:
    """Look at one process's file; if the process is gone, mark its runs and remove the file."""
    with path.open("r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        owner = json.load(file)
        here = owner["host"] == socket.gethostname() or (owner["boot"] and owner["boot"] == boot_id())
        if not here or owner["server"] != server:
            return 0
        with get_client(sync_client=True) as client:
            marked = _mark_tagged(client, path.name)
        path.unlink(missing_ok=True)
        return marked


def _mark_tagged(client: SyncPrefectClient, tag: str) -> int:
    """Mark all unfinished runs of a tag, with their tasks."""
    crashed: State[None] = Crashed(message="The process of this run was killed.")
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tag])))
    unfinished = [run.id for run in runs if run.state_type in UNDERWAY]
    for run in runs:
        for task in _unfinished_tasks(client, run.id):
            client.set_task_run_state(task, crashed, force=True)
    for run_id in unfinished:
        client.set_flow_run_state(run_id, crashed, force=True)
    return len(unfinished)


def _unfinished_tasks(client: SyncPrefectClient, run: UUID) -> list[UUID]:
    state = TaskRunFilterState(type=TaskRunFilterStateType(any_=[*UNDERWAY, StateType.SCHEDULED]))
    of, which = FlowRunFilter(id=FlowRunFilterId(any_=[run])), TaskRunFilter(state=state)
    found: list[UUID] = []
    while True:
        page = client.read_task_runs(flow_run_filter=of, task_run_filter=which, limit=PAGE, offset=len(found))
        found += [task.id for task in page]
        if len(page) < PAGE:
            return found


def folder() -> Path:
    """Where the locked files lie."""
    return Path(PREFECT_HOME.value()) / "variorum"


def boot_id() -> str:
    """Names this start of this machine, in all of its containers; `""` where the system doesn't say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
