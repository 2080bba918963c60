import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.kit.copies.evidence import Prints, near_links
from variorum.kit.copies.grouping import (
    EMBEDDING,
    FILE,
    HASH,
    PIXELS,
    Links,
    fold_groups,
    groups,
    keepers,
)
from variorum.kit.copies.join import CROWD, Pairs


@st.composite
def editions(draw):
    """Classes of identical pixels, links between them, owners, shuffled ranks, and an order of preference."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 25))
    exact = np.unique(rng.integers(0, draw(st.integers(1, 25)), n), return_inverse=True)[1]
    owner = rng.integers(0, draw(st.integers(1, 25)), n)
    classes = exact.max() + 1
    i, j = np.sort(rng.integers(0, classes, (2, draw(st.integers(0, 15)))), axis=0)
    i, j = i[i < j], j[i < j]
    kind = rng.integers(HASH, EMBEDDING + 1, len(i))
    links = Links.of(
        *((k, Pairs(i[kind == k], j[kind == k], rng.random(len(i))[kind == k])) for k in (HASH, EMBEDDING))
    )
    return exact, links, owner, rng.permutation(n), rng.permutation(n)


def adjacent(exact, links, owner):
    """Matrix `[N, N]` of the copies that count."""
    linked = set(zip(links.i.tolist(), links.j.tolist(), strict=True))
    near = np.array([[a == b or (a, b) in linked or (b, a) in linked for b in exact.tolist()] for a in exact.tolist()])
    return near & (owner[:, None] != owner)


def brute_force_groups(near, rank):
    reach = near | np.eye(len(near), dtype=bool)
    for k in range(len(near)):
        reach |= reach[:, [k]] & reach[[k]]
    return np.array([rank[row].min() for row in reach])


@given(editions())
def test_groups_are_the_components_of_copies_of_different_owners(edition):
    exact, links, owner, rank, _ = edition
    found = groups(exact, links.i, links.j, owner, rank)
    assert np.array_equal(found, brute_force_groups(adjacent(exact, links, owner), rank))


@given(editions())
def test_whatever_goes_has_a_copy_that_stays_and_copies_do_not_both_stay(edition):
    exact, links, owner, rank, order = edition
    near = adjacent(exact, links, owner)
    group = groups(exact, links.i, links.j, owner, rank)
    sha256 = np.array([f"{k}" for k in exact], dtype=object)
    kept = keepers(exact, sha256, links, owner, group, order)
    assert not near[np.ix_(kept.keep, kept.keep)].any()
    gone = np.flatnonzero(~kept.keep)
    assert near[gone, kept.keeper[gone]].all()
    assert kept.keep[kept.keeper].all()
    assert np.array_equal(kept.keeper[kept.keep], np.flatnonzero(kept.keep))
    place = np.argsort(order)
    for name in np.unique(group):
        members = np.flatnonzero(group == name)
        best = members[place[members].argmin()]
        assert kept.keep[members[owner[members] == owner[best]]].all()
    same = exact[gone] == exact[kept.keeper[gone]]
    assert np.array_equal(kept.layer[gone] == FILE, same)
    assert np.isnan(kept.distance[kept.keep]).all()


@given(editions(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(edition, random):
    exact, links, owner, rank, order = edition
    shuffle = np.array(random.sample(range(len(exact)), len(exact)))
    back = np.argsort(shuffle)
    sha256 = np.array([f"{k % 3}" for k in rank], dtype=object)
    group = groups(exact, links.i, links.j, owner, rank)
    shuffled = groups(exact[shuffle], links.i, links.j, owner[shuffle], rank[shuffle])
    assert np.array_equal(shuffled, group[shuffle])
    kept = keepers(exact, sha256, links, owner, group, order)
    again = keepers(exact[shuffle], sha256[shuffle], links, owner[shuffle], shuffled, back[order])
    assert np.array_equal(again.keep, kept.keep[shuffle])
    assert np.array_equal(shuffle[again.keeper], kept.keeper[shuffle])
    assert np.array_equal(again.layer, kept.layer[shuffle])


def test_a_chain_keeps_both_its_ends():
    exact = np.arange(3)
    links = Links.of((HASH, Pairs(np.array([0, 1]), np.array([1, 2]), np.array([20, 30]))))
    group = groups(exact, links.i, links.j, exact, exact)
    assert group.tolist() == [0, 0, 0]
    from_an_end = keepers(exact, np.array(["a", "b", "c"]), links, exact, group, np.array([0, 1, 2]))
    assert from_an_end.keep.tolist() == [True, False, True]
    from_the_middle = keepers(exact, np.array(["a", "b", "c"]), links, exact, group, np.array([1, 0, 2]))
    assert from_the_middle.keep.tolist() == [False, True, False]
    assert from_the_middle.distance.tolist()[::2] == [20, 30]


def test_the_strongest_evidence_for_a_pair_counts():
    links = Links.of(
        (EMBEDDING, Pairs(np.array([0, 1]), np.array([1, 2]), np.array([0.0, 0.2]))),
        (HASH, Pairs(np.array([0, 0]), np.array([1, 1]), np.array([9, 7]))),
    )
    assert links.layer.tolist() == [HASH, EMBEDDING]
    assert links.distance.tolist() == pytest.approx([7, 0.2])


def test_files_and_pixels_are_told_apart():
    exact = np.zeros(3, np.int64)
    kept = keepers(
        exact,
        np.array(["a", "a", "b"]),
        Links.of((HASH, Pairs(*np.empty((3, 0), np.int64)))),
        np.arange(3),
        exact,
        np.arange(3),
    )
    assert kept.layer.tolist() == [0, FILE, PIXELS]


# ── splits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_folds_divide_neither_copies_nor_what_one_photograph_became():
    group = np.array([0, 0, 2, 3, 4, 5])
    source = np.array(["p", "q", "q", "r", "s", "s"], dtype=object)
    assert fold_groups(group, source).tolist() == [0, 0, 0, 1, 2, 2]
    assert fold_groups(group, np.array([7, 3, 3, 0, 9, 9])).tolist() == [0, 0, 0, 1, 2, 2]  # numbers for names
    assert len(fold_groups(np.empty(0, np.int64), np.empty(0, object))) == 0


# ── crowds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by", [pytest.param(HASH, marks=pytest.mark.slow), EMBEDDING])
def test_of_a_crowd_that_is_all_alike_the_best_one_stays_in_little_memory(by):
    rng = np.random.default_rng(0)
    n, crowd = 1000, 800
    turns = rng.integers(0, 256, (n, 8, 32), dtype=np.uint8)
    vectors = rng.normal(size=(n, 64)).astype(np.float32)
    if by == HASH:
        turns[:crowd, 0] = turns[0, 0]
        turns[np.arange(crowd), 0, rng.integers(0, 32, crowd)] ^= rng.integers(0, 256, crowd).astype(np.uint8)
    else:
        vectors[:crowd] = vectors[0] + 0.05 * rng.normal(size=(crowd, 64))
    names = np.array([f"{k}" for k in range(n)], dtype=object)
    pixels = rng.integers(0, 256, (n, 16), dtype=np.uint8)
    prints = Prints(
        np.argsort(np.argsort(names)), names, pixels, turns, np.ones(n, bool), vectors, np.full(n, -1), np.arange(n)
    )
    exact, head = prints.exact()
    order = rng.permutation(n)

    def stays(best_first):
        links, _ = near_links(prints, exact, head, np.random.default_rng(0), 0.9, order=best_first)
        group = groups(exact, links.i, links.j, prints.rank, prints.rank)
        return len(links.i), keepers(exact, names, links, prints.rank, group, order)

    tracemalloc.start()
    few, thinned = stays(order)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    every, whole = stays(None)
    assert every >= crowd * (crowd - 1) // 2
    assert few < 2 * crowd * CROWD
    assert held < 64 * 2**20
    assert np.array_equal(thinned.keep, whole.keep)
    assert np.array_equal(thinned.keeper, whole.keeper)
    assert thinned.keep[:crowd].sum() == 1
    assert thinned.keep[order[order < crowd][0]]
