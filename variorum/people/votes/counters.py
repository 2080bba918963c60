"""Count the votes of a panel: open questions, disputes, finished tasks by reviewer.

The counters are kept beside the votes, so that nobody has to count a million votes to find the next question. They are
written in the transaction that writes the votes, and `recount` finds them again from the votes alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from variorum.people.votes.database import claims, cursors, questions, reading, tasks, votes
from variorum.schemas.vote import BLIND, TOGETHER, question_key

PIECE = 400
"""Values in one statement's list, and tasks that are looked at together."""


@dataclass(slots=True)
class _State:
    """A task as it is kept, and the votes that count on it.

    Attributes:
        task: its row.
        questions: rows of its questions.
        blind: answers by question and reviewer.
        decided: questions with a decision.
        problem: reviewers who say that the picture can't be judged.
        claims: by reviewer, whether they are kept as finished.
    """

    task: Any
    questions: list[Any] = field(default_factory=list)
    blind: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    decided: set[str] = field(default_factory=set)
    problem: set[str] = field(default_factory=set)
    claims: dict[str, bool] = field(default_factory=dict)

    def question(self, row: Any) -> tuple[int, bool]:
        """The number of blind votes, and whether more are wanted.

        Gold is never complete: everybody may be asked it. Who says that the picture can't be judged has had their say.
        """
        voters = self.blind[row.question].keys()
        return len(voters), row.why == "gold" or len(voters | self.problem) < self.task.wanted

    def whole(self) -> tuple[bool, bool]:
        """Return whether a question of the task is open, and whether it is disputed."""
        is_open = any(self.question(row)[1] for row in self.questions)
        split = (len(set(self.blind[row.question].values())) > 1 for row in self.questions)
        undecided = (row.question not in self.decided for row in self.questions)
        return is_open, not is_open and any(a and b for a, b in zip(split, undecided, strict=True))

    def finished(self) -> dict[str, bool]:
        """By reviewer who has a claim or has voted: whether nothing of the task is left for them."""
        answered = [self.blind[row.question].keys() for row in self.questions]
        people = {*self.claims, *self.problem, *(one for voters in answered for one in voters)}
        return {one: one in self.problem or all(one in voters for voters in answered) for one in sorted(people)}


def refresh(connection: Connection, panel: str, touched: Collection[int]) -> None:
    """Bring the counters of some tasks up to date, in the transaction that has changed their votes or questions."""
    reopened = list[int]()
    lines = dict[str, list[dict[str, Any]]](questions=[], tasks=[], done=[], new=[])
    for state in _states(connection, panel, sorted(touched)):
        number = state.task.task
        for row in state.questions:
            given, is_open = state.question(row)
            if (row.votes, row.open) != (given, is_open):
                lines["questions"].append({"key": row.question, "given": given, "is_open": is_open})
        is_open, disputed = state.whole()
        if (state.task.open, state.task.disputed) != (is_open, disputed):
            lines["tasks"].append({"number": number, "is_open": is_open, "is_disputed": disputed})
        back = is_open and not state.task.open
        for who, done in state.finished().items():
            if who not in state.claims:
                lines["new"].append({"panel": panel, "reviewer": who, "task": number, "until": 0.0, "done": done})
            elif state.claims[who] != done:
                lines["done"].append({"who": who, "number": number, "is_done": done})
                back = back or not done
        if back and state.task.why != "gold":
            reopened.append(number)
    _write(connection, panel, lines)
    if reopened:  # nobody may pass by it
        first = min(reopened)
        behind = (cursors.c.panel == panel) & (cursors.c.task > first)
        connection.execute(update(cursors).where(behind).values(task=first))


def _write(connection: Connection, panel: str, lines: dict[str, list[dict[str, Any]]]) -> None:
    whose = {table: table.c.panel == panel for table in (questions, tasks, claims)}
    statements = {
        "questions": update(questions)
        .where(whose[questions], questions.c.question == bindparam("key"))
        .values(votes=bindparam("given"), open=bindparam("is_open")),
        "tasks": update(tasks)
        .where(whose[tasks], tasks.c.task == bindparam("number"))
        .values(open=bindparam("is_open"), disputed=bindparam("is_disputed")),
        "done": update(claims)
        .where(whose[claims], claims.c.reviewer == bindparam("who"), claims.c.task == bindparam("number"))
        .values(done=bindparam("is_done")),
        "new": insert(claims),
    }
    for name, statement in statements.items():
        if lines[name]:
            connection.execute(statement, lines[name])


def recount(engine: Engine, panel: str) -> list[str]:
    """Where the counters differ from what the votes add up to, a sentence each; empty if all is well."""
    found = list[str]()
    with reading(engine) as connection:
        numbers = list(connection.scalars(select(tasks.c.task).where(tasks.c.panel == panel).order_by(tasks.c.task)))
        for state in _states(connection, panel, numbers):
            for row in state.questions:
                if (row.votes, row.open) != (now := state.question(row)):
                    found.append(f"question {row.question}: votes and open are {(row.votes, row.open)}, not {now}")
            kept = state.task.open, state.task.disputed
            if kept != (whole := state.whole()):
                found.append(f"task {state.task.task}: open and disputed are {kept}, not {whole}")
            if state.claims != (done := state.finished()):
                found.append(f"task {state.task.task}: finished are {state.claims}, not {done}")
    return found


def pieces(values: Collection[Any], size: int = PIECE) -> Iterator[list[Any]]:
    """Values in lists that fit into one statement."""
    whole = list(values)
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def _states(connection: Connection, panel: str, numbers: Sequence[int]) -> Iterator[_State]:
    for some in pieces(numbers):
        rows = connection.execute(select(tasks).where(tasks.c.panel == panel, tasks.c.task.in_(some)))
        found = {row.task: _State(row) for row in rows}
        keys: dict[str, list[_State]] = defaultdict(list)
        problems: dict[str, list[_State]] = defaultdict(list)
        asked = select(questions).where(questions.c.panel == panel, questions.c.task.in_(some))
        for row in sorted(connection.execute(asked), key=lambda row: row.question):  # SQLite would scan the keys
            found[row.task].questions.append(row)
            keys[row.question].append(found[row.task])
        for state in found.values():
            problems[question_key("problem", state.task.id, state.task.sha256)].append(state)
        for row in connection.execute(select(claims).where(claims.c.panel == panel, claims.c.task.in_(some))):
            found[row.task].claims[row.reviewer] = row.done
        for few in pieces([*keys, *problems]):
            counting = votes.c.panel == panel, votes.c.counts, votes.c.question.in_(few)
            columns = votes.c.question, votes.c.reviewer, votes.c.round, votes.c.answer
            for key, who, round_, answer in connection.execute(select(*columns).where(*counting)):
                for state in keys.get(key, ()):
                    if round_ == BLIND:
                        state.blind[key][who] = answer
                    elif round_ == TOGETHER:
                        state.decided.add(key)
                for state in problems.get(key, ()):
                    if round_ == BLIND and answer == "yes":
                        state.problem.add(who)
        yield from found.values()
