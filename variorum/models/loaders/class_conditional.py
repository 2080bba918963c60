"""Loaders `class_diffusion` and `folded_unet`: class-conditional diffusion."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.device import best_device, inference, one_thread
from variorum.models.diffusion.images import resized
from variorum.models.diffusion.options import PipelineOptions
from variorum.models.diffusion.pipelines import Pipeline, cpu_generators, drawn_again, repeated
from variorum.models.loaders.loader import Loader
from variorum.models.pretrained import load_pipeline, load_pretrained, one_error
from variorum.models.roles import Sampler
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


# ── class_diffusion: DiT ─────────────────────────────────────────────────────────────────────────────────────────────

IMAGENET_CLASSES = 1000
"""Number of classes; as a label, no class."""


class ClassDiffusionOptions(PipelineOptions):
    """Options of `class_diffusion`."""


def load_class_diffusion(
    entry: Entry, folder: Path, options: ClassDiffusionOptions, _used: Mapping[str, Any]
) -> DiffusionTransformer:
    """The DiT of a folder written by diffusers' `save_pretrained`.

    Raises:
        ModelUnavailable: the folder has pickles or code in it, isn't such a pipeline, or has other classes than
            ImageNet's.
    """
    import diffusers

    pipeline = load_pipeline(diffusers.DiTPipeline, folder, entry)
    if (classes := pipeline.transformer.config.num_embeds_ada_norm) != IMAGENET_CLASSES:
        raise ModelUnavailable(
            f"{entry.name} has {classes} classes; this loader supports only ImageNet's {IMAGENET_CLASSES}"
        )
    model = DiffusionTransformer(options.apply(pipeline))
    model.tf32 = options.tf32
    return model


class DiffusionTransformer(Pipeline):
    """A `roles.ClassConditional` of ImageNet's classes: DiT (Peebles & Xie, ICCV 2023, arXiv 2212.09748).

    diffusers' `DiTPipeline` decodes before it returns. So this class runs the denoising loop itself, and decoding can
    overlap with the next batch.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, pipeline: Any) -> None:
        from diffusers.image_processor import VaeImageProcessor

        pipeline.vae_scale_factor = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        pipeline.image_processor = VaeImageProcessor(vae_scale_factor=pipeline.vae_scale_factor)
        super().__init__(pipeline)

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, guidance: float, steps: int, sampler: Sampler
    ) -> Pixels:
        """RGB pictures `[N, size, size, 3]`; a guidance below 1 counts as 1."""
        if not len(labels):
            return np.zeros((0, self.size, self.size, 3), np.uint8)
        noise = self._noise(cpu_generators(seeds), self.size, self.size)
        return np.stack(self._pictures(lambda: self._denoised(noise, labels, guidance, steps, sampler)))

    def _denoised(self, noise: Any, labels: Sequence[int], guidance: float, steps: int, sampler: Sampler) -> Any:
        """Latents `[N, c, h, w]`, by classifier-free guidance as in `DiTPipeline`; a learned variance isn't used."""
        import torch

        scheduler = dit_scheduler(self.pipeline.scheduler.config, sampler)
        scheduler.set_timesteps(steps)
        device, guided = self.pipeline._execution_device, guidance > 1
        number, rest = len(labels), self._lacking(len(labels))
        state, labels = drawn_again(noise, rest).to(device), repeated(labels, rest)
        null = [IMAGENET_CLASSES] * len(labels) if guided else []
        classes = torch.tensor([*labels, *null], device=device)
        for timestep in scheduler.timesteps:
            seen = scheduler.scale_model_input(torch.cat([state, state]) if guided else state, timestep)
            found = self._network(seen, timestep=timestep.to(device).expand(len(seen)), class_labels=classes).sample
            found = found[:, : state.shape[1]]
            if guided:
                with_class, without = found.chunk(2)
                found = without + guidance * (with_class - without)
            state = scheduler.step(found, timestep, state).prev_sample
        return state[:number]


