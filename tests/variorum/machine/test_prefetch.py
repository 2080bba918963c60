import gc
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.machine import prefetch as module
from variorum.machine.prefetch import prefetch


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@given(st.lists(st.integers(), max_size=30), st.integers(1, 5))
@settings(max_examples=30)
def test_the_same_items_in_the_same_order(items, depth):
    assert list(prefetch(items, depth)) == items


def test_an_exception_comes_after_the_items_before_it():
    def broken():
        yield 1
        yield 2
        raise KeyError("three")

    got = prefetch(broken(), 4)
    assert [next(got), next(got)] == [1, 2]
    with pytest.raises(KeyError, match="three"):
        next(got)
    assert threads() == []


def test_a_non_iterable_raises():
    with pytest.raises(TypeError):
        next(prefetch(3, 1))


def test_it_runs_at_most_depth_items_ahead():
    made = []

    def counting():
        for i in range(100):
            made.append(i)
            yield i

    got = prefetch(counting(), 3)
    next(got)
    time.sleep(0.3)
    # one is consumed, three are queued, and the producer holds one
    assert len(made) == 5
    got.close()


@pytest.mark.parametrize("taken", [1, 5])
def test_closing_early_stops_the_thread_and_closes_the_producer(taken):
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    got = prefetch(endless(), 2)
    for _ in range(taken):
        next(got)
    got.close()
    assert closed.is_set()
    assert threads() == []


def test_closing_a_chain_closes_its_first_producer():
    closed = threading.Event()

    def source():
        try:
            yield from range(1000)
        finally:
            closed.set()

    def doubled(items):
        for item in items:
            yield 2 * item

    got = prefetch(doubled(prefetch(source(), 2)), 2)
    assert next(got) == 0
    got.close()
    gc.collect()
    assert closed.wait(2)
    assert threads() == []


def test_a_producer_that_fails_to_close_does_not_hang_the_consumer():
    class Stubborn:
        def __iter__(self):
            return iter([1])

        def close(self):
            raise OSError("can't close")

    got = prefetch(Stubborn(), 1)
    assert next(got) == 1
    with pytest.raises(OSError, match="can't close"):
        next(got)


def test_a_thread_that_cannot_begin_is_no_hang(monkeypatch):
    """A new thread without memory for its first steps dies before it says that it has begun."""
    monkeypatch.setattr(module, "LONGEST", 0.2)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda self: None)
    with pytest.raises(MemoryError, match="doesn't begin"):
        next(prefetch([1], 1))
