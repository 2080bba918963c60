"""Mixtures over viewpoints, and the steps of the search."""

import numpy as np
import pytest

from variorum.generators.viewpoint.mixture import EDGE, RARELY, Mixture, begun, drawn, moved


def two():
    means = np.zeros((2, 6))
    means[:, 0], means[:, 1] = (-1, 1), (1, -1)
    return Mixture(np.array([0.25, 0.75]), means, np.full((2, 6), 0.1))


def test_a_component_is_drawn_for_the_whole_viewpoint():
    u, component = drawn(two(), 400, np.random.default_rng(0))
    assert np.bincount(component).tolist() == [100, 300]
    assert (np.sign(u[:, 0]) == np.where(component == 0, -1, 1)).all()
    assert (u[:, 0] * u[:, 1] < 0).all()


def test_pairs_lie_opposite_to_each_other():
    u, component = drawn(two(), 16, np.random.default_rng(0), pairs=True)
    assert (component[:8] == component[8:]).all()
    assert (u[:8] + u[8:]) / 2 == pytest.approx(two().means[component[:8]])


def test_the_density_is_one_in_all():
    rng = np.random.default_rng(0)
    wide = Mixture(np.array([0.4, 0.6]), rng.uniform(-0.3, 0.3, (2, 6)), np.full((2, 6), 0.7))
    inner = rng.uniform(-1, 1, (200_000, 6))
    assert 2**6 * np.exp(wide.density(np.arctanh(inner))).mean() == pytest.approx(1, abs=0.05)


def test_components_start_in_sectors_of_their_own():
    for seed in range(20):
        yaw = 180 * np.tanh(begun(3, np.random.default_rng(seed)).means[:, 0])
        assert -180 < yaw[0] < -60 * EDGE < yaw[1] < 60 * EDGE < yaw[2] < 180


def test_steps_climb_and_keep_every_component():
    rng, goal = np.random.default_rng(0), np.array([0.8, -0.5, 0, 0.2, 0, 0])
    now = begun(2, rng)
    before = ((now.means - goal) ** 2).sum(axis=1)
    for _ in range(40):
        u, component = drawn(now, 16, rng, pairs=True)
        reward = -((u - goal) ** 2).sum(axis=1)
        now = moved(now, u, component, reward, np.ones(16, bool))
    assert (((now.means - goal) ** 2).sum(axis=1) < 0.3 * before).all()
    assert now.weights.min() >= 0.9 * RARELY / 2
    assert now.weights.sum() == pytest.approx(1)
    assert now.sigmas.min() >= 0.05


def test_views_that_do_not_count_are_left():
    rng = np.random.default_rng(0)
    now = Mixture(np.ones(1), np.zeros((1, 6)), np.full((1, 6), 0.3))
    u, component = drawn(now, 64, rng, pairs=True)
    reward, allowed = 100 * u[:, 0], u[:, 0] < 0
    assert moved(now, u, component, reward, allowed).means[0, 0] < 0
    assert moved(now, u, component, reward, np.ones(64, bool)).means[0, 0] > 0


def test_weights_follow_the_better_component_and_the_width_of_the_others_stays():
    widths = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        now = begun(3, rng)
        for _ in range(10):
            u, component = drawn(now, 16, rng, pairs=True)
            now = moved(now, u, component, 10.0 * (component == 0) + rng.random(16), np.ones(16, bool))
        assert now.weights.argmax() == 0
        assert now.weights[0] > 0.5
        widths.append(now.sigmas.mean(axis=1))
    assert np.mean(widths, axis=0) == pytest.approx([0.3] * 3, abs=0.05)
