"""Embeds every picture once, for all judgements that compare pictures or learn from them.

The encoder is frozen and sees the picture as it is; what it gives is kept unscaled, as its length may mean something.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from schemas.component import Context, CurationStep
from schemas.sample import Sample

BLOCK = 1024
"""Rows that are scaled at a time, so that little memory is needed beside them."""


class Features(CurationStep):
    """The columns `embedding` `[N, d]` float16, as the encoder gives it, and `encoder`, its alias."""

    revision: ClassVar[int] = 2
    measured_by: ClassVar[frozenset[str]] = frozenset({"encoder"})

    encoder: str = "encoder"
    """Alias of the model."""

    def aliases(self) -> tuple[str, ...]:
        """The encoder."""
        return (self.encoder,)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """Both columns; what doesn't fit float16 (beyond ±65504) is infinite, and not judged by what reads it."""
        embeddings = ctx.models.get(self.encoder)([sample.image for sample in samples])
        with np.errstate(over="ignore"):
            yield from ({"embedding": row, "encoder": self.encoder} for row in embeddings.astype(np.float16))


def normalised(embedding: NDArray[Any]) -> NDArray[np.float32]:
    """Rows `[N, d]` at length 1, so that their products are cosines.

    A row without a direction, all zero or with a value that isn't finite, comes back all NaN.
    """
    rows = np.array(embedding, dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        # the largest value first, so that squares neither overflow nor vanish
        largest = np.abs(block).max(axis=1, keepdims=True, initial=0)
        block[~(np.isfinite(largest[:, 0]) & (largest[:, 0] > 0))] = np.nan
        block /= largest
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return rows


def standardised(x: NDArray[Any], fitted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Columns `[N, d]` with mean 0 and deviation 1 over the rows where `fitted` `[N]`; a constant column is all 0."""
    rows = np.asarray(x, dtype=np.float32)
    if not fitted.any():
        return np.zeros_like(rows)
    mean, deviation = rows[fitted].mean(axis=0), rows[fitted].std(axis=0)
    constant = deviation <= 1e-6 * np.abs(rows[fitted]).max(axis=0, initial=0)
    return np.asarray((rows - mean) / np.where(constant, np.inf, deviation), dtype=np.float32)
