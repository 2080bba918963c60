from pathlib import Path

import embedded_edition as embedded
import numpy as np
import pytest
from embedded_edition import CTX, scored, scores
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import solve_triangular
from sklearn.metrics import roc_auc_score

from variorum.curation.quality.across_folds import neighbours_across_folds
from variorum.curation.quality.conformal import benjamini_hochberg, conformal_p_values, least_discoveries
from variorum.curation.quality.out_of_distribution import OutOfDistribution, distances, hardest, judged, principal_axes
from variorum.kit.embeddings.classes import (
    covariance_factor,
    fit_gaussians,
    nearest_class,
    presumed_clean,
    squared_distances,
    two_least,
)
from variorum.kit.embeddings.rows import thinned
from variorum.kit.labels.folds import deal
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component

STAMPS = Path(__file__).parents[1] / "plugins" / "data" / "stamps_efficientnet_lite0.npz"


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
        centre, axes = principal_axes(x, fit, components)
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


@pytest.mark.parametrize(("share", "relative", "gain"), [(0.1, 0.81, -0.05), (0.39, 0.89, 0.2)])
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


def false_discoveries(seed, foreign_share):
    """Shares of false flags and of foreign samples found, by both methods."""
    x, y, foreign = gaussians(seed, foreign_share, n=800, k=8)
    fold = deal(y, np.arange(len(y)), 5, np.random.default_rng(seed))
    flags = [judged(x, y, fold, method=method)["flag"] for method in ("relative", "mahalanobis")]
    return [((flag & ~foreign).sum() / max(1, flag.sum()), (flag & foreign).sum()) for flag in flags]


@pytest.mark.parametrize(
    ("foreign_share", "seeds", "power"),
    [
        (0.0, 12, (0, 0)),
        (0.1, 12, (0.4, 0.35)),
        pytest.param(0.0, 50, (0, 0), marks=pytest.mark.slow),
        pytest.param(0.05, 50, (0.4, 0.35), marks=pytest.mark.slow),
        pytest.param(0.1, 50, (0.45, 0.4), marks=pytest.mark.slow),
    ],
)
def test_false_discoveries_stay_at_their_rate_among_gaussians(foreign_share, seeds, power):
    runs = np.array([false_discoveries(seed, foreign_share) for seed in range(seeds)])
    for method, least in enumerate(power):  # [seeds, methods, (false, found)]
        rates = runs[:, method, 0]
        assert rates.mean() <= 0.1  # either test alone keeps half of it
        assert (runs[:, method, 1] / (800 * max(foreign_share, 0.01))).mean() >= least
    if not foreign_share:
        assert (runs[:, :, 0] > 0).mean() <= 0.1  # in all but a few sets nothing is flagged


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


NUMBERS = st.floats(-5, 5, width=16) | st.just(np.nan)


@given(arrays(float, st.integers(1, 40), elements=NUMBERS), st.data())
def test_p_values_fall_with_the_score_whatever_the_order(scores, data):
    calibration = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    p = conformal_p_values(scores, calibration)
    judged = np.isfinite(scores)
    assert np.isnan(p[~judged]).all()
    assert ((p[judged] > 0) & (p[judged] <= 1)).all()
    order = np.argsort(scores[judged])
    assert (np.diff(p[judged][order]) <= 0).all()
    turn = np.array(data.draw(st.permutations(range(len(scores)))))
    np.testing.assert_array_equal(conformal_p_values(scores[turn], calibration[turn]), p[turn])
    assert (p[judged] >= 1 / (1 + (calibration & judged).sum())).all()


@given(arrays(float, st.integers(1, 40), elements=st.floats(0.001, 1)), st.floats(0.01, 0.4), st.data())
def test_the_procedure_rejects_the_largest_set_that_its_line_allows(p, fdr, data):
    tested = np.array(data.draw(st.lists(st.booleans(), min_size=len(p), max_size=len(p))))
    flag = benjamini_hochberg(p, tested, fdr)
    assert not flag[~tested].any()
    line = np.array([np.sum(p[tested] <= value) * fdr / tested.sum() for value in p[tested]])
    assume((np.abs(p[tested] - line) > 1e-9).all())  # on the line, rounding decides
    below = p[tested][p[tested] <= line]
    assert np.array_equal(flag[tested], p[tested] <= below.max(initial=-1))
    assert (benjamini_hochberg(p, tested, 2 * fdr) >= flag).all()


