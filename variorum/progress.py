"""How work reports that it goes on, without knowing who listens."""

from __future__ import annotations


class Progress:
    """Hears of phases and steps, and ignores them; a command line shows bars instead."""

    def start(self, what: str, total: int) -> None:
        """A phase of `total` steps begins."""

    def advance(self, steps: int) -> None:
        """So many steps are done; called from any thread."""


QUIET = Progress()
