"""Fingerprints of pictures that are no part of an edition, as a list to check the edition against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.duplicates import Duplicates
from curation.features import Features
from curation.fingerprints.blocklists import Blocklist
from curation.fingerprints.pdq import LEAST_QUALITY
from schemas.canonical import digest
from schemas.component import Context, Source
from variorum.measure import STRETCH, batched, source_pictures


def source_list(name: str, source: Source, encoder: str | None, ctx: Context) -> Blocklist:
    """The list of a source's pictures, measured as the steps `duplicates` and `features` do it, and only once.

    Args:
        name: of the list.
        source: whose pictures; those that can't be read are left out.
        encoder: alias of what embeds them; None for hashes alone.
        ctx: has the models, and keeps what was measured.

    Raises:
        SourceError: none of the pictures can be read.
    """
    pin = "" if encoder is None else ctx.models.pin(encoder)
    key = digest([name, Duplicates.revision, Features.revision, source.fingerprint(), source.pin(ctx), pin])
    kept = ctx.memo(key, lambda: fingerprints(name, source, encoder, ctx))
    return Blocklist(name, np.array([], dtype=str), kept["pixels"], kept["pdq"], kept["embedding"])


def fingerprints(name: str, source: Source, encoder: str | None, ctx: Context) -> dict[str, NDArray[Any]]:
    """Hashes `pixels` `[M, 16]`, `pdq` `[≤ M, 32]` of those that show enough, `embedding` `[M, d]` or empty."""
    hashes: list[Mapping[str, Any]] = []
    embeddings: list[Any] = []
    duplicates = Duplicates(embedding=False)
    features = None if encoder is None else Features(encoder=encoder)
    for stretch in batched(source_pictures(name, source, 0, source.size(ctx), ctx), STRETCH):
        hashes += duplicates.measure(stretch, ctx)
        if features:
            embeddings += [row["embedding"] for row in features.measure(stretch, ctx)]
    clear = [row["pdq"] for row in hashes if row["pdq_quality"] >= LEAST_QUALITY]
    return {
        "pixels": np.stack([row["pixels"] for row in hashes]),
        "pdq": np.stack(clear) if clear else np.empty((0, 32), np.uint8),
        "embedding": np.stack(embeddings) if embeddings else np.empty((0, 0), np.float16),
    }