def dit_scheduler(config: Any, sampler: Sampler) -> Any:
    """A new diffusers scheduler, as a scheduler holds the state of one run."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    return {"ddim": DDIMScheduler, "dpm++": DPMSolverMultistepScheduler}[sampler].from_config(config)


CLASS_DIFFUSION = Loader(
    revision=2,
    make=load_class_diffusion,
    options=ClassDiffusionOptions,
    packages=("diffusers", "torch"),
    obstacle=lambda entry, options: options.problem(entry),
)


# ── folded_unet: small grey pictures ─────────────────────────────────────────────────────────────────────────────────

FOLD = 2
"""Side of the squares of pixels that become channels."""
CLIPPED = -5.1
"""DPM-Solver++ takes no step below this log signal-to-noise ratio; the cosine schedule ends without any signal."""


class FoldedUNetOptions(StrictModel):
    """Options of `folded_unet`."""

    classes: tuple[str, ...]
    """Class ids in the order of the network's labels, without the null class."""


def load_folded_unet(entry: Entry, folder: Path, options: FoldedUNetOptions, _used: Mapping[str, Any]) -> FoldedUNet:
    """The model of a folder with `config.json`, fp16 safetensors and `scheduler_config.json`.

    Raises:
        ModelUnavailable: the folder has no such model, or the table names another number of classes.
    """
    from diffusers import DDIMScheduler, UNet2DModel

    network = load_pretrained(UNet2DModel, folder, entry, variant="fp16")
    if network.config.num_class_embeds != len(options.classes) + 1:
        raise ModelUnavailable(
            f"{entry.name} has {network.config.num_class_embeds} classes, including the null class; "
            f"the table names {len(options.classes)}"
        )
    with one_error(folder, "a scheduler"):
        schedule = DDIMScheduler.load_config(folder, local_files_only=True)
    return FoldedUNet(network.to(best_device()).eval(), schedule, options.classes)


