"""Loading a panel's questions into its database: in pieces of whole tasks, so that it goes on where it was stopped.

The panel's own row is written last and names the questions, so a panel whose loading was cut short is never taken for a
whole one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from variorum.machine.progress import Progress
from variorum.people.votes.columns import question_keys as keys_of
from variorum.people.votes.database import ADDED, cursors, is_read_only, panels, questions, reading, tasks, writing
from variorum.schemas.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

    from variorum.people.panel.settings import PanelRecord

PIECE = 50_000
"""Questions that are loaded in one transaction, about."""
CACHE_KIB = 1 << 17
"""Memory for pages of a SQLite file while it is filled."""


def load(engine: Engine, record: PanelRecord, read: Callable[[], Any], progress: Progress) -> None:
    """Bring the questions of a panel into the database, those that aren't there.

    Raises:
        StoreError: the database has other questions under the panel's name.
    """
    with reading(engine) as connection:
        there = connection.execute(select(panels).where(panels.c.panel == record.key)).mappings().first()
        mine = tasks.c.panel == record.key, tasks.c.task < ADDED
        last = connection.execute(select(func.max(tasks.c.task)).where(*mine)).scalar()
    if there is not None and there["questions"] == record.questions and there["edition"] == record.edition:
        return
    if there is None and is_read_only(engine):
        raise StoreError(f"database {engine.url.database} has no votes of panel {record.key}, and can't be written")
    if there is not None and (there["edition"] != record.edition or there["questions"] not in record.earlier):
        raise _other(engine, record)
    if is_read_only(engine):  # it has the questions of an earlier ledger, and their votes
        return
    table = read()
    done = 0 if last is None else int(np.searchsorted(table["task"].to_numpy(), last, side="right"))
    progress.start("loading questions", len(table), done)
    for piece in pieces(table.slice(done)):
        with writing(engine, record.key) as connection:
            _insert(connection, record, piece)
        progress.advance(len(piece))
    with writing(engine, record.key) as connection:
        _check(connection, engine, record, table)
        if there is not None:  # who has reached the end, also that of gold, goes on with the new ones
            connection.execute(update(cursors).where(cursors.c.panel == record.key).values(task=0))
        connection.exec_driver_sql("ANALYZE")  # otherwise queries for a few tasks may scan all questions
        row = {"panel": record.key, "edition": record.edition, "questions": record.questions}
        _add(connection, panels, [{**row, "paused": False, "made": time.time()}])
        own = panels.update().where(panels.c.panel == record.key, panels.c.edition == record.edition)
        connection.execute(own.values(questions=record.questions))


def pieces(table: Any) -> Iterator[Any]:
    """A table of questions in pieces of about `PIECE` rows, none of which ends within a task."""
    task = table["task"].to_numpy()
    start = 0
    while start < len(table):
        stop = min(start + PIECE, len(table))
        stop = int(np.searchsorted(task, task[stop - 1], side="right"))
        yield table.slice(start, stop - start)
        start = stop


def question_keys(piece: Any) -> list[str]:
    """`question_key` of every row of a piece."""
    return keys_of(*(piece[name].to_pylist() for name in ("kind", "id", "sha256", "subject")))


def _insert(connection: Connection, record: PanelRecord, piece: Any) -> None:
    if connection.dialect.name == "sqlite":  # keys come in no order, and each touches another page of the index
        connection.exec_driver_sql(f"PRAGMA cache_size=-{CACHE_KIB}")
    columns = {name: piece[name].to_pylist() for name in piece.column_names}
    numbers, whys = columns["task"], columns["why"]
    gold = {task for task, why in zip(numbers, whys, strict=True) if why == "gold"}
    first = {task: row for row, task in zip(range(len(numbers) - 1, -1, -1), reversed(numbers), strict=True)}
    new_tasks = [
        {
            "panel": record.key,
            "task": task,
            "kind": columns["kind"][row],
            "id": columns["id"][row],
            "sha256": columns["sha256"][row],
            "why": "gold" if task in gold else whys[row],
            "wanted": record.settings.votes,
            "open": True,
            "disputed": False,
        }
        for task, row in first.items()
    ]
    names = ("task", "kind", "subject", "why", "truth")
    rows = zip(question_keys(piece), *(columns[name] for name in names), strict=True)
    new_questions = [
        {"panel": record.key, "question": key, **dict(zip(names, row, strict=True)), "votes": 0, "open": True}
        for key, *row in sorted(rows)  # neighbours in the index are written together
    ]
    _add(connection, tasks, new_tasks)
    _add(connection, questions, new_questions)


def _add(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows that aren't there already, by the driver itself: SQLAlchemy would look at every value."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement: Any = dialect.insert(table).on_conflict_do_nothing().compile(dialect=connection.dialect)
    order = statement.positiontup
    values = rows if order is None else [tuple(row[name] for name in order) for row in rows]
    connection.exec_driver_sql(str(statement), values)


def _check(connection: Connection, engine: Engine, record: PanelRecord, table: Any) -> None:
    """Raise StoreError unless the database has exactly the panel's tasks."""
    mine = tasks.c.panel == record.key, tasks.c.task < ADDED
    found = connection.execute(select(func.count()).select_from(tasks).where(*mine)).scalar_one()
    if found != len(np.unique(table["task"].to_numpy())):
        raise _other(engine, record)


def _other(engine: Engine, record: PanelRecord) -> StoreError:
    where = engine.url.render_as_string(hide_password=True)
    return StoreError(
        f"{where} has other questions under the name {record.key}; name another database with --database, or publish "
        "the panel under another name with --name"
    )
