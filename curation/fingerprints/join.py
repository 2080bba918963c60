"""Joins of fingerprints: which pairs are near, without comparing all of them.

Hashes are cut into 16 bands of 16 bits (multi-index hashing; Norouzi, Punjani & Fleet, CVPR 2012). Two that differ in
at most 31 bits have a band in which they differ in at most one, so looking up every band as it is and with each bit
flipped finds all such pairs. Looking up bands only as they are is 17 times cheaper and finds `band_recall` of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.features import normalised

Ints = NDArray[np.int64]

RADIUS = 31
"""Bits of 256 in which PDQ's authors let two hashes of one picture differ."""
BAND = 16
BANDS = 256 // BAND
EXACT_PAIRS = 4e10
"""Products of stored hashes and looked-up pictures up to which a join is exact: 200,000 pictures with themselves."""
FEW_PAIRS = 1 << 20
"""Such products up to which all are simply compared."""
CHUNK = 1 << 18
"""Candidates that are compared at a time; bounds the memory of a join."""
EXACT_VECTORS = 50_000
"""Vectors up to which a cosine join compares all pairs."""
BLOCK = 1024
"""Vectors that are compared or converted at a time."""
PROBES = 16
"""Lists of the inverted file that are searched for a vector."""
ROUNDING = 1e-4
"""What single precision may take from a cosine."""
QUANTISING = 0.02
"""What 8 bits a number may take from a cosine."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Near pairs, sorted by `i` and `j`, each once.

    Attributes:
        i: row `[P]` of the first side; in a join of a set with itself the smaller one.
        j: row `[P]` of the second side.
        distance: `[P]`, bits or 1 − cosine.
    """

    i: Ints
    j: Ints
    distance: NDArray[Any]

    def __len__(self) -> int:
        return len(self.i)


def hamming_join(
    queries: NDArray[np.uint8],
    stored: NDArray[np.uint8],
    *,
    radius: int = RADIUS,
    exact: bool | None = None,
    partitions: int = 2,
    offset: int | None = None,
) -> Pairs:
    """Pairs of a query and a stored hash at most `radius` bits apart, in the nearest of the query's orientations.

    Args:
        queries: `[N, T, 32]` uint8, T orientations of each picture.
        stored: `[M, 32]` uint8.
        radius: bits; at most 31 where the join is to be exact.
        exact: find every pair, or those that share a band. None is exact up to `EXACT_PAIRS`.
        partitions: ways of cutting hashes into bands, for an inexact join; each costs as much as the first.
        offset: the queries are the rows of `stored` from here on; none is its own pair.

    Raises:
        ValueError: an exact join is asked for beyond 31 bits.
    """
    if exact is None:
        exact = radius <= RADIUS and len(queries) * len(stored) <= EXACT_PAIRS
    if exact and radius >= 2 * BANDS:
        raise ValueError(f"bands find all pairs up to {2 * BANDS - 1} bits, not up to {radius}")
    flips = [0, *(1 << bit for bit in range(BAND))] if exact else [0]
    whole = np.ascontiguousarray(stored).view(np.uint64).reshape(-1, 4)
    found: list[tuple[Ints, Ints, NDArray[np.uint8]]] = []
    few = exact and len(queries) * len(stored) <= FEW_PAIRS
    stored_bands = [] if few else [*_bands(whole, partitions, exact)]
    for turn in range(queries.shape[1]):
        turned = np.ascontiguousarray(queries[:, turn]).view(np.uint64).reshape(-1, 4)
        if few:
            found += (_others(near, offset) for near in _all(turned, whole, radius))
            continue
        for keys, stored_keys in zip(_bands(turned, partitions, exact), stored_bands, strict=True):
            near_pairs = _bucket_join(turned, keys, whole, stored_keys, flips, radius)
            found += (_others(near, offset) for near in near_pairs)
    return _nearest(found, len(stored))


def hamming_pairs(turns: NDArray[np.uint8], *, since: int = 0, **options: Any) -> Pairs:
    """Near pairs within one set: `i < j`, the distance the least of both ways round.

    Args:
        turns: `[N, T, 32]` uint8, each picture's orientations, the picture as it is first.
        since: only pairs with `j >= since`: what a batch appended at `since` adds to the pairs of those before it.
        options: of `hamming_join`.
    """
    own = np.ascontiguousarray(turns[:, 0])
    new = hamming_join(turns[since:], own, offset=since, **options)
    i, j, distance = [new.i + since], [new.j], [new.distance]
    if since:
        back = hamming_join(turns[:since], own[since:], **options)
        i, j, distance = [*i, back.i], [*j, back.j + since], [*distance, back.distance]
    first, second, bits = np.concatenate(i), np.concatenate(j), np.concatenate(distance)
    return _nearest([(np.minimum(first, second), np.maximum(first, second), bits)], len(turns))


