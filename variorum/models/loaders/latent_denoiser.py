"""A denoiser that works on latents: the U-Net and the autoencoder of a Stable Diffusion pipeline, told one prompt.

From a folder as `save_pretrained` writes it. With a model that it `uses`, a small autoencoder of the same latents
(TAESD), previews are decoded by that one, which makes their gradients cheap; finished pictures never are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.loaders.diffusion import refuse_unsafe
from variorum.models.noise import Schedule, pixels, tensor
from variorum.models.pretrained import half_without_gpu, lacking, loaded, reading
from variorum.models.roles import Denoised, Pixels

REVISION = 1


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = ""
    """What every picture is said to show; empty for nothing in particular."""
    variant: str | None = None
    """Of the weights' file names: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""
    checkpointing: bool = False
    """Compute what gradients need twice rather than keep it: less memory, a third slower, the same pictures."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "transformers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> LatentDenoiser:
    """The denoiser of a pipeline's folder.

    Raises:
        ModelUnavailable: when the folder has pickles or code in it, or isn't such a pipeline.
    """
    import diffusers
    import transformers

    assert weights is not None
    options = Options.model_validate(entry.options)
    refuse_unsafe(weights)
    kinds = {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
        "text_encoder": transformers.CLIPTextModel,
    }
    parts = {
        name: loaded(kind, weights / name, entry, variant=options.variant)
        .to(best_device())
        .eval()
        .requires_grad_(False)
        for name, kind in kinds.items()
    }
    with reading(weights, "a latent denoiser"):
        tokenizer = transformers.CLIPTokenizer.from_pretrained(weights / "tokenizer", local_files_only=True)
        config = diffusers.DDPMScheduler.load_config(weights / "scheduler", local_files_only=True)
    told = _told(parts["text_encoder"], tokenizer, options.prompt)
    small = next(iter(used.values()), None)
    if options.checkpointing:
        for part in (parts["unet"], parts["vae"], *used.values()):
            part.enable_gradient_checkpointing()
    return LatentDenoiser(parts["unet"], parts["vae"], config, told, small)


def _told(text_encoder: Any, tokenizer: Any, prompt: str) -> Any:
    """The prompt's embedding `[1, tokens, width]`."""
    import torch

    tokens = tokenizer(
        prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        return text_encoder(tokens.input_ids.to(text_encoder.device)).last_hidden_state


class LatentDenoiser:
    """A `Denoiser` whose states are an autoencoder's latents, scaled.

    Args:
        network: a `UNet2DConditionModel`.
        autoencoder: an `AutoencoderKL`.
        config: of the scheduler.
        told: the prompt's embedding `[1, tokens, width]`.
        small: a small autoencoder of the same latents for previews, or None.

    Raises:
        ModelUnavailable: when the network wants more than latents and a prompt, as SDXL and inpainting models do.
    """

    def __init__(self, network: Any, autoencoder: Any, config: Any, told: Any, small: Any = None) -> None:
        channels = autoencoder.config.latent_channels
        if network.config.in_channels != channels or network.config.addition_embed_type:
            raise ModelUnavailable("a denoiser that wants more than latents and a prompt; take Stable Diffusion 1 or 2")
        self._network, self._autoencoder, self._small, self._told = network, autoencoder, small, told
        self._schedule = Schedule(config, channels)
        self.signal = self._schedule.signal
        self.known = len(self.signal)
        self.shrink: int = 2 ** (len(autoencoder.config.block_out_channels) - 1)
        self.multiple: int = self.shrink * 2 ** (len(network.config.block_out_channels) - 1)
        self.device = network.device

    def encode(self, images: Sequence[Pixels]) -> Any:
        """The mode of the autoencoder's distribution, scaled to about unit variance."""
        import torch

        with torch.no_grad():
            values = tensor(list(images), self.device).to(self._autoencoder.dtype)
            latents = self._autoencoder.encode(values).latent_dist.mode()
        return latents.float() * self._autoencoder.config.scaling_factor

    def predict(self, state: Any, step: int) -> Denoised:
        """The latents that the network sees in noisy ones."""
        told = self._told.to(self._network.dtype).expand(len(state), -1, -1)
        output = self._network(state.to(self._network.dtype), step, encoder_hidden_states=told).sample
        return self._schedule.denoised(output.to(state.dtype), state, step)

    def preview(self, state: Any) -> Any:
        """`[N, 3, H, W]` about [0, 1], by the small autoencoder if there is one."""
        if self._small is None:
            return (self._decoded(state) + 1) / 2
        return (self._small.decode(state.to(self._small.dtype)).sample.to(state.dtype) + 1) / 2

    def decode(self, state: Any) -> list[Pixels]:
        """The pictures, by the whole autoencoder."""
        import torch

        with torch.no_grad():
            return pixels(self._decoded(state))

    def _decoded(self, state: Any) -> Any:
        latents = (state / self._autoencoder.config.scaling_factor).to(self._autoencoder.dtype)
        return self._autoencoder.decode(latents).sample.to(state.dtype)
