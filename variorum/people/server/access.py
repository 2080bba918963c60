"""Who may ask the server for what: hosts, origins, keys, cookies, and a token that proves that a page of ours asks.

- The header `Host` must be a name of this server. So a page of another site whose name is made to point here (DNS
  rebinding) gets nothing.
- What changes something needs the `Origin` of this server, and a token that only a page of ours can read.
- A reviewer is known by a secret in a cookie that scripts can't read and that other sites' pages don't send. The
  database has its digest only.
- Off this machine, joining needs a key, and somebody who confirms it; or nobody joins who wasn't invited. Whoever runs
  the panel has another key. Only digests of both stay in memory.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal
from urllib.parse import urlsplit

from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

SHORTEST_KEY = 12
"""Characters of a key that somebody gives."""
ADMINS = 100
"""Browsers that are signed in as the panel's administrator."""
KNOWN, KNOWN_SECONDS = 2000, 5.0
"""Reviewers whose names are kept in memory, and how long, so that a grid of thumbnails asks the database once."""
ATTEMPTS, ATTEMPTS_ALL, WINDOW = 20, 200, 60.0
"""Wrong keys from one address and from all of them, in so many seconds. As many as from all may join, from one address
too: behind a proxy, all have the same."""
YEAR = 365 * 24 * 3600

Joining = Literal["open", "confirmed", "invited"]
"""Who takes part: whoever joins, whoever joins and is confirmed, or whoever has a personal link."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens and under which names browsers know it.

    Attributes:
        host: name or address that it listens on.
        port: of it.
        addresses: further ones that browsers use, such as those of a proxy: `https://review.example.org`.
    """

    host: str
    port: int
    addresses: tuple[str, ...] = ()

    @property
    def loopback(self) -> bool:
        """Return whether only this machine can reach the server."""
        return is_loopback(self.host) and not self.addresses

    @property
    def url(self) -> str:
        """For people: the first of `addresses`, or the address that it listens on."""
        if self.addresses:
            return self.addresses[0]
        host = socket.gethostname() if self.host in ("", "0.0.0.0", "::") else self.host  # noqa: S104 - only compared
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def origin(self, host: str) -> str | None:
        """The origin that a header `Host` stands for; None if it is no name of this server.

        On every address of this machine, any numeric address with the right port is one: another site's page can't have
        such a name.
        """
        host = host.lower()
        for address in self.addresses:
            if host == urlsplit(address).netloc:
                return address
        name, port = _split(host)
        if port != self.port:
            return None
        return f"http://{host}" if name in self._names() or (not is_loopback(self.host) and _is_ip(name)) else None

    def _names(self) -> set[str]:
        if is_loopback(self.host):
            return {"127.0.0.1", "localhost", "::1", self.host.lower()}
        return {"127.0.0.1", "localhost", "::1", self.host.lower(), socket.gethostname().lower()}


def address(text: str) -> str:
    """An address that browsers use, as they write an origin. Raises RecipeError for anything else."""
    try:
        parts = urlsplit(text.strip().lower())
        ok = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/") and not parts.query
        port = parts.port
    except ValueError:
        ok, port = False, None
    if not ok or "@" in parts.netloc or parts.fragment:
        raise RecipeError(f"address {cut(text)}: must be like https://review.example.org, without a path")
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{name}" + (f":{port}" if port not in (None, default) else "")


