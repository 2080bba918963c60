"""Detectors of what texts name: OWLv2 and Grounding DINO, from folders that transformers' `save_pretrained` wrote.

Minderer et al., NeurIPS 2023, arXiv 2306.09683; Liu et al., ECCV 2024, arXiv 2303.05499. Pictures go through the
network with others of their own size alone, so that none is padded for another's sake.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.pretrained import half_without_gpu, lacking, loaded, reading
from variorum.models.roles import Detected, Pixels

REVISION = 1


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.1, ge=0, lt=1)
    """Boxes with a higher score are found. The two families' scores aren't on one scale."""
    batch: int = Field(default=4, ge=1)


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("diffusers", "transformers", "torch") or half_without_gpu(entry)


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Detection:
    """The detector of the folder's family.

    Raises:
        ModelUnavailable: when the folder has no such model as safetensors.
    """
    from transformers import AutoImageProcessor, AutoModelForZeroShotObjectDetection, AutoTokenizer

    assert weights is not None
    options = Options.model_validate(entry.options)
    model = loaded(AutoModelForZeroShotObjectDetection, weights, entry, trust_remote_code=False)
    families: dict[str, type[Owl | Grounded]] = {"owlv2": Owl, "grounding-dino": Grounded}
    family = families.get(model.config.model_type)
    if family is None:
        raise ModelUnavailable(
            f"{entry.name} is a {model.config.model_type}; this loader knows OWLv2 and Grounding DINO"
        )
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with reading(weights, "a detector's tokenizer and image processor"):
        processor = AutoImageProcessor.from_pretrained(weights, **local)
        tokenizer = AutoTokenizer.from_pretrained(weights, **local)
    return Detection(family(model.to(best_device()).eval(), tokenizer), processor, options)


class Detection:
    """A `roles.Detector`.

    Args:
        family: what texts and pictures become a network's scores and boxes by.
        processor: of transformers, makes the network's pictures.
        options: of the entry.
    """

    def __init__(self, family: Owl | Grounded, processor: Any, options: Options) -> None:
        self._family, self._processor, self._options = family, processor, options

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[Detected]:
        """What of the texts is found in each picture."""
        import torch

        nothing = np.zeros((0, 1), np.float32), np.zeros((0, 4), np.float32)
        found = [best(*nothing, (1, 1), 0.0)] * len(images)
        if not images or not texts:
            return found
        asked = self._family.read(texts)
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, image in enumerate(images):
            alike[image.shape[:2]].append(number)
        size = self._options.batch
        for (height, width), all_numbers in alike.items():
            for numbers in (all_numbers[i : i + size] for i in range(0, len(all_numbers), size)):
                inputs = self._processor(
                    images=[images[number] for number in numbers],
                    return_tensors="pt",
                    input_data_format="channels_last",
                )
                with torch.inference_mode():
                    scores, boxes = self._family.look(inputs, asked)
                sides = self._family.sides(height, width)
                for number, score, box in zip(numbers, scores, boxes, strict=True):
                    corners = np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], axis=1)
                    pixels = corners * np.asarray([*sides, *sides], np.float32)
                    found[number] = best(score, pixels, (height, width), self._options.threshold)
        return found


class Owl:
    """OWLv2: a text is a query by itself; boxes are parts of the square that a picture is padded to."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer

    def read(self, texts: Sequence[str]) -> Any:
        """Tokens of each text; what a text has beyond the model's context is cut."""
        _refuse_empty(texts)
        return self._tokenizer(
            list(texts),
            padding="max_length",
            max_length=self._model.config.text_config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        ).to(self._model.device)

    def look(self, inputs: Any, asked: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores `[B, queries, texts]`, and boxes `[B, queries, 4]`: middle, width and height as parts of a side."""
        pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
        output = self._model(
            pixel_values=pixels,
            input_ids=asked.input_ids.repeat(len(pixels), 1),
            attention_mask=asked.attention_mask.repeat(len(pixels), 1),
        )
        return _array(output.logits.float().sigmoid()), _array(output.pred_boxes)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """What boxes are parts of, across and down, in pixels of the picture."""
        return max(height, width), max(height, width)


class Grounded:
    """Grounding DINO: the texts are one caption with a full stop after each.

    A text's score is the mean of its tokens', as in the authors' own evaluation on COCO.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer

    def read(self, texts: Sequence[str]) -> tuple[Any, list[tuple[int, int]]]:
        """The caption's tokens `[1, tokens]`, and where each text's begin and end."""
        import torch

        # a stop or a question mark would begin another text
        plain = [" ".join(text.lower().replace(".", " ").replace("?", " ").split()) for text in texts]
        _refuse_empty(plain)
        tokens, spans = [self._tokenizer.cls_token_id], []
        stop = self._tokenizer.convert_tokens_to_ids(".")
        for text in plain:
            words = self._tokenizer(text, add_special_tokens=False).input_ids
            spans.append((len(tokens), len(tokens) + len(words)))
            tokens += [*words, stop]
        tokens.append(self._tokenizer.sep_token_id)
        if len(tokens) > (most := self._model.config.max_text_len):
            raise ValueError(f"{len(texts)} texts are {len(tokens)} tokens, and this model reads {most} at once")
        return torch.tensor([tokens], device=self._model.device), spans

    def look(self, inputs: Any, asked: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores `[B, queries, texts]`, and boxes `[B, queries, 4]`: middle, width and height as parts of the sides."""
        import torch

        tokens, spans = asked
        pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
        tokens = tokens.repeat(len(pixels), 1)
        output = self._model(
            pixel_values=pixels,
            pixel_mask=inputs["pixel_mask"].to(self._model.device),
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            token_type_ids=torch.zeros_like(tokens),
        )
        scores = output.logits.float().sigmoid()
        texts = torch.stack([scores[..., first:last].mean(dim=-1) for first, last in spans], dim=-1)
        return _array(texts), _array(output.pred_boxes)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """What boxes are parts of, across and down, in pixels of the picture."""
        return width, height


def best(scores: NDArray[np.float32], boxes: NDArray[np.float32], shape: tuple[int, int], threshold: float) -> Detected:
    """Each query's likeliest text, where its score is above the threshold, the surest first.

    Args:
        scores: `[queries, texts]` in [0, 1].
        boxes: `[queries, 4]`: left, top, right, bottom in pixels; they are cut at the picture's border, and what is
            outside altogether is left out.
        shape: height and width of the picture.
        threshold: in [0, 1).
    """
    height, width = shape
    texts = scores.argmax(axis=1) if len(scores) else np.zeros(0, np.int64)
    sure = scores[np.arange(len(scores)), texts]
    inside = boxes.clip(0, np.asarray([width, height, width, height])).astype(np.float32)
    kept = (sure > threshold) & (inside[:, :2] < inside[:, 2:]).all(axis=1)
    order = np.flatnonzero(kept)[np.argsort(-sure[kept], kind="stable")]
    return Detected(inside[order], sure[order].astype(np.float32), texts[order].astype(np.int64))


def _refuse_empty(texts: Sequence[str]) -> None:
    if blank := [number for number, text in enumerate(texts) if not text.strip()]:
        raise ValueError(f"text {blank[0]} of {len(texts)} is empty; a detector looks for what a text names")


def _array(tensor: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.float().cpu().numpy()
    return found
