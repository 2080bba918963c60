import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.kit.resampling.thresholds import (
    binomial,
    empirical_threshold,
    false_positive_rate,
    least_bits,
    too_few,
    unsure,
)

PUBLISHED = {
    32: (24, 26, 30),
    48: (33, 36, 41),
    64: (42, 45, 51),
    96: (60, 64, 72),
    100: (63, 66, 74),
    256: (148, 154, 167),
}
"""Bits that must be right for a false positive rate of 1e-2, 1e-3 and 1e-6."""


@pytest.mark.parametrize("bits", PUBLISHED)
def test_the_table_of_thresholds(bits):
    assert tuple(least_bits(bits, rate) for rate in (1e-2, 1e-3, 1e-6)) == PUBLISHED[bits]


@given(st.integers(1, 300), st.floats(1e-9, 0.5))
def test_a_threshold_is_the_least_that_keeps_the_rate(bits, rate):
    least = least_bits(bits, rate)
    if least <= bits:
        assert false_positive_rate(least, bits) <= rate
    if least > 0:
        assert false_positive_rate(least - 1, bits) > rate


def test_few_bits_can_keep_no_small_rate():
    assert least_bits(4, 0.01) == 5  # even four right bits happen in 1 of 16
    assert false_positive_rate(0, 4) == 1


@given(st.integers(100, 3000), st.sampled_from([0.01, 0.001, 0.05]), st.integers(0, 9))
def test_an_empirical_threshold_keeps_the_rate_on_its_own_pictures(n, rate, seed):
    scores = np.random.default_rng(seed).integers(0, 50, n) / 50  # with ties
    threshold = empirical_threshold(scores, rate)
    if n < 1 / rate:
        assert threshold is None
    else:
        assert (scores > threshold).mean() <= rate
        lower = scores[scores < threshold]
        assert not len(lower) or (scores > lower.max()).mean() > rate  # a lower one would not


def test_a_rate_needs_enough_negatives():
    assert too_few(99, 0.01) == "n/a: 99 unmarked pictures, and 100 are needed"
    assert too_few(100, 0.01) == ""
    assert too_few(999, 0.001)
    assert not too_few(1000, 0.001)
    assert "3,000 are enough" in unsure(1000, 0.001)
    assert unsure(3000, 0.001) == unsure(10, 0.001) == ""


def test_the_binomial_interval_is_that_of_scipy():
    from scipy.stats import binomtest

    for hits, trials in ((0, 300), (3, 300), (300, 300), (7, 12)):
        ends = binomtest(hits, trials).proportion_ci(0.95, method="exact")
        found = binomial(hits, trials)
        assert found["low"] == pytest.approx(100 * ends.low, abs=1e-3)
        assert found["high"] == pytest.approx(100 * ends.high, abs=1e-3)
    assert binomial(0, 1000, 0.9)["high"] == pytest.approx(100 * 3 / 1000, rel=0.01)  # the rule of three
    assert binomial(0, 0)["value"] is None
    assert math.isfinite(binomial(0, 1)["high"])
