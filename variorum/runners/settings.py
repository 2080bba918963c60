"""Configure the engines: settings, CPU threads, and the error if one can't be used."""

from __future__ import annotations

import os
import uuid

from pydantic import BaseModel, ConfigDict

from variorum.runners.worker import Setup
from variorum.schemas.errors import TemporaryError
from variorum.schemas.lookup import cut
from variorum.schemas.secrets import shown


class RunnerSettings(BaseModel):
    """Settings of a runner. The command line gives their values as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def share_of_cores(workers: int) -> int:
    """CPU threads of one worker, if this many workers share this machine's cores.

    The number changes no result: models whose sums depend on it always compute on one thread.
    """
    return max(1, len(os.sched_getaffinity(0)) // workers)


def setup(threads: int) -> Setup:
    """The setup of a command's workers, each with this many CPU threads."""
    return Setup.here(uuid.uuid4().hex, threads)


def unreachable(what: str, address: str, start: str, error: Exception) -> TemporaryError:
    """The error for a cluster that doesn't answer, or can't be started on this machine.

    Args:
        what: `Ray` or `Dask`.
        address: of a running cluster; `""` for one that the command starts.
        start: the command that starts one.
        error: the engine's own.
    """
    where = f"no {what} cluster answers at {shown(address)}" if address else f"{what} can't start on this machine"
    return TemporaryError(f"{where} ({cut(str(error))}); start one with `{start}`, or use --runner processes")
