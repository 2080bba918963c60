"""Votes of several requests, written together.

A transaction ends when the disk has it, and while one request waits for that, others arrive. Whoever's turn is next
writes the votes of all that wait, so that twenty people who vote at once need few transactions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from variorum.people.votes.ballots import Result
from variorum.schemas.errors import TemporaryError
from variorum.schemas.vote import Vote

MOST = 2000
"""Votes from which on no further request joins a transaction."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """The votes of a request, and in the end what became of them or what went wrong."""

    votes: Sequence[Vote]
    results: list[Result] = field(default_factory=list)
    error: Exception | None = None
    done: bool = False


class Casting:
    """Writes votes for many threads.

    Args:
        write: keeps votes in one transaction, all or none.
        turn: is held while votes are written; others who write to the same database hold it too.
    """

    def __init__(self, write: Callable[[Sequence[Vote]], list[Result]], turn: AbstractContextManager[object]) -> None:
        self._write, self._turn = write, turn
        self._line: deque[_Waiting] = deque()

    def cast(self, votes: Sequence[Vote]) -> list[Result]:
        """Cast votes, and return the outcome of each once it is written. Raises what `write` raises for them."""
        mine = _Waiting(votes)
        self._line.append(mine)
        with self._turn:
            while not mine.done:
                self._together(self._next())
        if mine.error is not None:
            raise mine.error
        return mine.results

    def _next(self) -> list[_Waiting]:
        """The first requests in line, as many as fit."""
        found, number = list[_Waiting](), 0
        while self._line and number < MOST:
            found.append(self._line.popleft())
            number += len(found[-1].votes)
        return found

    def _together(self, some: Sequence[_Waiting]) -> None:
        try:
            results = iter(self._write([vote for one in some for vote in one.votes]))
        except Exception as error:
            if len(some) > 1 and not isinstance(error, TemporaryError):  # it may be the fault of one of them
                for one in some:
                    self._together([one])
                return
            for one in some:
                one.error = error
        else:
            for one in some:
                one.results = [next(results) for _ in one.votes]
        for one in some:
            one.done = True
