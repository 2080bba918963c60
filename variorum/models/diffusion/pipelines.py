"""Latent diffusion pipelines: text to image, image to image, image variation, inpainting.

The noise of each picture is drawn on the CPU, in float32, from its own seed, and stacked afterwards; a scheduler or an
encoder that draws more uses the same picture's generator. So a picture depends on its seed and not on its batch, up to
rounding errors of the kernels.

A pipeline denoises one batch at a time and decodes one at a time, but both at once: with two calling threads the
denoising network never waits for the decoder.
"""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from variorum.models.device import inference
from variorum.models.diffusion.bounds import Bounds
from variorum.models.diffusion.encoded_prompts import EncodedPrompts
from variorum.models.diffusion.images import blanked, extended, grown, resized, to_pil
from variorum.models.roles import BLANK, Filled

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels, Singles

LARGE = 1024
"""Side from which the VAE works on one picture at a time: SDXL's in float32 needs 1 GiB for each activation there."""
MULTIPLE = 8
"""Stable Diffusion pipelines of diffusers take sides that are multiples of this, whatever the VAE's factor."""
CELLS = 128
"""Side of the latents that a pipeline is made for if it doesn't say so: 1024 pixels."""
XL_SCALING = 0.13025
"""Scaling of SDXL's VAE."""


