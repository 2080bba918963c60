"""Purification: noise that drowns the mark, and a diffusion model that takes it away again.

DiffPure (Nie et al., ICML 2022, arXiv 2205.07460), as Saberi et al. (ICLR 2024, arXiv 2310.00076) turned it against
watermarks. Which space it works in follows from the model: pixels with a denoiser of photographs, latents with Stable
Diffusion, small grey pictures with the packaged Fashion-MNIST model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.watermark.watermarking.regenerating import blank, purified
from variorum.schemas.component import Use
from variorum.schemas.sample import PARTLY_GENERATED
from variorum.schemas.watermark import Access, Attack, Goal, Refused, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.schemas.canonical import Json


class Purification(Attack):
    """Each picture noised to step `t` times the strength of a denoiser's training, and denoised.

    Pictures may have any size that the denoiser takes. Its training steps count from the least noisy one; on the usual
    linear schedule of 1000 steps, 100, 200 and 300 are the 0.1, 0.2 and 0.3 of the papers.
    """

    revision: ClassVar[int] = 2
    family: ClassVar[str] = "regeneration"
    goal: ClassVar[Goal] = "removal"
    access: ClassVar[Access] = "none"
    digital_source_type: ClassVar[str] = PARTLY_GENERATED

    denoiser: str = "denoiser"
    """Alias of the model: `denoiser`, with the hub's weights `denoiser_adm`, or `denoiser_small` for grey pictures of
    28 x 28 pixels."""
    t: int = Field(default=300, ge=1, le=999)
    """Noise at full strength, a step of the model's training. The packaged denoiser knows those below 320."""
    steps: int = Field(default=1, ge=1, le=1000)
    """Calls of the model. One gives its estimate of the clean picture; each further one costs as much again."""
    eta: float = Field(default=0, ge=0, le=1)
    """Noise that is added on the way back: 0 none, 1 as much as in DiffPure; without effect for one step."""
    times: int = Field(default=1, ge=1, le=16)
    """How often the whole is done, which is called rinsing from 2 on."""

    def uses(self) -> list[Use]:
        """Return the denoiser."""
        return [Use(self.denoiser)]

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The step that pictures are noised to, and how often."""
        return {"t": max(1, round(self.t * strength)), "times": self.times}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> list[Pixels | Refused]:
        """Each picture purified, with noise of its own. A picture that the model doesn't know is refused."""
        denoiser, t = target.ctx.models.get(self.denoiser), max(1, round(self.t * strength))
        made: list[Pixels | Refused] = []
        for image, rng in zip(images, rngs, strict=True):
            found = image
            try:
                for _ in range(self.times):
                    found = purified(found, denoiser, rng, t=t, steps=self.steps, eta=self.eta)
            except ValueError as error:
                made.append(Refused("unknown_to_model", str(error)))
                continue
            made.append(blank(found, image) or found)
        return made
