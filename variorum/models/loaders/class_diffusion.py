"""DiT: class-conditional latent diffusion of ImageNet's classes by a transformer, as diffusers' `DiTPipeline`.

Peebles & Xie, ICCV 2023, arXiv 2212.09748. The folder is one that `save_pretrained` wrote.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.latent_diffusion import generators_of
from variorum.models.loaders.diffusion import refuse_unsafe
from variorum.models.quiet import no_bars
from variorum.models.roles import Sampler

REVISION = 1
CLASSES = 1000
"""The pipeline's number for no class, and how many it takes for granted."""


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vae_slicing: bool = False
    """Decode one picture at a time: less memory, a little slower."""
    compile: bool = False
    """Compile the transformer: minutes at first, worth it for thousands of pictures."""


def problem() -> str:
    """What keeps it from running here."""
    return "" if find_spec("diffusers") and find_spec("torch") else "needs the packages diffusers, torch"


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> LatentTransformer:
    """The pipeline on its device.

    Raises:
        ModelUnavailable: when the folder has pickles or code in it, is no such pipeline, has other classes than
            ImageNet's, or asks for a GPU that there isn't.
    """
    import diffusers
    import torch

    assert weights is not None
    options = Options.model_validate(entry.options)
    refuse_unsafe(weights)
    if entry.dtype == "float16" and best_device() == "cpu":
        raise ModelUnavailable(
            f"{entry.name} computes in float16, which wants a GPU, and there is none here; for a CPU, copy its entry "
            'into a table of your own ($VARIORUM_MODELS) and set dtype = "float32"'
        )
    try:
        with no_bars():
            pipeline = diffusers.DiTPipeline.from_pretrained(
                weights,
                dtype=getattr(torch, entry.dtype),
                use_safetensors=True,
                local_files_only=True,
                low_cpu_mem_usage=find_spec("accelerate") is not None,
            )
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelUnavailable(f"{weights} can't be loaded as a DiTPipeline: {error}") from error
    if (classes := pipeline.transformer.config.num_embeds_ada_norm) != CLASSES:
        raise ModelUnavailable(f"{entry.name} has {classes} classes; this loader knows ImageNet's {CLASSES} only")
    pipeline.set_progress_bar_config(disable=True)
    if options.vae_slicing:
        pipeline.vae.enable_slicing()
    if options.compile:
        pipeline.transformer = torch.compile(pipeline.transformer)
    return LatentTransformer(pipeline.to(best_device()))


class LatentTransformer:
    """A `ClassConditional`. Its noise is drawn on the CPU by each picture's seed, in the network's own type."""

    classes: tuple[str, ...] = ()

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._schedule = pipeline.scheduler.config
        factor = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        self.size: int = pipeline.transformer.config.sample_size * factor
        self._lock = threading.Lock()  # a scheduler keeps the run's state

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, guidance: float, steps: int, sampler: Sampler
    ) -> NDArray[np.uint8]:
        """RGB pictures `[N, size, size, 3]`; a weight below 1 counts as 1.

        Values that aren't finite come as black, which a blank picture's gate catches.
        """
        import torch

        if not len(labels):
            return np.zeros((0, self.size, self.size, 3), np.uint8)
        try:
            with self._lock, torch.inference_mode():
                self._pipeline.scheduler = _scheduler(self._schedule, sampler)
                made = self._pipeline(
                    class_labels=list(labels),
                    generator=generators_of(seeds),
                    guidance_scale=guidance,
                    num_inference_steps=steps,
                    output_type="np",
                ).images
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise
        levels = np.nan_to_num(np.asarray(made, np.float32), nan=0, posinf=0, neginf=0).clip(0, 1) * 255
        return np.asarray(levels.round(), np.uint8)


def _scheduler(config: Any, sampler: Sampler) -> Any:
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    return {"ddim": DDIMScheduler, "dpm++": DPMSolverMultistepScheduler}[sampler].from_config(config)
