"""DiT: class-conditional latent diffusion of ImageNet's classes by a transformer, as diffusers' `DiTPipeline`.

Peebles & Xie, ICCV 2023, arXiv 2212.09748. The folder is one that `save_pretrained` wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ModelUnavailable
from variorum.models.entries import Entry
from variorum.models.latent_diffusion import Pipeline, generators_of
from variorum.models.loaders.diffusion import refuse_unsafe
from variorum.models.placement import Placement
from variorum.models.pretrained import lacking, loaded
from variorum.models.roles import Sampler

REVISION = 2
CLASSES = 1000
"""The number that stands for no class, and how many there are."""


class Options(Placement):
    """Settings of a table's entry."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "torch") or Options.model_validate(entry.options).problem(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> LatentTransformer:
    """The pipeline on its device.

    Raises:
        ModelUnavailable: when the folder has pickles or code in it, is no such pipeline, or has other classes than
            ImageNet's.
    """
    import diffusers

    assert weights is not None
    refuse_unsafe(weights)
    pipeline = loaded(diffusers.DiTPipeline, weights, entry)
    if (classes := pipeline.transformer.config.num_embeds_ada_norm) != CLASSES:
        raise ModelUnavailable(f"{entry.name} has {classes} classes; this loader knows ImageNet's {CLASSES} only")
    return LatentTransformer(Options.model_validate(entry.options).place(pipeline))


class LatentTransformer(Pipeline):
    """A `ClassConditional`.

    The pipeline's own call decodes before it returns, so its loop is run here and the base decodes, beside the next
    batch.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, pipeline: Any) -> None:
        from diffusers.image_processor import VaeImageProcessor

        pipeline.vae_scale_factor = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        pipeline.image_processor = VaeImageProcessor(vae_scale_factor=pipeline.vae_scale_factor)
        super().__init__(pipeline)

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, guidance: float, steps: int, sampler: Sampler
    ) -> NDArray[np.uint8]:
        """RGB pictures `[N, size, size, 3]`; a weight below 1 counts as 1."""
        if not len(labels):
            return np.zeros((0, self.size, self.size, 3), np.uint8)
        noise = self._noise(generators_of(seeds), self.size, self.size)
        return np.stack(self._made(lambda: self._denoised(noise, labels, guidance, steps, sampler)))

    def _denoised(self, noise: Any, labels: Sequence[int], guidance: float, steps: int, sampler: Sampler) -> Any:
        """Latents `[N, c, h, w]`, by classifier-free guidance as `DiTPipeline` has it: a learned variance is unused."""
        import torch

        schedule = scheduler(self.pipeline.scheduler.config, sampler)
        schedule.set_timesteps(steps)
        device, guided = self.pipeline._execution_device, guidance > 1
        state = noise.to(device)
        asked = torch.tensor([*labels, *([CLASSES] * len(labels) if guided else [])], device=device)
        for moment in schedule.timesteps:
            seen = schedule.scale_model_input(torch.cat([state, state]) if guided else state, moment)
            found = self._network(seen, timestep=moment.to(device).expand(len(seen)), class_labels=asked).sample
            found = found[:, : state.shape[1]]
            if guided:
                with_class, without = found.chunk(2)
                found = without + guidance * (with_class - without)
            state = schedule.step(found, moment, state).prev_sample
        return state


def scheduler(config: Any, sampler: Sampler) -> Any:
    """A fresh diffusers scheduler, as it keeps a run's state in itself."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    return {"ddim": DDIMScheduler, "dpm++": DPMSolverMultistepScheduler}[sampler].from_config(config)
