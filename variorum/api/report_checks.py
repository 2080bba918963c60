"""Check everything that a report needs before any model is asked, and then plan and make it."""

from __future__ import annotations

import hashlib
import logging
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

from variorum.api.arguments import whole_number
from variorum.api.edition import Edition
from variorum.api.progress import shown
from variorum.api.report_editions import Held, named, of_suite
from variorum.api.report_models import UnderTest, under_test
from variorum.api.report_object import FILES, Report, folder, place
from variorum.api.report_plan import PlannedEdition, PlannedModel, ReportPlan
from variorum.api.report_work import CLASSES, LACKING, Asking, figure_of, needs_of, of_answers
from variorum.edition.records import BadRecord, parse
from variorum.edition.store import Store
from variorum.evaluation.classifiers.evaluator import classifies, store_for_tables
from variorum.kit.labels.matching import shortened
from variorum.kit.predicted.answers import label_indices, outputs_of
from variorum.models.brought import BroughtModel
from variorum.models.gives import gives
from variorum.report.profile import document
from variorum.report.profile.document import NotMeasured
from variorum.report.profile.guards import Wanted, read_guards
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import RecipeError, SourceError, UnknownName
from variorum.schemas.lookup import cut
from variorum.schemas.suite import MOST_ROWS, RowSpec, Suite, SuiteEdition
from variorum.schemas.uses import deciding_models
from variorum.stages.job import Profile, installed_version
from variorum.stages.stage import Threads
from variorum.stages.suite_files import load_suite, rows_of

if TYPE_CHECKING:
    from variorum.machine.progress import Progress
    from variorum.schemas.component import Context

log = logging.getLogger(__name__)

REVISION = 1
"""Raise it when the same answers start to give another report."""
KNOWN = "robustness"
"""The suite whose rows editions get that are named without one."""
FEWER = "name fewer editions"
OTHERS = "name other models, or editions that other models filtered"
WAYS_OUT = {
    "embedding": "bring a PyTorch network whose last layer is linear, or a function with an attribute embed",
    "boxes": "name a detector, such as detector, or bring one",
}
"""By what no model gives, what to do."""


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
        lacks: by model, what it doesn't give that rows need, once it was tried.
        not_given: rows for which no model gives what they need.
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
    lacks: dict[str, frozenset[str]] = field(default_factory=dict)
    not_given: tuple[NotMeasured, ...] = ()

    @property
    def rows(self) -> list[RowSpec]:
        """Return the rows that can be measured, under-rows behind the row that they stand below."""
        without = {one.id for one in (*self.not_measured, *self.not_given)}
        return [row for row in _with_sections(rows_of(self.suite)) if row.id not in without]

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
                self.told = self._finished(kept) if kept else self.plan(stack)
        return self.told

    def made(self, progress: bool | Progress = True) -> Report:
        """Check, build, ask, and write; a report that is in the store is read from there."""
        if found := self.kept():
            return found
        from variorum.api.report_writing import written

        self.planned()
        with ExitStack() as stack, shown(progress) as receiver:
            runner = Threads(self.workers)
            self.held |= {key: one.made(runner, receiver) for key, one in self.wanted.items()}
            asking = self.asking(stack)
            for one in asking.values():
                self._check_classes(one, one.names)
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
        return check_guards(self.below, self.worse, [row.id for row in rows], without, self.under, self.reference)

    def _filtered(self, name: str, held: Held) -> bool:
        return self.under.filtered(name, filters_of(held))

    def _try_models(self, asking: Mapping[str, Asking]) -> dict[str, float | None]:
        """Load the models that have pictures to see, show one to each that has seen none, and note what it lacks.

        Returns:
            By model, the seconds that its picture took; None for one that has seen some before.
        """
        later = any(one.state != "sealed" for one in self.wanted.values())
        passes = [one.passes() for one in asking.values()]
        new = [name for name in self.under.names if later or any(one[name] for one in passes)]
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
            if not begun and CLASSES not in lacks:
                start = perf_counter()
                model([picture])
                took[name] = perf_counter() - start
            if more := needed - {CLASSES}:
                lacks |= more - gives(model, picture)
            if not needed - lacks:
                raise RecipeError(
                    f"report: {cut(repr(name))} {' and '.join(LACKING.get(one, f'gives no {one}') for one in lacks)}, "
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
                why_not = LACKING.get(lacking[0], f"gives no {lacking[0]}")
                way_out = WAYS_OUT.get(lacking[0], "name a model that does")
                yield NotMeasured(id=row.id, title=row.title, why_not=f"no model here: {why_not}", way_out=way_out)

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
    if chosen and source is not None:
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
    held = {key: one for key, one in held.items() if any(row.edition == key for row in measured)}
    below, worse = tuple(fail_below), tuple(fail_worse)
    check_guards(below, worse, [row.id for row in measured], without, under, called)
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
            "its outputs, which are ImageNet's thousand; give the classes their names there, such as 'tabby', or take "
            "a model of these classes"
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


def _of_named(editions: Any, suite: Suite | None, store: Any) -> tuple[dict[str, Held], Suite, list[NotMeasured]]:
    """The editions that somebody names, and the rows that their recipes are made for, as a suite.

    Raises:
        RecipeError: an edition is of another major version of its recipe.
        SourceError: there is no row for an edition.
    """
    from variorum.api.edition_rows import rows_for

    known = suite or load_suite(KNOWN)
    held: dict[str, Held] = {}
    rows: list[RowSpec] = []
    order = {row.id: place for place, row in enumerate(known.rows)}
    sections = {row.id: row.section for row in _with_sections(known.rows)}
    for one in named(editions, store):
        key = one.key if one.key not in held else f"{one.key[:50]}_{len(held) + 1}"
        held[key] = replace(one, key=key)
        assert one.manifest
        mine = rows_for(one.manifest, one.store, known, key)
        if not mine:
            raise SourceError(
                f"{one.name} has no labels, objects or captions, so answers can't be scored; make it from a labelled "
                "source"
            )
        taken = {row.id for row in rows}
        mine = tuple(row.model_copy(update={"section": row.section or sections.get(row.id, "")}) for row in mine)
        rows += [row if row.id not in taken else _renamed(row, key, one.name) for row in mine]
    rows.sort(key=lambda row: order.get(row.id.removeprefix(f"{row.edition}_"), len(order)))
    asked = known.model_copy(
        update={
            "suite": known.suite if suite else "editions",
            "editions": {key: SuiteEdition(recipe=one.name.partition("@")[0]) for key, one in held.items()},
            "rows": tuple(rows[:MOST_ROWS]),
        }
    )
    lacking = [
        NotMeasured(id=row.id, title=row.title, why_not=f"a report has {MOST_ROWS} rows at most", way_out=FEWER)
        for row in rows[MOST_ROWS:]
    ]
    return held, asked, lacking


def _with_sections(rows: Iterable[RowSpec]) -> Iterator[RowSpec]:
    """Rows with the section that each is in, so that one may be left out."""
    section = ""
    for row in rows:
        section = row.section or section
        yield row.model_copy(update={"section": section})


def _renamed(row: RowSpec, key: str, name: str) -> RowSpec:
    """A row whose id another edition's row has already."""
    under = tuple(_renamed(one, key, name) for one in row.under)
    return row.model_copy(update={"id": f"{key}_{row.id}"[:64], "title": f"{row.title}, {name}", "under": under})


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