def test_hypotheses_that_are_not_tested_cost_no_power():
    assert benjamini_hochberg(np.array([0.01, 0.9]), np.array([True, False]), 0.015).tolist() == [True, False]


def test_few_outliers_cannot_be_flagged_and_the_card_says_how_few():
    assert least_discoveries(1000, 999, 0.05) == 20
    scores = np.arange(1000.0)
    clean = np.arange(1000) < 981
    assert not benjamini_hochberg(conformal_p_values(scores, clean), np.ones(1000, bool), 0.05).any()
    clean = np.arange(1000) < 900
    assert benjamini_hochberg(conformal_p_values(scores, clean), np.ones(1000, bool), 0.05).sum() >= 100


def test_the_hardest_third_are_the_peers():
    margin = np.array([5.0, 1.0, 2.0, 2.0, 3.0, 4.0, 0.0])
    among = np.array([1, 1, 1, 1, 1, 1, 0], dtype=bool)
    assert np.flatnonzero(hardest(margin, among)).tolist() == [1, 2, 3]  # two of six, and a tie
    assert hardest(np.full(3, np.inf), np.ones(3, dtype=bool)).all()  # one class has no margins
    assert not hardest(margin, np.zeros(7, dtype=bool)).any()


def test_the_two_nearest_classes():
    nearest, least, more = two_least(np.array([[4.0, 1.0, 3.0], [np.inf, 2.0, np.inf]]))
    assert (nearest.tolist(), least.tolist(), more.tolist()) == ([1, 1], [1, 2], [2, np.inf])
    assert two_least(np.array([[7.0]]))[2].tolist() == [np.inf]


