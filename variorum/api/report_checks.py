"""Check everything that a report needs before any model is asked, and then plan and make it."""

from __future__ import annotations

import hashlib
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

from variorum.api.arguments import whole_number
from variorum.api.edition import Edition
from variorum.api.progress import shown
from variorum.api.report_editions import Held, of_suite
from variorum.api.report_models import UnderTest, under_test
from variorum.api.report_object import FILES, Report, folder, place
from variorum.api.report_plan import PlannedEdition, PlannedModel, ReportPlan
from variorum.api.report_work import Asking, figure_of
from variorum.edition.records import BadRecord, parse
from variorum.edition.store import Store
from variorum.evaluation.classifiers.evaluator import store_for_tables
from variorum.kit.predicted.answers import outputs_of
from variorum.models.brought import BroughtModel
from variorum.report.profile import document
from variorum.report.profile.document import NotMeasured
from variorum.report.profile.guards import read_guards
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import RecipeError, SourceError, UnknownName
from variorum.schemas.lookup import cut
from variorum.schemas.suite import RowSpec, Suite
from variorum.schemas.uses import deciding_models
from variorum.stages.job import Profile, installed_version
from variorum.stages.stage import Threads
from variorum.stages.suite_files import load_suite, rows_of

if TYPE_CHECKING:
    from variorum.machine.progress import Progress

log = logging.getLogger(__name__)

REVISION = 1
"""Raise it when the same answers start to give another report."""
OTHERS = "name other models, or editions that other models filtered"


