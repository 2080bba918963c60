"""Latent diffusion pipelines of the diffusers library: from texts, pictures, instructions, edges, layouts; and filling.

Stable Diffusion 1, 2, XL and their fine-tunings, from a folder as `save_pretrained` writes it. A checkpoint's own
safety checker stays out: it would hand back black pictures. The alias `safety_checker` judges them instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from schemas.errors import ModelUnavailable
from variorum.models.conditioned_diffusion import EdgeToImage, InstructionEdit, LayoutToImage
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.latent_diffusion import ImageToImage, ImageVariation, Inpaint, TextToImage
from variorum.models.quiet import no_bars

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
Attention = Literal["fused", "xformers", "sliced", "plain"]
PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth", "*.pkl")


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    variant: str | None = None
    """Of the weights' file names: `fp16` for `diffusion_pytorch_model.fp16.safetensors`."""
    attention: Attention = "fused"
    """`fused`: PyTorch's own kernels; `xformers`: that package's; `sliced`: head by head, for the least memory;
    `plain`: matrix products without a kernel, for comparison."""
    vae_slicing: bool = False
    """Less memory, a little slower. So are the next two."""
    vae_tiling: bool = False
    offload: Literal["none", "model", "sequential"] = "none"
    """Keep parts on the CPU while they aren't at work; needs the package accelerate and a GPU."""
    compile: bool = False
    """Compile the U-Net: minutes at first, worth it for thousands of pictures of one size."""
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


def problem() -> str:
    """What keeps it from running here."""
    wanted = ("diffusers", "transformers", "torch")
    return "" if all(find_spec(name) for name in wanted) else f"needs the packages {', '.join(wanted)}"


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Any:
    """The model that the entry's task asks for.

    Raises:
        ModelUnavailable: when the folder has pickles or code in it, isn't such a pipeline, or asks for a GPU that
            there isn't.
    """
    assert weights is not None
    options = Options.model_validate(entry.options)
    pipeline = _placed(_pipeline(entry, weights, options, used), entry, options)
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
    import torch

    index = refuse_unsafe(folder)
    if entry.dtype == "float16" and best_device() == "cpu":
        raise ModelUnavailable(
            f"{entry.name} computes in float16, which wants a GPU, and there is none here; for a CPU, copy its entry "
            'into a table of your own ($VARIORUM_MODELS) and set dtype = "float32"'
        )
    cls = {
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
    parts = dict(zip(("controlnet",), used.values(), strict=False))
    without = {name: None for name in ("safety_checker",) if name in index}
    flags = {"requires_safety_checker": False} if without else {}
    try:
        with no_bars():
            pipeline = cls.from_pretrained(
                folder,
                dtype=getattr(torch, entry.dtype),
                variant=options.variant,
                use_safetensors=True,
                local_files_only=True,
                low_cpu_mem_usage=find_spec("accelerate") is not None,
                **parts,
                **without,
                **flags,
            )
    except (OSError, ValueError, AttributeError) as error:
        raise ModelUnavailable(f"{folder} can't be loaded for {options.task}: {error}") from error
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


def _attend(pipeline: Any, entry: Entry, how: Attention) -> None:
    """Have a pipeline's U-Net attend by another backend than PyTorch's own."""
    from diffusers.models.attention_processor import AttnProcessor

    if how == "plain":
        pipeline.unet.set_attn_processor(AttnProcessor())
    elif how == "sliced":
        pipeline.enable_attention_slicing("max")
    elif how == "xformers":
        if find_spec("xformers") is None or best_device() == "cpu":
            raise ModelUnavailable(f"{entry.name}: attention = 'xformers' needs the package xformers and a GPU")
        pipeline.enable_xformers_memory_efficient_attention()


def _placed(pipeline: Any, entry: Entry, options: Options) -> Any:
    """The pipeline on its device, with the memory savers that are asked for."""
    import torch

    pipeline.set_progress_bar_config(disable=True)
    _attend(pipeline, entry, options.attention)
    if options.vae_slicing:
        pipeline.vae.enable_slicing()
    if options.vae_tiling:
        pipeline.vae.enable_tiling()
    if options.compile:
        pipeline.unet = torch.compile(pipeline.unet)
    if options.offload == "none":
        return pipeline.to(best_device())
    if find_spec("accelerate") is None:
        raise ModelUnavailable(
            f"{entry.name}: offload = {options.offload!r} needs the package accelerate: pip install 'variorum[gpu]'"
        )
    if best_device() == "cpu":
        raise ModelUnavailable(f"{entry.name}: offload = {options.offload!r} needs a GPU, and there is none here")
    if options.offload == "model":
        pipeline.enable_model_cpu_offload()
    else:
        pipeline.enable_sequential_cpu_offload()
    return pipeline
