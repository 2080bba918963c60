"""Many small requests at the same time: each waits for a network, and one after another they would take hours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

AT_ONCE = 16
"""Requests that run at the same time."""
A = TypeVar("A")
B = TypeVar("B")


def each(function: Callable[[A], B], things: Iterable[A], *, at_once: int = AT_ONCE) -> list[B]:
    """`function(thing)` for each of the things, in their order; on threads if `at_once` is more than 1.

    Args:
        function: called from several threads.
        things: its arguments.
        at_once: maximum number of calls at the same time; 1 for a store on a disk, which answers at once.

    Raises:
        Exception: the first error, in the order of the things; calls that haven't started are cancelled.
    """
    wanted = list(things)
    if at_once == 1 or len(wanted) < 2:
        return [function(thing) for thing in wanted]
    with ThreadPoolExecutor(min(at_once, len(wanted))) as pool:
        try:
            return list(pool.map(function, wanted))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
