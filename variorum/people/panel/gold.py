"""Questions with a known answer: how many of them a reviewer is asked, and which.

They are a pool outside the order of asking. A new reviewer gets mostly gold, so that somebody who clicks at random is
found within `FIRST` answers; later it is a small share. Nobody sees which questions these are.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from threading import Lock
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, select

from variorum.people.votes.database import panels, questions, tasks
from variorum.schemas.vote import KINDS

FIRST = 30
"""Answers at the beginning, of which `FIRST_SHARE` are on gold."""
FIRST_SHARE = 0.7
"""Makes at least 20 of them, with which the test in `panel.raters` finds nine of ten random clickers."""

Row = tuple[int, str, str]
"""Task, kind and subject of a gold question."""


@dataclass(frozen=True, eq=False)
class Pool:
    """The part of a panel that doesn't change while it has the same questions.

    Attributes:
        rows: its gold questions.
        lanes: kinds of its other tasks, and why they are asked.
    """

    rows: tuple[Row, ...]
    lanes: tuple[tuple[str, str], ...]


def gold_target(answers: int, share: float) -> float:
    """Return how many of a reviewer's first `answers` answers should be on gold, if `share` of the later ones are."""
    if share <= 0:
        return 0.0
    first = min(answers, FIRST)
    return first * max(FIRST_SHARE, share) + (answers - first) * share


def is_gold_due(asked: int, gold: int, share: float, seed: str) -> bool:
    """Return whether the next task of a reviewer is gold, after `asked` questions of which `gold` were gold.

    What is missing is the probability, so that gold doesn't come at places that can be foretold.
    """
    return gold_target(asked + 1, share) - gold > number_of(seed, str(asked)) / 2**64


def pool_of(connection: Connection, engine: Engine, panel: str) -> Pool:
    """Gold and lanes of a panel, from memory if its questions are the same as before."""
    version = connection.scalar(select(panels.c.questions).where(panels.c.panel == panel))
    with _lock:
        kept = _pools.setdefault(engine, {}).get(panel)
    if kept is None or kept[0] != version:
        at = (tasks.c.panel == questions.c.panel) & (tasks.c.task == questions.c.task)
        # by all columns of an index, as a look at every question would take half a second
        of_gold = tasks.c.open.in_((True, False)), tasks.c.kind.in_(KINDS), tasks.c.why == "gold"
        gold = tasks.c.panel == panel, *of_gold, questions.c.why == "gold"
        columns = questions.c.task, questions.c.kind, questions.c.subject
        found = connection.execute(select(*columns).select_from(tasks.join(questions, at)).where(*gold))
        rows = tuple((task, kind, subject) for task, kind, subject in found)
        lanes = select(tasks.c.kind, tasks.c.why).where(tasks.c.panel == panel, tasks.c.why != "gold").distinct()
        every = {("label", "asked"), *((kind, why) for kind, why in connection.execute(lanes))}  # labels may be added
        kept = str(version), Pool(rows, tuple(sorted(every)))
        with _lock:
            _pools[engine][panel] = kept
    return kept[1]


@lru_cache(maxsize=128)
def order_of(pool: Pool, reviewer: str, kinds: Collection[str], subject: str | None) -> tuple[int, ...]:
    """Gold tasks of these kinds, and on this subject unless it is None, in the order in which a reviewer gets them."""
    fit = {task for task, kind, about in pool.rows if kind in kinds and subject in (None, about)}
    return tuple(sorted(fit, key=lambda task: number_of(reviewer, str(task))))


def number_of(*texts: str) -> int:
    """A number below 2⁶⁴ that looks random and is the same for the same texts."""
    return int.from_bytes(blake2b("\n".join(texts).encode(), digest_size=8).digest())


_pools: WeakKeyDictionary[Engine, dict[str, tuple[str, Pool]]] = WeakKeyDictionary()
_lock = Lock()
