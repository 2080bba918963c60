"""The reviewers of a panel: they join with a name, are recognised by a secret, and can be paused."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from typing import Any

from sqlalchemy import Connection, Engine, Exists, delete, exists, func, insert, inspect, not_, select, update

from variorum.people.votes.checks import NAME, unfit_character
from variorum.people.votes.database import arrivals, panels, reading, resumed, reviewers, votes, writing
from variorum.schemas.errors import VariorumError
from variorum.schemas.looks import look


class NameRefused(VariorumError):
    """A reviewer can't have this name."""


class NameTaken(NameRefused):
    """Somebody has this name, or one that looks the same."""


def join(
    engine: Engine,
    panel: str,
    name: str,
    now: float,
    *,
    again: bool = False,
    address: str = "",
    waiting: bool = False,
) -> tuple[str, str]:
    """Add a reviewer to a panel.

    Args:
        engine: the database.
        panel: key of the panel.
        name: that the person gives, up to 100 characters.
        now: seconds since 1970.
        again: for a name that has joined before: a new secret, after which the old one is worth nothing. Somebody who
            waited is confirmed by it.
        address: that the person joins from, by themselves; `""` if it says nothing.
        waiting: whether somebody has to confirm them first. Nobody has their secret until then.

    Returns:
        The name as it is kept, and the secret that only the person's browser holds. The database has its digest.

    Raises:
        NameRefused: no name, one that can't be kept, or one that is taken or looks like one that is.
    """
    if unfit := unfit_character(name):
        raise NameRefused(f"the name contains the character {unfit}; use letters, digits, spaces and signs")
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name or len(name) > NAME:
        raise NameRefused(f"the name has {len(name)} characters; it has 1 to {NAME}")
    if not (seen := look(name)):
        raise NameRefused("the name has no character that can be seen")
    secret = secrets.token_urlsafe(32)
    with writing(engine, panel) as connection:
        here = reviewers.c.panel == panel, reviewers.c.reviewer == name
        every = connection.scalars(select(reviewers.c.reviewer).where(reviewers.c.panel == panel))
        alike = {one for one in every if look(one) == seen}
        if alike and not (again and name in alike):
            taken = name if name in alike else min(alike)
            raise NameTaken(f"{taken} has joined already; choose another name, or ask the organiser for a new link")
        if alike:
            connection.execute(update(reviewers).where(*here).values(secret=_digest(secret)))
            came = arrivals.c.panel == panel, arrivals.c.reviewer == name
            connection.execute(update(arrivals).where(*came).values(waiting=False))
        else:
            row = {"panel": panel, "reviewer": name, "secret": _digest(secret), "joined": now}
            connection.execute(insert(reviewers), row)
            if address or waiting:
                arrival = {"panel": panel, "reviewer": name, "address": address, "waiting": waiting}
                connection.execute(insert(arrivals), arrival)
    return name, secret


def by_secret(engine: Engine, panel: str, secret: str) -> str | None:
    """Name of the reviewer who holds a secret, paused or not; None if nobody does, or they have to be confirmed."""
    return _holder(engine, panel, secret, not_(waits()))


def waiting_by_secret(engine: Engine, panel: str, secret: str) -> str | None:
    """Name of the person who holds a secret and has to be confirmed; None if nobody does."""
    return _holder(engine, panel, secret, waits())


def _holder(engine: Engine, panel: str, secret: str, and_so: Any) -> str | None:
    with reading(engine) as connection:
        here = reviewers.c.panel == panel, reviewers.c.secret == _digest(secret), and_so
        name: str | None = connection.scalar(select(reviewers.c.reviewer).where(*here))
    return name


def waits() -> Exists:
    """Return whether a row of `reviewers` is of somebody who has to be confirmed."""
    same = arrivals.c.panel == reviewers.c.panel, arrivals.c.reviewer == reviewers.c.reviewer
    return exists().where(*same, arrivals.c.waiting).correlate(reviewers)


def admit(engine: Engine, panel: str, reviewer: str, yes: bool) -> bool:
    """Confirm a person who waits, or forget them.

    Returns:
        Whether there is such a person.
    """
    if unfit_character(reviewer):
        return False
    with writing(engine, panel) as connection:
        came = arrivals.c.panel == panel, arrivals.c.reviewer == reviewer, arrivals.c.waiting
        if yes:
            return bool(connection.execute(update(arrivals).where(*came).values(waiting=False)).rowcount)
        if found := bool(connection.execute(delete(arrivals).where(*came)).rowcount):
            here = reviewers.c.panel == panel, reviewers.c.reviewer == reviewer
            connection.execute(delete(reviewers).where(*here))
        return found


def arrived(connection: Connection, panel: str) -> dict[str, tuple[bool, list[str]]]:
    """By reviewer who joined by the link for all: whether they wait, and who else joined from the same address."""
    if not inspect(connection).has_table(arrivals.name):  # a database of an earlier version on a read-only disk
        return {}
    rows = connection.execute(select(arrivals).where(arrivals.c.panel == panel).order_by(arrivals.c.reviewer)).all()
    together: dict[str, list[str]] = {}
    for row in rows:
        together.setdefault(row.address, []).append(row.reviewer)
    return {
        row.reviewer: (
            row.waiting,
            [one for one in together[row.address] if one != row.reviewer] if row.address else [],
        )
        for row in rows
    }


def pause(engine: Engine, panel: str, reviewer: str, on: bool) -> bool:
    """Take no more votes of a reviewer, or take them again; those that were given still count.

    Who goes on isn't judged by earlier votes again when somebody is paused by rule (`panel.haste`).

    Returns:
        Whether there is such a reviewer.
    """
    if unfit_character(reviewer):
        return False
    with writing(engine, panel) as connection:
        here = reviewers.c.panel == panel, reviewers.c.reviewer == reviewer
        if not on:
            last = connection.scalar(select(func.max(votes.c.number))) or 0
            connection.execute(delete(resumed).where(resumed.c.panel == panel, resumed.c.reviewer == reviewer))
            connection.execute(insert(resumed), {"panel": panel, "reviewer": reviewer, "number": last})
        return bool(connection.execute(update(reviewers).where(*here).values(paused=on)).rowcount)


def pause_panel(engine: Engine, panel: str, on: bool) -> bool:
    """Take no more votes from anybody, or take them again.

    Returns:
        Whether there is such a panel.
    """
    with writing(engine, panel) as connection:
        return bool(connection.execute(update(panels).where(panels.c.panel == panel).values(paused=on)).rowcount)


def is_paused(engine: Engine, panel: str, reviewer: str | None = None) -> bool:
    """Return whether the panel, or this reviewer in it, is paused."""
    with reading(engine) as connection:
        if connection.scalar(select(panels.c.paused).where(panels.c.panel == panel)):
            return True
        here = reviewers.c.panel == panel, reviewers.c.reviewer == reviewer
        return reviewer is not None and bool(connection.scalar(select(reviewers.c.paused).where(*here)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
