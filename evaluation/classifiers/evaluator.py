"""Running models: each sees every picture of an edition once. Answers are kept by model and shard.

No recipe is needed. The job that is made here has the edition itself as its source, so classes and labels are the
edition's, and the seed is that of the recipe in its manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from variorum.edition.store import Store
from variorum.edition.tables import joined, read_part
from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.machine.progress import Progress
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe
from variorum.stages.job import Job
from variorum.stages.job import models as table_of
from variorum.stages.measure import Measure
from variorum.stages.pieces import edition_pieces
from variorum.stages.stage import Runner, complete

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def job_on(
    manifest: Manifest, store: Store, names: Sequence[str], tables: Store, models: ModelTable, **options: Any
) -> Job:
    """A job that evaluates models on an edition.

    Args:
        manifest: the edition.
        store: its store.
        names: of the models.
        tables: the store that gets the tables of answers.
        models: knows the models.
        options: of `accuracy_drop`.
    """
    source = {"name": "edition", "edition": f"{manifest.dataset}@{manifest.version}", "store": place_of(store)}
    recipe = Recipe.parse(
        {
            "dataset": manifest.dataset,
            "version": manifest.version.partition("-r")[0],
            "seed": seed_of(manifest),
            "source": source,
            "evaluate": [{"name": "accuracy_drop", "classifiers": list(names), **options}],
        }
    )
    ctx = Context(recipe.seed, models, DiskMemo(cache_dir() / "memo"), recipe.source)
    return Job(recipe, tables, ctx=ctx)


def seed_of(manifest: Manifest) -> int:
    """The seed of the recipe in a manifest; 0 if it has none."""
    seed = manifest.recipe.get("seed", 0)
    return seed if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63 else 0


class Evaluator:
    """Runs models on every picture of an edition; a picture is decoded once for all of them.

    The job's store has one table per model and shard. Those that are there already aren't made again.

    Args:
        job: from `job_on`.
        manifest: the edition.
        store: its store.
        names: of the models to run.
    """

    def __init__(self, job: Job, manifest: Manifest, store: Store, names: Sequence[str]) -> None:
        self.labels = {f"model_{number}": name for number, name in enumerate(names)}
        """Names that a stage can have, for those of the models."""
        (evaluation,) = job.recipe.evaluate
        measurers = {
            label: evaluation.model_copy(update={"classifiers": (name,)}) for label, name in self.labels.items()
        }
        by_model = [edition_pieces(manifest, [one], job) for one in measurers.values()]
        pieces = [
            replace(
                parts[0],
                keys={label: key for label, part in zip(measurers, parts, strict=True) for key in part.keys.values()},
            )
            for parts in zip(*by_model, strict=True)
        ]
        self.stage = Measure(job, measurers, pieces, "evaluating", shards=store)

    def new(self) -> list[str]:
        """Names of the models that haven't seen all pictures yet."""
        kept, pieces = self.stage.job.store.table, self.stage.pieces
        return [name for label, name in self.labels.items() if any(kept(one.keys[label]) is None for one in pieces)]

    def ask(self, runner: Runner, progress: Progress) -> dict[str, pa.Table]:
        """Measure each model as `accuracy_drop` does, in the order of the edition's pictures.

        Args:
            runner: does the work; it must stay in this process.
            progress: receives the progress.
        """
        found, store = complete(self.stage, runner, progress), self.stage.job.store
        parts = {
            label: [read_part(store, one.tables[label], lambda schema: schema.names) for one in found]
            for label in self.labels
        }
        return {name: joined("evaluate.accuracy_drop", parts[label]) for label, name in self.labels.items()}


@contextmanager
def temporary_store() -> Iterator[Store]:
    """A temporary store for answers that aren't kept: those of functions, which may differ next time."""
    with TemporaryDirectory(prefix="variorum-") as folder:
        yield Store(folder)


def store_for_tables(store: Store) -> Store:
    """Where answers are kept: the edition's store, or this machine's cache if that can't be written."""
    if store.writable:
        return store
    if store.can_write():
        try:
            return Store(place_of(store), trust=store.trust)
        except StoreError as error:
            log.debug("%s", error)
    return Store(str(cache_dir() / "evaluations"))


def place_of(store: Store) -> str:
    """Folder or URL of a store, which stays the same when the working folder changes."""
    return str(store.local) if store.local else store.url


def known_models(profile: str, brought: Mapping[str, Any]) -> ModelTable:
    """The table of a profile, with functions and other models that only this process has."""
    table = table_of(profile)  # type: ignore[arg-type]
    return table.with_models(brought) if brought else table
