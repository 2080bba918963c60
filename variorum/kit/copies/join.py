"""Joins of hashes and of embeddings: finds the near pairs without comparing all of them.

Hashes are cut into 16 bands of 16 bits (multi-index hashing; Norouzi, Punjani & Fleet, CVPR 2012). Two hashes at most
31 bits apart differ by at most one bit in some band. So an exact join looks up every band as it is and with each bit
flipped. Looking up the bands only as they are costs a 17th and finds the share `band_recall` of the pairs.

M pictures that are all alike form M²/2 pairs. A join of a set with itself can leave out the pairs of two rows that both
have many copies before them. That leaves about M · `crowd` pairs, which identify the copies just as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from variorum.kit.embeddings.nearest import QUERIES, Clusters, clusters
from variorum.kit.embeddings.rows import normalised, taken, thinned, usable_rows
from variorum.machine.scratch import scratch

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints, Singles

RADIUS = 31
"""Most bits of 256 by which two hashes of one picture differ, according to PDQ's authors."""
BAND = 16
BANDS = 256 // BAND
EXACT_PAIRS = 4e10
"""Stored hashes times queries up to which a join is exact: 200,000 pictures with themselves."""
FEW_PAIRS = 1 << 20
"""Stored hashes times queries up to which all pairs are compared."""
CHUNK = 1 << 18
"""Candidates compared at a time; bounds the memory of a join."""
EXACT_VECTORS = 50_000
"""Vectors of one set up to which all their pairs are compared."""
BLOCK = 1024
"""Vectors compared or converted at a time."""
CROWD = 64
"""A row with this many copies before it need not be linked to another such row."""
LARGE_BUCKET = 4 * CROWD
"""Up to this many hashes with a common band form few pairs, so they aren't searched for crowds."""
SETTLED = 4096
"""Rows about which is decided one after the other whether they are crowded, in one round."""
NEAR = 16
"""Near clusters that each cluster is compared with: copies lie closer together than neighbours."""
ROUNDING = 1e-4
"""Largest error of a cosine in single precision."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Near pairs, each once, sorted by `i` and `j`.

    Attributes:
        i: `[P]` row of the first side; in a join of a set with itself, the lower row.
        j: `[P]` row of the second side.
        distance: `[P]`, bits or 1 − cosine.
        recall: how many pairs some rows have, and how many of these were compared; None if all were.
    """

    i: Ints
    j: Ints
    distance: Array
    recall: tuple[int, int] | None = None

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
    """Pairs of a query and a stored hash at most `radius` bits apart in the query's nearest orientation.

    Args:
        queries: `[N, T, 32]` uint8, T orientations of each picture.
        stored: `[M, 32]` uint8.
        radius: bits; at most 31 for an exact join.
        exact: whether to find every pair or only those that share a band. None is exact up to `EXACT_PAIRS`.
        partitions: different ways of cutting hashes into bands, for an inexact join. The cost is proportional.

    Raises:
        ValueError: an exact join beyond 31 bits.
    """
    return _hamming(queries, stored, np.arange(len(queries)), np.arange(len(stored)), radius, exact, partitions)


def hamming_pairs(turns: NDArray[np.uint8], *, exact: bool | None = None, crowd: int | None = None) -> Pairs:
    """Near pairs `i < j` within one set. The distance is the least over the orientations of either picture.

    Args:
        turns: `[N, T, 32]` uint8, each picture's orientations, upright first.
        exact: as in `hamming_join`.
        crowd: skip pairs in which both rows already have `crowd` neighbours. None skips nothing.
    """
    rows = np.arange(len(turns))
    own = np.ascontiguousarray(turns[:, 0])
    late = crowded(own, crowd, RADIUS) if crowd is not None else np.zeros(len(turns), bool)
    options = RADIUS, len(turns) ** 2 <= EXACT_PAIRS if exact is None else exact, 2
    found = _hamming(turns, own[~late], rows, rows[~late], *options, within=True)
    if late.any():
        back = _hamming(turns[~late], own[late], rows[~late], rows[late], *options, within=True)
        found = _nearest([(found.i, found.j, found.distance), (back.i, back.j, back.distance)], len(turns))
    return found


