import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from variorum.kit.resampling.separation import Draws, Separation
from variorum.kit.resampling.thresholds import allowed


def separation(marked, unmarked):
    marked, unmarked = np.asarray(marked, float), np.asarray(unmarked, float)
    return Separation(marked, unmarked, np.arange(len(marked)), np.arange(len(unmarked)))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_the_auroc_is_that_of_scikit_learn(marked, unmarked):
    truth = [1] * len(marked) + [0] * len(unmarked)
    assert separation(marked, unmarked).auroc() == pytest.approx(roc_auc_score(truth, marked + unmarked))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_the_average_precision_is_that_of_scikit_learn(marked, unmarked):
    truth = [1] * len(marked) + [0] * len(unmarked)
    found = separation(marked, unmarked).average_precision()
    assert found == pytest.approx(average_precision_score(truth, marked + unmarked))


@given(st.integers(0, 20), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_tpr_is_the_highest_that_keeps_the_rate_on_new_pictures(seed, rate):
    rng = np.random.default_rng(seed)
    marked, unmarked = rng.integers(0, 40, 150) + 6, rng.integers(0, 40, 200)
    fpr, tpr, _ = roc_curve([1] * 150 + [0] * 200, [*marked, *unmarked], drop_intermediate=False)
    assert separation(marked, unmarked).tpr(rate) == pytest.approx(tpr[fpr <= allowed(200, rate) / 200 + 1e-9].max())


def test_what_a_resample_gives_is_what_its_photographs_give():
    rng = np.random.default_rng(0)
    marked, unmarked = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 40).round(1)
    one = separation(marked, unmarked)
    draws = Draws(40, 200, 0.95, seed=3)
    samples = [
        roc_auc_score([1] * 40 + [0] * 40, [*np.repeat(marked, weights), *np.repeat(unmarked, weights)])
        for part in draws.weights()
        for weights in part
    ]
    found = one.resampled_auroc(draws)
    assert found["low"] == pytest.approx(np.quantile(samples, 0.025), abs=1e-4)
    assert found["high"] == pytest.approx(np.quantile(samples, 0.975), abs=1e-4)
    assert found["low"] < found["value"] < found["high"]
    assert found == one.resampled_auroc(Draws(40, 200, 0.95, seed=3))


def test_several_pictures_of_a_photograph_are_drawn_together():
    marked, unmarked = np.repeat([3.0, 1.0], 50), np.repeat([2.0, 0.0], 50)
    photographs = np.repeat([0, 1], 50)
    together = Separation(marked, unmarked, photographs, photographs).resampled_auroc(Draws(2, 400, 0.95, 0))
    apart = Separation(marked, unmarked, np.arange(100), np.arange(100)).resampled_auroc(Draws(100, 400, 0.95, 0))
    assert together["value"] == apart["value"] == 0.75
    assert together["high"] - together["low"] > apart["high"] - apart["low"]


def test_the_trade_off_goes_from_strict_to_lenient():
    points = separation([3, 3, 1], [2, 0, 0]).tradeoff()
    assert points[0] == [0, 1]
    assert points[-1] == [1, 0]
    assert [0, 0.3333] in points  # above 2, two of three are found and nothing else
    assert [0.3333, 0.3333] in points
    assert points == sorted(points, key=lambda point: (point[0], -point[1]))
    many = separation(np.linspace(0, 1, 500), np.linspace(-1, 0.5, 500)).tradeoff()
    assert len(many) <= 41


def test_photographs_told_apart_without_a_mistake_are_no_certainty():
    for n, low in ((20, 0.8316), (60, 0.9404)):
        photographs = np.arange(n)
        found = Separation(photographs + 100.0, photographs * 1.0, photographs, photographs)
        assert found.resampled_auroc(Draws(n, 200, 0.95, 1)) == {"value": 1, "low": low, "high": 1}
