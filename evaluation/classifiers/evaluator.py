"""Running models: each sees every picture of an edition once. Answers are kept by model and shard.

No recipe is needed. The job that is made here has the edition itself as its source, so classes and labels are the
edition's, and the seed is that of the recipe in its manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from variorum.edition.store import Store
from variorum.edition.tables import joined, read_part
from variorum.kit.predicted.answers import DISTRIBUTION, SharedAnswers, outputs_of
from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.machine.progress import Progress
from variorum.models import ModelTable
from variorum.models.defended import is_own
from variorum.schemas.component import Context, Evaluation
from variorum.schemas.errors import RecipeError, StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe
from variorum.stages.job import Job
from variorum.stages.job import models as table_of
from variorum.stages.measure import Measure
from variorum.stages.pieces import Piece, edition_pieces
from variorum.stages.stage import Runner, complete

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def job_on(
    manifest: Manifest, store: Store, names: Sequence[str], tables: Store, models: ModelTable, **options: Any
) -> Job:
    """A job that evaluates models on an edition."""
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

    The job's store has one table of answers per model and shard, which serves all evaluations with
    `measured_as = "answers"`. Those that are there already aren't made again, whoever asked for them.

    Args:
        job: from `job_on`.
        manifest: the edition.
        store: its store.
        names: of the classifiers to run.
        own: further evaluations with tables of their own, by any name that no classifier has.
    """

    def __init__(
        self,
        job: Job,
        manifest: Manifest,
        store: Store,
        names: Sequence[str],
        own: Mapping[str, Evaluation] | None = None,
    ) -> None:
        asked: dict[str, Evaluation] = {name: SharedAnswers(classifiers=(name,)) for name in names}
        measurers = list((asked | dict(own or {})).items())
        self.labels = {f"table_{number}": name for number, (name, _) in enumerate(measurers)}
        """Names that a stage can have, for those of the tables."""
        labelled = {label: one for label, (_, one) in zip(self.labels, measurers, strict=True)}
        each = [edition_pieces(manifest, [one], job, store) for one in labelled.values()]
        pieces = [
            replace(parts[0], keys=_by_label(labelled, parts, "keys"), chosen=_by_label(labelled, parts, "chosen"))
            for parts in zip(*each, strict=True)
        ]
        self.stage = Measure(job, labelled, pieces, "evaluating", shards=store)

    def new(self) -> list[str]:
        """Names of the tables that lack some pictures: of models that haven't seen all of them yet."""
        return [name for label, name in self.labels.items() if self.missing(label)]

    def missing(self, label: str) -> int:
        """Number of pictures that a table lacks."""
        kept = self.stage.job.store.table
        lacking = (one for one in self.stage.pieces if kept(one.keys[label]) is None)
        return sum(len(one.chosen[label]) if label in one.chosen else one.samples for one in lacking)

    def ask(self, runner: Runner, progress: Progress, *, whole: bool = False) -> dict[str, pa.Table]:
        """Measure what isn't there yet, in the order of the edition's pictures.

        Args:
            runner: does the work; it must stay in this process.
            progress: receives the progress.
            whole: with the columns of `DISTRIBUTION`.

        Returns:
            By model, its answers with the columns of `SharedAnswers.measure`; by name, the evaluations' own tables.
        """
        found, store = complete(self.stage, runner, progress), self.stage.job.store
        tables: dict[str, pa.Table] = {}
        chosen: Callable[[Any], list[str]] = (lambda schema: schema.names) if whole else _without_distributions
        for label, name in self.labels.items():
            parts = [read_part(store, one.tables[label], chosen) for one in found]
            tables[name] = joined(f"evaluate.{self.stage.given[label].component_name()}", parts)
        return tables


def _by_label(measurers: Mapping[str, Evaluation], parts: Sequence[Piece], of: str) -> dict[str, Any]:
    """The keys of a piece's tables, or what is chosen of it, by label instead of the evaluation's name."""
    found = (
        (label, getattr(part, of).get(one.component_name()))
        for (label, one), part in zip(measurers.items(), parts, strict=True)
    )
    return {label: value for label, value in found if value is not None}


def _without_distributions(schema: Any) -> list[str]:
    return [name for name in schema.names if name not in DISTRIBUTION]


def check_model(name: str, job: Job, classes: Container[str], picture: Callable[[], Any]) -> Any:
    """Return a model that can be asked about an edition's pictures. One that doesn't say its outputs is shown one.

    Args:
        name: of the model.
        job: has the models and the edition's classes.
        classes: ids of those that occur in its pictures.
        picture: gives one of them, RGB `[H, W, 3]` uint8.

    Raises:
        RecipeError: it is no classifier, or lacks a class of the pictures.
        ModelUnavailable: it isn't on this machine.
        ModelFailed: it raised, or gave something else than scores.
    """
    model = job.ctx.models.get(name)
    if is_own(model):
        if not model.width:
            model.ask(picture())
    elif not classifies(model):
        raise RecipeError(
            f"evaluate: alias {cut(name)!r} isn't a classifier; name a model that returns scores of classes"
        )
    outputs_of(name, model, job.judging, classes)
    return model


def classifies(model: Any) -> bool:
    """Return whether the model behind an alias is a classifier. Aliases also name segmenters and others."""
    return all(hasattr(model, name) for name in ("classes", "preprocessing"))


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
