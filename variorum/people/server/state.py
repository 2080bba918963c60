"""Count how far a panel has come."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, func, not_, select

from variorum.people.votes.database import questions, reading, reviewers, votes
from variorum.people.votes.reviewers import waits


@dataclass(frozen=True, slots=True)
class State:
    """Counts of a panel.

    Attributes:
        votes: that count.
        reviewers: who have joined, and don't wait to be confirmed.
        questions: all but gold, which is never complete.
        complete: those of them that have all their votes.
    """

    votes: int
    reviewers: int
    questions: int
    complete: int


def state(engine: Engine, panel: str) -> State:
    """The counts of a panel now."""
    ordinary = questions.c.panel == panel, questions.c.why != "gold"
    with reading(engine) as connection:
        every, still_open = (
            connection.scalar(select(func.count()).select_from(questions).where(*ordinary, *more)) or 0
            for more in ((), (questions.c.open,))
        )
        kept = connection.scalar(select(func.count()).select_from(votes).where(votes.c.panel == panel, votes.c.counts))
        people = connection.scalar(
            select(func.count()).select_from(reviewers).where(reviewers.c.panel == panel, not_(waits()))
        )
    return State(kept or 0, people or 0, every, every - still_open)
