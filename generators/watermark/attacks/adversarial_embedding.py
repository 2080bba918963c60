"""Adversarial embedding: a change too small to see that moves a picture far in the view of a public network.

WAVES' attack without a detector (An et al., ICML 2024, arXiv 2401.08573): if the mark's detector sees as the network
does, it loses the mark. Projected gradient descent (Madry et al., ICLR 2018, arXiv 1706.06083) raises the squared
distance of the embedding. Compare it with `random_signs` of the same budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.kit.attacks import budget
from variorum.kit.attacks.ascent import ascend
from variorum.models.device import one_thread
from variorum.schemas.component import Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.watermark import Access, Attack, Attacked, Goal, Refused, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.models.roles import Embedding
    from variorum.schemas.canonical import Json


class AdversarialEmbedding(Attack):
    """Each picture changed within a budget, so that its embedding moves as far as possible.

    The budget is `epsilon` times the strength, rounded down to whole grey levels, and holds for the stored picture.
    Pictures are attacked one at a time, so that none depends on the others.
    """

    family: ClassVar[str] = "adversarial"
    goal: ClassVar[Goal] = "removal"
    access: ClassVar[Access] = "none"

    model: str = "adversary"
    """Alias of a network with an embedding: `adversary` (EfficientNet-Lite0, 1280 pooled features before the last
    layer); with the hub's weights `zero_shot` (CLIP) or `autoencoder` (all latents)."""
    epsilon: int = Field(default=10, ge=1, le=64)
    """Grey levels of 255 at full strength. The default gives 2, 4, 6, 8 and 10 at the default strengths."""
    steps: int = Field(default=20, ge=1, le=10000)
    """Steps of the ascent. WAVES has 200, for ten times the cost."""
    step: float = Field(default=0.1, gt=0, le=1)
    """Length of a step, as a share of the budget. WAVES has 0.05."""

    def uses(self) -> list[Use]:
        """Return the network."""
        return [Use(self.model)]

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The budget in grey levels. Raises RecipeError for less than one."""
        return {"epsilon": budget.whole_levels(self.called, self.epsilon, strength)}

    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> list[Attacked | Refused]:
        """Each picture attacked, and how far its embedding moved, as a share of the embedding's length."""
        levels = budget.whole_levels(self.called, self.epsilon, strength)
        network = target.ctx.models.get(self.model)
        if not hasattr(network, "features"):
            raise RecipeError(
                f"{self.called}.model: {self.model!r} has no embedding that can be differentiated; adversary, "
                "zero_shot and autoencoder have one"
            )
        made: list[Attacked | Refused] = []
        for image, rng in zip(images, rngs, strict=True):
            away = Away(image, network)
            try:
                with one_thread():
                    found = ascend(image, levels, away.gradient, rng, steps=self.steps, step=self.step)
                    made.append(Attacked(found, {"embedding_moved": away.moved(found)}))
            except FloatingPointError as error:
                made.append(Refused("no_gradient", str(error)))
        return made


class Away:
    """Distance between the embeddings of a changed picture and of the picture itself."""

    def __init__(self, image: Pixels, network: Embedding) -> None:
        import torch

        self._network = network
        with torch.no_grad(), one_thread():
            self._from = network.features(_tensor(image.astype(np.float32)))

    def gradient(self, state: Singles) -> Singles:
        """Of the squared distance, at a picture `[H, W, 3]` in grey levels. Raises FloatingPointError for none."""
        import torch

        pictures = _tensor(state).requires_grad_()
        with torch.enable_grad():
            distance = (self._network.features(pictures) - self._from).square().sum()
            (slope,) = torch.autograd.grad(distance, pictures)
        found = np.asarray(slope[0].permute(1, 2, 0).cpu().numpy(), np.float32)
        if not np.isfinite(found).all():
            raise FloatingPointError("the network's gradient isn't finite for this picture")
        return found

    def moved(self, image: Pixels) -> float:
        """The distance of a picture, as a share of the embedding's length."""
        import torch

        with torch.no_grad():
            there = self._network.features(_tensor(image.astype(np.float32)))
        return round(float((there - self._from).norm() / self._from.norm().clamp_min(1e-12)), 5)


def _tensor(picture: Singles) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None] / 255
