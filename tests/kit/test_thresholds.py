import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.kit.resampling.thresholds import (
    conformal_threshold,
    false_positive_rate,
    least_bits,
    needed,
    share,
    too_few,
    unsure,
)
from variorum.reports.figures import interval
from variorum.statistics import clustered_interval

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


@given(st.integers(5, 300), st.sampled_from([0.01, 0.05, 0.1]), st.integers(0, 9))
def test_a_threshold_of_few_photographs_keeps_the_rate_on_new_ones(n, rate, seed):
    scores = np.random.default_rng(seed).permutation(n).astype(float)
    found = conformal_threshold(scores, np.arange(n), rate)
    if n < needed(rate):
        assert found is None
        assert too_few(n, rate)
    else:
        assert not too_few(n, rate)
        assert found.rank == (scores >= found.score).sum() == int(rate * (n + 1) + 1e-9)
        assert found.rank / (n + 1) <= rate + 1e-9  # how often a new one is among those above it
        low, high = found.likely()
        assert 0 <= low < found.rank / (n + 1) < high <= 1


@given(st.integers(1, 400), st.sampled_from([0.01, 0.05, 0.1]), st.sampled_from([0.5, 0.9]))
def test_a_threshold_that_is_sure_keeps_the_rate_in_that_share_of_sets(n, rate, sure):
    from scipy.stats import beta

    found = conformal_threshold(np.arange(n, dtype=float), np.arange(n), rate, sure)
    assert (found is None) == (n < needed(rate, sure)) == bool(too_few(n, rate, sure))
    if found is not None:
        assert beta.sf(rate, found.rank, n + 1 - found.rank) <= 1 - sure + 1e-9
        assert beta.sf(rate, found.rank + 1, n - found.rank) > 1 - sure  # one more would promise too much


def test_of_a_photograph_the_largest_score_sets_the_threshold():
    scores, photographs = np.array([9.0, 1, 2, 8, 3, 4]), np.array([0, 0, 1, 1, 2, 2])
    assert conformal_threshold(scores, photographs, 0.5).score == 8
    assert conformal_threshold(scores, photographs, 0.25).score == 9
    assert conformal_threshold(scores, photographs, 0.2) is None


def test_a_rate_needs_enough_negatives():
    assert [needed(rate) for rate in (0.1, 0.05, 0.01)] == [9, 19, 99]
    assert [needed(rate, 0.9) for rate in (0.1, 0.05, 0.01)] == [22, 45, 230]
    assert too_few(98, 0.01) == "n/a: 98 unmarked pictures, and 99 are needed"
    assert too_few(99, 0.01) == ""
    assert "3,000 are enough" in unsure(1000, 0.001)
    assert unsure(3000, 0.001) == unsure(10, 0.001) == ""


def test_a_share_has_the_exact_interval_of_its_photographs():
    from scipy.stats import binomtest

    for hits, trials in ((0, 300), (3, 300), (300, 300), (7, 12), (20, 20)):
        ends = binomtest(hits, trials).proportion_ci(0.95, method="exact")
        found = share(np.arange(trials) < hits, np.arange(trials))
        assert found["low"] == pytest.approx(100 * ends.low, abs=1e-3)
        assert found["high"] == pytest.approx(100 * ends.high, abs=1e-3)
        thrice = share(np.repeat(np.arange(trials) < hits, 3), np.repeat(np.arange(trials), 3))
        assert thrice["low"] == pytest.approx(found["low"], abs=2)  # alike pictures tell nothing new
        assert thrice["high"] == pytest.approx(found["high"], abs=2)
    assert share(np.zeros(0), np.zeros(0, int)) is None


def test_few_photographs_have_a_count_and_no_percentage():
    assert interval(share(np.ones(9, bool), np.arange(9))) == "9 of 9"
    assert interval(share(np.arange(18) < 4, np.arange(18) % 9)) == "4 of 18"
    assert "count" not in share(np.array([0.5, 0.25]), np.arange(2))  # such as right bits, which aren't pictures
    assert interval(share(np.ones(10), np.arange(10))) == "100.0 [69.2, 100.0]"


@pytest.mark.parametrize(("photographs", "each", "alike"), [(20, 1, 0.0), (20, 3, 0.5), (48, 3, 0.2), (100, 2, 0.01)])
@pytest.mark.parametrize("truth", [0.5, 0.95, 1.0])
def test_intervals_of_shares_cover_the_truth(photographs, each, alike, truth):
    rng, covered = np.random.default_rng(each), 0
    for _ in range(400):
        own = rng.random((photographs, 1)) < truth
        drawn = np.where(rng.random((photographs, each)) < np.sqrt(alike), own, rng.random((photographs, each)) < truth)
        low, high = clustered_interval(drawn.sum(axis=1).astype(float), np.full(photographs, float(each)))
        covered += low <= truth <= high
    assert covered / 400 >= 0.93
