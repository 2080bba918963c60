"""A report that was asked for: its plan, and making it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from variorum.api.edition import Edition
from variorum.api.progress import shown
from variorum.api.report_asked import Asked
from variorum.api.report_editions import Held
from variorum.api.report_models import UnderTest
from variorum.api.report_object import Report, place, read_report
from variorum.api.report_plan import PlannedEdition, PlannedModel, ReportPlan
from variorum.api.report_work import CLASSES, Asking, needs_of, of_answers
from variorum.edition.store import Store
from variorum.evaluation.classifiers.evaluator import classifies
from variorum.kit.labels.matching import shortened
from variorum.kit.predicted.answers import label_indices, outputs_of
from variorum.machine.progress import Named
from variorum.models.brought import BroughtModel
from variorum.models.gives import gives
from variorum.reports.profile import document
from variorum.reports.profile.document import NotMeasured
from variorum.reports.profile.guards import Wanted, read_guards
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import RecipeError, TooManyFailures
from variorum.schemas.lookup import cut
from variorum.schemas.suite import RowSpec, Suite
from variorum.schemas.uses import deciding_models
from variorum.stages.job import installed_version
from variorum.stages.stage import Threads
from variorum.stages.suite_files import figure_of, rows_of

if TYPE_CHECKING:
    from variorum.machine.progress import Progress
    from variorum.schemas.component import Context
    from variorum.stages.stage import Runner

log = logging.getLogger(__name__)


REVISION = 1
"""Raise it when the same answers start to give another report."""
FAILED = "too many of the photographs failed in it"
WAYS_OUT = {
    "embedding": "bring a PyTorch network whose last layer is linear, or a function with an attribute embed",
    "boxes": "name a detector, such as detector, or bring one",
}
"""By what no model gives, what to do."""


@dataclass(eq=False)
class Request:
    """A report that was asked for, checked as far as that needs no model.

    Attributes:
        asked: what it was asked for.
        suite: where the rows come from.
        held: the editions by key, those that can be had.
        photographs: that the suite draws; None where editions are named.
        not_measured: rows that can't be measured, with the reason.
        store: gets the report.
        command: how to make it again.
        told: the plan, once it is made.
        lacks: by model, what it doesn't give that rows need, once it was tried.
        not_given: rows for which no model gives what they need.
    """

    asked: Asked
    suite: Suite
    held: dict[str, Held]
    photographs: document.Photographs | None
    not_measured: tuple[NotMeasured, ...]
    store: Store
    command: str
    told: ReportPlan | None = None
    lacks: dict[str, frozenset[str]] = field(default_factory=dict)
    not_given: tuple[NotMeasured, ...] = ()

    @property
    def under(self) -> UnderTest:
        """Return the models."""
        return self.asked.under

    @property
    def rows(self) -> list[RowSpec]:
        """Return the rows that can be measured, under-rows behind the row that they stand below."""
        without = {one.id for one in (*self.not_measured, *self.not_given)}
        return [row for row in rows_of(self.suite) if row.id not in without]

    @cached_property
    def key(self) -> str:
        """Digest of all that decides the report's bytes; all editions are there."""
        editions: list[Json] = [[key, one.manifest.digest() if one.manifest else ""] for key, one in self.held.items()]
        return digest(
            {
                "report": [REVISION, code()],
                "suite": self.suite.digest(),
                "photographs": self.photographs.model_dump(mode="json") if self.photographs else None,
                "editions": editions,
                "models": [[*self.under.identity(name), self.under.stated(name)] for name in self.under.names],
                "not_measured": [one.model_dump(mode="json") for one in self.not_measured],
                "settings": {
                    "reference": self.asked.reference,
                    "below": list(self.asked.below),
                    "worse": list(self.asked.worse),
                    "profile": self.asked.profile,
                    "command": self.command,
                },
            }
        )

    def kept(self) -> Report | None:
        """The report, if it is in the store, and the answers behind it are such that it would be the same again."""
        if not self.under.kept or any(one.state != "sealed" for one in self.held.values()):
            return None
        return read_report(self.key, self.store)

    def planned(self) -> ReportPlan:
        """Say what the report takes; models that have pictures to see are loaded and shown one each, once.

        Raises:
            VariorumError: what can't work, see `plan`.
        """
        if self.told is None:
            with ExitStack() as stack:
                kept = self.kept()
                self.told = self._finished(kept) if kept else self.plan(stack)
        return self.told

    def made(self, progress: bool | Progress = True) -> Report:
        """Check, build, ask, and write; a report that is in the store is read from there."""
        if found := self.kept():
            return self.asked.answered(found)
        from variorum.api.report_writing import written

        self.planned()
        with ExitStack() as stack, shown(progress) as receiver:
            runner = Threads(self.asked.workers)
            pulled = any(one.state == "to pull" for one in self.wanted.values())
            self._make_editions(runner, receiver)
            if pulled:  # only now there are pictures to try the models on
                self.told = self.plan(stack)
            asking = self.asking(stack)
            for one in asking.values():
                self._check_classes(one, one.names)
            runner = Threads(self.asked.workers, stops=(Exception,))
            return self.asked.answered(self.kept() or written(self, asking, runner, receiver))

    def _make_editions(self, runner: Runner, progress: Progress) -> None:
        """Build or fetch the editions. One of which too many pictures fail is left out, and its rows aren't measured.

        Raises:
            TooManyFailures: that is so for every edition.
            RecipeError: a limit is of a row that can't be measured then.
        """
        failed: dict[str, TooManyFailures] = {}
        for key, one in self.wanted.items():
            try:
                self.held[key] = one.made(runner, Named(progress, key))
            except TooManyFailures as error:
                failed[key] = error
                log.warning("%s: %s", one.name, error)
        rows = [row for row in self.rows if row.edition in failed]
        if rows and len(rows) == len(self.rows):
            raise failed[rows[0].edition]
        self.not_measured += tuple(
            NotMeasured(id=row.id, title=row.title, why_not=FAILED, way_out="give other photographs") for row in rows
        )
        self.held = {key: one for key, one in self.held.items() if key not in failed}
        if rows:
            self.guards(self.rows, [*self.not_measured, *self.not_given])

    def _finished(self, report: Report) -> ReportPlan:
        """The plan of a report that is there already."""
        models = tuple(PlannedModel(one.name, one.pin, 0, 0, 0) for one in report.content.models)
        editions = tuple(PlannedEdition(key, one.name, one.state, one.pictures, 0) for key, one in self.held.items())
        rows = tuple(row.id for row in report.content.rows)
        return ReportPlan(self._suite, editions, models, rows, report.content.not_measured, report.path, finished=True)

    @property
    def _suite(self) -> str:
        return f"{self.suite.suite} {self.suite.version}"

    @property
    def wanted(self) -> dict[str, Held]:
        """Return the editions that rows are about."""
        keys = {row.edition for row in self.rows}
        return {key: one for key, one in self.held.items() if key in keys}

    def asking(self, stack: ExitStack) -> dict[str, Asking]:
        """By key, the models' work on the editions whose pictures are here."""
        return {
            key: Asking(one, [row for row in self.rows if row.edition == key], self.under, self.lacks, stack)
            for key, one in self.wanted.items()
            if one.state == "sealed"
        }

    def plan(self, stack: ExitStack) -> ReportPlan:
        """Check the models, then count.

        Raises:
            RecipeError: a model gives nothing that a row needs, or lacks a class; or a limit is of a row that can't be
                measured.
            SourceError: an edition has no pictures, or no labels.
            ModelUnavailable: a model can't be loaded.
            ModelFailed: a model raised on a picture.
        """
        asking = self.asking(stack)
        for one in asking.values():
            one.pictures  # noqa: B018 - raises
        seconds = self._try_models(asking)
        self.not_given = tuple(self._not_given())
        for row in self.rows:
            figure_of(row.of)
        self.guards(self.rows, [*self.not_measured, *self.not_given])
        asking = self.asking(stack)
        for one in asking.values():
            self._check_classes(one, [name for name in one.names if name in seconds])
        later = [one for one in self.wanted.values() if one.state != "sealed"]
        for held in later:
            self._check_classes_of_source(held, list(seconds))
        models, editions = [], []
        for name in self.under.names:
            due = sum(one.passes()[name] for one in asking.values())
            seen = sum(one.size(name) for one in asking.values()) - due
            due += sum(one.pictures or 0 for one in later if not self._filtered(name, one))
            called, pin = self.under.identity(name)
            models.append(PlannedModel(called, pin, due, seen, seconds.get(name)))
        for key, held in self.wanted.items():
            without = tuple(self.under.called[name] for name in self.under.names if self._filtered(name, held))
            editions.append(PlannedEdition(key, held.name, held.state, held.pictures, held.seconds, without))
        path = place(self.key, self.store) if not later else ""
        rows = tuple(row.id for row in self.rows)
        lacking = (*self.not_measured, *self.not_given)
        return ReportPlan(self._suite, tuple(editions), tuple(models), rows, lacking, path)

    def guards(self, rows: Iterable[RowSpec | document.Row], without: Sequence[NotMeasured]) -> tuple[Wanted, ...]:
        """Read the limits. Raises RecipeError if one is of a row without figures, or of a model that isn't there."""
        given = self.asked
        return check_guards(given.below, given.worse, [row.id for row in rows], without, given.under, given.reference)

    def _filtered(self, name: str, held: Held) -> bool:
        return self.under.filtered(name, filters_of(held))

    def _try_models(self, asking: Mapping[str, Asking]) -> dict[str, float | None]:
        """Load the models that have pictures to see, show one to each that has seen none, and note what it lacks.

        Returns:
            By model, the seconds that its picture took; None for one that has seen some before.
        """
        later = any(one.state != "sealed" for one in self.wanted.values())
        passes = [one.passes() for one in asking.values()]
        known = [name for name in self.under.names if name not in self.under.choice.unmade]
        new = [name for name in known if later or any(one[name] for one in passes)]
        table, took = self.under.table, dict[str, float | None]()
        picture: Any = None
        needed = {need for row in self.rows for need in needs_of(row.of)}
        table.check(new)
        for name in new:
            model: Any = table.get(name)
            lacks = set() if classifies(model) else {CLASSES}
            begun = any(one.begun(name) for one in asking.values())
            if not begun or needed - {CLASSES}:
                picture = self._picture() if picture is None else picture
            took[name] = None
            if picture is not None and not begun and CLASSES not in lacks:
                start = perf_counter()
                model([picture])
                took[name] = perf_counter() - start
            if picture is not None and (more := needed - {CLASSES}):
                lacks |= more - gives(model, picture)
            if not needed - lacks:
                raise RecipeError(
                    f"report: {cut(repr(name))} gives no {' and no '.join(sorted(lacks))}, "
                    "so no row can be measured of it; name a model that returns scores of classes"
                )
            self.lacks[name] = frozenset(lacks)
            if isinstance(model, BroughtModel) and model.kind:
                log.info("model %s is a %s; preprocessing: %s", model.name, model.kind, model.preprocessing)
        return took

    def _not_given(self) -> Iterator[NotMeasured]:
        """Rows for which no model gives what they need."""
        for row in self.rows:
            lacking = [
                next((need for need in needs_of(row.of) if need in self.lacks.get(name, ())), "")
                for name in self.under.names
            ]
            if all(lacking):
                way_out = WAYS_OUT.get(lacking[0], "name a model that does")
                yield NotMeasured(
                    id=row.id, title=row.title, why_not=f"no model here: gives no {lacking[0]}", way_out=way_out
                )

    def _check_classes(self, asking: Asking, names: Sequence[str]) -> None:
        """Raise RecipeError if a model lacks a class of an edition's pictures."""
        for name in names:
            check_classes(name, self.under.table.get(name), asking.job.judging, asking.pictures.classes)

    def _check_classes_of_source(self, held: Held, names: Sequence[str]) -> None:
        """Raise RecipeError if a model lacks a class of the photographs of an edition that is to be built."""
        if held.job is None or not any(of_answers(row.of) for row in self.rows if row.edition == held.key):
            return
        ctx = held.job.judging
        for name in names:
            if CLASSES not in self.lacks.get(name, ()):
                check_classes(name, self.under.table.get(name), ctx, {one.id for one in ctx.classes})

    def _picture(self) -> Any:
        """A picture to show to each model before the work, of the editions or the photographs; None before a pull."""
        for held in self.held.values():
            if held.state == "sealed" and held.manifest:
                return next(iter(Edition(held.manifest, held.store).samples())).image
        for held in self.held.values():
            if held.job:
                from variorum.stages.measure import source_pictures

                source = held.job.recipe.source
                return next(source_pictures("source", source, 0, source.size(held.job.ctx), held.job.ctx)).image
        return None


