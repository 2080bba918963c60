from pathlib import Path

import embedded
import numpy as np
import pytest
from embedded import CTX, scored, scores
from scipy.linalg import solve_triangular
from sklearn.metrics import roc_auc_score

from variorum.curation.embeddings.rows import thinned
from variorum.curation.gaussians.classes import (
    covariance_factor,
    fit_gaussians,
    nearest_class,
    presumed_clean,
    squared_distances,
)
from variorum.curation.gaussians.conformal import (
    benjamini_hochberg,
    chance_agreement,
    conformal_p_values,
    least_discoveries,
)
from variorum.curation.labels.folds import deal
from variorum.curation.out_of_distribution import OutOfDistribution, distances, principal_axes
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component

STAMPS = Path(__file__).with_name("data") / "stamps_efficientnet_lite0.npz"


def edition(features, labels, variants=None):
    n = len(labels)
    return embedded.edition(
        features, labels, {"duplicates.group": np.arange(n), "variant": variants or ["original"] * n}
    )


def stamps(foreign_share, seed, flips=0.1):
    """Real features, a share of them foreign with labels by class size, and a share of the others mislabelled."""
    data = np.load(STAMPS)
    true = data["superclass"].astype(np.int64)
    rng = np.random.default_rng(seed)
    own, other = np.flatnonzero(true >= 0), rng.permutation(np.flatnonzero(true < 0))
    rows = np.sort(np.concatenate([own, other[: int(len(own) * foreign_share / (1 - foreign_share))]]))
    true, k = true[rows], 9
    foreign, given = true < 0, true.copy()
    wrong = ~foreign & (rng.random(len(rows)) < flips)
    given[wrong] = (given[wrong] + rng.integers(1, k, wrong.sum())) % k
    given[foreign] = rng.choice(k, foreign.sum(), p=np.bincount(true[~foreign]) / (~foreign).sum())
    return data["features"][rows], given, foreign


