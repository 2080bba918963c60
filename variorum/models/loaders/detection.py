"""Loader `detection`: detectors of what texts name, OWLv2, Grounding DINO, MM Grounding DINO and LLMDet.

Minderer et al., NeurIPS 2023, arXiv 2306.09683; Liu et al., ECCV 2024, arXiv 2303.05499; Zhao et al., arXiv 2401.02361;
Fu et al., CVPR 2025, arXiv 2501.18954, which is MM Grounding DINO trained otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from variorum.models.device import best_device, inference
from variorum.models.loaders.loader import Loader
from variorum.models.pretrained import load_pretrained, one_error, with_vocabulary
from variorum.models.roles import Detected
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


class DetectionOptions(StrictModel):
    """Options of `detection`."""

    threshold: float = Field(default=0.1, ge=0, lt=1)
    """Boxes with a higher score are kept. The scores of the two families aren't comparable."""
    batch: int = Field(default=4, ge=1)


def load_detection(entry: Entry, folder: Path, options: DetectionOptions, _used: Mapping[str, Any]) -> Detection:
    """The detector of a folder written by transformers' `save_pretrained`.

    Raises:
        ModelUnavailable: the folder has no detector of these families as safetensors.
    """
    from transformers import AutoImageProcessor, AutoModelForZeroShotObjectDetection, AutoTokenizer

    model = load_pretrained(AutoModelForZeroShotObjectDetection, folder, entry, trust_remote_code=False)
    families: dict[str, type[Owl | GroundingDino]] = {
        "owlv2": Owl,
        "grounding-dino": GroundingDino,
        "mm-grounding-dino": GroundingDino,
    }
    family = families.get(model.config.model_type)
    if family is None:
        raise ModelUnavailable(
            f"{entry.name} is a {model.config.model_type}; this loader supports {', '.join(families)}"
        )
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with one_error(folder, "a detector's tokenizer and image processor"):
        processor = AutoImageProcessor.from_pretrained(folder, **local)
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    with_vocabulary(tokenizer, folder)
    return Detection(family(model.to(best_device()).eval(), tokenizer), processor, options)


class Detection:
    """A `roles.Detector`. Only pictures of one size share a batch, so none is padded because of another."""

    def __init__(self, family: Owl | GroundingDino, processor: Any, options: DetectionOptions) -> None:
        self._family, self._processor, self._options = family, processor, options

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """True for each text: the vocabulary is open."""
        return [True] * len(texts)

    def __call__(self, images: Sequence[Pixels], texts: Sequence[str]) -> list[Detected]:
        """Find the texts in each picture."""
        found = [nothing()] * len(images)
        if not images or not texts:
            return found
        tokens = self._family.tokenize(texts)
        for numbers in of_one_size(images, self._options.batch):
            height, width = images[numbers[0]].shape[:2]
            inputs = self._processor(
                images=[images[number] for number in numbers],
                return_tensors="pt",
                input_data_format="channels_last",
            )
            with inference():
                scores, boxes = self._family.detect(inputs, tokens)
            sides = self._family.sides(height, width)
            for number, score, box in zip(numbers, scores, boxes, strict=True):
                corners = np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], axis=1)
                pixels = corners * np.asarray([*sides, *sides], np.float32)
                found[number] = best(score, pixels, (height, width), self._options.threshold)
        return found


def of_one_size(images: Sequence[Pixels], most: int) -> Iterator[list[int]]:
    """Numbers of the pictures in batches of at most this many, each of pictures of one size."""
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        by_shape[image.shape[:2]].append(number)
    for numbers in by_shape.values():
        yield from (numbers[i : i + most] for i in range(0, len(numbers), most))


def nothing() -> Detected:
    """No box."""
    return Detected(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


class Owl:
    """OWLv2: each text is a query of its own; boxes are relative to the square that a picture is padded to."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer

    def tokenize(self, texts: Sequence[str]) -> Any:
        """Tokens of each text, cut at the model's context length."""
        _refuse_empty(texts)
        return self._tokenizer(
            list(texts),
            padding="max_length",
            max_length=self._model.config.text_config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        ).to(self._model.device)

    def detect(self, inputs: Any, tokens: Any) -> tuple[Singles, Singles]:
        """Scores `[B, queries, texts]`, and boxes `[B, queries, 4]`: centre, width and height relative to a side."""
        pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
        output = self._model(
            pixel_values=pixels,
            input_ids=tokens.input_ids.repeat(len(pixels), 1),
            attention_mask=tokens.attention_mask.repeat(len(pixels), 1),
        )
        return _array(output.logits.float().sigmoid()), _array(output.pred_boxes)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Width and height in pixels that boxes are relative to."""
        return max(height, width), max(height, width)


class GroundingDino:
    """Grounding DINO: the texts are one caption, with a full stop after each.

    A text's score is the mean over its tokens, as in the authors' own evaluation on COCO.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer

    def tokenize(self, texts: Sequence[str]) -> tuple[Any, list[tuple[int, int]]]:
        """Tokens of the caption `[1, tokens]`, and the start and end of each text in them."""
        import torch

        # a full stop or a question mark would begin another text
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
            raise ValueError(f"{len(texts)} texts are {len(tokens)} tokens, but this model reads {most} at once")
        return torch.tensor([tokens], device=self._model.device), spans

    def detect(self, inputs: Any, caption: Any) -> tuple[Singles, Singles]:
        """Scores `[B, queries, texts]`, and boxes `[B, queries, 4]`: centre, width and height relative to the sides."""
        import torch

        tokens, spans = caption
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
        """Width and height in pixels that boxes are relative to."""
        return width, height


def best(scores: Singles, boxes: Singles, shape: tuple[int, int], threshold: float) -> Detected:
    """The likeliest text of each query whose score is above the threshold, by falling score.

    Args:
        scores: `[queries, texts]` in [0, 1].
        boxes: `[queries, 4]`: left, top, right, bottom in pixels. They are clipped to the picture; boxes outside it are
            dropped.
        shape: height and width of the picture.
        threshold: in [0, 1).
    """
    height, width = shape
    texts = scores.argmax(axis=1) if len(scores) else np.zeros(0, np.int64)
    highest = scores[np.arange(len(scores)), texts]
    clipped = boxes.clip(0, np.asarray([width, height, width, height])).astype(np.float32)
    kept = (highest > threshold) & (clipped[:, :2] < clipped[:, 2:]).all(axis=1)
    order = np.flatnonzero(kept)[np.argsort(-highest[kept], kind="stable")]
    return Detected(clipped[order], highest[order].astype(np.float32), texts[order].astype(np.int64))


def _refuse_empty(texts: Sequence[str]) -> None:
    if blank := [number for number, text in enumerate(texts) if not text.strip()]:
        raise ValueError(f"text {blank[0]} of {len(texts)} is empty; a detector looks for what a text names")


def _array(tensor: Any) -> Singles:
    found: Singles = tensor.float().cpu().numpy()
    return found


DETECTION = Loader(
    revision=1, make=load_detection, options=DetectionOptions, packages=("diffusers", "transformers", "torch")
)
