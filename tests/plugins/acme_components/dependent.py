"""Reads another detector's columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from variorum.schemas.component import Context, Detector
from variorum.schemas.table import Table


class Dependent(Detector):
    """Twice the rank that `bright` gave."""

    def needs(self) -> tuple[str, ...]:
        """The detector whose columns it reads."""
        return ("bright",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """One column."""
        return {"score": 2 * table["bright.rank"]}