@dataclass(eq=False)
class Request:
    """A report that was asked for, checked as far as that needs no model.

    Attributes:
        under: the models.
        suite: where the rows come from.
        held: the editions by key, those that can be had.
        photographs: that the suite draws; None where editions are named.
        not_measured: rows that can't be measured, with the reason.
        reference: name of the model in the report.
        below, worse: limits, as they were given.
        store: gets the report.
        profile: of the models.
        workers: parts at a time.
        command: how to make it again.
        told: the plan, once it is made.
    """

    under: UnderTest
    suite: Suite
    held: dict[str, Held]
    photographs: document.Photographs | None
    not_measured: tuple[NotMeasured, ...]
    reference: str
    below: tuple[str, ...]
    worse: tuple[str, ...]
    store: Store
    profile: str
    workers: int
    command: str
    told: ReportPlan | None = None

    @property
    def rows(self) -> list[RowSpec]:
        """Return the rows that can be measured, under-rows behind the row that they stand below."""
        without = {one.id for one in self.not_measured}
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
                "models": [list(self.under.identity(name)) for name in self.under.names],
                "not_measured": [one.model_dump(mode="json") for one in self.not_measured],
                "settings": {
                    "reference": self.reference,
                    "below": list(self.below),
                    "worse": list(self.worse),
                    "profile": self.profile,
                    "command": self.command,
                },
            }
        )

    def kept(self) -> Report | None:
        """The report, if it is in the store, and the answers behind it are such that it would be the same again."""
        if not self.under.kept or any(one.state != "sealed" for one in self.held.values()):
            return None
        data = self.store.read(f"{folder(self.key)}/{FILES[1]}")
        if data is None or any(self.store.read(f"{folder(self.key)}/{name}") is None for name in (FILES[0], FILES[2])):
            return None
        try:
            return Report(parse(data, document.Report), self.key, self.store)
        except BadRecord as error:
            log.warning("%s: %s, and is made again", f"{folder(self.key)}/{FILES[1]}", error)
            return None

    def planned(self) -> ReportPlan:
        """Say what the report takes; models that have pictures to see are loaded and shown one each, once.

        Raises:
            VariorumError: what can't work, see `plan`.
        """
        if self.told is None:
            with ExitStack() as stack:
                kept = self.kept()
                self.told = self._finished(kept) if kept else self.plan(self.asking(stack))
        return self.told

    def made(self, progress: bool | Progress = True) -> Report:
        """Check, build, ask, and write; a report that is in the store is read from there."""
        if found := self.kept():
            return found
        from variorum.api.report_writing import written

        self.planned()
        with ExitStack() as stack, shown(progress) as receiver:
            runner = Threads(self.workers)
            self.held = {key: one.made(runner, receiver) for key, one in self.held.items()}
            asking = self.asking(stack)
            for one in asking.values():
                self._check_classes(one)
            return self.kept() or written(self, asking, Threads(self.workers, stops=(Exception,)), receiver)

    def _finished(self, report: Report) -> ReportPlan:
        """The plan of a report that is there already."""
        models = tuple(PlannedModel(one.name, one.pin, 0, 0, 0) for one in report.content.models)
        editions = tuple(PlannedEdition(key, one.name, one.state, one.pictures, 0) for key, one in self.held.items())
        rows = tuple(row.id for row in report.content.rows)
        return ReportPlan(self._suite, editions, models, rows, report.content.not_measured, report.path, finished=True)

    @property
    def _suite(self) -> str:
        return f"{self.suite.suite} {self.suite.version}"

    def asking(self, stack: ExitStack) -> dict[str, Asking]:
        """By key, the models' work on the editions whose pictures are here."""
        there = {key: one for key, one in self.held.items() if one.state == "sealed"}
        return {
            key: Asking(one, [row for row in self.rows if row.edition == key], self.under, stack)
            for key, one in there.items()
        }

    def plan(self, asking: Mapping[str, Asking]) -> ReportPlan:
        """Check the models, then count.

        Raises:
            RecipeError: a model isn't a classifier, or lacks a class.
            SourceError: an edition has no pictures, or no labels.
            ModelUnavailable: a model can't be loaded.
            ModelFailed: a model raised on a picture.
        """
        for one in asking.values():
            one.pictures  # noqa: B018 - raises
        passes = {key: one.passes() for key, one in asking.items()}
        later = [one for one in self.held.values() if one.state != "sealed"]
        new = [name for name in self.under.names if later or any(one[name] for one in passes.values())]
        seconds = self._check_models(new, asking, passes)
        models, editions = [], []
        for name in self.under.names:
            due = sum(one[name] for one in passes.values())
            seen = sum(one.size(name) for one in asking.values()) - due
            due += sum(one.pictures or 0 for one in later if not self._filtered(name, one))
            called, pin = self.under.identity(name)
            models.append(PlannedModel(called, pin, due, seen, seconds.get(name)))
        for key, held in self.held.items():
            without = tuple(self.under.called[name] for name in self.under.names if self._filtered(name, held))
            editions.append(PlannedEdition(key, held.name, held.state, held.pictures, held.seconds, without))
        path = place(self.key, self.store) if not later else ""
        rows = tuple(row.id for row in self.rows)
        return ReportPlan(self._suite, tuple(editions), tuple(models), rows, self.not_measured, path)

    def _filtered(self, name: str, held: Held) -> bool:
        return self.under.filtered(name, filters_of(held))

    def _check_models(
        self, new: Sequence[str], asking: Mapping[str, Asking], passes: Mapping[str, Mapping[str, int]]
    ) -> dict[str, float]:
        """Load the models that have pictures to see, show one to each that has seen none, and match their classes.

        Returns:
            By model, the seconds that its picture took.
        """
        table, took = self.under.table, dict[str, float]()
        table.check(new)
        picture: Any = None
        for name in new:
            model = table.get(name)
            if not isinstance(model, BroughtModel) and not all(
                hasattr(model, part) for part in ("classes", "preprocessing")
            ):
                raise RecipeError(
                    f"report: alias {cut(repr(name))} isn't a classifier; name a model that returns scores of classes"
                )
            begun = any(one.begun(name) for one in asking.values())
            if not begun:
                picture = self._picture() if picture is None else picture
                start = perf_counter()
                model([picture])
                took[name] = perf_counter() - start
            if isinstance(model, BroughtModel) and model.kind:
                log.info("model %s is a %s; preprocessing: %s", model.name, model.kind, model.preprocessing)
        for one in asking.values():
            self._check_classes(one, new)
        for held in self.held.values():
            if held.job and held.state == "to build":
                ctx = held.job.judging
                for name in new:
                    outputs_of(name, table.get(name), ctx, {one.id for one in ctx.classes})
        return took

    def _check_classes(self, asking: Asking, names: Sequence[str] | None = None) -> None:
        """Raise RecipeError if a model lacks a class of an edition's pictures."""
        for name in asking.names if names is None else [one for one in names if one in asking.names]:
            outputs_of(name, self.under.table.get(name), asking.job.judging, asking.pictures.classes)

    def _picture(self) -> Any:
        """A picture to show to each model before the work: the first of the editions, or of the photographs."""
        for held in self.held.values():
            if held.state == "sealed" and held.manifest:
                return next(iter(Edition(held.manifest, held.store).samples())).image
        for held in self.held.values():
            if held.job:
                from variorum.stages.measure import source_pictures

                source = held.job.recipe.source
                return next(source_pictures("source", source, 0, source.size(held.job.ctx), held.job.ctx)).image
        raise SourceError("report: no edition is here whose pictures a model could be tried on; pull one first")


