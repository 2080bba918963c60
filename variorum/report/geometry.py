"""Two properties of an edition that go with how well models learn from it: intrinsic dimension and label sharpness.

Both are of Konz and Mazurowski (ICLR 2024, arXiv 2401.08865), who measure them on pixels. Here they are of the
embeddings that curation measured, so they compare editions under the same encoder and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from variorum.arrays import Array, Floats, Ints, Reals
from variorum.edition.store import Store
from variorum.report.embeddings import STEP, embeddings
from variorum.schemas.errors import VariorumError
from variorum.schemas.manifest import Ledger

log = logging.getLogger(__name__)

K = 20
"""Neighbours of the estimate, as in the paper."""
FEWEST = 100
"""With fewer photographs nothing is said."""
MOST = 1_000
"""Photographs of a subset, and those whose pairs are looked at for the sharpness, as in the paper."""
SUBSETS = 10
SAME = 1e-6
"""Unit vectors that are no farther apart are copies."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an edition's embeddings lie.

    Attributes:
        encoder: pin of the model.
        photographs: those that count: one picture of each, no copies.
        copies: photographs that were left out as copies of another one.
        why: why there are no figures; `""` if there are.
        size: photographs of a subset.
        dimension: median of the estimates over `SUBSETS` random subsets.
        low: the smallest of them.
        high: the largest.
        yardstick: the estimate for a Gaussian of that dimension and as many points; the method says too little.
        pairs: number of pairs with different classes among `looked_at` photographs.
        looked_at: photographs whose pairs count.
        sharpness: the largest 1/distance of these pairs; None without two classes. It grows with `looked_at`.
        typical: the 99th percentile of 1/distance, which doesn't rest on one pair.
    """

    encoder: str
    photographs: int
    copies: int
    why: str = ""
    size: int = 0
    dimension: float = 0.0
    low: float = 0.0
    high: float = 0.0
    yardstick: float = 0.0
    pairs: int = 0
    looked_at: int = 0
    sharpness: float | None = None
    typical: float | None = None


def geometry_of(ledger: Ledger | None, rows: Any, store: Store) -> Geometry | None:
    """The figures of a release; None if curation measured no embeddings of its pictures, or their tables aren't here.

    Args:
        ledger: the release's, or None.
        rows: its `edition_rows`.
        store: may have the tables; a release that was pulled from elsewhere has none.
    """
    if ledger is None or not ledger.measured.get(STEP) or "photograph" not in rows.column_names:
        return None
    there = [
        row for row in rows.select(["id", "status", "labels", "photograph"]).to_pylist() if row["status"] == "accepted"
    ]
    try:
        found = embeddings(ledger, [row["id"] for row in there], store)
    except (VariorumError, OSError) as error:
        log.info("intrinsic dimension and label sharpness aren't given: %s", error)
        return None
    if found is None or not len(found):
        return None
    names = {name: i for i, name in enumerate(sorted({row["labels"][0] for row in there if row["labels"]}))}
    classes = np.array([names[row["labels"][0]] if row["labels"] else -1 for row in there], np.int64)
    return geometry(found, classes, [row["photograph"] for row in there], encoder=_encoder(ledger))


def geometry(vectors: Reals, classes: Ints, photographs: Sequence[str], *, encoder: str) -> Geometry:
    """The figures of embeddings.

    Args:
        vectors: `[N, d]`; rows that aren't finite or are 0 don't count. Distances are between unit vectors.
        classes: `[N]`, -1 for none.
        photographs: `[N]`; of several pictures of one the first counts, because edits lie beside their original.
        encoder: pin of the model.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    usable = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
    _, first = np.unique(np.asarray(photographs, str)[usable], return_index=True)
    rows = usable[np.sort(first)]
    units = vectors[rows].astype(np.float64) / lengths[rows, None]
    kept = _distinct(units)
    units, classes, copies = units[kept], classes[rows][kept], len(rows) - len(kept)
    if len(units) < FEWEST:
        why = f"{len(units)} photographs are too few; it takes {FEWEST}"
        return Geometry(encoder, len(units), copies, why)
    size = min(MOST, len(units) // 2)
    rng = np.random.default_rng(0)
    found = [dimension(units[rng.choice(len(units), size, replace=False)]) for _ in range(SUBSETS)]
    middle = float(np.median(found))
    if not np.isfinite(found).all():
        return Geometry(encoder, len(units), copies, "photographs are all equally far apart")
    gaussian = rng.standard_normal((size, max(1, round(middle))))
    looked_at = min(MOST, len(units))
    drawn = rng.choice(len(units), looked_at, replace=False)
    nearness = _nearness(units[drawn], classes[drawn])
    return Geometry(
        encoder,
        len(units),
        copies,
        size=size,
        dimension=middle,
        low=min(found),
        high=max(found),
        yardstick=dimension(gaussian),
        pairs=len(nearness),
        looked_at=looked_at,
        sharpness=float(nearness.max()) if len(nearness) else None,
        typical=float(np.quantile(nearness, 0.99)) if len(nearness) else None,
    )


def dimension(points: Floats, k: int = K) -> float:
    """Intrinsic dimension of distinct points `[N, d]` by maximum likelihood, N > k.

    Levina and Bickel (NIPS 2004), averaged over the points as MacKay and Ghahramani advise (2005): the inverse of the
    mean of ln(T_k / T_j) over points and their neighbours j < k, where T_j is the distance to the j-th neighbour.
    Points that are all equally far apart give infinity.
    """
    squares = _squares(points)
    np.fill_diagonal(squares, np.inf)
    near = np.sort(np.partition(squares, k - 1, axis=1)[:, :k], axis=1)
    logs = 0.5 * np.log(near[:, -1:] / near[:, :-1])
    mean = float(logs.mean())
    return 1 / mean if mean else float("inf")


def _squares(points: Floats) -> Floats:
    """Squared distances `[N, N]`."""
    norms = (points**2).sum(axis=1)
    return np.asarray(np.maximum(norms[:, None] + norms[None] - 2 * points @ points.T, SAME**2))


def _nearness(units: Floats, classes: Ints) -> Array:
    """1/distance of each pair with two different classes."""
    one, other = np.triu_indices(len(units), 1)
    unlike = (classes[one] != classes[other]) & (classes[one] >= 0) & (classes[other] >= 0)
    return np.asarray(1 / np.sqrt(_squares(units)[one[unlike], other[unlike]]))


def _distinct(units: Floats) -> Ints:
    """Rows without copies of earlier ones, in order; copies have the same vector but for rounding."""
    _, first = np.unique(np.round(units / (10 * SAME)).astype(np.int64), axis=0, return_index=True)
    return np.sort(first)


def _encoder(ledger: Ledger) -> str:
    """Pin of the encoder behind the embeddings; its alias if the ledger doesn't say."""
    steps = [step for step in ledger.curate if step.get("name") == STEP]
    alias = str(steps[0].get("encoder", "encoder")) if steps else "encoder"
    return ledger.models.get(alias, alias)
