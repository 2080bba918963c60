"""Progress in notebooks, consoles and scripts: one bar per phase, by tqdm."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from variorum.machine.progress import QUIET, Pace, Progress

FORM = "{l_bar}{bar}| {n_fmt}/{total_fmt}{postfix}"


class Bars(Progress):
    """One bar per phase. On a terminal it stays when the phase ends; in a notebook it makes room for the result.

    Standard error that is neither, such as a log, gets no bars.

    Args:
        unit: `B` for amounts of data; by default pictures and other steps have none.
    """

    def __init__(self, unit: str = "") -> None:
        self._kind = _tqdm()
        notebook = in_notebook()
        hidden = sys.stderr is None or (False if notebook else None)  # None: unless it is a terminal
        self._options = {
            "bar_format": FORM,
            "unit": unit or " ",
            "unit_scale": bool(unit),
            "leave": not notebook,
            "disable": hidden,
        }
        self._lock = Lock()
        self._bar: Any = None
        self._pace = Pace(0)

    def start(self, what: str, total: int, done: int = 0) -> None:
        """Show the bar of the next phase."""
        self._start(what, total, done)

    def start_unlike(self, what: str, total: int) -> None:
        """Show the bar of the next phase, without a time left."""
        self._start(what, total, 0, alike=False)

    def _start(self, what: str, total: int, done: int, *, alike: bool = True) -> None:
        with self._lock:
            self._close()
            self._pace = Pace(total, done, alike=alike)
            if total > done:
                self._bar = self._kind(total=total, initial=done, desc=what, **self._options)

    def advance(self, steps: int) -> None:
        """Move the bar of this phase."""
        with self._lock:
            if self._bar is not None:
                self._pace.advance(steps)
                self._bar.set_postfix_str(self._pace.time(), refresh=False)
                self._bar.update(steps)

    def close(self) -> None:
        """End the last phase."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def shown(progress: bool | Progress = True, unit: str = "") -> Iterator[Progress]:
    """Progress for a call's argument `progress`: bars for True, nothing for False, or the caller's own object.

    Args:
        progress: what the call was given.
        unit: `B` for amounts of data.
    """
    if isinstance(progress, Progress):
        yield progress
        return
    if not progress:
        yield QUIET
        return
    bars = Bars(unit)
    try:
        yield bars
    finally:
        bars.close()


def in_notebook() -> bool:
    """Return whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython(), "kernel") if ipython else False


def _tqdm() -> Any:
    """The bars of this place: widgets in a notebook that has them, text otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about missing ipywidgets: plain bars are good enough
        from tqdm.auto import tqdm
    return tqdm
