"""Loaders `diffusion`, `control_network` and `safety_checker`: Stable Diffusion and what belongs to it.

Read from folders written by diffusers' `save_pretrained`. Pipelines run without their own safety checker, which would
paint pictures black; the alias `safety_checker` judges them instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from variorum.models.device import best_device, inference
from variorum.models.diffusion.bounds import Bounds
from variorum.models.diffusion.conditioned import EdgeToImage, InstructionEdit, LayoutToImage
from variorum.models.diffusion.inversion import TextFromNoise
from variorum.models.diffusion.options import PipelineOptions
from variorum.models.diffusion.own_unet import with_own_unet
from variorum.models.diffusion.pipelines import ImageToImage, ImageVariation, Inpaint, Pipeline
from variorum.models.loaders.loader import Loader
from variorum.models.pretrained import load_pipeline, load_pretrained, one_error
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels, Singles

Task = Literal[
    "text_to_image",
    "image_to_image",
    "image_variation",
    "inpaint",
    "instruction_edit",
    "edge_to_image",
    "layout_to_image",
]


# ── diffusion ────────────────────────────────────────────────────────────────────────────────────────────────────────


class DiffusionOptions(PipelineOptions, Bounds):
    """Options of `diffusion`: Stable Diffusion 1, 2, XL and their fine-tunings."""

    task: Task
    variant: str | None = None
    """Part of the weights' file names: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""
    spacing: Literal["leading", "linspace", "trailing"] | None = None
    """How the sampler chooses its steps among those of the training, if not as the pipeline's own configuration says:
    `trailing`, which begins with pure noise, for distilled models."""
    prompt: str = "background, empty scene"
    """Inpainting: what to fill holes with."""
    negative: str = ""
    """Inpainting: what not to fill holes with."""
    steps: int = 50
    """Inpainting: number of sampler steps."""
    guidance: float = 7.5
    """Inpainting: weight of classifier-free guidance."""
    side: int | None = None
    """Inpainting: longer side in pixels at which pictures are processed; None for that of the model's training."""
    edges: tuple[float, float] = (100.0, 200.0)
    """Edges to image: low and high threshold of Canny's detector, grey levels."""


def load_diffusion(entry: Entry, folder: Path, options: DiffusionOptions, used: Mapping[str, Any]) -> Any:
    """The model for the entry's task.

    Raises:
        ModelUnavailable: the folder has pickles or code in it, or isn't a pipeline for this task.
    """
    pipeline = _pipeline(entry, folder, options, used)
    if options.spacing is not None:
        kind = type(pipeline.scheduler)
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config, timestep_spacing=options.spacing)
    model = _model(options.apply(pipeline), options)
    model.bounds, model.tf32 = options, options.tf32
    return model


def _model(pipeline: Any, options: DiffusionOptions) -> Pipeline:
    if options.task == "edge_to_image":
        return EdgeToImage(pipeline, options.edges)
    if options.task == "inpaint":
        return Inpaint(
            pipeline,
            options.prompt,
            options.negative,
            steps=options.steps,
            guidance=options.guidance,
            side=options.side,
        )
    classes: dict[str, type[Pipeline]] = {
        "text_to_image": TextFromNoise,
        "image_to_image": ImageToImage,
        "image_variation": ImageVariation,
        "instruction_edit": InstructionEdit,
        "layout_to_image": LayoutToImage,
    }
    return classes[options.task](pipeline)


def _pipeline(entry: Entry, folder: Path, options: DiffusionOptions, used: Mapping[str, Any]) -> Any:
    import diffusers

    cls = {
        "text_to_image": diffusers.AutoPipelineForText2Image,
        "image_to_image": diffusers.AutoPipelineForImage2Image,
        "inpaint": diffusers.AutoPipelineForInpainting,
        "image_variation": diffusers.StableDiffusionImageVariationPipeline,
        "instruction_edit": diffusers.StableDiffusionInstructPix2PixPipeline,
        "edge_to_image": diffusers.StableDiffusionControlNetPipeline,
        "layout_to_image": diffusers.StableDiffusionGLIGENPipeline,
    }[options.task]
    control = options.task == "edge_to_image"
    if len(used) > 1 or (control and not used):
        raise ModelUnavailable(
            f"{entry.name}: `uses` names {len(used)} models; edge_to_image uses a control network, and another task "
            "nothing, or one model whose U-Net is replaced"
        )
    if used and not control:
        pipeline = with_own_unet(entry, folder, *used.values())
    else:
        given = dict(zip(("controlnet",), used.values(), strict=False))
        pipeline = load_pipeline(cls, folder, entry, variant=options.variant, given=given)
    if not hasattr(pipeline, "unet") or not hasattr(pipeline, "vae"):
        raise ModelUnavailable(
            f"{entry.name} is a {type(pipeline).__name__} without a U-Net; this loader supports Stable Diffusion 1, 2, "
            "XL and their fine-tunings"
        )
    _check_task(pipeline, entry, options.task)
    return pipeline


