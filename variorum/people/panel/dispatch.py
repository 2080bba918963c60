"""Who is asked what next.

Tasks are asked in the order of their numbers, each until its questions have the votes that are wanted. Whoever gets a
task has a claim on it for a quarter of an hour by the server's clock, so that no more people are asked than are needed.
For each kind of task a reviewer has a cursor; what lies before it is finished, or they have a claim on it.

A reviewer's claims are of four sorts: `done` ones; live ones, whose tasks are in their hands; expired ones, which are
asked first; and skipped ones, whose `until` is the negative time of the skip, and which are asked last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Exists, and_, exists, func, insert, not_, or_, select, update

from variorum.people.panel.gold import is_gold_due, number_of, order_of, pool_of
from variorum.people.panel.progress import open_subjects, progress
from variorum.people.votes.counters import pieces
from variorum.people.votes.database import claims, cursors, panels, questions, reading, reviewers, tasks, votes, writing
from variorum.schemas.errors import StoreError
from variorum.schemas.vote import BLIND, KINDS, TOGETHER

__all__ = ["Task", "disputed", "disputed_left", "next_tasks", "open_subjects", "progress", "release_task"]

LEASE = 900.0
"""Seconds that a claim lasts unless it is renewed."""
LATEST = LEASE + 60.0
"""Seconds from now that a claim can end at most, with a minute for clocks that are corrected. One that ends later was
made before the clock was set back, and has ended."""
MOST = 200
"""Tasks that one call hands out at most."""
LOOK = 64
"""Gold tasks that are looked up together."""
KINDS_ASKED = tuple(kind for kind in KINDS if kind != "problem")


@dataclass(frozen=True, slots=True)
class Said:
    """A vote as the discussion shows it."""

    reviewer: str
    answer: str
    category: str
    severity: str
    reason: str
    comment: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it is shown: its key, its subject, and in the discussion its votes."""

    question: str
    subject: str
    votes: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """Questions of one kind about one picture."""

    task: int
    kind: str
    id: str
    sha256: str
    questions: tuple[Question, ...]


def next_tasks(
    engine: Engine,
    panel: str,
    reviewer: str,
    *,
    number: int,
    holding: Sequence[int] = (),
    kind: str | None = None,
    subject: str | None = None,
    now: float,
    rng_seed: int = 0,
    gold: float = 0.1,
    resume: bool = False,
) -> list[Task]:
    """The next tasks for a reviewer, who then has a claim on them.

    A task's questions are those that the reviewer still has to answer, in a random order that stays the same for them.

    Args:
        engine: the database.
        panel: key of the panel.
        reviewer: a name that has joined.
        number: of tasks at most.
        holding: tasks that the reviewer's page has already; their claims are renewed, and they aren't given again.
        kind: of question; None for all, or for labels with a subject.
        subject: for a grid: only questions of `kind` about this subject. Other questions of their tasks stay for later.
        now: seconds since 1970, by the server's clock.
        rng_seed: of the orders.
        gold: least share of a reviewer's questions with a known answer; 0 for none.
        resume: give first the reviewer's open claims that no browser tab shows any more.

    Returns:
        Fewer than `number` if there are no more for now; none while the panel or the reviewer is paused.

    Raises:
        StoreError: no such panel or reviewer.
    """
    if subject is not None and kind is None:
        kind = "label"
    with writing(engine, panel, lasting=False) as connection:
        stops = select(reviewers.c.paused, panels.c.paused, reviewers.c.asked, reviewers.c.gold)
        here = panels.c.panel == panel, reviewers.c.panel == panels.c.panel, reviewers.c.reviewer == reviewer
        person = connection.execute(stops.where(*here)).one_or_none()
        if person is None:
            raise StoreError(f"panel {panel} has no reviewer {reviewer!r}; they join it first")
        if person[0] or person[1] or number < 1:
            return []
        pool = pool_of(connection, engine, panel)
        desk = _Desk(connection, panel, reviewer, now, tuple(holding), kind, subject, rng_seed)
        desk.renew()
        number = min(number, MOST)
        found = desk.tasks(desk.left_behind(number, ())) if resume and subject is None else []
        if subject is None and len(found) < number:
            found += desk.tasks(desk.expired(number - len(found)))
        fresh = desk.tasks(desk.fresh(pool.lanes, number - len(found)))
        controls: list[Task] = []
        if gold > 0 and fresh:
            lane = order_of(pool, reviewer, desk.kinds, subject)
            controls = desk.tasks(desk.unclaimed(lane, number - len(found)))
        mixed, asked, of_gold = _mixed(
            fresh, controls, person.asked, person.gold, gold, number - len(found), f"{rng_seed}\n{reviewer}"
        )
        found += mixed
        if len(found) < number:
            found += desk.tasks(desk.left_behind(number - len(found), found))
        if len(found) < number:
            skipped = desk.tasks(desk.skipped(number - len(found), found))
            asked += sum(len(task.questions) for task in skipped)
            of_gold += desk.gold_in(skipped)
            found += skipped
        desk.claim(found)
        desk.count(asked - person.asked, of_gold - person.gold)
    return found


