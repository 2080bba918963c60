"""Loader `autoencoder`: the autoencoder of a latent diffusion model, from pictures to latents and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.models.device import best_device, float32
from variorum.models.diffusion.images import to_pixels, to_tensor
from variorum.models.loaders.loader import Loader
from variorum.models.pretrained import load_pretrained
from variorum.models.table_entries import Entry, StrictModel

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class AutoencoderOptions(StrictModel):
    """Options of `autoencoder`."""

    variant: str | None = None
    """Part of the weights' file name: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""
    part: str = ""
    """Subfolder with the autoencoder: `vae` in the folder of a pipeline."""


def load_autoencoder(
    entry: Entry, folder: Path, options: AutoencoderOptions, _used: Mapping[str, Any]
) -> KLAutoencoder:
    """The diffusers `AutoencoderKL` of a folder.

    Raises:
        ModelUnavailable: the folder has none as safetensors.
    """
    from diffusers import AutoencoderKL

    network = load_pretrained(AutoencoderKL, folder / options.part, entry, variant=options.variant)
    return KLAutoencoder(network.to(best_device()).eval().requires_grad_(False))


class KLAutoencoder:
    """A `roles.Autoencoder` and a `roles.Embedding`: Rombach et al., CVPR 2022, arXiv 2112.10752.

    Latents are the mode of the encoder's distribution, scaled to about unit variance.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self.multiple: int = 2 ** (len(network.config.block_out_channels) - 1)

    def encode(self, images: Sequence[Pixels]) -> Any:
        """Latents `[N, c, h, w]` in float32."""
        import torch

        with float32(), torch.no_grad():
            return self._latents(to_tensor(images, self._network.device))

    def decode(self, latents: Any) -> list[Pixels]:
        """The pictures of latents."""
        import torch

        with float32(), torch.no_grad():
            state = (latents / self._network.config.scaling_factor).to(self._network.device, self._network.dtype)
            return to_pixels(self._network.decode(state).sample)

    def features(self, pictures: Any) -> Any:
        """All latents of a picture in a row."""
        return self._latents(pictures.to(self._network.device) * 2 - 1).flatten(1)

    def _latents(self, values: Any) -> Any:
        found = self._network.encode(values.to(self._network.dtype)).latent_dist.mode()
        return found.float() * self._network.config.scaling_factor


AUTOENCODER = Loader(revision=1, make=load_autoencoder, options=AutoencoderOptions, packages=("diffusers", "torch"))
