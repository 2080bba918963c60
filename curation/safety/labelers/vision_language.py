"""A vision-language model on this machine, asked in several ways whether a picture is unsafe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from variorum.curation.safety.harms.prompts import REVISION, Questions
from variorum.schemas.component import Context, Use
from variorum.schemas.safety import Category, Labeler, Opinion, Shown


class VisionLanguage(Labeler):
    """Asks a vision-language model, decoded greedily, and reads its answers; unusable ones are abstentions.

    After UnsafeBench (Qu et al., CCS 2025, arXiv 2405.03486), which asks about one category per picture and draws
    undecided answers at random.
    """

    revision: ClassVar[int] = REVISION
    sort: ClassVar[str] = "vision-language model"
    writes: ClassVar[bool] = True

    batch: int = Field(default=4, ge=1, le=1024)
    model: str = "vlm"
    """Alias of the model: that of the hub's table, or any of your own whose loader is `vision_language`."""
    asked: Questions = Questions()
    """Which questions it is asked."""

    def scored(self) -> tuple[str, ...]:
        """List the categories that its prompts ask about."""
        return self.asked.scored()

    def speaks_of(self, prompt: str) -> tuple[str, ...]:
        """List what the prompt asks about."""
        return self.asked.speaks_of(prompt)

    def prompts(self, categories: Sequence[Category]) -> tuple[str, ...]:
        """The names of the questions."""
        return self.asked.names(categories)

    def uses(self) -> list[Use]:
        """Return the model."""
        return [Use(self.model)]

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """Read the model's answers."""
        question = self.asked.text(shown.prompt, shown.categories)
        answers = ctx.models.get(self.model)(
            shown.pictures, [question] * len(shown.pictures), most_tokens=self.asked.most_tokens
        )
        return [self.asked.opinion(answer, shown.prompt, shown.categories) for answer in answers]
