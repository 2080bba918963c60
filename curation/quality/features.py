"""Embeds every picture once, for all detectors that compare pictures or learn from them.

The encoder is frozen, there is no augmentation, and the embedding is stored unscaled because its length may matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from variorum.schemas.component import Context, Detector, Use, column_kinds
from variorum.schemas.sample import Sample


class Features(Detector):
    """Columns `embedding` `[N, d]` float16, the encoder's output, and `encoder`, its alias."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(others="embedding", texts="encoder")
    revision: ClassVar[int] = 2

    encoder: str = "encoder"
    """Alias of the model."""

    def uses(self) -> list[Use]:
        """Return the encoder."""
        return [Use(self.encoder, "encoder")]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """Both columns. Values beyond float16 (±65504) become infinite; other detectors don't judge such pictures."""
        encoder, images = ctx.models.get(self.encoder), [sample.image for sample in samples]
        at_once = getattr(encoder, "at_once", len(images))  # a slow encoder's progress is seen picture by picture
        for start in range(0, len(images), at_once):
            with np.errstate(over="ignore"):
                embeddings = encoder(images[start : start + at_once]).astype(np.float16)
            yield from ({"embedding": row, "encoder": self.encoder} for row in embeddings)
