"""Make the files of a report of what the models answered: report.json first, then page and Markdown of it alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from variorum.api.evaluate import facts_of, method_of, result_of, save_results
from variorum.api.report_object import FILES, Report, folder
from variorum.api.report_work import Asking
from variorum.edition.editions import read_beside
from variorum.edition.records import to_json
from variorum.kit.predicted.answers import in_order_of
from variorum.machine.progress import Named, Progress
from variorum.reports.profile import document
from variorum.reports.profile.document import EditionFacts, NotMeasured, Photographs, SuiteName, Work
from variorum.reports.profile.guards import judged
from variorum.reports.profile.markdown import markdown
from variorum.reports.profile.measure import Asked, measure
from variorum.reports.profile.page import page
from variorum.reports.profile.statistics import DRAWS
from variorum.reports.profile.thumbnails import thumbnails
from variorum.reports.profile.words import lead, limits
from variorum.reports.result_files import FOLDER
from variorum.reports.results import ModelFacts, slug
from variorum.reports.rows import edition_rows
from variorum.reports.standing import by_chance
from variorum.stages.stage import Runner
from variorum.stages.suite_files import figure_of

if TYPE_CHECKING:
    from variorum.api.report_request import Request

ORIGINALS = ".originals"
"""End of the figure on originals."""
GUESSES = "It seems to answer by chance on the originals: are its classes in order?"


def written(request: Request, asking: Mapping[str, Asking], runner: Runner, progress: Progress) -> Report:
    """Ask the models, measure the rows, and write the report into its folder.

    Args:
        request: what was asked for; all its editions are there.
        asking: by key, the models' work on each edition.
        runner: asks; it must stay in this process.
        progress: receives the progress.
    """
    answered = {
        row.id: answers for one in asking.values() for row, answers in one.ask(runner, Named(progress, one.held.key))
    }
    asked = [Asked(row, figure_of(row.of), answered[row.id]) for row in request.rows]
    for one in asking.values():
        _keep_results(one)
    content = _content(request, asking, asked)
    data = to_json(content)
    shown = thumbnails(content, {key: (one.manifest, one.held.store) for key, one in asking.items()})
    files = dict(zip(FILES, (page(content, shown), data, markdown(content).encode()), strict=True))
    for name in (FILES[0], FILES[2], FILES[1]):  # a report is there once its JSON is
        request.store.put(f"{folder(request.key)}/{name}", files[name])
    return Report(content, request.key, request.store)


def _keep_results(asking: Asking) -> None:
    """Write the results of an edition, as `variorum.evaluate` does, unless they are there."""
    facts = {name: facts_of(asking.job, table, name, asking.under.choice) for name, table in asking.answers.items()}
    new = {
        name: table
        for name, table in asking.answers.items()
        if read_beside(asking.manifest, f"{FOLDER}/{file_of(facts[name])}", asking.tables) is None
        or name in asking.under.choice.uncached
    }
    if new:
        method = method_of(asking.job)
        results = {
            name: result_of(asking.manifest, asking.pictures, table, facts[name], method)[0]
            for name, table in new.items()
        }
        save_results(results, new, asking.manifest, asking.held.store)


def _content(request: Request, asking: Mapping[str, Asking], asked: Sequence[Asked]) -> document.Report:
    """All that the report says."""
    under = request.under
    names = tuple(under.called.values())
    found = measure(asked, names, seed=request.suite.seed)
    rows = [row for row in found if any(one.figure for one in row.models.values())]
    lacking = [_without(row) for row in found if row not in rows]
    tables = {key: _rows_of(one) for key, one in asking.items()}
    rows = [row.model_copy(update={"pictures": _labelled(row, tables[row.edition], asking)}) for row in rows]
    models = [_facts(name, request, asking, rows) for name in under.names]
    photographs = {key: set(table["photograph"].to_pylist()) for key, table in tables.items()}
    without = (*request.not_measured, *request.not_given, *lacking)
    wanted = request.guards(rows, without)
    content = document.Report(
        suite=SuiteName(
            name=request.suite.suite,
            version=request.suite.version,
            digest=request.suite.digest(),
            profile=request.asked.profile,
        ),
        photographs=request.photographs or _photographs(tables),
        models=tuple(models),
        reference=request.asked.reference,
        editions=tuple(
            EditionFacts(
                key=key,
                name=one.held.name,
                digest=one.manifest.digest(),
                pictures=one.manifest.pictures(),
                photographs=len(photographs[key]),
            )
            for key, one in asking.items()
        ),
        work=Work(
            pictures=sum(one.manifest.pictures() for one in asking.values()),
            answers=sum(one.size(name) for one in asking.values() for name in under.names),
            draws=DRAWS,
        ),
        rows=tuple(rows),
        not_measured=without,
        guards=judged(wanted, rows, request.asked.reference),
        command=request.command,
        credits=tuple(_credits(rows, tables)),
        lead=lead(rows, models, request.asked.reference),
    )
    return content.model_copy(update={"limits": limits(content)})


def _without(row: document.Row) -> NotMeasured:
    """A row in which no model has a figure."""
    reasons = Counter(one.why_not for one in row.models.values())
    why_not = reasons.most_common(1)[0][0] if reasons else "no answers"
    return NotMeasured(
        id=row.id, title=row.title, why_not=why_not, way_out=_way_out(why_not, figure_of(row.of).filtered)
    )


def _way_out(why_not: str, filtered: str) -> str:
    """What to do about a reason for which no model has a figure; `filtered` is that of models that decided."""
    if why_not.startswith("too few photographs"):
        return "give more photographs"
    if why_not == filtered:
        return "name other models, or editions that other models filtered"
    return "name editions with such pictures"


def _facts(name: str, request: Request, asking: Mapping[str, Asking], rows: Sequence[document.Row]) -> document.Model:
    """What the report says of a model."""
    under, model = request.under, request.under.table.get(name)
    note = next((said for one in asking.values() if (said := in_order_of(model, one.job.judging))), "")
    facts = under.facts(name, model, f"{note[:1].upper()}{note[1:]}." if note else "")
    originals = [(row.models[facts.name].figure, row.n) for row in rows if row.of.endswith(ORIGINALS)]
    guesses = any(one and by_chance(round(one.value * n / 100), n, facts.outputs) for one, n in originals)
    warnings = [GUESSES] if guesses else []
    known, all_of_them = _known(name, asking)
    if known < all_of_them:
        warnings.append(
            f"It knows the classes of {known} of {all_of_them} photographs; the others count only where answers are "
            "compared with each other. Give classes the names or ids that the model's have."
        )
    return facts.model_copy(update={"warning": " ".join(warnings)})


def _known(name: str, asking: Mapping[str, Asking]) -> tuple[int, int]:
    """Number of photographs of whose labels a model has one, and of all that have a label."""
    import pyarrow.compute as pc

    known, labelled = set[str](), set[str]()
    for one in asking.values():
        if name in one.answers:
            table = one.answers[name].select(["photograph", "class", "label"])
            table = table.filter(pc.not_equal(table["class"], ""))
            labelled |= set(pc.unique(table["photograph"]).to_pylist())
            known |= set(pc.unique(table.filter(pc.greater_equal(table["label"], 0))["photograph"]).to_pylist())
    return len(known), len(labelled)


def _rows_of(asking: Asking) -> Any:
    """The rows of an edition's accepted pictures."""
    import pyarrow.compute as pc

    rows = edition_rows(asking.manifest, asking.held.store, ("id", "photograph", "labels", "licence"))
    return rows.filter(pc.equal(rows["status"], "accepted"))