def crowded(hashes: NDArray[np.uint8], crowd: int, radius: int = RADIUS) -> Bools:
    """Return which rows `[N]` have at least `crowd` near ones before them. Only rows of a large bucket are compared.

    Args:
        hashes: `[N, 32]` uint8.
        crowd: number of near rows, not counting those that are crowded themselves.
        radius: bits.
    """
    late = np.zeros(len(hashes), bool)
    whole = np.ascontiguousarray(hashes).view(np.uint64).reshape(-1, 4)
    for keys in _bands(whole, 1):
        sizes = np.bincount(keys, minlength=1 << BAND)
        order = np.argsort(keys, kind="stable")
        order = order[sizes[keys[order]] > LARGE_BUCKET]
        for bucket in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            _mark_crowded(late, whole, bucket[~late[bucket]], crowd, radius)
    return late


def _mark_crowded(late: Bools, whole: NDArray[np.uint64], bucket: Ints, crowd: int, radius: int) -> None:
    """Compare each row of a bucket with the rows before it that aren't crowded."""
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
    """`hamming_join` of hashes with these row numbers. `within` one set, `i < j` and no row is paired with itself."""
    if exact is None:
        exact = radius <= RADIUS and len(queries) * len(stored) <= EXACT_PAIRS
    if exact and radius >= 2 * BANDS:
        raise ValueError(f"bands find all pairs up to {2 * BANDS - 1} bits, not up to {radius}")
    partitions = 1 if exact else partitions
    whole = np.ascontiguousarray(stored).view(np.uint64).reshape(-1, 4)
    few = exact and len(queries) * len(stored) <= FEW_PAIRS
    stored_bands = [] if few else [*_bands(whole, partitions)]
    width = int(max([0, *query_rows[-1:], *stored_rows[-1:]])) + 1
    stored_too = np.zeros(width, bool)
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
                # upright, a pair of two stored rows is found from both sides; keep it once
                other = i != j if turn else (i < j) | ~stored_too[i]
                i, j, distance = np.minimum(i, j)[other], np.maximum(i, j)[other], distance[other]
            parts.append((i, j, distance))
        if len(parts) > 1:  # merging after every turn holds a pair at most twice in memory
            found = _nearest(parts, width)
    return found


def band_recall(bits: int, partitions: int = 1) -> float:
    """Share of the pairs `bits` apart that an inexact join finds, if all bits differ equally often.

    A partition misses a pair if every band differs, with the probability
    Σₖ (−1)^k C(16, k) C(256 − 16k, bits) / C(256, bits); all partitions must miss it. One partition finds about
    1 − (1 − q)^16 with q = (1 − bits/256)^16.
    """
    ways = math.comb(256, bits)
    missed = sum((-1) ** k * math.comb(BANDS, k) * math.comb(256 - BAND * k, bits) for k in range(BANDS + 1)) / ways
    return float(1 - missed**partitions)


def cosine_join(queries: Array, stored: Array, cut: float, *, exact: bool | None = None) -> Pairs:
    """Pairs of a query and a stored vector with a cosine of at least `cut`; the distance is 1 − cosine.

    Up to `EXACT_VECTORS`² pairs all are compared. Beyond, the vectors are sorted into clusters, and each cluster
    is compared with at least `NEAR` near ones, as `variorum.kit.embeddings.nearest` does it.

    Args:
        queries: `[N, d]` floats of any length. A row that is zero or not finite has no pairs.
        stored: `[M, d]`.
        cut: least cosine, in (−1, 1].
        exact: whether to compare all pairs; None decides by size.
    """
    left, right = np.flatnonzero(usable_rows(queries)), np.flatnonzero(usable_rows(stored))
    exact = len(queries) * len(stored) <= EXACT_VECTORS**2 if exact is None else exact
    if exact:
        proposed = _blocks(_some(queries, left), _some(stored, right), cut)
    else:
        proposed = _between(_some(queries, left), _some(stored, right), cut)
    found = [_reaching(queries, stored, left[i], right[j], cut) for i, j in proposed]
    return _nearest(found, len(stored))


