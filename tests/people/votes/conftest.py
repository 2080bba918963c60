from __future__ import annotations

import pytest
from databases import emptied, postgres

__all__ = ["postgres"]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request, tmp_path):
    """URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "votes.sqlite")
    return emptied(request.getfixturevalue("postgres"))


@pytest.fixture
def engine(database):
    """The database, open, with one small panel: see `small_panels.make_panel`."""
    from small_panels import make_panel

    from variorum.people.votes.database import open_database

    opened = open_database(database)
    make_panel(opened)
    yield opened
    opened.dispose()
