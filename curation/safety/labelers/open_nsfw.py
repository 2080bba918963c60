"""Yahoo's open_nsfw: one score for nudity and sexual content, from a ResNet of 2016."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from variorum.curation.safety.harms.alignment import alignment
from variorum.schemas.component import Context, Use
from variorum.schemas.safety import Labeler, Opinion, Shown


class OpenNsfw(Labeler):
    """Scores what its authors call "not suitable for work": nudity and sexual content of people, in photographs.

    It knows nothing of drawings, violence or any other category (Mahadeokar & Pesavento, Yahoo, 2016).
    """

    gate: ClassVar[str] = "nudity"
    gradients: ClassVar[str] = "nsfw_gradients"

    model: str = "nsfw"
    """Alias of the network."""

    def scored(self) -> tuple[str, ...]:
        """Sexual content only, as in `alignment.yaml`."""
        return alignment()[self.component_name()].categories

    def uses(self) -> list[Use]:
        """Return the network."""
        return [Use(self.model)]

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """The network's score of each picture."""
        return [Opinion({"sexual": float(score)}) for score in ctx.models.get(self.model)(shown.pictures)]
