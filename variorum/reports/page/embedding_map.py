"""A map of an edition's pictures: similar ones lie together. For looking around, not for measuring distances."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from variorum.arrays import Array, Floats, Reals
from variorum.edition.store import Store
from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.machine.progress import Progress
from variorum.machine.scratch import scratch
from variorum.reports.embeddings import COLUMN, STEP, embeddings
from variorum.schemas.canonical import Json, digest
from variorum.schemas.manifest import Ledger

REVISION = 2
"""Increased when the same embeddings would give another map."""
ABOUT = f"t-SNE of {COLUMN} (van der Maaten and Hinton, 2008)"
MOST = 3_000
"""Pictures that t-SNE places; its time grows faster than their number. The others go to their nearest neighbours."""
FEWEST = 5
"""With fewer pictures there is no map."""
COMPONENTS = 30
PERPLEXITY = 30.0
ITERATIONS = 400
"""Steps of t-SNE. After 500 as many neighbours stay together as after 1,000."""
NEIGHBOURS = 5
ROWS = 1_000
"""Pictures whose neighbours are found at a time."""


def embedding_map(ledger: Ledger, ids: Sequence[str], store: Store, progress: Progress) -> Floats | None:
    """Places of pictures on a plane by their embeddings, kept in this machine's cache.

    Returns:
        `[N, 2]`, NaN for pictures without a finite embedding; None without embeddings or with too few pictures.

    Raises:
        CorruptShard: a table is damaged.
    """
    infos = ledger.measured.get(STEP, [])
    if not infos or len(ids) < FEWEST:
        return None
    named: list[Json] = [info.sha256 for info in infos]
    shown = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    memo = DiskMemo(cache_dir() / "memo")

    def compute() -> dict[str, Array]:
        found = embeddings(ledger, ids, store)
        return {"places": np.full((len(ids), 2), np.nan) if found is None else places(found, progress)}

    kept = np.asarray(memo(digest(["map", REVISION, named, shown]), compute)["places"], np.float64)
    return None if np.isnan(kept).all() else kept


def places(embeddings: Reals, progress: Progress) -> Floats:
    """Places `[N, 2]` of embeddings `[N, d]` on a plane; NaN for those that aren't finite, and for all if few are.

    t-SNE (van der Maaten and Hinton, JMLR 2008) of the first principal components of the unit vectors, started from two
    of them, as Kobak and Berens (2019) advise. The same embeddings give the same places on one kind of machine.
    """
    from threadpoolctl import threadpool_limits

    found = np.full((len(embeddings), 2), np.nan)
    finite = np.asarray(np.isfinite(embeddings).all(axis=1))
    units = embeddings[finite].astype(np.float32)
    if len(units) < FEWEST:
        return found
    progress.start_unlike("arranging a map", 3)
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    with threadpool_limits(1):  # the number of threads changes sums of floats, so the map
        reduced = _components(units)
        progress.advance(1)
        order = np.random.default_rng(0).permutation(len(units))
        some, rest = np.sort(order[:MOST]), np.sort(order[MOST:])
        plane = np.empty((len(units), 2))
        plane[some] = _tsne(reduced[some])
        progress.advance(1)
        for start in range(0, len(rest), ROWS):
            rows = rest[start : start + ROWS]
            plane[rows] = _beside_neighbours(reduced[rows], reduced[some], plane[some])
        progress.advance(1)
    found[finite] = plane - plane.mean(axis=0)
    return found


def _components(units: Reals) -> Floats:
    """The first principal components `[N, k]`, signs fixed by their largest loading."""
    centred = scratch(units.shape, np.float64)
    np.subtract(units, units.mean(axis=0, dtype=np.float64), out=centred)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    vectors = vectors[:, ::-1][:, : min(COMPONENTS, len(units) - 1)]
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return np.asarray(centred @ (vectors * signs))


def _tsne(reduced: Floats) -> Any:
    from sklearn.manifold import TSNE

    spread = float(reduced[:, 0].std())
    start = reduced[:, :2] / spread * 1e-4 if spread > 1e-9 else np.zeros((len(reduced), 2))
    start = start + np.random.default_rng(0).normal(0, 1e-6, start.shape)  # copies would stay on one point
    perplexity = min(PERPLEXITY, (len(reduced) - 1) / 3)
    model = TSNE(perplexity=perplexity, init=start.astype(np.float32), max_iter=ITERATIONS, random_state=0, n_jobs=1)
    return model.fit_transform(reduced.astype(np.float32))


def _beside_neighbours(rows: Floats, known: Floats, plane: Floats) -> Floats:
    """Mean place of the nearest known pictures, weighted by closeness."""
    squares = (rows**2).sum(1)[:, None] + (known**2).sum(1)[None] - 2 * rows @ known.T
    near = np.argpartition(squares, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    weight = 1 / (np.sqrt(np.maximum(np.take_along_axis(squares, near, 1), 0)) + 1e-3)
    return np.asarray((plane[near] * weight[..., None]).sum(1) / weight.sum(1, keepdims=True))
