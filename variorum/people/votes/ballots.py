"""Votes are cast, withdrawn and counted here.

Rows are only ever added. The same vote sent twice is one vote, a person has one vote on a question that counts, and a
discussion decides a question once. All votes of a call are written in one transaction, or none.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, Engine, and_, delete, exists, func, insert, not_, or_, select, update

from variorum.people.votes.checks import NUMBER, fault
from variorum.people.votes.counters import pieces, recount, refresh
from variorum.people.votes.database import ADDED, panels, questions, reading, reviewers, tasks, votes, writing
from variorum.people.votes.reviewers import NameRefused, by_secret, is_paused, join, pause, pause_panel
from variorum.schemas.errors import StoreError
from variorum.schemas.vote import BLIND, Vote

__all__ = [
    "NameRefused", "Result", "by_secret", "cast", "counted", "is_paused", "join", "pause", "pause_panel", "recount",
    "withdraw", "withdraw_all",
]  # fmt: skip

State = Literal["kept", "known", "refused"]
Reason = Literal[
    "", "malformed", "paused", "unknown_picture", "changed_picture", "unknown_question", "early", "second", "id"
]
"""Why a vote is refused, in a word for programs."""
Refusal = tuple[Reason, str]
FINE: Refusal = ("", "")
Key = tuple[str, int, str]
"""What there is one counting vote for: question, round, and reviewer; `""` for a decision, which is everybody's."""
ROWS = 1 << 16
"""Votes in a piece of the table of `counted`."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a vote.

    Attributes:
        vote: its id.
        state: `kept` for a new one, `known` for one that was kept before, `refused` for one that isn't kept.
        why: a sentence for `refused`, else `""`.
        reason: the same in a word.
    """

    vote: str
    state: State
    why: str = ""
    reason: Reason = ""


def cast(
    engine: Engine,
    panel: str,
    given: Sequence[Vote],
    now: float,
    *,
    classes: Collection[str] = (),
    brought: bool = False,
) -> list[Result]:
    """Add votes to a panel.

    A vote is kept however late it comes: after its claim has expired, or when the question has all its votes.

    Args:
        engine: the database.
        panel: key of the panel.
        given: the votes; later ones may replace earlier ones.
        now: seconds since 1970, by the server's clock; the votes' `at`.
        classes: of the edition. A vote on one of them that nobody asks about adds the question to its picture.
        brought: the votes come from a file. Then they keep their times, a pause doesn't stop them, a decision may come
            before the blind votes, and what they replace may be missing.

    Returns:
        What became of each vote, in their order.

    Raises:
        StoreError: no such panel, or the database can't be written.
        TemporaryError: the database is busy or can't be reached; the same call may succeed later.
    """
    faults = [fault(vote)[1] for vote in given]
    keys = ["" if wrong else vote.question for vote, wrong in zip(given, faults, strict=True)]
    sound = [(vote, key) for vote, key in zip(given, keys, strict=True) if key]
    with writing(engine, panel) as connection:
        box = _Box.of(connection, panel, sound, classes, brought)
        results = [
            Result(str(vote.vote), "refused", wrong, "malformed") if wrong else box.take(vote, key, now)
            for vote, key, wrong in zip(given, keys, faults, strict=True)
        ]
        box.write()
    return results


def withdraw(engine: Engine, panel: str, vote: str, reviewer: str, now: float, new: str) -> Result:
    """Take a vote back. The row stays, another one says that it doesn't count any more.

    Args:
        engine: the database.
        panel: key of the panel.
        vote: id of the vote.
        reviewer: whose vote it is.
        now: seconds since 1970, by the server's clock.
        new: id of the withdrawal, so that the same one sent twice is one.

    Returns:
        What became of the withdrawal, under its id.

    Raises:
        StoreError, TemporaryError: as in `cast`.
    """
    return withdraw_all(engine, panel, [(vote, new)], reviewer, now)[0]


