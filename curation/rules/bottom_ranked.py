"""Sends the pictures that a classifier is least sure of to people, and drops none of them.

Dropping what a model gets wrong would make a robustness benchmark easier for models like it. People can tell a hard
picture from a broken one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from variorum.kit.labels.classes import id_ranks
from variorum.schemas.component import Context, Decider
from variorum.schemas.verdict import Verdict

if TYPE_CHECKING:
    from variorum.schemas.table import Table


class BottomRanked(Decider):
    """A `review` verdict for the share of pictures with the lowest value of a gate, lowest first."""

    gate: str = "label_p"
    """The gate whose value ranks the pictures; by default the gate classifier's probability of the label."""
    share: float = Field(default=0.02, gt=0, le=1)
    """Share of the pictures that have the gate; at least one picture if any has it."""

    leave_out: tuple[str, ...] = ("plate",)
    """Variants that aren't meant to show their class."""

    def decide(self, table: Table, ctx: Context) -> Iterator[Verdict]:
        """Verdicts on the lowest `share`. Ties go by id, so the order of rows doesn't matter."""
        if f"gate.{self.gate}" not in table:
            return
        values = table[f"gate.{self.gate}"]
        order = np.lexsort((id_ranks(table), values))
        ranked = order[~np.isnan(values[order]) & ~np.isin(table["variant"].astype(str)[order], self.leave_out)]
        count = max(1, round(self.share * len(ranked)))
        for row in ranked[:count]:
            yield table.verdict(row, "review", f"low_{self.gate}")
