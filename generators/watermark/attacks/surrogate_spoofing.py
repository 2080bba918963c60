"""Model substitution the other way: unmarked pictures are changed until the attacker's own detector finds a mark.

After the substitute-model attack of Saberi et al., ICLR 2024 (arXiv 2310.00076); `surrogate` is the same for removal,
and with the same fields both use one detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from variorum.generators.watermark.attacks.surrogates.detection import SurrogateAttack
from variorum.kit.attacks import budget
from variorum.schemas.watermark import Attacked, Goal, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class SurrogateSpoofing(SurrogateAttack):
    """Unmarked pictures changed until a detector that was trained on the attacker's photographs calls them marked."""

    goal: ClassVar[Goal] = "spoofing"

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Attacked]:
        """The changed pictures, with the surrogate's AUROC on photographs held out and its answers."""
        return self.changed(images, budget.whole_levels(self.called, self.epsilon, strength), 1, rngs, target)
