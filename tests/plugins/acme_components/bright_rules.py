"""Judges by the rank that `bright` gives: a decider."""

from __future__ import annotations

from collections.abc import Iterator

from variorum.schemas.component import Context, Decider
from variorum.schemas.table import Table
from variorum.schemas.verdict import Verdict


class BrightRules(Decider):
    """Drops the brightest, gives the darkest another label, sends the next to people."""

    drop: int = 1
    relabel: int = 0
    to: str = "chelsea"
    review: int = 0

    def needs(self) -> tuple[str, ...]:
        """The ranks."""
        return ("bright",)

    def decide(self, table: Table, ctx: Context) -> Iterator[Verdict]:
        """Verdicts by rank."""
        ranks = table["bright.rank"].astype(int).tolist()
        for row, rank in enumerate(ranks):
            if rank >= len(ranks) - self.drop:
                yield table.verdict(row, "drop", "too_bright", value=rank)
            elif rank < self.relabel:
                yield table.verdict(row, "relabel", "dark_is_a_cat", labels=(self.to,), value=rank)
            elif rank < self.relabel + self.review:
                yield table.verdict(row, "review", "odd", value=rank)
