"""Questions of a report and answers to them, from arrays, for tests of what is computed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from variorum.reports.profile.document import EditionFacts, Model, Photographs, Report, Row, SuiteName, Work
from variorum.reports.profile.measure import Asked
from variorum.reports.profile.words import lead, limits
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.suite import RowSpec

ACCURACY = Figure("accuracy")


def answers(top: Any, bottom: Any = None, **more: Any) -> Answers:
    """Answers from what each photograph earned, `[n]` or `[n, V]`; the photographs are p0000, p0001, …"""
    tops = np.asarray(top, np.float64).reshape(len(top), -1)
    bottoms = np.ones_like(tops) if bottom is None else np.asarray(bottom, np.float64).reshape(tops.shape)
    given = {
        "photographs": [f"p{place:04}" for place in range(len(tops))],
        "columns": tuple(f"c{place}" for place in range(tops.shape[1])),
        **more,
    }
    return Answers("figure", "", top=tops, bottom=bottoms, **given)


def asked(row: str, said: Mapping[str, Answers], figure: Figure = ACCURACY, **spec: Any) -> Asked:
    """A row with that id, of the edition `edits`."""
    title = row.replace("_", " ").capitalize()
    return Asked(
        RowSpec.model_validate({"id": row, "title": title, "edition": "edits", "of": "e.f", **spec}), figure, said
    )


def report_of(rows: Sequence[Row], models: Sequence[str], **more: Any) -> Report:
    """A report with these rows; the first model is the reference."""
    facts = [
        Model(name=name, short=name.split(":")[-1], pin="1" * 64, outputs=10, preprocessing="crop 224")
        for name in models
    ]
    made = Report(
        suite=SuiteName(name="quick", version="1.0.0", digest="5" * 64, profile="embedded"),
        photographs=Photographs(n=max(row.n for row in rows), classes=4, source="photos"),
        models=tuple(facts),
        reference=models[0],
        editions=(EditionFacts(key="edits", name="imagenet_e@1.0.0", digest="7" * 64, pictures=400, photographs=100),),
        work=Work(pictures=400, answers=800, draws=4000),
        rows=tuple(rows),
        command="variorum report --suite quick",
        lead=lead(rows, facts, models[0]),
    )
    made = made.model_copy(update=more)
    return made.model_copy(update={"limits": limits(made)})
