"""Latent diffusion that is told more than words: a picture to edit, a picture's edges, or what goes where.

Noise and its independence of the batch are as in `latent_diffusion`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from variorum.models.latent_diffusion import Pipeline, generators_of, picture
from variorum.models.roles import Pixels


class InstructionEdit(Pipeline):
    """A `roles.InstructionEdit`: InstructPix2Pix (Brooks et al., CVPR 2023, arXiv 2211.09800)."""

    encodes = True

    def __call__(
        self,
        images: Sequence[Pixels],
        instructions: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        guidance: float,
        image_guidance: float,
    ) -> list[Pixels]:
        """Each picture edited as it is told to.

        Raises:
            ValueError: for pictures of several sizes or of sides that it can't make, or image guidance below 1, with
                which the pipeline would guide by nothing at all.
        """
        if not len(images):
            return []
        if image_guidance < 1:
            raise ValueError(f"image guidance must be at least 1, got {image_guidance:g}")
        generators = generators_of(seeds)
        return self._run(
            instructions,
            image=[picture(image) for image in images],
            num_inference_steps=steps,
            guidance_scale=guidance,
            image_guidance_scale=image_guidance,
            latents=self._noise(generators, *common_sides(images, self.multiple)),
            generator=generators,
        )


class EdgeToImage(Pipeline):
    """A `roles.EdgeToImage`: ControlNet (Zhang et al., ICCV 2023, arXiv 2302.05543) on Canny's edges.

    Args:
        pipeline: with a `controlnet`.
        limits: of Canny's hysteresis, in grey levels: an edge starts above the second and goes on above the first.
    """

    def __init__(self, pipeline: Any, limits: tuple[float, float]) -> None:
        super().__init__(pipeline)
        self._limits = limits

    def __call__(
        self,
        images: Sequence[Pixels],
        prompts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        *,
        scale: float,
        steps: int,
        guidance: float,
    ) -> list[Pixels]:
        """New pictures with the edges of these.

        Raises:
            ValueError: for pictures of several sizes or of sides that it can't make.
        """
        if not len(images):
            return []
        height, width = common_sides(images, self.multiple)
        generators = generators_of(seeds)
        return self._run(
            prompts,
            negatives,
            image=[picture(edges(image, *self._limits)) for image in images],
            height=height,
            width=width,
            controlnet_conditioning_scale=float(scale),
            num_inference_steps=steps,
            guidance_scale=guidance,
            latents=self._noise(generators, height, width),
            generator=generators,
        )


class LayoutToImage(Pipeline):
    """A `roles.LayoutToImage`: GLIGEN (Li et al., CVPR 2023, arXiv 2301.07093) with boxes and texts.

    The pipeline takes one layout a call, so pictures of one layout go through it together and others after them.
    """

    most = 30
    """Boxes of a picture, as many as it was trained with."""

    def __call__(
        self,
        prompts: Sequence[str],
        negatives: Sequence[str],
        boxes: Sequence[NDArray[Any]],
        phrases: Sequence[Sequence[str]],
        seeds: Sequence[int],
        *,
        grounded: float,
        steps: int,
        guidance: float,
        size: int | None,
    ) -> list[Pixels]:
        """One square picture a prompt.

        Raises:
            ValueError: for a layout without a box or with too many, for a box that isn't one, for a phrase that is
                longer than the text encoder reads, or for a side that the model can't make.
        """
        side = self._side(size)
        together: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for number, (corners, names) in enumerate(zip(boxes, phrases, strict=True)):
            together[self._layout(np.asarray(corners, np.float64), names)].append(number)
        made: list[Pixels] = [np.zeros((side, side, 3), np.uint8)] * len(prompts)
        for (corners, names), numbers in together.items():
            generators = generators_of([seeds[number] for number in numbers])
            pictures = self._run(
                [prompts[number] for number in numbers],
                [negatives[number] for number in numbers],
                gligen_boxes=[list(box) for box in corners],
                gligen_phrases=list(names),
                gligen_scheduled_sampling_beta=grounded,
                height=side,
                width=side,
                num_inference_steps=steps,
                guidance_scale=guidance,
                latents=self._noise(generators, side, side),
                generator=generators,
            )
            for number, pixels in zip(numbers, pictures, strict=True):
                made[number] = pixels
        return made

    def _layout(self, boxes: NDArray[np.float64], phrases: Sequence[str]) -> tuple[Any, ...]:
        """The checked layout as a key."""
        if boxes.shape != (len(phrases), 4) or not 1 <= len(phrases) <= self.most:
            raise ValueError(
                f"a layout has 1 to {self.most} boxes [n, 4] and a phrase for each, got boxes "
                f"{list(boxes.shape)} and {len(phrases)} phrases"
            )
        inside = (boxes >= 0).all() and (boxes <= 1).all() and (boxes[:, :2] < boxes[:, 2:]).all()
        if not inside:
            raise ValueError(f"boxes are left, top, right, bottom as parts of the sides, 0 to 1; got {boxes.tolist()}")
        if True in (cut := self.cut(phrases)):
            raise ValueError(f"the phrase {phrases[cut.index(True)]!r} is longer than the text encoder reads")
        return tuple(map(tuple, boxes.tolist())), tuple(phrases)


def edges(image: Pixels, low: float, high: float) -> Pixels:
    """White edges on black `[H, W, 3]` by Canny's detector (Canny, PAMI 1986) on the picture's grey levels."""
    found = cv2.Canny(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), low, high)
    return np.repeat(np.asarray(found, np.uint8)[..., None], 3, axis=2)


def common_sides(images: Sequence[Pixels], multiple: int) -> tuple[int, int]:
    """Height and width of pictures that go through a model together.

    Raises:
        ValueError: when they differ, or aren't multiples of what the model needs.
    """
    shapes = {image.shape[:2] for image in images}
    if len(shapes) > 1:
        raise ValueError(f"pictures of one call have one size, got {sorted(shapes)}")
    height, width = shapes.pop()
    if height % multiple or width % multiple:
        raise ValueError(f"sides of {height} and {width} pixels are no multiples of {multiple}")
    return height, width