class Pipeline:
    """Base of the pipelines: noise by seed, locks for denoising and decoding, latents to pixels.

    Args:
        pipeline: diffusers pipeline with `unet` or `transformer`, `vae` and `scheduler`, on its device.
    """

    encodes: ClassVar[bool] = False
    """Whether the VAE also encodes pictures."""
    tf32: bool = False
    """Whether float32 may be computed as TF32."""
    bounds: Bounds = Bounds()
    """Settings that suit the model."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        patch, self._network = (1, pipeline.unet) if hasattr(pipeline, "unet") else (2, pipeline.transformer)
        self.multiple: int = max(MULTIPLE, patch * pipeline.vae_scale_factor)
        cells = self._network.config.get("sample_size") or getattr(pipeline, "default_sample_size", CELLS)
        self.size: int = cells * pipeline.vae_scale_factor
        self._encoded = EncodedPrompts(pipeline)
        # A copy, as calls change a tokenizer's settings and `cut` may run beside a call of the pipeline.
        self._tokenizer: Any = copy.deepcopy(getattr(pipeline, "tokenizer", None))
        self._tokenizing = threading.Lock()
        self._denoising = threading.Lock()  # a scheduler holds the state of one run
        self._upcast = needs_float32(pipeline.vae.config)
        # Decoding can't overlap denoising if parts are offloaded (accelerate's hooks).
        offloaded = any(hasattr(part, "_hf_hook") for part in pipeline.vae.modules())
        self._decoding = self._denoising if offloaded else threading.Lock()
        self._compiled = hasattr(self._network, "_orig_mod")
        self._fullest = 0  # pictures of the largest call since memory last ran out

    def cut(self, prompts: Sequence[str]) -> list[bool]:
        """Return whether each prompt has more tokens than the text encoder reads."""
        with self._tokenizing:
            return [self._tokens(prompt) > self._most_tokens() for prompt in prompts]

    def _tokens(self, prompt: str) -> int:
        """Tokens that a prompt takes; hold the tokenizing lock."""
        return len(self._tokenizer(prompt, verbose=False).input_ids)

    def _most_tokens(self) -> int:
        return int(self._tokenizer.model_max_length)

    def _side(self, size: int | None) -> int:
        side = size or self.size
        if side % self.multiple:
            raise ValueError(f"a side of {side} pixels is no multiple of {self.multiple}")
        return side

    def _noise(self, generators: Sequence[Any], height: int, width: int) -> Any:
        """Standard normal latents `[N, c, h, w]`, drawn as float32, as the pipeline takes them."""
        return self._drawn(generators, height, width).to(self._network.dtype)

    def _drawn(self, generators: Sequence[Any], height: int, width: int) -> Any:
        """Standard normal latents `[N, c, h, w]`, each from its generator, in float32."""
        import torch

        factor, config = self.pipeline.vae_scale_factor, self.pipeline.vae.config
        channels = config.get("latent_channels") or config.z_dim
        shape = channels, height // factor, width // factor
        return torch.stack([torch.randn(shape, generator=generator) for generator in generators])

    def _inputs(self, prompts: Sequence[str], negatives: Sequence[str], inputs: dict[str, Any]) -> dict[str, Any]:
        """What the pipeline is called with: the inputs, with the texts encoded."""
        return inputs | (self._encoded(prompts, negatives) if prompts else {})

    def _grid(self, latents: Any, _inputs: Mapping[str, Any]) -> Any:
        """Latents `[N, c, h, w]`, or `[N, c, 1, h, w]`, as the VAE takes them, of what the pipeline returned."""
        return latents

    def _run(self, prompts: Sequence[str] = (), negatives: Sequence[str] = (), **inputs: Any) -> list[Pixels]:
        """The pictures of one call of the pipeline.

        Args:
            prompts: one per picture, or none.
            negatives: one per prompt, or none.
            inputs: further ones of the pipeline, with one `generator` per picture.

        Raises:
            ValueError: only some of the negatives are empty, or settings that don't suit the model.
        """
        problem = self.bounds.unfit(
            guidance=inputs["guidance_scale"],
            steps=inputs["num_inference_steps"],
            negative=any(negatives),
            image_guidance=inputs.get("image_guidance_scale", 1),
        )
        if problem:
            raise ValueError(f"this model {problem}")
        number = len(inputs["generator"])

        def latents() -> Any:
            rest = self._lacking(number)
            called = self._inputs(repeated(prompts, rest), repeated(negatives, rest), _filled(inputs, rest))
            return self._grid(self.pipeline(**called, output_type="latent").images, called)[:number]

        return self._pictures(latents)

    def _lacking(self, number: int) -> int:
        """How many pictures a call of a compiled network lacks, which is compiled again for every other number.

        The last pictures of a unit, and those that are drawn again, are filled up to the largest call.
        """
        self._fullest = max(number, self._fullest)
        return self._fullest - number if self._compiled else 0

    def _pictures(self, denoise: Callable[[], Any]) -> list[Pixels]:
        """Denoise, then decode; a picture with non-finite values is black, which generators reject as blank."""
        import torch

        try:
            with self._denoising, inference(self.tf32):
                latents = denoise()
            decoded, overflowed = self._decoded(latents)
            if overflowed:  # from now on
                self._upcast = True
                decoded, _ = self._decoded(latents)
        except torch.OutOfMemoryError:
            self._fullest = 0
            torch.cuda.empty_cache()
            raise
        return list((decoded.clip(0, 1) * 255).round().astype(np.uint8))

    def _vae_alone(self) -> AbstractContextManager[object]:
        """A lock if the VAE changes its dtype to decode while another thread may encode; hold the decoding lock."""
        alone = self._upcast and self.encodes and self._decoding is not self._denoising
        return self._denoising if alone else nullcontext()

    def _decoded(self, latents: Any) -> tuple[Singles, bool]:
        """Pictures `[N, H, W, 3]` in [0, 1], decoded as the pipelines do it; whether half precision was too small.

        Large pictures are decoded one by one. One with non-finite values is black.
        """
        import torch

        pipeline = self.pipeline
        large = latents.shape[-2] * latents.shape[-1] * pipeline.vae_scale_factor**2 >= LARGE**2
        with self._decoding, self._vae_alone(), inference(self.tf32):
            with in_float32(pipeline.vae, self._upcast) as vae:
                half = vae.dtype.itemsize == 2
                state = unscaled(latents.to(vae.dtype), vae.config)
                parts = state.split(1) if large else (state,)
                pictures = torch.cat([vae.decode(part, return_dict=False)[0] for part in parts])
            pictures = pictures[:, :, 0] if pictures.ndim == 5 else pictures  # a video of one frame
            sound = pictures.isfinite().flatten(1).all(1)
            overflowed = half and not bool(sound.all()) and bool(latents.isfinite().all())
            decoded = pipeline.image_processor.postprocess(
                pictures.where(sound[:, None, None, None], -1), output_type="np", do_denormalize=[True] * len(pictures)
            )
            pipeline.maybe_free_model_hooks()
        return np.asarray(decoded, np.float32), overflowed


def _filled(inputs: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A pipeline's inputs with `number` further pictures, like the last one, which are dropped later."""
    found = {name: repeated(part, number) if name in ("image", "mask_image") else part for name, part in inputs.items()}
    found["generator"] = [*inputs["generator"], *cpu_generators([0] * number)]
    if "latents" in inputs:
        found["latents"] = drawn_again(inputs["latents"], number)
    return found


def repeated(items: Sequence[Any], number: int) -> list[Any]:
    """The items, and the last of them `number` times more."""
    return [*items, *list(items[-1:]) * number]


def drawn_again(latents: Any, number: int) -> Any:
    """Latents `[N, …]`, and the last of them `number` times more."""
    import torch

    return torch.cat([latents, latents[-1:].expand(number, *latents.shape[1:])]) if number else latents


def needs_float32(config: Any) -> bool:
    """Whether a VAE is known to overflow in float16: SDXL's, and those of its fine-tunings with other statistics.

    `force_upcast` alone says nothing, as it is true by default, also for Stable Diffusion 1 and FLUX.
    """
    of_xl = abs(config.get("scaling_factor", 1) - XL_SCALING) < 1e-6 or bool(config.get("latents_std"))
    return of_xl and bool(config.get("force_upcast"))


