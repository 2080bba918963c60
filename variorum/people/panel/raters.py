"""Rate the raters of a panel, and compute what is left to do and how far people agree.

Counts are of all votes. Agreement and information, which need all answers to a question, are found from all questions
of a panel with up to `SAMPLE` votes, and from a random sample of the questions of a larger one. What was found is kept
until another vote comes in, and for half a minute in a panel with more than `SAMPLE` votes.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, func, select

from variorum.curation.people.panel.raters import Verdict, agreement_with_others, clicking
from variorum.kit.raters.agreement import answer_counts, gwet_ac1, krippendorff_alpha
from variorum.kit.raters.dawid_skene import dawid_skene
from variorum.people.panel.haste import CODE, FAST, Haste, haste
from variorum.people.panel.progress import KEPT, RECENT, kept, votes_of
from variorum.people.votes.database import panels, questions, reading, reviewers, tasks, votes
from variorum.people.votes.reviewers import arrived
from variorum.schemas.vote import ANSWERS, BLIND, KINDS
from variorum.statistics import wilson_interval

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints

SAMPLE = 1 << 16
"""Votes that agreement and information are found from, about, in a panel with more of them."""
BESIDE = 5
"""Names that are told of those who joined from one address."""
POOLING = 10.0
"""Weight of the mean rater in a rater's table of answers, in answers: some have given few."""


