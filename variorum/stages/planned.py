"""Plan a run of a job, as values that can be shown or printed as JSON."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from variorum.edition.store import Store
from variorum.machine.progress import QUIET, Progress
from variorum.models.filters import UNAVAILABLE
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import ShardInfo
from variorum.schemas.more import sendings_of
from variorum.schemas.plot import FEWEST
from variorum.schemas.sample import SPLITS
from variorum.stages.estimate import Estimate, estimate
from variorum.stages.job import Job
from variorum.stages.requests import keep_requests, makes_requests

SAID = (
    *(
        "edition",
        "source",
        "samples",
        "classes",
        "units",
        "units_done",
        "pictures",
        "splits",
        "configs",
        "models",
        "terms",
    ),
    *("disk_bytes", "peak_memory_bytes", "gpu_peak_memory_bytes", "seconds"),
)
"""What the JSON form has, in order."""
ENOUGH = 24
"""Source samples below which a plan says that they are few."""


@dataclass(frozen=True, slots=True)
class Requests:
    """The table of requests of a plan.

    Attributes:
        info: names it.
        store: has it.
        kept: whether it stays there; otherwise it goes with this object.
    """

    info: ShardInfo
    store: Store
    kept: bool


@dataclass(frozen=True)
class Planned:
    """The plan of a run. No picture is made for it, and no model is loaded.

    Attributes:
        edition: its name, `imagenet_e@3.0.0`.
        source: name of the source.
        samples: number of source samples that are read.
        classes: their number.
        units: number of parts of the work.
        units_done: how many of them are finished.
        samples_per_unit: of the source, at most.
        pictures: number of pictures that are asked for; None if the generator doesn't list them before.
        splits: the recipe's shares by split; None if the source says which split a picture is of.
        configs: the field whose values become configurations, or None.
        makes: names of the generators.
        models: by alias, its `pin` and its `state` on this machine, such as `ready`; `why` where a run does without it.
        terms: what and text of the licences of all models, and of each whose weights aren't for every use.
        sends: what leaves this machine, one sentence for each host and model.
        cost: size, memory and time.
    """

    edition: str
    source: str
    samples: int
    classes: int
    units: int
    units_done: int
    samples_per_unit: int
    pictures: int | None
    splits: Mapping[str, float] | None
    configs: str | None
    makes: tuple[str, ...]
    models: Mapping[str, Mapping[str, str]]
    cost: Estimate = field(repr=False)
    terms: tuple[tuple[str, str], ...] = ()
    sends: tuple[str, ...] = ()
    table: Requests | None = field(default=None, repr=False, compare=False)

    @property
    def disk_bytes(self) -> int | None:
        """Size of the finished edition; None if no unit of the dataset was made in this store yet."""
        return self.cost.disk_bytes

    @property
    def peak_memory_bytes(self) -> int | None:
        """Highest memory use of a process so far; None if unknown."""
        return self.cost.peak_bytes

    @property
    def gpu_peak_memory_bytes(self) -> int | None:
        """Highest use of a GPU's memory so far; None if unknown."""
        return self.cost.gpu_peak_bytes

    @property
    def seconds(self) -> float | None:
        """Remaining time with one worker; None if unknown."""
        return self.cost.seconds

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {name: getattr(self, name) for name in SAID} | {"terms": [list(pair) for pair in self.terms]}

    def lines(self) -> list[tuple[str, str]]:
        """All of it as (what, text) for people."""
        found = [("source", f"{self.source}, {self.samples} samples, {self.classes} classes")]
        found.append(("units", f"{self.units} of up to {self.samples_per_unit}; {self.units_done} done already"))
        if self.samples < ENOUGH:
            found.append(
                (
                    "few",
                    f"{self.samples} samples. Accuracies of fewer than {FEWEST} photographs aren't shown; name another "
                    "source, such as a folder of photographs: --source FOLDER",
                )
            )
        if self.splits:
            shares = {"train": 1 - sum(self.splits.values()), **self.splits}
            said = [f"{name} {shares[name]:g}" for name in SPLITS if shares.get(name, 0) > 1e-9]
            found.append(("splits", f"{', '.join(said)} of the photographs"))
        if self.configs:
            found.append(("configurations", f"one for each {self.configs}"))
        found.append(("makes", ", ".join(self.makes) or "the source's own pictures"))
        if self.pictures is not None:
            found.append(("pictures", str(self.pictures)))
        found += [
            (
                "model",
                f"{alias}: unavailable, {one['why']}" if "why" in one else f"{alias}: {one['pin']} ({one['state']})",
            )
            for alias, one in self.models.items()
        ]
        found += [*self.terms, *(("sends", text) for text in self.sends)]
        return [*found, ("estimate", self.cost.text)]

    def requests(self) -> Any:
        """The pictures that will be asked for as a `pyarrow.Table`; None if the generator doesn't list them before."""
        if self.table is None:
            return None
        import pyarrow.parquet as pq

        return pq.read_table(self.table.store.path(self.table.info, ".parquet"))

    def __str__(self) -> str:
        lines = self.lines()
        width = max(len(what) for what, _ in lines)
        return "\n".join([self.edition, *(f"  {what:<{width}}  {text}" for what, text in lines)])


