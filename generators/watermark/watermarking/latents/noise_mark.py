"""Detect marks in the initial noise of a diffusion model; base class of `tree_ring` and `gaussian_shading`.

DDIM turns noise into a picture by steps that can be run backwards (Song et al., ICLR 2021, arXiv 2010.02502). The
detector runs them without class, prompt or guidance, as it doesn't know them, so it gets an estimate of the noise.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import Field

from variorum.machine.prefetch import batched
from variorum.schemas.canonical import digest
from variorum.schemas.component import Context, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.watermark import Detected, Mark

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.models.roles import FromNoise

TOGETHER = 8
"""Pictures of every call for noise. Short calls are filled up, so that a picture's noise depends on no other."""
KEPT = 256
"""Pictures whose noise a process remembers: other marks, and other keys, ask for the same."""
_RECENT: WeakKeyDictionary[FromNoise, dict[str, Singles]] = WeakKeyDictionary()


class NoiseMark(Mark):
    """A mark that `shape` gives to noise and `found` finds in it. `watermarked_generation` makes the pictures."""

    made_with: ClassVar[bool] = True
    least_side: ClassVar[int] = 16

    model: str = "class_conditional"
    """Alias of the model that makes the pictures: `class_conditional`, `text_to_image`, `text_to_image_small`."""
    inversion_steps: int = Field(default=20, ge=1, le=1000)
    """Steps from a picture back to its noise."""

    @abstractmethod
    def shape(self, noise: Singles, keys: Sequence[bytes]) -> Singles:
        """Standard normal noise `[N, c, h, w]` with the mark of each one's key in it."""

    @abstractmethod
    def found(self, noise: Sequence[Singles], keys: Sequence[bytes]) -> Detected:
        """Find the mark in the estimated noise of each picture, `[c, h, w]`, with its key."""

    def uses(self) -> list[Use]:
        """Return the model."""
        return [Use(self.model)]

    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """Raises RecipeError: the mark can't be put into a picture that exists."""
        raise RecipeError(
            f"{self.called} goes into a picture while a model makes it; use the generator watermarked_generation"
        )

    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """Detect marks in the noise that the model estimates for each picture.

        Raises:
            RecipeError: the model can't say which noise a picture came from.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(images):
            groups.setdefault(image.shape, []).append(place)
        noise: list[Singles] = [np.empty(0, np.float32)] * len(images)
        for places in groups.values():
            estimated = noise_of([images[place] for place in places], self.model, self.inversion_steps, ctx)
            for place, one in zip(places, estimated, strict=True):
                noise[place] = one
        return self.found(noise, keys)


def noise_of(images: Sequence[Pixels], alias: str, steps: int, ctx: Context) -> Singles:
    """The estimated noise `[N, c, h, w]` of pictures of one size.

    Raises:
        RecipeError: the model can't say which noise a picture came from.
    """
    model = ctx.models.get(alias)
    if not hasattr(model, "to_noise"):
        raise RecipeError(
            f"the model {alias!r} can't say which noise a picture came from; these can: class_conditional, "
            "text_to_image, text_to_image_small"
        )
    recent = _RECENT.setdefault(model, {})
    keys = [digest([steps, list(image.shape), _hash(image)]) for image in images]
    found = {key: noise for key in keys if (noise := recent.get(key)) is not None}
    missing = {key: image for key, image in zip(keys, images, strict=True) if key not in found}
    for part in batched(missing.items(), TOGETHER):
        filled = [image for _, image in part] + [np.zeros_like(part[0][1])] * (TOGETHER - len(part))
        memo_key = digest(["noise of pictures", ctx.models.pin(alias), [key for key, _ in part]])
        made = ctx.memo(memo_key, partial(_noise, model, filled, steps))["noise"]
        found.update((key, noise) for (key, _), noise in zip(part, made, strict=False))
    recent.update(found)
    for old in list(recent)[:-KEPT]:
        recent.pop(old, None)
    return np.stack([found[key] for key in keys])


def _hash(image: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def _noise(model: FromNoise, images: Sequence[Pixels], steps: int) -> dict[str, Singles]:
    return {"noise": model.to_noise(images, steps=steps)}
