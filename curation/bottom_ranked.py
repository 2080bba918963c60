"""Sends the pictures that a classifier is least sure of to people, and drops none of them.

Dropping what a model gets wrong would make a robustness benchmark easier for models like it; a person can tell a
hard picture from a broken one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from schemas.component import CurationStep
from schemas.verdict import Verdict

if TYPE_CHECKING:
    import pyarrow as pa


class BottomRanked(CurationStep):
    """A `review` verdict for the share of accepted pictures with the lowest value of a gate, lowest first."""

    gate: str = "label_p"
    """The gate whose value ranks the pictures; by default the gate classifier's probability of the label."""
    share: float = Field(default=0.02, gt=0, le=1)
    """Of the accepted pictures that have the gate; at least one, when there are any."""

    leave_out: tuple[str, ...] = ("plate",)
    """Variants that aren't meant to show their class."""

    def decide(self, table: pa.Table) -> Iterator[Verdict]:
        """Verdicts on the lowest `share`; ties go by id, so that the order of units doesn't matter."""
        column = f"gate.{self.gate}"
        if column not in table.column_names:
            return
        columns = (table.column(name).to_pylist() for name in ("id", "sha256", "variant", "status", column))
        ranked = sorted(
            (value, sample_id, sha256)
            for sample_id, sha256, variant, status, value in zip(*columns, strict=True)
            if status == "accepted" and value is not None and variant not in self.leave_out
        )
        count = max(1, round(self.share * len(ranked))) if ranked else 0
        for _, sample_id, sha256 in ranked[:count]:
            yield Verdict(sample_id, sha256, "review", self.component_name(), f"low_{self.gate}")
