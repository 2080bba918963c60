"""Turns what labelers and people say of a category into a probability and a state for each picture.

Dawid–Skene (1979) learns a table of answers for each labeler and category and for each person. With fewer than three
raters it can't tell who is right, so such a category gets the share of the votes that say unsafe. Pictures with the
same answers are weighed once, so time hardly depends on their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from variorum.curation.safety.harms.opinions import (
    MAYBE,
    NO,
    NONE,
    YES,
    Codes,
    Speaker,
    answers,
    distinct,
    shares,
    speakers,
)
from variorum.kit.raters.dawid_skene import ANSWERS, dawid_skene

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints
    from variorum.kit.raters.valid_votes import Cells
    from variorum.schemas.safety import Category, Labeler
    from variorum.schemas.table import Table

Method = Literal["dawid_skene", "majority"]
By = Literal["dawid_skene", "share", "nobody"]

UNSCORED, NOT_FOUND, UNCLEAR, UNSAFE = range(4)
STATES = ("unscored", "not_found", "unclear", "unsafe")
"""Names of the states, by number. `not_found` says that labelers looked and found nothing, no more."""
RATERS, ENOUGH = 3, 20
"""Dawid–Skene needs this many raters of a category, each with this many answers; labelers of a family are one."""
SPLIT = 3
"""Labelers contradict each other if at least one in this many is against the others."""
TOLERANCE, STEPS = 1e-8, 500
"""Where EM stops. From the share of votes to a share of unsafe pictures of 1 % it takes hundreds of steps."""
SLACK = 1e-9
"""For rounding: 1 - .8 is less than .2."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """The way from answers to probabilities and states; the fields are those of `curation.safety`."""

    method: Method = "dawid_skene"
    threshold: float = 0.8
    unsure: float = 0.2
    smoothing: float = 0.01
    pooling: float = 10.0
    least_votes: int = 2
    least_opinions: int = 1


@dataclass(frozen=True, slots=True)
class Weighed:
    """One category, over U different cells that stand for N pictures.

    Attributes:
        speakers: the R labelers that can speak of it.
        weights: `[R]` of their votes.
        codes: `[U, R]` their answers.
        people: `[U, 3]` number of people's answers no, unclear, yes.
        known: `[U]` truths 0 or 1 that people have settled, NaN for none.
        open: `[U]` whether a discussion left it unclear on purpose.
        cell: `[N]` cell of each picture.
        by: how it was weighed.
        share: `[U]` of the votes that say unsafe, NaN without any.
        p: `[U]` probability that the picture is unsafe, NaN if unscored.
        state: `[U]` place in `STATES`.
        tables: `[R, 2, 3]` each labeler's answers given the truth, from Dawid–Skene; NaN without.
    """

    speakers: list[Speaker]
    weights: Floats
    codes: Codes
    people: Ints
    known: Floats
    open: Bools
    cell: Ints
    by: By
    share: Floats
    p: Floats
    state: Ints
    tables: Floats

    def times(self) -> Ints:
        """Number of pictures of each cell `[U]`."""
        return np.bincount(self.cell, minlength=len(self.codes)).astype(np.int64)

    def said(self) -> Ints:
        """Number of labelers and people who answer no, unclear or yes `[U, 3]`."""
        labelers = np.stack([(self.codes == code).sum(axis=1) for code in (NO, MAYBE, YES)], axis=1)
        return np.asarray(labelers + self.people)

    def settled(self) -> Bools:
        """Cells `[U]` that people have settled, also as unclear."""
        return np.asarray(~np.isnan(self.known) | self.open)

    def contradicted(self) -> Bools:
        """Cells `[U]` that people haven't settled, and where a third or more say the opposite of the others.

        Or where people contradict each other, or the state.
        """
        said, no, yes = self.said(), self.people[:, 0] > 0, self.people[:, 2] > 0
        fewer = said[:, [0, 2]].min(axis=1)
        split = (fewer > 0) & (SPLIT * fewer >= said.sum(axis=1))
        against = (no & yes) | (yes & (self.state == NOT_FOUND)) | (no & (self.state == UNSAFE))
        return np.asarray((split | against) & ~self.settled())

    def doubtful(self) -> Bools:
        """Cells `[U]` that people are asked about: unclear or contradicted, and not settled."""
        return np.asarray((self.contradicted() | (self.state == UNCLEAR)) & ~self.settled())


def weighed(
    labelers: Sequence[Labeler], categories: Sequence[Category], table: Table, people: Cells | None, how: Weighing
) -> list[Weighed]:
    """All categories, in order.

    Args:
        labelers: that were asked.
        categories: that they were asked about.
        table: has their scores.
        people: votes of kind `unsafe`, whose subjects are numbers of categories; None without any.
        how: the answers are weighed.
    """
    parts = [_cells(place, labelers, categories, table, people, how) for place in range(len(categories))]
    learnt = [place for place, one in enumerate(parts) if how.method == "dawid_skene" and _enough(one, place, people)]
    found = _learn([(place, parts[place]) for place in learnt], people, how)
    done = []
    for place, one in enumerate(parts):
        p, tables, by = one.share, one.tables, one.by
        if place in found:
            (p, tables), by = found[place], "dawid_skene"
        done.append(_judged(one, p, tables, by, how))
    return done


def _cells(
    place: int,
    labelers: Sequence[Labeler],
    categories: Sequence[Category],
    table: Table,
    people: Cells | None,
    how: Weighing,
) -> Weighed:
    """The different cells of a category: rows of equal answers without people's votes, then each row with votes."""
    given = speakers(labelers, categories, categories[place].id)
    codes = [answers(one, table, how.unsure) for one in given]
    mine = np.zeros(0, np.int64) if people is None else np.flatnonzero(people.subject == place)
    rows = np.zeros(0, np.int64) if people is None else people.row[mine]
    others = np.ones(len(table), bool)
    others[rows] = False
    patterns, which = distinct([one[others] for one in codes], int(others.sum()))
    cell = np.empty(len(table), np.int64)
    cell[others], cell[rows] = which, len(patterns) + np.arange(len(rows))
    own = np.stack([one[rows] for one in codes], axis=1) if codes else np.zeros((len(rows), 0), np.uint8)
    every = np.concatenate([patterns, own])
    said, known, left = _of_people(people, mine, len(patterns), how.least_votes)
    weights = shares(given, [bool((every[:, number] > NONE).any()) for number in range(len(given))])
    share = _share(every, weights, said)
    tables = np.full((len(given), 2, ANSWERS), np.nan)
    by: By = "share" if not np.isnan(share).all() else "nobody"
    nothing = np.zeros(len(every), np.int64)
    return Weighed(given, weights, every, said, known, left, cell, by, share, share, nothing, tables)


