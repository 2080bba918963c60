import tracemalloc

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from variorum.kit.copies import join
from variorum.kit.copies.join import (
    CROWD,
    RADIUS,
    Pairs,
    band_recall,
    cosine_join,
    cosine_pairs,
    crowded,
    hamming_join,
    hamming_pairs,
)
from variorum.machine import scratch


def codes(rng, *shape):
    return rng.integers(0, 256, (*shape, 32), dtype=np.uint8)


def flipped(hashes, bits, rng):
    """Each hash with this many bits changed."""
    chosen = rng.random((len(hashes), 256)).argsort(axis=1)[:, :bits]
    changed = np.unpackbits(hashes, axis=1)
    np.put_along_axis(changed, chosen, 1 - np.take_along_axis(changed, chosen, axis=1), axis=1)
    return np.packbits(changed, axis=1)


def as_set(pairs: Pairs):
    return set(zip(pairs.i.tolist(), pairs.j.tolist(), pairs.distance.tolist(), strict=True))


def brute_force(turns, radius):
    bits = np.bitwise_count(turns[:, :, None] ^ turns[None, None, :, 0]).sum(axis=3).min(axis=1)
    bits = np.minimum(bits, bits.T)
    i, j = np.nonzero(np.triu(bits <= radius, 1))
    return set(zip(i.tolist(), j.tolist(), bits[i, j].tolist(), strict=True))


