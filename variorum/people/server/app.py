"""The server's addresses: pages, pictures, and what the pages ask and tell in JSON.

What waits for disk or database runs on threads. Whatever goes wrong is answered with `{"error": sentence}`: 4xx if the
request can't be granted, 503 if the same request may succeed later. A vote that was answered with `kept` is on disk.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from variorum.people.server.access import YEAR, Access, from_here, network, same, token_of
from variorum.people.server.guard import Guard
from variorum.people.server.images import File
from variorum.people.server.requests import (
    Admit,
    Body,
    Join,
    Next,
    Nothing,
    Pause,
    Person,
    Skip,
    Votes,
    Withdraw,
    read_body,
)
from variorum.people.server.served import Served
from variorum.people.server.shell import shell
from variorum.people.votes.reviewers import NameRefused
from variorum.schemas.errors import CorruptShard, StoreError, TemporaryError

log = logging.getLogger(__name__)

T = TypeVar("T")
B = TypeVar("B", bound=Body)
Answer = Mapping[str, Any]

FOREVER = "private, max-age=31536000, immutable"
"""How long browsers keep a picture whose address has its hash."""
TRY_AGAIN = "the database of votes can't be reached for now; nothing is lost, try again"
DAMAGED = "this picture is damaged; ask the organiser to run: variorum verify"
UNSIGNED = "join the panel first"
TOO_MANY = "too many attempts; wait a minute"


def create_app(served: Served, access: Access) -> Starlette:
    """The server as an ASGI application."""
    server = _Server(served, access)
    app = Starlette(
        routes=server.routes(),
        middleware=[Middleware(Guard, place=access.place)],
        exception_handlers={
            HTTPException: _refused,
            NameRefused: lambda _, error: _error(409, str(error)),
            TemporaryError: lambda _, error: _busy(error),
            CorruptShard: _damaged,
            StoreError: _broken,
            ClientDisconnect: lambda _, error: _error(400, "the request broke off"),
        },
    )
    app.router.redirect_slashes = False
    return app


class _Server:
    def __init__(self, served: Served, access: Access) -> None:
        self.served, self.access = served, access

    def routes(self) -> list[Route]:
        served = self.served
        return [
            Route("/", self.page),
            Route("/admin", self.admin_page),
            Route("/as", self.personal),
            Route("/join", self.join, methods=["POST"]),
            Route("/leave", self.leave, methods=["POST"]),
            Route("/favicon.ico", lambda _: Response(status_code=204)),
            Route("/pictures/{id}", self.picture_of(served.pictures.picture)),
            Route("/thumbnails/{id}", self.picture_of(served.pictures.thumbnail, served.pictures.ready_thumbnail)),
            Route("/blurred/{id}", self.picture_of(served.pictures.blurred, served.pictures.ready_blurred)),
            Route("/masks/{id}", self.picture_of(served.pictures.mask)),
            Route("/api/me", self.me),
            Route("/api/classes", self.asked(lambda _, __: {"classes": served.classes.listed()})),
            Route("/api/class", self.asked(self._class)),
            Route("/api/subjects", self.asked(lambda who, asks: served.subjects(who, asks.get("kind", "label")))),
            Route("/api/discussion", self.asked(lambda _, asks: served.discussion(_number(asks.get("after", "-1"))))),
            Route("/api/next", self.told(Next, served.next), methods=["POST"]),
            Route("/api/votes", self.told(Votes, served.cast), methods=["POST"]),
            Route("/api/withdraw", self.told(Withdraw, served.withdraw), methods=["POST"]),
            Route("/api/skip", self.told(Skip, served.skip), methods=["POST"]),
            Route("/api/admin", self.admin),
            Route("/api/admin/reviewer", self.governed(Person, self._add), methods=["POST"]),
            Route("/api/admin/admit", self.governed(Admit, self._admit), methods=["POST"]),
            Route("/api/admin/pause", self.governed(Pause, served.pause), methods=["POST"]),
            Route("/api/admin/export", self.export),
        ]

    # ── pages ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def page(self, request: Request) -> Response:
        """The reviewers' page. A key in its address becomes a cookie, so that it doesn't stay in the address."""
        key = request.query_params.get("key")
        if key is None:
            return _page("page.html")
        if not self._right(request, self.access.may_join(key)):
            raise HTTPException(403, "this key isn't the panel's; ask the organiser for the link")
        if not self.access.needs_key:  # any text would do
            return RedirectResponse("/", 303)
        return self._with_cookie(RedirectResponse("/", 303), self.access.key_cookie, key, age=None)

    async def admin_page(self, request: Request) -> Response:
        """The administrator's page; its key in the address becomes a cookie likewise."""
        key = request.query_params.get("key")
        if key is None:
            return _page("admin.html")
        secret = self.access.sign_in(key) if self._right(request, self.access.may_sign_in(key)) else None
        if secret is None:
            raise HTTPException(403, "this isn't the administrator's key; the server printed it when it was started")
        return self._with_cookie(RedirectResponse("/admin", 303), self.access.admin_cookie, secret, age=None)

    async def personal(self, request: Request) -> Response:
        """The link that an administrator gives a reviewer: it signs the browser in."""
        secret = request.query_params.get("secret", "")
        name = await run_in_threadpool(self.access.reviewer, secret)
        if not self._right(request, name is not None):
            raise HTTPException(403, "this link isn't valid any more; ask the organiser for a new one")
        return self._with_cookie(RedirectResponse("/", 303), self.access.cookie, secret)

    async def join(self, request: Request) -> Response:
        """Joins the panel under a name."""
        self._check_origin(request)
        body = await read_body(request, Join)
        key = body.key if body.key is not None else request.cookies.get(self.access.key_cookie, "")
        if not self._right(request, self.access.may_join(key)):
            raise HTTPException(403, "joining needs the panel's key; ask the organiser for the link")
        if self.access.joining == "invited":
            raise HTTPException(403, "only invited people take part; ask the organiser for a link of your own")
        if not self.access.place.loopback and not self.access.joins.allowed(_address(request)):
            raise HTTPException(429, TOO_MANY)
        waiting = self.access.joining == "confirmed"
        shared = self.access.place.loopback or self.access.place.addresses  # then all have one address
        address = "" if shared else network(_address(request))
        name, secret = await run_in_threadpool(self.served.join, body.name, address=address, waiting=waiting)
        return self._with_cookie(_json({"reviewer": name, "waiting": waiting}), self.access.cookie, secret)

    async def leave(self, request: Request) -> Response:
        """Forgets the reviewer's cookie in this browser."""
        await self._telling(request)
        await read_body(request, Nothing)
        answer = _json({})
        answer.delete_cookie(self.access.cookie, httponly=True, samesite="strict")
        return answer

    # ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────

    def picture_of(
        self, read: Callable[[int], File | None], at_hand: Callable[[int], File | None] = lambda _: None
    ) -> Callable[[Request], Awaitable[Response]]:
        """An address for one file of a picture, for whoever has joined. `at_hand` gives it without waiting, or None."""

        async def answer(request: Request) -> Response:
            await self._somebody(request)
            row = self.served.pictures.row(request.path_params["id"])
            if row is None:
                raise HTTPException(404, "the edition has no such picture")
            version = request.query_params.get("v", "")
            if version not in ("", self.served.pictures.sha256(row)[:16]):
                raise HTTPException(404, "the picture has changed since this page was loaded; load it again")
            file = at_hand(row) or await run_in_threadpool(read, row)
            if file is None:
                raise HTTPException(404, "the picture has no mask")
            return Response(file.data, media_type=file.kind, headers={"Cache-Control": FOREVER} if version else None)

        return answer

    # ── reviewers ────────────────────────────────────────────────────────────────────────────────────────────────

    async def me(self, request: Request) -> Response:
        """Return what the page needs to know at first; who hasn't joined learns how they can, or that they wait."""
        secret = request.cookies.get(self.access.cookie, "")
        name = await run_in_threadpool(self.access.reviewer, secret)
        if name is None:
            has_key = self.access.may_join(request.cookies.get(self.access.key_cookie, ""))
            told = {
                "error": UNSIGNED,
                "key": not has_key,
                "invited": self.access.joining == "invited",
                "waiting": await run_in_threadpool(self.served.waiting, secret) if secret else None,
                "title": self.served.title,
                "warning": self.served.warning,
            }
            return _json(told, 401)
        found = await run_in_threadpool(self.served.me, name)
        return _json({**found, "csrf": token_of(secret)})

    def asked(self, find: Callable[[str, Mapping[str, str]], Answer]) -> Callable[[Request], Awaitable[Response]]:
        """An address that reviewers ask; `find` gets the name of the one who asks, and the query."""

        async def answer(request: Request) -> Response:
            name, _ = await self._reviewer(request)
            return _json(await run_in_threadpool(find, name, request.query_params))

        return answer

    def told(self, kind: type[B], do: Callable[[str, B], Answer]) -> Callable[[Request], Awaitable[Response]]:
        """An address that reviewers tell something; `do` gets the reviewer's name and the body."""

        async def answer(request: Request) -> Response:
            name = await self._telling(request)
            return _json(await run_in_threadpool(do, name, await read_body(request, kind)))

        return answer

    def _class(self, _: str, asks: Mapping[str, str]) -> Answer:
        found = self.served.classes.about(asks.get("id", ""), asks.get("for", ""))
        if found is None:
            raise HTTPException(404, "the edition has no such class")
        return found

    # ── the administrator ────────────────────────────────────────────────────────────────────────────────────────

    async def admin(self, request: Request) -> Response:
        """Reviewers, coverage and agreement."""
        secret = self._admin(request)
        found = await run_in_threadpool(self.served.admin)
        join = None if self.access.joining == "invited" else self.access.place.url + "/"
        return _json({**found, "links": {"join": join}, "csrf": token_of(secret)})

    def governed(self, kind: type[B], do: Callable[[B], Answer]) -> Callable[[Request], Awaitable[Response]]:
        """An address that the administrator tells something."""

        async def answer(request: Request) -> Response:
            self._check_origin(request)
            _check_token(request, self._admin(request))
            return _json(await run_in_threadpool(do, await read_body(request, kind)))

        return answer

    def _add(self, body: Person) -> Answer:
        """A personal link for a new reviewer, or another one for one who has lost theirs."""
        name, secret = self.served.join(body.name, again=True)
        self.access.forget()
        return {"reviewer": name, "link": f"{self.access.place.url}/as?secret={secret}"}

    def _admit(self, body: Admit) -> Answer:
        done = self.served.admit(body)
        self.access.forget()
        return done

    async def export(self, request: Request) -> Response:
        """The votes that count, as a file."""
        self._admin(request)
        data, name, kind = await run_in_threadpool(self.served.export, request.query_params.get("format", "parquet"))
        return Response(data, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})

    # ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _reviewer(self, request: Request) -> tuple[str, str]:
        """Name and secret of the reviewer who asks."""
        secret = request.cookies.get(self.access.cookie, "")
        name = self.access.known(secret) or await run_in_threadpool(self.access.reviewer, secret)
        if name is None:
            raise HTTPException(401, UNSIGNED)
        return name, secret

    async def _telling(self, request: Request) -> str:
        """Name of the reviewer who tells something, from a page of this server."""
        self._check_origin(request)
        name, secret = await self._reviewer(request)
        _check_token(request, secret)
        return name

    async def _somebody(self, request: Request) -> None:
        if not self.access.is_admin(request.cookies.get(self.access.admin_cookie, "")):
            await self._reviewer(request)

    def _admin(self, request: Request) -> str:
        secret = request.cookies.get(self.access.admin_cookie, "")
        if not self.access.is_admin(secret):
            raise HTTPException(401, "open the administrator's link, which the server printed when it was started")
        return secret

    def _check_origin(self, request: Request) -> None:
        headers = request.headers
        ours = self.access.place.origin(headers.get("host", ""))
        if not from_here(headers.get("origin"), headers.get("sec-fetch-site"), [ours]):
            raise HTTPException(403, "the request doesn't come from a page of this server")

    def _right(self, request: Request, right: bool) -> bool:
        """Return whether a key or a secret is right. Only wrong ones wait, where others than this machine can try them.

        So nobody is locked out by somebody else behind the same proxy. What we make can't be guessed at any speed.
        """
        if not right and not self.access.place.loopback and not self.access.attempts.allowed(_address(request)):
            raise HTTPException(429, TOO_MANY)
        return right

    def _with_cookie(self, answer: Response, name: str, value: str, age: int | None = YEAR) -> Response:
        answer.set_cookie(
            name,
            value,
            max_age=age,
            httponly=True,
            samesite="strict",
            secure=self.access.place.url.startswith("https:"),
        )
        return answer


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _check_token(request: Request, secret: str) -> None:
    if not same(request.headers.get("x-variorum-csrf", ""), token_of(secret)):
        raise HTTPException(403, "the page is out of date; load it again")


def _number(text: str) -> int:
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit() or len(text) > 10:
        raise HTTPException(400, "after must be the number of a task")
    return int(text)


def _page(name: str) -> Response:
    page = shell(name)
    return Response(page.page, media_type="text/html", headers={"Content-Security-Policy": page.policy})


def _json(value: Answer, status: int = 200) -> Response:
    return JSONResponse(value, status)


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _busy(error: Exception) -> Response:
    log.warning("a request couldn't be granted: %s", error)
    return JSONResponse({"error": TRY_AGAIN}, 503, {"Retry-After": "1"})


def _damaged(_: Request, error: Exception) -> Response:
    log.error("a picture can't be shown: %s", error)
    return _error(410, DAMAGED)


def _broken(_: Request, error: Exception) -> Response:
    log.error("a request failed: %s", "".join(traceback.format_exception_only(error)).strip())
    return _error(
        500, "the server has a problem with its files or its database; the organiser finds it in the server's log"
    )
