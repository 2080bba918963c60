"""The database of votes: opened at once by many, cut off, locked, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from postgres_server import PASSWORD
from small_panels import NOW, PANEL, ballot, counted_again, counters, make_panel
from sqlalchemy import insert, select, text, update

from variorum.people.votes import database as votes_database
from variorum.people.votes.ballots import cast, counted, recount
from variorum.people.votes.database import open_database, panels, reading, votes, writing
from variorum.schemas.errors import StoreError, TemporaryError


def in_threads(number: int, work) -> list:
    """What `work(0)`, `work(1)` … return or raise, each in a thread, started together."""
    found, start = [None] * number, threading.Barrier(number)

    def one(place: int) -> None:
        start.wait()
        try:
            found[place] = work(place)
        except Exception as error:
            found[place] = error

    threads = [threading.Thread(target=one, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_many_make_the_tables_at_once(database):
    def work(place: int) -> int:
        engine = open_database(database)
        key = f"panel{place}"
        make_panel(engine, key)
        cast(engine, key, [ballot()], NOW)
        number = len(counted(engine, key))
        engine.dispose()
        return number

    assert in_threads(8, work) == [1] * 8


def test_writers_of_a_panel_follow_one_another(engine):
    """Each reads, then writes what it has read plus one."""

    def work(_: int) -> None:
        for _ in range(5):
            with writing(engine, PANEL) as connection:
                made = connection.scalar(select(panels.c.made))
                connection.execute(update(panels).values(made=made + 1))

    assert in_threads(6, work) == [None] * 6
    with reading(engine) as connection:
        assert connection.scalar(select(panels.c.made)) == NOW + 30


def test_a_reader_sees_one_state_and_waits_for_nobody(engine):
    cast(engine, PANEL, [ballot("ann")], NOW)
    with reading(engine) as connection:
        assert len(connection.execute(select(votes)).all()) == 1
        assert cast(engine, PANEL, [ballot("ben")], NOW)[0].state == "kept"
        assert len(connection.execute(select(votes)).all()) == 1
    with reading(engine) as connection:
        assert len(connection.execute(select(votes)).all()) == 2
    with reading(engine) as connection:
        assert connection.execute(select(votes)).first() is not None
        with writing(engine, PANEL):  # even while somebody writes
            assert len(connection.execute(select(votes)).all()) == 2


def test_a_transaction_that_fails_leaves_nothing(engine):
    before = counters(engine)
    with pytest.raises(StoreError, match=r"UNIQUE|unique|duplicate"), writing(engine, PANEL) as connection:  # noqa: PT012
        connection.execute(update(panels).values(paused=True))
        connection.execute(
            insert(panels), {"panel": PANEL, "edition": "e", "questions": "q", "paused": False, "made": 0}
        )
    assert counters(engine) == before
    assert cast(engine, PANEL, [ballot()], NOW)[0].state == "kept"


def test_sqlite_is_flushed_before_a_vote_is_acknowledged(tmp_path):
    engine = open_database(str(tmp_path / "100% sure?.sqlite"))
    with reading(engine) as connection:
        settings = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]
    assert (tmp_path / "100% sure?.sqlite").is_file()
    engine.dispose()


@pytest.mark.parametrize("before", [None, 0o644, 0o660])
def test_only_the_owner_may_read_the_votes(tmp_path, before):
    path = tmp_path / "votes.sqlite"
    if before is not None:
        open_database(str(path)).dispose()
        path.chmod(before)
    engine = open_database(str(path))
    with writing(engine, PANEL) as connection:
        make_row = {"panel": PANEL, "edition": "e", "questions": "q", "paused": False, "made": NOW}
        connection.execute(insert(panels), make_row)
    modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
    engine.dispose()
    assert modes == dict.fromkeys(("votes.sqlite", "votes.sqlite-wal", "votes.sqlite-shm"), 0o600)


def test_databases_that_are_none(tmp_path):
    (tmp_path / "text.sqlite").write_text("this is no database, and long enough to be looked at " * 40)
    for url, said in [
        (str(tmp_path / "nowhere" / "votes.sqlite"), "unable to open database file"),
        (str(tmp_path / "text.sqlite"), "file is not a database"),
        ("oracle9://host/x", "oracle9"),
        ("postgresql://user:hidden@host:port/x", "port"),
        ("mysql+nothing://user:hidden@host/x", "nothing"),
    ]:
        with pytest.raises(StoreError) as error:
            open_database(url)
        assert said in str(error.value)
        assert "hidden" not in str(error.value)
        assert "\n" not in str(error.value)


def test_a_locked_database_is_a_passing_trouble(tmp_path, monkeypatch):
    monkeypatch.setattr(votes_database, "BUSY_SECONDS", 0)
    engine = open_database(str(tmp_path / "votes.sqlite"))
    make_panel(engine)
    with writing(engine, PANEL), pytest.raises(TemporaryError, match="database is locked; try again"):
        cast(engine, PANEL, [ballot()], NOW)
    assert cast(engine, PANEL, [ballot()], NOW)[0].state == "kept"
    engine.dispose()


@pytest.mark.slow
def test_postgres_that_is_not_there(postgres, tmp_path):
    with pytest.raises(TemporaryError, match="No such file") as error:
        open_database(f"postgresql://variorum:{PASSWORD}@/postgres?host={tmp_path}")
    assert PASSWORD not in str(error.value)
    with pytest.raises(StoreError, match="password authentication failed") as refused:
        open_database(postgres.replace(PASSWORD, "guessed"))
    assert "guessed" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_lost_connection_is_a_passing_trouble(engine):
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'postgres'"
    )
    with pytest.raises(TemporaryError, match="try again") as error, writing(engine, PANEL) as connection:  # noqa: PT012
        connection.execute(update(panels).values(paused=True))
        with reading(engine) as other:
            other.execute(text(others))
        connection.execute(update(panels).values(paused=True))
    assert PASSWORD not in str(error.value)
    assert cast(engine, PANEL, [ballot()], NOW)[0].state == "kept"  # and nothing of the other is there


def test_killed_while_voting(database):
    """Two processes vote and are killed: what they were told is kept is there, once, and the counters fit."""
    engine = open_database(database)
    make_panel(engine)
    here = Path(__file__).parents[2] / "plugins"
    environment = {**os.environ, "PYTHONPATH": str(here)}
    command = [sys.executable, str(here / "voting_process.py"), database]
    people = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True, env=environment)
        for name in ("ann", "ben")
    ]
    told = [[person.stdout.readline() for _ in range(12)] for person in people]
    for person, lines in zip(people, told, strict=True):
        person.send_signal(signal.SIGKILL)
        lines += person.stdout.read().splitlines()
        person.stdout.close()
        assert person.wait(30) == -signal.SIGKILL
    acknowledged = [vote for lines in told for line in lines for vote in line.split() if len(vote) == 36]
    assert len(acknowledged) >= 24
    with reading(engine) as connection:
        there = Counter(connection.scalars(select(votes.c.vote)))
    assert set(acknowledged) <= set(there)
    assert set(there.values()) == {1}
    assert recount(engine, PANEL) == []
    assert counters(engine) == counted_again(engine)
    engine.dispose()
