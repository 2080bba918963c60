"""Label states from people's votes, and how reliable each reviewer is.

Every question is a cell, one picture and one label, answered by yes, no or unclear. Dawid–Skene learns how each person
answers, so that a cautious person's "unclear" gets its proper weight; models may join as further raters. Known answers
and decisions of a discussion are kept fixed. Nothing looks at a picture, so another threshold takes seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from variorum.curation.people.panel.label_sets import LABELS, LabelSet
from variorum.curation.people.panel.label_states import judged_labels, problematic
from variorum.curation.people.panel.model_raters import model_answers, single_columns
from variorum.curation.people.panel.panel_figures import Outcome, panel_figures
from variorum.curation.people.panel.weighing import Method, Weighing, probabilities, states
from variorum.kit.raters.known_answers import read_known
from variorum.kit.raters.valid_votes import (
    Cells,
    Counted,
    cells_of,
    counted_votes,
    label_cells,
    read,
    read_gold,
)
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.schemas.table import Table

DIGITS = 6
"""Decimals of a probability in a column."""


class Consensus(Detector):
    """States of labels, pictures that can't be judged, and the label that people would give, from a file of votes."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="score proposed n_votes clean_p safe_p",
        texts="states correct unclear wrong problem copies boxes",
        flags="flag problematic",
        others="member",
    )
    location: ClassVar[frozenset[str]] = frozenset({"votes", "gold"})
    revision: ClassVar[int] = 2
    adds: ClassVar[Mapping[str, str]] = {LABELS: "member"}

    votes: Path | None = None
    """Parquet, CSV or Label Studio's JSON, as `variorum votes EDITION --to FILE` writes them. Null while there are
    none; then all columns are empty."""
    method: Method = "dawid_skene"
    """`crowdlab` is for pictures that show one class each, and needs `probabilities`; `majority` counts."""
    threshold: float = Field(default=0.8, gt=0.5, le=1)
    """A label is correct from this probability on, wrong up to one minus it, and unclear between. Not for majority."""
    smoothing: float = Field(default=0.01, gt=0)
    """Added to every count of a person's table of answers."""
    pooling: float = Field(default=3.0, ge=0)
    """Weight of the mean person's table in everybody's, in answers."""
    models: tuple[str, ...] = ()
    """Columns of models that join as raters: `candidates.cells`, or one with a probability for every class that occurs,
    such as `probabilities.p`."""
    gold: Path | None = None
    """More labels whose answer is known: CSV or parquet with the columns `id` (or `origin`), `label` and `truth`, a
    file of votes, or the questions of a panel. Votes exported from a panel have those that it was published with."""
    prior_by_label: bool = False
    """Whether each label has its own share of right cells, drawn to that of all. The figures have both."""
    shrinkage: float = Field(default=10.0, ge=0)
    """How strongly it is drawn, in cells."""
    least_votes: int = Field(default=2, ge=1)
    """A label with fewer answers stays `unchecked`, unless its answer is known or was decided together. A picture that
    fewer people judged isn't called problematic."""

    def needs(self) -> tuple[str, ...]:
        """The detectors whose columns are models, and `probabilities` for CROWDLAB."""
        named = (name.partition(".")[0] for name in self.models)
        return tuple(dict.fromkeys([*named, *(["probabilities"] if self.method == "crowdlab" else [])]))

    def without(self, steps: Collection[str]) -> Consensus | None:
        """Without the models of these steps; None if CROWDLAB lacks its probabilities."""
        if self.method == "crowdlab" and "probabilities" in steps:
            return None
        kept = tuple(name for name in self.models if name.partition(".")[0] not in steps)
        return self if kept == self.models else self.model_copy(update={"models": kept})

    def check(self, ctx: Context) -> None:
        """Return whether votes and known answers can be read."""
        if self.votes:
            read(self.votes, "curate.consensus.votes")
        if self.gold:
            read_known(self.gold, "curate.consensus.gold")
        if odd := next((name for name in self.models if "." not in name), None):
            raise RecipeError(f"curate.consensus.models: {odd!r} is no column of a detector; write candidates.cells")

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """The columns; all empty without votes.

        - `states`: JSON list of [class id, state, p, answers, category, severity, unanimous, answers of the models] for
          each label that was judged; `correct`, `unclear`, `wrong`: JSON lists of class ids;
        - `problematic`, and `problem`, the reason; `n_votes`: answers about its labels;
        - `score`: chance that a given label is wrong; `flag`: people say so; `proposed`: index of the label that they
          find most certain, -1 for none;
        - `clean_p`, `safe_p`: chance that the edit is clean, the picture safe; `copies`, `boxes`: JSON lists of
          [subject, p];
        - `member`: what a release adds as `labels.json`.

        Raises:
            SourceError: the votes can't be read, or no picture has two labels for CROWDLAB.
            RecipeError: a column of a model isn't one of probabilities.
        """
        n = len(table)
        texts = {name: [""] * n for name in ("states", "correct", "unclear", "wrong", "problem", "copies", "boxes")}
        columns: dict[str, Any] = {
            **texts,
            "problematic": np.zeros(n, bool),
            "n_votes": np.zeros(n, np.int64),
            "score": np.full(n, np.nan),
            "flag": np.zeros(n, bool),
            "proposed": np.full(n, -1, np.int64),
            "clean_p": np.full(n, np.nan),
            "safe_p": np.full(n, np.nan),
            "member": [None] * n,
        }
        if self.votes is None or not n:
            return columns
        counted = counted_votes(self.votes, table, "curate.consensus.votes")
        cells, _ = self._cells(counted, table, ctx)
        classes = [one.id for one in ctx.classes]
        models = model_answers(self.models, cells, table, classes)
        p, place = single_columns(table, cells) if self.method == "crowdlab" else (None, None)
        chance = probabilities(cells, models, self._how(), p, place)
        judged = dict(judged_labels(cells, chance, states(cells, chance, self._how()), classes))
        problems = problematic(counted, cells, self.least_votes)
        given = [tuple(labels or ()) for labels in table.column("labels").to_pylist()]
        untouched = lru_cache(maxsize=None)(lambda labels: LabelSet(labels).encode())
        columns["member"] = [untouched(labels) for labels in given]
        index = {name: number for number, name in enumerate(classes)}
        for row in sorted({*judged, *problems}):
            labels, places = judged.get(row, ((), []))
            found = LabelSet(given[row], labels, *problems.get(row, (False, "")), sum(one.votes for one in labels))
            for name, value in _row(found, models[:, places].T.tolist(), index).items():
                columns[name][row] = value
        for kind, name in (("edit", "clean_p"), ("safe", "safe_p")):
            for row, _, value in self._others(counted.of(kind)):
                columns[name][row] = value
        for kind, name in (("copy", "copies"), ("box", "boxes")):
            for row, group in groupby(self._others(counted.of(kind)), key=lambda one: one.row):
                columns[name][row] = json.dumps([[one.subject, round(one.p, DIGITS)] for one in group])
        return columns

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Compute how well people answer and agree, and the outcome of their answers; nothing without votes."""
        if self.votes is None or not len(table):
            return {}
        counted = counted_votes(self.votes, table, "curate.consensus.votes")
        cells, no_class = self._cells(counted, table, ctx)
        out = Outcome.read(table.column("states").to_pylist())
        shown = panel_figures(counted, cells, out, self._how(), self.models, no_class)
        return {
            "votes_sha256": hashlib.sha256(self.votes.read_bytes()).hexdigest(),
            "method": self.method,
            "threshold": self.threshold,
            "pictures": {
                "judged": out.pictures,
                "with_a_right_label": sum(text not in ("", "[]") for text in table["correct"]),
                "problematic": int(table["problematic"].sum()),
            },
            **shown,
            "findings": [self._finding(out, int(table["problematic"].sum()), counted.changed), *self._doubts(shown)],
        }

    def _finding(self, out: Outcome, problems: int, changed: int) -> str:
        number = out.count()
        said = [
            f"People judged {len(out.state):,} labels of {out.pictures:,} pictures: {number['correct']:,} are right, "
            f"{number['wrong']:,} wrong, {number['unclear']:,} unclear."
        ]
        if number["unchecked"]:
            said.append(
                f"{number['unchecked']:,} have fewer than {self.least_votes} answers and stay unchecked "
                "(`curate.consensus.least_votes`)."
            )
        if problems:
            said.append(f"{problems:,} pictures can't be judged.")
        if changed:
            said.append(f"{changed:,} votes are on pictures that have changed since, and don't count.")
        return " ".join(said)

    def _doubts(self, shown: Mapping[str, Any]) -> list[str]:
        """What the votes themselves can't settle: who is right where no answer is known."""
        if self.method != "dawid_skene":
            return []
        said, known, mirror = list[str](), shown["known"], shown["mirror"]
        if not known:
            said.append(
                "No answer is known, so only the reviewers' majority says who is right; `variorum review --gold FILE` "
                "publishes known answers."
            )
        if mirror > 1 - self.threshold:
            said.append(
                f"The opposite of every answer explains the votes nearly as well (probability {mirror:.2f}), so no "
                "label is settled; known answers would tell."
            )
        if below := [name for name, one in shown["raters"].items() if one["below_chance"]]:
            said.append(
                f"Below chance: {', '.join(below)}. Such answers count the other way round where known answers prove "
                "it, and else not at all."
            )
        return said

    def _cells(self, counted: Counted, table: Table, ctx: Context) -> tuple[Cells, int]:
        index = {one.id: number for number, one in enumerate(ctx.classes)}
        gold = read_gold(self.gold, table, index, "curate.consensus.gold") if self.gold else {}
        return label_cells(counted.of("label"), index, gold)

    def _how(self) -> Weighing:
        return Weighing(
            self.method,
            self.threshold,
            self.smoothing,
            self.pooling,
            self.prior_by_label,
            self.shrinkage,
            self.least_votes,
        )

    def _others(self, counted: Counted) -> Iterator[Other]:
        """Count the votes on questions of another kind, in the order of the table."""
        coded = counted.votes["subject"].dictionary_encode().combine_chunks()
        names = coded.dictionary.to_pylist()
        cells = cells_of(counted.votes, counted.row, coded.indices.to_numpy().astype(np.int64))
        how = Weighing(
            "majority" if self.method == "majority" else "dawid_skene",
            smoothing=self.smoothing,
            pooling=self.pooling,
        )
        p = probabilities(cells, np.zeros((0, len(cells)), np.int64), how)
        enough = (cells.number() >= self.least_votes) | (cells.decided >= 0)
        for cell in np.flatnonzero(enough).tolist():
            yield Other(int(cells.row[cell]), names[int(cells.subject[cell])], float(p[cell]))


class Other(NamedTuple):
    """A question of another kind: row of its picture, subject, probability that the answer is yes."""

    row: int
    subject: str
    p: float


def _row(found: LabelSet, models: list[list[int]], index: Mapping[str, int]) -> dict[str, Any]:
    """A judged picture's values in the columns about labels."""
    rated = [
        [one.label, one.state, round(one.p, DIGITS), one.votes, one.category, one.severity, one.unanimous, answers]
        for one, answers in zip(found.labels, models, strict=True)
    ]
    mine = [one for one in found.labels if one.label in found.given and one.state != "unchecked"]
    right = [one for one in found.labels if one.state == "correct"]
    best = max(right, key=lambda one: (one.p, one.label in found.given), default=None)
    return {
        "member": found.encode(),
        "states": json.dumps(rated, ensure_ascii=False),
        **{state: json.dumps(found.of(state), ensure_ascii=False) for state in ("correct", "unclear", "wrong")},
        "problematic": found.problematic,
        "problem": found.reason,
        "n_votes": found.n_votes,
        "score": 1 - min(one.p for one in mine) if mine else np.nan,
        "flag": any(one.state == "wrong" for one in mine),
        "proposed": index[best.label] if best else -1,
    }
