"""A report as Markdown, for a paper's appendix: tables of values and of differences, and what a reader must know."""

from __future__ import annotations

import re
from collections.abc import Iterator

from variorum.reports.figures import fixed, seen, table_cell
from variorum.reports.figures import markdown as table
from variorum.reports.profile.document import Difference, Guard, Interval, Model, ModelValue, Report, Row
from variorum.reports.profile.words import MARKS, marks

TICKS = re.compile(r"`+")
OUTCOMES = {"kept": "kept", "failed": "**failed**", "undecided": "undecided"}


def markdown(report: Report) -> str:
    """The report as Markdown. The same report gives the same text; names and texts from data are escaped."""
    return "\n\n".join(_parts(report)) + "\n"


def _parts(report: Report) -> Iterator[str]:
    reference = next(model for model in report.models if model.name == report.reference)
    others = [model for model in report.models if model.name != report.reference]
    yield "# Robustness report"
    yield _facts(report)
    if report.lead:
        yield f"Beside {table_cell(reference.short)}:"
        yield "\n".join(f"- {table_cell(sentence)}" for sentence in report.lead)
    yield from _warnings(report)
    yield "## Values"
    yield table(
        ("row", "n", *(table_cell(model.short) for model in report.models)),
        [(_title(row), row.n, *(_value(row.models.get(model.name)) for model in report.models)) for row in report.rows],
    )
    if others and any(row.differences for row in report.rows):
        yield f"## Differences to {table_cell(reference.short)}"
        yield (
            "In points, paired over the photographs that both models answered; positive is better, except in rows "
            "where neither side is. In brackets the 95 % interval, then p after Holm’s correction over all rows and "
            "models. *Seen* is the difference that so many photographs show in four of five draws."
        )
        yield table(
            ("row", *(table_cell(model.short) for model in others), "seen"),
            [
                (_name(row), *(_difference(row, model, report.reference) for model in others), fixed(row.seen, 1))
                for row in report.rows
            ],
        )
        yield "\n".join(f"- {mark} {meaning}" for mark, meaning in marks(report.rows))
    if report.guards:
        yield "## Limits that were set"
        yield "\n".join(f"- {one}" for one in _guards(report))
    if report.not_measured:
        yield "## Not measured"
        yield "\n".join(
            f"- **{table_cell(one.title)}**: {table_cell('; '.join(filter(None, (one.why_not, one.way_out))))}"
            for one in report.not_measured
        )
    if report.limits:
        yield "## What this doesn’t say"
        yield "\n".join(f"- **{table_cell(one.title)}** {table_cell(one.text)}" for one in report.limits)
    yield "## How to make it again"
    fence = "`" * max(3, 1 + max((len(run) for run in TICKS.findall(report.command)), default=0))
    yield f"{fence}sh\n{seen(report.command)}\n{fence}"
    yield table(
        ("model", "pin", "preprocessing", "trained on"),
        [
            (
                model.name,
                model.pin or "no revision: asked each time",
                " ".join(filter(None, (model.preprocessing, model.defence))),
                model.trained_on or "not stated",
            )
            for model in report.models
        ],
    )
    yield table(
        ("edition", "pictures", "digest"),
        [(edition.name, f"{edition.pictures:,}", edition.digest) for edition in report.editions],
    )
    yield f"Digest of the suite: {table_cell(report.suite.digest)}"
    if report.credits:
        yield "Photographs: " + "; ".join(map(table_cell, report.credits))


def _facts(report: Report) -> str:
    photographs, suite = report.photographs, report.suite
    source = f" from {photographs.source}" if photographs.source else ""
    said = (
        f"{photographs.n:,} photographs{source}, {photographs.classes:,} classes; suite {suite.name} {suite.version}, "
        f"profile {suite.profile}. Values are in percent with 95 % intervals over photographs ({report.work.draws:,} "
        "draws, the same for all models); n counts photographs."
    )
    return table_cell(said)


def _warnings(report: Report) -> Iterator[str]:
    for model in report.models:
        if model.warning:
            yield f"**{table_cell(model.short)}: {table_cell(model.warning)}**"


def _name(row: Row) -> str:
    return f"– {row.title}" if row.under else row.title


def _title(row: Row) -> str:
    title = f"{_name(row)}: {row.measure}"
    note = f"{title} ({row.note})" if row.note else title
    return f"{note}, lower is better" if row.better == "lower" else note


def _value(found: ModelValue | None) -> str:
    if found is None or found.figure is None:
        return f"– {found.why_not if found else ''}".strip()
    return ", ".join((_interval(found.figure), *found.figure.says))


def _difference(row: Row, model: Model, reference: str) -> str:
    found: Difference | None = next(
        (one for one in row.differences if one.of == model.name and one.to == reference), None
    )
    if found is None:
        return "–"
    p = f"{MARKS[found.verdict]} {_interval(found, signed=True)}".strip()
    return f"{p}, p {_p(found.holm)}" if found.verdict else f"{p}, too few for a verdict"


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 1 else "1"


def _interval(one: Interval | Guard, *, signed: bool = False) -> str:
    value, low, high = (_number(end, signed) for end in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]"


def _number(value: float, signed: bool) -> str:
    text = fixed(value, 1)
    return f"+{text}" if signed and float(text) > 0 else text.replace("-", "−")


def _guards(report: Report) -> Iterator[str]:
    short = {model.name: model.short for model in report.models}
    better = {row.id: row.better for row in report.rows}
    for one in report.guards:
        if one.kind == "worse":
            wanted = f"at most {one.limit:g} points worse than {short[report.reference]}"
        else:
            wanted = f"{'≤' if better[one.row] == 'lower' else '≥'} {one.limit:g}"
        value = _interval(one, signed=one.kind == "worse")
        limit = table_cell(f"{one.row} {wanted} for {short[one.model]}")
        yield f"{OUTCOMES[one.outcome]}: {limit}: {value}"
