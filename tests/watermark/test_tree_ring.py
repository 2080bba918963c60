"""Rings in the transform of noise: real noise with exact p-values, and how little a ring key tells users apart."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from variorum.generators.watermark.marks.tree_ring import TreeRing

PATTERNS = pytest.mark.parametrize("pattern", ["rings", "free"])


def keys(n, start=0):
    return [(start + k).to_bytes(32, "big") for k in range(n)]


def noise(n, shape=(1, 28, 28), seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def estimated(shaped, correlation=0.6, seed=1):
    """Noise as far from the real one as what an inversion finds."""
    rest = noise(len(shaped), shaped.shape[1:], seed)
    return (correlation * shaped + np.sqrt(1 - correlation**2) * rest).astype(np.float32)


@PATTERNS
@pytest.mark.parametrize("shape", [(1, 28, 28), (4, 33, 24)])
def test_the_whole_pattern_is_in_real_noise(pattern, shape):
    mark = TreeRing(pattern=pattern)
    plain = noise(5, shape)
    shaped = mark.shape(plain, keys(5))
    assert shaped.dtype == np.float32
    np.testing.assert_array_equal(shaped[:, :-1], plain[:, :-1])  # the last channel has it
    waves = np.fft.fft2(shaped[:, -1], norm="ortho")
    radii = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape[1:]), indexing="ij"))
    inside = (radii >= 2) & (radii < 8)
    np.testing.assert_allclose(waves[:, ~inside], np.fft.fft2(plain[:, -1], norm="ortho")[:, ~inside], atol=1e-5)
    assert (np.abs(waves[:, inside]) ** 2).mean(1) == pytest.approx(1, abs=0.02)  # the energy of noise
    if pattern == "rings":
        np.testing.assert_allclose(waves[:, inside].imag, 0, atol=1e-5)
        for ring in range(2, 8):
            one = waves[:, (radii >= ring) & (radii < ring + 1)].real
            np.testing.assert_allclose(one, one[:, :1].repeat(one.shape[1], 1), atol=1e-5)
    found = mark.found(list(shaped), keys(5))
    assert found.bits is None
    assert found.p_values.max() < 1e-30


@PATTERNS
def test_it_is_found_in_a_poor_estimate(pattern):
    mark = TreeRing(pattern=pattern)
    found = mark.found(list(estimated(mark.shape(noise(60), keys(60)))), keys(60))
    assert (found.p_values < 0.01).mean() > 0.9
    unmarked = mark.found(list(noise(60, seed=9)), keys(60))
    assert unmarked.scores.max() < np.quantile(found.scores, 0.1)


@PATTERNS
def test_p_values_of_unmarked_noise_are_exact(pattern):
    plain = list(3 * noise(400))
    found = TreeRing(pattern=pattern, shift=0).found(plain, keys(400))
    assert stats.kstest(found.p_values, "uniform").pvalue > 0.01
    assert stats.kstest(found.scores, "norm").pvalue > 0.01
    searched = TreeRing(pattern=pattern).found(plain[:200], keys(200))
    assert (searched.p_values < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_the_papers_p_value_errs_on_the_safe_side():
    exact, paper = TreeRing(shift=0), TreeRing(shift=0, test="distance")
    plain = list(noise(400))
    assert (paper.found(plain, keys(400)).p_values < 0.05).mean() < 0.05
    weak = list(estimated(exact.shape(noise(40), keys(40)), 0.3))
    p_values = [one.found(weak, keys(40)).p_values for one in (exact, paper)]
    sure = p_values[0] < 0.1
    assert sure.sum() > 20
    assert (p_values[0] < p_values[1])[sure].all()


def test_the_papers_p_value_is_a_noncentral_chi_square():
    mark = TreeRing(shift=0, test="distance", inner=2, outer=4)
    (shaped,) = estimated(mark.shape(noise(1), keys(1)))
    found = mark.found([shaped], keys(1))
    (pattern,) = mark.shape(np.zeros((1, 1, 28, 28), np.float32), keys(1))
    down, right = np.meshgrid(*[np.fft.fftfreq(28, 1 / 28)] * 2, indexing="ij")
    radii = np.hypot(down, right)
    once = (radii >= 2) & (radii < 4) & ((right > 0) | ((right == 0) & (down > 0)))
    waves, wanted = (np.fft.fft2(one[0], norm="ortho")[once] for one in (shaped, pattern))
    pairs = np.concatenate([waves.real, waves.imag]), np.concatenate([wanted.real, wanted.imag])
    variance = (pairs[0] ** 2).mean()
    expected = stats.ncx2.cdf(
        ((pairs[0] - pairs[1]) ** 2).sum() / variance, len(pairs[0]), (pairs[1] ** 2).sum() / variance
    )
    assert found.p_values[0] == pytest.approx(expected, rel=1e-4)


def test_ring_keys_do_not_tell_users_apart_and_free_keys_do():
    passed = {}
    for pattern in ("rings", "free"):
        mark = TreeRing(pattern=pattern, shift=0)
        found = mark.found(list(mark.shape(noise(300), keys(300))), keys(300, start=1000))
        passed[pattern] = (found.p_values < 0.01).mean()
    assert passed["rings"] > 0.15
    assert passed["free"] < 0.01 + 3 * np.sqrt(0.01 * 0.99 / 300)


@PATTERNS
@pytest.mark.parametrize("by", [(0, 1), (-3, 2)])
def test_noise_that_moved_is_found_within_the_search(pattern, by):
    mark = TreeRing(pattern=pattern)
    shaped = mark.shape(noise(8), keys(8))
    moved = list(np.roll(shaped, by, axis=(2, 3)))
    still = mark.found(list(shaped), keys(8))
    found = mark.found(moved, keys(8))
    np.testing.assert_allclose(found.scores, still.scores, rtol=1e-6)
    assert (TreeRing(pattern=pattern, shift=0).found(moved, keys(8)).scores < still.scores).all()


def test_a_picture_is_found_alone_as_among_others():
    mark = TreeRing()
    shaped = list(mark.shape(noise(4), keys(4)))
    together = mark.found(shaped, keys(4))
    for place in range(4):
        alone = mark.found(shaped[place : place + 1], keys(4)[place : place + 1])
        assert (alone.scores[0], alone.p_values[0]) == (together.scores[place], together.p_values[place])
    assert mark.found([], []).scores.shape == (0,)


def test_flat_noise_has_no_mark():
    assert TreeRing().found([np.zeros((1, 28, 28), np.float32)], keys(1)).p_values[0] == 1


def test_rings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="rings up to 8 don't fit into noise of 12 x 12 cells"):
        TreeRing().shape(noise(1, (4, 12, 12)), keys(1))
    with pytest.raises(ValidationError, match="outer, 3, must be more than inner, 5"):
        TreeRing(inner=5, outer=3)
