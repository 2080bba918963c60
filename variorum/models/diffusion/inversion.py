"""Text to image from noise of one's own, and from a picture back to its noise: for marks that are hidden in noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.device import inference
from variorum.models.diffusion.images import resized, to_tensor
from variorum.models.diffusion.pipelines import (
    TextToImage,
    cpu_generators,
    drawn_again,
    in_float32,
    repeated,
    scaled,
)

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


class TextFromNoise(TextToImage):
    """A `roles.TextToImage` and `roles.FromNoise`. Noise is that of latents, `[N, c, height / 8, width / 8]`."""

    def noise(self, seeds: Sequence[int], size: int | None = None) -> Singles:
        """The noise that a call draws for these seeds."""
        side = self._side(size)
        if not len(seeds):
            factor, channels = self.pipeline.vae_scale_factor, self.pipeline.vae.config.latent_channels
            return np.zeros((0, channels, side // factor, side // factor), np.float32)
        return np.asarray(self._noise(cpu_generators(seeds), side, side).float().numpy(), np.float32)

    def from_noise(self, noise: Singles, wanted: Sequence[str], *, guidance: float, steps: int) -> list[Pixels]:
        """The picture of each noise and prompt."""
        if not len(wanted):
            return []
        factor = self.pipeline.vae_scale_factor
        height, width = noise.shape[-2] * factor, noise.shape[-1] * factor

        def denoise() -> Any:
            with self._scheduler("DDIMScheduler"):
                return self._latents(_tensor(noise), wanted, guidance, steps, height, width)

        return self._pictures(denoise)

    def to_noise(self, images: Sequence[Pixels], *, steps: int) -> Singles:
        """The noise of the pictures' latents, with the empty prompt. Sides are rounded to the model's multiple."""
        import torch

        if not len(images):
            return self.noise(())
        height, width = (max(1, round(side / self.multiple)) * self.multiple for side in images[0].shape[:2])
        try:
            with self._decoding, inference(self.tf32):
                latents = self._encoded_pictures([resized(image, (height, width)) for image in images])
            with self._denoising, inference(self.tf32), self._scheduler("DDIMInverseScheduler"):
                found = self._latents(latents, [""] * len(images), 1, steps, height, width)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise
        return np.asarray(found.float().cpu().numpy(), np.float32)

    def _latents(
        self, latents: Any, prompts: Sequence[str], guidance: float, steps: int, height: int, width: int
    ) -> Any:
        number, rest = len(prompts), self._lacking(len(prompts))
        return self.pipeline(
            **self._encoded(repeated(prompts, rest), ()),
            latents=drawn_again(latents, rest).to(self.pipeline._execution_device, self._network.dtype),
            height=height,
            width=width,
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="latent",
        ).images[:number]

    @contextmanager
    def _scheduler(self, name: str) -> Iterator[None]:
        """Another scheduler for one call, without clipping, which is for pixels; hold the denoising lock."""
        import diffusers

        usual = self.pipeline.scheduler
        options = {"clip_sample": False, "prediction_type": usual.config.prediction_type}
        config = {key: value for key, value in usual.config.items() if key != "set_alpha_to_zero"}
        self.pipeline.scheduler = getattr(diffusers, name).from_config(config, **options)
        try:
            yield
        finally:
            self.pipeline.scheduler = usual

    def _encoded_pictures(self, images: Sequence[Pixels]) -> Any:
        """Latents of pictures, without the encoder's own noise; as `_decoded` backwards."""
        with in_float32(self.pipeline.vae, self._upcast) as vae:
            found = vae.encode(to_tensor(images, self.pipeline._execution_device).to(vae.dtype)).latent_dist.mode()
            return scaled(found, vae.config)


def _tensor(noise: Singles) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(noise))
