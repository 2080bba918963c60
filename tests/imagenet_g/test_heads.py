"""What heads learn from which pictures, and effective robustness."""

import math

import numpy as np
import pytest

from variorum.evaluation.imagenet_g.robustness import above_line, effective_robustness, logit
from variorum.kit.sets.accuracy_score import difference, rights, share
from variorum.kit.sets.pictures import Pictures, matched, part_of, ranks


def pictures(x, y, seed=0):
    return Pictures(np.asarray(x, np.float32), y, ranks(y, np.random.default_rng(seed)), np.full(len(y), np.nan))


def clusters(n, rng, noise=0.4, classes=4):
    y = np.arange(n) % classes
    return pictures(np.eye(classes, 8)[y] + rng.normal(0, noise, (n, 8)), y)


# ── draws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_draws_are_nested_and_random_within_each_class():
    y = np.array([0, 1, 0, 0, 1, 2, 0])
    rank = ranks(y, np.random.default_rng(0))
    for k in range(3):
        assert sorted(rank[y == k]) == list(range((y == k).sum()))
    assert not np.array_equal(rank, ranks(y, np.random.default_rng(1)))
    some = pictures(np.arange(7.0)[:, None], y)
    two, three = some.first(np.array([2, 1, 9])), some.first(np.array([3, 2, 9]))
    assert set(two.x[:, 0]) < set(three.x[:, 0])
    assert two.counts(3).tolist() == [2, 1, 1]


def test_matched_numbers_keep_the_balance():
    assert matched(np.array([10, 20, 0]), np.array([100, 100, 100])).tolist() == [50, 100, 0]
    assert matched(np.array([3, 7]), np.array([100, 100]), most=10).tolist() == [3, 7]
    assert matched(np.array([1, 99]), np.array([50, 50]), most=20).tolist() == [1, 19]
    assert matched(np.array([5, 5]), np.array([0, 8])).tolist() == [0, 8]
    assert matched(np.array([5, 5]), np.array([0, 0])).tolist() == [0, 0]
    assert part_of(np.array([8, 1, 0]), 0.25).tolist() == [2, 1, 0]


# ── heads ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_head_learns_from_pictures_like_the_test_set_and_not_from_others():
    rng = np.random.default_rng(0)
    train, test = clusters(200, rng), clusters(400, rng)
    wrong = pictures(train.x, (train.y + 1) % 4)
    noise = pictures(rng.normal(size=(200, 8)), np.arange(200) % 4)
    good, bad, random = (float(rights([part], [test])[0].mean()) for part in (train, wrong, noise))
    assert good > 0.85
    assert bad < 0.1
    assert random < 0.6
    assert float(rights([train, wrong], [test])[0].mean()) < good


def test_more_pictures_teach_more():
    rng = np.random.default_rng(1)
    train, test = clusters(800, rng, noise=0.8), clusters(2000, rng, noise=0.8)
    accuracies = [float(rights([train.first(np.full(4, n))], [test])[0].mean()) for n in (2, 20, 200)]
    assert accuracies == sorted(accuracies)
    assert accuracies[2] > accuracies[0] + 0.1


def test_a_head_of_one_class_says_that_class():
    one, test = pictures(np.ones((3, 2)), np.ones(3, int)), pictures(np.eye(2), np.arange(2))
    assert rights([one], [test])[0].tolist() == [False, True]


def test_heads_with_two_classes_pictures_without_direction_and_empty_test_sets():
    rng = np.random.default_rng(2)
    train = clusters(40, rng, classes=2)
    blank = pictures(np.zeros((5, 8)), np.zeros(5, int))
    told = rights([train], [clusters(40, rng, classes=2), blank, blank.where(np.zeros(5, bool))])
    assert told[0].mean() > 0.8
    assert len(set(told[1])) == 1
    assert len(told[2]) == 0


def test_wilson_interval():
    found = share(np.array([1] * 8 + [0] * 2), 0.95)  # Brown, Cai & DasGupta 2001: 8 of 10
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert share(np.ones(5), 0.95)["high"] == pytest.approx(1)
    assert math.isnan(share(np.ones(0), 0.95)["value"])


def test_the_difference_is_paired():
    rng = np.random.default_rng(3)
    right = rng.random(500) < 0.8
    other = right.copy()
    other[:10] = ~other[:10]
    found = difference(right, other, 0.95)
    assert found["value"] == pytest.approx(right.mean() - other.mean())
    assert found["high"] - found["low"] < 0.03  # 0.1 if it were unpaired


# ── robustness ───────────────────────────────────────────────────────────────────────────────────────────────────────


def expit(x):
    return 1 / (1 + np.exp(-x))


def test_effective_robustness_is_the_distance_above_the_line():
    plain = expit(np.array([[-1.0], [0.0], [1.0], [2.0]]))
    shifted = expit(0.8 * np.array([[-1.0], [0.0], [1.0], [2.0]]) - 0.5)
    assert above_line(plain, shifted, 10_000, 10_000) == pytest.approx(0, abs=1e-9)
    shifted[-1] += 0.07
    assert above_line(plain, shifted, 10_000, 10_000) == pytest.approx(0.07)


def test_perfect_and_hopeless_models_have_finite_logits():
    assert np.isfinite(logit(np.array([0.0, 1.0]), 100)).all()
    assert logit(np.array([0.5]), 100) == pytest.approx(0)
    # half a picture of 100 away: log odds of 0.995
    assert logit(np.array([0.0, 1.0]), 100) == pytest.approx([-5.2933, 5.2933], abs=1e-4)


def test_a_perfect_model_is_as_robust_as_the_half_picture_allows():
    plain = np.append(expit(np.array([0.0, 1.0, 2.0])), 1.0)[:, None]
    shifted = np.append(expit(np.array([-1.0, 0.0, 1.0])), 0.98)[:, None]
    expected = expit(np.log(0.995 / 0.005) - 1)  # the line is one logit below
    assert above_line(plain, shifted, 100, 1000) == pytest.approx(0.98 - expected, abs=1e-9)
    sure = above_line(plain, np.append(shifted[:3], 1.0)[:, None], 100, 50)
    assert sure == pytest.approx(1 - expected, abs=1e-9)  # its own accuracy, not the clipped one


def outcomes(accuracies, n, rng):
    return rng.random(n) < np.asarray(accuracies)[:, None]


def test_the_interval_covers_no_robustness_and_leaves_out_a_large_one():
    rng = np.random.default_rng(4)
    levels = np.array([-0.5, 0.2, 0.8, 1.3, 1.8])
    baseline = outcomes(expit(levels), 2000, rng), outcomes(expit(levels - 1), 1500, rng)
    settings = {"confidence": 0.95, "draws": 200}
    ordinary = outcomes([expit(1.5)], 2000, rng)[0], outcomes([expit(0.5)], 1500, rng)[0]
    robust = ordinary[0], outcomes([0.75], 1500, rng)[0]
    none = effective_robustness(baseline, ordinary, **settings, rng=np.random.default_rng(0))
    much = effective_robustness(baseline, robust, **settings, rng=np.random.default_rng(0))
    assert none["low"] < 0 < none["high"]
    assert much["value"] == pytest.approx(0.75 - expit(0.5), abs=0.05)
    assert much["low"] > 0.05
    assert none == effective_robustness(baseline, ordinary, **settings, rng=np.random.default_rng(0))
