"""Ask the models of a report about an edition.

Answers are kept by model and shard: a report that was killed goes on where it was, and no model sees a picture twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from variorum.api.report_editions import Held
from variorum.api.report_models import UnderTest
from variorum.evaluation.classifiers.evaluator import Evaluator, job_on, store_for_tables, temporary_store
from variorum.evaluation.classifiers.pictures import Pictures, pictures_of
from variorum.machine.progress import Progress
from variorum.schemas.component import Evaluation
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import component_class
from variorum.schemas.rows import Answers
from variorum.schemas.suite import RowSpec
from variorum.schemas.table import Table
from variorum.schemas.uses import judged_models
from variorum.stages.listings import read_listings
from variorum.stages.stage import Runner
from variorum.stages.suite_files import figure_of

if TYPE_CHECKING:
    import pyarrow as pa

    from variorum.edition.store import Store
    from variorum.schemas.manifest import Manifest
    from variorum.stages.job import Job

CLASSES = "classes"
"""What a model gives that answers with scores of classes."""


def of_answers(of: str) -> bool:
    """Return whether a row is a function of the answers that all such evaluations share."""
    return getattr(component_class("evaluate", of.partition(".")[0]), "measured_as", "") == "answers"


def needs_of(of: str) -> tuple[str, ...]:
    """What a row needs of a model."""
    return figure_of(of).needs or (CLASSES,)


class Asking:
    """The models that are asked about an edition, and its rows.

    Args:
        held: the edition, whose pictures are there.
        rows: of the report, about this edition.
        under: the models of the report.
        lacks: by model, what it doesn't give, as far as it is known.
        stack: closes what is temporary when the report is done.
    """

    def __init__(
        self,
        held: Held,
        rows: Sequence[RowSpec],
        under: UnderTest,
        lacks: Mapping[str, Set[str]],
        stack: ExitStack,
    ) -> None:
        assert held.manifest
        self.held, self.rows, self.under, self._lacks = held, rows, under, lacks
        self.manifest: Manifest = held.manifest
        self.shared = any(of_answers(row.of) for row in rows)
        self.tables: Store = store_for_tables(held.store)
        self.job: Job = job_on(self.manifest, held.store, under.names, self.tables, under.table)
        self.answers: dict[str, pa.Table] = {}
        self._own: dict[str, tuple[str, Evaluation]] = {}
        """By name of a table that belongs to one evaluation: the model, and the evaluation."""
        self._groups: list[Evaluator] = []
        for names, lasts in ((under.lasting, True), (under.choice.uncached, False)):
            own = self._own_of(names)
            shared = [
                one
                for one in names
                if self.shared and not self.filtered(one) and CLASSES not in self._lacks.get(one, ())
            ]
            if shared or own:
                place = self.tables if lasts else stack.enter_context(temporary_store())
                job = job_on(self.manifest, held.store, names, place, under.table)
                asked = {key: evaluation for key, (_, evaluation) in own.items()}
                self._groups.append(Evaluator(job, self.manifest, held.store, shared, asked))
                self._own |= own

    def _own_of(self, names: Sequence[str]) -> dict[str, tuple[str, Evaluation]]:
        """The evaluations with tables of their own, one for each model that gives what they need."""
        found = {}
        for of in dict.fromkeys(row.of for row in self.rows if not of_answers(row.of)):
            for name in names:
                if not self.why_not(name, of):
                    part = of.partition(".")[0]
                    found[f"{part} {name}"] = name, about(part, name)
        return found

    def filtered(self, name: str) -> bool:
        """Return whether a model decided what is in the edition."""
        return self.under.filtered(name, self.manifest.filters)

    def why_not(self, name: str, of: str) -> str:
        """Why a model isn't asked for a row of this figure; `""` if it is."""
        if self.filtered(name):
            return figure_of(of).filtered
        return next((f"gives no {one}" for one in needs_of(of) if one in self._lacks.get(name, ())), "")

    @property
    def names(self) -> list[str]:
        """Return the models that answer with classes."""
        return [name for group in self._groups for name in group.labels.values() if name not in self._own]

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
        if self.shared and (not self.manifest.classes or not found.labelled.any()):
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
            for label, table in group.labels.items():
                yield group, label, self._own[table][0] if table in self._own else table

    def ask(self, runner: Runner, progress: Progress) -> Iterator[tuple[RowSpec, dict[str, Answers]]]:
        """Ask the models, and yield every row with the answers by model, as it is called in the report."""
        tables: dict[str, pa.Table] = {}
        parts = {row.of.partition(".")[0] for row in self.rows}
        whole = any(getattr(component_class("evaluate", part), "whole_answers", False) for part in parts)
        for group in self._groups:
            tables |= group.ask(runner, progress, whole=whole)
        self.answers = {name: tables[name] for name in self.under.names if name in self.names}
        ctx = replace(self.job.judging, listings=read_listings(self.manifest, self.held.store))
        found: dict[tuple[str, str], Answers] = {}
        for part in dict.fromkeys(row.of.partition(".")[0] for row in self.rows if of_answers(row.of)):
            evaluation: Any = component_class("evaluate", part)()
            for answers in self.answers.values():
                found |= {
                    (f"{part}.{one.figure}", one.model): one for one in evaluation.rows(Table(answers, part), ctx)
                }
        for key, (name, own) in self._own.items():
            part = own.component_name()
            evaluation = own
            found |= {(f"{part}.{one.figure}", name): one for one in evaluation.rows(Table(tables[key], part), ctx)}
        for row in self.rows:
            yield (
                row,
                {
                    self.under.called[name]: self._named(name, row.of, found.get((row.of, name)))
                    for name in self.under.names
                },
            )

    def _named(self, name: str, of: str, found: Answers | None) -> Answers:
        """A model's answers under the name that it has in the report; or why there are none."""
        called = self.under.called[name]
        if found is None:
            return Answers(of.partition(".")[2], called, why_not=self.why_not(name, of) or "no answers")
        note, why_not = found.note, found.why_not
        for one in sorted(self.under.called, key=len, reverse=True):  # names can have folders
            note, why_not = (text.replace(one, self.under.called[one]) for text in (note, why_not))
        return replace(found, model=called, note=note, why_not=why_not)


def about(part: str, name: str) -> Any:
    """An evaluation of this name about one model, whichever of its fields names models."""
    usual: Any = component_class("evaluate", part)()
    judged = set(judged_models(usual))
    for field, value in usual:
        if isinstance(value, str) and value in judged:
            return usual.model_copy(update={field: name})
        if isinstance(value, tuple) and value and set(value) <= judged:
            return usual.model_copy(update={field: (name,)})  # without the bare model before a defended one
    raise RecipeError(f"{part}: none of its fields names the models that it is about")
