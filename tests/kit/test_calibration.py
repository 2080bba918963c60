import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.kit.predicted.calibration import (
    BINS,
    bin_of,
    error_by_chance,
    expected_calibration_error,
    reliability,
)

edges = st.sampled_from([number / BINS for number in range(BINS + 1)])
predictions = st.lists(st.tuples(st.floats(0, 1) | edges, st.booleans()), min_size=1, max_size=60)


def arrays(pairs):
    return np.array([sure for sure, _ in pairs]), np.array([right for _, right in pairs])


def by_loop(pairs, bins):
    """The error as its definition has it, bin by bin, picture by picture."""
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        mine = [(sure, right) for sure, right in pairs if low < sure <= high or (number == 0 and sure == 0)]
        if mine:
            accuracy = sum(right for _, right in mine) / len(mine)
            confidence = sum(sure for sure, _ in mine) / len(mine)
            total += len(mine) / len(pairs) * abs(accuracy - confidence)
    return total


@given(predictions, st.sampled_from([1, 2, 5, BINS]))
def test_the_error_is_that_of_a_loop(pairs, bins):
    found = reliability(*arrays(pairs), bins)
    assert expected_calibration_error(found) == pytest.approx(by_loop(pairs, bins), abs=1e-12)
    assert found.n.sum() == len(pairs)


@given(predictions, st.randoms(use_true_random=False))
def test_the_order_of_the_pictures_has_no_effect(pairs, random):
    mixed = list(pairs)
    random.shuffle(mixed)
    one, other = reliability(*arrays(pairs)), reliability(*arrays(mixed))
    for first, second in zip(one, other, strict=True):
        assert first == pytest.approx(second, abs=1e-12)


@given(predictions)
def test_bins_rise_and_lie_where_they_belong(pairs):
    found = reliability(*arrays(pairs))
    assert (np.diff(found.confidence) > 0).all()
    assert ((found.accuracy >= 0) & (found.accuracy <= 1)).all()
    assert (bin_of(found.confidence - 1e-9 * (found.confidence > 1e-6)) <= bin_of(found.confidence)).all()


def test_a_bin_has_its_upper_edge():
    assert bin_of(np.array([0.0, 1 / 15, np.nextafter(1 / 15, 1), 7 / 15, 1.0])).tolist() == [0, 0, 1, 6, 14]


def test_always_sure_and_always_wrong_is_an_error_of_one():
    found = reliability(np.ones(7), np.zeros(7, bool))
    assert expected_calibration_error(found) == 1
    assert error_by_chance(np.ones(7), seed=0) == 0
    assert math.isnan(expected_calibration_error(reliability(np.empty(0), np.empty(0, bool))))
    assert math.isnan(error_by_chance(np.empty(0), seed=0))


def test_chance_alone_gives_what_perfect_classifiers_show_on_average_and_less_with_more_pictures():
    rng = np.random.default_rng(1)
    by_chance = []
    for n in (40, 4000):
        confidence = rng.random(n)
        shown = [expected_calibration_error(reliability(confidence, rng.random(n) < confidence)) for _ in range(400)]
        by_chance.append(error_by_chance(confidence, seed=3))
        assert by_chance[-1] == pytest.approx(np.mean(shown), rel=0.06)
        assert by_chance[-1] == error_by_chance(confidence[::-1], seed=3)
    assert by_chance[1] < by_chance[0] / 5