@dataclass(frozen=True, slots=True)
class Gold:
    """Answers to gold questions: `right` of `of`, and Wilson's 95 % interval. An "unclear" counts as not right."""

    right: int
    of: int
    unclear: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rater:
    """A reviewer in numbers.

    Attributes:
        reviewer: name.
        paused: whether their votes are refused for now.
        answers: blind votes that count.
        gold: how they did on gold.
        agreement: share of others' answers to the same questions that are the same; None without any.
        seconds_per_answer: median of the last 50; None without any.
        bits: information in one answer about the truth, by Dawid and Skene's model: 0 for somebody who guesses.
        suspect: whether their answers look as if they don't look at the pictures: those on gold, or those on gold and
            their pace together (`panel.haste`).
        why: a sentence that explains `suspect`, or `""`.
        waiting: whether they have joined and have to be confirmed.
        beside: others who joined from the same address, `BESIDE` at most.
    """

    reviewer: str
    paused: bool
    answers: int
    gold: Gold
    agreement: float | None
    seconds_per_answer: float | None
    bits: float | None
    suspect: bool
    why: str
    waiting: bool = False
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """The work left to do, gold not counted.

    Attributes:
        questions: their number.
        complete: of them, those that have their votes.
        votes: number of questions by number of votes.
        kinds: number of questions and of open ones by kind.
        answers: that are still needed.
        clicks: the same with gold on top. An answer is one key; a picture moves on by itself with its last answer.
        seconds: of work for these clicks at the median pace of who isn't suspect; None before they have answered.
    """

    questions: int
    complete: int
    votes: dict[int, int]
    kinds: dict[str, tuple[int, int]]
    answers: int
    clicks: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of people beyond chance on questions with two votes or more; None without any.

    The number of questions is an estimate in a panel with more than `SAMPLE` votes.
    If nearly all answers are the same, `alpha` (Krippendorff) is low by construction, and `ac1` (Gwet) isn't.
    """

    alpha: float | None
    ac1: float | None
    questions: int


def raters(engine: Engine, panel: str) -> list[Rater]:
    """All reviewers of a panel, by name."""
    with reading(engine) as connection:
        here = select(reviewers.c.reviewer, reviewers.c.paused).where(reviewers.c.panel == panel)
        people = dict(tuple(row) for row in connection.execute(here.order_by(reviewers.c.reviewer)))
        version, seconds = _version(connection, panel)
        came = arrived(connection, panel)
        judged = kept(engine, ("raters", panel), lambda: _judged(connection, engine, panel), version, seconds)
    nobody = Rater("", False, 0, Gold(0, 0, 0, 0.0, 1.0), None, None, None, False, "")
    found = list[Rater]()
    for name, paused in {**people, **{name: False for name in judged if name not in people}}.items():
        waiting, beside = came.get(name, (False, []))
        mine = judged.get(name, nobody)
        found.append(replace(mine, reviewer=name, paused=paused, waiting=waiting, beside=tuple(beside[:BESIDE])))
    return found


def hasty(engine: Engine, panel: str, reviewer: str, below: float = FAST) -> Haste | None:
    """Return what says that a reviewer presses keys without a look; None if nothing does. See `panel.haste`."""
    with reading(engine) as connection:
        return haste(connection, panel, reviewer, _known(connection, engine, panel).truth, below)


def agreement(engine: Engine, panel: str) -> Agreement:
    """Measure how far the raters of a panel agree."""
    with reading(engine) as connection:
        version, seconds = _version(connection, panel)
        return kept(engine, ("alpha", panel), lambda: _alpha(_said(connection, engine, panel)), version, seconds)


def coverage(engine: Engine, panel: str, gold: float = 0.1) -> Coverage:
    """Count what is left to do in a panel.

    Args:
        engine: the database.
        panel: key of the panel.
        gold: share of gold among the answers to come.
    """
    with reading(engine) as connection:
        version, seconds = _version(connection, panel)
        rows = kept(engine, ("coverage", panel), lambda: _rows(connection, panel), version, seconds)
    by_votes, kinds = dict[int, int](), dict[str, tuple[int, int]]()
    missing = complete = 0
    for kind, given, is_open, wanted, number in rows:
        by_votes[given] = by_votes.get(given, 0) + number
        every, left = kinds.get(kind, (0, 0))
        kinds[kind] = every + number, left + (number if is_open else 0)
        missing += number * max(1, wanted - given) if is_open else 0
        complete += 0 if is_open else number
    trusted = [one for one in raters(engine, panel) if not one.suspect]
    paces = [one.seconds_per_answer for one in trusted if one.seconds_per_answer is not None]
    clicks = round(missing / (1 - gold))
    total = sum(by_votes.values())
    work = clicks * statistics.median(paces) if paces else None
    return Coverage(total, complete, dict(sorted(by_votes.items())), kinds, missing, clicks, work)


@dataclass(frozen=True, slots=True)
class _Said:
    """All blind votes that count on some questions, as arrays.

    Attributes:
        people: names of the raters.
        cell: `[A]` number of the question.
        rater: `[A]`.
        answer: `[A]` 0, 1 or 2.
        gold: `[C]` known truth of a question, 0 or 1, else NaN.
        questions: share of the panel's questions that these are.
    """

    people: list[str]
    cell: Ints
    rater: Ints
    answer: Ints
    gold: Floats
    questions: float


@dataclass(slots=True)
class _Known:
    """The answers to gold questions. A pass over all votes finds them; later ones are added.

    Attributes:
        truth: 0 or 1, by question.
        last: number of the last vote that was looked at.
        said: by question and reviewer, 0, 1 or 2.
    """

    truth: dict[str, int]
    last: int = 0
    said: dict[tuple[str, str], int] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def tables(self, connection: Connection, panel: str) -> dict[str, Ints]:
        """Answers `[2, 3]` by truth, for each reviewer. Of their votes on a question the last one is what counts."""
        gold = select(tasks.c.task).where(
            tasks.c.panel == panel, tasks.c.open.is_(True), tasks.c.kind.in_(KINDS), tasks.c.why == "gold"
        )  # gold is never complete
        with self.lock:
            newest = _newest(connection, panel)
            rows = select(votes.c.question, votes.c.reviewer, votes.c.answer)
            rows = rows.where(votes.c.number > self.last, votes.c.number <= newest)
            rows = rows.where(_by_number(panel), votes.c.round == BLIND, votes.c.task.in_(gold))
            for key, who, answer in connection.execute(rows.order_by(votes.c.number)):
                if key in self.truth and answer:
                    self.said[key, who] = CODE[answer]
                else:
                    self.said.pop((key, who), None)
            self.last = max(self.last, newest)
            counts = Counter((who, self.truth[key], answer) for (key, who), answer in self.said.items())
        found: dict[str, Ints] = {}
        for (who, truth, answer), number in counts.items():
            found.setdefault(who, np.zeros((2, len(ANSWERS)), np.int64))[truth, answer] = number
        return found


def _newest(connection: Connection, panel: str) -> int:
    """Number of a panel's last vote: rows are only added, and one transaction after the other adds to a panel."""
    last = select(votes.c.number).where(_by_number(panel)).order_by(votes.c.number.desc()).limit(1)
    return connection.scalar(last) or 0


def _version(connection: Connection, panel: str) -> tuple[Hashable, float]:
    """Return what changes with every vote and every new question, and for how long older results do."""
    newest = _newest(connection, panel)
    made = connection.scalar(select(panels.c.questions).where(panels.c.panel == panel))
    return (newest, made), KEPT if newest > SAMPLE else 0.0


def _by_number(panel: str) -> ColumnElement[bool]:
    """Votes of a panel, found by their numbers: an index on the panel would only lead away from their order."""
    return func.coalesce(votes.c.panel, "") == panel


def _known(connection: Connection, engine: Engine, panel: str) -> _Known:
    made = connection.scalar(select(panels.c.questions).where(panels.c.panel == panel))
    with _lock:
        known = _answers.setdefault(engine, {}).get(panel)
    if known is None or known[0] != made:
        gold = questions.c.panel == panel, questions.c.kind.in_(KINDS), questions.c.why == "gold"
        of_gold = connection.execute(select(questions.c.question, questions.c.truth).where(*gold))
        known = str(made), _Known({key: int(truth == "yes") for key, truth in of_gold if truth in ("yes", "no")})
        with _lock:
            _answers[engine][panel] = known
    return known[1]


_answers: WeakKeyDictionary[Engine, dict[str, tuple[str, _Known]]] = WeakKeyDictionary()
_lock = Lock()


