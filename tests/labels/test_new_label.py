import numpy as np
import pytest
from embedded_edition import CTX, edition, scored, scores, with_columns
from hypothesis import given
from hypothesis import strategies as st
from label_noise import symmetric
from scipy.special import softmax
from scipy.stats import binomtest, kstest

from variorum.curation.labels.neighbours import Neighbours
from variorum.curation.labels.new_label import (
    TRIED,
    WRONG,
    NewLabel,
    expected_wrong,
    fewest,
    near,
    readings,
    resemblance,
    verdicts,
    vote_share,
)
from variorum.kit.embeddings.nearest import nearest
from variorum.kit.embeddings.rows import normalised

K = 8


def clusters(seed, rate, spread=1.0, n=1200):
    """Gaussian classes around random centres, a share of the labels wrong: true and given labels, and the readings.

    The probabilities are the posterior of the true classes, so a wrong label has no part in them.
    """
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(K, 6))
    true = rng.integers(K, size=n)
    x = centres[true] + spread * rng.normal(size=(n, 6))
    y = symmetric(true, rate, K, rng)
    p = softmax(-((x[:, None] - centres) ** 2).sum(axis=2) / 2 / spread**2 / 2, axis=1)
    index, _ = nearest(normalised(x), 10)
    voted = np.array([np.bincount(y[row], minlength=K).argmax() for row in index])
    return true, y, readings(y, p, p.argmax(axis=1), voted, index)


def test_near_certain_labels_are_wrong_and_the_new_ones_right():
    right = total = flips = 0
    for seed in range(6):
        true, y, found = clusters(seed, 0.1, spread=1.2)
        clear, likely = verdicts(y, found)
        right += int((found.proposed == true)[clear].sum())
        total += int(clear.sum())
        flips += int((y != true).sum())
        assert (found.proposed == true)[likely].mean() > 0.9
    assert total > 0.1 * flips
    assert right / total >= 0.97


def test_hard_pictures_with_right_labels_resemble_them():
    for seed in range(6):
        _, y, found = clusters(seed, 0.0, spread=2.0)
        assert found.candidate.sum() > 20
        assert np.median(found.resemblance[found.candidate]) > 0.85
        assert verdicts(y, found)[0].sum() < fewest(len(y))


def test_a_random_wrong_label_resembles_its_class_as_much_as_any():
    every = []
    for seed in range(4):
        true, _, found = clusters(seed, 0.2, spread=1.2)
        flipped = found.candidate & (found.proposed == true)
        every.append(found.resemblance[flipped])
    assert kstest(np.concatenate(every), "uniform").pvalue > 0.01


def test_resemblance_by_hand():
    y = np.array([0, 0, 0, 0, 1, 2])
    p = np.array([[0.8, 0.1, 0.1], [0.8, 0.2, 0], [0.7, 0.3, 0], [0.6, 0.4, 0], [0.8, 0.2, 0], [1, 0, 0]])
    proposed = np.array([-1, -1, -1, -1, 0, 0])
    agreed = np.array([True, True, True, False, False, False])
    found = resemblance(y, p, proposed, agreed)
    assert np.isnan(found[:4]).all()
    assert found[4] == pytest.approx(3 / 4)  # 0.1/0.8 and 0.2/0.8 are as low, 0.3/0.7 isn't
    assert found[5] == 1  # the heads don't know class 2
    assert resemblance(y, p, proposed, np.zeros(6, bool))[4] == 1


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 60))
def test_resemblance_is_a_rank_and_needs_no_order_of_rows(seed, k, n):
    rng = np.random.default_rng(seed)
    y, p = rng.integers(k, size=n), np.round(rng.dirichlet(np.ones(k), n), 2)
    proposed = np.where(rng.random(n) < 0.5, (y + rng.integers(1, k, n)) % k, -1)
    agreed = (proposed < 0) & (rng.random(n) < 0.7)
    found = resemblance(y, p, proposed, agreed)
    assert np.array_equal(np.isnan(found), proposed < 0)
    asked = proposed >= 0
    assert ((found[asked] > 0) & (found[asked] <= 1)).all()
    for row in np.flatnonzero(asked & (p[np.arange(n), y] > 0)):
        members = np.flatnonzero(agreed & (y == proposed[row]))
        tiny = np.finfo(np.float32).tiny
        odds = np.log(np.maximum(p[:, y[row]], tiny)) - np.log(np.maximum(p[:, proposed[row]], tiny))
        assert found[row] == pytest.approx((1 + (odds[members] <= odds[row]).sum()) / (1 + len(members)))
    order = rng.permutation(n)
    np.testing.assert_array_equal(resemblance(y[order], p[order], proposed[order], agreed[order]), found[order])


