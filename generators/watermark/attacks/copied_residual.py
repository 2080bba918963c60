"""Spoofing by a copied residual: what marking has added to a picture of the attacker's is added to another picture.

The attacker gives a photograph of his own to the service and subtracts it from what he gets back. Without originals, as
of pictures found elsewhere, the mean details of many marked ones stand in for it. This is the copy attack of Kutter,
Voloshynovskiy & Herrigel (The watermark copy attack, SPIE 2000), without their adaption to the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.watermark.attacks.surrogates.pictures import added, difference, fitted, residual
from variorum.schemas.canonical import Json
from variorum.schemas.watermark import Access, Attack, Attacked, Goal, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class CopiedResidual(Attack):
    """Pictures with the residual of another picture's mark, up to twice as strong.

    It works on marks that add much the same to all pictures, not on those that depend on the picture or that give each
    picture its own key.
    """

    revision: ClassVar[int] = 2
    family: ClassVar[str] = "spoofing"
    goal: ClassVar[Goal] = "spoofing"
    access: ClassVar[Access] = "black box"
    about_mark: ClassVar[bool] = True

    times: float = Field(default=2.0, gt=0, le=10)
    """The factor at full strength."""
    originals: bool = True
    """Whether the attacker has his photographs as they were before they were marked; then each picture gets the
    residual of one of them. Otherwise all get the mean details of all."""
    photographs: int = Field(default=16, ge=1, le=10_000)
    """How many the service marks for him."""

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The factor."""
        return {"times": round(self.times * strength, 6)}

    def own_photographs(self) -> int:
        """Those that are marked."""
        return self.photographs

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Attacked]:
        """The pictures with a residual, and which one it is."""
        height, width = images[0].shape[:2]

        def copied() -> Mapping[str, np.ndarray]:
            own = [fitted(one, height, width) for one in target.photographs(self.photographs)]
            marked = target.marked(own)
            if self.originals:
                return {"residuals": np.stack([difference(*one) for one in zip(marked, own, strict=True)])}
            mean = np.zeros((height, width, 3), np.float32)
            for one in marked:
                mean += residual(one) / len(marked)
            return {"residuals": mean[None]}

        residuals = target.prepared(f"residuals {height}x{width}", copied)["residuals"]
        found = []
        for image, rng in zip(images, rngs, strict=True):
            number = int(rng.integers(len(residuals)))
            change = np.float32(self.times * strength) * residuals[number]
            used = (number,) if self.originals else None
            found.append(Attacked(added(image, change), {"residual": number}, used=used))
        return found
