"""Check what a report was asked for, as far as that needs no model: editions, rows, limits."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from variorum.api.report_asked import Asked, asked
from variorum.api.report_editions import Held, named, of_suite
from variorum.api.report_models import UnderTest
from variorum.api.report_plan import PlannedEdition, PlannedModel, ReportPlan
from variorum.api.report_request import Request, check_guards, filters_of
from variorum.edition.store import Store
from variorum.evaluation.classifiers.evaluator import store_for_tables
from variorum.reports.profile import document
from variorum.reports.profile.document import NotMeasured
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.plot import FEWEST
from variorum.schemas.suite import MOST_ROWS, RowSpec, Suite, SuiteEdition
from variorum.stages.suite_files import load_suite, rows_of

if TYPE_CHECKING:
    pass

KNOWN = "robustness"
"""The suite whose rows editions get that are named without one."""
FEWER = "name fewer editions"
OTHERS = "name other models, or editions that other models filtered"


def requested(*arguments: Any, **options: Any) -> Request:
    """Check what a report was given; no model with a name is loaded, and no picture read. See `asked`."""
    return request_of(asked(*arguments, **options))


def planned_of(given: Asked) -> ReportPlan:
    """The plan of what was asked for with `plan`. Of a suite that names Python it has only what its file says.

    Raises:
        VariorumError: as `request_of`, and for what can't work.
    """
    runs = (*(name for name in given.under.choice.brought if name.startswith("module:")), *given.unrun)
    if not given.unrun:
        return replace(request_of(given).planned(), runs=runs)
    suite = given.suite
    assert suite
    return ReportPlan(
        f"{suite.suite} {suite.version}",
        tuple(PlannedEdition(key, key, "to build", None, None) for key in suite.editions),
        tuple(PlannedModel(*given.under.identity(name), 0, 0, None) for name in given.under.names),
        tuple(row.id for row in rows_of(suite)),
        runs=runs,
    )


def request_of(given: Asked) -> Request:
    """Check the editions, rows and limits of a report.

    Raises:
        RecipeError: no row can be measured, an edition is of another major version of its recipe, or a limit is of a
            row or a model that isn't there.
        SourceError: the photographs can't be used, or an edition has no labels.
        StoreError: there is no such edition.
    """
    under = given.under
    if given.source is not None:
        assert given.suite
        suite = given.suite
        held, photographs, lacking = _of_source(suite, given.source, given.store, given.profile)
    else:
        held, suite, lacking = _of_named(given)
        photographs = None
    lacking += _too_few(suite, held, photographs, lacking)
    without = [*lacking, *_filtered_rows(suite, held, under, lacking)]
    measured = [row for row in rows_of(suite) if row.id not in {one.id for one in without}]
    if not measured:
        reason = f"{without[0].title}: {without[0].why_not}; {without[0].way_out}"
        raise RecipeError(f"report: no row can be measured; {reason}")
    held = {key: one for key, one in held.items() if any(row.edition == key for row in measured)}
    check_guards(given.below, given.worse, [row.id for row in measured], without, under, given.reference)
    return Request(
        asked=given,
        suite=suite,
        held=held,
        photographs=photographs,
        not_measured=tuple(without),
        store=_place(held, built=photographs is not None),
        command=_command(given, held, photographs.source if photographs else ""),
    )


def _of_source(
    suite: Suite, source: Any, store: Any, profile: str
) -> tuple[dict[str, Held], document.Photographs, list[NotMeasured]]:
    """The suite's editions of somebody's photographs, and the rows that these can't have."""
    from variorum.api.suite_editions import editions_of, not_measured

    jobs = editions_of(suite, source, store, profile)
    return of_suite(jobs), jobs[0].photographs, not_measured(suite, jobs)


def _of_named(given: Asked) -> tuple[dict[str, Held], Suite, list[NotMeasured]]:
    """The editions that somebody names, and the rows that their recipes are made for, as a suite.

    Raises:
        RecipeError: an edition is of another major version of its recipe, or none of the suite's.
        SourceError: there is no row for an edition.
    """
    from variorum.api.edition_rows import known_as, rows_for

    suite = given.suite
    known = suite or load_suite(KNOWN)
    held: dict[str, Held] = {}
    rows: list[RowSpec] = []
    order = {row.id: place for place, row in enumerate(known.rows)}
    sections = {row.id: row.section for row in rows_of(known)}
    for one in named(given.editions, given.store, given.signer, given.digest):
        key = one.key if one.key not in held else f"{one.key[:50]}_{len(held) + 1}"
        held[key] = replace(one, key=key)
        assert one.manifest
        if suite and not known_as(one.manifest, suite):
            recipes = ", ".join(dict.fromkeys(theirs.recipe for theirs in suite.editions.values()))
            raise RecipeError(
                f"{one.name}: suite {suite.suite} has no row for it, only for editions of {recipes}; without a suite "
                "it gets rows of its own"
            )
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


def _renamed(row: RowSpec, key: str, name: str) -> RowSpec:
    """A row whose id another edition's row has already."""
    under = tuple(_renamed(one, key, name) for one in row.under)
    return row.model_copy(update={"id": f"{key}_{row.id}"[:64], "title": f"{row.title}, {name}", "under": under})


def _too_few(
    suite: Suite,
    held: Mapping[str, Held],
    photographs: document.Photographs | None,
    lacking: Sequence[NotMeasured],
) -> list[NotMeasured]:
    """Rows for which there are too few photographs, as far as that is known."""
    found, without = [], {one.id for one in lacking}
    for row in rows_of(suite):
        manifest = held[row.edition].manifest if row.edition in held else None
        fewest = max(row.fewest, FEWEST)
        n = photographs.n if photographs else manifest.sources if manifest else fewest
        if n < fewest and row.id not in without:
            why_not = f"too few photographs: {n}, and {fewest} are needed"
            found.append(NotMeasured(id=row.id, title=row.title, why_not=why_not, way_out="give more photographs"))
    return found


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


def _place(held: Mapping[str, Held], *, built: bool) -> Store:
    """The store that gets the report: that of the editions, or this machine's cache if it can't be written."""
    first = next(iter(held.values())).store
    if built:
        return Store(first.url) if not first.writable else first
    return store_for_tables(first)


def _command(given: Asked, held: Mapping[str, Held], photographs: str) -> str:
    """The command that makes the report again, or the call where the source has no path; of paths, the last part."""
    under = given.under
    if isinstance(given.source, Mapping):
        source = {name: value for name, value in given.source.items() if isinstance(value, bool | int | float | str)}
        return f"va.report({[under.called[name] for name in under.names]}, suite={given.again[1]!r}, source={source})"
    words = ["variorum", "report", *([] if photographs else [one.name for one in held.values()]), *given.again]
    words += ["--source", photographs] if photographs else []
    for name in under.names:
        words += ["--model", under.called[name]]
    words += [] if given.reference == under.called[under.names[0]] else ["--reference", given.reference]
    for option, limits in (("--fail-below", given.below), ("--fail-worse", given.worse)):
        for limit in limits:
            words += [option, limit]
    return shlex.join(words)