@st.composite
def crowds(draw):
    """Hashes in all orientations, many of them near one another, some just at the radius."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    turns = codes(rng, draw(st.integers(1, 40)), 8)
    for _ in range(draw(st.integers(0, 40))):
        one, other = rng.integers(0, len(turns), 2)
        bits = int(rng.choice([0, 1, 16, RADIUS, RADIUS + 1]))
        turns[one, rng.integers(0, 8)] = flipped(turns[[other], 0], bits, rng)[0]
    return turns


@given(crowds())
def test_an_exact_join_finds_what_comparing_all_finds(turns):
    assert as_set(hamming_pairs(turns)) == brute_force(turns, RADIUS)


@settings(max_examples=8)
@given(crowds())
def test_bands_find_what_comparing_all_finds(turns):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "FEW_PAIRS", 0)
        assert as_set(hamming_pairs(turns)) == brute_force(turns, RADIUS)


def alike(n, rng, bits=6):
    """Hashes in all orientations of nearly identical pictures, all within twice this many bits."""
    turns = np.repeat(codes(rng, 1, 8), n, axis=0)
    return np.stack([flipped(turns[:, turn], rng.integers(0, bits + 1), rng) for turn in range(8)], axis=1)


def peak(work):
    """The peak memory of a call in bytes, and its result."""
    tracemalloc.start()
    try:
        found = work()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("exact", [True, False])
def test_pictures_that_are_nearly_one_are_paired_once_each(exact, monkeypatch):
    monkeypatch.setattr(join, "FEW_PAIRS", 0)
    turns = alike(600, np.random.default_rng(0))
    held, found = peak(lambda: hamming_pairs(turns, exact=exact))
    assert len(found) == 600 * 599 // 2
    assert held < 200 * len(found)


@pytest.mark.parametrize("exact", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_crowd_is_joined_in_memory_that_grows_with_it_and_not_with_its_square(exact):
    rng = np.random.default_rng(0)
    turns = np.concatenate([alike(2500, rng), codes(rng, 500, 8)])[rng.permutation(3000)]
    held, found = peak(lambda: hamming_pairs(turns, exact=exact, crowd=CROWD))
    assert len(found) < 2500 * 2 * CROWD
    assert held < 40 * 2**20  # all 3 million pairs take 51 MiB by themselves
    late = crowded(turns[:, 0], CROWD)
    assert late.sum() > 2200
    assert not (late[found.i] & late[found.j]).any()
    crowd = np.unique(np.concatenate([found.i, found.j]))
    assert len(crowd) == 2500
    assert np.array_equal(found.j[found.i == crowd[0]], crowd[1:])  # the first is linked to all others


@settings(max_examples=12)
@given(crowds(), st.integers(1, 8))
def test_only_pairs_of_two_crowded_pictures_are_left_out(turns, crowd):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "FEW_PAIRS", 0)
        patch.setattr(join, "LARGE_BUCKET", crowd)
        found = as_set(hamming_pairs(turns, crowd=crowd))
        late = crowded(turns[:, 0], crowd)
    every = brute_force(turns, RADIUS)
    assert found == {(i, j, bits) for i, j, bits in every if not (late[i] and late[j])}
    own = brute_force(turns[:, :1], RADIUS)
    before = np.bincount([j for i, j, _ in own if not late[i]], minlength=len(turns))
    assert (before[late] >= crowd).all()


@given(crowds(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(turns, random):
    order = random.sample(range(len(turns)), len(turns))
    renamed = {
        (min(order[i], order[j]), max(order[i], order[j]), bits) for i, j, bits in as_set(hamming_pairs(turns[order]))
    }
    assert renamed == as_set(hamming_pairs(turns))


def test_an_exact_join_of_thousands_agrees_with_faiss():
    rng = np.random.default_rng(0)
    stored, queries = codes(rng, 4000), codes(rng, 3000)
    queries[:500] = np.concatenate([flipped(stored[k : k + 10], bits, rng) for k, bits in enumerate(range(50))])
    index = faiss.IndexBinaryFlat(256)
    index.add(stored)
    ends, distance, j = index.range_search(queries, RADIUS + 1)
    i = np.repeat(np.arange(3000), (ends[1:] - ends[:-1]).astype(int))
    found = hamming_join(queries[:, None], stored)
    assert len(found) > 300
    assert as_set(found) == set(zip(i.tolist(), j.tolist(), distance.tolist(), strict=True))


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.parametrize("bits", [10, 20, 31, 52])
def test_the_recall_of_bands_is_what_the_formula_says(bits, partitions):
    recall(bits, partitions, 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [20, 31, 52])
def test_the_recall_of_bands_among_a_million(bits):
    recall(bits, 1, 1_000_000)


def recall(bits, partitions, n):
    rng = np.random.default_rng(bits)
    stored = codes(rng, n)
    queries = flipped(stored[:4000], bits, rng)
    found = hamming_join(queries[:, None], stored, radius=bits, exact=False, partitions=partitions)
    assert set(found.distance.tolist()) == {bits}
    assert np.array_equal(found.i, found.j)
    expected = band_recall(bits, partitions)
    assert len(found) / 4000 == pytest.approx(expected, abs=0.01 + 3 * (expected * (1 - expected) / 4000) ** 0.5)
    if partitions == 1:
        assert expected == pytest.approx(1 - (1 - (1 - bits / 256) ** 16) ** 16, abs=0.03)


def test_a_set_of_a_hundred_thousand_is_joined_without_comparing_all():
    rng = np.random.default_rng(0)
    turns = codes(rng, 100_000, 1)
    turns[-400:, 0] = np.concatenate(
        [flipped(turns[k * 100 : (k + 1) * 100, 0], b, rng) for k, b in enumerate((0, 10, 20, 31))]
    )
    found = hamming_pairs(turns, exact=False)
    planted = {(k, 99_600 + k) for k in range(400)}
    pairs = set(zip(found.i.tolist(), found.j.tolist(), strict=True))
    assert pairs <= planted
    assert len(pairs) >= 0.99 * 400


def test_an_exact_join_beyond_the_bands_is_refused():
    with pytest.raises(ValueError, match="up to 31 bits, not up to 32"):
        hamming_join(codes(np.random.default_rng(0), 2, 1), codes(np.random.default_rng(1), 2), radius=32, exact=True)


def test_nothing_is_joined_with_nothing():
    rng = np.random.default_rng(0)
    assert len(hamming_pairs(codes(rng, 0, 8))) == 0
    assert len(hamming_join(codes(rng, 3, 8), codes(rng, 0))) == 0
    assert len(cosine_pairs(np.empty((0, 16), np.float16), 0.9)) == 0
    assert len(cosine_join(rng.random((3, 4)), np.empty((0, 4)), 0.9)) == 0


# ── embeddings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def vectors(n=1500, d=32):
    """Random directions; the last 200 lie near the first 200, row 3 isn't finite and row 5 is zero."""
    rng = np.random.default_rng(1)
    found = rng.normal(size=(n, d)) * rng.uniform(0.1, 100, (n, 1))
    found[-200:] = found[:200] + 0.3 * np.abs(found[:200]).mean(axis=1, keepdims=True) * rng.normal(size=(200, d))
    found[3], found[5] = np.nan, 0
    return found.astype(np.float16)


