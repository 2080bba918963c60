"""Steganalysis by averaging: what many marked pictures have in common is subtracted.

After Yang et al., Can Simple Averaging Defeat Modern Watermarks?, NeurIPS 2024 (arXiv 2406.09026): marks that add much
the same to all pictures are found by the mean and vanish with it. The record has `common_energy`, the share of what the
service has added that is the same in all pictures: near 0 there is nothing to find by averaging.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from variorum.generators.watermark.attacks.surrogates.averages import AveragingAttack
from variorum.schemas.watermark import Attacked, Goal, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class Averaging(AveragingAttack):
    """Pictures minus the mean details of many marked photographs."""

    goal: ClassVar[Goal] = "removal"

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Attacked]:
        """The pictures without the common pattern; nothing is random."""
        return self.moved(images, -1, strength, target)
