"""Find, for each picture of a page, those that look most like it, by the embeddings that curation measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from variorum.arrays import Array, Ints, Reals
from variorum.edition.store import Store
from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.reports.embeddings import STEP, embeddings
from variorum.schemas.canonical import Json, digest
from variorum.schemas.manifest import Ledger

REVISION = 1
"""Increased when the same embeddings would give other neighbours."""
NEAREST = 8
"""Pictures that are shown beside one."""
MOST = 20_000
"""On a page with more pictures there are none: the time grows with the square of their number."""
ROWS = 500
"""Pictures whose neighbours are found at a time."""


def likenesses(ledger: Ledger, ids: Sequence[str], sources: Sequence[str], store: Store) -> list[list[int]]:
    """By row, the rows of the pictures that are most alike, kept in this machine's cache.

    Returns:
        Up to `NEAREST` rows for each, the most similar first; `[]` without embeddings, or with too many pictures.

    Raises:
        CorruptShard: a table is damaged.
    """
    infos = ledger.measured.get(STEP, [])
    if not infos or not 2 <= len(ids) <= MOST:
        return []
    named: list[Json] = [info.sha256 for info in infos]
    shown = hashlib.sha256("\n".join(ids).encode()).hexdigest()

    def compute() -> dict[str, Array]:
        found = embeddings(ledger, ids, store)
        photographs = np.unique(np.asarray(sources, dtype=object), return_inverse=True)[1]
        return {"near": np.zeros((0, NEAREST), np.int64) if found is None else nearest(found, photographs)}

    near = DiskMemo(cache_dir() / "memo")(digest(["alike", REVISION, named, shown]), compute)["near"]
    return [[one for one in row if one >= 0] for row in np.asarray(near).tolist()]


def nearest(embeddings: Reals, photographs: Ints) -> Ints:
    """By picture, the rows of the most similar ones `[N, NEAREST]`, the most similar first; -1 where there are no more.

    Those made from the same photograph are left out, as the page shows them anyway. Similar is a high cosine; of equal
    ones the first row comes first.

    Args:
        embeddings: `[N, d]`; rows that aren't finite have no neighbours and are none.
        photographs: `[N]` the same number for pictures made from the same photograph.
    """
    from threadpoolctl import threadpool_limits

    found = np.full((len(embeddings), NEAREST), -1, np.int64)
    there = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    units = embeddings[there].astype(np.float32)
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    own = photographs[there]
    with threadpool_limits(1):  # the number of threads changes sums of floats, so the order
        for start in range(0, len(there), ROWS):
            some = slice(start, start + ROWS)
            cosine = units[some] @ units.T
            cosine[own[some, None] == own[None]] = -np.inf
            order = np.argsort(-cosine, axis=1, kind="stable")[:, :NEAREST]
            known = np.take_along_axis(cosine, order, axis=1) > -np.inf
            found[there[some], : order.shape[1]] = np.where(known, there[order], -1)
    return found
