"""Ask the models of a report about an edition.

Answers are kept by model and shard: a report that was killed goes on where it was, and no model sees a picture twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from variorum.api.report_editions import Held
from variorum.api.report_models import UnderTest
from variorum.evaluation.classifiers.evaluator import Evaluator, job_on, store_for_tables, temporary_store
from variorum.evaluation.classifiers.pictures import Pictures, pictures_of
from variorum.machine.progress import Progress
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import component_class
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.suite import RowSpec
from variorum.schemas.table import Table
from variorum.stages.stage import Runner

if TYPE_CHECKING:
    import pyarrow as pa

    from variorum.edition.store import Store
    from variorum.schemas.manifest import Manifest
    from variorum.stages.job import Job

FILTERED = "filtered by this model"


def figure_of(of: str) -> Figure:
    """The figure that a row names, `accuracy_drop.edits`. Raises RecipeError if no evaluation offers it."""
    name, _, figure = of.partition(".")
    offers: Mapping[str, Figure] = getattr(component_class("evaluate", name), "offers", {})
    if figure not in offers:
        raise RecipeError(f"{name} offers no row {figure!r}; it offers: {', '.join(offers) or 'none'}")
    return offers[figure]


class Asking:
    """The models that are asked about an edition, and its rows.

    Args:
        held: the edition, whose pictures are there.
        rows: of the report, about this edition.
        under: the models of the report.
        stack: closes what is temporary when the report is done.
    """

    def __init__(self, held: Held, rows: Sequence[RowSpec], under: UnderTest, stack: ExitStack) -> None:
        assert held.manifest
        self.held, self.rows, self.under = held, rows, under
        self.manifest: Manifest = held.manifest
        self.names = [one for one in under.names if not under.filtered(one, self.manifest.filters)]
        self.without = [one for one in under.names if one not in self.names]
        self.tables: Store = store_for_tables(held.store)
        kept = [one for one in self.names if one not in under.choice.uncached]
        once = [one for one in self.names if one in under.choice.uncached]
        self.job: Job = job_on(self.manifest, held.store, self.names or under.names, self.tables, under.table)
        self._groups = [Evaluator(self._job(kept, self.tables), self.manifest, held.store, kept)] if kept else []
        if once:
            place = stack.enter_context(temporary_store())
            self._groups.append(Evaluator(self._job(once, place), self.manifest, held.store, once))

    def _job(self, names: Sequence[str], tables: Store) -> Job:
        return job_on(self.manifest, self.held.store, names, tables, self.under.table)

    @cached_property
    def pictures(self) -> Pictures:
        """The edition's pictures.

        Raises:
            SourceError: it has none, or none has a label and the rows count right answers.
        """
        name = self.held.name
        if not self.manifest.pictures():
            raise SourceError(f"{name} has no accepted pictures, so nothing can be asked about it")
        found = pictures_of(self.manifest, self.held.store)
        if not self.manifest.classes or not found.labelled.any():
            raise SourceError(f"{name} has no labels, so answers can't be scored; make it from a labelled source")
        return found

    def passes(self) -> dict[str, int]:
        """By model, the number of pictures that it is yet to see."""
        found = dict.fromkeys(self.under.names, 0)
        for group, label, name in self._tables():
            found[name] += group.missing(label)
        return found

    def begun(self, name: str) -> bool:
        """Return whether answers of a model are kept, so that it is known to work."""
        return any(
            group.stage.job.store.table(piece.keys[label]) is not None
            for group, label, of in self._tables()
            for piece in group.stage.pieces
            if of == name
        )

    def size(self, name: str) -> int:
        """Return the number of answers that a model gives."""
        return sum(
            len(piece.chosen[label]) if label in piece.chosen else piece.samples
            for group, label, of in self._tables()
            for piece in group.stage.pieces
            if of == name
        )

    def _tables(self) -> Iterator[tuple[Evaluator, str, str]]:
        """Who asks for each table, its label there, and the model that it is of."""
        for group in self._groups:
            for label, name in group.labels.items():
                yield group, label, name

    def ask(self, runner: Runner, progress: Progress) -> Iterator[tuple[RowSpec, dict[str, Answers]]]:
        """Ask the models, and yield every row with the answers by model, as it is called in the report."""
        import pyarrow as pa

        tables: dict[str, pa.Table] = {}
        for group in self._groups:
            tables |= group.ask(runner, progress)
        self.answers = {name: tables[name] for name in self.names}
        joined = pa.concat_tables(self.answers.values(), promote_options="default")
        for name, rows in _by_evaluation(self.rows).items():
            evaluation: Any = component_class("evaluate", name)(classifiers=tuple(self.names))
            found = {(one.figure, one.model): one for one in evaluation.rows(Table(joined, name), self.job.judging)}
            for row in rows:
                figure = row.of.partition(".")[2]
                yield (
                    row,
                    {
                        self.under.called[one]: self._named(one, figure, found.get((figure, one)))
                        for one in self.under.names
                    },
                )

    def _named(self, name: str, figure: str, found: Answers | None) -> Answers:
        """A model's answers under the name that it has in the report; or why there are none."""
        called = self.under.called[name]
        if name in self.without:
            return Answers(figure, called, why_not=FILTERED)
        return replace(found, model=called) if found else Answers(figure, called, why_not="no answers")


def _by_evaluation(rows: Sequence[RowSpec]) -> dict[str, list[RowSpec]]:
    found: dict[str, list[RowSpec]] = {}
    for row in rows:
        found.setdefault(row.of.partition(".")[0], []).append(row)
    return found
