"""U²-Net salient object segmentation on ONNX Runtime (Qin et al., arXiv 2005.09007).

It finds what stands out, with no prompt and no class, which is what an object-centric picture has one of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from variorum.models.entries import Entry
from variorum.models.onnx import open_session
from variorum.models.pretrained import lacking
from variorum.models.roles import Pixels, Segmentation

REVISION = 1
SIDE = 320
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Options(BaseModel):
    """Settings of a table's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int = 1
    """Of one session; pictures are shared out among processes instead."""


def problem(entry: Entry) -> str:
    """What keeps it from running here."""
    return lacking("onnxruntime")


def load(entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> U2Net:
    """The segmenter of an `.onnx` file."""
    assert weights is not None
    return U2Net(open_session(weights, Options.model_validate(entry.options).threads))


class U2Net:
    """A `Segmenter`. Pictures go through one by one, so a mask depends on its picture alone."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, images: Sequence[Pixels]) -> list[Segmentation]:
        """One segmentation a picture; `score` is NaN, for the network gives none."""
        return [self._segment(image) for image in images]

    def _segment(self, image: Pixels) -> Segmentation:
        raw = self._session.run(None, {self._input: _prepare(image)})[0][0, 0]
        low, high = float(raw.min()), float(raw.max())
        if high <= low:
            return Segmentation(np.zeros(image.shape[:2], np.float32), float("nan"), 0.0)
        mask = cv2.resize((raw - low) / (high - low), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return Segmentation(mask.astype(np.float32), float("nan"), stability(mask))


def stability(mask: NDArray[Any], low: float = 0.27, high: float = 0.73) -> float:
    """Area above the high cut over area above the low one, in [0, 1].

    It is segment-anything's stability score, the IoU of the mask at logits of -1 and +1, on probabilities: the
    sigmoid of -1 is 0.27, of +1 it is 0.73. 0 when nothing is above the low cut.
    """
    wide = np.count_nonzero(mask > low)
    return np.count_nonzero(mask > high) / wide if wide else 0.0


def _prepare(image: Pixels) -> NDArray[np.float32]:
    shrinks = min(image.shape[:2]) >= SIDE
    x = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    x = x.astype(np.float32) / max(int(x.max()), 1)
    x = (x - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None])
