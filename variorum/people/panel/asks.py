"""Questions as arrays, from the kinds that make them to the table that a panel keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.people.panel.askable import Pictures
from variorum.schemas.vote import Kind

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

ASKED, AGREED, GOLD = 0, 1, 2
WHY = ("asked", "agreed", "gold")
"""Why a question is in the queue, by code."""
NONE, YES, NO = 0, 1, 2
TRUTH = ("", "yes", "no")
"""The known answer, by code."""
COLUMNS = ("task", "picture", "subject", "why", "truth", "worth", "presumed")
"""Fields of `Asks`."""


@dataclass(frozen=True, slots=True)
class Asks:
    """Q questions in tasks.

    Attributes:
        task: `[Q]` number of the task that each belongs to.
        picture: `[Q]` place of the picture.
        subject: `[Q]` code of the subject; what it stands for depends on the kind.
        why: `[Q]` code in `WHY`.
        truth: `[Q]` code in `TRUTH`; of gold, and of what nobody doubts.
        worth: `[Q]` expected information, at least 0.
        presumed: `[Q]` whether nobody has confirmed the known answer.
    """

    task: Ints
    picture: Ints
    subject: Ints
    why: Ints
    truth: Ints
    worth: Floats
    presumed: Bools

    def __len__(self) -> int:
        return len(self.task)

    @classmethod
    def of(
        cls,
        task: Ints,
        picture: Ints,
        subject: Ints,
        *,
        why: Ints | int = ASKED,
        truth: Ints | int = NONE,
        worth: Floats | float = 0.0,
        presumed: Bools | bool = False,
    ) -> Asks:
        """Questions with the same for all where one value is given."""
        n = len(task)
        return cls(
            np.asarray(task, np.int64),
            np.asarray(picture, np.int64),
            np.asarray(subject, np.int64),
            why=np.broadcast_to(np.asarray(why, np.int64), n),
            truth=np.broadcast_to(np.asarray(truth, np.int64), n),
            worth=np.broadcast_to(np.asarray(worth, np.float64), n),
            presumed=np.broadcast_to(np.asarray(presumed, bool), n),
        )

    @classmethod
    def together(cls, parts: Sequence[Asks]) -> Asks:
        """Those of several, with the tasks of each numbered after those before it."""
        start, shifted = 0, list[Any]()
        for one in parts:
            shifted.append(one.task + start)
            start += int(one.task.max(initial=-1)) + 1
        columns = {name: np.concatenate([getattr(one, name) for one in parts]) for name in COLUMNS[1:]}
        return cls(np.concatenate(shifted), **columns)

    def take(self, rows: Ints | Bools) -> Asks:
        """Some questions."""
        return Asks(**{name: getattr(self, name)[rows] for name in COLUMNS})

    def as_gold(self) -> Asks:
        """With their presumed answers as known ones."""
        return replace(self, why=np.full(len(self), GOLD))

    def and_more(self, more: Asks) -> Asks:
        """With further questions in the same tasks."""
        return Asks(**{name: np.concatenate([getattr(one, name) for one in (self, more)]) for name in COLUMNS})

    def ordered(self, turn: Floats) -> Asks:
        """Sorted by the turn of each task, numbered from 0, and within a task by subject.

        Args:
            turn: by task number; those that no question belongs to don't matter.
        """
        rows = np.lexsort((self.subject, self.task, turn[self.task]))
        found = self.take(rows)
        new = np.cumsum(np.diff(found.task, prepend=found.task[:1]) != 0) if len(found) else found.task
        return replace(found, task=new.astype(np.int64))


@dataclass(frozen=True, slots=True)
class Plain:
    """Questions of one kind before any control is among them.

    Attributes:
        picture: `[Q]` sorted by task.
        subject: `[Q]` place in `subjects`.
        worth: `[Q]` in [0, 1]; tasks are asked in the order of their highest.
        calm: `[Q]` whether nobody doubts it.
        subjects: Arrow array of texts.
    """

    picture: Ints
    subject: Ints
    worth: Floats
    calm: Bools
    subjects: Any


def turns(kinds: Sequence[tuple[int, bool]], rng: np.random.Generator) -> Floats:
    """When each task is asked, in [0, 1], for groups of tasks that follow one another.

    Args:
        kinds: number of tasks in each group, and whether they are drawn: those are spread evenly, in a random order,
            and the others keep theirs.
        rng: draws.
    """
    parts = [np.zeros(0)]
    for number, drawn in kinds:
        place = rng.permutation(number) + rng.random(number) if drawn else np.arange(number) + 0.5
        parts.append(place / max(number, 1))
    return np.concatenate(parts)


def table_of(kind: Kind, asks: Asks, pictures: Pictures, subjects: Any, first: int) -> Any:
    """Questions of one kind as a table with the columns of `people.panel.queue.COLUMNS`.

    Args:
        kind: of all of them.
        asks: sorted by task.
        pictures: the edition's.
        subjects: Arrow array that the codes of subjects are places in.
        first: number of the first task.
    """
    import pyarrow as pa

    def texts(values: Sequence[str], codes: Ints) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(values)).cast(pa.string())

    return pa.table(
        {
            "task": pa.array(asks.task + first, pa.int32()),
            "kind": texts([kind], np.zeros(len(asks), np.int64)),
            "id": pictures.ids.take(asks.picture),
            "sha256": pictures.sha256.take(asks.picture),
            "subject": subjects.take(asks.subject),
            "why": texts(WHY, asks.why),
            "truth": texts(TRUTH, asks.truth),
            "worth": pa.array(asks.worth, pa.float32()),
            "presumed": pa.array(asks.presumed),
        }
    )
