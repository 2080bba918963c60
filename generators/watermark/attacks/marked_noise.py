"""Spoofing by marked noise: the service marks a picture of noise, which is then blended into a picture without a mark.

After Saberi et al., ICLR 2024 (arXiv 2310.00076): `β x + n / max(n) · (255 - max(β x))`, n the marked noise. They blend
with three noises and count the best of the blend, a crop and a turn of it, as the detector says. That takes an attacker
who can ask the detector; here one noise is taken at random and nothing is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.watermark import Access, Attack, Attacked, Goal, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class MarkedNoise(Attack):
    """Pictures under a veil of noise that the service has marked.

    It works on marks that are the same in all pictures. Where each picture has its own key, the noise has one too, and
    the detector looks for another.
    """

    family: ClassVar[str] = "spoofing"
    goal: ClassVar[Goal] = "spoofing"
    access: ClassVar[Access] = "black box"
    about_mark: ClassVar[bool] = True

    veil: float = Field(default=0.3, gt=0, lt=1)
    """Share of the noise at full strength, 1 - β; published with 0.3."""
    noises: int = Field(default=3, ge=1, le=100)
    """How many pictures of noise the service marks; each picture gets one of them."""

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The picture's share β."""
        return {"beta": round(1 - self.veil * strength, 6)}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Attacked]:
        """The blended pictures, and which of the noises they have."""
        shape, beta = images[0].shape, 1 - self.veil * strength

        def marked() -> Mapping[str, np.ndarray]:
            return {"noises": np.stack(target.marked([_noise(shape, number, target) for number in range(self.noises)]))}

        noises = target.prepared(f"noises {shape[0]}x{shape[1]}", marked)["noises"]
        found = []
        for image, rng in zip(images, rngs, strict=True):
            number = int(rng.integers(self.noises))
            noise, dimmed = noises[number].astype(np.float32), beta * image.astype(np.float32)
            blend = dimmed + noise / max(float(noise.max()), 1) * (255 - float(dimmed.max()))
            found.append(Attacked(np.clip(np.rint(blend), 0, 255).astype(np.uint8), {"noise": number}))
        return found


def _noise(shape: tuple[int, ...], number: int, target: Target) -> Pixels:
    """Gaussian noise `[H, W, 3]` from black to white."""
    values = np.random.default_rng(derive_seed(target.ctx.seed, "marked noise", number)).standard_normal(shape)
    low, high = values.min(), values.max()
    return np.asarray(np.rint((values - low) / (high - low) * 255), np.uint8)
