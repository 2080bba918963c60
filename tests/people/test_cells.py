import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier

from variorum.curation.people.cells import cell_scores, picture_scores, pictures_with_issues
from variorum.schemas.errors import RecipeError


def overlaid(n, rng):
    """Pictures `[n, 64]` of one or two digits overlaid, and the digits that they show, `[n, 10]`."""
    data = load_digits()
    drawn = rng.integers(0, len(data.target), (n, 2))
    second = rng.random(n) < 0.5
    x = (data.data[drawn[:, 0]] + data.data[drawn[:, 1]] * second[:, None]) / 16
    shown = np.zeros((n, 10), dtype=bool)
    shown[np.arange(n), data.target[drawn[:, 0]]] = True
    shown[second, data.target[drawn[second, 1]]] = True
    return x, shown


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    ("missing", "spurious", "cell", "picture", "precision", "recall"),
    [
        pytest.param(0.15, 0.0, 0.979, 0.888, 0.826, 0.703, marks=pytest.mark.slow),
        pytest.param(0.15, 0.02, 0.988, 0.938, 0.882, 0.901, marks=pytest.mark.slow),
        pytest.param(0.30, 0.0, 0.961, 0.766, 0.918, 0.672, marks=pytest.mark.slow),
    ],
)
def test_cells_rank_better_than_pictures(missing, spurious, cell, picture, precision, recall):
    rng = np.random.default_rng(0)
    x, shown = overlaid(3_000, rng)
    given = np.where(shown, rng.random(shown.shape) >= missing, rng.random(shown.shape) < spurious)
    p = np.zeros(given.shape)
    for train, test in KFold(5, shuffle=True, random_state=0).split(x):
        model = MLPClassifier((100,), alpha=0.3, max_iter=60, learning_rate_init=3e-3, random_state=0)
        p[test] = model.fit(x[train], given[train].astype(int)).predict_proba(x[test])
    labels = [np.flatnonzero(row).tolist() for row in given]
    bad, scores = given != shown, cell_scores(labels, p)
    cells = roc_auc_score(bad.ravel(), scores.ravel())
    pictures = roc_auc_score(bad.any(axis=1), picture_scores(labels, p))
    issues = pictures_with_issues(labels, p)
    assert cells == pytest.approx(cell, abs=0.02)
    assert pictures == pytest.approx(picture, abs=0.07)
    assert bad.any(axis=1)[issues].mean() == pytest.approx(precision, abs=0.07)
    assert issues[bad.any(axis=1)].mean() == pytest.approx(recall, abs=0.08)
    assert cells > pictures + 0.03


def test_cells_by_hand():
    labels, p = [[0], [], [0, 2]], np.array([[0.9, 0.2, 0.1], [0.3, 0.8, 0.1], [0.6, 0.1, 0.2]])
    np.testing.assert_allclose(cell_scores(labels, p), [[0.1, 0.2, 0.1], [0.3, 0.8, 0.1], [0.4, 0.1, 0.8]])


@pytest.mark.parametrize(
    ("labels", "p", "message"),
    [
        ([[0], [3]], [[0.5, 0.5], [0.5, 0.5]], "row 1 has label 3, but there are probabilities of 2 classes"),
        ([[0], [1]], [[0.5, 0.5], [0.5, 1.5]], r"row 1: the probability of class 1 is 1\.5, outside \[0, 1\]"),
        ([[0], [1]], [[0.5, np.nan], [0.5, 0.5]], r"row 0: the probability of class 1 is nan"),
        ([[0]], [[0.5, 0.5], [0.5, 0.5]], r"shape \(2, 2\) for 1 pictures"),
    ],
)
def test_values_that_are_not_probabilities_are_refused(labels, p, message):
    with pytest.raises(RecipeError, match=message):
        cell_scores(labels, np.array(p))