def _of_people(people: Cells | None, mine: Ints, before: int, least: int) -> tuple[Ints, Floats, Bools]:
    """People's answers, what they have settled and what they left open, for the cells of one category.

    An answer is settled if it is gold, if a discussion decided it, or if at least `least` people gave it and nobody
    another one.
    """
    if people is None:
        return np.zeros((before, ANSWERS), np.int64), np.full(before, np.nan), np.zeros(before, bool)
    said = np.stack([people.said(one) for one in range(ANSWERS)], axis=1)[mine]
    number, known, left = said.sum(axis=1), people.known()[mine], people.open()[mine]
    agreed = (number >= least) & np.isnan(known) & ~left
    known = np.where(agreed & (said[:, 2] == number), 1.0, np.where(agreed & (said[:, 0] == number), 0.0, known))
    return (
        np.concatenate([np.zeros((before, ANSWERS), np.int64), said]),
        np.concatenate([np.full(before, np.nan), known]),
        np.concatenate([np.zeros(before, bool), left]),
    )


def _share(codes: Codes, weights: Floats, people: Ints) -> Floats:
    """Share `[U]` of the votes that say unsafe, a maybe as half a vote; NaN without votes."""
    votes = (codes > NONE) @ weights + people.sum(axis=1)
    value = np.where(codes > NONE, codes.astype(np.float64) - NO, 0) / (ANSWERS - 1)
    yes = value @ weights + people @ np.array([0.0, 0.5, 1.0])
    return np.asarray(np.divide(yes, votes, out=np.full(len(codes), np.nan), where=votes > 0))


def _enough(one: Weighed, place: int, people: Cells | None) -> bool:
    """Return whether Dawid–Skene can tell who is right about a category."""
    times = one.times()
    given = times @ (one.codes > NONE)
    raters = float(one.weights[given >= ENOUGH].sum())
    if people is not None:
        mine = people.subject[people.cell] == place
        raters += int((np.bincount(people.rater[mine], minlength=1) >= ENOUGH).sum())
    return raters >= RATERS - SLACK