def _given(connection: Connection, panel: str) -> dict[str, int]:
    """Blind votes that count, by reviewer."""
    blind = votes.c.panel == panel, votes.c.counts.is_(True), votes.c.round == BLIND, votes.c.kind != "problem"
    grouped = select(votes.c.reviewer, func.count()).where(*blind).group_by(votes.c.reviewer)
    return dict(tuple(row) for row in connection.execute(grouped))


def _said(connection: Connection, engine: Engine, panel: str) -> _Said:
    version, seconds = _version(connection, panel)
    return kept(engine, ("said", panel), lambda: _read(connection, engine, panel), version, seconds)


def _read(connection: Connection, engine: Engine, panel: str) -> _Said:
    """The votes on all questions, or on those whose keys are lowest: keys are digests, so this is a random sample."""
    share = min(1.0, SAMPLE / max(1, sum(_given(connection, panel).values())))
    columns = votes.c.question, votes.c.reviewer, votes.c.answer
    blind = votes.c.panel == panel, votes.c.counts.is_(True), votes.c.round == BLIND, votes.c.kind != "problem"
    low = () if share == 1 else (votes.c.question < f"{int(share * 16**8):08x}",)
    cells, people = dict[str, int](), dict[str, int]()
    rows = [
        (cells.setdefault(key, len(cells)), people.setdefault(name, len(people)), CODE[answer])
        for key, name, answer in connection.execute(select(*columns).where(*blind, *low))
    ]
    cell, rater, answer = np.array(rows, np.int64).reshape(-1, 3).T
    truth = _known(connection, engine, panel).truth
    gold = np.array([truth.get(key, np.nan) for key in cells], np.float64)
    return _Said(list(people), cell, rater, answer, gold, share)


def _judged(connection: Connection, engine: Engine, panel: str) -> dict[str, Rater]:
    said = _said(connection, engine, panel)
    found = dawid_skene(said.cell, said.rater, said.answer, gold=said.gold, pooling=POOLING)
    agree = agreement_with_others(said.cell, said.rater, said.answer, len(said.people))
    bits = dict(zip(said.people, found.informativeness().tolist(), strict=True))
    alike = {name: one for name, one in zip(said.people, agree.tolist(), strict=True) if not np.isnan(one)}
    tables = _known(connection, engine, panel).tables(connection, panel)
    judged = {}
    for name, answers in sorted(_given(connection, panel).items()):
        table = tables.get(name, np.zeros((2, len(ANSWERS)), np.int64))
        last = select(votes.c.seconds).where(*votes_of(panel, name), votes.c.kind != "problem")
        recent = connection.scalars(last.order_by(votes.c.number.desc()).limit(RECENT))
        paces = [one for one in recent if one is not None]
        pace = statistics.median(paces) if paces else None
        verdict, gold = clicking(table), _gold(table)
        fast = haste(connection, panel, name, _known(connection, engine, panel).truth)
        why = " ".join(filter(None, (fast.told if fast else "", _why(verdict, gold))))
        judged[name] = Rater(name, False, answers, gold, alike.get(name), pace, bits.get(name), bool(why), why)
    return judged


def _gold(table: Ints) -> Gold:
    right, of = int(table[0, CODE["no"]] + table[1, CODE["yes"]]), int(table.sum())
    low, high = wilson_interval(right, of)
    return Gold(right, of, int(table[:, CODE["unclear"]].sum()), float(low), float(high))


def _why(verdict: Verdict, gold: Gold) -> str:
    if not verdict.suspect:
        return ""
    times = f"{verdict.bayes_factor:.1f}" if verdict.bayes_factor < 1000 else "over 1000"
    return (
        f"Their {gold.of} answers on gold, {gold.right} of them right and {gold.unclear} unclear, are {times} times "
        f"as likely from somebody who doesn't look ({verdict.habit}) as from somebody who does."
    )


def _alpha(said: _Said) -> Agreement:
    counts = answer_counts(said.cell, said.answer, len(said.gold), len(ANSWERS))
    pairs = int((counts.sum(axis=1) >= 2).sum())
    alpha, ac1 = (float(found) for found in (krippendorff_alpha(counts), gwet_ac1(counts)))
    return Agreement(None if np.isnan(alpha) else alpha, None if np.isnan(ac1) else ac1, round(pairs / said.questions))


def _rows(connection: Connection, panel: str) -> list[tuple[str, int, bool, int, int]]:
    """Numbers of questions by kind, votes, whether they are open, and votes wanted, which is the same for all."""
    wanted = connection.scalar(select(func.max(tasks.c.wanted)).where(tasks.c.panel == panel)) or 0
    columns = questions.c.kind, questions.c.why, questions.c.open, questions.c.votes  # as in the index
    grouped = select(*columns, func.count()).where(questions.c.panel == panel).group_by(*columns)
    return [
        (kind, given, bool(is_open), wanted, number)
        for kind, why, is_open, given, number in connection.execute(grouped)
        if why != "gold"
    ]
