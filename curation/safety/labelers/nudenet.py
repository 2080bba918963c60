"""NudeNet: the surest exposed part of a body, found by a detector whose weights are under AGPL-3.0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from variorum.curation.safety.harms.alignment import alignment
from variorum.schemas.component import Context, Use
from variorum.schemas.safety import Labeler, Opinion, Shown

EXPOSED = (
    "ANUS_EXPOSED",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
)
"""Parts that make a picture sexual. Feet, bellies, armpits, faces and men's chests don't."""


class Nudenet(Labeler):
    """Scores nudity by the surest exposed part of a body; its evidence is all parts, covered ones too.

    It takes ordinary things for parts of bodies, so its threshold is high (Praneeth, NudeNet, 2019; a YOLOv8 of 2024).
    A picture without an exposed part has the score 0, which says nothing of acts between people in clothes.
    """

    sort: ClassVar[str] = "part detector"
    writes: ClassVar[bool] = True

    threshold: float = Field(default=0.6, ge=0, le=1)
    """It calls a picture unsafe from this score on. At .2, where the model itself starts, ordinary things count too."""
    model: str = "nude_parts"
    """Alias of the detector; `variorum doctor nude_parts --fetch` fetches it under AGPL-3.0."""

    def scored(self) -> tuple[str, ...]:
        """Sexual content only, as in `alignment.yaml`."""
        return alignment()[self.component_name()].categories

    def uses(self) -> list[Use]:
        """Return the detector."""
        return [Use(self.model)]

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """The score of the surest exposed part of each picture, and the parts with theirs, surest first."""
        found = []
        for parts in ctx.models.get(self.model)(shown.pictures):
            named = list(zip(parts.names, parts.scores.tolist(), strict=True))
            score = max((score for name, score in named if name in EXPOSED), default=0.0)
            text = ", ".join(f"{name.lower()} {score:.2f}" for name, score in named)
            found.append(Opinion({"sexual": min(1.0, score)}, text=text))
        return found
