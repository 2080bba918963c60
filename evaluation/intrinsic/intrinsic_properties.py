"""Measure a dataset before any model is trained on it: its intrinsic dimension and its label sharpness.

Konz and Mazurowski (ICLR 2024, arXiv 2401.08865) find that models generalise worse from sets of pictures with a higher
intrinsic dimension, and are easier to attack where labels are sharper, that is where unlike pictures are close to each
other. They measure pixels; here the embeddings of an encoder are measured too. No model is judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from variorum.evaluation.intrinsic.spaces import FEWEST, dimensions, sharpness
from variorum.kit.predicted.pairing import one_each
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Evaluation, Row, Use
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Ints, Pixels

SIDE = 224
"""Side in pixels at which the paper compares pictures for the label sharpness."""
COUNTED, MEASURED, COMPARED = 1, 2, 3
"""What is done with a picture: it is counted only, since there are too few; it is measured; it is also kept at `SIDE`,
for the sharpness of pixels."""
LEVELS = 255.0
LARGEST = 1e15
"""Larger coordinates have no squares in single precision."""


class IntrinsicProperties(Evaluation):
    """Intrinsic dimension and label sharpness, of pixels and of embeddings.

    One picture of each photograph counts: the original, or else the first, because edits of one photograph lie beside
    it. Nothing else is looked at.
    """

    late: ClassVar[frozenset[str]] = frozenset({"k", "subsample", "most"})

    encoder: str | None = "encoder"
    """Alias of the model that embeds the pictures; null for pixels only. Where it is unavailable, figures of embeddings
    are left out. It may have filtered the edition, as it isn't judged."""
    k: int = Field(default=20, ge=5, le=100)
    """Neighbours of the estimate of the dimension. The paper has 20."""
    pixels_side: int = Field(default=32, ge=8, le=64)
    """Side in pixels to which pictures are resized for the dimension of pixels, whatever their shape."""
    subsample: int = Field(default=1000, ge=100, le=10_000)
    """Photographs of each subsample that shows the spread of the dimension, at most half of all; and photographs whose
    pairs are compared for the label sharpness, which grows with their number. The paper has 1000."""
    most: int = Field(default=10_000, ge=200, le=100_000)
    """Maximum number of photographs that are measured; with more, they are drawn by the hashes of their ids."""

    def uses(self) -> list[Use]:
        """Return the encoder, which only describes the pictures."""
        return [Use(self.encoder, "encoder", optional=True, describes=True)] if self.encoder else []

    def chosen(self, table: Table, ctx: Context) -> Ints:
        """One picture of each photograph, and what is done with it."""
        numbers = np.zeros(len(table), np.int64)
        rows = one_each(table)
        if len(rows) < FEWEST:
            numbers[rows] = COUNTED
            return numbers
        ids = table["id"]
        drawn = rows[np.argsort([sha256(str(ids[row]).encode()).digest() for row in rows], kind="stable")]
        numbers[drawn[: self.most]] = MEASURED
        numbers[drawn[: min(self.subsample, self.most)]] = COMPARED
        return numbers

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture: `id`, `labels` as JSON and, unless there are too few, what the spaces need.

        That is `pixels`, `embedding` if the encoder is available, and `picture`, the bytes at `SIDE`, for those that
        are compared.
        """
        measured = [ctx.chosen.get(sample.id, COMPARED) > COUNTED for sample in samples]
        embeddings = None
        if self.encoder and any(measured) and not ctx.models.why_unavailable(self.encoder):
            embeddings = np.asarray(ctx.models.get(self.encoder)([sample.image for sample in samples]), np.float32)
        for place, sample in enumerate(samples):
            row: dict[str, Any] = {"id": sample.id, "labels": json.dumps(sorted(sample.labels))}
            if measured[place]:
                image: Any = sample.image
                compared = ctx.chosen.get(sample.id, COMPARED) == COMPARED
                row["pixels"] = square(image, self.pixels_side).ravel()
                row["picture"] = square(image, SIDE).tobytes() if compared else None
                if embeddings is not None:
                    row["embedding"] = embeddings[place]
            yield row

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By space, `pixels` and `embeddings`, its `dimension` and its `sharpness`; `why_not` for what is missing.

        `photographs` is the number of those that were looked at, `drawn` says whether there were more.
        """
        n = len(table)
        common: dict[str, Json] = {"k": self.k, "encoder": self.encoder, "photographs": n, "drawn": n == self.most}
        if n < FEWEST:
            return {**common, "why_not": f"{n} photographs are too few; it takes {FEWEST}", "spaces": {}}
        labels = [tuple(json.loads(text)) for text in table["labels"]]
        spaces = {"pixels": self._space(table, labels, "pixels", ctx.seed)}
        if self.encoder:
            why = ctx.models.why_unavailable(self.encoder)
            lacking: dict[str, Json] = {"why_not": f"{self.encoder} is unavailable: {why}"}
            held = "embedding" in table
            spaces["embeddings"] = self._space(table, labels, "embedding", ctx.seed) if held else lacking
        return {**common, "pixels_side": self.pixels_side, "side": SIDE, "spaces": spaces}

    def _space(self, table: Table, labels: Sequence[tuple[str, ...]], column: str, seed: int) -> dict[str, Json]:
        """Figures of one space; `left_out` counts points with a coordinate that isn't finite or exceeds `LARGEST`."""
        points, pictures = table[column].astype(np.float32), table["picture"]
        usable = np.flatnonzero(np.abs(points).max(axis=1) <= LARGEST)
        found, kept = dimensions(points[usable], self.k, self.subsample, seed)
        rows = usable[kept]
        rows = rows[[pictures[row] is not None for row in rows.tolist()]]
        compared, scale = points[rows], 1.0
        if column == "pixels":
            compared = np.array([np.frombuffer(pictures[row], np.uint8) for row in rows.tolist()])
            scale = 1 / LEVELS
        unlike = sharpness(compared, [labels[row] for row in rows.tolist()], scale)
        return {**found, "left_out": len(points) - len(usable), "sharpness": unlike}


def square(image: Pixels, side: int) -> Pixels:
    """A picture `[H, W, 3]` resized to a square, whatever its shape, as the paper does."""
    height, width = image.shape[:2]
    how = cv2.INTER_AREA if height * width > side * side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=how), np.uint8)
