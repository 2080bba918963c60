"""How work reports that it goes on, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Called with a number of finished steps, from any thread."""


class Progress:
    """Hears of phases and steps and ignores them; the command line shows them."""

    def start(self, what: str, total: int) -> None:
        """A phase of `total` steps begins."""

    def advance(self, steps: int) -> None:
        """So many steps are done; called from any thread."""


QUIET = Progress()
