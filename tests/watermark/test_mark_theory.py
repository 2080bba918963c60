import math

import numpy as np
import pytest

from variorum.evaluation.watermark.bound import VACUOUS, distance_of, least_errors, linear_schedule
from variorum.evaluation.watermark.identification import by_bits, by_p_values
from variorum.evaluation.watermark.trading import quality_at, ranked


@pytest.mark.parametrize(("psnr", "distance"), [(38, 11), (44, 5.6), (30, 28)])
def test_the_paired_distance_of_a_mark(psnr, distance):
    assert distance_of(psnr, 3 * 256 * 256) == pytest.approx(distance, rel=0.02)


@pytest.mark.parametrize(
    ("step", "distance", "variation"), [(200, 2, 0.84), (200, 5, 0.999), (300, 2, 0.58), (300, 5, 0.96)]
)
def test_the_bound_at_steps_of_a_linear_schedule(step, distance, variation):
    alpha, sigma = linear_schedule(step)
    assert 1 - least_errors(distance, alpha, sigma) == pytest.approx(variation, abs=0.006)


def test_the_bound_says_nothing_of_a_mark_at_38_db():
    for step in (30, 120, 250, 300):
        assert least_errors(distance_of(38, 3 * 256 * 256), *linear_schedule(step)) < VACUOUS


def test_the_bound_is_that_of_the_best_detector():
    """Between two Gaussians the best threshold lies in the middle."""
    rng, distance, alpha, sigma = np.random.default_rng(0), 1.5, 0.8, 0.6
    marked, unmarked = rng.normal(alpha * distance, sigma, 400_000), rng.normal(0, sigma, 400_000)
    middle = alpha * distance / 2
    errors = (marked <= middle).mean() + (unmarked > middle).mean()
    assert errors == pytest.approx(least_errors(distance, alpha, sigma), abs=0.004)


def test_the_schedule():
    alpha, sigma = linear_schedule(1000)
    assert alpha == pytest.approx(math.sqrt(4.036e-5), rel=1e-3)
    assert alpha**2 + sigma**2 == pytest.approx(1)
    assert linear_schedule(0) == (1.0, 0.0)
    assert least_errors(2.0, *linear_schedule(0)) == 0
    with pytest.raises(ValueError, match="step 1001"):
        linear_schedule(1001)


@pytest.mark.parametrize(("right", "users"), [(20, 10), (22, 100), (24, 100), (16, 3)])
def test_identification_is_what_a_simulation_gives(right, users):
    rng = np.random.default_rng(1)
    others = rng.binomial(32, 0.5, (20_000, users - 1))
    best, ties = others.max(axis=1), (others == right).sum(axis=1)
    chance = np.where(best > right, 0, 1 / (1 + ties)).mean()  # one of the equally good is picked
    assert by_bits(np.array([right]), 32, users)[0] == pytest.approx(chance, abs=0.012)


def test_identification_at_the_ends():
    assert by_bits(np.array([32, 100]), 100, 1)[1] == pytest.approx(1)
    assert by_bits(np.array([64]), 64, 10**6)[0] == pytest.approx(1, abs=1e-9)
    assert by_bits(np.array([0]), 8, 100)[0] < 1e-100 or by_bits(np.array([0]), 8, 100)[0] == pytest.approx(0)
    found = by_bits(np.arange(33), 32, 1000)
    assert (np.diff(found) >= 0).all()
    assert np.isfinite(found).all()


def test_without_bits_it_follows_from_p_values():
    assert by_p_values(np.array([1e-9, 0.5, 1.0]), 1000) == pytest.approx([1 - 999e-9, 0, 0], abs=1e-8)
    rng = np.random.default_rng(2)
    best = rng.random((200_000, 9)).min(axis=1)  # p-values of the nine other keys
    assert by_p_values(np.array([0.05]), 10)[0] == pytest.approx((best > 0.05).mean(), abs=0.004)


def test_quality_at_a_level_lies_between_two_strengths():
    curve = [(0.1, 1.0), (0.3, 0.9), (0.5, 0.5)]
    assert quality_at(curve, 0.95, 1.0) == {"value": 0.2, "how": "between"}
    assert quality_at(curve, 0.7, 1.0) == {"value": 0.4, "how": "between"}
    assert quality_at(curve, 0.95, 0.5) == {"value": None, "how": "never"}
    assert quality_at([(0.3, 0.2)], 0.7, 1.0) == {"value": 0.3, "how": "at most"}
    assert quality_at([], 0.7, 1.0)["how"] == "never"


def test_the_cheapest_attack_comes_first_and_a_harmless_one_last():
    def of(q95, q70, mean):
        return {"q_at_95": {"value": q95}, "q_at_70": {"value": q70}, "mean_p": mean}

    attacks = {
        "none": of(None, None, 1.0),
        "slow": of(0.4, 0.5, 0.8),
        "fast": of(0.1, 0.9, 0.9),
        "mild": of(None, None, 0.97),
    }
    assert ranked(attacks) == ["fast", "slow", "mild", "none"]
