"""The four things that a latent diffusion pipeline of diffusers is asked to do here, behind the roles' calls.

Noise is drawn per picture, on the CPU, in float32 and by the picture's own seed, and stacked afterwards; what a
scheduler or an encoder draws besides comes from the same picture's generator. So a picture depends on its seed and
not on its batch, up to what kernels do with another batch size.

A pipeline denoises one batch at a time and decodes one at a time, but each may go on beside the other: two threads that
call it keep the network that denoises at work.
"""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from variorum.models.encoded_prompts import EncodedPrompts
from variorum.models.roles import Filled, Pixels

MULTIPLE = 8
"""Sides that diffusers' Stable Diffusion pipelines take are multiples of this, whatever the VAE's factor."""


class Pipeline:
    """What they have in common: noise by seed, one batch in the network and one in the VAE, pixels out.

    Args:
        pipeline: of diffusers, with `unet` or `transformer`, `vae` and `scheduler`, on its device.
    """

    encodes: ClassVar[bool] = False
    """Whether the VAE also encodes pictures."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.multiple: int = max(MULTIPLE, pipeline.vae_scale_factor)
        self._network = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
        self.size: int = self._network.config.sample_size * pipeline.vae_scale_factor
        self._encoded = EncodedPrompts(pipeline)
        # calls change a tokenizer's settings, so what is counted beside a run is counted by another one
        self._counter: Any = copy.deepcopy(getattr(pipeline, "tokenizer", None))
        self._counting = threading.Lock()
        self._denoising = threading.Lock()  # a scheduler keeps the run's state
        # Not beside each other: parts that come and go (accelerate's hooks), and a VAE that encodes pictures here and
        # changes its type to decode, as SDXL's has to in half precision.
        offloaded = any(hasattr(part, "_hf_hook") for part in pipeline.vae.modules())
        self._upcast = hasattr(pipeline, "upcast_vae") and pipeline.vae.config.force_upcast
        alone = offloaded or (self.encodes and self._upcast)
        self._decoding = self._denoising if alone else threading.Lock()

    def cut(self, prompts: Sequence[str]) -> list[bool]:
        """Whether each prompt has more tokens than the text encoder reads."""
        with self._counting:
            tokens = [len(self._counter(prompt, verbose=False).input_ids) for prompt in prompts]
        return [number > self._counter.model_max_length for number in tokens]

    def _side(self, size: int | None) -> int:
        side = size or self.size
        if side % self.multiple:
            raise ValueError(f"a side of {side} pixels is no multiple of {self.multiple}")
        return side

    def _noise(self, generators: Sequence[Any], height: int, width: int) -> Any:
        """Standard normal latents `[N, c, h, w]` in the network's type, drawn as float32."""
        import torch

        factor, channels = self.pipeline.vae_scale_factor, self.pipeline.vae.config.latent_channels
        shape = channels, height // factor, width // factor
        drawn = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        return drawn.to(self._network.dtype)

    def _run(self, prompts: Sequence[str] = (), negatives: Sequence[str] = (), **inputs: Any) -> list[Pixels]:
        """The pictures of one call of the pipeline.

        Raises:
            ValueError: when only some of the negatives are empty.
        """

        def latents() -> Any:
            texts = self._encoded(prompts, negatives) if prompts else {}
            return self.pipeline(**inputs, **texts, output_type="latent").images

        return self._made(latents)

    def _made(self, denoise: Callable[[], Any]) -> list[Pixels]:
        """Latents as pictures; values that aren't finite come as black, which a blank picture's gate catches."""
        import torch

        try:
            with self._denoising, torch.inference_mode():
                latents = denoise()
            with self._decoding, torch.inference_mode():
                made = self._decoded(latents)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise
        levels = np.nan_to_num(made, nan=0, posinf=0, neginf=0).clip(0, 1) * 255
        return list(levels.round().astype(np.uint8))

    def _decoded(self, latents: Any) -> NDArray[np.float32]:
        """Pictures `[N, H, W, 3]` in 0..1, as the pipelines themselves decode."""
        import torch

        vae = self.pipeline.vae
        kept, mean, std = vae.dtype, getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
        try:
            if self._upcast and kept == torch.float16:
                vae.to(torch.float32)
            state = latents.to(vae.dtype) / vae.config.scaling_factor
            if mean and std:
                scale, shift = (torch.tensor(part).to(state).view(1, -1, 1, 1) for part in (std, mean))
                state = state * scale + shift
            pictures = vae.decode(state, return_dict=False)[0]
        finally:
            if vae.dtype != kept:
                vae.to(kept)
        made = self.pipeline.image_processor.postprocess(
            pictures, output_type="np", do_denormalize=[True] * len(pictures)
        )
        self.pipeline.maybe_free_model_hooks()
        return np.asarray(made, np.float32)


