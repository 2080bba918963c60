"""Notice reviewers who press keys without a look: fast, and no better than guessing on questions with a known answer.

Either alone is no reason for a warning: experts are fast, and hard questions are answered wrongly with care. Together
they are found within a dozen answers, before the test in `panel.raters` has enough of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, inspect, select

from variorum.curation.people.panel.raters import clicking
from variorum.people.panel.progress import RECENT, votes_of
from variorum.people.votes.database import resumed, votes
from variorum.schemas.vote import ANSWERS

FAST = 1.0
"""Seconds for an answer below which somebody is warned."""
LAST = 200
"""Answers that are looked at; a fast start is forgotten, and a change for the worse is found."""
WARNED, PAUSED = (8, 5.0), (8, 100.0)
"""Least number of gold answers and least Bayes factor (`curation.people.panel.raters`), to be warned and to be paused.
docs/people/run_a_panel.md shows who is."""
CODE = {answer: place for place, answer in enumerate(ANSWERS)}


@dataclass(frozen=True, slots=True)
class Haste:
    """A reviewer's last answers that look like keys pressed without a look.

    Attributes:
        seconds: median for an answer.
        right: gold answers that are right.
        gold: gold answers.
        sure: whether they are enough to pause somebody by.
    """

    seconds: float
    right: int
    gold: int
    sure: bool

    @property
    def told(self) -> str:
        """A sentence for the organiser."""
        return (
            f"They take {self.seconds:.1f} s an answer lately, and {self.right} of {self.gold} on gold are no better "
            "than guessing."
        )


def haste(
    connection: Connection, panel: str, reviewer: str, truth: Mapping[str, int], below: float = FAST
) -> Haste | None:
    """Judge a reviewer by their last `LAST` blind votes that count; None if nothing is wrong with them.

    Votes before an organiser let them go on after a pause don't count.

    Args:
        connection: to the database.
        panel: its key.
        reviewer: their name.
        truth: 0 or 1 for each gold question.
        below: seconds for an answer.
    """
    columns = select(votes.c.question, votes.c.answer, votes.c.seconds).where(*votes_of(panel, reviewer))
    start = _resumed_at(connection, panel, reviewer)
    last = columns.where(votes.c.kind != "problem", votes.c.number > start).order_by(votes.c.number.desc()).limit(LAST)
    rows = list(connection.execute(last))
    paces = [row.seconds for row in rows[:RECENT] if row.seconds is not None]
    if len(rows) < WARNED[0] or not paces or (seconds := statistics.median(paces)) >= below:
        return None
    table = np.zeros((2, len(ANSWERS)), np.int64)
    for row in rows:
        if row.question in truth:
            table[truth[row.question], CODE[row.answer]] += 1
    if not clicking(table, *WARNED).suspect:
        return None
    right = int(table[0, CODE["no"]] + table[1, CODE["yes"]])
    return Haste(seconds, right, int(table.sum()), clicking(table, *PAUSED).suspect)


def _resumed_at(connection: Connection, panel: str, reviewer: str) -> int:
    """Number of the last vote before somebody was let go on; -1 if nobody had to be."""
    if not inspect(connection).has_table(resumed.name):  # a database of an earlier version on a read-only disk
        return -1
    here = resumed.c.panel == panel, resumed.c.reviewer == reviewer
    found = connection.scalar(select(resumed.c.number).where(*here))
    return -1 if found is None else int(found)
