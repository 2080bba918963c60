"""The state of a model on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ready", "missing", "unpinned", "corrupt", "unavailable"]


@dataclass(frozen=True, slots=True)
class Status:
    """State of one alias on this machine.

    Attributes:
        alias: name in recipes.
        name: usual name of the weights.
        table: `embedded`, `hub`, or the path of the user's own table. In the hub profile, `embedded` means that the hub
            table doesn't name this alias.
        location: where the weights are.
        licence: of the weights.
        size: bytes to download, 0 for a method without weights.
        state: `ready`; `missing` can be downloaded; `unpinned` has no commit of its repository yet; `corrupt` differs
            from what the table pins; `unavailable` can't run on this machine.
        way_out: what to do about it; empty if ready.
        answered: whether it gave its known answer on this machine, with today's libraries (`variorum doctor --try`).
    """

    alias: str
    name: str
    table: str
    location: str
    licence: str
    size: int
    state: State
    way_out: str
    answered: bool = False

    @property
    def problem(self) -> str:
        """State and way out in one line, for an error."""
        return f"model {self.alias!r} ({self.location}) is {self.state}: {self.way_out}"
