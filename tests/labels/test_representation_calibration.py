from pathlib import Path

import embedded_edition as embedded
import numpy as np
import pytest
from embedded_edition import CTX, scored, scores
from label_noise import digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

from variorum.curation.labels.representation_calibration import (
    RepresentationCalibration,
    balanced_accuracy,
    calibrated,
    discriminant,
    optimal_sharing,
    shared_means,
)
from variorum.kit.embeddings.classes import class_means, fit_gaussians, nearest_class, presumed_clean
from variorum.kit.labels.folds import deal
from variorum.schemas.errors import RecipeError

STAMPS = Path(__file__).parents[1] / "plugins" / "data" / "stamps_efficientnet_lite0.npz"


def edition(features, labels):
    return embedded.edition(features, labels, {"duplicates.group": np.arange(len(labels))})


def long_tail(rho, rate, seed):
    """Long-tailed training digits with labels flipped in proportion to class sizes, and clean digits for testing."""
    x, y = digits()
    x, held, true, held_true = train_test_split(x, y, test_size=0.3, stratify=y, random_state=seed)
    rng = np.random.default_rng(seed)
    sizes = np.maximum(5, np.round(np.bincount(true).min() * rho ** (-np.arange(10) / 9))).astype(int)
    rows = np.concatenate([rng.permutation(np.flatnonzero(true == k))[:size] for k, size in enumerate(sizes)])
    x, true = x[rows], true[rows]
    given = true.copy()
    for i in rng.permutation(len(true))[: round(rate * len(true))]:
        others = np.where(np.arange(10) == true[i], 0, sizes)
        given[i] = rng.choice(10, p=others / others.sum())
    return x, true, given, held, held_true


def balanced_accuracies(rho, rate, seed):
    """Balanced accuracies on held-out digits: calibrated, nearest mean, class-weighted logistic regression."""
    x, _, given, held, true = long_tail(rho, rate, seed)
    rows = np.arange(len(x))
    model = fit_gaussians(x, given, presumed_clean(x, given, rows, 10), 10)
    weights, offsets = discriminant(shared_means(model.means, model.counts, model.trace, 3)[0], model)
    guesses = (
        np.argmax(held @ weights.T + offsets, axis=1),
        nearest_class(held, class_means(x, given, rows, 10)[0], np.arange(len(held))),
        LogisticRegression(class_weight="balanced", max_iter=2000).fit(x, given).predict(held),
    )
    return [balanced_accuracy_score(true, guess) for guess in guesses]


TAILS = {
    (50, 0.4): (0.808, 0.770, 0.699),
    (50, 0.2): (0.864, 0.850, 0.829),
    (10, 0.4): (0.887, 0.838, 0.778),
    (10, 0.2): (0.914, 0.886, 0.873),
    (1, 0.2): (0.932, 0.901, 0.941),
}
"""Means over five seeds."""


def assert_figures(tails, seeds, tolerance):
    for (rho, rate), expected in tails.items():
        found = np.mean([balanced_accuracies(rho, rate, seed) for seed in seeds], axis=0)
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=f"rho {rho}, rate {rate}")
        assert found[0] >= found[1]  # no worse than the nearest mean
        assert found[0] >= found[2] - 0.01  # no worse than the class-weighted regression


def test_rare_digits_with_wrong_labels_are_recognised_better_than_by_the_baselines():
    assert_figures({key: TAILS[key] for key in [(50, 0.4), (10, 0.4)]}, range(3), 0.04)


@pytest.mark.slow
def test_every_tail_keeps_its_figures():
    assert_figures(TAILS, range(5), 0.005)


@pytest.mark.parametrize(("gap", "n"), [(0.1, 5), (1.0, 20), (1.0, 5), (8.0, 5), (0.3, 20)])
def test_the_optimal_sharing_is_the_empirical_one(gap, n):
    """Errors of mixtures of another class's mean with means of n samples in 16 dimensions, over 4000 draws."""
    rng = np.random.default_rng(0)
    foreign = np.zeros(16)
    foreign[0] = np.sqrt(gap)
    own = rng.normal(size=(4000, 16)) / np.sqrt(n)
    shares = np.linspace(0, 1, 201)
    errors = [((share * foreign + (1 - share) * own) ** 2).sum(axis=1).mean() for share in shares]
    assert float(optimal_sharing(16 / n, gap)) == pytest.approx(shares[np.argmin(errors)], abs=0.03)


