"""Reads another step's columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from variorum.arrays import vector
from variorum.schemas.component import Context, CurationStep


class Dependent(CurationStep):
    """Twice the rank that `bright` gave."""

    def needs(self) -> tuple[str, ...]:
        """The step whose columns it reads."""
        return ("bright",)

    def score(self, table: Any, ctx: Context) -> Mapping[str, Any]:
        """One column."""
        return {"score": 2 * vector(table, "bright.rank")}