def gaussians(seed, foreign_share=0.15, n=1000, d=16, k=5, apart=5.0):
    """Classes with unit covariance and a tenth of the labels wrong; foreign samples come from three further classes."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(k + 3, d))
    means *= apart / np.linalg.norm(means, axis=1, keepdims=True)
    true, foreign = rng.integers(0, k, n), rng.random(n) < foreign_share
    centre = np.where(foreign[:, None], 6 / apart * means[k + rng.integers(0, 3, n)], means[true])
    given = np.where(foreign | (rng.random(n) < 0.1), rng.integers(0, k, n), true)
    return (rng.normal(size=(n, d)) + centre).astype(np.float16), given, foreign


def plain_and_truncated(seed, components=None):
    """AUROC of the plain distance from a clean fit on held-out real photographs, in all or some dimensions."""
    data = np.load(STAMPS)
    x, true = data["features"].astype(np.float64), data["superclass"].astype(np.int64)
    rng = np.random.default_rng(seed)
    own = rng.permutation(np.flatnonzero(true >= 0))
    fit, held = own[: int(0.7 * len(own))], np.concatenate([own[int(0.7 * len(own)) :], np.flatnonzero(true < 0)])
    if components:
        centre, axes = principal_axes(x[fit], components)
        x = (x - centre) @ axes
    model = fit_gaussians(x, true, fit, 9)
    return roc_auc_score(true[held] < 0, squared_distances(x[held], model).min(axis=1))


def test_distances_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + 50, rng.integers(0, 3, 300)
    model = fit_gaussians(x, y, np.arange(300), 4)
    covariance = model.factor @ model.factor.T
    away = x[:, None] - model.means[None, :3]
    expected = np.einsum("nkd,de,nke->nk", away, np.linalg.inv(covariance), away)
    found = squared_distances(x, model)
    np.testing.assert_allclose(found[:, :3], expected, rtol=1e-8)
    assert np.isinf(found[:, 3]).all()  # a class without a sample
    assert model.counts.tolist() == np.bincount(y, minlength=4).tolist()
    centred = x - model.means[y]
    assert model.trace == pytest.approx((centred**2).sum() / 300)


def test_the_score_has_the_theoretical_area_under_the_curve():
    """A Gaussian and its copy shifted by `m`: the area under the curve of chi-square against non-central chi-square."""
    from scipy.integrate import quad
    from scipy.stats import chi2, ncx2

    rng = np.random.default_rng(0)
    x = rng.normal(size=(8000, 10))
    x[6000:, 0] += 3
    model = fit_gaussians(x, np.zeros(8000, np.int64), np.arange(4000), 1)
    scores = squared_distances(x[4000:], model)[:, 0]
    expected = quad(lambda t: ncx2.sf(t, 10, 9) * chi2.pdf(t, 10), 0, 100)[0]
    assert roc_auc_score(np.arange(4000) >= 2000, scores) == pytest.approx(expected, abs=0.015)


def test_a_clean_fit_on_real_features_finds_foreign_pictures_and_truncation_misses_them():
    whole, some = (np.mean([plain_and_truncated(seed, q) for seed in range(3)]) for q in (None, 32))
    assert whole >= 0.84
    assert some <= 0.53  # no better than guessing


def test_a_truncated_plain_distance_is_refused():
    with pytest.raises(RecipeError, match=r"curate\.0: .*misses foreign pictures.*set method to relative"):
        build_component(
            "curate", {"name": "out_of_distribution", "method": "mahalanobis", "components": 32}, "curate.0"
        )
    step = OutOfDistribution(method="mahalanobis")
    assert build_component("curate", step.config(), "curate.0") == step


def test_components_leave_the_plain_distance_whole():
    x, y, _ = gaussians(0, n=200)
    fold = deal(y, np.arange(len(y)), 5, np.random.default_rng(0))
    few, many = (distances(x, y, fold, components=q) for q in (2, 12))
    assert np.array_equal(few.mahalanobis, many.mahalanobis)
    assert not np.allclose(few.relative, many.relative)


@pytest.mark.parametrize(("share", "relative", "gain"), [(0.1, 0.81, -0.05), (0.27, 0.89, 0.1), (0.39, 0.89, 0.2)])
def test_foreign_pictures_among_the_fitted_ones_are_found_by_the_relative_distance(share, relative, gain):
    areas = []
    for seed in range(2):
        x, y, foreign = stamps(share, seed)
        found = distances(x, y, deal(y, np.arange(len(y)), 5, np.random.default_rng(seed)))
        areas.append([roc_auc_score(foreign, found.relative), roc_auc_score(foreign, found.mahalanobis)])
    of_relative, of_plain = np.mean(areas, axis=0)
    assert of_relative >= relative - 0.03
    assert of_relative >= of_plain + gain


def test_with_a_clean_reference_real_foreign_pictures_are_flagged():
    x, y, foreign = stamps(0.39, 0)
    variants = ["original" if i % 2 and not f else "made" for i, f in enumerate(foreign)]
    y[foreign] = -1
    found = scored(OutOfDistribution(reference="original"), edition(x, y, variants))
    made = np.array(variants) == "made"
    assert roc_auc_score(foreign[made], found["score"][made]) >= 0.94
    assert found["flag"][foreign].mean() >= 0.4
    assert (found["flag"] & ~foreign).sum() <= 0.1 * found["flag"].sum()
    assert not found["flag"][~made].any()
    assert OutOfDistribution(reference="original").figures(found, CTX)["flagged"] == found["flag"].sum()


def false_discoveries(seed):
    x, y, foreign = gaussians(seed)
    rates = []
    for step in (OutOfDistribution(), OutOfDistribution(method="mahalanobis")):
        flag = scores(step, edition(x, y))["flag"]
        rates.append(((flag & ~foreign).sum() / max(1, flag.sum()), flag[foreign].mean()))
    return rates


def assert_rate_is_kept(runs, power):
    runs = np.array(runs)  # [seeds, methods, (false discoveries, found)]
    for method, least in zip(range(runs.shape[1]), power, strict=True):
        rates = runs[:, method, 0]
        assert rates.mean() <= 0.05 + 2 * rates.std(ddof=1) / np.sqrt(len(rates))
        assert runs[:, method, 1].mean() >= least


def test_false_discoveries_stay_at_their_rate_among_gaussians():
    assert_rate_is_kept([false_discoveries(seed) for seed in range(12)], power=(0.35, 0.25))


@pytest.mark.slow
def test_false_discoveries_stay_at_their_rate_over_fifty_seeds():
    assert_rate_is_kept([false_discoveries(seed) for seed in range(50)], power=(0.45, 0.35))


def test_split_conformal_keeps_the_rate_exactly_over_fifty_seeds():
    rates, found = [], []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        foreign = np.arange(1200) >= 1000
        scores = rng.normal(size=1200) + 3.0 * foreign
        calibration = np.arange(1200) < 500
        flag = benjamini_hochberg(conformal_p_values(scores, calibration), ~calibration, 0.1)
        rates.append((flag & ~foreign).sum() / max(1, flag.sum()))
        found.append(flag[foreign].mean())
    assert np.mean(rates) <= 0.1 + 2 * np.std(rates, ddof=1) / np.sqrt(50)
    assert np.mean(found) >= 0.6


def test_p_values_are_ranks_in_the_calibration():
    scores = np.array([1.0, 2.0, 3.0, 4.0, 3.5, np.nan])
    calibration = np.array([1, 1, 1, 1, 0, 1], dtype=bool)
    p = conformal_p_values(scores, calibration)
    np.testing.assert_allclose(p[:5], [4 / 4, 3 / 4, 2 / 4, 1 / 4, 2 / 5])
    assert np.isnan(p[5])


def test_lucky_labels_are_subtracted_from_the_calibration():
    """100 samples at score 0 with their own label; 80 foreign ones at score 1, a fifth under the nearest class."""
    scores = np.repeat([0.0, 1.0], [100, 80])
    agrees = np.repeat([True, True, False], [100, 16, 64])
    assert conformal_p_values(scores, agrees)[-1] == pytest.approx(17 / 117)
    assert conformal_p_values(scores, agrees, ~agrees, 0.2)[-1] == pytest.approx(1.25 / 101.25)
    y, near = np.array([0, 1, 0, 1, 0]), np.array([0, 0, 1, 1, -1])
    assert chance_agreement(y, near, np.array([0, 1, 1, 1, 1], dtype=bool)) == pytest.approx(0.6 / 3 + 0.4 * 2 / 3)
    assert chance_agreement(y, near, np.zeros(5, dtype=bool)) == 0


def test_few_outliers_cannot_be_flagged_and_the_card_says_how_few():
    assert least_discoveries(1000, 999, 0.05) == 20
    scores = np.arange(1000.0)
    clean = np.arange(1000) < 981
    assert not benjamini_hochberg(conformal_p_values(scores, clean), np.ones(1000, bool), 0.05).any()
    clean = np.arange(1000) < 900
    assert benjamini_hochberg(conformal_p_values(scores, clean), np.ones(1000, bool), 0.05).sum() >= 100


def test_presumed_clean_tolerates_four_wrong_labels_in_ten():
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(4), 50)
    x = rng.normal(size=(200, 300)) + 3 * rng.normal(size=(4, 300))[true]
    given = np.where(rng.random(200) < 0.4, (true + rng.integers(1, 4, 200)) % 4, true)
    kept = presumed_clean(x, given, np.arange(200), 4)
    assert (given[kept] == true[kept]).all()
    assert len(kept) == (given == true).sum()


def test_a_class_that_would_be_empty_keeps_all_its_samples():
    x = np.array([[0.0], [0.1], [0.2], [0.1], [0.1]])
    y = np.array([0, 0, 0, 1, 1])  # class 1 lies on class 0's median
    assert presumed_clean(x, y, np.arange(5), 2).tolist() == [0, 1, 2, 3, 4]


def test_an_edition_without_labels_is_one_gaussian():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    x[:10] += 6
    found = scored(OutOfDistribution(), edition(x, [-1] * 300))
    assert roc_auc_score(np.arange(300) < 10, found["score"]) >= 0.95
    assert np.isnan(found["relative"]).all()
    assert np.isnan(found["to_given_label"]).all()
    assert not found["flag"].any()
    assert OutOfDistribution().figures(found, CTX)["most_flagged_classes"] == {}


def test_an_unlabelled_picture_is_scored_by_the_nearest_class():
    x, y, _ = gaussians(1, n=300)
    y[:50] = -1
    found = scored(OutOfDistribution(), edition(x, y))
    assert np.isfinite(found["score"]).all()
    assert np.isnan(found["to_given_label"][:50]).all()
    labelled = slice(50, None)
    assert (found["to_given_label"][labelled] >= found["mahalanobis"][labelled] - 1e-9).all()


def test_the_order_of_rows_changes_nothing():
    x, y, _ = gaussians(2, n=200)
    table = edition(x, y)
    order = np.random.default_rng(0).permutation(200)
    straight, turned = scores(OutOfDistribution(), table), scores(OutOfDistribution(), table.take(order))
    np.testing.assert_allclose(straight["score"][order], turned["score"], rtol=1e-6, atol=1e-6)
    assert np.array_equal(straight["flag"][order], turned["flag"])


@pytest.mark.parametrize("method", ["relative", "mahalanobis"])
def test_features_that_are_not_finite_are_not_judged(method):
    x, y, _ = gaussians(3, n=120)
    x[5, 3], x[7, 0] = np.nan, np.inf
    found = scored(OutOfDistribution(method=method), edition(x, y))
    assert np.flatnonzero(np.isnan(found["score"])).tolist() == [5, 7]
    assert np.flatnonzero(np.isnan(found["p_value"])).tolist() == [5, 7]
    assert not found["flag"][[5, 7]].any()


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (np.zeros((0, 4)), []),
        (np.ones((1, 4)), [0]),
        (np.ones((6, 4)), [0, 0, 0, 1, 1, 1]),
        (np.eye(5, 4), [0, 1, 2, 3, 4]),
        (np.full((4, 4), np.nan), [0, 0, 1, 1]),
    ],
    ids=["no rows", "one row", "all alike", "classes of one", "nothing finite"],
)
def test_too_little_data_flags_nothing(features, labels):
    found = scored(OutOfDistribution(), edition(features, labels))
    assert not found["flag"].any()
    assert OutOfDistribution().figures(found, CTX)["flagged"] == 0


def test_a_missing_reference_is_an_error():
    x, y, _ = gaussians(0, n=50)
    with pytest.raises(RecipeError, match="no picture is of the reference variant 'control'"):
        scores(OutOfDistribution(reference="control"), edition(x, y))


def test_principal_axes_are_the_same_from_either_side():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 20)) * np.arange(1, 21)
    centre, axes = principal_axes(x, 3)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    np.testing.assert_allclose(abs(axes.T @ vectors[:, -3:]).sum(axis=1), 1, atol=1e-8)
    assert principal_axes(x[:5], 64)[1].shape == (20, 4)
    assert values[-1] >= values[0]
    np.testing.assert_allclose(centre, x.mean(axis=0))


def test_covariance_is_never_singular():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 6))
    x[:, 2] = 0  # a constant feature
    factor, _ = covariance_factor([x])
    assert np.isfinite(solve_triangular(factor, np.eye(6), lower=True)).all()
    assert np.array_equal(covariance_factor([np.zeros((3, 4))])[0], np.eye(4))


@pytest.mark.parametrize("shape", [(500, 8), (40, 120), (2, 5)])
def test_the_shrinkage_is_that_of_ledoit_and_wolf(shape):
    from sklearn.covariance import ledoit_wolf

    x = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 3, shape[1])
    factor, trace = covariance_factor([x[: shape[0] // 2], x[shape[0] // 2 :]])
    expected = ledoit_wolf(x, assume_centered=True)[0]
    assert trace == pytest.approx(np.trace(expected))
    np.testing.assert_allclose(factor @ factor.T, expected + 1e-6 * trace / shape[1] * np.eye(shape[1]), atol=1e-10)


def test_rows_are_thinned_evenly_and_folds_are_even():
    assert thinned(np.arange(10), 4).tolist() == [0, 3, 6, 9]
    y = np.repeat([-1, 0, 1], [10, 25, 65])
    fold = deal(y, np.arange(len(y)), 5, np.random.default_rng(0))
    assert all(np.bincount(fold[y == k], minlength=5).tolist() == [n // 5] * 5 for k, n in ((-1, 10), (0, 25), (1, 65)))
    assert nearest_class(np.array([[0.0], [5.0]]), np.array([[np.nan], [1.0], [4.0]]), np.arange(2)).tolist() == [1, 2]
