"""Model substitution: the attacker trains a detector of his own and follows its gradient until it finds no mark.

After the substitute-model attack of Saberi et al., ICLR 2024 (arXiv 2310.00076), and the surrogate-detector attacks of
WAVES (An et al., ICML 2024, arXiv 2401.08573), with a small network in place of their ResNet-18. Those attack marked
pictures away from "marked" and others away from "unmarked"; that is `towards: other`. The random signs of the attack
`random_signs` are the control: only what is below theirs is the gradient's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from variorum.generators.watermark.attacks.surrogates.detection import SurrogateAttack
from variorum.kit.attacks import budget
from variorum.schemas.watermark import Attacked, Goal, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class Surrogate(SurrogateAttack):
    """Pictures changed until a detector that was trained on the attacker's photographs calls them unmarked."""

    goal: ClassVar[Goal] = "removal"

    towards: Literal["unmarked", "other"] = "unmarked"
    """Where pictures are moved: all to unmarked, or each away from what the detector says of it."""

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Attacked]:
        """The changed pictures, with the surrogate's AUROC on photographs held out and its answers."""
        levels = budget.whole_levels(self.called, self.epsilon, strength)
        return self.changed(images, levels, -1 if self.towards == "unmarked" else 0, rngs, target)