def band_recall(bits: int, partitions: int = 1) -> float:
    """Share of the pairs `bits` apart that an inexact join finds, if any bit is as likely to differ as another.

    The chance that every band is hit is Σₖ (−1)^k C(16, k) C(256 − 16k, bits) / C(256, bits); all partitions must miss.
    With q = (1 − bits/256)^16, 1 − (1 − q)^16 is close to what one partition finds.
    """
    ways = math.comb(256, bits)
    missed = sum((-1) ** k * math.comb(BANDS, k) * math.comb(256 - BAND * k, bits) for k in range(BANDS + 1)) / ways
    return float(1 - missed**partitions)


def cosine_join(
    queries: NDArray[Any], stored: NDArray[Any], cut: float, *, exact: bool | None = None, offset: int | None = None
) -> Pairs:
    """Pairs of a query and a stored vector whose cosine is at least `cut`; the distance is 1 − cosine.

    Where there are up to `EXACT_VECTORS` all are compared. Beyond, an inverted file of 8-bit vectors proposes pairs
    (faiss IVF-SQ8, 4√M lists of which 16 are searched) and their cosine is taken from the vectors themselves.

    Args:
        queries: `[N, d]` floats of any length; a row that isn't finite or is zero has no pairs.
        stored: `[M, d]`.
        cut: least cosine, in (−1, 1].
        exact: overrides the choice by size.
        offset: the queries are the rows of `stored` from here on; only pairs with an earlier row are wanted.
    """
    sighted, known = np.flatnonzero(usable_rows(queries)), np.flatnonzero(usable_rows(stored))
    left = queries if len(sighted) == len(queries) else queries[sighted]
    right = stored if len(known) == len(stored) else stored[known]
    reach = np.full(len(left), len(right)) if offset is None else np.searchsorted(known, sighted + offset)
    exact = max(len(queries), len(stored)) <= EXACT_VECTORS if exact is None else exact
    proposed = _blocks(left, right, reach, cut) if exact else _inverted_file(left, right, cut)
    found: list[tuple[Ints, Ints, NDArray[np.float32]]] = []
    for q, s in proposed:
        i, j = sighted[q], known[s]
        if offset is not None:
            i, j = np.maximum(i, j - offset), np.minimum(i + offset, j)  # a later row is a query too
            i, j = i[i + offset > j], j[i + offset > j]
        for low in range(0, len(i), BLOCK):
            some = slice(low, low + BLOCK)
            one, other = normalised(queries[i[some]]), normalised(stored[j[some]])
            # a product of blocks has other last bits for another place in the block
            cosine = np.einsum("pd,pd->p", one.astype(np.float64), other.astype(np.float64))
            near = cosine >= cut
            found.append((i[some][near], j[some][near], (1 - cosine[near]).clip(0).astype(np.float32)))
    return _nearest(found, len(stored))


def cosine_pairs(vectors: NDArray[Any], cut: float, *, since: int = 0, exact: bool | None = None) -> Pairs:
    """Pairs `i < j` within one set, as `cosine_join` finds them; with `since`, only those with `j >= since`."""
    found = cosine_join(vectors[since:], vectors, cut, exact=exact, offset=since)
    order = np.lexsort((found.i, found.j))  # a query is the later row
    return Pairs(found.j[order], found.i[order] + since, found.distance[order])


