import numpy as np
import pytest

from variorum.curation.labels.transition import estimate_transition, trust
from variorum.schemas.errors import RecipeError


def draw(transition, shares, n, rng):
    """Labels of n triples of neighbouring samples with the same true class: `y [3n]` and pairs."""
    true = rng.choice(len(shares), n, p=shares)
    chances = transition.cumsum(axis=1)
    y = np.concatenate([(rng.random(n)[:, None] > chances[true]).sum(axis=1) for _ in range(3)])
    one, two, three = np.arange(3 * n).reshape(3, n)
    pairs = [(two, three), (three, one), (one, two)]
    return y, np.concatenate([np.column_stack(pair) for pair in pairs])


def test_a_known_matrix_is_found():
    transition = np.array([[0.8, 0.15, 0.05], [0.1, 0.6, 0.3], [0.02, 0.08, 0.9]])
    shares = np.array([0.5, 0.2, 0.3])
    y, pairs = draw(transition, shares, 40_000, np.random.default_rng(0))
    found, found_shares = estimate_transition(y, pairs, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found, transition, atol=0.02)
    np.testing.assert_allclose(found_shares, shares, atol=0.02)
    right = transition.diagonal() * shares / (shares @ transition)
    np.testing.assert_allclose(trust(found, found_shares, y), right, atol=0.02)


def test_labels_that_are_all_right():
    y = np.repeat([0, 1, 2], 100)
    pairs = np.column_stack([np.roll(np.arange(100), 1), np.roll(np.arange(100), 2)])
    transition, shares = estimate_transition(y, np.concatenate([pairs, pairs + 100, pairs + 200]), 3)
    np.testing.assert_allclose(transition, np.eye(3), atol=1e-3)
    np.testing.assert_allclose(shares, 1 / 3, atol=1e-3)
    np.testing.assert_allclose(trust(transition, shares, y), 1, atol=1e-3)


def test_one_class():
    y = np.zeros(4, dtype=np.int64)
    transition, shares = estimate_transition(y, np.array([[1, 2]] * 4), 1)
    assert transition.tolist() == [[1.0]]
    assert shares.tolist() == [1.0]
    assert trust(transition, shares, y).tolist() == [1.0]


def test_too_many_classes_are_refused():
    y = np.arange(51)
    with pytest.raises(RecipeError, match=r"of 51 classes can't be estimated.*use the method vote or simifeat_v"):
        estimate_transition(y, np.zeros((51, 2), dtype=int), 51)
