"""Databases for the tests of votes and of review: SQLite always, PostgreSQL where Debian's programs are installed."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def postgres():
    """URL of a private PostgreSQL server's database."""
    from postgres_server import programs, running_server

    if programs() is None:
        pytest.skip("no PostgreSQL here (make postgres)")
    with running_server() as url:
        yield url


def emptied(url):
    """The URL of a PostgreSQL database, without its tables."""
    from sqlalchemy import create_engine

    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return url
