"""Which pictures make an episode, whatever the edition has."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.generators.few_shot.drawing import QUERY, SUPPORT, Picture, class_rows, draw, stock

NAMES = ("clean", "small", "blurred")


def pictures(counts, lost=frozenset(), copies=1):
    """Photographs of each class, `copies` pictures of each, without the (class, number, difficulty) that are lost."""
    return [
        Picture(
            f"{label}/{number}/{copy}/{name}", f"{label}/{number}/{copy}", f"{label}/{number}", name, f"class {label}"
        )
        for label, count in enumerate(counts)
        for number in range(count)
        for copy in range(copies)
        for name in NAMES
        if (label, number, name) not in lost
    ]


def drawn(found, seed=0, way=2, shot=(1, 2), queries=3, episodes=4):
    rng = np.random.default_rng(seed)
    return draw(
        stock(found, "clean"),
        rng,
        way=way,
        shot=shot,
        queries=queries,
        episodes=episodes,
        clean="clean",
        difficulties=NAMES,
    )


def rows(listing):
    return [dict(zip(listing, values, strict=True)) for values in zip(*listing.values(), strict=True)]


def photograph(row):
    return row["id"].rsplit("/", 2)[0]


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(0, 9), min_size=2, max_size=6),
    lost=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 8), st.sampled_from(NAMES)), max_size=25),
    copies=st.integers(1, 2),
    way=st.integers(2, 4),
    shots=st.sampled_from([(1,), (1, 3), (2, 1)]),
    queries=st.integers(1, 4),
    seed=st.integers(0, 3),
)
def test_no_photograph_is_in_an_episode_twice(counts, lost, copies, way, shots, queries, seed):
    found = pictures(counts, lost, copies)
    listing = drawn(found, seed, way, shots, queries)
    needed = max(shots) + queries
    usable = [
        label
        for label, count in enumerate(counts)
        if sum((label, number, "clean") not in lost for number in range(count)) >= needed
    ]
    episodes = {row["episode"] for row in rows(listing)}
    assert episodes == (set(range(4)) if len(usable) >= way else set())
    there = {one.id for one in found}
    for episode in episodes:
        mine = [row for row in rows(listing) if row["episode"] == episode]
        assert all(row["id"] in there for row in mine)
        assert all(row["id"].endswith(row["difficulty"]) for row in mine)
        assert len({(row["way"], row["class"]) for row in mine}) == way == len({row["class"] for row in mine})
        supports = [photograph(row) for row in mine if row["role"] == SUPPORT]
        assert len(supports) == len(set(supports)) == way * max(shots)
        for name in NAMES:
            asked = [photograph(row) for row in mine if row["role"] == QUERY and row["difficulty"] == name]
            assert len(asked) == len(set(asked))
            assert not set(asked) & set(supports)
        by_place = {}
        for row in mine:
            by_place.setdefault((row["role"], row["way"], row["number"]), set()).add(row["id"].rsplit("/", 1)[0])
        assert all(len(parents) == 1 for parents in by_place.values())  # the same photograph in every difficulty
        assert Counter(row["shot"] for row in mine if row["role"] == SUPPORT and row["way"] == 0) == Counter(
            min(one for one in shots if one > number) for number in range(max(shots))
        )


def test_the_order_of_the_rows_and_the_names_of_other_pictures_decide_nothing():
    found = pictures([7, 8, 9], {(1, 2, "small")})
    listing = drawn(found)
    assert rows(listing) == rows(drawn(found[::-1]))
    assert rows(listing) == rows(drawn([*found, Picture("x", "x", "x", "small", "class 0")]))
    assert rows(listing) != rows(drawn(found, seed=1))
    assert rows(drawn(found, episodes=2)) == [row for row in rows(listing) if row["episode"] < 2]


def test_a_query_without_an_accepted_picture_has_no_row_there():
    lost = {(label, number, "small") for label in range(2) for number in range(5)}
    listing = rows(drawn(pictures([5, 5], lost)))
    counts = Counter(row["difficulty"] for row in listing if row["role"] == QUERY)
    assert counts == {"clean": 24, "blurred": 24}


def test_a_photograph_of_two_classes_and_a_picture_with_another_label_are_left_out():
    found = pictures([5, 5, 5])
    twice = replace(found[0], id="other", parent="other", label="class 1")
    assert len(stock([*found, twice], "clean").classes["class 0"]) == 4
    assert "0/0" not in stock([*found, twice], "clean").classes["class 1"]
    relabelled = [replace(one, label="class 2") if one.id == "0/0/0/small" else one for one in found]
    assert ("0/0/0", "small") not in stock(relabelled, "clean").pictures
    assert ("0/0/0", "clean") in stock(relabelled, "clean").pictures


@pytest.mark.parametrize(("needed", "status"), [(5, ["used", "used", "too_few"]), (6, ["too_few"] * 3)])
def test_classes_with_too_few_photographs_are_listed(needed, status):
    found = class_rows(stock(pictures([5, 5]), "clean"), ["class 0", "class 1", "class 2"], needed)
    assert found["photographs"] == [5, 5, 0]
    assert found["status"] == status
