"""Waits for what a server, a database or a page has a moment later, where Playwright's `expect` has no word for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(state: Callable[[], Any], wanted: Any, seconds: float = 15) -> None:
    """Ask for a state until it is as wanted, and fail with the difference if it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if state() == wanted:
            return
        time.sleep(0.05)
    assert state() == wanted


def tap(button: Any, seen: Callable[[], Any], seconds: float = 15, *, press: str = "tap") -> None:
    """Tap or `click` a button until `seen` says that it worked.

    A busy browser takes a slow tap for a long press and drops it, and the page drops one that comes with a new picture.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if button.is_visible():
            getattr(button, press)()
        again = min(end, time.monotonic() + 2)
        while time.monotonic() < again:
            if seen():
                return
            time.sleep(0.05)
    assert seen(), f"no tap on {button} worked"
