import numpy as np
import pytest

from variorum.kit.raters.candidates import Cells, candidate_cells, queue_order
from variorum.schemas.errors import SourceError

TOP = np.array([[[3, 5], [1, 2]], [[3, 6], [2, 1]]])  # two models, two pictures, two guesses
P = np.array([[[0.8, 0.15], [0.95, 0.05]], [[0.5, 0.05], [0.6, 0.4]]])


def pairs(cells):
    return list(zip(cells.picture.tolist(), cells.label.tolist(), cells.support.tolist(), strict=True))


def test_candidates_are_what_anyone_proposes():
    cells = candidate_cells(TOP, P, np.array([4, 1]), [np.array([-1, 9])])
    assert pairs(cells) == [(0, 3, 2), (0, 4, 1), (0, 5, 1), (1, 1, 3), (1, 2, 1), (1, 9, 1)]


def test_what_cannot_be_told_apart_is_asked_too():
    cells = candidate_cells(TOP, P, np.array([-1, 1]), partners={3: (7,), 8: (9,)})
    assert pairs(cells) == [(0, 3, 2), (0, 5, 1), (0, 7, 1), (1, 1, 3), (1, 2, 1)]


def test_a_cap_keeps_the_given_label_and_the_best_supported():
    cells = candidate_cells(TOP, P, np.array([4, 1]), cap=2)
    assert pairs(cells) == [(0, 3, 2), (0, 4, 1), (1, 1, 3), (1, 2, 1)]
    assert pairs(candidate_cells(TOP, P, np.array([4, 9]), cap=1)) == [(0, 4, 1), (1, 9, 1)]


def test_many_cells_keep_to_the_cap_without_repeats():
    rng = np.random.default_rng(0)
    top = np.argsort(rng.random((4, 300, 50)), axis=2)[:, :, :6]
    cells = candidate_cells(top, rng.random((4, 300, 6)), rng.integers(0, 50, 300))
    assert len({pair[:2] for pair in pairs(cells)}) == len(cells)
    assert np.bincount(cells.picture).max() == 8
    assert len(np.unique(cells.picture)) == 300


def test_doubt_comes_first_and_rare_classes_before_common_ones():
    cells = Cells(np.array([0, 1, 2, 3]), np.array([0, 1, 0, 1]), np.ones(4, int))
    order = queue_order(cells, np.array([0.9, 0.5, 0.9, 0.05]), np.array([400, 4]))
    assert order.tolist() == [1, 0, 2, 3]


def test_nothing_to_ask():
    none = candidate_cells(np.zeros((1, 0, 1), int), np.zeros((1, 0, 1)), np.zeros(0, int))
    assert len(none) == 0


def test_bad_input_is_refused():
    with pytest.raises(SourceError, match=r"top \(2, 2, 2\) and p \(2, 2, 2\) must be models x 3 pictures"):
        candidate_cells(TOP, P, np.zeros(3, int))


def test_a_missing_guess_proposes_nothing():
    cells = candidate_cells(np.array([[[-1, 4], [2, -1]]]), np.array([[[0.8, 0.2], [0.9, 0.5]]]), np.array([1, -1]))
    assert pairs(cells) == [(0, 1, 1), (0, 4, 1), (1, 2, 1)]
