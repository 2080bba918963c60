"""Segment Anything, prompted with the salient object's box (Kirillov et al., arXiv 2304.02643).

SAM cuts out whatever it is pointed at, precisely, but has no idea what a picture is of; the embedded salience model
has, and its mask's bounding box is the prompt. Of SAM's three answers the one with the best predicted IoU is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.pretrained import lacking
from variorum.models.roles import Pixels, Segmentation, Segmenter

REVISION = 1
OFFSET = 1.0
"""Of the logits, between the cuts that the stability score compares; segment-anything's own default."""


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["vit_b", "vit_l", "vit_h"]


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("segment-anything", "torch")


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Sam:
    """The segmenter of an original checkpoint."""
    import torch
    from segment_anything import sam_model_registry

    assert weights is not None
    model = sam_model_registry[Options.model_validate(entry.options).architecture]()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    (salience,) = used.values()
    return Sam(model.to(best_device()).eval(), salience)


class Sam:
    """A `Segmenter`.

    Args:
        model: segment-anything's `Sam`.
        salience: finds the object's box.
    """

    def __init__(self, model: Any, salience: Segmenter) -> None:
        from segment_anything import SamPredictor

        self._predictor = SamPredictor(model)
        self._predictor.transform.target_length = model.image_encoder.img_size
        self._salience = salience
        self._lock = threading.Lock()  # the predictor holds its picture

    def __call__(self, images: Sequence[Pixels]) -> list[Segmentation]:
        """One segmentation a picture; `score` is SAM's predicted IoU. An empty mask where nothing is salient."""
        return [
            self._segment(image, salient.mask) for image, salient in zip(images, self._salience(images), strict=True)
        ]

    def _segment(self, image: Pixels, salient: NDArray[np.float32]) -> Segmentation:
        box = bounding_box(salient > 0.5)
        if box is None:
            return Segmentation(np.zeros(image.shape[:2], np.float32), float("nan"), 0.0)
        with self._lock:
            self._predictor.set_image(image)
            logits, scores, _ = self._predictor.predict(box=box, multimask_output=True, return_logits=True)
        best = int(np.argmax(scores))
        mask = 1 / (1 + np.exp(-np.clip(logits[best], -30, 30)))
        return Segmentation(mask.astype(np.float32), float(scores[best]), stability(logits[best]))


def bounding_box(mask: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """`[left, top, right, bottom]` in pixels, right and bottom inclusive; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)


def stability(logits: NDArray[Any]) -> float:
    """IoU of the mask cut at logits +1 and -1; the one contains the other, so it is a ratio of areas."""
    wide = np.count_nonzero(logits > -OFFSET)
    return np.count_nonzero(logits > OFFSET) / wide if wide else 0.0
