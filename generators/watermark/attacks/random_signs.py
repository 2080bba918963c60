"""Random signs: noise of the same largest change as an adversarial attack, to compare it with.

Whatever an attack by gradients does beyond this is the gradient's work; what random signs do as well is the budget's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.kit.attacks import budget
from variorum.schemas.watermark import Access, Attack, Goal, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.schemas.canonical import Json


class RandomSigns(Attack):
    """Every value of a picture moves by the whole budget, up or down at random.

    The budget is `epsilon` times the strength, rounded down to whole grey levels.
    """

    family: ClassVar[str] = "control"
    goal: ClassVar[Goal] = "removal"
    access: ClassVar[Access] = "none"

    epsilon: int = Field(default=10, ge=1, le=64)
    """Grey levels of 255 at full strength. The default gives 2, 4, 6, 8 and 10 at the default strengths."""

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The budget in grey levels. Raises RecipeError for less than one."""
        return {"epsilon": budget.whole_levels(self.called, self.epsilon, strength)}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> list[Pixels]:
        """Each picture with random signs of its own."""
        levels = budget.whole_levels(self.called, self.epsilon, strength)
        return [budget.random_signs(image, levels, rng) for image, rng in zip(images, rngs, strict=True)]
