"""Drops what a probe measured as dark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from variorum.schemas.component import Context, Decider
from variorum.schemas.table import Table
from variorum.schemas.verdict import Verdict


class Dark(Decider):
    """A verdict on every picture whose `gate.mean` is below the limit."""

    below: float = 128.0

    def decide(self, table: Table, ctx: Context) -> Iterator[Verdict]:
        """Drop verdicts, in the table's order."""
        for row in np.flatnonzero(table["gate.mean"] < self.below):
            yield table.verdict(row, "drop", "dark")