def check_classes(name: str, model: Any, ctx: Context, occurring: Collection[str]) -> None:
    """Raise RecipeError if a model lacks a class that pictures have, or if one for ImageNet's classes knows none.

    Args:
        name: of the model.
        model: a classifier.
        ctx: has the edition's classes.
        occurring: ids of those that pictures have.
    """
    classes = sorted(occurring)
    if outputs_of(name, model, ctx, occurring) is None and not label_indices(classes):
        raise RecipeError(
            f"model {cut(repr(name))}: none of the {len(classes)} classes ({', '.join(shortened(classes))}) is one of "
            "its outputs, which are ImageNet's thousand; give the classes their names there, such as 'tabby cat', or "
            "take a model of these classes"
        )


def code() -> str:
    """sha256 of the code that turns answers into a report, with this project's version."""
    profile, api = Path(document.__file__).parent, Path(__file__).parent
    pages = [*profile.parent.glob("assets/profile.*"), profile.parent / "one_file.py"]
    files = [*profile.glob("*.py"), *pages, *api.glob("report_*.py")]
    found = hashlib.sha256(installed_version("variorum").encode())
    for file in sorted(files):
        found.update(file.read_bytes())
    return found.hexdigest()


def filters_of(held: Held) -> list[str]:
    """Pins of the models that decide what is in an edition."""
    if held.manifest:
        return list(held.manifest.filters)
    if held.job is None:
        return []
    recipe, models = held.job.recipe, held.job.ctx.models
    return [models.pin(alias) for alias in deciding_models(*recipe.generate, *recipe.curate)]


def check_guards(
    below: Sequence[str],
    worse: Sequence[str],
    rows: Iterable[str],
    without: Sequence[NotMeasured],
    under: UnderTest,
    reference: str,
) -> tuple[Wanted, ...]:
    """Read the limits, which must name rows that can be measured, and models of the report. Raises RecipeError."""
    names = list(under.called.values())
    for text in (*below, *worse):
        row = str(text).rpartition("=")[0].rpartition(":")[2].strip()
        if reason := next((one for one in without if one.id == row), None):
            raise RecipeError(
                f"{cut(str(text))}: the row {row!r} can't be measured: {reason.why_not}; {reason.way_out}, or leave "
                "the limit out"
            )
    wanted = read_guards(below, worse, list(rows), names)
    for one in wanted:
        if one.kind == "worse" and (one.model == reference or len(names) == 1):
            raise RecipeError(
                f"{one}: {cut(reference)} is the reference, which isn't compared with itself; name another model, or "
                "another reference"
            )
    return wanted
