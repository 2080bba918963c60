import numpy as np
import pytest
from label_noise import digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from variorum.curation.people.panel.crowdlab import crowdlab
from variorum.schemas.errors import SourceError

K = 10
PANELS = {
    # raters' accuracies, votes per picture, expected accuracy of CROWDLAB and of the majority
    "5 good, 3 votes": (lambda rng: rng.uniform(0.80, 0.95, 5), 3, 0.994, 0.955),
    "20 mixed, 2 votes": (lambda rng: rng.uniform(0.45, 0.95, 20), 2, 0.919, 0.716),
    "20 mixed, 3 votes": (lambda rng: rng.uniform(0.42, 0.95, 20), 3, 0.968, 0.841),
    "50 spammy, 1.5 votes": (
        lambda rng: np.where(rng.random(50) < 0.25, 0.1, rng.uniform(0.5, 0.95, 50)),
        1.5,
        0.879,
        0.648,
    ),
}


def ask(y, accuracy, votes_each, rng):
    """Votes `[N, J]`: a rater is right with its accuracy and otherwise names a random other class."""
    votes = np.full((len(y), len(accuracy)), np.nan)
    number = int(votes_each) + (rng.random(len(y)) < votes_each % 1)
    for i, label in enumerate(y):
        who = rng.choice(len(accuracy), number[i], replace=False)
        wrong = (label + rng.integers(1, K, len(who))) % K
        votes[i, who] = np.where(rng.random(len(who)) < accuracy[who], label, wrong)
    return votes


def out_of_fold(x, labels):
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_predict(LogisticRegression(max_iter=300), x, labels, cv=folds, method="predict_proba")


@pytest.mark.parametrize("name", PANELS)
def test_with_few_votes_the_model_is_worth_a_seat(name):
    accuracies, votes_each, of_crowdlab, of_majority = PANELS[name]
    x, y = digits()
    rng = np.random.default_rng(0)
    accuracy = accuracies(rng)
    votes = ask(y, accuracy, votes_each, rng)
    counts = np.stack([(votes == k).sum(axis=1) for k in range(K)], axis=1)
    leading = counts == counts.max(axis=1, keepdims=True)
    majority = (leading[np.arange(len(y)), y] / leading.sum(axis=1)).mean()  # ties at random
    assert majority == pytest.approx(of_majority, abs=0.02)

    p = out_of_fold(x, counts.argmax(axis=1))
    first = crowdlab(votes, p)
    found = crowdlab(votes, out_of_fold(x, first.labels))
    right = found.labels == y
    assert right.mean() >= of_crowdlab - 0.02
    assert right.mean() > max(majority, (p.argmax(axis=1) == y).mean())
    agreement = counts[np.arange(len(y)), found.labels] / counts.sum(axis=1)
    assert roc_auc_score(right, found.quality) > roc_auc_score(right, agreement)
    assert np.corrcoef(found.rater_quality, accuracy)[0, 1] > 0.84


def test_pictures_and_raters_without_votes_are_not_judged():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    votes = np.where(rng.random((200, 4)) < 0.9, y[:, None], 0).astype(float)
    votes[:5], votes[:, 2] = np.nan, np.nan
    p = np.full((200, 3), 0.1)
    p[np.arange(200), y] = 0.8
    p[:5] = np.nan
    found = crowdlab(votes, p)
    assert found.labels[:5].tolist() == [-1] * 5
    assert np.isnan(found.quality[:5]).all()
    assert (
        np.isnan(found.rater_quality).tolist() == np.isnan(found.rater_weight).tolist() == [False, False, True, False]
    )
    assert (found.labels[5:] == y[5:]).mean() > 0.98


def test_ties_do_not_touch_the_global_random_state():
    votes = np.array([[0, 1], [1, 0], [0, 0], [1, 1]] * 5, float)
    p = np.full((20, 2), 0.5)
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, other = crowdlab(votes, p), crowdlab(votes, p)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert (one.labels == other.labels).all()
    assert one.labels[:2].tolist() == [0, 0]


def test_bad_votes_are_refused():
    p = np.full((3, 2), 0.5)
    two = np.array([[0, 0], [1, 1], [0, 1]], float)
    with pytest.raises(SourceError, match="need one row per picture"):
        crowdlab(two[:2], p)
    with pytest.raises(SourceError, match=r"classes 0 to 1, not \[0.0, 1.0, 2.0\]"):
        crowdlab(np.array([[0, 2], [1, 1], [0, 1]], float), p)
    with pytest.raises(SourceError, match="no picture has two votes"):
        crowdlab(np.array([[0, np.nan], [np.nan, 1], [0, np.nan]]), p)
    with pytest.raises(SourceError, match="no picture has two votes"):
        crowdlab(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(SourceError, match="some pictures with votes have no probabilities"):
        crowdlab(two, np.full((3, 2), np.nan))
