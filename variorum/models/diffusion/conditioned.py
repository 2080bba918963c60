"""Latent diffusion with more conditions than a text: a picture to edit, edges, or a layout of boxes.

Noise is drawn as in `variorum.models.diffusion.pipelines`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.diffusion.images import canny_edges, common_shape, to_pil
from variorum.models.diffusion.pipelines import Pipeline, cpu_generators

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Pixels


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
        """Each picture edited by its instruction.

        Raises:
            ValueError: pictures of different sizes or unsupported sides, or image guidance below 1, which would turn
                all guidance off.
        """
        if not len(images):
            return []
        if image_guidance < 1:
            raise ValueError(f"image guidance must be at least 1, got {image_guidance:g}")
        generators = cpu_generators(seeds)
        return self._run(
            instructions,
            image=[to_pil(image) for image in images],
            num_inference_steps=steps,
            guidance_scale=guidance,
            image_guidance_scale=image_guidance,
            latents=self._noise(generators, *common_shape(images, self.multiple)),
            generator=generators,
        )


class EdgeToImage(Pipeline):
    """A `roles.EdgeToImage`: ControlNet (Zhang et al., ICCV 2023, arXiv 2302.05543) on Canny edges.

    Args:
        pipeline: with a `controlnet`.
        thresholds: low and high one of `canny_edges`, in grey levels.
    """

    def __init__(self, pipeline: Any, thresholds: tuple[float, float]) -> None:
        super().__init__(pipeline)
        self._thresholds = thresholds

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
        """New pictures with the edges of the given ones.

        Raises:
            ValueError: pictures of different sizes or unsupported sides.
        """
        if not len(images):
            return []
        height, width = common_shape(images, self.multiple)
        generators = cpu_generators(seeds)
        return self._run(
            prompts,
            negatives,
            image=[to_pil(canny_edges(image, *self._thresholds)) for image in images],
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

    The pipeline takes one layout per call, so only pictures of the same layout share a call.
    """

    most = 30
    """Highest number of boxes per picture, as in its training."""

    def __call__(
        self,
        prompts: Sequence[str],
        negatives: Sequence[str],
        boxes: Sequence[Array],
        phrases: Sequence[Sequence[str]],
        seeds: Sequence[int],
        *,
        grounded: float,
        steps: int,
        guidance: float,
        size: int | None,
    ) -> list[Pixels]:
        """One square picture per prompt.

        Raises:
            ValueError: a layout with no box, too many or invalid ones; a phrase longer than the text encoder reads; an
                unsupported side.
        """
        side = self._side(size)
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for number, (corners, names) in enumerate(zip(boxes, phrases, strict=True)):
            groups[self._layout(np.asarray(corners, np.float64), names)].append(number)
        made: list[Pixels] = [np.zeros((side, side, 3), np.uint8)] * len(prompts)
        for (corners, names), numbers in groups.items():
            generators = cpu_generators([seeds[number] for number in numbers])
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

    def _layout(self, boxes: Floats, phrases: Sequence[str]) -> tuple[Any, ...]:
        """The validated layout, hashable."""
        if boxes.shape != (len(phrases), 4) or not 1 <= len(phrases) <= self.most:
            raise ValueError(
                f"a layout has 1 to {self.most} boxes [n, 4] and one phrase per box, got boxes "
                f"{list(boxes.shape)} and {len(phrases)} phrases"
            )
        inside = (boxes >= 0).all() and (boxes <= 1).all() and (boxes[:, :2] < boxes[:, 2:]).all()
        if not inside:
            raise ValueError(
                f"boxes are left, top, right, bottom as fractions of the sides, 0 to 1; got {boxes.tolist()}"
            )
        if True in (cut := self.cut(phrases)):
            raise ValueError(f"the phrase {phrases[cut.index(True)]!r} is longer than the text encoder reads")
        return tuple(map(tuple, boxes.tolist())), tuple(phrases)
