"""What every task needs to work anywhere: plain values that travel, and the objects that a process makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

from schemas.component import Context
from schemas.errors import VariorumError
from schemas.recipe import Recipe
from variorum.context import Profile, open_context
from variorum.progress import QUIET, Progress
from variorum.store import Store

progress: ContextVar[Progress] = ContextVar("progress", default=QUIET)
"""Set by a command line that shows bars, in the same process; tasks inherit it."""

LEASE_SECONDS = 60
"""How long a killed holder keeps a GPU slot before the server frees it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A recipe on a profile into a store."""

    recipe: Mapping[str, Any]
    profile: Profile
    store: str

    def open(self) -> tuple[Recipe, Context, Store]:
        """The recipe, its context and the store, models shared by all tasks of the process."""
        recipe = Recipe.parse(self.recipe)
        return recipe, open_context(recipe, self.profile), _store(self.store)


@cache
def _store(url: str) -> Store:
    return Store(url)


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Errors that the project names stay errors however often they are tried, too little memory too; I/O may pass."""
    return not isinstance(state.result(raise_on_failure=False), VariorumError)


def gpus() -> int:
    """How many CUDA devices this process sees."""
    import torch

    return torch.cuda.device_count()


@contextmanager
def gpu_slot() -> Iterator[None]:
    """Hold one slot of the server's `gpu` limit while a unit runs; nothing to hold on a machine without a GPU."""
    if not gpus():
        yield
        return
    from prefect.concurrency.sync import concurrency

    with concurrency("gpu", occupy=1, lease_duration=LEASE_SECONDS, strict=True):
        yield


def ensure_gpu_limit() -> None:
    """Declare as many `gpu` slots as there are devices, unless the server has its own number."""
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
