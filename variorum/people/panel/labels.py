"""Questions about labels: pictures in doubt, the most informative first, with known and undoubted ones among them.

A picture's labels are one task. Tasks that are controls have as many labels as the others, so that their number gives
nothing away: labels that no source proposes fill them up. All questions of a task with a known answer have one, because
such tasks are asked only now and then; what is in doubt about their pictures is in another task.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.people.panel.asks import AGREED, ASKED, GOLD, NO, YES, Asks, turns
from variorum.people.panel.controls import Need, balanced, unproposed
from variorum.people.panel.proposals import SURE, LabelCells

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints
    from variorum.people.panel.settings import Settings

STRONG = 0.95
"""The sources' mean opinion of the given labels that are presumed right first; others follow if these are too few."""


class Answers(NamedTuple):
    """Known answers: `[G]` picture, class, and `YES` or `NO`."""

    picture: Ints
    label: Ints
    truth: Ints


NOTHING = Answers(*(np.zeros(0, np.int64) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Labels:
    """Everything that decides what is asked about the labels of N pictures.

    Attributes:
        cells: all cells, uncapped.
        likes: `[N]` first label of each picture, -1 for none.
        classes: number of classes, K.
        settings: of the panel.
        rng: of all draws.
        gold: known answers from a file.
        drawn: `[N]` pictures of the ledger's random check; None for none.
        marked: `[N]` pictures that are asked about first; None for none.
    """

    cells: LabelCells
    likes: Ints
    classes: int
    settings: Settings
    rng: np.random.Generator
    gold: Answers = NOTHING
    drawn: Bools | None = None
    marked: Bools | None = None

    def questions(self, gold: Answers, known: Asks) -> Asks:
        """The questions in the order of asking; those of the random check come last.

        Args:
            gold: answers from a file.
            known: questions that are published already, which aren't asked again.
        """
        n, need = len(self.likes), Need(self.settings.gold, self.settings.agreed, self.settings.cap)
        capped = self.cells.capped(self.settings.cap)
        doubted = capped.doubted(n)
        fresh = capped.take(~np.isin(self.keys(capped.picture, capped.label), self.keys(known.picture, known.subject)))
        seen = _mask(n, known.picture)
        order = self.order(fresh, doubted, int((known.why == ASKED).sum()))
        random = self.random_check(fresh, order)
        asked = fresh.of_pictures(order)
        if len(random):
            asked = fresh.take(np.isin(fresh.picture, order) | (np.isin(fresh.picture, random) & fresh.given))
            order = np.concatenate([order, random])
        if not len(asked):
            return _tasks(order, asked)

        sizes = np.bincount(_tasks(order, asked).task)
        here = replace(self, gold=gold)
        of_file = here.of_file(_mask(n, order), seen, sizes, need.number(len(asked) + need.slack)[0])
        asked = asked.take(~np.isin(self.keys(asked.picture, asked.label), self.keys(of_file.picture, of_file.subject)))
        order = order[_mask(n, asked.picture)[order]]
        main = _tasks(order, asked)

        taken = seen | _mask(n, of_file.picture) | _mask(n, order)
        there = _mask(n, self.cells.picture)
        calm = there & (self.cells.sources > 1) & ~taken & ~doubted
        parts = [main, of_file]
        parts.append(here.presumed(capped, calm, sizes, need, parts))
        free = there & (self.likes >= 0) & ~taken & ~calm
        parts.append(here.wrong(free, ~seen & (self.likes >= 0) & _mask(n, order), sizes, need, parts))
        calm &= ~_mask(n, parts[2].picture)
        parts.append(here.agreed(capped, calm, sizes, need, parts))
        groups = [(int(one.task.max(initial=-1)) + 1, one is not main) for one in parts]
        return Asks.together(parts).ordered(turns(groups, self.rng))

    def keys(self, picture: Ints, label: Ints) -> Ints:
        """One number for each cell."""
        return picture * max(1, self.classes) + label

    def order(self, fresh: LabelCells, doubted: Bools, before: int) -> Ints:
        """The pictures that are asked about, in order: those in doubt, or as many as the budget of cells allows."""
        order = fresh.by_worth()
        order = np.concatenate([order[doubted[order]], order[~doubted[order]]])
        if self.marked is not None:
            order = np.concatenate([order[self.marked[order]], order[~self.marked[order]]])
        if self.settings.budget is None:
            return order[doubted[order]]
        cells = np.bincount(fresh.picture, minlength=len(doubted))[order]
        return order[np.cumsum(cells) <= self.settings.budget - before]

    def random_check(self, fresh: LabelCells, order: Ints) -> Ints:
        """The pictures of the random check that aren't asked about anyway; only their given labels are asked."""
        if self.drawn is None:
            return np.zeros(0, np.int64)
        mine = fresh.picture[fresh.given & self.drawn[fresh.picture]]
        return np.setdiff1d(mine, order)

    def of_file(self, asked: Bools, seen: Bools, sizes: Ints, number: int) -> Asks:
        """Tasks with known answers from the file, filled up with classes that nobody proposes.

        What else is asked about their pictures is in tasks of their own, because gold tasks aren't for everybody.

        Args:
            asked: `[N]` pictures with another task; a "no" is about others as far as there are enough.
            seen: `[N]` pictures that are published already.
            sizes: of the other tasks.
            number: of known answers.
        """
        fits = np.flatnonzero(~seen[self.gold.picture])
        chosen = fits[balanced(self.gold.truth[fits], number, self.rng, asked[self.gold.picture[fits]])]
        picture, label, truth = (column[chosen] for column in self.gold)
        pictures, task = np.unique(picture, return_inverse=True)
        rows = np.argsort(task, kind="stable")
        rows = rows[np.arange(len(rows)) - np.searchsorted(task[rows], task[rows]) < self.settings.cap]
        held = np.bincount(task[rows], minlength=len(pictures))
        size = self.rng.choice(sizes, len(pictures))
        more, foreign = self.foreign(np.repeat(pictures, np.maximum(size - held, 0)))
        known = Asks.of(task[rows], picture[rows], label[rows], why=GOLD, truth=truth[rows])
        place = np.searchsorted(pictures, more)
        found = known.and_more(Asks.of(place, more, foreign, why=GOLD, truth=NO, presumed=True))
        return found.take(np.argsort(found.task, kind="stable"))

    def presumed(self, capped: LabelCells, calm: Bools, sizes: Ints, need: Need, parts: list[Asks]) -> Asks:
        """Tasks whose answers are presumed: yes for a calm picture's label, no for classes that nobody proposes.

        A task with room for one label has one of them, by turns.
        """
        own = (capped.label == self.likes[capped.picture]) & (capped.q >= SURE)
        pool = self.rng.permutation(np.flatnonzero(calm & _mask(len(calm), capped.picture[own])))
        strong = _mask(len(calm), capped.picture[own & (capped.q >= STRONG)])
        pool = np.concatenate([pool[strong[pool]], pool[~strong[pool]]])
        lacking = need.lacking(parts)[0]
        pool = pool[: max(0, 3 * lacking)]
        size = self.rng.choice(sizes, len(pool))
        alone = size <= 1
        found = self.dressed(capped.take(own), pool, size, ~alone | (np.cumsum(alone) % 2 == 1)).as_gold()
        return found.take(found.task < need.enough(parts, found))

    def wrong(self, free: Bools, asked: Bools, sizes: Ints, need: Need, parts: list[Asks]) -> Asks:
        """Where too few labels can be presumed right, tasks with classes that nobody proposes: half of what is needed.

        Pictures that nobody is asked about otherwise come first. The others have another task with their own labels.
        """
        lacking = max(0, need.lacking(parts)[0] // 2)
        pool = np.concatenate([self.rng.permutation(np.flatnonzero(one)) for one in (free, asked)])[: 4 * lacking]
        found = self.dressed(self.cells, pool, self.rng.choice(sizes, len(pool)), np.zeros(len(pool), bool)).as_gold()
        return _first_tasks(found, lacking)

    def agreed(self, capped: LabelCells, calm: Bools, sizes: Ints, need: Need, parts: list[Asks]) -> Asks:
        """Tasks that nobody doubts."""
        lacking = max(0, need.lacking(parts)[1])
        pool = self.rng.permutation(np.flatnonzero(calm))[:lacking]
        found = self.dressed(capped, pool, self.rng.choice(sizes, len(pool)), np.ones(len(pool), bool))
        return _first_tasks(found, lacking)

    def dressed(self, cells: LabelCells, pool: Ints, size: Ints, own: Bools) -> Asks:
        """Tasks of a number of cells for pictures that nobody doubts, with their presumed answers.

        Args:
            cells: has the pictures' own cells.
            pool: `[T]` pictures.
            size: `[T]` least number of cells.
            own: `[T]` whether the picture's own cells are among them; others are classes that nobody proposes.
        """
        place = np.zeros(len(self.likes), np.int64)
        place[pool] = np.arange(len(pool))
        mine = cells.of_pictures(pool[own])
        held = np.bincount(place[mine.picture], minlength=len(pool)) if len(pool) else np.zeros(0, np.int64)
        picture, label = self.foreign(np.repeat(pool, np.maximum(size - held, 0)))
        whole = np.concatenate([mine.picture, picture])
        truth = np.where(np.concatenate([mine.q, np.zeros(len(picture))]) >= 0.5, YES, NO)
        worth = np.concatenate([mine.worth(), np.zeros(len(picture))])
        labels = np.concatenate([mine.label, label])
        found = Asks.of(place[whole], whole, labels, why=AGREED, truth=truth, worth=worth, presumed=True)
        return found.take(np.argsort(found.task, kind="stable"))

    def foreign(self, picture: Ints) -> tuple[Ints, Ints]:
        """For each request a class that nobody proposes, and that isn't known to be right or wrong: picture, class."""
        picture, label = unproposed(picture, self.cells, self.classes, self.likes, self.rng)
        new = ~np.isin(self.keys(picture, label), self.keys(self.gold.picture, self.gold.label))
        return picture[new], label[new]


def _tasks(order: Ints, cells: LabelCells) -> Asks:
    """Cells in doubt as tasks, in the order of their pictures."""
    place = np.zeros(len(cells.sources), np.int64)
    place[order] = np.arange(len(order))
    return Asks.of(place[cells.picture], cells.picture, cells.label, worth=cells.worth())


def _mask(n: int, rows: Ints) -> Bools:
    found = np.zeros(n, bool)
    found[rows] = True
    return found


def _first_tasks(found: Asks, number: int) -> Asks:
    """As many tasks, one after another, as have this number of questions; all if they haven't."""
    ends = np.searchsorted(np.cumsum(np.bincount(found.task)), number)
    return found.take(found.task <= ends) if number else found.take(found.task < 0)
