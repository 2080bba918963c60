"""Labels pictures as unsafe by category: several labelers look, each may abstain, and their votes are weighed.

After UnsafeBench (Qu et al., CCS 2025, arXiv 2405.03486), with every labeler's word kept. A category that no labeler
speaks of is `unscored`, which is never taken for safe, and nothing is decided by a coin.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from variorum.curation.harms import categories as known
from variorum.curation.harms.asking import ask
from variorum.curation.labelers.open_nsfw import OpenNsfw
from variorum.schemas.component import Context, Detector
from variorum.schemas.lookup import NestedLabeler
from variorum.schemas.safety import RESERVED, Category, Labeler, column_of, models_of, told_apart
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    from variorum.schemas.table import Table


class Safety(Detector):
    """Each labeler's scores by category, and what they come to together with people's votes."""

    late: ClassVar[frozenset[str]] = frozenset()

    categories: tuple[Category, ...] = Field(default_factory=known.unsafebench)
    """What labelers are asked about: UnsafeBench's eleven categories, or your own."""
    labelers: tuple[NestedLabeler, ...] = (OpenNsfw(),)
    """Who is asked, each a mapping with a name."""

    @field_validator("categories")
    @classmethod
    def _categories(cls, value: tuple[Category, ...]) -> tuple[Category, ...]:
        known.told_apart(value)
        return value

    @field_validator("labelers")
    @classmethod
    def _labelers(cls, value: tuple[Labeler, ...]) -> tuple[Labeler, ...]:
        told_apart(value)
        return value

    def optional_aliases(self) -> tuple[str, ...]:
        """The models of all labelers. One without its model is unavailable, which the card says."""
        return models_of(self.labelers)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """For each labeler and prompt, its score by category (NaN where it abstains) and how its answer was understood.

        The columns are `<labeler>.<prompt>.<category>`, without the prompt if it has no name, and for the answer
        `heard`, `text` and `tokens` in place of the category; only labelers that write have the last two.
        """
        rows: list[dict[str, Any]] = [{} for _ in samples]
        for labeler, prompt, opinions in ask(self.labelers, samples, self.categories, ctx):
            known_to = labeler.speaks_of(prompt)
            names = [name for name in (*(one.id for one in self.categories), *RESERVED) if name in known_to]
            for row, opinion in zip(rows, opinions, strict=True):
                for name in names:
                    row[column_of(labeler, prompt, name)] = opinion.scores.get(name, math.nan)
                row[column_of(labeler, prompt, "heard")] = opinion.heard
                if labeler.writes:
                    row[column_of(labeler, prompt, "text")] = opinion.text
                    row[column_of(labeler, prompt, "tokens")] = opinion.tokens
        yield from rows

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """What the opinions come to."""
        return {}
