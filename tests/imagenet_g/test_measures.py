"""Distances, balls and diversity, compared with closed forms, plain loops and the results of other libraries."""

import math

import numpy as np
import pytest

from variorum.evaluation.imagenet_g.diversity import spread, vendi_score
from variorum.evaluation.imagenet_g.frechet import frechet_distance, too_few
from variorum.evaluation.imagenet_g.kernel import kernel_distance
from variorum.evaluation.imagenet_g.manifold import manifold, radii


def gaussians():
    rng = np.random.default_rng(7)
    return rng.normal(0, 1, (300, 8)), rng.normal(0.3, 1.2, (250, 8))


def one_class(n):
    return np.zeros(n, np.int64)


def kid(a, b, halves=0):
    return kernel_distance(a, one_class(len(a)), b, one_class(len(b)), np.random.default_rng(0), halves)


# ── Fréchet ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_frechet_as_another_library_has_it():
    assert frechet_distance(*gaussians()) == pytest.approx(1.461321666987775, abs=1e-9)  # torch-fidelity 0.4.0


def test_frechet_of_gaussians_is_the_closed_form():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, (200_000, 3))
    b = rng.normal([1, 2, 0], [2, 1, 0.5], (200_000, 3))
    assert frechet_distance(a, b) == pytest.approx(5 + 1 + 0 + 0.25, rel=0.01)  # |μ|² + Σ (σa - σb)²


def test_frechet_of_a_set_and_itself_is_0_and_of_a_moved_one_the_squared_move():
    a = gaussians()[0]
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(8 * 9)


def test_frechet_with_singular_covariances_is_a_number():
    rng = np.random.default_rng(1)
    few, others = rng.normal(size=(5, 40)), rng.normal(size=(7, 40))
    assert 0 < frechet_distance(few, others) < 200
    assert frechet_distance(np.ones((4, 3)), np.zeros((4, 3))) == pytest.approx(3)
    assert math.isnan(frechet_distance(few[:1], others))


def test_frechet_is_too_high_in_small_sets_and_says_so():
    rng = np.random.default_rng(2)
    small = [frechet_distance(rng.normal(size=(60, 16)), rng.normal(size=(60, 16))) for _ in range(5)]
    large = [frechet_distance(rng.normal(size=(2000, 16)), rng.normal(size=(2000, 16))) for _ in range(5)]
    assert min(small) > 5 * max(large)
    assert "fewer than 10000" in too_few(2000, 16)
    assert "singular" in too_few(2000, 2048)
    assert "singular" in too_few(12_000, 12_000)
    assert too_few(10_000, 2048) == ""


# ── kernel ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_kernel_distance_of_one_class_is_the_published_estimator():
    a, b = (x[:40] for x in gaussians())

    def k(x, y):
        return (x @ y / 8 + 1) ** 3

    within = [np.mean([k(x[i], x[j]) for i in range(40) for j in range(40) if i != j]) for x in (a, b)]
    between = np.mean([k(x, y) for x in a for y in b])
    assert kid(a, b)[0] == pytest.approx(sum(within) - 2 * between)


def test_kernel_distance_class_by_class_by_hand():
    rng = np.random.default_rng(3)
    a, b, of_a, of_b = rng.normal(size=(5, 4)), rng.normal(size=(7, 4)), [0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 0, 0]
    share = {0: 0.6, 1: 0.4}

    def between(x, of_x, y, of_y, same):
        total = 0.0
        for p in share:
            for q in share:
                values = [
                    (x[i] @ y[j] / 4 + 1) ** 3
                    for i in range(len(x))
                    for j in range(len(y))
                    if of_x[i] == p and of_y[j] == q and not (same and i == j)
                ]
                total += share[p] * share[q] * np.mean(values)
        return total

    expected = between(a, of_a, a, of_a, True) + between(b, of_b, b, of_b, True) - 2 * between(a, of_a, b, of_b, False)
    found = kernel_distance(a, np.array(of_a), b, np.array(of_b), np.random.default_rng(0))
    assert found[0] == pytest.approx(expected)
    assert math.isnan(found[1])  # no halves of a class of two


def balanced(rng, n, centres):
    y = np.repeat(np.arange(len(centres)), n)
    return centres[y] + rng.normal(size=(len(y), centres.shape[1])), y


def test_kernel_distance_is_unbiased_where_classes_are_balanced_and_its_error_is_fair():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 2, (10, 16))
    found, errors, plain = [], [], []
    for _ in range(40):
        (a, of_a), (b, of_b) = balanced(rng, 10, centres), balanced(rng, 30, centres)
        value, error = kernel_distance(a, of_a, b, of_b, rng, 20)
        found.append(value)
        errors.append(error)
        plain.append(kid(a, b)[0])
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(40)
    assert np.mean(plain) < -10 * np.std(plain) / np.sqrt(40)  # why it is computed class by class
    assert 0.7 < np.mean(errors) / np.std(found) < 3