def requested(
    models: Any,
    editions: Any = None,
    *,
    suite: Any = None,
    source: Any = None,
    reference: str | None = None,
    classes: Any = None,
    preprocess: Any = None,
    store: Any = "store",
    profile: str = "embedded",
    workers: int = 1,
    fail_below: Sequence[str] = (),
    fail_worse: Sequence[str] = (),
) -> Request:
    """Check what a report was given; no model with a name is loaded, and no picture read. See `variorum.report`."""
    workers = whole_number("workers", workers, 1, 1000, RecipeError)
    if profile not in get_args(Profile):
        raise RecipeError(f"profile: there is no {cut(repr(profile))}; there are: {', '.join(get_args(Profile))}")
    if editions is None and source is None:
        raise RecipeError(
            "report: no pictures are given; name editions, or a suite and a source of photographs, such as "
            'suite="quick", source="photos"'
        )
    if editions is not None and source is not None:
        raise RecipeError("report: give editions or a source of photographs, not both")
    named_suite = suite is not None or source is not None
    chosen = load_suite(str(suite)) if suite is not None else load_suite("quick") if source is not None else None
    if chosen and (fail_below or fail_worse):
        read_guards(fail_below, fail_worse, [row.id for row in rows_of(chosen)], None)
    under = under_test(models, classes, preprocess, profile)
    called = _reference(reference, under)
    if source is not None:
        assert chosen
        held, photographs, lacking = _of_source(chosen, source, store, profile)
    else:
        held, chosen, lacking = _of_named(editions, chosen, store)
        photographs = None
    without = [*lacking, *_filtered_rows(chosen, held, under, lacking)]
    measured = [row for row in rows_of(chosen) if row.id not in {one.id for one in without}]
    if not measured:
        reason = without[0] if without else None
        raise RecipeError(
            f"report: no row can be measured; {reason.title}: {reason.why_not}; {reason.way_out}"
            if reason
            else "report: there is no row"
        )
    for row in measured:
        figure_of(row.of)
    below, worse = tuple(fail_below), tuple(fail_worse)
    _check_guards(below, worse, measured, without, under)
    return Request(
        under=under,
        suite=chosen,
        held=held,
        photographs=photographs,
        not_measured=tuple(without),
        reference=called,
        below=below,
        worse=worse,
        store=_place(store, held, built=source is not None),
        profile=profile,
        workers=workers,
        command=_command(
            under,
            chosen if named_suite else None,
            held,
            photographs.source if photographs else "",
            called,
            below,
            worse,
        ),
    )


def code() -> str:
    """sha256 of the code that turns answers into a report, with this project's version."""
    here = Path(document.__file__).parent
    files = sorted(file for file in here.rglob("*") if file.suffix in (".py", ".css", ".js"))
    found = hashlib.sha256(installed_version("variorum").encode())
    for file in files:
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


def _reference(reference: str | None, under: UnderTest) -> str:
    """The name in the report of the model that others are compared with."""
    if reference is None:
        return under.called[under.names[0]]
    for name, called in under.called.items():
        if reference in (name, called):
            return called
    raise UnknownName(f"reference: {cut(repr(reference))} is none of the models: {', '.join(under.called.values())}")


def _of_source(
    suite: Suite, source: Any, store: Any, profile: str
) -> tuple[dict[str, Held], document.Photographs, list[NotMeasured]]:
    """The suite's editions of somebody's photographs, and the rows that these can't have."""
    from variorum.api.suite_editions import editions_of

    jobs = editions_of(suite, source, store, profile)
    where = {one.key: one for one in jobs}
    lacking = [
        NotMeasured(id=row.id, title=row.title, why_not=where[row.edition].why_not, way_out=where[row.edition].way_out)
        for row in rows_of(suite)
        if where[row.edition].why_not
    ]
    return of_suite(jobs, next(one.job.store for one in jobs if one.job)), jobs[0].photographs, lacking


def _filtered_rows(
    suite: Suite, held: Mapping[str, Held], under: UnderTest, lacking: Sequence[NotMeasured]
) -> Iterator[NotMeasured]:
    """Rows of editions that every model filtered."""
    without = {one.id for one in lacking}
    alone = {key for key, one in held.items() if all(under.filtered(name, filters_of(one)) for name in under.names)}
    for row in rows_of(suite):
        if row.edition in alone and row.id not in without:
            yield NotMeasured(
                id=row.id, title=row.title, why_not="filtered by every model of this report", way_out=OTHERS
            )


def _check_guards(
    below: Sequence[str],
    worse: Sequence[str],
    rows: Sequence[RowSpec],
    without: Sequence[NotMeasured],
    under: UnderTest,
) -> None:
    """Check that limits name rows that can be measured, and models of the report. Raises RecipeError."""
    if not below and not worse:
        return
    for text in (*below, *worse):
        row = str(text).rpartition("=")[0].rpartition(":")[2]
        if reason := next((one for one in without if one.id == row), None):
            raise RecipeError(
                f"{cut(str(text))}: the row {row!r} can't be measured: {reason.why_not}; {reason.way_out}, or leave "
                "the limit out"
            )
    read_guards(below, worse, [row.id for row in rows], list(under.called.values()))


def _place(store: Any, held: Mapping[str, Held], *, built: bool) -> Store:
    """The store that gets the report: that of the editions, or this machine's cache if it can't be written."""
    first = next(iter(held.values())).store
    if built:
        return Store(first.url) if not first.writable else first
    return store_for_tables(first)


def _command(
    under: UnderTest,
    suite: Suite | None,
    held: Mapping[str, Held],
    photographs: str,
    reference: str,
    below: Sequence[str],
    worse: Sequence[str],
) -> str:
    """The command that makes the report again; paths are left out but for their last part."""
    words = ["variorum", "report"]
    words += [] if photographs else [one.name for one in held.values()]
    words += ["--suite", suite.suite] if suite else []
    words += ["--source", photographs] if photographs else []
    for name in under.names:
        words += ["--model", under.called[name]]
    words += [] if reference == under.called[under.names[0]] else ["--reference", reference]
    for option, limits in (("--fail-below", below), ("--fail-worse", worse)):
        for limit in limits:
            words += [option, limit]
    return shlex.join(words)
