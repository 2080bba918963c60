"""Forgery by averaging: what many marked pictures have in common is added to pictures without a mark.

After Yang et al., Can Simple Averaging Defeat Modern Watermarks?, NeurIPS 2024 (arXiv 2406.09026). `averaging`
subtracts the same pattern; with the same fields both use one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from variorum.generators.watermark.attacks.surrogates.averages import AveragingAttack
from variorum.schemas.watermark import Attacked, Goal, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class AveragingForgery(AveragingAttack):
    """Unmarked pictures plus the mean details of many marked photographs."""

    goal: ClassVar[Goal] = "spoofing"

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Attacked]:
        """The pictures with the common pattern; nothing is random."""
        return self.moved(images, 1, strength, target)