def cosine_brute_force(found, cut):
    with np.errstate(invalid="ignore"):
        unit = found.astype(np.float64) / np.linalg.norm(found.astype(np.float64), axis=1, keepdims=True)
    return {(int(i), int(j)) for i, j in np.argwhere(np.triu(unit @ unit.T >= cut, 1))}


def rows(pairs):
    return set(zip(pairs.i.tolist(), pairs.j.tolist(), strict=True))


@pytest.mark.parametrize("cut", [0.6, 0.9, 0.99])
def test_cosines_are_compared_exactly(cut):
    found = vectors()
    assert rows(cosine_pairs(found, cut)) == cosine_brute_force(found, cut)


@pytest.mark.parametrize("exact", [True, False])
def test_a_crowd_of_embeddings_is_joined_in_memory_that_does_not_grow_with_its_square(exact):
    rng = np.random.default_rng(0)
    found = rng.normal(size=(5000, 32))
    found[rng.permutation(5000)[:4000]] = rng.normal(size=32) + 0.05 * rng.normal(size=(4000, 32))
    held, pairs = peak(lambda: cosine_pairs(found, 0.9, exact=exact, crowd=CROWD))
    assert len(pairs) <= 4000 * 2 * CROWD
    assert held < 100 * 2**20
    crowd = np.unique(np.concatenate([pairs.i, pairs.j]))
    assert len(crowd) == 4000
    if exact:  # clusters share the crowd
        assert np.array_equal(pairs.j[pairs.i == crowd[0]], crowd[1:])


@pytest.mark.parametrize("exact", [True, False])
def test_where_there_is_no_crowd_nothing_is_left_out(exact):
    found = vectors(3000)
    assert rows(cosine_pairs(found, 0.9, exact=exact, crowd=CROWD)) == rows(cosine_pairs(found, 0.9, exact=exact))


@pytest.mark.parametrize("by", ["place", "chance"])
@pytest.mark.parametrize("exact", [True, False])
def test_a_crowd_that_drifts_stays_together(exact, by):
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 1.5, 2500)[:, None] if by == "place" else rng.uniform(0, 1.5, (2500, 1))
    found = np.concatenate([np.cos(turn), np.sin(turn), 0.002 * rng.normal(size=(2500, 6))], axis=1)
    pairs = cosine_pairs(found, 0.99, exact=exact, crowd=16)
    parts, _ = connected_components(coo_array((np.ones(len(pairs)), (pairs.i, pairs.j)), shape=(2500, 2500)))
    assert parts == 1
    assert len(pairs) < 2500 * 4 * 16  # of more than 500,000


def test_the_recall_of_near_clusters_is_counted():
    rng = np.random.default_rng(0)
    turn = rng.uniform(0, 1.5, 900)
    found = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for cut in (0.9998, 0.9):
        exact, fast = cosine_pairs(found, cut), cosine_pairs(found, cut, exact=False)
        assert exact.recall is None
        each = [np.bincount(np.concatenate([one.i, one.j]), minlength=900) for one in (exact, fast)]
        assert fast.recall == tuple(int(count.clip(max=CROWD).sum()) for count in each)
    assert len(fast) < len(exact)


def test_near_clusters_have_the_near_pairs():
    found = vectors(4000)
    exact, fast = rows(cosine_pairs(found, 0.9)), rows(cosine_pairs(found, 0.9, exact=False))
    assert fast <= exact
    assert len(fast) >= 0.98 * len(exact) > 150
    between = rows(cosine_join(found[:700], found[700:], 0.9, exact=False))
    assert between <= {(i, j - 700) for i, j in exact if i < 700 <= j}
    assert len(between) >= 0.98 * sum(i < 700 <= j for i, j in exact) > 150


@pytest.mark.parametrize("exact", [True, False])
def test_vectors_in_files_have_the_same_pairs(exact, monkeypatch):
    found = vectors()
    whole = cosine_pairs(found, 0.9, exact=exact), cosine_join(found[:700], found[700:], 0.9, exact=exact)
    monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    mapped = cosine_pairs(found, 0.9, exact=exact), cosine_join(found[:700], found[700:], 0.9, exact=exact)
    for one, other in zip(whole, mapped, strict=True):
        assert len(one)
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("i", "j", "distance"))


def test_one_set_against_another():
    found = vectors()
    expected = {(i, j) for i, j in cosine_brute_force(found, 0.9) if i < 700 <= j}
    assert rows(cosine_join(found[:700], found[700:], 0.9)) == {(i, j - 700) for i, j in expected}