def usable_rows(vectors: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows `[N]` have a direction: finite and not zero."""
    blocks = (vectors[low : low + BLOCK] for low in range(0, len(vectors), BLOCK))
    usable = [np.isfinite(block).all(axis=1) & block.any(axis=1) for block in blocks]
    return np.concatenate([np.empty(0, np.bool_), *usable])


def _bands(hashes: NDArray[np.uint64], partitions: int, exact: bool) -> Iterator[NDArray[np.uint16]]:
    """Keys `[N]` of one band after another. Every further partition deals the bits out anew, in one fixed way."""
    yield from np.ascontiguousarray(hashes.view(np.uint16).reshape(-1, BANDS).T)
    for number in range(1, 1 if exact else partitions):
        deal = np.random.default_rng(number).permutation(256)
        dealt = np.empty((len(hashes), 32), np.uint8)
        for low in range(0, len(hashes), CHUNK // 16):
            bits = np.unpackbits(hashes[low : low + CHUNK // 16].view(np.uint8), axis=1)
            dealt[low : low + CHUNK // 16] = np.packbits(bits[:, deal], axis=1)
        yield from np.ascontiguousarray(dealt.view(np.uint16).T)


def _all(
    queries: NDArray[np.uint64], stored: NDArray[np.uint64], radius: int
) -> Iterator[tuple[Ints, Ints, NDArray[np.uint8]]]:
    step = max(1, CHUNK // 4 // max(len(stored), 1))
    for low in range(0, len(queries), step):
        bits = np.bitwise_count(queries[low : low + step, None] ^ stored).sum(axis=2, dtype=np.uint16)
        i, j = np.nonzero(bits <= radius)
        yield i + low, j, bits[i, j].astype(np.uint8)


def _bucket_join(
    queries: NDArray[np.uint64],
    keys: NDArray[np.uint16],
    stored: NDArray[np.uint64],
    stored_keys: NDArray[np.uint16],
    flips: list[int],
    radius: int,
) -> Iterator[tuple[Ints, Ints, NDArray[np.uint8]]]:
    """Near pairs among those with the same key in one band, but for one of `flips`."""
    order, query_order = np.argsort(stored_keys, kind="stable"), np.argsort(keys, kind="stable")
    keys = keys[query_order]
    # buckets lie together in memory, and half of the bits already tells strangers apart
    half = [(queries[:, word].take(query_order), stored[:, word].take(order)) for word in range(2)]
    sizes = np.bincount(stored_keys, minlength=1 << BAND)
    starts = np.cumsum(sizes) - sizes
    for flip in flips:
        flipped = keys ^ np.uint16(flip)
        counts = sizes[flipped]
        ends = np.cumsum(counts)
        low = 0
        while low < len(keys):
            before = int(ends[low - 1]) if low else 0
            high = max(low + 1, int(np.searchsorted(ends, before + CHUNK, side="right")))
            some = counts[low:high]
            first = np.repeat(starts[flipped[low:high]] - (ends[low:high] - some - before), some)
            s = np.arange(len(first)) + first
            bits = np.zeros(len(s), np.uint8)
            for query, other in half:
                bits += np.bitwise_count(np.repeat(query[low:high], some) ^ other.take(s))
            maybe = np.flatnonzero(bits <= radius)
            if maybe.size:
                i = query_order[low + np.searchsorted(ends[low:high] - before, maybe, side="right")]
                j = order[s[maybe]]
                distance = np.bitwise_count(queries[i] ^ stored[j]).sum(axis=1, dtype=np.uint16)
                near = distance <= radius
                yield i[near], j[near], distance[near].astype(np.uint8)
            low = high


def _others(near: tuple[Ints, Ints, NDArray[np.uint8]], offset: int | None) -> tuple[Ints, Ints, NDArray[np.uint8]]:
    """The pairs of a row with another one, where queries are stored rows."""
    if offset is None:
        return near
    other = near[0] + offset != near[1]
    return near[0][other], near[1][other], near[2][other]


def _nearest(found: list[tuple[Ints, Ints, NDArray[Any]]], width: int) -> Pairs:
    """Each pair once, with its least distance."""
    i, j, distance = (np.concatenate(part) for part in zip(*found, strict=True)) if found else _empty()
    key = i * max(width, 1) + j
    order = np.lexsort((distance, key))
    first = order[np.unique(key[order], return_index=True)[1]]
    return Pairs(i[first], j[first], distance[first])


def _empty() -> tuple[Ints, Ints, NDArray[np.uint8]]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)


def _blocks(queries: NDArray[Any], stored: NDArray[Any], reach: Ints, cut: float) -> Iterator[tuple[Ints, Ints]]:
    """Pairs that may reach the cut, of all; query i is compared with the first `reach[i]` stored, which never falls."""
    unit = normalised(stored)
    for top in range(0, len(queries), BLOCK):
        block = normalised(queries[top : top + BLOCK])
        for left in range(0, int(reach[top : top + BLOCK][-1]), BLOCK):
            i, j = np.nonzero(block @ unit[left : left + BLOCK].T >= cut - ROUNDING)
            i, j = i + top, j + left
            yield i[j < reach[i]], j[j < reach[i]]


def _inverted_file(queries: NDArray[Any], stored: NDArray[Any], cut: float) -> Iterator[tuple[Ints, Ints]]:
    """Pairs that may reach the cut, as far as an inverted file of 8-bit vectors knows."""
    import faiss

    n, d = stored.shape
    lists = max(1, round(4 * math.sqrt(n)))
    quantizer = faiss.IndexFlatIP(d)
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, d, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.min_points_per_centroid = 1
    index.train(normalised(stored[np.linspace(0, n - 1, min(n, 40 * lists)).astype(np.int64)]))
    for low in range(0, n, BLOCK):
        index.add(normalised(stored[low : low + BLOCK]))
    index.nprobe = min(PROBES, lists)
    for low in range(0, len(queries), BLOCK):
        ends, _, found = index.range_search(normalised(queries[low : low + BLOCK]), cut - QUANTISING)
        yield low + np.repeat(np.arange(len(ends) - 1), (ends[1:] - ends[:-1]).astype(np.int64)), found