def _photographs(tables: Mapping[str, Any]) -> Photographs:
    """The photographs of editions that were named."""
    ids = {one for table in tables.values() for one in table["photograph"].to_pylist()}
    labels = {label for table in tables.values() for one in table["labels"].to_pylist() for label in one or ()}
    return Photographs(n=len(ids), classes=len(labels))


def _labelled(row: document.Row, table: Any, asking: Mapping[str, Asking]) -> tuple[document.Picture, ...]:
    """The pictures of a row with the names of their labels."""
    if not row.pictures:
        return ()
    names, chosen = dict(asking[row.edition].manifest.classes), _chosen(table, [one.id for one in row.pictures])
    labels = dict(zip(chosen["id"].to_pylist(), chosen["labels"].to_pylist(), strict=True))
    return tuple(
        one.model_copy(update={"label": ", ".join(names.get(label, label) for label in labels.get(one.id) or ())})
        for one in row.pictures
    )


def _credits(rows: Sequence[document.Row], tables: Mapping[str, Any]) -> Iterator[str]:
    """Licences of the pictures that are shown, with their numbers."""
    shown: dict[str, set[str]] = {}
    for row in rows:
        shown.setdefault(row.edition, set()).update(one.id for one in row.pictures)
    found: Counter[str] = Counter()
    for key, ids in shown.items():
        found.update(_chosen(tables[key], sorted(ids))["licence"].to_pylist())
    for licence, number in sorted(found.items()):
        known = "unknown licence" if licence in {"", "unknown"} else licence
        yield f"{number} picture{'s' * (number != 1)}: {known}"


def _chosen(table: Any, ids: Sequence[str]) -> Any:
    """The rows of these pictures."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.is_in(table["id"], value_set=pa.array(ids, pa.string())))


def file_of(facts: ModelFacts) -> str:
    """The name of a model's file of results."""
    return f"{slug(facts.name)}-{facts.pin()}.json"
