"""Secrets in URLs and in the environment, taken out of what is printed, logged, stored or hashed.

Errors, printed text, log records and places of data go through this module, and a recipe's fields that are stored may
hold none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import parse_qsl, quote, quote_plus, unquote

HIDDEN = "***"
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"<>|]+")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
PARAMETER = (
    r"[a-z0-9_\-]*(?:token|secret|password|passwd|signature|credential|api[_\-]?key|access[_\-]?key|account[_\-]?key)"
    r"[a-z0-9_\-]*|sig|auth|pwd"
)
QUERY = re.compile(rf"[?&;](?:{PARAMETER})=", re.IGNORECASE)
"""A query with a parameter that is a secret by its name."""
VALUE = r"(?![0-9.]+\b)[^\s&;,'\"<>)\]}]{6,}"
ASSIGNED = re.compile(rf"(?<![a-z0-9])({PARAMETER})(=|%3D){VALUE}", re.IGNORECASE)
CHAINED = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.\-]*://)")
"""Where `fsspec` puts one URL behind another."""
BEARER = re.compile(r"\b(Bearer|Basic) +[A-Za-z0-9+/=._\-]{8,}")
TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|A[KS]IA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_\-]{20,}|xox[abeprs]-[A-Za-z0-9\-]{20,}|AIza[A-Za-z0-9_\-]{35}"
    r"|sk-(?=[A-Za-z_\-]*[0-9])[A-Za-z0-9_\-]{20,})\b"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?:[^-]{0,10000}-----END)?"
)
"""What can be told by its look: tokens of the Hub, AWS, GitHub, GitLab, Slack, Google, and of those who serve language
models; and private keys in PEM."""
MARKS = ("_", "-", "KIA", "SIA", "AIza")
"""Parts of every such text."""
VARIABLE = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|ACCOUNT_KEY|CONNECTION_STRING|AUTH_STRING|CREDENTIAL|VARIORUM_NOTIFY"
)
SHORTEST = 6
"""Characters of a secret that is searched for everywhere; a shorter one would be found in any text."""
LEAST = 12
"""Characters of a secret of the environment for which something is refused; a shorter one may occur by chance."""


_remembered: set[str] = set()
"""Secrets of the URLs that this process was given; libraries quote them in parts, too."""


def remember(place: object) -> None:
    """Note the secrets of a URL, or of all URLs in a list or mapping, so that `without_secrets` knows them anywhere."""
    if isinstance(place, Mapping):
        place = list(place.values())
    if isinstance(place, list | tuple):
        for one in place:
            remember(one)
    if not isinstance(place, str) or "://" not in place:
        return
    for url in CHAINED.split(place):
        rest, bare = url.partition("://")[2], shown(url).partition("://")[2]
        login = rest[: rest.index(bare)] if bare and bare in rest else rest.rpartition("@")[0]
        password = login.rstrip("@").partition(":")[2]
        query = url.partition("#")[0].partition("?")[2]  # of texts that are no URLs, too
        values = [value for name, value in parse_qsl(query) if QUERY.match(f"?{name}=")]
        found = [password, unquote(password), *values, *map(quote, values), *map(quote_plus, values)]
        _remembered.update(one for one in [login, *found] if len(one) >= SHORTEST or (one is login and ":" in one))


def remember_values(*secrets: object) -> None:
    """Note texts that are secrets; others than texts, and texts that are too short to search for, are passed over."""
    _remembered.update(one for one in secrets if isinstance(one, str) and len(one) >= SHORTEST)


def shown(place: str) -> str:
    """A URL without user, password, query and fragment, which may be secrets; a path as it is.

    URLs may be chained as `fsspec` does it: `simplecache::s3://bucket/x`.
    """
    if "://" not in place:
        return place
    return "::".join(_bare(part) if "://" in part else part for part in CHAINED.split(place))


def without_secrets(text: str) -> str:
    """Any text without what looks like a secret: in URLs, after `token=` and the like, or in the environment."""
    found = text
    for secret in (*sorted(_remembered, key=len, reverse=True), *_environment()):
        found = found.replace(secret, HIDDEN)
    found = _urls_without(found)
    if "=" in found or "%3D" in found:
        found = ASSIGNED.sub(rf"\1\2{HIDDEN}", found)
    if "asic " in found or "earer " in found:
        found = BEARER.sub(rf"\1 {HIDDEN}", found)
    return TOKEN.sub(HIDDEN, found) if any(part in found for part in MARKS) else found


def cleaned(value: object) -> object:
    """A JSON value whose texts have gone through `without_secrets`; places are kept as `shown` shows them."""
    if isinstance(value, str):
        return without_secrets(shown(value) if _is_url(value) else value)
    if isinstance(value, Mapping):
        return {name: cleaned(item) for name, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, list | tuple) else value


@contextmanager
def cleaned_errors() -> Iterator[None]:
    """Inside, what is raised loses the secrets in its texts, before an engine keeps it."""
    try:
        yield
    except Exception as error:
        plain = cleaned_error(error)
        if plain is error:
            raise
        raise plain from plain.__cause__


def cleaned_error(error: BaseException, seen: frozenset[int] = frozenset()) -> BaseException:
    """An exception, changed in place, whose texts and causes have gone through `without_secrets`.

    It is a RuntimeError with its type and text if its class makes a text that can't be changed.
    """
    error.args = tuple(without_secrets(one) if isinstance(one, str) else one for one in error.args)
    kept = ("filename", "filename2", "strerror") if isinstance(error, OSError) else ()
    for name in (*kept, *getattr(error, "__dict__", ())):
        if isinstance(text := getattr(error, name, None), str) and (clean := without_secrets(text)) != text:
            setattr(error, name, clean)
    if notes := getattr(error, "__notes__", ()):
        error.__notes__ = [without_secrets(one) for one in notes]
    text, cause, context = str(error), error.__cause__, error.__context__
    clean, seen = without_secrets(text), seen | {id(error)}
    plain = error if clean == text else RuntimeError(f"{type(error).__name__}: {clean}")
    plain.__context__ = context and (cleaned_error(context, seen) if id(context) not in seen else None)
    if cause and id(cause) not in seen:
        plain.__cause__ = plain.__context__ if cause is context else cleaned_error(cause, seen)
    plain.__suppress_context__ = error.__suppress_context__
    return plain.with_traceback(error.__traceback__)


def holds_secret(value: object) -> bool:
    """Return whether a text of a JSON value holds a secret: by its look, after `password=`, or of the environment."""
    if isinstance(value, str):
        known = len(value) >= LEAST and any(len(secret) >= LEAST and secret in value for secret in _environment())
        return known or looks_secret(value) or any(sign.search(value) for sign in (ASSIGNED, BEARER))
    if isinstance(value, Mapping):
        return any(map(holds_secret, (*value, *value.values())))
    return isinstance(value, list | tuple) and any(map(holds_secret, value))


def looks_secret(text: str) -> bool:
    """Return whether a text has a token, or a URL with a secret in it."""
    return _urls_without(text) != text or bool(TOKEN.search(text))


def _urls_without(text: str) -> str:
    """A text whose URLs have no user, no password, and no query that holds a secret."""
    if "://" not in text:
        return text
    return URL.sub(lambda url: "::".join(_bare(part, only_secrets=True) for part in CHAINED.split(url[0])), text)


def _bare(url: str, *, only_secrets: bool = False) -> str:
    scheme, _, rest = url.partition("://")
    host = re.match(r"[^/?#]*", rest)
    assert host  # it may be empty
    name, path = host[0], rest[host.end() :]
    port = name.rpartition("@")[2].rpartition(":")[2]
    if "@" in name:
        name = name.rpartition("@")[2]
    elif ":" in name and "@" in path and not port.isdigit() and not port.endswith("]"):
        name, path = re.match(r"([^/?#]*)(.*)", path.rpartition("@")[2], re.DOTALL).groups()  # type: ignore[union-attr]
    if not only_secrets or QUERY.search(path):
        path = re.split("[?#]", path, maxsplit=1)[0]
    return f"{scheme}://{name}{path}"


def _is_url(text: str) -> bool:
    return " " not in text and bool(SCHEME.match(text)) and "://" in text


def _environment() -> list[str]:
    """Values of the environment's variables that are secrets by their name, the longest first."""
    values = (value for name, value in os.environ.items() if VARIABLE.search(name))
    return sorted({one for one in values if len(one) >= SHORTEST and not one.startswith(("/", "."))}, key=len)[::-1]