def test_rare_classes_lose_error_by_sharing_at_every_size():
    counts = np.array([500, 400, 300, 200, 150, 100, 20, 15, 10, 5, 2, 1])
    ratios = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        true = rng.normal(size=(3, 32))[np.arange(12) % 3] * 0.5 + rng.normal(size=(12, 32)) * 0.2
        means = true + rng.normal(size=true.shape) / np.sqrt(counts)[:, None]
        shared, _ = shared_means(means, counts, 32.0, 3)
        ratios.append([((m - true) ** 2).sum(axis=1) for m in (shared, means)])
    shared, own = np.mean(ratios, axis=0)
    assert (shared[counts <= 20] < own[counts <= 20]).all()
    assert (shared <= own * 1.01).all()


def test_sharing_falls_with_size_and_the_largest_class_shares_nothing():
    means = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.5], [9.0, 9.0]])
    shared, sharing = shared_means(means, np.array([1000, 100, 4, 0]), 2.0, 2)
    assert sharing[0] == 0
    assert np.array_equal(shared[0], means[0])
    # tr / n = .02; the borrowed mean is class 0's, its estimated gap 1 - .02
    assert sharing[1] == pytest.approx(0.02 / 1.0)
    np.testing.assert_allclose(shared[1], [0.98, 0])
    # tr / n = .5; the borrowed mean is (1000 * 0 + 100 * (1, 0)) / 1100, its gap (1/11)^2 + 1.5^2 - .5
    assert sharing[2] == pytest.approx(0.5 / ((1 / 11) ** 2 + 1.5**2))
    assert np.isnan(sharing[3])
    assert (shared_means(means, np.array([9, 9, 9, 9]), 2.0, 2)[1] == 0).all()
    assert (shared_means(means, np.array([9, 8, 7, 6]), 2.0, 0)[1] == 0).all()


def test_the_margin_is_the_difference_of_log_densities():
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    x = rng.normal(size=(120, 3)) + 3 * np.eye(3)[y]
    fold = np.arange(120) % 2
    found = calibrated(x, y, fold, neighbours=0)
    model = fit_gaussians(x, y, presumed_clean(x, y, np.flatnonzero(fold == 1), 3), 3)
    covariance = model.factor @ model.factor.T
    density = np.array([multivariate_normal(mean, covariance).logpdf(x[0]) for mean in model.means])
    assert found.score[0] == pytest.approx(max(density[1:]) - density[0])
    assert found.proposed[0] == np.argmax(density)


@pytest.mark.parametrize(("rate", "area"), [(0.1, 0.975), (0.2, 0.97), (0.4, 0.96)])
def test_wrong_labels_of_real_photographs_are_found(rate, area):
    data = np.load(STAMPS)
    own = data["superclass"] >= 0
    x, true = data["features"][own], data["superclass"][own].astype(np.int64)
    areas = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        given, wrong = true.copy(), rng.permutation(len(true))[: round(rate * len(true))]
        given[wrong] = (true[wrong] + rng.integers(1, 9, len(wrong))) % 9
        found = calibrated(x, given, deal(given, np.arange(len(given)), 5, rng))
        areas.append(roc_auc_score(given != true, found.score))
    assert np.mean(areas) >= area - 0.03


