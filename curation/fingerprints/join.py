"""Joins of fingerprints: which pairs are near, without comparing all of them.

Hashes are cut into 16 bands of 16 bits (multi-index hashing; Norouzi, Punjani & Fleet, CVPR 2012). Two that differ in
at most 31 bits have a band in which they differ in at most one, so looking up every band as it is and with each bit
flipped finds all such pairs. Looking up bands only as they are is 17 times cheaper and finds `band_recall` of them.

M pictures that are all alike make M²/2 pairs. A join of a set with itself can leave out those between two rows that
each have many copies before them, which leaves about M · `crowd` and says as much of who is whose copy.
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
SEARCH = 128
"""Vectors that are looked up in an inverted file at a time; each may find any number of near ones."""
CROWD = 64
"""Copies before a row from which on it need not be linked with another such row."""
LARGE_BUCKET = 4 * CROWD
"""Hashes with one band in common up to which they make few pairs, crowd or not."""
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
) -> Pairs:
    """Pairs of a query and a stored hash at most `radius` bits apart, in the nearest of the query's orientations.

    Args:
        queries: `[N, T, 32]` uint8, T orientations of each picture.
        stored: `[M, 32]` uint8.
        radius: bits; at most 31 where the join is to be exact.
        exact: find every pair, or those that share a band. None is exact up to `EXACT_PAIRS`.
        partitions: ways of cutting hashes into bands, for an inexact join; each costs as much as the first.

    Raises:
        ValueError: an exact join is asked for beyond 31 bits.
    """
    return _hamming(queries, stored, np.arange(len(queries)), np.arange(len(stored)), radius, exact, partitions)


def hamming_pairs(
    turns: NDArray[np.uint8],
    *,
    radius: int = RADIUS,
    exact: bool | None = None,
    partitions: int = 2,
    crowd: int | None = None,
) -> Pairs:
    """Near pairs within one set: `i < j`, the distance the least of both ways round.

    Args:
        turns: `[N, T, 32]` uint8, each picture's orientations, the picture as it is first.
        radius: bits, as in `hamming_join`.
        exact: as there.
        partitions: as there.
        crowd: leave out pairs of two rows that both have so many near ones before them. None leaves out none.
    """
    rows = np.arange(len(turns))
    own = np.ascontiguousarray(turns[:, 0])
    late = crowded(own, crowd, radius) if crowd is not None else np.zeros(len(turns), np.bool_)
    if exact is None:
        exact = radius <= RADIUS and len(turns) ** 2 <= EXACT_PAIRS
    options = (radius, exact, partitions)
    found = _hamming(turns, own[~late], rows, rows[~late], *options, within=True)
    if late.any():
        back = _hamming(turns[~late], own[late], rows[~late], rows[late], *options, within=True)
        found = _nearest([(found.i, found.j, found.distance), (back.i, back.j, back.distance)], len(turns))
    return found


def crowded(hashes: NDArray[np.uint8], crowd: int, radius: int = RADIUS) -> NDArray[np.bool_]:
    """Which rows `[N]` have at least `crowd` near ones before them, as far as they meet in a bucket of very many.

    Args:
        hashes: `[N, 32]` uint8.
        crowd: of near ones that aren't crowded themselves.
        radius: bits.
    """
    late = np.zeros(len(hashes), np.bool_)
    whole = np.ascontiguousarray(hashes).view(np.uint64).reshape(-1, 4)
    for keys in _bands(whole, 1):
        sizes = np.bincount(keys, minlength=1 << BAND)
        order = np.argsort(keys, kind="stable")
        order = order[sizes[keys[order]] > LARGE_BUCKET]
        for bucket in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            _mark_crowded(late, whole, bucket[~late[bucket]], crowd, radius)
    return late


def _mark_crowded(late: NDArray[np.bool_], whole: NDArray[np.uint64], bucket: Ints, crowd: int, radius: int) -> None:
    """Among the rows of a bucket, in their order; each is compared with those before it that aren't crowded."""
    early = bucket[:0]
    for low in range(0, len(bucket), crowd):
        some = bucket[low : low + crowd]
        near = np.zeros(len(some), np.int64)
        for left in range(0, len(early), CHUNK // crowd):
            others = early[left : left + CHUNK // crowd]
            near += (_bits(whole[some, None], whole[others]) <= radius).sum(axis=1)
        late[some] = near >= crowd
        early = np.concatenate([early, some[~late[some]]])


def _hamming(
    queries: NDArray[np.uint8],
    stored: NDArray[np.uint8],
    query_rows: Ints,
    stored_rows: Ints,
    radius: int,
    exact: bool | None,
    partitions: int,
    *,
    within: bool = False,
) -> Pairs:
    """`hamming_join` of hashes that are these rows; `within` one set no row is its own pair, and `i < j`."""
    if exact is None:
        exact = radius <= RADIUS and len(queries) * len(stored) <= EXACT_PAIRS
    if exact and radius >= 2 * BANDS:
        raise ValueError(f"bands find all pairs up to {2 * BANDS - 1} bits, not up to {radius}")
    partitions = 1 if exact else partitions
    whole = np.ascontiguousarray(stored).view(np.uint64).reshape(-1, 4)
    few = exact and len(queries) * len(stored) <= FEW_PAIRS
    stored_bands = [] if few else [*_bands(whole, partitions)]
    width = int(max([0, *query_rows[-1:], *stored_rows[-1:]])) + 1
    stored_too = np.zeros(width, np.bool_)
    stored_too[stored_rows] = True
    found = Pairs(*_empty())
    for turn in range(queries.shape[1]):
        turned = np.ascontiguousarray(queries[:, turn]).view(np.uint64).reshape(-1, 4)
        if few:
            near_pairs = _all(turned, whole, radius)
        else:
            near_pairs = _bands_join(turned, [*_bands(turned, partitions)], whole, stored_bands, radius, exact)
        parts = [(found.i, found.j, found.distance)]
        for i, j, distance in near_pairs:
            i, j = query_rows[i], stored_rows[j]
            if within:
                # unturned, two that are both looked up are as far apart either way round
                other = i != j if turn else (i < j) | ~stored_too[i]
                i, j, distance = np.minimum(i, j)[other], np.maximum(i, j)[other], distance[other]
            parts.append((i, j, distance))
        if len(parts) > 1:  # what earlier turns found is merged with each, so that a pair is held twice at most
            found = _nearest(parts, width)
    return found


def band_recall(bits: int, partitions: int = 1) -> float:
    """Share of the pairs `bits` apart that an inexact join finds, if any bit is as likely to differ as another.

    The chance that every band is hit is Σₖ (−1)^k C(16, k) C(256 − 16k, bits) / C(256, bits); all partitions must miss.
    With q = (1 − bits/256)^16, 1 − (1 − q)^16 is close to what one partition finds.
    """
    ways = math.comb(256, bits)
    missed = sum((-1) ** k * math.comb(BANDS, k) * math.comb(256 - BAND * k, bits) for k in range(BANDS + 1)) / ways
    return float(1 - missed**partitions)


def cosine_join(queries: NDArray[Any], stored: NDArray[Any], cut: float, *, exact: bool | None = None) -> Pairs:
    """Pairs of a query and a stored vector whose cosine is at least `cut`; the distance is 1 − cosine.

    Where there are up to `EXACT_VECTORS` all are compared. Beyond, an inverted file of 8-bit vectors proposes pairs
    (faiss IVF-SQ8, 4√M lists of which 16 are searched) and their cosine is taken from the vectors themselves.

    Args:
        queries: `[N, d]` floats of any length; a row that isn't finite or is zero has no pairs.
        stored: `[M, d]`.
        cut: least cosine, in (−1, 1].
        exact: overrides the choice by size.
    """
    left, right = np.flatnonzero(usable_rows(queries)), np.flatnonzero(usable_rows(stored))
    exact = max(len(queries), len(stored)) <= EXACT_VECTORS if exact is None else exact
    propose = _blocks if exact else _inverted_file
    found = [
        _reaching(queries, stored, left[i], right[j], cut)
        for i, j in propose(_some(queries, left), _some(stored, right), cut)
    ]
    return _nearest(found, len(stored))


def cosine_pairs(vectors: NDArray[Any], cut: float, *, exact: bool | None = None, crowd: int | None = None) -> Pairs:
    """Pairs `i < j` within one set, as `cosine_join` finds them.

    Args:
        vectors: `[N, d]`.
        cut: least cosine.
        exact: overrides the choice by size.
        crowd: leave out pairs of two rows that both have so many near ones before them. None leaves out none.
    """
    rows = np.flatnonzero(usable_rows(vectors))
    usable = _some(vectors, rows)
    exact = len(vectors) <= EXACT_VECTORS if exact is None else exact
    late = np.zeros(len(rows), np.bool_)
    found: list[tuple[Ints, Ints, NDArray[np.float32]]] = []
    proposed = _blocks(usable, usable, cut, within=late) if exact else _inverted_file(usable, usable, cut)
    for i, j in proposed:
        if crowd is not None:
            before = np.bincount(i[j < i], minlength=len(late))
            late |= before >= crowd
        i, j = np.minimum(i, j)[i != j], np.maximum(i, j)[i != j]
        i, j = i[~late[i]], j[~late[i]]
        found.append(_reaching(vectors, vectors, rows[i], rows[j], cut))
    return _nearest(found, len(vectors))


def usable_rows(vectors: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows `[N]` have a direction: finite and not zero."""
    blocks = (vectors[low : low + BLOCK] for low in range(0, len(vectors), BLOCK))
    usable = [np.isfinite(block).all(axis=1) & block.any(axis=1) for block in blocks]
    return np.concatenate([np.empty(0, np.bool_), *usable])


def _some(vectors: NDArray[Any], rows: Ints) -> NDArray[Any]:
    """These rows; the vectors themselves where that is all of them, as they may be large."""
    return vectors if len(rows) == len(vectors) else vectors[rows]


def _reaching(
    queries: NDArray[Any], stored: NDArray[Any], i: Ints, j: Ints, cut: float
) -> tuple[Ints, Ints, NDArray[np.float32]]:
    """Of proposed pairs those that reach the cut, with their distance."""
    distance = np.empty(len(i), np.float32)
    near = np.empty(len(i), np.bool_)
    for low in range(0, len(i), BLOCK):
        some = slice(low, low + BLOCK)
        one, other = normalised(queries[i[some]]), normalised(stored[j[some]])
        # a product of blocks has other last bits for another place in the block
        cosine = np.einsum("pd,pd->p", one.astype(np.float64), other.astype(np.float64))
        near[some], distance[some] = cosine >= cut, (1 - cosine).clip(0)
    return i[near], j[near], distance[near]


def _bits(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """How many bits of 256 differ, over the last axis."""
    return np.asarray(np.bitwise_count(one ^ other).sum(axis=-1, dtype=np.uint16))


def _bands(hashes: NDArray[np.uint64], partitions: int) -> Iterator[NDArray[np.uint16]]:
    """Keys `[N]` of one band after another. Every further partition deals the bits out anew, in one fixed way."""
    yield from np.ascontiguousarray(hashes.view(np.uint16).reshape(-1, BANDS).T)
    for number in range(1, partitions):
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
        bits = _bits(queries[low : low + step, None], stored)
        i, j = np.nonzero(bits <= radius)
        yield i + low, j, bits[i, j].astype(np.uint8)


def _bands_join(
    queries: NDArray[np.uint64],
    bands: list[NDArray[np.uint16]],
    stored: NDArray[np.uint64],
    stored_bands: list[NDArray[np.uint16]],
    radius: int,
    exact: bool,
) -> Iterator[tuple[Ints, Ints, NDArray[np.uint8]]]:
    """Near pairs, each in the first band that proposes it."""
    flips = [0, *(1 << bit for bit in range(BAND))] if exact else [0]
    for number, (keys, stored_keys) in enumerate(zip(bands, stored_bands, strict=True)):
        for i, j, distance in _bucket_join(queries, keys, stored, stored_keys, flips, radius):
            for band, stored_band in zip(bands[:number], stored_bands, strict=False):
                new = np.bitwise_count(band[i] ^ stored_band[j]) > exact
                i, j, distance = i[new], j[new], distance[new]
            yield i, j, distance


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
                distance = _bits(queries[i], stored[j])
                near = distance <= radius
                yield i[near], j[near], distance[near].astype(np.uint8)
            low = high


def _nearest(found: list[tuple[Ints, Ints, NDArray[Any]]], width: int) -> Pairs:
    """Each pair once, with its least distance."""
    i, j, distance = (np.concatenate(part) for part in zip(*found, strict=True)) if found else _empty()
    key = i * max(width, 1) + j
    order = np.lexsort((distance, key))
    key = key[order]
    first = order[np.concatenate([np.ones(len(key[:1]), np.bool_), key[1:] != key[:-1]])]
    return Pairs(i[first], j[first], distance[first])


def _empty() -> tuple[Ints, Ints, NDArray[np.uint8]]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)


def _blocks(
    queries: NDArray[Any], stored: NDArray[Any], cut: float, *, within: NDArray[np.bool_] | None = None
) -> Iterator[tuple[Ints, Ints]]:
    """Pairs that may reach the cut, of all, a block of queries at a time.

    `within` one set a query is compared with rows of its own block and before it; of those before, not with the ones
    that `within` marks by then.
    """
    unit = normalised(stored)
    for top in range(0, len(queries), BLOCK):
        block = normalised(queries[top : top + BLOCK])
        end = len(unit) if within is None else top + len(block)
        parts = [_empty()[:2]]
        for left in range(0, end, BLOCK):
            i, j = np.nonzero(block @ unit[left : left + BLOCK].T >= cut - ROUNDING)
            i, j = i + top, j + left
            if within is not None:
                i, j = i[~within[j] & (j < i)], j[~within[j] & (j < i)]
            parts.append((i, j))
        i, j = (np.concatenate(side) for side in zip(*parts, strict=True))
        yield i, j


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
    for low in range(0, len(queries), SEARCH):
        ends, _, found = index.range_search(normalised(queries[low : low + SEARCH]), cut - QUANTISING)
        yield low + np.repeat(np.arange(len(ends) - 1), (ends[1:] - ends[:-1]).astype(np.int64)), found
