"""Latent diffusion pipelines of the diffusers library: from texts, pictures, instructions, edges, layouts; and filling.

Stable Diffusion 1, 2, XL and their fine-tunings, from a folder as `save_pretrained` writes it. A checkpoint's own
safety checker stays out: it would hand back black pictures. The alias `safety_checker` judges them instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from schemas.errors import ModelUnavailable
from variorum.models.conditioned_diffusion import EdgeToImage, InstructionEdit, LayoutToImage
from variorum.models.entries import Entry
from variorum.models.latent_diffusion import ImageToImage, ImageVariation, Inpaint, TextToImage
from variorum.models.placement import Placement
from variorum.models.pretrained import lacking, loaded, reading

REVISION = 1

Task = Literal[
    "text_to_image",
    "image_to_image",
    "image_variation",
    "inpaint",
    "instruction_edit",
    "edge_to_image",
    "layout_to_image",
]
PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth", "*.pkl")


class Options(Placement):
    """Settings of a table's entry."""

    task: Task
    variant: str | None = None
    """Of the weights' file names: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""
    prompt: str = "background, empty scene"
    """For inpainting: what holes are filled with."""
    negative: str = ""
    """For inpainting."""
    steps: int = 50
    """For inpainting."""
    guidance: float = 7.5
    """For inpainting."""
    side: int | None = None
    """For inpainting: pictures are worked on with this longer side, pixels; None for the side of its training."""
    edges: tuple[float, float] = (100.0, 200.0)
    """For edges to image: limits of Canny's hysteresis, grey levels."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "transformers", "torch") or Options.model_validate(entry.options).problem(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Any:
    """The model that the entry's task asks for.

    Raises:
        ModelUnavailable: when the folder has pickles or code in it, or isn't such a pipeline.
    """
    assert weights is not None
    options = Options.model_validate(entry.options)
    pipeline = options.place(_pipeline(entry, weights, options, used))
    if options.task == "text_to_image":
        return TextToImage(pipeline)
    if options.task == "image_to_image":
        return ImageToImage(pipeline)
    if options.task == "image_variation":
        return ImageVariation(pipeline)
    if options.task == "instruction_edit":
        return InstructionEdit(pipeline)
    if options.task == "edge_to_image":
        return EdgeToImage(pipeline, options.edges)
    if options.task == "layout_to_image":
        return LayoutToImage(pipeline)
    return Inpaint(
        pipeline, options.prompt, options.negative, steps=options.steps, guidance=options.guidance, side=options.side
    )


def _pipeline(entry: Entry, folder: Path, options: Options, used: Mapping[str, Any]) -> Any:
    import diffusers

    index = refuse_unsafe(folder)
    kind = {
        "text_to_image": diffusers.AutoPipelineForText2Image,
        "image_to_image": diffusers.AutoPipelineForImage2Image,
        "inpaint": diffusers.AutoPipelineForInpainting,
        "image_variation": diffusers.StableDiffusionImageVariationPipeline,
        "instruction_edit": diffusers.StableDiffusionInstructPix2PixPipeline,
        "edge_to_image": diffusers.StableDiffusionControlNetPipeline,
        "layout_to_image": diffusers.StableDiffusionGLIGENPipeline,
    }[options.task]
    if (options.task == "edge_to_image") != (len(used) == 1):
        raise ModelUnavailable(f"{entry.name}: edge_to_image, and no other task, uses a control network: `uses`")
    extra: dict[str, Any] = dict(zip(("controlnet",), used.values(), strict=False))
    if "safety_checker" in index:
        extra |= {"safety_checker": None, "requires_safety_checker": False}
    if str(index.get("_class_name")).startswith("StableDiffusionXL"):
        extra["add_watermarker"] = False  # it would hide one in every picture if a package happens to be there
    pipeline = loaded(kind, folder, entry, variant=options.variant, **extra)
    if not hasattr(pipeline, "unet") or not hasattr(pipeline, "vae"):
        raise ModelUnavailable(
            f"{entry.name} is a {type(pipeline).__name__}, which has no U-Net; this loader knows Stable Diffusion 1, "
            "2, XL and their fine-tunings"
        )
    _refuse_other(pipeline, entry, options.task)
    return pipeline


def _refuse_other(pipeline: Any, entry: Entry, task: Task) -> None:
    """Raise for a pipeline that loads for a task and would fail, or do something else, when called."""
    network, latents = pipeline.unet.config, pipeline.vae.config.latent_channels
    if task == "instruction_edit" and network.in_channels != 2 * latents:
        raise ModelUnavailable(f"{entry.name} isn't trained to edit: its U-Net takes no picture beside the noise")
    if task == "layout_to_image" and network.attention_type != "gated":
        raise ModelUnavailable(f"{entry.name} takes no layout: its U-Net's attention isn't gated, as GLIGEN's is")
    if task == "edge_to_image":
        control = pipeline.controlnet
        ours = network.cross_attention_dim, pipeline.unet.dtype
        theirs = control.config.cross_attention_dim, control.dtype
        if ours != theirs:
            raise ModelUnavailable(
                f"{entry.name} and its control network don't fit: they read texts of width {ours[0]} and {theirs[0]} "
                f"and compute in {ours[1]} and {theirs[1]}"
            )


def refuse_unsafe(folder: Path) -> Mapping[str, Any]:
    """The pipeline's index of parts, once it is sure that loading it runs no code out of the folder.

    Raises:
        ModelUnavailable: naming the part that has pickles and no safetensors, or the code, or that there is no index.
    """
    index_file = folder / "model_index.json"
    if not index_file.is_file():
        raise ModelUnavailable(f"{folder} has no model_index.json; it must be a folder that save_pretrained wrote")
    with reading(folder, "a pipeline"):
        index: Mapping[str, Any] = json.loads(index_file.read_text())
    if code := sorted(folder.rglob("*.py")):
        raise ModelUnavailable(f"{folder} comes with code ({code[0].relative_to(folder)}), which is never run")
    for part in sorted(name for name in index if (folder / name).is_dir() and name != "safety_checker"):
        pickles = sorted(path.name for pattern in PICKLES for path in (folder / part).glob(pattern))
        if pickles and not list((folder / part).glob("*.safetensors")):
            raise ModelUnavailable(
                f"{folder / part} has its weights as a pickle ({pickles[0]}), which is never loaded; docs/models.md "
                "says how to convert it to safetensors"
            )
    return index