def generators_of(seeds: Sequence[int]) -> list[Any]:
    """A CPU generator a seed."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


class TextToImage(Pipeline):
    """A `roles.TextToImage`."""

    def __call__(
        self,
        prompts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        guidance: float,
        size: int | None,
    ) -> list[Pixels]:
        """One square picture a prompt."""
        if not prompts:
            return []
        side, generators = self._side(size), generators_of(seeds)
        return self._run(
            prompts,
            negatives,
            height=side,
            width=side,
            num_inference_steps=steps,
            guidance_scale=guidance,
            latents=self._noise(generators, side, side),
            generator=generators,
        )


class ImageToImage(Pipeline):
    """A `roles.ImageToImage`: SDEdit (Meng et al., ICLR 2022, arXiv 2108.01073) in latent space."""

    encodes = True

    def __call__(
        self,
        images: Sequence[Pixels],
        prompts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        *,
        strength: float,
        steps: int,
        guidance: float,
    ) -> list[Pixels]:
        """Each picture noised to `strength` and denoised again: the last `int(steps * strength)` steps."""
        if not len(images):
            return []
        return self._run(
            prompts,
            negatives,
            image=[picture(image) for image in images],
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators_of(seeds),
        )


class ImageVariation(Pipeline):
    """A `roles.ImageVariation`: the pictures' CLIP embeddings stand where the texts' would."""

    def __call__(
        self, images: Sequence[Pixels], seeds: Sequence[int], *, steps: int, guidance: float, size: int | None
    ) -> list[Pixels]:
        """One square picture a picture, whose resizing is the checkpoint's own."""
        if not len(images):
            return []
        side, generators = self._side(size), generators_of(seeds)
        return self._run(
            image=[picture(image) for image in images],
            height=side,
            width=side,
            num_inference_steps=steps,
            guidance_scale=guidance,
            latents=self._noise(generators, side, side),
            generator=generators,
        )


class Inpaint(Pipeline):
    """A `roles.Inpainter`.

    Args:
        pipeline: a pipeline for inpainting.
        prompt: what holes are filled with.
        negative: what they aren't, whatever a call says besides.
        steps: of the sampler.
        guidance: weight of classifier-free guidance.
        side: longer side at which pictures are worked on, pixels; None for the side of the model's training.
    """

    encodes = True

    def __init__(
        self, pipeline: Any, prompt: str, negative: str, *, steps: int, guidance: float, side: int | None
    ) -> None:
        super().__init__(pipeline)
        self._prompt, self._negative, self._steps, self._guidance = prompt, negative, steps, guidance
        self._work = self._side(side)

    def __call__(
        self,
        images: Sequence[Pixels],
        holes: Sequence[NDArray[Any]],
        seeds: Sequence[int],
        negatives: Sequence[str] = (),
    ) -> list[Filled]:
        """Each picture with its hole filled; pictures of one size go through the model together."""
        filled = [Filled(image, "none") for image in images]
        away = [", ".join(filter(None, (text, self._negative))) for text in negatives or [""] * len(images)]
        together: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for number, (image, hole, text) in enumerate(zip(images, holes, away, strict=True)):
            if hole.any():
                together[image.shape, bool(text)].append(number)  # a call has negatives for all or for none
        for numbers in together.values():
            some = [(images[n], holes[n], seeds[n], away[n]) for n in numbers]
            for number, inside in zip(numbers, self._fill(some), strict=True):
                image = np.where(np.asarray(holes[number], bool)[..., None], inside, images[number])
                filled[number] = Filled(image, "diffusion")
        return filled

    def _fill(self, asked: list[tuple[Pixels, NDArray[Any], int, str]]) -> list[Pixels]:
        images, holes, seeds, negatives = zip(*asked, strict=True)
        height, width = images[0].shape[:2]
        scale = self._work / max(height, width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        outer = tuple(-(-side // self.multiple) * self.multiple for side in inner)
        generators = generators_of(seeds)
        made = self._run(
            [self._prompt] * len(images),
            negatives,
            image=[picture(fitted(image, inner, outer)) for image in images],
            # whatever of a hole falls into a pixel makes it one
            mask_image=[
                picture((fitted(hole.astype(np.uint8) * 255, inner, outer) > 0) * np.uint8(255)) for hole in holes
            ],
            height=outer[0],
            width=outer[1],
            strength=1.0,
            num_inference_steps=self._steps,
            guidance_scale=self._guidance,
            latents=self._noise(generators, *outer),
            generator=generators,
        )
        return [resized(image[: inner[0], : inner[1]], (height, width)) for image in made]


def picture(pixels: NDArray[np.uint8]) -> Any:
    """Pixels as the pipelines take them."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels))


def resized(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """Pixels at another height and width: area filter down, cubic up."""
    if pixels.shape[:2] == shape:
        return pixels
    how = cv2.INTER_AREA if shape[0] < pixels.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, shape[::-1], interpolation=how), np.uint8)


def fitted(pixels: Pixels, inner: tuple[int, int], outer: tuple[int, ...]) -> Pixels:
    """Pixels resized to `inner` height and width, and carried on to `outer` by their last row and column."""
    below, beside = outer[0] - inner[0], outer[1] - inner[1]
    return np.asarray(cv2.copyMakeBorder(resized(pixels, inner), 0, below, 0, beside, cv2.BORDER_REPLICATE), np.uint8)
