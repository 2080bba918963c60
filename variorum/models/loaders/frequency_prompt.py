"""Loader `frequency_prompt`: a fixed pattern of middle and high frequencies is added to each picture.

After Huang et al., Improving Adversarial Robustness of Masked Autoencoders via Test-time Frequency-domain Prompting,
ICCV 2023, arXiv 2308.10315: one for each cluster of training pictures, from `training/frequency_prompt.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from variorum.models.defended import Combined, DefenceOptions, Part, defence, parts_of
from variorum.models.pretrained import state_of
from variorum.models.table_entries import Entry
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Ints, Pixels


class FrequencyPromptOptions(DefenceOptions):
    """Options of `frequency_prompt`."""

    reads: ClassVar[str] = "a file of training/frequency_prompt.py"


def load_frequency_prompt(
    entry: Entry, file: Path, options: FrequencyPromptOptions, used: Mapping[str, Any]
) -> Combined:
    """The model behind the prompts of a file. Raises ModelUnavailable if it has none."""
    from safetensors.torch import load_file

    (part,) = parts_of(used, gradients=options.gradients)
    with state_of(file, "a file with prompts and centres"):
        tensors = load_file(file)
        prompts = Prompts(part, tensors["prompts"], tensors["centres"])
    told = f"one of {len(prompts.centres)} patterns of middle and high frequencies is added, by the nearest centre."
    behind = part._replace(ask=prompts.ask, network=prompts if part.network is not None else None)
    made = Combined([behind], lambda said: said[0], told)
    made.routes["the mean over all prompts"] = prompts.over_all
    return made


class Prompts:
    """A model whose pictures get prompts first.

    Spectra are the real and imaginary parts of prompts, `[C, 1 or 3, H, W // 2 + 1, 2]`; centres are those of the
    clusters in the model's embedding, `[C, d]`. Raises RecipeError if the model gives no embedding.
    """

    def __init__(self, part: Part, spectra: Any, centres: Any) -> None:
        import torch

        self._part, self.centres = part, centres.numpy()
        self.spectra = torch.view_as_complex(spectra.float().contiguous())

    def nearest(self, images: Sequence[Pixels]) -> Ints:
        """Number of the centre nearest to each picture, `[N]`."""
        embed = getattr(self._part.ask, "features", None)
        if embed is None or (found := embed(images)) is None:
            raise RecipeError(
                f"frequency_prompt: {cut(repr(self._part.name))} gives no embedding, by which prompts are chosen"
            )
        if found.shape[1:] != self.centres.shape[1:]:
            raise RecipeError(
                f"frequency_prompt: the centres have {self.centres.shape[1]} values and the embedding of "
                f"{cut(repr(self._part.name))} has {found.shape[1]}; train prompts for this model"
            )
        return np.asarray(((found[:, None] - self.centres) ** 2).sum(2).argmin(1), np.int64)

    def ask(self, images: Sequence[Pixels]) -> Any:
        """Probabilities `[N, K]` of stored pictures with their prompts, again in whole levels."""
        made = []
        for image, one in zip(images, self.nearest(images) if len(images) else (), strict=True):
            values = prompted(self.spectra.real.new_tensor(image).permute(2, 0, 1) / 255, self.spectra[one])
            made.append((values * 255).round().byte().permute(1, 2, 0).numpy())
        return self._part.ask(made)

    def __call__(self, pictures: Any) -> Any:
        """Log probabilities of tensors; each prompt is chosen anew and is a constant of the gradient."""
        levels = (pictures.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return self._part.network(prompted(pictures, self.spectra[self.nearest(list(levels))]))

    def over_all(self, pictures: Any) -> Any:
        """Logarithm of the mean probability over all prompts, whichever would be chosen."""
        import torch

        said = torch.stack([self._part.network(prompted(pictures, one)) for one in self.spectra])
        return said.exp().mean(0).clamp_min(1e-30).log()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part.network, name)  # where it is, and what it sees


def prompted(pictures: Any, spectra: Any) -> Any:
    """Pictures `[…, H, W]` in [0, 1] with prompts added to their spectra; clipped, which gradients don't notice."""
    import torch

    height, width = pictures.shape[-2:]
    if spectra.shape[-2:] != (height, width // 2 + 1):
        raise RecipeError(
            f"frequency_prompt: the prompts are for pictures of height {spectra.shape[-2]}, and one has {width} × "
            f"{height} pixels; train prompts for this size"
        )
    own = torch.fft.rfft2(pictures, norm="ortho") + spectra.to(pictures.device)
    moved = torch.fft.irfft2(own, s=(height, width), norm="ortho")
    return moved + (moved.clamp(0, 1) - moved).detach()


FREQUENCY_PROMPT = defence(
    load_frequency_prompt,
    FrequencyPromptOptions,
    "A pattern of middle and high frequencies is added to each picture (after Huang et al., arXiv 2308.10315).",
    packages=("safetensors", "torch"),
    has_weights=True,
)
