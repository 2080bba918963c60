"""Denoisers that can be steered step by step: loaders `latent_denoiser`, `pixel_denoiser`, `folded_denoiser`.

`tiny_autoencoder` belongs to the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.device import best_device, has_driver
from variorum.models.diffusion.images import to_pixels, to_tensor
from variorum.models.diffusion.schedule import Schedule
from variorum.models.loaders.class_conditional import FOLD
from variorum.models.loaders.loader import Loader
from variorum.models.onnx import GRAPHS, graph_with_weights, open_session
from variorum.models.pretrained import load_pretrained, one_error, pipeline_index, with_vocabulary
from variorum.models.roles import Denoised
from variorum.models.table_entries import Entry, StrictModel
from variorum.models.weights import damaged
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles


# ── latent_denoiser ──────────────────────────────────────────────────────────────────────────────────────────────────


class LatentDenoiserOptions(StrictModel):
    """Options of `latent_denoiser`."""

    prompt: str = ""
    """What every picture should show; empty for nothing in particular."""
    variant: str | None = None
    """Part of the weights' file names: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""
    checkpointing: bool = False
    """Compute activations again for the gradients: less memory, a third slower, the same pictures."""
    tf32: bool = False
    """Compute float32 with ten bits of mantissa where a GPU can: faster. Without effect in half precision."""


def load_latent_denoiser(
    entry: Entry, folder: Path, options: LatentDenoiserOptions, used: Mapping[str, Any]
) -> LatentDenoiser:
    """The denoiser of a Stable Diffusion pipeline's folder, as `save_pretrained` writes it.

    The entry may use a tiny autoencoder of the same latents for previews, which makes their gradients cheap.

    Raises:
        ModelUnavailable: the folder has pickles or code in it, or isn't such a pipeline.
    """
    import diffusers
    import transformers

    pipeline_index(folder)
    classes = {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
        "text_encoder": transformers.CLIPTextModel,
    }
    parts = {
        name: load_pretrained(cls, folder / name, entry, variant=options.variant)
        .to(best_device())
        .eval()
        .requires_grad_(False)
        for name, cls in classes.items()
    }
    with one_error(folder, "a latent denoiser"):
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        config = diffusers.DDPMScheduler.load_config(folder / "scheduler", local_files_only=True)
    with_vocabulary(tokenizer, folder / "tokenizer")
    prompt = _embedded(parts["text_encoder"], tokenizer, options.prompt)
    if options.checkpointing:
        for part in (parts["unet"], parts["vae"], *used.values()):
            part.enable_gradient_checkpointing()
    model = LatentDenoiser(parts["unet"], parts["vae"], config, prompt, next(iter(used.values()), None))
    model.tf32 = options.tf32
    return model


