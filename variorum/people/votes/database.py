"""The database of panels: their questions, reviewers, claims on tasks, and votes.

It is SQLite by default, in WAL mode, so that readers don't wait for a writer, and flushed to disk before a vote is
acknowledged. Any PostgreSQL works as well, by its URL. All times are of the clock of the machine that serves.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from variorum.schemas.errors import StoreError, TemporaryError, VariorumError
from variorum.schemas.extras import needs
from variorum.schemas.secrets import shown

BUSY_SECONDS = 30
"""How long a writer waits for another one."""
CONNECTIONS = 16
"""Connections that are kept; as many more are made when they are needed."""
ADDED = 1 << 30
"""From this number on, tasks are made by reviewers who typed in a label. Those of a panel's questions lie below."""
LOCK = 0x766F7465
"""Key of PostgreSQL's lock that processes take while they make the tables."""

metadata = MetaData()

panels = Table(
    "panels",
    metadata,
    Column("panel", String(200), primary_key=True),
    Column("edition", String(64), nullable=False),  # digest of the edition's manifest
    Column("questions", String(64), nullable=False),  # sha256 of questions.parquet, which is loaded below
    Column("paused", Boolean, nullable=False, default=False),
    Column("made", Float, nullable=False),
)
"""A panel: a set of questions about one edition, put to several people."""

tasks = Table(
    "tasks",
    metadata,
    Column("panel", String(200), primary_key=True),
    Column("task", Integer, primary_key=True, autoincrement=False),  # the order of asking
    Column("kind", String(16), nullable=False),
    Column("id", String(64), nullable=False),  # the picture
    Column("sha256", String(64), nullable=False),
    Column("why", String(8), nullable=False),  # gold tasks are a pool of their own, which everybody is asked from
    Column("wanted", Integer, nullable=False),  # votes for each of its questions
    Column("open", Boolean, nullable=False),  # whether a question lacks votes
    Column("disputed", Boolean, nullable=False, default=False),  # complete, not unanimous, and not decided together
    Index("tasks_open", "panel", "open", "kind", "why", "task"),
    Index("tasks_disputed", "panel", "disputed", "task"),
    Index("tasks_picture", "panel", "id"),
)
"""Questions of one kind about one picture, which are shown together."""