def release_task(engine: Engine, panel: str, reviewer: str, task: int, now: float) -> None:
    """Give up a claim: others may have the task, and this reviewer gets it again after all others."""
    with writing(engine, panel, lasting=False) as connection:
        desk = _Desk(connection, panel, reviewer, now, (), None, None, 0)
        mine = desk.mine, claims.c.task == task, not_(claims.c.done), claims.c.until >= 0
        if connection.execute(update(claims).where(*mine).values(until=-now)).rowcount:
            given_back = desk.tasks([task])
            desk.count(-sum(len(one.questions) for one in given_back), -desk.gold_in(given_back))


def disputed(engine: Engine, panel: str, *, after: int, number: int) -> list[Task]:
    """Tasks that are complete, not unanimous and not decided, from the one behind task `after` on, with all votes.

    Args:
        engine: the database.
        panel: key of the panel.
        after: number of a task; -1 for the beginning.
        number: of tasks at most.
    """
    with reading(engine) as connection:
        some = select(tasks).where(tasks.c.panel == panel, tasks.c.disputed.is_(True), tasks.c.task > after)
        heads = {row.task: row for row in connection.execute(some.order_by(tasks.c.task).limit(number))}
        columns = questions.c.task, questions.c.question, questions.c.subject, questions.c.open
        asked = dict[str, Any]()
        for few in pieces(heads):
            of_tasks = select(*columns).where(questions.c.panel == panel, questions.c.task.in_(few))
            asked |= {row.question: row for row in connection.execute(of_tasks) if not row.open}
        said = votes.c.question, votes.c.round, *(getattr(votes.c, name) for name in Said.__slots__)
        given: dict[str, list[tuple[int, int, Said]]] = {}
        for keys in pieces(sorted(asked)):
            counting = votes.c.panel == panel, votes.c.question.in_(keys), votes.c.counts.is_(True)
            for place, key, round_, *vote in connection.execute(select(votes.c.number, *said).where(*counting)):
                given.setdefault(key, []).append((place, round_, Said(*vote)))
    found: dict[int, dict[tuple[str, str], list[tuple[int, Said]]]] = {number: {} for number in heads}
    for key in sorted(given):
        row, told = asked[key], sorted(given[key], key=lambda one: one[0])
        found[row.task][key, row.subject] = [(round_, one) for _, round_, one in told]
    return [
        Task(task, heads[task].kind, heads[task].id, heads[task].sha256, shown)
        for task, told in found.items()
        if (shown := _discussed(told))
    ]


def _discussed(asked: Mapping[tuple[str, str], Sequence[tuple[int, Said]]]) -> tuple[Question, ...]:
    """Questions without unanimity and without a decision, with what was said."""
    return tuple(
        Question(key, subject, tuple(one for _, one in given))
        for (key, subject), given in asked.items()
        if TOGETHER not in {round_ for round_, _ in given} and len({one.answer for _, one in given}) > 1
    )