def cosine_pairs(vectors: Array, cut: float, *, exact: bool | None = None, crowd: int | None = None) -> Pairs:
    """Near pairs `i < j` within one set, found as by `cosine_join`.

    Args:
        vectors: `[N, d]`.
        cut: least cosine.
        exact: whether to compare all pairs; None decides by size.
        crowd: skip pairs whose first row is crowded: it has this many near rows before it that aren't crowded
            themselves. None skips nothing.
    """
    rows = np.flatnonzero(usable_rows(vectors))
    usable = _some(vectors, rows)
    exact = len(vectors) <= EXACT_VECTORS if exact is None else exact
    late = np.zeros(len(rows), bool)
    recall: tuple[int, int] | None = None
    if exact:
        proposed = _blocks(usable, usable, cut, within=late)
    else:
        there = _sorted(usable)
        recall = _recall(there, cut)
        if crowd is not None:
            late, crowd = _crowded(there, cut, crowd), None
        proposed = _clustered(there, cut, late)
    found: list[tuple[Ints, Ints, Singles]] = []
    for i, j in proposed:
        if crowd is not None:
            _mark_late(late, i, j, crowd)
        found.append(_reaching(vectors, vectors, rows[j[~late[j]]], rows[i[~late[j]]], cut))
    return replace(_nearest(found, len(vectors)), recall=recall)


def _some(vectors: Array, rows: Ints) -> Array:
    """These rows. If they are all rows, no copy is made, because the vectors may be large."""
    return vectors if len(rows) == len(vectors) else taken(vectors, rows)


def _reaching(queries: Array, stored: Array, i: Ints, j: Ints, cut: float) -> tuple[Ints, Ints, Singles]:
    """The proposed pairs that reach the cut, with their distance."""
    distance = np.empty(len(i), np.float32)
    near = np.empty(len(i), bool)
    for low in range(0, len(i), BLOCK):
        some = slice(low, low + BLOCK)
        one, other = normalised(queries[i[some]]), normalised(stored[j[some]])
        # a matrix product would give other last bits depending on the position in the block
        cosine = np.einsum("pd,pd->p", one.astype(np.float64), other.astype(np.float64))
        near[some], distance[some] = cosine >= cut, (1 - cosine).clip(0)
    return i[near], j[near], distance[near]


