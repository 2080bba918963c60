"""Finds wrong masks by a network's early predictions, before it memorises the errors, and proposes corrections (ADELE).

A segmentation network trained on the edition's own masks first learns what they have in common, and only later each
mask's errors (Liu et al., "Adaptive Early-Learning Correction for Segmentation from Noisy Annotations", CVPR 2022).
Masks are compared with its averaged predictions at that onset. Errors that most masks share are learned first, so they
can't be found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.curation.masks.correction import Correction, correct_masks
from variorum.pixels import decode_mask, encode_png
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints, Pixels, Singles
    from variorum.schemas.table import Table

MEMBER = "mask.png"
OBJECT = 1
THRESHOLD = 128
"""Least grey value of a mask's pixel that belongs to the object."""


class MaskNoise(Detector):
    """Compares masks (member `mask.png`) with the early predictions of a network for object and background.

    A release gets the corrected mask as the additional member `mask_corrected.png`.
    """

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="score changed_fraction confidence_on_changed",
        texts="report",
        flags="flag",
        others="picture mask corrected",
    )
    late: ClassVar[frozenset[str]] = frozenset(
        {"epochs", "ratio", "confidence", "decay", "most_changed", "least_change"}
    )
    adds: ClassVar[Mapping[str, str]] = {"mask_corrected.png": "corrected"}

    side: int = Field(default=64, ge=16, multiple_of=4)
    """Side in pixels of the square that pictures and masks are resized to; masks change by cells of this grid."""
    epochs: int = Field(default=60, ge=8)
    """Most training epochs; training stops at the onset."""
    ratio: float = Field(default=0.9, gt=0, lt=1)
    """Share of the curve's initial slope that is gone at the onset."""
    confidence: float = Field(default=0.8, ge=0.5, lt=1)
    """A cell changes only if its averaged probability is above this."""
    decay: float = Field(default=0.7, ge=0, lt=1)
    """Decay of the moving average of the predictions over epochs."""
    most_changed: float = Field(default=0.2, gt=0, le=1)
    """Most cells that change in the whole edition, as a share of the cells given to objects."""
    least_change: float = Field(default=0.1, gt=0, le=1)
    """A mask is flagged if its `score` reaches this."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """`picture`, the flattened RGB of the resized picture, and `mask`, the given mask as PNG, empty if missing."""
        for sample in samples:
            assert not isinstance(sample.image, bytes)
            mask = sample.extras.get(MEMBER, b"")
            yield {
                "picture": resized(sample.image, self.side).ravel(),
                "mask": mask if isinstance(mask, bytes) else encode_png(mask),
            }

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """`score`, `flag`, `changed_fraction`, `confidence_on_changed`, `corrected`; all rows have the same `report`.

        `score` is 1 - IoU of the given and the corrected mask. Without a mask, or if the gates refuse to correct, it is
        NaN and `corrected` is null.
        """
        count = len(table)
        if not count:
            return {}
        masks: list[bytes] = table.column("mask").to_pylist()
        chosen = np.flatnonzero([bool(mask) for mask in masks])
        pictures = table["picture"].reshape(count, self.side, self.side, 3)
        given = np.zeros((len(chosen), self.side, self.side), np.int64)
        for row, place in enumerate(chosen):
            given[row] = resized(decode_mask(masks[place]), self.side) >= THRESHOLD
        found = correct_masks(
            pictures[chosen],
            given,
            2,
            seed=ctx.seed_for(self.component_name(), "", "network"),
            epochs=self.epochs,
            ratio=self.ratio,
            threshold=self.confidence,
            decay=self.decay,
            most_changed=self.most_changed,
        )
        columns: dict[str, Any] = {
            "score": np.full(count, np.nan),
            "changed_fraction": np.full(count, np.nan),
            "confidence_on_changed": np.full(count, np.nan),
            "corrected": [None] * count,
            "report": [report(found)] * count,
        }
        if not found.onsets[OBJECT].refusal:
            changed = found.masks != given
            columns["score"][chosen] = disagreement(found.masks, given)
            columns["changed_fraction"][chosen] = changed.mean(axis=(1, 2))
            columns["confidence_on_changed"][chosen] = mean_where(found.confidence, changed)
            for row, place in enumerate(chosen):
                columns["corrected"][place] = redrawn(masks[place], found.masks[row], changed[row])
        columns["flag"] = columns["score"] >= self.least_change
        return columns

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Onset and curve, or why nothing is corrected; how many masks are flagged and how much of them changes."""
        if not len(table):
            return {}
        judged = ~np.isnan(table["score"])
        changed = table["changed_fraction"][judged]
        return {
            **json.loads(table["report"][0]),
            "judged": int(judged.sum()),
            "flagged": int(table["flag"].sum()),
            "changed_fraction": round(float(changed.mean()), 5) if len(changed) else None,
        }


def resized(pixels: Pixels, side: int) -> Pixels:
    """A picture or mask averaged, or interpolated if smaller, to `side` x `side`, whatever its aspect ratio."""
    import cv2

    smaller = min(pixels.shape[:2]) >= side
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=how), dtype=np.uint8)


def redrawn(mask: bytes, corrected: Ints, changed: Bools) -> bytes:
    """A mask's PNG at its own size with the changed cells painted; other pixels keep their grey values."""
    import cv2

    if not changed.any():
        return mask
    pixels = decode_mask(mask)
    size = pixels.shape[1::-1]
    where = cv2.resize(changed.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    values = cv2.resize((corrected * 255).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return encode_png(np.where(where, values, pixels).astype(np.uint8))


def disagreement(one: Ints, other: Ints) -> Floats:
    """1 - IoU `[N]` of the objects in two stacks of masks `[N, H, W]`; 0 if both are empty."""
    both = ((one == OBJECT) & (other == OBJECT)).sum(axis=(1, 2))
    either = ((one == OBJECT) | (other == OBJECT)).sum(axis=(1, 2))
    return np.where(either > 0, 1 - both / np.maximum(either, 1), 0.0)


def mean_where(values: Singles, chosen: Bools) -> Floats:
    """Mean `[N]` of the chosen values `[N, H, W]`, NaN if none is chosen."""
    number = chosen.sum(axis=(1, 2))
    total = np.where(chosen, values, 0).sum(axis=(1, 2), dtype=np.float64)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def report(found: Correction) -> str:
    """JSON with the onset epoch (0 for none), the reason for a refusal, the curve, and the object's IoU history."""
    onset = found.onsets[OBJECT]
    curve = onset.curve
    return json.dumps(
        {
            "onset_epoch": onset.epoch,
            "refusal": onset.refusal,
            "curve": {one: round(getattr(curve, one), 5) for one in ("a", "b", "c", "rmse")} if curve else None,
            "iou_history": [round(float(one), 4) if one == one else None for one in found.history[:, OBJECT]],
        }
    )
