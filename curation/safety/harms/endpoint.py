"""Requests to an endpoint in the form of OpenAI's chat completions: one picture, one question, one answer."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import time
from email.message import Message
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from variorum.schemas.errors import ModelFailed, RecipeError, TemporaryError
from variorum.schemas.secrets import without_secrets

if TYPE_CHECKING:
    from variorum.arrays import Pixels

QUALITY = 85
"""Of the JPEG that is sent."""
MOST_BYTES = 1 << 20
"""Of a response that is read."""
LONGEST_PAUSE = 60.0
"""Seconds that an endpoint may ask to wait; it is asked again then at the latest."""
BUSY = frozenset({408, 409, 425, 429})
"""Status codes that pass, with those from 500 on."""
CLOSED = frozenset({401, 403, 404, 405})
"""Status codes for every request alike: the token, the URL or the model is wrong."""


class Answer(NamedTuple):
    """An endpoint's answer.

    Attributes:
        text: of the answer, or of the refusal.
        tokens: that the endpoint counted; the words of the text if it says nothing.
        refused: whether the model or a filter in front of it declines.
    """

    text: str
    tokens: int
    refused: bool


def checked_url(url: str) -> str:
    """The URL, if pictures may go there. Raises ValueError."""
    parts = urlsplit(url)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise ValueError("must be a URL such as https://api.example.org/v1/chat/completions")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must have no user, password, query or fragment; the token comes from an environment variable")
    if parts.scheme == "http" and not _is_here(host):
        raise ValueError(f"must begin with https, as pictures would go to {host} unencrypted")
    return url


def host_of(url: str) -> str:
    """The host of a URL in lower case, with the port if it has one."""
    return urlsplit(url).netloc.casefold()


def _is_here(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Endpoint(NamedTuple):
    """Where a model is asked.

    Attributes:
        url: of chat completions.
        model: its name there.
        token_variable: environment variable with the token. The token is read for each request and kept nowhere.
        timeout: seconds to wait for an answer.
        most_tokens: of an answer.
    """

    url: str
    model: str
    token_variable: str
    timeout: float
    most_tokens: int

    def ask(self, picture: Pixels, question: str) -> Answer:
        """The answer to a question about a picture.

        Raises:
            TemporaryError: it is busy, unreachable or too slow. Raised after the pause that it asks for, 60 s at most.
            RecipeError: token, URL or model are wrong.
            ModelFailed: it can't answer about this picture, or gives something that isn't a chat completion.
        """
        try:
            with self._opener().open(self._request(picture, question), timeout=self.timeout) as response:
                return self._answer(response.read(MOST_BYTES + 1))
        except HTTPError as error:
            with error:
                return self._failed(error.code, error.read(MOST_BYTES), error.headers)
        except (OSError, HTTPException) as error:  # unreachable, too slow, or broken off
            why = getattr(error, "reason", None) or error
            said = _line(why) or type(error).__name__
            raise TemporaryError(f"{host_of(self.url)} can't be reached: {said}") from None

    def _opener(self) -> OpenerDirector:
        """Follows no redirect, and uses no proxy to this machine."""
        own = [ProxyHandler({})] if _is_here(urlsplit(self.url).hostname or "") else []
        return build_opener(NoRedirect, *own)

    def _request(self, picture: Pixels, question: str) -> Request:
        """The request. The picture is encoded from its pixels, so nothing that its file said goes with it."""
        import numpy as np
        import simplejpeg

        data = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=QUALITY, colorspace="RGB")
        encoded = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        body = {
            "model": self.model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": question},
                        {"type": "image_url", "image_url": {"url": encoded}},
                    ],
                }
            ],
            "temperature": 0,
            "max_tokens": self.most_tokens,
            "store": False,
        }
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "variorum"}
        if token := os.environ.get(self.token_variable, "").strip():
            if not token.isascii() or not token.isprintable():
                raise RecipeError(f"the token in {self.token_variable} has characters that no token has")
            headers["Authorization"] = f"Bearer {token}"
        return Request(self.url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310 - http or https, checked

    def _answer(self, data: bytes) -> Answer:
        """Read a response. Raises ModelFailed."""
        try:
            if len(data) > MOST_BYTES:
                raise ValueError
            body = json.loads(data)
            choice = body["choices"][0]
            message = choice["message"]
            text = message.get("content") or ""
            if isinstance(text, list):  # in parts, as some servers give it
                text = "".join(part["text"] for part in text if part.get("type") == "text")
            refusal = message.get("refusal") or ""
            if not isinstance(text, str) or not isinstance(refusal, str):
                raise TypeError
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise ModelFailed(f"{host_of(self.url)} answered with something else than a chat completion") from None
        text = without_secrets(refusal or text)
        refused = bool(refusal) or choice.get("finish_reason") == "content_filter"
        return Answer(text, _tokens(body, text), refused)

    def _failed(self, code: int, data: bytes, headers: Message) -> Answer:
        """The answer where a filter refused the request; raises for all other errors."""
        host, said = host_of(self.url), _said(data)
        if _filtered(data):
            return Answer(said, 0, True)
        if code in BUSY or code >= 500:
            time.sleep(_pause(headers))
            raise TemporaryError(f"{host} is busy or broken (status {code}){said and ': ' + said}")
        if 300 <= code < 400:
            raise RecipeError(
                f"{host} sends requests elsewhere (status {code}), which isn't followed; give the new URL"
            )
        if code in CLOSED:
            way_out = f"check url and model, and the token in the environment variable {self.token_variable}"
            raise RecipeError(f"{host} refuses requests (status {code}){said and ': ' + said}; {way_out}")
        raise ModelFailed(f"{host} can't answer (status {code}){said and ': ' + said}")


class NoRedirect(HTTPRedirectHandler):
    """Lets a redirect be an error: pictures and token go nowhere but to the URL that the recipe names."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none."""


def _tokens(body: dict[str, Any], text: str) -> int:
    usage = body.get("usage")
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return counted if isinstance(counted, int) and 0 <= counted < 10**9 else len(text.split())


def _pause(headers: Message) -> float:
    """Seconds that an endpoint asks to wait; dates count as none."""
    try:
        return min(max(float(headers.get("Retry-After", "0")), 0.0), LONGEST_PAUSE)
    except ValueError:
        return 0.0


def _error(data: bytes) -> Any:
    """Read the error in a response."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return body.get("error") if isinstance(body, dict) else {}


def _filtered(data: bytes) -> bool:
    """Return whether an error means that a content filter declined."""
    error = _error(data)
    codes = [error.get(key) for key in ("code", "type")] if isinstance(error, dict) else []
    return any(isinstance(code, str) and code in ("content_filter", "content_policy_violation") for code in codes)


def _said(data: bytes) -> str:
    """The message of an error in a line."""
    error = _error(data)
    message = error.get("message") if isinstance(error, dict) else error
    return _line(message) if isinstance(message, str) else ""


def _line(value: object) -> str:
    return " ".join(without_secrets(str(value)).split())[:200]
