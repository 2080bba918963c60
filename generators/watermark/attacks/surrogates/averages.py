"""The pattern that many marked pictures have in common; `averaging` subtracts it, `averaging_forgery` adds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.watermark.attacks.surrogates.pictures import (
    added,
    at_rms,
    common_energy,
    difference,
    fitted,
    residual,
)
from variorum.schemas.canonical import Json
from variorum.schemas.watermark import Access, Attack, Attacked, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class AveragingAttack(Attack):
    """Base class of both attacks by averaging: the pattern and its strength."""

    revision: ClassVar[int] = 2
    family: ClassVar[str] = "averaging"
    access: ClassVar[Access] = "black box"
    about_mark: ClassVar[bool] = True

    photographs: int = Field(default=50, ge=2, le=100_000)
    """How many marked pictures are averaged."""
    originals: bool = False
    """Whether the attacker has them as they were before they were marked; otherwise a blurred version stands in."""
    decibels: float = Field(default=34, ge=20, le=60)
    """PSNR of the change at full strength; at half strength it is 6 dB more."""

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The number of pictures, and the change's root mean square in grey levels."""
        return {"photographs": self.photographs, "rms": round(self._rms(strength), 4)}

    def own_photographs(self) -> int:
        """Those that are averaged."""
        return self.photographs

    def preparation(self) -> Json:
        """The fields that decide the pattern."""
        return ["averaging", self.revision, self.photographs, self.originals]

    def moved(self, images: Sequence[Pixels], sign: int, strength: float, target: Target) -> list[Attacked]:
        """The pictures plus (sign 1) or minus (-1) the pattern, and how much of the marks' energy it can hold."""
        height, width = images[0].shape[:2]

        def averaged() -> Mapping[str, np.ndarray]:
            own = [fitted(one, height, width) for one in target.photographs(self.photographs)]
            details, total, energy = np.zeros((height, width, 3)), np.zeros((height, width, 3)), 0.0
            for before, marked in zip(own, target.marked(own), strict=True):
                exact = difference(marked, before)
                details += exact if self.originals else residual(marked)
                total += exact
                energy += float((exact**2).sum(dtype=np.float64))
            mean = (details / len(own)).astype(np.float32)
            return {"mean": mean, "common": np.array(common_energy(total, energy, len(own)))}

        kept = target.prepared(f"mean {height}x{width}", averaged)
        change = sign * at_rms(np.asarray(kept["mean"], np.float32), self._rms(strength))
        said: dict[str, Json] = {"common_energy": round(float(kept["common"]), 4)}
        return [Attacked(added(image, change), said) for image in images]

    def _rms(self, strength: float) -> float:
        return float(255 * 10 ** (-self.decibels / 20) * strength)
