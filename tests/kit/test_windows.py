"""Windows overlap, keep their order, are few, and leave no thread."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from variorum.kit.windows import in_windows

SOON = 30
"""Seconds that a thread is waited for before a test fails."""


def windows():
    return [thread for thread in threading.enumerate() if thread.name == "window"]


def test_items_keep_their_order_whatever_the_windows():
    for batch, at_once, group in ((1, 1, 1), (3, 2, 1), (2, 4, 3), (50, 4, 2)):
        made = in_windows(
            range(12), lambda one: [n * n for n in one], batch=batch, at_once=at_once, group=group, name="x"
        )
        assert list(made) == [(n, n * n) for n in range(12)]
    assert windows() == []


def test_all_windows_at_once_are_at_work_together():
    meeting = threading.Barrier(3)

    def make(window):
        meeting.wait(SOON)  # broken, and an error, unless three come
        return window

    assert len(list(in_windows(range(12), make, batch=2, at_once=3, name="x"))) == 12


def test_few_windows_are_begun_before_their_turn():
    read = count()
    made = in_windows(iter(lambda: next(read), -1), lambda window: window, batch=2, at_once=3, name="x")
    assert next(made) == (0, 0)
    assert next(read) == 6  # of an endless source, three windows of two
    made.close()


def test_an_error_comes_in_its_place_and_leaves_no_thread():
    def make(window):
        if 4 in window:
            raise ValueError("the fifth")
        return window

    made = in_windows(count(), make, batch=2, at_once=3, name="x")
    assert [next(made) for _ in range(4)] == [(n, n) for n in range(4)]
    with pytest.raises(ValueError, match="the fifth"):
        next(made)
    assert windows() == []


def test_closing_waits_for_the_windows_at_work():
    begun, ended = threading.Semaphore(0), []

    def make(window):
        begun.release()
        ended.append(window)
        return window

    made = in_windows(count(), make, batch=1, at_once=2, name="x")
    next(made)
    made.close()
    assert windows() == []
    assert len(ended) == 2


def test_ctrl_c_doesn_t_wait_for_a_window_that_goes_on(monkeypatch):
    monkeypatch.setattr("variorum.kit.windows.GIVEN_UP", 0.05)
    go_on = threading.Event()

    def make(window):
        if window == [0]:
            raise KeyboardInterrupt
        go_on.wait(SOON)
        return window

    with pytest.raises(KeyboardInterrupt):
        list(in_windows(count(), make, batch=1, at_once=2, name="x"))
    assert len(windows()) == 1
    go_on.set()
    for thread in windows():
        thread.join(SOON)
