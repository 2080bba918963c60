"""Votes of several requests that are written together: each request learns what became of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from variorum.people.server.casting import MOST, Casting
from variorum.people.votes.ballots import Result
from variorum.schemas.errors import StoreError
from variorum.schemas.vote import Vote


def vote(name: str) -> Vote:
    return Vote(name, "label", "p", "0" * 64, "cat", "ann", "yes")


class Writer:
    """Keeps what it is given, call by call. The first call waits until it may go on."""

    def __init__(self, poison: str = "") -> None:
        self.calls: list[list[str]] = []
        self.poison = poison
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, votes):
        names = [one.vote for one in votes]
        self.calls.append(names)
        if len(self.calls) == 1:
            self.began.set()
            assert self.go_on.wait(30)
        if self.poison in names:
            raise StoreError(f"{self.poison} can't be written")
        return [Result(name, "kept") for name in names]


def waiting(writer: Writer, requests: list[list[str]]) -> list[list[str] | str]:
    """Cast the votes of requests that all come while a first one is written; their results or errors."""
    turn = threading.Lock()
    casting = Casting(writer, turn)

    def ask(names: list[str]) -> list[str] | str:
        try:
            return [one.vote for one in casting.cast([vote(name) for name in names])]
        except StoreError as error:
            return str(error)

    with ThreadPoolExecutor(len(requests) + 1) as pool:
        first = pool.submit(ask, ["first"])
        assert writer.began.wait(30)
        others = [pool.submit(ask, names) for names in requests]
        while len(casting._line) < len(requests):
            pass
        writer.go_on.set()
        assert first.result() == ["first"]
        return [one.result() for one in others]


def test_requests_that_wait_are_written_in_one_go_and_get_their_own_results():
    writer = Writer()
    requests = [[f"{request}-{number}" for number in range(1 + request % 3)] for request in range(12)]
    assert waiting(writer, requests) == requests
    assert len(writer.calls) == 2
    assert sorted(name for names in writer.calls for name in names) == sorted(
        ["first", *(name for names in requests for name in names)]
    )


def test_what_is_wrong_with_one_request_is_told_to_it_alone():
    writer = Writer(poison="b")
    assert waiting(writer, [["a"], ["b", "c"], ["d"]]) == [["a"], "b can't be written", ["d"]]


def test_a_transaction_does_not_grow_without_end():
    writer = Writer()
    requests = [[f"{request}-{number}" for number in range(500)] for request in range(8)]
    assert waiting(writer, requests) == requests
    assert max(map(len, writer.calls)) == MOST


def test_an_error_is_raised_where_nobody_else_waits():
    def fail(_):
        raise StoreError("the disk is full")

    casting = Casting(fail, threading.Lock())
    with pytest.raises(StoreError, match="full"):
        casting.cast([vote("a")])
