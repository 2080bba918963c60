"""Limit the server's connections and the time that it waits for a request, which uvicorn doesn't.

A new connection is always taken. If there are too many, the one is closed that has kept the server waiting longest:
first those that owe it a request, then those that are idle, and last those that are being answered. So whoever opens
connections by the thousand displaces their own, and a browser with a whole request gets its answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)

HEADERS = 10.0
"""Seconds in which the headers of a request must arrive."""
BODY = 40.0
"""Seconds in which its body must arrive; where a body is wanted, `requests.PATIENCE` is shorter, and says so."""
AT_ONCE = 32
"""Connections that are accepted before any of them is looked at, at most."""
RESERVED = 160 + AT_ONCE
"""File descriptors for all else: the database, shards, the log."""
FEWEST, MOST = 16, 4096
"""Connections, however many descriptors there are."""
QUIET = 60.0
"""Seconds between two lines in the log about too many connections."""


def most_connections() -> int:
    """Connections that the server may hold, so that descriptors are left for all else."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if limit == resource.RLIM_INFINITY else min(MOST, max(FEWEST, limit - RESERVED))


@dataclass
class Crowd:
    """All connections of a server.

    Attributes:
        most: in all.
        each: from one address.
    """

    most: int
    each: int
    _open: dict[Patient, str] = field(default_factory=dict)
    _by_address: Counter[str] = field(default_factory=Counter)
    _told: float = -QUIET

    def enter(self, one: Patient) -> None:
        """Add a connection, and close another one if there are too many."""
        address = one.client[0] if one.client else ""
        rivals = None
        if len(self._open) >= self.most:
            rivals = list(self._open)
        elif self._by_address[address] >= self.each:
            rivals = [other for other, where in self._open.items() if where == address]
        self._open[one] = address
        self._by_address[address] += 1
        if rivals:
            if one.loop.time() - self._told >= QUIET:
                self._told = one.loop.time()
                log.warning(
                    "too many connections are open: %d in all, %d from %s; for each new one, the one is closed that "
                    "has kept the server waiting longest", len(self._open), self._by_address[address], address,
                )  # fmt: skip
            last = min(rivals, key=Patient.rank)
            self.leave(last)
            last.transport.abort()

    def leave(self, one: Patient) -> None:
        """Forget a connection."""
        if (address := self._open.pop(one, None)) is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


class Patient(H11Protocol):
    """A connection that is given up if a request doesn't arrive in time; `crowd` is set by `limited`."""

    crowd: Crowd
    _owed = 0.0
    _clock: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts to wait for a request."""
        super().connection_made(transport)
        self._wait(HEADERS)
        self.crowd.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._wait(0)
        self.crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes a part of a request."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Goes on with the next request, a part of which may be there already."""
        super().on_response_complete()
        self._look()

    def rank(self) -> tuple[int, float]:
        """Connections with a lower rank are closed first."""
        answers = self.cycle is not None and not self.cycle.response_complete
        return 0 if self._owed else 2 if answers else 1, self._since

    def _look(self) -> None:
        state = self.conn.their_state
        begun = state is h11.IDLE and bool(self.conn.trailing_data[0])
        self._wait(HEADERS if begun else BODY if state is h11.SEND_BODY else 0)

    def _wait(self, seconds: float) -> None:
        """Wait for so long for what the browser owes, from when it began to owe it; 0 if it owes nothing."""
        if seconds == self._owed:
            return
        self._owed, self._since = seconds, self.loop.time()
        if self._clock is not None:
            self._clock.cancel()
        self._clock = self.loop.call_later(seconds, self.transport.abort) if seconds else None


def limited(most: int, each: int) -> type[Any]:
    """The protocol of a server with this many connections, in all and from one address."""
    return type("Limited", (Patient,), {"crowd": Crowd(most, each)})
