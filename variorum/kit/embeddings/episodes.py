"""Two classifiers that learn an episode in closed form, for all episodes at once.

- `centroid`: the nearest mean of a class's supports (Snell et al., Prototypical Networks, NeurIPS 2017, arXiv
  1703.05175), of embeddings of length 1 (Wang et al., SimpleShot, arXiv 1911.04623).
- `ridge`: least squares with a penalty on the weights and an intercept (Bertinetto et al., ICLR 2019, arXiv
  1805.08136), solved for the supports, which are far fewer than the embedding's dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Ints, Singles

METHODS = ("centroid", "ridge")
AT_ONCE = 16_000_000
"""Numbers of embeddings that are gathered at a time."""


def unit(embeddings: Singles) -> Singles:
    """Embeddings `[N, d]` of length 1; those of length 0 and those that aren't finite become 0."""
    kept = np.where(np.isfinite(embeddings).all(axis=1, keepdims=True), embeddings, 0).astype(np.float32)
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    return np.asarray(kept / np.where(lengths > 0, lengths, 1), np.float32)


def predictions(embeddings: Singles, supports: Ints, queries: Ints, penalty: float) -> Mapping[str, Ints]:
    """By method, which of an episode's classes each query is taken for.

    Args:
        embeddings: `[N, d]` of length 1.
        supports: `[E, W, K]` rows.
        queries: `[E, M]` rows.
        penalty: of `ridge`, on embeddings of length 1.

    Returns:
        `[E, M]` numbers from 0 to W - 1.
    """
    count, most = queries.shape
    found = {method: np.empty((count, most), np.int64) for method in METHODS}
    rows = max(1, most, supports[0].size)
    step = max(1, AT_ONCE // (rows * max(1, embeddings.shape[1])))
    for start in range(0, count, step):
        part = slice(start, min(start + step, count))
        asked = embeddings[queries[part]]
        given = embeddings[supports[part]]
        for method, (weights, offsets) in (
            ("centroid", nearest_mean(given.mean(axis=2))),
            ("ridge", _ridge(given, penalty)),
        ):
            found[method][part] = (asked @ weights + offsets[:, None]).argmax(axis=2)
    return found


def nearest_mean(means: Singles) -> tuple[Singles, Singles]:
    """Weights `[e, d, W]` and offsets `[e, W]` for means `[e, W, d]`: the largest score is that of the nearest one."""
    return means.transpose(0, 2, 1), -np.einsum("ewd,ewd->ew", means, means) / 2


def _ridge(given: Singles, penalty: float) -> tuple[Singles, Singles]:
    """Weights `[e, d, W]` and offsets `[e, W]` of the regression on the classes, in its dual form."""
    count, ways, shots, size = given.shape
    rows = given.reshape(count, ways * shots, size)
    middle = rows.mean(axis=1, keepdims=True)
    rows = rows - middle
    wanted = np.repeat(np.eye(ways, dtype=np.float32), shots, axis=0) - np.float32(1 / ways)
    kernel = rows @ rows.transpose(0, 2, 1) + np.float32(penalty) * np.eye(ways * shots, dtype=np.float32)
    weights = rows.transpose(0, 2, 1) @ np.linalg.solve(kernel, np.broadcast_to(wanted, (count, *wanted.shape)))
    return weights, -(middle @ weights)[:, 0]
