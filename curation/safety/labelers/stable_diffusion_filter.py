"""The filter of Stable Diffusion: how near a picture's CLIP embedding is to seventeen concepts of sexual content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from variorum.curation.safety.harms.alignment import alignment
from variorum.schemas.component import Context, Use
from variorum.schemas.safety import Labeler, Opinion, Shown


class StableDiffusionFilter(Labeler):
    """Scores sexual content by the safety checker that comes with Stable Diffusion.

    The concepts are published as embeddings alone, so nobody can say what exactly it looks for (Rando et al.,
    Red-Teaming the Stable Diffusion Safety Filter, arXiv 2210.04610). The score is 0.5 where the filter starts to flag
    and grows with the distance; it is no probability.
    """

    sort: ClassVar[str] = "head"

    model: str = "safety_checker"
    """Alias of the checker."""

    def scored(self) -> tuple[str, ...]:
        """Sexual content, as in `alignment.yaml`."""
        return alignment()[self.component_name()].categories

    def uses(self) -> list[Use]:
        """Return the checker."""
        return [Use(self.model)]

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """The checker's distance of each picture from its nearest limit, as a score."""
        from variorum.models.loaders.embedding_head import certainty

        scores = certainty(ctx.models.get(self.model)(shown.pictures))
        return [Opinion(dict.fromkeys(self.scored(), float(score))) for score in scores]