def withdraw_all(
    engine: Engine, panel: str, pairs: Sequence[tuple[str, str]], reviewer: str, now: float
) -> list[Result]:
    """Take several votes of a reviewer back, in one transaction; one that can't be taken back doesn't stop the others.

    Args:
        engine: the database.
        panel: key of the panel.
        pairs: id of a vote and id of its withdrawal.
        reviewer: whose votes they are.
        now: seconds since 1970, by the server's clock.

    Raises:
        StoreError, TemporaryError: as in `cast`.
    """
    with writing(engine, panel) as connection:
        stopped = _pauses(connection, panel, {reviewer})
        rows = _by_id(connection, panel, {one for pair in pairs for one in pair if NUMBER.fullmatch(one)})
        results, taken = list[Result](), list[Any]()
        for vote, new in pairs:
            results.append(_taken_back(vote, new, reviewer, rows, stopped))
            if results[-1].state == "kept":
                old = rows[vote]
                taken.append(old)
                rows[vote] = {**old, "counts": False}
                rows[new] = {**old, "vote": new, "answer": "", "replaces": vote, "at": now, "counts": False}
        if taken:
            gone = [old["number"] for old in taken]
            for some in pieces(gone):
                connection.execute(update(votes).where(votes.c.number.in_(some)).values(counts=False))
            new_rows = [dict(rows[pair[1]]) for pair, one in zip(pairs, results, strict=True) if one.state == "kept"]
            for row in new_rows:
                del row["number"]
            connection.execute(insert(votes), new_rows)
            _forget_added(connection, panel, {old["question"] for old in taken})
            refresh(connection, panel, _tasks_of(connection, panel, {(old["id"], old["sha256"]) for old in taken}))
    return results


def _taken_back(
    vote: str, new: str, reviewer: str, rows: Mapping[str, Any], stopped: Mapping[str | None, str]
) -> Result:
    """Decide about taking a vote back; `rows` are those of votes and withdrawals by id."""
    if not NUMBER.fullmatch(new):
        return Result(new, "refused", "the withdrawal needs an id of its own, such as a UUID", "malformed")
    if not NUMBER.fullmatch(vote):
        return Result(new, "refused", f"{vote[:80]!a} is no vote's id", "malformed")
    old, known = rows.get(vote), rows.get(new)
    if known is not None:
        same = (known["answer"], known["replaces"], known["reviewer"]) == ("", vote, reviewer)
        return Result(new, "known") if same else Result(new, "refused", _taken(new), "id")
    if old is None or old["reviewer"] != reviewer or not old["answer"]:
        return Result(new, "refused", f"{reviewer} has no vote {vote}", "second")
    if reviewer in stopped or None in stopped:
        return Result(new, "refused", stopped.get(None) or stopped[reviewer], "paused")
    if not old["counts"]:
        why = f"vote {vote} doesn't count any more; it was replaced or taken back"
        return Result(new, "refused", why, "second")
    return Result(new, "kept")


def _forget_added(connection: Connection, panel: str, keys: Collection[str]) -> None:
    """A question that a reviewer has added goes with its last vote: it may be a slip of the hand."""
    same = votes.c.panel == questions.c.panel, votes.c.question == questions.c.question, votes.c.counts
    for some in pieces(keys):
        here = questions.c.panel == panel, questions.c.question.in_(some), questions.c.why == "added"
        connection.execute(delete(questions).where(*here, not_(exists().where(*same))))


def counted(engine: Engine, panel: str) -> Any:
    """The votes that count, in the order in which they were kept, with the columns of `tables.schema`.

    Raises:
        StoreError, TemporaryError: the database can't be read.
    """
    from variorum.people.votes.tables import of_rows, schema

    pieces_read = list[Any]()
    with reading(engine) as connection:
        chosen = select(votes).where(votes.c.panel == panel, votes.c.counts).order_by(votes.c.number)
        rows = connection.execution_options(yield_per=ROWS).execute(chosen)
        pieces_read += (of_rows([dict(row._mapping) for row in part]) for part in rows.partitions(ROWS))
    import pyarrow as pa

    return pa.concat_tables([schema().empty_table(), *pieces_read])


