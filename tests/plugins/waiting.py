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
