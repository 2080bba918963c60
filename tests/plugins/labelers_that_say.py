"""Labelers with given scores, and the table that `safety` reads after it has asked them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from variorum.arrays import arrow_column
from variorum.curation.safety.safety import Safety
from variorum.people.votes.files import write_votes
from variorum.people.votes.tables import of_votes
from variorum.schemas.canonical import short_digest
from variorum.schemas.component import Context
from variorum.schemas.safety import Category, Labeler, Opinion, Shown
from variorum.schemas.table import Table
from variorum.schemas.vote import Vote

BLUE = Category(id="blue", name="blue shapes", definition="a shape that is blue")
GREEN = Category(id="green", name="green shapes", definition="a shape that is green")
AD = Category(id="ad", name="advertising", definition="a shape that is for sale", axis="policy")
THREE = (BLUE, GREEN, AD)
NAN = float("nan")


class Says(Labeler):
    """Answers what the test puts into the table; `which` makes it a model of its own."""

    speaks: tuple[str, ...] = ("blue",)
    which: str = ""
    asked: tuple[str, ...] = ("",)

    def scored(self) -> tuple[str, ...]:
        return self.speaks

    def prompts(self, categories: Sequence[Category]) -> tuple[str, ...]:
        return self.asked

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        raise NotImplementedError


class Models:
    """All models are there but one."""

    def __init__(self, lacking: str = "") -> None:
        self.lacking = lacking

    def why_unavailable(self, alias: str) -> str:
        return "it isn't here" if alias == self.lacking else ""


def says(name: str, *speaks: str, **more: Any) -> Says:
    """A labeler that shares nothing with others."""
    return Says(label=name, speaks=speaks or ("blue",), **{"which": name, **more})


def picture(number: int) -> tuple[str, str]:
    return f"{number:032x}", f"{number:064x}"


def table(scores: Mapping[str, Any], labelers: Sequence[Labeler], categories=THREE) -> Table:
    """What was measured: `<labeler>.<category>` or `<labeler>.<prompt>.<category>` to scores; others are NaN, or ok."""
    number = max(len(values) for values in scores.values())
    names = [picture(row) for row in range(number)]
    found = {"id": [name for name, _ in names], "sha256": [sha256 for _, sha256 in names]}
    for one in labelers:
        for prompt in one.prompts(categories):
            front = ".".join(part for part in (one.called, prompt) if part)
            found |= {f"safety.{front}.{name}": np.full(number, NAN) for name in one.speaks_of(prompt)}
            found[f"safety.{front}.heard"] = ["ok"] * number
    given = {f"safety.{name}": values for name, values in scores.items()}
    assert given.keys() <= found.keys(), given.keys() - found.keys()
    texts = {name for name in found if name.endswith((".heard", "id", "sha256"))}
    columns = {
        name: pa.array(values, pa.string()) if name in texts else arrow_column(np.asarray(values, np.float64))
        for name, values in (found | given).items()
    }
    return Table(pa.table(columns), "safety")


def judged(step: Safety, measured: Table, models: Models | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns and figures of a step."""
    ctx = Context(0, models or Models(), None)
    found = dict(step.score(measured, ctx))
    own = {f"safety.{name}": arrow_column(values) for name, values in found.items() if name != "member"}
    arrow = measured.arrow
    for name, values in own.items():
        arrow = arrow.append_column(name, values)
    return found, dict(step.figures(Table(arrow, "safety"), ctx))


def vote(number: int, subject: str, who: str, answer: str, kind: str = "unsafe", **more: Any) -> Vote:
    name, sha256 = picture(number)
    said = [number, kind, subject, who, answer, str(more)]
    return Vote(short_digest(said), kind, name, sha256, subject, who, answer, **more)


def kept(folder: Path, votes: Iterable[Vote], name: str = "votes.parquet") -> Path:
    path = folder / name
    write_votes(of_votes(list(votes)), path)
    return path


def drawn(
    seed: int, number: int, tables: Sequence[Any], share: float = 0.3, silent: float = 0.0
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Truths `[N]`, and for each labeler scores 0, .5 and 1 drawn by its table of answers; NaN where it is silent."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(number) < share).astype(int)
    scores = []
    for one in tables:
        chances = np.asarray(one)[truth].cumsum(axis=1)
        answer = (rng.random(number)[:, None] > chances).sum(axis=1).clip(0, 2)
        scores.append(np.where(rng.random(number) < silent, NAN, answer / 2))
    return truth, scores
