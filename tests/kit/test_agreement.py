import numpy as np
import pytest

from variorum.kit.raters.agreement import answer_counts, cohen_kappa, gwet_ac1, krippendorff_alpha
from variorum.schemas.errors import SourceError
from variorum.statistics import wilson_interval

# Krippendorff's own example: 4 observers, 12 units, answers 1 to 5, 0 for none
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
    [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
]


def counts_of(rows, kinds):
    rows = np.array(rows)
    raters, items = np.nonzero(rows)
    return answer_counts(items, rows[raters, items] - 1, rows.shape[1], kinds)


def test_alpha_of_the_published_example():
    assert krippendorff_alpha(counts_of(OBSERVERS, 5)) == pytest.approx(0.743, abs=5e-4)


def test_ac1_holds_where_nearly_all_say_the_same():
    counts = np.repeat([[2, 0], [1, 1], [0, 2]], [118, 7, 0], axis=0)  # two raters, 125 items
    observed, share = 118 / 125, (2 * 118 + 7) / 250
    chance = 2 * share * (1 - share)
    assert gwet_ac1(counts) == pytest.approx((observed - chance) / (1 - chance))
    assert gwet_ac1(counts) > 0.9
    assert krippendorff_alpha(counts) < 0


def test_full_and_no_agreement():
    full = np.array([[3, 0], [0, 3], [2, 0]])
    assert krippendorff_alpha(full) == gwet_ac1(full) == 1
    rng = np.random.default_rng(0)
    lots = answer_counts(np.repeat(np.arange(4000), 3), rng.integers(0, 3, 12000), 4000, 3)
    assert krippendorff_alpha(lots) == pytest.approx(0, abs=0.03)
    assert gwet_ac1(lots) == pytest.approx(0, abs=0.03)


def test_items_with_one_answer_do_not_change_alpha():
    counts = counts_of(OBSERVERS, 5)
    more = np.vstack([counts, [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]])
    assert krippendorff_alpha(more) == krippendorff_alpha(counts)


def test_nothing_to_compare_is_nan():
    assert np.isnan(krippendorff_alpha(np.zeros((0, 2), int)))
    assert np.isnan(krippendorff_alpha(np.array([[1, 0], [0, 1]])))
    assert np.isnan(krippendorff_alpha(np.array([[2, 0], [3, 0]])))
    assert np.isnan(gwet_ac1(np.array([[1, 0]])))
    assert gwet_ac1(np.array([[2, 0], [3, 0]])) == 1


def test_bad_counts_are_refused():
    with pytest.raises(SourceError, match="all at least 0"):
        krippendorff_alpha(np.array([[2, -1]]))
    with pytest.raises(SourceError, match="at least two possible kinds"):
        gwet_ac1(np.array([[2], [3]]))


def test_wilson():
    low, high = wilson_interval([0, 8, 10, 0], [10, 10, 10, 0])
    np.testing.assert_allclose(low, [0, 0.4902, 0.7225, 0], atol=1e-4)
    np.testing.assert_allclose(high, [0.2775, 0.9433, 1, 1], atol=1e-4)


def test_cohens_kappa_of_two_raters():
    assert cohen_kappa(np.array([[1, 1], [1, 2]])) == pytest.approx((0.6 - (0.36 + 0.16)) / (1 - 0.52))
    assert np.isnan(cohen_kappa(np.array([[0, 0], [0, 3]])))
    assert np.isnan(cohen_kappa(np.zeros((2, 2), int)))
