"""What heads and networks learn from which pictures, and effective robustness."""

import math
from dataclasses import replace

import numpy as np
import pytest

from variorum.evaluation.imagenet_g.robustness import Accuracies, effective_robustness, logit
from variorum.kit.sets.accuracy_score import difference, heads, share
from variorum.kit.sets.network_score import network_rights
from variorum.kit.sets.pictures import Pictures, matched, part_of, ranks
from variorum.kit.sets.scaling import has_floor, pictures_for, power_law, straightness, with_floor


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
    good, bad, random = (float(heads([part], [test])[0].right.mean()) for part in (train, wrong, noise))
    assert good > 0.85
    assert bad < 0.1
    assert random < 0.6
    assert float(heads([train, wrong], [test])[0].right.mean()) < good


def test_more_pictures_teach_more():
    rng = np.random.default_rng(1)
    train, test = clusters(800, rng, noise=0.8), clusters(2000, rng, noise=0.8)
    accuracies = [float(heads([train.first(np.full(4, n))], [test])[0].right.mean()) for n in (2, 20, 200)]
    assert accuracies == sorted(accuracies)
    assert accuracies[2] > accuracies[0] + 0.1


def test_a_head_of_one_class_says_that_class():
    one, test = pictures(np.ones((3, 2)), np.ones(3, int)), pictures(np.eye(2), np.arange(2))
    assert heads([one], [test])[0].right.tolist() == [False, True]


def test_heads_with_two_classes_pictures_without_direction_and_empty_test_sets():
    rng = np.random.default_rng(2)
    train = clusters(40, rng, classes=2)
    blank = pictures(np.zeros((5, 8)), np.zeros(5, int))
    told = heads([train], [clusters(40, rng, classes=2), blank, blank.where(np.zeros(5, bool))])
    assert told[0].right.mean() > 0.8
    assert len(set(told[1].right)) == 1
    assert len(told[2].right) == len(told[2].loss) == 0


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
    alike = difference(right[:20], right[:20], 0.95)
    assert alike["low"] < -0.1 < alike["value"] == 0 < 0.1 < alike["high"]


# ── networks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def stripes(n, seed, turned=0):
    """Grey pictures of two classes, bright left halves and bright upper halves, in noise."""
    rng, y = np.random.default_rng(seed), np.arange(n) % 2
    grey = rng.integers(0, 120, (n, 28, 28))
    grey[y == turned, :, :14] += 90
    grey[y != turned, :14] += 90
    return replace(pictures(np.zeros((n, 2)), y), grey=grey.reshape(n, -1).astype(np.uint8))


def test_a_network_learns_from_pixels_what_a_set_shows():
    train, test = stripes(40, 0), stripes(60, 1)
    told = network_rights([train], [test, stripes(60, 2, turned=1), test.where(np.zeros(60, bool))], 2, 30, 5)
    assert told[0].mean() > 0.9
    assert told[1].mean() < 0.1
    assert len(told[2]) == 0
    again = network_rights([train], [test], 2, 30, 5)
    assert np.array_equal(again[0], told[0])
    assert network_rights([train.where(train.y == 1)], [test], 2, 30, 5)[0].mean() == 0.5


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_power_law_is_found_and_its_floor_only_where_there_is_one():
    n = np.array([50, 100, 200, 400, 800, 1600])
    for floor in (0.0, 0.05):
        loss = (3 * n**-0.4 + floor)[None]
        plain, floored = power_law(n, loss), with_floor(n, loss)
        chosen = floored if floor else plain
        assert has_floor(plain, floored, len(n)) == bool(floor)
        assert (chosen.k[0], chosen.a[0], floored.floor[0]) == pytest.approx((0.4, 3, floor), abs=0.005)
        assert straightness(chosen, loss) == pytest.approx(1, abs=1e-6)
        assert pictures_for(chosen, loss[:, 2]) == pytest.approx(200, rel=0.01)
    assert not has_floor(plain, floored, 4)
    assert np.isinf(pictures_for(floored, np.array([0.01])))


def test_a_flat_error_is_no_law():
    law = power_law(np.array([10, 20, 40, 80]), np.full((1, 4), 0.3))
    assert law.k[0] == pytest.approx(0, abs=1e-12)
    assert np.isinf(pictures_for(law, np.array([0.2])))


# ── robustness ───────────────────────────────────────────────────────────────────────────────────────────────────────


def expit(x):
    return 1 / (1 + np.exp(-x))


def test_perfect_and_hopeless_models_have_finite_logits():
    assert np.isfinite(logit(np.array([0.0, 1.0]), 100)).all()
    assert logit(np.array([0.5]), 100) == pytest.approx([0])
    # half a picture of 100 away: log odds of 0.995
    assert logit(np.array([0.0, 1.0]), 100) == pytest.approx([-5.2933, 5.2933], abs=1e-4)


LEVELS = np.array([-0.5, 0.0, 0.5, 1.0, 1.5])


def exact(plain, shifted):
    """A model's accuracies, the same in three resamples."""
    return Accuracies(np.full(4, plain), np.full(4, shifted))


def test_effective_robustness_is_the_distance_above_the_line():
    ordinary = [exact(expit(x), expit(0.8 * x - 0.5)) for x in LEVELS]
    settings = {"pictures": (10_000, 10_000), "confidence": 0.95}
    for gain in (0, 0.07):
        model = exact(expit(1.2), expit(0.8 * 1.2 - 0.5) + gain)
        found = effective_robustness(ordinary, model, **settings, rng=np.random.default_rng(0))
        assert list(found.values()) == pytest.approx([gain] * 3, abs=1e-6)
    beyond = effective_robustness(ordinary, exact(expit(3), 0.9), **settings, rng=np.random.default_rng(0))
    assert all(math.isnan(value) for value in beyond.values())


def test_an_ordinary_model_lies_on_the_line_and_a_robust_one_above_it():
    """Models that scatter about their line: 0 is in the interval of nearly all others like them."""
    rng = np.random.default_rng(4)
    n, m, draws = 1000, 800, 200
    weights = [np.vstack([np.ones(k), rng.multinomial(k, np.full(k, 1 / k), draws)]) / k for k in (n, m)]

    def accuracies(level, gain=0.0):
        """Of a model whose shifted logit is a tenth off by chance."""
        plain, shifted = rng.random(n) < expit(level), rng.random(m) < expit(level - 1 + rng.normal(0, 0.1)) + gain
        return Accuracies(weights[0] @ plain, weights[1] @ shifted)

    ordinary, inside, above = [accuracies(x) for x in [*LEVELS, 0.2, 0.8, 1.2]], [], []
    for _ in range(40):
        for gain, found in ((0.0, inside), (0.25, above)):
            figure = effective_robustness(
                ordinary, accuracies(0.7, gain), (n, m), confidence=0.95, rng=np.random.default_rng(0)
            )
            found.append(figure["low"] <= 0 <= figure["high"])
    assert np.mean(inside) >= 0.9
    assert np.mean(above) <= 0.1
