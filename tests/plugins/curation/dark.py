"""Drops what a probe measured as dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from variorum.schemas.component import CurationStep
from variorum.schemas.verdict import Verdict


class Dark(CurationStep):
    """A verdict on every picture whose `gate.mean` is below the limit."""

    below: float = 128.0

    def decide(self, table: Any) -> Iterator[Verdict]:
        """Drop verdicts, in the table's order."""
        for row in table.select(["id", "sha256", "gate.mean"]).to_pylist():
            if row["gate.mean"] is not None and row["gate.mean"] < self.below:
                yield Verdict(row["id"], row["sha256"], "drop", "dark", "dark")