def disputed_left(engine: Engine, panel: str) -> int:
    """Count all tasks of `disputed`."""
    with reading(engine) as connection:
        mine = tasks.c.panel == panel, tasks.c.disputed.is_(True)
        return int(connection.scalar(select(func.count()).select_from(tasks).where(*mine)) or 0)


def _mixed(
    fresh: Sequence[Task], controls: Sequence[Task], asked: int, gold: int, share: float, number: int, seed: str
) -> tuple[list[Task], int, int]:
    """Tasks of both sorts, `number` at most, and the reviewer's counts of all and of gold questions after them.

    Gold isn't asked for its own sake: with the last other task it ends.
    """
    found, others, known = list[Task](), iter(fresh), iter(controls)
    ahead, control = next(others, None), next(known, None)
    while ahead is not None and len(found) < number:
        if control is not None and is_gold_due(asked, gold, share, seed):
            found.append(control)
            gold += len(control.questions)
            control = next(known, None)
        else:
            found.append(ahead)
            ahead = next(others, None)
        asked += len(found[-1].questions)
    return found, asked, gold


@dataclass(frozen=True)
class _Desk:
    """One reviewer's view of a panel, within a transaction."""

    connection: Connection
    panel: str
    reviewer: str
    now: float
    holding: tuple[int, ...]
    kind: str | None
    subject: str | None
    seed: int

    @property
    def kinds(self) -> tuple[str, ...]:
        return KINDS_ASKED if self.kind is None else (self.kind,)

    @cached_property
    def mine(self) -> ColumnElement[bool]:
        """Claims of this reviewer."""
        return and_(claims.c.panel == self.panel, claims.c.reviewer == self.reviewer)

    @cached_property
    def live(self) -> ColumnElement[bool]:
        """Claims of anybody that haven't ended."""
        return and_(claims.c.until > self.now, claims.c.until <= self.now + LATEST)

    @cached_property
    def voted(self) -> ColumnElement[bool]:
        """Questions that they have answered."""
        return self._answered(questions.c.question, self.reviewer).correlate(questions)

    @cached_property
    def wanting(self) -> ColumnElement[bool]:
        """Questions, joined with their tasks, that they can still answer.

        That is all gold, and others as long as fewer people than are wanted have answered or have the task in their
        hands. Who has finished a task without answering all of it has said that its picture can't be judged.
        """
        answered = self._answered(questions.c.question, claims.c.reviewer).correlate(questions, claims)
        others = (
            select(func.count())
            .select_from(claims)
            .where(
                claims.c.panel == self.panel,
                claims.c.task == questions.c.task,
                claims.c.reviewer != self.reviewer,
                or_(claims.c.done, self.live, answered),
            )
            .correlate(questions)
            .scalar_subquery()
        )
        lacking = and_(questions.c.open, others < tasks.c.wanted)
        return and_(not_(self.voted), or_(questions.c.why == "gold", lacking))

    @cached_property
    def waiting(self) -> ColumnElement[bool]:
        """Tasks with a question that they can still answer."""
        of_task = questions.c.panel == self.panel, questions.c.task == tasks.c.task
        about = () if self.subject is None else (questions.c.subject == self.subject,)
        return exists().where(*of_task, *about, self.wanting).correlate(tasks)

    def _answered(self, question: Any, reviewer: Any) -> Exists:
        mine = votes.c.panel == self.panel, votes.c.question == question, votes.c.reviewer == reviewer
        return exists().where(*mine, votes.c.round == BLIND, votes.c.counts.is_(True))

    def renew(self) -> None:
        """Renew the claims that a page says it holds."""
        if self.holding:
            held = self.mine, claims.c.task.in_(self.holding), not_(claims.c.done), claims.c.until >= 0
            self.connection.execute(update(claims).where(*held).values(until=self.now + LEASE))

    # ── which tasks ──────────────────────────────────────────────────────────────────────────────────────────────

    def expired(self, number: int) -> list[int]:
        """Tasks that were theirs and were left, those left longest ago first."""
        return self._claimed(number, and_(claims.c.until >= 0, not_(self.live)), claims.c.until)

    def left_behind(self, number: int, besides: Iterable[Task]) -> list[int]:
        """Tasks that are still theirs but that the page doesn't hold: it was closed, or another one holds them."""
        return self._claimed(number, self.live, claims.c.until, besides)

    def skipped(self, number: int, besides: Iterable[Task]) -> list[int]:
        """Tasks that they skipped, the first one first."""
        return self._claimed(number, claims.c.until < 0, claims.c.until.desc(), besides)

    def _claimed(self, number: int, until: ColumnElement[bool], order: Any, besides: Iterable[Task] = ()) -> list[int]:
        theirs = (*self.holding, *(task.task for task in besides))
        at = and_(tasks.c.panel == claims.c.panel, tasks.c.task == claims.c.task)
        mine = self.mine, claims.c.done.is_(False), until, claims.c.task.not_in(theirs)
        chosen = select(tasks.c.task).select_from(claims.join(tasks, at))
        chosen = chosen.where(*mine, tasks.c.kind.in_(self.kinds), self.waiting)
        return list(self.connection.scalars(chosen.order_by(order, tasks.c.task).limit(number)))

    def fresh(self, lanes: Iterable[tuple[str, str]], number: int) -> list[int]:
        """Tasks that were never theirs, in the order of asking."""
        if number < 1:
            return []
        if self.subject is not None:
            return self._of_subject(number, f"{self.kind} about {self.subject}")
        mine = [lane for lane in lanes if lane[0] in self.kinds]
        return sorted(one for kind, why in mine for one in self._of_lane(kind, why, number))[:number]

    def _of_lane(self, kind: str, why: str, number: int) -> list[int]:
        lane = f"{kind} {why}"
        start = self._cursor(lane)
        claimed = exists().where(self.mine, claims.c.task == tasks.c.task)
        here = tasks.c.panel == self.panel, tasks.c.open.is_(True), tasks.c.kind == kind, tasks.c.why == why
        ahead = select(tasks.c.task).where(*here, not_(claimed)).order_by(tasks.c.task)
        first = self._move(lane, start, self.connection.scalar(ahead.where(tasks.c.task >= start).limit(1)))
        chosen = ahead.where(tasks.c.task >= first, self.waiting).limit(number)
        return list(self.connection.scalars(chosen))

    def _of_subject(self, number: int, lane: str) -> list[int]:
        """Tasks that ask about one subject, except what a page of theirs holds.

        A claim with a vote is no longer held for the sake of the task's other questions.
        """
        start = self._cursor(lane)
        at = and_(tasks.c.panel == questions.c.panel, tasks.c.task == questions.c.task)
        asked = questions.c.panel == self.panel, questions.c.open.is_(True), questions.c.kind == self.kind
        about = questions.c.subject == self.subject, tasks.c.why != "gold"
        same = claims.c.task == questions.c.task
        past = exists().where(self.mine, same, or_(claims.c.done, claims.c.until < 0)).correlate(questions)
        answered = self._answered(siblings.c.question, self.reviewer).correlate(siblings)
        of_task = siblings.c.panel == self.panel, siblings.c.task == claims.c.task
        begun = exists().where(*of_task, answered).correlate(claims)
        held = exists().where(self.mine, same, self.live, not_(begun)).correlate(questions)
        ahead = select(questions.c.task).select_from(questions.join(tasks, at))
        ahead = ahead.where(*asked, *about, not_(self.voted), not_(past)).order_by(questions.c.task)
        first = self._move(lane, start, self.connection.scalar(ahead.where(questions.c.task >= start).limit(1)))
        held_here = questions.c.task.not_in(self.holding), not_(held)
        chosen = ahead.where(questions.c.task >= first, *held_here, self.wanting).limit(number)
        return list(self.connection.scalars(chosen))

    def unclaimed(self, lane: Sequence[int], number: int) -> list[int]:
        """The first tasks of a list that were never theirs."""
        found = list[int]()
        name = f"gold {' '.join(self.kinds)} about {self.subject or ''}"
        start = place = self._cursor(name)
        while place < len(lane) and len(found) < number:
            some = lane[place : place + LOOK]
            taken = set(self.connection.scalars(select(claims.c.task).where(self.mine, claims.c.task.in_(some))))
            found += [task for task in some if task not in taken]
            place += LOOK
            if not found:
                self._move(name, start, place)
                start = place
        return found[:number]

    # ── cursors, claims, counts ──────────────────────────────────────────────────────────────────────────────────

    def _cursor(self, lane: str) -> int:
        here = cursors.c.panel == self.panel, cursors.c.reviewer == self.reviewer, cursors.c.lane == lane
        found = self.connection.scalar(select(cursors.c.task).where(*here))
        if found is None:
            row = {"panel": self.panel, "reviewer": self.reviewer, "lane": lane, "task": 0}
            self.connection.execute(insert(cursors), row)
        return found or 0

    def _move(self, lane: str, start: int, to: int | None) -> int:
        """Put a cursor on the next task, or behind the last one of the panel if there is none."""
        if to is None:
            last = self.connection.scalar(select(func.max(tasks.c.task)).where(tasks.c.panel == self.panel))
            to = -1 if last is None else last
            to = max(start, to + 1)
        if to != start:
            here = cursors.c.panel == self.panel, cursors.c.reviewer == self.reviewer, cursors.c.lane == lane
            self.connection.execute(update(cursors).where(*here).values(task=to))
        return to

    def claim(self, found: Iterable[Task]) -> None:
        """Put tasks into the reviewer's hands."""
        numbers = [task.task for task in found]
        if not numbers:
            return
        here = self.mine, claims.c.task.in_(numbers)
        known = set(self.connection.scalars(select(claims.c.task).where(*here)))
        until = self.now + LEASE
        if known:
            self.connection.execute(update(claims).where(*here).values(until=until))
        if new := [number for number in numbers if number not in known]:
            row = {"panel": self.panel, "reviewer": self.reviewer, "until": until, "done": False}
            self.connection.execute(insert(claims), [{**row, "task": number} for number in new])

    def count(self, asked: int, gold: int) -> None:
        """Add to the numbers of questions that the reviewer was handed."""
        if asked or gold:
            here = reviewers.c.panel == self.panel, reviewers.c.reviewer == self.reviewer
            more = {"asked": reviewers.c.asked + asked, "gold": reviewers.c.gold + gold}
            self.connection.execute(update(reviewers).where(*here).values(**more))

    # ── as they are shown ────────────────────────────────────────────────────────────────────────────────────────

    def tasks(self, numbers: Sequence[int]) -> list[Task]:
        """Tasks with the questions that the reviewer can still answer, in the order of `numbers`."""
        if not numbers:
            return []
        at = and_(tasks.c.panel == questions.c.panel, tasks.c.task == questions.c.task)
        about = () if self.subject is None else (questions.c.subject == self.subject,)
        columns = tasks.c.task, tasks.c.kind, tasks.c.id, tasks.c.sha256, questions.c.question, questions.c.subject
        rows = self.connection.execute(
            select(*columns)
            .select_from(questions.join(tasks, at))
            .where(questions.c.panel == self.panel, questions.c.task.in_(numbers), *about, self.wanting)
        )
        found: dict[int, list[Any]] = {}
        for row in rows:
            found.setdefault(row.task, []).append(row)
        return [self._shown(found[number]) for number in numbers if number in found]

    def _shown(self, rows: Sequence[Any]) -> Task:
        shuffled = sorted(rows, key=lambda row: number_of(str(self.seed), self.reviewer, row.question))
        first = rows[0]
        asked = tuple(Question(row.question, row.subject) for row in shuffled)
        return Task(first.task, first.kind, first.id, first.sha256, asked)

    def gold_in(self, found: Collection[Task]) -> int:
        """Count the questions of some tasks that are gold."""
        keys = [one.question for task in found for one in task.questions]
        gold = questions.c.panel == self.panel, questions.c.question.in_(keys), questions.c.why == "gold"
        return int(self.connection.scalar(select(func.count()).select_from(questions).where(*gold)) or 0)


siblings = questions.alias("siblings")
