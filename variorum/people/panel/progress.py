"""Count what a reviewer has answered, and what is left.

The page asks after every answer, so what would need a look at the whole panel is an estimate that is kept for some
seconds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable
from threading import Lock
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, exists, func, not_, select

from variorum.people.panel.gold import pool_of
from variorum.people.votes.counters import PIECE, pieces
from variorum.people.votes.database import claims, cursors, questions, reading, tasks, votes
from variorum.schemas.vote import BLIND

T = TypeVar("T")

KEPT = 30.0
"""Seconds for which an estimate is kept."""
RECENT = 50
"""Answers that the pace is measured on."""
COMPARED, LOOKED_AT = 200, 2000
"""Answers that are compared with those of others, and the last ones that they are looked for among."""


def progress(engine: Engine, panel: str, reviewer: str, now: float) -> dict[str, Any]:
    """Count what a reviewer has answered, and what is left.

    Args:
        engine: the database.
        panel: key of the panel.
        reviewer: their name.
        now: seconds since 1970.

    Returns:
        `answered`: their blind answers that count. `left`: questions that they can still be asked, estimated from the
        tasks ahead of them, up to half a minute old. `seconds_per_answer`: median of the last 50 answers, None
        without any. `agreement`: the share of others' answers that are the same, over about 200 of
        their last answers on questions that have all their votes; None without any. What others said of open questions
        isn't in it.
    """
    mine = votes_of(panel, reviewer)
    with reading(engine) as connection:
        answered = connection.scalar(select(func.count()).select_from(votes).where(*mine)) or 0
        last = select(votes.c.seconds).where(*mine).order_by(votes.c.number.desc()).limit(RECENT)
        seconds = [one for one in connection.scalars(last) if one is not None]
        left, then = kept(engine, ("left", panel, reviewer), lambda: (_left(connection, panel, reviewer), answered))
        agreement = kept(engine, ("agreement", panel, reviewer), lambda: _agreement(connection, panel, reviewer))
    return {
        "answered": int(answered),
        "left": max(0, left - max(0, answered - then)),
        "seconds_per_answer": statistics.median(seconds) if seconds else None,
        "agreement": agreement,
    }


def open_subjects(engine: Engine, panel: str, reviewer: str, kind: str) -> list[tuple[str, int]]:
    """Subjects of one kind with the number of open questions that a reviewer hasn't answered, most first.

    Gold doesn't count. The numbers are up to half a minute old.
    """
    with reading(engine) as connection:
        every = kept(engine, ("subjects", panel, kind), lambda: _open(connection, engine, panel, kind))
        mine = kept(engine, ("mine", panel, reviewer, kind), lambda: _answered(connection, panel, reviewer, kind))
    left = {subject: number - mine.get(subject, 0) for subject, number in every.items()}
    return sorted(((subject, number) for subject, number in left.items() if number > 0), key=lambda one: (-one[1], one))


def votes_of(panel: str, reviewer: str) -> tuple[Any, ...]:
    """A reviewer's blind votes that count."""
    return votes.c.panel == panel, votes.c.reviewer == reviewer, votes.c.counts.is_(True), votes.c.round == BLIND


def _left(connection: Connection, panel: str, reviewer: str) -> int:
    """Questions in open tasks from the reviewer's cursors on, without those that they have finished."""
    here = tasks.c.panel == panel, tasks.c.open.is_(True), tasks.c.why != "gold"
    lanes = select(tasks.c.kind, tasks.c.why).where(*here).distinct()
    total = 0.0
    for kind, why in list(connection.execute(lanes)):
        cursor = cursors.c.panel == panel, cursors.c.reviewer == reviewer, cursors.c.lane == f"{kind} {why}"
        start = connection.scalar(select(cursors.c.task).where(*cursor)) or 0
        lane = tasks.c.panel == panel, tasks.c.open.is_(True), tasks.c.kind == kind, tasks.c.why == why
        ahead = connection.scalar(select(func.count()).select_from(tasks).where(*lane, tasks.c.task >= start)) or 0
        mine = claims.c.panel == panel, claims.c.reviewer == reviewer
        of_lane = exists().where(*lane, tasks.c.task == claims.c.task).correlate(claims)  # a join may scan the tasks
        claimed = select(func.count()).select_from(claims).where(*mine, of_lane)
        ahead -= connection.scalar(claimed.where(claims.c.done.is_(True), claims.c.task >= start)) or 0
        ahead += connection.scalar(claimed.where(claims.c.done.is_(False), claims.c.task < start)) or 0
        total += ahead * _per_task(connection, panel, kind, why, start)
    return round(total)