def _bits(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Number of differing bits of 256, over the last axis."""
    return np.asarray(np.bitwise_count(one ^ other).sum(axis=-1, dtype=np.uint16))


def _bands(hashes: NDArray[np.uint64], partitions: int) -> Iterator[NDArray[np.uint16]]:
    """Keys `[N]` of one band after another. Every further partition permutes the bits first, with a fixed seed."""
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
    """Near pairs by comparing all."""
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
    """Near pairs, each from the first band that proposes it."""
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
    """Near pairs whose keys in one band are equal after one of the `flips`."""
    order, query_order = np.argsort(stored_keys, kind="stable"), np.argsort(keys, kind="stable")
    keys = keys[query_order]
    # sorted, so that buckets are contiguous in memory; half of the bits is enough to rule out most pairs
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


def _nearest(found: list[tuple[Ints, Ints, Array]], width: int) -> Pairs:
    """Each pair once, with its least distance."""
    i, j, distance = (np.concatenate(part) for part in zip(*found, strict=True)) if found else _empty()
    key = i * max(width, 1) + j
    order = np.lexsort((distance, key))
    key = key[order]
    first = order[np.concatenate([np.ones(len(key[:1]), bool), key[1:] != key[:-1]])]
    return Pairs(i[first], j[first], distance[first])


def _empty() -> tuple[Ints, Ints, NDArray[np.uint8]]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)


def _blocks(queries: Array, stored: Array, cut: float, *, within: Bools | None = None) -> Iterator[tuple[Ints, Ints]]:
    """Pairs that may reach the cut, found by comparing all, one block of queries at a time.

    With `within`, both sides are one set: a query is compared only with rows before it, except those that `within`
    marks. The caller may mark more rows between blocks.
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


def _sorted(vectors: Array) -> Clusters:
    rows = np.arange(len(vectors))
    return clusters(vectors, rows, rows, np.random.default_rng(0), near=NEAR)


def _mark_late(late: Bools, i: Ints, j: Ints, crowd: int) -> None:
    """Mark the rows `i` that have at least `crowd` near ones `j` before them that aren't marked."""
    order = np.argsort(i, kind="stable")
    row, start, count = np.unique(i[order], return_index=True, return_counts=True)
    many = count >= crowd
    for one, low, size in zip(row[many], start[many], count[many], strict=True):
        late[one] = np.count_nonzero(~late[j[order[low : low + size]]]) >= crowd


def _near_pieces(found: Clusters, cut: float, some: Bools | None = None) -> Iterator[tuple[Ints, Ints, Bools]]:
    """Rows `[A]` and rows `[B]` of near clusters, and `[A, B]` which of them may reach the cut; each pair once.

    Args:
        found: the clusters.
        cut: least cosine.
        some: `[N]` rows; clusters that have none of them aren't compared. None for all.
    """
    for number, piece in enumerate(found.pieces):
        mine, a = found.rows(piece), found.order[piece]
        wanted = some is None or some[a].any()
        for other in (piece, *(found.pieces[later] for later in found.near[number])):
            b = found.order[other]
            if wanted or some is None or some[b].any():
                near = mine @ found.rows(other).T >= cut - ROUNDING
                if other is piece:  # whose rows are in order
                    near = np.tril(near, -1)
                if near.any():
                    yield a, b, near


def _crowded(found: Clusters, cut: float, crowd: int) -> Bools:
    """Rows `[N]` with at least `crowd` near ones before them that aren't crowded themselves.

    Near clusters come in no order of rows. So each round settles the first rows that are left one after the other, and
    of the others those about which the settled ones before them decide.
    """
    late, left = np.zeros(len(found.order), bool), np.ones(len(found.order), bool)
    while left.any():
        sure, possible = np.zeros(len(left), np.int64), np.zeros(len(left), np.int64)
        first = np.flatnonzero(left)[:SETTLED]
        place = np.full(len(left), -1)
        place[first] = np.arange(len(first))
        among = np.zeros((len(first), len(first)), bool)
        for a, b, near in _near_pieces(found, cut, left):
            later = a[:, None] > b
            for row, other, before in ((a, b, near & later), (b, a, (near & ~later).T)):
                possible[row] += np.count_nonzero(before & ~late[other], axis=1)
                sure[row] += np.count_nonzero(before & ~(late | left)[other], axis=1)
                mine, its = place[row] >= 0, place[other] >= 0
                among[np.ix_(place[row[mine]], place[other[its]])] |= before[np.ix_(mine, its)]
        for number in np.flatnonzero(possible[first] >= crowd):
            row = first[number]
            late[row] = sure[row] + np.count_nonzero(among[number] & ~late[first]) >= crowd
        left[first] = False
        late |= left & (sure >= crowd)
        left &= (sure < crowd) & (possible >= crowd)
    return late


def _clustered(found: Clusters, cut: float, late: Bools) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of a later and an earlier row of near clusters that may reach the cut; none whose earlier row is `late`."""
    for a, b, near in _near_pieces(found, cut):
        i, j = np.nonzero(near & ~np.where(a[:, None] > b, late[b], late[a][:, None]))
        yield np.maximum(a[i], b[j]), np.minimum(a[i], b[j])


def _recall(found: Clusters, cut: float) -> tuple[int, int]:
    """How many pairs of `QUERIES` rows with any other row reach the cut, and how many of them near clusters have.

    No more than `CROWD` are counted for a row, because a crowd needs no more.
    """
    pieces = len(found.pieces)
    compared = np.eye(pieces, dtype=bool)
    for number, others in enumerate(found.near):
        compared[number, others] = compared[others, number] = True
    home = np.repeat(np.arange(pieces), [piece.stop - piece.start for piece in found.pieces])
    asked = thinned(np.arange(len(home)), QUERIES)
    mine = normalised(found.vectors, asked)
    pairs, had = np.zeros(len(asked), np.int64), np.zeros(len(asked), np.int64)
    for number, piece in enumerate(found.pieces):
        near = mine @ found.rows(piece).T >= cut
        near[asked[:, None] == np.arange(piece.start, piece.stop)] = False
        count = np.count_nonzero(near, axis=1)
        pairs += count
        had += count * compared[home[asked], number]
    return int(pairs.clip(max=CROWD).sum()), int(had.clip(max=CROWD).sum())


def _between(queries: Array, stored: Array, cut: float) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of a query and a stored vector of near clusters that may reach the cut."""
    n = len(queries)
    both = scratch((n + len(stored), *stored.shape[1:]), np.result_type(queries, stored))
    both[:n], both[n:] = queries, stored
    found = _sorted(both)
    for number, piece in enumerate(found.pieces):
        for other in (piece, *(found.pieces[later] for later in found.near[number])):
            for one, two in ((piece, other), (other, piece))[: 1 + (other is not piece)]:
                left, right = found.order[one] < n, found.order[two] >= n
                if left.any() and right.any():
                    i, j = np.nonzero(found.rows(one)[left] @ found.rows(two)[right].T >= cut - ROUNDING)
                    yield found.order[one][left][i], found.order[two][right][j] - n