def _check_task(pipeline: Any, entry: Entry, task: Task) -> None:
    """Raise for a pipeline that loads, but would fail or do something else when it is called for this task."""
    network, latents = pipeline.unet.config, pipeline.vae.config.latent_channels
    if task == "instruction_edit" and network.in_channels != 2 * latents:
        raise ModelUnavailable(f"{entry.name} isn't trained to edit: its U-Net takes no picture beside the noise")
    if task == "layout_to_image" and network.attention_type != "gated":
        raise ModelUnavailable(f"{entry.name} takes no layout: its U-Net's attention isn't gated as GLIGEN's is")
    if task == "edge_to_image":
        control = pipeline.controlnet
        ours = network.cross_attention_dim, pipeline.unet.dtype
        theirs = control.config.cross_attention_dim, control.dtype
        if ours != theirs:
            raise ModelUnavailable(
                f"{entry.name} and its control network don't fit together: text embeddings of width {ours[0]} and "
                f"{theirs[0]}, computed in {ours[1]} and {theirs[1]}"
            )


DIFFUSION = Loader(
    revision=2,
    make=load_diffusion,
    options=DiffusionOptions,
    packages=("diffusers", "transformers", "torch"),
    obstacle=lambda entry, options: options.problem(entry),
    bounds=lambda options: options,
)


# ── control_network ──────────────────────────────────────────────────────────────────────────────────────────────────


class ControlNetworkOptions(StrictModel):
    """Options of `control_network`: a ControlNet, which adds a condition to a Stable Diffusion U-Net."""

    variant: str | None = None
    """Part of the weights' file names: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""


def load_control_network(entry: Entry, folder: Path, options: ControlNetworkOptions, _used: Mapping[str, Any]) -> Any:
    """A frozen diffusers `ControlNetModel`, for entries of `diffusion` with the task `edge_to_image` to use.

    Raises:
        ModelUnavailable: the folder has none as safetensors.
    """
    from diffusers import ControlNetModel

    network = load_pretrained(ControlNetModel, folder, entry, variant=options.variant)
    return network.to(best_device()).eval().requires_grad_(False)


CONTROL_NETWORK = Loader(
    revision=1, make=load_control_network, options=ControlNetworkOptions, packages=("diffusers", "torch")
)


# ── safety_checker ───────────────────────────────────────────────────────────────────────────────────────────────────

SPECIAL_CARE = 0.01
"""How much a near concept of special care lowers the limits of the others."""


class SafetyCheckerOptions(StrictModel):
    """Options of `safety_checker`."""

    batch: int = 8


def load_safety_checker(
    entry: Entry, folder: Path, options: SafetyCheckerOptions, _used: Mapping[str, Any]
) -> SafetyChecker:
    """The checker of a pipeline's folder, from its parts `safety_checker` and `feature_extractor`.

    Raises:
        ModelUnavailable: the folder has no checker as safetensors.
    """
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    model = load_pretrained(StableDiffusionSafetyChecker, folder / "safety_checker", entry)
    with one_error(folder / "feature_extractor", "an image processor"):
        processor = CLIPImageProcessor.from_pretrained(folder / "feature_extractor", local_files_only=True)
    return SafetyChecker(processor, model.to(best_device()).eval(), options.batch)


class SafetyChecker:
    """A `roles.SafetyChecker` with the decisions of diffusers' class, which would paint flagged pictures black.

    A picture's CLIP embedding is compared with 17 concepts, each with a limit of its own. The limits are lower by 0.01
    if one of three further concepts is near (described by Rando et al., arXiv 2210.04610).
    """

    def __init__(self, processor: Any, model: Any, batch: int) -> None:
        self._processor = processor
        self._model = model
        self._batch = batch

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Return how far each picture is above the nearest limit `[N]`: cosines, in thousandths as in diffusers."""
        parts = [self._margins(images[i : i + self._batch]) for i in range(0, len(images), self._batch)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _margins(self, images: Sequence[Pixels]) -> Singles:
        from torch.nn.functional import normalize

        model = self._model
        inputs = self._processor(images=list(images), return_tensors="pt", input_data_format="channels_last")
        with inference():
            pixels = inputs["pixel_values"].to(model.device, model.dtype)
            embedded = normalize(model.visual_projection(model.vision_model(pixels)[1]))

            def over(concepts: Any, limits: Any) -> Floats:
                cosines = (embedded @ normalize(concepts).T).float().cpu().numpy()
                return np.asarray(cosines - limits.float().cpu().numpy(), np.float64)

            special = over(model.special_care_embeds, model.special_care_embeds_weights).round(3).max(axis=1)
            concepts = over(model.concept_embeds, model.concept_embeds_weights).max(axis=1)
        margins = concepts + np.where(special > 0, SPECIAL_CARE, 0)
        return np.asarray(margins.round(3), np.float32)


SAFETY_CHECKER = Loader(
    revision=1,
    make=load_safety_checker,
    options=SafetyCheckerOptions,
    packages=("diffusers", "transformers", "torch"),
)
