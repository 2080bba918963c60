"""Mean distances within groups, from sums alone."""

import math

import numpy as np
import pytest

from evaluation.sets.perceptual import Fellows, mean_apart


def test_the_mean_over_all_pairs_of_a_group_is_that_of_a_double_loop():
    rng = np.random.default_rng(0)
    looks = rng.normal(0, 1, (30, 50)).astype(np.float32)
    y = rng.integers(0, 3, 30)
    y[7] = 3  # alone in its class
    fellows = Fellows()
    apart, before = (np.array(column) for column in zip(*map(fellows.apart, y.tolist(), looks), strict=True))
    found = mean_apart(y, apart, before, 5)
    for k in range(3):
        own = looks[y == k]
        pairs = [((a - b) ** 2).sum() for i, a in enumerate(own) for b in own[:i]]
        assert found[k] == pytest.approx(np.mean(pairs), rel=1e-5)
    assert np.isnan(found[3:]).all()
    assert math.isnan(apart[7])
    assert before.sum() == sum(n * (n - 1) // 2 for n in np.bincount(y))


def test_what_it_is_given_stays_as_it_is_and_equal_pictures_are_no_distance_apart():
    looks = np.full((3, 10_000), 0.37, np.float32)
    fellows = Fellows()
    assert math.isnan(fellows.apart("a", looks[0])[0])
    assert [fellows.apart("a", look)[0] for look in looks[1:]] == pytest.approx([0, 0], abs=1e-4)
    assert (looks == np.float32(0.37)).all()
