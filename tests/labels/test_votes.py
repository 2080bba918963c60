import math

import numpy as np
import pytest

from variorum.curation.labels.votes import count_votes, plain_votes, similarity_votes


def test_shares_by_hand():
    labels = np.array([[0, 1, 1, 2], [0, 0, 1, 1], [2, 1, 2, 1], [0, 1, 2, 2]])
    weights = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [3.0, 1, 0.5, 0.5]])
    share, unit, winner = count_votes(labels, weights, np.array([1, 0, 0, 2]))
    assert share.tolist() == [0.5, 0.5, 0, 0.2]
    np.testing.assert_allclose(unit, [2 / math.sqrt(6), 2 / math.sqrt(8), 0, 1 / math.sqrt(11)])
    assert winner.tolist() == [1, 0, 1, 0]  # a tie goes to the given label, else to the lowest


def test_without_votes_there_is_no_winner():
    share, unit, winner = count_votes(np.array([[1, 1]]), np.zeros((1, 2)), np.array([0]))
    assert np.isnan(share[0])
    assert np.isnan(unit[0])
    assert winner.tolist() == [-1]


def test_a_vote_for_a_large_class_counts_less():
    y = np.array([0] * 16 + [1] * 4)
    index = np.tile([0, 1, 16], (20, 1))
    labels, weights = plain_votes(index, y, 0.5)
    np.testing.assert_allclose(weights[0], [1, 1, 2])
    assert labels[0].tolist() == [0, 0, 1]
    assert count_votes(labels, weights, y)[2][0] == 0  # 2 against 2: the given label stands
    _, weights = plain_votes(index, y, 0)
    np.testing.assert_allclose(weights[0], [1, 1, 1])


def test_a_sample_asks_at_most_half_as_many_as_its_class_has():
    y = np.array([0] * 16 + [1] * 4)
    _, weights = plain_votes(np.tile([0, 1, 16], (20, 1)), y, 0)
    assert weights[16].tolist() == [1, 1, 0]
    _, weights = plain_votes(np.tile([0, 1, 16], (17, 1)), y[:17], 0)
    assert weights[16].tolist() == [1, 0, 0]


def test_missing_neighbours_do_not_vote():
    _, weights = plain_votes(np.array([[1, 2, -1], [0, 2, -1], [0, 1, -1]]), np.array([0, 0, 0]), 0.5)
    assert (weights[:, 2] == 0).all()
    similarity = np.array([[0.9, 0.8, np.nan, np.nan]] * 3)
    labels, weights = similarity_votes(
        np.array([[1, 2, -1, -1], [0, 2, -1, -1], [0, 1, -1, -1]]), similarity, np.array([0] * 3), 0
    )
    assert labels.shape == (3, 4)
    assert (weights[:, 3] == 0).all()


def test_the_own_vote_follows_from_the_first_two_neighbours():
    y = np.zeros(9, dtype=np.int64)
    index = np.tile([1, 2, 3], (9, 1))
    _, weights = similarity_votes(index, np.tile([0.9, 0.7, 0.2], (9, 1)), y, 0)
    np.testing.assert_allclose(weights[0], [1, 0.9, 0.7])  # 2 × 0.1 - 0.3 is below 0, so the distance is 0
    _, weights = similarity_votes(index, np.tile([0.7, 0.6, -0.2], (9, 1)), y, 0)
    np.testing.assert_allclose(weights[0], [0.8, 0.7, 0.6])
    _, weights = similarity_votes(np.tile([1, 2, 3, 4], (9, 1)), np.tile([0.7, 0.6, -0.2, -0.3], (9, 1)), y, 0)
    assert weights[0, 3] == pytest.approx(0)  # opposite rather than near
