import numpy as np
import pytest

from variorum.curation.masks.changes import class_iou, correct_class, moving_average, proposals, runs_away


def certain(labels, k, sure=0.9):
    """Probabilities `[..., k]` that put `sure` on each label."""
    p = np.full((*labels.shape, k), (1 - sure) / (k - 1), np.float32)
    np.put_along_axis(p, labels[..., None], sure, axis=-1)
    return p


def test_iou_by_class():
    given = np.array([[[0, 0, 1, 1], [0, 1, 1, 2]]])
    predicted = np.array([[[0, 1, 1, 1], [0, 1, 0, 0]]])
    assert class_iou(predicted, given, 4)[:3] == pytest.approx([2 / 5, 3 / 5, 0])
    assert np.isnan(class_iou(predicted, given, 4)[3])


def test_the_average_forgets_by_its_decay():
    one, two = np.float32([[1, 0]]), np.float32([[0, 1]])
    assert moving_average(None, one, 0.7) is one
    assert moving_average(one, two, 0.7) == pytest.approx(np.array([[0.7, 0.3]]))


def test_only_sure_pixels_between_classes_past_their_onset_may_change():
    given = np.array([[[1, 1, 2, 0, 0, 1]]])
    wanted = np.array([[[0, 2, 1, 1, 2, 1]]])
    changes, sure = proposals(given, certain(wanted, 3), {1}, 0.8)
    assert changes.tolist() == [[[0, -1, -1, 1, -1, -1]]]
    assert sure == pytest.approx(np.full((1, 1, 6), 0.9))
    changes, _ = proposals(given, certain(wanted, 3), {1, 2}, 0.8)
    assert changes.tolist() == [[[0, 2, 1, 1, 2, -1]]]
    changes, _ = proposals(given, certain(wanted, 3, 0.7), {1, 2}, 0.8)
    assert (changes == -1).all()
    changes, _ = proposals(given, certain(wanted, 3), set(), 0.8)
    assert (changes == -1).all()


def test_a_picture_gets_no_class_that_its_mask_does_not_have():
    given = np.array([[[1, 0, 0]], [[2, 0, 0]]])
    wanted = np.array([[[1, 1, 2]], [[2, 1, 2]]])
    changes, _ = proposals(given, certain(wanted, 3), {1, 2}, 0.8)
    assert changes.tolist() == [[[-1, 1, -1]], [[-1, -1, 2]]]


def test_at_most_a_share_of_a_class_changes_and_the_surest_pixels_do():
    given = np.array([[[1] * 10 + [0] * 10]])
    proposed = np.full((1, 1, 20), -1)
    proposed[..., 4:10] = 0
    confidence = np.linspace(0.8, 0.99, 20, dtype=np.float32).reshape(1, 1, 20)
    corrected = correct_class(given, given, proposed, confidence, 1, 0.2)
    assert np.flatnonzero(corrected != given).tolist() == [8, 9]
    tied = correct_class(given, given, proposed, np.full((1, 1, 20), 0.9, np.float32), 1, 0.2)
    assert np.flatnonzero(tied != given).tolist() == [4, 5]


def test_what_was_changed_for_one_class_is_not_changed_again_for_another():
    given = np.array([[[1, 1, 2, 2, 0]]])
    proposed = np.array([[[2, -1, 1, 0, -1]]])
    confidence = np.full((1, 1, 5), 0.9, np.float32)
    once = correct_class(given, given, proposed, confidence, 1, 1.0)
    assert once.tolist() == [[[2, 1, 1, 2, 0]]]
    twice = correct_class(once, given, np.array([[[0, -1, 0, 0, -1]]]), confidence, 2, 1.0)
    assert twice.tolist() == [[[2, 1, 1, 0, 0]]]
    assert given.tolist() == [[[1, 1, 2, 2, 0]]]


def test_a_jump_of_the_changed_share_is_seen():
    assert not runs_away([0.10, 0.11, 0.12, 0.20])  # three steps are too few to judge
    assert runs_away([0.10, 0.11, 0.12, 0.13, 0.16])
    assert not runs_away([0.10, 0.11, 0.12, 0.13, 0.145])
    assert not runs_away([0.10, 0.11, 0.12, 0.13, 0.05])  # a drop is no jump
