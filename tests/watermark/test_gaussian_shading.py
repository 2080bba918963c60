"""A payload in the signs of noise: the noise stays standard normal, and the bits outlive a poor estimate of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from variorum.generators.watermark.marks.gaussian_shading import GaussianShading

MARK = GaussianShading()


def keys(n, start=0):
    return [(start + k).to_bytes(32, "big") for k in range(n)]


def noise(n, shape=(1, 28, 28), seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def estimated(shaped, correlation=0.6, seed=1):
    """Noise as far from the real one as what an inversion finds."""
    rest = noise(len(shaped), shaped.shape[1:], seed)
    return (correlation * shaped + np.sqrt(1 - correlation**2) * rest).astype(np.float32)


def test_the_noise_stays_standard_normal_and_its_cells_independent():
    shaped = MARK.shape(noise(400), keys(400)).reshape(400, -1)
    assert shaped.dtype == np.float32
    assert stats.kstest(shaped.ravel()[::7], "norm").pvalue > 0.01
    cells = shaped.mean(0) * np.sqrt(400)  # of each cell over keys: standard normal too
    assert stats.kstest(cells, "norm").pvalue > 0.01
    # cells that carry one bit of one payload have independent signs all the same
    neighbours = (shaped[:, :-1] * shaped[:, 1:]).mean(1) * np.sqrt(783)
    assert abs(neighbours.mean()) < 4 / np.sqrt(400)
    assert neighbours.std() == pytest.approx(1, abs=0.15)


def test_only_signs_change():
    plain = noise(3)
    shaped = MARK.shape(plain, keys(3))
    np.testing.assert_array_equal(np.abs(shaped), np.abs(plain))
    assert ((np.sign(shaped) != np.sign(plain)).mean((1, 2, 3)) > 0.4).all()


def test_the_payload_is_read_from_a_poor_estimate():
    found = MARK.found(list(estimated(MARK.shape(noise(40), keys(40)))), keys(40))
    assert (found.bits == MARK.payloads(keys(40))).mean() > 0.99
    assert found.p_values.max() < 1e-10
    assert found.scores.min() > 8


def test_another_key_finds_nothing():
    shaped = list(MARK.shape(noise(150), keys(150)))
    found = MARK.found(shaped, keys(150, start=1000))
    right = (found.bits == MARK.payloads(keys(150, start=1000))).mean()
    assert right == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(150 * 32))
    # p-values of unmarked pictures: at most a share of .05 is below .05, and with no search just that share
    assert (found.p_values < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)
    still = GaussianShading(shift=0).found(shaped, keys(150, start=1000))
    assert stats.kstest(still.p_values, "uniform").pvalue > 0.01


@pytest.mark.parametrize("by", [(0, 1), (-3, 2), (3, -3)])
def test_noise_that_moved_is_found_within_the_search_and_not_beyond(by):
    moved = np.roll(estimated(MARK.shape(noise(5), keys(5))), by, axis=(2, 3))
    found = MARK.found(list(moved), keys(5))
    assert (found.bits == MARK.payloads(keys(5))).mean() > 0.97
    assert found.p_values.max() < 1e-6
    short = GaussianShading(shift=max(map(abs, by)) - 1).found(list(moved), keys(5))
    assert short.p_values.min() > 1e-4


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 64), st.tuples(st.integers(1, 4), st.integers(8, 20), st.integers(8, 20)))
def test_any_shape_of_noise_carries_any_payload_that_fits(bits, shape):
    mark = GaussianShading(bits=bits)
    shaped = mark.shape(noise(2, shape), keys(2))
    found = mark.found(list(shaped), keys(2))
    np.testing.assert_array_equal(found.bits, mark.payloads(keys(2)))


def test_a_picture_is_found_alone_as_among_others():
    shaped = list(MARK.shape(noise(6), keys(6)))
    together = MARK.found(shaped, keys(6))
    for place in range(6):
        alone = MARK.found(shaped[place : place + 1], keys(6)[place : place + 1])
        assert (alone.scores[0], alone.p_values[0]) == (together.scores[place], together.p_values[place])
        np.testing.assert_array_equal(alone.bits[0], together.bits[place])
    nothing = MARK.found([], [])
    assert (nothing.scores.shape, nothing.bits.shape, nothing.p_values.shape) == ((0,), (0, 32), (0,))


def test_flat_noise_has_no_mark():
    found = MARK.found([np.zeros((1, 28, 28), np.float32)], keys(1))
    assert found.scores[0] == 0
    assert found.p_values[0] == 1


def test_more_bits_than_cells_are_refused():
    with pytest.raises(ValueError, match="1024 bits don't fit into noise of 784 cells"):
        GaussianShading(bits=1024).shape(noise(1), keys(1))
    with pytest.raises(ValidationError):
        GaussianShading(bits=4)