@contextmanager
def in_float32(vae: Any, wanted: bool) -> Iterator[Any]:
    """The VAE, in float32 if that is wanted, and afterwards as it was."""
    import torch

    dtype = vae.dtype
    if wanted and dtype != torch.float32:
        vae.to(torch.float32)
    try:
        yield vae
    finally:
        if vae.dtype != dtype:
            vae.to(dtype)


def unscaled(latents: Any, config: Any) -> Any:
    """What a VAE decodes: latents `[N, c, ...]` of about unit variance as its configuration scales and shifts them."""
    mean, std = _per_channel(latents, config)
    return latents / config.get("scaling_factor", 1) * std + mean


def scaled(state: Any, config: Any) -> Any:
    """What a VAE has encoded, as latents of about unit variance: `unscaled` backwards."""
    mean, std = _per_channel(state, config)
    return (state - mean) / std * config.get("scaling_factor", 1)


def _per_channel(latents: Any, config: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of each channel, or a shift for all."""
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if not mean or not std:
        return config.get("shift_factor") or 0, 1
    shape = 1, -1, *[1] * (latents.ndim - 2)
    found = [latents.new_tensor(part).view(shape) for part in (mean, std)]
    return found[0], found[1]


def cpu_generators(seeds: Sequence[int]) -> list[Any]:
    """One PyTorch generator per seed."""
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
        """One square picture per prompt."""
        if not prompts:
            return []
        side, generators = self._side(size), cpu_generators(seeds)
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
        """Each picture noised to `strength` and denoised again, by the last `int(steps * strength)` steps."""
        if not len(images):
            return []
        return self._run(
            prompts,
            negatives,
            image=[to_pil(image) for image in images],
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=cpu_generators(seeds),
        )


class ImageVariation(Pipeline):
    """A `roles.ImageVariation`: CLIP embeddings of pictures replace those of texts."""

    def __call__(
        self, images: Sequence[Pixels], seeds: Sequence[int], *, steps: int, guidance: float, size: int | None
    ) -> list[Pixels]:
        """One square picture per picture; the checkpoint's own image processor resizes the input."""
        if not len(images):
            return []
        side, generators = self._side(size), cpu_generators(seeds)
        return self._run(
            image=[to_pil(image) for image in images],
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
        pipeline: an inpainting pipeline.
        prompt: what to fill holes with.
        negative: what not to fill them with, added to each call's own negatives.
        steps: number of sampler steps.
        guidance: weight of classifier-free guidance.
        side: longer side in pixels at which pictures are processed; None for the side of the model's training.
    """

    encodes = True

    def __init__(
        self, pipeline: Any, prompt: str, negative: str, *, steps: int, guidance: float, side: int | None
    ) -> None:
        super().__init__(pipeline)
        self._prompt, self._negative, self._steps, self._guidance = prompt, negative, steps, guidance
        self._working_side = self._side(side)

    def __call__(
        self,
        images: Sequence[Pixels],
        holes: Sequence[Array],
        seeds: Sequence[int],
        negatives: Sequence[str] = (),
    ) -> list[Filled]:
        """Each picture with its hole filled; pictures of one size share a call of the pipeline.

        One that the pipeline makes black is returned as it was, with the method `blank`.
        """
        filled = [Filled(image, "none") for image in images]
        texts = [", ".join(filter(None, (text, self._negative))) for text in negatives or [""] * len(images)]
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for number, (image, hole, text) in enumerate(zip(images, holes, texts, strict=True)):
            if hole.any():
                groups[image.shape, bool(text)].append(number)  # a call has negatives for all pictures or for none
        for numbers in groups.values():
            group = [(images[n], holes[n], seeds[n], texts[n]) for n in numbers]
            for number, inside in zip(numbers, self._fill(group), strict=True):
                hole = np.asarray(holes[number], bool)
                if blanked(inside[~hole], images[number][~hole]):
                    filled[number] = Filled(images[number], BLANK)
                else:
                    filled[number] = Filled(np.where(hole[..., None], inside, images[number]), "diffusion")
        return filled

    def _fill(self, group: list[tuple[Pixels, Array, int, str]]) -> list[Pixels]:
        images, holes, seeds, negatives = zip(*group, strict=True)
        height, width = images[0].shape[:2]
        scale = self._working_side / max(height, width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        outer = -(-inner[0] // self.multiple) * self.multiple, -(-inner[1] // self.multiple) * self.multiple
        generators = cpu_generators(seeds)
        made = self._run(
            [self._prompt] * len(images),
            negatives,
            image=[to_pil(extended(image, inner, outer)) for image in images],
            mask_image=[to_pil(grown(hole, inner, outer, self.pipeline.vae_scale_factor)) for hole in holes],
            height=outer[0],
            width=outer[1],
            strength=1.0,
            num_inference_steps=self._steps,
            guidance_scale=self._guidance,
            latents=self._noise(generators, *outer),
            generator=generators,
        )
        return [resized(image[: inner[0], : inner[1]], (height, width)) for image in made]
