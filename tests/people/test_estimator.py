import numpy as np
import pytest
from label_noise import asymmetric, digits
from scipy.stats import hypergeom

from variorum.curation.people.panel.estimator import (
    Strata,
    agresti_coull,
    allocate,
    difference_estimate,
    share_of,
    stratified_rate,
)

FLAGGED, UNFLAGGED = np.array([True, False]), np.array([False, True])


@pytest.fixture(scope="module")
def flagged_digits():
    """By error rate (class c labelled c + 1): which labels are wrong, which are flagged, and 1 - p(label)."""
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    x, y = digits()
    found = {}
    for rate in (0.2, 0.3):
        noisy = asymmetric(y, rate, 10, np.random.default_rng(0))
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        p = cross_val_predict(LogisticRegression(max_iter=300), x, noisy, cv=folds, method="predict_proba")
        found[rate] = noisy != y, find_label_issues(noisy, p), 1 - p[np.arange(len(y)), noisy]
    return found


def audits(wrong, flag, guesses, m, repetitions):
    """Estimates from all flagged and `m` unflagged pictures, without and with guesses."""
    rng, unflagged = np.random.default_rng(m), np.flatnonzero(~flag)
    sizes = np.array([flag.sum(), len(unflagged)])
    means = np.array([guesses[flag].mean(), guesses[~flag].mean()])
    rates, recalls, helped = [], [], []
    for _ in range(repetitions):
        rows = np.concatenate([np.flatnonzero(flag), rng.choice(unflagged, m, replace=False)])
        stratum, said = (~flag[rows]).astype(int), wrong[rows].astype(float)
        strata = Strata.of(said, stratum, sizes)
        rates.append(stratified_rate(strata))
        recalls.append(share_of(strata[FLAGGED], strata[UNFLAGGED]))
        helped.append(difference_estimate(said, stratum, guesses[rows], sizes, means))
    return rates, recalls, helped


def coverage(estimates, truth):
    return np.mean([one.low <= truth <= one.high for one in estimates])


def check_audits(flagged_digits, repetitions):
    for rate, sds in ((0.2, {50: 0.018, 100: 0.012, 200: 0.008}), (0.3, {50: 0.026, 100: 0.018, 200: 0.012})):
        wrong, flag, guesses = flagged_digits[rate]
        found_alone = (wrong & flag).mean()
        assert wrong.mean() - found_alone > {0.2: 0.015, 0.3: 0.04}[rate]
        for m, sd in sds.items():
            rates, recalls, helped = audits(wrong, flag, guesses, m, repetitions)
            values = np.array([one.value for one in rates])
            # 3, not 2: of six unbiased means, one exceeds 2 in every fourth run
            assert abs(values.mean() - wrong.mean()) < 3 * values.std() / np.sqrt(repetitions)
            assert values.std() == pytest.approx(sd, abs=0.003)
            assert coverage(rates, wrong.mean()) >= 0.93
            assert coverage(recalls, flag[wrong].mean()) >= 0.93
            assert coverage(helped, wrong.mean()) >= 0.93
            # the guesses say little about what the same model left unflagged, and must do no harm
            assert np.std([one.value for one in helped]) < 1.05 * values.std()


def test_the_audit_is_unbiased_and_its_interval_holds_exactly(flagged_digits):
    """Over every number of errors that m reviews can find, weighted by its probability, so no simulation is needed."""
    for wrong, flag, _ in flagged_digits.values():
        sizes = np.array([flag.sum(), (~flag).sum()], float)
        missed, caught = (wrong & ~flag).sum(), float((wrong & flag).sum())
        for m in (50, 100, 200):
            chances = hypergeom(int(sizes[1]), missed, m).pmf(np.arange(m + 1))
            seen = [Strata(sizes, np.array([sizes[0], m]), np.array([caught, float(k)])) for k in range(m + 1)]
            rates = [stratified_rate(strata) for strata in seen]
            assert chances @ [one.value for one in rates] == pytest.approx(wrong.mean(), abs=1e-9)
            assert chances @ [one.low <= wrong.mean() <= one.high for one in rates] >= 0.93


def test_some_unflagged_reviews_take_the_bias_away(flagged_digits):
    check_audits(flagged_digits, 200)


@pytest.mark.slow
def test_some_unflagged_reviews_take_the_bias_away_at_length(flagged_digits):
    check_audits(flagged_digits, 2000)


def test_the_rate_weighs_strata_by_their_pictures_not_by_their_answers():
    strata = Strata(np.array([900.0, 100.0]), np.array([50.0, 50.0]), np.array([5.0, 40.0]))
    assert stratified_rate(strata).value == pytest.approx(0.9 * 0.1 + 0.1 * 0.8)
    assert stratified_rate(strata[UNFLAGGED], whole=1000).value == pytest.approx(0.08)


