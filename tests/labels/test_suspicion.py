import numpy as np
import pytest
from embedded_edition import CTX, edition, scored, scores, with_columns
from hypothesis import given
from hypothesis import strategies as st
from label_noise import symmetric
from scipy.special import softmax
from sklearn.metrics import average_precision_score

from variorum.curation.labels.new_label import NewLabel
from variorum.curation.labels.suspicion import LEVELS, Suspicion, chances, findings, highest, suspicion, wrong_labels
from variorum.kit.embeddings.nearest import nearest
from variorum.kit.embeddings.rows import normalised

K = 8


def read(table, foreign=None):
    """The table with the columns of `new_label` and `out_of_distribution`."""
    n = len(table)
    table = scored(NewLabel(), table).arrow
    far = {"p_value": np.full(n, 0.5), "neighbour_p_value": np.full(n, np.nan)}
    far["likely"] = far["flag"] = np.zeros(n, bool) if foreign is None else foreign
    return with_columns(table, {f"out_of_distribution.{name}": values for name, values in far.items()})


def clusters(seed, rate, spread=1.2, n=1200):
    """An edition of Gaussian classes, a share of the labels wrong, with the readings, and the mask of wrong labels."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(K, 6))
    true = rng.integers(K, size=n)
    x = centres[true] + spread * rng.normal(size=(n, 6))
    y = symmetric(true, rate, K, rng)
    p = softmax(-((x[:, None] - centres) ** 2).sum(axis=2) / 4 / spread**2, axis=1).astype(np.float32)
    index, _ = nearest(normalised(x), 10)
    voted = np.array([np.bincount(y[row], minlength=K).argmax() for row in index])
    columns = {
        "probabilities.p": p,
        "probabilities.self_confidence": p[np.arange(n), y],
        "early_learning.proposed": p.argmax(axis=1),
        "neighbours.proposed": voted,
        "neighbours.knn_index": index.astype(np.int32),
    }
    return read(edition(x, y, columns)), y != true


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_the_number_of_faults_is_estimated_and_most_are_asked_about(rate):
    expected = asked = hits = total = 0
    for seed in range(4):
        table, wrong = clusters(seed, rate)
        found = scored(Suspicion(), table)
        expected += Suspicion().figures(found, CTX)["expected_faults"]
        asked, hits, total = asked + found["flag"].sum(), hits + found["flag"][wrong].sum(), total + wrong.sum()
        assert found["chance"][wrong].mean() > 10 * found["chance"][~wrong].mean()
    assert 0.75 * total < expected < 1.25 * total
    assert asked < 1.15 * total
    assert hits > 0.6 * total


@pytest.mark.parametrize("spread", [1.0, 1.5, 2.0])
def test_little_is_asked_of_sets_without_faults_however_hard(spread):
    for seed in range(2):
        table, _ = clusters(seed, 0.0, spread)
        found = scored(Suspicion(), table)
        assert found["flag"].mean() <= 0.03
        assert found["chance"].mean() <= 0.03
        head = table.column("probabilities.p").combine_chunks().flatten().to_numpy().reshape(-1, K).argmax(axis=1)
        if spread == 2:
            assert (head != table.column("label").to_numpy()).mean() > 0.1


def test_the_score_by_hand():
    confidence = np.array([0.5, 1.0, 0.0, np.nan])
    votes = np.array([0.2, np.nan, 0.95, 1])
    p = np.array([0.5, np.nan, 0.1, 0.1])
    near = suspicion(confidence, votes, p, p, np.zeros(4, bool), 4)
    np.testing.assert_allclose(near, [-np.log(0.5) - np.log(0.25) / 4, 0, np.log(4), np.nan], atol=1e-9)
    far = suspicion(confidence, votes, p, p, np.array([False, True, False, True]), 4)
    np.testing.assert_allclose(far, near + np.array([-0.2 * np.log(0.5), 1, -0.2 * np.log(0.1), np.nan]))


def test_distances_count_in_proportion_to_the_likely_foreign():
    n = 1000
    one, p = np.ones(n), np.full(n, 0.1)
    added = [suspicion(one, one, p, p, np.arange(n) < m, 2)[-1] + np.log(1.05) / 4 for m in (0, 5, 10, 500)]
    assert added == pytest.approx([0, 0.1 * np.log(10), 0.2 * np.log(10), 0.2 * np.log(10)])


floats = st.floats(0, 1) | st.just(np.nan)


@given(st.lists(st.tuples(floats, floats, floats, floats, st.booleans()), min_size=1, max_size=40), st.integers(1, 9))
def test_the_score_is_finite_unless_not_judged_and_falls_with_each_reading(rows, classes):
    confidence, votes, one, other, foreign = (np.array(column) for column in zip(*rows, strict=True))
    score = suspicion(confidence, votes, one, other, foreign, classes)
    assert np.array_equal(np.isnan(score), np.isnan(confidence))
    assert np.isfinite(score[~np.isnan(confidence)]).all()
    known = ~np.isnan(confidence) & (confidence > 0)
    surer = suspicion(np.where(known, np.minimum(confidence * 2, 1), confidence), votes, one, other, foreign, classes)
    assert (surer[known] <= score[known]).all()
    backed = suspicion(confidence, np.minimum(votes + 0.1, 1), one, other, foreign, classes)
    assert (backed[known] <= score[known]).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 300), st.integers(0, 300))
def test_the_estimate_is_at_most_any_count(seed, wrong, hard):
    rng = np.random.default_rng(seed)
    resemblance = 1 - np.concatenate([rng.random(wrong), rng.random(hard) ** 8])
    found = wrong_labels(resemblance, 1)
    assert 0 <= found <= wrong + hard
    assert all(found <= (resemblance <= level).sum() / level for level in LEVELS)
    assert wrong_labels(resemblance, 0.5) == pytest.approx(2 * found)
    assert wrong_labels(resemblance, 0) == pytest.approx(10 * found)


def test_wrong_labels_are_told_from_hard_pictures():
    rng = np.random.default_rng(0)
    found = [wrong_labels(1 - np.r_[rng.random(100), rng.random(200) ** 30], 1) for _ in range(50)]
    assert 75 < np.mean(found) < 125
    assert np.mean([wrong_labels(1 - rng.random(200) ** 30, 1) for _ in range(50)]) < 10


@given(st.lists(st.floats(-5, 20) | st.just(np.nan), max_size=50), st.floats(0, 60))
def test_chances_add_up_and_rise_with_the_score(score, expected):
    score = np.array(score)
    chance = chances(score, expected)
    judged = ~np.isnan(score)
    assert np.array_equal(np.isnan(chance), ~judged)
    if judged.any():
        assert ((chance[judged] >= 0) & (chance[judged] <= 1)).all()
        assert chance[judged].sum() == pytest.approx(np.clip(expected, 0.25, judged.sum() - 0.25), abs=1e-6)
        assert (np.diff(chance[judged][np.argsort(score[judged], kind="stable")]) >= 0).all()


def test_equal_scores_are_ordered_by_id_and_the_unjudged_left_out():
    score = np.array([1, np.nan, 2, 1, 1])
    assert highest(score, 3, np.array([3, 0, 4, 1, 2])).tolist() == [False, False, True, True, True]
    assert highest(score, 9, np.arange(5)).tolist() == [True, False, True, True, True]


@pytest.mark.parametrize(
    ("expected", "judged", "asked"),
    [
        (0, 1000, 15),
        (0, 60, 0),
        (3, 1000, 15),
        (20, 1000, 26),
        (100, 1000, 120),
        (120, 1000, 120),
        (400, 1000, 360),
        (700, 1000, 500),
        (2, 3, 1),
    ],
)
def test_about_as_many_questions_as_faults(expected, judged, asked):
    assert Suspicion().questions(expected, 0, judged, counted=0.5) == asked


def test_more_is_asked_where_the_number_of_faults_cannot_be_told():
    assert Suspicion().questions(0, 0, 1000, counted=0.05) == 30


def test_nobody_is_asked_about_what_is_certain():
    assert Suspicion().questions(60, 40, 1000, counted=0.5) == 78
    assert Suspicion().questions(400, 100, 1000, counted=0.5) == 270
    found = scored(Suspicion(), clusters(2, 0.2, spread=0.8)[0])
    assert found["new_label.certain"].any()
    assert not (found["flag"] & found["new_label.certain"]).any()


def test_the_number_of_faults_may_be_unknown():
    assert "agree on the class of only 5 % of the 1,000 labelled pictures" in findings(0, 30, 1000, 0.05)[0]


def test_likely_foreign_pictures_are_expected_faults_and_come_first():
    table, wrong = clusters(0, 0.0)
    foreign = np.arange(len(wrong)) % 40 == 0
    confidence = np.where(foreign, 0.2, 0.9)
    names = ("new_label", "out_of_distribution", "probabilities.self_confidence")
    plain = table.drop_columns([name for name in table.column_names if name.startswith(names)])
    found = scored(Suspicion(), read(with_columns(plain, {"probabilities.self_confidence": confidence}), foreign))
    assert found["flag"][foreign].mean() >= 0.9
    assert found["flag"].sum() < 1.4 * foreign.sum()
    assert average_precision_score(foreign, found["score"]) > 0.99


def test_the_order_of_rows_does_not_matter():
    table, _ = clusters(1, 0.1, n=400)
    table = table.drop_columns("neighbours.knn_index")
    order = np.random.default_rng(0).permutation(400)
    one, other = scores(Suspicion(), table), scores(Suspicion(), table.take(order))
    for name in Suspicion.gives:
        np.testing.assert_allclose(one[name][order], other[name], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("labels", [[], [-1] * 4, [0], [0, 1, 1], [4] * 30, [0, 1] * 20, list(range(300)) * 2])
def test_few_rows_few_classes_and_no_labels(labels):
    n = len(labels)
    y = np.array(labels, dtype=np.int64)
    k = max(len(set(labels) - {-1}), 1)
    columns = {
        "probabilities.p": np.where(y[:, None] < 0, np.nan, np.full((n, k), 1 / k)).astype(np.float32),
        "probabilities.self_confidence": np.where(y < 0, np.nan, 1 / k),
        "early_learning.proposed": y,
        "neighbours.proposed": np.where(n < 3, -1, y),
        "neighbours.knn_index": np.full((n, 10), -1, dtype=np.int32),
    }
    step = Suspicion()
    found = scored(step, read(edition(np.zeros((n, 2)), y, columns)))
    judged = int((y >= 0).sum())
    assert int((~np.isnan(found["score"])).sum()) == judged
    assert found["flag"].sum() in (int(0.015 * judged), int(0.03 * judged))
    figures = step.figures(found, CTX)
    assert figures["judged"] == judged
    assert set(step.gives) == {
        name.removeprefix("suspicion.") for name in found.arrow.column_names if "suspicion" in name
    }


def test_what_is_found_in_words():
    assert findings(0, 0, 40, 1) == []
    assert findings(0, 15, 1000, 1) == ["No fault stands out; the 15 most suspect are worth a question."]
    assert findings(0, 1, 70, 1) == ["No fault stands out; the most suspect is worth a question."]
    assert findings(90, 90, 1000, 1) == [
        "About 90 of 1,000 labelled pictures are expected to be at fault; the 90 most suspect are worth a question."
    ]