@dataclass(slots=True)
class _Box:
    """Votes that are being cast: what the database has of them, and the rows to write.

    Attributes:
        stopped: why nobody (None) or a reviewer may vote.
        known: rows by id of vote; of those kept here, what will be the row.
        asked: rows of questions by key.
        pictures: rows of tasks by picture.
        current: id of the vote that counts.
        new: rows to add.
        tasks: those to add, after the last one there is.
        added: questions to add.
        replaced: ids of votes that count no more.
        touched: pictures whose counters change.
    """

    connection: Connection
    panel: str
    classes: Collection[str]
    brought: bool
    stopped: dict[str | None, str]
    known: dict[str, Any]
    asked: dict[str, Any]
    pictures: dict[str, list[Any]]
    current: dict[Key, str]
    new: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    added: list[dict[str, Any]] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)
    touched: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        connection: Connection,
        panel: str,
        sound: Sequence[tuple[Vote, str]],
        classes: Collection[str],
        brought: bool,
    ) -> _Box:
        given = [vote for vote, _ in sound]
        names, keys = {vote.reviewer for vote in given}, {key for _, key in sound}
        pictures: dict[str, list[Any]] = defaultdict(list)
        for some in pieces({vote.id for vote in given}):
            here = tasks.c.panel == panel, tasks.c.id.in_(some)
            for row in connection.execute(select(tasks).where(*here).order_by(tasks.c.task)):
                pictures[row.id].append(row)
        asked, current = dict[str, Any](), dict[Key, str]()
        for some in pieces(keys):
            here = questions.c.panel == panel, questions.c.question.in_(some)
            asked |= {row.question: row for row in connection.execute(select(questions).where(*here))}
            for few in pieces(names):
                theirs = or_(votes.c.round != BLIND, votes.c.reviewer.in_(few))
                counting = and_(votes.c.panel == panel, votes.c.question.in_(some), votes.c.counts, theirs)
                for row in connection.execute(select(votes).where(counting)):
                    current[_key(row.question, row.round, row.reviewer)] = row.vote
        ids = {name for vote in given for name in (vote.vote, vote.replaces) if name}
        known = _by_id(connection, panel, ids)
        stopped = _pauses(connection, panel, names)
        return cls(connection, panel, classes, brought, stopped, known, asked, pictures, current)

    def take(self, vote: Vote, question: str, now: float) -> Result:
        """Decide about a vote on a question, given by its key."""
        known = self.known.get(vote.vote)
        row = _row(self.panel, vote, question)
        if known is not None:
            same = all(known[name] == value for name, value in row.items() if name not in ("at", "task"))
            return Result(vote.vote, "known") if same else Result(vote.vote, "refused", _taken(vote.vote), "id")
        for check in (self._pause, self._unfit, self._second):
            reason, why = check(vote, question)
            if reason:
                return Result(vote.vote, "refused", why, reason)
        key = _key(question, vote.round, vote.reviewer)
        if key in self.current:
            self.replaced.add(self.current[key])
        self.current[key] = vote.vote
        row |= {"task": self._task(vote, question), "at": vote.at if self.brought and vote.at else now}
        self.known[vote.vote] = row
        self.new.append(row)
        self.touched.add((vote.id, vote.sha256))
        return Result(vote.vote, "kept")

    def write(self) -> None:
        """Write what was decided, and bring the counters up to date."""
        if self.tasks:
            self.connection.execute(insert(tasks), self.tasks[1:])
        if self.added:
            self.connection.execute(insert(questions), self.added)
        for row in self.new:
            row["counts"] = row["vote"] not in self.replaced
        if self.new:
            self.connection.execute(insert(votes), self.new)
        for some in pieces(self.replaced):
            old = votes.c.panel == self.panel, votes.c.vote.in_(some)
            self.connection.execute(update(votes).where(*old).values(counts=False))
        if self.touched:
            rows = (row for name, _ in self.touched for row in self.pictures[name])
            refresh(self.connection, self.panel, {row.task for row in rows if (row.id, row.sha256) in self.touched})

    def _pause(self, vote: Vote, _: str) -> Refusal:
        why = "" if self.brought else self.stopped.get(None) or self.stopped.get(vote.reviewer, "")
        return ("paused", why) if why else FINE

    def _unfit(self, vote: Vote, question: str) -> Refusal:
        """Why the question can't be answered; a label that is typed in by hand is added."""
        here = self.pictures.get(vote.id, [])
        if not here:
            return "unknown_picture", f"picture {vote.id} isn't in this panel"
        same = [row for row in here if row.sha256 == vote.sha256]
        if not same:
            return "changed_picture", f"picture {vote.id} has changed since it was judged; load it again"
        if vote.kind == "problem":
            return FINE
        asked = self.asked.get(question)
        if asked is not None:
            early = vote.round != BLIND and asked.open and not self.brought
            why = "a question is decided together once it has all its blind votes; this one is open"
            return ("early", why) if early else FINE
        if vote.kind != "label" or vote.subject not in self.classes:
            return "unknown_question", f"picture {vote.id} isn't asked about {vote.kind} {vote.subject}".rstrip()
        where = [row for row in same if row.kind == "label"]
        if not where:
            why = f"picture {vote.id} isn't asked about labels in this panel, so none can be added"
            return "unknown_question", why
        ordinary = [row.task for row in where if row.why != "gold"]
        self._add(vote, question, min(ordinary) if ordinary else self._new_task(where[0]))
        return FINE

    def _new_task(self, gold: Any) -> int:
        """A task for a label that was typed in on a gold task, which isn't for everybody."""
        if not self.tasks:
            last = self.connection.scalar(select(func.max(tasks.c.task)).where(tasks.c.panel == self.panel))
            self.tasks.append({"task": max(ADDED - 1, last or 0)})
        row = {**gold._mapping, "task": self.tasks[-1]["task"] + 1, "why": "asked", "open": True, "disputed": False}
        self.tasks.append(row)
        self.pictures[row["id"]].append(_NewTask(**row))
        return int(row["task"])

    def _add(self, vote: Vote, question: str, task: int) -> None:
        row = {"panel": self.panel, "question": question, "task": task, "kind": vote.kind}
        row |= {"subject": vote.subject, "why": "added", "truth": "", "votes": 0, "open": True}
        self.added.append(row)
        self.asked[question] = _Added(task)

    def _second(self, vote: Vote, question: str) -> Refusal:
        """Why the vote can't stand beside those that are there."""
        now = self.current.get(_key(question, vote.round, vote.reviewer))
        if now is not None:
            whose = f"{vote.reviewer} has answered" if vote.round == BLIND else "the discussion has decided"
            why = f"{whose} this question already; another answer has to replace vote {now}"
            return FINE if vote.replaces == now else ("second", why)
        old = self.known.get(vote.replaces) if vote.replaces else None
        if old is None:
            why = f"the vote that it replaces, {vote.replaces}, isn't in this panel"
            return ("second", why) if vote.replaces and not self.brought else FINE
        whose = old["reviewer"] if vote.round == BLIND else vote.reviewer
        if (old["question"], old["round"], whose) != (question, vote.round, vote.reviewer):
            why = f"the vote that it replaces, {vote.replaces}, is another person's or on another question"
            return "second", why
        return FINE

    def _task(self, vote: Vote, question: str) -> int:
        asked = self.asked.get(question)
        return int(asked.task if asked is not None else self.pictures[vote.id][0].task)