def is_loopback(host: str) -> bool:
    """Return whether a name or address means this machine and no other can reach it."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_key() -> str:
    """A key that nobody can guess."""
    return secrets.token_urlsafe(24)


def token_of(secret: str) -> str:
    """The token that a page sends with what changes something; it can be computed only from the cookie's secret."""
    return hmac.new(secret.encode("utf-8", "replace"), b"variorum review: changes", hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Return whether two texts are equal, in a time that doesn't depend on where they differ."""
    return hmac.compare_digest(_digest(one), _digest(other))


def check_key(key: str) -> str:
    """A key that somebody gives. Raises RecipeError if it is too short to be one."""
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise RecipeError(
            f"the key needs {SHORTEST_KEY} characters or more, without spaces; leave it out to have one made"
        )
    return key


class Access:
    """The server's keys and cookies.

    Args:
        panel: its key. Names of cookies depend on it, as browsers send cookies to all ports of a machine.
        place: where the server listens.
        join_key: needed to join; `""` if nobody needs one.
        admin_key: of whoever runs the panel.
        find: from a secret to the reviewer's name, None if nobody has it.
        joining: who takes part.
    """

    def __init__(
        self,
        panel: str,
        place: Place,
        join_key: str,
        admin_key: str,
        find: Callable[[str], str | None],
        joining: Joining = "open",
    ) -> None:
        self.place, self._find, self.joining = place, find, joining
        short = hashlib.sha256(panel.encode()).hexdigest()[:8]
        self.cookie, self.admin_cookie, self.key_cookie = (
            f"variorum_{short}_{what}" for what in ("as", "admin", "key")
        )
        self._join, self._admin = _digest(join_key) if join_key else b"", _digest(admin_key)
        self._admins: OrderedDict[bytes, None] = OrderedDict()
        self._names: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._lock = Lock()
        self.attempts, self.joins = Attempts(), Attempts(ATTEMPTS_ALL)

    @property
    def needs_key(self) -> bool:
        """Return whether joining needs a key."""
        return bool(self._join)

    def may_join(self, key: str) -> bool:
        """Return whether somebody with this key may join."""
        return not self._join or hmac.compare_digest(_digest(key), self._join)

    def may_sign_in(self, key: str) -> bool:
        """Return whether this is the administrator's key."""
        return hmac.compare_digest(_digest(key), self._admin)

    def sign_in(self, key: str) -> str | None:
        """A secret for the administrator's cookie; None if it isn't the key."""
        if not self.may_sign_in(key):
            return None
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._admins[_digest(secret)] = None
            while len(self._admins) > ADMINS:
                self._admins.popitem(last=False)
        return secret

    def is_admin(self, secret: str) -> bool:
        """Return whether this is the secret of an administrator's cookie; looked up by its digest."""
        return bool(secret) and _digest(secret) in self._admins

    def known(self, secret: str) -> str | None:
        """Name of the reviewer with this secret if it has been looked up in the last seconds; else None."""
        with self._lock:
            since, name = self._names.get(_digest(secret), (0.0, ""))
        return name if name and time.monotonic() - since < KNOWN_SECONDS else None

    def reviewer(self, secret: str) -> str | None:
        """Name of the reviewer with this secret; None if there is none."""
        if not secret or len(secret) > 200:
            return None
        if (name := self.known(secret)) is not None:
            return name
        mine, now = _digest(secret), time.monotonic()
        found = self._find(secret)
        with self._lock:
            self._names.pop(mine, None)
            if found is not None:
                self._names[mine] = now, found
                while len(self._names) > KNOWN:
                    self._names.popitem(last=False)
        return found

    def forget(self) -> None:
        """Ask the database for every name again: a secret has been replaced."""
        with self._lock:
            self._names.clear()


@dataclass(slots=True)
class Attempts:
    """Counts attempts, so that nobody can guess keys or fill the database with names.

    Attributes:
        each: attempts of one address.
        every: of all addresses.
    """

    each: int = ATTEMPTS
    every: int = ATTEMPTS_ALL
    _by_address: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _all: deque[float] = field(default_factory=deque)
    _lock: Lock = field(default_factory=Lock)

    def allowed(self, who: str) -> bool:
        """Return whether there haven't been too many attempts from an address, or in all; if so, count another one."""
        now = time.monotonic()
        with self._lock:
            mine = self._by_address.setdefault(who, deque())
            self._by_address.move_to_end(who)
            for times in (mine, self._all):
                while times and now - times[0] > WINDOW:
                    times.popleft()
            if len(mine) >= self.each or len(self._all) >= self.every:
                return False
            mine.append(now)
            self._all.append(now)
            while len(self._by_address) > KNOWN:
                self._by_address.popitem(last=False)
            return True


def from_here(origin: str | None, fetch_site: str | None, allowed: Iterable[str | None]) -> bool:
    """Return whether a request that changes something comes from a page of this server.

    Args:
        origin: header `Origin`.
        fetch_site: header `Sec-Fetch-Site`, which older browsers don't send.
        allowed: origins of this server.
    """
    return origin is not None and origin in set(allowed) and fetch_site in (None, "same-origin")


def network(address: str) -> str:
    """Return the network that addresses of one internet connection share: all of IPv4, the first half of IPv6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(found, "ipv4_mapped", None) or found
    alone = mapped.version == 4 or mapped.is_link_local
    return str(mapped) if alone else str(ipaddress.ip_network((mapped, 64), strict=False))


def _split(host: str) -> tuple[str, int]:
    """Name and port of a header `Host`; port -1 if it has none that is one."""
    name, _, port = host.rpartition(":")
    if not name or name.endswith(":") or (":" in name and not (name.startswith("[") and name.endswith("]"))):
        return host, 80
    return name.strip("[]"), int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
