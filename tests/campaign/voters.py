"""People who vote: a panel on a large edition of small pictures, its server in a process of its own, and browsers."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from scene import Fault, Running, Scene, stopped

ANSWERS = ("yes", "yes", "yes", "no", "unclear")
PATIENCE = 90
"""Seconds in which a request must be answered, however often the server is killed."""


def panel(store: Path, name: str, **settings: Any) -> None:
    """Publish a panel about the edition of the store."""
    from variorum.edition.editions import resolve
    from variorum.edition.store import Store
    from variorum.people.panel.panel import publish
    from variorum.people.panel.settings import Settings

    where = Store(str(store))
    publish(resolve("large@1.0.0", where), where, Settings(gold=0.0, agreed=0.0, **settings), name=name)


@contextlib.contextmanager
def served(scene: Scene, store: Path, name: str, *, port: int = 0, fault: Fault | None = None) -> Iterator[Server]:
    """The server of a panel."""
    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    words = ["review", "large@1.0.0", "--store", str(store), "--name", name, "--no-open", "--port", str(port)]
    run = scene.start(words, fault=fault)
    with stopped([run]):
        yield Server(run, f"127.0.0.1:{port}", port)


@dataclass(frozen=True)
class Server:
    """A server that runs, or is about to."""

    run: Running
    address: str
    port: int


@dataclass
class Votes:
    """What a panel's voters have sent and what was confirmed to them.

    Attributes:
        sent: question, answer and voter by id of the vote.
        confirmed: ids of votes.
    """

    sent: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)

    def wrong(self, store: Path, name: str, wanted: int, *, exactly: bool) -> str:
        """What is wrong with the votes that are stored, or ""."""
        from variorum.edition.editions import resolve
        from variorum.edition.store import Store
        from variorum.people.panel.panel import open_panel, read_questions
        from variorum.people.votes.ballots import counted
        from variorum.people.votes.columns import question_keys

        where = Store(str(store))
        found = open_panel(resolve("large@1.0.0", where), where, name=name)
        rows = counted(found.engine, found.key).to_pylist()
        asked = read_questions(found, where)
        found.engine.dispose()
        keys = question_keys(*(asked[column].to_pylist() for column in ("kind", "id", "sha256", "subject")))
        stored = {row["vote"]: (row["question"], row["answer"], row["reviewer"]) for row in rows}
        given = Counter(row["question"] for row in rows)
        twice = len(rows) - len({(row["question"], row["reviewer"]) for row in rows})
        few = sum(given[key] < wanted for key in keys)
        many = sum(given[key] > wanted for key in keys) if exactly else 0
        checks = {
            "confirmed votes are lost": len(self.confirmed - set(stored)),
            "votes are there twice": twice + len(rows) - len(stored),
            "votes aren't as they were sent": sum(self.sent.get(vote) != said for vote, said in stored.items()),
            f"of {len(keys)} questions have too few votes": few,
            f"of {len(keys)} questions have too many votes": many,
        }
        return "; ".join(f"{number} {what}" for what, number in checks.items() if number)


class Person:
    """A browser that keeps its connection, and sends a request again, with the same ids, until it is answered."""

    def __init__(self, address: str, name: str) -> None:
        self.address, self.name, self.cookie, self.token = address, name, "", ""
        self._connection: http.client.HTTPConnection | None = None
        self.ask("/join", {"name": name})
        self.token = self.ask("/api/me")["csrf"]

    def ask(self, path: str, body: Any = None) -> Any:
        """The answer to a request."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, found = self._once(path, body)
                if status == 200:
                    return found
                if (path, status) == ("/join", 409):  # it was heard before the server was killed
                    self.name += "'"
                    body = {"name": self.name}
                elif status != 503:
                    raise AssertionError(f"{path}: {status} {found}")
            self.close()
            time.sleep(0.05)
        raise AssertionError(f"{path} isn't answered in {PATIENCE} s")

    def _once(self, path: str, body: Any) -> tuple[int, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.address, timeout=30)
        headers = {"Origin": f"http://{self.address}", "Cookie": self.cookie, "X-Variorum-Csrf": self.token}
        sent = None if body is None else json.dumps(body)
        headers |= {"Content-Type": "application/json"} if sent else {}
        self._connection.request("POST" if sent else "GET", path, sent, headers)
        answer = self._connection.getresponse()
        if cookie := answer.getheader("Set-Cookie"):
            self.cookie = cookie.partition(";")[0]
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def votes(self, kept: Votes, at_once: int, seed: int) -> None:
        """Answer whatever is asked, until nothing is; one batch in ten is sent twice."""
        rng, idle = random.Random(seed), 0
        while idle < 3:
            tasks = self.ask("/api/next", {"mode": "grid", "number": at_once})["tasks"]
            idle = 0 if tasks else idle + 1
            if not tasks:
                time.sleep(0.3)  # what is left is in other people's hands
                continue
            cast = [self._vote(task, one, rng) for task in tasks for one in task["questions"]]
            kept.sent.update({one["vote"]: (one["question"], one["answer"], self.name) for one in cast})
            for _ in range(1 + (rng.random() < 0.1)):
                results = self.ask("/api/votes", {"votes": cast})["results"]
                kept.confirmed.update(one["vote"] for one in results if one["state"] != "refused")

    def _vote(self, task: Any, asked: Any, rng: random.Random) -> dict[str, Any]:
        picture = task["picture"]
        said = {"vote": str(uuid.UUID(int=rng.getrandbits(128))), "kind": task["kind"], "task": task["task"]}
        said |= {"id": picture["id"], "sha256": picture["sha256"], "question": asked["question"]}
        return said | {"subject": asked["subject"], "answer": rng.choice(ANSWERS), "seconds": 1.0}


@contextlib.contextmanager
def voting(address: str, number: int, kept: Votes, *, at_once: int) -> Iterator[Sequence[threading.Thread]]:
    """People who vote at once, each in a thread; they are waited for at the end, and what failed is raised."""
    failed: list[BaseException] = []

    def one(place: int) -> None:
        try:
            person = Person(address, f"person {place}")
            person.votes(kept, at_once, place)
            person.close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=partial(one, place), daemon=True) for place in range(number)]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
