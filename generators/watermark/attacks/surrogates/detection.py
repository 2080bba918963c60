"""Steps along the gradient of a detector that the attacker has trained, to remove marks or to forge them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from variorum.generators.watermark.attacks.surrogates.pictures import fitted
from variorum.kit.attacks import budget
from variorum.kit.attacks.ascent import ascend
from variorum.kit.fitting.network import Detector, train
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.watermark import Access, Attack, Attacked, Target

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

OWN_KEY = hashlib.sha256(b"an attacker's own key").digest()
"""With which the attacker marks pictures himself; no service uses it."""

CROP = 64
"""Side in pixels of the crops that the detector is trained on. 128 costs five times as much and removes no more."""


class SurrogateAttack(Attack):
    """Base class of attacks by a surrogate detector: its training, and steps along its gradient.

    All changes stay within a budget of whole grey levels that holds after rounding.
    """

    revision: ClassVar[int] = 2
    family: ClassVar[str] = "surrogate detector"
    access: ClassVar[Access] = "black box"
    about_mark: ClassVar[bool] = True

    epsilon: int = Field(default=10, ge=1, le=64)
    """Most grey levels of 255 that a value may change at full strength, as of `random_signs`, the control."""
    steps: int = Field(default=10, ge=1, le=500)
    """Steps along the gradient's sign, each a quarter of the budget; for `universal` on each of the photographs."""
    universal: bool = False
    """Whether one change is learned from the attacker's photographs and added to all pictures; otherwise each picture
    has its own."""
    photographs: int = Field(default=64, ge=10, le=100_000)
    """That the attacker trains on."""
    against: Literal["same", "others", "other key"] = "same"
    """What marked photographs are set apart from: the same ones before they were marked, as the owner of photographs
    has them; other photographs, so that half of them are marked; or the same ones, marked with a key of his own by the
    mark's public algorithm."""
    training_steps: int = Field(default=150, ge=1, le=100_000)
    """Of the detector, on 16 pictures of each class."""

    def amount(self, strength: float) -> Mapping[str, Json]:
        """The budget in grey levels. Raises RecipeError for less than one."""
        return {"epsilon": budget.whole_levels(self.called, self.epsilon, strength)}

    def own_photographs(self) -> int:
        """Those that the detector is trained on."""
        return self.photographs

    def preparation(self) -> Json:
        """The fields that decide the detector."""
        return ["surrogate detector", self.revision, self.photographs, self.against, self.training_steps]

    def classes(self, height: int, width: int, target: Target) -> tuple[list[Pixels], list[Pixels]]:
        """The attacker's marked pictures of this size, and those that they are set apart from."""
        own = [fitted(one, height, width) for one in target.photographs(self.photographs)]
        if self.against == "others":
            half = len(own) // 2
            return target.marked(own[:half]), own[half : 2 * half]
        if self.against == "same":
            return target.marked(own), own
        assert target.mark is not None
        return target.marked(own), list(target.mark.embed(own, [OWN_KEY] * len(own), target.ctx))

    def changed(
        self, images: Sequence[Pixels], levels: int, signs: Sequence[int] | int, rngs: Sequence[np.random.Generator],
        target: Target,
    ) -> list[Attacked]:  # fmt: skip
        """The pictures moved towards marked (sign 1) or unmarked (-1), or away from what the detector says (0)."""
        height, width = images[0].shape[:2]
        size = f"{height}x{width}"

        def learned() -> Mapping[str, np.ndarray]:
            seed = derive_seed(target.ctx.seed, "surrogate detector", size)
            found = train(*self.classes(height, width, target), seed=seed, steps=self.training_steps, crop=CROP)
            return {**found.arrays, "auroc": np.array(found.auroc)}

        kept = target.prepared(f"detector {size}", learned)
        detector = Detector(kept)
        every = [signs] * len(images) if isinstance(signs, int) else signs
        found = []
        for image, sign, rng in zip(images, every, rngs, strict=True):
            before = detector.answer(image)
            way = sign or (-1 if before > 0 else 1)
            if self.universal:
                change = self._common_change(levels, way, detector, size, target)
                made = budget.inside(image, image + change, levels)
            else:
                gradient = detector.towards(way)
                made = ascend(image, levels, gradient, rng, steps=self.steps, step=0.25)
            answers: dict[str, Json] = {"before": round(before, 3), "after": round(detector.answer(made), 3)}
            said: dict[str, Json] = {"surrogate_auroc": round(float(kept["auroc"]), 4), "surrogate": answers}
            found.append(Attacked(made, said, used=()))  # a detector has learned from photographs, and holds none
        return found

    def _common_change(self, levels: int, way: int, detector: Detector, size: str, target: Target) -> Singles:
        """One change `[H, W, 3]` for all pictures: carried on from each of the attacker's photographs to the next."""
        height, width = (int(side) for side in size.split("x"))

        def learned() -> Mapping[str, np.ndarray]:
            marked, unmarked = self.classes(height, width, target)
            change = np.zeros((height, width, 3), np.float32)
            gradient = detector.towards(way)
            for image in marked if way < 0 else unmarked:
                for _ in range(self.steps):
                    slope = gradient(np.clip(image + change, 0, 255).astype(np.float32))
                    change = np.clip(change + 0.25 * levels * np.sign(slope), -levels, levels).astype(np.float32)
            return {"change": np.rint(change).astype(np.int8)}

        return target.prepared(f"change {size} {levels} {way} {self.steps}", learned)["change"].astype(np.float32)
