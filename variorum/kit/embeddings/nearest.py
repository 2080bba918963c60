"""Nearest neighbours of every row: each dot product of two rows is computed once and used for both.

That halves the work of a search, so NumPy is no slower here than faiss's exact index. The similarity matrix above the
diagonal is computed in pieces; what beats a row's or a column's worst neighbour so far replaces it. Pieces of
consecutive rows that are all compared with one another give the exact neighbours. With very many rows the pieces are
clusters, and only near clusters are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from variorum.kit.embeddings.rows import normalised, taken, thinned

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints, Singles

Indices: TypeAlias = NDArray[np.int32]

BLOCK = 1024
"""Rows and columns of similarities at a time: 4 MiB, so that they are still in the cache when they are compared."""
EXACT = 200_000
"""Rows up to which neighbours are exact; the time rises with the square of the rows."""
CLUSTERS = 2.0
"""Clusters divided by the square root of the rows."""
NEAR = 48
"""Near clusters that each cluster is compared with; as nearness goes both ways, it is compared with more."""
LEARNT_ON = 32
"""Rows for each cluster that its centre is learnt from."""
ROUNDS = 6
"""Rounds of k-means. Further ones hardly raise the recall."""
MOVED = 1 << 18
"""Rows that are brought back to their order at a time."""
QUERIES = 1_000
"""Rows whose exact neighbours are searched for, to measure the recall."""
SAME = 1e-6
"""Similarities that differ by less count as equal."""


def nearest(rows: Singles, k: int) -> tuple[Indices, Singles]:
    """The k nearest other rows of each row by cosine, nearest first; exact.

    Args:
        rows: `[N, d]` float32 of unit length, as `kit.embeddings.rows.normalised` returns them.
        k: neighbours per row.

    Returns:
        Row numbers `[N, k]` int32 and cosine similarities `[N, k]`; -1 and NaN where there are fewer than k others.
    """
    n = len(rows)
    pieces = [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    return _graph(n, k, pieces, lambda piece: rows[piece], lambda number: range(number + 1, len(pieces)))


@dataclass(frozen=True, slots=True)
class Clusters:
    """Rows of embeddings, sorted by cluster.

    Attributes:
        order: `[M]` places of the rows as they were given, cluster by cluster.
        vectors: `[M, d]` in this order, of any length.
        by_id: `[M]` the same places in an order that doesn't depend on that of the table.
        pieces: slices of the order; a cluster is one piece, or several if it is large.
        near: for each piece, the later pieces that it is compared with.
    """

    order: Ints
    vectors: Array
    by_id: Ints
    pieces: Sequence[slice]
    near: Sequence[Ints]

    def rows(self, piece: slice) -> Singles:
        """The vectors of a piece, of unit length."""
        return normalised(self.vectors[piece])


def clusters(
    embedding: Array, rows: Ints, by_id: Ints, rng: np.random.Generator, store: str = "", near: int = NEAR
) -> Clusters:
    """Sort rows into clusters of similar ones, by k-means on a sample.

    Args:
        embedding: `[N, d]`.
        rows: `[M]` the rows to sort; each has a direction.
        by_id: `[M]` places in `rows` in the order of the ids, so that the sample doesn't depend on the table's order.
        rng: draws the first centres.
        store: see `scratch`.
        near: near clusters that each cluster is compared with.
    """
    count = max(1, round(CLUSTERS * len(rows) ** 0.5))
    sample = normalised(embedding, rows[thinned(by_id, LEARNT_ON * count)])
    centres = sample[rng.permutation(len(sample))[:count]]
    for _ in range(ROUNDS):
        centres = _means(sample, _closest(sample, centres), centres)
    cluster = np.empty(len(rows), dtype=np.int32)
    for start in range(0, len(rows), BLOCK):
        some = slice(start, start + BLOCK)
        cluster[some] = _closest(normalised(embedding, rows[some]), centres)
    order = np.argsort(cluster, kind="stable")
    vectors = taken(embedding, rows[order], store)
    ends = np.cumsum(np.bincount(cluster, minlength=len(centres)))
    pieces, owner = list[slice](), list[int]()
    for number, (start, end) in enumerate(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)):
        for low in range(start, end, 2 * BLOCK):
            pieces.append(slice(low, min(low + 2 * BLOCK, end)))
            owner.append(number)
    return Clusters(order, vectors, by_id, pieces, list(_later(_near(centres, near), np.array(owner, dtype=np.int64))))


def nearest_in_clusters(found: Clusters, k: int) -> tuple[Indices, Singles, float]:
    """As `nearest`, but only among near clusters, and the recall, measured on `QUERIES` rows."""
    near, similar = _graph(len(found.order), k, found.pieces, found.rows, lambda number: found.near[number])
    place = np.argsort(found.order)
    share = recall(found, near, place[thinned(found.by_id, QUERIES)])
    index, similarity = np.empty_like(near), np.empty_like(similar)
    for start in range(0, len(place), MOVED):
        some = place[start : start + MOVED]
        index[start : start + MOVED] = np.where(near[some] < 0, -1, found.order[near[some]])
        similarity[start : start + MOVED] = similar[some]
    return index, similarity, share


def recall(found: Clusters, index: Indices, asked: Ints) -> float:
    """Share of the exact neighbours of some rows that were found; those as near as the last one are as good.

    Args:
        found: the rows.
        index: `[M, k]` places of the neighbours among the sorted vectors, -1 for none.
        asked: places of the rows to check, among the sorted vectors.
    """
    k = index.shape[1]
    mine = normalised(found.vectors, asked)
    best = np.full((len(asked), k), -np.inf, dtype=np.float32)
    for start in range(0, len(found.order), BLOCK):
        here = np.arange(start, min(start + BLOCK, len(found.order)))
        similar = mine @ normalised(found.vectors, here).T
        similar[asked[:, None] == here] = -np.inf
        best = -np.partition(-np.concatenate([best, similar], axis=1), k - 1, axis=1)[:, :k]
    hits = 0
    for place, row in enumerate(asked):
        near = index[row][index[row] >= 0]
        similar = normalised(found.vectors[near]) @ mine[place]
        hits += int((similar >= best[place].min() - SAME).sum())
    return float(hits / max(1, len(asked) * min(k, len(found.order) - 1)))


def _closest(rows: Singles, centres: Singles) -> Indices:
    closest = np.empty(len(rows), dtype=np.int32)
    for start in range(0, len(rows), BLOCK):
        closest[start : start + BLOCK] = (rows[start : start + BLOCK] @ centres.T).argmax(axis=1)
    return closest


def _means(rows: Singles, cluster: Indices, centres: Singles) -> Singles:
    """The mean direction of each cluster; an empty one keeps its centre."""
    from scipy.sparse import csr_matrix

    there = np.ones(len(rows), dtype=np.float32)
    sums = csr_matrix((there, (cluster, np.arange(len(rows)))), shape=(len(centres), len(rows))) @ rows
    means = normalised(sums)
    empty = np.isnan(means[:, 0])
    means[empty] = centres[empty]
    return means


def _near(centres: Singles, most: int) -> Bools:
    """`[K, K]`: which clusters are compared: each with the `most` nearest, in both directions, and with itself."""
    near = np.eye(len(centres), dtype=bool)
    width = min(most, len(centres) - 1)
    for start in range(0, len(centres), BLOCK):
        similar = centres[start : start + BLOCK] @ centres.T
        np.put_along_axis(
            near[start : start + BLOCK], np.argpartition(-similar, width, axis=1)[:, : width + 1], True, axis=1
        )
    return np.asarray(near | near.T)


def _later(near: Bools, owner: Ints) -> Iterator[Ints]:
    for number, own in enumerate(owner.tolist()):
        yield number + 1 + np.flatnonzero(near[own][owner[number + 1 :]])


def _graph(
    n: int,
    k: int,
    pieces: Sequence[slice],
    rows: Callable[[slice], Singles],
    later: Callable[[int], Iterable[int]],
) -> tuple[Indices, Singles]:
    """The nearest neighbours among the pieces that are compared.

    Args:
        n: number of rows.
        k: neighbours per row.
        pieces: all rows, each in one piece.
        rows: gives the rows of a piece.
        later: gives, for each piece, the later pieces that it is compared with.
    """
    index, best = np.full((n, k), -1, dtype=np.int32), np.full((n, k), -np.inf, dtype=np.float32)
    for piece in pieces:
        mine = rows(piece)
        similar = mine @ mine.T
        np.fill_diagonal(similar, -np.inf)
        width = min(k, len(similar) - 1)
        if width:
            top = np.argpartition(-similar, width - 1, axis=1)[:, :width].astype(np.int32)
            near = np.take_along_axis(similar, top, axis=1)
            order = np.argsort(-near, axis=1, kind="stable")
            index[piece, :width] = np.take_along_axis(top, order, axis=1) + piece.start
            best[piece, :width] = np.take_along_axis(near, order, axis=1)
    for number, piece in enumerate(pieces):
        mine = rows(piece)
        for other in (pieces[one] for one in later(number)):
            similar = mine @ rows(other).T
            flat, width = similar.ravel(), similar.shape[1]
            better = np.flatnonzero(similar > best[piece, -1:])
            row, column = np.divmod(better, width)
            _offer(index[piece], best[piece], row, column + other.start, flat[better])
            better = np.flatnonzero(similar > best[other, -1])
            row, column = np.divmod(better, width)
            order = np.argsort(column, kind="stable")
            _offer(index[other], best[other], column[order], row[order] + piece.start, flat[better[order]])
    best[index < 0] = np.nan
    return index, best


def _offer(index: Indices, best: Singles, row: Ints, candidate: Ints, similarity: Singles) -> None:
    """Merge candidates, sorted by row, into the rows' nearest, in place; among equals the earlier one stays first."""
    if not len(row):
        return
    k = index.shape[1]
    hit, starts, counts = np.unique(row, return_index=True, return_counts=True)
    line = np.repeat(np.arange(len(hit)), counts)
    place = k + np.arange(len(row)) - np.repeat(starts, counts)
    pool = np.full((len(hit), k + counts.max()), -np.inf, dtype=np.float32)
    pool_index = np.full(pool.shape, -1, dtype=np.int32)
    pool[:, :k], pool_index[:, :k] = best[hit], index[hit]
    pool[line, place], pool_index[line, place] = similarity, candidate
    order = np.argsort(-pool, axis=1, kind="stable")[:, :k]
    best[hit], index[hit] = np.take_along_axis(pool, order, axis=1), np.take_along_axis(pool_index, order, axis=1)
