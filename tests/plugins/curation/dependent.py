"""Reads another step's columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.component import Context, CurationStep
from variorum.columns import vector


class Dependent(CurationStep):
    """Twice the rank that `bright` gave."""

    def needs(self) -> tuple[str, ...]:
        """The step whose columns it reads."""
        return ("bright",)

    def score(self, table: Any, ctx: Context) -> Mapping[str, Any]:
        """One column."""
        return {"score": 2 * vector(table, "bright.rank")}
