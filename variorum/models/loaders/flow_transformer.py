"""Loader `flow_transformer`: FLUX.1, Stable Diffusion 3.5, Qwen-Image and Z-Image.

Read from folders written by diffusers' `save_pretrained`. Give such models dtype `bfloat16` on a GPU: their VAEs need
no more, and float16 is too small for T5.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from variorum.models.diffusion.bounds import Bounds
from variorum.models.diffusion.flow import (
    FlowImageToImage,
    FlowInpaint,
    FlowInstructionEdit,
    FlowTextToImage,
    family_of,
)
from variorum.models.diffusion.options import PipelineOptions
from variorum.models.loaders.loader import Loader
from variorum.models.pretrained import load_pipeline, pipeline_index
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

Task = Literal["text_to_image", "image_to_image", "inpaint", "instruction_edit"]
CLASSES: Mapping[tuple[str, Task], str] = {
    ("FluxPipeline", "text_to_image"): "FluxPipeline",
    ("FluxPipeline", "image_to_image"): "FluxImg2ImgPipeline",
    ("FluxFillPipeline", "inpaint"): "FluxFillPipeline",
    ("StableDiffusion3Pipeline", "text_to_image"): "StableDiffusion3Pipeline",
    ("StableDiffusion3Pipeline", "image_to_image"): "StableDiffusion3Img2ImgPipeline",
    ("QwenImagePipeline", "text_to_image"): "QwenImagePipeline",
    ("QwenImagePipeline", "image_to_image"): "QwenImageImg2ImgPipeline",
    ("QwenImageEditPipeline", "instruction_edit"): "QwenImageEditPipeline",
    ("ZImagePipeline", "text_to_image"): "ZImagePipeline",
    ("ZImagePipeline", "image_to_image"): "ZImageImg2ImgPipeline",
}
"""diffusers' pipeline for the pipeline that a folder names and a task."""


class FlowOptions(PipelineOptions, Bounds):
    """Options of `flow_transformer`."""

    task: Task
    tokens: int | None = Field(default=None, ge=1, le=512)
    """Number of tokens that are read of a text: 256 for FLUX.1-schnell; None for that of the family."""
    prompt: str = "background, empty scene"
    """Inpainting: what to fill holes with."""
    steps: int = 50
    """Inpainting: number of sampler steps."""
    guidance: float = 30.0
    """Inpainting: weight of guidance."""
    side: int | None = None
    """Inpainting: longer side in pixels at which pictures are processed; None for that of the model's training."""

    def problem(self, entry: Entry) -> str:
        """Why this entry can't run here, as a line; `""` if it can."""
        if self.attention != "fused":
            return f"attention = {self.attention!r} is for U-Nets; leave it out"
        return super().problem(entry)


def load_flow_transformer(entry: Entry, folder: Path, options: FlowOptions, _used: Mapping[str, Any]) -> Any:
    """The model for the entry's task.

    Raises:
        ModelUnavailable: the folder has pickles or code in it, isn't a pipeline for this task, or the entry states
            bounds that aren't the model's.
    """
    import diffusers

    index = pipeline_index(folder)
    kind = str(index.get("_class_name"))
    if (kind, options.task) not in CLASSES:
        known = ", ".join(f"{one} for {task}" for one, task in CLASSES)
        raise ModelUnavailable(
            f"{entry.name} is a {kind}, which isn't supported for {options.task}; these are: {known}"
        )
    cls = getattr(diffusers, CLASSES[kind, options.task], None)
    if cls is None:
        raise ModelUnavailable(
            f"{entry.name} needs {CLASSES[kind, options.task]}, which the installed diffusers doesn't have; upgrade it"
        )
    pipeline = load_pipeline(cls, folder, entry)
    if problem := family_of(pipeline).misstated(pipeline, options):
        raise ModelUnavailable(f"{entry.name}: its options must say {problem}")
    model = _model(options.apply(pipeline), options)
    model.bounds, model.tf32 = options, options.tf32
    return model


def _model(pipeline: Any, options: FlowOptions) -> Any:
    if options.task == "inpaint":
        how = {"steps": options.steps, "guidance": options.guidance, "side": options.side}
        return FlowInpaint(pipeline, options.prompt, "", tokens=options.tokens, **how)
    cls = {
        "text_to_image": FlowTextToImage,
        "image_to_image": FlowImageToImage,
        "instruction_edit": FlowInstructionEdit,
    }[options.task]
    return cls(pipeline, tokens=options.tokens)


FLOW_TRANSFORMER = Loader(
    revision=1,
    make=load_flow_transformer,
    options=FlowOptions,
    packages=("diffusers", "transformers", "torch"),
    obstacle=lambda entry, options: options.problem(entry),
    bounds=lambda options: options,
)
