"""What the settings of all engines have in common."""

from __future__ import annotations

import os
import uuid

from pydantic import BaseModel, ConfigDict

from variorum.runners.worker import Setup


class RunnerSettings(BaseModel):
    """Settings of a runner, which the command line gives as texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def share_of_cores(workers: int) -> int:
    """CPU threads of each of so many workers on this machine, so that together they have a thread for each core.

    The number changes no result: models whose sums depend on it compute on one thread wherever they are.
    """
    return max(1, len(os.sched_getaffinity(0)) // workers)


def setup(threads: int) -> Setup:
    """The setup of a command's workers, each with so many CPU threads."""
    return Setup.here(uuid.uuid4().hex, threads)
