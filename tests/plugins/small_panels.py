"""Small panels to vote in, and votes for them."""

from __future__ import annotations

import uuid
from collections import defaultdict

from sqlalchemy import insert, select

from variorum.people.votes.database import claims, panels, questions, reading, tasks, votes, writing
from variorum.schemas.vote import Vote, question_key

PANEL = "birds@1.0.0/main"
CLASSES = ("heron", "stork", "crane", "ibis")
NOW = 1_700_000_000.0


def picture(number: int) -> tuple[str, str]:
    """Id and sha256 of a picture."""
    return f"picture{number}", f"{number:064x}"


def make_panel(engine, key=PANEL, *, pictures=3, wanted=2, gold=1) -> None:
    """A panel: for each picture a task that asks for two labels; the last `gold` ones are gold; one edit, one box."""
    rows, asked = [], []
    for number in range(pictures):
        name, sha256 = picture(number)
        why = "gold" if number >= pictures - gold else "asked"
        rows.append((number, "label", name, sha256, why))
        asked += [(number, "label", subject, why, "yes" if why == "gold" else "") for subject in CLASSES[:2]]
    for kind, subject in (("edit", ""), ("box", "0")):
        name, sha256 = picture(0)
        asked.append((len(rows), kind, subject, "asked", ""))
        rows.append((len(rows), kind, name, sha256, "asked"))
    with writing(engine, key) as connection:
        connection.execute(
            insert(panels), {"panel": key, "edition": "e", "questions": "q", "paused": False, "made": NOW}
        )
        connection.execute(
            insert(tasks),
            [
                {"panel": key, "task": task, "kind": kind, "id": name, "sha256": sha256, "why": why, "wanted": wanted,
                 "open": True, "disputed": False}
                for task, kind, name, sha256, why in rows
            ],
        )  # fmt: skip
        connection.execute(
            insert(questions),
            [
                {"panel": key, "question": question_key(kind, *rows[task][2:4], subject), "task": task, "kind": kind,
                 "subject": subject, "why": why, "truth": truth}
                for task, kind, subject, why, truth in asked
            ],
        )  # fmt: skip


def ballot(reviewer="ann", subject="heron", answer="yes", number=0, kind="label", vote="", **others) -> Vote:
    """A vote on the panel of `make_panel`."""
    name, sha256 = picture(number)
    return Vote(vote or str(uuid.uuid4()), kind, name, sha256, subject, reviewer, answer, **others)


def question(engine, subject="heron", number=0, kind="label", panel=PANEL):
    """The row of a question."""
    key = question_key(kind, *picture(number), subject)
    with reading(engine) as connection:
        return connection.execute(
            select(questions).where(questions.c.panel == panel, questions.c.question == key)
        ).one_or_none()


def task(engine, number=0, panel=PANEL):
    """The row of a task."""
    with reading(engine) as connection:
        return connection.execute(select(tasks).where(tasks.c.panel == panel, tasks.c.task == number)).one()


def done(engine, panel=PANEL) -> set[tuple[str, int]]:
    """Who has finished which task, as the database has it."""
    with reading(engine) as connection:
        rows = connection.execute(select(claims).where(claims.c.panel == panel, claims.c.done))
        return {(row.reviewer, row.task) for row in rows}


def counters(engine, panel=PANEL):
    """All counters of a panel as they are kept: of questions, of tasks, and who has finished what."""
    with reading(engine) as connection:
        of_questions = {
            row.question: (row.votes, row.open)
            for row in connection.execute(select(questions).where(questions.c.panel == panel))
        }
        of_tasks = {
            row.task: (row.open, row.disputed)
            for row in connection.execute(select(tasks).where(tasks.c.panel == panel))
        }
    return of_questions, of_tasks, done(engine, panel)


def counted_again(engine, panel=PANEL):
    """What `counters` should be, from all rows of votes ever written, without their column `counts`."""
    with reading(engine) as connection:
        rows = list(connection.execute(select(votes).where(votes.c.panel == panel).order_by(votes.c.number)))
        asked = list(connection.execute(select(questions).where(questions.c.panel == panel)))
        wanted = {row.task: row for row in connection.execute(select(tasks).where(tasks.c.panel == panel))}
    replaced = {row.replaces for row in rows if row.replaces}
    valid = [row for row in rows if row.answer and row.vote not in replaced]
    blind, decided, problem = defaultdict(dict), set(), defaultdict(set)
    for row in valid:
        if row.kind == "problem" and row.round == 1 and row.answer == "yes":
            problem[row.id].add(row.reviewer)
        elif row.round == 1:
            assert row.reviewer not in blind[row.question], "two votes that count"
            blind[row.question][row.reviewer] = row.answer
        else:
            decided.add(row.question)
    of_questions, of_tasks, finished = {}, {}, set()
    for row in asked:
        had_say = set(blind[row.question]) | problem[wanted[row.task].id]
        of_questions[row.question] = (
            len(blind[row.question]), row.why == "gold" or len(had_say) < wanted[row.task].wanted,
        )  # fmt: skip
    for number, row in wanted.items():
        mine = [one.question for one in asked if one.task == number]
        is_open = any(of_questions[key][1] for key in mine)
        split = [key for key in mine if len(set(blind[key].values())) == 2 or len(set(blind[key].values())) == 3]
        of_tasks[number] = is_open, not is_open and any(key not in decided for key in split)
        people = {one.reviewer for one in rows}
        for who in people:
            if who in problem[row.id] or all(who in blind[key] for key in mine):
                finished.add((who, number))
    return of_questions, of_tasks, finished