def planned(job: Job, progress: Progress = QUIET, *, terms: Iterable[tuple[str, str]] = ()) -> Planned:
    """Plan a run of a job. `variorum.pipeline.check` says beforehand whether it can run.

    Args:
        job: its store may be one that is only read, or not there yet.
        progress: receives the progress of listing the requests.
        terms: of its models' licences, from `variorum.reports.model_terms`.

    Raises:
        VariorumError: as `stages.plan.plan` and `keep_requests`.
    """
    recipe, plan, guess, table = job.recipe, job.plan, estimate(job), requests_of(job, progress)
    table_of_models: Any = job.ctx.models
    models: dict[str, dict[str, str]] = {}
    for alias, pin in plan.models.items():
        if pin == UNAVAILABLE:
            models[alias] = {"pin": pin, "state": pin, "why": table_of_models.why_unavailable(alias)}
        else:
            models[alias] = {"pin": pin, "state": table_of_models.status(alias).state}
    return Planned(
        edition=f"{recipe.dataset}@{recipe.version}",
        source=recipe.source.component_name(),
        samples=plan.size,
        classes=len(plan.classes),
        units=len(plan.parts),
        units_done=guess.done,
        samples_per_unit=recipe.samples_at_once,
        pictures=table.info.samples if table else None,
        splits={str(split): share for split, share in recipe.splits.items()} or None,
        configs=recipe.configs,
        makes=tuple(part.component_name() for part in recipe.generate),
        models=models,
        cost=guess,
        terms=tuple(terms),
        sends=tuple(
            sending.said(table.info.samples if table else None if recipe.generate else plan.size)
            for sending in sendings_of(*recipe.curate, *recipe.evaluate)
        ),
        table=table,
    )


def requests_of(job: Job, progress: Progress = QUIET) -> Requests | None:
    """A job's table of requests, in its store if that can be written, otherwise in a folder that goes when unused."""
    if not any(map(makes_requests, job.recipe.generate[:1])):
        return None
    store, kept = _place(job.store)
    info = keep_requests(job.recipe, job.ctx, store, progress)
    return Requests(info, store, kept) if info else None


def _place(store: Store) -> tuple[Store, bool]:
    """Where a plan's table goes, and whether it stays there."""
    if store.local and (store.can_write() or not store.local.exists()):
        with suppress(StoreError):
            return Store(store.url), True
    folder = tempfile.mkdtemp(prefix="variorum-plan-")
    scratch = Store(folder)
    weakref.finalize(scratch, shutil.rmtree, folder, ignore_errors=True)
    return scratch, False
