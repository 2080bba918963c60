"""Words of slices: known tables, chance, and what a model gets wrong on an edition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom

from variorum.evaluation.slices.attributes import distinctive


def planted(size=12, total=200):
    members = np.arange(total) < size
    words = {"red": np.zeros(total, bool), "big": np.zeros(total, bool), "all": np.ones(total, bool)}
    words["red"][:9] = words["red"][100:106] = True
    words["big"][:10] = words["big"][50:150] = True
    words["rare"] = np.arange(total) < 4
    return members, words


def test_the_planted_word_comes_first_and_a_frequent_one_at_weight_0():
    (found,) = distinctive([planted()], 1.0)
    assert [one.words for one in found] == ["red", "big"]  # not `all`, and `rare` has too little support
    red = found[0]
    assert (red.inside, red.size, red.outside, red.total) == (9, 12, 15, 200)
    assert red.p == pytest.approx(sum(hypergeom.pmf(k, 200, 15, 12) for k in range(9, 13)))
    assert red.p < red.q < 0.001
    assert red.score == pytest.approx(np.log(9.5 / 13) - np.log(15.5 / 201))
    assert [one.words for one in distinctive([planted()], 0.0)[0]] == ["big", "red"]


def test_words_of_the_same_photographs_are_one_and_small_slices_have_none():
    members, words = planted()
    (found,) = distinctive([(members, {**words, "scarlet": words["red"]})], 1.0)
    assert found[0].words == "red, scarlet"
    assert distinctive([planted(size=9)], 1.0) == [[]]
    assert distinctive([], 1.0) == []


def test_random_slices_seldom_have_a_word():
    rng, hits = np.random.default_rng(0), 0
    words = {str(number): rng.random(200) < rng.uniform(0.03, 0.6) for number in range(60)}
    for _ in range(200):
        members = np.zeros(200, bool)
        members[rng.choice(200, 40, replace=False)] = True
        hits += any(one.q < 0.05 for one in distinctive([(members, words)], 1.0)[0])
    assert hits <= 16
