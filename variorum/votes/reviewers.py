"""The reviewers of a panel: they join with a name, are recognised by a secret, and can be paused."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata

from sqlalchemy import Engine, insert, select, update

from variorum.schemas.errors import VariorumError
from variorum.schemas.looks import look
from variorum.votes.checks import NAME, unfit_character
from variorum.votes.database import panels, reading, reviewers, writing


class NameRefused(VariorumError):
    """A reviewer can't have this name."""


def join(engine: Engine, panel: str, name: str, now: float, *, again: bool = False) -> tuple[str, str]:
    """Add a reviewer to a panel.

    Args:
        engine: the database.
        panel: key of the panel.
        name: that the person gives, up to 100 characters.
        now: seconds since 1970.
        again: for a name that has joined before: a new secret, after which the old one is worth nothing.

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
            raise NameRefused(f"{taken} has joined already; choose another name, or ask the organiser for a new link")
        if alike:
            connection.execute(update(reviewers).where(*here).values(secret=_digest(secret)))
        else:
            row = {"panel": panel, "reviewer": name, "secret": _digest(secret), "joined": now}
            connection.execute(insert(reviewers), row)
    return name, secret


def by_secret(engine: Engine, panel: str, secret: str) -> str | None:
    """Name of the reviewer who holds a secret, paused or not; None if nobody does."""
    with reading(engine) as connection:
        here = reviewers.c.panel == panel, reviewers.c.secret == _digest(secret)
        name: str | None = connection.scalar(select(reviewers.c.reviewer).where(*here))
    return name


def pause(engine: Engine, panel: str, reviewer: str, on: bool) -> bool:
    """Take no more votes of a reviewer, or take them again; those that were given still count.

    Returns:
        Whether there is such a reviewer.
    """
    if unfit_character(reviewer):
        return False
    with writing(engine, panel) as connection:
        here = reviewers.c.panel == panel, reviewers.c.reviewer == reviewer
        return bool(connection.execute(update(reviewers).where(*here).values(paused=on)).rowcount)


def pause_panel(engine: Engine, panel: str, on: bool) -> bool:
    """Take no more votes from anybody, or take them again.

    Returns:
        Whether there is such a panel.
    """
    with writing(engine, panel) as connection:
        return bool(connection.execute(update(panels).where(panels.c.panel == panel).values(paused=on)).rowcount)


def is_paused(engine: Engine, panel: str, reviewer: str | None = None) -> bool:
    """Whether the panel, or this reviewer in it, is paused."""
    with reading(engine) as connection:
        if connection.scalar(select(panels.c.paused).where(panels.c.panel == panel)):
            return True
        here = reviewers.c.panel == panel, reviewers.c.reviewer == reviewer
        return reviewer is not None and bool(connection.scalar(select(reviewers.c.paused).where(*here)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
