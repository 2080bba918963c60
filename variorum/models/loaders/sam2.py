"""Loader `sam2`: the salient object of a picture by SAM 2 (Ravi et al., ICLR 2025, arXiv 2408.00714)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from variorum.models.device import best_device, inference
from variorum.models.loaders.loader import Loader
from variorum.models.loaders.segmenters import bounding_box, stability
from variorum.models.pretrained import load_pretrained, one_error
from variorum.models.roles import Segmentation, Segmenter
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
"""What a SAM 2 for pictures reads of the configuration of one for videos."""


class Sam2Options(StrictModel):
    """Options of `sam2`."""

    batch: int = Field(default=4, ge=1)
    """Pictures that are encoded together. Fewer are padded to this number, so a mask depends on its picture alone."""


def load_sam2(entry: Entry, folder: Path, options: Sam2Options, used: Mapping[str, Any]) -> Sam2:
    """The segmenter of a folder with a SAM 2 of transformers; the entry uses the model that finds the object's box.

    The published checkpoints are for videos; the memory in them isn't read.

    Raises:
        ModelUnavailable: the folder has no SAM 2 as safetensors, or the entry doesn't use exactly one model.
    """
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model

    if len(used) != 1:
        raise ModelUnavailable(f"{entry.name}: loader sam2 uses one model, that finds the object; name it in `uses`")
    (salience,) = used.values()
    with one_error(folder, "SAM 2's configuration and image processor"):
        facts = json.loads((folder / "config.json").read_text("utf-8"))
        config = Sam2Config(**{part: facts[part] for part in PARTS})
        processor = Sam2ImageProcessor.from_pretrained(folder, local_files_only=True)
    model = load_pretrained(Sam2Model, folder, entry, config=config)
    return Sam2(processor, model.to(best_device()).eval(), salience, options.batch)


class Sam2:
    """A `roles.Segmenter`: SAM 2, asked for the object in the bounding box that a salience model finds.

    Of its three masks the one with the best predicted IoU is kept.

    Args:
        processor: transformers' image processor, which stretches pictures to the network's square.
        model: transformers' `Sam2Model`.
        salience: finds the object's box.
        batch: pictures that are encoded together.
    """

    def __init__(self, processor: Any, model: Any, salience: Segmenter, batch: int) -> None:
        self._processor, self._model, self._salience, self._batch = processor, model, salience, batch

    def __call__(self, images: Sequence[Pixels]) -> list[Segmentation]:
        """One segmentation per picture; `score` is SAM's predicted IoU. The mask is empty if nothing is salient."""
        boxes = [bounding_box(found.mask > 0.5) for found in self._salience(images)]
        results = [Segmentation(np.zeros(image.shape[:2], np.float32), float("nan"), 0.0) for image in images]
        salient = [(number, box) for number, box in enumerate(boxes) if box is not None]
        for start in range(0, len(salient), self._batch):
            part = salient[start : start + self._batch]
            found = self._segmented([images[number] for number, _ in part], [box for _, box in part])
            for (number, _), segmentation in zip(part, found, strict=True):
                results[number] = segmentation
        return results

    def _segmented(self, images: Sequence[Pixels], boxes: Sequence[Singles]) -> list[Segmentation]:
        import torch
        from torch.nn.functional import interpolate

        missing = self._batch - len(images)
        inputs = self._processor(
            images=[*images, *[images[-1]] * missing], return_tensors="pt", input_data_format="channels_last"
        )
        side = inputs["pixel_values"].shape[-1]
        scaled = [box * (side / np.tile(image.shape[1::-1], 2)) for image, box in zip(images, boxes, strict=True)]
        asked = torch.tensor(np.stack([*scaled, *[scaled[-1]] * missing])[:, None], dtype=torch.float32)
        with inference():
            found = self._model(
                pixel_values=inputs["pixel_values"].to(self._model.device, self._model.dtype),
                input_boxes=asked.to(self._model.device, self._model.dtype),
                multimask_output=True,
            )
            scores = found.iou_scores[:, 0].float()
            best = scores.argmax(dim=-1).tolist()
            results = []
            for number, image in enumerate(images):
                small = found.pred_masks[number, 0, best[number]].float()[None, None]
                logits = interpolate(small, image.shape[:2], mode="bilinear", align_corners=False)[0, 0]
                mask: Singles = logits.sigmoid().cpu().numpy()
                score = float(scores[number, best[number]])
                results.append(Segmentation(mask, score, stability(logits.cpu().numpy(), -1.0, 1.0)))
        return results


SAM2 = Loader(
    revision=1, make=load_sam2, options=Sam2Options, packages=("diffusers", "transformers", "torch", "torchvision")
)