def test_columns_and_card_of_a_long_tail():
    x, true, given, _, _ = long_tail(10, 0.2, 0)
    classes = np.arange(10) * 3  # indices with gaps, as when some classes don't occur
    found = scored(RepresentationCalibration(), edition(x, classes[given]))
    wrong = given != true
    assert roc_auc_score(wrong, found["score"]) >= 0.97
    assert np.array_equal(found["flag"], found["proposed"] != classes[given])
    assert (found["proposed"][found["flag"] & wrong] == classes[true][found["flag"] & wrong]).mean() >= 0.8
    assert set(found["proposed"]) | set(found["nearest_mean"]) | set(found["class_weighted"]) <= set(classes)
    card = RepresentationCalibration().figures(found, CTX)
    assert card["estimated_noise_rate"] == pytest.approx(found["flag"].mean(), abs=1e-4)
    assert set(card["balanced_accuracy_against_given_labels"]) == {
        "calibrated",
        "nearest_mean",
        "class_weighted_regression",
    }
    assert all(0.4 < value < 1 for value in card["balanced_accuracy_against_given_labels"].values())
    shares = list(card["sharing_by_class"].values())
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == 10
    assert "class 0" in card["sharing_by_class"]


def test_without_baselines_their_columns_are_missing():
    x, _, given, _, _ = long_tail(10, 0.2, 0)
    step = RepresentationCalibration(baselines=False, neighbours=0)
    found = scored(step, edition(x, given))
    assert "proposed" in found
    assert "nearest_mean" not in found
    assert "class_weighted" not in found
    assert (found["sharing"] == 0).all()
    assert set(step.figures(found, CTX)["balanced_accuracy_against_given_labels"]) == {"calibrated"}


def test_the_order_of_rows_changes_nothing():
    x, _, given, _, _ = long_tail(10, 0.2, 0)
    table = edition(x, given)
    order = np.random.default_rng(0).permutation(len(given))
    step = RepresentationCalibration(baselines=False)
    straight, turned = scores(step, table), scores(step, table.take(order))
    np.testing.assert_allclose(straight["score"][order], turned["score"], rtol=1e-6, atol=1e-8)
    assert np.array_equal(straight["proposed"][order], turned["proposed"])


def test_pictures_that_cannot_be_judged_are_left_alone():
    x, _, given, _, _ = long_tail(10, 0.0, 0)
    x = x.astype(np.float16)
    given[:3], x[5, 7], x[6, 0] = -1, np.nan, np.inf
    given[10] = 10  # a class of one sample
    found = scored(RepresentationCalibration(), edition(x, given))
    silent = [0, 1, 2, 5, 6, 10]
    assert np.flatnonzero(np.isnan(found["score"])).tolist() == silent
    assert not found["flag"][silent].any()
    assert (found["proposed"][silent] == -1).all()
    assert np.isnan(found["sharing"][:3]).all()
    assert RepresentationCalibration().figures(found, CTX)["judged"] == len(given) - len(silent)


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (np.zeros((0, 4)), []),
        (np.ones((1, 4)), [0]),
        (np.random.default_rng(0).normal(size=(8, 4)), [2] * 8),
        (np.eye(4), [0, 1, 2, 3]),
        (np.full((4, 4), np.nan), [0, 0, 1, 1]),
    ],
    ids=["no rows", "one row", "one class", "classes of one", "nothing finite"],
)
def test_too_little_data_judges_nothing(features, labels):
    found = scored(RepresentationCalibration(), edition(features, labels))
    assert np.isnan(found["score"]).all()
    assert (found["proposed"] == -1).all()
    assert RepresentationCalibration().figures(found, CTX) == {"judged": 0}


def test_two_identical_classes_are_not_flagged():
    found = scored(RepresentationCalibration(), edition(np.ones((6, 4)), [0, 0, 0, 1, 1, 1]))
    assert not found["flag"].any()


def test_an_edition_without_labels_is_an_error():
    with pytest.raises(RecipeError, match="no picture has a label; remove it from the recipe"):
        scores(RepresentationCalibration(), edition(np.ones((3, 2)), [-1, -1, -1]))


def test_balanced_accuracy_weights_classes_equally():
    label, proposed = np.array([0, 0, 0, 1, 1, -1, 2]), np.array([0, 0, 1, 1, 0, 1, -1])
    assert balanced_accuracy(label, proposed) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert balanced_accuracy(np.array([-1]), np.array([0])) is None
