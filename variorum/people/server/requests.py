"""Check requests of browsers: size, depth, fields and their types.

Whether a vote makes sense is decided where it is cast. Here it only gets the right shape.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from variorum.edition.samples import strict_json
from variorum.schemas.lookup import cut
from variorum.schemas.vote import Vote

LARGEST = 1 << 20
"""Bytes of a request's body."""
DEEPEST = 6
"""Levels of its JSON."""
PATIENCE = 30.0
"""Seconds in which a body must arrive."""
MOST_VOTES = 500
"""Votes in one request."""
MOST_TASKS = 200
"""Tasks that are asked for at once, or that a page holds."""

B = TypeVar("B", bound=BaseModel)
Id = Annotated[str, Field(max_length=64)]
Subject = Annotated[str, Field(max_length=500)]
Word = Annotated[str, Field(max_length=32)]
Task = Annotated[int, Field(ge=0, lt=1 << 31)]


class Body(BaseModel):
    """A body: values of exactly these types, and no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Join(Body):
    """A person gives a name, and a key where one is needed."""

    name: Annotated[str, Field(max_length=1000)]
    key: Annotated[str, Field(max_length=1000)] | None = None


class Nothing(Body):
    """A request that says everything by its path."""


class Next(Body):
    """The tasks that a page wants.

    `holding` are those that the person's pages have already; `resume` asks first for those that no page has any more.
    """

    mode: Literal["picture", "one", "grid"] = "picture"
    number: Annotated[int, Field(ge=1, le=MOST_TASKS)] = 1
    kind: Word | None = None
    subject: Subject | None = None
    holding: Annotated[list[Task], Field(max_length=MOST_TASKS)] = []
    resume: bool = False


class Cast(Body):
    """A vote as a page sends it. The reviewer is who has the cookie, and the time is the server's."""

    vote: Id
    task: Task | None = None
    question: Annotated[str, Field(max_length=32)] | None = None
    kind: Word
    id: Id
    sha256: Id
    subject: Subject = ""
    answer: Word
    round: int = 1
    category: Word | None = None
    severity: Word | None = None
    reason: Word | None = None
    comment: Annotated[str, Field(max_length=4000)] | None = None
    box: Annotated[list[float], Field(min_length=4, max_length=4)] | None = None
    seconds: float | None = None
    replaces: Id | None = None

    def by(self, reviewer: str) -> Vote:
        """The vote of a reviewer."""
        box = self.box
        return Vote(
            vote=self.vote,
            kind=self.kind,
            id=self.id,
            sha256=self.sha256,
            subject=self.subject,
            reviewer=reviewer,
            answer=self.answer,
            round=self.round,
            category=self.category or "",
            severity=self.severity or "",
            reason=self.reason or "",
            comment=self.comment or "",
            box=(box[0], box[1], box[2], box[3]) if box else None,
            seconds=float("nan") if self.seconds is None else self.seconds,
            replaces=self.replaces or "",
        )


class Votes(Body):
    """Votes that are cast together."""

    votes: Annotated[list[Cast], Field(max_length=MOST_VOTES)]


class Taken(Body):
    """A vote that is taken back; `by` is the id of the withdrawal."""

    vote: Id
    by: Id


class Withdraw(Body):
    """Votes that are taken back together."""

    votes: Annotated[list[Taken], Field(max_length=MOST_VOTES)]


class Skip(Body):
    """A task that comes back later."""

    task: Task


class Person(Body):
    """A reviewer by name."""

    name: Annotated[str, Field(max_length=1000)]


class Admit(Body):
    """A person who has joined and waits is confirmed, or refused."""

    reviewer: Annotated[str, Field(max_length=100)]
    admitted: bool


class Pause(Body):
    """A reviewer who is paused or goes on; the whole panel if the name is null."""

    reviewer: Annotated[str, Field(max_length=100)] | None = None
    paused: bool


async def read_body(request: Request, kind: type[B]) -> B:
    """The body of a request as one of the classes above.

    Raises:
        HTTPException: it is too large (413) or too slow (408), no JSON (400), or has other fields or values (422).
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the request must be JSON, with the header Content-Type: application/json")
    try:
        async with asyncio.timeout(PATIENCE):
            data = await _limited(request)
    except TimeoutError:
        raise HTTPException(408, f"the request didn't arrive within {PATIENCE:.0f} seconds") from None
    try:
        value = strict_json(data)
    except ValueError as error:
        raise HTTPException(400, f"the request isn't JSON: {cut(ascii(str(error)))}") from None
    if not _is_flat(value):
        raise HTTPException(400, f"the request's JSON has more than {DEEPEST} levels")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        raise HTTPException(422, f"{cut(ascii(where)[1:-1])}: {first['msg']}") from None


async def _limited(request: Request) -> bytes:
    parts, size = list[bytes](), 0
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > LARGEST:
        raise HTTPException(413, f"the request is larger than {LARGEST >> 20} MiB")
    async for part in request.stream():
        size += len(part)
        if size > LARGEST:
            raise HTTPException(413, f"the request is larger than {LARGEST >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _is_flat(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return not any(isinstance(one, dict | list) for one in level)