def _embedded(text_encoder: Any, tokenizer: Any, prompt: str) -> Any:
    """Embedding `[1, tokens, width]`."""
    import torch

    tokens = tokenizer(
        prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        return text_encoder(tokens.input_ids.to(text_encoder.device)).last_hidden_state


class LatentDenoiser:
    """A `roles.Denoiser` whose states are scaled latents of an autoencoder.

    Args:
        network: a `UNet2DConditionModel`.
        autoencoder: an `AutoencoderKL`.
        config: of the scheduler.
        prompt: embedding of the prompt, `[1, tokens, width]`.
        tiny: tiny autoencoder of the same latents for previews, or None.

    Raises:
        ModelUnavailable: the network needs more than latents and a prompt, as SDXL and inpainting models do.
    """

    tf32, fixed = False, None

    def __init__(self, network: Any, autoencoder: Any, config: Any, prompt: Any, tiny: Any = None) -> None:
        channels = autoencoder.config.latent_channels
        if network.config.in_channels != channels or network.config.addition_embed_type:
            raise ModelUnavailable(
                "the denoiser needs more than latents and a prompt; take a Stable Diffusion 1 or 2 that isn't for "
                "inpainting"
            )
        self._network, self._autoencoder, self._tiny, self._prompt = network, autoencoder, tiny, prompt
        self._schedule = Schedule(config, channels)
        self.signal = self._schedule.signal
        self.known = len(self.signal)
        self.shrink: int = 2 ** (len(autoencoder.config.block_out_channels) - 1)
        self.multiple: int = self.shrink * 2 ** (len(network.config.block_out_channels) - 1)
        self.size: int = self.shrink * network.config.sample_size
        self.device = network.device

    def encode(self, images: Sequence[Pixels]) -> Any:
        """The mode of the autoencoder's distribution, scaled to about unit variance."""
        import torch

        with torch.no_grad():
            values = to_tensor(images, self.device).to(self._autoencoder.dtype)
            latents = self._autoencoder.encode(values).latent_dist.mode()
        return latents.float() * self._autoencoder.config.scaling_factor

    def predict(self, state: Any, step: int) -> Denoised:
        """The clean latents according to the network."""
        prompt = self._prompt.to(self._network.dtype).expand(len(state), -1, -1)
        output = self._network(state.to(self._network.dtype), step, encoder_hidden_states=prompt).sample
        return self._schedule.denoised(output.to(state.dtype), state, step)

    def preview(self, state: Any) -> Any:
        """`[N, 3, H, W]` about [0, 1], by the tiny autoencoder if there is one."""
        if self._tiny is None:
            return (self._decoded(state) + 1) / 2
        return (self._tiny.decode(state.to(self._tiny.dtype)).sample.to(state.dtype) + 1) / 2

    def decode(self, state: Any) -> list[Pixels]:
        """The pictures, always by the full autoencoder."""
        import torch

        with torch.no_grad():
            return to_pixels(self._decoded(state))

    def _decoded(self, state: Any) -> Any:
        latents = (state / self._autoencoder.config.scaling_factor).to(self._autoencoder.dtype)
        return self._autoencoder.decode(latents).sample.to(state.dtype)


LATENT_DENOISER = Loader(
    revision=2,
    make=load_latent_denoiser,
    options=LatentDenoiserOptions,
    packages=("diffusers", "transformers", "torch"),
)


# ── tiny_autoencoder ─────────────────────────────────────────────────────────────────────────────────────────────────


def load_tiny_autoencoder(entry: Entry, folder: Path, _options: StrictModel, _used: Mapping[str, Any]) -> Any:
    """A frozen diffusers `AutoencoderTiny` (TAESD), which quickly decodes scaled latents to [-1, 1].

    Raises:
        ModelUnavailable: the folder has none as safetensors.
    """
    from diffusers import AutoencoderTiny

    return load_pretrained(AutoencoderTiny, folder, entry).to(best_device()).eval().requires_grad_(False)


TINY_AUTOENCODER = Loader(revision=1, make=load_tiny_autoencoder, packages=("diffusers", "torch"))


# ── pixel_denoiser ───────────────────────────────────────────────────────────────────────────────────────────────────


class PixelDenoiserOptions(StrictModel):
    """Options of `pixel_denoiser`."""

    variant: str | None = None
    """Part of the weights' file name: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""
    known: int | None = None
    """Number of the schedule's steps, from the least noisy one, that it was trained for; None for all."""
    checkpointing: bool = False
    """Compute activations again for the gradients: less memory, a third slower, the same pictures."""
    tf32: bool = False
    """Compute float32 with ten bits of mantissa where a GPU can: faster. Without effect in half precision."""


def load_pixel_denoiser(
    entry: Entry, folder: Path, options: PixelDenoiserOptions, _used: Mapping[str, Any]
) -> PixelDenoiser | GraphedDenoiser:
    """The denoiser of a folder with `config.json`, safetensors and `scheduler_config.json`.

    Raises:
        ModelUnavailable: no safetensors, or not an unconditional network of RGB pictures.
    """
    if entry.packaged and (GRAPHS / f"{folder.name}.onnx").is_file() and entry.dtype == "float32" and not has_driver():
        return GraphedDenoiser(entry, folder, options)
    return _pixel_denoiser(entry, folder, options)


def _pixel_denoiser(entry: Entry, folder: Path, options: PixelDenoiserOptions) -> PixelDenoiser:
    from diffusers import DDPMScheduler, UNet2DModel

    if not list(folder.glob("*.safetensors")):
        raise ModelUnavailable(
            f"{folder} has no safetensors; pickles are never loaded, docs/datasets/imagenet_e.md says how to convert"
        )
    network = load_pretrained(UNet2DModel, folder, entry, variant=options.variant)
    if options.checkpointing:
        network.enable_gradient_checkpointing()
    with one_error(folder, "a scheduler"):
        config = DDPMScheduler.load_config(folder, local_files_only=True)
    model = PixelDenoiser(network.to(best_device()).eval().requires_grad_(False), config, options.known)
    model.tf32 = options.tf32
    return model


class PixelDenoiser:
    """A `roles.Denoiser` whose states are pictures in [-1, 1].

    A network of 3 channels sees pixels as they are, as ADM does (Dhariwal & Nichol, arXiv 2105.05233); one of 12 sees
    squares of 2×2 pixels.

    Args:
        network: an unconditional `UNet2DModel` on its device, frozen.
        config: of its scheduler.
        known: number of steps that it was trained for, None for all.

    Raises:
        ModelUnavailable: the network is class-conditional, or its channels aren't those of RGB pictures.
    """

    tf32, fixed = False, None

    def __init__(self, network: Any, config: Any, known: int | None = None) -> None:
        channels = network.config.in_channels
        self._fold = isqrt(channels // 3)
        if channels != 3 * self._fold**2 or network.config.out_channels not in (channels, 2 * channels):
            raise ModelUnavailable(
                f"the denoiser has {channels} input and {network.config.out_channels} output channels; RGB pictures "
                "have 3, or 12 folded"
            )
        if network.config.num_class_embeds or network.config.class_embed_type:
            raise ModelUnavailable("the denoiser is class-conditional; backgrounds have no class")
        self._network = network
        self._schedule = Schedule(config, channels)
        self.signal = self._schedule.signal
        self.known = known or len(self.signal)
        self.shrink = 1
        self.multiple: int = self._fold * 2 ** (len(network.config.block_out_channels) - 1)
        self.size: int = self._fold * network.config.sample_size if _looks_around(network.config) else 1
        self.device = network.device

    def encode(self, images: Sequence[Pixels]) -> Any:
        """`[N, 3, H, W]` in [-1, 1]."""
        return to_tensor(images, self.device)

    def predict(self, state: Any, step: int) -> Denoised:
        """The clean picture according to the network."""
        from torch.nn import functional

        folded = functional.pixel_unshuffle(state, self._fold)
        output = self._network(folded.to(self._network.dtype), step).sample.to(state.dtype)
        clean, spread = self._schedule.denoised(output, folded, step)
        unfolded = None if spread is None else functional.pixel_shuffle(spread, self._fold)
        return Denoised(functional.pixel_shuffle(clean, self._fold), unfolded)

    def preview(self, state: Any) -> Any:
        """`[N, 3, H, W]` about [0, 1]."""
        return (state + 1) / 2

    def decode(self, state: Any) -> list[Pixels]:
        """The pictures."""
        return to_pixels(state)


class GraphedDenoiser:
    """A packaged `PixelDenoiser` that PyTorch loads once its states are asked for; `fixed` needs no PyTorch."""

    def __init__(self, entry: Entry, folder: Path, options: PixelDenoiserOptions) -> None:
        session = open_session(graph_with_weights(folder.name, folder), 1, entry.name)
        self.fixed = FixedDenoiser(session, options.known)
        self.signal, self.known, self.tf32 = self.fixed.signal, self.fixed.known, options.tf32
        self.shrink, self.multiple, self.size = self.fixed.shrink, self.fixed.multiple, self.fixed.size
        self._of = entry, folder, options

    @cached_property
    def _whole(self) -> PixelDenoiser:
        entry, folder, _ = self._of
        if changed := damaged(entry, folder):
            raise ModelUnavailable(f"{folder}: {', '.join(changed)} has changed since this model was opened")
        return _pixel_denoiser(*self._of)

    def __getattr__(self, name: str) -> Any:
        """What works on PyTorch's tensors: `encode`, `predict`, `preview`, `decode`, `device`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._whole, name)


class FixedDenoiser:
    """A `roles.Denoiser` on ONNX Runtime, without gradients. Its states are NumPy arrays `[N, 3, H, W]` in [-1, 1].

    Args:
        session: of a graph by `training/graph_of_denoiser.py`.
        known: number of steps that it was trained for, None for all.
    """

    shrink, size, tf32, device, fixed = 1, 1, False, None, None
    multiple = 8

    def __init__(self, session: Any, known: int | None) -> None:
        self._session = session
        self.signal: Floats = self._run("signal", np.zeros((1, 3, self.multiple, self.multiple), np.float32), 0)
        self.known = known or len(self.signal)

    def encode(self, images: Sequence[Pixels]) -> Singles:
        """`[N, 3, H, W]` in [-1, 1]."""
        return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)

    def predict(self, state: Singles, step: int) -> Denoised:
        """The clean picture according to the network."""
        share, rest = float(self.signal[step]) ** 0.5, float(1 - self.signal[step]) ** 0.5
        return Denoised(share * state - rest * self._run("v", state, step), None)

    def preview(self, state: Singles) -> Singles:
        """`[N, 3, H, W]` about [0, 1]."""
        return (state + np.float32(1)) / np.float32(2)

    def decode(self, state: Singles) -> list[Pixels]:
        """The pictures; one with non-finite values is black."""
        sound = np.isfinite(state).all((1, 2, 3), keepdims=True)
        levels = ((np.where(sound, state, -1).clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
        return list(levels.transpose(0, 2, 3, 1))

    def _run(self, output: str, state: Singles, step: int) -> Any:
        return self._session.run([output], {"state": state, "step": np.array([step])})[0]


def _looks_around(config: Any) -> bool:
    """Whether a network has attention, which learns the number of cells of its training; convolutions know any."""
    blocks = (*config.down_block_types, *config.up_block_types)
    return bool(config.add_attention) or any("Attn" in name for name in blocks)


PIXEL_DENOISER = Loader(
    revision=1,
    make=load_pixel_denoiser,
    options=PixelDenoiserOptions,
    packages=("diffusers", "torch", "onnx", "onnxruntime"),
)


# ── folded_denoiser: small grey pictures ─────────────────────────────────────────────────────────────────────────────


def load_folded_denoiser(entry: Entry, folder: Path, _options: StrictModel, _used: Mapping[str, Any]) -> FoldedDenoiser:
    """The network that the loader `folded_unet` makes pictures with, as a denoiser.

    Raises:
        ModelUnavailable: the folder has no such model.
    """
    from diffusers import DDPMScheduler, UNet2DModel

    network = load_pretrained(UNet2DModel, folder, entry, variant="fp16")
    if network.config.in_channels != FOLD**2 or not network.config.num_class_embeds:
        raise ModelUnavailable(f"{entry.name} is no class-conditional network of folded grey pictures")
    with one_error(folder, "a scheduler"):
        config = DDPMScheduler.load_config(folder, local_files_only=True)
    return FoldedDenoiser(network.to(best_device()).eval().requires_grad_(False), config)


class FoldedDenoiser:
    """A `roles.Denoiser` whose states are small grey pictures in [-1, 1]; it asks the network for no class.

    Args:
        network: a `UNet2DModel` on its device, frozen; its last class is the null class.
        config: of its scheduler.
    """

    tf32, fixed = False, None

    def __init__(self, network: Any, config: Any) -> None:
        self._network = network
        self._schedule = Schedule(config, network.config.in_channels)
        self._side: int = network.config.sample_size * FOLD
        self.signal = self._schedule.signal
        self.known = len(self.signal)
        self.shrink = 1
        self.multiple: int = FOLD * 2 ** (len(network.config.block_out_channels) - 1)
        self.size = 1  # `encode` refuses all sides but its own
        self.device = network.device

    def encode(self, images: Sequence[Pixels]) -> Any:
        """`[N, 1, side, side]` in [-1, 1].

        Raises:
            ValueError: a picture of another size than the network was trained on, or a coloured one.
        """
        height, width = images[0].shape[:2]
        if (height, width) != (self._side, self._side):
            raise ValueError(
                f"the denoiser knows pictures of {self._side} x {self._side} pixels, not {width} x {height}"
            )
        if any((image != image[..., :1]).any() for image in images):
            raise ValueError("the denoiser knows grey pictures, and this one has colours")
        return to_tensor(images, self.device)[:, :1]

    def predict(self, state: Any, step: int) -> Denoised:
        """The clean picture according to the network."""
        import torch
        from torch.nn import functional

        folded = functional.pixel_unshuffle(state, FOLD)
        null = torch.full((len(state),), self._network.config.num_class_embeds - 1, device=self.device)
        output = self._network(folded.to(self._network.dtype), step, class_labels=null).sample.to(state.dtype)
        clean, _ = self._schedule.denoised(output, folded, step)
        return Denoised(functional.pixel_shuffle(clean, FOLD), None)

    def preview(self, state: Any) -> Any:
        """`[N, 3, side, side]` about [0, 1]."""
        return (state.expand(-1, 3, -1, -1) + 1) / 2

    def decode(self, state: Any) -> list[Pixels]:
        """The pictures."""
        return to_pixels(state.expand(-1, 3, -1, -1))


FOLDED_DENOISER = Loader(revision=1, make=load_folded_denoiser, packages=("diffusers", "torch"))