@dataclass(frozen=True, slots=True)
class _NewTask:
    """Stands for the row of a task that is being added."""

    panel: str
    task: int
    kind: str
    id: str
    sha256: str
    why: str
    wanted: int
    open: bool
    disputed: bool


@dataclass(frozen=True, slots=True)
class _Added:
    """Stands for the row of a question that is being added."""

    task: int
    open: bool = True


def _key(question: str, round_: int, reviewer: str) -> Key:
    return question, round_, reviewer if round_ == BLIND else ""


def _row(panel: str, vote: Vote, question: str) -> dict[str, Any]:
    """A vote as a row of the database, without what is known only there."""
    return {
        "panel": panel,
        "vote": vote.vote,
        "question": question,
        "task": None,
        "kind": vote.kind,
        "id": vote.id,
        "sha256": vote.sha256,
        "subject": vote.subject,
        "reviewer": vote.reviewer,
        "round": vote.round,
        "answer": vote.answer,
        "category": vote.category,
        "severity": vote.severity,
        "reason": vote.reason,
        "comment": vote.comment,
        "box": json.dumps([float(edge) for edge in vote.box]) if vote.box is not None else "",
        "seconds": None if math.isnan(vote.seconds) else float(vote.seconds),
        "at": float(vote.at),
        "replaces": vote.replaces,
    }


def _by_id(connection: Connection, panel: str, ids: Collection[str]) -> dict[str, Any]:
    found = dict[str, Any]()
    for some in pieces(ids):
        rows = connection.execute(select(votes).where(votes.c.panel == panel, votes.c.vote.in_(some)))
        found |= {row.vote: row._mapping for row in rows}
    return found


def _pauses(connection: Connection, panel: str, names: Collection[str]) -> dict[str | None, str]:
    """Why votes are refused for now, by reviewer; under None for all."""
    paused = connection.scalar(select(panels.c.paused).where(panels.c.panel == panel))
    if paused is None:
        raise StoreError(f"panel {panel} isn't in this database; publish it first, or give its database's URL")
    stopped: dict[str | None, str] = {None: "the panel is paused; no votes are taken for now"} if paused else {}
    for some in pieces(names):
        here = reviewers.c.panel == panel, reviewers.c.reviewer.in_(some), reviewers.c.paused
        for name in connection.scalars(select(reviewers.c.reviewer).where(*here)):
            stopped[name] = f"{name} is paused; ask the organiser"
    return stopped


def _tasks_of(connection: Connection, panel: str, pictures: Collection[tuple[str, str]]) -> set[int]:
    """Numbers of all tasks about pictures, given by id and sha256: what is said of one concerns all its tasks."""
    found = set[int]()
    for some in pieces({name for name, _ in pictures}):
        here = tasks.c.panel == panel, tasks.c.id.in_(some)
        rows = connection.execute(select(tasks.c.task, tasks.c.id, tasks.c.sha256).where(*here))
        found |= {task for task, name, sha256 in rows if (name, sha256) in pictures}
    return found


def _taken(vote: str) -> str:
    return f"the id {vote} belongs to another vote; a new vote needs a new id"