def test_kernel_distance_sees_a_shift_far_beyond_its_error():
    rng = np.random.default_rng(1)
    (a, of_a), (b, of_b) = balanced(rng, 40, np.eye(4, 8) * 3), balanced(rng, 40, np.eye(4, 8) * 3)
    alike, error = kernel_distance(a, of_a, b, of_b, rng)
    moved, moved_error = kernel_distance(a + 0.5, of_a, b, of_b, rng)
    assert abs(alike) < 4 * error
    assert moved > 4 * moved_error


def test_kernel_distance_of_next_to_nothing():
    one, some = np.ones((1, 3)), gaussians()[0][:10, :3]
    assert all(map(math.isnan, kid(one, some)))
    value, error = kernel_distance(some, np.arange(10), some + 1, np.arange(10), np.random.default_rng(0))
    assert value == pytest.approx(kid(some, some + 1)[0])  # one picture per class: all count as one class
    assert error > 0


# ── balls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_balls_as_another_library_has_them():
    found = manifold(*gaussians(), k=5)  # prdc 0.2
    assert found == pytest.approx((0.756, 0.9666666666666667, 0.5896, 0.7533333333333333))


def test_balls_by_hand():
    real, generated = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [9.0], [9.5]])
    assert radii(real, 1) == pytest.approx([1, 1, 4])
    # balls: real [-1, 1], [0, 2], [1, 5]; generated [-8, 9], [8.5, 9.5], [9, 10]
    assert manifold(real, generated, k=1) == pytest.approx((1 / 3, 1, 2 / 3, 2 / 3))


def test_a_set_and_itself_cover_each_other():
    a = gaussians()[0]
    found = manifold(a, a.copy(), k=5)
    assert found[:2] == (1, 1)
    assert found.coverage == 1
    assert found.density == pytest.approx(1, abs=0.3)


def test_collapse_costs_recall_and_invention_precision():
    rng = np.random.default_rng(4)
    centres = np.eye(6) * 8
    real = balanced(rng, 60, centres)[0]
    collapsed, invented = balanced(rng, 180, centres[:2])[0], balanced(rng, 60, -centres)[0]
    fair = manifold(real, balanced(rng, 60, centres)[0])
    assert manifold(real, collapsed).precision > 0.6
    assert manifold(real, collapsed).recall < 0.5 * fair.recall
    assert manifold(real, collapsed).coverage < 0.5 * fair.coverage
    assert manifold(real, invented).precision < 0.05
    assert manifold(real, invented).density < 0.05


def test_one_far_real_picture_upsets_precision_but_not_density():
    rng = np.random.default_rng(5)
    real, generated = rng.normal(size=(200, 4)), rng.normal(6, 1, (200, 4))
    with_outlier = np.vstack([real, [[14.0] * 4]])  # its ball reaches back over the generated ones
    assert manifold(real, generated).precision < 0.05
    assert manifold(with_outlier, generated).precision > 0.9
    assert manifold(with_outlier, generated).density < 0.3


def test_blocks_change_nothing(monkeypatch):
    whole = manifold(*gaussians()), kid(*gaussians())
    monkeypatch.setattr("variorum.evaluation.imagenet_g.manifold.BLOCK", 37)
    monkeypatch.setattr("variorum.evaluation.imagenet_g.kernel.BLOCK", 37)
    assert manifold(*gaussians()) == whole[0]
    assert kid(*gaussians())[0] == pytest.approx(whole[1][0])


def test_balls_need_more_than_k():
    assert all(map(math.isnan, manifold(np.eye(5), np.eye(9, 5), k=5)))


# ── diversity ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_vendi_as_another_library_has_it():
    a, b = gaussians()
    assert vendi_score(a) == pytest.approx(7.904723018, abs=1e-6)  # vendi-score 0.0.3
    assert vendi_score(b[:5]) == pytest.approx(3.889328228, abs=1e-6)


def test_vendi_counts_what_is_wholly_different():
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.repeat(np.eye(3), 10, axis=0)) == pytest.approx(3)
    assert vendi_score(np.ones((9, 4))) == pytest.approx(1)
    assert vendi_score(5 * np.eye(2)) == pytest.approx(vendi_score(np.eye(2)))


def test_collapse_costs_diversity():
    rng = np.random.default_rng(6)
    full, collapsed = balanced(rng, 30, np.eye(6) * 8)[0], balanced(rng, 180, np.eye(6)[:1] * 8)[0]
    assert vendi_score(collapsed) < 0.5 * vendi_score(full)
    assert spread(collapsed) < 0.5 * spread(full)


def test_spread_is_the_mean_of_all_pairs():
    a = gaussians()[0][:30]
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    pairs = [1 - unit[i] @ unit[j] for i in range(30) for j in range(30) if i != j]
    assert spread(a) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_pictures_without_a_direction_are_left_out():
    assert vendi_score(np.vstack([np.eye(4), np.zeros((3, 4))])) == pytest.approx(4)
    assert math.isnan(vendi_score(np.zeros((3, 4))))
    assert math.isnan(vendi_score(np.zeros((0, 4))))
    assert math.isnan(spread(np.ones((1, 4))))