def _per_task(connection: Connection, panel: str, kind: str, why: str, start: int) -> float:
    """Mean number of open questions in the next tasks of a lane."""
    lane = tasks.c.panel == panel, tasks.c.open.is_(True), tasks.c.kind == kind, tasks.c.why == why
    ahead = select(tasks.c.task).where(*lane, tasks.c.task >= start).order_by(tasks.c.task).limit(PIECE)
    some = list(connection.scalars(ahead))
    of_them = select(questions.c.open).where(questions.c.panel == panel, questions.c.task.in_(some))
    return sum(connection.scalars(of_them)) / len(some) if some else 1.0


def _agreement(connection: Connection, panel: str, reviewer: str) -> float | None:
    last = select(votes.c.question, votes.c.answer).where(*votes_of(panel, reviewer)).order_by(votes.c.number.desc())
    latest = dict(tuple(row) for row in connection.execute(last.limit(LOOKED_AT)))
    mine: dict[str, str] = {}
    for some in pieces(latest):
        whole = questions.c.panel == panel, questions.c.question.in_(some), not_(questions.c.open)
        complete = set(connection.scalars(select(questions.c.question).where(*whole)))
        mine |= {question: latest[question] for question in some if question in complete}
        if len(mine) >= COMPARED:
            break
    counting = votes.c.panel == panel, votes.c.question.in_(mine), votes.c.counts, votes.c.round == BLIND
    others = select(votes.c.question, votes.c.answer).where(*counting, votes.c.reviewer != reviewer)
    same = [mine[question] == answer for question, answer in connection.execute(others)]
    return sum(same) / len(same) if same else None


def _open(connection: Connection, engine: Engine, panel: str, kind: str) -> dict[str, int]:
    here = questions.c.panel == panel, questions.c.open.is_(True), questions.c.kind == kind
    grouped = select(questions.c.subject, func.count()).where(*here).group_by(questions.c.subject)
    found: dict[str, int] = dict(tuple(row) for row in connection.execute(grouped))
    for _, of_kind, subject in pool_of(connection, engine, panel).rows:
        if of_kind == kind:
            found[subject] = found.get(subject, 0) - 1
    return found


def _answered(connection: Connection, panel: str, reviewer: str, kind: str) -> dict[str, int]:
    same = questions.c.panel == panel, questions.c.question == votes.c.question
    still = exists().where(*same, questions.c.open.is_(True), questions.c.why != "gold").correlate(votes)
    grouped = select(votes.c.subject, func.count()).where(*votes_of(panel, reviewer), votes.c.kind == kind, still)
    grouped = grouped.group_by(votes.c.subject)
    return dict(tuple(row) for row in connection.execute(grouped))


def kept(engine: Engine, key: Hashable, find: Callable[[], T], version: Hashable = None, seconds: float = KEPT) -> T:
    """A value from memory if it was found for the same `version` or is younger than `seconds`, else found again."""
    with _lock:
        known = _kept.setdefault(engine, {}).get(key)
    if known is not None and (known[1] == version is not None or monotonic() - known[0] < seconds):
        return known[2]  # type: ignore[no-any-return]
    value = find()
    with _lock:
        _kept[engine][key] = monotonic(), version, value
    return value


_kept: WeakKeyDictionary[Engine, dict[Hashable, tuple[float, Hashable, Any]]] = WeakKeyDictionary()
_lock = Lock()
