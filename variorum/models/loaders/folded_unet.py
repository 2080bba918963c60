"""Class-conditional diffusion on small grey pictures, by a diffusers `UNet2DModel` in pixel space.

The network works on pictures folded by pixel-unshuffle (four channels at half the side); its last class means none,
for classifier-free guidance (Ho & Salimans, arXiv 2207.12598).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.pretrained import half_without_gpu, lacking, loaded, reading
from variorum.models.roles import Sampler

REVISION = 1
FOLD = 2
"""Side of the squares of pixels that become channels."""
CLIPPED = -5.1
"""Log signal-to-noise below which DPM-Solver++ takes no step: the cosine schedule ends at no signal at all."""


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    """Class ids in the order of the network's labels, without the null class."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> FoldedUNet:
    """The model of a folder with `config.json`, fp16 safetensors and `scheduler_config.json`.

    Raises:
        ModelUnavailable: when the folder has no such model, or the table names another number of classes.
    """
    from diffusers import DDIMScheduler, UNet2DModel

    assert weights is not None
    options = Options.model_validate(entry.options)
    network = loaded(UNet2DModel, weights, entry, variant="fp16")
    if network.config.num_class_embeds != len(options.classes) + 1:
        raise ModelUnavailable(
            f"{entry.name} has {network.config.num_class_embeds} classes, the null class among them; "
            f"the table names {len(options.classes)}"
        )
    with reading(weights, "a scheduler"):
        schedule = DDIMScheduler.load_config(weights, local_files_only=True)
    return FoldedUNet(network.to(best_device()).eval(), schedule, options.classes)


class FoldedUNet:
    """A `ClassConditional`. `draw` and `denoise` are its two halves, for work on the noise in between."""

    def __init__(self, network: Any, schedule: Any, classes: tuple[str, ...]) -> None:
        self._network = network
        self._schedule = schedule
        self._denoising = threading.Lock()  # one batch in memory at a time
        self.classes = classes
        self.size: int = network.config.sample_size * FOLD

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, guidance: float, steps: int, sampler: Sampler
    ) -> NDArray[np.uint8]:
        """RGB pictures `[N, size, size, 3]`, one a label, each from its own seed's noise."""
        return pictures(self.denoise(self.draw(seeds), labels, guidance=guidance, steps=steps, sampler=sampler))

    def draw(self, seeds: Sequence[int]) -> Any:
        """Standard normal noise `[N, 4, size / 2, size / 2]` float32 on the CPU, one generator a seed."""
        import torch

        config = self._network.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        drawn = [torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn) if drawn else torch.zeros((0, *shape))

    def denoise(self, noise: Any, labels: Sequence[int], *, guidance: float, steps: int, sampler: Sampler) -> Any:
        """What the sampler makes of folded noise: `[N, 4, size / 2, size / 2]` about [-1, 1], on the CPU.

        Both samplers are deterministic: DDIM with η = 0 (Song et al., arXiv 2010.02502) and DPM-Solver++ of second
        order (Lu et al., arXiv 2211.01095).
        """
        import torch

        if not len(labels):
            return noise
        schedule = scheduler(self._schedule, sampler)
        schedule.set_timesteps(steps)
        device, dtype = self._network.device, self._network.dtype
        state = (noise * schedule.init_noise_sigma).to(device, dtype)
        asked = torch.tensor(labels, device=device)
        guided = guidance != 1
        conditions = torch.cat([asked, torch.full_like(asked, len(self.classes))]) if guided else asked
        with self._denoising, torch.inference_mode():
            for moment in schedule.timesteps:
                seen = schedule.scale_model_input(state, moment)
                found = self._network(
                    torch.cat([seen, seen]) if guided else seen, moment, class_labels=conditions
                ).sample
                if guided:
                    with_class, without = found.chunk(2)
                    found = without + guidance * (with_class - without)
                state = schedule.step(found, moment, state).prev_sample
        return state.float().cpu()


def scheduler(config: Any, sampler: Sampler) -> Any:
    """A fresh diffusers scheduler, as it keeps a run's state in itself."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    if sampler == "ddim":
        return DDIMScheduler.from_config(config)
    return DPMSolverMultistepScheduler.from_config(config, lambda_min_clipped=CLIPPED)


def pictures(folded: Any) -> NDArray[np.uint8]:
    """RGB `[N, H, W, 3]` of folded pictures in [-1, 1]; what lies outside is cut off."""
    from torch.nn import functional

    grey = functional.pixel_shuffle(folded, FOLD)[:, 0]
    levels = ((grey.clamp(-1, 1) + 1) * 127.5).round().numpy().astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)
