"""Finds masks whose errors a small network contradicts before it has learned them, and proposes corrected ones (ADELE).

A segmentation network that is trained on the edition's own masks first learns what they have in common and only
later each one's errors (Liu et al., "Adaptive Early-Learning Correction for Segmentation from Noisy Annotations",
CVPR 2022). Its averaged predictions at that onset are compared with the masks. Errors that most masks share are learned
first, so these it can't find.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.masks.early_learning import Correction, correct_masks
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.sample import Sample
from variorum.columns import matrix, vector
from variorum.images import Pixels, decode_mask, encode_png

if TYPE_CHECKING:
    import pyarrow as pa

MEMBER = "mask.png"
OBJECT = 1
THRESHOLD = 128
"""Grey value from which a pixel of a mask is the object's."""


class MaskNoise(CurationStep):
    """Masks (member `mask.png`) against the early predictions of a network of two classes, object and background.

    The corrected mask is added to a release as the member `mask_corrected.png`; the given one stays as it is.
    """

    measured_by: ClassVar[frozenset[str]] = frozenset({"side"})
    scored_by: ClassVar[frozenset[str]] = frozenset(
        {"epochs", "ratio", "confidence", "decay", "most_changed", "least_change"}
    )
    adds: ClassVar[Mapping[str, str]] = {"mask_corrected.png": "corrected"}

    side: int = Field(default=64, ge=16, multiple_of=4)
    """Pictures and masks are squashed to this square; a mask changes by cells of that grid."""
    epochs: int = Field(default=60, ge=8)
    """At most; training ends at the onset."""
    ratio: float = Field(default=0.9, gt=0, lt=1)
    """Share of the curve's first slope that is gone at the onset."""
    confidence: float = Field(default=0.8, ge=0.5, lt=1)
    """Least averaged probability of a change."""
    decay: float = Field(default=0.7, ge=0, lt=1)
    """Of the moving average of the predictions over epochs."""
    most_changed: float = Field(default=0.2, gt=0, le=1)
    """Most cells that change in the whole edition, as a share of the objects' given cells."""
    least_change: float = Field(default=0.1, gt=0, le=1)
    """A mask is flagged when its `score` reaches this."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """`picture`, RGB of the small square in a row, and `mask`, the given mask as PNG, empty where there is none."""
        for sample in samples:
            assert not isinstance(sample.image, bytes)
            mask = sample.extras.get(MEMBER, b"")
            yield {
                "picture": squashed(sample.image, self.side).ravel(),
                "mask": mask if isinstance(mask, bytes) else encode_png(mask),
            }

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Per picture `score`, `flag`, `changed_fraction`, `confidence_on_changed`, `corrected`; for all `report`.

        `score` is 1 - IoU of the given with the corrected mask. Without a mask, or where the gates refuse, scores are
        NaN and `corrected` is null.
        """
        name, count = self.component_name(), table.num_rows
        if not count:
            return {}
        masks: list[bytes] = table.column(f"{name}.mask").to_pylist()
        chosen = np.flatnonzero([bool(mask) for mask in masks])
        pictures = matrix(table, f"{name}.picture").reshape(count, self.side, self.side, 3)
        given = np.zeros((len(chosen), self.side, self.side), np.int64)
        for row, place in enumerate(chosen):
            given[row] = squashed(decode_mask(masks[place]), self.side) >= THRESHOLD
        found = correct_masks(
            pictures[chosen],
            given,
            2,
            seed=ctx.seed_for(name, "", "network"),
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

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """The onset and the curve, or why there is no evidence; how many masks are flagged and how much changes."""
        name = self.component_name()
        if not table.num_rows:
            return {}
        score = vector(table, f"{name}.score")
        judged = ~np.isnan(score)
        changed = vector(table, f"{name}.changed_fraction")[judged]
        return {
            **json.loads(vector(table, f"{name}.report")[0]),
            "judged": int(judged.sum()),
            "flagged": int(vector(table, f"{name}.flag").sum()),
            "changed_fraction": round(float(changed.mean()), 5) if len(changed) else None,
        }


def squashed(pixels: Pixels, side: int) -> Pixels:
    """A picture or mask averaged (or enlarged) to `side` x `side`."""
    import cv2

    smaller = min(pixels.shape[:2]) >= side
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=how), dtype=np.uint8)


def redrawn(mask: bytes, corrected: NDArray[np.int64], changed: NDArray[np.bool_]) -> bytes:
    """A mask's PNG with the changed cells painted, at the mask's own size; all else keeps its grey values."""
    import cv2

    if not changed.any():
        return mask
    pixels = decode_mask(mask)
    size = pixels.shape[1::-1]
    where = cv2.resize(changed.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    values = cv2.resize((corrected * 255).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return encode_png(np.where(where, values, pixels).astype(np.uint8))


def disagreement(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 - IoU of the objects in two stacks of masks `[N, H, W]`; 0 where both are empty."""
    both = ((one == OBJECT) & (other == OBJECT)).sum(axis=(1, 2))
    either = ((one == OBJECT) | (other == OBJECT)).sum(axis=(1, 2))
    return np.where(either > 0, 1 - both / np.maximum(either, 1), 0.0)


def mean_where(values: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean `[N]` of the chosen values `[N, H, W]`, NaN of none."""
    number = chosen.sum(axis=(1, 2))
    total = np.where(chosen, values, 0).sum(axis=(1, 2), dtype=np.float64)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def report(found: Correction) -> str:
    """The run in JSON: onset epoch (0 for none), why it was refused, the curve, and the object's IoU history."""
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
