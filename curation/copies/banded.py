"""Looking up hashes in a table whose order is kept: the buckets of every band lie ready, on disk if need be.

`join` sorts both sides for each join, which pays for many queries. For one picture against millions the table is sorted
once (`bands`), and a query reads only the buckets that can hold a near hash. Both are exact up to 31 bits: two hashes
that are at most 31 bits apart differ by at most one bit in one of 16 bands (Norouzi, Punjani & Fleet, CVPR 2012).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from variorum.kit.copies.join import BAND, BANDS, RADIUS

if TYPE_CHECKING:
    from variorum.arrays import Ints

FLIPS = np.array([0, *(1 << bit for bit in range(BAND))], np.uint16)
"""What a band's key may differ by: nothing or one bit."""
BUCKETS = 1 << BAND
STEP = 1 << 15
"""Candidates compared at a time; few enough to stay in the processor's cache."""
NONE = 257
"""Bits of a query without a near hash."""


class Bands(NamedTuple):
    """The rows of a table in the order of each band.

    Attributes:
        order: `[16, M]` uint32, rows sorted by the band's key.
        starts: `[16, 65537]` uint32, where each key's bucket begins; the last is M.
        half: `[M, 16]` uint8, the first half of each hash, which rules out nearly all candidates.
    """

    order: NDArray[np.uint32]
    starts: NDArray[np.uint32]
    half: NDArray[np.uint8]


def bands(hashes: NDArray[np.uint8]) -> Bands:
    """Sort hashes `[M, 32]` uint8 by each band. It takes 80 bytes a hash and 4 MiB."""
    keys = _keys(hashes)
    order = np.empty((BANDS, len(hashes)), np.uint32)
    starts = np.zeros((BANDS, BUCKETS + 1), np.uint32)
    for band in range(BANDS):
        order[band] = np.argsort(keys[:, band], kind="stable")
        np.cumsum(np.bincount(keys[:, band], minlength=BUCKETS), out=starts[band, 1:])
    return Bands(order, starts, np.ascontiguousarray(hashes[:, :16]))


def nearest(queries: NDArray[np.uint8], stored: NDArray[np.uint8], by: Bands) -> tuple[NDArray[np.uint16], Ints]:
    """Bits to the nearest stored hash of each picture in any orientation, and its row; `NONE` and -1 beyond 31 bits.

    Of several that are as near, the first row counts.

    Args:
        queries: `[N, T, 32]` uint8, T orientations of each picture.
        stored: `[M, 32]` uint8.
        by: `bands` of `stored`.

    Raises:
        ValueError: `by` isn't of `stored`.
    """
    n, turns = queries.shape[:2]
    flat = np.ascontiguousarray(queries.reshape(-1, 32))
    words, table = flat.view(np.uint64), np.ascontiguousarray(stored).view(np.uint64)
    asked, half = _wide(np.ascontiguousarray(flat[:, :16])), _wide(by.half)
    if len(half) != len(table):
        raise ValueError("the bands are of another table")
    keys = _keys(flat)
    best, row = np.full(n, NONE, np.uint16), np.full(n, -1, np.int64)
    for band in range(BANDS):
        for query, candidate in _candidates(keys[:, band], by.order[band], by.starts[band], len(table)):
            try:
                apart = np.bitwise_count(asked.take(query).view(np.uint64) ^ half.take(candidate).view(np.uint64))
            except IndexError:
                raise ValueError("the bands name rows that the table lacks") from None
            maybe = np.flatnonzero(apart[::2] + apart[1::2] <= RADIUS)
            if not maybe.size:
                continue
            query, candidate = query[maybe], candidate[maybe].astype(np.int64)
            bits = np.bitwise_count(words[query] ^ table[candidate]).sum(axis=1, dtype=np.uint16)
            near = bits <= RADIUS
            _keep_best(best, row, query[near] // turns, candidate[near], bits[near])
    return best, row


def _candidates(
    keys: NDArray[np.uint16], order: NDArray[np.uint32], starts: NDArray[np.uint32], size: int
) -> Iterator[tuple[Ints, NDArray[np.uint32]]]:
    """Queries and rows whose keys differ by at most one bit, at most `STEP` at a time unless one bucket has more."""
    if order.shape != (size,) or starts.shape != (BUCKETS + 1,) or int(starts[-1]) != size:
        raise ValueError("the bands are of another table")
    flipped = (keys[:, None] ^ FLIPS).ravel()
    at = np.argsort(flipped, kind="stable")  # buckets are then read from the first to the last
    flipped, queries = flipped[at].astype(np.int64), at // len(FLIPS)
    first = starts[flipped].astype(np.int64)
    counts = starts[flipped + 1].astype(np.int64) - first
    if (counts < 0).any():
        raise ValueError("the bands aren't in order")
    ends = np.cumsum(counts)
    low = 0
    while low < len(flipped):
        before = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + STEP, side="right")))
        some = counts[low:high]
        place = np.arange(int(some.sum())) + np.repeat(first[low:high] - (ends[low:high] - some - before), some)
        yield np.repeat(queries[low:high], some), order.take(place)
        low = high


def _keep_best(best: NDArray[np.uint16], row: Ints, query: Ints, found: Ints, bits: NDArray[np.uint16]) -> None:
    order = np.lexsort((found, bits, query))
    query, found, bits = query[order], found[order], bits[order]
    first = np.concatenate([np.ones(len(query[:1]), bool), query[1:] != query[:-1]])
    query, found, bits = query[first], found[first], bits[first]
    better = (bits < best[query]) | ((bits == best[query]) & (found < row[query]))
    best[query[better]], row[query[better]] = bits[better], found[better]


def _wide(halves: NDArray[np.uint8]) -> NDArray[np.complex128]:
    """`[M, 16]` bytes as `[M]` values of 16 bytes, so that one of them is read at once."""
    return np.ascontiguousarray(halves).view(np.complex128).ravel()


def _keys(hashes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return np.ascontiguousarray(hashes).view("<u2").reshape(-1, BANDS)