class FoldedUNet:
    """A `roles.ClassConditional` and `roles.FromNoise` on small grey pictures: a diffusers `UNet2DModel` of pixels.

    The network sees pictures folded by pixel-unshuffle, four channels at half the side. Its last class is the null
    class of classifier-free guidance (Ho & Salimans, arXiv 2207.12598). `draw` and `denoise` are the two halves of a
    call, for work on the noise in between.
    """

    def __init__(self, network: Any, schedule: Any, classes: tuple[str, ...]) -> None:
        self._network = network
        self._schedule = schedule
        self._denoising = threading.Lock()  # one batch in memory at a time
        self.classes = classes
        self.size: int = network.config.sample_size * FOLD

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, guidance: float, steps: int, sampler: Sampler
    ) -> Pixels:
        """RGB pictures `[N, size, size, 3]`, one per label, each from the noise of its own seed."""
        return unfolded(self.denoise(self.draw(seeds), labels, guidance=guidance, steps=steps, sampler=sampler))

    def noise(self, seeds: Sequence[int], size: int | None = None) -> Singles:
        """The noise of `draw`, unfolded to `[N, 1, size, size]`. Raises ValueError for another size."""
        from torch.nn.functional import pixel_shuffle

        if size not in (None, self.size):
            raise ValueError(f"this model makes pictures of {self.size} x {self.size} pixels, not {size}")
        return np.asarray(pixel_shuffle(self.draw(seeds), FOLD).numpy(), np.float32)

    def from_noise(self, noise: Singles, wanted: Sequence[int], *, guidance: float, steps: int) -> list[Pixels]:
        """The picture of each noise `[N, 1, size, size]`."""
        if not len(wanted):
            return []
        folded = self._folded(noise)
        return list(unfolded(self.denoise(folded, wanted, guidance=guidance, steps=steps, sampler="ddim")))

    def to_noise(self, images: Sequence[Pixels], *, steps: int) -> Singles:
        """The noise `[N, 1, size, size]` of grey levels, resized if need be, by inverse DDIM with the null class.

        The estimate of the clean picture isn't clipped here: that would be a step that can't be run backwards.
        """
        import torch
        from diffusers import DDIMInverseScheduler
        from torch.nn.functional import pixel_shuffle

        grey = [resized(image, (self.size, self.size)).astype(np.float32).mean(-1) for image in images]
        if not grey:
            return np.zeros((0, 1, self.size, self.size), np.float32)
        scheduler = DDIMInverseScheduler.from_config(self._schedule, clip_sample=False)
        scheduler.set_timesteps(steps)
        device, dtype = self._network.device, self._network.dtype
        state = self._folded((np.stack(grey)[:, None] / 127.5 - 1).astype(np.float32)).to(device, dtype)
        classes = torch.full((len(grey),), len(self.classes), device=device)
        with self._denoising, one_thread(), inference():
            for timestep in scheduler.timesteps:
                found = self._network(state, timestep, class_labels=classes).sample
                state = scheduler.step(found, timestep, state).prev_sample
        return np.asarray(pixel_shuffle(state.float().cpu(), FOLD).numpy(), np.float32)

    def _folded(self, noise: Singles) -> Any:
        import torch
        from torch.nn.functional import pixel_unshuffle

        return pixel_unshuffle(torch.from_numpy(np.ascontiguousarray(noise)), FOLD)

    def draw(self, seeds: Sequence[int]) -> Any:
        """Standard normal noise `[N, 4, size / 2, size / 2]` float32 on the CPU, one generator per seed."""
        import torch

        config = self._network.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        drawn = [torch.randn(shape, generator=generator) for generator in cpu_generators(seeds)]
        return torch.stack(drawn) if drawn else torch.zeros((0, *shape))

    def denoise(self, noise: Any, labels: Sequence[int], *, guidance: float, steps: int, sampler: Sampler) -> Any:
        """Folded pictures `[N, 4, size / 2, size / 2]` about [-1, 1] from folded noise, on the CPU.

        Both samplers are deterministic: DDIM with η = 0 (Song et al., arXiv 2010.02502) and DPM-Solver++ of second
        order (Lu et al., arXiv 2211.01095).
        """
        import torch

        if not len(labels):
            return noise
        scheduler = folded_scheduler(self._schedule, sampler)
        scheduler.set_timesteps(steps)
        device, dtype = self._network.device, self._network.dtype
        state = (noise * scheduler.init_noise_sigma).to(device, dtype)
        asked = torch.tensor(labels, device=device)
        guided = guidance != 1
        classes = torch.cat([asked, torch.full_like(asked, len(self.classes))]) if guided else asked
        with self._denoising, inference():
            for timestep in scheduler.timesteps:
                seen = scheduler.scale_model_input(state, timestep)
                found = self._network(
                    torch.cat([seen, seen]) if guided else seen, timestep, class_labels=classes
                ).sample
                if guided:
                    with_class, without = found.chunk(2)
                    found = without + guidance * (with_class - without)
                state = scheduler.step(found, timestep, state).prev_sample
        return state.float().cpu()


def folded_scheduler(config: Any, sampler: Sampler) -> Any:
    """A new diffusers scheduler, as a scheduler holds the state of one run."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    if sampler == "ddim":
        return DDIMScheduler.from_config(config)
    return DPMSolverMultistepScheduler.from_config(config, lambda_min_clipped=CLIPPED)


def unfolded(folded: Any) -> Pixels:
    """RGB `[N, H, W, 3]` of folded pictures, clipped to [-1, 1]."""
    from torch.nn import functional

    grey = functional.pixel_shuffle(folded, FOLD)[:, 0]
    levels = ((grey.clamp(-1, 1) + 1) * 127.5).round().numpy().astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


FOLDED_UNET = Loader(revision=1, make=load_folded_unet, options=FoldedUNetOptions, packages=("diffusers", "torch"))