@given(st.integers(0, 1000), st.integers(2, 30), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_neighbours_are_the_nearest_of_other_folds(seed, n, k):
    rng = np.random.default_rng(seed)
    x, y, fold = rng.normal(size=(n, 3)).astype(np.float16), rng.integers(-1, 3, n), rng.integers(0, 3, n)
    x[rng.random(n) < 0.1] = 0
    peers = rng.random(n) < 0.5
    distance, share = neighbours_across_folds(x, y, fold, peers, k)
    length = np.linalg.norm(x.astype(float), axis=1)
    for row in range(n):
        others = np.flatnonzero((fold != fold[row]) & (length > 0))
        if not length[row]:
            others = others[:0]
        away = 1 - x[others].astype(float) @ x[row].astype(float) / np.maximum(length[others] * length[row], 1e-9)
        nearest = others[np.argsort(away)]
        of_peers = np.sort(away[peers[others]])[:k]
        assert distance[row] == pytest.approx(of_peers.mean() if len(of_peers) else np.nan, abs=1e-6, nan_ok=True)
        asked = nearest[y[nearest] >= 0][: np.clip((y == y[row]).sum() // 2, 1, k)]
        expected = (y[asked] == y[row]).mean() if len(asked) and y[row] >= 0 else np.nan
        assert share[row] == pytest.approx(expected, nan_ok=True)


def test_equally_near_neighbours_vote_together():
    x = np.array([[1, 0], [1, 1], [1, 1], [1, 1], [0, 1], [1, 0]])
    y, fold = np.array([0, 0, 1, 1, 0, 0]), np.array([0, 1, 1, 1, 1, 0])
    assert neighbours_across_folds(x, y, fold, y == 0, 1)[1][0] == pytest.approx(1 / 3)


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


def check_columns(found, y):
    """What holds for every edition with labels."""
    assert not (found["flag"] & ~found["tested"]).any()
    assert not (found["flag"] & ~found["likely"]).any()
    assert not (found["tested"] & (found["agrees"] | found["peer"])).any()
    assert not (found["peer"] & ~found["agrees"]).any()
    assert not (found["agrees"] & (y < 0)).any()


def test_a_picture_that_agrees_is_never_flagged_nor_one_that_its_neighbours_support():
    for seed in range(3):
        x, y, foreign = gaussians(seed, 0.1, n=600, k=8)
        y[:20] = -1
        found = scored(OutOfDistribution(fdr=0.2), edition(x, y))
        check_columns(found, y)
        assert found["flag"][foreign].mean() >= 0.3
        assert not found["flag"][found["label_share"] > 0.15].any()
        assert np.isfinite(found["p_value"]).all()
        assert np.isfinite(found["neighbour_p_value"]).all()


def noisy(classes, each, d, noise, apart=6.0, seed=0):
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(classes), each)
    x = rng.normal(size=(len(true), d)) + apart / np.sqrt(d) * rng.normal(size=(classes, d))[true]
    wrong = rng.random(len(true)) < noise
    return x, np.where(wrong, (true + rng.integers(1, max(2, classes), len(true))) % classes, true)


def grey():
    """Hardly any difference between pictures, or between classes."""
    rng = np.random.default_rng(0)
    return 3 + 1e-2 * rng.normal(size=(300, 16)), rng.integers(0, 5, 300)


@pytest.mark.parametrize(
    "rows",
    [
        noisy(10, 4, 32, 0.0),
        noisy(2, 100, 16, 0.1),
        noisy(1000, 5, 24, 0.0),
        noisy(1, 60, 8, 0.0),
        noisy(8, 60, 32, 0.4),
        noisy(50, 12, 16, 0.1, apart=2.0),
        grey(),
    ],
    ids=["tiny", "two classes", "a thousand classes of five", "one class", "40 % noise", "overlapping", "grey"],
)
def test_a_set_without_foreign_pictures_loses_no_quarter_of_a_class(rows):
    x, y = rows
    found = scored(OutOfDistribution(), edition(x, y))
    check_columns(found, y)
    assert (np.bincount(y[found["flag"]], minlength=y.max() + 1) / np.bincount(y)).max() < 0.25
    assert found["flag"].mean() <= 0.01
    card = OutOfDistribution().figures(found, CTX)
    assert bool(card["findings"]) == (not found["flag"].any())


def test_silence_is_explained_and_never_an_all_clear():
    x, y, _ = gaussians(0, 0.0, n=400, k=8)
    found = scored(OutOfDistribution(), edition(x, y))
    card = OutOfDistribution().figures(found, CTX)
    least = int(np.ceil(card["tested"] / (0.05 * (1 + card["peers"]))))
    assert card["findings"] == [
        f"No picture stands out enough at this rate: of {card['tested']} tested, at least {least} would have to stand "
        "out together. The ranking holds; look at the first 20."
    ]
    few = OutOfDistribution().figures(scored(OutOfDistribution(), edition(x[:60], y[:60])), CTX)["findings"][0]
    assert few.startswith("No picture can be flagged at this rate: ")
    none = OutOfDistribution().figures(scored(OutOfDistribution(), edition(x, [0] * 400)), CTX)["findings"][0]
    assert none.startswith("No picture is tested, as none has a label that both ")
    step = OutOfDistribution(reference="original")
    trusted = step.figures(scored(step, edition(x, y)), CTX)["findings"][0]
    assert trusted.startswith("No picture is tested, as all are of the variant original.")
    x, y, _ = gaussians(0, 0.1, n=800, k=8)
    assert OutOfDistribution().figures(scored(OutOfDistribution(), edition(x, y)), CTX)["findings"] == []


def test_an_edition_without_labels_is_one_gaussian():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    x[:10] += 6
    found = scored(OutOfDistribution(), edition(x, [-1] * 300))
    assert roc_auc_score(np.arange(300) < 10, found["score"]) >= 0.95
    assert np.isnan(found["relative"]).all()
    assert np.isnan(found["to_given_label"]).all()
    assert np.isfinite(found["neighbour_distance"]).all()
    assert (found["p_value"][:10] <= 0.1).all()
    assert not (found["tested"] | found["flag"] | found["likely"] | found["agrees"]).any()
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
    x, y, _ = gaussians(2, n=500, k=8)
    table = edition(x, y)
    order = np.random.default_rng(0).permutation(500)
    straight, turned = scores(OutOfDistribution(), table), scores(OutOfDistribution(), table.take(order))
    for name, values in straight.items():
        np.testing.assert_array_equal(values[order], turned[name])


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
    centre, axes = principal_axes(x, np.arange(30), 3)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    np.testing.assert_allclose(abs(axes.T @ vectors[:, -3:]).sum(axis=1), 1, atol=1e-8)
    assert principal_axes(x, np.arange(5), 64)[1].shape == (20, 4)
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
