"""Report the progress of work, whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Called from any thread with the number of steps just finished."""


class Progress:
    """Receives reports of phases and steps, and ignores them. The command line has subclasses that show them."""

    def start(self, what: str, total: int, done: int = 0) -> None:
        """A phase of `total` steps begins, of which `done` were finished before."""

    def advance(self, steps: int) -> None:
        """`steps` more steps are done. Called from any thread."""


QUIET = Progress()