def test_votes_are_plain_shares_of_those_there():
    y = np.array([0, 1, 1, -1])
    index = np.array([[1, 2], [2, -1], [1, 0], [-1, -1]])
    np.testing.assert_array_equal(vote_share(y, index, y), [0, 1, 0.5, np.nan])


def test_pairs_with_too_many_candidates_are_near():
    y = np.array([0] * 6 + [1, 2, 2])
    proposed = np.array([1] * 6 + [2, 0, -1])
    assert near(y, proposed).tolist() == [True] * 6 + [False] * 3  # 5.5 / (8 / 6 + 0.5) = 3, 0.5 / (8 / 6 + 0.5) < 1
    assert not near(np.array([3, 99]), np.array([4, -1])).any()  # alone, even among many classes
    assert not near(y, np.full(9, -1)).any()


@pytest.mark.parametrize(("judged", "least"), [(0, 8), (300, 8), (800, 8), (801, 9), (1500, 15), (100_000, 1000)])
def test_nobody_acts_on_few(judged, least):
    assert fewest(judged) == least


@given(st.integers(1, 5000))
def test_the_interval_is_that_of_the_trials(changed):
    middle, (least, most) = expected_wrong(changed)
    assert least <= middle <= most
    interval = binomtest(WRONG, TRIED).proportion_ci(0.95)
    assert (least, most) == pytest.approx((changed * interval.low, changed * interval.high), abs=0.051)


def arrange(n, wrong):
    """Two easy classes of n pictures each and a third; the first `wrong` labels of class 0 are 1."""
    rng = np.random.default_rng(0)
    true = np.repeat([0, 1, 2], n)
    y = true.copy()
    y[:wrong] = 1
    p = np.full((len(y), 3), 0.0)
    p[np.arange(len(y)), true] = 1
    p += 0.1 * rng.random(p.shape)
    p[:wrong, 1] = 1e-4
    p /= p.sum(axis=1, keepdims=True)
    index = np.array([rng.choice(np.flatnonzero((true == t) & (y == true)), 10) for t in true])
    columns = {
        "probabilities.p": p.astype(np.float32),
        "early_learning.proposed": 10 * true,
        "neighbours.proposed": 10 * true,
        "neighbours.knn_index": index.astype(np.int32),
    }
    return edition(np.zeros((len(y), 1)), 10 * y, columns)


def test_enough_labels_are_certain_and_fewer_are_proposed():
    step = NewLabel()
    found = scored(step, arrange(100, 9))
    assert np.flatnonzero(found["certain"]).tolist() == list(range(9))
    assert not found["likely"].any()
    assert found["proposed"].tolist() == [0] * 9 + [-1] * 291
    assert found["agreed"].tolist() == [False] * 9 + [True] * 291
    assert (found["score"][:9] > 0.9).all()
    assert not found["score"][9:].any()
    figures = step.figures(found, CTX)
    assert (figures["near_certain"], figures["certain"], figures["needed_to_act"]) == (9, 9, 8)
    middle, (least, most) = figures["wrong_new_labels_expected"], figures["wrong_new_labels_interval"]
    assert figures["findings"] == [
        f"9 labels are nearly certain to be wrong. If all are changed, about {middle:g} of the new ones are expected "
        f"to be wrong (95 % interval {least:g} to {most:g}). This rests on other sets than yours, where {WRONG} of "
        f"{TRIED} were."
    ]
    few = scored(step, arrange(300, 8))
    assert not few["certain"].any()
    assert few["candidate"].sum() == 8
    assert np.flatnonzero(few["likely"]).tolist() == list(range(8))  # a question each, in place of a change
    assert step.figures(few, CTX)["findings"] == [
        "8 labels are nearly certain to be wrong, too few to act on (9 would be needed); people are asked.",
        "8 labels are likely to be wrong; people are shown a new one for each.",
    ]