def _learn(
    parts: Sequence[tuple[int, Weighed]], people: Cells | None, how: Weighing
) -> dict[int, tuple[Floats, Floats]]:
    """By category, the probabilities of its cells and its labelers' tables, learnt over all of them at once.

    A labeler has a table for each category, a person one for all.
    """
    if not parts:
        return {}
    index = _numbers(parts)
    cells, raters, given = _votes(parts, people, index)
    used, rater = np.unique(raters, return_inverse=True)
    spoke = [place >= 0 for place in index.values()]
    weights = [*(one.weights for _, one in parts), np.ones(0 if people is None else len(people.people))]
    result = dawid_skene(
        cells,
        rater.reshape(-1),
        given,
        gold=np.concatenate([one.known[there] for (_, one), there in zip(parts, spoke, strict=True)]),
        labels=np.concatenate([np.full(int(there.sum()), turn) for turn, there in enumerate(spoke)]),
        times=np.concatenate([one.times()[there] for (_, one), there in zip(parts, spoke, strict=True)]).astype(float),
        weights=np.concatenate(weights)[used],
        smoothing=how.smoothing,
        pooling=how.pooling,
        tolerance=TOLERANCE,
        max_steps=STEPS,
    )
    number = sum(len(one.speakers) for _, one in parts)
    tables = np.full((number, 2, ANSWERS), np.nan)
    labelers = used < number
    tables[used[labelers]] = result.confusion[labelers]
    found: dict[int, tuple[Floats, Floats]] = {}
    first = 0
    for place, one in parts:
        at = index[place]
        found[place] = np.where(at < 0, np.nan, result.p[at]), tables[first : first + len(one.speakers)]
        first += len(one.speakers)
    return found


def _numbers(parts: Sequence[tuple[int, Weighed]]) -> dict[int, Ints]:
    """By category, the number of each cell `[U]` among those of all categories; -1 where nobody spoke."""
    found: dict[int, Ints] = {}
    number = 0
    for place, one in parts:
        spoke = ~np.isnan(one.share)
        found[place] = np.where(spoke, number + np.cumsum(spoke) - 1, -1)
        number += int(spoke.sum())
    return found


def _votes(
    parts: Sequence[tuple[int, Weighed]], people: Cells | None, index: Mapping[int, Ints]
) -> tuple[Ints, Ints, Ints]:
    """Number of the cell, number of the rater, and answer from 0 to 2 of each vote; people come after all labelers."""
    cells: list[Ints] = []
    raters: list[Ints] = []
    given: list[Ints] = []
    first = 0
    for place, one in parts:
        cell, speaker = np.nonzero(one.codes > NONE)
        cells.append(index[place][cell])
        raters.append(speaker + first)
        given.append(one.codes[cell, speaker].astype(np.int64) - NO)
        first += len(one.speakers)
    if people is not None:
        asked = np.full(len(people), -1)
        for place, one in parts:
            mine = np.flatnonzero(people.subject == place)
            asked[mine] = index[place][one.cell[people.row[mine]]]
        here = asked[people.cell] >= 0
        cells.append(asked[people.cell[here]])
        raters.append(people.rater[here] + first)
        given.append(people.answer[here])
    return np.concatenate(cells), np.concatenate(raters), np.concatenate(given)


def _judged(one: Weighed, p: Floats, tables: Floats, by: By, how: Weighing) -> Weighed:
    """With probabilities and states. What people have settled is 0 or 1, and 1/2 if they left it unclear."""
    p = np.where(one.open, 0.5, np.where(np.isnan(one.known), p, one.known))
    if how.method == "majority":
        state = np.where(p > 0.5, UNSAFE, np.where(p < 0.5, NOT_FOUND, UNCLEAR))
    else:
        state = np.where(
            p >= how.threshold - SLACK, UNSAFE, np.where(p <= 1 - how.threshold + SLACK, NOT_FOUND, UNCLEAR)
        )
    few = (one.said().sum(axis=1) < how.least_opinions) & ~one.settled()
    state = np.where(np.isnan(p), UNSCORED, np.where(few, UNCLEAR, state))
    return replace(one, by=by, p=p, state=state.astype(np.int64), tables=tables)