def test_agresti_coull():
    low, high = agresti_coull([0, 5, 10], [10, 10, 10])
    np.testing.assert_allclose(low, [0, 0.2366, 0.6791], atol=1e-4)
    np.testing.assert_allclose(high, [0.3209, 0.7634, 1], atol=1e-4)
    assert [float(end) for end in agresti_coull(3, 10, 10)] == [0.3, 0.3]
    assert [float(end) for end in agresti_coull(0, 0, 10)] == [0, 1]
    widths = [high - low for low, high in (agresti_coull(3, 10, size) for size in (11, 20, 100, np.inf))]
    assert sorted(widths) == widths


def test_no_error_found_is_not_no_error():
    strata = Strata(np.array([1000.0]), np.array([60.0]), np.array([0.0]))
    rate = stratified_rate(strata)
    assert rate.value == rate.low == 0
    assert 0.04 < rate.high < 0.08


def test_shares_of_nothing_and_of_everything():
    def part(*counts):
        return Strata(*(np.array([float(count)]) for count in counts))

    nothing, some = part(100, 100, 0), part(100, 20, 5)
    assert share_of(nothing, some).high == 0
    assert share_of(some, nothing).low == 1
    assert np.isnan(share_of(nothing, nothing).value)
    assert np.isnan(share_of(part(100, 0, 0), some).value)
    unsure = share_of(part(100, 20, 0), part(100, 20, 0))
    assert np.isnan(unsure.value)
    none_seen = share_of(some, part(100, 20, 0))
    assert none_seen.value == none_seen.high == 1
    assert 0.3 < none_seen.low < 0.8


@pytest.mark.parametrize(("missed", "m"), [(0.01, 60), (0.05, 30), (0.3, 15)])
def test_recall_intervals_hold_for_small_samples(missed, m):
    rng, held, wrong = np.random.default_rng(0), [], round(missed * 800)
    for _ in range(1000):
        flagged, rest = rng.hypergeometric(140, 60, 40), rng.hypergeometric(wrong, 800 - wrong, m)
        strata = Strata(np.array([200.0, 800.0]), np.array([40.0, m]), np.array([float(flagged), float(rest)]))
        held.append(share_of(strata[FLAGGED], strata[UNFLAGGED]))
    assert coverage(held, 140 / (140 + wrong)) >= 0.93


def test_good_guesses_narrow_the_interval_and_do_not_bias():
    rng = np.random.default_rng(0)
    guess = rng.random(3000) ** 3
    wrong = rng.random(3000) < guess
    sizes, means = np.array([3000]), np.array([guess.mean()])
    plain, helped = [], []
    for _ in range(300):
        rows = rng.choice(3000, 100, replace=False)
        plain.append(stratified_rate(Strata.of(wrong[rows].astype(float), np.zeros(100, int), sizes)))
        helped.append(difference_estimate(wrong[rows], np.zeros(100, int), guess[rows], sizes, means))
    values = np.array([one.value for one in helped])
    assert abs(values.mean() - wrong.mean()) < 3 * values.std() / np.sqrt(300)
    assert values.std() < 0.8 * np.std([one.value for one in plain])
    assert np.mean([one.high - one.low for one in helped]) < 0.85 * np.mean([one.high - one.low for one in plain])
    assert coverage(helped, wrong.mean()) >= 0.93


def test_a_stratum_without_answers_gives_no_figure():
    strata = Strata(np.array([10.0, 10.0]), np.array([5.0, 0.0]), np.array([1.0, 0.0]))
    assert np.isnan(stratified_rate(strata).value)
    assert np.isnan(difference_estimate(np.ones(5), np.zeros(5, int), np.ones(5), np.array([10, 10]), np.ones(2)).value)
    assert np.isnan(stratified_rate(Strata.of(np.zeros(0), np.zeros(0, int), [])).value)


def test_allocation():
    assert allocate(np.array([900, 100]), 100).tolist() == [90, 10]
    assert allocate(np.array([500, 500]), 100, np.array([0.1, 0.4])).tolist() == [20, 80]
    assert allocate(np.array([900, 90, 10]), 100, least=np.array([2, 30, 30])).tolist() == [60, 30, 10]
    assert allocate(np.array([5, 1000]), 100, np.array([0.5, 0.001])).tolist() == [5, 95]
    assert allocate(np.array([40, 40]), 10, least=30).tolist() == [30, 30]
    assert allocate(np.array([3, 4]), 100).tolist() == [3, 4]
    assert allocate(np.array([50, 50]), 10, np.array([0.0, 0.0])).tolist() == [5, 5]
    assert allocate(np.array([50, 50]), 60, np.array([0.0, 0.3])).tolist() == [10, 50]
    assert allocate(np.zeros(0, int), 10).tolist() == []


def test_allocation_always_adds_up():
    rng = np.random.default_rng(0)
    for _ in range(300):
        sizes = rng.integers(0, 200, rng.integers(1, 12))
        total, least = int(rng.integers(1, 400)), rng.integers(0, 40, len(sizes))
        drawn = allocate(sizes, total, rng.random(len(sizes)) * (rng.random(len(sizes)) > 0.2), least)
        minimum = np.minimum(sizes, least)
        assert drawn.sum() == min(max(total, minimum.sum()), sizes.sum())
        assert (drawn >= minimum).all()
        assert (drawn <= sizes).all()
