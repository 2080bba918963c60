"""Ranks, ties and figures by hand."""

import numpy as np
import pytest

from variorum.evaluation.content_dilution.figures import Pictures, summary, worst_of_each
from variorum.evaluation.content_dilution.ranks import Answers, answers, mean_ranks, measures


def test_ties_have_their_mean_rank():
    similar = np.array([[0.9, 0.5, 0.9, 0.1], [0.3, 0.3, 0.3, 0.3]])
    assert mean_ranks(similar).tolist() == [[1.5, 3, 1.5, 4], [2.5] * 4]


def test_measures_by_hand():
    ranks = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [1.5, 3, 1.5, 4], [1, 2, 3, 4]])
    relevant = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    answerable, first, fifth, reciprocal, precision = measures(ranks, relevant)
    assert answerable.tolist() == [1, 1, 1, 0]
    assert first.tolist() == [1, 0, 0, 0]  # half of a first place is none
    assert fifth.tolist() == [1, 1, 1, 0]
    assert reciprocal.tolist() == [1, 1 / 2, 2 / 3, 0]
    # relevant at 2 and 4: (1/2 + 2/4) / 2
    assert precision.tolist() == [1, 0.5, 2 / 3, 0]


def test_the_first_five_count_for_recall():
    ranks = np.arange(1, 13)[None]
    assert [int(measures(ranks, ranks == rank)[2][0]) for rank in (1, 5, 6)] == [1, 1, 0]


def test_beyond_rank_ten_nothing_counts_for_mrr():
    ranks = np.arange(1, 13)[None]
    for rank, expected in ((10, 0.1), (11, 0)):
        assert measures(ranks, ranks == rank)[3] == expected
        assert measures(ranks, ranks == rank)[4] == pytest.approx(1 / rank)


def unit(*angles):
    return np.array([[np.cos(one), np.sin(one)] for one in np.deg2rad(angles)], np.float32)


def pictures(angles, photograph, labels=None):
    names = np.zeros((len(angles), 0), bool) if labels is None else np.eye(9, dtype=bool)[labels]
    return Pictures(unit(*angles), np.array(photograph), names)


def test_relevant_is_the_query_s_photograph():
    found = pictures([2, 50], [0, 1]).retrieved(pictures([0, 10, 90], [0, 1, 2]), "parent")
    assert found.first.tolist() == [1, 0]  # 10 and 90 degrees are equally far from 50, so they share ranks 1 and 2
    assert found.reciprocal.tolist() == [1, 2 / 3]


def test_by_label_a_query_s_own_photograph_is_hidden():
    gallery = pictures([0, 10, 20, 90], [0, 1, 2, -1], [1, 2, 1, 1])
    found = pictures([0, 12], [0, 1], [1, 2]).retrieved(gallery, "label")
    # the first sees 10, 20 and the distractor at 90: relevant are the second and the third
    assert found.reciprocal.tolist() == [1 / 2, 0]
    assert found.precision[0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.answerable.tolist() == [True, False]


def test_equal_pictures_in_the_gallery_tie_wherever_they_are():
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        gallery = pictures([30, 30, 80], [0, 1, 2]).at(np.array(order))
        assert pictures([31], [0]).retrieved(gallery, "parent").reciprocal.tolist() == [2 / 3]


def test_blocks_of_queries_give_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    own = np.arange(50) // 2

    def relevance(some):
        same = own[some, None] == own
        return same, np.zeros_like(same)

    whole = answers(rows, rows, relevance)
    monkeypatch.setattr("variorum.evaluation.content_dilution.ranks.AT_ONCE", 150)
    parts = answers(rows, rows, relevance)
    for name in Answers.__slots__:
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert not answers(rows, rows[:0], relevance).answerable.any()


def test_a_summary_leaves_out_what_nothing_could_answer():
    reciprocal = np.array([0.1] * 2 + [1.0] * 18 + [0.0])
    answerable = np.array([True] * 20 + [False])
    found = Answers(answerable, reciprocal == 1, reciprocal > 0, reciprocal, reciprocal)
    figures = summary(found)
    assert (figures["n"], figures["no_relevant"]) == (20, 1)
    assert figures["mrr"] == pytest.approx(91)
    assert figures["worst"] == pytest.approx(10)  # the worst tenth of 20
    assert figures["variance"] == pytest.approx(reciprocal[:20].var())
    assert summary(found, ~answerable) == {"n": 0, "no_relevant": 1}


def test_the_worst_query_of_each_photograph():
    reciprocal = np.array([0.5, 0.2, 0.2, 0.0, 1.0])
    found = Answers(np.array([True, True, True, False, True]), *[reciprocal] * 4)
    assert worst_of_each(found, np.array([0, 0, 0, 0, 1])).tolist() == [1, 4]
