"""Another source whose classes overlap: some pictures have the label of another class, and keep their own beside it.

After Chidambaram and Ge, On the Limitations of Temperature Scaling for Distributions with Overlaps, arXiv 2306.00740.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import Field

from variorum.edition.samples import decoded
from variorum.schemas.canonical import digest
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import Derived
from variorum.schemas.sample import Failure, Sample


class LabelOverlap(Derived):
    """All pictures of the source, in its order. `clean_label` in their metadata is the label that they had."""

    rate: float = Field(default=0.3, ge=0, le=0.5)
    """Probability that a label changes; the recipe's seed and a picture's id decide which ones do."""
    pairs: Literal["fixed", "confusable", "uniform"] = "fixed"
    """What it changes to: the next class, the one whose mean picture is nearest, or any other."""

    def pin(self, ctx: Context) -> str:
        """Digest of the source's pin and of the recipe's seed, which decides what labels change."""
        return digest(["label_overlap", self.of.pin(ctx), ctx.seed])

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """The source's samples, some with another label. Raises SourceError for fewer than two classes."""
        others = self._others(ctx)
        for item in self.of.read(start, stop, ctx):
            if isinstance(item, Sample) and item.labels:
                (clean, *more), rng = item.labels, ctx.rng("label_overlap", item.id)
                label = str(rng.choice(others[clean])) if rng.random() < self.rate else clean
                item = replace(item, labels=(label, *more), metadata={**item.metadata, "clean_label": clean})
            yield item

    def _others(self, ctx: Context) -> Mapping[str, Sequence[str]]:
        """By class, those that its labels change to."""
        ids = [one.id for one in self.of.classes(ctx)]
        if len(ids) < 2:
            raise SourceError(f"label_overlap: it takes two classes, and {self.of.component_name()} has {len(ids)}")
        if self.pairs != "confusable":
            most = len(ids) if self.pairs == "uniform" else 2
            return {one: (ids * 2)[place + 1 : place + most] for place, one in enumerate(ids)}
        key = digest(["label_overlap", "means", self.of.fingerprint(), self.of.pin(ctx)])
        means = ctx.memo(key, lambda: {"means": self._means(ids, ctx)})["means"]
        apart = np.square(means[:, None] - means).sum(axis=2) + np.diag(np.full(len(ids), np.inf))
        return {one: [ids[place]] for one, place in zip(ids, apart.argmin(axis=1).tolist(), strict=True)}

    def _means(self, ids: Sequence[str], ctx: Context) -> Any:
        """The mean picture of each class in 8 x 8 pixels, `[K, 192]`; a class without pictures is far from all."""
        found: dict[str, list[Any]] = {one: [] for one in ids}
        for item in decoded(self.of.read(0, self.of.size(ctx), ctx)):
            if isinstance(item, Sample) and not isinstance(item.image, bytes) and item.labels:
                found[item.labels[0]].append(cv2.resize(item.image, (8, 8), interpolation=cv2.INTER_AREA).ravel())
        return np.stack([np.mean(one, axis=0) if one else np.full(192, 1e6) for one in found.values()])