questions = Table(
    "questions",
    metadata,
    Column("panel", String(200), primary_key=True),
    Column("question", String(32), primary_key=True),  # its key
    Column("task", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("why", String(8), nullable=False),
    Column("truth", String(8), nullable=False, default=""),  # of gold: yes or no; never sent to a browser
    Column("votes", Integer, nullable=False, default=0),  # blind votes that count
    Column("open", Boolean, nullable=False, default=True),
    ForeignKeyConstraint(["panel", "task"], ["tasks.panel", "tasks.task"]),
    Index("questions_task", "panel", "task"),
    Index("questions_subject", "panel", "open", "kind", "subject", "task"),
    Index("questions_counts", "panel", "kind", "why", "open", "votes"),
)

reviewers = Table(
    "reviewers",
    metadata,
    Column("panel", String(200), primary_key=True),
    Column("reviewer", String(100), primary_key=True),  # name
    Column("secret", String(64), nullable=False, unique=True),  # sha256 of what the browser's cookie holds
    Column("paused", Boolean, nullable=False, default=False),
    Column("joined", Float, nullable=False),
    Column("asked", Integer, nullable=False, default=0),  # questions that they were handed
    Column("gold", Integer, nullable=False, default=0),  # those of them whose answer is known
)

arrivals = Table(
    "arrivals",
    metadata,
    Column("panel", String(200), primary_key=True),
    Column("reviewer", String(100), primary_key=True),
    Column("address", String(64), nullable=False),  # that they joined from; "" where all have the same one
    Column("waiting", Boolean, nullable=False),  # for somebody to confirm them
)
"""How reviewers came who joined by the link for all. Others were invited, or came before this was kept."""

resumed = Table(
    "resumed",
    metadata,
    Column("panel", String(200), primary_key=True),
    Column("reviewer", String(100), primary_key=True),
    Column(
        "number", Integer, nullable=False
    ),  # of the last vote before; what they did until then isn't held against them
)
"""Reviewers whom the organiser let go on after a pause."""

cursors = Table(
    "cursors",
    metadata,
    Column("panel", String(200), primary_key=True),
    Column("reviewer", String(100), primary_key=True),
    Column("lane", Text, primary_key=True),  # questions that are handed out in one order: a kind, or a subject of it
    Column("task", Integer, nullable=False),
)
"""Tasks of a lane before this one needn't be looked at for this reviewer, unless they have a claim on them."""

claims = Table(
    "claims",
    metadata,
    Column("panel", String(200), primary_key=True),
    Column("reviewer", String(100), primary_key=True),
    Column("task", Integer, primary_key=True),
    Column("until", Float, nullable=False),  # then others may have it; below 0 for one that was skipped
    Column("done", Boolean, nullable=False, default=False),
    Index("claims_task", "panel", "task", "reviewer", "done", "until"),
    Index("claims_done", "panel", "reviewer", "done", "until", "task"),
)
"""Claims of reviewers on tasks, open or done."""

votes = Table(
    "votes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("panel", String(200), nullable=False),
    Column("vote", String(64), nullable=False),
    Column("question", String(32), nullable=False),
    Column("task", Integer),  # None for votes that were imported without one
    Column("kind", String(16), nullable=False),
    Column("id", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("reviewer", String(100), nullable=False),
    Column("round", Integer, nullable=False),
    Column("answer", String(8), nullable=False),  # "" takes the vote `replaces` back
    Column("category", String(32), nullable=False, default=""),
    Column("severity", String(16), nullable=False, default=""),
    Column("reason", String(32), nullable=False, default=""),
    Column("comment", Text, nullable=False, default=""),
    Column("box", Text, nullable=False, default=""),  # JSON
    Column("seconds", Float),
    Column("at", Float, nullable=False),
    Column("replaces", String(64), nullable=False, default=""),
    # False for what takes a vote back, and for a vote once it is replaced or taken back: the only change to a row.
    Column("counts", Boolean, nullable=False, default=True),
    UniqueConstraint("panel", "vote"),
    Index("votes_question", "panel", "question", "reviewer", "round", "counts", "answer", "kind"),
    Index("votes_reviewer", "panel", "reviewer", "counts", "round", "number", "kind"),
)


def open_database(url: str, *, writable: bool = True) -> Engine:
    """The database behind a URL, or a SQLite file by its path, with its tables made if they are missing.

    Only its owner may read a SQLite file, whatever its permissions were before.

    Args:
        url: of the database, or path of a SQLite file.
        writable: False for a database that is only read; then a SQLite file may be on a read-only disk.

    Raises:
        StoreError: no such database, no driver for it, or it can't be used.
        TemporaryError: it can't be reached.
    """
    try:
        where = _place(url)
        if where.drivername == "sqlite" and not writable and not _may_write(Path(str(where.database))):
            return _read_only(where)
        options = {"connect_timeout": 10} if where.drivername == POSTGRESQL else {}
        engine = create_engine(
            where,
            pool_pre_ping=True,
            pool_size=CONNECTIONS,
            max_overflow=CONNECTIONS,
            connect_args={key: value for key, value in options.items() if key not in where.query},
        )
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise StoreError(
            f"database {shown(url)}: {error}; give a SQLite file, or postgresql://user@host/name, which "
            f"{needs('', 'psycopg').strip()}"
        ) from None
    if engine.dialect.name == "sqlite":
        _keep_private(str(where.database))
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_at_once)
    with _errors(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        metadata.create_all(connection)
    if engine.dialect.name == "sqlite":
        _watch(engine, str(where.database))
    return engine


POSTGRESQL = "postgresql+psycopg"
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": POSTGRESQL,
    "postgres": POSTGRESQL,
    POSTGRESQL: POSTGRESQL,
}
"""Schemes of URLs, and the drivers behind them."""


def _place(url: str) -> URL:
    """Where a database is. Raises ValueError or SQLAlchemy's ArgumentError for what can't be one."""
    if "://" not in url:
        where = URL.create("sqlite", database=url)
    elif url.partition("?")[0].count("@") > 1:  # the rest of the password would be taken for the host's name
        raise ValueError("an @ within a password is written as %40")
    else:
        where = make_url(url)
    if where.drivername not in DRIVERS:
        raise ValueError(f"{where.drivername!a} isn't supported")
    where = where.set(drivername=DRIVERS[where.drivername])
    if where.drivername == "sqlite" and (where.query or where.database in (None, "", ":memory:")):
        raise ValueError("votes are kept in a file, which is given by its path alone")
    return where


def is_read_only(engine: Engine) -> bool:
    """Return whether nothing can be written to a database, because it is on a read-only disk."""
    return bool(engine.get_execution_options().get("variorum_reads"))


def _may_write(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _read_only(where: URL) -> Engine:
    """A SQLite file on a read-only disk, where SQLite can't make the files that it keeps beside one in WAL mode."""
    path = Path(str(where.database)).absolute()
    if not path.exists():
        raise StoreError(f"database {path}: no such file, and none can be made on a read-only disk; nobody has voted")
    log = path.with_name(f"{path.name}-wal")  # has the last votes after a crash, and while a server runs
    how = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    engine = create_engine(
        where,
        creator=lambda: sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, check_same_thread=False),
        execution_options={"variorum_reads": True},
    )
    event.listen(engine, "connect", _set_up_reader)
    event.listen(engine, "begin", _begin_at_once)
    with reading(engine) as connection:
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master")
    return engine


def _keep_private(path: str) -> None:
    """Make a SQLite file if it is missing, and take it and those beside it from everybody but their owner."""
    with suppress(OSError):  # SQLite says what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with suppress(FileNotFoundError, PermissionError):  # somebody else's, who lets us
            if (mode := os.stat(name).st_mode) & 0o077:
                os.chmod(name, mode & 0o700)


@contextmanager
def writing(engine: Engine, panel: str, *, lasting: bool = True) -> Iterator[Connection]:
    """A transaction that writes to a panel. Those of one panel follow one another, so that what they count is true.

    The panel's row is the one lock, and it is taken first, so that no two transactions wait for each other.

    Args:
        engine: the database.
        panel: key of the panel.
        lasting: whether it is on disk when the context ends. Without that a power cut, though no crash of a program,
            may undo what no lasting transaction has followed: good for who is busy with what, not for votes.

    Raises:
        TemporaryError: the database is busy or can't be reached. Nothing has been written, unless the connection was
            lost while the transaction ended.
        StoreError: the database is damaged, full, or can't be written.
    """
    with _errors(engine), engine.execution_options(variorum_lasting=lasting).begin() as connection:
        if engine.dialect.name != "sqlite":  # SQLite has one writer anyway
            connection.execute(select(panels.c.panel).where(panels.c.panel == panel).with_for_update())
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads. It waits for no writer, and sees one state of the database throughout.

    Raises:
        TemporaryError, StoreError: as in `writing`.
    """
    options: dict[str, Any] = {"variorum_reads": True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _errors(engine), engine.connect().execution_options(**options) as connection:
        yield connection


@contextmanager
def _errors(engine: Engine) -> Iterator[None]:
    """Errors of the database become one line, without the statement, its values and the password."""
    try:
        yield
    except PoolTimeout:
        raise TemporaryError(f"database {_name(engine)}: all connections are busy; try again") from None
    except DBAPIError as error:
        raise _explained(error, engine) from None


def _explained(error: DBAPIError, engine: Engine) -> VariorumError:
    what = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    line = f"database {_name(engine)}: {what[0]}"
    lasting = any(
        word in what[0] for word in ("unable to open", "readonly", "no such", "does not exist", "authentication")
    )
    if isinstance(error, (OperationalError, InterfaceError)) and not lasting:
        return TemporaryError(f"{line}; try again")
    return StoreError(line)


def _name(engine: Engine) -> str:
    return engine.url.database or "" if engine.dialect.name == "sqlite" else shown(str(engine.url))


def _set_up_reader(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Set WAL mode. Where several set it in a new file at once, SQLite refuses all but one without waiting."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
        time.sleep(0.02)


def _watch(engine: Engine, path: str) -> None:
    """Refuse all transactions once the file isn't the one that was opened.

    Connections that are open go on with a file that has been removed, and new ones make another: what is written to
    either is lost.
    """
    opened = _identity(path)

    def check(*_: Any) -> None:
        if _identity(path) != opened:
            raise StoreError(
                f"database {path}: the file has been removed or replaced since it was opened; nothing is written to "
                "it any more: stop, put the right file there, and start again"
            )

    event.listen(engine, "do_connect", check)
    event.listen(engine, "begin", check, insert=True)


def _identity(path: str) -> tuple[int, int] | None:
    """Identify a file; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin_at_once(connection: Connection) -> None:
    """Writers take the lock first: one that reads and then can't write would fail instead of waiting."""
    options = connection.get_execution_options()
    if options.get("variorum_reads"):
        connection.exec_driver_sql("BEGIN")
        return
    wanted = "FULL" if options.get("variorum_lasting", True) else "NORMAL"
    if connection.info.get("synchronous", "FULL") != wanted:
        connection.exec_driver_sql(f"PRAGMA synchronous={wanted}")
        connection.info["synchronous"] = wanted
    connection.exec_driver_sql("BEGIN IMMEDIATE")