def test_a_picture_that_a_reading_does_not_judge_is_not_judged():
    table = arrange(100, 9)
    p = np.concatenate(table.column("probabilities.p").to_numpy()).reshape(-1, 3)
    p[0] = np.nan
    early = table.column("early_learning.proposed").to_numpy().copy()
    early[1] = -1
    table = table.drop_columns(["probabilities.p", "early_learning.proposed"])
    found = scores(NewLabel(), with_columns(table, {"probabilities.p": p, "early_learning.proposed": early}))
    for name in ("score", "resemblance", "votes_for_given", "votes_for_proposed"):
        assert np.isnan(found[name][:2]).all(), name
    assert not any(found[name][:2].any() for name in ("agreed", "candidate", "certain", "likely"))
    assert found["proposed"][:2].tolist() == [-1, -1]


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(3)
    true = rng.integers(4, size=400)
    x = 3 * np.eye(4, 12)[true] + rng.normal(size=(400, 12))
    p = softmax(x[:, :4], axis=1).astype(np.float32)
    columns = {"probabilities.p": p, "early_learning.proposed": p.argmax(axis=1)}
    table = edition(x, symmetric(true, 0.15, 4, rng), columns)
    order = rng.permutation(400)
    one, other = (
        scores(NewLabel(), scored(Neighbours(method="vote"), rows).arrow) for rows in (table, table.take(order))
    )
    assert one["candidate"].sum() > 10
    for name in NewLabel.gives:
        np.testing.assert_array_equal(one[name][order], other[name], err_msg=name)


@pytest.mark.parametrize("labels", [[], [-1] * 4, [0], [0, 1, 1], [4] * 30, [0, 1] * 15, [-1, 0, 1] * 10])
def test_few_rows_few_classes_and_no_labels(labels):
    rng = np.random.default_rng(0)
    y = np.array(labels, dtype=np.int64)
    k, n = max(len(set(labels) - {-1}), 1), len(labels)
    p = rng.dirichlet(np.ones(k), n).astype(np.float32)
    p[(y < 0) | (np.arange(n) % 7 == 3)] = np.nan
    early = np.where(np.isnan(p[:, 0]), -1, y)
    embedding = rng.random((n, 5))
    embedding[3::7] = np.nan
    table = edition(embedding, y, {"probabilities.p": p, "early_learning.proposed": early})
    step = NewLabel()
    found = scored(step, scored(Neighbours(method="vote"), table).arrow)
    names = {name.removeprefix("new_label.") for name in found.arrow.column_names if name.startswith("new_label.")}
    assert set(step.gives) == names
    assert not found["certain"].any()
    judged = ~np.isnan(found["score"])
    assert judged.sum() == ((early >= 0).sum() if n >= 3 else 0)
    assert step.figures(found, CTX)["judged"] == judged.sum()
    assert not (found["candidate"] & ~judged).any()


def test_many_small_classes():
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(250), 4)
    y = symmetric(true, 0.1, 250, rng)
    p = softmax(6 * np.eye(250)[true] + rng.normal(size=(1000, 250)), axis=1)
    index = np.array([rng.choice(np.flatnonzero(true == t), 3, replace=False) for t in true])
    found = readings(y, p, true, true, index)
    clear, _ = verdicts(y, found)
    assert found.candidate.sum() == 100
    assert not clear.any()  # three pictures of a class can't show a rank of .2 or less
