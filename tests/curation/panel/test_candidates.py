import numpy as np
import pytest

from variorum.curation.panel.candidates import AGREED, ASKED, GOLD, Cells, candidate_cells, queue_order, with_controls
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


def test_controls_and_agreed_cells_are_hidden_among_the_asked():
    def cells(start, number):
        return Cells(np.arange(start, start + number), np.zeros(number, int), np.ones(number, int))

    asked, gold, agreed = cells(0, 80), cells(1000, 40), cells(2000, 500)
    truth = np.arange(40) % 2
    queue, kinds = with_controls(asked, gold, truth, agreed, np.random.default_rng(0))
    assert np.bincount(kinds).tolist() == [80, 10, 10]
    assert set(queue.picture[kinds == ASKED]) == set(range(80))
    assert truth[queue.picture[kinds == GOLD] - 1000].sum() == 5
    assert (queue.picture[kinds == AGREED] >= 2000).all()
    assert (kinds[:80] != ASKED).any()
    again, _ = with_controls(asked, gold, truth, agreed, np.random.default_rng(0))
    assert (again.picture == queue.picture).all()
    _, kinds = with_controls(asked, gold, np.zeros(40), cells(2000, 3), np.random.default_rng(0))
    assert np.bincount(kinds).tolist() == [80, 10, 3]


def test_nothing_to_ask():
    none = candidate_cells(np.zeros((1, 0, 1), int), np.zeros((1, 0, 1)), np.zeros(0, int))
    assert len(none) == 0
    queue, kinds = with_controls(none, none, np.zeros(0), none, np.random.default_rng(0))
    assert len(queue) == len(kinds) == 0


def test_bad_input_is_refused():
    with pytest.raises(SourceError, match=r"top \(2, 2, 2\) and p \(2, 2, 2\) must be models x 3 pictures"):
        candidate_cells(TOP, P, np.zeros(3, int))
    none = Cells(*(np.zeros(0, int) for _ in range(3)))
    with pytest.raises(SourceError, match=r"must be in \[0, 0\.5\), not 0\.6"):
        with_controls(none, none, np.zeros(0), none, np.random.default_rng(0), share=0.6)
